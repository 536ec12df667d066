#include "tools/run/world.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "tools/run/fault_monitor.h"

/* ---- beginning and end --------------------------------------------------------------- */

int run_world_open(World **out, const char *tool)
{
    Error err;

    fault_monitor_expect();
    int rc = world_open(out, &err);
    fault_monitor_have_come();
    if (rc == 0) return 0;
    fprintf(stderr, "%s: %s\n", tool, err.text);
    return EXIT_FAILED;
}

bool run_world_speaks(const World *world) { return world_rank(world) == 0; }

bool run_world_parse(const World *world, const Options *options, int argc, char **argv,
                     Operands *operands, int *status, Error *err)
{
    *status = EXIT_USAGE;
    if (options_parse(options, argc, argv, operands, err) != 0) return false;
    if (!operands->info) return true;
    *status = run_world_speaks(world) ? options_info(options, operands->info) : EXIT_OK;
    return false;
}

int run_world_close(World *world, const char *tool, int status, const Error *err)
{
    Error why = err ? *err : (Error){""};

    /* Ranks that were interrupted come here in good order, and wait until rank 0 has written
     * all. */
    bool in_order = status == EXIT_OK || status == EXIT_INTERRUPTED;
    if (world_agree(world, in_order ? 0 : -1, &why) != 0 && status == EXIT_OK) status = EXIT_FAILED;
    if (status != 0 && run_world_speaks(world)) fprintf(stderr, "%s: %s\n", tool, why.text);
    fflush(NULL);
    world_close(world);
    return status;
}

/* ---- devices ---------------------------------------------------------------------------- */

/* What ranks tell each other. Those that share stand on the same host with the same cores. */
typedef struct {
    int       host, devices;
    cpu_set_t cores;
} Claim;

static bool share(const Claim *a, const Claim *b)
{
    return a->host == b->host && CPU_EQUAL(&a->cores, &b->cores);
}

/* The devices of all ranks that share, as one specification. */
static int merge(DeviceSpec *devices, int *first, World *world, const Claim *claims, Error *err)
{
    const Claim *mine = &claims[world_rank(world)];
    Precision    precision = devices->precision;
    int          together = 0, on_host = 0;
    char         text[32];

    *first = 0;
    for (int r = 0; r < world_size(world); r++) {
        if (claims[r].host == mine->host) on_host += claims[r].devices;
        if (!share(&claims[r], mine)) continue;
        if (r < world_rank(world)) *first += claims[r].devices;
        together += claims[r].devices;
    }
    snprintf(text, sizeof text, "cpu:%d", together);
    if (device_spec_read(devices, text, err) != 0) return -1;
    devices->precision = precision;
    if (device_spec_ask(devices, err) != 0)
        return error_prefix(err, "of the ranks on %s", world_host(world, world_rank(world)));
    devices->memory_bytes = devices->memory_bytes / on_host * together;
    return 0;
}

/* The cores that a device of the specification is bound to, by their place among the allowed. */
static void add_cores(cpu_set_t *out, const cpu_set_t *allowed, const DeviceSpec *devices,
                      int index)
{
    int cores = CPU_COUNT(allowed), each = cores / devices->count > 0 ? cores / devices->count : 1;

    for (int core = 0, seen = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET((size_t)core, allowed)) continue;
        if (seen >= index * each % cores && seen < index * each % cores + each)
            CPU_SET((size_t)core, out);
        seen++;
    }
}

/* The world's thread stays on the cores of this rank's devices: where it waits, they do. */
static void bind_world(World *world, const cpu_set_t *allowed, const DeviceSpec *devices, int first,
                       int count)
{
    cpu_set_t own;

    CPU_ZERO(&own);
    for (int i = 0; i < count; i++) add_cores(&own, allowed, devices, first + i);
    world_bind(world, &own, sizeof own);
}

int run_world_devices(World *world, DeviceSpec *devices, int *first_of_spec, Error *err)
{
    Claim  mine = {0}, *claims;
    int    rc = -1;

    *first_of_spec = 0;
    if (world_set_devices(world, devices->count, err) != 0) return -1;
    if (!world) return 0;
    claims = calloc((size_t)world_size(world), sizeof *claims);
    if (!claims) return error_no_memory(err);
    mine.host = world_host_number(world, world_rank(world));
    mine.devices = devices->count;
    sched_getaffinity(0, sizeof mine.cores, &mine.cores);
    if (world_gather_all(world, claims, &mine, sizeof mine, err) != 0) goto done;
    if (devices->type == DEVICE_CPU && merge(devices, first_of_spec, world, claims, err) != 0)
        goto done;
    if (devices->type == DEVICE_CPU)
        bind_world(world, &mine.cores, devices, *first_of_spec, mine.devices);
    rc = 0;
done:
    free(claims);
    return rc;
}

int run_world_lanes(const World *world, const DeviceSpec *devices, int lanes)
{
    int part = lanes * world_devices(world, devices->count) / devices->count;

    return part > 0 ? part : 1;
}

/* "0-3,8" */
static void cores_text(const cpu_set_t *cores, Text *out)
{
    const char *gap = "";

    for (int core = 0, last; core < CPU_SETSIZE; core = last + 1) {
        last = core;
        if (!CPU_ISSET((size_t)core, cores)) continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET((size_t)(last + 1), cores)) last++;
        text_printf(out, last > core ? "%s%d-%d" : "%s%d", gap, core, last);
        gap = ",";
    }
}

int run_world_table(World *world, const DeviceSpec *devices, int first_of_spec, Text *out,
                    Error *err)
{
    int       rank = world_rank(world), first = world_first_device(world),
              count = world_devices(world, 0), rc = -1;
    cpu_set_t allowed, own;
    Text      mine = {0}, *lines;

    if (!world) return 0;
    lines = calloc((size_t)world_size(world), sizeof *lines);
    if (!lines) return error_no_memory(err);
    text_printf(&mine, "  rank %-4d on %-16s", rank, world_host(world, rank));
    if (count == 1) text_printf(&mine, "  device %d", first);
    else            text_printf(&mine, "  devices %d to %d", first, first + count - 1);
    if (devices->type == DEVICE_CPU) {
        sched_getaffinity(0, sizeof allowed, &allowed);
        CPU_ZERO(&own);
        for (int i = 0; i < count; i++) add_cores(&own, &allowed, devices, first_of_spec + i);
        text_append(&mine, CPU_COUNT(&own) == 1 ? ", core " : ", cores ");
        cores_text(&own, &mine);
        if (device_spec_shares(devices)) text_append(&mine, ", shared with others");
    }
    text_append(&mine, "\n");
    if (text_failed(&mine)) { error_no_memory(err); goto done; }
    if (world_gather_texts(world, lines, &mine, err) != 0) goto done;
    if (rank == 0) text_append_bytes(out, mine.bytes, mine.length);
    for (int r = 1; r < world_size(world) && rank == 0; r++)
        text_append_bytes(out, lines[r].bytes, lines[r].length);
    rc = 0;
done:
    for (int r = 0; r < world_size(world); r++) text_free(&lines[r]);
    free(lines);
    text_free(&mine);
    return rc;
}

/* ---- the same everywhere --------------------------------------------------------------------- */

/* The first line in which they differ. */
static int compare_lines(const char *a, const char *b, const World *world, int rank, Error *err)
{
    while (*a || *b) {
        size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n"), name = strcspn(a, "\t\n");
        if (la != lb || strncmp(a, b, la) != 0)
            return error_set(err, "%.*s: %.*s on rank 0 (%s), %.*s on rank %d (%s)", (int)name, a,
                             (int)(la - name - 1), a + name + 1, world_host(world, 0),
                             (int)(lb > name ? lb - name - 1 : 0), lb > name ? b + name + 1 : "",
                             rank, world_host(world, rank));
        a += la + (a[la] != '\0');
        b += lb + (b[lb] != '\0');
    }
    return 0;
}

int run_world_same(World *world, const Text *facts, Error *err)
{
    int   rc = text_failed(facts) ? error_no_memory(err) : 0;
    Text *theirs;

    if (!world) return rc;
    theirs = calloc((size_t)world_size(world), sizeof *theirs);
    if (!theirs) rc = error_no_memory(err);
    if (rc == 0) rc = world_gather_texts(world, theirs, facts, err);
    for (int r = 1; r < world_size(world) && rc == 0 && world_rank(world) == 0; r++)
        rc = compare_lines(text_string(facts), text_string(&theirs[r]), world, r, err);
    for (int r = 0; theirs && r < world_size(world); r++) text_free(&theirs[r]);
    free(theirs);
    return world_agree(world, rc, err);
}
