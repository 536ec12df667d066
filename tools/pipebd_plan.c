/* pipebd-plan: a trace in, all schedules compared, the fastest chosen; or a plan checked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/options.h"
#include "planner/whatif/sensitivity.h"
#include "planner/check/check_report.h"
#include "planner/report/report.h"
#include "tools/cluster_options.h"
#include "tools/edits.h"
#include "tools/search_options.h"

enum { SENSITIVITY_AUTO, SENSITIVITY_YES, SENSITIVITY_NO };

typedef struct {
    ScenarioOptions scenario;
    const char *schedules, *order, *output, *check;
    int         cost, format, ls, sensitivity;
    int64_t     top;
    double      time_limit;      /* seconds; 0: none */
    Order       devices;         /* what order says */
    const char *command;         /* the whole line */
    OptionList  sets, scales;
    CommandEdits edits;
    bool        tiers_too;       /* sequential and store too, where the trace has tiers */
} PlanSettings;

static int print_report(const Comparison *comparison, const Scenario *scenario, int format,
                        Error *err)
{
    Text text = {0};
    int  rc = report(comparison, scenario, (ReportFormat)format, &text, err);

    if (rc == 0) rc = file_write("-", text_string(&text), text.length, err);
    text_free(&text);
    return rc;
}

static CompareOptions compare_options(const PlanSettings *settings, unsigned schedules)
{
    return (CompareOptions){.schedules = schedules, .tiers_too = settings->tiers_too,
                            .cost = settings->cost ? COST_PAPER : COST_SIM,
                            .candidates = (int)settings->top,
                            .time_limit_ms = limit_ms(settings->time_limit),
                            .ls = (LsMethod)settings->ls, .mip = SEARCH_MIP,
                            .order = settings->devices};
}

static int suit_order(const PlanSettings *settings, const Scenario *scenario, Error *err)
{
    if (settings->order && settings->devices.kind != ORDER_LISTED && !scenario_is_mixed(scenario))
        return error_set(err, "--order %s: no effect, as all devices are alike", settings->order);
    return order_check(&settings->devices, scenario, err) == 0 ? 0 : error_prefix(err, "--order");
}

/* ---- planning ---------------------------------------------------------------------- */

/* How far inputs may move, where a report tells it: on request, or when it is soon done. */
static int find_margins(Sensitivities *margins, Comparison *comparison, const SensitivityJob *job,
                        const PlanSettings *settings, Error *err)
{
    bool printed =
        settings->format != REPORT_CSV && !(settings->output && strcmp(settings->output, "-") == 0);

    if (!printed || settings->sensitivity == SENSITIVITY_NO) return 0;
    if (sensitivity_list(margins, job, err) != 0) return -1;
    comparison->margins = margins;
    return settings->sensitivity == SENSITIVITY_YES || margins->work <= SENSITIVITY_WORK
               ? sensitivity_find(margins, job, err)
               : 0;
}

/* Instructions of the longest epoch that was simulated. */
static int64_t most_simulated(const Comparison *comparison)
{
    int64_t most = comparison->rows[comparison->best].sim.simulated;

    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (comparison->rows[i].longest > most) most = comparison->rows[i].longest;
    return most;
}

/* Edits that change nothing are refused, those that change some schedules alone are said. */
static int check_edits(const char *name, const char *text, size_t length,
                       const PlanSettings *settings, const CompareOptions *options, Text *idle,
                       Error *err)
{
    Query       query = {.trace_name = name, .trace_text = text, .trace_length = length,
                         .search = *options, .scenario = settings->scenario};
    bool        changed[2 * OPTION_MAX_LIST];
    QueryResult result;

    if (settings->edits.edit_count == 0) return 0;
    if (query_evaluate(&result, &query, settings->edits.edits, settings->edits.edit_count, changed,
                       err)
        != 0)
        return -1;
    int rc = sweep_check_edits(&query, &result, changed, idle, err);
    query_result_free(&result);
    return rc;
}

/* Plans for a trace's text with the command's edits, writes the plan, measures sensitivities and
 * prints the report. */
static int plan_text_of(const char *name, const char *text, size_t length,
                        const PlanSettings *settings, unsigned schedules, Error *err)
{
    Trace         *trace = NULL;
    Scenario       scenario = {0};
    Comparison     comparison = {.best = -1};
    CompareOptions options = compare_options(settings, schedules);
    Sensitivities  margins = {0};
    ScenarioOptions cluster = settings->scenario;
    const CommandEdits *e = &settings->edits;
    Text           idle = {0};
    int            rc = -1;

    if (trace_parse(&trace, name, text, length, err) != 0) goto done;
    if (whatif_apply_all(trace, &cluster, e->edits, e->edit_count, NULL, err) != 0) goto done;
    if (scenario_build(&scenario, trace, &cluster, err) != 0) goto done;
    if (suit_order(settings, &scenario, err) != 0) goto done;
    if (compare(&comparison, &scenario, &options, err) != 0) goto done;
    const Candidate *best = &comparison.rows[comparison.best];
    if (check_edits(name, text, length, settings, &options, &idle, err) != 0) goto done;
    comparison.command = settings->command;
    comparison.edits = e->edits;
    comparison.edit_count = e->edit_count;
    comparison.idle = text_string(&idle);
    if (settings->output && plan_write(best->plan, settings->output, err) != 0) goto done;
    SensitivityJob job = {name, text, length, cluster, options,
                          best->plan,
                          best->sim.simulated,
                          most_simulated(&comparison),
                          e->edits,
                          e->edit_count,
                          (int)sysconf(_SC_NPROCESSORS_ONLN)};
    if (find_margins(&margins, &comparison, &job, settings, err) != 0) goto done;
    rc = 0;
    if (!settings->output || strcmp(settings->output, "-") != 0)
        rc = print_report(&comparison, &scenario, settings->format, err);
done:
    sensitivity_free(&margins);
    comparison_free(&comparison);
    scenario_free(&scenario);
    trace_free(trace);
    text_free(&idle);
    return rc;
}

static int plan(const char *path, const PlanSettings *settings, unsigned schedules, Error *err)
{
    char  *text;
    size_t length;

    if (settings->output && file_check_writable(settings->output, err) != 0) return -1;
    if (file_read(&text, &length, path, 0, err) != 0) return -1;
    int rc = plan_text_of(strcmp(path, "-") == 0 ? "<stdin>" : path, text, length, settings,
                          schedules, err);
    free(text);
    return rc;
}

/* ---- checking ---------------------------------------------------------------------- */

static int print_check(const CheckReport *report, const Scenario *scenario, int format, Error *err)
{
    Text text = {0};

    check_report(report, scenario, (ReportFormat)format, &text);
    int rc = text_failed(&text) ? error_no_memory(err)
                                : file_write("-", text_string(&text), text.length, err);
    text_free(&text);
    return rc;
}

/* The plan under the simulator, and what the planner would do. */
static int price(const Plan *plan, const CheckedPlan *checked, const Scenario *scenario,
                 const PlanSettings *settings, unsigned schedules, Error *err)
{
    CompareOptions options = compare_options(settings, schedules | 1u << plan->schedule);
    Comparison     comparison = {.best = -1};
    Candidate      priced = {0};
    Plan          *copy = NULL;
    int            rc = -1;

    if (plan_copy(&copy, plan, err) != 0) return -1;
    if (candidate_price(&priced, copy, scenario, err) != 0) goto done;
    if (!priced.plan) { error_set(err, "%s: %s", settings->check, priced.why); goto done; }
    if (compare_rows(&comparison, scenario, &options, err) != 0) goto done;
    if (compare_bound(&comparison.bound_ns, scenario, err) != 0) goto done;
    CheckReport report = {plan, settings->check, checked, &priced, &comparison};
    rc = print_check(&report, scenario, settings->format, err);
done:
    candidate_free(&priced);
    comparison_free(&comparison);
    return rc;
}

/* Devices and batch are the plan's where the command line leaves them open. */
static int check(const char *path, const PlanSettings *settings, unsigned schedules, Error *err)
{
    ScenarioOptions options = settings->scenario;
    Trace          *trace = NULL;
    Plan           *plan = NULL;
    Scenario        scenario = {0};
    CheckedPlan     checked = {0};
    int             rc = -1;

    if (trace_read(&trace, path, err) != 0) goto done;
    if (plan_read(&plan, settings->check, err) != 0) goto done;
    if (!options.devices) options.devices = plan->device_count;
    if (!options.batch) options.batch = plan->batch;
    if (!options.epochs && plan->stored) options.epochs = plan->epochs;
    if (scenario_build(&scenario, trace, &options, err) != 0) goto done;
    if (suit_order(settings, &scenario, err) != 0) goto done;
    if (check_plan(&checked, plan, &scenario, err) != 0) {
        error_prefix(err, "%s", settings->check);
        goto done;
    }
    rc = price(plan, &checked, &scenario, settings, schedules, err);
done:
    check_free(&checked);
    plan_free(plan);
    scenario_free(&scenario);
    trace_free(trace);
    return rc;
}

/* Reads what options hold, and refuses those that do not go together or have no effect. *devices is
 * what s->devices borrows, the caller's to free. */
static int check_usage(PlanSettings *s, const Option *table, unsigned *schedules, int **devices,
                       Error *err)
{
    if (schedule_list(schedules, s->schedules, err) != 0) return error_prefix(err, "--schedules");
    s->tiers_too = !option_given(table, "schedules");
    if (search_options_check(table, s->ls, s->time_limit, *schedules, "schedules", err) != 0)
        return -1;
    if (s->order && order_parse(&s->devices, devices, s->order, err) != 0)
        return error_prefix(err, "--order");
    if (s->sensitivity == SENSITIVITY_YES
        && (s->check || s->format == REPORT_CSV || (s->output && strcmp(s->output, "-") == 0)))
        return error_set(err, "--sensitivity: no effect with --check, --format csv or -o -, which "
                              "do not print it");
    if (s->check && s->output)
        return error_set(err, "--output: no effect with --check, which makes no plan");
    if (s->check && (s->sets.count || s->scales.count))
        return error_set(err, "--%s: no effect with --check; pipebd-sim --plan evaluates a plan on "
                              "changed numbers", s->sets.count ? "set" : "scale");
    if (edits_check_replaced(table, &s->sets, "set", err) != 0
        || edits_add(&s->edits, &s->sets, EDIT_SET, "set", err) != 0)
        return -1;
    return edits_add(&s->edits, &s->scales, EDIT_SCALE, "scale", err);
}

static int run(const char *path, PlanSettings *s, unsigned schedules, int argc, char **argv,
               Error *err)
{
    Text command = {0};
    int  rc;

    text_command(&command, argc, argv);
    s->command = text_string(&command);
    if (text_failed(&command)) rc = error_no_memory(err);
    else rc = (s->check ? check : plan)(path, s, schedules, err);
    text_free(&command);
    return rc;
}

int main(int argc, char **argv)
{
    static const char *const costs[] = {"sim", "paper", NULL};
    static const char *const answers[] = {"auto", "yes", "no", NULL};
    static const char *const formats[] = {"table", "csv", "json", NULL};
    PlanSettings s = {.scenario = {.queue_depth = 2}, .schedules = "dp,ls,tr,dpu,ir,ahd", .top = 8};
    Option table[] = {
        CLUSTER_OPTIONS(s.scenario),
        {"set", 0, OPTION_LIST, "PATH=VALUE",
         "What if: set a number of the trace; pipebd-sim --help lists the PATHs.",
         &s.sets, 0, 0, NULL, false},
        {"scale", 0, OPTION_LIST, "PATH=FACTOR", "What if: multiply a number of the trace.",
         &s.scales, 0, 0, NULL, false},
        {"schedules", 0, OPTION_STRING, "LIST",
         "Schedules to compare, of these and split, sequential, store. If the trace has storage, "
         "sequential and store are compared by default too.", &s.schedules, 0, 0, NULL, false},
        {"cost", 0, OPTION_CHOICE, "sim|paper",
         "Cost model of the partition search: the simulator's, or the paper's.",
         &s.cost, 0, 0, costs, false},
        {"order", 0, OPTION_STRING, "search|given|D,D,...",
         "Order of heterogeneous devices along the stages: searched, as the trace lists them, or "
         "this one (default: search).",
         &s.order, 0, 0, NULL, false},
        {"candidates", 0, OPTION_INTEGER, "N", "Partitions simulated for each schedule.", &s.top, 1,
         4096, NULL, false},
        LS_OPTIONS(s),
        {"sensitivity", 0, OPTION_CHOICE, "auto|yes|no",
         "Sensitivity: how far each input may move before another plan wins; auto: only if that is "
         "quick.",
         &s.sensitivity, 0, 0, answers, false},
        {"format", 0, OPTION_CHOICE, "table|csv|json", "Output format.", &s.format, 0, 0, formats,
         false},
        {"output", 'o', OPTION_STRING, "PLAN",
         "Write the fastest plan to this file; -: to standard output, instead of the report.",
         &s.output, 0, 0, NULL, false},
        {"check", 0, OPTION_STRING, "PLAN",
         "Check and evaluate this plan, stage by stage, instead of making one.",
         &s.check, 0, 0, NULL, false},
        {0},
    };
    Options  options = {
         "pipebd-plan", "TRACE [options]",
         "Compares the schedules of blockwise distillation on a trace, and chooses the "
         "fastest plan.",
         table, NULL};
    Operands operands;
    Error    err = {""};
    unsigned schedules = 0;
    int     *devices = NULL, status = EXIT_USAGE;

    file_limits_are_errors();
    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto done;
    if (operands.info) return options_info(&options, operands.info);
    if (operands.count != 1) { error_set(&err, "expected one TRACE, see --help"); goto done; }
    if (check_usage(&s, table, &schedules, &devices, &err) != 0) goto done;
    status = run(operands.values[0], &s, schedules, argc, argv, &err) == 0 ? EXIT_OK : EXIT_FAILED;
done:
    edits_free(&s.edits);
    free(devices);
    if (status != EXIT_OK) fprintf(stderr, "pipebd-plan: %s\n", err.text);
    return status;
}
