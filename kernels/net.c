/* Walks a graph on a device: forward, backward, update. What computes is behind the backend's
 * table.
 *
 * Trained, every node writes its result to its own place, where backward finds it. Frozen, results
 * go round among a few buffers of the device's work memory, and so do the gradients
 * of backward: a bit mask says which hold something.
 *
 * Where tensors are half (kernels/backend.h), the input is narrowed before the first node, to the
 * beginning of what is kept (frozen: to a buffer), the output is widened after the last, and so
 * with gradients. */
#include "kernels/graph.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

/* Neighbours of the outermost list that are recorded together (kernels/stream.h). */
typedef struct {
    NodeList     list;       /* nodes of the graph's */
    int64_t      ways;       /* sets of paths through it; 0: too many, it is never recorded */
    int64_t      way;        /* of the last forward */
    const float *x, *y;      /* of the last forward */
} NetPart;

struct Net {
    Device        *device;
    const Backend *backend;
    NetMode        mode;
    Shape          in, out;
    LayerGraph          graph;
    float         *weight, *gradient, *state, *statistic;
    float         *squares;  /* AdamW's; NULL: not kept */
    float         *sums;     /* of gradients, net_add_up()'s; NULL: not kept */
    float         *kept;     /* [kept_rows][graph.kept], or lent */
    int64_t        kept_rows;
    float         *work;     /* lent */
    bool           lent;
    int64_t       *prepared; /* [prepared_count] numbers of rows */
    int            prepared_count;
    GroupSum       group;
    const int     *lengths;  /* of the sequences of the next calls; NULL: whole ones */
    int           *device_lengths;       /* [length_room], the device's copy; NULL: it reads the
                                          * host's */
    int64_t        length_room;
    NetPart       *parts;    /* [part_count] */
    int            part_count;
    int            first_number;         /* of parameters, when they are drawn */
    ParameterSpan *spans;    /* [operators]: of an update */
};

/* ---- parts ---- */

/* WAYS: beyond these, a list with choices is cut where that leaves fewer. */
enum { WAYS = 8, WAYS_MAX = 1 << 20 };

static int64_t at_most_ways(int64_t ways) { return ways > WAYS_MAX ? WAYS_MAX + 1 : ways; }

/* In how many ways the list can be gone through, at most WAYS_MAX + 1. */
static int64_t ways_of(const NodeList *list)
{
    int64_t ways = 1;

    for (int i = 0; i < list->count && ways <= WAYS_MAX; i++) {
        const Node *node = &list->node[i];
        int64_t     of_choice = 0;
        for (int p = 0; p < node->path_count; p++) {
            int64_t of_path = ways_of(&node->path[p]);
            if (node->kind == LAYER_CHOICE) of_choice = at_most_ways(of_choice + of_path);
            else ways = at_most_ways(ways * of_path);
        }
        if (node->kind == LAYER_CHOICE) ways = at_most_ways(ways * of_choice);
    }
    return ways;
}

/* The number of the way that choices are. */
static int64_t way_of(const NodeList *list, const int *choices)
{
    int64_t way = 0;

    for (int i = 0; i < list->count; i++) {
        const Node *node = &list->node[i];
        int         taken = node->kind == LAYER_CHOICE ? choices[node->choice] : 0;
        int64_t     of_choice = 0, before = 0;
        for (int p = 0; p < node->path_count; p++) {
            int64_t of_path = ways_of(&node->path[p]);
            if (node->kind == LAYER_RESIDUAL) way = way * of_path + way_of(&node->path[p], choices);
            if (p < taken) before += of_path;
            of_choice += of_path;
        }
        if (node->kind == LAYER_CHOICE)
            way = way * of_choice + before + way_of(&node->path[taken], choices);
    }
    return way;
}

/* Each part as long as it has few ways; a node that has many stands alone. */
static int make_parts(Net *net)
{
    const NodeList walked = graph_walked(&net->graph), *all = &walked;

    net->parts = calloc((size_t)all->count + 1, sizeof *net->parts);
    if (!net->parts) return -1;
    for (int first = 0; first < all->count;) {
        NetPart *part = &net->parts[net->part_count++];
        part->list = (NodeList){all->node + first, 1};
        while (first + part->list.count < all->count
               && ways_of(&(NodeList){all->node + first, part->list.count + 1}) <= WAYS)
            part->list.count++;
        part->ways = ways_of(&part->list);
        if (part->ways > WAYS_MAX) part->ways = 0;
        first += part->list.count;
    }
    return 0;
}

/* ---- making ---- */

typedef struct {
    Net   *net;
    int64_t rows;
    Error *err;
    int    rc;
} Making;

static float *place_of(const Net *net, int i)
{
    return (net->graph.parameter[i].trained ? net->weight : net->statistic) + net->graph.offset[i];
}

/* Where a node's parameters are, and in a trained net their gradients. */
static OperatorParameters parameters_of(const Net *net, const Node *node)
{
    OperatorParameters p = {0};
    int                first = node->weight >= 0 ? node->weight : node->norm;

    for (int i = 0; i < node->own; i++) {
        p.own[i] = place_of(net, first + i);
        if (net->mode == NET_TRAINED)
            p.own_gradient[i] = net->gradient + net->graph.offset[first + i];
    }
    if (node->own > 0) return p;
    if (node->weight >= 0) p.weight = place_of(net, node->weight);
    if (node->bias) p.bias = place_of(net, node->weight + 1);
    if (node->norm >= 0) {
        p.norm_weight = place_of(net, node->norm);
        p.norm_bias = place_of(net, node->norm + 1);
        p.norm_mean = place_of(net, node->norm + 2);
        p.norm_variance = place_of(net, node->norm + 3);
    }
    if (first >= 0 && net->mode == NET_TRAINED) {
        p.weight_gradient = net->gradient + net->graph.offset[first];
        if (node->bias || node->norm >= 0)
            p.bias_gradient = net->gradient + net->graph.offset[first + 1];
    }
    return p;
}

static void make_operator(Node *node, void *context)
{
    Making            *making = context;
    OperatorParameters p = parameters_of(making->net, node);

    if (making->rc == 0)
        making->rc = making->net->backend->make(&node->op, making->net->device, &node->spec, &p,
                                                making->err);
}

static void free_operator(Node *node, void *context)
{
    if (node->op) ((Net *)context)->backend->free(node->op);
}

static void count_operator(Node *node, void *context)
{
    (void)node;
    ++*(int *)context;
}

static float *floats(Net *net, int64_t count)
{
    return device_alloc(net->device, (size_t)(count > 0 ? count : 1));
}

/* What floats() gave no memory for. */
static int no_floats(const Net *net, int64_t count, const char *what, Error *err)
{
    if (!net->backend->no_memory) return error_no_memory(err);
    return net->backend->no_memory(net->device, (size_t)count, what, err);
}

static int make_weights(Net *net, Error *err)
{
    bool trained = net->mode == NET_TRAINED;

    net->weight = floats(net, net->graph.trained_count);
    net->statistic = floats(net, net->graph.statistic_count);
    if (trained) {
        net->gradient = floats(net, net->graph.trained_count);
        net->state = floats(net, net->graph.trained_count);
    }
    if (net->weight && net->statistic && (!trained || (net->gradient && net->state))) return 0;
    return no_floats(
        net, (trained ? 3 : 1) * net->graph.trained_count,
        trained ? "a student's weights, gradients and momentum" : "a teacher's weights", err);
}

int net_new(Net **out, Device *device, const Layers *layers, Shape in, NetMode mode, Error *err)
{
    Net   *net = calloc(1, sizeof *net);
    Making making = {.net = net, .err = err};
    int    operators = 1;

    *out = NULL;
    if (!net) return error_no_memory(err);
    net->device = device;
    net->backend = device->backend;
    net->mode = mode == NET_FROZEN ? NET_FROZEN : NET_TRAINED;
    net->in = in;
    net->out = layers->count > 0 ? layers->layer[layers->count - 1].out : in;
    if (mode == NET_HEADLESS) net->out = layers->layer[layers->count - 1].in;
    if (graph_build(&net->graph, device, layers, mode, err) != 0) { free(net); return -1; }
    graph_each(&net->graph.nodes, true, count_operator, &operators);
    net->spans = calloc((size_t)operators, sizeof *net->spans);
    making.rc = !net->spans || make_parts(net) != 0 ? error_no_memory(err) : make_weights(net, err);
    graph_each(&net->graph.nodes, true, make_operator, &making);
    if (making.rc != 0) { net_free(net); return -1; }
    *out = net;
    return 0;
}

void net_free(Net *net)
{
    if (!net) return;
    if (device_is_async(net->device)) replay_forget(net->device, net);
    graph_each(&net->graph.nodes, true, free_operator, net);
    graph_free(&net->graph);
    device_release(net->device, net->weight);
    device_release(net->device, net->statistic);
    device_release(net->device, net->gradient);
    device_release(net->device, net->state);
    device_release(net->device, net->squares);
    device_release(net->device, net->sums);
    device_release(net->device, (float *)(void *)net->device_lengths);
    if (!net->lent) device_release(net->device, net->kept);
    free(net->prepared);
    free(net->parts);
    free(net->spans);
    free(net);
}

/* ---- preparing ---- */

/* Buffers: one that is read, one that is written, and one for each residual around. */
static int buffer_count(const LayerGraph *graph)
{
    return 2 + graph->depth;
}

static bool is_prepared(const Net *net, int64_t rows)
{
    for (int i = 0; i < net->prepared_count; i++)
        if (net->prepared[i] == rows) return true;
    return false;
}

static void operators_of(Operator **ops, const Node *first)
{
    for (int i = 0; i < first->chain; i++) ops[i] = first[i].op;
}

static void prepare_operator(Node *node, void *context)
{
    Making   *making = context;
    Operator *ops[CHAIN_MAX];

    if (making->rc != 0) return;
    if (node->chain > 0) {
        operators_of(ops, node);
        making->rc = making->net->backend->chain_prepare(ops, node->chain, making->rows,
                                                         making->err);
    } else if (!node->chained)
        making->rc = making->net->backend->prepare(node->op, making->rows, making->err);
}

static int grow_kept(Net *net, int64_t rows, Error *err)
{
    float *more;

    if (net->lent || net->mode == NET_FROZEN || rows <= net->kept_rows) return 0;
    more = floats(net, rows * net->graph.kept);
    if (!more) return no_floats(net, rows * net->graph.kept, "activations", err);
    device_release(net->device, net->kept);
    net->kept = more;
    net->kept_rows = rows;
    return 0;
}

/* What was recorded before has forgotten its memory: net_prepare(). */
static int grow_lengths(Net *net, int64_t rows, Error *err)
{
    int *more;

    if (!net->backend->put_ints || rows <= net->length_room) return 0;
    more = (int *)(void *)floats(net, rows);
    if (!more) return no_floats(net, rows, "lengths of sequences", err);
    device_release(net->device, (float *)(void *)net->device_lengths);
    net->device_lengths = more;
    net->length_room = rows;
    return 0;
}

static int grow_work(const Net *net, int64_t rows, Error *err)
{
    if (net->lent) return 0;
    return net->backend->reserve(net->device, buffer_count(&net->graph) * net->graph.largest * rows,
                                 err);
}

int net_prepare(Net *net, int64_t rows, Error *err)
{
    Making   making = {.net = net, .rows = rows, .err = err};
    int64_t *more;

    if (rows < 1)
        return error_set(err, "a net for %lld rows: expected at least 1", (long long)rows);
    if (is_prepared(net, rows)) return 0;
    /* memory that all share may move */
    if (device_is_async(net->device)) replay_forget(net->device, NULL);
    more = realloc(net->prepared, (size_t)(net->prepared_count + 1) * sizeof *more);
    if (!more) return error_no_memory(err);
    net->prepared = more;
    if (grow_kept(net, rows, err) != 0 || grow_work(net, rows, err) != 0
        || grow_lengths(net, rows, err) != 0)
        return -1;
    NodeList walked = graph_walked(&net->graph);
    graph_each(&walked, true, prepare_operator, &making);
    if (making.rc != 0) return -1;
    net->prepared[net->prepared_count++] = rows;
    return 0;
}

int net_needs(NetNeeds *out, const Device *device, const Layers *layers, NetMode mode, Error *err)
{
    LayerGraph graph;

    *out = (NetNeeds){0};
    if (graph_build(&graph, device, layers, mode, err) != 0) return -1;
    *out = (NetNeeds){mode != NET_FROZEN ? graph.kept : 0, buffer_count(&graph) * graph.largest};
    graph_free(&graph);
    return 0;
}

void net_lend(Net *net, float *kept, float *work)
{
    if (!net->lent) device_release(net->device, net->kept);
    if (device_is_async(net->device)) replay_forget(net->device, net);
    net->lent = true;
    net->kept = kept;
    net->work = work;
}

/* ---- parameters ---- */

int net_parameter_count(const Net *net) { return net->graph.parameter_count; }

const NetParameter *net_parameter(const Net *net, int i) { return &net->graph.parameter[i]; }

void net_read(const Net *net, int i, float *out)
{
    net->backend->fetch(net->device, out, place_of(net, i), net->graph.parameter[i].count);
}

static void changed(Node *node, void *context)
{
    ((Net *)context)->backend->changed(node->op);
}

void net_write(Net *net, int i, const float *values)
{
    net->backend->put(net->device, place_of(net, i), values, net->graph.parameter[i].count);
    /* what was recorded uses copies of the old ones */
    if (device_is_async(net->device)) replay_forget(net->device, net);
    graph_each(&net->graph.nodes, true, changed, net);
}

void net_read_state(const Net *net, int i, float *out)
{
    assert(net->graph.parameter[i].trained && net->state);
    net->backend->fetch(net->device, out, net->state + net->graph.offset[i],
                        net->graph.parameter[i].count);
}

void net_write_state(Net *net, int i, const float *values)
{
    assert(net->graph.parameter[i].trained && net->state);
    net->backend->put(net->device, net->state + net->graph.offset[i], values,
                      net->graph.parameter[i].count);
}

enum { INITIAL_FLOATS = 1 << 14 };

typedef struct {
    Net     *net;
    uint64_t seed, stream;
    float    chunk[INITIAL_FLOATS];      /* large, as each is a copy that a GPU is waited for */
} Initial;

int net_keep_squares(Net *net, Error *err)
{
    if (net->squares) return 0;
    net->squares = floats(net, net->graph.trained_count);
    return net->squares ? 0
                        : no_floats(net, net->graph.trained_count, "AdamW's mean of squares", err);
}

bool net_keeps_squares(const Net *net) { return net->squares; }

void net_read_squares(const Net *net, int i, float *out)
{
    assert(net->graph.parameter[i].trained && net->squares);
    net->backend->fetch(net->device, out, net->squares + net->graph.offset[i],
                        net->graph.parameter[i].count);
}

void net_write_squares(Net *net, int i, const float *values)
{
    assert(net->graph.parameter[i].trained && net->squares);
    net->backend->put(net->device, net->squares + net->graph.offset[i], values,
                      net->graph.parameter[i].count);
}

/* Number k of parameter i: uniform in -bound..bound, normal of that deviation, or value where bound
 * is 0. */
static float draw(const Initial *init, int i, int64_t k, double bound, bool normal, float value)
{
    if (!(bound > 0.0)) return value;
    uint64_t number = (uint64_t)(i + init->net->first_number);

    if (normal) return (float)(bound * rng_normal(init->seed, init->stream, number, (uint64_t)k));
    return (float)((2.0 * rng_uniform(init->seed, init->stream, number, (uint64_t)k) - 1.0)
                   * bound);
}

static void fill_with(Initial *init, int i, double bound, bool normal, float value)
{
    const Net *net = init->net;
    int64_t    count = net->graph.parameter[i].count;
    float     *to = place_of(net, i);

    for (int64_t done = 0; done < count;) {
        int64_t n = count - done < INITIAL_FLOATS ? count - done : INITIAL_FLOATS;

        for (int64_t k = 0; k < n; k++)
            init->chunk[k] = draw(init, i, done + k, bound, normal, value);
        net->backend->put(net->device, to + done, init->chunk, n);
        done += n;
    }
}

/* Uniform in -bound..bound, or value where bound is 0. */
static void fill(Initial *init, int i, double bound, float value)
{
    fill_with(init, i, bound, false, value);
}
static void fill_normal(Initial *init, int i, double deviation)
{
    fill_with(init, i, deviation, true, 0.0f);
}

/* Embeddings and class tokens: normal, with the deviation of 0.02 that GPT-2 and BERT start with;
 * norms: 1 and 0. */
static void initialise_own(Initial *init, const Node *node)
{
    for (int i = node->weight; i < node->weight + node->own; i++) {
        if (net_parameter(init->net, i)->rank == 2) fill_normal(init, i, 0.02);
        else
            fill(init, i, 0.0,
                 node->spec.kind == LAYER_LAYERNORM && i > node->weight ? 0.0f : 1.0f);
    }
}

static void initialise_node(Node *node, void *context)
{
    Initial *init = context;

    if (node->own > 0) initialise_own(init, node);
    else if (node->weight >= 0) {
        const NetParameter *p = net_parameter(init->net, node->weight);
        double              bound = 1.0 / sqrt((double)(p->count / p->dim[0]));

        fill(init, node->weight, bound, 0.0f);
        if (node->bias) fill(init, node->weight + 1, bound, 0.0f);
    }
    for (int k = 0; node->norm >= 0 && k < 4; k++)       /* weight, bias, mean, variance */
        fill(init, node->norm + k, 0.0, k == 0 || k == 3 ? 1.0f : 0.0f);
}

void net_number_from(Net *net, int first) { net->first_number = first; }

struct Operator *net_head(const Net *net, bool *wants_dx)
{
    const Node *head = &net->graph.nodes.node[net->graph.nodes.count - 1];

    assert(net->graph.headless && head->kind == LAYER_LINEAR);
    *wants_dx = head->needs_dx;
    return head->op;
}

void net_initialise(Net *net, uint64_t seed, uint64_t stream)
{
    Initial init;

    init.net = net;
    init.seed = seed;
    init.stream = stream;

    graph_each(&net->graph.nodes, true, initialise_node, &init);
    graph_each(&net->graph.nodes, true, changed, net);
}

/* ---- walking ---- */

typedef struct {
    Net       *net;
    int64_t    rows;
    const int *choices;
    Error     *err;
    bool       replayed;     /* the work is enqueued already: only where results are is found out */
} NetStep;

static float *buffer(const NetStep *s, int i)
{
    float *work = s->net->lent ? s->net->work : s->net->backend->work(s->net->device);

    return work + i * s->net->graph.largest * s->rows;
}

/* The bit of the buffer that p is, 0 where it is none. */
static unsigned bit_of(const NetStep *s, const float *p)
{
    for (int i = 0; i < buffer_count(&s->net->graph); i++)
        if (buffer(s, i) == p) return 1u << i;
    return 0;
}

static float *free_buffer(const NetStep *s, unsigned used)
{
    for (int i = 0; i < buffer_count(&s->net->graph); i++)
        if (!(used & 1u << i)) return buffer(s, i);
    assert(!"buffer_count() says how many are needed");
    return NULL;
}

static OperatorCall call_of(const NetStep *s, const Node *node)
{
    Net *net = s->net;

    return (OperatorCall){.rows = s->rows, .x = node->x, .y = node->y, .group = net->group,
                          .lengths = net->lengths && net->device_lengths ? net->device_lengths
                                                                         : net->lengths,
                          .kept =
                              node->kept_slot < 0 ? NULL : net->kept + node->kept_slot * s->rows};
}

/* count: numbers of a tensor. */
static void copy_rows(const NetStep *s, float *to, const float *from, int64_t count)
{
    if (!s->replayed)
        s->net->backend->copy(s->net->device, to, from,
                              s->net->graph.half ? (count + 1) / 2 : count);
}

static void add_rows(const NetStep *s, float *to, const float *from, int64_t count)
{
    if (!s->replayed) s->net->backend->add(s->net->device, to, from, count);
}

static const float *forward_list(const NetStep *s, NodeList *list, const float *x, float *to,
                                 unsigned used);

/* Where the node may write: to, its place, or a buffer. */
static float *target(const NetStep *s, const Node *node, float *to, unsigned used)
{
    if (to) return to;
    if (s->net->mode == NET_TRAINED) return s->net->kept + node->slot * s->rows;
    return free_buffer(s, used);
}

static const float *forward_operator(const NetStep *s, Node *node, const float *x, float *to,
                                     unsigned used)
{
    OperatorCall call;

    node->x = x;
    node->y =
        node->in_place && !to ? (float *)(uintptr_t)x : target(s, node, to, used | bit_of(s, x));
    if (s->replayed) return node->y;
    call = call_of(s, node);
    return s->net->backend->forward(node->op, &call, s->err) == 0 ? node->y : NULL;
}

/* Of first's chain. */
static const float *forward_chain(const NetStep *s, Node *first, const float *x, float *to,
                                  unsigned used)
{
    int          count = first->chain;
    OperatorCall calls[CHAIN_MAX];
    Operator    *ops[CHAIN_MAX];
    float       *y = NULL;

    for (int i = 0; i < count; i++) {
        Node *node = &first[i];

        node->x = i == 0 ? x : y;
        y = node->y = target(s, node, i == count - 1 ? to : NULL, used);
        calls[i] = call_of(s, node);
    }
    if (s->replayed) return y;
    operators_of(ops, first);
    return s->net->backend->chain_forward(ops, calls, count, s->err) == 0 ? y : NULL;
}

/* The input, or what the shortcut makes of it, is added to the body's result. */
static const float *forward_residual(const NetStep *s, Node *node, const float *x, float *to,
                                     unsigned used)
{
    int64_t      count = s->rows * shape_count(node->spec.out);
    const float *body = forward_list(s, &node->path[0], x, node->own_output ? NULL : to,
                                     used | bit_of(s, x)),
                *other = x;
    float       *y = (float *)(uintptr_t)body;

    if (!body) return NULL;
    if (node->path_count > 1)
        other = forward_list(s, &node->path[1], x, NULL, used | bit_of(s, body));
    if (!other) return NULL;
    if (node->own_output || body == x) {
        y = target(s, node, to, used | bit_of(s, other) | bit_of(s, body));
        copy_rows(s, y, body, count);
    }
    add_rows(s, y, other, count);
    return y;
}

/* to: where the last node writes, NULL: anywhere. used: buffers that must stay as they are. */
static const float *forward_list(const NetStep *s, NodeList *list, const float *x, float *to,
                                 unsigned used)
{
    for (int i = 0; i < list->count && x; i++) {
        Node  *node = &list->node[i];
        int    last = node->chain > 0 ? i + node->chain - 1 : i;
        float *there = last == list->count - 1 ? to : NULL;

        if (node->chain > 0) {
            x = forward_chain(s, node, x, there, used);
            i = last;
        } else if (node->kind == LAYER_RESIDUAL) x = forward_residual(s, node, x, there, used);
        else if (node->kind == LAYER_CHOICE) {
            node->taken = s->choices[node->choice];
            x = forward_list(s, &node->path[node->taken], x, there, used);
        } else x = forward_operator(s, node, x, there, used);
    }
    return x;
}

/* dy of a list's result. keep: somebody else reads it afterwards. */
typedef struct {
    float *dy;
    bool   keep;
} IncomingGradient;

/* Each gives the gradient of its input in *out (NULL where nothing before trains). */
static int backward_list(const NetStep *s, NodeList *list, IncomingGradient in, unsigned used,
                         float **out);

/* Whether work of the net is recorded: sums over a group stop in the middle of it. */
static bool is_recorded(const Net *net) { return device_is_async(net->device) && !net->group.sum; }

/* One part, forward or (dy) backward; *out is its result, NULL after an error. Returns -1 then. */
static int run_part(NetStep *s, NetPart *part, const float *x, float *to, float *dy, float **out)
{
    Net      *net = s->net;
    ReplayKey key = {.owner = part->ways ? net : NULL,
                     .part = 4 * (int)(part - net->parts) + 2 * (net->lengths != NULL)
                             + (dy != NULL),
                     .rows = s->rows,
                     .path = part->way, .x = part->x, .y = part->y, .more = dy};
    int replayed = is_recorded(net) ? replay_begin(net->device, &key, s->err) : 0, rc, again = 0;

    if (replayed < 0) return -1;
    while (true) {                       /* a second time where it could not be recorded */
        s->replayed = replayed == 1;
        if (dy) rc = backward_list(s, &part->list, (IncomingGradient){dy, false}, 0, out);
        else    rc = (*out = (float *)(uintptr_t)forward_list(s, &part->list, x, to, 0)) ? 0 : -1;
        s->replayed = false;
        if (is_recorded(net) && replayed == 0) again = replay_end(net->device, rc != 0, s->err);
        if (again != 1) break;
        graph_each(&part->list, true, changed, net);     /* what was put in order for it never
                                                          * was */
        if (s->err) s->err->text[0] = '\0';
    }
    return again < 0 ? -1 : rc;
}

static const float *forward_parts(NetStep *s, const float *x, float *y)
{
    for (int i = 0; i < s->net->part_count; i++) {
        NetPart  *part = &s->net->parts[i];
        /* y: NULL where it is widened afterwards */
        float *to = i == s->net->part_count - 1 ? y : NULL, *out;

        part->way = part->ways > 1 && is_recorded(s->net) ? way_of(&part->list, s->choices) : 0;
        part->x = x;
        part->y = to;
        if (run_part(s, part, x, to, NULL, &out) != 0) return NULL;
        x = out;
    }
    return x;
}

static int check_choices(const Net *net, const NodeList *list, const int *choices, Error *err)
{
    for (int i = 0; i < list->count; i++) {
        const Node *node = &list->node[i];

        if (node->kind == LAYER_CHOICE
            && (choices[node->choice] < 0 || choices[node->choice] >= node->path_count))
            return error_set(err, "choice %s: path %d, expected 0 to %d", node->name,
                             choices[node->choice], node->path_count - 1);
        for (int p = 0; p < node->path_count; p++)
            if (check_choices(net, &node->path[p], choices, err) != 0) return -1;
    }
    return 0;
}

int net_forward(Net *net, const float *x, float *y, int64_t rows, const int *choices, Error *err)
{
    NetStep         s = {.net = net, .rows = rows, .choices = choices, .err = err};
    const float *result;

    if (!is_prepared(net, rows))
        return error_set(err, "a net is not prepared for %lld rows", (long long)rows);
    if (net->graph.choice_count > 0) {
        if (!choices)
            return error_set(err, "a net of %d choices: no path is chosen",
                             net->graph.choice_count);
        if (check_choices(net, &net->graph.nodes, choices, err) != 0) return -1;
    }
    if (net->lengths && net->device_lengths)
        net->backend->put_ints(net->device, net->device_lengths, net->lengths, rows);
    if (net->graph.narrows) {
        float *narrow = net->mode == NET_TRAINED ? net->kept : buffer(&s, 0);

        net->backend->narrow(net->device, narrow, x, rows * shape_count(net->in));
        x = narrow;
    }
    result = forward_parts(&s, x, net->graph.half ? NULL : y);
    if (!result) return -1;
    if (net->graph.half) net->backend->widen(net->device, y, result, rows * shape_count(net->out));
    else if (result != y) net->backend->copy(net->device, y, result, rows * shape_count(net->out));
    return 0;
}

/* ---- backward ---- */

static int backward_operator(const NetStep *s, Node *node, IncomingGradient in, unsigned used,
                             float **out)
{
    const Backend *backend = s->net->backend;
    bool           norm = node->kind == LAYER_BATCHNORM;
    bool           same = !in.keep && operator_in_place(node->spec.kind);
    bool           cuts = in.keep && !norm && node->spec.activation != ACTIVATION_NONE
                && node->spec.kind != LAYER_RELU;
    OperatorCall   call = call_of(s, node);

    call.dy = in.dy;
    used |= bit_of(s, in.dy);
    if (cuts) {                                          /* it cuts dy in place */
        call.dy = free_buffer(s, used);
        used |= bit_of(s, call.dy);
        copy_rows(s, call.dy, in.dy, s->rows * shape_count(node->spec.out));
    }
    call.dx = !node->needs_dx ? NULL : same ? in.dy : free_buffer(s, used);
    *out = call.dx;
    return s->replayed ? 0 : backend->backward(node->op, &call, s->err);
}

/* Of first's chain. Gradients of norms' results take turns in two buffers. */
static int backward_chain(const NetStep *s, Node *first, IncomingGradient in, unsigned used,
                          float **out)
{
    int          count = first->chain;
    OperatorCall calls[CHAIN_MAX];
    Operator    *ops[CHAIN_MAX];
    float       *dy = in.dy;

    if (in.keep) used |= bit_of(s, in.dy);
    for (int i = count - 1; i >= 0; i--) {
        Node *node = &first[i];

        calls[i] = call_of(s, node);
        if (node->kind == LAYER_BATCHNORM) { calls[i].dy = dy; continue; }
        dy = node->needs_dx ? free_buffer(s, used | bit_of(s, dy)) : NULL;
        calls[i].dx = dy;
    }
    *out = dy;
    if (s->replayed) return 0;
    operators_of(ops, first);
    return s->net->backend->chain_backward(ops, calls, count, s->err);
}

/* The body's gradient at the input and that of the shortcut are added; dy itself where there is
 * none. */
static int backward_residual(const NetStep *s, Node *node, IncomingGradient in, unsigned used,
                             float **out)
{
    int64_t  count = s->rows * shape_count(node->spec.in);
    bool     projected = node->path_count > 1;
    unsigned mine = used | bit_of(s, in.dy);
    float   *dx = NULL, *other = in.dy;

    if (backward_list(s, &node->path[0],
                      (IncomingGradient){in.dy, node->needs_dx || projected || in.keep}, mine, &dx)
        != 0)
        return -1;
    if (projected) {
        bool keep = in.keep || dx == in.dy;
        if (backward_list(s, &node->path[1], (IncomingGradient){in.dy, keep},
                          (keep ? mine : used) | bit_of(s, dx), &other)
            != 0)
            return -1;
    }
    *out = NULL;
    if (!node->needs_dx) return 0;
    if (dx == in.dy) {                                   /* the body gave its input */
        dx = free_buffer(s, mine | bit_of(s, other));
        copy_rows(s, dx, in.dy, count);
    }
    add_rows(s, dx, other, count);
    *out = dx;
    return 0;
}

/* The last node first, as far as one before it trains. */
static int backward_list(const NetStep *s, NodeList *list, IncomingGradient in, unsigned used,
                         float **out)
{
    for (int i = list->count - 1; i >= 0; i--) {
        Node  *node = &list->node[i];
        float *dx = NULL;
        int    rc;

        if (!node->trains && !node->needs_dx) { in.dy = NULL; break; }
        if (node->chained) {
            while (node->chain == 0) { node--; i--; }
            rc = backward_chain(s, node, in, used, &dx);
        } else if (node->kind == LAYER_RESIDUAL) rc = backward_residual(s, node, in, used, &dx);
        else if (node->kind == LAYER_CHOICE)
            rc = backward_list(s, &node->path[node->taken], in, used, &dx);
        else rc = backward_operator(s, node, in, used, &dx);
        if (rc != 0) return -1;
        in.keep = in.keep && dx == in.dy;
        in.dy = dx;
        if (!dx) break;
    }
    *out = in.dy;
    return 0;
}

int net_backward(Net *net, float *dy, int64_t rows, Error *err)
{
    NetStep   s = {.net = net, .rows = rows, .err = err};

    if (net->mode != NET_TRAINED) return error_set(err, "a frozen net has no backward");
    if (!is_prepared(net, rows))
        return error_set(err, "a net is not prepared for %lld rows", (long long)rows);
    if (net->graph.half) {
        net->backend->narrow(net->device, buffer(&s, 0), dy, rows * shape_count(net->out));
        dy = buffer(&s, 0);
    }
    for (int i = net->part_count - 1; i >= 0 && dy; i--)
        if (run_part(&s, &net->parts[i], NULL, NULL, dy, &dy) != 0) return -1;
    return 0;
}

/* ---- gradients, update ---- */

typedef struct {
    const Net   *net;
    GradientRun *run;
    int          capacity, count;
    ParameterSpan last;
} BranchRuns;

/* Neighbours become one run. */
static void add_run(Node *node, void *context)
{
    BranchRuns          *runs = context;
    ParameterSpan *last = &runs->last;

    if (node->gradients.count == 0) return;
    if (runs->count > 0 && last->first + last->count == node->gradients.first)
        last->count += node->gradients.count;
    else { *last = node->gradients; runs->count++; }
    if (runs->count <= runs->capacity)
        runs->run[runs->count - 1] = (GradientRun){runs->net->gradient + last->first, last->count};
}

int net_gradients(const Net *net, GradientRun *runs, int capacity)
{
    BranchRuns found = {.net = net, .run = runs, .capacity = capacity};

    graph_each(&net->graph.nodes, false, add_run, &found);
    return found.count;
}

int net_keep_sums(Net *net, Error *err)
{
    if (net->sums) return 0;
    net->sums = floats(net, net->graph.trained_count);
    return net->sums ? 0 : no_floats(net, net->graph.trained_count, "sums of gradients", err);
}

typedef struct {
    const Net *net;
    bool       first, last;
} AddUp;

static void add_up(Node *node, void *context)
{
    const AddUp *a = context;
    int64_t      count = node->gradients.count;
    float       *gradient = a->net->gradient + node->gradients.first,
          *sum = a->net->sums + node->gradients.first;

    if (count == 0) return;
    if (a->first) a->net->backend->copy(a->net->device, sum, gradient, count);
    else
        (a->net->backend->add_floats ? a->net->backend->add_floats : a->net->backend->add)(
            a->net->device, a->last ? gradient : sum, a->last ? sum : gradient, count);
}

void net_add_up(Net *net, bool first, bool last)
{
    AddUp a = {net, first, last};

    if (!(first && last)) graph_each(&net->graph.nodes, false, add_up, &a);
}

typedef struct {
    Net *net;
    int  count;
} Update;

/* Neighbours become one span. */
static void add_span(Node *node, void *context)
{
    Update        *update = context;
    ParameterSpan *spans = update->net->spans,
                  *last = update->count > 0 ? &spans[update->count - 1] : NULL;

    if (node->gradients.count == 0) return;
    if (last && last->first + last->count == node->gradients.first)
        last->count += node->gradients.count;
    else spans[update->count++] = node->gradients;
    update->net->backend->changed(node->op);
}

/* What gradients are multiplied by so that their norm keeps within clip
 * (torch.nn.utils.clip_grad_norm_). */
static float clip_scale(const Net *net, int spans, float clip)
{
    double norm;

    if (!(clip > 0.0f) || net->backend->clips) return 1.0f;
    norm = sqrt(net->backend->squares(net->device, net->gradient, net->spans, spans));
    return norm + 1e-6 > (double)clip ? (float)((double)clip / (norm + 1e-6)) : 1.0f;
}

void net_update(Net *net, const UpdateStep *step)
{
    Update     update = {.net = net};
    UpdateStep scaled = *step;

    graph_each(&net->graph.nodes, false, add_span, &update);
    scaled.scale = clip_scale(net, update.count, step->clip);
    if (step->optimizer == OPTIMIZER_ADAMW)
        net->backend->adamw(net->device, net->weight, net->gradient, net->state, net->squares,
                            net->spans, update.count, &scaled);
    else
        net->backend->sgd(net->device, net->weight, net->gradient, net->state, net->spans,
                          update.count, &scaled);
}

void net_set_lengths(Net *net, const int *lengths) { net->lengths = lengths; }

void net_check_finite(Net *net, double *flag)
{
    const Backend *backend = net->backend;

    backend->check_finite(net->device, net->weight, net->graph.trained_count, flag);
    backend->check_finite(net->device, net->state, net->graph.trained_count, flag);
    if (net->squares)
        backend->check_finite(net->device, net->squares, net->graph.trained_count, flag);
    backend->check_finite(net->device, net->statistic, net->graph.statistic_count, flag);
}

void net_synchronise(Net *net, NetSum *sum, void *context)
{
    net->group = (GroupSum){sum, context};
}

/* ---- bytes ---- */

typedef struct {
    const Net *net;
    int64_t    rows, weight, scratch;
} Sizes;

static void add_bytes(Node *node, void *context)
{
    Sizes        *sizes = context;
    OperatorBytes bytes = sizes->net->backend->bytes(node->op, sizes->rows);
    Operator     *ops[CHAIN_MAX];

    if (node->chain > 0 && sizes->rows > 0) {
        operators_of(ops, node);
        bytes.scratch = sizes->net->backend->chain_scratch(ops, node->chain, sizes->rows);
    }
    sizes->weight += bytes.weight;
    if (bytes.scratch > sizes->scratch) sizes->scratch = bytes.scratch;
}

NetBytes net_bytes(const Net *net, int64_t rows)
{
    const LayerGraph *graph = &net->graph;
    Sizes        sizes = {.net = net, .rows = rows};
    int64_t      each = (int64_t)sizeof(float),
        trained = net->mode == NET_TRAINED ? graph->trained_count * each : 0;

    graph_each(&graph->nodes, true, add_bytes, &sizes);
    return (NetBytes){.weight =
                          (graph->trained_count + graph->statistic_count) * each + sizes.weight,
                      .gradient = trained,
                      .state = net->squares ? 2 * trained : trained,
                      .sums = net->sums ? graph->trained_count * each : 0,
                      .activation = net->mode == NET_TRAINED ? rows * graph->kept * each : 0,
                      .work = buffer_count(graph) * graph->largest * rows * each + sizes.scratch};
}
