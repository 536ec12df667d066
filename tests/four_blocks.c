#include "tests/four_blocks.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "executor/checkpoint/state.h"
#include "schedule/verify.h"

/* Students with batch normalisation, so that statistics of groups matter, and a choice. */
static const char workload_text[] =
    "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"four\","
    " \"input\": {\"channels\": 2, \"height\": 6, \"width\": 6}, \"classes\": 5, \"batch\": 10, "
    "\"samples\": 35,"
    " \"training\": {\"learning_rate\": 0.05, \"momentum\": 0.9, \"nesterov\": true, "
    "\"weight_decay\": 1e-4},"
    " \"data\": \"synthetic\", \"blocks\": ["
    " {\"name\": \"a\", \"loss\": \"mse\","
    "  \"teacher\": [{\"layer\": \"conv\", \"out\": 6, \"kernel\": 3}, {\"layer\": \"relu\"}],"
    "  \"student\": [{\"layer\": \"conv\", \"out\": 6, \"kernel\": 1}, {\"layer\": \"batchnorm\"}, "
    "{\"layer\": \"relu\"}]},"
    " {\"name\": \"b\", \"loss\": \"mse\","
    "  \"teacher\": [{\"layer\": \"conv\", \"out\": 8, \"kernel\": 3, \"stride\": 2}, {\"layer\": "
    "\"relu\"}],"
    "  \"student\": [{\"layer\": \"choice\", \"paths\": ["
    "    [{\"layer\": \"separable\", \"out\": 8, \"kernel\": 3, \"stride\": 2, \"batchnorm\": "
    "true, \"relu\": true}],"
    "    [{\"layer\": \"conv\", \"out\": 8, \"kernel\": 1, \"stride\": 2}, {\"layer\": "
    "\"batchnorm\"}]]}]},"
    " {\"name\": \"c\", \"loss\": \"mse\","
    "  \"teacher\": [{\"layer\": \"conv\", \"out\": 8, \"kernel\": 3}, {\"layer\": \"relu\"}],"
    "  \"student\": [{\"layer\": \"separable\", \"out\": 8, \"kernel\": 3, \"batchnorm\": true, "
    "\"relu\": true}]},"
    " {\"name\": \"d\", \"loss\": \"soft_cross_entropy\","
    "  \"teacher\": [{\"layer\": \"avgpool\", \"global\": true}, {\"layer\": \"linear\", \"out\": "
    "5}],"
    "  \"student\": [{\"layer\": \"avgpool\", \"global\": true}, {\"layer\": \"linear\", \"out\": "
    "5}]}]}";

/* Devices are given what cores the process may use. */
static void keep_two_cores(void)
{
    cpu_set_t all, two;
    int       kept = 0;

    CPU_ZERO(&two);
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    for (int core = 0; core < CPU_SETSIZE && kept < 2; core++)
        if (CPU_ISSET((size_t)core, &all)) { CPU_SET((size_t)core, &two); kept++; }
    assert_int_equal(sched_setaffinity(0, sizeof two, &two), 0);
}

int open_fixture(void **state)
{
    static Fixture fixture;
    Error          err = {""};

    keep_two_cores();
    if (workload_parse(&fixture.workload, "four", workload_text, strlen(workload_text), &err) != 0
        || data_open(&fixture.data, "synthetic", fixture.workload, DATA_TRAIN, 0, &err) != 0)
        fail_msg("%s", err.text);
    *state = &fixture;
    return 0;
}

int close_fixture(void **state)
{
    Fixture *fixture = *state;

    data_free(fixture->data);
    workload_free(fixture->workload);
    return 0;
}

Program *spell_out(const Plan *plan)
{
    Program *program = NULL;
    Error    err = {""};

    if (plan_check(plan, &err) != 0 || program_build(&program, plan, STEPS, &err) != 0
        || program_verify(program, 2, &err) != 0) fail_msg("%s", err.text);
    return program;
}

Tensors *no_tensors(void)
{
    Tensors *tensors;
    Error    err = {""};

    assert_int_equal(tensors_new(&tensors, &err), 0);
    return tensors;
}

Execution execution_of(const Fixture *f, const Program *program, DeviceSpec *spec, Tensors *student,
                       uint64_t seed)
{
    char  text[16];
    Error err = {""};

    snprintf(text, sizeof text, "cpu:%d", program->device_count);
    assert_int_equal(device_spec_parse(spec, text, &err), 0);
    return (Execution){.program = program, .workload = f->workload, .devices = spec,
                       .data = f->data, .student = student, .seed = seed,
                       .steps_per_epoch = STEPS_AN_EPOCH, .queue_depth = 2, .lanes = 1,
                       .synchronise = true};
}

Tensors *train(const Fixture *f, Plan *plan, Tensors *student, uint64_t seed, int prefetch)
{
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    Tensors        *out = student ? student : no_tensors();
    Execution       x = execution_of(f, program, &spec, out, seed);

    x.prefetch = prefetch;
    if (execute(&result, &x, &err) != 0) fail_msg("%s", err.text);
    assert_false(result.stopped);
    for (int b = 0; b < BLOCKS; b++) assert_int_equal(result.steps[b], STEPS);
    execution_free(&result);
    program_free(program);
    plan_free(plan);
    return out;
}

Plan *relay(Schedule schedule, int stages, const int *first, const int *width)
{
    Plan *plan;
    Error err = {""};
    int   devices = 0, device = 0;

    for (int s = 0; s < stages; s++) devices += width[s];
    assert_int_equal(plan_new(&plan, schedule, BLOCKS, devices, BATCH, stages, &err), 0);
    for (int s = 0; s < stages; s++) {
        int last = s + 1 < stages ? first[s + 1] - 1 : BLOCKS - 1;
        assert_int_equal(plan_set_stage(plan, s, first[s], last, device, width[s], &err), 0);
        device += width[s];
    }
    return plan;
}

Plan *data_parallel(int devices)
{
    Plan *plan;
    Error err = {""};

    assert_int_equal(plan_new(&plan, SCHEDULE_DP, BLOCKS, devices, BATCH, BLOCKS, &err), 0);
    for (int b = 0; b < BLOCKS; b++)
        assert_int_equal(plan_set_stage(plan, b, b, b, 0, devices, &err), 0);
    return plan;
}

Plan *lists(int devices, bool stealing)
{
    Plan *plan;
    Error err = {""};

    assert_int_equal(plan_new(&plan, SCHEDULE_LS, BLOCKS, devices, BATCH, BLOCKS, &err), 0);
    plan->stealing = stealing;
    for (int s = 0; s < BLOCKS; s++) {
        int b = BLOCKS - 1 - s;
        assert_int_equal(
            plan_set_stage(plan, s, b, b, stealing ? 0 : b % devices, stealing ? 0 : 1, &err), 0);
    }
    return plan;
}

Plan *pipeline(Schedule schedule)
{
    return relay(schedule, 2, (const int[]){0, 2}, (const int[]){1, 1});
}

Plan *pipeline_of_four(Schedule schedule)
{
    return relay(schedule, 4, (const int[]){0, 1, 2, 3}, (const int[]){1, 1, 1, 1});
}

Plan *split_of_three(void)
{
    Plan *plan;
    Error err = {""};

    assert_int_equal(plan_new(&plan, SCHEDULE_SPLIT, BLOCKS, 3, BATCH, 2, &err), 0);
    assert_int_equal(plan_set_stage(plan, 0, 0, 1, 0, 1, &err), 0);
    assert_int_equal(plan_set_stage(plan, 1, 2, 3, 1, 1, &err), 0);
    assert_int_equal(plan_add_tasks(plan, &err), 0);
    static const int     device[BLOCKS][2] = {{2, 0}, {0, 2}, {1, 2}, {1, 0}};
    static const int64_t rows[BLOCKS][2] = {{10, 0}, {4, 6}, {7, 3}, {10, 0}};
    for (int b = 0; b < BLOCKS; b++)
        assert_int_equal(
            plan_place(plan, &plan->tasks[b], device[b], rows[b], rows[b][1] ? 2 : 1, &err), 0);
    return plan;
}

double difference(const Tensors *a, const Tensors *b)
{
    double worst = 0;

    assert_int_equal(tensors_count(a), tensors_count(b));
    for (int i = 0; i < tensors_count(a); i++) {
        const Tensor *x = tensors_at(a, i), *y = tensors_find(b, x->name);
        double        largest = 0.02, most = 0;
        assert_non_null(y);
        for (int64_t k = 0; k < x->count; k++) {
            largest = fmax(largest, fabs(x->values[k]));
            most = fmax(most, fabs(x->values[k] - y->values[k]));
        }
        worst = fmax(worst, most / largest);
    }
    return worst;
}

void assert_same_bits(const Tensors *a, const Tensors *b)
{
    assert_int_equal(tensors_count(a), tensors_count(b));
    for (int i = 0; i < tensors_count(a); i++) {
        const Tensor *x = tensors_at(a, i), *y = tensors_find(b, x->name);
        if (!y) fail_msg("%s is missing", x->name);
        if (memcmp(x->values, y->values, (size_t)x->count * sizeof *x->values) != 0)
            fail_msg("%s differs", x->name);
    }
    for (int b_ = 0; b_ < BLOCKS; b_++) {
        int64_t step, other;
        Error   err = {""};
        assert_int_equal(state_step(&step, a, (StudentId){.block = b_}, &err), 0);
        assert_int_equal(state_step(&other, b, (StudentId){.block = b_}, &err), 0);
        assert_int_equal(step, other);
    }
}
