/* Plots: a kind reads files of this project's formats and writes a gnuplot script
 * (docs/plots.md); gnuplot draws it. Reading errors carry path:line:column. */
#ifndef PLOTS_PLOT_H
#define PLOTS_PLOT_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

typedef struct {
    Text script;             /* gnuplot commands, without terminal and output */
    int  width, height;      /* CSS pixels */
} Plot;                      /* {0}, then one plot_...(); plot_free() it either way */

typedef enum {
    METRIC_EPOCH,
    METRIC_SPEEDUP,
    METRIC_UTILISATION,
    METRIC_MEMORY,
    METRIC_COUNT
} Metric;

/* Comparisons (pipebd-plan --format json): speedup over DP, a group of bars each. */
int plot_speedup(Plot *out, const char *const *paths, int count, Error *err);

/* Simulations (pipebd-sim --format json): a bar a device, a group each. */
int plot_breakdown(Plot *out, const char *const *paths, int count, Error *err);
int plot_memory(Plot *out, const char *const *paths, int count, Error *err);

/* Validations (pipebd-run validate): epoch times, predicted beside measured. */
int plot_validation(Plot *out, const char *const *paths, int count, Error *err);

/* Timelines from from_us to to_us; negative: three steps from the middle. Several stand one
 * above the other, each from the beginning of its own window on, to the same scale. */
enum { GANTT_MAX = 8 };
int plot_gantt(Plot *out, const char *const *paths, int count, double from_us, double to_us,
               Error *err);

/* A sweep of epochs: total time, a line a schedule, and the epochs at which another schedule
 * becomes the fastest. */
int plot_horizon(Plot *out, const char *path, Error *err);

/* A sweep of one path, or of two (a panel for each value of the second). */
int plot_sweep(Plot *out, const char *path, Metric metric, Error *err);

/* The log of a run (pipebd-run train --log): losses, throughput, waits over steps. */
int plot_progress(Plot *out, const char *path, Error *err);

void plot_free(Plot *plot);

/* Whether output ends in a form that can be drawn: .svg, .png, .pdf. */
bool plot_has_ending(const char *output);

/* The whole script, terminal chosen by the ending of output. */
int plot_text(Text *out, const Plot *plot, const char *output, Error *err);

/* Runs gnuplot; output is complete or as it was before. */
int plot_render(const Plot *plot, const char *output, Error *err);

/* ---- for the kinds ---- */

/* A gnuplot string that shows as it is, whatever it contains; control characters are spaces, and
 * what is not UTF-8 is U+FFFD. plot_tic(): the same where gnuplot takes it for a format, as labels
 * of tics are. */
void plot_string(Text *out, const char *string);
void plot_tic(Text *out, const char *string);

/* Grey axes and a light horizontal grid; plot_begin() with a title in two sizes. */
void plot_axes(Plot *plot, int width, int height);
void plot_begin(Plot *plot, int width, int height, const char *title, const char *subtitle);

/* Boxes and texts in axis coordinates, written by scene_end() as one plot command. */
typedef struct {
    Text   boxes, thin, labels, keys;
    double thin_below;       /* narrower boxes have no white border, which would hide them */
} Scene;

/* A box from (x0, y0) to (x1, y1), colour 0xRRGGBB; a text at (x, y), align as gnuplot's ("center
 * offset 0,-1"), size in points; a line of the legend. {0} is an empty scene. */
void scene_box(Scene *scene, double x0, double x1, double y0, double y1, int colour);
void scene_label(Scene *scene, double x, double y, const char *align, int size, int colour,
                 const char *string);
void scene_key(Scene *scene, int colour, const char *string);
int  scene_end(Scene *scene, Plot *plot, Error *err);        /* frees scene */

#endif
