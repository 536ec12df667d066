/* A worker whose device queues its work: it tells whole steps, never more than IN_FLIGHT that
 * are not done (executor/train/in_flight.h), and afterwards takes their times and losses.
 *
 *     compute  | TEACHER 0 | FORWARD 0 | BACKWARD 0 |.........| UPDATE 0 | end: waits for SEND
 *     link                 | SEND boundary 1 |      | ALLREDUCE 0 |
 *     copy     | rows of the next step |
 *
 * LOAD, RECV and BARRIER make the compute stream wait; SEND and ALLREDUCE run beside it. The
 * instructions themselves are those of executor/train/worker.c. */
#include "executor/train/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "executor/measure/clock.h"

/* ---- opening ----------------------------------------------------------------------- */

/* The most instructions of a phase, and floats that one loads. */
static void most_of(const Code *code, int64_t per_row, int *instructions, size_t *floats)
{
    for (int p = 0; p < code->phase_count; p++) {
        if (code->phases[p].count > *instructions) *instructions = code->phases[p].count;
        for (int i = 0; i < code->phases[p].count; i++) {
            const Instruction *in = &code->code[code->phases[p].first + i];
            if (in->op == OP_LOAD && (size_t)(in->rows * per_row) > *floats) *floats = (size_t)(in->rows * per_row);
        }
    }
}

int async_open(Worker *w)
{
    const Execution *x = w->run->x;
    int64_t          per_row = boundary_count(x->workload, 0);
    int              instructions = 1;
    size_t           floats = 0;

    if (!w->run->transport->ops->expect)
        return error_set(&w->err, "this transport does not serve devices that queue their work");
    most_of(&x->program->devices[w->device], per_row, &instructions, &floats);
    most_of(&x->program->queue, per_row, &instructions, &floats);
    w->queued = calloc(1, sizeof *w->queued);
    if (!w->queued) return error_no_memory(&w->err);
    w->queued->names = calloc((size_t)instructions, sizeof *w->queued->names);
    if (!w->queued->names) return error_no_memory(&w->err);
    return in_flight_open(&w->queued->told, w->memory, x->devices, instructions, x->workload->block_count, floats, &w->err);
}

void async_close(Worker *w)
{
    if (!w->queued) return;
    in_flight_close(&w->queued->told);
    free(w->queued->names);
    free(w->queued);
    w->queued = NULL;
}

int64_t async_bytes(const Worker *w) { return w->queued ? in_flight_bytes(&w->queued->told) : 0; }

/* As timelines call it. */
static void name_instruction(char *out, size_t size, const Instruction *in)
{
    bool boundary = in->op == OP_LOAD || in->op == OP_RECV || in->op == OP_SEND;

    if (in->op == OP_BARRIER) snprintf(out, size, "%s", op_name(in->op));
    else snprintf(out, size, "%s%s %d", op_name(in->op), boundary ? " boundary" : "", in->block);
}

int async_begin(Worker *w)
{
    for (int i = 0; i < w->phase->count; i++)
        name_instruction(w->queued->names[i], sizeof *w->queued->names, &w->code->code[w->phase->first + i]);
    return in_flight_start(&w->queued->told, &w->err);
}

/* ---- telling ----------------------------------------------------------------------- */

static bool meets(Op op) { return op == OP_RECV || op == OP_SEND || op == OP_ALLREDUCE || op == OP_BARRIER; }

static int load(Worker *w, const Instruction *in, Enqueued *told)
{
    InFlight    *u = &w->queued->told;
    const Value *value = &w->values[value_boundary(0)];
    size_t       count = (size_t)(in->rows * value->per_row);
    const float *host;
    const int   *labels;

    if (in_flight_loaded(u, &w->err) != 0) return -1;
    if (loader_take(w->run->loader, w->device, &host, &labels, &told->start_ns, &told->end_ns, &w->err) != 0) return -1;
    if (in_flight_load(u, told, host, count, &w->loaded, &w->err) != 0) return -1;
    if (!value->borrowed)
        device_copy(w->memory, worker_own_rows(w, value_boundary(0), in->row), w->loaded, (int64_t)count);
    return 0;
}

/* What comes before an instruction in its stream. */
static int prepare(Worker *w, const EnqueuedStep *step, const Instruction *in, Enqueued *told)
{
    Transport *t = w->run->transport;

    if (told->beside) {
        stream_use(w->memory, STREAM_LINK);
        if (stream_wait_event(w->memory, w->queued->told.latest, &w->err) != 0) return -1;
    }
    if (meets(in->op)) {
        t->ops->expect(t, w->device, told->ready);
        told->waited = true;
    }
    if (in->op == OP_BACKWARD) w->students[in->block].loss_at = &step->loss[in->block];
    if (in->op != OP_UPDATE || !w->students[in->block].summed) return 0;
    if (stream_wait_event(w->memory, w->students[in->block].summed, &w->err) != 0
        || event_record(w->memory, told->ready, &w->err) != 0) return -1;
    w->students[in->block].summed = NULL;
    told->waited = true;
    return 0;
}

static int perform(Worker *w, const Instruction *in, Enqueued *told)
{
    if (in->op == OP_LOAD) return load(w, in, told);
    return in->op == OP_UPDATE ? worker_update(w, in) : worker_perform[in->op](w, in);
}

static int tell(Worker *w, EnqueuedStep *step, const Instruction *in, const char *name)
{
    Enqueued *told = in_flight_enqueue(&w->queued->told, step, in, in->op == OP_SEND || in->op == OP_ALLREDUCE);

    range_begin(w->memory, name);
    int rc = prepare(w, step, in, told);
    if (rc == 0) rc = perform(w, in, told);
    if (rc == 0) rc = in_flight_enqueued(&w->queued->told, told, &w->err);
    if (rc == 0 && in->op == OP_ALLREDUCE) w->students[in->block].summed = told->end;
    range_end(w->memory);
    stream_use(w->memory, STREAM_COMPUTE);
    return rc;
}

/* ---- taking ------------------------------------------------------------------------ */

static void record_spans(Worker *w, const Enqueued *told, int64_t step)
{
    const Instruction *in = told->in;

    switch (in->op) {
    case OP_LOAD:                                /* to the device as well: decoded, and copied */
        record_span(w->recorder, w->device, LANE_LOADER, in, step, told->start_ns, told->end_ns + told->copy_ns);
        break;
    case OP_BARRIER:
        break;
    case OP_SEND:
        record_span(w->recorder, w->device, LANE_COPY_OUT, in, step, told->ready_ns, told->done_ns);
        record_span(w->recorder, w->run->x->program->channels[in->link].to, LANE_COPY_IN, in, step, told->ready_ns,
                    told->done_ns);
        break;
    default:
        record_span(w->recorder, w->device, in->op == OP_ALLREDUCE ? LANE_REDUCE : LANE_COMPUTE, in, step, told->ready_ns,
                    told->done_ns);
    }
}

static void record_told(Worker *w, const Enqueued *told, int64_t step)
{
    Op      op = told->in->op, waited_for = op == OP_UPDATE ? OP_ALLREDUCE : op;
    int64_t wait_ns = told->beside ? 0 : told->ready_ns - told->began_ns, work_ns = told->done_ns - told->ready_ns;

    record_times(w->recorder, told->in, told->ready_ns, told->ready_ns, told->done_ns);
    record_wait(w->recorder, waited_for, wait_ns);
    status_board_count(w->run->where, w->device, op, 0, work_ns);
    status_board_count(w->run->where, w->device, waited_for, wait_ns, 0);
    record_spans(w, told, step);
}

/* The oldest step: its times, and what its updates tell. */
static int take(Worker *w)
{
    int64_t   began_ns = w->queued->told.base_ns;
    EnqueuedStep *step = in_flight_retire(&w->queued->told, &w->err);

    if (!step) return error_prefix(&w->err, "device %d", w->device);
    for (int i = 0; i < step->count; i++) {
        const Enqueued        *told = &step->list[i];
        const Instruction *in = told->in;
        record_told(w, told, step->step);
        if (in->op != OP_UPDATE) continue;
        w->students[in->block].loss = step->loss[in->block];
        if (worker_report(w, in->block, step->step) != 0) return worker_fail_at(w, in, step->step);
    }
    record_wait(w->recorder, OP_SEND, step->end_ns - step->computed_ns);
    status_board_count(w->run->where, w->device, OP_SEND, step->end_ns - step->computed_ns, 0);
    record_step(w->recorder, step->end_ns);
    status_board_step(w->run->where, w->device, step->end_ns - began_ns);
    return run_control_times(w->run->control, w->device, false, &w->err);
}

int async_end(Worker *w)
{
    while (w->queued->told.count > 0)
        if (take(w) != 0) return -1;
    return 0;
}

/* A state that is handed over is that of the step: nothing is told before it was fetched. */
static bool hands_over(const Worker *w)
{
    for (int i = 0; i < w->phase->count; i++) {
        const Instruction *in = &w->code->code[w->phase->first + i];
        if (in->op == OP_UPDATE && !worker_skips(w, in) && worker_hands_over(w, in->block, w->step)) return true;
    }
    return false;
}

int async_step(Worker *w)
{
    InFlight *u = &w->queued->told;

    if (in_flight_is_full(u) && take(w) != 0) return -1;
    EnqueuedStep *step = in_flight_begin(u, w->step);
    for (int i = 0; i < w->phase->count; i++) {
        const Instruction *in = &w->code->code[w->phase->first + i];
        if (worker_skips(w, in)) continue;
        worker_tell(w, w->phase->first + i, clock_ns());
        if (tell(w, step, in, w->queued->names[i]) != 0) return worker_fail_at(w, in, w->step);
    }
    if (in_flight_end(u, step, &w->err) != 0) return -1;
    return hands_over(w) ? async_end(w) : 0;
}

int async_rest(Worker *w)
{
    Error err;

    if (!w->memory || !device_is_async(w->memory)) return 0;
    stream_use(w->memory, STREAM_COMPUTE);
    if (device_finish(w->memory, &err) == 0) return 0;
    if (!w->err.text[0]) w->err = err;
    return -1;
}
