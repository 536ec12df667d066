/* The trace format: what is read and what is refused, and in which words. */
#include "tests/support.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "traces/scenario.h"

/* ---- fixtures ------------------------------------------------------------ */

static const char *file_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* The file under its name alone, so that messages do not depend on the folder. */
static int parse_file(Trace **out, const char *path, Error *err)
{
    size_t length;
    char  *text = slurp(path, &length);
    int    rc = trace_parse(out, file_name(path), text, length, err);

    free(text);
    return rc;
}

static void check_curve(const Curve *curve, const char *path)
{
    for (int i = 0; i < curve->count; i++) {
        assert_int_in_range(curve->points[i].ns, 0, TRACE_MAX_NS);
        if (i > 0 && curve->points[i - 1].x >= curve->points[i].x)
            fail_msg("%s: points out of order", path);
    }
}

/* The curves of one student, the teacher's among them, on one kind. */
static void check_student(const TraceBlock *block, int j, int kind, const char *path)
{
    TraceStudent student = trace_student(block, j);

    for (int work = 0; work < WORK_COUNT; work++) {
        const Curve *curve = &student.work[work][kind];
        const Curve *first =
            &student
                 .work[block->students && work != WORK_TEACHER ? WORK_FORWARD : WORK_TEACHER][kind];
        check_curve(curve, path);
        assert_int_equal(curve->count, first->count);
        for (int i = 0; i < curve->count; i++)
            assert_int_equal(curve->points[i].x, first->points[i].x);
    }
}

/* A curve of what points take of a core has them all, or is empty. */
static void check_core(const Curve *core, const Curve *points)
{
    if (core->count == 0) return;
    assert_int_equal(core->count, points->count);
    for (int i = 0; i < core->count; i++)
        assert_int_equal(core->points[i].x, points->points[i].x);
}

static void check_links(const TraceLinks *links, const char *path)
{
    check_curve(&links->p2p, path);
    check_core(&links->sender_core, &links->p2p);
    check_core(&links->receiver_core, &links->p2p);
    for (int i = 0; i < links->reduce_count; i++) {
        check_curve(&links->reduces[i].curve, path);
        check_core(&links->reduces[i].core, &links->reduces[i].curve);
    }
}

/* The invariants at the head of traces/trace.h. */
static void check_invariants(const Trace *trace, const char *path)
{
    check_links(&trace->links, path);
    check_links(&trace->node_links, path);
    for (int b = 0; b < trace->block_count; b++) {
        int measured = 0;
        for (int kind = 0; kind < trace->kind_count; kind++) {
            const Curve *first = &trace->blocks[b].work[0][kind];
            for (int j = 0; j < trace_students(&trace->blocks[b]); j++)
                check_student(&trace->blocks[b], j, kind, path);
            measured += first->count > 0;
            if (first->count > 0)
                assert_int_in_range(first->points[first->count - 1].x, 1, trace->batch);
        }
        assert_true(measured > 0);
    }
}

static void read_good(const char *path, const char *expected, void *context)
{
    Trace   *trace;
    Scenario scenario;
    Error    err = {""};

    (void)expected; (void)context;
    if (parse_file(&trace, path, &err) != 0) fail_msg("%s", err.text);
    check_invariants(trace, path);
    if (scenario_build(&scenario, trace, &(ScenarioOptions){.queue_depth = 2}, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(scenario.device_count, trace_device_count(trace));
    scenario_free(&scenario);
    trace_free(trace);
}

static void read_bad(const char *path, const char *expected, void *context)
{
    Trace *trace;
    Error  err = {""};

    (void)context;
    if (parse_file(&trace, path, &err) == 0) fail_msg("%s was accepted", path);
    assert_null(trace);
    fixture_refused(path, expected, err.text);
}

static void good_fixtures_are_read(void **state)
{
    (void)state;
    fixtures_each("trace", "good", read_good, NULL);
}

static void bad_fixtures_are_refused(void **state)
{
    (void)state;
    fixtures_each("trace", "bad", read_bad, NULL);
}

/* ---- what is read ---------------------------------------------------------- */

static Trace *good_trace(const char *name)
{
    char  *path = format_text("%s/tests/fixtures/trace/good/%s", PIPEBD_ROOT, name);
    Trace *trace;
    Error  err = {""};

    if (parse_file(&trace, path, &err) != 0) fail_msg("%s", err.text);
    free(path);
    return trace;
}

/* Every figure of all-keys.json at its place, in nanoseconds. */
static void every_key_arrives(void **state)
{
    (void)state;
    Trace            *trace = good_trace("all-keys.json");
    const TraceBlock *a = &trace->blocks[0], *b = &trace->blocks[1];

    assert_string_equal(trace->name, "base");
    assert_string_equal(trace->provenance_kind, "modelled");
    assert_string_equal(trace->source, "by hand");
    assert_string_equal(trace->date, "2024-01-31");
    assert_string_equal(trace->notes, "small");
    assert_string_equal(trace->workload, "two");
    assert_int_equal(trace->batch, 8);
    assert_int_equal(trace->samples, 80);
    assert_int_equal(trace_device_count(trace), 3);
    assert_int_equal(trace->kinds[0].memory_bytes, 1000000);
    assert_int_equal(trace->kinds[1].memory_bytes, TRACE_ABSENT);
    assert_int_equal(trace_boundary_bytes(trace, 0), 12);
    assert_int_equal(trace_boundary_bytes(trace, 1), 100);
    assert_int_equal(trace_boundary_bytes(trace, 2), TRACE_ABSENT);
    assert_int_equal(a->teacher_weight_bytes, 40);
    assert_int_equal(a->teacher_activation_bytes, 50);
    assert_int_equal(a->student_weight_bytes, 60);
    assert_int_equal(a->gradient_bytes, 70);
    assert_int_equal(a->state_bytes, 80);
    assert_int_equal(a->student_activation_bytes, 90);
    assert_int_equal(a->work[WORK_TEACHER][0].count, 2);
    assert_int_equal(a->work[WORK_TEACHER][0].points[0].ns, 5000);
    assert_int_equal(a->work[WORK_BACKWARD][0].points[1].ns, 22000);
    assert_float_equal(a->work[WORK_UPDATE][0].points[1].spread, 0.1, 0);
    assert_int_equal(a->work[WORK_FORWARD][1].points[0].ns, 33000);
    assert_int_equal(b->work[WORK_TEACHER][0].points[0].ns, 20500);     /* device: the first kind */
    assert_int_equal(b->work[WORK_TEACHER][1].count, 0);
    assert_true(trace->loader.present);
    assert_int_equal(trace->loader.batch_ns, 3000);
    assert_float_equal(trace->loader.sample_ns, 500, 0);
    assert_int_equal(trace->loader.lanes, 2);
    assert_int_equal(trace->loader.prefetch, 1);
    assert_int_equal(trace->links.p2p.points[1].ns, 5000);
    assert_int_equal(trace->links.reduces[1].devices, 3);
    assert_int_equal(trace->links.reduces[1].curve.points[0].ns, 12000);
    assert_false(trace->blocking_transfers);
    assert_int_equal(trace->devices_per_node, 2);
    assert_int_equal(trace->node_links.p2p.points[0].ns, 50000);
    assert_int_equal(trace->node_links.reduces[0].curve.points[0].ns, 99000);
    trace_free(trace);
}

/* core-times.json: half way between 0 and 100 bytes half of both; a sum of 40 bytes; what the file
 * does not say is 0. */
static void core_times_arrive(void **state)
{
    (void)state;
    Trace     *trace = good_trace("core-times.json"), *without = good_trace("version-2.json");
    Scenario   s;
    const int  together[] = {0, 1};
    int64_t    ns;
    Error      err = {""};

    assert_true(trace->transfers_on_device);
    assert_false(without->transfers_on_device);
    assert_int_equal(without->links.sender_core.count, 0);
    assert_int_equal(trace->links.sender_core.points[0].ns, 3000);
    assert_int_equal(trace->links.sender_core.points[1].ns, 0);
    assert_int_equal(trace->links.receiver_core.points[1].ns, 8000);
    assert_int_equal(trace->node_links.sender_core.points[0].ns, 11000);
    assert_int_equal(trace->node_links.receiver_core.count, 0);
    assert_int_equal(trace->node_links.reduces[0].core.count, 0);
    assert_int_equal(scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2}, &err), 0);
    assert_int_equal(scenario_p2p_core(&s, SENDER_CORE, 0, 1, 1, 1, &ns, &err), 0);
    assert_int_equal(ns, 1500);
    assert_int_equal(scenario_p2p_core(&s, RECEIVER_CORE, 0, 1, 1, 1, &ns, &err), 0);
    assert_int_equal(ns, 6000);
    assert_int_equal(scenario_student_allreduce_core(&s, together, 2, 0, 0, &ns, &err), 0);
    assert_int_equal(ns, 2500);
    trace->transfers_on_device = false;
    assert_int_equal(scenario_p2p_core(&s, RECEIVER_CORE, 0, 1, 1, 1, &ns, &err), 0);
    assert_int_equal(ns, 0);
    assert_int_equal(scenario_student_allreduce_core(&s, together, 2, 0, 0, &ns, &err), 0);
    assert_int_equal(ns, 0);
    scenario_free(&s);
    trace_free(trace);
    trace_free(without);
}

/* stalls.json: 0.0125 a ms, lengths of 100, 250.5, 4000 us with 1/2, 1/4, 1/4: 1112.625 us in the
 * mean, 1.39 % of the time, and skew. The other kind has only that, half of which lasts. */
static void stalls_arrive(void **state)
{
    (void)state;
    Trace             *trace = good_trace("stalls.json"), *without = good_trace("version-2.json");
    const TraceStalls *stalls = &trace->kinds[0].stalls;

    assert_int_equal(stalls->count, 3);
    assert_float_equal(stalls->per_ms, 0.0125, 0);
    assert_float_equal(stalls->common, 0.25, 0);
    assert_int_equal(stalls->ns[1], 250500);
    assert_float_equal(stalls_probability(stalls, 0), 0.5, 0);
    assert_float_equal(stalls_probability(stalls, 1), 0.25, 0);
    assert_float_equal(stalls_probability(stalls, 2), 0.25, 0);
    assert_float_equal(stalls_mean_ns(stalls), 1112625, 1e-6);
    assert_float_equal(stalls_share(stalls), 0.0125 * 1.112625, 1e-12);
    assert_float_equal(stalls->skew, 0.0625, 0);
    assert_int_equal(trace->kinds[1].stalls.count, 0);
    assert_float_equal(trace->kinds[1].stalls.skew, 0.125, 0);
    assert_float_equal(stalls->lasting, 0, 0);
    assert_float_equal(trace->kinds[1].stalls.lasting, 0.0625, 0);
    assert_true(stalls_known(stalls) && stalls_known(&trace->kinds[1].stalls));
    assert_true(trace_has_stalls(trace));
    assert_false(trace_has_stalls(without));
    assert_float_equal(stalls_share(&without->kinds[0].stalls), 0, 0);
    trace_free(trace);
    trace_free(without);
}

/* The hash is of the bytes: FNV-1a of "a" is af63dc4c8601ec8c, and of other bytes
 * another. Checked through a trace and the same with a space more. */
static void the_hash_is_of_the_bytes(void **state)
{
    (void)state;
    char    *path = format_text("%s/tests/fixtures/trace/good/least.json", PIPEBD_ROOT);
    char    *text = slurp(path, NULL), *longer = format_text("%s ", text);
    uint64_t hash = 0xCBF29CE484222325u;
    Trace   *one, *two;

    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001B3u;
    assert_int_equal(trace_parse(&one, "t", text, strlen(text), NULL), 0);
    assert_int_equal(trace_parse(&two, "t", longer, strlen(longer), NULL), 0);
    assert_true(one->hash == hash);
    assert_true(two->hash != hash);
    trace_free(one);
    trace_free(two);
    free(path);
    free(text);
    free(longer);
}

/* A trace of this many blocks, with blocks[last] named name. */
static void many_blocks(Text *text, int count, const char *name)
{
    text_append(text,
                "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"n\", \"provenance\": "
                "{\"kind\": \"modelled\", \"source\": \"s\"}, \"workload\": {\"name\": \"w\", "
                "\"batch\": 1, "
                "\"samples\": 1}, \"devices\": [{\"kind\": \"d\", \"count\": 1}], \"blocks\": [");
    for (int b = 0; b < count; b++) {
        text_printf(text, "%s\n{\"name\": \"", b ? "," : "");
        if (b == count - 1) text_append(text, name);
        else                text_printf(text, "b%d", b);
        text_append(text, "\", \"timings\": [{\"batch\": 1, \"teacher_us\": 1, \"forward_us\": 1, "
                    "\"backward_us\": 1, \"update_us\": 1}]}");
    }
    text_append(text, "]}");
}

static void as_many_blocks_as_allowed(void **state)
{
    (void)state;
    Trace *trace;
    Error  err = {""};

    for (int more = 0; more < 2; more++) {
        Text text = {0};
        many_blocks(&text, TRACE_MAX_BLOCKS + more, "last");
        int rc = trace_parse(&trace, "t", text_string(&text), text.length, &err);
        assert_int_equal(rc, more ? -1 : 0);
        if (more)
            assert_string_equal(err.text, "t:1:209: 4097 blocks, expected at most 4096, at blocks");
        trace_free(trace);
        text_free(&text);
    }
}

/* Long names are cut between characters, so that the message stays UTF-8. */
static void long_names_are_cut_between_characters(void **state)
{
    (void)state;
    Text   name = {0}, text = {0};
    Trace *trace;
    Error  err = {""};

    /* e with acute, twice 40 bytes */
    for (int i = 0; i < 40; i++) text_append(&name, "\xC3\xA9");
    many_blocks(&text, 1, text_string(&name));
    char *at = strstr(text.bytes, "{\"batch\": 1, \"teacher");
    memcpy(at, "]}]} ", 5);                                          /* no timings */
    size_t length = (size_t)(at - text.bytes) + 4;
    assert_int_equal(trace_parse(&trace, "t", text.bytes, length, &err), -1);
    Text list = {0};
    Json *read;
    text_append(&list, "[");
    text_json_string(&list, err.text);
    text_append(&list, "]");
    /* takes UTF-8 only */
    assert_int_equal(json_doc_parse(&read, "t", text_string(&list), list.length, NULL), 0);
    json_doc_free(read);
    text_free(&list);
    assert_non_null(strstr(err.text, "\xC3\xA9...\" has no timings"));
    text_free(&name);
    text_free(&text);
}

/* The bundled traces: read and within their own words. */
static void bundled_traces_are_read(void **state)
{
    static const char *const names[] = {"nas-cifar10-a6000", "mobilenet-cpu", "mobilenet-mixed",
                                        "mobilenet-students", "vgg-cpu"};

    (void)state;
    for (int i = 0; i < 5; i++) {
        char *path = format_text("%s/traces/%s.json", PIPEBD_ROOT, names[i]);
        read_good(path, NULL, NULL);
        free(path);
    }
}

/* Bytes that a step could hold beyond 2^62 are refused before anything adds them up:
 * 8 rows of 2^53 bytes, once, in a queue of 1024 and 16 times in the loader. */
static void endless_bytes_are_refused(void **state)
{
    (void)state;
    Trace   *trace = good_trace("largest-numbers.json");
    Scenario scenario;
    Error    err = {""};

    assert_int_equal(
        scenario_build(&scenario, trace, &(ScenarioOptions){.queue_depth = 1024}, &err), -1);
    assert_string_equal(err.text,
                        "base: a batch of 8 would fill 7.5084e+19 bytes, expected less than 2^62");
    trace_free(trace);
}

/* Continued far beyond its points a cost is refused, not wrapped around: 4 rows take
 * 5 us and 8 take 10, so 2^31 take 44 minutes; slowed down a billion times, too long. */
static void endless_costs_are_refused(void **state)
{
    (void)state;
    Trace          *trace = good_trace("all-keys.json");
    double          slow[TRACE_MAX_DEVICES] = {1e9, 1e300, 1};
    ScenarioOptions options = {.queue_depth = 2, .batch = (int64_t)1 << 31, .extrapolate = true};
    Scenario        scenario;
    Cost            cost;
    Error           err = {""};

    if (scenario_build(&scenario, trace, &options, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(scenario_work(&scenario, WORK_TEACHER, 0, 0, options.batch, &cost, &err), 0);
    assert_int_equal(cost.ns, (options.batch - 4) * 1250 + 5000);
    trace->slowdown = slow;
    for (int device = 0; device < 2; device++) {
        assert_int_equal(
            scenario_work(&scenario, WORK_TEACHER, 0, device, options.batch, &cost, &err), -1);
        assert_non_null(strstr(err.text, "a: 2147483648 rows would take "));
        assert_non_null(strstr(err.text, "expected at most 2^47 ns (39 hours)"));
    }
    trace->slowdown = NULL;
    scenario_free(&scenario);
    trace_free(trace);
}

/* ---- memory ---------------------------------------------------------------- */

static int read_once(const char *text, size_t length, Error *err)
{
    Trace *trace;
    int    rc = trace_parse(&trace, "t", text, length, err);

    if (rc != 0) assert_null(trace);
    trace_free(trace);
    return rc;
}

static void running_out_of_memory(void **state)
{
    (void)state;
    reader_out_of_memory(read_once, "trace/good/students.json");
}

static void assert_same_curve(const Curve *a, const Curve *b)
{
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        assert_int_equal(a->points[i].x, b->points[i].x);
        assert_int_equal(a->points[i].ns, b->points[i].ns);
        assert_int_equal(a->points[i].contended_ns, b->points[i].contended_ns);
        assert_int_equal(a->points[i].single_block_ns, b->points[i].single_block_ns);
        assert_int_equal(a->points[i].single_block_contended_ns,
                         b->points[i].single_block_contended_ns);
        assert_true(a->points[i].spread == b->points[i].spread);
    }
}

static void assert_same_costs(const Trace *a, const Trace *b)
{
    assert_int_equal(a->block_count, b->block_count);
    assert_int_equal(a->kind_count, b->kind_count);
    for (int i = 0; i < a->block_count; i++) {
        assert_int_equal(a->blocks[i].student_count, b->blocks[i].student_count);
        for (int j = 0; j < trace_students(&a->blocks[i]); j++) {
            TraceStudent x = trace_student(&a->blocks[i], j), y = trace_student(&b->blocks[i], j);
            assert_string_equal(x.name, y.name);
            assert_int_equal(x.gradient_bytes, y.gradient_bytes);
            assert_int_equal(x.activation_bytes, y.activation_bytes);
            for (int w = 0; w < WORK_COUNT; w++)
                for (int k = 0; k < a->kind_count; k++)
                    assert_same_curve(&x.work[w][k], &y.work[w][k]);
        }
    }
    for (int k = 0; k < a->kind_count; k++) {
        const TraceStalls *x = &a->kinds[k].stalls, *y = &b->kinds[k].stalls;
        assert_int_equal(x->count, y->count);
        assert_float_equal(x->skew, y->skew, 0);
        assert_float_equal(x->lasting, y->lasting, 0);
        assert_float_equal(x->per_ms, y->per_ms, 0);
        assert_float_equal(x->common, y->common, 0);
        assert_memory_equal(x->ns, y->ns, sizeof x->ns);
    }
    assert_same_curve(&a->links.p2p, &b->links.p2p);
    assert_same_curve(&a->node_links.p2p, &b->node_links.p2p);
    assert_int_equal(a->loader.batch_ns, b->loader.batch_ns);
    assert_int_equal(a->devices_per_node, b->devices_per_node);
    assert_int_equal(a->blocking_transfers, b->blocking_transfers);
    assert_int_equal(a->algorithm_count, b->algorithm_count);
    for (int i = 0; i < a->algorithm_count; i++)
        assert_string_equal(a->algorithms[i], b->algorithms[i]);
}

/* A block's list of students: each one's numbers, and the block's sums. */
static void students_arrive(void **state)
{
    (void)state;
    char    *path = format_text("%s/tests/fixtures/trace/good/students.json", PIPEBD_ROOT);
    Trace   *trace;
    Scenario s;
    Cost     cost;
    int64_t  ns;
    Error    err = {""};

    if (trace_read(&trace, path, &err) != 0) fail_msg("%s", err.text);
    const TraceBlock *a = &trace->blocks[0];
    assert_true(trace_has_many_students(trace));
    assert_int_equal(trace_students(a), 3);
    assert_int_equal(trace_students(&trace->blocks[1]), 1);
    assert_int_equal(trace_students(&trace->blocks[2]), 1);
    assert_string_equal(trace_student(a, 2).name, "wide");
    assert_string_equal(trace_student(&trace->blocks[2], 0).name, "");
    assert_int_equal(a->student_weight_bytes, 60 + 160);         /* the third's are not given */
    assert_int_equal(a->gradient_bytes, 70 + 170 + 270);
    assert_int_equal(a->state_bytes, TRACE_ABSENT);
    assert_int_equal(a->student_activation_bytes, 290);          /* one at a time: the largest */
    if (scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2, .extrapolate = true}, &err)
        != 0)
        fail_msg("%s", err.text);
    assert_int_equal(scenario_student_work(&s, WORK_BACKWARD, 0, 1, 0, 8, &cost, NULL), 0);
    assert_int_equal(cost.ns, 122000);
    assert_int_equal(scenario_work(&s, WORK_BACKWARD, 0, 0, 8, &cost, NULL), 0);
    assert_int_equal(cost.ns, 22000 + 122000 + 222000);
    assert_int_equal(scenario_work(&s, WORK_TEACHER, 0, 0, 8, &cost, NULL), 0);
    assert_int_equal(cost.ns, 12000);                            /* while the others are busy */
    assert_int_equal(scenario_student_allreduce(&s, (int[]){0, 1}, 2, 0, 2, &ns, NULL), 0);
    assert_int_equal(ns, 27000);
    assert_int_equal(scenario_allreduce(&s, (int[]){0, 1}, 2, 0, &ns, NULL), 0);
    assert_int_equal(ns, 7000 + 17000 + 27000);
    assert_int_equal(scenario_student_work(&s, WORK_FORWARD, 0, 1, 2, 8, &cost, &err), -1);
    assert_string_equal(
        err.text, "student \"narrow\" of block \"a\" has no timings on \"slow\": measure it there");
    scenario_free(&s);
    trace_free(trace);
    free(path);
}

/* What trace_text() writes reads back as the same trace, for every good fixture. */
static void written_as_read(const char *path, const char *expected, void *context)
{
    Trace *first = NULL, *again = NULL;
    Text   one = {0}, two = {0};
    Error  err = {""};

    (void)expected;
    (void)context;
    if (trace_read(&first, path, &err) != 0) fail_msg("%s", err.text);
    trace_text(first, &one);
    if (trace_parse(&again, "again", text_string(&one), one.length, &err) != 0)
        fail_msg("%s: %s\n%s", path, err.text, text_string(&one));
    trace_text(again, &two);
    assert_string_equal(text_string(&one), text_string(&two));
    assert_same_costs(first, again);
    text_free(&one);
    text_free(&two);
    trace_free(first);
    trace_free(again);
}

static void writing_and_reading_agree(void **state)
{
    (void)state;
    fixtures_each("trace", "good", written_as_read, NULL);
}

/* lone.json has "busy" and "lone", contended-single-block.json the same times under their present
 * names. */
static void old_names_are_read_and_new_ones_written(void **state)
{
    const char *const names[] = {"lone.json", "contended-single-block.json"};
    Trace *traces[2] = {NULL};
    Text   texts[2] = {{0}, {0}};
    Error  err = {""};

    (void)state;
    for (int i = 0; i < 2; i++) {
        char *path = format_text("%s/tests/fixtures/trace/good/%s", PIPEBD_ROOT, names[i]);
        if (trace_read(&traces[i], path, &err) != 0) fail_msg("%s", err.text);
        trace_text(traces[i], &texts[i]);
        free(path);
    }
    assert_same_costs(traces[0], traces[1]);
    assert_string_equal(text_string(&texts[0]), text_string(&texts[1]));
    assert_non_null(strstr(text_string(&texts[0]), "\"contended\""));
    assert_non_null(strstr(text_string(&texts[0]), "\"single_block\""));
    assert_null(strstr(text_string(&texts[0]), "\"busy\""));
    for (int i = 0; i < 2; i++) {
        text_free(&texts[i]);
        trace_free(traces[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_fixtures_are_read),
        cmocka_unit_test(bad_fixtures_are_refused),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(stalls_arrive),
        cmocka_unit_test(core_times_arrive),
        cmocka_unit_test(the_hash_is_of_the_bytes),
        cmocka_unit_test(as_many_blocks_as_allowed),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(bundled_traces_are_read),
        cmocka_unit_test(endless_bytes_are_refused),
        cmocka_unit_test(endless_costs_are_refused),
        cmocka_unit_test(students_arrive),
        cmocka_unit_test(running_out_of_memory),      /* last: changes jansson's allocator */
        cmocka_unit_test(writing_and_reading_agree),
        cmocka_unit_test(old_names_are_read_and_new_ones_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
