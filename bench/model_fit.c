/* What is left between the model and what its constants were fitted on (traces/model_constants.c),
 * as Markdown: a table of docs/model.md.
 *
 *     build/bench/model_fit          with the constants as they are
 *     build/bench/model_fit --fit    fits them again first, and prints them too
 *
 * The case: NAS on CIFAR-10 on RTX A6000 cards, seconds an epoch read off a published chart (Jang et
 * al., DATE 2023, arXiv 2301.12443; traces/derive_calibration.py has the same figures).
 *
 * Minimised is the sum of squared logarithms of model / published, over the logarithms of the constants:
 * a point counts by its relative error, and no constant turns negative. */
#include <math.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/simplex.h"
#include "traces/model_block.h"

enum { STEPS = 176, BLOCKS = 6, FULL = 256, QUARTER = 64 };

/* A row of the chart: blocks first to last together, so many times each. */
typedef struct {
    const char *name;
    int         first, last;
    double      rows;
    bool        phases;      /* DP: phase b runs teacher blocks 0 to b, so block b's teacher in BLOCKS - b phases */
    double      teacher_s, student_s;    /* published, an epoch */
} FitRow;

static const FitRow chart[] = {
    {"relay, block 0, 256 rows", 0, 0, FULL, false, 1.57, 7.56},
    {"relay, block 1, 256 rows", 1, 1, FULL, false, 1.03, 7.07},
    {"relay, blocks 2 and 3, 256 rows", 2, 3, FULL, false, 1.36, 8.40},
    {"relay, blocks 4 and 5, 256 rows", 4, 5, FULL, false, 0.58, 5.12},
    {"DP, six phases, 64 rows", 0, 5, QUARTER, true, 7.20, 19.90},
    {"ideal: all blocks, 256 rows", 0, 5, FULL, false, 4 * 1.11, 4 * 6.71}};

enum { ROWS = sizeof chart / sizeof *chart };

typedef struct {
    const char *name;
    size_t      offset;      /* in ModelConstants */
} Free;

#define FREE(member) {#member, offsetof(ModelConstants, member)}

static const Free free_ones[] = {FREE(memory_share), FREE(depthwise_share), FREE(depthwise_weight_share), FREE(kernel_us),
                                 FREE(update_us)};

enum { FREE_COUNT = sizeof free_ones / sizeof *free_ones };

typedef struct {
    Workload      *workload;
    Hardware      *hardware;
    ModelConstants constants;
    double         teacher_s[ROWS], student_s[ROWS];     /* modelled */
} ModelFit;

static double *constant(ModelConstants *constants, int i) { return (double *)(void *)((char *)constants + free_ones[i].offset); }

/* ---- the model's chart ------------------------------------------------------------------ */

static double epoch_s(double step_us) { return step_us * 1e-6 * STEPS; }

static void evaluate(ModelFit *fit)
{
    ModelDevice device = {fit->hardware, &fit->constants, NUMBERS_TF32};

    for (int r = 0; r < ROWS; r++) {
        double teacher = 0, student = 0;
        for (int b = chart[r].first; b <= chart[r].last; b++) {
            BlockCost cost = model_block(&device, fit->workload, b, chart[r].rows);
            teacher += cost.teacher_us * (chart[r].phases ? BLOCKS - b : 1);
            for (int p = 0; p < PASS_COUNT; p++) student += cost.student_us[p];
        }
        fit->teacher_s[r] = epoch_s(teacher);
        fit->student_s[r] = epoch_s(student);
    }
}

static double squares(const double *x, void *context)
{
    ModelFit   *fit = context;
    double sum = 0;

    for (int i = 0; i < FREE_COUNT; i++) *constant(&fit->constants, i) = exp(x[i]);
    evaluate(fit);
    for (int r = 0; r < ROWS; r++) {
        double teacher = log(fit->teacher_s[r] / chart[r].teacher_s), student = log(fit->student_s[r] / chart[r].student_s);
        sum += teacher * teacher + student * student;
    }
    return sum;
}

/* Mean of the absolute errors, per cent. */
static double mean_error(ModelFit *fit)
{
    double sum = 0;

    evaluate(fit);
    for (int r = 0; r < ROWS; r++)
        sum += fabs(fit->teacher_s[r] / chart[r].teacher_s - 1) + fabs(fit->student_s[r] / chart[r].student_s - 1);
    return 100 * sum / (2 * ROWS);
}

/* How much the case has to say about a constant of fit's: the end of its row. */
static void print_moved(ModelFit *fit, double *constant_of_fit)
{
    double value = *constant_of_fit;

    for (int i = 0; i < 2; i++) {
        *constant_of_fit = value * (i ? 1.25 : 0.75);
        printf(" %.1f |", mean_error(fit));
    }
    printf("\n");
    *constant_of_fit = value;
    evaluate(fit);
}

/* From where it ended it starts again, smaller: a simplex that has gone flat does not move. */
static void fit_again(ModelFit *fit)
{
    double x[SIMPLEX_MOST];

    for (int i = 0; i < FREE_COUNT; i++) x[i] = log(*constant(&fit->constants, i));
    for (double size = 0.5; size > 0.02; size /= 2) simplex_minimise(squares, fit, x, FREE_COUNT, size, 300);
    squares(x, fit);
    printf("| constant | fitted | in the code | mean error with 25 %% less of it alone, %% | 25 %% more |\n|---|---|---|---|---|\n");
    for (int i = 0; i < FREE_COUNT; i++) {
        ModelConstants there = model_constants;
        printf("| `%s` | %.3g | %.3g |", free_ones[i].name, *constant(&fit->constants, i), *constant(&there, i));
        print_moved(fit, constant(&fit->constants, i));
    }
    printf("| `matrix_share` | not fitted | %.3g |", model_constants.matrix_share);
    print_moved(fit, &fit->constants.matrix_share);
    printf("\n");
}

/* ---- the table --------------------------------------------------------------------------- */

static void print_row(const char *name, const char *what, double published_s, double model_s)
{
    printf("| %s: %s | %.2f | %.2f | %+.1f |\n", name, what, published_s, model_s, 100 * (model_s / published_s - 1));
}

int main(int argc, char **argv)
{
    bool  again = argc == 2 && strcmp(argv[1], "--fit") == 0;
    ModelFit   fit = {.constants = model_constants};
    Error err = {""};

    if (argc > 1 && !again) { fprintf(stderr, "usage: model_fit [--fit]\n"); return 2; }
    bench_require(workload_read(&fit.workload, "nas-cifar10", &err), &err);
    bench_require(hardware_read(&fit.hardware, "rtx-a6000", &err), &err);
    evaluate(&fit);
    if (again) fit_again(&fit);
    printf("| s an epoch | published | model | error, %% |\n|---|---|---|---|\n");
    for (int r = 0; r < ROWS; r++) {
        print_row(chart[r].name, "teacher", chart[r].teacher_s, fit.teacher_s[r]);
        print_row(chart[r].name, "student", chart[r].student_s, fit.student_s[r]);
    }
    printf("\nMean absolute error %.1f %% over %d points.\n", mean_error(&fit), 2 * ROWS);
    hardware_free(fit.hardware);
    workload_free(fit.workload);
    return 0;
}
