#include "executor/measure/validate_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "executor/train/parts.h"

/* A folder of this run's own below place, yours; a copy of STORE_HOST. Every rank calls it. */
static char *own_place(const Execution *e, const char *place, Error *err)
{
    int64_t pid = getpid();
    char   *own = NULL;

    if (world_broadcast(e->world, &pid, sizeof pid, err) != 0) return NULL;
    if (strcmp(place, STORE_HOST) == 0) own = strdup(place);
    else if (asprintf(&own, "%s/validate.%" PRId64, place, pid) < 0) own = NULL;
    if (!own) error_no_memory(err);
    return own;
}

static int run_with(ExecutionResult *out, Execution *e, const char *place, bool *set,
                    const ValidateStore *how, Error *err)
{
    StoreOptions options = {.place = place, .world = e->world, .workload = e->workload,
                            .data = e->data, .devices = e->devices, .teacher = e->teacher,
                            .seed = e->seed, .boundaries = set, .program = e->program,
                            .bf16 = how->bf16, .later = how->drop};
    int          rc, dropped = 0;

    program_stored_set(set, e->program);
    if (store_open(&e->store, &options, err) != 0) return -1;
    rc = execute_parts(out, e, how->drop, err);
    for (int k = 0; rc == 0 && dropped == 0 && k <= e->program->block_count; k++)
        if (set[k]) dropped = store_drop(e->store, k, err);
    store_close(e->store);
    if (dropped != 0) execution_free(out);
    return rc == 0 ? dropped : rc;
}

int validate_store_run(ExecutionResult *out, const Execution *e, const ValidateStore *store,
                       Error *err)
{
    Execution limited = *e;
    char     *own = own_place(e, store->place, err);
    bool     *set = calloc((size_t)e->program->block_count + 1, sizeof *set);
    int64_t   all = data_count(e->data);
    int       rc = -1;

    if (own && !set) error_no_memory(err);
    if (own && set) {
        limited.steps_per_epoch = e->program->steps / e->program->epochs;
        data_limit(e->data, limited.steps_per_epoch * e->program->batch);
        rc = run_with(out, &limited, own, set, store, err);
        data_limit(e->data, all);
        if (strcmp(own, STORE_HOST) != 0 && world_rank(e->world) == 0) rmdir(own);
    }
    free(set);
    free(own);
    return rc;
}
