#include "planner/check/check_report.h"

#include "planner/report/estimates.h"
#include "planner/report/notes.h"

#include <inttypes.h>

#include "planner/report/report.h"
#include "schedule/registry.h"

bool check_other_trace(const Plan *plan, const Scenario *s)
{
    return plan->trace_hash != 0 && plan->trace_hash != s->trace->hash;
}

static void list(const Stage *stage, bool rows, const char *gap, Text *out)
{
    if (stage->width == 0) text_append(out, "any");
    for (int i = 0; i < stage->width; i++)
        if (rows) text_printf(out, "%s%" PRId64, i ? gap : "", stage->rows[i]);
        else      text_printf(out, "%s%d", i ? gap : "", stage->devices[i]);
}

/* "12 % slower", "0.4 % faster", "the same". */
static void ratio_text(int64_t ns, int64_t other, Text *out)
{
    double change = 100 * ((double)ns / (double)other - 1), percent = change > 0 ? change : -change;

    if (ns == other) text_append(out, "the same");
    else
        text_printf(out, percent < 10 ? "%.2g %% %s" : "%.0f %% %s", percent,
                    change > 0 ? "slower" : "faster");
}

/* ---- table --------------------------------------------------------------------------- */

/* A row of the table: stage i, its blocks, devices and rows, and the parts of its step. */
static void stage_row(const CheckReport *r, const Scenario *s, int i, Text *out)
{
    const Stage        *stage = &r->plan->stages[i];
    const CheckedStage *c = &r->checked->stages[i];
    const CheckedPart  *p = &c->part;
    bool                chain = !schedule_row(r->plan->schedule)->phases;
    size_t              start = out->length;

    text_printf(out, "%5d  %s", i, s->trace->blocks[stage->first].name);
    if (stage->first != stage->last) text_printf(out, " to %s", s->trace->blocks[stage->last].name);
    text_append(out, " on ");
    list(stage, false, ",", out);
    text_append(out, " x ");
    list(stage, true, ",", out);
    text_pad(out, 40);
    if (out->length - start > 40) text_append(out, "\n                                        ");
    text_printf(out, "%10.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.1f", (double)c->step_ns * 1e-6,
                (double)p->load_ns * 1e-6, (double)p->teacher_ns * 1e-6,
                (double)p->student_ns * 1e-6, (double)p->reduce_ns * 1e-6,
                (double)p->update_ns * 1e-6, (double)(p->in_ns + p->out_ns) * 1e-6,
                (double)c->memory_bytes * 0x1p-20);
    if (chain && i == r->checked->bottleneck) text_append(out, "  <- bottleneck");
    if (c->group_across) text_append(out, "  devices on several machines");
    if (c->in_across) text_append(out, "  relay between machines");
    text_append(out, "\n");
}

/* Of a split plan: students that device trains, or some rows of. */
static int tasks_of(const Plan *plan, int device)
{
    int count = 0;

    for (int t = 0; t < plan->task_count; t++)
        for (int i = 0; i < plan->tasks[t].width; i++) count += plan->tasks[t].devices[i] == device;
    return count;
}

static int stage_of(const Plan *plan, int device)
{
    for (int s = 0; s < plan->stage_count; s++)
        for (int i = 0; i < plan->stages[s].width; i++)
            if (plan->stages[s].devices[i] == device) return s;
    return -1;
}

/* A line of the table: what device d has, its work in ms and its memory in MiB. What is too long
 * for the column of names goes on a line of its own, so that numbers stay in theirs. */
static void device_row(const CheckReport *r, const Scenario *s, int d, Text *out)
{
    const CheckedPart *p = &r->checked->devices[d];
    int                stage = stage_of(r->plan, d), tasks = tasks_of(r->plan, d);
    size_t             start = out->length;

    text_printf(out, "%6d  ", d);
    if (stage >= 0)
        text_printf(out, "teacher %s", s->trace->blocks[r->plan->stages[stage].first].name);
    if (stage >= 0 && r->plan->stages[stage].first != r->plan->stages[stage].last)
        text_printf(out, " to %s", s->trace->blocks[r->plan->stages[stage].last].name);
    if (tasks)
        text_printf(out, "%s%d student%s", stage >= 0 ? ", " : "", tasks, tasks > 1 ? "s" : "");
    if (stage < 0 && !tasks) text_append(out, "nothing");
    text_pad(out, 40);
    if (out->length - start > 40) text_append(out, "\n                                        ");
    text_printf(out, "%10.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.1f", (double)p->step_ns * 1e-6,
                (double)p->load_ns * 1e-6, (double)p->teacher_ns * 1e-6,
                (double)p->student_ns * 1e-6, (double)p->reduce_ns * 1e-6,
                (double)p->update_ns * 1e-6, (double)(p->in_ns + p->out_ns) * 1e-6,
                (double)p->memory_bytes * 0x1p-20);
    text_append(out, d == r->checked->bottleneck ? "  <- bottleneck\n" : "\n");
}

/* Of a plan that stores: what a step is of the phase's slowest device, and what all of them fetch
 * and store. */
static void phase_row(const CheckReport *r, const Scenario *s, int i, Text *out)
{
    const CheckedPhase *phase = &r->checked->phases[i];
    const CheckedPart  *p = &phase->part;
    size_t              start = out->length;

    text_printf(out, "%5d  %s", i, s->trace->blocks[phase->stage->first].name);
    if (phase->stage->first != phase->stage->last)
        text_printf(out, " to %s", s->trace->blocks[phase->stage->last].name);
    text_append(out, " on ");
    list(phase->stage, false, ",", out);
    text_append(out, " x ");
    list(phase->stage, true, ",", out);
    text_pad(out, 40);
    if (out->length - start > 40) text_append(out, "\n                                        ");
    text_printf(out, "%6" PRId64 " %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.1f %9.1f\n",
                phase->epochs, (double)p->step_ns * 1e-6, (double)p->load_ns * 1e-6,
                (double)p->teacher_ns * 1e-6, (double)p->student_ns * 1e-6,
                (double)p->reduce_ns * 1e-6, (double)p->update_ns * 1e-6,
                (double)phase->fetched_bytes * 0x1p-20, (double)phase->stored_bytes * 0x1p-20);
}

/* What the fullest device needs, and each tier that holds something, of all machines. */
static void memory_text(const CheckReport *r, const Scenario *s, Text *out)
{
    const Candidate *row = r->priced;
    Program         *program;

    text_printf(out, "memory: %.1f MiB on device %d, the fullest",
                (double)row->peak.total_bytes * 0x1p-20, row->peak_device);
    if (program_build_short(&program, r->plan, 1, NULL) != 0) { out->failed = true; return; }
    for (int t = 0; t < s->trace->tier_count; t++) {
        double bytes = 0;
        for (int m = 0; m < scenario_nodes(s); m++)
            bytes += (double)memory_in_tier(&row->host[m], program, s->trace, t);
        if (bytes > 0)
            text_printf(out, "; %.6g GiB in %s", bytes * 0x1p-30, s->trace->tiers[t].name);
    }
    text_append(out, "\n");
    program_free(program);
}

static void phase_rows(const CheckReport *r, const Scenario *s, Text *out)
{
    text_append(out,
                "\nphase  blocks, devices, rows            epochs      step      load   teacher"
                "   student all-reduce  update   fetched    stored\n"
                "       of the slowest device                       ms        ms        ms"
                "        ms        ms        ms  MiB/step  MiB/step\n");
    for (int i = 0; i < r->checked->phase_count; i++) phase_row(r, s, i, out);
    text_append(out, "\n");
    memory_text(r, s, out);
}

static void rows(const CheckReport *r, const Scenario *s, Text *out)
{
    if (r->checked->phases) { phase_rows(r, s, out); return; }
    bool split = schedule_row(r->plan->schedule)->apart;

    text_append(out, split ? "\ndevice  teacher blocks, students" "                "
                           : "\nstage  blocks, devices, rows" "                    ");
    text_append(out, "step      load   teacher   student all-reduce  update  messages    memory\n");
    text_append(out, split ? "                            " : "       of the slowest device");
    text_append(out, "                      ms        ms        ms        ms        ms        ms   "
                     "     ms       MiB\n");
    for (int i = 0; i < r->plan->stage_count && !split; i++) stage_row(r, s, i, out);
    for (int d = 0; d < r->plan->device_count && split; d++) device_row(r, s, d, out);
    text_append(out, "\n");
}

/* What limits the plan and its time a step: a device, a stage, or all stages that take turns.
 * Beside it the simulated step with its waits, and what the plan's file predicted. */
static void bottleneck_text(const CheckReport *r, Text *out)
{
    const CheckedPlan *c = r->checked;

    if (!c->bottleneck_ns) {
        text_append(out, "bottleneck: not known, tasks go to whoever is free\n");
        return;
    }
    text_append(out, "bottleneck: ");
    if (!c->phases && schedule_row(r->plan->schedule)->phases
        && schedule_row(r->plan->schedule)->whole)
        text_append(out, "all stages in turn");
    else if (c->devices || c->phases || schedule_row(r->plan->schedule)->lists)
        text_printf(out, "device %d", c->bottleneck);
    else text_printf(out, "stage %d", c->bottleneck);
    text_printf(out, ", %.3f ms a step", (double)c->bottleneck_ns * 1e-6);
    if (c->devices || c->phases)
        text_printf(out, " of work%s; with waits %.3f ms, simulated",
                    c->phases ? ", the mean of all epochs" : "",
                    (double)r->priced->plan->step_ns * 1e-6);
    if (r->plan->bottleneck_ns) {
        text_append(out, "; predicted when it was made: ");
        text_printf(out, "%.3f ms, now ", (double)r->plan->bottleneck_ns * 1e-6);
        ratio_text(c->bottleneck_ns, r->plan->bottleneck_ns, out);
    }
    text_append(out, "\n");
}

/* Plans of split, those that store, and those of tr with a device a stage, have a bound of their
 * own. */
static bool own_bound(const CheckReport *r)
{
    const ScheduleRow *row = schedule_row(r->plan->schedule);
    bool               single = row->barrier && r->comparison->rows[r->plan->schedule].bound_ns > 0;

    for (int i = 0; i < r->plan->stage_count && single; i++) single = r->plan->stages[i].width == 1;
    return row->apart || row->stores || single;
}

static int64_t bound_of(const CheckReport *r)
{
    return own_bound(r) ? r->comparison->rows[r->plan->schedule].bound_ns : r->comparison->bound_ns;
}

/* How far the plan is from the planner's of its schedule, from the fastest, and from the bound. */
static void distance_text(const CheckReport *r, Text *out)
{
    const Comparison *c = r->comparison;
    int64_t           ns = r->priced->sim.epoch_ns, bound = bound_of(r);
    const Candidate  *same = &c->rows[r->plan->schedule];

    if (same->plan) {
        text_printf(out, "the planner's %s: %.3f s; this plan is ",
                    schedule_name(r->plan->schedule), (double)same->sim.epoch_ns * 1e-9);
        ratio_text(ns, same->sim.epoch_ns, out);
        text_append(out, "\n");
    }
    if (c->best >= 0 && c->best != (int)r->plan->schedule) {
        text_printf(out, "the planner's fastest: %s, %.3f s; this plan is ",
                    schedule_name((Schedule)c->best), (double)c->rows[c->best].sim.epoch_ns * 1e-9);
        ratio_text(ns, c->rows[c->best].sim.epoch_ns, out);
        text_append(out, "\n");
    }
    if (bound > 0)
        text_printf(
            out, "bound: no %s plan%s has %s epoch below %.3f s; this one is %.1f %% %s\n",
            own_bound(r) ? schedule_name(r->plan->schedule) : "relaying",
            own_bound(r) ? "" : " of the planner's kind",
            r->plan->stored ? "a mean" : "an", (double)bound * 1e-9,
            100 * (ns >= bound ? (double)ns / (double)bound - 1 : 1 - (double)ns / (double)bound),
            ns >= bound ? "above" : "below");
}

/* Where the plan's devices and batch are not the trace's. */
static void cluster_text(const Plan *plan, const Scenario *s, Text *out)
{
    int devices = trace_device_count(s->trace);

    if (plan->device_count != devices)
        text_printf(out, "its %d device%s: the trace has %d%s\n", plan->device_count,
                    plan->device_count == 1 ? "" : "s", devices,
                    plan->device_count > devices ? ", the others are taken to be like the last"
                                                 : "");
    if (plan->batch != s->trace->batch)
        text_printf(out,
                    "its batch of %" PRId64 ": the trace's is %" PRId64 ", so an epoch has %" PRId64
                    " steps\n",
                    plan->batch, s->trace->batch, s->steps);
}

/* The whole report as text. */
static void table(const CheckReport *r, const Scenario *s, Text *out)
{
    const Plan *plan = r->plan;

    text_printf(out, "%s: %s, %d stage%s, on %s with %d devices, batch %" PRId64 "\n", r->name,
                schedule_name(plan->schedule), plan->stage_count, plan->stage_count > 1 ? "s" : "",
                s->trace->name, s->device_count, s->batch);
    if (check_other_trace(plan, s))
        text_printf(out,
                    "made for another trace: \"%s\", hash %016" PRIx64 "; this one's is %016" PRIx64
                    "\n",
                    plan->trace_name, plan->trace_hash, s->trace->hash);
    else
        text_append(out, plan->trace_hash ? "made for this trace\n"
                                          : "it does not say for which trace it was made\n");
    cluster_text(plan, s, out);
    rows(r, s, out);
    bottleneck_text(r, out);
    text_printf(out, "epoch: %.3f s, ", (double)r->priced->sim.epoch_ns * 1e-9);
    if (r->priced->sim.estimated) report_estimate(&r->priced->sim, out);
    else                          text_append(out, "simulated");
    if (plan->epoch_ns) {
        text_printf(out, "; predicted when it was made: %.3f s, now ",
                    (double)plan->epoch_ns * 1e-9);
        ratio_text(r->priced->sim.epoch_ns, plan->epoch_ns, out);
    }
    text_append(out, "\n");
    distance_text(r, out);
    report_notes(r->plan, s, NULL, out);
    report_left_out(s, out);
}

/* ---- CSV and JSON ----------------------------------------------------------------------- */

static void times_us(const CheckedPart *p, const char *const *names, const char *gap, Text *out)
{
    const int64_t ns[] = {p->step_ns,   p->load_ns,   p->teacher_ns, p->student_ns,
                          p->reduce_ns, p->update_ns, p->in_ns,      p->out_ns};

    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        text_append(out, gap);
        if (names) text_printf(out, "\"%s\": ", names[i]);
        text_us(out, ns[i]);
    }
}

static const char *const time_names[] = {"step_us",      "load_us",   "teacher_us", "student_us",
                                         "allreduce_us", "update_us", "in_us",      "out_us"};

/* stage is empty for a device that runs no teacher. */
static void csv_devices(const CheckReport *r, Text *out)
{
    text_append(out, "device,stage,students,step_us,load_us,teacher_us,student_us,allreduce_us,"
                     "update_us,in_us,out_us,memory_bytes\n");
    for (int d = 0; d < r->plan->device_count; d++) {
        int stage = stage_of(r->plan, d);
        text_printf(out, "%d,", d);
        if (stage >= 0) text_printf(out, "%d", stage);
        text_printf(out, ",%d", tasks_of(r->plan, d));
        times_us(&r->checked->devices[d], NULL, ",", out);
        text_printf(out, ",%" PRId64 "\n", r->checked->devices[d].memory_bytes);
    }
}

static void csv_phases(const CheckReport *r, Text *out)
{
    text_append(out, "phase,first,last,devices,rows,later,from,epochs,step_us,load_us,teacher_us,"
                     "student_us,allreduce_us,update_us,in_us,out_us,fetched_bytes,stored_bytes\n");
    for (int i = 0; i < r->checked->phase_count; i++) {
        const CheckedPhase *phase = &r->checked->phases[i];
        text_printf(out, "%d,%d,%d,", i, phase->stage->first, phase->stage->last);
        list(phase->stage, false, " ", out);
        text_append(out, ",");
        list(phase->stage, true, " ", out);
        text_printf(out, ",%d,%d,%" PRId64, phase->later, phase->from, phase->epochs);
        times_us(&phase->part, NULL, ",", out);
        text_printf(out, ",%" PRId64 ",%" PRId64 "\n", phase->fetched_bytes, phase->stored_bytes);
    }
}

static void csv(const CheckReport *r, Text *out)
{
    if (r->checked->phases) { csv_phases(r, out); return; }
    if (r->checked->devices) { csv_devices(r, out); return; }
    text_append(out, "stage,first,last,devices,rows,step_us,load_us,teacher_us,student_us,"
                     "allreduce_us,update_us,in_us,"
                     "out_us,memory_bytes,memory_device\n");
    for (int i = 0; i < r->plan->stage_count; i++) {
        const Stage *stage = &r->plan->stages[i];
        text_printf(out, "%d,%d,%d,", i, stage->first, stage->last);
        list(stage, false, " ", out);
        text_append(out, ",");
        list(stage, true, " ", out);
        times_us(&r->checked->stages[i].part, NULL, ",", out);
        text_printf(out, ",%" PRId64 ",%d\n", r->checked->stages[i].memory_bytes,
                    r->checked->stages[i].memory_device);
    }
}

static void json_stage(const CheckReport *r, int i, Text *out)
{
    const Stage        *stage = &r->plan->stages[i];
    const CheckedStage *c = &r->checked->stages[i];

    text_printf(out, "    {\"first\": %d, \"last\": %d, \"devices\": [", stage->first, stage->last);
    if (stage->width) list(stage, false, ", ", out);
    text_append(out, "], \"rows\": [");
    if (stage->width) list(stage, true, ", ", out);
    text_append(out, "]");
    times_us(&c->part, time_names, ", ", out);
    text_printf(out,
                ", \"memory_bytes\": %" PRId64
                ", \"memory_device\": %d, \"devices_across\": %s, \"relay_across\": %s}",
                c->memory_bytes, c->memory_device, c->group_across ? "true" : "false",
                c->in_across ? "true" : "false");
}

static void json_device(const CheckReport *r, int d, Text *out)
{
    int stage = stage_of(r->plan, d);

    text_printf(out, "    {\"device\": %d, \"stage\": ", d);
    if (stage >= 0) text_printf(out, "%d", stage);
    else            text_append(out, "null");
    text_printf(out, ", \"students\": %d", tasks_of(r->plan, d));
    times_us(&r->checked->devices[d], time_names, ", ", out);
    text_printf(out, ", \"memory_bytes\": %" PRId64 "}", r->checked->devices[d].memory_bytes);
}

static void json_phase(const CheckReport *r, int i, Text *out)
{
    const CheckedPhase *phase = &r->checked->phases[i];

    text_printf(out, "    {\"first\": %d, \"last\": %d, \"devices\": [", phase->stage->first,
                phase->stage->last);
    list(phase->stage, false, ", ", out);
    text_append(out, "], \"rows\": [");
    list(phase->stage, true, ", ", out);
    text_printf(out, "], \"later\": %s, \"from\": %d, \"epochs\": %" PRId64,
                phase->later ? "true" : "false", phase->from, phase->epochs);
    times_us(&phase->part, time_names, ", ", out);
    text_printf(out, ", \"fetched_bytes\": %" PRId64 ", \"stored_bytes\": %" PRId64 "}",
                phase->fetched_bytes, phase->stored_bytes);
}

static void json_rows(const CheckReport *r, Text *out)
{
    bool split = schedule_row(r->plan->schedule)->apart;
    bool stores = r->checked->phases != NULL;
    int  count = stores  ? r->checked->phase_count
                 : split ? r->plan->device_count
                         : r->plan->stage_count;

    text_printf(out, "  \"%s\": [\n", stores ? "phases" : split ? "devices" : "stages");
    for (int i = 0; i < count; i++) {
        if (stores)     json_phase(r, i, out);
        else if (split) json_device(r, i, out);
        else            json_stage(r, i, out);
        text_append(out, i + 1 < count ? ",\n" : "\n  ]");
    }
}

static void json_ns(const char *key, int64_t ns, bool seconds, Text *out)
{
    text_printf(out, ",\n  \"%s\": ", key);
    if (ns <= 0)      text_append(out, "null");
    else if (seconds) text_printf(out, "%.9f", (double)ns * 1e-9);
    else              text_us(out, ns);
}

/* The whole report as JSON. */
static void json(const CheckReport *r, const Scenario *s, Text *out)
{
    const Comparison *c = r->comparison;
    const Candidate  *same = &c->rows[r->plan->schedule];

    text_append(out, "{\n  \"format\": \"pipebd-check\",\n  \"version\": 1,\n  \"trace\": ");
    text_json_string(out, s->trace->name);
    text_printf(out, ",\n  \"schedule\": \"%s\",\n  \"other_trace\": %s,\n",
                schedule_name(r->plan->schedule), check_other_trace(r->plan, s) ? "true" : "false");
    json_rows(r, out);
    json_ns("bottleneck_us", r->checked->bottleneck_ns, false, out);
    json_ns("predicted_bottleneck_us", r->plan->bottleneck_ns, false, out);
    json_ns("epoch_s", r->priced->sim.epoch_ns, true, out);
    report_estimate_json(&r->priced->sim, out);
    json_ns("predicted_epoch_s", r->plan->epoch_ns, true, out);
    json_ns("planner_epoch_s", same->plan ? same->sim.epoch_ns : 0, true, out);
    text_append(out, ",\n  \"fastest\": ");
    if (c->best < 0) text_append(out, "null");
    else text_printf(out, "\"%s\"", schedule_name((Schedule)c->best));
    json_ns("fastest_epoch_s", c->best < 0 ? 0 : c->rows[c->best].sim.epoch_ns, true, out);
    json_ns("bound_s", bound_of(r), true, out);
    text_append(out, ",\n");
    report_notes_json(r->plan, s, NULL, out);
    text_append(out, "\n}\n");
}

void check_report(const CheckReport *r, const Scenario *s, ReportFormat format, Text *out)
{
    switch (format) {
    case REPORT_TABLE: table(r, s, out); break;
    case REPORT_CSV:
        csv(r, out);
        report_notes_csv(r->plan, s, NULL, out);
        break;
    case REPORT_JSON:  json(r, s, out); break;
    }
}
