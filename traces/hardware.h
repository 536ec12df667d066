/* A kind of GPU as its vendor publishes it, read from a file ("pipebd-device",
 * docs/formats.md): what the model (traces/model.h) knows of hardware. traces/devices/ holds
 * the bundled ones; another is another file.
 *
 * Rates and bandwidths are the published peaks, of dense matrices; what of them is reached
 * is the model's business (traces/model_constants.h). */
#ifndef TRACES_HARDWARE_H
#define TRACES_HARDWARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

/* What convolutions and matrix products compute in; all else is float32, but for fp16 and bf16,
 * where activations are two bytes everywhere. */
typedef enum { NUMBERS_FP32, NUMBERS_TF32, NUMBERS_FP16, NUMBERS_BF16, NUMBERS_COUNT } Numbers;

/* "fp32"; also the keys of "tflops". NULL-terminated. */
extern const char *const numbers_names[NUMBERS_COUNT + 1];

typedef struct {
    int  generation, lanes;
    bool peer;               /* GPUs have peer access; else messages go through host memory */
} HardwarePcie;

typedef struct {
    double bytes_per_s;      /* one way; 0: none */
    int    devices;          /* that it joins at full rate: 2 for a bridge, 8 for a board with
                              * switches */
} HardwareNvlink;

typedef struct {
    Arena          arena;    /* owns everything below */
    const char    *name;     /* "RTX A6000" */
    const char   **sources;  /* [source_count] documents that the figures are from */
    int            source_count;
    int64_t        memory_bytes, cache_bytes;    /* cache: the last level */
    double         bandwidth_bytes_per_s;
    int            multiprocessors;
    double         boost_hz;             /* the rates' clock; no formula uses it */
    double         flop_per_s[NUMBERS_COUNT];  /* of the whole device, a multiply-accumulate being
                                                  * two; 0: it cannot. fp32 is always there */
    HardwarePcie   pcie;
    HardwareNvlink nvlink;
    uint64_t       hash;     /* FNV-1a (64 bit) of the file's bytes */
} Hardware;

/* path, or the name of a bundled one, as it is written ("RTX A6000") or its file is
 * ("rtx-a6000"): upper and lower case, spaces and dashes are not told apart. What has a slash
 * or ends in .json is a path. *out is yours: hardware_free() it. Errors carry
 * path:line:column. */
int  hardware_read(Hardware **out, const char *path, Error *err);

/* The same from memory; name stands for the path in messages. */
int  hardware_parse(Hardware **out, const char *name, const char *text, size_t length, Error *err);

void hardware_free(Hardware *hardware);

/* Bytes a second of a PCIe link one way, as its standard has it (encoding taken off). generation:
 * 1 to HARDWARE_MAX_PCIE. */
enum { HARDWARE_MAX_PCIE = 6 };
double hardware_pcie_bytes_per_s(const HardwarePcie *pcie);

#endif
