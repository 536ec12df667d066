/* best(s, i, d) = min over j, w of max(cost(i..j-1 on d..d+w-1), best(s-1, j, d+w))
 *
 * for s stages that start at block i and device d. */
#include "base/minmax.h"
#include "planner/stages/partition.h"

#include <stdlib.h>

#define MAX_TABLE ((size_t)256 << 20)        /* entries of a table, at most */

typedef struct { int64_t ns; int next, width; } TableChoice;

/* A stage that is within the limit, from the block at hand on. */
typedef struct { int next, width; int64_t ns; } TableStage;

typedef struct {
    const PartitionProblem *p;
    int64_t *costs;          /* [first][last][device, or one][width - 1] */
    TableChoice  *table;     /* [blocks + 1][devices + 1][stages + 1], filled in where reached */
    TableStage *from;        /* [blocks * max_width] stages of a block, and how many */
    int      from_count;
    int     *widths;         /* [first][last][2] the least and the greatest width that is within
                              * the limit anywhere; 0: none */
    bool    *reached;        /* [blocks + 1][devices + 1] some stages within the limit are on all
                              * blocks before and all devices before */
    int64_t  limit_ns;
    int      most;           /* stages */
} TableSearch;

static int64_t *cost_cell(const TableSearch *s, int first, int last, int device, int width)
{
    size_t n = (size_t)s->p->blocks, places = s->p->uniform ? 1 : (size_t)s->p->devices;
    size_t place = s->p->uniform ? 0 : (size_t)device;

    return &s->costs[(((size_t)first * n + (size_t)last) * places + place) * (size_t)s->p->max_width
                     + (size_t)width - 1];
}

/* By number of stages. */
static TableChoice *cells(const TableSearch *s, int block, int device)
{
    return &s->table[((size_t)block * (size_t)(s->p->devices + 1) + (size_t)device)
                     * (size_t)(s->most + 1)];
}

static int *width_range(const TableSearch *s, int first, int last)
{
    return &s->widths[2 * ((size_t)first * (size_t)s->p->blocks + (size_t)last)];
}

static bool *reached_at(const TableSearch *s, int block, int device)
{
    return &s->reached[(size_t)block * (size_t)(s->p->devices + 1) + (size_t)device];
}

/* Costs of all stages of width w that begin with block i on device d, and what they reach from
 * there. Once even the floor is beyond the limit no longer stage is within it. */
static void fill_costs_of(TableSearch *s, int i, int d, int w)
{
    const PartitionProblem *p = s->p;
    /* Anywhere but at the start, where there is no message in. */
    int device = p->uniform ? i > 0 && w < p->devices : d;

    for (int j = i; j < p->blocks; j++) {
        int64_t *ns = cost_cell(s, i, j, d, w);
        int     *range = width_range(s, i, j);
        *ns = p->cost(p->context, i, j, device, w);
        if (*ns > s->limit_ns) {
            if (p->floor && p->floor(p->context, i, j, device, w) > s->limit_ns) return;
            continue;
        }
        if (range[0] == 0 || w < range[0]) range[0] = w;
        if (w > range[1]) range[1] = w;
        *reached_at(s, j + 1, d + w) = true;
    }
}

/* The same from device d as from another, where costs do not depend on it. */
static void reach_from(TableSearch *s, int i, int d)
{
    for (int j = i; j < s->p->blocks; j++) {
        const int *range = width_range(s, i, j);
        for (int w = range[0]; range[0] > 0 && w <= range[1] && d + w <= s->p->devices; w++)
            *reached_at(s, j + 1, d + w) |= *cost_cell(s, i, j, d, w) <= s->limit_ns;
    }
}

/* What cannot be reached within the limit is in no partition that is looked for. */
static void fill_costs(TableSearch *s)
{
    const PartitionProblem *p = s->p;

    size_t cells = (size_t)p->blocks * (size_t)p->blocks * (p->uniform ? 1 : (size_t)p->devices)
                   * (size_t)p->max_width;

    for (size_t k = 0; k < cells; k++) s->costs[k] = INT64_MAX;
    *reached_at(s, 0, 0) = true;
    for (int i = 0; i < p->blocks; i++) {
        bool known = false;
        for (int d = 0; d < p->devices; d++) {
            if (!*reached_at(s, i, d)) continue;
            if (p->uniform && known) { reach_from(s, i, d); continue; }
            for (int w = 1; w <= p->max_width && d + w <= p->devices; w++)
                fill_costs_of(s, i, d, w);
            known = true;
        }
    }
}

/* Stages from block i on that are within the limit on some devices, by next block, then width. */
static void list_stages(TableSearch *s, int i, int d)
{
    s->from_count = 0;
    for (int j = i + 1; j <= s->p->blocks; j++) {
        const int *range = width_range(s, i, j - 1);
        for (int w = range[0]; range[0] > 0 && w <= range[1] && d + w <= s->p->devices; w++) {
            int64_t ns = *cost_cell(s, i, j - 1, d, w);
            if (ns <= s->limit_ns) s->from[s->from_count++] = (TableStage){j, w, ns};
        }
    }
}

static int most_from(const TableSearch *s, int block, int device)
{
    int blocks = s->p->blocks - block, devices = s->p->devices - device;

    return blocks < devices ? blocks : devices;
}

/* The best from block i on device d, for each number of stages. Ties keep the first found: fewer
 * blocks, then fewer devices, in the first stage. */
static void choose(TableSearch *s, int i, int d)
{
    TableChoice *best = cells(s, i, d);

    for (int k = 0; k <= most_from(s, i, d); k++) best[k] = (TableChoice){INT64_MAX, 0, 0};
    for (int e = 0; e < s->from_count; e++) {
        TableStage stage = s->from[e];
        if (d + stage.width > s->p->devices) continue;
        const TableChoice *rest = cells(s, stage.next, d + stage.width);
        int                most = most_from(s, stage.next, d + stage.width);
        for (int k = 0; k <= most; k++) {
            int64_t ns = larger(stage.ns, rest[k].ns);
            if (ns < best[k + 1].ns) best[k + 1] = (TableChoice){ns, stage.next, stage.width};
        }
    }
}

static void fill_table(TableSearch *s)
{
    const PartitionProblem *p = s->p;

    for (int d = 0; d <= p->devices; d++) cells(s, p->blocks, d)[0] = (TableChoice){0, 0, 0};
    for (int i = p->blocks - 1; i >= 0; i--) {
        bool listed = false;
        for (int d = 0; d <= p->devices; d++) {
            if (!*reached_at(s, i, d)) continue;
            if (!p->uniform || !listed) list_stages(s, i, d);
            listed = true;
            choose(s, i, d);
        }
    }
}

static int read_off(const TableSearch *s, int stages, Partition *out, Error *err)
{
    if (partition_allocate(out, stages, err) != 0) return -1;
    out->bottleneck_ns = cells(s, 0, 0)[stages].ns;
    for (int k = stages, i = 0, d = 0; k > 0; k--) {
        const TableChoice *choice = &cells(s, i, d)[k];
        out->first[stages - k] = i;
        out->device[stages - k] = d;
        out->width[stages - k] = choice->width;
        i = choice->next;
        d += choice->width;
    }
    return 0;
}

/* calloc with a limit that gives an error in words. */
static void *table_new(size_t a, size_t b, size_t c, size_t d, size_t size, Error *err)
{
    double entries = (double)a * (double)b * (double)c * (double)d;

    if (entries > (double)MAX_TABLE) {
        error_set(err,
                  "the partition search would need a table of %.0f entries, expected at most %zu: "
                  "fewer blocks or devices",
                  entries, MAX_TABLE);
        return NULL;
    }
    void *table = calloc(a * b * c * d, size);
    if (!table) error_no_memory(err);
    return table;
}

int partition_table(Partition **out, int *count, const PartitionProblem *problem, Error *err)
{
    TableSearch s = {.p = problem,
                     .limit_ns = problem->limit_ns ? problem->limit_ns : INT64_MAX - 1};
    size_t n = (size_t)problem->blocks, g = (size_t)problem->devices;
    int    rc = -1;

    *out = NULL;
    *count = 0;
    s.most = problem->blocks < problem->devices ? problem->blocks : problem->devices;
    s.costs =
        table_new(n, n, problem->uniform ? 1 : g, (size_t)problem->max_width, sizeof(int64_t), err);
    if (!s.costs) goto done;
    s.table = table_new(n + 1, g + 1, (size_t)s.most + 1, 1, sizeof(TableChoice), err);
    if (!s.table) goto done;
    s.widths = calloc(2 * n * n, sizeof *s.widths);
    s.reached = calloc((n + 1) * (g + 1), sizeof *s.reached);
    s.from = calloc(n * (size_t)problem->max_width, sizeof *s.from);
    *out = calloc((size_t)s.most, sizeof **out);
    if (!*out || !s.widths || !s.reached || !s.from) { error_no_memory(err); goto done; }
    fill_costs(&s);
    fill_table(&s);
    for (int stages = 1; stages <= s.most; stages++) {
        if (cells(&s, 0, 0)[stages].ns == INT64_MAX) continue;
        if (read_off(&s, stages, &(*out)[(*count)++], err) != 0) goto done;
    }
    rc = 0;
done:
    free(s.costs);
    free(s.widths);
    free(s.reached);
    free(s.from);
    free(s.table);
    if (rc != 0) { partitions_free(*out, *count); *out = NULL; *count = 0; }
    return rc;
}
