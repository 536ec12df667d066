/* Row shares of a group of devices of several classes: the batch is split so that the
 * slowest member finishes as early as possible.
 *
 *     class 0 (fast), two members   |######|  102 rows each
 *                                   |######|
 *     class 1 (slow), one member    |######|   52 rows
 *
 * Exact where a class takes no less time for more rows: the members that are done by T
 * have any number of rows from their least to a greatest, so that together they have
 * any number between the two sums, and the least T is found by bisection. */
#ifndef PLANNER_HETERO_SHARES_H
#define PLANNER_HETERO_SHARES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SHARES_IMPOSSIBLE INT64_MAX

/* Nanoseconds of a member with so many rows; does not fall as rows grow from the class's
 * least to its most. SHARES_IMPOSSIBLE: not so many. Must be a pure function. */
typedef int64_t ShareTime(void *context, int class, int64_t rows);

typedef struct {
    int            classes;
    const int     *counts;       /* [classes] members; some class has one */
    const int64_t *least, *most; /* [classes] rows of a member; least at least 1. least
                                  * above most: the class can have no member */
    int64_t        batch;
    ShareTime     *time;
    void          *context;
} ShareProblem;

/* The most rows that a member of class can have and be done by limit_ns; 0: none. */
int64_t shares_most(const ShareProblem *problem, int class, int64_t limit_ns);

/* The same, where it is known to be known_least to known_most, of which the first may be 0. */
int64_t shares_most_within(const ShareProblem *problem, int class, int64_t limit_ns,
                           int64_t known_least, int64_t known_most);

/* The least time of the slowest member over all shares; SHARES_IMPOSSIBLE: there are
 * no shares. */
int64_t shares_cost(const ShareProblem *problem);

/* Shares that take shares_cost(), which is not SHARES_IMPOSSIBLE: rows[] of all members,
 * class after class. Members of a class differ by at most one row, the first have more;
 * the others finish no later than need be too (by the same rule, when the slowest has
 * its least). -1 without memory. */
int     shares_rows(int64_t *rows, const ShareProblem *problem, Error *err);

#endif
