/* The man page of a tool, from the table that its --help comes from. In the man(7) macros:
 *
 *     .TH PIPEBD-RUN-TRAIN 1 "" "pipebd 0.2.0" "Pipe-BD in C"
 *     NAME, SYNOPSIS, DESCRIPTION, OPTIONS (a .TP each), NOTES (the epilogue as it is),
 *     EXIT STATUS
 *
 * Text is escaped: a backslash, a hyphen (else one that cannot be copied), and a dot or an
 * apostrophe at the start of a line, which would be a macro. */
#include "base/options.h"

#include <ctype.h>
#include <string.h>

#include "include/pipebd.h"          /* PIPEBD_VERSION */

/* Text without macros in it; lines break where it breaks them. */
static void put(FILE *out, const char *text)
{
    bool at_start = true;

    for (; *text; text++) {
        if (at_start && (*text == '.' || *text == '\'')) fputs("\\&", out);
        at_start = *text == '\n';
        if (*text == '\\') fputs("\\e", out);
        else if (*text == '-') fputs("\\-", out);
        else fputc(*text, out);
    }
}

/* The program's name, words joined: "pipebd-run-train". */
static void put_name(FILE *out, const char *program, bool upper)
{
    for (; *program; program++) {
        int c = *program == ' ' ? '-' : *program;
        if (c == '-' && !upper) fputc('\\', out);
        fputc(upper ? toupper((unsigned char)c) : c, out);
    }
}

/* "name \- what it does": the summary's first sentence, small at its start, without its end. */
static void put_title(FILE *out, const Options *options)
{
    const char *end = strstr(options->summary, ". ");
    size_t      length = end ? (size_t)(end - options->summary) : strlen(options->summary);

    put_name(out, options->program, false);
    fputs(" \\- ", out);
    for (size_t i = 0; i < length; i++) {
        char c = options->summary[i];
        if (c == '.' && i + 1 == length) break;
        if (c == '\n') c = ' ';
        put(out, (char[]){i ? c : (char)tolower((unsigned char)c), '\0'});
    }
    fputc('\n', out);
}

/* An option's entry of a man page. */
static void put_option(FILE *out, const Option *option)
{
    char value[256];

    fputs(".TP\n", out);
    if (option->letter) fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB", out);
    put(out, "--");
    put(out, option->name);
    fputs("\\fR", out);
    if (option->value_name) {
        fputs(" \\fI", out);
        put(out, option->value_name);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put(out, option->help);
    if (option_default(option, value, sizeof value)) {
        fputs(" (default ", out);
        put(out, value);
        fputc(')', out);
    }
    fputc('\n', out);
}

static void put_built_in(FILE *out)
{
    static const Option built_in[] = {
        {.name = "help", .letter = 'h',
         .help = "Print the options and exit; --help=man: this page."},
        {.name = "version", .help = "Print the version and exit."},
    };

    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++) put_option(out, &built_in[i]);
}

static void put_exit_status(FILE *out)
{
    static const struct { int status; const char *meaning;
    } statuses[] = {
        {EXIT_OK, "It did what was asked."},
        {EXIT_FAILED, "It could not; standard error says why."},
        {EXIT_USAGE, "The command line is wrong."},
        {EXIT_FAULT, "Another process of the run was lost (pipebd-run)."},
        {EXIT_INTERRUPTED, "Interrupted by SIGINT or SIGTERM."},
    };

    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        fprintf(out, ".TP\n\\fB%d\\fR\n", statuses[i].status);
        put(out, statuses[i].meaning);
        fputc('\n', out);
    }
}

void options_print_man(const Options *options, FILE *out)
{
    fputs(".TH ", out);
    put_name(out, options->program, true);
    fprintf(out, " 1 \"\" \"pipebd %s\" \"Pipe\\-BD in C\"\n.SH NAME\n", PIPEBD_VERSION);
    put_title(out, options);
    fputs(".SH SYNOPSIS\n.B ", out);
    put(out, options->program);
    fputc('\n', out);
    put(out, options->usage);
    fputs("\n.SH DESCRIPTION\n", out);
    put(out, options->summary);
    fputs("\n.SH OPTIONS\n", out);
    for (const Option *option = options->table; option->name; option++) put_option(out, option);
    put_built_in(out);
    if (options->epilogue) {
        fputs(".SH NOTES\n.nf\n", out);
        put(out, options->epilogue);
        fputs("\n.fi\n", out);
    }
    put_exit_status(out);
}
