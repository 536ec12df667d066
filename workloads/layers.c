#include "workloads/layers.h"

#include "workloads/layers_sequence.h"

#include <string.h>

/* ---- values --------------------------------------------------------------- */

/* A whole number that must be there. */
static int get_size(const JsonAt *layer, const char *key, int minimum, int maximum, int *out,
                    Error *err)
{
    JsonAt  at = json_member(layer, key);
    int64_t value = 0;

    if (json_get_integer(&at, minimum, maximum, &value, err) != 0) return -1;
    *out = (int)value;
    return 0;
}

/* *out keeps its value where the key is absent. */
static int get_optional(const JsonAt *layer, const char *key, int minimum, int maximum, int *out,
                        Error *err)
{
    JsonAt at = json_member(layer, key);

    return json_has(&at) ? get_size(layer, key, minimum, maximum, out, err) : 0;
}

static int get_flag(const JsonAt *layer, const char *key, bool *out, Error *err)
{
    JsonAt at = json_member(layer, key);

    return json_has(&at) ? json_get_bool(&at, out, err) : 0;
}

/* A number of 0..1; *out keeps its value where the key is absent. */
static int get_share(const JsonAt *layer, const char *key, double *out, Error *err)
{
    JsonAt at = json_member(layer, key);

    if (!json_has(&at)) return 0;
    if (json_get_number(&at, 0, out, err) != 0) return -1;
    return *out <= 1 ? 0 : json_fail(&at, err, "%g is too large, expected at most 1", *out);
}

/* What batch norms divide by may be nothing but eps: of a channel that is the same everywhere. */
static int get_norm(const JsonAt *layer, NormShape *out, Error *err)
{
    JsonAt eps = json_member(layer, "eps");

    *out = (NormShape){BATCHNORM_EPS, BATCHNORM_MOMENTUM};
    if (get_share(layer, "eps", &out->eps, err) != 0
        || get_share(layer, "momentum", &out->momentum, err) != 0)
        return -1;
    return out->eps >= 1e-30
               ? 0
               : json_fail(&eps, err,
                           "variances of 0 are divided by its root, expected at least 1e-30");
}

/* A kernel that its padding of half keeps centred. */
static int get_odd(const JsonAt *layer, int *out, Error *err)
{
    JsonAt at = json_member(layer, "kernel");

    if (get_size(layer, "kernel", 1, WORKLOAD_MAX_KERNEL, out, err) != 0) return -1;
    if (*out % 2 == 1) return 0;
    return json_fail(&at, err, "%d is even, expected an odd kernel, which padding keeps centred",
                     *out);
}

/* ---- one reader a kind ------------------------------------------------------ */

static int read_conv(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer",   "out",    "kernel", "stride",
                                       "padding", "groups", "bias",   NULL};
    ConvShape conv = {.stride = 1, .groups = 1, .bias = true};

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_size(at, "out", 1, WORKLOAD_MAX_SIZE, &conv.out, err) != 0) return -1;
    if (get_size(at, "kernel", 1, WORKLOAD_MAX_KERNEL, &conv.kernel, err) != 0) return -1;
    conv.padding = (conv.kernel - 1) / 2;
    if (get_optional(at, "stride", 1, WORKLOAD_MAX_SIZE, &conv.stride, err) != 0) return -1;
    if (get_optional(at, "padding", 0, WORKLOAD_MAX_KERNEL, &conv.padding, err) != 0) return -1;
    if (get_optional(at, "groups", 1, WORKLOAD_MAX_SIZE, &conv.groups, err) != 0) return -1;
    if (get_flag(at, "bias", &conv.bias, err) != 0) return -1;
    return add_conv(list, &conv, at, err);
}

static int read_linear(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "out", "bias", NULL};
    bool bias = true;
    int  out = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_size(at, "out", 1, WORKLOAD_MAX_VOCABULARY, &out, err) != 0) return -1;
    if (get_flag(at, "bias", &bias, err) != 0) return -1;
    return add_linear(list, out, bias, at, err);
}

static int read_maxpool(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "kernel", "stride", "padding", NULL};
    int kernel = 0, padding = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_size(at, "kernel", 1, WORKLOAD_MAX_KERNEL, &kernel, err) != 0) return -1;
    int stride = kernel;
    if (get_optional(at, "stride", 1, WORKLOAD_MAX_SIZE, &stride, err) != 0) return -1;
    if (get_optional(at, "padding", 0, WORKLOAD_MAX_KERNEL, &padding, err) != 0) return -1;
    return add_pool(list, LAYER_MAXPOOL, kernel, stride, padding, at, err);
}

/* With a window, or global. */
static int read_avgpool(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "global", "kernel", "stride", NULL};
    JsonAt kernel_at = json_member(at, "kernel"), stride_at = json_member(at, "stride");
    bool   global = false;
    int    kernel = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_flag(at, "global", &global, err) != 0) return -1;
    if (global && json_has(&kernel_at))
        return json_fail(&kernel_at, err, "a global pooling has no kernel");
    if (global && json_has(&stride_at))
        return json_fail(&stride_at, err, "a global pooling has no stride");
    if (global) return add_pool(list, LAYER_AVGPOOL, 0, 1, 0, at, err);
    if (!json_has(&kernel_at))
        return json_fail(&kernel_at, err, "missing, expected a whole number, or \"global\": true");
    if (get_size(at, "kernel", 1, WORKLOAD_MAX_KERNEL, &kernel, err) != 0) return -1;
    int stride = kernel;
    if (get_optional(at, "stride", 1, WORKLOAD_MAX_SIZE, &stride, err) != 0) return -1;
    return add_pool(list, LAYER_AVGPOOL, kernel, stride, 0, at, err);
}

static int read_plain(LayerList *list, LayerKind kind, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", NULL};

    return json_check_keys(at, keys, err) == 0 ? add_plain(list, kind, at, err) : -1;
}

static int read_batchnorm(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "eps", "momentum", NULL};
    NormShape norm;

    if (json_check_keys(at, keys, err) != 0 || get_norm(at, &norm, err) != 0) return -1;
    return add_batchnorm(list, norm, at, err);
}

static int read_relu(LayerList *list, const JsonAt *at, Error *err)
{
    return read_plain(list, LAYER_RELU, at, err);
}

static int read_relu6(LayerList *list, const JsonAt *at, Error *err)
{
    return read_plain(list, LAYER_RELU6, at, err);
}

static int read_flatten(LayerList *list, const JsonAt *at, Error *err)
{
    return read_plain(list, LAYER_FLATTEN, at, err);
}

static int read_mbconv(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer",     "out", "kernel",   "stride",
                                       "expansion", "eps", "momentum", NULL};
    MbconvShape mbconv = {.stride = 1};

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_size(at, "out", 1, WORKLOAD_MAX_SIZE, &mbconv.out, err) != 0) return -1;
    if (get_odd(at, &mbconv.kernel, err) != 0) return -1;
    if (get_optional(at, "stride", 1, WORKLOAD_MAX_SIZE, &mbconv.stride, err) != 0) return -1;
    if (get_size(at, "expansion", 1, WORKLOAD_MAX_SIZE, &mbconv.expansion, err) != 0) return -1;
    if (get_norm(at, &mbconv.norm, err) != 0) return -1;
    return add_mbconv(list, &mbconv, at, err);
}

static int read_separable(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "out", "kernel",   "stride", "batchnorm",
                                       "relu",  "eps", "momentum", NULL};
    JsonAt batchnorm = json_member(at, "batchnorm"), relu = json_member(at, "relu");
    JsonAt eps = json_member(at, "eps"), momentum = json_member(at, "momentum");
    SeparableShape separable = {.stride = 1};

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_size(at, "out", 1, WORKLOAD_MAX_SIZE, &separable.out, err) != 0) return -1;
    if (get_odd(at, &separable.kernel, err) != 0) return -1;
    if (get_optional(at, "stride", 1, WORKLOAD_MAX_SIZE, &separable.stride, err) != 0) return -1;
    if (json_get_bool(&batchnorm, &separable.batchnorm, err) != 0) return -1;
    if (json_get_bool(&relu, &separable.relu, err) != 0) return -1;
    if (!separable.batchnorm && (json_has(&eps) || json_has(&momentum)))
        return json_fail(json_has(&eps) ? &eps : &momentum, err,
                         "only \"batchnorm\": true has an eps and a momentum");
    if (get_norm(at, &separable.norm, err) != 0) return -1;
    return add_separable(list, &separable, at, err);
}

/* ---- layers of layers ---------------------------------------------------------- */

static int read_residual(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "body", "shortcut", NULL};
    JsonAt    body_at = json_member(at, "body"), shortcut_at = json_member(at, "shortcut");
    LayerList body, shortcut;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_get_array(&body_at, 1, err) != 0) return -1;
    if (list_inside(&body, list, INSIDE_BODY, at, err) != 0) return -1;
    if (layers_read(&body, &body_at, err) != 0) return -1;
    if (!json_has(&shortcut_at)) return add_residual(list, &body, NULL, at, err);
    if (json_get_array(&shortcut_at, 1, err) != 0) return -1;
    if (list_inside(&shortcut, list, INSIDE_SHORTCUT, at, err) != 0) return -1;
    if (layers_read(&shortcut, &shortcut_at, err) != 0) return -1;
    return add_residual(list, &body, &shortcut, at, err);
}

/* paths: [count]; all give the shape of the first. */
static int read_paths(LayerList *list, const JsonAt *at, Layers *paths, int count, Shape *out,
                      Error *err)
{
    char first[SHAPE_TEXT_BYTES], other[SHAPE_TEXT_BYTES];

    for (int i = 0; i < count; i++) {
        JsonAt    path_at = json_element(at, (size_t)i);
        LayerList path;
        if (list_inside(&path, list, i, at, err) != 0) return -1;
        if (layers_read(&path, &path_at, err) != 0) return -1;
        if (i == 0) *out = path.shape;
        else if (!shape_equal(*out, path.shape))
            return json_fail(&path_at, err,
                             "this path gives %s where the first gives %s, expected the same shape",
                             shape_text(other, path.shape), shape_text(first, *out));
        paths[i] = path.layers;
    }
    return 0;
}

static int read_choice(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "paths", NULL};
    JsonAt paths_at = json_member(at, "paths");
    Layers paths[WORKLOAD_MAX_PATHS] = {{0}};
    Shape  out = {0};

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_get_array(&paths_at, 2, err) != 0) return -1;
    if (json_count(&paths_at) > WORKLOAD_MAX_PATHS)
        return json_fail(&paths_at, err, "%zu paths, expected at most %d", json_count(&paths_at),
                         WORKLOAD_MAX_PATHS);
    int count = (int)json_count(&paths_at);
    if (read_paths(list, &paths_at, paths, count, &out, err) != 0) return -1;
    return add_choice(list, paths, count, out, at, err);
}

/* ---- which ------------------------------------------------------------------------ */

int layers_read(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const names[] = {
        "conv",      "batchnorm", "relu",     "relu6",  "maxpool", "avgpool",
        "linear",    "flatten",   "residual", "choice", "mbconv",  "separable",
        "embedding", "layernorm", "rmsnorm",  "gelu",   "silu",    "tanh",
        "gated",     "attention", "tokens",   "pool",   NULL};
    static ReadLayer *const readers[] = {
        read_conv,      read_batchnorm, read_relu,     read_relu6,  read_maxpool, read_avgpool,
        read_linear,    read_flatten,   read_residual, read_choice, read_mbconv,  read_separable,
        read_embedding, read_layernorm, read_rmsnorm,  read_gelu,   read_silu,    read_tanh,
        read_gated,     read_attention, read_tokens,   read_pool};

    if (json_get_array(at, 0, err) != 0) return -1;
    for (size_t i = 0; i < json_count(at); i++) {
        JsonAt item = json_element(at, i), kind_at = json_member(&item, "layer");
        int    kind = 0;
        if (json_get_object(&item, err) != 0) return -1;
        if (json_get_choice(&kind_at, names, &kind, err) != 0) return -1;
        if (readers[kind](list, &item, err) != 0) return -1;
    }
    return 0;
}
