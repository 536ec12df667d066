#include "plots/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- text --------------------------------------------------------------------------- */

void html_text(Text *out, const char *string)
{
    Text clean = {0};

    text_utf8(&clean, string);
    for (const char *c = text_string(&clean); *c; c++) {
        switch (*c) {
        case '&':  text_append(out, "&amp;"); break;
        case '<':  text_append(out, "&lt;"); break;
        case '>':  text_append(out, "&gt;"); break;
        case '"':  text_append(out, "&quot;"); break;
        case '\'': text_append(out, "&#39;"); break;
        default:
            if ((unsigned char)*c < ' ' || *c == 0x7f) text_append(out, " ");
            else                                       text_append_bytes(out, c, 1);
        }
    }
    out->failed |= clean.failed;
    text_free(&clean);
}

/* ---- colours ------------------------------------------------------------------------- */

const char *class_of_schedule(Schedule schedule)
{
    static const char *const names[SCHEDULE_COUNT] = {"s-dp", "s-ls", "s-tr", "s-dpu", "s-ir", "s-ahd", "s-split"};

    return names[schedule];
}

const char *class_of_share(TimeShare share)
{
    static const char *const names[SHARE_COUNT] = {"t-load", "t-teacher", "t-student", "t-allreduce", "t-update",
                                                   "t-transfer", "t-wait", "t-idle"};

    return names[share];
}

const char *class_of_memory(MemoryPart part)
{
    static const char *const names[MEMORY_COUNT] = {"m-weights", "m-gradients", "m-state", "m-boundaries",
                                                    "m-activations", "m-queues", "m-loader", "m-process"};

    return names[part];
}

const char *class_of_op(Op op)
{
    static const char *const names[OP_COUNT] = {"o-load", "o-recv", "o-send", "o-teacher", "o-forward", "o-backward",
                                                "o-allreduce", "o-update", "o-barrier"};

    return names[op];
}

/* --c: the colour, --on: text on it. Drawings and legends use both. */
static void colour_rules(Text *out, bool dark)
{
    struct { const char *class; int colour; } all[SCHEDULE_COUNT + (int)SHARE_COUNT + (int)MEMORY_COUNT + (int)OP_COUNT];
    int    count = 0;

    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        all[count].class = class_of_schedule((Schedule)i);
        all[count++].colour = colour_of_schedule((Schedule)i);
    }
    for (int i = 0; i < SHARE_COUNT; i++) {
        all[count].class = class_of_share((TimeShare)i);
        all[count++].colour = colour_of_share((TimeShare)i);
    }
    for (int i = 0; i < MEMORY_COUNT; i++) {
        all[count].class = class_of_memory((MemoryPart)i);
        all[count++].colour = colour_of_memory((MemoryPart)i);
    }
    for (int i = 0; i < OP_COUNT; i++) {
        all[count].class = class_of_op((Op)i);
        all[count++].colour = colour_of_op((Op)i);
    }
    for (int i = 0; i < count; i++) {
        int colour = dark ? colour_in_the_dark(all[i].colour) : all[i].colour;
        if (dark && colour == all[i].colour) continue;
        text_printf(out, ".%s{--c:#%06x;--on:#%06x}\n", all[i].class, (unsigned)colour, (unsigned)colour_of_text(colour));
    }
}

/* ---- the page ------------------------------------------------------------------------ */

void html_begin(Text *out, const char *title)
{
    text_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    html_text(out, title);
    text_append(out, "</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n");
    for (int i = 0; html_style[i]; i++) text_append(out, html_style[i]);
    colour_rules(out, false);
    text_append(out, "@media screen and (prefers-color-scheme:dark){\n");
    colour_rules(out, true);
    text_append(out, "}\n</style>\n</head>\n<body>\n<main>\n");
}

void html_end(Text *out)
{
    text_append(out, "</main>\n</body>\n</html>\n");
}

void html_section(Text *out, const char *id, const char *heading, const char *lead)
{
    text_printf(out, "<section id=\"%s\">\n<h2>", id);
    html_text(out, heading);
    text_append(out, "</h2>\n");
    if (lead) text_printf(out, "<p class=\"lead\">%s</p>\n", lead);
}

void html_section_end(Text *out)
{
    text_append(out, "</section>\n");
}

void html_table(Text *out, const char *caption, const char *const *heads)
{
    if (caption) {                               /* not in the table, with which it would scroll */
        text_append(out, "<p class=\"over\">");
        html_text(out, caption);
        text_append(out, "</p>\n");
    }
    text_append(out, "<div class=\"scroll\" tabindex=\"0\"><table>\n");
    text_append(out, "<thead><tr>");
    for (int i = 0; heads[i]; i++) {
        bool        left = heads[i][0] == '<';
        const char *name = heads[i] + left, *bar = strchr(name, '|');
        char        word[64];
        snprintf(word, sizeof word, "%.*s", bar ? (int)(bar - name) : (int)sizeof word - 1, name);
        text_append(out, left ? "<th class=\"l\">" : "<th>");
        html_text(out, word);
        if (bar) {
            text_append(out, "<span>");
            html_text(out, bar + 1);
            text_append(out, "</span>");
        }
        text_append(out, "</th>");
    }
    text_append(out, "</tr></thead>\n<tbody>\n");
}

void html_table_end(Text *out)
{
    text_append(out, "</tbody>\n</table></div>\n");
}

void html_command(Text *out, const char *command)
{
    text_append(out, "<pre>");
    html_text(out, command);
    text_append(out, "</pre>\n");
}

void html_keys(Text *out)     { text_append(out, "<p class=\"keys\">"); }
void html_keys_end(Text *out) { text_append(out, "</p>\n"); }

void html_key(Text *out, const char *class, const char *name)
{
    text_printf(out, "<span><i class=\"%s\"></i>", class);
    html_text(out, name);
    text_append(out, "</span> ");
}

/* ---- drawings ------------------------------------------------------------------------- */

void svg_begin(Text *out, int height, const char *label)
{
    text_printf(out, "<svg width=\"100%%\" height=\"%d\" role=\"img\" aria-label=\"", height);
    html_text(out, label);
    text_append(out, "\">");
}

void svg_end(Text *out) { text_append(out, "</svg>"); }

void svg_box(Text *out, const char *class, double x0, double x1, double y, double height, const char *title)
{
    text_printf(out, "<rect class=\"%s\" x=\"%.3f%%\" y=\"%g\" width=\"%.3f%%\" height=\"%g\"", class, x0, y,
                x1 > x0 ? x1 - x0 : 0, height);
    if (!title) { text_append(out, "/>"); return; }
    text_append(out, "><title>");
    html_text(out, title);
    text_append(out, "</title></rect>");
}

/* Drawings are some 200 pixels wide on a telephone; a character takes 7. */
void svg_box_label(Text *out, const char *class, double x0, double x1, double y, int pixels, const char *string)
{
    double needed = 7.0 * (double)strlen(string) + 4, width = x1 - x0;

    if (width * pixels / 100 < needed) return;
    text_printf(out, "<text class=\"on %s%s\" x=\"%.3f%%\" y=\"%g\" text-anchor=\"middle\">", class,
                width * 2 < needed ? " wide" : "", (x0 + x1) / 2, y);
    html_text(out, string);
    text_append(out, "</text>");
}

void svg_text(Text *out, const char *class, double x, double y, const char *anchor, const char *string)
{
    text_printf(out, "<text class=\"%s\" x=\"%.3f%%\" y=\"%g\" text-anchor=\"%s\">", class, x, y, anchor);
    html_text(out, string);
    text_append(out, "</text>");
}

void svg_rule(Text *out, const char *class, double x, double y0, double y1)
{
    text_printf(out, "<line class=\"%s\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%g\" y2=\"%g\"/>", class, x, x, y0, y1);
}

void html_row(Text *out, const char *name)
{
    text_append(out, "<div class=\"row\"><span class=\"name\">");
    html_text(out, name);
    text_append(out, "</span>");
}

void html_row_end(Text *out, const char *value)
{
    text_append(out, "<span class=\"value\">");
    html_text(out, value);
    text_append(out, "</span></div>\n");
}

/* ---- numbers ---------------------------------------------------------------------------- */

int digits_for(double most)
{
    return most >= 1000 ? 0 : most >= 100 ? 1 : most >= 10 ? 2 : most >= 1 ? 3 : 4;
}

double axis_step(double most)
{
    double step = pow(10, floor(log10(most > 0 ? most / 4 : 1))), over = most / 4 / step;

    return step * (over >= 5 ? 5 : over >= 2 ? 2 : 1);
}

char *bytes_shown(char *out, double bytes)
{
    double mib = bytes / 1048576;

    if (mib >= 1024) snprintf(out, 24, "%.*f GiB", mib >= 102400 ? 0 : mib >= 10240 ? 1 : 2, mib / 1024);
    else             snprintf(out, 24, "%.*f MiB", mib >= 100 ? 0 : 1, mib);
    return out;
}
