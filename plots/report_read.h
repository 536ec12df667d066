/* What a report shows, as read from a comparison (pipebd-plan --format json) or a validation
 * (pipebd-run validate). Keys that a report can do without may be absent: files of earlier
 * versions and of other programs make pages too, with less on them. Numbers that are absent
 * or null are NAN. */
#ifndef PLOTS_REPORT_READ_H
#define PLOTS_REPORT_READ_H

#include "base/arena.h"
#include "base/json.h"
#include "plots/gantt.h"
#include "schedule/plan.h"
#include "sim/memory.h"
#include "sim/sim.h"

typedef struct { const char *kind; int64_t count; } DeviceKind;

typedef struct {
    double share_us[SHARE_COUNT];
    double limit_bytes, total_bytes, part_bytes[MEMORY_COUNT];
} DeviceUse;

typedef struct {
    Schedule   schedule;
    bool       known;        /* there is a plan */
    Stage     *stages, *tasks, *later;   /* later: of the epochs behind the first */
    int        stage_count, task_count, later_count;
    double     bottleneck_us;
} PlanShown;

typedef struct {
    Schedule    schedule;
    const char *why;         /* not NULL: not possible, and the rest does not hold */
    const char *method;      /* NULL: not told */
    double epoch_s, speedup, step_us, utilisation, teacher_work, loads, peak_bytes, ahd_s, bound_s;
    PlanShown   plan;
    DeviceUse  *devices;     /* [device_count] */
    int         device_count;
} ComparedRow;

typedef struct {
    const char *input, *slower_schedule, *faster_schedule;     /* NULL: no flip */
    double      slower_percent, faster_percent;
} MarginRow;

typedef struct { Op op; double predicted_us, measured_us; } OpTime;

typedef struct {
    Schedule    schedule;
    const char *why;
    bool        chosen;
    double predicted_s, measured_s, least_s, most_s, predicted_speedup, measured_speedup, overhead,
        standard_error, speed;
    double      predicted_bytes, measured_bytes;
    OpTime     *ops;
    int         op_count;
} ValidatedRow;

/* What comparisons and validations both say of themselves. Strings are borrowed from doc, NULL
 * where they are absent. */
typedef struct {
    Arena        arena;      /* owns the arrays */
    Json        *doc;        /* owned */
    const char  *path;       /* borrowed */
    const char  *trace, *trace_hash, *command, *provenance, *source, *date, *notes, *workload;
    double       batch, steps;
    const char **blocks;
    int          block_count;
    DeviceKind  *kinds;
    int          kind_count;
    PlanShown    plan;       /* chosen */
    const char **missing;
    int          missing_count;
    bool         missing_known;
    const char **warnings;     /* notes[]: what is likely a mistake, and what was extrapolated */
    int          warning_count;
} RunFacts;

typedef struct {
    RunFacts     facts;
    ComparedRow *rows;
    int          row_count;
    double       bound_s;
    Schedule     over;       /* what speedups are over */
    bool         over_known; /* there is one */
    double       epochs;     /* of the job; 1 where it is not told */
    bool         stores;     /* there is an answer to whether storing pays: */
    double       store_s, relay_s, recompute_s, sequential_s;        /* of all epochs; 0: not
                                                                      * possible */
    double       pays_from, relaying_below;                          /* epochs, bytes a second; 0:
                                                                      * none */
    Gantt        step;       /* rows 0: none */
    const char  *runner_up;  /* schedule; NULL: none */
    double       runner_up_s;
    MarginRow      *margins;
    int          margin_count;
    bool         sensitivity_known;
} ComparisonFile;

typedef struct {
    RunFacts      facts;
    ValidatedRow *rows;
    int           row_count;
    double        median_error, worst_error;
    const char   *warning;     /* why errors say little; NULL: they do not */
    bool          order_known, same_order;
} ValidationFile;

/* Takes doc over, also when it fails. Errors carry path:line:column. Free out either way. */
int  comparison_read(ComparisonFile *out, Json *doc, const char *path, Error *err);
int  validation_read(ValidationFile *out, Json *doc, const char *path, Error *err);
void comparison_file_free(ComparisonFile *file);
void validation_file_free(ValidationFile *file);

/* Of a schedule; NULL: it is not there, or not possible. */
const ComparedRow *compared_row(const ComparisonFile *file, Schedule schedule);

/* The name of a block, or its number into room (at least 24 bytes). */
const char *facts_block(const RunFacts *facts, int block, char *room);

#endif
