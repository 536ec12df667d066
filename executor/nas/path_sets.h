/* The sets of paths of a student that are worth measuring: all of them, or a sample. */
#ifndef EXECUTOR_NAS_PATH_SETS_H
#define EXECUTOR_NAS_PATH_SETS_H

#include <stdbool.h>

#include "base/error.h"
#include "workloads/workload.h"

typedef struct {
    int    *choices;         /* [count][each] */
    int     count, each;
    int64_t total;           /* different sets of the student, counted up to PATH_SETS_MANY */
    bool    all;             /* every set that can stand alone is here */
} PathSets;

#define PATH_SETS_MANY ((int64_t)1 << 53)

/* All sets when there are at most limit (>= 2), in the order of layers_next_choices(). Else a
 * sample of at most limit: the set with the least and that with the most MACs, then uniform
 * draws by counter from (seed, block), each set once. Sets that cannot stand alone
 * (layers_subnet_possible()) are left out. Without choices: one empty set. */
int  path_sets_make(PathSets *out, const Layers *student, int limit, uint64_t seed, int block,
                    Error *err);
void path_sets_free(PathSets *sets);

#endif
