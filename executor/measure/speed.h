/* How fast the machine is while something is measured. Where its cores are shared with others, as
 * on virtual machines, that changes within seconds, by tens of per cent. So one short program runs
 * again and again between what is measured: all devices, each by itself, train every block on
 * batch / devices rows, as a profile's contended program does. What a step of it takes is a
 * reading; what lies between two readings ran about as fast as they did. Asynchronous devices have
 * none: their programs would be recorded anew each time, and they keep their speed. */
#ifndef EXECUTOR_MEASURE_SPEED_H
#define EXECUTOR_MEASURE_SPEED_H

#include "executor/measure/profile_programs.h"
#include "executor/train/execution.h"
#include "traces/trace.h"

typedef struct {
    const Execution *like;   /* borrowed: what a run of the program is given besides it; NULL: there
                              * are no readings */
    Program *program;        /* owned */
    double  *us;             /* [count] readings: what a device works in a step; the same at all
                              * ranks */
    int64_t  count, room;
} Speed;                     /* {0} has no readings: all factors are 1 */

/* The rows that a device trains in the program. */
int64_t speed_rows(int64_t batch, int devices);

/* Of shape's devices, blocks, students and batch; its steps do not count. like must outlive speed.
 * speed_free() either way. Fails without memory. */
int  speed_open(Speed *speed, const Execution *like, const ProfileShape *shape, Error *err);
void speed_free(Speed *speed);

/* Takes one more reading. Every rank calls it. Fails as execute() does. */
int speed_read(Speed *speed, Error *err);

/* The mean of all readings; 0 without any. */
double speed_mean_us(const Speed *speed);

/* The mean of readings i and i + 1 (of the last alone, where it is i) over reference_us, what a
 * step takes where the machine is as fast as it is taken to be: above 1 it was slower then. 1 where
 * there is no such reading, or no reference. */
double speed_slowness(const Speed *speed, int64_t i, double reference_us);

/* What a step of the program on rows rows takes a device by a trace that `pipebd-run profile` made,
 * in us; 0: another made it, or not of so many rows. */
double speed_of_trace(const Trace *trace, int64_t rows);

#endif
