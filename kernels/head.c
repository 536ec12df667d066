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
    float         *work;     /* lent; NULL: the device's */
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
    if (!device->backend->adds || device->backend->async)
        return error_set(err, "block \"%s\": such devices do not compute scores at every token",
                         block->name);
    head = malloc(sizeof *head);
    if (!head) return error_no_memory(err);
    *head = (ScoreHead){.device = device, .backend = device->backend, .layer = *last,
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
    free(head->counts);
    free(head);
}

Net *head_teacher(const ScoreHead *head) { return head->teacher; }

void head_lend(ScoreHead *head, float *work) { head->work = work; }

static int64_t scores_of(int64_t places, int64_t vocabulary)
{
    return (places * vocabulary + 15) / 16 * 16;
}

int64_t head_work(int64_t tokens, int64_t vocabulary)
{
    return 3 * scores_of(head_piece(tokens, vocabulary), vocabulary);
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
    if (!head->work
        && head->backend->reserve(head->device, head_work(tokens, head->vocabulary), err) != 0)
        return -1;
    if (prepare_piece(head, piece, err) != 0) return -1;
    return rest > 0 ? prepare_piece(head, rest, err) : 0;
}

/* Which places from first on count. */
static void find_counts(ScoreHead *head, const LossCall *call, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        head->counts[i] = (first + i) % head->places < call->lengths[(first + i) / head->places];
}

/* Places first .. first + count - 1 of the call's. */
static int piece_backward(ScoreHead *head, const LossCall *call, int64_t first, int64_t count,
                          double *loss, Error *err)
{
    float       *scores = head->work ? head->work : head->backend->work(head->device);
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
        || head->backend->forward(head->op, &op, err) != 0)
        return -1;
    piece.student = scores;
    piece.teacher = teacher;
    piece.dy = slopes;
    piece.rows = count;
    piece.places = 1;
    piece.channels = head->vocabulary;
    piece.global_rows = call->global_rows * head->places;
    piece.loss = loss;
    if (call->labels) piece.labels = call->labels + first;
    else if (call->lengths) {
        find_counts(head, call, first, count);
        piece.lengths = head->counts;
    }
    loss_backward(head->device, &piece);
    return head->backend->backward(head->op, &op, err);
}

int head_backward(ScoreHead *head, const LossCall *call, Error *err)
{
    int64_t tokens = call->rows * head->places, piece = head_piece(tokens, head->vocabulary);
    double  sum = 0, part;

    for (int64_t first = 0; first < tokens; first += piece) {
        if (piece_backward(head, call, first, smaller(piece, tokens - first), &part, err) != 0)
            return -1;
        sum += part;
    }
    *call->loss = sum;
    return 0;
}

HeadBytes head_bytes(const ScoreHead *head, int64_t rows)
{
    int64_t  piece = head_piece(rows * head->places, head->vocabulary);
    NetBytes teacher = head->teacher ? net_bytes(head->teacher, piece) : (NetBytes){0};

    return (HeadBytes){.weight = teacher.weight,
                       .work = head_work(rows * head->places, head->vocabulary)
                               * (int64_t)sizeof(float),
                       .grows = piece == rows * head->places};
}
