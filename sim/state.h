/* A simulation's state as words, for those who look whether it repeats (steady.c, islands.c): two
 * moments that leave the same words behind go on alike. Times are relative to now, steps to those
 * of a reference. */
#ifndef SIM_STATE_H
#define SIM_STATE_H

#include "base/array.h"
#include "sim/engine.h"

typedef struct {
    int64_t *words;
    size_t   count, capacity;
    bool     failed;             /* no memory for it: it equals nothing */
} StateWords;

/* What a device had done at some time. */
typedef struct {
    int     phase;
    bool    done;
    int64_t step, executed;
    int64_t share_ns[SHARE_COUNT];
} StateMark;

static inline void state_word(StateWords *out, int64_t value)
{
    if (array_has_room(out->words, out->count, out->capacity)) out->words[out->count++] = value;
    else                                                       out->failed = true;
}

/* A time to come; those that have passed are all alike. */
static inline void state_future(StateWords *out, const Sim *sim, int64_t time_ns)
{
    state_word(out, time_ns > sim->now_ns ? time_ns - sim->now_ns : 0);
}

/* A device without what it has at the store. */
void state_device(StateWords *out, const Sim *sim, const SimDevice *dev, int64_t reference_step);

/* Lanes that are alike. */
void state_lanes(StateWords *out, const Sim *sim, const int64_t *free_ns, int count);

/* Of an all-reduce. */
void state_reduce(StateWords *out, const Sim *sim, const Reduce *reduce);

/* Whether both are the same words, and all of them. */
bool state_equals(const StateWords *a, const StateWords *b);

/* Puts what is in from into to, and what was there into from. */
void state_swap(StateWords *to, StateWords *from);

/* Notes what the device has done until now. */
void state_mark(StateMark *mark, const SimDevice *dev);

/* The device as it is so many times what it did since mark later, that is shift ns; without what it
 * has at the store. */
void state_shift_device(Sim *sim, const StateMark *mark, SimDevice *dev, int64_t times,
                        int64_t shift);

/* How many times a device can do what it did since mark and still has steps to come in its phase
 * that are not asked for ahead; INT64_MAX: it did no step. */
int64_t state_times_left(const StateMark *mark, const SimDevice *dev, int64_t ahead);

#endif
