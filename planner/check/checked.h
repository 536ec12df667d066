/* What the checker says of a plan: times in ns, of a step where nothing else is said. */
#ifndef PLANNER_CHECK_CHECKED_H
#define PLANNER_CHECK_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#include "schedule/plan.h"

/* A device's part in a stage, a step of it. */
typedef struct {
    int64_t load_ns, teacher_ns, student_ns, reduce_ns, update_ns;
    int64_t in_ns, out_ns;       /* messages: before the stage, and after it */
    int64_t step_ns;             /* what they come to together */
    int64_t memory_bytes;        /* at the peak of the step */
} CheckedPart;

typedef struct {
    int64_t     step_ns;         /* of the slowest device */
    int         slowest;         /* index in the stage's devices; -1: none named */
    CheckedPart part;            /* its */
    int64_t     memory_bytes;    /* of the device that needs most of what it has ... */
    int         memory_device;   /* ... and which it is */
    bool        group_across;    /* the stage's devices are on several machines */
    bool        in_across;       /* what comes in crosses machines */
} CheckedStage;

/* Of a plan that stores: a stage in the first epoch, or in those after it. */
typedef struct {
    const Stage *stage;          /* the plan's */
    bool         later;          /* after the first epoch */
    bool         relays;         /* the first epoch's: what comes in is sent by the stage before */
    int          from;           /* the boundary that it starts with */
    int64_t      epochs;
    CheckedPart  part;           /* of the slowest device */
    int64_t      fetched_bytes, stored_bytes;    /* a step, of all its devices */
} CheckedPhase;

typedef struct {
    CheckedStage *stages;        /* [plan->stage_count]; split and plans that store: NULL */
    CheckedPart  *devices;       /* split: [plan->device_count], else NULL */
    CheckedPhase *phases;        /* plans that store: [phase_count], else NULL */
    int           phase_count;
    int64_t       busy_ns;       /* plans that store: all epochs' work of the busiest device */
    int64_t       bottleneck_ns; /* 0: not known */
    int           bottleneck;    /* the stage, for ls, split and plans that store the device; -1:
                                  * none, or dp's, all of them */
} CheckedPlan;

#endif
