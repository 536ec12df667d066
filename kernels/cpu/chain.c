/* Convolutions with the batch norms behind them, one pair after another, that are trained together:
 * a few rows at a time, so that what one writes is in the nearest cache when the next reads it.
 *
 *     pair k         u_k = conv_k(x_k-1)        x_k = activation(norm_k(u_k))        x_0: the input
 *
 *     forward        of every part, pair after pair: x_k-1 into a tile from u_k-1, u_k from it, the
 *                    sums of u_k; then its statistics
 *     backward       of every part, the last pair first: du_k into a tile from u_k and dx_k; from
 *                    it dx_k-1; the sums of norm k-1, and in the same pass x_k-1 again from u_k-1;
 *                    the weights' gradient
 *
 * Only statistics stop the flow: a tensor that is larger than the caches is written once and read
 * once in forward, and read twice in backward. The tiles lie where x_k of all rows would. */
#include "kernels/cpu/chain.h"

#include "base/minmax.h"
#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/conv.h"

/* TILE: numbers of one tensor's rows in a part, of a thread: with the others that a part goes
 * through they stay in a cache of 1 MiB. The gradient of weights, which every part adds to,
 * must not be much more: the more weights, the more rows, and from WEIGHTS_MAX on no parts. */
enum { TILE = 1 << 15, WEIGHTS_MAX = 1 << 18 };

typedef struct {
    Operator *const    *ops; /* [2 pairs] */
    const OperatorCall *calls;
    int                 pairs;
    int64_t             part;            /* rows */
    float              *last_tile;
} ChainWalk;

static Operator *conv_of(const ChainWalk *w, int k) { return w->ops[2 * k]; }
static Operator *norm_of(const ChainWalk *w, int k) { return w->ops[2 * k + 1]; }

static bool is_pair(const OperatorSpec *conv, const OperatorSpec *norm)
{
    return conv->kind == LAYER_CONV && !conv->layer->bias && conv->activation == ACTIVATION_NONE
           && !conv->frozen && operator_weights(conv) < WEIGHTS_MAX
           && norm->kind == LAYER_BATCHNORM;
}

int chain_length(const OperatorSpec *const *specs, int count)
{
    int pairs = 0;

    while (2 * pairs + 1 < count && is_pair(specs[2 * pairs], specs[2 * pairs + 1])) pairs++;
    return 2 * pairs;
}

/* ---- parts ---- */

/* Rows of a part, the same for all pairs; parts are as equal as can be. */
static int64_t part_rows(Operator *const *ops, int count, int64_t rows)
{
    int64_t widest = 1, weights = 0, each, parts;

    for (int i = 0; i < count; i += 2) {
        widest = larger(widest, shape_count(ops[i]->spec.out));
        weights = larger(weights, operator_weights(&ops[i]->spec));
    }
    each = larger((TILE + weights / 4) / widest, 1) * ops[0]->device->threads;
    parts = (rows + each - 1) / each;
    return (rows + parts - 1) / parts;
}

/* The scratch of the operators, of parts of so many rows and of the rest. */
static int64_t own_scratch(Operator *const *ops, int count, int64_t rows)
{
    int64_t part = part_rows(ops, count, rows), most = 0;

    for (int i = 0; i < count; i += 2)
        most = larger(most, larger(operator_bytes(ops[i], part).scratch,
                                   operator_bytes(ops[i], rows % part).scratch));
    return most / (int64_t)sizeof(float);
}

/* Of du of the last pair, behind that: those of others lie where the result of their norm would. */
static int64_t last_tile(Operator *const *ops, int count, int64_t part)
{
    return cpu_round(part * shape_count(ops[count - 1]->spec.out));
}

int chain_prepare(Operator *const *ops, int count, int64_t rows, Error *err)
{
    int64_t part = part_rows(ops, count, rows);

    for (int i = 0; i < count; i += 2)
        if (operator_prepare(ops[i], part, err) != 0
            || (rows % part > 0 && operator_prepare(ops[i], rows % part, err) != 0)
            || (rows > part && conv_keep_sum(ops[i], part, rows % part, err) != 0))
            return -1;
    return cpu_reserve_scratch(ops[0]->device,
                               own_scratch(ops, count, rows) + last_tile(ops, count, part), err);
}

int64_t chain_scratch(Operator *const *ops, int count, int64_t rows)
{
    int64_t part = part_rows(ops, count, rows);

    if (!operator_plan(ops[0], part)) return 0;
    return (own_scratch(ops, count, rows) + last_tile(ops, count, part)) * (int64_t)sizeof(float);
}

static ChainWalk walk_of(Operator *const *ops, const OperatorCall *calls, int count)
{
    return (ChainWalk){ops, calls, count / 2, part_rows(ops, count, calls->rows),
                       ops[0]->device->scratch + own_scratch(ops, count, calls->rows)};
}

/* Rows from..from + rows - 1 of what pair k's convolution reads: the chain's input, or what the
 * norm before makes of its own, in a tile. */
static const float *input_of(const ChainWalk *w, int k, int64_t from, int64_t rows)
{
    const OperatorCall *before = &w->calls[2 * k - 1];
    int64_t             each = shape_count(conv_of(w, k)->spec.in);

    if (k == 0) return w->calls[0].x + from * each;
    norm_apply(norm_of(w, k - 1),
               &(OperatorCall){.rows = rows, .x = before->x + from * each, .y = before->y});
    return before->y;
}

/* du of pair k, of a part. */
static float *gradient_tile(const ChainWalk *w, int k)
{
    return k < w->pairs - 1 ? w->calls[2 * k + 1].y : w->last_tile;
}

/* ---- forward ---- */

static int forward_part(const ChainWalk *w, int k, int64_t from, int64_t rows, Error *err)
{
    const OperatorCall *whole = &w->calls[2 * k];
    Operator           *conv = conv_of(w, k);
    float              *y = whole->y + from * shape_count(conv->spec.out);
    OperatorCall        call = {.rows = rows, .x = input_of(w, k, from, rows), .y = y};

    if (operator_forward(conv, &call, err) != 0) return -1;
    norm_add(norm_of(w, k), &(OperatorCall){.rows = rows, .x = y}, whole->y);
    return 0;
}

int chain_forward(Operator *const *ops, const OperatorCall *calls, int count, Error *err)
{
    ChainWalk w = walk_of(ops, calls, count);

    for (int k = 0; k < w.pairs; k++) {
        norm_begin(norm_of(&w, k));
        for (int64_t from = 0; from < calls->rows; from += w.part) {
            int64_t left = calls->rows - from;
            if (forward_part(&w, k, from, smaller(left, w.part), err) != 0) return -1;
        }
        if (norm_statistics(norm_of(&w, k), &calls[2 * k + 1], err) != 0) return -1;
    }
    norm_apply(norm_of(&w, w.pairs - 1), &calls[count - 1]);
    return 0;
}

/* ---- backward ---- */

/* Rows from..from + rows - 1 of the input of pair k's convolution, once more; with what its
 * gradient adds to the sums of the norm before. */
static const float *input_again(const ChainWalk *w, int k, int64_t from, int64_t rows)
{
    const OperatorCall *before = &w->calls[2 * k - 1];
    int64_t             at = from * shape_count(conv_of(w, k)->spec.in);

    if (k == 0) return w->calls[0].x + at;
    norm_gradient_add(norm_of(w, k - 1),
                      &(OperatorCall){.rows = rows, .x = before->x + at, .y = before->y,
                                      .dy = w->calls[2 * k].dx + at});
    return before->y;
}

static int backward_part(const ChainWalk *w, int k, int64_t from, int64_t rows, Error *err)
{
    const OperatorCall *conv = &w->calls[2 * k], *norm = &w->calls[2 * k + 1];
    int64_t             in = from * shape_count(conv_of(w, k)->spec.in),
            out = from * shape_count(conv_of(w, k)->spec.out);
    ConvPart     part = {from == 0, from + rows == conv->rows};
    float       *du = gradient_tile(w, k);
    OperatorCall data = {.rows = rows, .dy = du, .dx = conv->dx ? conv->dx + in : NULL},
                 weights = {.rows = rows, .dy = du};

    norm_gradient_apply(norm_of(w, k), &(OperatorCall){.rows = rows, .x = norm->x + out,
                                                       .dy = norm->dy + out, .dx = du});
    if (data.dx && conv_backward_part(conv_of(w, k), &data, &part, err) != 0) return -1;
    weights.x = input_again(w, k, from, rows);
    return conv_backward_part(conv_of(w, k), &weights, &part, err);
}

int chain_backward(Operator *const *ops, const OperatorCall *calls, int count, Error *err)
{
    ChainWalk    w = walk_of(ops, calls, count);
    OperatorCall last = calls[count - 1];

    norm_begin(norm_of(&w, w.pairs - 1));
    last.y = NULL;                       /* what it wrote, others may have changed since */
    norm_gradient_add(norm_of(&w, w.pairs - 1), &last);
    for (int k = w.pairs - 1; k >= 0; k--) {
        if (norm_gradient_sums(norm_of(&w, k), &calls[2 * k + 1], true, err) != 0) return -1;
        if (k > 0) norm_begin(norm_of(&w, k - 1));
        for (int64_t from = 0; from < calls->rows; from += w.part) {
            int64_t left = calls->rows - from;
            if (backward_part(&w, k, from, smaller(left, w.part), err) != 0) return -1;
        }
    }
    return 0;
}
