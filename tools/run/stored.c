#include "tools/run/stored.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

int run_store_check(const char *place, Error *err)
{
    if (place && !*place) return error_set(err, "--store: expected %s or a folder", STORE_HOST);
    return 0;
}

int run_store_precision(bool *bf16, const char *precision, const char *place, Error *err)
{
    *bf16 = precision && strcmp(precision, "bf16") == 0;
    if (precision && !*bf16 && strcmp(precision, "fp32") != 0)
        return error_set(err, "--store-precision: \"%.64s\", expected fp32 or bf16", precision);
    if (precision && !place) return error_set(err, "--store-precision: no effect without --store");
    return 0;
}

const char *run_store_folder(const char *place)
{
    return place && strcmp(place, STORE_HOST) != 0 ? place : NULL;
}

int run_store_check_folder(const char *folder, Error *err)
{
    Text file = {0};

    if (mkdir(folder, 0777) == 0) {
        rmdir(folder);
        return 0;
    }
    if (errno != EEXIST)
        return error_set(err, "%s: cannot make the folder: %s", folder, strerror(errno));
    text_printf(&file, "%s/check", folder);
    int rc =
        text_failed(&file) ? error_no_memory(err) : file_check_writable(text_string(&file), err);
    text_free(&file);
    return rc;
}

int run_store_wanted(bool stores, const char *place, const char *schedule, Error *err)
{
    if (stores && !place)
        return error_set(err, "schedule %s stores boundaries: it needs --store DIR, or --store %s",
                         schedule, STORE_HOST);
    if (!stores && place)
        return error_set(err, "--store: no effect with schedule %s, which stores nothing",
                         schedule);
    return 0;
}

int run_store_open(Store **out, const Program *program, const StoreOptions *options, Error *err)
{
    StoreOptions o = *options;
    bool        *set;
    int          rc;

    *out = NULL;
    if (!program_stores(program)) return 0;
    set = calloc((size_t)program->block_count + 1, sizeof *set);
    if (!set) return error_no_memory(err);
    program_stored_set(set, program);
    o.boundaries = set;
    o.program = program;
    rc = store_open(out, &o, err);
    free(set);
    return rc;
}

/* "2, 4 to 6" of the numbers that are set; "none". */
static void ranges_text(const bool *set, int count, Text *out)
{
    bool any = false;

    for (int i = 0, end; i < count; i = end) {
        for (end = i + 1; set[i] && end < count && set[end];) end++;
        if (!set[i]) continue;
        text_printf(out, "%s%d", any ? ", " : "", i);
        if (end > i + 1) text_printf(out, end > i + 2 ? " to %d" : ", %d", end - 1);
        any = true;
    }
    if (!any) text_append(out, "none");
}

void run_store_text(const Store *store, const Program *program, const char *place, Text *out)
{
    int     count = program->block_count + 1;
    int64_t damaged = 0;
    bool   *set = calloc((size_t)count, sizeof *set);

    if (!set) return;
    program_stored_set(set, program);
    text_append(out, "store: boundaries ");
    ranges_text(set, count, out);
    text_printf(out,
                " in %s, %.4g MiB; whole already: ", run_store_folder(place) ? place : "memory",
                (double)store_bytes(store) / 0x1p20);
    for (int k = 0; k < count; k++) {
        StoredRows *rows = set[k] ? store_boundary(store, k) : NULL;
        if (rows) damaged += stored_damaged(rows);
        set[k] = rows && stored_missing(rows) == 0;
    }
    ranges_text(set, count, out);
    text_append(out, "\n");
    if (damaged > 0)
        text_printf(out,
                    "store: %" PRId64
                    " rows that an earlier run left are damaged, and are made again\n",
                    damaged);
    free(set);
}
