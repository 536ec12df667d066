/* Functions that compilers turn into vectors (kernels/cpu/vector.h) against libm in double, and in
 * vectors of several widths against one number at a time. */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "tests/support.h"

enum { COUNT = 40000 };

static float x[COUNT];

/* -90 .. 90, dense around 0. */
static void fill(void)
{
    for (int i = 0; i < COUNT; i++) {
        double at = 2.0 * i / (COUNT - 1) - 1.0;
        x[i] = (float)(90.0 * at * at * at);
    }
}

static void exp_is_exp(void **state)
{
    (void)state;
    fill();
    for (int i = 0; i < COUNT; i++) {
        double truth = exp((double)x[i]);

        if (x[i] < -87.3f) assert_true(vector_exp(x[i]) == 0.0f);
        else if (x[i] > 88.37f) assert_true(isinf(vector_exp(x[i])));
        else if (!(fabs((double)vector_exp(x[i]) - truth) <= 2e-7 * truth))
            fail_msg("exp(%.9g) is %.9g, expected %.9g", (double)x[i], (double)vector_exp(x[i]),
                     truth);
    }
}

static void exp_has_ends(void **state)
{
    static const float low[] = {-87.31f, -1e4f, -1e30f, -INFINITY}, high[] = {88.4f, 1e4f, 1e30f,
                                                                              INFINITY};

    (void)state;
    for (int i = 0; i < 4; i++) assert_true(vector_exp(low[i]) == 0.0f);
    for (int i = 0; i < 4; i++) assert_true(vector_exp(high[i]) == INFINITY);
    assert_true(isnan(vector_exp(NAN)) && isnan(vector_exp(-NAN)));
    assert_true(vector_exp(0.0f) == 1.0f && vector_exp(-0.0f) == 1.0f);
}

typedef struct { double value, slope; } Truth;

static Truth true_silu(double at)
{
    double s = 1.0 / (1.0 + exp(-at));
    return (Truth){at * s, s + at * s * (1.0 - s)};
}

static Truth true_tanh(double at) { return (Truth){tanh(at), 1.0 - tanh(at) * tanh(at)}; }

static Truth true_gelu(double at)
{
    double p = 0.5 * erfc(-at / sqrt(2.0));
    return (Truth){at * p, p + at * exp(-0.5 * at * at) / sqrt(2.0 * M_PI)};
}

static Truth true_gelu_tanh(double at)
{
    double root = sqrt(2.0 / M_PI), u = root * (at + 0.044715 * at * at * at), t = tanh(u);
    return (Truth){0.5 * at * (1.0 + t),
                   0.5 * (1.0 + t) + 0.5 * at * (1.0 - t * t) * root * (1.0 + 0.134145 * at * at)};
}

static void check_curve(const char *name, FunctionCurve found, Truth truth, float at)
{
    double room = 1e-6 * fmax(1.0, fabs((double)at));

    if (!(fabs((double)found.value - truth.value) <= room
          && fabs((double)found.slope - truth.slope) <= room))
        fail_msg("%s(%.9g) is %.9g, slope %.9g, expected %.9g, slope %.9g", name, (double)at,
                 (double)found.value, (double)found.slope, truth.value, truth.slope);
}

static void curves_are_what_they_are_called(void **state)
{
    (void)state;
    fill();
    for (int i = 0; i < COUNT; i++) {
        check_curve("silu", curve_silu(x[i]), true_silu((double)x[i]), x[i]);
        check_curve("tanh", curve_tanh(x[i]), true_tanh((double)x[i]), x[i]);
        check_curve("gelu", curve_gelu(x[i]), true_gelu((double)x[i]), x[i]);
        check_curve("gelu_tanh", curve_gelu_tanh(x[i]), true_gelu_tanh((double)x[i]), x[i]);
    }
}

VECTORISED static void many(const float *at, float *exps, float *gelus, float *tanhs, int count)
{
    for (int i = 0; i < count; i++) {
        exps[i] = vector_exp(at[i]);
        gelus[i] = curve_gelu(at[i]).slope;
        tanhs[i] = curve_tanh(at[i]).value;
    }
}

static void vectors_give_the_bits_of_single_numbers(void **state)
{
    static float exps[COUNT], gelus[COUNT], tanhs[COUNT];

    (void)state;
    fill();
    many(x, exps, gelus, tanhs, COUNT);
    for (int i = 0; i < COUNT; i++) {
        float one[3];

        many(&x[i], &one[0], &one[1], &one[2], 1);
        assert_memory_equal(&one[0], &exps[i], sizeof(float));
        assert_memory_equal(&one[1], &gelus[i], sizeof(float));
        assert_memory_equal(&one[2], &tanhs[i], sizeof(float));
    }
}

static void sums_and_the_largest(void **state)
{
    (void)state;
    for (int count = 1; count < 70; count++) {
        float whole[70], most = -INFINITY, sum = 0.0f;

        for (int i = 0; i < count; i++) {
            whole[i] = (float)(i * 37 % 71 - 40);        /* sums of whole numbers are exact */
            sum += whole[i];
            most = fmaxf(most, whole[i]);
        }
        assert_true(vector_sum(whole, count) == sum && vector_most(whole, count) == most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_exp), cmocka_unit_test(exp_has_ends),
        cmocka_unit_test(curves_are_what_they_are_called),
        cmocka_unit_test(vectors_give_the_bits_of_single_numbers),
        cmocka_unit_test(sums_and_the_largest)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
