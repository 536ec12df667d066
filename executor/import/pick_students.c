#include "executor/import/pick_students.h"

#include <stdio.h>
#include <string.h>

#include "executor/checkpoint/state_names.h"

/* Those whose names begin with prefix, renamed. */
static int copy_named(Tensors *out, const Tensors *weights, int block, const char *prefix,
                      Error *err)
{
    size_t length = strlen(prefix);
    Text   name = {0};
    int    rc = 0;

    for (int i = 0; rc == 0 && i < tensors_count(weights); i++) {
        Tensor renamed = *tensors_at(weights, i);
        if (strncmp(renamed.name, prefix, length) != 0) continue;
        name.length = 0;
        text_printf(&name, "blocks.%d.%s", block, renamed.name + length);
        renamed.name = text_string(&name);
        rc = text_failed(&name) ? error_no_memory(err) : tensors_put_one(out, &renamed, err);
    }
    text_free(&name);
    return rc;
}

int students_pick(Tensors *out, const Tensors *weights, const Workload *picked, Error *err)
{
    char prefix[STATE_KEY_BYTES];

    if (state_check_students(weights, picked, err) != 0) return -1;
    for (int b = 0; b < picked->block_count; b++) {
        const char *name = workload_student_of(picked, b, 0).name;
        snprintf(prefix, sizeof prefix, "blocks.%d.%s%s", b, name ? name : "", name ? "." : "");
        if (copy_named(out, weights, b, prefix, err) != 0) return -1;
    }
    return 0;
}
