/* Text: a string that grows, for reports and files that are written at once.
 *
 * A failed allocation is remembered: later appends do nothing and text_failed()
 * tells, so that a writer checks once, at its end. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/plugin.h"

typedef struct {
    char  *bytes;            /* owned; NUL-terminated, NULL while empty */
    size_t length, capacity;
    bool   failed;
} Text;                      /* {0} is empty */

/* Append a string, bytes, or what printf() would print. Nothing of it is appended when memory
 * lacks. */
FOR_PLUGINS void text_append(Text *text, const char *string);
void text_append_bytes(Text *text, const char *bytes, size_t length);
FOR_PLUGINS void text_printf(Text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* string as a JSON string, quotes and escapes included. */
void text_json_string(Text *text, const char *string);

/* string as one word of a POSIX shell: as it is, or in single quotes. */
void text_shell_word(Text *text, const char *string);

/* The shortest decimal that reads back as value ("0.1", "45000", "1e+300"; whole
 * numbers below 1e15 without an exponent); never NaN or infinity (asserted). */
void text_json_double(Text *text, double value);

/* The other way: a decimal number (".5", "-3", "1e6") as strtod() reads it, but no spaces before
 * it, no hexadecimal, no infinity and no NaN, and none too large or too near 0 for a double. scan:
 * where text begins with one; returns where it ends, or NULL. parse: text is one, whole. *out is
 * set only then. */
const char *number_scan(const char *text, double *out);
bool        number_parse(const char *text, double *out);

/* Nanoseconds as microseconds, exact, without trailing zeros: 1500 -> "1.5". */
void text_us(Text *text, int64_t ns);

/* string, with U+FFFD for every byte that is not part of a character of UTF-8. */
void text_utf8(Text *text, const char *string);

/* A command line that a POSIX shell takes back as it is, words quoted where they must be: the
 * program without its folder, then the rest. In UTF-8, as text_utf8() makes it. */
void text_command(Text *text, int argc, char *const *argv);

/* Pads with spaces so that the current line is at least column wide. Columns
 * count characters of UTF-8, not bytes. */
void text_pad(Text *text, size_t column);

/* How many columns it takes, a character each. */
size_t text_columns(const char *utf8, size_t length);

/* The string, never NULL; borrowed until the next append. */
FOR_PLUGINS const char *text_string(const Text *text);

/* An append failed: the text is not whole. */
FOR_PLUGINS bool text_failed(const Text *text);
FOR_PLUGINS void text_free(Text *text);

#endif
