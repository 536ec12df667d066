/* What it takes to evaluate a stored set, beside what it takes to evaluate a plan that relays: a
 * bound, which decides most of them, and a run of all epochs in the simulator. 64 blocks on 16
 * devices, 1,000 steps an epoch, 10 epochs; the relaying plan is simulated for one. Times are of
 * the processor. */
#include <stdio.h>

#include "base/rng.h"
#include "base/text.h"
#include "bench/bench.h"
#include "planner/candidate.h"
#include "planner/store/store_bound.h"

enum { BLOCKS = 64, DEVICES = 16, STEPS = 1000, EPOCHS = 10, REPEATS = 9 };

static void trace_of(Text *out)
{
    text_printf(out,
                "{\"format\": \"pipebd-trace\", \"version\": 2, \"name\": \"bench\", "
                "\"provenance\": {\"kind\": \"modelled\", \"source\": "
                "\"bench\"}, \"workload\": {\"name\": \"w\", \"batch\": 64, \"samples\": %d, "
                "\"epochs\": %d}, \"devices\": [{\"kind\": \"d\", "
                "\"count\": %d}], \"input_bytes\": 1000, \"blocks\": [",
                64 * STEPS, EPOCHS, DEVICES);
    for (int b = 0; b < BLOCKS; b++) {
        int us = 100 + (int)(rng_u64(1, (uint64_t)b, 0, 0) % 100);
        text_printf(out,
                    "%s{\"name\": \"b%d\", \"output_bytes\": 1000, \"timings\": [{\"batch\": 64, "
                    "\"teacher_us\": %d, \"forward_us\": %d, "
                    "\"backward_us\": %d, \"update_us\": 7}]}",
                    b ? ", " : "", b, us, us + 3, 2 * us + 11);
    }
    text_append(out, "], \"p2p\": [{\"bytes\": 0, \"us\": 10}, {\"bytes\": 64000, \"us\": 45}], "
                     "\"storage\": [{\"name\": \"host\", \"kind\": "
                     "\"memory\", \"size_bytes\": 100000000000");
    for (int write = 0; write < 2; write++)
        text_printf(out,
                    ", \"%s\": [{\"row_bytes\": 1000, \"rows\": 64, \"in_flight\": 1, \"us\": 40}, "
                    "{\"row_bytes\": 1000, \"rows\": 64, "
                    "\"in_flight\": 16, \"us\": 90}]",
                    write ? "write" : "read");
    text_append(out, "}]}");
}

/* A stage of four blocks a device; stored: every fourth boundary from there on. */
static Plan *plan_of(const Scenario *s, bool stores, int from)
{
    Error err = {""};
    Plan *plan;
    int   each = BLOCKS / DEVICES;

    bench_require(plan_new(&plan, stores ? SCHEDULE_STORE : SCHEDULE_AHD, BLOCKS, DEVICES, s->batch,
                           DEVICES, &err),
                  &err);
    if (stores) bench_require(plan_set_store(plan, EPOCHS, false, DEVICES, &err), &err);
    for (int i = 0; i < DEVICES; i++) {
        bench_require(plan_set_stage(plan, i, i * each, (i + 1) * each - 1, i, 1, &err), &err);
        if (!stores) continue;
        plan->later[i].first = i * each;
        plan->later[i].last = (i + 1) * each - 1;
        bench_require(plan_place(plan, &plan->later[i], (const int[]){i},
                                 (const int64_t[]){s->batch}, 1, &err),
                      &err);
    }
    for (int k = from; stores && k < BLOCKS; k += 4) plan->stored[k] = 0;
    for (int i = 1; stores && i < DEVICES; i++) plan->stored[i * each] = 0;
    return plan;
}

static double price(const Scenario *s, bool stores, int from)
{
    Candidate row = {0};
    Error     err = {""};
    Plan     *plan = plan_of(s, stores, from);
    double    start = bench_now();

    bench_require(candidate_price(&row, plan, s, &err), &err);
    double took = bench_now() - start;
    if (!row.plan) { fprintf(stderr, "bench: %s\n", row.why); exit(1); }
    candidate_free(&row);
    return took;
}

static double bound(const Scenario *s, int from)
{
    Error    err = {""};
    Program *program;
    Plan    *plan = plan_of(s, true, from);
    double   start = bench_now();
    int64_t  ns;

    bench_require(program_build(&program, plan, s->steps * EPOCHS, &err), &err);
    bench_require(store_bound(&ns, program, s, &err), &err);
    double took = bench_now() - start;
    program_free(program);
    plan_free(plan);
    return took;
}

int main(void)
{
    BenchSamples relay = {0}, stored = {0}, bounds = {0};
    Text         text = {0};
    Trace       *trace;
    Scenario     s;
    Error        err = {""};

    trace_of(&text);
    bench_require(trace_parse(&trace, "bench", text_string(&text), text.length, &err), &err);
    text_free(&text);
    bench_require(scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2}, &err), &err);
    for (int i = 0; i < REPEATS; i++) {
        bench_add(&relay, price(&s, false, 0));
        bench_add(&stored, price(&s, true, 1 + i % 4));
        bench_add(&bounds, bound(&s, 1 + i % 4));
    }
    printf("| | ms | least to most |\n|---|---:|---:|\n");
    const struct { const char *name; BenchSamples *samples;
    } rows[] = {{"a relaying plan, one epoch simulated", &relay},
                {"a stored set: its bound", &bounds},
                {"a stored set: ten epochs simulated", &stored}};
    for (int i = 0; i < 3; i++)
        printf("| %s | %.3f | %.3f to %.3f |\n", rows[i].name,
               1e3 * bench_quantile(rows[i].samples, 0.5), 1e3 * bench_quantile(rows[i].samples, 0),
               1e3 * bench_quantile(rows[i].samples, 1));
    scenario_free(&s);
    trace_free(trace);
    return 0;
}
