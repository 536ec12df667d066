/* What work takes by measured curves, kept between scenarios of one trace that is edited in
 * between: most numbers stay as they were. Alone on the machine or not makes no difference to what
 * is kept, so there is nothing here for traces with contended times; nor for steps that train one
 * block alone, or lists of students. */
#ifndef TRACES_WORK_CACHE_H
#define TRACES_WORK_CACHE_H

#include "traces/trace.h"

typedef struct { int64_t ns; double spread; } WorkCost;      /* ns below 0: not known */

typedef struct {
    const Trace *trace;      /* borrowed */
    bool         extrapolate;
    int          blocks;
    int64_t      batch;
    WorkCost    *costs;      /* [kinds][batch + 1][blocks][WORK_COUNT] */
    CurvePoint  *points;     /* of all curves, as they were when costs were kept */
} WorkCache;

/* For rows up to batch of a trace that is edited in place, but for how many points there are. *out
 * is NULL where nothing can be kept, or that would be too much. work_cache_free() it. Fails only
 * without memory. */
int  work_cache_new(WorkCache **out, const Trace *trace, int64_t batch, bool extrapolate,
                    Error *err);
void work_cache_free(WorkCache *cache);

/* After the trace was edited: what is no longer true is forgotten. */
void work_cache_renew(WorkCache *cache);

/* Where the cost of the block's work on rows is kept, by a device of this kind, before its
 * slowdown. */
static inline WorkCost *work_cache_at(const WorkCache *cache, Work work, int block, int kind,
                                      int64_t rows)
{
    size_t row = (size_t)kind * (size_t)(cache->batch + 1) + (size_t)rows;

    return &cache->costs[(row * (size_t)cache->blocks + (size_t)block) * WORK_COUNT + (size_t)work];
}

#endif
