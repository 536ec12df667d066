/* Tests that print TAP, without a library: they are to run on machines with a GPU, which have
 * little else. A program is a table of tests; one that fails says why, once, and goes on. */
#ifndef TESTS_CUDA_TAP_H
#define TESTS_CUDA_TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct { const char *name; void (*run)(void); } TapTest;

/* Whether all cases are wanted: make check-all, and on a GPU, where they are quick. */
static inline bool tap_thorough(void)
{
    const char *text = getenv("PIPEBD_THOROUGH");

    return text && *text;
}

static bool tap_failed;

static inline void tap_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void tap_fail(const char *format, ...)
{
    va_list list;

    if (tap_failed) return;
    tap_failed = true;
    printf("# ");
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
}

/* Each element of found within tolerance of the truth's largest (1 at least): what cancels in a sum
 * is of that size. */
static inline void tap_close(const char *what, const float *found, const double *truth,
                             int64_t count, double tolerance)
{
    double most = 1.0;

    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(truth[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(found[i] - truth[i]) <= tolerance * most)) {
            tap_fail("%s: element %lld of %lld is %.9g, expected %.9g (largest %.3g)", what,
                     (long long)i, (long long)count, (double)found[i], truth[i], most);
            return;
        }
}

static inline int tap_run(const TapTest *tests, int count)
{
    int failed = 0;

    printf("1..%d\n", count);
    for (int i = 0; i < count; i++) {
        tap_failed = false;
        tests[i].run();
        printf("%sok %d - %s\n", tap_failed ? "not " : "", i + 1, tests[i].name);
        fflush(stdout);
        failed += tap_failed;
    }
    return failed > 0;
}

#define TAP_MAIN(...)                                               \
    int main(void)                                                  \
    {                                                               \
        const TapTest tests[] = {__VA_ARGS__};                      \
                                                                    \
        return tap_run(tests, (int)(sizeof tests / sizeof *tests)); \
    }
#define TAP_TEST(name) {#name, name}

#endif
