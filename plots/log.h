/* Reading the log of a run (docs/formats.md, "pipebd-log"): what counts of it, in columns.
 *
 * A resumed run's lines follow those of the run before, from the step of the checkpoint on. What
 * the run before did beyond that step was lost and is left out here. A last line without its end is
 * what a killed run left: it is not looked at. */
#ifndef PLOTS_LOG_H
#define PLOTS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

/* A progress line. */
typedef struct {
    double   time_s, images_per_s;       /* images NaN: not known */
    int64_t  step, steps;                /* at its end; that it stands for */
    double  *loss;                       /* [blocks]; NaN: not trained */
    int64_t *block_step;                 /* [blocks]; -1: lost to a resume */
    int      devices;
    double  *work, *wait;                /* [devices] shares; NaN: not known */
    bool     lost;                       /* by a resume, but for blocks whose step is not -1 */
} LogPoint;

typedef enum { MARK_RESUMED, MARK_REPLANNED } LogMarkKind;
typedef struct { LogMarkKind kind; int64_t step; } LogMark;

typedef struct {
    char      *workload, *schedule;      /* schedule: of the last start */
    char     **block_names;              /* [blocks] */
    int        blocks, devices;          /* devices: the most of any run */
    int        run_devices;              /* of the last start */
    int64_t    batch, steps_per_epoch, total_steps;
    LogPoint  *points;
    int        point_count, point_capacity;
    LogMark   *marks;
    int        mark_count, mark_capacity;
    bool       begun;
} LoggedRun;

/* log_free() out whatever comes back. Errors carry path:line:column. */
int  log_read(LoggedRun *out, const char *path, Error *err);
void log_free(LoggedRun *log);

#endif
