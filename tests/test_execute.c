/* The executor: every schedule trains the same students, from any step on, and a failure of
 * one device ends the run. Real kernels on a small workload, on two cores: every device has
 * one, with four devices two share each. */
#include "tests/four_blocks.h"

#include "base/rng.h"

/* ---- the same mathematics -------------------------------------------------------------- */

/* A block on one device is the same arithmetic wherever and whenever it runs, where each
 * device has as many cores (a team of threads adds in another order than one does). */
static void schedules_of_width_one_agree_to_the_bit(void **state)
{
    Fixture *f = *state;

    for (uint64_t seed = 1; seed <= 3; seed++) {
        Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, seed, 0);
        Plan *(*const make[])(Schedule) = {pipeline, pipeline_of_four};
        for (int i = 0; i < 2; i++) {
            Schedule all[] = {SCHEDULE_TR, SCHEDULE_DPU, SCHEDULE_AHD};
            for (int s = 0; s < 3; s++) {
                Tensors *found = train(f, make[i](all[s]), NULL, seed, s == 1 ? LOADER_AHEAD : 0);
                assert_same_bits(truth, found);
                tensors_free(found);
            }
        }
        for (int devices = 2; devices <= 4; devices++)
            for (int stealing = 0; stealing < 2; stealing++) {
                Tensors *found =
                    train(f, lists(devices, stealing), NULL, seed, stealing ? LOADER_AHEAD : 0);
                assert_same_bits(truth, found);
                tensors_free(found);
            }
        tensors_free(truth);
    }
}

/* Of a block: all of its tensors, momentum too. */
static void assert_same_block(const Tensors *a, const Tensors *b, int block)
{
    int found = 0;

    for (int i = 0; i < tensors_count(a); i++) {
        const Tensor *x = tensors_at(a, i), *y = tensors_find(b, x->name);
        if (state_block(x->name) != block) continue;
        assert_non_null(y);
        assert_memory_equal(x->values, y->values, (size_t)x->count * sizeof *x->values);
        found++;
    }
    assert_true(found > 0);
}

/* A block with a training of its own is trained as in a workload of that for all, the others as
 * without. */
static void a_block_trains_as_it_says(void **state)
{
    Fixture  *f = *state;
    Workload *w = f->workload;
    Training  common = workload_training(w, &w->block[1]), own = common;

    own.learning_rate *= 0.25;
    own.momentum = 0.5;
    own.weight_decay = 0.01;
    Tensors *without = train(f, pipeline(SCHEDULE_DPU), NULL, 1, 0);
    w->block[1].training = &own;
    Tensors *mixed = train(f, pipeline(SCHEDULE_DPU), NULL, 1, 0);
    w->block[1].training = NULL;
    w->training.learning_rate = own.learning_rate;
    w->training.momentum = own.momentum;
    w->training.weight_decay = own.weight_decay;
    Tensors *all = train(f, pipeline(SCHEDULE_DPU), NULL, 1, 0);
    w->training.learning_rate = common.learning_rate;
    w->training.momentum = common.momentum;
    w->training.weight_decay = common.weight_decay;
    for (int b = 0; b < BLOCKS; b++) assert_same_block(mixed, b == 1 ? all : without, b);
    assert_true(difference(without, all) > 1e-3);
    tensors_free(without);
    tensors_free(mixed);
    tensors_free(all);
}

/* Groups add the same gradients and statistics in another order, which errs by some 1e-7 of
 * them; nine steps with momentum, and normalisation of channels with little variance, make
 * 1e-4 of that here, and a ReLU may fall on the other side. Without common statistics the
 * students are others (0.4). */
#define SPLIT_TOLERANCE 2e-3

static void groups_agree_to_rounding(void **state)
{
    Fixture *f = *state;

    for (uint64_t seed = 1; seed <= 3; seed++) {
        Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, seed, 0);
        Plan    *plans[] = {
            data_parallel(2), data_parallel(3), data_parallel(4),
            relay(SCHEDULE_IR, 1, (const int[]){0}, (const int[]){2}),
            relay(SCHEDULE_IR, 1, (const int[]){0}, (const int[]){4}),
            relay(SCHEDULE_AHD, 2, (const int[]){0, 1}, (const int[]){3, 1}),
            relay(SCHEDULE_AHD, 2, (const int[]){0, 3}, (const int[]){1, 2}),
            relay(SCHEDULE_AHD, 3, (const int[]){0, 1, 2}, (const int[]){1, 2, 1}),
            relay(SCHEDULE_AHD, 2, (const int[]){0, 2}, (const int[]){2, 2}),
            split_of_three(),
        };
        for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
            Tensors *found = train(f, plans[i], NULL, seed, i % 2 ? LOADER_AHEAD : 0);
            double   most = difference(truth, found);
            if (!(most <= SPLIT_TOLERANCE))
                fail_msg("plan %zu, seed %" PRIu64 ": differs by %g", i, seed, most);
            tensors_free(found);
        }
        tensors_free(truth);
    }
}

/* The control of the test above: it can fail. */
static void without_common_statistics_groups_differ(void **state)
{
    Fixture        *f = *state;
    Tensors        *truth = train(f, pipeline(SCHEDULE_TR), NULL, 1, 0), *found = no_tensors();
    Plan           *plan = data_parallel(2);
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    Execution       x = execution_of(f, program, &spec, found, 1);

    x.synchronise = false;
    assert_int_equal(execute(&result, &x, &err), 0);
    assert_true(difference(truth, found) > 50 * SPLIT_TOLERANCE);
    execution_free(&result);
    program_free(program);
    plan_free(plan);
    tensors_free(found);
    tensors_free(truth);
}

/* Two students of a device between FORWARD and BACKWARD: neither may lie where the other does.
 *
 *     ... FORWARD 0 | BACKWARD 0 | FORWARD 1 | BACKWARD 1 ...     as the schedules do
 *     ... FORWARD 0 | FORWARD 1 | BACKWARD 0 | BACKWARD 1 ... */
static void students_may_be_under_way_together(void **state)
{
    Fixture        *f = *state;
    Tensors        *truth = train(f, pipeline(SCHEDULE_DPU), NULL, 1, 0), *found = no_tensors();
    Plan           *plan = pipeline(SCHEDULE_DPU);
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};

    for (int d = 0; d < 2; d++) {
        Instruction *code = program->devices[d].code;
        int          i = 0;
        while (code[i].op != OP_FORWARD) i++;
        Instruction forward = code[i + 2];
        assert_int_equal(forward.op, OP_FORWARD);
        code[i + 2] = code[i + 1];
        code[i + 1] = forward;
    }
    if (program_verify(program, 2, &err) != 0) fail_msg("%s", err.text);
    Execution x = execution_of(f, program, &spec, found, 1);
    if (execute(&result, &x, &err) != 0) fail_msg("%s", err.text);
    assert_same_bits(truth, found);
    execution_free(&result);
    program_free(program);
    plan_free(plan);
    tensors_free(found);
    tensors_free(truth);
}

/* The same plan gives the same bits whenever it runs. */
static void a_plan_repeats_itself(void **state)
{
    Fixture *f = *state;

    for (int round = 0; round < 3; round++) {
        Tensors *a = train(
            f, relay(SCHEDULE_AHD, 3, (const int[]){0, 1, 2}, (const int[]){1, 2, 1}), NULL, 7, 0);
        Tensors *b =
            train(f, relay(SCHEDULE_AHD, 3, (const int[]){0, 1, 2}, (const int[]){1, 2, 1}), NULL,
                  7, LOADER_AHEAD);
        assert_same_bits(a, b);
        tensors_free(a);
        tensors_free(b);
    }
}

/* ---- stopping and going on --------------------------------------------------------------- */

typedef struct {
    atomic_bool stop;
    int         left;        /* updates until the run is asked to stop */
} Stopper;

static void count_down(void *context, int device, int block, int64_t step, double loss)
{
    Stopper *s = context;

    (void)device; (void)block; (void)step; (void)loss;
    if (--s->left == 0) atomic_store(&s->stop, true);
}

/* Trains under plan, which it frees, until updates are made, and lets the run stop. */
static Tensors *train_until(const Fixture *f, Plan *plan, int updates, uint64_t seed)
{
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    Tensors        *student = no_tensors();
    Stopper         stopper = {false, updates};
    Execution       x = execution_of(f, program, &spec, student, seed);

    x.stop = &stopper.stop;
    x.progress = count_down;
    x.context = &stopper;
    if (execute(&result, &x, &err) != 0) fail_msg("%s", err.text);
    for (int b = 0; b < BLOCKS; b++) {
        int64_t step;
        assert_int_equal(state_step(&step, student, (StudentId){.block = b}, &err), 0);
        assert_int_equal(result.steps[b], step);
    }
    execution_free(&result);
    program_free(program);
    plan_free(plan);
    return student;
}

static Plan *plan_number(int i)
{
    switch (i) {
    case 0:  return pipeline(SCHEDULE_TR);
    case 1:  return pipeline_of_four(SCHEDULE_DPU);
    case 2:  return lists(2, false);
    case 3:  return lists(3, true);
    case 4:  return relay(SCHEDULE_AHD, 2, (const int[]){0, 1}, (const int[]){1, 2});
    case 5:  return relay(SCHEDULE_IR, 1, (const int[]){0}, (const int[]){2});
    case 6:  return split_of_three();
    default: return data_parallel(2);
    }
}

enum { PLANS = 8, PLANS_OF_WIDTH_ONE = 4 };

static void a_stopped_run_goes_on_to_the_same_bits(void **state)
{
    Fixture *f = *state;
    uint64_t seed = test_seed("stopped", 5);

    for (int i = 0; i < PLANS; i++) {
        Tensors *truth = train(f, plan_number(i), NULL, seed, 0);
        for (int round = 0; round < 3; round++) {
            int updates =
                1 + (int)(rng_u64(seed, (uint64_t)i, (uint64_t)round, 1) % (BLOCKS * STEPS - 1));
            Tensors *student = train_until(f, plan_number(i), updates, seed);
            train(f, plan_number(i), student, seed, LOADER_AHEAD);
            assert_same_bits(truth, student);
            tensors_free(student);
        }
        tensors_free(truth);
    }
}

/* From where one schedule stopped another goes on: blocks stand at different steps then. */
static void another_plan_goes_on(void **state)
{
    Fixture *f = *state;
    uint64_t seed = test_seed("another", 6);
    Tensors *truth = train(f, plan_number(0), NULL, seed, 0);

    for (int from = 0; from < PLANS; from++) {
        for (int to = 0; to < PLANS; to++) {
            int updates =
                1 + (int)(rng_u64(seed, (uint64_t)from, (uint64_t)to, 1) % (BLOCKS * STEPS - 1));
            Tensors *student = train_until(f, plan_number(from), updates, seed);
            train(f, plan_number(to), student, seed, 0);
            if (from < PLANS_OF_WIDTH_ONE && to < PLANS_OF_WIDTH_ONE)
                assert_same_bits(truth, student);
            double most = difference(truth, student);
            if (!(most <= SPLIT_TOLERANCE))
                fail_msg("from plan %d to %d: differs by %g", from, to, most);
            tensors_free(student);
        }
    }
    tensors_free(truth);
}

/* ---- what a run tells -------------------------------------------------------------------- */

typedef struct {
    int     updates, snapshots, faults;
    int64_t steps[BLOCKS], snapped[BLOCKS];
    double  loss[BLOCKS];
} Heard;

static void hear_progress(void *context, int device, int block, int64_t step, double loss)
{
    Heard *h = context;

    (void)device;
    h->faults += step != h->steps[block];
    h->steps[block]++;
    h->loss[block] = loss;
    h->updates++;
}

static int hear_snapshot(void *context, int block, int64_t step, const Tensors *state, Error *err)
{
    Heard  *h = context;
    int64_t there;

    if (state_step(&there, state, (StudentId){.block = block}, err) != 0) return -1;
    h->faults += there != step || h->steps[block] != step || (step % 4 != 0 && step != STEPS);
    h->snapped[block] = step;
    h->snapshots++;
    return 0;
}

static void progress_and_snapshots_come_once_a_block(void **state)
{
    Fixture *f = *state;

    for (int i = 0; i < PLANS; i++) {
        Plan           *plan = plan_number(i);
        Program        *program = spell_out(plan);
        DeviceSpec      spec;
        ExecutionResult result;
        Error           err = {""};
        Heard           heard = {0};
        Tensors        *student = no_tensors();
        Execution       x = execution_of(f, program, &spec, student, 3);
        x.progress = hear_progress;
        x.snapshot = hear_snapshot;
        x.snapshot_every = 4;
        x.context = &heard;
        assert_int_equal(execute(&result, &x, &err), 0);
        assert_int_equal(heard.faults, 0);
        assert_int_equal(heard.updates, BLOCKS * STEPS);
        assert_int_equal(heard.snapshots, BLOCKS * 3);       /* after 4, 8 and 9 */
        for (int b = 0; b < BLOCKS; b++) {
            assert_int_equal(heard.snapped[b], STEPS);
            assert_true(result.loss[b] == heard.loss[b]);
        }
        execution_free(&result);
        program_free(program);
        plan_free(plan);
        tensors_free(student);
    }
}

/* ---- where devices are -------------------------------------------------------------- */

typedef struct {
    StatusBoard   *board;
    const Program *program;
    int            faults;
} Looking;

/* A device that reports an update is at just that. */
static void look_at_update(void *context, int device, int block, int64_t step, double loss)
{
    Looking    *l = context;
    DeviceStatus       place = status_board_get(l->board, device);
    const Code *code = place.stolen ? &l->program->queue : &l->program->devices[device];

    (void)loss;
    l->faults += place.state != DEVICE_WORKING || place.step != step || place.instruction < 0
                 || code->code[place.instruction].op != OP_UPDATE
                 || code->code[place.instruction].block != block;
}

static void status_board_are_those_of_the_run(void **state)
{
    Fixture *f = *state;

    for (int i = 0; i < PLANS; i++) {
        Plan           *plan = plan_number(i);
        Program        *program = spell_out(plan);
        DeviceSpec      spec;
        ExecutionResult result;
        Error           err = {""};
        Looking         l = {.program = program};
        Tensors        *student = no_tensors();
        Execution       x = execution_of(f, program, &spec, student, 3);
        assert_int_equal(status_board_new(&l.board, program->device_count, &err), 0);
        x.board = l.board;
        x.progress = look_at_update;
        x.context = &l;
        assert_int_equal(execute(&result, &x, &err), 0);
        assert_int_equal(l.faults, 0);
        for (int d = 0; d < program->device_count; d++) {
            DeviceTimes there = status_board_times(l.board, d, 0), ran = {0};
            for (int p = 0; p < result.phase_count; p++) {
                const PhaseTimes *t = &result.phases[p];
                if (t->device != d) continue;
                ran.steps += t->steps;
                for (int op = 0; op < OP_COUNT; op++) {
                    ran.work_ns[op] += t->work_ns[op];
                    ran.wait_ns[op] += t->wait_ns[op];
                }
            }
            assert_int_equal(status_board_get(l.board, d).state, DEVICE_DONE);
            assert_int_equal(there.steps, ran.steps);
            assert_int_equal(there.bytes, result.peak_bytes[d]);
            assert_memory_equal(there.work_ns, ran.work_ns, sizeof ran.work_ns);
            assert_memory_equal(there.wait_ns, ran.wait_ns, sizeof ran.wait_ns);
            assert_true(there.own_ns >= 0);
        }
        execution_free(&result);
        status_board_free(l.board);
        program_free(program);
        plan_free(plan);
        tensors_free(student);
    }
}

static void check_times(const ExecutionResult *result)
{
    int64_t trained = 0;

    for (int p = 0; p < result->phase_count; p++) {
        const PhaseTimes *t = &result->phases[p];
        int64_t           work = 0, before = t->start_ns;
        assert_int_equal(t->steps, STEPS);
        assert_true(result->peak_bytes[t->device] > 0);      /* not of one that found nothing to
                                                              * steal */
        for (int64_t s = 0; s < t->steps; s++) {
            assert_true(t->step_end_ns[s] >= before);
            before = t->step_end_ns[s];
        }
        for (int op = 0; op < OP_COUNT; op++) work += t->work_ns[op] + t->wait_ns[op];
        assert_true(work <= before - t->start_ns);
        assert_true(before <= result->end_ns - result->start_ns);
        trained += t->work_ns[OP_BACKWARD] > 0;
    }
    assert_true(trained > 0);
}

/* Boxes of a lane never overlap; of the recorded steps every TEACHER, FORWARD, BACKWARD and
 * UPDATE of every device has one. */
static void check_spans(const ExecutionResult *result, const Program *program, int64_t first,
                        int64_t steps)
{
    int64_t end[4][LANE_LOADER] = {{0}}, before = 0, found = 0, wanted = 0;

    for (int64_t i = 0; i < result->span_count; i++) {
        const Span *span = &result->spans[i];
        assert_true(span->step >= first && span->step < first + steps);
        assert_true(span->end_ns >= before && span->end_ns >= span->start_ns);
        before = span->end_ns;
        if (span->lane == LANE_LOADER) continue;
        assert_true(span->start_ns >= end[span->device][span->lane]);
        end[span->device][span->lane] = span->end_ns;
        Op op = span->instruction->op;
        found += op == OP_TEACHER || op == OP_FORWARD || op == OP_BACKWARD || op == OP_UPDATE;
    }
    for (int d = 0; d <= program->device_count; d++) {
        const Code *code = d < program->device_count ? &program->devices[d] : &program->queue;
        for (int i = 0; i < code->code_count; i++) {
            Op op = code->code[i].op;
            wanted +=
                steps
                * (op == OP_TEACHER || op == OP_FORWARD || op == OP_BACKWARD || op == OP_UPDATE);
        }
    }
    assert_int_equal(found, wanted);
}

static void times_and_spans_fit_each_other(void **state)
{
    Fixture *f = *state;

    for (int i = 0; i < PLANS; i++) {
        Plan           *plan = plan_number(i);
        Program        *program = spell_out(plan);
        DeviceSpec      spec;
        ExecutionResult result;
        Error           err = {""};
        Tensors        *student = no_tensors();
        Execution       x = execution_of(f, program, &spec, student, 3);
        x.record_first = 2;
        x.record_steps = 3;
        assert_int_equal(execute(&result, &x, &err), 0);
        check_times(&result);
        check_spans(&result, program, 2, 3);
        execution_free(&result);
        program_free(program);
        plan_free(plan);
        tensors_free(student);
    }
}

/* A run that stops after some updates and goes on under another plan is one run when its results
 * are joined: times in order, all steps, the loss of the last; the spans are those of the first. */
static void results_of_a_run_in_parts_are_joined(void **state)
{
    Fixture        *f = *state;
    Plan           *plans[2] = {pipeline(SCHEDULE_DPU), pipeline(SCHEDULE_TR)};
    Program        *programs[2];
    ExecutionResult parts[2];
    DeviceSpec      spec;
    Error           err = {""};
    Heard           heard = {0};
    Tensors        *student = no_tensors();

    for (int i = 0; i < 2; i++) {
        Stopper   stopper = {false, 2 * BLOCKS};
        Execution x;
        programs[i] = spell_out(plans[i]);
        x = execution_of(f, programs[i], &spec, student, 3);
        x.stop = &stopper.stop;
        x.progress = i ? hear_progress : count_down;
        x.context = i ? (void *)&heard : (void *)&stopper;
        x.record_steps = i ? 0 : 2;
        for (int b = 0; i && b < BLOCKS; b++) heard.steps[b] = parts[0].steps[b];
        if (execute(&parts[i], &x, &err) != 0) fail_msg("%s", err.text);
    }
    int64_t spans = parts[0].span_count, end_ns = parts[1].end_ns,
            second_ns = parts[1].start_ns - parts[0].start_ns;
    int     first = parts[0].phase_count;
    assert_true(parts[0].stopped);
    assert_int_equal(heard.faults, 0);
    assert_int_equal(execution_join(&parts[0], &parts[1], BLOCKS, 2, &err), 0);
    assert_int_equal(parts[1].phase_count, 0);
    assert_null(parts[1].phases);
    assert_int_equal(parts[0].end_ns, end_ns);
    assert_int_equal(parts[0].span_count, spans);
    assert_false(parts[0].stopped);
    assert_int_equal(parts[0].phase_count, 2 * first);
    for (int b = 0; b < BLOCKS; b++) {
        assert_int_equal(parts[0].steps[b], STEPS);
        assert_true(parts[0].loss[b] == heard.loss[b]);
    }
    int64_t steps = 0;
    for (int p = 0; p < parts[0].phase_count; p++) {
        const PhaseTimes *t = &parts[0].phases[p];
        assert_true(p < first || t->start_ns >= second_ns);
        assert_true(t->step_end_ns[t->steps - 1] <= parts[0].end_ns - parts[0].start_ns);
        steps += t->steps;
    }
    assert_int_equal(steps, 2 * STEPS);          /* of two devices */
    execution_free(&parts[0]);
    for (int i = 0; i < 2; i++) { program_free(programs[i]); plan_free(plans[i]); }
    tensors_free(student);
}

/* ---- failures ---------------------------------------------------------------------------- */

/* Runs plan, which it frees, and expects the run to fail with words in the message. */
static void expect_failure(const Fixture *f, Plan *plan, const Tensors *teacher, Tensors *student,
                           const char *words)
{
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    Tensors        *own = student ? student : no_tensors();
    Execution       x = execution_of(f, program, &spec, own, 1);

    x.teacher = teacher;
    assert_int_equal(execute(&result, &x, &err), -1);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    program_free(program);
    plan_free(plan);
    if (!student) tensors_free(own);
}

/* A teacher's tensors for all blocks but one that differs. */
static Tensors *teacher_with(const Fixture *f, const char *name, int rank, const int64_t *dim)
{
    Tensors        *teacher = no_tensors();
    DeviceSpec      spec;
    Device         *device;
    Error           err = {""};
    Tensor         *added;

    assert_int_equal(tensors_add(teacher, name, rank, dim, &added, &err), 0);
    assert_int_equal(device_spec_parse(&spec, "cpu:1", &err), 0);
    assert_int_equal(device_open(&device, &spec, 0, &err), 0);
    for (int b = 0; b < BLOCKS; b++) {
        const WorkBlock *block = &f->workload->block[b];
        Net             *net;
        assert_int_equal(net_new(&net, device, &block->teacher, block->in, NET_FROZEN, &err), 0);
        net_initialise(net, 1, 0);
        if (strncmp(name, "blocks.2", 8) != 0 || b != 2)
            assert_int_equal(state_store(net, (StudentId){.block = b}, 0, false, teacher, &err), 0);
        net_free(net);
    }
    device_close(device);
    return teacher;
}

static void a_wrong_teacher_is_refused_by_name(void **state)
{
    Fixture *f = *state;
    Tensors *shape = teacher_with(f, "blocks.2.0.weight", 4, (const int64_t[]){8, 8, 1, 1});
    Tensors *empty = no_tensors();

    for (int i = 0; i < PLANS; i++) {
        expect_failure(f, plan_number(i), empty, NULL, "teacher's weights: tensor blocks.");
        expect_failure(
            f, plan_number(i), shape, NULL,
            "tensor blocks.2.0.weight has the shape [8][8][1][1], expected [8][8][3][3]");
    }
    assert_int_equal(tensors_set_path(empty, "T.safetensors", NULL), 0);
    expect_failure(f, plan_number(0), empty, NULL,
                   "T.safetensors: teacher's weights: tensor blocks.");
    tensors_free(shape);
    tensors_free(empty);
}

/* The loss becomes infinite on one device: all others stop, wherever they wait. */
static void a_loss_without_bounds_ends_the_run(void **state)
{
    Fixture *f = *state;
    double   before = f->workload->training.learning_rate;

    f->workload->training.learning_rate = 1e30;
    for (int i = 0; i < PLANS; i++)
        expect_failure(f, plan_number(i), NULL, NULL, "has diverged by step");
    f->workload->training.learning_rate = before;
}

/* Memory may run out at any allocation, in any thread: an error, and everything is given back. */
static void memory_running_out_ends_the_run(void **state)
{
    Fixture *f = *state;
    Plan    *plans[] = {relay(SCHEDULE_AHD, 2, (const int[]){0, 2}, (const int[]){1, 2}),
                        lists(2, true)};

    for (int i = 0; i < 2; i++) {
        Program *program = spell_out(plans[i]);
        bool     reached = true;
        for (long n = 1; reached; n += 1 + n / 12) {
            DeviceSpec      spec;
            ExecutionResult result;
            Error           err = {""};
            Tensors        *student = no_tensors();
            Execution       x = execution_of(f, program, &spec, student, 1);
            x.record_steps = 2;
            x.prefetch = 1;
            alloc_fail_after(n);
            int rc = execute(&result, &x, &err);
            reached = alloc_fail_reached();
            alloc_fail_after(0);
            if (rc == 0) execution_free(&result);
            else if (!reached || !err.text[0]) fail_msg("allocation %ld: \"%s\"", n, err.text);
            tensors_free(student);
        }
        program_free(program);
        plan_free(plans[i]);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    Fixture        *f = *state;
    Plan           *plan = pipeline(SCHEDULE_DPU);
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    Tensors        *student = no_tensors();
    Execution       x = execution_of(f, program, &spec, student, 1);

    assert_int_equal(device_spec_parse(&spec, "cpu:3", &err), 0);
    assert_int_equal(execute(&result, &x, &err), -1);
    assert_string_equal(err.text, "the program is for 2 devices, there are 3");
    assert_int_equal(device_spec_parse(&spec, "cpu:2", &err), 0);
    assert_int_equal(tensors_set_note(student, "step.1", "10", &err), 0);
    assert_int_equal(execute(&result, &x, &err), -1);
    assert_string_equal(err.text, "block 1 stands at step 10, the run has 9");
    assert_int_equal(tensors_set_note(student, "step.1", "many", &err), 0);
    assert_int_equal(execute(&result, &x, &err), -1);
    assert_string_equal(err.text, "note step.1 is \"many\", expected a number of steps");
    program_free(program);
    int students[BLOCKS] = {1, 2, 1, 1};
    assert_int_equal(plan_set_students(plan, students, &err), 0);
    program = spell_out(plan);
    x.program = program;
    assert_int_equal(execute(&result, &x, &err), -1);
    assert_non_null(strstr(err.text, "the program trains 2 students of block "));
    program_free(program);
    plan_free(plan);
    tensors_free(student);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_of_width_one_agree_to_the_bit),
        cmocka_unit_test(a_block_trains_as_it_says),
        cmocka_unit_test(groups_agree_to_rounding),
        cmocka_unit_test(without_common_statistics_groups_differ),
        cmocka_unit_test(students_may_be_under_way_together),
        cmocka_unit_test(a_plan_repeats_itself),
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bits),
        cmocka_unit_test(another_plan_goes_on),
        cmocka_unit_test(progress_and_snapshots_come_once_a_block),
        cmocka_unit_test(status_board_are_those_of_the_run),
        cmocka_unit_test(times_and_spans_fit_each_other),
        cmocka_unit_test(results_of_a_run_in_parts_are_joined),
        cmocka_unit_test(a_wrong_teacher_is_refused_by_name),
        cmocka_unit_test(a_loss_without_bounds_ends_the_run),
        cmocka_unit_test(memory_running_out_ends_the_run),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
