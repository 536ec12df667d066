/* The lanes of stations after requests of islands (sim/islands.c) that are put ahead: they are
 * asked for again in the order in which the engine would, from now on, and if one is done after its
 * device wants it, nobody is put ahead. Requests at the same time are asked for in the order of the
 * heap: by the device's number, but not before anything else that its island does before it. So a
 * request has, as its key, the highest number of those at its time so far on its island.
 *
 * Where no request can be late and none takes less where more are in flight, the latest are enough
 * (ask_latest()). Some time before, all lanes may be free, at least; at most they are busy with all
 * that may still be in flight. Requests from there on are asked for in both cases. As long as a
 * lane is free for each, what has more in flight keeps as many or more, so the lanes that are to be
 * found lie between; and where the two have become alike, they are found. */
#include <stdlib.h>
#include <string.h>

#include "base/compare.h"
#include "base/minmax.h"
#include "sim/islands.h"

int64_t island_longest_ns(const Sim *sim, int station, int64_t in_flight)
{
    const Islands *x = sim->islands;
    int64_t        lanes = sim->storage.stations[station].lanes, ns;

    if (in_flight <= lanes) return x->most_ns[station];
    if (__builtin_mul_overflow(x->most_ns[station], in_flight - 1, &ns)) return INT64_MAX;
    ns = ns / lanes + 1;
    return __builtin_add_overflow(ns, x->most_ns[station], &ns) ? INT64_MAX : ns;
}

/* ---- all requests ---------------------------------------------------------------------- */

static bool asks_before(const Islands *x, int a, int b)
{
    const Island *i = &x->islands[a], *k = &x->islands[b];
    int64_t       i_ns = island_next_ns(i), k_ns = island_next_ns(k);

    if (i_ns != k_ns || i_ns == INT64_MAX) return i_ns < k_ns;
    return i->asked[i->next].key < k->asked[k->next].key;
}

/* The island at place at of the heap, whose first asks next, goes down to where it belongs. */
static void sift_down(Islands *x, int at)
{
    int island = x->heap[at];

    for (int child = 2 * at + 1; child < x->count; child = 2 * at + 1) {
        if (child + 1 < x->count && asks_before(x, x->heap[child + 1], x->heap[child])) child++;
        if (!asks_before(x, x->heap[child], island)) break;
        x->heap[at] = x->heap[child];
        at = child;
    }
    x->heap[at] = island;
}

/* What is in flight now, as the engine has it. */
static void copy_pending(Sim *sim)
{
    Islands *x = sim->islands;

    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        if (x->of[d] < 0) continue;
        for (int i = 0; i < phase_of(dev)->count; i++) {
            int at = phase_of(dev)->first + i, slot = sim->storage.slot[d][at];
            Op  op = dev->code->code[at].op;
            if (op != OP_FETCH && op != OP_STORE) continue;
            for (int k = 0; k < STORAGE_AHEAD; k++)
                x->pending[x->places[d] + slot][k] = dev->storage_ns[slot * STORAGE_AHEAD + k];
            x->turn[x->places[d] + slot] = (int)((dev->step + (i < dev->index)) % STORAGE_AHEAD);
        }
    }
}

/* The device comes to the instruction of a place at ns. False: what it wants is not done. */
static bool comes_to(Islands *x, int place, int64_t ns)
{
    int64_t *done = &x->pending[place][x->turn[place]];
    bool     good = *done <= ns;

    *done = 0;
    x->turn[place] = (x->turn[place] + 1) % STORAGE_AHEAD;
    return good;
}

/* The island that asks next comes to the top. */
static void order_islands(Islands *x)
{
    for (int i = 0; i < x->count; i++) x->heap[i] = i;
    for (int i = x->count / 2 - 1; i >= 0; i--) sift_down(x, i);
}

/* All requests from now until before until_ns, in order. False: one is late. */
static bool ask_until(Sim *sim, int64_t until_ns)
{
    Islands *x = sim->islands;

    order_islands(x);
    for (;;) {
        Island *island = &x->islands[x->heap[0]];
        int64_t ns = island_next_ns(island), done;
        if (ns >= until_ns) return true;
        const AskedRequest *asked = &island->asked[island->next];
        if (asked->first && !comes_to(x, asked->place, ns)) return false;
        done = storage_ask(sim, sim->storage.stations, asked->request, ns)
               + sim->costs.storage.requests[asked->request].link_ns;
        int latest = (x->turn[asked->place] + STORAGE_AHEAD - 1) % STORAGE_AHEAD;
        if (done > x->pending[asked->place][latest]) x->pending[asked->place][latest] = done;
        island_to_next(island);
        sift_down(x, 0);
    }
}

/* Whether what is in flight is done when devices come to it: the next STORAGE_AHEAD times to each
 * place, of which there is one at least in a period. */
static bool are_in_time(Sim *sim)
{
    Islands *x = sim->islands;

    for (int i = 0; i < x->place_count; i++) x->visits[i] = 0;
    for (int i = 0; i < x->count; i++) {
        Island *island = &x->islands[i];
        for (int k = 0; k < STORAGE_AHEAD * island->asked_count; k++, island_to_next(island)) {
            const AskedRequest *asked = &island->asked[island->next];
            if (!asked->first || x->visits[asked->place]++ >= STORAGE_AHEAD) continue;
            if (!comes_to(x, asked->place, island_next_ns(island))) return false;
        }
    }
    return true;
}

/* ---- lanes after the latest requests only --------------------------------------------------- */

/* What the island asks for next is its first request from ns on, which is not before its next one
 * now. */
static void seek(Island *island, int64_t ns)
{
    if (island->asked_count == 0) return;
    int64_t behind = ns - island_next_ns(island),
            whole = behind > 0 ? behind / island->period_ns : 0;
    island->base_ns += whole * island->period_ns;
    while (island_next_ns(island) < ns) island_to_next(island);
}

/* Where islands' requests stand. */
static void keep_places(Islands *x)
{
    for (int i = 0; i < x->count; i++) {
        x->islands[i].kept_next = x->islands[i].next;
        x->islands[i].kept_base_ns = x->islands[i].base_ns;
    }
}

static void restore_places(Islands *x)
{
    for (int i = 0; i < x->count; i++) {
        x->islands[i].next = x->islands[i].kept_next;
        x->islands[i].base_ns = x->islands[i].kept_base_ns;
    }
}

/* The times of requests to a station from from_ns until before until_ns, in order. -1: without
 * memory. Moves the islands' places. */
static int list_times(Sim *sim, int station, int64_t from_ns, int64_t until_ns)
{
    Islands *x = sim->islands;

    x->time_count = 0;
    restore_places(x);
    for (int i = 0; i < x->count; i++) {
        Island *island = &x->islands[i];
        for (seek(island, from_ns); island_next_ns(island) < until_ns; island_to_next(island)) {
            int request = island->asked[island->next].request;
            if (sim->costs.storage.requests[request].station != station) continue;
            if (!array_has_room(x->times, x->time_count, x->time_capacity)) return -1;
            x->times[x->time_count++] = island_next_ns(island);
        }
    }
    if (x->time_count > 1)
        qsort(x->times, (size_t)x->time_count, sizeof *x->times, compare_int64);
    return 0;
}

/* The most requests of times[] that are asked for in the bound_ns before one from from_ns on, with
 * those at its time. */
static int64_t most_before(const Islands *x, int64_t from_ns, int64_t bound_ns)
{
    int64_t most = 0;

    for (int i = 0, first = 0, last = 0; i < x->time_count; i++) {
        while (x->times[first] <= x->times[i] - bound_ns) first++;
        while (last < x->time_count && x->times[last] <= x->times[i]) last++;
        if (x->times[i] >= from_ns && last - first - 1 > most) most = last - first - 1;
    }
    return most;
}

/* How long requests to a station take that are asked for in the longest_ns before ns. Where all
 * take b at most, as many can be in flight as are asked for in b, so they take no longer than the
 * bound for that many: again and again, each time for those that have longest_ns more before
 * them. */
static int64_t latest_answer_ns(Sim *sim, int station, int64_t ns)
{
    enum { ROUNDS = 3 };
    Islands *x = sim->islands;
    int64_t  bound = x->longest_ns;

    if (list_times(sim, station, ns - (ROUNDS + 1) * x->longest_ns, ns) != 0) return bound;
    for (int round = 1; round <= ROUNDS; round++) {
        int64_t most = most_before(x, ns - (ROUNDS + 1 - round) * x->longest_ns, bound);
        bound = smaller(bound, island_longest_ns(sim, station, most + 1));
    }
    return bound;
}

/* Of each station at from_ns, of lanes the least that may be busy, none, and the most: those of all
 * requests that may be in flight, each as long as it may be. False: there are too few. */
static bool bracket_lanes(Sim *sim, int64_t from_ns)
{
    Islands *x = sim->islands;

    for (int i = 0; i < sim->costs.storage.stations; i++) {
        Station *upper = &x->upper[i];
        int64_t  answer_ns = latest_answer_ns(sim, i, from_ns);
        int      busy = 0;
        if (list_times(sim, i, from_ns - answer_ns, from_ns) != 0) return false;
        for (int l = 0; l < upper->lanes; l++)
            sim->storage.stations[i].free_ns[l] = upper->free_ns[l] = 0;
        if (x->time_count > upper->lanes) return false;
        for (; busy < x->time_count; busy++) upper->free_ns[busy] = x->times[busy] + answer_ns;
    }
    restore_places(x);
    for (int i = 0; i < x->count; i++) seek(&x->islands[i], from_ns);
    return true;
}

/* Requests until before until_ns, of both. False: some had no lane. */
static bool ask_both(Sim *sim, int64_t until_ns)
{
    Islands *x = sim->islands;

    order_islands(x);
    for (;;) {
        Island *island = &x->islands[x->heap[0]];
        int64_t ns = island_next_ns(island);
        if (ns >= until_ns) return true;
        int request = island->asked[island->next].request;
        if (!storage_has_lane(&x->upper[sim->costs.storage.requests[request].station], ns))
            return false;
        storage_ask(sim, sim->storage.stations, request, ns);
        storage_ask(sim, x->upper, request, ns);
        island_to_next(island);
        sift_down(x, 0);
    }
}

/* Lanes that are free at ns are alike, and so are those that are busy as long. */
static void sort_lanes(Station *station, int64_t ns)
{
    for (int l = 0; l < station->lanes; l++)
        if (station->free_ns[l] <= ns) station->free_ns[l] = 0;
    qsort(station->free_ns, (size_t)station->lanes, sizeof *station->free_ns, compare_int64);
}

static bool lanes_agree(Sim *sim, int64_t ns)
{
    Islands *x = sim->islands;
    bool     agree = true;

    for (int i = 0; i < sim->costs.storage.stations; i++) {
        Station *lower = &sim->storage.stations[i];
        sort_lanes(lower, ns);
        sort_lanes(&x->upper[i], ns);
        agree &= memcmp(lower->free_ns, x->upper[i].free_ns,
                        (size_t)lower->lanes * sizeof *lower->free_ns)
                 == 0;
    }
    return agree;
}

/* The lanes at until_ns after the latest requests before it, if that is enough to tell. */
static bool ask_latest(Sim *sim, int64_t until_ns)
{
    Islands *x = sim->islands;

    for (int64_t window = 16; window <= 256; window *= 16) {
        int64_t back;
        if (__builtin_mul_overflow(x->longest_ns, window, &back)
            || until_ns - back - 5 * x->longest_ns <= sim->now_ns)
            return false;
        if (!bracket_lanes(sim, until_ns - back) || !ask_both(sim, until_ns)) return false;
        if (lanes_agree(sim, until_ns)) return true;
    }
    return false;
}

/* ---- either ------------------------------------------------------------------------------ */

static void copy_lanes(Station *to, const Station *from, int stations)
{
    for (int i = 0; i < stations; i++)
        memcpy(to[i].free_ns, from[i].free_ns, (size_t)from[i].lanes * sizeof *from[i].free_ns);
}

bool island_lanes_until(Sim *sim, int64_t until_ns)
{
    Islands *x = sim->islands;
    int      stations = sim->costs.storage.stations;

    keep_places(x);
    copy_lanes(x->kept, sim->storage.stations, stations);
    if (x->calm && x->rising && ask_latest(sim, until_ns)) return true;
    restore_places(x);
    copy_lanes(sim->storage.stations, x->kept, stations);
    copy_pending(sim);
    if (ask_until(sim, until_ns) && are_in_time(sim)) return true;
    copy_lanes(sim->storage.stations, x->kept, stations);
    return false;
}

