#include "planner/ls/tasks_prices.h"

#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_knapsack.h"

enum { SET_NODES = 2000, STEPS_BEFORE_SHORTER = 10 };

struct TaskPrices {
    const TaskProblem *p;
    int                kinds;    /* of devices: those with the same times */
    int               *kind;     /* [devices] */
    int               *first;    /* [kinds] the lowest device of it */
    int               *count;    /* [kinds] devices of it */
    TaskItem          *items;    /* [kinds][tasks], then [tasks] to compute with */
    int64_t           *whole, *own;      /* [kinds] worth of the best set; without a task */
    double            *price, *best;     /* [tasks]; best: those with the least excess */
    int64_t           *value;    /* [tasks] prices as whole numbers */
    int64_t            total;    /* of them */
    int               *taken;    /* [tasks] by how many devices */
    int64_t            limit_ns;
    int                shift;    /* sizes are ns >> shift */
};

/* ---- sets ------------------------------------------------------------------------------ */

static void use_limit(TaskPrices *x, int64_t limit_ns)
{
    x->limit_ns = limit_ns;
    for (x->shift = 0; limit_ns >> x->shift >= TASK_ITEM_LIMIT - 1; x->shift++) {}
}

/* The largest becomes half of TASK_ITEM_LIMIT. */
static void prices_to_values(TaskPrices *x, const double *price)
{
    double most = 0;

    x->total = 0;
    for (int t = 0; t < x->p->tasks; t++) if (price[t] > most) most = price[t];
    for (int t = 0; t < x->p->tasks; t++) {
        x->value[t] = most > 0 ? (int64_t)(price[t] / most * (double)(TASK_ITEM_LIMIT / 2)) : 0;
        x->total += x->value[t];
    }
}

/* What is not looked for, in all devices together: a 16,000th of all prices. */
static int64_t tolerance(const TaskPrices *x) { return x->total / x->p->devices >> 14; }

/* The best set of a device of the kind, in items. Too long, or worth nothing: too large. Sizes are
 * rounded down, so a set that can be done is among those looked at. */
static TaskSet solve_kind(const TaskPrices *x, int kind)
{
    TaskItem *items = x->items + (size_t)kind * (size_t)x->p->tasks;
    int64_t   room = x->limit_ns >> x->shift;

    for (int i = 0; i < x->p->tasks; i++) {
        int64_t ns = task_time(x->p, items[i].id, x->first[kind]);
        bool    fits = ns <= x->limit_ns && x->value[items[i].id] > 0;
        items[i].value = fits ? x->value[items[i].id] : 0;
        items[i].size = fits ? ns >> x->shift : room + 1;
    }
    task_items_sort(items, x->p->tasks);
    return task_set_solve(items, x->p->tasks, room, tolerance(x), SET_NODES);
}

/* Nodes of a budget, in which also a look at an item counts something. */
static int64_t effort(const TaskPrices *x, int64_t nodes) { return nodes + x->p->tasks; }

/* What the best sets of all devices are worth more than all tasks, by the prices given; negative:
 * no lists end within the limit. */
static int64_t excess(TaskPrices *x, const double *price, TaskBudget *budget)
{
    int64_t worth = 0;

    prices_to_values(x, price);
    memset(x->taken, 0, (size_t)x->p->tasks * sizeof *x->taken);
    for (int k = 0; k < x->kinds; k++) {
        const TaskItem *items = x->items + (size_t)k * (size_t)x->p->tasks;
        TaskSet         r = solve_kind(x, k);
        x->whole[k] = r.bound;
        worth += x->count[k] * r.bound;
        for (int i = 0; i < x->p->tasks; i++)
            if (items[i].taken) x->taken[items[i].id] += x->count[k];
        task_budget_spend(budget, effort(x, r.nodes));
    }
    return worth - x->total;
}

/* ---- steps ------------------------------------------------------------------------------- */

/* Cheaper what is taken more than once, dearer what is not taken; length: of the excess, which is a
 * part of all prices. False: each is taken once. */
static bool step(TaskPrices *x, double length)
{
    double squares = 0, sum = 0;

    for (int t = 0; t < x->p->tasks; t++)
        squares += (double)(x->taken[t] - 1) * (double)(x->taken[t] - 1);
    if (squares == 0) return false;
    for (int t = 0; t < x->p->tasks; t++) {
        x->price[t] -= length / squares * (double)(x->taken[t] - 1);
        if (x->price[t] < 0) x->price[t] = 0;
        sum += x->price[t];
    }
    for (int t = 0; t < x->p->tasks && sum > 0; t++) x->price[t] /= sum;
    return sum > 0;
}

/* Steps aim at an excess a little below 0 (Polyak 1969), and get shorter where they lead
 * nowhere. */
bool task_prices_prove(TaskPrices *x, int64_t limit_ns, int steps, TaskBudget *budget)
{
    const double aim = 0.0005, shortest = 0.01;
    double       least = 1e30, length = 1;
    size_t       bytes = (size_t)x->p->tasks * sizeof *x->price;
    bool         proven = false;

    use_limit(x, limit_ns);
    memcpy(x->price, x->best, bytes);
    for (int i = 0, idle = 0; i < steps && length > shortest && !proven; i++) {
        int64_t more = excess(x, x->price, budget);
        double  part = (double)more / (double)(x->total + (x->total == 0));
        proven = more < 0;
        if (part < least - 1e-7) {
            least = part;
            memcpy(x->best, x->price, bytes);
            idle = 0;
        } else if (++idle == STEPS_BEFORE_SHORTER) {
            length *= 0.7;
            idle = 0;
            memcpy(x->price, x->best, bytes);
        }
        if (budget->stopped != TASKS_FINISHED || !step(x, length * (part + aim))) break;
    }
    return proven;
}

/* ---- pairs --------------------------------------------------------------------------------- */

/* What the best set of the kind without the task is worth at most, within ns. */
static int64_t worth_without(const TaskPrices *x, int kind, int task, int64_t ns,
                             TaskBudget *budget)
{
    const TaskItem *items = x->items + (size_t)kind * (size_t)x->p->tasks;
    TaskItem       *some = x->items + (size_t)x->kinds * (size_t)x->p->tasks;
    int64_t         room = ns >> x->shift;
    int             count = 0;

    for (int i = 0; i < x->p->tasks; i++)
        if (items[i].id != task && items[i].size <= room && items[i].value > 0)
            some[count++] = items[i];
    TaskSet r = task_set_solve(some, count, room, tolerance(x), SET_NODES);
    task_budget_spend(budget, effort(x, r.nodes));
    return r.bound;
}

static bool takes(const TaskPrices *x, int kind, int task)
{
    const TaskItem *items = x->items + (size_t)kind * (size_t)x->p->tasks;
    int             i = 0;

    while (items[i].id != task) i++;
    return items[i].taken;
}

/* Task on one device of the kind; others: what the sets of all devices without it are worth. */
static bool impossible(const TaskPrices *x, int kind, int task, int64_t others, TaskBudget *budget)
{
    int64_t ns = task_time(x->p, task, x->first[kind]);

    if (ns > x->limit_ns) return true;
    int64_t with =
        x->value[task] + worth_without(x, kind, task, x->limit_ns - ns, budget);
    return others - x->own[kind] + with < x->total;
}

static int64_t strike_task(TaskPrices *x, int task, int64_t *ns, TaskBudget *budget)
{
    int64_t others = 0, struck = 0;

    for (int k = 0; k < x->kinds; k++) {
        x->own[k] = takes(x, k, task) ? worth_without(x, k, task, x->limit_ns, budget)
                                      : x->whole[k];
        others += x->count[k] * x->own[k];
    }
    for (int k = 0; k < x->kinds; k++) {
        if (task_time(x->p, task, x->first[k]) == TASK_IMPOSSIBLE
            || !impossible(x, k, task, others, budget))
            continue;
        int64_t *row = ns + (size_t)task * (size_t)x->p->devices;
        for (int d = 0; d < x->p->devices; d++) if (x->kind[d] == k) row[d] = TASK_IMPOSSIBLE;
        struck += x->count[k];
    }
    return struck;
}

int64_t task_prices_strike(TaskPrices *x, int64_t *ns, TaskBudget *budget)
{
    int64_t struck = 0;

    excess(x, x->best, budget);
    for (int t = 0; t < x->p->tasks && budget->stopped == TASKS_FINISHED; t++)
        struck += strike_task(x, t, ns, budget);
    return struck;
}

/* ---- building ------------------------------------------------------------------------------ */

static void find_kinds(TaskPrices *x)
{
    for (int d = 0; d < x->p->devices; d++) {
        int k = 0;
        while (k < x->kinds && !task_same_times(x->p, d, x->first[k])) k++;
        if (k == x->kinds) x->first[x->kinds++] = d;
        x->kind[d] = k;
        x->count[k]++;
    }
}

/* Prices: the time on the fastest device. */
static void start(TaskPrices *x)
{
    double sum = 0;

    for (int t = 0; t < x->p->tasks; t++) {
        x->best[t] = (double)task_time(x->p, t, task_fastest(x->p, t));
        sum += x->best[t];
    }
    for (int t = 0; t < x->p->tasks; t++) x->best[t] = sum > 0 ? x->best[t] / sum : 1;
    for (int k = 0; k <= x->kinds; k++)
        for (int t = 0; t < x->p->tasks; t++)
            x->items[(size_t)k * (size_t)x->p->tasks + (size_t)t].id = t;
}

int task_prices_build(TaskPrices **out, const TaskProblem *p, Error *err)
{
    size_t      n = (size_t)p->tasks, m = (size_t)p->devices;
    TaskPrices *x = calloc(1, sizeof *x);

    *out = x;
    if (!x) return error_no_memory(err);
    x->p = p;
    x->kind = calloc(3 * m + n, sizeof *x->kind);
    x->price = malloc(2 * n * sizeof *x->price);
    if (!x->kind || !x->price) goto failed;
    x->first = x->kind + m;
    x->count = x->first + m;
    x->taken = x->count + m;
    x->best = x->price + n;
    find_kinds(x);
    x->items = calloc(((size_t)x->kinds + 1) * n, sizeof *x->items);
    x->value = malloc((n + 2 * (size_t)x->kinds) * sizeof *x->value);
    if (!x->items || !x->value) goto failed;
    x->whole = x->value + n;
    x->own = x->whole + x->kinds;
    start(x);
    return 0;
failed:
    task_prices_free(x);
    *out = NULL;
    return error_no_memory(err);
}

void task_prices_free(TaskPrices *x)
{
    if (!x) return;
    free(x->kind);
    free(x->price);
    free(x->items);
    free(x->value);
    free(x);
}
