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

struct HeteroEntry {
    HeteroEntry    *next;
    MemoClass      *classes;     /* [class_count] in the order of their numbers */
    int             class_count, low, high, unit;
    pthread_mutex_t lock;        /* of what is known: */
    int64_t         none_ns;     /* no partition has a bottleneck of as much or less; 0: not
                                  * known */
    HeteroPartition best;        /* the optimum; no stages: not known */
};

struct HeteroMemo {
    pthread_mutex_t lock;        /* of the list */
    HeteroEntry      *entries;
};

int hetero_memo_new(HeteroMemo **out, Error *err)
{
    HeteroMemo *memo = calloc(1, sizeof *memo);

    *out = memo;
    if (!memo) return error_no_memory(err);
    pthread_mutex_init(&memo->lock, NULL);
    return 0;
}

static void entry_free(HeteroEntry *entry)
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
    for (HeteroEntry *entry = memo->entries, *next; entry; entry = next) {
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

static bool is_of(const HeteroEntry *entry, const HeteroEntry *key)
{
    bool same = entry->class_count == key->class_count && entry->low == key->low
                && entry->high == key->high && entry->unit == key->unit;

    for (int c = 0; c < key->class_count && same; c++)
        same = same_class(&entry->classes[c], &key->classes[c]);
    return same;
}

/* What the costs' devices are; classes in the order of their first devices. */
static HeteroEntry *entry_new(const GroupCosts *costs, int low, int high, int unit)
{
    const Scenario *s = group_costs_scenario(costs);
    HeteroEntry      *entry = calloc(1, sizeof *entry);
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
    entry->low = low;
    entry->high = high;
    entry->unit = unit;
    return entry;
}

HeteroEntry *hetero_memo_entry(HeteroMemo *memo, const GroupCosts *costs, int low, int high,
                               int unit)
{
    HeteroEntry *key = entry_new(costs, low, high, unit), *entry;

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
    pthread_mutex_lock(&entry->lock);
    return entry;
}

void hetero_memo_release(HeteroEntry *entry) { pthread_mutex_unlock(&entry->lock); }

bool hetero_memo_knows(const HeteroEntry *entry, int64_t limit_ns, const HeteroPartition **best)
{
    bool found = entry->best.stages > 0;

    *best = found && (!limit_ns || entry->best.bottleneck_ns <= limit_ns) ? &entry->best : NULL;
    return found || (limit_ns > 0 && limit_ns <= entry->none_ns) || entry->none_ns == INT64_MAX;
}

void hetero_memo_note(HeteroEntry *entry, int64_t limit_ns, HeteroPartition *best)
{
    if (best->stages == 0) { entry->none_ns = limit_ns > 0 ? limit_ns : INT64_MAX; return; }
    entry->best = *best;
    *best = (HeteroPartition){0};
}
