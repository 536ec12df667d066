#include "planner/ls/tasks_knapsack.h"

#include <stdlib.h>

static bool before(const TaskItem *a, const TaskItem *b)
{
    int64_t x = a->value * b->size, y = b->value * a->size;

    return x != y ? x > y : a->id < b->id;
}

static int by_worth(const void *a, const void *b) { return before(a, b) ? -1 : before(b, a); }

void task_items_sort(TaskItem *items, int count)
{
    int64_t moves = 8 * (int64_t)count;

    for (int i = 1; i < count && moves > 0; i++) {
        TaskItem item = items[i];
        int      at = i;
        for (; at > 0 && before(&item, &items[at - 1]); at--) items[at] = items[at - 1];
        items[at] = item;
        moves -= i - at;
    }
    if (moves <= 0) qsort(items, (size_t)count, sizeof *items, by_worth);
}

typedef struct {
    TaskItem *items;
    int       count;
    int64_t   value, room;   /* of the items tried; what they leave */
} ItemSet;

/* What the items from i on can add at most: whole ones in order, and a part of the next. */
static int64_t rest_bound(const ItemSet *k, int i)
{
    int64_t sum = 0, room = k->room;

    for (; i < k->count && k->items[i].size <= room; i++) {
        room -= k->items[i].size;
        sum += k->items[i].value;
    }
    return i < k->count ? sum + k->items[i].value * room / k->items[i].size : sum;
}

/* Tries from i on all that fit, up to the first that does not; its number, or count. */
static int fill(ItemSet *k, int i)
{
    for (; i < k->count && k->items[i].size <= k->room; i++) {
        k->items[i].tried = true;
        k->value += k->items[i].value;
        k->room -= k->items[i].size;
    }
    return i;
}

/* Leaves out the last one tried before i; the number after it, or -1: there was none. */
static int back(ItemSet *k, int i)
{
    do i--; while (i >= 0 && !k->items[i].tried);
    if (i < 0) return -1;
    k->items[i].tried = false;
    k->value -= k->items[i].value;
    k->room += k->items[i].size;
    return i + 1;
}

TaskSet task_set_solve(TaskItem *items, int count, int64_t capacity, int64_t tolerance,
                       int64_t most)
{
    ItemSet k = {.items = items, .count = count, .room = capacity};
    TaskSet r = {0};

    for (int i = 0; i < count; i++) items[i].taken = items[i].tried = false;
    for (int i = 0; i >= 0;) {
        int64_t bound = k.value + rest_bound(&k, i);
        if (bound <= r.best + tolerance || r.nodes >= most) {
            if (bound > r.bound) r.bound = bound;
            i = back(&k, i);
            continue;
        }
        r.nodes++;
        i = fill(&k, i);
        if (k.value > r.best) {
            r.best = k.value;
            for (int j = 0; j < count; j++) items[j].taken = items[j].tried;
        }
        i = i == count ? back(&k, i) : i + 1;
    }
    if (r.best > r.bound) r.bound = r.best;
    return r;
}
