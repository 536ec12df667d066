/* The options by which a command line changes a trace's cluster: rows of a table of
 * options (base/options.h) for the fields of a ScenarioOptions. */
#ifndef TOOLS_CLUSTER_OPTIONS_H
#define TOOLS_CLUSTER_OPTIONS_H

#include "traces/scenario.h"

#define CLUSTER_OPTIONS(s)                                                                         \
    {"devices", 0, OPTION_INTEGER, "N",                                                            \
     "Use the first N devices; beyond the trace's, more of its last kind.",                        \
     &(s).devices, 1, TRACE_MAX_DEVICES, NULL, false},                                             \
    {"batch", 0, OPTION_INTEGER, "B", "Global batch (default: the trace's).",                 \
     &(s).batch, 1, (int64_t)1 << 31, NULL, false},                                                \
    {"steps", 0, OPTION_INTEGER, "N", "Steps of an epoch (default: samples / batch).",            \
     &(s).steps, 1, (int64_t)1 << 40, NULL, false},                                                \
    {"epochs", 0, OPTION_INTEGER, "E",                                                             \
     "Epochs of the job, for sequential and store (default: the trace's, or 1).",                  \
     &(s).epochs, 1, TRACE_MAX_EPOCHS, NULL, false},                                               \
    {"memory", 0, OPTION_BYTES, "BYTES", "Memory of each device, such as 40GiB.",                 \
     &(s).memory_bytes, 1, 0, NULL, false},                                                        \
    {"queue-depth", 0, OPTION_INTEGER, "N", "Capacity of a relay queue, in messages.",             \
     &(s).queue_depth, 1, 1024, NULL, false},                                                      \
    {"extrapolate", 0, OPTION_FLAG, NULL, "Extrapolate costs beyond the measured points.",         \
     &(s).extrapolate, 0, 0, NULL, false}

#endif
