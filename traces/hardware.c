#include "traces/hardware.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/bundled.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/text.h"

const char *const numbers_names[NUMBERS_COUNT + 1] = {"fp32", "tf32", "fp16", "bf16", NULL};

/* ---- values ---------------------------------------------------------------------- */

static int get_line(Hardware *hardware, const JsonAt *at, const char **out, Error *err)
{
    const char *value;

    if (json_get_line(at, &value, err) != 0) return -1;
    *out = arena_strdup(&hardware->arena, value);
    return *out ? 0 : error_no_memory(err);
}

/* A number above 0 and at most maximum, times scale. */
static int get_positive(const JsonAt *parent, const char *key, double maximum, double scale,
                        double *out, Error *err)
{
    JsonAt at = json_member(parent, key);
    double value;

    if (json_get_number(&at, 0, &value, err) != 0) return -1;
    if (value <= 0 || value > maximum)
        return json_fail(&at, err, "%g, expected more than 0 and at most %g", value, maximum);
    *out = value * scale;
    return 0;
}

static int get_count(const JsonAt *parent, const char *key, int64_t maximum, int64_t *out,
                     Error *err)
{
    JsonAt at = json_member(parent, key);

    return json_get_integer(&at, 1, maximum, out, err);
}

/* ---- parts ------------------------------------------------------------------------ */

static int read_sources(Hardware *hardware, const JsonAt *root, Error *err)
{
    JsonAt at = json_member(root, "sources");

    if (json_get_array(&at, 1, err) != 0) return -1;
    hardware->source_count = (int)json_count(&at);
    hardware->sources = arena_alloc(&hardware->arena, json_count(&at), sizeof *hardware->sources);
    if (!hardware->sources) return error_no_memory(err);
    for (int i = 0; i < hardware->source_count; i++) {
        JsonAt source = json_element(&at, (size_t)i);
        if (get_line(hardware, &source, &hardware->sources[i], err) != 0) return -1;
    }
    return 0;
}

static int read_rates(Hardware *hardware, const JsonAt *root, Error *err)
{
    JsonAt at = json_member(root, "tflops");

    if (json_check_keys(&at, numbers_names, err) != 0) return -1;
    for (int p = 0; p < NUMBERS_COUNT; p++) {
        JsonAt rate = json_member(&at, numbers_names[p]);
        if (p != NUMBERS_FP32 && !json_has(&rate)) continue;
        if (get_positive(&at, numbers_names[p], 1e6, 1e12, &hardware->flop_per_s[p], err) != 0)
            return -1;
    }
    return 0;
}

static int read_pcie(Hardware *hardware, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"generation", "lanes", "peer", NULL};
    JsonAt  at = json_member(root, "pcie"), peer = json_member(&at, "peer");
    int64_t generation, lanes;

    if (json_check_keys(&at, keys, err) != 0) return -1;
    if (get_count(&at, "generation", HARDWARE_MAX_PCIE, &generation, err) != 0) return -1;
    if (get_count(&at, "lanes", 32, &lanes, err) != 0) return -1;
    if (json_get_bool(&peer, &hardware->pcie.peer, err) != 0) return -1;
    hardware->pcie.generation = (int)generation;
    hardware->pcie.lanes = (int)lanes;
    return 0;
}

static int read_nvlink(Hardware *hardware, const JsonAt *root, Error *err)
{
    static const char *const keys[] = {"gb_per_s", "devices", NULL};
    JsonAt  at = json_member(root, "nvlink"), devices = json_member(&at, "devices");
    int64_t count;

    if (!json_has(&at)) return 0;
    if (json_check_keys(&at, keys, err) != 0) return -1;
    if (get_positive(&at, "gb_per_s", 1e6, 1e9, &hardware->nvlink.bytes_per_s, err) != 0) return -1;
    if (json_get_integer(&devices, 2, 1024, &count, err) != 0) return -1;
    hardware->nvlink.devices = (int)count;
    return 0;
}

/* Reads a device's file ("pipebd-device", version 1) key by key; its units become bytes, hertz and
 * per second. Fails at the first value that is missing, out of range or of an unknown key. */
static int read_root(Hardware *hardware, const Json *doc, Error *err)
{
    static const char *const keys[] = {"format", "version", "name", "sources", "memory_bytes",
                                       "bandwidth_gb_per_s", "cache_bytes", "multiprocessors",
                                       "boost_mhz", "tflops", "pcie", "nvlink", NULL};
    JsonAt  root = json_root(doc), name = json_member(&root, "name");
    int64_t multiprocessors;

    if (json_check_format(doc, "pipebd-device", 1, err) != 0) return -1;
    if (json_check_keys(&root, keys, err) != 0) return -1;
    if (get_line(hardware, &name, &hardware->name, err) != 0) return -1;
    if (read_sources(hardware, &root, err) != 0) return -1;
    if (get_count(&root, "memory_bytes", JSON_MAX_INTEGER, &hardware->memory_bytes, err) != 0)
        return -1;
    if (get_positive(&root, "bandwidth_gb_per_s", 1e6, 1e9, &hardware->bandwidth_bytes_per_s, err)
        != 0)
        return -1;
    if (get_count(&root, "cache_bytes", JSON_MAX_INTEGER, &hardware->cache_bytes, err) != 0)
        return -1;
    if (get_count(&root, "multiprocessors", 65536, &multiprocessors, err) != 0) return -1;
    hardware->multiprocessors = (int)multiprocessors;
    if (get_positive(&root, "boost_mhz", 1e5, 1e6, &hardware->boost_hz, err) != 0) return -1;
    if (read_rates(hardware, &root, err) != 0) return -1;
    if (read_pcie(hardware, &root, err) != 0) return -1;
    return read_nvlink(hardware, &root, err);
}

int hardware_parse(Hardware **out, const char *name, const char *text, size_t length, Error *err)
{
    Hardware *hardware = calloc(1, sizeof *hardware);
    Json     *doc = NULL;
    int       rc = -1;

    *out = NULL;
    if (!hardware) return error_no_memory(err);
    if (json_doc_parse(&doc, name, text, length, err) != 0) goto done;
    if (read_root(hardware, doc, err) != 0) goto done;
    hardware->hash = hash_bytes(HASH_START, text, length);
    *out = hardware;
    hardware = NULL;
    rc = 0;
done:
    json_doc_free(doc);
    hardware_free(hardware);
    return rc;
}

/* ---- names --------------------------------------------------------------------------- */

/* "RTX A6000" -> "rtx-a6000.json", yours; NULL without memory. */
static char *file_of(const char *name)
{
    Text text = {0};

    text_printf(&text, "%s.json", name);
    if (text_failed(&text)) { text_free(&text); return NULL; }
    for (char *c = text.bytes; *c; c++) *c = *c == ' ' ? '-' : (char)tolower((unsigned char)*c);
    return text.bytes;
}

static int find(char **out, const char *path, Error *err)
{
    char *file;
    int   rc;

    if (bundled_is_path(path)) return (*out = strdup(path)) ? 0 : error_no_memory(err);
    file = file_of(path);
    if (!file) return error_no_memory(err);
    rc = bundled_find(out, "traces/devices", file, ".json", err);
    free(file);
    return rc;
}

int hardware_read(Hardware **out, const char *path, Error *err)
{
    char  *found = NULL, *text = NULL;
    size_t length;
    int    rc = -1;

    *out = NULL;
    if (find(&found, path, err) != 0) return -1;
    if (file_read(&text, &length, found, 0, err) != 0) goto done;
    rc = hardware_parse(out, strcmp(found, "-") == 0 ? "<stdin>" : found, text, length, err);
done:
    free(text);
    free(found);
    return rc;
}

void hardware_free(Hardware *hardware)
{
    if (!hardware) return;
    arena_free(&hardware->arena);
    free(hardware);
}

/* ---- links ------------------------------------------------------------------------------ */

double hardware_pcie_bytes_per_s(const HardwarePcie *pcie)
{
    /* GT/s a lane, and the share of bits that is data: 8b/10b, 128b/130b, 242/256 of a flit. */
    static const struct { double gt_per_s, data;
    } of[HARDWARE_MAX_PCIE + 1] = {{0, 0},           {2.5, 0.8},        {5, 0.8},
                                   {8, 128.0 / 130}, {16, 128.0 / 130}, {32, 128.0 / 130},
                                   {64, 242.0 / 256}};

    return of[pcie->generation].gt_per_s * of[pcie->generation].data * 1e9 / 8 * pcie->lanes;
}
