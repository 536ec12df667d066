/* One page about a run: everything that a comparison or a validation says, timelines and sweeps
 * beside it. */
#ifndef PLOTS_REPORT_PAGE_H
#define PLOTS_REPORT_PAGE_H

#include "base/error.h"
#include "base/text.h"

/* Reads the files, each for what it is: at most one comparison and one validation, at least one
 * of these; up to REPORT_TIMELINES timelines and REPORT_SWEEPS sweeps (CSV). command, that made
 * the page, is shown on it; NULL: none. Fails where two say that they are of different traces.
 * Reading errors carry path:line:column. */
int report_page(Text *out, const char *const *paths, int count, const char *command, Error *err);

#endif
