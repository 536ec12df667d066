#include "planner/report/store_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/registry.h"

/* Instructions that may be simulated to find where relaying wins. */
enum { ANSWER_BUDGET = 20000000, HALVINGS = 12, ANSWER_STEPS = 64 };

static const double SLOWEST = 4096;      /* times as slow as the trace has it, a tier is looked
                                          * at */

typedef struct {
    const Candidate *store;
    int              relay;              /* the schedule of the fastest plan that relays; -1: none
                                          * is possible */
    /* all epochs; 0: not possible, or not known */
    double           store_s, relay_s, recompute_s, sequential_s;
    double           first_s;            /* of store: its first epoch */
    int64_t          pays_from;          /* epochs from which on store is faster than relaying; 0:
                                          * not within TRACE_MAX_EPOCHS */
    int              tier;               /* that has most of what is stored; -1: nothing is */
    double           bandwidth;          /* bytes a second below which relaying wins; 0: not known,
                                          * or it never does */
} StoreAnswer;

/* ---- finding it -------------------------------------------------------------------- */

/* Seconds of a plan's whole run; 0: it cannot be. Takes plan over. */
static int total_of(double *seconds, Plan *plan, const Scenario *s, Error *err)
{
    Candidate row = {0};

    *seconds = 0;
    if (candidate_price(&row, plan, s, err) != 0) return -1;
    if (row.plan) *seconds = (double)row.total_ns * 1e-9;
    candidate_free(&row);
    return 0;
}

/* The plan for its first epoch alone. */
static int first_epoch(StoreAnswer *a, const Scenario *s, Error *err)
{
    Scenario one = *s;
    Plan    *plan;

    if (plan_copy(&plan, a->store->plan, err) != 0) return -1;
    one.epochs = plan->epochs = 1;
    plan->later_count = 0;
    return total_of(&a->first_s, plan, &one, err);
}

/* The plan with nothing stored: all stages of later begin at the input. Turns need what they
 * store. */
static int recomputed(StoreAnswer *a, const Scenario *s, Error *err)
{
    Plan *plan;

    if (a->store->plan->turns) return 0;
    if (plan_copy(&plan, a->store->plan, err) != 0) return -1;
    for (int k = 0; k <= plan->block_count; k++) plan->stored[k] = -1;
    return total_of(&a->recompute_s, plan, s, err);
}

static int64_t stored_in(const Candidate *store, const Scenario *s, int tier)
{
    int64_t sum = 0;

    for (int m = 0; m < scenario_nodes(s); m++) sum += store->host[m].stored_bytes[tier];
    return sum;
}

/* Bytes a second that a tier gives at most. */
static double bandwidth_of(const TraceRequests *r)
{
    double most = 0;

    for (int b = 0; b < r->row_bytes_count; b++)
        for (int n = 0; n < r->rows_count; n++)
            for (int q = 0; q < r->in_flight_count; q++) {
                int64_t ns = r->ns[(b * r->rows_count + n) * r->in_flight_count + q];
                double rate = (double)r->row_bytes[b] * (double)r->rows[n] * (double)r->in_flight[q]
                              * 1e9 / (double)(ns ? ns : 1);
                most = fmax(most, rate);
            }
    return most;
}

/* The plan's run, of ANSWER_STEPS an epoch at most, with all tiers so many times as slow. */
static int slowed(double *seconds, const StoreAnswer *a, const Scenario *s, double factor,
                  Error *err)
{
    Scenario  slow = *s;
    bool      cut = s->steps > ANSWER_STEPS;
    Trace     trace = *s->trace;
    TraceTier tiers[TRACE_MAX_TIERS];
    int64_t  *ns[2 * TRACE_MAX_TIERS] = {NULL};
    Plan     *plan = NULL;
    int       rc = -1;

    for (int i = 0; i < 2 * trace.tier_count; i++) {
        TraceRequests *r;
        if (i % 2 == 0) tiers[i / 2] = s->trace->tiers[i / 2];
        r = i % 2 ? &tiers[i / 2].write : &tiers[i / 2].read;
        int count = r->row_bytes_count * r->rows_count * r->in_flight_count;
        ns[i] = malloc((size_t)count * sizeof *ns[i]);
        if (!ns[i]) { error_no_memory(err); goto done; }
        for (int k = 0; k < count; k++)
            ns[i][k] = (int64_t)fmin((double)r->ns[k] * factor, (double)TRACE_MAX_NS);
        r->ns = ns[i];
    }
    trace.tiers = tiers;
    slow.trace = &trace;
    if (cut) slow.steps = ANSWER_STEPS;
    if (plan_copy(&plan, a->store->plan, err) == 0) rc = total_of(seconds, plan, &slow, err);
done:
    for (int i = 0; i < 2 * TRACE_MAX_TIERS; i++) free(ns[i]);
    return rc;
}

/* Where relaying wins: how much slower tiers may be, by halving its logarithm. */
static int find_bandwidth(StoreAnswer *a, const Scenario *s, Error *err)
{
    double low = 0, high = log2(SLOWEST), seconds,
           share = fmin(1, (double)ANSWER_STEPS / (double)s->steps), relay_s = a->relay_s * share;

    if (a->tier < 0 || a->relay_s <= 0 || a->store_s >= a->relay_s) return 0;
    if ((double)a->store->sim.simulated * share > ANSWER_BUDGET / HALVINGS) return 0;
    if (slowed(&seconds, a, s, SLOWEST, err) != 0) return -1;
    if (seconds > 0 && seconds < relay_s) return 0;
    for (int i = 0; i < HALVINGS; i++) {
        double middle = (low + high) / 2;
        if (slowed(&seconds, a, s, exp2(middle), err) != 0) return -1;
        *(seconds > 0 && seconds < relay_s ? &low : &high) = middle;
    }
    a->bandwidth = bandwidth_of(&s->trace->tiers[a->tier].read) / exp2(high);
    return 0;
}

/* The numbers behind "store, recompute or relay": total times in s of the stored plan, the best
 * relaying plan and sequential, the first epoch, the epoch from which storing pays (first + (n - 1)
 * later <= n relay), and the bandwidth of the tier that holds most at which it would. */
static int find_answer(StoreAnswer *a, const Comparison *c, const Scenario *s, Error *err)
{
    *a = (StoreAnswer){.store = &c->rows[SCHEDULE_STORE], .relay = -1, .tier = -1};
    a->store_s = (double)a->store->total_ns * 1e-9;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *row = &c->rows[i];
        if (!row->plan || schedule_row((Schedule)i)->phases || schedule_row((Schedule)i)->stores)
            continue;
        if (a->relay < 0 || row->total_ns < c->rows[a->relay].total_ns) a->relay = i;
    }
    if (a->relay >= 0) a->relay_s = (double)c->rows[a->relay].total_ns * 1e-9;
    if (c->rows[SCHEDULE_SEQUENTIAL].plan)
        a->sequential_s = (double)c->rows[SCHEDULE_SEQUENTIAL].total_ns * 1e-9;
    for (int t = 0; t < s->trace->tier_count; t++)
        if (stored_in(a->store, s, t) > 0
            && (a->tier < 0 || stored_in(a->store, s, t) > stored_in(a->store, s, a->tier)))
            a->tier = t;
    if (first_epoch(a, s, err) != 0 || recomputed(a, s, err) != 0) return -1;
    double relay = a->relay_s / (double)s->epochs,
           later = s->epochs > 1 ? (a->store_s - a->first_s) / (double)(s->epochs - 1) : 0;
    if (a->relay >= 0 && later < relay && s->epochs > 1) {
        double from = floor((a->first_s - later) / (relay - later)) + 1;
        if (from < TRACE_MAX_EPOCHS) a->pays_from = from < 1 ? 1 : (int64_t)from;
    }
    return find_bandwidth(a, s, err);
}

/* ---- saying it ----------------------------------------------------------------------- */

static void bytes_text(double bytes, Text *out)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int unit = 0;

    while (bytes >= 1024 && unit < 5) { bytes /= 1024; unit++; }
    text_printf(out, unit == 0 ? "%.0f %s" : "%.3g %s", bytes, units[unit]);
}

static void time_text(double seconds, Text *out)
{
    if (seconds < 120)        text_printf(out, "%.3g s", seconds);
    else if (seconds < 7200)  text_printf(out, "%.3g min", seconds / 60);
    else if (seconds < 2e5)   text_printf(out, "%.3g h", seconds / 3600);
    else                      text_printf(out, "%.3g days", seconds / 86400);
}

/* "boundaries 1, 3 to 5 in host (38 GiB)", a tier after the other. */
static void stored_text(const Candidate *store, const Scenario *s, Text *out)
{
    const Plan *plan = store->plan;
    bool        any = false;

    for (int t = 0; t < s->trace->tier_count; t++) {
        int count = 0, ranges = 0;
        for (int k = 0; k <= plan->block_count; k++) count += plan->stored[k] == t;
        if (!count) continue;
        text_append(out, any ? ", and " : "");
        text_append(out, count > 1 ? "boundaries " : "boundary ");
        for (int k = 0, end; k <= plan->block_count; k = end + 1) {
            end = k;
            if (plan->stored[k] != t) continue;
            while (end < plan->block_count && plan->stored[end + 1] == t) end++;
            text_printf(out, ranges++ ? ", %d" : "%d", k);
            if (end > k) text_printf(out, end > k + 1 ? " to %d" : ", %d", end);
        }
        text_printf(out, " in %s (", s->trace->tiers[t].name);
        bytes_text((double)stored_in(store, s, t), out);
        text_append(out, plan->turns ? " at a time)" : ")");
        any = true;
    }
    if (!any) text_append(out, "no boundary: what is not at hand is computed again");
}

static void against_relay(const StoreAnswer *a, const Scenario *s, Text *out)
{
    if (a->relay < 0) { text_append(out, "; relaying is not possible"); return; }
    if (a->pays_from) text_printf(out, "; pays from epoch %" PRId64 " on", a->pays_from);
    else              text_append(out, "; never pays");
    text_printf(out, "; at %" PRId64 " epoch%s %.2f times as fast as relaying (%s)", s->epochs,
                s->epochs > 1 ? "s" : "", a->relay_s / a->store_s,
                schedule_name((Schedule)a->relay));
    if (a->bandwidth > 0)
        text_printf(out, "; below %.2g GB/s of %s relaying wins", a->bandwidth * 1e-9,
                    s->trace->tiers[a->tier].name);
}

int store_report(const Comparison *c, const Scenario *s, Text *out, Error *err)
{
    StoreAnswer a;
    const struct { const char *name; const double *seconds;
    } totals[] = {{"store", &a.store_s},
                  {"relaying", &a.relay_s},
                  {"computing all again", &a.recompute_s},
                  {"sequential", &a.sequential_s}};
    bool first = true;

    if (!c->rows[SCHEDULE_STORE].plan) return 0;
    if (find_answer(&a, c, s, err) != 0) return -1;
    text_append(out, "\nstore: ");
    stored_text(a.store, s, out);
    against_relay(&a, s, out);
    text_printf(out, "\n  %" PRId64 " epoch%s: ", s->epochs, s->epochs > 1 ? "s" : "");
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
        if (*totals[i].seconds <= 0) continue;
        text_printf(out, first ? "%s " : ", %s ", totals[i].name);
        time_text(*totals[i].seconds, out);
        first = false;
    }
    text_append(out, "\n");
    return 0;
}

static void seconds_member(const char *key, double seconds, Text *out)
{
    text_printf(out, ", \"%s\": ", key);
    if (seconds > 0) text_printf(out, "%.9f", seconds);
    else             text_append(out, "null");
}

int store_report_json(const Comparison *c, const Scenario *s, Text *out, Error *err)
{
    StoreAnswer a;
    bool        first = true;

    if (!c->rows[SCHEDULE_STORE].plan) return 0;
    if (find_answer(&a, c, s, err) != 0) return -1;
    text_append(out, "  \"store\": {\"tiers\": [");
    for (int t = 0; t < s->trace->tier_count; t++) {
        int64_t sample = 0;
        for (int k = 0; k <= a.store->plan->block_count; k++)
            if (a.store->plan->stored[k] == t && trace_stored_bytes(s->trace, k) > 0)
                sample += trace_stored_bytes(s->trace, k);
        if (stored_in(a.store, s, t) == 0) continue;
        text_append(out, first ? "{\"name\": " : ", {\"name\": ");
        text_json_string(out, s->trace->tiers[t].name);
        text_printf(out, ", \"sample_bytes\": %" PRId64 ", \"bytes\": %" PRId64 "}", sample,
                    stored_in(a.store, s, t));
        first = false;
    }
    text_append(out, "]");
    seconds_member("store_s", a.store_s, out);
    seconds_member("first_epoch_s", a.first_s, out);
    seconds_member("relay_s", a.relay_s, out);
    seconds_member("recompute_s", a.recompute_s, out);
    seconds_member("sequential_s", a.sequential_s, out);
    text_append(out, ", \"pays_from_epoch\": ");
    if (a.pays_from) text_printf(out, "%" PRId64, a.pays_from);
    else             text_append(out, "null");
    text_append(out, ", \"relaying_wins_below_bytes_per_s\": ");
    if (a.bandwidth > 0) text_printf(out, "%.0f", a.bandwidth);
    else                 text_append(out, "null");
    text_append(out, "},\n");
    return 0;
}
