/* Our CUDA kernels of transformers' layers but attention (attention.h), as kernel.h's: each
 * enqueues, and returns a cudaError_t. A sequence is [tokens][channels]; a place is a token of it.
 *
 * lengths, where there are some: [rows] tokens of each sequence that count, in the device's memory;
 * NULL: all. */
#ifndef KERNELS_CUDA_SEQUENCE_H
#define KERNELS_CUDA_SEQUENCE_H

#include "kernels/cuda/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* to[i] = from[i] of the host, which may be written again on return: the numbers travel as the
 * launch's arguments. */
int kernel_put_ints(int *to, const int *from, int64_t count, cudaStream_t stream);

/* ---- functions.cu: y = f(x); gated: a token has its gates first, then as many values, y = f(gate)
 * value ---- */

/* In the order of Function (workloads/workload.h). */
typedef enum {
    KERNEL_RELU,
    KERNEL_GELU,
    KERNEL_GELU_TANH,
    KERNEL_SILU,
    KERNEL_TANH
} KernelFunction;
/* y[i] = f(x[i]), count of them */
int kernel_function(KernelType type, KernelFunction f, const void *x, void *y, int64_t count,
                    cudaStream_t stream);
/* dx may be dy */
int kernel_function_gradient(KernelType type, KernelFunction f, const void *x, const void *dy,
                             void *dx, int64_t count, cudaStream_t stream);
/* x: [places][2 gates], y: [places][gates] */
int kernel_gated(KernelType type, KernelFunction f, const void *x, void *y, int64_t places,
                 int gates, cudaStream_t stream);
int kernel_gated_gradient(KernelType type, KernelFunction f, const void *x, const void *dy,
                          void *dx, int64_t places, int gates, cudaStream_t stream);

/* ---- layernorm.cu: LayerNorm (centred) and RMSNorm, h = (x - mean) / deviation, y = weight h +
 * bias ---- */

typedef struct {
    int64_t      places;
    int          channels, centred;
    KernelType   type;
    float        eps;
    const float *weight, *bias;          /* bias NULL: none */
    float       *kept;       /* [places][2] mean, 1 / deviation, from forward to backward; NULL: not
                              * wanted */
} KernelLayerNorm;
/* x, y: [places][channels] */
int kernel_layernorm(const KernelLayerNorm *n, const void *x, void *y, cudaStream_t stream);
/* dx may be dy, then behind the weights' gradients */
int kernel_layernorm_data(const KernelLayerNorm *n, const void *x, const void *dy, void *dx,
                          cudaStream_t stream);
int64_t kernel_layernorm_partials(int64_t places, int channels);         /* floats */
/* dbias NULL: not wanted */
int kernel_layernorm_weights(const KernelLayerNorm *n, const void *x, const void *dy,
                             float *partial, float *dweight, float *dbias, cudaStream_t stream);

/* ---- sequence.cu: what makes sequences and ends them ---- */

/* x: [rows][tokens][each] floats whatever type is: a token's number and, where there are types, its
 * type. Those beyond the table count as 0. Tables [vocabulary], [tokens], [types] x [channels];
 * place, kind NULL: none. */
typedef struct {
    int64_t    rows;
    int        tokens, channels, each, vocabulary, types;
    KernelType type;
    float     *number, *place, *kind;
    const int *lengths;
} KernelEmbedding;
/* y: [rows][tokens][channels], the sum of what the tables have for each token */
int     kernel_embedding(const KernelEmbedding *e, const float *x, void *y, cudaStream_t stream);
int64_t kernel_embedding_scratch(const KernelEmbedding *e);              /* floats */
/* The tables are gradients, which are replaced: a vector's sum goes in the order of the tokens that
 * have it. */
int kernel_embedding_gradient(const KernelEmbedding *e, const float *x, const void *dy,
                              float *scratch, cudaStream_t stream);

/* y: [rows][tokens]: a learnt token (token NULL: none), then x's places; positions [tokens] added
 * (NULL: none). channels: of all of them. */
typedef struct {
    int64_t    rows;
    int        tokens, channels;
    KernelType type;
    float     *token, *positions;
} KernelTokens;
/* x: [rows][places][channels]; y has the learnt token besides, where there is one */
int kernel_tokens(const KernelTokens *t, const void *x, void *y, cudaStream_t stream);
/* token and positions are gradients, which are replaced; dx NULL: not wanted. */
int kernel_tokens_gradient(const KernelTokens *t, const void *dy, void *dx, cudaStream_t stream);

/* y: [rows][channels], the mean over the tokens that count, or (first) the first token. */
typedef struct {
    int64_t    rows;
    int        tokens, channels, first;
    KernelType type;
    const int *lengths;
} KernelSequencePool;
/* x, dx: [rows][tokens][channels]; y, dy: [rows][channels] */
int kernel_sequence_pool(const KernelSequencePool *p, const void *x, void *y, cudaStream_t stream);
int kernel_sequence_pool_gradient(const KernelSequencePool *p, const void *dy, void *dx,
                                  cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
