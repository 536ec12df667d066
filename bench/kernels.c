/* Images a second of the CPU backend, one thread, beside PyTorch on the same blocks in the
 * same run: teacher forward; student forward, loss, backward and update.
 *
 * Turns go round: ours, each PyTorch (bench/opponent.h) with each memory layout, ours, ... Times
 * are processor time of the process, medians. */
#include <string.h>

#include "bench/kernel_block.h"

enum { REPEATS = 9, WARM = 2 };

static const char *const workloads[] = {"digits", "vgg16-dsconv-cifar10", "nas-cifar10"};

typedef struct {
    KernelNets   nets;
    BenchSamples ours[2];                /* teacher, student; seconds */
    BenchSamples theirs[OPPONENTS_MAX][2][2]; /* [opponent][teacher, student][layout] */
} KernelBlock;

static void turn(KernelBlock *b, Device *device, const Workload *w, int number, Opponent *opponents,
                 int count, int repeat)
{
    const WorkBlock *block = &w->block[number];
    int              choices[64] = {0};

    workload_choose(choices, block, number, 3, repeat);
    for (int student = 0; student < 2; student++) {
        double seconds = kernel_nets_run(&b->nets, device, w, block, student, choices);

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
    for (int b = 0; b < w->block_count; b++)
        kernel_nets_make(&blocks[b].nets, device, &w->block[b], b);
    for (int b = 0; b < w->block_count; b++)
        for (int i = 0; i < WARM + REPEATS; i++)
            turn(&blocks[b], device, w, b, opponents, count, i);
    table(w, blocks, opponents, count);
    for (int b = 0; b < w->block_count; b++) kernel_nets_free(&blocks[b].nets);
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
