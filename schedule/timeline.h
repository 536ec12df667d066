/* What happened when, of a simulated or a real run, and the same as Chrome trace events,
 * which Perfetto and chrome://tracing open as they are: a process a device, a thread a
 * lane, complete events ("ph": "X"), flow arrows for relays, and the facts of the run
 * under "pipebd". Times in microseconds. */
#ifndef SCHEDULE_TIMELINE_H
#define SCHEDULE_TIMELINE_H

#include "base/text.h"
#include "schedule/program.h"

typedef enum {
    LANE_COMPUTE,
    LANE_COPY_OUT,
    LANE_COPY_IN,
    LANE_REDUCE,
    LANE_LOADER,
    LANE_STORAGE
} Lane;

/* One box of a timeline. Spans of a lane never overlap. */
typedef struct {
    int                device;
    Lane               lane;
    const Instruction *instruction;      /* borrowed from the program */
    int64_t            step, start_ns, end_ns;
} Span;

typedef struct {
    const char        *kind;             /* "predicted", "measured" */
    const char        *schedule;
    const char        *trace_name;       /* "" and 0: of no trace */
    uint64_t           trace_hash;
    const char *const *block_names;      /* [blocks] of the program */
    const Program     *program;
    int64_t            steps, epoch_ns;  /* shown */
    const Span        *spans;            /* in the order of their ends */
    int64_t            span_count;
} Timeline;

const char *lane_name(Lane lane);           /* "copy out" */

/* Tracks of a timeline are lanes; requests to the loader and to the store overlap, and have
 * several. */
enum { TRACK_LOADER = LANE_LOADER, TRACK_STORAGE = 1000, MAX_TRACKS_OF_A_LANE = 64 };

/* Appends the whole file, JSON. */
void timeline_text(const Timeline *timeline, Text *out);

#endif
