/* Lines of a profile:
 *
 *     ID -- DESCRIPTION -- forward_compute_time=MS, backward_compute_time=MS,
 *         activation_size=BYTES, parameter_size=BYTES[ -- stage_id=N]          (one line)
 *     <tab>ID -- ID                                                           an edge
 *
 * BYTES of an activation may be a list, [1024.0; 512.0]. Blank lines are passed over. */
#include "traces/import/import_graph.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 65536 };

typedef struct {
    ImportGraph  *graph;
    Arena  *arena;
    int    *by_id;               /* [count] nodes by id */
    GraphEdge *edges;
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
        if (strlen(graph->nodes[i].id) == length && memcmp(graph->nodes[i].id, id, length) == 0)
            return i;
    return -1;
}

/* ---- nodes ---------------------------------------------------------------------------- */

static bool blank(const ImportLines *lines)
{
    for (const char *c = lines->line; c < lines->stop; c++)
        if (*c != ' ' && *c != '\t') return false;
    return true;
}

static bool is_edge(const ImportLines *lines)
{
    return lines->line < lines->stop && *lines->line == '\t';
}

/* Up to " -- " or the end of the line, at least one character, no control characters. */
static int read_field(const ImportLines *lines, const char **at, const char *what, const char **out,
                      Arena *arena, Error *err)
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

/* Reads all nodes of a graph and counts its edges, for which it makes room: nodes first, as an edge
 * may name a node that stands below it. */
static int read_nodes(GraphReader *r, Error *err)
{
    ImportGraph *g = r->graph;
    ImportLines  lines = lines_start(g->file);
    size_t nodes = 0, edges = 0;

    while (lines_next(&lines)) {
        if (is_edge(&lines)) edges++;
        else if (!blank(&lines)) nodes++;
    }
    if (nodes == 0)
        return error_set(err, "%s: no nodes, expected a graph that PipeDream's profiler wrote",
                         g->file->name);
    if (nodes > MAX_NODES)
        return error_set(err, "%s: %zu nodes, expected at most %d", g->file->name, nodes,
                         MAX_NODES);
    g->nodes = arena_alloc(r->arena, nodes, sizeof *g->nodes);
    r->edges = arena_alloc(r->arena, edges, sizeof *r->edges);
    if (!g->nodes || !r->edges) return error_no_memory(err);
    lines = lines_start(g->file);
    while (lines_next(&lines))
        if (!is_edge(&lines) && !blank(&lines)
            && read_node(&g->nodes[g->count++], &lines, r->arena, err) != 0)
            return -1;
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
            return graph_fail(g, r->by_id[i], err, "node \"%s\" twice: line %d has it too",
                              g->nodes[r->by_id[i]].id, g->nodes[r->by_id[i - 1]].line);
    return 0;
}

static int find_indexed(const GraphReader *r, const char *id)
{
    int low = 0, high = r->graph->count;

    while (low < high) {
        int middle = low + (high - low) / 2,
            order = strcmp(r->graph->nodes[r->by_id[middle]].id, id);
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
        GraphEdge  *edge = &r->edges[r->edge_count];
        if (read_end(r, &lines, &at, &edge->from, err) != 0
            || read_word(&lines, &at, " -- ", err) != 0
            || read_end(r, &lines, &at, &edge->to, err) != 0)
            return -1;
        if (at < lines.stop) return lines_fail(&lines, at, err, "expected the end of the line");
        r->edge_count++;
    }
    return 0;
}

int graph_read(ImportGraph *out, const ImportFile *file, Arena *arena, Error *err)
{
    GraphReader r = {.graph = out, .arena = arena};

    *out = (ImportGraph){.file = file};
    if (read_nodes(&r, err) != 0 || index_nodes(&r, err) != 0) return -1;
    return read_edges(&r, err) != 0 ? -1 : graph_order(out, r.edges, r.edge_count, arena, err);
}
