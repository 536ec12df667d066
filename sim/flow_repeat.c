/* Whether the steps of a run that is evaluated stage by stage repeat.
 *
 * A step of all stages is a function of when devices ended the step before, when messages of the
 * last few steps were received, and when lanes get free: maxima and sums of times, so that if all
 * of these are later by the same time, so is all that comes. Where they are, whole periods are
 * skipped: Brent's cycle finding, as in sim/steady.c, which compares more than that. Who must say
 * how much the engine would have simulated skips nothing, and asks whether the engine would. */
#include "sim/flow.h"

#include <string.h>

enum { PERIOD_MOST = 16 };

/* ---- would the engine skip? -------------------------------------------------------------- */

bool flow_has_settled(const Flow *f, int done)
{
    for (int period = 1; period <= PERIOD_MOST && 2 * period < done; period++) {
        const int64_t *of = f->devices[0].ends + done - 1;
        int64_t        ns = of[0] - of[-period];
        bool           same = true;
        for (int i = 0; i < f->count && same; i++) {
            of = f->devices[i].ends + done - 1;
            same = of[0] - of[-period] == ns && of[-period] - of[-2 * period] == ns;
        }
        if (same) return true;
    }
    return false;
}

/* Steps that have ended before ns; -1: one ends just then. */
static int steps_before(const FlowDevice *dev, int steps, int64_t ns)
{
    int low = 0, high = steps;

    while (low < high) {
        int middle = (low + high) / 2;
        if (dev->ends[middle] < ns) low = middle + 1;
        else                        high = middle;
    }
    return low < steps && dev->ends[low] == ns ? -1 : low;
}

/* After a steps of the reference all is as after b, as far as device i shows it. */
static bool could_match(const Flow *f, int i, const FlowDevice *reference, int a, int b)
{
    const FlowDevice *dev = &f->devices[i];
    int64_t           from = reference->ends[a - 1], to = reference->ends[b - 1];
    int               one = dev == reference ? a : steps_before(dev, f->steps, from),
                      other = dev == reference ? b : steps_before(dev, f->steps, to);

    if (one < 0 || other < 0) return true;
    if (other - one != b - a) return false;
    for (int k = 0; other + k < f->steps; k++)
        if (dev->ends[one + k] - from != dev->ends[other + k] - to) return false;
    return true;
}

static bool may_match(Flow *f, const FlowDevice *reference, int a, int b)
{
    if (!could_match(f, f->hint, reference, a, b)) return false;
    for (int i = 0; i < f->count; i++) {
        if (could_match(f, i, reference, a, b)) continue;
        f->hint = i;
        return false;
    }
    return true;
}

bool flow_may_repeat(Flow *f)
{
    const FlowDevice *reference = &f->devices[f->count - 1];

    for (int i = 0; i < f->count; i++)
        if (f->devices[i].ends[f->steps - 2] >= reference->ends[f->steps - 1]) return true;
    for (int kept = 1, b = 2; b < f->steps; b++) {
        if (may_match(f, reference, kept, b)) return true;
        if (b == 2 * kept + 1) kept = b;
    }
    return false;
}

/* ---- skipping ------------------------------------------------------------------------------ */

/* What flow_words() does with each time, ns being where it is. */
typedef void FlowWord(int64_t *ns, int64_t *word, int64_t shift);

static void note_word(int64_t *ns, int64_t *word, int64_t shift)
{
    (void)shift;
    *word = *ns;
}

static void shift_word(int64_t *ns, int64_t *word, int64_t shift) { *ns = *word + shift; }

/* Calls use for each time that the steps after step depend on; how many there are. */
static int flow_words(Flow *f, int step, FlowWord *use, int64_t *words, int64_t shift)
{
    int count = 0;

    for (int i = 0; i < f->count; i++) {
        FlowDevice *dev = &f->devices[i];
        use(&dev->end_ns, &words[count++], shift);
        if (dev->receive_count > 0) use(&f->in_free_ns[dev->device], &words[count++], shift);
    }
    for (int u = 0; u < f->unit_count; u++) {
        FlowUnit *unit = &f->units[u];
        if (unit->merges) use(&unit->last_start_ns, &words[count++], shift);
        if (unit->group >= 0)
            use(&f->sim->meets[unit->group].lane_free_ns, &words[count++], shift);
    }
    for (int c = 0; c < f->sim->program->channel_count; c++)
        for (int i = 1; i <= f->sim->depth; i++)
            use(flow_taken(f, c, step + i), &words[count++], shift);
    return count;
}

bool flow_state_new(FlowState *state, Flow *f)
{
    size_t most = 2 * (size_t)f->count + 2 * (size_t)f->unit_count
                  + (size_t)f->sim->program->channel_count * (size_t)f->sim->depth;

    *state = (FlowState){.step = -1};
    state->now = arena_alloc(&f->arena, most, sizeof *state->now);
    state->kept = arena_alloc(&f->arena, most, sizeof *state->kept);
    state->shares = arena_alloc(&f->arena, (size_t)f->count, sizeof *state->shares);
    return state->now && state->kept && state->shares;
}

static void keep(FlowState *state, const Flow *f, int step)
{
    int64_t *other = state->kept;

    state->kept = state->now;
    state->now = other;
    state->step = step;
    state->power = state->power > 0 ? 2 * state->power : 1;
    for (int i = 0; i < f->count; i++)
        memcpy(state->shares[i], f->sim->devices[f->devices[i].device].share_ns,
               sizeof state->shares[i]);
}

/* All words are later than kept by the same time, *by. */
static bool is_later(const FlowState *state, int64_t *by)
{
    *by = state->now[0] - state->kept[0];
    for (int i = 1; i < state->words; i++)
        if (state->now[i] - state->kept[i] != *by) return false;
    return true;
}

/* So many periods: words from after step to after to. */
static void put_ahead(FlowState *state, Flow *f, int64_t times, int64_t shift, int to)
{
    for (int i = 0; i < f->count; i++) {
        int64_t *share = f->sim->devices[f->devices[i].device].share_ns;
        for (int k = 0; k < SHARE_COUNT; k++) share[k] += times * (share[k] - state->shares[i][k]);
    }
    flow_words(f, to, shift_word, state->now, shift);
}

bool flow_skip(FlowState *state, Flow *f, int *step)
{
    int64_t by, shift;

    state->words = flow_words(f, *step, note_word, state->now, 0);
    if (state->step >= 0 && is_later(state, &by)) {
        int     period = *step - state->step;
        int64_t times = (f->steps - 1 - *step) / period;
        if (times == 0) return true;
        if (__builtin_mul_overflow(by, times, &shift)
            || shift > TIME_LIMIT_NS / 4 - state->now[0])
            return false;
        put_ahead(state, f, times, shift, *step + (int)times * period);
        f->skipped += (int)times * period;
        *step += (int)times * period;
        state->step = -1;
        return true;
    }
    if (state->step < 0 || *step - state->step >= state->power) keep(state, f, *step);
    return true;
}
