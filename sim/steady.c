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
#include "base/compare.h"
#include "sim/engine.h"

#include <stdlib.h>
#include <string.h>

/* In steps of the reference: all are looked at up to PATIENCE, then the first GLANCE of
 * every PATIENCE. */
enum { PATIENCE = 1 << 13, GLANCE = 1 << 9 };

typedef struct {
    int     phase;
    bool    done;
    int64_t step, executed;
    int64_t share_ns[SHARE_COUNT];
} StateMark;

struct Steady {
    int64_t *words, *saved;      /* the state now, and the one kept */
    size_t   count, saved_count, capacity;
    StateMark    *marks;              /* [devices] when saved */
    int64_t  saved_ns;
    int      next_queued;
    int64_t  age, power;         /* steps since saved; steps it will be kept */
    int64_t  seen;               /* steps looked at since the last change of phase */
    bool     skipped;            /* in these phases: nothing is left to skip */
    bool     failed;             /* no memory for states: simulate every step */
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
    free(sim->steady->words);
    free(sim->steady->saved);
    free(sim->steady->marks);
    free(sim->steady);
    sim->steady = NULL;
}

/* ---- writing the state down ---------------------------------------------- */

static void word(Steady *steady, int64_t value)
{
    if (steady->count == steady->capacity) {
        size_t   bigger = steady->capacity ? 2 * steady->capacity : 256;
        int64_t *words = realloc(steady->words, bigger * sizeof *words);
        if (words) steady->words = words;
        int64_t *saved = realloc(steady->saved, bigger * sizeof *saved);
        if (saved) steady->saved = saved;
        if (!words || !saved) { steady->failed = true; return; }
        steady->capacity = bigger;
    }
    steady->words[steady->count++] = value;
}

static void future(Steady *steady, const Sim *sim, int64_t time_ns)
{
    word(steady, time_ns > sim->now_ns ? time_ns - sim->now_ns : 0);
}

static void write_device(Steady *steady, const Sim *sim, const SimDevice *dev)
{
    word(steady, dev->state);
    if (dev->state == STATE_DONE) return;
    word(steady, dev->code == &sim->program->queue);
    word(steady, dev->phase);
    if (dev->state == STATE_STORE) return;       /* until it is woken, however long it has waited */
    word(steady, dev->index);
    word(steady, dev->step - sim->devices[sim->reference].step);
    word(steady, dev->step & 1);                 /* all-reduces alternate */
    word(steady, dev->since_ns - sim->now_ns);
    word(steady, dev->out_busy + 2 * dev->in_busy);
    word(steady, dev->out_busy ? dev->out_end_ns - sim->now_ns : 0);
    word(steady, dev->out_count);
    for (int i = 0; i < dev->out_count; i++) {
        word(steady, dev->out[i]);
        word(steady, dev->out_posted_ns[i] - sim->now_ns);
    }
    for (int i = 0; i < sim->prefetch; i++)      /* in the order of coming loads */
        future(steady, sim, dev->ready_ns[(dev->step + i) % sim->prefetch]);
}

/* The lanes from words[first] on are alike. */
static void sort_lanes(Steady *steady, size_t first)
{
    if (!steady->failed && steady->count - first > 1)
        qsort(steady->words + first, steady->count - first, sizeof(int64_t), compare_int64);
}

/* The store's part of the state: moments relative to now, lanes of a station in order of their
 * times. */
static void write_storage(Steady *steady, const Sim *sim)
{
    const Storage *storage = &sim->storage;

    if (!storage->used) return;
    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        word(steady,
             dev->begun + 2 * dev->onloads_asked + 4 * dev->ahead_asked + 8 * dev->next_asked);
        future(steady, sim, dev->onloaded_ns);
        future(steady, sim, dev->next_onloaded_ns);
        future(steady, sim, dev->offloaded_ns);
        future(steady, sim, dev->stored_ns);
        /* in the order of coming steps */
        for (int i = 0; i < storage->slots[d] * STORAGE_AHEAD; i++)
            future(steady, sim,
                   dev->storage_ns[i / STORAGE_AHEAD * STORAGE_AHEAD
                                   + (dev->step + i) % STORAGE_AHEAD]);
    }
    word(steady, storage->left);                 /* the counts of a boundary and a block go down
                                                  * only: alike where their sum is */
    for (int k = 0; k <= sim->program->block_count; k++) {
        if (storage->whole_ns[k] > sim->now_ns) {
            word(steady, k);
            future(steady, sim, storage->whole_ns[k]);
        }
        if (storage->back_ns[k] > sim->now_ns) {
            word(steady, -1 - k);
            future(steady, sim, storage->back_ns[k]);
        }
    }
    for (int i = 0; i < sim->costs.storage.stations; i++) {
        size_t first = steady->count;
        for (int l = 0; l < storage->stations[i].lanes; l++)
            future(steady, sim, storage->stations[i].free_ns[l]);
        sort_lanes(steady, first);
    }
}

/* Who has arrived at all-reduces that are not complete, and when. */
static void write_late(Steady *steady, const Sim *sim)
{
    for (int i = 0; sim->stalls.waits && i < 2 * sim->reduce_slot_count; i++) {
        const StallsLate *late = &sim->stalls.late[i];
        word(steady, late->count);
        for (int k = 0; k < late->count; k++) {
            word(steady, late->list[k].at_ns - sim->now_ns);
            word(steady, late->list[k].work_ns);
            word(steady, late->list[k].kind);
        }
    }
}

/* The simulation's state relative to now, as words: two steps that leave the same words behind go
 * on alike. */
static void write_state(Steady *steady, const Sim *sim)
{
    const Program *p = sim->program;

    steady->count = 0;
    for (int d = 0; d < p->device_count; d++) write_device(steady, sim, &sim->devices[d]);
    for (int c = 0; c < p->channel_count; c++) {
        word(steady, sim->slots[c].used);
        word(steady, sim->slots[c].arrived);
    }
    for (int g = 0; g < p->group_count; g++) {
        word(steady, sim->meets[g].arrived);
        future(steady, sim, sim->meets[g].lane_free_ns);
    }
    for (int r = 0; r < sim->reduce_slot_count; r++)
        for (int parity = 0; parity < 2; parity++) {
            const Reduce *reduce = &sim->reduces[r][parity];
            word(steady, reduce->arrived);
            if (reduce->end_ns < 0) word(steady, -1);
            else                    future(steady, sim, reduce->end_ns);
        }
    write_late(steady, sim);
    size_t lanes = steady->count;
    for (int l = 0; l < sim->lane_count; l++) future(steady, sim, sim->lane_free_ns[l]);
    sort_lanes(steady, lanes);
    write_storage(steady, sim);
}

static void keep_state(Steady *steady, const Sim *sim)
{
    memcpy(steady->saved, steady->words, steady->count * sizeof *steady->words);
    steady->saved_count = steady->count;
    steady->saved_ns = sim->now_ns;
    steady->next_queued = sim->next_queued;
    steady->age = 0;
    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        StateMark         *mark = &steady->marks[d];
        *mark = (StateMark){dev->phase, dev->state == STATE_DONE, dev->step, dev->executed, {0}};
        memcpy(mark->share_ns, dev->share_ns, sizeof mark->share_ns);
    }
}

/* ---- skipping ---------------------------------------------------------------- */

/* Whole periods that fit before any device comes near the end of its phase. */
static int64_t periods_left(const Steady *steady, const Sim *sim)
{
    int64_t fit = INT64_MAX, ahead = sim->prefetch;

    if (sim->storage.used && ahead < STORAGE_AHEAD) ahead = STORAGE_AHEAD;

    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        if (dev->state == STATE_DONE) continue;
        int64_t moved = dev->step - steady->marks[d].step;
        int64_t left = dev->code->phases[dev->phase].steps - dev->step - ahead - 1;
        if (moved > 0 && left / moved < fit) fit = left / moved;
    }
    return fit == INT64_MAX || fit < 0 ? 0 : fit;
}

static void shift_device(Sim *sim, const StateMark *mark, SimDevice *dev, int64_t times,
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
        shift_device(sim, &steady->marks[d], &sim->devices[d], times, shift);
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
    steady->saved_count = 0;
    steady->power = 1;
    steady->age = 0;
}

bool steady_never(const Sim *sim)
{
    const Steady *steady = sim->steady;

    return !steady || steady->failed || (!steady->skipped && steady->seen > 2 * PATIENCE);
}

int steady_step_end(Sim *sim)
{
    Steady *steady = sim->steady;

    if (steady->failed) return 0;
    if (steady->saved_count > 0 && !same_phases(steady, sim)) {
        forget_state(steady);
        steady->seen = 0;
        steady->skipped = false;
    }
    int64_t glance = steady->seen++ % PATIENCE;
    if (steady->skipped || (steady->seen > PATIENCE && glance >= GLANCE)) return 0;
    if (steady->seen > PATIENCE && glance == 0) forget_state(steady);
    write_state(steady, sim);
    if (steady->failed) return 0;
    steady->age++;
    bool again =
        steady->saved_count == steady->count
        && memcmp(steady->saved, steady->words, steady->count * sizeof *steady->words) == 0;
    int64_t times = again ? periods_left(steady, sim) : 0;
    if (times > 0) return skip(sim, times);
    if (steady->saved_count == 0 || steady->age >= steady->power) {
        steady->power *= 2;
        keep_state(steady, sim);
    }
    return 0;
}
