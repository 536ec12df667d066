/* The progress of a run, from its log: losses, throughput, what devices waited, over steps. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "plots/log.h"
#include "plots/plot.h"

enum {
    POINTS = 500,            /* of a line, at most: more are put together */
    NAMES = 14,              /* of lines in a panel */
    EPOCH_LINES = 25,
    WIDTH = 900, HEIGHT = 760
};

typedef struct {
    const LoggedRun *log;
    Text      *out;
    int64_t    last;         /* step */
} LossDrawing;

/* ---- lines ----------------------------------------------------------------------- */

/* A few lines have colours of their own, more a ramp from dark blue over green to orange. */
static unsigned colour_of(int i, int count)
{
    static const unsigned few[] = {0x0072B2, 0xD55E00, 0x009E73, 0xE69F00,
                                   0xCC79A7, 0x56B4E9, 0x666666};
    static const int      stops[][3] = {
             {0x00, 0x4B, 0x87}, {0x00, 0x9E, 0x73}, {0xE6, 0x9F, 0x00}, {0xD5, 0x5E, 0x00}};

    if (count <= (int)(sizeof few / sizeof *few)) return few[i];
    double   at = 3.0 * i / (count - 1);
    int      low = at >= 3 ? 2 : (int)at;
    unsigned colour = 0;
    for (int c = 0; c < 3; c++)
        colour =
            colour << 8
            | (unsigned)lround(stops[low][c] + (at - low) * (stops[low + 1][c] - stops[low][c]));
    return colour;
}

/* Means of neighbours, so that a line has at most POINTS points. */
typedef struct {
    Text   *out;
    double  width, edge;     /* steps that are put together; where these end */
    double  x, y;            /* sums */
    int     count;
} Thinner;

static void thin_flush(Thinner *t)
{
    if (t->count) text_printf(t->out, "%.9g %.6g\n", t->x / t->count, t->y / t->count);
    t->x = t->y = 0;
    t->count = 0;
}

static void thin_add(Thinner *t, double x, double y)
{
    if (x > t->edge) {
        thin_flush(t);
        t->edge = t->width > 0 ? t->width * ceil(x / t->width) : x;
    }
    t->x += x;
    t->y += y;
    t->count++;
}

/* Of a block's loss, a device's wait, or (which -1) the rate: whether the point has it, and
 * where. */
typedef bool LogValue(const LogPoint *p, int which, double *x, double *y);

static bool loss_at(const LogPoint *p, int which, double *x, double *y)
{
    *x = (double)p->block_step[which];
    *y = p->loss[which];
    return p->block_step[which] > 0 && *y > 0;       /* on a logarithmic axis */
}

static bool wait_at(const LogPoint *p, int which, double *x, double *y)
{
    *x = (double)p->step;
    *y = which < p->devices ? 100 * p->wait[which] : NAN;
    return !p->lost && !isnan(*y);
}

static bool rate_at(const LogPoint *p, int which, double *x, double *y)
{
    (void)which;
    *x = (double)p->step;
    *y = p->images_per_s;
    return !p->lost && !isnan(*y);
}

/* A data block; whether it has a point. */
static bool write_line(const LossDrawing *d, const char *name, int which, LogValue *value)
{
    Thinner thinner = {.out = d->out,
                       .width = d->log->point_count > POINTS ? (double)d->last / POINTS : 0,
                       .edge = -1};
    double  x, y;
    bool    any = false;

    text_printf(d->out, "$%s%d << END\n", name, which);
    for (int i = 0; i < d->log->point_count; i++) {
        if (!value(&d->log->points[i], which, &x, &y)) continue;
        thin_add(&thinner, x, y);
        any = true;
    }
    thin_flush(&thinner);
    text_append(d->out, "END\n");
    return any;
}

/* "plot" of count lines, named and coloured; of many only some have a name. */
static void plot_lines(const LossDrawing *d, const char *name, int count, LogValue *value,
                       const char *const *names)
{
    Text plot = {0};
    int  each = (count + NAMES - 1) / NAMES;

    for (int i = 0; i < count; i++) {
        if (!write_line(d, name, i, value)) continue;
        text_printf(&plot, "%s$%s%d using 1:2 with lines lw 1.5 lc rgb '#%06x' ",
                    plot.length ? ", \\\n    " : "plot ", name, i, colour_of(i, count));
        if (i % each && i != count - 1) text_append(&plot, "notitle");
        else { text_append(&plot, "title "); plot_string(&plot, names[i]); }
    }
    text_append(d->out, plot.length ? text_string(&plot) : "plot NaN notitle");
    text_append(d->out, "\n");
    d->out->failed = d->out->failed || text_failed(&plot);
    text_free(&plot);
}

/* ---- panels ------------------------------------------------------------------------ */

/* Ends of epochs as pale lines, every so many where there are many; above the first panel their
 * numbers. */
static void mark_epochs(const LossDrawing *d, bool numbers)
{
    int64_t epochs = d->last / d->log->steps_per_epoch, each = 1;

    static const int nice[] = {2, 5, 10};
    for (int64_t unit = 1; epochs / each > EPOCH_LINES; unit *= 10)
        for (int i = 0; i < 3 && epochs / each > EPOCH_LINES; i++) each = nice[i] * unit;
    for (int64_t e = each; e <= epochs; e += each) {
        double x = (double)(e * d->log->steps_per_epoch);
        text_printf(d->out,
                    "set arrow from first %.9g, graph 0 to first %.9g, graph 1 nohead back lc rgb "
                    "'#e4e4e4'\n",
                    x, x);
        if (numbers)
            text_printf(d->out,
                        "set label '%s%" PRId64
                        "' at first %.9g, graph 1 center offset 0,0.5 font ',8' tc rgb '#999999'\n",
                        e == each ? "epoch " : "", e, x);
    }
}

static void mark_changes(const LossDrawing *d, bool names)
{
    for (int i = 0; i < d->log->mark_count; i++) {
        const LogMark *m = &d->log->marks[i];
        const char    *colour = m->kind == MARK_RESUMED ? "#999999" : "#CC79A7";
        text_printf(d->out,
                    "set arrow from first %.9g, graph 0 to first %.9g, graph 1 nohead lw 1.5 dt 2 "
                    "lc rgb '%s'\n",
                    (double)m->step, (double)m->step, colour);
        if (names)
            text_printf(d->out,
                        "set label '%s' at first %.9g, graph 0.95 left offset 0.4,0 font ',9' tc "
                        "rgb '%s'\n",
                        m->kind == MARK_RESUMED ? "resumed" : "new plan", (double)m->step, colour);
    }
}

static void begin_panel(const LossDrawing *d, bool first, const char *label)
{
    if (!first) text_append(d->out, "unset label\nunset logscale y\n");
    text_append(d->out, "unset arrow\n");
    mark_epochs(d, first);
    mark_changes(d, first);
    text_printf(d->out, "set ylabel '%s'\n", label);
}

static double most_rate(const LossDrawing *d)
{
    double most = 0, x, y;

    for (int i = 0; i < d->log->point_count; i++)
        if (rate_at(&d->log->points[i], 0, &x, &y) && y > most) most = y;
    return most > 0 ? most : 1;
}

static void draw_rate(const LossDrawing *d)
{
    begin_panel(d, false, "samples/s");
    text_printf(d->out, "set yrange [0:%.6g]\n", 1.1 * most_rate(d));
    bool any = write_line(d, "rate", 0, rate_at);
    text_append(d->out, any ? "plot $rate0 using 1:2 with lines lw 1.5 lc rgb '#444444' notitle\n"
                            : "plot NaN notitle\n");
}

static int draw_waits(const LossDrawing *d, Error *err)
{
    int          n = d->log->devices;
    char       (*text)[24] = calloc((size_t)n, sizeof *text);
    const char **names = calloc((size_t)n, sizeof *names);

    if (text && names) {
        for (int i = 0; i < n; i++) {
            snprintf(text[i], sizeof text[i], "device %d", i);
            names[i] = text[i];
        }
        begin_panel(d, false, "waiting, %");
        text_append(d->out, "set yrange [0:100]\nset xlabel 'step'\nset format x\n");
        plot_lines(d, "wait", n, wait_at, names);
    }
    int rc = text && names ? 0 : error_no_memory(err);
    free(text);
    free(names);
    return rc;
}

/* Whether there is one that a logarithmic axis can show. */
static bool any_loss(const LoggedRun *log)
{
    double x, y;

    for (int i = 0; i < log->point_count; i++)
        for (int b = 0; b < log->blocks; b++)
            if (loss_at(&log->points[i], b, &x, &y)) return true;
    return false;
}

/* The log as a plot of three panels: losses, the rate, and what devices wait for. */
static int draw(const LoggedRun *log, Plot *out, Error *err)
{
    LossDrawing d = {.log = log, .out = &out->script};
    char    title[160], subtitle[200];

    for (int i = 0; i < log->point_count; i++)
        if (log->points[i].step > d.last) d.last = log->points[i].step;
    for (int i = 0; i < log->point_count; i++)
        for (int b = 0; b < log->blocks; b++)
            if (log->points[i].block_step[b] > d.last) d.last = log->points[i].block_step[b];
    snprintf(title, sizeof title, "%.100s", log->workload);
    snprintf(subtitle, sizeof subtitle,
             "%s on %d devices, batch %" PRId64 ", step %" PRId64 " of %" PRId64, log->schedule,
             log->run_devices, log->batch, d.last, log->total_steps);
    plot_begin(out, WIDTH, HEIGHT, title, subtitle);
    text_printf(
        d.out,
        "set xrange [0:%" PRId64 "]\nset format x ''\n"
        "set label 1 offset 0,3\nset label 2 offset 0,1.8\n"
        "set key at graph 1.01, graph 1 left top vertical Left reverse samplen 1.5 spacing 1.1 "
        "font ',10'\n"
        "set multiplot layout 3,1 margins char 10,char 14,char 4,char 5 spacing char 1,char 1.6\n"
        "set format y '%%g'\n",
        d.last > 0 ? d.last : 1);
    text_append(d.out, any_loss(log) ? "set logscale y\n"
                                     : "set yrange [0:1]\nset label 3 'no loss above 0' at graph "
                                       "0.5, graph 0.5 center tc rgb '#888888'\n");
    begin_panel(&d, true, "loss");
    plot_lines(&d, "loss", log->blocks, loss_at, (const char *const *)log->block_names);
    draw_rate(&d);
    if (draw_waits(&d, err) != 0) return -1;
    text_append(d.out, "unset multiplot\n");
    return text_failed(d.out) ? error_no_memory(err) : 0;
}

int plot_progress(Plot *out, const char *path, Error *err)
{
    LoggedRun log;
    int rc = log_read(&log, path, err);

    if (rc == 0) rc = draw(&log, out, err);
    log_free(&log);
    return rc;
}
