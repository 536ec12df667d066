/* Many tasks a device: loads that fill every device to the bound, or nothing said.
 *
 * With sixteen tasks a device there are so many assignments that some reach the mean to
 * the nanosecond; the trouble is to meet one. Devices are filled one after another, the
 * last takes what is left. Of the tasks left, shuffled, some fill the device until about
 * half of a pool of POOL others would fill the rest; which half, the sums of all subsets
 * of the pool say, met in the middle (Horowitz and Sahni 1974):
 *
 *     2^13 sums of the pool's first half, ascending    -> |
 *     2^13 sums of its second half, descending         -> |  a pair within the slack
 *
 * Shuffles come from a counter with a fixed seed: the same lists on every machine. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "planner/ls/tasks_common.h"

enum {
    POOL = 26,
    HALF = POOL / 2,
    SUMS = 1 << HALF,
    SHUFFLES = 24,
    ATTEMPTS = 16,
    NODES_A_POOL = 1000
};

typedef struct { int64_t sum; int subset; } SubsetSum;

typedef struct {
    const int64_t *time;
    int           *left, count;  /* tasks left, in any order */
    SubsetSum           *first, *second, *spare;       /* [SUMS] each */
    Rng            rng;
} Table;

static void shuffle(Table *t)
{
    for (int i = t->count - 1; i > 0; i--) {
        int j = (int)rng_range(&t->rng, 0, i), task = t->left[i];
        t->left[i] = t->left[j];
        t->left[j] = task;
    }
}

/* The sums of all subsets of count tasks, ascending: each task doubles the list by a
 * merge of those without and those with it. Returns how many. */
static int subset_sums(SubsetSum *out, SubsetSum *spare, const int64_t *time, const int *tasks,
                       int count)
{
    int n = 1;

    out[0] = (SubsetSum){0, 0};
    for (int i = 0; i < count; i++, n *= 2) {
        int64_t ns = time[tasks[i]];
        memcpy(spare, out, (size_t)n * sizeof *out);
        for (int a = 0, b = 0, at = 0; at < 2 * n; at++) {
            bool without = b == n || (a < n && spare[a].sum <= spare[b].sum + ns);
            out[at] = without ? spare[a] : (SubsetSum){spare[b].sum + ns, spare[b].subset | 1 << i};
            if (without) a++;
            else         b++;
        }
    }
    return n;
}

/* A subset of the pool with a sum of need - slack to need; -1: none. */
static int meet(const Table *t, int firsts, int seconds, int64_t need, int64_t slack)
{
    for (int i = 0, j = seconds - 1; i < firsts && j >= 0;) {
        int64_t sum = t->first[i].sum + t->second[j].sum;
        if (sum > need)              j--;
        else if (sum < need - slack) i++;
        else return t->first[i].subset | t->second[j].subset << HALF;
    }
    return -1;
}

/* One shuffle: the pool is in front. Takes tasks for device and returns its idle time;
 * -1: not within slack. */
static int64_t try_pool(Table *t, int *device, int number, int64_t capacity, int64_t slack)
{
    int     pool = t->count < POOL ? t->count : POOL, kept = 0, taken = pool;
    int64_t half = 0, load = 0;

    shuffle(t);
    for (int i = 0; i < pool; i++) half += t->time[t->left[i]];
    half /= 2;
    while (taken < t->count && load + t->time[t->left[taken]] <= capacity - half)
        load += t->time[t->left[taken++]];
    int firsts = subset_sums(t->first, t->spare, t->time, t->left, pool < HALF ? pool : HALF);
    int seconds =
        subset_sums(t->second, t->spare, t->time, t->left + HALF, pool < HALF ? 0 : pool - HALF);
    int subset = meet(t, firsts, seconds, capacity - load, slack);
    if (subset < 0) return -1;
    for (int i = 0; i < t->count; i++) {
        if (i < pool ? subset >> i & 1 : i < taken) {
            device[t->left[i]] = number;
            if (i < pool) load += t->time[t->left[i]];
        } else {
            t->left[kept++] = t->left[i];
        }
    }
    t->count = kept;
    return capacity - load;
}

/* False: some device could not be filled. */
static bool attempt(Table *t, int *device, int devices, int64_t capacity, int64_t slack,
                    TaskBudget *budget)
{
    for (int d = 0; d < devices - 1; d++) {
        int64_t idle = -1;
        for (int i = 0; i < SHUFFLES && idle < 0; i++) {
            if (!task_budget_spend(budget, NODES_A_POOL)) return false;
            idle = try_pool(t, device, d, capacity, slack);
        }
        if (idle < 0) return false;
        slack -= idle;
    }
    for (int i = 0; i < t->count; i++) device[t->left[i]] = devices - 1;
    return true;
}

bool task_fill_perfectly(int *device, const int64_t *time, int tasks, int devices, int64_t capacity,
                         int64_t slack, TaskBudget *budget)
{
    Table t = {.time = time, .left = malloc((size_t)tasks * sizeof *t.left),
               .first = malloc(3 * SUMS * sizeof *t.first), .rng = {.seed = 1}};
    bool  found = false;

    if (t.left && t.first) {
        t.second = t.first + SUMS;
        t.spare = t.second + SUMS;
        for (int i = 0; i < ATTEMPTS && !found && budget->stopped == TASKS_FINISHED; i++) {
            t.count = tasks;
            for (int k = 0; k < tasks; k++) t.left[k] = k;
            found = attempt(&t, device, devices, capacity, slack, budget);
        }
    }
    free(t.left);
    free(t.first);
    return found;
}
