/* Layers of transformers (kernels/cpu: embedding, heads, attention, layernorm, functions) against
 * plain loops in double (tests/slow_sequence.h), which are themselves held against finite
 * differences here. Layers are read from the text of a workload. */
#include "tests/net_checks.h"
#include "tests/sequence_cases.h"

#include "workloads/workload.h"

static Workload *workload_of(const SequenceCase *c)
{
    Workload *workload;
    Error     err = {""};

    if (sequence_workload(&workload, c, &err) != 0) fail_msg("%s: %s", c->name, err.text);
    return workload;
}

static void check_case(const SequenceCase *c, Device *device, bool frozen, const int *lengths)
{
    Arena           arena = {0};
    Error           err = {""};
    Workload       *w = workload_of(c);
    const WorkBlock *b = &w->block[0];
    int64_t         nx = c->rows * shape_count(b->in), ny = c->rows * shape_count(b->out);
    float          *x = sequence_input(w, c->rows), *dy = draw(4, ny),
                   *y = malloc((size_t)ny * sizeof *y);
    char           *what = format_text("%s%s%s", c->name, frozen ? ", frozen" : "",
                                        lengths ? ", with lengths" : "");
    Net            *net;
    Slow            slow;
    SlowRecord     *records;
    Tensor          truth;

    (void)nx;
    if (net_new(&net, device, &b->student, b->in, frozen ? NET_FROZEN : NET_TRAINED, &err) != 0
        || net_prepare(net, c->rows, &err) != 0)
        fail_msg("%s: %s", what, err.text);
    set_weights(net, 5);
    net_set_lengths(net, lengths);
    slow = slow_of(&arena, net, frozen);
    slow.lengths = lengths;
    truth = slow_forward(&slow, &b->student, slow_from(&slow, x, c->rows, b->in), &records);
    if (net_forward(net, x, y, c->rows, NULL, &err) != 0) fail_msg("%s: %s", what, err.text);
    compare_values(what, y, truth.v, ny, TOLERANCE);
    if (!frozen) {
        slow_backward(&slow, &b->student, records, slow_from(&slow, dy, c->rows, b->out));
        if (net_backward(net, dy, c->rows, &err) != 0) fail_msg("%s: %s", what, err.text);
        compare_gradients(net, &slow, what);
    }
    net_free(net);
    workload_free(w);
    free(x), free(dy), free(y), free(what);
    arena_free(&arena);
}

static Device *open_spec(const char *text)
{
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    if (device_spec_parse(&spec, text, &err) != 0 || device_open(&device, &spec, 0, &err) != 0)
        fail_msg("%s", err.text);
    return device;
}

static void layers_against_the_truth(void **state)
{
    Device *device = open_spec("cpu:1");

    (void)state;
    for (int i = 0; i < SEQUENCE_CASES; i++) {
        int   lengths[SEQUENCE_ROWS];
        Error err = {""};
        bool  patches = strstr(sequence_cases[i].name, "patches") != NULL;

        if (sequence_lengths(&sequence_cases[i], lengths, &err) != 0) fail_msg("%s", err.text);
        for (int frozen = 0; frozen < 2; frozen++) {
            check_case(&sequence_cases[i], device, frozen, NULL);
            if (!patches) check_case(&sequence_cases[i], device, frozen, lengths);
        }
    }
    device_close(device);
}

/* ---- the truth itself ---- */

static double slow_objective(Slow *s, const Layers *layers, Tensor x, Tensor dy)
{
    SlowRecord *records;
    Tensor      y = slow_forward(s, layers, x, &records);
    double      sum = 0.0;

    for (int64_t i = 0; i < slow_count(y); i++) sum += y.v[i] * dy.v[i];
    return sum;
}

/* Every parameter's gradient (those in front show dx) by central differences, where the case is
 * small enough. */
static void check_differences(const SequenceCase *c, Device *device)
{
    Arena            arena = {0};
    Error            err = {""};
    Workload        *w = workload_of(c);
    const WorkBlock *b = &w->block[0];
    float           *x = sequence_input(w, c->rows), *dy = draw(4, c->rows * shape_count(b->out));
    const double     h = 1e-5;
    Net             *net;
    Slow             s;
    SlowRecord      *records;

    if (net_new(&net, device, &b->student, b->in, NET_TRAINED, &err) != 0) fail_msg("%s", err.text);
    set_weights(net, 5);
    s = slow_of(&arena, net, false);
    Tensor given = slow_from(&s, x, c->rows, b->in), slope = slow_from(&s, dy, c->rows, b->out);
    slow_forward(&s, &b->student, given, &records);
    slow_backward(&s, &b->student, records, slope);
    for (int i = 0; i < net_parameter_count(net); i++)
        for (int64_t k = 0; k < net_parameter(net, i)->count;
             k += 1 + net_parameter(net, i)->count / 24) {
            double before = s.value[i][k], up, down;

            s.value[i][k] = before + h, up = slow_objective(&s, &b->student, given, slope);
            s.value[i][k] = before - h, down = slow_objective(&s, &b->student, given, slope);
            s.value[i][k] = before;
            if (fabs((up - down) / (2.0 * h) - s.gradient[i][k])
                > 1e-5 * fmax(1.0, fabs(s.gradient[i][k])))
                fail_msg("%s: truth of %s, element %lld: %.9g, by differences %.9g", c->name,
                         net_parameter(net, i)->name, (long long)k,
                         s.gradient[i][k], (up - down) / (2.0 * h));
        }
    net_free(net);
    workload_free(w);
    free(x), free(dy);
    arena_free(&arena);
}

static void the_truth_has_the_right_slope(void **state)
{
    Device *device = open_spec("cpu:1");

    (void)state;
    for (int i = 0; i < SEQUENCE_CASES; i++)
        if (!strstr(sequence_cases[i].input, "150")) check_differences(&sequence_cases[i], device);
    device_close(device);
}

/* ---- properties ---- */

/* Gradients by way of the optimizer's state, all in a row. */
static float *gradients_of(Net *net, int64_t *count)
{
    float  *all;
    int64_t at = 0;

    *count = 0;
    for (int i = 0; i < net_parameter_count(net); i++) *count += net_parameter(net, i)->count;
    all = malloc((size_t)*count * sizeof *all);
    net_update(net, &(UpdateStep){0});
    for (int i = 0; i < net_parameter_count(net); i++) {
        net_read_state(net, i, all + at);
        at += net_parameter(net, i)->count;
    }
    return all;
}

/* Output and gradients of a case on a device; values is theirs, one after the other. */
static float *run_case(const SequenceCase *c, Device *device, const float *x, const int *lengths,
                       int64_t *count)
{
    Error            err = {""};
    Workload        *w = workload_of(c);
    const WorkBlock *b = &w->block[0];
    int64_t          ny = c->rows * shape_count(b->out), gradients,
                     each = shape_count(b->out) / b->out.height;
    float           *y = calloc((size_t)ny, sizeof *y), *dy = draw(4, ny), *g, *all;
    Net             *net;

    for (int64_t i = 0; lengths && b->out.height > 1 && i < ny; i++)
        if (i / each % b->out.height >= lengths[i / shape_count(b->out)]) dy[i] = 0.0f;
    if (net_new(&net, device, &b->student, b->in, NET_TRAINED, &err) != 0
        || net_prepare(net, c->rows, &err) != 0)
        fail_msg("%s", err.text);
    set_weights(net, 5);
    net_set_lengths(net, lengths);
    if (net_forward(net, x, y, c->rows, NULL, &err) != 0
        || net_backward(net, dy, c->rows, &err) != 0)
        fail_msg("%s", err.text);
    for (int64_t i = 0; lengths && b->out.height > 1 && i < ny; i++)
        if (i / each % b->out.height >= lengths[i / shape_count(b->out)]) y[i] = 0.0f;
    g = gradients_of(net, &gradients);
    *count = ny + gradients;
    all = malloc((size_t)*count * sizeof *all);
    memcpy(all, y, (size_t)ny * sizeof *y);
    memcpy(all + ny, g, (size_t)gradients * sizeof *g);
    net_free(net);
    workload_free(w);
    free(y), free(dy), free(g);
    return all;
}

/* What stands behind a sequence's end reaches neither what is in it nor a gradient: the same
 * bits. */
static void padding_reaches_nothing(void **state)
{
    Device *device = open_spec("cpu:1");

    (void)state;
    for (int i = 0; i < SEQUENCE_CASES; i++) {
        const SequenceCase *c = &sequence_cases[i];
        int         lengths[SEQUENCE_ROWS];
        Error       err = {""};
        int64_t     count, each;
        Workload   *w = workload_of(c);
        float      *x, *first, *second;

        if (strncmp(c->name, "a block", 7) != 0) { workload_free(w); continue; }
        if (sequence_lengths(c, lengths, &err) != 0) fail_msg("%s", err.text);
        x = sequence_input(w, c->rows);
        each = shape_count(w->input);
        first = run_case(c, device, x, lengths, &count);
        for (int64_t k = 0; k < c->rows * each; k++)
            if (k % each >= lengths[k / each]) x[k] = (float)(((int)x[k] + 5) % 11);
        second = run_case(c, device, x, lengths, &count);
        assert_memory_equal(first, second, (size_t)count * sizeof *first);
        free(x), free(first), free(second);
        workload_free(w);
    }
    device_close(device);
}

/* Ours sum in an order that the team has no part in: one thread and several give the same bits.
 * Products of matrices are oneDNN's, so cases with a linear layer are left to the tolerance
 * above. */
static void teams_give_the_same_bits(void **state)
{
    static const SequenceCase own[] = {
        {"attention", "{\"channels\": 4, \"height\": 40, \"width\": 12}",
         "{\"layer\": \"tokens\", \"positions\": true},"
         "{\"layer\": \"tokens\", \"positions\": true},"
         "{\"layer\": \"layernorm\"},{\"layer\": \"rmsnorm\"},"
         "{\"layer\": \"attention\", \"heads\": 2, \"kv_heads\": 1, \"head_dim\": 1,"
         "\"causal\": true, \"norm\": true},{\"layer\": \"gelu\"}", 3},
    };
    int64_t count = 0;
    float  *values[2];

    (void)state;
    for (int team = 0; team < 2; team++) {
        Device   *device = open_spec(team ? "cpu:1" : "cpu:2");
        Workload *w = workload_of(&own[0]);
        float    *x = sequence_input(w, own[0].rows);

        values[team] = run_case(&own[0], device, x, NULL, &count);
        free(x);
        workload_free(w);
        device_close(device);
    }
    assert_memory_equal(values[0], values[1], (size_t)count * sizeof(float));
    free(values[0]), free(values[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_has_the_right_slope),
        cmocka_unit_test(layers_against_the_truth),
        cmocka_unit_test(padding_reaches_nothing),
        cmocka_unit_test(teams_give_the_same_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
