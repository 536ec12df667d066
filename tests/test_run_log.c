/* The log of a run: what is written is what is read, samples lose nothing, a file that is cut
 * off anywhere goes on. */
#include "tests/support.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/lines.h"
#include "base/rng.h"
#include "executor/monitor/run_sampler.h"
#include "plots/log.h"

/* ---- lines -------------------------------------------------------------------- */

static void add_line(Lines *lines, const char *text)
{
    Error err = {""};

    if (lines_add(lines, text, strlen(text), &err) != 0) fail_msg("%s", err.text);
}

/* A writer may be killed within a line: at every length of the file, what is opened again has
 * the whole lines, and goes on behind them. */
static void a_file_cut_anywhere_goes_on(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/x", folder);
    const char *whole = "first\nsecond line\n\nlast\n";

    for (size_t cut = 0; cut <= strlen(whole); cut++) {
        char  *kept = format_text("%.*s", (int)cut, whole), *expected, *found;
        Lines *lines;
        Error  err = {""};
        spill(path, kept);
        char *end = strrchr(kept, '\n');
        size_t good = end ? (size_t)(end - kept) + 1 : 0;
        expected = format_text("%.*snew\n", (int)good, whole);
        assert_int_equal(lines_open(&lines, path, true, &err), 0);
        assert_int_equal(lines_torn(lines), cut - good);
        if (good) assert_string_equal(lines_first(lines), "first");
        else      assert_null(lines_first(lines));
        add_line(lines, "new");
        assert_int_equal(lines_close(lines, &err), 0);
        found = slurp(path, NULL);
        assert_string_equal(found, expected);
        free(found);
        free(expected);
        free(kept);
    }
    free(path);
    temp_remove(folder);
}

static void what_may_not_be_written_is_refused(void **state)
{
    (void)state;
    char  *folder = temp_make(), *path = format_text("%s/x", folder);
    Lines *first, *second;
    Error  err = {""};

    assert_int_equal(lines_open(&first, folder, false, &err), -1);
    assert_non_null(strstr(err.text, "cannot be written"));
    assert_int_equal(lines_open(&first, path, false, &err), 0);
    assert_int_equal(lines_open(&second, path, true, &err), -1);
    assert_non_null(strstr(err.text, "another process writes to it"));
    add_line(first, "a line");
    assert_int_equal(lines_close(first, &err), 0);
    assert_int_equal(lines_open(&second, path, false, &err), -1);
    assert_non_null(strstr(err.text, "is there already"));
    free(path);
    temp_remove(folder);
}

/* The file may grow to 100 bytes only: the line that does not fit is not there, not even its
 * beginning. */
static void a_line_that_does_not_fit_is_not_there(void **state)
{
    (void)state;
    char         *folder = temp_make(), *path = format_text("%s/x", folder), *found;
    struct rlimit before, tight;
    Lines        *lines;
    Error         err = {""};
    int           written = 0;

    assert_int_equal(lines_open(&lines, path, false, &err), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = (struct rlimit){100, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    while (written < 100 && lines_add(lines, "0123456789abcdef", 16, &err) == 0) written++;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(written, 5);                /* of 17 bytes */
    assert_non_null(strstr(err.text, "cannot be written"));
    add_line(lines, "more");                     /* once there is room again */
    assert_int_equal(lines_close(lines, &err), 0);
    found = slurp(path, NULL);
    assert_int_equal(strlen(found), 5 * 17 + 5);
    assert_string_equal(found + 5 * 17, "more\n");
    free(found);
    free(path);
    temp_remove(folder);
}

static void a_full_device_is_an_error(void **state)
{
    (void)state;
    Lines *lines;
    Error  err = {""};

    if (access("/dev/full", W_OK) != 0) skip();
    assert_int_equal(lines_open(&lines, "/dev/full", false, &err), 0);
    assert_int_equal(lines_add(lines, "x", 1, &err), -1);
    assert_string_equal(err.text, "/dev/full: cannot be written: No space left on device");
    lines_close(lines, NULL);
}

/* ---- samples ---------------------------------------------------------------------- */

enum { BLOCKS = 3, EVERY = 4, BATCH = 10 };

/* Blocks in any order, a writer that comes when it comes: the samples' steps and losses add up
 * to those of the run, and the first is made at the first multiple. */
static void samples_lose_nothing(void **state)
{
    (void)state;
    uint64_t seed = test_seed("samples", 7);

    for (int round = 0; round < 50; round++) {
        Rng          rng = {.seed = seed + (uint64_t)round};
        int64_t      from[BLOCKS], step[BLOCKS], total = 0, steps = 0, updates = 0, now = 1000;
        double       sum[BLOCKS] = {0}, seen[BLOCKS] = {0};
        int64_t      count[BLOCKS] = {0};
        StatusBoard *board;
        RunSampler  *s;
        Error        err = {""};
        const LogProgress *p;
        for (int b = 0; b < BLOCKS; b++) {
            from[b] = step[b] = rng_range(&rng, 0, 9);
            total += from[b];
        }
        assert_int_equal(status_board_new(&board, 2, &err), 0);
        assert_int_equal(sampler_new(&s, BLOCKS, from, BATCH, EVERY, board, &err), 0);
        sampler_start(s, now);
        int64_t before = total / BLOCKS, last = before;
        bool    first = true;
        for (int i = 0; i < 200; i++) {
            int    b = (int)rng_range(&rng, 0, BLOCKS - 1);
            double loss = 1.0 / (1 + i);
            bool   waiting = !first && sampler_take(s) != NULL;
            now += 10;
            bool made = sampler_update(s, b, step[b]++, loss, now);
            assert_false(made && waiting);
            sum[b] += loss;
            count[b]++;
            updates++;
            if (made && first) {
                assert_int_equal((total + updates) / BLOCKS, (before / EVERY + 1) * EVERY);
                first = false;
            }
            if (rng_range(&rng, 0, 3) || !(p = sampler_take(s))) continue;
            assert_int_equal(p->step - p->steps, last);
            last = p->step;
            steps += p->steps;
            for (int k = 0; k < BLOCKS; k++)
                if (!isnan(p->loss[k])) {
                    seen[k] += p->loss[k] * (double)(p->block_step[k] - from[k]);
                    from[k] = p->block_step[k];
                }
            sampler_done(s);
        }
        for (int twice = 0; twice < 2; twice++) {        /* what waits, and the rest */
            sampler_finish(s, now + 10);
            if (!(p = sampler_take(s))) continue;
            steps += p->steps;
            for (int k = 0; k < BLOCKS; k++)
                if (!isnan(p->loss[k])) {
                    seen[k] += p->loss[k] * (double)(p->block_step[k] - from[k]);
                    from[k] = p->block_step[k];
                }
            sampler_done(s);
        }
        assert_null(sampler_take(s));
        assert_int_equal(steps, (total + updates) / BLOCKS - total / BLOCKS);
        for (int b = 0; b < BLOCKS; b++) {
            assert_int_equal(from[b], step[b]);
            assert_true(fabs(seen[b] - sum[b]) < 1e-9);
        }
        sampler_free(s);
        status_board_free(board);
    }
}

/* Two devices over 100 ns: one works 60 and waits 30, of the other nothing is known. */
static void shares_are_of_the_time_between(void **state)
{
    (void)state;
    StatusBoard *board;
    RunSampler  *s;
    Error        err = {""};
    int64_t      from[1] = {0};

    assert_int_equal(status_board_new(&board, 2, &err), 0);
    assert_int_equal(sampler_new(&s, 1, from, BATCH, 1, board, &err), 0);
    status_board_count(board, 0, OP_TEACHER, 0, 5000);        /* before the run */
    sampler_start(s, 1000);
    status_board_set(board, 0,
                     &(DeviceStatus){.state = DEVICE_WORKING, .op = OP_RECV, .since_ns = 1000});
    status_board_count(board, 0, OP_TEACHER, 0, 60);
    status_board_count(board, 0, OP_RECV, 30, 0);
    status_board_step(board, 0, 5090);
    status_board_bytes(board, 0, 77);
    assert_true(sampler_update(s, 0, 0, 0.5, 1100));
    const LogProgress *p = sampler_take(s);
    assert_non_null(p);
    assert_true(fabs(p->devices[0].work - 0.6) < 1e-9 && fabs(p->devices[0].wait - 0.3) < 1e-9);
    assert_true(fabs(p->devices[0].wait_by[OP_RECV] - 0.3) < 1e-9
                && fabs(p->devices[0].own) < 1e-9);
    assert_int_equal(p->devices[0].bytes, 77);
    assert_true(p->devices[0].known);
    assert_false(p->devices[1].known);
    assert_true(fabs(p->images_per_s - 1e9 * BATCH / 100) < 1);
    assert_true(fabs(p->time_s - 100e-9) < 1e-15);
    sampler_done(s);
    sampler_free(s);
    status_board_free(board);
}

/* ---- written and read ----------------------------------------------------------------- */

static const char workload_text[] =
    "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"a \\\"b\\\"\", \"input\": "
    "{\"channels\": 1, \"height\": 2, "
    "\"width\": 2}, \"batch\": 10, \"samples\": 40, \"training\": {\"learning_rate\": 0.1}, "
    "\"blocks\": ["
    "{\"name\": \"x\", \"loss\": \"mse\", \"teacher\": [{\"layer\": \"relu\"}], \"student\": "
    "[{\"layer\": \"conv\", \"out\": 1, \"kernel\": 1}]},"
    "{\"name\": \"y\", \"loss\": \"mse\", \"teacher\": [{\"layer\": \"relu\"}], \"student\": "
    "[{\"layer\": \"conv\", \"out\": 1, \"kernel\": 1}]}]}";

static void a_log_is_read_as_it_was_written(void **state)
{
    (void)state;
    char     *folder = temp_make(), *path = format_text("%s/log.jsonl", folder);
    Workload *workload;
    Plan     *plan;
    RunLog   *log;
    LoggedRun       found;
    size_t    torn;
    Error     err = {""};
    LogDevice devices[2] = {
        {.known = true, .work = 0.5, .wait = 0.25, .wait_by = {[OP_RECV] = 0.25}, .bytes = 9}, {0}};

    if (workload_parse(&workload, "w", workload_text, strlen(workload_text), &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(plan_new(&plan, SCHEDULE_DPU, 2, 2, 10, 2, &err), 0);
    for (int s = 0; s < 2; s++) assert_int_equal(plan_set_stage(plan, s, s, s, s, 1, &err), 0);
    LogFacts facts = {.workload = workload,
                      .plan = plan,
                      .device_kind = "a \"core\"",
                      .seed = 3,
                      .samples = 40,
                      .steps_per_epoch = 4,
                      .total_steps = 8,
                      .every = 2,
                      .block_step = (int64_t[]){0, 0}};
    assert_int_equal(run_log_open(&log, path, &facts, &torn, &err), 0);
    LogProgress p = {.time_s = 1.5, .step = 2, .steps = 2, .images_per_s = INFINITY,
                     .loss = (double[]){0.125, NAN},
                     .block_step = (int64_t[]){3, 1},
                     .devices = devices,
                     .resident_bytes = 12};
    assert_int_equal(run_log_progress(log, &p, &err), 0);
    LogReplan again = {.step = 2, .factors = (double[]){1, 1.5}, .before_s = 2};
    assert_int_equal(run_log_replan(log, &again, &err), 0);
    again.plan = plan;
    again.after_s = 1;
    assert_int_equal(run_log_replan(log, &again, &err), 0);
    assert_int_equal(run_log_end(log,
                                 &(LogEnd){.why = "failed",
                                           .error = "no \"luck\"",
                                           .step = 2,
                                           .images_per_s = 3,
                                           .loss = p.loss,
                                           .teacher_accuracy = NAN,
                                           .before_accuracy = NAN,
                                           .after_accuracy = NAN},
                                 &err),
                     0);
    assert_int_equal(run_log_close(log, &err), 0);
    facts.resumed = true;
    facts.block_step = (int64_t[]){3, 0};
    assert_int_equal(run_log_open(&log, path, &facts, &torn, &err), 0);
    assert_int_equal(run_log_close(log, &err), 0);
    if (log_read(&found, path, &err) != 0) fail_msg("%s", err.text);
    assert_string_equal(found.workload, "a \"b\"");
    assert_string_equal(found.schedule, "dpu");
    assert_string_equal(found.block_names[1], "y");
    assert_int_equal(found.point_count, 1);
    assert_int_equal(found.total_steps, 8);
    assert_true(found.points[0].loss[0] == 0.125 && isnan(found.points[0].loss[1]));
    assert_true(isnan(found.points[0].images_per_s));
    assert_true(found.points[0].wait[0] == 0.25 && isnan(found.points[0].wait[1]));
    assert_int_equal(found.points[0].block_step[0], 3);
    assert_int_equal(found.points[0].block_step[1], -1);     /* lost: the checkpoint has it at 0 */
    assert_true(found.points[0].lost);
    assert_int_equal(found.mark_count, 1);
    assert_int_equal(found.marks[0].step, 1);
    log_free(&found);
    workload->hash++;
    assert_int_equal(run_log_open(&log, path, &facts, &torn, &err), -1);
    assert_non_null(strstr(err.text, "the log of another workload"));
    spill(path, "{\"format\": \"pipebd-plan\", \"version\": 1}\n");
    assert_int_equal(run_log_open(&log, path, &facts, &torn, &err), -1);
    assert_non_null(strstr(err.text, "pipebd-log"));
    plan_free(plan);
    workload_free(workload);
    free(path);
    temp_remove(folder);
}

/* ---- fixtures ---------------------------------------------------------------------------- */

static void read_good(const char *path, const char *expected, void *context)
{
    LoggedRun   log;
    Error err = {""};

    (void)expected;
    (void)context;
    if (log_read(&log, path, &err) != 0) fail_msg("%s", err.text);
    assert_string_equal(log.workload, "small");
    assert_int_equal(log.blocks, 2);
    log_free(&log);
}

static void refuse_bad(const char *path, const char *expected, void *context)
{
    LoggedRun   log;
    Error err = {""};

    (void)context;
    assert_int_equal(log_read(&log, path, &err), -1);
    log_free(&log);
    const char *name = strrchr(path, '/') + 1, *found = strstr(err.text, name);
    fixture_refused(path, expected, found ? found : err.text);      /* without the folder */
}

static void fixtures_are_read_or_refused(void **state)
{
    (void)state;
    fixtures_each("log", "good", read_good, NULL);
    fixtures_each("log", "bad", refuse_bad, NULL);
}

/* Steps 6 and 4 were in the checkpoint: of block 0 the lines up to 6 count, of block 1 up to 4. */
static void a_resume_takes_back_what_was_lost(void **state)
{
    (void)state;
    LoggedRun   log;
    Error err = {""};

    if (log_read(&log, PIPEBD_ROOT "/tests/fixtures/log/good/resumed.jsonl", &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(log.point_count, 6);
    for (int i = 0; i < 4; i++) {
        int64_t step = 2 * (i + 1);
        assert_int_equal(log.points[i].step, step);
        assert_int_equal(log.points[i].lost, step > 5);
        assert_int_equal(log.points[i].block_step[0], step <= 6 ? step : -1);
        assert_int_equal(log.points[i].block_step[1], step <= 4 ? step : -1);
    }
    assert_int_equal(log.points[4].block_step[0], 7);
    assert_false(log.points[5].lost);
    assert_int_equal(log.devices, 3);
    assert_int_equal(log.points[0].devices, 2);
    assert_int_equal(log.marks[0].step, 5);
    log_free(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_anywhere_goes_on),
        cmocka_unit_test(what_may_not_be_written_is_refused),
        cmocka_unit_test(a_line_that_does_not_fit_is_not_there),
        cmocka_unit_test(a_full_device_is_an_error),
        cmocka_unit_test(samples_lose_nothing),
        cmocka_unit_test(shares_are_of_the_time_between),
        cmocka_unit_test(a_log_is_read_as_it_was_written),
        cmocka_unit_test(fixtures_are_read_or_refused),
        cmocka_unit_test(a_resume_takes_back_what_was_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
