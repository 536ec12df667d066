/* pipebd-sim: one schedule or plan in the simulator, and what if its numbers were
 * others. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/options.h"
#include "base/progress.h"
#include "planner/report/sim_report.h"
#include "tools/cluster_options.h"
#include "tools/edits.h"
#include "tools/search_options.h"

enum { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON };
enum { TIMELINE_STEPS = 32 };

typedef struct {
    ScenarioOptions scenario;
    const char *schedules, *plan, *timeline, *output;
    OptionList  sets, scales, varies;
    int         cost, format, ls;
    double      time_limit;      /* seconds; 0: none */
    int64_t     top, jitter, seed, timeline_steps, jobs;
} SimSettings;

/* What the command line asks, as the library takes it. */
typedef struct {
    Query        query;
    char        *trace_text, *plan_text;
    CommandEdits e;
} Asked;

static atomic_bool interrupted;

static void interrupt(int signal)
{
    (void)signal;
    atomic_store(&interrupted, true);
}

/* The first SIGINT stops a sweep, which then writes what is done; the second kills, for
 * those who do not want to wait for the points begun. */
static void catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART | (int)SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

/* ---- the command line -------------------------------------------------------------- */

/* Options that would have no effect beside the others. */
static int check_options(const Option *table, const SimSettings *s, unsigned schedules, Error *err)
{
    static const struct { const char *name, *needs; } needs[] = {
        {"timeline-steps", "timeline"}, {"seed", "jitter"},
    };
    static const char *const searching[] = {"cost", "candidates", "ls", "time-limit"};
    bool many = __builtin_popcount(schedules) > 1,
        swept = s->varies.count || edits_has_lists(&s->scales);

    if (!s->plan == !s->schedules)
        return error_set(err, "expected one of --schedule LIST and --plan PLAN, see --help");
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (option_given(table, needs[i].name) && !option_given(table, needs[i].needs))
            return error_set(err, "--%s: no effect without --%s", needs[i].name, needs[i].needs);
    if (option_given(table, "jobs") && !swept)
        return error_set(err, "--jobs: no effect without --vary, or several factors of --scale");
    for (size_t i = 0; i < sizeof searching / sizeof *searching; i++)
        if (s->plan && option_given(table, searching[i]))
            return error_set(err, "--%s: no effect with --plan, where nothing is searched",
                             searching[i]);
    if (edits_check_replaced(table, &s->sets, "set", err) != 0
        || edits_check_replaced(table, &s->varies, "vary", err) != 0)
        return -1;
    if (!s->plan
        && search_options_check(table, s->ls, s->time_limit, schedules, "schedule", err) != 0)
        return -1;
    if (s->timeline && (swept || many))
        return error_set(err, "--timeline: shows one run, expected one schedule and no --vary");
    if (s->jitter && s->format == FORMAT_CSV && !swept)
        return error_set(err, "--jitter: no effect with --format csv of one run, a row a device "
                              "(json and table show it)");
    if (s->format == FORMAT_JSON && !swept && many)
        return error_set(err,
                         "--format json: holds one run, expected one schedule (csv holds several)");
    if (s->output && s->timeline && strcmp(s->output, s->timeline) == 0)
        return error_set(err, "--output and --timeline are the same file");
    return 0;
}

/* ---- one run -------------------------------------------------------------------------- */

static int write_text(const char *path, const Text *text, Error *err)
{
    if (text_failed(text)) return error_no_memory(err);
    return file_write(path ? path : "-", text_string(text), text->length, err);
}

static int write_timeline(const QueryResult *answer, const SimSettings *s, Error *err)
{
    int64_t steps = s->timeline_steps ? s->timeline_steps : TIMELINE_STEPS;
    Text    text = {0};

    if (steps > answer->scenario.steps) steps = answer->scenario.steps;
    int rc = query_result_timeline(answer, (Schedule)answer->comparison.best, steps, &text, err);
    if (rc == 0) rc = write_text(s->timeline, &text, err);
    if (rc == 0 && steps < answer->scenario.steps)
        fprintf(stderr,
                "pipebd-sim: the timeline shows the first %lld of %lld steps (--timeline-steps)\n",
                (long long)steps, (long long)answer->scenario.steps);
    text_free(&text);
    return rc;
}

/* Why the first schedule asked for is not possible. */
static int say_impossible(const QueryResult *answer, Error *err)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if ((answer->schedules & 1u << i) && answer->comparison.rows[i].why[0])
            return error_set(err, "%s is not possible: %s", schedule_name((Schedule)i),
                             answer->comparison.rows[i].why);
    return error_set(err, "no schedule is possible");
}

static int report_answer(const QueryResult *answer, const SimSettings *s, Error *err)
{
    Text text = {0};

    if (s->format == FORMAT_TABLE)    sim_report_table(answer, &text);
    else if (s->format == FORMAT_CSV) sim_report_csv(answer, &text);
    else                              sim_report_json(answer, &text);
    int rc = write_text(s->output, &text, err);
    text_free(&text);
    return rc;
}

static int run_one(const Asked *asked, const SimSettings *s, Error *err)
{
    bool        changed[2 * OPTION_MAX_LIST];
    QueryResult answer;
    Text        idle = {0};
    int         rc = -1;

    if (query_evaluate(&answer, &asked->query, asked->e.edits, asked->e.edit_count, changed, err)
        != 0)
        return -1;
    if (answer.comparison.best < 0) { say_impossible(&answer, err); goto done; }
    if (sweep_check_edits(&asked->query, &answer, changed, &idle, err) != 0) goto done;
    answer.comparison.idle = text_string(&idle);
    if (answer.other_trace)
        fprintf(stderr, "pipebd-sim: %s was made for another trace; priced on this one\n", s->plan);
    if (s->timeline && write_timeline(&answer, s, err) != 0) goto done;
    rc = report_answer(&answer, s, err);
done:
    query_result_free(&answer);
    text_free(&idle);
    return rc;
}

/* ---- sweeps --------------------------------------------------------------------------------- */

static void show_progress(void *progress, int64_t points)
{
    progress_add(progress, points);
}

static int report_sweep(const Sweep *sweep, const SweepResult *result, const SimSettings *s,
                        Error *err)
{
    Text text = {0};

    if (s->format == FORMAT_TABLE)    sweep_report_table(sweep, result, &text);
    else if (s->format == FORMAT_CSV) sweep_report_csv(sweep, result, &text);
    else                              sweep_report_json(sweep, result, &text);
    int rc = write_text(s->output, &text, err);
    text_free(&text);
    return rc;
}

static bool any_possible(const SweepResult *result)
{
    for (int64_t i = 0; i < result->done * result->schedules; i++)
        if (!result->rows[i].why) return true;
    return false;
}

/* Runs the sweep and reports it. What was done before an interruption is reported too, and is an
 * error then. */
static int run_sweep(const Asked *asked, const SimSettings *s, Error *err)
{
    Progress    progress;
    SweepResult result;
    Sweep       sweep = {.query = &asked->query, .edits = asked->e.edits,
                         .edit_count = asked->e.edit_count, .axes = asked->e.axes,
                         .axis_count = asked->e.axis_count, .jobs = (int)s->jobs,
                         .stop = &interrupted, .progress = show_progress, .context = &progress};
    Text        idle = {0};
    int         rc = -1;

    progress_start(&progress, "sweep", sweep_points(&sweep));
    if (sweep_run(&result, &sweep, err) != 0) { progress_end(&progress); return -1; }
    progress_end(&progress);
    signal(SIGINT, SIG_DFL);
    if (result.done < result.points) {
        if (report_sweep(&sweep, &result, s, err) == 0)
            error_set(err, "interrupted: %lld of %lld points are done and were written",
                      (long long)result.done, (long long)result.points);
        goto done;
    }
    if (!any_possible(&result)) {
        error_set(err, "no point is possible; the first: %s", result.rows[0].why);
        goto done;
    }
    if (sweep_check_effects(&sweep, &result, &idle, err) != 0) goto done;
    result.idle = text_string(&idle);
    rc = report_sweep(&sweep, &result, s, err);
done:
    sweep_free(&result);
    text_free(&idle);
    return rc;
}

/* ---- main ----------------------------------------------------------------------------------- */

/* Reads the files of the command line, fills the query, and runs it once or as a sweep. */
static int run(Asked *asked, const char *trace, const SimSettings *s, Error *err)
{
    Query *q = &asked->query;

    if (s->output && file_check_writable(s->output, err) != 0) return -1;
    if (s->timeline && file_check_writable(s->timeline, err) != 0) return -1;
    if (asked->e.axis_count) catch_interrupt();
    q->trace_name = trace;
    q->plan_name = s->plan;
    if (file_read(&asked->trace_text, &q->trace_length, trace, 0, err) != 0) return -1;
    if (s->plan && file_read(&asked->plan_text, &q->plan_length, s->plan, 0, err) != 0) return -1;
    q->trace_text = asked->trace_text;
    q->plan_text = asked->plan_text;
    q->scenario = s->scenario;
    q->search.cost = s->cost ? COST_PAPER : COST_SIM;
    q->search.candidates = (int)s->top;
    q->search.time_limit_ms = limit_ms(s->time_limit);
    q->search.ls = (LsMethod)s->ls;
    q->search.mip = SEARCH_MIP;
    q->jitter_runs = (int)s->jitter;
    q->seed = (uint64_t)s->seed;
    return asked->e.axis_count ? run_sweep(asked, s, err) : run_one(asked, s, err);
}

static void asked_free(Asked *asked)
{
    edits_free(&asked->e);
    free(asked->trace_text);
    free(asked->plan_text);
}

static const char epilogue[] =
    "With --schedule every point of a sweep is planned anew; with --plan the plan is\n"
    "fixed. PATH names a number of the trace or cluster (times in microseconds):\n"
    "  devices batch micro_batches steps epochs queue_depth memory_bytes step_us\n"
    "  network_us part_us process_bytes\n"
    "  storage[0].KEY or storage[NAME].KEY: read.us write.us size_bytes\n"
    "  loader.batch_us loader.sample_us loader.lanes loader.prefetch\n"
    "  loader.workers loader.cores\n"
    "  p2p.us allreduce.us nodes.p2p.us nodes.allreduce.us\n"
    "  blocks[3].KEY, blocks[NAME].KEY, or blocks.KEY for all; KEY is one of\n"
    "    teacher.us student.us forward.us backward.us update.us output_bytes\n"
    "    gradient_bytes\n"
    "    students[1].KEY or students[NAME].KEY: us forward.us backward.us update.us\n"
    "    gradient_bytes\n"
    "  device[2].slowdown\n"
    "--set applies first, then --scale, then --vary. An edit that does not change the\n"
    "result is an error, unless it sets the value that is there already; a note names\n"
    "the schedules that an edit does not affect.\n"
    "Ctrl-C stops a sweep: finished points are written, and the exit status is 130.\n"
    "\n"
    "Open the timeline at ui.perfetto.dev:\n"
    "  pipebd-sim trace.json --schedule ahd --timeline run.json\n"
    "Sweep a grid:\n"
    "  pipebd-sim trace.json --schedule dpu,ahd --vary devices=2,4,8 \\\n"
    "      --vary loader.lanes=1,8";

int main(int argc, char **argv)
{
    static const char *const costs[] = {"sim", "paper", NULL};
    static const char *const formats[] = {"table", "csv", "json", NULL};
    long     cores = sysconf(_SC_NPROCESSORS_ONLN);
    SimSettings s = {
        .scenario = {.queue_depth = 2}, .top = 8, .seed = 1, .jobs = cores > 0 ? cores : 1};
    Option   table[] = {
        {"schedule", 0, OPTION_STRING, "LIST",
         "Plan and simulate these schedules: dp, ls, tr, dpu, ir, ahd, split, sequential, store.",
         &s.schedules, 0, 0, NULL, false},
        {"plan", 0, OPTION_STRING, "PLAN", "Simulate this plan, a file of pipebd-plan -o.", &s.plan,
         0, 0,
         NULL, false},
        CLUSTER_OPTIONS(s.scenario),
        {"set", 0, OPTION_LIST, "PATH=VALUE", "Set a number of the trace or cluster.", &s.sets, 0,
         0, NULL, false},
        {"scale", 0, OPTION_LIST, "PATH=F[,F...]",
         "Multiply a number; several factors make a sweep.", &s.scales, 0, 0, NULL, false},
        {"vary", 0, OPTION_LIST, "PATH=V1,V2,...",
         "Sweep these values; several --vary make a grid.", &s.varies,
         0, 0, NULL, false},
        {"jobs", 0, OPTION_INTEGER, "N", "Threads that evaluate a sweep.", &s.jobs, 1, 1024, NULL,
         false},
        {"jitter", 0, OPTION_INTEGER, "N",
         "Also simulate N epochs with times drawn from the trace's spread and stalls.", &s.jitter,
         1, 1000000, NULL, false},
        {"seed", 0, OPTION_INTEGER, "S", "Seed of --jitter.", &s.seed, 0, (int64_t)1 << 53, NULL,
         false},
        {"cost", 0, OPTION_CHOICE, "sim|paper",
         "Cost model of the partition search: the simulator's, or the paper's.",
         &s.cost, 0, 0, costs, false},
        {"candidates", 0, OPTION_INTEGER, "N", "Partitions simulated for each schedule.", &s.top, 1,
         4096, NULL, false},
        LS_OPTIONS(s),
        {"timeline", 0, OPTION_STRING, "FILE",
         "Write a timeline for Perfetto or pipebd-plot gantt.", &s.timeline,
         0, 0, NULL, false},
        {"timeline-steps", 0, OPTION_INTEGER, "N", "Steps of the timeline (default: the first 32).",
         &s.timeline_steps, 1,
         100000, NULL, false},
        {"format", 0, OPTION_CHOICE, "table|csv|json", "Output format.", &s.format, 0, 0, formats,
         false},
        {"output", 'o', OPTION_STRING, "FILE", "Write the output to this file.", &s.output, 0, 0,
         NULL, false},
        {0},
    };
    Options  options = {
         "pipebd-sim", "TRACE --schedule LIST | --plan PLAN [options]",
         "Simulates an epoch: its time, what each device spends time and memory on, and "
         "what-if queries.",
         table, epilogue};
    Operands operands;
    Asked    asked = {0};
    Error    err = {""};
    unsigned *schedules = &asked.query.search.schedules;

    file_limits_are_errors();
    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (operands.count != 1) { error_set(&err, "expected one TRACE, see --help"); goto usage; }
    if (s.schedules && schedule_list(schedules, s.schedules, &err) != 0) {
        error_prefix(&err, "--schedule");
        goto usage;
    }
    if (check_options(table, &s, *schedules, &err) != 0) goto usage;
    if (edits_add(&asked.e, &s.sets, EDIT_SET, "set", &err) != 0
        || edits_add_scales(&asked.e, &s.scales, &err) != 0
        || edits_add_axes(&asked.e, &s.varies, EDIT_SET, "vary", &err) != 0)
        goto usage;
    int rc = run(&asked, operands.values[0], &s, &err);
    asked_free(&asked);
    if (rc == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-sim: %s\n", err.text);
    return atomic_load(&interrupted) ? EXIT_INTERRUPTED : EXIT_FAILED;
usage:
    asked_free(&asked);
    fprintf(stderr, "pipebd-sim: %s\n", err.text);
    return EXIT_USAGE;
}
