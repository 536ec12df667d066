/* What a stage costs on a group of devices of several classes, each with a share of the
 * batch of its own: stage_cost() (planner/stages/stage_cost.h) with the shares that make the
 * slowest member as fast as possible (planner/hetero/shares.h).
 *
 * A class is devices that are alike: of a kind, and slowed down by the same what-if
 * factor. Members of a class are interchangeable but for the links, so a group is how
 * many it has of each.
 *
 * Shares need times that do not fall as rows grow. Where measured ones do
 * (group_costs_monotone() says whether), one of two takes their place: the greatest so
 * far, so that what is found is possible, or, optimistic, the least from there on, so that
 * nothing is faster than what is found. What lies between the two is not known. */
#ifndef PLANNER_HETERO_GROUP_COST_H
#define PLANNER_HETERO_GROUP_COST_H

#include "planner/hetero/shares.h"
#include "planner/stages/stage_cost.h"

typedef struct GroupCosts GroupCosts;

typedef struct {
    int        first, last;      /* blocks */
    const int *counts;           /* [classes] members */
    bool       reduce_across;    /* all-reduces, the message in and the message out go */
    bool       in_across;        /* between nodes */
    bool       out_across;
    bool       phase;            /* of dp: block last is trained, the teacher runs from the
                                  * input; first is last */
} HeteroGroup;

/* Borrows scenario for as long as out lives. kind: COST_SIM, or COST_BOUND, which takes
 * the faster link for all-reduces, whatever the group says, and is always optimistic.
 * group_costs_free() it. Fails only without memory. */
int  group_costs_build(GroupCosts **out, const Scenario *scenario, CostKind kind, bool optimistic,
                       Error *err);
void group_costs_free(GroupCosts *costs);

/* How many classes there are, numbered from 0; that of a device. */
int  group_costs_classes(const GroupCosts *costs);
int  group_costs_class(const GroupCosts *costs, int device);
const int *group_costs_counts(const GroupCosts *costs);          /* [classes] devices */
const Scenario *group_costs_scenario(const GroupCosts *costs);

/* No time of a block, and no message, falls as rows grow. */
bool group_costs_monotone(const GroupCosts *costs);

/* Some look-up found no memory: what the others gave since is not to be trusted. */
bool group_costs_failed(const GroupCosts *costs);

/* The slowest member's step with the best shares that fit in each one's memory (of a
 * relaying schedule; not looked at for a phase of dp). STAGE_IMPOSSIBLE: there are none. */
int64_t group_cost(GroupCosts *costs, const HeteroGroup *group);

/* The same without limits of memory, without messages, without turns at the loader, and without the
 * update after the last all-reduce: at most the cost, and never less for a stage that contains this
 * one. */
int64_t group_floor(GroupCosts *costs, const HeteroGroup *group);

/* Shares that take group_cost(), class after class (shares_rows()). */
int     group_rows(int64_t *rows, GroupCosts *costs, const HeteroGroup *group, Error *err);

/* For a search with a limit: the least rows of a member of class in this group, whatever
 * the limit, and the most to be done by limit_ns; *most 0: none. Of group->counts only
 * the sum, the width, matters. floor: as group_floor() counts. The most is known to be known_least
 * to known_most: 0 and the batch where nothing is. */
void group_range(GroupCosts *costs, const HeteroGroup *group, bool floor, int class,
                 int64_t limit_ns, int64_t known_least, int64_t known_most, int64_t *least,
                 int64_t *most);

/* Whether a scenario has devices of more than one class. */
bool    scenario_is_mixed(const Scenario *scenario);

#endif
