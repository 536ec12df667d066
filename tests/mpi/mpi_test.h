/* What the programs of tests/mpi share: each is a rank; faults are counted and exit 1. */
#ifndef TESTS_MPI_TEST_H
#define TESTS_MPI_TEST_H

#include <stdio.h>
#include <stdlib.h>

static int faults;

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            faults++;                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                   \
    } while (0)

/* Without it nothing that follows makes sense. */
#define REQUIRE(condition)                                                  \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

#endif
