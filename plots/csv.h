/* CSV (RFC 4180): a header and rows of as many fields. */
#ifndef PLOTS_CSV_H
#define PLOTS_CSV_H

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

typedef struct {
    Arena   arena;           /* owns the rest */
    char ***rows;            /* [row_count][columns]; row 0 is the header */
    int    *lines;           /* [row_count] where a row begins in the text, from 1 */
    int     row_count, columns;
} Csv;

/* name stands for the path in messages ("name:line:column: ..."). csv_free() out
 * whether it fails or not. */
int  csv_parse(Csv *out, const char *name, const char *text, size_t length, Error *err);
void csv_free(Csv *csv);

/* One field as RFC 4180 wants it: in quotes where it must be. */
void csv_field(Text *out, const char *string);

#endif
