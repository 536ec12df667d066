#include "traces/model_memory.h"

#include "base/minmax.h"
#include "traces/model_operator.h"
#include "workloads/head.h"

typedef struct {
    bool    frozen;
    int     depth, deepest;  /* residuals around */
    int64_t largest;         /* elements of the largest tensor that buffers must hold */
    int64_t element_bytes, rows;         /* rows that tensors are allocated for; 0: nothing is
                                          * rounded */
} Needs;

/* The product may have more than 64 bits: its remainder by a power of two is right all the same. */
int64_t model_rounding(int64_t bytes, int64_t rows)
{
    bool     large = bytes > ((10 << 20) - 1) / rows;
    uint64_t unit = large ? 2 << 20 : 512, over = (uint64_t)bytes * (uint64_t)rows % unit;

    return over ? (int64_t)(unit - over) : 0;
}

/* Bytes of a row of a tensor, with its part of what rounding adds. */
static int64_t tensor_bytes(const Needs *needs, int64_t elements)
{
    int64_t bytes = elements * needs->element_bytes;

    return needs->rows > 0
               ? bytes + (model_rounding(bytes, needs->rows) + needs->rows - 1) / needs->rows
               : bytes;
}

static void grow(Needs *needs, int64_t elements)
{
    if (elements > needs->largest) needs->largest = elements;
}

static bool is_activation(const Layers *layers, int i)
{
    return i < layers->count
           && (layers->layer[i].kind == LAYER_RELU || layers->layer[i].kind == LAYER_RELU6);
}

static bool is_norm(const Layers *layers, int i)
{
    return i < layers->count && layers->layer[i].kind == LAYER_BATCHNORM;
}

/* Layers from i on that run together. */
static int together(const Layers *layers, int i, bool frozen)
{
    LayerKind kind = layers->layer[i].kind;
    int       used = 1;

    if (kind != LAYER_CONV && kind != LAYER_LINEAR && kind != LAYER_BATCHNORM) return 1;
    if (kind == LAYER_CONV && frozen && is_norm(layers, i + used)) used++;
    return used + is_activation(layers, i + used);
}

/* Backward looks at the result of an activation that runs with anything but a batch norm. */
static bool looks_at_result(const Layers *layers, int first, int used)
{
    LayerKind kind = layers->layer[first].kind;

    return kind != LAYER_BATCHNORM
           && (used > 1 || kind == LAYER_RELU || kind == LAYER_RELU6 || kind == LAYER_ATTENTION);
}

/* Of a body: its sum may then not overwrite its result. */
static bool body_looks_at_result(const Layers *body)
{
    int i = 0, used = 1;

    while (i + (used = together(body, i, false)) < body->count) i += used;
    return looks_at_result(body, i, used);
}

static bool is_flat(const Layer *layer)
{
    return layer->kind == LAYER_FLATTEN
           && (layer->in.channels == 1 || layer->in.height * layer->in.width == 1);
}

static int64_t keep_layers(Needs *needs, const Layers *layers, bool before, bool given);

/* Bytes kept by what is inside; places of a choice's paths are shared. */
static int64_t keep_paths(Needs *needs, const Layer *layer, bool before, bool given)
{
    bool    residual = layer->kind == LAYER_RESIDUAL;
    int64_t most = 0;

    needs->depth += layer->kind == LAYER_RESIDUAL;
    if (needs->depth > needs->deepest) needs->deepest = needs->depth;
    for (int p = 0; p < layer->path_count; p++) {
        int64_t kept = keep_layers(needs, &layer->path[p], before, given && !(residual && p > 0));
        if (residual) most += kept;
        else if (kept > most) most = kept;
    }
    needs->depth -= layer->kind == LAYER_RESIDUAL;
    return most;
}

/* Bytes kept. before: something before the list trains; given: its last result goes where the
 * caller says. Max pooling's places are counted as elements of the same size, a byte each. */
static int64_t keep_layers(Needs *needs, const Layers *layers, bool before, bool given)
{
    int64_t kept = 0;

    for (int i = 0, used; i < layers->count; i += used) {
        const Layer *layer = &layers->layer[i];
        used = together(layers, i, needs->frozen);
        if (is_flat(layer)) continue;
        bool last = given && i + used == layers->count, operator = layer->path_count == 0;
        bool own = layer->kind == LAYER_RESIDUAL && !needs->frozen
                   && body_looks_at_result(&layer->path[0]);
        bool in_place = is_activation(layers, i) && i > 0;
        int64_t out = shape_count(layers->layer[i + used - 1].out);

        if (!last && (needs->frozen || looks_at_result(layers, i, used))) grow(needs, out);
        if (!needs->frozen && before) grow(needs, shape_count(layer->in));
        if (!last && ((operator && !in_place) || own)) kept += tensor_bytes(needs, out);
        if (layer->kind == LAYER_MAXPOOL)
            kept += tensor_bytes(needs, (shape_count(layer->out) + 3) / 4);
        if (layer->kind == LAYER_ATTENTION)
            kept += tensor_bytes(needs, (int64_t)layer->attention.heads * layer->in.height);
        if (!operator) kept += keep_paths(needs, layer, before, last && !own);
        before = before || layers_cost(&(Layers){layers->layer + i, used}).parameters > 0;
    }
    return kept;
}

/* Buffers: one that is read, one that is written, and one for each residual around. */
static int64_t buffer_bytes(const Needs *needs)
{
    return (2 + needs->deepest) * tensor_bytes(needs, needs->largest);
}

/* Bytes of the scores that a head works with, a sample: of a piece where the batch has more tokens
 * than one (workloads/head.h). */
static int64_t head_bytes(const Workload *workload, const WorkBlock *work, int64_t each)
{
    int64_t piece = head_piece(workload->batch * work->out.height, work->out.channels);

    return (3 * piece * work->out.channels * each + workload->batch - 1) / workload->batch;
}

/* Of a row of the teacher's block. */
static int64_t teacher_bytes(const Layers *teacher, int64_t each, int64_t rows)
{
    Needs needs = {.frozen = true, .element_bytes = each, .rows = rows};

    keep_layers(&needs, teacher, false, true);
    return buffer_bytes(&needs);
}

/* Of a row of a student: what is kept, buffers, and its output and the gradient at it,
 * which live until its backward is done. */
static int64_t student_bytes(const Workload *workload, StudentId id, const Layers *student,
                             int64_t each, int64_t rows)
{
    const WorkBlock *work = &workload->block[id.block];
    Needs   needs = {.frozen = false, .element_bytes = each, .rows = rows};
    int64_t kept = keep_layers(&needs, student, false, true), buffered = buffer_bytes(&needs);

    /* Scores of a head stand in the same memory, one after another. */
    if (workload_has_head(workload, id.block))
        buffered = larger(buffered, head_bytes(workload, work, each));
    return kept + buffered
           + 2 * tensor_bytes(&needs, workload_output_count(workload, id.block, id.student));
}

typedef struct { int64_t trained, statistics; } Rounding;

static void add_rounding(const Layer *layer, void *context)
{
    LayerParameter list[LAYER_PARAMETERS_MAX];
    Rounding      *sum = context;
    int            count = layer_parameter_list(layer, list);

    for (int i = 0; i < count; i++) {
        int64_t more = model_rounding(4 * layer_parameter_count(&list[i]), 1);
        if (list[i].trained) sum->trained += more;
        else sum->statistics += more;
    }
}

/* What rounding adds to the parameters of layers. */
static Rounding rounding_of(const Layers *layers)
{
    Rounding sum = {0};

    layers_each(layers, add_rounding, &sum);
    return sum;
}

/* Numbers that the optimizer keeps for each parameter. */
static int states(const Workload *workload, const WorkBlock *work)
{
    if (workload->optimizer == OPTIMIZER_ADAMW) return 2;
    return workload_training(workload, work).momentum > 0 ? 1 : 0;
}

static void student_memory(TraceStudent *out, const Workload *workload, StudentId id, int64_t each,
                           int64_t rows)
{
    WorkBlock  work = block_with_student(&workload->block[id.block], id.student);
    bool       head = workload_has_head(workload, id.block);
    Layers     body = layers_body(&work.student, head);
    LayersCost cost = layers_cost(&work.student);
    int64_t    state = states(workload, &work);

    out->weight_bytes = 4 * (cost.parameters + cost.statistics);
    out->gradient_bytes = 4 * cost.parameters;
    out->state_bytes = 4 * state * cost.parameters;
    out->activation_bytes = student_bytes(workload, id, &body, each, rows);
    if (head && !loss_is_of_labels(work.loss))
        out->weight_bytes += 4 * layer_parameters(layers_last(&work.teacher));
    if (rows == 0) return;
    Rounding more = rounding_of(&work.student);
    out->weight_bytes += (2 + state) * more.trained + more.statistics;
}

void model_memory(TraceBlock *block, const Workload *workload, const WorkBlock *work,
                  Numbers precision, int64_t rows)
{
    int        b = (int)(work - workload->block);
    Layers     body = layers_body(&work->teacher, workload_has_head(workload, b));
    LayersCost teacher = layers_cost(&body);
    int64_t    each = model_element_bytes(precision);

    block->output_bytes = workload_boundary_count(workload, b + 1) * each;
    block->teacher_weight_bytes = 4 * (teacher.parameters + teacher.statistics);
    block->teacher_activation_bytes = teacher_bytes(&body, each, rows);
    if (rows > 0) {
        Rounding more = rounding_of(&body);
        block->teacher_weight_bytes += more.trained + more.statistics;
    }
    for (int j = 0; j < block->student_count; j++)
        student_memory(&block->students[j], workload, workload_student_of(workload, b, j), each,
                       rows);
    if (block->students) { trace_sum_students(block); return; }
    TraceStudent only = {0};
    student_memory(&only, workload, workload_student_of(workload, b, 0), each, rows);
    block->student_weight_bytes = only.weight_bytes;
    block->gradient_bytes = only.gradient_bytes;
    block->state_bytes = only.state_bytes;
    block->student_activation_bytes = only.activation_bytes;
}
