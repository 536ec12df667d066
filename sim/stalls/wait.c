#include "sim/stalls/wait.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
    LATTICE = 1024,          /* points of a distribution */
    SUMS_KEPT = 256,         /* distributions and waits that are remembered, by hash: a new one */
    WAITS_KEPT = 1024,       /* takes an old one's place */
    UNIFORMS = 12            /* make a normal variable, as in rng_normal() */
};

static const double MANY_STALLS = 1000;  /* from here on their sum is as good as normal, ... */
static const double SKEWNESS = 0.1;      /* ... or where it is so nearly symmetric */
static const double DEVIATIONS = 12;     /* of a sum above its mean that the lattice reaches ... */
static const double LONGEST = 4;         /* ... and so many of the longest stalls */

/* S - E[S] + V of a device of a kind after so much work: cdf[k] at low_ns + k * step_ns. */
typedef struct {
    int     kind, points;    /* points 0: nothing kept here */
    int64_t work_ns, spread_ns;
    double  low_ns, step_ns;
    double  cdf[LATTICE];
} StallSum;

typedef struct {
    StallArrival *list;      /* NULL: nothing kept here */
    int           count;
    int64_t       wait_ns;
} StallWait;

struct StallWaits {
    const Trace *trace;
    StallSum    *sums[SUMS_KEPT];
    StallWait    waits[WAITS_KEPT];
};

StallWaits *stall_waits_new(const Trace *trace)
{
    StallWaits *waits = calloc(1, sizeof *waits);

    if (waits) waits->trace = trace;
    return waits;
}

void stall_waits_free(StallWaits *waits)
{
    if (!waits) return;
    for (int i = 0; i < SUMS_KEPT; i++) free(waits->sums[i]);
    for (int i = 0; i < WAITS_KEPT; i++) free(waits->waits[i].list);
    free(waits);
}

/* By multiplication, which gives the same bits everywhere. */
static double to_power(double base, int n)
{
    double result = 1;

    for (; n > 0; n /= 2, base *= base)
        if (n % 2) result *= base;
    return result;
}

/* ---- the distribution of a sum -------------------------------------------------------- */

/* The mean of the lengths' n-th powers, ns^n. */
static double moment(const TraceStalls *stalls, int n)
{
    double sum = 0;

    for (int i = 0; i < stalls->count; i++)
        sum += stalls_probability(stalls, i) * to_power((double)stalls->ns[i], n);
    return sum;
}

/* f[k]: the probability of a length of k steps; one between two points is divided between them so
 * that its mean stays. The lattice reaches further than the longest. */
static void lengths_on_lattice(double f[LATTICE], const TraceStalls *stalls, double step_ns)
{
    memset(f, 0, LATTICE * sizeof *f);
    for (int i = 0; i < stalls->count; i++) {
        double at = (double)stalls->ns[i] / step_ns;
        int    below = (int)at;
        f[below] += stalls_probability(stalls, i) * (below + 1 - at);
        f[below + 1] += stalls_probability(stalls, i) * (at - below);
    }
}

/* p[k], k < points, in proportion to the probability that stalls, expected of them in the mean, sum
 * to k steps:
 *     p[k] = expected / k * sum over j of j f[j] p[k - j]
 * from p[0] = 1; what grows large is scaled down, as e to the -expected would be 0. */
static void panjer(double *p, int points, const double f[LATTICE], double expected)
{
    int length[2 * TRACE_STALL_CLASSES] = {0}, lengths = 0;

    for (int j = 1; j < LATTICE; j++)
        if (f[j] > 0) length[lengths++] = j;
    p[0] = 1;
    for (int k = 1; k < points; k++) {
        double sum = 0;
        for (int i = 0; i < lengths && length[i] <= k; i++)
            sum += length[i] * f[length[i]] * p[k - length[i]];
        p[k] = expected / k * sum;
        if (p[k] < 1e200) continue;
        for (int i = 0; i <= k; i++) p[i] *= 1e-200;
    }
}

/* Spreads p by uniforms, UNIFORMS of them, each of a variance of so many steps squared: the
 * lattice's points within reach alike, and those at its ends what is left of the variance. There is
 * room for it at both ends of p. */
static void spread(double p[LATTICE], double variance)
{
    int    reach = 0;
    double q[LATTICE], end, each;

    while ((2 * reach + 3.0) * (2 * reach + 3.0) <= 12 * variance + 1) reach++;
    double within = ((2 * reach + 1.0) * (2 * reach + 1.0) - 1) / 12;
    end = (variance - within) / (2 * ((reach + 1.0) * (reach + 1.0) - within));
    each = (1 - 2 * end) / (2 * reach + 1);
    for (int n = 0; n < UNIFORMS; n++) {
        double sum = 0;                              /* p of points k - reach to k + reach */
        memcpy(q, p, sizeof q);
        for (int k = 0; k < reach; k++) sum += q[k];
        for (int k = 0; k < LATTICE; k++) {
            if (k + reach < LATTICE) sum += q[k + reach];
            if (k > reach) sum -= q[k - reach - 1];
            p[k] = each * sum + (k > reach ? end * q[k - reach - 1] : 0)
                   + (k + reach + 1 < LATTICE ? end * q[k + reach + 1] : 0);
            if (p[k] < 0) p[k] = 0;                  /* rounding */
        }
    }
}

/* Turns p into a distribution around its own mean. */
static void to_cdf(StallSum *sum, const double p[LATTICE])
{
    double all = 0, mean = 0, below = 0;

    for (int k = 0; k < LATTICE; k++) { all += p[k]; mean += k * p[k]; }
    for (int k = 0; k < LATTICE; k++) {
        below += p[k];
        sum->cdf[k] = below / all;
    }
    sum->cdf[LATTICE - 1] = 1;
    sum->low_ns = -mean / all * sum->step_ns;
}

/* The step of a lattice for sums of that mean and standard deviation, to which room is added for a
 * spread of so much to both sides. The longest stall is a whole number of steps, so that two
 * devices that had one each are even. */
static double step_of(const TraceStalls *stalls, double mean, double deviation, double spread_ns)
{
    double longest = (double)stalls->ns[stalls->count - 1];
    double range = mean + DEVIATIONS * deviation + LONGEST * longest + UNIFORMS * spread_ns;
    double step = range / (LATTICE - 4 * UNIFORMS);

    return longest > 8 * step ? longest / ceil(longest / step) : step;
}

/* Of a normal variable with that standard deviation, or none. */
static void normal_sum(StallSum *sum, double deviation)
{
    double p[LATTICE];

    if (!(deviation > 0)) {
        *sum = (StallSum){sum->kind, 1, sum->work_ns, sum->spread_ns, 0, 1, {1}};
        return;
    }
    sum->step_ns = 2 * DEVIATIONS * deviation / LATTICE;
    for (int k = 0; k < LATTICE; k++) {
        double z = (k + 0.5 - LATTICE / 2) * sum->step_ns / deviation;
        p[k] = exp(-z * z / 2);
    }
    to_cdf(sum, p);
}

/* Fills in all but kind, work_ns and spread_ns, which say what of. */
static void compute_sum(StallSum *sum, const TraceStalls *stalls)
{
    double expected = stalls->per_ms * (1 - stalls->common) * (double)sum->work_ns * 1e-6;
    double f[LATTICE], p[LATTICE] = {0}, spread_ns = (double)sum->spread_ns;
    double square = moment(stalls, 2), deviation = sqrt(expected * square);
    double skewness = expected > 0 ? moment(stalls, 3) / (square * deviation) : 0;

    sum->points = LATTICE;
    if (!(expected > 0) || expected > MANY_STALLS || skewness < SKEWNESS) {
        normal_sum(sum, sqrt(deviation * deviation + spread_ns * spread_ns));
        return;
    }
    sum->step_ns = step_of(stalls, expected * moment(stalls, 1), deviation, spread_ns);
    double in_steps = spread_ns / sum->step_ns;
    int    room = spread_ns > 0 ? (int)(UNIFORMS / 2 * in_steps) + 2 * UNIFORMS : 0;
    lengths_on_lattice(f, stalls, sum->step_ns);
    panjer(p + room, LATTICE - 2 * room, f, expected);
    if (spread_ns > 0) spread(p, in_steps * in_steps / UNIFORMS);
    to_cdf(sum, p);
}

static const StallSum *sum_of(StallWaits *waits, const StallArrival *arrival)
{
    int     kind = arrival->kind;
    int64_t key[] = {kind, arrival->work_ns, arrival->spread_ns};
    uint64_t   hash = hash_bytes(HASH_START, key, sizeof key);
    StallSum **at = &waits->sums[hash % SUMS_KEPT];

    if (!*at) *at = calloc(1, sizeof **at);
    if (!*at) return NULL;
    if ((*at)->points > 0 && (*at)->kind == kind && (*at)->work_ns == arrival->work_ns
        && (*at)->spread_ns == arrival->spread_ns)
        return *at;
    (*at)->kind = kind;
    (*at)->work_ns = arrival->work_ns;
    (*at)->spread_ns = arrival->spread_ns;
    compute_sum(*at, &waits->trace->kinds[kind].stalls);
    return *at;
}

/* P(S - E[S] <= x). */
static double cdf_at(const StallSum *sum, double x)
{
    double at = (x - sum->low_ns) / sum->step_ns;

    if (at < 0) return 0;
    return at < sum->points ? sum->cdf[(int)at] : 1;
}

/* ---- the largest of several ------------------------------------------------------------ */

/* E[max] of count devices that arrive at 0 in the mean. */
static double largest_alike(const StallSum *sum, int count)
{
    double above = 0;

    for (int k = 0; k + 1 < sum->points; k++) above += 1 - to_power(sum->cdf[k], count);
    return sum->low_ns + above * sum->step_ns;
}

/* E[max] of devices that differ, by the midpoint rule. sums [count] are copies. */
static double largest_of(const StallArrival *list, const StallSum *sums, int count)
{
    int    points = count < 128 ? 2048 : count < 1024 ? (1 << 18) / count : 256;
    double low = -INFINITY, high = -INFINITY, above = 0;

    for (int i = 0; i < count; i++) {
        double at = (double)list[i].at_ns, top = (sums[i].points - 1) * sums[i].step_ns;
        low = fmax(low, at + sums[i].low_ns);
        high = fmax(high, at + sums[i].low_ns + top);
    }
    double step = (high - low) / points;
    for (int k = 0; k < points; k++) {
        double x = low + (k + 0.5) * step, all = 1;
        for (int i = 0; i < count; i++)
            all *= to_power(cdf_at(&sums[i], x - (double)list[i].at_ns), list[i].count);
        above += 1 - all;
    }
    return low + above * step;
}

static int compute_wait(StallWaits *waits, const StallArrival *list, int count, double *wait_ns)
{
    const StallSum *sum;
    StallSum       *sums;

    if (count == 1) {
        sum = sum_of(waits, list);
        if (sum) *wait_ns = largest_alike(sum, list->count);
        return sum ? 0 : -1;
    }
    sums = malloc((size_t)count * sizeof *sums);
    if (!sums) return -1;
    for (int i = 0; i < count; i++) {
        sum = sum_of(waits, &list[i]);
        if (!sum) { free(sums); return -1; }
        sums[i] = *sum;
    }
    *wait_ns = largest_of(list, sums, count);
    free(sums);
    return 0;
}

/* ---- a meeting --------------------------------------------------------------------------- */

static int compare_arrivals(const void *a, const void *b)
{
    const StallArrival *x = a, *y = b;

    if (x->at_ns != y->at_ns) return (x->at_ns > y->at_ns) - (x->at_ns < y->at_ns);
    if (x->work_ns != y->work_ns) return (x->work_ns > y->work_ns) - (x->work_ns < y->work_ns);
    if (x->spread_ns != y->spread_ns)
        return (x->spread_ns > y->spread_ns) - (x->spread_ns < y->spread_ns);
    return (x->kind > y->kind) - (x->kind < y->kind);
}

/* Sorts, puts together those that are alike, and counts times from the latest; how many remain. */
static int normalise(StallArrival *list, int count)
{
    int kept = 0;

    qsort(list, (size_t)count, sizeof *list, compare_arrivals);
    int64_t last_ns = list[count - 1].at_ns;
    for (int i = 0; i < count; i++) {
        if (kept > 0 && compare_arrivals(&list[kept - 1], &list[i]) == 0)
            list[kept - 1].count += list[i].count;
        else
            list[kept++] = list[i];
    }
    for (int i = 0; i < kept; i++) list[i].at_ns -= last_ns;
    return kept;
}

static uint64_t hash_arrivals(const StallArrival *list, int count)
{
    return hash_bytes(HASH_START, list, (size_t)count * sizeof *list);
}

int64_t stall_wait_ns(StallWaits *waits, StallArrival *list, int count)
{
    double wait_ns = 0;

    if (count == 0) return 0;
    count = normalise(list, count);
    if (count == 1 && list->count == 1) return 0;
    StallWait *kept = &waits->waits[hash_arrivals(list, count) % WAITS_KEPT];
    if (kept->list && kept->count == count
        && memcmp(kept->list, list, (size_t)count * sizeof *list) == 0)
        return kept->wait_ns;
    if (compute_wait(waits, list, count, &wait_ns) != 0) return -1;
    free(kept->list);
    kept->list = malloc((size_t)count * sizeof *list);
    if (!kept->list) return -1;
    memcpy(kept->list, list, (size_t)count * sizeof *list);
    kept->count = count;
    return kept->wait_ns = wait_ns > 0 ? llround(wait_ns) : 0;
}
