/* The checker's part for plans that store: the phases of all epochs. */
#ifndef PLANNER_CHECK_CHECK_STORE_H
#define PLANNER_CHECK_CHECK_STORE_H

#include "planner/check/check_points.h"

/* check_plan() for sequential and store, once sizes are checked: that every block is trained once
 * in the first epoch and once in the others, by rows that cover the batch; fills out->phases and
 * the bottleneck, the device with most work in all epochs, a step of which is the mean of all. What
 * a device waits for, messages and the store among it, is not counted: the simulator does. */
int check_store(CheckedPlan *out, Check *check);

#endif
