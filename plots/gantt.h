/* What happens on the devices in a window of time: boxes in tracks, read from a timeline
 * (pipebd-sim --timeline, pipebd-run) or from a comparison's "step". */
#ifndef PLOTS_GANTT_H
#define PLOTS_GANTT_H

#include "base/json.h"
#include "schedule/program.h"
#include "schedule/timeline.h"

enum { GANTT_STEPS = 3 };

#define LEAST_BUSY 0.005     /* of the window: what lanes that overlap with compute are shown
                              * from */

typedef struct {
    int     device, track, row;              /* row -1: not shown */
    Op      op;
    int     block;
    int64_t step;
    double  start_us, end_us;
} Box;

typedef struct {
    int  device, track;
    char name[32];           /* of the lane */
    double busy;             /* part of the window */
    bool used, shown;
    int  row;
} Track;

typedef struct {
    Box     *boxes;
    int      box_count;
    Track   *tracks;
    int      track_count, rows;
    char     trace[128], hash[32], schedule[16];   /* hash "": not told */
    bool     measured, left_out;
    double   from_us, to_us;
    int64_t  steps;          /* of a comparison's "step": so many, which take turns */
} Gantt;

/* A timeline, from from_us to to_us; negative: that many steps from the middle. Fails when
 * nothing happens then. gantt_free() out whether it fails or not. */
int  gantt_read(Gantt *out, const char *path, int steps, double from_us, double to_us, Error *err);

/* The same of one that was read already; path stands in the message. */
int gantt_parse(Gantt *out, const Json *doc, const char *path, int steps, double from_us,
                double to_us, Error *err);

/* The "step" of a comparison. */
int  gantt_step(Gantt *out, const JsonAt *step, Error *err);

/* Whether some of box is in the window. */
bool gantt_within(const Gantt *gantt, const Box *box);

/* A picture of it into a page; and whether op is in it (OP_SEND: a relay, of either end). */
void gantt_put(const Gantt *gantt, Text *page, const char *label);
bool gantt_shows(const Gantt *gantt, Op op);

/* How many rows have no place in it. */
int  gantt_rows_left_out(const Gantt *gantt);

void gantt_free(Gantt *gantt);

#endif
