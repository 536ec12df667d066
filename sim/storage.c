/* The store in the simulator: requests to tiers, and what phases wait for at their ends.
 *
 * Invariants:
 *   1. no request is booked for later: what cannot be asked for now is asked for when its time
 *      comes, so requests reach a station in the order of simulated time;
 *   2. stores_left[k] > 0 while some STORE k has steps to come, and no phase that fetches k has
 *      begun;
 *   3. a slot's times are those of steps step .. step + STORAGE_AHEAD - 1 (FETCH), or of the last
 *      STORAGE_AHEAD steps (STORE); of requests that the device makes itself they are 0. */
#include <math.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "sim/engine.h"

static const Phase *phase_at(const SimDevice *dev, int phase) { return &dev->code->phases[phase]; }

/* Whether ns has come; if not, the device waits for it. */
static bool has_come(Sim *sim, int d, int64_t ns, int64_t t)
{
    if (ns <= t) return true;
    sim_block(&sim->devices[d], STATE_READY, t);
    sim_wake(sim, d, ns, SHARE_STORAGE);
    return false;
}

/* ---- requests ----------------------------------------------------------------------- */

/* Of the times by numbers in flight those at in_flight, between two of them in a straight line. */
static int64_t at_in_flight(const TraceRequests *grid, const int64_t *ns, int in_flight)
{
    int i = 0, n = grid->in_flight_count;

    while (i < n && grid->in_flight[i] < in_flight) i++;
    if (i == n) return ns[n - 1];
    if (i == 0 || grid->in_flight[i] == in_flight) return ns[i];
    double fraction = (double)(in_flight - grid->in_flight[i - 1])
                      / (double)(grid->in_flight[i] - grid->in_flight[i - 1]);
    return ns[i - 1] + llround(fraction * (double)(ns[i] - ns[i - 1]));
}

/* A place at a station from t on. */
typedef struct {
    int     lane, in_flight;         /* when it begins, itself included */
    int64_t start_ns, end_ns;
} Turn;

/* The lane that is free first; end_ns is not known yet. */
static Turn take_turn(const Station *station, int64_t t)
{
    Turn turn = {.in_flight = 1};

    for (int i = 1; i < station->lanes; i++)
        if (station->free_ns[i] < station->free_ns[turn.lane]) turn.lane = i;
    turn.start_ns = larger(station->free_ns[turn.lane], t);
    for (int i = 0; i < station->lanes; i++) turn.in_flight += station->free_ns[i] > turn.start_ns;
    return turn;
}

static const TraceRequests *grid_of(const Sim *sim, const StorageRequest *request)
{
    int tier = request->station / sim->costs.storage.machines;

    return scenario_requests(sim->scenario, tier, request->write);
}

static int64_t request_ns(const Sim *sim, const StorageRequest *request, int in_flight)
{
    return at_in_flight(grid_of(sim, request), request->ns, in_flight);
}

/* Whether the device makes the instruction's requests itself; *own_ns: else what it is occupied by
 * them. */
static bool is_direct(const Sim *sim, int d, int at, int64_t *own_ns)
{
    const StorageCosts *costs = &sim->costs.storage;
    bool                direct = false;

    *own_ns = 0;
    for (int r = costs->first[d][at]; r < costs->first[d][at + 1]; r++) {
        direct |= costs->requests[r].direct;
        *own_ns += costs->requests[r].own_ns;
    }
    return direct;
}

/* Gives a request a lane of its station at t. */
static Turn serve(const Sim *sim, Station *stations, const StorageRequest *request, int64_t t)
{
    Station *station = &stations[request->station];
    Turn     turn = take_turn(station, t);

    turn.end_ns = turn.start_ns + request_ns(sim, request, turn.in_flight);
    station->free_ns[turn.lane] = turn.end_ns;
    return turn;
}

int64_t storage_ask(const Sim *sim, Station *stations, int request, int64_t t)
{
    return serve(sim, stations, &sim->costs.storage.requests[request], t).end_ns;
}

bool storage_has_lane(const Station *station, int64_t t)
{
    for (int l = 0; l < station->lanes; l++)
        if (station->free_ns[l] <= t) return true;
    return false;
}

int64_t storage_most_ns(const Sim *sim, const StorageRequest *request)
{
    int64_t most = 0;

    for (int q = 0; q < grid_of(sim, request)->in_flight_count; q++)
        if (request->ns[q] > most) most = request->ns[q];
    return most;
}

bool storage_is_rising(const Sim *sim, const StorageRequest *request)
{
    for (int q = 1; q < grid_of(sim, request)->in_flight_count; q++)
        if (request->ns[q] < request->ns[q - 1]) return false;
    return true;
}

/* All requests of instruction at, asked for at t: when the last is done; -1: error. What occupies
 * the device of those that are overlapped is recorded where it does. */
static int64_t ask(Sim *sim, int d, int at, int64_t step, int64_t t)
{
    const SimDevice    *dev = &sim->devices[d];
    const StorageCosts *costs = &sim->costs.storage;
    int64_t             done = t;

    if (t < sim->storage.asked_ns) return t;
    for (int r = costs->first[d][at]; r < costs->first[d][at + 1]; r++) {
        const StorageRequest *request = &costs->requests[r];
        if (islands_asked(sim, d, at, r, t) != 0) return -1;
        Turn    turn = serve(sim, sim->storage.stations, request, t);
        int64_t apart = turn.end_ns - request->own_ns;
        if (apart > turn.start_ns
            && sim_record(sim, d, LANE_STORAGE, &dev->code->code[at], step, turn.start_ns, apart)
                   != 0)
            return -1;
        done = larger(done, turn.end_ns + request->link_ns);
    }
    return done;
}

/* The device makes the instruction's requests at *t and goes on when they are done. */
static int make_directly(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice *dev = &sim->devices[d];
    int64_t    done = ask(sim, d, at, dev->step, *t);

    if (done < 0) return -1;
    dev->share_ns[SHARE_STORAGE] += done - *t;
    *t = done;
    return 1;
}

/* What occupies the device of requests that are overlapped, from *t on. */
static int occupy(Sim *sim, int d, int at, int64_t own_ns, int64_t *t)
{
    SimDevice         *dev = &sim->devices[d];
    const Instruction *in = &dev->code->code[at];

    if (sim_record(sim, d, LANE_STORAGE, in, dev->step, *t, *t + own_ns) != 0) return -1;
    dev->share_ns[SHARE_STORAGE] += own_ns;
    *t += own_ns;
    return 1;
}

/* Asks for a FETCH of a step at t; *ready: when what is overlapped of it is done. */
static int ask_ahead(Sim *sim, int d, int at, int64_t step, int64_t t, int64_t *ready)
{
    int64_t own_ns, done;

    if (is_direct(sim, d, at, &own_ns)) return 0;
    done = ask(sim, d, at, step, t);
    if (done < 0) return -1;
    *ready = done - own_ns > t ? done - own_ns : t;
    return 0;
}

/* Weights of a phase's blocks, one after another, as one request: when they have moved; t: there
 * are none. */
static int64_t move_weights(Sim *sim, int d, int phase, Op op, int64_t t)
{
    const SimDevice    *dev = &sim->devices[d];
    const StorageCosts *costs = &sim->costs.storage;
    const Phase        *p = phase_at(dev, phase);
    Station            *station = NULL;
    Turn                turn = {0};
    int64_t             end = t;

    for (int at = p->first; at < p->first + p->count; at++) {
        if (dev->code->code[at].op != op) continue;
        const StorageRequest *request = &costs->requests[costs->first[d][at]];
        if (!station) {
            station = &sim->storage.stations[request->station];
            turn = take_turn(station, t);
            end = turn.start_ns;
        }
        int64_t begin = end;
        end += request_ns(sim, request, turn.in_flight);
        station->free_ns[turn.lane] = end;
        if (sim_record(sim, d, op == OP_ONLOAD ? LANE_COPY_IN : LANE_COPY_OUT, &dev->code->code[at],
                       op == OP_ONLOAD ? 0 : p->steps - 1, begin, end) != 0) return -1;
    }
    return end;
}

/* ---- phases --------------------------------------------------------------------------- */

/* *ready: from when on what the phase brings is back; where begins is set, what it fetches is whole
 * too, and its part may begin. False: not known yet. */
static bool is_ready(const Sim *sim, const SimDevice *dev, int phase, bool begins, int64_t *ready)
{
    const Storage *storage = &sim->storage;
    const Phase   *p = phase_at(dev, phase);

    if (begins && !storage_part_begins(sim, p, ready)) return false;

    for (int at = p->first; at < p->first + p->count; at++) {
        const Instruction *in = &dev->code->code[at];
        if (begins && in->op == OP_FETCH) {
            if (storage->stores_left[in->block]) return false;
            if (storage->whole_ns[in->block] > *ready) *ready = storage->whole_ns[in->block];
        }
        if (in->op == OP_ONLOAD && p->first_step > 0) {
            if (storage->offloads_left[in->block]) return false;
            if (storage->back_ns[in->block] > *ready) *ready = storage->back_ns[in->block];
        }
    }
    return true;
}

/* The first fetches of a phase. */
static int fetch_ahead(Sim *sim, int d, int64_t t)
{
    SimDevice   *dev = &sim->devices[d];
    const Phase *p = phase_of(dev);

    for (int i = 0; i < STORAGE_AHEAD * sim->storage.slots[d]; i++) dev->storage_ns[i] = 0;
    for (int64_t step = 0; step < STORAGE_AHEAD && step < p->steps; step++)
        for (int at = p->first; at < p->first + p->count; at++) {
            if (dev->code->code[at].op != OP_FETCH) continue;
            int64_t *ready = &dev->storage_ns[sim->storage.slot[d][at] * STORAGE_AHEAD + step];
            if (ask_ahead(sim, d, at, step, t, ready) != 0) return -1;
        }
    return 0;
}

/* Messages use the lanes that weights would. */
static bool has_messages(const SimDevice *dev, const Phase *p)
{
    for (int at = p->first; at < p->first + p->count; at++)
        if (dev->code->code[at].op == OP_SEND || dev->code->code[at].op == OP_RECV) return true;
    return false;
}

/* Weights of the phase behind this one, where they can be asked for now. */
static int onload_ahead(Sim *sim, int d, int64_t t)
{
    SimDevice *dev = &sim->devices[d];
    int64_t    ready = 0;

    if (dev->phase + 1 == dev->code->phase_count || has_messages(dev, phase_of(dev)))
        return 0;
    if (!is_ready(sim, dev, dev->phase + 1, false, &ready) || ready > t) return 0;
    dev->next_onloaded_ns = move_weights(sim, d, dev->phase + 1, OP_ONLOAD, t);
    dev->next_asked = true;
    return dev->next_onloaded_ns < 0 ? -1 : 0;
}

int storage_begin_phase(Sim *sim, int d, int64_t t, int (*ahead)(Sim *sim, int d, int64_t t))
{
    SimDevice *dev = &sim->devices[d];
    int64_t    ready = 0;

    if (!dev->ahead_asked) {
        if (!is_ready(sim, dev, dev->phase, true, &ready)) {
            sim_block(dev, STATE_STORE, t);
            return 0;
        }
        if (ready <= t) {
            if (!dev->onloads_asked)
                dev->onloaded_ns = move_weights(sim, d, dev->phase, OP_ONLOAD, t);
            if (dev->onloaded_ns < 0 || ahead(sim, d, t) != 0 || fetch_ahead(sim, d, t) != 0)
                return -1;
            dev->onloads_asked = dev->ahead_asked = true;
            ready = t + sim->storage.setup_ns[d][dev->phase];
            if (dev->onloaded_ns > ready) ready = dev->onloaded_ns;
        }
    }
    if (!has_come(sim, d, ready, t)) return 0;
    return onload_ahead(sim, d, t) == 0 ? 1 : -1;
}

/* Devices that wait for the store look again. */
static void wake_waiting(Sim *sim, int64_t t)
{
    islands_change(sim);
    for (int d = 0; d < sim->program->device_count; d++)
        if (sim->devices[d].state == STATE_STORE) sim_wake(sim, d, t, SHARE_STORAGE);
}

/* OFFLOADs of a phase that ends. 1: they are in flight; 0: it waits for those of the phase
 * before. */
static int offload(Sim *sim, int d, int64_t t)
{
    SimDevice   *dev = &sim->devices[d];
    const Phase *p = phase_of(dev);
    bool         any = false;

    for (int at = p->first; at < p->first + p->count; at++)
        any |= dev->code->code[at].op == OP_OFFLOAD;
    if (!any) return 1;
    if (!has_come(sim, d, dev->offloaded_ns, t)) return 0;       /* one phase's at a time */
    dev->offloaded_ns = move_weights(sim, d, dev->phase, OP_OFFLOAD, t);
    if (dev->offloaded_ns < 0) return -1;
    for (int at = p->first; at < p->first + p->count; at++) {
        int b = dev->code->code[at].block;
        if (dev->code->code[at].op != OP_OFFLOAD || p->first_step > 0) continue;
        sim->storage.offloads_left[b]--;
        sim->storage.left--;
        if (dev->offloaded_ns > sim->storage.back_ns[b])
            sim->storage.back_ns[b] = dev->offloaded_ns;
    }
    wake_waiting(sim, t);
    return 1;
}

int storage_end_phase(Sim *sim, int d, int64_t t)
{
    const SimDevice *dev = &sim->devices[d];
    int              go = offload(sim, d, t);

    if (go == 1 && storage_part_ends(sim, phase_of(dev), t)) wake_waiting(sim, t);
    return go;
}

/* ---- steps ------------------------------------------------------------------------------ */

int storage_fetch(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice *dev = &sim->devices[d];
    int64_t   *ready =
        &dev->storage_ns[sim->storage.slot[d][at] * STORAGE_AHEAD + dev->step % STORAGE_AHEAD];
    int64_t    own_ns;

    if (is_direct(sim, d, at, &own_ns)) return make_directly(sim, d, at, t);
    if (!has_come(sim, d, *ready, *t)) { islands_waited(sim, d); return 0; }
    if (dev->step + STORAGE_AHEAD < phase_of(dev)->steps
        && ask_ahead(sim, d, at, dev->step + STORAGE_AHEAD, *t, ready) != 0)
        return -1;
    return occupy(sim, d, at, own_ns, t);
}

/* A STORE of the device's step is done at done; it came to it at t. */
static void note_stored(Sim *sim, int d, int at, int64_t t, int64_t done)
{
    SimDevice *dev = &sim->devices[d];
    int        k = dev->code->code[at].block;

    if (done > dev->stored_ns) dev->stored_ns = done;
    if (done > sim->storage.whole_ns[k]) sim->storage.whole_ns[k] = done;
    if (dev->step + 1 < phase_of(dev)->steps) return;
    sim->storage.left--;
    if (--sim->storage.stores_left[k] == 0) wake_waiting(sim, t);
}

int storage_store(Sim *sim, int d, int at, int64_t *t)
{
    SimDevice *dev = &sim->devices[d];
    int64_t   *done =
        &dev->storage_ns[sim->storage.slot[d][at] * STORAGE_AHEAD + dev->step % STORAGE_AHEAD];
    int64_t    own_ns, came = *t;

    if (is_direct(sim, d, at, &own_ns)) {
        if (make_directly(sim, d, at, t) < 0) return -1;
        note_stored(sim, d, at, came, *t);
        return 1;
    }
    if (!has_come(sim, d, *done, *t)) { islands_waited(sim, d); return 0; }
    *done = ask(sim, d, at, dev->step, *t);
    if (*done < 0) return -1;
    note_stored(sim, d, at, came, *done);
    return occupy(sim, d, at, own_ns, t);
}

/* ---- making and freeing ------------------------------------------------------------------- */

static int make_stations(Sim *sim)
{
    const StorageCosts *costs = &sim->costs.storage;

    sim->storage.stations = calloc((size_t)costs->stations + 1, sizeof *sim->storage.stations);
    if (!sim->storage.stations) return error_no_memory(sim->err);
    for (int i = 0; i < costs->stations; i++) {
        const TraceTier *tier = &sim->scenario->trace->tiers[i / costs->machines];
        int64_t read = tier->read.in_flight[tier->read.in_flight_count - 1];
        int64_t write = tier->write.in_flight[tier->write.in_flight_count - 1];
        Station *station = &sim->storage.stations[i];
        station->lanes = (int)(read > write ? read : write);
        station->free_ns = calloc((size_t)station->lanes, sizeof *station->free_ns);
        if (!station->free_ns) return error_no_memory(sim->err);
    }
    return 0;
}

/* Numbers STORE and FETCH of each phase of device d from 0, so that phases share the places in
 * which the times of their latest STORAGE_AHEAD steps are kept; counts what the first epoch has to
 * store and offload until a boundary, or a block's weights, are whole. */
static int number_slots(Sim *sim, int d)
{
    const Code *code = &sim->program->devices[d];
    int        *slot = calloc((size_t)code->code_count + 1, sizeof *slot);

    sim->storage.slot[d] = slot;
    if (!slot) return error_no_memory(sim->err);
    for (int p = 0; p < code->phase_count; p++) {
        int count = 0;
        for (int at = code->phases[p].first; at < code->phases[p].first + code->phases[p].count;
             at++) {
            const Instruction *in = &code->code[at];
            if (in->op == OP_STORE || in->op == OP_FETCH) slot[at] = count++;
            bool offloads = in->op == OP_OFFLOAD && code->phases[p].first_step == 0;
            sim->storage.stores_left[in->block] += in->op == OP_STORE;
            if (offloads) sim->storage.offloads_left[in->block]++;
            sim->storage.left += offloads || in->op == OP_STORE;
        }
        if (count > sim->storage.slots[d]) sim->storage.slots[d] = count;
    }
    sim->devices[d].storage_ns =
        calloc((size_t)sim->storage.slots[d] * STORAGE_AHEAD + 1, sizeof(int64_t));
    return sim->devices[d].storage_ns ? 0 : error_no_memory(sim->err);
}

int storage_new(Sim *sim)
{
    Storage *storage = &sim->storage;
    size_t   devices = (size_t)sim->program->device_count,
           blocks = (size_t)sim->program->block_count + 1;

    storage->used = program_stores(sim->program);
    if (!storage->used) return 0;
    storage->slot = calloc(devices, sizeof *storage->slot);
    storage->slots = calloc(devices, sizeof *storage->slots);
    storage->stores_left = calloc(blocks, sizeof *storage->stores_left);
    storage->whole_ns = calloc(blocks, sizeof *storage->whole_ns);
    storage->offloads_left = calloc(blocks, sizeof *storage->offloads_left);
    storage->back_ns = calloc(blocks, sizeof *storage->back_ns);
    if (!storage->slot || !storage->slots || !storage->stores_left || !storage->whole_ns
        || !storage->offloads_left || !storage->back_ns)
        return error_no_memory(sim->err);
    for (int d = 0; d < sim->program->device_count; d++)
        if (number_slots(sim, d) != 0) return -1;
    return storage_parts_new(sim) == 0 ? make_stations(sim) : -1;
}

void storage_free(Sim *sim)
{
    Storage *storage = &sim->storage;

    for (int d = 0; d < sim->program->device_count; d++) {
        if (storage->slot) free(storage->slot[d]);
        if (sim->devices) free(sim->devices[d].storage_ns);
    }
    storage_parts_free(sim);
    for (int i = 0; storage->stations && i < sim->costs.storage.stations; i++)
        free(storage->stations[i].free_ns);
    free(storage->stations);
    free(storage->slot);
    free(storage->slots);
    free(storage->stores_left);
    free(storage->whole_ns);
    free(storage->offloads_left);
    free(storage->back_ns);
}
