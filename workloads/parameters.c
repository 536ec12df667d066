/* Which tensors a layer learns or keeps: the one place that says so. Names, shapes and order are
 * PyTorch's. */
#include "workloads/workload.h"

typedef struct {
    LayerParameter *list;
    int             count;
} ParameterListing;

static void add(ParameterListing *out, const char *what, bool trained, int rank, int64_t a,
                int64_t b)
{
    out->list[out->count++] =
        (LayerParameter){.what = what, .trained = trained, .rank = rank, .dim = {a, b}};
}

static void add_vectors(ParameterListing *out, int64_t length, const char *first,
                        const char *second)
{
    add(out, first, true, 1, length, 0);
    if (second) add(out, second, true, 1, length, 0);
}

static void add_conv(ParameterListing *out, const Layer *layer)
{
    out->list[out->count++] =
        (LayerParameter){.what = "weight",
                         .trained = true,
                         .rank = 4,
                         .dim = {layer->out.channels, layer->in.channels / layer->groups,
                                 layer->kernel, layer->kernel}};
    if (layer->bias) add(out, "bias", true, 1, layer->out.channels, 0);
}

static void add_linear(ParameterListing *out, const Layer *layer)
{
    add(out, "weight", true, 2, layer->out.channels, layer->in.channels);
    if (layer->bias) add(out, "bias", true, 1, layer->out.channels, 0);
}

static void add_batchnorm(ParameterListing *out, const Layer *layer)
{
    add_vectors(out, layer->out.channels, "weight", "bias");
    add(out, "running_mean", false, 1, layer->out.channels, 0);
    add(out, "running_var", false, 1, layer->out.channels, 0);
}

static void add_embedding(ParameterListing *out, const Layer *layer)
{
    add(out, "weight", true, 2, layer->vocabulary, layer->out.channels);
    if (layer->positions) add(out, "positions", true, 2, layer->out.height, layer->out.channels);
    if (layer->types > 0) add(out, "types", true, 2, layer->types, layer->out.channels);
}

static void add_tokens(ParameterListing *out, const Layer *layer)
{
    if (layer->class_token) add(out, "class_token", true, 2, 1, layer->out.channels);
    if (layer->positions) add(out, "positions", true, 2, layer->out.height, layer->out.channels);
}

int layer_parameter_list(const Layer *layer, LayerParameter out[LAYER_PARAMETERS_MAX])
{
    ParameterListing listing = {out, 0};

    switch (layer->kind) {
    case LAYER_CONV:      add_conv(&listing, layer); break;
    case LAYER_LINEAR:    add_linear(&listing, layer); break;
    case LAYER_BATCHNORM: add_batchnorm(&listing, layer); break;
    case LAYER_EMBEDDING: add_embedding(&listing, layer); break;
    case LAYER_LAYERNORM:
        add_vectors(&listing, layer->out.channels, "weight", layer->bias ? "bias" : NULL);
        break;
    case LAYER_RMSNORM:   add_vectors(&listing, layer->out.channels, "weight", NULL); break;
    case LAYER_TOKENS:    add_tokens(&listing, layer); break;
    case LAYER_ATTENTION:
        if (layer->attention.norm)
            add_vectors(&listing, layer->attention.head_dim, "q_norm", "k_norm");
        break;
    default: break;
    }
    return listing.count;
}

int64_t layer_parameter_count(const LayerParameter *parameter)
{
    int64_t count = 1;

    for (int i = 0; i < parameter->rank; i++) count *= parameter->dim[i];
    return count;
}
