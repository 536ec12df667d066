/* Profile and validation: figures of samples, the corrected trace, and both on a network of
 * two small blocks on two devices, of the CPU and such as queue their work. No test looks at how
 * long anything took. */
#include "tests/support.h"
#include "tests/async_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "executor/measure/calibrate.h"
#include "executor/measure/cpu_quota.h"
#include "executor/measure/profile.h"
#include "executor/measure/skew_samples.h"
#include "executor/measure/speed.h"
#include "executor/measure/stall_samples.h"
#include "executor/measure/validate.h"

/* ---- samples --------------------------------------------------------------------- */

/* Device 0: TEACHER 0 in 1, 2, 3, 4, 100 us by step; device 1: FORWARD 1 in 7 us. */
static void figures_of_samples(void **state)
{
    static const int64_t us[] = {1, 2, 3, 4, 100};
    Instruction   teacher = {.op = OP_TEACHER, .block = 0, .link = -1, .rows = 8};
    Instruction   forward = {.op = OP_FORWARD, .block = 1, .link = -1, .rows = 4};
    Program       program = {.device_count = 2, .block_count = 2};
    Samples       samples = {0};
    SampleFigures f;

    (void)state;
    for (int i = 0; i < 5; i++) {
        Span spans[] = {{0, LANE_COMPUTE, &teacher, i, 0, us[i] * 1000},
                        {1, LANE_COMPUTE, &forward, i, 50, 7050},
                        {1, LANE_COPY_IN, &teacher, i, 0, 9999}};
        assert_int_equal(samples_add(&samples, &program, spans, 3, 0, NULL), 0);
    }
    assert_int_equal(samples.count, 10);         /* what comes in is counted where it is sent */
    assert_int_equal(samples_figures(&f, &samples, (SampleKey){OP_TEACHER, 0, 8, -1, -1, -1}, NULL),
                     0);
    assert_int_equal(f.count, 5);
    assert_float_equal(f.median, 3, 1e-12);
    assert_float_equal(f.mean, 22, 1e-12);       /* a tenth of five is none */
    assert_float_equal(f.spread, 1.4826 * 1 / 3, 1e-12);  /* distances 2 1 0 1 97: median 1 */
    assert_int_equal(samples_figures(&f, &samples, (SampleKey){OP_COUNT, -1, -1, -1, 1, -1}, NULL),
                     0);
    assert_int_equal(f.count, 5);
    assert_float_equal(f.median, 7, 1e-12);
    assert_int_equal(
        samples_figures(&f, &samples, (SampleKey){OP_UPDATE, -1, -1, -1, -1, -1}, NULL), 0);
    assert_int_equal(f.count, 0);
    samples_free(&samples);
}

/* Adds a run: on each of two devices n TEACHERs of 100 us and FORWARDs of 50 us, of which every
 * twentieth TEACHER of device 0 is stalled for 900 us, and so is every twentieth of device 1: the
 * same one, or (together false) ten later. */
static void add_stalled_run(Samples *samples, int n, bool together)
{
    Instruction in[] = {{.op = OP_TEACHER, .block = 0, .link = -1, .rows = 8},
                        {.op = OP_FORWARD, .block = 0, .link = -1, .rows = 8}};
    Program     program = {.device_count = 2, .block_count = 1};
    Span       *spans = calloc(4 * (size_t)n, sizeof *spans);
    int64_t     count = 0;

    assert_non_null(spans);
    for (int d = 0; d < 2; d++) {
        int64_t t = 0;
        for (int i = 0; i < n; i++) {
            int64_t us = 100 + i % 3 + (i % 20 == (d && !together ? 10 : 0) ? 900 : 0);
            spans[count++] = (Span){d, LANE_COMPUTE, &in[0], i, t, t + us * 1000};
            t += us * 1000;
            spans[count++] = (Span){d, LANE_COMPUTE, &in[1], i, t, t + 50000};
            t += 50000;
        }
    }
    assert_int_equal(samples_add(samples, &program, spans, count, 0, NULL), 0);
    free(spans);
}

/* Stalls of 900 us, one in twenty times 151 us of work: what is left of a kind is its time
 * without them, and all kinds have the same share more, so that all together is what was
 * measured. */
static void stalls_of_samples(void **state)
{
    (void)state;
    for (int together = 0; together < 2; together++) {
        Samples       samples = {0};
        TraceStalls   stalls;
        SampleFigures teacher, forward;
        double        all = 0;
        for (int run = 0; run < 3; run++) add_stalled_run(&samples, 200, together);
        for (int64_t i = 0; i < samples.count; i++) all += samples.list[i].us;
        assert_int_equal(samples_find_stalls(&samples, NULL), 0);
        assert_float_equal(samples.stall_share, 0.9 / (20 * 0.151), 1e-3);
        SampleKey key = {OP_TEACHER, 0, 8, -1, -1, -1};
        assert_int_equal(samples_figures(&teacher, &samples, key, NULL), 0);
        key.op = OP_FORWARD;
        assert_int_equal(samples_figures(&forward, &samples, key, NULL), 0);
        assert_float_equal(teacher.mean, 101 * (1 + samples.stall_share), 0.1);
        assert_float_equal(teacher.spread, 1.4826 / 101, 1e-9);      /* 1, 0, 1 from the median */
        assert_float_equal(forward.mean, 50 * (1 + samples.stall_share), 1e-9);
        assert_float_equal(1200 * (teacher.mean + forward.mean), all, 1e-6 * all);
        assert_int_equal(samples_stalls(&stalls, &samples, NULL), 0);
        assert_int_equal(stalls.count, 6);       /* 60 stalls: the longest class is one in 32 */
        assert_float_equal(stalls_mean_ns(&stalls), 900000, 1000);
        assert_float_equal(stalls.per_ms, 60 / (all * 1e-3), 1e-9);
        assert_float_equal(stalls.common, together ? 1 : 0, 0);
        samples_free(&samples);
    }
}

/* Two devices whose work in a step is 100 us together in the mean, one 10 us above it, the other
 * below, in turns: sqrt((10^2 + 10^2) / (2 - 1)) / 100. A stall is not in it, nor a load, nor what
 * one device does alone. */
static void skew_of_samples(void **state)
{
    Instruction teacher = {.op = OP_TEACHER, .block = 0, .link = -1, .rows = 8};
    Instruction update = {.op = OP_UPDATE, .block = 0, .link = -1, .rows = 8};
    Instruction load = {.op = OP_LOAD, .block = 0, .link = -1, .rows = 8};
    Program     program = {.device_count = 2, .block_count = 1};
    Samples     samples = {0};
    Skew        skew;

    (void)state;
    for (int step = 0; step < 6; step++) {
        int64_t more = step % 2 ? 10000 : -10000;
        Span    spans[] = {{0, LANE_COMPUTE, &teacher, step, 0, 60000 + more},
                           {0, LANE_COMPUTE, &update, step, 70000, 110000},
                           {0, LANE_LOADER, &load, step, 0, 1000 * (step + 1)},
                           {1, LANE_COMPUTE, &teacher, step, 0, 60000 - more},
                           {1, LANE_COMPUTE, &update, step, 70000, 110000}};
        assert_int_equal(samples_add(&samples, &program, spans, step == 5 ? 3 : 5, 0, NULL), 0);
    }
    assert_int_equal(samples_skew(&skew, &samples, NULL), 0);
    assert_float_equal(skew.all, sqrt(200) / 100, 1e-12);
    assert_float_equal(skew.lasting, 0, 0);      /* runs of one step do not tell */
    samples.list[0].us += 500;
    samples.list[0].stall_us = 500;
    assert_int_equal(samples_skew(&skew, &samples, NULL), 0);
    assert_float_equal(skew.all, sqrt(200) / 100, 1e-12);
    samples_free(&samples);
}

/* Of two devices in four runs of eight steps: device 0 is off their mean by `run` per cent in all
 * steps of a run, above and below in turns, and by `step` in each, in turns too. */
static Skew skew_of_runs(int run, int step)
{
    Instruction teacher = {.op = OP_TEACHER, .block = 0, .link = -1, .rows = 8};
    Program     program = {.device_count = 2, .block_count = 1};
    Samples     samples = {0};
    Skew        skew;

    for (int r = 0; r < 4; r++) {
        Span spans[16];
        for (int i = 0; i < 8; i++) {
            int64_t more = 1000 * ((r % 2 ? run : -run) + (i % 2 ? step : -step));
            spans[2 * i] = (Span){0, LANE_COMPUTE, &teacher, i, 0, 100000 + more};
            spans[2 * i + 1] = (Span){1, LANE_COMPUTE, &teacher, i, 0, 100000 - more};
        }
        assert_int_equal(samples_add(&samples, &program, spans, 16, 0, NULL), 0);
    }
    assert_int_equal(samples_skew(&skew, &samples, NULL), 0);
    samples_free(&samples);
    return skew;
}

static void skew_that_lasts(void **state)
{
    Skew skew = skew_of_runs(10, 0);

    (void)state;
    assert_float_equal(skew.all, sqrt(200) / 100, 1e-12);
    assert_float_equal(skew.lasting, sqrt(200) / 100, 1e-12);
    skew = skew_of_runs(0, 10);
    assert_float_equal(skew.all, sqrt(200) / 100, 1e-12);
    assert_float_equal(skew.lasting, 0, 0);
    skew = skew_of_runs(10, 5);      /* 8 lasting^2 + short^2 = 8 * 200, both squares: 250 */
    assert_float_equal(skew.all, sqrt(250) / 100, 1e-12);
    assert_float_equal(skew.lasting, sqrt((8 * 200 - 250) / 7.0) / 100, 1e-12);
}

/* Readings of 90, 110 and 130 us: the machine is taken to be as fast as in their mean, or as the
 * trace says; between two of them it is as fast as both in the mean. */
static void slowness_between_readings(void **state)
{
    double us[] = {90, 110, 130};
    Speed  speed = {.us = us, .count = 3}, none = {0};
    double mean = speed_mean_us(&speed);

    (void)state;
    assert_float_equal(mean, 110, 1e-12);
    assert_float_equal(speed_mean_us(&none), 0, 0);
    assert_float_equal(speed_slowness(&speed, 0, mean), 100 / 110.0, 1e-12);
    assert_float_equal(speed_slowness(&speed, 1, mean), 120 / 110.0, 1e-12);
    assert_float_equal(speed_slowness(&speed, 2, mean), 130 / 110.0, 1e-12);
    assert_float_equal(speed_slowness(&speed, 1, 60), 2, 1e-12);
    assert_float_equal(speed_slowness(&speed, 1, 0), 1, 0);
    assert_float_equal(speed_slowness(&none, 5, 60), 1, 0);
    assert_int_equal(speed_rows(64, 3), 21);
    assert_int_equal(speed_rows(2, 3), 1);
}

/* Runs are scaled each by its own factor, where they begin too. */
static void samples_of_a_run_are_scaled(void **state)
{
    Instruction in = {.op = OP_UPDATE, .block = 0, .link = -1, .rows = 8};
    Program     program = {.device_count = 1, .block_count = 1};
    Samples     samples = {0};

    (void)state;
    for (int run = 0; run < 2; run++) {
        Span span = {0, LANE_COMPUTE, &in, 0, 3000, 10000};
        assert_int_equal(samples_add(&samples, &program, &span, 1, 0, NULL), 0);
    }
    samples_scale(&samples, (double[]){2, 0.5});
    assert_float_equal(samples.list[0].us, 14, 1e-12);
    assert_float_equal(samples.list[0].start_us, 6, 1e-12);
    assert_float_equal(samples.list[1].us, 3.5, 1e-12);
    samples_free(&samples);
}

/* Times that vary a little, by turns, are no stalls. */
static void no_stalls_in_even_times(void **state)
{
    Instruction in = {.op = OP_UPDATE, .block = 0, .link = -1, .rows = 8};
    Program     program = {.device_count = 1, .block_count = 1};
    Samples     samples = {0};
    TraceStalls stalls;

    (void)state;
    for (int i = 0; i < 50; i++) {
        Span span = {0, LANE_COMPUTE, &in, i, 0, 1000000 + 20000 * (i % 5)};
        assert_int_equal(samples_add(&samples, &program, &span, 1, 0, NULL), 0);
    }
    assert_int_equal(samples_find_stalls(&samples, NULL), 0);
    assert_float_equal(samples.stall_share, 0, 0);
    assert_int_equal(samples_stalls(&stalls, &samples, NULL), 0);
    assert_int_equal(stalls.count, 0);
    samples_free(&samples);
}

/* Of a sum the last device's end counts, step by step; another width or block is another sum. */
static void the_slowest_of_a_step_counts(void **state)
{
    static const int64_t us[2][4] = {{10, 50, 30, 1}, {20, 40, 60, 2}};
    Group         groups[] = {{.devices = (int[]){0, 1}, .count = 2},
                              {.devices = (int[]){0, 1, 2}, .count = 3}};
    Instruction   sum = {.op = OP_ALLREDUCE, .block = 0, .link = 0},
         wide = {.op = OP_ALLREDUCE, .block = 0, .link = 1},
         other = {.op = OP_ALLREDUCE, .block = 1, .link = 0};
    Program program = {.device_count = 3, .block_count = 2, .groups = groups, .group_count = 2};
    Samples       samples = {0};
    SampleFigures f;

    (void)state;
    for (int d = 0; d < 2; d++)                  /* as recorders are collected: device after
                                                  * device */
        for (int i = 0; i < 4; i++) {
            Span spans[] = {{d, LANE_REDUCE, &sum, i, 0, us[d][i] * 1000},
                            {d, LANE_REDUCE, &wide, i, 0, 900000},
                            {d, LANE_REDUCE, &other, i, 0, 900000}};
            assert_int_equal(samples_add(&samples, &program, spans, 3, 0, NULL), 0);
        }
    assert_int_equal(
        samples_slowest(&f, &samples, (SampleKey){OP_ALLREDUCE, 0, -1, 2, -1, -1}, NULL), 0);
    assert_int_equal(f.count, 4);                /* 20 50 60 2 */
    assert_float_equal(f.median, 35, 1e-12);
    assert_float_equal(f.mean, 33, 1e-12);
    assert_int_equal(
        samples_figures(&f, &samples, (SampleKey){OP_ALLREDUCE, 0, -1, 2, -1, -1}, NULL), 0);
    assert_int_equal(f.count, 8);
    assert_int_equal(samples_slowest(&f, &samples, (SampleKey){OP_UPDATE, 0, -1, 2, -1, -1}, NULL),
                     0);
    assert_int_equal(f.count, 0);
    samples_free(&samples);
}

static void early_steps_are_left_out(void **state)
{
    Instruction teacher = {.op = OP_TEACHER, .block = 0, .link = -1, .rows = 8};
    Program     program = {.device_count = 1, .block_count = 1};
    Samples     samples = {0};

    (void)state;
    for (int i = 0; i < 5; i++) {
        Span span = {0, LANE_COMPUTE, &teacher, i, 0, 1000};
        assert_int_equal(samples_add(&samples, &program, &span, 1, 3, NULL), 0);
    }
    assert_int_equal(samples.count, 2);
    samples_free(&samples);
}

/* ---- correcting ------------------------------------------------------------------- */

static const char trace_json[] = "{\"format\": \"pipebd-trace\", \"version\": 1, \"name\": \"t\", "
                                 "\"provenance\": {\"kind\": \"measured\", "
                                 "\"source\": \"s\"}, \"workload\": {\"name\": \"w\", \"batch\": "
                                 "8, \"samples\": 80}, \"devices\": [{\"kind\": \"d\","
                                 " \"count\": 2}], \"blocks\": [{\"name\": \"a\", \"timings\": "
                                 "[{\"batch\": 4, \"teacher_us\": 5, \"forward_us\": 6, "
                                 "\"backward_us\": 7, \"update_us\": 8}, {\"batch\": 8, "
                                 "\"teacher_us\": 10, \"forward_us\": 12, \"backward_us\": 14, "
                                 "\"update_us\": 16, \"busy\": {\"teacher_us\": 11, "
                                 "\"forward_us\": 12, \"backward_us\": 20, \"update_us\": 16}, "
                                 "\"single_block\": {\"teacher_us\": 9, \"forward_us\": 11, "
                                 "\"backward_us\": 13, \"update_us\": 15, \"contended\": "
                                 "{\"teacher_us\": 10, \"forward_us\": 11, \"backward_us\": 13, "
                                 "\"update_us\": 15}}}]}]}";

/* TEACHER on 8 rows was predicted at 10 us and took 15: that point grows by half, alone and
 * busy, and no other. */
static void only_what_was_measured_is_corrected(void **state)
{
    Instruction teacher = {.op = OP_TEACHER, .block = 0, .link = -1, .rows = 8};
    Program     program = {.device_count = 1, .block_count = 1};
    Span        p = {0, LANE_COMPUTE, &teacher, 0, 0, 10000},
         m = {0, LANE_COMPUTE, &teacher, 0, 500, 15500};
    Samples     predicted = {0}, measured = {0};
    Trace      *trace = NULL, *corrected = NULL;
    Text        text = {0};
    Error       err = {""};

    (void)state;
    assert_int_equal(samples_add(&predicted, &program, &p, 1, 0, NULL), 0);
    assert_int_equal(samples_add(&measured, &program, &m, 1, 0, NULL), 0);
    if (trace_parse(&trace, "t", trace_json, sizeof trace_json - 1, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(correct_trace(&text, trace, &predicted, &measured, &(bool){false}, 1, &err),
                     0);
    if (trace_parse(&corrected, "c", text_string(&text), text.length, &err) != 0)
        fail_msg("%s", err.text);
    const CurvePoint *points = corrected->blocks[0].work[WORK_TEACHER][0].points;
    assert_int_equal(points[0].ns, 5000);
    assert_int_equal(points[1].ns, 15000);
    assert_int_equal(points[1].contended_ns, 16500);
    assert_int_equal(corrected->blocks[0].work[WORK_BACKWARD][0].points[1].ns, 14000);
    assert_int_equal(corrected->blocks[0].work[WORK_BACKWARD][0].points[1].contended_ns, 20000);
    assert_int_equal(points[1].single_block_ns, 9000);
    assert_int_equal(points[1].single_block_contended_ns, 10000);
    trace_free(corrected);
    text_free(&text);

    /* in steps of one block it is those that grow */
    assert_int_equal(correct_trace(&text, trace, &predicted, &measured, &(bool){true}, 1, &err), 0);
    if (trace_parse(&corrected, "c", text_string(&text), text.length, &err) != 0)
        fail_msg("%s", err.text);
    points = corrected->blocks[0].work[WORK_TEACHER][0].points;
    assert_int_equal(points[1].ns, 10000);
    assert_int_equal(points[1].contended_ns, 11000);
    assert_int_equal(points[1].single_block_ns, 13500);
    assert_int_equal(points[1].single_block_contended_ns, 15000);
    samples_free(&predicted);
    samples_free(&measured);
    text_free(&text);
    trace_free(trace);
    trace_free(corrected);
}

/* ---- for real ------------------------------------------------------------------------ */

static const char workload_json[] =
    "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"two\", \"input\": "
    "{\"channels\": 3, \"height\": 6, "
    "\"width\": 6}, \"classes\": 4, \"batch\": 6, \"samples\": 60, \"training\": "
    "{\"learning_rate\": 0.1, \"momentum\": 0.9,"
    " \"nesterov\": true, \"weight_decay\": 0.0001}, \"blocks\": [{\"name\": \"first\", \"loss\": "
    "\"mse\", \"teacher\": "
    "[{\"layer\": \"conv\", \"out\": 8, \"kernel\": 3, \"bias\": true}, {\"layer\": \"relu\"}], "
    "\"student\": "
    "[{\"layer\": \"separable\", \"out\": 8, \"kernel\": 3, \"batchnorm\": true, \"relu\": "
    "true}]}, {\"name\": \"second\", "
    "\"loss\": \"soft_cross_entropy\", \"teacher\": [{\"layer\": \"avgpool\", \"global\": true}, "
    "{\"layer\": \"flatten\"}, "
    "{\"layer\": \"linear\", \"out\": 4}], \"student\": [{\"layer\": \"avgpool\", \"global\": "
    "true}, {\"layer\": \"flatten\"}, "
    "{\"layer\": \"linear\", \"out\": 4}]}]}";

typedef struct {
    Workload  *workload;
    DeviceSpec devices;
    Data      *data;
    Trace     *trace;
} Bench;

static Bench set_up(const char *devices, bool queues)
{
    Bench b = {0};
    Text  text = {0};
    Error err = {""};

    if (workload_parse(&b.workload, "two", workload_json, sizeof workload_json - 1, &err) != 0
        || (queues ? async_devices : device_spec_parse)(&b.devices, devices, &err) != 0
        || data_open(&b.data, "synthetic", b.workload, DATA_TRAIN, 0, &err) != 0)
        fail_msg("%s", err.text);
    ProfileOptions options = {.workload = b.workload, .devices = &b.devices, .data = b.data,
                              .batch = 6, .trials = 6, .queue_depth = 2, .lanes = b.devices.count,
                              .prefetch = 0, .seed = 3, .date = "2026-11-24", .note = "a test"};
    if (profile(&text, &options, &err) != 0) fail_msg("%s", err.text);
    if (trace_parse(&b.trace, "two", text_string(&text), text.length, &err) != 0)
        fail_msg("%s", err.text);
    text_free(&text);
    return b;
}

static void tear_down(Bench *b)
{
    trace_free(b->trace);
    data_free(b->data);
    workload_free(b->workload);
}

/* Three devices share 6 rows as 6, 3 or 2: those are timed, and messages of one row. */
static void look_at_profile(bool queues)
{
    Bench b = set_up("cpu:3", queues);

    assert_string_equal(b.trace->provenance_kind, "measured");
    assert_non_null(strstr(b.trace->notes, queues ? "6 steps a point in 1 turn after 3 of"
                                                  : "6 steps a point in 3 turns after 3 of"));
    assert_int_equal(b.trace->batch, 6);
    assert_int_equal(b.trace->samples, 60);
    assert_int_equal(b.trace->blocking_transfers, !queues);
    for (int block = 0; block < 2; block++)
        for (int w = 0; w < WORK_COUNT; w++) {
            const Curve *curve = &b.trace->blocks[block].work[w][0];
            assert_int_equal(curve->count, 3);
            assert_int_equal(curve->points[0].x, 2);
            assert_int_equal(curve->points[1].x, 3);
            assert_int_equal(curve->points[2].x, 6);
        }
    assert_int_equal(b.trace->links.p2p.points[0].x, 4 * 4);             /* a row of four numbers */
    assert_int_equal(b.trace->links.p2p.points[b.trace->links.p2p.count - 1].x, 6 * 8 * 6 * 6 * 4);
    assert_int_equal(b.trace->links.reduce_count, 2);
    assert_int_equal(b.trace->links.reduces[1].devices, 3);
    assert_true(b.trace->blocks[1].gradient_bytes >= (4 * 8 + 4) * 4);    /* and padding */
    assert_int_equal(b.trace->algorithm_count, queues ? 2 : 0);
    if (queues) assert_string_equal(b.trace->algorithms[1], "linear: the second");
    assert_true(b.trace->loader.batch_ns > 0 || b.trace->loader.sample_ns > 0);
    tear_down(&b);
}

static void a_profile_has_what_schedules_need(void **state) { (void)state; look_at_profile(false); }
static void a_profile_of_devices_that_queue(void **state) { (void)state; look_at_profile(true); }

static int count_of(const char *text, const char *word)
{
    int count = 0;

    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) count++;
    return count;
}

static void put(const char *root, const char *name, const char *text)
{
    char *path = format_text("%s%s", root, name);

    spill(path, text);
    free(path);
}

/* Groups of both versions: the least of a group and of those around it counts. */
static void a_quota_is_read(void **state)
{
    static const char *const folders[] = {"/proc", "/proc/self", "/sys", "/sys/fs",
                                          "/sys/fs/cgroup", "/sys/fs/cgroup/job",
                                          "/sys/fs/cgroup/job/step", "/sys/fs/cgroup/cpu",
                                          "/sys/fs/cgroup/cpu/job"};
    char *root = temp_make();

    (void)state;
    assert_true(cpu_quota(root) <= 0);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = format_text("%s%s", root, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        free(path);
    }
    put(root, "/proc/self/cgroup", "0::/job/step\n");
    assert_true(cpu_quota(root) <= 0);
    put(root, "/sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
    assert_true(cpu_quota(root) <= 0);
    put(root, "/sys/fs/cgroup/job/cpu.max", "150000 100000\n");
    assert_true(fabs(cpu_quota(root) - 1.5) < 1e-9);
    put(root, "/sys/fs/cgroup/job/step/cpu.max", "400000 100000\n");
    assert_true(fabs(cpu_quota(root) - 1.5) < 1e-9);
    put(root, "/proc/self/cgroup", "5:cpuset:/job/step\n4:cpuacct,cpu:/job\n");
    assert_true(cpu_quota(root) <= 0);
    put(root, "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "50000\n");
    put(root, "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    assert_true(fabs(cpu_quota(root) - 0.5) < 1e-9);
    put(root, "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
    assert_true(cpu_quota(root) <= 0);
    temp_remove(root);
}

/* What the table and the JSON say of the machine, by the share of a core and by how much runs
 * differ. */
static void look_at_words(Validation *v, const Scenario *s)
{
    static const struct { double share, error, quota; const char *word;
    } cases[] = {{1, 0.02, 0, NULL},
                 {1, 0.04, 0, "is not steady: an error is known to 4.0 % only"},
                 {0.9, 0.04, 0, "a device had 90 % of its core"},
                 {1, 0.02, 1.5, NULL},
                 {0.5, 0.02, 1.5, "a quota of 1.5 processors"}};

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        Text text = {0};

        v->core_share = cases[c].share;
        v->quota = cases[c].quota;
        for (int i = 0; i < v->row_count; i++) v->rows[i].standard_error = 0;
        v->rows[1].standard_error = cases[c].error;
        validation_table(v, s, &text);
        if (cases[c].word) assert_non_null(strstr(text_string(&text), cases[c].word));
        if (!cases[c].word) assert_null(strstr(text_string(&text), "not steady"));
        text_free(&text);
        validation_json(v, s, &text);
        assert_int_equal(count_of(text_string(&text),
                                  cases[c].word ? cases[c].word : "\"plausibility_warning\": null"),
                         1);
        text_free(&text);
    }
}

/* DP predicted in 2 s, LS in 1.9, TR in 1.88: LS and TR are one. TR is not possible in the last
 * case. */
static void the_order_is_what_is_known(void **state)
{
    static const struct { double dp, ls, tr, known; bool same; } cases[] = {
        {2, 1.9, 1.88, 0.01, true},
        {1.9, 2, 2, 0.01, false},        /* slower by 0.1, known to 0.02 and 0.019 */
        {1.9, 2, 2, 0.03, true},
        {2, 1.5, 1.9, 0.001, true},
        {2, 2.1, -1, 0.01, false}};

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        Validation v = {.row_count = 3};
        const double predicted[] = {2, 1.9, 1.88};
        const double measured[] = {cases[c].dp, cases[c].ls, cases[c].tr};
        for (int i = 0; i < 3; i++)
            v.rows[i] = (ValidationRow){.schedule = (Schedule)i, .predicted_s = predicted[i],
                                        .measured_s = measured[i],
                                        .error = measured[i] / predicted[i] - 1,
                                        .standard_error = cases[c].known};
        if (measured[2] < 0) strcpy(v.rows[2].why, "too small");
        validation_conclude(&v);
        assert_int_equal(v.same_order, cases[c].same);
        assert_float_equal(v.rows[1].predicted_speedup, 2 / 1.9, 1e-6);
        assert_float_equal(v.rows[1].measured_speedup, measured[0] / measured[1], 1e-6);
    }
}

static void look_at_validation(bool queues)
{
    Bench      b = set_up("cpu:2", queues);
    Scenario   scenario;
    Validation v;
    Text       text = {0};
    Error      err = {""};
    ScenarioOptions cluster = {.queue_depth = 2};

    if (scenario_build(&scenario, b.trace, &cluster, &err) != 0) fail_msg("%s", err.text);
    ValidateOptions options = {.workload = b.workload, .devices = &b.devices, .data = b.data,
                               .scenario = &scenario,
                               .schedules = 1u << SCHEDULE_DP | 1u << SCHEDULE_LS
                                            | 1u << SCHEDULE_TR | 1u << SCHEDULE_DPU
                                            | 1u << SCHEDULE_IR | 1u << SCHEDULE_AHD,
                               .seconds = 0.01,
                               .rounds = 2,
                               .lanes = 2,
                               .prefetch = 0,
                               .seed = 3};
    if (validate(&v, &options, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(v.row_count, 6);
    assert_true(v.best >= 0);
    for (int i = 0; i < v.row_count; i++) {
        const ValidationRow *row = &v.rows[i];
        assert_string_equal(row->why, "");
        assert_true(row->steps >= 12);
        assert_true(row->predicted_s > 0 && row->least_s > 0);
        assert_true(row->least_s <= row->most_s && row->measured_s > 0 && row->speed > 0);
        assert_float_equal(row->error, row->measured_s / row->predicted_s - 1, 1e-6);
        if (queues) assert_float_equal(row->speed, 1, 0);        /* no readings */
        assert_true(row->op[OP_TEACHER].predicted_us > 0 && row->op[OP_TEACHER].measured_us > 0);
        char steps[64];
        snprintf(steps, sizeof steps, "\"steps\": %lld,", (long long)row->steps + (queues ? 3 : 0));
        /* warm-up included */
        assert_non_null(strstr(text_string(&row->predicted_timeline), steps));
        assert_non_null(strstr(text_string(&row->measured_timeline), steps));
        /* Both interpreters did the same: a box for every box (fewer than TIMELINE_SPANS here). */
        assert_int_equal(count_of(text_string(&row->predicted_timeline), "\"op\": \"TEACHER\""),
                         count_of(text_string(&row->measured_timeline), "\"op\": \"TEACHER\""));
        assert_int_equal(count_of(text_string(&row->predicted_timeline), "\"op\": \"UPDATE\""),
                         count_of(text_string(&row->measured_timeline), "\"op\": \"UPDATE\""));
    }
    assert_float_equal(v.rows[0].measured_speedup, 1, 0);
    validation_json(&v, &scenario, &text);
    Json *doc;
    if (json_doc_parse(&doc, "validation", text_string(&text), text.length, &err) != 0)
        fail_msg("%s", err.text);
    json_doc_free(doc);
    text_free(&text);
    look_at_words(&v, &scenario);
    validation_free(&v);
    scenario_free(&scenario);
    tear_down(&b);
}

static void validation_runs_every_schedule(void **state) { (void)state; look_at_validation(false); }
static void validation_of_devices_that_queue(void **state)
{
    (void)state;
    look_at_validation(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_of_samples),
        cmocka_unit_test(stalls_of_samples),
        cmocka_unit_test(no_stalls_in_even_times),
        cmocka_unit_test(skew_of_samples),
        cmocka_unit_test(skew_that_lasts),
        cmocka_unit_test(slowness_between_readings),
        cmocka_unit_test(samples_of_a_run_are_scaled),
        cmocka_unit_test(the_slowest_of_a_step_counts), cmocka_unit_test(early_steps_are_left_out),
        cmocka_unit_test(only_what_was_measured_is_corrected),
        cmocka_unit_test(a_quota_is_read),
        cmocka_unit_test(a_profile_has_what_schedules_need),
        cmocka_unit_test(a_profile_of_devices_that_queue),
        cmocka_unit_test(the_order_is_what_is_known),
        cmocka_unit_test(validation_runs_every_schedule),
        cmocka_unit_test(validation_of_devices_that_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
