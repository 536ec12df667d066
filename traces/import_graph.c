/* ImportLines of a profile:
 *
 *     ID -- DESCRIPTION -- forward_compute_time=MS, backward_compute_time=MS,
 *         activation_size=BYTES, parameter_size=BYTES[ -- stage_id=N]          (one line)
 *     <tab>ID -- ID                                                           an edge
 *
 * BYTES of an activation may be a list, [1024.0; 512.0]. Blank lines are passed over. */
#include "traces/import_graph.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 65536 };

typedef struct { int from, to; } Edge;

typedef struct {
    ImportGraph  *graph;
    Arena  *arena;
    int    *by_id;               /* [count] nodes by id */
    Edge   *edges;
    size_t  edge_count;
} GraphReader;

int graph_fail(const ImportGraph *graph, int node, Error *err, const char *format, ...)
{
    char    message[ERROR_MAX_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return error_set(err, "%s:%d:1: %s", graph->file->name, graph->nodes[node].line, message);
}

int graph_find(const ImportGraph *graph, const char *id, size_t length)
{
    for (int i = 0; i < graph->count; i++)
        if (strlen(graph->nodes[i].id) == length && memcmp(graph->nodes[i].id, id, length) == 0) return i;
    return -1;
}

/* ---- nodes ---------------------------------------------------------------------------- */

static bool blank(const ImportLines *lines)
{
    for (const char *c = lines->line; c < lines->stop; c++)
        if (*c != ' ' && *c != '\t') return false;
    return true;
}

static bool is_edge(const ImportLines *lines) { return lines->line < lines->stop && *lines->line == '\t'; }

/* Up to " -- " or the end of the line, at least one character, no control characters. */
static int read_field(const ImportLines *lines, const char **at, const char *what, const char **out, Arena *arena, Error *err)
{
    const char *start = *at, *end = memmem(start, (size_t)(lines->stop - start), " -- ", 4);
    char       *copy;

    if (!end) end = lines->stop;
    if (end == start) return lines_fail(lines, start, err, "expected %s", what);
    for (const char *c = start; c < end; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            return lines_fail(lines, c, err, "expected %s in plain ASCII", what);
    copy = arena_alloc(arena, (size_t)(end - start) + 1, 1);
    if (!copy) return error_no_memory(err);
    memcpy(copy, start, (size_t)(end - start));
    *out = copy;
    *at = end;
    return 0;
}

/* A number, or a list of them, which is their sum. */
static int read_sizes(const ImportLines *lines, const char **at, double *out, Error *err)
{
    double one;

    if (!skip_word(lines, at, "[")) return read_number(lines, at, out, err);
    *out = 0;
    do {
        if (read_number(lines, at, &one, err) != 0) return -1;
        *out += one;
    } while (skip_word(lines, at, "; "));
    return read_word(lines, at, "]", err);
}

static int read_stage(const ImportLines *lines, const char **at, int *out, Error *err)
{
    const char *start = *at;
    double      stage;

    *out = -1;
    if (*at == lines->stop) return 0;
    if (read_word(lines, at, " -- stage_id=", err) != 0) return -1;
    start = *at;
    if (read_number(lines, at, &stage, err) != 0) return -1;
    if (stage != floor(stage) || stage >= TRACE_MAX_BLOCKS)
        return lines_fail(lines, start, err, "expected a whole number below %d", TRACE_MAX_BLOCKS);
    *out = (int)stage;
    return *at == lines->stop ? 0 : lines_fail(lines, *at, err, "expected the end of the line");
}

static int read_node(GraphNode *out, const ImportLines *lines, Arena *arena, Error *err)
{
    const char *at = lines->line;

    out->line = lines->number;
    if (read_field(lines, &at, "a node", &out->id, arena, err) != 0) return -1;
    if (read_word(lines, &at, " -- ", err) != 0) return -1;
    if (read_field(lines, &at, "what the node does", &out->description, arena, err) != 0) return -1;
    if (read_word(lines, &at, " -- forward_compute_time=", err) != 0) return -1;
    if (read_number(lines, &at, &out->forward_ms, err) != 0) return -1;
    if (read_word(lines, &at, ", backward_compute_time=", err) != 0) return -1;
    if (read_number(lines, &at, &out->backward_ms, err) != 0) return -1;
    if (read_word(lines, &at, ", activation_size=", err) != 0) return -1;
    if (read_sizes(lines, &at, &out->activation_bytes, err) != 0) return -1;
    if (read_word(lines, &at, ", parameter_size=", err) != 0) return -1;
    if (read_number(lines, &at, &out->parameter_bytes, err) != 0) return -1;
    return read_stage(lines, &at, &out->stage, err);
}

static int read_nodes(GraphReader *r, Error *err)
{
    ImportGraph *g = r->graph;
    ImportLines  lines = lines_start(g->file);
    size_t nodes = 0, edges = 0;

    while (lines_next(&lines)) {
        if (is_edge(&lines)) edges++;
        else if (!blank(&lines)) nodes++;
    }
    if (nodes == 0) return error_set(err, "%s: no nodes, expected a graph that PipeDream's profiler wrote", g->file->name);
    if (nodes > MAX_NODES) return error_set(err, "%s: %zu nodes, expected at most %d", g->file->name, nodes, MAX_NODES);
    g->nodes = arena_alloc(r->arena, nodes, sizeof *g->nodes);
    r->edges = arena_alloc(r->arena, edges, sizeof *r->edges);
    if (!g->nodes || !r->edges) return error_no_memory(err);
    lines = lines_start(g->file);
    while (lines_next(&lines))
        if (!is_edge(&lines) && !blank(&lines) && read_node(&g->nodes[g->count++], &lines, r->arena, err) != 0) return -1;
    return 0;
}

/* ---- names ----------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b, void *nodes)
{
    const GraphNode *all = nodes;
    int              order = strcmp(all[*(const int *)a].id, all[*(const int *)b].id);

    return order ? order : *(const int *)a - *(const int *)b;
}

static int index_nodes(GraphReader *r, Error *err)
{
    ImportGraph *g = r->graph;

    r->by_id = arena_alloc(r->arena, (size_t)g->count, sizeof *r->by_id);
    if (!r->by_id) return error_no_memory(err);
    for (int i = 0; i < g->count; i++) r->by_id[i] = i;
    qsort_r(r->by_id, (size_t)g->count, sizeof *r->by_id, by_id, g->nodes);
    for (int i = 1; i < g->count; i++)
        if (strcmp(g->nodes[r->by_id[i]].id, g->nodes[r->by_id[i - 1]].id) == 0)
            return graph_fail(g, r->by_id[i], err, "node \"%s\" twice: line %d has it too", g->nodes[r->by_id[i]].id,
                              g->nodes[r->by_id[i - 1]].line);
    return 0;
}

static int find_indexed(const GraphReader *r, const char *id)
{
    int low = 0, high = r->graph->count;

    while (low < high) {
        int middle = low + (high - low) / 2, order = strcmp(r->graph->nodes[r->by_id[middle]].id, id);
        if (order == 0) return r->by_id[middle];
        if (order < 0) low = middle + 1;
        else           high = middle;
    }
    return -1;
}

static int read_end(GraphReader *r, const ImportLines *lines, const char **at, int *out, Error *err)
{
    const char *start = *at, *id;

    if (read_field(lines, at, "a node", &id, r->arena, err) != 0) return -1;
    *out = find_indexed(r, id);
    return *out >= 0 ? 0 : lines_fail(lines, start, err, "\"%.64s\" is no node of this graph", id);
}

static int read_edges(GraphReader *r, Error *err)
{
    ImportLines lines = lines_start(r->graph->file);

    while (lines_next(&lines)) {
        if (!is_edge(&lines) || blank(&lines)) continue;
        const char *at = lines.line + 1;
        Edge       *edge = &r->edges[r->edge_count];
        if (read_end(r, &lines, &at, &edge->from, err) != 0 || read_word(&lines, &at, " -- ", err) != 0
            || read_end(r, &lines, &at, &edge->to, err) != 0) return -1;
        if (at < lines.stop) return lines_fail(&lines, at, err, "expected the end of the line");
        r->edge_count++;
    }
    return 0;
}

/* ---- the chain -------------------------------------------------------------------------------- */

static int by_from(const void *a, const void *b)
{
    const Edge *x = a, *y = b;

    return x->from != y->from ? (x->from < y->from ? -1 : 1) : (x->to > y->to) - (x->to < y->to);
}

/* One node without edges in (end false) or out. */
static int check_ends(const GraphReader *r, const int *degree, const char *what, Error *err)
{
    int found = -1;

    for (int i = 0; i < r->graph->count; i++) {
        if (degree[i] > 0) continue;
        if (found >= 0)
            return graph_fail(r->graph, i, err, "node \"%s\" is a second %s of the network, after \"%s\" (line %d): "
                              "expected one", r->graph->nodes[i].id, what, r->graph->nodes[found].id,
                              r->graph->nodes[found].line);
        found = i;
    }
    return found >= 0 ? 0 : error_set(err, "%s: no %s of the network, all nodes are in cycles or between them", r->graph->file->name, what);
}

/* place[node]: its place in the order, edges pointing forward. Edges are sorted by from;
 * first[node] is its first. Of the nodes that could come next, the one found first does. */
static int find_order(const GraphReader *r, const size_t *first, int *in, int *place, int *queue, Error *err)
{
    int n = r->graph->count, head = 0, tail = 0;

    for (int i = 0; i < n; i++) {
        place[i] = -1;
        if (in[i] == 0) queue[tail++] = i;
    }
    while (head < tail) {
        int node = queue[head];
        place[node] = head++;
        for (size_t e = first[node]; e < first[node + 1]; e++)
            if (--in[r->edges[e].to] == 0) queue[tail++] = r->edges[e].to;
    }
    for (int i = 0; i < n; i++)
        if (place[i] < 0) return graph_fail(r->graph, i, err, "node \"%s\" is in or behind a cycle", r->graph->nodes[i].id);
    return 0;
}

/* Puts nodes in order, and finds cuts: a place that some edge jumps over is none. */
static int lay_out(const GraphReader *r, const int *place, int *over, Error *err)
{
    ImportGraph     *g = r->graph;
    GraphNode *nodes = arena_alloc(r->arena, (size_t)g->count, sizeof *nodes);
    int        jumping = 0;

    g->cut = arena_alloc(r->arena, (size_t)g->count, sizeof *g->cut);
    g->input_bytes = arena_alloc(r->arena, (size_t)g->count, sizeof *g->input_bytes);
    if (!nodes || !g->cut || !g->input_bytes) return error_no_memory(err);
    for (int i = 0; i < g->count; i++) nodes[place[i]] = g->nodes[i];
    g->nodes = nodes;
    for (size_t e = 0; e < r->edge_count; e++) {
        int from = place[r->edges[e].from], to = place[r->edges[e].to];
        over[from + 1]++;
        over[to]--;
        g->input_bytes[to] += nodes[from].activation_bytes;
    }
    for (int i = 0; i < g->count; i++) {
        jumping += over[i];
        g->cut[i] = jumping == 0;
    }
    g->input = strncmp(nodes[0].description, "Input", 5) == 0;
    return 0;
}

static int order_nodes(GraphReader *r, Error *err)
{
    size_t  n = (size_t)r->graph->count;
    int    *in = arena_alloc(r->arena, 5 * n + 2, sizeof *in);
    size_t *first = arena_alloc(r->arena, n + 1, sizeof *first);

    if (!in || !first) return error_no_memory(err);
    int *out = in + n, *place = out + n, *queue = place + n, *over = queue + n;
    if (r->edge_count) qsort(r->edges, r->edge_count, sizeof *r->edges, by_from);
    for (size_t e = 0; e < r->edge_count; e++) {
        in[r->edges[e].to]++;
        out[r->edges[e].from]++;
        first[r->edges[e].from + 1]++;
    }
    for (size_t i = 0; i < n; i++) first[i + 1] += first[i];
    if (check_ends(r, in, "input", err) != 0 || check_ends(r, out, "output", err) != 0) return -1;
    if (find_order(r, first, in, place, queue, err) != 0) return -1;
    return lay_out(r, place, over, err);
}

int graph_read(ImportGraph *out, const ImportFile *file, Arena *arena, Error *err)
{
    GraphReader r = {.graph = out, .arena = arena};

    *out = (ImportGraph){.file = file};
    if (read_nodes(&r, err) != 0 || index_nodes(&r, err) != 0) return -1;
    return read_edges(&r, err) != 0 ? -1 : order_nodes(&r, err);
}
