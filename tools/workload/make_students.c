/* pipebd-workload make-students: students that are narrower copies of their teachers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"
#include "executor/import/students.h"
#include "tools/workload/workload.h"

typedef struct {
    const char *output;
    double      ffn;
    int64_t     heads, kv_heads, width, rank;
} StudentArguments;

/* The teacher's weights as the new file names them: beside it by their name, else by their whole
 * path. Yours. */
static char *weights_name(const char *weights, const char *base)
{
    size_t length = file_folder_length(weights);

    if (length == file_folder_length(base) && strncmp(weights, base, length) == 0)
        return strdup(weights + length);
    return realpath(weights, NULL);
}

/* Writes the students' weights and the workload, BASE.safetensors and BASE.json. */
static int write_both(const Workload *w, const Tensors *students, const char *base, Error *err)
{
    Text      json = {0}, path = {0}, weights = {0};
    Workload *again = NULL;              /* what is written is read back first */
    char     *teacher = weights_name(w->teacher_weights, base), *data = workload_data_for(w, base);
    int       rc = -1;

    text_printf(&path, "%s.json", base);
    text_printf(&weights, "%s.safetensors", base);
    workload_write(w, teacher, data, &json);
    if (!teacher || (w->data && !data) || text_failed(&json) || text_failed(&path)
        || text_failed(&weights)) {
        error_no_memory(err);
        goto done;
    }
    if (workload_parse(&again, text_string(&path), text_string(&json), json.length, err) != 0)
        goto done;
    if (tensors_write(students, text_string(&weights), err) != 0) goto done;
    rc = file_write(text_string(&path), text_string(&json), json.length, err);
done:
    workload_free(again);
    free(teacher);
    free(data);
    text_free(&json);
    text_free(&path);
    text_free(&weights);
    return rc;
}

static int64_t parameters(const Workload *w, bool student)
{
    int64_t sum = 0;

    for (int b = 0; b < w->block_count; b++)
        sum += layers_cost(student ? &w->block[b].student : &w->block[b].teacher).parameters;
    return sum;
}

/* Makes narrower students of the workload at path and writes them. Options that change no layer are
 * an error. */
static int run(const StudentArguments *a, const char *path, Error *err)
{
    StudentOptions options = {.ffn = a->ffn, .heads = (int)a->heads, .kv_heads = (int)a->kv_heads,
                              .width = (int)a->width, .rank = (int)a->rank};
    Workload      *w = NULL;
    Tensors       *teacher = NULL, *students = NULL;
    int            rc = -1, changed = 0;

    if (workload_read(&w, path, err) != 0) goto done;
    if (!w->teacher_weights) {
        error_set(err, "%s: names no teacher_weights to make students of", path);
        goto done;
    }
    if (tensors_read(&teacher, w->teacher_weights, err) != 0 || tensors_new(&students, err) != 0)
        goto done;
    if (students_make(w, teacher, students, &options, &changed, err) != 0) {
        error_prefix(err, "%s", path);
        goto done;
    }
    if (changed == 0) {
        error_set(err, "%s: no layer of it is changed by these options", path);
        goto done;
    }
    if (write_both(w, students, a->output, err) != 0) goto done;
    fprintf(stderr,
            "%d layers or blocks are narrower: students have %.1f %% of the teachers' "
            "parameters\n%s.json, %s.safetensors\n",
            changed, 100.0 * (double)parameters(w, true) / (double)parameters(w, false), a->output,
            a->output);
    rc = 0;
done:
    tensors_free(students);
    tensors_free(teacher);
    workload_free(w);
    return rc;
}

int workload_make_students_tool(int argc, char **argv)
{
    StudentArguments a = {0};
    Option table[] = {
        {"output", 'o', OPTION_STRING, "BASE",
         "Write BASE.json, and BASE.safetensors with the students' initial weights (train --init).",
         &a.output, 0, 0, NULL, false},
        {"ffn", 0, OPTION_NUMBER, "SHARE",
         "Fraction of an FFN's neurons that students keep: those with the largest weights.", &a.ffn,
         0, 0, NULL, false},
        {"heads", 0, OPTION_INTEGER, "N",
         "Query heads of the students: those with the largest weights.", &a.heads, 1, 65536, NULL,
         false},
        {"kv-heads", 0, OPTION_INTEGER, "N",
         "Key-value heads of the students, means of the teacher's.", &a.kv_heads, 1, 65536, NULL,
         false},
        {"width", 0, OPTION_INTEGER, "N",
         "Channels that a student's block works on, between two linear layers.", &a.width, 1, 65536,
         NULL, false},
        {"rank", 0, OPTION_INTEGER, "N",
         "Rank of linear layers in residuals, each of which becomes two.", &a.rank, 1, 65536, NULL,
         false},
        {0},
    };
    Options  options = {
         "pipebd-workload make-students", "WORKLOAD -o BASE [options]",
         "Makes students from a workload's teachers: the same layers, narrower, initialised with "
         "the teachers' weights.",
         table, NULL};
    Operands operands;
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (operands.count != 1) { error_set(&err, "expected one WORKLOAD, see --help"); goto usage; }
    if (!a.output) { error_set(&err, "expected -o BASE, see --help"); goto usage; }
    if (!option_given(table, "ffn") && a.heads + a.kv_heads + a.width + a.rank == 0) {
        error_set(&err, "expected --ffn, --heads, --kv-heads, --width or --rank, see --help");
        goto usage;
    }
    if (option_given(table, "ffn") && !(a.ffn > 0 && a.ffn < 1)) {
        error_set(&err, "--ffn: expected a share above 0 and below 1");
        goto usage;
    }
    if (run(&a, operands.values[0], &err) == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-workload make-students: %s\n", err.text);
    return EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-workload make-students: %s\n", err.text);
    return EXIT_USAGE;
}
