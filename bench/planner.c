/* Time of the exact partition search with replication (schedule ahd) on one core.
 *
 * A made-up chain: block times vary by a factor of five and fall with the share of the
 * batch but for a fixed part, boundaries and gradients vary, all-reduces grow with the
 * number of devices, loading is shared. Cost: the simulator's (COST_SIM), with messages
 * between stages, so it is not monotone.
 *
 *   table     every cost looked up once and summed (stage_table_build)
 *   search    the optimum, from the table (partition_search)
 *   several   the optimum and seven more partitions, as the planner simulates them
 *   textbook  best[i][g] = min over first, width of max(best[first][g - width], cost),
 *             the plain exact dynamic program, O(N^2 G W), all costs written into an
 *             array first (from the same table). Its optimum must agree. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/chain.h"
#include "planner/stages/partition.h"
#include "planner/stages/stage_table.h"

typedef struct {
    const char *name;
    int         blocks, devices, batch;
    bool        nodes;           /* of 8 devices, with slower links between them */
    bool        textbook;
    int         repeats;
    int         stages, widths;  /* found: stages, widths tried */
    int64_t     bottleneck_ns;
    BenchSamples table_ms, search_ms, total_ms, several_ms, textbook_ms;
} PlannerCase;

/* ---- the textbook --------------------------------------------------------------------- */

typedef struct {
    int      blocks, devices, places;    /* places: 1 where all devices are alike */
    int64_t *costs;              /* [place][last][first][devices + 1] */
    int64_t *best;               /* [blocks + 1][devices + 1] */
} Textbook;

static int64_t *costs_of(const Textbook *t, int place, int last, int first)
{
    size_t n = (size_t)t->blocks, across = (size_t)t->devices + 1;

    return &t->costs[(((size_t)place * n + (size_t)last) * n + (size_t)first) * across];
}

static void textbook_costs(const Textbook *t, StageTable *table)
{
    for (int place = 0; place < t->places; place++)
        for (int last = 0; last < t->blocks; last++)
            for (int first = 0; first <= last; first++)
                for (int w = 1; place + w <= t->devices; w++) {
                    /* Alike: anywhere but at the start, where there is no message in. */
                    int device = t->places > 1 ? place : first > 0 && w < t->devices;
                    costs_of(t, place, last, first)[w] =
                        stage_table_cost(table, first, last, device, w);
                }
}

/* The best last stage of blocks 0..i-1 on devices 0..g-1. */
static int64_t last_stage(const Textbook *t, int i, int g)
{
    size_t  across = (size_t)t->devices + 1;
    int64_t least = INT64_MAX;

    for (int first = 0; first < i; first++) {
        const int64_t *before = &t->best[(size_t)first * across];
        for (int w = 1; w <= g; w++) {
            int64_t ns = costs_of(t, t->places > 1 ? g - w : 0, i - 1, first)[w];
            if (before[g - w] > ns) ns = before[g - w];
            if (ns < least) least = ns;
        }
    }
    return least;
}

static int64_t textbook(StageTable *table, int blocks, int devices)
{
    Textbook t = {blocks, devices, stage_table_uniform(table) ? 1 : devices, NULL, NULL};
    size_t   n = (size_t)blocks, across = (size_t)devices + 1;
    int64_t  answer = INT64_MAX;

    t.costs = bench_alloc((size_t)t.places * n * n * across, sizeof *t.costs);
    t.best = bench_alloc((n + 1) * across, sizeof *t.best);
    textbook_costs(&t, table);
    for (int i = 1; i <= blocks; i++)
        for (int g = 0; g <= devices; g++)
            t.best[(size_t)i * across + (size_t)g] = last_stage(&t, i, g);
    for (int g = 1; g <= devices; g++)
        if (t.best[n * across + (size_t)g] < answer) answer = t.best[n * across + (size_t)g];
    free(t.costs);
    free(t.best);
    return answer;
}

/* ---- measuring --------------------------------------------------------------------------- */

static double search_ms(PlannerCase *c, StageTable *table, int wanted)
{
    PartitionProblem p = {.blocks = c->blocks, .devices = c->devices, .max_width = c->devices,
                          .uniform = stage_table_uniform(table), .cost = stage_table_cost,
                          .floor = stage_table_floor, .end = stage_table_end, .context = table,
                          .wanted = wanted};
    Partition *parts;
    int        count;
    Error      err = {""};
    double     start = bench_now();

    p.widths = stage_table_widths(table, &p.width_count);
    bench_require(partition_search(&parts, &count, &p, &err), &err);
    double ms = 1e3 * (bench_now() - start);
    if (count == 0) bench_require(error_set(&err, "%s: no partition", c->name), &err);
    c->bottleneck_ns = parts[0].bottleneck_ns;
    c->stages = parts[0].stages;
    c->widths = p.width_count;
    partitions_free(parts, count);
    return ms;
}

static void measure(PlannerCase *c, const Scenario *s)
{
    StageTable *table;
    Error       err = {""};
    double      start = bench_now();

    bench_require(stage_table_build(&table, s, COST_SIM, s->device_count, &err), &err);
    double built = 1e3 * (bench_now() - start), found = search_ms(c, table, 1);
    bench_add(&c->table_ms, built);
    bench_add(&c->search_ms, found);
    bench_add(&c->total_ms, built + found);
    bench_add(&c->several_ms, built + search_ms(c, table, 8));
    if (c->textbook) {
        start = bench_now();
        int64_t ns = textbook(table, c->blocks, c->devices);
        bench_add(&c->textbook_ms, built + 1e3 * (bench_now() - start));
        if (ns != c->bottleneck_ns)
            bench_require(error_set(&err, "%s: %" PRId64 " ns, the textbook finds %" PRId64,
                                    c->name, c->bottleneck_ns, ns),
                          &err);
    }
    stage_table_free(table);
}

/* Three digits, whatever the size. */
static void print_ms(double ms)
{
    printf(" %.*f |", ms < 0.1 ? 4 : ms < 1 ? 3 : ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
}

static void print_row(PlannerCase *c)
{
    printf("| %s | %d | %d | %d |", c->name, c->batch, c->widths, c->stages);
    print_ms(bench_quantile(&c->table_ms, 0.5));
    print_ms(bench_quantile(&c->search_ms, 0.5));
    printf(" **%.3g** | %.3g - %.3g |", bench_quantile(&c->total_ms, 0.5),
           bench_quantile(&c->total_ms, 0), bench_quantile(&c->total_ms, 1));
    print_ms(bench_quantile(&c->several_ms, 0.5));
    if (c->textbook) print_ms(bench_quantile(&c->textbook_ms, 0.5));
    else             printf(" - |");
    printf("\n");
}

/* Figures known from elsewhere, for the order of magnitude. */
static void print_field(void)
{
    printf("\nNot measured here: reported times of other partition searches with replication, on "
           "other\n"
           "machines and with other costs, so orders of magnitude only.\n\n"
           "| search | size | time |\n|---|---|---:|\n"
           "| PipeDream | 240 states, 32 devices | 24 s |\n| PipeDream | 410 states, 32 devices | "
           "77 s |\n"
           "| Piper | 98 nodes, 2,048 devices | 126 s |\n");
}

int main(void)
{
    PlannerCase cases[] = {
        {.name = "6 x 4", .blocks = 6, .devices = 4, .batch = 256, .textbook = true, .repeats = 31},
        {.name = "64 x 64", .blocks = 64, .devices = 64, .batch = 256, .textbook = true,
         .repeats = 31},
        {.name = "64 x 64", .blocks = 64, .devices = 64, .batch = 65536, .textbook = true,
         .repeats = 31},
        {.name = "410 x 32", .blocks = 410, .devices = 32, .batch = 256, .textbook = true,
         .repeats = 15},
        {.name = "98 x 2048", .blocks = 98, .devices = 2048, .batch = 2048, .repeats = 15},
        {.name = "98 x 2048", .blocks = 98, .devices = 2048, .batch = 65536, .repeats = 15},
        {.name = "1000 x 1024", .blocks = 1000, .devices = 1024, .batch = 1024, .repeats = 7},
        {.name = "1000 x 1024", .blocks = 1000, .devices = 1024, .batch = 65536, .repeats = 7},
        {.name = "64 x 64, 8 nodes", .blocks = 64, .devices = 64, .batch = 256, .nodes = true,
         .textbook = true, .repeats = 7},
        {.name = "98 x 512, 64 nodes", .blocks = 98, .devices = 512, .batch = 512, .nodes = true,
         .repeats = 3},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };

    for (int i = 0; i < CASES; i++) {
        BenchChain    chain = {.blocks = cases[i].blocks, .devices = cases[i].devices,
                               .batch = cases[i].batch, .nodes = cases[i].nodes};
        Trace   *trace = chain_trace(&chain);
        Scenario s;
        Error    err = {""};
        ScenarioOptions options = {.queue_depth = 2, .extrapolate = true};
        bench_require(scenario_build(&s, trace, &options, &err), &err);
        for (int r = 0; r < cases[i].repeats; r++) measure(&cases[i], &s);
        scenario_free(&s);
        trace_free(trace);
    }
    printf("One core; medians of 3 to 31 repetitions in turns with the textbook program. Total: "
           "table and\n"
           "search, with its least - most. Several: table, optimum and seven more partitions. "
           "Textbook: with\n"
           "the table. Widths: those that no narrower one makes useless. With nodes, cost depends "
           "on the place.\n\n");
    printf("| blocks x devices | batch | widths | stages | table | search | total | least - most | "
           "several "
           "| textbook |\n"
           "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n| | rows | | | ms | ms | ms | ms | "
           "ms | ms |\n");
    for (int i = 0; i < CASES; i++) print_row(&cases[i]);
    print_field();
    return 0;
}
