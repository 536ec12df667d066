#include "executor/data/data.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/minmax.h"
#include "base/rng.h"
#include "executor/data/data_source.h"

static const DataSource *const SOURCES[] = {&DATA_SYNTHETIC, &DATA_DIGITS,  &DATA_CIFAR10,
                                            &DATA_IMAGES,    &DATA_TENSORS, &DATA_TOKENS,
                                            &DATA_TOKENS32,  &DATA_BYTES,   NULL};

/* Far above any data, and far below what could wrap around. */
#define MOST_SAMPLES (INT64_C(1) << 40)

enum { BAD_NOT_KNOWN, BAD_NOT, BAD_SKIPPED, BAD_REFUSED };

struct Data {
    const DataSource *source;
    void             *state;
    int64_t           count, all, elements, skip_bad;    /* count: of all, as data_limit() says */
    int               classes, vocabulary, channels;     /* of the workload */
    atomic_uchar     *bad;           /* [count] of BAD_... */
    _Atomic int64_t   skipped;
    bool              augments;
    DataTell         *tell;          /* NULL: nobody is told */
    void             *context;
};

/* ---- opening -------------------------------------------------------------- */

/* "NAME" or "NAME:FOLDER" of text; *folder is NULL for the former. */
static int find_source(const DataSource **out, const char **folder, const char *text, Error *err)
{
    size_t length = strcspn(text, ":");

    for (int i = 0; SOURCES[i]; i++) {
        if (strlen(SOURCES[i]->name) != length || strncmp(SOURCES[i]->name, text, length) != 0)
            continue;
        *out = SOURCES[i];
        *folder = text[length] ? text + length + 1 : NULL;
        if (SOURCES[i]->folder && (!*folder || !**folder))
            return error_set(err, "data source \"%s\" needs a folder: %s:FOLDER", text,
                             SOURCES[i]->name);
        if (!SOURCES[i]->folder && *folder)
            return error_set(err, "data source \"%s\" takes no folder, expected %s", text,
                             SOURCES[i]->name);
        return 0;
    }
    return error_set(err, "data source \"%s\" is not known, expected one of: %s", text,
                     DATA_SOURCES);
}

int data_check_source(const char *source, Error *err)
{
    const DataSource *found;
    const char       *folder;

    return find_source(&found, &folder, source, err);
}

static int wants_of(DataWants *wants, const Workload *workload, DataPart part, bool lenient,
                    Error *err)
{
    *wants = (DataWants){.shape = workload->input, .classes = workload->classes,
                         .samples = workload->samples, .vocabulary = workload->vocabulary,
                         .types = workload->types, .part = part,
                         .augment = part == DATA_TRAIN && !workload->unaugmented,
                         .lenient = lenient};
    for (int c = 0; c < workload->input.channels; c++) {
        wants->mean[c] = workload->mean[c];
        wants->deviation[c] = workload->deviation[c];
        if (!(workload->deviation[c] > 0))
            return error_set(err, "the workload's deviation of channel %d is not positive", c);
    }
    return 0;
}

int data_open(Data **out, const char *source, const Workload *workload, DataPart part,
              int64_t skip_bad, Error *err)
{
    int         rc = -1;
    const char *folder = NULL;
    DataWants   wants;
    Data       *data = calloc(1, sizeof *data);

    *out = NULL;
    if (!data) { error_no_memory(err); goto done; }
    if (wants_of(&wants, workload, part, skip_bad > 0, err) != 0) goto done;
    if (find_source(&data->source, &folder, source, err) != 0) goto done;
    if (data->source->open(&data->state, &data->count, folder, &wants, err) != 0) goto done;
    data->elements = (int64_t)wants.shape.channels * wants.shape.height * wants.shape.width;
    data->skip_bad = skip_bad;
    data->all = data->count;
    data->classes = wants.classes;
    data->vocabulary = wants.vocabulary;
    data->channels = wants.shape.channels;
    data->augments = data->source->augments && wants.augment;
    data->bad = data->count <= MOST_SAMPLES ? calloc((size_t)data->count, sizeof *data->bad) : NULL;
    if (!data->bad) {
        error_set(err, "no memory for the state of %" PRId64 " samples, a byte each", data->count);
        goto done;
    }
    *out = data; data = NULL; rc = 0;
done:
    data_free(data);
    return rc;
}

void data_free(Data *data)
{
    if (!data) return;
    if (data->state) data->source->free(data->state);
    free(data->bad);
    free(data);
}

int64_t data_count(const Data *data)
{
    return data->count;
}

void data_limit(Data *data, int64_t count)
{
    data->count = smaller(count, data->all);
}

int64_t data_elements(const Data *data)
{
    return data->elements;
}

bool data_is_uneven(const Data *data)
{
    return data->source->uneven && data->source->uneven(data->state);
}

int data_length(const Data *data, int64_t i) { return data->source->length(data->state, i); }

bool data_augments(const Data *data) { return data->augments; }

int data_hash(uint64_t *out, const Data *data, Error *err)
{
    *out = hash_bytes(HASH_START, data->source->name, strlen(data->source->name) + 1);
    *out = hash_bytes(*out, &data->count, sizeof data->count);
    return data->source->hash ? data->source->hash(data->state, out, err) : 0;
}

int data_hash_file(uint64_t *hash, int fd, const char *path, int64_t offset, int64_t count,
                   Error *err)
{
    enum { CHUNK = 256 * 1024 };
    char *chunk = malloc(CHUNK);
    int   rc = chunk ? 0 : error_no_memory(err);

    while (rc == 0 && count > 0) {
        ssize_t got = pread(fd, chunk, count < CHUNK ? (size_t)count : CHUNK, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) rc = error_set(err, "%s: cannot read: %s", path, strerror(errno));
        if (got <= 0) break;
        uint64_t part = hash_words(chunk, (size_t)got);
        *hash = hash_bytes(*hash, &part, sizeof part);
        offset += got;
        count -= got;
    }
    free(chunk);
    return rc;
}

void data_tell_skipped(Data *data, DataTell *tell, void *context)
{
    data->tell = tell;
    data->context = context;
}

int64_t data_skipped(const Data *data)
{
    return atomic_load(&data->skipped);
}

/* ---- loading -------------------------------------------------------------- */

/* Counts sample i as damaged, and tells of it, once. err: what is wrong with it. Fails, now and for
 * this sample ever after, when that is one more than may be skipped. */
static int skip(Data *data, int64_t i, Error *err)
{
    unsigned char known = atomic_load(&data->bad[i]);

    while (known <= BAD_NOT && !atomic_compare_exchange_weak(&data->bad[i], &known, BAD_SKIPPED)) {}
    if (known <= BAD_NOT) {
        int64_t before = atomic_fetch_add(&data->skipped, 1);
        if (before < data->skip_bad) {
            if (data->tell) data->tell(data->context, before, err->text);
            return 0;
        }
        atomic_fetch_sub(&data->skipped, 1);
        atomic_store(&data->bad[i], BAD_REFUSED);
    } else if (known == BAD_SKIPPED) {
        return 0;
    }
    if (data->skip_bad > 0)
        error_prefix(err, "more damaged samples than the %" PRId64 " that may be skipped; one more",
                     data->skip_bad);
    return -1;
}

/* Leaves what is known of it otherwise. */
static void note_good(Data *data, int64_t i)
{
    unsigned char known = BAD_NOT_KNOWN;

    if (atomic_load(&data->bad[i]) == known)
        atomic_compare_exchange_strong(&data->bad[i], &known, BAD_NOT);
}

int data_load(Data *data, int64_t i, uint64_t seed, int64_t epoch, float *out, int *label,
              Error *err)
{
    Error reason = {""};

    for (int64_t tried = 0; tried < data->count; tried++, i = (i + 1) % data->count) {
        bool damaged = false;
        if (atomic_load(&data->bad[i]) == BAD_SKIPPED) continue;
        if (data->source->load(data->state, i, seed, epoch, out, label, &damaged, &reason) == 0) {
            note_good(data, i);
            return 0;
        }
        if (!damaged || skip(data, i, &reason) != 0) return error_set(err, "%s", reason.text);
    }
    return error_set(err, "no sample is good%s%s", reason.text[0] ? "; the last: " : "",
                     reason.text);
}

/* ---- labels --------------------------------------------------------------- */

bool data_has_labels(const Data *data)
{
    return data->classes > 0 ? data->source->label && data->source->label(data->state, 0) >= 0
                             : data->vocabulary > 0;
}

/* Another sample stands in for one that is damaged, and only loading tells: this process may not
 * have loaded this one. */
static int find_out(Data *data, int64_t i, Error *err)
{
    float *sample = calloc((size_t)data->elements, sizeof *sample);
    int label, rc = sample ? data_load(data, i, 0, 0, sample, &label, err) : error_no_memory(err);

    free(sample);
    return rc;
}

/* A text is read again: its tokens are its labels. */
static int next_tokens(Data *data, int64_t i, int *out, Error *err)
{
    int64_t tokens = data->elements / data->channels,
            length = data_is_uneven(data) ? data_length(data, i) : tokens;
    float  *text = calloc((size_t)data->elements, sizeof *text);
    int     none, rc = text ? data_load(data, i, 0, 0, text, &none, err) : error_no_memory(err);

    for (int64_t t = 0; rc == 0 && t < tokens; t++)
        out[t] = t + 1 < length ? (int)text[(t + 1) * data->channels] : -1;
    free(text);
    return rc;
}

int data_labels(Data *data, int64_t i, int *out, Error *err)
{
    if (data->classes == 0) return next_tokens(data, i, out, err);
    if (data->skip_bad > 0 && atomic_load(&data->bad[i]) == BAD_NOT_KNOWN
        && find_out(data, i, err) != 0)
        return -1;
    for (int64_t tried = 0; tried < data->count && atomic_load(&data->bad[i]) == BAD_SKIPPED;
         tried++)
        i = (i + 1) % data->count;
    *out = data->source->label(data->state, i);
    if (*out >= 0 && *out < data->classes) return 0;
    return error_set(err, "sample %" PRId64 " has the label %d, expected 0 to %d", i, *out,
                     data->classes - 1);
}

/* ---- what sources share --------------------------------------------------- */

int data_expect(const DataWants *wants, const char *source, Shape shape, int classes, Error *err)
{
    const Shape *is = &wants->shape;

    if (wants->vocabulary > 0)
        return error_set(err, "data source %s: it has images, and the workload's input is tokens",
                         source);
    if (is->channels != shape.channels || is->height != shape.height || is->width != shape.width)
        return error_set(
            err,
            "data source %s: its images are %d x %d x %d (channels, height, width), and the "
            "workload's input is %d x %d x %d",
            source, shape.channels, shape.height, shape.width, is->channels, is->height, is->width);
    if (wants->classes != 0 && wants->classes != classes)
        return error_set(err, "data source %s: has %d classes, and the workload %d", source,
                         classes, wants->classes);
    return 0;
}

/* Words for rng_u64() that keep the kinds of draws apart. */
enum { DRAW_AUGMENT = 1, DRAW_ORDER = 2 };

double data_draw(uint64_t seed, int64_t epoch, int64_t sample, int draw)
{
    return rng_uniform(rng_u64(seed, DRAW_AUGMENT, (uint64_t)epoch, 0), (uint64_t)sample,
                       (uint64_t)draw, 0);
}

/* ---- order ---------------------------------------------------------------- */

/* Four are enough for large halves; with few samples a half is a bit or two, and places are
 * only taken evenly with more. */
enum { ROUNDS = 8 };

/* A permutation of 0..4^half-1: a Feistel network of two halves of half bits. */
static uint64_t feistel(uint64_t x, int half, uint64_t key)
{
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;

    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t mixed = left ^ (rng_u64(key, round, right, 0) & mask);
        left = right;
        right = mixed;
    }
    return left << half | right;
}

/* Cycle walking (Black and Rogaway, CT-RSA 2002): from a position below samples the larger
 * permutation is followed until it gives a number below samples again, at most 4 steps on
 * average; that is a permutation of 0..samples-1. */
int64_t data_order(int64_t samples, uint64_t seed, int64_t epoch, int64_t position)
{
    uint64_t key = rng_u64(seed, DRAW_ORDER, (uint64_t)epoch, 0),
             x = (uint64_t)(position % samples);
    int      half = 1;

    while ((int64_t)1 << 2 * half < samples) half++;
    do x = feistel(x, half, key); while (x >= (uint64_t)samples);
    return (int64_t)x;
}
