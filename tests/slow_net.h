/* Networks as plain loops in double, one sample and one channel at a time: what kernels/ is
 * held against. Layers made by hand, too. Memory is of an arena. */
#ifndef TESTS_SLOW_NET_H
#define TESTS_SLOW_NET_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/net.h"

/* ---- layers by hand: each call appends one, named after its place ---- */

typedef struct {
    Arena      *arena;
    const char *prefix;      /* "3.1.", "" */
    Layers      layers;      /* room for 128: more end the test */
    Shape       at;          /* the shape so far */
} Hand;

/* An empty list at a shape. */
Hand hand(Arena *arena, const char *prefix, Shape in);
void hand_conv(Hand *h, int out, int kernel, int stride, int padding, int groups, bool bias);
void hand_same(Hand *h, LayerKind kind);     /* batchnorm (of two, one has not PyTorch's eps and
                                              * momentum), relu, relu6 */

void hand_pool(Hand *h, LayerKind kind, int kernel, int stride, int padding);
void hand_flatten(Hand *h);
void hand_linear(Hand *h, int out, bool bias);

/* A list within the layer to be added next: its path, "3." of a residual (-1; its shortcut: -2),
 * "3.1." of a choice. */
Hand hand_path(Hand *h, int path);
void hand_paths(Hand *h, LayerKind kind, const Hand *paths, int count);

/* ---- the model ---- */

/* [rows][height][width][channels] */
typedef struct {
    int64_t rows;
    Shape   shape;
    double *v;
} Tensor;

typedef struct SlowRecord SlowRecord;

struct SlowRecord {          /* of a layer in the last forward */
    Tensor      x, y;
    double     *mean, *inverse;          /* batchnorm */
    int        *place;       /* maxpool: element of x, within its row */
    SlowRecord *inner, *shortcut;        /* inner: of the path taken */
    int         taken;
};

typedef struct {
    Arena      *arena;
    const Net  *net;         /* for names and shapes of parameters */
    double    **value, **gradient;       /* [parameters][count]; gradient NULL: not reached */
    const int  *choices;
    const int  *lengths;     /* of sequences, NULL: whole */
    int         choice;      /* the next one's number */
    bool        frozen;
} Slow;

int64_t slow_count(Tensor t);
Tensor slow_tensor(Slow *s, int64_t rows, Shape shape);
/* x: [rows][shape] */
Tensor slow_from(Slow *s, const float *x, int64_t rows, Shape shape);
double *slow_value(Slow *s, const char *name, const char *what);
double *slow_gradient(Slow *s, const char *name, const char *what);

/* Takes the net's parameters. */
Slow slow_of(Arena *arena, const Net *net, bool frozen);
Tensor slow_forward(Slow *s, const Layers *layers, Tensor x, SlowRecord **records);
Tensor slow_backward(Slow *s, const Layers *layers, SlowRecord *records, Tensor dy);

#endif
