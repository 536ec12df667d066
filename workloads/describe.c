/* What a workload is made of: a table for people, JSON for programs. */
#include "workloads/workload.h"

#include <inttypes.h>
#include <string.h>

static const double MIB = 1 << 20;

enum { NAME_COLUMNS = 11 };

static double mib(int64_t bytes)
{
    return (double)bytes / MIB;
}

/* ---- table -------------------------------------------------------------------- */

/* The last part of a path: the folder is the workload file's. */
static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* A line of how all blocks train, and one for each that trains otherwise. */
static void describe_training(const Workload *workload, Text *out)
{
    const Training *t = &workload->training;

    if (workload->optimizer == OPTIMIZER_ADAMW)
        text_printf(out,
                    "AdamW, learning rate %g (cosine to 0), betas %g %g, eps %g, weight decay %g",
                    t->learning_rate, t->beta1, t->beta2, t->eps, t->weight_decay);
    else
        text_printf(out, "SGD, learning rate %g (cosine to 0), momentum %g%s, weight decay %g",
                    t->learning_rate, t->momentum, t->nesterov ? " (Nesterov)" : "",
                    t->weight_decay);
    if (workload->warm_up > 0) text_printf(out, ", warm-up %" PRId64 " steps", workload->warm_up);
    if (workload->micro_batches > 1)
        text_printf(out, ", %" PRId64 " micro-batches", workload->micro_batches);
    if (t->clip > 0) text_printf(out, ", gradients clipped at %g", t->clip);
    text_append(out, "\n");
    for (int b = 0; b < workload->block_count; b++) {
        t = workload->block[b].training;
        if (!t) continue;
        text_printf(out, "  %s: learning rate %g, ", workload->block[b].name, t->learning_rate);
        if (workload->optimizer == OPTIMIZER_ADAMW)
            text_printf(out, "betas %g %g, eps %g", t->beta1, t->beta2, t->eps);
        else text_printf(out, "momentum %g%s", t->momentum, t->nesterov ? " (Nesterov)" : "");
        text_printf(out, ", weight decay %g", t->weight_decay);
        if (t->clip > 0) text_printf(out, ", gradients clipped at %g", t->clip);
        text_append(out, "\n");
    }
}

static void describe_head(const Workload *workload, Text *out)
{
    char shape[SHAPE_TEXT_BYTES];

    text_printf(out, "%s: %d blocks, input %s, batch %" PRId64 ", %" PRId64 " samples an epoch",
                workload->name, workload->block_count, shape_text(shape, workload->input),
                workload->batch, workload->samples);
    if (workload->classes > 0) text_printf(out, ", %d classes", workload->classes);
    if (workload->vocabulary > 0) text_printf(out, ", vocabulary %d", workload->vocabulary);
    text_append(out, "\n");
    describe_training(workload, out);
    text_printf(out, "teacher weights: %s%s; data: %s\n",
                workload->teacher_weights ? file_name(workload->teacher_weights) : "random",
                workload->batch_statistics ? ", in training mode" : "",
                workload->data ? workload->data : "synthetic");
}

static void describe_row(const char *name, int columns, const char *in, const char *shape,
                         const LayersCost *teacher, const LayersCost *student, int choices,
                         double boundary_mib, Text *out)
{
    text_append(out, name);
    text_pad(out, (size_t)columns);
    text_printf(out, " %12s %12s %9.1f %9.1f %9.3f %9.3f", in, shape,
                (double)teacher->parameters * 1e-3, (double)student->parameters * 1e-3,
                (double)teacher->macs_mean * 1e-6, (double)student->macs_mean * 1e-6);
    text_printf(out, " %9.3f %7.2f %9.2f %6.2f %4d\n", (double)student->macs_most * 1e-6,
                mib(4 * student->parameters), boundary_mib, mib(student->activation_bytes),
                choices);
}

static void add_cost(LayersCost *sum, const LayersCost *more)
{
    sum->parameters += more->parameters;
    sum->statistics += more->statistics;
    sum->macs_least += more->macs_least;
    sum->macs_mean += more->macs_mean;
    sum->macs_most += more->macs_most;
    sum->activation_bytes += more->activation_bytes;
}

/* more: columns that names take beyond NAME_COLUMNS. */
static void describe_columns(int more, Text *out)
{
    static const char *const lines[] = {
        "             input       output    teacher   student   teacher   student   student"
        "  gradi-    output  kept choi-\n",
        "                                  params    params      MACs      MACs   at most"
        "    ents   a batch  a row  ces\n",
        "           CxHxW        CxHxW          K         K         M         M         M"
        "     MiB       MiB    MiB\n"};

    for (int i = 0; i < 3; i++)
        text_printf(out, "%s%*s%s", i ? "     " : "\nblock", more, "", lines[i]);
}

void workload_describe(const Workload *workload, Text *out)
{
    LayersCost teachers = {0}, students = {0};
    double     boundaries_mib = 0;
    int        choices = 0, columns = student_text_columns(workload, NAME_COLUMNS);

    describe_head(workload, out);
    describe_columns(columns - NAME_COLUMNS, out);
    for (int b = 0; b < workload->block_count; b++) {
        const WorkBlock *block = &workload->block[b];
        LayersCost       teacher = layers_cost(&block->teacher);
        char             in[SHAPE_TEXT_BYTES], shape[SHAPE_TEXT_BYTES], name[STUDENT_TEXT_BYTES];
        double boundary_mib = 4.0 * (double)shape_count(block->out) * (double)workload->batch / MIB;
        for (int j = 0; j < block_students(block); j++) {
            WorkBlock  one = block_with_student(block, j);
            LayersCost student = layers_cost(&one.student);
            student_text(name, workload, workload_student_of(workload, b, j));
            describe_row(name, columns, shape_text(in, block->in), shape_text(shape, block->out),
                         &teacher, &student, one.choices, boundary_mib, out);
            add_cost(&students, &student);
            choices += one.choices;
        }
        add_cost(&teachers, &teacher);
        boundaries_mib += boundary_mib;
    }
    describe_row("all", columns, "", "", &teachers, &students, choices, boundaries_mib, out);
}

/* ---- JSON ------------------------------------------------------------------------- */

static void json_shape(const char *key, Shape shape, Text *out)
{
    text_printf(out, "\"%s\": [%d, %d, %d], ", key, shape.channels, shape.height, shape.width);
}

static void json_cost(const char *key, const LayersCost *cost, Text *out)
{
    text_printf(out,
                "      \"%s\": {\"parameters\": %" PRId64 ", \"statistics\": %" PRId64
                ", \"macs_least\": %" PRId64 ", \"macs_mean\": %" PRId64 ", \"macs_most\": %" PRId64
                ", \"activation_bytes\": %" PRId64 "}",
                key, cost->parameters, cost->statistics, cost->macs_least, cost->macs_mean,
                cost->macs_most, cost->activation_bytes);
}

/* "student", or "students" where the block lists them. */
static void json_students(const WorkBlock *block, Text *out)
{
    LayersCost cost = layers_cost(&block->student);

    if (!block->students) {
        json_cost("student", &cost, out);
        return;
    }
    text_append(out, "      \"students\": [");
    for (int j = 0; j < block->student_count; j++) {
        cost = layers_cost(&block->students[j].layers);
        text_append(out, j ? ",\n        {\"name\": " : "\n        {\"name\": ");
        text_json_string(out, block->students[j].name);
        text_printf(out, ", \"choices\": %d,\n    ", block->students[j].choices);
        json_cost("cost", &cost, out);
        text_append(out, "}");
    }
    text_append(out, "]");
}

void workload_describe_json(const Workload *workload, Text *out)
{
    text_append(out, "{\n  \"format\": \"pipebd-description\", \"version\": 1,\n  \"workload\": ");
    text_json_string(out, workload->name);
    text_printf(out, ", \"hash\": \"%016" PRIx64 "\",\n  ", workload->hash);
    json_shape("input", workload->input, out);
    if (workload->vocabulary > 0)
        text_printf(out, "\"vocabulary\": %d, \"types\": %d, ", workload->vocabulary,
                    workload->types);
    text_printf(out,
                "\"classes\": %d, \"batch\": %" PRId64 ", \"samples\": %" PRId64
                ", \"teacher_statistics\": \"%s\",\n  \"blocks\": [",
                workload->classes, workload->batch, workload->samples,
                workload->batch_statistics ? "batch" : "running");
    for (int b = 0; b < workload->block_count; b++) {
        const WorkBlock *block = &workload->block[b];
        LayersCost       teacher = layers_cost(&block->teacher);
        text_append(out, b ? ",\n    {\"name\": " : "\n    {\"name\": ");
        text_json_string(out, block->name);
        text_append(out, ", ");
        json_shape("in", block->in, out);
        json_shape("out", block->out, out);
        if (!block->students) text_printf(out, "\"choices\": %d,\n", block->choices);
        json_cost("teacher", &teacher, out);
        text_append(out, ",\n");
        json_students(block, out);
        text_append(out, "}");
    }
    text_append(out, "\n  ]\n}\n");
}
