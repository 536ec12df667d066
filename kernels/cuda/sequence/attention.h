/* Our CUDA kernels of attention, as kernel.h's: each enqueues, and returns a cudaError_t.
 *
 *     x [rows][tokens][stride]   a token: its queries, keys and values, a head after another
 *     heads.cu                   queries and keys are loaded: RMSNorm, turns, a scale, as floats
 *                                [row][head][token][dim]; and gradients on the way back
 *     attention_forward.cu       y [rows][tokens][heads x dim]; kept: log of each query's sum of
 *                                exp
 *     attention_gradient.cu      gradients of what was loaded, and of values */
#ifndef KERNELS_CUDA_ATTENTION_H
#define KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- heads.cu ---- */

/* The queries of x, or its keys. */
typedef struct {
    int64_t      rows, stride;
    int          tokens, first, heads, dim;      /* first: of x's token, the first head's */
    int          half;       /* pairs (i, i + half) that turn, 0: none */
    KernelType   type;
    const float *table;      /* [tokens][half] cosines, then sines (kernels/rotary.h) */
    const float *weight;     /* [dim] of the norm, NULL: none */
    float        eps, scale;
    float       *inverse;    /* [rows][tokens][heads] of the norm: 1 / deviation; NULL: not
                              * wanted */
} KernelHeads;
/* to: [rows][heads][tokens][dim], the heads after norm, turn and scale. */
int kernel_heads(const KernelHeads *h, const void *x, float *to, cudaStream_t stream);
/* d: gradients of what was loaded; into dx go those of x, its other heads are left as they are. */
int     kernel_heads_gradient(const KernelHeads *h, const void *x, const float *d, void *dx,
                              cudaStream_t stream);
int64_t kernel_heads_partials(const KernelHeads *h);     /* floats */
int     kernel_heads_weights(const KernelHeads *h, const void *x, const float *d, float *partial,
                             float *dweight, cudaStream_t stream);

/* ---- attention_forward.cu, attention_gradient.cu ---- */

enum { KERNEL_HEAD_DIM_MAX = 256 };

typedef struct {
    int64_t      rows, stride;
    int          tokens, heads, kv_heads, dim;
    int          causal, window;         /* window 0: all */
    KernelType   type;
    const int   *lengths;    /* [rows] in the device's memory; NULL: all */
    const float *query, *key;            /* loaded */
    float       *kept;       /* [rows][kept_row]: [heads][tokens] */
    int64_t      kept_row;
} KernelAttention;

/* Queries behind a sequence's end give 0. */
int kernel_attention(const KernelAttention *a, const void *x, void *y, cudaStream_t stream);
/* dquery, dkey: of what was loaded. dx: the values' part is written; NULL: not wanted. delta:
 * [rows][heads][tokens] to work in. */
int kernel_attention_gradient(const KernelAttention *a, const void *x, const void *y,
                              const void *dy, float *delta, float *dquery, float *dkey, void *dx,
                              cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
