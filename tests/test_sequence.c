/* Layers of transformers (kernels/cpu: embedding, heads, attention, layernorm, functions) against
 * plain loops in double (tests/slow_sequence.h), which are themselves held against finite
 * differences here. Layers are read from the text of a workload. */
#include "tests/net_checks.h"

#include "workloads/workload.h"

typedef struct {
    const char *name, *input, *layers;
    int64_t     rows;
} Case;

#define TOKENS(count)  "{\"tokens\": " count ", \"vocabulary\": 11}"
#define NUMBERS(size)  "{\"channels\": 3, \"height\": " size ", \"width\": 1}"
#define LINEAR(out)    "{\"layer\": \"linear\", \"out\": " out "}"
#define RESIDUAL(body) "{\"layer\": \"residual\", \"body\": [" body "]}"

/* The linear layer in front shows each layer's dx as its own weights' gradient. Attention's tiles
 * are 128 queries by 128 keys: 150 tokens need several of both. */
static const Case cases[] = {
    {"embedding", TOKENS("7"), "{\"layer\": \"embedding\", \"vocabulary\": 13, \"out\": 5}", 3},
    {"embedding with positions", TOKENS("6"), "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 20, \"positions\": true},"
     "{\"layer\": \"layernorm\"}", 4},
    {"embedding with types", "{\"tokens\": 5, \"vocabulary\": 11, \"types\": 2}",
     "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 7, \"positions\": true, \"types\": 3}", 3},
    {"linear of tokens", NUMBERS("9"), LINEAR("5") "," LINEAR("33"), 2},
    {"linear of tokens, without bias, cut", NUMBERS("9"), "{\"layer\": \"linear\", \"out\": 7, \"bias\": false}, {\"layer\": \"relu\"}", 2},
    {"layernorm", NUMBERS("8"), LINEAR("37") ",{\"layer\": \"layernorm\", \"eps\": 1e-3}", 3},
    {"layernorm without bias, of a vector", NUMBERS("1"), LINEAR("16") ",{\"layer\": \"layernorm\", \"bias\": false}", 5},
    {"layernorm over many places", NUMBERS("70"), LINEAR("9") ",{\"layer\": \"layernorm\"}", 5},
    {"rmsnorm", NUMBERS("8"), LINEAR("48") ",{\"layer\": \"rmsnorm\", \"eps\": 1e-2}", 3},
    {"gelu", NUMBERS("11"), LINEAR("19") ",{\"layer\": \"gelu\"}", 3},
    {"gelu by tanh", NUMBERS("11"), LINEAR("19") ",{\"layer\": \"gelu\", \"approximate\": \"tanh\"}", 3},
    {"silu, tanh", NUMBERS("11"), LINEAR("19") ",{\"layer\": \"silu\"},{\"layer\": \"tanh\"}", 3},
    {"gated by silu", NUMBERS("5"), LINEAR("34") ",{\"layer\": \"gated\", \"function\": \"silu\"}", 3},
    {"gated by gelu", NUMBERS("5"), LINEAR("6") ",{\"layer\": \"gated\", \"function\": \"gelu\"}", 3},
    {"gated by gelu's tanh", NUMBERS("5"), LINEAR("32") ",{\"layer\": \"gated\", \"function\": \"gelu_tanh\"}", 2},
    {"gated by relu, tanh", NUMBERS("5"), LINEAR("24") ",{\"layer\": \"gated\", \"function\": \"relu\"},"
     LINEAR("8") ",{\"layer\": \"gated\", \"function\": \"tanh\"}", 3},
    {"pool of the mean", NUMBERS("5"), LINEAR("7") ",{\"layer\": \"pool\", \"of\": \"mean\"}", 3},
    {"pool of the first", NUMBERS("5"), LINEAR("7") ",{\"layer\": \"pool\", \"of\": \"first\"}", 3},
    {"patches", "{\"channels\": 3, \"height\": 8, \"width\": 12}",
     "{\"layer\": \"conv\", \"out\": 10, \"kernel\": 4, \"stride\": 4, \"padding\": 0},"
     "{\"layer\": \"tokens\", \"class_token\": true, \"positions\": true},{\"layer\": \"layernorm\"},{\"layer\": \"pool\", \"of\": \"first\"}", 3},
    {"patches without a class token", "{\"channels\": 3, \"height\": 4, \"width\": 4}",
     "{\"layer\": \"conv\", \"out\": 6, \"kernel\": 2, \"stride\": 2, \"padding\": 0},{\"layer\": \"tokens\", \"positions\": true}", 2},
    {"attention", NUMBERS("9"), LINEAR("48") ",{\"layer\": \"attention\", \"heads\": 2, \"head_dim\": 8}", 2},
    {"causal attention of several tiles", NUMBERS("150"), LINEAR("24")
     ",{\"layer\": \"attention\", \"heads\": 2, \"head_dim\": 4, \"causal\": true}", 2},
    {"attention of several tiles, both ways", NUMBERS("150"), LINEAR("12") ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 4}", 2},
    {"causal attention in a window", NUMBERS("150"), LINEAR("16")
     ",{\"layer\": \"attention\", \"heads\": 2, \"kv_heads\": 1, \"head_dim\": 4, \"causal\": true, \"window\": 17}", 2},
    {"attention in a window, both ways", NUMBERS("150"), LINEAR("12")
     ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 4, \"window\": 5}", 2},
    {"grouped heads, rotary, normed", NUMBERS("13"), LINEAR("64")
     ",{\"layer\": \"attention\", \"heads\": 4, \"kv_heads\": 2, \"head_dim\": 8, \"causal\": true, \"norm\": true, \"eps\": 1e-3,"
     "\"rotary\": {\"theta\": 50}}", 2},
    {"rotary of part of a head", NUMBERS("12"), LINEAR("30")
     ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 10, \"rotary\": {\"dim\": 4}}", 2},
    {"rotary scaled as Llama 3's", NUMBERS("40"), LINEAR("60")
     ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 20, \"causal\": true, \"rotary\": {\"theta\": 500,"
     "\"scaling\": {\"factor\": 8, \"low\": 1, \"high\": 4, \"original\": 64}}}", 2},
    {"a block with norms before", TOKENS("10"), "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 16},"
     RESIDUAL("{\"layer\": \"rmsnorm\"},{\"layer\": \"linear\", \"out\": 32, \"bias\": false},"
              "{\"layer\": \"attention\", \"heads\": 2, \"kv_heads\": 1, \"head_dim\": 8, \"causal\": true, \"rotary\": {}},"
              "{\"layer\": \"linear\", \"out\": 16, \"bias\": false}") ","
     RESIDUAL("{\"layer\": \"rmsnorm\"}," LINEAR("48") ",{\"layer\": \"gated\", \"function\": \"silu\"}," LINEAR("16")) ","
     "{\"layer\": \"rmsnorm\"}," LINEAR("11"), 3},
    {"a block with norms behind", TOKENS("10"), "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 16, \"positions\": true},"
     RESIDUAL(LINEAR("48") ",{\"layer\": \"attention\", \"heads\": 2, \"head_dim\": 8}," LINEAR("16")) ",{\"layer\": \"layernorm\"},"
     RESIDUAL(LINEAR("32") ",{\"layer\": \"gelu\"}," LINEAR("16")) ",{\"layer\": \"layernorm\"},{\"layer\": \"pool\", \"of\": \"mean\"}", 3},
    {"attention that ends a residual", NUMBERS("6"), LINEAR("12")
     "," RESIDUAL(LINEAR("36") ",{\"layer\": \"attention\", \"heads\": 3, \"head_dim\": 4}") ",{\"layer\": \"relu\"}", 2},
};

enum { CASES = sizeof cases / sizeof *cases };

static Workload *workload_of(const Case *c)
{
    char     *text = format_text("{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"t\", \"batch\": 8, \"samples\": 8, \"input\": %s,"
                                 "\"training\": {\"learning_rate\": 0.1}, \"blocks\": [{\"name\": \"b\", \"loss\": \"mse\","
                                 "\"teacher\": [%s], \"student\": [%s]}]}", c->input, c->layers, c->layers);
    Workload *workload;
    Error     err = {""};

    if (workload_parse(&workload, "case", text, strlen(text), &err) != 0) fail_msg("%s: %s", c->name, err.text);
    free(text);
    return workload;
}

/* Tokens and types of an input of tokens, else normal numbers. */
static float *input_of(const Workload *w, int64_t rows)
{
    int64_t count = rows * shape_count(w->input);
    float  *x = draw(3, count);

    for (int64_t i = 0; w->vocabulary > 0 && i < count; i++) {
        bool type = w->types > 0 && i % 2 == 1;
        x[i] = (float)(rng_u64(7, 0, 0, (uint64_t)i) % (uint64_t)(type ? w->types : w->vocabulary));
    }
    return x;
}

static void check_case(const Case *c, Device *device, bool frozen, const int *lengths)
{
    Arena           arena = {0};
    Error           err = {""};
    Workload       *w = workload_of(c);
    const WorkBlock *b = &w->block[0];
    int64_t         nx = c->rows * shape_count(b->in), ny = c->rows * shape_count(b->out);
    float          *x = input_of(w, c->rows), *dy = draw(4, ny), *y = malloc((size_t)ny * sizeof *y);
    char           *what = format_text("%s%s%s", c->name, frozen ? ", frozen" : "", lengths ? ", with lengths" : "");
    Net            *net;
    Slow            slow;
    SlowRecord     *records;
    Tensor          truth;

    (void)nx;
    if (net_new(&net, device, &b->student, b->in, frozen ? NET_FROZEN : NET_TRAINED, &err) != 0 || net_prepare(net, c->rows, &err) != 0)
        fail_msg("%s: %s", what, err.text);
    set_weights(net, 5);
    net_set_lengths(net, lengths);
    slow = slow_of(&arena, net, frozen);
    slow.lengths = lengths;
    truth = slow_forward(&slow, &b->student, doubles(&slow, x, c->rows, b->in), &records);
    if (net_forward(net, x, y, c->rows, NULL, &err) != 0) fail_msg("%s: %s", what, err.text);
    compare_values(what, y, truth.v, ny, TOLERANCE);
    if (!frozen) {
        slow_backward(&slow, &b->student, records, doubles(&slow, dy, c->rows, b->out));
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

    if (device_spec_parse(&spec, text, &err) != 0 || device_open(&device, &spec, 0, &err) != 0) fail_msg("%s", err.text);
    return device;
}

/* Lengths within each sequence: the whole, one token, and about half. */
static void lengths_of(const Case *c, int lengths[8])
{
    Workload *w = workload_of(c);
    int       tokens = w->input.height;

    for (int r = 0; r < 8; r++) lengths[r] = r % 3 == 0 ? tokens : r % 3 == 1 ? 1 : tokens / 2 + 1;
    workload_free(w);
}

static void layers_against_the_truth(void **state)
{
    Device *device = open_spec("cpu:1");

    (void)state;
    for (int i = 0; i < CASES; i++) {
        int  lengths[8];
        bool patches = strstr(cases[i].name, "patches") != NULL;

        lengths_of(&cases[i], lengths);
        for (int frozen = 0; frozen < 2; frozen++) {
            check_case(&cases[i], device, frozen, NULL);
            if (!patches) check_case(&cases[i], device, frozen, lengths);
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
static void check_differences(const Case *c, Device *device)
{
    Arena            arena = {0};
    Error            err = {""};
    Workload        *w = workload_of(c);
    const WorkBlock *b = &w->block[0];
    float           *x = input_of(w, c->rows), *dy = draw(4, c->rows * shape_count(b->out));
    const double     h = 1e-5;
    Net             *net;
    Slow             s;
    SlowRecord      *records;

    if (net_new(&net, device, &b->student, b->in, NET_TRAINED, &err) != 0) fail_msg("%s", err.text);
    set_weights(net, 5);
    s = slow_of(&arena, net, false);
    Tensor given = doubles(&s, x, c->rows, b->in), slope = doubles(&s, dy, c->rows, b->out);
    slow_forward(&s, &b->student, given, &records);
    slow_backward(&s, &b->student, records, slope);
    for (int i = 0; i < net_parameter_count(net); i++)
        for (int64_t k = 0; k < net_parameter(net, i)->count; k += 1 + net_parameter(net, i)->count / 24) {
            double before = s.value[i][k], up, down;

            s.value[i][k] = before + h, up = slow_objective(&s, &b->student, given, slope);
            s.value[i][k] = before - h, down = slow_objective(&s, &b->student, given, slope);
            s.value[i][k] = before;
            if (fabs((up - down) / (2.0 * h) - s.gradient[i][k]) > 1e-5 * fmax(1.0, fabs(s.gradient[i][k])))
                fail_msg("%s: truth of %s, element %lld: %.9g, by differences %.9g", c->name, net_parameter(net, i)->name, (long long)k,
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
    for (int i = 0; i < CASES; i++)
        if (!strstr(cases[i].input, "150")) check_differences(&cases[i], device);
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
static float *run_case(const Case *c, Device *device, const float *x, const int *lengths, int64_t *count)
{
    Error            err = {""};
    Workload        *w = workload_of(c);
    const WorkBlock *b = &w->block[0];
    int64_t          ny = c->rows * shape_count(b->out), gradients, each = shape_count(b->out) / b->out.height;
    float           *y = calloc((size_t)ny, sizeof *y), *dy = draw(4, ny), *g, *all;
    Net             *net;

    for (int64_t i = 0; lengths && b->out.height > 1 && i < ny; i++)
        if (i / each % b->out.height >= lengths[i / shape_count(b->out)]) dy[i] = 0.0f;
    if (net_new(&net, device, &b->student, b->in, NET_TRAINED, &err) != 0 || net_prepare(net, c->rows, &err) != 0) fail_msg("%s", err.text);
    set_weights(net, 5);
    net_set_lengths(net, lengths);
    if (net_forward(net, x, y, c->rows, NULL, &err) != 0 || net_backward(net, dy, c->rows, &err) != 0) fail_msg("%s", err.text);
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
    for (int i = 0; i < CASES; i++) {
        const Case *c = &cases[i];
        int         lengths[8];
        int64_t     count, each;
        Workload   *w = workload_of(c);
        float      *x, *first, *second;

        if (strncmp(c->name, "a block", 7) != 0) { workload_free(w); continue; }
        lengths_of(c, lengths);
        x = input_of(w, c->rows);
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
    static const Case own[] = {
        {"attention", "{\"channels\": 4, \"height\": 40, \"width\": 12}",
         "{\"layer\": \"tokens\", \"positions\": true},{\"layer\": \"tokens\", \"positions\": true},{\"layer\": \"layernorm\"},{\"layer\": \"rmsnorm\"},"
         "{\"layer\": \"attention\", \"heads\": 2, \"kv_heads\": 1, \"head_dim\": 1, \"causal\": true, \"norm\": true},{\"layer\": \"gelu\"}", 3},
    };
    int64_t count = 0;
    float  *values[2];

    (void)state;
    for (int team = 0; team < 2; team++) {
        Device   *device = open_spec(team ? "cpu:1" : "cpu:2");
        Workload *w = workload_of(&own[0]);
        float    *x = input_of(w, own[0].rows);

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
