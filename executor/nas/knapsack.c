#include "executor/nas/knapsack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SUMS = 1 << 22 };

/* A choice for the first blocks: what it sums to, its last candidate, and the sum of the
 * blocks before that it continues (an index into their list). */
typedef struct {
    int64_t macs;
    double  loss;
    int     candidate, before;
} FrontSum;

typedef struct {
    FrontSum *sums;               /* by macs ascending, loss descending */
    int  count;
} Front;

/* By macs, then loss, then the order in which they were made. */
static int compare_sums(const void *left, const void *right)
{
    const FrontSum *a = left, *b = right;

    if (a->macs != b->macs) return a->macs < b->macs ? -1 : 1;
    if (a->loss != b->loss) return a->loss < b->loss ? -1 : 1;
    if (a->candidate != b->candidate) return a->candidate < b->candidate ? -1 : 1;
    return (a->before > b->before) - (a->before < b->before);
}

/* Keeps those that have less loss than all that cost no more. */
static void keep_best(Front *front)
{
    int kept = 0;

    qsort(front->sums, (size_t)front->count, sizeof *front->sums, compare_sums);
    for (int i = 0; i < front->count; i++)
        if (kept == 0 || front->sums[i].loss < front->sums[kept - 1].loss)
            front->sums[kept++] = front->sums[i];
    front->count = kept;
}

/* The candidates of a block that are worth looking at, in before their numbers. */
static int best_of_block(Front *out, const Candidates *block, Error *err)
{
    out->sums = calloc((size_t)block->count, sizeof *out->sums);
    if (!out->sums) return error_no_memory(err);
    out->count = block->count;
    for (int i = 0; i < block->count; i++)
        out->sums[i] = (FrontSum){block->candidate[i].macs, block->candidate[i].loss, i, 0};
    keep_best(out);
    return 0;
}

/* Every sum of front continued by every candidate of own, as long as it leaves room. */
static int extend(Front *out, const Front *front, const Front *own, int64_t room, Error *err)
{
    int64_t most = (int64_t)front->count * own->count;

    if (most > MOST_SUMS)
        return error_set(err,
                         "%" PRId64
                         " sums of candidates to weigh at once, expected at most %d: take fewer "
                         "paths a block",
                         most, MOST_SUMS);
    out->sums = calloc((size_t)most, sizeof *out->sums);
    if (!out->sums) return error_no_memory(err);
    for (int i = 0; i < front->count; i++) {
        for (int j = 0; j < own->count; j++) {
            const FrontSum *sum = &front->sums[i], *more = &own->sums[j];
            if (more->macs > room - sum->macs) break;
            out->sums[out->count++] =
                (FrontSum){sum->macs + more->macs, sum->loss + more->loss, more->candidate, i};
        }
    }
    keep_best(out);
    return 0;
}

/* Least macs of each block and those after it, [blocks + 1]. */
static int64_t *least_from(const Candidates *blocks, int block_count)
{
    int64_t *least = calloc((size_t)block_count + 1, sizeof *least);

    for (int b = block_count - 1; least && b >= 0; b--) {
        int64_t own = blocks[b].candidate[0].macs;
        for (int i = 1; i < blocks[b].count; i++)
            if (blocks[b].candidate[i].macs < own) own = blocks[b].candidate[i].macs;
        least[b] = least[b + 1] + own;
    }
    return least;
}

int select_candidates(int *chosen, const Candidates *blocks, int block_count, int64_t max_macs,
                      Error *err)
{
    int      rc = -1;
    int64_t *least = least_from(blocks, block_count);
    Front   *fronts = calloc((size_t)block_count + 1, sizeof *fronts), own = {0};
    FrontSum      nothing = {0};

    if (!least || !fronts) { error_no_memory(err); goto done; }
    if (least[0] > max_macs) {
        error_set(err,
                  "at most %" PRId64
                  " multiply-accumulates are asked for, but the cheapest paths need %" PRId64,
                  max_macs, least[0]);
        goto done;
    }
    fronts[0].sums = malloc(sizeof nothing);
    if (!fronts[0].sums) { error_no_memory(err); goto done; }
    fronts[0].sums[0] = nothing;
    fronts[0].count = 1;
    for (int b = 0; b < block_count; b++) {
        if (best_of_block(&own, &blocks[b], err) != 0) goto done;
        if (extend(&fronts[b + 1], &fronts[b], &own, max_macs - least[b + 1], err) != 0) goto done;
        free(own.sums);
        own = (Front){0};
    }
    int at = fronts[block_count].count - 1;                          /* the least loss */
    for (int b = block_count - 1; b >= 0; b--) {
        const FrontSum *sum = &fronts[b + 1].sums[at];
        chosen[b] = sum->candidate;
        at = sum->before;
    }
    rc = 0;
done:
    for (int b = 0; fronts && b <= block_count; b++) free(fronts[b].sums);
    free(own.sums);
    free(fronts);
    free(least);
    return rc;
}
