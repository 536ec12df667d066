/* The analytic model: devices' files, what an operator is and costs, blocks and choices against
 * slow sums, that better hardware is never slower, traces that planners take, and how near the
 * model comes to the case it was fitted on. */
#include "tests/support.h"

#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "planner/compare.h"
#include "traces/model.h"
#include "traces/model_block.h"
#include "traces/model_memory.h"

static Workload *open_workload(const char *name)
{
    Workload *workload;
    Error     err = {""};

    ok(workload_read(&workload, name, &err), &err);
    return workload;
}

static Hardware *open_hardware(const char *name)
{
    Hardware *hardware;
    Error     err = {""};

    ok(hardware_read(&hardware, name, &err), &err);
    return hardware;
}

static ModelDevice device_of(const Hardware *hardware, Numbers precision)
{
    return (ModelDevice){.hardware = hardware, .constants = &model_constants,
                         .precision = precision, .layout = LAYOUT_CHANNELS_LAST};
}

/* The student's time without its update. */
static PassCost training_us(const BlockCost *cost)
{
    PassCost us = {0};

    for (int p = 0; p < PASS_UPDATE; p++) {
        us.device_us += cost->student[p].device_us;
        us.host_us += cost->student[p].host_us;
    }
    return us;
}

static void near(double found, double expected, double relative)
{
    if (!(fabs(found - expected) <= relative * fabs(expected) + 1e-12))
        fail_msg("%.9g, expected %.9g", found, expected);
}

/* ---- devices' files --------------------------------------------------------------- */

static const char *file_name(const char *path) { return strrchr(path, '/') + 1; }

static int parse_file(Hardware **out, const char *path, Error *err)
{
    size_t length;
    char  *text = slurp(path, &length);
    int    rc = hardware_parse(out, file_name(path), text, length, err);

    free(text);
    return rc;
}

static void read_good(const char *path, const char *expected, void *context)
{
    Hardware *hardware;
    Error     err = {""};

    (void)expected; (void)context;
    ok(parse_file(&hardware, path, &err), &err);
    assert_true(hardware->flop_per_s[NUMBERS_FP32] > 0);
    hardware_free(hardware);
}

static void read_bad(const char *path, const char *expected, void *context)
{
    Hardware *hardware;
    Error     err = {""};

    (void)context;
    if (parse_file(&hardware, path, &err) == 0) fail_msg("%s was accepted", path);
    assert_null(hardware);
    fixture_refused(path, expected, err.text);
}

static void device_fixtures(void **state)
{
    (void)state;
    fixtures_each("device", "good", read_good, NULL);
    fixtures_each("device", "bad", read_bad, NULL);
}

static void values_are_scaled(void **state)
{
    char     *path = format_text("%s/tests/fixtures/device/good/all-keys.json", PIPEBD_ROOT);
    Hardware *h = open_hardware(path);

    (void)state;
    assert_string_equal(h->name, "a GPU");
    assert_string_equal(h->sources[0], "measured here");
    near(h->bandwidth_bytes_per_s, 10e9, 0);
    near(h->flop_per_s[NUMBERS_TF32], 20e12, 0);
    near(h->boost_hz, 3e9, 0);
    near(h->nvlink.bytes_per_s, 50e9, 0);
    near(hardware_pcie_bytes_per_s(&h->pcie), 31.508e9, 1e-4);       /* 16 GT/s, 128b/130b, 16
                                                                      * lanes */
    hardware_free(h);
    free(path);
}

/* Names of the bundled devices, files without their ending; NULL at the end. */
typedef struct { char *name[64]; int count; } Bundled;

static Bundled bundled_devices(void)
{
    char           *folder = format_text("%s/traces/devices", PIPEBD_ROOT);
    struct dirent **entries;
    int             count = scandir(folder, &entries, NULL, alphasort);
    Bundled         found = {.count = 0};

    for (int i = 0; i < count; i++) {
        size_t length = strlen(entries[i]->d_name);
        if (length > 5 && strcmp(entries[i]->d_name + length - 5, ".json") == 0)
            found.name[found.count++] = strndup(entries[i]->d_name, length - 5);
        free(entries[i]);
    }
    free(entries);
    free(folder);
    assert_true(found.count >= 8);
    return found;
}

static void free_bundled(Bundled *found)
{
    for (int i = 0; i < found->count; i++) free(found->name[i]);
}

/* A bundled device is found by its file's name and by its own, and has a source. */
static void bundled_devices_have_both_names(void **state)
{
    Bundled found = bundled_devices();

    (void)state;
    for (int i = 0; i < found.count; i++) {
        Hardware *by_file = open_hardware(found.name[i]), *by_name = open_hardware(by_file->name);
        assert_true(by_file->hash == by_name->hash);
        assert_true(by_file->source_count >= 1 && strlen(by_file->sources[0]) > 10);
        hardware_free(by_file);
        hardware_free(by_name);
    }
    free_bundled(&found);
}

/* fp32 peaks are what multiprocessors of 64 or 128 lanes do at the boost clock, a multiply-add a
 * cycle: a figure that was mistyped would stand out. */
static void rates_fit_clocks(void **state)
{
    Bundled found = bundled_devices();

    (void)state;
    for (int i = 0; i < found.count; i++) {
        Hardware *h = open_hardware(found.name[i]);
        double    a_lane = 2 * h->boost_hz * h->multiprocessors,
               lanes = h->flop_per_s[NUMBERS_FP32] / a_lane;
        if (fabs(lanes - 64) > 0.5 && fabs(lanes - 128) > 0.5)
            fail_msg("%s: fp32 is that of %.1f lanes a multiprocessor", h->name, lanes);
        assert_true(h->flop_per_s[NUMBERS_FP16] > 1.9 * h->flop_per_s[NUMBERS_FP32]);
        assert_true(h->flop_per_s[NUMBERS_BF16] == 0
                    || h->flop_per_s[NUMBERS_BF16] == h->flop_per_s[NUMBERS_FP16]);
        hardware_free(h);
    }
    free_bundled(&found);
}

static void unknown_device_is_refused(void **state)
{
    Hardware *hardware;
    Error     err = {""};

    (void)state;
    assert_int_equal(hardware_read(&hardware, "RTX A600", &err), -1);
    assert_null(hardware);
    assert_non_null(strstr(err.text, "did you mean \"rtx-a6000\"?"));
}

/* ---- operators ----------------------------------------------------------------------- */

/* A 3x3 convolution of 4 channels to 8 on 6x6, stride 2, with a bias; 10 rows, float32.
 *     x 4*36 = 144, y 8*9 = 72 a row; weights 8*4*9 + 8 = 296; 288*9 multiply-accumulates a row */
static void conv_by_hand(void **state)
{
    Hardware    *h = open_hardware("rtx-a6000");
    ModelDevice  device = device_of(h, NUMBERS_FP32);
    Layer        conv = {.kind = LAYER_CONV,
                         .name = "0",
                         .in = {4, 6, 6},
                         .out = {8, 3, 3},
                         .kernel = 3,
                         .stride = 2,
                         .padding = 1,
                         .groups = 1,
                         .bias = true};
    OperatorWork w[OPERATOR_MOST];

    (void)state;
    assert_int_equal(operator_list(w, &device, &conv, PASS_FORWARD, 10, false, true), 3);
    /* float32: to channels first and back */
    near(w[1].read_bytes, 4 * (1440 + 720), 0); near(w[1].written_bytes, 4 * (1440 + 720), 0);
    /* the bias, by itself */
    near(w[2].read_bytes, 4 * 720, 0); near(w[2].written_bytes, 4 * 720, 0);
    device.layout = LAYOUT_FUSED;
    /* with the convolution */
    assert_int_equal(operator_list(w, &device, &conv, PASS_FORWARD, 10, false, true), 2);
    device.layout = LAYOUT_NCHW;
    /* nothing to convert */
    assert_int_equal(operator_list(w, &device, &conv, PASS_FORWARD, 10, false, true), 2);
    near(w[0].m, 90, 0); near(w[0].n, 8, 0); near(w[0].k, 36, 0);
    near(w[0].read_bytes, 4 * (1440 + 296), 0); near(w[0].written_bytes, 4 * 720, 0);
    assert_int_equal(operator_list(w, &device, &conv, PASS_DATA, 10, false, true), 1);
    near(w[0].m * w[0].n * w[0].k, 10.0 * 288 * 9, 1e-12);
    near(w[0].read_bytes, 4 * (720 + 296), 0); near(w[0].written_bytes, 4 * 1440, 0);
    assert_int_equal(operator_list(w, &device, &conv, PASS_WEIGHT, 10, false, true), 2);
    near(w[0].m * w[0].n * w[0].k, 10.0 * 288 * 9, 1e-12);
    near(w[0].read_bytes, 4 * (1440 + 720), 0); near(w[0].written_bytes, 4 * 296, 0);
    near(w[1].read_bytes, 4 * 720, 0);                               /* the bias' gradient */
    assert_int_equal(operator_list(w, &device, &conv, PASS_DATA, 10, false, false), 0);
    hardware_free(h);
}

/* Half the bytes an element in fp16, and the weights' cast. */
static void half_precision_halves_bytes(void **state)
{
    Hardware    *h = open_hardware("rtx-a6000");
    ModelDevice  half = device_of(h, NUMBERS_FP16);
    Layer        norm = {.kind = LAYER_BATCHNORM, .name = "0", .in = {8, 5, 5}, .out = {8, 5, 5}};
    Layer        linear = {.kind = LAYER_LINEAR, .name = "1", .in = {20, 1, 1}, .out = {10, 1, 1}};
    OperatorWork w[OPERATOR_MOST];

    (void)state;
    assert_int_equal(operator_list(w, &half, &norm, PASS_FORWARD, 3, false, true), 1);
    near(w[0].read_bytes, 2 * 2 * 600, 0); near(w[0].written_bytes, 2 * 600, 0);
    assert_int_equal(operator_list(w, &half, &norm, PASS_FORWARD, 3, true, true), 1);
    near(w[0].read_bytes, 2 * 600, 0);                               /* a teacher's takes no
                                                                      * statistics */
    assert_int_equal(operator_list(w, &half, &linear, PASS_FORWARD, 3, false, true), 1);
    near(w[0].read_bytes, 2 * (60 + 200) + 4 * 200, 0);
    near(w[0].written_bytes, 2 * 30 + 2 * 200, 0);
    hardware_free(h);
}

/* Two heads of 8 on 6 tokens, 3 rows: queries, keys and values 48 a token, result 16; scores 2*36 a
 * row. */
static void attention_by_hand(void **state)
{
    Hardware    *h = open_hardware("rtx-a6000");
    ModelDevice  device = device_of(h, NUMBERS_TF32);
    Layer        layer = {.kind = LAYER_ATTENTION, .name = "0", .in = {48, 6, 1}, .out = {16, 6, 1},
                          .attention = {.heads = 2, .kv_heads = 2, .head_dim = 8}};
    OperatorWork w[OPERATOR_MOST];

    (void)state;
    assert_int_equal(operator_list(w, &device, &layer, PASS_FORWARD, 3, false, true), 1);
    near(w[0].count * w[0].m * w[0].n * w[0].k, 3 * 2.0 * (2 * 6 * 6 * 8), 1e-12);
    near(w[0].read_bytes, 4 * 3 * 288, 0); near(w[0].written_bytes, 4 * 3 * 96, 0);
    assert_int_equal(w[0].numbers, NUMBERS_FP32);                    /* tf32 is for convolutions */
    assert_int_equal(operator_list(w, &device, &layer, PASS_DATA, 3, false, true), 1);
    near(w[0].count * w[0].m * w[0].n * w[0].k, 5.0 / 2 * 3 * 2 * (2 * 6 * 6 * 8), 1e-12);
    device.eager_attention = true;
    device.precision = NUMBERS_FP16;
    assert_int_equal(operator_list(w, &device, &layer, PASS_FORWARD, 3, false, true), 2);
    near(w[1].read_bytes, 2 * 4 * 3 * 72, 0); near(w[1].written_bytes, 2 * 4 * 3 * 72, 0);
    assert_int_equal(w[0].numbers, NUMBERS_FP16);
    assert_int_equal(operator_list(w, &device, &layer, PASS_DATA, 3, false, true), 2);
    near(w[0].count * w[0].m * w[0].n * w[0].k, 4.0 / 2 * 3 * 2 * (2 * 6 * 6 * 8), 1e-12);
    near(w[1].read_bytes, 2 * 6 * 3 * 72, 0); near(w[1].written_bytes, 2 * 3 * 3 * 72, 0);
    hardware_free(h);
}

/* The larger of the two, and the launch; whole waves: one tile more than the multiprocessors can
 * take at once costs a second wave. */
static void roofline_by_hand(void **state)
{
    Hardware      *h = open_hardware("rtx-a6000");
    ModelConstants c = model_constants;
    ModelDevice    device = {.hardware = h, .constants = &c, .precision = NUMBERS_FP32};

    (void)state;
    c.tile_least = c.tile_most = 128;
    OperatorWork wave = {.rate = RATE_MATRIX, .numbers = NUMBERS_FP32, .m = 128 * 84, .n = 128,
                         .k = 1024, .count = 1, .kernels = 1};
    double one = 84 * 2.0 * 128 * 128 * (1024 + c.depth_start) / (38.7e12 * c.matrix_share) * 1e6;
    OperatorCost cost = operator_cost(&device, &wave);
    near(cost.arithmetic_us, one, 1e-9);
    near(cost.us, one, 1e-9);
    near(cost.launch_us, c.kernel_us, 1e-12);
    assert_int_equal(cost.bound, BOUND_ARITHMETIC);
    wave.m += 1;
    near(operator_cost(&device, &wave).arithmetic_us, 2 * one, 1e-9);

    OperatorWork pass = {
        .rate = RATE_NONE, .read_bytes = 1e9, .written_bytes = 1e9, .kernels = 1, .launches = 1};
    cost = operator_cost(&device, &pass);
    near(cost.us, 2e9 / (768e9 * c.memory_share) * 1e6 + c.gap_us, 1e-9);
    assert_int_equal(cost.bound, BOUND_MEMORY);
    /* in the cache of 6 MiB */
    OperatorWork small = {.rate = RATE_NONE, .read_bytes = 1e6, .kernels = 1};
    near(operator_cost(&device, &small).memory_us,
         1e6 / (768e9 * c.memory_share * c.cache_speed) * 1e6, 1e-9);
    OperatorWork none = {.rate = RATE_NONE, .read_bytes = 4, .kernels = 2, .visits = 3};
    near(operator_cost(&device, &none).launch_us, 2 * c.kernel_us + 3 * c.update_us, 1e-12);
    assert_int_equal(operator_cost(&device, &none).bound, BOUND_LAUNCH);
    hardware_free(h);
}

/* ---- blocks ----------------------------------------------------------------------------- */

typedef struct { PassCost teacher, student[PASS_COUNT]; int entries; } Summed;

static void add_entry(const OperatorEntry *entry, void *context)
{
    Summed   *sum = context;
    PassCost *to = entry->teacher ? &sum->teacher : &sum->student[entry->work->pass];

    to->device_us += entry->share * entry->cost.us;
    to->host_us += entry->share * entry->cost.launch_us;
    sum->entries++;
}

/* The operators add up to the block, whatever the workload. */
static void operators_add_up(void **state)
{
    static const char *const names[] = {"digits", "nas-cifar10", "vgg16-dsconv-imagenet"};
    Hardware *h = open_hardware("h100-sxm");

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Workload   *w = open_workload(names[i]);
        ModelDevice device = device_of(h, NUMBERS_BF16);
        for (int b = 0; b < w->block_count; b++) {
            BlockCost cost = model_block(&device, w, b, 0, 37);
            Summed    sum = {0};
            model_operators(&device, w, b, 37, add_entry, &sum);
            assert_true(sum.entries > 3);
            near(sum.teacher.device_us, cost.teacher.device_us, 1e-9);
            near(sum.teacher.host_us, cost.teacher.host_us, 1e-9);
            for (int p = 0; p < PASS_COUNT; p++) {
                near(sum.student[p].device_us, cost.student[p].device_us, 1e-9);
                near(sum.student[p].host_us, cost.student[p].host_us, 1e-9);
            }
            near(model_work_us(&cost, WORK_BACKWARD),
                 fmax(sum.student[PASS_DATA].device_us + sum.student[PASS_WEIGHT].device_us,
                      sum.student[PASS_DATA].host_us + sum.student[PASS_WEIGHT].host_us), 1e-9);
        }
        workload_free(w);
    }
    hardware_free(h);
}

/* What was priced of a block: products of its linear layers by pass, and which kinds there were. */
typedef struct {
    double macs[2][PASS_COUNT];          /* [teacher] */
    int    kinds;
} PricedBlock;

static const char *const sequence_kinds[] = {"embedding", "layernorm", "attention", "linear",
                                             "gelu",      "add",       "kl",        "adamw"};

static void add_priced(const OperatorEntry *entry, void *context)
{
    PricedBlock        *sum = context;
    const OperatorWork *work = entry->work;

    assert_true(entry->cost.us > 0);
    for (size_t k = 0; k < sizeof sequence_kinds / sizeof *sequence_kinds; k++)
        if (strcmp(entry->kind, sequence_kinds[k]) == 0) sum->kinds |= 1 << k;
    if (work->rate == RATE_MATRIX && strcmp(entry->kind, "linear") == 0)
        sum->macs[entry->teacher][work->pass] += work->m * work->n * work->k * work->count;
}

static void add_linear_macs(const Layer *layer, void *context)
{
    if (layer->kind == LAYER_LINEAR) *(double *)context += (double)layer_macs(layer);
}

/* Layers of transformers on every device: products are those of the layers, in each pass; the head
 * of a text model is in BACKWARD, the teacher's too, and adds to it what it takes off the
 * others. */
static void transformers_are_priced(void **state)
{
    Workload *w = open_workload(PIPEBD_ROOT "/tests/fixtures/workload/good/gpt-small.json");
    Bundled   all = bundled_devices();

    (void)state;
    for (int d = 0; d < all.count; d++) {
        Hardware   *h = open_hardware(all.name[d]);
        ModelDevice device = device_of(h, NUMBERS_FP32);
        PricedBlock sum = {0};
        double      teacher = 0, student = 0;

        for (int b = 0; b < w->block_count; b++) {
            layers_each(&w->block[b].teacher, add_linear_macs, &teacher);
            layers_each(&w->block[b].student, add_linear_macs, &student);
            model_operators(&device, w, b, 8, add_priced, &sum);
        }
        assert_int_equal(sum.kinds, (1 << sizeof sequence_kinds / sizeof *sequence_kinds) - 1);
        near(sum.macs[1][PASS_FORWARD], 8 * teacher, 1e-12);
        near(sum.macs[0][PASS_FORWARD], 8 * student, 1e-12);
        near(sum.macs[0][PASS_WEIGHT], 8 * student, 1e-12);
        near(sum.macs[0][PASS_DATA], 8 * student, 1e-12);

        BlockCost pieces = model_block(&device, w, 2, 0, 8);
        w->block_count++;                /* as if it were not the last: then it has no head */
        BlockCost whole = model_block(&device, w, 2, 0, 8);
        w->block_count--;
        assert_true(pieces.teacher.device_us < whole.teacher.device_us);
        assert_true(pieces.student[PASS_FORWARD].device_us < whole.student[PASS_FORWARD].device_us);
        assert_true(pieces.student[PASS_DATA].device_us > whole.student[PASS_DATA].device_us);
        near(pieces.student[PASS_WEIGHT].device_us, whole.student[PASS_WEIGHT].device_us, 1e-12);
        hardware_free(h);
    }
    free_bundled(&all);
    workload_free(w);
}

/* The sum is of the residual's output, the gradients' of its input; operators of both paths are
 * priced once. */
static void shortcuts_are_priced(void **state)
{
    Workload   *w = open_workload(PIPEBD_ROOT "/tests/fixtures/workload/good/shortcuts.json");
    Hardware   *h = open_hardware("rtx-a6000");
    ModelDevice device = device_of(h, NUMBERS_FP32);
    BlockCost   whole = model_block(&device, w, 1, 0, 64), by_hand = {0};
    Layers teacher = w->block[1].teacher, flat = {arena_alloc(&w->arena, 16, sizeof(Layer)), 0};
    Layer       sum = teacher.layer[0];

    (void)state;
    for (int p = 0; p < sum.path_count; p++)
        for (int i = 0; i < sum.path[p].count; i++) flat.layer[flat.count++] = sum.path[p].layer[i];
    sum.path_count = 0;
    sum.in = sum.out;                    /* forward, the shape of the output alone counts */
    flat.layer[flat.count++] = sum;
    flat.layer[flat.count++] = teacher.layer[1];
    w->block[1].teacher = flat;
    by_hand = model_block(&device, w, 1, 0, 64);
    assert_int_equal(flat.count, 9);
    near(whole.teacher.device_us, by_hand.teacher.device_us, 1e-9);
    near(whole.teacher.host_us, by_hand.teacher.host_us, 1e-9);
    w->block[1].teacher = teacher;
    workload_free(w);
    hardware_free(h);
}

/* A student without choices: the layers of one draw. The arena of w owns the copies. */
static Layers fixed(Workload *w, const Layers *layers, const int *choices, int *made)
{
    Layers out = {arena_alloc(&w->arena, 1024, sizeof(Layer)), 0};

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        if (layer->kind == LAYER_CHOICE) {
            const Layers *path = &layer->path[choices[(*made)++]];
            for (int k = 0; k < path->count; k++) out.layer[out.count++] = path->layer[k];
        } else out.layer[out.count++] = *layer;
    }
    return out;
}

/* Every draw of a block with two cells of 6 and 7 paths, priced as a network of its own, against
 * the mean and the variance. The update visits all paths' parameters in any draw. */
static void choices_are_means(void **state)
{
    Workload   *w = open_workload("nas-cifar10");
    Hardware   *h = open_hardware("rtx-a6000");
    ModelDevice device = device_of(h, NUMBERS_TF32);
    BlockCost   whole = model_block(&device, w, 0, 0, 100);
    Layers      supernet = w->block[0].student;
    double      mean[PASS_COUNT] = {0}, host[PASS_COUNT] = {0}, squares = 0, sum = 0;

    (void)state;
    assert_int_equal(w->block[0].choices, 2);
    for (int i = 0; i < 6 * 7; i++) {
        int choices[2] = {i % 6, i / 6}, made = 0;
        w->block[0].student = fixed(w, &supernet, choices, &made);
        BlockCost cost = model_block(&device, w, 0, 0, 100);
        double    us = training_us(&cost).device_us;
        for (int p = 0; p < PASS_COUNT; p++) {
            mean[p] += cost.student[p].device_us / 42;
            host[p] += cost.student[p].host_us / 42;
        }
        sum += us / 42;
        squares += us * us / 42;
    }
    for (int p = 0; p < PASS_UPDATE; p++) {
        near(mean[p], whole.student[p].device_us, 1e-9);
        near(host[p], whole.student[p].host_us, 1e-9);
    }
    near(squares - sum * sum, whole.variance_us2.device_us, 1e-6);
    assert_true(whole.variance_us2.device_us > 0);
    workload_free(w);
    hardware_free(h);
}

/* ---- better is never slower ------------------------------------------------------------------ */

static double block_us(const ModelDevice *device, const Workload *w, int b, double rows)
{
    BlockCost cost = model_block(device, w, b, 0, rows);
    double    us = 0;

    for (int work = 0; work < WORK_COUNT; work++) us += model_work_us(&cost, (Work)work);
    return us;
}

static void better_is_never_slower(void **state)
{
    static const char *const names[] = {"digits", "nas-cifar10", "vgg16-dsconv-cifar10",
                                        "nas-imagenet"};
    Bundled devices = bundled_devices();
    Rng     rng = {test_seed("better_is_never_slower", 20), 0};

    (void)state;
    for (int round = 0; round < 60; round++) {
        Workload   *w = open_workload(names[rng_range(&rng, 0, 3)]);
        Hardware   *h = open_hardware(devices.name[rng_range(&rng, 0, devices.count - 1)]);
        ModelDevice device = device_of(h, model_precision(h));
        int    b = (int)rng_range(&rng, 0, w->block_count - 1), rows = (int)rng_range(&rng, 1, 300);
        double us = block_us(&device, w, b, rows), factor = (double)rng_range(&rng, 101, 400) / 100;

        if (block_us(&device, w, b, rows + 1) < us)
            fail_msg("%s on %s, block %d: %d rows are slower than one more", w->name, h->name, b,
                     rows);
        switch (round % 4) {
        case 0: h->bandwidth_bytes_per_s *= factor; break;
        case 1:
            h->flop_per_s[device.precision] *= factor;
            h->flop_per_s[NUMBERS_FP32] *= factor;
            break;
        case 2: h->cache_bytes = (int64_t)((double)h->cache_bytes * factor); break;
        default: h->boost_hz *= factor; break;
        }
        if (block_us(&device, w, b, rows) > us * (1 + 1e-12))
            fail_msg("%s on %s, block %d, %d rows: better (%d) is slower", w->name, h->name, b,
                     rows, round % 4);
        workload_free(w);
        hardware_free(h);
    }
    free_bundled(&devices);
}

/* ---- traces ---------------------------------------------------------------------------------- */

static Trace *trace_of(const ModelOptions *options)
{
    Trace *trace;
    Error  err = {""};

    ok(model_trace(&trace, options, &err), &err);
    return trace;
}

/* The file's numbers are the model's, to the nanosecond; the point at the batch is there. */
static void trace_holds_the_blocks(void **state)
{
    Workload    *w = open_workload("nas-cifar10");
    Hardware    *h = open_hardware("rtx-2080-ti");
    ModelOptions options = {.workload = w, .hardware = h, .devices = 3,
                            .precision = model_precision(h), .prefetch = 2,
                            .layout = LAYOUT_CHANNELS_LAST, .step_us = 5000, .process_bytes = 7000};
    Trace       *t = trace_of(&options);
    ModelDevice  device = device_of(h, NUMBERS_FP32);

    (void)state;
    assert_string_equal(t->provenance_kind, "modelled");
    assert_non_null(strstr(t->source, "version 2"));
    assert_non_null(strstr(t->notes, "precision fp32"));
    assert_int_equal(t->kinds[0].count, 3);
    assert_int_equal(t->step_ns, 5000000);
    assert_int_equal(t->process_bytes, 7000 + MODEL_SEGMENT_BYTES);
    for (int b = 0; b < t->block_count; b++) {
        const Curve *curve = &t->blocks[b].work[WORK_BACKWARD][0];
        bool         thirds = false;
        for (int i = 0; i < curve->count; i++) {
            BlockCost cost = model_block(&device, w, b, 0, (double)curve->points[i].x);
            assert_int_equal(curve->points[i].ns,
                             llround(1000 * model_work_us(&cost, WORK_BACKWARD)));
            double spread = model_spread(&cost);
            if (fabs(curve->points[i].spread - spread) > 5.1e-5)
                fail_msg("spread %g, expected %g", curve->points[i].spread, spread);
            thirds |= curve->points[i].x == 85;
        }
        assert_true(thirds);
        assert_int_equal(curve->points[curve->count - 1].x, 256);
    }
    trace_free(t);
    hardware_free(h);
    workload_free(w);
}

/* PyTorch's allocator: multiples of 512 bytes below 10 MiB, of 2 MiB from there on. */
static void the_allocator_rounds(void **state)
{
    enum { KIB = 1 << 10, MIB = 1 << 20 };

    (void)state;
    assert_int_equal(model_rounding(1, 1), 511);
    assert_int_equal(model_rounding(512, 1), 0);
    assert_int_equal(model_rounding(500, 3), 36);                    /* 1,500 of 1,536 */
    assert_int_equal(model_rounding(MIB + 1, 1), 511);
    assert_int_equal(model_rounding(10 * MIB - 1, 1), 1);
    assert_int_equal(model_rounding(10 * MIB, 1), 0);
    assert_int_equal(model_rounding(10 * MIB + 1, 1), 2 * MIB - 1);
    assert_int_equal(model_rounding(11 * KIB, 1024), MIB);           /* 11 of 12 MiB */
    assert_int_equal(model_rounding((int64_t)1 << 36, (int64_t)1 << 31), 0);
    assert_int_equal(model_rounding(((int64_t)1 << 36) + 3 * KIB, (int64_t)1 << 30), 0);
}

/* A block by hand: 3x8x8 in, a convolution to 4 channels of 3x3 with a bias, batch norm, relu; 100
 * rows. Eagerly, each tensor is rounded up, but gradients, which an all-reduce sends as they are;
 * compiled, nothing is. */
static void tensors_are_rounded_up(void **state)
{
    static const char text[] =
        "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"w\", \"input\": "
        "{\"channels\": 3, \"height\": 8, \"width\": 8},"
        "\"batch\": 100, \"samples\": 200, \"training\": {\"learning_rate\": 0.1, \"momentum\": "
        "0.9}, \"blocks\": [{\"name\": \"a\","
        "\"loss\": \"mse\", \"teacher\": [{\"layer\": \"conv\", \"out\": 4, \"kernel\": 3}], "
        "\"student\": [{\"layer\": \"conv\", \"out\": 4,"
        "\"kernel\": 3}, {\"layer\": \"batchnorm\"}, {\"layer\": \"relu\"}]}]}";
    Workload  *w;
    TraceBlock plain = {0}, rounded = {0};
    Error      err = {""};

    (void)state;
    ok(workload_parse(&w, "text", text, sizeof text - 1, &err), &err);
    model_memory(&plain, w, &w->block[0], NUMBERS_FP32, 0);
    model_memory(&rounded, w, &w->block[0], NUMBERS_FP32, 100);
    assert_int_equal(plain.teacher_weight_bytes, 4 * (108 + 4));
    assert_int_equal(rounded.teacher_weight_bytes, 512 + 512);       /* 432 and 16 bytes */
    assert_int_equal(plain.student_weight_bytes, 4 * (112 + 8 + 8));
    /* Six tensors of at most 512 bytes; of the four that train also a gradient and a momentum,
     * whose bytes stand apart. */
    assert_int_equal(rounded.student_weight_bytes, 6 * 512 + 2 * (4 * 512 - 4 * 120));
    assert_int_equal(rounded.gradient_bytes, 4 * 120);
    assert_int_equal(rounded.state_bytes, 4 * 120);
    assert_int_equal(rounded.output_bytes, plain.output_bytes);
    assert_int_equal(plain.teacher_activation_bytes, 0);             /* its only result goes where
                                                                      * the boundary is */
    /* Kept: the convolution's result, 100 x 1,024 bytes, a multiple of 512; the same for the output
     * and the gradient at it. */
    assert_true(plain.student_activation_bytes > 0);
    assert_int_equal(rounded.student_activation_bytes, plain.student_activation_bytes);
    /* Of 10,300 rows each tensor, 10.06 MiB, takes 12. */
    model_memory(&rounded, w, &w->block[0], NUMBERS_FP32, 10300);
    int64_t tensors = plain.student_activation_bytes / 1024, more = 12 * (1 << 20) - 10300 * 1024;
    assert_int_equal(rounded.student_activation_bytes,
                     plain.student_activation_bytes + tensors * ((more + 10299) / 10300));
    workload_free(w);
}

/* Links by hand. The 2080 Ti's GPUs do not reach each other's memory: messages go twice over
 * PCIe 3.0 x16, 15.754 GB/s. */
static void links_by_hand(void **state)
{
    const ModelHostConstants *c = &model_host_constants;
    Workload    *w = open_workload("vgg16-dsconv-cifar10");
    Hardware    *h = open_hardware("rtx-2080-ti");
    ModelOptions options = {.workload = w, .hardware = h, .devices = 4, .precision = NUMBERS_FP32,
                            .cores = 2, .workers = 8, .prefetch = 3};
    double       rate = 8e9 * 128 / 130 / 8 * 16 * c->link_share / 2;
    Trace       *t = trace_of(&options);

    (void)state;
    const CurvePoint *last = &t->links.p2p.points[t->links.p2p.count - 1];
    near((double)last->ns, 1000 * (c->link_us + (double)last->x / rate * 1e6), 1e-4);
    assert_int_equal(t->links.reduce_count, 3);
    last = &t->links.reduces[2].curve.points[1];                     /* four devices: 6 steps of a
                                                                      * quarter */
    near((double)last->ns, 1000 * 6 * (c->reduce_us + (double)last->x / 4 / rate * 1e6), 1e-4);
    near((double)t->loader.batch_ns, 1000 * c->batch_us, 1e-6);
    /* four workers a core */
    near(t->loader.sample_ns, 1000 * c->raw_core_us * (1 + 2 * c->crowded_share), 1e-6);
    assert_int_equal(t->loader.lanes, 2);                            /* two cores for eight
                                                                      * workers */
    assert_int_equal(t->loader.prefetch, 3);
    assert_int_equal(trace_loader_ahead(&t->loader, 4), 6);          /* of a device's two workers */
    assert_int_equal(trace_loader_ahead(&t->loader, 1), 24);
    assert_int_equal(trace_loader_held(&t->loader), 1);
    trace_free(t);
    options.devices = 2;                                             /* now the bridge joins them */
    t = trace_of(&options);
    last = &t->links.p2p.points[t->links.p2p.count - 1];
    near((double)last->ns, 1000 * (c->link_us + (double)last->x / (50e9 * c->link_share) * 1e6),
         1e-4);
    trace_free(t);
    hardware_free(h);
    workload_free(w);
}

/* Eight GPUs on machines of two, joined by bridges; between machines 5 GB/s, slower than half of
 * PCIe 3.0 x16, so it is the network's rate, and the latency of both ends. */
static void machines_by_hand(void **state)
{
    const ModelHostConstants *c = &model_host_constants;
    Workload    *w = open_workload("vgg16-dsconv-cifar10");
    Hardware    *h = open_hardware("rtx-2080-ti");
    ModelOptions options = {.workload = w, .hardware = h, .devices = 8, .precision = NUMBERS_FP32,
                            .machine_devices = 2, .network_bytes_per_s = 5e9};
    Trace       *t = trace_of(&options);

    (void)state;
    assert_int_equal(t->devices_per_node, 2);
    assert_int_equal(t->links.reduce_count, 1);
    assert_int_equal(t->node_links.reduce_count, 7);
    const CurvePoint *last = &t->links.p2p.points[1];
    near((double)last->ns, 1000 * (c->link_us + (double)last->x / (50e9 * c->link_share) * 1e6),
         1e-4);
    last = &t->node_links.p2p.points[1];
    near((double)last->ns, 1000 * (2 * c->link_us + (double)last->x / (5e9 * c->link_share) * 1e6),
         1e-4);
    last = &t->node_links.reduces[6].curve.points[1];
    near((double)last->ns,
         1000 * 14 * (2 * c->reduce_us + (double)last->x / 8 / (5e9 * c->link_share) * 1e6), 1e-4);
    trace_free(t);
    options.machine_devices = 1;
    t = trace_of(&options);
    assert_int_equal(t->links.p2p.count, 0);
    assert_int_equal(t->node_links.reduce_count, 7);
    trace_free(t);
    hardware_free(h);
    workload_free(w);
}

/* Two kinds: each one's times are those of a trace of it alone; messages are the slower one's, PCIe
 * 3.0 through the host's memory. A quarter of a GPU: a quarter of its memory; all at once slower
 * than alone where memory bounds. */
static void kinds_and_slices(void **state)
{
    Workload    *w = open_workload("vgg16-dsconv-cifar10");
    Hardware    *slow = open_hardware("rtx-2080-ti"), *fast = open_hardware("h200");
    ModelKind    kinds[] = {{fast, 3, 0, NUMBERS_FP16}, {slow, 2, 0, NUMBERS_FP16}},
              quarter = {fast, 4, 4, NUMBERS_TF32};
    ModelOptions mixed = {.workload = w, .kinds = kinds, .kind_count = 2};
    ModelOptions alone[] = {
        {.workload = w, .hardware = fast, .devices = 5, .precision = NUMBERS_FP16},
        {.workload = w, .hardware = slow, .devices = 5, .precision = NUMBERS_FP16}};
    Trace       *t = trace_of(&mixed), *one[] = {trace_of(&alone[0]), trace_of(&alone[1])};

    (void)state;
    assert_int_equal(trace_device_count(t), 5);
    for (int k = 0; k < 2; k++)
        for (int b = 0; b < t->block_count; b++) {
            const Curve *a = &t->blocks[b].work[WORK_FORWARD][k],
                        *expected = &one[k]->blocks[b].work[WORK_FORWARD][0];
            assert_int_equal(a->count, expected->count);
            for (int i = 0; i < a->count; i++)
                assert_int_equal(a->points[i].ns, expected->points[i].ns);
        }
    assert_int_equal(t->links.p2p.points[1].ns, one[1]->links.p2p.points[1].ns);
    trace_free(one[0]); trace_free(one[1]); trace_free(t);
    mixed = (ModelOptions){.workload = w, .kinds = &quarter, .kind_count = 1};
    t = trace_of(&mixed);
    assert_string_equal(t->kinds[0].name, "H200/4");
    assert_int_equal(t->kinds[0].memory_bytes, fast->memory_bytes / 4);
    assert_true(t->contended);
    trace_free(t);
    kinds[1] = kinds[0];
    mixed = (ModelOptions){.workload = w, .kinds = kinds, .kind_count = 2};
    Error err = {""};
    assert_int_equal(model_trace(&t, &mixed, &err), -1);
    assert_non_null(strstr(err.text, "given twice"));
    hardware_free(slow);
    hardware_free(fast);
    workload_free(w);
}

static void refused(ModelOptions *options, const char *words)
{
    Trace *trace;
    Error  err = {""};

    assert_int_equal(model_trace(&trace, options, &err), -1);
    assert_null(trace);
    if (!strstr(err.text, words)) fail_msg("\"%s\", expected \"%s\" in it", err.text, words);
}

static void what_a_device_lacks_is_refused(void **state)
{
    Workload    *w = open_workload("digits");
    Hardware    *h = open_hardware("rtx-2080-ti"), *ada = open_hardware("rtx-4090");
    ModelOptions options = {.workload = w, .hardware = h, .devices = 4, .precision = NUMBERS_TF32};

    (void)state;
    refused(&options, "no rate for tf32 in its file, which has: fp32 fp16");
    options.precision = NUMBERS_FP16;
    options.link = MODEL_LINK_NVLINK;
    refused(&options, "its NVLink joins 2 devices, not 4");
    options.hardware = ada;
    refused(&options, "has no NVLink");
    hardware_free(h);
    hardware_free(ada);
    workload_free(w);
}

/* Memory runs out at every allocation in turn: an error that says so, and nothing is left behind
 * (the sanitizers see it). */
static void memory_runs_out(void **state)
{
    Workload    *w = open_workload("nas-digits");
    Hardware    *h, *full = open_hardware("rtx-a6000");
    char *path = format_text("%s/tests/fixtures/device/good/all-keys.json", PIPEBD_ROOT), *text;
    size_t       length;
    ModelOptions options = {
        .workload = w, .hardware = full, .devices = 4, .precision = NUMBERS_TF32};
    Trace       *trace;
    bool         more = true;

    (void)state;
    for (long n = 1; more; n++) {
        Error err = {""};
        alloc_fail_after(n);
        int rc = model_trace(&trace, &options, &err);
        more = alloc_fail_reached();
        alloc_fail_after(0);
        if (more && rc != 0) assert_true(error_is_no_memory(&err));
        assert_int_equal(rc == 0, trace != NULL);
        if (!more) ok(rc, &err);
        trace_free(trace);
    }
    text = slurp(path, &length);
    more = true;
    for (long n = 1; more; n++) {
        Error err = {""};
        alloc_fail_after(n);
        int rc = hardware_parse(&h, "all-keys.json", text, length, &err);
        more = alloc_fail_reached();
        alloc_fail_after(0);
        if (more && rc != 0) assert_true(err.text[0] != 0);
        assert_int_equal(rc == 0, h != NULL);
        hardware_free(h);
    }
    free(text);
    free(path);
    hardware_free(full);
    workload_free(w);
}

/* A device so slow that no trace can say it: an error, not a number that has wrapped around. */
static void too_slow_is_refused(void **state)
{
    Workload    *w = open_workload("digits");
    Hardware    *h = open_hardware("rtx-a6000");
    ModelOptions options = {.workload = w, .hardware = h, .devices = 2, .precision = NUMBERS_FP32};

    (void)state;
    h->bandwidth_bytes_per_s = 1e-300;
    refused(&options, "is beyond 2^47 ns (39 hours)");
    hardware_free(h);
    workload_free(w);
}

/* Planners take every one of them, with nothing missing: links, the loader, bytes. Only networks
 * without choices have no spread. */
static void planners_take_the_traces(void **state)
{
    static const char *const names[] = {"digits", "nas-cifar10", "nas-imagenet",
                                        "vgg16-dsconv-cifar10", "vgg16-dsconv-imagenet"};
    Hardware *h = open_hardware("a100-sxm-80gb");

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Workload *w = open_workload(names[i]);
        for (int devices = 1; devices <= 16; devices++) {
            ModelOptions options = {
                .workload = w, .hardware = h, .devices = devices, .precision = model_precision(h)};
            Trace     *t = trace_of(&options);
            Scenario   s;
            Comparison comparison;
            Text       missing = {0};
            Error      err = {""};
            ok(scenario_build(&s, t, &(ScenarioOptions){.queue_depth = 2, .steps = 20}, &err),
               &err);
            scenario_missing(&s, &missing);
            const char *allowed = w->block[0].choices
                                      ? ""
                                      : "no spread in this trace: every step takes the same time\n";
            if (devices > 1 && strcmp(text_string(&missing), allowed) != 0)
                fail_msg("%s, %d devices: %s", w->name, devices, text_string(&missing));
            CompareOptions how = {.schedules =
                                      ~(1u << SCHEDULE_SPLIT) & ((1u << SCHEDULE_COUNT) - 1),
                                  .candidates = 2};
            ok(compare(&comparison, &s, &how, &err), &err);
            text_free(&missing);
            comparison_free(&comparison);
            scenario_free(&s);
            trace_free(t);
        }
        workload_free(w);
    }
    hardware_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_fixtures),
        cmocka_unit_test(values_are_scaled),
        cmocka_unit_test(bundled_devices_have_both_names),
        cmocka_unit_test(unknown_device_is_refused),
        cmocka_unit_test(rates_fit_clocks),
        cmocka_unit_test(conv_by_hand),
        cmocka_unit_test(half_precision_halves_bytes),
        cmocka_unit_test(attention_by_hand),
        cmocka_unit_test(transformers_are_priced),
        cmocka_unit_test(the_allocator_rounds),
        cmocka_unit_test(tensors_are_rounded_up),
        cmocka_unit_test(roofline_by_hand),
        cmocka_unit_test(operators_add_up),
        cmocka_unit_test(shortcuts_are_priced),
        cmocka_unit_test(choices_are_means),
        cmocka_unit_test(better_is_never_slower),
        cmocka_unit_test(trace_holds_the_blocks),
        cmocka_unit_test(links_by_hand),
        cmocka_unit_test(machines_by_hand),
        cmocka_unit_test(kinds_and_slices),
        cmocka_unit_test(what_a_device_lacks_is_refused),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(too_slow_is_refused),
        cmocka_unit_test(planners_take_the_traces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
