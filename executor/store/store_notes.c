#include "executor/store/store_notes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "executor/checkpoint/state.h"
#include "include/pipebd.h"
#include "workloads/head.h"

/* ---- layers ------------------------------------------------------------------------ */

/* Everything of a layer that its result depends on. Field by field: structs have gaps. */
static void hash_layer(const Layer *layer, void *context)
{
    uint64_t        *hash = context;
    const Attention *a = &layer->attention;
    const double     reals[] = {layer->eps, a->rotary.theta, a->rotary.factor, a->rotary.low,
                                a->rotary.high};
    const int        numbers[] = {(int)layer->kind,
                                  layer->in.channels,
                                  layer->in.height,
                                  layer->in.width,
                                  layer->out.channels,
                                  layer->out.height,
                                  layer->out.width,
                                  layer->kernel,
                                  layer->stride,
                                  layer->padding,
                                  layer->groups,
                                  layer->bias,
                                  layer->path_count,
                                  (int)layer->function,
                                  layer->vocabulary,
                                  layer->types,
                                  layer->positions,
                                  layer->class_token,
                                  (int)layer->pooling,
                                  a->heads,
                                  a->kv_heads,
                                  a->head_dim,
                                  a->causal,
                                  a->window,
                                  a->norm,
                                  a->rotary.dim,
                                  a->rotary.original};

    *hash = hash_bytes(*hash, layer->name, strlen(layer->name) + 1);
    *hash = hash_bytes(*hash, numbers, sizeof numbers);
    *hash = hash_bytes(*hash, reals, sizeof reals);
}

/* Without its head, where the last boundary is what goes into that. */
static uint64_t hash_block(uint64_t hash, const Workload *workload, int b)
{
    Layers body = layers_body(&workload->block[b].teacher, workload_has_head(workload, b));

    layers_each(&body, hash_layer, &hash);
    return hash_bytes(hash, &body.count, sizeof body.count);
}

static uint64_t hash_transforms(const Workload *w)
{
    const int numbers[] = {w->input.channels, w->input.height, w->input.width, w->vocabulary,
                           w->types};
    size_t    channels = (size_t)w->input.channels;
    uint64_t  hash = hash_bytes(HASH_START, numbers, sizeof numbers);

    hash = hash_bytes(hash, w->mean, channels * sizeof *w->mean);
    return hash_bytes(hash, w->deviation, channels * sizeof *w->deviation);
}

/* ---- weights ----------------------------------------------------------------------- */

/* Of a block's tensors, in whatever order they are. */
static uint64_t hash_weights(const Tensors *teacher, int block)
{
    uint64_t sum = 0;

    for (int i = 0; i < tensors_count(teacher); i++) {
        const Tensor *tensor = tensors_at(teacher, i);
        if (state_block(tensor->name) != block || state_prefix(tensor->name) > 0) continue;
        uint64_t values =
            hash_words(tensor->values, (size_t)tensor->count * sizeof *tensor->values);
        sum += hash_bytes(hash_bytes(HASH_START, tensor->name, strlen(tensor->name)), &values,
                          sizeof values);
    }
    return sum;
}

/* ---- notes ------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5)))
static void set(StoreNote *note, const char *key, const char *what, const char *format, ...)
{
    va_list arguments;

    *note = (StoreNote){.key = key, .what = what};
    va_start(arguments, format);
    vsnprintf(note->value, sizeof note->value, format, arguments);
    va_end(arguments);
}

/* Those that all boundaries share. */
static int set_common(StoreNote out[STORE_NOTES], const StoreOptions *o, Error *err)
{
    uint64_t data;
    Text     backend = {0};

    if (data_hash(&data, o->data, err) != 0
        || device_spec_version(o->devices, &backend, err) != 0) {
        text_free(&backend);
        return -1;
    }
    set(&out[0], "version", "another version of pipebd", "%s", PIPEBD_VERSION);
    set(&out[2], "data", "other data", "%016" PRIx64, data);
    set(&out[3], "transforms", "other transforms of the data", "%016" PRIx64,
        hash_transforms(o->workload));
    set(&out[6], "precision", "another precision", "%s", precision_name(o->devices->precision));
    set(&out[7], "backend", "another backend, or another version of it", "%s",
        text_string(&backend));
    text_free(&backend);
    return 0;
}

StoreNote (*store_notes(const StoreOptions *o, Error *err))[STORE_NOTES]
{
    int       blocks = o->workload->block_count;
    StoreNote common[STORE_NOTES], (*out)[STORE_NOTES] = calloc((size_t)blocks + 1, sizeof *out);
    uint64_t  cuts = HASH_START, weights = HASH_START;

    if (!out) { error_no_memory(err); return NULL; }
    if (set_common(common, o, err) != 0) { free(out); return NULL; }
    for (int k = 0; k <= blocks; k++) {
        memcpy(out[k], common, sizeof common);
        set(&out[k][1], "boundary", "another boundary", "%d", k);
        set(&out[k][4], "cuts", "other layers, or blocks that are cut elsewhere", "%016" PRIx64,
            cuts);
        if (k == 0) set(&out[k][5], "teacher", "another teacher", "none");
        else if (o->teacher) set(&out[k][5], "teacher", "another teacher", "%016" PRIx64, weights);
        else set(&out[k][5], "teacher", "another teacher", "seed %" PRIu64, o->seed);
        if (k == blocks) break;
        cuts = hash_block(cuts, o->workload, k);
        if (!o->teacher) continue;
        uint64_t block = hash_weights(o->teacher, k);
        weights = hash_bytes(weights, &block, sizeof block);
    }
    return out;
}
