/* cuBLASLt: products as loops. Two algorithms, which sum in different orders; the second wants
 * workspace. */
#include <cublasLt.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/fake.h"

enum { WORKSPACE = 4096 };

typedef struct {
    cublasComputeType_t compute;
    cublasOperation_t   a, b;
    cublasLtEpilogue_t  epilogue;
    const void         *bias;
} Desc;
typedef struct { cudaDataType_t type; int64_t rows, columns, ld; } Layout;
typedef struct { size_t workspace; uint32_t align; } Preference;

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "the fake refuses it";
}
size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = malloc(1);
    return *out ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t made(void *memory)
{
    return memory ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    Desc *d = calloc(1, sizeof *d);

    if (scale != CUDA_R_32F) { free(d); return CUBLAS_STATUS_NOT_SUPPORTED; }
    if (d) *d = (Desc){compute, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    *out = (cublasLtMatmulDesc_t)(void *)d;
    return made(d);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    free(d);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t           desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t size)
{
    Desc *d = (Desc *)(void *)desc;

    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: memcpy(&d->a, value, sizeof d->a); break;
    case CUBLASLT_MATMUL_DESC_TRANSB: memcpy(&d->b, value, sizeof d->b); break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE: memcpy(&d->epilogue, value, sizeof d->epilogue); break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: memcpy(&d->bias, value, sizeof d->bias); break;
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
        return size == sizeof(int32_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    Layout *l = malloc(sizeof *l);

    if (l) *l = (Layout){type, (int64_t)rows, (int64_t)columns, ld};
    *out = (cublasLtMatrixLayout_t)(void *)l;
    return made(l);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    free(l);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    *out = calloc(1, sizeof(Preference));
    return made(*out);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    free(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t           preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t size)
{
    Preference *p = (Preference *)(void *)preference;

    (void)size;
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        memcpy(&p->workspace, value, sizeof p->workspace);
    else memcpy(&p->align, value, sizeof p->align);
    return CUBLAS_STATUS_SUCCESS;
}

/* What an algorithm remembers: its number, and the alignment that was promised. */
typedef struct { int number; uint32_t align; } Algorithm;

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *out, int *found)
{
    const Preference *p = (const Preference *)(const void *)preference;

    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d;
    *found = 0;
    for (int i = 0; i < 2 && i < wanted; i++) {
        Algorithm algorithm = {i, p->align};

        if (i == 1 && p->workspace < WORKSPACE) continue;
        memset(&out[*found], 0, sizeof *out);
        memcpy(&out[*found].algo, &algorithm, sizeof algorithm);
        out[*found].workspaceSize = i == 1 ? WORKSPACE : 0;
        out[(*found)++].state = CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- the product ---- */

typedef struct {
    Desc        desc;
    Layout      la, lb, lc;
    const void *a, *b;
    void       *c, *workspace;
    Algorithm   algorithm;
    bool        adds;        /* to what c is */
} Product;

static float element(const void *memory, cudaDataType_t type, int64_t i)
{
    uint32_t bits;
    float    value;

    if (type == CUDA_R_32F) return ((const float *)memory)[i];
    bits = (uint32_t)((const uint16_t *)memory)[i] << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To nearest, even of two. */
static void put_element(void *memory, cudaDataType_t type, int64_t i, float value)
{
    uint32_t bits;

    if (type == CUDA_R_32F) { ((float *)memory)[i] = value; return; }
    memcpy(&bits, &value, sizeof bits);
    ((uint16_t *)memory)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* op(x) with index [outer][inner] contiguous, as floats. */
static float *unpacked(const void *memory, const Layout *l, bool turned)
{
    float *out = malloc((size_t)(l->rows * l->columns) * sizeof *out);

    if (!out) abort();
    for (int64_t column = 0; column < l->columns; column++)
        for (int64_t row = 0; row < l->rows; row++)
            out[turned ? row * l->columns + column : column * l->rows + row] =
                element(memory, l->type, column * l->ld + row);
    return out;
}

static void run(void *closure)
{
    const Product *p = closure;
    int64_t        m = p->lc.rows, n = p->lc.columns,
            k = p->desc.a == CUBLAS_OP_T ? p->la.rows : p->la.columns;
    float         *a = unpacked(p->a, &p->la, p->desc.a == CUBLAS_OP_T);     /* [k][m] */
    float         *b = unpacked(p->b, &p->lb, p->desc.b == CUBLAS_OP_T);     /* [n][k] */

    float         *c = malloc((size_t)m * sizeof *c);                        /* a column */

    if (!c) abort();
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < m; i++) c[i] = 0.0f;
        for (int64_t t = 0; t < k; t++) {
            int64_t at = p->algorithm.number == 0 ? t : k - 1 - t;
            float   factor = b[j * k + at];

            for (int64_t i = 0; i < m; i++) c[i] += factor * a[at * m + i];
        }
        for (int64_t i = 0; i < m && p->desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT; i++) {
            c[i] += element(p->desc.bias, p->lc.type, i);        /* of the result's type, as
                                                                  * cuBLASLt has it by default */
            if (p->desc.epilogue == CUBLASLT_EPILOGUE_RELU_BIAS && c[i] < 0.0f) c[i] = 0.0f;
        }
        for (int64_t i = 0; i < m && p->adds; i++)
            c[i] += element(p->c, p->lc.type, j * p->lc.ld + i);
        for (int64_t i = 0; i < m; i++) put_element(p->c, p->lc.type, j * p->lc.ld + i, c[i]);
    }
    if (p->workspace) memset(p->workspace, 0x5a, WORKSPACE);
    free(a), free(b), free(c);
}

static bool misaligned(const void *memory, uint32_t align)
{
    return (uintptr_t)memory % align != 0;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
                              cudaStream_t stream)
{
    Product *p = malloc(sizeof *p);
    int64_t  m, n, k, k_b;
    uint32_t align;

    (void)handle, (void)ld;
    if (!p) return CUBLAS_STATUS_ALLOC_FAILED;
    *p = (Product){*(Desc *)(void *)desc,
                   *(Layout *)(void *)la,
                   *(Layout *)(void *)lb,
                   *(Layout *)(void *)lc,
                   a,
                   b,
                   d,
                   NULL,
                   {0, 0},
                   *(const float *)beta == 1.0f};
    memcpy(&p->algorithm, algo, sizeof p->algorithm);
    m = p->desc.a == CUBLAS_OP_T ? p->la.columns : p->la.rows,
    k = p->desc.a == CUBLAS_OP_T ? p->la.rows : p->la.columns;
    n = p->desc.b == CUBLAS_OP_T ? p->lb.rows : p->lb.columns,
    k_b = p->desc.b == CUBLAS_OP_T ? p->lb.columns : p->lb.rows;
    align = p->algorithm.align ? p->algorithm.align : 256;
    if (m != p->lc.rows || n != p->lc.columns || k != k_b || c != d || *(const float *)alpha != 1.0f
        || (*(const float *)beta != 0.0f && *(const float *)beta != 1.0f) || misaligned(a, align)
        || misaligned(b, align) || misaligned(d, align) || !fake_is_device(a) || !fake_is_device(b)
        || !fake_is_device(d)
        || (p->desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT && !fake_is_device(p->desc.bias))
        || (p->algorithm.number == 1 && (bytes < WORKSPACE || !fake_is_device(workspace)))) {
        fprintf(stderr, "fake CUDA: cublasLtMatmul() of what does not fit\n");
        free(p);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (p->algorithm.number == 1) p->workspace = workspace;
    return fake_queue(stream, run, p, free) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                           : CUBLAS_STATUS_EXECUTION_FAILED;
}
