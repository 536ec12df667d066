#include "kernels/head.h"

#include <stdlib.h>

#include "base/minmax.h"
#include "kernels/backend.h"
#include "kernels/graph.h"
#include "workloads/head.h"

struct ScoreHead {
    Device        *device;
    const Backend *backend;
    Net           *teacher;  /* NULL: the loss is of labels */
    Operator      *op;       /* the student's, of its net */
    bool           wants_dx;
    Layer          layer;    /* the teacher's, of one place */
    Layers         layers;
    int64_t        places;   /* of a row */
    int64_t        vocabulary, in_student, in_teacher;
    float         *work;     /* lent; NULL: the device's, or own */
    float         *own;      /* of a device whose tensors are half: its own work memory is the
                              * teacher's */
    float         *halves;   /* there: what goes into the student's head, and its gradient */
    int64_t        own_room, half_room;  /* floats */
    bool           half;
    int           *counts;   /* [piece]: 1 where a place counts */
    int64_t        count_room;
};

/* The teacher's layer as a net of its own, drawn as the last of its block. */
static int open_teacher(ScoreHead *head, const WorkBlock *block, Error *err)
{
    Layers body = layers_body(&block->teacher, true);

    if (net_new(&head->teacher, head->device, &head->layers, head->layer.in, NET_FROZEN, err) != 0)
        return -1;
    net_number_from(head->teacher, layers_parameters(&body));
    return 0;
}

int head_new(ScoreHead **out, Device *device, const WorkBlock *block, Net *student, Error *err)
{
    ScoreHead   *head;
    const Layer *last = layers_last(&block->teacher);

    *out = NULL;
    if (!device->backend->adds)
        return error_set(err, "block \"%s\": such devices do not compute scores at every token",
                         block->name);
    head = malloc(sizeof *head);
    if (!head) return error_no_memory(err);
    *head = (ScoreHead){.device = device, .backend = device->backend, .layer = *last,
                        .half = device->backend->half && device->backend->half(device),
                        .places = (int64_t)block->out.height * block->out.width,
                        .vocabulary = block->out.channels, .in_teacher = last->in.channels,
                        .in_student = layers_last(&block->student)->in.channels};
    head->layer.in.height = head->layer.out.height = 1;
    head->layers = (Layers){&head->layer, 1};
    head->op = net_head(student, &head->wants_dx);
    if (!loss_is_of_labels(block->loss) && open_teacher(head, block, err) != 0) {
        head_free(head);
        return -1;
    }
    *out = head;
    return 0;
}

void head_free(ScoreHead *head)
{
    if (!head) return;
    net_free(head->teacher);
    device_release(head->device, head->own);
    device_release(head->device, head->halves);
    free(head->counts);
    free(head);
}

Net *head_teacher(const ScoreHead *head) { return head->teacher; }

void head_lend(ScoreHead *head, float *work) { head->work = work; }

/* Floats of whole cache lines. */
static int64_t aligned(int64_t floats) { return (floats + 15) / 16 * 16; }

static int64_t scores_of(int64_t places, int64_t vocabulary)
{
    return aligned(places * vocabulary);
}

int64_t head_work(int64_t tokens, int64_t vocabulary)
{
    return 3 * scores_of(head_piece(tokens, vocabulary), vocabulary);
}

/* *memory becomes at least wanted floats. */
static int grow(const ScoreHead *head, float **memory, int64_t *room, int64_t wanted, Error *err)
{
    if (wanted <= *room) return 0;
    device_release(head->device, *memory);
    *room = 0;
    *memory = device_alloc(head->device, (size_t)wanted);
    if (!*memory) return device_no_memory(head->device, (size_t)wanted, "a head's scores", err);
    *room = wanted;
    return 0;
}

/* Floats that count numbers of bfloat16 take, aligned. */
static int64_t halves_of(int64_t count) { return aligned((count + 1) / 2); }

static int reserve_work(ScoreHead *head, int64_t tokens, int64_t piece, Error *err)
{
    int64_t work = head_work(tokens, head->vocabulary);

    if (!head->half)
        return head->work ? 0 : head->backend->reserve(head->device, work, err);
    if (!head->work && grow(head, &head->own, &head->own_room, work, err) != 0) return -1;
    return grow(head, &head->halves, &head->half_room, 2 * halves_of(piece * head->in_student),
                err);
}

static float *work_of(const ScoreHead *head)
{
    return head->work ? head->work : head->own ? head->own : head->backend->work(head->device);
}

static int prepare_piece(ScoreHead *head, int64_t piece, Error *err)
{
    return !head->teacher || net_prepare(head->teacher, piece, err) == 0
               ? head->backend->prepare(head->op, piece, err)
               : -1;
}

int head_prepare(ScoreHead *head, int64_t rows, Error *err)
{
    int64_t tokens = rows * head->places, piece = head_piece(tokens, head->vocabulary),
            rest = tokens % piece;

    if (piece > head->count_room) {
        int *more = realloc(head->counts, (size_t)piece * sizeof *more);
        if (!more) return error_no_memory(err);
        head->counts = more;
        head->count_room = piece;
    }
    if (reserve_work(head, tokens, piece, err) != 0) return -1;
    if (prepare_piece(head, piece, err) != 0) return -1;
    return rest > 0 ? prepare_piece(head, rest, err) : 0;
}

/* Which places from first on count. */
static void find_counts(ScoreHead *head, const LossCall *call, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        head->counts[i] = (first + i) % head->places < call->lengths[(first + i) / head->places];
}

/* The student's head forward, floats to floats: of bfloat16 y passes by way of slopes. */
static int forward_op(const ScoreHead *head, OperatorCall *op, const float *x, float *scores,
                      float *slopes, Error *err)
{
    if (head->half) {
        head->backend->narrow(head->device, head->halves, x, op->rows * head->in_student);
        op->x = head->halves;
        op->y = slopes;
    }
    if (head->backend->forward(head->op, op, err) != 0) return -1;
    if (head->half)
        head->backend->widen(head->device, scores, slopes, op->rows * head->vocabulary);
    return 0;
}

/* And backward: of bfloat16 dy passes by way of scores, which nobody reads any more. */
static int backward_op(const ScoreHead *head, OperatorCall *op, float *scores, float *slopes,
                       Error *err)
{
    float *dx = op->dx;

    if (head->half) {
        head->backend->narrow(head->device, scores, slopes, op->rows * head->vocabulary);
        op->dy = scores;
        if (dx) op->dx = head->halves + halves_of(op->rows * head->in_student);
    }
    if (head->backend->backward(head->op, op, err) != 0) return -1;
    if (head->half && dx)
        head->backend->widen(head->device, dx, op->dx, op->rows * head->in_student);
    return 0;
}

/* Places first .. first + count - 1 of the call's. */
static int piece_backward(ScoreHead *head, const LossCall *call, int64_t first, int64_t count,
                          Error *err)
{
    float       *scores = work_of(head);
    float       *teacher = scores + scores_of(count, head->vocabulary),
          *slopes = teacher + scores_of(count, head->vocabulary);
    const float *x = call->student + first * head->in_student;
    LossCall     piece = *call;
    OperatorCall op = {.rows = count, .x = x, .y = scores, .dy = slopes, .add = first > 0,
                       .dx = head->wants_dx ? call->dy + first * head->in_student : NULL};

    if ((head->teacher
         && net_forward(head->teacher, call->teacher + first * head->in_teacher, teacher, count,
                        NULL, err)
                != 0)
        || forward_op(head, &op, x, scores, slopes, err) != 0)
        return -1;
    piece.student = scores;
    piece.teacher = teacher;
    piece.dy = slopes;
    piece.rows = count;
    piece.places = 1;
    piece.channels = head->vocabulary;
    piece.global_rows = call->global_rows * head->places;
    piece.add = call->add || first > 0;
    if (call->labels) piece.labels = call->labels + first;
    else if (call->lengths) {
        find_counts(head, call, first, count);
        piece.lengths = head->counts;
    }
    loss_backward(head->device, &piece);
    return backward_op(head, &op, scores, slopes, err);
}

int head_backward(ScoreHead *head, const LossCall *call, Error *err)
{
    int64_t tokens = call->rows * head->places, piece = head_piece(tokens, head->vocabulary);

    for (int64_t first = 0; first < tokens; first += piece)
        if (piece_backward(head, call, first, smaller(piece, tokens - first), err) != 0) return -1;
    return 0;
}

HeadBytes head_bytes(const ScoreHead *head, int64_t rows)
{
    int64_t  piece = head_piece(rows * head->places, head->vocabulary);
    int64_t  own = head->half_room * (int64_t)sizeof(float);
    NetBytes teacher = head->teacher ? net_bytes(head->teacher, piece) : (NetBytes){0};

    return (HeadBytes){.weight = teacher.weight,
                       .work = head_work(rows * head->places, head->vocabulary)
                               * (int64_t)sizeof(float) + own,
                       .own = own,
                       .grows = piece == rows * head->places};
}
