/* Where an image is cut and how what is cut out becomes a network's input. */
#ifndef EXECUTOR_DATA_CROP_H
#define EXECUTOR_DATA_CROP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* A rectangle of an image, in its pixels. */
typedef struct { double x, y, width, height; } Crop;

/* Random area (8 % to 100 %) and aspect (3/4 to 4/3), as torchvision's RandomResizedCrop
 * (Szegedy et al., 2014): ten tries, then the centre. draw gives the n-th 0 <= x < 1. */
typedef double CropDraw(void *context, int n);
Crop crop_random(int width, int height, CropDraw *draw, void *context);

/* What remains when the image is resized until it covers 8/7 of out_width x out_height (256 for
 * 224) and cut to that at its centre. */
Crop crop_centre(int width, int height, int out_width, int out_height);

/* How far an image can be reduced (1, 2, 4, 8) so that the crop still has at least the pixels
 * of the output each way. */
int crop_reduction(Crop crop, int out_width, int out_height);

/* Resamples the crop (in pixels of [height][width][3]) to out [out_height][out_width][3], 0 to 1:
 * a triangle filter as wide as a pixel of the coarser grid, as Pillow's bilinear, so that nothing
 * aliases. mirror: left to right. */
int crop_resample(float *out, int out_width, int out_height, const unsigned char *pixels, int width,
                  int height, Crop crop, bool mirror, Error *err);

#endif
