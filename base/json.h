/* JSON with positions: an error names the line and column of the offending value.
 *
 * jansson reads the text. Its values keep no positions, so they are found only when needed:
 * json_fail() walks the text again to the value that a path names. Refused are: bytes that are not
 * UTF-8, bytes of 0, duplicate names, a root that is no object or array, bytes after the root,
 * \u0000, NaN, infinity, integers beyond 64 bits, reals beyond a double, more than 2,048 values in
 * each other, and all else that RFC 8259 does not allow. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define JSON_MAX_INTEGER ((int64_t)1 << 53)      /* beyond, a double is not exact */

/* A document: the text, the tree of its values, and its name for messages. */
typedef struct Json Json;

struct json_t;               /* a value of jansson's */

/* Reads a file ("-" is standard input). *out is yours: json_doc_free() it. */
int json_doc_read(Json **out, const char *path, Error *err);

/* The same from memory; name stands for the path in messages. Borrows nothing
 * after the call. */
int json_doc_parse(Json **out, const char *name, const char *text, size_t length, Error *err);

/* The same for a line of a file of JSON lines: before is how many lines come before it. */
int json_line_parse(Json **out, const char *name, size_t before, const char *text, size_t length,
                    Error *err);

void json_doc_free(Json *doc);

/* A place in the document. It is a value with a link to where it was found, kept
 * on the caller's stack; parent is borrowed and must outlive it. */
typedef struct JsonAt {
    const Json          *doc;
    const struct JsonAt *parent;   /* NULL at the root */
    const char          *key;      /* member name, or NULL: an array's element */
    size_t               index;    /* element number when key is NULL */
    const struct json_t *value;    /* borrowed; NULL: the member is absent */
} JsonAt;

/* The document's value, a member, an element: a place, which borrows doc and at. A member that is
 * absent has value NULL, and so have members of it; json_get_*() say so with the path to it. */
JsonAt json_root(const Json *doc);
JsonAt json_member(const JsonAt *at, const char *key);      /* value NULL when absent */
JsonAt json_element(const JsonAt *at, size_t index);        /* index < json_count() */
size_t json_count(const JsonAt *at);                        /* 0 when no array */
bool   json_has(const JsonAt *at);                          /* value is there */
bool   json_has_null(const JsonAt *at);                     /* and it is null */

/* How many members an object has; 0 when no object. Their names, borrowed, in the order of the
 * text: the first one (name NULL), or the one behind name, which came from here; NULL: no more. */
size_t      json_member_count(const JsonAt *at);
const char *json_name_after(const JsonAt *at, const char *name);

/* Sets "path:line:column: <message>, at <blocks[3].name>" and returns -1. The
 * position is that of the value, or of the parent object when it is absent. At the
 * root the ", at ..." part is left out. */
int json_fail(const JsonAt *at, Error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A string of the input as it may stand in a message: at most JSON_SHOWN_BYTES - 4
 * bytes of whole characters, then "...", with ? for control characters. Returns out. */
enum { JSON_SHOWN_BYTES = 64 };
const char *json_shown(char out[JSON_SHOWN_BYTES], const char *text);

/* Refuses members not among the names (a NULL-terminated list): 'unknown key "bach"
 * (did you mean "batch"?), expected one of: ...'. Also refuses a value that is no
 * object. */
int json_check_keys(const JsonAt *at, const char *const *names, Error *err);

/* Values, required: absent is an error too. Strings are borrowed from the document.
 * Integers: whole numbers of minimum..maximum (45000.0 is accepted as 45000); beyond
 * 2^53 refused in those words. Numbers: finite doubles of at least minimum. */
int json_get_array(const JsonAt *at, size_t minimum_count, Error *err);
int json_get_object(const JsonAt *at, Error *err);
int json_get_string(const JsonAt *at, const char **out, Error *err);
int json_get_line(const JsonAt *at, const char **out, Error *err);    /* a string: not empty, no
                                                                       * control characters */
int json_get_integer(const JsonAt *at, int64_t minimum, int64_t maximum, int64_t *out, Error *err);
int json_get_number(const JsonAt *at, double minimum, double *out, Error *err);
int json_get_bool(const JsonAt *at, bool *out, Error *err);

/* Microseconds in the text, nanoseconds in memory: rounded to the nearest; refuses
 * negatives and more than 2^53 ns (104 days). */
int json_get_us(const JsonAt *at, int64_t *out_ns, Error *err);

/* One of the names (NULL-terminated); *out is its index. */
int json_get_choice(const JsonAt *at, const char *const *names, int *out, Error *err);

/* Checks "format" and "version" of the root. */
int json_check_format(const Json *doc, const char *format, int64_t version, Error *err);

/* The same where versions first to last are known; *version is which. */
int json_check_versions(const Json *doc, const char *format, int64_t first, int64_t last,
                        int64_t *version, Error *err);

#endif
