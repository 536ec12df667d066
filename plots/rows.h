/* Horizontal bars in a page: a row a thing, its name on the left, its value on the right. Boxes of
 * a row are given in the axis's units. rows_put() draws and frees. */
#ifndef PLOTS_ROWS_H
#define PLOTS_ROWS_H

#include "plots/plot.h"

typedef struct { double x0, x1, top, bottom; int colour, row; char text[24]; } RowsBox;

enum { ROWS_NAME = 40, ROWS_VALUE = 24 };

typedef struct {
    double   most;                       /* the axis's end */
    RowsBox *boxes;
    int      box_count, box_room;
    struct { char name[ROWS_NAME], value[ROWS_VALUE], note[ROWS_VALUE]; double low, high; } *rows;
    int      row_count, row_room;
    bool     failed;                     /* without memory */
} Rows;                                  /* {.most = ...} */

/* The next row; what follows is about it. */
void rows_add(Rows *rows, const char *name);

/* From x0 to x1, between top and bottom, which go from 0 to 1 down the row. text stands in it where
 * there is room. */
void rows_box(Rows *rows, double x0, double x1, double top, double bottom, int colour,
              const char *text);

/* On the right; in the place of bars; and a range from low to high. */
void rows_value(Rows *rows, const char *text);
void rows_note(Rows *rows, const char *text);
void rows_range(Rows *rows, double low, double high);

/* Into page; label says what it shows. */
void rows_put(Rows *rows, Text *page, const char *label);

/* In rows_put()'s place. */
void rows_free(Rows *rows);

#endif
