/* The programs that a profile runs: who meets whom in them. */
#include "tests/support.h"

#include "executor/measure/profile_programs.h"

/* 10 rows: 1 device has 10, 2 have 5, 3 have 3 or 4, 4 have 2 or 3. */
static void shares_tell_how_many_share(void **state)
{
    ProfileShape shape = {.devices = 4, .blocks = 2, .batch = 10, .steps = 1};
    static const int width[] = {[10] = 1, [5] = 2, [4] = 3, [3] = 3, [2] = 4, [7] = 1, [1] = 1};

    (void)state;
    for (int rows = 1; rows <= 10; rows++)
        if (width[rows]) assert_int_equal(profile_width(&shape, rows), width[rows]);
}

/* Of device d the group of its meetings, -1 without any; *count: how many, each right before an
 * update. */
static int meetings(const Program *p, int d, int *count)
{
    const Code *code = &p->devices[d];
    int         group = -1;

    *count = 0;
    for (int i = 0; i < code->code_count; i++) {
        if (code->code[i].op != OP_BARRIER) continue;
        if (group >= 0) assert_int_equal(code->code[i].link, group);
        group = code->code[i].link;
        assert_int_equal(code->code[i + 1].op, OP_UPDATE);
        ++*count;
    }
    return group;
}

typedef int Build(Program **out, const ProfileShape *shape, int active, int width, int64_t rows,
                  Error *err);

/* Five devices by twos: 0 and 1 meet, 2 and 3 meet, 4 is left; once a block. By ones nobody does.
 *
 *     0 1 | 2 3 | 4 */
static void check_meetings(Build *build)
{
    ProfileShape shape = {.devices = 5, .blocks = 3, .batch = 10, .steps = 1};
    Program     *p;
    int          count, group[5];

    assert_int_equal(build(&p, &shape, 5, 2, 5, NULL), 0);
    for (int d = 0; d < 5; d++) {
        group[d] = meetings(p, d, &count);
        assert_int_equal(count, d < 4 ? 3 : 0);
    }
    assert_int_equal(group[0], group[1]);
    assert_int_equal(group[2], group[3]);
    assert_int_not_equal(group[0], group[2]);
    assert_int_equal(p->groups[group[2]].count, 2);
    assert_int_equal(p->groups[group[2]].devices[0], 2);
    assert_int_equal(p->groups[group[2]].devices[1], 3);
    program_free(p);

    assert_int_equal(build(&p, &shape, 5, 1, 10, NULL), 0);
    for (int d = 0; d < 5; d++) {
        assert_int_equal(meetings(p, d, &count), -1);
        assert_int_equal(count, 0);
    }
    program_free(p);
}

static void who_shares_the_batch_meets(void **state)
{
    (void)state;
    check_meetings(profile_compute);
    check_meetings(profile_single_block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_tell_how_many_share),
        cmocka_unit_test(who_shares_the_batch_meets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
