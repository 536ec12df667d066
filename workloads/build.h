/* Building lists of layers, each checked against the shape before it.
 *
 * A LayerList is a list under construction. Names follow from the list's prefix and the
 * layer's place. Errors are at the JSON value that asked for the layer. */
#ifndef WORKLOADS_BUILD_H
#define WORKLOADS_BUILD_H

#include "base/json.h"
#include "workloads/workload.h"

typedef struct {
    Workload   *workload;    /* whose arena owns the layers */
    int64_t    *total;       /* layers made so far, of the whole workload */
    const char *prefix;      /* "3.1." or "" */
    int         depth;       /* residuals and choices around this list */
    Shape       shape;       /* after the last layer */
    bool        tokens;      /* and it is token numbers: an embedding's input */
    Layers      layers;
} LayerList;

/* Takes a layer whose in is the list's shape and whose out is set; checks its counts. What add_*()
 * end with. */
int list_append(LayerList *list, Layer layer, const JsonAt *at, Error *err);

/* A list for what is inside the next layer of outer, on its present shape. path: number of
 * a choice's path, or of these. Refuses one level too many. */
enum { INSIDE_BODY = -1, INSIDE_SHORTCUT = -2 };
int list_inside(LayerList *out, const LayerList *outer, int path, const JsonAt *at, Error *err);

/* Each adds one layer to list. */
typedef struct {
    int  out, kernel, stride, padding, groups;
    bool bias;
} ConvShape;

/* Windows are square. kernel 0 of an average pool: all of height and width. */
int add_conv(LayerList *list, const ConvShape *conv, const JsonAt *at, Error *err);
int add_linear(LayerList *list, int out, bool bias, const JsonAt *at, Error *err);
int add_pool(LayerList *list, LayerKind kind, int kernel, int stride, int padding, const JsonAt *at,
             Error *err);

/* A batch norm: y = weight (x - mean) / sqrt(variance + eps) + bias; a step's running statistics
 * are (1 - momentum) times the old ones and momentum times the batch's. */
typedef struct { double eps, momentum; } NormShape;
int add_batchnorm(LayerList *list, NormShape norm, const JsonAt *at, Error *err);

/* relu, relu6, flatten */
int add_plain(LayerList *list, LayerKind kind, const JsonAt *at, Error *err);

/* body, shortcut (NULL: the input itself is added) and paths: made by list_inside() of the same
 * list, without a layer added since. */
int add_residual(LayerList *list, const LayerList *body, const LayerList *shortcut,
                 const JsonAt *at, Error *err);
int add_choice(LayerList *list, const Layers *paths, int count, Shape out, const JsonAt *at,
               Error *err);

/* Short forms, which add several layers. mbconv: 1x1 conv, batchnorm, relu6 (these three only where
 * expansion is above 1); depthwise conv, batchnorm, relu6; 1x1 conv, batchnorm; all in a residual
 * where stride is 1 and out the input's channels (Sandler et al., MobileNetV2, CVPR 2018). */
typedef struct {
    int       out, kernel, stride, expansion;
    NormShape norm;          /* of all its batch norms */
} MbconvShape;
int add_mbconv(LayerList *list, const MbconvShape *mbconv, const JsonAt *at, Error *err);

/* Depthwise conv, 1x1 conv, each with a batchnorm behind it and no bias, or with a bias and
 * no batchnorm; then, if asked for, relu. */
typedef struct {
    int  out, kernel, stride;
    bool batchnorm, relu;
    NormShape norm;          /* where batchnorm */
} SeparableShape;
int add_separable(LayerList *list, const SeparableShape *separable, const JsonAt *at, Error *err);

#endif
