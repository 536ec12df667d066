/* split: ahd's best plan, which is a split plan too, and what a search makes of it. */
#include <stdio.h>

#include "planner/compare_schedule.h"
#include "planner/split/split.h"
#include "planner/split/split_cost.h"

/* The same program in split's words: the stages run the teacher, and their blocks'
 * students are tasks on the same devices with the same rows. */
static int plan_of_ahd(Plan **out, const Plan *ahd, Error *err)
{
    Plan *plan;

    *out = NULL;
    if (plan_copy(&plan, ahd, err) != 0) return -1;
    plan->schedule = SCHEDULE_SPLIT;
    plan->bottleneck_ns = 0;             /* of stages with their students: not what split counts */
    if (plan_add_tasks(plan, err) != 0) goto fail;
    for (int t = 0, s = 0; t < plan->task_count; t++) {
        while (plan->stages[s].last < plan->tasks[t].first) s++;
        const Stage *stage = &plan->stages[s];
        if (plan_place(plan, &plan->tasks[t], stage->devices, stage->rows, stage->width, err) != 0)
            goto fail;
    }
    *out = plan;
    return 0;
fail:
    plan_free(plan);
    return -1;
}

static int64_t bound_of(const Scenario *s)
{
    int64_t bound;

    return __builtin_mul_overflow(split_bound(s), s->steps, &bound) ? 0 : bound;
}

/* ahd's fastest plan first: what is kept is then never slower. */
static int compare_from(Candidate *row, const Candidate *ahd, const Scenario *s, Error *err)
{
    const Plan *fastest = ahd->faster_count > 0 ? ahd->faster[0].plan : ahd->plan;
    SplitResult found = {0};
    Plan       *plan;
    char        method[96];
    int         rc = -1;

    if (fastest) {
        row->ahd_ns = ahd->sim.epoch_ns;
        if (plan_of_ahd(&plan, fastest, err) != 0) return -1;
        if (candidate_try(row, plan, "the best plan of ahd", s, err) != 0) return -1;
    }
    row->bound_ns = bound_of(s);
    if (split_search(&found, fastest, s, err) != 0) return -1;
    snprintf(method, sizeof method, "search from ahd's plan and %d starts, %d simulated",
             found.starts, found.simulated);
    for (int i = 0; i < found.count; i++) {
        plan = found.plans[i];
        found.plans[i] = NULL;
        if (candidate_try(row, plan, method, s, err) != 0) goto done;
    }
    if (!row->plan && !row->why[0]) snprintf(row->why, sizeof row->why, "%.255s", ahd->why);
    rc = 0;
done:
    split_result_free(&found);
    return rc;
}

int compare_split(Candidate *row, const Candidate *ahd, const Scenario *s,
                  const CompareOptions *options, Error *err)
{
    Candidate own = {.long_run = options->long_run};

    if (ahd) return compare_from(row, ahd, s, err);
    int rc = compare_relay(&own, SCHEDULE_AHD, s, options, err);
    if (rc == 0) rc = compare_from(row, &own, s, err);
    candidate_free(&own);
    return rc;
}
