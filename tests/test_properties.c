/* Properties that hold for every trace and every plan, on random ones: two kinds of
 * devices, two nodes, a loader, links; every batch measured, so that costs are whole
 * numbers and "k times" means exactly that. PIPEBD_SEED repeats a run. */
#include "tests/support.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "planner/compare.h"
#include "planner/stages/partition.h"
#include "planner/split/split_cost.h"
#include "planner/stages/stage_table.h"
#include "schedule/verify.h"
#include "tests/random_trace.h"

/* ---- random traces --------------------------------------------------------- */

enum { MAX_BLOCKS = 7, MAX_STAGES = MAX_BLOCKS };

typedef struct {
    uint64_t seed;           /* of the blocks' times */
    int      blocks, kinds, first_kind, devices, batch, samples, per_node;
    int      students;       /* every other block lists so many; 1: none does */
    int      load_us, sample_us, lanes, prefetch;      /* lanes 0: no loader */
    int      p2p_us, reduce_us;                        /* whatever the bytes; 0: none */
    bool     blocking;
    int      scale;          /* on every time */
    int      faster;         /* this block takes half; -1: none */
} Model;

static Model random_model(Rng *rng)
{
    Model m = {.seed = rng_next(rng), .blocks = (int)rng_range(rng, 1, MAX_BLOCKS),
               .kinds = (int)rng_range(rng, 1, 2), .devices = (int)rng_range(rng, 2, 6),
               .batch = (int)rng_range(rng, 6, 12), .samples = (int)rng_range(rng, 1, 1500),
               .per_node = (int)rng_range(rng, 0, 3), .load_us = (int)rng_range(rng, 0, 60),
               .sample_us = (int)rng_range(rng, 0, 5), .lanes = (int)rng_range(rng, 0, 3),
               .prefetch = (int)rng_range(rng, 0, 2), .p2p_us = (int)rng_range(rng, 0, 50),
               .reduce_us = (int)rng_range(rng, 0, 40), .blocking = rng_range(rng, 0, 1) == 1,
               .scale = 1, .faster = -1};

    m.students = (int)rng_range(rng, 0, 2) ? 1 : (int)rng_range(rng, 2, 3);
    m.first_kind = m.kinds == 1 ? m.devices : (int)rng_range(rng, 1, m.devices - 1);
    return m;
}

/* Microseconds of work on rows of block: a part that grows with rows, and one that does not. */
static int time_us(const Model *m, int block, int student, int kind, int work, int rows)
{
    uint64_t word =
        rng_u64(m->seed, (uint64_t)(block + 64 * student), (uint64_t)kind, (uint64_t)work);
    int      us = (int)(word % 9) * rows + (int)((word >> 32) % 20);

    return m->scale * (block == m->faster ? us / 2 : us);
}

static void timings_text(const Model *m, int b, int student, Work first, Work last, Text *out)
{
    static const char *const keys[] = {"teacher_us", "forward_us", "backward_us", "update_us"};
    const char *gap = "";

    text_append(out, "\"timings\": [");
    for (int kind = 0; kind < m->kinds; kind++)
        for (int rows = 1; rows <= m->batch; rows++, gap = ",") {
            text_printf(out, "%s{\"device\": \"d%d\", \"batch\": %d", gap, kind, rows);
            for (int work = first; work <= (int)last; work++)
                text_printf(out, ", \"%s\": %d", keys[work],
                            time_us(m, b, student, kind, work, work == WORK_UPDATE ? 1 : rows));
            text_append(out, "}");
        }
    text_append(out, "]");
}

static int students_of(const Model *m, int b) { return b % 2 ? 1 : m->students; }

static void block_text(const Model *m, int b, Text *out)
{
    bool listed = students_of(m, b) > 1;

    text_printf(out, "%s\n{\"name\": \"b%d\", \"output_bytes\": 1, ", b ? "," : "", b);
    if (!listed) text_append(out, "\"student\": {\"gradient_bytes\": 1}, ");
    timings_text(m, b, 0, WORK_TEACHER, listed ? WORK_TEACHER : WORK_UPDATE, out);
    if (listed) text_append(out, ", \"students\": [");
    for (int j = 0; listed && j < m->students; j++) {
        text_printf(out, "%s{\"name\": \"s%d\", \"gradient_bytes\": 1, ", j ? ", " : "", j);
        timings_text(m, b, j, WORK_FORWARD, WORK_UPDATE, out);
        text_append(out, "}");
    }
    text_append(out, listed ? "]}" : "}");
}

/* The two tables of links, flat: the same for any bytes and any number of devices. */
static void links_text(const Model *m, int factor, const char *gap, Text *out)
{
    int p2p = factor * m->scale * m->p2p_us, reduce = factor * m->scale * m->reduce_us;

    if (p2p)
        text_printf(out, "%s\"p2p\": [{\"bytes\": 0, \"us\": %d}, {\"bytes\": 4096, \"us\": %d}]",
                    gap, p2p, p2p);
    if (p2p) gap = ", ";
    if (reduce)
        text_printf(out, "%s\"allreduce\": [{\"devices\": 2, \"bytes\": 1, \"us\": %d}, "
                    "{\"devices\": 64, \"bytes\": 1, \"us\": %d}]", gap, reduce, reduce);
}

static Trace *model_trace(const Model *m)
{
    Text   text = {0};
    Trace *trace;
    Error  err = {""};

    text_printf(
        &text,
        "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"model\", \"provenance\": "
        "{\"kind\": \"modelled\", \"source\": \"test\"}, \"workload\": {\"name\": \"w\", "
        "\"batch\": %d, "
        "\"samples\": %d}, \"devices\": [{\"kind\": \"d0\", \"count\": %d}",
        m->batch, m->samples, m->first_kind);
    if (m->kinds == 2)
        text_printf(&text, ", {\"kind\": \"d1\", \"count\": %d}", m->devices - m->first_kind);
    text_append(&text, "], \"input_bytes\": 1, \"blocks\": [");
    for (int b = 0; b < m->blocks; b++) block_text(m, b, &text);
    text_append(&text, "]");
    if (m->lanes)
        text_printf(
            &text,
            ", \"loader\": {\"batch_us\": %d, \"sample_us\": %d, \"lanes\": %d, \"prefetch\": %d}",
            m->scale * m->load_us, m->scale * m->sample_us, m->lanes, m->prefetch);
    links_text(m, 1, ", ", &text);
    if (m->per_node) {
        text_printf(&text, ", \"nodes\": {\"devices_per_node\": %d", m->per_node);
        links_text(m, 3, ", ", &text);
        text_append(&text, "}");
    }
    if (m->blocking) text_append(&text, ", \"transfers\": \"blocking\"");
    text_append(&text, "}");
    if (trace_parse(&trace, "model", text_string(&text), text.length, &err) != 0)
        fail_msg("%s\n%s", err.text, text_string(&text));
    text_free(&text);
    return trace;
}

/* A trace on its cluster. */
typedef struct {
    Trace   *trace;
    Scenario scenario;
} World;

static World world_make(const Model *m, int depth)
{
    World world = {.trace = model_trace(m)};
    Error err = {""};

    if (scenario_build(&world.scenario, world.trace, &(ScenarioOptions){.queue_depth = depth}, &err)
        != 0)
        fail_msg("%s", err.text);
    return world;
}

static void world_free(World *world)
{
    scenario_free(&world->scenario);
    trace_free(world->trace);
}

/* ---- random plans ------------------------------------------------------------ */

/* Those that store nothing; tests/test_store_plans.c has the others. */
enum { RELAYING_OR_PHASES = SCHEDULE_SPLIT + 1 };

static Plan *new_plan(Schedule schedule, const Scenario *s, int stages)
{
    Plan *plan;
    int   students[MAX_BLOCKS];

    assert_int_equal(
        plan_new(&plan, schedule, s->trace->block_count, s->device_count, s->batch, stages, NULL),
        0);
    for (int b = 0; b < plan->block_count; b++) students[b] = trace_students(&s->trace->blocks[b]);
    assert_int_equal(
        plan_set_students(plan, trace_has_many_students(s->trace) ? students : NULL, NULL), 0);
    return plan;
}

static Plan *random_phases(Rng *rng, Schedule schedule, const Scenario *s)
{
    int   n = s->trace->block_count;
    Plan *plan = new_plan(schedule, s, n);

    plan->stealing = schedule == SCHEDULE_LS && rng_range(rng, 0, 1) == 1;
    for (int b = 0; b < n; b++) {
        int width = plan->stealing ? 0 : schedule == SCHEDULE_DP ? s->device_count : 1;
        int first = schedule == SCHEDULE_LS ? (int)rng_range(rng, 0, s->device_count - 1) : 0;
        assert_int_equal(plan_set_stage(plan, b, b, b, first, width, NULL), 0);
    }
    return plan;
}

/* Any rows for a stage, at least one a device. */
static void draw_rows(Rng *rng, int64_t *rows, int width, int64_t batch)
{
    for (int i = 0; i < width; i++) {
        rows[i] = i + 1 < width ? rng_range(rng, 1, batch - (width - 1 - i)) : batch;
        batch -= rows[i];
    }
}

/* width of 0..count-1, in any order; a shuffle's first. */
static void draw(Rng *rng, int *out, int width, int count)
{
    int all[64];

    for (int i = 0; i < count; i++) all[i] = i;
    for (int i = 0; i < width; i++) {
        int k = (int)rng_range(rng, i, count - 1);
        out[i] = all[k];
        all[k] = all[i];
    }
}

/* Half of the plans: the devices in any order, with any rows. */
static void shake(Rng *rng, Plan *plan)
{
    int order[64];

    if (rng_range(rng, 0, 1)) return;
    draw(rng, order, plan->device_count, plan->device_count);
    for (int i = 0; i < plan->stage_count; i++) {
        Stage *stage = &plan->stages[i];
        for (int d = 0; d < stage->width; d++) stage->devices[d] = order[stage->devices[d]];
        draw_rows(rng, stage->rows, stage->width, plan->batch);
    }
}

/* Stages along the chain: cuts between blocks, widths, as far as devices reach. */
static Plan *random_chain(Rng *rng, Schedule schedule, const Scenario *s)
{
    int n = s->trace->block_count, g = s->device_count, count = 0, block = 0, device = 0;
    int first[MAX_STAGES], width[MAX_STAGES];

    do {
        int most = g - device;
        first[count] = block;
        width[count] = schedule == SCHEDULE_IR    ? g
                       : schedule == SCHEDULE_AHD ? (int)rng_range(rng, 1, most)
                                                  : 1;
        device += width[count++];
        block += (int)rng_range(rng, 1, 3);
    } while (block < n && device < g && schedule != SCHEDULE_IR);
    Plan *plan = new_plan(schedule, s, count);
    device = 0;
    for (int i = 0; i < count; device += width[i++]) {
        int last = i + 1 < count ? first[i + 1] - 1 : n - 1;
        assert_int_equal(plan_set_stage(plan, i, first[i], last, device, width[i], NULL), 0);
    }
    return plan;
}

/* Stages on any devices, students on any, with any rows. */
static Plan *random_split(Rng *rng, const Scenario *s)
{
    Plan *plan = random_chain(rng, SCHEDULE_AHD, s);
    int   order[64], g = s->device_count;

    plan->schedule = SCHEDULE_SPLIT;
    draw(rng, order, g, g);
    for (int i = 0; i < plan->stage_count; i++)
        for (int d = 0; d < plan->stages[i].width; d++)
            plan->stages[i].devices[d] = order[plan->stages[i].devices[d]];
    assert_int_equal(plan_add_tasks(plan, NULL), 0);
    for (int t = 0; t < plan->task_count; t++) {
        int     width = (int)rng_range(rng, 1, g < 3 ? g : 3), devices[64];
        int64_t rows[64];
        draw(rng, devices, width, g);
        draw_rows(rng, rows, width, s->batch);
        assert_int_equal(plan_place(plan, &plan->tasks[t], devices, rows, width, NULL), 0);
    }
    return plan;
}

static Plan *random_plan_of(Rng *rng, Schedule schedule, const Scenario *s)
{
    bool phases = schedule == SCHEDULE_DP || schedule == SCHEDULE_LS;

    if (schedule == SCHEDULE_SPLIT) return random_split(rng, s);
    Plan *plan = phases ? random_phases(rng, schedule, s) : random_chain(rng, schedule, s);
    if (!plan->stealing) shake(rng, plan);
    return plan;
}

static Program *spell_out(const Plan *plan, const Scenario *s)
{
    Program *program;
    Error    err = {""};

    if (plan_check(plan, &err) != 0 || program_build(&program, plan, s->steps, &err) != 0
        || program_verify(program, s->queue_depth, &err) != 0) fail_msg("%s", err.text);
    return program;
}

/* Verified and simulated; plan is freed. */
static SimResult play(Plan *plan, const Scenario *s, bool step_by_step)
{
    Program  *program = spell_out(plan, s);
    SimResult result;
    Error     err = {""};

    if (sim_run(&result, program, s, &(SimOptions){.step_by_step = step_by_step}, &err) != 0)
        fail_msg("%s", err.text);
    program_free(program);
    plan_free(plan);
    return result;
}

static int64_t epoch_ns(Plan *plan, const Scenario *s)
{
    SimResult result = play(plan, s, false);
    int64_t   ns = result.epoch_ns;

    sim_free(&result);
    return ns;
}

/* ---- time -------------------------------------------------------------------- */

/* All times k times as long: every schedule's epoch exactly k times as long. */
static void scaled_times_scale_the_epoch(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("scaled times", 31)};

    for (int i = 0; i < 150; i++) {
        Model m = random_model(&rng), scaled = m;
        int   depth = (int)rng_range(&rng, 1, 3);
        scaled.scale = (int)rng_range(&rng, 2, 9);
        World one = world_make(&m, depth), other = world_make(&scaled, depth);
        for (int schedule = 0; schedule < RELAYING_OR_PHASES; schedule++) {
            Rng     again = rng;
            int64_t a =
                epoch_ns(random_plan_of(&rng, (Schedule)schedule, &one.scenario), &one.scenario);
            int64_t b = epoch_ns(random_plan_of(&again, (Schedule)schedule, &other.scenario),
                                 &other.scenario);
            if (b != scaled.scale * a)
                fail_msg("case %d, %s: %" PRId64 " ns, %d times: %" PRId64, i,
                         schedule_name((Schedule)schedule), a, scaled.scale, b);
        }
        world_free(&one);
        world_free(&other);
    }
}

/* The fast way and the slow one agree on the epoch and on every share; shares of a
 * device sum to the epoch; and no relaying plan beats the bound. */
static void results_are_consistent(void **state)
{
    (void)state;
    Rng     rng = {.seed = test_seed("consistent results", 32)};
    int64_t skipped = 0;

    for (int i = 0; i < 150; i++) {
        Model      m = random_model(&rng);
        World      w = world_make(&m, (int)rng_range(&rng, 1, 3));
        Comparison c;
        Error      err = {""};
        if (i % 3 == 0) random_cores(&(Rng){.seed = (uint64_t)i}, w.trace, 20);
        if (compare(&c, &w.scenario,
                    &(CompareOptions){.schedules = 1u << SCHEDULE_IR, .candidates = 1}, &err)
            != 0)
            fail_msg("%s", err.text);
        for (int schedule = 0; schedule < RELAYING_OR_PHASES; schedule++) {
            Rng       again = rng;
            bool      relays = schedule >= SCHEDULE_TR && schedule <= SCHEDULE_AHD;
            SimResult fast =
                play(random_plan_of(&rng, (Schedule)schedule, &w.scenario), &w.scenario, false);
            SimResult slow =
                play(random_plan_of(&again, (Schedule)schedule, &w.scenario), &w.scenario, true);
            assert_int_equal(fast.epoch_ns, slow.epoch_ns);
            assert_memory_equal(fast.shares, slow.shares,
                                (size_t)fast.device_count * sizeof *fast.shares);
            assert_int_equal(fast.simulated + fast.skipped, slow.simulated);
            for (int d = 0; d < fast.device_count; d++) {
                int64_t sum = 0;
                for (int share = 0; share < SHARE_COUNT; share++) sum += fast.shares[d][share];
                assert_int_equal(sum, fast.epoch_ns);
            }
            if (relays && fast.epoch_ns < c.bound_ns)
                fail_msg("case %d, %s: %" PRId64 " ns, bound %" PRId64, i,
                         schedule_name((Schedule)schedule), fast.epoch_ns, c.bound_ns);
            if (schedule == SCHEDULE_SPLIT
                && fast.epoch_ns < split_bound(&w.scenario) * w.scenario.steps)
                fail_msg("case %d, split: %" PRId64 " ns, bound %" PRId64 " a step", i,
                         fast.epoch_ns, split_bound(&w.scenario));
            skipped += fast.skipped;
            sim_free(&fast);
            sim_free(&slow);
        }
        comparison_free(&c);
        world_free(&w);
    }
    assert_true(skipped > 100000);
}

/* Blocks 0..b of the teacher run in phase b of dp and of ls, over all rows:
 * 1 + 2 + ... + N of N, and a load each phase. Relaying does both once. */
static void redundancy_by_formula(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("redundancy", 33)};

    for (int i = 0; i < 60; i++) {
        Model m = random_model(&rng);
        World w = world_make(&m, 2);
        for (int schedule = 0; schedule < RELAYING_OR_PHASES; schedule++) {
            bool      relays = schedule != SCHEDULE_DP && schedule != SCHEDULE_LS;
            SimResult r =
                play(random_plan_of(&rng, (Schedule)schedule, &w.scenario), &w.scenario, false);
            assert_float_equal(r.teacher_work, relays ? 1 : (m.blocks + 1) / 2.0, 1e-12);
            assert_float_equal(r.loads, relays ? 1 : m.blocks, 1e-12);
            sim_free(&r);
        }
        world_free(&w);
    }
}

/* A deeper queue only takes waits away (one device a stage: no two messages share a
 * copy lane; one load at a time at most). */
static void deeper_queues_are_not_slower(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("deeper queues", 34)};

    for (int i = 0; i < 150; i++) {
        Model   m = random_model(&rng);
        int64_t before = INT64_MAX;
        Rng     again = rng;
        for (int depth = 1; depth <= 4; depth++) {
            World w = world_make(&m, depth);
            rng = again;
            int64_t ns = epoch_ns(random_plan_of(&rng, SCHEDULE_DPU, &w.scenario), &w.scenario);
            if (ns > before)
                fail_msg("case %d: depth %d: %" PRId64 " ns, was %" PRId64, i, depth, ns, before);
            before = ns;
            world_free(&w);
        }
    }
}

/* ---- the planner ----------------------------------------------------------------- */

/* The least bottleneck of all partitions. */
static int64_t optimum_ns(const Scenario *s, CostKind kind, int max_width)
{
    StageTable *table;
    Partition  *parts;
    int         count;

    assert_int_equal(stage_table_build(&table, s, kind, max_width, NULL), 0);
    PartitionProblem problem = {.blocks = s->trace->block_count, .devices = s->device_count,
                                .max_width = max_width, .uniform = stage_table_uniform(table),
                                .cost = stage_table_cost, .floor = stage_table_floor,
                                .end = stage_table_end, .context = table, .wanted = 1};
    problem.widths = stage_table_widths(table, &problem.width_count);
    assert_int_equal(partition_search(&parts, &count, &problem, NULL), 0);
    int64_t ns = count > 0 ? parts[0].bottleneck_ns : INT64_MAX;
    partitions_free(parts, count);
    stage_table_free(table);
    return ns;
}

/* A block that takes half: neither the bound nor the optimum gets worse, whatever the
 * cost and the widths. */
static void faster_blocks_do_no_harm(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("faster blocks", 35)};
    int better = 0;

    for (int i = 0; i < 300; i++) {
        Model m = random_model(&rng), faster = m;
        faster.faster = (int)rng_range(&rng, 0, m.blocks - 1);
        World one = world_make(&m, 2), other = world_make(&faster, 2);
        for (CostKind kind = COST_SIM; kind <= COST_BOUND; kind++)
            for (int width = 1; width <= m.devices; width += m.devices - 1) {
                int64_t a = optimum_ns(&one.scenario, kind, width),
                        b = optimum_ns(&other.scenario, kind, width);
                if (b > a) fail_msg("case %d: %" PRId64 " ns, was %" PRId64, i, b, a);
                better += b < a;
            }
        world_free(&one);
        world_free(&other);
    }
    assert_true(better > 100);
}

/* A device more, of the last kind: it may be left idle, so the optimum is not worse;
 * wider groups allowed: neither. */
static void more_choice_does_no_harm(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("more choice", 36)};

    for (int i = 0; i < 200; i++) {
        Model m = random_model(&rng), more = m;
        more.devices++;
        if (m.kinds == 1) more.first_kind++;
        World   one = world_make(&m, 2), other = world_make(&more, 2);
        int64_t narrow = optimum_ns(&one.scenario, COST_BOUND, 1);
        int64_t wide = optimum_ns(&one.scenario, COST_BOUND, m.devices);
        assert_true(wide <= narrow);
        assert_true(optimum_ns(&other.scenario, COST_BOUND, 1) <= narrow);
        assert_true(optimum_ns(&other.scenario, COST_BOUND, more.devices) <= wide);
        world_free(&one);
        world_free(&other);
    }
}

/* ---- programs ---------------------------------------------------------------------- */

static bool same_code(const Code *a, const Code *b)
{
    if (a->code_count != b->code_count || a->phase_count != b->phase_count) return false;
    for (int i = 0; i < a->code_count; i++) {
        const Instruction *x = &a->code[i], *y = &b->code[i];
        if (x->op != y->op || x->block != y->block || x->link != y->link || x->row != y->row
            || x->rows != y->rows || x->student != y->student) return false;
    }
    return true;
}

/* The same plan under another name. */
static void check_same_program(Plan *plan, Schedule other, const Scenario *s)
{
    Program *a = spell_out(plan, s);

    plan->schedule = other;
    Program *b = spell_out(plan, s);
    for (int d = 0; d < a->device_count; d++)
        assert_true(same_code(&a->devices[d], &b->devices[d]));
    assert_int_equal(a->channel_count, b->channel_count);
    program_free(a);
    program_free(b);
    plan_free(plan);
}

/* DPU is AHD with widths 1, IR is AHD with one stage: instruction by instruction. */
static void names_of_the_same_program(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("same programs", 37)};

    for (int i = 0; i < 100; i++) {
        Model m = random_model(&rng);
        World w = world_make(&m, 2);
        check_same_program(random_plan_of(&rng, SCHEDULE_DPU, &w.scenario), SCHEDULE_AHD,
                           &w.scenario);
        check_same_program(random_plan_of(&rng, SCHEDULE_IR, &w.scenario), SCHEDULE_AHD,
                           &w.scenario);
        world_free(&w);
    }
}

/* AHD in split's words: each student where its block's teacher is. */
static void split_holds_ahd(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("split holds ahd", 39)};

    for (int i = 0; i < 100; i++) {
        Model m = random_model(&rng);
        World w = world_make(&m, 2);
        Plan *plan = random_plan_of(&rng, SCHEDULE_AHD, &w.scenario);
        assert_int_equal(plan_add_tasks(plan, NULL), 0);
        for (int t = 0, s = 0; t < plan->task_count; t++) {
            while (plan->stages[s].last < plan->tasks[t].first) s++;
            const Stage *stage = &plan->stages[s];
            assert_int_equal(
                plan_place(plan, &plan->tasks[t], stage->devices, stage->rows, stage->width, NULL),
                0);
        }
        int tasks = plan->task_count;
        plan->task_count = 0;
        Program *ahd = spell_out(plan, &w.scenario);
        plan->task_count = tasks;
        plan->schedule = SCHEDULE_SPLIT;
        Program *split = spell_out(plan, &w.scenario);
        for (int d = 0; d < ahd->device_count; d++)
            assert_true(same_code(&ahd->devices[d], &split->devices[d]));
        assert_int_equal(ahd->channel_count, split->channel_count);
        program_free(ahd);
        program_free(split);
        plan_free(plan);
        world_free(&w);
    }
}

/* ---- mutants ------------------------------------------------------------------------- */

typedef enum {
    DROP,
    REPEAT,
    SWAP,
    OTHER_ROWS,
    OTHER_LINK,
    OTHER_BLOCK,
    OTHER_OP,
    OTHER_STUDENT,
    MUTATIONS
} Mutation;

/* A phase of a device, or of the shared queue, with its code. */
typedef struct {
    Code  *code;
    Phase *phase;
} Spot;

static Spot random_spot(Rng *rng, Program *program)
{
    for (;;) {
        int   d = (int)rng_range(rng, 0, program->device_count);
        Code *code = d == program->device_count ? &program->queue : &program->devices[d];
        if (code->phase_count == 0) continue;
        return (Spot){code, &code->phases[rng_range(rng, 0, code->phase_count - 1)]};
    }
}

/* Makes the phase one instruction longer or shorter behind index. */
static void resize(Program *program, const Spot *spot, int index, int by)
{
    Code *code = spot->code;
    int   at = spot->phase->first + index;

    /* room for one */
    if (by > 0) assert_int_equal(program_emit(program, code, code->code[at], NULL), 0);
    if (by > 0) code->phases[code->phase_count - 1].count--;
    if (by > 0)
        memmove(&code->code[at + 1], &code->code[at],
                (size_t)(code->code_count - 1 - at) * sizeof *code->code);
    if (by < 0)
        memmove(&code->code[at], &code->code[at + 1],
                (size_t)(code->code_count - 1 - at) * sizeof *code->code);
    if (by < 0) code->code_count--;
    spot->phase->count += by;
    for (Phase *p = spot->phase + 1; p < code->phases + code->phase_count; p++) p->first += by;
}

/* Changes one thing; returns the instruction as it was. */
static Instruction mutate(Rng *rng, Program *program, Mutation mutation)
{
    Spot         spot = random_spot(rng, program);
    int          index = (int)rng_range(rng, 0, spot.phase->count - 1);
    Instruction *in = &spot.code->code[spot.phase->first + index], was = *in;
    int          sign = rng_range(rng, 0, 1) ? 1 : -1;

    switch (mutation) {
    case DROP:        resize(program, &spot, index, -1); break;
    case REPEAT:      resize(program, &spot, index, 1); break;
    case SWAP:
        if (index + 1 == spot.phase->count) break;
        in[0] = in[1];
        in[1] = was;
        break;
    case OTHER_ROWS:
        if (rng_range(rng, 0, 1)) in->row += sign;
        else                      in->rows += sign;
        break;
    case OTHER_LINK:  in->link += sign; break;
    case OTHER_BLOCK: in->block += sign; break;
    case OTHER_STUDENT: in->student += sign; break;
    default:          in->op = (Op)((in->op + rng_range(rng, 1, OP_COUNT - 1)) % OP_COUNT); break;
    }
    return was;
}

/* Where op of block stands in the phase; -1: nowhere. */
/* Where op of student j of block stands. */
static int find_student(const Spot *spot, Op op, int block, int j)
{
    for (int i = 0; i < spot->phase->count; i++) {
        const Instruction *in = &spot->code->code[spot->phase->first + i];
        if (in->op == op && in->block == block && in->student == j) return i;
    }
    return -1;
}

static bool trained_in_order(const Spot *spot, int b, int j)
{
    int f = find_student(spot, OP_FORWARD, b, j), k = find_student(spot, OP_BACKWARD, b, j);
    int a = find_student(spot, OP_ALLREDUCE, b, j), u = find_student(spot, OP_UPDATE, b, j);

    return (f < 0 || f < k) && (a < 0 || k < a) && (u < 0 || (k < u && a < u));
}

static int find(const Spot *spot, Op op, int block)
{
    for (int i = 0; i < spot->phase->count; i++) {
        const Instruction *in = &spot->code->code[spot->phase->first + i];
        if (in->op == op && in->block == block) return i;
    }
    return -1;
}

static bool before(const Spot *spot, Op a, int a_block, Op b, int b_block)
{
    int i = find(spot, a, a_block), j = find(spot, b, b_block);

    return i < 0 || j < 0 || i < j;
}

/* The order that mathematics asks for, looked up one pair after another. */
static bool is_in_order(const Spot *spot, int blocks)
{
    for (int b = 0; b < blocks; b++) {
        if (!before(spot, OP_LOAD, 0, OP_TEACHER, b) || !before(spot, OP_LOAD, 0, OP_FORWARD, b))
            return false;
        if (!before(spot, OP_TEACHER, b, OP_TEACHER, b + 1)) return false;
        if (!before(spot, OP_TEACHER, b, OP_FORWARD, b + 1)
            || !before(spot, OP_TEACHER, b, OP_SEND, b + 1))
            return false;
        if (!before(spot, OP_TEACHER, b, OP_BACKWARD, b)) return false;
        bool makes = b > 0 ? find(spot, OP_TEACHER, b - 1) >= 0 : find(spot, OP_LOAD, 0) >= 0;
        /* split: other rows may come later */
        if (!makes && !before(spot, OP_RECV, b, OP_TEACHER, b)) return false;
        if (!makes && !before(spot, OP_RECV, b, OP_FORWARD, b)) return false;
        for (int j = 0; j < 3; j++)
            if (!trained_in_order(spot, b, j)) return false;
    }
    return true;
}

/* Accepted: then it is in order, it ends, and time adds up. */
static void check_survivor(Program *program, const Scenario *s, int number)
{
    SimResult r;
    Error     err = {""};

    for (int d = 0; d <= program->device_count; d++) {
        Code *code = d == program->device_count ? &program->queue : &program->devices[d];
        for (int p = 0; p < code->phase_count; p++)
            if (!is_in_order(&(Spot){code, &code->phases[p]}, program->block_count))
                fail_msg("mutant %d: out of order, but accepted", number);
    }
    if (sim_run(&r, program, s, &(SimOptions){.step_by_step = true}, &err) != 0)
        fail_msg("mutant %d was accepted, but: %s", number, err.text);
    for (int d = 0; d < r.device_count; d++) {
        int64_t sum = 0;
        for (int share = 0; share < SHARE_COUNT; share++) sum += r.shares[d][share];
        assert_int_equal(sum, r.epoch_ns);
    }
    sim_free(&r);
}

/* A barrier of one device alone is the only instruction that may be missing, or be
 * there twice, without harm. */
static bool is_needed(const Program *program, const Instruction *in)
{
    return in->op != OP_BARRIER || program->groups[in->link].count > 1;
}

static void mutants_are_refused_or_run(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("mutants", 38)};
    int refused[MUTATIONS] = {0}, accepted = 0;

    for (int i = 0; i < 6000; i++) {
        Model m = random_model(&rng);
        m.samples = 4 * m.batch;
        m.blocks = m.blocks > 4 ? 4 : m.blocks;
        World       w = world_make(&m, (int)rng_range(&rng, 1, 2));
        Plan       *plan =
            random_plan_of(&rng, (Schedule)rng_range(&rng, 0, RELAYING_OR_PHASES - 1), &w.scenario);
        Program    *program = spell_out(plan, &w.scenario);
        Mutation    mutation = (Mutation)(i % MUTATIONS);
        Instruction was = mutate(&rng, program, mutation);
        Error       err = {""};
        if (program_verify(program, w.scenario.queue_depth, &err) != 0) {
            assert_string_not_equal(err.text, "");
            refused[mutation]++;
        } else {
            if (mutation <= REPEAT && is_needed(program, &was))
                fail_msg("mutant %d: %s missing or twice, but accepted", i, op_name(was.op));
            check_survivor(program, &w.scenario, i);
            accepted++;
        }
        program_free(program);
        plan_free(plan);
        world_free(&w);
    }
    for (int k = 0; k < MUTATIONS; k++) assert_true(refused[k] > 100);
    assert_true(accepted > 100);
}

/* Any number of steps costs no more instructions than about 8 million, and time that does not fit
 * is refused: periods are skipped without passing 2^62 ns. */
static void steps_cost_no_time(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("steps cost no time", 41)};
    int fits = 0, too_long = 0, estimated = 0;

    for (int i = 0; i < test_cases(30); i++) {
        Model m = random_model(&rng);
        World w = world_make(&m, (int)rng_range(&rng, 1, 3));
        for (int schedule = 0; schedule < RELAYING_OR_PHASES; schedule++) {
            Plan *plan = random_plan_of(&rng, (Schedule)schedule, &w.scenario);
            for (int bits = 30; bits <= 53; bits += 23) {
                SimResult r;
                Error     err = {""};
                w.scenario.steps = (int64_t)1 << bits;
                Program *program = spell_out(plan, &w.scenario);
                if (sim_run(&r, program, &w.scenario, &(SimOptions){0}, &err) == 0) {
                    fits++;
                    estimated += r.estimated;
                    assert_true(r.least_ns <= r.epoch_ns && r.epoch_ns <= r.most_ns);
                    for (int d = 0; d < r.device_count; d++)
                        for (int k = 0; k < SHARE_COUNT; k++)
                            assert_true(r.shares[d][k] >= 0 && r.shares[d][k] <= r.epoch_ns);
                } else if (strstr(err.text, "2^62 ns")) too_long++;
                else fail_msg("%s", err.text);
                assert_true(r.simulated >= 0 && r.simulated <= 1 << 23);
                sim_free(&r);
                program_free(program);
            }
            plan_free(plan);
        }
        world_free(&w);
    }
    print_message("# %d fit, %d of them estimated, %d too long\n", fits, estimated, too_long);
    assert_true(fits > test_cases(60) && too_long > test_cases(60));
}

/* The next span of a device's compute lane from *i on; NULL: there is none. */
static const Span *next_compute(const SimResult *r, int device, int64_t *i)
{
    while (*i < r->span_count
           && (r->spans[*i].device != device || r->spans[*i].lane != LANE_COMPUTE))
        ++*i;
    return *i < r->span_count ? &r->spans[(*i)++] : NULL;
}

/* Its instruction is the device's, or of the shared queue, not that of another one of its group; a
 * message's is its sender's. */
static bool is_own(const Program *program, const Span *span)
{
    const Code *code = &program->devices[span->device];
    ptrdiff_t   at = span->instruction - code->code;
    ptrdiff_t   queued = span->instruction - program->queue.code;

    return span->lane == LANE_COPY_IN || (at >= 0 && at < code->code_count)
           || (queued >= 0 && queued < program->queue.code_count);
}

/* Recorded of some devices until all are past their first phase, a run has the same spans as the
 * whole run, all of the first phases among them. */
static void a_short_record_is_the_begin_of_the_whole(void **state)
{
    (void)state;
    Rng     rng = {.seed = test_seed("a short record", 42)};
    int64_t shorter = 0;

    for (int i = 0; i < test_cases(100); i++) {
        Model m = random_model(&rng);
        World w = world_make(&m, (int)rng_range(&rng, 1, 3));
        for (int schedule = 0; schedule < RELAYING_OR_PHASES; schedule++) {
            bool      recorded[64];
            SimResult all, some;
            Plan     *plan = random_plan_of(&rng, (Schedule)schedule, &w.scenario);
            w.scenario.steps = 24;
            Program  *program = spell_out(plan, &w.scenario);
            for (int d = 0; d < program->device_count; d++) recorded[d] = rng_range(&rng, 0, 1);
            SimOptions options = {.record = true, .recorded = recorded, .first_phase = true};
            assert_int_equal(
                sim_run(&all, program, &w.scenario, &(SimOptions){.record = true}, NULL), 0);
            assert_int_equal(sim_run(&some, program, &w.scenario, &options, NULL), 0);
            for (int d = 0; d < program->device_count; d++) {
                const Code *code = &program->devices[d];
                int64_t     a = 0, b = 0;
                for (const Span *x, *y = next_compute(&some, d, &b);
                     (x = next_compute(&all, d, &a)); y = y ? next_compute(&some, d, &b) : NULL) {
                    bool first = code->phase_count > 0
                                 && x->instruction - code->code >= code->phases[0].first
                                 && x->instruction - code->code
                                        < code->phases[0].first + code->phases[0].count;
                    if (y)
                        assert_true(recorded[d] && x->instruction == y->instruction
                                    && x->step == y->step && x->start_ns == y->start_ns
                                    && x->end_ns == y->end_ns);
                    else   assert_false(recorded[d] && first);
                }
            }
            for (int64_t k = 0; k < all.span_count; k++)
                assert_true(is_own(program, &all.spans[k]));
            shorter += all.span_count - some.span_count;
            sim_free(&all);
            sim_free(&some);
            program_free(program);
            plan_free(plan);
        }
        world_free(&w);
    }
    assert_true(shorter > test_cases(10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scaled_times_scale_the_epoch),
        cmocka_unit_test(results_are_consistent),
        cmocka_unit_test(redundancy_by_formula),
        cmocka_unit_test(deeper_queues_are_not_slower),
        cmocka_unit_test(faster_blocks_do_no_harm),
        cmocka_unit_test(more_choice_does_no_harm),
        cmocka_unit_test(names_of_the_same_program),
        cmocka_unit_test(split_holds_ahd),
        cmocka_unit_test(mutants_are_refused_or_run),
        cmocka_unit_test(steps_cost_no_time),
        cmocka_unit_test(a_short_record_is_the_begin_of_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
