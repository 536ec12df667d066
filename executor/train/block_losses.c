#include "executor/train/block_losses.h"

#include <stdlib.h>

#include "base/minmax.h"
#include "executor/checkpoint/state.h"
#include "kernels/net.h"

enum { ROWS = 64 };          /* together, at most */

/* Numbers of the largest boundary of these rows. */
#define MOST_NUMBERS ((int64_t)1 << 25)

typedef struct {
    const Evaluation *e;
    Device  *memory;
    Net    **teacher, **student;         /* [blocks], [students] of all blocks */
    float   *boundary[2];    /* the teacher's, in turn */
    float   *output, *gradient;          /* of a student's block */
    float   *samples;        /* of the host */
    int64_t  together;       /* rows */
    int      lengths[ROWS];
    int     *labels;         /* [together][places of the last block]; NULL: no block learns from
                              * labels */
    int64_t  all_labels;
    int64_t  all_lengths;    /* of all samples; 0: they are as long as the input */
} BlockLosses;

static int open_teacher(BlockLosses *l, int b, const Tensors *teacher, Error *err)
{
    const WorkBlock *block = &l->e->workload->block[b];

    if (net_new(&l->teacher[b], l->memory, &block->teacher, block->in, NET_FROZEN, err) != 0
        || state_load_teacher(l->teacher[b], b, teacher, l->e->seed, err) != 0)
        return -1;
    return net_prepare(l->teacher[b], l->together, err);
}

/* n: of the students of all blocks. */
static int open_student(BlockLosses *l, int n, Error *err)
{
    StudentId id = workload_student(l->e->workload, n);
    WorkBlock block = block_with_student(&l->e->workload->block[id.block], id.student);

    if (net_new(&l->student[n], l->memory, &block.student, block.in, NET_FROZEN, err) != 0
        || state_load_student(l->student[n], id, l->e->weights, false, l->e->seed, err) != 0)
        return -1;
    return net_prepare(l->student[n], l->together, err);
}

static int open_blocks(BlockLosses *l, const Tensors *teacher, Error *err)
{
    for (int b = 0; b < l->e->workload->block_count; b++)
        if (open_teacher(l, b, teacher, err) != 0) return -1;
    for (int n = 0; n < workload_students(l->e->workload); n++)
        if (open_student(l, n, err) != 0) return -1;
    return 0;
}

static int64_t places_of(const WorkBlock *block)
{
    return (int64_t)block->out.height * block->out.width;
}

static int open_labels(BlockLosses *l, Error *err)
{
    const Workload  *w = l->e->workload;
    const WorkBlock *last = &w->block[w->block_count - 1];
    int64_t          count = data_count(l->e->data);

    if (!loss_is_of_labels(last->loss)) return 0;
    if (!data_has_labels(l->e->data))
        return error_set(err, "block \"%s\" learns from labels, and the data has none", last->name);
    l->labels = calloc((size_t)(l->together * places_of(last)), sizeof *l->labels);
    l->all_labels = larger(1, w->classes > 0   ? count
                              : l->all_lengths ? l->all_lengths - count
                                               : count * (places_of(last) - 1));
    return l->labels ? 0 : error_no_memory(err);
}

/* Makes what evaluation needs: nets of all teachers and students with their weights, and two
 * boundaries, output and gradient of l->together samples, the number that keeps the largest within
 * MOST_NUMBERS. Sums the lengths of sequences first, as a loss is a mean over all of their
 * places. */
static int open_all(BlockLosses *l, const Tensors *teacher, Error *err)
{
    const Workload *w = l->e->workload;
    int64_t         largest = shape_count(w->input);
    float         **buffers[] = {&l->boundary[0], &l->boundary[1], &l->output, &l->gradient};

    for (int b = 0; b < w->block_count; b++)
        largest = larger(largest, shape_count(w->block[b].out));
    l->together = larger(1, smaller(MOST_NUMBERS / largest, ROWS));
    for (int64_t i = 0; data_is_uneven(l->e->data) && i < data_count(l->e->data); i++)
        l->all_lengths += data_length(l->e->data, i);
    if (open_labels(l, err) != 0) return -1;
    if (device_open(&l->memory, l->e->devices, 0, err) != 0) return -1;
    for (int i = 0; i < 4; i++) {
        *buffers[i] = device_alloc(l->memory, (size_t)(largest * l->together));
        if (!*buffers[i])
            return device_no_memory(l->memory, (size_t)(largest * l->together), "boundaries", err);
    }
    l->samples = calloc((size_t)(shape_count(w->input) * l->together), sizeof *l->samples);
    l->teacher = calloc((size_t)w->block_count, sizeof(Net *));
    l->student = calloc((size_t)workload_students(w), sizeof(Net *));
    if (!l->samples || !l->teacher || !l->student) return error_no_memory(err);
    return open_blocks(l, teacher, err);
}

static void close_all(BlockLosses *l)
{
    float *buffers[] = {l->boundary[0], l->boundary[1], l->output, l->gradient};

    for (int b = 0; l->teacher && b < l->e->workload->block_count; b++) net_free(l->teacher[b]);
    for (int n = 0; l->student && n < workload_students(l->e->workload); n++)
        net_free(l->student[n]);
    for (int i = 0; i < 4; i++)
        if (buffers[i]) device_release(l->memory, buffers[i]);
    free(l->samples);
    free(l->labels);
    free(l->teacher);
    free(l->student);
    if (l->memory) device_close(l->memory);
}

/* Samples first .. first + rows - 1, into the first boundary, with their labels and lengths. */
static int load_rows(BlockLosses *l, int64_t first, int64_t rows, Error *err)
{
    const Evaluation *e = l->e;
    const Workload   *w = e->workload;
    int64_t           each = shape_count(w->input),
                      places = places_of(&w->block[w->block_count - 1]);
    int               label;

    for (int64_t r = 0; r < l->together; r++) l->lengths[r] = w->input.height;
    for (int64_t r = 0; r < rows; r++) {
        if (data_load(e->data, first + r, e->seed, 0, l->samples + r * each, &label, err) != 0)
            return -1;
        if (l->labels && data_labels(e->data, first + r, l->labels + r * places, err) != 0)
            return -1;
        if (l->all_lengths) l->lengths[r] = data_length(e->data, first + r);
    }
    device_put(l->memory, l->boundary[0], l->samples, rows * each);
    return 0;
}

/* What student n of block b loses on these rows, added to *loss. in, teacher: the boundaries before
 * and behind the block. */
static int add_loss(BlockLosses *l, double *loss, int b, int n, int64_t rows, const float *in,
                    const float *teacher, Error *err)
{
    const WorkBlock *block = &l->e->workload->block[b];
    bool   masked = l->all_lengths && block->out.height == l->e->workload->input.height;
    bool   labels = loss_is_of_labels(block->loss);
    double part = 0;

    net_set_lengths(l->student[n], l->all_lengths ? l->lengths : NULL);
    if (net_forward(l->student[n], in, l->output, l->together, NULL, err) != 0) return -1;
    loss_backward(l->memory,
                  &(LossCall){.kind = block->loss, .temperature = block->temperature,
                              .student = l->output, .teacher = teacher, .dy = l->gradient,
                              .rows = rows, .places = places_of(block),
                              .channels = block->out.channels,
                              .global_rows = data_count(l->e->data),
                              .lengths = masked ? l->lengths : NULL,
                              .labels = labels ? l->labels : NULL,
                              .global_places = labels ? l->all_labels : l->all_lengths,
                              .loss = &part});
    *loss += part;
    return 0;
}

/* Of samples first .. first + rows - 1, added to loss: the teacher goes up once, and all students
 * of a block are held against what it gives. */
static int add_rows(BlockLosses *l, double *loss, int64_t first, int64_t rows, Error *err)
{
    const Workload *w = l->e->workload;
    int             from = 0, n = 0;

    if (load_rows(l, first, rows, err) != 0) return -1;
    for (int b = 0; b < w->block_count; b++, from = !from) {
        const float *in = l->boundary[from];
        float       *out = l->boundary[!from];

        net_set_lengths(l->teacher[b], l->all_lengths ? l->lengths : NULL);
        if (net_forward(l->teacher[b], in, out, l->together, NULL, err) != 0) return -1;
        for (int j = 0; j < block_students(&w->block[b]); j++, n++)
            if (add_loss(l, &loss[n], b, n, rows, in, out, err) != 0) return -1;
    }
    return 0;
}

int block_losses(double *loss, const Evaluation *e, const Tensors *teacher, Error *err)
{
    BlockLosses l = {.e = e};
    int64_t     count = data_count(e->data);
    int         rc = open_all(&l, teacher, err);

    for (int n = 0; n < workload_students(e->workload); n++) loss[n] = 0;
    for (int64_t i = 0; rc == 0 && i < count; i += l.together) {
        if (e->stop && atomic_load(e->stop)) rc = error_set(err, "interrupted");
        else rc = add_rows(&l, loss, i, smaller(count - i, l.together), err);
    }
    close_all(&l);
    return rc;
}
