#include "executor/train/parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "executor/checkpoint/state.h"

typedef struct {
    Execution        x;
    ExecutionResult *result;         /* of the parts so far */
    bool             begun;
    bool             drop;
    ProgramParts     parts;
    int              blocks, students;
} PartsRun;

int execution_share_student(const Execution *x, Error *err)
{
    bool     first = world_rank(x->world) == 0;
    Text     text = {0};
    Tensors *theirs = NULL;
    int      rc = x->world && first ? tensors_bytes(x->student, &text, err) : 0;

    if (!x->world) return 0;
    rc = world_agree(x->world, rc, err);
    if (rc == 0) rc = world_broadcast_text(x->world, &text, err);
    if (rc == 0 && !first)
        rc = tensors_parse(&theirs, "the students of rank 0", text_string(&text), text.length, err);
    if (rc == 0 && theirs) rc = tensors_put(x->student, theirs, err);
    tensors_free(theirs);
    text_free(&text);
    return rc;
}

/* Phases of a part until a step (0: theirs). */
static int run_part(PartsRun *r, int part, int64_t until, Error *err)
{
    ExecutionResult more;

    r->x.part = (ExecutionPart){true, r->parts.part[part].first, r->parts.part[part].last, until};
    if (execute(r->begun ? &more : r->result, &r->x, err) != 0) return -1;
    if (r->begun
        && execution_join(r->result, &more, r->students, r->x.program->device_count, err) != 0) {
        execution_free(&more);
        return -1;
    }
    r->begun = true;
    if (store_settle(r->x.store, err) != 0) return -1;
    return execution_share_student(&r->x, err);
}

/* The least step of the students that a part trains; the run's end where it trains none. */
static int least_step(int64_t *out, const PartsRun *r, int part, Error *err)
{
    *out = r->x.program->steps;
    for (int k = 0; k < r->students; k++) {
        int64_t step;
        if (!r->parts.part[part].trains[k]) continue;
        if (state_step(&step, r->x.student, workload_student(r->x.workload, k), err) != 0)
            return -1;
        *out = smaller(*out, step);
    }
    return 0;
}

static bool is_whole(const PartsRun *r, const bool *boundaries)
{
    for (int k = 0; k <= r->blocks; k++)
        if (boundaries[k] && store_missing(r->x.store, k) > 0) return false;
    return true;
}

/* Whether all rows of a step are there, of the boundaries. */
static bool has_step(const PartsRun *r, const bool *boundaries, int64_t step)
{
    for (int64_t row = 0; row < r->x.program->batch; row++) {
        int64_t sample = execution_sample(&r->x, step, row);
        for (int k = 0; k <= r->blocks; k++)
            if (boundaries[k] && !store_has(r->x.store, k, sample)) return false;
    }
    return true;
}

/* Rank 0's word on how far the rows are all there, from step on and before until. */
static int64_t find_ready(const PartsRun *r, const bool *boundaries, int64_t step, int64_t until)
{
    while (step < until && has_step(r, boundaries, step)) step++;
    return step;
}

/* Refuses boundaries that are not whole and cannot be made any more. */
static int check_whole(const PartsRun *r, const bool *boundaries, Error *err)
{
    for (int k = 0; k <= r->blocks; k++)
        if (boundaries[k] && store_missing(r->x.store, k) > 0)
            return error_set(
                err,
                "boundary %d has %" PRId64
                " of its rows missing, and the blocks whose training would make them are "
                "further on: it cannot be made again by this plan; resume under a schedule that "
                "relays, or begin anew",
                k, store_missing(r->x.store, k));
    return 0;
}

/* Whether a part has blocks to train, or one behind it that fetches what it stores has. */
static int is_needed(bool *out, const PartsRun *r, int part, Error *err)
{
    const ProgramPart *p = &r->parts.part[part];
    int64_t            step;

    *out = false;
    for (int i = part; i < r->parts.count && !*out; i++) {
        if (i > part && !flags_share(p->stores, r->parts.part[i].fetches, r->blocks + 1)) continue;
        if (least_step(&step, r, i, err) != 0) return -1;
        *out = step < r->x.program->steps;
    }
    return 0;
}

static int make_boundaries(const PartsRun *r, const bool *boundaries, Error *err)
{
    for (int k = 0; k <= r->blocks; k++)
        if (boundaries[k] && store_make(r->x.store, k, err) != 0) return -1;
    return 0;
}

/* Whether all students of a part train in parts behind it, too. */
static bool trains_later(const PartsRun *r, int part)
{
    for (int k = 0; k < r->students; k++) {
        bool later = false;
        for (int i = part + 1; i < r->parts.count && !later; i++)
            later = r->parts.part[i].trains[k];
        if (r->parts.part[part].trains[k] && !later) return false;
    }
    return true;
}

/* A part that stores: rules 1 and 2. */
static int run_storing(PartsRun *r, int part, Error *err)
{
    const ProgramPart *p = &r->parts.part[part];
    int64_t            step, total = r->x.program->steps;

    if (make_boundaries(r, p->stores, err) != 0) return -1;
    while (!is_whole(r, p->stores)) {
        if (least_step(&step, r, part, err) != 0) return -1;
        if (step >= total) {
            bool needed;
            if (is_needed(&needed, r, part, err) != 0) return -1;
            return needed ? check_whole(r, p->stores, err) : 0;
        }
        if (check_whole(r, p->fetches, err) != 0) return -1;
        int64_t end = smaller((step / r->x.steps_per_epoch + 1) * r->x.steps_per_epoch, total);
        int64_t ready = p->rest >= 0 ? find_ready(r, p->stores, step, end) : step;
        if (world_broadcast(r->x.world, &ready, sizeof ready, err) != 0) return -1;
        if (run_part(r, ready > step ? p->rest : part, ready > step ? ready : end, err) != 0)
            return -1;
        if (r->result->stopped) return 0;
    }
    if (trains_later(r, part)) return 0;
    if (least_step(&step, r, part, err) != 0) return -1;
    return step < total ? run_part(r, part, 0, err) : 0;
}

static int run_one(PartsRun *r, int part, Error *err)
{
    const ProgramPart *p = &r->parts.part[part];

    if (flags_any(p->stores, r->blocks + 1)) return run_storing(r, part, err);
    if (check_whole(r, p->fetches, err) != 0) return -1;
    return run_part(r, part, 0, err);
}

/* Whether part, but none behind it, uses the boundary. */
static bool is_used_last(const PartsRun *r, int part, int boundary)
{
    for (int i = part + 1; i < r->parts.count; i++)
        if (r->parts.part[i].fetches[boundary]) return false;
    return r->parts.part[part].fetches[boundary] || r->parts.part[part].stores[boundary];
}

/* Removes what part and those before it used and none behind it fetches, once no resumed run can
 * need it. */
static int drop_unused(PartsRun *r, int part, Error *err)
{
    bool kept = false;

    for (int k = 0; k <= r->blocks; k++) {
        if (!is_used_last(r, part, k)) continue;
        int rc =
            !kept && r->x.keep && world_rank(r->x.world) == 0 ? r->x.keep(r->x.context, err) : 0;
        if (world_agree(r->x.world, rc, err) != 0 || store_drop(r->x.store, k, err) != 0) return -1;
        kept = true;
    }
    return 0;
}

static int run_all(PartsRun *r, Error *err)
{
    for (int i = 0; i < r->parts.count; i++) {
        bool needed;
        if (is_needed(&needed, r, i, err) != 0) return -1;
        if (needed && run_one(r, i, err) != 0) return -1;
        if (r->begun && r->result->stopped) return 0;
        if (r->drop && drop_unused(r, i, err) != 0) return -1;
    }
    if (r->begun || r->parts.count == 0) return 0;
    return run_part(r, r->parts.count - 1, 0, err);      /* nothing was left to train: an empty
                                                          * result */
}

int execute_parts(ExecutionResult *out, const Execution *x, bool drop, Error *err)
{
    PartsRun r = {.x = *x, .result = out, .drop = drop, .blocks = x->program->block_count,
                  .students = program_student_count(x->program)};
    int      rc = program_parts_find(&r.parts, x->program, err);

    *out = (ExecutionResult){0};
    if (rc == 0) rc = store_settle(x->store, err);
    if (rc == 0) rc = run_all(&r, err);
    program_parts_free(&r.parts);
    if (rc != 0) execution_free(out);
    return rc;
}
