/* Loops of depthwise convolutions over slices: sixteen channels of one image, put into a tile with
 * zeros around it, so that no window needs a branch, and read from the nearest cache as often as
 * windows overlap. */
#ifndef KERNELS_CPU_DEPTHWISE_LOOPS_H
#define KERNELS_CPU_DEPTHWISE_LOOPS_H

#include <stdint.h>

enum { SLICE_LANES = 16, SLICE_WINDOW = 7 };     /* channels together; the widest window */

typedef float SliceLanes __attribute__((vector_size(SLICE_LANES * sizeof(float)), aligned(4),
                                        may_alias));

/* A slice of an image in memory: [height][width][channels], of which lanes are the slice's. */
typedef struct {
    const float *at;
    int64_t channels;
    int     height, width, lanes;
} MapSlice;

/* kernel: 3, 5 or 7 both ways; stride 1 or 2; pitch: of the input's tile, from row to row. */
typedef struct {
    int kernel, stride, pitch;
} SliceWindow;

/* Outputs of a slice in memory: [height][width], row and column floats from one to the next; lanes
 * floats of each are the slice's. */
typedef struct {
    float  *at;
    int64_t row, column;
    int     height, width, lanes;
} SlicePlaces;

/* Copies the slice into the tile, whose rows are pitch apart, from row top and column left on, as
 * far as rows rows and pitch columns go; lanes that it has not become 0. What is around stays. */
void slice_load(SliceLanes *tile, int rows, int pitch, int top, int left, const MapSlice *from);

/* to = sums over a window of rows by columns (at most SLICE_WINDOW) of weights [rows][columns]
 * tile, whose rows are pitch apart; windows of neighbours begin stride (1 or 2) apart. */
void slice_windows(const SlicePlaces *to, const SliceLanes *tile, int pitch, int stride,
                   const SliceLanes *weights, int rows, int columns);

/* sum[ky][kx] += sum over outputs [height][width] of tile dy; rows of dy are dy_pitch apart. */
void slice_weights(SliceLanes *sum, const SliceLanes *tile, const SliceWindow *window,
                   const SliceLanes *dy, int height, int width, int dy_pitch);

#endif
