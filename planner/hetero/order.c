#include "planner/hetero/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MEMO ((size_t)8 << 20)       /* costs kept, at most */

/* ---- what the user wants -------------------------------------------------------- */

static int parse_list(Order *out, int *devices, const char *text, Error *err)
{
    for (const char *at = text;; at++) {
        char *end;
        long  device = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : -1;
        if (device < 0 || device >= TRACE_MAX_DEVICES || (*end && *end != ','))
            return error_set(
                err, "\"%s\" is no order, expected search, given, or all devices such as 2,3,0,1",
                text);
        devices[out->count++] = (int)device;
        if (!*end) return 0;
        at = end;
    }
}

int order_parse(Order *out, int **devices, const char *text, Error *err)
{
    size_t room = 1;

    *out = (Order){.kind = ORDER_SEARCHED};
    *devices = NULL;
    if (strcmp(text, "search") == 0) return 0;
    out->kind = strcmp(text, "given") == 0 ? ORDER_GIVEN : ORDER_LISTED;
    if (out->kind == ORDER_GIVEN) return 0;
    for (const char *c = text; *c; c++) room += *c == ',';
    *devices = calloc(room, sizeof **devices);
    if (!*devices) return error_no_memory(err);
    out->devices = *devices;
    if (parse_list(out, *devices, text, err) == 0) return 0;
    free(*devices);
    *devices = NULL;
    return -1;
}

int order_check(const Order *order, const Scenario *s, Error *err)
{
    if (order->kind != ORDER_LISTED) return 0;
    if (order->count != s->device_count)
        return error_set(err, "an order of %d devices, expected all %d", order->count,
                         s->device_count);
    for (int i = 0; i < order->count; i++) {
        if (order->devices[i] >= s->device_count)
            return error_set(err, "device %d, expected 0 to %d", order->devices[i],
                             s->device_count - 1);
        for (int k = 0; k < i; k++)
            if (order->devices[k] == order->devices[i])
                return error_set(err, "device %d is in the order twice, expected each device once",
                                 order->devices[i]);
    }
    return 0;
}

/* ---- the search in one order --------------------------------------------------------- */

typedef struct {
    GroupCosts *costs;
    const int  *order;
    int         blocks, devices, max_width;
    int        *counts;          /* [classes] */
    int64_t    *memo;            /* [2][first][last][device][width - 1], -1: not known; NULL: too
                                  * large */
} DeviceLine;

static int64_t *place_of(const DeviceLine *line, bool floor, int first, int last, int device,
                         int width)
{
    size_t n = (size_t)line->blocks, g = (size_t)line->devices;

    return &line->memo[((((floor ? n : 0) + (size_t)first) * n + (size_t)last) * g + (size_t)device)
                       * (size_t)line->max_width + (size_t)width - 1];
}

static int64_t look_up(const DeviceLine *line, bool floor, int first, int last, int device,
                       int width)
{
    const Scenario *s = group_costs_scenario(line->costs);
    const int      *at = line->order + device;
    HeteroGroup group = {.first = first, .last = last, .counts = line->counts};

    memset(line->counts, 0, (size_t)group_costs_classes(line->costs) * sizeof *line->counts);
    for (int i = 0; i < width; i++) {
        line->counts[group_costs_class(line->costs, at[i])]++;
        group.reduce_across |= scenario_node(s, at[i]) != scenario_node(s, at[0]);
    }
    if (device > 0) group.in_across = scenario_node(s, at[-1]) != scenario_node(s, at[0]);
    if (device + width < line->devices)
        group.out_across = scenario_node(s, at[width - 1]) != scenario_node(s, at[width]);
    return floor ? group_floor(line->costs, &group) : group_cost(line->costs, &group);
}

static int64_t cost_of(DeviceLine *line, bool floor, int first, int last, int device, int width)
{
    if (!line->memo) return look_up(line, floor, first, last, device, width);
    int64_t *known = place_of(line, floor, first, last, device, width);
    if (*known < 0) *known = look_up(line, floor, first, last, device, width);
    return *known;
}

static int64_t line_cost(void *context, int first, int last, int device, int width)
{
    return cost_of(context, false, first, last, device, width);
}

static int64_t line_floor(void *context, int first, int last, int device, int width)
{
    return cost_of(context, true, first, last, device, width);
}

int ordered_search(Partition **out, int *count, GroupCosts *costs, const int *order, int max_width,
                   int wanted, Error *err)
{
    const Scenario *s = group_costs_scenario(costs);
    int    most = max_width < s->batch ? max_width : (int)s->batch, rc = -1;
    DeviceLine   line = {.costs = costs, .order = order, .blocks = s->trace->block_count,
                         .devices = s->device_count, .max_width = most};
    double cells = 2.0 * line.blocks * line.blocks * line.devices * most;

    *out = NULL;
    *count = 0;
    line.counts = calloc((size_t)group_costs_classes(costs), sizeof *line.counts);
    if (cells <= (double)MAX_MEMO) line.memo = malloc((size_t)cells * sizeof *line.memo);
    if (!line.counts || (cells <= (double)MAX_MEMO && !line.memo)) {
        error_no_memory(err);
        goto done;
    }
    if (line.memo) memset(line.memo, 0xff, (size_t)cells * sizeof *line.memo);
    PartitionProblem problem = {.blocks = line.blocks, .devices = line.devices, .max_width = most,
                                .cost = line_cost, .floor = line_floor, .context = &line,
                                .wanted = wanted};
    if (partition_search(out, count, &problem, err) != 0) goto done;
    rc = group_costs_failed(costs) ? error_no_memory(err) : 0;
    if (rc != 0) { partitions_free(*out, *count); *out = NULL; *count = 0; }
done:
    free(line.counts);
    free(line.memo);
    return rc;
}

double ordered_work(const GroupCosts *costs, int max_width)
{
    double n = group_costs_scenario(costs)->trace->block_count,
           g = group_costs_scenario(costs)->device_count;

    return n * n / 2 * g * max_width;
}

/* ---- one order after another ------------------------------------------------------------ */

/* Types by their first device; returns how many. */
static int number_types(Orders *o, const GroupCosts *costs)
{
    const Scenario *s = group_costs_scenario(costs);
    int types = 0;

    for (int d = 0; d < o->devices; d++) {
        o->type_of[d] = types;
        for (int e = 0; e < d && o->type_of[d] == types; e++)
            if (group_costs_class(costs, d) == group_costs_class(costs, e)
                && scenario_node(s, d) == scenario_node(s, e))
                o->type_of[d] = o->type_of[e];
        types += o->type_of[d] == types;
    }
    return types;
}

/* devices! / product of (devices of a type)!, one device after another. */
static double count_orders(const Orders *o)
{
    double total = 1;
    int    placed = 0;

    for (int type = 0; type < o->types; type++)
        for (int d = 0, of_type = 0; d < o->devices; d++)
            if (o->type_of[d] == type) total = total * ++placed / ++of_type;
    return total;
}

int orders_build(Orders *out, const GroupCosts *costs, int most, Error *err)
{
    *out = (Orders){.devices = group_costs_scenario(costs)->device_count};
    out->type_of = calloc((size_t)out->devices, sizeof *out->type_of);
    out->sequence = calloc((size_t)out->devices, sizeof *out->sequence);
    if (!out->type_of || !out->sequence) { orders_free(out); return error_no_memory(err); }
    out->types = number_types(out, costs);
    out->total = count_orders(out);
    out->every = out->total <= most + 0.5;
    out->length = out->every ? out->devices : out->types;
    for (int type = 0; type < out->types && !out->every; type++) out->sequence[type] = type;
    for (int type = 0, i = 0; type < out->types && out->every; type++)
        for (int d = 0; d < out->devices; d++)
            if (out->type_of[d] == type) out->sequence[i++] = type;
    return 0;
}

void orders_free(Orders *orders)
{
    free(orders->type_of);
    free(orders->sequence);
    *orders = (Orders){0};
}

void orders_get(const Orders *o, int *order)
{
    int count = 0;

    for (int i = 0; i < o->length; i++) {
        int before = 0;                          /* of this type, placed already */
        for (int k = 0; k < i; k++) before += o->sequence[k] == o->sequence[i];
        for (int d = 0, seen = 0; d < o->devices; d++) {
            if (o->type_of[d] != o->sequence[i]) continue;
            if (!o->every || seen++ == before) order[count++] = d;
        }
    }
}

/* The next permutation, by the dictionary. */
bool orders_next(Orders *o)
{
    int *s = o->sequence, i = o->length - 2, j = o->length - 1;

    while (i >= 0 && s[i] >= s[i + 1]) i--;
    if (i < 0) return false;
    while (s[j] <= s[i]) j--;
    int moved = s[i];
    s[i] = s[j];
    s[j] = moved;
    for (int a = i + 1, b = o->length - 1; a < b; a++, b--) {
        moved = s[a];
        s[a] = s[b];
        s[b] = moved;
    }
    return true;
}
