/* GPT-2: LayerNorm before, learnt positions; its linear layers are kept as [in][out], queries, keys
 * and values as one. */
#include "executor/import/model.h"

#include <stdio.h>

typedef struct {
    int    width, ffn, layers, heads;
    double eps;
    ModelFunction function;
} Gpt2Shape;

static void read_shape(Model *m, Gpt2Shape *s)
{
    ModelConfig *c = &m->config;

    s->width = config_size(c, "n_embd");
    s->ffn = config_size_or(c, "n_inner", s->width <= 1 << 28 ? 4 * s->width : 1);
    s->layers = config_size(c, "n_layer");
    s->heads = config_size(c, "n_head");
    s->eps = config_number_or(c, "layer_norm_epsilon", 1e-5);
    s->function = model_function(m, "activation_function", "gelu_new");
    if (s->width % s->heads != 0)
        config_refuse(c, "n_head", "%d heads do not divide a width of %d", s->heads, s->width);
    if (!config_flag_or(c, "scale_attn_weights", true))
        config_refuse(c, "scale_attn_weights", "scores that are not scaled are not imported");
    if (config_flag_or(c, "scale_attn_by_inverse_layer_idx", false))
        config_refuse(c, "scale_attn_by_inverse_layer_idx",
                      "scores scaled by the layer's number are not imported");
    if (config_flag_or(c, "add_cross_attention", false))
        config_refuse(c, "add_cross_attention", "cross-attention is not imported");
}

static void linear(Model *m, int in, int out, int layer, const char *module)
{
    char        name[64];
    const char *modules = name;

    snprintf(name, sizeof name, "h.%d.%s", layer, module);
    model_linear(m, in, out, &modules, 1, true);
}

static void layer(Model *m, const Gpt2Shape *s, int i)
{
    char name[64];

    model_residual(m);
    snprintf(name, sizeof name, "h.%d.ln_1", i);
    model_norm(m, "layernorm", s->eps, s->width, name);
    linear(m, s->width, 3 * s->width, i, "attn.c_attn");
    model_layer(m, "attention", "\"heads\": %d, \"head_dim\": %d, \"causal\": true", s->heads,
                s->width / s->heads);
    linear(m, s->width, s->width, i, "attn.c_proj");
    model_residual_end(m);
    model_residual(m);
    snprintf(name, sizeof name, "h.%d.ln_2", i);
    model_norm(m, "layernorm", s->eps, s->width, name);
    linear(m, s->width, s->ffn, i, "mlp.c_fc");
    model_layer(m, s->function.kind, "%s", s->function.keys);
    linear(m, s->ffn, s->width, i, "mlp.c_proj");
    model_residual_end(m);
}

void model_gpt2(Model *m)
{
    Gpt2Shape s = {0};
    int       vocabulary = config_size(&m->config, "vocab_size");
    bool      tied;

    m->prefix = sources_find(m->sources, "transformer.wte.weight") ? "transformer." : "";
    read_shape(m, &s);
    text_printf(&m->input, "{\"tokens\": %d, \"vocabulary\": %d}", m->options->tokens, vocabulary);
    model_layer(m, "embedding", "\"vocabulary\": %d, \"out\": %d, \"positions\": true", vocabulary,
                s.width);
    model_take(m, "weight", vocabulary, s.width, model_name(m, "wte.weight"), false);
    model_take(m, "positions", m->options->tokens, s.width, model_name(m, "wpe.weight"), true);
    for (int i = 0; i < s.layers && model_works(m); i++) {
        layer(m, &s, i);
        model_transformer_layer_end(m, i + 1 == s.layers);
    }
    model_layers_end(m);
    tied = config_flag_or(&m->config, "tie_word_embeddings", true)
           || !sources_find(m->sources, "lm_head.weight");
    model_norm(m, "layernorm", s.eps, s.width, "ln_f");
    model_layer(m, "linear", "\"out\": %d, \"bias\": false", vocabulary);
    model_take(m, "weight", vocabulary, s.width,
               tied ? model_name(m, "wte.weight") : "lm_head.weight", false);
    if (tied)
        text_append(&m->notes, "the head is tied to the embedding: one tensor of the model, here "
                               "one in each of the two blocks\n");
    model_block_end(m, "head", "kl");
}
