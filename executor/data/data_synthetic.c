/* Random numbers: sample i of a part is always the same, whatever the seed and epoch, as a
 * file's would be. Uniform of mean 0 and deviation 1; of tokens, any. */
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "executor/data/data_source.h"

typedef struct {
    DataWants wants;
    int64_t   count;
} Synthetic;

/* The workload's number of samples; a tenth of it for validation. */
static int synthetic_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                          Error *err)
{
    Synthetic *synthetic = calloc(1, sizeof *synthetic);

    (void)folder;
    if (!synthetic) return error_no_memory(err);
    synthetic->wants = *wants;
    *count = wants->part == DATA_TRAIN ? wants->samples : (wants->samples + 9) / 10;
    *out = synthetic;
    return 0;
}

/* Token numbers below the vocabulary, and types. */
static void load_tokens(const DataWants *wants, int64_t i, float *out)
{
    for (int64_t t = 0; t < wants->shape.height; t++) {
        uint64_t word = rng_u64((uint64_t)wants->part, (uint64_t)i, (uint64_t)t, 3);
        float   *token = out + t * wants->shape.channels;
        token[0] = (float)((word >> 32) % (uint64_t)wants->vocabulary);
        if (wants->types > 0) token[1] = (float)((word & 0xFFFFFFFF) % (uint64_t)wants->types);
    }
}

static int synthetic_label(const void *state, int64_t i)
{
    const DataWants *wants = &((const Synthetic *)state)->wants;

    return wants->classes > 0
               ? (int)(rng_u64((uint64_t)wants->part, (uint64_t)i, 0, 2) % (uint64_t)wants->classes)
               : -1;
}

static int synthetic_load(void *state, int64_t i, uint64_t seed, int64_t epoch, float *out,
                          int *label, bool *damaged, Error *err)
{
    const Synthetic *synthetic = state;
    const DataWants *wants = &synthetic->wants;
    int64_t elements = (int64_t)wants->shape.channels * wants->shape.height * wants->shape.width;
    const float      scale = sqrtf(12.0f) * 0x1p-24f;      /* deviation of a uniform: width /
                                                            * sqrt(12) */

    (void)seed; (void)epoch; (void)damaged; (void)err;
    if (wants->vocabulary > 0) load_tokens(wants, i, out);
    for (int64_t j = 0; wants->vocabulary == 0 && j < elements; j += 2) {
        uint64_t word = rng_u64((uint64_t)wants->part, (uint64_t)i, (uint64_t)j, 1);
        out[j] = ((float)(word >> 40) - 0x1p23f) * scale;
        if (j + 1 < elements) out[j + 1] = ((float)(word & 0xFFFFFF) - 0x1p23f) * scale;
    }
    *label = synthetic_label(state, i);
    return 0;
}

const DataSource DATA_SYNTHETIC = {"synthetic", false, synthetic_open, free, synthetic_load,
                                   NULL,        NULL,  false,          NULL, synthetic_label};
