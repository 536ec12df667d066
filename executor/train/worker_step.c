/* A worker's steps: whole ones are enqueued, on an asynchronous device never more than IN_FLIGHT
 * that are not done (executor/train/in_flight.h), and retired afterwards: their times and losses
 * are taken.
 *
 *     compute  | TEACHER 0 | FORWARD 0 | BACKWARD 0 |.........| UPDATE 0 | end: waits for SEND
 *     link                 | SEND boundary 1 |      | ALLREDUCE 0 |
 *     copy     | rows of the next step |
 *
 * LOAD, RECV and BARRIER make the compute stream wait; SEND and ALLREDUCE overlap with it. On a
 * device whose work is done when a call returns, all of this happens one after another in its
 * thread, and a step is retired as soon as it is enqueued. The instructions themselves:
 * executor/train/worker.c. */
#include "executor/train/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "workloads/head.h"

/* ---- opening ----------------------------------------------------------------------- */

static bool comes_in(Op op) { return op == OP_LOAD || op == OP_FETCH; }

/* The instruction's number among those of its phase that bring rows, or, a STORE, take them out. */
static int slot_of(const Code *code, const Phase *phase, const Instruction *in)
{
    int slot = 0;

    for (const Instruction *i = &code->code[phase->first]; i < in; i++)
        slot += in->op == OP_STORE ? i->op == OP_STORE : comes_in(i->op);
    return slot;
}

/* The most of any phase of a code. input_floats, output_floats: [instructions of the largest]. */
static void most_of(const Worker *w, const Code *code, InFlightSizes *sizes, size_t *input_floats,
                    size_t *output_floats)
{
    for (int p = 0; p < code->phase_count; p++) {
        const Phase *phase = &code->phases[p];
        if (phase->count > sizes->instructions) sizes->instructions = phase->count;
        for (int i = 0; input_floats && i < phase->count; i++) {
            const Instruction *in = &code->code[phase->first + i];
            if (!comes_in(in->op) && in->op != OP_STORE) continue;
            int     slot = slot_of(code, phase, in);
            size_t *most = in->op == OP_STORE ? &output_floats[slot] : &input_floats[slot];
            int    *slots = in->op == OP_STORE ? &sizes->outputs : &sizes->inputs;
            size_t  floats =
                (size_t)(in->rows * workload_boundary_count(w->run->x->workload, in->block));
            if (floats > *most) *most = floats;
            if (slot >= *slots) *slots = slot + 1;
        }
    }
}

int steps_open(Worker *w)
{
    const Execution *x = w->run->x;
    const Code      *own = &x->program->devices[w->device], *queue = &x->program->queue;
    InFlightSizes    sizes = {.instructions = 1, .students = w->student_count};
    int              rc = 0;

    most_of(w, own, &sizes, NULL, NULL);
    most_of(w, queue, &sizes, NULL, NULL);
    size_t *floats = calloc(2 * (size_t)sizes.instructions, sizeof *floats);
    w->names = calloc((size_t)sizes.instructions, sizeof *w->names);
    if (!w->names || !floats) rc = error_no_memory(&w->err);
    if (rc == 0) {
        sizes.input_floats = floats;
        sizes.output_floats = floats + sizes.instructions;
        most_of(w, own, &sizes, floats, floats + sizes.instructions);
        most_of(w, queue, &sizes, floats, floats + sizes.instructions);
        w->async = device_is_async(w->memory);
        rc = in_flight_open(&w->steps, w->memory, x->devices, &sizes, &w->err);
    }
    free(floats);
    return rc;
}

void steps_close(Worker *w)
{
    in_flight_close(&w->steps);
    free(w->names);
    w->names = NULL;
}

int64_t steps_bytes(const Worker *w) { return in_flight_bytes(&w->steps); }

/* As profilers' timelines call it. */
static void name_instruction(char *out, size_t size, const Instruction *in)
{
    if (in->op == OP_BARRIER) snprintf(out, size, "%s", op_name(in->op));
    else if (in->student > 0)
        snprintf(out, size, "%s %d.%d", op_name(in->op), in->block, in->student);
    else
        snprintf(out, size, "%s%s %d", op_name(in->op), op_has_boundary(in->op) ? " boundary" : "",
                 in->block);
}

int steps_begin(Worker *w)
{
    for (int i = 0; i < w->phase->count; i++)
        name_instruction(w->names[i], sizeof *w->names, &w->code->code[w->phase->first + i]);
    return in_flight_start(&w->steps, &w->err);
}

/* ---- enqueueing -------------------------------------------------------------------- */

static bool meets(Op op)
{
    return op == OP_RECV || op == OP_SEND || op == OP_ALLREDUCE || op == OP_BARRIER;
}

int worker_store_later(Worker *w, const Instruction *in, const float *rows)
{
    int64_t per_row = w->values[value_boundary(in->block)].per_row;

    return in_flight_store(&w->steps, slot_of(w->code, w->phase, in), rows,
                           (size_t)(in->rows * per_row), &w->err);
}

/* LOAD, or FETCH. */
static int load(Worker *w, const Instruction *in, Enqueued *e)
{
    const Value *value = &w->values[value_boundary(in->block)];
    bool         fetches = in->op == OP_FETCH;
    int          queue = fetches ? run_fetch_queue(w->run, w->device, in->block) : w->device;
    size_t       count = (size_t)(in->rows * value->per_row);
    const float *host;
    const int   *labels;

    int slot = slot_of(w->code, w->phase, in);

    if (in_flight_loaded(&w->steps, slot, &w->err) != 0) return -1;
    if (fetches) worker_expect(w, in, w->step + STORAGE_AHEAD);
    if (loader_take(fetches ? w->run->fetcher : w->run->loader, queue, &host, &labels, &e->start_ns,
                    &e->end_ns, &w->err)
        != 0)
        return -1;
    /* else the thread has loaded itself: that was work */
    if (!w->async && w->run->x->prefetch > 0) {
        if (event_record(w->memory, e->ready, &w->err) != 0) return -1;
        e->waited = true;
    }
    if (in_flight_load(&w->steps, e, slot, host, count, &w->loaded[in->block], &w->err) != 0)
        return -1;
    if (!value->borrowed)
        device_copy(w->memory, worker_own_rows(w, value_boundary(in->block), in->row),
                    w->loaded[in->block], (int64_t)count);
    return 0;
}

/* An update waits for the sum of its gradients: for that of an asynchronous device's link stream,
 * or one that the transport makes while the device computes. */
static int wait_for_sum(Worker *w, const Instruction *in, Enqueued *e)
{
    Student   *student = student_of(w, in);
    Transport *t = w->run->transport;

    if (student->group >= 0 && worker_overlaps(w, OP_ALLREDUCE, student->group)) {
        status_board_state(w->run->board, w->device, DEVICE_WAITING, clock_ns());
        t->ops->expect(t, w->device, e->ready);
        int rc = t->ops->finish(t, student->group, w->device, student->loss_at, &w->err);
        status_board_state(w->run->board, w->device, DEVICE_WORKING, clock_ns());
        e->waited = true;
        student->summed = NULL;
        return rc;
    }
    if (!student->summed) return 0;
    if (stream_wait_event(w->memory, student->summed, &w->err) != 0
        || event_record(w->memory, e->ready, &w->err) != 0)
        return -1;
    student->summed = NULL;
    e->waited = true;
    return 0;
}

/* Where a step keeps the loss of an instruction's student. */
static double *loss_of(const Worker *w, const EnqueuedStep *step, const Instruction *in)
{
    return &step->loss[program_student(w->run->x->program, in->block, in->student)];
}

/* What comes before an instruction in its stream. */
static int prepare(Worker *w, const EnqueuedStep *step, const Instruction *in, Enqueued *e)
{
    Transport *t = w->run->transport;

    if (e->overlapped) {
        stream_use(w->memory, STREAM_LINK);
        if (stream_wait_event(w->memory, w->steps.latest, &w->err) != 0) return -1;
    }
    if (meets(in->op)) {
        t->ops->expect(t, w->device, e->ready);
        e->waited = true;
    }
    if (in->op == OP_BACKWARD) student_of(w, in)->loss_at = loss_of(w, step, in);
    return in->op == OP_UPDATE ? wait_for_sum(w, in, e) : 0;
}

/* What the transport moved while the device computed and is over now: a message that was received,
 * the sum that an update waited for. */
static void note_moved(Worker *w, const Instruction *in, Enqueued *e)
{
    Transport *t = w->run->transport;
    int        group = in->op == OP_UPDATE ? student_of(w, in)->group : -1;

    if (in->op == OP_RECV && worker_overlaps(w, OP_RECV, in->link))
        t->ops->in_flight(t, OP_RECV, in->link, w->device, &e->start_ns, &e->end_ns);
    else if (group >= 0 && worker_overlaps(w, OP_ALLREDUCE, group))
        t->ops->in_flight(t, OP_ALLREDUCE, group, w->device, &e->start_ns, &e->end_ns);
    else return;
    e->moved = true;
}

/* The loss of a student's update, which is done. */
static int report(Worker *w, const EnqueuedStep *step, const Instruction *in)
{
    Student *student = student_of(w, in);

    student->loss = *loss_of(w, step, in);
    return worker_report(student, step->step);
}

static int enqueue(Worker *w, EnqueuedStep *step, const Instruction *in, const char *name)
{
    bool      overlapped = w->async && (in->op == OP_SEND || in->op == OP_ALLREDUCE);
    Enqueued *e = in_flight_enqueue(&w->steps, step, in, overlapped, &w->err);

    if (!e) return -1;
    worker_tell(w, (int)(in - w->code->code),
                w->async ? clock_ns() : in_flight_begun_ns(&w->steps, e));
    w->summed_ns = 0;
    range_begin(w->memory, name);
    int rc = prepare(w, step, in, e);
    if (rc == 0)
        rc = in->op == OP_LOAD || in->op == OP_FETCH ? load(w, in, e)
                                                     : worker_perform[in->op](w, in);
    if (rc == 0) rc = in_flight_enqueued(&w->steps, e, &w->err);
    if (rc == 0 && in->op == OP_ALLREDUCE && overlapped) student_of(w, in)->summed = e->end;
    if (rc == 0) note_moved(w, in, e);
    e->summed_ns = w->summed_ns;
    range_end(w->memory);
    stream_use(w->memory, STREAM_COMPUTE);
    return rc == 0 && in->op == OP_UPDATE && !w->async ? report(w, step, in) : rc;
}

/* ---- retiring ---------------------------------------------------------------------- */

/* The instruction of a device's code with this op, block, student and row; a message's at its
 * sender. */
static const Instruction *find_instruction(const Code *code, Op op, const Instruction *like)
{
    for (int i = 0; i < code->code_count; i++) {
        const Instruction *in = &code->code[i];
        if (in->op == op && in->block == like->block && in->student == like->student
            && in->row == like->row && (op == OP_ALLREDUCE || in->link == like->link))
            return in;
    }
    return like;
}

static void record_moved(Worker *w, const Enqueued *e, int64_t step)
{
    const Program     *program = w->run->x->program;
    const Instruction *in = e->in;

    if (in->op == OP_UPDATE) {
        record_span(w->recorder, w->device, LANE_REDUCE,
                    find_instruction(w->code, OP_ALLREDUCE, in), step, e->start_ns, e->end_ns);
        return;
    }
    int                from = program->channels[in->link].from;
    const Instruction *sent = find_instruction(&program->devices[from], OP_SEND, in);
    record_span(w->recorder, from, LANE_COPY_OUT, sent, step, e->start_ns, e->end_ns);
    record_span(w->recorder, w->device, LANE_COPY_IN, sent, step, e->start_ns, e->end_ns);
}

static void record_spans(Worker *w, const Enqueued *e, int64_t step)
{
    const Instruction *in = e->in;
    Lane               lane = LANE_COMPUTE;

    if (in->op == OP_BARRIER) return;
    if (in->op == OP_LOAD || in->op == OP_FETCH) {       /* to the device as well: decoded, and
                                                          * copied */
        record_span(w->recorder, w->device, in->op == OP_LOAD ? LANE_LOADER : LANE_STORAGE, in,
                    step, e->start_ns, e->end_ns + e->copy_ns);
        return;
    }
    if (e->moved) record_moved(w, e, step);
    if ((in->op == OP_SEND || in->op == OP_ALLREDUCE) && worker_overlaps(w, in->op, in->link))
        return;
    if (in->op == OP_STORE) lane = LANE_STORAGE;
    if (e->overlapped) lane = in->op == OP_SEND ? LANE_COPY_OUT : LANE_REDUCE;
    record_span(w->recorder, w->device, lane, in, step, e->ready_ns, e->done_ns);
    if (in->op == OP_SEND)
        record_span(w->recorder, w->run->x->program->channels[in->link].to, LANE_COPY_IN, in, step,
                    e->ready_ns, e->done_ns);
}

/* What was waited for within the work counts as waiting, though the span keeps it. */
static void record(Worker *w, const Enqueued *e, int64_t step)
{
    Op      op = e->in->op, waited_for = op == OP_UPDATE ? OP_ALLREDUCE : op;
    int64_t wait_ns = e->overlapped ? 0 : e->ready_ns - e->began_ns,
            worked_from_ns = e->ready_ns + e->summed_ns;

    record_times(w->recorder, e->in, e->ready_ns, worked_from_ns, e->done_ns);
    record_wait(w->recorder, waited_for, wait_ns);
    status_board_count(w->run->board, w->device, op,
                       e->summed_ns + (waited_for == op ? wait_ns : 0),
                       e->done_ns - worked_from_ns);
    if (waited_for != op) status_board_count(w->run->board, w->device, waited_for, wait_ns, 0);
    record_spans(w, e, step);
}

/* The oldest step: its times, and, of an asynchronous device, what its updates report. */
static int retire(Worker *w)
{
    int64_t       began_ns = w->steps.base_ns;
    EnqueuedStep *step = in_flight_retire(&w->steps, &w->err);

    if (!step) return error_prefix(&w->err, "device %d", w->device);
    for (int i = 0; i < step->count; i++) {
        const Enqueued    *e = &step->list[i];
        const Instruction *in = e->in;
        record(w, e, step->step);
        if (in->op == OP_STORE && w->async
            && worker_store(w, in, step->step, step->stored[slot_of(w->code, w->phase, in)]) != 0)
            return -1;
        if (in->op == OP_UPDATE && w->async && report(w, step, in) != 0)
            return worker_fail_at(w, in, step->step);
    }
    if (w->async) {                              /* else nothing is left to wait for after the last
                                                  * instruction */
        record_wait(w->recorder, OP_SEND, step->end_ns - step->computed_ns);
        status_board_count(w->run->board, w->device, OP_SEND, step->end_ns - step->computed_ns, 0);
    }
    record_step(w->recorder, step->end_ns);
    status_board_step(w->run->board, w->device, step->end_ns - began_ns);
    return run_control_times(w->run->control, w->device, false, &w->err);
}

int steps_end(Worker *w)
{
    while (w->steps.count > 0)
        if (retire(w) != 0) return -1;
    return 0;
}

/* A state that is handed over is that of the step: nothing is enqueued before it was fetched. */
static bool hands_over(const Worker *w)
{
    for (int i = 0; i < w->phase->count; i++) {
        const Instruction *in = &w->code->code[w->phase->first + i];
        if (in->op == OP_UPDATE && !worker_skips(w, in)
            && worker_hands_over(student_of(w, in), w->step))
            return true;
    }
    return false;
}

int steps_run(Worker *w)
{
    InFlight *u = &w->steps;

    if (in_flight_is_full(u) && retire(w) != 0) return -1;
    EnqueuedStep *step = in_flight_begin(u, w->step);
    for (int i = 0; i < w->phase->count; i++) {
        const Instruction *in = &w->code->code[w->phase->first + i];
        if (worker_skips(w, in)) continue;
        if (enqueue(w, step, in, w->names[i]) != 0) return worker_fail_at(w, in, w->step);
    }
    if (in_flight_end(u, step, &w->err) != 0) return -1;
    return !w->async || hands_over(w) ? steps_end(w) : 0;
}

int steps_rest(Worker *w)
{
    Error err;

    if (!w->memory) return 0;
    stream_use(w->memory, STREAM_COMPUTE);
    if (device_finish(w->memory, &err) == 0) return 0;
    if (!w->err.text[0]) w->err = err;
    return -1;
}
