/* schedule/registry.h: what a row says of its schedule is what its builder makes of a plan. */
#include "tests/support.h"

#include <string.h>

#include "schedule/registry.h"

enum { BLOCKS = 3, DEVICES = 3, BATCH = 12 };

/* The simplest plan of a schedule on all devices. */
static Plan *plan_of(Schedule schedule)
{
    const ScheduleRow *row = schedule_row(schedule);
    Error              err = {""};
    Plan              *plan;
    int                stages = row->whole && !row->phases ? 1 : BLOCKS;

    ok(plan_new(&plan, schedule, BLOCKS, DEVICES, BATCH, stages, &err), &err);
    for (int i = 0; i < stages; i++)
        ok(plan_set_stage(plan, i, stages == 1 ? 0 : i, stages == 1 ? BLOCKS - 1 : i,
                          row->whole ? 0 : i, row->whole ? DEVICES : 1, &err),
           &err);
    if (row->apart) ok(plan_add_tasks(plan, &err), &err);
    if (row->stores) ok(plan_set_store(plan, 2, row->phases, row->phases ? 0 : BLOCKS, &err), &err);
    for (int i = 0; i < plan->later_count; i++) {
        plan->later[i].first = plan->later[i].last = i;
        ok(plan_place(plan, &plan->later[i], (const int[]){i}, (const int64_t[]){BATCH}, 1, &err),
           &err);
    }
    for (int k = 0; row->stores && k <= BLOCKS; k++) plan->stored[k] = 0;
    if (row->stores) plan->home = 0;
    for (int i = 0; i < plan->task_count; i++)
        ok(plan_place(plan, &plan->tasks[i], (const int[]){i}, (const int64_t[]){BATCH}, 1, &err),
           &err);
    ok(plan_check(plan, &err), &err);
    return plan;
}

static int count_ops(const Program *program, Op op)
{
    int count = 0;

    for (int d = 0; d < program->device_count; d++)
        for (int i = 0; i < program->devices[d].code_count; i++)
            count += program->devices[d].code[i].op == op;
    return count;
}

static void rows_are_true_of_their_programs(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const ScheduleRow *row = schedule_row((Schedule)i);
        Plan              *plan = plan_of((Schedule)i);
        Program           *program;
        Error              err = {""};

        ok(program_build(&program, plan, 4, &err), &err);
        bool sends = count_ops(program, OP_SEND) > 0;
        assert_int_equal(sends, !row->phases && !row->whole);
        assert_int_equal(count_ops(program, OP_BARRIER) > 0, row->barrier);
        assert_int_equal(count_ops(program, OP_ALLREDUCE) > 0, row->whole);
        assert_int_equal(program->devices[0].phase_count,
                         (row->phases && row->whole ? BLOCKS : 1) * (row->stores ? 2 : 1));
        assert_int_equal(program_stores(program), row->stores);
        /* Teacher passes over all devices: from the input for each phase, else each block once. */
        int teacher = count_ops(program, OP_TEACHER);
        if (row->phases && row->stores) assert_int_equal(teacher, BLOCKS * DEVICES);
        else if (row->phases) assert_true(teacher >= BLOCKS * (BLOCKS + 1) / 2);
        else if (row->whole) assert_int_equal(teacher, BLOCKS * DEVICES);
        else                 assert_int_equal(teacher, BLOCKS);
        assert_true(!row->partitioned || !row->phases);
        assert_true(!row->lists || row->phases);
        program_free(program);
        plan_free(plan);
    }
}

static void names_are_found_and_differ(void **state)
{
    (void)state;
    Schedule found;
    unsigned all = 0;

    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const ScheduleRow *row = schedule_row((Schedule)i);
        assert_true(schedule_find(row->name, &found) && found == (Schedule)i);
        assert_true(row->summary[0] && row->full_name[0] && row->build);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(row->colour, schedule_row((Schedule)k)->colour);
        all |= 1u << i;
    }
    assert_false(schedule_find("", &found));
    assert_int_equal(
        schedules_usual(),
        all & ~(1u << SCHEDULE_SPLIT | 1u << SCHEDULE_SEQUENTIAL | 1u << SCHEDULE_STORE));
    assert_int_equal(schedules_partitioned(), 1u << SCHEDULE_TR | 1u << SCHEDULE_DPU
                                                  | 1u << SCHEDULE_AHD | 1u << SCHEDULE_SPLIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_true_of_their_programs),
        cmocka_unit_test(names_are_found_and_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
