#include "executor/checkpoint/state_names.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

size_t state_prefix(const char *name)
{
    return starts_with(name, "momentum.blocks.") ? 9 : starts_with(name, "squares.blocks.") ? 8 : 0;
}

int state_block(const char *name)
{
    char *end;

    name += state_prefix(name);
    if (!starts_with(name, "blocks.") || !isdigit((unsigned char)name[7])) return -1;
    errno = 0;
    long long block = strtoll(name + 7, &end, 10);
    return *end == '.' && errno == 0 && block <= INT_MAX ? (int)block : -1;
}

bool state_is_of(const char *name, StudentId id)
{
    if (state_block(name) != id.block) return false;
    const char *rest = strchr(name + state_prefix(name) + strlen("blocks."), '.') + 1;
    if (!id.name) return !isalpha((unsigned char)*rest);         /* not of a list's student */
    size_t length = strlen(id.name);
    return strncmp(rest, id.name, length) == 0 && rest[length] == '.';
}

int state_student(const Workload *workload, const char *name)
{
    int b = state_block(name);

    if (b < 0 || b >= workload->block_count) return -1;
    for (int j = 0; j < block_students(&workload->block[b]); j++)
        if (state_is_of(name, workload_student_of(workload, b, j)))
            return workload_student_number(workload, b, j);
    return -1;
}

int state_check_students(const Tensors *weights, const Workload *workload, Error *err)
{
    const char *path = tensors_path(weights);
    int         students = workload_students(workload), rc = 0;
    bool       *found = calloc((size_t)students, sizeof *found);

    if (!found) return error_no_memory(err);
    for (int i = 0; i < tensors_count(weights); i++) {
        const char *name = tensors_at(weights, i)->name;
        int         k = state_prefix(name) > 0 ? -1 : state_student(workload, name);
        if (k >= 0) found[k] = true;
    }
    for (int k = 0; rc == 0 && k < students; k++) {
        StudentId id = workload_student(workload, k);
        if (found[k]) continue;
        rc = error_set(err, "has no student%s%s of block %s, expected all %d", id.name ? " " : "",
                       id.name ? id.name : "", workload->block[id.block].name, students);
        if (path) error_prefix(err, "%s", path);
    }
    free(found);
    return rc;
}

const char *state_step_key(char out[STATE_KEY_BYTES], StudentId id)
{
    snprintf(out, STATE_KEY_BYTES, "step.%d%s%s", id.block, id.name ? "." : "",
             id.name ? id.name : "");
    return out;
}
