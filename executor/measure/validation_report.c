/* A validation as a table, JSON and CSV. */
#include <inttypes.h>
#include <math.h>

#include "executor/measure/validate.h"
#include "executor/train/execution.h"
#include "planner/report/notes.h"
#include "planner/report/report.h"

static const Op shown[] = {OP_LOAD,      OP_TEACHER, OP_FORWARD, OP_BACKWARD,
                           OP_ALLREDUCE, OP_UPDATE,  OP_SEND,    OP_STORE,
                           OP_FETCH};

enum { SHOWN = sizeof shown / sizeof *shown };

/* Errors that are known less well say little. */
#define UNSTEADY_ABOVE 0.03

static const char *word(Op op)
{
    static const char *const words[OP_COUNT] = {
        "load",   "recv",    "send",  "teacher", "forward", "backward", "allreduce",
        "update", "barrier", "store", "fetch"};

    return words[op];
}

static double mib(int64_t bytes) { return (double)bytes * 0x1p-20; }

/* ---- table ------------------------------------------------------------------------- */

/* A line a schedule: epoch times predicted and measured (mean and range over the rounds), the error
 * of the prediction over the measurement in % and its standard error, the machine's speed,
 * speedups, memory and the executor's own share. */
static void epochs_table(const Validation *v, Text *out)
{
    text_append(out,
                "schedule      epoch      epoch         error  least ..   most   speed  speedup  "
                "speedup   memory   memory  executor's\n"
                "          predicted   measured                                     predicted "
                "measured predict. measured     own\n"
                "                  s          s             %      s          s      %  over dp "
                " over dp      MiB      MiB       %\n");
    for (int i = 0; i < v->row_count; i++) {
        const ValidationRow *row = &v->rows[i];
        if (row->why[0]) {
            text_printf(out, "%-8s  not possible: %s\n", schedule_name(row->schedule), row->why);
            continue;
        }
        text_printf(out, "%-8s %10.4f %10.4f %+6.1f +-%4.1f %8.4f %9.4f  %5.0f  ",
                    schedule_name(row->schedule), row->predicted_s, row->measured_s,
                    100 * row->error, 100 * row->standard_error, row->least_s, row->most_s,
                    100 * row->speed);
        if (row->predicted_speedup > 0)
            text_printf(out, "%7.2f  %7.2f", row->predicted_speedup, row->measured_speedup);
        else                            text_printf(out, "%7s  %7s", "-", "-");
        text_printf(out, " %8.1f %8.1f %7.2f%s\n", mib(row->predicted_bytes),
                    mib(row->measured_bytes), 100 * row->overhead,
                    i == v->best ? "  <- chosen" : "");
    }
}

/* Of the error that is known least. */
static double unsteadiness(const Validation *v)
{
    double most = 0;

    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0]) most = fmax(most, v->rows[i].standard_error);
    return most;
}

/* Why the machine makes errors say little; false, and nothing, where it does not. */
static bool plausibility_warning(const Validation *v, Text *out)
{
    double unsteady = unsteadiness(v);

    if (v->core_share < CORE_SHARE_BUSY && v->quota > 0)
        text_printf(out,
                    "a quota of %.3g processors (cpu.max of the control group) holds devices up: "
                    "one had %.0f %% of its core while it "
                    "worked, so these errors say little; raise the quota, or use as many cores as "
                    "it grants (taskset)",
                    v->quota, 100 * v->core_share);
    else if (v->core_share < CORE_SHARE_BUSY)
        text_printf(out,
                    "the machine was busy: a device had %.0f %% of its core while it worked, so "
                    "these errors say little; "
                    "run again when nothing else runs",
                    100 * v->core_share);
    else if (unsteady > UNSTEADY_ABOVE)
        text_printf(out,
                    "the machine's speed is not steady: an error is known to %.1f %% only; "
                    "measure longer (--limit), or when nothing else runs",
                    100 * unsteady);
    else
        return false;
    return true;
}

/* Those of the store where a schedule stores. */
static bool is_shown(const ValidationRow *row, Op op)
{
    return !op_stores(op) || row->op[op].predicted_us > 0 || row->op[op].measured_us > 0;
}

static bool is_shown_in_any(const Validation *v, Op op)
{
    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0] && is_shown(&v->rows[i], op)) return true;
    return false;
}

static void op_row(const Validation *v, Op op, Text *out)
{
    text_printf(out, "%-10s", word(op));
    for (int i = 0; i < v->row_count; i++) {
        const OpTimes *t = &v->rows[i].op[op];
        if (v->rows[i].why[0]) continue;
        if (t->predicted_us == 0 && t->measured_us == 0) text_printf(out, "  %15s", "-");
        else text_printf(out, "  %7.3f %7.3f", t->predicted_us * 1e-3, t->measured_us * 1e-3);
    }
    text_append(out, "\n");
}

/* What is left of a step: waits, and the executor's own time. Sums and messages that are overlapped
 * take none of it; what they take of the device's core is predicted within it, and was measured
 * within whatever it held up. */
static double rest_us(const ValidationRow *row, const Scenario *s, bool measured)
{
    double us = (measured ? row->measured_s : row->predicted_s) * 1e6 / (double)s->steps;

    for (int i = 0; i < SHOWN; i++) {
        const OpTimes *t = &row->op[shown[i]];
        bool overlapped = (shown[i] == OP_ALLREDUCE || shown[i] == OP_SEND)
                          && !s->trace->blocking_transfers;
        if (!overlapped) us -= measured ? t->measured_us : t->predicted_us;
    }
    return us;
}

/* Processor time of transfers. */
static void core_row(const Validation *v, Text *out)
{
    text_printf(out, "%-10s", "transfers");
    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0])
            text_printf(out, "  %7.3f %7.3f", v->rows[i].core.predicted_us * 1e-3,
                        v->rows[i].core.measured_us * 1e-3);
    text_append(out, "\n");
}

/* The rest of a step in ms; where the trace has stalls the % of a device's work that they took, of
 * the profile and of the runs. */
static void rest_rows(const Validation *v, const Scenario *s, Text *out)
{
    if (s->trace->transfers_on_device) core_row(v, out);
    text_printf(out, "%-10s", "waits");
    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0])
            text_printf(out, "  %7.3f %7.3f", rest_us(&v->rows[i], s, false) * 1e-3,
                        rest_us(&v->rows[i], s, true) * 1e-3);
    text_append(out, "\n");
    if (!trace_has_stalls(s->trace)) return;
    text_printf(out, "%-10s", "stalled, %");
    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0])
            text_printf(out, "  %7.2f %7.2f", 100 * stalls_share(&s->trace->kinds[0].stalls),
                        100 * v->rows[i].stalled);
    text_append(out, "\n");
}

static void ops_table(const Validation *v, const Scenario *s, Text *out)
{
    text_append(out, "\na device's time by instruction, a step of an epoch (all phases), mean over "
                     "the devices, ms:\n          ");
    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0]) text_printf(out, "  %15s", schedule_name(v->rows[i].schedule));
    text_append(out, "\n          ");
    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why[0]) text_append(out, "  predict measure");
    text_append(out, "\n");
    for (int i = 0; i < SHOWN; i++)
        if (is_shown_in_any(v, shown[i])) op_row(v, shown[i], out);
    rest_rows(v, s, out);
}

void validation_table(const Validation *v, const Scenario *s, Text *out)
{
    text_printf(out, "%s: %d blocks, %d x %s, batch %" PRId64 ", %" PRId64 " steps an epoch\n\n",
                s->trace->name, s->trace->block_count, s->device_count, s->trace->kinds[0].name,
                s->batch, s->steps);
    epochs_table(v, out);
    text_printf(out,
                "\nerror of the epoch time: median %.1f %%, worst %.1f %%; the order of the "
                "schedules is %s\n",
                100 * v->median_error, 100 * v->worst_error,
                v->same_order ? "as predicted" : "NOT as predicted");
    text_printf(out,
                "(those predicted within %.0f %% of each other, or measured within twice their "
                "standard errors, count as equal)\n"
                "measured: the mean of %d runs, each times the machine's speed then, in %% of that "
                "in the profile\n",
                100 * (VALIDATION_TIE - 1), v->rounds);
    if (plausibility_warning(v, out)) text_append(out, "\n");
    ops_table(v, s, out);
}

/* ---- JSON ----------------------------------------------------------------------------- */

static void json_ops(const ValidationRow *row, Text *out)
{
    text_append(out, "\"instructions\": [");
    for (int i = 0; i < SHOWN; i++) {
        if (!is_shown(row, shown[i])) continue;
        text_printf(out, "%s{\"op\": \"%s\", \"predicted_us\": ", i ? ", " : "", op_name(shown[i]));
        text_json_double(out, row->op[shown[i]].predicted_us);
        text_append(out, ", \"measured_us\": ");
        text_json_double(out, row->op[shown[i]].measured_us);
        text_append(out, "}");
    }
    text_append(out, "]");
}

static void json_number(const char *key, double value, Text *out)
{
    text_printf(out, ", \"%s\": ", key);
    text_json_double(out, value);
}

/* A schedule of the validation; of one that is impossible only why. */
static void json_row(const ValidationRow *row, bool chosen, const Trace *trace, Text *out)
{
    text_printf(out, "    {\"schedule\": \"%s\"", schedule_name(row->schedule));
    if (row->why[0]) {
        text_append(out, ", \"impossible\": ");
        text_json_string(out, row->why);
        text_append(out, "}");
        return;
    }
    text_printf(out, ", \"chosen\": %s, \"steps\": %" PRId64, chosen ? "true" : "false",
                row->steps);
    json_number("predicted_epoch_s", row->predicted_s, out);
    json_number("measured_epoch_s", row->measured_s, out);
    json_number("measured_least_s", row->least_s, out);
    json_number("measured_most_s", row->most_s, out);
    json_number("error", row->error, out);
    json_number("standard_error", row->standard_error, out);
    json_number("speed", row->speed, out);
    if (row->predicted_speedup > 0) {
        json_number("predicted_speedup", row->predicted_speedup, out);
        json_number("measured_speedup", row->measured_speedup, out);
    } else {
        text_append(out, ", \"predicted_speedup\": null, \"measured_speedup\": null");
    }
    json_number("overhead", row->overhead, out);
    if (trace_has_stalls(trace)) json_number("stalled_share", row->stalled, out);
    if (trace->transfers_on_device) {
        json_number("predicted_transfer_core_us", row->core.predicted_us, out);
        json_number("measured_transfer_core_us", row->core.measured_us, out);
    }
    text_printf(out,
                ", \"predicted_peak_memory_bytes\": %" PRId64
                ", \"measured_peak_memory_bytes\": %" PRId64 ",\n     ",
                row->predicted_bytes, row->measured_bytes);
    json_ops(row, out);
    text_append(out, "}");
}

static void json_warning(const Validation *v, Text *out)
{
    Text why = {0};

    text_append(out, ",\n  \"plausibility_warning\": ");
    if (plausibility_warning(v, &why)) text_json_string(out, text_string(&why));
    else                text_append(out, "null");
    out->failed |= text_failed(&why);
    text_free(&why);
}

void validation_json(const Validation *v, const Scenario *s, Text *out)
{
    text_append(out, "{\n  \"format\": \"pipebd-validation\",\n  \"version\": 1,\n  \"trace\": ");
    text_json_string(out, s->trace->name);
    text_printf(out, ",\n  \"trace_hash\": \"%016" PRIx64 "\",\n", s->trace->hash);
    report_origin_json(s->trace, v->command, out);
    text_append(out, "  \"workload\": ");
    text_json_string(out, s->trace->workload);
    text_append(out, ",\n");
    report_blocks_json(s, out);
    text_append(out, "  \"device\": ");
    text_json_string(out, s->trace->kinds[0].name);
    text_printf(out,
                ",\n  \"devices\": %d,\n  \"batch\": %" PRId64 ",\n  \"steps\": %" PRId64
                ",\n  \"median_error\": ",
                s->device_count, s->batch, s->steps);
    text_json_double(out, v->median_error);
    text_append(out, ",\n  \"worst_error\": ");
    text_json_double(out, v->worst_error);
    text_append(out, ",\n  \"core_share\": ");
    text_json_double(out, v->core_share);
    json_warning(v, out);
    text_printf(out, ",\n  \"rounds\": %d", v->rounds);
    text_printf(out, ",\n  \"same_order\": %s,\n  \"schedules\": [\n",
                v->same_order ? "true" : "false");
    for (int i = 0; i < v->row_count; i++) {
        json_row(&v->rows[i], i == v->best, s->trace, out);
        text_append(out, i + 1 < v->row_count ? ",\n" : "\n");
    }
    text_append(out, "  ],\n");
    if (v->best >= 0) report_chosen_json(v->rows[v->best].plan, out);
    report_notes_json(v->best >= 0 ? v->rows[v->best].plan : NULL, s, NULL, out);
    text_append(out, "\n}\n");
}

/* ---- CSV ------------------------------------------------------------------------------- */

void validation_csv(const Validation *v, Text *out)
{
    text_append(
        out,
        "schedule,steps,predicted_epoch_s,measured_epoch_s,measured_least_s,measured_most_s,error,"
        "predicted_speedup,measured_speedup,predicted_peak_memory_bytes,measured_peak_memory_bytes,"
        "overhead,standard_error,speed\n");
    for (int i = 0; i < v->row_count; i++) {
        const ValidationRow *row = &v->rows[i];
        if (row->why[0]) continue;
        text_printf(out, "%s,%" PRId64 ",%.6g,%.6g,%.6g,%.6g,%.4f,", schedule_name(row->schedule),
                    row->steps, row->predicted_s, row->measured_s, row->least_s, row->most_s,
                    row->error);
        if (row->predicted_speedup > 0)
            text_printf(out, "%.4f,%.4f,", row->predicted_speedup, row->measured_speedup);
        else
            text_append(out, ",,");
        text_printf(out, "%" PRId64 ",%" PRId64 ",%.5f,%.4f,%.4f\n", row->predicted_bytes,
                    row->measured_bytes, row->overhead, row->standard_error, row->speed);
    }
    Text why = {0};
    if (plausibility_warning(v, &why)) text_printf(out, "# note: %s\n", text_string(&why));
    text_free(&why);
}
