/* Text in HTML. */
#ifndef PLOTS_HTML_TEXT_H
#define PLOTS_HTML_TEXT_H

#include "base/text.h"

/* string as text, or as the value of an attribute in double quotes, whatever it contains:
 * markup is escaped, control characters are spaces, and what is not UTF-8 is U+FFFD. */
void html_text(Text *out, const char *string);

#endif
