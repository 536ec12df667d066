#include "executor/data/jpeg.h"

#ifdef HAVE_JPEG

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

enum { MOST_PIXELS = 1 << 28 };

/* What a decoder needs to give up without exit(), libjpeg's own way. */
typedef struct {
    struct jpeg_error_mgr        manager;        /* first: libjpeg hands a pointer to it back */
    struct jpeg_decompress_struct decoder;
    jmp_buf                      give_up;
    char                         message[JMSG_LENGTH_MAX];
    bool                         no_memory;
    JpegImage                    image;
    unsigned char               *row;            /* of four components; NULL: three */
} Decoding;

static void fail(j_common_ptr common)
{
    Decoding *d = (Decoding *)common->err;

    d->no_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
    common->err->format_message(common, d->message);
    longjmp(d->give_up, 1);
}

/* Level -1 is a warning of corrupt data, the others are traces. */
static void message(j_common_ptr common, int level)
{
    if (level < 0) fail(common);
}

/* Adobe writes CMYK inverted. */
static void cmyk_to_rgb(unsigned char *rgb, const unsigned char *cmyk, int width, bool inverted)
{
    for (int x = 0; x < width; x++, rgb += 3, cmyk += 4)
        for (int c = 0; c < 3; c++) {
            int ink = inverted ? cmyk[c] : 255 - cmyk[c],
                black = inverted ? cmyk[3] : 255 - cmyk[3];
            rgb[c] = (unsigned char)(ink * black / 255);
        }
}

static void allocate(Decoding *d, bool four)
{
    struct jpeg_decompress_struct *decoder = &d->decoder;
    size_t pixels = (size_t)decoder->output_width * decoder->output_height;

    d->image.pixels = malloc(3 * pixels);
    if (four) d->row = malloc(4 * (size_t)decoder->output_width);
    if (d->image.pixels && (!four || d->row)) return;
    d->no_memory = true;
    longjmp(d->give_up, 1);
}

static void read_rows(Decoding *d)
{
    struct jpeg_decompress_struct *decoder = &d->decoder;
    size_t stride = 3 * (size_t)decoder->output_width;

    while (decoder->output_scanline < decoder->output_height) {
        unsigned char *to = d->image.pixels + decoder->output_scanline * stride;
        jpeg_read_scanlines(decoder, d->row ? &d->row : &to, 1);
        if (d->row) cmyk_to_rgb(to, d->row, (int)decoder->output_width, decoder->saw_Adobe_marker);
    }
}

/* Jumps to give_up when something is wrong. */
static void decode(Decoding *d, const char *bytes, size_t length, JpegReduction *reduction,
                   void *context)
{
    struct jpeg_decompress_struct *decoder = &d->decoder;

    jpeg_create_decompress(decoder);
    jpeg_mem_src(decoder, (const unsigned char *)bytes, (unsigned long)length);
    jpeg_read_header(decoder, TRUE);
    if ((double)decoder->image_width * decoder->image_height > MOST_PIXELS) {
        snprintf(d->message, sizeof d->message, "%u x %u pixels are too many", decoder->image_width,
                 decoder->image_height);
        longjmp(d->give_up, 1);
    }
    d->image.width = (int)decoder->image_width;
    d->image.height = (int)decoder->image_height;
    d->image.reduced = reduction(context, d->image.width, d->image.height);
    decoder->scale_num = 1;
    decoder->scale_denom = (unsigned)d->image.reduced;
    bool four = decoder->num_components == 4;
    decoder->out_color_space = four ? JCS_CMYK : JCS_RGB;
    decoder->dct_method = JDCT_ISLOW;        /* the same bits on every machine */
    jpeg_start_decompress(decoder);
    d->image.pixel_width = (int)decoder->output_width;
    d->image.pixel_height = (int)decoder->output_height;
    allocate(d, four);
    read_rows(d);
    jpeg_finish_decompress(decoder);
}

int jpeg_decode(JpegImage *out, const char *bytes, size_t length, JpegReduction *reduction,
                void *context, Error *err)
{
    Decoding *d = calloc(1, sizeof *d);
    int       rc;

    *out = (JpegImage){0};
    if (!d) return error_no_memory(err);
    d->decoder.err = jpeg_std_error(&d->manager);
    d->manager.error_exit = fail;
    d->manager.emit_message = message;
    if (setjmp(d->give_up) == 0) {
        decode(d, bytes, length, reduction, context);
        *out = d->image;
        rc = 0;
    } else {
        free(d->image.pixels);
        rc = d->no_memory ? error_no_memory(err) : error_set(err, "damaged JPEG: %s", d->message);
    }
    jpeg_destroy_decompress(&d->decoder);
    free(d->row);
    free(d);
    return rc;
}

bool jpeg_available(void)
{
    return true;
}

#else

int jpeg_decode(JpegImage *out, const char *bytes, size_t length, JpegReduction *reduction,
                void *context, Error *err)
{
    (void)bytes; (void)length; (void)reduction; (void)context;
    *out = (JpegImage){0};
    return error_set(err, "this build has no libjpeg");
}

bool jpeg_available(void)
{
    return false;
}

#endif
