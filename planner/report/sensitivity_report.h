/* Sensitivities (planner/whatif/sensitivity.h) as text: the tightest in a table, all of them in
 * JSON. margins NULL: nothing, and null. */
#ifndef PLANNER_REPORT_SENSITIVITY_REPORT_H
#define PLANNER_REPORT_SENSITIVITY_REPORT_H

#include "base/text.h"
#include "planner/whatif/sensitivity.h"

/* Append: the tightest as lines for people; all of them as a JSON value. */
void sensitivity_table(const Sensitivities *margins, Text *out);
void sensitivity_json(const Sensitivities *margins, Text *out);

#endif
