/* The end of an architecture search: paths measured against the teacher, the best network
 * written with its weights. */
#include "tests/support.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "executor/nas/choose.h"
#include "executor/nas/path_sets.h"
#include "executor/nas/path_score.h"
#include "executor/checkpoint/state.h"
#include "workloads/subnet.h"

/* Block a, 2x4x4 to 3x4x4: its student may be the teacher itself, a batch norm behind
 * another conv, or a smaller conv. Block b: five classes, the teacher itself or pooled. */
static const char *SMALL =
    "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"small\", \"batch\": 16, "
    "\"samples\": 64, "
    "\"classes\": 5, \"input\": {\"channels\": 2, \"height\": 4, \"width\": 4}, \"training\": "
    "{\"learning_rate\": 1}, "
    "\"blocks\": [{\"name\": \"a\", \"loss\": \"mse\","
    " \"teacher\": [{\"layer\": \"conv\", \"out\": 3, \"kernel\": 3}],"
    " \"student\": [{\"layer\": \"choice\", \"paths\": [[{\"layer\": \"conv\", \"out\": 3, "
    "\"kernel\": 1}],"
    "   [{\"layer\": \"conv\", \"out\": 3, \"kernel\": 3}],"
    "   [{\"layer\": \"conv\", \"out\": 3, \"kernel\": 1, \"bias\": false}, {\"layer\": "
    "\"batchnorm\"}]]}]},"
    "{\"name\": \"b\", \"loss\": \"soft_cross_entropy\","
    " \"teacher\": [{\"layer\": \"flatten\"}, {\"layer\": \"linear\", \"out\": 5}],"
    " \"student\": [{\"layer\": \"choice\", \"paths\": [[{\"layer\": \"avgpool\", \"global\": "
    "true}, "
    "{\"layer\": \"linear\", \"out\": 5}], [{\"layer\": \"flatten\"}, {\"layer\": \"linear\", "
    "\"out\": 5}]]}]}]}";

typedef struct {
    Workload  *workload;
    DeviceSpec devices;
    Data      *held_out, *training;
    Tensors   *teacher, *student;
    ChooseOptions options;
} Case;

/* The weights of a side as the seed gives them. */
static Tensors *draw(const Case *c, bool student)
{
    Tensors *out;
    Error    err = {""};

    if (tensors_new(&out, &err) != 0) fail_msg("%s", err.text);
    for (int b = 0; b < c->workload->block_count; b++) {
        const WorkBlock *block = &c->workload->block[b];
        Device *device;
        Net    *net;
        if (device_open(&device, &c->devices, 0, &err) != 0
            || net_new(&net, device, student ? &block->student : &block->teacher, block->in,
                       NET_TRAINED, &err)
                   != 0)
            fail_msg("%s", err.text);
        net_initialise(net, 3, 2 * (uint64_t)b + student);
        if (state_store(net, (StudentId){.block = b}, 7, false, out, &err) != 0)
            fail_msg("%s", err.text);
        net_free(net);
        device_close(device);
    }
    return out;
}

static void copy(Tensors *to, const char *to_name, const Tensors *from, const char *from_name)
{
    Tensor *a = tensors_find(to, to_name), *b = tensors_find(from, from_name);

    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->count, b->count);
    memcpy(a->values, b->values, (size_t)a->count * sizeof *a->values);
}

/* The teacher's weights stand in path 1 of both blocks. */
static void make_case(Case *c)
{
    Error err = {""};

    *c = (Case){0};
    if (workload_parse(&c->workload, "small", SMALL, strlen(SMALL), &err) != 0
        || device_spec_parse(&c->devices, "cpu:1", &err) != 0
        || data_open(&c->held_out, "synthetic", c->workload, DATA_VALIDATION, 0, &err) != 0
        || data_open(&c->training, "synthetic", c->workload, DATA_TRAIN, 0, &err) != 0)
        fail_msg("%s", err.text);
    c->teacher = draw(c, false);
    c->student = draw(c, true);
    copy(c->student, "blocks.0.0.1.0.weight", c->teacher, "blocks.0.0.weight");
    copy(c->student, "blocks.0.0.1.0.bias", c->teacher, "blocks.0.0.bias");
    copy(c->student, "blocks.1.0.1.1.weight", c->teacher, "blocks.1.1.weight");
    copy(c->student, "blocks.1.0.1.1.bias", c->teacher, "blocks.1.1.bias");
    c->options = (ChooseOptions){.workload = c->workload, .devices = &c->devices,
                                 .held_out = c->held_out, .training = c->training,
                                 .teacher = c->teacher, .student = c->student, .seed = 5,
                                 .max_macs = SELECT_ANY_MACS, .paths = 100, .batches = 2,
                                 .refresh = 4, .name = "left"};
}

static void free_case(Case *c)
{
    workload_free(c->workload);
    data_free(c->held_out);
    data_free(c->training);
    tensors_free(c->teacher);
    tensors_free(c->student);
}

/* ---- losses ------------------------------------------------------------------ */

/* Batches with numbers of a fixed pattern. */
static Batches filled(Device *device, int64_t per_row, uint64_t seed)
{
    Batches out;
    Error   err = {""};

    if (batches_new(&out, device, 2, 8, per_row, &err) != 0) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++)
        for (int64_t j = 0; j < 8 * per_row; j++)
            out.batch[i][j] =
                (float)((double)((seed + 37 * (uint64_t)i + 11 * (uint64_t)j * (uint64_t)(j + 3))
                                 % 101)
                            / 50
                        - 1);
    return out;
}

static void softmax_of(double *out, const float *row, int count)
{
    double sum = 0;

    for (int i = 0; i < count; i++) sum += out[i] = exp((double)row[i]);
    for (int i = 0; i < count; i++) out[i] /= sum;
}

/* What answers the mean has loss 1: a linear layer without weights whose bias is the mean
 * of the teacher's numbers, or the logarithm of the mean of its distributions. */
static void the_mean_has_loss_one(void **state)
{
    (void)state;
    Case       c;
    WorkBlock  block;
    Error      err = {""};
    Device    *device;
    PathSets   sets;

    make_case(&c);
    block = c.workload->block[1];
    assert_int_equal(device_open(&device, &c.devices, 0, &err), 0);
    Batches in = filled(device, shape_count(block.in), 1), teacher = filled(device, 5, 9);
    assert_int_equal(path_sets_make(&sets, &block.student, 10, 0, 1, &err), 0);
    assert_int_equal(sets.count, 2);
    for (int kind = 0; kind < 2; kind++) {
        Tensor *weight = tensors_find(c.student, "blocks.1.0.1.1.weight");
        Tensor *bias = tensors_find(c.student, "blocks.1.0.1.1.bias");
        double  mean[5] = {0}, losses[2], scale;
        block.loss = kind ? LOSS_SOFT_CROSS_ENTROPY : LOSS_MSE;
        for (int r = 0; r < 16; r++) {
            const float *row = teacher.batch[r / 8] + 5 * (r % 8);
            double p[5];
            softmax_of(p, row, 5);
            for (int i = 0; i < 5; i++) mean[i] += (kind ? p[i] : (double)row[i]) / 16;
        }
        memset(weight->values, 0, (size_t)weight->count * sizeof(float));
        for (int i = 0; i < 5; i++) bias->values[i] = (float)(kind ? log(mean[i]) : mean[i]);
        PathScoring ranking = {.block = &block, .number = 1, .device = device, .in = &in,
                               .teacher = &teacher, .student = c.student, .sets = &sets};
        if (path_scores(losses, &scale, &ranking, &err) != 0) fail_msg("%s", err.text);
        if (fabs(losses[1] - 1) > 1e-5) fail_msg("loss %.9g, expected 1", losses[1]);
        assert_true(losses[0] > 1);
        assert_true(scale > 0);
    }
    path_sets_free(&sets);
    batches_free(&in, device);
    batches_free(&teacher, device);
    device_close(device);
    free_case(&c);
}

/* ---- choosing ----------------------------------------------------------------- */

static void same_tensor(const Tensors *a, const char *a_name, const Tensors *b, const char *b_name)
{
    const Tensor *x = tensors_find(a, a_name), *y = tensors_find(b, b_name);

    assert_non_null(x);
    assert_non_null(y);
    assert_memory_equal(x->values, y->values, (size_t)x->count * sizeof(float));
}

static void check_notes(const Chosen *chosen, const Workload *supernet)
{
    char *hash = format_text(
        "%016" PRIx64, hash_bytes(HASH_START, text_string(&chosen->file), chosen->file.length));
    char *supernet_hash = format_text("%016" PRIx64, supernet->hash);

    assert_int_equal(tensors_note_count(chosen->weights), 5);
    assert_string_equal(tensors_note(chosen->weights, "workload"), "left");
    assert_string_equal(tensors_note(chosen->weights, "workload_hash"), hash);
    assert_string_equal(tensors_note(chosen->weights, "supernet"), supernet->name);
    assert_string_equal(tensors_note(chosen->weights, "supernet_hash"), supernet_hash);
    assert_string_equal(tensors_note(chosen->weights, "seed"), "5");
    free(hash);
    free(supernet_hash);
}

/* conv 3x3: 54 weights at 16 places; linear on 48: 240. */
static void the_teacher_itself_is_chosen(void **state)
{
    (void)state;
    Case   c;
    Chosen chosen;
    Error  err = {""};

    make_case(&c);
    if (choose(&chosen, &c.options, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(chosen.block[0].choices[0], 1);
    assert_int_equal(chosen.block[1].choices[0], 1);
    assert_true(fabs(chosen.loss) < 1e-5);
    assert_int_equal(chosen.macs, 54 * 16 + 240);
    assert_int_equal(chosen.block[0].measured, 3);
    assert_int_equal(chosen.block[0].least_macs, 6 * 16);
    assert_true(chosen.block[0].worst_loss > 0.1);
    assert_string_equal(chosen.workload->name, "left");
    assert_int_equal(tensors_count(chosen.weights), 4);
    same_tensor(chosen.weights, "blocks.0.0.weight", c.teacher, "blocks.0.0.weight");
    same_tensor(chosen.weights, "blocks.0.0.bias", c.teacher, "blocks.0.0.bias");
    same_tensor(chosen.weights, "blocks.1.1.weight", c.teacher, "blocks.1.1.weight");
    assert_null(tensors_note(chosen.weights, "step.1"));         /* of a checkpoint, not of a
                                                                  * student */
    check_notes(&chosen, c.workload);
    chosen_free(&chosen);
    free_case(&c);
}

/* One less than both teachers cost, so one block has to give way; then both, and below
 * 6 * 16 + 15 nothing is left. */
static void budgets_are_kept(void **state)
{
    (void)state;
    Case   c;
    Chosen chosen;
    Error  err = {""};

    make_case(&c);
    c.options.max_macs = 54 * 16 + 240 - 1;
    if (choose(&chosen, &c.options, &err) != 0) fail_msg("%s", err.text);
    assert_true(chosen.macs <= c.options.max_macs);
    assert_int_equal((chosen.block[0].choices[0] == 1) + (chosen.block[1].choices[0] == 1), 1);
    assert_int_equal(chosen.macs, chosen.block[0].macs + chosen.block[1].macs);
    chosen_free(&chosen);
    c.options.max_macs = 6 * 16 + 15;
    if (choose(&chosen, &c.options, &err) != 0) fail_msg("%s", err.text);
    assert_int_not_equal(chosen.block[0].choices[0], 1);
    assert_int_equal(chosen.macs, 6 * 16 + 15);
    chosen_free(&chosen);
    c.options.max_macs--;
    assert_int_equal(choose(&chosen, &c.options, &err), -1);
    assert_string_equal(
        err.text,
        "at most 110 multiply-accumulates are asked for, but the cheapest paths need 111");
    free_case(&c);
}

/* Makes the batch norm's path the best of what the budget leaves, by giving the other one
 * weights that are far off; then its running statistics are those of the training data: the
 * mean of a 1x1 conv's output is that of its inputs, weighted. */
static void statistics_are_fresh(void **state)
{
    (void)state;
    Case   c;
    Chosen chosen;
    Error  err = {""};

    make_case(&c);
    Tensor *far = tensors_find(c.student, "blocks.0.0.0.0.bias");
    for (int i = 0; i < 3; i++) far->values[i] = 1000;
    for (int i = 0; i < 3; i++)
        tensors_find(c.student, "blocks.0.0.2.1.running_mean")->values[i] = 1e6F;
    c.options.max_macs = 6 * 16 + 240;
    c.options.refresh = 300;
    if (choose(&chosen, &c.options, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(chosen.block[0].choices[0], 2);
    const Tensor *mean = tensors_find(chosen.weights, "blocks.0.1.running_mean");
    const Tensor *variance = tensors_find(chosen.weights, "blocks.0.1.running_var");
    for (int i = 0; i < 3; i++) {
        assert_true(fabsf(mean->values[i]) < 2);       /* 0.9^300 of a million is nothing */
        assert_true(variance->values[i] > 0);
    }
    chosen_free(&chosen);
    free_case(&c);
}

/* The files that are written read back as the same network. */
static void what_is_written_reads_back(void **state)
{
    (void)state;
    Case      c;
    Chosen    chosen;
    Workload *again;
    Tensors  *weights;
    Error     err = {""};
    char     *folder = temp_make(), *workload = format_text("%s/left.json", folder);
    char     *file = format_text("%s/left.safetensors", folder);

    make_case(&c);
    if (choose(&chosen, &c.options, &err) != 0) fail_msg("%s", err.text);
    spill(workload, text_string(&chosen.file));
    if (tensors_write(chosen.weights, file, &err) != 0 || workload_read(&again, workload, &err) != 0
        || tensors_read(&weights, file, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(again->hash, chosen.workload->hash);
    for (int b = 0; b < 2; b++) {
        Device *device;
        Net    *net;
        assert_int_equal(device_open(&device, &c.devices, 0, &err), 0);
        if (net_new(&net, device, &again->block[b].student, again->block[b].in, NET_FROZEN, &err)
                != 0
            || state_load_student(net, (StudentId){.block = b}, weights, false, 0, &err) != 0)
            fail_msg("%s", err.text);
        net_free(net);
        device_close(device);
    }
    tensors_free(weights);
    workload_free(again);
    chosen_free(&chosen);
    free(file);
    free(workload);
    temp_remove(folder);
    free_case(&c);
}

static void refused(void **state)
{
    (void)state;
    Case     c;
    Chosen   chosen;
    Error    err = {""};
    Tensors *empty;

    make_case(&c);
    assert_int_equal(tensors_new(&empty, &err), 0);
    c.options.student = empty;
    assert_int_equal(choose(&chosen, &c.options, &err), -1);
    assert_string_equal(err.text,
                        "the student's weights have nothing of block \"a\" (blocks.0....)");
    c.options.student = c.student;
    for (int i = 0; i < 3; i++) tensors_find(c.student, "blocks.0.0.0.0.bias")->values[i] = NAN;
    if (choose(&chosen, &c.options, &err) != 0) fail_msg("%s", err.text);       /* one path less */
    assert_int_equal(chosen.block[0].choices[0], 1);
    chosen_free(&chosen);
    tensors_find(c.student, "blocks.1.0.0.1.bias")->values[0] = NAN;
    tensors_find(c.student, "blocks.1.0.1.1.bias")->values[0] = NAN;
    assert_int_equal(choose(&chosen, &c.options, &err), -1);
    assert_string_equal(err.text, "block \"b\": no path of the student has a finite loss");
    tensors_free(empty);
    free_case(&c);
}

/* After the second set of paths. */
static void stop_then(void *context, int block, int done, int count)
{
    (void)block; (void)count;
    if (done == 2) atomic_store((atomic_bool *)context, true);
}

static void interrupted(void **state)
{
    (void)state;
    Case        c;
    Chosen      chosen;
    Error       err = {""};
    atomic_bool stop = false;

    make_case(&c);
    c.options.stop = &stop;
    c.options.progress = stop_then;
    c.options.context = &stop;
    assert_int_equal(choose(&chosen, &c.options, &err), -1);
    assert_string_equal(err.text, "interrupted");
    assert_null(chosen.block);
    free_case(&c);
}

static void running_out_of_memory(void **state)
{
    (void)state;
    Case c;

    make_case(&c);
    for (long n = 1;; n++) {
        Chosen chosen;
        Error  err = {""};
        alloc_fail_after(n);
        int rc = choose(&chosen, &c.options, &err);
        int reached = alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, reached ? -1 : 0);
        if (rc != 0) assert_non_null(strstr(err.text, "memory"));
        chosen_free(&chosen);
        if (!reached) { assert_true(n > 50); break; }
    }
    free_case(&c);
}

/* ---- sets --------------------------------------------------------------------- */

/* b1 of nas-cifar10 has 6 * 7^3 sets: all of them, each once, or a sample with the cheapest
 * and the dearest. */
static void sets_of_a_supernet(void **state)
{
    (void)state;
    Workload *workload;
    Error     err = {""};
    PathSets  all, some, again;

    if (workload_read(&workload, "nas-cifar10", &err) != 0) fail_msg("%s", err.text);
    const Layers *student = &workload->block[1].student;
    LayersCost    cost = layers_cost(student);
    assert_int_equal(path_sets_make(&all, student, 2058, 4, 1, &err), 0);
    assert_int_equal(path_sets_make(&some, student, 2057, 4, 1, &err), 0);
    assert_int_equal(path_sets_make(&again, student, 50, 4, 1, &err), 0);
    assert_true(all.all);
    assert_false(some.all);
    assert_int_equal(all.count, 2058);
    assert_int_equal(some.total, 2058);
    assert_true(some.count > 1900);
    assert_int_equal(again.count, 50);
    assert_int_equal(layers_macs(student, again.choices), cost.macs_least);
    assert_int_equal(layers_macs(student, again.choices + 4), cost.macs_most);
    for (int i = 0; i < 50; i++)
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(again.choices + 4 * i, again.choices + 4 * j, 4 * sizeof(int));
    path_sets_free(&all);
    path_sets_free(&some);
    path_sets_free(&again);
    workload_free(workload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_has_loss_one),
        cmocka_unit_test(the_teacher_itself_is_chosen),
        cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(statistics_are_fresh),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(refused),
        cmocka_unit_test(interrupted),
        cmocka_unit_test(running_out_of_memory),
        cmocka_unit_test(sets_of_a_supernet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
