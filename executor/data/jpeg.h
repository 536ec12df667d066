/* JPEG files as pixels, by libjpeg-turbo, where the build found it. */
#ifndef EXECUTOR_DATA_JPEG_H
#define EXECUTOR_DATA_JPEG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct {
    int width, height;       /* of the file; the pixels' are 1 / reduced of it, rounded up */
    int reduced;             /* 1, 2, 4, 8 */
    int pixel_width, pixel_height;
    unsigned char *pixels;   /* [pixel_height][pixel_width][3], red, green, blue; yours: free()
                              * it */
} JpegImage;

/* How far an image of this size may be reduced: 1, 2, 4 or 8. */
typedef int JpegReduction(void *context, int width, int height);

/* Decodes a whole file in memory. Grey and CMYK become RGB. Any fault that libjpeg finds,
 * warnings of corrupt data included, is an error; error_is_no_memory() tells the one that is
 * none of the file's. */
int jpeg_decode(JpegImage *out, const char *bytes, size_t length, JpegReduction *reduction,
                void *context, Error *err);

/* Whether the build found libjpeg-turbo; without it jpeg_decode() is an error that says so. */
bool jpeg_available(void);

#endif
