#include "executor/train/evaluate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "executor/checkpoint/state.h"
#include "kernels/net.h"

enum { ROWS = 64 };          /* asked together */

typedef struct {
    const Evaluation *e;
    int      number;         /* this device takes every count-th batch, from this one on */
    Device  *memory;
    Net    **nets;           /* [blocks] */
    float   *buffers[2];     /* of the device: boundaries, in turn */
    float   *rows;           /* of the host: [ROWS] samples; then what the last block says of them */
    int      labels[ROWS];
    Accuracy accuracy;
    int      rc;
    Error    err;
} EvaluatedPart;

static int64_t largest_boundary(const Workload *workload)
{
    int64_t most = shape_count(workload->block[0].in);

    for (int b = 0; b < workload->block_count; b++)
        if (shape_count(workload->block[b].out) > most) most = shape_count(workload->block[b].out);
    return most;
}

static int open_net(EvaluatedPart *part, int b)
{
    const Evaluation *e = part->e;
    const WorkBlock  *block = &e->workload->block[b];
    Net             **net = &part->nets[b];

    if (net_new(net, part->memory, e->student ? &block->student : &block->teacher, block->in, NET_FROZEN,
                &part->err) != 0) return -1;
    int rc = e->student ? state_load_student(*net, b, e->weights, false, e->seed, &part->err)
                        : state_load_teacher(*net, b, e->weights, e->seed, &part->err);
    return rc == 0 ? net_prepare(*net, ROWS, &part->err) : -1;
}

static int open_part(EvaluatedPart *part)
{
    const Workload *workload = part->e->workload;
    size_t          count = (size_t)largest_boundary(workload) * ROWS;

    if (device_open(&part->memory, part->e->devices, part->number, &part->err) != 0) return -1;
    part->nets = calloc((size_t)workload->block_count, sizeof *part->nets);
    for (int i = 0; i < 2; i++) part->buffers[i] = device_alloc(part->memory, count);
    part->rows = calloc(count, sizeof *part->rows);
    if (!part->nets || !part->buffers[0] || !part->buffers[1] || !part->rows) return error_no_memory(&part->err);
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

static bool is_right(const float *scores, int classes, int label)
{
    for (int c = 0; c < classes; c++)
        if (c != label && !(scores[c] < scores[label])) return false;
    return true;
}

/* Samples first .. first + ROWS - 1; at the end of the data the first rows count only. */
static int ask(EvaluatedPart *part, int64_t first)
{
    const Evaluation *e = part->e;
    const Workload   *workload = e->workload;
    int64_t           count = data_count(e->data), per_row = shape_count(workload->block[0].in);
    int64_t           rows = count - first < ROWS ? count - first : ROWS;
    int               from = 0;

    for (int64_t r = 0; r < rows; r++)
        if (data_load(e->data, first + r, e->seed, 0, part->rows + r * per_row, &part->labels[r],
                      &part->err) != 0) return -1;
    device_put(part->memory, part->buffers[0], part->rows, rows * per_row);
    for (int b = 0; b < workload->block_count; b++, from = !from)
        if (net_forward(part->nets[b], part->buffers[from], part->buffers[!from], ROWS,
                        e->choices ? e->choices[b] : NULL, &part->err) != 0) return -1;
    device_fetch(part->memory, part->rows, part->buffers[from], rows * workload->classes);
    for (int64_t r = 0; r < rows; r++) {
        if (part->labels[r] < 0 || part->labels[r] >= workload->classes) continue;
        part->accuracy.asked++;
        part->accuracy.right += is_right(part->rows + r * workload->classes, workload->classes,
                                         part->labels[r]);
    }
    return 0;
}

static int ask_all(EvaluatedPart *part)
{
    const Evaluation *e = part->e;

    for (int64_t i = (int64_t)part->number * ROWS; i < data_count(e->data); i += (int64_t)e->devices->count * ROWS) {
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
        if (rc == 0 && parts[d].rc != 0) { rc = -1; if (err) *err = parts[d].err; }
    }
done:
    free(parts);
    free(threads);
    return rc;
}
