#include "workloads/build.h"

#include <stdio.h>
#include <string.h>

/* ---- names and room ------------------------------------------------------ */

/* "3.1." for what is inside layer 3, path 1; "3." for its body, "3.shortcut." for its shortcut. */
int list_inside(LayerList *out, const LayerList *outer, int path, const JsonAt *at, Error *err)
{
    char prefix[96];

    if (outer->depth >= WORKLOAD_MAX_DEPTH)
        return json_fail(at, err, "%d residuals and choices in each other, expected at most %d",
                         outer->depth + 1, WORKLOAD_MAX_DEPTH);
    if (path >= 0)
        snprintf(prefix, sizeof prefix, "%s%d.%d.", outer->prefix, outer->layers.count, path);
    else
        snprintf(prefix, sizeof prefix, "%s%d.%s", outer->prefix, outer->layers.count,
                 path == INSIDE_BODY ? "" : "shortcut.");
    *out = (LayerList){.workload = outer->workload, .total = outer->total,
                       .depth = outer->depth + 1, .shape = outer->shape, .tokens = outer->tokens};
    out->prefix = arena_strdup(&outer->workload->arena, prefix);
    return out->prefix ? 0 : error_no_memory(err);
}

/* Room for one more, doubled when used up. */
static int reserve(LayerList *list, Error *err)
{
    size_t count = (size_t)list->layers.count;
    Layer *layer;

    if (count > 0 && (count & (count - 1)) != 0) return 0;
    layer = arena_alloc(&list->workload->arena, count > 0 ? 2 * count : 1, sizeof *layer);
    if (!layer) return error_no_memory(err);
    if (count > 0) memcpy(layer, list->layers.layer, count * sizeof *layer);
    list->layers.layer = layer;
    return 0;
}

int list_append(LayerList *list, Layer layer, const JsonAt *at, Error *err)
{
    char name[96], out[SHAPE_TEXT_BYTES];

    if (list->tokens && layer.kind != LAYER_EMBEDDING && layer.kind != LAYER_CHOICE)
        return json_fail(at, err, "%s on token numbers, expected an embedding",
                         layer_kind_name(layer.kind));
    if (*list->total >= WORKLOAD_MAX_LAYERS)
        return json_fail(at, err, "more than %d layers in this workload", WORKLOAD_MAX_LAYERS);
    if (shape_count(layer.out) > WORKLOAD_MAX_ELEMENTS)
        return json_fail(at, err, "%s has %lld elements a sample, expected at most 2^34",
                         shape_text(out, layer.out), (long long)shape_count(layer.out));
    if (layer_parameters(&layer) > WORKLOAD_MAX_PARAMETERS)
        return json_fail(at, err, "%lld parameters in a layer, expected at most 2^34",
                         (long long)layer_parameters(&layer));
    if (layer_macs(&layer) > WORKLOAD_MAX_MACS)
        return json_fail(at, err, "%lld multiply-accumulates in a layer, expected at most 2^46",
                         (long long)layer_macs(&layer));
    if (reserve(list, err) != 0) return -1;
    snprintf(name, sizeof name, "%s%d", list->prefix, list->layers.count);
    layer.name = arena_strdup(&list->workload->arena, name);
    if (!layer.name) return error_no_memory(err);
    list->layers.layer[list->layers.count++] = layer;
    list->shape = layer.out;
    list->tokens = false;
    (*list->total)++;
    return 0;
}

/* ---- layers with a window ------------------------------------------------- */

/* Places of a window of kernel along size padded on both sides. */
static int window_count(int size, int kernel, int stride, int padding)
{
    return (size + 2 * padding - kernel) / stride + 1;
}

static int slide(Shape *out, Shape in, const Layer *layer, const JsonAt *at, Error *err)
{
    char text[SHAPE_TEXT_BYTES];

    if (in.height + 2 * layer->padding < layer->kernel
        || in.width + 2 * layer->padding < layer->kernel)
        return json_fail(at, err, "a window of %dx%d does not fit on an input of %s padded by %d",
                         layer->kernel, layer->kernel, shape_text(text, in), layer->padding);
    out->height = window_count(in.height, layer->kernel, layer->stride, layer->padding);
    out->width = window_count(in.width, layer->kernel, layer->stride, layer->padding);
    return 0;
}

int add_conv(LayerList *list, const ConvShape *conv, const JsonAt *at, Error *err)
{
    Shape in = list->shape;
    Layer layer = {.kind = LAYER_CONV, .in = in, .kernel = conv->kernel, .stride = conv->stride,
                   .padding = conv->padding, .groups = conv->groups, .bias = conv->bias};

    if (in.channels % conv->groups != 0 || conv->out % conv->groups != 0)
        return json_fail(at, err, "%d groups do not divide %d input and %d output channels",
                         conv->groups, in.channels, conv->out);
    if (slide(&layer.out, in, &layer, at, err) != 0) return -1;
    layer.out.channels = conv->out;
    return list_append(list, layer, at, err);
}

int add_pool(LayerList *list, LayerKind kind, int kernel, int stride, int padding, const JsonAt *at,
             Error *err)
{
    Shape in = list->shape;
    Layer layer = {.kind = kind, .in = in, .kernel = kernel, .stride = stride, .padding = padding};

    if (2 * padding > kernel)
        return json_fail(
            at, err,
            "a padding of %d is more than half of the window of %d: some windows would be "
            "all padding",
            padding, kernel);
    if (kernel == 0) layer.out = (Shape){in.channels, 1, 1};
    else if (slide(&layer.out, in, &layer, at, err) != 0) return -1;
    layer.out.channels = in.channels;
    return list_append(list, layer, at, err);
}

/* ---- layers without ------------------------------------------------------- */

int add_linear(LayerList *list, int out, bool bias, const JsonAt *at, Error *err)
{
    Shape in = list->shape;
    char  text[SHAPE_TEXT_BYTES];

    if (in.width != 1)
        return json_fail(at, err,
                         "a linear layer on %s, expected a vector or a sequence (CxTx1): flatten "
                         "or pool it first",
                         shape_text(text, in));
    return list_append(
        list, (Layer){.kind = LAYER_LINEAR, .in = in, .out = {out, in.height, 1}, .bias = bias}, at,
        err);
}

int add_plain(LayerList *list, LayerKind kind, const JsonAt *at, Error *err)
{
    Layer layer = {.kind = kind, .in = list->shape, .out = list->shape};

    if (kind == LAYER_FLATTEN && shape_count(list->shape) > WORKLOAD_MAX_VECTOR)
        return json_fail(at, err, "a vector of %lld numbers, expected at most 2^28",
                         (long long)shape_count(list->shape));
    if (kind == LAYER_FLATTEN) layer.out = (Shape){(int)shape_count(list->shape), 1, 1};
    return list_append(list, layer, at, err);
}

int add_batchnorm(LayerList *list, NormShape norm, const JsonAt *at, Error *err)
{
    return list_append(list,
                       (Layer){.kind = LAYER_BATCHNORM, .in = list->shape, .out = list->shape,
                               .eps = norm.eps, .momentum = norm.momentum},
                       at, err);
}

int add_residual(LayerList *list, const LayerList *body, const LayerList *shortcut,
                 const JsonAt *at, Error *err)
{
    Layer layer = {.kind = LAYER_RESIDUAL, .in = list->shape, .out = body->shape,
                   .path_count = shortcut ? 2 : 1};
    char  other[SHAPE_TEXT_BYTES], out[SHAPE_TEXT_BYTES];

    if (shortcut && !shape_equal(body->shape, shortcut->shape))
        return json_fail(
            at, err, "the body of a residual gives %s and its shortcut %s, expected the same shape",
            shape_text(out, body->shape), shape_text(other, shortcut->shape));
    if (!shortcut && !shape_equal(body->shape, list->shape))
        return json_fail(
            at, err,
            "the body of a residual takes %s and gives %s, expected the same shape, or a shortcut",
            shape_text(other, list->shape), shape_text(out, body->shape));
    layer.path = arena_alloc(&list->workload->arena, (size_t)layer.path_count, sizeof *layer.path);
    if (!layer.path) return error_no_memory(err);
    layer.path[0] = body->layers;
    if (shortcut) layer.path[1] = shortcut->layers;
    return list_append(list, layer, at, err);
}

int add_choice(LayerList *list, const Layers *paths, int count, Shape out, const JsonAt *at,
               Error *err)
{
    Layer layer = {.kind = LAYER_CHOICE, .in = list->shape, .out = out, .path_count = count};

    layer.path = arena_alloc(&list->workload->arena, (size_t)count, sizeof *layer.path);
    if (!layer.path) return error_no_memory(err);
    memcpy(layer.path, paths, (size_t)count * sizeof *paths);
    return list_append(list, layer, at, err);
}

/* ---- short forms ---------------------------------------------------------- */

/* A conv without bias, padded so that stride 1 keeps the size, and its batchnorm. */
static int conv_and_norm(LayerList *list, ConvShape conv, NormShape norm, const JsonAt *at,
                         Error *err)
{
    conv.padding = conv.kernel / 2;
    return add_conv(list, &conv, at, err) == 0 ? add_batchnorm(list, norm, at, err) : -1;
}

static int mbconv_layers(LayerList *list, const MbconvShape *m, const JsonAt *at, Error *err)
{
    int64_t wide = (int64_t)list->shape.channels * m->expansion;

    if (wide > WORKLOAD_MAX_SIZE)
        return json_fail(at, err, "an expansion of %d makes %lld channels, expected at most %d",
                         m->expansion, (long long)wide, WORKLOAD_MAX_SIZE);
    ConvShape expand = {.out = (int)wide, .kernel = 1, .stride = 1, .groups = 1}, project = expand;
    ConvShape depthwise = {
        .out = (int)wide, .kernel = m->kernel, .stride = m->stride, .groups = (int)wide};

    project.out = m->out;
    if (m->expansion > 1) {
        if (conv_and_norm(list, expand, m->norm, at, err) != 0) return -1;
        if (add_plain(list, LAYER_RELU6, at, err) != 0) return -1;
    }
    if (conv_and_norm(list, depthwise, m->norm, at, err) != 0) return -1;
    if (add_plain(list, LAYER_RELU6, at, err) != 0) return -1;
    return conv_and_norm(list, project, m->norm, at, err);
}

int add_mbconv(LayerList *list, const MbconvShape *mbconv, const JsonAt *at, Error *err)
{
    LayerList body;

    if (mbconv->stride != 1 || mbconv->out != list->shape.channels)
        return mbconv_layers(list, mbconv, at, err);
    if (list_inside(&body, list, INSIDE_BODY, at, err) != 0) return -1;
    if (mbconv_layers(&body, mbconv, at, err) != 0) return -1;
    return add_residual(list, &body, NULL, at, err);
}

/* A conv with either a bias or a batchnorm. */
static int separable_conv(LayerList *list, ConvShape conv, const SeparableShape *separable,
                          const JsonAt *at, Error *err)
{
    conv.bias = !separable->batchnorm;
    if (add_conv(list, &conv, at, err) != 0) return -1;
    return separable->batchnorm ? add_batchnorm(list, separable->norm, at, err) : 0;
}

int add_separable(LayerList *list, const SeparableShape *separable, const JsonAt *at, Error *err)
{
    int       in = list->shape.channels, kernel = separable->kernel;
    ConvShape depthwise = {.out = in, .kernel = kernel, .stride = separable->stride,
                           .padding = kernel / 2, .groups = in};
    ConvShape pointwise = {.out = separable->out, .kernel = 1, .stride = 1, .groups = 1};

    if (separable_conv(list, depthwise, separable, at, err) != 0) return -1;
    if (separable_conv(list, pointwise, separable, at, err) != 0) return -1;
    return separable->relu ? add_plain(list, LAYER_RELU, at, err) : 0;
}
