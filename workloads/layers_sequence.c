#include "workloads/layers_sequence.h"

#include <string.h>

/* ---- values --------------------------------------------------------------- */

/* *out keeps its value where the key is absent; required: it may not be. */
static int get_size(const JsonAt *layer, const char *key, int minimum, int maximum, bool required,
                    int *out, Error *err)
{
    JsonAt  at = json_member(layer, key);
    int64_t value = 0;

    if (!required && !json_has(&at)) return 0;
    if (json_get_integer(&at, minimum, maximum, &value, err) != 0) return -1;
    *out = (int)value;
    return 0;
}

static int get_flag(const JsonAt *layer, const char *key, bool *out, Error *err)
{
    JsonAt at = json_member(layer, key);

    return json_has(&at) ? json_get_bool(&at, out, err) : 0;
}

/* A number of minimum..maximum. */
static int get_number(const JsonAt *layer, const char *key, double minimum, double maximum,
                      double *out, Error *err)
{
    JsonAt at = json_member(layer, key);

    if (!json_has(&at)) return 0;
    if (json_get_number(&at, minimum, out, err) != 0) return -1;
    return *out <= maximum
               ? 0
               : json_fail(&at, err, "%g is too large, expected at most %g", *out, maximum);
}

/* A sequence or a vector: one place beside another in one direction only. */
static int expect_sequence(const LayerList *list, LayerKind kind, const JsonAt *at, Error *err)
{
    char text[SHAPE_TEXT_BYTES];

    if (list->shape.width == 1) return 0;
    return json_fail(at, err, "%s on %s, expected a sequence (CxTx1)", layer_kind_name(kind),
                     shape_text(text, list->shape));
}

static Layer layer_on(const LayerList *list, LayerKind kind)
{
    return (Layer){.kind = kind, .in = list->shape, .out = list->shape};
}

/* ---- from tokens and patches, and to one vector ----------------------------- */

int read_embedding(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "vocabulary", "out", "positions", "types", NULL};
    Layer  layer = layer_on(list, LAYER_EMBEDDING);
    JsonAt vocabulary = json_member(at, "vocabulary"), types = json_member(at, "types");
    int    has = list->workload->types;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (!list->tokens)
        return json_fail(
            at, err, "an embedding behind another layer, expected it first on an input of tokens");
    if (get_size(at, "vocabulary", 2, WORKLOAD_MAX_VOCABULARY, true, &layer.vocabulary, err) != 0)
        return -1;
    if (get_size(at, "out", 1, WORKLOAD_MAX_SIZE, true, &layer.out.channels, err) != 0) return -1;
    if (get_flag(at, "positions", &layer.positions, err) != 0) return -1;
    if (get_size(at, "types", 1, WORKLOAD_MAX_TYPES, false, &layer.types, err) != 0) return -1;
    if (layer.vocabulary < list->workload->vocabulary)
        return json_fail(&vocabulary, err, "%d vectors, and the input's vocabulary is %d",
                         layer.vocabulary, list->workload->vocabulary);
    if (layer.types < has || (layer.types > 0 && has == 0))
        return json_fail(&types, err, "%d token types, and the input has %d", layer.types, has);
    return list_append(list, layer, at, err);
}

int read_tokens(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "class_token", "positions", NULL};
    Layer   layer = layer_on(list, LAYER_TOKENS);
    int64_t places = (int64_t)layer.in.height * layer.in.width;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_flag(at, "class_token", &layer.class_token, err) != 0) return -1;
    if (get_flag(at, "positions", &layer.positions, err) != 0) return -1;
    if (places + 1 > WORKLOAD_MAX_VECTOR)
        return json_fail(at, err, "%lld tokens, expected at most 2^28", (long long)places);
    layer.out = (Shape){layer.in.channels, (int)places + layer.class_token, 1};
    return list_append(list, layer, at, err);
}

int read_pool(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "of", NULL};
    static const char *const names[] = {"mean", "first", NULL};
    Layer  layer = layer_on(list, LAYER_POOL);
    JsonAt of = json_member(at, "of");
    int    which = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_get_choice(&of, names, &which, err) != 0) return -1;
    if (expect_sequence(list, LAYER_POOL, at, err) != 0) return -1;
    layer.pooling = (Pooling)which;
    layer.out.height = 1;
    return list_append(list, layer, at, err);
}

/* ---- norms and activations -------------------------------------------------- */

static int read_norm(LayerList *list, LayerKind kind, double eps, const JsonAt *at, Error *err)
{
    static const char *const with_bias[] = {"layer", "eps", "bias", NULL}, *const without[] = {
                                                                               "layer", "eps",
                                                                               NULL};
    Layer layer = layer_on(list, kind);

    layer.eps = eps;
    layer.bias = kind == LAYER_LAYERNORM;
    if (json_check_keys(at, kind == LAYER_LAYERNORM ? with_bias : without, err) != 0) return -1;
    if (get_number(at, "eps", 0, 1, &layer.eps, err) != 0) return -1;
    if (kind == LAYER_LAYERNORM && get_flag(at, "bias", &layer.bias, err) != 0) return -1;
    return list_append(list, layer, at, err);
}

int read_layernorm(LayerList *list, const JsonAt *at, Error *err)
{
    return read_norm(list, LAYER_LAYERNORM, 1e-5, at, err);
}
int read_rmsnorm(LayerList *list, const JsonAt *at, Error *err)
{
    return read_norm(list, LAYER_RMSNORM, 1e-6, at, err);
}

static int add_function(LayerList *list, LayerKind kind, Function function, const JsonAt *at,
                        Error *err)
{
    Layer layer = layer_on(list, kind);

    layer.function = function;
    return list_append(list, layer, at, err);
}

int read_gelu(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "approximate", NULL}, *const names[] = {
                                                                          "none", "tanh", NULL};
    JsonAt approximate = json_member(at, "approximate");
    int    which = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_has(&approximate) && json_get_choice(&approximate, names, &which, err) != 0) return -1;
    return add_function(list, LAYER_GELU, which ? FUNCTION_GELU_TANH : FUNCTION_GELU, at, err);
}

int read_silu(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", NULL};

    return json_check_keys(at, keys, err) == 0
               ? add_function(list, LAYER_SILU, FUNCTION_SILU, at, err)
               : -1;
}

int read_tanh(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", NULL};

    return json_check_keys(at, keys, err) == 0
               ? add_function(list, LAYER_TANH, FUNCTION_TANH, at, err)
               : -1;
}

int read_gated(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer", "function", NULL};
    static const char *const names[] = {"relu", "gelu", "gelu_tanh", "silu", "tanh", NULL};
    Layer  layer = layer_on(list, LAYER_GATED);
    JsonAt function = json_member(at, "function");
    int    which = 0;
    char   text[SHAPE_TEXT_BYTES];

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (json_get_choice(&function, names, &which, err) != 0) return -1;
    if (layer.in.channels % 2 != 0)
        return json_fail(
            at, err,
            "a gated product on %s, expected an even number of channels: gates, then values",
            shape_text(text, layer.in));
    layer.function = (Function)which;
    layer.out.channels /= 2;
    return list_append(list, layer, at, err);
}

/* ---- attention ---------------------------------------------------------------- */

static int read_scaling(const JsonAt *at, Rotary *rotary, Error *err)
{
    static const char *const keys[] = {"factor", "low", "high", "original", NULL};
    JsonAt high = json_member(at, "high");

    rotary->low = 1;
    rotary->high = 4;
    rotary->original = 8192;
    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_number(at, "factor", 1, 1e6, &rotary->factor, err) != 0) return -1;
    if (get_number(at, "low", 1e-6, 1e6, &rotary->low, err) != 0) return -1;
    if (get_number(at, "high", 1e-6, 1e6, &rotary->high, err) != 0) return -1;
    if (rotary->high <= rotary->low)
        return json_fail(&high, err, "%g, expected more than low, which is %g", rotary->high,
                         rotary->low);
    return get_size(at, "original", 1, 1 << 28, false, &rotary->original, err);
}

static int read_rotary(const JsonAt *at, const Attention *attention, Rotary *rotary, Error *err)
{
    static const char *const keys[] = {"theta", "dim", "scaling", NULL};
    JsonAt dim = json_member(at, "dim"), scaling = json_member(at, "scaling");

    *rotary = (Rotary){.dim = attention->head_dim, .theta = 10000, .factor = 1};
    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_number(at, "theta", 1, 1e12, &rotary->theta, err) != 0) return -1;
    if (get_size(at, "dim", 2, attention->head_dim, false, &rotary->dim, err) != 0) return -1;
    if (rotary->dim % 2 != 0)
        return json_fail(json_has(&dim) ? &dim : at, err,
                         "%d numbers of a head turn in pairs, expected an even number",
                         rotary->dim);
    return json_has(&scaling) ? read_scaling(&scaling, rotary, err) : 0;
}

static int check_heads(const LayerList *list, const Attention *a, const JsonAt *at, Error *err)
{
    int64_t channels = ((int64_t)a->heads + 2 * (int64_t)a->kv_heads) * a->head_dim;
    JsonAt  kv = json_member(at, "kv_heads");

    if (a->heads % a->kv_heads != 0)
        return json_fail(&kv, err, "%d key-value heads do not divide %d heads", a->kv_heads,
                         a->heads);
    if (list->shape.channels != channels)
        return json_fail(at, err,
                         "attention on %d channels, expected %lld: %d x %d of queries, then %d x "
                         "%d of keys, then as "
                         "many of values",
                         list->shape.channels, (long long)channels, a->heads, a->head_dim,
                         a->kv_heads, a->head_dim);
    return 0;
}

int read_attention(LayerList *list, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"layer",  "heads",  "kv_heads", "head_dim", "causal",
                                       "window", "rotary", "norm",     "eps",      NULL};
    Layer      layer = layer_on(list, LAYER_ATTENTION);
    Attention *a = &layer.attention;
    JsonAt     rotary = json_member(at, "rotary"), eps = json_member(at, "eps");

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_size(at, "heads", 1, WORKLOAD_MAX_SIZE, true, &a->heads, err) != 0) return -1;
    a->kv_heads = a->heads;
    if (get_size(at, "kv_heads", 1, WORKLOAD_MAX_SIZE, false, &a->kv_heads, err) != 0) return -1;
    if (get_size(at, "head_dim", 1, WORKLOAD_MAX_SIZE, true, &a->head_dim, err) != 0) return -1;
    if (get_flag(at, "causal", &a->causal, err) != 0) return -1;
    if (get_size(at, "window", 1, WORKLOAD_MAX_SIZE, false, &a->window, err) != 0) return -1;
    if (get_flag(at, "norm", &a->norm, err) != 0) return -1;
    layer.eps = a->norm ? 1e-6 : 0;
    if (json_has(&eps) && !a->norm) return json_fail(&eps, err, "only \"norm\": true has an eps");
    if (get_number(at, "eps", 0, 1, &layer.eps, err) != 0) return -1;
    if (expect_sequence(list, LAYER_ATTENTION, at, err) != 0 || check_heads(list, a, at, err) != 0)
        return -1;
    if (json_has(&rotary) && read_rotary(&rotary, a, &a->rotary, err) != 0) return -1;
    layer.out.channels = a->heads * a->head_dim;
    return list_append(list, layer, at, err);
}
