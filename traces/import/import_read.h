/* Inside the imports: lines of text with positions, and the parts of a trace. */
#ifndef TRACES_IMPORT_READ_H
#define TRACES_IMPORT_READ_H

#include "traces/import/import_format.h"

/* ---- lines ------------------------------------------------------------------------- */

typedef struct {
    const char *name;            /* of the file */
    const char *next, *end;      /* of the text not read yet */
    const char *line, *stop;     /* the line, without its end */
    int         number;          /* from 1 */
} ImportLines;

/* Before the first line; next moves to the one behind, false at the end. Borrows file's text. */
ImportLines lines_start(const ImportFile *file);
bool  lines_next(ImportLines *lines);

/* "name:line:column: message", at being a byte of the line or its stop. Returns -1. */
int lines_fail(const ImportLines *lines, const char *at, Error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Each moves *at, which stands in the line, over what it reads. */
bool skip_word(const ImportLines *lines, const char **at, const char *word);
int  read_word(const ImportLines *lines, const char **at, const char *word, Error *err);

/* A decimal number, at least 0 and at most 1e15: digits, a point, an exponent. */
int  read_number(const ImportLines *lines, const char **at, double *out, Error *err);

/* "98304,32768": whole numbers separated by commas, at most TRACE_MAX_BLOCKS of them. The
 * numbers are the arena's; option is for messages. */
int read_bytes_list(int64_t **out, int *count, const char *list, const char *option, Arena *arena,
                    Error *err);

/* ---- parts of a trace ------------------------------------------------------------------ */

/* Room for blocks without a name, with no byte counts and no timings on any of the kinds there
 * are. */
int import_blocks(Trace *trace, int count, Error *err);

/* The times of a block at a batch, in milliseconds. file and line are for messages. */
int import_timing(Trace *trace, int block, int64_t batch, double teacher_ms, double forward_ms,
                  double backward_ms, const ImportFile *file, int line, Error *err);

/* A point of a curve of the trace's links. */
int import_point(Trace *trace, Curve *curve, int64_t x, double ms, Error *err);

/* Names the kinds, as many devices of each as asked for, or 1. Their memory is not known. */
int import_kinds(Trace *trace, const char *const *names, int count, const ImportOptions *options,
                 Error *err);

/* The readers of the formats. */
extern const ImportFormat import_kineto, import_sailor, import_nsys, import_pipedream,
    import_pipe_bd_log;

#endif
