#include "planner/stages/stage_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/stages/stage_memory.h"

#define MAX_PEAKS ((size_t)32 << 20)     /* entries of tables of maxima; then by loops */

enum { LANE_CLASSES = 16 };      /* of devices; where there are more, by loops */

typedef struct { int64_t teacher, student, update; } BlockSums;   /* of the blocks before */

/* A device in a group: what its compute depends on. */
typedef struct {
    const BlockSums    *sums;         /* [blocks + 1] */
    const int     *gap;          /* [blocks + 1] first block from here on without a timing */
    const int64_t *reduce;       /* [blocks + 1] sums of all-reduces */
    const int     *reduce_gap;
    const int64_t *peaks;        /* [levels][blocks] or NULL */
    bool           hidden;       /* no all-reduce is longer than the next backward */
} TableReplica;

/* LANE_HIDDEN: no all-reduce is longer than the next backward. */
typedef enum { LANE_UNKNOWN, LANE_HIDDEN, LANE_SHOWS } LaneKind;

struct StageTable {
    const Scenario *scenario;
    CostKind kind;
    bool     blocking, uniform;
    int64_t  step_ns;            /* a step's own time */
    int      blocks, max_width, links;   /* links: 1, or 2 with slower ones between nodes */
    int      row_count, class_count;
    int64_t *rows;               /* [row_count] the shares that occur, descending */
    int     *row_of;             /* [max_width + 1][2] index of the larger, the smaller share */
    int     *decisive;           /* [max_width + 1] replicas to look at as having the larger
                                  * share: those that do, or all where it decides */
    int     *node_of;            /* [devices] */
    int     *class_of;           /* [devices] devices of a kind and slowdown */
    int     *run_end;            /* [devices] first device after it of another class */
    BlockSums    *sums;               /* [class][row][blocks + 1] */
    int     *gaps;               /* [class][row][blocks + 1] */
    int64_t *reduces;            /* [link][max_width + 1][blocks + 1] */
    int     *reduce_gaps;        /* [link][max_width + 1][blocks + 1] */
    int64_t *messages;           /* [link][row][blocks + 1], STAGE_IMPOSSIBLE: not known */
    int64_t *loads;              /* [row] */
    LaneKind *lanes;             /* [class][link][max_width + 1][2], looked at when asked for; NULL:
                                  * by loops */
    int64_t **peaks;             /* the same: of those that are LANE_SHOWS, or NULL */
    size_t   *entries;           /* of all peaks */
    int     *widths;
    int      width_count;
    StageMemory *memory;         /* NULL: no device has a limit */
};

/* ---- where things are ------------------------------------------------------------ */

static size_t work_at(const StageTable *t, int class, int row)
{
    return ((size_t)class * (size_t)t->row_count + (size_t)row) * (size_t)(t->blocks + 1);
}

static size_t reduce_at(const StageTable *t, int link, int width)
{
    return ((size_t)link * (size_t)(t->max_width + 1) + (size_t)width) * (size_t)(t->blocks + 1);
}

static size_t message_at(const StageTable *t, int link, int row, int boundary)
{
    return ((size_t)link * (size_t)t->row_count + (size_t)row) * (size_t)(t->blocks + 1)
           + (size_t)boundary;
}

static size_t lane_at(const StageTable *t, int class, int link, int width, int smaller)
{
    size_t of_class = (size_t)class * (size_t)t->links + (size_t)link;

    return (of_class * (size_t)(t->max_width + 1) + (size_t)width) * 2 + (size_t)smaller;
}

static size_t lane_count(const StageTable *t) { return lane_at(t, t->class_count, 0, 0, 0); }

static int link_between(const StageTable *t, int a, int b)
{
    return t->node_of[a] != t->node_of[b];
}

/* ---- the cost ---------------------------------------------------------------------- */

/* Greatest of S[a+1] - R[a], a in first..last. */
static int64_t lane_peak(const StageTable *t, const TableReplica *r, int first, int last)
{
    int64_t peak = r->sums[last + 1].student - r->reduce[last];

    if (r->hidden || first == last) return peak;
    if (r->peaks) {
        int            level = 31 - __builtin_clz((unsigned)(last - first + 1));
        const int64_t *of_level = r->peaks + (size_t)level * (size_t)t->blocks;
        return larger(of_level[first], of_level[last + 1 - (1 << level)]);
    }
    for (int a = first; a < last; a++) peak = larger(peak, r->sums[a + 1].student - r->reduce[a]);
    return peak;
}

/* A floor leaves the last update out after the lane: the longer stage's may be shorter. */
static int64_t compute(const StageTable *t, const TableReplica *r, int first, int last, bool floor)
{
    const BlockSums *from = &r->sums[first], *to = &r->sums[last + 1];

    if (r->gap[first] <= last || r->reduce_gap[first] <= last) return STAGE_IMPOSSIBLE;
    int64_t teacher = to->teacher - from->teacher, student = to->student - from->student;
    int64_t reduce = r->reduce[last + 1] - r->reduce[first], ns = teacher + student;
    int64_t updates = r->sums[last].update - from->update,
            update = to->update - r->sums[last].update;
    ns += t->step_ns;
    if (t->blocking) return ns + reduce + updates + update;
    if (reduce == 0) return ns + updates + update;
    int64_t lane = teacher + r->reduce[last + 1] - from->student + lane_peak(t, r, first, last);
    return larger(ns + updates + update, lane + t->step_ns + (floor ? 0 : update));
}

/* Whether every device can hold its share; floor: what grows with the stage. Devices of a
 * class have the same memory, and the first ones have the most rows. */
static bool fits(const StageTable *t, int first, int last, int device, int width, bool floor)
{
    int64_t (*bytes)(const StageMemory *, int, int, int64_t) =
        floor ? stage_memory_floor : stage_memory_bytes;
    int     more = device + (int)(t->scenario->batch % width), end = device + width;

    for (int d = device; t->memory && d < end; d = t->run_end[d]) {
        int64_t limit = t->scenario->memory_bytes[d];
        int64_t rows = t->rows[t->row_of[2 * width + (d >= more)]];
        if (limit && bytes(t->memory, first, last, rows) > limit) return false;
    }
    return true;
}

static int64_t load(const StageTable *t, int first, int row, int width)
{
    const TraceLoader *loader = &t->scenario->trace->loader;

    if (first > 0 || !loader->present || t->kind == COST_PAPER) return 0;
    int64_t ns = t->loads[row];
    int     ahead = trace_loader_ahead(loader, width),
        in_flight = ahead < loader->lanes ? ahead : loader->lanes;
    if (in_flight == 0)
        return t->kind == COST_BOUND ? ns : ns * ((width + loader->lanes - 1) / loader->lanes);
    return t->kind == COST_BOUND ? ns / in_flight
                                 : larger(ns / in_flight, ns * width / loader->lanes);
}

/* Maxima of a lane's terms over 1, 2, 4, ... blocks; NULL without memory. */
static int64_t *build_peaks(const StageTable *t, const TableReplica *r)
{
    size_t   n = (size_t)t->blocks;
    int      levels = 32 - __builtin_clz((unsigned)t->blocks);
    int64_t *peaks = malloc((size_t)levels * n * sizeof *peaks);

    if (!peaks) return NULL;
    for (int a = 0; a < t->blocks; a++) peaks[a] = r->sums[a + 1].student - r->reduce[a];
    for (int level = 1; level < levels; level++) {
        const int64_t *below = peaks + (size_t)(level - 1) * n;
        int            half = 1 << (level - 1);
        for (int a = 0; a + 2 * half <= t->blocks; a++)
            peaks[(size_t)level * n + (size_t)a] = larger(below[a], below[a + half]);
    }
    return peaks;
}

/* Which kind a lane is, and its maxima, unless those are too many. */
static void look_at_lane(const StageTable *t, size_t lane, const TableReplica *r)
{
    size_t each = (size_t)t->blocks * (size_t)(32 - __builtin_clz((unsigned)t->blocks));
    bool   hidden = true;

    for (int a = 1; a < t->blocks && hidden; a++)
        hidden = r->sums[a + 1].student - r->sums[a].student >= r->reduce[a] - r->reduce[a - 1];
    t->lanes[lane] = hidden ? LANE_HIDDEN : LANE_SHOWS;
    if (hidden || *t->entries + each > MAX_PEAKS) return;
    t->peaks[lane] = build_peaks(t, r);
    if (t->peaks[lane]) *t->entries += each;
}

static TableReplica replica(const StageTable *t, int class, int width, int smaller, int link)
{
    size_t work = work_at(t, class, t->row_of[2 * width + smaller]),
           reduce = reduce_at(t, link, width);
    size_t lane = lane_at(t, class, link, width, smaller);

    TableReplica r = {&t->sums[work], &t->gaps[work], &t->reduces[reduce],
                      &t->reduce_gaps[reduce], NULL, false};
    if (!t->lanes) return r;
    if (t->lanes[lane] == LANE_UNKNOWN) look_at_lane(t, lane, &r);
    r.peaks = t->peaks[lane];
    r.hidden = t->lanes[lane] == LANE_HIDDEN;
    return r;
}

/* Replicas that differ: per run of devices of a class, those with the larger share of
 * the rows and, unless they are never slower, those with the smaller. */
static int64_t slowest_replica(const StageTable *t, int first, int last, int device, int width,
                               bool floor)
{
    int     more = device + t->decisive[width], end = device + width;
    int     link = link_between(t, device, end - 1);
    bool    ahead = t->scenario->trace->loader.prefetch > 0;
    int64_t slowest = 0;

    for (int d = device, next; d < end; d = next) {
        int smaller = d >= more;
        next = t->run_end[d] < end ? t->run_end[d] : end;
        if (!smaller && next > more) next = more;
        TableReplica r = replica(t, t->class_of[d], width, smaller, link);
        int64_t ns = compute(t, &r, first, last, floor);
        int64_t loading = load(t, first, t->row_of[2 * width + smaller], width);
        if (ns == STAGE_IMPOSSIBLE) return ns;
        slowest = larger(slowest, ahead ? larger(ns, loading) : ns + loading);
    }
    return slowest;
}

int64_t stage_table_floor(void *table, int first, int last, int device, int width)
{
    const StageTable *t = table;

    if (width > t->max_width || !fits(t, first, last, device, width, true)) return STAGE_IMPOSSIBLE;
    return slowest_replica(t, first, last, device, width, true);
}

/* What a message of this boundary and row takes over each kind of link that devices low..high
 * have to other; the longer. */
static int64_t message(const StageTable *t, int boundary, int row, int low, int high, int other)
{
    int64_t ns = t->messages[message_at(t, link_between(t, low, other), row, boundary)];

    if (t->links == 1) return ns;
    return larger(ns, t->messages[message_at(t, link_between(t, high, other), row, boundary)]);
}

/* A stage's member with the smaller share is the last one. */
int64_t stage_table_end(void *table, int last, int device, int width)
{
    const StageTable *t = table;
    int               end = device + width;

    if (width > t->max_width) return STAGE_IMPOSSIBLE;
    if (t->kind != COST_SIM || last + 1 == t->blocks || end == t->scenario->device_count) return 0;
    return message(t, last + 1, t->row_of[2 * width + 1], end - 1, end - 1, end);
}

/* A step of devices low..high, which have one share of the rows and are of one class. */
static int64_t sim_part(const StageTable *t, const TableReplica *r, int first, int last, int row,
                        int low, int high, int device, int width)
{
    int     end = device + width;
    int64_t ns = compute(t, r, first, last, false), loading = load(t, first, row, width), in = 0,
            out = 0;

    if (first > 0 && device > 0) in = message(t, first, row, low, high, device - 1);
    if (last + 1 < t->blocks && end < t->scenario->device_count)
        out = message(t, last + 1, row, low, high, end);
    if (ns == STAGE_IMPOSSIBLE || in == STAGE_IMPOSSIBLE || out == STAGE_IMPOSSIBLE)
        return STAGE_IMPOSSIBLE;
    ns = t->blocking ? ns + out
                     : larger(ns, r->sums[last + 1].teacher - r->sums[first].teacher + out);
    return larger(t->scenario->trace->loader.prefetch ? larger(ns, loading) : ns + loading, in);
}

static int64_t sim_cost(const StageTable *t, int first, int last, int device, int width)
{
    int     end = device + width,
            more = device + (t->uniform ? t->decisive[width] : (int)(t->scenario->batch % width));
    int     link = link_between(t, device, end - 1);
    int64_t slowest = 0;

    for (int d = device, next; d < end; d = next) {
        int smaller = d >= more, row = t->row_of[2 * width + smaller];
        next = t->run_end[d] < end ? t->run_end[d] : end;
        if (!smaller && next > more) next = more;
        TableReplica r = replica(t, t->class_of[d], width, smaller, link);
        int64_t ns = sim_part(t, &r, first, last, row, d, next - 1, device, width);
        if (ns == STAGE_IMPOSSIBLE) return ns;
        slowest = larger(slowest, ns);
    }
    return slowest;
}

int64_t stage_table_cost(void *table, int first, int last, int device, int width)
{
    const StageTable *t = table;

    if (width > t->max_width || !fits(t, first, last, device, width, false))
        return STAGE_IMPOSSIBLE;
    if (t->kind == COST_SIM) return sim_cost(t, first, last, device, width);
    int64_t ns = slowest_replica(t, first, last, device, width, false);
    if (t->kind == COST_BOUND || ns == STAGE_IMPOSSIBLE || first == 0 || device == 0) return ns;
    int64_t in = t->messages[message_at(t, link_between(t, device - 1, device), 0, first)];
    return in == STAGE_IMPOSSIBLE ? in : ns + in;
}

bool stage_table_uniform(const StageTable *table) { return table->uniform; }

const int *stage_table_widths(const StageTable *table, int *count)
{
    *count = table->width_count;
    return table->widths;
}

/* ---- looking up -------------------------------------------------------------------- */

/* The shares of all widths, without repetition. As width grows both shrink; the
 * smaller of one width may be the larger of the next. */
static void list_rows(StageTable *t)
{
    int64_t batch = t->scenario->batch;

    for (int w = 1; w <= t->max_width; w++)
        for (int smaller = 0; smaller < 2; smaller++) {
            int64_t rows = scenario_share(batch, w, smaller && w > 1 ? w - 1 : 0);
            int     i = t->row_count;
            while (i > 0 && t->rows[i - 1] < rows) i--;
            if (i == 0 || t->rows[i - 1] != rows) t->rows[i = t->row_count++] = rows;
            else i--;
            t->row_of[2 * w + smaller] = i;
        }
}

static double slowdown(const Scenario *s, int device)
{
    return s->trace->slowdown ? s->trace->slowdown[device] : 1;
}

static bool same_class(const Scenario *s, int a, int b)
{
    return s->kinds[a] == s->kinds[b] && slowdown(s, a) == slowdown(s, b);
}

/* Numbers the classes; first[class] is the first device of one. */
static void list_classes(StageTable *t, int *first)
{
    const Scenario *s = t->scenario;

    for (int d = 0; d < s->device_count; d++) {
        int class = 0;
        while (class < t->class_count && !same_class(s, first[class], d)) class++;
        if (class == t->class_count) first[t->class_count++] = d;
        t->class_of[d] = class;
    }
    for (int d = s->device_count - 1; d >= 0; d--) {
        t->node_of[d] = t->links > 1 ? d / s->trace->devices_per_node : 0;
        bool alike = d + 1 < s->device_count && t->class_of[d] == t->class_of[d + 1];
        t->run_end[d] = alike ? t->run_end[d + 1] : d + 1;
    }
}

/* gap[b]: b itself where missing, otherwise the next block's. BlockSums take 0 there. */
static void close_gaps(int *gap, int blocks, const bool *missing)
{
    gap[blocks] = blocks;
    for (int b = blocks - 1; b >= 0; b--) gap[b] = missing[b] ? b : gap[b + 1];
}

/* Sums of work from block 0 to each block, for every class of devices and number of rows, so
 * that a stage's is one subtraction. A block without a time for these rows counts as 0 and is
 * a gap, which makes stages over it impossible. first[class]: a device of the class. missing:
 * [blocks], scratch. */
static void look_up_work(StageTable *t, const int *first, bool *missing)
{
    const Scenario *s = t->scenario;

    for (int class = 0; class < t->class_count; class++)
        for (int row = 0; row < t->row_count; row++) {
            size_t at = work_at(t, class, row);
            BlockSums  *sums = &t->sums[at];
            for (int b = 0; b < t->blocks; b++) {
                Cost c[WORK_COUNT] = {{0}};
                missing[b] = false;
                for (int what = 0; what < WORK_COUNT && !missing[b]; what++)
                    missing[b] =
                        scenario_work(s, (Work)what, b, first[class], t->rows[row], &c[what], NULL)
                        != 0;
                sums[b + 1] = sums[b];
                if (missing[b]) continue;
                sums[b + 1].teacher += c[WORK_TEACHER].ns;
                sums[b + 1].student += c[WORK_FORWARD].ns + c[WORK_BACKWARD].ns;
                sums[b + 1].update += c[WORK_UPDATE].ns;
            }
            close_gaps(&t->gaps[at], t->blocks, missing);
        }
}

/* Two devices joined by a link of this kind. */
static void ends_of(const StageTable *t, int link, int *from, int *to)
{
    *from = 0;
    *to = link ? t->scenario->trace->devices_per_node : 0;
}

static void look_up_messages(StageTable *t)
{
    const Scenario *s = t->scenario;

    for (int link = 0; link < t->links; link++)
        for (int row = 0; row < t->row_count; row++) {
            int from, to;
            ends_of(t, link, &from, &to);
            for (int b = 1; b < t->blocks; b++) {
                int64_t *ns = &t->messages[message_at(t, link, row, b)];
                if (scenario_p2p(s, from, to, b, t->rows[row], ns, NULL) != 0)
                    *ns = STAGE_IMPOSSIBLE;
            }
        }
    for (int row = 0; row < t->row_count; row++) t->loads[row] = scenario_load_ns(s, t->rows[row]);
}

/* As scenario_allreduce() between measured device counts; at[i] is what the i-th
 * count measured gives, -1: nothing. -1: not known. */
static int64_t between_counts(const TraceLinks *links, const int64_t *at, int count,
                              bool extrapolate)
{
    int i = 0;

    while (i < links->reduce_count && links->reduces[i].devices < count) i++;
    if (i < links->reduce_count && links->reduces[i].devices == count) return at[i];
    if (i == 0 || i == links->reduce_count)
        return extrapolate ? at[i == 0 ? 0 : i - 1] : -1;
    if (at[i - 1] < 0 || at[i] < 0) return -1;
    int    low = links->reduces[i - 1].devices, high = links->reduces[i].devices;
    double slope = (double)(at[i] - at[i - 1]) / (double)(high - low);
    double ns = (double)at[i - 1] + slope * (double)(count - low);
    return ns > 0 ? llround(ns) : 0;
}

/* What block's all-reduce takes among each measured number of devices. */
static void measured_counts(const StageTable *t, int link, int block, int *group, int64_t *at)
{
    const Trace      *trace = t->scenario->trace;
    const TraceLinks *links = link ? &trace->node_links : &trace->links;

    for (int i = 0; i < links->reduce_count; i++) {
        int count = links->reduces[i].devices;
        for (int d = 0; d < count; d++) group[d] = 0;
        ends_of(t, link, &group[0], &group[count - 1]);
        if (scenario_allreduce(t->scenario, group, count, block, &at[i], NULL) != 0) at[i] = -1;
    }
}

/* Sums over blocks of all-reduces by link and width, and where the next block is that has none
 * measured. group, at, ns: room to work. */
static void look_up_reduces(StageTable *t, int *group, int64_t *at, int64_t *ns)
{
    const Trace *trace = t->scenario->trace;

    for (int link = 0; link < t->links; link++) {
        const TraceLinks *links = link ? &trace->node_links : &trace->links;
        for (int b = 0; b < t->blocks; b++) {
            bool free = links->reduce_count == 0 || trace->blocks[b].gradient_bytes == TRACE_ABSENT;
            free |= !stage_counts_reduce(t->scenario, t->kind, b);
            if (!free) measured_counts(t, link, b, group, at);
            for (int w = 1; w <= t->max_width; w++) {
                bool none = free || w < 2;
                ns[w] = none ? 0 : between_counts(links, at, w, t->scenario->extrapolate);
                int64_t *sum = &t->reduces[reduce_at(t, link, w)];
                sum[b + 1] = sum[b] + larger(ns[w], 0);
                t->reduce_gaps[reduce_at(t, link, w) + (size_t)b] = ns[w] < 0;
            }
        }
        for (int w = 1; w <= t->max_width; w++) {    /* from marks to the next mark */
            int *gap = &t->reduce_gaps[reduce_at(t, link, w)];
            gap[t->blocks] = t->blocks;
            for (int b = t->blocks - 1; b >= 0; b--) gap[b] = gap[b] ? b : gap[b + 1];
        }
    }
}

/* ---- widths worth trying --------------------------------------------------------------- */

/* No part of any block takes longer on the smaller share of width than on the larger,
 * so that the larger share decides what a stage costs. */
static bool larger_share_decides(const StageTable *t, int width)
{
    int         hi = t->row_of[2 * width], lo = t->row_of[2 * width + 1];
    const BlockSums *a = &t->sums[work_at(t, 0, hi)], *b = &t->sums[work_at(t, 0, lo)];

    if (hi == lo) return true;
    if (t->gaps[work_at(t, 0, lo)] < t->blocks || t->loads[lo] > t->loads[hi]) return false;
    for (int i = 0; i < t->blocks; i++)
        if (b[i + 1].teacher - b[i].teacher > a[i + 1].teacher - a[i].teacher
            || b[i + 1].student - b[i].student > a[i + 1].student - a[i].student
            || b[i + 1].update - b[i].update > a[i + 1].update - a[i].update
            || t->messages[message_at(t, 0, lo, i)] > t->messages[message_at(t, 0, hi, i)])
            return false;
    return true;
}

static void list_decisive(StageTable *t)
{
    for (int w = 1; w <= t->max_width; w++)
        t->decisive[w] =
            t->class_count == 1 && larger_share_decides(t, w) ? w : (int)(t->scenario->batch % w);
}

/* Every all-reduce among wide devices takes as long as among narrow, or longer. */
static bool reduces_grow(const StageTable *t, int narrow, int wide)
{
    const int64_t *a = &t->reduces[reduce_at(t, 0, narrow)],
                  *b = &t->reduces[reduce_at(t, 0, wide)];

    if (t->reduce_gaps[reduce_at(t, 0, narrow)] < t->blocks) return false;
    for (int i = 0; i < t->blocks; i++)
        if (a[i + 1] - a[i] > b[i + 1] - b[i]) return false;
    return true;
}

/* Width w is left out when the last one kept has the same larger share, which decides
 * its cost, and shorter all-reduces: w's slowest device has that share too, and takes
 * as long or longer. (More lanes' worth of loading can only add to w.) */
static void list_widths(StageTable *t)
{
    for (int w = 1; w <= t->max_width; w++) {
        int kept = t->width_count ? t->widths[t->width_count - 1] : 0;
        if (kept && t->uniform && t->row_of[2 * kept] == t->row_of[2 * w]
            && t->decisive[kept] == kept && reduces_grow(t, kept, w))
            continue;
        t->widths[t->width_count++] = w;
    }
}

/* ---- making and freeing ------------------------------------------------------------------ */

static int allocate(StageTable *t, Error *err)
{
    size_t n = (size_t)t->blocks + 1, g = (size_t)t->scenario->device_count,
           w = (size_t)t->max_width + 1;
    size_t links = (size_t)t->links;

    t->rows = calloc(2 * w, sizeof *t->rows);
    t->row_of = calloc(2 * w, sizeof *t->row_of);
    t->widths = calloc(w, sizeof *t->widths);
    t->decisive = calloc(w, sizeof *t->decisive);
    t->node_of = calloc(g, sizeof *t->node_of);
    t->class_of = calloc(g, sizeof *t->class_of);
    t->run_end = calloc(g, sizeof *t->run_end);
    t->reduces = calloc(links * w * n, sizeof *t->reduces);
    t->reduce_gaps = calloc(links * w * n, sizeof *t->reduce_gaps);
    if (t->rows && t->row_of && t->widths && t->decisive && t->node_of && t->class_of && t->run_end
        && t->reduces && t->reduce_gaps) return 0;
    return error_no_memory(err);
}

/* What depends on how many different rows and classes there are. */
static int allocate_work(StageTable *t, Error *err)
{
    size_t n = (size_t)t->blocks + 1, rows = (size_t)t->row_count, classes = (size_t)t->class_count;

    t->sums = calloc(classes * rows * n, sizeof *t->sums);
    t->gaps = calloc(classes * rows * n, sizeof *t->gaps);
    t->messages = calloc((size_t)t->links * rows * n, sizeof *t->messages);
    t->loads = calloc(rows, sizeof *t->loads);
    if (!t->sums || !t->gaps || !t->messages || !t->loads) return error_no_memory(err);
    if (t->blocking || t->class_count > LANE_CLASSES) return 0;
    t->lanes = calloc(lane_count(t), sizeof *t->lanes);
    t->peaks = calloc(lane_count(t), sizeof *t->peaks);
    t->entries = calloc(1, sizeof *t->entries);
    return t->lanes && t->peaks && t->entries ? 0 : error_no_memory(err);
}

static int most_measured(const Trace *trace)
{
    const TraceLinks *a = &trace->links, *b = &trace->node_links;
    int most = 2;

    if (a->reduce_count) most = a->reduces[a->reduce_count - 1].devices;
    if (b->reduce_count && b->reduces[b->reduce_count - 1].devices > most)
        most = b->reduces[b->reduce_count - 1].devices;
    return most;
}

/* Looks up all that stages are priced from, as sums over blocks: work, messages, all-reduces,
 * memory, lanes. */
static int fill(StageTable *t, Error *err)
{
    const Trace *trace = t->scenario->trace;
    size_t   counts = (size_t)(trace->links.reduce_count + trace->node_links.reduce_count) + 1;
    int     *first = calloc((size_t)t->scenario->device_count, sizeof *first);
    int     *group = calloc((size_t)most_measured(trace), sizeof *group);
    bool    *missing = calloc((size_t)t->blocks, sizeof *missing);
    int64_t *at = calloc(counts, sizeof *at), *ns = calloc((size_t)t->max_width + 1, sizeof *ns);
    int      rc = -1;

    if (!first || !group || !missing || !at || !ns) { error_no_memory(err); goto done; }
    list_rows(t);
    list_classes(t, first);
    t->uniform = t->class_count == 1 && t->links == 1;
    if (allocate_work(t, err) != 0) goto done;
    look_up_work(t, first, missing);
    look_up_messages(t);
    look_up_reduces(t, group, at, ns);
    list_decisive(t);
    list_widths(t);
    if (stage_memory_limited(t->scenario) && stage_memory_build(&t->memory, t->scenario, err) != 0)
        goto done;
    rc = 0;
done:
    free(first);
    free(group);
    free(missing);
    free(at);
    free(ns);
    return rc;
}

int stage_table_build(StageTable **out, const Scenario *scenario, CostKind kind, int max_width,
                      Error *err)
{
    const Trace *trace = scenario->trace;
    StageTable  *t = calloc(1, sizeof *t);

    *out = NULL;
    if (!t) return error_no_memory(err);
    t->scenario = scenario;
    t->kind = kind;
    t->blocking = trace->blocking_transfers || kind == COST_PAPER;
    t->step_ns = kind == COST_PAPER ? 0 : trace->step_ns;
    t->blocks = trace->block_count;
    t->max_width = max_width < scenario->batch ? max_width : (int)scenario->batch;
    t->links = trace->devices_per_node && scenario->device_count > trace->devices_per_node ? 2 : 1;
    if (allocate(t, err) != 0 || fill(t, err) != 0) {
        stage_table_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void stage_table_free(StageTable *t)
{
    if (!t) return;
    for (size_t i = 0; t->peaks && i < lane_count(t); i++) free(t->peaks[i]);
    free(t->peaks);
    free(t->lanes);
    free(t->entries);
    free(t->rows);
    free(t->row_of);
    free(t->widths);
    free(t->decisive);
    free(t->node_of);
    free(t->class_of);
    free(t->run_end);
    free(t->sums);
    free(t->gaps);
    free(t->reduces);
    free(t->reduce_gaps);
    free(t->messages);
    free(t->loads);
    stage_memory_free(t->memory);
    free(t);
}
