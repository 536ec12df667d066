/* The head of a text model: the linear layer that ends the last block's teacher and its student and
 * gives scores of a vocabulary at every token. [tokens][vocabulary] is the largest tensor by far (a
 * batch of 8 sequences of 1024 tokens and GPT-2's 50257: 1.6 GB), so training never holds it whole:
 * the last boundary is what goes into the teacher's head, TEACHER and FORWARD leave heads out, and
 * BACKWARD computes both, the loss and its gradients by pieces of tokens (kernels/head.h). */
#ifndef WORKLOADS_HEAD_H
#define WORKLOADS_HEAD_H

#include "workloads/workload.h"

/* Whether block b has one: it is the last, its loss is of scores (loss_is_of_scores()), it gives a
 * sequence, and the teacher's list and those of all its students end in a linear layer. */
bool workload_has_head(const Workload *workload, int b);

/* Tokens of a piece of so many: at least HEAD_LEAST, where there are, and else so few that one
 * tensor of their scores has at most HEAD_FLOATS numbers. */
#define HEAD_FLOATS ((int64_t)1 << 23)
enum { HEAD_LEAST = 16 };
int64_t head_piece(int64_t tokens, int64_t vocabulary);

/* What stands between blocks while they train: boundary 0..blocks. */
Shape   workload_boundary(const Workload *workload, int boundary);
/* its elements, of a sample */
int64_t workload_boundary_count(const Workload *workload, int boundary);

/* Parts of a list, which borrow it: without its last layer where leave, and that layer. */
Layers layers_body(const Layers *layers, bool leave);
const Layer *layers_last(const Layers *layers);

/* What the body of a student of block b gives: the elements of a sample of what FORWARD leaves. */
int64_t workload_output_count(const Workload *workload, int b, int student);

#endif
