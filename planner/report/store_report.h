/* The answer to "store, recompute or relay?" in words and as JSON. */
#ifndef PLANNER_REPORT_STORE_REPORT_H
#define PLANNER_REPORT_STORE_REPORT_H

#include "base/text.h"
#include "planner/compare_rows.h"

/* "store: boundaries 2 to 6 in host (38 GiB); pays from epoch 3 on; ...": nothing where store has
 * no plan. -1 without memory. */
int store_report(const Comparison *comparison, const Scenario *scenario, Text *out, Error *err);

/* "store": {...}, with a comma and a newline behind; nothing where store has no plan. */
int store_report_json(const Comparison *comparison, const Scenario *scenario, Text *out,
                      Error *err);

#endif
