#include "executor/train/evaluate.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "executor/checkpoint/state.h"
#include "kernels/net.h"

enum { ROWS = 64 };          /* asked together, at most */

/* Numbers of the largest boundary of the rows that are asked together: fewer rows of long sequences
 * with large vocabularies. */
#define MOST_NUMBERS ((int64_t)1 << 25)

typedef struct {
    const Evaluation *e;
    int      number;         /* this device takes every count-th batch, from this one on */
    Device  *memory;
    Net    **nets;           /* [blocks] */
    float   *buffers[2];     /* of the device: boundaries, in turn */
    float   *rows;           /* of the host: samples, and behind them what the last block says of
                              * them */
    int64_t  together;       /* rows */
    int      labels[ROWS];
    int      lengths[ROWS];  /* of sequences */
    bool     predicts;       /* tokens, else it classifies */
    Accuracy accuracy;
    int      rc;
    Error    err;
} EvaluatedPart;

static int64_t largest_boundary(const Workload *workload)
{
    int64_t most = shape_count(workload->block[0].in);

    for (int b = 0; b < workload->block_count; b++)
        most = larger(most, shape_count(workload->block[b].out));
    return most;
}

static int open_net(EvaluatedPart *part, int b)
{
    const Evaluation *e = part->e;
    const WorkBlock  *block = &e->workload->block[b];
    Net             **net = &part->nets[b];

    if (net_new(net, part->memory, e->student ? &block->student : &block->teacher, block->in,
                NET_FROZEN, &part->err)
        != 0)
        return -1;
    StudentId id = workload_student_of(e->workload, b, 0);
    int rc = e->student ? state_load_student(*net, id, e->weights, false, e->seed, &part->err)
                        : state_load_teacher(*net, b, e->weights, e->seed, &part->err);
    return rc == 0 ? net_prepare(*net, part->together, &part->err) : -1;
}

static int open_part(EvaluatedPart *part)
{
    const Workload *workload = part->e->workload;
    int64_t         largest = largest_boundary(workload);
    size_t          count;

    part->predicts = workload_predicts_tokens(workload);
    part->together = larger(1, smaller(MOST_NUMBERS / largest, ROWS));
    count = (size_t)(largest * part->together);
    if (device_open(&part->memory, part->e->devices, part->number, &part->err) != 0) return -1;
    part->nets = calloc((size_t)workload->block_count, sizeof *part->nets);
    for (int i = 0; i < 2; i++) part->buffers[i] = device_alloc(part->memory, count);
    part->rows = calloc(2 * count, sizeof *part->rows);
    if (!part->nets || !part->buffers[0] || !part->buffers[1] || !part->rows)
        return error_no_memory(&part->err);
    for (int b = 0; b < workload->block_count; b++)
        if (open_net(part, b) != 0) return -1;
    return 0;
}

static void close_part(EvaluatedPart *part)
{
    for (int b = 0; part->nets && b < part->e->workload->block_count; b++) net_free(part->nets[b]);
    free(part->nets);
    for (int i = 0; i < 2; i++)
        if (part->buffers[i]) device_release(part->memory, part->buffers[i]);
    free(part->rows);
    if (part->memory) device_close(part->memory);
}

/* One answer against the right one. */
static void count_answer(Accuracy *accuracy, const float *scores, int classes, int label)
{
    double most = (double)scores[label], sum = 0;
    bool   right = true;

    for (int c = 0; c < classes; c++) {
        right = right && (c == label || scores[c] < scores[label]);
        most = fmax(most, (double)scores[c]);
    }
    for (int c = 0; c < classes; c++) sum += exp((double)scores[c] - most);
    accuracy->asked++;
    accuracy->right += right;
    accuracy->loss += most + log(sum) - (double)scores[label];
}

/* Each token of a sequence is asked for the one behind it. tokens: as the input has them. */
static void count_tokens(EvaluatedPart *part, const float *tokens, const float *scores, int length)
{
    const Workload *workload = part->e->workload;
    int             classes = workload->block[workload->block_count - 1].out.channels;

    for (int t = 0; t + 1 < length; t++)
        count_answer(&part->accuracy, scores + (int64_t)t * classes, classes,
                     (int)tokens[(t + 1) * workload->input.channels]);
}

/* What the last block said of the rows; inputs: [rows], of the host. */
static void count_rows(EvaluatedPart *part, const float *scores, const float *inputs, int64_t rows)
{
    const Workload *workload = part->e->workload;
    int64_t         in = shape_count(workload->input),
            out = shape_count(workload->block[workload->block_count - 1].out);

    for (int64_t r = 0; r < rows; r++) {
        if (part->predicts) count_tokens(part, inputs + r * in, scores + r * out, part->lengths[r]);
        else if (part->labels[r] >= 0 && part->labels[r] < workload->classes)
            count_answer(&part->accuracy, scores + r * out, workload->classes, part->labels[r]);
    }
}

static int load_rows(EvaluatedPart *part, int64_t first, int64_t rows)
{
    const Evaluation *e = part->e;
    int64_t           per_row = shape_count(e->workload->block[0].in);

    for (int64_t r = 0; r < part->together; r++) part->lengths[r] = e->workload->input.height;
    for (int64_t r = 0; r < rows; r++) {
        if (data_load(e->data, first + r, e->seed, 0, part->rows + r * per_row, &part->labels[r],
                      &part->err)
            != 0)
            return -1;
        if (data_is_uneven(e->data)) part->lengths[r] = data_length(e->data, first + r);
    }
    return 0;
}

/* Runs the rows through all blocks; what the last gives of them comes to scores, of the host. */
static int run_blocks(EvaluatedPart *part, float *scores, int64_t rows)
{
    const Evaluation *e = part->e;
    const Workload   *workload = e->workload;
    int               from = 0;

    device_put(part->memory, part->buffers[0], part->rows, rows * shape_count(workload->input));
    for (int b = 0; b < workload->block_count; b++, from = !from) {
        net_set_lengths(part->nets[b], data_is_uneven(e->data) ? part->lengths : NULL);
        if (net_forward(part->nets[b], part->buffers[from], part->buffers[!from], part->together,
                        e->choices ? e->choices[b] : NULL, &part->err) != 0) return -1;
    }
    device_fetch(part->memory, scores, part->buffers[from],
                 rows * shape_count(workload->block[workload->block_count - 1].out));
    return 0;
}

/* Rows from sample first on that are asked together. */
static int64_t rows_from(const EvaluatedPart *part, int64_t first)
{
    return smaller(data_count(part->e->data) - first, part->together);
}

/* Samples from first on, as many as are asked together; at the end of the data the first rows count
 * only. */
static int ask(EvaluatedPart *part, int64_t first)
{
    int64_t rows = rows_from(part, first);
    float  *scores = part->rows + part->together * shape_count(part->e->workload->input);

    if (load_rows(part, first, rows) != 0 || run_blocks(part, scores, rows) != 0) return -1;
    count_rows(part, scores, part->rows, rows);
    int64_t out = shape_count(part->e->workload->block[part->e->workload->block_count - 1].out);
    if (part->e->outputs)
        memcpy(part->e->outputs + first * out, scores, (size_t)(rows * out) * sizeof *scores);
    return 0;
}

static int ask_all(EvaluatedPart *part)
{
    const Evaluation *e = part->e;

    for (int64_t i = part->number * part->together; i < data_count(e->data);
         i += e->devices->count * part->together) {
        if (e->stop && atomic_load(e->stop)) return error_set(&part->err, "interrupted");
        if (ask(part, i) != 0) return -1;
    }
    return 0;
}

static void *run_part(void *argument)
{
    EvaluatedPart *part = argument;

    part->rc = open_part(part) == 0 && ask_all(part) == 0 ? 0 : -1;
    close_part(part);
    return NULL;
}

int evaluate(Accuracy *out, const Evaluation *e, Error *err)
{
    size_t     count = (size_t)e->devices->count;
    EvaluatedPart      *parts = calloc(count, sizeof *parts);
    pthread_t *threads = calloc(count, sizeof *threads);
    size_t     created = 0;
    int        rc = -1;

    *out = (Accuracy){0};
    if (!parts || !threads) { error_no_memory(err); goto done; }
    for (; created < count; created++) {
        parts[created] = (EvaluatedPart){.e = e, .number = (int)created};
        if (pthread_create(&threads[created], NULL, run_part, &parts[created]) != 0) break;
    }
    rc = created == count ? 0 : error_set(err, "cannot start a thread for device %zu", created);
    for (size_t d = 0; d < created; d++) {
        pthread_join(threads[d], NULL);
        out->right += parts[d].accuracy.right;
        out->asked += parts[d].accuracy.asked;
        out->loss += parts[d].accuracy.loss;
        if (rc == 0 && parts[d].rc != 0) { rc = -1; if (err) *err = parts[d].err; }
    }
done:
    free(parts);
    free(threads);
    return rc;
}

/* ---- agreement ---- */

static double cosine(const float *x, const float *y, int64_t count)
{
    double xx = 0, yy = 0, xy = 0;

    for (int64_t i = 0; i < count; i++) {
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
        xy += (double)x[i] * (double)y[i];
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* x, y: [rows][out]. */
static void count_agreement(Agreement *out, const EvaluatedPart *part, const float *x,
                            const float *y, int64_t rows)
{
    const Workload *workload = part->e->workload;
    Shape           shape = workload->block[workload->block_count - 1].out;
    int64_t         places = (int64_t)shape.height * shape.width;

    for (int64_t r = 0; r < rows; r++)
        for (int64_t p = 0;
             p < (shape.height == workload->input.height ? part->lengths[r] * shape.width : places);
             p++, out->count++)
            out->sum += cosine(x + (r * places + p) * shape.channels,
                               y + (r * places + p) * shape.channels, shape.channels);
}

/* Both are asked the same rows, which are loaded once. */
static int agree(Agreement *out, EvaluatedPart *student, EvaluatedPart *teacher, Error *err)
{
    const Evaluation *e = student->e;
    int64_t           in = student->together * shape_count(e->workload->input);

    for (int64_t i = 0; i < data_count(e->data); i += student->together) {
        int64_t        rows = rows_from(student, i);
        EvaluatedPart *failed = NULL;

        if (e->stop && atomic_load(e->stop)) return error_set(err, "interrupted");
        if (load_rows(student, i, rows) != 0 || run_blocks(student, student->rows + in, rows) != 0)
            failed = student;
        memcpy(teacher->rows, student->rows, (size_t)in * sizeof *teacher->rows);
        memcpy(teacher->lengths, student->lengths, sizeof teacher->lengths);
        if (!failed && run_blocks(teacher, teacher->rows + in, rows) != 0) failed = teacher;
        if (failed) {
            if (err) *err = failed->err;
            return -1;
        }
        count_agreement(out, student, student->rows + in, teacher->rows + in, rows);
    }
    return 0;
}

int evaluate_agreement(Agreement *out, const Evaluation *e, const Tensors *teacher, Error *err)
{
    Evaluation    of_teacher = *e;
    EvaluatedPart part[2] = {{.e = e}, {.e = &of_teacher}};
    int           rc = 0;

    *out = (Agreement){0};
    of_teacher.student = false;
    of_teacher.weights = teacher;
    of_teacher.choices = NULL;
    for (int i = 0; i < 2 && rc == 0; i++) {
        rc = open_part(&part[i]);
        if (rc != 0 && err) *err = part[i].err;
    }
    if (rc == 0) rc = agree(out, &part[0], &part[1], err);
    for (int i = 1; i >= 0; i--) close_part(&part[i]);
    return rc;
}
