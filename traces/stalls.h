/* Stalls: what a device loses now and then to something that is not its program - the operating
 * system, a host that gives its core to another guest, an interrupt. And skew: how much slower or
 * faster than the others a device is for many steps on end, as where a host's other guests share
 * its core's caches or units. Part of it lasts longer than queues between devices hold.
 *
 * They begin at random, per_ms of them in a millisecond of the device's time, and each has a
 * length of its own, drawn from classes: one in two is of the first class, one in four of the
 * second, and so on, the last two alike. A class is represented by its mean, so that the mean of
 * all is exact, and the rare long ones, of which the wait for the slowest device is made, are kept.
 * A share of them, common, come to all devices at the same time. The times of a trace that has
 * stalls are means that contain them. */
#ifndef TRACES_STALLS_H
#define TRACES_STALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

enum { TRACE_STALL_CLASSES = 16 };

typedef struct {
    double  skew;            /* standard deviation of a device's time for the same work from that of
                              * all devices, over their mean, without stalls; 0: not measured */
    double  lasting;         /* what of skew lasts for ten steps and more, as such a deviation, at
                              * most skew; 0: not measured, or none */
    int     count;           /* of classes; 0: not measured, nothing of what follows is here */
    double  per_ms;          /* > 0 */
    double  common;          /* 0..1 */
    int64_t ns[TRACE_STALL_CLASSES];     /* ascending, > 0 */
} TraceStalls;

/* Of class i: 1/2, 1/4, ..., the last two the same. They sum to 1. */
double stalls_probability(const TraceStalls *stalls, int i);

/* The mean length in ns, and the share of a device's time that is lost: at least 0, below 1. 0
 * where nothing was measured. */
double stalls_mean_ns(const TraceStalls *stalls);
double stalls_share(const TraceStalls *stalls);

/* Stalls or skew were measured. */
bool stalls_known(const TraceStalls *stalls);

/* The object "stalls" of a kind of device. Errors carry path:line:column. */
int stalls_read(TraceStalls *out, const JsonAt *at, int64_t max_ns, Error *err);

/* The object as text, without its key. */
void stalls_write(const TraceStalls *stalls, Text *out);

#endif
