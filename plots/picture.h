/* Plots in a page of HTML: gnuplot's SVG, in the page itself, in the page's colours, light or dark.
 *
 * While a page is written a picture stands in it as its scripts, between bytes that no text of a
 * page holds. pictures_draw() then has gnuplot draw all of them in one run. */
#ifndef PLOTS_PICTURE_H
#define PLOTS_PICTURE_H

#include "plots/plot.h"

/* Appends a picture, which it frees. narrow: drawn for telephones, or NULL: one for all widths.
 * label says what it shows to those who do not see it. */
void picture_put(Text *page, Plot *plot, Plot *narrow, const char *label);

/* Where the line stands that says why there are no pictures. */
void picture_line(Text *page);

/* Draws the pictures of page. Without gnuplot, or where it fails, the page has none, and the
 * line. */
int pictures_draw(Text *page, Error *err);

#endif
