/* Simulated instructions a second on one core, beside a bare binary heap.
 *
 * The workload: 64 or 128 blocks on 64 devices, every block another duration, as a
 * relay of one device a stage (dpu) and of two (ahd), simulated step by step: nothing
 * skipped, no timeline kept. An instruction is one LOAD, RECV, SEND, TEACHER, ... of
 * one device in one step. The fewer blocks a device has, the larger the part of its
 * instructions that others can see and that must go through the event queue: 64 blocks
 * on 64 devices are the hardest case.
 *
 * The bare heap: 64 entries (time, id); an iteration takes the least out and puts it
 * back at time + duration. It is what a simulator does that sends every instruction
 * through its event queue and has nothing else to do: the price of ordering alone. It
 * compares without branches and sifts from the bottom, as the simulator's own does. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "bench/bench.h"
#include "schedule/verify.h"
#include "sim/sim.h"

enum { DEVICES = 64, STEPS = 2000, REPEATS = 15, HEAP_ROUNDS = 1 << 20 };

typedef struct {
    const char *name;
    int         blocks, width;   /* width: devices a stage */
    bool        loader, p2p, blocking;
    Trace      *trace;
    Scenario    scenario;
    Program    *program;
    int64_t     instructions;
    BenchSamples per_s, of_heap;
} SimulatorCase;

/* ---- the workload -------------------------------------------------------------- */

static void case_text(const SimulatorCase *c, Text *out)
{
    text_printf(
        out,
        "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"bench\", \"provenance\": "
        "{\"kind\": \"modelled\", \"source\": \"bench\"}, \"workload\": {\"name\": \"w\", "
        "\"batch\": 64,"
        " \"samples\": %d}, \"devices\": [{\"kind\": \"d\", \"count\": %d}], \"input_bytes\": "
        "1000, "
        "\"blocks\": [",
        64 * STEPS, DEVICES);
    for (int b = 0; b < c->blocks; b++) {
        int us = 100 + (int)(rng_u64(1, (uint64_t)b, 0, 0) % 100);
        text_printf(
            out,
            "%s{\"name\": \"b%d\", \"output_bytes\": 1000, \"student\": {\"gradient_bytes\": "
            "100000}, \"timings\": [{\"batch\": 64, \"teacher_us\": %d, \"forward_us\": %d, "
            "\"backward_us\": %d, \"update_us\": 7}]}",
            b ? ", " : "", b, us, us + 3, 2 * us + 11);
    }
    text_append(out, "], \"allreduce\": [{\"devices\": 2, \"bytes\": 100000, \"us\": 31}]");
    if (c->loader)
        text_append(
            out,
            ", \"loader\": {\"batch_us\": 50, \"sample_us\": 4, \"lanes\": 4, \"prefetch\": 2}");
    if (c->p2p)
        text_append(out, ", \"p2p\": [{\"bytes\": 0, \"us\": 10}, {\"bytes\": 64000, \"us\": 45}]");
    if (c->blocking) text_append(out, ", \"transfers\": \"blocking\"");
    text_append(out, "}");
}

static void build_case(SimulatorCase *c)
{
    Text  text = {0};
    Plan *plan;
    Error err = {""};
    int   stages = DEVICES / c->width, blocks = c->blocks / stages;

    case_text(c, &text);
    bench_require(trace_parse(&c->trace, "bench", text_string(&text), text.length, &err), &err);
    text_free(&text);
    bench_require(scenario_build(&c->scenario, c->trace,
                                 &(ScenarioOptions){.queue_depth = 2, .extrapolate = true}, &err),
                  &err);
    bench_require(plan_new(&plan, c->width > 1 ? SCHEDULE_AHD : SCHEDULE_DPU, c->blocks, DEVICES,
                           c->scenario.batch, stages, &err), &err);
    for (int i = 0; i < stages; i++)
        bench_require(
            plan_set_stage(plan, i, i * blocks, (i + 1) * blocks - 1, i * c->width, c->width, &err),
            &err);
    bench_require(program_build(&c->program, plan, c->scenario.steps, &err), &err);
    bench_require(program_verify(c->program, c->scenario.queue_depth, &err), &err);
    plan_free(plan);
}

static void free_case(SimulatorCase *c)
{
    program_free(c->program);
    scenario_free(&c->scenario);
    trace_free(c->trace);
}

/* ---- the bare heap --------------------------------------------------------------- */

typedef struct { int64_t time_ns; int id; } HeapEntry;

static bool before(HeapEntry a, HeapEntry b)
{
    return (a.time_ns < b.time_ns) | ((a.time_ns == b.time_ns) & (a.id < b.id));
}

static void sift_up(HeapEntry *heap, int i, HeapEntry entry)
{
    for (; i > 0 && before(entry, heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = entry;
}

static void push(HeapEntry *heap, int *count, HeapEntry entry) { sift_up(heap, (*count)++, entry); }

static HeapEntry pop(HeapEntry *heap, int *count)
{
    HeapEntry top = heap[0];
    int   n = --*count, i = 0;

    for (int child = 1; child + 1 < n; child = 2 * i + 1) {
        child += before(heap[child + 1], heap[child]);
        heap[i] = heap[child];
        i = child;
    }
    if (2 * i + 1 == n - 1) { heap[i] = heap[n - 1]; i = n - 1; }
    sift_up(heap, i, heap[n]);
    return top;
}

/* Rounds a second. *end keeps the loop from being optimised away. */
static double bare_heap(int64_t *end)
{
    HeapEntry   heap[DEVICES];
    int64_t ns[DEVICES];
    int     count = 0;
    double  start = bench_now();

    for (int d = 0; d < DEVICES; d++) {
        ns[d] = 100000 + (int64_t)(rng_u64(2, (uint64_t)d, 0, 0) % 100000);
        push(heap, &count, (HeapEntry){0, d});
    }
    for (int i = 0; i < HEAP_ROUNDS; i++) {
        HeapEntry entry = pop(heap, &count);
        entry.time_ns += ns[entry.id];
        push(heap, &count, entry);
    }
    *end = heap[0].time_ns;
    return HEAP_ROUNDS / (bench_now() - start);
}

/* ---- measuring ---------------------------------------------------------------------- */

static double simulate(SimulatorCase *c)
{
    SimResult result;
    Error     err = {""};
    double    start = bench_now();

    bench_require(
        sim_run(&result, c->program, &c->scenario, &(SimOptions){.step_by_step = true}, &err),
        &err);
    double seconds = bench_now() - start;
    c->instructions = result.simulated;
    sim_free(&result);
    return (double)c->instructions / seconds;
}

static void print_row(const char *name, int64_t instructions, BenchSamples *per_s,
                      BenchSamples *of_heap)
{
    printf("| %s | %.2f | %.1f | %.1f - %.1f |", name, 1e-6 * (double)instructions,
           1e-6 * bench_quantile(per_s, 0.5), 1e-6 * bench_quantile(per_s, 0),
           1e-6 * bench_quantile(per_s, 1));
    if (of_heap) printf(" %.2f |\n", bench_quantile(of_heap, 0.5));
    else         printf(" 1 |\n");
}

/* Figures known from elsewhere, for the order of magnitude. */
static void print_field(void)
{
    printf("\nNot measured here: reported rates of general event simulators on one core with 64 "
           "events\n"
           "pending, on other machines; an event is not an instruction, so orders of magnitude "
           "only.\n\n"
           "| simulator | million events/s |\n|---|---:|\n| SimPy | 0.4 |\n| SimGrid | 0.5 |\n"
           "| ROSS | 3 |\n| ns-3 | 3.5 |\n");
}

int main(void)
{
    SimulatorCase cases[] = {
        {.name = "64 blocks, dpu", .blocks = 64, .width = 1},
        {.name = "64 blocks, dpu, p2p", .blocks = 64, .width = 1, .p2p = true},
        {.name = "64 blocks, dpu, p2p, shared loader", .blocks = 64, .width = 1, .p2p = true,
         .loader = true},
        {.name = "64 blocks, dpu, p2p, shared loader, blocking", .blocks = 64, .width = 1,
         .p2p = true, .loader = true, .blocking = true},
        {.name = "128 blocks, dpu, p2p, shared loader", .blocks = 128, .width = 1, .p2p = true,
         .loader = true},
        {.name = "128 blocks, ahd in pairs, p2p, all-reduce, shared loader", .blocks = 128,
         .width = 2, .p2p = true, .loader = true},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    BenchSamples heap = {.count = 0};
    int64_t      end = 0;

    for (int i = 0; i < CASES; i++) build_case(&cases[i]);
    for (int r = 0; r < REPEATS; r++)
        for (int i = 0; i < CASES; i++) {
            double bare = bare_heap(&end), rate = simulate(&cases[i]);
            if (i == 0) bench_add(&heap, bare);
            bench_add(&cases[i].per_s, rate);
            bench_add(&cases[i].of_heap, rate / bare);
        }
    printf("%d devices, %d steps simulated one by one on one core, %d repetitions in turns. The "
           "ratio is\n"
           "the median over the pairs of a simulation and the bare heap just before it; it can "
           "pass 1, as\n"
           "instructions that no other device can see are simulated without the event queue.\n\n",
           DEVICES, STEPS, REPEATS);
    printf("| | instructions | median | least - most | median of bare heap |\n"
           "|---|---:|---:|---:|---:|\n| | million | million/s | million/s | ratio |\n");
    print_row("bare heap of 64, one pop and push", HEAP_ROUNDS, &heap, NULL);
    for (int i = 0; i < CASES; i++)
        print_row(cases[i].name, cases[i].instructions, &cases[i].per_s, &cases[i].of_heap);
    print_field();
    for (int i = 0; i < CASES; i++) free_case(&cases[i]);
    return end > 0 ? 0 : 1;
}
