/* Trainings of text models: heads by pieces, labels from the data, plans that agree. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/train/block_losses.h"
#include "executor/train/execute.h"
#include "kernels/head.h"
#include "tests/head_workload.h"

typedef struct {
    Tensors *student;
    double   loss[3];        /* of the last step */
    int64_t  peak_bytes;     /* of the first device */
} Trained;

/* Trains all blocks under one stage of width devices (IR). Returns what execute() does; out's
 * student is yours. */
static int try_text(Trained *out, const Workload *w, const char *source, int devices, int64_t steps,
                    Error *err)
{
    Plan           *plan;
    Program        *program;
    Data           *data;
    DeviceSpec      spec;
    ExecutionResult result;
    char           *text = format_text("cpu:%d", devices);

    *out = (Trained){0};
    ok(data_open(&data, source, w, DATA_TRAIN, 0, err), err);
    ok(device_spec_parse(&spec, text, err), err);
    ok(tensors_new(&out->student, err), err);
    ok(plan_new(&plan, SCHEDULE_IR, w->block_count, devices, w->batch, 1, err), err);
    ok(plan_set_stage(plan, 0, 0, w->block_count - 1, 0, devices, err), err);
    ok(program_build(&program, plan, steps, err), err);
    Execution x = {.program = program, .workload = w, .devices = &spec, .data = data,
                   .student = out->student, .seed = 1,
                   .steps_per_epoch = data_count(data) / w->batch, .queue_depth = 1, .lanes = 1,
                   .micro_batches = w->micro_batches};
    int rc = execute(&result, &x, err);
    if (rc == 0) {
        for (int b = 0; b < w->block_count; b++) out->loss[b] = result.loss[b];
        out->peak_bytes = result.peak_bytes[0];
        execution_free(&result);
    }
    program_free(program);
    plan_free(plan);
    data_free(data);
    free(text);
    return rc;
}

static Trained train_text(const Workload *w, const char *source, int devices, int64_t steps)
{
    Trained out;
    Error   err = {""};

    ok(try_text(&out, w, source, devices, steps, &err), &err);
    return out;
}

/* A head that is all of the student, and of other heads than the teacher's, trains; the run never
 * holds a tensor of scores. */
static void a_run_never_holds_all_scores(void **state)
{
    Workload *w;
    Error     err = {""};
    ok(head_workload(&w, "kl", 64, 100000, 4, "", &err), &err);
    Trained run = train_text(w, "synthetic", 1, 2);
    int64_t   all = w->batch * shape_count(w->block[1].out) * 4, weights = 100000 * 5 * 4;

    (void)state;
    assert_true(all > 3 * HEAD_FLOATS * 4);
    assert_true(run.peak_bytes < 3 * HEAD_FLOATS * 4 + 10 * weights);
    assert_true(isfinite(run.loss[1]) && run.loss[1] > 0);
    tensors_free(run.student);
    workload_free(w);
}

/* ---- labels -------------------------------------------------------------------------- */

/* tests/fixtures/workload/good/gpt-small.json with from replaced by to. */
static Workload *small_gpt(const char *from, const char *to)
{
    Workload *w;
    Error     err = {""};
    char     *text = slurp(PIPEBD_ROOT "/tests/fixtures/workload/good/gpt-small.json", NULL),
         *at = strstr(text, from), *changed;

    assert_non_null(at);
    changed = format_text("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    ok(workload_parse(&w, "gpt-small", changed, strlen(changed), &err), &err);
    free(changed);
    free(text);
    return w;
}

static const char kl[] = "\"loss\": \"kl\",\n     \"temperature\": 2",
                  labelled[] = "\"loss\": \"label_cross_entropy\"";

/* The largest difference of any element, over the largest of its tensor. */
static double difference(const Tensors *a, const Tensors *b)
{
    double worst = 0;

    for (int i = 0; i < tensors_count(a); i++) {
        const Tensor *x = tensors_at(a, i), *y = tensors_find(b, x->name);
        double        largest = 0, most = 0;

        if (strncmp(x->name, "blocks.", 7) != 0) continue;
        assert_non_null(y);
        for (int64_t k = 0; k < x->count; k++) {
            largest = fmax(largest, fabs((double)x->values[k]));
            most = fmax(most, fabs((double)(x->values[k] - y->values[k])));
        }
        worst = fmax(worst, most / fmax(largest, 1e-6));
    }
    return worst;
}

static char *text_folder(bool lengths)
{
    char          *folder = temp_make(), *train = format_text("%s/train.txt", folder),
                  *of = format_text("%s/train.lengths", folder);
    char           text[32 * 64 + 1];
    unsigned char  bytes[4 * 64] = {0};
    int            sum = 0;

    for (int i = 0; i < 64; i++) {
        bytes[4 * i] = (unsigned char)(i % 3 == 0 ? 32 : 1 + i % 31);
        sum += bytes[4 * i];
    }
    if (!lengths) sum = 32 * 64;
    for (int i = 0; i < sum; i++) text[i] = (char)('a' + (i * i + i / 7) % 26);
    text[sum] = '\0';
    spill(train, text);
    if (lengths) spill_bytes(of, bytes, sizeof bytes);
    free(train), free(of);
    return folder;
}

/* What one device and two learn of next tokens agrees, with lengths and without, and goes down. */
static void labels_are_the_next_tokens(void **state)
{
    (void)state;
    for (int lengths = 0; lengths < 2; lengths++) {
        Workload *w = small_gpt(kl, labelled);
        char     *folder = text_folder(lengths), *source = format_text("bytes:%s", folder);

        w->training.learning_rate = 0.01;
        Trained first = train_text(w, source, 1, 1), last = train_text(w, source, 1, 24);
        assert_true(fabs(first.loss[2] - log(997)) < 0.5);
        assert_true(last.loss[2] < first.loss[2] - 1);
        w->optimizer = OPTIMIZER_SGD;    /* AdamW takes rounding of small gradients for their
                                          * signs */
        w->training.clip = 1;
        Trained one = train_text(w, source, 1, 8), two = train_text(w, source, 2, 8);
        assert_true(fabs(one.loss[2] - two.loss[2]) < 1e-5);
        assert_true(difference(one.student, two.student) < 1e-4);
        tensors_free(first.student), tensors_free(last.student), tensors_free(one.student),
            tensors_free(two.student);
        workload_free(w);
        free(source);
        temp_remove(folder);
    }
}

/* As many micro-batches as one likes train the same students, whatever devices there are, with
 * lengths and labels, and need less memory for activations. */
static void micro_batches_change_nothing(void **state)
{
    (void)state;
    for (int labels = 0; labels < 2; labels++) {
        Workload *w = small_gpt(kl, labels ? labelled : kl);
        char     *folder = text_folder(labels), *source = format_text("bytes:%s", folder);

        w->optimizer = OPTIMIZER_SGD;
        w->training.clip = 1;
        Trained whole = train_text(w, source, 1, 8);
        for (int devices = 1; devices <= 2; devices++)
            /* of 8 rows, and of 4: uneven, and one each */
            for (w->micro_batches = 2; w->micro_batches <= 8; w->micro_batches += 3) {
                Trained parts = train_text(w, source, devices, 8);
                for (int b = 0; b < 3; b++) assert_true(fabs(parts.loss[b] - whole.loss[b]) < 1e-5);
                assert_true(difference(whole.student, parts.student) < 1e-4);
                if (devices == 1) assert_true(parts.peak_bytes < whole.peak_bytes);
                tensors_free(parts.student);
            }
        tensors_free(whole.student);
        workload_free(w);
        free(source);
        temp_remove(folder);
    }
}

/* The loss of a whole epoch's samples by block_losses() is that of a step which has them all. */
static void losses_are_told_from_labels(void **state)
{
    Workload  *w = small_gpt(kl, labelled);
    char      *folder = text_folder(true), *source = format_text("bytes:%s", folder);
    DeviceSpec spec;
    Data      *data;
    double     loss[3];
    Error      err = {""};

    (void)state;
    w->batch = 64;
    Trained first = train_text(w, source, 1, 1);
    tensors_free(first.student);
    ok(tensors_new(&first.student, &err), &err);
    ok(data_open(&data, source, w, DATA_TRAIN, 0, &err), &err);
    ok(device_spec_parse(&spec, "cpu:1", &err), &err);
    Evaluation e = {.workload = w, .devices = &spec, .data = data, .weights = first.student,
                    .student = true, .seed = 1};
    ok(block_losses(loss, &e, NULL, &err), &err);
    for (int b = 0; b < 3; b++)
        if (!(fabs(loss[b] - first.loss[b]) <= 1e-5 * first.loss[b]))
            fail_msg("block %d: %.9g in a step, %.9g alone", b, first.loss[b], loss[b]);
    tensors_free(first.student);
    data_free(data);
    workload_free(w);
    free(source);
    temp_remove(folder);
}

/* Labels of images: data that has some, and the error where it has none. */
static void classes_are_labels(void **state)
{
    static const char text[] =
        "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"c\", \"input\": "
        "{\"channels\": 1, \"height\": 8, \"width\": 8},"
        " \"classes\": 10, \"batch\": 32, \"samples\": 64, \"training\": {\"learning_rate\": 0.5, "
        "\"momentum\": 0.9, \"weight_decay\": 0},"
        " \"blocks\": [{\"name\": \"b\", \"loss\": \"label_cross_entropy\","
        "  \"teacher\": [{\"layer\": \"flatten\"}, {\"layer\": \"linear\", \"out\": 10}],"
        "  \"student\": [{\"layer\": \"flatten\"}, {\"layer\": \"linear\", \"out\": 10}]}]}";
    Workload *w;
    Error     err = {""};

    (void)state;
    ok(workload_parse(&w, "c", text, strlen(text), &err), &err);
    Trained one = train_text(w, "digits", 1, 60), two = train_text(w, "digits", 2, 60);
    assert_true(one.loss[0] < 0.5);      /* a random teacher would not have said so */
    assert_true(difference(one.student, two.student) < 1e-3);
    tensors_free(one.student), tensors_free(two.student);
    workload_free(w);
}

static void data_without_labels_is_refused(void **state)
{
    static const char text[] = "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"c\", "
                               "\"input\": {\"tokens\": 4, \"vocabulary\": 9},"
                               " \"classes\": 3, \"batch\": 2, \"samples\": 4, \"training\": "
                               "{\"learning_rate\": 0.5, \"momentum\": 0, \"weight_decay\": 0},"
                               " \"blocks\": [{\"name\": \"b\", \"loss\": \"label_cross_entropy\","
                               "  \"teacher\": [{\"layer\": \"embedding\", \"vocabulary\": 9, "
                               "\"out\": 3}, {\"layer\": \"pool\", \"of\": \"mean\"}],"
                               "  \"student\": [{\"layer\": \"embedding\", \"vocabulary\": 9, "
                               "\"out\": 3}, {\"layer\": \"pool\", \"of\": \"mean\"}]}]}";
    char     *folder = temp_make(), *path = format_text("%s/train.bin", folder),
        *source = format_text("tokens:%s", folder);
    Workload *w;
    Trained   run;
    Error     err = {""};

    (void)state;
    spill_bytes(path, "\1\0\2\0\3\0\4\0\5\0\6\0\7\0\0\0", 16);
    ok(workload_parse(&w, "c", text, strlen(text), &err), &err);
    assert_int_equal(try_text(&run, w, source, 1, 1, &err), -1);
    assert_string_equal(
        err.text, "block \"b\" learns from labels (label_cross_entropy), and the data has none");
    tensors_free(run.student);
    workload_free(w);
    free(path), free(source);
    temp_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_never_holds_all_scores),
        cmocka_unit_test(labels_are_the_next_tokens),
        cmocka_unit_test(micro_batches_change_nothing),
        cmocka_unit_test(losses_are_told_from_labels),
        cmocka_unit_test(classes_are_labels),
        cmocka_unit_test(data_without_labels_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
