/* pipebd-run evaluate: what a teacher or trained students are worth on some data, and what they say
 * of it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"
#include "executor/checkpoint/state.h"
#include "executor/train/block_losses.h"
#include "executor/train/evaluate.h"
#include "tools/run/common.h"
#include "tools/run/run.h"

typedef struct {
    const char *workload, *student, *students, *teacher, *data, *devices, *output;
    int         part, format;            /* of parts, formats */
    int64_t     seed;
} EvaluateSettings;

static const char *const parts[] = {"validation", "training", NULL}, *const formats[] = {
                                                                         "table", "json", NULL};

typedef struct {
    const EvaluateSettings *settings;
    Workload   *library;     /* as the file has it */
    Workload   *workload;    /* with one student a block: those that are picked */
    int        *picked;      /* [blocks] */
    double     *losses;      /* [students of library], where the best were looked for; or NULL */
    DeviceSpec  devices;
    Data       *data;
    Tensors    *teacher, *student;       /* NULL: from the seed, and not asked for */
    Tensors    *outputs;     /* of the students, or else of the teacher; NULL: not asked for */
    atomic_bool *stop;
} EvaluateInputs;

/* Nothing is written over what is read. workloads_teacher: of the workload's file, once that is
 * read. */
static int check_files(const EvaluateSettings *s, const char *workloads_teacher, Error *err)
{
    const RunFile files[] = {
        {"--workload", run_workload_file(s->workload), false},
        {"--student", s->student, false},
        {"--teacher", s->teacher, false},
        {"the workload's teacher", workloads_teacher, false},
        {"-o", s->output, true},
    };

    return run_check_files(files, sizeof files / sizeof *files, err);
}

/* Students without paths to choose from, each of which is in the file. */
static int check_students(const EvaluateInputs *in, const Workload *w, Error *err)
{
    for (int k = 0; k < workload_students(w); k++) {
        StudentId id = workload_student(w, k);
        if (block_with_student(&w->block[id.block], id.student).choices)
            return error_set(
                err, "the student of block %s has paths to choose from: see pipebd-run choose",
                w->block[id.block].name);
    }
    return state_check_students(in->student, w, err);
}

/* Layers of the same shapes may compute something else: with another eps, for one. */
static void tell_of_another_file(const EvaluateInputs *in)
{
    const char *hash = tensors_note(in->student, "workload_hash");
    char        mine[20];

    snprintf(mine, sizeof mine, "%016" PRIx64, in->library->hash);
    if (hash && strcmp(hash, mine) != 0)
        fprintf(
            stderr,
            "note: %s is of a workload's file of other bytes (workload_hash %s, of this one %s)\n",
            in->settings->student, hash, mine);
}

/* Losses of all students of the library. */
static int find_losses(EvaluateInputs *in, Error *err)
{
    Evaluation e = {.workload = in->library, .devices = &in->devices, .data = in->data,
                    .student = true, .weights = in->student, .seed = (uint64_t)in->settings->seed,
                    .stop = in->stop};

    in->losses = calloc((size_t)workload_students(in->library), sizeof *in->losses);
    if (!in->losses) return error_no_memory(err);
    return block_losses(in->losses, &e, in->teacher, err);
}

/* Of each block the student with the least loss on the data, of equal ones the first. */
static int pick_best(EvaluateInputs *in, Error *err)
{
    if (check_students(in, in->library, err) != 0 || find_losses(in, err) != 0) return -1;
    for (int b = 0; b < in->library->block_count; b++) {
        const double *loss = in->losses + workload_student_number(in->library, b, 0);
        in->picked[b] = 0;
        for (int j = 1; j < block_students(&in->library->block[b]); j++)
            if (loss[j] < loss[in->picked[b]]) in->picked[b] = j;
    }
    return 0;
}

/* Sets which students are evaluated: as --students says, and by default the best. */
static int pick_students(EvaluateInputs *in, Error *err)
{
    const char *list = in->settings->students;
    bool        several = workload_has_candidates(in->library);

    if (list && !several)
        return error_set(err, "--students: no effect, each block of %s has one student",
                         in->library->name);
    in->picked = calloc((size_t)in->library->block_count, sizeof *in->picked);
    if (!in->picked) return error_no_memory(err);
    if (list && strcmp(list, "best") != 0) {
        if (workload_read_students(in->picked, in->library, list, err) != 0)
            return error_prefix(err, "--students");
    } else if (in->student && several && pick_best(in, err) != 0) return -1;
    if (workload_pick(&in->workload, in->library, in->picked, err) != 0) return -1;
    return in->student ? check_students(in, in->workload, err) : 0;
}

static int open_inputs(EvaluateInputs *in, Error *err)
{
    const EvaluateSettings *s = in->settings;

    if (device_spec_ask(&in->devices, err) != 0
        || run_read_workload(&in->library, s->workload, true, err) != 0)
        return -1;
    in->library->unaugmented = true;
    const char *teacher = s->teacher ? s->teacher : in->library->teacher_weights;
    if (check_files(s, in->library->teacher_weights, err) != 0) return -1;
    if (teacher && run_read_weights(&in->teacher, teacher, err) != 0) return -1;
    if (s->student && run_read_weights(&in->student, s->student, err) != 0) return -1;
    if (data_open(&in->data, run_data_source(s->data, in->library), in->library,
                  s->part ? DATA_TRAIN : DATA_VALIDATION, 0, err)
            != 0
        || pick_students(in, err) != 0)
        return -1;
    if (in->student) tell_of_another_file(in);
    return 0;
}

static void close_inputs(EvaluateInputs *in)
{
    data_free(in->data);
    tensors_free(in->teacher);
    tensors_free(in->student);
    tensors_free(in->outputs);
    workload_free(in->workload);
    workload_free(in->library);
    free(in->picked);
    free(in->losses);
}

/* ---- outputs: PyTorch's [samples][channels][height][width], without the last two of a vector
 * ---- */

static int open_outputs(EvaluateInputs *in, Tensor **out, Error *err)
{
    Shape   shape = in->workload->block[in->workload->block_count - 1].out;
    int64_t dim[4] = {data_count(in->data), shape.channels, shape.height, shape.width};

    if (!in->settings->output) return 0;
    if (tensors_new(&in->outputs, err) != 0) return -1;
    return tensors_add(in->outputs, "outputs", shape.height == 1 && shape.width == 1 ? 2 : 4, dim,
                       out, err);
}

/* From channels last, sample by sample. */
static int channels_first(const Tensor *tensor, Shape shape, Error *err)
{
    int64_t count = shape_count(shape), places = (int64_t)shape.height * shape.width;
    float  *sample = malloc((size_t)count * sizeof *sample);

    if (!sample) return error_no_memory(err);
    for (float *at = tensor->values; places > 1 && at < tensor->values + tensor->count;
         at += count) {
        for (int64_t i = 0; i < count; i++)
            sample[i % shape.channels * places + i / shape.channels] = at[i];
        for (int64_t i = 0; i < count; i++) at[i] = sample[i];
    }
    free(sample);
    return 0;
}

/* ---- measuring ---------------------------------------------------------------------------- */

typedef struct {
    double   *loss;          /* [block_count] of students; NULL: none are looked at */
    Accuracy  teacher, student;          /* asked 0: no labels */
    Agreement near;          /* count 0: not measured */
} Results;

/* Without labels only the outputs of a pass are looked at. */
static int measure_students(Results *out, const EvaluateInputs *in, Evaluation *e, Error *err)
{
    out->loss = calloc((size_t)in->workload->block_count, sizeof *out->loss);
    if (!out->loss) return error_no_memory(err);
    for (int b = 0; in->losses && b < in->workload->block_count; b++)
        out->loss[b] = in->losses[workload_student_number(in->library, b, in->picked[b])];
    if (!in->losses && block_losses(out->loss, e, in->teacher, err) != 0) return -1;
    if ((e->outputs || workload_has_labels(in->workload)) && evaluate(&out->student, e, err) != 0)
        return -1;
    e->outputs = NULL;
    return out->student.asked ? 0 : evaluate_agreement(&out->near, e, in->teacher, err);
}

static int measure(Results *out, EvaluateInputs *in, Error *err)
{
    const Workload *w = in->workload;
    Tensor         *outputs = NULL;
    Evaluation      e = {.workload = w, .devices = &in->devices, .data = in->data,
                         .weights = in->teacher, .seed = (uint64_t)in->settings->seed,
                         .stop = in->stop};

    if (open_outputs(in, &outputs, err) != 0) return -1;
    e.outputs = outputs && !in->student ? outputs->values : NULL;
    if ((!in->student || workload_has_labels(w)) && evaluate(&out->teacher, &e, err) != 0)
        return -1;
    if (in->student) {
        e.student = true;
        e.weights = in->student;
        e.outputs = outputs ? outputs->values : NULL;
        if (measure_students(out, in, &e, err) != 0) return -1;
    }
    return outputs ? channels_first(outputs, w->block[w->block_count - 1].out, err) : 0;
}

/* ---- as a table, as JSON ------------------------------------------------------------------ */

static double share(const Accuracy *a) { return (double)a->right / (double)a->asked; }

static void accuracy_text(const Workload *workload, const char *who, const Accuracy *a, Text *out)
{
    if (!a->asked) return;
    text_printf(out, "%s: accuracy %.2f %% (%" PRId64 " of %" PRId64 ")", who, 100.0 * share(a),
                a->right, a->asked);
    if (workload_predicts_tokens(workload))
        text_printf(out, ", perplexity %.4g", exp(a->loss / (double)a->asked));
    text_append(out, "\n");
}

/* A row for each student whose loss is known. */
static void losses_table(const EvaluateInputs *in, const Results *r, Text *out)
{
    const Workload *w = in->losses ? in->library : in->workload;
    char            name[STUDENT_TEXT_BYTES];

    text_append(out, "block                loss of its student\n");
    for (int k = 0; k < workload_students(w); k++) {
        StudentId id = workload_student(w, k);
        bool      best = in->losses && block_students(&w->block[id.block]) > 1
                    && in->picked[id.block] == id.student;
        text_printf(out, "%-20s %.6g (%s)%s\n", student_text(name, w, id),
                    in->losses ? in->losses[k] : r->loss[id.block],
                    loss_name(w->block[id.block].loss), best ? " best" : "");
    }
}

static void table(const EvaluateInputs *in, const Results *r, Text *out)
{
    const EvaluateSettings *s = in->settings;
    const Workload         *w = in->workload;

    text_printf(out, "%s on %" PRId64 " samples of %s, %s part\n", w->name, data_count(in->data),
                run_data_source(s->data, w), parts[s->part]);
    if (r->loss) losses_table(in, r, out);
    accuracy_text(w, "teacher", &r->teacher, out);
    accuracy_text(w, "students in a row", &r->student, out);
    if (r->near.count)
        text_printf(out, "students in a row: cosine to the teacher %.6f\n",
                    r->near.sum / (double)r->near.count);
    if (s->output) text_printf(out, "written: %s\n", s->output);
}

static void json_number(const char *key, double value, Text *out)
{
    text_printf(out, ", \"%s\": ", key);
    text_json_double(out, value);
}

static void accuracy_json(const Workload *workload, const char *who, const Accuracy *a, Text *out)
{
    if (!a->asked) return;
    text_printf(out, ",\n  \"%s\": {\"right\": %" PRId64 ", \"asked\": %" PRId64, who, a->right,
                a->asked);
    json_number("accuracy", share(a), out);
    if (workload_predicts_tokens(workload))
        json_number("perplexity", exp(a->loss / (double)a->asked), out);
    text_append(out, "}");
}

/* Which student of a block that lists them it is; and where the best was looked for, the losses of
 * all. */
static void json_students(const EvaluateInputs *in, int b, Text *out)
{
    const WorkBlock *block = &in->library->block[b];

    if (!block->students) return;
    text_append(out, ", \"student\": ");
    text_json_string(out, block->students[in->picked[b]].name);
    if (!in->losses) return;
    text_append(out, ", \"students\": [");
    for (int j = 0; j < block->student_count; j++) {
        text_append(out, j ? ", {\"name\": " : "{\"name\": ");
        text_json_string(out, block->students[j].name);
        json_number("value", in->losses[workload_student_number(in->library, b, j)], out);
        text_append(out, "}");
    }
    text_append(out, "]");
}

/* The results as JSON. */
static void json(const EvaluateInputs *in, const Results *r, Text *out)
{
    const EvaluateSettings *s = in->settings;
    const Workload         *w = in->workload;

    text_append(out, "{\n  \"format\": \"pipebd-evaluation\", \"version\": 1,\n  \"workload\": ");
    text_json_string(out, w->name);
    text_printf(out, ", \"workload_hash\": \"%016" PRIx64 "\",\n  \"data\": ", w->hash);
    text_json_string(out, run_data_source(s->data, w));
    text_printf(out, ", \"part\": \"%s\", \"samples\": %" PRId64, parts[s->part],
                data_count(in->data));
    if (r->loss) text_append(out, ",\n  \"blocks\": [");
    for (int b = 0; r->loss && b < w->block_count; b++) {
        text_printf(out, "%s\n    {\"name\": ", b ? "," : "");
        text_json_string(out, w->block[b].name);
        text_printf(out, ", \"loss\": \"%s\"", loss_name(w->block[b].loss));
        json_number("value", r->loss[b], out);
        json_students(in, b, out);
        text_append(out, "}");
    }
    if (r->loss) text_append(out, "]");
    accuracy_json(w, "teacher", &r->teacher, out);
    accuracy_json(w, "students", &r->student, out);
    if (r->near.count) {
        text_append(out, ",\n  \"students\": {\"cosine\": ");
        text_json_double(out, r->near.sum / (double)r->near.count);
        text_append(out, "}");
    }
    text_append(out, "\n}\n");
}

static int run(EvaluateInputs *in, Error *err)
{
    const char *output = in->settings->output;
    Results     results = {0};
    Text        text = {0};
    int         rc = -1;

    if (output && file_check_writable(output, err) != 0) return -1;
    if (open_inputs(in, err) != 0 || measure(&results, in, err) != 0) goto done;
    if (output && tensors_write(in->outputs, output, err) != 0) goto done;
    if (in->settings->format) json(in, &results, &text);
    else table(in, &results, &text);
    rc = text_failed(&text) ? error_no_memory(err)
                            : file_write("-", text_string(&text), text.length, err);
done:
    free(results.loss);
    text_free(&text);
    return rc;
}

/* ---- command line ------------------------------------------------------------------------- */

static int check(EvaluateInputs *in, const EvaluateSettings *s, const Operands *operands,
                 Error *err)
{
    if (operands->count)
        return error_set(err, "\"%s\": expected only options", operands->values[0]);
    if (!s->workload) return error_set(err, "expected --workload W");
    if (s->students && !s->student)
        return error_set(err, "--students: no effect without --student");
    if (s->output && strcmp(s->output, "-") == 0)
        return error_set(err, "-: results go to standard output, expected a file's name");
    if (check_files(s, NULL, err) != 0) return -1;
    if (s->data && data_check_source(s->data, err) != 0) return -1;
    if (run_devices(&in->devices, s->devices, NULL, false, false, err) != 0) return -1;
    return in->devices.type == DEVICE_CPU
               ? 0
               : error_set(err, "--devices %s: expected cpu:N", s->devices);
}

int run_evaluate(int argc, char **argv)
{
    EvaluateSettings s = {.devices = "cpu:1", .seed = 1};
    Option table[] = {
        {"workload", 'w', OPTION_STRING, "W", "A bundled workload's name, or a file.", &s.workload,
         0, 0, NULL, false},
        {"student", 0, OPTION_STRING, "FILE", "Trained students; without it, the teacher.",
         &s.student, 0, 0, NULL, false},
        {"students", 0, OPTION_STRING, "LIST",
         "For blocks with several students: one of each block, by name or number, as half,0,0 "
         "(default: best, the ones with the least loss on these data).",
         &s.students, 0, 0, NULL, false},
        {"teacher", 0, OPTION_STRING, "FILE", "The teacher's weights (default: the workload's).",
         &s.teacher, 0, 0, NULL, false},
        {"data", 0, OPTION_STRING, "SOURCE", DATA_SOURCES " (default: the workload's).", &s.data, 0,
         0, NULL, false},
        {"part", 0, OPTION_CHOICE, "validation|training",
         "Part of the data; training images are not augmented.", &s.part, 0, 0, parts, false},
        {"devices", 0, OPTION_STRING, "cpu:N", "Devices that evaluate.", &s.devices, 0, 0, NULL,
         false},
        {"seed", 0, OPTION_INTEGER, "N", "Seed of a random teacher and of synthetic data.",
         &s.seed, 0, (int64_t)1 << 53, NULL, false},
        {"format", 0, OPTION_CHOICE, "table|json", "Output format.", &s.format, 0, 0, formats,
         false},
        {"output", 'o', OPTION_STRING, "OUT.safetensors",
         "Write the last block's output for each sample, safetensors.", &s.output, 0, 0, NULL,
         false},
        {0},
    };
    Options options = {"pipebd-run evaluate", "--workload W [--student FILE] [options]",
                       "Evaluates a teacher, or trained students: the loss of each block, accuracy "
                              "where there are labels, "
                              "perplexity of language models.",
                       table, NULL};
    EvaluateInputs in = {.settings = &s};
    Operands operands;
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (check(&in, &s, &operands, &err) != 0) goto usage;
    options_print_settings(&options, stderr);
    in.stop = run_catch_interrupt();
    int rc = run(&in, &err);
    close_inputs(&in);
    if (rc == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-run evaluate: %s\n", err.text);
    return run_interrupted() ? EXIT_INTERRUPTED : EXIT_FAILED;
usage:
    fprintf(stderr, "pipebd-run evaluate: %s\n", err.text);
    return EXIT_USAGE;
}
