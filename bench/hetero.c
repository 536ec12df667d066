/* Time of the exact search over groups of devices of several kinds, with shares by speed
 * (planner/hetero/hetero.h), on one core: the chain of chain.h, in which kind k takes 1 + 0.7 k
 * times as long.
 *
 *   one kind  the same number of devices, all of the first kind, by the same search: the
 *             partition_search() of bench/planner.c is the one that the planner uses there
 *   step      the bottleneck found, ms; beside it the lower bound: the same search without
 *             messages */
#include <inttypes.h>
#include <stdint.h>

#include "bench/bench.h"
#include "bench/chain.h"
#include "planner/hetero/hetero.h"

typedef struct {
    const char *name;
    int         blocks, devices, kinds, batch, unit, repeats;
    int         stages;
    double      step_ms, bound_ms;
    BenchSamples search_ms, one_kind_ms;
} HeteroCase;

/* Milliseconds; *found is the bottleneck's, *stages of the partition. */
static double search(const HeteroCase *c, int kinds, CostKind kind, double *found, int *stages)
{
    BenchChain           chain = {
                  .blocks = c->blocks, .devices = c->devices, .batch = c->batch, .kinds = kinds};
    ScenarioOptions options = {.queue_depth = 2, .extrapolate = true};
    Trace          *trace = chain_trace(&chain);
    Scenario        s;
    GroupCosts     *costs;
    HeteroPartition *parts;
    int             count;
    Error           err = {""};

    bench_require(scenario_build(&s, trace, &options, &err), &err);
    double start = bench_now();
    bench_require(group_costs_build(&costs, &s, kind, false, &err), &err);
    bench_require(hetero_search(&parts, &count, costs, c->devices, c->unit, 1, 0, NULL, &err),
                  &err);
    double ms = 1e3 * (bench_now() - start);
    if (count == 0) bench_require(error_set(&err, "%s: no partition", c->name), &err);
    *found = (double)parts[0].bottleneck_ns * 1e-6;
    *stages = parts[0].stages;
    hetero_free(parts, count);
    group_costs_free(costs);
    scenario_free(&s);
    trace_free(trace);
    return ms;
}

static void measure(HeteroCase *c)
{
    double ignored;
    int    stages;

    bench_add(&c->search_ms, search(c, c->kinds, COST_SIM, &c->step_ms, &c->stages));
    bench_add(&c->one_kind_ms, search(c, 1, COST_SIM, &ignored, &stages));
}

int main(void)
{
    HeteroCase cases[] = {
        {.name = "6 x 2 + 2", .blocks = 6, .devices = 4, .kinds = 2, .batch = 256, .unit = 1,
         .repeats = 31},
        {.name = "13 x 16 + 16", .blocks = 13, .devices = 32, .kinds = 2, .batch = 256, .unit = 1,
         .repeats = 15},
        {.name = "30 x 8 + 8 + 8", .blocks = 30, .devices = 24, .kinds = 3, .batch = 256, .unit = 1,
         .repeats = 7},
        {.name = "64 x 32 + 32", .blocks = 64, .devices = 64, .kinds = 2, .batch = 256, .unit = 1,
         .repeats = 5},
        {.name = "64 x 64 + 64", .blocks = 64, .devices = 128, .kinds = 2, .batch = 256, .unit = 1,
         .repeats = 3},
        {.name = "98 x 512 + 512", .blocks = 98, .devices = 1024, .kinds = 2, .batch = 1024,
         .unit = 16, .repeats = 3},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };

    for (int i = 0; i < CASES; i++) {
        int stages;
        for (int r = 0; r < cases[i].repeats; r++) measure(&cases[i]);
        if (cases[i].unit == 1)
            search(&cases[i], cases[i].kinds, COST_BOUND, &cases[i].bound_ms, &stages);
    }
    printf("One core; medians of 3 to 31 repetitions, costs looked up anew each time. Devices at a "
           "time: 1 is\n"
           "exact over all orders, groups and shares. The bound is without messages.\n\n");
    printf(
        "| blocks x devices | batch | devices at a time | stages | search | least - most | one "
        "kind | step | bound |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n| | rows | | | ms | ms | ms | ms | ms |\n");
    for (int i = 0; i < CASES; i++) {
        HeteroCase *c = &cases[i];
        printf("| %s | %d | %d | %d | **%.3g** | %.3g - %.3g | %.3g | %.3f |", c->name, c->batch,
               c->unit, c->stages, bench_quantile(&c->search_ms, 0.5),
               bench_quantile(&c->search_ms, 0), bench_quantile(&c->search_ms, 1),
               bench_quantile(&c->one_kind_ms, 0.5), c->step_ms);
        if (c->unit == 1) printf(" %.3f |\n", c->bound_ms);
        else              printf(" - |\n");
    }
    return 0;
}
