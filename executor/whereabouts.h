/* Whereabouts: what every device does at this moment, and where its time has gone so far.
 *
 * Each device has a record of its own, in cache lines of its own, which only its worker writes:
 * a few stores an instruction, without a lock and without a wait, so it is always on
 * (bench/whereabouts.c). Any thread may read any record at any time:
 *
 *     worker:  version odd | fields | version even
 *     reader:  version even, fields, version again; another than before: once more
 *
 * A place is plain data and says nothing of memory: of a device elsewhere it means the same,
 * given the same program. */
#ifndef EXECUTOR_WHEREABOUTS_H
#define EXECUTOR_WHEREABOUTS_H

#include "base/text.h"
#include "schedule/program.h"

typedef struct Whereabouts Whereabouts;

typedef enum {
    WHERE_ABSENT,            /* nothing heard: not started, or not of this process */
    WHERE_STARTING,          /* sets a phase up: memory, nets, weights */
    WHERE_WORKING,           /* at an instruction that computes */
    WHERE_WAITING,           /* at one that waits for others (or is moving rows already), or for batch
                              * statistics of others within one */
    WHERE_DONE,              /* nothing left to do */
    WHERE_FAILED,
    WHERE_ELSEWHERE          /* a device of another process, which tells its times (whereabouts_put()) */
} WhereState;

typedef struct {
    WhereState state;
    bool       stolen;       /* phase: of the shared queue, not the device's own */
    int        phase;
    int        instruction;  /* of the code (Code.code); -1: at none */
    Op         op;           /* of the instruction */
    int64_t    step;
    int64_t    since_ns;     /* CLOCK_MONOTONIC: when it came there */
} Place;

/* Since the run began. */
typedef struct {
    int64_t steps;           /* of all phases, those that are over */
    int64_t own_ns;          /* within these, neither work nor waiting */
    int64_t work_ns[OP_COUNT], wait_ns[OP_COUNT];
    int64_t bytes;           /* allocated now, the most of the run so far */
} PlaceTimes;

int  whereabouts_new(Whereabouts **out, int devices, Error *err);
void whereabouts_free(Whereabouts *where);
int  whereabouts_devices(const Whereabouts *where);

/* ---- by the device's own thread ---- */

void whereabouts_set(Whereabouts *where, int device, const Place *place);

/* The place stays, its state does not: a wait within an instruction. */
void whereabouts_state(Whereabouts *where, int device, WhereState state, int64_t now_ns);

/* An instruction is over: so much was waited, so much worked. */
void whereabouts_count(Whereabouts *where, int device, Op op, int64_t wait_ns, int64_t work_ns);

/* A step is over, of so much time. */
void whereabouts_step(Whereabouts *where, int device, int64_t inside_ns);
void whereabouts_bytes(Whereabouts *where, int device, int64_t bytes);

/* ---- by the one thread that hears of a device elsewhere ---- */

void whereabouts_put(Whereabouts *where, int device, const PlaceTimes *times);

/* ---- by any thread ---- */

Place      whereabouts_get(const Whereabouts *where, int device);

/* now_ns: the instruction under way counts up to then, as its state says; 0: it does not yet count. */
PlaceTimes whereabouts_times(const Whereabouts *where, int device, int64_t now_ns);

/* What passed between two looks at a device, of a time of ns: its steps, where they are the looks of
 * another process, which tells only of steps that are over, and now and then. */
int64_t    whereabouts_passed_ns(const Whereabouts *where, int device, const PlaceTimes *before, const PlaceTimes *now,
                                 int64_t ns);

/* "device 2, step 1234 of 5000, RECV boundary 3, rows 0..31, from device 1, waiting 0.8 s";
 * with several phases also "phase 2 of 4". Steps and phases are counted from 0, as in timelines. */
void place_text(const Place *place, const Program *program, int device, int64_t now_ns, Text *out);

/* A line for every device. */
void whereabouts_text(const Whereabouts *where, const Program *program, int64_t now_ns, Text *out);

#endif
