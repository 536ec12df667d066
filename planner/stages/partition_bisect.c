/* The optimum by bisection on the bottleneck T: is there a partition with no stage
 * slower than T? Each answer also moves a bound by more than one nanosecond:
 *
 *   yes  the partition found has a bottleneck of its own, T or less;
 *   no   the least cost that was refused is the next T worth asking about: below it
 *        every comparison of the probe, and so its answer, comes out the same.
 *
 * So the search ends at the exact optimum, whatever the costs.
 *
 * With uniform costs a probe computes the fewest devices that can hold blocks 0..j-1:
 *
 *     fewest[j] = min over first, w with cost(first..j-1 on w) <= T of fewest[first] + w
 *
 * Fewer is never worse: the stages after j cost the same wherever they stand, and what
 * is left over may stay idle. O(N W) times the length of the window below.
 *
 * With other costs it computes for every d which j the devices 0..d-1 can hold:
 *
 *     reach[d+w][j] if reach[d][first] and cost(first..j-1 on d..d+w-1) <= T
 *
 * O(N G W) times the length of the window.
 *
 * The window: for one w, first must be at least the least one with floor(first..j-1)
 * <= T. As the floor grows with the stage, that least one only moves up as j does, so
 * all of them together are found in O(N) a width; within the window the cost decides. */
#include <stdlib.h>
#include <string.h>

#include "planner/stages/partition.h"

typedef struct { int first, width; } BisectStep;       /* the last stage of the best way here */

typedef struct {
    const PartitionProblem *p;
    int64_t limit, refused;      /* T; the least cost above it that was met */
    int    *fewest;              /* [blocks + 1] uniform: devices; beyond them: no way */
    int    *fewest_from;         /* [blocks + 1] the least fewest[] at this block or after */
    int    *window;              /* [width_count] uniform: where it begins */
    int    *firsts;              /* [blocks] placed: reached with the devices before d */
    BisectStep   *steps;               /* [blocks + 1], placed: [devices + 1][blocks + 1]; width
                                  * 0: not reached */
} Probe;

static bool allowed(Probe *s, int64_t ns)
{
    if (ns <= s->limit) return true;
    if (ns < s->refused) s->refused = ns;
    return false;
}

static bool cost_allowed(Probe *s, int first, int j, int device, int width)
{
    return allowed(s, s->p->cost(s->p->context, first, j - 1, device, width));
}

static bool floor_allowed(Probe *s, int first, int j, int device, int width)
{
    return !s->p->floor || allowed(s, s->p->floor(s->p->context, first, j - 1, device, width));
}

static bool end_allowed(Probe *s, int j, int device, int width)
{
    return !s->p->end || allowed(s, s->p->end(s->p->context, j - 1, device, width));
}

/* ---- uniform costs -------------------------------------------------------------------- */

/* The best last stage of width w that ends before j; *best is lowered. */
static void try_width(Probe *s, int j, int index, int *best)
{
    int w = s->p->widths[index], a = s->window[index];

    /* The window only moves up and fewest_from[] grows, so an old window gives a bound. */
    if (s->fewest_from[a] + w >= *best) return;
    if (!end_allowed(s, j, 0, w)) return;
    while (a < j && !floor_allowed(s, a, j, 0, w)) a++;
    s->window[index] = a;
    for (int first = a; first < j && s->fewest_from[first] + w < *best; first++) {
        if (s->fewest[first] + w >= *best) continue;
        if (!cost_allowed(s, first, j, s->fewest[first], w)) continue;
        *best = s->fewest[first] + w;
        s->steps[j] = (BisectStep){first, w};
    }
}

static void set_fewest(Probe *s, int j, int devices)
{
    s->fewest[j] = devices;
    s->fewest_from[j] = devices;
    for (int i = j - 1; i >= 0 && s->fewest_from[i] > devices; i--) s->fewest_from[i] = devices;
}

/* The devices that the fewest stages of all blocks use, or -1. */
static int probe_uniform(Probe *s)
{
    const PartitionProblem *p = s->p;

    memset(s->window, 0, (size_t)p->width_count * sizeof *s->window);
    set_fewest(s, 0, 0);
    for (int j = 1; j <= p->blocks; j++) {
        int best = p->devices + 1;
        s->fewest_from[j] = best;                /* a window may have moved up to j */
        for (int k = 0; k < p->width_count && p->widths[k] < best; k++) try_width(s, j, k, &best);
        set_fewest(s, j, best);
    }
    return s->fewest[p->blocks] <= p->devices ? s->fewest[p->blocks] : -1;
}

/* ---- costs that depend on the place ------------------------------------------------------ */

static BisectStep *step_at(const Probe *s, int device, int j)
{
    return &s->steps[(size_t)device * (size_t)(s->p->blocks + 1) + (size_t)j];
}

/* All ends of stages of width w on devices d.., from the firsts reached at d. */
static void extend(Probe *s, int count, int d, int w)
{
    int a = 0, n = s->p->blocks;

    for (int j = s->firsts[0] + 1; j <= n; j++) {
        BisectStep *step = step_at(s, d + w, j);
        if (step->width > 0) continue;
        while (a < count && s->firsts[a] < j && !floor_allowed(s, s->firsts[a], j, d, w)) a++;
        if (a == count) return;
        if (s->firsts[a] >= j || !end_allowed(s, j, d, w)) continue;
        for (int k = a; k < count && s->firsts[k] < j; k++)
            if (cost_allowed(s, s->firsts[k], j, d, w)) {
                *step = (BisectStep){s->firsts[k], w};
                break;
            }
    }
}

static int probe_placed(Probe *s)
{
    const PartitionProblem *p = s->p;
    size_t cells = (size_t)(p->devices + 1) * (size_t)(p->blocks + 1);

    memset(s->steps, 0, cells * sizeof *s->steps);
    for (int d = 0; d <= p->devices; d++) {
        int count = 0;
        if (step_at(s, d, p->blocks)->width > 0) return d;
        for (int j = 0; j < p->blocks; j++)
            if (d == 0 ? j == 0 : step_at(s, d, j)->width > 0) s->firsts[count++] = j;
        for (int k = 0; count > 0 && k < p->width_count && d + p->widths[k] <= p->devices; k++)
            extend(s, count, d, p->widths[k]);
    }
    return -1;
}

/* ---- the partition of a probe --------------------------------------------------------------- */

static BisectStep last_step(const Probe *s, int device, int j)
{
    return s->p->uniform ? s->steps[j] : *step_at(s, device, j);
}

/* The partition that the probe found for so many devices, from the last stage to the first. */
static int read_back(const Probe *s, int devices, Partition *out, Error *err)
{
    const PartitionProblem *p = s->p;
    int stages = 0;

    for (int j = p->blocks, d = devices; j > 0; stages++) {
        BisectStep step = last_step(s, d, j);
        j = step.first;
        d -= step.width;
    }
    if (partition_allocate(out, stages, err) != 0) return -1;
    for (int j = p->blocks, d = devices, k = stages - 1; j > 0; k--) {
        BisectStep step = last_step(s, d, j);
        d -= step.width;
        out->first[k] = step.first;
        out->device[k] = d;
        out->width[k] = step.width;
        int64_t ns = p->cost(p->context, step.first, j - 1, d, step.width);
        if (ns > out->bottleneck_ns) out->bottleneck_ns = ns;
        j = step.first;
    }
    return 0;
}

/* *devices -1: none within limit. Otherwise *out is the partition. */
static int ask(Probe *s, int64_t limit, int *devices, Partition *out, Error *err)
{
    s->limit = limit;
    s->refused = INT64_MAX;
    *devices = s->p->uniform ? probe_uniform(s) : probe_placed(s);
    return *devices < 0 ? 0 : read_back(s, *devices, out, err);
}

/* ---- bisection ------------------------------------------------------------------------------- */

/* No schedule beats all work spread over all devices by much: a place to begin. */
static int64_t first_guess(const PartitionProblem *p)
{
    int64_t all = p->floor ? p->floor(p->context, 0, p->blocks - 1, 0, p->widths[0]) : 0;

    return all == INT64_MAX ? 0 : all / p->devices * p->widths[0];
}

static void forget(Partition *partition)
{
    free(partition->first);
    free(partition->device);
    free(partition->width);
    *partition = (Partition){0};
}

/* Between low, which no bottleneck is below, and high, the best found: the middle, or, as the
 * optimum is often near the limit that was given, *down below high, which grows. */
static int64_t next_limit(int64_t low, int64_t high, int64_t *down)
{
    int64_t middle = low + (high - low) / 2;

    if (*down == 0 || middle >= high - *down) return middle;
    middle = high - *down;
    *down *= 4;
    return middle;
}

/* low: no bottleneck is less; high: the best found, INT64_MAX: none yet. */
static int bisect(Probe *s, Partition *out, bool *found, Error *err)
{
    int64_t low = 0, high = INT64_MAX, limit = first_guess(s->p), stride = limit / 16 + 1,
            down = s->p->limit_ns ? s->p->limit_ns / 4096 + 1 : 0;
    int     devices;

    if (s->p->limit_ns) limit = s->p->limit_ns;
    while (low < high) {
        Partition next = {0};
        if (ask(s, limit, &devices, &next, err) != 0) return -1;
        if (devices >= 0) high = next.bottleneck_ns;
        else              low = s->refused;
        if (devices < 0) down = 0;
        forget(&next);
        if (high == INT64_MAX && s->p->limit_ns) return 0;
        if (high < INT64_MAX) {
            limit = next_limit(low, high, &down);
        } else {
            if (low == INT64_MAX) return 0;
            limit = low > limit + stride ? low : limit + stride;
            if (stride < INT64_MAX / 8) stride *= 2;
            if (limit > INT64_MAX / 4) limit = low > INT64_MAX / 4 ? low : INT64_MAX / 4;
        }
    }
    /* Again at the optimum: the answer then does not depend on the way here. */
    *found = true;
    return ask(s, high, &devices, out, err);
}

/* -1: without memory; the caller closes it all the same. */
static int open_probe(Probe *s, const PartitionProblem *problem, Error *err)
{
    size_t n = (size_t)problem->blocks + 1,
           places = problem->uniform ? 1 : (size_t)problem->devices + 1;

    *s = (Probe){.p = problem};
    s->fewest = calloc(n, sizeof *s->fewest);
    s->fewest_from = calloc(n, sizeof *s->fewest_from);
    s->window = calloc((size_t)problem->width_count, sizeof *s->window);
    s->firsts = calloc(n, sizeof *s->firsts);
    s->steps = calloc(places * n, sizeof *s->steps);
    return s->fewest && s->fewest_from && s->window && s->firsts && s->steps ? 0
                                                                             : error_no_memory(err);
}

static void close_probe(Probe *s)
{
    free(s->fewest);
    free(s->fewest_from);
    free(s->window);
    free(s->firsts);
    free(s->steps);
}

int partition_bisect(Partition *out, bool *found, const PartitionProblem *problem, Error *err)
{
    Probe s;
    int   rc = open_probe(&s, problem, err);

    *out = (Partition){0};
    *found = false;
    if (rc == 0) rc = bisect(&s, out, found, err);
    close_probe(&s);
    return rc;
}

int partition_exists(bool *exists, const PartitionProblem *problem, int64_t limit_ns, Error *err)
{
    Probe     s;
    Partition some = {0};
    int       devices = -1, rc = open_probe(&s, problem, err);

    if (rc == 0) rc = ask(&s, limit_ns, &devices, &some, err);
    *exists = devices >= 0;
    forget(&some);
    close_probe(&s);
    return rc;
}
