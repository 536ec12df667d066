#include "tests/random_trace.h"

#include "base/text.h"
#include "tests/support.h"

static int upto(Rng *rng, int most) { return (int)rng_range(rng, 0, most); }

TraceStalls random_stalls(Rng *rng, int longest_us)
{
    TraceStalls stalls = {.count = (int)rng_range(rng, 1, 8), .common = upto(rng, 3) / 4.0};
    int64_t     ns = 0;

    for (int i = 0; i < stalls.count; i++)
        stalls.ns[i] = ns += rng_range(rng, 1, 1000 * (int64_t)longest_us / stalls.count);
    stalls.per_ms = (double)rng_range(rng, 1, 200) / 1000 / (stalls_mean_ns(&stalls) * 1e-6);
    stalls.skew = upto(rng, 1) ? (double)upto(rng, 20) / 100 : 0;
    stalls.lasting = upto(rng, 1) ? stalls.skew * upto(rng, 4) / 4 : 0;
    return stalls;
}

RandomTrace random_trace_shape(Rng *rng, int max_blocks, int max_devices)
{
    RandomTrace h = {.blocks = (int)rng_range(rng, 2, max_blocks),
                     .devices = (int)rng_range(rng, 1, max_devices),
                     .batch = (int)rng_range(rng, 4, 12), .samples = (int)rng_range(rng, 1, 600),
                     .kinds = 1};

    h.kinds = h.devices > 1 && upto(rng, 2) == 0 ? 2 : 1;
    h.per_node = upto(rng, 1) ? (int)rng_range(rng, 1, 4) : 0;
    h.loader = upto(rng, 1);
    h.p2p = upto(rng, 3) > 0;
    h.reduces = upto(rng, 3) > 0;
    h.blocking = upto(rng, 3) == 0;
    h.bytes = upto(rng, 3) > 0;
    return h;
}

/* timings of the teacher alone, or of a student alone. */
static void part_timings(Rng *rng, const RandomTrace *h, bool teacher, Text *out)
{
    text_append(out, "\"timings\": [");
    for (int kind = 0; kind < h->kinds; kind++) {
        int per_row = upto(rng, 9), fixed = upto(rng, 20), update = upto(rng, 20);
        for (int rows = 1; rows <= h->batch; rows++) {
            int us = per_row * rows + fixed;
            text_printf(out, "%s{\"device\": \"k%d\", \"batch\": %d, ",
                        kind || rows > 1 ? ", " : "", kind, rows);
            if (teacher) text_printf(out, "\"teacher_us\": %d}", us);
            else
                text_printf(out, "\"forward_us\": %d, \"backward_us\": %d, \"update_us\": %d}", us,
                            2 * us, update);
        }
    }
    text_append(out, "]");
}

static void list_students(Rng *rng, const RandomTrace *h, Text *out)
{
    int count = (int)rng_range(rng, 2, 3);

    text_append(out, ", ");
    part_timings(rng, h, true, out);
    text_append(out, ", \"students\": [");
    for (int j = 0; j < count; j++) {
        text_printf(out,
                    "%s{\"name\": \"s%d\", \"weight_bytes\": %d, \"gradient_bytes\": %d, "
                    "\"state_bytes\": %d, "
                    "\"activation_bytes\": %d, ",
                    j ? ", " : "", j, upto(rng, 900), upto(rng, 900), upto(rng, 900),
                    upto(rng, 800));
        part_timings(rng, h, false, out);
        text_append(out, "}");
    }
    text_append(out, "]");
}

static void block_text(Rng *rng, const RandomTrace *h, int b, Text *out)
{
    text_printf(out, "%s\n{\"name\": \"b%d\"", b ? "," : "", b);
    if (h->bytes || h->p2p) text_printf(out, ", \"output_bytes\": %d", 1 + upto(rng, 400));
    if (h->bytes)
        text_printf(out, ", \"teacher\": {\"weight_bytes\": %d, \"activation_bytes\": %d}",
                    upto(rng, 900), upto(rng, 500));
    bool listed = h->students && b % 2 == 0;
    if (h->bytes && !listed)
        text_printf(
            out,
            ", \"student\": {\"weight_bytes\": %d, \"gradient_bytes\": %d, \"state_bytes\": %d, "
            "\"activation_bytes\": %d}",
            upto(rng, 900), upto(rng, 900), upto(rng, 900), upto(rng, 800));
    else if (h->reduces && !listed)
        text_printf(out, ", \"student\": {\"gradient_bytes\": %d}", upto(rng, 900));
    if (h->students && b % 2 == 0) { list_students(rng, h, out); text_append(out, "}"); return; }
    text_append(out, ", \"timings\": [");
    for (int kind = 0; kind < h->kinds; kind++) {
        int per_row[4], fixed[4];
        for (int i = 0; i < 4; i++) {
            per_row[i] = i < 3 ? upto(rng, 9) : 0;
            fixed[i] = upto(rng, 20);
        }
        for (int rows = 1; rows <= h->batch; rows++)
            text_printf(
                out,
                "%s{\"device\": \"k%d\", \"batch\": %d, \"teacher_us\": %d, \"forward_us\": %d, "
                "\"backward_us\": %d, \"update_us\": %d}",
                kind || rows > 1 ? ", " : "", kind, rows, per_row[0] * rows + fixed[0],
                per_row[1] * rows + fixed[1], per_row[2] * rows + fixed[2], fixed[3]);
    }
    text_append(out, "]}");
}

/* us and slope nanoseconds a byte, or microseconds a device. */
static void links_text(Rng *rng, const RandomTrace *h, int factor, const char *gap, Text *out)
{
    if (h->p2p) {
        int us = factor * upto(rng, 20), slope = factor * upto(rng, 6);
        text_printf(out,
                    "%s\"p2p\": [{\"bytes\": 0, \"us\": %d}, {\"bytes\": 1000000, \"us\": %d}]",
                    gap, us, us + 1000 * slope);
        gap = ", ";
    }
    if (h->reduces) {
        int us = factor * upto(rng, 30), more = upto(rng, 5), slope = factor * upto(rng, 20);
        text_printf(out, "%s\"allreduce\": [", gap);
        for (int devices = 2; devices <= 66; devices += 64)
            text_printf(out,
                        "%s{\"devices\": %d, \"bytes\": 0, \"us\": %d}, {\"devices\": %d, "
                        "\"bytes\": 1000000, "
                        "\"us\": %d}",
                        devices > 2 ? ", " : "", devices, us + more * (devices - 2), devices,
                        us + more * (devices - 2) + 1000 * slope);
        text_append(out, "]");
    }
}

static void cluster_text(Rng *rng, const RandomTrace *h, Text *out)
{
    int first = h->kinds == 1 ? h->devices : (int)rng_range(rng, 1, h->devices - 1);

    for (int kind = 0; kind < h->kinds; kind++) {
        text_printf(out, "%s{\"kind\": \"k%d\", \"count\": %d", kind ? ", " : "", kind,
                    kind ? h->devices - first : first);
        if (h->memory_bytes)
            text_printf(out, ", \"memory_bytes\": %d",
                        kind ? h->memory_bytes + h->memory_bytes / 2 : h->memory_bytes);
        text_append(out, "}");
    }
}

Trace *random_trace(Rng *rng, const RandomTrace *h)
{
    Text   text = {0};
    Trace *trace;
    Error  err = {""};

    text_printf(&text,
                "{\"format\": \"pipebd-trace\", \"version\": 2, \"name\": \"random\", "
                "\"provenance\": {\"kind\": "
                "\"modelled\", \"source\": \"test\"}, \"workload\": {\"name\": \"w\", \"batch\": "
                "%d, \"samples\": %d, "
                "\"micro_batches\": %d}, \"devices\": [",
                h->batch, h->samples, h->samples % 4 ? 1 : 2 + h->samples % 3);
    cluster_text(rng, h, &text);
    text_append(&text, "], ");
    if (h->bytes || h->p2p) text_printf(&text, "\"input_bytes\": %d, ", 1 + upto(rng, 300));
    text_append(&text, "\"blocks\": [");
    for (int b = 0; b < h->blocks; b++) block_text(rng, h, b, &text);
    text_append(&text, "]");
    if (h->loader) {
        bool workers = upto(rng, 1) > 0;
        text_printf(
            &text,
            ", \"loader\": {\"batch_us\": %d, \"sample_us\": %d, \"%s\": %d, \"prefetch\": %d",
            upto(rng, 60), upto(rng, 5), workers ? "workers" : "lanes", 1 + upto(rng, 3),
            upto(rng, 2));
        if (workers) text_printf(&text, ", \"cores\": %d", 1 + upto(rng, 3));
        text_append(&text, "}");
    }
    if (upto(rng, 1)) text_printf(&text, ", \"step_us\": %d", upto(rng, 40));
    if (h->bytes && upto(rng, 1)) text_printf(&text, ", \"process_bytes\": %d", upto(rng, 600));
    links_text(rng, h, 1, ", ", &text);
    if (h->per_node) {
        text_printf(&text, ", \"nodes\": {\"devices_per_node\": %d", h->per_node);
        links_text(rng, h, 3, ", ", &text);
        text_append(&text, "}");
    }
    text_printf(&text, "%s}", h->blocking ? ", \"transfers\": \"blocking\"" : "");
    if (trace_parse(&trace, "random", text_string(&text), text.length, &err) != 0)
        fail_msg("%s\n%s", err.text, text_string(&text));
    text_free(&text);
    return trace;
}

static void random_core(Rng *rng, Trace *trace, const Curve *like, int64_t most_ns, Curve *out)
{
    int64_t ns = upto(rng, 3) ? rng_range(rng, 0, most_ns) : 0;

    out->points = arena_alloc(&trace->arena, (size_t)like->count + 1, sizeof *out->points);
    assert_non_null(out->points);
    out->count = like->count;
    for (int i = 0; i < like->count; i++)
        out->points[i] = (CurvePoint){.x = like->points[i].x, .ns = ns + i * (ns / 2)};
}

void random_cores(Rng *rng, Trace *trace, int most_us)
{
    TraceLinks *both[] = {&trace->links, &trace->node_links};
    int64_t     most_ns = 1000 * (int64_t)most_us;

    if (trace->blocking_transfers) return;
    trace->transfers_on_device = true;
    for (int i = 0; i < 2; i++) {
        random_core(rng, trace, &both[i]->p2p, most_ns, &both[i]->sender_core);
        random_core(rng, trace, &both[i]->p2p, most_ns, &both[i]->receiver_core);
        for (int r = 0; r < both[i]->reduce_count; r++)
            random_core(rng, trace, &both[i]->reduces[r].curve, most_ns, &both[i]->reduces[r].core);
    }
}

void random_scenario(Rng *rng, const RandomTrace *h, int queue_depth, Trace **trace,
                     Scenario *scenario)
{
    Error err = {""};

    *trace = random_trace(rng, h);
    if (scenario_build(scenario, *trace, &(ScenarioOptions){.queue_depth = queue_depth}, &err) != 0)
        fail_msg("%s", err.text);
}
