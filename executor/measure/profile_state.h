/* What a profile has measured, between what runs the programs (profile.c) and what makes a trace of
 * it (profile_trace.c). */
#ifndef EXECUTOR_MEASURE_PROFILE_STATE_H
#define EXECUTOR_MEASURE_PROFILE_STATE_H

#include "executor/measure/op_samples.h"
#include "executor/measure/own_time.h"
#include "executor/measure/profile_options.h"
#include "executor/measure/speed.h"
#include "executor/train/execution.h"
#include "executor/transport/core_times.h"

/* Programs of which a profile consists, one for each share of the batch. */
typedef enum { ALONE, BUSY, SINGLE_BLOCK, SINGLE_BLOCK_BUSY, WORK_PROGRAMS } WorkProgram;

/* A program that has run: what its samples were added to, as the how manieth. */
typedef struct {
    Samples *into;
    int      run;
    int64_t  reading;        /* of the machine's speed, before it */
    double   work_us;        /* of all steps that count, all devices */
    OwnTime  own;            /* besides the instructions, on device 0; of ALONE */
    double   besides_us;     /* what execute() took besides the run */
} ProgramRun;

typedef struct {
    const ProfileOptions *options;
    Execution like;          /* what all programs are executed with */
    Speed    speed;
    int      devices, blocks;
    int     *students;       /* [blocks] */
    int64_t *shares;         /* [share_count] rows that a device of a group can have, ascending */
    int      share_count;
    int64_t *messages;       /* [message_count] rows of the messages that are timed, ascending */
    int      message_count;
    int      per_host;       /* devices of each host; all where there is one host */
    int      recorded;       /* execution_warm_up() */
    int64_t  steps;          /* of a program that are timed */
    int      warm_up, turns; /* turns: each has every program of work once */
    double   error;          /* standard error, over the mean, of the program known least */
    Samples  work[WORK_PROGRAMS];
    Samples  reduce[2], relay[2];        /* within a host, across */
    CoreTimes core[2];                   /* of these */
    ProgramRun *runs;        /* [run_count] */
    int64_t  run_count, run_room;
    double   mean_us;        /* speed_mean_us(), when all has run */
    OwnTime  own;            /* medians over the programs of ALONE, at that speed */
    double   work_ns, cpu_ns;            /* of all programs: what devices worked, and had of their
                                          * cores meanwhile */
    int      done, total;    /* programs run */
    Error   *err;
} Profiling;

/* The most devices that can share a batch, within a host or on several; less than 2: none. */
int profile_widest_group(const Profiling *p, bool across);

/* Of work, in a turn; runs[] begins with those of the first turn, then of the second, ... */
int profile_work_programs(const Profiling *p);

/* Whether several devices meet in programs of work as where they share the batch, and all run
 * those of single blocks. Asynchronous devices, which replay recordings, do neither. */
bool profile_meets(const Profiling *p);

/* Whether transfers take from cores that devices compute on: those of the CPU are all that their
 * ranks use, for MPI's thread too. */
bool profile_takes_cores(const Profiling *p);

#endif
