#include "planner/report/sensitivity_report.h"

#include <stdlib.h>

enum { MOST_ROWS = 12 };         /* of the table */

/* The smaller of the two flips, in per cent; INT32_MAX: there is none. */
static int tightest(const Sensitivity *m)
{
    int more = m->more ? m->more : INT32_MAX, less = m->less ? m->less : INT32_MAX;

    return more < less ? more : less;
}

/* The tightest that is not tighter than the last one, and stands after it where equal. */
static const Sensitivity *next_of(const Sensitivities *m, const Sensitivity *last)
{
    const Sensitivity *next = NULL;

    for (int i = 0; i < m->count; i++) {
        const Sensitivity *one = &m->margins[i];
        int           ns = tightest(one);
        if (last && (ns < tightest(last) || (ns == tightest(last) && one <= last))) continue;
        if (!next || ns < tightest(next)) next = one;
    }
    return next;
}

static void side(int percent, Schedule winner, Text *out)
{
    if (percent) text_printf(out, "%6d %% %-6s", percent, schedule_name(winner));
    else         text_append(out, "       - -     ");
}

void sensitivity_table(const Sensitivities *m, Text *out)
{
    const Sensitivity *row = NULL;
    int           shown = 0, flips = 0;

    if (!m) return;
    text_append(out, "\nhow far an input may move, alone, before another plan wins:\n");
    if (!m->found) {
        text_printf(
            out,
            "  left out: it takes about %.0f simulated instructions, --sensitivity yes finds it\n",
            m->work);
        return;
    }
    for (int i = 0; i < m->count; i++) flips += tightest(&m->margins[i]) != INT32_MAX;
    if (flips)
        text_append(out, "  input                               slower  to         faster  to\n");
    while (shown < flips && shown < MOST_ROWS) {
        row = next_of(m, row);
        size_t start = out->length;
        text_printf(out, "  %s", row->label);
        while (out->length - start < 36 && !text_failed(out)) text_append(out, " ");
        side(row->more, row->more_wins, out);
        text_append(out, "  ");
        side(row->less, row->less_wins, out);
        while (out->length && out->bytes[out->length - 1] == ' ') out->bytes[--out->length] = '\0';
        text_append(out, "\n");
        shown++;
    }
    if (flips > shown)
        text_printf(out, "  %d more flip later: --format json lists all\n", flips - shown);
    if (m->count > flips)
        text_printf(out, "  %d input%s: no flip found from %d %% less to %d %% more\n",
                    m->count - flips, m->count - flips > 1 ? "s" : "", SENSITIVITY_LEAST,
                    SENSITIVITY_MOST);
}

static void json_side(const char *key, int percent, Schedule winner, Text *out)
{
    if (percent)
        text_printf(out, ", \"%s_percent\": %d, \"%s_schedule\": \"%s\"", key, percent, key,
                    schedule_name(winner));
    else         text_printf(out, ", \"%s_percent\": null, \"%s_schedule\": null", key, key);
}

void sensitivity_json(const Sensitivities *m, Text *out)
{
    if (!m || !m->found) { text_append(out, "null"); return; }
    text_append(out, "[");
    for (int i = 0; i < m->count; i++) {
        const Sensitivity *one = &m->margins[i];
        text_append(out, i ? ",\n    {\"input\": " : "\n    {\"input\": ");
        text_json_string(out, one->label);
        text_append(out, ", \"paths\": [");
        text_json_string(out, one->path[0]);
        if (one->path[1][0]) { text_append(out, ", "); text_json_string(out, one->path[1]); }
        text_append(out, "]");
        json_side("slower", one->more, one->more_wins, out);
        json_side("faster", one->less, one->less_wins, out);
        text_append(out, "}");
    }
    text_append(out, "\n  ]");
}
