/* What benchmarks of kernels time: a block's teacher forward, and its student's forward, loss,
 * backward and update, on random rows; and PyTorch's of the same (bench/kernels_torch.py). */
#ifndef BENCH_KERNEL_BLOCK_H
#define BENCH_KERNEL_BLOCK_H

#include "base/rng.h"
#include "bench/opponent.h"
#include "kernels/net.h"

enum { ROWS = 64 };

/* Seconds of a pass; layout 0 is PyTorch's default, 1 channels last. */
static inline double opponent_run(Opponent *o, int block, bool student, int layout,
                                  const int *choices, int count)
{
    Text   line = {0};
    double seconds;

    text_printf(&line, "%d %s %d", block, student ? "student" : "teacher", layout);
    for (int i = 0; i < count; i++) text_printf(&line, " %d", choices[i]);
    seconds = opponent_ask(o, text_string(&line));
    text_free(&line);
    return seconds;
}

typedef struct {
    Net   *teacher, *student;
    float *x, *target, *y, *dy;
} KernelNets;

static inline void kernel_nets_make(KernelNets *b, Device *device, const WorkBlock *block,
                                    int number)
{
    int64_t nx = ROWS * shape_count(block->in), ny = ROWS * shape_count(block->out);
    Error   err = {""};

    *b = (KernelNets){.x = bench_alloc((size_t)nx, 4), .target = bench_alloc((size_t)ny, 4),
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

static inline void kernel_nets_free(KernelNets *b)
{
    net_free(b->teacher);
    net_free(b->student);
    free(b->x), free(b->target), free(b->y), free(b->dy);
}

static inline double kernel_nets_run(KernelNets *b, Device *device, const Workload *w,
                                     const WorkBlock *block, bool student, const int *choices)
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

#endif
