/* Where an input is scaled: a copy of the trace that is set back by copying numbers. */
#ifndef PLANNER_WHATIF_SENSITIVITY_LAB_H
#define PLANNER_WHATIF_SENSITIVITY_LAB_H

#include "planner/whatif/sensitivity_job.h"

/* With nothing scaled. */
typedef struct {
    int64_t ns, bound_ns;        /* the kept plan's epoch, and its bound */
    int64_t fastest_ns;          /* of all plans found, the kept one among them */
    bool    tight;               /* the bound is as good as the epoch: a twentieth of a
                                  * thousandth */
} SensitivityBase;

/* A trace as it is and a copy to be edited, which is set back by copying numbers. */
typedef struct {
    const SensitivityJob  *job;
    const SensitivityBase *base;
    Trace         *given, *edited;
    WorkCache     *works;        /* of edited; NULL: none */
    bool           by_bound;     /* plans that relay are not simulated where their bounds tell
                                  * whether they win */
    HeteroMemo    *memo;         /* of the searches for all inputs that are a device's speed; NULL:
                                  * none, or another input */
} Lab;

/* The job's trace with its edits; *out may be set where it fails. */
int  lab_parse(Trace **out, const SensitivityJob *job, Error *err);

/* lab_close() also after an error. base: borrowed, or NULL. */
int  lab_open(Lab *lab, const SensitivityJob *job, const SensitivityBase *base, Error *err);
void lab_close(Lab *lab);

/* *known: the input at this scale, in *s, can be looked at; a number that it cannot be scaled to (a
 * time beyond what a trace may hold) leaves nothing to compare. *changed: it is not what it was.
 * scenario_free() s. */
int  lab_scale(Lab *lab, const Sensitivity *margin, int percent, Scenario *s, bool *known,
               bool *changed, Error *err);

#endif
