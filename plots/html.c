#include "plots/html.h"

#include <stdio.h>
#include <string.h>

#include "plots/picture.h"

/* ---- colours ------------------------------------------------------------------------- */

const char *class_of_schedule(Schedule schedule)
{
    static const char *const names[SCHEDULE_COUNT] = {
        "s-dp", "s-ls", "s-tr", "s-dpu", "s-ir", "s-ahd", "s-split", "s-sequential", "s-store"};

    return names[schedule];
}

const char *class_of_share(TimeShare share)
{
    static const char *const names[SHARE_COUNT] = {"t-load",      "t-teacher", "t-student",
                                                   "t-allreduce", "t-update",  "t-transfer",
                                                   "t-wait",      "t-idle",    "t-storage"};

    return names[share];
}

const char *class_of_memory(MemoryPart part)
{
    static const char *const names[MEMORY_COUNT] = {"m-weights",    "m-gradients",   "m-state",
                                                    "m-boundaries", "m-activations", "m-queues",
                                                    "m-loader",     "m-process"};

    return names[part];
}

const char *class_of_op(Op op)
{
    static const char *const names[OP_COUNT] = {
        "o-load",   "o-recv",    "o-send",  "o-teacher", "o-forward", "o-backward", "o-allreduce",
        "o-update", "o-barrier", "o-store", "o-fetch",   "o-onload",  "o-offload"};

    return names[op];
}

/* Half way to a dark page. */
static int dim(int colour)
{
    static const int page[] = {0x1B, 0x16, 0x12};
    int              out = 0;

    for (int i = 0; i < 3; i++) out |= ((colour >> 8 * i & 255) + page[i]) / 2 << 8 * i;
    return out;
}

static void colour_rule(Text *out, const char *class, int colour)
{
    text_printf(out, ".%s{--c:var(--c%06x,#%06x)}\n", class, (unsigned)colour, (unsigned)colour);
}

/* Classes of what legends and tables name. On a dark page colours are other ones, as in pictures
 * (plots/picture.c). */
static void colour_rules(Text *out)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        colour_rule(out, class_of_schedule((Schedule)i), colour_of_schedule((Schedule)i));
    for (int i = 0; i < SHARE_COUNT; i++)
        colour_rule(out, class_of_share((TimeShare)i), colour_of_share((TimeShare)i));
    for (int i = 0; i < MEMORY_COUNT; i++)
        colour_rule(out, class_of_memory((MemoryPart)i), colour_of_memory((MemoryPart)i));
    for (int i = 0; i < OP_COUNT; i++) colour_rule(out, class_of_op((Op)i), colour_of_op((Op)i));
    text_append(out, "@media screen and (prefers-color-scheme:dark){:root{");
    for (const ColourPair *c = colours_in_the_dark; c->light >= 0; c++)
        text_printf(out, "--c%06x:#%06x;", (unsigned)c->light, (unsigned)c->dark);
    for (int i = 0; i < SCHEDULE_COUNT; i++)                 /* pale on a light page is dim on a
                                                              * dark one */
        text_printf(out, "--c%06x:#%06x;", (unsigned)colour_pale(colour_of_schedule((Schedule)i)),
                    (unsigned)dim(colour_of_schedule((Schedule)i)));
    text_append(out, "}}\n");
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
    colour_rules(out);
    text_append(out, "</style>\n</head>\n<body>\n<main>\n");
    picture_line(out);
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

/* ---- numbers ---------------------------------------------------------------------------- */

int digits_for(double most)
{
    return most >= 1000 ? 0 : most >= 100 ? 1 : most >= 10 ? 2 : most >= 1 ? 3 : 4;
}

char *bytes_shown(char *out, double bytes)
{
    double mib = bytes / 1048576;

    if (mib >= 1024)
        snprintf(out, 24, "%.*f GiB", mib >= 102400 ? 0 : mib >= 10240 ? 1 : 2, mib / 1024);
    else             snprintf(out, 24, "%.*f MiB", mib >= 100 ? 0 : 1, mib);
    return out;
}
