/* Programs that store boundaries: whatever is stored, wherever blocks are, whenever a run is
 * stopped and with whatever rows it finds, the students are those of relaying, to the bit, and what
 * is there is not computed again. */
#include "tests/async_device.h"
#include "tests/four_blocks.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/rng.h"
#include "executor/train/parts.h"

enum { BOUNDARIES = BLOCKS + 1, ALL = (1 << BOUNDARIES) - 1 };

/* ---- programs, written out by hand ---------------------------------------------------------- */

typedef struct {
    Program *program;
    Code    *code;
    int64_t  row, rows;
} Emitter;

static void emit(const Emitter *e, Op op, int block, int link)
{
    Error err = {""};

    if (program_emit(e->program, e->code, (Instruction){op, block, link, e->row, e->rows, 0}, &err)
        != 0)
        fail_msg("%s", err.text);
}

/* Steps first to end - 1. */
static Emitter phase(Program *program, int device, int number, int64_t first, int64_t end,
                     int64_t row, int64_t rows)
{
    Code *code = &program->devices[device];
    Error err = {""};

    assert_int_equal(program_begin_phase(code, end - first, &err), 0);
    code->phases[code->phase_count - 1].first_step = first;
    code->phases[code->phase_count - 1].number = number;
    return (Emitter){program, code, row, rows};
}

static Program *empty_program(int devices, int64_t steps)
{
    Program *program = program_new(devices, BLOCKS, BATCH, steps);

    assert_non_null(program);
    return program;
}

static bool has(int set, int boundary) { return set >> boundary & 1; }

/* Boundary k on the device: fetched, or computed from the nearest that is, or from the data. held:
 * the highest that is there. */
static void bring(const Emitter *e, int set, int k, int *held)
{
    int from = k;

    if (*held == k) return;
    while (from > *held && from > 0 && !has(set, from)) from--;
    if (from > *held) {
        emit(e, from > 0 || has(set, 0) ? OP_FETCH : OP_LOAD, from, -1);
        *held = from;
    }
    while (*held < k) emit(e, OP_TEACHER, (*held)++, -1);
}

static void train_block(const Emitter *e, int b, int group)
{
    emit(e, OP_FORWARD, b, -1);
    emit(e, OP_BACKWARD, b, -1);
    if (group >= 0) emit(e, OP_ALLREDUCE, b, group);
    emit(e, OP_UPDATE, b, -1);
}

/* Epoch 1 under a relaying plan, with a STORE of each boundary of the set where it is made; then
 * block b on device b % devices. Frees plan. */
static Program *store_program(Plan *plan, int set)
{
    Program *relayed = spell_out(plan), *program = empty_program(plan->device_count, STEPS);
    Error    err = {""};

    for (int c = 0; c < relayed->channel_count; c++)
        assert_int_equal(
            program_channel(program, relayed->channels[c].from, relayed->channels[c].to, &err), c);
    for (int g = 0; g < relayed->group_count; g++)
        assert_int_equal(
            program_group(program, relayed->groups[g].devices, relayed->groups[g].count, &err), g);
    for (int d = 0; d < plan->device_count; d++) {
        Emitter e = phase(program, d, 0, 0, STEPS_AN_EPOCH, 0, 0);
        for (int i = 0; i < relayed->devices[d].code_count; i++) {
            const Instruction *in = &relayed->devices[d].code[i];
            e.row = in->row;
            e.rows = in->rows;
            emit(&e, in->op, in->block, in->link);
            int made = in->op == OP_LOAD ? 0 : in->op == OP_TEACHER ? in->block + 1 : -1;
            if (made >= 0 && has(set, made)) emit(&e, OP_STORE, made, -1);
        }
    }
    for (int b = BLOCKS - 1; b >= 0; b--) {
        int     device = b % plan->device_count, held = -1;
        int     before = program->devices[device].phase_count;
        Emitter e = phase(program, device, before, STEPS_AN_EPOCH, STEPS, 0, BATCH);
        emit(&e, OP_ONLOAD, b, -1);
        bring(&e, set, b, &held);
        bring(&e, set, b + 1, &held);
        train_block(&e, b, -1);
        emit(&e, OP_OFFLOAD, b, -1);
    }
    program_free(relayed);
    plan_free(plan);
    return program;
}

/* Block after block on all devices: its target is made and stored in its first epoch, and fetched
 * in the others. */
static Program *blocks_in_turn(int devices, int64_t steps)
{
    Program *program = empty_program(devices, steps);
    int      all[] = {0, 1, 2, 3};
    Error    err = {""};
    int      group = devices > 1 ? program_group(program, all, devices, &err) : -1;

    for (int b = 0; b < BLOCKS; b++)
        for (int rest = 0; rest < (steps > STEPS_AN_EPOCH ? 2 : 1); rest++)
            for (int d = 0; d < devices; d++) {
                int64_t row = BATCH * d / devices, rows = BATCH * (d + 1) / devices - row;
                int     held = -1;
                Emitter e = phase(program, d, 2 * b + rest, rest ? STEPS_AN_EPOCH : 0,
                                  rest ? steps : STEPS_AN_EPOCH, row, rows);
                emit(&e, OP_ONLOAD, b, -1);
                bring(&e, ALL - 1, b, &held);
                if (rest) bring(&e, ALL - 1, b + 1, &held);
                else {
                    emit(&e, OP_TEACHER, b, -1);
                    emit(&e, OP_STORE, b + 1, -1);
                }
                train_block(&e, b, group);
                emit(&e, OP_OFFLOAD, b, -1);
            }
    return program;
}

static Program *sequential_program(int devices) { return blocks_in_turn(devices, STEPS); }

/* ---- running them ---------------------------------------------------------------------------- */

typedef struct {
    atomic_bool stop;
    int         left;        /* updates until the run is asked to stop; 0: never */
    int         kept;        /* times that states were to be kept before a boundary went */
} Countdown;

static int count_keep(void *context, Error *err)
{
    (void)err;
    ((Countdown *)context)->kept++;
    return 0;
}

static void count_update(void *context, int device, int block, int64_t step, double loss)
{
    Countdown *c = context;

    (void)device; (void)block; (void)step; (void)loss;
    if (--c->left == 0) atomic_store(&c->stop, true);
}

typedef struct {
    const char *place;
    uint64_t    seed;
    int         updates;     /* stopped after so many; 0: not */
    int         prefetch;
    bool        drop;
    int         late;        /* of what each of its devices enqueues (tests/async_device.h); 0:
                              * devices of the CPU */
    int64_t     teacher_ns;  /* found: time in TEACHER */
    int64_t     stored;      /* steps of phases that store */
    int         kept;        /* times that states were to be kept */
} Job;

static bool stores(const Program *program, const PhaseTimes *times)
{
    const Code  *code = &program->devices[times->device];
    const Phase *p = &code->phases[times->phase];

    for (int i = 0; i < p->count; i++)
        if (code->code[p->first + i].op == OP_STORE) return true;
    return false;
}

static int try(const Fixture *f, const Program *program, Job *job, Tensors *student, Error *err)
{
    DeviceSpec      spec;
    ExecutionResult result;
    bool            set[BOUNDARIES];
    Store          *store;
    Countdown       countdown = {.left = job->updates};
    Execution       x = execution_of(f, program, &spec, student, job->seed);
    StoreOptions    options = {.place = job->place, .workload = f->workload, .data = f->data,
                               .devices = &spec, .seed = job->seed, .boundaries = set,
                               .later = job->drop};

    if (job->late) {
        char text[16];
        snprintf(text, sizeof text, "cpu:%d", program->device_count);
        assert_int_equal(async_devices(&spec, text, err), 0);
        async_world.eager[0] = job->late % 3 == 0 ? 7 : job->late % 3 == 1 ? 6 : 0;
        async_world.eager[1] = job->late % 2 ? 1 : 0;
        x.synchronise = false;
    }
    program_stored_set(set, program);
    if (store_open(&store, &options, err) != 0) return -1;
    x.store = store;
    x.prefetch = job->prefetch;
    x.stop = &countdown.stop;
    x.progress = count_update;
    x.keep = count_keep;
    x.context = &countdown;
    int rc = execute_parts(&result, &x, job->drop, err);
    job->teacher_ns = job->stored = 0;
    job->kept = countdown.kept;
    for (int p = 0; rc == 0 && p < result.phase_count; p++) {
        job->teacher_ns += result.phases[p].work_ns[OP_TEACHER];
        if (stores(program, &result.phases[p])) job->stored += result.phases[p].steps;
    }
    if (rc == 0 && !job->updates)
        for (int b = 0; b < BLOCKS; b++) assert_int_equal(result.steps[b], program->steps);
    if (rc == 0) execution_free(&result);
    store_close(store);
    return rc;
}

/* Runs program, which it frees, from student on (NULL: from the seed). Yours. */
static Tensors *run_program(const Fixture *f, Program *program, Job *job, Tensors *student)
{
    Tensors *out = student ? student : no_tensors();
    Error    err = {""};

    if (try(f, program, job, out, &err) != 0) fail_msg("%s", err.text);
    program_free(program);
    return out;
}

/* ---- the same students ----------------------------------------------------------------------- */

static Plan *any_plan(int i)
{
    return i % 2 ? pipeline_of_four(SCHEDULE_DPU) : pipeline(SCHEDULE_TR);
}

/* Another run takes up what the job's run has stored of the set: nothing is stored again. */
static void takes_it_up(const Fixture *f, int plan, int set, Job *job, const Tensors *truth)
{
    Tensors *found = run_program(f, store_program(any_plan(plan), set), job, NULL);

    assert_same_bits(truth, found);
    assert_int_equal(job->stored, 0);
    if (set == ALL) assert_int_equal(job->teacher_ns, 0);        /* no teacher at all */
    tensors_free(found);
}

static void any_stored_set_gives_the_same_students(void **state)
{
    Fixture *f = *state;
    uint64_t seed = test_seed("any_stored_set", 1);
    Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, seed, 0);

    for (int set = 1; set <= ALL; set += test_thorough() ? 1 : 6) {
        char    *folder = temp_make();
        Job      job = {.place = set % 4 ? folder : STORE_HOST,
                        .seed = seed,
                        .prefetch = set % 3 ? 0 : LOADER_AHEAD};
        Tensors *found = run_program(f, store_program(any_plan(set), set), &job, NULL);
        assert_same_bits(truth, found);
        int devices = set % 2 ? 4 : 2;
        assert_int_equal(job.stored % STEPS_AN_EPOCH, 0);
        assert_true(job.stored >= STEPS_AN_EPOCH && job.stored <= devices * STEPS_AN_EPOCH);
        tensors_free(found);
        if (set % 4) takes_it_up(f, set / 2, set, &job, truth);
        temp_remove(folder);
    }
    tensors_free(truth);
}

static void sequential_gives_the_same_students(void **state)
{
    Fixture *f = *state;
    Tensors *truth = train(f, lists(1, false), NULL, 3, 0);      /* one device has both cores */

    for (int devices = 1; devices <= 3; devices++)
        for (int drop = 0; drop < 2; drop++) {
            char    *folder = temp_make();
            Job      job = {
                     .place = drop && devices == 2 ? STORE_HOST : folder, .seed = 3, .drop = drop};
            Tensors *found = run_program(f, sequential_program(devices), &job, NULL);
            if (devices == 1) assert_same_bits(truth, found);
            else assert_true(difference(truth, found) < 2e-3);
            assert_int_equal(files_in(folder), drop ? 0 : BLOCKS);
            assert_int_equal(job.kept, drop ? BLOCKS - 1 : 0);   /* before the input of each but the
                                                                  * first goes */
            tensors_free(found);
            temp_remove(folder);
        }
    tensors_free(truth);
}

/* On devices that do their work as late as they can: rows are stored when they are there, and
 * fetched ahead, also by another run. */
static void asynchronous_devices_store_too(void **state)
{
    Fixture *f = *state;
    Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, 6, 0);

    for (int late = 1; late <= 12; late++) {
        char    *folder = temp_make();
        int      set = 1 + late * 5 % ALL;
        Job      job = {.place = late % 4 ? folder : STORE_HOST, .seed = 6, .late = late,
                        .prefetch = late % 3 ? 0 : LOADER_AHEAD};
        Tensors *found = run_program(f, store_program(any_plan(late), set), &job, NULL);
        assert_same_bits(truth, found);
        assert_true(job.stored >= STEPS_AN_EPOCH);
        tensors_free(found);
        if (late % 4) {
            job.late++;
            takes_it_up(f, late + 1, set, &job, truth);
        }
        temp_remove(folder);
    }
    tensors_free(truth);
}

static void asynchronous_devices_go_on(void **state)
{
    Fixture *f = *state;
    Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, 8, 0);

    for (int updates = 1; updates < BLOCKS * STEPS; updates += 11) {
        char    *folder = temp_make();
        int      set = 1 + updates % ALL;
        Job      job = {.place = folder, .seed = 8, .updates = updates, .late = updates};
        Tensors *student = run_program(f, store_program(any_plan(updates), set), &job, NULL);
        job.updates = 0;
        run_program(f, store_program(any_plan(updates), set), &job, student);
        assert_same_bits(truth, student);
        tensors_free(student);
        temp_remove(folder);
    }
    tensors_free(truth);
}

/* ---- stopped, and resumed -------------------------------------------------------------------- */

/* At every so many updates. With a folder no step is stored twice, but on devices that lag behind;
 * with memory, which is gone, an epoch and what was left of one. */
static void a_stopped_run_goes_on(void **state)
{
    Fixture *f = *state;
    uint64_t seed = test_seed("a_stopped_run_goes_on", 2);
    Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, seed, 0);

    for (int updates = 1; updates < BLOCKS * STEPS; updates += test_thorough() ? 1 : 9)
        for (int memory = 0; memory < 2; memory++) {
            char    *folder = temp_make();
            int      set = 1 + (int)(rng_u64(seed, (uint64_t)updates, 0, 0) % ALL);
            Job job = {.place = memory ? STORE_HOST : folder, .seed = seed, .updates = updates};
            Tensors *student = run_program(f, store_program(any_plan(updates), set), &job, NULL);
            int64_t  before = job.stored;
            job.updates = 0;
            run_program(f, store_program(any_plan(updates), set), &job, student);
            assert_same_bits(truth, student);
            int devices = updates % 2 ? 4 : 2;
            if (!memory) assert_true(before + job.stored <= devices * STEPS_AN_EPOCH);
            tensors_free(student);
            temp_remove(folder);
        }
    tensors_free(truth);
}

static void a_stopped_sequential_run_goes_on(void **state)
{
    Fixture *f = *state;
    Tensors *truth = train(f, lists(1, false), NULL, 4, 0);

    for (int updates = 1; updates < BLOCKS * STEPS; updates += test_thorough() ? 1 : 7) {
        char    *folder = temp_make();
        Job      job = {.place = folder, .seed = 4, .updates = updates, .drop = true};
        Tensors *student = run_program(f, sequential_program(1), &job, NULL);
        int64_t  before = job.stored;
        assert_true(files_in(folder) <= 2);              /* two live at a time */
        job.updates = 0;
        run_program(f, sequential_program(1), &job, student);
        assert_same_bits(truth, student);
        assert_int_equal(before + job.stored, BLOCKS * STEPS_AN_EPOCH);
        assert_int_equal(files_in(folder), 0);
        tensors_free(student);
        temp_remove(folder);
    }
    tensors_free(truth);
}

/* Without a checkpoint: what is in the store is fetched from the first step on, the rest is
 * relayed. */
static void rows_that_are_there_are_fetched(void **state)
{
    Fixture *f = *state;
    Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, 5, 0);

    for (int updates = 1; updates <= BLOCKS * STEPS_AN_EPOCH; updates += 4) {
        char    *folder = temp_make();
        Job      job = {.place = folder, .seed = 5, .updates = updates};
        tensors_free(run_program(f, store_program(pipeline(SCHEDULE_DPU), ALL), &job, NULL));
        int64_t  before = job.stored;
        job.updates = 0;
        Tensors *student = run_program(f, store_program(pipeline(SCHEDULE_DPU), ALL), &job, NULL);
        assert_same_bits(truth, student);
        assert_true(before + job.stored <= 2 * STEPS_AN_EPOCH + 1);
        tensors_free(student);
        temp_remove(folder);
    }
    tensors_free(truth);
}

/* Of one epoch nothing trains later: blocks train though all that their parts store is there. */
static void one_epoch_trains_on_what_is_there(void **state)
{
    Fixture *f = *state;
    char    *folder = temp_make();
    Job      job = {.place = folder, .seed = 8};
    Tensors *truth = run_program(f, blocks_in_turn(2, STEPS_AN_EPOCH), &job, NULL);

    for (int updates = 0; updates < 12; updates += 5) {  /* stopped after so many, too; and
                                                          * resumed */
        job.updates = updates;
        Tensors *student = run_program(f, blocks_in_turn(2, STEPS_AN_EPOCH), &job, NULL);
        job.updates = 0;
        if (updates > 0) run_program(f, blocks_in_turn(2, STEPS_AN_EPOCH), &job, student);
        assert_same_bits(truth, student);
        tensors_free(student);
    }
    tensors_free(truth);
    temp_remove(folder);
}

/* ---- what ends a run ------------------------------------------------------------------------- */

static void expect_error(const Fixture *f, Program *program, Job *job, Tensors *student,
                         const char *words)
{
    Error err = {""};

    assert_int_equal(try(f, program, job, student, &err), -1);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    program_free(program);
}

/* The row that a step reads is damaged: one error that names it. The states that a checkpoint would
 * have are those before, and a run without the file goes on from them. */
static void a_damaged_row_ends_the_run(void **state)
{
    Fixture *f = *state;
    char    *folder = temp_make(), *path = format_text("%s/boundary-2.safetensors", folder);
    Tensors *truth = train(f, pipeline(SCHEDULE_TR), NULL, 6, 0), *student;
    Job      job = {.place = folder, .seed = 6, .updates = BLOCKS * STEPS_AN_EPOCH};
    int      set = 1 << 2 | 1 << 3;

    student = run_program(f, store_program(pipeline(SCHEDULE_DPU), set), &job, NULL);
    job.updates = 0;
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    for (int64_t i = 0; i < SAMPLES; i++)
        assert_int_equal(pwrite(file, "x", 1, 4096 + i * 8 * 3 * 3 * 4 + 5), 1);
    close(file);
    Tensors *before = no_tensors();
    Error    err = {""};
    assert_int_equal(tensors_put(before, student, &err), 0);
    expect_error(f, store_program(pipeline(SCHEDULE_DPU), set), &job, student,
                 "boundary-2.safetensors: row ");
    tensors_free(student);
    assert_int_equal(unlink(path), 0);
    student = run_program(f, store_program(pipeline(SCHEDULE_DPU), set), &job, before);
    assert_same_bits(truth, student);
    tensors_free(student);
    tensors_free(truth);
    free(path);
    temp_remove(folder);
}

/* Memory is gone with its process; a sequential run has no teacher that would make it again. */
static void what_cannot_be_made_again_is_refused(void **state)
{
    Fixture *f = *state;
    Job      job = {.place = STORE_HOST, .seed = 7, .updates = STEPS + 2, .drop = true};
    Tensors *student = run_program(f, sequential_program(1), &job, NULL);

    job.updates = 0;
    expect_error(f, sequential_program(1), &job, student, "boundary 1 has 35 of its rows missing");
    tensors_free(student);
}

static void programs_that_store_need_a_store(void **state)
{
    Fixture        *f = *state;
    Program        *program = sequential_program(1);
    Tensors        *student = no_tensors();
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    Execution       x = execution_of(f, program, &spec, student, 1);

    assert_int_equal(execute(&result, &x, &err), -1);
    assert_non_null(strstr(err.text, "it needs a store"));
    tensors_free(student);
    program_free(program);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void parts_are_as_few_as_can_be(void **state)
{
    (void)state;
    ProgramParts parts;
    Program     *program = store_program(pipeline(SCHEDULE_TR), 1 << 2);
    Error        err = {""};

    assert_int_equal(program_parts_find(&parts, program, &err), 0);
    assert_int_equal(parts.count, 2);
    assert_true(parts.part[0].first == 0 && parts.part[0].last == 0 && parts.part[0].rest == 1);
    assert_true(parts.part[1].first == 1 && parts.part[1].last == 2 && parts.part[1].rest == -1);
    assert_true(parts.part[0].stores[2] && !parts.part[0].stores[1] && parts.part[1].fetches[2]);
    program_parts_free(&parts);
    program_free(program);
    program = sequential_program(2);
    assert_int_equal(program_parts_find(&parts, program, &err), 0);
    assert_int_equal(parts.count, 2 * BLOCKS);
    for (int i = 0; i < parts.count; i++) assert_int_equal(parts.part[i].rest, i % 2 ? -1 : i + 1);
    program_parts_free(&parts);
    program_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_stored_set_gives_the_same_students),
        cmocka_unit_test(sequential_gives_the_same_students),
        cmocka_unit_test(asynchronous_devices_store_too),
        cmocka_unit_test(asynchronous_devices_go_on),
        cmocka_unit_test(a_stopped_run_goes_on),
        cmocka_unit_test(a_stopped_sequential_run_goes_on),
        cmocka_unit_test(rows_that_are_there_are_fetched),
        cmocka_unit_test(one_epoch_trains_on_what_is_there),
        cmocka_unit_test(a_damaged_row_ends_the_run),
        cmocka_unit_test(what_cannot_be_made_again_is_refused),
        cmocka_unit_test(programs_that_store_need_a_store),
        cmocka_unit_test(parts_are_as_few_as_can_be),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
