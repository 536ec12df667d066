/* A net's layers as it computes them: a tree of nodes, with what runs together merged, and a
 * place for everything that is kept from forward to backward.
 *
 *     conv, batchnorm, relu   frozen    one node, norm folded in
 *                             trained   two: conv; batchnorm with relu
 *     conv or linear, relu              one
 *     flatten of 1x1                    none
 *
 * A residual's paths, its body and, if there is one, its shortcut, are both gone through.
 * Offsets are floats a row, multiplied by the rows of a call; paths of a choice share theirs. */
#ifndef KERNELS_GRAPH_H
#define KERNELS_GRAPH_H

#include "base/arena.h"
#include "kernels/backend.h"

typedef struct Node Node;

typedef struct {
    Node *node;              /* [count] */
    int   count;
} NodeList;

enum { CHAIN_MAX = 32 };     /* nodes */

struct Node {
    LayerKind    kind;       /* LAYER_RESIDUAL, LAYER_CHOICE; else an operator */
    const char  *name;
    OperatorSpec spec;       /* in and out for all kinds */
    int          weight, norm;           /* number of the first NetParameter of each, -1 none */
    int          own;        /* parameters from weight on, of layers that have neither conv's nor
                              * batch norm's; 0: none */
    bool         bias;
    Operator    *op;         /* NULL until the net makes it */
    NodeList    *path;
    int          path_count, choice;     /* number of the choice */

    int          chain;      /* nodes from this one on that are computed together
                              * (Backend.chain_length); 0: it alone, or one of them */
    bool         chained;    /* one of them */
    bool         in_place;   /* y is x */
    bool         own_output; /* residual: its sum may not overwrite its body's result */
    bool         uses_y;     /* backward looks at y */
    bool         trains;     /* has parameters */
    bool         needs_dx;   /* something before it trains */
    int64_t      slot, kept_slot;        /* offsets; -1: nothing there */
    ParameterSpan gradients; /* floats, this node's own */

    const float *x;          /* of the last forward */
    float       *y;
    int          taken;
};

typedef struct {
    Arena         arena;     /* owns all of it */
    NodeList      nodes;
    NetParameter *parameter; /* [parameter_count] */
    int64_t      *offset;    /* [parameter_count]: into weights, or into statistics */
    int           parameter_count, choice_count, depth;  /* depth: of nested residuals */
    int64_t       trained_count, statistic_count;        /* floats, gaps to align included */
    int64_t       kept;      /* floats a row from forward to backward; of those the first are the
                              * input's, where half */
    int64_t       largest;   /* floats a row of the largest tensor that is not kept */
    bool          headless;  /* the last of nodes is not walked */
    bool          half;      /* tensors are bfloat16 (kernels/backend.h), */
    bool          narrows;   /* and so is a copy of the input: not of tokens' numbers */
} LayerGraph;

/* Parameters of all layers, those in paths included. */
int  layers_parameters(const Layers *layers);

/* The nodes of layers, with their parameters and places; no operator is made yet. Borrows layers
 * for as long as out lives. graph_free() it. */
int  graph_build(LayerGraph *out, const Device *device, const Layers *layers, NetMode mode,
                 Error *err);
void graph_free(LayerGraph *graph);

/* The nodes that forward and backward go through. */
static inline NodeList graph_walked(const LayerGraph *graph)
{
    return (NodeList){graph->nodes.node, graph->nodes.count - graph->headless};
}

/* Calls visit for every node that is an operator; all: of every path, else of those taken. */
typedef void NodeVisit(Node *node, void *context);
void graph_each(const NodeList *list, bool all, NodeVisit *visit, void *context);

/* The last result of the list is looked at in backward, or is not its own to change. */
bool graph_uses_result(const NodeList *list);

#endif
