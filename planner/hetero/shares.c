#include "planner/hetero/shares.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"

int64_t shares_most_within(const ShareProblem *p, int class, int64_t limit_ns, int64_t known_least,
                           int64_t known_most)
{
    int64_t low = p->least[class], high = smaller(smaller(p->most[class], p->batch), known_most);

    if (low > high) return 0;
    if (known_least >= low) low = known_least;
    else if (p->time(p->context, class, low) > limit_ns) return 0;
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        if (p->time(p->context, class, middle) <= limit_ns) low = middle;
        else                                                high = middle - 1;
    }
    return low;
}

int64_t shares_most(const ShareProblem *p, int class, int64_t limit_ns)
{
    return shares_most_within(p, class, limit_ns, 0, p->batch);
}

/* ---- the least time --------------------------------------------------------------- */

/* The least that the members can have together; more than the batch: no shares. */
static int64_t least_rows(const ShareProblem *p)
{
    int64_t sum = 0;

    for (int c = 0; c < p->classes; c++) {
        if (p->counts[c] == 0) continue;
        if (p->least[c] > smaller(p->most[c], p->batch)) return p->batch + 1;
        sum += p->least[c] * p->counts[c];
        if (sum > p->batch) return p->batch + 1;
    }
    return sum;
}

/* Everybody has the least: sooner, somebody is not done. */
static int64_t floor_time(const ShareProblem *p)
{
    int64_t floor = 0;

    for (int c = 0; c < p->classes; c++)
        if (p->counts[c] > 0) floor = larger(floor, p->time(p->context, c, p->least[c]));
    return floor;
}

enum { SHARES_NOTED = 16 };              /* classes whose rows are noted */

/* The least time is above low_ns, by which there are too few rows, and at most high_ns, by which
 * there are enough. Rows of a member of each class: some that it can have by any time above low_ns,
 * and the most that it can have by high_ns or some later time. */
typedef struct {
    const ShareProblem *p;
    int64_t low_ns, high_ns;
    int64_t some[SHARES_NOTED], most[SHARES_NOTED], now[SHARES_NOTED];
} ShareSearch;

/* Whether all members can be done by limit_ns, which is above low_ns; now[]: the most rows. */
static bool fits(ShareSearch *s, int64_t limit_ns)
{
    const ShareProblem *p = s->p;
    int64_t             room = 0;

    for (int c = 0; c < p->classes; c++) {
        bool noted = c < SHARES_NOTED;
        if (p->counts[c] == 0) continue;
        int64_t most = shares_most_within(p, c, limit_ns, noted ? s->some[c] : 0,
                                          noted ? s->most[c] : p->batch);
        if (most == 0) return false;
        if (noted) s->now[c] = most;
        room += most * p->counts[c];
    }
    return room >= p->batch;
}

/* Some member has the mean of the rows or more, and all can have it by the time that the slowest
 * takes for it, if all can have it at all. False: none can. */
static bool begin_at_mean(ShareSearch *s)
{
    const ShareProblem *p = s->p;
    int64_t             members = 0, soonest = SHARES_IMPOSSIBLE, latest = 0;

    for (int c = 0; c < p->classes; c++) members += p->counts[c];
    if (members == 0) return false;
    int64_t mean = (p->batch + members - 1) / members;
    for (int c = 0; c < p->classes; c++) {
        if (p->counts[c] == 0) continue;
        int64_t rows = larger(mean, p->least[c]);
        int64_t ns = rows <= smaller(p->most[c], p->batch) ? p->time(p->context, c, rows)
                                                           : SHARES_IMPOSSIBLE;
        soonest = smaller(soonest, ns);
        latest = larger(latest, ns);
        if (c < SHARES_NOTED) s->now[c] = ns;
    }
    s->low_ns = larger(s->low_ns, soonest - 1);
    s->high_ns = smaller(s->high_ns, latest);
    for (int c = 0; c < p->classes && c < SHARES_NOTED; c++)
        if (p->counts[c] > 0 && s->now[c] <= s->low_ns + 1) s->some[c] = larger(mean, p->least[c]);
    return soonest < SHARES_IMPOSSIBLE;
}

/* False: there are no shares. */
static bool open_search(ShareSearch *s, const ShareProblem *p)
{
    *s = (ShareSearch){.p = p, .low_ns = floor_time(p) - 1, .high_ns = SHARES_IMPOSSIBLE - 1};
    if (s->low_ns >= s->high_ns) return false;
    for (int c = 0; c < p->classes && c < SHARES_NOTED; c++) {
        s->some[c] = p->least[c];
        s->most[c] = smaller(p->most[c], p->batch);
    }
    if (!begin_at_mean(s)) return false;
    if (s->high_ns < SHARES_IMPOSSIBLE - 1) return true;
    if (!fits(s, s->high_ns)) return false;
    memcpy(s->most, s->now, sizeof s->now);
    return true;
}

/* Between the times at which some member can have a row more nothing changes. */
static int64_t latest_now(const ShareSearch *s)
{
    int64_t ns = 0;

    for (int c = 0; c < s->p->classes; c++)
        if (s->p->counts[c] > 0) ns = larger(ns, s->p->time(s->p->context, c, s->now[c]));
    return ns;
}

static int64_t soonest_next(const ShareSearch *s)
{
    int64_t ns = s->high_ns;

    for (int c = 0; c < s->p->classes; c++)
        if (s->p->counts[c] > 0 && s->now[c] < s->most[c])
            ns = smaller(ns, s->p->time(s->p->context, c, s->now[c] + 1));
    return ns;
}

/* At least to limit_ns, which lies between low_ns and high_ns: to where times are, unless they are
 * not what they were, as where there is no memory for them any more. */
static void narrow(ShareSearch *s, int64_t limit_ns)
{
    bool noted = s->p->classes <= SHARES_NOTED, fit = fits(s, limit_ns);

    if (fit) s->high_ns = noted ? smaller(latest_now(s), limit_ns) : limit_ns;
    else     s->low_ns = noted ? larger(soonest_next(s) - 1, limit_ns) : limit_ns;
    memcpy(fit ? s->most : s->some, s->now, sizeof s->now);
}

int64_t shares_cost(const ShareProblem *p)
{
    ShareSearch s;
    int64_t     members = 0;

    for (int c = 0; c < p->classes; c++) members += p->counts[c];
    if (members == 0) return p->batch > 0 ? SHARES_IMPOSSIBLE : 0;
    if (least_rows(p) > p->batch || !open_search(&s, p)) return SHARES_IMPOSSIBLE;
    while (s.low_ns + 1 < s.high_ns) narrow(&s, s.low_ns + (s.high_ns - s.low_ns) / 2);
    return s.high_ns;
}

/* ---- the shares --------------------------------------------------------------------- */

typedef struct {
    ShareProblem left;           /* the members that have no rows yet */
    int         *counts;         /* [classes] of them */
    int64_t     *each, *room;    /* [classes] rows of a member; and at most */
    int64_t     *extra;          /* [classes] one row more for as many members */
} RowSplit;

/* Classes whose least already takes ns have it, so that the others can be better.
 * False: none has. */
static bool settle_slowest(RowSplit *s, int64_t ns)
{
    bool settled = false;

    for (int c = 0; c < s->left.classes; c++) {
        if (s->counts[c] == 0 || s->left.time(s->left.context, c, s->left.least[c]) < ns) continue;
        s->each[c] = s->left.least[c];
        s->left.batch -= s->each[c] * s->counts[c];
        s->counts[c] = 0;
        settled = true;
    }
    return settled;
}

/* Rows that are left over when all members are done before ns; less than 0: too many. */
static int64_t all_but_the_last(RowSplit *s, int64_t ns)
{
    int64_t left = s->left.batch;

    for (int c = 0; c < s->left.classes; c++) {
        if (s->counts[c] == 0) continue;
        s->each[c] = larger(shares_most(&s->left, c, ns - 1), s->left.least[c]);
        s->room[c] = shares_most(&s->left, c, ns);
        left -= s->each[c] * s->counts[c];
    }
    return left;
}

/* The rows left over, evenly: a row a member at a time while there is room. */
static void hand_out(RowSplit *s, int64_t left)
{
    while (left > 0) {
        int64_t members = 0, rise = INT64_MAX;
        for (int c = 0; c < s->left.classes; c++)
            if (s->counts[c] > 0 && s->each[c] < s->room[c]) {
                members += s->counts[c];
                rise = smaller(rise, s->room[c] - s->each[c]);
            }
        assert(members > 0);                 /* left fits: there is room for all rows */
        rise = smaller(rise, left / members);
        for (int c = 0; c < s->left.classes; c++) {
            if (s->counts[c] == 0 || s->each[c] >= s->room[c]) continue;
            s->each[c] += rise;
            left -= rise * s->counts[c];
            if (rise > 0) continue;              /* the last round: not all get one */
            s->extra[c] = smaller(left, s->counts[c]);
            left -= s->extra[c];
        }
    }
}

static void split(RowSplit *s)
{
    for (;;) {
        int64_t ns = shares_cost(&s->left), left = all_but_the_last(s, ns);
        if (left >= 0) { hand_out(s, left); return; }
        settle_slowest(s, ns);                   /* only a least can leave too few rows */
    }
}

int shares_rows(int64_t *rows, const ShareProblem *problem, Error *err)
{
    size_t   n = (size_t)problem->classes;
    int     *counts = calloc(n, sizeof *counts);
    int64_t *numbers = calloc(3 * n, sizeof *numbers);

    if (!counts || !numbers) {
        free(counts);
        free(numbers);
        return error_no_memory(err);
    }
    RowSplit s = {.left = *problem, .counts = counts, .each = numbers, .room = numbers + n,
                  .extra = numbers + 2 * n};
    for (int c = 0; c < problem->classes; c++) counts[c] = problem->counts[c];
    s.left.counts = counts;
    split(&s);
    for (int c = 0; c < problem->classes; c++)
        for (int i = 0; i < problem->counts[c]; i++) *rows++ = s.each[c] + (i < s.extra[c]);
    free(counts);
    free(numbers);
    return 0;
}
