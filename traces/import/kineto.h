/* Inside the import of PyTorch's profiles (Kineto's Chrome JSON): what is kept of a file, and how
 * its work comes to blocks.
 *
 *     kineto_read.c    the file, a token at a time            -> spans of threads, work of devices
 *     kineto_blocks.c  names of ranges and modules            -> which of them are blocks
 *     kineto_sums.c    each work to its launch, the launch to what it lies in, backward to forward
 *                                                             -> nanoseconds a step, block and part
 *     import_kineto.c  files, steps                           -> a trace
 *
 * import_nsys.c fills the same spans and works from a database of Nsight Systems.
 *
 * A span is a stretch of a thread of the host. Kineto writes spans that nest, in no order. */
#ifndef TRACES_IMPORT_KINETO_H
#define TRACES_IMPORT_KINETO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "traces/import/import.h"

/* ---- a file -------------------------------------------------------------------------------- */

/* In the order in which those that begin and end together lie in each other. */
typedef enum {
    SPAN_STEP,               /* "ProfilerStep#5" */
    SPAN_ECHO,               /* of a block's range, on a thread that has none: its backward is run
                              * there */
    SPAN_RANGE,              /* a record_function range that a person or the optimizer named */
    SPAN_MODULE,             /* "nn.Module: Conv2d_3"; its name is kept without the first word */
    SPAN_NODE,               /* "autograd::engine::evaluate_function: ...": a node of the
                              * backward */
    SPAN_OPERATOR,
    SPAN_LAUNCH,             /* a call of the runtime or driver */
    SPAN_FLOW                /* the start of an arrow to the device, where a call is not in the
                              * file */
} KinetoSpanType;

typedef struct {
    int64_t start_ns, end_ns;
    int64_t number;          /* sequence number of nodes and operators, correlation of launches; -1:
                              * none */
    int64_t tensor_bytes;    /* of operators: their first tensor; -1: not recorded */
    int32_t rows, dimensions;/* its first dimension, and how many it has */
    int32_t thread, name;
    uint32_t order;          /* in the file */
    KinetoSpanType type;
} KinetoSpan;

/* COPY: to or from the host, or another device */
typedef enum { DEVICE_KERNEL, DEVICE_COLLECTIVE, DEVICE_COPY } KinetoWorkType;

typedef struct {
    int64_t ns, correlation; /* -1: none */
    int32_t device;
    KinetoWorkType type;
} KinetoWork;

/* Strings, each once, by number. */
typedef struct {
    Arena   arena;
    char  **strings;         /* [count] */
    int    *slots;           /* [slot_count], a power of 2: number + 1, or 0 */
    int     count, room, slot_count;
} Interned;

/* The number of a string, or -1 without memory. */
int  intern(Interned *set, const char *string, size_t length);
int  intern_find(const Interned *set, const char *string, size_t length);      /* or -1 */
void interned_free(Interned *set);

enum { KINETO_MAX_DEVICES = 64 };

typedef struct {
    Interned    names, threads;
    KinetoSpan       *spans;       /* by thread and start, the outer one first */
    size_t      span_count, span_room;
    KinetoWork *works;
    size_t      work_count, work_room;
    char        device_names[KINETO_MAX_DEVICES][64];      /* "" : the file does not say */
    int64_t     device_memory[KINETO_MAX_DEVICES];         /* 0: likewise */
    bool        fractions;   /* times have fractions of a microsecond; without, they are cut to
                              * whole ones */
} KinetoFile;

/* Takes the span or work as it is; the names are interned before. order is set. */
int  kineto_add_span(KinetoFile *file, KinetoSpan span, Error *err);
int  kineto_add_work(KinetoFile *file, KinetoWork work, Error *err);
void kineto_sort(KinetoFile *file);

/* The name of what runs on a device, or of an operator: is it of NCCL or RCCL; and is the span of
 * this name a range, a step, a node or an operator. */
bool           kineto_is_collective(const char *name);
KinetoSpanType kineto_span_type(const char *name, bool annotation);

/* Reads from file->text, or where that is NULL from the path file->name. kineto_free() *out, which
 * may be set where it fails. */
int  kineto_read(KinetoFile **out, const ImportFile *file, ImportProgress *progress, void *context,
                 Error *err);
void kineto_free(KinetoFile *file);

/* A reader of one file: kineto_read(), or of another format. */
typedef int ReadProfile(KinetoFile **out, const ImportFile *file, ImportProgress *progress,
                        void *context, Error *err);

/* Files read by read as a trace. */
int import_profiles(Trace *trace, Text *notes, const ImportFile *files, int count,
                    const ImportOptions *options, const char *what, ReadProfile *read, Error *err);

/* ---- blocks -------------------------------------------------------------------------------- */

typedef enum { ROLE_BOTH, ROLE_TEACHER, ROLE_STUDENT } BlockRole;
typedef enum { BLOCKS_OF_RANGES, BLOCKS_OF_LIST, BLOCKS_OF_DEPTH } BlockSource;

typedef struct {
    BlockSource  source;
    int          depth, deepest;     /* of modules, the outermost 1: the one taken, and the largest
                                      * there is */
    int          count;
    const char **names;              /* [count], in the order of their first start; borrowed from
                                      * file or list */
    int         *of_name;            /* [file->names.count] the block that a range or module is, or
                                      * -1 */
    BlockRole   *role_of_name;
    int          first_name;         /* the range or module that starts first */
    bool         has_teachers;       /* ranges named teacher: */
    bool         compiled;           /* there are calls of what torch.compile made */
    Arena        arena;
} KinetoBlocks;

/* list: "conv1,conv2", or NULL; depth: 0 for the least with two blocks. kineto_blocks_free() out
 * also where it fails. */
int  kineto_blocks(KinetoBlocks *out, const KinetoFile *file, const char *file_name,
                   const char *list, int depth, Error *err);
void kineto_blocks_free(KinetoBlocks *blocks);

/* ---- sums ------------------------------------------------------------------------------------ */

typedef enum { PART_TEACHER, PART_FORWARD, PART_BACKWARD, PART_UPDATE, PART_COUNT } BlockPart;

typedef enum {
    CLASS_BLOCK,
    CLASS_OPTIMIZER,         /* Optimizer.step, Optimizer.zero_grad outside of blocks */
    CLASS_COMMUNICATION,     /* NCCL, RCCL */
    CLASS_COPY,              /* to and from the host, between devices */
    CLASS_LOADER,            /* on the CPU, within DataLoader */
    CLASS_OUTSIDE,           /* launched outside of all blocks, or the backward of such */
    CLASS_LOST,              /* the file has no launch of it, or not its forward */
    CLASS_COUNT
} WorkClass;

typedef struct {
    int      steps, blocks;
    bool     marked;         /* by ProfilerStep; else a step is from one start of the first block to
                              * the next */
    bool     of_host;        /* no work of a device is in the file: operators' times on the CPU */
    int      devices;        /* that worked */
    int      device;         /* one of them */
    int64_t *ns;             /* [steps][blocks][PART_COUNT] */
    int64_t *class_ns;       /* [steps][CLASS_COUNT] */
    int64_t  before_ns;      /* before the first ProfilerStep, or between two */
    int64_t  between_ns;     /* of CLASS_BLOCK: in a module around blocks, counted to the block
                              * before */
    int64_t  outside_ns;     /* of CLASS_OUTSIDE: of the operator that has most of it */
    const char *outside_name;
    int64_t *gradient_bytes; /* [blocks]; -1: shapes are not recorded */
    int64_t *input_bytes;    /* [blocks] of the first operator's first tensor; -1: not recorded */
    int32_t *input_rows;     /* [blocks] its first dimension */
    int32_t *input_dimensions;
    Arena    arena;
} KinetoSums;

/* kineto_sums_free() out also where it fails. */
int  kineto_sums(KinetoSums *out, const KinetoFile *file, const KinetoBlocks *blocks,
                 const char *file_name, Error *err);
void kineto_sums_free(KinetoSums *sums);

#endif
