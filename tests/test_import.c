/* Imports: what is read and what is refused, and in which words; every figure by hand. */
#include "tests/support.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "planner/compare.h"
#include "base/rng.h"
#include "traces/import/import.h"
#include "traces/import/import_graph.h"

enum { KINETO, SAILOR, PIPEDREAM, PIPE_BD_LOG };

/* ---- importing ------------------------------------------------------------------------- */

/* The file under its name alone, so that messages do not depend on the folder; for
 * pipedream it is the student's profile too, unless options have one. */
static int import_file(Trace **out, int format, const char *path, ImportOptions options, Error *err)
{
    size_t     length;
    char      *text = slurp(path, &length);
    ImportFile file = {strrchr(path, '/') + 1, text, length};

    options.name = "t";
    options.device = (OptionList){{"d"}, 1};
    options.samples = 1000;
    if (!options.batch) options.batch = format == PIPEDREAM ? 32 : 256;
    if (format == PIPEDREAM && !options.student.text) options.student = file;
    int rc = import_trace(out, import_format(format), &file, 1, &options, err);
    free(text);
    return rc;
}

static Trace *good(int format, const char *name, ImportOptions options)
{
    char  *path = format_text("%s/tests/fixtures/import_%s/good/%s", PIPEBD_ROOT,
                              format == PIPEDREAM ? "pipedream" : "pipe_bd_log", name);
    Trace *trace;
    Error  err = {""};

    if (import_file(&trace, format, path, options, &err) != 0) fail_msg("%s", err.text);
    free(path);
    return trace;
}

/* ---- fixtures ----------------------------------------------------------------------------- */

/* What is imported can be planned, and says what it is. */
static void read_good(const char *path, const char *expected, void *context)
{
    Trace     *trace;
    Scenario   s;
    Comparison c;
    Error      err = {""};

    (void)expected;
    if (import_file(&trace, *(int *)context, path, (ImportOptions){0}, &err) != 0)
        fail_msg("%s", err.text);
    assert_string_equal(trace->provenance_kind, "imported");
    assert_non_null(strstr(trace->source, strrchr(path, '/') + 1));
    assert_non_null(strstr(trace->notes, "Assumed: "));
    if (scenario_build(&s, trace, &(ScenarioOptions){.queue_depth = 2, .extrapolate = true}, &err)
        != 0)
        fail_msg("%s", err.text);
    CompareOptions options = {.schedules = 1u << SCHEDULE_LS | 1u << SCHEDULE_AHD, .candidates = 2};
    if (compare(&c, &s, &options, &err) != 0) fail_msg("%s: %s", path, err.text);
    assert_non_null(c.rows[SCHEDULE_AHD].plan);
    comparison_free(&c);
    scenario_free(&s);
    trace_free(trace);
}

static void read_bad(const char *path, const char *expected, void *context)
{
    Trace *trace;
    Error  err = {""};

    if (import_file(&trace, *(int *)context, path, (ImportOptions){0}, &err) == 0)
        fail_msg("%s was read", path);
    assert_null(trace);
    fixture_refused(path, expected, err.text);
}

static void fixtures(void **state)
{
    static const char *const folders[] = {
        [PIPEDREAM] = "import_pipedream", [PIPE_BD_LOG] = "import_pipe_bd_log"};
    (void)state;

    for (int format = PIPEDREAM; format <= PIPE_BD_LOG; format++) {
        fixtures_each(folders[format], "good", read_good, &format);
        fixtures_each(folders[format], "bad", read_bad, &format);
    }
}

/* ---- pipedream ------------------------------------------------------------------------------- */

static void check_times(const TraceBlock *block, int point, int64_t batch, int64_t teacher_ns,
                        int64_t forward_ns, int64_t backward_ns)
{
    const int64_t want[WORK_COUNT] = {teacher_ns, forward_ns, backward_ns, 0};

    for (int work = 0; work < WORK_COUNT; work++) {
        assert_int_equal(block->work[work]->points[point].x, batch);
        assert_int_equal(block->work[work]->points[point].ns, want[work]);
    }
}

/* Every node a block; the input is none. */
static void a_chain(void **state)
{
    (void)state;
    Trace *t =
        good(PIPEDREAM, "chain.txt", (ImportOptions){.devices = {{3}, 1}, .date = "2026-11-24"});

    assert_int_equal(t->block_count, 3);
    assert_int_equal(trace_device_count(t), 3);
    assert_int_equal(t->input_bytes, 3072 / 32);
    assert_string_equal(t->date, "2026-11-24");
    assert_string_equal(t->blocks[0].name, "node2");
    check_times(&t->blocks[0], 0, 32, 1500000, 1500000, 3250000);
    check_times(&t->blocks[2], 0, 32, 500000, 500000, 750000);
    assert_int_equal(t->blocks[0].output_bytes, 128);
    assert_int_equal(t->blocks[0].teacher_weight_bytes, 448);
    assert_int_equal(t->blocks[0].teacher_activation_bytes, (3072 + 4096) / 32);
    assert_int_equal(t->blocks[2].gradient_bytes, 2600);
    assert_int_equal(t->blocks[2].student_activation_bytes, 0);
    assert_non_null(strstr(t->notes, "Left out: 12.000 ms of the input node \"node1\""));
    trace_free(t);
}

/* node2 | node3, node4 | node5, node6 | node7: the residual and the size of the view are
 * not cut. */
static void branches_are_parts(void **state)
{
    (void)state;
    Trace *t = good(PIPEDREAM, "branches.txt", (ImportOptions){0});

    assert_int_equal(t->block_count, 4);
    assert_string_equal(t->blocks[1].name, "node3-node4");
    assert_string_equal(t->blocks[2].name, "node5-node6");
    check_times(&t->blocks[1], 0, 32, 875000, 875000, 1625000);
    assert_int_equal(t->blocks[1].output_bytes, 4096 / 32);
    assert_int_equal(t->blocks[1].student_activation_bytes, 4096 / 32);
    assert_int_equal(t->blocks[1].teacher_activation_bytes, 3 * 4096 / 32);      /* of the sum */
    assert_non_null(strstr(t->notes, "2 nodes of the teacher and 2 of the student"));
    trace_free(t);
}

static void stages_are_blocks(void **state)
{
    (void)state;
    Trace *t = good(PIPEDREAM, "stages.txt", (ImportOptions){0});

    assert_int_equal(t->block_count, 2);
    assert_string_equal(t->blocks[0].name, "a-b");
    check_times(&t->blocks[0], 0, 32, 1500000, 1500000, 2500000);
    assert_int_equal(t->input_bytes, TRACE_ABSENT);
    trace_free(t);
}

static void cuts_are_blocks(void **state)
{
    (void)state;
    Trace *t =
        good(PIPEDREAM, "branches.txt", (ImportOptions){.cuts = "node4", .student_cuts = "node6"});

    assert_int_equal(t->block_count, 2);
    check_times(&t->blocks[0], 0, 32, 1875000, 1875000, 3625000);
    check_times(&t->blocks[1], 0, 32, 500000, 500000, 750000);
    trace_free(t);
}

/* Two inputs and a state that nobody reads are dropped; the decoder's embedding stands before what
 * reads it, so node3 | node4 | node5, node7, node8 | node9. */
static void several_inputs_and_outputs(void **state)
{
    (void)state;
    Trace *t = good(PIPEDREAM, "encoder-decoder.txt", (ImportOptions){0});

    assert_int_equal(t->block_count, 5);
    assert_string_equal(t->blocks[2].name, "node5");
    assert_string_equal(t->blocks[3].name, "node7-node8");
    check_times(&t->blocks[3], 0, 32, 4000000, 4000000, 7000000);
    assert_int_equal(t->input_bytes, 6400 / 32);
    assert_non_null(strstr(t->notes, "The teacher is cut behind node3, node4, node5, node8."));
    assert_non_null(strstr(t->notes, "Dropped, inputs of the teacher, which all blocks have at "
                                     "hand: node1 (Input0), node2 (Input1), 0.500 ms."));
    assert_non_null(strstr(
        t->notes, "Dropped, outputs of the student that nobody uses: node6 (__getitem__(1))."));
    trace_free(t);
}

/* Stage 0 ends with b, beside which c's input passes: its block ends with d, and stage 1 is in
 * it. */
static void stages_end_where_one_tensor_goes_on(void **state)
{
    (void)state;
    Trace *t = good(PIPEDREAM, "stage-in-branch.txt", (ImportOptions){0});

    assert_int_equal(t->block_count, 1);
    assert_non_null(strstr(t->notes, "stage_id=0 ends with node \"b\", behind which more than one "
                                     "tensor goes on: its block is cut behind \"d\""));
    trace_free(t);
}

/* A random graph with one source and one sink: where can it be cut? Behind every node without which
 * no way leads from the first to the last. */
static bool all_ways_lead_through(int nodes, bool edges[12][12], int node)
{
    bool reached[12] = {node != 0};

    for (int from = 0; from < nodes; from++)
        for (int to = from + 1; to < nodes && reached[from]; to++)
            if (edges[from][to] && to != node) reached[to] = true;
    return !reached[nodes - 1];
}

static void graphs_are_cut_where_one_tensor_goes_on(void **state)
{
    Rng rng = {test_seed("graphs_are_cut", 5), 0};
    (void)state;

    for (int round = 0; round < 2000; round++) {
        bool        edges[12][12] = {{false}};
        int         nodes = (int)rng_range(&rng, 2, 12), span = (int)rng_range(&rng, 1, 4);
        Text        text = {0};
        Arena       arena = {0};
        ImportGraph g;
        Error       err = {""};
        for (int to = 1; to < nodes; to++) {           /* an edge in, an edge out, and some more */
            edges[rng_range(&rng, to > span ? to - span : 0, to - 1)][to] = true;
            edges[to - 1][rng_range(&rng, to, to + span < nodes ? to + span : nodes - 1)] = true;
        }
        for (int i = 0; i < nodes; i++)
            text_printf(&text,
                        "n%d -- F -- forward_compute_time=1, backward_compute_time=1, "
                        "activation_size=8, parameter_size=0\n",
                        i);
        for (int from = 0; from < nodes; from++)
            for (int to = 0; to < nodes; to++)
                if (edges[from][to]) text_printf(&text, "\tn%d -- n%d\n", from, to);
        ImportFile file = {"g", text_string(&text), text.length};
        if (graph_read(&g, &file, &arena, &err) != 0) fail_msg("%s", err.text);
        assert_int_equal(g.count, nodes);
        int place[12];
        for (int i = 0; i < nodes; i++) place[atoi(g.nodes[i].id + 1)] = i;
        for (int from = 0; from < nodes; from++)
            for (int to = 0; to < nodes; to++)
                if (edges[from][to]) assert_true(place[from] < place[to]);
        for (int i = 0; i < nodes; i++)
            assert_int_equal(g.cut[place[i]],
                             i == 0 || i == nodes - 1 || all_ways_lead_through(nodes, edges, i));
        arena_free(&arena);
        text_free(&text);
    }
}

static void pipedream_refuses(ImportOptions options, const char *name, const char *why)
{
    char  *path = format_text("%s/tests/fixtures/import_pipedream/good/%s", PIPEBD_ROOT, name);
    Trace *trace;
    Error  err = {""};

    if (import_file(&trace, PIPEDREAM, path, options, &err) == 0)
        fail_msg("read, expected: %s", why);
    if (!strstr(err.text, why)) fail_msg("%s, expected: %s", err.text, why);
    free(path);
}

static void what_does_not_match(void **state)
{
    static const char other[] =
        "a -- C -- forward_compute_time=1, backward_compute_time=1, activation_size=64, "
        "parameter_size=0";
    const ImportFile student = {"student.txt", other, sizeof other - 1};
    (void)state;

    pipedream_refuses((ImportOptions){.cuts = "node3"}, "branches.txt",
                      "branches.txt:3:1: --cuts: not all paths go through node \"node3\", the next "
                      "such node is \"node4\"");
    pipedream_refuses((ImportOptions){.cuts = "node4,node9"}, "branches.txt",
                      "--cuts: \"node9\" is no node of branches.txt");
    pipedream_refuses((ImportOptions){.cuts = "node4,node2"}, "branches.txt",
                      "does not come after \"node4\"");
    pipedream_refuses((ImportOptions){.cuts = "node7"}, "branches.txt",
                      "nothing lies behind node \"node7\"");
    pipedream_refuses((ImportOptions){.cuts = "node1"}, "branches.txt",
                      "nothing lies before node \"node1\"");
    pipedream_refuses((ImportOptions){.cuts = "node2"}, "chain.txt",
                      "chain.txt: 3 blocks, but chain.txt has 2");
    pipedream_refuses((ImportOptions){.student = student}, "one-node.txt",
                      "student.txt:1:1: block 0 ends with 2 bytes a sample at node \"a\", but the "
                      "teacher's with 5");
    pipedream_refuses((ImportOptions){.batch = 100}, "chain.txt",
                      "chain.txt:2:1: activation_size=3072.000 is no whole number of bytes a "
                      "sample at --batch 100");
}

/* ---- pipe-bd-log ----------------------------------------------------------------------------- */

/* Batches 256, 128, 85 and 64, ascending; student = both - teacher, a third of it forward. */
static void a_log_without_bytes(void **state)
{
    (void)state;
    Trace *t = good(PIPE_BD_LOG, "four-ranks.txt", (ImportOptions){0});

    assert_int_equal(t->block_count, 3);
    assert_int_equal(trace_device_count(t), 4);
    assert_int_equal(t->blocks[0].work[0]->count, 4);
    check_times(&t->blocks[0], 0, 64, 1500000, 1500000, 3000000);
    check_times(&t->blocks[0], 1, 85, 1800000, 1900000, 3800000);
    check_times(&t->blocks[0], 3, 256, 4000000, 4000000, 8000000);
    check_times(&t->blocks[2], 2, 128, 750000, 750000, 1500000);
    assert_true(t->blocking_transfers);
    assert_int_equal(t->links.p2p.count + t->links.reduce_count, 0);
    assert_non_null(strstr(t->notes, "p2p times are left out: --boundary-bytes was not given"));
    assert_non_null(
        strstr(t->notes, "all-reduce times are left out: --gradient-bytes was not given"));
    trace_free(t);
}

static void a_log_with_bytes(void **state)
{
    (void)state;
    ImportOptions options = {
        .boundary_bytes = "1000,500,4", .gradient_bytes = "10,20,20", .devices = {{2}, 1}};
    Trace        *t = good(PIPE_BD_LOG, "four-ranks.txt", options);

    assert_int_equal(trace_device_count(t), 2);
    assert_int_equal(t->links.p2p.count, 3);                     /* 0, and two boundaries */
    assert_int_equal(t->links.p2p.points[0].x + t->links.p2p.points[0].ns, 0);
    assert_int_equal(t->links.p2p.points[1].x, 256 * 500);
    assert_int_equal(t->links.p2p.points[1].ns, 250000);
    assert_int_equal(t->links.p2p.points[2].ns, 500000);
    assert_int_equal(t->links.reduce_count, 3);                  /* 2, 3, 4 */
    assert_int_equal(t->links.reduces[0].devices, 2);
    assert_int_equal(t->links.reduces[0].curve.count, 2);        /* two blocks are as large: the
                                                                  * mean */
    assert_int_equal(t->links.reduces[0].curve.points[1].ns, 250000);
    assert_int_equal(t->blocks[2].output_bytes, 4);
    assert_int_equal(t->blocks[2].gradient_bytes, 20);
    trace_free(t);
}

static void out_of_memory_is_left_out(void **state)
{
    (void)state;
    Trace *t = good(PIPE_BD_LOG, "out-of-memory.txt", (ImportOptions){0});

    assert_int_equal(t->blocks[0].work[0]->count, 1);
    check_times(&t->blocks[0], 0, 128, 2000000, 2333333, 4666667);
    assert_int_equal(t->blocks[1].work[0]->count, 2);
    assert_non_null(strstr(t->notes, "Out of memory and left out: b0 at batch 256 (line 2)."));
    trace_free(t);
}

/* ---- sailor ---------------------------------------------------------------------------------- */

typedef struct { char *names[4], *texts[4]; ImportFile files[4]; } SailorFiles;

/* Profiles of A and B, sizes, links. */
static SailorFiles sailor_files(void)
{
    static const char *const names[] = {"NET/A/profile.json", "NET/B/profile.json", "llm_info.json",
                                        "network.json"};
    SailorFiles f;

    for (int i = 0; i < 4; i++) {
        f.names[i] = format_text("%s/tests/fixtures/import_sailor/good/%s", PIPEBD_ROOT, names[i]);
        f.texts[i] = slurp(f.names[i], &f.files[i].length);
        f.files[i].name = strstr(f.names[i], "good/") + 5;
        f.files[i].text = f.texts[i];
    }
    return f;
}

static void free_sailor(SailorFiles *f)
{
    for (int i = 0; i < 4; i++) { free(f->names[i]); free(f->texts[i]); }
}

/* A takes l + 1 ms a row of layer l, B twice that. Within a machine A gives 2 GB/s, B 1 GB/s at
 * 10^6 bytes and one more for each doubling, at most 4: 1 MiB, x = 0.0684, take B 981.4 us. Between
 * machines of two B gives 0.25 GB/s. */
static void kinds_of_sailor(void **state)
{
    SailorFiles   f = sailor_files();
    ImportOptions o = {.name = "t",
                       .batch = 4,
                       .samples = 100,
                       .devices = {{2, 2}, 2},
                       .model_info = f.files[2],
                       .network = f.files[3],
                       .machine_devices = 2};
    Trace        *t;
    Error         err = {""};
    (void)state;

    if (import_trace(&t, import_format(SAILOR), f.files, 2, &o, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(t->kind_count, 2);
    assert_string_equal(t->kinds[1].name, "B");
    assert_int_equal(t->block_count, 3);
    const Curve *a = &t->blocks[2].work[WORK_BACKWARD][0], *b = &t->blocks[2].work[WORK_FORWARD][1];
    assert_int_equal(a->count, 3);
    assert_int_equal(a->points[0].x, 1);
    assert_int_equal(a->points[2].ns, 24000000);
    assert_int_equal(b->points[1].ns, 24000000);
    assert_int_equal(t->blocks[0].work[WORK_UPDATE][1].points[0].ns, 1000000);
    assert_int_equal(t->blocks[1].gradient_bytes, 2000000);
    assert_int_equal(t->input_bytes, 3000);
    assert_int_equal(t->devices_per_node, 2);
    const CurvePoint *mib = &t->links.p2p.points[10];
    assert_int_equal(mib->x, 1 << 20);
    assert_int_equal(mib->ns / 1000, 981);
    assert_int_equal(t->links.reduce_count, 1);
    assert_int_equal(t->node_links.p2p.points[10].ns, (1 << 20) * 4);
    assert_int_equal(t->node_links.reduce_count, 3);
    assert_int_equal(t->node_links.reduces[2].curve.points[10].ns, (1 << 20) / 4 * 4 * 2 * 3);
    assert_non_null(strstr(t->notes, "Left out of A, more rows than the batch: 8."));
    trace_free(t);

    o.tensor_degree = 2;                 /* of A alone */
    o.devices = (OptionIntegers){{2}, 1};
    o.machine_devices = 0;
    if (import_trace(&t, import_format(SAILOR), f.files, 1, &o, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(t->blocks[0].work[WORK_TEACHER][0].points[2].ns, 2000000);
    assert_int_equal(t->blocks[0].gradient_bytes, 500000);
    assert_non_null(strstr(t->notes, "Tensor degree 2: a device stands for as many GPUs."));
    trace_free(t);
    free_sailor(&f);
}

static void sailor_refuses(ImportOptions options, int files, const char *profile, const char *why)
{
    SailorFiles f = sailor_files();
    Trace      *trace;
    Error       err = {""};

    options.name = "t";
    options.samples = 10;
    if (!options.batch) options.batch = 4;
    if (!options.model_info.text) options.model_info = f.files[2];
    if (!options.network.text) options.network = f.files[3];
    if (profile) f.files[0] = (ImportFile){"NET/A/profile.json", profile, strlen(profile)};
    if (import_trace(&trace, import_format(SAILOR), f.files, files, &options, &err) == 0)
        fail_msg("read, expected: %s", why);
    assert_null(trace);
    if (!strstr(err.text, why)) fail_msg("%s, expected: %s", err.text, why);
    free_sailor(&f);
}

static void sailor_that_does_not_fit(void **state)
{
    static const char three[] = "{\"1\": {\"1\": {\"0\": [1, 2]}}}",
                      gap[] = "{\"1\": {\"1\": {\"0\": [1, 2, 3], \"2\": [1, 2, 3]}}}",
                      word[] = "{\"one\": {}}", four[] = "{\"1\": {\"1\": {\"0\": [1, 2, 3]}}}",
                      long_[] = "{\"1\": {\"1\": {\"0\": [1e9, 2, 3]}}}",
                      dead[] = "{\"intra\": {\"A\": {\"2\": [[-1], 5]}}}";
    (void)state;

    sailor_refuses((ImportOptions){.device = {{"A", "A"}, 2}}, 2, NULL,
                   "both are of \"A\", expected a file for each kind");
    sailor_refuses((ImportOptions){.device = {{"A"}, 1}}, 2, NULL,
                   "--device: 1 names, but 2 files");
    sailor_refuses((ImportOptions){.devices = {{1, 2, 3}, 3}}, 2, NULL,
                   "--devices: 3 numbers, but 2 kinds");
    sailor_refuses((ImportOptions){.device = {{"C"}, 1}}, 1, NULL,
                   "network.json:2:11: no GPU \"C\"");
    sailor_refuses((ImportOptions){.tensor_degree = 3}, 1, NULL,
                   "nothing of tensor degree 3 with at most 4 rows");
    sailor_refuses((ImportOptions){.model = "NETS"}, 1, NULL,
                   "llm_info.json:1:1: no model \"NETS\", expected --model with one of them, such "
                   "as \"OTHER\"");
    sailor_refuses((ImportOptions){.model = "OTHER"}, 1, NULL, "llm_info.json:2:11: ");
    sailor_refuses((ImportOptions){0}, 1, three, "NET/A/profile.json:1:19: ");
    sailor_refuses((ImportOptions){0}, 1, gap,
                   "no layer \"1\" among 2, expected them to be numbered from 0");
    sailor_refuses((ImportOptions){.tensor_degree = 1}, 1, word, "\"one\" is no number of rows");
    sailor_refuses((ImportOptions){0}, 2, four,
                   "NET/B/profile.json:3:8: 3 layers, but there were 1 before");
    sailor_refuses((ImportOptions){0}, 1, four, "3 layers, but the profiles have 1");
    sailor_refuses((ImportOptions){0}, 1, long_, "1e+09 seconds, expected less than 39 hours");
    sailor_refuses((ImportOptions){.network = {"n.json", dead, sizeof dead - 1}}, 1, NULL,
                   "n.json: no rate above 0 for");
}

static void log_refuses(ImportOptions options, const char *why)
{
    char  *path =
         format_text("%s/tests/fixtures/import_pipe_bd_log/good/four-ranks.txt", PIPEBD_ROOT);
    Trace *trace;
    Error  err = {""};

    if (import_file(&trace, PIPE_BD_LOG, path, options, &err) == 0)
        fail_msg("read, expected: %s", why);
    if (!strstr(err.text, why)) fail_msg("%s, expected: %s", err.text, why);
    free(path);
}

static void options_that_do_not_fit(void **state)
{
    (void)state;
    log_refuses((ImportOptions){.batch = 2},
                "four-ranks.txt:9:1: rank 2: a batch of 2 over 3 devices is none of its own");
    log_refuses((ImportOptions){.boundary_bytes = "1"}, "--boundary-bytes: 1 numbers, expected 3");
    log_refuses((ImportOptions){.gradient_bytes = "1,2"},
                "--gradient-bytes: 2 numbers, expected 3");
    log_refuses((ImportOptions){.gradient_bytes = "1,,2"},
                "--gradient-bytes: \",2\" does not begin with a number");
    log_refuses((ImportOptions){.gradient_bytes = "1,2x,2"}, "\"2x,2\" does not begin");
    log_refuses((ImportOptions){.gradient_bytes = "1,-2,2"}, "\"-2,2\" does not begin");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void running_out_of_memory(void **state)
{
    static const char *const paths[] = {
        [PIPEDREAM] = PIPEBD_ROOT "/tests/fixtures/import_pipedream/good/branches.txt",
        [PIPE_BD_LOG] = PIPEBD_ROOT "/tests/fixtures/import_pipe_bd_log/good/four-ranks.txt"};
    (void)state;

    for (int format = PIPEDREAM; format <= PIPE_BD_LOG; format++) {
        size_t        length;
        char         *text = slurp(paths[format], &length);
        ImportFile    file = {"f", text, length};
        ImportOptions options = {.name = "t", .device = {{"d"}, 1}, .samples = 10, .batch = 32};
        if (format == PIPEDREAM) options.student = file;
        if (format == PIPE_BD_LOG) {
            options.boundary_bytes = "4,4";
            options.gradient_bytes = "4,4,8";
        }
        for (long n = 1;; n++) {
            Trace *trace;
            Error  err = {""};
            alloc_fail_after(n);
            int  rc = import_trace(&trace, import_format(format), &file, 1, &options, &err);
            bool reached = alloc_fail_reached();
            alloc_fail_after(0);
            if (rc != 0) { assert_null(trace); assert_string_not_equal(err.text, ""); }
            trace_free(trace);
            if (!reached) { assert_int_equal(rc, 0); break; }
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures),
        cmocka_unit_test(a_chain),
        cmocka_unit_test(branches_are_parts),
        cmocka_unit_test(stages_are_blocks),
        cmocka_unit_test(cuts_are_blocks),
        cmocka_unit_test(several_inputs_and_outputs),
        cmocka_unit_test(stages_end_where_one_tensor_goes_on),
        cmocka_unit_test(graphs_are_cut_where_one_tensor_goes_on),
        cmocka_unit_test(what_does_not_match),
        cmocka_unit_test(kinds_of_sailor),
        cmocka_unit_test(sailor_that_does_not_fit),
        cmocka_unit_test(a_log_without_bytes),
        cmocka_unit_test(a_log_with_bytes),
        cmocka_unit_test(out_of_memory_is_left_out),
        cmocka_unit_test(options_that_do_not_fit),
        cmocka_unit_test(running_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
