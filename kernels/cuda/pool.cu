/* Pooling, a thread an element, channels side by side. Gradients are gathered: each element of dx
 * looks at the windows that it lies in. */
#include "kernels/cuda/launch.h"

#include <cmath>

/* Element i of [rows][height][width][channels]. */
struct WindowPlace { int64_t row; int y, x, c; };

static __device__ inline WindowPlace place_of(int64_t i, int height, int width, int channels)
{
    WindowPlace p;

    p.c = (int)(i % channels), i /= channels;
    p.x = (int)(i % width), i /= width;
    p.y = (int)(i % height);
    p.row = i / height;
    return p;
}

template <class T>
static __device__ inline const T *row_of(const T *x, const KernelPool &p, const WindowPlace &at)
{
    return x + at.row * p.in_height * p.in_width * p.channels + at.c;
}

template <class T>
static __global__ void maxpool(const KernelPool p, const T *x, T *y, int *place, int64_t count)
{
    for (int64_t i = first_element(); i < count; i += next_element()) {
        WindowPlace    at = place_of(i, p.out_height, p.out_width, p.channels);
        const T *in = row_of(x, p, at);
        float    most = -INFINITY;
        int      where = -1;

        for (int ky = 0; ky < p.kernel_height; ky++)
            for (int kx = 0; kx < p.kernel_width; kx++) {
                int iy = at.y * p.stride - p.padding + ky, ix = at.x * p.stride - p.padding + kx;

                if (iy < 0 || ix < 0 || iy >= p.in_height || ix >= p.in_width) continue;
                float v = load1(in + ((int64_t)iy * p.in_width + ix) * p.channels);

                if (where < 0 || v > most) most = v, where = iy * p.in_width + ix;
            }
        store1(y + i, most);
        if (place) place[i] = where;
    }
}

/* Windows that hold coordinate i: first..last of out. */
static __device__ inline int first_window(int i, int kernel, int stride, int padding)
{
    int least = i + padding - kernel + 1;

    return least <= 0 ? 0 : (least + stride - 1) / stride;
}

static __device__ inline int last_window(int i, int out, int stride, int padding)
{
    int last = (i + padding) / stride;

    return last < out ? last : out - 1;
}

template <bool MOST, class T>
static __global__ void gradient(const KernelPool p, const int *place, const T *dy, T *dx,
                                int64_t count)
{
    float share = 1.0f / (float)(p.kernel_height * p.kernel_width);

    for (int64_t i = first_element(); i < count; i += next_element()) {
        WindowPlace   at = place_of(i, p.in_height, p.in_width, p.channels);
        int     pixel = at.y * p.in_width + at.x;
        int     last_y = last_window(at.y, p.out_height, p.stride, p.padding),
            last_x = last_window(at.x, p.out_width, p.stride, p.padding);
        float   sum = 0.0f;

        for (int oy = first_window(at.y, p.kernel_height, p.stride, p.padding); oy <= last_y; oy++)
            for (int ox = first_window(at.x, p.kernel_width, p.stride, p.padding); ox <= last_x;
                 ox++) {
                int64_t o = ((at.row * p.out_height + oy) * p.out_width + ox) * p.channels + at.c;

                if (!MOST) sum += load1(dy + o) * share;
                else if (place[o] == pixel) sum += load1(dy + o);
            }
        store1(dx + i, sum);
    }
}

template <class T>
static __global__ void avgpool(const KernelPool p, const T *x, T *y, int64_t count)
{
    float share = 1.0f / (float)(p.kernel_height * p.kernel_width);

    for (int64_t i = first_element(); i < count; i += next_element()) {
        WindowPlace    at = place_of(i, p.out_height, p.out_width, p.channels);
        const T *in = row_of(x, p, at);
        float    sum = 0.0f;

        for (int ky = 0; ky < p.kernel_height; ky++)
            for (int kx = 0; kx < p.kernel_width; kx++) {
                int iy = at.y * p.stride - p.padding + ky, ix = at.x * p.stride - p.padding + kx;

                if (iy >= 0 && ix >= 0 && iy < p.in_height && ix < p.in_width)
                    sum += load1(in + ((int64_t)iy * p.in_width + ix) * p.channels);
            }
        store1(y + i, sum * share);
    }
}

static int64_t outputs(const KernelPool *p)
{
    return p->rows * p->out_height * p->out_width * p->channels;
}
static int64_t inputs(const KernelPool *p)
{
    return p->rows * p->in_height * p->in_width * p->channels;
}

int kernel_maxpool(const KernelPool *p, const void *x, void *y, int *place, cudaStream_t stream)
{
    OF_TYPE(p->type, LAUNCH((maxpool<T>), blocks_for(outputs(p)), 256, 0, stream, *p, (const T *)x,
                            (T *)y, place, outputs(p)));
    return LAUNCHED;
}

int kernel_maxpool_gradient(const KernelPool *p, const int *place, const void *dy, void *dx,
                            cudaStream_t stream)
{
    OF_TYPE(p->type, LAUNCH((gradient<true, T>), blocks_for(inputs(p)), 256, 0, stream, *p, place,
                            (const T *)dy, (T *)dx, inputs(p)));
    return LAUNCHED;
}

int kernel_avgpool(const KernelPool *p, const void *x, void *y, cudaStream_t stream)
{
    OF_TYPE(p->type, LAUNCH((avgpool<T>), blocks_for(outputs(p)), 256, 0, stream, *p, (const T *)x,
                            (T *)y, outputs(p)));
    return LAUNCHED;
}

int kernel_avgpool_gradient(const KernelPool *p, const void *dy, void *dx, cudaStream_t stream)
{
    OF_TYPE(p->type, LAUNCH((gradient<false, T>), blocks_for(inputs(p)), 256, 0, stream, *p,
                            (const int *)nullptr, (const T *)dy, (T *)dx, inputs(p)));
    return LAUNCHED;
}
