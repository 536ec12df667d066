#include "tools/trace/model.h"

#include <inttypes.h>

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

int trace_model_check(const Option *table, const ModelSettings *s, Error *err)
{
    static const char *const needed[] = {"workload", "device", "devices", "output"};

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!option_given(table, needed[i])) return error_set(err, "model: expected --%s, see --help", needed[i]);
    if (option_given(table, "data") && option_given(table, "sample-us"))
        return error_set(err, "--data: no effect with --sample-us");
    if (option_given(table, "loader") && option_given(table, "sample-us"))
        return error_set(err, "--loader: no effect with --sample-us");
    if (option_given(table, "workers") && option_given(table, "prefetch") && !s->prefetch)
        return error_set(err, "--workers: no effect with --prefetch 0, where a device loads by itself");
    if (option_given(table, "machine-devices") != option_given(table, "network-gb-per-s"))
        return error_set(err, "model: --machine-devices and --network-gb-per-s go together");
    return 0;
}

/* ---- operators --------------------------------------------------------------------------- */

typedef struct {
    const Workload *workload;
    Text           *out;
} Operators;

/* The layer's name and kind are of the format: no quotes or commas in them; the block's may have. */
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
    double flop = work->rate == RATE_NONE ? 0 : work->rate == RATE_MATRIX ? 2 * work->m * work->n * work->k * work->count
                                                                         : 2 * work->m * work->k;

    quoted(o->workload->block[entry->block].name, o->out);
    text_printf(o->out, ",%s,%s,%s,%s,%.6g,%.0f,%.0f,%.0f,%.4f,%.4f,%.4f,%.4f,%s\n", entry->teacher ? "teacher" : "student",
                entry->layer, entry->kind, pass_name(work->pass), entry->share, flop, work->read_bytes,
                work->written_bytes, entry->cost.arithmetic_us, entry->cost.memory_us, entry->cost.launch_us,
                entry->cost.us, bounds[entry->cost.bound]);
}

/* Of the full batch. */
static int write_operators(const ModelSettings *s, const ModelOptions *options, Error *err)
{
    ModelConstants constants = model_constants;
    ModelDevice device = {options->hardware, &constants, options->precision, options->layout,
                          .batch_statistics = options->batch_statistics, .eager_attention = options->eager_attention, .foreach = options->foreach};
    Text        out = {0};
    Operators   operators = {options->workload, &out};
    int64_t     batch = options->batch > 0 ? options->batch : options->workload->batch;
    int         rc;

    if (options->host_us > 0) constants.kernel_us = options->host_us;
    text_append(&out, "block,side,layer,kind,pass,share,flop,read_bytes,written_bytes,arithmetic_us,memory_us,launch_us,us,bound\n");
    for (int b = 0; b < options->workload->block_count; b++)
        model_operators(&device, options->workload, b, (double)batch, operator_row, &operators);
    rc = text_failed(&out) ? error_no_memory(err) : file_write(s->operators, text_string(&out), out.length, err);
    text_free(&out);
    return rc;
}

/* ---- whole ---------------------------------------------------------------------------------- */

int trace_model(const ModelSettings *s, Error *err)
{
    Workload *workload = NULL;
    Hardware *hardware = NULL;
    Trace    *trace = NULL;
    int       rc = -1;

    if (s->machine_devices >= s->devices)
        return error_set(err, "--machine-devices %" PRId64 ": no effect with %" PRId64 " devices", s->machine_devices, s->devices);
    if (s->machine_devices > 0 && s->network_gb_per_s <= 0)
        return error_set(err, "--network-gb-per-s 0: expected more than 0");
    if (workload_read(&workload, s->workload, err) != 0) goto done;
    if (hardware_read(&hardware, s->device, err) != 0) goto done;
    ModelOptions options = {.workload = workload, .hardware = hardware, .devices = s->devices, .batch = s->batch,
                            .precision = s->precision > 0 ? (Numbers)(s->precision - 1) : model_precision(hardware),
                            .link = (ModelLink)s->link, .machine_devices = s->machine_devices, .network_bytes_per_s = s->network_gb_per_s * 1e9,
                            .blocking = s->transfers == 1, .data = (ModelData)s->data, .sample_us = s->sample_us,
                            .layout = (Layout)s->layout, .batch_statistics = s->statistics == 1, .foreach = s->optimizer == 1,
                            .eager_attention = s->attention == 1,
                            .loader = (ModelLoader)s->loader, .host_us = s->host_us, .step_us = s->step_us,
                            .process_bytes = s->process_bytes,
                            .cores = s->cores, .workers = s->workers, .prefetch = s->prefetch, .name = s->name,
                            .date = s->date};
    if (s->loader && !model_loads_jpeg(&options)) { error_set(err, "--loader: no effect with raw pixels"); goto done; }
    if (s->attention && !model_attends(workload)) { error_set(err, "--attention: no effect, the workload has none"); goto done; }
    if (model_trace(&trace, &options, err) != 0) goto done;
    if (s->operators && write_operators(s, &options, err) != 0) goto done;
    rc = trace_output(trace, s->output, "modelled", err);
done:
    trace_free(trace);
    hardware_free(hardware);
    workload_free(workload);
    return rc;
}
