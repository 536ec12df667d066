/* The subcommands of pipebd-run, a file each: options in, text out. */
#ifndef TOOLS_RUN_RUN_H
#define TOOLS_RUN_RUN_H

/* argv[0] is the subcommand's name. Returns the exit status. */
int run_choose(int argc, char **argv);
int run_evaluate(int argc, char **argv);
int run_describe(int argc, char **argv);
int run_train(int argc, char **argv);
int run_profile(int argc, char **argv);
int run_validate(int argc, char **argv);

#endif
