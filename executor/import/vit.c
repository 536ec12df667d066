/* ViT: patches with a class token and learnt positions, LayerNorm before; a classifier on the class
 * token, where there is one. */
#include "executor/import/model.h"

#include <stdio.h>

typedef struct {
    int    width, ffn, layers, heads, image, patch, channels, tokens;
    double eps;
    ModelFunction function;
} VitShape;

static void read_shape(Model *m, VitShape *s)
{
    ModelConfig *c = &m->config;

    s->width = config_size(c, "hidden_size");
    s->ffn = config_size(c, "intermediate_size");
    s->layers = config_size(c, "num_hidden_layers");
    s->heads = config_size(c, "num_attention_heads");
    s->image = config_size(c, "image_size");
    s->patch = config_size(c, "patch_size");
    s->channels = config_size_or(c, "num_channels", 3);
    s->eps = config_number_or(c, "layer_norm_eps", 1e-12);
    s->function = model_function(m, "hidden_act", "gelu");
    if (s->width % s->heads != 0)
        config_refuse(c, "num_attention_heads", "%d heads do not divide a width of %d", s->heads,
                      s->width);
    if (s->image % s->patch != 0)
        config_refuse(c, "patch_size", "patches of %d do not divide an image of %d", s->patch,
                      s->image);
    s->tokens = (int)((int64_t)(s->image / s->patch) * (s->image / s->patch) % (1 << 28)) + 1;
}

static void linear(Model *m, int in, int out, int layer, const char *module)
{
    char        name[96];
    const char *modules = name;

    snprintf(name, sizeof name, "encoder.layer.%d.%s", layer, module);
    model_linear(m, in, out, &modules, 1, false);
}

static void norm(Model *m, const VitShape *s, int layer, const char *module)
{
    char name[96];

    snprintf(name, sizeof name, "encoder.layer.%d.%s", layer, module);
    model_norm(m, "layernorm", s->eps, s->width, name);
}

static void layer(Model *m, const VitShape *s, int i)
{
    static const char *const names[] = {"query", "key", "value"};
    char        qkv[3][96];
    const char *modules[3] = {qkv[0], qkv[1], qkv[2]};

    for (int k = 0; k < 3; k++)
        snprintf(qkv[k], sizeof qkv[k], "encoder.layer.%d.attention.attention.%s", i, names[k]);
    model_residual(m);
    norm(m, s, i, "layernorm_before");
    model_linear(m, s->width, 3 * s->width, modules, 3, false);
    model_layer(m, "attention", "\"heads\": %d, \"head_dim\": %d", s->heads, s->width / s->heads);
    linear(m, s->width, s->width, i, "attention.output.dense");
    model_residual_end(m);
    model_residual(m);
    norm(m, s, i, "layernorm_after");
    linear(m, s->width, s->ffn, i, "intermediate.dense");
    model_layer(m, s->function.kind, "%s", s->function.keys);
    linear(m, s->ffn, s->width, i, "output.dense");
    model_residual_end(m);
}

/* The weight of the patches' convolution is [out][channels][patch][patch]: its bytes are a
 * matrix's. */
static void patches(Model *m, const VitShape *s)
{
    const char *name = model_name(m, "embeddings.patch_embeddings.projection.weight");

    model_layer(m, "conv",
                "\"out\": %d, \"kernel\": %d, \"stride\": %d, \"padding\": 0, \"bias\": true",
                s->width, s->patch, s->patch);
    model_take_conv(m, "weight", s->width, s->channels, s->patch, name);
    model_take(m, "bias", s->width, 0, model_name(m, "embeddings.patch_embeddings.projection.bias"),
               false);
    model_layer(m, "tokens", "%s", "\"class_token\": true, \"positions\": true");
    model_take(m, "class_token", 1, s->width, model_name(m, "embeddings.cls_token"), false);
    model_take(m, "positions", s->tokens, s->width, model_name(m, "embeddings.position_embeddings"),
               false);
}

static void head(Model *m, const VitShape *s)
{
    const SourceTensor *weight = sources_find(m->sources, "classifier.weight");
    const char         *module = "classifier", *prefix = m->prefix;

    model_norm(m, "layernorm", s->eps, s->width, "layernorm");
    if (!weight) { model_block_end(m, "last", "normalised_mse"); return; }
    model_layer(m, "pool", "%s", "\"of\": \"first\"");
    m->prefix = "";
    model_linear(m, s->width, weight->rank == 2 ? (int)weight->dim[0] : 1, &module, 1, false);
    m->prefix = prefix;
    m->classes = weight->rank == 2 && weight->dim[0] > 1 ? (int)weight->dim[0] : 0;
    model_block_end(m, "head", "kl");
}

void model_vit(Model *m)
{
    VitShape s = {0};

    m->prefix = sources_find(m->sources, "vit.embeddings.cls_token") ? "vit." : "";
    read_shape(m, &s);
    text_printf(&m->input, "{\"channels\": %d, \"height\": %d, \"width\": %d", s.channels, s.image,
                s.image);
    if (s.channels <= 4) {
        text_append(&m->input, ", \"mean\": [");
        for (int i = 0; i < s.channels; i++) text_printf(&m->input, "%s0.5", i ? ", " : "");
        text_append(&m->input, "], \"deviation\": [");
        for (int i = 0; i < s.channels; i++) text_printf(&m->input, "%s0.5", i ? ", " : "");
        text_append(&m->input, "]");
    }
    text_append(&m->input, "}");
    patches(m, &s);
    for (int i = 0; i < s.layers && model_works(m); i++) {
        layer(m, &s, i);
        model_transformer_layer_end(m, i + 1 == s.layers);
    }
    head(m, &s);
}
