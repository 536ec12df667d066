/* A step of every block on a device: teacher forward, student forward, loss, backward, update.
 *
 *     blocks DEVICES WORKLOAD PRECISION ROWS [REPEATS]
 *
 * Writes JSON: microseconds of each step as the device saw it, step after step without a pause, and
 * what else another program needs to do the same: the layers, the paths taken.
 * bench/blocks_torch.py runs PyTorch on it and prints both. Of a GPU that queues, times lie between
 * events in its stream; of the CPU they are the clock's. */
#include <string.h>

#include "base/rng.h"
#include "bench/bench.h"
#include "bench/fill.h"
#include "kernels/net.h"
#include "kernels/stream.h"

/* PATHS: how many choices of paths a supernet's steps go round; WARM: rounds of them before. */
enum { PATHS = 3, WARM = 4, REPEATS = 48, MOST_CHOICES = 64 };

typedef struct {
    Net    *teacher, *student;
    float  *x, *target, *y, *dy;
    double *loss;
    int     choices[PATHS][MOST_CHOICES];
} BenchBlock;

typedef struct {
    DeviceSpec      spec;
    Device         *device;
    const Workload *workload;
    int64_t         rows;
} BlocksBench;

static float *tensor(const BlocksBench *b, int64_t count)
{
    float *memory = device_alloc(b->device, (size_t)count);

    if (!memory) { fprintf(stderr, "bench: out of memory of the device\n"); exit(1); }
    return memory;
}

static void block_make(BenchBlock *block, const BlocksBench *b, int number)
{
    const WorkBlock *work = &b->workload->block[number];
    int64_t          nx = b->rows * shape_count(work->in), ny = b->rows * shape_count(work->out);
    float           *pattern = fill_pattern(number);
    Error            err = {""};

    *block = (BenchBlock){.x = tensor(b, nx), .target = tensor(b, ny), .y = tensor(b, ny),
                          .dy = tensor(b, ny), .loss = host_alloc(&b->spec, sizeof(double))};
    if (!block->loss) { fprintf(stderr, "bench: out of memory\n"); exit(1); }
    fill_repeat(b->device, block->x, nx, pattern);
    free(pattern);
    bench_require(net_new(&block->teacher, b->device, &work->teacher, work->in, NET_FROZEN, &err),
                  &err);
    bench_require(net_new(&block->student, b->device, &work->student, work->in, NET_TRAINED, &err),
                  &err);
    bench_require(net_prepare(block->teacher, b->rows, &err), &err);
    bench_require(net_prepare(block->student, b->rows, &err), &err);
    net_initialise(block->teacher, 1, (uint64_t)number);
    net_initialise(block->student, 2, (uint64_t)number);
    for (int p = 0; p < PATHS; p++) workload_choose(block->choices[p], work, number, 3, p);
}

static void block_free(BenchBlock *block, const BlocksBench *b)
{
    net_free(block->teacher);
    net_free(block->student);
    device_release(b->device, block->x);
    device_release(b->device, block->target);
    device_release(b->device, block->y);
    device_release(b->device, block->dy);
    host_release(&b->spec, block->loss);
}

static void step(BenchBlock *block, const BlocksBench *b, int number, int path)
{
    const WorkBlock *work = &b->workload->block[number];
    Training         t = workload_training(b->workload, work);
    UpdateStep       sgd = {.learning_rate = (float)t.learning_rate, .momentum = (float)t.momentum,
                            .weight_decay = (float)t.weight_decay, .nesterov = t.nesterov};
    Error            err = {""};

    bench_require(net_forward(block->teacher, block->x, block->target, b->rows, NULL, &err), &err);
    bench_require(
        net_forward(block->student, block->x, block->y, b->rows, block->choices[path], &err), &err);
    loss_backward(b->device, &(LossCall){.kind = work->loss, .student = block->y,
                                         .teacher = block->target, .dy = block->dy, .rows = b->rows,
                                         .channels = shape_count(work->out), .global_rows = b->rows,
                                         .loss = block->loss});
    bench_require(net_backward(block->student, block->dy, b->rows, &err), &err);
    net_update(block->student, &sgd);
}

static double clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* us: [repeats] */
static void time_steps(double *us, int repeats, BenchBlock *block, const BlocksBench *b, int number)
{
    bool   queues = device_is_async(b->device);
    StreamEvent **events = bench_alloc((size_t)repeats + 1, sizeof *events);
    Error  err = {""};

    for (int i = 0; i < WARM * PATHS; i++) step(block, b, number, i % PATHS);
    for (int i = 0; queues && i <= repeats; i++)
        bench_require(event_new(&events[i], b->device, &err), &err);
    if (queues) bench_require(event_record(b->device, events[0], &err), &err);
    for (int i = 0; i < repeats; i++) {
        double start = clock_us();
        step(block, b, number, i % PATHS);
        if (queues) bench_require(event_record(b->device, events[i + 1], &err), &err);
        else        us[i] = clock_us() - start;
    }
    if (queues) bench_require(device_finish(b->device, &err), &err);
    for (int i = 0; queues && i < repeats; i++)
        us[i] = (double)event_elapsed_ns(events[i], events[i + 1]) * 1e-3;
    for (int i = 0; queues && i <= repeats; i++) event_free(events[i]);
    free(events);
}

static void print_block(const BlocksBench *b, int number, int repeats)
{
    double          *us = bench_alloc((size_t)repeats, sizeof *us);
    const WorkBlock *work = &b->workload->block[number];
    BenchBlock            block;

    block_make(&block, b, number);
    time_steps(us, repeats, &block, b, number);
    printf("%s{\"name\": \"%s\", \"paths\": [", number ? ",\n  " : "\n  ", work->name);
    for (int p = 0; p < PATHS; p++) {
        printf("%s[", p ? ", " : "");
        for (int c = 0; c < work->choices; c++) printf("%s%d", c ? ", " : "", block.choices[p][c]);
        printf("]");
    }
    printf("],\n   \"us\": [");
    for (int i = 0; i < repeats; i++) printf("%s%.3f", i ? ", " : "", us[i]);
    printf("]}");
    block_free(&block, b);
    free(us);
}

int main(int argc, char **argv)
{
    BlocksBench     b = {0};
    Workload *workload;
    Text      expanded = {0};
    Error     err = {""};
    int       repeats = argc > 5 ? atoi(argv[5]) : REPEATS;

    if (argc < 5 || atoll(argv[4]) < 1 || repeats < 1) {
        fprintf(stderr, "usage: blocks DEVICES WORKLOAD PRECISION ROWS [REPEATS]\n");
        return 2;
    }
    bench_require(workload_read(&workload, argv[2], &err), &err);
    b.workload = workload;
    b.rows = atoll(argv[4]);
    bench_require(device_spec_parse(&b.spec, argv[1], &err), &err);
    bench_require(device_spec_set_precision(&b.spec, argv[3], &err), &err);
    if (getenv("PIPEBD_CHOICES"))       /* as pipebd-run has it */
        bench_require(device_keep_choices(&b.spec, getenv("PIPEBD_CHOICES"), &err), &err);
    bench_require(device_open(&b.device, &b.spec, 0, &err), &err);
    workload_write(workload, NULL, NULL, &expanded);
    if (text_failed(&expanded)) { fprintf(stderr, "bench: out of memory\n"); return 1; }
    printf("{\"device\": \"%s\", \"kind\": \"%s\", \"precision\": \"%s\", \"rows\": %lld, "
           "\"warm\": %d,\n \"blocks\": [",
           argv[1], b.spec.kind, argv[3], (long long)b.rows, WARM * PATHS);
    for (int n = 0; n < workload->block_count; n++) print_block(&b, n, repeats);
    printf("],\n \"workload\": %s}\n", text_string(&expanded));
    device_close(b.device);
    workload_free(workload);
    text_free(&expanded);
    return 0;
}
