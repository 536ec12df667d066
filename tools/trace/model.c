#include "tools/trace/model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "tools/trace/output.h"
#include "traces/model.h"
#include "traces/model_block.h"

const char *const model_precisions[] = {"auto", "fp32", "tf32", "fp16", "bf16", NULL};
const char *const model_links[] = {"auto", "pcie", "nvlink", NULL};
const char *const model_transfers[] = {"overlapped", "blocking", NULL};
const char *const model_data[] = {"auto", "raw", "jpeg", NULL};
const char *const model_statistics[] = {"running", "batch", NULL};
const char *const model_optimizers[] = {"loop", "foreach", NULL};
const char *const model_loaders[] = {"pipebd", "pillow", NULL};
const char *const model_attentions[] = {"fused", "eager", NULL};

int trace_model_check(const Option *table, const ModelSettings *s, const char *device, Error *err)
{
    static const char *const needed[] = {"workload", "device", "devices", "output"};
    bool counted = device && strchr(device, ':');

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!option_given(table, needed[i]) && !(i == 2 && counted))
            return error_set(err, "model: expected --%s, see --help", needed[i]);
    if (counted && option_given(table, "devices"))
        return error_set(err, "--devices: no effect, --device says how many: %s", device);
    if (option_given(table, "data") && option_given(table, "sample-us"))
        return error_set(err, "--data: no effect with --sample-us");
    if (option_given(table, "loader") && option_given(table, "sample-us"))
        return error_set(err, "--loader: no effect with --sample-us");
    if (option_given(table, "workers") && option_given(table, "prefetch") && !s->prefetch)
        return error_set(err,
                         "--workers: no effect with --prefetch 0, where a device loads by itself");
    if (option_given(table, "machine-devices") != option_given(table, "network-gb-per-s"))
        return error_set(err, "model: --machine-devices and --network-gb-per-s go together");
    return 0;
}

/* ---- operators --------------------------------------------------------------------------- */

typedef struct {
    const Workload *workload;
    Text           *out;
} Operators;

/* The layer's name and kind are of the format: no quotes or commas in them; the block's may
 * have. */
static void quoted(const char *value, Text *out)
{
    text_append(out, "\"");
    for (; *value; value++) {
        if (*value == '"') text_append(out, "\"");
        text_append_bytes(out, value, 1);
    }
    text_append(out, "\"");
}

static void operator_row(const OperatorEntry *entry, void *context)
{
    static const char *const bounds[] = {"arithmetic", "memory", "launch"};
    Operators          *o = context;
    const OperatorWork *work = entry->work;
    double flop = work->rate == RATE_NONE ? 0
                  : work->rate == RATE_MATRIX ? 2 * work->m * work->n * work->k * work->count
                                              : 2 * work->m * work->k;

    StudentId id = workload_student_of(o->workload, entry->block, entry->student);

    quoted(o->workload->block[entry->block].name, o->out);
    text_printf(o->out, ",%s,%s,%s,%s,%.6g,%.0f,%.0f,%.0f,%.4f,%.4f,%.4f,%.4f,%s\n",
                entry->teacher ? "teacher" : id.name ? id.name : "student", entry->layer,
                entry->kind,
                pass_name(work->pass), entry->share, flop, work->read_bytes, work->written_bytes,
                entry->cost.arithmetic_us, entry->cost.memory_us, entry->cost.launch_us,
                entry->cost.us, bounds[entry->cost.bound]);
}

/* Of the full batch. */
static int write_operators(const ModelSettings *s, const ModelOptions *options, Error *err)
{
    ModelConstants constants = model_constants;
    ModelDevice device = {options->kinds[0].hardware,
                          &constants,
                          options->kinds[0].precision,
                          options->layout,
                          .batch_statistics = options->workload->batch_statistics,
                          .eager_attention = options->eager_attention,
                          .foreach = options->foreach};
    Text        out = {0};
    Operators   operators = {options->workload, &out};
    int64_t     batch = options->batch > 0 ? options->batch : options->workload->batch;
    int         rc;

    if (options->host_us > 0) constants.kernel_us = options->host_us;
    text_append(&out, "block,side,layer,kind,pass,share,flop,read_bytes,written_bytes,arithmetic_"
                      "us,memory_us,launch_us,us,bound\n");
    for (int b = 0; b < options->workload->block_count; b++)
        model_operators(&device, options->workload, b, (double)batch, operator_row, &operators);
    rc = text_failed(&out) ? error_no_memory(err)
                           : file_write(s->operators, text_string(&out), out.length, err);
    text_free(&out);
    return rc;
}

/* ---- devices --------------------------------------------------------------------------------- */

typedef struct {
    Hardware *owned[TRACE_MAX_KINDS];
    ModelKind kinds[TRACE_MAX_KINDS];
    int       count;
    int64_t   devices;
} Kinds;

/* A number of all of text, least to most; else -1. */
static int64_t whole_number(const char *text, int64_t least, int64_t most)
{
    char   *end;
    int64_t value = strtoll(text, &end, 10);

    return end != text && !*end && *text >= '0' && *text <= '9' && value >= least && value <= most
               ? value
               : -1;
}

/* NAME, NAME:COUNT, NAME/SLICES:COUNT, in place; count 0 where there is none. */
static int read_kind(Kinds *k, char *text, int64_t devices, int precision, Error *err)
{
    char      *count = strrchr(text, ':'), *slices = NULL;
    ModelKind *kind = &k->kinds[k->count];

    *kind = (ModelKind){.count = devices};
    if (count) {
        *count++ = '\0';
        kind->count = whole_number(count, 1, TRACE_MAX_DEVICES);
        if (kind->count < 0)
            return error_set(
                err,
                "--device: \"%.40s\" of \"%.60s\" is no number of devices, expected NAME:COUNT",
                count, text);
    }
    if (devices && count)
        return error_set(err, "--device: \"%.60s\": expected no number, or one for each", text);
    slices = strrchr(text, '/');
    if (slices && whole_number(slices + 1, 0, INT64_MAX) >= 0) {
        *slices++ = '\0';
        kind->slices = (int)whole_number(slices, 2, MODEL_MOST_SLICES);
        if (kind->slices < 0)
            return error_set(err, "--device: %s/%.20s: expected 2 to %d slices of a GPU", text,
                             slices, MODEL_MOST_SLICES);
    }
    if (kind->count < 1)
        return error_set(err, "--device: \"%.60s\": expected NAME:COUNT, as of the others", text);
    if (hardware_read(&k->owned[k->count], text, err) != 0) return -1;
    kind->hardware = k->owned[k->count++];
    kind->precision = precision > 0 ? (Numbers)(precision - 1) : model_precision(kind->hardware);
    k->devices += kind->count;
    return 0;
}

static int read_kinds(Kinds *k, const ModelSettings *s, Error *err)
{
    bool  counted = strchr(s->device, ':') != NULL;
    char *copy = strdup(s->device), *save = NULL;
    int   rc = 0;

    *k = (Kinds){.count = 0};
    if (!copy) return error_no_memory(err);
    for (char *one = counted ? strtok_r(copy, ",", &save) : copy; one && rc == 0;
         one = counted ? strtok_r(NULL, ",", &save) : NULL) {
        if (k->count == TRACE_MAX_KINDS)
            rc = error_set(err, "--device: expected at most %d kinds", TRACE_MAX_KINDS);
        else rc = read_kind(k, one, counted ? 0 : s->devices, s->precision, err);
    }
    free(copy);
    if (rc == 0 && k->count == 0) rc = error_set(err, "--device: expected NAME:COUNT");
    if (rc == 0 && k->devices > TRACE_MAX_DEVICES)
        rc = error_set(err, "--device: %" PRId64 " devices, expected at most %d", k->devices,
                       TRACE_MAX_DEVICES);
    return rc;
}

static void free_kinds(Kinds *k)
{
    for (int i = 0; i < k->count; i++) hardware_free(k->owned[i]);
}

/* ---- whole ---------------------------------------------------------------------------------- */

int trace_model(const ModelSettings *s, Error *err)
{
    Workload *workload = NULL;
    Kinds     kinds = {.count = 0};
    Trace    *trace = NULL;
    int       rc = -1;

    if (read_kinds(&kinds, s, err) != 0) goto done;
    if (s->machine_devices >= kinds.devices) {
        error_set(err, "--machine-devices %" PRId64 ": no effect with %" PRId64 " devices",
                  s->machine_devices, kinds.devices);
        goto done;
    }
    if (s->machine_devices > 0 && s->network_gb_per_s <= 0) {
        error_set(err, "--network-gb-per-s 0: expected more than 0");
        goto done;
    }
    if (s->operators && kinds.count > 1) {
        error_set(err, "--operators: expected one kind of device");
        goto done;
    }
    if (s->operators && kinds.kinds[0].slices > 1) {
        error_set(err, "--operators: expected a whole GPU");
        goto done;
    }
    if (workload_read(&workload, s->workload, err) != 0) goto done;
    if (s->statistics == 1 && !workload_normalises(workload)) {
        error_set(err, "--teacher-statistics batch: no effect, the teacher of %s has no batch norm",
                  workload->name);
        goto done;
    }
    if (s->statistics != NO_CHOICE) workload->batch_statistics = s->statistics == 1;
    ModelOptions options = {.workload = workload, .kinds = kinds.kinds, .kind_count = kinds.count,
                            .batch = s->batch, .link = (ModelLink)s->link,
                            .machine_devices = s->machine_devices,
                            .network_bytes_per_s = s->network_gb_per_s * 1e9,
                            .blocking = s->transfers == 1, .data = (ModelData)s->data,
                            .sample_us = s->sample_us, .layout = (TensorLayout)s->layout,
                            .foreach = s->optimizer == 1, .eager_attention = s->attention == 1,
                            .loader = (ModelLoader)s->loader, .host_us = s->host_us,
                            .step_us = s->step_us, .process_bytes = s->process_bytes,
                            .cores = s->cores, .workers = s->workers, .prefetch = s->prefetch,
                            .name = s->name, .date = s->date};
    if (s->loader && !model_loads_jpeg(&options)) {
        error_set(err, "--loader: no effect with raw pixels");
        goto done;
    }
    if (s->attention && !model_attends(workload)) {
        error_set(err, "--attention: no effect, the workload has none");
        goto done;
    }
    if (model_trace(&trace, &options, err) != 0) goto done;
    if (s->operators && write_operators(s, &options, err) != 0) goto done;
    rc = trace_output(trace, s->output, "modelled", err);
done:
    trace_free(trace);
    free_kinds(&kinds);
    workload_free(workload);
    return rc;
}
