#include "plots/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "plots/palette.h"
#include "plots/picture.h"

/* Pixels, of a picture that is drawn as wide as a telephone shows it, and enlarged a little on a
 * desk. */
enum {
    WIDTH = 400,
    ROW = 26,
    CHARACTER = 7,
    GAP = 8,
    MARGIN = 6,
    LEFT = 70,
    FONT = 12,
    SMALL = 11
};

enum { INK = 0x222222, FAINT = 0x888888 };

void rows_add(Rows *rows, const char *name)
{
    if (!array_has_room(rows->rows, rows->row_count, rows->row_room)) {
        rows->failed = true;
        return;
    }
    memset(&rows->rows[rows->row_count], 0, sizeof *rows->rows);
    rows->rows[rows->row_count].low = NAN;
    snprintf(rows->rows[rows->row_count++].name, ROWS_NAME, "%s", name);
}

void rows_box(Rows *rows, double x0, double x1, double top, double bottom, int colour,
              const char *text)
{
    if (rows->failed || !array_has_room(rows->boxes, rows->box_count, rows->box_room)) {
        rows->failed = true;
        return;
    }
    RowsBox *box = &rows->boxes[rows->box_count++];
    *box = (RowsBox){x0, x1, top, bottom, colour, rows->row_count - 1, ""};
    snprintf(box->text, sizeof box->text, "%s", text);
}

void rows_value(Rows *rows, const char *text)
{
    if (!rows->failed) snprintf(rows->rows[rows->row_count - 1].value, ROWS_VALUE, "%s", text);
}

void rows_note(Rows *rows, const char *text)
{
    if (!rows->failed) snprintf(rows->rows[rows->row_count - 1].note, ROWS_VALUE, "%s", text);
}

void rows_range(Rows *rows, double low, double high)
{
    if (rows->failed) return;
    rows->rows[rows->row_count - 1].low = low;
    rows->rows[rows->row_count - 1].high = high;
}

/* ---- drawing ---------------------------------------------------------------------- */

/* Rows go down: the first is the highest. */
static double height_of(const Rows *rows, int row, double down)
{
    return rows->row_count - row - down;
}

static int pixels_of(const char *text) { return (int)text_columns(text, strlen(text)) * CHARACTER; }

static void draw_boxes(const Rows *rows, Scene *scene, double pixel)
{
    for (int i = 0; i < rows->box_count; i++) {
        const RowsBox *b = &rows->boxes[i];
        double high = height_of(rows, b->row, b->top), low = height_of(rows, b->row, b->bottom);
        if (!(b->x1 > b->x0)) continue;
        scene_box(scene, b->x0, b->x1, low, high, b->colour);
        if (b->x1 - b->x0 > (pixels_of(b->text) + 2) * pixel && *b->text)
            scene_label(scene, (b->x0 + b->x1) / 2, (low + high) / 2, "center", SMALL,
                        colour_of_text(b->colour), b->text);
    }
}

static void draw_texts(const Rows *rows, Scene *scene, double pixel)
{
    for (int i = 0; i < rows->row_count; i++) {
        double middle = height_of(rows, i, 0.5);
        if (*rows->rows[i].note)
            scene_label(scene, GAP * pixel, middle, "left", FONT, FAINT, rows->rows[i].note);
        if (*rows->rows[i].value)
            scene_label(scene, rows->most + GAP * pixel, middle, "left", FONT, INK,
                        rows->rows[i].value);
        if (isnan(rows->rows[i].low)) continue;
        text_printf(&scene->labels,
                    "set arrow from %.9g,%.9g to %.9g,%.9g heads size screen 0.006,90 lw 1.5 lc "
                    "rgb '#222222' front\n",
                    rows->rows[i].low, height_of(rows, i, 0.7), rows->rows[i].high,
                    height_of(rows, i, 0.7));
    }
}

/* The rows as a plot: names on the left, bars, values on the right, margins as wide as the longest
 * of each. */
static int draw(const Rows *rows, Plot *plot, Error *err)
{
    Scene  scene = {0};
    int    left = LEFT, right = MARGIN, height = rows->row_count * ROW + 2 * MARGIN;
    double most = rows->most > 0 ? rows->most : 1;

    for (int i = 0; i < rows->row_count; i++) {
        left = (int)fmax(left, pixels_of(rows->rows[i].name) + GAP + MARGIN);
        right = (int)fmax(right, pixels_of(rows->rows[i].value) + GAP + MARGIN);
    }
    double pixel = most / (WIDTH - left - right);
    plot_axes(plot, WIDTH, height);
    text_printf(&plot->script,
                "set lmargin at screen %.6f\nset rmargin at screen %.6f\nset bmargin at screen "
                "%.6f\nset tmargin at screen %.6f\n",
                (double)left / WIDTH, 1 - (double)right / WIDTH, (double)MARGIN / height,
                1 - (double)MARGIN / height);
    text_printf(&plot->script,
                "unset border\nset grid noytics\nunset xtics\nset xrange [0:%.9g]\nset yrange "
                "[0:%d]\nset ytics (",
                most, rows->row_count);
    for (int i = 0; i < rows->row_count; i++) {
        text_append(&plot->script, i ? ", " : "");
        plot_tic(&plot->script, rows->rows[i].name);
        text_printf(&plot->script, " %.3f", height_of(rows, i, 0.5));
    }
    text_printf(&plot->script, ") scale 0 font ',%d' textcolor rgb '#222222'\n", FONT);
    scene.thin_below = 1.5 * pixel;
    draw_boxes(rows, &scene, pixel);
    draw_texts(rows, &scene, pixel);
    return scene_end(&scene, plot, err);
}

void rows_free(Rows *rows)
{
    free(rows->boxes);
    free(rows->rows);
    *rows = (Rows){0};
}

void rows_put(Rows *rows, Text *page, const char *label)
{
    Plot  plot = {0};
    Error err = {""};

    page->failed = page->failed || rows->failed;
    if (!rows->failed && rows->row_count) {
        page->failed = draw(rows, &plot, &err) != 0 || page->failed;
        picture_put(page, &plot, NULL, label);
    }
    rows_free(rows);
}
