/* Writing a workload as a file that reads back as the same. Short forms stand expanded. */
#include "workloads/workload.h"

#include <inttypes.h>

static void write_layers(const Layers *layers, int indent, Text *out);

static void write_indent(int indent, Text *out)
{
    text_printf(out, "\n%*s", indent, "");
}

static void write_flag(const char *key, bool value, Text *out)
{
    text_printf(out, ", \"%s\": %s", key, value ? "true" : "false");
}

static void write_number(const char *key, double value, Text *out)
{
    text_printf(out, ", \"%s\": ", key);
    text_json_double(out, value);
}

static void write_rotary(const Rotary *rotary, Text *out)
{
    text_append(out, ", \"rotary\": {\"theta\": ");
    text_json_double(out, rotary->theta);
    text_printf(out, ", \"dim\": %d", rotary->dim);
    if (rotary->factor > 1) {
        text_append(out, ", \"scaling\": {\"factor\": ");
        text_json_double(out, rotary->factor);
        write_number("low", rotary->low, out);
        write_number("high", rotary->high, out);
        text_printf(out, ", \"original\": %d}", rotary->original);
    }
    text_append(out, "}");
}

static void write_attention(const Layer *layer, Text *out)
{
    const Attention *a = &layer->attention;

    text_printf(out, ", \"heads\": %d, \"kv_heads\": %d, \"head_dim\": %d", a->heads, a->kv_heads,
                a->head_dim);
    write_flag("causal", a->causal, out);
    if (a->window > 0) text_printf(out, ", \"window\": %d", a->window);
    write_flag("norm", a->norm, out);
    if (a->norm) write_number("eps", layer->eps, out);
    if (a->rotary.dim > 0) write_rotary(&a->rotary, out);
}

/* Of layers of transformers. */
static void write_sequence_keys(const Layer *layer, Text *out)
{
    switch (layer->kind) {
    case LAYER_EMBEDDING:
        text_printf(out, ", \"vocabulary\": %d, \"out\": %d", layer->vocabulary,
                    layer->out.channels);
        write_flag("positions", layer->positions, out);
        if (layer->types > 0) text_printf(out, ", \"types\": %d", layer->types);
        break;
    case LAYER_LAYERNORM: case LAYER_RMSNORM:
        write_number("eps", layer->eps, out);
        if (layer->kind == LAYER_LAYERNORM) write_flag("bias", layer->bias, out);
        break;
    case LAYER_GELU:
        text_printf(out, ", \"approximate\": \"%s\"",
                    layer->function == FUNCTION_GELU_TANH ? "tanh" : "none");
        break;
    case LAYER_GATED:
        text_printf(out, ", \"function\": \"%s\"", function_name(layer->function));
        break;
    case LAYER_ATTENTION: write_attention(layer, out); break;
    case LAYER_TOKENS:
        write_flag("class_token", layer->class_token, out);
        write_flag("positions", layer->positions, out);
        break;
    case LAYER_POOL:
        text_printf(out, ", \"of\": \"%s\"", layer->pooling == POOLING_MEAN ? "mean" : "first");
        break;
    default: break;
    }
}

/* Every key, defaults too: nothing to look up. */
static void write_keys(const Layer *layer, Text *out)
{
    bool pool = layer->kind == LAYER_MAXPOOL || layer->kind == LAYER_AVGPOOL;

    if (layer->kind == LAYER_CONV || layer->kind == LAYER_LINEAR)
        text_printf(out, ", \"out\": %d", layer->out.channels);
    if (layer->kind == LAYER_AVGPOOL && layer->kernel == 0)
        write_flag("global", true, out);
    else if (layer->kind == LAYER_CONV || pool)
        text_printf(out, ", \"kernel\": %d, \"stride\": %d", layer->kernel, layer->stride);
    if (layer->kind == LAYER_CONV || layer->kind == LAYER_MAXPOOL)
        text_printf(out, ", \"padding\": %d", layer->padding);
    if (layer->kind == LAYER_CONV) text_printf(out, ", \"groups\": %d", layer->groups);
    if (layer->kind == LAYER_CONV || layer->kind == LAYER_LINEAR)
        write_flag("bias", layer->bias, out);
    if (layer->kind == LAYER_BATCHNORM) {
        write_number("eps", layer->eps, out);
        write_number("momentum", layer->momentum, out);
    }
    write_sequence_keys(layer, out);
}

/* A layer with the layers in it, indented below. */
static void write_layer(const Layer *layer, int indent, Text *out)
{
    text_printf(out, "{\"layer\": \"%s\"", layer_kind_name(layer->kind));
    write_keys(layer, out);
    if (layer->kind == LAYER_RESIDUAL) {
        text_append(out, ", \"body\": ");
        write_layers(&layer->path[0], indent, out);
        if (layer->path_count > 1) {
            text_append(out, ", \"shortcut\": ");
            write_layers(&layer->path[1], indent, out);
        }
    }
    if (layer->kind == LAYER_CHOICE) {
        text_append(out, ", \"paths\": [");
        for (int i = 0; i < layer->path_count; i++) {
            text_append(out, i ? ", " : "");
            write_indent(indent + 2, out);
            write_layers(&layer->path[i], indent + 2, out);
        }
        text_append(out, "]");
    }
    text_append(out, "}");
}

static void write_layers(const Layers *layers, int indent, Text *out)
{
    text_append(out, "[");
    for (int i = 0; i < layers->count; i++) {
        text_append(out, i ? "," : "");
        write_indent(indent + 2, out);
        write_layer(&layers->layer[i], indent + 2, out);
    }
    text_append(out, "]");
}

static void write_channels(const char *key, const float *values, int count, Text *out)
{
    text_printf(out, ", \"%s\": [", key);
    for (int i = 0; i < count; i++) {
        text_append(out, i ? ", " : "");
        text_printf(out, "%.9g", (double)values[i]);
    }
    text_append(out, "]");
}

static void write_string(const char *key, const char *value, Text *out)
{
    text_printf(out, "  \"%s\": ", key);
    text_json_string(out, value);
    text_append(out, ",\n");
}

/* Behind the learning rate, of the workload or of a block. */
static void write_rates(const Training *t, bool adamw, Text *out)
{
    if (adamw) {
        write_number("beta1", t->beta1, out);
        write_number("beta2", t->beta2, out);
        write_number("eps", t->eps, out);
    } else {
        write_number("momentum", t->momentum, out);
        write_flag("nesterov", t->nesterov, out);
    }
    write_number("weight_decay", t->weight_decay, out);
    text_append(out, "}");
}

static void write_training(const Workload *workload, Text *out)
{
    bool adamw = workload->optimizer == OPTIMIZER_ADAMW;

    text_append(out, "  \"training\": {");
    if (adamw) text_append(out, "\"optimizer\": \"adamw\", ");
    text_append(out, "\"learning_rate\": ");
    text_json_double(out, workload->training.learning_rate);
    if (workload->warm_up > 0) text_printf(out, ", \"warm_up\": %" PRId64, workload->warm_up);
    if (workload->micro_batches > 1)
        text_printf(out, ", \"micro_batches\": %" PRId64, workload->micro_batches);
    if (workload->training.clip > 0) write_number("clip", workload->training.clip, out);
    write_rates(&workload->training, adamw, out);
    text_append(out, ",\n");
}

/* All of it: a clip of 0 too, where the workload has one. */
static void write_own_training(const Training *t, bool adamw, Text *out)
{
    text_append(out, ",\n     \"training\": {\"learning_rate\": ");
    text_json_double(out, t->learning_rate);
    write_number("clip", t->clip, out);
    write_rates(t, adamw, out);
}

static void write_students(const WorkBlock *block, Text *out)
{
    if (!block->students) {
        text_append(out, ",\n     \"student\": ");
        write_layers(&block->student, 5, out);
        return;
    }
    for (int j = 0; j < block->student_count; j++) {
        text_append(out, j ? ",\n       " : ",\n     \"students\": [\n       ");
        text_append(out, "{\"name\": ");
        text_json_string(out, block->students[j].name);
        text_append(out, ", \"layers\": ");
        write_layers(&block->students[j].layers, 7, out);
        text_append(out, "}");
    }
    text_append(out, "]");
}

static void write_block(const WorkBlock *block, bool adamw, Text *out)
{
    text_append(out, "    {\"name\": ");
    text_json_string(out, block->name);
    text_append(out, ",\n     \"teacher\": ");
    write_layers(&block->teacher, 5, out);
    write_students(block, out);
    text_printf(out, ",\n     \"loss\": \"%s\"", loss_name(block->loss));
    if (block->loss == LOSS_KL) write_number("temperature", block->temperature, out);
    if (block->training) write_own_training(block->training, adamw, out);
    text_append(out, "}");
}

static void write_input(const Workload *workload, Text *out)
{
    const Shape *input = &workload->input;

    if (workload->vocabulary > 0) {
        text_printf(out, "  \"input\": {\"tokens\": %d, \"vocabulary\": %d", input->height,
                    workload->vocabulary);
        if (workload->types > 0) text_printf(out, ", \"types\": %d", workload->types);
    } else {
        text_printf(out, "  \"input\": {\"channels\": %d, \"height\": %d, \"width\": %d",
                    input->channels, input->height, input->width);
        write_channels("mean", workload->mean, input->channels, out);
        write_channels("deviation", workload->deviation, input->channels, out);
    }
    text_append(out, "},\n");
}

void workload_write(const Workload *workload, const char *teacher_weights, const char *data,
                    Text *out)
{
    text_append(out, "{\n  \"format\": \"pipebd-workload\", \"version\": 1,\n");
    write_string("name", workload->name, out);
    write_input(workload, out);
    if (workload->classes > 0) text_printf(out, "  \"classes\": %d,\n", workload->classes);
    text_printf(out, "  \"batch\": %" PRId64 ", \"samples\": %" PRId64 ",\n", workload->batch,
                workload->samples);
    write_training(workload, out);
    if (teacher_weights) write_string("teacher_weights", teacher_weights, out);
    if (data) write_string("data", data, out);
    if (workload->batch_statistics) text_append(out, "  \"teacher_statistics\": \"batch\",\n");
    if (workload->unaugmented) text_append(out, "  \"augment\": false,\n");
    text_append(out, "  \"blocks\": [\n");
    for (int b = 0; b < workload->block_count; b++) {
        text_append(out, b ? ",\n" : "");
        write_block(&workload->block[b], workload->optimizer == OPTIMIZER_ADAMW, out);
    }
    text_append(out, "\n  ]\n}\n");
}
