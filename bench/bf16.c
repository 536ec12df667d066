/* Images a second of the CPU backend, one thread, in float32 and with --precision bf16, and of
 * PyTorch under autocast to bfloat16, on the same blocks in the same run: teacher forward; student
 * forward, loss, backward and update; both, which is a training step.
 *
 *     bf16 [WORKLOAD]
 *
 * Turns go round: float32, bfloat16, each PyTorch (bench/opponent.h) with each memory layout,
 * float32, ... Times are processor time of the process, medians. Behind the tables stands what was
 * chosen for each pass (kernels/cpu/bf16_choice.c). */
#include "bench/kernel_block.h"

enum { REPEATS = 9, WARM = 2, OURS = 2 };

static const char *const workloads[] = {"vgg16-dsconv-cifar10", "nas-cifar10", "digits"};

typedef struct {
    KernelNets   nets[OURS];             /* fp32, bf16 */
    BenchSamples ours[OURS][2];          /* [][teacher, student], seconds */
    BenchSamples theirs[OPPONENTS_MAX][2][2]; /* [opponent][teacher, student][layout] */
} Bf16Block;

static void turn(Bf16Block *b, Device *const devices[OURS], const Workload *w, int number,
                 Opponent *opponents, int count, bool counts)
{
    const WorkBlock *block = &w->block[number];
    int              choices[64] = {0};

    workload_choose(choices, block, number, 3, counts);
    for (int student = 0; student < 2; student++) {
        for (int p = 0; p < OURS; p++) {
            double s = kernel_nets_run(&b->nets[p], devices[p], w, block, student, choices);
            if (counts) bench_add(&b->ours[p][student], s);
        }
        for (int i = 0; i < 2 * count; i++) {
            double s = opponent_run(&opponents[i / 2], number, student, i % 2, choices,
                                    student ? block->choices : 0);
            if (counts) bench_add(&b->theirs[i / 2][student][i % 2], s);
        }
    }
}

/* ---- tables ---- */

/* which: 0 teacher, 1 student, 2 both. */
static double ours_of(Bf16Block *b, int precision, int which)
{
    double seconds = 0.0;

    for (int s = 0; s < 2; s++)
        if (which == s || which == 2) seconds += bench_quantile(&b->ours[precision][s], 0.5);
    return seconds;
}

static double theirs_of(Bf16Block *b, int opponent, int which)
{
    double seconds = 0.0;

    for (int s = 0; s < 2; s++) {
        double plain = bench_quantile(&b->theirs[opponent][s][0], 0.5),
               last = bench_quantile(&b->theirs[opponent][s][1], 0.5);
        if (which == s || which == 2) seconds += plain < last ? plain : last;
    }
    return seconds;
}

static void row(const char *name, Bf16Block *blocks, int first, int last, int opponents)
{
    printf("| %s |", name);
    for (int which = 0; which < 3; which++) {
        double fp32 = 0.0, bf16 = 0.0;

        for (int b = first; b <= last; b++) {
            fp32 += ours_of(&blocks[b], 0, which);
            bf16 += ours_of(&blocks[b], 1, which);
        }
        printf(" %.0f | %.0f | %.2f |", ROWS / fp32, ROWS / bf16, fp32 / bf16);
        for (int o = 0; o < opponents; o++) {
            double theirs = 0.0;

            for (int b = first; b <= last; b++) theirs += theirs_of(&blocks[b], o, which);
            printf(" %.0f | %.2f |", ROWS / theirs, theirs / bf16);
        }
    }
    printf("\n");
}

static void table(const Workload *w, Bf16Block *blocks, const Opponent *opponents, int count)
{
    static const char *const heads[] = {"teacher", "student", "step"};

    printf("\n## %s\n\n| images/s |", w->name);
    for (int which = 0; which < 3; which++) {
        printf(" %s fp32 | bf16 | ratio |", heads[which]);
        for (int o = 0; o < count; o++) printf(" torch %s bf16 | ratio |", opponents[o].version);
    }
    printf("\n|---|");
    for (int i = 0; i < 3 * (3 + 2 * count); i++) printf("--:|");
    printf("\n");
    for (int b = 0; b < w->block_count; b++) row(w->block[b].name, blocks, b, b, count);
    row("all", blocks, 0, w->block_count - 1, count);
}

static void bench(Device *const devices[OURS], const Workload *w)
{
    Bf16Block *blocks = bench_alloc((size_t)w->block_count, sizeof *blocks);
    Opponent   opponents[OPPONENTS_MAX];
    char       size[32];
    int        count;

    snprintf(size, sizeof size, "%d bf16", ROWS);
    count = opponents_start(opponents, "bench/kernels_torch.py", w, size);
    for (int b = 0; b < w->block_count; b++)
        for (int p = 0; p < OURS; p++)
            kernel_nets_make(&blocks[b].nets[p], devices[p], &w->block[b], b);
    for (int b = 0; b < w->block_count; b++)
        for (int i = 0; i < WARM + REPEATS; i++)
            turn(&blocks[b], devices, w, b, opponents, count, i >= WARM);
    table(w, blocks, opponents, count);
    for (int i = 0; i < OURS * w->block_count; i++)
        kernel_nets_free(&blocks[i / OURS].nets[i % OURS]);
    for (int o = 0; o < count; o++) opponent_stop(&opponents[o]);
    free(blocks);
}

static Device *open_device(const char *precision)
{
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    bench_require(device_spec_read(&spec, "cpu:1", &err), &err);
    bench_require(device_spec_set_precision(&spec, precision, &err), &err);
    bench_require(device_spec_ask(&spec, &err), &err);
    spec.count = spec.cores;             /* so that a device has one core */
    bench_require(device_open(&device, &spec, 0, &err), &err);
    if (getenv("PIPEBD_CHOICES"))        /* as pipebd-run has it */
        bench_require(device_keep_choices(&spec, getenv("PIPEBD_CHOICES"), &err), &err);
    return device;
}

int main(int argc, char **argv)
{
    Device *devices[OURS] = {open_device("fp32"), open_device("bf16")};
    Text    choices = {0};
    Error   err = {""};

    printf("Images a second of one thread, %d rows, medians of %d turns; the faster of PyTorch's "
           "two memory layouts, under\nautocast to bfloat16. Ratios: bf16 over fp32, and over "
           "PyTorch; above 1, ours in bf16 is faster.\n",
           ROWS, REPEATS);
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        Workload *w;

        if (argc > 1 && strcmp(argv[1], workloads[i]) != 0) continue;
        bench_require(workload_read(&w, workloads[i], &err), &err);
        bench(devices, w);
        workload_free(w);
    }
    bench_require(device_choices(devices[1], &choices, &err), &err);
    printf("\n## Choices\n\n```\n%s```\n", text_string(&choices));
    text_free(&choices);
    for (int p = OURS - 1; p >= 0; p--) device_close(devices[p]);
    return 0;
}
