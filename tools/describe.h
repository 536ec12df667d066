/* What pipebd-workload show and pipebd-run describe print. */
#ifndef TOOLS_DESCRIBE_H
#define TOOLS_DESCRIBE_H

#include "base/error.h"

/* format: an index into describe_formats. */
extern const char *const describe_formats[];
int describe_print(const char *path, int format, Error *err);

#endif
