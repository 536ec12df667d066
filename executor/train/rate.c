#include "executor/train/rate.h"

#include <math.h>

float rate_at(double learning_rate, int64_t warm_up_steps, int64_t step, int64_t total)
{
    double  pi = acos(-1.0);
    int64_t warm_up = warm_up_steps < total ? warm_up_steps : total;

    if (step < warm_up) return (float)(learning_rate * (double)(step + 1) / (double)warm_up);
    return (float)(learning_rate * 0.5
                   * (1 + cos(pi * (double)(step - warm_up) / (double)(total - warm_up))));
}
