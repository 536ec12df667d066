/* BERT: LayerNorm behind each sum, learnt positions, token types; queries, keys and values
 * apart. */
#include "executor/import/model.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    int    width, ffn, layers, heads, types;
    double eps;
    ModelFunction function;
} BertShape;

static void read_shape(Model *m, BertShape *s)
{
    ModelConfig *c = &m->config;
    const char  *positions = config_text_or(c, "position_embedding_type", "absolute");

    s->width = config_size(c, "hidden_size");
    s->ffn = config_size(c, "intermediate_size");
    s->layers = config_size(c, "num_hidden_layers");
    s->heads = config_size(c, "num_attention_heads");
    s->types = config_size_or(c, "type_vocab_size", 2);
    s->eps = config_number_or(c, "layer_norm_eps", 1e-12);
    s->function = model_function(m, "hidden_act", "gelu");
    if (s->width % s->heads != 0)
        config_refuse(c, "num_attention_heads", "%d heads do not divide a width of %d", s->heads,
                      s->width);
    if (strcmp(positions, "absolute") != 0)
        config_refuse(c, "position_embedding_type", "\"%s\", expected absolute", positions);
    if (config_flag_or(c, "is_decoder", false))
        config_refuse(c, "is_decoder", "a BERT that decodes is not imported");
}

static void linear(Model *m, int in, int out, int layer, const char *module)
{
    char        name[96];
    const char *modules = name;

    snprintf(name, sizeof name, "encoder.layer.%d.%s", layer, module);
    model_linear(m, in, out, &modules, 1, false);
}

static void norm(Model *m, const BertShape *s, int layer, const char *module)
{
    char name[96];

    snprintf(name, sizeof name, "encoder.layer.%d.%s", layer, module);
    model_norm(m, "layernorm", s->eps, s->width, name);
}

static void layer(Model *m, const BertShape *s, int i)
{
    static const char *const names[] = {"query", "key", "value"};
    char        qkv[3][96];
    const char *modules[3] = {qkv[0], qkv[1], qkv[2]};

    for (int k = 0; k < 3; k++)
        snprintf(qkv[k], sizeof qkv[k], "encoder.layer.%d.attention.self.%s", i, names[k]);
    model_residual(m);
    model_linear(m, s->width, 3 * s->width, modules, 3, false);
    model_layer(m, "attention", "\"heads\": %d, \"head_dim\": %d", s->heads, s->width / s->heads);
    linear(m, s->width, s->width, i, "attention.output.dense");
    model_residual_end(m);
    norm(m, s, i, "attention.output.LayerNorm");
    model_residual(m);
    linear(m, s->width, s->ffn, i, "intermediate.dense");
    model_layer(m, s->function.kind, "%s", s->function.keys);
    linear(m, s->ffn, s->width, i, "output.dense");
    model_residual_end(m);
    norm(m, s, i, "output.LayerNorm");
}

static void head(Model *m, const BertShape *s)
{
    const char *dense = "pooler.dense";

    if (m->options->head == IMPORT_HEAD_NONE) return;
    model_layer(m, "pool", "\"of\": \"%s\"",
                m->options->head == IMPORT_HEAD_MEAN ? "mean" : "first");
    if (m->options->head == IMPORT_HEAD_MEAN) return;
    model_linear(m, s->width, s->width, &dense, 1, false);
    model_layer(m, "tanh", "%s", "");
}

void model_bert(Model *m)
{
    BertShape s = {0};
    int       vocabulary = config_size(&m->config, "vocab_size");

    m->prefix = sources_find(m->sources, "bert.embeddings.word_embeddings.weight") ? "bert." : "";
    read_shape(m, &s);
    text_printf(&m->input, "{\"tokens\": %d, \"vocabulary\": %d, \"types\": %d}",
                m->options->tokens, vocabulary, s.types);
    model_layer(m, "embedding",
                "\"vocabulary\": %d, \"out\": %d, \"positions\": true, \"types\": %d", vocabulary,
                s.width, s.types);
    model_take(m, "weight", vocabulary, s.width, model_name(m, "embeddings.word_embeddings.weight"),
               false);
    model_take(m, "positions", m->options->tokens, s.width,
               model_name(m, "embeddings.position_embeddings.weight"), true);
    model_take(m, "types", s.types, s.width,
               model_name(m, "embeddings.token_type_embeddings.weight"), false);
    model_norm(m, "layernorm", s.eps, s.width, "embeddings.LayerNorm");
    for (int i = 0; i < s.layers && model_works(m); i++) {
        layer(m, &s, i);
        model_transformer_layer_end(m, i + 1 == s.layers);
    }
    head(m, &s);
    model_block_end(m, "last", m->options->head == IMPORT_HEAD_NONE ? "normalised_mse" : "cosine");
}
