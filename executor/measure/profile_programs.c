#include "executor/measure/profile_programs.h"

#include "base/minmax.h"

typedef struct {
    Program *program;
    Code    *code;
    int64_t  row, rows;
    int      meet;           /* the group that meets before updates; -1: none */
    Error   *err;
    bool     failed;
} ProgramWriter;

static void emit_student(ProgramWriter *w, Op op, int block, int student, int link)
{
    Instruction in = {.op = op, .block = block, .link = link, .row = w->row, .rows = w->rows,
                      .student = student};

    if (!w->failed) w->failed = program_emit(w->program, w->code, in, w->err) != 0;
}

static void emit(ProgramWriter *w, Op op, int block, int link)
{
    emit_student(w, op, block, 0, link);
}

static ProgramWriter begin(Program *program, int device, int64_t row, int64_t rows, Error *err)
{
    ProgramWriter w = {program, &program->devices[device], row, rows, -1, err, false};

    w.failed = program_begin_phase(w.code, program->steps, err) != 0;
    return w;
}

/* The teacher up to block last. */
static void teach(ProgramWriter *w, int last)
{
    emit(w, OP_LOAD, 0, -1);
    for (int b = 0; b <= last; b++) emit(w, OP_TEACHER, b, -1);
}

/* Gradients of all students of the block, summed over the group, if there is one. */
static void find_gradients(ProgramWriter *w, int b, int group)
{
    for (int j = 0; j < program_students(w->program, b); j++) {
        emit_student(w, OP_FORWARD, b, j, -1);
        emit_student(w, OP_BACKWARD, b, j, -1);
        if (group >= 0) emit_student(w, OP_ALLREDUCE, b, j, group);
    }
}

static void update(ProgramWriter *w, int b)
{
    for (int j = 0; j < program_students(w->program, b); j++)
        emit_student(w, OP_UPDATE, b, j, -1);
}

/* All students of the block. */
static void train_block(ProgramWriter *w, int b, int group)
{
    find_gradients(w, b, group);
    if (w->meet >= 0) emit(w, OP_BARRIER, 0, w->meet);
    update(w, b);
}

/* Every block's students once, the first of them by turn, so that devices do not all do the
 * same. */
static void train(ProgramWriter *w, int first, int group)
{
    int n = w->program->block_count;

    for (int i = 0; i < n; i++) train_block(w, (first + i) % n, group);
}

static int hand_over(Program **out, Program *program, bool failed)
{
    if (failed) { program_free(program); return -1; }
    *out = program;
    return 0;
}

static Program *empty(const ProfileShape *shape, Error *err)
{
    Program *program = program_new(shape->devices, shape->blocks, shape->batch, shape->steps);

    if (program) program_set_students(program, shape->students);
    else error_no_memory(err);
    return program;
}

int profile_width(const ProfileShape *shape, int64_t rows)
{
    for (int w = 1; w <= shape->devices; w++)
        if (rows == shape->batch / w || rows == (shape->batch + w - 1) / w) return w;
    return 1;
}

/* meet[d]: the group of devices d / width * width and following that meet; -1 of one alone. */
static int make_meetings(int *meet, Program *program, int active, int width, Error *err)
{
    for (int first = 0; first < active; first += width) {
        int devices[PLAN_MAX_DEVICES], count = (int)smaller(width, active - first);
        int group = -1;

        for (int i = 0; i < count; i++) devices[i] = first + i;
        if (count > 1 && (group = program_group(program, devices, count, err)) < 0) return -1;
        for (int i = 0; i < count; i++) meet[first + i] = group;
    }
    return 0;
}

int profile_compute(Program **out, const ProfileShape *shape, int active, int width, int64_t rows,
                    Error *err)
{
    Program *program = empty(shape, err);
    int      meet[PLAN_MAX_DEVICES];
    bool     failed = false;

    *out = NULL;
    if (!program) return -1;
    failed = make_meetings(meet, program, active, width, err) != 0;
    for (int d = 0; d < active && !failed; d++) {
        ProgramWriter w = begin(program, d, 0, rows, err);
        w.meet = meet[d];
        teach(&w, shape->blocks - 1);
        train(&w, d / width * width * shape->blocks / active, -1);
        failed = w.failed;
    }
    return hand_over(out, program, failed);
}

int profile_single_block(Program **out, const ProfileShape *shape, int active, int width,
                         int64_t rows, Error *err)
{
    Program *program = empty(shape, err);
    int      meet[PLAN_MAX_DEVICES];
    bool     failed = false;

    *out = NULL;
    if (!program) return -1;
    failed = make_meetings(meet, program, active, width, err) != 0;
    for (int b = 0; b < shape->blocks; b++)
        for (int d = 0; d < active && !failed; d++) {
            ProgramWriter w = begin(program, d, 0, rows, err);
            w.meet = meet[d];
            teach(&w, b);
            train_block(&w, b, -1);
            failed = w.failed;
        }
    return hand_over(out, program, failed);
}

int profile_reduce(Program **out, const ProfileShape *shape, int first, int width, bool busy,
                   Error *err)
{
    Program *program = empty(shape, err);
    int      devices[PLAN_MAX_DEVICES], group;
    int64_t  row = 0;
    bool     failed = false;

    *out = NULL;
    if (!program) return -1;
    for (int d = 0; d < width; d++) devices[d] = first + d;
    group = program_group(program, devices, width, err);
    failed = group < 0;
    for (int d = 0; d < width && !failed; d++) {
        int64_t rows = shape->batch / width + (d < shape->batch % width);
        ProgramWriter  w = begin(program, first + d, row, rows, err);
        teach(&w, shape->blocks - 1);
        if (!busy) train(&w, 0, group);
        for (int b = 0; b < shape->blocks && busy; b++) find_gradients(&w, b, group);
        for (int b = 0; b < shape->blocks && busy; b++) update(&w, b);
        failed = w.failed;
        row += rows;
    }
    return hand_over(out, program, failed);
}

int profile_relay(Program **out, const ProfileShape *shape, int from, int to, int64_t rows,
                  bool apart, Error *err)
{
    Program *program = empty(shape, err);
    ProgramWriter   sender, receiver;
    int      channel, group = -1;

    *out = NULL;
    if (!program) return -1;
    channel = program_channel(program, from, to, err);
    if (channel >= 0 && apart) group = program_group(program, (int[]){from, to}, 2, err);
    if (channel < 0 || (apart && group < 0)) return hand_over(out, program, true);
    sender = begin(program, from, 0, rows, err);
    receiver = begin(program, to, 0, rows, err);
    if (apart) emit(&sender, OP_LOAD, 0, -1);
    else       teach(&sender, shape->blocks - 1);
    for (int k = 1; k <= shape->blocks; k++) {
        if (apart) emit(&sender, OP_TEACHER, k - 1, -1);
        if (apart) emit(&sender, OP_BARRIER, 0, group);
        if (apart) emit(&receiver, OP_BARRIER, 0, group);
        emit(&sender, OP_SEND, k, channel);
        emit(&receiver, OP_RECV, k, channel);
    }
    train_block(&sender, 0, -1);         /* steps are counted by what they train */
    return hand_over(out, program, sender.failed || receiver.failed);
}

int profile_busy_relay(Program **out, const ProfileShape *shape, int from, int to, int64_t rows,
                       int times, Error *err)
{
    Program *program = empty(shape, err);
    ProgramWriter   sender, receiver;
    int             channel;

    *out = NULL;
    if (!program) return -1;
    channel = program_channel(program, from, to, err);
    if (channel < 0) return hand_over(out, program, true);
    sender = begin(program, from, 0, rows, err);
    receiver = begin(program, to, 0, rows, err);
    emit(&sender, OP_LOAD, 0, -1);
    emit(&receiver, OP_LOAD, 0, -1);
    for (int b = 0; b < shape->blocks; b++) {
        emit(&sender, OP_TEACHER, b, -1);
        emit(&sender, OP_SEND, b + 1, channel);
        emit(&receiver, OP_RECV, b + 1, channel);
        for (int i = 0; i < times; i++) find_gradients(&receiver, b, -1);
    }
    train_block(&sender, 0, -1);         /* steps are counted by what they train */
    for (int b = 0; b < shape->blocks; b++) update(&receiver, b);
    return hand_over(out, program, sender.failed || receiver.failed);
}
