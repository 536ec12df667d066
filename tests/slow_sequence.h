/* Layers of transformers as plain loops in double: embedding, tokens, pool, norms, functions,
 * gated, attention. Part of tests/slow_net.h. */
#ifndef TESTS_SLOW_SEQUENCE_H
#define TESTS_SLOW_SEQUENCE_H

#include "tests/slow_net.h"

/* dy NULL: forward, to r->y; else to dx, which is zero, and gradients. */
void slow_sequence(Slow *s, const Layer *l, SlowRecord *r, const Tensor *dy, const Tensor *dx);

#endif
