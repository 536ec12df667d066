#include "traces/work_cache.h"

#include <stdlib.h>
#include <string.h>

#define COSTS_MOST ((size_t)1 << 18)     /* 4 MiB */

static size_t cost_count(const Trace *trace, int64_t batch)
{
    return (size_t)trace->kind_count * (size_t)(batch + 1) * (size_t)trace->block_count
           * WORK_COUNT;
}

static size_t point_count(const Trace *trace)
{
    size_t count = 0;

    for (int b = 0; b < trace->block_count; b++)
        for (int work = 0; work < WORK_COUNT; work++)
            for (int kind = 0; kind < trace->kind_count; kind++)
                count += (size_t)trace->blocks[b].work[work][kind].count;
    return count;
}

int work_cache_new(WorkCache **out, const Trace *trace, int64_t batch, bool extrapolate, Error *err)
{
    bool       fits = batch < (int64_t)COSTS_MOST && cost_count(trace, batch) <= COSTS_MOST;
    WorkCache *cache;

    *out = NULL;
    if (trace->contended || !fits) return 0;
    cache = calloc(1, sizeof *cache);
    if (!cache) return error_no_memory(err);
    *cache = (WorkCache){.trace = trace, .extrapolate = extrapolate, .batch = batch,
                         .blocks = trace->block_count};
    cache->costs = malloc(cost_count(trace, batch) * sizeof *cache->costs);
    cache->points = calloc(point_count(trace) + 1, sizeof *cache->points);
    if (!cache->costs || !cache->points) {
        work_cache_free(cache);
        return error_no_memory(err);
    }
    for (size_t i = 0; i < cost_count(trace, batch); i++) cache->costs[i] = (WorkCost){-1, 0};
    *out = cache;
    return 0;
}

void work_cache_free(WorkCache *cache)
{
    if (!cache) return;
    free(cache->costs);
    free(cache->points);
    free(cache);
}

static bool same_point(const CurvePoint *a, const CurvePoint *b)
{
    return a->x == b->x && a->ns == b->ns && a->spread == b->spread
           && a->contended_ns == b->contended_ns && a->single_block_ns == b->single_block_ns
           && a->single_block_contended_ns == b->single_block_contended_ns;
}

static bool same_points(const CurvePoint *kept, const Curve *curve)
{
    for (int i = 0; i < curve->count; i++)
        if (!same_point(&kept[i], &curve->points[i])) return false;
    return true;
}

void work_cache_renew(WorkCache *cache)
{
    CurvePoint *kept = cache->points;

    for (int b = 0; b < cache->blocks; b++)
        for (int work = 0; work < WORK_COUNT; work++)
            for (int kind = 0; kind < cache->trace->kind_count; kind++) {
                const Curve *curve = &cache->trace->blocks[b].work[work][kind];
                bool         same = same_points(kept, curve);
                if (curve->count && !same)
                    memcpy(kept, curve->points, (size_t)curve->count * sizeof *kept);
                kept += curve->count;
                for (int64_t rows = 0; rows <= cache->batch && !same; rows++)
                    work_cache_at(cache, (Work)work, b, kind, rows)->ns = -1;
            }
}
