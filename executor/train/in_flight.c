#include "executor/train/in_flight.h"

#include <stdlib.h>

#include "base/clock.h"

/* ---- opening --------------------------------------------------------------------- */

static int open_outputs(InFlight *u, EnqueuedStep *step, const InFlightSizes *sizes, Error *err)
{
    if (u->outputs == 0) return 0;
    step->stored = calloc((size_t)u->outputs, sizeof(float *));
    if (!step->stored) return error_no_memory(err);
    for (int i = 0; i < u->outputs; i++) {
        step->stored[i] = host_alloc(u->spec, sizes->output_floats[i] * sizeof(float));
        if (!step->stored[i])
            return error_set(err, "no pinned memory of the host for rows that are stored");
    }
    return 0;
}

static int open_step(InFlight *u, EnqueuedStep *step, const InFlightSizes *sizes, Error *err)
{
    step->list = calloc((size_t)u->capacity, sizeof *step->list);
    if (!step->list) return error_no_memory(err);
    for (int i = 0; i < u->capacity; i++)
        if (event_new(&step->list[i].begun, u->device, err) != 0
            || event_new(&step->list[i].ready, u->device, err) != 0
            || event_new(&step->list[i].end, u->device, err) != 0)
            return -1;
    step->loss = host_alloc(u->spec, (size_t)sizes->students * sizeof *step->loss);
    if (!step->loss) return error_set(err, "no pinned memory of the host for losses");
    if (open_outputs(u, step, sizes, err) != 0) return -1;
    return event_new(&step->end, u->device, err);
}

static int open_input(InFlight *u, InFlightInput *input, size_t floats, Error *err)
{
    for (int k = 0; k < 2; k++) {
        input->rows[k] = device_alloc(u->device, floats);
        if (!input->rows[k])
            return device_no_memory(u->device, floats, "rows from the host", err);
        u->bytes += (int64_t)(floats * sizeof(float));
        if (event_new(&input->copying[k], u->device, err) != 0
            || event_new(&input->copied[k], u->device, err) != 0)
            return -1;
    }
    return 0;
}

static int open_inputs(InFlight *u, const InFlightSizes *sizes, Error *err)
{
    if (u->inputs == 0) return 0;
    u->input = calloc((size_t)u->inputs, sizeof *u->input);
    if (!u->input) return error_no_memory(err);
    for (int i = 0; i < u->inputs; i++)
        if (open_input(u, &u->input[i], sizes->input_floats[i], err) != 0) return -1;
    return 0;
}

int in_flight_open(InFlight *u, Device *device, const DeviceSpec *spec, const InFlightSizes *sizes,
                   Error *err)
{
    bool async = device_is_async(device);

    *u = (InFlight){.device = device, .spec = spec,
                    .capacity = sizes->instructions > 0 ? sizes->instructions : 1, .async = async,
                    .inputs = async ? sizes->inputs : 0, .outputs = async ? sizes->outputs : 0};
    for (int i = 0; i <= IN_FLIGHT; i++)
        if (open_step(u, &u->steps[i], sizes, err) != 0) return -1;
    if (event_new(&u->begun, device, err) != 0) return -1;
    return open_inputs(u, sizes, err);
}

static void close_step(InFlight *u, EnqueuedStep *step)
{
    for (int k = 0; step->list && k < u->capacity; k++) {
        event_free(step->list[k].begun);
        event_free(step->list[k].ready);
        event_free(step->list[k].end);
    }
    for (int k = 0; step->stored && k < u->outputs; k++)
        if (step->stored[k]) host_release(u->spec, step->stored[k]);
    free(step->stored);
    free(step->list);
    event_free(step->end);
    if (step->loss) host_release(u->spec, step->loss);
}

void in_flight_close(InFlight *u)
{
    for (int i = 0; i <= IN_FLIGHT; i++) close_step(u, &u->steps[i]);
    for (int i = 0; u->input && i < u->inputs; i++)
        for (int k = 0; k < 2; k++) {
            if (u->input[i].rows[k]) device_release(u->device, u->input[i].rows[k]);
            event_free(u->input[i].copying[k]);
            event_free(u->input[i].copied[k]);
        }
    free(u->input);
    event_free(u->begun);
    *u = (InFlight){0};
}

int64_t in_flight_bytes(const InFlight *u) { return u->bytes; }

/* ---- enqueueing ------------------------------------------------------------------ */

int in_flight_start(InFlight *u, Error *err)
{
    int64_t now_ns = clock_ns();         /* not after: this thread may have to wait for a core
                                          * then */

    if (event_record(u->device, u->begun, err) != 0 || event_synchronize(u->begun, err) != 0)
        return -1;
    u->base_ns = now_ns;
    u->base = u->latest = u->begun;
    u->count = 0;
    return 0;
}

bool in_flight_is_full(const InFlight *u) { return u->count == IN_FLIGHT; }

EnqueuedStep *in_flight_begin(InFlight *u, int64_t step)
{
    EnqueuedStep *e = &u->steps[u->next];

    u->next = (u->next + 1) % (IN_FLIGHT + 1);
    u->count++;
    e->step = step;
    e->count = 0;
    u->current = e;
    return e;
}

Enqueued *in_flight_enqueue(InFlight *u, EnqueuedStep *step, const Instruction *in, bool overlapped,
                            Error *err)
{
    Enqueued *e = &step->list[step->count++];

    e->in = in;
    e->overlapped = overlapped;
    e->waited = false;
    e->moved = false;
    e->copying = e->copied = NULL;
    e->summed_ns = 0;
    return u->async || event_record(u->device, e->begun, err) == 0 ? e : NULL;
}

static int64_t time_of(const InFlight *u, const StreamEvent *event)
{
    return u->base_ns + event_elapsed_ns(u->base, event);
}

int64_t in_flight_begun_ns(const InFlight *u, const Enqueued *e) { return time_of(u, e->begun); }

int in_flight_enqueued(InFlight *u, Enqueued *e, Error *err)
{
    if (event_record(u->device, e->end, err) != 0) return -1;
    if (!e->overlapped) u->latest = e->end;
    return 0;
}

/* Compute waits for what overlapped with it, so that nothing of the step's is overwritten by the
 * next. */
int in_flight_end(InFlight *u, EnqueuedStep *step, Error *err)
{
    for (int i = 0; i < step->count; i++)
        if (step->list[i].overlapped && stream_wait_event(u->device, step->list[i].end, err) != 0)
            return -1;
    if (event_record(u->device, step->end, err) != 0) return -1;
    u->latest = step->end;
    return 0;
}

/* The buffer was last used by the step before the last, which is over: there are no more in
 * flight. */
int in_flight_load(InFlight *u, Enqueued *e, int i, const float *host, size_t count,
                   const float **on_device, Error *err)
{
    if (!u->async) {
        *on_device = host;
        return 0;
    }

    InFlightInput *input = &u->input[i];
    int            k = input->turn ^= 1, rc;
    stream_use(u->device, STREAM_COPY);
    rc = event_record(u->device, input->copying[k], err);
    if (rc == 0) rc = stream_load(u->device, input->rows[k], host, (int64_t)count, err);
    if (rc == 0) rc = event_record(u->device, input->copied[k], err);
    stream_use(u->device, STREAM_COMPUTE);
    if (rc != 0 || stream_wait_event(u->device, input->copied[k], err) != 0
        || event_record(u->device, e->ready, err) != 0)
        return -1;
    e->waited = true;
    e->copying = input->copying[k];
    e->copied = input->copied[k];
    *on_device = input->rows[k];
    return 0;
}

int in_flight_loaded(InFlight *u, int i, Error *err)
{
    return u->async ? event_synchronize(u->input[i].copied[u->input[i].turn], err) : 0;
}

int in_flight_store(InFlight *u, int i, const float *rows, size_t count, Error *err)
{
    return stream_store(u->device, u->current->stored[i], rows, (int64_t)count, err);
}

/* ---- retiring ------------------------------------------------------------------- */

static void find_times(InFlight *u, EnqueuedStep *step)
{
    int64_t now_ns = u->base_ns;

    for (int i = 0; i < step->count; i++) {
        Enqueued *e = &step->list[i];
        e->began_ns = u->async ? now_ns : time_of(u, e->begun);
        e->ready_ns = e->waited ? time_of(u, e->ready) : e->began_ns;
        /* two clocks, or two looks at one */
        if (e->ready_ns < e->began_ns) e->ready_ns = e->began_ns;
        e->done_ns = time_of(u, e->end);
        if (e->done_ns < e->ready_ns) e->done_ns = e->ready_ns;
        e->copy_ns = e->copied ? event_elapsed_ns(e->copying, e->copied) : 0;
        if (!e->overlapped) now_ns = e->done_ns;
    }
    step->computed_ns = now_ns;
    step->end_ns = time_of(u, step->end);
}

EnqueuedStep *in_flight_retire(InFlight *u, Error *err)
{
    EnqueuedStep *step = &u->steps[(u->next + IN_FLIGHT + 1 - u->count) % (IN_FLIGHT + 1)];

    if (event_synchronize(step->end, err) != 0) return NULL;
    find_times(u, step);
    u->base = step->end;
    u->base_ns = step->end_ns;
    u->count--;
    return step;
}
