/* Memory of several machines: each keeps the rows that its own devices make, and all know who has
 * which. */
#include <stdlib.h>
#include <string.h>

#include "executor/store/store_state.h"

static size_t bit_bytes(int64_t samples) { return (size_t)(samples + 7) / 8; }

static void set_bits(unsigned char *bits, const StoredRows *rows, int64_t samples)
{
    memset(bits, 0, bit_bytes(samples));
    for (int64_t i = 0; i < samples; i++)
        if (stored_has(rows, i)) bits[i / 8] |= (unsigned char)(1 << i % 8);
}

/* bits: [ranks] of the rows that each one's machine has. */
static void find_first(const Store *store, int16_t *where, const unsigned char *bits,
                       int64_t samples)
{
    for (int64_t i = 0; i < samples; i++) {
        where[i] = -1;
        for (int r = world_size(store->world) - 1; r >= 0; r--) {
            int host = world_host_number(store->world, r);
            if (!(bits[(size_t)r * bit_bytes(samples) + (size_t)i / 8] >> i % 8 & 1)) continue;
            if (where[i] < 0 || host < where[i]) where[i] = (int16_t)host;
        }
    }
}

static int settle_boundary(Store *store, int k, Error *err)
{
    int64_t        samples = store->spec[k].samples;
    size_t         bytes = bit_bytes(samples);
    unsigned char *mine = malloc(bytes + 1),
                  *all = malloc(bytes * (size_t)world_size(store->world) + 1);

    if (!store->where[k]) store->where[k] = malloc((size_t)samples * sizeof(int16_t));
    int rc = mine && all && store->where[k] ? 0 : error_no_memory(err);
    rc = world_agree(store->world, rc, err);
    if (rc == 0) {
        set_bits(mine, store->rows[k], samples);
        rc = world_gather_all(store->world, all, mine, bytes, err);
    }
    if (rc == 0) find_first(store, store->where[k], all, samples);
    free(mine);
    free(all);
    return rc;
}

int store_where_settle(Store *store, Error *err)
{
    for (int k = 0; k < store->count; k++)
        if (store->rows[k] && settle_boundary(store, k, err) != 0) return -1;
    return 0;
}
