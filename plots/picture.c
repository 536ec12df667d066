#include "plots/picture.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plots/gnuplot.h"
#include "plots/html_text.h"

/* BEGIN label (PART "width height class" PART script)* END, all in text that html_text() and
 * plot_string() made. */
enum { BEGIN = 1, PART = 2, END = 3, LINE = 4 };

/* ---- putting ----------------------------------------------------------------------- */

static void put_part(Text *page, const Plot *plot, const char *class)
{
    text_printf(page, "%c%d %d %s%c%s", PART, plot->width, plot->height, class, PART,
                text_string(&plot->script));
    page->failed = page->failed || text_failed(&plot->script);
}

void picture_put(Text *page, Plot *plot, Plot *narrow, const char *label)
{
    text_printf(page, "%c", BEGIN);
    html_text(page, label);
    put_part(page, plot, narrow ? "desk" : "any");
    if (narrow) put_part(page, narrow, "phone");
    text_printf(page, "%c", END);
    plot_free(plot);
    if (narrow) plot_free(narrow);
}

void picture_line(Text *page) { text_printf(page, "%c", LINE); }

/* ---- gnuplot's SVG into the page's ---------------------------------------------------- */

typedef struct { const char *at, *end; } Piece;

static bool starts(const Piece *p, const char *word)
{
    size_t length = strlen(word);

    return (size_t)(p->end - p->at) >= length && memcmp(p->at, word, length) == 0;
}

/* rgb(r, g, b) where p stands, which is then behind it. */
static bool take_colour(Piece *p, unsigned *colour)
{
    unsigned r, g, b;
    int      length = 0;

    if (!starts(p, "rgb(") || sscanf(p->at, "rgb(%u,%u,%u)%n", &r, &g, &b, &length) != 3
        || length == 0)
        return false;
    p->at += length;
    *colour = (r & 255) << 16 | (g & 255) << 8 | (b & 255);
    return true;
}

/* Past what begins with start and ends with last; what has no end is left as it is. */
static bool skip_to(Piece *p, const char *start, const char *last)
{
    if (!starts(p, start)) return false;
    const char *found = strstr(p->at + strlen(start), last);
    if (!found || found >= p->end) return false;
    p->at = found + strlen(last);
    return true;
}

/* Colours become variables, which a dark page sets otherwise; titles (numbers of plots), names of
 * elements (the same in every picture) and definitions (which stand once in the page) go. */
static void convert(Text *out, Piece p)
{
    unsigned colour;

    while (p.at < p.end) {
        if (skip_to(&p, "<title>", "</title>") || skip_to(&p, "<desc>", "</desc>")
            || skip_to(&p, "<defs>", "</defs>") || skip_to(&p, " id=\"gnuplot_", "\""))
            continue;
        if (starts(&p, "\"black\"")) {
            text_append(out, "\"var(--c000000,#000000)\"");
            p.at += strlen("\"black\"");
        } else if (take_colour(&p, &colour))
            text_printf(out, "var(--c%06x,#%06x)", colour, colour);
        else if (*p.at == '\n' || *p.at == '\t') {
            text_append(out, p.at[1] == '<' || p.at[1] == '\t' ? "" : " ");
            p.at++;
        } else
            text_append_bytes(out, p.at++, 1);
    }
}

/* What is between <svg ...> and </svg> of the document that begins at or after *at, which is then
 * behind it. */
static bool next_document(Piece *out, const char **at)
{
    const char *start = strstr(*at, "<svg"), *open = start ? strchr(start, '>') : NULL;
    const char *close = open ? strstr(open, "</svg>") : NULL;

    if (!close) return false;
    *out = (Piece){open + 1, close};
    *at = close + strlen("</svg>");
    return true;
}

/* The marks of points, once for all pictures. */
static void put_definitions(Text *page, const char *drawn)
{
    const char *start = strstr(drawn, "<defs>"), *end = start ? strstr(start, "</defs>") : NULL;

    if (!end || !strstr(drawn, "#gpPt")) return;
    text_append(page,
                "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\">");
    text_append_bytes(page, start, (size_t)(end - start) + strlen("</defs>"));
    text_append(page, "</svg>\n");
}

/* ---- one picture --------------------------------------------------------------------------- */

typedef struct {
    int         width, height;
    char        class[16];
    const char *script, *end;
} Drawing;

/* The part at *at (its PART); *at is then at the next PART or END. */
static bool read_part(Drawing *out, const char **at)
{
    if (**at != PART
        || sscanf(*at + 1, "%d %d %15[a-z]", &out->width, &out->height, out->class) != 3)
        return false;
    out->script = strchr(*at + 1, PART) + 1;
    out->end = out->script + strcspn(out->script, "\002\003");
    *at = out->end;
    return true;
}

static void write_script(Text *script, const char *page)
{
    for (const char *at = strchr(page, BEGIN); at; at = strchr(at + 1, BEGIN)) {
        Drawing     d;
        const char *part = at + strcspn(at, "\002\003");
        while (read_part(&d, &part)) {
            text_printf(script,
                        "reset\nset encoding utf8\nset terminal svg noenhanced size %d,%d font "
                        "'Helvetica,12'\n",
                        d.width, d.height);
            text_append_bytes(script, d.script, (size_t)(d.end - d.script));
            text_append(script, "\nset output\n");
        }
    }
}

/* The picture at *at, drawn: *drawn stands at its first document. */
static bool put_drawn(Text *out, const char **at, const char **drawn)
{
    const char *label = *at + 1, *part = label + strcspn(label, "\002\003");
    Drawing     d;
    Piece       inside;

    text_append(out, "<figure class=\"plot\" role=\"img\" aria-label=\"");
    text_append_bytes(out, label, (size_t)(part - label));
    text_append(out, "\">");
    while (read_part(&d, &part)) {
        if (!next_document(&inside, drawn)) return false;
        text_printf(out,
                    "<svg class=\"%s\" viewBox=\"0 0 %d %d\" style=\"max-width:%dpx\" "
                    "aria-hidden=\"true\">",
                    d.class, d.width, d.height,
                    strcmp(d.class, "any") == 0 ? d.width * 5 / 4 : d.width * 6 / 5);
        convert(out, inside);
        text_append(out, "</svg>");
    }
    text_append(out, "</figure>\n");
    *at = part;
    return *part == END;
}

/* Everything again, each picture drawn, or (drawn NULL) left out; at LINE definitions, or why. */
static bool rewrite(Text *out, const char *page, const char *drawn, const char *why)
{
    const char *documents = drawn;
    bool        well = true;

    for (const char *at = page; *at && well; at++) {
        if (*at == LINE && drawn) {
            put_definitions(out, drawn);
        } else if (*at == LINE) {
            text_append(out, "<p class=\"note\">The figures are left out: ");
            html_text(out, why);
            text_append(out, ". The tables have their numbers.</p>\n");
        } else if (*at == BEGIN && drawn) {
            well = put_drawn(out, &at, &documents);
        } else if (*at == BEGIN) {
            at = strchr(at, END);
        } else {
            const char *end = at + strcspn(at, "\001\004");
            text_append_bytes(out, at, (size_t)(end - at));
            at = end - 1;
        }
    }
    return well;
}

/* The page with its pictures into out; without them, and with the reason, where gnuplot is missing
 * or fails. */
static int draw_all(Text *out, const char *page, Error *err)
{
    Text  script = {0}, drawn = {0};
    Error why = {"gnuplot drew too few of them"};

    write_script(&script, page);
    int  rc = text_failed(&script) ? error_no_memory(&why) : gnuplot_run(&drawn, &script, &why);
    bool well = rc == 0 && rewrite(out, page, text_string(&drawn), "");
    if (!well && !error_is_no_memory(&why)) {
        text_free(out);
        rewrite(out, page, NULL, why.text);
    }
    rc = error_is_no_memory(&why) ? error_no_memory(err) : 0;
    text_free(&script);
    text_free(&drawn);
    return rc;
}

int pictures_draw(Text *page, Error *err)
{
    Text out = {0};
    int  rc = 0;

    if (text_failed(page)) return error_no_memory(err);
    if (strchr(text_string(page), BEGIN)) rc = draw_all(&out, text_string(page), err);
    else                                  rewrite(&out, text_string(page), "", "");
    if (text_failed(&out)) rc = error_no_memory(err);
    text_free(page);
    *page = out;
    return rc;
}
