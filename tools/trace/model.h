/* pipebd-trace model. */
#ifndef TOOLS_TRACE_MODEL_H
#define TOOLS_TRACE_MODEL_H

#include <stdint.h>

#include "base/error.h"
#include "base/options.h"

typedef struct {
    const char *workload, *device, *output, *operators, *name, *date;
    int64_t     devices, batch, machine_devices, cores, workers, prefetch, process_bytes;
    double      sample_us, network_gb_per_s, host_us, step_us;
    /* indices into the lists below */
    int         precision, link, transfers, data, layout, statistics, optimizer, loader, attention;
} ModelSettings;

/* For the table of options. */
extern const char *const model_precisions[], *const model_links[], *const model_transfers[],
                                                                       *const model_data[];
extern const char *const model_statistics[], *const model_optimizers[],
                                                 *const model_loaders[], *const model_attentions[];

/* Refuses what is missing. device: what --device says, or NULL. */
int trace_model_check(const Option *table, const ModelSettings *settings, const char *device,
                      Error *err);

/* Writes the trace, and the operators where asked for. */
int trace_model(const ModelSettings *settings, Error *err);

#endif
