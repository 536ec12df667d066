/* A profile of PipeDream as a chain: the nodes of the graph in an order in which edges point
 * forward, and where the chain can be cut (import_graph_order.c).
 *
 * Nodes called Input that are not the one source of the graph are dropped, as PipeDream's own tools
 * do: what reads them has them at hand. So are outputs that nobody uses: all sinks but the last,
 * where they are parts of a tuple (__getitem__) or cost nothing.
 *
 * Between a node and the next there is a cut when every edge that crosses it begins at
 * that node, so that its output is all that goes on. What lies between two cuts, branches
 * and joins included, is one part. */
#ifndef TRACES_IMPORT_GRAPH_H
#define TRACES_IMPORT_GRAPH_H

#include "traces/import/import_read.h"

typedef struct {
    const char *id, *description;        /* the arena's; "node4", "Conv2d(...)" */
    int         line;
    double      forward_ms, backward_ms, activation_bytes, parameter_bytes;  /* of the batch */
    int         stage;                   /* -1: not given */
} GraphNode;

typedef struct {
    const ImportFile *file;
    GraphNode *nodes;                    /* [count], in the order of the chain */
    int        count;
    bool      *cut;                      /* [count] the chain can be cut after this node */
    double    *input_bytes;              /* [count] activations of the nodes before it */
    bool       input;                    /* nodes[0] is the network's input, not a layer */
    GraphNode *dropped;                  /* [dropped_count] inputs, then outputs */
    int        dropped_count, dropped_inputs;
} ImportGraph;

typedef struct { int from, to; } GraphEdge;      /* nodes, as they stand in the file */

/* All memory is the arena's. Refuses a graph with a cycle, or of inputs alone. */
int graph_read(ImportGraph *out, const ImportFile *file, Arena *arena, Error *err);

/* Drops nodes, orders the others, and finds the cuts. Inside graph_read(). */
int graph_order(ImportGraph *graph, const GraphEdge *edges, size_t edge_count, Arena *arena,
                Error *err);

/* "file:line:1: message" about a node. Returns -1. */
int graph_fail(const ImportGraph *graph, int node, Error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The node of this id; -1: none. */
int graph_find(const ImportGraph *graph, const char *id, size_t length);

#endif
