#include "schedule/program_parts.h"

#include <stdlib.h>
#include <string.h>

/* What a phase does, into part, which is that of its number. */
static void look_at_phase(ProgramPart *part, const Program *program, const Code *code,
                          const Phase *phase)
{
    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        if (in->op == OP_FORWARD)
            part->trains[program_student(program, in->block, in->student)] = true;
        if (in->op == OP_STORE) part->stores[in->block] = true;
        if (in->op == OP_FETCH) part->fetches[in->block] = true;
    }
}

bool flags_share(const bool *a, const bool *b, int count)
{
    for (int i = 0; i < count; i++)
        if (a[i] && b[i]) return true;
    return false;
}

bool flags_any(const bool *flags, int count) { return flags_share(flags, flags, count); }

static void merge(bool *into, const bool *from, int count)
{
    for (int i = 0; i < count; i++) into[i] = into[i] || from[i];
}

/* Whether other can do the rest of part (ProgramPart.rest). */
static bool is_rest(const ProgramPart *other, const ProgramPart *part, const Program *program)
{
    int    blocks = program->block_count;
    size_t students = (size_t)program_student_count(program);

    if (memcmp(other->trains, part->trains, students * sizeof *part->trains) != 0
        || flags_any(other->stores, blocks + 1))
        return false;
    for (int k = 0; k <= blocks; k++)
        if (other->fetches[k] && !part->stores[k] && !part->fetches[k]) return false;
    return true;
}

static void find_rest(ProgramParts *parts, int i, const Program *program)
{
    ProgramPart *part = &parts->part[i];

    part->rest = -1;
    for (int j = i + 1; j < parts->count && part->rest < 0; j++)
        if (is_rest(&parts->part[j], part, program)) part->rest = j;
}

/* Whether the phases of next may run while those of part do. */
static bool go_together(const ProgramPart *part, const ProgramPart *next, const Program *program)
{
    int blocks = program->block_count;

    return flags_any(part->stores, blocks + 1) == flags_any(next->stores, blocks + 1)
           && !flags_share(part->stores, next->fetches, blocks + 1)
           && !flags_share(part->trains, next->trains, program_student_count(program));
}

static void set_flags(ProgramPart *part, bool *flags, const Program *program)
{
    part->trains = flags;
    part->stores = part->trains + program_student_count(program);
    part->fetches = part->stores + program->block_count + 1;
}

/* A part for each number. */
static int parts_by_number(ProgramParts *out, const Program *program, Error *err)
{
    size_t numbers = (size_t)program_numbers(program),
           each = (size_t)program_student_count(program) + 2 * ((size_t)program->block_count + 1);

    *out = (ProgramParts){.part = calloc(numbers + 1, sizeof *out->part),
                          .flags = calloc((numbers + 1) * each, sizeof *out->flags)};
    if (!out->part || !out->flags) return error_no_memory(err);
    for (; out->count < (int)numbers; out->count++) {
        ProgramPart *part = &out->part[out->count];
        set_flags(part, out->flags + (size_t)out->count * each, program);
        part->first = part->last = out->count;
    }
    for (int d = 0; d < program->device_count; d++) {
        const Code *code = &program->devices[d];
        for (int p = 0; p < code->phase_count; p++)
            look_at_phase(&out->part[code->phases[p].number], program, code, &code->phases[p]);
    }
    return 0;
}

int program_parts_find(ProgramParts *out, const Program *program, Error *err)
{
    int blocks = program->block_count, kept = 0;

    if (parts_by_number(out, program, err) != 0) return -1;
    for (int n = 0; n < out->count; n++) {
        ProgramPart *next = &out->part[n], *last = kept > 0 ? &out->part[kept - 1] : NULL;
        if (last && go_together(last, next, program)) {
            merge(last->trains, next->trains, program_student_count(program));
            merge(last->stores, next->stores, blocks + 1);
            merge(last->fetches, next->fetches, blocks + 1);
            last->last = n;
            continue;
        }
        out->part[kept++] = *next;
    }
    out->count = kept;
    for (int i = 0; i < out->count; i++) find_rest(out, i, program);
    return 0;
}

void program_parts_free(ProgramParts *parts)
{
    free(parts->part);
    free(parts->flags);
    *parts = (ProgramParts){0};
}

void program_stored_set(bool *out, const Program *program)
{
    memset(out, 0, ((size_t)program->block_count + 1) * sizeof *out);
    for (int d = 0; d < program->device_count; d++)
        for (int i = 0; i < program->devices[d].code_count; i++) {
            const Instruction *in = &program->devices[d].code[i];
            if (in->op == OP_STORE || in->op == OP_FETCH) out[in->block] = true;
        }
}
