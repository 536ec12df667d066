/* Steady states: long runs settle into a period, and whole periods can be skipped.
 *
 * At the end of each step of the reference device the state is written down relative
 * to now: where every device stands, how its step number differs from the reference's,
 * and how far ahead every pending time lies (times that have passed count as 0, as
 * nothing can tell them apart). The future depends on nothing else but how many steps
 * remain; so when a state repeats, the run repeats, until a device is so near its last
 * step that its loader stops asking for more.
 *
 * Brent's cycle finding keeps one state, taken anew after 1, 2, 4, ... steps. Where it
 * finds nothing at first it looks only now and then: queues before a stage that is
 * slower by a hair fill by a hair a step, so some runs settle late, and some never. */
#include "sim/state.h"

#include <stdlib.h>

/* In steps of the reference: all are looked at up to PATIENCE, then the first GLANCE of
 * every PATIENCE. */
enum { PATIENCE = 1 << 13, GLANCE = 1 << 9 };

struct Steady {
    StateWords now, saved;       /* the state now, and the one kept: none where it has no words */
    StateMark *marks;            /* [devices] when saved */
    int64_t  saved_ns;
    int      next_queued;
    int64_t  age, power;         /* steps since saved; steps it will be kept */
    int64_t  seen;               /* steps looked at since the last change of phase */
    bool     skipped;            /* in these phases: nothing is left to skip */
};

int steady_new(Sim *sim)
{
    sim->steady = calloc(1, sizeof *sim->steady);
    if (!sim->steady) return error_no_memory(sim->err);
    sim->steady->marks = calloc((size_t)sim->program->device_count, sizeof *sim->steady->marks);
    if (!sim->steady->marks) return error_no_memory(sim->err);
    sim->steady->power = 1;
    return 0;
}

void steady_free(Sim *sim)
{
    if (!sim->steady) return;
    free(sim->steady->now.words);
    free(sim->steady->saved.words);
    free(sim->steady->marks);
    free(sim->steady);
    sim->steady = NULL;
}

/* ---- writing the state down ---------------------------------------------- */

/* The store's part of the state: moments relative to now, lanes of a station in order of their
 * times. */
static void write_storage(StateWords *out, const Sim *sim)
{
    const Storage *storage = &sim->storage;

    if (!storage->used) return;
    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        state_word(out, dev->begun + 2 * dev->onloads_asked + 4 * dev->ahead_asked
                            + 8 * dev->next_asked);
        state_future(out, sim, dev->onloaded_ns);
        state_future(out, sim, dev->next_onloaded_ns);
        state_future(out, sim, dev->offloaded_ns);
        state_future(out, sim, dev->stored_ns);
        /* in the order of coming steps */
        for (int i = 0; i < storage->slots[d] * STORAGE_AHEAD; i++)
            state_future(out, sim,
                         dev->storage_ns[i / STORAGE_AHEAD * STORAGE_AHEAD
                                         + (dev->step + i) % STORAGE_AHEAD]);
    }
    /* the counts of boundaries and blocks go down only: alike where their sum is */
    state_word(out, storage->left);
    for (int k = 0; k <= sim->program->block_count; k++) {
        if (storage->whole_ns[k] > sim->now_ns) {
            state_word(out, k);
            state_future(out, sim, storage->whole_ns[k]);
        }
        if (storage->back_ns[k] > sim->now_ns) {
            state_word(out, -1 - k);
            state_future(out, sim, storage->back_ns[k]);
        }
    }
    for (int i = 0; i < sim->costs.storage.stations; i++)
        state_lanes(out, sim, storage->stations[i].free_ns, storage->stations[i].lanes);
}

/* Who has arrived at all-reduces that are not complete, and when. */
static void write_late(StateWords *out, const Sim *sim)
{
    for (int i = 0; sim->stalls.waits && i < 2 * sim->reduce_slot_count; i++) {
        const StallsLate *late = &sim->stalls.late[i];
        state_word(out, late->count);
        for (int k = 0; k < late->count; k++) {
            state_word(out, late->list[k].at_ns - sim->now_ns);
            state_word(out, late->list[k].work_ns);
            state_word(out, late->list[k].spread_ns);
            state_word(out, late->list[k].kind);
        }
    }
}

/* All that the future depends on but for the steps that remain. */
static void write_state(StateWords *out, const Sim *sim)
{
    const Program *p = sim->program;

    out->count = 0;
    for (int d = 0; d < p->device_count; d++)
        state_device(out, sim, &sim->devices[d], sim->devices[sim->reference].step);
    for (int c = 0; c < p->channel_count; c++) {
        state_word(out, sim->slots[c].used);
        state_word(out, sim->slots[c].arrived);
    }
    for (int g = 0; g < p->group_count; g++) {
        state_word(out, sim->meets[g].arrived);
        state_future(out, sim, sim->meets[g].lane_free_ns);
    }
    for (int r = 0; r < sim->reduce_slot_count; r++)
        for (int parity = 0; parity < 2; parity++) {
            const Reduce *reduce = &sim->reduces[r][parity];
            if (reduce->arrived == 0 && reduce->end_ns >= 0 && reduce->end_ns <= sim->now_ns)
                continue;                        /* over: all such are alike */
            state_word(out, 2 * r + parity);
            state_reduce(out, sim, reduce);
        }
    write_late(out, sim);
    state_lanes(out, sim, sim->lane_free_ns, sim->lane_count);
    write_storage(out, sim);
}

static void keep_state(Steady *steady, const Sim *sim)
{
    state_swap(&steady->saved, &steady->now);
    steady->saved_ns = sim->now_ns;
    steady->next_queued = sim->next_queued;
    steady->age = 0;
    for (int d = 0; d < sim->program->device_count; d++)
        state_mark(&steady->marks[d], &sim->devices[d]);
}

/* ---- skipping ---------------------------------------------------------------- */

/* Whole periods that fit before any device comes near the end of its phase. */
static int64_t periods_left(const Steady *steady, const Sim *sim)
{
    int64_t fit = INT64_MAX, ahead = sim->prefetch;

    if (sim->storage.used && ahead < STORAGE_AHEAD) ahead = STORAGE_AHEAD;
    for (int d = 0; d < sim->program->device_count; d++) {
        int64_t left = state_times_left(&steady->marks[d], &sim->devices[d], ahead);
        if (left < fit) fit = left;
    }
    return fit == INT64_MAX ? 0 : fit;
}

/* By moved steps a device's slots turn, as its loads do. */
static void shift_storage(Sim *sim, int64_t times, int64_t shift)
{
    Storage *storage = &sim->storage;

    if (!storage->used) return;
    for (int d = 0; d < sim->program->device_count; d++) {
        SimDevice *dev = &sim->devices[d];
        int64_t before = dev->step - (dev->step - sim->steady->marks[d].step) / (times + 1) * times;
        dev->onloaded_ns += shift;
        dev->next_onloaded_ns += shift;
        dev->offloaded_ns += shift;
        dev->stored_ns += shift;
        for (int s = 0; s < storage->slots[d]; s++) {
            int64_t *ns = dev->storage_ns + s * STORAGE_AHEAD, ready[STORAGE_AHEAD];
            for (int i = 0; i < STORAGE_AHEAD; i++)
                ready[i] = ns[(before + i) % STORAGE_AHEAD] + shift;
            for (int i = 0; i < STORAGE_AHEAD; i++) ns[(dev->step + i) % STORAGE_AHEAD] = ready[i];
        }
    }
    for (int k = 0; k <= sim->program->block_count; k++) {
        storage->whole_ns[k] += shift;
        storage->back_ns[k] += shift;
    }
    for (int i = 0; i < sim->costs.storage.stations; i++)
        for (int l = 0; l < storage->stations[i].lanes; l++)
            storage->stations[i].free_ns[l] += shift;
}

/* Goes on as if the period since the state was kept had come so many times more: moves all that is
 * pending, and counts what was done in it. -1: time passes the limit. */
static int skip(Sim *sim, int64_t times)
{
    Steady *steady = sim->steady;
    int64_t shift;

    if (__builtin_mul_overflow(sim->now_ns - steady->saved_ns, times, &shift)
        || shift > TIME_LIMIT_NS - sim->now_ns)
        return sim_too_long(sim);
    for (int d = 0; d < sim->program->device_count; d++)
        state_shift_device(sim, &steady->marks[d], &sim->devices[d], times, shift);
    for (int g = 0; g < sim->program->group_count; g++) sim->meets[g].lane_free_ns += shift;
    for (int r = 0; r < sim->reduce_slot_count; r++)
        for (int parity = 0; parity < 2; parity++)
            if (sim->reduces[r][parity].end_ns >= 0) sim->reduces[r][parity].end_ns += shift;
    for (int i = 0; sim->stalls.waits && i < 2 * sim->reduce_slot_count; i++)
        for (int k = 0; k < sim->stalls.late[i].count; k++)
            sim->stalls.late[i].list[k].at_ns += shift;
    for (int l = 0; l < sim->lane_count; l++) sim->lane_free_ns[l] += shift;
    shift_storage(sim, times, shift);
    for (int i = 0; i < sim->heap_count; i++) sim->heap[i].time_ns += shift;
    sim->now_ns += shift;
    steady->skipped = true;
    return 0;
}

/* Phases are the same as when the state was kept. */
static bool same_phases(const Steady *steady, const Sim *sim)
{
    for (int d = 0; d < sim->program->device_count; d++)
        if (steady->marks[d].phase != sim->devices[d].phase
            || steady->marks[d].done != (sim->devices[d].state == STATE_DONE)) return false;
    return steady->next_queued == sim->next_queued;
}

/* Begins anew: the next state is kept. */
static void forget_state(Steady *steady)
{
    steady->saved.count = 0;
    steady->power = 1;
    steady->age = 0;
}

void steady_forget(Sim *sim)
{
    forget_state(sim->steady);
    sim->steady->seen = 0;
    sim->steady->skipped = false;
}

bool steady_never(const Sim *sim)
{
    const Steady *steady = sim->steady;

    return !steady || steady->now.failed || (!steady->skipped && steady->seen > 2 * PATIENCE);
}

int steady_step_end(Sim *sim)
{
    Steady *steady = sim->steady;

    if (steady->now.failed) return 0;
    if (steady->saved.count > 0 && !same_phases(steady, sim)) steady_forget(sim);
    int64_t glance = steady->seen++ % PATIENCE;
    if (steady->skipped || (steady->seen > PATIENCE && glance >= GLANCE)) return 0;
    if (steady->seen > PATIENCE && glance == 0) forget_state(steady);
    write_state(&steady->now, sim);
    if (steady->now.failed) return 0;
    steady->age++;
    bool again = steady->saved.count > 0 && state_equals(&steady->saved, &steady->now);
    int64_t times = again ? periods_left(steady, sim) : 0;
    if (times > 0) return skip(sim, times);
    if (steady->saved.count == 0 || steady->age >= steady->power) {
        steady->power *= 2;
        keep_state(steady, sim);
    }
    return 0;
}
