/* split: from ahd's best plan, which is a split plan too. */
#include <stdio.h>

#include "planner/compare_schedule.h"

/* The same program in split's words: the stages run the teacher, and their blocks'
 * students are tasks on the same devices with the same rows. */
static int plan_of_ahd(Plan **out, const Plan *ahd, Error *err)
{
    Plan *plan;

    *out = NULL;
    if (plan_copy(&plan, ahd, err) != 0) return -1;
    plan->schedule = SCHEDULE_SPLIT;
    if (plan_add_tasks(plan, err) != 0) goto fail;
    for (int t = 0, s = 0; t < plan->task_count; t++) {
        while (plan->stages[s].last < plan->tasks[t].first) s++;
        const Stage *stage = &plan->stages[s];
        if (plan_place(plan, &plan->tasks[t], stage->devices, stage->rows, stage->width, err) != 0) goto fail;
    }
    *out = plan;
    return 0;
fail:
    plan_free(plan);
    return -1;
}

static int compare_from(Candidate *row, const Candidate *ahd, const Scenario *s, Error *err)
{
    Plan *plan;

    if (!ahd->plan) { snprintf(row->why, sizeof row->why, "%s", ahd->why); return 0; }
    row->ahd_ns = ahd->sim.epoch_ns;
    if (plan_of_ahd(&plan, ahd->plan, err) != 0) return -1;
    return candidate_try(row, plan, "the best plan of ahd", s, err);
}

int compare_split(Candidate *row, const Candidate *ahd, const Scenario *s, const CompareOptions *options,
                  Error *err)
{
    Candidate own = {0};

    if (ahd) return compare_from(row, ahd, s, err);
    int rc = compare_relay(&own, SCHEDULE_AHD, s, options, err);
    if (rc == 0) rc = compare_from(row, &own, s, err);
    candidate_free(&own);
    return rc;
}
