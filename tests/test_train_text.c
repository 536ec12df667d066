/* Trainings of text models: heads by pieces. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/train/execute.h"
#include "kernels/head.h"

static void ok(int rc, const Error *err) { if (rc != 0) fail_msg("%s", err->text); }

/* An embedding and a head of so many scores. */
static Workload *text_workload(const char *loss, int tokens, int vocabulary)
{
    Workload *w;
    Error     err = {""};
    char     *text = format_text(
        "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"text\", \"input\": {\"tokens\": %d, \"vocabulary\": 30},"
        " \"batch\": 8, \"samples\": 16, \"training\": {\"learning_rate\": 0.1, \"momentum\": 0, \"weight_decay\": 0},"
        " \"data\": \"synthetic\", \"blocks\": ["
        " {\"name\": \"a\", \"loss\": \"mse\", \"teacher\": [{\"layer\": \"embedding\", \"vocabulary\": 30, \"out\": 4}],"
        "  \"student\": [{\"layer\": \"embedding\", \"vocabulary\": 30, \"out\": 4}]},"
        " {\"name\": \"b\", \"loss\": \"%s\", \"teacher\": [{\"layer\": \"layernorm\"}, {\"layer\": \"linear\", \"out\": %d}],"
        "  \"student\": [{\"layer\": \"linear\", \"out\": %d}]}]}", tokens, loss, vocabulary, vocabulary);

    ok(workload_parse(&w, "text", text, strlen(text), &err), &err);
    free(text);
    return w;
}

/* A head that is all of the student, and of other heads than the teacher's, trains; the run never holds a tensor of scores. */
static void a_run_never_holds_all_scores(void **state)
{
    Workload       *w = text_workload("kl", 64, 100000);
    Plan           *plan;
    Program        *program;
    Data           *data;
    Tensors        *student;
    DeviceSpec      devices;
    ExecutionResult result;
    Error           err = {""};
    int64_t         all = w->batch * shape_count(w->block[1].out) * 4, weights = 100000 * 5 * 4;

    (void)state;
    ok(data_open(&data, "synthetic", w, DATA_TRAIN, 0, &err), &err);
    ok(device_spec_parse(&devices, "cpu:1", &err), &err);
    ok(tensors_new(&student, &err), &err);
    ok(plan_new(&plan, SCHEDULE_IR, 2, 1, w->batch, 1, &err), &err);
    ok(plan_set_stage(plan, 0, 0, 1, 0, 1, &err), &err);
    ok(program_build(&program, plan, 2, &err), &err);
    Execution x = {.program = program, .workload = w, .devices = &devices, .data = data, .student = student, .seed = 1,
                   .steps_per_epoch = 2, .queue_depth = 1, .lanes = 1};
    ok(execute(&result, &x, &err), &err);
    assert_true(all > 3 * HEAD_FLOATS * 4);
    assert_true(result.peak_bytes[0] < 3 * HEAD_FLOATS * 4 + 10 * weights);
    assert_true(isfinite(result.loss[1]) && result.loss[1] > 0);
    execution_free(&result);
    program_free(program);
    plan_free(plan);
    tensors_free(student);
    data_free(data);
    workload_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_never_holds_all_scores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
