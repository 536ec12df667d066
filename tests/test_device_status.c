/* StatusBoard: what a reader sees belongs together, whenever it looks, and is said in words.
 * PIPEBD_ROUNDS=1000: more looks. No kernels are linked (make check-tsan). */
#include "tests/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "executor/monitor/device_status.h"

enum { SECOND = 1000000000 };

/* ---- in words ------------------------------------------------------------------- */

/* Device 0 sends boundary 1 to device 1; a task waits in the queue. */
static Program *relay_of_two(bool queue)
{
    Error    err = {""};
    Program *program = program_new(2, 2, 8, 50);
    int      link = program_channel(program, 0, 1, &err);

    assert_int_equal(link, 0);
    assert_int_equal(program_begin_phase(&program->devices[0], 50, &err), 0);
    assert_int_equal(program_emit(program, &program->devices[0],
                                  (Instruction){OP_TEACHER, 0, -1, 0, 8, 0}, &err),
                     0);
    assert_int_equal(
        program_emit(program, &program->devices[0], (Instruction){OP_SEND, 1, 0, 0, 8, 0}, &err),
        0);
    assert_int_equal(program_begin_phase(&program->devices[1], 50, &err), 0);
    assert_int_equal(
        program_emit(program, &program->devices[1], (Instruction){OP_RECV, 1, 0, 0, 8, 0}, &err),
        0);
    for (int i = 0; queue && i < 2; i++) {
        assert_int_equal(program_begin_phase(&program->queue, 50, &err), 0);
        assert_int_equal(
            program_emit(program, &program->queue, (Instruction){OP_FORWARD, i, -1, 0, 8, 0}, &err),
            0);
    }
    return program;
}

static void expect_text(const StatusBoard *board, const Program *program, int64_t now_ns,
                        const char *expected)
{
    Text text = {0};

    status_board_text(board, program, now_ns, &text);
    assert_string_equal(text_string(&text), expected);
    text_free(&text);
}

static void a_place_is_said_in_words(void **state)
{
    (void)state;
    Program     *program = relay_of_two(true);
    StatusBoard *board;
    Error        err = {""};

    assert_int_equal(status_board_new(&board, 2, &err), 0);
    assert_int_equal(status_board_devices(board), 2);
    expect_text(board, program, SECOND,
                "device 0, not heard of: not started, or of another process\n"
                "device 1, not heard of: not started, or of another process\n");
    status_board_set(
        board, 0, &(DeviceStatus){.state = DEVICE_STARTING, .instruction = -1, .since_ns = SECOND});
    status_board_set(
        board, 1,
        &(DeviceStatus){.state = DEVICE_WAITING, .step = 7, .since_ns = 2 * (int64_t)SECOND});
    expect_text(
        board, program, (int64_t)SECOND * 28 / 10,
        "device 0, step 0 of 50, setting up 1.8 s\n"
        "device 1, step 7 of 50, RECV boundary 1, rows 0..7, from device 0, waiting 0.8 s\n");
    status_board_set(board, 0,
                     &(DeviceStatus){.state = DEVICE_WORKING, .stolen = true, .phase = 1,
                                     .instruction = 1, .step = 49,
                                     .since_ns = 3 * (int64_t)SECOND});
    status_board_state(board, 1, DEVICE_FAILED, 3 * (int64_t)SECOND);
    expect_text(
        board, program, 3 * (int64_t)SECOND,
        "device 0, task 1 of 2, step 49 of 50, FORWARD 1, rows 0..7, working 0.0 s\n"
        "device 1, step 7 of 50, RECV boundary 1, rows 0..7, from device 0, failed 0.0 s\n");
    status_board_state(board, 0, DEVICE_DONE, 3 * (int64_t)SECOND);
    status_board_state(board, 1, DEVICE_DONE, 3 * (int64_t)SECOND);
    expect_text(board, program, 13 * (int64_t)SECOND,
                "device 0, done 10.0 s\ndevice 1, done 10.0 s\n");
    status_board_free(board);
    program_free(program);
}

/* ---- of another process ----------------------------------------------------------- */

/* What it told last counts, however long ago that was: nothing is under way here. */
static void a_device_elsewhere_tells_of_steps_that_are_over(void **state)
{
    (void)state;
    Program     *program = relay_of_two(false);
    StatusBoard *board;
    Error        err = {""};
    DeviceTimes   told = {.steps = 4, .own_ns = 10, .bytes = 77}, none = {0};

    told.work_ns[OP_FORWARD] = 600;
    told.wait_ns[OP_RECV] = 390;
    assert_int_equal(status_board_new(&board, 2, &err), 0);
    status_board_put(board, 1, &told);
    expect_text(board, program, SECOND,
                "device 0, not heard of: not started, or of another process\n"
                "device 1, of another process\n");
    DeviceTimes seen = status_board_times(board, 1, SECOND);
    assert_memory_equal(&seen, &told, sizeof seen);
    assert_int_equal(status_board_passed_ns(board, 1, &none, &seen, SECOND), 1000);
    assert_int_equal(status_board_passed_ns(board, 1, &seen, &seen, SECOND), 0);
    assert_int_equal(status_board_passed_ns(board, 0, &none, &seen, SECOND), SECOND);
    status_board_free(board);
    program_free(program);
}

/* ---- from another thread ----------------------------------------------------------- */

typedef struct {
    StatusBoard *board;
    atomic_bool  end;
} Writing;

/* Every field tells the number k, and times grow together. */
static void *write_places(void *argument)
{
    Writing *w = argument;

    for (int k = 1; !atomic_load(&w->end); k = k % 1000000 + 1) {
        status_board_set(w->board, 1,
                         &(DeviceStatus){.state = (DeviceState)(k % 4), .stolen = k % 2, .phase = k,
                                         .instruction = k, .step = 3 * (int64_t)k,
                                         .since_ns = 5 * (int64_t)k});
        status_board_count(w->board, 1, OP_RECV, 2, 1);
        status_board_step(w->board, 1, 7);
    }
    return NULL;
}

static void a_reader_sees_what_belongs_together(void **state)
{
    (void)state;
    const char *rounds = getenv("PIPEBD_ROUNDS");
    int         looks = 2000 * (rounds ? atoi(rounds) : 20), seen = 0;
    Writing     w = {0};
    pthread_t   thread;
    Error       err = {""};

    assert_int_equal(status_board_new(&w.board, 3, &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, write_places, &w), 0);
    while (status_board_get(w.board, 1).state == DEVICE_ABSENT) { }
    for (int i = 0; i < looks; i++) {
        DeviceStatus      p = status_board_get(w.board, 1);
        DeviceTimes t = status_board_times(w.board, 1, 0);
        if (p.instruction != p.phase || p.step != 3 * (int64_t)p.phase
            || p.since_ns != 5 * (int64_t)p.phase || p.stolen != p.phase % 2
            || (int)p.state != p.phase % 4)
            fail_msg("look %d: a place of two times", i);
        /* count and step are two writes: one may be there without the other */
        if (t.wait_ns[OP_RECV] != 2 * t.work_ns[OP_RECV] || t.own_ns != 4 * t.steps
            || t.work_ns[OP_RECV] - t.steps < 0 || t.work_ns[OP_RECV] - t.steps > 1)
            fail_msg("look %d: times of two times", i);
        seen += p.phase > 1;
    }
    atomic_store(&w.end, true);
    pthread_join(thread, NULL);
    assert_true(seen > 0);
    /* others are left alone */
    assert_int_equal(status_board_get(w.board, 0).state, DEVICE_ABSENT);
    assert_int_equal(status_board_get(w.board, 2).state, DEVICE_ABSENT);
    status_board_set(w.board, 0,
                     &(DeviceStatus){.state = DEVICE_WAITING, .op = OP_RECV, .since_ns = 100});
    assert_int_equal(status_board_times(w.board, 0, 0).wait_ns[OP_RECV], 0);
    assert_int_equal(status_board_times(w.board, 0, 130).wait_ns[OP_RECV], 30);
    status_board_count(w.board, 0, OP_RECV, 25, 10);
    /* it is over */
    assert_int_equal(status_board_times(w.board, 0, 190).wait_ns[OP_RECV], 25);
    assert_int_equal(status_board_times(w.board, 0, 190).work_ns[OP_RECV], 10);
    status_board_bytes(w.board, 2, 77);
    assert_int_equal(status_board_times(w.board, 2, 0).bytes, 77);
    status_board_free(w.board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_said_in_words),
        cmocka_unit_test(a_device_elsewhere_tells_of_steps_that_are_over),
        cmocka_unit_test(a_reader_sees_what_belongs_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
