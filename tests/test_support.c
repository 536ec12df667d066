/* The tests' own helpers: what would let a wrong result pass must not. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void temporary_folders_vanish(void **state)
{
    (void)state;
    char       *folder = temp_make();
    char       *kept = strdup(folder);
    char       *inner = format_text("%s/a", folder);
    char       *file = format_text("%s/a/b", folder);
    struct stat info;

    assert_int_equal(mkdir(inner, 0700), 0);
    spill(file, "x\n");
    char *text = slurp(file, NULL);
    assert_string_equal(text, "x\n");
    temp_remove(folder);
    assert_int_equal(stat(kept, &info), -1);
    free(text);
    free(file);
    free(inner);
    free(kept);
}

static void commands_are_captured(void **state)
{
    (void)state;
    const char *argv[] = {"sh", "-c", "cat; echo out; echo err >&2; exit 7", NULL};
    Ran         ran = run_command(argv, "in\n");

    assert_int_equal(ran.status, 7);
    assert_string_equal(ran.out, "in\nout\n");
    assert_string_equal(ran.err, "err\n");
    ran_free(&ran);
}

static void signals_are_told_from_statuses(void **state)
{
    (void)state;
    const char *argv[] = {"sh", "-c", "kill -KILL $$", NULL};
    Ran         ran = run_command(argv, NULL);

    assert_int_equal(ran.status, 128 + 9);
    ran_free(&ran);
}

static void missing_commands_are_127(void **state)
{
    (void)state;
    const char *argv[] = {"no-such-command-here", NULL};
    Ran         ran = run_command(argv, NULL);

    assert_int_equal(ran.status, 127);
    ran_free(&ran);
}

/* More than a pipe holds: reading after the end must not hang or lose any. */
static void long_outputs_are_whole(void **state)
{
    (void)state;
    const char *argv[] = {"sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x", NULL};
    Ran         ran = run_command(argv, NULL);

    assert_int_equal(strlen(ran.out), 300000);
    ran_free(&ran);
}

static void allocations_fail_when_told(void **state)
{
    (void)state;
    alloc_fail_after(2);
    void *first = malloc(8), *second = malloc(8), *third = malloc(8);
    int   reached = alloc_fail_reached();
    alloc_fail_after(0);
    void *fourth = calloc(1, 8);

    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    assert_non_null(fourth);
    assert_true(reached);
    assert_false(alloc_fail_reached());
    free(first);
    free(third);
    free(fourth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temporary_folders_vanish),
        cmocka_unit_test(commands_are_captured),
        cmocka_unit_test(signals_are_told_from_statuses),
        cmocka_unit_test(missing_commands_are_127),
        cmocka_unit_test(long_outputs_are_whole),
        cmocka_unit_test(allocations_fail_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
