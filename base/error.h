/* Errors: one line of text, set where the fault is found, printed by main().
 *
 * A function that can fail takes an Error * last and returns 0 or -1. Libraries
 * never print and never exit. Text about an input starts with the input's own
 * position: "path:line:column: what is wrong, at blocks[3].name, and what was
 * expected". */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

#include "base/plugin.h"

#define ERROR_MAX_TEXT 1024

typedef struct {
    char text[ERROR_MAX_TEXT];   /* "" when nothing went wrong */
} Error;

/* Writes the message (cut at ERROR_MAX_TEXT - 1 bytes, never in the middle of a
 * UTF-8 character) and returns -1, so that "return error_set(err, ...)" fails.
 * err may be NULL: the message is dropped. */
FOR_PLUGINS int error_set(Error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The message for a failed allocation; returns -1. */
FOR_PLUGINS int error_no_memory(Error *err);

/* Whether err says just that: such a failure is no answer, whatever was asked. */
bool error_is_no_memory(const Error *err);

/* Puts "text: " before the message that err already holds; returns -1. */
int error_prefix(Error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
