/* Sums over the devices of a group, read from each other's memory: element by element in the order
 * of the members, whoever adds. 8 bytes an element and member. */
#include "kernels/cuda/launch.h"

template <int N> static __global__ void sum_members(const KernelMembers members, int64_t count)
{
    for (int64_t i = first_element() * N; i < count; i += next_element() * N) {
        Floats<N> sum = load<N>(static_cast<float *>(members.values[0]) + i);

        for (int m = 1; m < members.count; m++) {
            Floats<N> more = load<N>(static_cast<float *>(members.values[m]) + i);
            for (int j = 0; j < N; j++) sum.v[j] += more.v[j];
        }
        for (int m = 0; m < members.count; m++)
            store<N>(static_cast<float *>(members.values[m]) + i, sum);
    }
}

int kernel_sum_members(const KernelMembers *members, int64_t count, cudaStream_t stream)
{
    bool wide = count % 4 == 0;

    if (count < 1) return 0;
    for (int m = 0; m < members->count; m++) wide = wide && aligned16(members->values[m]);
    if (wide) LAUNCH((sum_members<4>), blocks_for(count / 4), 256, 0, stream, *members, count);
    else LAUNCH((sum_members<1>), blocks_for(count), 256, 0, stream, *members, count);
    return LAUNCHED;
}

static __global__ void sum_doubles(double *to, const KernelMembers members, int64_t count)
{
    for (int64_t i = first_element(); i < count; i += next_element()) {
        double sum = static_cast<double *>(members.values[0])[i];

        for (int m = 1; m < members.count; m++) sum += static_cast<double *>(members.values[m])[i];
        to[i] = sum;
    }
}

int kernel_sum_doubles(double *to, const KernelMembers *members, int64_t count, cudaStream_t stream)
{
    if (count < 1) return 0;
    LAUNCH(sum_doubles, blocks_for(count), 256, 0, stream, to, *members, count);
    return LAUNCHED;
}
