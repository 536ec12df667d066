/* A made-up workload for benchmarks of the planner: block times vary by a factor of five
 * and fall with the share of the batch but for a fixed part, boundaries and gradients
 * vary, all-reduces grow with the number of devices, loading is shared. The same numbers
 * on every machine. */
#ifndef BENCH_CHAIN_H
#define BENCH_CHAIN_H

#include "base/rng.h"
#include "base/text.h"
#include "bench/bench.h"
#include "traces/scenario.h"

typedef struct {
    int  blocks, devices, batch;
    bool nodes;                  /* of 8 devices, with slower links between them */
    int  kinds;                  /* of devices, as many of each; kind k takes 1 + 0.7 k times as
                                  * long. 0 counts as 1 */
} BenchChain;

static inline int chain_draw(int block, int what, int low, int high)
{
    return low + (int)(rng_u64(7, (uint64_t)block, (uint64_t)what, 0) % (uint64_t)(high - low + 1));
}

static inline void chain_links(int slower, Text *out)
{
    text_printf(out, "\"p2p\": [{\"bytes\": 0, \"us\": %d}, {\"bytes\": 1000000000, \"us\": %d}], "
                "\"allreduce\": [", 10 * slower, 50000 * slower);
    for (int n = 2; n <= 2048; n *= 4)
        text_printf(out,
                    "%s{\"devices\": %d, \"bytes\": 0, \"us\": %d}, {\"devices\": %d, \"bytes\": "
                    "100000000, "
                    "\"us\": %d}",
                    n > 2 ? ", " : "", n, 20 * slower + n / 4, n, 4000 * slower + 2 * n);
    text_append(out, "]");
}

static inline void chain_timings(const BenchChain *c, int block, int kind, Text *out)
{
    int work = chain_draw(block, 0, 2000, 10000);

    for (int rows = 1, more = kind > 0; rows <= c->batch; rows *= 4, more = 1)
        text_printf(
            out,
            "%s{\"device\": \"d%d\", \"batch\": %d, \"teacher_us\": %d, \"forward_us\": %d, "
            "\"backward_us\": %d, \"update_us\": %d}",
            more ? ", " : "", kind, rows, (20 + work * rows / c->batch) * (10 + 7 * kind) / 10,
            (25 + work * rows / c->batch) * (10 + 7 * kind) / 10,
            (50 + 2 * work * rows / c->batch) * (10 + 7 * kind) / 10,
            chain_draw(block, 3, 20, 90) * (10 + 7 * kind) / 10);
}

/* The trace's file. */
static inline void chain_text(const BenchChain *c, Text *out)
{
    int kinds = c->kinds > 1 ? c->kinds : 1;

    text_printf(out,
                "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"bench\", "
                "\"provenance\": {\"kind\": "
                "\"modelled\", \"source\": \"bench\"}, \"workload\": {\"name\": \"w\", \"batch\": "
                "%d, \"samples\": "
                "1000000}, \"devices\": [",
                c->batch);
    for (int k = 0; k < kinds; k++)
        text_printf(out, "%s{\"kind\": \"d%d\", \"count\": %d}", k ? ", " : "", k,
                    c->devices / kinds);
    text_append(out, "], \"blocks\": [");
    for (int b = 0; b < c->blocks; b++) {
        text_printf(
            out,
            "%s{\"name\": \"b%d\", \"output_bytes\": %d, \"student\": {\"gradient_bytes\": %d}, "
            "\"timings\": [",
            b ? ", " : "", b, chain_draw(b, 1, 10000, 200000), chain_draw(b, 2, 100000, 50000000));
        for (int k = 0; k < kinds; k++) chain_timings(c, b, k, out);
        text_append(out, "]}");
    }
    text_append(
        out,
        "], \"loader\": {\"batch_us\": 50, \"sample_us\": 4, \"lanes\": 8, \"prefetch\": 2}, ");
    chain_links(1, out);
    if (c->nodes) {
        text_append(out, ", \"nodes\": {\"devices_per_node\": 8, ");
        chain_links(4, out);
        text_append(out, "}");
    }
    text_append(out, "}");
}

static inline Trace *chain_trace(const BenchChain *c)
{
    Text   text = {0};
    Trace *trace;
    Error  err = {""};

    chain_text(c, &text);
    bench_require(trace_parse(&trace, "bench", text_string(&text), text.length, &err), &err);
    text_free(&text);
    return trace;
}

#endif
