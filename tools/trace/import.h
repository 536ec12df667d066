/* pipebd-trace import. */
#ifndef TOOLS_TRACE_IMPORT_H
#define TOOLS_TRACE_IMPORT_H

#include "base/error.h"
#include "base/options.h"
#include "traces/import/import.h"

typedef struct {
    ImportOptions options;
    const char   *student, *output, *model_info, *network;
    int           from;              /* index into import_format_names, or NO_CHOICE */
} ImportSettings;

/* What it needs, and nothing that has no effect. */
int trace_import_check(const Option *table, const ImportSettings *settings, int files, Error *err);

/* Writes the trace. Opens and reads what is needed. */
int trace_import(const char *const *paths, int count, ImportSettings *settings, Error *err);

#endif
