/* pipebd-run choose: the best network of a trained supernet, as a workload of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"
#include "base/progress.h"
#include "executor/nas/choose.h"
#include "executor/train/evaluate.h"
#include "tools/run/run.h"
#include "tools/run/common.h"

typedef struct {
    const char *workload, *student, *teacher, *data, *devices, *output;
    int64_t     max_macs, paths, batches, refresh, seed;
} ChooseSettings;

typedef struct {
    Workload  *workload;
    DeviceSpec devices;
    Data      *held_out, *training;
    Tensors   *teacher, *student;
} ChooseInputs;

/* The output without an ending of .json, and the two files made of it. */
typedef struct {
    char *stem, *workload, *weights;
} ChosenNames;

static int open_inputs(ChooseInputs *in, const ChooseSettings *s, Error *err)
{
    if (device_spec_ask(&in->devices, err) != 0) return -1;
    if (run_read_workload(&in->workload, s->workload, true, err) != 0) return -1;
    const char *source = run_data_source(s->data, in->workload);
    const char *teacher = s->teacher ? s->teacher : in->workload->teacher_weights;
    if (data_open(&in->held_out, source, in->workload, DATA_VALIDATION, 0, err) != 0) return -1;
    if (data_open(&in->training, source, in->workload, DATA_TRAIN, 0, err) != 0) return -1;
    if (teacher && run_read_weights(&in->teacher, teacher, err) != 0) return -1;
    return run_read_weights(&in->student, s->student, err);
}

static void close_inputs(ChooseInputs *in)
{
    data_free(in->held_out);
    data_free(in->training);
    tensors_free(in->teacher);
    tensors_free(in->student);
    workload_free(in->workload);
}

/* ---- names -------------------------------------------------------------------- */

static int name_files(ChosenNames *out, const char *output, Error *err)
{
    size_t length = strlen(output);
    Text   json = {0}, tensors = {0};

    if (length > 5 && strcmp(output + length - 5, ".json") == 0) length -= 5;
    out->stem = strndup(output, length);
    if (out->stem) text_printf(&json, "%s.json", out->stem);
    if (out->stem) text_printf(&tensors, "%s.safetensors", out->stem);
    out->workload = json.bytes;
    out->weights = tensors.bytes;
    return out->stem && !text_failed(&json) && !text_failed(&tensors) ? 0 : error_no_memory(err);
}

static void names_free(ChosenNames *names)
{
    free(names->stem);
    free(names->workload);
    free(names->weights);
}

/* Nothing is written over what is read. workloads_teacher: of the workload's file, once that is
 * read. */
static int check_files(const ChooseSettings *s, const ChosenNames *names,
                       const char *workloads_teacher, Error *err)
{
    const RunFile files[] = {
        {"--workload", run_workload_file(s->workload), false}, {"--student", s->student, false},
        {"--teacher", s->teacher, false}, {"the workload's teacher", workloads_teacher, false},
        {"-o", names->workload, true}, {"-o", names->weights, true},
    };

    return run_check_files(files, sizeof files / sizeof *files, err);
}

/* The file's path from anywhere: the new workload may lie in another folder. Yours. */
static char *absolute_path(const char *path, Error *err)
{
    char *absolute = realpath(path, NULL);

    if (!absolute) error_set(err, "%s: cannot tell where it lies", path);
    return absolute;
}

/* ---- choosing -------------------------------------------------------------------- */

static void show_progress(void *context, int block, int done, int count)
{
    Progress *progress = context;

    (void)block;
    if (done == 1) {
        progress->done = 0;
        progress->total = count;
    }
    progress_add(progress, 1);
}

static int accuracy_line(const Chosen *chosen, const ChooseInputs *in, const ChooseSettings *s,
                         Text *out, Error *err)
{
    Evaluation evaluation = {.workload = chosen->workload, .devices = &in->devices,
                             .data = in->held_out, .weights = in->teacher,
                             .seed = (uint64_t)s->seed};
    Accuracy   teacher, student;

    if (chosen->workload->classes == 0) return 0;
    if (evaluate(&teacher, &evaluation, err) != 0) return -1;
    evaluation.student = true;
    evaluation.weights = chosen->weights;
    if (evaluate(&student, &evaluation, err) != 0) return -1;
    if (teacher.asked == 0) return 0;
    text_printf(out, "\nheld out, right of %lld: teacher %.2f %%, chosen student %.2f %%\n",
                (long long)teacher.asked, 100.0 * (double)teacher.right / (double)teacher.asked,
                100.0 * (double)student.right / (double)student.asked);
    return 0;
}

/* Chooses the network and gives it the name that stem ends with; paths in it are seen from stem's
 * folder. */
static int choose_one(Chosen *chosen, const ChooseInputs *in, const ChooseSettings *s,
                      const char *stem, Error *err)
{
    const char *slash = strrchr(stem, '/');
    const char *teacher = s->teacher ? s->teacher : in->workload->teacher_weights;
    char       *weights = NULL, *data = NULL;
    Progress    progress;
    int         rc = -1;

    if (in->workload->data && !(data = workload_data_for(in->workload, stem))) {
        error_no_memory(err);
        goto done;
    }
    if (teacher && !(weights = absolute_path(teacher, err))) goto done;
    progress_start(&progress, "choose", 1);
    ChooseOptions options = {.workload = in->workload, .devices = &in->devices,
                             .held_out = in->held_out, .training = in->training,
                             .teacher = in->teacher, .student = in->student,
                             .seed = (uint64_t)s->seed,
                             .max_macs = s->max_macs ? s->max_macs : SELECT_ANY_MACS,
                             .paths = (int)s->paths, .batches = (int)s->batches,
                             .refresh = (int)s->refresh, .name = slash ? slash + 1 : stem,
                             .teacher_weights = weights, .data = data, .progress = show_progress,
                             .context = &progress};
    rc = choose(chosen, &options, err);
    progress_end(&progress);
done:
    free(weights);
    free(data);
    return rc;
}

/* Chooses a network and writes workload, weights and report. That both files can be written is
 * checked before the search, which may take hours. */
static int run(ChooseInputs *in, const ChooseSettings *s, const ChosenNames *names, Error *err)
{
    Chosen chosen = {0};
    Text   report = {0};
    int    rc = -1;

    if (file_check_writable(names->workload, err) != 0
        || file_check_writable(names->weights, err) != 0)
        goto done;
    if (open_inputs(in, s, err) != 0
        || check_files(s, names, in->workload->teacher_weights, err) != 0)
        goto done;
    if (choose_one(&chosen, in, s, names->stem, err) != 0) goto done;
    chosen_report(&chosen, in->workload, &report);
    if (accuracy_line(&chosen, in, s, &report, err) != 0) goto done;
    if (tensors_write(chosen.weights, names->weights, err) != 0) goto done;
    if (file_write(names->workload, text_string(&chosen.file), chosen.file.length, err) != 0)
        goto done;
    text_printf(&report, "written: %s, %s\n", names->workload, names->weights);
    rc = text_failed(&report) ? error_no_memory(err)
                              : file_write("-", text_string(&report), report.length, err);
done:
    chosen_free(&chosen);
    text_free(&report);
    return rc;
}

/* ---- command line ------------------------------------------------------------------- */

static int check(ChooseInputs *in, ChosenNames *names, const ChooseSettings *s,
                 const Operands *operands, Error *err)
{
    if (operands->count)
        return error_set(err, "\"%s\": expected only options", operands->values[0]);
    if (!s->workload) return error_set(err, "expected --workload W");
    if (!s->student) return error_set(err, "expected --student FILE, as pipebd-run train wrote it");
    if (!s->output) return error_set(err, "expected -o CHOSEN");
    if (name_files(names, s->output, err) != 0 || check_files(s, names, NULL, err) != 0) return -1;
    if (s->data && data_check_source(s->data, err) != 0) return -1;
    if (run_devices(&in->devices, s->devices, NULL, false, false, err) != 0) return -1;
    return in->devices.type == DEVICE_CPU
               ? 0
               : error_set(err, "--devices %s: paths are measured on the CPU, expected cpu:N",
                           s->devices);
}

int run_choose(int argc, char **argv)
{
    ChooseSettings s = {.devices = "cpu:1", .paths = 256, .batches = 4, .refresh = 100, .seed = 1};
    Option   table[] = {
        {"workload", 'w', OPTION_STRING, "W", "The supernet: a bundled workload's name, or a file.",
         &s.workload, 0, 0, NULL, false},
        {"student", 0, OPTION_STRING, "FILE", "Trained weights of the supernet.", &s.student, 0, 0,
         NULL, false},
        {"teacher", 0, OPTION_STRING, "FILE", "The teacher's weights (default: the workload's).",
         &s.teacher, 0, 0,
         NULL, false},
        {"data", 0, OPTION_STRING, "SOURCE", DATA_SOURCES " (default: the workload's).", &s.data, 0,
         0,
         NULL, false},
        {"devices", 0, OPTION_STRING, "cpu:N",
         "Devices: the first measures paths, all evaluate the accuracy.", &s.devices,
         0, 0, NULL, false},
        {"max-macs", 0, OPTION_INTEGER, "N", "Limit of multiply-accumulates for a sample.",
         &s.max_macs, 1,
         (int64_t)1 << 53, NULL, false},
        {"paths", 0, OPTION_INTEGER, "N",
         "Paths measured for each block; if it has more, a random sample.", &s.paths,
         2, 1000000, NULL, false},
        {"batches", 0, OPTION_INTEGER, "N", "Held-out batches for each path.", &s.batches, 1,
         100000, NULL,
         false},
        {"refresh", 0, OPTION_INTEGER, "N",
         "Training batches that recompute the running statistics.", &s.refresh, 0,
         1000000, NULL, false},
        {"seed", 0, OPTION_INTEGER, "N", "Seed of the training run.", &s.seed, 0, 0, NULL, false},
        {"output", 'o', OPTION_STRING, "CHOSEN", "Write CHOSEN.json and CHOSEN.safetensors.",
         &s.output, 0, 0, NULL,
         false},
        {0},
    };
    Options options = {
        "pipebd-run choose", "--workload W --student FILE -o CHOSEN [options]",
        "Measures the paths of a trained supernet on held-out data, block by block, and writes "
        "the subnet with the least loss within a budget, as a workload with weights.",
        table, NULL};
    Operands operands;
    ChooseInputs   in = {0};
    ChosenNames    names = {0};
    Error    err = {""};

    if (options_parse(&options, argc, argv, &operands, &err) != 0) goto usage;
    if (operands.info) return options_info(&options, operands.info);
    if (check(&in, &names, &s, &operands, &err) != 0) goto usage;
    options_print_settings(&options, stderr);
    int rc = run(&in, &s, &names, &err);
    close_inputs(&in);
    names_free(&names);
    if (rc == 0) return EXIT_OK;
    fprintf(stderr, "pipebd-run choose: %s\n", err.text);
    return EXIT_FAILED;
usage:
    names_free(&names);
    fprintf(stderr, "pipebd-run choose: %s\n", err.text);
    return EXIT_USAGE;
}
