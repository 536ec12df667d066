/* Where the time of a whole comparison goes: what pipebd-plan does once it has read its
 * trace, schedule by schedule, on the made-up chain of bench/chain.h.
 *
 *   time          search, spelling out, verification, memory and simulation of all
 *                 candidates of the schedule
 *   simulated     instructions of the fastest one, simulated one by one
 *   skipped       instructions of it in periods that were skipped
 *
 * With arguments BLOCKS DEVICES BATCH the trace itself is printed, for pipebd-plan. */
#include <inttypes.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/chain.h"
#include "planner/compare.h"

typedef struct {
    BenchChain        chain;
    int          repeats;
    BenchSamples ms[SCHEDULE_COUNT];
    int64_t      simulated[SCHEDULE_COUNT], skipped[SCHEDULE_COUNT];
} CompareCase;

static void measure(CompareCase *c, const Scenario *s, Schedule schedule)
{
    CompareOptions options = {.schedules = 1u << schedule, .candidates = 8};
    Comparison     comparison;
    Error          err = {""};
    double         start = bench_now();

    bench_require(compare_rows(&comparison, s, &options, &err), &err);
    bench_add(&c->ms[schedule], 1e3 * (bench_now() - start));
    const Candidate *row = &comparison.rows[schedule];
    c->simulated[schedule] = row->plan ? row->sim.simulated : 0;
    c->skipped[schedule] = row->plan ? row->sim.skipped : 0;
    comparison_free(&comparison);
}

static void run(CompareCase *c)
{
    Trace   *trace = chain_trace(&c->chain);
    Scenario s;
    Error    err = {""};

    bench_require(
        scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2, .extrapolate = true}, &err),
        &err);
    for (int r = 0; r < c->repeats; r++)
        for (int i = 0; i < SCHEDULE_COUNT; i++) measure(c, &s, (Schedule)i);
    scenario_free(&s);
    trace_free(trace);
}

static void print_case(CompareCase *c)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        printf("| %d x %d, batch %d%s | %s | %.4g | %.4g - %.4g | %.3f | %.3f |\n", c->chain.blocks,
               c->chain.devices, c->chain.batch, c->chain.nodes ? ", nodes of 8" : "",
               schedule_name((Schedule)i), bench_quantile(&c->ms[i], 0.5),
               bench_quantile(&c->ms[i], 0), bench_quantile(&c->ms[i], 1),
               1e-6 * (double)c->simulated[i], 1e-6 * (double)c->skipped[i]);
}

static int print_trace(char **argv)
{
    BenchChain chain = {.blocks = atoi(argv[1]), .devices = atoi(argv[2]), .batch = atoi(argv[3])};
    Text  text = {0};

    chain_text(&chain, &text);
    printf("%s\n", text_string(&text));
    text_free(&text);
    return 0;
}

int main(int argc, char **argv)
{
    CompareCase cases[] = {
        {.chain = {6, 4, 256, false}, .repeats = 15},
        {.chain = {64, 64, 256, false}, .repeats = 3},
        {.chain = {98, 512, 512, false}, .repeats = 3},
        {.chain = {98, 512, 65536, false}, .repeats = 3},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };

    if (argc == 4) return print_trace(argv);
    printf("One core, an epoch of 1,000,000 samples, 8 partitions simulated a schedule; medians, "
           "least - most.\n\n"
           "| blocks x devices | schedule | time | least - most | simulated | skipped |\n"
           "|---|---|---:|---:|---:|---:|\n| | | ms | ms | million | million |\n");
    for (int i = 0; i < CASES; i++) {
        run(&cases[i]);
        print_case(&cases[i]);
        fflush(stdout);
    }
    return 0;
}
