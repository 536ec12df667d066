/* Heads of queries and keys on their way into attention: RMSNorm of a head, then rotary positions,
 * then a scale; and gradients on the way back. */
#ifndef KERNELS_CPU_HEADS_H
#define KERNELS_CPU_HEADS_H

#include "workloads/workload.h"

typedef struct {
    int64_t      tokens, dim;            /* of the sequence, of a head */
    int64_t      half;       /* pairs that turn, 0: none */
    const float *table;      /* rotary_table()'s */
    const float *weight;     /* [dim] of the norm, NULL: none */
    float        eps, scale;
} Heads;

/* Tokens first .. first + count - 1 of one head: to [count][dim] from x, whose tokens are stride
 * apart. */
void heads_load(const Heads *h, float *to, const float *x, int64_t stride, int64_t first,
                int64_t count);

/* d: [count] tokens, stride apart, gradients of what heads_load() gave; they become those of x, in
 * place. With a norm x is what was loaded, and dweight [dim] is added to. */
void heads_backward(const Heads *h, float *d, int64_t d_stride, const float *x, int64_t stride,
                    int64_t first, int64_t count, float *dweight);

#endif
