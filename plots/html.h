/* HTML pages that stand alone: styles and drawings are in the page, nothing is fetched. One
 * look for all of them: light or dark as the reader's system is, narrow screens, paper. Pictures
 * are gnuplot's (plots/picture.h). */
#ifndef PLOTS_HTML_H
#define PLOTS_HTML_H

#include <stdbool.h>

#include "base/text.h"
#include "plots/html_text.h"
#include "plots/palette.h"

/* Everything before a page's own content, and after it. */
void html_begin(Text *out, const char *title);
void html_end(Text *out);

/* <section> with a heading; lead, in words of our own (may hold markup), or NULL. */
void html_section(Text *out, const char *id, const char *heading, const char *lead);
void html_section_end(Text *out);

/* A table that scrolls within itself. heads: of each column "name|unit" or "name"; a first "<"
 * aligns the column left. NULL ends. caption may be NULL. Rows and cells are up to the caller. */
void html_table(Text *out, const char *caption, const char *const *heads);
void html_table_end(Text *out);

/* A command to copy, in a box of its own. */
void html_command(Text *out, const char *command);

/* A legend: html_key() between begin and end. class: of the colour. */
void html_keys(Text *out);
void html_key(Text *out, const char *class, const char *name);
void html_keys_end(Text *out);

/* ---- colours ----------------------------------------------------------------------- */

/* The class of a colour, "s-dp", "t-load", "m-weights", "o-teacher": static strings. */
const char *class_of_schedule(Schedule schedule);
const char *class_of_share(TimeShare share);
const char *class_of_memory(MemoryPart part);
const char *class_of_op(Op op);

/* The style sheet without the colours (plots/html_style.c). */
extern const char *const html_style[];       /* pieces; NULL ends */

/* ---- numbers -------------------------------------------------------------------------- */

/* Digits after the point with which numbers up to most show about four. */
int digits_for(double most);

/* "12.3 MiB", "1.25 GiB"; out: at least 24 bytes. Returns out. */
char *bytes_shown(char *out, double bytes);

#endif
