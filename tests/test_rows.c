/* A teacher's row has the same bits whatever rows are with it in a call and wherever it stands
 * among them: what a store of boundaries rests on (executor/store/store.h). Of the CPU's backend,
 * on all bundled workloads whose teachers fit a test, and on transformers. */
#include "tests/support.h"

#include <inttypes.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "executor/checkpoint/state.h"
#include "kernels/cpu/bf16.h"
#include "kernels/net.h"

enum { MOST_ROWS = 32 };

/* Images of numbers around 0, or token numbers. */
static float *inputs(const Workload *w, int64_t rows)
{
    int64_t each = shape_count(w->input);
    float  *x = calloc((size_t)(rows * each), sizeof *x);

    assert_non_null(x);
    for (int64_t i = 0; i < rows * each; i++) {
        uint64_t word = rng_u64(11, (uint64_t)i, 0, 0);
        int      most = w->types > 0 && i % 2 ? w->types : w->vocabulary;
        x[i] =
            most > 0 ? (float)(word % (uint64_t)most) : (float)((double)(word >> 40) * 0x1p-22 - 2);
    }
    return x;
}

/* Rows from..from + count - 1 in one call, taken in the order (i * stride + from) % rows. */
static void forward_some(Net *net, const float *x, int64_t in, float *y, int64_t out, int64_t rows,
                         int64_t from, int64_t stride, int64_t count, const float *expected,
                         const char *what)
{
    float *some = calloc((size_t)(count * in), sizeof *some);
    Error  err = {""};

    assert_non_null(some);
    for (int64_t r = 0; r < count; r++)
        memcpy(some + r * in, x + (from + r * stride) % rows * in, (size_t)in * sizeof *some);
    ok(net_prepare(net, count, &err), &err);
    ok(net_forward(net, some, y, count, NULL, &err), &err);
    for (int64_t r = 0; r < count; r++)
        if (memcmp(y + r * out, expected + (from + r * stride) % rows * out,
                   (size_t)out * sizeof *y)
            != 0)
            fail_msg("%s: row %" PRId64 " of a call of %" PRId64
                     " has other bits than in a call of %" PRId64,
                     what, (from + r * stride) % rows, count, rows);
    free(some);
}

/* oneDNN multiplies one vector alone with a matrix by another kernel since some version between
 * 3.7, which has the bits of many rows, and 3.12, which has others: docs/operations.md says so. */
static bool one_row_has_the_bits_of_many(void)
{
    const dnnl_version_t *v = dnnl_version();

    return v->major < 3 || (v->major == 3 && v->minor <= 7);
}

static void check_block(Device *device, const Workload *w, int b, const float *x, float *y,
                        int64_t rows, const Tensors *teacher)
{
    static const int64_t counts[] = {1, 2, 3, 5, 8, 16, 31};
    const WorkBlock *block = &w->block[b];
    int64_t          in = shape_count(block->in), out = shape_count(block->out);
    float           *again = calloc((size_t)(rows * out), sizeof *again);
    char             what[160];
    Net             *net;
    Error            err = {""};

    assert_non_null(again);
    snprintf(what, sizeof what, "%s, teacher block %d", w->name, b);
    ok(net_new(&net, device, &block->teacher, block->in, NET_FROZEN, &err), &err);
    ok(state_load_teacher(net, b, teacher, 1, &err), &err);
    ok(net_prepare(net, rows, &err), &err);
    ok(net_forward(net, x, y, rows, NULL, &err), &err);
    forward_some(net, x, in, again, out, rows, 3, 7, rows, y, what);     /* all, elsewhere */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i] < rows && (counts[i] > 1 || one_row_has_the_bits_of_many()))
            forward_some(net, x, in, again, out, rows, (int64_t)i * 5, 3, counts[i], y, what);
    net_free(net);
    free(again);
}

/* Frees w. bf16: whatever the machine is fastest in. */
static void check_all(Workload *w, int64_t rows, const char *devices, bool bf16)
{
    Tensors   *teacher = NULL;
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    if (w->teacher_weights) ok(tensors_read(&teacher, w->teacher_weights, &err), &err);
    ok(device_spec_parse(&spec, devices, &err), &err);
    ok(device_open(&device, &spec, 0, &err), &err);
    if (bf16) cpu_device(device)->bf16 = BF16_ALWAYS;
    float *x = inputs(w, rows);
    for (int b = 0; b < w->block_count; b++) {
        float *y = calloc((size_t)(rows * shape_count(w->block[b].out)), sizeof *y);
        assert_non_null(y);
        check_block(device, w, b, x, y, rows, teacher);
        free(x);
        x = y;
    }
    free(x);
    device_close(device);
    tensors_free(teacher);
    workload_free(w);
}

static void check_precision(const char *name, int64_t rows, const char *devices, bool bf16)
{
    Workload *w;
    Error     err = {""};

    ok(workload_read(&w, name, &err), &err);
    check_all(w, rows, devices, bf16);
}

static void check_workload(const char *name, int64_t rows, const char *devices)
{
    check_precision(name, rows, devices, false);
}

static void images(void **state)
{
    (void)state;
    check_workload("digits", MOST_ROWS, "cpu:1");
    check_workload("digits", MOST_ROWS, "cpu:2");
    check_workload("nas-digits", MOST_ROWS, "cpu:2");
    check_workload("vgg16-dsconv-cifar10-small", 13, "cpu:1");
    check_workload("vgg16-dsconv-cifar10", 6, "cpu:2");
    check_workload("nas-cifar10", 6, "cpu:2");
    check_workload("resnet18-dsconv-cifar10", 6, "cpu:2");
}

/* Sums of thousands of products, which a library may be tempted to split where rows are few. */
static void wide_layers(void **state)
{
    static const char text[] =
        "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"wide\","
        " \"input\": {\"channels\": 4, \"height\": 32, \"width\": 32}, \"batch\": 10, \"samples\": "
        "35,"
        " \"training\": {\"learning_rate\": 0.05}, \"blocks\": ["
        " {\"name\": \"a\", \"loss\": \"mse\","
        "  \"teacher\": [{\"layer\": \"flatten\"}, {\"layer\": \"linear\", \"out\": 1024}, "
        "{\"layer\": \"relu\"}, {\"layer\": \"linear\", \"out\": 10}],"
        "  \"student\": [{\"layer\": \"flatten\"}, {\"layer\": \"linear\", \"out\": 10}]}]}";
    Workload *w;
    Error     err = {""};

    (void)state;
    for (int devices = 1; devices <= 2; devices++) {
        ok(workload_parse(&w, "wide", text, strlen(text), &err), &err);
        check_all(w, MOST_ROWS, devices == 1 ? "cpu:1" : "cpu:2", false);
    }
}

static void transformers(void **state)
{
    (void)state;
    check_workload(PIPEBD_ROOT "/tests/fixtures/workload/good/transformer.json", MOST_ROWS,
                   "cpu:2");
    check_workload(PIPEBD_ROOT "/tests/fixtures/workload/good/patches.json", MOST_ROWS, "cpu:2");
}

/* Teachers wholly in bfloat16: which passes take it does not depend on rows either. */
static void in_bfloat16(void **state)
{
    (void)state;
    if (!bf16_is_there()) skip();
    check_precision("digits", MOST_ROWS, "cpu:2", true);
    check_precision("vgg16-dsconv-cifar10-small", 13, "cpu:1", true);
    check_precision("vgg16-dsconv-cifar10", 6, "cpu:2", true);
    check_precision("nas-cifar10", 6, "cpu:2", true);
    check_precision(PIPEBD_ROOT "/tests/fixtures/workload/good/transformer.json", MOST_ROWS,
                    "cpu:2", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images),
        cmocka_unit_test(wide_layers),
        cmocka_unit_test(transformers),
        cmocka_unit_test(in_bfloat16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
