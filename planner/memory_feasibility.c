#include "planner/memory_feasibility.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "planner/compare_rows.h"
#include "planner/stages/partition.h"
#include "planner/stages/stage_memory.h"

/* ---- what does not fit --------------------------------------------------------------- */

typedef struct {
    const Scenario *scenario;
    StageMemory    *memory;
    bool            uniform;     /* all devices have the same limit */
} Room;

static bool room_for(const Room *room, int first, int last, int device, int width, bool floor)
{
    const Scenario *s = room->scenario;

    if (width > s->batch) return false;
    for (int i = 0; i < (room->uniform ? 1 : width); i++) {
        int64_t rows = scenario_share(s->batch, width, i), limit = s->memory_bytes[device + i];
        int64_t bytes = floor ? stage_memory_floor(room->memory, first, last, rows)
                              : stage_memory_bytes(room->memory, first, last, rows);
        if (limit && bytes > limit) return false;
    }
    return true;
}

static int64_t room_cost(void *room, int first, int last, int device, int width)
{
    return room_for(room, first, last, device, width, false) ? 0 : INT64_MAX;
}

static int64_t room_floor(void *room, int first, int last, int device, int width)
{
    return room_for(room, first, last, device, width, true) ? 0 : INT64_MAX;
}

/* The device and width with room for block alone; false: none. Wider is never worse where
 * all limits are the same. */
static bool find_room(const Room *room, int block, int max_width)
{
    int g = room->scenario->device_count;

    if (room->uniform)
        return room_for(room, block, block, 0,
                        max_width < room->scenario->batch ? max_width : (int)room->scenario->batch,
                        false);
    for (int w = 1; w <= max_width; w++)
        for (int d = 0; d + w <= g; d++)
            if (room_for(room, block, block, d, w, false)) return true;
    return false;
}

static void say_block(const Scenario *s, int block, int max_width, Error *why)
{
    int     width = max_width < s->batch ? max_width : (int)s->batch, largest = 0;
    int64_t rows = scenario_share(s->batch, width, 0);

    for (int d = 1; d < s->device_count; d++)
        if (s->memory_bytes[d] > s->memory_bytes[largest]) largest = d;
    error_set(why,
              "block \"%.60s\" is too large for device %d: alone, with %" PRId64 " of %" PRId64
              " rows%s, it needs "
              "%.6g MiB of %.6g",
              s->trace->blocks[block].name, largest, rows, s->batch,
              width > 1 ? " on each of all devices" : "",
              (double)stage_memory_plain(s, block, block, rows) * 0x1p-20,
              (double)s->memory_bytes[largest] * 0x1p-20);
}

/* *refused: no way to cut the chain into stages of at most max_width devices fits into memory; why
 * then says which block is too large alone, or that they are together. Exact, as a search with
 * costs of 0 and infinity. */
static int refusal(bool *refused, const Room *room, int max_width, Error *why, Error *err)
{
    const Scenario  *s = room->scenario;
    PartitionProblem problem = {.blocks = s->trace->block_count, .devices = s->device_count,
                                .max_width = max_width, .uniform = room->uniform, .cost = room_cost,
                                .floor = room_floor, .context = (void *)room, .wanted = 1};
    Partition *parts;
    int        count;

    *refused = true;
    for (int b = 0; b < s->trace->block_count; b++)
        if (!find_room(room, b, max_width)) { say_block(s, b, max_width, why); return 0; }
    if (partition_search(&parts, &count, &problem, err) != 0) return -1;
    partitions_free(parts, count);
    *refused = count == 0;
    if (*refused)
        error_set(why,
                  "the blocks are too large together: each fits somewhere alone, but in no way do "
                  "all of them on "
                  "%d device%s%s",
                  s->device_count, s->device_count > 1 ? "s" : "",
                  max_width == 1 && s->device_count > 1 ? ", one a stage" : "");
    return 0;
}

int memory_feasibility_refused(bool *refused, const Scenario *s, int max_width, Error *why,
                               Error *err)
{
    Room room = {.scenario = s, .uniform = true};

    *refused = false;
    if (!stage_memory_limited(s)) return 0;
    for (int d = 1; d < s->device_count; d++)
        room.uniform &= s->memory_bytes[d] == s->memory_bytes[0];
    if (stage_memory_build(&room.memory, s, err) != 0) return -1;
    int rc = refusal(refused, &room, max_width, why, err);
    stage_memory_free(room.memory);
    return rc;
}

/* ---- what would help ------------------------------------------------------------------ */

#define MOST_DEVICES 8                   /* times as many as there are */
#define MAX_TRIED ((int64_t)1 << 16)     /* blocks times devices: beyond, trying takes too long */

/* The scenario with one thing changed. 0: as it is. */
typedef struct { int64_t memory_bytes, batch, devices; } Change;

/* Whether something that options asks for is possible then. */
static int attempt(bool *possible, const Scenario *s, const CompareOptions *options,
                   const Change *change, Error *err)
{
    CompareOptions  quick = *options;
    ScenarioOptions changed = {.devices = change->devices ? change->devices : s->device_count,
                               .batch = change->batch ? change->batch : s->batch,
                               .memory_bytes = change->memory_bytes, .queue_depth = s->queue_depth,
                               .extrapolate = s->extrapolate, .steps = 1};
    Comparison      comparison;
    Scenario        other;
    Error           why = {""};

    *possible = false;
    quick.candidates = 1;
    quick.ls = LS_LPT;
    if (scenario_build(&other, s->trace, &changed, &why) != 0)
        return error_is_no_memory(&why) ? error_no_memory(err) : 0;
    if (!change->memory_bytes && !change->devices)
        memcpy(other.memory_bytes, s->memory_bytes,
               (size_t)s->device_count * sizeof *s->memory_bytes);
    else if (change->devices)
        for (int d = 0; d < other.device_count; d++)
            other.memory_bytes[d] = s->memory_bytes[d < s->device_count ? d : s->device_count - 1];
    int rc = compare_rows(&comparison, &other, &quick, err);
    if (rc == 0) {
        *possible = comparison.best >= 0;
        comparison_free(&comparison);
    }
    scenario_free(&other);
    return rc;
}

/* Between no, not enough, and yes, enough, in units: the value next to no that is. */
static int narrow(int64_t *yes, int64_t no, int64_t unit, const Scenario *s,
                  const CompareOptions *options, Change *change, int64_t *field, Error *err)
{
    while (llabs(*yes - no) > 1) {
        int64_t middle = no + (*yes - no) / 2;
        bool    possible;
        *field = middle * unit;
        if (attempt(&possible, s, options, change, err) != 0) return -1;
        *(possible ? yes : &no) = middle;
    }
    return 0;
}

/* --memory takes these. */
static int64_t memory_unit(int64_t bytes, const char **name)
{
    *name = bytes >= (int64_t)64 << 20 ? "MiB" : bytes >= 64 << 10 ? "KiB" : "";
    return bytes >= (int64_t)64 << 20 ? 1 << 20 : bytes >= 64 << 10 ? 1 << 10 : 1;
}

static int advise_memory(Text *out, const Scenario *s, const CompareOptions *options, Error *err)
{
    Change      change = {0};
    const char *name;
    int64_t least = INT64_MAX, all = stage_memory_plain(s, 0, s->trace->block_count - 1, s->batch);
    bool        possible;

    for (int d = 0; d < s->device_count; d++)
        if (s->memory_bytes[d] && s->memory_bytes[d] < least) least = s->memory_bytes[d];
    int64_t unit = memory_unit(all, &name), no = least / unit, yes = all / unit + 1;
    change.memory_bytes = yes * unit;
    if (yes <= no || attempt(&possible, s, options, &change, err) != 0) return yes <= no ? 0 : -1;
    if (!possible) return 0;
    if (narrow(&yes, no, unit, s, options, &change, &change.memory_bytes, err) != 0) return -1;
    text_printf(out, "%s--memory %" PRId64 "%s", out->length ? ", " : "", yes, name);
    return 0;
}

static int advise_batch(Text *out, const Scenario *s, const CompareOptions *options, Error *err)
{
    Change  change = {0};
    int64_t no = s->batch, yes = s->batch / 2;
    bool    possible = false;

    for (; yes > 0; no = yes, yes /= 2) {
        change.batch = yes;
        if (attempt(&possible, s, options, &change, err) != 0) return -1;
        if (possible) break;
    }
    if (!possible) return 0;
    if (narrow(&yes, no, 1, s, options, &change, &change.batch, err) != 0) return -1;
    text_printf(out, "%s--batch %" PRId64, out->length ? ", " : "", yes);
    return 0;
}

static int advise_devices(Text *out, const Scenario *s, const CompareOptions *options, Error *err)
{
    Change  change = {0};
    int64_t no = s->device_count, yes = 2 * no;
    bool    possible = false;

    for (; yes <= MOST_DEVICES * s->device_count && yes <= TRACE_MAX_DEVICES
           && yes * s->trace->block_count <= MAX_TRIED;
         no = yes, yes *= 2) {
        change.devices = yes;
        if (attempt(&possible, s, options, &change, err) != 0) return -1;
        if (possible) break;
    }
    if (!possible) return 0;
    if (narrow(&yes, no, 1, s, options, &change, &change.devices, err) != 0) return -1;
    text_printf(out, "%s--devices %" PRId64, out->length ? ", " : "", yes);
    return 0;
}

static int advise_schedules(Text *out, const Scenario *s, const CompareOptions *options, Error *err)
{
    CompareOptions one = *options;
    const char    *gap = "";

    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        bool possible = false;
        if (options->schedules & 1u << i) continue;
        one.schedules = 1u << i;
        if (attempt(&possible, s, &one, &(Change){0}, err) != 0) return -1;
        if (possible)
            text_printf(out, "%s%s",
                        *gap          ? gap
                        : out->length ? ", --schedules "
                                      : "--schedules ",
                        schedule_name((Schedule)i));
        if (possible) gap = ",";
    }
    return 0;
}

int memory_feasibility_advice(Text *out, const Scenario *s, const CompareOptions *options,
                              Error *err)
{
    bool possible;

    if (!stage_memory_limited(s) || (int64_t)s->device_count * s->trace->block_count > MAX_TRIED)
        return 0;
    if (attempt(&possible, s, options, &(Change){0}, err) != 0) return -1;
    if (possible) return 0;              /* for a step: it is not memory that is missing */
    if (advise_memory(out, s, options, err) != 0 || advise_batch(out, s, options, err) != 0
        || advise_devices(out, s, options, err) != 0 || advise_schedules(out, s, options, err) != 0)
        return -1;
    return text_failed(out) ? error_no_memory(err) : 0;
}
