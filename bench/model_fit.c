/* What is left between the model and what its constants were fitted on (traces/model_constants.c),
 * as Markdown: tables of docs/model.md.
 *
 *     build/bench/model_fit          with the constants as they are
 *     build/bench/model_fit --fit    fits them again first, and prints them too
 *
 * Two cases.
 *
 * chart: NAS on CIFAR-10 on RTX A6000 GPUs, seconds an epoch read off a published chart (Jang et
 * al., DATE 2023, arXiv 2301.12443; traces/derive_calibration.py has the same figures). Every row
 * holds a step's own time as often as its steps are counted.
 *
 * vgg13: a step of VGG-13 at batch 128 on an H100 SXM, milliseconds on the device by kind of layer,
 * summed from the published trace vgg13-h100-bs128-trace.csv of TrioSim (sarchlab/triosim, MIT
 * licence, Copyright (c) 2023 Yifan Sun): eager PyTorch, channels first, tf32 in convolutions only.
 * The host's time is not in it.
 *
 * Minimised is the sum of squared logarithms of model / published, over the logarithms of the
 * constants: a point counts by its relative error, and no constant turns negative. */
#include <math.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/simplex.h"
#include "traces/model_block.h"

enum { STEPS = 176, BLOCKS = 6, FULL = 256, QUARTER = 64, VGG_ROWS = 128 };

/* A row of the chart: blocks first to last together, so many times each. */
typedef struct {
    const char *name;
    int         first, last;
    double      rows;
    bool        phases;      /* DP: phase b runs teacher blocks 0 to b, so block b's teacher in
                              * BLOCKS - b phases */
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

/* Layers of VGG-13 of a kind, at a resolution where that is not 0. */
typedef struct {
    const char *name, *kinds;            /* kinds of model_operators(), separated by spaces */
    int         height;      /* of the output */
    bool        backward;
    double      ms;
} Part;

static const Part vgg13[] = {
    {"convolutions at 224x224, forward", "conv layout bias", 224, false, 8.574},
    {"convolutions at 112x112, forward", "conv layout bias", 112, false, 5.278},
    {"convolutions at 56x56, forward", "conv layout bias", 56, false, 3.415},
    {"convolutions at 28x28, forward", "conv layout bias", 28, false, 2.455},
    {"convolutions at 14x14, forward", "conv layout bias", 14, false, 0.816},
    {"linear layers, forward", "linear bias", 1, false, 0.964},
    {"relu, forward", "relu", 0, false, 4.133},
    {"max pooling, forward", "maxpool", 0, false, 2.376},
    {"convolutions at 224x224, backward", "conv layout bias", 224, true, 15.874},
    {"convolutions at 112x112, backward", "conv layout bias", 112, true, 13.172},
    {"convolutions at 56x56, backward", "conv layout bias", 56, true, 7.898},
    {"convolutions at 28x28, backward", "conv layout bias", 28, true, 6.364},
    {"convolutions at 14x14, backward", "conv layout bias", 14, true, 2.113},
    {"linear layers, backward", "linear bias", 1, true, 1.487},
    {"relu, backward", "relu", 0, true, 6.023},
    {"max pooling, backward", "maxpool", 0, true, 9.467}};

enum { PARTS = sizeof vgg13 / sizeof *vgg13, POINTS = 2 * ROWS + PARTS };

typedef struct {
    const char *name;
    size_t      offset;      /* in ModelConstants */
} Free;

#define FREE(member) {#member, offsetof(ModelConstants, member)}

static const Free free_ones[] = {
    FREE(memory_share),           FREE(matrix_share), FREE(weight_cycle), FREE(pool_cycle),
    FREE(depthwise_weight_cycle), FREE(kernel_us),    FREE(update_us),    FREE(step_us)};
static const Free assumed[] = {FREE(depthwise_cycle), FREE(gap_us), FREE(tile_reuse),
                               FREE(cache_speed)};

enum {
    FREE_COUNT = sizeof free_ones / sizeof *free_ones,
    ASSUMED = sizeof assumed / sizeof *assumed
};

typedef struct {
    Workload      *nas, *vgg;
    Hardware      *a6000, *h100;
    ModelConstants constants;
    double         model[POINTS], published[POINTS];     /* the chart's teachers and students in
                                                          * turn, then VGG-13's */
} ModelFit;

static double *constant(ModelConstants *constants, const Free *which)
{
    return (double *)(void *)((char *)constants + which->offset);
}

/* ---- the chart -------------------------------------------------------------------------- */

static double epoch_s(double step_us) { return step_us * 1e-6 * STEPS; }

static double student_us(const BlockCost *cost)
{
    return model_work_us(cost, WORK_FORWARD) + model_work_us(cost, WORK_BACKWARD)
           + model_work_us(cost, WORK_UPDATE);
}

/* The chart has a step's own time in the student's part. */
static void evaluate_chart(ModelFit *fit)
{
    ModelDevice device = {fit->a6000, &fit->constants, NUMBERS_TF32, LAYOUT_NCHW,
                          .batch_statistics = true};

    for (int r = 0; r < ROWS; r++) {
        double teacher = 0, student = fit->constants.step_us * (chart[r].phases ? BLOCKS : 1);
        for (int b = chart[r].first; b <= chart[r].last; b++) {
            BlockCost cost = model_block(&device, fit->nas, b, 0, chart[r].rows);
            teacher += model_work_us(&cost, WORK_TEACHER) * (chart[r].phases ? BLOCKS - b : 1);
            student += student_us(&cost);
        }
        fit->model[2 * r] = epoch_s(teacher);
        fit->model[2 * r + 1] = epoch_s(student);
    }
}

/* ---- VGG-13 ------------------------------------------------------------------------------ */

static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
    return false;
}

static int height_of(const ModelFit *fit, const char *layer)
{
    const Layers *layers = &fit->vgg->block[0].student;

    for (int i = 0; i < layers->count; i++)
        if (strcmp(layers->layer[i].name, layer) == 0) return layers->layer[i].out.height;
    return 0;
}

static void add_part(const OperatorEntry *entry, void *context)
{
    ModelFit *fit = context;

    if (entry->teacher || entry->work->pass == PASS_UPDATE) return;
    for (int i = 0; i < PARTS; i++)
        if (has_word(vgg13[i].kinds, entry->kind)
            && vgg13[i].backward == (entry->work->pass != PASS_FORWARD)
            && (!vgg13[i].height || vgg13[i].height == height_of(fit, entry->layer)))
            fit->model[2 * ROWS + i] += entry->cost.us * 1e-3;
}

static void evaluate(ModelFit *fit)
{
    ModelDevice device = {fit->h100, &fit->constants, NUMBERS_TF32, LAYOUT_NCHW, .foreach = true};

    evaluate_chart(fit);
    for (int i = 0; i < PARTS; i++) fit->model[2 * ROWS + i] = 0;
    model_operators(&device, fit->vgg, 0, VGG_ROWS, add_part, fit);
}

/* ---- the fit -------------------------------------------------------------------------------- */

static double squares(const double *x, void *context)
{
    ModelFit   *fit = context;
    double sum = 0;

    for (int i = 0; i < FREE_COUNT; i++) *constant(&fit->constants, &free_ones[i]) = exp(x[i]);
    evaluate(fit);
    for (int i = 0; i < POINTS; i++) {
        double error = log(fit->model[i] / fit->published[i]);
        sum += error * error;
    }
    return sum;
}

/* Mean of the absolute errors of points first to last - 1, per cent. */
static double mean_error(const ModelFit *fit, int first, int last)
{
    double sum = 0;

    for (int i = first; i < last; i++) sum += fabs(fit->model[i] / fit->published[i] - 1);
    return 100 * sum / (last - first);
}

/* How much the cases have to say about a constant of fit's: the end of its row. */
static void print_moved(ModelFit *fit, const Free *which)
{
    double *value = constant(&fit->constants, which), was = *value;

    for (int i = 0; i < 2; i++) {
        *value = was * (i ? 1.25 : 0.75);
        evaluate(fit);
        printf(" %.1f, %.1f |", mean_error(fit, 0, 2 * ROWS), mean_error(fit, 2 * ROWS, POINTS));
    }
    printf("\n");
    *value = was;
    evaluate(fit);
}

static void print_constants(ModelFit *fit)
{
    printf("| constant | value | with 25 %% less of it: mean error of the chart, of VGG-13, %% | "
           "25 %% more |\n|---|---|---|---|\n");
    for (int i = 0; i < FREE_COUNT; i++) {
        printf("| `%s` | %.3g |", free_ones[i].name, *constant(&fit->constants, &free_ones[i]));
        print_moved(fit, &free_ones[i]);
    }
    for (int i = 0; i < ASSUMED; i++) {
        printf("| `%s` (assumed) | %.3g |", assumed[i].name,
               *constant(&fit->constants, &assumed[i]));
        print_moved(fit, &assumed[i]);
    }
    printf("\n");
}

/* From where it ended it starts again, smaller: a simplex that has gone flat does not move. */
static void fit_again(ModelFit *fit)
{
    double x[SIMPLEX_MOST];

    for (int i = 0; i < FREE_COUNT; i++) x[i] = log(*constant(&fit->constants, &free_ones[i]));
    for (double size = 0.5; size > 0.02; size /= 2)
        simplex_minimise(squares, fit, x, FREE_COUNT, size, 400);
    squares(x, fit);
}

/* ---- the tables --------------------------------------------------------------------------- */

static void print_row(const ModelFit *fit, int i, const char *name, const char *what, int digits)
{
    printf("| %s%s | %.*f | %.*f | %+.1f |\n", name, what, digits, fit->published[i], digits,
           fit->model[i], 100 * (fit->model[i] / fit->published[i] - 1));
}

static void print_rows(const ModelFit *fit)
{
    printf("| s an epoch | published | model | error, %% |\n|---|---|---|---|\n");
    for (int r = 0; r < ROWS; r++) {
        print_row(fit, 2 * r, chart[r].name, ": teacher", 2);
        print_row(fit, 2 * r + 1, chart[r].name, ": student", 2);
    }
    printf("\nMean absolute error %.1f %% over %d points.\n\n", mean_error(fit, 0, 2 * ROWS),
           2 * ROWS);
    printf("| ms a step of VGG-13 | published | model | error, %% |\n|---|---|---|---|\n");
    for (int i = 0; i < PARTS; i++) print_row(fit, 2 * ROWS + i, vgg13[i].name, "", 3);
    printf("\nMean absolute error %.1f %% over %d points.\n", mean_error(fit, 2 * ROWS, POINTS),
           PARTS);
}

int main(int argc, char **argv)
{
    bool  again = argc == 2 && strcmp(argv[1], "--fit") == 0;
    ModelFit fit = {.constants = model_constants};
    Error err = {""};

    if (argc > 1 && !again) { fprintf(stderr, "usage: model_fit [--fit]\n"); return 2; }
    bench_require(workload_read(&fit.nas, "nas-cifar10", &err), &err);
    bench_require(workload_read(&fit.vgg, "bench/networks/vgg13.json", &err), &err);
    bench_require(hardware_read(&fit.a6000, "rtx-a6000", &err), &err);
    bench_require(hardware_read(&fit.h100, "h100-sxm", &err), &err);
    for (int r = 0; r < ROWS; r++) {
        fit.published[2 * r] = chart[r].teacher_s;
        fit.published[2 * r + 1] = chart[r].student_s;
    }
    for (int i = 0; i < PARTS; i++) fit.published[2 * ROWS + i] = vgg13[i].ms;
    if (again) fit_again(&fit);
    evaluate(&fit);
    print_constants(&fit);
    print_rows(&fit);
    hardware_free(fit.a6000);
    hardware_free(fit.h100);
    workload_free(fit.nas);
    workload_free(fit.vgg);
    return 0;
}
