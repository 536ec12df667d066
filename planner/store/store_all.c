/* All plans of a small scenario that store. */
#include <stdlib.h>

#include "planner/store/store_plans.h"

enum { SMALL = 4 };                          /* blocks and devices at most */

/* Ranges of the chain, devices of each as bits, and in which order they come. */
typedef struct {
    int count, first[SMALL], last[SMALL], devices[SMALL];
} StageChoice;

typedef struct {
    StageChoice *list;
    int          count;
    int64_t      size;           /* that it may grow to */
} StageChoices;

/* What is counted or listed: disjoint devices, in the order of the chain (relaying); any devices,
 * in the order of the chain (turns); any devices and order (later). */
typedef enum { CHOOSE_RELAYS, CHOOSE_TURNS, CHOOSE_LATER } ChoiceKind;

static void add_choice(StageChoices *out, const StageChoice *choice)
{
    if (out->count < out->size) out->list[out->count] = *choice;
    out->count++;
}

static void permute(StageChoices *out, StageChoice *choice, int from)
{
    if (from == choice->count) { add_choice(out, choice); return; }
    for (int i = from; i < choice->count; i++) {
        StageChoice next = *choice;
        next.first[from] = choice->first[i];
        next.last[from] = choice->last[i];
        next.devices[from] = choice->devices[i];
        for (int k = from + 1; k <= i; k++) {        /* the others keep their order */
            next.first[k] = choice->first[k - 1];
            next.last[k] = choice->last[k - 1];
            next.devices[k] = choice->devices[k - 1];
        }
        permute(out, &next, from + 1);
    }
}

static void choose_stages(StageChoices *out, StageChoice *choice, ChoiceKind kind, int blocks,
                          int devices, int used)
{
    int from = choice->count ? choice->last[choice->count - 1] + 1 : 0;

    if (from == blocks) {
        if (kind == CHOOSE_LATER) permute(out, choice, 0);
        else                      add_choice(out, choice);
        return;
    }
    for (int last = from; last < blocks; last++)
        for (int set = 1; set < 1 << devices; set++) {
            if (kind == CHOOSE_RELAYS && set & used) continue;
            choice->first[choice->count] = from;
            choice->last[choice->count] = last;
            choice->devices[choice->count++] = set;
            choose_stages(out, choice, kind, blocks, devices, used | set);
            choice->count--;
        }
}

/* *count at most most: the list is made too. */
static int list_choices(StageChoices *out, ChoiceKind kind, const Scenario *s, int64_t most,
                        Error *err)
{
    StageChoice choice = {0};

    *out = (StageChoices){0};
    choose_stages(out, &choice, kind, s->trace->block_count, s->device_count, 0);
    if (out->count > most) return 0;
    out->list = calloc((size_t)out->count + 1, sizeof *out->list);
    if (!out->list) return error_no_memory(err);
    out->size = out->count;
    out->count = 0;
    choose_stages(out, &choice, kind, s->trace->block_count, s->device_count, 0);
    return 0;
}

static int put_stages(Plan *plan, Stage *stages, const StageChoice *choice, Error *err)
{
    for (int i = 0; i < choice->count; i++) {
        int     devices[SMALL], width = 0;
        int64_t rows[SMALL];
        for (int d = 0; d < SMALL; d++)
            if (choice->devices[i] & 1 << d) devices[width++] = d;
        for (int d = 0; d < width; d++) rows[d] = scenario_share(plan->batch, width, d);
        stages[i].first = choice->first[i];
        stages[i].last = choice->last[i];
        if (plan_place(plan, &stages[i], devices, rows, width, err) != 0) return -1;
    }
    return 0;
}

/* A plan of these stages (later: NULL for turns), with every set of boundaries in every tier. */
static int offer_all_sets(StoreSearch *x, const StageChoice *stages, const StageChoice *later)
{
    const Scenario *s = x->s;
    int             n = s->trace->block_count, choices = s->trace->tier_count + 1, sets = 1;

    for (int k = 0; k <= n; k++) sets *= choices;
    for (int set = 0; set < sets; set++)
        for (int home = 0; home < s->trace->tier_count; home++) {
            Plan *plan;
            if (plan_new(&plan, SCHEDULE_STORE, n, s->device_count, s->batch, stages->count, x->err)
                != 0)
                return -1;
            if (plan_set_store(plan, s->epochs, !later, later ? later->count : 0, x->err) != 0
                || put_stages(plan, plan->stages, stages, x->err) != 0
                || (later && put_stages(plan, plan->later, later, x->err) != 0)) {
                plan_free(plan);
                return -1;
            }
            for (int k = 0, rest = set; k <= n; k++, rest /= choices)
                plan->stored[k] = rest % choices - 1;
            plan->home = home;
            if (store_offer(x, plan) != 0) return -1;
        }
    return 0;
}

int store_offer_all(StoreSearch *x, int64_t most, bool *all)
{
    const Scenario *s = x->s;
    StageChoices    relays = {0}, turns = {0}, later = {0};
    int64_t         sets = s->trace->tier_count;
    int             rc = -1;

    *all = false;
    if (s->trace->block_count > SMALL || s->device_count > SMALL || s->device_count > s->batch)
        return 0;
    for (int k = 0; k <= s->trace->block_count; k++) sets *= s->trace->tier_count + 1;
    if (list_choices(&relays, CHOOSE_RELAYS, s, most, x->err) != 0
        || list_choices(&turns, CHOOSE_TURNS, s, most, x->err) != 0
        || list_choices(&later, CHOOSE_LATER, s, most, x->err) != 0)
        goto done;
    if (s->epochs == 1) relays.count = 0;
    rc = 0;
    if (((int64_t)relays.count * later.count + turns.count) * sets > most) goto done;
    *all = true;
    for (int i = 0; i < turns.count && rc == 0; i++) rc = offer_all_sets(x, &turns.list[i], NULL);
    for (int i = 0; i < relays.count && rc == 0; i++)
        for (int k = 0; k < later.count && rc == 0; k++)
            rc = offer_all_sets(x, &relays.list[i], &later.list[k]);
done:
    free(relays.list);
    free(turns.list);
    free(later.list);
    return rc;
}
