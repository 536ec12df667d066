/* Inside the comparison: how the best plan of each schedule is found. Each fills row with
 * the fastest plan it knows, or with why there is none; -1 only without memory. */
#ifndef PLANNER_COMPARE_SCHEDULE_H
#define PLANNER_COMPARE_SCHEDULE_H

#include "planner/candidate.h"
#include "planner/compare_options.h"

/* Whether each device can have a row of the batch; where not, row says so. */
bool compare_has_rows(Candidate *row, const Scenario *scenario);

/* The best plan of tr, dpu, ir or ahd that the partition search proposes. */
int compare_relay(Candidate *row, Schedule schedule, const Scenario *scenario,
                  const CompareOptions *options, Error *err);
/* Adds to row, which compare_relay() has filled, what is faster under the simulator
 * (planner/relay_search.h). */
int compare_relay_improve(Candidate *row, Schedule schedule, const Scenario *scenario,
                          const CompareOptions *options, Error *err);
int compare_ls(Candidate *row, const Scenario *scenario, const CompareOptions *options, Error *err);

/* Starts from ahd, the best plan of that schedule (NULL: finds it). */
int compare_split(Candidate *row, const Candidate *ahd, const Scenario *scenario,
                  const CompareOptions *options, Error *err);

/* Where the trace has tiers. store's first epoch is relay's plan, where that has one. */
int compare_sequential(Candidate *row, const Scenario *scenario, Error *err);
int compare_store(Candidate *row, const Candidate *relay, const Scenario *scenario, Error *err);

/* tr, dpu and ahd where devices are of several kinds or in an order asked for; adds to
 * row what is faster than what is there. */
int compare_hetero(Candidate *row, Schedule schedule, const Scenario *scenario,
                   const CompareOptions *options, Error *err);

/* Of bottlenecks within limit_ns (0: all) those of interest behind an optimum that was tried: where
 * only the fastest plan is wanted none that is longer than that of a plan as fast as what row has.
 */
int64_t compare_others_limit(const Candidate *row, const Scenario *scenario,
                             const CompareOptions *options, int64_t limit_ns);

/* dp and ir with shares by the devices' speed, kept when faster than what is in row. */
int compare_mixed_shares(Candidate *row, Schedule schedule, const Scenario *scenario, Error *err);

/* The least bottleneck of all orders and shares without messages; 0: not known. */
int compare_mixed_bound(int64_t *bottleneck_ns, const Scenario *scenario, Error *err);

/* The bottleneck that no partition beats, over all steps; 0: not known. */
int compare_relay_bound(int64_t *out, const Scenario *scenario, Error *err);

#endif
