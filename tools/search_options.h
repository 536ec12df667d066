/* The options for the lists of ls: rows of a table of options (base/options.h) for the
 * fields ls and time_limit of a tool's settings; and what they, and those of the partition search,
 * need to have an effect. */
#ifndef TOOLS_SEARCH_OPTIONS_H
#define TOOLS_SEARCH_OPTIONS_H

#include "base/options.h"
#include "planner/compare.h"
#include "schedule/registry.h"

#ifdef HAVE_GLPK
#include "planner/ls/glpk/tasks_glpk.h"
#define SEARCH_MIP (&glpk_solver)
#else
#define SEARCH_MIP NULL
#endif

#define LS_OPTIONS(s)                                                                              \
    {"ls", 0, OPTION_CHOICE, "METHOD", "How ls assigns tasks to devices: lpt, multifit, "     \
     "glpk, exact, stealing; or all: the fastest of lpt, exact and stealing.", &(s).ls, 0, 0,      \
     ls_method_names, false},                                                                      \
    {"time-limit", 0, OPTION_NUMBER, "SECONDS", "Time limit of --ls exact|glpk (default: a fixed " \
     "number of nodes, which is reproducible).", &(s).time_limit, 0, 0, NULL, false}

/* At least 1 where a limit is given. */
static inline int64_t limit_ms(double seconds)
{
    return seconds <= 0 ? 0 : seconds < 1e-3 ? 1 : (int64_t)(seconds * 1e3);
}

/* Refuses those that would change nothing; list is the option of the schedules. */
static inline int search_options_check(const Option *table, int method, double time_limit,
                                       unsigned schedules, const char *list, Error *err)
{
    static const char *const partitions[] = {"cost", "candidates", "order"};
    bool ls = schedules & 1u << SCHEDULE_LS;

    for (int i = 0; i < 3; i++)
        if (option_given(table, partitions[i]) && !(schedules & schedules_partitioned()))
            return error_set(err, "--%s: no effect without tr, dpu, ahd or split in --%s",
                             partitions[i], list);
    if (option_given(table, "ls") && !ls)
        return error_set(err, "--ls: no effect without ls in --%s", list);
    if (!option_given(table, "time-limit")) return 0;
    if (!ls) return error_set(err, "--time-limit: no effect without ls in --%s", list);
    if (!ls_method_searches((LsMethod)method))
        return error_set(err, "--time-limit: no effect with --ls %s, which does not search",
                         ls_method_names[method]);
    if (!(time_limit > 0 && time_limit <= 1e6))
        return error_set(err, "--time-limit %g: expected more than 0 and at most 1000000 seconds",
                         time_limit);
    return 0;
}

#endif
