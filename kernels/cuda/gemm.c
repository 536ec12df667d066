/* Products of matrices by cuBLASLt: its heuristic proposes algorithms, the fastest of them here is
 * taken. All of them give the same bits each time; among each other they differ.
 *
 * fp32 multiplies in float32, tf32 lets the tensor cores read 10 bits of the mantissa, half reads
 * bfloat16; sums are float32 in all. */
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

enum { PROPOSALS = 8 };

#define WORKSPACE_BYTES ((size_t)32 << 20)   /* what cuBLAS takes for itself on the newest GPUs */

static cudaDataType_t type_of(bool half) { return half ? CUDA_R_16BF : CUDA_R_32F; }

static int set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
               const void *value, size_t size, const char *what, Error *err)
{
    return blas_failed(cublasLtMatmulDescSetAttribute(desc, attribute, value, size), what, err);
}

/* Sets what cuBLASLt knows of the product: its types, which of a and b are transposed, the
 * epilogue, and layouts in column order. what names it in errors. */
static int describe(Gemm *g, const CudaDevice *device, const GemmShape *s, const char *what,
                    Error *err)
{
    cublasComputeType_t compute =
        device->precision == PRECISION_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    cublasOperation_t   a = s->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                        b = s->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t  epilogue = s->relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    /* 0: all of the GPU's */
    int32_t             processors = device->slice ? device->processors : 0;
    /* no memory: algorithms are proposed by its alignment */
    const void         *bias = (const void *)(uintptr_t)s->align;
    uint64_t            rows_a = (uint64_t)(s->transpose_a ? s->k : s->m),
             columns_a = (uint64_t)(s->transpose_a ? s->m : s->k);
    uint64_t            rows_b = (uint64_t)(s->transpose_b ? s->n : s->k),
                        columns_b = (uint64_t)(s->transpose_b ? s->k : s->n);

    if (blas_failed(cublasLtMatmulDescCreate(&g->desc, compute, CUDA_R_32F), what, err) != 0
        || set(g->desc, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a, what, err) != 0
        || set(g->desc, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b, what, err) != 0
        || set(g->desc, CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, &processors, sizeof processors, what,
               err)
               != 0
        || (s->bias
            && (set(g->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue, what, err)
                    != 0
                || set(g->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, what, err)
                       != 0)))
        return -1;
    return blas_failed(cublasLtMatrixLayoutCreate(&g->a, type_of(s->half), rows_a, columns_a,
                                                  (int64_t)rows_a),
                       what, err)
                       != 0
                   || blas_failed(cublasLtMatrixLayoutCreate(&g->b, type_of(s->half), rows_b,
                                                             columns_b, (int64_t)rows_b),
                                  what, err)
                          != 0
                   || blas_failed(cublasLtMatrixLayoutCreate(&g->c, type_of(s->half_out),
                                                             (uint64_t)s->m, (uint64_t)s->n, s->m),
                                  what, err)
                          != 0
               ? -1
               : 0;
}

/* How many; algorithms, best first as the library thinks. */
static int propose(cublasLtMatmulHeuristicResult_t *out, const Gemm *g, const CudaDevice *device,
                   const GemmShape *s, const char *what, Error *err)
{
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulPreference_t preference = NULL;
    size_t                     workspace = WORKSPACE_BYTES;
    uint32_t                   align = (uint32_t)s->align;
    int                        found = 0, rc;

    rc = blas_failed(cublasLtMatmulPreferenceCreate(&preference), what, err);
    if (rc == 0)
        rc = blas_failed(
            cublasLtMatmulPreferenceSetAttribute(
                preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace),
            what, err);
    for (int i = 0; rc == 0 && i < 4; i++)
        rc = blas_failed(
            cublasLtMatmulPreferenceSetAttribute(preference, aligned[i], &align, sizeof align),
            what, err);
    if (rc == 0)
        rc = blas_failed(cublasLtMatmulAlgoGetHeuristic(device->blas, g->desc, g->a, g->b, g->c,
                                                        g->c, preference, PROPOSALS, out, &found),
                         what, err);
    if (preference) cublasLtMatmulPreferenceDestroy(preference);
    return rc != 0     ? -1
           : found > 0 ? found
                       : error_set(err, "%s: cuBLAS has no algorithm for it", what);
}

/* ---- measuring ---- */

typedef struct {
    Gemm       *gemm;
    CudaDevice *device;
    void       *a, *b, *c, *bias, *workspace;
} GemmTrial;

static int try_once(void *context)
{
    GemmTrial *t = context;

    return gemm_run(t->gemm, t->device, t->a, t->b, t->c, t->bias, t->workspace, "a trial", NULL);
}

/* The fastest; the library's first where memory for a trial is short. */
static void choose(Gemm *g, CudaDevice *device, const GemmShape *s,
                   const cublasLtMatmulHeuristicResult_t *proposal, int count)
{
    size_t each = s->half ? 2 : sizeof(float);
    GemmTrial  trial = {.gemm = g, .device = device};
    Choice best = g->choice;

    trial.a = choice_memory(device, (size_t)(s->m * s->k) * each, true);
    trial.b = choice_memory(device, (size_t)(s->n * s->k) * each, true);
    trial.c = choice_memory(device, (size_t)(s->m * s->n) * sizeof(float), true);
    trial.bias = choice_memory(device, (size_t)s->m * sizeof(float), true);
    trial.workspace = choice_memory(device, WORKSPACE_BYTES, false);
    best.algorithm.blas = proposal[0].algo;
    best.workspace = proposal[0].workspaceSize;
    snprintf(best.text, sizeof best.text, "cuBLASLt's first of %d", count);
    for (int i = 0; trial.a && trial.b && trial.c && trial.bias && trial.workspace && i < count;
         i++) {
        double us;

        if (proposal[i].state != CUBLAS_STATUS_SUCCESS) continue;
        g->choice.algorithm.blas = proposal[i].algo;
        g->choice.workspace = proposal[i].workspaceSize;
        us = choice_measure(device, try_once, &trial);
        if (us < 0.0 || (best.us > 0.0 && us >= best.us)) continue;
        best.algorithm = g->choice.algorithm;
        best.workspace = g->choice.workspace;
        best.us = us;
        snprintf(best.text, sizeof best.text, "cuBLASLt's number %d of %d", i + 1, count);
    }
    g->choice = best;
    cudaFree(trial.a), cudaFree(trial.b), cudaFree(trial.c), cudaFree(trial.bias),
        cudaFree(trial.workspace);
}

static int find_or_choose(Gemm *g, CudaDevice *device, const GemmShape *s, const char *what,
                          Error *err)
{
    cublasLtMatmulHeuristicResult_t proposal[PROPOSALS];
    int                             count;

    if (choice_find(&g->choice, g->choice.key)) return 0;
    count = propose(proposal, g, device, s, what, err);
    if (count < 0) return -1;
    choose(g, device, s, proposal, count);
    return choice_add(&g->choice, err);
}

int gemm_make(Gemm *out, CudaDevice *device, const GemmShape *s, const char *what, Error *err)
{
    int rc;

    *out = (Gemm){0};
    snprintf(out->choice.key, sizeof out->choice.key,
             "product %lldx%lldx%lld %c%c%s %s, %d multiprocessors of sm_%d, aligned to %d",
             (long long)s->m, (long long)s->n, (long long)s->k, s->transpose_a ? 'T' : 'N',
             s->transpose_b ? 'T' : 'N',
             s->relu   ? " bias relu"
             : s->bias ? " bias"
                       : "",
             s->half_out                           ? "bf16"
             : s->half                             ? "bf16 to fp32"
             : device->precision == PRECISION_TF32 ? "tf32"
                                                   : "fp32",
             device->processors, device->capability, s->align);
    if (describe(out, device, s, what, err) != 0) { gemm_free(out); return -1; }
    choices_lock();
    rc = find_or_choose(out, device, s, what, err);
    choices_unlock();
    if (rc != 0) gemm_free(out);
    return rc;
}

void gemm_free(Gemm *g)
{
    if (g->desc) cublasLtMatmulDescDestroy(g->desc);
    if (g->a) cublasLtMatrixLayoutDestroy(g->a);
    if (g->b) cublasLtMatrixLayoutDestroy(g->b);
    if (g->c) cublasLtMatrixLayoutDestroy(g->c);
    *g = (Gemm){0};
}

/* c becomes the product and keep times what it was. */
static int run(const Gemm *g, CudaDevice *device, const void *a, const void *b, float keep, void *c,
               const void *bias, void *workspace, const char *what, Error *err)
{
    float one = 1.0f;

    if (bias && set(g->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, what, err) != 0)
        return -1;
    return blas_failed(cublasLtMatmul(device->blas, g->desc, &one, a, g->a, b, g->b, &keep, c, g->c,
                                      c, g->c, &g->choice.algorithm.blas, workspace,
                                      g->choice.workspace, device->streams[STREAM_COMPUTE]),
                       what, err);
}

int gemm_run(const Gemm *g, CudaDevice *device, const void *a, const void *b, void *c,
             const void *bias, void *workspace, const char *what, Error *err)
{
    return run(g, device, a, b, 0.0f, c, bias, workspace, what, err);
}

int gemm_add(const Gemm *g, CudaDevice *device, const void *a, const void *b, void *c,
             void *workspace, const char *what, Error *err)
{
    return run(g, device, a, b, 1.0f, c, NULL, workspace, what, err);
}
