/* StatusBoard: what every device does at this moment, and where its time has gone so far.
 *
 * Each device has a record of its own, in cache lines of its own, which only its worker writes:
 * a few stores an instruction, without a lock and without a wait, so it is always on
 * (bench/device_status.c). Any thread may read any record at any time:
 *
 *     worker:  version odd | fields | version even
 *     reader:  version even, fields, version again; another than before: once more
 *
 * A DeviceStatus is plain data and has no pointers: of a device elsewhere it means the same, given
 * the same program. */
#ifndef EXECUTOR_MONITOR_DEVICE_STATUS_H
#define EXECUTOR_MONITOR_DEVICE_STATUS_H

#include "base/text.h"
#include "schedule/program.h"

typedef struct StatusBoard StatusBoard;

typedef enum {
    DEVICE_ABSENT,            /* nothing heard: not started, or not of this process */
    DEVICE_STARTING,          /* sets a phase up: memory, nets, weights */
    DEVICE_WORKING,           /* at an instruction that computes */
    DEVICE_WAITING,           /* at one that waits for others (or is moving rows already), or for
                               * batch statistics of others within one */
    DEVICE_DONE,              /* nothing left to do */
    DEVICE_FAILED,
    DEVICE_ELSEWHERE          /* a device of another process, which tells its times
                               * (status_board_put()) */
} DeviceState;

typedef struct {
    DeviceState state;
    bool       stolen;       /* phase: of the shared queue, not the device's own */
    int        phase;
    int        instruction;  /* of the code (Code.code); -1: at none */
    Op         op;           /* of the instruction */
    int64_t    step;
    int64_t    since_ns;     /* CLOCK_MONOTONIC: when it came there */
} DeviceStatus;

/* Since the run began. */
typedef struct {
    int64_t steps;           /* of all phases, those that are over */
    int64_t own_ns;          /* within these, neither work nor waiting */
    int64_t work_ns[OP_COUNT], wait_ns[OP_COUNT];
    int64_t bytes;           /* allocated now, the most of the run so far */
} DeviceTimes;

/* A board of so many devices, all of the run, each DEVICE_ABSENT. *out is yours:
 * status_board_free() it. */
int  status_board_new(StatusBoard **out, int devices, Error *err);
void status_board_free(StatusBoard *board);
int  status_board_devices(const StatusBoard *board);

/* ---- by the device's own thread ---- */

/* The device's status from now on; its times stay as they are. */
void status_board_set(StatusBoard *board, int device, const DeviceStatus *status);

/* Only the state changes: a wait within an instruction. */
void status_board_state(StatusBoard *board, int device, DeviceState state, int64_t now_ns);

/* An instruction is over: so much was waited, so much worked. */
void status_board_count(StatusBoard *board, int device, Op op, int64_t wait_ns, int64_t work_ns);

/* A step is over, of so much time. */
void status_board_step(StatusBoard *board, int device, int64_t inside_ns);
void status_board_bytes(StatusBoard *board, int device, int64_t bytes);

/* ---- by the one thread that hears of a device elsewhere ---- */

/* Replaces the device's times by those that were heard; it is DEVICE_ELSEWHERE from then on. */
void status_board_put(StatusBoard *board, int device, const DeviceTimes *times);

/* ---- by any thread ---- */

/* What it is at now: a copy, never of two moments. */
DeviceStatus      status_board_get(const StatusBoard *board, int device);

/* now_ns: the current instruction counts up to then, as its state says; 0: it does not count
 * yet. */
DeviceTimes status_board_times(const StatusBoard *board, int device, int64_t now_ns);

/* What passed between two looks at a device, of a time of ns: its steps, where they are the looks
 * of another process, which tells only of steps that are over, and now and then. */
int64_t status_board_passed_ns(const StatusBoard *board, int device, const DeviceTimes *before,
                               const DeviceTimes *now, int64_t ns);

/* "device 2, step 1234 of 5000, RECV boundary 3, rows 0..31, from device 1, waiting 0.8 s";
 * with several phases also "phase 2 of 4". Steps and phases are counted from 0, as in timelines. */
void device_status_text(const DeviceStatus *status, const Program *program, int device,
                        int64_t now_ns, Text *out);

/* A line for every device. */
void status_board_text(const StatusBoard *board, const Program *program, int64_t now_ns, Text *out);

#endif
