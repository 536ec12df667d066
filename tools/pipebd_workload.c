/* pipebd-workload: makes workloads of pretrained models, checks and shows them. Each subcommand has
 * its own options. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/nearest.h"
#include "base/options.h"
#include "base/text.h"
#include "tools/workload/workload.h"

typedef struct {
    const char *name, *summary;
    int       (*run)(int argc, char **argv);
} WorkloadCommand;

static const WorkloadCommand commands[] = {
    {"check", "check workloads and the shapes of their teachers' weights", workload_check_tool},
    {"show", "print the blocks of a workload: shapes, parameters, work, bytes", workload_show_tool},
    {"import", "make a workload from a pretrained model", workload_import_tool},
    {"make-students", "make students that are narrower copies of their teachers",
     workload_make_students_tool},
    {"pick", "take one of each block's students", workload_pick_tool},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

/* What stands before any subcommand: --help and --version, and nothing else. */
static int without_command(int argc, char **argv)
{
    Option   none[] = {{0}};
    Text     list = {0};
    Operands operands;
    Error    err = {""};

    text_append(&list, "subcommands:\n");
    for (int i = 0; i < COMMANDS; i++)
        text_printf(&list, "  %-13s %s\n", commands[i].name, commands[i].summary);
    text_append(&list, "\npipebd-workload SUBCOMMAND --help lists its options.");
    Options options = {"pipebd-workload", "SUBCOMMAND [options]",
                       "Checks, shows and makes workloads: teachers, students, and their weights.",
                       none, text_string(&list)};
    int status = EXIT_USAGE;
    if (options_parse(&options, argc, argv, &operands, &err) != 0)
        fprintf(stderr, "pipebd-workload: %s\n", err.text);
    else if (operands.info) status = options_info(&options, operands.info);
    else fprintf(stderr, "pipebd-workload: expected a subcommand, see --help\n");
    text_free(&list);
    return status;
}

static int refuse(const char *word)
{
    const char *names[COMMANDS + 1] = {NULL};

    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    const char *near = nearest_name(word, names);
    fprintf(stderr, "pipebd-workload: unknown subcommand \"%s\"", word);
    if (near) fprintf(stderr, " (did you mean \"%s\"?)", near);
    fprintf(stderr, ", expected one of:");
    for (int i = 0; i < COMMANDS; i++) fprintf(stderr, " %s", names[i]);
    fprintf(stderr, "\n");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    file_limits_are_errors();
    if (argc < 2 || argv[1][0] == '-') return without_command(argc, argv);
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    return refuse(argv[1]);
}
