/* pipebd-workload check: workloads, and whether their teachers' weights fit them. */
#include <stdio.h>

#include "base/file.h"
#include "base/options.h"
#include "executor/import/fit.h"
#include "tools/workload/workload.h"

/* A line for a good one. */
static int check(const char *path, Text *out, Error *err)
{
    Workload *workload;
    int       rc = workload_read(&workload, path, err), tensors = 0;

    if (rc != 0) return -1;
    if (workload->teacher_weights)
        rc = weights_fit(workload, workload->teacher_weights, &tensors, err);
    if (rc == 0) {
        text_printf(out, "%s: ok, %d blocks", path, workload->block_count);
        if (workload_has_candidates(workload))
            text_printf(out, ", %d students", workload_students(workload));
        if (workload->teacher_weights) text_printf(out, ", %d tensors of the teacher", tensors);
        text_append(out, "\n");
    }
    workload_free(workload);
    return rc;
}

/* Every file is looked at. */
static int check_all(const Operands *operands, Error *err)
{
    Text text = {0};
    int  bad = 0, rc;

    for (int i = 0; i < operands->count; i++) {
        Error why = {""};
        if (check(operands->values[i], &text, &why) == 0) continue;
        if (bad++ > 0) fprintf(stderr, "pipebd-workload check: %s\n", err->text);
        *err = why;
    }
    if (bad == 0 && text_failed(&text)) error_no_memory(err);
    rc = text_failed(&text) ? -1
                            : file_write("-", text_string(&text), text.length, bad ? NULL : err);
    text_free(&text);
    return bad ? -1 : rc;
}

int workload_check_tool(int argc, char **argv)
{
    Option   table[] = {{0}};
    Options  options = {
         "pipebd-workload check", "WORKLOAD...",
         "Checks workloads: the shapes of their layers, and, if a file of teacher's weights is "
          "named, every tensor in it.",
         table, NULL};
    Operands operands;
    Error    err = {""};

    int      status = EXIT_USAGE;

    if (options_parse(&options, argc, argv, &operands, &err) == 0) {
        if (operands.info) return options_info(&options, operands.info);
        if (operands.count == 0) error_set(&err, "expected a WORKLOAD, see --help");
        else status = check_all(&operands, &err) == 0 ? EXIT_OK : EXIT_FAILED;
    }
    return workload_end(&options, status, &err);
}
