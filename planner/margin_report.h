/* Margins (planner/certify.h) as text: the tightest in a table, all of them in JSON.
 * margins NULL: nothing, and null. */
#ifndef PLANNER_MARGIN_REPORT_H
#define PLANNER_MARGIN_REPORT_H

#include "base/text.h"
#include "planner/certify.h"

void margins_table(const Margins *margins, Text *out);
void margins_json(const Margins *margins, Text *out);

#endif
