/* Blocks with several students: each is trained as if it were alone, bit for bit, under every
 * schedule, whatever stands beside it and in whichever order; on asynchronous devices too. */
#include "tests/four_blocks.h"
#include "tests/async_device.h"

static const char X_A[] = "{\"name\": \"x\", \"layers\": [{\"layer\": \"conv\", \"out\": 6, "
                          "\"kernel\": 1}, {\"layer\": \"batchnorm\"}, {\"layer\": \"relu\"}]}";
static const char Y_A[] = "{\"name\": \"y\", \"layers\": [{\"layer\": \"conv\", \"out\": 6, "
                          "\"kernel\": 3}, {\"layer\": \"batchnorm\"}]}";
static const char X_B[] =
    "{\"name\": \"x\", \"layers\": [{\"layer\": \"choice\", \"paths\": [[{\"layer\": \"conv\", "
    "\"out\": 8, \"kernel\": 3, \"stride\": 2, \"padding\": 1}], [{\"layer\": \"conv\", \"out\": "
    "8, "
    "\"kernel\": 1, \"stride\": 2}]]}]}";
static const char Y_B[] = "{\"name\": \"y\", \"layers\": [{\"layer\": \"separable\", \"out\": 8, "
                          "\"kernel\": 3, \"stride\": 2, \"batchnorm\": true, \"relu\": true}]}";
static const char X_D[] = "{\"name\": \"x\", \"layers\": [{\"layer\": \"avgpool\", \"global\": "
                          "true}, {\"layer\": \"linear\", \"out\": 5}]}";
static const char Y_D[] = "{\"name\": \"y\", \"layers\": [{\"layer\": \"avgpool\", \"global\": "
                          "true}, {\"layer\": \"linear\", \"out\": 7}, {\"layer\": \"relu\"}, "
                          "{\"layer\": \"linear\", \"out\": 5}]}";

static void add_block(Text *out, const char *name, const char *loss, const char *teacher,
                      const char *first, const char *second)
{
    text_printf(out, "%s{\"name\": \"%s\", \"loss\": \"%s\", \"teacher\": [%s], \"students\": [%s",
                name[0] == 'a' ? "" : ", ", name, loss, teacher, first);
    text_printf(out, "%s%s]}", second ? ", " : "", second ? second : "");
}

/* Four blocks; c has one student, x, whose layers are a's. second: the list's second students. */
static void open_library(Fixture *f, const char *const first[4], const char *const second[4])
{
    Text  text = {0};
    Error err = {""};

    text_append(&text, "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"library\", "
                       "\"input\": {\"channels\": 2, \"height\": 6, \"width\": 6}, \"classes\": 5, "
                       "\"batch\": 10, \"samples\": 35, \"training\": {\"learning_rate\": 0.05, "
                       "\"momentum\": 0.9}, \"data\": \"synthetic\", \"blocks\": [");
    add_block(&text, "a", "mse", "{\"layer\": \"conv\", \"out\": 6, \"kernel\": 3}", first[0],
              second[0]);
    add_block(&text, "b", "mse", "{\"layer\": \"conv\", \"out\": 8, \"kernel\": 3, \"stride\": 2}",
              first[1], second[1]);
    add_block(&text, "c", "mse", "{\"layer\": \"conv\", \"out\": 6, \"kernel\": 3}", first[2],
              second[2]);
    add_block(&text, "d", "soft_cross_entropy",
              "{\"layer\": \"avgpool\", \"global\": true}, {\"layer\": \"linear\", \"out\": 5}",
              first[3], second[3]);
    text_append(&text, "]}");
    if (workload_parse(&f->workload, "library", text_string(&text), text.length, &err) != 0
        || data_open(&f->data, "synthetic", f->workload, DATA_TRAIN, 0, &err) != 0)
        fail_msg("%s", err.text);
    text_free(&text);
}

static const char *const xs[4] = {X_A, X_B, X_A, X_D}, *const ys[4] = {Y_A, Y_B, X_A, Y_D},
                         *const more_ys[4] = {Y_A, Y_B, NULL, Y_D},
                         *const more_xs[4] = {X_A, X_B, NULL, X_D}, *const none[4] = {NULL};

static void close_library(Fixture *f)
{
    data_free(f->data);
    workload_free(f->workload);
}

static void count_students(Plan *plan, const Workload *workload)
{
    int  *counts = workload_student_counts(workload);
    Error err = {""};

    assert_non_null(counts);
    assert_int_equal(plan_set_students(plan, counts, &err), 0);
    free(counts);
}

/* Under plan, which it frees, all students of the workload, from students on (NULL: the seed). */
static Tensors *run(const Fixture *f, Plan *plan, bool async, Tensors *students)
{
    Tensors        *out = students ? students : no_tensors();
    DeviceSpec      spec;
    ExecutionResult result;
    Error           err = {""};
    char            text[16];

    if (plan->schedule != SCHEDULE_SPLIT) count_students(plan, f->workload);
    Program  *program = spell_out(plan);
    Execution x = execution_of(f, program, &spec, out, 3);
    x.synchronise = !async;
    snprintf(text, sizeof text, "cpu:%d", program->device_count);
    if (async) {
        assert_int_equal(async_devices(&spec, text, &err), 0);
        memset(async_world.eager, 0, sizeof async_world.eager);
    }
    if (execute(&result, &x, &err) != 0) fail_msg("%s", err.text);
    for (int k = 0; k < workload_students(f->workload); k++) {
        assert_int_equal(result.steps[k], STEPS);
        assert_true(isfinite(result.loss[k]));
    }
    execution_free(&result);
    program_free(program);
    plan_free(plan);
    return out;
}

/* What alone has, some has too, with the same bits; *count += its tensors. */
static void assert_within(const Tensors *alone, const Tensors *some, int *count)
{
    for (int i = 0; i < tensors_count(alone); i++) {
        const Tensor *x = tensors_at(alone, i), *y = tensors_find(some, x->name);
        if (!y) fail_msg("%s is missing", x->name);
        if (memcmp(x->values, y->values, (size_t)x->count * sizeof *x->values) != 0)
            fail_msg("%s differs", x->name);
    }
    for (int i = 0; i < tensors_note_count(alone); i++) {
        const char *key = tensors_note_key(alone, i);
        assert_string_equal(tensors_note(some, key), tensors_note(alone, key));
    }
    *count += tensors_count(alone);
}

typedef Plan *MakePlan(void);

static Plan *tr(void) { return pipeline(SCHEDULE_TR); }
static Plan *dpu(void) { return pipeline_of_four(SCHEDULE_DPU); }
static Plan *dp(void) { return data_parallel(2); }
static Plan *ls(void) { return lists(2, false); }
static Plan *stolen(void) { return lists(2, true); }
static Plan *ir(void) { return relay(SCHEDULE_IR, 1, (const int[]){0}, (const int[]){2}); }
static Plan *ahd(void)
{
    return relay(SCHEDULE_AHD, 2, (const int[]){0, 2}, (const int[]){2, 1});
}

/* Students of both lists together against each list alone, in two orders. */
static void compare(MakePlan *make, bool async)
{
    static const struct { const char *const *first, *const *second; } orders[] = {{xs, more_ys},
                                                                                  {ys, more_xs}};
    Tensors *alone[2];

    for (int i = 0; i < 2; i++) {
        Fixture f;
        open_library(&f, i ? ys : xs, none);
        alone[i] = run(&f, make(), async, NULL);
        close_library(&f);
    }
    for (int i = 0; i < 2; i++) {
        Fixture f;
        int     count = 0;
        open_library(&f, orders[i].first, orders[i].second);
        Tensors *both = run(&f, make(), async, NULL);
        assert_within(alone[0], both, &count);
        assert_within(alone[1], both, &count);
        int shared = 0;                  /* c's student is in both lists */
        for (int t = 0; t < tensors_count(both); t++)
            shared += state_block(tensors_at(both, t)->name) == 2;
        assert_int_equal(tensors_count(both), count - shared);
        tensors_free(both);
        close_library(&f);
    }
    tensors_free(alone[0]);
    tensors_free(alone[1]);
}

static void students_do_not_see_each_other(void **state)
{
    MakePlan *const plans[] = {tr, dpu, dp, ls, stolen, ir, ahd};

    (void)state;
    for (size_t p = 0; p < sizeof plans / sizeof *plans; p++) compare(plans[p], false);
}

static void nor_on_asynchronous_devices(void **state)
{
    (void)state;
    compare(dpu, true);
    compare(ahd, true);
}

/* Split puts students of a block on devices of their own: those of the relay, bit for bit. */
static void students_apart(void **state)
{
    Fixture f;
    Plan   *plan;
    Error   err = {""};
    int     count = 0;

    (void)state;
    open_library(&f, xs, more_ys);
    assert_int_equal(plan_new(&plan, SCHEDULE_SPLIT, BLOCKS, 3, BATCH, 2, &err), 0);
    assert_int_equal(plan_set_stage(plan, 0, 0, 1, 0, 1, &err), 0);
    assert_int_equal(plan_set_stage(plan, 1, 2, 3, 1, 1, &err), 0);
    count_students(plan, f.workload);
    assert_int_equal(plan_add_tasks(plan, &err), 0);
    for (int k = 0; k < workload_students(f.workload); k++) {
        int     device = k % 3;
        int64_t rows = BATCH;
        assert_int_equal(plan_place(plan, &plan->tasks[k], &device, &rows, 1, &err), 0);
    }
    Tensors *apart = run(&f, plan, false, NULL), *together = run(&f, dpu(), false, NULL);
    assert_within(apart, together, &count);
    assert_int_equal(count, tensors_count(together));
    tensors_free(apart);
    tensors_free(together);
    close_library(&f);
}

/* Students may stand at different steps: x has all of them behind it, y none. */
static void students_stand_at_steps_of_their_own(void **state)
{
    Fixture f;
    int     count = 0;

    (void)state;
    open_library(&f, xs, none);
    Tensors *x = run(&f, dpu(), false, NULL), *done = no_tensors();
    Error    err = {""};
    assert_int_equal(tensors_put(done, x, &err), 0);
    close_library(&f);
    open_library(&f, xs, more_ys);
    Tensors *fresh = run(&f, dpu(), false, NULL);
    Plan *plan = dpu();
    count_students(plan, f.workload);
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;
    Execution       e = execution_of(&f, program, &spec, done, 3);
    if (execute(&result, &e, &err) != 0) fail_msg("%s", err.text);
    for (int k = 0; k < workload_students(f.workload); k++) {
        StudentId id = workload_student(f.workload, k);
        assert_int_equal(result.steps[k], STEPS);
        assert_int_equal(isnan(result.loss[k]) != 0, id.name[0] == 'x');
    }
    execution_free(&result);
    program_free(program);
    plan_free(plan);
    assert_within(fresh, done, &count);
    tensors_free(x);
    tensors_free(done);
    tensors_free(fresh);
    close_library(&f);
}

static void a_program_of_other_students_is_refused(void **state)
{
    Fixture         f;
    DeviceSpec      spec;
    ExecutionResult result;
    Tensors        *students = no_tensors();
    Plan           *plan = dpu();
    Program        *program = spell_out(plan);
    Error           err = {""};

    (void)state;
    open_library(&f, xs, more_ys);
    Execution x = execution_of(&f, program, &spec, students, 3);
    assert_int_equal(execute(&result, &x, &err), -1);
    assert_string_equal(err.text, "the program trains 1 students of block \"a\", workload library "
                                  "has 2");
    program_free(program);
    plan_free(plan);
    tensors_free(students);
    close_library(&f);
}

/* ---- names ---------------------------------------------------------------------------- */

static void numbers_and_names_go_together(void **state)
{
    static const char *const names[] = {"a/x", "a/y", "b/x", "b/y", "c/x", "d/x", "d/y"};
    Fixture f;
    char    text[STUDENT_TEXT_BYTES], tensor[64];

    (void)state;
    open_library(&f, xs, more_ys);
    assert_int_equal(workload_students(f.workload), 7);
    assert_true(workload_has_candidates(f.workload));
    for (int k = 0; k < 7; k++) {
        StudentId id = workload_student(f.workload, k);
        assert_string_equal(student_text(text, f.workload, id), names[k]);
        assert_int_equal(workload_student_number(f.workload, id.block, id.student), k);
        snprintf(tensor, sizeof tensor, "momentum.blocks.%d.%s.0.weight", id.block, id.name);
        assert_int_equal(state_student(f.workload, tensor), k);
    }
    assert_int_equal(state_student(f.workload, "blocks.0.0.weight"), -1);
    assert_int_equal(state_student(f.workload, "blocks.0.xy.0.weight"), -1);
    assert_int_equal(state_student(f.workload, "blocks.9.x.0.weight"), -1);
    close_library(&f);
}

static void lists_of_students_are_read(void **state)
{
    Fixture f;
    int     picked[BLOCKS];
    Error   err = {""};

    (void)state;
    open_library(&f, xs, more_ys);
    assert_int_equal(workload_read_students(picked, f.workload, "y,0,x,1", &err), 0);
    assert_memory_equal(picked, ((int[]){1, 0, 0, 1}), sizeof picked);
    assert_int_equal(workload_read_students(picked, f.workload, "y,0,y,1", &err), -1);
    assert_string_equal(err.text, "block \"c\" has no student \"y\", expected one of its 1: x");
    assert_int_equal(workload_read_students(picked, f.workload, "y,2,x,1", &err), -1);
    assert_string_equal(err.text, "block \"b\" has no student \"2\", expected one of its 2: x, y");
    assert_int_equal(workload_read_students(picked, f.workload, "y,,x,1", &err), -1);
    assert_int_equal(workload_read_students(picked, f.workload, "0,0,0", &err), -1);
    assert_string_equal(err.text, "\"0,0,0\" names 3 students, expected one for each of 4 blocks");
    assert_int_equal(workload_read_students(picked, f.workload, "0,0,0,0,0", &err), -1);
    close_library(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(students_do_not_see_each_other),
        cmocka_unit_test(nor_on_asynchronous_devices),
        cmocka_unit_test(students_apart),
        cmocka_unit_test(students_stand_at_steps_of_their_own),
        cmocka_unit_test(a_program_of_other_students_is_refused),
        cmocka_unit_test(numbers_and_names_go_together),
        cmocka_unit_test(lists_of_students_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
