#include "executor/train/rate.h"

#include <math.h>

float rate_at(const Workload *workload, int64_t step, int64_t total)
{
    double pi = acos(-1.0);

    return (float)(workload->learning_rate * 0.5 * (1 + cos(pi * (double)step / (double)total)));
}
