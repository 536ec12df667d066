/* Imports: what other programs print about a network becomes a trace of kind "imported".
 *
 *   pipedream     the graph that PipeDream's profiler writes, one of the teacher and one of
 *                 the student                                       (import_pipedream.c)
 *   pipe-bd-log   the block times that the original Pipe-BD prints  (import_pipe_bd_log.c)
 *
 * docs/traces.md says which lines are understood. What a file does not say, and what was
 * assumed for it, stands in the trace's notes. */
#ifndef TRACES_IMPORT_H
#define TRACES_IMPORT_H

#include <stddef.h>

#include "traces/trace.h"

typedef struct {
    const char *name;            /* for messages; borrowed */
    const char *text;            /* NULL: no such file */
    size_t      length;
} ImportFile;

typedef struct {
    const char *name;            /* of the trace and its workload */
    const char *device;          /* kind of the device that was profiled */
    const char *date;            /* "YYYY-MM-DD" or NULL */
    int64_t     devices;         /* 0: as many as the file speaks of */
    int64_t     batch, samples;  /* at least 1 */
    ImportFile  student;         /* pipedream */
    const char *cuts, *student_cuts;             /* pipedream: "node4,node9", or NULL */
    const char *boundary_bytes, *gradient_bytes; /* pipe-bd-log: "98304,32768", or NULL */
} ImportOptions;

typedef struct {
    const char *name;            /* "pipedream" */
    const char *options;         /* those beyond the common ones, "student cuts" */
    /* Fills blocks, links and notes of a trace that import_trace() began. */
    int (*read)(Trace *trace, Text *notes, const ImportFile *file, const ImportOptions *options, Error *err);
} ImportFormat;

extern const char *const import_format_names[];  /* NULL-terminated */

/* By its index among the names. */
const ImportFormat *import_format(int index);

/* Whether a format takes an option of the list above, by its name. */
bool import_takes(const ImportFormat *format, const char *option);

/* *out is yours: trace_free() it. It has passed all checks of a trace. Errors carry
 * path:line:column of the file imported. */
int import_trace(Trace **out, const ImportFormat *format, const ImportFile *file, const ImportOptions *options,
                 Error *err);

#endif
