/* pipebd-workload pick: a workload with one of each block's students, and its weights. */
#include <stdio.h>
#include <stdlib.h>

#include "executor/import/pick_students.h"
#include "tools/workload/workload.h"

typedef struct {
    const char *students, *weights, *output;
} PickArguments;

/* A list of one would give tensors names that nobody needs to know any more. */
static void forget_names(Workload *picked)
{
    for (int b = 0; b < picked->block_count; b++) {
        picked->block[b].students = NULL;
        picked->block[b].student_count = 1;
    }
}

/* Writes BASE.json and BASE.safetensors: of each block the student that --students names, with its
 * weights. What is read is not written over. */
static int run(const PickArguments *a, const char *path, Error *err)
{
    Workload *library = NULL, *picked = NULL;
    Tensors  *weights = NULL, *students = NULL;
    int      *numbers = NULL, rc = -1;

    if (workload_read(&library, path, err) != 0) goto done;
    const char *const read[] = {path, library->teacher_weights, a->weights};
    if (workload_check_base(a->output, read, 3, err) != 0) goto done;
    numbers = calloc((size_t)library->block_count, sizeof *numbers);
    if (!numbers) { error_no_memory(err); goto done; }
    if (workload_read_students(numbers, library, a->students, err) != 0) {
        error_prefix(err, "--students");
        goto done;
    }
    if (tensors_read(&weights, a->weights, err) != 0 || tensors_new(&students, err) != 0
        || workload_pick(&picked, library, numbers, err) != 0
        || students_pick(students, weights, picked, err) != 0)
        goto done;
    forget_names(picked);
    if (workload_write_both(picked, students, a->output, err) != 0) goto done;
    fprintf(stderr, "%s.json, %s.safetensors\n", a->output, a->output);
    rc = 0;
done:
    tensors_free(students);
    tensors_free(weights);
    workload_free(picked);
    workload_free(library);
    free(numbers);
    return rc;
}

int workload_pick_tool(int argc, char **argv)
{
    PickArguments a = {0};
    Option table[] = {
        {"output", 'o', OPTION_STRING, "BASE",
         "Write BASE.json, and BASE.safetensors with the students' weights.", &a.output, 0, 0, NULL,
         false},
        {"students", 0, OPTION_STRING, "LIST",
         "A student of each block, by its name or number: half,0,quarter.", &a.students, 0, 0, NULL,
         false},
        {"weights", 0, OPTION_STRING, "FILE",
         "Weights of all students, a file of train or make-students.", &a.weights, 0, 0, NULL,
         false},
        {0},
    };
    Options  options = {
         "pipebd-workload pick", "WORKLOAD --students LIST --weights FILE -o BASE",
         "Takes one student of each block of a workload whose blocks have several.", table, NULL};
    const char *path;
    Error       err = {""};
    int         status;

    if (!workload_operand(&path, &options, argc, argv, "WORKLOAD", &status)) return status;
    if (!a.students || !a.weights || !a.output) {
        error_set(&err, "expected --students, --weights and -o, see --help");
        return workload_end(&options, EXIT_USAGE, &err);
    }
    status = run(&a, path, &err) == 0 ? EXIT_OK : EXIT_FAILED;
    return workload_end(&options, status, &err);
}
