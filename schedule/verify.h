/* The verifier: what any program must satisfy before anything interprets it.
 *
 *   1. Links exist, rows lie within the batch, and a device belongs to the channels
 *      and groups it uses.
 *   2. Inputs are there: TEACHER b and FORWARD b need boundary b, BACKWARD b needs
 *      boundary b + 1 and its FORWARD, UPDATE b the BACKWARD (and, between replicas,
 *      the ALLREDUCE) of b; SEND and STORE need what they send and store. Rows of a boundary reach
 *      a device in ascending order without gaps.
 *   3. Every student of every block sees every row of the batch exactly once in each of the
 *      program's steps: in phases that last all of them, or the first epoch's and those after it.
 *   4. The messages a channel is given are those taken from it, in the same order and
 *      by phases of the same number.
 *   5. Members of a group agree on the order of its all-reduces and barriers, in phases
 *      of the same number, and the group of a student's all-reduce is exactly the devices
 *      that train it.
 *   6. No deadlock: one step of every phase runs to its end with queues of
 *      queue_depth messages. As links do not join phases of different numbers, queues
 *      are empty again after a step, and programs do not branch, this holds for every
 *      later step (Kahn 1974: the order of execution does not matter). A phase that waits at its
 *      start waits for phases of lower numbers.
 *   7. What is fetched was stored: all rows of a boundary once, in phases of the first epoch with
 *      lower numbers than all that fetch it.
 *   8. Where a device moves weights, a phase's ONLOADs are first and bring each block that it uses
 *      and the phase before did not (before the run, blocks may be placed); its OFFLOADs are behind
 *      the work of their blocks and take back the students that the next phase does not train.
 *
 * Shares no code with the builders. */
#ifndef SCHEDULE_VERIFY_H
#define SCHEDULE_VERIFY_H

#include "schedule/program.h"

/* 0, or -1 with a refusal that names device, phase and instruction. */
int program_verify(const Program *program, int queue_depth, Error *err);

#endif
