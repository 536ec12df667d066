/* The planner against brute force, and its promises on random problems. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "planner/compare.h"
#include "planner/stages/partition.h"
#include "schedule/registry.h"
#include "tests/random_trace.h"

/* ---- partition --------------------------------------------------------------- */

typedef struct { uint64_t seed; bool monotone; } Costs;

/* Any number at all, or impossible: nothing about it is monotone. */
static int64_t random_cost(void *context, int first, int last, int device, int width)
{
    const Costs *c = context;
    uint64_t     word =
        rng_u64(c->seed, (uint64_t)(first * 100 + last), (uint64_t)device, (uint64_t)width);

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
        PartitionProblem p = {.blocks = (int)rng_range(&rng, 1, 6),
                              .devices = (int)rng_range(&rng, 1, 5), .cost = random_cost,
                              .context = &costs};
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
                int64_t ns = random_cost(&costs, parts[k].first[s], last, parts[k].device[s],
                                         parts[k].width[s]);
                if (ns > worst) worst = ns;
            }
            assert_int_equal(worst, parts[k].bottleneck_ns);
        }
        solved += count > 0;
        partitions_free(parts, count);
    }
    assert_true(solved > 2000);
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
    CompareOptions options = {.schedules = 0x3f, .candidates = 8};

    if (trace_read(&trace, PIPEBD_ROOT "/traces/nas-cifar10-a6000.json", &err) != 0)
        fail_msg("%s", err.text);
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
    static const char *const paths[] = {PIPEBD_ROOT "/traces/vgg-cpu.json",
                                        PIPEBD_ROOT "/traces/mobilenet-cpu.json"};
    (void)state;

    for (int i = 0; i < 2; i++) {
        Trace     *trace;
        Scenario   s;
        Comparison c;
        CompareOptions options = {.schedules = 0x3f, .candidates = 64};
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

/* Evaluated by short simulations, as where epochs are long: the same plan wins, or one as good. */
static void short_plays_choose_the_same(void **state)
{
    Rng     rng = {.seed = test_seed("short_plays_choose_the_same", 17)};
    int     pruned = 0, same = 0, rows = 0;
    (void)state;

    for (int i = 0; i < test_cases(400); i++) {
        RandomTrace    h = random_trace_shape(&rng, 9, 7);
        CompareOptions all = {.schedules =
                                  1u << SCHEDULE_TR | 1u << SCHEDULE_DPU | 1u << SCHEDULE_AHD,
                              .candidates = 8};
        CompareOptions quick = all;
        Trace         *trace;
        Scenario       s;
        Comparison     a, b;
        quick.long_run = 1;
        h.samples *= 10;
        h.students = i % 4 == 0;
        random_scenario(&rng, &h, 1 + i % 2, &trace, &s);
        assert_int_equal(compare_rows(&a, &s, &all, NULL), 0);
        assert_int_equal(compare_rows(&b, &s, &quick, NULL), 0);
        for (int k = SCHEDULE_TR; k <= SCHEDULE_AHD; k++) {
            const Candidate *x = &a.rows[k], *y = &b.rows[k];
            assert_int_equal(!x->plan, !y->plan);
            if (!x->plan || k == SCHEDULE_IR) continue;
            assert_int_equal(x->pruned, 0);
            int64_t ns = candidate_fastest_ns(y), least = candidate_fastest_ns(x);
            if ((double)ns < 0.99 * (double)least || (double)ns > 1.01 * (double)least)
                fail_msg("case %d, %s: %lld ns, all simulated to the end %lld", i,
                         schedule_name((Schedule)k), (long long)ns, (long long)least);
            assert_int_equal(y->pruned > 0, strstr(y->method, "of them for 16 steps only") != NULL);
            pruned += y->pruned;
            same += ns == least;
            rows++;
        }
        comparison_free(&a);
        comparison_free(&b);
        scenario_free(&s);
        trace_free(trace);
    }
    print_message("# %d of %d the same, %d plans not simulated to the end\n", same, rows, pruned);
    assert_true(pruned > test_cases(1000) && 1000 * same >= 995 * rows);
}

/* The times of a plan, and what a search finds that counts what its plans took, do not depend on
 * whether they are simulated in order; nor how many are pruned behind a long one. */
static void in_order_finds_the_same(void **state)
{
    static const int64_t long_runs[] = {0, 1, 300, 3000};
    Rng                  rng = {.seed = test_seed("in_order_finds_the_same", 18)};
    int                  pruned = 0, unsure = 0;
    (void)state;

    for (int i = 0; i < test_cases(400); i++) {
        RandomTrace    h = random_trace_shape(&rng, 9, 7);
        CompareOptions by_events = {.schedules = schedules_usual(), .candidates = 8,
                                    .long_run = long_runs[i % 4], .only_fastest = i % 3 == 0};
        CompareOptions in_order = by_events;
        Trace         *trace;
        Scenario       s;
        Comparison     a, b;
        in_order.in_order = true;
        h.samples *= 4;
        h.students = i % 8 == 0;
        random_scenario(&rng, &h, 1 + i % 2, &trace, &s);
        assert_int_equal(compare_rows(&a, &s, &by_events, NULL), 0);
        assert_int_equal(compare_rows(&b, &s, &in_order, NULL), 0);
        assert_int_equal(a.best, b.best);
        for (int k = 0; k < SCHEDULE_COUNT; k++) {
            Candidate *x = &a.rows[k], *y = &b.rows[k];
            assert_int_equal(x->unsure.count, 0);
            unsure += y->unsure.count;
            assert_int_equal(candidate_settle_spent(y, &s, NULL), 0);
            assert_int_equal(!x->plan, !y->plan);
            assert_true(x->simulated == y->simulated && x->pruned == y->pruned
                        && x->longest == y->longest && strcmp(x->method, y->method) == 0);
            pruned += y->pruned;
            if (!x->plan) continue;
            assert_true(x->sim.epoch_ns == y->sim.epoch_ns
                        && candidate_fastest_ns(x) == candidate_fastest_ns(y));
            assert_true(candidate_same_plan(x->plan, y->plan, &s));
        }
        comparison_free(&a);
        comparison_free(&b);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(pruned > test_cases(500) && unsure > test_cases(100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partition_is_exact),
        cmocka_unit_test(calibration_lands_where_published),
        cmocka_unit_test(the_order_of_schedules),
        cmocka_unit_test(short_plays_choose_the_same),
        cmocka_unit_test(in_order_finds_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
