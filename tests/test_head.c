/* Heads by pieces of tokens against the whole at once: losses, gradients, memory. */
#include "tests/net_checks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/head.h"
#include "tests/head_workload.h"
#include "workloads/head.h"

static Workload *workload_of(const char *loss, int tokens, int vocabulary, const char *student)
{
    Workload *w;
    Error     err = {""};

    ok(head_workload(&w, loss, tokens, vocabulary, 4, student, &err), &err);
    return w;
}

/* Weights of the last layer of from, which are to's only ones. */
static void copy_head(Net *to, const Net *from)
{
    int count = net_parameter_count(to), first = net_parameter_count(from) - count;

    for (int i = 0; i < count; i++) {
        float *values = malloc((size_t)net_parameter(to, i)->count * sizeof *values);
        assert_string_equal(net_parameter(to, i)->name, net_parameter(from, first + i)->name);
        net_read(from, first + i, values);
        net_write(to, i, values);
        free(values);
    }
}

/* Differences of gradients, of the largest of each tensor. */
static void compare_nets(Net *found, Net *expected, const char *what)
{
    net_update(found, &(UpdateStep){0});
    net_update(expected, &(UpdateStep){0});
    for (int i = 0; i < net_parameter_count(expected); i++) {
        int64_t n = net_parameter(expected, i)->count;
        float  *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b), largest = 0;

        net_read_state(found, i, a);
        net_read_state(expected, i, b);
        for (int64_t k = 0; k < n; k++) largest = fmaxf(largest, fabsf(b[k]));
        assert_true(largest > 0);
        for (int64_t k = 0; k < n; k++)
            if (!(fabsf(a[k] - b[k]) <= 1e-5f * largest))
                fail_msg("%s: %s, element %lld is %.9g, expected %.9g", what,
                         net_parameter(expected, i)->name, (long long)k, (double)a[k],
                         (double)b[k]);
        free(a), free(b);
    }
}

/* Body and head at once, as nets do it. */
static double whole(Device *device, const WorkBlock *block, Net *student, Net *teacher,
                    const float *x, LossCall call)
{
    int64_t count = call.rows * shape_count(block->out);
    float  *y = device_alloc(device, (size_t)count), *t = device_alloc(device, (size_t)count),
          *dy = device_alloc(device, (size_t)count);
    double  loss = NAN;
    Error   err = {""};

    assert_true(y && t && dy);
    ok(net_forward(teacher, x, t, call.rows, NULL, &err), &err);
    ok(net_forward(student, x, y, call.rows, NULL, &err), &err);
    call.student = y, call.teacher = t, call.dy = dy, call.channels = block->out.channels,
    call.loss = &loss;
    loss_backward(device, &call);
    ok(net_backward(student, dy, call.rows, &err), &err);
    device_release(device, y), device_release(device, t), device_release(device, dy);
    return loss;
}

static double by_pieces(Device *device, const WorkBlock *block, Net *student, Net *body,
                        Net *of_whole, const float *x, LossCall call)
{
    int64_t tokens = call.rows * block->in.height;
    float  *h = device_alloc(device, (size_t)(tokens * 4)),
          *t = device_alloc(device, (size_t)(tokens * 4)),
          *dy = device_alloc(device, (size_t)(tokens * 4));
    ScoreHead   *head;
    double  loss = NAN;
    Error   err = {""};

    assert_true(h && t && dy);
    ok(head_new(&head, device, block, student, &err), &err);
    if (head_teacher(head)) copy_head(head_teacher(head), of_whole);
    else assert_true(loss_is_of_labels(block->loss));
    ok(head_prepare(head, call.rows, &err), &err);
    ok(net_forward(body, x, t, call.rows, NULL, &err), &err);
    ok(net_forward(student, x, h, call.rows, NULL, &err), &err);
    call.student = h, call.teacher = t, call.dy = dy, call.loss = &loss;
    ok(head_backward(head, &call, &err), &err);
    ok(net_backward(student, dy, call.rows, &err), &err);
    head_free(head);
    device_release(device, h), device_release(device, t), device_release(device, dy);
    return loss;
}

static void check_loss(Device *device, const char *loss, bool masked)
{
    enum { ROWS = 4, TOKENS = 11 };      /* 44 tokens: two pieces, the first ends within a
                                          * sequence */
    static const int lengths[ROWS] = {11, 3, 8, 1};
    Workload  *w = workload_of(loss, TOKENS, 300000, "{\"layer\": \"layernorm\"}, ");
    WorkBlock *block = &w->block[1];
    Layers     body_layers = layers_body(&block->teacher, true);
    float     *x = draw(3, ROWS * TOKENS * 4);
    Net       *net[4];       /* students, whole and by pieces; teachers, whole and body */
    LossCall   call = {.kind = block->loss, .temperature = block->temperature, .rows = ROWS,
                       .places = TOKENS, .global_rows = 9, .lengths = masked ? lengths : NULL,
                       .global_places = 40};
    int        labels[ROWS * TOKENS];
    Error      err = {""};

    for (int i = 0; i < ROWS * TOKENS; i++) labels[i] = i % 5 == 4 ? -1 : i * 6007;
    if (loss_is_of_labels(call.kind)) call.labels = labels;
    assert_true(workload_has_head(w, 1));
    assert_false(workload_has_head(w, 0));
    assert_true(head_piece(ROWS * TOKENS, 300000) < ROWS * TOKENS);
    ok(net_new(&net[0], device, &block->student, block->in, NET_TRAINED, &err), &err);
    ok(net_new(&net[1], device, &block->student, block->in, NET_HEADLESS, &err), &err);
    ok(net_new(&net[2], device, &block->teacher, block->in, NET_FROZEN, &err), &err);
    ok(net_new(&net[3], device, &body_layers, block->in, NET_FROZEN, &err), &err);
    for (int i = 0; i < 4; i++) {
        ok(net_prepare(net[i], ROWS, &err), &err);
        net_initialise(net[i], i < 2 ? 5 : 6, 1);
    }
    double expected = whole(device, block, net[0], net[2], x, call),
           found = by_pieces(device, block, net[1], net[3], net[2], x, call);
    assert_true(fabs(found - expected) <= 1e-6 * fabs(expected));
    compare_nets(net[1], net[0], loss);
    for (int i = 0; i < 4; i++) net_free(net[i]);
    free(x);
    workload_free(w);
}

static void pieces_are_the_whole(void **state)
{
    Device *device = open_one();

    (void)state;
    check_loss(device, "kl", false);
    check_loss(device, "soft_cross_entropy", true);
    check_loss(device, "hard_cross_entropy", true);
    check_loss(device, "label_cross_entropy", true);
    device_close(device);
}

/* What a head works with stops to grow with the tokens. */
static void work_is_bounded(void **state)
{
    Device    *device = open_one();
    Workload  *w = workload_of("kl", 512, 100000, "");
    WorkBlock *block = &w->block[1];
    Net       *student;
    ScoreHead      *head;
    Error      err = {""};
    int64_t    most = 3 * HEAD_FLOATS * 4;
    /* Without AVX-512 a teacher's linear layer fills parts of 48 places up. */
    int64_t    part = cpu_has(dnnl_cpu_isa_avx512_core) ? 0 : 48 * (512 + 100000) * 4;

    (void)state;
    ok(net_new(&student, device, &block->student, block->in, NET_HEADLESS, &err), &err);
    ok(head_new(&head, device, block, student, &err), &err);
    for (int64_t rows = 1; rows <= 64; rows *= 4) {
        HeadBytes bytes;

        ok(head_prepare(head, rows, &err), &err);
        bytes = head_bytes(head, rows);
        assert_true(bytes.work <= most);
        assert_true(bytes.work > most / 2);
        assert_false(bytes.grows);
        /* 64 rows of one tensor of scores are 13 GB */
        assert_true(device_work_bytes(device) < most + most / 8 + part);
        assert_true(head_piece(rows * 512, 100000) >= HEAD_LEAST);
    }
    assert_int_equal(head_piece(512, 300000), 27);       /* 19 pieces */
    assert_int_equal(head_piece(40, 50), 40);
    head_free(head);
    net_free(student);
    workload_free(w);
    device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_the_whole),
        cmocka_unit_test(work_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
