/* Images a second of the CPU backend, one thread, beside PyTorch on the same blocks in the
 * same run: teacher forward; student forward, loss, backward and update.
 *
 * Turns go round: ours, each PyTorch (bench/opponent.h) with each memory layout, ours, ... Times
 * are processor time of the process, medians. */
#include <string.h>

#include "base/rng.h"
#include "bench/opponent.h"
#include "kernels/net.h"

enum { REPEATS = 9, WARM = 2, ROWS = 64 };

static const char *const workloads[] = {"digits", "vgg16-dsconv-cifar10", "nas-cifar10"};

static double opponent_run(Opponent *o, int block, bool student, int layout, const int *choices,
                           int count)
{
    Text   line = {0};
    double seconds;

    text_printf(&line, "%d %s %d", block, student ? "student" : "teacher", layout);
    for (int i = 0; i < count; i++) text_printf(&line, " %d", choices[i]);
    seconds = opponent_ask(o, text_string(&line));
    text_free(&line);
    return seconds;
}

/* ---- ours ---- */

typedef struct {
    Net         *teacher, *student;
    float       *x, *target, *y, *dy;
    BenchSamples ours[2];                /* teacher, student; seconds */
    BenchSamples theirs[OPPONENTS_MAX][2][2]; /* [opponent][teacher, student][layout] */
} KernelBlock;

static void block_make(KernelBlock *b, Device *device, const WorkBlock *block, int number)
{
    int64_t nx = ROWS * shape_count(block->in), ny = ROWS * shape_count(block->out);
    Error   err = {""};

    *b = (KernelBlock){.x = bench_alloc((size_t)nx, 4), .target = bench_alloc((size_t)ny, 4),
                       .y = bench_alloc((size_t)ny, 4), .dy = bench_alloc((size_t)ny, 4)};
    for (int64_t i = 0; i < nx; i++)
        b->x[i] = (float)rng_normal(1, 0, (uint64_t)number, (uint64_t)i);
    bench_require(net_new(&b->teacher, device, &block->teacher, block->in, NET_FROZEN, &err), &err);
    bench_require(net_new(&b->student, device, &block->student, block->in, NET_TRAINED, &err),
                  &err);
    bench_require(net_prepare(b->teacher, ROWS, &err), &err);
    bench_require(net_prepare(b->student, ROWS, &err), &err);
    net_initialise(b->teacher, 1, (uint64_t)number);
    net_initialise(b->student, 2, (uint64_t)number);
}

static void block_free(KernelBlock *b)
{
    net_free(b->teacher);
    net_free(b->student);
    free(b->x), free(b->target), free(b->y), free(b->dy);
}

static double block_run(KernelBlock *b, Device *device, const Workload *w, const WorkBlock *block,
                        bool student, const int *choices)
{
    Training   t = workload_training(w, block);
    UpdateStep step = {.learning_rate = (float)t.learning_rate, .momentum = (float)t.momentum,
                       .weight_decay = (float)t.weight_decay, .nesterov = t.nesterov};
    double  start = opponent_clock(), loss;
    Error   err = {""};

    if (!student) bench_require(net_forward(b->teacher, b->x, b->target, ROWS, NULL, &err), &err);
    else {
        bench_require(net_forward(b->student, b->x, b->y, ROWS, choices, &err), &err);
        loss_backward(device, &(LossCall){.kind = block->loss, .student = b->y,
                                          .teacher = b->target, .dy = b->dy, .rows = ROWS,
                                          .channels = shape_count(block->out), .global_rows = ROWS,
                                          .loss = &loss});
        bench_require(net_backward(b->student, b->dy, ROWS, &err), &err);
        net_update(b->student, &step);
    }
    return opponent_clock() - start;
}

static void turn(KernelBlock *b, Device *device, const Workload *w, int number, Opponent *opponents,
                 int count, int repeat)
{
    const WorkBlock *block = &w->block[number];
    int              choices[64] = {0};

    workload_choose(choices, block, number, 3, repeat);
    for (int student = 0; student < 2; student++) {
        double seconds = block_run(b, device, w, block, student, choices);

        if (repeat >= WARM) bench_add(&b->ours[student], seconds);
        for (int o = 0; o < count; o++)
            for (int layout = 0; layout < 2; layout++) {
                seconds = opponent_run(&opponents[o], number, student, layout, choices,
                                       student ? block->choices : 0);
                if (repeat >= WARM) bench_add(&b->theirs[o][student][layout], seconds);
            }
    }
}

/* ---- tables ---- */

static double faster(BenchSamples *layouts)
{
    double a = bench_quantile(&layouts[0], 0.5), b = bench_quantile(&layouts[1], 0.5);

    return a < b ? a : b;
}

/* Sums over blocks first..last of medians. */
static void row(const char *name, KernelBlock *blocks, int first, int last, int opponents)
{
    printf("| %s |", name);
    for (int student = 0; student < 2; student++) {
        double ours = 0.0;

        for (int b = first; b <= last; b++) ours += bench_quantile(&blocks[b].ours[student], 0.5);
        printf(" %.0f |", ROWS / ours);
        for (int o = 0; o < opponents; o++) {
            double theirs = 0.0;

            for (int b = first; b <= last; b++) theirs += faster(blocks[b].theirs[o][student]);
            printf(" %.0f | %.2f |", ROWS / theirs, theirs / ours);
        }
    }
    printf("\n");
}

static void table(const Workload *w, KernelBlock *blocks, const Opponent *opponents, int count)
{
    printf("\n## %s\n\n| images/s |", w->name);
    for (int student = 0; student < 2; student++) {
        printf(" %s |", student ? "student" : "teacher");
        for (int o = 0; o < count; o++) printf(" torch %s | ratio |", opponents[o].version);
    }
    printf("\n|---|");
    for (int i = 0; i < 2 + 4 * count; i++) printf("--:|");
    printf("\n");
    for (int b = 0; b < w->block_count; b++) row(w->block[b].name, blocks, b, b, count);
    row("all", blocks, 0, w->block_count - 1, count);
}

static void bench(Device *device, const Workload *w)
{
    KernelBlock *blocks = bench_alloc((size_t)w->block_count, sizeof *blocks);
    Opponent     opponents[OPPONENTS_MAX];
    char         rows[16];
    int          count;

    snprintf(rows, sizeof rows, "%d", ROWS);
    count = opponents_start(opponents, "bench/kernels_torch.py", w, rows);
    for (int b = 0; b < w->block_count; b++) block_make(&blocks[b], device, &w->block[b], b);
    for (int b = 0; b < w->block_count; b++)
        for (int i = 0; i < WARM + REPEATS; i++)
            turn(&blocks[b], device, w, b, opponents, count, i);
    table(w, blocks, opponents, count);
    for (int b = 0; b < w->block_count; b++) block_free(&blocks[b]);
    for (int o = 0; o < count; o++) opponent_stop(&opponents[o]);
    free(blocks);
}

int main(int argc, char **argv)
{
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    bench_require(device_spec_parse(&spec, "cpu:1", &err), &err);
    spec.count = spec.cores;             /* so that a device has one core */
    bench_require(device_open(&device, &spec, 0, &err), &err);
    printf("Images a second of one thread, %d rows, medians of %d turns. teacher: forward, batch "
           "norm folded; student:\n"
           "forward, loss, backward, update; the faster of PyTorch's two memory layouts. A ratio "
           "above 1: ours is faster.\n",
           ROWS, REPEATS);
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        Workload *w;

        if (argc > 1 && strcmp(argv[1], workloads[i]) != 0) continue;
        bench_require(workload_read(&w, workloads[i], &err), &err);
        bench(device, w);
        workload_free(w);
    }
    device_close(device);
    return 0;
}
