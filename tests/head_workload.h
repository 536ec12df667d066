/* A text model for tests of heads (kernels/head.h): block a embeds tokens in `width` numbers, b
 * norms them and gives `vocabulary` scores each; 300,000 scores make pieces of 27 tokens at
 * most. */
#ifndef TESTS_HEAD_WORKLOAD_H
#define TESTS_HEAD_WORKLOAD_H

#include "workloads/workload.h"

/* student: layers of b's in front of its head, each with a comma behind it; "": none. */
int head_workload(Workload **out, const char *loss, int tokens, int vocabulary, int width,
                  const char *student, Error *err);

#endif
