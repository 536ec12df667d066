#include "base/json.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/nearest.h"
#include "base/text.h"

struct Json {
    char    *name;
    char    *text;
    size_t   length;
    json_t  *root;
    size_t   before;         /* lines of the file before it */
};

/* ---- reading ---------------------------------------------------------- */

static bool is_blank(const Json *doc)
{
    return strspn(doc->text, " \t\r\n") == doc->length;
}

/* Python's json writes these where a figure is missing or was divided by 0. */
static bool is_no_number(const json_error_t *fault)
{
    static const char *const words[] = {"'NaN'", "'Infinity'", "'-Infinity'", "'nan'",
                                        "'inf'", "'-'",        NULL};

    for (size_t i = 0; words[i]; i++)
        if (strstr(fault->text, words[i])) return true;
    return false;
}

/* What is wrong in words of the file's author, where jansson's are a programmer's. */
static void reason(const Json *doc, const json_error_t *fault, char *out, size_t size)
{
    const char *more = "";

    if (is_blank(doc))
        snprintf(out, size, "%s", "empty, expected an object");
    else if (doc->length >= 3 && memcmp(doc->text, "\xEF\xBB\xBF", 3) == 0)
        snprintf(out, size, "%s", "starts with a byte order mark, expected UTF-8 without one");
    else if (json_error_code(fault) == json_error_null_character)
        snprintf(out, size, "%s", "\\u0000 in a string, expected text without it");
    else {
        if (json_error_code(fault) == json_error_invalid_utf8) more = ", expected UTF-8";
        if (is_no_number(fault)) more = ": expected a finite number";
        snprintf(out, size, "%s%s", fault->text, more);
    }
}

static int not_json(const Json *doc, size_t line, size_t column, const char *why, Error *err)
{
    return error_set(err, "%s:%zu:%zu: not JSON: %s", doc->name, doc->before + line,
                     column > 0 ? column : 1, why);
}

/* jansson takes a byte of 0 for the end of the text in some places, and passes over it in
 * others. */
static int refuse_nul(const Json *doc, Error *err)
{
    const char *nul = memchr(doc->text, '\0', doc->length);
    size_t      line = 1, column = 1;

    if (!nul) return 0;
    for (const char *c = doc->text; c < nul; c++) {
        column = *c == '\n' ? 1 : column + (((unsigned char)*c & 0xC0) != 0x80);
        line += *c == '\n';
    }
    return not_json(doc, line, column, "a byte of 0, expected text", err);
}

static int parse_text(Json *doc, Error *err)
{
    json_error_t fault;
    char         why[2 * sizeof fault.text];

    if (refuse_nul(doc, err) != 0) return -1;
    doc->root = json_loadb(doc->text, doc->length, JSON_REJECT_DUPLICATES, &fault);
    if (doc->root) return 0;
    if (fault.line < 0 || json_error_code(&fault) == json_error_out_of_memory)
        return error_no_memory(err);
    reason(doc, &fault, why, sizeof why);
    return not_json(doc, (size_t)fault.line, fault.column > 0 ? (size_t)fault.column : 1, why, err);
}

/* Takes text over, whether it succeeds or not. */
static int take_text(Json **out, const char *name, size_t before, char *text, size_t length,
                     Error *err)
{
    Json *doc = calloc(1, sizeof *doc);

    *out = NULL;
    if (!doc) { free(text); return error_no_memory(err); }
    doc->text = text;
    doc->length = length;
    doc->before = before;
    doc->name = strdup(name);
    if (!doc->name) { json_doc_free(doc); return error_no_memory(err); }
    if (parse_text(doc, err) != 0) { json_doc_free(doc); return -1; }
    *out = doc;
    return 0;
}

int json_doc_read(Json **out, const char *path, Error *err)
{
    char  *text;
    size_t length;

    *out = NULL;
    if (file_read(&text, &length, path, 0, err) != 0) return -1;
    return take_text(out, strcmp(path, "-") == 0 ? "<stdin>" : path, 0, text, length, err);
}

int json_doc_parse(Json **out, const char *name, const char *text, size_t length, Error *err)
{
    return json_line_parse(out, name, 0, text, length, err);
}

int json_line_parse(Json **out, const char *name, size_t before, const char *text, size_t length,
                    Error *err)
{
    char *copy = malloc(length + 1);

    *out = NULL;
    if (!copy) return error_no_memory(err);
    if (length > 0) memcpy(copy, text, length);
    copy[length] = '\0';
    return take_text(out, name, before, copy, length, err);
}

void json_doc_free(Json *doc)
{
    if (!doc) return;
    json_decref(doc->root);
    free(doc->name);
    free(doc->text);
    free(doc);
}

/* ---- places ----------------------------------------------------------- */

/* jansson asks for what is not const in order to walk through an object; nothing is changed. */
static json_t *object_of(const JsonAt *at)
{
    return json_is_object(at->value) ? (json_t *)(uintptr_t)at->value : NULL;
}

JsonAt json_root(const Json *doc)
{
    return (JsonAt){.doc = doc, .value = doc->root};
}

JsonAt json_member(const JsonAt *at, const char *key)
{
    return (JsonAt){
        .doc = at->doc, .parent = at, .key = key, .value = json_object_get(at->value, key)};
}

JsonAt json_element(const JsonAt *at, size_t index)
{
    assert(index < json_count(at));
    return (JsonAt){
        .doc = at->doc, .parent = at, .index = index, .value = json_array_get(at->value, index)};
}

size_t json_count(const JsonAt *at)
{
    return json_array_size(at->value);
}

size_t json_member_count(const JsonAt *at)
{
    return json_object_size(at->value);
}

const char *json_name_after(const JsonAt *at, const char *name)
{
    json_t *object = object_of(at);
    void   *next = !object ? NULL
                   : name  ? json_object_iter_next(object, json_object_key_to_iter(name))
                           : json_object_iter(object);

    return next ? json_object_iter_key(next) : NULL;
}

bool json_has(const JsonAt *at)
{
    return at->value != NULL;
}

bool json_has_null(const JsonAt *at)
{
    return json_is_null(at->value);
}

/* ---- positions: a walk over text that the reader has accepted ---------- */

typedef struct {
    const char *at, *end;
} Scan;

static void skip_space(Scan *scan)
{
    while (scan->at < scan->end && isspace((unsigned char)*scan->at)) scan->at++;
}

static void skip_string(Scan *scan)
{
    for (scan->at++; scan->at < scan->end && *scan->at != '"'; scan->at++)
        if (*scan->at == '\\') scan->at++;
    scan->at++;
}

/* Past one value of any kind, by counting brackets. */
static void skip_value(Scan *scan)
{
    int depth = 0;

    do {
        skip_space(scan);
        if (scan->at >= scan->end) return;
        char c = *scan->at;
        if (c == '"') { skip_string(scan); continue; }
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        if (strchr("{}[],:", c)) { scan->at++; continue; }
        while (scan->at < scan->end && !strchr("{}[],: \t\r\n", *scan->at)) scan->at++;
    } while (depth > 0);
}

/* Whether the string from its first quote to behind its last one says key. */
static bool key_is(const char *start, const char *end, const char *key)
{
    json_t *name = json_loadb(start, (size_t)(end - start), JSON_DECODE_ANY, NULL);
    bool    same = name && strcmp(json_string_value(name), key) == 0;

    json_decref(name);
    return same;
}

/* From the '{' of an object to the value (or, for unknown keys, the name) of key. */
static bool enter_member(Scan *scan, const char *key, bool want_name)
{
    scan->at++;
    for (;;) {
        skip_space(scan);
        if (scan->at >= scan->end || *scan->at != '"') return false;
        const char *name = scan->at;
        skip_string(scan);
        bool found = key_is(name, scan->at, key);
        if (found && want_name) { scan->at = name; return true; }
        skip_space(scan);
        scan->at++;                                   /* the colon */
        skip_space(scan);
        if (found) return true;
        skip_value(scan);
        skip_space(scan);
        scan->at++;                                   /* a comma, or the end */
        if (scan->at[-1] != ',') return false;
    }
}

static bool enter_element(Scan *scan, size_t index)
{
    scan->at++;
    for (;; index--) {
        skip_space(scan);
        if (index == 0) return true;
        skip_value(scan);
        skip_space(scan);
        scan->at++;
        if (scan->at[-1] != ',') return false;
    }
}

/* Moves scan to at's value; false when it is not in the text. */
static bool locate(Scan *scan, const JsonAt *at)
{
    if (!at->parent) { skip_space(scan); return true; }
    if (!locate(scan, at->parent)) return false;
    return at->key ? enter_member(scan, at->key, false) : enter_element(scan, at->index);
}

static void path_text(Text *path, const JsonAt *at)
{
    if (!at->parent) return;
    path_text(path, at->parent);
    if (at->key) text_printf(path, "%s%s", at->parent->parent ? "." : "", at->key);
    else         text_printf(path, "[%zu]", at->index);
}

/* "path:line:column: message, at <path>" for where scan stands. */
static int fail_here(const Scan *scan, const JsonAt *at, Error *err, const char *message)
{
    size_t line = at->doc->before + 1, column = 1;
    Text   path = {0};

    for (const char *c = at->doc->text; c < scan->at && c < scan->end; c++) {
        if (*c == '\n') { line++; column = 1; }
        else if (((unsigned char)*c & 0xC0) != 0x80) column++;
    }
    path_text(&path, at);
    error_set(err, "%s:%zu:%zu: %s%s%s", at->doc->name, line, column, message,
              path.length ? ", at " : "", text_string(&path));
    text_free(&path);
    return -1;
}

static Scan scan_start(const Json *doc)
{
    return (Scan){.at = doc->text, .end = doc->text + doc->length};
}

int json_fail(const JsonAt *at, Error *err, const char *format, ...)
{
    char    message[ERROR_MAX_TEXT];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    Scan scan = scan_start(at->doc);
    const JsonAt *known = at;
    while (!known->value && known->parent) known = known->parent;
    if (!locate(&scan, known)) scan = scan_start(at->doc);
    return fail_here(&scan, at, err, message);
}

/* ---- values ----------------------------------------------------------- */

static const char *const kind_words[] = {
    [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
    [JSON_INTEGER] = "a number", [JSON_REAL] = "a number", [JSON_TRUE] = "true or false",
    [JSON_FALSE] = "true or false", [JSON_NULL] = "null",
};

const char *json_shown(char out[JSON_SHOWN_BYTES], const char *text)
{
    size_t length = strlen(text);
    bool   cut = length > JSON_SHOWN_BYTES - 4;

    if (cut) length = JSON_SHOWN_BYTES - 4;
    while (cut && length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    strcpy(out + length, cut ? "..." : "");
    return out;
}

static int wrong_kind(const JsonAt *at, Error *err, const char *expected)
{
    if (!at->value) return json_fail(at, err, "missing, expected %s", expected);
    return json_fail(at, err, "expected %s, found %s", expected,
                     kind_words[json_typeof(at->value)]);
}

static int unknown_key(const JsonAt *at, const char *key, const char *const *names, Error *err)
{
    Text        message = {0};
    char        word[JSON_SHOWN_BYTES];
    const char *near = nearest_name(key, names);
    Scan        scan = scan_start(at->doc);

    text_printf(&message, "unknown key \"%s\"", json_shown(word, key));
    if (near) text_printf(&message, " (did you mean \"%s\"?)", near);
    text_append(&message, ", expected one of: ");
    for (size_t i = 0; names[i]; i++) text_printf(&message, "%s%s", i ? ", " : "", names[i]);
    if (!locate(&scan, at) || !enter_member(&scan, key, true)) scan = scan_start(at->doc);
    fail_here(&scan, at, err, text_string(&message));
    text_free(&message);
    return -1;
}

int json_check_keys(const JsonAt *at, const char *const *names, Error *err)
{
    if (json_get_object(at, err) != 0) return -1;
    for (const char *key = json_name_after(at, NULL); key; key = json_name_after(at, key)) {
        bool known = false;
        for (size_t i = 0; names[i] && !known; i++) known = strcmp(names[i], key) == 0;
        if (!known) return unknown_key(at, key, names, err);
    }
    return 0;
}

int json_get_array(const JsonAt *at, size_t minimum_count, Error *err)
{
    if (!json_is_array(at->value)) return wrong_kind(at, err, "an array");
    if (json_count(at) < minimum_count)
        return json_fail(at, err, "has %zu elements, expected at least %zu", json_count(at),
                         minimum_count);
    return 0;
}

int json_get_object(const JsonAt *at, Error *err)
{
    return json_is_object(at->value) ? 0 : wrong_kind(at, err, "an object");
}

int json_get_string(const JsonAt *at, const char **out, Error *err)
{
    if (!json_is_string(at->value)) return wrong_kind(at, err, "a string");
    *out = json_string_value(at->value);
    return 0;
}

int json_get_line(const JsonAt *at, const char **out, Error *err)
{
    const char *value = "";
    char        word[JSON_SHOWN_BYTES];

    if (json_get_string(at, &value, err) != 0) return -1;
    if (!*value) return json_fail(at, err, "empty, expected a line of text");
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return json_fail(at, err, "\"%s\" has a control character, expected one line of text",
                             json_shown(word, value));
    *out = value;
    return 0;
}

/* As a double 2^53 + 1 is 2^53, so integers are compared as integers; a real of 2^53
 * may have been rounded to it. */
static bool beyond_exact(const json_t *value)
{
    json_int_t integer = json_integer_value(value);

    if (json_is_integer(value)) return integer > JSON_MAX_INTEGER || integer < -JSON_MAX_INTEGER;
    return fabs(json_real_value(value)) >= (double)JSON_MAX_INTEGER;
}

int json_get_integer(const JsonAt *at, int64_t minimum, int64_t maximum, int64_t *out, Error *err)
{
    double value;

    if (!json_is_number(at->value)) return wrong_kind(at, err, "a whole number");
    value = json_number_value(at->value);
    if (beyond_exact(at->value))
        return json_fail(at, err, "beyond 2^53, where numbers stop being exact: expected at most "
                         "%" PRId64, maximum < JSON_MAX_INTEGER ? maximum : JSON_MAX_INTEGER);
    if (value != floor(value))
        return json_fail(at, err, "%g is not a whole number, expected one", value);
    if (value < (double)minimum)
        return json_fail(at, err, "%" PRId64 " is too small, expected at least %" PRId64,
                         (int64_t)value, minimum);
    if (value > (double)maximum)
        return json_fail(at, err, "%" PRId64 " is too large, expected at most %" PRId64,
                         (int64_t)value, maximum);
    *out = (int64_t)value;
    return 0;
}

int json_get_number(const JsonAt *at, double minimum, double *out, Error *err)
{
    if (!json_is_number(at->value)) return wrong_kind(at, err, "a number");
    double value = json_number_value(at->value);
    if (!isfinite(value)) return json_fail(at, err, "not a finite number");
    if (value < minimum)
        return json_fail(at, err, "%g is too small, expected at least %g", value, minimum);
    *out = value;
    return 0;
}

int json_get_bool(const JsonAt *at, bool *out, Error *err)
{
    if (!json_is_boolean(at->value)) return wrong_kind(at, err, "true or false");
    *out = json_is_true(at->value);
    return 0;
}

int json_get_us(const JsonAt *at, int64_t *out_ns, Error *err)
{
    double value;

    if (!json_is_number(at->value)) return wrong_kind(at, err, "a number of microseconds");
    value = json_number_value(at->value);
    if (value < 0)
        return json_fail(at, err, "%g is negative, expected microseconds of 0 or more", value);
    if (!(value * 1000.0 <= (double)JSON_MAX_INTEGER))
        return json_fail(at, err, "%g us is beyond 2^53 ns (104 days), expected microseconds",
                         value);
    *out_ns = llround(value * 1000.0);
    return 0;
}

int json_get_choice(const JsonAt *at, const char *const *names, int *out, Error *err)
{
    const char *value = json_is_string(at->value) ? json_string_value(at->value) : NULL;
    char        word[JSON_SHOWN_BYTES];
    Text        list = {0};

    for (int i = 0; value && names[i]; i++)
        if (strcmp(names[i], value) == 0) { *out = i; return 0; }
    text_append(&list, "one of: ");
    for (size_t i = 0; names[i]; i++) text_printf(&list, "%s\"%s\"", i ? ", " : "", names[i]);
    if (text_failed(&list)) error_no_memory(err);
    else if (!value)        wrong_kind(at, err, text_string(&list));
    else
        json_fail(at, err, "\"%s\" is not known, expected %s", json_shown(word, value),
                  text_string(&list));
    text_free(&list);
    return -1;
}

int json_check_versions(const Json *doc, const char *format, int64_t first, int64_t last,
                        int64_t *version, Error *err)
{
    JsonAt      root = json_root(doc);
    const char *found = "";
    char        word[JSON_SHOWN_BYTES];

    if (json_get_object(&root, err) != 0) return -1;
    JsonAt at = json_member(&root, "format");
    if (json_get_string(&at, &found, err) != 0) return -1;
    if (strcmp(found, format) != 0)
        return json_fail(&at, err, "is a \"%s\", expected a \"%s\"", json_shown(word, found),
                         format);
    at = json_member(&root, "version");
    if (json_get_integer(&at, 1, JSON_MAX_INTEGER, version, err) != 0) return -1;
    if (*version >= first && *version <= last) return 0;
    if (first == last)
        return json_fail(&at, err, "version %" PRId64 " is not known, expected %" PRId64, *version,
                         first);
    return json_fail(&at, err, "version %" PRId64 " is not known, expected %" PRId64 " to %" PRId64,
                     *version, first, last);
}

int json_check_format(const Json *doc, const char *format, int64_t version, Error *err)
{
    int64_t found = 0;

    return json_check_versions(doc, format, version, version, &found, err);
}
