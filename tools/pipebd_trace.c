/* pipebd-trace: checks traces, shows one as a table of blocks by batches, imports what other
 * programs print, and models devices that one does not have. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"
#include "tools/trace/import.h"
#include "tools/trace/model.h"
#include "traces/model_operator.h"
#include "traces/plausibility.h"
#include "traces/scenario.h"

/* Every file is looked at: a line on stdout for a good one, an error for a bad one. */
static int check(const Operands *operands, Error *err)
{
    Text text = {0};
    int  bad = 0, rc;

    for (int i = 1; i < operands->count; i++) {
        Trace *trace;
        Error  why = {""};
        if (trace_read(&trace, operands->values[i], &why) != 0) {
            if (bad++ > 0) fprintf(stderr, "pipebd-trace: %s\n", err->text);
            *err = why;
            continue;
        }
        text_printf(&text, "%s: ok, %d blocks, %d devices\n", operands->values[i],
                    trace->block_count, trace_device_count(trace));
        trace_plausibility(trace, &text);
        trace_free(trace);
    }
    if (bad == 0 && text_failed(&text)) error_no_memory(err);
    rc = text_failed(&text) ? -1
                            : file_write("-", text_string(&text), text.length, bad ? NULL : err);
    text_free(&text);
    return bad ? -1 : rc;
}

/* Columns of a block's name and its device's kind, wide enough for all. */
static int kind_column(const Trace *trace)
{
    int width = 28;

    for (int kind = 0; kind < trace->kind_count; kind++) {
        const char *name = trace->kinds[kind].name;
        int         columns = (int)text_columns(name, strlen(name));
        if (columns > width) width = columns;
    }
    return width;
}

/* One row: curves at a batch on a kind, milliseconds; NULL where there is no such work. */
static void show_row(const Trace *trace, const char *name, Curve *const *curves, int first,
                     int last, int kind, int point, Text *out)
{
    const CurvePoint *head = &curves[first][kind].points[point];

    text_append(out, name);
    text_pad(out, 12);
    text_printf(out, " %s", trace->kinds[kind].name);
    text_pad(out, (size_t)(13 + kind_column(trace)));
    text_printf(out, " %6" PRId64, head->x);
    for (int work = 0; work < WORK_COUNT; work++)
        if (work < first || work > last) text_append(out, "          -");
        else text_printf(out, " %10.3f", (double)curves[work][kind].points[point].ns * 1e-6);
    text_printf(out, " %7.1f\n", 100 * head->spread);
}

/* A block's rows; where it lists students, the teacher's and then theirs, named b/s. */
static void show_block(const Trace *trace, const TraceBlock *block, Text *out)
{
    for (int kind = 0; kind < trace->kind_count; kind++)
        for (int i = 0; i < block->work[WORK_TEACHER][kind].count; i++)
            show_row(trace, block->name, block->work, 0,
                     block->students ? WORK_TEACHER : WORK_UPDATE, kind, i, out);
    for (int j = 0; j < block->student_count; j++) {
        const TraceStudent *student = &block->students[j];
        Text                name = {0};
        text_printf(&name, "%s/%s", block->name, student->name);
        for (int kind = 0; kind < trace->kind_count; kind++)
            for (int i = 0; i < student->work[WORK_FORWARD][kind].count; i++)
                show_row(trace, text_string(&name), student->work, WORK_FORWARD, WORK_UPDATE, kind,
                         i, out);
        out->failed |= text_failed(&name);
        text_free(&name);
    }
}

/* ", 5.2 % of the time stalled, ...": nothing where it was not measured. */
static void show_stalls(const TraceStalls *stalls, Text *out)
{
    if (stalls->skew > 0)
        text_printf(out, "; skew %.3g %%", 100 * stalls->skew);
    if (stalls->lasting > 0) text_printf(out, ", lasting %.3g %%", 100 * stalls->lasting);
    if (stalls->count == 0) return;
    text_printf(out, "; stalled for %.2f %% of its time, %.3g times a second for %.3g ms, the "
                "longest %.3g ms, %.0f %% of them all devices at once",
                100 * stalls_share(stalls), 1000 * stalls->per_ms, stalls_mean_ns(stalls) * 1e-6,
                (double)stalls->ns[stalls->count - 1] * 1e-6, 100 * stalls->common);
}

static void show_head(const Trace *trace, Text *out)
{
    text_printf(out, "%s: workload %s, batch %" PRId64 ", %" PRId64 " samples an epoch\n",
                trace->name, trace->workload, trace->batch, trace->samples);
    text_printf(out, "%s: %s%s%s\n", trace->provenance_kind, trace->source,
                *trace->date ? ", " : "", trace->date);
    if (*trace->notes) text_printf(out, "%s\n", trace->notes);
    for (int kind = 0; kind < trace->kind_count; kind++) {
        text_printf(out, "%d x %s", trace->kinds[kind].count, trace->kinds[kind].name);
        show_stalls(&trace->kinds[kind].stalls, out);
        text_append(out, "\n");
    }
    text_printf(out, "transfers: %s%s\n", trace->blocking_transfers ? "blocking" : "overlapped",
                trace->transfers_on_device ? ", by the devices' own cores" : "");
    text_printf(out,
                "\nblock        %-*s  batch    teacher    forward   backward     update  spread\n",
                kind_column(trace), "device");
    text_printf(out, "%*s         ms         ms         ms         ms       %%\n",
                13 + kind_column(trace) + 2 + 5, "");
}

/* Kinds on which a block has no timings, which no schedule can then use for it. */
static void show_unmeasured(const Trace *trace, Text *out)
{
    for (int b = 0; b < trace->block_count; b++)
        for (int kind = 0; kind < trace->kind_count; kind++) {
            const TraceBlock *block = &trace->blocks[b];
            if (block->work[0][kind].count == 0)
                text_printf(
                    out, "block \"%s\" has no timings on \"%s\": no schedule can place it there\n",
                    block->name, trace->kinds[kind].name);
            for (int j = 0; j < block->student_count; j++)
                if (block->students[j].work[WORK_FORWARD][kind].count == 0)
                    text_printf(
                        out,
                        "student \"%s\" of block \"%s\" has no timings on \"%s\": no schedule can "
                        "place it there\n",
                        block->students[j].name, block->name, trace->kinds[kind].name);
        }
}

/* Prints the trace as a table, with what is implausible and what it lacks. */
static int show(const char *path, Error *err)
{
    Trace   *trace = NULL;
    Scenario scenario = {0};
    Text     text = {0}, missing = {0};
    int      rc = -1;

    if (trace_read(&trace, path, err) != 0) goto done;
    if (scenario_build(&scenario, trace, &(ScenarioOptions){.queue_depth = 2}, err) != 0) goto done;
    show_head(trace, &text);
    for (int b = 0; b < trace->block_count; b++) show_block(trace, &trace->blocks[b], &text);
    show_unmeasured(trace, &missing);
    scenario_missing(&scenario, &missing);
    trace_plausibility(trace, &text);
    if (missing.length) text_printf(&text, "\nleft out:\n%s", text_string(&missing));
    rc = text_failed(&text) || text_failed(&missing)
             ? error_no_memory(err) : file_write("-", text_string(&text), text.length, err);
done:
    text_free(&text);
    text_free(&missing);
    scenario_free(&scenario);
    trace_free(trace);
    return rc;
}

/* ---- commands --------------------------------------------------------------------------- */

typedef struct {
    ImportSettings import;
    ModelSettings  model;
} TraceSettings;

/* The first option that was given and is not among names (NULL-terminated; NULL: none are). */
static const char *other_given(const Option *table, const char *const *names)
{
    for (; table->name; table++) {
        bool taken = false;
        for (int i = 0; names && names[i]; i++) taken |= strcmp(table->name, names[i]) == 0;
        if (table->given && !taken) return table->name;
    }
    return NULL;
}

/* What both commands take stands in the import's settings. */
static int model(TraceSettings *s, Error *err)
{
    const ImportOptions *o = &s->import.options;

    if (o->device.count > 1) return error_set(err, "--device: given twice");
    if (o->devices.count > 1)
        return error_set(err, "--devices: more than one number, expected one with model");
    s->model.output = s->import.output;
    s->model.devices = o->devices.values[0];
    s->model.batch = o->batch;
    s->model.machine_devices = o->machine_devices;
    s->model.device = o->device.values[0];
    s->model.name = o->name;
    s->model.date = o->date;
    return trace_model(&s->model, err);
}

/* ---- main ------------------------------------------------------------------------------- */

static const char *const import_options[] = {"from", "output", "batch", "samples", "devices",
                                             "device", "name", "date", "student", "cuts",
                                             "student-cuts", "boundary-bytes", "gradient-bytes",
                                             "blocks", "depth", "rows", "model-info", "model",
                                             "network", "tensor-degree", "machine-devices", NULL};
static const char *const model_options[] = {"workload", "device", "devices", "output", "batch",
                                            "name", "date", "precision", "link", "machine-devices",
                                            "network-gb-per-s", "transfers", "layout",
                                            "teacher-statistics", "attention", "optimizer", "data",
                                            "loader", "sample-us", "cores", "workers", "prefetch",
                                            "host-us", "step-us", "process-bytes", "operators",
                                            NULL};

/* Checks the command: how many operands it takes, and that every option given is one of its own. */
static int choose(const Operands *o, const Option *table, const TraceSettings *s, Error *err)
{
    static const struct {
        const char        *name;
        int                least, most;
        const char *const *options;
    } commands[] = {{"check", 2, OPTIONS_MAX_OPERANDS, NULL},
                    {"show", 2, 2, NULL},
                    {"import", 2, OPTIONS_MAX_OPERANDS, import_options},
                    {"model", 1, 1, model_options}};
    const char *command = o->count ? o->values[0] : "";

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(command, commands[i].name) != 0 || o->count < commands[i].least
            || o->count > commands[i].most)
            continue;
        const char *option = other_given(table, commands[i].options);
        if (option) return error_set(err, "--%s: no effect with %s", option, command);
        if (strcmp(command, "import") == 0)
            return trace_import_check(table, &s->import, o->count - 1, err);
        return strcmp(command, "model") == 0
                   ? trace_model_check(table, &s->model, s->import.options.device.values[0], err)
                   : 0;
    }
    return error_set(
        err,
        "expected \"check FILE...\", \"show FILE\", \"import --from FORMAT FILE... -o TRACE\" or "
        "\"model --workload W --device D --devices N -o TRACE\", see --help");
}

static const char epilogue[] =
    "import converts profiles of other programs; it needs --from, -o, --batch and\n"
    "--samples. docs/traces.md describes each format.\n"
    "  kineto       FILEs of torch.profiler, .json or .json.gz, of several batches\n"
    "               (--rows) and kinds of devices\n"
    "  nsys         FILEs of nsys export --type sqlite, with NVTX ranges block:NAME\n"
    "  sailor       FILEs profile.json, one for each kind of GPU\n"
    "  pipedream    graph.txt: FILE is the teacher's, --student FILE the student's\n"
    "  pipe-bd-log  FILE is a log of the original Pipe-BD\n"
    "\n"
    "  pipebd-trace import --from kineto b32.json.gz b64.json.gz --rows 32,64 \\\n"
    "      --batch 64 --samples 50000 --devices 4 -o trace.json\n"
    "  pipebd-trace import --from pipedream teacher.txt --student student.txt \\\n"
    "      --batch 128 --samples 50000 --devices 4 -o trace.json\n"
    "\n"
    "model computes a trace from a workload and the published figures of a device; it\n"
    "needs --workload, --device, --devices and -o. docs/model.md has the formulas and\n"
    "their errors.\n"
    "\n"
    "  pipebd-trace model --workload nas-cifar10 --device rtx-a6000 --devices 4 \\\n"
    "      -o trace.json";

/* Does what the command line asks for; returns the exit status. The rows of table point into s. */
static int run(Option *table, TraceSettings *s, int argc, char **argv)
{
    Options  options = {
         "pipebd-trace",
         "check FILE... | show FILE | import ... FILE... -o TRACE | model ... -o TRACE [options]",
         "Checks traces, shows one as a table, imports one from another profiler, or "
         "models one for a device.",
         table, epilogue};
    Operands operands;
    Error    err = {""};
    int      rc;

    file_limits_are_errors();
    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (choose(&operands, table, s, &err) != 0) goto usage;
    if (strcmp(operands.values[0], "check") == 0)     rc = check(&operands, &err);
    else if (strcmp(operands.values[0], "show") == 0) rc = show(operands.values[1], &err);
    else if (strcmp(operands.values[0], "model") == 0) rc = model(s, &err);
    else
        rc = trace_import(&operands.values[1], operands.count - 1, &s->import, &err);
    if (rc == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-trace: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-trace: %s\n", err.text);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    TraceSettings s = {.import = {.from = NO_CHOICE},
                       .model = {.prefetch = 2, .statistics = NO_CHOICE,
                                 .step_us = model_constants.step_us,
                                 .process_bytes = (int64_t)model_host_constants.process_bytes}};
    Option   table[] = {
        {"from", 0, OPTION_CHOICE, "kineto|sailor|pipedream|pipe-bd-log|nsys",
         "import: format of FILE.", &s.import.from, 0, 0,
         import_format_names, false},
        {"output", 'o', OPTION_STRING, "TRACE",
         "import, model: write the trace to this file; -: to standard output.", &s.import.output, 0,
         0,
         NULL, false},
        {"batch", 0, OPTION_INTEGER, "B",
         "import: global batch that was profiled; model: global batch (default: the workload's).",
         &s.import.options.batch, 1,
         (int64_t)1 << 31, NULL, false},
        {"samples", 0, OPTION_INTEGER, "N", "import: samples in an epoch.",
         &s.import.options.samples, 1, (int64_t)1 << 53, NULL,
         false},
        {"devices", 0, OPTION_INTEGERS, "N",
         "Number of devices, N,N of several kinds (default of import: as many as profiled, or 1).",
         &s.import.options.devices, 1, TRACE_MAX_DEVICES, NULL, false},
        {"device", 0, OPTION_LIST, "NAME",
         "import: the device that was profiled (default: what FILE says); kineto, nsys, sailor: "
         "one for each FILE, in order. "
         "model: a name or file of traces/devices; NAME/4 is a slice of it, NAME:4,NAME/4:8 "
         "several kinds with their numbers.", &s.import.options.device, 0, 0, NULL, false},
        {"name", 0, OPTION_STRING, "NAME",
         "Name of the trace (default of import: FILE's; of model: WORKLOAD-DEVICE).",
         &s.import.options.name, 0, 0, NULL, false},
        {"date", 0, OPTION_STRING, "DATE",
         "import: date of the profile; model: date to write (default: none).",
         &s.import.options.date, 0, 0, NULL, false},
        {"student", 0, OPTION_STRING, "FILE", "pipedream, kineto: the student's profile.",
         &s.import.student, 0, 0, NULL, false},
        {"cuts", 0, OPTION_STRING, "NODES",
         "pipedream: nodes of the teacher that end a block, without the last one.",
         &s.import.options.cuts, 0, 0, NULL, false},
        {"student-cuts", 0, OPTION_STRING, "NODES",
         "pipedream: nodes of the student that end a block, without the last one.",
         &s.import.options.student_cuts, 0, 0,
         NULL, false},
        {"boundary-bytes", 0, OPTION_STRING, "LIST",
         "pipe-bd-log: bytes per sample of each block's output, for p2p.",
         &s.import.options.boundary_bytes, 0, 0, NULL, false},
        {"gradient-bytes", 0, OPTION_STRING, "LIST",
         "pipe-bd-log: bytes of each block's gradients, for all-reduce.",
         &s.import.options.gradient_bytes, 0, 0, NULL, false},
        {"blocks", 0, OPTION_STRING, "NAMES",
         "kineto: the blocks: ranges of record_function, or nn.Modules such as Linear_0 "
         "(default: ranges block:NAME).", &s.import.options.blocks, 0, 0, NULL, false},
        {"depth", 0, OPTION_INTEGER, "N",
         "kineto: the blocks are the nn.Modules at depth N, 1 is the outermost (default: the first "
         "depth with two).",
         &s.import.options.depth, 1, 1000, NULL, false},
        {"rows", 0, OPTION_INTEGERS, "N,N",
         "kineto: rows of a step of each FILE, in order (default: the batch).",
         &s.import.options.rows, 1,
         (int64_t)1 << 31, NULL, false},
        {"model-info", 0, OPTION_STRING, "FILE",
         "sailor: llm_info.json, the sizes of each model's layers.", &s.import.model_info, 0, 0,
         NULL, false},
        {"model", 0, OPTION_STRING, "NAME",
         "sailor: the model (default: the name of the folder above the GPU's).",
         &s.import.options.model, 0, 0,
         NULL, false},
        {"network", 0, OPTION_STRING, "FILE", "sailor: file of the links' coefficients.",
         &s.import.network, 0, 0, NULL, false},
        {"tensor-degree", 0, OPTION_INTEGER, "N",
         "sailor: tensor-parallel GPUs that form one device (default: the least profiled).",
         &s.import.options.tensor_degree, 1, 65536, NULL, false},
        {"workload", 0, OPTION_STRING, "W", "model: a bundled workload's name, or a file.",
         &s.model.workload, 0, 0, NULL,
         false},
        {"precision", 0, OPTION_CHOICE, "auto|fp32|tf32|fp16|bf16",
         "model: precision of matrix products; auto: tf32 "
         "if the device has it, else fp32.", &s.model.precision, 0, 0, model_precisions, false},
        {"link", 0, OPTION_CHOICE, "auto|pcie|nvlink",
         "model: link between devices; auto: NVLink if it connects all of them.",
         &s.model.link, 0, 0, model_links, false},
        {"machine-devices", 0, OPTION_INTEGER, "M",
         "sailor, model: devices on one machine (default: all).", &s.import.options.machine_devices,
         1,
         TRACE_MAX_DEVICES, NULL, false},
        {"network-gb-per-s", 0, OPTION_NUMBER, "R",
         "model: bandwidth between machines, each way, in 10^9 bytes/s.",
         &s.model.network_gb_per_s, 0, 0, NULL, false},
        {"transfers", 0, OPTION_CHOICE, "overlapped|blocking",
         "model: blocking: a transfer occupies its sender.",
         &s.model.transfers, 0, 0, model_transfers, false},
        {"layout", 0, OPTION_CHOICE, "nchw|channels-last|fused",
         "model: nchw and channels-last run eagerly, fused is compiled.",
         &s.model.layout, 0, 0, layout_names, false},
        {"teacher-statistics", 0, OPTION_CHOICE, "running|batch",
         "model: the teacher's batch norms; batch: statistics of each batch, "
         "as in training mode (default: the workload's).", &s.model.statistics, 0, 0,
         model_statistics, false},
        {"attention", 0, OPTION_CHOICE, "fused|eager",
         "model: attention in one kernel, or with its scores in memory.",
         &s.model.attention, 0, 0, model_attentions, false},
        {"optimizer", 0, OPTION_CHOICE, "loop|foreach",
         "model: SGD, one tensor at a time, or all in a few kernels.",
         &s.model.optimizer, 0, 0, model_optimizers, false},
        {"data", 0, OPTION_CHOICE, "auto|raw|jpeg",
         "model: format of the samples; auto: jpeg from 64x64 pixels on.",
         &s.model.data, 0, 0, model_data, false},
        {"loader", 0, OPTION_CHOICE, "pipebd|pillow",
         "model: image decoder: this project's, or Pillow and torchvision "
         "with colour jitter, as in the original.", &s.model.loader, 0, 0, model_loaders, false},
        {"sample-us", 0, OPTION_NUMBER, "US",
         "model: time of one core to load a sample (default: raw 58, jpeg 2500, "
         "by Pillow 4300).", &s.model.sample_us, 1, 0, NULL, false},
        {"cores", 0, OPTION_INTEGER, "N",
         "model: host cores that load samples (default: 4 per device).", &s.model.cores, 1,
         TRACE_MAX_DEVICES, NULL,
         false},
        {"workers", 0, OPTION_INTEGER, "N",
         "model: loader workers, shared by all devices that load (default: 1 per core).",
         &s.model.workers, 1, TRACE_MAX_DEVICES, NULL, false},
        {"prefetch", 0, OPTION_INTEGER, "N",
         "model: batches that a worker loads ahead; 0: the device waits for each load.",
         &s.model.prefetch, 0, TRACE_MAX_PREFETCH, NULL, false},
        {"host-us", 0, OPTION_NUMBER, "US", "model: host time to enqueue a kernel (default: 78).",
         &s.model.host_us, 1, 0,
         NULL, false},
        {"step-us", 0, OPTION_NUMBER, "US",
         "model: overhead of a step: the framework's loop, synchronisation.",
         &s.model.step_us, 0, 0, NULL, false},
        {"process-bytes", 0, OPTION_BYTES, "BYTES",
         "model: device memory that its process takes: context, libraries, framework.",
         &s.model.process_bytes, 0, 0, NULL, false},
        {"operators", 0, OPTION_STRING, "FILE",
         "model: write each operator's work and time at the full batch to this CSV file.",
         &s.model.operators, 0, 0, NULL, false},
        {0},
    };

    return run(table, &s, argc, argv);
}
