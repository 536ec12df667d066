/* Runs of validate() under schedules that store boundaries: a short job of as many epochs, over the
 * first samples of the data only, so that an epoch has few steps; with a store of its own, which is
 * empty at first and gone at the end. */
#ifndef EXECUTOR_MEASURE_VALIDATE_STORE_H
#define EXECUTOR_MEASURE_VALIDATE_STORE_H

#include "executor/train/execution.h"

typedef struct {
    const char *place;           /* STORE_HOST, or a folder */
    bool        bf16;            /* rows are stored in bfloat16 */
    bool        drop;            /* boundaries are dropped when nothing fetches them any more */
} ValidateStore;

/* Executes e, whose program's epochs have so many steps each. */
int validate_store_run(ExecutionResult *out, const Execution *e, const ValidateStore *store,
                       Error *err);

#endif
