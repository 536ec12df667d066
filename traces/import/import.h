/* Imports: what other programs print about a network becomes a trace of kind "imported".
 *
 *   kineto        the profile that torch.profiler writes, a file a batch and kind of device,
 *                 read a piece at a time                          (import_kineto.c)
 *   pipedream     the graph that PipeDream's profiler writes, one of the teacher and one of
 *                 the student                                       (import_pipedream.c)
 *   nsys          a database of Nsight Systems with NVTX ranges, a file a batch and kind
 *                 of device; needs SQLite                         (import_nsys.c)
 *   sailor        Sailor's profiles of language models, a file a kind of device   (import_sailor.c)
 *   pipe-bd-log   the block times that the original Pipe-BD prints  (import_pipe_bd_log.c)
 *
 * docs/traces.md says which lines are understood. What a file does not say, and what was
 * assumed for it, stands in the trace's notes. */
#ifndef TRACES_IMPORT_H
#define TRACES_IMPORT_H

#include "traces/import/import_format.h"

extern const char *const import_format_names[];  /* NULL-terminated */

/* By its index among the names. */
const ImportFormat *import_format(int index);

/* Whether a format takes one of ImportFormat.options, by its name. */
bool import_takes(const ImportFormat *format, const char *option);

/* *out is yours: trace_free() it. It has passed all checks of a trace. Errors carry
 * path:line:column of the file imported. */
int import_trace(Trace **out, const ImportFormat *format, const ImportFile *files, int count,
                 const ImportOptions *options, Error *err);

#endif
