#include "sim/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/compare.h"

void state_device(StateWords *out, const Sim *sim, const SimDevice *dev, int64_t reference_step)
{
    state_word(out, dev->state);
    if (dev->state == STATE_DONE) return;
    state_word(out, dev->code == &sim->program->queue);
    state_word(out, dev->phase);
    if (dev->state == STATE_STORE) return;       /* until it is woken, however long it has waited */
    state_word(out, dev->index);
    state_word(out, dev->step - reference_step);
    state_word(out, dev->step & 1);                      /* all-reduces alternate */
    state_word(out, dev->since_ns - sim->now_ns);
    state_word(out, dev->awaited_ns);
    state_word(out, dev->out_busy + 2 * dev->in_busy);
    state_word(out, dev->out_busy ? dev->out_end_ns - sim->now_ns : 0);
    state_word(out, dev->out_count);
    for (int i = 0; i < dev->out_count; i++) {
        state_word(out, dev->out[i]);
        state_word(out, dev->out_posted_ns[i] - sim->now_ns);
    }
    for (int i = 0; i < sim->prefetch; i++)              /* in the order of coming loads */
        state_future(out, sim, dev->ready_ns[(dev->step + i) % sim->prefetch]);
}

void state_lanes(StateWords *out, const Sim *sim, const int64_t *free_ns, int count)
{
    size_t first = out->count;

    for (int i = 0; i < count; i++) state_future(out, sim, free_ns[i]);
    if (!out->failed && count > 1)
        qsort(out->words + first, (size_t)count, sizeof *out->words, compare_int64);
}

void state_reduce(StateWords *out, const Sim *sim, const Reduce *reduce)
{
    state_word(out, reduce->arrived);
    if (reduce->end_ns < 0) state_word(out, -1);
    else                    state_future(out, sim, reduce->end_ns);
}

bool state_equals(const StateWords *a, const StateWords *b)
{
    return !a->failed && !b->failed && a->count == b->count
           && memcmp(a->words, b->words, a->count * sizeof *a->words) == 0;
}

void state_swap(StateWords *to, StateWords *from)
{
    StateWords other = *to;

    *to = *from;
    *from = other;
}

void state_mark(StateMark *mark, const SimDevice *dev)
{
    *mark = (StateMark){dev->phase, dev->state == STATE_DONE, dev->step, dev->executed, {0}};
    memcpy(mark->share_ns, dev->share_ns, sizeof mark->share_ns);
}

void state_shift_device(Sim *sim, const StateMark *mark, SimDevice *dev, int64_t times,
                        int64_t shift)
{
    int64_t moved = (dev->step - mark->step) * times;
    int64_t ran = (dev->executed - mark->executed) * times;
    int64_t ready[1025];

    if (dev->state == STATE_DONE || dev->state == STATE_STORE) return;
    for (int i = 0; i < SHARE_COUNT; i++)
        dev->share_ns[i] += (dev->share_ns[i] - mark->share_ns[i]) * times;
    for (int i = 0; i < sim->prefetch; i++)
        ready[i] = dev->ready_ns[(dev->step + i) % sim->prefetch];
    dev->step += moved;
    dev->executed += ran;
    sim->skipped += ran * sim->twins[dev - sim->devices];
    dev->since_ns += shift;
    dev->out_end_ns += shift;
    for (int i = 0; i < dev->out_count; i++) dev->out_posted_ns[i] += shift;
    for (int i = 0; i < sim->prefetch; i++)
        dev->ready_ns[(dev->step + i) % sim->prefetch] = ready[i] + shift;
}

int64_t state_times_left(const StateMark *mark, const SimDevice *dev, int64_t ahead)
{
    int64_t moved = dev->step - mark->step;

    if (dev->state == STATE_DONE || moved <= 0) return INT64_MAX;     /* it may have no phase */
    int64_t left = phase_of(dev)->steps - dev->step - ahead - 1;
    return left > 0 ? left / moved : 0;
}
