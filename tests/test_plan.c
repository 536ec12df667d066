/* The plan format: what is read, written and refused, and in which words. */
#include "tests/support.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/plan.h"

/* The file under its name alone, so that messages do not depend on the folder. */
static int parse_file(Plan **out, const char *path, Error *err)
{
    size_t length;
    char  *text = slurp(path, &length);
    int    rc = plan_parse(out, strrchr(path, '/') + 1, text, length, err);

    free(text);
    return rc;
}

static char *written(const Plan *plan)
{
    Text text = {0};

    plan_text(plan, &text);
    assert_false(text_failed(&text));
    char *copy = format_text("%s", text_string(&text));
    text_free(&text);
    return copy;
}

/* ---- fixtures ------------------------------------------------------------ */

/* Written and read again it is the same text. Files named read-* are spelled in other
 * words than plan_text() has; the rest are what it writes, byte for byte. */
static void read_good(const char *path, const char *expected, void *context)
{
    Plan *plan, *again;
    Error err = {""};

    (void)expected; (void)context;
    if (parse_file(&plan, path, &err) != 0) fail_msg("%s", err.text);
    char *first = written(plan), *file = slurp(path, NULL);
    if (plan_parse(&again, "written", first, strlen(first), &err) != 0)
        fail_msg("%s: %s", path, err.text);
    char *second = written(again);
    assert_string_equal(first, second);
    if (strncmp(strrchr(path, '/'), "/read-", 6) != 0) assert_string_equal(first, file);
    free(first);
    free(second);
    free(file);
    plan_free(plan);
    plan_free(again);
}

static void read_bad(const char *path, const char *expected, void *context)
{
    Plan *plan;
    Error err = {""};

    (void)context;
    if (parse_file(&plan, path, &err) == 0) fail_msg("%s was accepted", path);
    assert_null(plan);
    fixture_refused(path, expected, err.text);
}

static void good_fixtures_come_back_as_they_were(void **state)
{
    (void)state;
    fixtures_each("plan", "good", read_good, NULL);
}

static void bad_fixtures_are_refused(void **state)
{
    (void)state;
    fixtures_each("plan", "bad", read_bad, NULL);
}

/* ---- what is read and written ------------------------------------------------ */

static void every_key_arrives(void **state)
{
    (void)state;
    char *path = format_text("%s/tests/fixtures/plan/good/ahd.json", PIPEBD_ROOT);
    Plan *plan;

    assert_int_equal(parse_file(&plan, path, NULL), 0);
    assert_int_equal(plan->schedule, SCHEDULE_AHD);
    assert_false(plan->stealing);
    assert_string_equal(plan->trace_name, "base");
    assert_true(plan->trace_hash == 0x0123456789abcdefu);
    assert_int_equal(plan->block_count, 4);
    assert_int_equal(plan->device_count, 4);
    assert_int_equal(plan->batch, 10);
    assert_int_equal(plan->bottleneck_ns, 1500);
    assert_int_equal(plan->step_ns, 2000);
    assert_int_equal(plan->epoch_ns, 20001);
    assert_int_equal(plan->stage_count, 2);
    assert_int_equal(plan->stages[1].first, 1);
    assert_int_equal(plan->stages[1].last, 3);
    assert_int_equal(plan->stages[1].width, 3);
    assert_int_equal(plan->stages[1].devices[2], 3);
    assert_int_equal(plan->stages[1].rows[0], 4);
    plan_free(plan);
    free(path);
}

/* A time too long to be written exactly is left out, and the rest still reads. */
static void endless_predictions_are_left_out(void **state)
{
    (void)state;
    Plan *plan, *again;
    Error err = {""};

    assert_int_equal(plan_new(&plan, SCHEDULE_IR, 1, 1, 1, 1, NULL), 0);
    assert_int_equal(plan_set_stage(plan, 0, 0, 0, 0, 1, NULL), 0);
    plan->epoch_ns = INT64_MAX;
    plan->step_ns = 7;
    char *text = written(plan);
    /* no bottleneck either: ir has none */
    assert_non_null(strstr(text, "\"predicted\": {\"step_us\": 0.007},"));
    if (plan_parse(&again, "written", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(again->epoch_ns, 0);
    assert_int_equal(again->step_ns, 7);
    plan_free(again);
    plan_free(plan);
    free(text);
}

/* The trace's name may hold anything that JSON can. */
static void awkward_names_survive(void **state)
{
    (void)state;
    const char *name = "a \"b\" \\ \n\t\x01 \xC3\xA9 \xF0\x9F\x98\x80 \x7f";
    Plan *plan, *again;
    Error err = {""};

    assert_int_equal(plan_new(&plan, SCHEDULE_IR, 1, 1, 1, 1, NULL), 0);
    assert_int_equal(plan_set_stage(plan, 0, 0, 0, 0, 1, NULL), 0);
    plan->trace_name = name;
    char *text = written(plan);
    if (plan_parse(&again, "written", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    assert_string_equal(again->trace_name, name);
    plan_free(again);
    plan_free(plan);
    free(text);
}

static void files_are_written_and_read(void **state)
{
    (void)state;
    char *folder = temp_make(), *path = format_text("%s/plan.json", folder);
    Plan *plan, *again;
    Error err = {""};

    assert_int_equal(plan_new(&plan, SCHEDULE_DPU, 3, 2, 5, 2, NULL), 0);
    assert_int_equal(plan_set_stage(plan, 0, 0, 1, 0, 1, NULL), 0);
    assert_int_equal(plan_set_stage(plan, 1, 2, 2, 1, 1, NULL), 0);
    if (plan_write(plan, path, &err) != 0 || plan_read(&again, path, &err) != 0)
        fail_msg("%s", err.text);
    char *first = written(plan), *second = written(again);
    assert_string_equal(first, second);
    plan_free(again);
    assert_int_equal(plan_read(&again, folder, &err), -1);
    assert_null(again);
    assert_non_null(strstr(err.text, "is a directory"));
    free(first);
    free(second);
    plan_free(plan);
    temp_remove(folder);
    free(path);
}

/* ---- lists of schedules ------------------------------------------------------ */

static void devices_are_sorted_with_their_rows(void **state)
{
    Plan *plan;
    Error err = {""};

    (void)state;
    assert_int_equal(plan_new(&plan, SCHEDULE_SPLIT, 1, 4, 12, 1, &err), 0);
    assert_int_equal(
        plan_place(plan, &plan->stages[0], (int[]){3, 0, 2}, (int64_t[]){1, 9, 2}, 3, &err), 0);
    assert_int_equal(plan_add_tasks(plan, &err), 0);
    assert_int_equal(plan_place(plan, &plan->tasks[0], (int[]){1, 0}, (int64_t[]){5, 7}, 2, &err),
                     0);
    plan_sort_devices(plan);
    const Stage *stage = &plan->stages[0], *task = &plan->tasks[0];
    assert_memory_equal(stage->devices, ((int[]){0, 2, 3}), 3 * sizeof(int));
    assert_memory_equal(stage->rows, ((int64_t[]){9, 2, 1}), 3 * sizeof(int64_t));
    assert_memory_equal(task->devices, ((int[]){0, 1}), 2 * sizeof(int));
    assert_memory_equal(task->rows, ((int64_t[]){7, 5}), 2 * sizeof(int64_t));
    assert_int_equal(plan_check(plan, &err), 0);
    plan_free(plan);
}

static void lists_of_schedules(void **state)
{
    static const struct { const char *list; unsigned bits; const char *error;
    } cases[] = {
        {"dp", 1u << SCHEDULE_DP, ""},
        {"ahd,dp", 1u << SCHEDULE_DP | 1u << SCHEDULE_AHD, ""},
        {"dp,ls,dp", 0, "dp twice, expected each schedule once"},
        {"", 0, "empty, expected a list of dp, ls, tr, dpu, ir, ahd, split, sequential, store"},
        {"dp,", 0, "ends with a comma, expected one more schedule"},
        {",dp", 0,
         "\"\" is not a schedule, expected a list of dp, ls, tr, dpu, ir, ahd, split, sequential, "
         "store"},
        {"DP", 0,
         "\"DP\" is not a schedule, expected a list of dp, ls, tr, dpu, ir, ahd, split, "
         "sequential, store"},
        {"dp ls", 0,
         "\"dp ls\" is not a schedule, expected a list of dp, ls, tr, dpu, ir, ahd, split, "
         "sequential, store"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned bits = 0;
        Error    err = {""};

        assert_int_equal(schedule_list(&bits, cases[i].list, &err), *cases[i].error ? -1 : 0);
        assert_string_equal(err.text, cases[i].error);
        if (!*cases[i].error) assert_int_equal(bits, cases[i].bits);
    }
}

/* ---- memory ---------------------------------------------------------------- */

static int read_once(const char *text, size_t length, Error *err)
{
    Plan *plan;
    int   rc = plan_parse(&plan, "t", text, length, err);

    if (rc != 0) assert_null(plan);
    plan_free(plan);
    return rc;
}

static void running_out_of_memory(void **state)
{
    (void)state;
    reader_out_of_memory(read_once, "plan/good/ahd.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_fixtures_come_back_as_they_were),
        cmocka_unit_test(bad_fixtures_are_refused),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(endless_predictions_are_left_out),
        cmocka_unit_test(awkward_names_survive),
        cmocka_unit_test(files_are_written_and_read),
        cmocka_unit_test(devices_are_sorted_with_their_rows),
        cmocka_unit_test(lists_of_schedules),
        cmocka_unit_test(running_out_of_memory),      /* last: changes jansson's allocator */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
