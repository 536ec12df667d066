/* Islands: devices that wait for each other and for no others, though all share tiers of a store.
 *
 *     devices 0, 1  | step 2.0 s | step 2.0 s | step 2.0 s |    a period of their own each:
 *     device 2      | step 1.7 s | step 1.7 s | step 1.7 |      together they have none that is
 *     the tier      | requests of both                   |      short
 *
 * How long a request takes depends on how many are in flight, so one island's requests touch the
 * other's. But where every request is done before its device wants it, they touch nothing else.
 * Then the simulator looks at each island alone whether its state repeats, the store left aside,
 * and once all islands' do, puts each as many of its periods ahead as fit before any of them comes
 * near the end of its phase, at a time T. What the tiers' lanes are at T follows from the requests
 * until then (sim/island_lanes.c). What islands ask for between the time they are put to and T has
 * been asked for then (Storage.asked_ns): that again they do not.
 *
 * Where nothing but FETCHes is to come, nobody will look at the lanes, and they need not be known
 * if no request can be late (is_calm()): each FETCH of a device has at most STORAGE_AHEAD requests
 * in flight, so a station has at most n; each takes at most m; with l lanes, first come, first
 * served, one is done after m (n - 1) / l + m at most, m where l >= n. The device wants it
 * STORAGE_AHEAD steps later, and a step takes it its work at least. This is of requests that were
 * asked for when those of earlier phases were over (calm_ns), so islands are left alone until each
 * device has done STORAGE_AHEAD + 1 steps after it. Where the trace has stalls none are looked for:
 * what members of a group expect of each other is not in an island's state. */
#include <stdlib.h>
#include <string.h>

#include "sim/islands.h"

/* Requests in a period, and times that devices of an island wait for the store: beyond them no
 * periods are looked for. */
enum { ASKED_MOST = 1 << 16, WAITS_MOST = 8 };

/* Stations as the simulator's, all lanes free; NULL: without memory. */
static Station *new_stations(const Sim *sim, Arena *arena)
{
    int      count = sim->costs.storage.stations;
    Station *stations = arena_alloc(arena, (size_t)count, sizeof *stations);

    for (int i = 0; stations && i < count; i++) {
        stations[i].lanes = sim->storage.stations[i].lanes;
        stations[i].free_ns =
            arena_alloc(arena, (size_t)stations[i].lanes, sizeof *stations[i].free_ns);
        if (!stations[i].free_ns) return NULL;
    }
    return stations;
}

/* Numbers the places in which devices' instructions have what is in flight. */
static int new_places(Sim *sim)
{
    Islands *x = sim->islands;
    int      n = sim->program->device_count;

    x->places = arena_alloc(&x->arena, (size_t)n, sizeof *x->places);
    if (!x->places) return -1;
    for (int d = 0; d < n; d++) {
        x->places[d] = x->place_count;
        x->place_count += sim->storage.slots[d];
    }
    x->pending = arena_alloc(&x->arena, (size_t)x->place_count, sizeof *x->pending);
    x->turn = arena_alloc(&x->arena, (size_t)x->place_count, sizeof *x->turn);
    x->visits = arena_alloc(&x->arena, (size_t)x->place_count, sizeof *x->visits);
    return x->pending && x->turn && x->visits ? 0 : -1;
}

int islands_new(Sim *sim)
{
    size_t   n = (size_t)sim->program->device_count,
           stations = (size_t)sim->costs.storage.stations;
    Islands *x;

    if (!sim->storage.used || n < 2 || sim->stalls.waits) return 0;
    x = sim->islands = calloc(1, sizeof *x);
    if (!x) return error_no_memory(sim->err);
    x->of = arena_alloc(&x->arena, n, sizeof *x->of);
    x->islands = arena_alloc(&x->arena, n, sizeof *x->islands);
    x->marks = arena_alloc(&x->arena, n, sizeof *x->marks);
    x->calm_step = arena_alloc(&x->arena, n, sizeof *x->calm_step);
    x->in_flight = arena_alloc(&x->arena, stations, sizeof *x->in_flight);
    x->most_ns = arena_alloc(&x->arena, stations, sizeof *x->most_ns);
    x->is_reference = arena_alloc(&x->arena, n, sizeof *x->is_reference);
    x->root = arena_alloc(&x->arena, n, sizeof *x->root);
    x->number = arena_alloc(&x->arena, n, sizeof *x->number);
    x->heap = arena_alloc(&x->arena, n, sizeof *x->heap);
    x->kept = new_stations(sim, &x->arena);
    x->upper = new_stations(sim, &x->arena);
    bool good = x->of && x->islands && x->marks && x->calm_step && x->in_flight && x->most_ns
                && x->is_reference && x->root && x->number && x->heap && x->kept && x->upper;
    return good && new_places(sim) == 0 ? 0 : error_no_memory(sim->err);
}

void islands_free(Sim *sim)
{
    Islands *x = sim->islands;

    if (!x) return;
    for (int d = 0; x->islands && d < sim->program->device_count; d++) {
        free(x->islands[d].now.words);
        free(x->islands[d].saved.words);
        free(x->islands[d].asked);
    }
    free(x->times);
    arena_free(&x->arena);
    free(x);
    sim->islands = NULL;
}

static bool is_live(const SimDevice *dev)
{
    return dev->state != STATE_DONE && dev->state != STATE_STORE;
}

static void leave_alone(Islands *x)
{
    x->mode = ISLANDS_LEFT_ALONE;
    x->count = 0;
}

void islands_change(Sim *sim)
{
    if (!sim->islands) return;
    sim->islands->mode = ISLANDS_UNKNOWN;
    sim->islands->seen = 0;
}

bool islands_look_at(const Sim *sim, int d)
{
    const Islands *x = sim->islands;

    return x
           && (x->mode == ISLANDS_UNKNOWN || (x->mode == ISLANDS_LOOKED_AT && x->is_reference[d]));
}

bool islands_have(const Sim *sim)
{
    return sim->islands && sim->islands->mode == ISLANDS_LOOKED_AT;
}

/* ---- which there are -------------------------------------------------------------------- */

/* The number of the island that device d is on, while they are joined. */
static int root_of(Islands *x, int d)
{
    while (x->of[d] != d) d = x->of[d] = x->of[x->of[d]];
    return d;
}

static void join(Islands *x, int a, int b) { x->of[root_of(x, a)] = root_of(x, b); }

static void join_phase(Sim *sim, int d)
{
    const SimDevice *dev = &sim->devices[d];
    const Phase     *phase = phase_of(dev);

    for (int at = phase->first; at < phase->first + phase->count; at++) {
        const Instruction *in = &dev->code->code[at];
        if (in->op == OP_SEND) join(sim->islands, d, sim->program->channels[in->link].to);
        if (in->op == OP_RECV) join(sim->islands, d, sim->program->channels[in->link].from);
        if (in->op != OP_ALLREDUCE && in->op != OP_BARRIER) continue;
        const Group *group = &sim->program->groups[in->link];
        for (int i = 0; i < group->count; i++) join(sim->islands, d, group->devices[i]);
    }
}

/* Joins devices and numbers the islands that live ones are on. The reference is a device in the
 * earliest phase: those of later ones wait for it. False: a live device would wait for one that is
 * not. */
static bool find_islands(Sim *sim)
{
    Islands *x = sim->islands;
    int      n = sim->program->device_count;

    x->count = 0;
    x->loader = -1;
    for (int d = 0; d < n; d++) x->of[d] = d;
    for (int d = 0; d < n; d++)
        if (is_live(&sim->devices[d])) join_phase(sim, d);
    for (int d = 0; d < n; d++) {
        x->root[d] = root_of(x, d);
        x->number[d] = -1;
        x->is_reference[d] = false;
    }
    for (int d = 0; d < n; d++) {
        int *number = &x->number[x->root[d]];
        x->of[d] = -1;
        if (!is_live(&sim->devices[d])) continue;
        if (*number < 0) {
            *number = x->count++;
            x->islands[*number].reference = d;
        }
        x->of[d] = *number;
        Island *island = &x->islands[*number];
        if (phase_of(&sim->devices[d])->number
            < phase_of(&sim->devices[island->reference])->number)
            island->reference = d;
    }
    for (int i = 0; i < x->count; i++) x->is_reference[x->islands[i].reference] = true;
    for (int d = 0; d < n; d++)
        if (x->of[d] < 0 && x->number[x->root[d]] >= 0) return false;
    return true;
}

/* Counts what a device's phase may have in flight at each station. False: it makes requests itself,
 * or shares the loader with another island. */
static bool count_requests(Sim *sim, int d)
{
    Islands            *x = sim->islands;
    const StorageCosts *costs = &sim->costs.storage;
    const SimDevice    *dev = &sim->devices[d];
    const Phase        *phase = phase_of(dev);

    for (int at = phase->first; at < phase->first + phase->count; at++) {
        Op op = dev->code->code[at].op;
        if (op == OP_LOAD && sim->lane_count > 0) {
            if (x->loader >= 0 && x->loader != x->of[d]) return false;
            x->loader = x->of[d];
        }
        if (op != OP_FETCH && op != OP_STORE) continue;
        for (int r = costs->first[d][at]; r < costs->first[d][at + 1]; r++) {
            const StorageRequest *request = &costs->requests[r];
            int64_t               most = storage_most_ns(sim, request);
            if (request->direct) return false;
            x->in_flight[request->station] += STORAGE_AHEAD;
            if (most > x->most_ns[request->station]) x->most_ns[request->station] = most;
            x->rising &= storage_is_rising(sim, request);
        }
    }
    return true;
}

/* Whether every request of the device's phase is done before the device wants it. */
static bool is_calm(const Sim *sim, int d)
{
    const StorageCosts *costs = &sim->costs.storage;
    const SimDevice    *dev = &sim->devices[d];
    const Phase        *phase = phase_of(dev);
    int64_t             step = 0;

    for (int at = phase->first; at < phase->first + phase->count; at++)
        if (op_computes(dev->code->code[at].op)) step += dev->cost[at].ns;
    for (int at = phase->first; at < phase->first + phase->count; at++) {
        Op op = dev->code->code[at].op;
        if (op != OP_FETCH && op != OP_STORE) continue;
        for (int r = costs->first[d][at]; r < costs->first[d][at + 1]; r++) {
            int     station = costs->requests[r].station;
            int64_t answer = island_longest_ns(sim, station, sim->islands->in_flight[station]),
                    wanted;
            if (answer > sim->islands->longest_ns) sim->islands->longest_ns = answer;
            if (__builtin_mul_overflow(step, STORAGE_AHEAD, &wanted)) return false;
            if (answer > wanted - costs->requests[r].link_ns) return false;
        }
    }
    return true;
}

/* Looks for islands, all of whose devices have begun their phases. */
static void begin(Sim *sim)
{
    Islands *x = sim->islands;
    int      n = sim->program->device_count;

    for (int d = 0; d < n; d++)
        if (is_live(&sim->devices[d]) && !sim->devices[d].begun) return;
    leave_alone(x);
    if (!find_islands(sim) || x->count < 2) return;
    x->rising = true;
    for (int i = 0; i < sim->costs.storage.stations; i++) x->in_flight[i] = x->most_ns[i] = 0;
    for (int d = 0; d < n; d++)
        if (is_live(&sim->devices[d]) && !count_requests(sim, d)) return;
    x->calm = true;
    x->longest_ns = 1;
    for (int d = 0; d < n; d++) x->calm &= !is_live(&sim->devices[d]) || is_calm(sim, d);
    x->mode = ISLANDS_LOOKED_AT;
    x->marked = x->settled = false;
    x->known = 0;
    x->calm_ns = sim->now_ns;
    for (int i = 0; i < sim->costs.storage.stations; i++)
        for (int l = 0; l < sim->storage.stations[i].lanes; l++)
            if (sim->storage.stations[i].free_ns[l] > x->calm_ns)
                x->calm_ns = sim->storage.stations[i].free_ns[l];
    for (int i = 0; i < x->count; i++) {
        Island *island = &x->islands[i];
        island->saved.count = 0;
        island->known = false;
        island->asked_count = 0;
        island->age = 0;
        island->power = 1;
        island->waits = 0;
        island->latest_ns = -1;
    }
}

/* ---- what they do ------------------------------------------------------------------------- */

void islands_note(Sim *sim, int d, int id)
{
    Islands *x = sim->islands;

    if (!x || x->mode != ISLANDS_LOOKED_AT || x->of[d] < 0) return;
    Island *island = &x->islands[x->of[d]];
    if (island->latest_ns == sim->now_ns && island->latest_key > id) return;
    island->latest_ns = sim->now_ns;
    island->latest_key = id;
}

int islands_asked(Sim *sim, int d, int at, int request, int64_t t)
{
    Islands *x = sim->islands;

    if (!x || x->mode != ISLANDS_LOOKED_AT || x->of[d] < 0) return 0;
    Island *island = &x->islands[x->of[d]];
    if (island->known) island_to_next(island);
    if (island->known || island->saved.count == 0) return 0;
    if (island->asked_count == ASKED_MOST) { leave_alone(x); return 0; }
    if (!array_has_room(island->asked, island->asked_count, island->asked_capacity))
        return error_no_memory(sim->err);
    int place = x->places[d] + sim->storage.slot[d][at];
    island->asked[island->asked_count++] = (AskedRequest){
        t, island->latest_key, request, place, request == sim->costs.storage.first[d][at]};
    return 0;
}

void islands_waited(Sim *sim, int d)
{
    Islands *x = sim->islands;

    if (!x || x->mode != ISLANDS_LOOKED_AT || x->of[d] < 0) return;
    Island *island = &x->islands[x->of[d]];
    x->known -= island->known;
    island->known = false;
    island->saved.count = 0;
    island->power = 1;
    if (++island->waits > WAITS_MOST) leave_alone(x);
}

/* The island's state, without the store: what its devices ask for is there when they want it. */
static void write_island(const Sim *sim, int number)
{
    const Islands *x = sim->islands;
    Island        *island = &x->islands[number];
    StateWords    *out = &island->now;

    out->count = 0;
    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        if (x->of[d] != number) continue;
        state_device(out, sim, dev, sim->devices[island->reference].step);
        for (int at = phase_of(dev)->first;
             at < phase_of(dev)->first + phase_of(dev)->count; at++) {
            const Instruction *in = &dev->code->code[at];
            if (in->op == OP_SEND) {
                state_word(out, sim->slots[in->link].used);
                state_word(out, sim->slots[in->link].arrived);
            }
            if (in->op != OP_ALLREDUCE && in->op != OP_BARRIER) continue;
            state_word(out, sim->meets[in->link].arrived);
            state_future(out, sim, sim->meets[in->link].lane_free_ns);
            for (int parity = 0; parity < 2 && in->op == OP_ALLREDUCE; parity++)
                state_reduce(out, sim, &sim->reduces[sim->reduce_slot[d][at]][parity]);
        }
    }
    if (x->loader == number) state_lanes(out, sim, sim->lane_free_ns, sim->lane_count);
}

static void save_island(Sim *sim, int number)
{
    Islands *x = sim->islands;
    Island  *island = &x->islands[number];

    state_swap(&island->saved, &island->now);
    island->saved_ns = sim->now_ns;
    island->asked_count = 0;
    island->age = 0;
    for (int d = 0; d < sim->program->device_count; d++)
        if (x->of[d] == number) state_mark(&x->marks[d], &sim->devices[d]);
}

/* At the end of a step of the island's reference. What its devices do in a period stands in marks
 * once it is known. */
static void look_at_island(Sim *sim, int number)
{
    Islands *x = sim->islands;
    Island  *island = &x->islands[number];

    if (island->known) return;
    write_island(sim, number);
    if (island->now.failed) { leave_alone(x); return; }
    island->age++;
    if (island->saved.count > 0 && state_equals(&island->saved, &island->now)) {
        island->known = true;
        x->known++;
        island->period_ns = sim->now_ns - island->saved_ns;
        island->next = 0;
        island->base_ns = island->period_ns;
        if (island->period_ns <= 0) leave_alone(x);
        for (int d = 0; d < sim->program->device_count; d++) {
            StateMark       *mark = &x->marks[d];
            const SimDevice *dev = &sim->devices[d];
            if (x->of[d] != number) continue;
            mark->step = dev->step - mark->step;         /* from now on: of a period */
            mark->executed = dev->executed - mark->executed;
            for (int i = 0; i < SHARE_COUNT; i++)
                mark->share_ns[i] = dev->share_ns[i] - mark->share_ns[i];
        }
    } else if (island->saved.count == 0 || island->age >= island->power) {
        island->power *= 2;
        save_island(sim, number);
    }
}

/* Notes where devices stand at calm_ns, then whether all have done enough steps since. */
static void settle(Sim *sim)
{
    Islands *x = sim->islands;
    bool     settled = x->marked;

    if (x->settled || sim->now_ns < x->calm_ns) return;
    for (int d = 0; d < sim->program->device_count; d++) {
        if (x->of[d] < 0) continue;
        if (!x->marked) x->calm_step[d] = sim->devices[d].step;
        settled &= sim->devices[d].step > x->calm_step[d] + STORAGE_AHEAD;
    }
    x->marked = true;
    x->settled = settled;
}

/* ---- ahead --------------------------------------------------------------------------------- */

/* Nobody looks at a tier again: all devices are in their last phases, which only fetch. */
static bool only_fetch(const Sim *sim)
{
    for (int d = 0; d < sim->program->device_count; d++) {
        const SimDevice *dev = &sim->devices[d];
        if (dev->state == STATE_DONE) continue;
        if (dev->state == STATE_STORE || dev->phase + 1 < dev->code->phase_count) return false;
        for (int at = phase_of(dev)->first;
             at < phase_of(dev)->first + phase_of(dev)->count; at++)
            if (dev->code->code[at].op == OP_STORE || dev->code->code[at].op == OP_OFFLOAD)
                return false;
    }
    return true;
}

/* Periods of each island that fit before it is near the end of a phase, and *ends_ns, the least
 * time that is. -1: time passes the limit. */
static int count_times(Sim *sim, int64_t *ends_ns)
{
    Islands *x = sim->islands;
    int64_t  ahead = sim->prefetch > STORAGE_AHEAD ? sim->prefetch : STORAGE_AHEAD;

    *ends_ns = INT64_MAX;
    for (int i = 0; i < x->count; i++) x->islands[i].times = INT64_MAX;
    for (int d = 0; d < sim->program->device_count; d++) {
        if (x->of[d] < 0) continue;
        Island   *island = &x->islands[x->of[d]];
        StateMark from = {.step = sim->devices[d].step - x->marks[d].step};
        int64_t   left = state_times_left(&from, &sim->devices[d], ahead + STORAGE_AHEAD + 1);
        if (left < island->times) island->times = left;
    }
    for (int i = 0; i < x->count; i++) {
        Island *island = &x->islands[i];
        int64_t ns;
        if (__builtin_mul_overflow(island->times, island->period_ns, &ns)
            || ns > TIME_LIMIT_NS - sim->now_ns)
            return sim_too_long(sim);
        if (sim->now_ns + ns < *ends_ns) *ends_ns = sim->now_ns + ns;
    }
    return 0;
}

/* Puts an island's devices so many periods ahead. */
static void put_ahead(Sim *sim, int number)
{
    Islands      *x = sim->islands;
    const Island *island = &x->islands[number];
    int64_t       shift = island->times * island->period_ns;

    for (int d = 0; d < sim->program->device_count; d++) {
        SimDevice *dev = &sim->devices[d];
        StateMark  from = {.step = dev->step - x->marks[d].step,
                           .executed = dev->executed - x->marks[d].executed};
        if (x->of[d] != number) continue;
        for (int i = 0; i < SHARE_COUNT; i++)
            from.share_ns[i] = dev->share_ns[i] - x->marks[d].share_ns[i];
        for (int at = phase_of(dev)->first;
             at < phase_of(dev)->first + phase_of(dev)->count; at++) {
            const Instruction *in = &dev->code->code[at];
            if (in->op != OP_ALLREDUCE && in->op != OP_BARRIER) continue;
            const Group *group = &sim->program->groups[in->link];
            if (group->devices[0] != d) continue;        /* once */
            for (int parity = 0; parity < 2 && in->op == OP_ALLREDUCE; parity++) {
                Reduce *reduce = &sim->reduces[sim->reduce_slot[d][at]][parity];
                if (reduce->end_ns >= 0) reduce->end_ns += shift;
            }
        }
        state_shift_device(sim, &from, dev, island->times, shift);
        for (int i = 0; i < STORAGE_AHEAD * sim->storage.slots[d]; i++) dev->storage_ns[i] = 0;
    }
    for (int l = 0; l < sim->lane_count && x->loader == number; l++) sim->lane_free_ns[l] += shift;
}

/* Lanes of groups, each once. */
static void shift_groups(Sim *sim)
{
    const Islands *x = sim->islands;

    for (int g = 0; g < sim->program->group_count; g++) {
        int number = x->of[sim->program->groups[g].devices[0]];
        if (number < 0) continue;
        sim->meets[g].lane_free_ns += x->islands[number].times * x->islands[number].period_ns;
    }
}

/* Puts all islands ahead, if nothing is late on the way. */
static int go_ahead(Sim *sim, bool to_end)
{
    Islands *x = sim->islands;
    bool     any = false;
    int64_t  ends_ns;

    if (count_times(sim, &ends_ns) != 0) return -1;
    for (int i = 0; i < x->count; i++) {
        Island *island = &x->islands[i];
        int64_t fit = to_end ? INT64_MAX : (ends_ns - sim->now_ns) / island->period_ns;
        if (fit < island->times) island->times = fit;
        any |= island->times > 0;
    }
    if (!any || (!to_end && !island_lanes_until(sim, ends_ns))) { leave_alone(x); return 0; }
    sim->storage.asked_ns = to_end ? INT64_MAX : ends_ns;
    shift_groups(sim);
    for (int i = 0; i < x->count; i++) put_ahead(sim, i);
    for (int i = 0; i < sim->heap_count; i++) {
        int number = x->of[sim->heap[i].id / 2];
        if (number < 0) continue;
        sim->heap[i].time_ns += x->islands[number].times * x->islands[number].period_ns;
    }
    sim_order_heap(sim);
    steady_forget(sim);
    leave_alone(x);
    return 0;
}

int islands_step_end(Sim *sim, int d)
{
    Islands *x = sim->islands;

    if (!x) return 0;
    if (x->mode == ISLANDS_UNKNOWN && ++x->seen >= sim->program->device_count) begin(sim);
    if (x->mode != ISLANDS_LOOKED_AT || x->of[d] < 0 || !x->is_reference[d]) return 0;
    look_at_island(sim, x->of[d]);
    settle(sim);
    if (x->mode != ISLANDS_LOOKED_AT || x->known < x->count) return 0;
    bool to_end = x->calm && only_fetch(sim);
    return x->calm && !x->settled ? 0 : go_ahead(sim, to_end);
}
