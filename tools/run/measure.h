/* What profile and validate share: their options, what those open, and the profile itself. */
#ifndef TOOLS_RUN_MEASURE_H
#define TOOLS_RUN_MEASURE_H

#include <stdatomic.h>

#include "base/options.h"
#include "base/progress.h"
#include "base/text.h"
#include "executor/data/data.h"
#include "executor/checkpoint/tensors.h"
#include "executor/net/world.h"
#include "kernels/device.h"
#include "tools/run/common.h"
#include "tools/run/monitor.h"
#include "tools/run/fault_monitor.h"
#include "workloads/workload.h"

typedef struct {
    const char *workload, *devices, *precision, *data, *teacher, *interface, *store,
        *store_precision;
    bool        store_bf16;  /* what --store-precision says */
    bool        nccl;
    int64_t     batch, trials, seed, queue_depth, lanes, prefetch;   /* batch 0: the workload's;
                                                                      * lanes 0: chosen */
    double      limit;       /* s */
    bool        prefetch_given;
} MeasureSettings;

#define MEASURE_DEFAULTS                                                                           \
    {.devices = NULL, .trials = 60, .limit = 30, .seed = 1, .queue_depth = 2}

#define MEASURE_OPTIONS(m)                                                                         \
    {"workload", 'w', OPTION_STRING, "W", "A bundled workload's name, or a file.", &(m).workload,  \
     0, 0,                                                                                         \
     NULL, false},                                                                                 \
    {"devices", 0, OPTION_STRING, RUN_DEVICES, RUN_DEVICES_HELP, &(m).devices, 0, 0, NULL,         \
     false},                                                                                       \
    {"nccl", 0, OPTION_FLAG, NULL, "Transfer between GPUs by NCCL instead of peer copies.",        \
     &(m).nccl, 0, 0,                                                                              \
     NULL, false},                                                                                 \
    {"precision", 0, OPTION_STRING, "P",                                                           \
     "Precision: fp32 (default), bf16, on GPUs tf32 too.",                                         \
     &(m).precision, 0, 0, NULL, false},                                                           \
    {"data", 0, OPTION_STRING, "SOURCE", DATA_SOURCES " (default: the workload's).", &(m).data,    \
     0, 0, NULL, false},                                                                           \
    {"teacher", 0, OPTION_STRING, "FILE", "The teacher's weights (default: the workload's).",      \
     &(m).teacher, 0,                                                                              \
     0, NULL, false},                                                                              \
    {"batch", 0, OPTION_INTEGER, "B", "Global batch (default: the workload's).", &(m).batch, 1,    \
     (int64_t)1 << 24, NULL, false},                                                               \
    {"trials", 0, OPTION_INTEGER, "N", "Timed steps for each point of the profile.", &(m).trials,  \
     3, 100000, NULL,                                                                              \
     false},                                                                                       \
    {"limit", 0, OPTION_NUMBER, "S",                                                               \
     "Most seconds to go on measuring until times are known to 1 %.", &(m).limit, 0, 0, NULL,  \
     false},                                                                                       \
    {"seed", 0, OPTION_INTEGER, "N", "Seed of weights, sample order and paths.", &(m).seed, 0, 0,  \
     NULL, false},                                                                                 \
    {"queue-depth", 0, OPTION_INTEGER, "N", "Capacity of a relay queue, in messages.",             \
     &(m).queue_depth, 1, 1024,                                                                    \
     NULL, false},                                                                                 \
    {"workers", 0, OPTION_INTEGER, "N",                                                            \
     "Loader workers (default: as many as cores that devices leave).",                             \
     &(m).lanes, 1, 1024, NULL, false},                                                            \
    {"prefetch", 0, OPTION_INTEGER, "N",                                                           \
     "Batches loaded ahead for each device; 0: the device loads its own "                          \
     "(default: 2 with --workers or if devices leave cores, else 0).",                             \
     &(m).prefetch, 0, 1024, NULL, false},                                                         \
    {"interface", 0, OPTION_STRING, "NAME",                                                        \
     "Listen for other processes at this interface or address only.",                              \
     &(m).interface, 0, 0, NULL, false}

typedef struct {
    World     *world;        /* borrowed; NULL: this process alone */
    Workload  *workload;
    DeviceSpec devices;      /* of the ranks here that share cores; this one's from first_of_spec */
    int        first_of_spec, device_count;      /* device_count: of all ranks */
    Data      *data;
    Tensors   *teacher;      /* NULL: from the seed */
    int64_t    batch;
    int        lanes, prefetch;
    atomic_bool *stop;       /* an interrupt sets it */
    CurrentRun     current_run;
    Monitor    *monitor;     /* answers SIGUSR1 */
    FaultMonitor      *fault_monitor;       /* over the other ranks; NULL: none */
} MeasureInputs;

/* What is missing or does not go together: bad usage. ranks: this process is one of several. */
int  measure_check(MeasureSettings *settings, const Option *table, bool ranks, Error *err);

/* measure_close() out either way. Every rank calls it; refuses what differs between them. command:
 * the subcommand's name. */
int  measure_open(MeasureInputs *out, const MeasureSettings *settings, World *world,
                  const char *command, Error *err);
void measure_close(MeasureInputs *inputs, bool failed);

/* What to exit with, of what run_world_close() gives: an interrupt has a status of its own. */
int  measure_status(int status);

/* Who is where, to standard error, when there are several. */
int  measure_say_ranks(const MeasureInputs *inputs, Error *err);

/* The trace as text; nothing at ranks other than 0. */
int measure_profile(Text *out, MeasureInputs *inputs, const MeasureSettings *settings,
                    Progress *progress, Error *err);

#endif
