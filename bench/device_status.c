/* What it costs a worker to tell where it is (executor/monitor/device_status.h), beside the two
 * looks at the clock that it takes for every instruction anyway. */
#include "bench/bench.h"
#include "base/clock.h"
#include "executor/monitor/device_status.h"

enum { INSTRUCTIONS = 2000000, REPEATS = 15 };

static double tell(StatusBoard *board)
{
    double start = bench_now();

    for (int i = 0; i < INSTRUCTIONS; i++) {
        status_board_set(
            board, 0,
            &(DeviceStatus){.state = DEVICE_WORKING, .instruction = i, .step = i, .since_ns = i});
        status_board_count(board, 0, OP_TEACHER, 1, i);
    }
    return 1e9 * (bench_now() - start) / INSTRUCTIONS;
}

static double look_at_the_clock(void)
{
    volatile int64_t sum = 0;
    double           start = bench_now();

    for (int i = 0; i < INSTRUCTIONS; i++) sum = sum + clock_ns() - clock_ns();
    return 1e9 * (bench_now() - start) / INSTRUCTIONS;
}

int main(void)
{
    StatusBoard *board;
    BenchSamples told = {0}, clock = {0};
    Error        err = {""};

    bench_require(status_board_new(&board, 1, &err), &err);
    for (int i = 0; i < REPEATS; i++) {
        bench_add(&told, tell(board));
        bench_add(&clock, look_at_the_clock());
    }
    printf("| an instruction | median | longest |\n|---|---:|---:|\n| | ns | ns |\n");
    printf("| device_status | %.1f | %.1f |\n", bench_quantile(&told, 0.5),
           bench_quantile(&told, 1));
    printf("| two looks at the clock | %.1f | %.1f |\n", bench_quantile(&clock, 0.5),
           bench_quantile(&clock, 1));
    status_board_free(board);
    return 0;
}
