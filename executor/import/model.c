#include "executor/import/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

bool model_works(const Model *m) { return !m->config.failed; }

static void no_memory(Model *m)
{
    if (model_works(m)) error_no_memory(m->config.err);
    m->config.failed = true;
}

void model_fail(Model *m, const char *format, ...)
{
    char    why[512];
    va_list arguments;

    if (m->config.failed) return;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    error_set(m->config.err, "%s: %s", m->options->folder, why);
    m->config.failed = true;
}

static const char *keep(Model *m, const char *text)
{
    const char *kept = arena_strdup(&m->arena, text);

    if (!kept) no_memory(m);
    return kept ? kept : "";
}

const char *model_name(Model *m, const char *format, ...)
{
    char    name[256];
    int     length = snprintf(name, sizeof name, "%s", m->prefix);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name + length, sizeof name - (size_t)length, format, arguments);
    va_end(arguments);
    return keep(m, name);
}

/* ---- layers ---------------------------------------------------------------------- */

static void begin_layer(Model *m)
{
    int length = snprintf(m->current, sizeof m->current, "blocks.%d", m->block);

    text_append(&m->layers, m->layer[m->depth] > 0 ? ",\n" : "\n");
    text_printf(&m->layers, "%*s", 8 + 2 * m->depth, "");
    for (int d = 0; d <= m->depth; d++)
        length +=
            snprintf(m->current + length, sizeof m->current - (size_t)length, ".%d", m->layer[d]);
    m->layer[m->depth]++;
}

void model_layer(Model *m, const char *kind, const char *format, ...)
{
    char    keys[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(keys, sizeof keys, format, arguments);
    va_end(arguments);
    begin_layer(m);
    text_printf(&m->layers, "{\"layer\": \"%s\"%s%s}", kind, keys[0] ? ", " : "", keys);
}

void model_residual(Model *m)
{
    begin_layer(m);
    text_append(&m->layers, "{\"layer\": \"residual\", \"body\": [");
    m->layer[m->depth]--;                /* names inside it have its place in front */
    m->layer[++m->depth] = 0;
}

void model_residual_end(Model *m)
{
    text_append(&m->layers, "]}");
    m->layer[--m->depth]++;
}

void model_block_end(Model *m, const char *name, const char *loss)
{
    const char *layers = text_string(&m->layers);

    text_printf(&m->blocks, "%s\n    {\"name\": ", m->block > 0 ? "," : "");
    text_json_string(&m->blocks, name);
    text_printf(&m->blocks, ", \"loss\": \"%s\",\n     \"teacher\": [%s],\n     \"student\": [%s]}",
                loss, layers, layers);
    if (text_failed(&m->layers)) no_memory(m);
    text_free(&m->layers);
    m->layers = (Text){0};
    m->layer[0] = 0;
    m->transformer_layers = 0;
    m->block++;
}

void model_layers_end(Model *m)
{
    char name[32];

    snprintf(name, sizeof name, "b%d", m->block);
    model_block_end(m, name, "normalised_mse");
}

void model_transformer_layer_end(Model *m, bool last)
{
    if (++m->transformer_layers < m->options->layers_per_block && !last) return;
    if (!last) model_layers_end(m);      /* else what follows decides */
}

/* ---- tensors ----------------------------------------------------------------------- */

static ModelTensor *add_tensor(Model *m, const char *what)
{
    char name[96];

    if (!model_works(m)) return NULL;
    if (!array_has_room(m->tensor, m->tensor_count, m->tensor_room)) { no_memory(m); return NULL; }
    snprintf(name, sizeof name, "%s.%s", m->current, what);
    m->tensor[m->tensor_count] = (ModelTensor){.name = keep(m, name)};
    return &m->tensor[m->tensor_count++];
}

static void shape_text_of(char *out, size_t size, const SourceTensor *t)
{
    size_t length = 0;

    out[0] = '\0';
    for (int i = 0; i < t->rank && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "[%lld]", (long long)t->dim[i]);
}

/* The source as rows x columns (columns 0: a vector), leading dimensions of 1 left out; -1 rows: it
 * is not of that form. */
static int64_t rows_of(const SourceTensor *t, int64_t columns)
{
    int64_t other = columns > 0 ? columns : 1;
    int     first = 0, rank = columns > 0 ? 2 : 1;

    while (t->rank - first > rank && t->dim[first] == 1) first++;
    if (t->rank - first != rank || (rank == 2 && t->dim[first + 1] != columns)) return -1;
    return t->count / other;
}

static bool is_float(Model *m, const SourceTensor *t)
{
    if (strcmp(t->dtype, "F32") == 0 || strcmp(t->dtype, "F16") == 0
        || strcmp(t->dtype, "BF16") == 0)
        return true;
    model_fail(m, "tensor \"%s\" is of type %s, expected F32, F16 or BF16", t->name, t->dtype);
    return false;
}

/* Adds a source's rows. */
static void add_part(Model *m, ModelTensor *to, const char *name, int64_t rows, int64_t columns,
                     bool cut)
{
    const SourceTensor *from = sources_find(m->sources, name);
    char                shape[128];

    if (!from) { model_fail(m, "tensor \"%s\" is missing", name); return; }
    shape_text_of(shape, sizeof shape, from);
    int64_t found = rows_of(from, columns);
    if (found < rows || (found != rows && !cut)) {
        model_fail(m,
                   columns ? "tensor \"%s\" has the shape %s, expected [%lld][%lld]"
                           : "tensor \"%s\" has the shape %s, expected [%lld]",
                   name, shape, (long long)rows, (long long)columns);
        return;
    }
    if (!is_float(m, from)) return;
    if (to->parts > 0 && strcmp(to->dtype, from->dtype) != 0) {
        model_fail(m, "tensor \"%s\" is of type %s, and \"%s\" of %s, expected one type", name,
                   from->dtype, to->part[0]->name, to->dtype);
        return;
    }
    to->dtype = from->dtype;
    to->element_bytes = from->element_bytes;
    to->part[to->parts++] = from;
}

void model_take(Model *m, const char *what, int64_t rows, int64_t columns, const char *name,
                bool cut)
{
    ModelTensor *t = add_tensor(m, what);

    if (!t) return;
    t->rank = columns > 0 ? 2 : 1;
    t->dim[0] = rows;
    t->dim[1] = columns;
    add_part(m, t, name, rows, columns, cut);
}

void model_take_conv(Model *m, const char *what, int64_t out, int64_t channels, int64_t kernel,
                     const char *name)
{
    const SourceTensor *from = sources_find(m->sources, name);
    ModelTensor        *t = add_tensor(m, what);
    const int64_t       dim[4] = {out, channels, kernel, kernel};
    bool                same = from && from->rank == 4;

    if (!t) return;
    for (int i = 0; same && i < 4; i++) same = from->dim[i] == dim[i];
    if (!from) { model_fail(m, "tensor \"%s\" is missing", name); return; }
    if (!same) {
        model_fail(m, "tensor \"%s\" has another shape, expected [%lld][%lld][%lld][%lld]", name,
                   (long long)out, (long long)channels, (long long)kernel, (long long)kernel);
        return;
    }
    if (!is_float(m, from)) return;
    t->rank = 4;
    memcpy(t->dim, dim, sizeof dim);
    t->dtype = from->dtype;
    t->element_bytes = from->element_bytes;
    t->part[t->parts++] = from;
}

/* Rows of each of the parts: those of its bias, or of its weight. */
static int64_t rows_of_module(Model *m, const char *module, int in, bool transposed)
{
    const SourceTensor *weight = sources_find(m->sources, model_name(m, "%s.weight", module));

    if (!weight || weight->rank != 2) return -1;
    return transposed ? weight->dim[1] : weight->dim[1] == in ? weight->dim[0] : -1;
}

static bool has_bias(Model *m, const char *module)
{
    return sources_find(m->sources, model_name(m, "%s.bias", module));
}

/* Zeros where a module has no bias and others of its product have, in the type of theirs. */
static void add_zeros(Model *m, ModelTensor *to, const char *const *modules, int count,
                      int64_t rows)
{
    SourceTensor *zeros = arena_alloc(&m->arena, 1, sizeof *zeros);

    if (!model_works(m) || rows < 0) return;
    if (!zeros) { no_memory(m); return; }
    *zeros = (SourceTensor){.name = keep(m, "zeros"), .rank = 1, .dim = {rows}, .count = rows};
    for (int i = 0; i < count; i++) {
        const SourceTensor *other = sources_find(m->sources, model_name(m, "%s.bias", modules[i]));
        if (other) {
            zeros->dtype = other->dtype;
            zeros->element_bytes = other->element_bytes;
            break;
        }
    }
    zeros->bytes = arena_alloc(&m->arena, (size_t)rows, (size_t)zeros->element_bytes);
    if (!zeros->bytes) { no_memory(m); return; }
    to->dtype = zeros->dtype;
    to->element_bytes = zeros->element_bytes;
    to->part[to->parts++] = zeros;
}

static void take_parts(Model *m, const char *what, int in, int out, const char *const *modules,
                       int count, bool transposed)
{
    bool         weight = strcmp(what, "weight") == 0;
    ModelTensor *t = add_tensor(m, what);

    if (!t) return;
    t->rank = weight ? 2 : 1;
    t->dim[0] = out;
    t->dim[1] = weight ? in : 0;
    t->transposed = transposed && weight;
    for (int i = 0; i < count && model_works(m); i++) {
        const char *name = model_name(m, "%s.%s", modules[i], what);
        int64_t     rows = count == 1 ? out : rows_of_module(m, modules[i], in, transposed);
        if (!weight && !has_bias(m, modules[i])) add_zeros(m, t, modules, count, rows);
        else if (t->transposed) add_part(m, t, name, in, rows, false);
        else               add_part(m, t, name, rows < 0 ? out : rows, weight ? in : 0, false);
    }
}

void model_linear(Model *m, int in, int out, const char *const *modules, int count, bool transposed)
{
    bool    bias = false;
    int64_t rows = 0;

    for (int i = 0; i < count; i++) bias = bias || has_bias(m, modules[i]);
    for (int i = 0; i < count; i++)
        if (bias && !has_bias(m, modules[i]))
            text_printf(&m->notes, "%s%s has no bias: zeros\n", m->prefix, modules[i]);
    model_layer(m, "linear", "\"out\": %d, \"bias\": %s", out, bias ? "true" : "false");
    take_parts(m, "weight", in, out, modules, count, transposed);
    if (bias) take_parts(m, "bias", in, out, modules, count, false);
    for (int i = 0; i < count && count > 1 && model_works(m); i++)
        rows += rows_of_module(m, modules[i], in, transposed);
    if (count > 1 && model_works(m) && rows != out)
        model_fail(m, "%s%s and its like have %lld rows together, expected %d", m->prefix,
                   modules[0], (long long)rows, out);
}

/* Old names: gamma and beta. */
static const char *norm_name(Model *m, const char *module, const char *now, const char *once)
{
    const char *name = model_name(m, "%s.%s", module, now),
               *old = model_name(m, "%s.%s", module, once);

    return !sources_find(m->sources, name) && sources_find(m->sources, old) ? old : name;
}

void model_norm(Model *m, const char *kind, double eps, int channels, const char *module)
{
    model_layer(m, kind, "\"eps\": %.17g", eps);
    model_take(m, "weight", channels, 0, norm_name(m, module, "weight", "gamma"), false);
    if (strcmp(kind, "layernorm") == 0)
        model_take(m, "bias", channels, 0, norm_name(m, module, "bias", "beta"), false);
}

ModelFunction model_function(Model *m, const char *key, const char *fallback)
{
    static const struct { const char *name; ModelFunction function; } known[] = {
        {"gelu", {"gelu", "\"approximate\": \"none\"", "gelu"}},
        {"gelu_new", {"gelu", "\"approximate\": \"tanh\"", "gelu_tanh"}},
        {"gelu_pytorch_tanh", {"gelu", "\"approximate\": \"tanh\"", "gelu_tanh"}},
        {"silu", {"silu", "", "silu"}},
        {"swish", {"silu", "", "silu"}},
        {"relu", {"relu", "", "relu"}},
        {"tanh", {"tanh", "", "tanh"}},
    };
    const char *name = config_text_or(&m->config, key, fallback);

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) return known[i].function;
    config_refuse(&m->config, key,
                  "\"%s\" is not known, expected one of: gelu, gelu_new, gelu_pytorch_tanh, silu, "
                  "swish, relu, tanh",
                  name);
    return known[0].function;
}
