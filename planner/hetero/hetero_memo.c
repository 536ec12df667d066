#include "planner/hetero/hetero_memo.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A class: what its devices are, and how many. */
typedef struct {
    int     kind, count;
    int64_t memory_bytes;
    double  slowdown;
} MemoClass;

typedef struct MemoEntry MemoEntry;

struct MemoEntry {
    MemoEntry      *next;
    MemoClass      *classes;     /* [class_count] in the order of their numbers */
    int             class_count, max_width, unit;
    pthread_mutex_t lock;        /* of what is known: */
    int64_t         none_ns;     /* no partition has a bottleneck of as much or less; 0: not
                                  * known */
    HeteroPartition best;        /* the optimum; no stages: not known */
};

struct HeteroMemo {
    pthread_mutex_t lock;        /* of the list */
    MemoEntry      *entries;
};

int hetero_memo_new(HeteroMemo **out, Error *err)
{
    HeteroMemo *memo = calloc(1, sizeof *memo);

    *out = memo;
    if (!memo) return error_no_memory(err);
    pthread_mutex_init(&memo->lock, NULL);
    return 0;
}

static void entry_free(MemoEntry *entry)
{
    if (!entry) return;
    pthread_mutex_destroy(&entry->lock);
    free(entry->best.first);
    free(entry->best.counts);
    free(entry->classes);
    free(entry);
}

void hetero_memo_free(HeteroMemo *memo)
{
    if (!memo) return;
    for (MemoEntry *entry = memo->entries, *next; entry; entry = next) {
        next = entry->next;
        entry_free(entry);
    }
    pthread_mutex_destroy(&memo->lock);
    free(memo);
}

/* ---- entries ------------------------------------------------------------------------ */

static bool same_class(const MemoClass *a, const MemoClass *b)
{
    return a->kind == b->kind && a->count == b->count && a->memory_bytes == b->memory_bytes
           && a->slowdown == b->slowdown;
}

static bool is_of(const MemoEntry *entry, const MemoEntry *key)
{
    bool same = entry->class_count == key->class_count && entry->max_width == key->max_width
                && entry->unit == key->unit;

    for (int c = 0; c < key->class_count && same; c++)
        same = same_class(&entry->classes[c], &key->classes[c]);
    return same;
}

/* What the costs' devices are; classes in the order of their first devices. */
static MemoEntry *entry_new(const GroupCosts *costs, int max_width, int unit)
{
    const Scenario *s = group_costs_scenario(costs);
    MemoEntry      *entry = calloc(1, sizeof *entry);
    int             count = group_costs_classes(costs);

    if (!entry) return NULL;
    pthread_mutex_init(&entry->lock, NULL);
    entry->classes = calloc((size_t)count, sizeof *entry->classes);
    if (!entry->classes) { entry_free(entry); return NULL; }
    for (int d = s->device_count - 1; d >= 0; d--)
        entry->classes[group_costs_class(costs, d)] =
            (MemoClass){.kind = s->kinds[d],
                        .memory_bytes = s->memory_bytes[d],
                        .slowdown = s->trace->slowdown ? s->trace->slowdown[d] : 1};
    for (int c = 0; c < count; c++) entry->classes[c].count = group_costs_counts(costs)[c];
    entry->class_count = count;
    entry->max_width = max_width;
    entry->unit = unit;
    return entry;
}

/* The entry for these costs, made where there is none; NULL without memory. */
static MemoEntry *entry_of(HeteroMemo *memo, const GroupCosts *costs, int max_width, int unit)
{
    MemoEntry *key = entry_new(costs, max_width, unit), *entry;

    if (!key) return NULL;
    pthread_mutex_lock(&memo->lock);
    entry = memo->entries;
    while (entry && !is_of(entry, key)) entry = entry->next;
    if (!entry) {
        key->next = memo->entries;
        memo->entries = entry = key;
        key = NULL;
    }
    pthread_mutex_unlock(&memo->lock);
    entry_free(key);
    return entry;
}

/* ---- answers ------------------------------------------------------------------------------ */

/* *out, an array of one that is a copy, is yours. */
static int copy_best(HeteroPartition **out, const MemoEntry *entry, Error *err)
{
    const HeteroPartition *best = &entry->best;
    size_t stages = (size_t)best->stages, counts = stages * (size_t)entry->class_count;

    *out = calloc(1, sizeof **out);
    if (!*out) return error_no_memory(err);
    **out = *best;
    (*out)->first = malloc(stages * sizeof *best->first);
    (*out)->counts = malloc(counts * sizeof *best->counts);
    if (!(*out)->first || !(*out)->counts) {
        hetero_free(*out, 1);
        *out = NULL;
        return error_no_memory(err);
    }
    memcpy((*out)->first, best->first, stages * sizeof *best->first);
    memcpy((*out)->counts, best->counts, counts * sizeof *best->counts);
    return 0;
}

/* Searches where that is not known, and notes what was found. */
static int learn(MemoEntry *entry, GroupCosts *costs, int64_t limit_ns, Error *err)
{
    HeteroPartition *parts;
    int              count;

    if (entry->best.stages || (limit_ns > 0 && limit_ns <= entry->none_ns)) return 0;
    if (hetero_search(&parts, &count, costs, entry->max_width, entry->unit, 1, limit_ns, err) != 0)
        return -1;
    if (count > 0) entry->best = parts[0];
    else           entry->none_ns = limit_ns > 0 ? limit_ns : INT64_MAX;
    free(parts);
    return 0;
}

int hetero_memo_search(HeteroPartition **out, int *count, HeteroMemo *memo, GroupCosts *costs,
                       int max_width, int unit, int64_t limit_ns, Error *err)
{
    MemoEntry *entry;

    if (!memo) return hetero_search(out, count, costs, max_width, unit, 1, limit_ns, err);
    *out = NULL;
    *count = 0;
    entry = entry_of(memo, costs, max_width, unit);
    if (!entry) return error_no_memory(err);
    pthread_mutex_lock(&entry->lock);
    int rc = learn(entry, costs, limit_ns, err);
    if (rc == 0 && entry->best.stages && (!limit_ns || entry->best.bottleneck_ns <= limit_ns)) {
        rc = copy_best(out, entry, err);
        *count = rc == 0;
    }
    pthread_mutex_unlock(&entry->lock);
    return rc;
}
