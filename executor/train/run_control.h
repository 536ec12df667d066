/* Run control: what the devices of a run share while it runs, in whichever processes they are: the
 * step at which all stop, the queue of tasks for whoever is free, and the caller at rank 0, to whom
 * losses and states go.
 *
 *     stop:    a rank that sees *stop set, when one of its devices begins a step or another rank's
 *              message comes, tells rank 0. Rank 0 asks all how far their devices are, and no
 *              device begins another step until rank 0 says where to stop: behind the step of the
 *              device that is furthest, since others may wait for its messages. Where devices do
 *              not wait for each other, each stops when it hears of the wish.
 *     task:    asked for at rank 0, which counts
 *     state:   sent to rank 0; the device goes on when it has been kept there
 *     times:   sent to rank 0 now and then, so that it knows of all devices */
#ifndef EXECUTOR_TRAIN_RUN_CONTROL_H
#define EXECUTOR_TRAIN_RUN_CONTROL_H

#include "executor/train/execution.h"

typedef struct RunControl RunControl;

/* Every rank opens one, before a barrier. number: the run's (world_number()); linked: devices
 * wait for each other. Borrows x. */
int run_control_open(RunControl **out, const Execution *x, int64_t number, bool linked, Error *err);
void run_control_close(RunControl *control);

/* Ends every wait. From any thread. */
void run_control_fail(RunControl *control);

/* Whether the device may begin a step, its place counted over all phases. alone: it waits for
 * no other device now. False also after run_control_fail(). */
bool run_control_step_begins(RunControl *control, int device, int64_t place, bool alone);

/* Whether a step was refused here because of the wish. */
bool run_control_stopped(RunControl *control);

/* The number of the next task, for a device; numbers beyond the last mean that there is none. */
int  run_control_next_task(RunControl *control, int device, int *task, Error *err);

/* Gives the caller a loss, or a state, of a student by its number. Called where the device is. */
int run_control_loss(RunControl *control, int device, int student, int64_t step, double loss,
                     Error *err);
int run_control_state(RunControl *control, int device, int student, int64_t step,
                      const Tensors *state, Error *err);

/* After a step of the device: its times so far go to rank 0's status board, forty times a second
 * at most; now: in any case. */
int  run_control_times(RunControl *control, int device, bool now, Error *err);

#endif
