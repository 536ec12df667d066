/* The public interface (include/pipebd.h) against the planner behind it. */
#include "include/pipebd.h"

#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "planner/report/report.h"
#include "tests/support.h"

#define NAS   PIPEBD_ROOT "/traces/nas-cifar10-a6000.json"
#define VGG   PIPEBD_ROOT "/traces/vgg-cpu.json"

static pipebd_trace *read_trace(const char *path)
{
    pipebd_trace *trace;
    pipebd_error  error;

    if (pipebd_trace_read(&trace, path, &error) != 0) fail_msg("%s", error.text);
    assert_string_equal(error.text, "");
    return trace;
}

static pipebd_comparison *compared(const pipebd_trace *trace, const pipebd_options *options)
{
    pipebd_comparison *comparison;
    pipebd_error       error;

    if (pipebd_compare(&comparison, trace, options, &error) != 0) fail_msg("%s", error.text);
    return comparison;
}

static void check_error(int rc, const pipebd_error *error, const char *part)
{
    assert_int_equal(rc, -1);
    if (!strstr(error->text, part)) fail_msg("\"%s\" does not say \"%s\"", error->text, part);
}

/* ---- names and traces ---------------------------------------------------------------- */

static void names_are_the_planners(void **state)
{
    (void)state;
    assert_string_equal(pipebd_version(), PIPEBD_VERSION);
    assert_int_equal(pipebd_schedule_count(), SCHEDULE_COUNT);
    assert_int_equal(pipebd_share_count(), SHARE_COUNT);
    assert_string_equal(pipebd_schedule_name(PIPEBD_DP), "dp");
    assert_string_equal(pipebd_schedule_name(PIPEBD_LS), "ls");
    assert_string_equal(pipebd_schedule_name(PIPEBD_TR), "tr");
    assert_string_equal(pipebd_schedule_name(PIPEBD_DPU), "dpu");
    assert_string_equal(pipebd_schedule_name(PIPEBD_IR), "ir");
    assert_string_equal(pipebd_schedule_name(PIPEBD_AHD), "ahd");
    assert_string_equal(pipebd_schedule_name(PIPEBD_SPLIT), "split");
    assert_string_equal(pipebd_schedule_name(PIPEBD_SEQUENTIAL), "sequential");
    assert_string_equal(pipebd_schedule_name(PIPEBD_STORE), "store");
    assert_string_equal(pipebd_schedule_name((pipebd_schedule)9), "");
    assert_string_equal(pipebd_schedule_name((pipebd_schedule)-1), "");
    assert_string_equal(pipebd_share_name(PIPEBD_SHARE_LOAD), "load");
    assert_string_equal(pipebd_share_name(PIPEBD_SHARE_IDLE), "idle");
    assert_string_equal(pipebd_share_name(PIPEBD_SHARE_STORAGE), "storage");
    assert_string_equal(pipebd_share_name((pipebd_share)9), "");
}

static void trace_from_file_and_memory(void **state)
{
    (void)state;
    size_t        length;
    char         *text = slurp(NAS, &length);
    pipebd_trace *file = read_trace(NAS), *memory;
    pipebd_error  error;

    assert_int_equal(pipebd_trace_parse(&memory, "here", text, length, &error), 0);
    memset(text, 'x', length);                   /* not needed any more */
    for (pipebd_trace *t = file;; t = memory) {
        assert_string_equal(pipebd_trace_name(t), "nas-cifar10-a6000");
        assert_int_equal(pipebd_trace_block_count(t), 6);
        assert_int_equal(pipebd_trace_device_count(t), 4);
        assert_int_equal(pipebd_trace_batch(t), 256);
        assert_int_equal(pipebd_trace_samples(t), 45000);
        assert_string_equal(pipebd_trace_block_name(t, 5), "b5");
        assert_string_equal(pipebd_trace_block_name(t, 6), "");
        assert_string_equal(pipebd_trace_block_name(t, -1), "");
        if (t == memory) break;
    }
    pipebd_trace_free(file);
    pipebd_trace_free(memory);
    free(text);
}

/* What is written is read again as the same trace, and says the same once more. */
static void traces_are_written(void **state)
{
    (void)state;
    pipebd_trace *trace = read_trace(VGG), *again;
    pipebd_error  error;
    char         *text, *second;
    char          path[] = "/tmp/pipebd-library-XXXXXX";
    int           fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(pipebd_trace_text(trace, &text, &error), 0);
    assert_int_equal(pipebd_trace_write(trace, path, &error), 0);
    char *file = slurp(path, NULL);
    assert_string_equal(text, file);
    again = read_trace(path);
    assert_int_equal(pipebd_trace_text(again, &second, &error), 0);
    assert_string_equal(text, second);
    assert_int_equal(pipebd_trace_samples(again), pipebd_trace_samples(trace));
    check_error(pipebd_trace_write(trace, "/nothere/x.json", &error), &error, "/nothere/x.json");
    pipebd_text_free(text);
    pipebd_text_free(second);
    pipebd_text_free(NULL);
    free(file);
    unlink(path);
    pipebd_trace_free(trace);
    pipebd_trace_free(again);
}

static void trace_errors_carry_positions(void **state)
{
    (void)state;
    pipebd_trace *trace = (pipebd_trace *)1;
    pipebd_error  error;
    const char   *text = "{\"format\": \"pipebd-trace\",\n \"version\": 7}";

    check_error(pipebd_trace_parse(&trace, "mine.json", text, strlen(text), &error), &error,
                "mine.json:2:");
    assert_null(trace);
    trace = (pipebd_trace *)1;
    check_error(pipebd_trace_read(&trace, "/nothere.json", &error), &error, "/nothere.json");
    assert_null(trace);
    assert_int_equal(pipebd_trace_read(&trace, "/nothere.json", NULL), -1);
}

/* ---- comparisons --------------------------------------------------------------------- */

static void check_row(const pipebd_prediction *p, const Candidate *row, const Candidate *dp)
{
    assert_ptr_not_equal(p, NULL);
    assert_string_equal(p->why, row->plan ? "" : row->why);
    if (!row->plan) { assert_null(p->plan); assert_int_equal(p->epoch_ns, 0); return; }
    assert_string_equal(p->method, row->method);
    assert_int_equal(p->epoch_ns, row->sim.epoch_ns);
    assert_int_equal(p->step_ns, row->sim.epoch_ns / row->sim.steps);
    assert_int_equal(p->steps, row->sim.steps);
    assert_true(p->speedup == (double)dp->sim.epoch_ns / (double)row->sim.epoch_ns);
    assert_true(p->utilisation == row->sim.utilisation);
    assert_true(p->teacher_work == row->sim.teacher_work);
    assert_true(p->loads == row->sim.loads);
    assert_int_equal(p->peak_memory_bytes, row->peak.total_bytes);
    assert_int_equal(p->peak_memory_bytes,
                     pipebd_prediction_memory_bytes(p, p->peak_memory_device));
    for (int d = 0; d < p->device_count; d++) {
        int64_t sum = 0;
        for (int i = 0; i < pipebd_share_count(); i++) {
            assert_int_equal(pipebd_prediction_share_ns(p, d, (pipebd_share)i),
                             row->sim.shares[d][i]);
            sum += row->sim.shares[d][i];
        }
        assert_int_equal(sum, p->epoch_ns);
        assert_true(pipebd_prediction_memory_bytes(p, d) <= p->peak_memory_bytes);
    }
}

static void check_stages(const pipebd_plan *p, const Plan *plan)
{
    assert_int_equal((int)pipebd_plan_schedule(p), (int)plan->schedule);
    assert_int_equal(pipebd_plan_device_count(p), plan->device_count);
    assert_int_equal(pipebd_plan_batch(p), plan->batch);
    assert_int_equal(pipebd_plan_stage_count(p), plan->stage_count);
    for (int i = 0; i < plan->stage_count; i++) {
        const pipebd_stage *stage = pipebd_plan_stage(p, i);
        const Stage        *s = &plan->stages[i];
        assert_int_equal(stage->first, s->first);
        assert_int_equal(stage->last, s->last);
        assert_int_equal(stage->width, s->width);
        assert_memory_equal(stage->devices, s->devices, (size_t)s->width * sizeof(int));
        assert_memory_equal(stage->rows, s->rows, (size_t)s->width * sizeof(int64_t));
    }
    assert_null(pipebd_plan_stage(p, -1));
    assert_null(pipebd_plan_stage(p, plan->stage_count));
}

static void check_report(const pipebd_comparison *c, const Comparison *model,
                         const Scenario *scenario, int format)
{
    Text         text = {0};
    char        *got;
    pipebd_error error;

    assert_int_equal(report(model, scenario, (ReportFormat)format, &text, NULL), 0);
    assert_int_equal(pipebd_comparison_report(c, (pipebd_format)format, &got, &error), 0);
    assert_string_equal(got, text_string(&text));
    free(got);
    text_free(&text);
}

/* All of a comparison through the interface, against the planner called directly. */
static void check_comparison(const char *path, const pipebd_options *options,
                             const ScenarioOptions *scenario_options,
                             const CompareOptions  *compare_options)
{
    pipebd_trace      *face = read_trace(path);
    pipebd_comparison *c = compared(face, options);
    Trace             *trace;
    Scenario           scenario;
    Comparison         model;

    assert_int_equal(trace_read(&trace, path, NULL), 0);
    assert_int_equal(scenario_build(&scenario, trace, scenario_options, NULL), 0);
    assert_int_equal(compare(&model, &scenario, compare_options, NULL), 0);
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const pipebd_prediction *p = pipebd_comparison_prediction(c, (pipebd_schedule)i);
        if (!(compare_options->schedules & 1u << i)) { assert_null(p); continue; }
        check_row(p, &model.rows[i], &model.rows[SCHEDULE_DP]);
        if (p->plan) check_stages(p->plan, model.rows[i].plan);
        assert_true((p == pipebd_comparison_best(c)) == (i == model.best));
    }
    assert_int_equal(pipebd_comparison_bound_ns(c), model.bound_ns);
    for (int format = PIPEBD_TABLE; format <= PIPEBD_JSON; format++)
        check_report(c, &model, &scenario, format);
    comparison_free(&model);
    scenario_free(&scenario);
    trace_free(trace);
    pipebd_comparison_free(c);
    pipebd_trace_free(face);
}

static void comparison_is_the_planners(void **state)
{
    (void)state;
    CompareOptions all = {.schedules = schedules_usual(), .candidates = 8};

    check_comparison(NAS, NULL, &(ScenarioOptions){.queue_depth = 2}, &all);
}

/* Every option differs from its default, so none is ignored. */
static void options_reach_the_planner(void **state)
{
    (void)state;
    pipebd_options  options = PIPEBD_OPTIONS_INIT;
    ScenarioOptions scenario = {.devices = 3, .batch = 40, .steps = 50,
                                .memory_bytes = (int64_t)1 << 40, .queue_depth = 1,
                                .extrapolate = true};
    CompareOptions  search = {.schedules =
                                  1u << SCHEDULE_DP | 1u << SCHEDULE_LS | 1u << SCHEDULE_AHD,
                              .cost = COST_PAPER,
                              .candidates = 2,
                              .time_limit_ms = 60000,
                              .ls = LS_EXACT};

    options.devices = 3;
    options.batch = 40;
    options.steps = 50;
    options.memory_bytes = (int64_t)1 << 40;
    options.queue_depth = 1;
    options.extrapolate = 1;
    options.cost = PIPEBD_COST_PAPER;
    options.schedules = 1 << PIPEBD_DP | 1 << PIPEBD_LS | 1 << PIPEBD_AHD;
    options.candidates = 2;
    options.time_limit_ms = 60000;
    options.ls = PIPEBD_LS_EXACT;
    check_comparison(VGG, &options, &scenario, &search);
}

/* GLPK is not in the library. */
static void glpk_is_refused(void **state)
{
    (void)state;
    pipebd_trace      *trace = read_trace(VGG);
    pipebd_options     options = PIPEBD_OPTIONS_INIT;
    pipebd_comparison *c;
    pipebd_error       error;

    options.ls = PIPEBD_LS_GLPK;
    assert_int_equal(pipebd_compare(&c, trace, &options, &error), -1);
    assert_null(c);
    assert_non_null(strstr(
        error.text,
        "lists by glpk: this program has no GLPK, which only pipebd-plan and pipebd-sim have"));
    pipebd_trace_free(trace);
}

/* Memory that only some schedules fit into. */
static void impossible_schedules_say_why(void **state)
{
    (void)state;
    pipebd_trace            *trace = read_trace(VGG);
    pipebd_options           options = PIPEBD_OPTIONS_INIT;
    const pipebd_prediction *p;
    pipebd_comparison       *c;
    pipebd_error             error;

    options.memory_bytes = (int64_t)100 << 20;
    c = compared(trace, &options);
    p = pipebd_comparison_prediction(c, PIPEBD_IR);
    assert_non_null(strstr(p->why, "too large for device"));
    assert_null(p->plan);
    assert_int_equal(p->device_count, 0);
    assert_int_equal(pipebd_prediction_share_ns(p, 0, PIPEBD_SHARE_IDLE), -1);
    assert_int_equal(pipebd_prediction_memory_bytes(p, 0), -1);
    p = pipebd_comparison_prediction(c, PIPEBD_DPU);
    assert_string_equal(p->why, "");
    assert_true(p->peak_memory_bytes <= options.memory_bytes);
    pipebd_comparison_free(c);

    options.memory_bytes = 1;
    check_error(
        pipebd_compare(&c, trace, &options, &error), &error,
        "no schedule is possible: block \"conv0\" is too large for device 0: alone, with 8 of 32");
    assert_null(c);
    pipebd_trace_free(trace);
}

static void without_dp_there_is_no_speedup(void **state)
{
    (void)state;
    pipebd_trace      *trace = read_trace(NAS);
    pipebd_options     options = PIPEBD_OPTIONS_INIT;
    pipebd_comparison *c;

    options.schedules = 1 << PIPEBD_DPU;
    c = compared(trace, &options);
    assert_true(pipebd_comparison_best(c)->speedup == 0);
    assert_true(pipebd_comparison_best(c)->epoch_ns > 0);
    pipebd_comparison_free(c);
    pipebd_trace_free(trace);
}

/* ---- options ------------------------------------------------------------------------- */

static void option_ranges_are_checked(void **state)
{
    (void)state;
    const pipebd_options good = PIPEBD_OPTIONS_INIT;
    const struct { size_t at; int64_t value; const char *name; } bad[] = {
        {offsetof(pipebd_options, size), 0, "options.size is 0"},
        {offsetof(pipebd_options, size), 80, "options.size is 80"},
        {offsetof(pipebd_options, devices), -1, "options.devices is -1, expected 0 to 4096"},
        {offsetof(pipebd_options, devices), 4097, "options.devices"},
        {offsetof(pipebd_options, batch), -1, "options.batch"},
        {offsetof(pipebd_options, batch), ((int64_t)1 << 31) + 1, "options.batch"},
        {offsetof(pipebd_options, batch), 257, "batch 257 is beyond"},
        {offsetof(pipebd_options, steps), ((int64_t)1 << 40) + 1, "options.steps"},
        {offsetof(pipebd_options, memory_bytes), -5, "options.memory_bytes"},
        {offsetof(pipebd_options, queue_depth), 1025, "options.queue_depth"},
        {offsetof(pipebd_options, extrapolate), 2, "options.extrapolate"},
        {offsetof(pipebd_options, cost), 2, "options.cost"},
        {offsetof(pipebd_options, schedules), 512, "options.schedules is 0x200"},
        {offsetof(pipebd_options, candidates), 4097, "options.candidates"},
        {offsetof(pipebd_options, time_limit_ms), 3600001, "options.time_limit_ms"},
        {offsetof(pipebd_options, ls), 6, "options.ls"},
    };
    pipebd_trace *trace = read_trace(NAS);

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pipebd_options     options = good;
        pipebd_comparison *c = (pipebd_comparison *)1;
        pipebd_error       error;
        memcpy((char *)&options + bad[i].at, &bad[i].value, sizeof bad[i].value);
        check_error(pipebd_compare(&c, trace, &options, &error), &error, bad[i].name);
        assert_null(c);
    }
    pipebd_trace_free(trace);
}

/* A program made with a later header, whose struct has one more field. */
static void later_options_are_read_when_zero(void **state)
{
    (void)state;
    struct { pipebd_options now; int64_t later; } options = {.now = PIPEBD_OPTIONS_INIT};
    pipebd_trace      *trace = read_trace(NAS);
    pipebd_comparison *c;
    pipebd_error       error;

    options.now.size = sizeof options;
    options.now.schedules = 1 << PIPEBD_DPU;
    pipebd_comparison_free(compared(trace, &options.now));
    options.later = 1;
    check_error(pipebd_compare(&c, trace, &options.now, &error), &error,
                "a newer library is needed");
    pipebd_trace_free(trace);
}

/* ---- plans --------------------------------------------------------------------------- */

/* Written, read, and priced, every plan of a comparison predicts what it did there. */
static void plans_price_as_compared(void **state)
{
    (void)state;
    pipebd_trace      *trace = read_trace(VGG);
    pipebd_options     options = PIPEBD_OPTIONS_INIT;
    options.schedules = (1 << PIPEBD_SPLIT << 1) - 1;
    pipebd_comparison *c = compared(trace, &options);
    char *folder = temp_make(), *path = format_text("%s/plan.json", folder), *text, *file;
    pipebd_error       error;

    for (int i = 0; i <= PIPEBD_SPLIT; i++) {               /* the trace has no storage for the
                                                             * others */
        const pipebd_prediction *p = pipebd_comparison_prediction(c, (pipebd_schedule)i);
        pipebd_prediction       *priced;
        pipebd_plan             *plan, *again;
        assert_int_equal(pipebd_plan_write(p->plan, path, &error), 0);
        assert_int_equal(pipebd_plan_text(p->plan, &text, &error), 0);
        file = slurp(path, NULL);
        assert_string_equal(text, file);
        assert_int_equal(pipebd_plan_read(&plan, path, &error), 0);
        assert_int_equal(pipebd_plan_parse(&again, "again", text, strlen(text), &error), 0);
        assert_int_equal(pipebd_price(&priced, trace, plan, NULL, &error), 0);
        assert_int_equal(priced->epoch_ns, p->epoch_ns);
        assert_int_equal(priced->step_ns, p->step_ns);
        assert_int_equal(priced->peak_memory_bytes, p->peak_memory_bytes);
        assert_true(priced->utilisation == p->utilisation && priced->speedup == 0);
        assert_string_equal(priced->method, "as given");
        for (int d = 0; d < p->device_count; d++)
            for (int s = 0; s < pipebd_share_count(); s++)
                assert_int_equal(pipebd_prediction_share_ns(priced, d, (pipebd_share)s),
                                 pipebd_prediction_share_ns(p, d, (pipebd_share)s));
        assert_int_equal(pipebd_plan_stage_count(again), pipebd_plan_stage_count(priced->plan));
        pipebd_plan_free(plan);                  /* the prediction has its own */
        assert_int_equal((int)pipebd_plan_schedule(priced->plan), i);
        pipebd_prediction_free(priced);
        pipebd_plan_free(again);
        free(text);
        free(file);
    }
    free(path);
    temp_remove(folder);
    pipebd_comparison_free(c);
    pipebd_trace_free(trace);
}

static pipebd_plan *best_plan(const pipebd_trace *trace)
{
    pipebd_comparison *c = compared(trace, NULL);
    pipebd_plan       *plan;
    char              *text;

    assert_int_equal(pipebd_plan_text(pipebd_comparison_best(c)->plan, &text, NULL), 0);
    assert_int_equal(pipebd_plan_parse(&plan, "plan", text, strlen(text), NULL), 0);
    free(text);
    pipebd_comparison_free(c);
    return plan;
}

static void prices_are_refused(void **state)
{
    (void)state;
    pipebd_trace      *nas = read_trace(NAS), *vgg = read_trace(VGG);
    pipebd_plan       *plan = best_plan(nas);
    pipebd_options     options = PIPEBD_OPTIONS_INIT;
    pipebd_prediction *p = (pipebd_prediction *)1;
    pipebd_error       error;

    check_error(pipebd_price(&p, vgg, plan, NULL, &error), &error,
                "the plan is for 6 blocks, expected 13");
    assert_null(p);
    options.devices = 3;
    check_error(pipebd_price(&p, nas, plan, &options, &error), &error,
                "options.devices is 3, but the plan is for 4");
    options.devices = 4;
    options.batch = 128;
    check_error(pipebd_price(&p, nas, plan, &options, &error), &error,
                "options.batch is 128, but the plan's is 256");
    options.batch = 256;
    options.memory_bytes = 1000;
    check_error(pipebd_price(&p, nas, plan, &options, &error), &error, "too large for device");
    options.memory_bytes = 0;
    options.steps = 7;
    assert_int_equal(pipebd_price(&p, nas, plan, &options, &error), 0);
    assert_int_equal(p->steps, 7);
    pipebd_prediction_free(p);
    pipebd_plan_free(plan);
    pipebd_trace_free(nas);
    pipebd_trace_free(vgg);
}

static void plan_errors_carry_positions(void **state)
{
    (void)state;
    pipebd_plan *plan = (pipebd_plan *)1;
    pipebd_error error;

    check_error(pipebd_plan_parse(&plan, "p.json", "{", 1, &error), &error, "p.json:1:");
    assert_null(plan);
    check_error(pipebd_plan_read(&plan, "/nothere.json", &error), &error, "/nothere.json");
    pipebd_trace *trace = read_trace(NAS);
    plan = best_plan(trace);
    check_error(pipebd_plan_write(plan, "/nothere/plan.json", &error), &error,
                "/nothere/plan.json");
    pipebd_plan_free(plan);
    pipebd_trace_free(trace);
}

/* ---- NULL ---------------------------------------------------------------------------- */

static void null_is_an_error_or_an_answer(void **state)
{
    (void)state;
    pipebd_trace      *trace = read_trace(NAS);
    pipebd_plan       *plan = best_plan(trace), *new_plan;
    pipebd_trace      *new_trace;
    pipebd_comparison *c = compared(trace, NULL), *new_c;
    pipebd_prediction *p;
    char              *text;
    pipebd_error       e;

    check_error(pipebd_trace_read(NULL, "x", &e), &e, "out is NULL");
    check_error(pipebd_trace_read(&new_trace, NULL, &e), &e, "path is NULL");
    check_error(pipebd_trace_parse(NULL, "x", "{}", 2, &e), &e, "out is NULL");
    check_error(pipebd_trace_parse(&new_trace, NULL, "{}", 2, &e), &e, "name is NULL");
    check_error(pipebd_trace_parse(&new_trace, "x", NULL, 2, &e), &e, "text is NULL");
    check_error(pipebd_plan_read(NULL, "x", &e), &e, "out is NULL");
    check_error(pipebd_plan_read(&new_plan, NULL, &e), &e, "path is NULL");
    check_error(pipebd_plan_parse(NULL, "x", "{}", 2, &e), &e, "out is NULL");
    check_error(pipebd_plan_parse(&new_plan, NULL, "{}", 2, &e), &e, "name is NULL");
    check_error(pipebd_plan_parse(&new_plan, "x", NULL, 2, &e), &e, "text is NULL");
    check_error(pipebd_trace_write(NULL, "x", &e), &e, "trace is NULL");
    check_error(pipebd_trace_write(trace, NULL, &e), &e, "path is NULL");
    check_error(pipebd_trace_text(NULL, &text, &e), &e, "trace is NULL");
    check_error(pipebd_trace_text(trace, NULL, &e), &e, "out is NULL");
    check_error(pipebd_plan_write(NULL, "x", &e), &e, "plan is NULL");
    check_error(pipebd_plan_write(plan, NULL, &e), &e, "path is NULL");
    check_error(pipebd_plan_text(NULL, &text, &e), &e, "plan is NULL");
    check_error(pipebd_plan_text(plan, NULL, &e), &e, "out is NULL");
    check_error(pipebd_price(NULL, trace, plan, NULL, &e), &e, "out is NULL");
    check_error(pipebd_price(&p, NULL, plan, NULL, &e), &e, "trace is NULL");
    check_error(pipebd_price(&p, trace, NULL, NULL, &e), &e, "plan is NULL");
    check_error(pipebd_compare(NULL, trace, NULL, &e), &e, "out is NULL");
    check_error(pipebd_compare(&new_c, NULL, NULL, &e), &e, "trace is NULL");
    check_error(pipebd_comparison_report(NULL, PIPEBD_CSV, &text, &e), &e, "comparison is NULL");
    check_error(pipebd_comparison_report(c, PIPEBD_CSV, NULL, &e), &e, "out is NULL");
    check_error(pipebd_comparison_report(c, (pipebd_format)3, &text, &e), &e, "format is 3");
    assert_null(text);
    assert_int_equal(pipebd_compare(NULL, NULL, NULL, NULL), -1);

    assert_string_equal(pipebd_trace_name(NULL), "");
    assert_string_equal(pipebd_trace_block_name(NULL, 0), "");
    assert_int_equal(pipebd_trace_block_count(NULL), 0);
    assert_int_equal(pipebd_trace_device_count(NULL), 0);
    assert_int_equal(pipebd_trace_batch(NULL), 0);
    assert_int_equal(pipebd_trace_samples(NULL), 0);
    assert_int_equal(pipebd_plan_schedule(NULL), PIPEBD_DP);
    assert_int_equal(pipebd_plan_stage_count(NULL), 0);
    assert_int_equal(pipebd_plan_device_count(NULL), 0);
    assert_int_equal(pipebd_plan_batch(NULL), 0);
    assert_null(pipebd_plan_stage(NULL, 0));
    assert_null(pipebd_comparison_prediction(NULL, PIPEBD_DP));
    assert_null(pipebd_comparison_prediction(c, (pipebd_schedule)7));
    assert_null(pipebd_comparison_prediction(c, (pipebd_schedule)-1));
    assert_null(pipebd_comparison_best(NULL));
    assert_int_equal(pipebd_comparison_bound_ns(NULL), 0);
    assert_int_equal(pipebd_prediction_share_ns(NULL, 0, PIPEBD_SHARE_LOAD), -1);
    assert_int_equal(pipebd_prediction_share_ns(pipebd_comparison_best(c), 4, PIPEBD_SHARE_LOAD),
                     -1);
    assert_int_equal(pipebd_prediction_share_ns(pipebd_comparison_best(c), -1, PIPEBD_SHARE_LOAD),
                     -1);
    assert_int_equal(pipebd_prediction_share_ns(pipebd_comparison_best(c), 0, (pipebd_share)9), -1);
    assert_int_equal(pipebd_prediction_memory_bytes(NULL, 0), -1);
    assert_int_equal(pipebd_prediction_memory_bytes(pipebd_comparison_best(c), 4), -1);
    pipebd_trace_free(NULL);
    pipebd_plan_free(NULL);
    pipebd_prediction_free(NULL);
    pipebd_comparison_free(NULL);

    pipebd_plan_free(plan);
    pipebd_comparison_free(c);
    pipebd_trace_free(trace);
}

/* ---- memory running out -------------------------------------------------------------- */

/* All that can be asked for, once; 0 and a report that is yours, or -1 with nothing left
 * behind. */
static int everything(const char *trace_text, char **report, pipebd_error *error)
{
    pipebd_options     options = PIPEBD_OPTIONS_INIT;
    pipebd_trace      *trace = NULL;
    pipebd_comparison *c = NULL;
    pipebd_plan       *plan = NULL;
    pipebd_prediction *p = NULL;
    char              *text = NULL;
    int                rc = -1;

    *report = NULL;
    options.schedules = 1 << PIPEBD_DP | 1 << PIPEBD_LS | 1 << PIPEBD_AHD;
    options.candidates = 1;
    options.steps = 3;
    if (pipebd_trace_parse(&trace, "t", trace_text, strlen(trace_text), error) != 0) goto done;
    if (pipebd_compare(&c, trace, &options, error) != 0) goto done;
    if (pipebd_comparison_report(c, PIPEBD_TABLE, &text, error) != 0) goto done;
    if (pipebd_comparison_report(c, PIPEBD_JSON, report, error) != 0) goto done;
    free(text);
    if (pipebd_plan_text(pipebd_comparison_best(c)->plan, &text, error) != 0) goto done;
    if (pipebd_plan_parse(&plan, "p", text, strlen(text), error) != 0) goto done;
    if (pipebd_price(&p, trace, plan, &options, error) != 0) goto done;
    rc = 0;
done:
    free(text);
    if (rc != 0) { free(*report); *report = NULL; }
    pipebd_prediction_free(p);
    pipebd_plan_free(plan);
    pipebd_comparison_free(c);
    pipebd_trace_free(trace);
    return rc;
}

/* Every call fails once: that is an error, or it makes no difference to the numbers. */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    char        *text = slurp(NAS, NULL), *expected, *report;
    long         n = 1, refused = 0;
    pipebd_error error;

    assert_int_equal(everything(text, &expected, &error), 0);
    for (;; n++) {
        alloc_fail_after(n);
        int rc = everything(text, &report, &error), reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc == 0) assert_string_equal(report, expected);
        else assert_string_equal(error.text, "out of memory");
        free(report);
        if (!reached) break;
        refused += rc != 0;
    }
    assert_true(n > 100);
    assert_true(refused > n / 2);
    free(expected);
    free(text);
}

/* ---- locales ------------------------------------------------------------------------- */

/* A program with decimal commas gets points, and its locale is left alone. */
static void numbers_have_points_in_any_locale(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "nl_NL.UTF-8",
                                         NULL};
    pipebd_trace      *trace;
    pipebd_comparison *c;
    char              *points, *text;
    int                i = 0;

    while (commas[i] && !setlocale(LC_ALL, commas[i])) i++;
    if (!commas[i]) skip();                      /* no such locale on this machine */
    assert_string_equal(localeconv()->decimal_point, ",");
    trace = read_trace(NAS);
    c = compared(trace, NULL);
    assert_int_equal(pipebd_comparison_report(c, PIPEBD_JSON, &text, NULL), 0);
    assert_string_equal(localeconv()->decimal_point, ",");
    setlocale(LC_ALL, "C");
    assert_int_equal(pipebd_comparison_report(c, PIPEBD_JSON, &points, NULL), 0);
    assert_string_equal(text, points);
    free(text);
    free(points);
    pipebd_comparison_free(c);
    pipebd_trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_planners),
        cmocka_unit_test(trace_from_file_and_memory),
        cmocka_unit_test(traces_are_written),
        cmocka_unit_test(trace_errors_carry_positions),
        cmocka_unit_test(comparison_is_the_planners),
        cmocka_unit_test(options_reach_the_planner),
        cmocka_unit_test(impossible_schedules_say_why),
        cmocka_unit_test(glpk_is_refused),
        cmocka_unit_test(without_dp_there_is_no_speedup),
        cmocka_unit_test(option_ranges_are_checked),
        cmocka_unit_test(later_options_are_read_when_zero),
        cmocka_unit_test(plans_price_as_compared),
        cmocka_unit_test(prices_are_refused),
        cmocka_unit_test(plan_errors_carry_positions),
        cmocka_unit_test(null_is_an_error_or_an_answer),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(numbers_have_points_in_any_locale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
