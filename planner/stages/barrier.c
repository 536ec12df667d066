#include "planner/stages/barrier.h"

#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/stages/stage_memory.h"

#define MAX_STATES 4e6           /* of blocks, used devices and where the last one is */

typedef struct { int64_t teacher, student, update; } BarrierSums;     /* of the blocks before */

/* The last stage of the way with the least P. */
typedef struct {
    int64_t ns;                  /* P; INT64_MAX: no way */
    int     first, state, type;
} BarrierWay;

/* Devices are of types: alike, and on the same machine. A state is how many of each are used
 * (code) and which machine the last one is on; in a given order, how many of it are used. */
typedef struct {
    const Scenario *s;
    const int    *order;         /* NULL: any */
    int           blocks, types, nodes, states;
    bool          blocking, ahead, alike;        /* alike: one type */
    int          *type_of;       /* [devices] */
    int          *device;        /* [types] one of it */
    int          *counts;        /* [types] */
    int          *stride;        /* [types] of a code */
    BarrierSums  *sums;          /* [types][blocks + 1] */
    int          *gap;           /* [types][blocks + 1] first block from here on without a timing */
    int64_t      *messages;      /* [2][blocks + 1] within a machine, across; INT64_MAX: not
                                  * known */
    int64_t       load;
    StageMemory  *memory;
    BarrierWay   *ways;          /* [blocks + 1][states] */
    int64_t       limit, refused;        /* the least time above the limit that was met */
    int64_t       most;                  /* work of a stage */
} BarrierSearch;

static BarrierWay *way_at(const BarrierSearch *b, int block, int state)
{
    return &b->ways[(size_t)block * (size_t)b->states + (size_t)state];
}

/* ---- what a stage takes ------------------------------------------------------------- */

typedef struct { int64_t teacher, student, ready; } BarrierStage;

/* False when blocks first..last cannot be on a device of the type. */
static bool stage_of(const BarrierSearch *b, int first, int last, int type, BarrierStage *out)
{
    const BarrierSums *from = &b->sums[type * (b->blocks + 1) + first],
                      *to = from + (last + 1 - first);
    int64_t            limit = b->s->memory_bytes[b->device[type]];

    if (b->gap[type * (b->blocks + 1) + first] <= last) return false;
    if (limit && stage_memory_bytes(b->memory, first, last, b->s->batch) > limit) return false;
    *out = (BarrierStage){to->teacher - from->teacher, to->student - from->student,
                          to->update - from->update + b->s->trace->step_ns};
    if (first == 0 && !b->ahead) out->ready += b->load;
    return true;
}

/* Of the message at boundary into a device of type; INT64_MAX: not known. */
static int64_t message_into(const BarrierSearch *b, int boundary, int node, int type)
{
    bool across = node != scenario_node(b->s, b->device[type]);

    return b->messages[across * (b->blocks + 1) + boundary];
}

/* Where transfers block, at least what the message out delays the students. */
static int64_t message_out(const BarrierSearch *b, int boundary)
{
    int64_t near, far;

    if (!b->blocking || boundary == b->blocks) return 0;
    near = b->messages[boundary];
    far = b->messages[b->blocks + 1 + boundary];
    return near < far ? near : far;
}

/* ---- a probe ---------------------------------------------------------------------------- */

/* All stages from block first on a device of type, whose input is there at ns. */
static void extend(BarrierSearch *b, int first, int state, int type, int next, int64_t ns)
{
    BarrierStage stage;

    for (int j = first + 1; j <= b->blocks; j++) {
        if (!stage_of(b, first, j - 1, type, &stage)) return;    /* neither can a longer one */
        if (stage.teacher + stage.student + stage.ready > b->most) return;
        int64_t done = larger(ns, stage.ready) + stage.teacher, out = message_out(b, j);
        if (out == INT64_MAX) continue;
        if (done + stage.student + out > b->limit) {
            if (done + stage.student + out < b->refused) b->refused = done + stage.student + out;
            if (done + stage.student > b->limit) return;
            continue;
        }
        BarrierWay *way = way_at(b, j, next);
        if (done < way->ns) *way = (BarrierWay){done, first, state, type};
    }
}

static void extend_order(BarrierSearch *b, int first, int state, int64_t ns)
{
    int type = b->type_of[b->order[state]];

    if (first > 0) {
        int64_t message = message_into(b, first, scenario_node(b->s, b->order[state - 1]), type);
        if (message == INT64_MAX) return;
        ns += message;
    }
    extend(b, first, state, type, state + 1, ns);
}

static void extend_types(BarrierSearch *b, int first, int state, int64_t ns)
{
    int node = state % b->nodes, code = state / b->nodes;

    for (int type = 0; type < b->types; type++) {
        int64_t message = first ? message_into(b, first, node, type) : 0;
        if (code / b->stride[type] % (b->counts[type] + 1) == b->counts[type]
            || message == INT64_MAX)
            continue;
        int at = scenario_node(b->s, b->device[type]);
        extend(b, first, state, type, (code + b->stride[type]) * b->nodes + (b->nodes > 1 ? at : 0),
               ns + message);
    }
}

/* The state of the least P after all blocks; -1: none within the limit. */
static int probe(BarrierSearch *b, int64_t limit)
{
    int best = -1;

    b->limit = limit;
    b->refused = INT64_MAX;
    for (size_t i = 0; i < (size_t)(b->blocks + 1) * (size_t)b->states; i++)
        b->ways[i].ns = INT64_MAX;
    way_at(b, 0, 0)->ns = 0;
    for (int first = 0; first < b->blocks; first++) {
        int64_t least = INT64_MAX;
        for (int state = 0; state < b->states; state++) {
            int64_t ns = way_at(b, first, state)->ns;
            /* fewer devices, and no later */
            if (ns == INT64_MAX || (b->alike && ns >= least)) continue;
            least = ns;
            if (b->order && state == b->s->device_count) continue;
            if (b->order) extend_order(b, first, state, ns);
            else          extend_types(b, first, state, ns);
        }
    }
    for (int state = 0; state < b->states; state++)
        if (way_at(b, b->blocks, state)->ns != INT64_MAX
            && (best < 0 || way_at(b, b->blocks, state)->ns < way_at(b, b->blocks, best)->ns))
            best = state;
    return best;
}

/* ---- the partition of a probe ---------------------------------------------------------------- */

void barrier_free(BarrierPartition *p)
{
    free(p->first);
    free(p->device);
    *p = (BarrierPartition){0};
}

/* The step, each P being the least. */
static int64_t step_of(const BarrierSearch *b, int state)
{
    int64_t      step = 0;
    BarrierStage stage;

    for (int j = b->blocks; j > 0;) {
        const BarrierWay *way = way_at(b, j, state);
        if (stage_of(b, way->first, j - 1, way->type, &stage))
            step = larger(step, way->ns + stage.student + message_out(b, j));
        state = way->state;
        j = way->first;
    }
    return step;
}

/* The partition that ends in state, from the last stage to the first; where devices were told apart
 * by type only, the lowest numbers of a type come first. */
static int read_back(const BarrierSearch *b, int state, BarrierPartition *out, Error *err)
{
    int   at = state, k;
    char *used = calloc((size_t)b->s->device_count, 1);

    *out = (BarrierPartition){.every_order = !b->order, .step_ns = step_of(b, state)};
    for (int j = b->blocks; j > 0; out->stages++) {
        const BarrierWay *way = way_at(b, j, at);
        at = way->state;
        j = way->first;
    }
    out->first = calloc((size_t)out->stages, sizeof *out->first);
    out->device = calloc((size_t)out->stages, sizeof *out->device);
    if (!used || !out->first || !out->device) {
        free(used);
        barrier_free(out);
        return error_no_memory(err);
    }
    k = out->stages;
    for (int j = b->blocks; j > 0;) {
        const BarrierWay *way = way_at(b, j, state);
        out->first[--k] = way->first;
        out->device[k] = b->order ? b->order[way->state] : way->type;
        state = way->state;
        j = way->first;
    }
    for (k = 0; k < out->stages && !b->order; k++) {     /* the lowest numbers of a type first */
        int d = 0;
        while (used[d] || b->type_of[d] != out->device[k]) d++;
        used[d] = 1;
        out->device[k] = d;
    }
    free(used);
    return 0;
}

/* ---- bisection ------------------------------------------------------------------------------- */

static int64_t first_guess(const BarrierSearch *b)
{
    const BarrierSums *all = &b->sums[b->blocks];

    return all->teacher + all->student / b->s->device_count + 1;
}

/* Of the partitions within the limit those whose longest stage is short, to about a hundredth: with
 * less memory and updates, as all that does not lie on the longest way is free. */
static void even_out(BarrierSearch *b, int64_t limit)
{
    int64_t low = 0, high = limit;

    while (high - low > high / 128 + 1) {
        b->most = low + (high - low) / 2;
        if (probe(b, limit) >= 0) high = b->most;
        else                      low = b->most;
    }
    b->most = high;
    if (probe(b, limit) < 0) b->most = INT64_MAX;        /* a stage longer than the limit: its
                                                          * loading */
}

/* limit_ns: longer steps are of no interest; 0: all are. */
static int bisect(BarrierSearch *b, BarrierPartition *out, int64_t limit_ns, Error *err)
{
    int64_t low = 0, high = INT64_MAX, limit = limit_ns ? limit_ns : first_guess(b),
            stride = limit / 16 + 1;
    int     state;

    while (low < high) {
        state = probe(b, limit);
        if (state >= 0) high = step_of(b, state);
        else            low = b->refused;
        if (limit_ns && high == INT64_MAX) return 0;
        if (high < INT64_MAX) {
            limit = low + (high - low) / 2;
            continue;
        }
        if (low == INT64_MAX) return 0;
        limit = low > limit + stride ? low : limit + stride;
        if (stride < INT64_MAX / 8) stride *= 2;
        if (limit > INT64_MAX / 4) limit = low > INT64_MAX / 4 ? low : INT64_MAX / 4;
    }
    even_out(b, high);
    state = probe(b, high);              /* again: the answer does not depend on the way here */
    return read_back(b, state, out, err);
}

/* ---- looking up ------------------------------------------------------------------------------ */

static void list_types(BarrierSearch *b)
{
    for (int d = 0; d < b->s->device_count; d++) {
        int type = 0;
        while (type < b->types && !scenario_same_type(b->s, b->device[type], d)) type++;
        if (type == b->types) b->device[b->types++] = d;
        b->type_of[d] = type;
        b->counts[type]++;
    }
    b->nodes = scenario_node(b->s, b->s->device_count - 1) + 1;
    b->alike = b->types == 1;
}

static void look_up_work(BarrierSearch *b, int type)
{
    BarrierSums *sums = &b->sums[type * (b->blocks + 1)];
    int         *gap = &b->gap[type * (b->blocks + 1)];

    for (int k = 0; k < b->blocks; k++) {
        Cost c[WORK_COUNT];
        gap[k] = 0;
        for (int what = 0; what < WORK_COUNT && !gap[k]; what++)
            gap[k] =
                scenario_work(b->s, (Work)what, k, b->device[type], b->s->batch, &c[what], NULL)
                != 0;
        sums[k + 1] = sums[k];
        if (gap[k]) continue;
        sums[k + 1].teacher += c[WORK_TEACHER].ns;
        sums[k + 1].student += c[WORK_FORWARD].ns + c[WORK_BACKWARD].ns;
        sums[k + 1].update += c[WORK_UPDATE].ns;
    }
    gap[b->blocks] = b->blocks;
    for (int k = b->blocks - 1; k >= 0; k--) gap[k] = gap[k] ? k : gap[k + 1];
}

static void look_up_messages(BarrierSearch *b)
{
    int far = b->nodes > 1 ? b->s->trace->devices_per_node : 0;

    for (int across = 0; across < 2; across++)
        for (int k = 1; k < b->blocks; k++) {
            int64_t *ns = &b->messages[across * (b->blocks + 1) + k];
            if (scenario_p2p(b->s, 0, across ? far : 0, k, b->s->batch, ns, NULL) != 0)
                *ns = INT64_MAX;
        }
}

/* Any order where that is few states, otherwise the trace's: trace_order. */
static void number_states(BarrierSearch *b, int *trace_order)
{
    double states = b->nodes;

    for (int type = 0; type < b->types; type++) states *= b->counts[type] + 1;
    if (!b->order && states * b->types * (b->blocks + 1) > MAX_STATES) {
        for (int d = 0; d < b->s->device_count; d++) trace_order[d] = d;
        b->order = trace_order;
    }
    b->states = b->order ? b->s->device_count + 1 : (int)states;
    for (int type = 0, stride = 1; type < b->types && !b->order; type++) {
        b->stride[type] = stride;
        stride *= b->counts[type] + 1;
    }
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static int prepare(BarrierSearch *b, int *trace_order, Error *err)
{
    size_t n = (size_t)b->blocks + 1;

    list_types(b);
    number_states(b, trace_order);
    b->sums = calloc((size_t)b->types * n, sizeof *b->sums);
    b->gap = calloc((size_t)b->types * n, sizeof *b->gap);
    b->messages = calloc(2 * n, sizeof *b->messages);
    b->ways = malloc(n * (size_t)b->states * sizeof *b->ways);
    if (!b->sums || !b->gap || !b->messages || !b->ways) return error_no_memory(err);
    for (int type = 0; type < b->types; type++) look_up_work(b, type);
    look_up_messages(b);
    return stage_memory_build(&b->memory, b->s, err);
}

int barrier_search(BarrierPartition *out, const Scenario *scenario, const int *order,
                   int64_t limit_ns, Error *err)
{
    const TraceLoader *loader = &scenario->trace->loader;
    size_t        g = (size_t)scenario->device_count;
    BarrierSearch b = {.most = INT64_MAX, .s = scenario, .order = order,
                       .blocks = scenario->trace->block_count,
                       .blocking = scenario->trace->blocking_transfers,
                       .ahead = loader->present && loader->prefetch > 0,
                       .load = scenario_load_ns(scenario, scenario->batch)};
    int          *numbers = calloc(5 * g, sizeof *numbers), rc = -1;

    *out = (BarrierPartition){0};
    if (!numbers) return error_no_memory(err);
    b.type_of = numbers;
    b.device = numbers + g;
    b.counts = numbers + 2 * g;
    b.stride = numbers + 3 * g;
    if (prepare(&b, numbers + 4 * g, err) == 0) {
        out->every_order = !b.order;
        rc = bisect(&b, out, limit_ns, err);
    }
    free(numbers);
    free(b.sums);
    free(b.gap);
    free(b.messages);
    free(b.ways);
    stage_memory_free(b.memory);
    return rc;
}
