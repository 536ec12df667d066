/* Attention in tiles of queries and keys (Dao et al., FlashAttention, 2022; Rabe and Staats, 2021):
 * no matrix of all tokens by all tokens is ever held.
 *
 *     forward    queries of a tile meet the keys tile by tile; the softmax is kept as its largest
 *                score m, the sum l of exp(score - m), and the sum O of exp(score - m) v, all
 *                rescaled when m grows. y = O / l; kept: m + log l.
 *     backward   scores are computed again; p = exp(score - kept), dv += p' dy, ds = p (dy v' -
 *                delta) with delta = dy . y, dq += ds k, dk += ds' q.
 *
 * A thread takes sequences and key-value heads, with all query heads of each, so that nobody else
 * adds to its gradients. Products of tiles are oneDNN's dnnl_sgemm(), which is on one thread
 * here. */
#include "base/minmax.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/heads.h"
#include "kernels/cpu/vector.h"
#include "kernels/rotary.h"

enum { QUERIES = 128, KEYS = 128 };       /* of a tile */

typedef struct {
    const Operator     *op;
    const OperatorCall *call;
    const Layer        *layer;
    int64_t             tokens, dim, group, stride;      /* group: query heads of a key-value head;
                                                          * stride: of x */
    int64_t             out;             /* numbers of y's token */
    float              *scratch, *partial;               /* of threads; gradients of norms:
                                                          * [rows][kv_heads][2][dim] */
    int64_t             each;            /* scratch of a thread */
    float              *dx;
    Heads               queries, keys;
} AttentionTask;

/* A thread's scratch. */
typedef struct { float *key, *query, *score, *slope, *sum, *most, *total; } AttentionRoom;

static int64_t room_count(int64_t tokens, int64_t dim)
{
    return cpu_round(tokens * dim) + 2 * cpu_round(QUERIES * dim) + 2 * QUERIES * KEYS
           + 2 * QUERIES;
}

static AttentionRoom room_of(const AttentionTask *t, int thread)
{
    AttentionRoom r = {.key = t->scratch + thread * t->each};

    r.query = r.key + cpu_round(t->tokens * t->dim);
    r.sum = r.query + cpu_round(QUERIES * t->dim);       /* O; in backward dq */
    r.score = r.sum + cpu_round(QUERIES * t->dim);
    r.slope = r.score + QUERIES * KEYS;
    r.most = r.slope + QUERIES * KEYS;
    r.total = r.most + QUERIES;
    return r;
}

/* c [m][n] = a b + keep c; all row by row, strides of rows. */
static void product(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                    const float *a, int64_t a_stride, const float *b, int64_t b_stride, float keep,
                    float *c, int64_t c_stride)
{
    dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1.0f, a, a_stride, b,
               b_stride, keep, c, c_stride);
}

/* ---- which keys a query sees ---- */

typedef struct { int64_t first, end; } KeySpan;

static int64_t length_of(const AttentionTask *t, int64_t row)
{
    return t->call->lengths ? t->call->lengths[row] : t->tokens;
}

static KeySpan seen_by(const AttentionTask *t, int64_t query, int64_t length)
{
    const Attention *a = &t->layer->attention;
    KeySpan             s = {0, length};

    if (a->causal) s.end = smaller(s.end, query + 1);
    if (a->window > 0) {
        s.first = larger(0, query - a->window + 1);
        s.end = smaller(s.end, query + a->window);
    }
    return s;
}

/* Of count queries from first on: the ends of spans grow with the query. */
static KeySpan seen_by_tile(const AttentionTask *t, int64_t first, int64_t count, int64_t length)
{
    return (KeySpan){seen_by(t, first, length).first, seen_by(t, first + count - 1, length).end};
}

/* The part of a tile's keys, first .. first + count - 1, that a query sees, counted from first. */
static KeySpan seen_of_tile(const AttentionTask *t, int64_t query, int64_t length, int64_t first,
                            int64_t count)
{
    KeySpan s = seen_by(t, query, length);

    s.first = smaller(larger(0, s.first - first), count);
    s.end = larger(s.first, smaller(s.end - first, count));
    return s;
}

/* ---- forward ---- */

/* Makes whole vectors of what a query sees of a row of scores: -infinity, of which the exponential
 * is 0, in their other places, and 0 in all other vectors. Rows have room for whole vectors. */
VECTOR_INLINE KeySpan mask(float *restrict score, int64_t count, KeySpan seen)
{
    KeySpan whole = {seen.first / VECTOR_LANES * VECTOR_LANES,
                     (seen.end + VECTOR_LANES - 1) / VECTOR_LANES * VECTOR_LANES};

    if (seen.end == seen.first) whole.end = whole.first;
    for (int64_t i = 0; i < whole.first; i++) score[i] = 0.0f;
    for (int64_t i = whole.end; i < count; i++) score[i] = 0.0f;
    for (int64_t i = whole.first; i < seen.first && i < whole.end; i++) score[i] = -INFINITY;
    for (int64_t i = seen.end; i < whole.end; i++) score[i] = -INFINITY;
    return whole;
}

/* Takes a row of scores in: exp(score - m) in their place, 0 where the query does not see; m, l and
 * O rescaled. */
VECTORISED static void soften(float *restrict score, int64_t count, KeySpan seen, float *m,
                              float *l, float *restrict sum, int64_t dim)
{
    KeySpan whole = mask(score, count, seen);
    float   lane[VECTOR_LANES] = {0}, next, scale;

    if (whole.end == whole.first) return;
    next = vector_most(score + whole.first, whole.end - whole.first);
    next = next > *m ? next : *m;
    for (int64_t i = whole.first; i < whole.end; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) {
            score[i + j] = vector_exp_below(score[i + j] - next);
            lane[j] += score[i + j];
        }
    scale = *m == -INFINITY ? 0.0f : vector_exp(*m - next);
    *l = *l * scale + vector_total(lane);
    *m = next;
    if (scale != 1.0f) for (int64_t i = 0; i < dim; i++) sum[i] *= scale;
}

VECTORISED static void divide(float *restrict y, const float *restrict sum, float total,
                              int64_t dim)
{
    float inverse = total > 0.0f ? 1.0f / total : 0.0f;

    for (int64_t i = 0; i < dim; i++) y[i] = sum[i] * inverse;
}

/* Queries first .. first + count - 1 of a head. x: of the sequence; value: of its key-value
 * head. */
static void forward_tile(const AttentionTask *t, const AttentionRoom *room, const float *x,
                         const float *value, int64_t head, int64_t first, int64_t count,
                         int64_t length, float *y, float *kept)
{
    KeySpan span = seen_by_tile(t, first, count, length);

    heads_load(&t->queries, room->query, x + first * t->stride + head * t->dim, t->stride, first,
               count);
    memset(room->sum, 0, (size_t)(count * t->dim) * sizeof(float));
    for (int64_t i = 0; i < count; i++) room->most[i] = -INFINITY, room->total[i] = 0.0f;
    for (int64_t k = span.first; k < span.end; k += KEYS) {
        int64_t keys = smaller(KEYS, span.end - k);

        product(false, true, count, keys, t->dim, room->query, t->dim, room->key + k * t->dim,
                t->dim, 0.0f, room->score, KEYS);
        for (int64_t i = 0; i < count; i++)
            soften(room->score + i * KEYS, keys, seen_of_tile(t, first + i, length, k, keys),
                   &room->most[i], &room->total[i], room->sum + i * t->dim, t->dim);
        product(false, false, count, t->dim, keys, room->score, KEYS, value + k * t->stride,
                t->stride, 1.0f, room->sum, t->dim);
    }
    for (int64_t i = 0; i < count; i++) {
        divide(y + (first + i) * t->out + head * t->dim, room->sum + i * t->dim, room->total[i],
               t->dim);
        if (kept) kept[head * t->tokens + first + i] = room->most[i] + logf(room->total[i]);
    }
}

static void load_keys(const AttentionTask *t, const AttentionRoom *room, const float *x, int64_t kv,
                      int64_t length)
{
    heads_load(&t->keys, room->key, x + (t->layer->attention.heads + kv) * t->dim, t->stride, 0,
               length);
}

static const float *values_of(const AttentionTask *t, const float *x, int64_t kv)
{
    return x + (t->layer->attention.heads + t->layer->attention.kv_heads + kv) * t->dim;
}

/* Places behind a sequence's end give nothing. */
static void clear_tail(const AttentionTask *t, float *y, int64_t head, int64_t length)
{
    for (int64_t i = length; i < t->tokens; i++)
        memset(y + i * t->out + head * t->dim, 0, (size_t)t->dim * sizeof *y);
}

static void forward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const AttentionTask *t = context;
    AttentionRoom        room = room_of(t, thread);
    int64_t     kv_heads = t->layer->attention.kv_heads, heads = t->layer->attention.heads;

    for (int64_t i = begin; i < end; i++) {
        int64_t      row = i / kv_heads, kv = i % kv_heads, length = length_of(t, row);
        const float *x = t->call->x + row * t->tokens * t->stride;
        float       *y = t->call->y + row * t->tokens * t->out;
        float *kept = t->call->kept ? t->call->kept + row * cpu_round(heads * t->tokens) : NULL;

        load_keys(t, &room, x, kv, length);
        for (int64_t head = kv * t->group; head < (kv + 1) * t->group; head++) {
            for (int64_t q = 0; q < length; q += QUERIES)
                forward_tile(t, &room, x, values_of(t, x, kv), head, q,
                             smaller(QUERIES, length - q), length, y, kept);
            clear_tail(t, y, head, length);
        }
    }
}

/* ---- backward ---- */

/* p = exp(score - kept) where seen, ds = p (dp - delta). score becomes p, slope (dp) ds. */
VECTORISED static void soften_backward(float *restrict score, float *restrict slope, int64_t count,
                                       KeySpan seen, float kept, float delta)
{
    KeySpan whole = mask(score, count, seen);

    for (int64_t i = 0; i < seen.first; i++) slope[i] = 0.0f;
    for (int64_t i = seen.end; i < count; i++) slope[i] = 0.0f;
    for (int64_t i = whole.first; i < whole.end; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) {
            score[i + j] = vector_exp_below(score[i + j] - kept);
            slope[i + j] = score[i + j] * (slope[i + j] - delta);
        }
}

VECTORISED static float dot(const float *x, const float *y, int64_t count)
{
    return vector_dot(x, y, count);
}

/* A sequence and a key-value head. */
typedef struct {
    const float *x, *y, *dy, *kept, *value;
    float       *dx, *dkey, *dvalue;
    int64_t      length;
    float       *partial;    /* of the norms' gradients: queries, keys; NULL: there are none */
} HeadPass;

/* Gradients of count queries of a head, from first on, and what they add to those of its keys and
 * values. Scores are computed again, a tile of keys at a time. */
static void backward_tile(const AttentionTask *t, const AttentionRoom *room, const HeadPass *p,
                          int64_t head, int64_t first, int64_t count)
{
    KeySpan         span = seen_by_tile(t, first, count, p->length);
    const float *query = p->x + first * t->stride + head * t->dim,
             *dy = p->dy + first * t->out + head * t->dim;
    float *delta = room->most, *dquery = room->sum, *dx = p->dx + first * t->stride + head * t->dim;

    heads_load(&t->queries, room->query, query, t->stride, first, count);
    memset(dquery, 0, (size_t)(count * t->dim) * sizeof *dquery);
    for (int64_t i = 0; i < count; i++)
        delta[i] = dot(dy + i * t->out, p->y + (first + i) * t->out + head * t->dim, t->dim);
    for (int64_t k = span.first; k < span.end; k += KEYS) {
        int64_t      keys = smaller(KEYS, span.end - k);
        const float *key = room->key + k * t->dim;

        product(false, true, count, keys, t->dim, room->query, t->dim, key, t->dim, 0.0f,
                room->score, KEYS);
        product(false, true, count, keys, t->dim, dy, t->out, p->value + k * t->stride, t->stride,
                0.0f, room->slope, KEYS);
        for (int64_t i = 0; i < count; i++)
            soften_backward(room->score + i * KEYS, room->slope + i * KEYS, keys,
                            seen_of_tile(t, first + i, p->length, k, keys),
                            p->kept[head * t->tokens + first + i], delta[i]);
        product(true, false, keys, t->dim, count, room->score, KEYS, dy, t->out, 1.0f,
                p->dvalue + k * t->stride, t->stride);
        product(true, false, keys, t->dim, count, room->slope, KEYS, room->query, t->dim, 1.0f,
                p->dkey + k * t->stride, t->stride);
        product(false, false, count, t->dim, keys, room->slope, KEYS, key, t->dim, 1.0f, dquery,
                t->dim);
    }
    heads_backward(&t->queries, dquery, t->dim, query, t->stride, first, count, p->partial);
    for (int64_t i = 0; i < count; i++)
        memcpy(dx + i * t->stride, dquery + i * t->dim, (size_t)t->dim * sizeof *dx);
}

/* Gradients of pairs (row, key-value head) begin to end: of its queries, keys and values, and
 * partial sums for the norms' weights. */
static void backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const AttentionTask *t = context;
    AttentionRoom        room = room_of(t, thread);
    int64_t     kv_heads = t->layer->attention.kv_heads, heads = t->layer->attention.heads;

    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / kv_heads, kv = i % kv_heads, at = row * t->tokens;
        HeadPass    p = {.x = t->call->x + at * t->stride, .y = t->call->y + at * t->out,
                         .dy = t->call->dy + at * t->out, .dx = t->dx + at * t->stride,
                         .kept = t->call->kept + row * cpu_round(heads * t->tokens),
                         .length = length_of(t, row),
                         .partial = t->partial ? t->partial + i * 2 * t->dim : NULL};

        p.value = values_of(t, p.x, kv);
        p.dkey = p.dx + (heads + kv) * t->dim;
        p.dvalue = p.dx + (heads + kv_heads + kv) * t->dim;
        for (int64_t k = 0; k < t->tokens; k++) {
            memset(p.dx + k * t->stride + kv * t->group * t->dim, 0,
                   (size_t)(t->group * t->dim) * sizeof(float));
            memset(p.dkey + k * t->stride, 0, (size_t)t->dim * sizeof(float));
            memset(p.dvalue + k * t->stride, 0, (size_t)t->dim * sizeof(float));
        }
        if (p.partial) memset(p.partial, 0, (size_t)(2 * t->dim) * sizeof(float));
        load_keys(t, &room, p.x, kv, p.length);
        for (int64_t head = kv * t->group; head < (kv + 1) * t->group; head++)
            for (int64_t q = 0; q < p.length; q += QUERIES)
                backward_tile(t, &room, &p, head, q, smaller(QUERIES, p.length - q));
        heads_backward(&t->keys, p.dkey, t->stride, p.x + (heads + kv) * t->dim, t->stride, 0,
                       p.length, p.partial ? p.partial + t->dim : NULL);
    }
}

/* ---- the operator ---- */

static Heads heads_of(const Operator *op, const float *weight, float scale)
{
    const Layer *layer = op->spec.layer;

    return (Heads){.tokens = layer->in.height, .dim = layer->attention.head_dim,
                   .half = layer->attention.rotary.dim / 2, .table = op->own, .weight = weight,
                   .eps = (float)layer->eps, .scale = scale};
}

static AttentionTask task_of(const Operator *op, const OperatorCall *call)
{
    const Layer     *layer = op->spec.layer;
    const Attention *a = &layer->attention;
    AttentionTask t = {.op = op, .call = call, .layer = layer, .tokens = layer->in.height,
                       .dim = a->head_dim, .stride = layer->in.channels, .out = layer->out.channels,
                       .group = a->heads / a->kv_heads, .scratch = op->device->scratch,
                       .dx = call->dx};

    t.each = room_count(t.tokens, t.dim);
    t.queries =
        heads_of(op, a->norm ? op->p.own[0] : NULL, (float)(1.0 / sqrt((double)a->head_dim)));
    t.keys = heads_of(op, a->norm ? op->p.own[1] : NULL, 1.0f);
    if (a->norm) t.partial = t.scratch + op->device->threads * t.each;
    if (!t.dx)
        t.dx = t.scratch + op->device->threads * t.each
               + cpu_round(call->rows * a->kv_heads * 2 * t.dim);
    return t;
}

static int make(Operator *op, Error *err)
{
    op->own = cpu_alloc((size_t)rotary_table_count(op->spec.layer) + 1);
    if (!op->own) return error_no_memory(err);
    rotary_table(op->spec.layer, op->own);
    return 0;
}

static int64_t kept(const OperatorSpec *spec)
{
    return cpu_round((int64_t)spec->layer->attention.heads * spec->in.height);
}

static int plan(Operator *op, OperatorPlan *plan, Error *err)
{
    const Layer     *layer = op->spec.layer;
    const Attention *a = &layer->attention;

    (void)err;
    products_make_ready();
    plan->scratch = op->device->threads * room_count(layer->in.height, a->head_dim);
    if (op->spec.frozen) return 0;
    plan->scratch += cpu_round(plan->rows * a->kv_heads * 2 * a->head_dim);
    if (!op->spec.data_gradient) plan->scratch += plan->rows * shape_count(layer->in);
    return 0;
}

static int forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    AttentionTask task = task_of(op, call);

    (void)plan, (void)err;
    cpu_parallel(op->device, call->rows * op->spec.layer->attention.kv_heads, 1, forward_part,
                 &task);
    return 0;
}

/* Gradients of the norms' weights: parts in the order of rows and heads. */
static void sum_norms(const AttentionTask *t, int64_t parts)
{
    for (int which = 0; which < 2; which++) {
        float *gradient = t->op->p.own_gradient[which];

        memset(gradient, 0, (size_t)t->dim * sizeof *gradient);
        for (int64_t i = 0; i < parts; i++)
            for (int64_t c = 0; c < t->dim; c++)
                gradient[c] += t->partial[(2 * i + which) * t->dim + c];
    }
}

static int backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    AttentionTask    task = task_of(op, call);
    int64_t parts = call->rows * op->spec.layer->attention.kv_heads;

    (void)plan, (void)err;
    cpu_parallel(op->device, parts, 1, backward_part, &task);
    if (task.partial) sum_norms(&task, parts);
    return 0;
}

const CpuKind cpu_attention = {.layer = LAYER_ATTENTION, .kept = kept, .make = make, .plan = plan,
                               .forward = forward, .backward = backward};
