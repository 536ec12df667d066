/* Samples as somebody's own program prepared them, from safetensors files that are mapped into
 * memory:
 *
 *     tensors:FOLDER     train.safetensors, val.safetensors, each with
 *         inputs         [samples][channels][height][width] as PyTorch has them: F32, taken as they
 *                        are; or U8, 0..255, which become 0..1 and are normalised
 *         labels         [samples] of I64 or I32; only where the workload has classes
 *
 * Nothing is augmented. A sample with a label that is no class, or with a number that is not
 * finite, is damaged. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/minmax.h"
#include "executor/checkpoint/tensors.h"
#include "executor/data/data_source.h"

typedef struct {
    DataWants            wants;
    DataFile             file;
    int64_t              count;
    const unsigned char *inputs, *labels;        /* in the file; labels NULL: there are none */
    bool                 narrow;         /* inputs are U8 */
    int                  label_bytes;
} TensorData;

static void tensor_data_free(void *state)
{
    TensorData *data = state;

    data_unmap(&data->file);
    free(data);
}

static int take_inputs(TensorData *data, const TensorPlace *place, Error *err)
{
    const Shape *s = &data->wants.shape;

    data->narrow = strcmp(place->dtype, "U8") == 0;
    if (!data->narrow && strcmp(place->dtype, "F32") != 0)
        return error_set(err, "%s: inputs are %s, expected F32 or U8", data->file.path,
                         place->dtype);
    if (place->rank != 4 || place->dim[1] != s->channels || place->dim[2] != s->height
        || place->dim[3] != s->width || place->dim[0] < 1)
        return error_set(
            err,
            "%s: inputs have another shape than the workload's, expected [samples][%d][%d][%d]",
            data->file.path, s->channels, s->height, s->width);
    data->inputs = place->bytes;
    data->count = place->dim[0];
    return 0;
}

static int take_labels(TensorData *data, const TensorPlace *place, Error *err)
{
    data->label_bytes = place->bits / 8;
    if (strcmp(place->dtype, "I64") != 0 && strcmp(place->dtype, "I32") != 0)
        return error_set(err, "%s: labels are %s, expected I64 or I32", data->file.path,
                         place->dtype);
    if (place->rank != 1 || place->dim[0] != data->count)
        return error_set(err, "%s: expected labels of %" PRId64 " samples, one number each",
                         data->file.path, data->count);
    data->labels = place->bytes;
    return 0;
}

static int visit_inputs(void *context, const TensorPlace *place, Error *err)
{
    return strcmp(place->name, "inputs") == 0 ? take_inputs(context, place, err) : 0;
}

static int visit_labels(void *context, const TensorPlace *place, Error *err)
{
    return strcmp(place->name, "labels") == 0 ? take_labels(context, place, err) : 0;
}

static int find_tensors(TensorData *data, const char *folder, Error *err)
{
    if (data_expect(&data->wants, "tensors", data->wants.shape, data->wants.classes, err) != 0)
        return -1;
    if (data_map(&data->file, folder, data->wants.part, "safetensors", false, err) != 0) return -1;
    if (tensors_places(data->file.path, data->file.bytes, data->file.size, visit_inputs, data, err)
        != 0)
        return -1;
    if (!data->inputs) return error_set(err, "%s: has no tensor \"inputs\"", data->file.path);
    if (data->wants.classes == 0) return 0;
    if (tensors_places(data->file.path, data->file.bytes, data->file.size, visit_labels, data, err)
        != 0)
        return -1;
    return data->labels
               ? 0
               : error_set(err, "%s: has no tensor \"labels\", and the workload has %d classes",
                           data->file.path, data->wants.classes);
}

static int tensor_data_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                            Error *err)
{
    TensorData *data = calloc(1, sizeof *data);

    if (!data) return error_no_memory(err);
    *out = data;
    data->wants = *wants;
    if (find_tensors(data, folder, err) != 0) return -1;
    *count = data->count;
    return 0;
}

static int64_t label_at(const TensorData *data, int64_t i)
{
    int32_t narrow;
    int64_t wide;

    memcpy(&narrow, data->labels + i * data->label_bytes, sizeof narrow);
    if (data->label_bytes == 4) return narrow;
    memcpy(&wide, data->labels + i * data->label_bytes, sizeof wide);
    return wide;
}

static int take_label(const TensorData *data, int64_t i, int *label, bool *damaged, Error *err)
{
    int64_t value = data->labels ? label_at(data, i) : -1;

    *label = (int)value;
    if (!data->labels || (value >= 0 && value < data->wants.classes)) return 0;
    *damaged = true;
    return error_set(err, "%s: sample %" PRId64 " has the label %" PRId64 ", expected 0 to %d",
                     data->file.path, i, value, data->wants.classes - 1);
}

/* Element at of a channel. */
static float input_at(const TensorData *data, int64_t at, int channel)
{
    float value;

    if (data->narrow) return data_normal(&data->wants, channel, (float)data->inputs[at] / 255);
    memcpy(&value, data->inputs + at * (int64_t)sizeof value, sizeof value);
    return value;
}

/* From [channels][places] to channels last. */
static int tensor_data_load(void *state, int64_t i, uint64_t seed, int64_t epoch, float *out,
                            int *label, bool *damaged, Error *err)
{
    const TensorData *data = state;
    const Shape      *s = &data->wants.shape;
    int64_t           places = (int64_t)s->height * s->width, first = i * s->channels * places;

    (void)seed; (void)epoch;
    if (take_label(data, i, label, damaged, err) != 0) return -1;
    for (int c = 0; c < s->channels; c++)
        for (int64_t p = 0; p < places; p++) {
            float value = input_at(data, first + c * places + p, c);
            if (!isfinite(value)) {
                *damaged = true;
                return error_set(err, "%s: sample %" PRId64 " has a number that is not finite",
                                 data->file.path, i);
            }
            out[p * s->channels + c] = value;
        }
    return 0;
}

static int tensor_data_hash(void *state, uint64_t *hash, Error *err)
{
    const TensorData *data = state;
    size_t            bytes =
        (size_t)(data->count * shape_count(data->wants.shape)) * (data->narrow ? 1 : sizeof(float));
    const uint64_t    parts[] = {hash_words(data->inputs, bytes), data->narrow};

    (void)err;
    *hash = hash_bytes(*hash, parts, sizeof parts);
    return 0;
}

static int tensors_label(const void *state, int64_t i)
{
    const TensorData *data = state;

    /* no label becomes a class */
    return data->labels ? (int)larger(-1, smaller(label_at(data, i), INT_MAX)) : -1;
}

const DataSource DATA_TENSORS = {
    "tensors", true,  tensor_data_open, tensor_data_free, tensor_data_load, NULL,
    NULL,      false, tensor_data_hash, tensors_label};
