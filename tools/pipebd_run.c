/* pipebd-run: blockwise distillation on real devices. Each subcommand has its own options. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/nearest.h"
#include "base/options.h"
#include "base/text.h"
#include "executor/train/execute.h"
#include "kernels/device.h"
#include "tools/run/run.h"

typedef struct {
    const char *name, *summary;
    int       (*run)(int argc, char **argv);
} Subcommand;

static const Subcommand subcommands[] = {
    {"describe", "print the blocks of a workload: shapes, parameters, work, bytes", run_describe},
    {"train",    "train the students under a plan or a schedule", run_train},
    {"profile",  "measure the cost of every block, and write a trace", run_profile},
    {"validate", "predict and run every schedule, and compare the times", run_validate},
    {"evaluate", "losses, accuracy or perplexity of a teacher or of students", run_evaluate},
    {"choose",   "choose the best subnet of a trained supernet", run_choose},
};

enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

/* What stands before any subcommand: --help and --version, and nothing else. */
static int run_without_subcommand(int argc, char **argv)
{
    Option   none[] = {{0}};
    Text     list = {0};
    Operands operands;
    Error    err = {""};

    text_append(&list, "subcommands:\n");
    for (int i = 0; i < SUBCOMMANDS; i++)
        text_printf(&list, "  %-10s %s\n", subcommands[i].name, subcommands[i].summary);
    text_append(&list, "\npipebd-run SUBCOMMAND --help lists its options.");
    Options options = {"pipebd-run", "SUBCOMMAND [options]",
                       "Runs blockwise distillation on CPUs and GPUs.", none, text_string(&list)};
    int status = EXIT_USAGE;
    if (options_parse(&options, argc, argv, &operands, &err) != 0)
        fprintf(stderr, "pipebd-run: %s\n", err.text);
    else if (operands.info) status = options_info(&options, operands.info);
    else fprintf(stderr, "pipebd-run: expected a subcommand, see --help\n");
    text_free(&list);
    return status;
}

static int refuse(const char *word)
{
    const char *names[SUBCOMMANDS + 1] = {NULL};

    for (int i = 0; i < SUBCOMMANDS; i++) names[i] = subcommands[i].name;
    const char *near = nearest_name(word, names);
    fprintf(stderr, "pipebd-run: unknown subcommand \"%s\"", word);
    if (near) fprintf(stderr, " (did you mean \"%s\"?)", near);
    fprintf(stderr, ", expected one of:");
    for (int i = 0; i < SUBCOMMANDS; i++) fprintf(stderr, " %s", names[i]);
    fprintf(stderr, "\n");
    return EXIT_USAGE;
}

/* With an environment that devices can work in. Where it cannot be started again they refuse what
 * remains. */
static void start_again(char **argv)
{
    char    self[4096];
    ssize_t length;

    if (!device_reset_environment()) return;
    length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) return;
    self[length] = '\0';
    execv(self, argv);
}

int main(int argc, char **argv)
{
    file_limits_are_errors();
    start_again(argv);
    signal(SIGUSR1, SIG_IGN);        /* a query; before there is somebody to answer it does no
                                      * harm */
    if (argc < 2 || argv[1][0] == '-') return run_without_subcommand(argc, argv);
    for (int i = 0; i < SUBCOMMANDS; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(argc - 1, argv + 1);
    return refuse(argv[1]);
}
