/* Levels: a node that leads to the last output has the length of its longest way there, so a branch
 * stands right before where it joins, and an early input to a late node does not keep the chain
 * from being cut. Another one (an output beside it) has the level of the lowest node before it, and
 * stands behind that node. */
#include <stdlib.h>
#include <string.h>

#include "traces/import/import_graph.h"

typedef struct {
    ImportGraph     *graph;
    const GraphEdge *edges;
    size_t           edge_count;
    bool            *gone;       /* [count] dropped */
    int             *in, *out;   /* [count] edges of nodes that are not dropped */
    int             *order;      /* [left] nodes */
    int             *level, *side;       /* [count] side: 0 leads to the last output */
    int              left, last;
    bool             staged;     /* stages grow along all edges, so they may tell the order */
} GraphOrder;

/* ---- what is dropped -------------------------------------------------------------------- */

static void count_degrees(GraphOrder *o)
{
    size_t n = (size_t)o->graph->count;

    memset(o->in, 0, n * sizeof *o->in);
    memset(o->out, 0, n * sizeof *o->out);
    for (size_t e = 0; e < o->edge_count; e++)
        if (!o->gone[o->edges[e].from] && !o->gone[o->edges[e].to]) {
            o->out[o->edges[e].from]++;
            o->in[o->edges[e].to]++;
        }
}

static bool is_input(const GraphNode *node) { return strncmp(node->description, "Input", 5) == 0; }

/* The one source that is an input stays, as what later nodes read of it passes through the
 * chain. */
static void drop_inputs(GraphOrder *o)
{
    const ImportGraph *g = o->graph;
    int                sources = 0;

    for (int i = 0; i < g->count; i++) sources += o->in[i] == 0;
    for (int i = 0; i < g->count; i++)
        o->gone[i] = sources > 1 && o->in[i] == 0 && is_input(&g->nodes[i]);
    count_degrees(o);
}

static bool may_drop(const GraphNode *node)
{
    return strncmp(node->description, "__getitem__", 11) == 0
        || (node->forward_ms <= 0 && node->backward_ms <= 0 && node->parameter_bytes <= 0);
}

static void find_last(GraphOrder *o)
{
    int any = -1;

    o->last = -1;
    for (int i = 0; i < o->graph->count; i++) {
        if (o->gone[i] || o->out[i] > 0) continue;
        any = i;
        if (!may_drop(&o->graph->nodes[i])) o->last = i;
    }
    if (o->last < 0) o->last = any;
}

/* ---- order --------------------------------------------------------------------------------- */

/* Any order in which edges point forward (Kahn). first[i] is the first edge out of node i, by_from
 * their numbers. */
static int sort_topologically(GraphOrder *o, const size_t *first, const int *by_from, int *queue,
                              Error *err)
{
    const ImportGraph *g = o->graph;
    int                head = 0, tail = 0;

    for (int i = 0; i < g->count; i++)
        if (!o->gone[i] && o->in[i] == 0) queue[tail++] = i;
    for (; head < tail; head++)
        for (size_t e = first[queue[head]]; e < first[queue[head] + 1]; e++) {
            int to = o->edges[by_from[e]].to;
            if (!o->gone[to] && --o->in[to] == 0) queue[tail++] = to;
        }
    for (int i = 0; i < g->count; i++)
        if (!o->gone[i] && o->in[i] > 0)
            return graph_fail(g, i, err, "node \"%s\" is in or behind a cycle", g->nodes[i].id);
    o->left = tail;
    return 0;
}

/* From the end, so that what only dropped nodes use is dropped too. */
static void drop_outputs(GraphOrder *o, const size_t *first, const int *by_from)
{
    int left = 0;

    for (int k = o->left - 1; k >= 0; k--) {
        int  node = o->order[k];
        bool used = node == o->last || !may_drop(&o->graph->nodes[node]);
        for (size_t e = first[node]; e < first[node + 1] && !used; e++)
            used = !o->gone[o->edges[by_from[e]].to];
        o->gone[node] = !used;
    }
    for (int k = 0; k < o->left; k++)
        if (!o->gone[o->order[k]]) o->order[left++] = o->order[k];
    o->left = left;
}

/* Sets level and side of every node that is left, as the head of this file defines them. Needs
 * order to be topological: lengths of ways are found from the end backwards, sides from the front.
 * first, by_from: edges by the node that they leave. */
static void set_levels(GraphOrder *o, const size_t *first, const int *by_from)
{
    for (int i = 0; i < o->graph->count; i++) o->level[i] = -1;
    o->level[o->last] = 0;
    for (int k = o->left - 1; k >= 0; k--)               /* ways to the last output */
        for (size_t e = first[o->order[k]]; e < first[o->order[k] + 1]; e++) {
            int to = o->edges[by_from[e]].to;
            if (!o->gone[to] && o->level[to] >= 0 && o->level[to] + 1 > o->level[o->order[k]])
                o->level[o->order[k]] = o->level[to] + 1;
        }
    for (int i = 0; i < o->graph->count; i++) o->side[i] = o->level[i] < 0;
    for (int k = 0; k < o->left; k++) {                  /* what does not lead there */
        int from = o->order[k];
        if (o->level[from] < 0) o->level[from] = o->graph->count;        /* a source of its own */
        for (size_t e = first[from]; e < first[from + 1]; e++) {
            int to = o->edges[by_from[e]].to;
            if (o->gone[to] || !o->side[to]) continue;
            bool lower = o->level[to] < 0 || o->level[from] < o->level[to];
            if (lower) o->level[to] = o->level[from];
            if (lower || (o->level[from] == o->level[to] && o->side[from] >= o->side[to]))
                o->side[to] = o->side[from] + 1;
        }
    }
}

static int by_level(const void *a, const void *b, void *order)
{
    const GraphOrder *o = order;
    int          x = *(const int *)a, y = *(const int *)b;
    const GraphNode *nodes = o->graph->nodes;

    if (o->staged && nodes[x].stage != nodes[y].stage)
        return nodes[x].stage < nodes[y].stage ? -1 : 1;
    if (o->level[x] != o->level[y]) return o->level[x] > o->level[y] ? -1 : 1;
    if (o->side[x] != o->side[y]) return o->side[x] < o->side[y] ? -1 : 1;
    return x - y;
}

/* All but an input have a stage, and no edge leads back to an earlier one. */
static bool stages_grow(const GraphOrder *o)
{
    const GraphNode *nodes = o->graph->nodes;

    for (int k = 0; k < o->left; k++)
        if (nodes[o->order[k]].stage < 0 && !is_input(&nodes[o->order[k]])) return false;
    for (size_t e = 0; e < o->edge_count; e++) {
        int from = o->edges[e].from, to = o->edges[e].to;
        if (!o->gone[from] && !o->gone[to] && nodes[from].stage > nodes[to].stage) return false;
    }
    return true;
}

/* ---- the chain ------------------------------------------------------------------------------- */

/* Finds cuts: a place that some edge jumps over is none. */
static int lay_out(GraphOrder *o, Arena *arena, Error *err)
{
    ImportGraph *g = o->graph;
    size_t       n = (size_t)g->count;
    GraphNode   *nodes = arena_alloc(arena, n, sizeof *nodes);
    int         *over = arena_alloc(arena, n + 1, sizeof *over),
        *place = arena_alloc(arena, n, sizeof *place), jumping = 0;

    g->cut = arena_alloc(arena, n, sizeof *g->cut);
    g->input_bytes = arena_alloc(arena, n, sizeof *g->input_bytes);
    if (!nodes || !over || !place || !g->cut || !g->input_bytes) return error_no_memory(err);
    g->dropped = nodes + o->left;
    for (int k = 0; k < o->left; k++) {
        nodes[k] = g->nodes[o->order[k]];
        place[o->order[k]] = k;
    }
    for (int inputs = 1; inputs >= 0; inputs--)
        for (int i = 0; i < g->count; i++)
            if (o->gone[i] && is_input(&g->nodes[i]) == (inputs == 1)) {
                g->dropped[g->dropped_count++] = g->nodes[i];
                g->dropped_inputs += inputs;
            }
    for (size_t e = 0; e < o->edge_count; e++) {
        int from = o->edges[e].from, to = o->edges[e].to;
        if (!o->gone[to]) g->input_bytes[place[to]] += g->nodes[from].activation_bytes;
        if (o->gone[from] || o->gone[to]) continue;
        over[place[from] + 1]++;
        over[place[to]]--;
    }
    g->nodes = nodes;
    g->count = o->left;
    for (int i = 0; i < g->count; i++) {
        jumping += over[i];
        g->cut[i] = jumping == 0;
    }
    g->input = is_input(&nodes[0]);
    return 0;
}

/* by_from[first[i]..first[i + 1]) are the edges out of node i. */
static void group_edges(const GraphOrder *o, size_t *first, int *by_from)
{
    size_t n = (size_t)o->graph->count;

    for (size_t e = 0; e < o->edge_count; e++) first[o->edges[e].from + 1]++;
    for (size_t i = 0; i < n; i++) first[i + 1] += first[i];
    for (size_t e = o->edge_count; e > 0; e--)
        by_from[--first[o->edges[e - 1].from + 1]] = (int)(e - 1);
    for (size_t i = 0; i < n; i++) first[i] = first[i + 1];
    first[n] = o->edge_count;
}

int graph_order(ImportGraph *g, const GraphEdge *edges, size_t edge_count, Arena *arena, Error *err)
{
    size_t  n = (size_t)g->count;
    GraphOrder   o = {.graph = g, .edges = edges, .edge_count = edge_count};
    int    *numbers = arena_alloc(arena, 5 * n, sizeof *numbers),
        *by_from = arena_alloc(arena, edge_count, sizeof *by_from);
    size_t *first = arena_alloc(arena, n + 2, sizeof *first);

    o.gone = arena_alloc(arena, n, sizeof *o.gone);
    if (!numbers || !by_from || !first || !o.gone) return error_no_memory(err);
    o.in = numbers;
    o.out = o.in + n;
    o.order = o.out + n;
    o.level = o.order + n;
    o.side = o.level + n;
    group_edges(&o, first, by_from);
    count_degrees(&o);
    drop_inputs(&o);
    find_last(&o);
    if (o.last < 0 && g->count > 0) {
        for (int i = 0; i < g->count; i++)
            if (!o.gone[i])
                return error_set(
                    err, "%s: no output of the network, all nodes are in cycles or between them",
                    g->file->name);
        return graph_fail(g, 0, err, "no node but inputs, expected a network");
    }
    if (sort_topologically(&o, first, by_from, o.order, err) != 0) return -1;
    drop_outputs(&o, first, by_from);
    set_levels(&o, first, by_from);
    o.staged = stages_grow(&o);
    qsort_r(o.order, (size_t)o.left, sizeof *o.order, by_level, &o);
    return lay_out(&o, arena, err);
}
