/* What the subcommands of pipebd-run that execute programs share. */
#ifndef TOOLS_RUN_COMMON_H
#define TOOLS_RUN_COMMON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/text.h"
#include "executor/data/data.h"
#include "executor/checkpoint/tensors.h"
#include "kernels/device.h"
#include "workloads/workload.h"

/* From now on the first SIGINT, SIGTERM or SIGUSR2 sets the flag returned, and a second of its kind
 * kills. SIGTERM is what batch systems send first, and mpirun when it is interrupted, a moment
 * before it kills; SIGUSR2 it passes on. */
atomic_bool *run_catch_interrupt(void);

/* Ignores SIGPIPE: a write where nobody reads any more fails with EPIPE. Words to standard error
 * may be lost, results are refused as on a full disk. Children are started so, too. */
void run_ignore_lost_output(void);

/* Whether one came: the flag may have been set by others, too. */
bool run_interrupted(void);

/* The command line that goes on where this one is interrupted, ready for a shell: as it was given
 * (argv[0] the subcommand), with --resume. */
void run_go_on_text(Text *out, int argc, char *const *argv);

/* In the environment of what run_supervised() starts: that line for the whole run, as its own lacks
 * options. */
#define RUN_GO_ON "PIPEBD_GO_ON"

/* The number of the newest checkpoint in a folder; 0: none, or no folder (NULL). */
int64_t run_newest_checkpoint(const char *folder);

#define RUN_DEVICES "DEVICES"
#define RUN_DEVICES_HELP \
    "cpu:N: N groups of the machine's cores; cuda:0,1: GPUs; cuda:0/4: a GPU in four slices."

/* The devices of --devices, --precision (NULL: fp32) and --nccl. ask: the machine is asked whether
 * it has them; else they are only read. */
int run_devices(DeviceSpec *out, const char *devices, const char *precision, bool nccl, bool ask,
                Error *err);

/* A file of the command line. */
typedef struct {
    const char *option;                  /* for messages: "--teacher" */
    const char *path;                    /* NULL: not given */
    bool        written;
} RunFile;

/* Refuses a file that is written and is another of these, too: by whatever path, there or not
 * yet. */
int run_check_files(const RunFile *files, int count, Error *err);

/* The weights of a teacher or students, from a file, yours: tensors_free() them. Values that
 * nothing can be computed with are refused. */
int run_read_weights(Tensors **out, const char *path, Error *err);

/* A workload that can be executed: workload_read(), takes its data from the current folder where it
 * is not beside the workload, as version 0.1 did, and says so (speaks: of several processes one
 * does), and refuses one whose teacher runs in training mode. Rows that a device normalises
 * together would then depend on the plan, and with them the boundaries that all plans share.
 * workload_free() *out. */
int run_read_workload(Workload **out, const char *path, bool speaks, Error *err);

/* The workload's file; NULL: it is a bundled one. */
const char *run_workload_file(const char *workload);

/* Where samples are from: --data (NULL: not given), else what the workload says. */
const char *run_data_source(const char *data, const Workload *workload);

/* A sample stands in a step once at most: refuses a batch of more than there are. */
int run_check_batch(int64_t batch, const Data *data, const char *source, Error *err);

/* The loader: lanes (0) and prefetch (-1: not given) as asked for. Where devices use all cores,
 * lanes would only take them away: then a device loads its own rows. */
void run_choose_lanes(const DeviceSpec *devices, int64_t lanes, int64_t prefetch, int *out_lanes,
                      int *out_prefetch);

#endif
