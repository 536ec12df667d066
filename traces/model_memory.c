#include "traces/model_memory.h"

#include "base/minmax.h"
#include "traces/model_operator.h"
#include "workloads/head.h"

typedef struct {
    bool    frozen;
    int     depth, deepest;  /* residuals around */
    int64_t largest;         /* elements of the largest tensor that buffers must hold */
} Needs;

static void grow(Needs *needs, int64_t elements)
{
    if (elements > needs->largest) needs->largest = elements;
}

static bool is_activation(const Layers *layers, int i)
{
    return i < layers->count && (layers->layer[i].kind == LAYER_RELU || layers->layer[i].kind == LAYER_RELU6);
}

static bool is_norm(const Layers *layers, int i) { return i < layers->count && layers->layer[i].kind == LAYER_BATCHNORM; }

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

    return kind != LAYER_BATCHNORM && (used > 1 || kind == LAYER_RELU || kind == LAYER_RELU6 || kind == LAYER_ATTENTION);
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
    return layer->kind == LAYER_FLATTEN && (layer->in.channels == 1 || layer->in.height * layer->in.width == 1);
}

static int64_t keep_layers(Needs *needs, const Layers *layers, bool before, bool given);

/* Elements kept by what is inside; places of paths are shared. */
static int64_t keep_paths(Needs *needs, const Layer *layer, bool before, bool given)
{
    int64_t most = 0;

    needs->depth += layer->kind == LAYER_RESIDUAL;
    if (needs->depth > needs->deepest) needs->deepest = needs->depth;
    for (int p = 0; p < layer->path_count; p++) {
        int64_t kept = keep_layers(needs, &layer->path[p], before, given);
        if (kept > most) most = kept;
    }
    needs->depth -= layer->kind == LAYER_RESIDUAL;
    return most;
}

/* before: something before the list trains; given: its last result goes where the caller says.
 * Max pooling's places are counted as elements of the same size, a byte each. */
static int64_t keep_layers(Needs *needs, const Layers *layers, bool before, bool given)
{
    int64_t kept = 0;

    for (int i = 0, used; i < layers->count; i += used) {
        const Layer *layer = &layers->layer[i];
        used = together(layers, i, needs->frozen);
        if (is_flat(layer)) continue;
        bool last = given && i + used == layers->count, operator = layer->path_count == 0;
        bool own = layer->kind == LAYER_RESIDUAL && !needs->frozen && body_looks_at_result(&layer->path[0]);
        bool in_place = is_activation(layers, i) && i > 0;
        int64_t out = shape_count(layers->layer[i + used - 1].out);

        if (!last && (needs->frozen || looks_at_result(layers, i, used))) grow(needs, out);
        if (!needs->frozen && before) grow(needs, shape_count(layer->in));
        if (!last && ((operator && !in_place) || own)) kept += out;
        if (layer->kind == LAYER_MAXPOOL) kept += (shape_count(layer->out) + 3) / 4;
        if (layer->kind == LAYER_ATTENTION) kept += (int64_t)layer->attention.heads * layer->in.height;
        if (!operator) kept += keep_paths(needs, layer, before, last && !own);
        before = before || layers_cost(&(Layers){layers->layer + i, used}).parameters > 0;
    }
    return kept;
}

/* Numbers of one tensor of scores that is held at a time, as kernels/head.h has it. */
#define MODEL_HEAD_FLOATS ((int64_t)1 << 23)

/* Buffers: one that is read, one that is written, and one for each residual around. */
static int64_t buffers(const Needs *needs) { return (2 + needs->deepest) * needs->largest; }

/* Bytes of the scores that a head works with, a sample: of a piece where the batch has more tokens than one (kernels/head.h). */
static int64_t head_bytes(const Workload *workload, const WorkBlock *work, int64_t each)
{
    int64_t tokens = workload->batch * work->out.height, piece, most = MODEL_HEAD_FLOATS / work->out.channels;

    piece = smaller(tokens, larger(most, 1));
    return (3 * piece * work->out.channels * each + workload->batch - 1) / workload->batch;
}

void model_memory(TraceBlock *block, const Workload *workload, const WorkBlock *work, Numbers precision)
{
    int        b = (int)(work - workload->block);
    bool       head = workload_has_head(workload, b);
    Layers     of_teacher = layers_body(&work->teacher, head), of_student = layers_body(&work->student, head);
    LayersCost teacher = layers_cost(&of_teacher), student = layers_cost(&work->student);
    Needs      frozen = {.frozen = true}, trained = {.frozen = false};
    int64_t    each = model_element_bytes(precision), kept, output = workload_output_count(workload, b) * each;

    keep_layers(&frozen, &of_teacher, false, true);
    kept = keep_layers(&trained, &of_student, false, true);
    block->output_bytes = workload_boundary_count(workload, b + 1) * each;
    block->teacher_weight_bytes = 4 * (teacher.parameters + teacher.statistics);
    block->teacher_activation_bytes = buffers(&frozen) * each;
    block->student_weight_bytes = 4 * (student.parameters + student.statistics);
    block->gradient_bytes = 4 * student.parameters;
    block->state_bytes = workload->optimizer == OPTIMIZER_ADAMW ? 8 * student.parameters
                         : workload_training(workload, work).momentum > 0 ? 4 * student.parameters : 0;
    /* The student's output and the gradient at it live until its backward is done. */
    int64_t buffered = buffers(&trained) * each;
    if (head) {                          /* they stand in the same memory, one after another */
        if (!loss_is_of_labels(work->loss)) block->student_weight_bytes += 4 * layer_parameters(layers_last(&work->teacher));
        buffered = larger(buffered, head_bytes(workload, work, each));
    }
    block->student_activation_bytes = kept * each + buffered + 2 * output;
}
