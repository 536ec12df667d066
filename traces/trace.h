/* The trace: what the blocks of a workload cost on the devices of a cluster.
 *
 * In the file: microseconds and bytes (docs/formats.md). In memory: int64_t
 * nanoseconds. A trace never changes once it is read, but for what-if edits
 * (planner/whatif/whatif.h) before its first use.
 *
 * Invariants of a Trace that trace_read() returned:
 *   1. every block has, for every device kind, the same four curves, with at least
 *      one point each, or none at all for that kind; at least one kind has them. Where
 *      a block lists students, this holds of the teacher's one and of each student's
 *      three;
 *   2. a curve's points have increasing x, and no x twice;
 *   3. no batch is larger than the workload's;
 *   4. no time is longer than TRACE_MAX_NS;
 *   5. names are one line: they hold no control characters;
 *   6. at most one tier is host memory, and a tier's grids are complete. */
#ifndef TRACES_TRACE_H
#define TRACES_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"
#include "traces/stalls.h"
#include "traces/tiers.h"

enum {
    TRACE_MAX_BLOCKS  = 4096,
    TRACE_MAX_STUDENTS = 16384,          /* of all blocks */
    TRACE_MAX_DEVICES = 4096,
    TRACE_MAX_KINDS   = 64
};

/* Versions of the format that are read: 1 to this. The least that has all keys in use is
 * written. */
enum { TRACE_VERSION = 2 };

/* No single cost is longer (39 hours), so that sums over all blocks fit an int64_t. */
#define TRACE_MAX_NS ((int64_t)1 << 47)

#define TRACE_ABSENT ((int64_t)-1)       /* an optional byte count that is not there */

/* What a device does with a block, each with timings of its own. */
typedef enum { WORK_TEACHER, WORK_FORWARD, WORK_BACKWARD, WORK_UPDATE, WORK_COUNT } Work;

typedef struct {
    int64_t x;               /* rows of the batch, or bytes */
    int64_t ns;
    double  spread;          /* coefficient of variation; 0 when not measured */
    int64_t contended_ns;         /* of work: while all other devices compute; >= ns */
    int64_t single_block_ns;         /* of work: in a step that trains no other block, so that more
                                      * of it is still in the cache (dp, ls); 0: as ns */
    int64_t single_block_contended_ns;   /* of that, while all other devices compute; 0: slowed
                                          * down in the proportion of contended_ns to ns */
} CurvePoint;

typedef struct {
    CurvePoint *points;      /* by x, ascending */
    int         count;
} Curve;

typedef struct {
    const char *name;                    /* "RTX A6000" */
    int         count;
    int64_t     memory_bytes;            /* or TRACE_ABSENT */
    TraceStalls stalls;                  /* count 0: not measured */
} TraceKind;

typedef struct {
    const char *name;
    int64_t     weight_bytes, gradient_bytes, state_bytes, activation_bytes;    /* as a block's */
    Curve      *work[WORK_COUNT];        /* [kinds]; WORK_TEACHER: the block's */
} TraceStudent;

typedef struct {
    const char *name;
    int64_t     output_bytes;            /* boundary b + 1, a sample; TRACE_ABSENT  */
    int64_t     teacher_weight_bytes, teacher_activation_bytes;    /* activations:  */
    int64_t     student_weight_bytes, gradient_bytes, state_bytes; /* a sample, or  */
    int64_t     student_activation_bytes;                          /* TRACE_ABSENT  */
    Curve      *work[WORK_COUNT];        /* [kinds]; count 0: this kind not measured */
    TraceStudent *students;              /* [student_count] where the file lists them, or NULL:
                                          * one, whose numbers stand above. With a list, above
                                          * stand the sums over it (activations: the largest)
                                          * and the first one's curves */
    int         student_count;           /* 0 without a list */
} TraceBlock;

/* All-reduce among a number of devices, by bytes. */
typedef struct {
    int   devices;
    Curve curve;
    Curve core;                          /* as TraceLinks has them, of each member */
} TraceReduce;

/* Beside the times of messages and sums stands the processor time that they take of a core at
 * either end, at the same bytes; count 0: none is known. */
typedef struct {
    Curve        p2p;                    /* by bytes; count 0 when absent */
    Curve        sender_core, receiver_core;
    TraceReduce *reduces;                /* by devices, ascending */
    int          reduce_count;
} TraceLinks;

/* Batches are prepared on lanes, all devices together, each device asking some steps ahead. Where
 * the file has workers, they are shared out evenly among the devices that load, each works on a
 * batch of its own and has prefetch of them ahead, and as many lanes are busy at a time as there
 * are cores for them. */
typedef struct {
    bool    present;
    int64_t batch_ns;                    /* a request */
    double  sample_ns;                   /* a row of it, on one lane */
    int     lanes, prefetch;             /* prefetch 0: a load blocks its device */
    int     workers, cores;              /* 0: the file has lanes. Else lanes is the lesser of the
                                          * two */
} TraceLoader;

enum { TRACE_MAX_EPOCHS = 1000000 };

enum { TRACE_MAX_PREFETCH = 1024 };      /* batches ahead of a device */

/* Steps that a device asks ahead, 0 to TRACE_MAX_PREFETCH, when so many devices load; and of these,
 * those whose batches lie in the device's memory: a worker's wait in the host's, but for the next
 * one. */
int trace_loader_ahead(const TraceLoader *loader, int devices);
int trace_loader_held(const TraceLoader *loader);

typedef struct {
    Arena        arena;                  /* owns everything below */
    const char  *name;
    const char  *provenance_kind, *source, *date, *notes;   /* "" when not given */
    const char **algorithms;             /* [algorithm_count]: what the times are good for, a line
                                          * each */
    int          algorithm_count;
    const char  *workload;
    int64_t      batch, samples;
    int64_t      micro_batches;          /* that a student's share of a step goes in
                                          * (base/micro.h) */
    int64_t      epochs;                 /* of the job: the horizon; 1 where the file does not
                                          * say */
    TraceKind   *kinds;
    int          kind_count;
    int64_t      input_bytes;            /* boundary 0, a sample; or TRACE_ABSENT */
    TraceBlock  *blocks;
    int          block_count;
    TraceLoader  loader;
    TraceTier   *tiers;
    int          tier_count;
    int64_t      step_ns;                /* a step of a device besides its work: the framework's
                                          * loop, synchronisation, the optimizer's bookkeeping; once
                                          * in a step of a phase. 0 where the file does not say */
    int64_t      network_ns;             /* to make a block's network, a teacher or a student, for
                                          * the first time on a machine for so many rows, while a
                                          * job runs; of programs that store. 0 where the file does
                                          * not say */
    int64_t      part_ns;                /* between two parts of a program that stores
                                          * (schedule/program_parts.h): all devices meet, students
                                          * are handed over, workers begin anew. 0, where the file
                                          * does not say: they do not meet */
    double       stored_share;           /* bytes of a stored row over those of the boundary that
                                          * is relayed, above 0 to 1: 0.5 where float32 is stored
                                          * as bfloat16. 0, where the file does not
                                          * say: as many */
    int64_t      process_bytes;          /* memory of a device that its process takes besides:
                                          * context, libraries, framework; 0 where the file does not
                                          * say */
    bool         contended;              /* some contended_ns is above its ns */
    bool         blocking_transfers;     /* a transfer occupies the device that sends */
    bool         transfers_on_device;    /* transfers are overlapped, but the processor time that
                                          * they take is of the cores that devices compute on */
    TraceLinks   links;                  /* within a node */
    int          devices_per_node;       /* 0: all devices on one node */
    TraceLinks   node_links;             /* between nodes */
    double      *slowdown;               /* [TRACE_MAX_DEVICES] factor on a device's work, or
                                          * NULL: all 1. Not in the file: what-if only */
    uint64_t     hash;                   /* FNV-1a (64 bit) of the file's bytes */
} Trace;

/* Reads and checks a trace ("-": standard input). *out is yours: trace_free() it.
 * Errors carry path:line:column. */
int trace_read(Trace **out, const char *path, Error *err);

/* The same from memory; name stands for the path in messages. */
int trace_parse(Trace **out, const char *name, const char *text, size_t length, Error *err);

/* The trace as a file's text; slowdown, which is not in files, is left out. */
void trace_text(const Trace *trace, Text *out);

void trace_free(Trace *trace);

/* The names of the blocks, borrowed from trace; the array is yours: free() it. NULL without
 * memory. */
const char **trace_block_names(const Trace *trace);

/* Students of a block, at least 1, and one of them, whether listed or not (then without a
 * name: ""). */
int          trace_students(const TraceBlock *block);
TraceStudent trace_student(const TraceBlock *block, int student);

/* Whether some block has more than one. */
bool trace_has_many_students(const Trace *trace);

/* Sets the sums of a block with a list anew. */
void trace_sum_students(TraceBlock *block);

/* Whether some kind of device has stalls. */
bool trace_has_stalls(const Trace *trace);

/* All device counts of the kinds together. */
int trace_device_count(const Trace *trace);

/* Bytes of one sample at boundary k (0 is the input); TRACE_ABSENT when unknown. */
int64_t trace_boundary_bytes(const Trace *trace, int boundary);

/* The same of a row that is stored, and its share of that. */
int64_t trace_stored_bytes(const Trace *trace, int boundary);
double  trace_stored_share(const Trace *trace);

#endif
