/* A format of other programs that can be imported: its files, options and reader. */
#ifndef TRACES_IMPORT_FORMAT_H
#define TRACES_IMPORT_FORMAT_H

#include <stddef.h>

#include "base/options.h"
#include "traces/trace.h"

typedef struct {
    const char *name;            /* for messages; borrowed */
    const char *text;            /* NULL: no such file; of formats that stream: what is to be opened
                                  * as name */
    size_t      length;
} ImportFile;

/* Told how many bytes more of the files have been read. */
typedef void ImportProgress(void *context, int64_t bytes);

typedef struct {
    const char *name;            /* of the trace and its workload */
    const char *date;            /* "YYYY-MM-DD" or NULL */
    OptionList  device;          /* kinds of the devices that were profiled; none: what the file
                                  * says, or "unknown" */
    OptionIntegers devices;      /* of each kind; none: as many as the file speaks of, or 1 */
    int64_t     batch, samples;  /* at least 1 */
    ImportFile  student;         /* pipedream; kineto, where name is set */
    const char *cuts, *student_cuts;             /* pipedream: "node4,node9", or NULL */
    const char *boundary_bytes, *gradient_bytes; /* pipe-bd-log: "98304,32768", or NULL */
    const char *blocks;          /* kineto: "conv1,conv2", or NULL */
    int64_t     depth;           /* kineto: of modules, 1: the outermost; 0: by itself */
    OptionIntegers rows;         /* kineto: of a step of each file; none: batch */
    ImportFile  model_info, network;     /* sailor; text NULL: none */
    const char *model;           /* sailor: of model_info; NULL: told by the files' names */
    int64_t     tensor_degree;   /* sailor; 0: the least that was profiled */
    int64_t     machine_devices; /* sailor: on one machine; 0: all */
    ImportProgress *progress;    /* or NULL */
    void       *progress_context;
} ImportOptions;

typedef struct {
    const char *name;            /* "pipedream" */
    const char *options;         /* those beyond the common ones, "student cuts" */
    int         most_files;
    bool        streams;         /* opens its files itself */
    /* Fills blocks, kinds, links and notes of a trace that import_trace() began. */
    int (*read)(Trace *trace, Text *notes, const ImportFile *files, int count,
                const ImportOptions *options, Error *err);
} ImportFormat;

#endif
