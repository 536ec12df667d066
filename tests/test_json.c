/* base/json: positions, refusals, values. Positions are checked against a slow honest
 * model, a parser of its own that walks the text from its start. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "base/text.h"

/* ---- helpers ------------------------------------------------------------- */

static Json *parse(const char *text)
{
    Json *doc = NULL;
    Error err = {0};

    if (json_doc_parse(&doc, "t", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    assert_string_equal(err.text, "");
    return doc;
}

static void refused(const char *text, size_t length, const char *expected)
{
    Json *doc = (Json *)1;
    Error err = {0};

    assert_int_equal(json_doc_parse(&doc, "t", text, length, &err), -1);
    assert_null(doc);
    if (!strstr(err.text, expected)) fail_msg("\"%s\" is not in \"%s\"", expected, err.text);
}

/* A check of the member "v" of a one-line document. */
typedef int Check(const JsonAt *at, Error *err);

static void check_v(const char *text, Check *check, const char *expected)
{
    Json  *doc = parse(text);
    JsonAt root = json_root(doc);
    JsonAt at = json_member(&root, "v");
    Error  err = {0};
    int    rc = check(&at, &err);

    assert_string_equal(err.text, expected);
    assert_int_equal(rc, expected[0] ? -1 : 0);
    json_doc_free(doc);
}

/* ---- documents ----------------------------------------------------------- */

static void bad_documents_are_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *expected; } cases[] = {
        {"", "t:1:1: not JSON"},
        {"   ", "t:1:"},
        {"{", "t:1:1: not JSON"},
        {"{\"a\": 1,}", "t:1:9: not JSON"},
        {"{\n \"a\" 1}", "t:2:"},
        {"{\"a\": NaN}", "not JSON"},
        {"{\"a\": Infinity}", "not JSON"},
        {"{\"a\": 1e999}", "not JSON"},
        {"{\"a\": 1} x", "not JSON"},
        {"{\"a\": 1}{}", "not JSON"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": 01}", "not JSON"},
        {"{'a': 1}", "not JSON"},
        {"// no\n{}", "not JSON"},
        {"{\"a\": \"\xff\"}", "not JSON"},
        {"\"a string\"", "not JSON"},
        {"{\"a\": 99999999999999999999}", "not JSON"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].text, strlen(cases[i].text), cases[i].expected);
    refused("{}\0{}", 5, "not JSON");
    refused("{\"a\": \"\\u0000\"}", 15, "not JSON");
    refused(NULL, 0, "not JSON");
}

static void deep_nesting_is_refused_not_a_crash(void **state)
{
    (void)state;
    size_t length = 200000;
    char  *text = malloc(length);

    assert_non_null(text);
    memset(text, '[', length);
    refused(text, length, "not JSON");
    free(text);
}

static void free_accepts_null(void **state)
{
    (void)state;
    json_doc_free(NULL);
}

static void files_are_read(void **state)
{
    (void)state;
    char  *folder = temp_make();
    char  *path = format_text("%s/a.json", folder);
    Json  *doc;
    Error  err = {0};

    spill(path, "{\n  \"v\": true\n}\n");
    assert_int_equal(json_doc_read(&doc, path, &err), 0);
    JsonAt root = json_root(doc), at = json_member(&root, "v");
    bool   value = false;
    assert_int_equal(json_get_bool(&at, &value, &err), 0);
    assert_true(value);
    json_fail(&at, &err, "no");
    char *expected = format_text("%s:2:8: no, at v", path);
    assert_string_equal(err.text, expected);
    free(expected);
    json_doc_free(doc);

    assert_int_equal(json_doc_read(&doc, folder, &err), -1);
    assert_non_null(strstr(err.text, "is a directory"));
    assert_null(doc);
    temp_remove(folder);
    assert_int_equal(json_doc_read(&doc, path, &err), -1);
    assert_non_null(strstr(err.text, "cannot open"));
    free(path);
}

/* The text may vanish: the document keeps its own. */
static void nothing_is_borrowed(void **state)
{
    (void)state;
    char  text[] = "{\"v\": -1}", name[] = "name";
    Json *doc;
    Error err = {0};

    assert_int_equal(json_doc_parse(&doc, name, text, strlen(text), &err), 0);
    memset(text, 'x', sizeof text - 1);
    memset(name, 'x', sizeof name - 1);
    JsonAt root = json_root(doc), at = json_member(&root, "v");
    json_fail(&at, &err, "no");
    assert_string_equal(err.text, "name:1:7: no, at v");
    json_doc_free(doc);
}

/* ---- places -------------------------------------------------------------- */

static void places_and_paths(void **state)
{
    (void)state;
    Json *doc = parse("{ \"blocks\": [ {}, {\"timings\": [0, {\"us\" : 5}]} ],\n"
                      "  \"tail\" :\n\t[ ] }");
    JsonAt root = json_root(doc);
    JsonAt blocks = json_member(&root, "blocks"), one = json_element(&blocks, 1);
    JsonAt timings = json_member(&one, "timings"), last = json_element(&timings, 1);
    JsonAt us = json_member(&last, "us"), gone = json_member(&last, "gone");
    JsonAt deeper = json_member(&gone, "still"), tail = json_member(&root, "tail");
    Error  err = {0};

    assert_true(json_has(&us));
    assert_false(json_has(&gone));
    assert_false(json_has(&deeper));
    assert_int_equal(json_count(&blocks), 2);
    assert_int_equal(json_count(&tail), 0);
    assert_int_equal(json_count(&us), 0);
    assert_int_equal(json_count(&gone), 0);

    assert_int_equal(json_fail(&us, &err, "is %d", 5), -1);
    assert_string_equal(err.text, "t:1:43: is 5, at blocks[1].timings[1].us");
    json_fail(&gone, &err, "missing");
    assert_string_equal(err.text, "t:1:35: missing, at blocks[1].timings[1].gone");
    json_fail(&deeper, &err, "missing");
    assert_string_equal(err.text, "t:1:35: missing, at blocks[1].timings[1].gone.still");
    json_fail(&tail, &err, "empty");
    assert_string_equal(err.text, "t:3:2: empty, at tail");
    json_fail(&root, &err, "whole");
    assert_string_equal(err.text, "t:1:1: whole");
    assert_int_equal(json_fail(&root, NULL, "dropped"), -1);
    json_doc_free(doc);
}

/* Columns count characters; keys may be written with escapes; strings may hold
 * brackets, quotes and backslashes that a careless walk would count. */
static void positions_in_awkward_text(void **state)
{
    (void)state;
    static const struct { const char *text; int line, column; } cases[] = {
        {"{\"v\":1}", 1, 6},
        {"\n\n  {\n\"v\"\n:\n 1}", 6, 2},
        {"\r\n{\"v\":1}", 2, 6},
        {"{\"\xc3\xa9\xe2\x82\xac\": 0, \"v\": 1}", 1, 16},
        {"{\"a\": \"]}\\\"{[\", \"v\": 1}", 1, 22},
        {"{\"a\": \"\\\\\", \"v\": 1}", 1, 18},
        {"{\"a\": {\"v\": 2}, \"v\": 1}", 1, 22},
        {"{\"a\": [[], {}, [{\"v\": [2]}]], \"v\": 1}", 1, 36},
        {"{\"a\": -1.5e-3,\"b\":null,\"c\":true,\"v\":1}", 1, 37},
        {"{\"\\u0076\": 1}", 1, 12},
        {"{\"vv\": 1, \"\": 2, \"v\": 3}", 1, 23},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Json  *doc = parse(cases[i].text);
        JsonAt root = json_root(doc), at = json_member(&root, "v");
        Error  err = {0};
        char  *expected = format_text("t:%d:%d: x, at v", cases[i].line, cases[i].column);

        json_fail(&at, &err, "x");
        assert_string_equal(err.text, expected);
        free(expected);
        json_doc_free(doc);
    }
}

/* ---- positions against a model ------------------------------------------- */

/* Writes random JSON and notes, while writing, where one chosen value begins. */
typedef struct {
    Rng    rng;
    Text   text;
    long   wanted, written;       /* the number of the value to note, in writing order */
    size_t offset;                /* where it began */
    char   path[512], found[512]; /* the path now, and that of the noted value */
} Writer;

static void write_space(Writer *w)
{
    static const char *const spaces[] = {"", "", " ", "\n", " \t", "\r\n  "};

    text_append(&w->text, spaces[rng_range(&w->rng, 0, 5)]);
}

static void write_value(Writer *w, int depth);

static void write_members(Writer *w, int depth, bool object)
{
    int64_t count = rng_range(&w->rng, 0, 4);
    size_t  length = strlen(w->path);

    text_append(&w->text, object ? "{" : "[");
    for (int64_t i = 0; i < count; i++) {
        if (i) text_append(&w->text, ",");
        write_space(w);
        if (object) {
            text_printf(&w->text, "\"k\xc3\xa9%d\"", (int)i);
            write_space(w);
            text_append(&w->text, ":");
            snprintf(w->path + length, sizeof w->path - length, "%sk\xc3\xa9%d", length ? "." : "",
                     (int)i);
        } else {
            snprintf(w->path + length, sizeof w->path - length, "[%d]", (int)i);
        }
        write_space(w);
        write_value(w, depth - 1);
        w->path[length] = '\0';
        write_space(w);
    }
    text_append(&w->text, object ? "}" : "]");
}

static void write_value(Writer *w, int depth)
{
    static const char *const scalars[] = {"0", "-1.5e3", "true", "null", "\"\"", "\"{[,:\\\"]\"",
                                          "\"\\\\\"", "\"\xe2\x82\xac\\u0041\""};

    if (w->written++ == w->wanted) {
        w->offset = w->text.length;
        snprintf(w->found, sizeof w->found, "%s", w->path);
    }
    int64_t kind = depth > 0 ? rng_range(&w->rng, 0, 3) : 3;
    if (kind <= 1) write_members(w, depth, kind == 0);
    else           text_append(&w->text, scalars[rng_range(&w->rng, 0, 7)]);
}

/* Walks to a path such as a.b[3].c and makes the error there; parents stay on the
 * stack, as in real callers. */
static void fail_at_path(const JsonAt *at, const char *path, Error *err)
{
    char   key[64];
    JsonAt next;

    if (!*path) { json_fail(at, err, "here"); return; }
    if (*path == '.') path++;
    if (*path == '[') {
        char *end;
        next = json_element(at, strtoul(path + 1, &end, 10));
        fail_at_path(&next, end + 1, err);
        return;
    }
    size_t length = strcspn(path, ".[");
    snprintf(key, sizeof key, "%.*s", (int)length, path);
    next = json_member(at, key);
    fail_at_path(&next, path + length, err);
}

/* Line and column of a byte, counted the plain way. */
static void model_position(const char *text, size_t offset, int *line, int *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') { *line += 1; *column = 1; }
        else if (((unsigned char)text[i] & 0xC0) != 0x80) *column += 1;
    }
}

/* One random document: an error at the value noted must stand where it began. False
 * when the document was too small to have a value of that number. */
static bool position_matches(uint64_t seed, long wanted)
{
    Writer w = {.rng = {.seed = seed}, .wanted = wanted, .written = 1};    /* the root is 0 */
    Error  err = {0};
    int    line, column;

    write_space(&w);
    write_members(&w, 4, seed % 2 == 0);
    bool noted = w.written > w.wanted;
    if (noted) {
        Json  *doc = parse(text_string(&w.text));
        JsonAt root = json_root(doc);
        fail_at_path(&root, w.found, &err);
        model_position(text_string(&w.text), w.offset, &line, &column);
        char *expected = format_text("t:%d:%d: here, at %s", line, column, w.found);
        if (strcmp(err.text, expected) != 0)
            fail_msg("%s, expected %s, in %s", err.text, expected, text_string(&w.text));
        free(expected);
        json_doc_free(doc);
    }
    text_free(&w.text);
    return noted;
}

static void positions_match_the_model(void **state)
{
    (void)state;
    uint64_t seed = test_seed("positions_match_the_model", 1);
    int      compared = 0;

    for (uint64_t round = 0; round < 2000; round++)
        compared += position_matches(seed + round, 1 + (long)(round % 7));
    assert_true(compared > 1000);
}

/* ---- keys ---------------------------------------------------------------- */

static int known_keys(const JsonAt *at, Error *err)
{
    static const char *const names[] = {"batch", "samples", "name", NULL};

    return json_check_keys(at, names, err);
}

static void unknown_keys_are_named(void **state)
{
    (void)state;
    check_v("{\"v\": {}}", known_keys, "");
    check_v("{\"v\": {\"name\": 1, \"batch\": 2}}", known_keys, "");
    check_v("{\"v\": {\"name\": 1,\n \"bach\": 2}}", known_keys,
            "t:2:2: unknown key \"bach\" (did you mean \"batch\"?), expected one of: batch, "
            "samples, name, at v");
    check_v("{\"v\": {\"zzzzzz\": 2}}", known_keys,
            "t:1:8: unknown key \"zzzzzz\", expected one of: batch, samples, name, at v");
    check_v("{\"v\": {\"ba\\nch\": 2}}", known_keys,
            "t:1:8: unknown key \"ba?ch\" (did you mean \"batch\"?), expected one of: batch, "
            "samples, name, at v");
    check_v("{\"v\": []}", known_keys, "t:1:7: expected an object, found an array, at v");
    check_v("{}", known_keys, "t:1:1: missing, expected an object, at v");
}

/* The cut falls between characters: 59 bytes of x leave no room for a whole euro. */
static void long_keys_are_cut_between_characters(void **state)
{
    (void)state;
    char  xs[60] = {0};

    memset(xs, 'x', 59);
    char *text = format_text("{\"v\": {\"%s\xe2\x82\xac\": 2}}", xs);
    char *expected = format_text("t:1:8: unknown key \"%s...\", expected one of: batch, samples, "
                                 "name, at v", xs);
    check_v(text, known_keys, expected);
    free(text);
    free(expected);
}

/* ---- values -------------------------------------------------------------- */

static int get_integer(const JsonAt *at, Error *err)
{
    int64_t value;
    return json_get_integer(at, 1, 100000, &value, err);
}

static int get_any_integer(const JsonAt *at, Error *err)
{
    int64_t value;
    return json_get_integer(at, -JSON_MAX_INTEGER, JSON_MAX_INTEGER, &value, err);
}

static void integers(void **state)
{
    (void)state;
    check_v("{\"v\": 1}", get_integer, "");
    check_v("{\"v\": 100000}", get_integer, "");
    check_v("{\"v\": 45000.0}", get_integer, "");
    check_v("{\"v\": 4.5e4}", get_integer, "");
    check_v("{\"v\": 0}", get_integer, "t:1:7: 0 is too small, expected at least 1, at v");
    check_v("{\"v\": -3}", get_integer, "t:1:7: -3 is too small, expected at least 1, at v");
    check_v("{\"v\": 100001}", get_integer,
            "t:1:7: 100001 is too large, expected at most 100000, at v");
    check_v("{\"v\": 1.5}", get_integer, "t:1:7: 1.5 is not a whole number, expected one, at v");
    check_v("{\"v\": \"1\"}", get_integer, "t:1:7: expected a whole number, found a string, at v");
    check_v("{\"v\": null}", get_integer, "t:1:7: expected a whole number, found null, at v");
    check_v("{\"v\": false}", get_integer,
            "t:1:7: expected a whole number, found true or false, at v");
    check_v("{}", get_integer, "t:1:1: missing, expected a whole number, at v");
}

/* 2^53 + 1 as a double is 2^53: comparing doubles would let it through, changed. */
static void integers_beyond_2_53(void **state)
{
    (void)state;
    const char *beyond = "t:1:7: beyond 2^53, where numbers stop being exact: expected at most "
                         "9007199254740992, at v";

    check_v("{\"v\": 9007199254740992}", get_any_integer, "");
    check_v("{\"v\": -9007199254740992}", get_any_integer, "");
    check_v("{\"v\": 9007199254740991.0}", get_any_integer, "");
    check_v("{\"v\": 9007199254740993}", get_any_integer, beyond);
    check_v("{\"v\": -9007199254740993}", get_any_integer, beyond);
    check_v("{\"v\": 9007199254740993.0}", get_any_integer, beyond);
    check_v("{\"v\": 9223372036854775807}", get_any_integer, beyond);
    check_v("{\"v\": 1e300}", get_any_integer, beyond);
}

static void integers_come_back_exactly(void **state)
{
    (void)state;
    static const struct { const char *text; int64_t value; } cases[] = {
        {"{\"v\": 0}", 0}, {"{\"v\": -0}", 0}, {"{\"v\": 45000.0}", 45000}, {"{\"v\": -7}", -7},
        {"{\"v\": 9007199254740991}", 9007199254740991}, {"{\"v\": 1e3}", 1000},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Json   *doc = parse(cases[i].text);
        JsonAt  root = json_root(doc), at = json_member(&root, "v");
        int64_t value = 99;
        Error   err = {0};

        assert_int_equal(json_get_integer(&at, INT64_MIN, INT64_MAX, &value, &err), 0);
        assert_true(value == cases[i].value);
        json_doc_free(doc);
    }
}

static int get_number(const JsonAt *at, Error *err)
{
    double value;
    return json_get_number(at, 0, &value, err);
}

static int get_number_above(const JsonAt *at, Error *err)
{
    double value;
    return json_get_number(at, -1.5, &value, err);
}

static void numbers(void **state)
{
    (void)state;
    check_v("{\"v\": 0}", get_number, "");
    check_v("{\"v\": 0.1}", get_number, "");
    check_v("{\"v\": 1e300}", get_number, "");
    check_v("{\"v\": -1.5}", get_number_above, "");
    check_v("{\"v\": -1e-9}", get_number, "t:1:7: -1e-09 is too small, expected at least 0, at v");
    check_v("{\"v\": -1.6}", get_number_above,
            "t:1:7: -1.6 is too small, expected at least -1.5, at v");
    check_v("{\"v\": []}", get_number, "t:1:7: expected a number, found an array, at v");
}

static void microseconds(void **state)
{
    (void)state;
    static const struct { const char *text; int64_t ns;
    } cases[] = {
        {"{\"v\": 0}", 0},
        {"{\"v\": 1}", 1000},
        {"{\"v\": 8900.0}", 8900000},
        {"{\"v\": 0.001}", 1},
        {"{\"v\": 0.0004}", 0},
        {"{\"v\": 0.0006}", 1},
        {"{\"v\": 1234.5678}", 1234568},
        {"{\"v\": 8.1}", 8100},
        {"{\"v\": 9007199254740.992}", 9007199254740992},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Json   *doc = parse(cases[i].text);
        JsonAt  root = json_root(doc), at = json_member(&root, "v");
        int64_t ns = -1;
        Error   err = {0};

        assert_int_equal(json_get_us(&at, &ns, &err), 0);
        assert_true(ns == cases[i].ns);
        json_doc_free(doc);
    }
}

static int get_us(const JsonAt *at, Error *err)
{
    int64_t ns;
    return json_get_us(at, &ns, err);
}

static void bad_microseconds(void **state)
{
    (void)state;
    check_v("{\"v\": -0.5}", get_us,
            "t:1:7: -0.5 is negative, expected microseconds of 0 or more, at v");
    check_v("{\"v\": 9007199254741}", get_us,
            "t:1:7: 9.0072e+12 us is beyond 2^53 ns (104 days), expected microseconds, at v");
    check_v("{\"v\": 1e308}", get_us,
            "t:1:7: 1e+308 us is beyond 2^53 ns (104 days), expected microseconds, at v");
    check_v("{\"v\": {}}", get_us,
            "t:1:7: expected a number of microseconds, found an object, at v");
}

static int get_string(const JsonAt *at, Error *err)
{
    const char *value;
    return json_get_string(at, &value, err);
}

static int get_bool(const JsonAt *at, Error *err)
{
    bool value;
    return json_get_bool(at, &value, err);
}

static int get_two(const JsonAt *at, Error *err)
{
    return json_get_array(at, 2, err);
}

static int get_choice(const JsonAt *at, Error *err)
{
    static const char *const names[] = {"measured", "modelled", NULL};
    int choice;

    return json_get_choice(at, names, &choice, err);
}

static void other_kinds(void **state)
{
    (void)state;
    check_v("{\"v\": \"\"}", get_string, "");
    check_v("{\"v\": 1}", get_string, "t:1:7: expected a string, found a number, at v");
    check_v("{\"v\": true}", get_bool, "");
    check_v("{\"v\": 1}", get_bool, "t:1:7: expected true or false, found a number, at v");
    check_v("{\"v\": [1, 2]}", get_two, "");
    check_v("{\"v\": [1]}", get_two, "t:1:7: has 1 elements, expected at least 2, at v");
    check_v("{\"v\": {}}", get_two, "t:1:7: expected an array, found an object, at v");
    check_v("{\"v\": {}}", json_get_object, "");
    check_v("{\"v\": 2.5}", json_get_object, "t:1:7: expected an object, found a number, at v");
    check_v("{\"v\": \"modelled\"}", get_choice, "");
    check_v("{\"v\": \"guessed\"}", get_choice,
            "t:1:7: \"guessed\" is not known, expected one of: \"measured\", \"modelled\", at v");
    check_v("{\"v\": 1}", get_choice,
            "t:1:7: expected one of: \"measured\", \"modelled\", found a number, at v");
}

static void choices_give_their_index(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", NULL};
    Json  *doc = parse("{\"v\": \"c\"}");
    JsonAt root = json_root(doc), at = json_member(&root, "v");
    Error  err = {0};
    int    choice = -1;

    assert_int_equal(json_get_choice(&at, names, &choice, &err), 0);
    assert_int_equal(choice, 2);
    json_doc_free(doc);
}

static void formats(void **state)
{
    (void)state;
    static const struct { const char *text, *expected;
    } cases[] = {
        {"{\"format\": \"f\", \"version\": 2}", ""},
        {"{\"format\": \"g\", \"version\": 2}", "t:1:12: is a \"g\", expected a \"f\", at format"},
        {"{\"format\": \"f\", \"version\": 3}",
         "t:1:28: version 3 is not known, expected 2, at version"},
        {"{\"format\": \"f\"}", "t:1:1: missing, expected a whole number, at version"},
        {"{\"version\": 2}", "t:1:1: missing, expected a string, at format"},
        {"[]", "t:1:1: expected an object, found an array"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Json *doc = parse(cases[i].text);
        Error err = {0};

        assert_int_equal(json_check_format(doc, "f", 2, &err), cases[i].expected[0] ? -1 : 0);
        assert_string_equal(err.text, cases[i].expected);
        json_doc_free(doc);
    }
}

/* ---- memory and fixtures ------------------------------------------------- */

/* Every allocation in turn fails, jansson's included: no crash, no leak (the
 * sanitizers see it), and always a message. */
static void running_out_of_memory(void **state)
{
    (void)state;
    const char *text = "{\"format\": \"f\", \"a\": [1, {\"b\": \"c\"}]}";
    bool        succeeded = false;

    alloc_fail_in_jansson();
    for (long n = 1; !succeeded; n++) {
        Json *doc;
        Error err = {0};

        alloc_fail_after(n);
        int rc = json_doc_parse(&doc, "t", text, strlen(text), &err);
        bool reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0) {
            assert_null(doc);
            assert_string_not_equal(err.text, "");
        }
        succeeded = !reached;
        if (!reached) assert_int_equal(rc, 0);
        json_doc_free(doc);
    }
}

static void read_good(const char *path, const char *expected, void *context)
{
    Json *doc;
    Error err = {0};

    (void)expected; (void)context;
    if (json_doc_read(&doc, path, &err) != 0) fail_msg("%s", err.text);
    json_doc_free(doc);
}

static void read_bad(const char *path, const char *expected, void *context)
{
    Json *doc;
    Error err = {0};

    (void)context;
    if (!expected) fail_msg("%s has no .expected beside it", path);
    if (json_doc_read(&doc, path, &err) == 0) fail_msg("%s was accepted", path);
    if (!strstr(err.text, expected))
        fail_msg("%s: \"%s\" is not in \"%s\"", path, expected, err.text);
}

static void fixtures_are_read_or_refused(void **state)
{
    (void)state;
    fixtures_each("json", "good", read_good, NULL);
    fixtures_each("json", "bad", read_bad, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_documents_are_refused),
        cmocka_unit_test(deep_nesting_is_refused_not_a_crash),
        cmocka_unit_test(free_accepts_null),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(nothing_is_borrowed),
        cmocka_unit_test(places_and_paths),
        cmocka_unit_test(positions_in_awkward_text),
        cmocka_unit_test(positions_match_the_model),
        cmocka_unit_test(unknown_keys_are_named),
        cmocka_unit_test(long_keys_are_cut_between_characters),
        cmocka_unit_test(integers),
        cmocka_unit_test(integers_beyond_2_53),
        cmocka_unit_test(integers_come_back_exactly),
        cmocka_unit_test(numbers),
        cmocka_unit_test(microseconds),
        cmocka_unit_test(bad_microseconds),
        cmocka_unit_test(other_kinds),
        cmocka_unit_test(choices_give_their_index),
        cmocka_unit_test(formats),
        cmocka_unit_test(fixtures_are_read_or_refused),
        cmocka_unit_test(running_out_of_memory),      /* last: changes jansson's allocator */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
