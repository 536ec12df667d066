/* What layers are made of and cost, and walks over them. */
#include "workloads/workload.h"

#include <stdio.h>

#include "base/rng.h"

int64_t shape_count(Shape shape)
{
    return (int64_t)shape.channels * shape.height * shape.width;
}

bool shape_equal(Shape a, Shape b)
{
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
}

const char *shape_text(char out[SHAPE_TEXT_BYTES], Shape shape)
{
    snprintf(out, SHAPE_TEXT_BYTES, "%dx%dx%d", shape.channels, shape.height, shape.width);
    return out;
}

const char *layer_kind_name(LayerKind kind)
{
    static const char *const names[] = {
        "conv",    "batchnorm", "relu",   "relu6",     "maxpool",   "avgpool", "linear",
        "flatten", "residual",  "choice", "embedding", "layernorm", "rmsnorm", "gelu",
        "silu",    "tanh",      "gated",  "attention", "tokens",    "pool"};

    return names[kind];
}

const char *function_name(Function function)
{
    static const char *const names[] = {"relu", "gelu", "gelu_tanh", "silu", "tanh"};

    return names[function];
}

const char *loss_name(LossKind loss)
{
    static const char *const names[] = {"mse", "soft_cross_entropy", "normalised_mse",     "cosine",
                                        "kl",  "hard_cross_entropy", "label_cross_entropy"};

    return names[loss];
}

bool loss_is_of_scores(LossKind loss)
{
    return loss == LOSS_SOFT_CROSS_ENTROPY || loss == LOSS_KL || loss == LOSS_HARD_CROSS_ENTROPY
           || loss_is_of_labels(loss);
}

/* ---- one layer -------------------------------------------------------------- */

static int64_t count_parameters(const Layer *layer, bool trained)
{
    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            count = layer_parameter_list(layer, list);
    int64_t        sum = 0;

    for (int i = 0; i < count; i++)
        if (list[i].trained == trained) sum += layer_parameter_count(&list[i]);
    return sum;
}

int64_t layer_parameters(const Layer *layer) { return count_parameters(layer, true); }
int64_t layer_statistics(const Layer *layer) { return count_parameters(layer, false); }

/* Keys that the queries of a sequence see, all together. */
static int64_t attention_pairs(const Layer *layer)
{
    const Attention *a = &layer->attention;
    int64_t          tokens = layer->in.height,
            window = a->window > 0 && a->window < tokens ? a->window : tokens;
    int64_t          one_side = window * (window - 1) / 2 + (tokens - window + 1) * window;

    return a->causal ? one_side : 2 * one_side - tokens;
}

/* Weights of a conv or linear work at every place of the output; attention multiplies queries with
 * keys, and their weights with values. */
int64_t layer_macs(const Layer *layer)
{
    const Attention *a = &layer->attention;
    LayerParameter   list[LAYER_PARAMETERS_MAX];

    if (layer->kind == LAYER_ATTENTION) return 2 * attention_pairs(layer) * a->heads * a->head_dim;
    if (layer->kind != LAYER_CONV && layer->kind != LAYER_LINEAR) return 0;
    layer_parameter_list(layer, list);
    return layer_parameter_count(&list[0]) * layer->out.height * layer->out.width;
}

static bool keeps_input(const Layer *layer)
{
    switch (layer->kind) {
    case LAYER_CONV:
    case LAYER_LINEAR:
    case LAYER_BATCHNORM:
    case LAYER_EMBEDDING:
    case LAYER_LAYERNORM:
    case LAYER_RMSNORM:
    case LAYER_GELU:
    case LAYER_SILU:
    case LAYER_TANH:
    case LAYER_GATED:
    case LAYER_ATTENTION: return true;
    default: return false;
    }
}

static int64_t kept_bytes(const Layer *layer)
{
    int64_t count = keeps_input(layer) ? shape_count(layer->in) : 0;

    /* logarithms of softmax's sums */
    if (layer->kind == LAYER_ATTENTION) count += (int64_t)layer->attention.heads * layer->in.height;
    if (layer->kind == LAYER_MAXPOOL) count = shape_count(layer->out);
    return count * (int64_t)sizeof(float);
}

/* ---- lists --------------------------------------------------------------------- */

static int64_t mean_of(int64_t sum, int count)
{
    return (sum + count / 2) / count;
}

static void add_cost(LayersCost *to, LayersCost what)
{
    to->parameters += what.parameters;
    to->statistics += what.statistics;
    to->macs_least += what.macs_least;
    to->macs_mean += what.macs_mean;
    to->macs_most += what.macs_most;
    to->activation_bytes += what.activation_bytes;
}

/* A body and a shortcut that both keep the residual's input keep it once. */
static LayersCost residual_cost(const Layer *layer)
{
    LayersCost all = layers_cost(&layer->path[0]);

    if (layer->path_count == 1) return all;
    add_cost(&all, layers_cost(&layer->path[1]));
    if (layer->path[0].count > 0 && keeps_input(&layer->path[0].layer[0])
        && keeps_input(&layer->path[1].layer[0]))
        all.activation_bytes -= shape_count(layer->in) * (int64_t)sizeof(float);
    return all;
}

/* A choice: all paths exist, one is taken. */
static LayersCost paths_cost(const Layer *layer)
{
    LayersCost all = {0};

    if (layer->kind == LAYER_RESIDUAL) return residual_cost(layer);
    for (int i = 0; i < layer->path_count; i++) {
        LayersCost path = layers_cost(&layer->path[i]);
        all.parameters += path.parameters;
        all.statistics += path.statistics;
        if (i == 0 || path.macs_least < all.macs_least) all.macs_least = path.macs_least;
        if (path.macs_most > all.macs_most) all.macs_most = path.macs_most;
        all.macs_mean += path.macs_mean;
        all.activation_bytes += path.activation_bytes;
    }
    if (layer->path_count > 0) {
        all.macs_mean = mean_of(all.macs_mean, layer->path_count);
        all.activation_bytes = mean_of(all.activation_bytes, layer->path_count);
    }
    return all;
}

LayersCost layers_cost(const Layers *layers)
{
    LayersCost cost = {0};

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        int64_t      macs = layer_macs(layer);
        add_cost(&cost, paths_cost(layer));
        add_cost(&cost, (LayersCost){layer_parameters(layer), layer_statistics(layer), macs, macs,
                                     macs, kept_bytes(layer)});
    }
    return cost;
}

void layers_each(const Layers *layers, LayerVisit *visit, void *context)
{
    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        visit(layer, context);
        for (int path = 0; path < layer->path_count; path++)
            layers_each(&layer->path[path], visit, context);
    }
}

static void note_looks_ahead(const Layer *layer, void *context)
{
    bool *ahead = context;

    if (layer->kind == LAYER_ATTENTION && !layer->attention.causal) *ahead = true;
}

void students_each(const WorkBlock *block, LayerVisit *visit, void *context)
{
    for (int j = 0; j < block_students(block); j++) {
        WorkBlock one = block_with_student(block, j);
        layers_each(&one.student, visit, context);
    }
}

bool workload_predicts_tokens(const Workload *workload)
{
    const WorkBlock *last = &workload->block[workload->block_count - 1];
    bool             ahead = false;

    if (workload->vocabulary == 0 || !loss_is_of_scores(last->loss)
        || last->out.height != workload->input.height || last->out.channels < workload->vocabulary)
        return false;
    for (int b = 0; b < workload->block_count; b++) {
        layers_each(&workload->block[b].teacher, note_looks_ahead, &ahead);
        if (loss_is_of_labels(last->loss))
            students_each(&workload->block[b], note_looks_ahead, &ahead);
    }
    return !ahead;
}

bool workload_has_labels(const Workload *workload)
{
    return workload->classes > 0 || workload_predicts_tokens(workload);
}

bool workload_has_choices(const Workload *workload)
{
    for (int b = 0; b < workload->block_count; b++)
        for (int j = 0; j < block_students(&workload->block[b]); j++)
            if (block_with_student(&workload->block[b], j).choices > 0) return true;
    return false;
}

bool layer_runs_path(const Layer *layer, int path, int taken)
{
    return layer->kind == LAYER_RESIDUAL || path == taken;
}

/* ---- choices ---------------------------------------------------------------------- */

static void count_choice(const Layer *layer, void *context)
{
    int *count = context;

    *count += layer->kind == LAYER_CHOICE;
}

int layers_choices(const Layers *layers)
{
    int count = 0;

    layers_each(layers, count_choice, &count);
    return count;
}

typedef struct {
    int     *choices;
    int      made;
    uint64_t seed, block, step;
} Draw;

static void draw_choice(const Layer *layer, void *context)
{
    Draw *draw = context;

    if (layer->kind != LAYER_CHOICE) return;
    double uniform = rng_uniform(draw->seed, draw->block, draw->step, (uint64_t)draw->made);
    draw->choices[draw->made++] = (int)(uniform * layer->path_count);
}

static void next_choice(const Layer *layer, void *context)
{
    Draw *draw = context;

    if (layer->kind == LAYER_CHOICE)
        draw->choices[draw->made++] = (int)(draw->step % (uint64_t)layer->path_count);
}

void workload_take_turns(int *choices, const WorkBlock *block, int64_t step)
{
    Draw draw = {.choices = choices, .step = (uint64_t)step};

    layers_each(&block->student, next_choice, &draw);
}

static void most_paths(const Layer *layer, void *context)
{
    int *most = context;

    if (layer->kind == LAYER_CHOICE && layer->path_count > *most) *most = layer->path_count;
}

int workload_most_paths(const Workload *workload)
{
    int most = 1;

    for (int b = 0; b < workload->block_count; b++)
        students_each(&workload->block[b], most_paths, &most);
    return most;
}

void workload_choose(int *choices, const WorkBlock *block, int block_number, uint64_t seed,
                     int64_t step)
{
    /* A stream of its own: other users of the seed count blocks and steps too. */
    Draw draw = {choices, 0, seed ^ 0x63686F69636573u, (uint64_t)block_number, (uint64_t)step};

    layers_each(&block->student, draw_choice, &draw);
}
