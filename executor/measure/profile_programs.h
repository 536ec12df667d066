/* The programs that a profile runs (executor/measure/profile.h draws them). Each trains blocks on
 * the same rows on several devices at once, which no schedule does: they are built here by
 * hand and do not pass the verifier. *out is yours: program_free() it. They fail without memory and
 * beyond PROGRAM_MAX_INSTRUCTIONS. */
#ifndef EXECUTOR_MEASURE_PROFILE_PROGRAMS_H
#define EXECUTOR_MEASURE_PROFILE_PROGRAMS_H

#include "schedule/program.h"

typedef struct {
    int        devices, blocks;
    int64_t    batch, steps;
    const int *students;     /* [blocks]; NULL: one each */
} ProfileShape;

/* How many devices share the batch where each has so many rows: the least w of which rows is
 * batch / w, rounded down or up; 1: none, as of parts of shares. */
int profile_width(const ProfileShape *shape, int64_t rows);

/* active of the devices work on rows of the batch each. Groups of width of them meet before each
 * block's update, where they would sum gradients, and so do the same at the same time: that slows
 * them down more than other work of the others does. width 1: each is by itself. */
int profile_compute(Program **out, const ProfileShape *shape, int active, int width, int64_t rows,
                    Error *err);

/* The same, one block after another, each in a phase of its own: dp without sums. */
int profile_single_block(Program **out, const ProfileShape *shape, int active, int width,
                         int64_t rows, Error *err);

/* Devices first to first + width - 1 split the batch and sum gradients, which each update waits for
 * at once; busy: all updates come last, so that devices compute while sums are under way. */
int profile_reduce(Program **out, const ProfileShape *shape, int first, int width, bool busy,
                   Error *err);

/* Device from sends every boundary of rows rows to device to. apart: they meet before each, so that
 * none is sent while another is still on its way, and from sends it when its teacher has made it,
 * and goes on computing; else it sends all at the end. */
int profile_relay(Program **out, const ProfileShape *shape, int from, int to, int64_t rows,
                  bool apart, Error *err);

/* The same while both compute: from sends each boundary when its teacher has made it; to trains the
 * block that leads there, so often a step. */
int profile_busy_relay(Program **out, const ProfileShape *shape, int from, int to, int64_t rows,
                       int times, Error *err);

#endif
