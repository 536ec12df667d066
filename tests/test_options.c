/* Command lines: what is taken, what is refused and in which words, and that help and
 * settings come from the same table. */
#include "tests/support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "include/pipebd.h"

typedef struct {
    bool        flag;
    int64_t     count, bytes;
    double      ratio;
    const char *name;
    int         choice;
    OptionList  list;
} Values;

enum { MAX_WORDS = 80 };

static const char *const choices[] = {"table", "csv", NULL};

/* A table of every type over values. */
static void fill_table(Option table[9], Values *values)
{
    const Option rows[9] = {
        {"flag", 'f', OPTION_FLAG, NULL, "Does it.", &values->flag, 0, 0, NULL, false},
        {"count", 'n', OPTION_INTEGER, "N",
         "How many there are, in words that go on for longer than "
         "a line of a terminal has room for.", &values->count, 1, 100, NULL, false},
        {"memory", 0, OPTION_BYTES, "BYTES", "Memory.", &values->bytes, 1, 0, NULL, false},
        {"ratio", 0, OPTION_NUMBER, "X", "A ratio.", &values->ratio, 0, 0, NULL, false},
        {"name", 'o', OPTION_STRING, "FILE", "A name.", &values->name, 0, 0, NULL, false},
        {"format", 0, OPTION_CHOICE, "table|csv", "What to print.", &values->choice, 0, 0, choices,
         false},
        {"set", 0, OPTION_LIST, "K=V", "Sets.", &values->list, 0, 0, NULL, false},
        {"any", 0, OPTION_INTEGER, "N", "Any number.", &values->bytes, INT64_MIN, 0, NULL, false},
        {0},
    };

    memcpy(table, rows, sizeof rows);
}

/* Splits line at spaces ("_" is an empty word) and parses it. */
static int parse(const char *line, Values *values, Operands *operands, Error *err)
{
    static char buffer[2048];        /* values borrow from it until the next call */
    char       *argv[MAX_WORDS] = {"tool"}, *rest = buffer, *word;
    int         argc = 1;
    Option      table[9];
    Options     options = {"tool", "FILE", "Tests.", table, NULL};

    snprintf(buffer, sizeof buffer, "%s", line);
    while ((word = strsep(&rest, " ")) && argc < MAX_WORDS)
        if (*word) argv[argc++] = strcmp(word, "_") == 0 ? "" : word;
    fill_table(table, values);
    return options_parse(&options, argc, argv, operands, err);
}

static void every_type_arrives(void **state)
{
    (void)state;
    Values   v = {.count = 2};
    Operands o;
    Error    err = {""};

    if (parse("in -f --count=7 --memory 1.5GiB --ratio 0.25 -o out --format csv --set a=1 - --set "
              "b=2 -- --flag",
              &v, &o, &err)
        != 0)
        fail_msg("%s", err.text);
    assert_true(v.flag);
    assert_int_equal(v.count, 7);
    assert_int_equal(v.bytes, 3 * ((int64_t)1 << 29));
    assert_float_equal(v.ratio, 0.25, 0);
    assert_string_equal(v.name, "out");
    assert_int_equal(v.choice, 1);
    assert_int_equal(v.list.count, 2);
    assert_string_equal(v.list.values[1], "b=2");
    assert_int_equal(o.count, 3);
    assert_string_equal(o.values[0], "in");
    assert_string_equal(o.values[1], "-");
    assert_string_equal(o.values[2], "--flag");
    assert_int_equal(o.info, INFO_NONE);
}

static void defaults_stay(void **state)
{
    (void)state;
    Values   v = {.count = 2, .name = "default"};
    Operands o;

    assert_int_equal(parse("", &v, &o, NULL), 0);
    assert_int_equal(v.count, 2);
    assert_string_equal(v.name, "default");
    assert_int_equal(o.count, 0);
    assert_int_equal(parse("--help", &v, &o, NULL), 0);
    assert_int_equal(o.info, INFO_HELP);
    assert_int_equal(parse("-h", &v, &o, NULL), 0);
    assert_int_equal(o.info, INFO_HELP);
}

static void sizes(void **state)
{
    static const struct { const char *line; int64_t bytes;
    } cases[] = {
        {"--memory 1", 1},
        {"--memory 2B", 2},
        {"--memory 3kB", 3000},
        {"--memory 3KB", 3000},
        {"--memory 1KiB", 1024},
        {"--memory 80GB", 80000000000},
        {"--memory 40GiB", (int64_t)40 << 30},
        {"--memory 0.5TiB", (int64_t)1 << 39},
        {"--memory 1e3MB", 1000000000},
        {"--any -5", -5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Values   v = {0};
        Operands o;
        Error    err = {""};
        if (parse(cases[i].line, &v, &o, &err) != 0) fail_msg("%s", err.text);
        assert_int_equal(v.bytes, cases[i].bytes);
    }
}

static void bad_usage_is_refused(void **state)
{
    static const struct { const char *line, *error;
    } cases[] = {
        {"--cout 3", "unknown option --cout (did you mean --count?), see --help"},
        {"--hepl", "unknown option --hepl (did you mean --help?), see --help"},
        {"--zzzzzz", "unknown option --zzzzzz, see --help"},
        {"-x", "unknown option -x, see --help"},
        {"-fn", "unknown option -fn, see --help"},
        {"--countt=3", "unknown option --countt=3 (did you mean --count?), see --help"},
        {"--count", "--count needs N"},
        {"-n", "--count needs N"},
        {"--flag=yes", "--flag takes no value"},
        {"--count 3 --count 4", "--count: given twice"},
        {"--flag -f", "--flag: given twice"},
        {"--count _", "--count: \"\" is not a whole number"},
        {"--count= 3", "--count: \"\" is not a whole number"},
        {"--count 3.5", "--count: \"3.5\" is not a whole number"},
        {"--count 3x", "--count: \"3x\" is not a whole number"},
        {"--count 99999999999999999999", "--count: \"99999999999999999999\" is not a whole number"},
        {"--count 0", "--count: 0 is too small, expected at least 1"},
        {"--count -1", "--count: -1 is too small, expected at least 1"},
        {"--count 101", "--count: 101 is too large, expected at most 100"},
        {"--memory 40gib",
         "--memory: \"40gib\" is not a size, expected bytes such as 1048576, 512MiB or 40GB"},
        {"--memory GiB",
         "--memory: \"GiB\" is not a size, expected bytes such as 1048576, 512MiB or 40GB"},
        {"--memory nan",
         "--memory: \"nan\" is not a size, expected bytes such as 1048576, 512MiB or 40GB"},
        {"--memory 0x10",
         "--memory: \"0x10\" is not a size, expected bytes such as 1048576, 512MiB or 40GB"},
        {"--memory infMB",
         "--memory: \"infMB\" is not a size, expected bytes such as 1048576, 512MiB or 40GB"},
        {"--memory 0", "--memory: \"0\" is out of range, expected 1 to 9007199254740992 bytes"},
        {"--memory 9000TiB",
         "--memory: \"9000TiB\" is out of range, expected 1 to 9007199254740992 bytes"},
        {"--ratio x", "--ratio: \"x\" is not a number"},
        {"--ratio inf", "--ratio: \"inf\" is not a number"},
        {"--ratio nan", "--ratio: \"nan\" is not a number"},
        {"--ratio 0x10", "--ratio: \"0x10\" is not a number"},
        {"--ratio 1e-400", "--ratio: \"1e-400\" is not a number"},
        {"--ratio 1e400", "--ratio: \"1e400\" is not a number"},
        {"--ratio -1", "--ratio: -1 is too small, expected at least 0"},
        {"--help=html", "--help: \"html\" is not known, expected man or words"},
        {"--versoin", "unknown option --versoin (did you mean --version?), see --help"},
        {"--format CSV", "--format: \"CSV\" is not known, expected table, csv"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Values   v = {0};
        Operands o;
        Error    err = {""};
        if (parse(cases[i].line, &v, &o, &err) == 0) fail_msg("\"%s\" was taken", cases[i].line);
        assert_string_equal(err.text, cases[i].error);
        assert_int_equal(parse(cases[i].line, &v, &o, NULL), -1);
    }
}

/* More of a list or of operands than there is room for is refused, not dropped. */
static void too_many_are_refused(void **state)
{
    (void)state;
    Values   v = {0};
    Option   table[9];
    Options  options = {"tool", "FILE", "Tests.", table, NULL};
    Operands o;
    Error    err = {""};
    char    *argv[2 * OPTIONS_MAX_OPERANDS] = {"tool"};

    for (int i = 1; i < 2 * OPTIONS_MAX_OPERANDS; i++) argv[i] = "operand";
    fill_table(table, &v);
    assert_int_equal(options_parse(&options, 1 + OPTIONS_MAX_OPERANDS, argv, &o, &err), 0);
    assert_int_equal(options_parse(&options, 2 + OPTIONS_MAX_OPERANDS, argv, &o, &err), -1);
    assert_string_equal(err.text, "more than 256 operands");
    for (int i = 1; i < 2 * OPTIONS_MAX_OPERANDS; i++) argv[i] = "--set=a";
    assert_int_equal(options_parse(&options, 1 + OPTION_MAX_LIST, argv, &o, &err), 0);
    v.list.count = 0;
    assert_int_equal(options_parse(&options, 2 + OPTION_MAX_LIST, argv, &o, &err), -1);
    assert_string_equal(err.text, "--set: given more than 64 times");
}

/* What print writes for a table with these defaults, yours. */
static char *printed(void (*print)(const Options *, FILE *), const Option *table)
{
    Options options = {"tool", "FILE [options]", "Tests things.", (Option *)(uintptr_t)table,
                       "examples:\n  tool a"};
    char   *text = NULL;
    size_t  length;
    FILE   *out = open_memstream(&text, &length);

    assert_non_null(out);
    print(&options, out);
    fclose(out);
    return text;
}

static void help_and_settings_come_from_the_table(void **state)
{
    (void)state;
    Values v = {.count = 2, .bytes = 1024, .flag = true, .list = {{"a=1", "b=2"}, 2}};
    Option table[9];

    fill_table(table, &v);
    table[7].name = NULL;
    char *help = printed(options_print_help, table),
         *settings = printed(options_print_settings, table);
    assert_string_equal(help,
        "usage: tool FILE [options]\n\nTests things.\n\noptions:\n"
        "  -f, --flag              Does it.\n"
        "  -n, --count N           How many there are, in words that go on for longer\n"
        "                          than a line of a terminal has room for. (default 2)\n"
        "  --memory BYTES          Memory. (default 1024)\n"
        "  --ratio X               A ratio.\n"
        "  -o, --name FILE         A name.\n"
        "  --format table|csv      What to print. (default table)\n"
        "  --set K=V               Sets. (default a=1 b=2)\n"
        "  -h, --help              Print this and exit.\n"
        "  --version               Print the version and exit.\n"
        "\nexamples:\n  tool a\n");
    assert_string_equal(settings, "  flag             yes\n  count            2\n  memory          "
                                  " 1024\n  format           table\n"
                                  "  set              a=1 b=2\n");
    free(help);
    free(settings);
}

/* Whatever stands beside it: what it asks for, and no work. */
static void questions_are_told_apart(void **state)
{
    static const struct { const char *line; OptionsInfo info;
    } cases[] = {
        {"in -f", INFO_NONE},
        {"-h", INFO_HELP},
        {"in --help --flag", INFO_HELP},
        {"--help=man", INFO_MAN},
        {"--help=words", INFO_WORDS},
        {"in --version", INFO_VERSION},
        {"-- --version", INFO_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Values   v = {0};
        Operands o;
        Error    err = {""};
        if (parse(cases[i].line, &v, &o, &err) != 0)
            fail_msg("\"%s\": %s", cases[i].line, err.text);
        assert_int_equal(o.info, cases[i].info);
    }
}

static void man(const Options *options, FILE *out) { options_print_info(options, INFO_MAN, out); }
static void words(const Options *options, FILE *out)
{
    options_print_info(options, INFO_WORDS, out);
}
static void version(const Options *options, FILE *out)
{
    options_print_info(options, INFO_VERSION, out);
}

/* The page for man(1), with hyphens that can be copied; the lines for a shell's completion. */
static void other_answers_come_from_the_table_too(void **state)
{
    (void)state;
    Values v = {.count = 2};
    Option table[9];

    fill_table(table, &v);
    memmove(&table[2], &table[4], 5 * sizeof *table);        /* flag, count, name, format, set,
                                                              * any */
    table[3].help = "Prints\n.a-b with \\n in it.";
    char *page = printed(man, table), *line = printed(version, table),
         *list = printed(words, table);
    const char *begins = ".TH TOOL 1 \"\" \"pipebd " PIPEBD_VERSION "\" \"Pipe\\-BD in C\"\n"
                         ".SH NAME\ntool \\- tests things\n"
                         ".SH SYNOPSIS\n.B tool\nFILE [options]\n"
                         ".SH DESCRIPTION\nTests things.\n"
                         ".SH OPTIONS\n"
                         ".TP\n\\fB\\-f\\fR, \\fB\\-\\-flag\\fR\nDoes it.\n"
                         ".TP\n\\fB\\-n\\fR, \\fB\\-\\-count\\fR \\fIN\\fR\nHow many there are, in "
                         "words that go on for longer than "
                         "a line of a terminal has room for. (default 2)\n"
                         ".TP\n\\fB\\-o\\fR, \\fB\\-\\-name\\fR \\fIFILE\\fR\nA name.\n"
                         ".TP\n\\fB\\-\\-format\\fR \\fItable|csv\\fR\nPrints\n\\&.a\\-b with \\en "
                         "in it. (default table)\n";
    if (strncmp(page, begins, strlen(begins)) != 0) assert_string_equal(page, begins);
    assert_non_null(strstr(
        page, ".SH NOTES\n.nf\nexamples:\n  tool a\n.fi\n.SH EXIT STATUS\n.TP\n\\fB0\\fR\n"));
    assert_string_equal(line, "tool " PIPEBD_VERSION "\n");
    assert_string_equal(
        list,
        "--flag -f none\n--count -n value\n--name -o value\n--format - table|csv\n--set - value\n"
        "--any - value\n--help -h none\n--version - none\n");
    free(page);
    free(line);
    free(list);
}

/* --workers was --lanes: taken under either name, but not twice, and the new name wins where a
 * table has both. */
static void a_former_name_is_taken(void **state)
{
    int64_t        workers = 0, lanes = 0;
    char          *argv[] = {"t", "--lanes=3"}, *both[] = {"t", "--lanes", "3", "--workers", "4"};
    Operands       operands;
    Error          err = {""};
    Option now[] = {{"workers", 0, OPTION_INTEGER, "N", "", &workers, 1, 0, NULL, false}, {0}};
    Option again[] = {{"workers", 0, OPTION_INTEGER, "N", "", &workers, 1, 0, NULL, false}, {0}};
    Option         own[] = {{"workers", 0, OPTION_INTEGER, "N", "", &workers, 1, 0, NULL, false},
                            {"lanes", 0, OPTION_INTEGER, "N", "", &lanes, 1, 0, NULL, false}, {0}};
    const Options  options = {"t", "", "", now, NULL}, twice = {"t", "", "", again, NULL},
                  kept = {"t", "", "", own, NULL};

    (void)state;
    assert_int_equal(options_parse(&options, 2, argv, &operands, &err), 0);
    assert_int_equal(workers, 3);
    assert_int_equal(options_parse(&twice, 5, both, &operands, &err), -1);
    assert_string_equal(err.text, "--workers: given twice");
    assert_int_equal(options_parse(&kept, 2, argv, &operands, &err), 0);
    assert_int_equal(lanes, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_arrives),
        cmocka_unit_test(defaults_stay),
        cmocka_unit_test(sizes),
        cmocka_unit_test(bad_usage_is_refused),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(a_former_name_is_taken),
        cmocka_unit_test(help_and_settings_come_from_the_table),
        cmocka_unit_test(questions_are_told_apart),
        cmocka_unit_test(other_answers_come_from_the_table_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
