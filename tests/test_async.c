/* The worker whose device queues its work, on devices that do it as late as they can with the
 * CPU's kernels (tests/async_device.h): students are the CPU worker's, bit for bit, whatever the
 * schedule; a wait that is left out shows; nothing is allocated in a step. */
#include "tests/four_blocks.h"
#include "tests/async_device.h"

#include "base/rng.h"


typedef struct {
    ExecutionResult result;
    Program        *program;
    Tensors        *student;
    int             reports;
    int64_t         last_step[BLOCKS];
} Trained;

static void count_reports(void *context, int device, int block, int64_t step, double loss)
{
    Trained *t = context;

    (void)device;
    t->reports++;
    if (step != t->last_step[block] + 1 || !isfinite(loss)) t->reports += 1000;
    t->last_step[block] = step;
}

/* Which streams hurry: none; those that overlap with compute; compute; all of every other
 * device. */
static const unsigned hurries[][2] = {{0, 0}, {6, 6}, {1, 1}, {7, 0}, {0, 7}, {2, 4}};
enum { HURRIES = sizeof hurries / sizeof *hurries };

/* How asynchronous devices behave; NULL: devices of the CPU. */
typedef struct { int hurry; bool far; int forget; } How;

/* Trains under plan, which stays. */
static void train_on(Trained *out, const How *how, const Fixture *f, const Plan *plan,
                     uint64_t seed, int prefetch)
{
    Program   *program = spell_out(plan);
    DeviceSpec spec;
    char       text[16];
    Error      err = {""};

    *out = (Trained){.student = no_tensors(), .program = program};
    for (int b = 0; b < BLOCKS; b++) out->last_step[b] = -1;
    Execution x = execution_of(f, program, &spec, out->student, seed);
    snprintf(text, sizeof text, "cpu:%d", program->device_count);
    if (how) {
        assert_int_equal(async_devices(&spec, text, &err), 0);
        async_world.far = how->far;
        async_world.forget = how->forget;
        memcpy(async_world.eager, hurries[how->hurry], sizeof async_world.eager);
    }
    x.synchronise = false;                       /* the CPU's kernels meet in the middle of their
                                                  * work */
    x.prefetch = prefetch;
    x.progress = count_reports;
    x.context = out;
    x.record_steps = STEPS;
    if (execute(&out->result, &x, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(async_world.events, 0);
}

static void trained_free(Trained *t)
{
    execution_free(&t->result);
    program_free(t->program);
    tensors_free(t->student);
}

enum { PLANS = 12 };

static Plan *plan_of(int i)
{
    switch (i) {
    case 0: return pipeline(SCHEDULE_TR);
    case 1: return pipeline(SCHEDULE_DPU);
    case 2: return pipeline_of_four(SCHEDULE_TR);
    case 3: return pipeline_of_four(SCHEDULE_AHD);
    case 4: return lists(2, false);
    case 5: return lists(3, true);
    case 6: return data_parallel(2);
    case 7: return data_parallel(3);
    case 8: return relay(SCHEDULE_IR, 1, (const int[]){0}, (const int[]){2});
    case 9: return relay(SCHEDULE_AHD, 2, (const int[]){0, 1}, (const int[]){3, 1});
    case 10: return relay(SCHEDULE_AHD, 2, (const int[]){0, 3}, (const int[]){1, 2});
    default: return split_of_three();
    }
}

static void students_are_those_of_the_cpu(void **state)
{
    Fixture *f = *state;

    for (int i = 0; i < PLANS * HURRIES; i++) {
        How     how = {.hurry = i % HURRIES};
        int     prefetch = i % 2 ? LOADER_AHEAD : 0;
        Plan   *plan = plan_of(i / HURRIES);
        Trained truth, found;
        train_on(&truth, NULL, f, plan, 1, prefetch);
        train_on(&found, &how, f, plan, 1, prefetch);
        assert_same_bits(truth.student, found.student);
        assert_int_equal(found.reports, truth.reports);
        for (int b = 0; b < BLOCKS; b++) assert_true(found.result.loss[b] == truth.result.loss[b]);
        trained_free(&truth);
        trained_free(&found);
        plan_free(plan);
    }
}

/* Sums of devices that do not reach each other's memory go in pieces, with the same bits. */
static void sums_are_the_same_from_afar(void **state)
{
    Fixture *f = *state;

    for (int i = 6; i < PLANS; i++) {
        Plan   *plan = plan_of(i);
        Trained near, far;
        train_on(&near, &(How){0}, f, plan, 2, 0);
        train_on(&far, &(How){.far = true, .hurry = i % HURRIES}, f, plan, 2, 0);
        assert_same_bits(near.student, far.student);
        trained_free(&near);
        trained_free(&far);
        plan_free(plan);
    }
}

/* ---- the control: the tests above can fail ---- */

static bool same_bits(const Tensors *a, const Tensors *b)
{
    for (int i = 0; i < tensors_count(a); i++) {
        const Tensor *x = tensors_at(a, i), *y = tensors_find(b, x->name);
        if (!y || memcmp(x->values, y->values, (size_t)x->count * sizeof *x->values) != 0)
            return false;
    }
    return true;
}

/* One wait of a run is left out, each in turn. Not all show: some are for what is over anyway, as
 * the thread waited for something later, and losses that are never shown do not count. */
static void a_wait_that_is_left_out_shows(void **state)
{
    Fixture *f = *state;
    int      shown = 0, tried = 0;

    for (int i = 1; i < PLANS; i += 2) {
        Plan   *plan = plan_of(i);
        Trained truth, found;
        train_on(&truth, &(How){0}, f, plan, 3, 0);
        int waits = async_world.waits;
        for (int n = 1; n <= waits; n += 1 + waits / 8, tried++) {
            bool same = true;
            for (int h = 0; h < HURRIES && same; h++) {
                train_on(&found, &(How){.hurry = h, .forget = n}, f, plan, 3, 0);
                same = same_bits(truth.student, found.student);
                trained_free(&found);
            }
            shown += !same;
        }
        trained_free(&truth);
        plan_free(plan);
    }
    if (shown * 2 < tried) fail_msg("%d of %d waits that were left out show", shown, tried);
}

/* ---- times ---- */

/* Of a lane no two boxes overlap, all are within the run, and every instruction of every step is
 * there. */
static void times_are_those_of_the_device(void **state)
{
    Fixture *f = *state;
    Plan    *plan = plan_of(9);
    Trained  t;
    int64_t  last[8][LANE_LOADER + 1] = {{0}};
    int      of_op[OP_COUNT] = {0};

    train_on(&t, &(How){.hurry = 1}, f, plan, 1, 0);
    for (int64_t i = 0; i < t.result.span_count; i++) {
        const Span *s = &t.result.spans[i];
        assert_true(s->start_ns < s->end_ns);
        if (s->lane != LANE_LOADER) {
            assert_true(s->start_ns >= last[s->device][s->lane]);
            last[s->device][s->lane] = s->end_ns;
            assert_true(s->end_ns <= t.result.end_ns - t.result.start_ns);
        }
        of_op[s->instruction->op]++;
    }
    assert_true(of_op[OP_TEACHER] > 0 && of_op[OP_FORWARD] > 0 && of_op[OP_BACKWARD] > 0
                && of_op[OP_UPDATE] > 0);
    assert_true(of_op[OP_SEND] > 0 && of_op[OP_ALLREDUCE] > 0 && of_op[OP_LOAD] > 0);
    for (int p = 0; p < t.result.phase_count; p++) {
        const PhaseTimes *phase = &t.result.phases[p];
        int64_t own_ns = 0, all_ns = phase->step_end_ns[phase->steps - 1] - phase->start_ns;
        assert_true(phase->overlapped);
        assert_int_equal(phase->steps, STEPS);
        for (int op = 0; op < OP_COUNT; op++)
            own_ns += phase->wait_ns[op] + phase_work_ns(phase, (Op)op);
        assert_true(own_ns <= all_ns);
    }
    trained_free(&t);
    plan_free(plan);
}

static void every_instruction_has_a_name_for_profilers(void **state)
{
    Fixture *f = *state;
    Plan    *plan = plan_of(1);
    Trained  t;
    int      expected = 0;

    train_on(&t, &(How){0}, f, plan, 1, 0);
    for (int d = 0; d < t.program->device_count; d++)
        expected += t.program->devices[d].code_count * STEPS;
    assert_int_equal(async_world.names, expected);
    trained_free(&t);
    plan_free(plan);
}

/* ---- memory ---- */

static int allocations_of(const Fixture *f, Plan *plan, int64_t steps)
{
    Program        *program = NULL;
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    char            text[16];
    Tensors        *student = no_tensors();

    if (program_build(&program, plan, steps, &err) != 0) fail_msg("%s", err.text);
    Execution x = execution_of(f, program, &spec, student, 1);
    snprintf(text, sizeof text, "cpu:%d", program->device_count);
    assert_int_equal(async_devices(&spec, text, &err), 0);
    x.synchronise = false;
    if (execute(&result, &x, &err) != 0) fail_msg("%s", err.text);
    execution_free(&result);
    tensors_free(student);
    program_free(program);
    return async_world.allocations;
}

static void a_step_allocates_nothing(void **state)
{
    Fixture *f = *state;

    for (int i = 0; i < PLANS; i++) {
        if (i == 5) continue;                    /* who steals which block is chance */
        Plan *plan = plan_of(i);
        assert_int_equal(allocations_of(f, plan, 3), allocations_of(f, plan, 9));
        plan_free(plan);
    }
}

/* Whichever allocation of a device gives nothing, the run ends with one line that says what for,
 * and nothing is left. */
static void memory_that_runs_out_is_told(void **state)
{
    Fixture        *f = *state;
    DeviceSpec      spec;
    ExecutionResult result;
    int             plans[] = {0, 4, 9, 11};

    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        Plan    *plan = plan_of(plans[i]);
        Program *program = spell_out(plan);
        int      rc = -1;
        for (int n = 1; rc != 0; n++) {
            Tensors  *student = no_tensors();
            Error     err = {""};
            char      text[16];
            Execution x = execution_of(f, program, &spec, student, 1);
            snprintf(text, sizeof text, "cpu:%d", program->device_count);
            assert_int_equal(async_devices(&spec, text, &err), 0);
            async_world.fail = n;
            x.synchronise = false;
            rc = execute(&result, &x, &err);
            if (rc == 0) { assert_true(async_world.allocations < n); execution_free(&result);
            } else if (!strstr(err.text, "no memory for ") || !strstr(err.text, "of 7 floats"))
                fail_msg("%d: %s", n, err.text);
            assert_int_equal(async_world.events, 0);
            tensors_free(student);
        }
        program_free(program);
        plan_free(plan);
    }
}

/* ---- replay ---- */

#define CELL                                                                                      \
    "{\"layer\": \"choice\", \"paths\": ["                                                        \
    "[{\"layer\": \"conv\", \"out\": 4, \"kernel\": 1}, {\"layer\": \"batchnorm\"}, {\"layer\": " \
    "\"relu\"}],"                                                                                 \
    "[{\"layer\": \"separable\", \"out\": 4, \"kernel\": 3, \"batchnorm\": true, \"relu\": "      \
    "true}],"                                                                                     \
    "[{\"layer\": \"residual\", \"body\": [{\"layer\": \"conv\", \"out\": 4, \"kernel\": 3}]}]]}"

/* 27 ways through three cells: too many to record each, so cells are recorded one by one. */
static const char supernet_text[] =
    "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"super\","
    " \"input\": {\"channels\": 4, \"height\": 5, \"width\": 5}, \"batch\": 6, \"samples\": 60,"
    " \"training\": {\"learning_rate\": 0.05, \"momentum\": 0.9, \"nesterov\": true, "
    "\"weight_decay\": 1e-4},"
    " \"data\": \"synthetic\", \"blocks\": [{\"name\": \"a\", \"loss\": \"mse\","
    "  \"teacher\": [{\"layer\": \"conv\", \"out\": 4, \"kernel\": 3}],"
    "  \"student\": [" CELL ", " CELL ", " CELL "]}]}";

typedef struct {
    Net   *net;
    float *x, *y, *dy, *weights;         /* weights: of the host, all parameters */
    int64_t      count;
    ReplayCounts counts;
} Supernet;

enum { SUPER_ROWS = 6, SUPER_STEPS = 60, SUPER_EACH = 100 };

static void step_supernet(Supernet *s, Device *device, int step)
{
    int   choices[3];
    float x[SUPER_ROWS * SUPER_EACH];
    Error err = {""};

    for (int c = 0; c < 3; c++) choices[c] = (int)(rng_u64(5, (uint64_t)step, (uint64_t)c, 0) % 3);
    for (int i = 0; i < SUPER_ROWS * SUPER_EACH; i++)
        x[i] = (float)rng_uniform(6, (uint64_t)step, (uint64_t)i, 0) - 0.5f;
    device_put(device, s->x, x, SUPER_ROWS * SUPER_EACH);
    if (net_forward(s->net, s->x, s->y, SUPER_ROWS, choices, &err) != 0) fail_msg("%s", err.text);
    device_copy(device, s->dy, s->y, SUPER_ROWS * SUPER_EACH);
    if (net_backward(s->net, s->dy, SUPER_ROWS, &err) != 0) fail_msg("%s", err.text);
    net_update(s->net, &(UpdateStep){.learning_rate = 0.05f / (float)(step + 1), .momentum = 0.9f,
                                     .weight_decay = 1e-4f, .nesterov = true});
}

static void read_supernet(Supernet *s)
{
    for (int i = 0; i < net_parameter_count(s->net); i++)
        s->count += net_parameter(s->net, i)->count;
    s->weights = calloc((size_t)s->count, sizeof *s->weights);
    assert_non_null(s->weights);
    for (int64_t i = 0, at = 0; i < net_parameter_count(s->net);
         at += net_parameter(s->net, (int)i++)->count)
        net_read(s->net, (int)i, s->weights + at);
}

/* cannot: as AsyncWorld's. */
static Supernet train_supernet(const WorkBlock *block, bool queues, int cannot)
{
    Supernet   s = {0};
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    assert_int_equal((queues ? async_devices : device_spec_parse)(&spec, "cpu:2", &err), 0);
    async_world.cannot = cannot;
    assert_int_equal(device_open(&device, &spec, 0, &err), 0);
    if (net_new(&s.net, device, &block->student, block->in, NET_TRAINED, &err) != 0)
        fail_msg("%s", err.text);
    net_initialise(s.net, 7, 0);
    if (net_prepare(s.net, SUPER_ROWS, &err) != 0) fail_msg("%s", err.text);
    s.x = device_alloc(device, SUPER_ROWS * SUPER_EACH);
    s.y = device_alloc(device, SUPER_ROWS * SUPER_EACH);
    s.dy = device_alloc(device, SUPER_ROWS * SUPER_EACH);
    for (int step = 0; step < SUPER_STEPS; step++) step_supernet(&s, device, step);
    read_supernet(&s);
    if (queues) s.counts = replay_counts(device);
    net_free(s.net);
    device_release(device, s.x);
    device_release(device, s.y);
    device_release(device, s.dy);
    device_close(device);
    return s;
}

/* Trains it on the CPU and on an asynchronous device: the same weights. How that replayed. */
static ReplayCounts train_both(int cannot)
{
    Workload *workload;
    Error     err = {""};

    if (workload_parse(&workload, "super", supernet_text, strlen(supernet_text), &err) != 0)
        fail_msg("%s", err.text);
    Supernet truth = train_supernet(&workload->block[0], false, 0),
             found = train_supernet(&workload->block[0], true, cannot);
    assert_int_equal(truth.count, found.count);
    assert_memory_equal(truth.weights, found.weights, (size_t)truth.count * sizeof *truth.weights);
    free(truth.weights);
    free(found.weights);
    workload_free(workload);
    return found.counts;
}

static void paths_are_recorded_cell_by_cell(void **state)
{
    ReplayCounts counts = train_both(0);

    (void)state;
    /* Of 3 cells, 3 paths each, forward and backward, which may find its gradient in one of few
     * places. */
    assert_true(counts.recorded <= 3 * 3 * 2 * 4);
    assert_true(counts.replayed > SUPER_STEPS * 3 * 2 / 2);
}

/* What fails only because it is recorded is queued as it is. */
static void what_cannot_be_recorded_is_queued(void **state)
{
    ReplayCounts counts = train_both(5);

    (void)state;
    assert_true(async_world.refusals > 2);
    assert_true(counts.replayed > 0);
}

static void steps_are_replayed(void **state)
{
    Fixture *f = *state;
    Plan    *plan = pipeline(SCHEDULE_DPU);
    Trained  t;

    train_on(&t, &(How){0}, f, plan, 1, 0);
    assert_true(async_world.replayed > 0);
    trained_free(&t);
    plan_free(plan);
}

/* ---- states handed over, stopping, failing ---- */

typedef struct { Tensors *at[STEPS + 1][BLOCKS]; } Snapshots;

static int keep_snapshot(void *context, int block, int64_t step, const Tensors *state, Error *err)
{
    Snapshots *s = context;

    if (s->at[step][block] || tensors_new(&s->at[step][block], err) != 0) return -1;
    return tensors_put(s->at[step][block], state, err);
}

static void snapshots_of(Snapshots *out, bool queues, const Fixture *f, const Program *program)
{
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    Tensors        *student = no_tensors();
    Execution       x = execution_of(f, program, &spec, student, 1);

    *out = (Snapshots){0};
    if (queues) assert_int_equal(async_devices(&spec, "cpu:2", &err), 0);
    x.snapshot = keep_snapshot;
    x.snapshot_every = 4;
    x.context = out;
    if (execute(&result, &x, &err) != 0) fail_msg("%s", err.text);
    execution_free(&result);
    tensors_free(student);
}

static void what_is_handed_over_is_the_steps_own(void **state)
{
    Fixture  *f = *state;
    Plan     *plan = pipeline(SCHEDULE_DPU);
    Program  *program = spell_out(plan);
    Snapshots truth, found;

    snapshots_of(&truth, false, f, program);
    snapshots_of(&found, true, f, program);
    for (int step = 0; step <= STEPS; step++)
        for (int b = 0; b < BLOCKS; b++) {
            assert_int_equal(!truth.at[step][b], !found.at[step][b]);
            if (truth.at[step][b]) assert_true(same_bits(truth.at[step][b], found.at[step][b]));
            tensors_free(truth.at[step][b]);
            tensors_free(found.at[step][b]);
        }
    program_free(program);
    plan_free(plan);
}

static int refuse_snapshot(void *context, int block, int64_t step, const Tensors *state, Error *err)
{
    (void)context, (void)state;
    return error_set(err, "block %d at step %d is not wanted", block, (int)step);
}

static void stop_at_four(void *context, int device, int block, int64_t step, double loss)
{
    (void)device, (void)block, (void)loss;
    if (step >= 4) atomic_store((atomic_bool *)context, true);
}

static void a_run_stops_or_fails_as_one(void **state)
{
    Fixture        *f = *state;
    ExecutionResult result;
    DeviceSpec      spec;
    atomic_bool     stop = false;

    for (int i = 0; i < PLANS; i++) {
        Plan     *plan = plan_of(i);
        Program  *program = spell_out(plan);
        Tensors  *student = no_tensors();
        Error     err = {""};
        char      text[16];
        Execution x = execution_of(f, program, &spec, student, 1);

        snprintf(text, sizeof text, "cpu:%d", program->device_count);
        assert_int_equal(async_devices(&spec, text, &err), 0);
        x.synchronise = false;
        x.snapshot = refuse_snapshot;
        x.snapshot_every = 5;
        assert_int_equal(execute(&result, &x, &err), -1);
        assert_non_null(strstr(err.text, "is not wanted"));
        assert_int_equal(async_world.events, 0);

        atomic_store(&stop, false);
        x.snapshot = NULL;
        x.progress = stop_at_four;
        x.stop = &stop;
        x.context = &stop;
        if (execute(&result, &x, &err) != 0) fail_msg("%s", err.text);
        assert_true(result.stopped);
        assert_int_equal(async_world.events, 0);
        execution_free(&result);
        tensors_free(student);
        program_free(program);
        plan_free(plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(students_are_those_of_the_cpu),
        cmocka_unit_test(sums_are_the_same_from_afar),
        cmocka_unit_test(a_wait_that_is_left_out_shows),
        cmocka_unit_test(times_are_those_of_the_device),
        cmocka_unit_test(every_instruction_has_a_name_for_profilers),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(memory_that_runs_out_is_told),
        cmocka_unit_test(paths_are_recorded_cell_by_cell),
        cmocka_unit_test(what_cannot_be_recorded_is_queued),
        cmocka_unit_test(steps_are_replayed),
        cmocka_unit_test(what_is_handed_over_is_the_steps_own),
        cmocka_unit_test(a_run_stops_or_fails_as_one),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
