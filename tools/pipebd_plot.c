/* pipebd-plot: draws what the other tools wrote: with gnuplot, or as a page of HTML. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"
#include "paper/paper.h"
#include "plots/plot.h"
#include "plots/report_page.h"

typedef enum {
    KIND_SPEEDUP,
    KIND_BREAKDOWN,
    KIND_MEMORY,
    KIND_VALIDATION,
    KIND_GANTT,
    KIND_SWEEP,
    KIND_HORIZON,
    KIND_PROGRESS,
    KIND_REPORT,
    KIND_PAPER,
    KIND_COUNT
} PlotKind;

static const char *const kinds[KIND_COUNT] = {"speedup", "breakdown", "memory",  "validation",
                                              "gantt",   "sweep",     "horizon", "progress",
                                              "report",  "paper"};

typedef struct {
    const char *output, *script, *command;
    double      from_us, to_us;          /* where they are not given: -1, once the command line is
                                          * checked */
    int         metric;
} PlotSettings;

static int find_kind(const char *name, PlotKind *out)
{
    for (int k = 0; k < KIND_COUNT; k++)
        if (strcmp(kinds[k], name) == 0) { *out = (PlotKind)k; return 0; }
    return -1;
}

static bool is_page(const char *path)
{
    size_t length = strlen(path);

    return strcmp(path, "-") == 0 || (length > 5 && strcmp(path + length - 5, ".html") == 0);
}

/* What a kind's -o has to be. */
static int check_output(PlotKind kind, const PlotSettings *s, Error *err)
{
    if (kind == KIND_REPORT && !s->output) return error_set(err, "expected -o FILE.html");
    if (kind == KIND_REPORT && !is_page(s->output))
        return error_set(err, "%s: a report is a page, expected a name that ends in .html",
                         s->output);
    if (kind == KIND_PAPER && !s->output) return error_set(err, "expected -o FOLDER");
    if ((kind == KIND_REPORT || kind == KIND_PAPER) && s->script)
        return error_set(err, "--script: no effect on %s, which gnuplot does not draw",
                         kinds[kind]);
    if (kind == KIND_REPORT || kind == KIND_PAPER || (!s->output && s->script)) return 0;
    if (!s->output) return error_set(err, "expected -o FILE that ends in .svg, .png or .pdf");
    if (!plot_has_ending(s->output))
        return error_set(err, "%s: expected a name that ends in .svg, .png or .pdf", s->output);
    return 0;
}

/* Refuses operands and options that do not go with the kind of picture, and gives the kind. */
static int check(const Option *table, const PlotSettings *s, const Operands *operands,
                 PlotKind *kind, Error *err)
{
    if (operands->count < 2) return error_set(err, "expected KIND INPUT..., see --help");
    if (find_kind(operands->values[0], kind) != 0)
        return error_set(
            err,
            "\"%.40s\" is not a kind, expected speedup, breakdown, memory, validation, gantt, "
            "sweep, horizon, progress, report or paper",
            operands->values[0]);
    if (check_output(*kind, s, err) != 0) return -1;
    if (*kind == KIND_PAPER && operands->count != 3)
        return error_set(err, "paper: expected INDEX and POSTER, and -o FOLDER");
    if ((*kind == KIND_SWEEP || *kind == KIND_HORIZON || *kind == KIND_PROGRESS)
        && operands->count > 2)
        return error_set(err, "%s: draws one INPUT", kinds[*kind]);
    if (*kind != KIND_GANTT && (option_given(table, "from") || option_given(table, "to")))
        return error_set(err, "--from and --to: no effect on %s, only on gantt", kinds[*kind]);
    if (*kind != KIND_SWEEP && option_given(table, "metric"))
        return error_set(err, "--metric: no effect on %s, only on sweep", kinds[*kind]);
    if (option_given(table, "from") && option_given(table, "to") && s->from_us >= s->to_us)
        return error_set(err, "--to: %g is not after --from, %g", s->to_us, s->from_us);
    return 0;
}

static void open_window(const Option *table, PlotSettings *s)
{
    if (!option_given(table, "from")) s->from_us = -1;
    if (!option_given(table, "to")) s->to_us = -1;
}

static int draw(Plot *plot, PlotKind kind, const char *const *paths, int count,
                const PlotSettings *s, Error *err)
{
    switch (kind) {
    case KIND_SPEEDUP:   return plot_speedup(plot, paths, count, err);
    case KIND_BREAKDOWN: return plot_breakdown(plot, paths, count, err);
    case KIND_MEMORY:    return plot_memory(plot, paths, count, err);
    case KIND_VALIDATION: return plot_validation(plot, paths, count, err);
    case KIND_GANTT:     return plot_gantt(plot, paths, count, s->from_us, s->to_us, err);
    case KIND_HORIZON:   return plot_horizon(plot, paths[0], err);
    case KIND_PROGRESS:  return plot_progress(plot, paths[0], err);
    default:             return plot_sweep(plot, paths[0], (Metric)s->metric, err);
    }
}

static int write_report(const Operands *operands, const PlotSettings *s, Error *err)
{
    Text page = {0};
    int  rc = report_page(&page, operands->values + 1, operands->count - 1, s->command, err);

    if (rc == 0) rc = file_write(s->output, text_string(&page), page.length, err);
    text_free(&page);
    return rc;
}

static int write_paper(const Operands *operands, const PlotSettings *s, Error *err)
{
    Paper paper;
    int   rc = paper_read(&paper, operands->values[1], operands->values[2], err);

    if (rc == 0) rc = paper_write(s->output, &paper, s->command, err);
    paper_free(&paper);
    return rc;
}

/* A script of which nothing is said draws KIND.svg. */
static int write_script(const Plot *plot, PlotKind kind, const PlotSettings *s, Error *err)
{
    Text script = {0};
    char output[32];

    snprintf(output, sizeof output, "%s.svg", kinds[kind]);
    int rc = plot_text(&script, plot, s->output ? s->output : output, err);
    if (rc == 0) rc = file_write(s->script, text_string(&script), script.length, err);
    text_free(&script);
    return rc;
}

static int run(PlotKind kind, const Operands *operands, const PlotSettings *s, Error *err)
{
    Plot plot = {0};
    int  rc;

    if (kind == KIND_REPORT) return write_report(operands, s, err);
    if (kind == KIND_PAPER)  return write_paper(operands, s, err);
    rc = draw(&plot, kind, operands->values + 1, operands->count - 1, s, err);
    if (rc == 0)
        rc = s->script ? write_script(&plot, kind, s, err) : plot_render(&plot, s->output, err);
    plot_free(&plot);
    return rc;
}

int main(int argc, char **argv)
{
    static const char *const metrics[] = {"epoch_s", "speedup", "utilisation", "peak_memory_bytes",
                                          NULL};
    PlotSettings s = {0};
    Option   table[] = {
        {"output", 'o', OPTION_STRING, "FILE",
         "Write the plot to this file, .svg, .png or .pdf; of report: .html; of paper: a folder.",
         &s.output, 0, 0, NULL, false},
        {"script", 0, OPTION_STRING, "FILE",
         "Write the gnuplot script instead of drawing (the script draws KIND.svg where -o is not "
         "given).",
         &s.script, 0, 0, NULL, false},
        {"from", 0, OPTION_NUMBER, "US", "gantt: start of the window.", &s.from_us, 0, 0, NULL,
         false},
        {"to", 0, OPTION_NUMBER, "US", "gantt: end of the window.", &s.to_us, 0, 0, NULL, false},
        {"metric", 0, OPTION_CHOICE, "epoch_s|speedup|utilisation|peak_memory_bytes",
         "sweep: metric to draw.",
         &s.metric, 0, 0, metrics, false},
        {0},
    };
    Options  options = {
         "pipebd-plot", "KIND INPUT... -o FILE", "Draws results of the other tools.", table,
         "KIND and its INPUT:\n"
         "  speedup    pipebd-plan --format json, one or more\n"
         "  breakdown  pipebd-sim --format json, one or more\n"
         "  memory     pipebd-sim --format json, one or more\n"
         "  validation validation.json of pipebd-run validate, one or more\n"
         "  gantt      timelines of pipebd-sim or pipebd-run, one above the other\n"
         "  sweep      pipebd-sim --vary --format csv\n"
         "  horizon    pipebd-sim --vary epochs=1,2,... --format csv\n"
         "  progress   pipebd-run train --log\n"
         "  report     pipebd-plan --format json, validation.json, or both, with any\n"
         "             timelines and sweeps: one page of HTML\n"
         "  paper      INDEX POSTER of scripts/paper.sh; -o FOLDER"};
    Operands operands;
    Error    err = {""};
    PlotKind     kind = KIND_COUNT;
    Text     command = {0};

    file_limits_are_errors();
    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (check(table, &s, &operands, &kind, &err) != 0) goto usage;
    open_window(table, &s);
    text_command(&command, argc, argv);
    s.command = text_string(&command);
    int rc = text_failed(&command) ? error_no_memory(&err) : run(kind, &operands, &s, &err);
    text_free(&command);
    if (rc == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-plot: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-plot: %s\n", err.text);
    return EXIT_USAGE;
}
