/* Sailor's profiles of language models:
 *
 *     profile.json    rows -> tensor degree -> layer -> [forward, backward, update], seconds, of
 *                     one kind of GPU
 *     llm_info.json   (--model-info) model -> tensor degree -> layer -> bytes, of one row
 *     network         (--network) "intra", "inter" -> GPU -> GPUs of a machine -> [coefficients,
 *                     peak bytes/s]
 *
 * The coefficients, highest power first, give 10^9 bytes a second over log2(bytes / 10^6). A sum
 * over n devices is a ring: 2 (n - 1) messages of an n-th. With several kinds the slowest tells. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "traces/import/import_read.h"

enum { MAX_COEFFICIENTS = 8, MAX_REDUCE = 64 };

typedef struct { double coefficients[MAX_COEFFICIENTS], peak; int count; } LinkFit;

typedef struct {
    Trace               *trace;
    Text                *notes;
    const ImportOptions *options;
    const ImportFile    *files;
    int                  count;
    const char         **kinds;          /* [count] of the files, each another */
    char                 degree[24];     /* key of the tensor degree */
    int64_t              largest;        /* bytes of a message or sum */
} SailorImport;

/* ---- names -------------------------------------------------------------------------------- */

/* The name of the folder up levels above the file: OPT-350/RTX-3090/profile.json. The trace's, or
 * NULL. */
static const char *folder_name(Trace *trace, const char *path, int up)
{
    const char *end = strrchr(path, '/'), *start;

    for (; end && up > 1; up--) {
        const char *before = memrchr(path, '/', (size_t)(end - path));
        end = before;
    }
    if (!end || end == path) return NULL;
    start = memrchr(path, '/', (size_t)(end - path));
    start = start ? start + 1 : path;
    size_t length = (size_t)(end - start);
    char  *copy = length && *start != '.' ? arena_alloc(&trace->arena, length + 1, 1) : NULL;
    if (copy) memcpy(copy, start, length);
    return copy;
}

/* The kind of device of each file: --device, one a file in their order, else the name of the folder
 * that a file lies in. Two files of one kind are an error: their times would contradict. */
static int name_kinds(SailorImport *im, Error *err)
{
    const ImportOptions *o = im->options;

    if (o->device.count && o->device.count != im->count)
        return error_set(err,
                         "--device: %d names, but %d files: expected one for each file in order",
                         o->device.count, im->count);
    im->kinds = arena_alloc(&im->trace->arena, (size_t)im->count, sizeof *im->kinds);
    if (!im->kinds) return error_no_memory(err);
    for (int i = 0; i < im->count; i++) {
        im->kinds[i] =
            o->device.count ? o->device.values[i] : folder_name(im->trace, im->files[i].name, 1);
        if (!im->kinds[i])
            return error_set(
                err,
                "%s: expected --device NAME, as the file is in no folder with the name of its GPU",
                im->files[i].name);
        for (int j = 0; j < i; j++)
            if (strcmp(im->kinds[i], im->kinds[j]) == 0)
                return error_set(
                    err, "%s and %s: both are of \"%s\", expected a file for each kind of device",
                    im->files[j].name, im->files[i].name, im->kinds[i]);
    }
    return import_kinds(im->trace, im->kinds, im->count, o, err);
}

/* ---- times ----------------------------------------------------------------------------------- */

/* Members "0", "1", ... up to the last; another name is refused. */
static int count_layers(const JsonAt *layers, int *out, Error *err)
{
    size_t count = json_member_count(layers);
    char   key[24];

    if (json_get_object(layers, err) != 0) return -1;
    if (count == 0 || count > TRACE_MAX_BLOCKS)
        return json_fail(layers, err, "%zu layers, expected 1 to %d", count, TRACE_MAX_BLOCKS);
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%zu", i);
        JsonAt layer = json_member(layers, key);
        if (!json_has(&layer))
            return json_fail(layers, err,
                             "no layer \"%s\" among %zu, expected them to be numbered from 0", key,
                             count);
    }
    *out = (int)count;
    return 0;
}

/* The number that a key is, at least 1; -1. */
static int64_t key_number(const char *key)
{
    char     *end;
    long long number = strtoll(key, &end, 10);

    return *key >= '1' && *key <= '9' && !*end && number < (long long)1 << 31 ? number : -1;
}

static int compare_points(const void *a, const void *b)
{
    const CurvePoint *x = a, *y = b;

    return x->x < y->x ? -1 : x->x > y->x;
}

static int add_layer(SailorImport *im, const JsonAt *layer, int block, int kind, int64_t rows,
                     Error *err)
{
    static const Work works[] = {WORK_FORWARD, WORK_BACKWARD, WORK_UPDATE};
    double            seconds[3];

    if (json_get_array(layer, 3, err) != 0) return -1;
    for (size_t i = 0; i < 3; i++) {
        JsonAt at = json_element(layer, i);
        if (json_get_number(&at, 0, &seconds[i], err) != 0) return -1;
        if (seconds[i] * 1e9 > (double)TRACE_MAX_NS)
            return json_fail(&at, err, "%g seconds, expected less than 39 hours", seconds[i]);
        if (import_point(im->trace, &im->trace->blocks[block].work[works[i]][kind], rows,
                         seconds[i] * 1e3, err)
            != 0)
            return -1;
    }
    return import_point(im->trace, &im->trace->blocks[block].work[WORK_TEACHER][kind], rows,
                        seconds[0] * 1e3, err);
}

/* The least degree of the first file where none is asked for. */
static int choose_degree(SailorImport *im, const JsonAt *root, Error *err)
{
    int64_t least = im->options->tensor_degree;

    for (const char *key = json_name_after(root, NULL); key && im->options->tensor_degree == 0;
         key = json_name_after(root, key)) {
        JsonAt rows = json_member(root, key);
        for (const char *name = json_name_after(&rows, NULL); name;
             name = json_name_after(&rows, name)) {
            int64_t degree = key_number(name);
            if (degree > 0 && (least == 0 || degree < least)) least = degree;
        }
    }
    if (least == 0)
        return json_fail(root, err,
                         "no tensor degree in this profile, expected rows, degree, layer");
    snprintf(im->degree, sizeof im->degree, "%" PRId64, least);
    return 0;
}

/* The layers of so many rows, where the degree was profiled. */
static int read_rows(SailorImport *im, const JsonAt *root, const char *key, int kind, int *kept,
                     Text *dropped, Error *err)
{
    JsonAt  rows = json_member(root, key), layers = json_member(&rows, im->degree);
    int64_t number = key_number(key);
    int     count;

    if (number < 0) return json_fail(&rows, err, "\"%.40s\" is no number of rows", key);
    if (json_get_object(&rows, err) != 0) return -1;
    if (!json_has(&layers)) return 0;
    if (count_layers(&layers, &count, err) != 0) return -1;
    if (im->trace->block_count == 0 && import_blocks(im->trace, count, err) != 0) return -1;
    if (count != im->trace->block_count)
        return json_fail(&layers, err, "%d layers, but there were %d before, expected as many",
                         count, im->trace->block_count);
    if (number > im->options->batch) {
        text_printf(dropped, "%s%" PRId64, dropped->length ? ", " : "", number);
        return 0;
    }
    ++*kept;
    for (int b = 0; b < count; b++) {
        char layer_key[24];
        snprintf(layer_key, sizeof layer_key, "%d", b);
        JsonAt layer = json_member(&layers, layer_key);
        if (add_layer(im, &layer, b, kind, number, err) != 0) return -1;
    }
    return 0;
}

/* The profile of a kind of GPU: points of the chosen tensor degree with at most the batch's rows,
 * in their order; what is left out is noted. */
static int read_profile(SailorImport *im, const JsonAt *root, int kind, Error *err)
{
    Text dropped = {0};
    int  kept = 0, rc = -1;

    if (json_get_object(root, err) != 0) goto done;
    if (!*im->degree && choose_degree(im, root, err) != 0) goto done;
    for (const char *key = json_name_after(root, NULL); key; key = json_name_after(root, key))
        if (read_rows(im, root, key, kind, &kept, &dropped, err) != 0) goto done;
    if (!kept) {
        json_fail(root, err,
                  "nothing of tensor degree %s with at most %" PRId64
                  " rows, expected --tensor-degree or --batch to fit",
                  im->degree, im->options->batch);
        goto done;
    }
    if (dropped.length)
        text_printf(im->notes, " Left out of %s, more rows than the batch: %s.", im->kinds[kind],
                    text_string(&dropped));
    for (int b = 0; b < im->trace->block_count; b++)
        for (int work = 0; work < WORK_COUNT; work++) {
            Curve *curve = &im->trace->blocks[b].work[work][kind];
            qsort(curve->points, (size_t)curve->count, sizeof *curve->points, compare_points);
        }
    rc = dropped.failed ? error_no_memory(err) : 0;
done:
    text_free(&dropped);
    return rc;
}

static int read_profiles(SailorImport *im, Error *err)
{
    for (int i = 0; i < im->count; i++) {
        Json *doc;
        if (json_doc_parse(&doc, im->files[i].name, im->files[i].text, im->files[i].length, err)
            != 0)
            return -1;
        JsonAt root = json_root(doc);
        int    rc = read_profile(im, &root, i, err);
        json_doc_free(doc);
        if (rc != 0) return -1;
    }
    for (int b = 0; b < im->trace->block_count; b++) {
        char name[24];
        snprintf(name, sizeof name, "layer%d", b);
        im->trace->blocks[b].name = arena_strdup(&im->trace->arena, name);
        if (!im->trace->blocks[b].name) return error_no_memory(err);
    }
    return 0;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* --model, else the folder above the GPU's, else the only one there is. */
static int find_model(const SailorImport *im, const JsonAt *root, const char **out, Error *err)
{
    const char *folder = folder_name(im->trace, im->files[0].name, 2);

    *out = im->options->model             ? im->options->model
           : json_member_count(root) == 1 ? json_name_after(root, NULL)
                                          : folder;
    if (!*out)
        return json_fail(root, err, "%zu models, expected --model NAME", json_member_count(root));
    JsonAt model = json_member(root, *out);
    if (json_has(&model)) return 0;
    return json_fail(root, err,
                     "no model \"%.60s\", expected --model with one of them, such as \"%s\"", *out,
                     json_member_count(root) ? json_name_after(root, NULL) : "");
}

static int get_bytes(const JsonAt *layer, const char *key, int64_t *out, Error *err)
{
    JsonAt at = json_member(layer, key);

    return json_get_integer(&at, 0, (int64_t)1 << 50, out, err);
}

/* Bytes of each block, from the model's description. The profile is of a network that trains; its
 * teacher is taken to have the same sizes. */
static int fill_sizes(SailorImport *im, const JsonAt *layers, Error *err)
{
    int count;

    if (count_layers(layers, &count, err) != 0) return -1;
    if (count != im->trace->block_count)
        return json_fail(layers, err, "%d layers, but the profiles have %d", count,
                         im->trace->block_count);
    for (int b = 0; b < count; b++) {
        TraceBlock *block = &im->trace->blocks[b];
        char        key[24];
        int64_t     in;
        snprintf(key, sizeof key, "%d", b);
        JsonAt layer = json_member(layers, key);
        if (get_bytes(&layer, "params_bytes", &block->gradient_bytes, err) != 0
            || get_bytes(&layer, "act_output_bytes", &block->output_bytes, err) != 0
            || get_bytes(&layer, "act_input_bytes", &in, err) != 0
            || get_bytes(&layer, "act_mem_bytes", &block->student_activation_bytes, err) != 0)
            return -1;
        block->student_weight_bytes = block->teacher_weight_bytes = block->gradient_bytes;
        block->teacher_activation_bytes = in + block->output_bytes;
        if (b == 0) im->trace->input_bytes = in;
    }
    return 0;
}

static int read_sizes(SailorImport *im, Error *err)
{
    const ImportFile *file = &im->options->model_info;
    const char       *name;
    Json             *doc;

    if (!file->text) {
        text_append(im->notes, " No sizes: --model-info was not given.");
        return 0;
    }
    if (json_doc_parse(&doc, file->name, file->text, file->length, err) != 0) return -1;
    JsonAt root = json_root(doc);
    int    rc = json_get_object(&root, err) == 0 ? find_model(im, &root, &name, err) : -1;
    if (rc == 0) {
        JsonAt model = json_member(&root, name), layers = json_member(&model, im->degree);
        rc = fill_sizes(im, &layers, err);
        if (rc == 0) text_printf(im->notes, " Sizes are those of %s.", name);
    }
    json_doc_free(doc);
    return rc;
}

/* ---- links ----------------------------------------------------------------------------------- */

/* The fit for so many GPUs of a machine: the least key that is not below, else the largest. */
static int read_fit(LinkFit *out, const JsonAt *gpus, int64_t devices, Error *err)
{
    int64_t best = -1;

    if (json_get_object(gpus, err) != 0) return -1;
    for (const char *number = json_name_after(gpus, NULL); number;
         number = json_name_after(gpus, number)) {
        int64_t key = key_number(number);
        if (key < 0) continue;
        bool better =
            best < 0
            || (key >= devices ? best < devices || key < best : best < devices && key > best);
        if (better) best = key;
    }
    if (best < 0) return json_fail(gpus, err, "no numbers of GPUs, expected members such as \"2\"");
    char name[24];
    snprintf(name, sizeof name, "%" PRId64, best);
    JsonAt fit = json_member(gpus, name);
    if (json_get_array(&fit, 2, err) != 0) return -1;
    JsonAt numbers = json_element(&fit, 0), peak = json_element(&fit, 1);
    if (json_get_array(&numbers, 1, err) != 0 || json_get_number(&peak, 1, &out->peak, err) != 0)
        return -1;
    if (json_count(&numbers) > MAX_COEFFICIENTS)
        return json_fail(&numbers, err, "%zu coefficients, expected at most %d",
                         json_count(&numbers), MAX_COEFFICIENTS);
    out->count = (int)json_count(&numbers);
    for (int i = 0; i < out->count; i++) {
        JsonAt number = json_element(&numbers, (size_t)i);
        if (json_get_number(&number, -1e15, &out->coefficients[i], err) != 0) return -1;
    }
    return 0;
}

/* Seconds of a message. Where the fit says nothing above 0, of a size too small for it: -1. */
static double message_s(const LinkFit *fit, double bytes)
{
    double x = log2(bytes / 1e6), rate = 0;

    for (int i = 0; i < fit->count; i++) rate = rate * x + fit->coefficients[i];
    rate *= 1e9;
    if (!(rate > 0)) return -1;
    return bytes / (rate < fit->peak ? rate : fit->peak);
}

/* Of the slowest kind, seconds; -1 where no fit says. */
static double slowest_s(const LinkFit *fits, int count, double bytes, int devices)
{
    double slowest = -1;

    for (int i = 0; i < count; i++) {
        double s = devices > 1 ? 2 * (devices - 1) * message_s(&fits[i], bytes / devices)
                               : message_s(&fits[i], bytes);
        if (s > slowest) slowest = s;
    }
    return slowest;
}

/* Doubling sizes from 1 KiB to the largest. Fits go towards no rate at all for small messages: one
 * takes no longer than a larger one. */
static int fill_curve(SailorImport *im, Curve *curve, const LinkFit *fits, int count, int devices,
                      Error *err)
{
    double seconds[64];
    int    sizes = 0;

    while (sizes == 0 || (int64_t)1024 << (sizes - 1) < im->largest) sizes++;
    for (int i = sizes - 1; i >= 0; i--) {
        seconds[i] = slowest_s(fits, count, 1024.0 * (double)((int64_t)1 << i), devices);
        if (i == sizes - 1 && seconds[i] < 0)
            return error_set(err, "%s: no rate above 0 for %" PRId64 " bytes",
                             im->options->network.name, (int64_t)1024 << i);
        if (i < sizes - 1 && (seconds[i] < 0 || seconds[i] > seconds[i + 1]))
            seconds[i] = seconds[i + 1];
        if (seconds[i] * 1e9 > (double)TRACE_MAX_NS)
            return error_set(err, "%s: %" PRId64 " bytes take %g s, expected less than 39 hours",
                             im->options->network.name, (int64_t)1024 << i, seconds[i]);
    }
    for (int i = 0; i < sizes; i++)
        if (import_point(im->trace, curve, (int64_t)1024 << i, seconds[i] * 1e3, err) != 0)
            return -1;
    return 0;
}

/* Fits of all kinds for so many GPUs of a machine, from "intra" or "inter". */
static int read_fits(const SailorImport *im, const JsonAt *root, const char *where, int64_t devices,
                     LinkFit *out, Error *err)
{
    JsonAt place = json_member(root, where);

    if (json_get_object(&place, err) != 0) return -1;
    for (int i = 0; i < im->count; i++) {
        JsonAt gpus = json_member(&place, im->kinds[i]);
        if (!json_has(&gpus))
            return json_fail(
                &place, err,
                "no GPU \"%.60s\", expected one of those profiled (--device names them)",
                im->kinds[i]);
        if (read_fit(&out[i], &gpus, devices, err) != 0) return -1;
    }
    return 0;
}

static int fill_links(SailorImport *im, TraceLinks *links, const JsonAt *root, const char *where,
                      int devices, int most, Error *err)
{
    LinkFit *fits = arena_alloc(&im->trace->arena, (size_t)im->count, sizeof *fits);

    links->reduces = arena_alloc(&im->trace->arena, MAX_REDUCE, sizeof *links->reduces);
    if (!fits || !links->reduces) return error_no_memory(err);
    if (read_fits(im, root, where, devices, fits, err) != 0
        || fill_curve(im, &links->p2p, fits, im->count, 1, err) != 0)
        return -1;
    for (int n = 2; n <= most && n <= MAX_REDUCE; n++) {
        TraceReduce *reduce = &links->reduces[links->reduce_count++];
        reduce->devices = n;
        if (strcmp(where, "intra") == 0 && read_fits(im, root, where, n, fits, err) != 0) return -1;
        if (fill_curve(im, &reduce->curve, fits, im->count, n, err) != 0) return -1;
    }
    return 0;
}

static int64_t largest_message(const SailorImport *im)
{
    int64_t most = 1 << 20;

    for (int b = 0; b < im->trace->block_count; b++) {
        const TraceBlock *block = &im->trace->blocks[b];
        int64_t           message;
        if (block->gradient_bytes > most) most = block->gradient_bytes;
        if (b + 1 < im->trace->block_count
            && !__builtin_mul_overflow(block->output_bytes, im->options->batch, &message)
            && message > most)
            most = message;
    }
    return most < (int64_t)1 << 50 ? most : (int64_t)1 << 50;
}

/* Links within and between machines, from the file of --network; without it there are none, which
 * is noted. */
static int read_links(SailorImport *im, Error *err)
{
    const ImportOptions *o = im->options;
    Json                *doc;
    int                  all = trace_device_count(im->trace),
        machine = o->machine_devices ? (int)o->machine_devices : all;

    if (!o->network.text) {
        text_append(im->notes, " No links: --network was not given.");
        return 0;
    }
    im->largest = largest_message(im);
    if (json_doc_parse(&doc, o->network.name, o->network.text, o->network.length, err) != 0)
        return -1;
    JsonAt root = json_root(doc);
    int    rc = fill_links(im, &im->trace->links, &root, "intra", machine > 1 ? machine : 2,
                        machine < all ? machine : all, err);
    if (rc == 0 && machine < all) {
        im->trace->devices_per_node = machine;
        rc = fill_links(im, &im->trace->node_links, &root, "inter", machine, all, err);
    }
    json_doc_free(doc);
    if (rc == 0)
        text_printf(im->notes,
                    " Links: polynomial fits%s; sums are rings, 2 (n - 1) messages of an n-th.",
                    im->count > 1 ? ", the slowest kind's" : "");
    return rc;
}

/* ---- the trace ------------------------------------------------------------------------------- */

static int read_sailor(Trace *trace, Text *notes, const ImportFile *files, int count,
                       const ImportOptions *o, Error *err)
{
    SailorImport im = {
        .trace = trace, .notes = notes, .options = o, .files = files, .count = count};

    if (o->tensor_degree) snprintf(im.degree, sizeof im.degree, "%" PRId64, o->tensor_degree);
    if (name_kinds(&im, err) != 0) return -1;
    text_append(notes, "Sailor's profiles. Teacher = forward of the same layers; student = their "
                       "forward, backward and update.");
    if (read_profiles(&im, err) != 0 || read_sizes(&im, err) != 0 || read_links(&im, err) != 0)
        return -1;
    text_printf(notes, " Tensor degree %s", im.degree);
    text_append(notes, strcmp(im.degree, "1") == 0 ? "." : ": a device stands for as many GPUs.");
    text_append(notes, " Assumed: gradients are as large as parameters; the backward keeps "
                       "act_mem_bytes of a row. Not in the profiles: "
                       "the loader, the optimizer's state, the devices' memory.");
    return 0;
}

const ImportFormat import_sailor = {"sailor",
                                    "model-info model network tensor-degree machine-devices",
                                    OPTIONS_MAX_OPERANDS - 1, false, read_sailor};
