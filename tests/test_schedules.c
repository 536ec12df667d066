/* Schedules end to end: plan -> program -> verifier -> simulator, by hand and by
 * identities, on made-up traces. Times in the drawings are microseconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "planner/candidate_phases.h"
#include "schedule/verify.h"
#include "sim/memory.h"
#include "sim/sim.h"
#include "tests/random_trace.h"
#include "tests/support.h"

/* ---- making traces and plans ---------------------------------------------- */

typedef struct {
    int  blocks, devices, samples, batch;
    int  teacher, student;           /* us at the full batch; linear through 0 */
    int  load_us, prefetch, lanes;   /* lanes 0: no loader */
    int  p2p_us, reduce_us;          /* whatever the bytes; 0: none */
    bool blocking;
    int  update_us, step_us;
    int  workers, cores;         /* of the loader, in the place of lanes; 0: lanes */
    uint64_t seed;                   /* not 0: block times vary by it */
} Case;

static int vary(const Case *c, int value, int which)
{
    return c->seed ? 1 + (int)(rng_u64(c->seed, (uint64_t)which, 0, 0) % (uint64_t)(2 * value + 1))
                   : value;
}

static void block_text(const Case *c, int b, int scale, Text *out)
{
    text_printf(out,
                "%s{\"name\": \"b%d\", \"output_bytes\": 1, \"student\": {\"gradient_bytes\": 1}, "
                "\"timings\": [",
                b ? ", " : "", b);
    for (int i = 0; i < c->devices && i < c->batch; i++) {
        int rows = c->batch / (i + 1);
        if (i && rows == c->batch / i) continue;
        text_printf(
            out,
            "%s{\"batch\": %d, \"teacher_us\": %d, \"forward_us\": %d, \"backward_us\": %d, "
            "\"update_us\": %d}",
            i ? ", " : "", rows, scale * (vary(c, c->teacher, b) * rows / c->batch),
            scale * (vary(c, c->student, 100 + b) * rows / c->batch / 3),
            scale * (vary(c, c->student, 100 + b) * rows / c->batch * 2 / 3), scale * c->update_us);
    }
    text_append(out, "]}");
}

static Trace *trace_of(const Case *c, int scale)
{
    Text   text = {0};
    Trace *trace;
    Error  err = {""};

    text_printf(
        &text,
        "{\"format\": \"pipebd-trace\", \"version\": 2, \"name\": \"case\", \"provenance\": "
        "{\"kind\": \"modelled\", \"source\": \"test\"}, \"workload\": {\"name\": \"w\", "
        "\"batch\": %d,"
        " \"samples\": %d}, \"devices\": [{\"kind\": \"d\", \"count\": %d}], \"input_bytes\": 1, "
        "\"blocks\": [",
        c->batch, c->samples, c->devices);
    for (int b = 0; b < c->blocks; b++) block_text(c, b, scale, &text);
    text_append(&text, "]");
    if (c->lanes)
        text_printf(
            &text,
            ", \"loader\": {\"batch_us\": %d, \"sample_us\": 0, \"lanes\": %d, \"prefetch\": %d}",
            scale * c->load_us, c->lanes, c->prefetch);
    if (c->workers)
        text_printf(&text,
                    ", \"loader\": {\"batch_us\": %d, \"sample_us\": 0, \"workers\": %d, "
                    "\"cores\": %d, \"prefetch\": %d}",
                    scale * c->load_us, c->workers, c->cores, c->prefetch);
    if (c->step_us) text_printf(&text, ", \"step_us\": %d", scale * c->step_us);
    if (c->p2p_us)
        text_printf(&text,
                    ", \"p2p\": [{\"bytes\": 0, \"us\": %d}, {\"bytes\": 100000, \"us\": %d}]",
                    scale * c->p2p_us, scale * c->p2p_us);
    if (c->reduce_us)
        text_printf(&text,
                    ", \"allreduce\": [{\"devices\": 2, \"bytes\": 1, \"us\": %d}, "
                    "{\"devices\": 64, \"bytes\": 1, \"us\": %d}]",
                    scale * c->reduce_us, scale * c->reduce_us);
    if (c->blocking) text_append(&text, ", \"transfers\": \"blocking\"");
    text_append(&text, "}");
    if (trace_parse(&trace, "case", text_string(&text), text.length, &err) != 0)
        fail_msg("%s\n%s", err.text, text_string(&text));
    text_free(&text);
    return trace;
}

/* A chain of stages with these first blocks and widths; stages ends with width 0. */
typedef struct { int first, width; } Cut;

static Plan *chain(Schedule schedule, const Scenario *s, const Cut *cuts)
{
    Plan *plan;
    int   count = 0, device = 0;

    while (cuts[count].width) count++;
    assert_int_equal(
        plan_new(&plan, schedule, s->trace->block_count, s->device_count, s->batch, count, NULL),
        0);
    for (int i = 0; i < count; i++) {
        int last = i + 1 < count ? cuts[i + 1].first - 1 : s->trace->block_count - 1;
        assert_int_equal(plan_set_stage(plan, i, cuts[i].first, last, device, cuts[i].width, NULL),
                         0);
        device += cuts[i].width;
    }
    return plan;
}

/* Blocks in phases: dp with width = devices, ls with device = task % devices, or stolen. */
static Plan *phases(Schedule schedule, const Scenario *s, bool stealing)
{
    int   n = s->trace->block_count;
    Plan *plan;

    assert_int_equal(plan_new(&plan, schedule, n, s->device_count, s->batch, n, NULL), 0);
    plan->stealing = stealing;
    for (int b = 0; b < n; b++) {
        int width = stealing ? 0 : schedule == SCHEDULE_DP ? s->device_count : 1;
        int first = schedule == SCHEDULE_DP ? 0 : b % s->device_count;
        assert_int_equal(plan_set_stage(plan, b, b, b, first, width, NULL), 0);
    }
    return plan;
}

/* A split plan: these stages, and the student of block b on tasks[b]; equal shares. */
typedef struct { int devices[3], width; } Place;

static Plan *split(const Scenario *s, const Cut *cuts, const Place *tasks)
{
    Plan *plan = chain(SCHEDULE_SPLIT, s, cuts);

    assert_int_equal(plan_add_tasks(plan, NULL), 0);
    for (int t = 0; t < plan->task_count; t++) {
        int64_t rows[3];
        for (int i = 0; i < tasks[t].width; i++)
            rows[i] = scenario_share(s->batch, tasks[t].width, i);
        assert_int_equal(
            plan_place(plan, &plan->tasks[t], tasks[t].devices, rows, tasks[t].width, NULL), 0);
    }
    return plan;
}

/* Spells out, verifies, simulates; frees plan. */
static SimResult run(const Scenario *s, Plan *plan, SimOptions options)
{
    Program  *program = NULL;
    SimResult result = {0};
    Error     err = {""};

    if (plan_check(plan, &err) != 0 || program_build(&program, plan, s->steps, &err) != 0
        || program_verify(program, s->queue_depth, &err) != 0
        || sim_run(&result, program, s, &options, &err) != 0) fail_msg("%s", err.text);
    program_free(program);
    plan_free(plan);
    return result;
}

static int64_t epoch_us(const Scenario *s, Plan *plan)
{
    SimResult result = run(s, plan, (SimOptions){0});
    int64_t   us = result.epoch_ns / 1000;

    sim_free(&result);
    return us;
}

static Scenario scenario_of(const Trace *trace, int depth)
{
    Scenario s;
    ScenarioOptions options = {.queue_depth = depth, .extrapolate = true};
    Error    err = {""};

    if (scenario_build(&s, trace, &options, &err) != 0) fail_msg("%s", err.text);
    return s;
}

/* The epoch of a case: of a chain of stages; without cuts, of blocks in phases. */
static int64_t case_us(const Case *c, Schedule schedule, const Cut *cuts, bool stealing)
{
    Trace   *trace = trace_of(c, 1);
    Scenario s = scenario_of(trace, 2);
    Plan    *plan = cuts ? chain(schedule, &s, cuts) : phases(schedule, &s, stealing);
    int64_t  us = epoch_us(&s, plan);

    scenario_free(&s);
    trace_free(trace);
    return us;
}

static int64_t chain_us(const Case *c, Schedule schedule, const Cut *cuts)
{
    return case_us(c, schedule, cuts, false);
}

static int64_t phases_us(const Case *c, Schedule schedule, bool stealing)
{
    return case_us(c, schedule, NULL, stealing);
}

/* ---- by hand ----------------------------------------------------------------- */

/* Two blocks, a device each, 3 steps; T 10, S = F 10 + B 20, relay 5.
 *     dev 0 | T0 10 | S0 30         | T0 | S0 | ...      40 a step
 *     dev 1 |    wait 15  | T1 10 | S1 30  |             40 a step
 * device 1 starts at 15 and never waits again: 15 + 3 * 40. */
static void dpu_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .p2p_us = 5};

    assert_int_equal(chain_us(&c, SCHEDULE_DPU, (Cut[]){{0, 1}, {1, 1}, {0, 0}}), 15 + 3 * 40);
}

/* The same with the barrier: both wait for device 1 at 55 and start over.
 *     dev 0 | T0 10 | S0 30 | wait 15 |
 *     dev 1 |  15   | T1 10 | S1 30   |      3 * 55 */
static void tr_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .p2p_us = 5};

    assert_int_equal(chain_us(&c, SCHEDULE_TR, (Cut[]){{0, 1}, {1, 1}, {0, 0}}), 3 * 55);
}

/* Stages may be on devices in any order; those that meet are listed in theirs. */
static void a_barrier_lists_devices_in_order(void **state)
{
    (void)state;
    Case     c = {.blocks = 3, .devices = 3, .samples = 24, .batch = 8, .teacher = 10,
                  .student = 30};
    Trace   *trace = trace_of(&c, 1);
    Scenario s = scenario_of(trace, 2);
    Plan    *plan = chain(SCHEDULE_TR, &s, (Cut[]){{0, 1}, {1, 1}, {2, 1}, {0, 0}});
    Program *program;
    int      order[] = {2, 0, 1};

    for (int i = 0; i < 3; i++) plan->stages[i].devices[0] = order[i];
    assert_int_equal(program_build(&program, plan, 3, NULL), 0);
    assert_int_equal(program->group_count, 1);
    assert_int_equal(program->groups[0].count, 3);
    for (int d = 0; d < 3; d++) assert_int_equal(program->groups[0].devices[d], d);
    program_free(program);
    plan_free(plan);
    scenario_free(&s);
    trace_free(trace);
}

/* The relay occupies the sender: device 0 takes 45 a step.
 *     dev 0 | T0 10 | send 5 | S0 30 |
 *     dev 1 |      15        | T1 10 | S1 30 |   at 45 + 15 the next message is there:
 *     device 1 starts steps at 15, 60, 105 and ends at 105 + 40. */
static void blocking_relay_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .p2p_us = 5, .blocking = true};

    assert_int_equal(chain_us(&c, SCHEDULE_DPU, (Cut[]){{0, 1}, {1, 1}, {0, 0}}), 145);
}

/* Two senders and one receiver, which takes one message at a time: a in halves on 0 and 1, b on 2.
 *     dev 0 | T0 5 | send 5 | S0 15           |
 *     dev 1 | T0 5 | wait 5 | send 5 | S0 15  |    30 a step, and 0 waits for 1's gradients
 *     dev 2 |                15      | T1 10 | S1 30 |
 * Device 2 takes 40 a step: 15 + 40 a step. */
static void one_message_at_a_time_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 3, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .p2p_us = 5, .blocking = true};

    assert_int_equal(chain_us(&c, SCHEDULE_AHD, (Cut[]){{0, 2}, {1, 1}, {0, 0}}), 15 + 3 * 40);
}

/* Halves of the batch: T 5, S 15, all-reduce 7 hidden by nothing, update 2.
 *     phase 0 | T0 5 | S0 15 | A 7 | U 2 |                29 a step
 *     phase 1 | T0 5 | T1 5 | S1 15 | A 7 | U 2 |         34 a step */
static void dp_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .reduce_us = 7, .update_us = 2};

    assert_int_equal(phases_us(&c, SCHEDULE_DP, false), 3 * 29 + 3 * 34);
}

static Curve flat_curve(Trace *trace, int us)
{
    CurvePoint *points = arena_alloc(&trace->arena, 2, sizeof *points);

    assert_non_null(points);
    points[0] = (CurvePoint){.x = 0, .ns = 1000 * (int64_t)us};
    points[1] = (CurvePoint){.x = 100000, .ns = 1000 * (int64_t)us};
    return (Curve){points, 2};
}

/* Of transfers: what they take of the core of sender, receiver, member of a sum. */
static void set_cores(Trace *trace, int sender_us, int receiver_us, int sum_us)
{
    TraceLinks *links = &trace->links;

    trace->transfers_on_device = true;
    links->sender_core = flat_curve(trace, sender_us);
    links->receiver_core = flat_curve(trace, receiver_us);
    for (int i = 0; i < links->reduce_count; i++)
        links->reduces[i].core = flat_curve(trace, sum_us);
}

/* dpu_by_hand's, where sending takes 2 of the core and receiving 3: device 0 takes 42 a step.
 *     dev 0 | T0 10 | 2 | S0 30 | T0 10 | 2 | S0 30 | T0 10 | 2 | S0 30 |
 *     dev 1 |     15      | T1 10 | S1 30 |3| T1 10 | S1 30 |3| T1 10 | S1 30 |
 * Messages leave at 10, 52, 94 and are there at 15, 57, 99. Device 1 comes to them at 0, 55, 98;
 * the first is there later than what it takes of the core, the others while it takes it. Where
 * other cores do that, nothing of it is seen. */
static void core_times_by_hand(void **state)
{
    (void)state;
    Case      c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
                   .student = 30, .p2p_us = 5};
    Trace    *trace = trace_of(&c, 1);
    Scenario  s = scenario_of(trace, 2);
    const Cut cuts[] = {{0, 1}, {1, 1}, {0, 0}};

    set_cores(trace, 2, 3, 0);
    SimResult r = run(&s, chain(SCHEDULE_DPU, &s, cuts), (SimOptions){0});
    assert_int_equal(r.epoch_ns, 1000 * (58 + 40 + 3 + 40));
    assert_int_equal(r.shares[0][SHARE_TRANSFER], 1000 * 3 * 2);
    assert_int_equal(r.shares[1][SHARE_WAIT], 1000 * (15 + 2 + 1));
    assert_int_equal(r.shares[1][SHARE_TRANSFER], 1000 * (0 + 1 + 2));
    sim_free(&r);
    trace->transfers_on_device = false;
    assert_int_equal(epoch_us(&s, chain(SCHEDULE_DPU, &s, cuts)), 15 + 3 * 40);
    scenario_free(&s);
    trace_free(trace);
}

/* dp_by_hand's: what the sum takes of the core is hidden by the wait for it, as far as that
 * goes. */
static void core_times_of_sums_by_hand(void **state)
{
    (void)state;
    Case     c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
                  .student = 30, .reduce_us = 7, .update_us = 2};
    Trace   *trace = trace_of(&c, 1);
    Scenario s = scenario_of(trace, 2);

    set_cores(trace, 0, 0, 6);
    assert_int_equal(epoch_us(&s, phases(SCHEDULE_DP, &s, false)), 3 * 29 + 3 * 34);
    set_cores(trace, 0, 0, 9);
    assert_int_equal(epoch_us(&s, phases(SCHEDULE_DP, &s, false)), 3 * 31 + 3 * 36);
    scenario_free(&s);
    trace_free(trace);
}

/* The cases above with 3 a step besides: once in a step of each device of a relay, and of each
 * phase of DP. */
static void a_steps_own_time(void **state)
{
    (void)state;
    Case relay = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
                  .student = 30, .p2p_us = 5, .step_us = 3};
    Case dp = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
               .student = 30, .reduce_us = 7, .update_us = 2, .step_us = 3};

    assert_int_equal(chain_us(&relay, SCHEDULE_DPU, (Cut[]){{0, 1}, {1, 1}, {0, 0}}), 15 + 3 * 43);
    assert_int_equal(chain_us(&relay, SCHEDULE_TR, (Cut[]){{0, 1}, {1, 1}, {0, 0}}), 3 * 58);
    assert_int_equal(phases_us(&relay, SCHEDULE_LS, false), 3 * 53);
    assert_int_equal(phases_us(&dp, SCHEDULE_DP, false), 3 * 32 + 3 * 37);
}

/* 16 workers load a batch each in 100, so a device of four has one every 25, less than its step of
 * 30: after the first it never waits. Half as many cores give all together one every 12.5, a device
 * every 50.
 * 16 lanes with 2 batches ahead of a device are 2 at a time, one every 50. */
static void workers_load_ahead(void **state)
{
    (void)state;
    Case c = {.blocks = 1, .devices = 4, .samples = 800, .batch = 8, .teacher = 40,
              .student = 80, .load_us = 100, .workers = 16, .cores = 16, .prefetch = 2};
    int64_t us = phases_us(&c, SCHEDULE_DP, false);

    assert_int_equal(us, 100 + 100 * 30);
    c.cores = 8;
    us = phases_us(&c, SCHEDULE_DP, false);
    assert_true(us >= 100 * 50 && us <= 100 * 50 + 300);
    c.workers = 0;
    c.lanes = 16;
    us = phases_us(&c, SCHEDULE_DP, false);
    assert_true(us >= 100 * 50 && us <= 100 * 50 + 300);
}

/* IR on two devices, halves of the batch: T 5, F 5, B 10.
 *     compute | T0 | T1 | F0 B0 15 | F1 B1 15 | wait A1 | U0 2 U1 2 |
 *     reduce  |                    | A0 7     | A1 7    |
 * A1 ends at 10 + 15 + 15 + 7 = 47. U0 needs A0 only (32) and runs at 40..42, U1 at
 * 47..49: 49 a step. */
static void ir_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .reduce_us = 7, .update_us = 2};

    assert_int_equal(chain_us(&c, SCHEDULE_IR, (Cut[]){{0, 2}, {0, 0}}), 3 * 49);
}

/* Two tasks, loading 4 each without prefetch on one lane; T 10, S 30.
 *     dev 0 | L 4 | T0 10 | S0 30 | L | ...                     44 a step
 *     dev 1 | wait 4 | L 4 | T0 10 | T1 10 | S1 30 | L | ...    first 58, then 54
 * Requests never meet again (0, 44, 88 and 4, 58, 112): 58 + 2 * 54. */
static void ls_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .load_us = 4, .lanes = 1};

    assert_int_equal(phases_us(&c, SCHEDULE_LS, false), 58 + 2 * 54);
}

/* Three tasks of 40, 50, 60 a step on two devices, 3 steps: device 0 takes b0 (120),
 * device 1 b1 (150); device 0 is free first and takes b2: 120 + 180. */
static void stealing_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 3, .devices = 2, .samples = 24, .batch = 8, .teacher = 10, .student = 30};

    assert_int_equal(phases_us(&c, SCHEDULE_LS, true), 300);
}

/* A group of two, then one device: block 0 at half the batch takes 20, block 1 at the
 * full one 40, from two messages of 5 that share device 2's copy-in lane.
 *     dev 0 | T0 5 | S0 15 |           dev 0's message 5..10, dev 1's 10..15
 *     dev 2 |   wait 15    | T1 10 S1 30 |       15 + 3 * 40 */
static void ahd_by_hand(void **state)
{
    (void)state;
    Case c = {.blocks = 2, .devices = 3, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .p2p_us = 5};

    assert_int_equal(chain_us(&c, SCHEDULE_AHD, (Cut[]){{0, 2}, {1, 1}, {0, 0}}), 15 + 3 * 40);
}

/* A device for the teacher, one for each student. Device 0 sends boundaries 0 and 1 to
 * device 1, then 1 and 2 to device 2, 5 each, and its step ends when they have left.
 *     dev 0 | T0 10 T1 10 | copy out 20 |                         40 a step
 *     dev 1 |      wait 30       | S0 30         |                messages end at 30, 70, 110
 *     dev 2 |      wait 40             | S1 30         |          messages end at 40, 80, 120 */
static void split_by_hand(void **state)
{
    (void)state;
    Case     c = {.blocks = 2, .devices = 3, .samples = 24, .batch = 8, .teacher = 10,
                  .student = 30, .p2p_us = 5};
    Trace   *trace = trace_of(&c, 1);
    Scenario s = scenario_of(trace, 2);
    Plan    *plan = split(&s, (Cut[]){{0, 1}, {0, 0}}, (Place[]){{{1}, 1}, {{2}, 1}});

    assert_int_equal(epoch_us(&s, plan), 120 + 30);
    scenario_free(&s);
    trace_free(trace);
}

/* One student by two devices, half the rows each; only device 0 has a teacher.
 *     dev 0 | T0 10 | S0 15     | wait          | U 2 |
 *     dev 1 | boundaries 0, 1: 20 | S0 15 | A 7 | U 2 |           44 a step */
static void student_by_two_by_hand(void **state)
{
    (void)state;
    Case     c = {.blocks = 1, .devices = 2, .samples = 24, .batch = 8, .teacher = 10,
                  .student = 30, .p2p_us = 5, .reduce_us = 7, .update_us = 2};
    Trace   *trace = trace_of(&c, 1);
    Scenario s = scenario_of(trace, 2);

    assert_int_equal(epoch_us(&s, split(&s, (Cut[]){{0, 1}, {0, 0}}, (Place[]){{{0, 1}, 2}})),
                     3 * 44);
    scenario_free(&s);
    trace_free(trace);
}

/* Loading 100 ahead of a step of 40: the loader sets the pace. 100, then every 100. */
static void loader_sets_the_pace(void **state)
{
    (void)state;
    Case c = {.blocks = 1, .devices = 1, .samples = 24, .batch = 8, .teacher = 10,
              .student = 30, .load_us = 100, .lanes = 1, .prefetch = 2};

    assert_int_equal(chain_us(&c, SCHEDULE_IR, (Cut[]){{0, 1}, {0, 0}}), 340);
}

/* ---- identities, on random cases -------------------------------------------------- */

static Case random_case(Rng *rng)
{
    return (Case){.blocks = (int)rng_range(rng, 1, 6), .devices = (int)rng_range(rng, 1, 5),
                  .samples = (int)rng_range(rng, 1, 3000), .batch = (int)rng_range(rng, 5, 12),
                  .teacher = (int)rng_range(rng, 1, 30), .student = (int)rng_range(rng, 3, 60),
                  .load_us = (int)rng_range(rng, 0, 40), .prefetch = (int)rng_range(rng, 0, 3),
                  .lanes = (int)rng_range(rng, 0, 3), .p2p_us = (int)rng_range(rng, 0, 40),
                  .reduce_us = (int)rng_range(rng, 0, 30), .blocking = rng_range(rng, 0, 1) == 1,
                  .update_us = (int)rng_range(rng, 0, 5), .seed = rng_next(rng) | 1};
}

/* A random plan of any schedule. */
static Plan *random_plan(Rng *rng, const Scenario *s)
{
    Schedule schedule = (Schedule)rng_range(rng, 0, SCHEDULE_AHD);
    int      n = s->trace->block_count, g = s->device_count, count = 0;
    Cut      cuts[8] = {{0, 0}};

    if (schedule == SCHEDULE_DP) return phases(schedule, s, false);
    if (schedule == SCHEDULE_LS) return phases(schedule, s, rng_range(rng, 0, 1) == 1);
    for (int block = 0, used = 0; block < n && used < g; count++) {
        bool last = schedule == SCHEDULE_IR || used + 1 == g || rng_range(rng, 0, 3) == 0;
        int  width = schedule == SCHEDULE_IR    ? g
                     : schedule == SCHEDULE_AHD ? (int)rng_range(rng, 1, g - used)
                                                : 1;
        cuts[count] = (Cut){block, width};
        used += width;
        if (last) { count++; break; }
        block += (int)rng_range(rng, 1, n);
    }
    return chain(schedule, s, cuts);
}

static void print_case(int i, uint64_t seed)
{
    print_message("case %d of seed %llu\n", i, (unsigned long long)seed);
}

static void steady_equals_step_by_step(void **state)
{
    (void)state;
    Rng     rng = {.seed = 11};
    int64_t skipped = 0;

    for (int i = 0; i < 1500; i++) {
        Case     c = random_case(&rng);
        Trace   *trace = trace_of(&c, 1);
        Scenario s = scenario_of(trace, (int)rng_range(&rng, 1, 3));
        Rng      again = rng, stalls = {.seed = (uint64_t)i};
        if (i % 3 == 0) trace->kinds[0].stalls = random_stalls(&stalls, 30);
        if (i % 4 > 1) random_cores(&stalls, trace, 20);
        SimResult fast = run(&s, random_plan(&rng, &s), (SimOptions){0});
        SimResult slow = run(&s, random_plan(&again, &s), (SimOptions){.step_by_step = true});
        if (fast.epoch_ns != slow.epoch_ns
            || memcmp(fast.shares, slow.shares, (size_t)fast.device_count * sizeof *fast.shares)
                   != 0
            || fast.simulated + fast.skipped != slow.simulated) {
            print_case(i, rng.seed);
            fail_msg("epoch %lld ns, step by step %lld", (long long)fast.epoch_ns,
                     (long long)slow.epoch_ns);
        }
        skipped += fast.skipped;
        sim_free(&fast);
        sim_free(&slow);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(skipped > 100000);           /* the fast way was really taken */
}

/* Relays of which most have messages that meet at a receiver; half of them with times of which no
 * two are alike. */
static Trace *relay_trace(Rng *rng)
{
    Case   c = random_case(rng);
    Trace *trace;

    c.blocks = (int)rng_range(rng, 2, 7);
    c.devices = (int)rng_range(rng, 2, 7);
    c.batch += 3;
    c.samples = (int)rng_range(rng, 1, rng_range(rng, 0, 1) ? 3000 : 100);
    c.blocking = rng_range(rng, 0, 9) == 0;
    c.prefetch = rng_range(rng, 0, 3) == 0;
    if (rng_range(rng, 0, 3)) c.lanes = 0;
    trace = trace_of(&c, 1);
    for (int b = 0; b < trace->block_count && c.seed % 4 > 1; b++)
        for (int work = 0; work < WORK_COUNT; work++)
            for (int i = 0; i < trace->blocks[b].work[work][0].count; i++)
                trace->blocks[b].work[work][0].points[i].ns += (int64_t)rng_range(rng, 0, 999);
    return trace;
}

/* Of ahd, two stages or more. */
static Plan *relay_plan(Rng *rng, const Scenario *s)
{
    int n = s->trace->block_count, g = s->device_count, count = 0;
    Cut cuts[8] = {{0, 0}};

    for (int block = 0, used = 0; block < n && used < g; count++) {
        int most = g - used - (count == 0);
        cuts[count] = (Cut){block, (int)rng_range(rng, 1, most < 3 ? most : 3)};
        used += cuts[count].width;
        block += (int)rng_range(rng, 1, count == 0 ? n - 1 : n);
    }
    return chain(SCHEDULE_AHD, s, cuts);
}

static bool same_times(const SimResult *a, const SimResult *b)
{
    return a->epoch_ns == b->epoch_ns
           && memcmp(a->shares, b->shares, (size_t)a->device_count * sizeof *a->shares) == 0;
}

/* Whoever takes each event in the order of time finds the same, and simulates as much as who has
 * the choice. */
static void in_order_equals_by_events(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("in_order_equals_by_events", 21)};
    int in_order = 0, merged = 0, chosen = 0, skipped = 0;

    for (int i = 0; i < test_cases(2400); i++) {
        Trace    *trace = relay_trace(&rng);
        Scenario  s = scenario_of(trace, (int)rng_range(&rng, 1, 3));
        Plan     *plan = relay_plan(&rng, &s), *copies[2] = {NULL, NULL};
        bool      wide = false;
        for (int k = 0; k + 1 < plan->stage_count; k++) wide |= plan->stages[k].width > 1;
        for (int k = 0; k < 2; k++) assert_int_equal(plan_copy(&copies[k], plan, NULL), 0);
        SimResult slow = run(&s, plan, (SimOptions){.way = SIM_BY_EVENTS});
        SimResult fast = run(&s, copies[0], (SimOptions){.way = SIM_IN_ORDER});
        SimResult any = run(&s, copies[1], (SimOptions){0});
        if (!same_times(&slow, &fast) || !same_times(&slow, &any)
            || any.simulated != slow.simulated || any.skipped != slow.skipped) {
            print_case(i, rng.seed);
            fail_msg("epoch %lld ns by events, %lld in order, %lld", (long long)slow.epoch_ns,
                     (long long)fast.epoch_ns, (long long)any.epoch_ns);
        }
        assert_false(slow.in_order);
        in_order += fast.in_order;
        merged += fast.in_order && wide;
        chosen += any.in_order;
        skipped += fast.in_order && fast.skipped > 0;
        sim_free(&slow);
        sim_free(&fast);
        sim_free(&any);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(in_order > test_cases(480) && merged > test_cases(96) && chosen > test_cases(48)
                && skipped > test_cases(240));
}

/* Tasks of devices that wait for nobody are added up; lists and queues, on devices of several
 * speeds whose steps have no common period. */
static void alone_equals_step_by_step(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("alone_equals_step_by_step", 22)};

    for (int i = 0; i < test_cases(600); i++) {
        Case   c = random_case(&rng);
        c.lanes = 0;
        c.step_us = (int)rng_range(&rng, 0, 3);
        Trace *trace = trace_of(&c, 1);
        trace->slowdown = arena_alloc(&trace->arena, TRACE_MAX_DEVICES,
                                          sizeof *trace->slowdown);
        assert_non_null(trace->slowdown);
        for (int d = 0; d < c.devices; d++)
            trace->slowdown[d] = 1 + 0.137 * (double)rng_range(&rng, 0, 2);
        Scenario  s = scenario_of(trace, 2);
        bool      stealing = rng_range(&rng, 0, 1) == 1;
        SimResult fast = run(&s, phases(SCHEDULE_LS, &s, stealing), (SimOptions){0});
        SimResult slow = run(&s, phases(SCHEDULE_LS, &s, stealing),
                             (SimOptions){.step_by_step = true});
        assert_true(same_times(&fast, &slow));
        assert_int_equal(fast.simulated + fast.skipped, slow.simulated);
        assert_int_equal(fast.simulated * s.steps, slow.simulated);
        assert_true(fast.teacher_work == slow.teacher_work && fast.loads == slow.loads
                    && fast.utilisation == slow.utilisation);
        sim_free(&fast);
        sim_free(&slow);
        scenario_free(&s);
        trace_free(trace);
    }
}

/* More than 2^27 instructions are simulated, most of them in runs: two devices have no common
 * period until one of them is done, and there is a figure. Both load for themselves, a lane
 * each. */
static void long_runs_of_tasks_have_a_figure(void **state)
{
    (void)state;
    Case   c = {.blocks = 200, .devices = 2, .samples = 8000, .batch = 1, .teacher = 7,
                .student = 11, .load_us = 3, .lanes = 2};
    Trace *trace = trace_of(&c, 1);

    trace->slowdown = arena_alloc(&trace->arena, TRACE_MAX_DEVICES,
                                      sizeof *trace->slowdown);
    assert_non_null(trace->slowdown);
    trace->slowdown[0] = 1;
    trace->slowdown[1] = 1.3712345;
    Scenario  s = scenario_of(trace, 2);
    SimResult result = run(&s, phases(SCHEDULE_LS, &s, false), (SimOptions){0});
    assert_true(result.simulated > (int64_t)1 << 27);
    for (int d = 0; d < 2; d++) {
        int64_t sum = 0;
        for (int k = 0; k < SHARE_COUNT; k++) sum += result.shares[d][k];
        assert_int_equal(sum, result.epoch_ns);
        assert_int_equal(result.shares[d][SHARE_LOAD], 8000 * 100 * (int64_t)3000);
    }
    sim_free(&result);
    scenario_free(&s);
    trace_free(trace);
}

/* A plan of dp whose devices have other shares of the batch in every other phase. */
static Plan *uneven_phases(Rng *rng, const Scenario *s)
{
    Plan *plan = phases(SCHEDULE_DP, s, false);

    for (int i = 0; i < plan->stage_count; i++)
        for (int moves = rng_range(rng, 0, 1) ? 3 : 0; moves > 0; moves--) {
            int from = (int)rng_range(rng, 0, s->device_count - 1),
                to = (int)rng_range(rng, 0, s->device_count - 1);
            if (plan->stages[i].rows[from] < 2) continue;
            plan->stages[i].rows[from]--;
            plan->stages[i].rows[to]++;
        }
    return plan;
}

/* Devices of two speeds in phases_equal_the_whole(). */
static void slow_some_down(Trace *trace, Rng *rng, int devices)
{
    trace->slowdown = arena_alloc(&trace->arena, TRACE_MAX_DEVICES, sizeof *trace->slowdown);
    assert_non_null(trace->slowdown);
    for (int d = 0; d < devices; d++)
        trace->slowdown[d] = 1 + 0.5 * (double)rng_range(rng, 0, 1);
}

/* All work takes longer by a third while the others compute. */
static void contend(Trace *trace)
{
    trace->contended = true;
    for (int b = 0; b < trace->block_count; b++)
        for (int work = 0; work < WORK_COUNT; work++)
            for (int i = 0; i < trace->blocks[b].work[work][0].count; i++) {
                CurvePoint *point = &trace->blocks[b].work[work][0].points[i];
                point->contended_ns = point->ns + point->ns / 3;
            }
}

/* Phases of dp one by one come to what the whole program does: devices of several speeds end them
 * at different times and begin the next one so, with a loader that they share and without. */
static void phases_equal_the_whole(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("phases_equal_the_whole", 23)};
    int apart = 0, loading = 0, folded = 0;

    for (int i = 0; i < test_cases(900); i++) {
        Case c = random_case(&rng);
        if (i % 2) c.lanes = 0;
        c.step_us = (int)rng_range(&rng, 0, 3);
        Trace *trace = trace_of(&c, 1);
        Rng    stalls = {.seed = (uint64_t)i};
        if (i % 5 == 0) trace->kinds[0].stalls = random_stalls(&stalls, 30);
        if (i % 3) slow_some_down(trace, &rng, c.devices);
        if (i % 8 == 1) contend(trace);
        if (i % 7 > 3) random_cores(&stalls, trace, 20);
        Scenario  s = scenario_of(trace, 2);
        Plan     *plan = i % 4 ? phases(SCHEDULE_DP, &s, false) : uneven_phases(&rng, &s);
        Program  *program;
        SimResult sum, all;
        Memory    memory[5], whole[5];
        Error     err = {""};
        bool      done;
        if (phases_price(&sum, memory, &done, plan, &s, &err) != 0) fail_msg("%s", err.text);
        assert_true(done);
        assert_int_equal(program_build(&program, plan, s.steps, &err), 0);
        assert_int_equal(memory_peak(whole, program, &s, &err), 0);
        assert_int_equal(sim_run(&all, program, &s, &(SimOptions){.step_by_step = true}, &err), 0);
        if (!same_times(&sum, &all)) {
            print_case(i, rng.seed);
            fail_msg("epoch %lld ns, whole %lld", (long long)sum.epoch_ns,
                     (long long)all.epoch_ns);
        }
        assert_true(sum.utilisation == all.utilisation && sum.loads == all.loads
                    && sum.teacher_work == all.teacher_work && sum.steps == all.steps);
        assert_int_equal(sum.simulated + sum.skipped, all.simulated);
        assert_memory_equal(memory, whole, (size_t)c.devices * sizeof *memory);
        for (int d = 0; d < c.devices; d++) {
            bool idle = sum.shares[d][SHARE_IDLE] > 0 && c.blocks > 1;
            apart += idle;
            loading += idle && c.lanes > 0;
            folded += c.devices > 1 && c.lanes == 0;
        }
        sim_free(&sum);
        sim_free(&all);
        program_free(program);
        plan_free(plan);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(apart > test_cases(150) && loading > test_cases(60) && folded > test_cases(300));
}

/* The whole run is between the bounds of one that was stopped, and so is the estimate; what
 * computes is known. Counts how often the bounds are within a tenth of each other. */
static void check_bounds(const SimResult *cut, const SimResult *whole, const Case *c, int i,
                         int *stopped, int *close)
{
    if (!cut->estimated) {
        assert_true(same_times(cut, whole) && cut->least_ns == cut->epoch_ns
                    && cut->most_ns == cut->epoch_ns);
        return;
    }
    if (whole->epoch_ns < cut->least_ns || whole->epoch_ns > cut->most_ns
        || cut->epoch_ns < cut->least_ns || cut->epoch_ns > cut->most_ns) {
        print_case(i, c->seed);
        fail_msg("epoch %lld ns, estimate %lld, between %lld and %lld",
                 (long long)whole->epoch_ns, (long long)cut->epoch_ns, (long long)cut->least_ns,
                 (long long)cut->most_ns);
    }
    for (int d = 0; d < cut->device_count; d++) {
        int64_t sum = 0;
        for (int k = 0; k < SHARE_COUNT; k++) {
            assert_true(cut->shares[d][k] >= 0);
            sum += cut->shares[d][k];
        }
        assert_int_equal(sum, cut->epoch_ns);
    }
    ++*stopped;
    *close += cut->most_ns - cut->least_ns <= cut->least_ns / 10;
}

static void runs_that_are_stopped_have_bounds(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("runs_that_are_stopped_have_bounds", 29)};
    int stopped = 0, close = 0, relays = 0, stalled = 0, contended = 0;

    for (int i = 0; i < test_cases(3000); i++) {
        Case   c = random_case(&rng);
        Trace *trace = i % 2 ? trace_of(&c, 1) : relay_trace(&rng);
        Rng    stalls = {.seed = (uint64_t)i};
        if (i % 5 == 0) trace->kinds[0].stalls = random_stalls(&stalls, 30);
        if (i % 3 == 0) slow_some_down(trace, &rng, 7);
        if (i % 7 == 0) contend(trace);
        if (i % 4 > 1) random_cores(&stalls, trace, 20);
        Scenario   s = scenario_of(trace, (int)rng_range(&rng, 1, 3));
        Rng        again = rng;
        Plan      *plan = i % 2 ? random_plan(&rng, &s) : relay_plan(&rng, &s);
        Plan      *same = i % 2 ? random_plan(&again, &s) : relay_plan(&again, &s);
        SimOptions few = {.simulated_most = (int64_t)rng_range(&rng, 1, 300),
                          .way = SIM_BY_EVENTS};
        SimResult  whole = run(&s, plan, (SimOptions){.step_by_step = true});
        SimResult  cut = run(&s, same, few);
        check_bounds(&cut, &whole, &c, i, &stopped, &close);
        relays += cut.estimated && i % 2 == 0;
        stalled += cut.estimated && i % 5 == 0;
        contended += cut.estimated && i % 7 == 0;
        sim_free(&whole);
        sim_free(&cut);
        scenario_free(&s);
        trace_free(trace);
    }
    print_message("# %d stopped, %d with bounds within a tenth\n", stopped, close);
    assert_true(stopped > test_cases(1000) && close > test_cases(200) && relays > test_cases(300)
                && stalled > test_cases(100) && contended > test_cases(100));
}

/* Each allocation of a run that is stopped fails in turn: an error, or the bounds that it has. */
static void bounds_without_memory(void **state)
{
    (void)state;
    static const Schedule schedules[] = {SCHEDULE_AHD, SCHEDULE_TR};
    static const Cut      cuts[][3] = {{{0, 2}, {1, 1}, {0, 0}}, {{0, 1}, {1, 1}, {0, 0}}};
    Case     c = {.blocks = 2, .devices = 3, .samples = 8000, .batch = 8, .teacher = 10,
                  .student = 30, .p2p_us = 5, .reduce_us = 7, .seed = 5};
    Rng      rng = {.seed = 3};
    Trace   *trace = trace_of(&c, 1);
    Scenario s = scenario_of(trace, 2);
    const SimOptions few = {.simulated_most = 40, .way = SIM_BY_EVENTS};

    trace->kinds[0].stalls = random_stalls(&rng, 30);
    for (int i = 0; i < 2; i++) {
        SimResult whole = run(&s, chain(schedules[i], &s, cuts[i]), few);
        Plan     *plan = chain(schedules[i], &s, cuts[i]);
        Program  *program;
        bool      reached = true;
        int       failures = 0;
        assert_true(whole.estimated && whole.least_ns < whole.most_ns);
        assert_int_equal(program_build(&program, plan, s.steps, NULL), 0);
        for (long n = 1; reached; n++) {
            SimResult cut;
            Error     err = {""};
            alloc_fail_after(n);
            int rc = sim_run(&cut, program, &s, &few, &err);
            reached = alloc_fail_reached();
            alloc_fail_after(0);
            if (rc != 0) assert_string_equal(err.text, "out of memory");
            else assert_true(cut.least_ns == whole.least_ns && cut.most_ns == whole.most_ns);
            failures += rc != 0;
            if (rc == 0) sim_free(&cut);
        }
        assert_true(failures > 20);
        program_free(program);
        plan_free(plan);
        sim_free(&whole);
    }
    scenario_free(&s);
    trace_free(trace);
}

/* Stage 1 is slower by 1 part in 10,000, so the queue before it takes some 20,000 steps to
 * fill; only then does stage 0 wait and the state repeat. */
static void late_periods_are_found(void **state)
{
    (void)state;
    Case      c = {.blocks = 2, .devices = 2, .samples = 200000, .batch = 1, .teacher = 4000,
                   .student = 6000, .p2p_us = 100};
    Trace    *trace = trace_of(&c, 1);
    Scenario  s = scenario_of(trace, 2);
    const Cut cuts[] = {{0, 1}, {1, 1}, {0, 0}};

    trace->blocks[1].work[WORK_TEACHER][0].points[0].ns += 1000;
    SimResult fast = run(&s, chain(SCHEDULE_DPU, &s, cuts), (SimOptions){0});
    SimResult slow = run(&s, chain(SCHEDULE_DPU, &s, cuts), (SimOptions){.step_by_step = true});
    assert_int_equal(fast.epoch_ns, slow.epoch_ns);
    assert_memory_equal(fast.shares, slow.shares, 2 * sizeof *fast.shares);
    assert_int_equal(fast.simulated + fast.skipped, slow.simulated);
    assert_true(slow.shares[0][SHARE_WAIT] > 0);
    assert_true(fast.skipped > slow.simulated / 2);
    sim_free(&fast);
    sim_free(&slow);
    scenario_free(&s);
    trace_free(trace);
}

static void scaling_time_scales_the_epoch(void **state)
{
    (void)state;
    Rng rng = {.seed = 12};

    for (int i = 0; i < 300; i++) {
        Case     c = random_case(&rng);
        Trace   *one = trace_of(&c, 1), *seven = trace_of(&c, 7);
        Scenario a = scenario_of(one, 2), b = scenario_of(seven, 2);
        Rng      again = rng;
        int64_t  first = epoch_us(&a, random_plan(&rng, &a)),
                second = epoch_us(&b, random_plan(&again, &b));
        /* shares between measured batches round to a nanosecond, a few a step */
        if (llabs(second - 7 * first) > 1 + 7 * first / 1000) { print_case(i, rng.seed); fail(); }
        scenario_free(&a);
        scenario_free(&b);
        trace_free(one);
        trace_free(seven);
    }
}

/* DPU is AHD with widths 1, and IR is AHD with one stage. */
static void names_of_the_same_program(void **state)
{
    (void)state;
    Rng rng = {.seed = 13};

    for (int i = 0; i < 200; i++) {
        Case     c = random_case(&rng);
        Trace   *trace = trace_of(&c, 1);
        Scenario s = scenario_of(trace, 2);
        int      n = c.blocks;
        Cut      two[] = {{0, 1}, {n / 2, 1}, {0, 0}}, whole[] = {{0, c.devices}, {0, 0}};
        if (n >= 2 && c.devices >= 2)
            assert_int_equal(epoch_us(&s, chain(SCHEDULE_DPU, &s, two)),
                             epoch_us(&s, chain(SCHEDULE_AHD, &s, two)));
        assert_int_equal(epoch_us(&s, chain(SCHEDULE_IR, &s, whole)),
                         epoch_us(&s, chain(SCHEDULE_AHD, &s, whole)));
        scenario_free(&s);
        trace_free(trace);
    }
}

/* Every device's shares sum to the epoch, and spans of a compute lane never overlap. */
static void time_adds_up(void **state)
{
    (void)state;
    Rng rng = {.seed = 14};

    for (int i = 0; i < 200; i++) {
        Case     c = random_case(&rng);
        c.samples = c.batch * (int)rng_range(&rng, 1, 20);
        Trace   *trace = trace_of(&c, 1);
        Scenario s = scenario_of(trace, 2);
        Plan    *plan = random_plan(&rng, &s);
        Program *program;
        SimResult r;
        assert_int_equal(program_build(&program, plan, s.steps, NULL), 0);
        assert_int_equal(sim_run(&r, program, &s, &(SimOptions){.record = true}, NULL), 0);
        for (int d = 0; d < r.device_count; d++) {
            int64_t sum = 0, last = 0;
            for (int k = 0; k < SHARE_COUNT; k++) {
                assert_true(r.shares[d][k] >= 0);
                sum += r.shares[d][k];
            }
            assert_int_equal(sum, r.epoch_ns);
            for (int64_t k = 0; k < r.span_count; k++) {
                if (r.spans[k].device != d || r.spans[k].lane != LANE_COMPUTE) continue;
                assert_true(r.spans[k].start_ns >= last);
                last = r.spans[k].end_ns;
            }
        }
        sim_free(&r);
        program_free(program);
        plan_free(plan);
        scenario_free(&s);
        trace_free(trace);
    }
}

/* ---- the verifier ------------------------------------------------------------------ */

/* Breaks one instruction of a good program and expects a refusal with these words. */
static void refuses(int device, int index, Instruction broken, const char *words)
{
    Case     c = {.blocks = 3, .devices = 3, .samples = 24, .batch = 8, .teacher = 10,
                  .student = 30, .p2p_us = 5};
    Trace   *trace = trace_of(&c, 1);
    Scenario s = scenario_of(trace, 2);
    Plan    *plan = chain(SCHEDULE_AHD, &s, (Cut[]){{0, 1}, {1, 2}, {0, 0}});
    Program *program;
    Error    err = {""};

    assert_int_equal(program_build(&program, plan, 3, NULL), 0);
    assert_int_equal(program_verify(program, 2, &err), 0);
    program->devices[device].code[index] = broken;
    assert_int_equal(program_verify(program, 2, &err), -1);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    program_free(program);
    plan_free(plan);
    scenario_free(&s);
    trace_free(trace);
}

/* Device 0: LOAD, TEACHER 0, SEND -> 1, SEND -> 2, FORWARD 0, BACKWARD 0, UPDATE 0.
 * Devices 1, 2: RECV, TEACHER 1, TEACHER 2, F 1, B 1, A 1, F 2, B 2, A 2, U 1, U 2. */
static void verifier_refuses(void **state)
{
    (void)state;
    refuses(0, 1, (Instruction){OP_TEACHER, 1, -1, 0, 8, 0}, "input rows are not on the device");
    refuses(0, 2, (Instruction){OP_SEND, 1, 0, 0, 3, 0},
            "the next message in its queue is another one");
    refuses(0, 4, (Instruction){OP_FORWARD, 0, -1, 0, 7, 0}, "no FORWARD of these rows");
    refuses(0, 6, (Instruction){OP_TEACHER, 1, -1, 0, 8, 0}, "trained but not updated");
    refuses(0, 3, (Instruction){OP_TEACHER, 1, -1, 0, 8, 0}, "waits forever");
    refuses(1, 5, (Instruction){OP_BARRIER, 0, 0, 0, 0, 0}, "no ALLREDUCE with the block");
    refuses(1, 6, (Instruction){OP_ALLREDUCE, 1, 0, 0, 4, 0}, "no BACKWARD of the block before it");
    refuses(1, 4, (Instruction){OP_BACKWARD, 1, -1, 0, 9, 0}, "rows outside the batch");
    refuses(2, 3, (Instruction){OP_FORWARD, 7, -1, 4, 4, 0}, "no such block");
    refuses(0, 2, (Instruction){OP_SEND, 1, 9, 0, 4, 0}, "no such channel");
    refuses(0, 0, (Instruction){OP_LOAD, 1, -1, 0, 8, 0}, "only boundary 0");
}

/* Two devices that both receive before they send. */
static void verifier_finds_deadlock(void **state)
{
    (void)state;
    Program *p = program_new(2, 2, 4, 1);
    Error    err = {""};

    int ab = program_channel(p, 0, 1, NULL), ba = program_channel(p, 1, 0, NULL);
    for (int d = 0; d < 2; d++) {
        Code *code = &p->devices[d];
        assert_int_equal(program_begin_phase(code, 1, NULL), 0);
        Instruction list[] = {{OP_RECV, 1, d ? ab : ba, 0, 4, 0}, {OP_LOAD, 0, -1, 0, 4, 0},
                              {OP_SEND, 0, d ? ba : ab, 0, 4, 0}, {OP_TEACHER, 0, -1, 0, 4, 0},
                              {OP_TEACHER, 1, -1, 0, 4, 0},       {OP_FORWARD, d, -1, 0, 4, 0},
                              {OP_BACKWARD, d, -1, 0, 4, 0},      {OP_UPDATE, d, -1, 0, 4, 0}};
        for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
            if (list[i].op == OP_TEACHER && list[i].block == 0) continue;
            assert_int_equal(program_emit(p, code, list[i], NULL), 0);
        }
    }
    assert_int_equal(program_verify(p, 2, &err), -1);
    program_free(p);
}

/* A link between phases of different numbers: one step of each would end, but of many
 * steps device 0 fills the queue in phase 0 and waits for device 1, which waits at the
 * barrier for device 0's phase 1.
 *     dev 0 | phase 0: trains block 0, SEND -> 1 | phase 1: BARRIER, block 1 |
 *     dev 1 | phase 0: BARRIER, block 2          | phase 1: RECV <- 0, block 3 | */
static void verifier_keeps_phases_apart(void **state)
{
    (void)state;
    Program *p = program_new(2, 4, 4, 9);
    Error    err = {""};
    int channel = program_channel(p, 0, 1, NULL), group = program_group(p, (int[]){0, 1}, 2, NULL);

    for (int d = 0; d < 2; d++)
        for (int phase = 0; phase < 2; phase++) {
            Code *code = &p->devices[d];
            int   block = 2 * d + phase;
            assert_int_equal(program_begin_phase(code, 9, NULL), 0);
            if (d != phase)
                program_emit(p, code, (Instruction){OP_BARRIER, 0, group, 0, 0, 0}, NULL);
            if (d == 1 && phase == 1)
                program_emit(p, code, (Instruction){OP_RECV, 1, channel, 0, 4, 0}, NULL);
            else
                program_emit(p, code, (Instruction){OP_LOAD, 0, -1, 0, 4, 0}, NULL);
            for (int b = d == 1 && phase == 1 ? 1 : 0; b <= block; b++)
                program_emit(p, code, (Instruction){OP_TEACHER, b, -1, 0, 4, 0}, NULL);
            if (block == 0)
                program_emit(p, code, (Instruction){OP_SEND, 1, channel, 0, 4, 0}, NULL);
            for (Op op = OP_FORWARD; op <= OP_UPDATE; op++)
                if (op != OP_ALLREDUCE)
                    program_emit(p, code, (Instruction){op, block, -1, 0, 4, 0}, NULL);
        }
    assert_int_equal(program_verify(p, 2, &err), -1);
    assert_non_null(strstr(err.text, "in a phase of another number"));
    program_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dpu_by_hand),
        cmocka_unit_test(tr_by_hand),
        cmocka_unit_test(a_barrier_lists_devices_in_order),
        cmocka_unit_test(blocking_relay_by_hand),
        cmocka_unit_test(one_message_at_a_time_by_hand),
        cmocka_unit_test(dp_by_hand),
        cmocka_unit_test(core_times_by_hand),
        cmocka_unit_test(core_times_of_sums_by_hand),
        cmocka_unit_test(a_steps_own_time),
        cmocka_unit_test(workers_load_ahead),
        cmocka_unit_test(ir_by_hand),
        cmocka_unit_test(ls_by_hand),
        cmocka_unit_test(stealing_by_hand),
        cmocka_unit_test(ahd_by_hand),
        cmocka_unit_test(split_by_hand),
        cmocka_unit_test(student_by_two_by_hand),
        cmocka_unit_test(loader_sets_the_pace),
        cmocka_unit_test(steady_equals_step_by_step),
        cmocka_unit_test(in_order_equals_by_events),
        cmocka_unit_test(alone_equals_step_by_step),
        cmocka_unit_test(long_runs_of_tasks_have_a_figure),
        cmocka_unit_test(phases_equal_the_whole),
        cmocka_unit_test(runs_that_are_stopped_have_bounds),
        cmocka_unit_test(bounds_without_memory),
        cmocka_unit_test(late_periods_are_found),
        cmocka_unit_test(scaling_time_scales_the_epoch),
        cmocka_unit_test(names_of_the_same_program),
        cmocka_unit_test(time_adds_up),
        cmocka_unit_test(verifier_refuses),
        cmocka_unit_test(verifier_finds_deadlock),
        cmocka_unit_test(verifier_keeps_phases_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
