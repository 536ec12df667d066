#include "planner/stages/partition.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_WORK 1e6           /* comparisons of the table of all numbers of stages */

int partition_allocate(Partition *partition, int stages, Error *err)
{
    size_t size = (size_t)stages * sizeof(int);

    *partition = (Partition){.stages = stages};
    partition->first = malloc(size);
    partition->device = malloc(size);
    partition->width = malloc(size);
    if (partition->first && partition->device && partition->width) return 0;
    free(partition->first);
    free(partition->device);
    free(partition->width);
    *partition = (Partition){0};
    return error_no_memory(err);
}

static void release(Partition *partition)
{
    free(partition->first);
    free(partition->device);
    free(partition->width);
    *partition = (Partition){0};
}

void partitions_free(Partition *partitions, int count)
{
    for (int i = 0; i < count; i++) release(&partitions[i]);
    free(partitions);
}

/* ---- few, and in order ----------------------------------------------------------- */

/* By bottleneck, then by fewer stages; the first found stays first among equals. */
static void sort(Partition *parts, int count)
{
    for (int i = 1; i < count; i++) {
        Partition moved = parts[i];
        int       at = i;
        for (; at > 0; at--) {
            const Partition *before = &parts[at - 1];
            if (before->bottleneck_ns < moved.bottleneck_ns
                || (before->bottleneck_ns == moved.bottleneck_ns && before->stages <= moved.stages))
                break;
            parts[at] = parts[at - 1];
        }
        parts[at] = moved;
    }
}

static bool same(const Partition *a, const Partition *b)
{
    size_t size = (size_t)a->stages * sizeof(int);

    return a->stages == b->stages && memcmp(a->first, b->first, size) == 0
           && memcmp(a->width, b->width, size) == 0;
}

static int drop_surplus(Partition **out, int *count, int wanted)
{
    sort(*out, *count);
    for (; *count > wanted; --*count) release(&(*out)[*count - 1]);
    return 0;
}

/* ---- the best among some widths ------------------------------------------------------ */

/* Adds the best partition with widths low..high, unless it is there. */
static int add_best(Partition *parts, int *count, const PartitionProblem *problem, int low,
                    int high, Error *err)
{
    PartitionProblem some = *problem;
    Partition        best;
    bool             found;
    int              from = 0, to = problem->width_count;

    while (from < to && problem->widths[from] < low) from++;
    while (to > from && problem->widths[to - 1] > high) to--;
    if (from == to) return 0;
    some.widths = problem->widths + from;
    some.width_count = to - from;
    if (partition_bisect(&best, &found, &some, err) != 0) return -1;
    if (!found) return 0;
    for (int i = 0; i < *count; i++)
        if (same(&parts[i], &best)) { release(&best); return 0; }
    parts[(*count)++] = best;
    return 0;
}

static int widest(const Partition *partition)
{
    int width = 0;

    for (int i = 0; i < partition->stages; i++)
        if (partition->width[i] > width) width = partition->width[i];
    return width;
}

/* The optimum, then in turns wider stages (fewer of them) and narrower ones. */
static int search_widths(Partition *parts, int *count, const PartitionProblem *p, int wanted,
                         Error *err)
{
    int most = p->max_width;

    if (add_best(parts, count, p, 1, most, err) != 0) return -1;
    if (*count == 0) return 0;
    int low = 2, high = widest(&parts[0]) - 1;
    while (*count < wanted && (low <= most || high >= 1)) {
        if (low <= most && add_best(parts, count, p, low, most, err) != 0) return -1;
        low *= 2;
        if (*count < wanted && high >= 1 && add_best(parts, count, p, 1, high, err) != 0) return -1;
        high = high == 1 ? 0 : high < 4 ? 1 : high / 2;
    }
    return 0;
}

/* ---- searching ------------------------------------------------------------------------ */

static double table_work(const PartitionProblem *p)
{
    double n = p->blocks, g = p->devices, w = p->max_width, s = n < g ? n : g;

    return s * n * n / 2 * g * w;
}

int partition_search(Partition **out, int *count, const PartitionProblem *problem, Error *err)
{
    PartitionProblem p = *problem;
    int  wanted = p.wanted > 1 ? p.wanted : 1, rc = -1;
    int *all = NULL;
    bool table = wanted > 1 && table_work(&p) <= SMALL_WORK, exists = true;

    *out = NULL;
    *count = 0;
    all = calloc((size_t)p.max_width + 1, sizeof *all);
    if (!all) { error_no_memory(err); goto done; }
    if (!p.widths) {
        for (int w = 1; w <= p.max_width; w++) all[w - 1] = w;
        p.widths = all;
        p.width_count = p.max_width;
    }
    if (table && p.limit_ns && partition_exists(&exists, &p, p.limit_ns, err) != 0) goto done;
    if (table && exists) {
        rc = partition_table(out, count, &p, err);
        if (rc == 0) rc = drop_surplus(out, count, wanted);
        goto done;
    }
    *out = calloc((size_t)wanted, sizeof **out);
    if (!*out) { error_no_memory(err); goto done; }
    if (!exists) { rc = 0; goto done; }
    if (search_widths(*out, count, &p, wanted, err) != 0) goto done;
    sort(*out, *count);
    rc = 0;
done:
    free(all);
    if (rc != 0) { partitions_free(*out, *count); *out = NULL; *count = 0; }
    return rc;
}
