/* A net beside the slow model: values, gradients, statistics. */
#ifndef TESTS_NET_CHECKS_H
#define TESTS_NET_CHECKS_H

#include "tests/hand_nets.h"
#include "tests/support.h"

/* Sums of n products of floats near 1 err by about sqrt(n) 6e-8; the longest here have 1e5
 * terms. Taken of the largest element, and twice that for deep nets. */
#define TOLERANCE 4e-5

Device *open_one(void);

void compare_values(const char *what, const float *found, const double *truth, int64_t count,
                    double tolerance);

/* After net_backward(). */
void compare_gradients(Net *net, Slow *slow, const char *what);

void compare_statistics(Net *net, Slow *slow, const char *what);

#endif
