/* Llama, Mistral, Qwen2, Qwen3: RMSNorm before, rotary positions, gated FFN. */
#include "executor/import/model.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    int    width, ffn, layers, heads, kv_heads, head_dim;
    double eps;
    bool   norm;             /* of each head's queries and keys: Qwen3 */
    char   rotary[256];      /* JSON */
    ModelFunction function;
} LlamaShape;

/* transformers 4 has rope_theta beside rope_scaling, 5 has both in rope_parameters. */
static void read_rotary(Model *m, LlamaShape *s)
{
    bool        newer = config_has(&m->config, "rope_parameters");
    ModelConfig rope = config_inside(&m->config, newer ? "rope_parameters" : "rope_scaling");
    bool        has = newer || config_has(&m->config, "rope_scaling");
    const char *type =
        !has ? "default"
             : config_text_or(&rope, "rope_type", config_text_or(&rope, "type", "default"));
    double      theta = newer ? config_number_or(&rope, "rope_theta", 10000)
                              : config_number_or(&m->config, "rope_theta", 10000);
    double      partial = config_number_or(newer ? &rope : &m->config, "partial_rotary_factor", 1);
    int         length, dim = (int)(partial * s->head_dim);

    length = snprintf(s->rotary, sizeof s->rotary, "{\"theta\": %.17g, \"dim\": %d", theta, dim);
    if (strcmp(type, "llama3") == 0)
        snprintf(s->rotary + length, sizeof s->rotary - (size_t)length,
                 ", \"scaling\": {\"factor\": %.17g, \"low\": %.17g, \"high\": %.17g, "
                 "\"original\": %d}}",
                 config_number_or(&rope, "factor", 1),
                 config_number_or(&rope, "low_freq_factor", 1),
                 config_number_or(&rope, "high_freq_factor", 4),
                 config_size_or(&rope, "original_max_position_embeddings", 8192));
    else snprintf(s->rotary + length, sizeof s->rotary - (size_t)length, "}");
    m->config.failed = m->config.failed || rope.failed;
    if (strcmp(type, "llama3") != 0 && strcmp(type, "default") != 0)
        config_refuse(&m->config, newer ? "rope_parameters" : "rope_scaling",
                      "rotary positions of type \"%s\", expected default or llama3", type);
}

static void read_shape(Model *m, LlamaShape *s)
{
    ModelConfig *c = &m->config;

    s->width = config_size(c, "hidden_size");
    s->ffn = config_size(c, "intermediate_size");
    s->layers = config_size(c, "num_hidden_layers");
    s->heads = config_size(c, "num_attention_heads");
    s->kv_heads = config_size_or(c, "num_key_value_heads", s->heads);
    s->head_dim = config_size_or(c, "head_dim", s->width / s->heads > 0 ? s->width / s->heads : 1);
    s->eps = config_number_or(c, "rms_norm_eps", 1e-6);
    s->norm = strcmp(config_text_or(c, "model_type", ""), "qwen3") == 0;
    s->function = model_function(m, "hidden_act", "silu");
    read_rotary(m, s);
}

/* Of a layer; 0: it sees all. Those that a sequence is too short for make no difference. */
static int window_of(Model *m, int layer)
{
    ModelConfig *c = &m->config;
    int          window = config_size_or(c, "sliding_window", 0);
    JsonAt       types = json_member(&c->root, "layer_types"), type;
    const char  *word;

    if (window >= m->options->tokens || window == 0) return 0;
    if (config_has(c, "layer_types")) {
        if (json_count(&types) <= (size_t)layer) {
            config_refuse(c, "layer_types", "%zu, expected one a layer", json_count(&types));
            return 0;
        }
        type = json_element(&types, (size_t)layer);
        if (json_get_line(&type, &word, c->err) != 0) { c->failed = true; return 0; }
        if (strcmp(word, "sliding_attention") == 0) return window;
        if (strcmp(word, "full_attention") != 0)
            config_refuse(c, "layer_types",
                          "\"%s\" is not known, expected full_attention or sliding_attention",
                          word);
        return 0;
    }
    if (!config_flag_or(c, "use_sliding_window",
                        strcmp(config_text_or(c, "model_type", ""), "mistral") == 0))
        return 0;
    return (double)layer >= config_number_or(c, "max_window_layers", 0) ? window : 0;
}

/* A layer's attention: queries, keys and values as one product, the attention itself, with norms of
 * heads where the model has them, and the product behind it. */
static void attention(Model *m, const LlamaShape *s, int layer)
{
    const char *qkv[3], *o;
    char        names[4][64], window[32] = "", norm[64] = "";
    int         seen = window_of(m, layer);

    snprintf(names[0], sizeof names[0], "layers.%d.self_attn.q_proj", layer);
    snprintf(names[1], sizeof names[1], "layers.%d.self_attn.k_proj", layer);
    snprintf(names[2], sizeof names[2], "layers.%d.self_attn.v_proj", layer);
    snprintf(names[3], sizeof names[3], "layers.%d.self_attn.o_proj", layer);
    for (int i = 0; i < 3; i++) qkv[i] = names[i];
    o = names[3];
    if (seen > 0) snprintf(window, sizeof window, ", \"window\": %d", seen);
    if (s->norm) snprintf(norm, sizeof norm, ", \"norm\": true, \"eps\": %.17g", s->eps);
    model_linear(m, s->width, (s->heads + 2 * s->kv_heads) * s->head_dim, qkv, 3, false);
    model_layer(
        m, "attention",
        "\"heads\": %d, \"kv_heads\": %d, \"head_dim\": %d, \"causal\": true%s%s, \"rotary\": %s",
        s->heads, s->kv_heads, s->head_dim, window, norm, s->rotary);
    if (s->norm) {
        model_take(m, "q_norm", s->head_dim, 0,
                   model_name(m, "layers.%d.self_attn.q_norm.weight", layer), false);
        model_take(m, "k_norm", s->head_dim, 0,
                   model_name(m, "layers.%d.self_attn.k_norm.weight", layer), false);
    }
    model_linear(m, s->heads * s->head_dim, s->width, &o, 1, false);
}

static void ffn(Model *m, const LlamaShape *s, int layer)
{
    const char *gate[2], *down;
    char        names[3][64];

    snprintf(names[0], sizeof names[0], "layers.%d.mlp.gate_proj", layer);
    snprintf(names[1], sizeof names[1], "layers.%d.mlp.up_proj", layer);
    snprintf(names[2], sizeof names[2], "layers.%d.mlp.down_proj", layer);
    gate[0] = names[0];
    gate[1] = names[1];
    down = names[2];
    model_linear(m, s->width, 2 * s->ffn, gate, 2, false);
    model_layer(m, "gated", "\"function\": \"%s\"", s->function.gate);
    model_linear(m, s->ffn, s->width, &down, 1, false);
}

static void layer(Model *m, const LlamaShape *s, int i)
{
    char name[64];

    model_residual(m);
    snprintf(name, sizeof name, "layers.%d.input_layernorm", i);
    model_norm(m, "rmsnorm", s->eps, s->width, name);
    attention(m, s, i);
    model_residual_end(m);
    model_residual(m);
    snprintf(name, sizeof name, "layers.%d.post_attention_layernorm", i);
    model_norm(m, "rmsnorm", s->eps, s->width, name);
    ffn(m, s, i);
    model_residual_end(m);
}

static void head(Model *m, const LlamaShape *s, int vocabulary)
{
    bool tied = config_flag_or(&m->config, "tie_word_embeddings",
                               strcmp(config_text_or(&m->config, "model_type", ""), "llama") != 0);

    if (!tied && !sources_find(m->sources, "lm_head.weight")) tied = true;
    model_norm(m, "rmsnorm", s->eps, s->width, "norm");
    model_layer(m, "linear", "\"out\": %d, \"bias\": false", vocabulary);
    model_take(m, "weight", vocabulary, s->width,
               tied ? model_name(m, "embed_tokens.weight") : "lm_head.weight", false);
    if (tied)
        text_append(&m->notes, "the head is tied to the embedding: one tensor of the model, here "
                               "one in each of the two blocks\n");
}

void model_llama(Model *m)
{
    LlamaShape s = {0};
    int        vocabulary = config_size(&m->config, "vocab_size");

    m->prefix = "model.";
    read_shape(m, &s);
    text_printf(&m->input, "{\"tokens\": %d, \"vocabulary\": %d}", m->options->tokens, vocabulary);
    model_layer(m, "embedding", "\"vocabulary\": %d, \"out\": %d", vocabulary, s.width);
    model_take(m, "weight", vocabulary, s.width, model_name(m, "embed_tokens.weight"), false);
    for (int i = 0; i < s.layers && model_works(m); i++) {
        layer(m, &s, i);
        model_transformer_layer_end(m, i + 1 == s.layers);
    }
    model_layers_end(m);
    head(m, &s, vocabulary);
    model_block_end(m, "head", "kl");
}
