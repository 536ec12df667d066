#include "executor/nas/path_score.h"

#include <math.h>
#include <stdlib.h>

#include "executor/checkpoint/state.h"

/* ---- batches ----------------------------------------------------------------- */

int batches_new(Batches *out, Device *device, int count, int64_t rows, int64_t per_row, Error *err)
{
    *out = (Batches){.rows = rows, .per_row = per_row};
    out->batch = calloc((size_t)count, sizeof *out->batch);
    if (!out->batch) return error_no_memory(err);
    for (; out->count < count; out->count++) {
        out->batch[out->count] = device_alloc(device, (size_t)(rows * per_row));
        if (!out->batch[out->count]) return error_no_memory(err);
    }
    return 0;
}

void batches_free(Batches *batches, Device *device)
{
    for (int i = 0; i < batches->count; i++) device_release(device, batches->batch[i]);
    free(batches->batch);
    *batches = (Batches){0};
}

/* ---- what there is to explain --------------------------------------------------- */

/* Softmax of one row, in doubles. */
static void softmax(double *out, const float *row, int64_t count)
{
    double largest = (double)row[0], sum = 0;

    for (int64_t i = 1; i < count; i++)
        if ((double)row[i] > largest) largest = (double)row[i];
    for (int64_t i = 0; i < count; i++) sum += out[i] = exp((double)row[i] - largest);
    for (int64_t i = 0; i < count; i++) out[i] /= sum;
}

static double entropy(const double *p, int64_t count)
{
    double sum = 0;

    for (int64_t i = 0; i < count; i++)
        if (p[i] > 0) sum -= p[i] * log(p[i]);
    return sum;
}

/* The teacher's answers: their mean, and the loss that no student can go below. */
typedef struct {
    double *mean, *row;      /* [per_row] */
    double  square;          /* mse: mean of squares */
    double  least;           /* soft cross-entropy: mean entropy; 0 for mse */
    double  scale;
} Baseline;

static void add_row(Baseline *base, LossKind loss, const float *row, int64_t per_row, double share)
{
    if (loss == LOSS_SOFT_CROSS_ENTROPY) {
        softmax(base->row, row, per_row);
        base->least += share * entropy(base->row, per_row);
        for (int64_t i = 0; i < per_row; i++) base->mean[i] += share * base->row[i];
        return;
    }
    for (int64_t i = 0; i < per_row; i++) {
        double value = (double)row[i];
        base->mean[i] += share * value;
        base->square += share / (double)per_row * value * value;
    }
}

/* Mean of squares less the square of the mean; mean KL to the mean is its entropy less the
 * mean entropy. */
static int measure_baseline(Baseline *base, LossKind loss, const Batches *teacher, Error *err)
{
    int64_t per_row = teacher->per_row;
    double  share = 1 / ((double)teacher->rows * teacher->count), about = 0;

    base->mean = calloc((size_t)per_row, sizeof *base->mean);
    base->row = calloc((size_t)per_row, sizeof *base->row);
    if (!base->mean || !base->row) return error_no_memory(err);
    for (int i = 0; i < teacher->count; i++)
        for (int64_t r = 0; r < teacher->rows; r++)
            add_row(base, loss, teacher->batch[i] + r * per_row, per_row, share);
    if (loss == LOSS_SOFT_CROSS_ENTROPY) {
        base->scale = entropy(base->mean, per_row) - base->least;
        about = base->least;
    } else {
        for (int64_t i = 0; i < per_row; i++)
            about += base->mean[i] * base->mean[i] / (double)per_row;
        base->scale = base->square - about;
    }
    if (!(base->scale > 1e-9 * (about + 1e-30))) base->scale = 1;
    return 0;
}

/* ---- one set of paths after another ------------------------------------------------- */

typedef struct {
    Net     *net;
    Batches  out, gradient;  /* one batch each */
    Baseline base;
} ScoreWork;

static int open_work(ScoreWork *work, const PathScoring *r, Error *err)
{
    const Batches *teacher = r->teacher;

    if (batches_new(&work->out, r->device, 1, teacher->rows, teacher->per_row, err) != 0) return -1;
    if (batches_new(&work->gradient, r->device, 1, teacher->rows, teacher->per_row, err) != 0)
        return -1;
    if (measure_baseline(&work->base, r->block->loss, teacher, err) != 0) return -1;
    if (net_new(&work->net, r->device, &r->block->student, r->block->in, NET_TRAINED, err) != 0)
        return -1;
    if (state_load_student(work->net, (StudentId){.block = r->number}, r->student, false, 0, err)
        != 0)
        return -1;
    return net_prepare(work->net, teacher->rows, err);
}

static void close_work(ScoreWork *work, const PathScoring *r)
{
    net_free(work->net);
    batches_free(&work->out, r->device);
    batches_free(&work->gradient, r->device);
    free(work->base.mean);
    free(work->base.row);
}

/* The mean loss over the batches, as a share of the scale. */
static int measure(double *loss, ScoreWork *work, const PathScoring *r, const int *choices,
                   Error *err)
{
    const Batches *in = r->in, *teacher = r->teacher;
    double         sum = 0;

    for (int i = 0; i < in->count; i++) {
        double one = 0;
        if (net_forward(work->net, in->batch[i], work->out.batch[0], in->rows, choices, err) != 0)
            return -1;
        loss_backward(r->device, &(LossCall){.kind = r->block->loss, .student = work->out.batch[0],
                                             .teacher = teacher->batch[i],
                                             .dy = work->gradient.batch[0], .rows = in->rows,
                                             .channels = teacher->per_row, .global_rows = in->rows,
                                             .loss = &one});
        sum += one;
    }
    *loss = (sum / in->count - work->base.least) / work->base.scale;
    if (!isfinite(*loss)) *loss = INFINITY;
    return 0;
}

int path_scores(double *losses, double *scale, const PathScoring *r, Error *err)
{
    ScoreWork work = {0};
    int  rc = -1;

    if (open_work(&work, r, err) != 0) goto done;
    for (int i = 0; i < r->sets->count; i++) {
        const int *choices =
            r->sets->each > 0 ? r->sets->choices + (size_t)i * (size_t)r->sets->each : NULL;
        if (r->stop && atomic_load(r->stop)) { error_set(err, "interrupted"); goto done; }
        if (measure(&losses[i], &work, r, choices, err) != 0) goto done;
        if (r->progress) r->progress(r->context, r->number, i + 1, r->sets->count);
    }
    *scale = work.base.scale;
    rc = 0;
done:
    close_work(&work, r);
    return rc;
}
