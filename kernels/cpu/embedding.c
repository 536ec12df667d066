/* What makes sequences and ends them: embeddings of tokens, tokens of an image's places, and one
 * vector of a sequence. Gradients of tables are shared among threads by channels, so that each
 * number is summed in the order of the tokens. */
#include "kernels/cpu/cpu.h"

#include <string.h>

typedef struct {
    const Operator     *op;
    const OperatorCall *call;
    int64_t             rows, tokens, channels;          /* of the sequences */
} SequenceTask;

static SequenceTask task_of(const Operator *op, const OperatorCall *call, Shape sequence)
{
    return (SequenceTask){op, call, call->rows, sequence.height, sequence.channels};
}

static int64_t length_of(const SequenceTask *t, int64_t row)
{
    return t->call->lengths ? t->call->lengths[row] : t->tokens;
}

VECTORISED static void add_to(float *restrict to, const float *restrict from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* ---- embedding ---- */

/* A table's vector for a token: its number, place or type; NULL where the layer has no such
 * table. */
typedef struct { float *number, *place, *type; } EmbeddingTables;

static EmbeddingTables tables_of(const Operator *op, const float *const *own)
{
    const Layer *layer = op->spec.layer;
    int          next = 1;
    EmbeddingTables       t = {.number = (float *)(uintptr_t)own[0]};

    if (layer->positions) t.place = (float *)(uintptr_t)own[next++];
    if (layer->types > 0) t.type = (float *)(uintptr_t)own[next];
    return t;
}

/* What token i of the batch is: below the table's size (token numbers were checked where they were
 * read; a wrong one must not reach beyond the table). */
static int64_t number_of(float x, int64_t most)
{
    return x >= 0.0f && x < (float)most ? (int64_t)x : 0;
}

static void embed_part(void *context, int64_t begin, int64_t end, int thread)
{
    const SequenceTask  *t = context;
    const Layer *layer = t->op->spec.layer;
    EmbeddingTables       tables = tables_of(t->op, t->op->p.own);
    int64_t      each = layer->in.channels, n = t->channels;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = t->call->x + i * each;
        float       *y = t->call->y + i * n;

        memcpy(y, tables.number + number_of(x[0], layer->vocabulary) * n, (size_t)n * sizeof *y);
        if (tables.place) add_to(y, tables.place + i % t->tokens * n, n);
        if (tables.type) add_to(y, tables.type + number_of(x[1], layer->types) * n, n);
    }
}

static int embedding_forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    SequenceTask task = task_of(op, call, op->spec.out);

    (void)plan, (void)err;
    cpu_parallel(op->device, task.rows * task.tokens, 1 + 4096 / task.channels, embed_part, &task);
    return 0;
}

static void clear_rows(float *table, int64_t rows, int64_t n, int64_t begin, int64_t end)
{
    for (int64_t r = 0; table && r < rows; r++)
        memset(table + r * n + begin, 0, (size_t)(end - begin) * sizeof *table);
}

/* Channels begin to end of all tables. */
static void embed_backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const SequenceTask  *t = context;
    const Layer *layer = t->op->spec.layer;
    EmbeddingTables       d = tables_of(t->op, (const float *const *)t->op->p.own_gradient);
    int64_t      each = layer->in.channels, n = t->channels, count = end - begin;

    (void)thread;
    clear_rows(d.number, layer->vocabulary, n, begin, end);
    clear_rows(d.place, t->tokens, n, begin, end);
    clear_rows(d.type, layer->types, n, begin, end);
    for (int64_t i = 0; i < t->rows * t->tokens; i++) {
        const float *x = t->call->x + i * each, *dy = t->call->dy + i * n + begin;

        if (i % t->tokens >= length_of(t, i / t->tokens)) continue;
        add_to(d.number + number_of(x[0], layer->vocabulary) * n + begin, dy, count);
        if (d.place) add_to(d.place + i % t->tokens * n + begin, dy, count);
        if (d.type) add_to(d.type + number_of(x[1], layer->types) * n + begin, dy, count);
    }
}

static int embedding_backward(Operator *op, OperatorPlan *plan, const OperatorCall *call,
                              Error *err)
{
    SequenceTask task = task_of(op, call, op->spec.out);

    (void)plan, (void)err;
    cpu_parallel(op->device, task.channels, CPU_ALIGN, embed_backward_part, &task);
    return 0;
}

/* ---- tokens of places ---- */

static void tokens_part(void *context, int64_t begin, int64_t end, int thread)
{
    const SequenceTask  *t = context;
    const Layer *layer = t->op->spec.layer;
    int64_t      n = t->channels, places = t->tokens - layer->class_token;
    const float *positions = layer->positions ? t->op->p.own[layer->class_token] : NULL;

    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        float *y = t->call->y + r * t->tokens * n;

        if (layer->class_token) memcpy(y, t->op->p.own[0], (size_t)n * sizeof *y);
        memcpy(y + layer->class_token * n, t->call->x + r * places * n,
               (size_t)(places * n) * sizeof *y);
        if (positions) add_to(y, positions, t->tokens * n);
    }
}

static int tokens_forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    SequenceTask task = task_of(op, call, op->spec.out);

    (void)plan, (void)err;
    cpu_parallel(op->device, task.rows, 1, tokens_part, &task);
    return 0;
}

static void tokens_backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const SequenceTask  *t = context;
    const Layer *layer = t->op->spec.layer;
    int64_t      n = t->channels, count = end - begin;
    float       *token = layer->class_token ? t->op->p.own_gradient[0] : NULL;
    float       *positions = layer->positions ? t->op->p.own_gradient[layer->class_token] : NULL;

    (void)thread;
    clear_rows(token, 1, n, begin, end);
    clear_rows(positions, t->tokens, n, begin, end);
    for (int64_t r = 0; r < t->rows; r++) {
        const float *dy = t->call->dy + r * t->tokens * n + begin;

        if (token) add_to(token + begin, dy, count);
        for (int64_t i = 0; positions && i < t->tokens; i++)
            add_to(positions + i * n + begin, dy + i * n, count);
    }
}

static int tokens_backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    SequenceTask    task = task_of(op, call, op->spec.out);
    int64_t n = task.channels, first = op->spec.layer->class_token, places = task.tokens - first;

    (void)plan, (void)err;
    cpu_parallel(op->device, n, CPU_ALIGN, tokens_backward_part, &task);
    for (int64_t r = 0; call->dx && r < task.rows; r++)
        memcpy(call->dx + r * places * n, call->dy + (r * task.tokens + first) * n,
               (size_t)(places * n) * sizeof(float));
    return 0;
}

/* ---- one vector of a sequence ---- */

static void pool_part(void *context, int64_t begin, int64_t end, int thread)
{
    const SequenceTask *t = context;
    int64_t     n = t->channels;

    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const float *x = t->call->x + r * t->tokens * n;
        float       *y = t->call->y + r * n, scale = 1.0f / (float)length_of(t, r);

        memcpy(y, x, (size_t)n * sizeof *y);
        if (t->op->spec.layer->pooling == POOLING_FIRST) continue;
        for (int64_t i = 1; i < length_of(t, r); i++) add_to(y, x + i * n, n);
        for (int64_t c = 0; c < n; c++) y[c] *= scale;
    }
}

static void pool_backward_part(void *context, int64_t begin, int64_t end, int thread)
{
    const SequenceTask *t = context;
    int64_t     n = t->channels;
    bool        first = t->op->spec.layer->pooling == POOLING_FIRST;

    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const float *dy = t->call->dy + r * n;
        float       *dx = t->call->dx + r * t->tokens * n,
              scale = first ? 1.0f : 1.0f / (float)length_of(t, r);
        int64_t      reached = first ? 1 : length_of(t, r);

        for (int64_t i = 0; i < reached; i++)
            for (int64_t c = 0; c < n; c++) dx[i * n + c] = dy[c] * scale;
        memset(dx + reached * n, 0, (size_t)((t->tokens - reached) * n) * sizeof *dx);
    }
}

static int pool_forward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    SequenceTask task = task_of(op, call, op->spec.in);

    (void)plan, (void)err;
    cpu_parallel(op->device, task.rows, 1, pool_part, &task);
    return 0;
}

static int pool_backward(Operator *op, OperatorPlan *plan, const OperatorCall *call, Error *err)
{
    SequenceTask task = task_of(op, call, op->spec.in);

    (void)plan, (void)err;
    if (call->dx) cpu_parallel(op->device, task.rows, 1, pool_backward_part, &task);
    return 0;
}

const CpuKind cpu_embedding = {
    .layer = LAYER_EMBEDDING, .forward = embedding_forward, .backward = embedding_backward};
const CpuKind cpu_tokens = {
    .layer = LAYER_TOKENS, .forward = tokens_forward, .backward = tokens_backward};
const CpuKind cpu_pool = {.layer = LAYER_POOL, .forward = pool_forward, .backward = pool_backward};
