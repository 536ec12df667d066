#include "kernels/graph.h"

#include <stdio.h>

enum { ALIGN = 16 };         /* floats */

typedef struct {
    LayerGraph         *graph;
    const Backend *backend;
    bool           frozen;
    Error         *err;
} Build;

static int64_t aligned(int64_t count) { return (count + ALIGN - 1) / ALIGN * ALIGN; }

/* A row of a tensor inside the net. */
static int64_t tensor_floats(const LayerGraph *graph, Shape shape)
{
    int64_t count = shape_count(shape);

    return aligned(graph->half ? (count + 1) / 2 : count);
}

/* ---- parameters ---- */

int layers_parameters(const Layers *layers)
{
    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            count = 0;

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];

        count += layer_parameter_list(layer, list);
        for (int p = 0; p < layer->path_count; p++) count += layers_parameters(&layer->path[p]);
    }
    return count;
}

static void add_parameter(LayerGraph *graph, const Layer *layer, const LayerParameter *of)
{
    NetParameter *p = &graph->parameter[graph->parameter_count];
    int64_t      *total = of->trained ? &graph->trained_count : &graph->statistic_count;

    snprintf(p->name, sizeof p->name, "%s.%s", layer->name, of->what);
    p->rank = of->rank;
    for (int i = 0; i < of->rank; i++) p->dim[i] = of->dim[i];
    p->count = layer_parameter_count(of);
    p->trained = of->trained;
    graph->offset[graph->parameter_count++] = *total;
    *total += aligned(p->count);
}

/* Returns the number of the first; -1: the layer has none. */
static int add_parameters(LayerGraph *graph, const Layer *layer, int *count)
{
    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            first = graph->parameter_count;

    *count = layer_parameter_list(layer, list);
    for (int i = 0; i < *count; i++) add_parameter(graph, layer, &list[i]);
    return *count > 0 ? first : -1;
}

static void add_weights(LayerGraph *graph, Node *node, const Layer *layer)
{
    int count;

    node->weight = add_parameters(graph, layer, &count);
    node->bias = layer->bias;
}

static void add_norm(LayerGraph *graph, Node *node, const Layer *layer)
{
    int count;

    node->norm = add_parameters(graph, layer, &count);
    node->spec.norm_eps = layer->eps;
    node->spec.norm_momentum = layer->momentum;
}

/* ---- nodes ---- */

static bool is_activation(const Layers *layers, int i)
{
    return i < layers->count
           && (layers->layer[i].kind == LAYER_RELU || layers->layer[i].kind == LAYER_RELU6);
}

static Activation activation_of(const Layer *layer)
{
    return layer->kind == LAYER_RELU ? ACTIVATION_RELU : ACTIVATION_RELU6;
}

/* Of layers[i..] what the node computes; returns how many layers that is. */
static int merge(Build *b, Node *node, const Layers *layers, int i)
{
    const Layer *layer = &layers->layer[i];
    int          used = 1;

    switch (layer->kind) {
    case LAYER_CONV:
        add_weights(b->graph, node, layer);
        if (b->frozen && i + 1 < layers->count && layers->layer[i + 1].kind == LAYER_BATCHNORM)
            add_norm(b->graph, node, &layers->layer[i + used++]);
        break;
    case LAYER_LINEAR: add_weights(b->graph, node, layer); break;
    case LAYER_BATCHNORM: add_norm(b->graph, node, layer); break;
    case LAYER_RELU: case LAYER_RELU6:
        node->spec.kind = LAYER_RELU;
        node->spec.activation = activation_of(layer);
        return 1;
    default: node->weight = add_parameters(b->graph, layer, &node->own); return 1;
    }
    if (is_activation(layers, i + used))
        node->spec.activation = activation_of(&layers->layer[i + used++]);
    /* A convolution that norm follows is cut by the norm's node, and must not look at its own y. */
    return used;
}

static OperatorSpec spec_of(const Build *b, const Layer *layer)
{
    bool pool = layer->kind == LAYER_AVGPOOL && layer->kernel == 0;

    return (OperatorSpec){.kind = layer->kind, .name = layer->name, .layer = layer, .in = layer->in,
                          .out = layer->out,
                          .kernel_height = pool ? layer->in.height : layer->kernel,
                          .kernel_width = pool ? layer->in.width : layer->kernel,
                          .stride = layer->stride > 0 ? layer->stride : 1,
                          .padding = layer->padding,
                          .groups = layer->groups > 0 ? layer->groups : 1, .frozen = b->frozen};
}

static int build_list(Build *b, NodeList *out, const Layers *layers, int depth);

static int build_paths(Build *b, Node *node, const Layer *layer, int depth)
{
    bool residual = layer->kind == LAYER_RESIDUAL;

    if (residual && ++depth > b->graph->depth) b->graph->depth = depth;
    if (!residual) node->choice = b->graph->choice_count++;
    node->path_count = layer->path_count;
    node->path = arena_alloc(&b->graph->arena, (size_t)layer->path_count, sizeof *node->path);
    if (!node->path) return error_no_memory(b->err);
    for (int p = 0; p < layer->path_count; p++)
        if (build_list(b, &node->path[p], &layer->path[p], depth) != 0) return -1;
    return 0;
}

static bool flat(const Layer *layer)
{
    return layer->kind == LAYER_FLATTEN
           && (layer->in.channels == 1 || layer->in.height * layer->in.width == 1);
}

static int build_list(Build *b, NodeList *out, const Layers *layers, int depth)
{
    out->node = arena_alloc(&b->graph->arena, (size_t)layers->count, sizeof *out->node);
    if (!out->node) return error_no_memory(b->err);
    for (int i = 0; i < layers->count;) {
        const Layer *layer = &layers->layer[i];
        Node        *node = &out->node[out->count];

        if (flat(layer)) { i++; continue; }
        *node = (Node){.kind = layer->kind, .name = layer->name, .spec = spec_of(b, layer),
                       .weight = -1, .norm = -1, .slot = -1, .kept_slot = -1};
        out->count++;
        if (layer->kind == LAYER_RESIDUAL || layer->kind == LAYER_CHOICE) {
            if (build_paths(b, node, layer, depth) != 0) return -1;
            i++;
        } else i += merge(b, node, layers, i);
        node->spec.out = layers->layer[i - 1].out;
    }
    return 0;
}

/* ---- what backward needs ---- */

bool graph_uses_result(const NodeList *list)
{
    const Node *last;

    if (list->count == 0) return true;
    last = &list->node[list->count - 1];
    if (last->kind != LAYER_CHOICE) return last->uses_y;
    for (int p = 0; p < last->path_count; p++)
        if (graph_uses_result(&last->path[p])) return true;
    return false;
}

static bool event(NodeList *list, bool before)
{
    for (int i = 0; i < list->count; i++) {
        Node *node = &list->node[i];

        node->trains = node->weight >= 0 || node->norm >= 0;
        node->needs_dx = before;
        node->spec.data_gradient = before && !node->spec.frozen;
        for (int p = 0; p < node->path_count; p++)
            if (event(&node->path[p], before)) node->trains = true;
        node->uses_y =
            node->kind == LAYER_ATTENTION
            || (node->spec.activation != ACTIVATION_NONE && node->kind != LAYER_BATCHNORM);
        if (node->kind == LAYER_RELU || node->kind == LAYER_RELU6)
            node->in_place = i > 0 && !graph_uses_result(&(NodeList){&list->node[i - 1], 1});
        if (node->kind == LAYER_RESIDUAL)
            node->own_output = !node->spec.frozen && graph_uses_result(&node->path[0]);
        before = before || node->trains;
    }
    return list->count > 0 && before;
}

/* ---- chains ---- */

/* Of the nodes from list's first on, those that are computed together. */
static int chain_from(const Backend *backend, const Node *first, int count)
{
    const OperatorSpec *specs[CHAIN_MAX];
    int                 n = 0;

    for (; n < count && n < CHAIN_MAX && first[n].path_count == 0; n++) specs[n] = &first[n].spec;
    return backend->chain_length(specs, n);
}

static void mark_chains(const Backend *backend, NodeList *list)
{
    for (int i = 0; i < list->count;) {
        Node *node = &list->node[i];

        for (int p = 0; p < node->path_count; p++) mark_chains(backend, &node->path[p]);
        node->chain = chain_from(backend, node, list->count - i);
        for (int k = 0; k < node->chain; k++) node[k].chained = true;
        i += node->chain > 0 ? node->chain : 1;
    }
}

/* ---- places ---- */

static void set_gradients(LayerGraph *graph, Node *node)
{
    int first = node->weight >= 0 ? node->weight : node->norm,
        last = node->norm >= 0 ? node->norm + 1 : first;

    if (first < 0) return;
    if (node->norm < 0 && node->bias) last = first + 1;
    if (node->own > 0) last = first + node->own - 1;
    node->gradients.first = graph->offset[first];
    node->gradients.count =
        graph->offset[last] + aligned(graph->parameter[last].count) - graph->offset[first];
}

/* The buffers of work memory must hold what this node writes there. */
static void grow_largest(Build *b, const Node *node, bool given)
{
    int64_t out = given ? 0 : tensor_floats(b->graph, node->spec.out),
            in = tensor_floats(b->graph, node->spec.in);

    if (!b->frozen && !node->uses_y) out = 0;
    if (!node->spec.data_gradient) in = 0;
    if (out > b->graph->largest) b->graph->largest = out;
    if (in > b->graph->largest) b->graph->largest = in;
}

/* Gives the list places from at on; returns the first free one after them. given: its last result
 * goes where the caller says. */
static int64_t place(Build *b, NodeList *list, int64_t at, bool given)
{
    for (int i = 0; i < list->count; i++) {
        Node   *node = &list->node[i];
        bool    last = given && i == list->count - 1, op = node->path_count == 0;
        int64_t kept = op ? b->backend->kept(&node->spec) : 0, start, most;

        if (op) set_gradients(b->graph, node);
        grow_largest(b, node, last);
        if (!b->frozen && !last && ((op && !node->in_place) || node->own_output)) {
            node->slot = at;
            at += tensor_floats(b->graph, node->spec.out);
        }
        if (kept > 0) {
            node->kept_slot = at;
            at += aligned(kept);
        }
        start = most = at;
        for (int p = 0; p < node->path_count; p++) {
            int64_t end =
                place(b, &node->path[p], start,
                      last && !node->own_output && (p == 0 || node->kind == LAYER_CHOICE));

            if (end > most) most = end;
            if (node->kind == LAYER_RESIDUAL) start = end;
        }
        at = most;
    }
    return b->frozen ? 0 : at;
}

/* Copies of a net's input and output's gradient in bfloat16: the first is kept, or in a buffer
 * where the net is frozen, as the second is in any case. */
static int64_t place_ends(Build *b, const Layers *layers)
{
    const Layer *last = &layers->layer[layers->count - 1];
    int64_t      in, out;

    if (!b->graph->half || layers->count == 0) return 0;
    in = b->graph->narrows ? tensor_floats(b->graph, layers->layer[0].in) : 0;
    out = tensor_floats(b->graph, b->graph->headless ? last->in : last->out);
    b->graph->largest = b->frozen ? in : out;
    return b->frozen ? 0 : in;
}

/* The head sees places, not rows of them. */
static void place_head(LayerGraph *graph)
{
    Node *head = &graph->nodes.node[graph->nodes.count - 1];

    head->spec.in = (Shape){head->spec.in.channels, 1, 1};
    head->spec.out = (Shape){head->spec.out.channels, 1, 1};
    set_gradients(graph, head);
}

int graph_build(LayerGraph *out, const Device *device, const Layers *layers, NetMode mode,
                Error *err)
{
    Build b = {.graph = out, .backend = device->backend, .frozen = mode == NET_FROZEN, .err = err};
    int   most = layers_parameters(layers);

    *out = (LayerGraph){.half = device->backend->half && device->backend->half(device),
                        .headless = mode == NET_HEADLESS};
    out->narrows = out->half && layers->count > 0 && layers->layer[0].kind != LAYER_EMBEDDING;
    out->parameter = arena_alloc(&out->arena, (size_t)most, sizeof *out->parameter);
    out->offset = arena_alloc(&out->arena, (size_t)most, sizeof *out->offset);
    if (!out->parameter || !out->offset) { error_no_memory(err); goto failed; }
    if (build_list(&b, &out->nodes, layers, 0) != 0) goto failed;
    event(&out->nodes, false);
    if (out->headless) place_head(out);
    if (b.backend->chain_length && !b.frozen) mark_chains(b.backend, &out->nodes);
    NodeList walked = graph_walked(out);
    out->kept = place(&b, &walked, place_ends(&b, layers), !out->half);
    return 0;
failed:
    graph_free(out);
    return -1;
}

void graph_free(LayerGraph *graph)
{
    arena_free(&graph->arena);
    *graph = (LayerGraph){0};
}

void graph_each(const NodeList *list, bool all, NodeVisit *visit, void *context)
{
    for (int i = 0; i < list->count; i++) {
        Node *node = &list->node[i];

        if (node->path_count == 0) visit(node, context);
        for (int p = 0; p < node->path_count; p++)
            if (all || node->kind == LAYER_RESIDUAL || p == node->taken)
                graph_each(&node->path[p], all, visit, context);
    }
}
