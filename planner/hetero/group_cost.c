#include "planner/hetero/group_cost.h"

#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/stages/stage_memory.h"

#define MAX_CACHE ((size_t)256 << 20)        /* bytes of rows looked up; then anew */

typedef struct { int64_t teacher, student, update; } GroupSums;   /* of the blocks before */

/* What a class takes for so many rows. */
typedef struct {
    int     class;
    int64_t rows;                /* 0: an empty place in the cache */
    GroupSums   *sums;                /* [blocks + 1] */
    int    *gap;                 /* [blocks + 1] first block from here on without a timing */
    int64_t *messages;           /* [2][blocks + 1] of each boundary: within a node, across */
    signed char *hidden;         /* [2][devices + 1] no all-reduce of so many devices is longer than
                                  * the next student: 1; some is: -1; 0: not looked at */
} GroupRow;

/* All-reduces among so many devices. */
typedef struct {
    int64_t *sums;               /* [blocks + 1]; NULL: not looked up yet */
    int     *gap;                /* [blocks + 1] */
} GroupReduce;

struct GroupCosts {
    const Scenario *scenario;
    CostKind kind;
    bool     blocking, monotone, optimistic, failed;
    int      blocks, classes;
    int     *class_of;           /* [devices] */
    int     *first;              /* [classes] its first device */
    int     *counts;             /* [classes] */
    GroupRow     *cache;              /* [capacity] by hash, a power of two */
    size_t   capacity, used;
    GroupReduce  *reduces;            /* [2][devices + 1]: within a node, across */
    int     *some;               /* [devices] for a group to ask about */
    int64_t *ranges;             /* [2][classes] least and most rows of a member */
    StageMemory *memory;         /* NULL: no device has a limit */
};

/* ---- classes --------------------------------------------------------------------- */

static bool alike(const Scenario *s, int a, int b)
{
    return scenario_same_speed(s, a, b) && s->memory_bytes[a] == s->memory_bytes[b];
}

bool scenario_is_mixed(const Scenario *s)
{
    for (int d = 1; d < s->device_count; d++)
        if (!alike(s, 0, d)) return true;
    return false;
}

static void list_classes(GroupCosts *g)
{
    for (int d = 0; d < g->scenario->device_count; d++) {
        int c = 0;
        while (c < g->classes && !alike(g->scenario, g->first[c], d)) c++;
        if (c == g->classes) g->first[g->classes++] = d;
        g->class_of[d] = c;
        g->counts[c]++;
    }
}

/* ---- times that do not fall ---------------------------------------------------------- */

/* Alone, or while the others compute. */
static bool falls(const Curve *curve)
{
    for (int i = 1; i < curve->count; i++) {
        const CurvePoint *p = &curve->points[i];
        if (p[0].ns < p[-1].ns
            || larger(p[0].ns, p[0].contended_ns) < larger(p[-1].ns, p[-1].contended_ns))
            return true;
    }
    return false;
}

/* Of a block, or of one of the students it lists. */
static const Curve *curve_of(const TraceBlock *block, Work what, int student, int kind)
{
    return block->students && what != WORK_TEACHER ? &block->students[student].work[what][kind]
                                                   : &block->work[what][kind];
}

static int curves_of(const TraceBlock *block, Work what)
{
    return what == WORK_TEACHER ? 1 : trace_students(block);
}

static bool work_falls(const TraceBlock *block, Work what, int kind)
{
    for (int j = 0; j < curves_of(block, what); j++)
        if (falls(curve_of(block, what, j, kind))) return true;
    return false;
}

static bool all_monotone(const Scenario *s)
{
    const Trace *trace = s->trace;
    bool falling = falls(&trace->links.p2p) || falls(&trace->node_links.p2p);

    for (int b = 0; b < trace->block_count; b++)
        for (int what = 0; what < WORK_COUNT; what++)
            for (int kind = 0; kind < trace->kind_count; kind++)
                falling |= work_falls(&trace->blocks[b], (Work)what, kind);
    return !falling;
}

static bool at(const GroupCosts *g, Work what, int block, int class, int64_t rows, int64_t *ns)
{
    Cost cost;

    if (scenario_work(g->scenario, what, block, g->first[class], rows, &cost, NULL) != 0)
        return false;
    *ns = cost.ns;
    return true;
}

/* Lets what the block takes for x rows stand in for rows, where it may. */
static void stand_in(const GroupCosts *g, Work what, int block, int class, int64_t rows, int64_t x,
                     int64_t *ns)
{
    int64_t other;

    if (x == rows || (x > rows) != g->optimistic || !at(g, what, block, class, x, &other)) return;
    *ns = g->optimistic ? smaller(*ns, other) : larger(*ns, other);
}

/* Between points times are on a line, so that the greatest so far is here, at a point
 * before, or at the first row; the least from here on likewise. */
static bool work_time(const GroupCosts *g, Work what, int block, int class, int64_t rows,
                      int64_t *ns)
{
    const Scenario   *s = g->scenario;
    const TraceBlock *b = &s->trace->blocks[block];
    int               kind = s->kinds[g->first[class]];

    if (!at(g, what, block, class, rows, ns)) return false;
    if (g->monotone || !work_falls(b, what, kind)) return true;
    stand_in(g, what, block, class, rows, 1, ns);
    stand_in(g, what, block, class, rows, s->batch, ns);
    for (int j = 0; j < curves_of(b, what); j++) {
        const Curve *curve = curve_of(b, what, j, kind);
        for (int i = 0; i < curve->count; i++)
            stand_in(g, what, block, class, rows, curve->points[i].x, ns);
    }
    return true;
}

static bool has_nodes(const Scenario *s)
{
    return s->trace->devices_per_node && s->device_count > s->trace->devices_per_node;
}

static void link_ends(const GroupCosts *g, bool across, int *from, int *to)
{
    *from = 0;
    *to = across ? g->scenario->trace->devices_per_node : 0;
}

/* STAGE_IMPOSSIBLE: not known. */
static int64_t message_time(const GroupCosts *g, bool across, int boundary, int64_t rows)
{
    const Scenario *s = g->scenario;
    const Curve    *curve = across ? &s->trace->node_links.p2p : &s->trace->links.p2p;
    int64_t         ns, end, bytes = trace_boundary_bytes(s->trace, boundary);
    int             from, to;

    link_ends(g, across, &from, &to);
    if (scenario_p2p(s, from, to, boundary, rows, &ns, NULL) != 0) return STAGE_IMPOSSIBLE;
    if (g->monotone || !falls(curve) || bytes == TRACE_ABSENT) return ns;
    if (scenario_p2p(s, from, to, boundary, g->optimistic ? s->batch : 1, &end, NULL) == 0)
        ns = g->optimistic ? smaller(ns, end) : larger(ns, end);
    for (int i = 0; i < curve->count; i++) {
        const CurvePoint *p = &curve->points[i];
        if (g->optimistic && p->x > bytes * rows) ns = smaller(ns, p->ns);
        if (!g->optimistic && p->x < bytes * rows) ns = larger(ns, p->ns);
    }
    return ns;
}

/* ---- looking up ------------------------------------------------------------------------ */

static void row_free(GroupRow *row)
{
    free(row->sums);
    free(row->gap);
    free(row->messages);
    free(row->hidden);
}

static void forget_rows(GroupCosts *g)
{
    for (size_t i = 0; i < g->capacity; i++) {
        row_free(&g->cache[i]);
    }
    if (g->capacity) memset(g->cache, 0, g->capacity * sizeof *g->cache);
    g->used = 0;
}

static GroupRow *place_of(const GroupCosts *g, int class, int64_t rows)
{
    uint64_t hash = ((uint64_t)rows * 64 + (uint64_t)class) * 0x9E3779B97F4A7C15u;
    size_t   i = (size_t)(hash >> 20) & (g->capacity - 1);

    while (g->cache[i].rows && (g->cache[i].rows != rows || g->cache[i].class != class))
        i = (i + 1) & (g->capacity - 1);
    return &g->cache[i];
}

static bool grow_cache(GroupCosts *g)
{
    GroupRow   *old = g->cache;
    size_t count = g->capacity, bigger = count ? 2 * count : 64;

    g->cache = calloc(bigger, sizeof *g->cache);
    if (!g->cache) { g->cache = old; return false; }
    g->capacity = bigger;
    for (size_t i = 0; i < count; i++)
        if (old[i].rows) *place_of(g, old[i].class, old[i].rows) = old[i];
    free(old);
    return true;
}

static void fill_messages(const GroupCosts *g, GroupRow *row)
{
    for (int across = 0; across < (has_nodes(g->scenario) ? 2 : 1); across++)
        for (int b = 1; b < g->blocks; b++)
            row->messages[across * (g->blocks + 1) + b] = message_time(g, across, b, row->rows);
}

/* Sums over blocks of the times of a class on so many rows, and where the next block is that has
 * none. false: no memory. */
static bool fill_row(const GroupCosts *g, GroupRow *row)
{
    size_t n = (size_t)g->blocks + 1;

    row->sums = calloc(n, sizeof *row->sums);
    row->gap = calloc(n, sizeof *row->gap);
    row->messages = calloc(2 * n, sizeof *row->messages);
    row->hidden = calloc(2 * ((size_t)g->scenario->device_count + 1), sizeof *row->hidden);
    if (!row->sums || !row->gap || !row->messages || !row->hidden) return false;
    if (g->kind != COST_BOUND) fill_messages(g, row);
    for (int b = 0; b < g->blocks; b++) {
        int64_t ns[WORK_COUNT] = {0};
        GroupSums   *next = &row->sums[b + 1];
        *next = row->sums[b];
        for (int what = 0; what < WORK_COUNT && !row->gap[b]; what++)
            row->gap[b] = !work_time(g, (Work)what, b, row->class, row->rows, &ns[what]);
        if (row->gap[b]) continue;
        next->teacher += ns[WORK_TEACHER];
        next->student += ns[WORK_FORWARD] + ns[WORK_BACKWARD];
        next->update += ns[WORK_UPDATE];
    }
    row->gap[g->blocks] = g->blocks;         /* from marks to the next mark */
    for (int b = g->blocks - 1; b >= 0; b--) row->gap[b] = row->gap[b] ? b : row->gap[b + 1];
    return true;
}

/* NULL without memory. Valid until the next call. */
static const GroupRow *row_of(GroupCosts *g, int class, int64_t rows)
{
    size_t each = (size_t)(g->blocks + 1) * (sizeof(GroupSums) + sizeof(int) + 2 * sizeof(int64_t));

    if (g->used * each > MAX_CACHE) forget_rows(g);
    if (2 * g->used >= g->capacity && !grow_cache(g)) { g->failed = true; return NULL; }
    GroupRow *row = place_of(g, class, rows);
    if (row->rows) return row;
    GroupRow fresh = {.class = class, .rows = rows};
    if (!fill_row(g, &fresh)) {
        row_free(&fresh);
        g->failed = true;
        return NULL;
    }
    *row = fresh;
    g->used++;
    return row;
}

/* -1: not known. */
static int64_t reduce_time(const GroupCosts *g, bool across, int width, int block)
{
    int64_t ns;

    if (!stage_counts_reduce(g->scenario, g->kind, block)) return 0;
    for (int i = 0; i < width; i++) g->some[i] = 0;
    link_ends(g, across, &g->some[0], &g->some[width - 1]);
    return scenario_allreduce(g->scenario, g->some, width, block, &ns, NULL) == 0 ? ns : -1;
}

static int64_t faster_known(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : smaller(a, b);
}

/* Sums over blocks of all-reduces of width devices, and where the next block is that has none
 * measured; made once. A bound takes the faster link. NULL: no memory. */
static const GroupReduce *reduce_of(GroupCosts *g, bool across, int width)
{
    GroupReduce *r = &g->reduces[(across ? g->scenario->device_count + 1 : 0) + width];
    size_t  n = (size_t)g->blocks + 1;

    if (r->sums) return r;
    r->gap = calloc(n, sizeof *r->gap);
    r->sums = r->gap ? calloc(n, sizeof *r->sums) : NULL;
    if (!r->sums) {
        free(r->gap);
        r->gap = NULL;
        g->failed = true;
        return NULL;
    }
    for (int b = 0; b < g->blocks; b++) {
        int64_t ns = width < 2 ? 0 : reduce_time(g, across, width, b);
        if (g->kind == COST_BOUND && width > 1 && has_nodes(g->scenario))
            ns = faster_known(ns, reduce_time(g, !across, width, b));
        r->sums[b + 1] = r->sums[b] + larger(ns, 0);
        r->gap[b] = ns < 0;
    }
    r->gap[g->blocks] = g->blocks;
    for (int b = g->blocks - 1; b >= 0; b--) r->gap[b] = r->gap[b] ? b : r->gap[b + 1];
    return r;
}

/* ---- a member's step --------------------------------------------------------------------- */

typedef struct {
    GroupCosts   *g;
    const HeteroGroup  *group;
    const GroupReduce *reduce;
    int           width;
    bool          floor;
} GroupJob;

/* Whether students hide all all-reduces but each stage's last: the lane of those then is free when
 * that begins. */
static bool is_hidden(const GroupJob *job, const GroupRow *row)
{
    const int64_t *sums = job->reduce->sums;
    signed char   *known =
        &row->hidden[(job->group->reduce_across ? job->g->scenario->device_count + 1 : 0)
                     + job->width];

    if (*known) return *known > 0;
    *known = 1;
    for (int b = 1; b < job->g->blocks && *known > 0; b++)
        if (row->sums[b + 1].student - row->sums[b].student < sums[b] - sums[b - 1]) *known = -1;
    return *known > 0;
}

/* As in planner/stages/stage_table.h: compute, overlapped with the all-reduces' lane. */
static int64_t compute(const GroupJob *job, const GroupRow *row)
{
    const GroupCosts *g = job->g;
    int         first = job->group->first, last = job->group->last,
        teacher_first = job->group->phase ? 0 : first;
    const GroupSums *from = &row->sums[first], *to = &row->sums[last + 1];

    if (row->gap[teacher_first] <= last || job->reduce->gap[first] <= last) return STAGE_IMPOSSIBLE;
    int64_t teacher = to->teacher - row->sums[teacher_first].teacher,
            student = to->student - from->student;
    int64_t reduce = job->reduce->sums[last + 1] - job->reduce->sums[first], ns = teacher + student;
    int64_t updates = row->sums[last].update - from->update,
            update = to->update - row->sums[last].update;
    int64_t step = g->kind == COST_PAPER ? 0 : g->scenario->trace->step_ns;

    ns += step;
    if (g->blocking) return ns + reduce + updates + update;
    if (reduce == 0) return ns + updates + update;
    int64_t lane = 0;
    for (int b = is_hidden(job, row) ? last : first; b <= last; b++)
        lane = larger(lane, teacher + row->sums[b + 1].student - from->student)
               + job->reduce->sums[b + 1] - job->reduce->sums[b];
    return larger(ns + updates + update, lane + step + (job->floor ? 0 : update));
}

/* As in stage_cost.c. */
static int64_t load_time(const GroupJob *job, int64_t rows)
{
    const Scenario    *s = job->g->scenario;
    const TraceLoader *loader = &s->trace->loader;
    int64_t            ns = scenario_load_ns(s, rows);
    bool               alone = job->g->kind == COST_BOUND || job->floor;

    if ((job->group->first > 0 && !job->group->phase) || !loader->present) return 0;
    if (!loader->prefetch)
        return alone ? ns : ns * ((job->width + loader->lanes - 1) / loader->lanes);
    int     ahead = trace_loader_ahead(loader, job->width);
    int64_t own = ns / (ahead < loader->lanes ? ahead : loader->lanes);
    if (alone) return own;
    int64_t even = scenario_load_ns(s, scenario_share(s->batch, job->width, 0));
    return larger(own, smaller(ns, even) * job->width / loader->lanes);
}

/* STAGE_IMPOSSIBLE: not known; 0 where there is none. */
static int64_t message_of(const GroupJob *job, const GroupRow *row, bool in)
{
    const GroupCosts  *g = job->g;
    const HeteroGroup *group = job->group;
    int                boundary = in ? group->first : group->last + 1;

    if (group->phase || g->kind == COST_BOUND || job->floor || boundary == 0
        || boundary == g->blocks)
        return 0;
    return row->messages[(in ? group->in_across : group->out_across) * (g->blocks + 1) + boundary];
}

static int64_t member_time(void *context, int class, int64_t rows)
{
    const GroupJob    *job = context;
    const GroupCosts  *g = job->g;
    const HeteroGroup *group = job->group;
    const GroupRow    *row = row_of(job->g, class, rows);
    int64_t            ns = row && job->reduce ? compute(job, row) : STAGE_IMPOSSIBLE;

    if (ns == STAGE_IMPOSSIBLE) return ns;
    int64_t load = load_time(job, rows), in = message_of(job, row, true),
            out = message_of(job, row, false);
    if (in == STAGE_IMPOSSIBLE || out == STAGE_IMPOSSIBLE) return STAGE_IMPOSSIBLE;
    int64_t teacher = row->sums[group->last + 1].teacher - row->sums[group->first].teacher;
    if (out > 0) ns = g->blocking ? ns + out : larger(ns, teacher + out);
    return larger(g->scenario->trace->loader.prefetch ? larger(ns, load) : ns + load, in);
}

/* ---- how many rows a member may have ------------------------------------------------------ */

typedef struct { int64_t least, most; } GroupRange;

static void narrow(GroupRange *range, int64_t least, int64_t most)
{
    range->least = larger(range->least, least);
    range->most = smaller(range->most, most);
}

static void narrow_by_work(GroupRange *range, const Curve *curve, bool extrapolate)
{
    if (curve->count == 0) narrow(range, 1, 0);
    else if (!extrapolate) narrow(range, curve->points[0].x, curve->points[curve->count - 1].x);
}

static void narrow_by_message(const GroupCosts *g, GroupRange *range, bool across, int boundary)
{
    const Trace *trace = g->scenario->trace;
    const Curve *curve = across ? &trace->node_links.p2p : &trace->links.p2p;
    int64_t      bytes = trace_boundary_bytes(trace, boundary);

    if (bytes == TRACE_ABSENT || curve->count == 0 || g->scenario->extrapolate) return;
    int64_t low = curve->points[0].x, high = curve->points[curve->count - 1].x;
    if (bytes > 0)    narrow(range, low / bytes + (low % bytes > 0), high / bytes);
    else if (low > 0) narrow(range, 1, 0);
}

/* Rows that a device of the class can have in the group: those with times and messages that are
 * measured, and room in its memory. */
static GroupRange range_of(const GroupJob *job, int class)
{
    const GroupCosts *g = job->g;
    const HeteroGroup      *group = job->group;
    const Scenario   *s = g->scenario;
    GroupRange             range = {1, s->batch};

    for (int b = group->phase ? 0 : group->first; b <= group->last; b++) {
        const TraceBlock *block = &s->trace->blocks[b];
        int               kind = s->kinds[g->first[class]];
        narrow_by_work(&range, &block->work[WORK_TEACHER][kind], s->extrapolate);
        for (int j = 0; block->students && j < block->student_count && b >= group->first; j++)
            narrow_by_work(&range, &block->students[j].work[WORK_FORWARD][kind], s->extrapolate);
    }
    if (group->phase || job->floor) return range;
    if (g->memory && s->memory_bytes[g->first[class]])
        narrow(&range, 1, stage_memory_most_rows(g->memory, group->first, group->last,
                                                 s->memory_bytes[g->first[class]]));
    if (g->kind == COST_BOUND) return range;
    if (group->first > 0) narrow_by_message(g, &range, group->in_across, group->first);
    if (group->last + 1 < g->blocks)
        narrow_by_message(g, &range, group->out_across, group->last + 1);
    return range;
}

/* ---- the group ------------------------------------------------------------------------------ */

static GroupJob job_of(GroupCosts *g, const HeteroGroup *group, bool floor)
{
    GroupJob job = {g, group, NULL, 0, floor};

    for (int c = 0; c < g->classes; c++) job.width += group->counts[c];
    if (job.width > 0) job.reduce = reduce_of(g, group->reduce_across, job.width);
    return job;
}

static ShareProblem shares_of(GroupJob *job)
{
    GroupCosts *g = job->g;

    for (int c = 0; c < g->classes; c++) {
        GroupRange range = range_of(job, c);
        g->ranges[c] = range.least;
        g->ranges[g->classes + c] = range.most;
    }
    return (ShareProblem){g->classes,         job->group->counts, g->ranges, g->ranges + g->classes,
                          g->scenario->batch, member_time,        job};
}

int64_t group_cost(GroupCosts *g, const HeteroGroup *group)
{
    GroupJob          job = job_of(g, group, false);
    ShareProblem p = shares_of(&job);

    return shares_cost(&p);
}

int64_t group_floor(GroupCosts *g, const HeteroGroup *group)
{
    GroupJob          job = job_of(g, group, true);
    ShareProblem p = shares_of(&job);

    return shares_cost(&p);
}

int group_rows(int64_t *rows, GroupCosts *g, const HeteroGroup *group, Error *err)
{
    GroupJob          job = job_of(g, group, false);
    ShareProblem p = shares_of(&job);

    return shares_rows(rows, &p, err);
}

void group_range(GroupCosts *g, const HeteroGroup *group, bool floor, int class, int64_t limit_ns,
                 int64_t known_least, int64_t known_most, int64_t *least, int64_t *most)
{
    GroupJob          job = job_of(g, group, floor);
    GroupRange        range = range_of(&job, class);
    ShareProblem p = {g->classes,         group->counts, g->ranges, g->ranges + g->classes,
                      g->scenario->batch, member_time,   &job};

    g->ranges[class] = range.least;
    g->ranges[g->classes + class] = range.most;
    *least = range.least;
    *most = shares_most_within(&p, class, limit_ns, known_least, known_most);
}

int group_costs_classes(const GroupCosts *g)               { return g->classes; }
int group_costs_class(const GroupCosts *g, int device)     { return g->class_of[device]; }
const int *group_costs_counts(const GroupCosts *g)         { return g->counts; }
const Scenario *group_costs_scenario(const GroupCosts *g)  { return g->scenario; }
bool group_costs_monotone(const GroupCosts *g)             { return g->monotone; }
bool group_costs_failed(const GroupCosts *g)               { return g->failed; }

/* ---- making and freeing ---------------------------------------------------------------------- */

int group_costs_build(GroupCosts **out, const Scenario *scenario, CostKind kind, bool optimistic,
                      Error *err)
{
    GroupCosts *g = calloc(1, sizeof *g);
    size_t      n = (size_t)scenario->device_count;

    *out = NULL;
    if (!g) return error_no_memory(err);
    *g = (GroupCosts){.scenario = scenario, .kind = kind, .blocks = scenario->trace->block_count,
                      .blocking = scenario->trace->blocking_transfers,
                      .optimistic = optimistic || kind == COST_BOUND,
                      .monotone = all_monotone(scenario)};
    g->class_of = calloc(n, sizeof *g->class_of);
    g->first = calloc(n, sizeof *g->first);
    g->counts = calloc(n, sizeof *g->counts);
    g->some = calloc(n, sizeof *g->some);
    g->reduces = calloc(2 * (n + 1), sizeof *g->reduces);
    g->ranges = calloc(2 * n, sizeof *g->ranges);
    if (!g->class_of || !g->first || !g->counts || !g->some || !g->reduces || !g->ranges) {
        group_costs_free(g);
        return error_no_memory(err);
    }
    if (stage_memory_limited(scenario) && stage_memory_build(&g->memory, scenario, err) != 0) {
        group_costs_free(g);
        return -1;
    }
    list_classes(g);
    *out = g;
    return 0;
}

void group_costs_free(GroupCosts *g)
{
    if (!g) return;
    forget_rows(g);
    for (size_t i = 0; g->reduces && i < 2 * ((size_t)g->scenario->device_count + 1); i++) {
        free(g->reduces[i].sums);
        free(g->reduces[i].gap);
    }
    stage_memory_free(g->memory);
    free(g->cache);
    free(g->reduces);
    free(g->class_of);
    free(g->first);
    free(g->counts);
    free(g->some);
    free(g->ranges);
    free(g);
}
