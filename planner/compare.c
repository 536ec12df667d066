#include "planner/compare.h"

#include "planner/memory_feasibility.h"

/* The error of a comparison without any plan: why, and what would help. Returns -1. */
static int refuse(const Scenario *scenario, const CompareOptions *options, const char *why,
                  Error *err)
{
    Text advice = {0};

    if (memory_feasibility_advice(&advice, scenario, options, err) == 0)
        error_set(err, "no schedule is possible: %s%s%s", why,
                  advice.length ? "; what would help, each alone: " : "", text_string(&advice));
    text_free(&advice);
    return -1;
}

int compare(Comparison *out, const Scenario *scenario, const CompareOptions *options, Error *err)
{
    const char *why = "none was asked for";

    if (compare_rows(out, scenario, options, err) != 0) return -1;
    if (out->best >= 0) {
        if (compare_bound(&out->bound_ns, scenario, err) == 0) return 0;
        comparison_free(out);
        return -1;
    }
    for (int i = 0; i < SCHEDULE_COUNT; i++)         /* the last, ahd, has the most plans */
        if (out->rows[i].why[0]) why = out->rows[i].why;
    return refuse(scenario, options, why, err);
}
