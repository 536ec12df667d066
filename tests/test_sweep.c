/* Sweeps: any number of threads gives the rows of one, and a sweep that is stopped has
 * answered the first points of the grid, whole. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "planner/report/sim_report.h"
#include "planner/whatif/sweep.h"

enum { POINTS = 24 };

typedef struct {
    char       *trace;
    Query    query;
    double      devices[2], lanes[3], steps[4];
    Axis        axes[3];
    Sweep       sweep;
    atomic_bool stop;
    int64_t     seen, stop_after;        /* -1: never */
} Grid;

/* Called by one thread at a time. */
static void count(void *context, int64_t points)
{
    Grid *g = context;

    g->seen += points;
    if (g->seen == g->stop_after) atomic_store(&g->stop, true);
}

static void grid_start(Grid *g, int jobs, int64_t stop_after)
{
    size_t length;

    *g = (Grid){
        .devices = {1, 2}, .lanes = {1, 2, 3}, .steps = {5, 6, 7, 8}, .stop_after = stop_after};
    g->trace = slurp(PIPEBD_ROOT "/tests/fixtures/plots/small.json", &length);
    g->query =
        (Query){.trace_name = "small",
                .trace_text = g->trace,
                .trace_length = length,
                .search = {.schedules = 1u << SCHEDULE_LS | 1u << SCHEDULE_AHD, .candidates = 4},
                .scenario = {.queue_depth = 2}};
    g->axes[0] = (Axis){"devices", g->devices, 2, EDIT_SET};
    g->axes[1] = (Axis){"loader.lanes", g->lanes, 3, EDIT_SET};
    g->axes[2] = (Axis){"steps", g->steps, 4, EDIT_SET};
    g->sweep = (Sweep){.query = &g->query, .axes = g->axes, .axis_count = 3, .jobs = jobs,
                       .stop = &g->stop, .progress = count, .context = g};
}

/* The report of a run, yours. */
static char *run(int jobs, int64_t stop_after, int64_t *done)
{
    Grid        g;
    SweepResult result;
    Text        text = {0};
    Error       err = {""};

    grid_start(&g, jobs, stop_after);
    if (sweep_run(&result, &g.sweep, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(result.points, POINTS);
    assert_int_equal(g.seen, result.done);
    for (int64_t i = 0; i < result.done * result.schedules; i++)
        assert_true(result.rows[i].why || result.rows[i].epoch_ns > 0);
    sweep_report_csv(&g.sweep, &result, &text);
    *done = result.done;
    sweep_free(&result);
    free(g.trace);
    return text.bytes;
}

static void threads_do_not_show(void **state)
{
    (void)state;
    int64_t done;
    char   *one = run(1, -1, &done);

    for (int jobs = 2; jobs <= 7; jobs++) {
        char *many = run(jobs, -1, &done);
        assert_int_equal(done, POINTS);
        assert_string_equal(many, one);
        free(many);
    }
    free(one);
}

/* One thread stops exactly there; each of several may finish the point it has begun. */
static void stopped_sweeps_are_prefixes(void **state)
{
    static const int jobs[] = {1, 2, 7};
    (void)state;
    int64_t done;
    char   *whole = run(1, -1, &done);

    for (int i = 0; i < 3; i++)
        for (int64_t stop = 1; stop < POINTS - 7; stop += 5) {
            char *part = run(jobs[i], stop, &done);
            assert_int_in_range(done, stop, stop + jobs[i] - 1);
            assert_memory_equal(part, whole, strlen(part));
            assert_int_equal(whole[strlen(part) - 1], '\n');
            int rows = 0;
            for (const char *c = part; *c; c++) rows += *c == '\n';
            assert_int_equal(rows, 1 + 2 * done);
            free(part);
        }
    free(whole);
}

/* A row whose epoch is an estimate has a note, which names its point. */
static void estimates_are_noted(void **state)
{
    (void)state;
    Grid        g;
    SweepResult result;
    Text        text = {0};
    Error       err = {""};

    grid_start(&g, 1, -1);
    if (sweep_run(&result, &g.sweep, &err) != 0) fail_msg("%s", err.text);
    sweep_report_csv(&g.sweep, &result, &text);
    assert_null(strstr(text_string(&text), "estimate"));
    text_free(&text);
    result.rows[2 * 17].least_ns = 1200000000;
    result.rows[2 * 17].most_ns = 1300000000;
    sweep_report_csv(&g.sweep, &result, &text);
    const char *note = strstr(text_string(&text),
                              "\n# note: devices 2, loader.lanes 2, steps 6, ls: the epoch is an "
                              "estimate, between 1.200 and 1.300 s: its steps do not repeat");
    assert_non_null(note);
    assert_null(strstr(note + 1, "\n# note: devices"));
    text_free(&text);
    sweep_free(&result);
    free(g.trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_show), cmocka_unit_test(stopped_sweeps_are_prefixes),
        cmocka_unit_test(estimates_are_noted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
