/* Profiles of PyTorch: random steps, whose every kernel is known to be some block's, against what
 * is read out of their file; the stream of tokens against the reader of whole documents; what is
 * refused. */
#include "tests/support.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/byte_stream.h"
#include "base/json.h"
#include "base/json_stream.h"
#include "base/rng.h"
#include "base/text.h"
#include "traces/import/import.h"
#include "traces/import/kineto.h"

enum { MAX_STEPS = 6, MAX_BLOCKS = 5, MAX_OPERATORS = 4, MAX_EVENTS = 4096 };

/* ---- a random step, and what of it is whose -------------------------------------------------- */

typedef enum { RANGES, ROLES, MODULES } Marking;

typedef struct {
    Rng     *rng;
    Marking  marking;
    bool     fractions, marked, flows;
    int      steps, blocks;
    int64_t  now[2];                     /* of the main thread and the backward's, in units */
    int64_t  correlation, sequence;
    Text     events[MAX_EVENTS];
    int      count;
    /* the truth */
    int64_t  ns[MAX_STEPS][MAX_BLOCKS][PART_COUNT], of_class[MAX_STEPS][CLASS_COUNT];
    int64_t  gradient_bytes[MAX_BLOCKS];
} Made;

typedef struct { int64_t sequence; int block; } Tape;

static int chance(Made *m, int of) { return (int)rng_range(m->rng, 0, of - 1); }
static int64_t unit_ns(const Made *m) { return m->fractions ? 1 : 1000; }

static void time_text(const Made *m, Text *out, int64_t units)
{
    if (m->fractions)
        text_printf(out, "%lld.%03lld", (long long)(units / 1000), (long long)(units % 1000));
    else              text_printf(out, "%lld", (long long)units);
}

/* An event of a thread; the caller adds what stands in args, and a brace. */
static Text *event(Made *m, const char *category, const char *name, int thread, int64_t start,
                   int64_t end)
{
    assert_true(m->count < MAX_EVENTS);
    Text *e = &m->events[m->count++];

    text_printf(
        e, "{\"ph\": \"X\", \"cat\": \"%s\", \"name\": \"%s\", \"pid\": 7, \"tid\": %d, \"ts\": ",
        category, name, 7 + thread);
    time_text(m, e, start);
    text_append(e, ", \"dur\": ");
    time_text(m, e, end - start);
    text_append(e, ", \"args\": {");
    return e;
}

static int64_t tick(Made *m, int thread) { return m->now[thread] += rng_range(m->rng, 2, 9); }

/* A kernel, launched now on the thread, of so many units. step -1: known to nobody. */
static void kernel(Made *m, int thread, const char *category, const char *name, int step,
                   WorkClass class, int block, BlockPart part)
{
    int64_t start = tick(m, thread), end = tick(m, thread), length = rng_range(m->rng, 1, 500),
            at = rng_range(m->rng, 0, 90000);
    int64_t correlation = ++m->correlation;

    if (class != CLASS_LOST && m->flows && chance(m, 4) == 0) {
        Text *e = &m->events[m->count++];
        text_printf(e,
                    "{\"ph\": \"s\", \"cat\": \"ac2g\", \"name\": \"ac2g\", \"id\": %lld, \"pid\": "
                    "7, \"tid\": %d, \"ts\": ",
                    (long long)correlation, 7 + thread);
        time_text(m, e, start);
        text_append(e, "}");
    } else if (class != CLASS_LOST)
        text_printf(
            event(m, chance(m, 2) ? "cuda_runtime" : "cuda_driver", "launch", thread, start, end),
            "\"correlation\": %lld}}", (long long)correlation);
    text_printf(event(m, category, name, 90, at, at + length),
                "\"device\": 3, \"correlation\": %lld}}", (long long)correlation);
    m->of_class[step][class] += length * unit_ns(m);
    if (class == CLASS_BLOCK) m->ns[step][block][part] += length * unit_ns(m);
}

/* An operator with another in it, and a kernel or two. Returns the sequence number of its node, or
 * -1. */
static int64_t operator(Made *m, int step, WorkClass class, int block, BlockPart part, bool node)
{
    int64_t start = tick(m, 0), sequence = part == PART_TEACHER ? -1 : m->sequence;

    for (int i = chance(m, 2); i >= 0; i--) {
        int64_t inner = tick(m, 0);
        kernel(m, 0, "kernel", "gemm", step, class, block, part);
        text_append(event(m, "cpu_op", "aten::inner", 0, inner, tick(m, 0)),
                    "\"External id\": 3}}");
    }
    Text *e = event(m, "cpu_op", "aten::outer", 0, start, tick(m, 0));
    if (sequence >= 0)
        text_printf(e, "\"Fwd thread id\": 0, \"Sequence number\": %lld, ", (long long)sequence);
    text_append(
        e, "\"Input Dims\": [[8, 3], [], \"\"], \"Input type\": [\"float\", \"\", \"Scalar\"]}}");
    if (!node || sequence < 0) return -1;
    m->sequence++;
    return sequence;
}

static void copy_in(Made *m, int step)
{
    int64_t start = tick(m, 0);

    kernel(m, 0, "gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", step, CLASS_COPY, -1,
           PART_FORWARD);
    text_append(event(m, "cpu_op", "aten::copy_", 0, start, tick(m, 0)), "}}");
}

static void range(Made *m, const char *prefix, int block, int64_t start)
{
    char name[32];

    snprintf(name, sizeof name, "%sb%d", prefix, block);
    bool module = m->marking == MODULES;
    text_append(
        event(m, module ? "python_function" : "user_annotation", name, 0, start, tick(m, 0)), "}}");
}

/* A block's forward; its nodes go on the tape. */
static void forward(Made *m, int step, int block, BlockPart part, Tape *tape, int *taped)
{
    static const char *const prefixes[] = {
        [RANGES] = "block:", [ROLES] = "student:", [MODULES] = "nn.Module: "};
    int64_t start = tick(m, 0), submodule = m->marking == MODULES && chance(m, 2) ? tick(m, 0) : 0;

    for (int i = chance(m, MAX_OPERATORS); i >= 0; i--) {
        int64_t sequence = operator(m, step, CLASS_BLOCK, block, part, chance(m, 4) > 0);
        if (sequence >= 0) tape[(*taped)++] = (Tape){sequence, block};
    }
    if (submodule) range(m, "nn.Module: inner_", block, submodule);
    range(m, part == PART_TEACHER ? "teacher:" : prefixes[m->marking], block, start);
}

static const Tape nothing = {-1, -1};

/* A checkpoint's node: the forward again, and its nodes in this one, whose numbers are those of
 * this thread and say nothing. */
static void again(Made *m, int step, int block, const Tape *tape)
{
    int64_t start = tick(m, 1);

    kernel(m, 1, "kernel", "gemm", step, CLASS_BLOCK, block, PART_BACKWARD);
    text_printf(event(m, "cpu_op", "aten::outer", 1, start, tick(m, 1)),
                "\"Sequence number\": %lld}}", (long long)tape->sequence);
    start = tick(m, 1);
    kernel(m, 1, "kernel", "gemm_backward", step, CLASS_BLOCK, block, PART_BACKWARD);
    text_printf(event(m, "cpu_op", "autograd::engine::evaluate_function: MulBackward0", 1, start,
                      tick(m, 1)),
                "\"Sequence number\": %lld}}", (long long)tape->sequence);
}

/* Nodes of the backward from the tape's end, gradients of the block behind some. */
static void backward(Made *m, int step, const Tape *tape, int taped)
{
    m->now[1] = m->now[0] + 5;
    for (int i = taped - 1; i >= 0; i--) {
        WorkClass class = tape[i].block >= 0 ? CLASS_BLOCK : CLASS_OUTSIDE;
        for (int grad = 0; grad <= (class == CLASS_BLOCK && chance(m, 3) == 0); grad++) {
            int64_t start = tick(m, 1), inner = tick(m, 1);
            kernel(m, 1, "kernel", "gemm_backward", step, class, tape[i].block, PART_BACKWARD);
            if (!grad && class == CLASS_BLOCK && chance(m, 4) == 0)
                again(m, step, tape[i].block, tape);
            if (chance(m, 5) == 0)
                kernel(m, 1, "kernel", "ncclDevKernel_AllReduce", step, CLASS_COMMUNICATION, -1,
                       PART_BACKWARD);
            text_printf(event(m, "cpu_op",
                              grad ? "torch::autograd::AccumulateGrad" : "MulBackward0", 1, inner,
                              tick(m, 1)),
                        "\"Input Dims\": [[%d, 5]], \"Input type\": [\"c10::Half\"]}}", grad + 2);
            if (grad && step == 0) m->gradient_bytes[tape[i].block] += 3 * 5 * 2;
            Text *e =
                event(m, "cpu_op",
                      grad ? "autograd::engine::evaluate_function: torch::autograd::AccumulateGrad"
                           : "autograd::engine::evaluate_function: MulBackward0",
                      1, start, tick(m, 1));
            if (!grad) text_printf(e, "\"Sequence number\": %lld", (long long)tape[i].sequence);
            text_append(e, "}}");
        }
    }
    m->now[0] = m->now[1] + 5;
}

/* Forward of all blocks, the loss, backward, optimizer. Where steps are not marked, what comes
 * before the first block belongs to the step before. */
static void make_step(Made *m, int step)
{
    Tape    tape[MAX_BLOCKS * (MAX_OPERATORS + 1) + 1];
    int     taped = 0, before = m->marked || step == 0 ? step : step - 1;
    bool    modules = m->marking == MODULES;
    int64_t start = tick(m, 0), root;

    copy_in(m, before);
    root = tick(m, 0);
    for (int b = 0; b < m->blocks; b++) {
        if (m->marking == ROLES) forward(m, step, b, PART_TEACHER, tape, &taped);
        forward(m, step, b, PART_FORWARD, tape, &taped);
        if (chance(m, 3) == 0)
            operator(m, step, modules ? CLASS_BLOCK : CLASS_OUTSIDE, b, PART_FORWARD, false);
    }
    if (modules)
        text_append(event(m, "python_function", "nn.Module: Net_0", 0, root, tick(m, 0)), "}}");
    root = tick(m, 0);
    int64_t sequence = operator(m, step, modules ? CLASS_BLOCK : CLASS_OUTSIDE, m->blocks - 1,
                                PART_FORWARD, true);
    tape[taped++] = (Tape){sequence, modules ? m->blocks - 1 : nothing.block};
    if (modules)
        text_append(event(m, "python_function", "nn.Module: Loss_0", 0, root, tick(m, 0)), "}}");
    backward(m, step, tape, taped);
    if (chance(m, 2))
        kernel(m, 0, "kernel", "stray", m->marked ? 0 : 0, CLASS_LOST, -1, PART_FORWARD);
    root = tick(m, 0);
    operator(m, step, CLASS_OPTIMIZER, -1, PART_FORWARD, false);
    text_append(event(m, "user_annotation", "Optimizer.step#Adam.step", 0, root, tick(m, 0)), "}}");
    if (m->marked) {
        char name[32];
        snprintf(name, sizeof name, "ProfilerStep#%d", 10 + step);
        text_append(event(m, "user_annotation", name, 0, start, tick(m, 0)), "}}");
    }
}

static void shuffle(Made *m)
{
    for (int i = m->count - 1; i > 0; i--) {
        int  j = (int)rng_range(m->rng, 0, i);
        Text t = m->events[i];
        m->events[i] = m->events[j];
        m->events[j] = t;
    }
}

/* The file; frees the events. */
static void finish(Made *m, Text *out)
{
    shuffle(m);
    text_append(out, "{\n  \"schemaVersion\": 1, \"deviceProperties\": [{\"id\": 3, \"name\": "
                     "\"G\", \"totalGlobalMem\": 1000}],\n"
                     "  \"traceEvents\": [\n");
    for (int i = 0; i < m->count; i++) {
        text_printf(out, "%s  %s", i ? ",\n" : "", text_string(&m->events[i]));
        text_free(&m->events[i]);
    }
    text_append(out, "\n  ], \"traceName\": \"t\"\n}\n");
}

static Made *make(Rng *rng, Text *out)
{
    Made *m = calloc(1, sizeof *m);

    m->rng = rng;
    m->marking = (Marking)chance(m, 3);
    m->fractions = chance(m, 2);
    m->marked = chance(m, 2);
    m->flows = chance(m, 2);
    m->steps = 1 + chance(m, MAX_STEPS);
    m->blocks = 2 + chance(m, MAX_BLOCKS - 1);
    m->now[0] = 1739425750000000 - 1739425750000000 % 7;
    for (int step = 0; step < m->steps; step++) make_step(m, step);
    finish(m, out);
    return m;
}

static void compare_sums(const Made *m, const KinetoSums *s)
{
    assert_int_equal(s->steps, m->steps);
    assert_int_equal(s->blocks, m->blocks);
    assert_int_equal(s->marked, m->marked);
    assert_int_equal(s->before_ns, 0);
    for (int step = 0; step < m->steps; step++) {
        for (int class = 0; class < CLASS_COUNT; class++)
            assert_int_equal(s->class_ns[step * CLASS_COUNT + class], m->of_class[step][class]);
        for (int b = 0; b < m->blocks; b++)
            for (int part = 0; part < PART_COUNT; part++)
                assert_int_equal(s->ns[(step * m->blocks + b) * PART_COUNT + part],
                                 m->ns[step][b][part]);
    }
    for (int b = 0; b < m->blocks; b++) {
        assert_int_equal(s->gradient_bytes[b], m->gradient_bytes[b] ? m->gradient_bytes[b] : -1);
        assert_int_equal(s->input_bytes[b], 8 * 3 * 4);
    }
}

/* Every nanosecond of every kernel, of 300 random files. */
static void all_work_is_told_apart(void **state)
{
    Rng rng = {test_seed("all_work_is_told_apart", 11), 0};
    (void)state;

    for (int round = 0; round < 300; round++) {
        Text          text = {0};
        Made         *m = make(&rng, &text);
        ImportFile    file = {"f.json", text_string(&text), text.length};
        KinetoFile   *read;
        KinetoBlocks  blocks;
        KinetoSums    sums;
        Error         err = {""};

        if (kineto_read(&read, &file, NULL, NULL, &err) != 0) fail_msg("%s", err.text);
        if (kineto_blocks(&blocks, read, "f.json", NULL, 0, &err) != 0) fail_msg("%s", err.text);
        if (kineto_sums(&sums, read, &blocks, "f.json", &err) != 0) fail_msg("%s", err.text);
        compare_sums(m, &sums);
        kineto_sums_free(&sums);
        kineto_blocks_free(&blocks);
        kineto_free(read);
        text_free(&text);
        free(m);
    }
}

/* ---- a trace of files ------------------------------------------------------------------------ */

/* A step of n blocks of ranges: forward and backward of block b take (b + 1) * forward_us and twice
 * that. */
static void simple_step(Text *out, int step, int blocks, int forward_us)
{
    int64_t at = 1000 + step * 1000;

    text_printf(out,
                "{\"ph\":\"X\",\"cat\":\"user_annotation\",\"name\":\"ProfilerStep#%d\",\"pid\":1,"
                "\"tid\":1,\"ts\":%lld,\"dur\":999},\n",
                step, (long long)at);
    for (int b = 0; b < blocks; b++) {
        int64_t ts = at + 10 + 20 * b, id = step * 100 + b * 2;
        text_printf(out,
                    "{\"ph\":\"X\",\"cat\":\"user_annotation\",\"name\":\"block:b%d\",\"pid\":1,"
                    "\"tid\":1,\"ts\":%lld,\"dur\":19},\n"
                    "{\"ph\":\"X\",\"cat\":\"cpu_op\",\"name\":\"aten::f\",\"pid\":1,\"tid\":1,"
                    "\"ts\":%lld,\"dur\":15,\"args\":{\"Sequence number\":%lld}},\n"
                    "{\"ph\":\"X\",\"cat\":\"cuda_runtime\",\"name\":\"l\",\"pid\":1,\"tid\":1,"
                    "\"ts\":%lld,\"dur\":3,\"args\":{\"correlation\":%lld}},\n"
                    "{\"ph\":\"X\",\"cat\":\"kernel\",\"name\":\"k\",\"pid\":0,\"tid\":7,\"ts\":%"
                    "lld,\"dur\":%d,\"args\":{\"device\":0,\"correlation\":%lld}},\n",
                    b, (long long)ts, (long long)ts + 1, (long long)id, (long long)ts + 2,
                    (long long)id, (long long)ts, (b + 1) * forward_us, (long long)id);
        text_printf(out,
                    "{\"ph\":\"X\",\"cat\":\"cpu_op\",\"name\":\"autograd::engine::evaluate_"
                    "function: F\",\"pid\":1,\"tid\":2,\"ts\":%lld,"
                    "\"dur\":15,\"args\":{\"Sequence number\":%lld}},\n"
                    "{\"ph\":\"X\",\"cat\":\"cuda_runtime\",\"name\":\"l\",\"pid\":1,\"tid\":2,"
                    "\"ts\":%lld,\"dur\":3,\"args\":{\"correlation\":%lld}},\n"
                    "{\"ph\":\"X\",\"cat\":\"kernel\",\"name\":\"k\",\"pid\":0,\"tid\":7,\"ts\":%"
                    "lld,\"dur\":%d,\"args\":{\"device\":0,\"correlation\":%lld}}",
                    (long long)ts + 500, (long long)id, (long long)ts + 502, (long long)id + 1,
                    (long long)ts + 500, (b + 1) * 2 * forward_us, (long long)id + 1);
        if (b + 1 < blocks) text_append(out, ",\n");
    }
}

/* Steps of the given forwards. */
static void simple_file(Text *out, const char *device, int blocks, const int *forward_us, int steps)
{
    text_printf(out,
                "{\"schemaVersion\": 1, \"deviceProperties\": [{\"id\": 0, \"name\": \"%s\"}], "
                "\"traceEvents\": [\n",
                device);
    for (int i = 0; i < steps; i++) {
        simple_step(out, i, blocks, forward_us[i]);
        text_append(out, i + 1 < steps ? ",\n" : "\n]}\n");
    }
}

/* Two batches on one kind, one of them in two files; one on another. Forward of the first block:
 * the median of 100, 100, 110, 120, 400 is 110; |d| = 10, 10, 0, 10, 290, so the spread is 1.4826 *
 * 10 / 110. */
static void files_of_batches_and_kinds(void **state)
{
    static const int some[] = {100, 400, 110}, more[] = {120, 100}, half[] = {60}, slow[] = {200};
    Text             text[4] = {{0}};
    ImportFile       files[4];
    ImportOptions    options = {
        .name = "t", .batch = 8, .samples = 100, .rows = {{8, 8, 4, 8}, 4}, .devices = {{3, 1}, 2}};
    Trace           *t;
    Error            err = {""};
    (void)state;

    simple_file(&text[0], "fast", 2, some, 3);
    simple_file(&text[1], "fast", 2, more, 2);
    simple_file(&text[2], "fast", 2, half, 1);
    simple_file(&text[3], "slow", 2, slow, 1);
    for (int i = 0; i < 4; i++)
        files[i] = (ImportFile){"f.json", text_string(&text[i]), text[i].length};
    if (import_trace(&t, import_format(0), files, 4, &options, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(t->kind_count, 2);
    assert_string_equal(t->kinds[0].name, "fast");
    assert_int_equal(t->kinds[0].count, 3);
    const Curve *teacher = &t->blocks[0].work[WORK_TEACHER][0],
                *backward = &t->blocks[1].work[WORK_BACKWARD][0];
    assert_int_equal(teacher->count, 2);
    assert_int_equal(teacher->points[0].x, 4);
    assert_int_equal(teacher->points[0].ns, 60000);
    assert_int_equal(teacher->points[1].ns, 110000);
    assert_int_equal(backward->points[1].ns, 2 * 2 * 110000);
    assert_true(teacher->points[1].spread > 0.1347 && teacher->points[1].spread < 0.1349);
    assert_int_equal(t->blocks[0].work[WORK_FORWARD][1].points[0].ns, 200000);
    assert_non_null(strstr(t->notes, "100.0 % are in blocks"));
    trace_free(t);

    options.rows = (OptionIntegers){{8, 8, 4, 16}, 4};          /* more than the batch: dropped and
                                                                 * named */
    if (import_trace(&t, import_format(0), files, 4, &options, &err) != 0) fail_msg("%s", err.text);
    assert_non_null(strstr(t->notes, "Left out: f.json, whose 16 rows are more than the batch."));
    assert_int_equal(t->blocks[0].work[WORK_TEACHER][1].count, 0);
    trace_free(t);
    for (int i = 0; i < 4; i++) text_free(&text[i]);
}

static void refused(const char *text, ImportOptions options, const char *why)
{
    ImportFile file = {"f.json", text, strlen(text)};
    Trace     *t;
    Error      err = {""};

    options.name = "t";
    options.batch = 8;
    options.samples = 100;
    if (import_trace(&t, import_format(0), &file, 1, &options, &err) == 0)
        fail_msg("read, expected: %s", why);
    assert_null(t);
    if (!strstr(err.text, why)) fail_msg("%s, expected: %s", err.text, why);
}

static void what_does_not_fit(void **state)
{
    static const int one[] = {100};
    Text             text = {0};
    (void)state;

    simple_file(&text, "fast", 2, one, 1);
    refused(text_string(&text), (ImportOptions){.blocks = "block:b0,block:b9"},
            "--blocks: no range and no nn.Module is called \"block:b9\"");
    refused(text_string(&text), (ImportOptions){.depth = 1},
            "nothing says which work is which block's");
    refused(text_string(&text), (ImportOptions){.rows = {{8, 4}, 2}},
            "--rows: 2 numbers, but 1 files");
    refused(text_string(&text), (ImportOptions){.rows = {{16}, 1}},
            "more rows than the batch of 8");
    refused(text_string(&text), (ImportOptions){.devices = {{1, 1}, 2}},
            "--devices: 2 numbers, but 1 kinds");
    text_free(&text);
}

/* ---- fixtures -------------------------------------------------------------------------------- */

static int read_fixture(Trace **out, const char *path, Error *err)
{
    size_t        length;
    char         *text = slurp(path, &length);
    ImportFile    file = {strrchr(path, '/') + 1, text, length};
    ImportOptions options = {.name = "t", .batch = 8, .samples = 100};
    int           rc = import_trace(out, import_format(0), &file, 1, &options, err);

    free(text);
    return rc;
}

/* The trace's text stands beside a good one. */
static void read_good(const char *path, const char *expected, void *context)
{
    Trace *trace;
    Text   text = {0};
    Error  err = {""};

    (void)context;
    if (read_fixture(&trace, path, &err) != 0) fail_msg("%s: %s", path, err.text);
    trace_text(trace, &text);
    text.bytes[--text.length] = '\0';
    fixture_refused(path, expected, text_string(&text));
    text_free(&text);
    trace_free(trace);
}

static void read_bad(const char *path, const char *expected, void *context)
{
    Trace *trace;
    Error  err = {""};

    (void)context;
    if (read_fixture(&trace, path, &err) == 0) fail_msg("%s was read", path);
    assert_null(trace);
    fixture_refused(path, expected, err.text);
}

static void fixtures(void **state)
{
    (void)state;
    fixtures_each("import_kineto", "good", read_good, NULL);
    fixtures_each("import_kineto", "bad", read_bad, NULL);
}

/* ---- the stream of tokens -------------------------------------------------------------------- */

/* 0 where text is one value. */
static int walk(const char *text, size_t length, Error *err)
{
    ByteStream *bytes;
    JsonStream *json;
    Token       token = {.type = TOKEN_NULL};
    int         rc = 0;

    assert_int_equal(byte_stream_of_memory(&bytes, "t", text, length, err), 0);
    assert_int_equal(json_stream_open(&json, bytes, err), 0);
    while (rc == 0 && token.type != TOKEN_END) rc = json_stream_next(json, &token, err);
    json_stream_close(json);
    byte_stream_close(bytes);
    return rc;
}

/* All that the reader of documents takes is walked through; what is cut or changed is refused by
 * both, but for what the stream does not check (json_stream.h). */
static void visit_json(const char *path, const char *expected, void *good)
{
    size_t length;
    char  *text = slurp(path, &length);
    Error  err = {""}, other = {""};
    Json  *doc;

    (void)expected;
    if (*(bool *)good && walk(text, length, &err) != 0) fail_msg("%s: %s", path, err.text);
    for (size_t cut = 0; cut < length && *(bool *)good && length < 2000; cut++) {
        bool whole = json_doc_parse(&doc, "t", text, cut, &other) == 0;
        json_doc_free(doc);
        if ((walk(text, cut, &err) == 0) != whole)
            fail_msg("%s, its first %zu bytes: %s %s", path, cut, err.text, other.text);
    }
    if (!*(bool *)good && walk(text, length, &err) == 0 && !strstr(expected, "twice")
        && !strstr(expected, "UTF-8") && !strstr(expected, "uplicate"))
        fail_msg("%s was read, expected: %s", path, expected);
    free(text);
}

static void stream_takes_what_documents_take(void **state)
{
    bool good = true;
    (void)state;

    fixtures_each("json", "good", visit_json, &good);
    good = false;
    fixtures_each("json", "bad", visit_json, &good);
}

/* Tokens of all lengths across the ends of buffers come whole; a skipped value leaves the next. */
static void tokens_across_buffers(void **state)
{
    enum { COUNT = 60000 };
    Text        text = {0};
    ByteStream *bytes;
    JsonStream *json;
    Token       token;
    Error       err = {""};
    char        want[64];
    (void)state;

    text_append(&text, "[");
    for (int i = 0; i < COUNT; i++)
        text_printf(&text,
                    "%s%d.25, \"%*s\\u00e9\\ud83d\\ude00\\n%d\", {\"skip\": [\"\\\"]\", %d]}",
                    i ? "," : "", i, i % 23, "", i, i);
    text_append(&text, "]\n ");
    assert_int_equal(byte_stream_of_memory(&bytes, "t", text_string(&text), text.length, &err), 0);
    assert_int_equal(json_stream_open(&json, bytes, &err), 0);
    assert_int_equal(json_stream_next(json, &token, &err), 0);
    for (int i = 0; i < COUNT; i++) {
        snprintf(want, sizeof want, "%d.25", i);
        if (json_stream_next(json, &token, &err) != 0) fail_msg("%s", err.text);
        assert_string_equal(token.text, want);
        snprintf(want, sizeof want, "%*s\xC3\xA9\xF0\x9F\x98\x80\n%d", i % 23, "", i);
        if (json_stream_next(json, &token, &err) != 0) fail_msg("%s", err.text);
        assert_string_equal(token.text, want);
        if (json_stream_next(json, &token, &err) != 0 || json_stream_skip(json, &token, &err) != 0)
            fail_msg("%s", err.text);
    }
    assert_int_equal(json_stream_next(json, &token, &err), 0);
    assert_int_equal(token.type, TOKEN_ARRAY_END);
    assert_int_equal(json_stream_next(json, &token, &err), 0);
    assert_int_equal(token.type, TOKEN_END);
    json_stream_close(json);
    byte_stream_close(bytes);
    text_free(&text);
}

/* Lines and columns count characters, as they do in base/json.h. */
static void positions(void **state)
{
    static const struct { const char *text, *error; } cases[] = {
        {"{\n \"a\": [1,\n  x]}", "t:3:3: 'x', expected a value"},
        {"{\"\xC3\xA9\xC3\xA9\": tru}", "t:1:11: '}', expected true"},
        {"[1, \"ab\ncd\"]", "t:1:8: byte 0x0a, expected the string's end, a quote"},
        {"[01]", "t:1:2: \"01\", expected a number"},
        {"[1] [", "t:1:5: '[', expected the end of the file"},
        {"[1", "t:1:3: the file ends here, expected a comma or ]"},
        {"{\"a\" 1}", "t:1:6: '1', expected a colon"},
        {"{\"a\": 1,}", "t:1:9: '}', expected a name in quotes"},
        {"[1,]", "t:1:4: ']', expected a value"},
        {"[\"\\x\"]", "t:1:4: 'x', expected one of"},
        {"", "t:1:1: the file ends here, expected a value"}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {""};
        assert_int_equal(walk(cases[i].text, strlen(cases[i].text), &err), -1);
        if (!strstr(err.text, cases[i].error))
            fail_msg("%s, expected: %s", err.text, cases[i].error);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int read_text(const char *text, size_t length, Error *err)
{
    ImportFile    file = {"f.json", text, length};
    ImportOptions options = {.name = "t", .batch = 8, .samples = 100};
    Trace        *trace;
    int           rc = import_trace(&trace, import_format(0), &file, 1, &options, err);

    if (rc != 0) assert_null(trace);
    trace_free(trace);
    return rc;
}

static void out_of_memory(void **state)
{
    (void)state;
    reader_out_of_memory(read_text, "import_kineto/good/ranges.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_work_is_told_apart),
        cmocka_unit_test(files_of_batches_and_kinds),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(fixtures),
        cmocka_unit_test(stream_takes_what_documents_take),
        cmocka_unit_test(tokens_across_buffers),
        cmocka_unit_test(positions),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
