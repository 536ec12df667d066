/* The vigil over the processes of a run: heartbeats between them (executor/heartbeat.h), and what
 * the tool does when one is lost: one rank says which, and what it was doing; every rank writes
 * what its checkpoint still lacks and ends with EXIT_FAULT, at once, since MPI would wait for the
 * one that is lost. */
#ifndef TOOLS_RUN_VIGIL_H
#define TOOLS_RUN_VIGIL_H

#include "executor/collector.h"
#include "executor/lookout.h"
#include "executor/world.h"

enum { VIGIL_TIMEOUT_S = 30 };           /* by default */

typedef struct {
    World      *world;
    const char *command;         /* the subcommand, "train": what lines start with */
    int64_t     timeout_ns;
    Lookout    *lookout;         /* what runs here */
    const char *checkpoint;      /* the folder from which one may go on; NULL: nothing is kept */
} VigilOptions;

typedef struct Vigil Vigil;

/* Every rank calls it. *out is NULL in a world of one, where there is nobody to miss; what follows
 * does nothing then. Borrows what options point to. */
int  vigil_start(Vigil **out, const VigilOptions *options, Error *err);

/* Between the two, ranks that do not come together within a minute end, as one of them may be
 * stopped: for what is done together before there are heartbeats. */
void vigil_expect(void);
void vigil_have_come(void);

/* What is to be flushed before the process ends; NULL: nothing any more, which may wait. */
void vigil_keep(Vigil *vigil, Collector *collector);

/* Something failed here: if that is because a process was lost, this does not return. */
void vigil_blame(Vigil *vigil);

/* When all ranks have done their part, or all are told of a failure. */
void vigil_stop(Vigil *vigil);

#endif
