/* pipebd-trace: checks traces, and shows one as a table of blocks by batches. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"
#include "traces/scenario.h"

/* Every file is looked at: a line on stdout for a good one, an error for a bad one. */
static int check(const Operands *operands, Error *err)
{
    Text text = {0};
    int  bad = 0, rc;

    for (int i = 1; i < operands->count; i++) {
        Trace *trace;
        Error  why = {""};
        if (trace_read(&trace, operands->values[i], &why) != 0) {
            if (bad++ > 0) fprintf(stderr, "pipebd-trace: %s\n", err->text);
            *err = why;
            continue;
        }
        text_printf(&text, "%s: ok, %d blocks, %d devices\n", operands->values[i], trace->block_count,
                    trace_device_count(trace));
        trace_free(trace);
    }
    if (bad == 0 && text_failed(&text)) error_no_memory(err);
    rc = text_failed(&text) ? -1 : file_write("-", text_string(&text), text.length, bad ? NULL : err);
    text_free(&text);
    return bad ? -1 : rc;
}

/* One row: curves at a batch on a kind, milliseconds; NULL where there is no such work. */
static void show_row(const Trace *trace, const char *name, Curve *const *curves, int first, int last, int kind,
                     int point, Text *out)
{
    const CurvePoint *head = &curves[first][kind].points[point];

    text_append(out, name);
    text_pad(out, 12);
    text_printf(out, " %s", trace->kinds[kind].name);
    text_pad(out, 41);
    text_printf(out, " %6" PRId64, head->x);
    for (int work = 0; work < WORK_COUNT; work++)
        if (work < first || work > last) text_append(out, "          -");
        else text_printf(out, " %10.3f", (double)curves[work][kind].points[point].ns * 1e-6);
    text_printf(out, " %7.1f\n", 100 * head->spread);
}

/* A block's rows; where it lists students, the teacher's and then theirs, named b/s. */
static void show_block(const Trace *trace, const TraceBlock *block, Text *out)
{
    for (int kind = 0; kind < trace->kind_count; kind++)
        for (int i = 0; i < block->work[WORK_TEACHER][kind].count; i++)
            show_row(trace, block->name, block->work, 0, block->students ? WORK_TEACHER : WORK_UPDATE, kind, i, out);
    for (int j = 0; j < block->student_count; j++) {
        const TraceStudent *student = &block->students[j];
        Text                name = {0};
        text_printf(&name, "%s/%s", block->name, student->name);
        for (int kind = 0; kind < trace->kind_count; kind++)
            for (int i = 0; i < student->work[WORK_FORWARD][kind].count; i++)
                show_row(trace, text_string(&name), student->work, WORK_FORWARD, WORK_UPDATE, kind, i, out);
        out->failed |= text_failed(&name);
        text_free(&name);
    }
}

static void show_head(const Trace *trace, Text *out)
{
    text_printf(out, "%s: workload %s, batch %" PRId64 ", %" PRId64 " samples an epoch\n", trace->name,
                trace->workload, trace->batch, trace->samples);
    text_printf(out, "%s: %s%s%s\n", trace->provenance_kind, trace->source, *trace->date ? ", " : "",
                trace->date);
    if (*trace->notes) text_printf(out, "%s\n", trace->notes);
    for (int kind = 0; kind < trace->kind_count; kind++)
        text_printf(out, "%d x %s\n", trace->kinds[kind].count, trace->kinds[kind].name);
    text_printf(out, "transfers: %s\n", trace->blocking_transfers ? "blocking" : "overlapped");
    text_append(out, "\nblock        device                        batch    teacher    forward   backward"
                     "     update  spread\n                                                     ms"
                     "         ms         ms         ms       %\n");
}

/* Kinds on which a block has no timings, which no schedule can then use for it. */
static void show_unmeasured(const Trace *trace, Text *out)
{
    for (int b = 0; b < trace->block_count; b++)
        for (int kind = 0; kind < trace->kind_count; kind++) {
            const TraceBlock *block = &trace->blocks[b];
            if (block->work[0][kind].count == 0)
                text_printf(out, "block \"%s\" has no timings on \"%s\": no schedule can place it there\n",
                            block->name, trace->kinds[kind].name);
            for (int j = 0; j < block->student_count; j++)
                if (block->students[j].work[WORK_FORWARD][kind].count == 0)
                    text_printf(out, "student \"%s\" of block \"%s\" has no timings on \"%s\": no schedule can "
                                "place it there\n", block->students[j].name, block->name, trace->kinds[kind].name);
        }
}

static int show(const char *path, Error *err)
{
    Trace   *trace = NULL;
    Scenario scenario = {0};
    Text     text = {0}, missing = {0};
    int      rc = -1;

    if (trace_read(&trace, path, err) != 0) goto done;
    if (scenario_build(&scenario, trace, &(ScenarioOptions){.queue_depth = 2}, err) != 0) goto done;
    show_head(trace, &text);
    for (int b = 0; b < trace->block_count; b++) show_block(trace, &trace->blocks[b], &text);
    show_unmeasured(trace, &missing);
    scenario_missing(&scenario, &missing);
    if (missing.length) text_printf(&text, "\nnot in this trace:\n%s", text_string(&missing));
    rc = text_failed(&text) || text_failed(&missing)
             ? error_no_memory(err) : file_write("-", text_string(&text), text.length, err);
done:
    text_free(&text);
    text_free(&missing);
    scenario_free(&scenario);
    trace_free(trace);
    return rc;
}

int main(int argc, char **argv)
{
    Option   table[] = {{0}};
    Options  options = {"pipebd-trace", "check FILE... | show FILE",
                        "Checks traces, or shows one: blocks by batches, and what is missing.", table, NULL};
    Operands operands;
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.help) { options_print_help(&options, stdout); return EXIT_OK; }
    bool checks = operands.count >= 2 && strcmp(operands.values[0], "check") == 0;
    bool shows = operands.count == 2 && strcmp(operands.values[0], "show") == 0;
    if (!checks && !shows) {
        error_set(&err, "expected \"check FILE...\" or \"show FILE\", see --help");
        goto usage;
    }
    if ((checks ? check(&operands, &err) : show(operands.values[1], &err)) == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-trace: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-trace: %s\n", err.text);
    return EXIT_USAGE;
}
