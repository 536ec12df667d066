#include "executor/under_way.h"

#include <stdlib.h>

#include "executor/clock.h"

/* ---- opening --------------------------------------------------------------------- */

static int open_step(UnderWay *u, ToldStep *step, int blocks, Error *err)
{
    step->list = calloc((size_t)u->capacity, sizeof *step->list);
    if (!step->list) return error_no_memory(err);
    for (int i = 0; i < u->capacity; i++)
        if (mark_new(&step->list[i].ready, u->device, err) != 0 || mark_new(&step->list[i].end, u->device, err) != 0)
            return -1;
    step->loss = host_alloc(u->spec, (size_t)blocks * sizeof *step->loss);
    if (!step->loss) return error_set(err, "no pinned memory of the host for losses");
    return mark_new(&step->end, u->device, err);
}

static int open_inputs(UnderWay *u, Error *err)
{
    for (int i = 0; i < 2 && u->input_count > 0; i++) {
        u->input[i] = device_alloc(u->device, u->input_count);
        if (!u->input[i]) return device_no_memory(u->device, u->input_count, "rows from the host", err);
        if (mark_new(&u->copying[i], u->device, err) != 0 || mark_new(&u->copied[i], u->device, err) != 0) return -1;
    }
    return 0;
}

int under_way_open(UnderWay *u, Device *device, const DeviceSpec *spec, int instructions, int blocks, size_t input_count,
                   Error *err)
{
    *u = (UnderWay){.device = device, .spec = spec, .capacity = instructions > 0 ? instructions : 1,
                    .input_count = input_count};
    for (int i = 0; i <= UNDER_WAY; i++)
        if (open_step(u, &u->steps[i], blocks, err) != 0) return -1;
    if (mark_new(&u->begun, device, err) != 0) return -1;
    return open_inputs(u, err);
}

void under_way_close(UnderWay *u)
{
    for (int i = 0; i <= UNDER_WAY; i++) {
        ToldStep *step = &u->steps[i];
        for (int k = 0; step->list && k < u->capacity; k++) {
            mark_free(step->list[k].ready);
            mark_free(step->list[k].end);
        }
        free(step->list);
        mark_free(step->end);
        if (step->loss) host_release(u->spec, step->loss);
    }
    for (int i = 0; i < 2; i++) {
        if (u->input[i]) device_release(u->device, u->input[i]);
        mark_free(u->copying[i]);
        mark_free(u->copied[i]);
    }
    mark_free(u->begun);
    *u = (UnderWay){0};
}

int64_t under_way_bytes(const UnderWay *u) { return 2 * (int64_t)(u->input_count * sizeof(float)); }

/* ---- telling --------------------------------------------------------------------- */

int under_way_start(UnderWay *u, Error *err)
{
    int64_t now_ns = clock_ns();         /* not after: this thread may have to wait for a core then */

    if (mark_set(u->device, u->begun, err) != 0 || mark_finish(u->begun, err) != 0) return -1;
    u->base_ns = now_ns;
    u->base = u->latest = u->begun;
    u->count = 0;
    return 0;
}

bool under_way_is_full(const UnderWay *u) { return u->count == UNDER_WAY; }

ToldStep *under_way_begin(UnderWay *u, int64_t step)
{
    ToldStep *told = &u->steps[u->next];

    u->next = (u->next + 1) % (UNDER_WAY + 1);
    u->count++;
    told->step = step;
    told->count = 0;
    return told;
}

Told *under_way_tell(UnderWay *u, ToldStep *step, const Instruction *in, bool beside)
{
    Told *told = &step->list[step->count++];

    (void)u;
    told->in = in;
    told->beside = beside;
    told->waited = false;
    told->input = -1;
    return told;
}

int under_way_told(UnderWay *u, Told *told, Error *err)
{
    if (mark_set(u->device, told->end, err) != 0) return -1;
    if (!told->beside) u->latest = told->end;
    return 0;
}

/* Compute waits for what ran beside it, so that nothing of the step's is overwritten by the next. */
int under_way_end(UnderWay *u, ToldStep *step, Error *err)
{
    for (int i = 0; i < step->count; i++)
        if (step->list[i].beside && mark_wait(u->device, step->list[i].end, err) != 0) return -1;
    if (mark_set(u->device, step->end, err) != 0) return -1;
    u->latest = step->end;
    return 0;
}

/* The buffer was last used by the step before the last, which is over: there are no more under way. */
int under_way_load(UnderWay *u, Told *told, const float *host, size_t count, const float **on_device, Error *err)
{
    int k = u->turn ^= 1, rc;

    stream_use(u->device, STREAM_COPY);
    rc = mark_set(u->device, u->copying[k], err);
    if (rc == 0) rc = stream_load(u->device, u->input[k], host, (int64_t)count, err);
    if (rc == 0) rc = mark_set(u->device, u->copied[k], err);
    stream_use(u->device, STREAM_COMPUTE);
    if (rc != 0 || mark_wait(u->device, u->copied[k], err) != 0 || mark_set(u->device, told->ready, err) != 0) return -1;
    told->waited = true;
    told->input = k;
    *on_device = u->input[k];
    return 0;
}

int under_way_loaded(UnderWay *u, Error *err)
{
    return u->input_count > 0 ? mark_finish(u->copied[u->turn], err) : 0;
}

/* ---- taking ---------------------------------------------------------------------- */

static int64_t time_of(const UnderWay *u, const Mark *mark) { return u->base_ns + mark_since_ns(u->base, mark); }

static void find_times(UnderWay *u, ToldStep *step)
{
    int64_t now_ns = u->base_ns;

    for (int i = 0; i < step->count; i++) {
        Told *told = &step->list[i];
        told->began_ns = now_ns;
        told->ready_ns = told->waited ? time_of(u, told->ready) : now_ns;
        told->done_ns = time_of(u, told->end);
        told->copy_ns = told->input >= 0 ? mark_since_ns(u->copying[told->input], u->copied[told->input]) : 0;
        if (!told->beside) now_ns = told->done_ns;
    }
    step->computed_ns = now_ns;
    step->end_ns = time_of(u, step->end);
}

ToldStep *under_way_take(UnderWay *u, Error *err)
{
    ToldStep *step = &u->steps[(u->next + UNDER_WAY + 1 - u->count) % (UNDER_WAY + 1)];

    if (mark_finish(step->end, err) != 0) return NULL;
    find_times(u, step);
    u->base = step->end;
    u->base_ns = step->end_ns;
    u->count--;
    return step;
}
