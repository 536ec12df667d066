#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/text.h"
#include "include/pipebd.h"          /* PIPEBD_VERSION */

enum { HELP_COLUMN = 26, HELP_WIDTH = 80, MAX_OPTIONS = 128 };

/* ---- values ----------------------------------------------------------- */

static int check_integer(const Option *option, long long number, Error *err)
{
    if (number < option->minimum)
        return error_set(err, "--%s: %lld is too small, expected at least %" PRId64, option->name,
                         number, option->minimum);
    if (option->maximum && number > option->maximum)
        return error_set(err, "--%s: %lld is too large, expected at most %" PRId64, option->name,
                         number, option->maximum);
    return 0;
}

static int parse_integer(const Option *option, const char *value, Error *err)
{
    char *end;

    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end || errno)
        return error_set(err, "--%s: \"%s\" is not a whole number", option->name, value);
    if (check_integer(option, number, err) != 0) return -1;
    *(int64_t *)option->target = number;
    return 0;
}

static int parse_integers(const Option *option, const char *value, Error *err)
{
    OptionIntegers *list = option->target;
    char           *end;

    for (const char *at = value;; at = end + 1) {
        errno = 0;
        long long number = strtoll(at, &end, 10);
        if (end == at || errno || (*end && *end != ','))
            return error_set(err, "--%s: \"%s\" is no list of whole numbers such as 64,128",
                             option->name, value);
        if (list->count == OPTION_MAX_LIST)
            return error_set(err, "--%s: more than %d numbers", option->name, OPTION_MAX_LIST);
        if (check_integer(option, number, err) != 0) return -1;
        list->values[list->count++] = number;
        if (!*end) return 0;
    }
}

/* The multiplier of a suffix: "GiB", "GB", ...; 0 when unknown. */
static double byte_unit(const char *suffix)
{
    static const struct { const char *name; double bytes; } units[] = {
        {"", 1}, {"B", 1}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
        {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
    };

    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(units[i].name, suffix) == 0) return units[i].bytes;
    return 0;
}

static int parse_bytes(const Option *option, const char *value, Error *err)
{
    double      number;
    const char *end = number_scan(value, &number);
    double      unit = end ? byte_unit(end) : 0;

    if (unit == 0)
        return error_set(err, "--%s: \"%s\" is not a size, expected bytes such as 1048576, 512MiB "
                         "or 40GB", option->name, value);
    int64_t maximum = option->maximum ? option->maximum : (int64_t)1 << 53;
    if (number * unit < (double)option->minimum || number * unit > (double)maximum)
        return error_set(err, "--%s: \"%s\" is out of range, expected %" PRId64 " to %" PRId64
                         " bytes", option->name, value, option->minimum, maximum);
    *(int64_t *)option->target = (int64_t)(number * unit);
    return 0;
}

static int parse_number(const Option *option, const char *value, Error *err)
{
    double number;

    if (!number_parse(value, &number))
        return error_set(err, "--%s: \"%s\" is not a number", option->name, value);
    if (number < (double)option->minimum)
        return error_set(err, "--%s: %s is too small, expected at least %" PRId64, option->name,
                         value, option->minimum);
    *(double *)option->target = number;
    return 0;
}

static int parse_choice(const Option *option, const char *value, Error *err)
{
    for (int i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], value) == 0) { *(int *)option->target = i; return 0; }
    error_set(err, "--%s: \"%s\" is not known, expected ", option->name, value);
    for (int i = 0; option->choices[i]; i++) {
        size_t used = strlen(err ? err->text : "");
        if (err) snprintf(err->text + used, sizeof err->text - used, "%s%s", i ? ", " : "",
                          option->choices[i]);
    }
    return -1;
}

static int add_to_list(const Option *option, const char *value, Error *err)
{
    OptionList *list = option->target;

    if (list->count == OPTION_MAX_LIST)
        return error_set(err, "--%s: given more than %d times", option->name, OPTION_MAX_LIST);
    list->values[list->count++] = value;
    return 0;
}

static int set_value(Option *option, const char *value, Error *err)
{
    if (option->given && option->type != OPTION_LIST)
        return error_set(err, "--%s: given twice", option->name);
    option->given = true;
    switch (option->type) {
    case OPTION_FLAG:    *(bool *)option->target = true; return 0;
    case OPTION_INTEGER: return parse_integer(option, value, err);
    case OPTION_BYTES:   return parse_bytes(option, value, err);
    case OPTION_NUMBER:  return parse_number(option, value, err);
    case OPTION_CHOICE:  return parse_choice(option, value, err);
    case OPTION_LIST:    return add_to_list(option, value, err);
    case OPTION_INTEGERS: return parse_integers(option, value, err);
    case OPTION_STRING:  *(const char **)option->target = value; return 0;
    }
    return -1;
}

/* ---- parsing ---------------------------------------------------------- */

/* What options were called in 0.1; these names are taken until 0.3, with a note. */
static const struct { const char *former, *name; } former_names[] = {
    {"lanes", "workers"}, {"every", "checkpoint-every"}, {"skip-bad", "max-bad-samples"},
    {"timeout", "fault-timeout"}, {"student", "init"}, {"top", "candidates"},
};

static Option *find_name(const Options *options, const char *name, size_t length)
{
    for (Option *option = options->table; option->name; option++)
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return option;
    return NULL;
}

/* By its name, or by its former one where no option of the table has that name now. */
static Option *find_long(const Options *options, const char *name, size_t length)
{
    Option *option = find_name(options, name, length);

    for (size_t i = 0; !option && i < sizeof former_names / sizeof *former_names; i++) {
        const char *former = former_names[i].former, *now = former_names[i].name;
        if (strlen(former) != length || strncmp(former, name, length) != 0) continue;
        option = find_name(options, now, strlen(now));
        if (option)
            fprintf(stderr, "%s: --%s is now --%s; the old name goes with version 0.3\n",
                    options->program, former, now);
    }
    return option;
}

static Option *find_letter(const Options *options, char letter)
{
    for (Option *option = options->table; option->name; option++)
        if (option->letter == letter) return option;
    return NULL;
}

static int unknown_option(const Options *options, const char *argument, Error *err)
{
    const char *names[MAX_OPTIONS + 3];
    int         count = 0;
    char        word[80];

    snprintf(word, sizeof word, "%s", argument + (argument[1] == '-' ? 2 : 1));
    word[strcspn(word, "=")] = '\0';
    for (Option *o = options->table; o->name && count < MAX_OPTIONS; o++) names[count++] = o->name;
    names[count++] = "help";
    names[count++] = "version";
    names[count] = NULL;
    const char *near = nearest_name(word, names);
    if (near)
        return error_set(err, "unknown option %.60s (did you mean --%s?), see --help", argument,
                         near);
    return error_set(err, "unknown option %.60s, see --help", argument);
}

/* One option at argv[*i]; moves *i past a value in the next argument. */
static int parse_option(const Options *options, int argc, char **argv, int *i, Error *err)
{
    const char *argument = argv[*i];
    bool        is_long = argument[1] == '-';
    const char *equals = is_long ? strchr(argument, '=') : NULL;
    Option     *option;

    if (is_long)
        option = find_long(options, argument + 2,
                           equals ? (size_t)(equals - argument - 2) : strlen(argument + 2));
    else
        option = argument[2] ? NULL : find_letter(options, argument[1]);
    if (!option) return unknown_option(options, argument, err);

    if (option->type == OPTION_FLAG) {
        if (equals) return error_set(err, "--%s takes no value", option->name);
        return set_value(option, NULL, err);
    }
    if (equals) return set_value(option, equals + 1, err);
    if (*i + 1 >= argc) return error_set(err, "--%s needs %s", option->name, option->value_name);
    *i += 1;
    return set_value(option, argv[*i], err);
}

static int add_operand(Operands *operands, const char *value, Error *err)
{
    if (operands->count == OPTIONS_MAX_OPERANDS)
        return error_set(err, "more than %d operands", OPTIONS_MAX_OPERANDS);
    operands->values[operands->count++] = value;
    return 0;
}

/* What an argument asks for; INFO_NONE: it is no such argument. */
static OptionsInfo info_of(const char *argument)
{
    static const struct { const char *argument; OptionsInfo info; } kinds[] = {
        {"--help", INFO_HELP}, {"-h", INFO_HELP}, {"--help=man", INFO_MAN},
        {"--help=words", INFO_WORDS}, {"--version", INFO_VERSION},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].argument, argument) == 0) return kinds[i].info;
    return INFO_NONE;
}

int options_parse(const Options *options, int argc, char **argv, Operands *operands, Error *err)
{
    bool only_operands = false;

    *operands = (Operands){0};
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        OptionsInfo info = info_of(argument);
        if (only_operands || argument[0] != '-' || argument[1] == '\0') {
            if (add_operand(operands, argument, err) != 0) return -1;
        } else if (strcmp(argument, "--") == 0) {
            only_operands = true;
        } else if (info != INFO_NONE) {
            operands->info = info;
        } else if (strncmp(argument, "--help=", 7) == 0) {
            return error_set(err, "--help: \"%.60s\" is not known, expected man or words",
                             argument + 7);
        } else if (parse_option(options, argc, argv, &i, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- printing --------------------------------------------------------- */

/* The value in the target as text; false when there is nothing to show. */
static bool value_text(const Option *option, char *out, size_t size)
{
    out[0] = '\0';
    switch (option->type) {
    case OPTION_INTEGER:
    case OPTION_BYTES:
        if (*(int64_t *)option->target == 0 && !option->given) return false;
        snprintf(out, size, "%" PRId64, *(int64_t *)option->target);
        return true;
    case OPTION_NUMBER:
        if (*(double *)option->target == 0 && !option->given) return false;
        snprintf(out, size, "%g", *(double *)option->target);
        return true;
    case OPTION_STRING:
        if (!*(const char **)option->target) return false;
        snprintf(out, size, "%s", *(const char **)option->target);
        return true;
    case OPTION_CHOICE:
        if (*(int *)option->target == NO_CHOICE) return false;
        snprintf(out, size, "%s", option->choices[*(int *)option->target]);
        return true;
    case OPTION_FLAG:
        snprintf(out, size, "yes");
        return *(bool *)option->target;
    case OPTION_INTEGERS: {
        const OptionIntegers *list = option->target;
        for (int i = 0; i < list->count; i++) {
            size_t used = strlen(out);
            snprintf(out + used, size - used, "%s%" PRId64, i ? "," : "", list->values[i]);
        }
        return list->count > 0;
    }
    case OPTION_LIST: {
        const OptionList *list = option->target;
        for (int i = 0; i < list->count; i++) {
            size_t used = strlen(out);
            snprintf(out + used, size - used, "%s%s", i ? " " : "", list->values[i]);
        }
        return list->count > 0;
    }
    }
    return false;
}

/* Words from this column on, wrapped at HELP_WIDTH; further lines begin at column indent. */
static void print_wrapped(FILE *out, const char *text, int column, int indent)
{
    for (const char *gap = ""; *text; gap = " ") {
        int length = (int)strcspn(text, " ");
        if (column + length + 1 > HELP_WIDTH && *gap) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            gap = "";
        }
        column += fprintf(out, "%s%.*s", gap, length, text);
        text += length;
        if (*text == ' ') text++;
    }
    fputc('\n', out);
}

bool option_default(const Option *option, char *out, size_t size)
{
    return option->type != OPTION_FLAG && !option->given && value_text(option, out, size);
}

static void print_option(FILE *out, const Option *option)
{
    char left[80], help[1024], value[256];

    if (option->letter)
        snprintf(left, sizeof left, "  -%c, --%s %s", option->letter, option->name,
                 option->value_name ? option->value_name : "");
    else
        snprintf(left, sizeof left, "  --%s %s", option->name,
                 option->value_name ? option->value_name : "");
    bool shown = option_default(option, value, sizeof value);
    snprintf(help, sizeof help, "%s%s%s%s", option->help, shown ? " (default " : "",
             shown ? value : "", shown ? ")" : "");
    if (strlen(left) < HELP_COLUMN) fprintf(out, "%-*s", HELP_COLUMN, left);
    else                            fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    print_wrapped(out, help, HELP_COLUMN, HELP_COLUMN);
}

bool option_given(const Option *table, const char *name)
{
    while (table->name && strcmp(table->name, name) != 0) table++;
    return table->name && table->given;
}

void options_print_help(const Options *options, FILE *out)
{
    int column = fprintf(out, "usage: %s ", options->program);

    print_wrapped(out, options->usage, column, column);
    fputc('\n', out);
    print_wrapped(out, options->summary, 0, 0);
    fprintf(out, "\noptions:\n");
    for (const Option *option = options->table; option->name; option++) print_option(out, option);
    fprintf(out, "%-*s%s\n", HELP_COLUMN, "  -h, --help", "Print this and exit.");
    fprintf(out, "%-*s%s\n", HELP_COLUMN, "  --version", "Print the version and exit.");
    if (options->epilogue) fprintf(out, "\n%s\n", options->epilogue);
}

void options_print_version(const Options *options, FILE *out)
{
    fprintf(out, "%s %s\n", options->program, PIPEBD_VERSION);
}

void options_print_words(const Options *options, FILE *out)
{
    for (const Option *option = options->table; option->name; option++) {
        if (option->letter) fprintf(out, "--%s -%c ", option->name, option->letter);
        else fprintf(out, "--%s - ", option->name);
        if (option->type == OPTION_FLAG) fputs("none", out);
        else if (option->type != OPTION_CHOICE) fputs("value", out);
        else
            for (int i = 0; option->choices[i]; i++)
                fprintf(out, "%s%s", i ? "|" : "", option->choices[i]);
        fputc('\n', out);
    }
    fputs("--help -h none\n--version - none\n", out);
}

void options_print_info(const Options *options, OptionsInfo info, FILE *out)
{
    switch (info) {
    case INFO_NONE:    break;
    case INFO_HELP:    options_print_help(options, out); break;
    case INFO_MAN:     options_print_man(options, out); break;
    case INFO_WORDS:   options_print_words(options, out); break;
    case INFO_VERSION: options_print_version(options, out); break;
    }
}

int options_info(const Options *options, OptionsInfo info)
{
    options_print_info(options, info, stdout);
    if (fflush(stdout) == 0) return EXIT_OK;
    fprintf(stderr, "%s: <stdout>: cannot write: %s\n", options->program, strerror(errno));
    return EXIT_FAILED;
}

void options_print_settings(const Options *options, FILE *out)
{
    char value[1024];

    for (const Option *option = options->table; option->name; option++)
        if (value_text(option, value, sizeof value))
            fprintf(out, "  %-16s %s\n", option->name, value);
}
