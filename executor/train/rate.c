#include "executor/train/rate.h"

#include <math.h>

float rate_at(const Workload *workload, int64_t step, int64_t total)
{
    double  pi = acos(-1.0);
    int64_t warm_up = workload->warm_up < total ? workload->warm_up : total;

    if (step < warm_up) return (float)(workload->learning_rate * (double)(step + 1) / (double)warm_up);
    return (float)(workload->learning_rate * 0.5 * (1 + cos(pi * (double)(step - warm_up) / (double)(total - warm_up))));
}
