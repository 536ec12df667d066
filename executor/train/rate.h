/* The learning rate: cosine from learning_rate to 0 over the run (Loshchilov and Hutter 2017,
 * without restarts), after warm_up_steps steps in which it rises evenly. */
#ifndef EXECUTOR_TRAIN_RATE_H
#define EXECUTOR_TRAIN_RATE_H

#include <stdint.h>

/* Of step 0 <= step < total. */
float rate_at(double learning_rate, int64_t warm_up_steps, int64_t step, int64_t total);

#endif
