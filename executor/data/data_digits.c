/* The bundled digits (data/README.md), compiled in: rows of 64 pixels of 0..16 and a label,
 * of which every fifth is for validation. Not augmented: a digit fills its 8 x 8 pixels. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "executor/data/data_source.h"

enum {
    ROWS = 1797,
    SIDE = 8,
    PIXELS = SIDE * SIDE,
    CLASSES = 10,
    LARGEST = 16,
    VALIDATION_EVERY = 5
};

/* The file's bytes; the assembler finds it from the sources' root, where make runs. */
extern const char pipebd_digits_csv[], pipebd_digits_csv_end[];
__asm__(".section .rodata\n"
        ".globl pipebd_digits_csv, pipebd_digits_csv_end\n"
        ".hidden pipebd_digits_csv, pipebd_digits_csv_end\n"
        "pipebd_digits_csv: .incbin \"data/digits.csv\"\n"
        "pipebd_digits_csv_end:\n"
        ".text\n");

typedef struct {
    DataWants     wants;
    int64_t       count;
    unsigned char image[ROWS][PIXELS + 1];       /* pixels, label */
} Digits;

/* The file is ours and its form is known: header, rows of whole numbers. */
static void read_rows(Digits *digits)
{
    const char *at = strchr(pipebd_digits_csv, '\n') + 1;

    for (int row = 0; row < ROWS; row++) {
        bool for_validation = row % VALIDATION_EVERY == 0;
        bool ours = for_validation == (digits->wants.part == DATA_VALIDATION);
        for (int i = 0; i <= PIXELS; i++) {
            int value = 0;
            for (; *at >= '0' && *at <= '9'; at++) value = 10 * value + (*at - '0');
            assert(*at == (i < PIXELS ? ',' : '\n'));
            at++;
            digits->image[digits->count][i] = (unsigned char)value;
        }
        digits->count += ours;
    }
    assert(at == pipebd_digits_csv_end);
}

static int digits_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                       Error *err)
{
    (void)folder;
    if (data_expect(wants, "digits", (Shape){1, SIDE, SIDE}, CLASSES, err) != 0) return -1;
    Digits *digits = calloc(1, sizeof *digits);
    if (!digits) return error_no_memory(err);
    digits->wants = *wants;
    read_rows(digits);
    *count = digits->count;
    *out = digits;
    return 0;
}

static int digits_load(void *state, int64_t i, uint64_t seed, int64_t epoch, float *out, int *label,
                       bool *damaged, Error *err)
{
    const Digits        *digits = state;
    const unsigned char *image = digits->image[i];

    (void)seed; (void)epoch; (void)damaged; (void)err;
    for (int j = 0; j < PIXELS; j++)
        out[j] = data_normal(&digits->wants, 0, (float)image[j] / LARGEST);
    *label = image[PIXELS];
    return 0;
}

static int digits_label(const void *state, int64_t i)
{
    return ((const Digits *)state)->image[i][PIXELS];
}

const DataSource DATA_DIGITS = {"digits", false, digits_open, free, digits_load,
                                NULL,     NULL,  false,       NULL, digits_label};
