#include "planner/check_report.h"

#include <inttypes.h>

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
    else             text_printf(out, percent < 10 ? "%.2g %% %s" : "%.0f %% %s", percent, change > 0 ? "slower" : "faster");
}

/* ---- table --------------------------------------------------------------------------- */

static void stage_row(const CheckReport *r, const Scenario *s, int i, Text *out)
{
    const Stage        *stage = &r->plan->stages[i];
    const CheckedStage *c = &r->checked->stages[i];
    const CheckedPart  *p = &c->part;
    bool                chain = r->plan->schedule != SCHEDULE_DP && r->plan->schedule != SCHEDULE_LS;
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
                (double)p->load_ns * 1e-6, (double)p->teacher_ns * 1e-6, (double)p->student_ns * 1e-6,
                (double)p->reduce_ns * 1e-6, (double)p->update_ns * 1e-6, (double)(p->in_ns + p->out_ns) * 1e-6,
                (double)c->memory_bytes * 0x1p-20);
    if (chain && i == r->checked->bottleneck) text_append(out, "  <- bottleneck");
    if (c->group_across) text_append(out, "  devices on several machines");
    if (c->in_across) text_append(out, "  relay between machines");
    text_append(out, "\n");
}

static void bottleneck_text(const CheckReport *r, Text *out)
{
    const CheckedPlan *c = r->checked;

    if (!c->bottleneck_ns) { text_append(out, "bottleneck: not known, tasks go to whoever is free\n"); return; }
    text_append(out, "bottleneck: ");
    if (r->plan->schedule == SCHEDULE_DP)      text_append(out, "all stages in turn");
    else if (r->plan->schedule == SCHEDULE_LS) text_printf(out, "device %d", c->bottleneck);
    else                                       text_printf(out, "stage %d", c->bottleneck);
    text_printf(out, ", %.3f ms a step", (double)c->bottleneck_ns * 1e-6);
    if (r->plan->bottleneck_ns) {
        text_append(out, "; predicted when it was made: ");
        text_printf(out, "%.3f ms, now ", (double)r->plan->bottleneck_ns * 1e-6);
        ratio_text(c->bottleneck_ns, r->plan->bottleneck_ns, out);
    }
    text_append(out, "\n");
}

static void distance_text(const CheckReport *r, Text *out)
{
    const Comparison *c = r->comparison;
    int64_t           ns = r->priced->sim.epoch_ns;
    const Candidate  *same = &c->rows[r->plan->schedule];

    if (same->plan) {
        text_printf(out, "the planner's %s: %.3f s; this plan is ", schedule_name(r->plan->schedule),
                    (double)same->sim.epoch_ns * 1e-9);
        ratio_text(ns, same->sim.epoch_ns, out);
        text_append(out, "\n");
    }
    if (c->best >= 0 && c->best != (int)r->plan->schedule) {
        text_printf(out, "the planner's fastest: %s, %.3f s; this plan is ", schedule_name((Schedule)c->best),
                    (double)c->rows[c->best].sim.epoch_ns * 1e-9);
        ratio_text(ns, c->rows[c->best].sim.epoch_ns, out);
        text_append(out, "\n");
    }
    if (c->bound_ns > 0)
        text_printf(out, "bound: no relaying plan of the planner's kind has an epoch below %.3f s; this one is %.1f %% %s\n",
                    (double)c->bound_ns * 1e-9,
                    100 * (ns >= c->bound_ns ? (double)ns / (double)c->bound_ns - 1 : 1 - (double)ns / (double)c->bound_ns),
                    ns >= c->bound_ns ? "above" : "below");
}

static void table(const CheckReport *r, const Scenario *s, Text *out)
{
    const Plan *plan = r->plan;

    text_printf(out, "%s: %s, %d stage%s, on %s with %d devices, batch %" PRId64 "\n", r->name,
                schedule_name(plan->schedule), plan->stage_count, plan->stage_count > 1 ? "s" : "", s->trace->name,
                s->device_count, s->batch);
    if (check_other_trace(plan, s))
        text_printf(out, "made for another trace: \"%s\", hash %016" PRIx64 "; this one's is %016" PRIx64 "\n",
                    plan->trace_name, plan->trace_hash, s->trace->hash);
    else
        text_append(out, plan->trace_hash ? "made for this trace\n" : "it does not say for which trace it was made\n");
    text_append(out, "\nstage  blocks, devices, rows                    step      load   teacher   student all-reduce"
                     "  update  messages    memory\n");
    text_append(out, "       of the slowest device                      ms        ms        ms        ms        ms"
                     "        ms        ms       MiB\n");
    for (int i = 0; i < plan->stage_count; i++) stage_row(r, s, i, out);
    text_append(out, "\n");
    bottleneck_text(r, out);
    text_printf(out, "epoch: %.3f s, simulated", (double)r->priced->sim.epoch_ns * 1e-9);
    if (plan->epoch_ns) {
        text_printf(out, "; predicted when it was made: %.3f s, now ", (double)plan->epoch_ns * 1e-9);
        ratio_text(r->priced->sim.epoch_ns, plan->epoch_ns, out);
    }
    text_append(out, "\n");
    distance_text(r, out);
}

/* ---- CSV and JSON ----------------------------------------------------------------------- */

static void times_us(const CheckedStage *c, const char *const *names, const char *gap, Text *out)
{
    const int64_t ns[] = {c->step_ns, c->part.load_ns, c->part.teacher_ns, c->part.student_ns, c->part.reduce_ns,
                          c->part.update_ns, c->part.in_ns, c->part.out_ns};

    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        text_append(out, gap);
        if (names) text_printf(out, "\"%s\": ", names[i]);
        text_us(out, ns[i]);
    }
}

static void csv(const CheckReport *r, Text *out)
{
    text_append(out, "stage,first,last,devices,rows,step_us,load_us,teacher_us,student_us,allreduce_us,update_us,in_us,"
                     "out_us,memory_bytes,memory_device\n");
    for (int i = 0; i < r->plan->stage_count; i++) {
        const Stage *stage = &r->plan->stages[i];
        text_printf(out, "%d,%d,%d,", i, stage->first, stage->last);
        list(stage, false, " ", out);
        text_append(out, ",");
        list(stage, true, " ", out);
        times_us(&r->checked->stages[i], NULL, ",", out);
        text_printf(out, ",%" PRId64 ",%d\n", r->checked->stages[i].memory_bytes, r->checked->stages[i].memory_device);
    }
}

static void json_stage(const CheckReport *r, int i, Text *out)
{
    static const char *const names[] = {"step_us", "load_us", "teacher_us", "student_us", "allreduce_us", "update_us",
                                        "in_us", "out_us"};
    const Stage        *stage = &r->plan->stages[i];
    const CheckedStage *c = &r->checked->stages[i];

    text_printf(out, "    {\"first\": %d, \"last\": %d, \"devices\": [", stage->first, stage->last);
    if (stage->width) list(stage, false, ", ", out);
    text_append(out, "], \"rows\": [");
    if (stage->width) list(stage, true, ", ", out);
    text_append(out, "]");
    times_us(c, names, ", ", out);
    text_printf(out, ", \"memory_bytes\": %" PRId64 ", \"memory_device\": %d, \"devices_across\": %s, \"relay_across\": %s}",
                c->memory_bytes, c->memory_device, c->group_across ? "true" : "false", c->in_across ? "true" : "false");
}

static void json_ns(const char *key, int64_t ns, bool seconds, Text *out)
{
    text_printf(out, ",\n  \"%s\": ", key);
    if (ns <= 0)      text_append(out, "null");
    else if (seconds) text_printf(out, "%.9f", (double)ns * 1e-9);
    else              text_us(out, ns);
}

static void json(const CheckReport *r, const Scenario *s, Text *out)
{
    const Comparison *c = r->comparison;
    const Candidate  *same = &c->rows[r->plan->schedule];

    text_append(out, "{\n  \"format\": \"pipebd-check\",\n  \"version\": 1,\n  \"trace\": ");
    text_json_string(out, s->trace->name);
    text_printf(out, ",\n  \"schedule\": \"%s\",\n  \"other_trace\": %s,\n  \"stages\": [\n",
                schedule_name(r->plan->schedule), check_other_trace(r->plan, s) ? "true" : "false");
    for (int i = 0; i < r->plan->stage_count; i++) {
        json_stage(r, i, out);
        text_append(out, i + 1 < r->plan->stage_count ? ",\n" : "\n  ]");
    }
    json_ns("bottleneck_us", r->checked->bottleneck_ns, false, out);
    json_ns("predicted_bottleneck_us", r->plan->bottleneck_ns, false, out);
    json_ns("epoch_s", r->priced->sim.epoch_ns, true, out);
    json_ns("predicted_epoch_s", r->plan->epoch_ns, true, out);
    json_ns("planner_epoch_s", same->plan ? same->sim.epoch_ns : 0, true, out);
    text_append(out, ",\n  \"fastest\": ");
    if (c->best < 0) text_append(out, "null");
    else text_printf(out, "\"%s\"", schedule_name((Schedule)c->best));
    json_ns("fastest_epoch_s", c->best < 0 ? 0 : c->rows[c->best].sim.epoch_ns, true, out);
    json_ns("bound_s", c->bound_ns, true, out);
    text_append(out, "\n}\n");
}

void check_report(const CheckReport *r, const Scenario *s, ReportFormat format, Text *out)
{
    switch (format) {
    case REPORT_TABLE: table(r, s, out); break;
    case REPORT_CSV:   csv(r, out); break;
    case REPORT_JSON:  json(r, s, out); break;
    }
}
