#include "executor/import/pick_students.h"

#include <string.h>

/* Those whose names begin with prefix, renamed; *found: there are some. */
static int copy_named(Tensors *out, const Tensors *weights, int block, const char *prefix,
                      bool *found, Error *err)
{
    size_t length = strlen(prefix);
    Text   name = {0};
    int    rc = 0;

    *found = false;
    for (int i = 0; rc == 0 && i < tensors_count(weights); i++) {
        const Tensor *from = tensors_at(weights, i);
        Tensor       *to;
        if (strncmp(from->name, prefix, length) != 0) continue;
        *found = true;
        name.length = 0;
        text_printf(&name, "blocks.%d.%s", block, from->name + length);
        rc = text_failed(&name)
                 ? error_no_memory(err)
                 : tensors_add(out, text_string(&name), from->rank, from->dim, &to, err);
        if (rc == 0) memcpy(to->values, from->values, (size_t)from->count * sizeof *to->values);
    }
    text_free(&name);
    return rc;
}

int students_pick(Tensors *out, const Tensors *weights, const Workload *picked, Error *err)
{
    const char *path = tensors_path(weights);
    Text        prefix = {0};
    int         rc = 0;

    for (int b = 0; rc == 0 && b < picked->block_count; b++) {
        const char *name = workload_student_of(picked, b, 0).name;
        bool        found = false;
        prefix.length = 0;
        text_printf(&prefix, "blocks.%d.%s%s", b, name ? name : "", name ? "." : "");
        rc = text_failed(&prefix)
                 ? error_no_memory(err)
                 : copy_named(out, weights, b, text_string(&prefix), &found, err);
        if (rc == 0 && !found)
            rc = error_set(err, "%s%shas no student%s%s of block %s", path ? path : "",
                           path ? ": " : "", name ? " " : "", name ? name : "",
                           picked->block[b].name);
    }
    text_free(&prefix);
    return rc;
}
