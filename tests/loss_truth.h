/* Losses of a small batch by their formulas in double (kernels/net.h), and slopes by central
 * differences. */
#ifndef TESTS_LOSS_TRUTH_H
#define TESTS_LOSS_TRUTH_H

#include "kernels/net.h"

enum {
    LOSS_ROWS = 5,
    LOSS_PLACES = 3,
    LOSS_CHANNELS = 37,
    LOSS_NUMBERS = LOSS_ROWS * LOSS_PLACES * LOSS_CHANNELS,
    LOSS_GLOBAL_ROWS = 12,
    LOSS_GLOBAL_PLACES = 29
};

extern const int loss_lengths[LOSS_ROWS], loss_labels[LOSS_ROWS * LOSS_PLACES];

/* The call's numbers but for memory: lengths where masked, labels where the loss is of them. */
LossCall loss_call(LossKind kind, double temperature, bool masked);

/* The loss; slopes: [LOSS_NUMBERS] d loss / d s, of s, which is the same afterwards, and t. */
double loss_truth(LossKind kind, double temperature, bool masked, double *s, const double *t,
                  double *slopes);

#endif
