/* Better lists from given ones: the busiest device and some others deal their tasks out
 * anew, in every way there is, as long as that makes the busiest end earlier. Two devices
 * at a time, and three when two do not help. What is found is no better than its start
 * promises; it is where a search begins. */
#include <stdlib.h>
#include <string.h>

#include "planner/ls/tasks_common.h"

enum { MOST_DEALT = 24, MOST_HANDS = 3, DEAL_NODES = 20000 };

typedef struct {
    const TaskProblem *p;
    TaskLists         *lists;
    TaskBudget        *budget;
    int64_t           *load;     /* [devices] */
    int                hand[MOST_HANDS], hands;  /* devices that deal, the busiest first */
    int                task[MOST_DEALT], tasks;  /* theirs, by time, descending */
    int                dealt[MOST_DEALT], best_dealt[MOST_DEALT];   /* hand of each */
    int64_t            best;     /* the busiest of the hands must end before this */
    int64_t            nodes;    /* left for this deal */
} Improvement;

static int64_t time_in(const Improvement *deal, int i, int hand)
{
    return task_time(deal->p, deal->task[i], deal->hand[hand]);
}

/* Tasks from i on to hands with these loads. */
static void deal_out(Improvement *deal, int i, int64_t load[MOST_HANDS])
{
    if (i == deal->tasks) {
        deal->best = 0;
        for (int h = 0; h < deal->hands; h++) if (load[h] > deal->best) deal->best = load[h];
        memcpy(deal->best_dealt, deal->dealt, sizeof deal->dealt);
        return;
    }
    if (deal->nodes-- <= 0) return;
    for (int h = 0; h < deal->hands; h++) {
        int64_t ns = time_in(deal, i, h);
        if (ns >= deal->best - load[h]) continue;        /* too long, or cannot be */
        load[h] += ns;
        deal->dealt[i] = h;
        deal_out(deal, i + 1, load);
        load[h] -= ns;
    }
}

/* The tasks of all hands; false: too many to deal. */
static bool collect(Improvement *deal)
{
    deal->tasks = 0;
    for (int t = 0; t < deal->p->tasks; t++)
        for (int h = 0; h < deal->hands; h++) {
            if (deal->lists->device[t] != deal->hand[h]) continue;
            if (deal->tasks == MOST_DEALT) return false;
            int at = deal->tasks++;
            while (at > 0 && task_time(deal->p, deal->task[at - 1], deal->hand[0]) < task_time(deal->p, t, deal->hand[0])) {
                deal->task[at] = deal->task[at - 1];
                at--;
            }
            deal->task[at] = t;
        }
    return true;
}

/* True: the hands were dealt anew, and the busiest of them ends earlier. */
static bool try_deal(Improvement *deal)
{
    int64_t load[MOST_HANDS] = {0}, before = deal->load[deal->hand[0]];

    if (!task_budget_spend(deal->budget, 100) || !collect(deal)) return false;
    deal->best = before;
    deal->nodes = DEAL_NODES;
    deal_out(deal, 0, load);
    task_budget_spend(deal->budget, DEAL_NODES - deal->nodes);
    if (deal->best >= before) return false;
    for (int h = 0; h < deal->hands; h++) deal->load[deal->hand[h]] = 0;
    for (int i = 0; i < deal->tasks; i++) {
        int h = deal->best_dealt[i];
        deal->lists->device[deal->task[i]] = deal->hand[h];
        deal->load[deal->hand[h]] += time_in(deal, i, h);
    }
    return true;
}

static bool deal_with_one(Improvement *deal)
{
    deal->hands = 2;
    for (deal->hand[1] = 0; deal->hand[1] < deal->p->devices; deal->hand[1]++)
        if (deal->hand[1] != deal->hand[0] && try_deal(deal)) return true;
    return false;
}

static bool deal_with_two(Improvement *deal)
{
    deal->hands = 3;
    for (int a = 0; a < deal->p->devices; a++)
        for (int b = a + 1; b < deal->p->devices; b++) {
            deal->hand[1] = a;
            deal->hand[2] = b;
            if (a != deal->hand[0] && b != deal->hand[0] && try_deal(deal)) return true;
            if (deal->budget->stopped != TASKS_FINISHED) return false;
        }
    return false;
}

int task_lists_improve(TaskLists *lists, const TaskProblem *p, TaskBudget *budget, Error *err)
{
    Improvement deal = {.p = p, .lists = lists, .budget = budget, .load = calloc((size_t)p->devices, sizeof *deal.load)};

    if (!deal.load) return error_no_memory(err);
    for (int t = 0; t < p->tasks; t++) deal.load[lists->device[t]] += task_time(p, t, lists->device[t]);
    for (;;) {
        deal.hand[0] = 0;
        for (int d = 1; d < p->devices; d++)
            if (deal.load[d] > deal.load[deal.hand[0]]) deal.hand[0] = d;
        if (deal.load[deal.hand[0]] == lists->bound_ns) break;
        if (!deal_with_one(&deal) && !deal_with_two(&deal)) break;
    }
    task_lists_finish(lists, p);
    free(deal.load);
    return 0;
}
