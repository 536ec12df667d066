/* Machines with slower links between them: groups stay inside one where that is faster,
 * the report says which stages and relays do not, and the bound holds for any placement. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/check/check.h"
#include "planner/compare.h"
#include "planner/report/report.h"
#include "tests/random_trace.h"

/* Two blocks on two machines of two devices, 12 rows. a takes 6 us a row, b 2. An
 * all-reduce within a machine takes 1 us, between machines far us.
 *
 *     a on 0-2, b on 3    a 24 + far, b 24        crosses
 *     both on 0-3         24 + far                crosses
 *     a on 0-1, b on 2-3  a 36 + 1,   b 12 + 1    does not */
static Trace *two_machines(int far)
{
    char *text =
        format_text("{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"two\", "
                    "\"provenance\": {\"kind\": \"modelled\", "
                    "\"source\": \"test\"}, \"workload\": {\"name\": \"w\", \"batch\": 12, "
                    "\"samples\": 120}, \"devices\": [{\"kind\": \"k\", "
                    "\"count\": 4}], \"blocks\": ["
                    "{\"name\": \"a\", \"student\": {\"gradient_bytes\": 10}, \"timings\": ["
                    "{\"batch\": 1, \"teacher_us\": 1, \"forward_us\": 2, \"backward_us\": 3, "
                    "\"update_us\": 0}, "
                    "{\"batch\": 12, \"teacher_us\": 12, \"forward_us\": 24, \"backward_us\": 36, "
                    "\"update_us\": 0}]}, "
                    "{\"name\": \"b\", \"student\": {\"gradient_bytes\": 10}, \"timings\": ["
                    "{\"batch\": 1, \"teacher_us\": 0, \"forward_us\": 1, \"backward_us\": 1, "
                    "\"update_us\": 0}, "
                    "{\"batch\": 12, \"teacher_us\": 0, \"forward_us\": 12, \"backward_us\": 12, "
                    "\"update_us\": 0}]}], "
                    "\"allreduce\": [{\"devices\": 2, \"bytes\": 10, \"us\": 1}, {\"devices\": 4, "
                    "\"bytes\": 10, \"us\": 1}], "
                    "\"nodes\": {\"devices_per_node\": 2, \"allreduce\": [{\"devices\": 2, "
                    "\"bytes\": 10, \"us\": %d}, "
                    "{\"devices\": 4, \"bytes\": 10, \"us\": %d}]}}",
                    far, far);
    Trace *trace;
    Error  err = {""};

    if (trace_parse(&trace, "two", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    free(text);
    return trace;
}

static void groups_stay_inside_when_that_is_faster(void **state)
{
    (void)state;

    for (int far = 1; far <= 100; far += 99) {
        Trace         *trace = two_machines(far);
        CompareOptions options = {.schedules = 1u << SCHEDULE_AHD, .candidates = 8};
        Scenario       s;
        Comparison     c;
        Text           text = {0};
        assert_int_equal(scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2}, NULL), 0);
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        const Plan *plan = c.rows[SCHEDULE_AHD].plan;
        report_stages(plan, &s, &text);
        if (far == 1) {
            assert_int_equal(plan->bottleneck_ns, 25000);
            assert_non_null(strstr(text_string(&text), "; across machines 0 to 1"));
        } else {
            assert_int_equal(plan->bottleneck_ns, 37000);
            assert_string_equal(
                text_string(&text),
                "  block a on devices 0, 1, 6 rows each step (last: 6); on machine 0\n"
                "  block b on devices 2, 3, 6 rows each step (last: 6); on machine 1, relay from "
                "machine 0\n");
        }
        text_free(&text);
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
}

/* A relaying plan on devices in any order, some left out anywhere. */
static Plan *any_placement(Rng *rng, const Scenario *s)
{
    int g = s->device_count, n = s->trace->block_count, order[16], first[16], width[16], stages = 0,
        used = 0;
    Plan *plan;

    for (int d = 0; d < g; d++) order[d] = d;
    for (int d = g - 1; d > 0; d--) {
        int other = (int)rng_range(rng, 0, d), kept = order[d];
        order[d] = order[other];
        order[other] = kept;
    }
    for (int b = 0; b < n; stages++) {
        int most = g - used < s->batch ? g - used : (int)s->batch;
        first[stages] = b;
        width[stages] = (int)rng_range(rng, 1, most);
        used += width[stages];
        b = used < g ? (int)rng_range(rng, b + 1, n) : n;
    }
    assert_int_equal(plan_new(&plan, SCHEDULE_AHD, n, g, s->batch, stages, NULL), 0);
    for (int i = 0, at = 0; i < stages; at += width[i++]) {
        assert_int_equal(plan_set_stage(plan, i, first[i], (i + 1 < stages ? first[i + 1] : n) - 1,
                                        0, width[i], NULL),
                         0);
        for (int k = 0; k < width[i]; k++) plan->stages[i].devices[k] = order[at + k];
    }
    return plan;
}

static void bound_holds_for_any_placement(void **state)
{
    Rng rng = {.seed = test_seed("bound_holds_for_any_placement", 101)};
    int known = 0;
    (void)state;

    for (int i = 0; i < 300; i++) {
        RandomTrace h = random_trace_shape(&rng, 6, 8);
        Trace      *trace;
        Scenario    s;
        int64_t     bound;
        h.kinds = 1;
        h.per_node = (int)rng_range(&rng, 1, 4);
        random_scenario(&rng, &h, 2, &trace, &s);
        assert_int_equal(compare_bound(&bound, &s, NULL), 0);
        known += bound > 0;
        for (int k = 0; k < 20; k++) {
            Candidate row = {0};
            Plan     *plan = any_placement(&rng, &s);
            assert_int_equal(candidate_price(&row, plan, &s, NULL), 0);
            if (!row.plan) fail_msg("case %d: %s", i, row.why);
            if (row.sim.epoch_ns < bound) fail_msg("case %d, plan %d", i, k);
            candidate_free(&row);
        }
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(known > 250);
}

/* The search with nodes against every partition of consecutive devices. */
static int64_t brute(const Scenario *s, int block, int device)
{
    int64_t best = STAGE_IMPOSSIBLE;

    if (block == s->trace->block_count) return 0;
    for (int last = block; last < s->trace->block_count; last++)
        for (int w = 1; device + w <= s->device_count; w++) {
            int64_t here = stage_cost(s, COST_SIM, block, last, device, w, NULL);
            if (here >= best) continue;
            int64_t rest = brute(s, last + 1, device + w);
            if (here < rest) here = rest;
            if (here < best) best = here;
        }
    return best;
}

static int64_t slowest_stage(const Plan *plan, const Scenario *s)
{
    int64_t slowest = 0;

    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        int64_t      ns = stage_cost(s, COST_SIM, stage->first, stage->last, stage->devices[0],
                                     stage->width, NULL);
        if (ns > slowest) slowest = ns;
    }
    return slowest;
}

static void search_with_nodes_is_exact(void **state)
{
    Rng rng = {.seed = test_seed("search_with_nodes_is_exact", 102)};
    int searched = 0;
    (void)state;

    for (int i = 0; i < 300; i++) {
        RandomTrace    h = random_trace_shape(&rng, 5, 6);
        CompareOptions options = {.schedules = 1u << SCHEDULE_AHD, .candidates = 64};
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        h.kinds = 1;
        h.per_node = (int)rng_range(&rng, 1, 4);
        random_scenario(&rng, &h, 2, &trace, &s);
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        int64_t best = brute(&s, 0, 0), epoch_ns = c.rows[SCHEDULE_AHD].sim.epoch_ns;
        comparison_free(&c);
        options.candidates = 1;                  /* then it is the optimum of what the search
                                                  * counts, or ir */
        assert_int_equal(compare(&c, &s, &options, NULL), 0);
        const Plan *plan = c.rows[SCHEDULE_AHD].plan;
        if (slowest_stage(plan, &s) != best
            && (plan->stage_count > 1 || plan->stages[0].width < s.device_count))
            fail_msg("case %d", i);
        searched += plan->stage_count > 1;
        assert_true(epoch_ns <= c.rows[SCHEDULE_AHD].sim.epoch_ns);
        comparison_free(&c);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(searched > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_stay_inside_when_that_is_faster),
        cmocka_unit_test(bound_holds_for_any_placement),
        cmocka_unit_test(search_with_nodes_is_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
