/* The fault monitor: heartbeats between the processes of a run (executor/net/heartbeat.h), and what
 * the tool does when one is lost. One rank reports which, with its last device status; every rank
 * writes what its checkpoint still lacks and ends with EXIT_FAULT, at once, since MPI would wait
 * for the one that is lost. */
#ifndef TOOLS_RUN_FAULT_MONITOR_H
#define TOOLS_RUN_FAULT_MONITOR_H

#include "executor/checkpoint/checkpoint_writer.h"
#include "executor/monitor/current_run.h"
#include "executor/net/world.h"

enum { FAULT_TIMEOUT_S = 30 };           /* by default */

typedef struct {
    World      *world;
    const char *command;         /* the subcommand, "train": what lines start with */
    int64_t     timeout_ns;
    const char *interface;       /* where to listen: executor/net/mesh.h; NULL: by whether all are
                                  * on one machine */
    CurrentRun    *current_run;         /* what runs here */
    const char *checkpoint;      /* the folder from which one may go on; NULL: nothing is kept */
} FaultMonitorOptions;

typedef struct FaultMonitor FaultMonitor;

/* Every rank calls it. *out is NULL in a world of one, where there is nobody to miss; what follows
 * does nothing then. Borrows what options point to; fault_monitor_stop() *out. */
int  fault_monitor_start(FaultMonitor **out, const FaultMonitorOptions *options, Error *err);

/* Between the two, ranks that do not come together within a minute end, as one of them may be
 * stopped: for what is done together before there are heartbeats. */
void fault_monitor_expect(void);
void fault_monitor_have_come(void);

/* What is to be flushed before the process ends; NULL: nothing any more, which may wait. */
void fault_monitor_keep(FaultMonitor *fault_monitor, CheckpointWriter *writer);

/* After something failed here: if that is because a process was lost, this does not return. */
void fault_monitor_check(FaultMonitor *fault_monitor);

/* When all ranks have done their part, or all are told of a failure. */
void fault_monitor_stop(FaultMonitor *fault_monitor);

#endif
