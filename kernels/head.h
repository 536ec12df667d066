/* The head of a block (workloads/head.h) in BACKWARD: scores of teacher and student, their loss,
 * and the gradients of the student's head and of what goes into it, a piece of tokens after
 * another:
 *
 *     for each piece:  t = teacher's head(h_t)   s = student's head(h_s)    [piece][vocabulary]
 *                      loss, ds                  dW += ds' h_s              dh_s = ds W
 *
 * What a piece takes does not grow with the batch. Gradients are those of the whole to rounding:
 * their sums go in the order of pieces. */
#ifndef KERNELS_HEAD_H
#define KERNELS_HEAD_H

#include "kernels/net.h"
#include "workloads/head.h"

typedef struct ScoreHead ScoreHead;

/* For a student that was made NET_HEADLESS of block->student. Borrows both for as long as out
 * lives. Refuses devices that do not add gradients up. */
int  head_new(ScoreHead **out, Device *device, const WorkBlock *block, Net *student, Error *err);
void head_free(ScoreHead *head);

/* The teacher's head as a net of one layer, for its weights: all zero until set. NULL where the
 * loss is of labels. */
Net *head_teacher(const ScoreHead *head);

/* Makes ready for calls with this many rows; may be called for several numbers. */
int head_prepare(ScoreHead *head, int64_t rows, Error *err);

/* As loss_backward() and the first step of net_backward(), where student and teacher are what goes
 * into the heads: [rows][places][channels of each]; dy has the student's shape. channels of call
 * are not looked at. Replaces the head's gradients. */
int head_backward(ScoreHead *head, const LossCall *call, Error *err);

/* The head uses the caller's memory instead of the device's: head_work() floats for the most rows,
 * aligned as device_alloc() does. */
void head_lend(ScoreHead *head, float *work);

/* Floats that three tensors of a piece's scores take. */
int64_t head_work(int64_t tokens, int64_t vocabulary);

/* Bytes beside the student's: the teacher's head, and what a call with so many rows works with. */
typedef struct {
    int64_t weight, work;
    int64_t own;             /* of work: what the head holds itself whatever it is lent */
    bool    grows;           /* all rows are one piece, so work grows with them */
} HeadBytes;
HeadBytes head_bytes(const ScoreHead *head, int64_t rows);

#endif
