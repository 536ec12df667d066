/* Colours are from Tol's "muted" scheme (SRON/EPS/TN/09-002), which people with any colour vision
 * tell apart. */
#include "schedule/registry.h"

#include <stdio.h>
#include <string.h>

static const ScheduleRow rows[SCHEDULE_COUNT] = {
    [SCHEDULE_DP] = {.name = "dp", .full_name = "data parallel",
                     .summary = "data parallel, block after block", .build = build_dp,
                     .phases = true, .whole = true, .usual = true, .colour = 0x888888},
    [SCHEDULE_LS] = {.name = "ls", .full_name = "layer-wise",
                     .summary = "layer-wise: each block a task on one device", .build = build_ls,
                     .phases = true, .lists = true, .usual = true, .colour = 0xDDCC77},
    [SCHEDULE_TR] = {.name = "tr", .full_name = "teacher relaying",
                     .summary = "teacher relaying, with a barrier before each update",
                     .build = build_tr, .barrier = true, .partitioned = true, .usual = true,
                     .colour = 0x44AA99},
    [SCHEDULE_DPU] = {.name = "dpu", .full_name = "decoupled parameter update",
                      .summary = "teacher relaying with decoupled parameter updates",
                      .build = build_dpu, .partitioned = true, .usual = true, .colour = 0x332288},
    [SCHEDULE_IR] = {.name = "ir", .full_name = "internal relaying",
                     .summary = "internal relaying: all blocks on every device, data parallel",
                     .build = build_ir, .whole = true, .usual = true, .colour = 0xAA4499},
    [SCHEDULE_AHD] = {.name = "ahd",
                      .full_name = "automatic hybrid distribution",
                      .summary =
                          "automatic hybrid distribution: relaying between groups of devices",
                      .build = build_ahd,
                      .groups = true,
                      .general = true,
                      .partitioned = true,
                      .usual = true,
                      .colour = 0x882255},
    [SCHEDULE_SPLIT] = {.name = "split", .full_name = "split, not in the paper",
                        .summary = "relaying with students on devices of their own choice",
                        .build = build_split, .groups = true, .apart = true, .partitioned = true,
                        .colour = 0x999933},
    [SCHEDULE_SEQUENTIAL] =
        {.name = "sequential", .full_name = "sequential, not in the paper",
         .summary = "one block after another for all epochs, from stored boundaries, data parallel",
         .build = build_sequential, .phases = true, .whole = true, .stores = true,
         .colour = 0x117733},
    [SCHEDULE_STORE] = {.name = "store",
                        .full_name = "stored boundaries, not in the paper",
                        .summary =
                            "storing boundaries in the first epoch, fetching them in later ones",
                        .build = build_store,
                        .groups = true,
                        .stores = true,
                        .colour = 0xCC6677},
};

const ScheduleRow *schedule_row(Schedule schedule) { return &rows[schedule]; }
const char *schedule_name(Schedule schedule)       { return rows[schedule].name; }
const char *schedule_summary(Schedule schedule)    { return rows[schedule].summary; }

bool schedule_find(const char *name, Schedule *out)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0) { *out = (Schedule)i; return true; }
    return false;
}

/* Bits of the rows that are as asked. */
static unsigned rows_where(bool (*is)(const ScheduleRow *row))
{
    unsigned bits = 0;

    for (int i = 0; i < SCHEDULE_COUNT; i++) bits |= is(&rows[i]) ? 1u << i : 0;
    return bits;
}

static bool is_usual(const ScheduleRow *row) { return row->usual; }
static bool is_partitioned(const ScheduleRow *row) { return row->partitioned; }
static bool is_general(const ScheduleRow *row) { return row->general; }
static bool is_derived(const ScheduleRow *row) { return row->apart || row->stores; }

bool schedule_relays(const ScheduleRow *row)
{
    return !row->phases && !row->apart && !row->stores;
}

unsigned schedules_usual(void) { return rows_where(is_usual); }
unsigned schedules_partitioned(void) { return rows_where(is_partitioned); }
unsigned schedules_relaying(void) { return rows_where(schedule_relays); }
unsigned schedules_general(void) { return rows_where(is_general); }
unsigned schedules_derived(void) { return rows_where(is_derived); }

/* "dp, ls, ..." */
static const char *all_names(char out[128])
{
    size_t used = 0;

    for (int i = 0; i < SCHEDULE_COUNT; i++)
        used += (size_t)snprintf(out + used, 128 - used, "%s%s", i ? ", " : "", rows[i].name);
    return out;
}

int schedule_list(unsigned *out, const char *list, Error *err)
{
    char     name[16], all[128];
    Schedule schedule;

    *out = 0;
    while (*list) {
        size_t length = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", length < 15 ? (int)length : 15, list);
        if (!schedule_find(name, &schedule))
            return error_set(err, "\"%s\" is not a schedule, expected a list of %s", name,
                             all_names(all));
        if (*out & 1u << schedule)
            return error_set(err, "%s twice, expected each schedule once", name);
        *out |= 1u << schedule;
        list += length;
        if (*list == ',' && !*++list)
            return error_set(err, "ends with a comma, expected one more schedule");
    }
    return *out ? 0 : error_set(err, "empty, expected a list of %s", all_names(all));
}
