/* The most valuable set of items within a capacity: the 0/1 knapsack problem, depth first
 * (Horowitz and Sahni 1974). */
#ifndef PLANNER_LS_TASKS_KNAPSACK_H
#define PLANNER_LS_TASKS_KNAPSACK_H

#include <stdbool.h>
#include <stdint.h>

/* Values and sizes are less than this, so that a product fits into 64 bits. */
#define TASK_ITEM_LIMIT ((int64_t)1 << 31)

typedef struct {
    int64_t value, size;         /* at least 0, not both 0 */
    int     id;
    bool    taken;               /* in the best set found */
    bool    tried;               /* in the set looked at */
} TaskItem;

typedef struct {
    int64_t best;                /* the value of the items taken */
    int64_t bound;               /* no set is worth more, at least best */
    int64_t nodes;
} TaskSet;

/* Orders items as task_set_solve() expects them: by value over size, descending, equal ones by id.
 * Fast where they nearly are so. */
void task_items_sort(TaskItem *items, int count);

/* items: [count], sorted. What may be worth at most tolerance more than the best set is not looked
 * for, nor anything after most nodes; the bound counts it. */
TaskSet task_set_solve(TaskItem *items, int count, int64_t capacity, int64_t tolerance,
                       int64_t most);

#endif
