/* executor/store: rows come back as they were put or not at all, whatever happens to the process,
 * the disk or the files; what was made from something else is refused; two runs do not write one
 * store. */
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/rng.h"
#include "executor/checkpoint/state.h"
#include "executor/store/shared_folder.h"
#include "executor/store/store.h"
#include "executor/store/store_notes.h"
#include "workloads/head.h"

enum { SAMPLES = 37, CHANNELS = 3, HEIGHT = 2, WIDTH = 5, FLOATS = CHANNELS * HEIGHT * WIDTH };

static void refused(int rc, const Error *err, const char *why)
{
    assert_int_equal(rc, -1);
    if (!strstr(err->text, why)) fail_msg("\"%s\" does not say \"%s\"", err->text, why);
}

/* ---- rows whose every number follows from the sample --------------------------------- */

static void row_of(int64_t sample, float row[FLOATS])
{
    for (int i = 0; i < FLOATS; i++)
        row[i] = (float)((int64_t)(rng_u64(9, (uint64_t)sample, (uint64_t)i, 0) >> 40) - (1 << 23))
                 * 1e-5f;
}

static StoreNote notes[] = {{"boundary", "another boundary", "2"},
                            {"teacher", "another teacher", "00ff"}};

static StoredSpec spec_of(const char *path)
{
    return (StoredSpec){.path = path,
                        .name = "rows in memory",
                        .samples = SAMPLES,
                        .row = {CHANNELS, HEIGHT, WIDTH},
                        .notes = notes,
                        .note_count = 2};
}

static StoredRows *open_rows(const char *path, StoredMode mode)
{
    StoredSpec  spec = spec_of(path);
    StoredRows *rows;
    Error       err = {""};

    ok(stored_open(&rows, &spec, mode, &err), &err);
    return rows;
}

static void put(StoredRows *rows, int64_t sample)
{
    float row[FLOATS];
    Error err = {""};

    row_of(sample, row);
    ok(stored_put(rows, sample, row, &err), &err);
}

static void check_row(const StoredRows *rows, int64_t sample)
{
    float row[FLOATS], expected[FLOATS];
    Error err = {""};

    row_of(sample, expected);
    ok(stored_get(rows, sample, row, &err), &err);
    assert_memory_equal(row, expected, sizeof row);
}

static void put_all(StoredRows *rows)
{
    for (int64_t i = 0; i < SAMPLES; i++) put(rows, i * 10 % SAMPLES);
}

static void finish(StoredRows *rows)
{
    Error err = {""};

    ok(stored_finish(rows, &err), &err);
}

/* A whole file. */
static void make_whole(const char *path)
{
    StoredRows *rows = open_rows(path, STORED_MAKE);

    put_all(rows);
    finish(rows);
    stored_close(rows);
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* ---- one boundary ----------------------------------------------------------------------- */

static void rows_come_back(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/b", folder),
               *partial = format_text("%s.partial", path);
    StoredRows *rows = open_rows(path, STORED_READ);

    assert_null(rows);
    rows = open_rows(path, STORED_MAKE);
    assert_int_equal(stored_missing(rows), SAMPLES);
    put_all(rows);
    put(rows, 3);                                        /* again */
    assert_int_equal(stored_missing(rows), 0);
    assert_true(exists(partial) && !exists(path));
    finish(rows);
    assert_true(!exists(partial) && exists(path));
    for (int64_t i = 0; i < SAMPLES; i++) check_row(rows, i);
    stored_close(rows);
    for (int mode = STORED_READ; mode <= STORED_JOIN; mode++) {
        rows = open_rows(path, (StoredMode)mode);
        for (int64_t i = 0; i < SAMPLES; i++) check_row(rows, i);
        stored_close(rows);
    }
    free(partial);
    free(path);
    temp_remove(folder);
}

static int visit_rows(void *context, const TensorPlace *place, Error *err)
{
    float row[FLOATS];

    if (strcmp(place->name, "rows") != 0) return 0;
    assert_string_equal(place->dtype, "F32");
    assert_int_equal(place->rank, 4);
    assert_int_equal(place->dim[0], SAMPLES);
    assert_int_equal(place->dim[1], HEIGHT);
    assert_int_equal(place->dim[2], WIDTH);
    assert_int_equal(place->dim[3], CHANNELS);
    for (int64_t i = 0; i < SAMPLES; i++) {
        row_of(i, row);
        assert_memory_equal((const char *)place->bytes + i * (int64_t)sizeof row, row, sizeof row);
    }
    assert_int_equal(((const char *)place->bytes - *(const char **)context) % 4096, 0);
    (void)err;
    return 0;
}

/* Read by the reader of safetensors, which shares no code with the writer. */
static void a_file_is_safetensors(void **state)
{
    (void)state;
    char  *folder = temp_make(), *path = format_text("%s/b", folder);
    size_t length;
    Error  err = {""};

    make_whole(path);
    char      *bytes = slurp(path, &length);
    StoredSpec spec = spec_of(path);
    assert_int_equal(stored_size(&spec), length);
    ok(tensors_places(path, bytes, length, visit_rows, &bytes, &err), &err);
    free(bytes);
    free(path);
    temp_remove(folder);
}

/* ---- in bfloat16 ------------------------------------------------------------------------- */

/* Bits of what a row in bfloat16 gives back: the nearer of two, the even one where both are as
 * near. */
static uint32_t nearest(uint32_t bits)
{
    uint32_t low = bits & 0xffff0000u, high = low + 0x10000u, behind = bits & 0xffffu;

    if (behind != 0x8000u) return behind < 0x8000u ? low : high;
    return low & 0x10000u ? high : low;
}

/* Values of all kinds, so many, an odd number of them: random bits, halfway ones, 0, the least and
 * the largest, infinities. */
enum { HALVES = 2049 };
static void fill_halves(float *row)
{
    static const uint32_t special[] = {0,          0x80000000u, 1,          0x8000u,   0x18000u,
                                       0x7f7fffffu, 0x7f800000u, 0xff800000u, 0x3f808000u,
                                       0x3f818000u, 0x3f807fffu, 0x3f808001u};
    int                   count = sizeof special / sizeof *special;

    for (int i = 0; i < HALVES; i++) {
        uint32_t bits = i < count ? special[i] : (uint32_t)(rng_u64(11, (uint64_t)i, 0, 0) >> 32);
        if ((bits & 0x7f800000u) == 0x7f800000u && i >= count) bits &= 0xbfffffffu;
        memcpy(&row[i], &bits, sizeof bits);
    }
}

static void check_halves(const StoredRows *rows, const float *row)
{
    float back[HALVES];
    Error err = {""};

    ok(stored_get(rows, 1, back, &err), &err);
    for (int i = 0; i < HALVES; i++) {
        uint32_t from, to;
        memcpy(&from, &row[i], sizeof from);
        memcpy(&to, &back[i], sizeof to);
        if (to != nearest(from)) fail_msg("%08x came back as %08x", from, to);
    }
}

static int visit_halves(void *context, const TensorPlace *place, Error *err)
{
    if (strcmp(place->name, "rows") == 0) assert_string_equal(place->dtype, "BF16");
    (void)context;
    (void)err;
    return 0;
}

/* In a file, read again from it, and in memory; half the bytes, what is no number stays none, and
 * one precision is not read as the other. */
static void rows_are_rounded(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/b", folder);
    StoredSpec  spec = {.path = path, .name = "halves", .samples = 3, .row = {HALVES, 1, 1},
                        .bf16 = true};
    StoredRows *rows;
    float       row[HALVES], none[HALVES];
    size_t      length;
    Error       err = {""};

    fill_halves(row);
    for (int i = 0; i < HALVES; i++) none[i] = i % 2 ? NAN : -NAN;
    for (int memory = 0; memory < 2; memory++) {
        if (memory) spec.path = NULL;
        ok(stored_open(&rows, &spec, STORED_MAKE, &err), &err);
        for (int64_t i = 0; i < 3; i++) ok(stored_put(rows, i, i == 1 ? row : none, &err), &err);
        check_halves(rows, row);
        ok(stored_get(rows, 2, none, &err), &err);
        for (int i = 0; i < HALVES; i++) assert_true(isnan(none[i]));
        finish(rows);
        stored_close(rows);
    }
    spec.path = path;
    ok(stored_open(&rows, &spec, STORED_READ, &err), &err);
    check_halves(rows, row);
    stored_close(rows);
    char *bytes = slurp(path, &length);
    ok(tensors_places(path, bytes, length, visit_halves, NULL, &err), &err);
    assert_int_equal(length % 4096, 3 * HALVES * 2 % 4096);
    free(bytes);
    spec.bf16 = false;
    refused(stored_open(&rows, &spec, STORED_READ, &err), &err,
            "has rows in BF16, expected F32 (--store-precision)");
    free(path);
    temp_remove(folder);
}

static void what_is_partial_is_taken_up(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/b", folder),
               *partial = format_text("%s.partial", path);
    StoredRows *rows = open_rows(path, STORED_MAKE);

    for (int64_t i = 0; i < 10; i++) put(rows, i);
    stored_close(rows);
    assert_null(open_rows(path, STORED_READ));
    int file = open(partial, O_RDWR);                    /* a row of it is damaged, as a loss of
                                                          * power can leave it */
    assert_int_equal(pwrite(file, "x", 1, 4096 + 4 * FLOATS * sizeof(float) + 17), 1);
    close(file);
    rows = open_rows(path, STORED_MAKE);
    assert_int_equal(stored_damaged(rows), 1);
    assert_int_equal(stored_missing(rows), SAMPLES - 9);
    for (int64_t i = 0; i < 10; i++) {
        if (i == 4) assert_false(stored_has(rows, i));
        else check_row(rows, i);
    }
    put_all(rows);
    finish(rows);
    for (int64_t i = 0; i < SAMPLES; i++) check_row(rows, i);
    stored_close(rows);
    free(partial);
    free(path);
    temp_remove(folder);
}

/* Every byte of the rows and of their checksums. */
static void a_damaged_row_is_an_error(void **state)
{
    (void)state;
    char      *folder = temp_make(), *path = format_text("%s/b", folder);
    float      row[FLOATS];
    StoredSpec spec = spec_of(path);
    int64_t    rows_at = stored_size(&spec) - (int64_t)sizeof row * SAMPLES,
            sums_at = rows_at - 8 * SAMPLES;

    make_whole(path);
    int file = open(path, O_RDWR);
    for (int64_t at = sums_at; at < rows_at + (int64_t)sizeof row * SAMPLES;
         at += at < rows_at ? 1 : 13) {
        int64_t sample = at < rows_at ? (at - sums_at) / 8 : (at - rows_at) / (int64_t)sizeof row;
        unsigned char byte, other;
        Error         err = {""};
        assert_int_equal(pread(file, &byte, 1, at), 1);
        other = byte ^ (unsigned char)(1u << at % 8);
        assert_int_equal(pwrite(file, &other, 1, at), 1);
        StoredRows *rows = open_rows(path, STORED_READ);
        refused(stored_get(rows, sample, row, &err), &err,
                "is damaged, its checksum is not that of its bytes; remove the file");
        check_row(rows, (sample + 1) % SAMPLES);
        stored_close(rows);
        assert_int_equal(pwrite(file, &byte, 1, at), 1);
    }
    close(file);
    free(path);
    temp_remove(folder);
}

static void refuse_file(const char *path, StoredMode mode, const char *why)
{
    StoredSpec  spec = spec_of(path);
    StoredRows *rows;
    Error       err = {""};

    refused(stored_open(&rows, &spec, mode, &err), &err, why);
    assert_null(rows);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    char      *folder = temp_make(), *path = format_text("%s/b", folder),
              *partial = format_text("%s.partial", path);
    StoredSpec spec = spec_of(path);

    make_whole(path);
    strcpy(notes[1].value, "00fe");
    refuse_file(path, STORED_READ,
                "was made with another teacher: it says teacher \"00ff\", expected \"00fe\"");
    refuse_file(path, STORED_MAKE, "was made with another teacher");
    strcpy(notes[1].value, "00ff");
    assert_int_equal(truncate(path, (off_t)stored_size(&spec) - 1), 0);
    refuse_file(path, STORED_READ, "is cut short");
    assert_int_equal(truncate(path, 0), 0);
    refuse_file(path, STORED_READ, "is empty");
    spill(path, "hello, this is no boundary");
    refuse_file(path, STORED_READ, "is no stored boundary of this workload");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    refuse_file(path, STORED_READ, "is no regular file");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0);             /* not waited for */
    refuse_file(path, STORED_READ, "is no regular file");
    assert_int_equal(unlink(path), 0);
    spill(partial, "hello, this is no boundary");
    refuse_file(path, STORED_MAKE, "is no stored boundary of this workload");
    assert_true(exists(partial));
    refuse_file(path, STORED_JOIN, "is no stored boundary of this workload");
    assert_int_equal(unlink(partial), 0);
    refuse_file(path, STORED_JOIN, "cannot open");
    free(partial);
    free(path);
    temp_remove(folder);
}

/* A whole file that lacks rows was not made by renaming. */
static void a_whole_file_has_all_rows(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/b", folder),
               *partial = format_text("%s.partial", path);
    StoredRows *rows = open_rows(path, STORED_MAKE);

    put(rows, 5);
    stored_close(rows);
    assert_int_equal(rename(partial, path), 0);
    refuse_file(path, STORED_READ, "has no checksum for 36 rows");
    free(partial);
    free(path);
    temp_remove(folder);
}

/* A limit on the size of files stands for a full disk: it is met before a row is computed. */
static void a_full_disk_is_an_error_at_once(void **state)
{
    (void)state;
    char         *folder = temp_make(), *path = format_text("%s/b", folder),
                 *partial = format_text("%s.partial", path);
    struct rlimit old, small;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){5000, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    refuse_file(path, STORED_MAKE, "cannot take 0.00814 MiB for 37 rows: File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_false(exists(path) || exists(partial));
    make_whole(path);
    free(partial);
    free(path);
    temp_remove(folder);
}

typedef struct { StoredRows *rows; int64_t first; } Putter;

static void *put_some(void *argument)
{
    Putter *p = argument;
    float   row[FLOATS];

    for (int64_t i = 0; i < SAMPLES; i++) {              /* all threads put all rows, each in
                                                          * another order */
        int64_t sample = (p->first + i * 5) % SAMPLES;
        row_of(sample, row);
        if (stored_put(p->rows, sample, row, NULL) != 0) abort();
        if (stored_get(p->rows, sample, row, NULL) != 0) abort();
    }
    return NULL;
}

static void threads_put_at_once(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/b", folder);
    StoredRows *rows = open_rows(path, STORED_MAKE);
    Putter      p[4];
    pthread_t   thread[4];

    for (int t = 0; t < 4; t++) {
        p[t] = (Putter){rows, t * 9};
        assert_int_equal(pthread_create(&thread[t], NULL, put_some, &p[t]), 0);
    }
    for (int t = 0; t < 4; t++) pthread_join(thread[t], NULL);
    finish(rows);
    for (int64_t i = 0; i < SAMPLES; i++) check_row(rows, i);
    stored_close(rows);
    free(path);
    temp_remove(folder);
}

static int wait_status(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Two processes put half of the rows each, of a file and of memory; each then sees all. */
static void processes_put_at_once(void **state)
{
    char  *folder = temp_make(), *path = format_text("%s/b", folder);
    Error  err = {""};

    (void)state;
    for (int memory = 0; memory < 2; memory++) {
        StoredRows *rows = open_rows(memory ? NULL : path, STORED_MAKE), *theirs;
        int64_t     parent = getpid();
        int         descriptor = stored_descriptor(rows);
        pid_t       child = fork();
        if (child == 0) {
            StoredSpec spec = spec_of(memory ? NULL : path);
            stored_close(rows);                          /* so it is not inherited */
            if ((memory ? stored_join(&theirs, &spec, parent, descriptor, NULL)
                        : stored_open(&theirs, &spec, STORED_JOIN, NULL))
                != 0)
                _exit(3);
            for (int64_t i = 1; i < SAMPLES; i += 2) put(theirs, i);
            _exit(stored_missing(theirs) < SAMPLES / 2 + 2 ? 0 : 4);
        }
        for (int64_t i = 0; i < SAMPLES; i += 2) put(rows, i);
        assert_int_equal(wait_status(child), 0);
        assert_int_equal(stored_missing(rows), SAMPLES / 2);
        ok(stored_refresh(rows, &err), &err);
        assert_int_equal(stored_missing(rows), 0);
        finish(rows);
        for (int64_t i = 0; i < SAMPLES; i++) check_row(rows, i);
        stored_close(rows);
    }
    free(path);
    temp_remove(folder);
}

/* In a child: takes up what there is, checks it, puts what is missing, begins again when all is
 * there. *put_rows counts. */
static void put_until_killed(const char *path, _Atomic int64_t *put_rows, _Atomic int64_t *lost)
{
    float      row[FLOATS], expected[FLOATS];
    StoredSpec spec = spec_of(path);

    for (;;) {
        StoredRows *rows;
        if (stored_open(&rows, &spec, STORED_MAKE, NULL) != 0) _exit(3);
        atomic_fetch_add(lost, stored_damaged(rows));
        for (int64_t i = 0; i < SAMPLES; i++) {
            row_of(i, expected);
            if (stored_has(rows, i)) {
                if (stored_get(rows, i, row, NULL) != 0 || memcmp(row, expected, sizeof row) != 0)
                    _exit(4);
                continue;
            }
            if (stored_put(rows, i, expected, NULL) != 0) _exit(5);
            atomic_fetch_add(put_rows, 1);
            usleep(20);
        }
        if (stored_finish(rows, NULL) != 0) _exit(6);
        stored_close(rows);
        if (unlink(path) != 0) _exit(7);
    }
}

/* Killed 200 times: no wrong row is ever there, and what was whole is not put again: rows put are
 * at most those of all stores begun, and one a kill. */
static void kills_lose_nothing(void **state)
{
    (void)state;
    enum { KILLS = 200, LONGEST_US = 4000 };
    Rng              rng = {test_seed("kills_lose_nothing", 1), 0};
    char            *folder = temp_make(), *path = format_text("%s/b", folder);
    _Atomic int64_t *count =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t          interrupted = 0;

    assert_ptr_not_equal(count, MAP_FAILED);
    for (int kill_number = 0; kill_number < KILLS; kill_number++) {
        int64_t before = atomic_load(&count[0]),
                more = kill_number % 4 ? 0 : rng_range(&rng, 1, 30);
        pid_t   child = fork();
        int     status;
        assert_true(child >= 0);
        if (child == 0) put_until_killed(path, &count[0], &count[1]);
        while (atomic_load(&count[0]) < before + more) {
            if (waitpid(child, &status, WNOHANG) == child)
                fail_msg("the child ended itself with status %d", status);
            usleep(100);
        }
        usleep((useconds_t)rng_range(&rng, 0, LONGEST_US));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) fail_msg("the child ended itself with %d", WEXITSTATUS(status));
        char *partial = format_text("%s.partial", path);
        interrupted += exists(partial);
        free(partial);
    }
    assert_int_equal(atomic_load(&count[1]), 0);
    assert_true(interrupted > 0);
    StoredRows *rows = open_rows(path, STORED_MAKE);
    for (int64_t i = 0; i < SAMPLES; i++)
        if (stored_has(rows, i)) check_row(rows, i);
    stored_close(rows);
    munmap((void *)(uintptr_t)count, 4096);
    free(path);
    temp_remove(folder);
}

/* Any one bit of any length is seen, and so are two. */
static void the_checksum_sees_bits(void **state)
{
    (void)state;
    unsigned char bytes[83];

    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 37);
    for (size_t length = 1; length <= sizeof bytes; length++) {
        uint64_t hash = hash_words(bytes, length);
        for (size_t i = 0; i < length * 8; i++) {
            bytes[i / 8] ^= (unsigned char)(1u << i % 8);
            assert_true(hash_words(bytes, length) != hash);
            for (size_t j = 0; j < i; j += 7) {
                bytes[j / 8] ^= (unsigned char)(1u << j % 8);
                assert_true(hash_words(bytes, length) != hash);
                bytes[j / 8] ^= (unsigned char)(1u << j % 8);
            }
            bytes[i / 8] ^= (unsigned char)(1u << i % 8);
        }
        assert_true(hash_words(bytes, length - 1) != hash);
    }
}

/* ---- a run's store ----------------------------------------------------------------------- */

typedef struct {
    Workload   *workload;
    Data       *data;
    Tensors    *teacher;
    DeviceSpec  devices;
    bool        boundaries[64];
    StoreOptions options;
} Setup;

static void set_up(Setup *s, const char *place)
{
    Error err = {""};

    *s = (Setup){0};
    ok(workload_read(&s->workload, "digits", &err), &err);
    ok(data_open(&s->data, "digits", s->workload, DATA_TRAIN, 0, &err), &err);
    ok(tensors_read(&s->teacher, s->workload->teacher_weights, &err), &err);
    ok(device_spec_parse(&s->devices, "cpu:1", &err), &err);
    s->boundaries[0] = s->boundaries[2] = s->boundaries[5] = true;
    s->options = (StoreOptions){.place = place, .workload = s->workload, .data = s->data,
                                .devices = &s->devices, .teacher = s->teacher, .seed = 1,
                                .boundaries = s->boundaries};
}

static void tear_down(Setup *s)
{
    tensors_free(s->teacher);
    data_free(s->data);
    workload_free(s->workload);
}

static Store *open_store(const Setup *s)
{
    Store *store;
    Error  err = {""};

    ok(store_open(&store, &s->options, &err), &err);
    return store;
}

static void fill(Store *store, const Setup *s)
{
    float *row = calloc(100000, sizeof *row);
    Error  err = {""};

    for (int k = 0; k <= s->workload->block_count; k++)
        for (int64_t i = 0; store_boundary(store, k) && i < data_count(s->data); i++) {
            row[0] = (float)i;
            row[1] = (float)k;
            ok(stored_put(store_boundary(store, k), i, row, &err), &err);
        }
    ok(store_settle(store, &err), &err);
    for (int k = 0; k <= s->workload->block_count; k++)
        if (store_boundary(store, k)) assert_int_equal(store_missing(store, k), 0);
    free(row);
}

static void a_store_has_its_boundaries(void **state)
{
    (void)state;
    char   *folder = temp_make();
    float  *row = calloc(100000, sizeof *row);
    Setup   s;
    Error   err = {""};

    for (int memory = 0; memory < 2; memory++) {
        set_up(&s, memory ? STORE_HOST : folder);
        Store *store = open_store(&s);
        ok(store_settle(store, &err), &err);
        assert_int_equal(store_missing(store, 2), 1437);
        fill(store, &s);
        for (int k = 0; k <= s.workload->block_count; k++) {
            assert_true(!store_boundary(store, k) == !s.boundaries[k]);
            if (!s.boundaries[k]) continue;
            ok(stored_get(store_boundary(store, k), 1400, row, &err), &err);
            assert_true(row[0] == 1400 && row[1] == (float)k);
        }
        assert_true(store_bytes(store) > 1437 * 4 * 64);
        ok(store_drop(store, 2, &err), &err);
        assert_null(store_boundary(store, 2));
        store_close(store);
        store = open_store(&s);
        ok(store_settle(store, &err), &err);
        assert_int_equal(store_missing(store, 2), 1437);
        assert_int_equal(store_missing(store, 5), memory ? 1437 : 0);
        store_close(store);
        s.options.later = true;
        s.boundaries[3] = true;
        store = open_store(&s);                          /* what is whole, in a folder, and no
                                                          * more */
        for (int k = 0; k <= s.workload->block_count; k++)
            assert_true(!store_boundary(store, k) == (memory || (k != 0 && k != 5)));
        ok(store_make(store, 3, &err), &err);
        assert_non_null(store_boundary(store, 3));
        assert_int_equal(store_missing(store, 3), 1437);
        store_close(store);
        tear_down(&s);
    }
    free(row);
    temp_remove(folder);
}

static void two_runs_do_not_write_one_store(void **state)
{
    (void)state;
    char  *folder = temp_make();
    Setup  s;
    Store *store, *second;
    Error  err = {""};

    set_up(&s, folder);
    store = open_store(&s);
    refused(store_open(&second, &s.options, &err), &err, "another run writes boundaries here");
    fill(store, &s);
    store_close(store);
    store = open_store(&s);                              /* all is whole: they only read */
    second = open_store(&s);
    s.boundaries[3] = true;                              /* a third would write */
    Store *third;
    refused(store_open(&third, &s.options, &err), &err, "another run uses the boundaries here");
    store_close(second);
    store_close(store);
    store = open_store(&s);
    store_close(store);
    tear_down(&s);
    temp_remove(folder);
}

/* Where another user has made the lock's file, and nobody else may write it or the folder. */
static void a_lock_of_another_user_counts(void **state)
{
    (void)state;
    char      *folder = temp_make(), *path = format_text("%s/.pipebd-lock", folder);
    FolderLock mine, theirs;
    Error      err = {""};
    uid_t      user = geteuid();

    ok(folder_lock_open(&mine, folder, &err), &err);
    ok(folder_lock(&mine, true, "in use", &err), &err);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    bool other = user != 0 || (seteuid(65534) == 0 && eaccess(folder, R_OK | X_OK) == 0);
    if (other) {
        ok(folder_lock_open(&theirs, folder, &err), &err);
        refused(folder_lock(&theirs, false, "in use", &err), &err, "in use");
        folder_lock_close(&theirs);
    }
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_true(exists(path));
    folder_lock_close(&mine);
    assert_false(exists(path));
    free(path);
    temp_remove(folder);
    if (!other) skip();                                  /* root alone, here */
}

/* changed: after it, and before it is undone. */
static void check_refusal(Setup *s, const char *why)
{
    Store *store = NULL;
    Error  err = {""};

    if (store_open(&store, &s->options, &err) == 0) fail_msg("not refused: %s", why);
    refused(-1, &err, why);
}

static void what_was_made_from_something_else_is_refused(void **state)
{
    (void)state;
    char  *folder = temp_make();
    Setup  s;
    Data  *other, *data;
    Error  err = {""};

    set_up(&s, folder);
    Store *store = open_store(&s);
    fill(store, &s);
    store_close(store);
    Layer *layer = &s.workload->block[1].teacher.layer[0];
    Tensor *weight = NULL;
    for (int i = 0; !weight && i < tensors_count(s.teacher); i++)
        if (strncmp(tensors_at(s.teacher, i)->name, "blocks.1.", 9) == 0)
            weight = tensors_at(s.teacher, i);
    float value = weight->values[0];
    weight->values[0] += 1;
    check_refusal(&s, "boundary-2.safetensors: was made with another teacher");
    weight->values[0] = value;
    layer->padding++;
    check_refusal(
        &s, "boundary-2.safetensors: was made with other layers, or blocks that are cut elsewhere");
    layer->padding--;
    s.workload->mean[0] *= 2;
    check_refusal(&s, "boundary-0.safetensors: was made with other transforms of the data");
    s.workload->mean[0] /= 2;
    data = s.data;
    ok(data_open(&other, "synthetic", s.workload, DATA_TRAIN, 0, &err), &err);
    s.options.data = other;
    check_refusal(&s, "boundary-0.safetensors: was made with other data");
    s.options.data = data;
    data_free(other);
    s.options.teacher = NULL;
    check_refusal(&s, "boundary-2.safetensors: was made with another teacher: it says teacher");
    s.options.teacher = s.teacher;
    s.devices.precision = PRECISION_BF16;
    check_refusal(&s, "was made with another precision");
    s.devices.precision = PRECISION_FP32;
    store = open_store(&s);
    store_close(store);
    tear_down(&s);
    temp_remove(folder);
}

/* Files of machines that a run left: rows of each that are sound are taken once, and the files are
 * gone. */
static void what_machines_left_is_taken_up(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/boundary-2.safetensors", folder);
    Setup       s;
    Store      *store;
    StoredRows *rows;
    Error       err = {""};
    float      *row = calloc(100000, sizeof *row);

    set_up(&s, folder);
    StoreNote (*of_all)[STORE_NOTES] = store_notes(&s.options, &err);
    int64_t samples = data_count(s.data), floats = workload_boundary_count(s.workload, 2);
    for (int h = 1; h <= 2; h++) {
        char      *own = format_text("%s.host%d", path, h);
        StoredSpec spec = {.path = own, .name = own, .samples = samples,
                           .row = workload_boundary(s.workload, 2), .notes = of_all[2],
                           .note_count = STORE_NOTES};
        ok(stored_open(&rows, &spec, STORED_MAKE, &err), &err);
        for (int64_t i = h - 1; i < samples; i += h)     /* some rows are in both */
            if (i % 7) {
                for (int64_t v = 0; v < floats; v++) row[v] = (float)(i * 10 + v % 10);
                ok(stored_put(rows, i, row, &err), &err);
            }
        stored_close(rows);
        if (h == 2) {                                    /* row 11, which is in both */
            char *partial = format_text("%s.partial", own);
            FILE *f = fopen(partial, "r+b");
            int64_t at = stored_size(&spec) - (samples - 11) * floats * (int64_t)sizeof(float);
            assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
            fputc(7, f);
            fclose(f);
            free(partial);
        }
        free(own);
    }
    store = open_store(&s);
    int64_t missing = 0;
    for (int64_t i = 0; i < samples; i++) {
        bool has = stored_has(store_boundary(store, 2), i);
        assert_true(has == (i % 7 != 0));
        missing += !has;
        if (!has) continue;
        ok(stored_get(store_boundary(store, 2), i, row, &err), &err);
        for (int64_t v = 0; v < floats; v++) assert_true(row[v] == (float)(i * 10 + v % 10));
    }
    assert_int_equal(store_missing(store, 2), missing);
    store_close(store);
    for (int h = 1; h <= 2; h++) {
        char *own = format_text("%s.host%d.partial", path, h);
        assert_false(exists(own));
        free(own);
    }
    free(row);
    free(of_all);
    tear_down(&s);
    free(path);
    temp_remove(folder);
}

/* What is above a boundary, and what students are, does not matter to it. */
static void a_boundary_depends_on_what_is_below(void **state)
{
    (void)state;
    Setup s;
    Error err = {""};

    set_up(&s, STORE_HOST);
    int        blocks = s.workload->block_count, last = blocks - 1;
    StoreNote (*before)[STORE_NOTES] = store_notes(&s.options, &err);
    s.workload->training.learning_rate *= 2;
    s.workload->block[0].student.layer[0].kernel++;
    s.workload->block[last].teacher.layer[0].kernel++;
    for (int i = 0; i < tensors_count(s.teacher); i++)
        if (state_block(tensors_at(s.teacher, i)->name) == last)
            tensors_at(s.teacher, i)->values[0] += 1;
    StoreNote (*after)[STORE_NOTES] = store_notes(&s.options, &err);
    for (int k = 0; k <= blocks; k++)
        for (int n = 0; n < STORE_NOTES; n++)
            assert_true((strcmp(before[k][n].value, after[k][n].value) == 0)
                        == (k < blocks
                            || (strcmp(before[k][n].key, "cuts") != 0
                                && strcmp(before[k][n].key, "teacher") != 0)));
    free(before);
    free(after);
    tear_down(&s);
}

static void augmented_samples_are_refused(void **state)
{
    (void)state;
    char     *folder = temp_make();
    Workload *w;
    Data     *data;
    Error     err = {""};

    char *path = format_text("%s/data_batch_1.bin", folder);
    for (int i = 1; i <= 5; i++) {
        static const char bytes[2 * 3073];
        char *file = format_text("%s/data_batch_%d.bin", folder, i);
        spill_bytes(file, bytes, sizeof bytes);
        free(file);
    }
    char *source = format_text("cifar10:%s", folder);
    uint64_t hash[2];
    ok(workload_read(&w, "vgg16-dsconv-cifar10", &err), &err);
    w->unaugmented = false;
    ok(data_open(&data, source, w, DATA_TRAIN, 0, &err), &err);
    refused(store_check_data(data, &err), &err, "samples are augmented");
    data_free(data);
    w->unaugmented = true;
    for (int i = 0; i < 2; i++) {
        ok(data_open(&data, source, w, DATA_TRAIN, 0, &err), &err);
        ok(store_check_data(data, &err), &err);
        ok(data_hash(&hash[i], data, &err), &err);
        data_free(data);
        FILE *f = fopen(path, "r+b");
        assert_int_equal(fseek(f, 4000, SEEK_SET), 0);
        fputc(7, f);
        fclose(f);
    }
    assert_true(hash[0] != hash[1]);
    workload_free(w);
    free(source);
    free(path);
    temp_remove(folder);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    char   *folder = temp_make();
    long    n = 1;
    Setup   s;

    set_up(&s, folder);
    for (int done = 0; !done; n++) {
        Store *store = NULL;
        Error  err = {""};
        alloc_fail_after(n);
        int rc = store_open(&store, &s.options, &err);
        done = !alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0) assert_true(err.text[0] != '\0');
        if (done) assert_int_equal(rc, 0);
        store_close(store);
    }
    assert_true(n > 20);
    tear_down(&s);
    temp_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(a_file_is_safetensors),
        cmocka_unit_test(rows_are_rounded),
        cmocka_unit_test(what_is_partial_is_taken_up),
        cmocka_unit_test(a_damaged_row_is_an_error),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(a_whole_file_has_all_rows),
        cmocka_unit_test(a_full_disk_is_an_error_at_once),
        cmocka_unit_test(threads_put_at_once),
        cmocka_unit_test(processes_put_at_once),
        cmocka_unit_test(kills_lose_nothing),
        cmocka_unit_test(the_checksum_sees_bits),
        cmocka_unit_test(a_store_has_its_boundaries),
        cmocka_unit_test(two_runs_do_not_write_one_store),
        cmocka_unit_test(a_lock_of_another_user_counts),
        cmocka_unit_test(what_was_made_from_something_else_is_refused),
        cmocka_unit_test(what_machines_left_is_taken_up),
        cmocka_unit_test(a_boundary_depends_on_what_is_below),
        cmocka_unit_test(augmented_samples_are_refused),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
