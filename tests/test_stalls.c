/* Stalls: the expected wait for the slowest against hand computations and against a slow honest
 * model that draws, the simulator that adds it where devices meet, and drawn runs. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "planner/compare.h"
#include "schedule/program.h"
#include "sim/sim.h"
#include "sim/stalls/draw.h"
#include "sim/stalls/wait.h"
#include "tests/random_trace.h"

/* Frees text. */
static Trace *parsed(char *text)
{
    Trace *trace = NULL;
    Error  err = {""};

    if (trace_parse(&trace, "test", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    free(text);
    return trace;
}

/* A trace of one block on two devices: teacher 1, forward 2, backward 4, update 1 ms at any rows,
 * sums and messages for nothing. */
static Trace *one_block(bool blocking, const char *stalls)
{
    static const char times[] = ", \"teacher_us\": 1000, \"forward_us\": 2000, "
                                "\"backward_us\": 4000, \"update_us\": 1000";
    char *text = format_text(
        "{\"format\": \"pipebd-trace\", \"version\": 2, \"name\": \"one\", "
        "\"provenance\": {\"kind\": \"modelled\", \"source\": \"test\"}, "
        "\"workload\": {\"name\": \"w\", \"batch\": 8, \"samples\": 16000}, "
        "\"devices\": [{\"kind\": \"d\", \"count\": 2%s%s}], \"blocks\": [{\"name\": \"a\", "
        "\"student\": {\"gradient_bytes\": 1}, \"timings\": [{\"batch\": 4%s}, {\"batch\": 8%s}]}],"
        " \"transfers\": \"%s\"}",
        stalls ? ", \"stalls\": " : "", stalls ? stalls : "", times, times,
        blocking ? "blocking" : "overlapped");

    return parsed(text);
}

static int64_t wait_of(const Trace *trace, const StallArrival *arrivals, int count)
{
    StallArrival list[8];
    StallWaits  *waits = stall_waits_new(trace);

    assert_non_null(waits);
    memcpy(list, arrivals, (size_t)count * sizeof *list);
    int64_t wait_ns = stall_wait_ns(waits, list, count);
    memcpy(list, arrivals, (size_t)count * sizeof *list);
    assert_int_equal(stall_wait_ns(waits, list, count), wait_ns);         /* the same again */
    stall_waits_free(waits);
    assert_true(wait_ns >= 0);
    return wait_ns;
}

/* ---- by hand ------------------------------------------------------------------------- */

/* Stalls of 1 ms, one in 8 ms of work; two devices that worked for 8 ms. Each has N stalls, Poisson
 * of mean 1. E[max(N1, N2)] - 1 = E|N1 - N2| / 2 = m e^(-2m) (I0(2m) + I1(2m)), here
 * e^-2 (2.279585 + 1.590637) = 0.523777. */
static void two_devices_by_hand(void **state)
{
    Trace *trace = one_block(true, "{\"per_ms\": 0.125, \"common\": 0, \"us\": [1000]}");

    (void)state;
    int64_t wait_ns = wait_of(trace, (StallArrival[]){{0, 8000000, 0, 0, 2}}, 1);
    assert_int_in_range(wait_ns, 523777 - 300, 523777 + 300);
    /* they are asked for one by one, too, at any time */
    assert_int_equal(
        wait_of(trace, (StallArrival[]){{5, 8000000, 0, 0, 1}, {5, 8000000, 0, 0, 1}}, 2), wait_ns);
    trace_free(trace);
}

/* Of stalls that come to all at once nobody waits for another; of half of them as of half as
 * many. */
static void common_stalls_are_not_waited_for(void **state)
{
    Trace *all = one_block(true, "{\"per_ms\": 0.125, \"common\": 1, \"us\": [1000]}");
    Trace *half = one_block(true, "{\"per_ms\": 0.25, \"common\": 0.5, \"us\": [1000]}");
    Trace *none = one_block(true, "{\"per_ms\": 0.125, \"common\": 0, \"us\": [1000]}");
    StallArrival two = {0, 8000000, 0, 0, 2};

    (void)state;
    assert_int_equal(wait_of(all, &two, 1), 0);
    assert_int_equal(wait_of(half, &two, 1), wait_of(none, &two, 1));
    trace_free(all);
    trace_free(half);
    trace_free(none);
}

/* One that comes a second later than another is the one that is waited for. */
static void who_is_early_does_not_count(void **state)
{
    Trace *trace = one_block(true, "{\"per_ms\": 0.125, \"common\": 0, \"us\": [1000]}");

    (void)state;
    assert_int_equal(
        wait_of(trace, (StallArrival[]){{0, 8000000, 0, 0, 1}, {1000000000, 8000000, 0, 0, 1}}, 2),
        0);
    /* without work in between there is nothing to wait for */
    assert_int_equal(wait_of(trace, (StallArrival[]){{0, 0, 0, 0, 4}, {10, 0, 0, 0, 1}}, 2), 0);
    trace_free(trace);
}

/* Far more than a thousand stalls: two normal distributions, whose larger is sigma / sqrt(pi) above
 * their mean; sigma = sqrt(r T) L. Of 99, which are summed, it is nearly the same, scaled. */
static void many_stalls_are_normal(void **state)
{
    Trace *trace = one_block(true, "{\"per_ms\": 0.125, \"common\": 0, \"us\": [1000]}");
    double many = 1000000 * sqrt(1e6) / sqrt(M_PI), below = 1000000 * sqrt(99) / sqrt(M_PI);

    (void)state;
    int64_t wait_ns = wait_of(trace, (StallArrival[]){{0, 8000000000000, 0, 0, 2}}, 1);
    assert_int_in_range(wait_ns, (int64_t)(0.999 * many), (int64_t)(1.001 * many));
    wait_ns = wait_of(trace, (StallArrival[]){{0, 792000000, 0, 0, 2}}, 1);
    assert_int_in_range(wait_ns, (int64_t)(0.99 * below), (int64_t)(1.01 * below));
    trace_free(trace);
}

/* Without a stall, two devices whose work varies by 1 ms: the larger of two normal variables is
 * 1 / sqrt(pi) of that above their mean. With stalls that are rare and short it is nearly that. */
static void work_that_varies_is_waited_for(void **state)
{
    Trace *trace = one_block(true, "{\"per_ms\": 0.125, \"common\": 1, \"us\": [1000]}");
    double least = 1000000 / sqrt(M_PI);

    (void)state;
    int64_t wait_ns = wait_of(trace, (StallArrival[]){{0, 8000000, 1000000, 0, 2}}, 1);
    assert_int_in_range(wait_ns, (int64_t)(0.999 * least), (int64_t)(1.001 * least));
    trace->kinds[0].stalls = (TraceStalls){.count = 1, .per_ms = 0.01, .ns = {10000}};
    wait_ns = wait_of(trace, (StallArrival[]){{0, 8000000, 1000000, 0, 2}}, 1);
    assert_int_in_range(wait_ns, (int64_t)(0.995 * least), (int64_t)(1.005 * least));
    trace_free(trace);
}

/* ---- against drawing -------------------------------------------------------------------- */

static double uniform(Rng *rng) { return (double)(rng_next(rng) >> 11) * 0x1p-53; }

static double drawn_length(const TraceStalls *stalls, double u)
{
    double below = 0;

    for (int i = 0; i < stalls->count; i++)
        if (u < (below += stalls_probability(stalls, i))) return (double)stalls->ns[i];
    return (double)stalls->ns[stalls->count - 1];
}

/* The sum of the stalls that begin in so much work, one gap after another, less its mean; and what
 * it varies besides. */
static double drawn_sum(Rng *rng, const TraceStalls *stalls, int64_t work_ns, int64_t spread_ns)
{
    double rate = stalls->per_ms * (1 - stalls->common) * 1e-6, t = 0;
    double sum = (double)spread_ns * rng_normal(rng_next(rng), 0, 0, 0);

    if (!(rate > 0)) return sum;
    while ((t -= log(1 - uniform(rng)) / rate) < (double)work_ns)
        sum += drawn_length(stalls, uniform(rng));
    return sum - rate * (double)work_ns * stalls_mean_ns(stalls);
}

/* The mean of the largest over many meetings, and its standard error. */
static double drawn_wait(Rng *rng, const Trace *trace, const StallArrival *list, int count,
                         int meetings, double *error)
{
    double  sum = 0, squares = 0;
    int64_t last_ns = list[0].at_ns;

    for (int i = 0; i < count; i++)
        if (list[i].at_ns > last_ns) last_ns = list[i].at_ns;
    for (int n = 0; n < meetings; n++) {
        double largest = -INFINITY;
        for (int i = 0; i < count; i++)
            for (int k = 0; k < list[i].count; k++)
                largest = fmax(largest, (double)(list[i].at_ns - last_ns)
                                            + drawn_sum(rng, &trace->kinds[list[i].kind].stalls,
                                                        list[i].work_ns, list[i].spread_ns));
        sum += largest;
        squares += largest * largest;
    }
    *error = sqrt((squares / meetings - sum * sum / meetings / meetings) / meetings);
    return sum / meetings;
}

static void waits_are_those_of_the_drawing(void **state)
{
    Rng    rng = {.seed = test_seed("stalls", 41)};
    Trace *trace = one_block(true, "{\"per_ms\": 1, \"common\": 0, \"us\": [1]}");

    (void)state;
    for (int n = 0; n < test_cases(60); n++) {
        StallArrival list[3];
        int          count = (int)rng_range(&rng, 1, 3);
        double       error;
        trace->kinds[0].stalls = random_stalls(&rng, n % 8 ? 8000 : 100);
        for (int i = 0; i < count; i++)
            list[i] = (StallArrival){rng_range(&rng, 0, 1) * rng_range(&rng, 0, 2000000),
                                     rng_range(&rng, 1, 40) * 1000000,
                                     rng_range(&rng, 0, 1) * rng_range(&rng, 0, 3000000), 0,
                                     (int)rng_range(&rng, 1, 4)};
        double drawn = drawn_wait(&rng, trace, list, count, 4000, &error);
        double wait = (double)wait_of(trace, list, count);
        /* the lattice, and five standard errors: none in a million */
        if (fabs(wait - drawn) > 5 * error + 2000 + 0.01 * wait)
            fail_msg("case %d: %.0f ns, drawn %.0f, standard error %.0f", n, wait, drawn, error);
    }
    trace_free(trace);
}

/* ---- in the simulator --------------------------------------------------------------------- */

/* ns of an epoch of one stage a block, the first on wide devices and a second on one. */
static int64_t epoch_of_stages(const Trace *trace, Schedule schedule, int wide, SimOptions options,
                               int64_t *steps)
{
    Plan           *plan;
    Program        *program;
    Scenario        s;
    SimResult       result;
    int             blocks = trace->block_count, devices = wide + blocks - 1;
    ScenarioOptions how = {.queue_depth = 2, .devices = devices};
    Error           err = {""};

    ok(scenario_build(&s, trace, &how, &err), &err);
    ok(plan_new(&plan, schedule, blocks, devices, s.batch, blocks, &err), &err);
    ok(plan_set_stage(plan, 0, 0, 0, 0, wide, &err), &err);
    if (blocks > 1) ok(plan_set_stage(plan, 1, 1, 1, wide, 1, &err), &err);
    ok(program_build(&program, plan, s.steps, &err), &err);
    ok(sim_run(&result, program, &s, &options, &err), &err);
    int64_t ns = result.epoch_ns;
    for (int d = 0; d < devices; d++) {              /* every ns of a device is one of its shares */
        int64_t all_ns = 0;
        for (int k = 0; k < SHARE_COUNT; k++) all_ns += result.shares[d][k];
        assert_int_equal(all_ns, ns);
    }
    *steps = s.steps;
    sim_free(&result);
    program_free(program);
    plan_free(plan);
    scenario_free(&s);
    return ns;
}

static int64_t epoch_of(const Trace *trace, Schedule schedule, SimOptions options)
{
    int64_t steps;

    return epoch_of_stages(trace, schedule, 2, options, &steps);
}

#define ONE_IN_8 "{\"per_ms\": 0.125, \"common\": 0, \"us\": [100, 1000]}"

/* ir of one block: teacher 1, forward 2, backward 4, sum, update 1 ms, so that devices meet every
 * 8 ms. A step is longer by the wait of 8 ms of work, whether the sum occupies the device or not;
 * so are 2,000 of them. Without stalls nothing changes. */
static void a_step_has_the_wait_of_its_work(void **state)
{
    (void)state;
    for (int blocking = 0; blocking < 2; blocking++) {
        Trace  *trace = one_block(blocking, ONE_IN_8), *plain = one_block(blocking, NULL);
        int64_t wait_ns = wait_of(trace, (StallArrival[]){{0, 8000000, 0, 0, 2}}, 1);
        assert_true(wait_ns > 100000);
        assert_int_equal(epoch_of(plain, SCHEDULE_IR, (SimOptions){0}), 2000 * (int64_t)8000000);
        assert_int_equal(epoch_of(trace, SCHEDULE_IR, (SimOptions){0}),
                         2000 * (8000000 + wait_ns));
        assert_int_equal(epoch_of(trace, SCHEDULE_IR, (SimOptions){.step_by_step = true}),
                         2000 * (8000000 + wait_ns));
        trace_free(trace);
        trace_free(plain);
    }
}

/* Two kinds of devices that take as long, of which one is never stalled: it waits for the other, so
 * they are two devices, in the fast way too. */
static void kinds_that_are_stalled_differently_are_two(void **state)
{
    (void)state;
    for (int blocking = 0; blocking < 2; blocking++) {
        Trace    *trace = one_block(blocking, ONE_IN_8);
        TraceKind kinds[2] = {trace->kinds[0], trace->kinds[0]};
        Curve     curves[WORK_COUNT][2];
        for (int w = 0; w < WORK_COUNT; w++) {
            curves[w][0] = curves[w][1] = trace->blocks[0].work[w][0];
            trace->blocks[0].work[w] = curves[w];
        }
        kinds[0].count = kinds[1].count = 1;
        kinds[1].stalls = (TraceStalls){0};
        trace->kinds = kinds;
        trace->kind_count = 2;
        int64_t wait_ns =
            wait_of(trace, (StallArrival[]){{0, 8000000, 0, 0, 1}, {0, 8000000, 0, 1, 1}}, 2);
        assert_true(wait_ns > 0);
        for (int slow = 0; slow < 2; slow++)
            assert_int_equal(epoch_of(trace, SCHEDULE_IR, (SimOptions){.step_by_step = slow}),
                             2000 * (8000000 + wait_ns));
        trace_free(trace);
    }
}

/* Epochs that are drawn, stalls one by one and nothing added where devices meet, take as long as
 * the expectation says, to the hundredth; with common stalls, and where work varies besides,
 * too. */
static void drawn_epochs_take_as_long(void **state)
{
    static const char *const stalls[] = {
        ONE_IN_8, "{\"per_ms\": 0.03, \"common\": 0.5, \"us\": [100, 1000, 9000]}"};

    (void)state;
    for (int n = 0; n < 8; n++) {
        Trace  *trace = one_block(n % 2, stalls[n / 2 % 2]);
        double  drawn = 0;
        for (int w = 0; w < WORK_COUNT; w++)
            for (int i = 0; i < 2; i++)
                trace->blocks[0].work[w][0].points[i].spread = n < 4 ? 0 : 0.2;
        int64_t expected = epoch_of(trace, SCHEDULE_IR, (SimOptions){0});
        for (uint64_t seed = 1; seed <= 4; seed++)
            drawn +=
                (double)epoch_of(trace, SCHEDULE_IR, (SimOptions){.jitter = true, .seed = seed})
                / 4;
        if (fabs(drawn / (double)expected - 1) > 0.01)
            fail_msg("drawn %.6g s, expected %.6g", drawn * 1e-9, (double)expected * 1e-9);
        trace_free(trace);
    }
}

/* Skew of 0.1 and nothing else: after 8 ms two devices are 0.8 ms from their mean, and the later
 * of two normal variables is 1 / sqrt(pi) deviations above it. Drawn epochs agree; so do they with
 * stalls and skew. */
static void who_is_slow_for_long_is_waited_for(void **state)
{
    static const char *const stalls[] = {
        "{\"skew\": 0.1}",
        "{\"per_ms\": 0.125, \"common\": 0, \"us\": [100, 1000], \"skew\": 0.1}"};

    (void)state;
    for (int n = 0; n < 4; n++) {
        Trace  *trace = one_block(n % 2, stalls[n / 2]);
        int64_t epoch_ns = epoch_of(trace, SCHEDULE_IR, (SimOptions){0});
        double  drawn = 0;
        if (n / 2 == 0)
            assert_float_equal((double)epoch_ns / 2000, 8e6 + 0.1 * 8e6 / sqrt(M_PI), 4e3);
        assert_int_equal(epoch_of(trace, SCHEDULE_IR, (SimOptions){.step_by_step = true}),
                         epoch_ns);
        for (uint64_t seed = 1; seed <= 4; seed++)
            drawn +=
                (double)epoch_of(trace, SCHEDULE_IR, (SimOptions){.jitter = true, .seed = seed})
                / 4;
        if (fabs(drawn / (double)epoch_ns - 1) > 0.01)
            fail_msg("drawn %.6g s, expected %.6g", drawn * 1e-9, (double)epoch_ns * 1e-9);
        trace_free(trace);
    }
}

/* ---- relays -------------------------------------------------------------------------------- */

/* Two blocks, each of teacher 1, forward 2, backward 4, update 1 ms at any rows, the second's
 * forward more_ms longer; messages for nothing. */
static Trace *two_blocks(bool blocking, int more_ms, const char *stalls)
{
    static const char student[] = "\"student\": {\"gradient_bytes\": 1}, \"timings\": ";
    char *times[2];

    for (int b = 0; b < 2; b++) {
        char *one = format_text("\"teacher_us\": 1000, \"forward_us\": %d000, "
                                "\"backward_us\": 4000, \"update_us\": 1000}",
                                b == 0 ? 2 : 2 + more_ms);
        times[b] = format_text("[{\"batch\": 4, %s, {\"batch\": 8, %s]", one, one);
        free(one);
    }
    char *text = format_text(
        "{\"format\": \"pipebd-trace\", \"version\": 2, \"name\": \"two\", "
        "\"provenance\": {\"kind\": \"modelled\", \"source\": \"test\"}, "
        "\"workload\": {\"name\": \"w\", \"batch\": 8, \"samples\": 160000}, "
        "\"devices\": [{\"kind\": \"d\", \"count\": 4, \"stalls\": %s}], \"blocks\": ["
        "{\"name\": \"a\", \"output_bytes\": 1, %s%s}, {\"name\": \"b\", %s%s}], "
        "\"transfers\": \"%s\"}",
        stalls, student, times[0], student, times[1], blocking ? "blocking" : "overlapped");

    free(times[0]);
    free(times[1]);
    return parsed(text);
}

/* ns of a step in the mean. */
static double relayed_step_ns(const Trace *trace, Schedule schedule, int wide, SimOptions options)
{
    int64_t steps, ns = epoch_of_stages(trace, schedule, wide, options, &steps);

    return (double)ns / (double)steps;
}

/* By hand: two stages of 8 ms, of which each is 10 % slower or faster for long, go as fast as the
 * slower of the two: 0.8 / sqrt(pi) ms longer. What does not last is taken up by the queue, and
 * where all meet in every step nothing is added. */
static void a_relay_waits_for_who_is_slow_for_long(void **state)
{
    (void)state;
    for (int blocking = 0; blocking < 2; blocking++) {
        Trace *lasts = two_blocks(blocking, 0, "{\"skew\": 0.1, \"lasting\": 0.1}");
        Trace *changes = two_blocks(blocking, 0, "{\"skew\": 0.1}");
        SimOptions fast = {0}, slow = {.step_by_step = true};
        double step_ns = relayed_step_ns(lasts, SCHEDULE_DPU, 1, fast);
        assert_float_equal(step_ns, 8e6 + 0.8e6 / sqrt(M_PI), 8e3);
        assert_float_equal(relayed_step_ns(lasts, SCHEDULE_DPU, 1, slow), step_ns, 0);
        assert_float_equal(relayed_step_ns(changes, SCHEDULE_DPU, 1, fast), 8e6, 2e3);
        assert_float_equal(relayed_step_ns(lasts, SCHEDULE_TR, 1, fast),
                           relayed_step_ns(changes, SCHEDULE_TR, 1, fast), 0);
        trace_free(lasts);
        trace_free(changes);
    }
}

/* Stages that are less equal wait less; a stage of two devices that meet has waited for the slower
 * of these already. Drawn epochs agree to 1.5 %: what lasts is drawn for 128 steps. */
static void drawn_relays_take_as_long(void **state)
{
    (void)state;
    for (int n = 0; n < 12; n++) {
        int        wide = 1 + n % 2;
        Trace     *trace = two_blocks(n / 2 % 2, n / 4, "{\"skew\": 0.12, \"lasting\": 0.1}");
        double     drawn = 0;
        SimOptions fast = {0}, slow = {.step_by_step = true};
        double     expected = relayed_step_ns(trace, SCHEDULE_AHD, wide, fast);
        assert_float_equal(relayed_step_ns(trace, SCHEDULE_AHD, wide, slow), expected, 0);
        for (uint64_t seed = 1; seed <= 6; seed++)
            drawn += relayed_step_ns(trace, SCHEDULE_AHD, wide,
                                     (SimOptions){.jitter = true, .seed = seed}) / 6;
        print_message("# %d wide, %d ms more: drawn %.4g ms, expected %.4g\n", wide, n / 4,
                      drawn * 1e-6, expected * 1e-6);
        if (fabs(drawn / expected - 1) > 0.015)
            fail_msg("case %d: drawn %.6g ms, expected %.6g", n, drawn * 1e-6, expected * 1e-6);
        trace_free(trace);
    }
}

/* The mean of what is drawn for a work is the work's: of long work, which is drawn as a whole,
 * too. */
static void drawn_work_has_its_mean(void **state)
{
    Trace *trace = one_block(true, "{\"per_ms\": 0.25, \"common\": 0.25, \"us\": [100, 1000]}");
    const TraceStalls *stalls = &trace->kinds[0].stalls;

    (void)state;
    for (int long_work = 0; long_work < 2; long_work++) {
        int64_t mean_ns = long_work ? 100000000000 : 2000000, at_ns = 0;
        int     draws = long_work ? 100 : 20000;
        for (int i = 0; i < draws; i++)
            at_ns += stall_draw_ns(stalls, (StallDraw){7, 0, 0, (uint64_t)i, at_ns}, mean_ns, 0.01);
        double ratio = (double)at_ns / ((double)mean_ns * draws);
        if (fabs(ratio - 1) > 0.01) fail_msg("%g of the mean", ratio);
    }
    trace_free(trace);
}

/* ---- in comparisons -------------------------------------------------------------------------- */

/* Who meets others every step waits for them, who trains alone does not; the bound has no wait. */
static void schedules_that_meet_wait(void **state)
{
    (void)state;
    for (int blocking = 0; blocking < 2; blocking++) {
        Trace          *trace = one_block(blocking, ONE_IN_8), *plain = one_block(blocking, NULL);
        Comparison      with, without;
        Scenario        s;
        ScenarioOptions how = {.queue_depth = 2};
        CompareOptions  what = {.schedules = ~0u, .candidates = 8};
        Error           err = {""};
        ok(scenario_build(&s, plain, &how, &err), &err);
        ok(compare(&without, &s, &what, &err), &err);
        s.trace = trace;
        ok(compare(&with, &s, &what, &err), &err);
        assert_true(with.rows[SCHEDULE_IR].sim.epoch_ns > without.rows[SCHEDULE_IR].sim.epoch_ns);
        assert_true(with.rows[SCHEDULE_DP].sim.epoch_ns > without.rows[SCHEDULE_DP].sim.epoch_ns);
        assert_int_equal(with.rows[SCHEDULE_LS].sim.epoch_ns,
                         without.rows[SCHEDULE_LS].sim.epoch_ns);
        assert_int_equal(with.bound_ns, without.bound_ns);
        comparison_free(&with);
        comparison_free(&without);
        scenario_free(&s);
        trace_free(trace);
        trace_free(plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_devices_by_hand),
        cmocka_unit_test(common_stalls_are_not_waited_for),
        cmocka_unit_test(who_is_early_does_not_count),
        cmocka_unit_test(many_stalls_are_normal),
        cmocka_unit_test(work_that_varies_is_waited_for),
        cmocka_unit_test(waits_are_those_of_the_drawing),
        cmocka_unit_test(a_step_has_the_wait_of_its_work),
        cmocka_unit_test(kinds_that_are_stalled_differently_are_two),
        cmocka_unit_test(drawn_epochs_take_as_long),
        cmocka_unit_test(who_is_slow_for_long_is_waited_for),
        cmocka_unit_test(a_relay_waits_for_who_is_slow_for_long),
        cmocka_unit_test(drawn_relays_take_as_long),
        cmocka_unit_test(drawn_work_has_its_mean),
        cmocka_unit_test(schedules_that_meet_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
