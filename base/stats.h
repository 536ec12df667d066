/* Order statistics. */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include <stddef.h>

/* Sorts values in place (ascending). NaN is not allowed (asserted). */
void stats_sort(double *values, size_t count);

/* Quantile q (0..1) of sorted values, linear between neighbours (Hyndman and Fan
 * 1996, type 7). count >= 1. */
double stats_quantile(const double *sorted, size_t count, double q);

/* Sorts values, and gives the middle one, or the mean of both. count >= 1. */
double stats_median(double *values, size_t count);

/* A deviation that few values far off do not change: 1.4826 times the median distance from middle,
 * which is a normal distribution's standard deviation. count >= 1. values hold the sorted distances
 * afterwards. */
double stats_deviation(double *values, size_t count, double middle);

/* count >= 1. */
double stats_mean(const double *values, size_t count);

/* Sample standard deviation over the mean; 0 for fewer than two values or mean 0. */
double stats_variation(const double *values, size_t count);

#endif
