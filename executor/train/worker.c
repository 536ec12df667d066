#include "executor/train/worker_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/micro.h"
#include "base/minmax.h"
#include "executor/train/rate.h"
#include "executor/train/run_control.h"
#include "executor/train/worker.h"
#include "executor/checkpoint/state.h"
#include "executor/net/world.h"
#include "workloads/head.h"

/* Steps between looks at all that a student has learned. Losses are looked at after every step, but
 * activations that give 0 for NaN hide it from them. A look costs a third of an update, so this is
 * below 0.1 % of any step. */
enum { CHECK_EVERY = 64 };

bool worker_overlaps(const Worker *w, Op op, int link)
{
    return w->run->transport->ops->overlaps(w->run->transport, op, link);
}

/* ---- where rows lie ------------------------------------------------------------ */

static const float *boundary_rows(const Worker *w, int boundary, int64_t row)
{
    const Value *value = &w->values[value_boundary(boundary)];
    const float *base = value->borrowed ? w->loaded[boundary] : buffers_at(&w->buffers, value);

    return base + (row - value->row) * value->per_row;
}

/* Of a value that the device makes itself. */
float *worker_own_rows(const Worker *w, int number, int64_t row)
{
    const Value *value = &w->values[number];

    return buffers_at(&w->buffers, value) + (row - value->row) * value->per_row;
}

/* ---- lengths -------------------------------------------------------------------- */

/* Lengths of the step's whole batch: which sample a row is follows from step and row, so nobody
 * sends them. */
static void find_lengths(Worker *w)
{
    const Execution *x = w->run->x;

    if (w->lengths_step == w->step) return;
    w->lengths_step = w->step;
    w->lengths_sum = 0;
    for (int64_t r = 0; r < x->program->batch; r++) {
        w->lengths[r] = data_length(x->data, execution_sample(x, w->step, r));
        w->lengths_sum += w->lengths[r];
    }
}

/* Of the instruction's rows; NULL: all tokens count. */
static const int *lengths_of(Worker *w, const Instruction *in)
{
    if (!w->lengths) return NULL;
    find_lengths(w);
    return w->lengths + in->row;
}

/* ---- labels --------------------------------------------------------------------- */

/* Those of the instruction's rows, from this process' own data: nobody sends them. Sets those of
 * the call. */
static int find_labels(Worker *w, const Instruction *in, LossCall *call)
{
    const Execution *x = w->run->x;
    int64_t          batch = x->program->batch;

    for (int64_t r = 0; r < in->rows; r++)
        if (data_labels(x->data, execution_sample(x, w->step, in->row + r),
                        w->labels + r * w->labels_a_row, &w->err)
            != 0)
            return -1;
    call->labels = w->labels;
    call->global_places = batch * call->places;
    if (x->workload->classes > 0) return 0;
    if (w->lengths) find_lengths(w);
    call->global_places =
        larger(w->lengths ? w->lengths_sum - batch : batch * (call->places - 1), 1);
    return 0;
}

/* ---- instructions ---------------------------------------------------------------- */

static int do_receive(Worker *w, const Instruction *in)
{
    const Value *value = &w->values[value_boundary(in->block)];
    size_t       count = (size_t)(in->rows * value->per_row);
    Transport   *t = w->run->transport;

    if (value->channel >= 0)
        return t->ops->receive(t, in->link, &w->buffers.slots[value->slot].memory, count, true,
                               &w->err);
    float *rows = worker_own_rows(w, value_boundary(in->block), in->row);
    return t->ops->receive(t, in->link, &rows, count, false, &w->err);
}

static int do_send(Worker *w, const Instruction *in)
{
    size_t     count = (size_t)(in->rows * w->values[value_boundary(in->block)].per_row);
    Transport *t = w->run->transport;

    return t->ops->send(t, in->link, boundary_rows(w, in->block, in->row), count, &w->err);
}

/* Rows lie in the store by sample. */
int worker_store(Worker *w, const Instruction *in, int64_t step, const float *rows)
{
    const Execution *x = w->run->x;
    int64_t          per_row = w->values[value_boundary(in->block)].per_row;

    for (int64_t r = 0; r < in->rows; r++)
        if (store_put(x->store, in->block, execution_sample(x, step, in->row + r),
                      rows + r * per_row, &w->err)
            != 0)
            return -1;
    return 0;
}

static int do_store(Worker *w, const Instruction *in)
{
    const float *rows = boundary_rows(w, in->block, in->row);

    return w->async ? worker_store_later(w, in, rows) : worker_store(w, in, w->step, rows);
}

static int do_teacher(Worker *w, const Instruction *in)
{
    net_set_lengths(w->teacher[in->block], lengths_of(w, in));
    return net_forward(w->teacher[in->block], boundary_rows(w, in->block, in->row),
                       worker_own_rows(w, value_boundary(in->block + 1), in->row), in->rows, NULL,
                       &w->err);
}

/* Part number i of an instruction's rows (base/micro.h). */
static Instruction part_of(const Worker *w, const Instruction *in, int64_t i)
{
    int64_t     parts = micro_parts(w->run->x->micro_batches, in->rows), more = in->rows % parts;
    Instruction part = *in;

    part.rows = in->rows / parts + (i < more);
    part.row = in->row + i * (in->rows / parts) + smaller(i, more);
    return part;
}

/* Of a part; what it makes lies where that of the whole begins. */
static int forward_part(Worker *w, const Instruction *in, const Instruction *part)
{
    Student *student = student_of(w, in);

    net_set_lengths(student->net, lengths_of(w, part));
    return net_forward(student->net, boundary_rows(w, in->block, part->row),
                       worker_own_rows(w, value_at(&w->buffers, VALUE_OUTPUT, in), in->row),
                       part->rows, student->block.choices ? student->choices : NULL, &w->err);
}

static int do_forward(Worker *w, const Instruction *in)
{
    Student         *student = student_of(w, in);
    const WorkBlock *block = &student->block;

    if (block->choices && w->step < w->run->x->turns)
        workload_take_turns(student->choices, block, w->step);
    else if (block->choices)
        workload_choose(student->choices, block, in->block, w->run->x->seed, w->step);
    Instruction first = part_of(w, in, 0);
    return forward_part(w, in, &first);
}

/* Loss and backward of a micro-batch, whose forward pass was the net's last. The loss is divided by
 * the rows of the whole batch, over all devices and parts, so gradients of parts just add up.
 * Sequences are masked by their lengths where the block's output has a place a token. add: to the
 * loss of the parts before. */
static int backward_part(Worker *w, const Instruction *in, const Instruction *part, bool add)
{
    Student         *student = student_of(w, in);
    const WorkBlock *block = &student->block;
    float *gradient = worker_own_rows(w, value_at(&w->buffers, VALUE_GRADIENT, in), in->row);
    bool             masked = w->lengths && block->out.height == w->run->x->workload->input.height;

    if (w->lengths) find_lengths(w);
    LossCall call = {
        .kind = block->loss,
        .temperature = block->temperature,
        .student = worker_own_rows(w, value_at(&w->buffers, VALUE_OUTPUT, in), in->row),
        .teacher = boundary_rows(w, in->block + 1, part->row),
        .dy = gradient,
        .rows = part->rows,
        .places = (int64_t)block->out.height * block->out.width,
        .channels = block->out.channels,
        .global_rows = w->run->x->program->batch,
        .lengths = masked ? w->lengths + part->row : NULL,
        .global_places = w->lengths_sum,
        .loss = student->loss_at,
        .add = add};

    if (loss_is_of_labels(block->loss) && find_labels(w, part, &call) != 0) return -1;
    if (!student->head) loss_backward(w->memory, &call);
    else if (head_backward(student->head, &call, &w->err) != 0) return -1;
    return net_backward(student->net, gradient, part->rows, &w->err);
}

static int do_backward(Worker *w, const Instruction *in)
{
    Student *student = student_of(w, in);
    int64_t  parts = micro_parts(w->run->x->micro_batches, in->rows);

    for (int64_t i = 0; i < parts; i++) {
        Instruction part = part_of(w, in, i);
        if (i > 0 && forward_part(w, in, &part) != 0) return -1;
        if (backward_part(w, in, &part, i > 0) != 0) return -1;
        if (parts > 1) net_add_up(student->net, i == 0, i + 1 == parts);
    }
    return 0;
}

static int do_allreduce(Worker *w, const Instruction *in)
{
    Student   *student = student_of(w, in);
    Transport *t = w->run->transport;
    int        count = net_gradients(student->net, w->runs, w->run_capacity);

    return t->ops->reduce(t, in->link, w->device, w->runs, count, student->loss_at, &w->err);
}

static int do_barrier(Worker *w, const Instruction *in)
{
    Transport *t = w->run->transport;

    return t->ops->barrier(t, in->link, w->device, &w->err);
}

/* ---- divergence ------------------------------------------------------------------ */

/* The student's number among those of all blocks. */
static int number_of(const Student *student) { return (int)(student - student->worker->students); }

/* bad NULL: the loss alone shows it. */
static int diverged(Student *student, int64_t step, const Tensor *bad)
{
    Worker *w = student->worker;
    char    name[STUDENT_TEXT_BYTES], what[288];

    if (bad) snprintf(what, sizeof what, "tensor %s is not finite", bad->name);
    else     snprintf(what, sizeof what, "its loss is %f", student->loss);
    return error_set(&w->err,
                     "block %d (%s)" EXECUTION_DIVERGED "%" PRId64
                     ": %s; a smaller learning_rate may help",
                     student->id.block, student_text(name, w->run->x->workload, student->id), step,
                     what);
}

/* What was stored of the student, before anybody gets it. */
static int check_state(Student *student, int64_t step, const Tensors *state)
{
    const Tensor *bad = state_find_bad(state, student->id);

    return bad ? diverged(student, step, bad) : 0;
}

/* A loss that is no number, or was made one by net_check_finite(): names the tensor, where one is
 * bad by now. */
static int lost(Student *student, int64_t step)
{
    Tensors *state = NULL;
    Error    ignored;

    int rc = tensors_new(&state, &ignored);
    if (rc == 0) rc = state_store(student->net, student->id, step, true, state, &ignored);
    diverged(student, step, rc == 0 ? state_find_bad(state, student->id) : NULL);
    tensors_free(state);
    return -1;
}

/* Hands the student's state over. */
static int snapshot(Student *student, int64_t step)
{
    Worker *w = student->worker;

    if (state_store(student->net, student->id, step, true, student->state, &w->err) != 0) return -1;
    if (check_state(student, step, student->state) != 0) return -1;
    int rc = run_control_state(w->run->control, w->device, number_of(student), step, student->state,
                               &w->err);
    student->handed = step;
    return rc;
}

bool worker_hands_over(const Student *student, int64_t step)
{
    const Execution *x = student->worker->run->x;

    return x->snapshot && student->reports
           && ((step + 1) % x->snapshot_every == 0 || step + 1 == x->program->steps);
}

int worker_report(Student *student, int64_t step)
{
    Worker *w = student->worker;

    if (!student->reports) return 0;
    if (!isfinite(student->loss)) return lost(student, step + 1);
    if (run_control_loss(w->run->control, w->device, number_of(student), step, student->loss,
                         &w->err)
        != 0)
        return -1;
    return worker_hands_over(student, step) ? snapshot(student, step + 1) : 0;
}

static int do_update(Worker *w, const Instruction *in)
{
    Student        *student = student_of(w, in);
    const Workload *workload = w->run->x->workload;
    Training        t = workload_training(workload, &student->block);
    UpdateStep      step = {.optimizer = workload->optimizer, .momentum = (float)t.momentum,
                            .weight_decay = (float)t.weight_decay,
                            .learning_rate = rate_at(t.learning_rate, workload->warm_up, w->step,
                                                     w->run->x->program->steps),
                            .nesterov = t.nesterov,
                            .beta1 = (float)t.beta1,
                            .beta2 = (float)t.beta2,
                            .eps = (float)t.eps,
                            .clip = (float)t.clip,
                            .number = w->step + 1};

    net_update(student->net, &step);
    if (student->reports && (w->step + 1) % CHECK_EVERY == 0)
        net_check_finite(student->net, student->loss_at);
    return 0;
}

int (*const worker_perform[OP_COUNT])(Worker *, const Instruction *) = {
    [OP_RECV] = do_receive,    [OP_SEND] = do_send,         [OP_TEACHER] = do_teacher,
    [OP_FORWARD] = do_forward,   [OP_BACKWARD] = do_backward,
    [OP_UPDATE] = do_update,   [OP_ALLREDUCE] = do_allreduce, [OP_BARRIER] = do_barrier,
    [OP_STORE] = do_store,
};

/* ---- a step ----------------------------------------------------------------------- */

static void tell(Worker *w, DeviceState state, int instruction, int64_t now_ns)
{
    status_board_set(
        w->run->board, w->device,
        &(DeviceStatus){.state = state, .stolen = w->code == &w->run->x->program->queue,
                        .phase = w->number, .instruction = instruction,
                        .op = instruction < 0 ? OP_LOAD : w->code->code[instruction].op,
                        .step = w->step, .since_ns = now_ns});
}

/* An instruction that meets other devices, or the loader's lanes. */
static bool waits(const Worker *w, Op op)
{
    if (op == OP_LOAD || op == OP_FETCH) return w->run->x->prefetch > 0;
    return op == OP_RECV || op == OP_SEND || op == OP_ALLREDUCE
           || op == OP_BARRIER;
}

void worker_tell(Worker *w, int i, int64_t now_ns)
{
    tell(w, waits(w, w->code->code[i].op) ? DEVICE_WAITING : DEVICE_WORKING, i, now_ns);
}

void worker_expect(const Worker *w, const Instruction *in, int64_t step)
{
    const Execution  *x = w->run->x;
    const StoredRows *stored = store_boundary(x->store, in->block);

    if (x->prefetch > 0 || step >= w->end) return;
    for (int64_t r = 0; r < in->rows; r++)
        stored_expect(stored, execution_sample(x, step, in->row + r));
}

bool worker_skips(const Worker *w, const Instruction *in)
{
    /* as the phase begins and ends */
    if (in->op == OP_ONLOAD || in->op == OP_OFFLOAD) return true;
    return op_trains(in->op) && w->step < student_of(w, in)->from;
}

int worker_fail_at(Worker *w, const Instruction *in, int64_t step)
{
    char text[160];

    /* the error names file and sample */
    if (in->op == OP_LOAD || in->op == OP_FETCH || in->op == OP_STORE) return -1;
    instruction_text(w->run->x->program, in, text, sizeof text);
    return error_prefix(&w->err, "device %d, step %" PRId64 ", %s", w->device, step, text);
}

/* ---- nets -------------------------------------------------------------------------- */

/* Batch statistics over the group, for a net. */
static int sum_statistics(void *context, double *values, int count, Error *err)
{
    Student   *student = context;
    Worker    *w = student->worker;
    Transport *t = w->run->transport;
    int64_t    began_ns = clock_ns();

    status_board_state(w->run->board, w->device, DEVICE_WAITING, began_ns);
    int     rc = t->ops->sum(t, student->group, w->device, values, count, err);
    int64_t end_ns = clock_ns();
    w->summed_ns += end_ns - began_ns;
    status_board_state(w->run->board, w->device, DEVICE_WORKING, end_ns);
    return rc;
}

/* Memory that an instruction's net borrows for the phase. */
static float *lent(const Worker *w, ValueKind kind, const Instruction *in)
{
    return buffers_at(&w->buffers, &w->values[value_at(&w->buffers, kind, in)]);
}

static int open_teacher(Worker *w, const Instruction *in)
{
    const Execution *x = w->run->x;
    const WorkBlock *block = &x->workload->block[in->block];
    Net            **net = &w->teacher[in->block];

    if (!*net) {
        Layers body = layers_body(&block->teacher, workload_has_head(x->workload, in->block));
        if (net_new(net, w->memory, &body, block->in, NET_FROZEN, &w->err) != 0) return -1;
        if (state_load_teacher(*net, in->block, x->teacher, x->seed, &w->err) != 0) return -1;
    }
    net_lend(*net, NULL, lent(w, VALUE_TEACHER_WORK, in));
    return net_prepare(*net, in->rows, &w->err);
}

static int load_student(Worker *w, Student *student)
{
    const Execution *x = w->run->x;

    pthread_mutex_lock(&w->run->report);         /* others may store into the same tensors */
    int rc = state_load_student(student->net, student->id, x->student, true, x->seed, &w->err);
    pthread_mutex_unlock(&w->run->report);
    return rc;
}

static int open_head(Worker *w, const Instruction *in)
{
    const Execution *x = w->run->x;
    Student         *student = student_of(w, in);

    if (!workload_has_head(x->workload, in->block)) return 0;
    if (head_new(&student->head, w->memory, &student->block, student->net, &w->err) != 0) return -1;
    if (head_teacher(student->head)
        && state_load_teacher(head_teacher(student->head), in->block, x->teacher, x->seed, &w->err)
               != 0)
        return -1;
    head_lend(student->head, lent(w, VALUE_STUDENT_WORK, in));
    return 0;
}

/* The net of a FORWARD's student with its weights and state, ready for all sizes of its parts, with
 * memory that it borrows. */
static int open_student(Worker *w, const Instruction *in)
{
    const Execution *x = w->run->x;
    Student         *student = student_of(w, in);
    const WorkBlock *block = &student->block;

    student->loss_at = &student->loss;
    student->summed = NULL;
    student->group = -1;
    student->reports = true;
    student->from = student->handed = w->run->from_step[number_of(student)];
    NetMode mode = workload_has_head(x->workload, in->block) ? NET_HEADLESS : NET_TRAINED;
    if (net_new(&student->net, w->memory, &block->student, block->in, mode, &w->err) != 0)
        return -1;
    if (micro_parts(x->micro_batches, in->rows) > 1 && net_keep_sums(student->net, &w->err) != 0)
        return -1;
    if (w->run->x->workload->optimizer == OPTIMIZER_ADAMW
        && net_keep_squares(student->net, &w->err) != 0)
        return -1;
    if (load_student(w, student) != 0) return -1;
    if (!student->choices)
        student->choices = calloc((size_t)block->choices + 1, sizeof *student->choices);
    if (!student->choices) return error_no_memory(&w->err);
    if (x->snapshot && !student->state && tensors_new(&student->state, &w->err) != 0) return -1;
    net_lend(student->net, lent(w, VALUE_KEPT, in), lent(w, VALUE_STUDENT_WORK, in));
    if (open_head(w, in) != 0) return -1;
    for (int last = 0; last < 2; last++) {       /* parts of at most two sizes */
        int64_t rows = part_of(w, in, last ? micro_parts(x->micro_batches, in->rows) - 1 : 0).rows;
        if (net_prepare(student->net, rows, &w->err) != 0) return -1;
        if (student->head && head_prepare(student->head, rows, &w->err) != 0) return -1;
    }
    return 0;
}

static int open_group(Worker *w, const Instruction *in)
{
    Student *student = student_of(w, in);
    int      parameters = net_parameter_count(student->net);

    student->group = in->link;
    student->reports = w->run->x->program->groups[in->link].devices[0] == w->device;
    if (w->run->x->synchronise) net_synchronise(student->net, sum_statistics, student);
    if (parameters <= w->run_capacity) return 0;
    GradientRun *moved = realloc(w->runs, (size_t)parameters * sizeof *moved);
    if (!moved) return error_no_memory(&w->err);
    w->runs = moved;
    w->run_capacity = parameters;
    return 0;
}

/* The nets the phase does not need go first, so that both never stand side by side. */
static void close_nets(Worker *w, bool all)
{
    for (int b = 0; b < w->run->x->workload->block_count; b++) {
        bool needed = false;
        for (int i = 0; !all && i < w->phase->count; i++) {
            const Instruction *in = &w->code->code[w->phase->first + i];
            needed = needed || (in->op == OP_TEACHER && in->block == b);
        }
        if (!needed) { net_free(w->teacher[b]); w->teacher[b] = NULL; }
    }
    for (int k = 0; k < w->student_count; k++) {
        Student *student = &w->students[k];
        head_free(student->head);
        net_free(student->net);
        tensors_free(student->state);
        student->head = NULL;
        student->net = NULL;
        student->state = NULL;
    }
}

static int open_nets(Worker *w)
{
    for (int i = 0; i < w->phase->count; i++) {
        const Instruction *in = &w->code->code[w->phase->first + i];
        if (in->op == OP_TEACHER && open_teacher(w, in) != 0) return -1;
        if (in->op == OP_FORWARD && open_student(w, in) != 0) return -1;
        if (in->op == OP_ALLREDUCE && open_group(w, in) != 0) return -1;
    }
    return 0;
}

/* A net's own memory: it borrows what it keeps and works with. */
static int64_t own_bytes(const Net *net)
{
    NetBytes bytes = net ? net_bytes(net, 0) : (NetBytes){0};

    return bytes.weight + bytes.gradient + bytes.state + bytes.sums;
}

/* Of all that is open. */
static void count_bytes(Worker *w)
{
    int64_t bytes = w->queue_bytes + steps_bytes(w) + buffers_bytes(&w->buffers)
                    + device_work_bytes(w->memory) + loader_bytes(w->run->loader, w->device);
    for (int k = 0; w->run->fetcher && k <= w->run->x->workload->block_count; k++) {
        int queue = run_fetch_queue(w->run, w->device, k);
        bytes += loader_bytes(w->run->fetcher, queue);
        if (w->run->exchange) bytes += row_exchange_bytes(w->run->exchange, queue);
    }
    int64_t *peak = &w->run->peak_bytes[w->device];

    for (int b = 0; b < w->run->x->workload->block_count; b++) bytes += own_bytes(w->teacher[b]);
    for (int k = 0; k < w->student_count; k++) {
        HeadBytes head =
            w->students[k].head ? head_bytes(w->students[k].head, 1) : (HeadBytes){0};
        bytes += own_bytes(w->students[k].net) + head.weight + head.own;
    }
    if (bytes > *peak) *peak = bytes;
    status_board_bytes(w->run->board, w->device, *peak);
}

/* ---- a phase ------------------------------------------------------------------------ */

/* run_first_step(); of a phase that is stolen, by its own students. */
static int64_t first_step(const Worker *w, bool stolen)
{
    if (!stolen) return run_first_step(w->run, w->code, w->phase);
    int64_t first = run_phase_first(w->run, w->code, w->phase);
    return first >= 0 ? first : w->run->x->program->steps;
}

static void select_phase(Worker *w, const Code *code, int number, bool stolen)
{
    int before = stolen ? w->run->x->program->devices[w->device].phase_count : 0;

    w->code = code;
    w->phase = &code->phases[number];
    w->planned = before + number;
    w->values = w->buffers.phases[w->planned].values;
    w->number = number;
    w->first = w->step = first_step(w, stolen);
    w->end = run_phase_end(w->run, w->phase);
}

static bool is_over(const Worker *w) { return w->first >= w->end; }

/* What the phase loads and fetches, ahead of its steps. */
static int begin_loads(Worker *w)
{
    for (int i = 0; i < w->phase->count; i++) {
        const Instruction *in = &w->code->code[w->phase->first + i];
        Loader            *loader = in->op == OP_FETCH ? w->run->fetcher : w->run->loader;
        int queue = in->op == OP_FETCH ? run_fetch_queue(w->run, w->device, in->block) : w->device;
        if (in->op != OP_LOAD && in->op != OP_FETCH) continue;
        if (in->op == OP_FETCH && w->run->exchange)
            row_exchange_begin(w->run->exchange, queue, w->phase);
        if (loader_begin(loader, queue, in->row, in->rows, w->first, w->end - w->first, &w->err)
            != 0)
            return -1;
        for (int64_t s = 0; in->op == OP_FETCH && s < STORAGE_AHEAD; s++)
            worker_expect(w, in, w->first + s);
    }
    return 0;
}

static int open_phase(Worker *w)
{
    if (is_over(w)) return 0;
    tell(w, DEVICE_STARTING, -1, clock_ns());
    close_nets(w, false);
    if (buffers_begin(&w->buffers, w->memory, w->planned, &w->err) != 0 || open_nets(w) != 0)
        return -1;
    if (begin_loads(w) != 0) return -1;
    count_bytes(w);
    return 0;
}

/* Whether the step is to be run: not when all are to stop before it. */
static bool step_begins(Worker *w, bool stolen)
{
    Run    *run = w->run;
    int64_t place = w->phase->number * run->x->program->steps + w->step;

    return run_control_step_begins(run->control, w->device, place, !run->linked || stolen);
}

/* The students of the phase go back to the caller, each from the first of its group. */
static int close_phase(Worker *w)
{
    Run *run = w->run;

    for (int k = 0; k < w->student_count; k++) {
        Student *student = &w->students[k];
        if (!student->net || !student->reports) continue;
        int64_t ended = w->step > student->from ? w->step : student->from;
        if (run->x->snapshot && student->handed < ended && snapshot(student, ended) != 0) return -1;
        pthread_mutex_lock(&run->report);
        int rc = state_store(student->net, student->id, ended, true, run->x->student, &w->err);
        if (rc == 0) rc = check_state(student, ended, run->x->student);
        run->ended[k] = ended;
        run->trained[k] = true;
        if (ended > student->from) run->loss[k] = student->loss;
        pthread_mutex_unlock(&run->report);
        if (rc != 0) return -1;
    }
    return 0;
}

static int run_phase(Worker *w, bool stolen)
{
    PhaseTimes times = {.device = w->device, .phase = w->number, .stolen = stolen,
                        .first = w->first, .steps = w->end - w->first, .overlapped = w->async};

    if (is_over(w)) return 0;
    if (record_phase(w->recorder, &times, w->phase->count, clock_ns(), &w->err) != 0) return -1;
    int64_t before_ns = clock_thread_ns();
    if (steps_begin(w) != 0) return -1;
    for (; w->step < w->end; w->step++) {
        if (!step_begins(w, stolen)) { w->stopping = true; break; }
        if (steps_run(w) != 0) return -1;
    }
    if (steps_end(w) != 0) return -1;
    record_cpu(w->recorder, clock_thread_ns() - before_ns);
    return close_phase(w);
}

/* ---- a worker ------------------------------------------------------------------------- */

static int open_lengths(Worker *w)
{
    const Execution *x = w->run->x;

    if (!x->data || !data_is_uneven(x->data)) return 0;
    w->lengths = calloc((size_t)x->program->batch, sizeof *w->lengths);
    w->lengths_step = -1;
    return w->lengths ? 0 : error_no_memory(&w->err);
}

static int open_labels(Worker *w)
{
    const Execution *x = w->run->x;
    const WorkBlock *last = &x->workload->block[x->workload->block_count - 1];

    if (!loss_is_of_labels(last->loss)) return 0;
    w->labels_a_row = (int64_t)last->out.height * last->out.width;
    w->labels = calloc((size_t)(x->program->batch * w->labels_a_row), sizeof *w->labels);
    return w->labels ? 0 : error_no_memory(&w->err);
}

/* The number in code of the device's first phase from p on that is executed; -1: none. */
static int next_phase(const Worker *w, int p)
{
    const Code *code = &w->run->x->program->devices[w->device];

    while (p < code->phase_count && !run_has_phase(w->run, &code->phases[p])) p++;
    return p < code->phase_count ? p : -1;
}

static int open_students(Worker *w)
{
    const Workload *workload = w->run->x->workload;

    w->student_count = workload_students(workload);
    w->students = calloc((size_t)w->student_count, sizeof *w->students);
    if (!w->students) return error_no_memory(&w->err);
    for (int k = 0; k < w->student_count; k++) {
        StudentId id = workload_student(workload, k);
        w->students[k] =
            (Student){.worker = w, .id = id,
                      .block = block_with_student(&workload->block[id.block], id.student)};
    }
    return 0;
}

/* Makes what a device's worker needs, on its own thread: the device, buffers, its place in the
 * transport, and the first phase it has. */
static int open_worker(Worker *w)
{
    Run             *run = w->run;
    const Execution *x = run->x;
    size_t           blocks = (size_t)x->workload->block_count;

    if (device_open(&w->memory, x->devices,
                    x->first_of_spec + w->device - world_first_device(x->world), &w->err)
        != 0)
        return -1;
    w->teacher = calloc(blocks, sizeof *w->teacher);
    w->loaded = calloc(blocks + 1, sizeof *w->loaded);
    if (!w->teacher || !w->loaded) return error_no_memory(&w->err);
    if (open_students(w) != 0 || open_lengths(w) != 0 || open_labels(w) != 0) return -1;
    if (buffers_plan(&w->buffers, x->program, x->workload, x->micro_batches, w->device, w->memory,
                     run->message_count, &w->err)
            != 0
        || buffers_open(&w->buffers, w->memory, &w->err) != 0)
        return -1;
    w->joined = true;
    if (run->transport->ops->join(run->transport, w->device, w->memory, &w->queue_bytes, &w->err)
        != 0)
        return -1;
    if (steps_open(w) != 0) return -1;
    count_bytes(w);
    int first = next_phase(w, 0);
    if (first < 0) return 0;
    select_phase(w, &x->program->devices[w->device], first, false);
    return open_phase(w);
}

static int run_phases(Worker *w)
{
    const Program *program = w->run->x->program;
    const Code    *code = &program->devices[w->device];

    for (int p = next_phase(w, 0), first = p; p >= 0 && !w->stopping; p = next_phase(w, p + 1)) {
        select_phase(w, code, p, false);
        if (p > first && open_phase(w) != 0) return -1;  /* the first is open already */
        if (run_phase(w, false) != 0) return -1;
    }
    while (!w->stopping) {
        int task;
        if (program->queue.phase_count == 0) break;
        if (run_control_next_task(w->run->control, w->device, &task, &w->err) != 0) return -1;
        if (task >= program->queue.phase_count) break;
        select_phase(w, &program->queue, task, true);
        if (open_phase(w) != 0 || run_phase(w, true) != 0) return -1;
    }
    return 0;
}

static void leave(Worker *w)
{
    if (w->joined) w->run->transport->ops->leave(w->run->transport, w->device);
    w->joined = false;
}

static void close_worker(Worker *w)
{
    /* Before the nets, to which sums go that a stop left unfinished. */
    leave(w);
    if (w->teacher && w->students) {
        close_nets(w, true);
        for (int k = 0; k < w->student_count; k++) free(w->students[k].choices);
    }
    steps_close(w);
    buffers_free(&w->buffers, w->memory);
    free(w->teacher);
    free(w->students);
    free(w->runs);
    free(w->lengths);
    free(w->labels);
    free(w->loaded);
    if (w->memory) device_close(w->memory);
}

void *worker_run(void *argument)
{
    WorkerArgument *arg = argument;
    Worker          w = {.run = arg->run, .device = arg->device, .recorder = arg->recorder};
    int             rc = open_worker(&w);

    if (rc != 0) run_fail(w.run, &w.err);
    start_barrier_pass(&w.run->start);
    if (rc == 0 && !atomic_load(&w.run->failed)) rc = run_phases(&w);
    if (steps_rest(&w) != 0) rc = -1;
    if (rc == 0 && run_control_times(w.run->control, w.device, true, &w.err) != 0) rc = -1;
    status_board_state(w.run->board, w.device, rc == 0 ? DEVICE_DONE : DEVICE_FAILED, clock_ns());
    if (rc != 0) run_fail(w.run, &w.err);
    start_barrier_pass(&w.run->start);
    close_worker(&w);
    return NULL;
}
