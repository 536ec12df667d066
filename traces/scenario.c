#include "traces/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/micro.h"

/* ---- building ---------------------------------------------------------- */

/* As llround(), which is a call of a library: half a nanosecond counts as one. */
static inline int64_t round_ns(double ns)
{
    const double most = 0x1p62;          /* beyond TRACE_MAX_NS, and an int64_t can hold it */

    if (ns <= 0) return 0;
    if (!(ns < most)) return (int64_t)most;
    int64_t whole = (int64_t)ns;
    return whole + (ns - (double)whole >= 0.5);
}

static int fill_devices(Scenario *out, const Trace *trace, int64_t limit, Error *err)
{
    int device = 0;

    out->kinds = calloc((size_t)out->device_count, sizeof *out->kinds);
    out->memory_bytes = calloc((size_t)out->device_count, sizeof *out->memory_bytes);
    if (!out->kinds || !out->memory_bytes) return error_no_memory(err);
    for (int kind = 0; kind < trace->kind_count; kind++) {
        bool last = kind == trace->kind_count - 1;
        for (int i = 0; (i < trace->kinds[kind].count || last) && device < out->device_count; i++) {
            int64_t memory = trace->kinds[kind].memory_bytes;
            out->kinds[device] = kind;
            out->memory_bytes[device++] = limit ? limit : memory == TRACE_ABSENT ? 0 : memory;
        }
    }
    return 0;
}

/* All that one device could ever hold at once: the simulator adds such bytes up
 * in an int64_t. */
static int check_bytes(const Scenario *scenario, Error *err)
{
    const Trace *trace = scenario->trace;
    double       fixed = 0, sample = 0;
    double       copies = 1.0 + scenario->queue_depth + trace->loader.prefetch;

    for (int b = 0; b < trace->block_count; b++) {
        const TraceBlock *block = &trace->blocks[b];
        fixed += (double)block->teacher_weight_bytes + (double)block->student_weight_bytes
                 + (double)block->gradient_bytes + (double)block->state_bytes;
        sample += (double)trace_boundary_bytes(trace, b) * copies + (double)block->output_bytes
                  + (double)block->teacher_activation_bytes
                  + (double)block->student_activation_bytes;
    }
    if (fixed + sample * (double)scenario->batch < 0x1p62) return 0;
    return error_set(err, "%s: a batch of %" PRId64 " would fill %g bytes, expected less than 2^62",
                     trace->name, scenario->batch, fixed + sample * (double)scenario->batch);
}

int scenario_build(Scenario *out, const Trace *trace, const ScenarioOptions *options, Error *err)
{
    *out = (Scenario){.trace = trace, .extrapolate = options->extrapolate};
    out->device_count = options->devices ? (int)options->devices : trace_device_count(trace);
    out->load = out->device_count > 1;
    out->batch = options->batch ? options->batch : trace->batch;
    out->steps = options->steps ? options->steps : (trace->samples + out->batch - 1) / out->batch;
    out->epochs = options->epochs ? options->epochs : trace->epochs > 1 ? trace->epochs : 1;
    out->queue_depth = (int)options->queue_depth;
    if (out->batch > trace->batch && !options->extrapolate)
        return error_set(err,
                         "%s: batch %" PRId64 " is beyond the trace's %" PRId64 ", expected at "
                         "most that, or --extrapolate",
                         trace->name, out->batch, trace->batch);
    if (scenario_load_ns(out, out->batch) > 2 * TRACE_MAX_NS)
        return error_set(err,
                         "%s: loading a batch of %" PRId64
                         " would take %g s, expected at most 2^47 ns "
                         "(39 hours)",
                         trace->name, out->batch, (double)scenario_load_ns(out, out->batch) * 1e-9);
    if (check_bytes(out, err) != 0) return -1;
    if (fill_devices(out, trace, options->memory_bytes, err) != 0) {
        scenario_free(out);
        return -1;
    }
    return 0;
}

void scenario_free(Scenario *scenario)
{
    free(scenario->kinds);
    free(scenario->memory_bytes);
    scenario->kinds = NULL;
    scenario->memory_bytes = NULL;
}

int64_t scenario_share(int64_t batch, int width, int i)
{
    return batch / width + (i < batch % width);
}

/* ---- curves ------------------------------------------------------------ */

static inline double larger_spread(double a, double b) { return a > b ? a : b; }

static int64_t on_line(int64_t x0, int64_t ns0, int64_t x1, int64_t ns1, int64_t x)
{
    double slope = (double)(ns1 - ns0) / (double)(x1 - x0);

    return round_ns((double)ns0 + slope * (double)(x - x0));
}

/* A point's time where it is not simply ns. */
static int64_t elsewhere(const CurvePoint *point, double load, bool single_block)
{
    int64_t ns = point->ns, busy = point->contended_ns;

    if (single_block && point->single_block_ns) {
        ns = point->single_block_ns;
        busy = point->single_block_contended_ns;
        if (busy == 0)
            busy = point->ns > 0
                       ? round_ns((double)ns * ((double)point->contended_ns / (double)point->ns))
                       : ns;
    }
    return load > 0 && busy > ns ? ns + round_ns(load * (double)(busy - ns)) : ns;
}

/* A point as it is while the others compute for a share of the time. */
static inline int64_t point_ns(const CurvePoint *point, double load, bool single_block)
{
    bool plain = point->contended_ns <= point->ns && (!single_block || !point->single_block_ns);

    return plain ? point->ns : elsewhere(point, load, single_block);
}

static inline Cost cost_with(int64_t ns, double spread)
{
    return (Cost){.ns = ns, .spread = spread};
}

/* False when x is outside the curve and may not be extrapolated. */
static bool curve_at(const Curve *curve, int64_t x, bool extrapolate, double load,
                     bool single_block, Cost *out)
{
    const CurvePoint *p = curve->points;
    int               n = curve->count, i = 0;

    while (i < n && p[i].x < x) i++;
    if (i < n && p[i].x == x) {
        *out = cost_with(point_ns(&p[i], load, single_block), p[i].spread);
    } else if (i > 0 && i < n) {
        *out = cost_with(on_line(p[i - 1].x, point_ns(&p[i - 1], load, single_block), p[i].x,
                                 point_ns(&p[i], load, single_block), x),
                         larger_spread(p[i - 1].spread, p[i].spread));
    } else if (!extrapolate) {
        return false;
    } else if (n == 1) {
        double ratio = p[0].x > 0 ? (double)x / (double)p[0].x : 1;
        *out = cost_with(round_ns((double)point_ns(&p[0], load, single_block) * ratio),
                         p[0].spread);
    } else {
        int at = i == 0 ? 0 : n - 2;
        *out = cost_with(on_line(p[at].x, point_ns(&p[at], load, single_block), p[at + 1].x,
                                 point_ns(&p[at + 1], load, single_block), x),
                         p[i == 0 ? 0 : n - 1].spread);
    }
    return true;
}

/* "measured: 32, 64" for messages; borrowed from buffer. */
static const char *measured(const Curve *curve, char *buffer, size_t size)
{
    size_t used = 0;

    buffer[0] = '\0';
    for (int i = 0; i < curve->count && used + 24 < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%" PRId64, i ? ", " : "",
                                 curve->points[i].x);
    return buffer;
}

/* ---- costs ------------------------------------------------------------- */

/* Costs beyond the points may be continued to any length; sums must not overflow. */
static int check_length(int64_t ns, const char *what, int64_t amount, const char *unit, Error *err)
{
    if (ns <= TRACE_MAX_NS) return 0;
    return error_set(err, "%s: %" PRId64 " %s would take %g s, expected at most 2^47 ns (39 hours)",
                     what, amount, unit, (double)ns * 1e-9);
}

/* "block "x"", or "student "y" of block "x"" where it is one of a list. */
static const char *owner_name(const TraceBlock *b, const TraceStudent *student, char name[256])
{
    if (!student) snprintf(name, 256, "block \"%.200s\"", b->name);
    else
        snprintf(name, 256, "student \"%.100s\" of block \"%.100s\"", student->name, b->name);
    return name;
}

static int work_on(const Scenario *scenario, const Curve *curve, const TraceBlock *b,
                   const TraceStudent *student, int device, int64_t rows, Cost *out, Error *err)
{
    const Trace *trace = scenario->trace;
    const char  *kind = trace->kinds[scenario->kinds[device]].name;
    char         list[256], name[256];

    if (curve->count == 0)
        return error_set(err, "%s has no timings on \"%s\": measure it there",
                         owner_name(b, student, name), kind);
    if (curve_at(curve, rows, scenario->extrapolate, scenario->load, scenario->single_block, out))
        return 0;
    if (!err) return -1;
    return error_set(err, "%s has no timing near batch %" PRId64 " on \"%s\" (measured: %s): "
                     "measure it, or use --extrapolate", owner_name(b, student, name), rows, kind,
                     measured(curve, list, sizeof list));
}

/* Where the block's work on rows is kept; NULL: nowhere. */
static inline WorkCost *kept_work(const Scenario *s, Work work, int block, int device, int64_t rows)
{
    const WorkCache *cache = s->works;

    if (!cache || s->single_block || rows < 0 || rows > cache->batch
        || s->extrapolate != cache->extrapolate || s->trace != cache->trace)
        return NULL;
    if (s->trace->blocks[block].students && work != WORK_TEACHER) return NULL;
    return work_cache_at(cache, work, block, s->kinds[device], rows);
}

/* The cost of work by the device, of what it is by the curve. */
static inline int slow_down(const Scenario *s, int block, int device, int64_t rows, Cost *cost,
                            Error *err)
{
    if (s->trace->slowdown) cost->ns = round_ns((double)cost->ns * s->trace->slowdown[device]);
    return check_length(cost->ns, s->trace->blocks[block].name, rows, "rows", err);
}

/* Adds times work on rows, if any, to *sum. */
static int add_work(const Scenario *scenario, Work work, int block, int student, int device,
                    int64_t rows, int64_t times, Cost *sum, Error *err)
{
    const TraceBlock   *b = &scenario->trace->blocks[block];
    const TraceStudent *listed = b->students && work != WORK_TEACHER ? &b->students[student] : NULL;
    const Curve        *curve = &(listed ? listed->work : b->work)[work][scenario->kinds[device]];
    WorkCost           *kept = kept_work(scenario, work, block, device, rows);
    Cost                one;

    if (times == 0) return 0;
    if (kept && kept->ns >= 0) one = cost_with(kept->ns, kept->spread);
    else if (work_on(scenario, curve, b, listed, device, rows, &one, err) != 0) return -1;
    if (kept) *kept = (WorkCost){one.ns, one.spread};
    if (slow_down(scenario, block, device, rows, &one, err) != 0) return -1;
    sum->ns += times * one.ns;
    sum->spread = larger_spread(sum->spread, one.spread);
    return times > 1 ? check_length(sum->ns, b->name, rows, "rows in several parts", err) : 0;
}

int scenario_student_work(const Scenario *scenario, Work work, int block, int student, int device,
                          int64_t rows, Cost *out, Error *err)
{
    int64_t parts = micro_parts(scenario->trace->micro_batches, rows), large, few;

    *out = (Cost){0};
    if (parts == 1 || work == WORK_TEACHER || work == WORK_UPDATE)
        return add_work(scenario, work, block, student, device, rows, 1, out, err);
    large = rows % parts;
    few = rows / parts;
    if (work == WORK_FORWARD)
        return add_work(scenario, work, block, student, device, few + (large > 0), 1, out, err);
    if (add_work(scenario, WORK_BACKWARD, block, student, device, few + 1, large, out, err) != 0
        || add_work(scenario, WORK_BACKWARD, block, student, device, few, parts - large, out, err)
               != 0
        || add_work(scenario, WORK_FORWARD, block, student, device, few + 1,
                    large > 0 ? large - 1 : 0, out, err)
               != 0)
        return -1;
    return add_work(scenario, WORK_FORWARD, block, student, device, few,
                    parts - large - (large == 0), out, err);
}

int scenario_work(const Scenario *scenario, Work work, int block, int device, int64_t rows,
                  Cost *out, Error *err)
{
    const WorkCost *kept = kept_work(scenario, work, block, device, rows);
    int             students;
    Cost            all = {0};

    if (kept && kept->ns >= 0 && scenario->trace->micro_batches < 2) {
        *out = cost_with(kept->ns, kept->spread);
        return slow_down(scenario, block, device, rows, out, err);
    }
    students = work == WORK_TEACHER ? 1 : trace_students(&scenario->trace->blocks[block]);
    if (students == 1)
        return scenario_student_work(scenario, work, block, 0, device, rows, out, err);
    for (int j = 0; j < students; j++) {
        if (scenario_student_work(scenario, work, block, j, device, rows, out, err) != 0) return -1;
        all.ns += out->ns;
        if (check_length(all.ns, scenario->trace->blocks[block].name, rows, "rows", err) != 0)
            return -1;
        all.spread = larger_spread(all.spread, out->spread);
    }
    *out = all;
    return 0;
}

int64_t scenario_load_ns(const Scenario *scenario, int64_t rows)
{
    const TraceLoader *loader = &scenario->trace->loader;

    return loader->present ? loader->batch_ns + round_ns(loader->sample_ns * (double)rows) : 0;
}

int scenario_node(const Scenario *scenario, int device)
{
    int per_node = scenario->trace->devices_per_node;

    return per_node ? device / per_node : 0;
}

int scenario_nodes(const Scenario *scenario)
{
    return scenario_node(scenario, scenario->device_count - 1) + 1;
}

bool scenario_same_speed(const Scenario *scenario, int a, int b)
{
    const double *slowdown = scenario->trace->slowdown;

    return scenario->kinds[a] == scenario->kinds[b] && (!slowdown || slowdown[a] == slowdown[b]);
}

bool scenario_same_type(const Scenario *scenario, int a, int b)
{
    return scenario_same_speed(scenario, a, b)
           && scenario->memory_bytes[a] == scenario->memory_bytes[b]
           && scenario_node(scenario, a) == scenario_node(scenario, b);
}

int scenario_p2p(const Scenario *scenario, int from, int to, int boundary, int64_t rows,
                 int64_t *ns, Error *err)
{
    const Trace *trace = scenario->trace;
    bool         across = scenario_node(scenario, from) != scenario_node(scenario, to);
    const Curve *curve = across ? &trace->node_links.p2p : &trace->links.p2p;
    int64_t      bytes = trace_boundary_bytes(trace, boundary);
    Cost         cost = {0};
    char         list[256];

    *ns = 0;
    if (bytes == TRACE_ABSENT || curve->count == 0) return 0;
    if (__builtin_mul_overflow(bytes, rows, &bytes))
        return error_set(err, "boundary %d: %" PRId64 " rows overflow the byte count", boundary,
                         rows);
    if (!curve_at(curve, bytes, scenario->extrapolate, 0, false, &cost))
        return !err ? -1
                    : error_set(err,
                                "%sp2p has no point near %" PRId64 " bytes (boundary %d, %" PRId64
                                " rows; measured: %s): measure it, or use --extrapolate",
                                across ? "nodes." : "", bytes, boundary, rows,
                                measured(curve, list, sizeof list));
    *ns = cost.ns;
    return check_length(*ns, "p2p", bytes, "bytes", err);
}

int scenario_p2p_core(const Scenario *scenario, MessageEnd end, int from, int to, int boundary,
                      int64_t rows, int64_t *ns, Error *err)
{
    const Trace      *trace = scenario->trace;
    bool              across = scenario_node(scenario, from) != scenario_node(scenario, to);
    const TraceLinks *links = across ? &trace->node_links : &trace->links;
    const Curve      *curve = end == SENDER_CORE ? &links->sender_core : &links->receiver_core;
    int64_t           message_ns, bytes = trace_boundary_bytes(trace, boundary);
    Cost              cost = {0};

    *ns = 0;
    if (!trace->transfers_on_device || curve->count == 0 || bytes == TRACE_ABSENT) return 0;
    if (scenario_p2p(scenario, from, to, boundary, rows, &message_ns, err) != 0) return -1;
    /* the same points as those of the message */
    if (curve_at(curve, bytes * rows, scenario->extrapolate, 0, false, &cost)) *ns = cost.ns;
    return check_length(*ns, "p2p", bytes * rows, "bytes on a core", err);
}

static bool one_reduce_at(const TraceReduce *reduce, int64_t bytes, bool extrapolate, bool core,
                          Cost *out)
{
    *out = (Cost){0};
    if (core && reduce->core.count == 0) return true;
    return curve_at(core ? &reduce->core : &reduce->curve, bytes, extrapolate, 0, false, out);
}

/* The curve of count devices, or the two it lies between; core: of what it takes of a core. */
static bool reduce_at(const TraceLinks *links, int count, int64_t bytes, bool extrapolate,
                      bool core, int64_t *ns)
{
    int  i = 0;
    Cost low = {0}, high = {0};

    while (i < links->reduce_count && links->reduces[i].devices < count) i++;
    if (i < links->reduce_count && links->reduces[i].devices == count) {
        if (!one_reduce_at(&links->reduces[i], bytes, extrapolate, core, &high)) return false;
        *ns = high.ns;
        return true;
    }
    if (i == 0 || i == links->reduce_count) {
        if (!extrapolate) return false;
        const TraceReduce *nearest = &links->reduces[i == 0 ? 0 : i - 1];
        if (!one_reduce_at(nearest, bytes, true, core, &high)) return false;
        *ns = high.ns;
        return true;
    }
    const TraceReduce *a = &links->reduces[i - 1], *b = &links->reduces[i];
    if (!one_reduce_at(a, bytes, extrapolate, core, &low)) return false;
    if (!one_reduce_at(b, bytes, extrapolate, core, &high)) return false;
    *ns = on_line(a->devices, low.ns, b->devices, high.ns, count);
    return true;
}

/* The links that a group's all-reduces cross: those between nodes where it is on several. */
static const TraceLinks *links_of(const Scenario *scenario, const int *devices, int count)
{
    const Trace *trace = scenario->trace;
    bool         across = false;

    for (int i = 1; i < count && !across && trace->devices_per_node; i++)
        across = scenario_node(scenario, devices[i]) != scenario_node(scenario, devices[0]);
    return across ? &trace->node_links : &trace->links;
}

/* core: what it takes of each member's core, else its time. */
static int allreduce_at(const Scenario *scenario, const int *devices, int count, int block,
                        int student, bool core, int64_t *ns, Error *err)
{
    const TraceBlock *b = &scenario->trace->blocks[block];
    const TraceLinks *links = links_of(scenario, devices, count);
    int64_t           bytes = b->students ? b->students[student].gradient_bytes : b->gradient_bytes;
    char              name[256];

    *ns = 0;
    if (count < 2 || links->reduce_count == 0 || bytes == TRACE_ABSENT) return 0;
    if (reduce_at(links, count, bytes, scenario->extrapolate, core, ns))
        return check_length(*ns, "allreduce", bytes, "bytes", err);
    return error_set(err,
                     "%sallreduce has no point near %" PRId64 " bytes on %d devices (gradients of "
                     "%s): measure it, or use --extrapolate",
                     links == &scenario->trace->node_links ? "nodes." : "", bytes, count,
                     owner_name(b, b->students ? &b->students[student] : NULL, name));
}

int scenario_student_allreduce(const Scenario *scenario, const int *devices, int count, int block,
                               int student, int64_t *ns, Error *err)
{
    return allreduce_at(scenario, devices, count, block, student, false, ns, err);
}

int scenario_student_allreduce_core(const Scenario *scenario, const int *devices, int count,
                                    int block, int student, int64_t *ns, Error *err)
{
    *ns = 0;
    return scenario->trace->transfers_on_device
               ? allreduce_at(scenario, devices, count, block, student, true, ns, err)
               : 0;
}

int scenario_allreduce(const Scenario *scenario, const int *devices, int count, int block,
                       int64_t *ns, Error *err)
{
    int64_t sum = 0;

    for (int j = 0; j < trace_students(&scenario->trace->blocks[block]); j++) {
        if (scenario_student_allreduce(scenario, devices, count, block, j, ns, err) != 0) return -1;
        sum += *ns;
        if (check_length(sum, "allreduce", count, "devices", err) != 0) return -1;
    }
    *ns = sum;
    return 0;
}

/* ---- tiers ----------------------------------------------------------------- */

/* Whole nanoseconds of times that are in ns as doubles. */
static int whole_ns(int64_t *out, const double *ns, const TraceTier *tier, int count, Error *err)
{
    for (int q = 0; q < count; q++) {
        if (ns[q] > (double)TRACE_MAX_NS)
            return error_set(err,
                             "a request to storage \"%.64s\" would take %g s, expected at most "
                             "2^47 ns (39 hours)",
                             tier->name, ns[q] * 1e-9);
        out[q] = round_ns(ns[q]);
    }
    return 0;
}

int scenario_request(const Scenario *scenario, int tier, bool write, int boundary, int64_t rows,
                     int64_t *ns, Error *err)
{
    const TraceRequests *r = scenario_requests(scenario, tier, write);
    const TraceTier     *t = &scenario->trace->tiers[tier];
    int64_t              bytes = trace_stored_bytes(scenario->trace, boundary), value = 0;
    double               times[TRACE_MAX_IN_FLIGHT] = {0};
    const char          *what = "";

    if (bytes > 0 && !tier_request(times, r, bytes, rows, scenario->extrapolate, &what, &value))
        return error_set(err,
                         "storage \"%.64s\" has no %s of %" PRId64 " %s (boundary %d, %" PRId64
                         " rows of %" PRId64 " bytes): measure "
                         "it, or use --extrapolate",
                         t->name, write ? "write" : "read", value, what, boundary, rows, bytes);
    return whole_ns(ns, times, t, r->in_flight_count, err);
}

int scenario_stream(const Scenario *scenario, int tier, bool write, int64_t bytes, int64_t *ns,
                    Error *err)
{
    const TraceRequests *r = scenario_requests(scenario, tier, write);
    double               times[TRACE_MAX_IN_FLIGHT];

    tier_stream(times, r, bytes);
    return whole_ns(ns, times, &scenario->trace->tiers[tier], r->in_flight_count, err);
}

/* ---- what is not there --------------------------------------------------- */

/* A line for each kind of byte count that some blocks lack. */
static void missing_bytes(const Trace *trace, Text *out)
{
    int boundaries = 0, weights = 0, activations = 0, gradients = 0;

    for (int b = 0; b < trace->block_count; b++) {
        const TraceBlock *block = &trace->blocks[b];
        boundaries += block->output_bytes == TRACE_ABSENT;
        bool gradient = true, weight = block->teacher_weight_bytes != TRACE_ABSENT;
        bool activation = block->teacher_activation_bytes != TRACE_ABSENT;
        for (int j = 0; j < trace_students(block); j++) {
            TraceStudent student = trace_student(block, j);
            gradient &= student.gradient_bytes != TRACE_ABSENT;
            weight &= student.weight_bytes != TRACE_ABSENT;
            activation &= student.activation_bytes != TRACE_ABSENT;
        }
        gradients += !gradient;
        weights += !weight;
        activations += !activation;
    }
    if (boundaries)
        text_printf(
            out, "no output_bytes for %d of %d blocks: their relays take no time and no memory\n",
            boundaries, trace->block_count);
    if (gradients)
        text_printf(out, "no gradient_bytes for %d of %d blocks: their all-reduces take no time\n",
                    gradients, trace->block_count);
    if (weights || activations)
        text_printf(
            out, "no weight or activation bytes for %d of %d blocks: memory is counted too low\n",
            weights > activations ? weights : activations, trace->block_count);
}

void scenario_missing(const Scenario *scenario, Text *out)
{
    const Trace *trace = scenario->trace;
    bool nodes = trace->devices_per_node && scenario->device_count > trace->devices_per_node;
    bool         within = !nodes || trace->devices_per_node > 1;
    bool         spread = trace_has_stalls(trace);

    for (int b = 0; b < trace->block_count; b++)
        for (int kind = 0; kind < trace->kind_count; kind++)
            for (int i = 0; i < trace->blocks[b].work[0][kind].count; i++)
                spread |= trace->blocks[b].work[0][kind].points[i].spread > 0;
    if (!trace->loader.present)
        text_append(out, "no loader cost in this trace: loading takes no time\n");
    if (within && trace->links.p2p.count == 0)
        text_append(out, "no p2p in this trace: relays take no time\n");
    if (within && trace->links.reduce_count == 0)
        text_append(out, "no allreduce in this trace: summing gradients takes no time\n");
    if (nodes && trace->node_links.p2p.count == 0)
        text_append(out, "no nodes.p2p in this trace: relays between nodes take no time\n");
    if (nodes && trace->node_links.reduce_count == 0)
        text_append(out, "no nodes.allreduce in this trace: summing across nodes takes no time\n");
    if (trace->input_bytes == TRACE_ABSENT)
        text_append(out, "no input_bytes in this trace: the input takes no memory\n");
    missing_bytes(trace, out);
    for (int device = 0; device < scenario->device_count; device++)
        if (!scenario->memory_bytes[device]) {
            text_append(out, "no memory limit for some devices: every plan fits there\n");
            break;
        }
    if (scenario->device_count > 1 && strcmp(trace->provenance_kind, "measured") == 0
        && !trace->contended)
        text_append(out, "no contended times in this trace: devices do not slow each other down\n");
    if (!spread) text_append(out, "no spread in this trace: every step takes the same time\n");
}
