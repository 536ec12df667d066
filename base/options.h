/* Command lines: one table says an option's name, value, help and default; the
 * parser, --help and the printed settings all come from it.
 *
 * Accepted: --name VALUE, --name=VALUE, -o VALUE, --flag, "--" before operands.
 * Options and operands may be mixed. Refused: unknown options (with the nearest
 * name), a value for a flag, a missing value, the same option twice unless it is
 * a list. A former name of an option is taken for a release, with a note on standard error.
 *
 * Built in: --help, -h; --help=man, a page of roff for man(1); --help=words, a line an
 * option for scripts; --version. They are parsed into an OptionsInfo, which a main()
 * gives with options_print_info(). */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef enum {
    OPTION_FLAG,             /* bool                                           */
    OPTION_INTEGER,          /* int64_t, within minimum..maximum               */
    OPTION_BYTES,            /* int64_t: 1048576, 40GiB, 512MiB, 80GB          */
    OPTION_NUMBER,           /* double, at least minimum                       */
    OPTION_STRING,           /* const char *, borrowed from argv               */
    OPTION_CHOICE,           /* int: index into choices ("a|b|c" in help), or NO_CHOICE */
    OPTION_LIST,             /* OptionList: repeatable, in order               */
    OPTION_INTEGERS          /* OptionIntegers: 64,128,256, each within minimum..maximum */
} OptionType;

#define OPTION_MAX_LIST 64

enum { NO_CHOICE = -1 };     /* the default of a choice that has none */

typedef struct {
    const char *values[OPTION_MAX_LIST];     /* borrowed from argv */
    int         count;
} OptionList;

typedef struct {
    int64_t values[OPTION_MAX_LIST];
    int     count;               /* 0: not given */
} OptionIntegers;

typedef struct {
    const char        *name;       /* "devices" -> --devices; NULL ends the table */
    char               letter;     /* 'o' -> -o, or 0                             */
    OptionType         type;
    const char        *value_name; /* "N", "FILE"; NULL for a flag                */
    const char        *help;       /* one sentence; wrapped at 80 columns         */
    void              *target;     /* where the value goes; holds the default     */
    int64_t            minimum, maximum;   /* integers and bytes; maximum 0: none */
    const char *const *choices;    /* NULL-terminated, for OPTION_CHOICE          */
    bool               given;      /* set by the parser                           */
} Option;

typedef struct {
    const char *program;           /* "pipebd-plan"                               */
    const char *usage;             /* "TRACE [options]"                           */
    const char *summary;           /* what it does, one or two sentences          */
    Option     *table;             /* ends with name NULL; --help is built in     */
    const char *epilogue;          /* more for --help (examples, paths), or NULL  */
} Options;

#define OPTIONS_MAX_OPERANDS 256

typedef enum { INFO_NONE, INFO_HELP, INFO_MAN, INFO_WORDS, INFO_VERSION } OptionsInfo;

typedef struct {
    const char *values[OPTIONS_MAX_OPERANDS];
    int         count;
    OptionsInfo info;              /* what is asked for instead of work           */
} Operands;

/* Fills the targets and operands. Returns -1 with a message on bad usage. */
int options_parse(const Options *options, int argc, char **argv, Operands *operands, Error *err);

/* Whether the command line had the option. */
bool option_given(const Option *table, const char *name);

/* Prints what the command line asks for instead of work. */
void options_print_info(const Options *options, OptionsInfo info, FILE *out);

/* --help: to a stream. Defaults that are set are shown "(default 2)". */
void options_print_help(const Options *options, FILE *out);

/* --help=man (base/manual.c): the same as a page of section 1, in the man(7) macros. */
void options_print_man(const Options *options, FILE *out);

/* --help=words: "--devices -d value" an option: its name, its letter or "-", and what follows it:
 * "none", "value", or its choices, "table|csv|json". */
void options_print_words(const Options *options, FILE *out);

/* --version: "pipebd-plan 0.2.0". */
void options_print_version(const Options *options, FILE *out);

/* An option's default as text; false when it has none to show. out: at least 256 bytes. */
bool option_default(const Option *option, char *out, size_t size);

/* What the command line asks for, to standard output. Returns the exit status; when it cannot be
 * written, having said why. */
int options_info(const Options *options, OptionsInfo info);

/* One line a set option: "  devices      4", for the settings before a run. */
void options_print_settings(const Options *options, FILE *out);

/* Exit statuses of every tool (docs/operations.md). */
enum {
    EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2,
    EXIT_FAULT = 3,          /* another process of the run was lost: resumed, it goes on */
    EXIT_INTERRUPTED = 130   /* by SIGINT or SIGTERM, in good order; what a shell gives for
                              * SIGINT */
};

#endif
