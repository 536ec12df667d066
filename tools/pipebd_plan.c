/* pipebd-plan: a trace in, all schedules compared, the fastest chosen. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"
#include "planner/report.h"

typedef struct {
    ScenarioOptions scenario;
    const char *schedules, *output;
    int         cost, format;
    int64_t     top, glpk_ms;
} Settings;

static int table_report(const Comparison *comparison, const Scenario *scenario, Text *text, Error *err)
{
    Text missing = {0};

    report_table(comparison, scenario, text);
    text_append(text, "\n");
    int rc = report_gantt(comparison->rows[comparison->best].plan, scenario, text, err);
    scenario_missing(scenario, &missing);
    if (missing.length) text_printf(text, "\nnot in this trace:\n%s", text_string(&missing));
    text_free(&missing);
    return rc;
}

static int print_report(const Comparison *comparison, const Scenario *scenario, int format, Error *err)
{
    Text text = {0};
    int  rc = 0;

    if (format == 0)      rc = table_report(comparison, scenario, &text, err);
    else if (format == 1) report_csv(comparison, &text);
    else                  report_json(comparison, scenario, &text);
    if (rc == 0 && text_failed(&text)) rc = error_no_memory(err);
    if (rc == 0) rc = file_write("-", text_string(&text), text.length, err);
    text_free(&text);
    return rc;
}

static int plan(const char *path, const Settings *settings, unsigned schedules, Error *err)
{
    Trace         *trace = NULL;
    Scenario       scenario = {0};
    Comparison     comparison = {.best = -1};
    CompareOptions options = {schedules, settings->cost ? COST_PAPER : COST_SIM, (int)settings->top,
                              (int)settings->glpk_ms};
    int            rc = -1;

    if (trace_read(&trace, path, err) != 0) goto done;
    if (scenario_build(&scenario, trace, &settings->scenario, err) != 0) goto done;
    if (compare(&comparison, &scenario, &options, err) != 0) goto done;
    if (settings->output && plan_write(comparison.rows[comparison.best].plan, settings->output, err) != 0)
        goto done;
    rc = 0;
    if (!settings->output || strcmp(settings->output, "-") != 0)
        rc = print_report(&comparison, &scenario, settings->format, err);
done:
    comparison_free(&comparison);
    scenario_free(&scenario);
    trace_free(trace);
    return rc;
}

int main(int argc, char **argv)
{
    static const char *const costs[] = {"sim", "paper", NULL};
    static const char *const formats[] = {"table", "csv", "json", NULL};
    Settings s = {.scenario = {.queue_depth = 2}, .schedules = "dp,ls,tr,dpu,ir,ahd", .top = 8, .glpk_ms = 2000};
    Option table[] = {
        {"devices", 0, OPTION_INTEGER, "N", "Use the first N devices, or more of the last kind.",
         &s.scenario.devices, 1, TRACE_MAX_DEVICES, NULL, false},
        {"batch", 0, OPTION_INTEGER, "B", "The global batch, instead of the trace's.",
         &s.scenario.batch, 1, (int64_t)1 << 31, NULL, false},
        {"steps", 0, OPTION_INTEGER, "N", "Steps of an epoch, instead of samples / batch.",
         &s.scenario.steps, 1, (int64_t)1 << 40, NULL, false},
        {"memory", 0, OPTION_BYTES, "BYTES", "Memory of every device, such as 40GiB.",
         &s.scenario.memory_bytes, 1, 0, NULL, false},
        {"queue-depth", 0, OPTION_INTEGER, "N", "Messages that a relay queue holds.",
         &s.scenario.queue_depth, 1, 1024, NULL, false},
        {"extrapolate", 0, OPTION_FLAG, NULL, "Continue costs beyond the measured points.",
         &s.scenario.extrapolate, 0, 0, NULL, false},
        {"schedules", 0, OPTION_STRING, "LIST", "Compare only these.", &s.schedules, 0, 0, NULL, false},
        {"cost", 0, OPTION_CHOICE, "sim|paper", "What the partition search minimises; paper: the original's.",
         &s.cost, 0, 0, costs, false},
        {"top", 0, OPTION_INTEGER, "N", "Partitions simulated a schedule.", &s.top, 1, 4096, NULL, false},
        {"glpk-ms", 0, OPTION_INTEGER, "MS", "Time limit of GLPK.", &s.glpk_ms, 1, 3600000, NULL, false},
        {"format", 0, OPTION_CHOICE, "table|csv|json", "What to print.", &s.format, 0, 0, formats, false},
        {"output", 'o', OPTION_STRING, "PLAN",
         "Write the fastest plan here; -: on standard output, instead of the report.",
         &s.output, 0, 0, NULL, false},
        {0},
    };
    Options  options = {"pipebd-plan", "TRACE [options]",
                        "Compares the schedules of blockwise distillation on a trace's costs and\n"
                        "chooses the fastest.", table, NULL};
    Operands operands;
    Error    err = {""};
    unsigned schedules = 0;

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.help) { options_print_help(&options, stdout); return EXIT_OK; }
    if (operands.count != 1) { error_set(&err, "expected one TRACE, see --help"); goto usage; }
    if (schedule_list(&schedules, s.schedules, &err) != 0) {
        error_prefix(&err, "--schedules");
        goto usage;
    }
    if (plan(operands.values[0], &s, schedules, &err) == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-plan: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-plan: %s\n", err.text);
    return EXIT_USAGE;
}
