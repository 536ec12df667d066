/* Orders of plain numbers for qsort, the least first. */
#ifndef BASE_COMPARE_H
#define BASE_COMPARE_H

#include <stdint.h>

/* For qsort() and bsearch() on arrays of int64_t, ascending. */
static inline int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static inline int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

/* Not for NAN, which has no place in an order. */
static inline int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

#endif
