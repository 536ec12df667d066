/* libpipebd: plans and predicts blockwise distillation on several devices, from measured
 * block timings (the schedules of Pipe-BD, Jang et al., DATE 2023, arXiv 2301.12443).
 *
 *     pipebd_trace_read()  ->  pipebd_compare()  ->  pipebd_comparison_prediction()
 *                                                    pipebd_plan_write()
 *     pipebd_plan_read()   ->  pipebd_price()    ->  the prediction of one plan
 *
 * docs/library.md has an example and says how to link.
 *
 * Units     Times are nanoseconds (_ns), memory is bytes (_bytes), rows are samples of the
 *           global batch. Blocks and devices are counted from 0.
 * Errors    Functions that can fail return 0, or -1 with a line of text in *error and
 *           nothing in *out (NULL). Text about a place in a file starts with
 *           path:line:column. error may be NULL. The library never prints and never exits.
 * Ownership What comes through an "out" is yours until its _free() function, which takes
 *           NULL too. A const pointer that a function returns is borrowed from the
 *           object asked, and lives as long as that object.
 * NULL      Where a function that can fail gets NULL for anything but options and error,
 *           it fails with a text that names the argument. Functions that only tell
 *           something answer NULL, and indices out of range, with NULL, "", 0 or -1.
 * Threads   The library keeps no state between calls. Threads may use it at the same time
 *           and share objects through const pointers.
 * Versions  Struct fields and enum values are only ever added at the end. Structs that
 *           the library makes are reached by pointer only, so their size may grow. */
#ifndef PIPEBD_H
#define PIPEBD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PIPEBD_API __attribute__((visibility("default")))
#else
#define PIPEBD_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define PIPEBD_VERSION "0.2.0"               /* of this header */

PIPEBD_API const char *pipebd_version(void); /* of the library: "0.2.0"; static */

#define PIPEBD_ERROR_SIZE 1024

typedef struct pipebd_error {
    char text[PIPEBD_ERROR_SIZE];            /* "" after a call that succeeded */
} pipebd_error;

/* Frees a text that the library handed over, as free() does: for languages without one. */
PIPEBD_API void pipebd_text_free(char *text);

/* ---- schedules -------------------------------------------------------------------- */

typedef enum pipebd_schedule {
    PIPEBD_DP,               /* data parallel, block after block; speedups are over this */
    PIPEBD_LS,               /* layer-wise: each block a task on one device */
    PIPEBD_TR,               /* teacher relaying, with a barrier before each update */
    PIPEBD_DPU,              /* teacher relaying with decoupled parameter updates */
    PIPEBD_IR,               /* internal relaying: all blocks on every device */
    PIPEBD_AHD,              /* automatic hybrid distribution: groups of devices a stage */
    PIPEBD_SPLIT,            /* ahd with students on devices of their own choice */
    PIPEBD_SEQUENTIAL,       /* one block after another for all epochs, from stored boundaries */
    PIPEBD_STORE             /* storing boundaries in the first epoch, fetching them in later
                              * ones */
} pipebd_schedule;

PIPEBD_API int         pipebd_schedule_count(void);                       /* 9 */
PIPEBD_API const char *pipebd_schedule_name(pipebd_schedule schedule);    /* "ahd"; static */

/* ---- traces ----------------------------------------------------------------------- */

/* What the blocks of a workload cost on the devices of a cluster (docs/traces.md).
 * Never changes once it is read. */
typedef struct pipebd_trace pipebd_trace;

/* From a file ("-": standard input). Fails when it cannot be read or is malformed. */
PIPEBD_API int pipebd_trace_read(pipebd_trace **out, const char *path, pipebd_error *error);

/* From length bytes of JSON at text, which are not needed afterwards. name stands for the
 * path in messages. */
PIPEBD_API int pipebd_trace_parse(pipebd_trace **out, const char *name, const char *text,
                                  size_t length, pipebd_error *error);

/* JSON, whole (a reader sees the old file or the new one); "-" is standard output. */
PIPEBD_API int pipebd_trace_write(const pipebd_trace *trace, const char *path, pipebd_error *error);

/* What pipebd_trace_write() writes, NUL-terminated; *out is yours: pipebd_text_free() it. */
PIPEBD_API int pipebd_trace_text(const pipebd_trace *trace, char **out, pipebd_error *error);

PIPEBD_API void pipebd_trace_free(pipebd_trace *trace);

/* What the trace is of. Strings are the trace's: they live until pipebd_trace_free(). block is less
 * than pipebd_trace_block_count(). */
PIPEBD_API const char *pipebd_trace_name(const pipebd_trace *trace);
PIPEBD_API const char *pipebd_trace_block_name(const pipebd_trace *trace, int block);
PIPEBD_API int         pipebd_trace_block_count(const pipebd_trace *trace);
PIPEBD_API int         pipebd_trace_device_count(const pipebd_trace *trace);
PIPEBD_API int64_t     pipebd_trace_batch(const pipebd_trace *trace);     /* rows a step */
PIPEBD_API int64_t     pipebd_trace_samples(const pipebd_trace *trace);   /* an epoch */

/* ---- options ---------------------------------------------------------------------- */

enum { PIPEBD_COST_SIM, PIPEBD_COST_PAPER };

/* Lists of ls. ALL: the fastest of LPT, EXACT (branch and bound) and STEALING. GLPK is an error:
 * the library is not linked with it, pipebd-plan and pipebd-sim are. */
enum {
    PIPEBD_LS_ALL,
    PIPEBD_LS_LPT,
    PIPEBD_LS_MULTIFIT,
    PIPEBD_LS_GLPK,
    PIPEBD_LS_EXACT,
    PIPEBD_LS_STEALING
};

/* 0 in every field but size is the default. A struct that carries its size, rather than
 * setters: it can be written in one expression and still grow, as a library takes fields
 * that a smaller struct lacks for 0 and refuses larger ones that hold what it does not
 * know. All fields are 8 bytes, so there is no padding. */
typedef struct pipebd_options {
    uint64_t size;           /* sizeof(pipebd_options) */
    int64_t  devices;        /* the first N, or more of the last kind; 0: the trace's.
                              * At most 4096 */
    int64_t  batch;          /* global batch; 0: the trace's. At most 2^31 */
    int64_t  steps;          /* of an epoch; 0: samples / batch, rounded up. At most 2^40 */
    int64_t  memory_bytes;   /* of every device; 0: the trace's */
    int64_t  queue_depth;    /* messages that a relay queue holds; 0: 2. At most 1024 */
    int64_t  extrapolate;    /* 1: continue costs beyond the measured points; 0: fail */
    int64_t  cost;           /* what the partition search minimises: PIPEBD_COST_SIM, or
                              * PIPEBD_COST_PAPER for the original's formula */
    uint64_t schedules;      /* bits 1 << PIPEBD_x: compare these; 0: all but split, sequential,
                              * store */
    int64_t  candidates;     /* partitions simulated a schedule; 0: 8. At most 4096 */
    int64_t  time_limit_ms;  /* of a search for lists of ls; 0: it stops after a number of
                              * nodes, the same on every machine. At most 3600000 */
    int64_t  ls;             /* where lists of ls come from: PIPEBD_LS_ALL, ... */
} pipebd_options;

#define PIPEBD_OPTIONS_INIT { sizeof(pipebd_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* ---- plans ------------------------------------------------------------------------ */

/* Who trains which blocks with what share of the batch. Never changes. */
typedef struct pipebd_plan pipebd_plan;

/* A range of blocks on some devices. dp: a stage a block, one after another; ls: a stage
 * a task, a device's tasks in the order of the list; others: one after another along the
 * chain, all at the same time. */
typedef struct pipebd_stage {
    int            first, last;  /* blocks, both included */
    int            width;        /* devices; 0: a task for the next free device */
    const int     *devices;      /* [width], in the order of their rows */
    const int64_t *rows;         /* [width] of the batch; they sum to it */
} pipebd_stage;

/* JSON files, as pipebd-plan writes them; "-" is standard input or output. name stands for the path
 * in messages. Reading fails when there is no such file, or what it holds is no plan: a block that
 * is in no stage, rows that do not sum to the batch (docs/formats.md). */
PIPEBD_API int pipebd_plan_read(pipebd_plan **out, const char *path, pipebd_error *error);
PIPEBD_API int pipebd_plan_parse(pipebd_plan **out, const char *name, const char *text,
                                 size_t length, pipebd_error *error);
PIPEBD_API int pipebd_plan_write(const pipebd_plan *plan, const char *path, pipebd_error *error);

/* What pipebd_plan_write() writes, NUL-terminated; *out is yours: free() it. */
PIPEBD_API int pipebd_plan_text(const pipebd_plan *plan, char **out, pipebd_error *error);

PIPEBD_API void pipebd_plan_free(pipebd_plan *plan);

/* What a plan holds. stage is less than the count of stages, and the stage is the plan's: it lives
 * until pipebd_plan_free(). Of a plan that is NULL: dp, 0, and no stage. */
PIPEBD_API pipebd_schedule     pipebd_plan_schedule(const pipebd_plan *plan);
PIPEBD_API int                 pipebd_plan_stage_count(const pipebd_plan *plan);
PIPEBD_API const pipebd_stage *pipebd_plan_stage(const pipebd_plan *plan, int stage);
PIPEBD_API int                 pipebd_plan_device_count(const pipebd_plan *plan);
PIPEBD_API int64_t             pipebd_plan_batch(const pipebd_plan *plan);    /* rows a step */

/* ---- predictions ------------------------------------------------------------------ */

/* What the simulator says about a plan, or why there is no plan (then plan is NULL, why
 * is not "", and the numbers are 0). */
typedef struct pipebd_prediction {
    const pipebd_plan *plan;     /* lives as long as the prediction */
    const char *why;             /* "" when there is a plan */
    const char *method;          /* how the plan was found, for people */
    int64_t     epoch_ns;        /* for every student block to see every sample once */
    int64_t     step_ns;         /* epoch_ns / steps */
    int64_t     steps;           /* of an epoch */
    double      speedup;         /* epoch of dp / epoch_ns; 0: dp is not known */
    double      utilisation;     /* teacher, student and update time / (devices * epoch) */
    double      teacher_work;    /* teacher rows / (blocks * batch): 1 is once a sample */
    double      loads;           /* rows loaded / batch, a step: 1 is once a sample */
    int64_t     peak_memory_bytes;   /* of the device that needs most ... */
    int         peak_memory_device;  /* ... the lowest of them */
    int         device_count;    /* shares and memory are known for these */
    int         estimated;       /* 1: the run is too long to simulate, and epoch_ns an estimate
                                  * ... */
    int64_t     least_ns, most_ns;   /* ... between these, which are proven; else both are
                                      * epoch_ns */
} pipebd_prediction;

/* Where a device's time goes. All shares of a device sum to the epoch. */
typedef enum pipebd_share {
    PIPEBD_SHARE_LOAD,           /* waiting for the loader */
    PIPEBD_SHARE_TEACHER,
    PIPEBD_SHARE_STUDENT,        /* forward and backward */
    PIPEBD_SHARE_ALLREDUCE,      /* occupied by, or waiting for, gradients */
    PIPEBD_SHARE_UPDATE,
    PIPEBD_SHARE_TRANSFER,       /* sending, where transfers block the device; else what they take
                                  * of its core */
    PIPEBD_SHARE_WAIT,           /* for a message, a queue slot, or a barrier */
    PIPEBD_SHARE_IDLE,           /* nothing left to do */
    PIPEBD_SHARE_STORAGE         /* waiting for the store, or for weights that come and go */
} pipebd_share;

PIPEBD_API int         pipebd_share_count(void);                  /* 9 */
PIPEBD_API const char *pipebd_share_name(pipebd_share share);     /* "teacher"; static */

/* ns of an epoch, and peak memory in bytes, of a device; -1 where there are none. */
PIPEBD_API int64_t pipebd_prediction_share_ns(const pipebd_prediction *prediction, int device,
                                              pipebd_share share);
PIPEBD_API int64_t pipebd_prediction_memory_bytes(const pipebd_prediction *prediction, int device);

/* Prices any plan on a trace: it is verified (no deadlock, every block sees every row of
 * the batch once), checked against the devices' memory and simulated. devices and batch
 * of options are 0 or those of the plan; cost, schedules, candidates, time_limit_ms
 * and ls are ignored. Fails when the plan is for another number of blocks, does not fit, or needs a
 * cost that the trace does not have. Borrows trace and plan for the call. */
PIPEBD_API int pipebd_price(pipebd_prediction **out, const pipebd_trace *trace,
                            const pipebd_plan *plan, const pipebd_options *options,
                            pipebd_error *error);

/* For what pipebd_price() made; those of a comparison go with it. */
PIPEBD_API void pipebd_prediction_free(pipebd_prediction *prediction);

/* ---- comparisons ------------------------------------------------------------------ */

typedef struct pipebd_comparison pipebd_comparison;

typedef enum pipebd_format { PIPEBD_TABLE, PIPEBD_CSV, PIPEBD_JSON } pipebd_format;

/* Finds the best plan that the planner knows for each schedule and simulates it. Borrows
 * trace until pipebd_comparison_free(). options NULL: all defaults. A schedule that is
 * not possible is no failure, unless none is. */
PIPEBD_API int pipebd_compare(pipebd_comparison **out, const pipebd_trace *trace,
                              const pipebd_options *options, pipebd_error *error);

PIPEBD_API void pipebd_comparison_free(pipebd_comparison *comparison);

/* Of a schedule; NULL when it was not compared. */
PIPEBD_API const pipebd_prediction *pipebd_comparison_prediction(
    const pipebd_comparison *comparison, pipebd_schedule schedule);

/* Of the schedule with the shortest epoch (of equals, the first in the list). */
PIPEBD_API const pipebd_prediction *pipebd_comparison_best(const pipebd_comparison *comparison);

/* No plan of tr, dpu, ir or ahd has a shorter epoch; 0 when not known. */
PIPEBD_API int64_t pipebd_comparison_bound_ns(const pipebd_comparison *comparison);

/* Does nothing. It freed what GLPK, with which 0.1 was linked, kept for the calling thread. */
PIPEBD_API void pipebd_thread_end(void);

/* The comparison as text, as pipebd-plan --sensitivity no prints it (JSON without "command"); *out
 * is yours: free() it. */
PIPEBD_API int pipebd_comparison_report(const pipebd_comparison *comparison, pipebd_format format,
                                        char **out, pipebd_error *error);

#ifdef __cplusplus
}
#endif

#endif
