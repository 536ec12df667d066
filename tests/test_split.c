/* The search for split plans, and many students a block: by hand, against bounds, against
 * the same problem in other words. Times in the drawings are microseconds. */
#include "tests/support.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "planner/compare.h"
#include "planner/report/report.h"
#include "planner/split/split.h"
#include "planner/split/split_cost.h"
#include "tests/random_trace.h"

/* ---- made-up traces ------------------------------------------------------------ */

typedef enum { ONE, LISTED_ONE, MANY } Words;

typedef struct {
    int      blocks, devices, students;      /* students: of each block */
    int      teacher_us, student_us;         /* at the full batch of 12; linear through 0 */
    int      slow_block, slow_us;            /* this block's students take so much; -1: none */
    int      p2p_us, reduce_us, update_us;   /* whatever the size; 0: none */
    int      samples;
    uint64_t seed;                           /* not 0: times of students vary */
    Words    words;                          /* ONE: "student", LISTED_ONE: "students" of one */
} Made;

enum { BATCH = 12 };

static int student_us(const Made *m, int b, int j)
{
    int us = b == m->slow_block ? m->slow_us : m->student_us;

    return m->seed ? us / 2
                         + (int)(rng_u64(m->seed, (uint64_t)b, (uint64_t)j, 0) % (uint64_t)(us + 1))
                               / 12 * 12
                   : us;
}

/* which: 1 the teacher's, 2 the student's, 3 both. */
static void timings_text(const Made *m, int b, int j, int which, Text *out)
{
    text_append(out, "\"timings\": [");
    for (int rows = 1; rows <= BATCH; rows++) {
        text_printf(out, "%s{\"batch\": %d", rows > 1 ? ", " : "", rows);
        if (which & 1) text_printf(out, ", \"teacher_us\": %d", m->teacher_us * rows / BATCH);
        if (which & 2)
            text_printf(out, ", \"forward_us\": %d, \"backward_us\": %d, \"update_us\": %d",
                        student_us(m, b, j) * rows / BATCH / 3,
                        student_us(m, b, j) * rows / BATCH * 2 / 3, m->update_us);
        text_append(out, "}");
    }
    text_append(out, "]");
}

static void block_text(const Made *m, int b, Text *out)
{
    text_printf(out, "%s{\"name\": \"b%d\", \"output_bytes\": 1, ", b ? ", " : "", b);
    if (m->words == ONE) {
        text_append(out, "\"student\": {\"weight_bytes\": 1000, \"gradient_bytes\": 7, "
                         "\"activation_bytes\": 30}, ");
        timings_text(m, b, 0, 3, out);
        text_append(out, "}");
        return;
    }
    timings_text(m, b, 0, 1, out);
    text_append(out, ", \"students\": [");
    for (int j = 0; j < m->students; j++) {
        text_printf(out, "%s{\"name\": \"s%d\", \"weight_bytes\": 1000, \"gradient_bytes\": 7, "
                    "\"activation_bytes\": 30, ", j ? ", " : "", j);
        timings_text(m, b, j, 2, out);
        text_append(out, "}");
    }
    text_append(out, "]}");
}

static void made(const Made *m, Trace **trace, Scenario *s)
{
    Text  text = {0};
    Error err = {""};

    text_printf(
        &text,
        "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"made\", \"provenance\": "
        "{\"kind\": \"modelled\", \"source\": \"test\"}, \"workload\": {\"name\": \"w\", "
        "\"batch\": %d,"
        " \"samples\": %d}, \"devices\": [{\"kind\": \"d\", \"count\": %d}], \"input_bytes\": 1, "
        "\"blocks\": [",
        BATCH, m->samples, m->devices);
    for (int b = 0; b < m->blocks; b++) block_text(m, b, &text);
    text_append(&text, "]");
    if (m->p2p_us)
        text_printf(&text, ", \"p2p\": [{\"bytes\": 0, \"us\": %d}, {\"bytes\": 1000, \"us\": %d}]",
                    m->p2p_us, m->p2p_us);
    if (m->reduce_us)
        text_printf(&text, ", \"allreduce\": [{\"devices\": 2, \"bytes\": 7, \"us\": %d}, "
                    "{\"devices\": 64, \"bytes\": 7, \"us\": %d}]", m->reduce_us, m->reduce_us);
    text_append(&text, "}");
    if (trace_parse(trace, "made", text_string(&text), text.length, &err) != 0)
        fail_msg("%s", err.text);
    text_free(&text);
    if (scenario_build(s, *trace, &(ScenarioOptions){.queue_depth = 2}, &err) != 0)
        fail_msg("%s", err.text);
}

static void unmake(Trace *trace, Scenario *s)
{
    scenario_free(s);
    trace_free(trace);
}

static Comparison compared(const Scenario *s, unsigned schedules)
{
    Comparison     c;
    CompareOptions options = {.schedules = schedules, .candidates = 4};
    Error          err = {""};

    if (compare(&c, s, &options, &err) != 0) fail_msg("%s", err.text);
    return c;
}

enum { AHD_AND_SPLIT = 1u << SCHEDULE_AHD | 1u << SCHEDULE_SPLIT };

/* ---- by hand ---------------------------------------------------------------------- */

/* All-reduces are far too slow to share a block, so that AHD can use two of the three
 * devices; split gives the third a student.
 *     ahd    dev 0 | T0 12 | S0 36         |             48 a step
 *            dev 1 | T1 12 | S1 36         |
 *     split  dev 0 | T0 12 T1 12 |                       36 a step
 *            dev 1 | S0 36 |    dev 2 | S1 36 | */
static void a_device_without_teacher_trains(void **state)
{
    (void)state;
    Made     m = {.blocks = 2, .devices = 3, .students = 1, .teacher_us = 12, .student_us = 36,
                  .slow_block = -1, .reduce_us = 5000, .samples = 100 * BATCH};
    Trace   *trace;
    Scenario s;

    made(&m, &trace, &s);
    Comparison c = compared(&s, AHD_AND_SPLIT);
    const Candidate *ahd = &c.rows[SCHEDULE_AHD], *split = &c.rows[SCHEDULE_SPLIT];
    assert_int_equal(ahd->sim.epoch_ns, (12 + 100 * 48) * 1000);
    assert_int_in_range(split->sim.epoch_ns, 100 * 36 * 1000, (100 * 36 + 2 * 36) * 1000);
    assert_int_equal(split->ahd_ns, ahd->sim.epoch_ns);
    assert_int_equal(c.best, SCHEDULE_SPLIT);
    /* All work over three devices: (24 + 72) / 3; no piece is longer. Less the rounding. */
    assert_int_in_range(split->bound_ns, 100 * (32 * 1000 - 10), 100 * 32 * 1000);
    Text text = {0};
    report_table(&c, &s, &text);
    assert_non_null(strstr(text_string(&text),
                           "split: 24.7 % off ahd's 0.005 s; no split plan has an epoch below"));
    assert_non_null(strstr(text_string(&text), "  teacher blocks b0 to b1 on device "));
    assert_non_null(strstr(text_string(&text), "  student b1 on device "));
    assert_null(strstr(text_string(&text), "no relaying plan"));
    text_free(&text);
    comparison_free(&c);
    unmake(trace, &s);
}

/* One block's student is ten times slower: whatever AHD does, split does no worse, and
 * shares that student out. */
static void a_slow_student_moves_away(void **state)
{
    (void)state;
    Made     m = {.blocks = 4, .devices = 4, .students = 1, .teacher_us = 24, .student_us = 36,
                  .slow_block = 1, .slow_us = 360, .p2p_us = 2, .reduce_us = 4,
                  .samples = 200 * BATCH};
    Trace   *trace;
    Scenario s;

    made(&m, &trace, &s);
    Comparison c = compared(&s, AHD_AND_SPLIT);
    const Candidate *ahd = &c.rows[SCHEDULE_AHD], *split = &c.rows[SCHEDULE_SPLIT];
    assert_true(split->sim.epoch_ns <= ahd->sim.epoch_ns);
    assert_true((double)split->sim.epoch_ns <= 1.1 * (double)split->bound_ns);
    comparison_free(&c);
    unmake(trace, &s);
}

/* Off unless asked for. */
static void split_is_off_by_default(void **state)
{
    (void)state;
    Made     m = {.blocks = 2, .devices = 2, .students = 1, .teacher_us = 12, .student_us = 36,
                  .slow_block = -1, .samples = 10 * BATCH};
    Trace   *trace;
    Scenario s;

    made(&m, &trace, &s);
    Comparison c = compared(&s, schedules_usual());
    assert_null(c.rows[SCHEDULE_SPLIT].plan);
    assert_string_equal(c.rows[SCHEDULE_SPLIT].why, "");
    comparison_free(&c);
    unmake(trace, &s);
}

/* ---- properties ------------------------------------------------------------------------ */

/* Never slower than AHD, never below its bound, the same when asked again; with limits of
 * memory it fits. */
static void never_slower_than_ahd(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("never slower than ahd", 51)};
    int better = 0, tight = 0;

    for (int i = 0; i < test_cases(60); i++) {
        RandomTrace shape = random_trace_shape(&rng, 6, 5);
        shape.bytes = i % 3 == 0;
        shape.memory_bytes = shape.bytes ? (int)rng_range(&rng, 2000, 40000) : 0;
        Trace     *trace;
        Scenario   s;
        Comparison c, again;
        CompareOptions options = {.schedules = AHD_AND_SPLIT | 1u << SCHEDULE_IR, .candidates = 4};
        Error      err = {""};
        random_scenario(&rng, &shape, 2, &trace, &s);
        if (compare_rows(&c, &s, &options, &err) != 0
            || compare_rows(&again, &s, &options, &err) != 0)
            fail_msg("case %d: %s", i, err.text);
        const Candidate *ahd = &c.rows[SCHEDULE_AHD], *split = &c.rows[SCHEDULE_SPLIT];
        if (ahd->plan && (!split->plan || split->sim.epoch_ns > ahd->sim.epoch_ns))
            fail_msg("case %d: slower", i);
        if (split->plan && split->sim.epoch_ns < split->bound_ns)
            fail_msg("case %d: %" PRId64 " ns, bound %" PRId64, i, split->sim.epoch_ns,
                     split->bound_ns);
        if (!split->plan) assert_true(split->why[0]);
        assert_int_equal(!split->plan, !again.rows[SCHEDULE_SPLIT].plan);
        if (split->plan)
            assert_int_equal(split->sim.epoch_ns, again.rows[SCHEDULE_SPLIT].sim.epoch_ns);
        better += split->plan && (!ahd->plan || split->sim.epoch_ns < ahd->sim.epoch_ns);
        tight += shape.memory_bytes && !ahd->plan;
        comparison_free(&c);
        comparison_free(&again);
        unmake(trace, &s);
    }
    print_message("# %d of %d faster than ahd, %d too large for ahd\n", better, test_cases(60),
                  tight);
    assert_true(better >= test_cases(10) && tight > 0);
}

/* ---- many students -------------------------------------------------------------------------- */

static void same_rows(const Comparison *a, const Comparison *b, int devices)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *x = &a->rows[i], *y = &b->rows[i];
        assert_string_equal(x->why, y->why);
        assert_int_equal(!x->plan, !y->plan);
        if (!x->plan) continue;
        assert_int_equal(x->sim.epoch_ns, y->sim.epoch_ns);
        assert_memory_equal(x->sim.shares, y->sim.shares, (size_t)devices * sizeof *x->sim.shares);
        assert_memory_equal(x->memory, y->memory, (size_t)devices * sizeof *x->memory);
        Text one = {0}, two = {0};
        plan_stages_text(x->plan, "", &one);
        plan_tasks_text(x->plan, "", &one);
        plan_stages_text(y->plan, "", &two);
        plan_tasks_text(y->plan, "", &two);
        assert_string_equal(text_string(&one), text_string(&two));
        text_free(&one);
        text_free(&two);
    }
}

/* "students" with one element is "student" in other words: the same plans, times, memory. */
static void a_list_of_one_is_no_list(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("a list of one", 52)};

    for (int i = 0; i < 20; i++) {
        Made m = {.blocks = (int)rng_range(&rng, 1, 5), .devices = (int)rng_range(&rng, 1, 4),
                  .students = 1, .teacher_us = 12 * (int)rng_range(&rng, 1, 5),
                  .student_us = 36 * (int)rng_range(&rng, 1, 5), .slow_block = -1,
                  .p2p_us = (int)rng_range(&rng, 0, 5), .reduce_us = (int)rng_range(&rng, 0, 9),
                  .update_us = (int)rng_range(&rng, 0, 3), .samples = 300, .seed = rng_next(&rng)};
        Made     listed = m;
        Trace   *one, *other;
        Scenario a, b;
        listed.words = LISTED_ONE;
        made(&m, &one, &a);
        made(&listed, &other, &b);
        Comparison x = compared(&a, schedules_usual() | 1u << SCHEDULE_SPLIT);
        Comparison y = compared(&b, schedules_usual() | 1u << SCHEDULE_SPLIT);
        same_rows(&x, &y, m.devices);
        comparison_free(&x);
        comparison_free(&y);
        unmake(one, &a);
        unmake(other, &b);
    }
}

/* Three students of a third each take as long as one of all, wherever a block's students
 * are trained together and no all-reduce is hidden behind them. */
static void students_add_up(void **state)
{
    (void)state;

    for (int devices = 1; devices <= 3; devices++) {
        Made     m = {.blocks = 3, .devices = devices, .students = 3, .teacher_us = 12,
                      .student_us = 36, .slow_block = -1, .p2p_us = 3, .samples = 300,
                      .words = MANY};
        Made     sum = m;
        Trace   *many, *one;
        Scenario a, b;
        sum.students = 1;
        sum.student_us = 3 * m.student_us;
        sum.words = ONE;
        made(&m, &many, &a);
        made(&sum, &one, &b);
        Comparison x = compared(&a, schedules_usual()), y = compared(&b, schedules_usual());
        for (int i = 0; i < SCHEDULE_COUNT; i++) {
            assert_int_equal(!x.rows[i].plan, !y.rows[i].plan);
            if (x.rows[i].plan) assert_int_equal(x.rows[i].sim.epoch_ns, y.rows[i].sim.epoch_ns);
        }
        /* Weights of three, but one teacher and one load. */
        assert_true(x.rows[SCHEDULE_AHD].sim.teacher_work == 1
                    && x.rows[SCHEDULE_AHD].sim.loads == 1);
        assert_int_equal(x.rows[SCHEDULE_IR].memory[0].parts[MEMORY_WEIGHTS],
                         3 * y.rows[SCHEDULE_IR].memory[0].parts[MEMORY_WEIGHTS]);
        assert_int_equal(x.rows[SCHEDULE_IR].memory[0].parts[MEMORY_ACTIVATIONS],
                         y.rows[SCHEDULE_IR].memory[0].parts[MEMORY_ACTIVATIONS]);
        comparison_free(&x);
        comparison_free(&y);
        unmake(many, &a);
        unmake(one, &b);
    }
}

/* One block, two students, two devices, no sharing of rows (all-reduces are too slow).
 *     ahd    dev 0 | T 12 | S0 36 | S1 36 |              84 a step
 *     split  dev 0 | T 12 | S0 36 |                      48 a step
 *            dev 1   wait | S1 36 | */
static void students_of_a_block_part_company(void **state)
{
    (void)state;
    Made     m = {.blocks = 1, .devices = 2, .students = 2, .teacher_us = 12, .student_us = 36,
                  .slow_block = -1, .reduce_us = 5000, .samples = 50 * BATCH, .words = MANY};
    Trace   *trace;
    Scenario s;

    made(&m, &trace, &s);
    Comparison c = compared(&s, AHD_AND_SPLIT);
    assert_int_equal(c.rows[SCHEDULE_AHD].sim.epoch_ns, 50 * 84 * 1000);
    assert_int_equal(c.rows[SCHEDULE_SPLIT].sim.epoch_ns, 50 * 48 * 1000);
    assert_int_equal(c.rows[SCHEDULE_SPLIT].plan->task_count, 2);
    comparison_free(&c);
    unmake(trace, &s);
}

/* A search space: 80 blocks of 15 candidates on 64 devices, near the bound. */
static void many_students_are_balanced(void **state)
{
    (void)state;
    Made     m = {.blocks = 80, .devices = 64, .students = 15, .teacher_us = 3000,
                  .student_us = 9000, .slow_block = -1, .p2p_us = 20, .reduce_us = 4000,
                  .update_us = 20, .samples = 60 * BATCH, .seed = 7, .words = MANY};
    Trace   *trace;
    Scenario s;

    made(&m, &trace, &s);
    Comparison c = compared(&s, 1u << SCHEDULE_DPU | 1u << SCHEDULE_SPLIT);
    const Candidate *split = &c.rows[SCHEDULE_SPLIT];
    double step = (double)split->sim.epoch_ns / (double)s.steps;
    print_message("# 80 x 15 x 64: epoch of 60 steps %.1f %% above the bound, ahd's %.1f %%; %s\n",
                  100 * ((double)split->sim.epoch_ns / (double)split->bound_ns - 1),
                  100 * ((double)split->ahd_ns / (double)split->bound_ns - 1), split->method);
    assert_true(step > 0 && split->sim.epoch_ns < split->ahd_ns);
    assert_true((double)split->sim.epoch_ns < 1.1 * (double)split->bound_ns);
    comparison_free(&c);
    unmake(trace, &s);
}

/* ---- memory running out ---------------------------------------------------------------------- */

static void running_out_of_memory(void **state)
{
    (void)state;
    Made     m = {.blocks = 2, .devices = 2, .students = 2, .teacher_us = 12, .student_us = 36,
                  .slow_block = -1, .samples = 2 * BATCH, .words = MANY};
    Trace   *trace;
    Scenario s;

    made(&m, &trace, &s);
    for (long n = 1, step = 1;; n += step) {
        SplitResult result;
        Error       err = {""};
        alloc_fail_after(n);
        int  rc = split_search(&result, NULL, &s, &err);
        bool reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0) assert_string_equal(err.text, "out of memory");
        if (rc != 0) assert_int_equal(result.count, 0);
        split_result_free(&result);
        if (!reached) { assert_int_equal(rc, 0); assert_true(n > 100); break; }
        if (n > 200) step = 37;                  /* the rest is more of the same */
    }
    unmake(trace, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_without_teacher_trains),
        cmocka_unit_test(a_slow_student_moves_away),
        cmocka_unit_test(split_is_off_by_default),
        cmocka_unit_test(never_slower_than_ahd),
        cmocka_unit_test(a_list_of_one_is_no_list),
        cmocka_unit_test(students_add_up),
        cmocka_unit_test(students_of_a_block_part_company),
        cmocka_unit_test(many_students_are_balanced),
        cmocka_unit_test(running_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
