/* The planner against brute force, and its promises on random problems. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/rng.h"
#include "planner/compare.h"
#include "planner/partition.h"
#include "planner/tasks.h"

/* ---- partition --------------------------------------------------------------- */

typedef struct { uint64_t seed; bool monotone; } Costs;

/* Any number at all, or impossible: nothing about it is monotone. */
static int64_t random_cost(void *context, int first, int last, int device, int width)
{
    const Costs *c = context;
    uint64_t     word = rng_u64(c->seed, (uint64_t)(first * 100 + last), (uint64_t)device, (uint64_t)width);

    if (word % 11 == 0) return INT64_MAX;
    return (int64_t)(word >> 32) % 1000 + (c->monotone ? 1000 * (last - first + 1) / width : 0);
}

/* Every cut and every width, one after another. */
static int64_t brute(const PartitionProblem *p, int block, int device)
{
    int64_t best = INT64_MAX;

    if (block == p->blocks) return 0;
    for (int last = block; last < p->blocks; last++)
        for (int w = 1; w <= p->max_width && device + w <= p->devices; w++) {
            int64_t here = p->cost(p->context, block, last, device, w);
            int64_t rest = brute(p, last + 1, device + w);
            int64_t worst = here > rest ? here : rest;
            if (worst < best) best = worst;
        }
    return best;
}

static void partition_is_exact(void **state)
{
    (void)state;
    Rng rng = {.seed = 21};
    int solved = 0;

    for (int i = 0; i < 3000; i++) {
        Costs            costs = {rng_next(&rng), i % 2 == 0};
        PartitionProblem p = {.blocks = (int)rng_range(&rng, 1, 6), .devices = (int)rng_range(&rng, 1, 5),
                              .cost = random_cost, .context = &costs};
        Partition *parts;
        int        count;
        p.max_width = (int)rng_range(&rng, 1, p.devices);
        assert_int_equal(partition_search(&parts, &count, &p, NULL), 0);
        int64_t best = brute(&p, 0, 0);
        if (best != (count ? parts[0].bottleneck_ns : INT64_MAX)) fail_msg("case %d of seed 21", i);
        for (int k = 0; k < count; k++) {       /* each one costs what it says */
            int64_t worst = 0;
            for (int s = 0; s < parts[k].stages; s++) {
                int last = s + 1 < parts[k].stages ? parts[k].first[s + 1] - 1 : p.blocks - 1;
                int64_t ns = random_cost(&costs, parts[k].first[s], last, parts[k].device[s], parts[k].width[s]);
                if (ns > worst) worst = ns;
            }
            assert_int_equal(worst, parts[k].bottleneck_ns);
        }
        solved += count > 0;
        partitions_free(parts, count);
    }
    assert_true(solved > 2000);
}

/* ---- tasks -------------------------------------------------------------------- */

static int64_t brute_tasks(const TaskProblem *p, int task, int64_t *busy)
{
    int64_t best = INT64_MAX;

    if (task == p->tasks) {
        best = 0;
        for (int d = 0; d < p->devices; d++) if (busy[d] > best) best = busy[d];
        return best;
    }
    for (int d = 0; d < p->devices; d++) {
        int64_t ns = p->ns[task * p->devices + d];
        busy[d] += ns;
        int64_t end = brute_tasks(p, task + 1, busy);
        if (end < best) best = end;
        busy[d] -= ns;
    }
    return best;
}

static void glpk_is_optimal_and_lpt_is_near(void **state)
{
    (void)state;
    Rng rng = {.seed = 22};
    int proven = 0;

    for (int i = 0; i < 150; i++) {
        int64_t     ns[32], busy[4] = {0};
        TaskProblem p = {(int)rng_range(&rng, 1, 6), (int)rng_range(&rng, 1, 4), ns};
        TaskLists   glpk, lpt;
        Error       err = {""};
        for (int t = 0; t < p.tasks; t++) {
            int64_t same = rng_range(&rng, 1000, 90000);
            for (int d = 0; d < p.devices; d++) ns[t * p.devices + d] = same;
        }
        int64_t best = brute_tasks(&p, 0, busy);
        if (tasks_glpk(&glpk, &p, 20000, &err) != 0) fail_msg("%s", err.text);
        assert_int_equal(tasks_lpt(&lpt, &p, NULL), 0);
        if (!glpk.optimal || glpk.makespan_ns != best) fail_msg("case %d of seed 22", i);
        assert_true(lpt.bound_ns <= best && lpt.optimal == (lpt.makespan_ns == lpt.bound_ns));
        proven += lpt.optimal;
        /* Graham 1969: LPT is within 4/3 - 1/(3m) of the optimum. */
        assert_true(lpt.makespan_ns >= best);
        assert_true(3 * p.devices * lpt.makespan_ns <= (4 * p.devices - 1) * best);
        free(glpk.device);
        free(lpt.device);
    }
    assert_true(proven > 30 && proven < 150);
}

/* Devices of different speed: what LPT calls a bound or an optimum is one. */
static void lpt_proves_no_more_than_is_true(void **state)
{
    (void)state;
    Rng rng = {.seed = 23};
    int proven = 0;

    for (int i = 0; i < 2000; i++) {
        int64_t     ns[32], busy[4] = {0};
        TaskProblem p = {(int)rng_range(&rng, 1, 6), (int)rng_range(&rng, 1, 4), ns};
        TaskLists   lpt;
        for (int k = 0; k < p.tasks * p.devices; k++) ns[k] = rng_range(&rng, 0, 9);
        int64_t best = brute_tasks(&p, 0, busy);
        assert_int_equal(tasks_lpt(&lpt, &p, NULL), 0);
        if (lpt.bound_ns > best || (lpt.optimal && lpt.makespan_ns != best)) fail_msg("case %d of seed 23", i);
        proven += lpt.optimal;
        free(lpt.device);
    }
    assert_true(proven > 300);
}

/* ---- the calibration case -------------------------------------------------------- */

/* Published speedups over DP: LS 1.93, TR 2.41, DPU 3.08 (Jang et al., DATE 2023). */
static void calibration_lands_where_published(void **state)
{
    (void)state;
    Trace     *trace;
    Scenario   s;
    Comparison c;
    Error      err = {""};
    CompareOptions options = {.schedules = 0x3f, .candidates = 8, .glpk_ms = 2000};

    if (trace_read(&trace, PIPEBD_ROOT "/traces/nas-cifar10-a6000.json", &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2}, &err), 0);
    if (compare(&c, &s, &options, &err) != 0) fail_msg("%s", err.text);
    double dp = (double)c.rows[SCHEDULE_DP].sim.epoch_ns;
    assert_float_equal(dp * 1e-9, 32.7, 0.1);
    assert_float_equal(dp / (double)c.rows[SCHEDULE_LS].sim.epoch_ns, 1.93, 0.15);
    assert_float_equal(dp / (double)c.rows[SCHEDULE_TR].sim.epoch_ns, 2.41, 0.1);
    assert_float_equal(dp / (double)c.rows[SCHEDULE_DPU].sim.epoch_ns, 3.08, 0.1);
    assert_true(c.bound_ns > 0 && c.bound_ns <= c.rows[SCHEDULE_AHD].sim.epoch_ns);
    comparison_free(&c);
    scenario_free(&s);
    trace_free(trace);
}

/* DPU plans are AHD plans, and the bound is below every relaying schedule. */
static void the_order_of_schedules(void **state)
{
    static const char *const paths[] = {PIPEBD_ROOT "/traces/vgg-cpu.json", PIPEBD_ROOT "/traces/mobilenet-cpu.json"};
    (void)state;

    for (int i = 0; i < 2; i++) {
        Trace     *trace;
        Scenario   s;
        Comparison c;
        CompareOptions options = {.schedules = 0x3f, .candidates = 64, .glpk_ms = 2000};
        assert_int_equal(trace_read(&trace, paths[i], NULL), 0);
        assert_int_equal(scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2}, NULL), 0);
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        int64_t ahd = c.rows[SCHEDULE_AHD].sim.epoch_ns;
        assert_true(ahd <= c.rows[SCHEDULE_DPU].sim.epoch_ns);
        assert_true(ahd <= c.rows[SCHEDULE_IR].sim.epoch_ns);
        assert_true(c.rows[SCHEDULE_DPU].sim.epoch_ns <= c.rows[SCHEDULE_TR].sim.epoch_ns);
        assert_true(c.bound_ns > 0 && c.bound_ns <= ahd);
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partition_is_exact), cmocka_unit_test(glpk_is_optimal_and_lpt_is_near),
        cmocka_unit_test(lpt_proves_no_more_than_is_true),
        cmocka_unit_test(calibration_lands_where_published), cmocka_unit_test(the_order_of_schedules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
