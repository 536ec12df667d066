/* Memory as a limit of planning: the memory of a stage against the walk over programs,
 * and the search under tight limits against brute force. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/compare.h"
#ifdef HAVE_GLPK
#include "planner/ls/glpk/tasks_glpk.h"
static const MipSolver *const MIP = &glpk_solver;
#else
static const MipSolver *const MIP = NULL;
#endif
#include "planner/memory_feasibility.h"
#include "planner/stages/partition.h"
#include "planner/stages/stage_memory.h"
#include "planner/stages/stage_table.h"
#include "schedule/program.h"
#include "sim/memory.h"
#include "tests/random_trace.h"

/* ---- the memory of a stage --------------------------------------------------------- */

/* Stages of any width on consecutive devices; NULL when devices run out first. */
static Plan *random_plan(Rng *rng, const Scenario *s, bool groups)
{
    int   first[16], width[16], stages = 0, device = 0, n = s->trace->block_count, b = 0;
    Plan *plan;

    while (b < n && device < s->device_count) {
        int left = s->device_count - device, most = left < s->batch ? left : (int)s->batch;
        first[stages] = b;
        width[stages] = groups ? (int)rng_range(rng, 1, most) : 1;
        device += width[stages++];
        b = device < s->device_count ? (int)rng_range(rng, b + 1, n) : n;
    }
    assert_int_equal(plan_new(&plan, groups ? SCHEDULE_AHD : SCHEDULE_TR, n, s->device_count,
                              s->batch, stages, NULL),
                     0);
    for (int i = 0, at = 0; i < stages; at += width[i++])
        assert_int_equal(plan_set_stage(plan, i, first[i], (i + 1 < stages ? first[i + 1] : n) - 1,
                                        at, width[i], NULL),
                         0);
    return plan;
}

static void stages_need_what_programs_do(void **state)
{
    Rng rng = {.seed = test_seed("stages_need_what_programs_do", 71)};
    (void)state;

    for (int i = 0; i < test_cases(1500); i++) {
        RandomTrace  h = random_trace_shape(&rng, 9, 8);
        Trace       *trace;
        Scenario     s;
        Program     *program;
        StageMemory *memory;
        Memory       walked[8];
        h.students = i % 5 == 0;
        random_scenario(&rng, &h, (int)rng_range(&rng, 1, 3), &trace, &s);
        Plan *plan = random_plan(&rng, &s, i % 2);
        int   students[16];
        for (int b = 0; b < trace->block_count; b++)
            students[b] = trace_students(&trace->blocks[b]);
        assert_int_equal(plan_set_students(plan, students, NULL), 0);
        assert_int_equal(stage_memory_build(&memory, &s, NULL), 0);
        assert_int_equal(program_build(&program, plan, s.steps, NULL), 0);
        assert_int_equal(memory_peak(walked, program, &s, NULL), 0);
        for (int k = 0; k < plan->stage_count; k++)
            for (int d = 0; d < plan->stages[k].width; d++) {
                const Stage *stage = &plan->stages[k];
                int64_t      bytes = walked[stage->devices[d]].total_bytes;
                if (stage_memory_bytes(memory, stage->first, stage->last, stage->rows[d]) != bytes
                    || stage_memory_plain(&s, stage->first, stage->last, stage->rows[d]) != bytes)
                    fail_msg("case %d, stage %d", i, k);
            }
        program_free(program);
        plan_free(plan);
        stage_memory_free(memory);
        scenario_free(&s);
        trace_free(trace);
    }
}

/* All ranges: the table is the plain loop, the floor is below and grows, the most rows fit. */
static void floors_grow_and_rows_fit(void **state)
{
    Rng rng = {.seed = test_seed("floors_grow_and_rows_fit", 72)};
    (void)state;

    for (int i = 0; i < 200; i++) {
        RandomTrace  h = random_trace_shape(&rng, 14, 4);
        Trace       *trace;
        Scenario     s;
        StageMemory *m;
        random_scenario(&rng, &h, 2, &trace, &s);
        assert_int_equal(stage_memory_build(&m, &s, NULL), 0);
        for (int a = 0; a < h.blocks; a++)
            for (int b = a; b < h.blocks; b++) {
                int64_t rows = rng_range(&rng, 1, h.batch),
                        bytes = stage_memory_bytes(m, a, b, rows);
                int64_t floor = stage_memory_floor(m, a, b, rows),
                        limit = rng_range(&rng, 0, 60000);
                int64_t most = stage_memory_most_rows(m, a, b, limit);
                assert_true(bytes == stage_memory_plain(&s, a, b, rows));
                assert_true(floor <= bytes);
                if (a > 0) assert_true(floor <= stage_memory_floor(m, a - 1, b, rows));
                if (b + 1 < h.blocks) assert_true(floor <= stage_memory_floor(m, a, b + 1, rows));
                assert_int_in_range(most, 0, h.batch);
                if (most > 0) assert_true(stage_memory_bytes(m, a, b, most) <= limit);
                if (most < h.batch) assert_true(stage_memory_bytes(m, a, b, most + 1) > limit);
            }
        stage_memory_free(m);
        scenario_free(&s);
        trace_free(trace);
    }
}

/* ---- the search under limits ------------------------------------------------------------ */

/* Every cut and every width, by the plain cost. */
static int64_t brute(const Scenario *s, CostKind kind, int max_width, int block, int device)
{
    int64_t best = STAGE_IMPOSSIBLE;

    if (block == s->trace->block_count) return 0;
    for (int last = block; last < s->trace->block_count; last++)
        for (int w = 1; w <= max_width && device + w <= s->device_count; w++) {
            int64_t here = stage_cost(s, kind, block, last, device, w, NULL);
            if (here >= best) continue;
            int64_t rest = brute(s, kind, max_width, last + 1, device + w);
            if (here < rest) here = rest;
            if (here < best) best = here;
        }
    return best;
}

static int64_t searched(const Scenario *s, CostKind kind, int max_width, int wanted)
{
    StageTable *table;
    Partition  *parts;
    int         count;

    assert_int_equal(stage_table_build(&table, s, kind, max_width, NULL), 0);
    PartitionProblem p = {.blocks = s->trace->block_count, .devices = s->device_count,
                          .max_width = max_width, .uniform = stage_table_uniform(table),
                          .cost = stage_table_cost, .floor = stage_table_floor,
                          .end = stage_table_end, .context = table, .wanted = wanted};
    p.widths = stage_table_widths(table, &p.width_count);
    assert_int_equal(partition_search(&parts, &count, &p, NULL), 0);
    int64_t ns = count ? parts[0].bottleneck_ns : STAGE_IMPOSSIBLE;
    partitions_free(parts, count);
    stage_table_free(table);
    return ns;
}

/* Limits near what the whole chain or a block alone needs, so that some plans fit and some
 * do not; on traces where that is so, wide groups are often needed for memory alone. */
static void search_is_exact_under_limits(void **state)
{
    Rng rng = {.seed = test_seed("search_is_exact_under_limits", 73)};
    int none = 0, changed = 0;
    (void)state;

    for (int i = 0; i < test_cases(1500); i++) {
        RandomTrace h = random_trace_shape(&rng, 5, 5);
        Trace      *trace;
        Scenario    s;
        CostKind    kind = (CostKind)(i % 3);
        h.bytes = true;
        random_scenario(&rng, &h, (int)rng_range(&rng, 1, 2), &trace, &s);
        int     max_width = i % 4 ? s.device_count : 1;
        int64_t free_ns = brute(&s, kind, max_width, 0, 0);
        int64_t all = stage_memory_plain(&s, 0, h.blocks - 1, s.batch);
        int64_t limit = all * rng_range(&rng, 100 / (s.device_count + 1), 100) / 100;
        for (int d = 0; d < s.device_count; d++)
            s.memory_bytes[d] = s.kinds[d] ? limit + limit / 2 : limit;
        int64_t best = brute(&s, kind, max_width, 0, 0);
        if (searched(&s, kind, max_width, 1) != best) fail_msg("case %d", i);
        if (searched(&s, kind, max_width, 8) != best) fail_msg("case %d, several", i);
        none += best == STAGE_IMPOSSIBLE;
        changed += best != STAGE_IMPOSSIBLE && best != free_ns;
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(none > test_cases(200) && changed > test_cases(100));
}

/* What used to be missed: the fastest partition does not fit, a slower one does. */
static void a_plan_that_fits_is_found(void **state)
{
    Rng rng = {.seed = test_seed("a_plan_that_fits_is_found", 74)};
    int found = 0;
    (void)state;

    for (int i = 0; i < 400; i++) {
        RandomTrace    h = random_trace_shape(&rng, 5, 5);
        Trace         *trace;
        Scenario       s;
        Comparison     c;
        CompareOptions options = {
            .schedules = 1u << SCHEDULE_AHD, .cost = COST_SIM, .candidates = 4};
        h.bytes = true;
        h.kinds = 1;
        random_scenario(&rng, &h, 2, &trace, &s);
        int64_t limit = stage_memory_plain(&s, 0, h.blocks - 1, s.batch)
                            / (int64_t)rng_range(&rng, 1, 2 * s.device_count)
                        + 1;
        for (int d = 0; d < s.device_count; d++) s.memory_bytes[d] = limit;
        bool possible = brute(&s, COST_SIM, s.device_count, 0, 0) != STAGE_IMPOSSIBLE;
        int  rc = compare(&c, &s, &options, NULL);
        assert_int_equal(rc == 0, possible);
        if (rc == 0) {
            assert_true(c.rows[SCHEDULE_AHD].peak.total_bytes <= limit);
            found++;
            comparison_free(&c);
        }
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(found > 100 && found < 390);
}

/* ---- lists under limits -------------------------------------------------------------------- */

/* A task alone on the first device: what it needs, by the walk, and how long its step takes;
 * INT64_MAX where it does not fit. */
static void task_alone(int64_t *bytes, int64_t *ns, const Scenario *s, int b)
{
    Plan    *plan;
    Program *program;
    Memory   walked[8];
    int      n = s->trace->block_count, g = s->device_count, students[16];
    int      ahead = trace_loader_ahead(&s->trace->loader, n < g ? n : g);
    int64_t  load = scenario_load_ns(s, s->batch);

    assert_int_equal(plan_new(&plan, SCHEDULE_LS, n, g, s->batch, 1, NULL), 0);
    assert_int_equal(plan_set_stage(plan, 0, b, b, 0, 1, NULL), 0);
    for (int k = 0; k < n; k++) students[k] = trace_students(&s->trace->blocks[k]);
    assert_int_equal(plan_set_students(plan, students, NULL), 0);
    assert_int_equal(program_build(&program, plan, s->steps, NULL), 0);
    assert_int_equal(memory_peak(walked, program, s, NULL), 0);
    *bytes = walked[0].total_bytes;
    if (ahead > s->trace->loader.lanes) ahead = s->trace->loader.lanes;
    for (int d = 0; d < g; d++) {
        ns[d] = s->trace->step_ns;
        for (int k = 0; k <= b; k++)
            for (int work = 0; work < WORK_COUNT; work++) {
                Cost cost = {0};
                if (work == WORK_TEACHER || k == b)
                    assert_int_equal(scenario_work(s, (Work)work, k, d, s->batch, &cost, NULL), 0);
                ns[d] += cost.ns;
            }
        if (ahead == 0)               ns[d] += load;
        else if (ns[d] < load / ahead) ns[d] = load / ahead;
        if (s->memory_bytes[d] && *bytes > s->memory_bytes[d]) ns[d] = INT64_MAX;
    }
    program_free(program);
    plan_free(plan);
}

static int64_t least_makespan(int64_t ns[][8], int tasks, int devices, int task, int64_t *busy)
{
    int64_t best = INT64_MAX, end = 0;

    for (int d = 0; d < devices; d++) if (busy[d] > end) end = busy[d];
    if (task == tasks) return end;
    for (int d = 0; d < devices; d++) {
        if (ns[task][d] == INT64_MAX) continue;
        busy[d] += ns[task][d];
        int64_t here = least_makespan(ns, tasks, devices, task + 1, busy);
        busy[d] -= ns[task][d];
        if (here < best) best = here;
    }
    return best;
}

/* Devices with limits of their own: lists that fit are found, the fastest of them, and what
 * fits nowhere is said. */
static void lists_that_fit_are_found(void **state)
{
    Rng rng = {.seed = test_seed("lists_that_fit_are_found", 76)};
    int found = 0, none = 0, partly = 0;
    (void)state;

    for (int i = 0; i < test_cases(600); i++) {
        RandomTrace h = random_trace_shape(&rng, 6, 4);
        Trace      *trace;
        Scenario    s;
        Comparison  c;
        int64_t     ns[8][8], bytes[8], alone[8], busy[8] = {0};
        h.bytes = true;
        h.students = i % 4 == 0;
        random_scenario(&rng, &h, 2, &trace, &s);
        for (int b = 0; b < h.blocks; b++) task_alone(&bytes[b], ns[b], &s, b);
        stage_memory_tasks(alone, &s);
        for (int b = 0; b < h.blocks; b++) assert_int_equal(alone[b], bytes[b]);
        for (int d = 0; d < s.device_count; d++)
            s.memory_bytes[d] = rng_range(&rng, 0, 3) ? bytes[rng_range(&rng, 0, h.blocks - 1)]
                                                            - rng_range(&rng, 0, 1)
                                                      : 0;
        bool everywhere = true;
        for (int b = 0; b < h.blocks; b++) task_alone(&bytes[b], ns[b], &s, b);
        for (int b = 0; b < h.blocks; b++)
            for (int d = 0; d < s.device_count; d++) everywhere &= ns[b][d] < INT64_MAX;
        int64_t        best = least_makespan(ns, h.blocks, s.device_count, 0, busy);
        CompareOptions options = {.schedules = 1u << SCHEDULE_LS, .candidates = 1,
                                  .ls = MIP && i % 2 == 0 ? LS_GLPK : LS_EXACT, .mip = MIP};
        assert_int_equal(compare_rows(&c, &s, &options, NULL), 0);
        const Candidate *row = &c.rows[SCHEDULE_LS];
        if (best == INT64_MAX)
            assert_true(!row->plan && strstr(row->why, "is too large for device"));
        else if (!row->plan || row->plan->bottleneck_ns != best)
            fail_msg("case %d: %s", i, row->why);
        comparison_free(&c);
        options.ls = LS_STEALING;
        assert_int_equal(compare_rows(&c, &s, &options, NULL), 0);
        assert_int_equal(c.rows[SCHEDULE_LS].plan != NULL, everywhere);
        comparison_free(&c);
        options.ls = LS_ALL;
        assert_int_equal(compare_rows(&c, &s, &options, NULL), 0);
        assert_int_equal(row->plan != NULL, best < INT64_MAX);
        if (row->plan) assert_int_equal(strstr(row->method, "no stealing") == NULL, everywhere);
        comparison_free(&c);
        none += best == INT64_MAX;
        found += best < INT64_MAX;
        partly += best < INT64_MAX && !everywhere;
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(none > test_cases(50) && found > test_cases(200) && partly > test_cases(50));
}

/* ---- what is said when nothing fits -------------------------------------------------------- */

static bool possible(const Trace *trace, ScenarioOptions options, const CompareOptions *compared)
{
    Scenario   s;
    Comparison c;

    assert_int_equal(scenario_build(&s, trace, &options, NULL), 0);
    int rc = compare(&c, &s, compared, NULL);
    if (rc == 0) comparison_free(&c);
    scenario_free(&s);
    return rc == 0;
}

/* The number after option in advice, or -1. */
static int64_t advised(const char *advice, const char *option)
{
    const char *at = strstr(advice, option);

    return at ? strtoll(at + strlen(option), NULL, 10) : -1;
}

/* What is advised is enough, and one less (of the batch: one more) is not. */
static void advice_is_true(void **state)
{
    Rng rng = {.seed = test_seed("advice_is_true", 75)};
    int memory = 0, batch = 0, devices = 0, schedules = 0;
    (void)state;

    for (int i = 0; i < test_cases(150); i++) {
        RandomTrace    h = random_trace_shape(&rng, 4, 4);
        CompareOptions all = {
            .schedules = (1u << SCHEDULE_COUNT) - 1, .candidates = 1, .ls = LS_LPT};
        ScenarioOptions o = {.queue_depth = 2, .memory_bytes = rng_range(&rng, 500, 9000)}, changed;
        Trace   *trace;
        Scenario s;
        Text     text = {0};
        h.bytes = true;
        trace = random_trace(&rng, &h);
        all.schedules = i % 3 ? all.schedules : 1u << SCHEDULE_TR;
        if (possible(trace, o, &all)) { trace_free(trace); continue; }
        assert_int_equal(scenario_build(&s, trace, &o, NULL), 0);
        assert_int_equal(memory_feasibility_advice(&text, &s, &all, NULL), 0);
        int64_t bytes = advised(text_string(&text), "--memory "),
                rows = advised(text_string(&text), "--batch ");
        int64_t count = advised(text_string(&text), "--devices ");
        assert_true(bytes > o.memory_bytes);     /* more memory always helps: every batch is
                                                  * measured */
        memory++;
        changed = o;
        changed.memory_bytes = bytes;
        assert_true(possible(trace, changed, &all));
        changed.memory_bytes = bytes - 1;
        assert_false(possible(trace, changed, &all));
        changed = o;
        changed.batch = rows;
        if (rows > 0) assert_true(possible(trace, changed, &all));
        changed.batch = rows + 1;
        if (rows > 0) assert_false(possible(trace, changed, &all));
        batch += rows > 0;
        changed = o;
        changed.devices = count;
        if (count > 0) assert_true(possible(trace, changed, &all));
        changed.devices = count - 1;
        if (count > 0) assert_false(possible(trace, changed, &all));
        devices += count > 0;
        schedules += strstr(text_string(&text), "--schedules ") != NULL;
        text_free(&text);
        scenario_free(&s);
        trace_free(trace);
    }
    assert_true(memory > test_cases(40) && batch > test_cases(8) && devices > test_cases(4)
                && schedules > test_cases(4));
}

/* An epoch of more than 2^62 ns is no matter of memory, so nothing is advised about memory. */
static void advice_is_about_memory(void **state)
{
    CompareOptions  all = {.schedules = schedules_usual(), .candidates = 1};
    ScenarioOptions o = {.queue_depth = 2, .extrapolate = true, .steps = (int64_t)1 << 48};
    Trace    *trace;
    Scenario  s;
    Comparison c;
    Error     err = {""};
    (void)state;

    assert_int_equal(trace_read(&trace, PIPEBD_ROOT "/traces/mobilenet-cpu.json", NULL), 0);
    assert_int_equal(scenario_build(&s, trace, &o, NULL), 0);
    assert_int_equal(compare(&c, &s, &all, &err), -1);
    assert_string_equal(err.text,
                        "no schedule is possible: simulated time passes 2^62 ns (146 years)");
    scenario_free(&s);
    trace_free(trace);
}

static void refusals_name_block_and_device(void **state)
{
    static const char text[] = "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"t\", "
                               "\"provenance\": {\"kind\": \"modelled\", "
                               "\"source\": \"test\"}, \"workload\": {\"name\": \"w\", \"batch\": "
                               "8, \"samples\": 8}, \"devices\": [{\"kind\": "
                               "\"k\", \"count\": 2}], \"blocks\": [{\"name\": \"small\", "
                               "\"student\": {\"weight_bytes\": 1048576}, \"timings\": "
                               "[{\"batch\": 1, \"teacher_us\": 1, \"forward_us\": 1, "
                               "\"backward_us\": 1, \"update_us\": 1}, {\"batch\": 8, "
                               "\"teacher_us\": 1, \"forward_us\": 1, \"backward_us\": 1, "
                               "\"update_us\": 1}]}, {\"name\": \"large\", \"student\": "
                               "{\"weight_bytes\": 1048576, \"activation_bytes\": 1048576}, "
                               "\"timings\": [{\"batch\": 1, \"teacher_us\": 1, "
                               "\"forward_us\": 1, \"backward_us\": 1, \"update_us\": 1}, "
                               "{\"batch\": 8, \"teacher_us\": 1, \"forward_us\": 1, "
                               "\"backward_us\": 1, \"update_us\": 1}]}]}";
    /* Together on two devices: 1 + 1 MiB of weights and 4 of activations; alone, large needs 5. */
    static const struct { int64_t mib; const char *why;
    } cases[] = {
        {4, "no schedule is possible: block \"large\" is too large for device 0: alone, with 4 of "
            "8 rows on each of all "
            "devices, it needs 5 MiB of 4; what would help, each alone: --memory 6144KiB"},
        {5, "no schedule is possible: the blocks are too large together: each fits somewhere "
            "alone, but in no way do "
            "all of them on 2 devices; what would help, each alone: --memory 6144KiB"},
    };
    CompareOptions all = {.schedules = 1u << SCHEDULE_AHD, .candidates = 1};
    Trace         *trace;
    (void)state;

    assert_int_equal(trace_parse(&trace, "t", text, sizeof text - 1, NULL), 0);
    for (int i = 0; i < 2; i++) {
        Scenario   s;
        Comparison c;
        Error      err = {""};
        assert_int_equal(
            scenario_build(&s, trace,
                           &(ScenarioOptions){.queue_depth = 2, .memory_bytes = cases[i].mib << 20},
                           NULL),
            0);
        assert_int_equal(compare(&c, &s, &all, &err), -1);
        if (strncmp(err.text, cases[i].why, strlen(cases[i].why)) != 0) fail_msg("%s", err.text);
        scenario_free(&s);
    }
    trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_need_what_programs_do),
        cmocka_unit_test(floors_grow_and_rows_fit),
        cmocka_unit_test(search_is_exact_under_limits),
        cmocka_unit_test(a_plan_that_fits_is_found),
        cmocka_unit_test(lists_that_fit_are_found),
        cmocka_unit_test(advice_is_true),
        cmocka_unit_test(advice_is_about_memory),
        cmocka_unit_test(refusals_name_block_and_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
