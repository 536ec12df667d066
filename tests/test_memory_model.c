/* The memory that is predicted (sim/memory.h, from the byte counts that
 * executor/measure/net_bytes.h gives a trace, and from those of a modelled trace,
 * traces/model_memory.h) against what the executor allocated, for every schedule on two devices:
 * the digits and a small VGG-16, each planned for several made-up times, so that the plans differ.
 * PIPEBD_VERBOSE in the environment: all figures are printed. */
#include "tests/support.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "executor/train/execute.h"
#include "executor/measure/net_bytes.h"
#include "planner/compare.h"
#include "schedule/registry.h"
#include "sim/memory.h"
#include "traces/model_memory.h"
#include "workloads/head.h"

enum { DEVICES = 2, STEPS = 2, QUEUE_DEPTH = 2, ROUNDS = 8 };

#define TOLERANCE 0.10

typedef struct {
    Workload  *workload;
    Data      *data;
    DeviceSpec devices;
    bool       modelled;     /* bytes are the model's, not those of nets */
    int64_t    micro;        /* micro-batches */
} Fixture;

static Fixture open_fixture(const char *name, const char *source)
{
    Fixture f = {0};
    Error   err = {""};

    ok(workload_read(&f.workload, name, &err), &err);
    ok(data_open(&f.data, source, f.workload, DATA_TRAIN, 0, &err), &err);
    ok(device_spec_parse(&f.devices, "cpu:2", &err), &err);
    return f;
}

static void close_fixture(Fixture *f)
{
    data_free(f->data);
    workload_free(f->workload);
}

/* The model's bytes, but for weights: oneDNN has copies of them in orders of its own, which the
 * model leaves out. */
static void model_bytes(TraceBlock *block, const Workload *w, int b)
{
    TraceBlock counted = *block;

    model_memory(block, w, &w->block[b], NUMBERS_FP32, 0);
    assert_true(block->student_weight_bytes <= counted.student_weight_bytes);
    assert_true(block->teacher_weight_bytes <= counted.teacher_weight_bytes);
    block->student_weight_bytes = counted.student_weight_bytes;
    block->teacher_weight_bytes = counted.teacher_weight_bytes;
}

/* A trace with random times, linear in rows, and true bytes. */
static Trace *made_up_trace(const Fixture *f, Rng *rng, int prefetch)
{
    const Workload *w = f->workload;
    Trace          *trace;
    Text            text = {0};
    Error           err = {""};

    text_printf(
        &text,
        "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"t\", \"provenance\": "
        "{\"kind\": "
        "\"modelled\", \"source\": \"s\"}, \"workload\": {\"name\": \"%s\", \"batch\": %" PRId64
        ", \"samples\": %" PRId64 "}, \"devices\": [{\"kind\": \"d\", \"count\": %d}], "
                                  "\"transfers\": \"blocking\", \"loader\": "
        "{\"batch_us\": 1, \"sample_us\": 1, \"lanes\": 1, \"prefetch\": %d}, \"input_bytes\": "
        "%" PRId64 ", \"blocks\": [",
        w->name, w->batch, w->batch * STEPS, DEVICES, prefetch, shape_count(w->input) * 4);
    for (int b = 0; b < w->block_count; b++) {
        int us[4];
        for (int i = 0; i < 4; i++) us[i] = (int)rng_range(rng, 1, 50);
        text_printf(&text, "%s{\"name\": \"%s\", \"output_bytes\": %" PRId64 ", \"timings\": [",
                    b ? ", " : "", w->block[b].name, workload_boundary_count(w, b + 1) * 4);
        for (int i = 0; i < 2; i++) {
            int rows = i ? (int)w->batch : 1;
            text_printf(
                &text,
                "%s{\"batch\": %d, \"teacher_us\": %d, \"forward_us\": %d, \"backward_us\": %d, "
                "\"update_us\": %d}",
                i ? ", " : "", rows, us[0] * rows, us[1] * rows, us[2] * rows, us[3]);
        }
        text_append(&text, "]}");
    }
    text_append(&text, "]}");
    ok(trace_parse(&trace, "made up", text_string(&text), text.length, &err), &err);
    trace->micro_batches = f->micro;
    ok(net_bytes_fill(trace, w, &f->devices, &err), &err);
    for (int b = 0; b < w->block_count; b++)     /* students of a block take as long as each
                                                  * other */
        for (int j = 0; j < trace->blocks[b].student_count; j++)
            memcpy(trace->blocks[b].students[j].work, trace->blocks[b].work,
                   sizeof trace->blocks[b].work);
    for (int b = 0; f->modelled && b < w->block_count; b++) model_bytes(&trace->blocks[b], w, b);
    text_free(&text);
    return trace;
}

/* Runs the plan for a few steps and compares every device. */
static void check_plan(const Fixture *f, const Scenario *s, const Plan *plan, int prefetch)
{
    Memory          memory[DEVICES];
    Program        *program;
    Tensors        *student;
    ExecutionResult result;
    Error           err = {""};

    ok(program_build(&program, plan, STEPS, &err), &err);
    ok(memory_peak(memory, program, s, &err), &err);
    ok(tensors_new(&student, &err), &err);
    Execution x = {.program = program, .workload = f->workload, .devices = &f->devices,
                   .data = f->data, .student = student, .seed = 1, .steps_per_epoch = STEPS,
                   .queue_depth = QUEUE_DEPTH, .lanes = 1, .prefetch = prefetch,
                   .micro_batches = f->micro};
    ok(execute(&result, &x, &err), &err);
    for (int d = 0; d < DEVICES; d++) {
        double predicted = (double)memory[d].total_bytes, measured = (double)result.peak_bytes[d];
        if (getenv("PIPEBD_VERBOSE"))
            print_message("%s %-6s device %d: predicted %9.0f, measured %9.0f, %+.2f %%\n",
                          f->workload->name, schedule_name(plan->schedule), d, predicted, measured,
                          100 * (predicted / measured - 1));
        if (!(fabs(predicted - measured) <= TOLERANCE * measured))
            fail_msg("%s, %s, device %d: predicted %.0f bytes, measured %.0f", f->workload->name,
                     schedule_name(plan->schedule), d, predicted, measured);
    }
    execution_free(&result);
    tensors_free(student);
    program_free(program);
}

/* Two teacher stages; students on the other device than their teacher's, the first on both. */
static Plan *crossed(const Workload *w)
{
    Plan *plan;
    Error err = {""};
    int   half = w->block_count / 2, *counts = workload_student_counts(w);

    ok(plan_new(&plan, SCHEDULE_SPLIT, w->block_count, DEVICES, w->batch, 2, &err), &err);
    ok(plan_set_stage(plan, 0, 0, half - 1, 0, 1, &err), &err);
    ok(plan_set_stage(plan, 1, half, w->block_count - 1, 1, 1, &err), &err);
    assert_non_null(counts);
    if (workload_has_candidates(w)) ok(plan_set_students(plan, counts, &err), &err);
    free(counts);
    ok(plan_add_tasks(plan, &err), &err);
    for (int k = 0; k < workload_students(w); k++) {
        int     b = workload_student(w, k).block, first = b == 0 || b >= half ? 0 : 1;
        int64_t some = b ? w->batch : w->batch / 4;
        ok(plan_place(plan, &plan->tasks[k], (const int[]){first, 1},
                      (const int64_t[]){some, w->batch - some}, b ? 1 : 2, &err),
           &err);
    }
    ok(plan_check(plan, &err), &err);
    return plan;
}

/* All but those that store boundaries: a made-up trace here has no tiers. */
static unsigned schedules_without_store(void)
{
    unsigned schedules = 0;

    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (!schedule_row((Schedule)i)->stores) schedules |= 1u << i;
    return schedules;
}

/* Lists, and not stealing, where which device takes the largest task is a matter of time. */
static void check_round(const Fixture *f, Rng *rng, int prefetch)
{
    Trace          *trace = made_up_trace(f, rng, prefetch);
    Scenario        s;
    Comparison      comparison;
    Plan           *hand = crossed(f->workload);
    Error           err = {""};
    CompareOptions  what = {
         .schedules = schedules_without_store(), .cost = COST_SIM, .candidates = 4, .ls = LS_LPT};

    ok(scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = QUEUE_DEPTH}, &err), &err);
    ok(compare(&comparison, &s, &what, &err), &err);
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!(what.schedules & 1u << i)) continue;
        if (!comparison.rows[i].plan)
            fail_msg("%s: %s", schedule_name((Schedule)i), comparison.rows[i].why);
        check_plan(f, &s, comparison.rows[i].plan, prefetch);
    }
    check_plan(f, &s, hand, prefetch);
    plan_free(hand);
    comparison_free(&comparison);
    scenario_free(&s);
    trace_free(trace);
}

static void check_workload(const char *name, const char *source, uint64_t seed, bool modelled,
                           int64_t micro)
{
    Fixture f = open_fixture(name, source);
    Rng     rng = {.seed = seed};

    f.modelled = modelled;
    f.micro = micro;
    for (int round = 0; round < test_cases(ROUNDS); round++)
        check_round(&f, &rng, round % 2 ? 2 : 0);
    close_fixture(&f);
}

static void digits_need_what_is_predicted(void **state)
{
    (void)state;
    check_workload("digits", "digits", test_seed("digits", 1), false, 1);
}

static void a_small_vgg_needs_what_is_predicted(void **state)
{
    (void)state;
    check_workload("vgg16-dsconv-cifar10-small", "synthetic", test_seed("vgg", 2), false, 1);
}

static void digits_need_what_is_modelled(void **state)
{
    (void)state;
    check_workload("digits", "digits", test_seed("digits, modelled", 3), true, 1);
}

static void a_small_vgg_needs_what_is_modelled(void **state)
{
    (void)state;
    check_workload("vgg16-dsconv-cifar10-small", "synthetic", test_seed("vgg, modelled", 4), true,
                   1);
}

static void residuals_with_shortcuts_need_what_is_predicted(void **state)
{
    static const char path[] = PIPEBD_ROOT "/tests/fixtures/workload/good/shortcuts.json";

    (void)state;
    check_workload(path, "synthetic", test_seed("shortcuts", 7), false, 1);
    check_workload(path, "synthetic", test_seed("shortcuts, modelled", 8), true, 1);
}

static void several_students_a_block_need_what_is_predicted(void **state)
{
    static const char path[] = PIPEBD_ROOT "/tests/fixtures/workload/good/library.json";

    (void)state;
    check_workload(path, "synthetic", test_seed("library", 9), false, 1);
}

static const char text_model[] = PIPEBD_ROOT "/tests/fixtures/workload/good/gpt-small.json";

static void a_text_model_needs_what_is_predicted(void **state)
{
    (void)state;
    check_workload(text_model, "synthetic", test_seed("text", 5), false, 1);
    check_workload(text_model, "synthetic", test_seed("text, modelled", 6), true, 1);
    check_workload(text_model, "synthetic", test_seed("text in micro-batches", 7), false, 2);
}

/* What a block's student needs a row: the model's beside what nets count, which differ by alignment
 * and oneDNN's scratch, of which a part does not grow with the rows. */
static void blocks_need_what_nets_count(void **state)
{
    enum { SCRATCH = 2 << 20 };
    static const struct { const char *name; int64_t rows;
    } workloads[] = {{"digits", 64},      {"nas-digits", 64},
                     {"nas-cifar10", 64}, {"vgg16-dsconv-cifar10", 64},
                     {"nas-imagenet", 2}, {text_model, 8}};
    DeviceSpec devices;
    Error      err = {""};

    (void)state;
    ok(device_spec_parse(&devices, "cpu:1", &err), &err);
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        Workload *w;
        ok(workload_read(&w, workloads[i].name, &err), &err);
        TraceBlock *counted = calloc((size_t)w->block_count, sizeof *counted);
        Trace       trace = {
                  .blocks = counted, .block_count = w->block_count, .batch = workloads[i].rows};
        assert_non_null(counted);
        ok(net_bytes_fill(&trace, w, &devices, &err), &err);
        for (int b = 0; b < w->block_count; b++) {
            TraceBlock modelled = {0};
            model_memory(&modelled, w, &w->block[b], NUMBERS_FP32, 0);
            double net = (double)counted[b].student_activation_bytes,
                   model = (double)modelled.student_activation_bytes;
            double net_teacher = (double)counted[b].teacher_activation_bytes,
                   teacher = (double)modelled.teacher_activation_bytes;
            if (getenv("PIPEBD_VERBOSE"))
                print_message("%s %s: student kept and work %+.1f %%, teacher's work %+.1f %%\n",
                              w->name, w->block[b].name, 100 * (model / net - 1),
                              100 * (teacher / net_teacher - 1));
            if (!(fabs(model - net) <= 0.02 * net + SCRATCH / (double)workloads[i].rows))
                fail_msg("%s %s: %.0f bytes a row, nets count %.0f", w->name, w->block[b].name,
                         model, net);
        }
        free(counted);
        arena_free(&trace.arena);
        workload_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_need_what_is_predicted),
        cmocka_unit_test(a_small_vgg_needs_what_is_predicted),
        cmocka_unit_test(digits_need_what_is_modelled),
        cmocka_unit_test(a_small_vgg_needs_what_is_modelled),
        cmocka_unit_test(residuals_with_shortcuts_need_what_is_predicted),
        cmocka_unit_test(several_students_a_block_need_what_is_predicted),
        cmocka_unit_test(a_text_model_needs_what_is_predicted),
        cmocka_unit_test(blocks_need_what_nets_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
