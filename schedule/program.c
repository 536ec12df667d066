#include "schedule/program.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/minmax.h"
#include "schedule/registry.h"

double program_least(const Plan *plan)
{
    bool   phases = plan->schedule == SCHEDULE_DP || plan->schedule == SCHEDULE_LS;
    double count = 0;

    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *stage = &plan->stages[i];
        double       teachers = stage->last - (phases ? 0 : stage->first) + 1;
        double students = plan->schedule == SCHEDULE_SPLIT ? 0 : stage->last - stage->first + 1;
        count += (stage->width ? stage->width : 1) * (teachers + 3 * students);
    }
    return count;
}

/* Before memory is filled with what is too much. */
static int check_length(const Plan *plan, Error *err)
{
    double count = program_least(plan);

    if (count <= (double)PROGRAM_MAX_INSTRUCTIONS) return 0;
    return error_set(err,
                     "%s on %d devices with %d blocks%s is a program of %" PRId64
                     " million instructions or more, expected at most "
                     "%" PRId64 " million: fewer blocks or devices",
                     schedule_name(plan->schedule), plan->device_count, plan->block_count,
                     plan->schedule == SCHEDULE_DP ? ", each with the teacher from the input," : "",
                     (int64_t)(count * 1e-6), PROGRAM_MAX_INSTRUCTIONS / 1000000);
}

/* built: NULL: all devices. */
static int build(Program **out, const Plan *plan, int64_t steps, const bool *built, Error *err)
{
    Program *program;

    *out = NULL;
    if (check_length(plan, err) != 0) return -1;
    if (steps % plan->epochs)
        return error_set(err, "%" PRId64 " steps, expected as many in each of %" PRId64 " epochs",
                         steps, plan->epochs);
    program = program_new(plan->device_count, plan->block_count, plan->batch, steps);
    if (!program) return error_no_memory(err);
    program_set_students(program, plan->students);
    program->epochs = plan->epochs;
    program->home = plan->home;
    for (int k = 0; plan->stored && k <= plan->block_count; k++) program->tier[k] = plan->stored[k];
    program->built = built;
    if (schedule_row(plan->schedule)->build(program, plan, err) != 0) {
        program_free(program);
        return -1;
    }
    program->built = NULL;
    *out = program;
    return 0;
}

int program_build(Program **out, const Plan *plan, int64_t steps, Error *err)
{
    return build(out, plan, steps, NULL, err);
}

int program_build_epochs(Program **out, const Plan *plan, int64_t epoch_steps, Error *err)
{
    *out = NULL;
    if (epoch_steps > ((int64_t)1 << 62) / plan->epochs)
        return error_set(err,
                         "%" PRId64 " steps in each of %" PRId64
                         " epochs, expected at most 2^62 in all",
                         epoch_steps, plan->epochs);
    return program_build(out, plan, epoch_steps * plan->epochs, err);
}

int program_build_excerpt(Program **out, const Plan *plan, int64_t steps, const bool *built,
                          Error *err)
{
    const ScheduleRow *row = schedule_row(plan->schedule);
    Plan               some = *plan;     /* borrows what plan has */
    Stage             *stages = calloc((size_t)plan->stage_count, sizeof *stages);
    int                rc;

    *out = NULL;
    if (!stages) return error_no_memory(err);
    some.stage_count = 0;
    for (int i = 0; i < (row->lists ? plan->stage_count : 1); i++)
        if (!row->lists || built[plan->stages[i].devices[0]])
            stages[some.stage_count++] = plan->stages[i];
    some.stages = stages;
    rc = build(out, &some, steps, built, err);
    free(stages);
    return rc;
}

int program_build_short(Program **out, const Plan *plan, int64_t steps, Error *err)
{
    Plan shorter = *plan;        /* borrows what plan has */

    if (shorter.epochs > 2) shorter.epochs = 2;
    return program_build_epochs(out, &shorter, steps, err);
}

Program *program_new(int device_count, int block_count, int64_t batch, int64_t steps)
{
    Program *program = calloc(1, sizeof *program);

    if (!program) return NULL;
    program->device_count = device_count;
    program->block_count = block_count;
    program->batch = batch;
    program->steps = steps;
    program->epochs = 1;
    program->home = -1;
    program->devices = calloc((size_t)device_count, sizeof *program->devices);
    program->first_student = calloc((size_t)block_count + 1, sizeof *program->first_student);
    program->tier = malloc(((size_t)block_count + 1) * sizeof *program->tier);
    if (!program->devices || !program->first_student || !program->tier) {
        free(program->devices);
        free(program->first_student);
        free(program->tier);
        free(program);
        return NULL;
    }
    for (int b = 0; b <= block_count; b++) program->tier[b] = -1;
    program_set_students(program, NULL);
    return program;
}

void program_set_students(Program *program, const int *students)
{
    for (int b = 0; b < program->block_count; b++)
        program->first_student[b + 1] = program->first_student[b] + (students ? students[b] : 1);
}

int program_student_count(const Program *program)
{
    return program->first_student[program->block_count];
}

int program_students(const Program *program, int block)
{
    return program->first_student[block + 1] - program->first_student[block];
}

int program_student(const Program *program, int block, int student)
{
    return program->first_student[block] + student;
}

static void code_free(Code *code)
{
    free(code->code);
    free(code->phases);
}

void program_free(Program *program)
{
    if (!program) return;
    for (int d = 0; d < program->device_count; d++) code_free(&program->devices[d]);
    code_free(&program->queue);
    for (int g = 0; g < program->group_count; g++) free(program->groups[g].devices);
    free(program->groups);
    free(program->channels);
    free(program->first_student);
    free(program->tier);
    free(program->devices);
    free(program);
}

int program_begin_phase(Code *code, int64_t steps, Error *err)
{
    if (!array_has_room(code->phases, code->phase_count, code->phase_capacity))
        return error_no_memory(err);
    code->phases[code->phase_count] = (Phase){code->code_count, 0, steps, 0, code->phase_count};
    code->phase_count++;
    return 0;
}

int program_reserve(Code *code, int instructions, Error *err)
{
    if (instructions <= code->code_capacity - code->code_count) return 0;
    if (instructions > INT_MAX / 2 - code->code_count) return error_no_memory(err);
    int          room = code->code_count + instructions;
    Instruction *more = realloc(code->code, (size_t)room * sizeof *more);
    if (!more) return error_no_memory(err);
    code->code = more;
    code->code_capacity = room;
    return 0;
}

int program_emit(Program *program, Code *code, Instruction instruction, Error *err)
{
    if (++program->instruction_count > PROGRAM_MAX_INSTRUCTIONS)
        return error_set(err, "the program has more than %" PRId64 " instructions, expected fewer "
                         "blocks or devices", PROGRAM_MAX_INSTRUCTIONS);
    if (!array_has_room(code->code, code->code_count, code->code_capacity))
        return error_no_memory(err);
    code->code[code->code_count++] = instruction;
    code->phases[code->phase_count - 1].count++;
    return 0;
}

int program_channel(Program *program, int from, int to, Error *err)
{
    for (int i = program->channel_count - 1; i >= 0; i--)
        if (program->channels[i].from == from && program->channels[i].to == to) return i;
    if (!array_has_room(program->channels, program->channel_count, program->channel_capacity))
        return error_no_memory(err);
    program->channels[program->channel_count] = (Channel){from, to};
    return program->channel_count++;
}

int program_group(Program *program, const int *devices, int count, Error *err)
{
    if (!array_has_room(program->groups, program->group_count, program->group_capacity))
        return error_no_memory(err);
    int *members = malloc((size_t)count * sizeof *members);
    if (!members) return error_no_memory(err);
    memcpy(members, devices, (size_t)count * sizeof *members);
    program->groups[program->group_count] = (Group){members, count};
    return program->group_count++;
}

const char *op_name(Op op)
{
    static const char *const names[OP_COUNT] = {"LOAD", "RECV", "SEND", "TEACHER", "FORWARD",
                                                "BACKWARD", "ALLREDUCE", "UPDATE", "BARRIER",
                                                "STORE", "FETCH", "ONLOAD", "OFFLOAD"};

    return names[op];
}

bool op_stores(Op op) { return op >= OP_STORE && op <= OP_OFFLOAD; }

bool op_computes(Op op)
{
    return op == OP_TEACHER || op == OP_FORWARD || op == OP_BACKWARD || op == OP_UPDATE;
}

bool op_trains(Op op) { return op >= OP_FORWARD && op <= OP_UPDATE; }

bool op_has_boundary(Op op)
{
    return op == OP_LOAD || op == OP_RECV || op == OP_SEND || op == OP_STORE || op == OP_FETCH;
}

static bool code_stores(const Code *code)
{
    for (int i = 0; i < code->code_count; i++)
        if (op_stores(code->code[i].op)) return true;
    return false;
}

bool code_matches(const Code *a, const Code *b)
{
    if (a->code_count != b->code_count || a->phase_count != b->phase_count) return false;
    for (int i = 0; i < a->phase_count; i++)
        if (a->phases[i].first != b->phases[i].first || a->phases[i].count != b->phases[i].count
            || a->phases[i].steps != b->phases[i].steps) return false;
    for (int i = 0; i < a->code_count; i++) {
        const Instruction *x = &a->code[i], *y = &b->code[i];
        if (x->op != y->op || x->block != y->block || x->link != y->link || x->rows != y->rows
            || x->student != y->student) return false;
    }
    return true;
}

bool program_stores(const Program *program)
{
    for (int d = 0; d < program->device_count; d++)
        if (code_stores(&program->devices[d])) return true;
    return code_stores(&program->queue);
}

int program_numbers(const Program *program)
{
    int numbers = 0;

    for (int d = 0; d < program->device_count; d++) {
        const Code *code = &program->devices[d];
        if (code->phase_count > 0)
            numbers = (int)larger(numbers, code->phases[code->phase_count - 1].number + 1);
    }
    return numbers;
}

const char *instruction_text(const Program *program, const Instruction *in, char *buffer,
                             size_t size)
{
    int  used;
    bool message = in->op == OP_RECV || in->op == OP_SEND;

    if (in->op == OP_BARRIER) {
        snprintf(buffer, size, "BARRIER");
        return buffer;
    }
    used = snprintf(buffer, size, "%s %s%d", op_name(in->op),
                    op_has_boundary(in->op) ? "boundary " : "", in->block);
    if (op_trains(in->op) && program_student_count(program) > program->block_count && used > 0
        && (size_t)used < size)
        used += snprintf(buffer + used, size - (size_t)used, " student %d", in->student);
    if (in->rows > 0 && used > 0 && (size_t)used < size)
        used += snprintf(buffer + used, size - (size_t)used, ", rows %" PRId64 "..%" PRId64,
                         in->row, in->row + in->rows - 1);
    if (message && used > 0 && (size_t)used < size && in->link >= 0
        && in->link < program->channel_count)
        snprintf(buffer + used, size - (size_t)used,
                 in->op == OP_SEND ? ", to device %d" : ", from device %d",
                 in->op == OP_SEND ? program->channels[in->link].to
                                   : program->channels[in->link].from);
    return buffer;
}
