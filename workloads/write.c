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
    if (layer->kind == LAYER_CONV || layer->kind == LAYER_LINEAR) write_flag("bias", layer->bias, out);
}

static void write_layer(const Layer *layer, int indent, Text *out)
{
    text_printf(out, "{\"layer\": \"%s\"", layer_kind_name(layer->kind));
    write_keys(layer, out);
    if (layer->kind == LAYER_RESIDUAL) {
        text_append(out, ", \"body\": ");
        write_layers(&layer->path[0], indent, out);
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

static void write_training(const Workload *workload, Text *out)
{
    text_append(out, "  \"training\": {\"learning_rate\": ");
    text_json_double(out, workload->learning_rate);
    text_append(out, ", \"momentum\": ");
    text_json_double(out, workload->momentum);
    write_flag("nesterov", workload->nesterov, out);
    text_append(out, ", \"weight_decay\": ");
    text_json_double(out, workload->weight_decay);
    text_append(out, "},\n");
}

static void write_block(const WorkBlock *block, Text *out)
{
    text_append(out, "    {\"name\": ");
    text_json_string(out, block->name);
    text_append(out, ",\n     \"teacher\": ");
    write_layers(&block->teacher, 5, out);
    text_append(out, ",\n     \"student\": ");
    write_layers(&block->student, 5, out);
    text_printf(out, ",\n     \"loss\": \"%s\"}", block->loss == LOSS_MSE ? "mse" : "soft_cross_entropy");
}

void workload_write(const Workload *workload, const char *teacher_weights, Text *out)
{
    const Shape *input = &workload->input;

    text_append(out, "{\n  \"format\": \"pipebd-workload\", \"version\": 1,\n");
    write_string("name", workload->name, out);
    text_printf(out, "  \"input\": {\"channels\": %d, \"height\": %d, \"width\": %d", input->channels, input->height,
                input->width);
    write_channels("mean", workload->mean, input->channels, out);
    write_channels("deviation", workload->deviation, input->channels, out);
    text_append(out, "},\n");
    if (workload->classes > 0) text_printf(out, "  \"classes\": %d,\n", workload->classes);
    text_printf(out, "  \"batch\": %" PRId64 ", \"samples\": %" PRId64 ",\n", workload->batch, workload->samples);
    write_training(workload, out);
    if (teacher_weights) write_string("teacher_weights", teacher_weights, out);
    if (workload->data) write_string("data", workload->data, out);
    text_append(out, "  \"blocks\": [\n");
    for (int b = 0; b < workload->block_count; b++) {
        text_append(out, b ? ",\n" : "");
        write_block(&workload->block[b], out);
    }
    text_append(out, "\n  ]\n}\n");
}
