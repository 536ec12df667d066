/* base/json_tree: the reader of our own by what RFC 8259 says, and beside jansson on every
 * fixture, every bundled file, and these broken at random. */
#include "tests/support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "tests/json_differ.h"

static JsonTree read_own(const char *text)
{
    JsonTree  tree;
    JsonFault fault = {0};

    if (json_read_own(&tree, text, strlen(text), &fault) != 0) fail_msg("%s: %s", text, fault.text);
    return tree;
}

static void refused(const char *text, size_t length, JsonFaultKind kind, int line, int column, const char *expected)
{
    JsonTree  tree;
    JsonFault fault = {0};

    if (json_read_own(&tree, text, length, &fault) == 0) fail_msg("%s was accepted", text);
    assert_null(tree.root);
    assert_string_equal(fault.text, expected);
    assert_int_equal(fault.kind, kind);
    assert_int_equal(fault.line, line);
    assert_int_equal(fault.column, column);
}

/* ---- values -------------------------------------------------------------------- */

static void values_are_read(void **state)
{
    (void)state;
    JsonTree tree = read_own(" {\"a\": [1, -2, 1.5, -0.25e2, true, false, null, \"x\", {}, []],\n\"\": 0, \"b\" : {\"c\":-0}}\n");
    const JsonNode *a = json_node_member(tree.root, "a"), *b = json_node_member(tree.root, "b");
    static const JsonKind kinds[] = {JSON_IS_INTEGER, JSON_IS_INTEGER, JSON_IS_REAL, JSON_IS_REAL, JSON_IS_TRUE,
                                     JSON_IS_FALSE, JSON_IS_NULL, JSON_IS_STRING, JSON_IS_OBJECT, JSON_IS_ARRAY};

    assert_int_equal(tree.root->count, 3);
    assert_string_equal(tree.root->children[1].name, "");
    assert_int_equal(a->count, 10);
    for (int i = 0; i < 10; i++) assert_int_equal(a->children[i].kind, kinds[i]);
    assert_int_equal(a->children[1].integer, -2);
    assert_true(a->children[2].real == 1.5 && a->children[3].real == -25);
    assert_string_equal(a->children[7].string, "x");
    assert_int_equal(json_node_member(b, "c")->integer, 0);
    assert_null(json_node_member(b, "a"));
    assert_null(json_node_member(a, "a"));
    json_tree_free(&tree);
}

static void numbers_to_the_last_bit(void **state)
{
    (void)state;
    JsonTree tree = read_own("[9223372036854775807, -9223372036854775808, 0.1, 1e308, 4.9e-324, 1E+2, 1e-999, -0.0]");
    const JsonNode *n = tree.root->children;

    assert_true(n[0].integer == INT64_MAX && n[1].integer == INT64_MIN);
    assert_true(n[2].real == 0.1 && n[3].real == 1e308 && n[4].real == 4.9e-324 && n[5].real == 100);
    assert_true(n[6].real == 0);
    assert_true(n[7].real == 0 && __builtin_signbit(n[7].real));
    json_tree_free(&tree);
}

static void escapes(void **state)
{
    (void)state;
    JsonTree tree = read_own("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\", \"\\u0041\\u00e9\\u20AC\\uD83D\\ude00\", \"\xF0\x9F\x98\x80\x7F\"]");
    const JsonNode *s = tree.root->children;

    assert_string_equal(s[0].string, "\"\\/\b\f\n\r\t");
    assert_string_equal(s[1].string, "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    assert_string_equal(s[2].string, "\xF0\x9F\x98\x80\x7F");
    json_tree_free(&tree);
}

/* The members of a large object are found through its table of slots, of each size that the
 * table takes. */
static void many_members_are_found(void **state)
{
    (void)state;
    for (int count = 1; count <= 300; count += count < 40 ? 1 : 37) {
        Text text = {0};
        char name[16];
        for (int i = 0; i < count; i++) text_printf(&text, "%s\"k%d\": [%d, {\"k%d\": 0}]", i ? ", " : "{", i, i, i);
        text_append(&text, "}");
        JsonTree tree = read_own(text_string(&text));
        assert_int_equal(tree.root->count, count);
        for (int i = 0; i < count; i++) {
            snprintf(name, sizeof name, "k%d", i);
            const JsonNode *member = json_node_member(tree.root, name);
            assert_ptr_equal(member, &tree.root->children[i]);
            assert_int_equal(member->children[0].integer, i);
        }
        assert_null(json_node_member(tree.root, "k"));
        json_tree_free(&tree);
        text.bytes[text.length - 1] = ',';
        text_printf(&text, " \"k%d\": 1}", count / 2);
        JsonFault fault = {0};
        assert_int_equal(json_read_own(&tree, text_string(&text), text.length, &fault), -1);
        assert_non_null(strstr(fault.text, "duplicate object key near '\"k"));
        text_free(&text);
    }
}

/* ---- what is refused --------------------------------------------------------------- */

static void bad_texts_are_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *expected; int line, column; JsonFaultKind kind; } cases[] = {
        {"", "'[' or '{' expected near end of file", 1, 0, JSON_FAULT_SYNTAX},
        {"\"a\"", "'[' or '{' expected near '\"a\"'", 1, 3, JSON_FAULT_SYNTAX},
        {"{", "string or '}' expected near end of file", 1, 1, JSON_FAULT_SYNTAX},
        {"{\n\"a\" 1}", "':' expected near '1'", 2, 5, JSON_FAULT_SYNTAX},
        {"{\"a\": 1,}", "string or '}' expected near '}'", 1, 9, JSON_FAULT_SYNTAX},
        {"{\"a\": 1, \"a\": 2}", "duplicate object key near '\"a\"'", 1, 12, JSON_FAULT_SYNTAX},
        {"{\"a\": \"b\" \"c\"}", "'}' expected near '\"c\"'", 1, 13, JSON_FAULT_SYNTAX},
        {"[1,]", "unexpected token near ']'", 1, 4, JSON_FAULT_SYNTAX},
        {"[1", "']' expected near end of file", 1, 2, JSON_FAULT_SYNTAX},
        {"[1] x", "end of file expected near 'x'", 1, 5, JSON_FAULT_SYNTAX},
        {"[NaN]", "invalid token near 'NaN'", 1, 4, JSON_FAULT_SYNTAX},
        {"[-]", "invalid token near '-'", 1, 2, JSON_FAULT_SYNTAX},
        {"[01]", "invalid token near '0'", 1, 2, JSON_FAULT_SYNTAX},
        {"[1.]", "invalid token near '1.'", 1, 3, JSON_FAULT_SYNTAX},
        {"[1e]", "invalid token near '1e'", 1, 3, JSON_FAULT_SYNTAX},
        {"[.5]", "invalid token near '.'", 1, 2, JSON_FAULT_SYNTAX},
        {"[9223372036854775808]", "too big integer near '9223372036854775808'", 1, 20, JSON_FAULT_SYNTAX},
        {"[-9223372036854775809]", "too big negative integer near '-9223372036854775809'", 1, 21, JSON_FAULT_SYNTAX},
        {"[1e309]", "real number overflow near '1e309'", 1, 6, JSON_FAULT_SYNTAX},
        {"[\"a\nb\"]", "unexpected newline near '\"a'", 1, 3, JSON_FAULT_SYNTAX},
        {"[\"\t\"]", "control character 0x9 near '\"'", 1, 2, JSON_FAULT_SYNTAX},
        {"[\"\\x\"]", "invalid escape near '\"\\x'", 1, 4, JSON_FAULT_SYNTAX},
        {"[\"\\u12g4\"]", "invalid escape near '\"\\u12g'", 1, 7, JSON_FAULT_SYNTAX},
        {"[\"\\uD800\"]", "invalid Unicode '\\uD800' near '\"\\uD800\"'", 1, 9, JSON_FAULT_SYNTAX},
        {"[\"\\uDC00\"]", "invalid Unicode '\\uDC00' near '\"\\uDC00\"'", 1, 9, JSON_FAULT_SYNTAX},
        {"[\"\\uD800\\u0041\"]", "invalid Unicode '\\uD800\\u0041' near '\"\\uD800\\u0041\"'", 1, 15, JSON_FAULT_SYNTAX},
        {"[\"\\u0000\"]", "\\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"'", 1, 9, JSON_FAULT_NUL},
        {"{\"\\u0000\": 1}", "NUL byte in object key not supported near '\"\\u0000\"'", 1, 9, JSON_FAULT_SYNTAX},
        {"[\"abc", "premature end of input near '\"abc'", 1, 5, JSON_FAULT_SYNTAX},
        {"[\"a\xFF\"]", "unable to decode byte 0xff near '\"a'", 1, 3, JSON_FAULT_UTF_8},
        {"[\xC3]", "unable to decode byte 0xc3", 1, 1, JSON_FAULT_UTF_8},
        {"[\"\xC0\x80\"]", "unable to decode byte 0xc0 near '\"'", 1, 2, JSON_FAULT_UTF_8},      /* a long way to write NUL */
        {"[\"\xED\xA0\x80\"]", "unable to decode byte 0xed near '\"'", 1, 2, JSON_FAULT_UTF_8},  /* half of a pair */
        {"[\"\xF4\x90\x80\x80\"]", "unable to decode byte 0xf4 near '\"'", 1, 2, JSON_FAULT_UTF_8},  /* beyond Unicode */
        {"\xEF\xBB\xBF{}", "'[' or '{' expected near '\xEF\xBB\xBF'", 1, 1, JSON_FAULT_SYNTAX},
        {"[\"\xC3\xA9\xE2\x82\xAC\" 1]", "']' expected near '1'", 1, 7, JSON_FAULT_SYNTAX},       /* columns are characters */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].text, strlen(cases[i].text), cases[i].kind, cases[i].line, cases[i].column, cases[i].expected);
    refused("[1\0]", 4, JSON_FAULT_SYNTAX, 1, 3, "']' expected near end of file");
    refused("[1]\0", 4, JSON_FAULT_SYNTAX, 1, 4, "end of file expected near end of file");
}

static void depth_has_a_limit(void **state)
{
    (void)state;
    enum { MOST = JSON_MAX_DEPTH };
    char      text[2 * MOST + 8];
    JsonTree  tree;
    JsonFault fault;

    memset(text, '[', MOST);
    memset(text + MOST, ']', MOST);
    text[2 * MOST] = '\0';
    assert_int_equal(json_read_own(&tree, text, 2 * MOST, &fault), 0);
    json_tree_free(&tree);
    memset(text, '[', MOST + 1);
    refused(text, 2 * MOST, JSON_FAULT_SYNTAX, 1, MOST + 1, "maximum parsing depth reached near '['");
}

static void running_out_of_memory(void **state)
{
    (void)state;
    Text text = {0};
    bool reached = true;

    for (int i = 0; i < 100; i++) text_printf(&text, "%s\"k%d\": [%d, \"s\"]", i ? "," : "{", i, i);
    for (int i = 0; i < 20000; i++) text_printf(&text, ", \"long %d\": 0", i);      /* more than one chunk of the arena */
    text_append(&text, "}");
    for (long n = 1; reached; n++) {
        JsonTree  tree;
        JsonFault fault = {.kind = JSON_FAULT_SYNTAX};
        alloc_fail_after(n);
        int rc = json_read_own(&tree, text_string(&text), text.length, &fault);
        reached = alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, reached ? -1 : 0);
        if (reached) assert_int_equal(fault.kind, JSON_FAULT_NO_MEMORY);
        json_tree_free(&tree);
    }
    text_free(&text);
}

/* ---- beside jansson ------------------------------------------------------------------ */

#ifdef HAVE_JANSSON

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

static void every_file_is_read_the_same(void **state)
{
    (void)state;
    int accepted = 0;

    for (int i = 0; i < corpus.count; i++) {
        bool read;
        if (!readers_agree(corpus.text[i], corpus.length[i], &read)) fail_msg("the readers differ");
        accepted += read;
    }
    assert_true(accepted > 100 && accepted < corpus.count);
    assert_true(readers_agree("[1\0]", 4, NULL));          /* jansson by itself accepts it */
}

/* A byte changed, dropped or put in, a piece doubled or cut out, a word of JSON put in. */
static size_t break_text(char *text, size_t length, Rng *rng)
{
    static const char *const words[] = {"\\u0000", "\\uD83D\\uDE00", "\\uDE00", "\\n", "\"", "{", "}", "[", "]", ",", ":", "1e400", "-0",
                                        "NaN", "null", "\xC3\xA9", "\xED\xA0\x80", "\x80", "\n", "0", "e+", ".", "99999999999999999999"};
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

static void broken_files_are_read_the_same(void **state)
{
    (void)state;
    enum { ROUNDS = 20000, MOST_BYTES = 3000, MOST_BREAKS = 3, ROOM = 64 };
    Rng rng = {.seed = test_seed("broken_files", 61)};
    int accepted = 0, tried = 0;

    for (int i = 0; i < ROUNDS; i++) {
        int    file = (int)rng_range(&rng, 0, corpus.count - 1);
        char   text[MOST_BYTES + MOST_BREAKS * ROOM];
        size_t length = corpus.length[file];
        bool   read;
        if (length > MOST_BYTES || length == 0) continue;
        memcpy(text, corpus.text[file], length);
        for (int64_t k = rng_range(&rng, 1, MOST_BREAKS); k > 0 && length > 0; k--) length = break_text(text, length, &rng);
        if (!readers_agree(text, length, &read)) fail_msg("the readers differ in round %d", i);
        accepted += read;
        tried++;
    }
    assert_true(tried > ROUNDS / 4 && accepted > tried / 50 && accepted < tried);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(numbers_to_the_last_bit),
        cmocka_unit_test(escapes),
        cmocka_unit_test(many_members_are_found),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(running_out_of_memory),
#ifdef HAVE_JANSSON
        cmocka_unit_test_setup(every_file_is_read_the_same, gather),
        cmocka_unit_test_teardown(broken_files_are_read_the_same, drop),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
