/* Blocks with several students: which are there, and one of each alone. */
#include "workloads/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int block_students(const WorkBlock *block) { return block->students ? block->student_count : 1; }

WorkBlock block_with_student(const WorkBlock *block, int student)
{
    WorkBlock one = *block;

    if (!block->students) return one;
    one.students = &block->students[student];
    one.student_count = 1;
    one.student = one.students->layers;
    one.choices = one.students->choices;
    return one;
}

int workload_students(const Workload *workload)
{
    return workload_student_number(workload, workload->block_count, 0);
}

int workload_student_number(const Workload *workload, int block, int student)
{
    for (int b = 0; b < block; b++) student += block_students(&workload->block[b]);
    return student;
}

StudentId workload_student(const Workload *workload, int number)
{
    int b = 0;

    for (; number >= block_students(&workload->block[b]); b++)
        number -= block_students(&workload->block[b]);
    return workload_student_of(workload, b, number);
}

StudentId workload_student_of(const Workload *workload, int block, int student)
{
    const WorkStudent *students = workload->block[block].students;

    return (StudentId){block, student, students ? students[student].name : NULL};
}

int *workload_student_counts(const Workload *workload)
{
    int *counts = calloc((size_t)workload->block_count + 1, sizeof *counts);

    for (int b = 0; counts && b < workload->block_count; b++)
        counts[b] = block_students(&workload->block[b]);
    return counts;
}

bool workload_has_candidates(const Workload *workload)
{
    return workload_students(workload) > workload->block_count;
}

const char *student_text(char out[STUDENT_TEXT_BYTES], const Workload *workload, StudentId id)
{
    snprintf(out, STUDENT_TEXT_BYTES, "%s%s%s", workload->block[id.block].name, id.name ? "/" : "",
             id.name ? id.name : "");
    return out;
}

int student_text_columns(const Workload *workload, int least)
{
    for (int k = 0; k < workload_students(workload); k++) {
        StudentId id = workload_student(workload, k);
        char      name[STUDENT_TEXT_BYTES];
        int       length = (int)strlen(student_text(name, workload, id));
        if (id.name && length > least) least = length;
    }
    return least;
}

/* The student of a block by a word of a list, length characters long; -1: it has none such. */
static int find_student(const WorkBlock *block, const char *word, size_t length)
{
    for (int j = 0; j < block_students(block); j++) {
        char number[16];
        snprintf(number, sizeof number, "%d", j);
        const char *name = block->students ? block->students[j].name : number;
        if ((strlen(name) == length && strncmp(name, word, length) == 0)
            || (strlen(number) == length && strncmp(number, word, length) == 0))
            return j;
    }
    return -1;
}

static int no_student(const WorkBlock *block, const char *word, size_t length, Error *err)
{
    Text names = {0};

    for (int j = 0; block->students && j < block->student_count && j < 8; j++)
        text_printf(&names, "%s%s", j ? ", " : ": ", block->students[j].name);
    if (block_students(block) > 8) text_append(&names, ", ...");
    error_set(err, "block \"%s\" has no student \"%.*s\", expected one of its %d%s", block->name,
              (int)length, word, block_students(block), text_string(&names));
    text_free(&names);
    return -1;
}

int workload_read_students(int *students, const Workload *workload, const char *list, Error *err)
{
    int count = 0;

    for (const char *word = list;; word++) {
        size_t length = strcspn(word, ",");
        if (count < workload->block_count) {
            const WorkBlock *block = &workload->block[count];
            students[count] = find_student(block, word, length);
            if (students[count] < 0) return no_student(block, word, length, err);
        }
        count++;
        word += length;
        if (!*word) break;
    }
    if (count == workload->block_count) return 0;
    return error_set(err, "\"%s\" names %d students, expected one for each of %d blocks", list,
                     count, workload->block_count);
}

int workload_pick(Workload **out, const Workload *workload, const int *students, Error *err)
{
    Workload *picked = malloc(sizeof *picked);

    *out = NULL;
    if (!picked) return error_no_memory(err);
    *picked = *workload;
    picked->arena = (Arena){0};
    picked->block =
        arena_alloc(&picked->arena, (size_t)workload->block_count, sizeof *picked->block);
    if (!picked->block) { workload_free(picked); return error_no_memory(err); }
    for (int b = 0; b < workload->block_count; b++)
        picked->block[b] = block_with_student(&workload->block[b], students[b]);
    *out = picked;
    return 0;
}
