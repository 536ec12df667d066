#include "base/stats.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/compare.h"

void stats_sort(double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) assert(!isnan(values[i]));
    if (count > 1) qsort(values, count, sizeof *values, compare_double);
}

double stats_quantile(const double *sorted, size_t count, double q)
{
    assert(count >= 1 && q >= 0 && q <= 1);
    double position = q * (double)(count - 1);
    size_t below = (size_t)position;

    if (below + 1 >= count) return sorted[count - 1];
    return sorted[below] + (position - (double)below) * (sorted[below + 1] - sorted[below]);
}

double stats_median(double *values, size_t count)
{
    stats_sort(values, count);
    return stats_quantile(values, count, 0.5);
}

double stats_deviation(double *values, size_t count, double middle)
{
    for (size_t i = 0; i < count; i++) values[i] = fabs(values[i] - middle);
    return 1.4826 * stats_median(values, count);
}

double stats_mean(const double *values, size_t count)
{
    double sum = 0;

    assert(count >= 1);
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

double stats_variation(const double *values, size_t count)
{
    double squares = 0;

    if (count < 2) return 0;
    double mean = stats_mean(values, count);
    if (mean == 0) return 0;
    for (size_t i = 0; i < count; i++) squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)(count - 1)) / fabs(mean);
}
