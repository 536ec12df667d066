/* The store: what programs that use it must be like, and what the simulator makes of them, by
 * hand. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "schedule/verify.h"
#include "sim/memory.h"
#include "sim/sim.h"

/* Two blocks: teacher 10 us, forward 20, backward 30, update 5 whatever the rows; boundaries of 100
 * bytes a row; weights of a teacher block 1,000 bytes, of a student 200, its state 400. A tier of
 * each machine: a read takes 70 us, a write 15, one at a time; what moves weights, 1 us a 10
 * bytes. */
static const char text[] =
    "{\"format\": \"pipebd-trace\", \"version\": 2, \"name\": \"hand\", \"provenance\": {\"kind\": "
    "\"modelled\", \"source\": \"by hand\"},"
    "\"workload\": {\"name\": \"w\", \"batch\": 4, \"samples\": 8, \"epochs\": 3}, \"devices\": "
    "[{\"kind\": \"d\", \"count\": %d}],"
    "\"input_bytes\": 100, \"blocks\": ["
    "{\"name\": \"a\", \"output_bytes\": 100, \"teacher\": {\"weight_bytes\": 1000}, \"student\": "
    "{\"weight_bytes\": 200, \"state_bytes\": 400},"
    " \"timings\": [{\"batch\": 2, \"teacher_us\": 10, \"forward_us\": 20, \"backward_us\": 30, "
    "\"update_us\": 5},"
    "{\"batch\": 4, \"teacher_us\": 10, \"forward_us\": 20, \"backward_us\": 30, \"update_us\": "
    "5}]},"
    "{\"name\": \"b\", \"output_bytes\": 100, \"teacher\": {\"weight_bytes\": 1000}, \"student\": "
    "{\"weight_bytes\": 200, \"state_bytes\": 400},"
    " \"timings\": [{\"batch\": 2, \"teacher_us\": 10, \"forward_us\": 20, \"backward_us\": 30, "
    "\"update_us\": 5},"
    "{\"batch\": 4, \"teacher_us\": 10, \"forward_us\": 20, \"backward_us\": 30, \"update_us\": "
    "5}]}],"
    "%s\"storage\": [{\"name\": \"host\", \"kind\": \"memory\", \"size_bytes\": %d, \"read\": [%s],"
    " \"write\": [{\"row_bytes\": 100, \"rows\": 4, \"in_flight\": 1, \"us\": 15}, {\"row_bytes\": "
    "100, \"rows\": 2, \"in_flight\": 1, \"us\": 15}]}]}";

static const char serial[] = "{\"row_bytes\": 100, \"rows\": 4, \"in_flight\": 1, \"us\": 70},"
                             "{\"row_bytes\": 100, \"rows\": 2, \"in_flight\": 1, \"us\": 70}";
/* Two at a time take 100 us each. */
static const char two[] = "{\"row_bytes\": 100, \"rows\": 4, \"in_flight\": 1, \"us\": 70}, "
                          "{\"row_bytes\": 100, \"rows\": 4, \"in_flight\": 2, \"us\": 100},"
                          "{\"row_bytes\": 100, \"rows\": 2, \"in_flight\": 1, \"us\": 70}, "
                          "{\"row_bytes\": 100, \"rows\": 2, \"in_flight\": 2, \"us\": 100}";

typedef struct {
    Trace   *trace;
    Scenario s;
    Program *program;
} Hand;

static void open_hand(Hand *h, int devices, const char *read, const char *more, int64_t size)
{
    Error err = {""};
    char *json = format_text(text, devices, more, (int)size, read);

    ok(trace_parse(&h->trace, "hand", json, strlen(json), &err), &err);
    ok(scenario_build(&h->s, h->trace, &(ScenarioOptions){.queue_depth = 2}, &err), &err);
    free(json);
    assert_int_equal(h->s.epochs, 3);
    h->program = program_new(devices, 2, 4, 6);
    h->program->epochs = 3;
}

static void close_hand(Hand *h)
{
    program_free(h->program);
    scenario_free(&h->s);
    trace_free(h->trace);
}

/* Phase number of device does these steps. */
static void phase(Hand *h, int device, int64_t first_step, int64_t steps, int number)
{
    Code *code = &h->program->devices[device];

    assert_int_equal(program_begin_phase(code, steps, NULL), 0);
    code->phases[code->phase_count - 1].first_step = first_step;
    code->phases[code->phase_count - 1].number = number;
}

static void emit(Hand *h, int device, Op op, int block, int64_t row, int64_t rows)
{
    assert_int_equal(program_emit(h->program, &h->program->devices[device],
                                  (Instruction){op, block, -1, row, rows, 0}, NULL),
                     0);
}

static void train(Hand *h, int device, int block, int64_t row, int64_t rows)
{
    emit(h, device, OP_FORWARD, block, row, rows);
    emit(h, device, OP_BACKWARD, block, row, rows);
    emit(h, device, OP_UPDATE, block, row, rows);
}

/* Block 0 from the data, with the teacher; its boundary is stored, or not. */
static void first_block(Hand *h, int device, bool stores)
{
    emit(h, device, OP_LOAD, 0, 0, 4);
    emit(h, device, OP_TEACHER, 0, 0, 4);
    if (stores) emit(h, device, OP_STORE, 1, 0, 4);
    train(h, device, 0, 0, 4);
}

/* Block 1 from boundary 1, which is fetched, with the teacher. */
static void second_block(Hand *h, int device)
{
    emit(h, device, OP_FETCH, 1, 0, 4);
    emit(h, device, OP_TEACHER, 1, 0, 4);
    train(h, device, 1, 0, 4);
}

/* One block after another on one device, three epochs of two steps each. */
static void one_after_another(Hand *h)
{
    h->program->tier[1] = h->program->tier[2] = 0;
    h->program->home = 0;
    phase(h, 0, 0, 2, 0);
    emit(h, 0, OP_ONLOAD, 0, 0, 0);
    first_block(h, 0, true);
    phase(h, 0, 2, 4, 1);
    emit(h, 0, OP_LOAD, 0, 0, 4);
    emit(h, 0, OP_FETCH, 1, 0, 4);
    train(h, 0, 0, 0, 4);
    emit(h, 0, OP_OFFLOAD, 0, 0, 0);
    phase(h, 0, 0, 2, 2);
    emit(h, 0, OP_ONLOAD, 1, 0, 0);
    emit(h, 0, OP_FETCH, 1, 0, 4);
    emit(h, 0, OP_TEACHER, 1, 0, 4);
    emit(h, 0, OP_STORE, 2, 0, 4);
    train(h, 0, 1, 0, 4);
    phase(h, 0, 2, 4, 3);
    emit(h, 0, OP_FETCH, 1, 0, 4);
    emit(h, 0, OP_FETCH, 2, 0, 4);
    train(h, 0, 1, 0, 4);
    emit(h, 0, OP_OFFLOAD, 1, 0, 0);
}

static SimResult run(const Hand *h, bool step_by_step)
{
    SimResult result;
    Error     err = {""};

    ok(program_verify(h->program, 2, &err), &err);
    ok(sim_run(&result, h->program, &h->s, &(SimOptions){.step_by_step = step_by_step}, &err),
       &err);
    return result;
}

/* slow, of step by step, takes as long as the run that skips periods. */
static void agrees_when_skipping(const Hand *h, const SimResult *slow)
{
    SimResult fast = run(h, false);

    assert_int_equal(fast.epoch_ns, slow->epoch_ns);
    sim_free(&fast);
}

/* Two steps with the teacher and four without, for each block; all else is waiting for the one lane
 * of the tier. */
static void a_phase_waits_for_what_it_fetches(void **state)
{
    (void)state;
    Hand      h;
    SimResult r;

    open_hand(&h, 1, serial, "", 1 << 20);
    one_after_another(&h);
    r = run(&h, true);
    int64_t compute = 2 * 65 + 4 * 55 + 2 * 65 + 4 * 55;         /* us */
    assert_int_equal(r.shares[0][SHARE_TEACHER] + r.shares[0][SHARE_STUDENT]
                         + r.shares[0][SHARE_UPDATE],
                     compute * 1000);
    assert_int_equal(r.epoch_ns, compute * 1000 + r.shares[0][SHARE_STORAGE]);
    assert_true(r.stores);
    agrees_when_skipping(&h, &r);
    sim_free(&r);
    close_hand(&h);
}

/* Boundary 1 written in two steps and read in four; no weights move.
 *
 *   step     0         1         phase 1: step 2      3         4         5
 *   compute  0..65     65..130            200..255    270..325  340..395  410..465
 *   write    10..25    75..90
 *   read                                  130..200, 200..270, 270..340, 340..410 */
static void reads_are_asked_for_ahead(void **state)
{
    (void)state;
    Hand      h;
    SimResult r;

    open_hand(&h, 2, serial, "", 1 << 20);
    h.program->tier[1] = 0;
    phase(&h, 0, 0, 2, 0);
    first_block(&h, 0, true);
    phase(&h, 0, 2, 4, 1);
    emit(&h, 0, OP_LOAD, 0, 0, 4);
    emit(&h, 0, OP_FETCH, 1, 0, 4);
    train(&h, 0, 0, 0, 4);
    phase(&h, 1, 0, 6, 0);                               /* a device of its own: all steps with the
                                                          * teacher */
    emit(&h, 1, OP_LOAD, 0, 0, 4);
    emit(&h, 1, OP_TEACHER, 0, 0, 4);
    emit(&h, 1, OP_TEACHER, 1, 0, 4);
    train(&h, 1, 1, 0, 4);
    r = run(&h, true);
    assert_int_equal(r.epoch_ns, 465000);
    assert_int_equal(r.shares[0][SHARE_STORAGE], 115000);
    sim_free(&r);
    close_hand(&h);
}

/* One device: block 0 in two steps that store boundary 1 and four that fetch it, then block 1. */
static void store_then_fetch(Hand *h)
{
    h->program->tier[1] = 0;
    phase(h, 0, 0, 2, 0);
    first_block(h, 0, true);
    phase(h, 0, 2, 4, 1);
    emit(h, 0, OP_LOAD, 0, 0, 4);
    emit(h, 0, OP_FETCH, 1, 0, 4);
    train(h, 0, 0, 0, 4);
    phase(h, 0, 0, 6, 2);
    second_block(h, 0);
}

/* The device reads and writes itself: steps take 10 + 15 + 55, then 70 + 55, then 70 + 65. */
static void requests_of_the_device_itself_take_its_time(void **state)
{
    (void)state;
    Hand       h;
    SimResult  r;
    HostMemory host[1];

    open_hand(&h, 1, serial, "", 1 << 20);
    store_then_fetch(&h);
    assert_int_equal(memory_host(host, h.program, &h.s, NULL), 0);
    assert_int_equal(host[0].buffer_bytes, 2 * 400);
    h.trace->tiers[0].read.device_share = h.trace->tiers[0].write.device_share = 1;
    r = run(&h, true);
    assert_int_equal(r.epoch_ns, 1000 * (2 * 80 + 4 * 125 + 6 * 135));
    assert_int_equal(r.shares[0][SHARE_STORAGE], 1000 * (2 * 15 + 4 * 70 + 6 * 70));
    agrees_when_skipping(&h, &r);
    sim_free(&r);
    /* its own buffers are the only ones */
    assert_int_equal(memory_host(host, h.program, &h.s, NULL), 0);
    assert_int_equal(host[0].buffer_bytes, 0);
    close_hand(&h);
}

/* Phase 0 is a part, phases 1 and 2 are another, 100 us later; block 0's networks are made before
 * the run, block 1's two before phase 2, in 10 us each. */
static void parts_and_networks_take_time(void **state)
{
    (void)state;
    Hand      h;
    SimResult r;

    open_hand(&h, 1, serial, "", 1 << 20);
    store_then_fetch(&h);
    h.trace->tiers[0].read.device_share = h.trace->tiers[0].write.device_share = 1;
    h.trace->part_ns = 100000;
    h.trace->network_ns = 10000;
    r = run(&h, true);
    assert_int_equal(r.epoch_ns, 1000 * (2 * 80 + 100 + 4 * 125 + 2 * 10 + 6 * 135));
    agrees_when_skipping(&h, &r);
    sim_free(&r);
    close_hand(&h);
}

/* A phase of the second part on device 0 begins 7 us after that of the first has ended on device 1,
 * which is longer; of the same networks with as many rows none is made again. Where the trace does
 * not say that parts take time, it begins when its own is over. */
static void all_meet_between_parts(void **state)
{
    (void)state;
    Hand      h;
    SimResult r;

    open_hand(&h, 2, serial, "", 1 << 20);
    h.program->tier[1] = 0;
    h.trace->tiers[0].read.device_share = h.trace->tiers[0].write.device_share = 1;
    h.trace->network_ns = 10000;
    h.trace->part_ns = 7000;
    phase(&h, 0, 0, 2, 0);
    first_block(&h, 0, true);                            /* 2 * 80 */
    phase(&h, 0, 2, 4, 1);
    first_block(&h, 0, false);                           /* 4 * 65 */
    phase(&h, 1, 0, 6, 0);
    emit(&h, 1, OP_LOAD, 0, 0, 4);
    emit(&h, 1, OP_TEACHER, 0, 0, 4);
    emit(&h, 1, OP_TEACHER, 1, 0, 4);
    train(&h, 1, 1, 0, 4);                               /* 6 * 75 */
    r = run(&h, true);
    assert_int_equal(r.epoch_ns, 1000 * (6 * 75 + 7 + 4 * 65));
    agrees_when_skipping(&h, &r);
    sim_free(&r);
    h.trace->part_ns = 0;
    r = run(&h, true);
    assert_int_equal(r.epoch_ns, 1000 * 6 * 75);         /* 2 * 80 + 4 * 65 is less */
    sim_free(&r);
    close_hand(&h);
}

/* A read of 70 us, of which 35 are the device's: it begins with them when the other 35 are over.
 *
 *   compute           165..255, with 35 of reading | 255..345 | 345..435 | 435..525
 *   read   130..200, 200..270 | 270..340 asked for at 165 | 340..410 at 255
 *
 * Of block 1 the first read is over at 525 + 70, its step at + 65; later ones take 35 + 65 each. */
static void a_share_of_a_read_takes_the_devices_time(void **state)
{
    (void)state;
    Hand      h;
    SimResult r;

    open_hand(&h, 1, serial, "", 1 << 20);
    store_then_fetch(&h);
    h.trace->tiers[0].read.device_share = 0.5;
    r = run(&h, true);
    assert_int_equal(r.epoch_ns, 525000 + 70000 + 65000 + 5 * 100000);
    assert_int_equal(r.shares[0][SHARE_STORAGE], 1000 * (70 + 3 * 35 + 70 + 5 * 35));
    agrees_when_skipping(&h, &r);
    sim_free(&r);
    close_hand(&h);
}

/* Two devices store half of boundary 1 each and read half of it, two requests at a time. A step of
 * phase 0 takes 2 * 10 + 2 * 55 = 130, so phase 1 begins at 260, with two reads of each device:
 *
 *   lane 0 | dev 0, step 2: 260..330, alone         | dev 1, step 2: 330..430, beside another
 *   lane 1 | dev 0, step 3: 260..360, beside another | dev 1, step 3: 360..460, beside another
 *
 * Device 1 waits from 260 to 430, and as its sums are device 0's no longer after that. */
static void requests_share_a_tier(void **state)
{
    (void)state;
    Hand      h;
    SimResult r;

    open_hand(&h, 2, two, "", 1 << 20);
    h.program->tier[1] = 0;
    int group = program_group(h.program, (int[]){0, 1}, 2, NULL);
    for (int d = 0; d < 2; d++) {
        for (int p = 0; p < 2; p++) {
            phase(&h, d, p ? 2 : 0, p ? 4 : 2, p);
            emit(&h, d, OP_LOAD, 0, 2 * d, 2);
            emit(&h, d, p ? OP_FETCH : OP_TEACHER, p, 2 * d, 2);
            if (!p) emit(&h, d, OP_STORE, 1, 2 * d, 2);
            emit(&h, d, OP_TEACHER, 1, 2 * d, 2);
            for (int b = 0; b < 2; b++) {
                emit(&h, d, OP_FORWARD, b, 2 * d, 2);
                emit(&h, d, OP_BACKWARD, b, 2 * d, 2);
                program_emit(h.program, &h.program->devices[d],
                             (Instruction){OP_ALLREDUCE, b, group, 2 * d, 2, 0}, NULL);
            }
            for (int b = 0; b < 2; b++) emit(&h, d, OP_UPDATE, b, 2 * d, 2);
        }
    }
    r = run(&h, true);
    assert_int_equal(r.shares[1][SHARE_STORAGE], 170000);
    agrees_when_skipping(&h, &r);
    sim_free(&r);
    close_hand(&h);
}

/* On two machines, device 1's rows of a boundary that device 0 made come over the link. */
static void rows_of_another_machine_take_the_link(void **state)
{
    (void)state;
    Hand      h;
    SimResult r;
    int64_t   waits[2];

    for (int us = 0; us < 2; us++) {
        char *nodes = format_text("\"nodes\": {\"devices_per_node\": 1, \"p2p\": [{\"bytes\": 0, "
                                  "\"us\": %d}, {\"bytes\": 400, \"us\": %d}]},",
                                  40 * us, 40 * us);
        open_hand(&h, 2, serial, nodes, 1 << 20);
        free(nodes);
        h.program->tier[1] = 0;
        phase(&h, 0, 0, 2, 0);
        first_block(&h, 0, true);
        phase(&h, 0, 2, 4, 1);
        first_block(&h, 0, false);
        phase(&h, 1, 0, 2, 1);                           /* idle until boundary 1 is whole */
        second_block(&h, 1);
        phase(&h, 1, 2, 4, 2);
        second_block(&h, 1);
        r = run(&h, true);
        /* whole at 90; the first rows at 160, and 200 over the link */
        waits[us] = r.shares[1][SHARE_STORAGE];
        sim_free(&r);
        HostMemory host[2];
        assert_int_equal(memory_host(host, h.program, &h.s, NULL), 0);
        assert_int_equal(host[0].stored_bytes[0], 800);
        assert_int_equal(host[1].stored_bytes[0], 0);
        close_hand(&h);
    }
    assert_int_equal(waits[1] - waits[0], 2 * 40000);    /* of the first rows of each phase; later
                                                          * ones are asked for ahead */
}

/* Weights: on the device, in host memory, and while they come and go. */
static void memory_counts_what_comes_and_goes(void **state)
{
    (void)state;
    Hand       h;
    Memory     memory[1];
    HostMemory host[1];
    Error      err = {""};

    open_hand(&h, 1, serial, "", 1 << 20);
    one_after_another(&h);
    assert_int_equal(memory_peak(memory, h.program, &h.s, NULL), 0);
    /* phase 1 has student 0 (600) and brings teacher and student 1 (1,600); phase 2 has those and
     * takes student 0 back */
    assert_int_equal(memory[0].parts[MEMORY_WEIGHTS] + memory[0].parts[MEMORY_STATE], 1600 + 600);
    assert_int_equal(memory_host(host, h.program, &h.s, NULL), 0);
    assert_int_equal(host[0].stored_bytes[0], 2 * 8 * 100);      /* boundaries 1 and 2 in the last
                                                                  * phases */
    assert_int_equal(host[0].weight_bytes, 2 * 1600);
    assert_int_equal(host[0].buffer_bytes, 2 * 2 * 400);
    assert_int_equal(memory_in_tier(&host[0], h.program, h.trace, 0), 1600 + 3200 + 1600);
    h.trace->tiers[0].size_bytes = 6400;
    assert_int_equal(memory_host_fits(host, h.program, &h.s, &err), 0);
    h.trace->tiers[0].size_bytes = 6399;
    assert_int_equal(memory_host_fits(host, h.program, &h.s, &err), -1);
    assert_non_null(strstr(err.text, "too large for storage \"host\" of machine 0"));
    close_hand(&h);
}

/* ---- the verifier ------------------------------------------------------------------- */

/* Breaks an instruction or a phase of one_after_another() and expects a refusal with these
 * words. */
static void refuses(int at, Instruction broken, int phase_at, Phase other, int tier,
                    const char *words)
{
    Hand  h;
    Error err = {""};

    open_hand(&h, 1, serial, "", 1 << 20);
    one_after_another(&h);
    assert_int_equal(program_verify(h.program, 2, &err), 0);
    Code *code = &h.program->devices[0];
    if (at >= 0) code->code[at] = broken;
    if (phase_at >= 0) {
        code->phases[phase_at].steps = other.steps;
        code->phases[phase_at].first_step = other.first_step;
        code->phases[phase_at].number = other.number;
    }
    if (tier < 2) h.program->tier[1] = tier;
    assert_int_equal(program_verify(h.program, 2, &err), -1);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    close_hand(&h);
}

/* 0: ONLOAD 0, LOAD, TEACHER 0, STORE 1, F, B, U; 7: LOAD, FETCH 1, F, B, U, OFFLOAD 0; 13: ONLOAD
 * 1, FETCH 1, TEACHER 1, STORE 2, F, B, U; 20: FETCH 1, FETCH 2, F, B, U, OFFLOAD 1. */
static void verifier_refuses(void **state)
{
    (void)state;
    Phase       same = {0};
    Instruction none = {0};

    refuses(3, (Instruction){OP_STORE, 2, -1, 0, 4, 0}, -1, same, 2,
            "these rows are not on the device");
    refuses(3, (Instruction){OP_LOAD, 0, -1, 0, 4, 0}, -1, same, 2,
            "rows of this boundary do not follow");
    refuses(3, (Instruction){OP_STORE, 1, -1, 0, 3, 0}, -1, same, 2,
            "boundary 1 is fetched: 3 of 4 rows are stored");
    refuses(8, (Instruction){OP_FETCH, 0, -1, 0, 4, 0}, -1, same, 2, "the boundary has no tier");
    refuses(16, (Instruction){OP_STORE, 1, -1, 0, 4, 0}, -1, same, 2,
            "stored from row 0, expected 4");
    refuses(8, (Instruction){OP_FETCH, 2, -1, 0, 4, 0}, -1, same, 2,
            "the teacher's output rows are not on the device");
    refuses(0, (Instruction){OP_OFFLOAD, 0, -1, 0, 0, 0}, -1, same, 2,
            "no student of the block is trained");
    refuses(12, (Instruction){OP_BARRIER, 0, 0, 0, 0, 0}, -1, same, 2, "no such group");
    refuses(13, (Instruction){OP_ONLOAD, 0, -1, 0, 0, 0}, -1, same, 2,
            "ONLOAD of block 0 brings nothing");
    refuses(21, (Instruction){OP_ONLOAD, 1, -1, 0, 0, 0}, -1, same, 2, "before all else");
    refuses(-1, none, -1, same, -1, "the boundary has no tier");
    refuses(-1, none, 1, (Phase){.steps = 4, .first_step = 1, .number = 1}, 2,
            "4 steps from step 1 on");
    refuses(-1, none, 1, (Phase){.steps = 2, .first_step = 0, .number = 1}, 2,
            "no ALLREDUCE with the block's 1 other");
    refuses(-1, none, 3, (Phase){.steps = 4, .first_step = 2, .number = 2}, 2,
            "expected more than the one before");
    refuses(-1, none, 0, (Phase){.steps = 6, .first_step = 0, .number = 0}, 2,
            "the phase does other steps than the first epoch's");
}

/* What is fetched in a phase of a number is stored in one of a lower number, on whatever device. */
static void what_is_stored_later_cannot_be_fetched(void **state)
{
    (void)state;
    Hand  h;
    Error err = {""};

    open_hand(&h, 2, serial, "", 1 << 20);
    h.program->tier[1] = 0;
    phase(&h, 0, 0, 2, 1);
    first_block(&h, 0, true);
    phase(&h, 0, 2, 4, 2);
    first_block(&h, 0, false);
    phase(&h, 1, 0, 6, 1);
    second_block(&h, 1);
    assert_int_equal(program_verify(h.program, 2, &err), -1);
    assert_non_null(strstr(err.text, "stored in phase number 1, fetched in number 1"));
    h.program->devices[1].phases[0].number = 2;
    assert_int_equal(program_verify(h.program, 2, &err), 0);
    close_hand(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_phase_waits_for_what_it_fetches),
        cmocka_unit_test(reads_are_asked_for_ahead),
        cmocka_unit_test(requests_of_the_device_itself_take_its_time),
        cmocka_unit_test(parts_and_networks_take_time),
        cmocka_unit_test(all_meet_between_parts),
        cmocka_unit_test(a_share_of_a_read_takes_the_devices_time),
        cmocka_unit_test(requests_share_a_tier),
        cmocka_unit_test(rows_of_another_machine_take_the_link),
        cmocka_unit_test(memory_counts_what_comes_and_goes),
        cmocka_unit_test(verifier_refuses),
        cmocka_unit_test(what_is_stored_later_cannot_be_fetched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
