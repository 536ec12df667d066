/* pipebd-run: blockwise distillation on real devices. Each subcommand has its own options. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/nearest.h"
#include "base/options.h"
#include "executor/train/execute.h"
#include "tools/run/run.h"

typedef struct {
    const char *name, *summary;
    int       (*run)(int argc, char **argv);
} Subcommand;

static const Subcommand subcommands[] = {
    {"describe", "what a workload is made of: shapes, parameters, work, bytes", run_describe},
    {"train",    "train the students under a plan or a schedule", run_train},
    {"profile",  "measure what every block costs, and write a trace", run_profile},
    {"validate", "predict and run every schedule, and compare", run_validate},
    {"choose",   "take the best network out of a trained supernet", run_choose},
};

enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static void print_help(FILE *out)
{
    fprintf(out, "usage: pipebd-run SUBCOMMAND [options]\n\nBlockwise distillation on real devices.\n\n");
    for (int i = 0; i < SUBCOMMANDS; i++) fprintf(out, "  %-10s %s\n", subcommands[i].name, subcommands[i].summary);
    fprintf(out, "\npipebd-run SUBCOMMAND --help lists its options.\n");
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

int main(int argc, char **argv)
{
    file_limits_are_errors();
    signal(SIGUSR1, SIG_IGN);        /* a query; before there is somebody to answer it does no harm */
    if (argc < 2) {
        fprintf(stderr, "pipebd-run: expected a subcommand, see --help\n");
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        if (fflush(stdout) == 0) return EXIT_OK;
        fprintf(stderr, "pipebd-run: <stdout>: cannot write: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    for (int i = 0; i < SUBCOMMANDS; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0) return subcommands[i].run(argc - 1, argv + 1);
    return refuse(argv[1]);
}
