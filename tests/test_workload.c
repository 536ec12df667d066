/* The workload format: what is read and what is refused, and in which words; what it
 * costs, by hand and against the published figures. */
#include "tests/support.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "workloads/workload.h"

/* ---- fixtures ------------------------------------------------------------ */

/* The file under its name alone, so that messages do not depend on the folder. */
static int parse_file(Workload **out, const char *path, Error *err)
{
    size_t length;
    char  *text = slurp(path, &length);
    int    rc = workload_parse(out, strrchr(path, '/') + 1, text, length, err);

    free(text);
    return rc;
}

static void check_layers(const Layers *layers, Shape in, Shape out);

static void check_layer(const Layer *layer)
{
    assert_int_in_range(shape_count(layer->out), 1, WORKLOAD_MAX_ELEMENTS);
    assert_int_in_range(layer_parameters(layer), 0, WORKLOAD_MAX_PARAMETERS);
    assert_int_in_range(layer_macs(layer), 0, WORKLOAD_MAX_MACS);
    if (layer->kind == LAYER_CONV) {
        assert_int_equal(layer->in.channels % layer->groups, 0);
        assert_int_equal(layer->out.channels % layer->groups, 0);
    }
    if (layer->kind == LAYER_RESIDUAL)
        assert_true(layer->path_count >= 1 && layer->path_count <= 2);
    else if (layer->kind == LAYER_CHOICE) assert_true(layer->path_count > 1);
    else assert_int_equal(layer->path_count, 0);
    for (int i = 0; i < layer->path_count; i++)
        check_layers(&layer->path[i], layer->in, layer->out);
}

static void check_layers(const Layers *layers, Shape in, Shape out)
{
    for (int i = 0; i < layers->count; i++) {
        assert_true(shape_equal(layers->layer[i].in, in));
        check_layer(&layers->layer[i]);
        in = layers->layer[i].out;
    }
    assert_true(shape_equal(in, out));
}

/* The invariants at the head of workloads/workload.h. */
static void check_invariants(const Workload *workload)
{
    Shape shape = workload->input;

    for (int b = 0; b < workload->block_count; b++) {
        const WorkBlock *block = &workload->block[b];
        assert_true(shape_equal(block->in, shape));
        check_layers(&block->teacher, block->in, block->out);
        check_layers(&block->student, block->in, block->out);
        assert_true(layers_cost(&block->student).parameters > 0);
        assert_int_equal(block->choices, layers_choices(&block->student));
        assert_int_equal(layers_choices(&block->teacher), 0);
        shape = block->out;
    }
}

/* Writing what was read and reading it again gives the same text. */
static void check_round_trip(const Workload *workload)
{
    Text      once = {0}, twice = {0};
    Workload *again;
    Error     err = {""};

    workload_write(workload, workload->teacher_weights, workload->data, &once);
    if (workload_parse(&again, "again", text_string(&once), once.length, &err) != 0)
        fail_msg("%s", err.text);
    workload_write(again, again->teacher_weights, again->data, &twice);
    assert_string_equal(text_string(&once), text_string(&twice));
    check_invariants(again);
    workload_free(again);
    text_free(&once);
    text_free(&twice);
}

static void check_good(const Workload *workload)
{
    Text    table = {0}, described = {0};
    Json   *json;
    Error   err = {""};

    check_invariants(workload);
    check_round_trip(workload);
    workload_describe(workload, &table);
    workload_describe_json(workload, &described);
    if (json_doc_parse(&json, "described", text_string(&described), described.length, &err) != 0)
        fail_msg("%s", err.text);
    JsonAt root = json_root(json), blocks = json_member(&root, "blocks");
    assert_int_equal(json_count(&blocks), workload->block_count);
    json_doc_free(json);
    text_free(&table);
    text_free(&described);
}

static void read_good(const char *path, const char *expected, void *context)
{
    Workload *workload;
    Error     err = {""};

    (void)expected; (void)context;
    if (parse_file(&workload, path, &err) != 0) fail_msg("%s", err.text);
    check_good(workload);
    workload_free(workload);
}

static void read_bad(const char *path, const char *expected, void *context)
{
    Workload *workload;
    Error     err = {""};

    (void)context;
    if (parse_file(&workload, path, &err) == 0) fail_msg("%s was accepted", path);
    assert_null(workload);
    fixture_refused(path, expected, err.text);
}

static void good_fixtures_are_read(void **state)
{
    (void)state;
    fixtures_each("workload", "good", read_good, NULL);
}

static void bad_fixtures_are_refused(void **state)
{
    (void)state;
    fixtures_each("workload", "bad", read_bad, NULL);
}

/* ---- what is read ---------------------------------------------------------- */

static Workload *good_workload(const char *name)
{
    char     *path = format_text("%s/tests/fixtures/workload/good/%s", PIPEBD_ROOT, name);
    Workload *workload;
    Error     err = {""};

    if (workload_read(&workload, path, &err) != 0) fail_msg("%s", err.text);
    free(path);
    return workload;
}

static void check_conv(const Layer *layer, const char *name, Shape out, int kernel, int stride,
                       int padding, int groups, bool bias)
{
    assert_int_equal(layer->kind, LAYER_CONV);
    assert_string_equal(layer->name, name);
    assert_true(shape_equal(layer->out, out));
    assert_int_equal(layer->kernel, kernel);
    assert_int_equal(layer->stride, stride);
    assert_int_equal(layer->padding, padding);
    assert_int_equal(layer->groups, groups);
    assert_int_equal(layer->bias, bias);
}

static void check_norm(const Layer *layer, double eps, double momentum)
{
    assert_int_equal(layer->kind, LAYER_BATCHNORM);
    assert_float_equal(layer->eps, eps, 0);
    assert_float_equal(layer->momentum, momentum, 0);
}

static void check_kinds(const Layers *layers, const char *kinds)
{
    Text text = {0};

    for (int i = 0; i < layers->count; i++)
        text_printf(&text, "%s%s", i ? " " : "", layer_kind_name(layers->layer[i].kind));
    assert_string_equal(text_string(&text), kinds);
    text_free(&text);
}

/* Every value of all-keys.json at its place. */
static void every_key_arrives(void **state)
{
    (void)state;
    Workload        *workload = good_workload("all-keys.json");
    const WorkBlock *first = &workload->block[0], *last = &workload->block[1];
    char *weights = format_text("%s/tests/fixtures/workload/good/teacher.safetensors", PIPEBD_ROOT);
    char *data = format_text("cifar10:%s/tests/fixtures/workload/good/folder", PIPEBD_ROOT);
    static const struct {
        const char *path;
        bool        beside;
    } others[] = {{"good/new", true}, {"new", false}, {"goof/new", false}};

    assert_string_equal(workload->name, "all keys");
    assert_true(shape_equal(workload->input, (Shape){3, 8, 6}));
    assert_float_equal(workload->mean[1], 0.25, 0);
    assert_float_equal(workload->deviation[2], 2, 0);
    assert_int_equal(workload->classes, 5);
    assert_int_equal(workload->batch, 16);
    assert_int_equal(workload->samples, 100);
    assert_float_equal(workload->training.learning_rate, 0.05, 0);
    assert_float_equal(workload->training.momentum, 0.9, 0);
    assert_float_equal(workload->training.weight_decay, 1e-4, 0);
    assert_true(workload->training.nesterov);
    assert_string_equal(workload->teacher_weights, weights);
    assert_string_equal(workload->data, "cifar10:folder");
    assert_string_equal(workload->data_source, data);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *path = format_text("%s/tests/fixtures/workload/%s", PIPEBD_ROOT, others[i].path),
             *given = workload_data_for(workload, path);
        assert_string_equal(given, others[i].beside ? "cifar10:folder" : data);
        free(path), free(given);
    }
    assert_true(workload->unaugmented);
    assert_true(workload->batch_statistics);
    assert_int_equal(workload->block_count, 2);
    assert_null(first->training);
    Training own = workload_training(workload, last);
    assert_float_equal(own.learning_rate, 0.01, 0);
    assert_float_equal(own.momentum, 0, 0);
    assert_float_equal(own.weight_decay, 0.5, 0);
    assert_float_equal(own.clip, 2, 0);
    assert_false(own.nesterov);
    assert_string_equal(first->name, "first");
    assert_int_equal(first->loss, LOSS_MSE);
    assert_int_equal(last->loss, LOSS_SOFT_CROSS_ENTROPY);
    assert_int_equal(first->choices, 2);
    check_kinds(&first->teacher, "conv batchnorm relu6 residual maxpool");
    check_conv(&first->teacher.layer[0], "0", (Shape){8, 4, 3}, 3, 2, 1, 1, false);
    check_conv(&first->teacher.layer[3].path[0].layer[0], "3.0", (Shape){8, 4, 3}, 3, 1, 1, 1,
               true);
    check_norm(&first->teacher.layer[1], 0.001, 0.01);
    assert_int_equal(first->teacher.layer[3].path_count, 1);
    const Layer *residual = &last->student.layer[2];
    assert_int_equal(residual->path_count, 2);
    assert_true(shape_equal(residual->in, (Shape){12, 4, 3})
                && shape_equal(residual->out, (Shape){9, 2, 2}));
    check_conv(&residual->path[0].layer[0], "2.0", (Shape){9, 2, 2}, 3, 2, 1, 1, true);
    assert_string_equal(residual->path[1].layer[0].name, "2.shortcut.0");
    check_conv(&residual->path[1].layer[1], "2.shortcut.1", (Shape){9, 2, 2}, 1, 1, 0, 1, false);
    check_norm(&last->teacher.layer[1], 1e-5, 0.1);
    assert_int_equal(first->teacher.layer[4].padding, 1);
    check_kinds(&last->teacher,
                "conv batchnorm relu6 conv batchnorm relu6 conv batchnorm avgpool flatten linear");
    assert_false(last->teacher.layer[10].bias);
    assert_int_equal(last->student.layer[4].kernel, 0);
    assert_true(last->student.layer[6].bias);
    free(weights);
    free(data);
    workload_free(workload);
}

/* Every value of transformer.json at its place, and what its layers cost by hand. */
static void keys_of_transformers_arrive(void **state)
{
    (void)state;
    Workload        *workload = good_workload("transformer.json");
    const Layer     *teacher = workload->block[0].teacher.layer, *body = teacher[2].path[0].layer;
    const Layers    *student = &workload->block[0].student;
    const Attention *a = &body[2].attention;

    assert_int_equal(workload->vocabulary, 50);
    assert_int_equal(workload->types, 2);
    assert_true(shape_equal(workload->input, (Shape){2, 12, 1}));
    assert_int_equal(teacher[0].vocabulary, 64);
    assert_int_equal(teacher[0].types, 3);
    assert_true(teacher[0].positions);
    assert_true(shape_equal(teacher[0].out, (Shape){16, 12, 1}));
    assert_float_equal(teacher[1].eps, 1e-12, 0);
    assert_true(teacher[1].bias);
    assert_float_equal(body[0].eps, 1e-5, 0);
    assert_true(shape_equal(body[1].out, (Shape){64, 12, 1}));
    assert_int_equal(a->heads, 4);
    assert_int_equal(a->kv_heads, 2);
    assert_int_equal(a->head_dim, 8);
    assert_true(a->causal && a->norm);
    assert_int_equal(a->window, 5);
    assert_float_equal(body[2].eps, 1e-4, 0);
    assert_float_equal(a->rotary.theta, 5e5, 0);
    assert_int_equal(a->rotary.dim, 6);
    assert_float_equal(a->rotary.factor, 32, 0);
    assert_float_equal(a->rotary.low, 2, 0);
    assert_float_equal(a->rotary.high, 5, 0);
    assert_int_equal(a->rotary.original, 1024);
    check_kinds(student, "embedding linear attention layernorm");
    assert_false(student->layer[0].positions);
    assert_false(student->layer[3].bias);
    assert_int_equal(student->layer[2].attention.kv_heads, 2);
    assert_int_equal(student->layer[2].attention.rotary.dim, 8);
    assert_float_equal(student->layer[2].attention.rotary.theta, 10000, 0);
    assert_float_equal(student->layer[2].attention.rotary.factor, 1, 0);
    check_kinds(&workload->block[1].student.layer[0].path[0], "linear gelu silu tanh gelu linear");
    assert_int_equal(workload->block[1].student.layer[0].path[0].layer[1].function,
                     FUNCTION_GELU_TANH);
    assert_int_equal(workload->block[1].student.layer[0].path[0].layer[4].function, FUNCTION_GELU);
    assert_int_equal(workload->block[1].teacher.layer[0].path[0].layer[1].function,
                     FUNCTION_GELU_TANH);

    assert_int_equal(workload->optimizer, OPTIMIZER_ADAMW);
    assert_int_equal(workload->warm_up, 7);
    assert_float_equal(workload->training.clip, 0.5, 0);
    assert_float_equal(workload->training.beta1, 0.8, 0);
    assert_float_equal(workload->training.beta2, 0.9, 0);
    assert_float_equal(workload->training.eps, 1e-6, 0);
    assert_float_equal(workload->training.weight_decay, 0.01, 0);
    assert_int_equal(workload->block[1].loss, LOSS_KL);
    assert_float_equal(workload->block[1].temperature, 2.5, 0);
    assert_float_equal(workload->block[0].temperature, 1, 0);
    assert_int_equal(layer_parameters(&teacher[0]), (64 + 12 + 3) * 16);
    assert_int_equal(layer_parameters(&teacher[1]), 32);
    assert_int_equal(layer_parameters(&body[0]), 16);
    assert_int_equal(layer_macs(&body[1]), 16 * 64 * 12);
    assert_int_equal(layer_parameters(&body[2]), 16);
    /* keys in the window, causal */
    assert_int_equal(layer_macs(&body[2]), 2 * (1 + 2 + 3 + 4 + 8 * 5) * 32);
    assert_int_equal(layer_macs(&student->layer[2]), 2 * 12 * 12 * 16);
    workload_free(workload);
}

static void patches_become_tokens(void **state)
{
    (void)state;
    Workload        *workload = good_workload("patches.json");
    const WorkBlock *block = &workload->block[0];

    assert_true(shape_equal(block->teacher.layer[1].out, (Shape){8, 7, 1}));
    assert_int_equal(layer_parameters(&block->teacher.layer[1]), 8 + 7 * 8);
    assert_true(shape_equal(block->student.layer[1].out, (Shape){8, 6, 1}));
    assert_int_equal(layer_parameters(&block->student.layer[1]), 0);
    assert_int_equal(block->teacher.layer[2].pooling, POOLING_FIRST);
    assert_int_equal(block->student.layer[2].pooling, POOLING_MEAN);
    assert_true(shape_equal(block->teacher.layer[2].out, (Shape){8, 1, 1}));
    workload_free(workload);
}

/* mbconv: with expansion 1 three layers less; in a residual where the shape stays. */
static void short_forms_are_expanded(void **state)
{
    (void)state;
    Workload     *workload = good_workload("all-keys.json");
    const Layers *student = &workload->block[0].student;
    const Layer  *choice = &student->layer[1], *residual = &choice->path[0].layer[0];
    const Layers *separable = &choice->path[2].layer[0].path[1];

    check_kinds(student, "conv choice residual");
    check_kinds(&choice->path[0], "residual");
    check_kinds(&choice->path[1], "");
    check_kinds(&residual->path[0], "conv batchnorm relu6 conv batchnorm relu6 conv batchnorm");
    check_conv(&residual->path[0].layer[0], "1.0.0.0", (Shape){24, 4, 3}, 1, 1, 0, 1, false);
    check_conv(&residual->path[0].layer[3], "1.0.0.3", (Shape){24, 4, 3}, 3, 1, 1, 24, false);
    check_conv(&residual->path[0].layer[6], "1.0.0.6", (Shape){8, 4, 3}, 1, 1, 0, 1, false);
    for (int i = 1; i < 8; i += 3) check_norm(&residual->path[0].layer[i], 0.002, 0);
    check_kinds(separable, "batchnorm conv batchnorm conv batchnorm relu");
    check_norm(&separable->layer[0], 1e-5, 0.1);
    check_norm(&separable->layer[2], 1, 1);
    check_norm(&separable->layer[4], 1, 1);
    check_conv(&separable->layer[1], "1.2.0.1.1", (Shape){8, 4, 3}, 5, 1, 2, 8, false);
    check_kinds(&student->layer[2].path[0], "conv batchnorm relu6 conv batchnorm");
    check_kinds(&workload->block[1].student, "conv conv residual conv avgpool flatten linear");
    check_conv(&workload->block[1].student.layer[0], "0", (Shape){8, 4, 3}, 3, 1, 1, 8, true);
    workload_free(workload);
}

/* What is written has the norms that were read. */
static void norms_are_written(void **state)
{
    (void)state;
    Workload *workload = good_workload("all-keys.json");
    Text      text = {0};

    workload_write(workload, NULL, NULL, &text);
    assert_non_null(strstr(text_string(&text),
                           "{\"layer\": \"batchnorm\", \"eps\": 0.001, \"momentum\": 0.01}"));
    assert_non_null(
        strstr(text_string(&text), "{\"layer\": \"batchnorm\", \"eps\": 0.002, \"momentum\": 0}"));
    text_free(&text);
    workload_free(workload);
}

/* The hash of "a" is published: af63dc4c8601ec8c. Here: of the bytes, not of what they say. */
static void the_hash_is_of_the_bytes(void **state)
{
    (void)state;
    char     *path = format_text("%s/tests/fixtures/workload/good/least.json", PIPEBD_ROOT);
    char     *text = slurp(path, NULL), *longer = format_text("%s ", text);
    uint64_t  hash = 0xCBF29CE484222325u;
    Workload *one, *two;

    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001B3u;
    assert_int_equal(workload_parse(&one, "w", text, strlen(text), NULL), 0);
    assert_int_equal(workload_parse(&two, "w", longer, strlen(longer), NULL), 0);
    assert_true(one->hash == hash);
    assert_true(two->hash != hash);
    workload_free(one);
    workload_free(two);
    free(path);
    free(text);
    free(longer);
}

/* A workload of this many blocks of this many layers each. */
static void many(Text *text, int blocks, int layers)
{
    text_append(text, "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"n\", "
                      "\"batch\": 1, \"samples\": 1,"
                      "\"input\": {\"channels\": 1, \"height\": 1, \"width\": 1}, \"training\": "
                      "{\"learning_rate\": 1},"
                      "\n\"blocks\": [");
    for (int b = 0; b < blocks; b++) {
        text_printf(
            text,
            "%s\n{\"name\": \"b%d\", \"loss\": \"mse\", \"teacher\": [{\"layer\": \"relu\"}], "
            "\"student\": [{\"layer\": \"batchnorm\"}",
            b ? "," : "", b);
        for (int i = 2; i < layers; i++) text_append(text, ",{\"layer\": \"relu\"}");
        text_append(text, "]}");
    }
    text_append(text, "]}");
}

static void check_many(int blocks, int layers, const char *refusal)
{
    Text      text = {0};
    Workload *workload;
    Error     err = {""};

    many(&text, blocks, layers);
    assert_int_equal(workload_parse(&workload, "w", text_string(&text), text.length, &err),
                     refusal ? -1 : 0);
    if (refusal) assert_string_equal(err.text, refusal);
    workload_free(workload);
    text_free(&text);
}

static void as_many_as_allowed(void **state)
{
    (void)state;
    check_many(WORKLOAD_MAX_BLOCKS, 2, NULL);
    check_many(WORKLOAD_MAX_BLOCKS + 1, 2, "w:2:11: 4097 blocks, expected at most 4096, at blocks");
    check_many(1, WORKLOAD_MAX_LAYERS, NULL);
    check_many(1, WORKLOAD_MAX_LAYERS + 1, "w:3:1179710: more than 65536 layers in this workload, "
               "at blocks[0].student[65535]");
}

/* Blocks of four thousand students until there are so many, and one with a student alone. */
static void check_students(int count, const char *expected)
{
    static const char layers[] = "[{\"layer\": \"conv\", \"out\": 1, \"kernel\": 1}]";
    Workload *workload;
    Text      text = {0};
    Error     err = {""};

    text_printf(&text, "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"w\", "
                "\"input\": {\"channels\": 1, \"height\": 1, \"width\": 1}, \"batch\": 1, "
                "\"samples\": 1, \"training\": {\"learning_rate\": 1}, \"blocks\": [");
    for (int i = 0; i < count; i++) {
        if (i % 4000 == 0)
            text_printf(&text, "%s{\"name\": \"b%d\", \"loss\": \"mse\", \"teacher\": %s, "
                        "\"students\": [", i ? "]},\n" : "\n", i, layers);
        text_printf(&text, "%s{\"name\": \"s%d\", \"layers\": %s}", i % 4000 ? "," : "", i, layers);
    }
    text_printf(&text, "]},\n{\"name\": \"last\", \"loss\": \"mse\", \"teacher\": %s, "
                "\"student\": %s}]}", layers, layers);
    assert_int_equal(workload_parse(&workload, "w", text_string(&text), text.length, &err),
                     expected ? -1 : 0);
    assert_string_equal(err.text, expected ? expected : "");
    workload_free(workload);
    text_free(&text);
}

static void as_many_students_as_allowed(void **state)
{
    (void)state;
    check_students(WORKLOAD_MAX_STUDENTS - 1, NULL);
    check_students(WORKLOAD_MAX_STUDENTS, "w:7:1: more than 16384 students of all blocks, "
                   "expected at most that, at blocks[5]");
}

/* ---- bundled ones ------------------------------------------------------------ */

static Workload *bundled(const char *name)
{
    Workload *workload;
    Error     err = {""};

    if (workload_read(&workload, name, &err) != 0) fail_msg("%s", err.text);
    assert_string_equal(workload->name, name);
    check_good(workload);
    return workload;
}

static void digits_is_a_classifier(void **state)
{
    (void)state;
    Workload *workload = bundled("digits");

    assert_int_equal(workload->block_count, 6);
    assert_int_equal(workload->classes, 10);
    assert_true(shape_equal(workload->input, (Shape){1, 8, 8}));
    assert_string_equal(workload->data, "digits");
    workload_free(workload);
}

/* The same teacher, so that its weights serve both. */
static void nas_digits_has_the_teacher_of_digits(void **state)
{
    (void)state;
    Workload *digits = bundled("digits"), *nas = bundled("nas-digits");

    assert_string_equal(nas->teacher_weights, digits->teacher_weights);
    for (int b = 0; b < digits->block_count; b++) {
        const Layers *a = &digits->block[b].teacher, *c = &nas->block[b].teacher;
        assert_int_equal(a->count, c->count);
        for (int i = 0; i < a->count; i++) {
            assert_int_equal(a->layer[i].kind, c->layer[i].kind);
            assert_true(shape_equal(a->layer[i].out, c->layer[i].out));
        }
        assert_int_equal(nas->block[b].choices, b < 5 ? 2 : 1);
    }
    workload_free(digits);
    workload_free(nas);
}

/* A published figure: what it was printed as, so half of its last digit either way. */
static void as_printed(double found, double printed, double last_digit, const char *what, int b)
{
    if (fabs(found - printed) > 0.5 * last_digit + 1e-9)
        fail_msg("%s of block %d: %g, printed as %g", what, b, found, printed);
}

typedef struct {
    double teacher_gmac, student_gmac, out_mib;      /* of a batch of 256 */
} Published;

/* gradients: MiB of the whole supernet block; digit: of the last place of the MACs. */
static void check_nas(const Workload *workload, const Published expected[6],
                      const double gradients[6], double digit)
{
    static const int cells[6] = {2, 4, 4, 4, 4, 1};

    for (int b = 0; b < 6; b++) {
        const WorkBlock *block = &workload->block[b];
        LayersCost teacher = layers_cost(&block->teacher), student = layers_cost(&block->student);
        double           mib = gradients[b];
        as_printed(256e-9 * (double)teacher.macs_mean, expected[b].teacher_gmac, digit,
                   "teacher GMAC", b);
        as_printed(256e-9 * (double)student.macs_mean, expected[b].student_gmac, digit,
                   "student GMAC", b);
        as_printed((double)shape_count(block->out) * 4 * 256 / (1 << 20), expected[b].out_mib,
                   b == 5 && workload->classes == 10 ? 0.01 : 0.1, "output MiB", b);
        as_printed((double)student.parameters * 4 / (1 << 20), mib, mib < 10 ? 0.01 : 0.1,
                   "gradient MiB", b);
        assert_int_equal(block->choices, cells[b]);
        assert_int_equal(block->loss, b < 5 ? LOSS_MSE : LOSS_SOFT_CROSS_ENTROPY);
    }
}

static LayersCost all_blocks(const Workload *workload, bool student)
{
    LayersCost sum = {0};

    for (int b = 0; b < workload->block_count; b++) {
        LayersCost cost =
            layers_cost(student ? &workload->block[b].student : &workload->block[b].teacher);
        sum.parameters += cost.parameters;
        sum.macs_mean += cost.macs_mean;
    }
    return sum;
}

/* MobileNetV2's published sizes: 2.24 M parameters and 88.0 MMAC at 32x32, 3.505 M and
 * 300.8 MMAC at 224x224. A skipped cell counts as no MACs in the mean of its paths. */
static void nas_workloads_are_as_published(void **state)
{
    (void)state;
    static const Published cifar10[6] = {{3.82, 3.55, 24}, {3.13, 3.33, 8}, {3.22, 2.41, 4},
                                         {4.86, 4.88, 6}, {3.89, 3.65, 2.5}, {3.60, 3.18, 0.01}};
    static const Published imagenet[6] = {{19.4, 17.7, 73.5}, {9.6, 10.2, 24.5}, {9.9, 7.4, 12.3},
                                          {14.9, 15.0, 18.4}, {11.9, 11.2, 7.7}, {11.4, 10.1, 1.0}};
    static const double    small[6] = {0.32, 1.17, 3.59, 7.92, 20.3, 10.1},
                        large[6] = {0.32, 1.17, 3.59, 7.92, 20.3, 14.9};
    Workload *workload = bundled("nas-cifar10");

    check_nas(workload, cifar10, small, 0.01);
    as_printed(1e-6 * (double)all_blocks(workload, false).macs_mean, 88.0, 0.1, "teacher MMAC", -1);
    as_printed(1e-6 * (double)all_blocks(workload, false).parameters, 2.24, 0.01,
               "teacher M parameters", -1);
    workload_free(workload);
    workload = bundled("nas-imagenet");
    check_nas(workload, imagenet, large, 0.1);
    as_printed(1e-6 * (double)all_blocks(workload, false).macs_mean, 300.8, 0.1, "teacher MMAC",
               -1);
    as_printed(1e-6 * (double)all_blocks(workload, false).parameters, 3.505, 0.001,
               "teacher M parameters", -1);
    workload_free(workload);
}

/* Conv layers make the published figures; the linear layer of the last block adds 0.005
 * and 0.5 MMAC. */
static void vgg_workloads_are_as_published(void **state)
{
    (void)state;
    Workload *workload = bundled("vgg16-dsconv-cifar10");

    assert_int_equal(workload->block_count, 13);
    as_printed(1e-6 * (double)all_blocks(workload, false).macs_mean, 313, 1, "teacher MMAC", -1);
    as_printed(1e-6 * (double)all_blocks(workload, true).macs_mean, 84, 1, "student MMAC", -1);
    workload_free(workload);
    workload = bundled("vgg16-dsconv-imagenet");
    assert_int_equal(workload->block_count, 13);
    as_printed(1e-9 * (double)all_blocks(workload, false).macs_mean, 15.35, 0.01, "teacher GMAC",
               -1);
    as_printed(1e-9 * (double)all_blocks(workload, true).macs_mean, 4.12, 0.01, "student GMAC", -1);
    workload_free(workload);
    workload_free(bundled("vgg16-dsconv-cifar10-small"));
}

/* torchvision's resnet18 for images of 32x32 (a stem of 3x3, no pooling, 10 classes): 11,173,962
 * parameters. */
static void resnet_is_as_published(void **state)
{
    (void)state;
    Workload *workload = bundled("resnet18-dsconv-cifar10");

    assert_int_equal(workload->block_count, 9);
    assert_int_equal(all_blocks(workload, false).parameters, 11173962);
    as_printed(1e-9 * (double)all_blocks(workload, false).macs_mean, 0.56, 0.01, "teacher GMAC",
               -1);
    workload_free(workload);
}

/* One separable convolution for each of the teacher's: 9 multiplications a place and channel, and
 * one a pair of channels; the linear layer of the last block is the teacher's. */
static void one_separable_for_each(void **state)
{
    static const char *const names[] = {"vgg16-dsconv1-cifar10", "vgg16-dsconv1-imagenet"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Workload *workload = bundled(names[i]);
        int64_t   expected = 0;
        for (int b = 0; b < workload->block_count; b++)
            for (int l = 0; l < workload->block[b].teacher.count; l++) {
                const Layer *layer = &workload->block[b].teacher.layer[l];
                int64_t      places = (int64_t)layer->in.height * layer->in.width,
                        in = layer->in.channels;
                if (layer->kind == LAYER_CONV) expected += places * in * (9 + layer->out.channels);
                if (layer->kind == LAYER_LINEAR) expected += layer_macs(layer);
            }
        assert_int_equal(workload->block_count, 13);
        assert_int_equal(all_blocks(workload, true).macs_mean, expected);
        workload_free(workload);
    }
}

static void descriptions_are_as_shown(void **state)
{
    static const char *const names[] = {"digits", "nas-cifar10", "vgg16-dsconv-imagenet",
                                        "resnet18-dsconv-cifar10"};
    Text text = {0};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Workload *workload = bundled(names[i]);
        workload_describe(workload, &text);
        text_append(&text, "\n");
        workload_free(workload);
    }
    golden_check("workloads.txt", text_string(&text));
    text_free(&text);
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    Workload *workload;
    Error     err = {""};

    assert_int_equal(workload_read(&workload, "digit", &err), -1);
    assert_null(workload);
    assert_non_null(strstr(
        err.text, "there is no \"digit\" in the bundled workloads (did you mean \"digits\"?)"));
    assert_int_equal(workload_read(&workload, "./digits", &err), -1);
    assert_non_null(strstr(err.text, "./digits"));
    /* a path, not there */
    assert_int_equal(workload_read(&workload, "digits.json", &err), -1);
    assert_non_null(strstr(err.text, "digits.json"));
}

/* ---- costs --------------------------------------------------------------------- */

/* choice-of-all.json: 2x4x4 in, 4x4x4 out, a choice of a 1x1 and a 3x3 conv.
 *     1x1: weights 2*4 + bias 4 = 12, MACs 8 * 16 = 128
 *     3x3: weights 72 + 4 = 76,      MACs 72 * 16 = 1152;   kept: 2*16 floats either way */
static void costs_by_hand(void **state)
{
    (void)state;
    Workload  *workload = good_workload("choice-of-all.json");
    LayersCost teacher = layers_cost(&workload->block[0].teacher),
               student = layers_cost(&workload->block[0].student);

    assert_int_equal(teacher.parameters, 76);
    assert_int_equal(teacher.macs_least, 1152);
    assert_int_equal(teacher.macs_most, 1152);
    assert_int_equal(student.parameters, 12 + 76);
    assert_int_equal(student.macs_least, 128);
    assert_int_equal(student.macs_mean, 640);
    assert_int_equal(student.macs_most, 1152);
    assert_int_equal(student.activation_bytes, 128);
    assert_int_equal(student.statistics, 0);
    workload_free(workload);
}

/* ---- choices --------------------------------------------------------------------- */

/* Each path within as many steps as the longest choice has paths. */
static void paths_in_turn(void **state)
{
    (void)state;
    Workload *workload = good_workload("all-keys.json");
    int       met[3] = {0}, inner[2] = {0}, choices[2];

    assert_int_equal(workload_most_paths(workload), 3);
    for (int64_t step = 0; step < 3; step++) {
        workload_take_turns(choices, &workload->block[0], step);
        met[choices[0]]++;
        inner[choices[1]]++;
    }
    for (int i = 0; i < 3; i++) assert_int_equal(met[i], 1);
    assert_true(inner[0] > 0 && inner[1] > 0);
    workload_free(workload);
}

/* all-keys.json: a choice of three and, in its third path, one of two. Over 60,000 steps
 * each path is taken as often as chance allows (5 standard deviations), and the pairs of
 * both choices too: they are independent. */
static void choices_are_uniform_and_pure(void **state)
{
    (void)state;
    enum { STEPS = 60000 };
    Workload        *workload = good_workload("all-keys.json");
    const WorkBlock *block = &workload->block[0];
    int              count[3][2] = {{0}}, differs = 0, choices[2], again[2];

    for (int64_t step = 0; step < STEPS; step++) {
        workload_choose(choices, block, 0, 7, step);
        workload_choose(again, block, 0, 7, step);
        assert_memory_equal(choices, again, sizeof choices);
        workload_choose(again, block, 1, 7, step);
        differs += choices[0] != again[0];
        assert_int_in_range(choices[0], 0, 2);
        assert_int_in_range(choices[1], 0, 1);
        count[choices[0]][choices[1]]++;
    }
    for (int i = 0; i < 6; i++) assert_int_in_range(count[i / 2][i % 2], 10000 - 457, 10000 + 457);
    assert_int_in_range(differs, 40000 - 578, 40000 + 578);
    workload_free(workload);
}

/* ---- memory ------------------------------------------------------------------------ */

static int read_once(const char *text, size_t length, Error *err)
{
    Workload *workload;
    int       rc = workload_parse(&workload, "t", text, length, err);

    if (rc != 0) assert_null(workload);
    workload_free(workload);
    return rc;
}

static void running_out_of_memory(void **state)
{
    (void)state;
    reader_out_of_memory(read_once, "workload/good/all-keys.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_fixtures_are_read),
        cmocka_unit_test(bad_fixtures_are_refused),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(keys_of_transformers_arrive),
        cmocka_unit_test(patches_become_tokens),
        cmocka_unit_test(short_forms_are_expanded),
        cmocka_unit_test(norms_are_written),
        cmocka_unit_test(the_hash_is_of_the_bytes),
        cmocka_unit_test(as_many_as_allowed),
        cmocka_unit_test(as_many_students_as_allowed),
        cmocka_unit_test(digits_is_a_classifier),
        cmocka_unit_test(nas_digits_has_the_teacher_of_digits),
        cmocka_unit_test(nas_workloads_are_as_published),
        cmocka_unit_test(resnet_is_as_published),
        cmocka_unit_test(vgg_workloads_are_as_published),
        cmocka_unit_test(one_separable_for_each),
        cmocka_unit_test(descriptions_are_as_shown),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(costs_by_hand),
        cmocka_unit_test(paths_in_turn),
        cmocka_unit_test(choices_are_uniform_and_pure),
        cmocka_unit_test(running_out_of_memory), /* last: changes jansson's allocator */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
