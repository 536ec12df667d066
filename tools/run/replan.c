#include "tools/run/replan.h"

#include <inttypes.h>

enum { MEASURED_STEPS = 20 };

int64_t run_replan_every(int64_t steps_per_epoch)
{
    return (MEASURED_STEPS + steps_per_epoch - 1) / steps_per_epoch * steps_per_epoch;
}

/* "step 460: device 1 works 1.42 times as long as the trace says: another plan, an epoch of 0.31 s
 * instead of 0.44 s expected (29.5 % less)" */
static void query_result_text(const RunReplan *r, const ReplanResult *a, int64_t step, Text *out)
{
    text_printf(out, "replan, step %" PRId64 ": ", step);
    replan_text(a, r->devices, out);
    if (a->plan)
        text_printf(out,
                    ": another plan, an epoch of %.4g s instead of %.4g s expected (%.1f %% less)",
                    a->after_s, a->before_s, 100 * (1 - a->after_s / a->before_s));
    else if (a->why[0])
        text_printf(out, ": the plan stays, %s", a->why);
    else
        text_printf(
            out,
            ": the plan stays, an epoch of %.4g s expected, %.4g s with the best that was found",
            a->before_s, a->after_s);
}

void run_replan_monitor(void *context, int64_t step)
{
    RunReplan   *r = context;
    ReplanResult answer = {0};
    Text         text = {0};

    if (r->total_steps - step < r->every) return;        /* too late to gain by it */
    pthread_mutex_lock(&r->lock);
    if (!r->next && replan_check(r->replan, r->board, &answer, NULL) == 0 && answer.asked) {
        LogReplan line = {.step = step, .plan = answer.plan, .factors = answer.factors,
                          .before_s = answer.before_s, .after_s = answer.after_s};
        query_result_text(r, &answer, step, &text);
        watch_tell(r->watch, text_string(&text), &line);
        text_free(&text);
        r->next = answer.plan;
        if (r->next) atomic_store(r->stop, true);
    }
    pthread_mutex_unlock(&r->lock);
}

/* At rank 0. */
static int take(RunReplan *r, Plan **out, Error *err)
{
    int rc = 0;

    if (!r->replan) return 0;
    pthread_mutex_lock(&r->lock);
    if (r->next) {
        rc = replan_begin(r->replan, r->next, r->board, err);
        *out = r->next;
        r->next = NULL;
        r->taken++;
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int run_replan_take(RunReplan *r, World *world, Plan **out, Error *err)
{
    Text text = {0};

    *out = NULL;
    int rc = take(r, out, err);
    if (!world) return rc;
    if (*out) plan_text(*out, &text);
    if (rc == 0 && text_failed(&text)) rc = error_no_memory(err);
    rc = world_agree(world, rc, err);
    if (rc == 0) rc = world_broadcast_text(world, &text, err);
    if (rc == 0 && world_rank(world) != 0 && text.length)
        rc = plan_parse(out, "the plan of rank 0", text_string(&text), text.length, err);
    text_free(&text);
    return rc;
}

void run_replan_free(RunReplan *r)
{
    plan_free(r->next);
    replan_free(r->replan);
    r->next = NULL;
    r->replan = NULL;
}
