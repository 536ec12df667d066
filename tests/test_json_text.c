/* base/json: what jansson makes of texts, and of every fixture and bundled file, also broken at
 * random: values, words, and places. What users read in an error is pinned here, so that another
 * jansson that says it otherwise is noticed. */
#include "tests/support.h"

#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "base/json.h"
#include "tests/json_walk.h"

static Json *read_text(const char *text)
{
    Json *doc;
    Error err = {""};

    if (json_doc_parse(&doc, "t", text, strlen(text), &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return doc;
}

/* ---- values -------------------------------------------------------------------- */

static void values_are_read(void **state)
{
    (void)state;
    static const json_type kinds[] = {JSON_INTEGER, JSON_INTEGER, JSON_REAL, JSON_REAL, JSON_TRUE,
                                      JSON_FALSE, JSON_NULL, JSON_STRING, JSON_OBJECT, JSON_ARRAY};
    static const char *const names[] = {"a", "", "b"};
    Json  *doc = read_text(" {\"a\": [1, -2, 1.5, -0.25e2, true, false, null, \"x\", {}, []],\n"
                           "\"\": 0, \"b\" : {\"c\":-0}}\n");
    JsonAt root = json_root(doc), a = json_member(&root, "a"), b = json_member(&root, "b"),
           c = json_member(&b, "c");
    int    count = 0;

    for (const char *name = json_name_after(&root, NULL); name; name = json_name_after(&root, name))
        assert_string_equal(name, names[count++]);
    assert_int_equal(count, 3);
    assert_int_equal(json_member_count(&root), 3);
    assert_int_equal(json_count(&a), 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(json_typeof(json_element(&a, i).value), kinds[i]);
    assert_int_equal(json_integer_value(json_element(&a, 1).value), -2);
    assert_true(json_real_value(json_element(&a, 2).value) == 1.5);
    assert_true(json_real_value(json_element(&a, 3).value) == -25);
    assert_string_equal(json_string_value(json_element(&a, 7).value), "x");
    assert_true(json_has(&c) && json_integer_value(c.value) == 0);
    assert_false(json_has(&(JsonAt){.value = json_member(&b, "a").value}));
    assert_null(json_member(&a, "a").value);
    assert_null(json_name_after(&a, NULL));
    json_doc_free(doc);
}

static void numbers_to_the_last_bit(void **state)
{
    (void)state;
    Json  *doc = read_text("[9223372036854775807, -9223372036854775808, "
                           "0.1, 1e308, 4.9e-324, 1E+2, 1e-999, -0.0]");
    JsonAt root = json_root(doc);
    static const double reals[] = {0.1, 1e308, 4.9e-324, 100, 0, 0};

    assert_true(json_integer_value(json_element(&root, 0).value) == INT64_MAX);
    assert_true(json_integer_value(json_element(&root, 1).value) == INT64_MIN);
    for (size_t i = 0; i < 6; i++)
        assert_true(json_real_value(json_element(&root, 2 + i).value) == reals[i]);
    assert_true(__builtin_signbit(json_real_value(json_element(&root, 7).value)));
    json_doc_free(doc);
}

static void escapes(void **state)
{
    (void)state;
    static const char *const meant[] = {"\"\\/\b\f\n\r\t",
                                        "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80",
                                        "\xF0\x9F\x98\x80\x7F"};
    Json  *doc = read_text("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\", "
                           "\"\\u0041\\u00e9\\u20AC\\uD83D\\ude00\", \"\xF0\x9F\x98\x80\x7F\"]");
    JsonAt root = json_root(doc);

    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_string_value(json_element(&root, i).value), meant[i]);
    json_doc_free(doc);
}

/* ---- what is refused --------------------------------------------------------------- */

static void refused(const char *text, size_t length, int line, int column, const char *expected)
{
    Json *doc = (Json *)1;
    Error err = {""};
    char *whole = format_text("t:%d:%d: not JSON: %s", line, column, expected);

    if (json_doc_parse(&doc, "t", text, length, &err) == 0) fail_msg("%s was accepted", text);
    assert_null(doc);
    assert_string_equal(err.text, whole);
    free(whole);
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *expected; int line, column; } cases[] = {
        {"", "empty, expected an object", 1, 1},
        {"\"a\"", "'[' or '{' expected near '\"a\"'", 1, 3},
        {"{", "string or '}' expected near end of file", 1, 1},
        {"{\n\"a\" 1}", "':' expected near '1'", 2, 5},
        {"{\"a\": 1,}", "string or '}' expected near '}'", 1, 9},
        {"{\"a\": 1, \"a\": 2}", "duplicate object key near '\"a\"'", 1, 12},
        {"{\"a\": \"b\" \"c\"}", "'}' expected near '\"c\"'", 1, 13},
        {"[1,]", "unexpected token near ']'", 1, 4},
        {"[1", "']' expected near end of file", 1, 2},
        {"[1] x", "end of file expected near 'x'", 1, 5},
        {"[NaN]", "invalid token near 'NaN': expected a finite number", 1, 4},
        {"[-]", "invalid token near '-': expected a finite number", 1, 2},
        {"[01]", "invalid token near '0'", 1, 2},
        {"[1.]", "invalid token near '1.'", 1, 3},
        {"[1e]", "invalid token near '1e'", 1, 3},
        {"[.5]", "invalid token near '.'", 1, 2},
        {"[9223372036854775808]", "too big integer near '9223372036854775808'", 1, 20},
        {"[-9223372036854775809]", "too big negative integer near '-9223372036854775809'", 1, 21},
        {"[1e309]", "real number overflow near '1e309'", 1, 6},
        {"[\"a\nb\"]", "unexpected newline near '\"a'", 1, 3},
        {"[\"\t\"]", "control character 0x9 near '\"'", 1, 2},
        {"[\"\\x\"]", "invalid escape near '\"\\x'", 1, 4},
        {"[\"\\u12g4\"]", "invalid escape near '\"\\u12g'", 1, 7},
        {"[\"\\uD800\"]", "invalid Unicode '\\uD800' near '\"\\uD800\"'", 1, 9},
        {"[\"\\uDC00\"]", "invalid Unicode '\\uDC00' near '\"\\uDC00\"'", 1, 9},
        {"[\"\\uD800\\u0041\"]",
         "invalid Unicode '\\uD800\\u0041' near '\"\\uD800\\u0041\"'", 1, 15},
        {"[\"\\u0000\"]", "\\u0000 in a string, expected text without it", 1, 9},
        {"{\"\\u0000\": 1}", "NUL byte in object key not supported near '\"\\u0000\"'", 1, 9},
        {"[\"abc", "premature end of input near '\"abc'", 1, 5},
        {"[\"a\xFF\"]", "unable to decode byte 0xff near '\"a', expected UTF-8", 1, 3},
        {"[\xC3]", "unable to decode byte 0xc3, expected UTF-8", 1, 1},
        /* a long way to write NUL */
        {"[\"\xC0\x80\"]", "unable to decode byte 0xc0 near '\"', expected UTF-8", 1, 2},
        /* half of a pair */
        {"[\"\xED\xA0\x80\"]", "unable to decode byte 0xed near '\"', expected UTF-8", 1, 2},
        /* beyond Unicode */
        {"[\"\xF4\x90\x80\x80\"]", "unable to decode byte 0xf4 near '\"', expected UTF-8", 1, 2},
        {"\xEF\xBB\xBF{}", "starts with a byte order mark, expected UTF-8 without one", 1, 1},
        /* columns are characters */
        {"[\"\xC3\xA9\xE2\x82\xAC\" 1]", "']' expected near '1'", 1, 7},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].text, strlen(cases[i].text), cases[i].line, cases[i].column,
                cases[i].expected);
    refused("[1\0]", 4, 1, 3, "a byte of 0, expected text");
    refused("[\"a\0b\"]", 7, 1, 4, "a byte of 0, expected text");
    refused("[1,\n \xC3\xA9\0]", 9, 2, 3, "a byte of 0, expected text");
    refused("[1]\0", 4, 1, 4, "a byte of 0, expected text");
}

static void depth_has_a_limit(void **state)
{
    (void)state;
    enum { MOST = 2048 };
    char  text[2 * MOST + 8];
    Json *doc;

    memset(text, '[', MOST);
    memset(text + MOST, ']', MOST);
    text[2 * MOST] = '\0';
    assert_int_equal(json_doc_parse(&doc, "t", text, 2 * MOST, NULL), 0);
    json_doc_free(doc);
    memset(text, '[', MOST + 1);
    refused(text, 2 * MOST, 1, MOST + 1, "maximum parsing depth reached near '['");
}

/* ---- files, whole and broken ------------------------------------------------------------ */

static struct {
    char  *text[2000];
    size_t length[2000];
    int    count;
} corpus;                        /* nftw() hands nothing through */

static int add_file(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)ftw;
    const char *end = strrchr(path, '.');
    bool        text = end && (strcmp(end, ".json") == 0 || strcmp(end, ".txt") == 0);

    if (type != FTW_F || !text || info->st_size > 200000) return 0;
    assert_true(corpus.count < 2000);
    corpus.text[corpus.count] = slurp(path, &corpus.length[corpus.count]);
    corpus.count++;
    return 0;
}

static int gather(void **state)
{
    static const char *const folders[] = {"tests/fixtures", "tests/golden", "traces", "workloads"};
    (void)state;

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = format_text("%s/%s", PIPEBD_ROOT, folders[i]);
        assert_int_equal(nftw(path, add_file, 16, FTW_PHYS), 0);
        free(path);
    }
    assert_true(corpus.count > 200);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    for (int i = 0; i < corpus.count; i++) free(corpus.text[i]);
    return 0;
}

static void every_value_of_every_file_has_its_place(void **state)
{
    (void)state;
    int accepted = 0;

    for (int i = 0; i < corpus.count; i++) {
        bool read;
        if (!walk_text(corpus.text[i], corpus.length[i], &read))
            fail_msg("it has no place, or a wrong one");
        accepted += read;
    }
    assert_true(accepted > 100 && accepted < corpus.count);
}

/* A byte changed, dropped or put in, a piece doubled or cut out, a word of JSON put in. */
static size_t break_text(char *text, size_t length, Rng *rng)
{
    static const char *const words[] = {"\\u0000", "\\uD83D\\uDE00", "\\uDE00", "\\n", "\"",
                                        "{", "}", "[", "]", ",", ":", "1e400", "-0", "NaN", "null",
                                        "\xC3\xA9", "\xED\xA0\x80", "\x80", "\n", "0", "e+", ".",
                                        "99999999999999999999"};
    enum { WORDS = sizeof words / sizeof *words };
    size_t at = (size_t)rng_range(rng, 0, (int64_t)length - 1), n = (size_t)rng_range(rng, 1, 12);

    if (at + n > length) n = length - at;
    switch (rng_range(rng, 0, 4)) {
    case 0: text[at] = (char)rng_range(rng, 0, 255); return length;
    case 1: memmove(text + at, text + at + n, length - at - n); return length - n;
    case 2: memmove(text + at + n, text + at, length - at); return length + n;
    case 3: return at + 1;
    default: break;
    }
    const char *word = words[rng_range(rng, 0, WORDS - 1)];
    memmove(text + at + strlen(word), text + at, length - at);
    memcpy(text + at, word, strlen(word));
    return length + strlen(word);
}

static void so_have_those_of_broken_files(void **state)
{
    (void)state;
    enum { ROUNDS = 4000, MOST_BYTES = 3000, MOST_BREAKS = 3, ROOM = 64 };
    Rng rng = {.seed = test_seed("broken_files", 61)};
    int accepted = 0, tried = 0;

    for (int i = 0; i < ROUNDS; i++) {
        int    file = (int)rng_range(&rng, 0, corpus.count - 1);
        char   text[MOST_BYTES + MOST_BREAKS * ROOM];
        size_t length = corpus.length[file];
        bool   read;
        if (length > MOST_BYTES || length == 0) continue;
        memcpy(text, corpus.text[file], length);
        for (int64_t k = rng_range(&rng, 1, MOST_BREAKS); k > 0 && length > 0; k--)
            length = break_text(text, length, &rng);
        if (!walk_text(text, length, &read))
            fail_msg("it has no place, or a wrong one in round %d", i);
        accepted += read;
        tried++;
    }
    assert_true(tried > ROUNDS / 4 && accepted > tried / 50 && accepted < tried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(numbers_to_the_last_bit),
        cmocka_unit_test(escapes),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test_setup(every_value_of_every_file_has_its_place, gather),
        cmocka_unit_test_teardown(so_have_those_of_broken_files, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
