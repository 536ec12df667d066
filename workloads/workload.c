/* Reading a workload: the root and the blocks. Layers are read by workloads/layers.c and
 * checked by workloads/build.c. */
#include "workloads/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bundled.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/micro.h"
#include "workloads/layers.h"

static const int64_t MANY = (int64_t)1 << 31;

/* ---- small readers ---------------------------------------------------------- */

static int get_text(Workload *workload, const JsonAt *parent, const char *key, const char **out,
                    Error *err)
{
    JsonAt      at = json_member(parent, key);
    const char *value;

    if (json_get_line(&at, &value, err) != 0) return -1;
    *out = arena_strdup(&workload->arena, value);
    return *out ? 0 : error_no_memory(err);
}

static int get_size(const JsonAt *parent, const char *key, int minimum, int maximum, int *out,
                    Error *err)
{
    JsonAt  at = json_member(parent, key);
    int64_t value = 0;

    if (json_get_integer(&at, minimum, maximum, &value, err) != 0) return -1;
    *out = (int)value;
    return 0;
}

/* A number of minimum..maximum; *out keeps its value where it is absent. */
static int get_number(const JsonAt *parent, const char *key, double maximum, double *out,
                      Error *err)
{
    JsonAt at = json_member(parent, key);

    if (!json_has(&at)) return 0;
    if (json_get_number(&at, 0, out, err) != 0) return -1;
    return *out <= maximum
               ? 0
               : json_fail(&at, err, "%g is too large, expected at most %g", *out, maximum);
}

/* ---- parts of the file --------------------------------------------------------- */

/* One number a channel; values keep theirs where the key is absent. */
static int read_channels(const JsonAt *input, const char *key, int channels,
                         float values[WORKLOAD_MAX_CHANNELS], Error *err)
{
    JsonAt at = json_member(input, key);

    if (!json_has(&at)) return 0;
    if (json_get_array(&at, 0, err) != 0) return -1;
    if (json_count(&at) != (size_t)channels)
        return json_fail(&at, err, "has %zu numbers, expected one for each of %d channels",
                         json_count(&at), channels);
    for (int c = 0; c < channels; c++) {
        JsonAt item = json_element(&at, (size_t)c);
        double value = 0;
        if (json_get_number(&item, 0, &value, err) != 0) return -1;
        if (value > 1e6)
            return json_fail(&item, err, "%g is too large, expected at most 1e+06", value);
        values[c] = (float)value;
    }
    return 0;
}

static int read_image(Workload *workload, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"channels", "height", "width", "mean", "deviation", NULL};
    Shape *shape = &workload->input;
    char   text[SHAPE_TEXT_BYTES];

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_size(at, "channels", 1, WORKLOAD_MAX_CHANNELS, &shape->channels, err) != 0) return -1;
    if (get_size(at, "height", 1, WORKLOAD_MAX_SIZE, &shape->height, err) != 0) return -1;
    if (get_size(at, "width", 1, WORKLOAD_MAX_SIZE, &shape->width, err) != 0) return -1;
    if (shape_count(*shape) > WORKLOAD_MAX_VECTOR)
        return json_fail(at, err, "%s has %lld elements a sample, expected at most 2^28",
                         shape_text(text, *shape), (long long)shape_count(*shape));
    if (read_channels(at, "mean", shape->channels, workload->mean, err) != 0) return -1;
    if (read_channels(at, "deviation", shape->channels, workload->deviation, err) != 0) return -1;
    for (int c = 0; c < shape->channels; c++)
        if (workload->deviation[c] < 1e-6F) {
            JsonAt list = json_member(at, "deviation"), item = json_element(&list, (size_t)c);
            return json_fail(&item, err, "inputs are divided by it, expected at least 1e-06");
        }
    return 0;
}

static int read_tokens(Workload *workload, const JsonAt *at, Error *err)
{
    static const char *const keys[] = {"tokens", "vocabulary", "types", NULL};
    JsonAt types = json_member(at, "types");

    if (json_check_keys(at, keys, err) != 0) return -1;
    workload->input = (Shape){1, 0, 1};
    if (get_size(at, "tokens", 1, WORKLOAD_MAX_SIZE, &workload->input.height, err) != 0) return -1;
    if (get_size(at, "vocabulary", 2, WORKLOAD_MAX_VOCABULARY, &workload->vocabulary, err) != 0)
        return -1;
    if (!json_has(&types)) return 0;
    workload->input.channels = 2;
    return get_size(at, "types", 1, WORKLOAD_MAX_TYPES, &workload->types, err);
}

static int read_input(Workload *workload, const JsonAt *root, Error *err)
{
    JsonAt at = json_member(root, "input"), tokens = json_member(&at, "tokens");

    for (int c = 0; c < WORKLOAD_MAX_CHANNELS; c++) workload->deviation[c] = 1;
    return json_has(&tokens) ? read_tokens(workload, &at, err) : read_image(workload, &at, err);
}

Training workload_training(const Workload *workload, const WorkBlock *block)
{
    return block->training ? *block->training : workload->training;
}

static int read_sgd(Training *t, const JsonAt *at, Error *err)
{
    JsonAt nesterov = json_member(at, "nesterov");

    if (get_number(at, "momentum", 1, &t->momentum, err) != 0) return -1;
    if (json_has(&nesterov) && json_get_bool(&nesterov, &t->nesterov, err) != 0) return -1;
    if (!t->nesterov || t->momentum > 0) return 0;
    return json_fail(json_has(&nesterov) ? &nesterov : at, err,
                     "Nesterov's method needs a momentum above 0");
}

/* A mean of the last steps: 1 would never forget. */
static int get_beta(const JsonAt *at, const char *key, double *out, Error *err)
{
    JsonAt beta = json_member(at, key);

    if (get_number(at, key, 1, out, err) != 0) return -1;
    return *out < 1 ? 0 : json_fail(&beta, err, "1, expected less: a mean that takes nothing in");
}

static int read_adamw(Training *t, const JsonAt *at, Error *err)
{
    JsonAt eps = json_member(at, "eps");

    if (get_beta(at, "beta1", &t->beta1, err) != 0 || get_beta(at, "beta2", &t->beta2, err) != 0)
        return -1;
    if (get_number(at, "eps", 1, &t->eps, err) != 0) return -1;
    return t->eps >= 1e-30
               ? 0
               : json_fail(&eps, err, "steps are divided by it, expected at least 1e-30");
}

/* Of the workload, or of a block: what is absent stays as it is. */
static int read_rates(Training *t, OptimizerKind optimizer, const JsonAt *at, Error *err)
{
    JsonAt rate = json_member(at, "learning_rate");

    if ((optimizer == OPTIMIZER_ADAMW ? read_adamw : read_sgd)(t, at, err) != 0) return -1;
    if (!json_has(&rate) && t->learning_rate == 0)
        return json_fail(&rate, err, "missing, expected a number");
    if (get_number(at, "learning_rate", 1e6, &t->learning_rate, err) != 0) return -1;
    if (t->learning_rate == 0) return json_fail(&rate, err, "0, with which nothing is learnt");
    if (get_number(at, "clip", 1e30, &t->clip, err) != 0) return -1;
    return get_number(at, "weight_decay", 1e6, &t->weight_decay, err);
}

/* The optimizer and what it needs, of the whole workload. */
static int read_training(Workload *workload, const JsonAt *root, Error *err)
{
    static const char *const sgd[] = {"optimizer", "learning_rate", "warm_up",
                                      "clip",      "weight_decay",  "micro_batches",
                                      "momentum",  "nesterov",      NULL};
    static const char *const adamw[] = {
        "optimizer",     "learning_rate", "warm_up", "clip", "weight_decay",
        "micro_batches", "beta1",         "beta2",   "eps",  NULL};
    static const char *const optimizers[] = {"sgd", "adamw", NULL};
    JsonAt at = json_member(root, "training"), optimizer = json_member(&at, "optimizer"),
           warm_up = json_member(&at, "warm_up");
    JsonAt micro = json_member(&at, "micro_batches");
    int    which = OPTIMIZER_SGD;

    if (json_get_object(&at, err) != 0) return -1;
    if (json_has(&optimizer) && json_get_choice(&optimizer, optimizers, &which, err) != 0)
        return -1;
    if (json_check_keys(&at, which == OPTIMIZER_ADAMW ? adamw : sgd, err) != 0) return -1;
    workload->optimizer = (OptimizerKind)which;
    if (which == OPTIMIZER_ADAMW)
        workload->training = (Training){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    if (read_rates(&workload->training, workload->optimizer, &at, err) != 0) return -1;
    workload->micro_batches = 1;
    if (json_has(&micro)
        && json_get_integer(&micro, 1, MICRO_BATCHES_MAX, &workload->micro_batches, err) != 0)
        return -1;
    if (workload->micro_batches > workload->batch)
        return json_fail(&micro, err, "%lld micro-batches of a batch of %lld",
                         (long long)workload->micro_batches, (long long)workload->batch);
    return json_has(&warm_up)
               ? json_get_integer(&warm_up, 0, JSON_MAX_INTEGER, &workload->warm_up, err)
               : 0;
}

/* What the block has of its own; the rest is the workload's. */
static int read_block_training(Workload *workload, const JsonAt *block_at, WorkBlock *block,
                               Error *err)
{
    static const char *const sgd[] = {"learning_rate", "clip",     "weight_decay",
                                      "momentum",      "nesterov", NULL};
    static const char *const adamw[] = {"learning_rate", "clip", "weight_decay", "beta1", "beta2",
                                        "eps",           NULL};
    JsonAt at = json_member(block_at, "training");

    if (!json_has(&at)) return 0;
    if (json_get_object(&at, err) != 0) return -1;
    if (json_check_keys(&at, workload->optimizer == OPTIMIZER_ADAMW ? adamw : sgd, err) != 0)
        return -1;
    Training *own = arena_alloc(&workload->arena, 1, sizeof *own);
    if (!own) return error_no_memory(err);
    *own = workload->training;
    block->training = own;
    return read_rates(own, workload->optimizer, &at, err);
}

/* The layers of one side of a block, on its input. */
static int read_side(Workload *workload, int64_t *total, const WorkBlock *block, const JsonAt *at,
                     Layers *layers, Shape *out, Error *err)
{
    LayerList list = {.workload = workload, .total = total, .prefix = "", .shape = block->in,
                      .tokens = workload->vocabulary > 0 && workload->block_count == 0};

    if (json_get_array(at, 1, err) != 0) return -1;
    if (layers_read(&list, at, err) != 0) return -1;
    *layers = list.layers;
    *out = list.shape;
    return 0;
}

/* Reads a student of the block, layers at student, into *layers. Refuses one that gives another
 * shape than its teacher, or has nothing to train. */
static int read_student(Workload *workload, int64_t *total, const WorkBlock *block,
                        const JsonAt *student, Layers *layers, Error *err)
{
    char  in[SHAPE_TEXT_BYTES], out[SHAPE_TEXT_BYTES], other[SHAPE_TEXT_BYTES];
    Shape given;

    if (read_side(workload, total, block, student, layers, &given, err) != 0) return -1;
    if (!shape_equal(block->out, given))
        return json_fail(student, err,
                         "of %s the student makes %s where the teacher makes %s, expected the same "
                         "shape",
                         shape_text(in, block->in), shape_text(other, given),
                         shape_text(out, block->out));
    return layers_cost(layers).parameters > 0
               ? 0
               : json_fail(student, err, "no layer has parameters, expected something to train");
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Tensors are called blocks.B.NAME.LAYER.weight, and a layer's name begins with a digit. */
static bool is_student_name(const char *name)
{
    size_t length = 0;

    for (; name[length]; length++) {
        char c = name[length];
        if (!is_letter(c) && (length == 0 || (!(c >= '0' && c <= '9') && c != '_' && c != '-')))
            return false;
    }
    return length > 0 && length <= WORKLOAD_MAX_NAME;
}

/* One of those that a block lists; the names of the ones before it differ. */
static int read_listed(Workload *workload, int64_t *total, const WorkBlock *block, int number,
                       const JsonAt *at, WorkStudent *student, Error *err)
{
    static const char *const keys[] = {"name", "layers", NULL};
    JsonAt name = json_member(at, "name"), layers = json_member(at, "layers");

    if (json_get_object(at, err) != 0 || json_check_keys(at, keys, err) != 0) return -1;
    if (get_text(workload, at, "name", &student->name, err) != 0) return -1;
    if (!is_student_name(student->name))
        return json_fail(&name, err,
                         "expected a name of letters, digits, \"_\" and \"-\" that begins with a "
                         "letter, of at most %d characters",
                         WORKLOAD_MAX_NAME);
    for (int i = 0; i < number; i++)
        if (strcmp(block->students[i].name, student->name) == 0)
            return json_fail(&name, err,
                             "\"%s\" is the name of students[%d] too, expected one a student",
                             student->name, i);
    if (read_student(workload, total, block, &layers, &student->layers, err) != 0) return -1;
    student->choices = layers_choices(&student->layers);
    return 0;
}

static int refuse_many(const JsonAt *at, Error *err)
{
    return json_fail(at, err, "more than %d students of all blocks, expected at most that",
                     WORKLOAD_MAX_STUDENTS);
}

static int read_students(Workload *workload, int64_t *total, WorkBlock *block, const JsonAt *at,
                         Error *err)
{
    size_t count;

    if (json_get_array(at, 1, err) != 0) return -1;
    count = json_count(at);
    if (count > WORKLOAD_MAX_STUDENTS) return refuse_many(at, err);
    WorkStudent *list = arena_alloc(&workload->arena, count, sizeof *list);
    if (!list) return error_no_memory(err);
    block->students = list;
    block->student_count = (int)count;
    for (size_t i = 0; i < count; i++) {
        JsonAt item = json_element(at, i);
        if (read_listed(workload, total, block, (int)i, &item, &list[i], err) != 0) return -1;
    }
    block->student = list[0].layers;
    block->choices = list[0].choices;
    return 0;
}

/* The only student, or those that are listed. */
static int read_sides(Workload *workload, int64_t *total, WorkBlock *block, const JsonAt *at,
                      Error *err)
{
    JsonAt student = json_member(at, "student"), students = json_member(at, "students");

    if (json_has(&students) && json_has(&student))
        return json_fail(&students, err, "students beside student, expected one of the two");
    if (json_has(&students)) return read_students(workload, total, block, &students, err);
    block->student_count = 1;
    if (read_student(workload, total, block, &student, &block->student, err) != 0) return -1;
    block->choices = layers_choices(&block->student);
    return 0;
}

/* Refuses a loss that does not go with the block's output, or the choices of its student, or the
 * optimizer. */
static int check_block(const Workload *workload, const WorkBlock *block, const JsonAt *at,
                       Error *err)
{
    JsonAt  student = json_member(at, block->students ? "students" : "student"),
            loss = json_member(at, "loss");
    char    out[SHAPE_TEXT_BYTES];
    int64_t most = JSON_MAX_INTEGER / (int64_t)sizeof(float) / workload->batch;

    if (loss_is_of_scores(block->loss) && block->out.width != 1)
        return json_fail(&loss, err,
                         "%s on an output of %s, expected a vector (Cx1x1) or a sequence (CxTx1)",
                         loss_name(block->loss), shape_text(out, block->out));
    if (block->choices > 0 && block->loss != LOSS_MSE && block->loss != LOSS_SOFT_CROSS_ENTROPY)
        return json_fail(&loss, err,
                         "%s for a student with choices, expected mse or soft_cross_entropy: paths "
                         "are measured by them",
                         loss_name(block->loss));
    if (block->choices > 0 && block->loss == LOSS_SOFT_CROSS_ENTROPY && block->out.height != 1)
        return json_fail(&loss, err,
                         "%s on sequences for a student with choices, expected a vector",
                         loss_name(block->loss));
    if (block->choices > 0 && workload->optimizer == OPTIMIZER_ADAMW)
        return json_fail(
            &student, err,
            "a student with choices and AdamW, whose moments count every step: expected sgd");
    if (shape_count(block->out) > most)
        return json_fail(at, err, "a batch of %lld outputs of %s fills more than 2^53 bytes",
                         (long long)workload->batch, shape_text(out, block->out));
    return 0;
}

/* A block on its input, block->in, which the caller sets. */
static int read_block(Workload *workload, int64_t *total, const JsonAt *at, WorkBlock *block,
                      Error *err)
{
    static const char *const keys[] = {"name", "teacher",     "student",  "students",
                                       "loss", "temperature", "training", NULL};
    static const char *const losses[] = {
        "mse", "soft_cross_entropy", "normalised_mse",      "cosine",
        "kl",  "hard_cross_entropy", "label_cross_entropy", NULL};
    JsonAt temperature = json_member(at, "temperature");
    JsonAt teacher = json_member(at, "teacher"), loss = json_member(at, "loss");
    int    which = 0;

    if (json_check_keys(at, keys, err) != 0) return -1;
    if (get_text(workload, at, "name", &block->name, err) != 0) return -1;
    if (read_side(workload, total, block, &teacher, &block->teacher, &block->out, err) != 0)
        return -1;
    if (layers_choices(&block->teacher) > 0)
        return json_fail(&teacher, err, "a teacher with a choice of paths, expected one network");
    if (read_sides(workload, total, block, at, err) != 0) return -1;
    if (json_get_choice(&loss, losses, &which, err) != 0) return -1;
    block->loss = (LossKind)which;
    block->temperature = 1;
    if (json_has(&temperature) && block->loss != LOSS_KL)
        return json_fail(&temperature, err, "only the loss kl has a temperature");
    if (get_number(at, "temperature", 1e3, &block->temperature, err) != 0) return -1;
    if (block->temperature < 1e-3)
        return json_fail(&temperature, err, "%g is too small, expected at least 0.001",
                         block->temperature);
    if (read_block_training(workload, at, block, err) != 0) return -1;
    for (int j = 0; j < block_students(block); j++) {
        WorkBlock one = block_with_student(block, j);
        if (check_block(workload, &one, at, err) != 0) return -1;
    }
    return 0;
}

/* All blocks, each on the output of the one before; their names differ. */
static int read_blocks(Workload *workload, const JsonAt *root, Error *err)
{
    JsonAt  at = json_member(root, "blocks");
    Shape   shape = workload->input;
    char    word[JSON_SHOWN_BYTES];
    int64_t total = 0;

    if (json_get_array(&at, 1, err) != 0) return -1;
    size_t count = json_count(&at);
    if (count > WORKLOAD_MAX_BLOCKS)
        return json_fail(&at, err, "%zu blocks, expected at most %d", count, WORKLOAD_MAX_BLOCKS);
    workload->block = arena_alloc(&workload->arena, count, sizeof *workload->block);
    if (!workload->block) return error_no_memory(err);
    for (size_t b = 0; b < count; b++) {
        JsonAt     item = json_element(&at, b), name = json_member(&item, "name");
        WorkBlock *block = &workload->block[b];
        block->in = shape;
        if (read_block(workload, &total, &item, block, err) != 0) return -1;
        for (size_t other = 0; other < b; other++)
            if (strcmp(workload->block[other].name, block->name) == 0)
                return json_fail(&name, err,
                                 "\"%s\" is the name of blocks[%zu] too, expected one a block",
                                 json_shown(word, block->name), other);
        shape = block->out;
        workload->block_count++;
        if (workload_students(workload) > WORKLOAD_MAX_STUDENTS) return refuse_many(&item, err);
    }
    return 0;
}

/* text, whose path begins at the folder of the file that is called name, unless it is absolute. The
 * arena's; NULL: no memory. */
static const char *beside(Workload *workload, const char *name, const char *text, const char *path)
{
    Text        whole = {0};
    const char *copy;

    text_append_bytes(&whole, text, (size_t)(path - text));
    if (path[0] != '/') text_append_bytes(&whole, name, file_folder_length(name));
    text_append(&whole, path);
    copy = text_failed(&whole) ? NULL : arena_strdup(&workload->arena, text_string(&whole));
    text_free(&whole);
    return copy;
}

static int read_weights(Workload *workload, const JsonAt *root, const char *name, Error *err)
{
    JsonAt      at = json_member(root, "teacher_weights");
    const char *file = NULL;

    if (!json_has(&at)) return 0;
    if (get_text(workload, root, "teacher_weights", &file, err) != 0) return -1;
    workload->teacher_weights = beside(workload, name, file, file);
    return workload->teacher_weights ? 0 : error_no_memory(err);
}

/* Where the path of "cifar10:FOLDER" begins, where it is relative; NULL: there is none. */
static const char *relative_path(const char *data)
{
    const char *colon = strchr(data, ':');

    return colon && colon[1] && colon[1] != '/' ? colon + 1 : NULL;
}

static int read_data(Workload *workload, const JsonAt *root, const char *name, Error *err)
{
    JsonAt      at = json_member(root, "data");
    const char *path;

    if (!json_has(&at)) return 0;
    if (get_text(workload, root, "data", &workload->data, err) != 0) return -1;
    path = relative_path(workload->data);
    workload->data_source = path ? beside(workload, name, workload->data, path) : workload->data;
    return workload->data_source ? 0 : error_no_memory(err);
}

static int read_classes(Workload *workload, const JsonAt *root, Error *err)
{
    JsonAt at = json_member(root, "classes");
    Shape  out = workload->block[workload->block_count - 1].out;
    char   text[SHAPE_TEXT_BYTES];

    if (!json_has(&at)) return 0;
    if (get_size(root, "classes", 2, (int)WORKLOAD_MAX_VECTOR, &workload->classes, err) != 0)
        return -1;
    if (shape_equal(out, (Shape){workload->classes, 1, 1})) return 0;
    return json_fail(&at, err, "the last block gives %s, expected %dx1x1: one number a class",
                     shape_text(text, out), workload->classes);
}

/* A block that learns from labels gives what labels are of. */
static int check_labels(Workload *workload, const JsonAt *root, Error *err)
{
    JsonAt blocks = json_member(root, "blocks");

    for (int b = 0; b < workload->block_count; b++) {
        JsonAt block = json_element(&blocks, (size_t)b), loss = json_member(&block, "loss");

        if (!loss_is_of_labels(workload->block[b].loss)) continue;
        if (b + 1 < workload->block_count)
            return json_fail(&loss, err,
                             "labels are of the last block's scores, expected another loss");
        if (workload_has_labels(workload)) return 0;
        if (workload->vocabulary == 0)
            return json_fail(&loss, err, "labels of a workload without \"classes\"");
        return json_fail(&loss, err,
                         "labels are the next tokens, expected scores of %d tokens at each, by "
                         "causal attention only",
                         workload->vocabulary);
    }
    return 0;
}

static int read_augment(Workload *workload, const JsonAt *root, Error *err)
{
    JsonAt at = json_member(root, "augment");
    bool   augment = true;

    if (!json_has(&at)) return 0;
    if (json_get_bool(&at, &augment, err) != 0) return -1;
    if (workload->vocabulary > 0)
        return json_fail(&at, err, "no effect on token numbers, expected an input of images");
    workload->unaugmented = !augment;
    return 0;
}

static void find_norm(const Layer *layer, void *context)
{
    if (layer->kind == LAYER_BATCHNORM) *(bool *)context = true;
}

bool workload_normalises(const Workload *workload)
{
    bool found = false;

    for (int b = 0; b < workload->block_count; b++)
        layers_each(&workload->block[b].teacher, find_norm, &found);
    return found;
}

static int read_statistics(Workload *workload, const JsonAt *root, Error *err)
{
    static const char *const kinds[] = {"running", "batch", NULL};
    JsonAt at = json_member(root, "teacher_statistics");
    int    which = 0;

    if (!json_has(&at)) return 0;
    if (json_get_choice(&at, kinds, &which, err) != 0) return -1;
    if (which == 1 && !workload_normalises(workload))
        return json_fail(&at, err, "no effect, the teacher has no batch norm");
    workload->batch_statistics = which == 1;
    return 0;
}

static int read_root(Workload *workload, const Json *doc, const char *name, Error *err)
{
    static const char *const keys[] = {"format", "version", "name", "input", "classes", "batch",
                                       "samples", "training", "teacher_weights",
                                       "teacher_statistics", "data", "augment", "blocks", NULL};
    JsonAt root = json_root(doc);
    JsonAt batch = json_member(&root, "batch"), samples = json_member(&root, "samples");

    if (json_check_format(doc, "pipebd-workload", 1, err) != 0) return -1;
    if (json_check_keys(&root, keys, err) != 0) return -1;
    if (get_text(workload, &root, "name", &workload->name, err) != 0) return -1;
    if (read_input(workload, &root, err) != 0) return -1;
    if (json_get_integer(&batch, 1, MANY, &workload->batch, err) != 0) return -1;
    if (json_get_integer(&samples, 1, JSON_MAX_INTEGER, &workload->samples, err) != 0) return -1;
    if (read_training(workload, &root, err) != 0) return -1;
    if (read_weights(workload, &root, name, err) != 0) return -1;
    if (read_data(workload, &root, name, err) != 0) return -1;
    if (read_augment(workload, &root, err) != 0) return -1;
    if (read_blocks(workload, &root, err) != 0) return -1;
    if (read_statistics(workload, &root, err) != 0) return -1;
    return read_classes(workload, &root, err) == 0 ? check_labels(workload, &root, err) : -1;
}

/* ---- whole ------------------------------------------------------------------------ */

int workload_parse(Workload **out, const char *name, const char *text, size_t length, Error *err)
{
    int       rc = -1;
    Json     *doc = NULL;
    Workload *workload = NULL;

    *out = NULL;
    if (json_doc_parse(&doc, name, text, length, err) != 0) goto done;
    workload = calloc(1, sizeof *workload);
    if (!workload) { error_no_memory(err); goto done; }
    if (read_root(workload, doc, name, err) != 0) goto done;
    workload->hash = hash_bytes(HASH_START, text, length);
    *out = workload; workload = NULL; rc = 0;
done:
    json_doc_free(doc);
    workload_free(workload);
    return rc;
}

/* The path of the bundled workload of this name, yours. */
static char *find_bundled(const char *name, Error *err)
{
    Text  file = {0};
    char *path = NULL;

    text_printf(&file, "%s.json", name);
    if (text_failed(&file)) error_no_memory(err);
    else bundled_find(&path, "workloads", text_string(&file), ".json", err);
    text_free(&file);
    return path;
}

int workload_read(Workload **out, const char *path, Error *err)
{
    int    rc = -1;
    char  *text = NULL, *found = NULL;
    size_t length;

    *out = NULL;
    if (!bundled_is_path(path)) {
        found = find_bundled(path, err);
        if (!found) goto done;
        path = found;
    }
    if (file_read(&text, &length, path, 0, err) != 0) goto done;
    rc = workload_parse(out, strcmp(path, "-") == 0 ? "<stdin>" : path, text, length, err);
done:
    free(text);
    free(found);
    return rc;
}

void workload_free(Workload *workload)
{
    if (!workload) return;
    arena_free(&workload->arena);
    free(workload);
}

/* ---- the data of another file ------------------------------------------------------- */

/* path need not be there. Yours. */
static char *absolute(const char *path)
{
    char *whole = realpath(path, NULL), *here;

    if (whole || path[0] == '/') return whole ? whole : strdup(path);
    here = getcwd(NULL, 0);
    if (here && asprintf(&whole, "%s/%s", here, path) < 0) whole = NULL;
    free(here);
    return whole;
}

char *workload_data_for(const Workload *workload, const char *path)
{
    const char *relative = workload->data ? relative_path(workload->data) : NULL, *colon;
    size_t      length;
    char       *whole, *source;

    if (!workload->data) return NULL;
    colon = strchr(workload->data_source, ':');
    length = relative ? strlen(colon + 1) - strlen(relative) : 0;
    if (!relative || (length == file_folder_length(path) && strncmp(colon + 1, path, length) == 0))
        return strdup(workload->data);
    if (!(whole = absolute(colon + 1))) return NULL;
    if (asprintf(&source, "%.*s%s", (int)(colon - workload->data_source) + 1, workload->data_source,
                 whole)
        < 0)
        source = NULL;
    free(whole);
    return source;
}
