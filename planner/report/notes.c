#include "planner/report/notes.h"

#include <string.h>

#include "schedule/registry.h"
#include "traces/plausibility.h"

/* ---- what was extrapolated ------------------------------------------------------------------- */

typedef struct {
    Scenario strict;         /* refuses what lies beyond the measured points, and says where */
    int      count;
    Error    first;
} Beyond;

static void look_up(Beyond *b, int rc, const Error *why)
{
    if (rc == 0) return;
    if (b->count++ == 0) b->first = *why;
}

static void look_at_work(Beyond *b, Work work, int block, int student, int device, int64_t rows)
{
    Cost  cost;
    Error why = {""};

    look_up(b, scenario_student_work(&b->strict, work, block, student, device, rows, &cost, &why),
            &why);
}

static void look_at_students(Beyond *b, const Plan *plan, const Stage *stage, int block)
{
    for (int d = 0; d < stage->width; d++)
        for (int j = 0; j < plan_students(plan, block); j++)
            look_at_work(b, WORK_FORWARD, block, j, stage->devices[d], stage->rows[d]);
    int64_t ns;
    Error   why = {""};
    if (stage->width > 1)
        look_up(b, scenario_allreduce(&b->strict, stage->devices, stage->width, block, &ns, &why),
                &why);
}

/* Under dp and ls the teacher runs from the input on. */
static void look_at_stage(Beyond *b, const Plan *plan, const Stage *stage)
{
    bool from_input = schedule_row(plan->schedule)->phases;

    for (int block = from_input ? 0 : stage->first; block <= stage->last; block++)
        for (int d = 0; d < stage->width; d++)
            look_at_work(b, WORK_TEACHER, block, 0, stage->devices[d], stage->rows[d]);
    for (int block = stage->first; block <= stage->last && !plan->task_count; block++)
        look_at_students(b, plan, stage, block);
}

/* Messages between the rows that both have. */
static void look_at_relay(Beyond *b, const Stage *from, const Stage *to)
{
    int64_t sent = 0;

    for (int i = 0; i < from->width; sent += from->rows[i++]) {
        int64_t taken = 0;
        for (int j = 0; j < to->width; taken += to->rows[j++]) {
            int64_t low = sent > taken ? sent : taken, high = sent + from->rows[i], ns;
            Error   why = {""};
            if (taken + to->rows[j] < high) high = taken + to->rows[j];
            if (high > low && from->devices[i] != to->devices[j])
                look_up(b,
                        scenario_p2p(&b->strict, from->devices[i], to->devices[j], to->first,
                                     high - low, &ns, &why),
                        &why);
        }
    }
}

/* Tasks that any device may take run on each. */
static void look_at_stolen(Beyond *b, const Plan *plan, const Stage *task)
{
    for (int d = 0; d < plan->device_count; d++) {
        for (int block = 0; block <= task->last; block++)
            look_at_work(b, WORK_TEACHER, block, 0, d, plan->batch);
        for (int j = 0; j < plan_students(plan, task->first); j++)
            look_at_work(b, WORK_FORWARD, task->first, j, d, plan->batch);
    }
}

/* The error of the first cost beyond, without what to do against it. */
static void extrapolated(const Plan *plan, const Scenario *s, Text *out)
{
    Beyond b = {.strict = *s};
    bool   relays = !schedule_row(plan->schedule)->phases;

    b.strict.extrapolate = false;
    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        if (stage->width == 0) look_at_stolen(&b, plan, stage);
        else                   look_at_stage(&b, plan, stage);
        if (relays && i > 0) look_at_relay(&b, stage - 1, stage);
    }
    for (int i = 0; i < plan->task_count; i++)
        look_at_students(&b, plan, &plan->tasks[i], plan->tasks[i].first);
    if (b.count == 0) return;
    char *advice = strstr(b.first.text, ": measure it, or use");
    if (advice) *advice = '\0';
    text_printf(out, "extrapolated: %s", b.first.text);
    if (b.count > 1) text_printf(out, "; %d costs of this plan are", b.count);
    text_append(out, "\n");
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* A line a note, nothing before it. */
static void note_lines(const Plan *plan, const Scenario *s, const char *idle, Text *out)
{
    static const char indent[] = "  note: ";
    Text              warnings = {0};
    char             *rest = NULL;

    trace_plausibility(s->trace, &warnings);
    for (char *line = warnings.bytes ? strtok_r(warnings.bytes, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        bool noted = strncmp(line, indent, strlen(indent)) == 0;
        text_printf(out, "%s\n", line + (noted ? strlen(indent) : 0));
    }
    out->failed |= text_failed(&warnings);
    text_free(&warnings);
    if (plan && s->extrapolate) extrapolated(plan, s, out);
    if (idle) text_append(out, idle);
}

typedef void WriteLine(const char *line, const char *what, bool first, Text *out);

/* Each line of lines, which is taken apart and freed. Returns whether there was one. */
static bool each_line(Text *lines, const char *what, WriteLine *write, Text *out)
{
    char *rest = NULL, *line = lines->bytes ? strtok_r(lines->bytes, "\n", &rest) : NULL;
    bool  any = line != NULL;

    for (bool first = true; line; line = strtok_r(NULL, "\n", &rest), first = false)
        write(line, what, first, out);
    out->failed |= text_failed(lines);
    text_free(lines);
    return any;
}

static void table_line(const char *line, const char *what, bool first, Text *out)
{
    (void)first;
    text_printf(out, "  %s: %s\n", what, line);
}

static void csv_line(const char *line, const char *what, bool first, Text *out)
{
    (void)first;
    text_printf(out, "# %s: %s\n", what, line);
}

static void json_line(const char *line, const char *what, bool first, Text *out)
{
    (void)what;
    text_append(out, first ? "\n    " : ",\n    ");
    text_json_string(out, line);
}

void report_notes(const Plan *plan, const Scenario *s, const char *idle, Text *out)
{
    Text notes = {0};

    note_lines(plan, s, idle, &notes);
    each_line(&notes, "note", table_line, out);
}

void report_notes_json(const Plan *plan, const Scenario *s, const char *idle, Text *out)
{
    Text notes = {0}, missing = {0};

    note_lines(plan, s, idle, &notes);
    scenario_missing(s, &missing);
    text_append(out, "  \"notes\": [");
    text_append(out, each_line(&notes, "", json_line, out) ? "\n  ],\n  \"missing\": ["
                                                           : "],\n  \"missing\": [");
    text_append(out, each_line(&missing, "", json_line, out) ? "\n  ]" : "]");
}

void report_notes_csv(const Plan *plan, const Scenario *s, const char *idle, Text *out)
{
    Text notes = {0}, missing = {0};

    note_lines(plan, s, idle, &notes);
    scenario_missing(s, &missing);
    each_line(&notes, "note", csv_line, out);
    each_line(&missing, "left out", csv_line, out);
}
