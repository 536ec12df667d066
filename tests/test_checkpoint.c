/* executor/checkpoint and executor/writer: nothing damaged is believed, and whatever
 * happens the last complete checkpoint can be read. */
#include "tests/support.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "executor/checkpoint/checkpoint_writer.h"

static const CheckpointFacts facts = {.workload = 0xFEDCBA9876543210u, .seed = UINT64_MAX,
                                      .batch = 64, .steps_per_epoch = 22, .total_steps = 1000,
                                      .blocks = 3, .teacher = 7, .student = 8, .samples = 1400,
                                      .data = "images"};

/* ---- states whose every number follows from block and step ---------------------- */

enum { NUMBERS = 6 };

static float number(int block, int64_t step, int i)
{
    return (float)(rng_u64((uint64_t)block, (uint64_t)step, (uint64_t)i, 0) >> 40);
}

static Tensors *state_of(int block, int64_t step)
{
    static const char *const names[] = {"blocks.%d.0.weight", "momentum.blocks.%d.0.weight"};
    Tensors *state;
    Tensor  *tensor;
    char    *key = format_text("step.%d", block), *value = format_text("%" PRId64, step);
    Error    err = {""};

    ok(tensors_new(&state, &err), &err);
    for (int n = 0; n < 2; n++) {
        char *name = format_text(n ? names[1] : names[0], block);
        ok(tensors_add(state, name, 2, (int64_t[]){2, NUMBERS / 2}, &tensor, &err), &err);
        for (int i = 0; i < NUMBERS; i++) tensor->values[i] = number(block, step, i + n * NUMBERS);
        free(name);
    }
    ok(tensors_set_note(state, key, value, &err), &err);
    free(key);
    free(value);
    return state;
}

/* Whether a block in a checkpoint is as state_of() made it for the step it says. */
static bool block_is_whole(const Tensors *checkpoint, int block)
{
    int64_t  step = checkpoint_step(checkpoint, (StudentId){.block = block});
    Tensors *expected = state_of(block, step);
    bool     whole = step >= 0;

    for (int i = 0; i < tensors_count(expected) && step > 0; i++) {
        const Tensor *x = tensors_at(expected, i), *y = tensors_find(checkpoint, x->name);
        whole = whole && y && y->count == NUMBERS
                && memcmp(x->values, y->values, NUMBERS * sizeof(float)) == 0;
    }
    tensors_free(expected);
    return whole;
}

static void gather_results(CheckpointWriter *writer, int block, int64_t step)
{
    Tensors *state = state_of(block, step);
    Error    err = {""};

    ok(checkpoint_writer_put(writer, block, step, state, &err), &err);
    tensors_free(state);
}

/* A checkpoint of three blocks at steps; 0: not started. */
static void write_steps(const char *folder, int64_t sequence, const int64_t step[3])
{
    Tensors       *state[3];
    const Tensors *block[3];
    Error          err = {""};

    for (int b = 0; b < 3; b++) block[b] = state[b] = step[b] ? state_of(b, step[b]) : NULL;
    ok(checkpoint_write(folder, sequence, &facts, block, &err), &err);
    for (int b = 0; b < 3; b++) tensors_free(state[b]);
}

/* The newest; its number is returned, 0 when there is none. */
static int64_t latest(Tensors **out, const char *folder, Text *warnings)
{
    CheckpointFacts found;
    int64_t         sequence;
    Text            unwanted = {0};
    Error           err = {""};

    ok(checkpoint_latest(out, &found, &sequence, folder, warnings ? warnings : &unwanted, &err),
       &err);
    if (!warnings) assert_string_equal(text_string(&unwanted), "");
    text_free(&unwanted);
    if (!*out) return 0;
    ok(checkpoint_fits(&found, &facts, &err), &err);
    for (int b = 0; b < facts.blocks; b++) assert_true(block_is_whole(*out, b));
    return sequence;
}

static void wait_written(CheckpointWriter *writer, int64_t sequence)
{
    while (checkpoint_writer_written(writer) < sequence) sched_yield();
}

static int entries(const char *folder)
{
    char *command = format_text("ls -A '%s' | wc -l", folder);
    Ran   ran = run_command((const char *[]){"sh", "-c", command, NULL}, NULL);
    int   count = atoi(ran.out);

    ran_free(&ran);
    free(command);
    return count;
}

/* ---- files --------------------------------------------------------------------------- */

static void blocks_may_stand_at_different_steps(void **state)
{
    (void)state;
    char    *folder = temp_make();
    Tensors *found;

    write_steps(folder, 7, (int64_t[]){1000, 340, 0});
    assert_int_equal(latest(&found, folder, NULL), 7);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 0}), 1000);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 1}), 340);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 2}), 0);
    assert_int_equal(tensors_count(found), 4);
    tensors_free(found);
    char *path = format_text("%s/checkpoint-000007-1340.safetensors", folder);
    assert_int_equal(access(path, F_OK), 0);
    free(path);
    temp_remove(folder);
}

static void refused(const char *path)
{
    Tensors        *found = NULL;
    CheckpointFacts facts_found;
    Error           err = {""};

    assert_int_equal(checkpoint_read(&found, &facts_found, path, &err), -1);
    assert_null(found);
    assert_true(err.text[0] != '\0');
}

/* A bit of every byte in turn, every length, and a byte too many. */
static void damage_anywhere_is_detected(void **state)
{
    (void)state;
    Rng    rng = {test_seed("damage_anywhere_is_detected", 1), 0};
    char  *folder = temp_make(), *path = format_text("%s/checkpoint-000001-6.safetensors", folder);
    size_t length;

    write_steps(folder, 1, (int64_t[]){1, 2, 3});
    char *bytes = slurp(path, &length);
    for (size_t at = 0; at < length; at++) {
        char bit = (char)(1 << rng_range(&rng, 0, 7));
        bytes[at] ^= bit;
        spill_bytes(path, bytes, length);
        refused(path);
        bytes[at] ^= bit;
    }
    for (size_t cut = 0; cut < length; cut++) {
        spill_bytes(path, bytes, cut);
        refused(path);
    }
    spill_bytes(path, bytes, length + 1);        /* slurp() put a NUL there */
    refused(path);
    spill_bytes(path, bytes, length);
    Tensors *found;
    assert_int_equal(latest(&found, folder, NULL), 1);
    tensors_free(found);
    free(bytes);
    free(path);
    temp_remove(folder);
}

static void other_files_are_no_checkpoints(void **state)
{
    (void)state;
    char    *folder = temp_make(), *path = format_text("%s/x.safetensors", folder);
    Tensors *student = state_of(0, 5);
    Error    err = {""};
    CheckpointFacts found;

    ok(tensors_write(student, path, &err), &err);
    assert_int_equal(checkpoint_read(&(Tensors *){NULL}, &found, path, &err), -1);
    assert_non_null(strstr(err.text, "x.safetensors: has no checksum"));
    ok(tensors_write_sealed(student, path, &err), &err);
    assert_int_equal(checkpoint_read(&(Tensors *){NULL}, &found, path, &err), -1);
    assert_non_null(strstr(err.text, "x.safetensors: is no checkpoint of pipebd-run"));
    tensors_free(student);
    free(path);
    temp_remove(folder);
}

static void may_not_go_on(const CheckpointFacts *run, const char *why)
{
    Error err = {""};

    assert_int_equal(checkpoint_fits(&facts, run, &err), -1);
    assert_string_equal(err.text, why);
}

static void runs_that_differ_may_not_go_on(void **state)
{
    (void)state;
    CheckpointFacts run = facts;
    Error           err = {""};

    assert_int_equal(checkpoint_fits(&facts, &run, &err), 0);
    run.total_steps = 999;
    may_not_go_on(&run,
                  "the checkpoint's run differs in its number of steps: 1000, and this one's 999");
    run = facts;
    run.seed = 4;
    may_not_go_on(&run, "the checkpoint's run has the seed 18446744073709551615, and this one 4");
    run = facts;
    run.workload++;
    may_not_go_on(&run, "the checkpoint is of another workload");
    run = facts;
    strcpy(run.data, "digits");
    may_not_go_on(&run,
                  "the checkpoint's run learned from images, and this one from digits: see --data");
    run = facts;
    run.samples = 1399;
    may_not_go_on(&run, "the checkpoint's run had 1400 samples, and this one has 1399: see --data");
    run = facts;
    run.teacher++;
    may_not_go_on(&run, "the checkpoint's run had another teacher: see --teacher");
    run = facts;
    run.student++;
    may_not_go_on(&run, "the checkpoint's run began with other students: see --init");
    CheckpointFacts before = facts;      /* a file that does not say what it learned from */
    before.teacher = before.student = 0, before.samples = 0, before.data[0] = '\0';
    assert_int_equal(checkpoint_fits(&before, &facts, &err), 0);
}

/* ---- folders --------------------------------------------------------------------------- */

static void the_newest_whole_one_is_found(void **state)
{
    (void)state;
    char    *folder = temp_make(), *nowhere = format_text("%s/none", folder);
    Tensors *found;
    Text     warnings = {0};

    assert_int_equal(latest(&found, nowhere, NULL), 0);
    assert_int_equal(latest(&found, folder, NULL), 0);
    write_steps(folder, 9, (int64_t[]){10, 10, 10});
    write_steps(folder, 10, (int64_t[]){5, 5, 5});           /* the number decides, not the step */
    write_steps(folder, 1000000, (int64_t[]){20, 20, 20});
    char *damaged = format_text("%s/checkpoint-1000000-60.safetensors", folder);
    char *other = format_text("%s/checkpoint-000011.safetensors", folder);
    spill_bytes(damaged, "x", 1);
    spill_bytes(other, "x", 1);                              /* not one of our names */
    assert_int_equal(latest(&found, folder, &warnings), 10);
    char *expected = format_text("%s: too short for a file with a checksum: skipped\n", damaged);
    assert_string_equal(text_string(&warnings), expected);
    tensors_free(found);
    text_free(&warnings);
    free(expected);
    free(damaged);
    free(other);
    free(nowhere);
    temp_remove(folder);
}

/* One of a run that went wrong before anybody saw it. */
static void numbers_that_are_not_finite_are_skipped(void **state)
{
    (void)state;
    char *folder = temp_make(), *path = format_text("%s/checkpoint-000002-20.safetensors", folder);
    Tensors *block[3] = {state_of(0, 20), NULL, NULL}, *found;
    Text     warnings = {0};
    Error    err = {""};

    write_steps(folder, 1, (int64_t[]){10, 0, 0});
    tensors_find(block[0], "momentum.blocks.0.0.weight")->values[NUMBERS - 1] = NAN;
    ok(checkpoint_write(folder, 2, &facts, (const Tensors *const *)block, &err), &err);
    assert_int_equal(latest(&found, folder, &warnings), 1);
    char *expected = format_text(
        "%s: tensor momentum.blocks.0.0.weight has a number that is not finite: skipped\n", path);
    assert_string_equal(text_string(&warnings), expected);
    tensors_free(found);
    tensors_free(block[0]);
    text_free(&warnings);
    free(expected);
    free(path);
    temp_remove(folder);
}

static void without_a_whole_one_there_is_an_error(void **state)
{
    (void)state;
    char *folder = temp_make(), *path = format_text("%s/checkpoint-000001-1.safetensors", folder);
    Tensors        *found;
    CheckpointFacts facts_found;
    int64_t         sequence;
    Text            warnings = {0};
    Error           err = {""};

    spill_bytes(path, "", 0);
    assert_int_equal(checkpoint_latest(&found, &facts_found, &sequence, folder, &warnings, &err),
                     -1);
    assert_non_null(strstr(err.text, ": none of its 1 checkpoints can be read"));
    assert_null(found);
    text_free(&warnings);
    free(path);
    temp_remove(folder);
}

/* ---- the writer ------------------------------------------------------------------------ */

static CheckpointWriter *open_collector(const char *folder, const Tensors *resumed,
                                        int64_t sequence)
{
    CheckpointWriter *writer;
    Error      err = {""};

    ok(checkpoint_writer_open(&writer, folder, &facts, resumed, sequence, &err), &err);
    return writer;
}

static void close_collector(CheckpointWriter *writer)
{
    Error err = {""};

    ok(checkpoint_writer_close(writer, &err), &err);
}

/* All blocks at once: one checkpoint each time round, the two newest stay. */
static void rounds_are_written(void **state)
{
    (void)state;
    char      *root = temp_make(), *folder = format_text("%s/new", root);
    CheckpointWriter *writer = open_collector(folder, NULL, 0);
    Tensors   *found;

    for (int64_t round = 1; round <= 5; round++) {
        for (int b = 0; b < 3; b++) gather_results(writer, b, 10 * round);
        wait_written(writer, round);
    }
    close_collector(writer);
    assert_int_equal(latest(&found, folder, NULL), 5);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 2}), 50);
    assert_int_equal(entries(folder), 2);
    tensors_free(found);
    free(folder);
    temp_remove(root);
}

/* One block after another: its second state is due by rule (3), then each by rule (2), and
 * its last by rule (4). */
static void blocks_one_after_another_are_written(void **state)
{
    (void)state;
    char      *folder = temp_make();
    CheckpointWriter *writer = open_collector(folder, NULL, 0);
    Tensors   *found;

    gather_results(writer, 0, 100);
    gather_results(writer, 0, 200);
    wait_written(writer, 1);
    gather_results(writer, 0, 300);
    wait_written(writer, 2);
    gather_results(writer, 0, 1000);
    wait_written(writer, 3);
    gather_results(writer, 1, 100);
    gather_results(writer, 1, 200);
    wait_written(writer, 4);
    assert_int_equal(latest(&found, folder, NULL), 4);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 0}), 1000);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 1}), 200);
    tensors_free(found);
    gather_results(writer, 2, 50);                   /* not due, but not lost at the end */
    close_collector(writer);
    assert_int_equal(latest(&found, folder, NULL), 5);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 2}), 50);
    tensors_free(found);
    temp_remove(folder);
}

static void runs_go_on_where_they_were(void **state)
{
    (void)state;
    char      *folder = temp_make(),
              *unfinished = format_text("%s/checkpoint-000009-1.safetensors.abcdef", folder);
    CheckpointWriter *writer, *other;
    Tensors   *found;
    Error      err = {""};

    write_steps(folder, 4, (int64_t[]){30, 0, 20});
    spill_bytes(unfinished, "x", 1);
    assert_int_equal(checkpoint_writer_open(&writer, folder, &facts, NULL, 0, &err), -1);
    assert_non_null(
        strstr(err.text, ": holds checkpoints of a run; resume that, or choose another folder"));
    int64_t sequence = latest(&found, folder, NULL);
    writer = open_collector(folder, found, sequence);
    tensors_free(found);
    assert_int_equal(access(unfinished, F_OK), -1);
    assert_int_equal(checkpoint_writer_open(&other, folder, &facts, NULL, 0, &err), -1);
    assert_non_null(strstr(err.text, ": another run writes its checkpoints here"));
    gather_results(writer, 1, 5);
    close_collector(writer);
    assert_int_equal(latest(&found, folder, NULL), 5);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 0}), 30);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 1}), 5);
    assert_int_equal(checkpoint_step(found, (StudentId){.block = 2}), 20);
    tensors_free(found);
    free(unfinished);
    temp_remove(folder);
}

/* Nothing comes after the largest number: neither a resumed run's next checkpoint, nor the one
 * after its last. */
static void numbers_end(void **state)
{
    (void)state;
    char      *folder = temp_make();
    CheckpointWriter *writer;
    Tensors   *found;
    Error      err = {""};

    write_steps(folder, INT64_MAX - 1, (int64_t[]){30, 0, 20});
    int64_t sequence = latest(&found, folder, NULL);
    writer = open_collector(folder, found, sequence);
    tensors_free(found);
    gather_results(writer, 1, 5);
    ok(checkpoint_writer_flush(writer, 60000000000, &err), &err);
    assert_true(checkpoint_writer_written(writer) == INT64_MAX);
    gather_results(writer, 1, 6);
    assert_int_equal(checkpoint_writer_close(writer, &err), -1);
    assert_non_null(
        strstr(err.text, "holds a checkpoint with the largest number, 9223372036854775807"));
    err.text[0] = '\0';
    assert_true(latest(&found, folder, NULL) == INT64_MAX);
    assert_int_equal(checkpoint_writer_open(&writer, folder, &facts, found, INT64_MAX, &err), -1);
    assert_non_null(
        strstr(err.text, "holds a checkpoint with the largest number, 9223372036854775807"));
    tensors_free(found);
    temp_remove(folder);
}

/* A damaged newer file is passed over, and never makes the whole one before it go. */
static void damaged_ones_do_not_displace_whole_ones(void **state)
{
    (void)state;
    char      *folder = temp_make(),
              *damaged = format_text("%s/checkpoint-000006-1.safetensors", folder);
    Tensors   *found;
    Text       warnings = {0};

    write_steps(folder, 5, (int64_t[]){1, 1, 1});
    spill_bytes(damaged, "x", 1);
    assert_int_equal(latest(&found, folder, &warnings), 5);
    CheckpointWriter *writer = open_collector(folder, found, 5);
    tensors_free(found);
    gather_results(writer, 0, 2);
    close_collector(writer);
    assert_int_equal(latest(&found, folder, NULL), 7);
    tensors_free(found);
    char *old = format_text("%s/checkpoint-000005-3.safetensors", folder);
    assert_int_equal(access(old, F_OK), 0);
    free(old);
    free(damaged);
    text_free(&warnings);
    temp_remove(folder);
}

typedef struct { CheckpointWriter *writer; int block; } Gatherer;

static void *gather_many(void *argument)
{
    Gatherer *d = argument;
    Tensors   *state;

    for (int64_t step = 1; step <= 60; step++) {
        state = state_of(d->block, step);
        if (checkpoint_writer_put(d->writer, d->block, step, state, NULL) != 0) abort();
        tensors_free(state);
    }
    return NULL;
}

static void workers_deliver_at_once(void **state)
{
    (void)state;
    char      *folder = temp_make();
    CheckpointWriter *writer = open_collector(folder, NULL, 0);
    Gatherer  d[3];
    pthread_t  thread[3];
    Tensors   *found;

    for (int b = 0; b < 3; b++) {
        d[b] = (Gatherer){writer, b};
        assert_int_equal(pthread_create(&thread[b], NULL, gather_many, &d[b]), 0);
    }
    for (int b = 0; b < 3; b++) pthread_join(thread[b], NULL);
    close_collector(writer);
    assert_true(latest(&found, folder, NULL) >= 1);
    for (int b = 0; b < 3; b++)
        assert_int_equal(checkpoint_step(found, (StudentId){.block = b}), 60);
    tensors_free(found);
    temp_remove(folder);
}

/* ---- killed, and without space -------------------------------------------------------------- */

/* In a child: goes on from what there is, and tells in *written what is complete. */
static void run_until_killed(const char *folder, _Atomic int64_t *written)
{
    CheckpointFacts found_facts;
    Tensors        *found;
    CheckpointWriter      *writer;
    int64_t         sequence, step = 1;
    Text            warnings = {0};

    if (checkpoint_latest(&found, &found_facts, &sequence, folder, &warnings, NULL) != 0) _exit(3);
    if (text_string(&warnings)[0]) _exit(4);
    if (found) step = checkpoint_step(found, (StudentId){.block = 2}) + 1;
    if (checkpoint_writer_open(&writer, folder, &facts, found, sequence, NULL) != 0) _exit(5);
    for (;; step++) {
        for (int b = 0; b < 3; b++) {
            Tensors *state = state_of(b, step);
            if (checkpoint_writer_put(writer, b, step, state, NULL) != 0) _exit(6);
            tensors_free(state);
        }
        atomic_store(written, checkpoint_writer_written(writer));
    }
}

/* Until the child says that so many checkpoints are written; fails if it ends before. */
static void wait_for_child(pid_t child, const _Atomic int64_t *written, int64_t wanted)
{
    int status;

    while (atomic_load(written) < wanted) {
        if (waitpid(child, &status, WNOHANG) == child)
            fail_msg("the child ended itself with status %d", status);
        usleep(200);
    }
}

/* At any moment: as it opens its folder, or some time after it wrote its next checkpoint or the one
 * after that. Each kill in four waits for a checkpoint, however slow the machine is. */
static void a_killed_run_leaves_its_last_checkpoint(void **state)
{
    (void)state;
    enum { KILLS = 200, LONGEST_US = 2000 };
    Rng              rng = {test_seed("a_killed_run_leaves_its_last_checkpoint", 1), 0};
    char            *folder = temp_make();
    _Atomic int64_t *written =
        mmap(NULL, sizeof *written, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Tensors         *found;

    assert_ptr_not_equal(written, MAP_FAILED);
    for (int kill_number = 0; kill_number < KILLS; kill_number++) {
        int64_t before = atomic_load(written), more = kill_number % 4 ? 0 : rng_range(&rng, 1, 2);
        pid_t   child = fork();
        assert_true(child >= 0);
        if (child == 0) run_until_killed(folder, written);
        wait_for_child(child, written, before + more);
        usleep((useconds_t)rng_range(&rng, 0, LONGEST_US));
        int status;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) fail_msg("the child ended itself with %d", WEXITSTATUS(status));
        int64_t promised = atomic_load(written), sequence = latest(&found, folder, NULL);
        assert_true(promised >= before + more);
        assert_true(sequence >= promised);
        atomic_store(written, sequence);
        tensors_free(found);
    }
    assert_true(atomic_load(written) >= KILLS / 4);
    munmap((void *)(uintptr_t)written, sizeof *written);
    temp_remove(folder);
}

/* What is not due is written all the same, and the writer goes on. */
static void a_flush_writes_what_there_is(void **state)
{
    (void)state;
    char      *folder = temp_make();
    CheckpointWriter *writer = open_collector(folder, NULL, 0);
    Error      err = {""};

    ok(checkpoint_writer_flush(writer, 60000000000, &err), &err);     /* nothing yet */
    assert_int_equal(checkpoint_writer_written(writer), 0);
    gather_results(writer, 1, 2);
    ok(checkpoint_writer_flush(writer, 60000000000, &err), &err);
    assert_int_equal(checkpoint_writer_written(writer), 1);
    ok(checkpoint_writer_flush(writer, 60000000000, &err), &err);     /* nothing new */
    assert_int_equal(checkpoint_writer_written(writer), 1);
    for (int b = 0; b < 3; b++) gather_results(writer, b, 3);
    wait_written(writer, 2);
    close_collector(writer);
    temp_remove(folder);
}

/* A limit on the size of files stands for a full disk. */
static void a_full_disk_is_an_error_and_loses_nothing(void **state)
{
    (void)state;
    char         *folder = temp_make();
    struct rlimit old, small;
    Tensors      *found;
    Error         err = {""};

    write_steps(folder, 1, (int64_t[]){1, 1, 1});
    latest(&found, folder, NULL);
    CheckpointWriter *writer = open_collector(folder, found, 1);
    tensors_free(found);
    Tensors *next = state_of(0, 2);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){200, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (checkpoint_writer_put(writer, 0, 2, next, &err) == 0) sched_yield();
    assert_non_null(strstr(err.text, "cannot write: File too large"));
    err.text[0] = '\0';
    assert_int_equal(checkpoint_writer_flush(writer, 60000000000, &err), -1);
    assert_non_null(strstr(err.text, "cannot write: File too large"));
    err.text[0] = '\0';
    assert_int_equal(checkpoint_writer_close(writer, &err), -1);
    assert_non_null(strstr(err.text, "cannot write: File too large"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(latest(&found, folder, NULL), 1);
    assert_int_equal(entries(folder), 1);
    tensors_free(found);
    tensors_free(next);
    temp_remove(folder);
}

/* A state that could not be read again is refused, and the one before stays. */
static void a_state_that_is_not_finite_is_refused(void **state)
{
    char             *folder = temp_make();
    Error             err = {""};
    CheckpointWriter *writer;
    const float       bad[] = {INFINITY, NAN};

    (void)state;
    writer = open_collector(folder, NULL, 0);
    for (int b = 0; b < 3; b++) gather_results(writer, b, 10);
    wait_written(writer, 1);
    for (int n = 0; n < 2; n++)
        for (int t = 0; t < 2; t++) {
            Tensors *next = state_of(1, 20);
            tensors_at(next, t)->values[NUMBERS - 1] = bad[n];
            assert_int_equal(checkpoint_writer_put(writer, 1, 20, next, &err), -1);
            assert_non_null(strstr(err.text, tensors_at(next, t)->name));
            tensors_free(next);
        }
    close_collector(writer);
    Tensors *found;
    assert_int_equal(latest(&found, folder, NULL), 1);
    for (int b = 0; b < 3; b++)
        assert_true(checkpoint_step(found, (StudentId){.block = b}) == 10
                    && block_is_whole(found, b));
    tensors_free(found);
    temp_remove(folder);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    char    *folder = temp_make();
    Tensors *one = state_of(0, 3);
    long     n = 1;

    for (int done = 0; !done; n++) {
        const Tensors  *block[3] = {one, NULL, NULL};
        CheckpointFacts found_facts;
        Tensors        *found = NULL;
        int64_t         sequence;
        Text            warnings = {0};
        Error           err = {""};
        alloc_fail_after(n);
        int rc = checkpoint_write(folder, 1, &facts, block, &err);
        if (rc == 0)
            rc = checkpoint_latest(&found, &found_facts, &sequence, folder, &warnings, &err);
        done = !alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0) assert_true(err.text[0] != '\0');
        if (done) assert_int_equal(rc, 0);
        assert_string_equal(text_string(&warnings), "");
        text_free(&warnings);
        tensors_free(found);
    }
    assert_true(n > 50);
    tensors_free(one);
    temp_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_may_stand_at_different_steps),
        cmocka_unit_test(damage_anywhere_is_detected),
        cmocka_unit_test(other_files_are_no_checkpoints),
        cmocka_unit_test(runs_that_differ_may_not_go_on),
        cmocka_unit_test(the_newest_whole_one_is_found),
        cmocka_unit_test(numbers_that_are_not_finite_are_skipped),
        cmocka_unit_test(without_a_whole_one_there_is_an_error),
        cmocka_unit_test(rounds_are_written),
        cmocka_unit_test(blocks_one_after_another_are_written),
        cmocka_unit_test(runs_go_on_where_they_were),
        cmocka_unit_test(numbers_end),
        cmocka_unit_test(damaged_ones_do_not_displace_whole_ones),
        cmocka_unit_test(workers_deliver_at_once),
        cmocka_unit_test(a_killed_run_leaves_its_last_checkpoint),
        cmocka_unit_test(a_flush_writes_what_there_is),
        cmocka_unit_test(a_full_disk_is_an_error_and_loses_nothing),
        cmocka_unit_test(a_state_that_is_not_finite_is_refused),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
