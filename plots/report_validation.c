/* The part of a report that sets predictions beside what was measured. */
#include <math.h>
#include <stdio.h>

#include "plots/report_parts.h"

/* Between which the machine's speed was in the runs; nothing where it was not read. */
static void speed_note(Text *out, const ValidationFile *v)
{
    double least = INFINITY, most = 0;

    for (int i = 0; i < v->row_count; i++) {
        double speed = v->rows[i].why ? NAN : v->rows[i].speed;
        if (isnan(speed)) continue;
        least = fmin(least, speed);
        most = fmax(most, speed);
    }
    if (most > 0)
        text_printf(out, "<p class=\"note\">During the runs of a schedule the machine had %.0f to "
                    "%.0f %% of its speed in the profile, which is taken out of what was "
                    "measured.</p>\n", 100 * least, 100 * most);
}

/* The table of predicted and measured epochs, speedups and memory. */
static void epochs_table(Text *out, const ValidationFile *v)
{
    static const char *const heads[] = {"<schedule", "predicted|s", "measured|s", "error|%",
                                        "least|s", "most|s", "predicted|× dp",
                                        "measured|× dp", "predicted|MiB", "measured|MiB",
                                        "overhead|%", NULL};
    double                   most = 0;

    for (int i = 0; i < v->row_count; i++)
        if (!v->rows[i].why) most = fmax(most, v->rows[i].measured_s);
    html_table(out, NULL, heads);
    for (int i = 0; i < v->row_count; i++) {
        const ValidatedRow *row = &v->rows[i];
        int                 digits = digits_for(most);
        text_printf(out, "<tr%s><td><i class=\"%s\"></i>%s</td>",
                    !row->why && row->chosen ? " class=\"best\"" : "",
                    class_of_schedule(row->schedule), schedule_name(row->schedule));
        if (row->why) {
            text_append(out, "<td class=\"wrap\" colspan=\"10\">not possible: ");
            html_text(out, row->why);
            text_append(out, "</td></tr>\n");
            continue;
        }
        html_cell_number(out, digits, row->predicted_s);
        html_cell_number(out, digits, row->measured_s);
        double error = 100 * (row->measured_s / row->predicted_s - 1);
        if (isnan(row->standard_error)) html_cell(out, "%+.1f", error);
        else html_cell(out, "%+.1f ± %.1f", error, 100 * row->standard_error);
        html_cell_number(out, digits, row->least_s);
        html_cell_number(out, digits, row->most_s);
        html_cell_number(out, 2, row->predicted_speedup);
        html_cell_number(out, 2, row->measured_speedup);
        html_cell_number(out, 1, row->predicted_bytes / 1048576);
        html_cell_number(out, 1, row->measured_bytes / 1048576);
        html_cell_number(out, 2, 100 * row->overhead);
        text_append(out, "</tr>\n");
    }
    html_table_end(out);
    speed_note(out, v);
}

static bool has_op(const ValidationFile *v, Op op)
{
    for (int i = 0; i < v->row_count; i++)
        for (int k = 0; k < v->rows[i].op_count; k++) {
            const OpTime *t = &v->rows[i].ops[k];
            if (!v->rows[i].why && t->op == op && (t->predicted_us > 0 || t->measured_us > 0))
                return true;
        }
    return false;
}

static double op_ms(const ValidatedRow *row, Op op, bool measured)
{
    for (int k = 0; k < row->op_count; k++) {
        const OpTime *t = &row->ops[k];
        if (t->op == op && (t->predicted_us > 0 || t->measured_us > 0))
            return (measured ? t->measured_us : t->predicted_us) / 1000;
    }
    return NAN;
}

/* Two rows a schedule, a column an instruction. */
static void ops_table(Text *out, const ValidationFile *v)
{
    char        names[OP_COUNT][32];
    const char *heads[OP_COUNT + 3] = {"<schedule", "<"};
    int         columns = 2;

    for (int op = 0; op < OP_COUNT; op++) {
        if (!has_op(v, (Op)op)) continue;
        snprintf(names[op], sizeof *names, "%s|ms", op_name((Op)op));
        heads[columns++] = names[op];
    }
    if (columns == 2) return;
    html_table(out,
               "A device’s time by instruction, a step of an epoch, mean over the devices:", heads);
    for (int i = 0; i < 2 * v->row_count; i++) {
        const ValidatedRow *row = &v->rows[i / 2];
        if (row->why || !row->op_count) continue;
        text_printf(out, "<tr><td>%s</td>", i % 2 ? "" : schedule_name(row->schedule));
        html_cell_left(out, "%s", i % 2 ? "measured" : "predicted");
        for (int op = 0; op < OP_COUNT; op++)
            if (has_op(v, (Op)op)) html_cell_number(out, 3, op_ms(row, (Op)op, i % 2));
        text_append(out, "</tr>\n");
    }
    html_table_end(out);
}

void report_validation(Text *out, const ReportShown *shown)
{
    const ValidationFile *v = shown->validation;

    if (!v) return;
    html_section(out, "validation", "Predicted and measured",
                 "Predictions come from times of single blocks measured before; "
                 "then every schedule was run.");
    if (v->warning) {
        text_append(out, "<p><b>Beware:</b> ");
        html_text(out, v->warning);
        text_append(out, ".</p>\n");
    }
    figure_validation(out, v);
    epochs_table(out, v);
    if (v->order_known)
        text_printf(
            out,
            "<p class=\"note\">The order of the schedules is %s. <b>least</b>, <b>most</b>: over "
            "the runs. "
            "<b>overhead</b>: time that is neither an instruction’s work nor its wait.</p>\n",
            v->same_order ? "as predicted" : "not as predicted");
    if (shown->comparison)
        text_append(out, "<p class=\"note\">Epochs here are runs of other lengths, scaled; a "
                         "pipeline fills once a run, so predictions "
                         "differ a little from those under Schedules.</p>\n");
    ops_table(out, v);
    html_section_end(out);
}
