#include "planner/stages/stage_cost.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "planner/stages/stage_memory.h"

typedef struct {
    const Scenario *scenario;
    CostKind        kind;
    int             first, last, width;
    const int      *group;       /* [width] */
    const int64_t  *rows;        /* [width] */
    int             before, after;       /* the devices next to them; -1: none */
    Error          *err;
} StageJob;

static int work(const StageJob *job, Work what, int block, int device, int64_t rows, int64_t *sum)
{
    Cost cost;

    if (scenario_work(job->scenario, what, block, device, rows, &cost, job->err) != 0) return -1;
    *sum += cost.ns;
    return 0;
}

/* Loading at the first stage. A device that asks prefetch steps ahead may have as many
 * loads under way at once, on a lane each; all devices together keep the lanes busy, as
 * long as an even share would however the batch is split. One that does not ask ahead
 * waits for a whole load, and for its turn. */
static int64_t load_time(const StageJob *job, int64_t rows)
{
    const TraceLoader *loader = &job->scenario->trace->loader;
    int64_t            ns = scenario_load_ns(job->scenario, rows);

    if (job->first > 0 || !loader->present) return 0;
    if (!loader->prefetch)
        return job->kind == COST_BOUND ? ns
                                       : ns * ((job->width + loader->lanes - 1) / loader->lanes);
    int     ahead = trace_loader_ahead(loader, job->width);
    int64_t own = ns / (ahead < loader->lanes ? ahead : loader->lanes);
    int64_t even =
        scenario_load_ns(job->scenario, scenario_share(job->scenario->batch, job->width, 0));
    return job->kind == COST_BOUND
               ? own
               : larger(own, (ns < even ? ns : even) * job->width / loader->lanes);
}

bool stage_counts_reduce(const Scenario *scenario, CostKind kind, int block)
{
    return kind != COST_BOUND || scenario->trace->blocking_transfers
           || trace_students(&scenario->trace->blocks[block]) == 1;
}

/* Two messages take no less than one of their bytes together, but for rounding. */
static bool is_subadditive(const Curve *curve)
{
    double slope = -1;

    for (int i = 0; i < curve->count; i++) {
        const CurvePoint *p = &curve->points[i];
        if (p->x < 0) return false;
        if (i == 0) continue;
        double next = (double)(p->ns - p[-1].ns) / (double)(p->x - p[-1].x);
        if (next < 0 || (i > 1 && next > slope)) return false;
        if (i == 1 && (double)p[-1].ns < next * (double)p[-1].x) return false;
        slope = next;
    }
    return true;
}

/* COST_SIM may say of loading that it takes longer than limit_ns where it does not: it counts the
 * largest share for each device, more than is loaded where the batch does not divide. */
static bool loads_mislead(const Scenario *s, int64_t limit_ns)
{
    const TraceLoader *loader = &s->trace->loader;

    for (int w = 2; loader->present && w <= s->device_count && w < s->batch; w++) {
        int64_t load = scenario_load_ns(s, scenario_share(s->batch, w, 0));
        if (s->batch % w != 0 && load * w / loader->lanes > limit_ns) return true;
    }
    return false;
}

int64_t stage_limit_ns(const Scenario *s, int64_t cutoff_ns)
{
    const TraceLoader *loader = &s->trace->loader;
    int64_t limit = cutoff_ns / s->steps + s->device_count;      /* a message rounds by half a ns */
    bool    known = cutoff_ns > 0 && scenario_nodes(s) == 1 && !s->trace->contended
                 && (!loader->present || loader->prefetch > 0)
                 && is_subadditive(&s->trace->links.p2p) && !trace_has_many_students(s->trace)
                 && !loads_mislead(s, limit);

    return known ? limit : 0;
}

static int reduce_time(const StageJob *job, int block, int64_t *ns)
{
    *ns = 0;
    if (!stage_counts_reduce(job->scenario, job->kind, block)) return 0;
    return scenario_allreduce(job->scenario, job->group, job->width, block, ns, job->err);
}

/* Compute, with all-reduces on a lane of their own or on the compute lane; *teacher: of that. */
static int64_t compute_time(const StageJob *job, int device, int64_t rows, int64_t *teacher)
{
    bool    blocking = job->scenario->trace->blocking_transfers || job->kind == COST_PAPER;
    int64_t t = 0, lane = 0, reduce = 0, updates = 0;

    for (int b = job->first; b <= job->last; b++)
        if (work(job, WORK_TEACHER, b, device, rows, &t) != 0) return -1;
    *teacher = t;
    for (int b = job->first; b <= job->last; b++) {
        if (work(job, WORK_FORWARD, b, device, rows, &t) != 0) return -1;
        if (work(job, WORK_BACKWARD, b, device, rows, &t) != 0) return -1;
        if (reduce_time(job, b, &reduce) != 0) return -1;
        if (blocking) t += reduce;
        else          lane = larger(lane, t) + reduce;
    }
    /* Updates run in the order of the all-reduces: the last one's end is enough for a
     * bound from below, as those before it are done by then. */
    for (int b = job->first; b < job->last; b++)
        if (work(job, WORK_UPDATE, b, device, rows, &updates) != 0) return -1;
    t = blocking ? t + updates : larger(t + updates, lane);
    t += job->kind == COST_PAPER ? 0 : job->scenario->trace->step_ns;
    return work(job, WORK_UPDATE, job->last, device, rows, &t) == 0 ? t : -1;
}

/* Of member i, to or from the device beside the group. */
static int p2p(const StageJob *job, int i, int boundary, int64_t rows, bool in, int64_t *ns)
{
    int from = in ? job->before : job->group[i], to = in ? job->group[i] : job->after;

    *ns = 0;
    if (from < 0 || to < 0 || boundary <= 0 || boundary >= job->scenario->trace->block_count)
        return 0;
    return scenario_p2p(job->scenario, from, to, boundary, rows, ns, job->err);
}

static int fits(const StageJob *job, int device, int64_t rows)
{
    const TraceBlock *blocks = job->scenario->trace->blocks;
    int64_t limit = job->scenario->memory_bytes[device];
    int64_t bytes = limit ? stage_memory_plain(job->scenario, job->first, job->last, rows) : 0;

    if (bytes <= limit) return 0;
    return error_set(job->err,
                     "blocks \"%.60s\" to \"%.60s\" need %.6g MiB on device %d, which has %.6g",
                     blocks[job->first].name, blocks[job->last].name, (double)bytes * 0x1p-20,
                     device, (double)limit * 0x1p-20);
}

static int64_t device_time(const StageJob *job, int i)
{
    const Scenario *s = job->scenario;
    int64_t rows = job->rows[i], in = 0, out = 0, teacher;
    int64_t t = compute_time(job, job->group[i], rows, &teacher);
    int64_t load = load_time(job, rows);

    if (t < 0 || fits(job, job->group[i], rows) != 0) return -1;
    if (job->kind == COST_PAPER)
        return p2p(job, 0, job->first, s->batch, true, &in) == 0 ? t + in : -1;
    if (job->kind == COST_SIM
        && (p2p(job, i, job->first, rows, true, &in) != 0
            || p2p(job, i, job->last + 1, rows, false, &out) != 0))
        return -1;
    t = s->trace->blocking_transfers ? t + out : larger(t, teacher + out);
    return larger(s->trace->loader.prefetch ? larger(t, load) : t + load, in);
}

int64_t stage_cost_shares(const Scenario *scenario, CostKind kind, int first, int last,
                          const int *devices, const int64_t *rows, int width, int before, int after,
                          Error *err)
{
    StageJob     job = {scenario, kind, first, last, width, devices, rows, before, after, err};
    int64_t slowest = 0;

    for (int i = 0; i < width; i++) {
        int64_t t = device_time(&job, i);
        if (t < 0) return STAGE_IMPOSSIBLE;
        slowest = larger(slowest, t);
    }
    return slowest;
}

int64_t stage_cost(const Scenario *scenario, CostKind kind, int first, int last, int device,
                   int width, Error *err)
{
    int     end = device + width;
    int    *group = NULL;
    int64_t slowest = STAGE_IMPOSSIBLE, *rows = NULL;

    if (width > scenario->batch) {
        error_set(err, "%d devices for a batch of %" PRId64, width, scenario->batch);
        return STAGE_IMPOSSIBLE;
    }
    group = malloc((size_t)width * sizeof *group);
    rows = malloc((size_t)width * sizeof *rows);
    if (group && rows) {
        for (int i = 0; i < width; i++) {
            group[i] = device + i;
            rows[i] = scenario_share(scenario->batch, width, i);
        }
        slowest = stage_cost_shares(scenario, kind, first, last, group, rows, width, device - 1,
                                    end < scenario->device_count ? end : -1, err);
    } else {
        error_no_memory(err);
    }
    free(group);
    free(rows);
    return slowest;
}
