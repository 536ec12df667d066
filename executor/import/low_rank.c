#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "executor/import/student_cuts.h"

enum { ROUNDS = 6 };         /* the error of a subspace falls with the ratio of neighbouring
                              * singular values to the 2 ROUNDS */

/* y [m][n] = a [m][k] x [k][n], or a' x of a [k][m]. */
static void product(float *y, const float *a, const float *x, int64_t m, int64_t k, int64_t n,
                    bool turned)
{
    memset(y, 0, (size_t)(m * n) * sizeof *y);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < k; j++) {
            float        with = turned ? a[j * m + i] : a[i * k + j];
            const float *from = x + j * n;
            float       *to = y + i * n;
            for (int64_t c = 0; c < n; c++) to[c] += with * from[c];
        }
}

/* Columns of q [rows][n] become orthonormal: Gram and Schmidt, twice, as once loses what is nearly
 * dependent. */
static void orthonormalise(float *q, int64_t rows, int64_t n)
{
    for (int64_t c = 0; c < n; c++) {
        double norm = 0;
        for (int64_t earlier = 0; earlier < 2 * c; earlier++) {
            int64_t e = earlier % c;
            double  dot = 0;
            for (int64_t r = 0; r < rows; r++) dot += (double)q[r * n + c] * (double)q[r * n + e];
            for (int64_t r = 0; r < rows; r++) q[r * n + c] -= (float)dot * q[r * n + e];
        }
        for (int64_t r = 0; r < rows; r++) norm += (double)q[r * n + c] * (double)q[r * n + c];
        norm = sqrt(norm);
        for (int64_t r = 0; r < rows; r++)
            q[r * n + c] = norm > 1e-20 ? (float)((double)q[r * n + c] / norm) : 0.0f;
    }
}

int low_rank(float **q_out, float **b_out, const float *weight, int64_t out, int64_t in,
             int64_t rank)
{
    float *q = malloc((size_t)(out * rank) * sizeof *q),
          *z = malloc((size_t)(in * rank) * sizeof *z);
    float *b = malloc((size_t)(rank * in) * sizeof *b);

    *q_out = *b_out = NULL;
    if (!q || !z || !b) { free(q), free(z), free(b); return -1; }
    for (int64_t i = 0; i < in * rank; i++) z[i] = (float)rng_normal(1, 0, 0, (uint64_t)i);
    for (int round = 0; round < ROUNDS; round++) {
        if (round > 0) product(z, weight, q, in, out, rank, true);
        product(q, weight, z, out, in, rank, false);
        orthonormalise(q, out, rank);
    }
    product(z, weight, q, in, out, rank, true);
    for (int64_t r = 0; r < rank; r++)
        for (int64_t c = 0; c < in; c++) b[r * in + c] = z[c * rank + r];
    free(z);
    *q_out = q;
    *b_out = b;
    return 0;
}
