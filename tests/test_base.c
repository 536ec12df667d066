/* base/: arena, errors, files, nearest names, progress, random numbers, statistics and
 * text. JSON and options have tests of their own. */
#include "tests/support.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/compare.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/stats.h"
#include "base/text.h"

/* ---- arrays ---------------------------------------------------------------- */

/* Rooms of each type grow by themselves, and what was there stays. */
static void arrays_grow_and_keep_what_they_had(void **state)
{
    (void)state;
    int64_t *wide = NULL;
    double  *real = NULL;
    char    *byte = NULL;
    int      wide_room = 0;
    int64_t  real_room = 0;
    size_t   byte_room = 0;

    for (int i = 0; i < 1000; i++) {
        assert_true(array_has_room(wide, i, wide_room));
        assert_true(array_has_room(real, i, real_room));
        assert_true(array_has_room(byte, (size_t)i, byte_room));
        wide[i] = -i;
        real[i] = i / 2.0;
        byte[i] = (char)(i % 100);
    }
    assert_int_equal(wide_room, 1024);
    assert_int_equal(real_room, 1024);
    assert_int_equal(byte_room, 1024);
    for (int i = 0; i < 1000; i++)
        assert_true(wide[i] == -i && real[i] == i / 2.0 && byte[i] == i % 100);
    free(wide);
    free(real);
    free(byte);
}

/* A room that the variable or memory cannot count is refused; nothing is moved. */
static void arrays_beyond_all_memory_are_refused(void **state)
{
    (void)state;
    int64_t *wide = NULL;
    int      room = 1 << 30;
    int64_t  most = PTRDIFF_MAX / 8;

    assert_false(array_has_room(wide, 1 << 30, room));
    assert_false(array_has_room(wide, most, most));
    assert_null(wide);
    assert_int_equal(room, 1 << 30);
    assert_true(most == PTRDIFF_MAX / 8);
}

static void numbers_are_put_in_order(void **state)
{
    (void)state;
    int64_t wide[] = {3, INT64_MAX, -1, INT64_MIN, 0};
    double  real[] = {0.5, -0.25, 1e300, -1e300, 0.0};

    qsort(wide, 5, sizeof *wide, compare_int64);
    qsort(real, 5, sizeof *real, compare_double);
    for (int i = 1; i < 5; i++) assert_true(wide[i - 1] < wide[i] && real[i - 1] < real[i]);
}

/* ---- arena --------------------------------------------------------------- */

/* Sizes around a chunk's 64 KiB: zeroed, aligned, apart from one another, and still
 * there when all the rest is. */
static void arena_memory_is_zeroed_aligned_and_kept(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 15, 16, 17, 1000, 65535, 65536, 65537, 200000, 3, 0};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    Arena          arena = {0};
    unsigned char *got[COUNT];

    for (int i = 0; i < COUNT; i++) {
        got[i] = arena_alloc(&arena, sizes[i], 1);
        assert_non_null(got[i]);
        assert_int_equal((uintptr_t)got[i] % _Alignof(max_align_t), 0);
        for (size_t b = 0; b < sizes[i]; b++) assert_int_equal(got[i][b], 0);
        memset(got[i], i + 1, sizes[i]);
    }
    for (int i = 0; i < COUNT; i++)
        for (size_t b = 0; b < sizes[i]; b++) assert_int_equal(got[i][b], i + 1);
    assert_ptr_not_equal(arena_alloc(&arena, 0, 8), arena_alloc(&arena, 8, 0));
    arena_free(&arena);
    assert_string_equal(arena_strdup(&arena, "again"), "again");
    arena_free(&arena);
    arena_free(&arena);
}

static void arena_refuses_what_cannot_be(void **state)
{
    (void)state;
    Arena arena = {0};

    assert_null(arena_alloc(&arena, SIZE_MAX, 2));
    assert_null(arena_alloc(&arena, SIZE_MAX / 2 + 1, 2));
    assert_null(arena_alloc(&arena, SIZE_MAX, 1));
    assert_null(arena_alloc(&arena, SIZE_MAX - 20, 1));
    alloc_fail_after(1);
    void *none = arena_alloc(&arena, 1, 1);
    char *text = arena_strdup(&arena, "x");              /* memory is there again */
    alloc_fail_after(0);
    assert_null(none);
    assert_non_null(text);
    arena_free(&arena);
}

/* ---- errors ---------------------------------------------------------------- */

static void errors_are_written_and_prefixed(void **state)
{
    (void)state;
    Error err = {""};

    assert_int_equal(error_set(&err, "%d of %s", 3, "four"), -1);
    assert_int_equal(error_prefix(&err, "stage %d", 7), -1);
    assert_string_equal(err.text, "stage 7: 3 of four");
    assert_int_equal(error_no_memory(&err), -1);
    assert_string_equal(err.text, "out of memory");
    assert_int_equal(error_set(NULL, "dropped"), -1);
    assert_int_equal(error_prefix(NULL, "dropped"), -1);
    assert_int_equal(error_no_memory(NULL), -1);
}

/* Characters of 1 to 4 bytes across the cut: what is left is whole ones. */
static void long_errors_end_with_a_whole_character(void **state)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE4\xBE\x8B", "\xF0\x9F\x98\x80"};

    (void)state;
    for (size_t c = 0; c < 4; c++)
        for (size_t shift = 0; shift < 4; shift++) {
            Text  text = {0};
            Error err = {""};
            for (size_t i = 0; i < shift; i++) text_append(&text, ".");
            while (text.length < 2 * ERROR_MAX_TEXT) text_append(&text, characters[c]);
            error_set(&err, "%s", text_string(&text));
            size_t bytes = strlen(characters[c]), length = strlen(err.text);
            assert_int_equal((length - shift) % bytes, 0);
            assert_true(length < ERROR_MAX_TEXT && length + bytes >= ERROR_MAX_TEXT);
            assert_memory_equal(err.text, text_string(&text), length);
            error_prefix(&err, "prefix");
            length = strlen(err.text);
            assert_int_equal((length - shift - strlen("prefix: ")) % bytes, 0);
            text_free(&text);
        }
}

/* ---- files ------------------------------------------------------------------- */

static void write_text(const char *path, const char *text)
{
    Error err = {""};

    if (file_write(path, text, strlen(text), &err) != 0) fail_msg("%s", err.text);
}

static void check_file(const char *path, const char *expected)
{
    char  *text;
    size_t length;
    Error  err = {""};

    if (file_read(&text, &length, path, 0, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(length, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static void files_are_replaced_whole(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/f", folder),
               *link = format_text("%s/l", folder);
    struct stat info;

    write_text(path, "one\n");
    check_file(path, "one\n");
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(symlink("f", link), 0);
    write_text(link, "two");                              /* through the link, which stays */
    check_file(path, "two");
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0604);
    write_text(path, "");
    check_file(path, "");
    free(link);
    free(path);
    temp_remove(folder);
}

static void bytes_are_kept(void **state)
{
    (void)state;
    char *folder = temp_make(), *path = format_text("%s/f", folder), *big = malloc(300000), *back;
    size_t length;

    for (size_t i = 0; i < 300000; i++) big[i] = (char)(rng_u64(1, 0, 0, i) & 0xff);
    assert_int_equal(file_write(path, big, 300000, NULL), 0);
    assert_int_equal(file_read(&back, &length, path, 0, NULL), 0);
    assert_int_equal(length, 300000);
    assert_memory_equal(back, big, 300000);
    assert_int_equal(back[length], '\0');
    free(back);
    free(big);
    free(path);
    temp_remove(folder);
}

static void check_unread(const char *path, size_t limit, const char *expected)
{
    char  *text = (char *)1;
    size_t length = 7;
    Error  err = {""};

    assert_int_equal(file_read(&text, &length, path, limit, &err), -1);
    assert_null(text);
    assert_non_null(strstr(err.text, expected));
    assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
}

static void unreadable_files_are_refused(void **state)
{
    (void)state;
    char  *folder = temp_make(), *path = format_text("%s/f", folder),
          *none = format_text("%s/none", folder);
    char  *text;
    size_t length;

    write_text(path, "12345");
    check_unread(none, 0, ": cannot open: No such file or directory");
    check_unread(folder, 0, ": is a directory, expected a file");
    check_unread(path, 4, ": larger than the limit of 4 bytes");
    assert_int_equal(file_read(&text, &length, path, 5, NULL), 0);
    free(text);
    free(none);
    free(path);
    temp_remove(folder);
}

static int count_entries(const char *folder)
{
    const char *argv[] = {"ls", "-A", folder, NULL};
    Ran         ran = run_command(argv, NULL);
    int         lines = 0;

    for (const char *c = ran.out; *c; c++) lines += *c == '\n';
    ran_free(&ran);
    return lines;
}

/* Killed at any moment, a writer of a new file leaves it whole or nothing; where the file system
 * has files without names. */
static void killed_writers_leave_no_trace(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20, KILLS = 20 };
    char    *folder = temp_make(), *path = format_text("%s/f", folder), *bytes = calloc(1, BYTES);
    uint64_t seed = test_seed("killed_writers_leave_no_trace", 1);
    int      probe = open(folder, O_TMPFILE | O_RDWR, 0600);

    if (probe < 0) { free(bytes); free(path); temp_remove(folder); skip(); }
    close(probe);
    for (uint64_t i = 0; i < KILLS; i++) {
        pid_t child = fork();
        if (child == 0)
            for (;;) { file_write(path, bytes, BYTES, NULL); unlink(path); }
        usleep((useconds_t)(rng_u64(seed, i, 0, 0) % 5000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        struct stat info;
        if (stat(path, &info) == 0) {
            assert_int_equal(info.st_size, BYTES);
            unlink(path);
        }
        assert_int_equal(count_entries(folder), 0);
    }
    free(bytes);
    free(path);
    temp_remove(folder);
}

static void failed_writes_leave_no_trace(void **state)
{
    (void)state;
    char *folder = temp_make(), *deep = format_text("%s/none/f", folder),
         *inner = format_text("%s/d", folder);
    Error err = {""};

    assert_int_equal(file_write(deep, "x", 1, &err), -1);
    assert_non_null(strstr(err.text, "/none/f: cannot create: No such file or directory"));
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(file_write(inner, "x", 1, &err), -1);
    assert_non_null(strstr(err.text, "/d: is a directory, expected a file name"));
    assert_int_equal(file_write("", "x", 1, &err), -1);
    assert_int_equal(file_check_writable(deep, &err), -1);
    assert_non_null(strstr(err.text, "/none/f: cannot create: No such file or directory"));
    assert_int_equal(file_check_writable(inner, &err), -1);
    char *fresh = format_text("%s/fresh", folder);
    assert_int_equal(file_check_writable(fresh, &err), 0);
    free(fresh);
    for (long n = 1; n <= 2; n++) {                       /* and when memory runs out */
        char *path = format_text("%s/f", folder);
        alloc_fail_after(n);
        int rc = file_write(path, "x", 1, &err);
        alloc_fail_after(0);
        assert_int_equal(rc, -1);
        assert_string_equal(err.text, "out of memory");
        free(path);
    }
    assert_int_equal(count_entries(folder), 1);           /* d, and no temporary file */
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(file_write("/dev/full", "x", 1, &err), -1);
        assert_string_equal(err.text, "/dev/full: cannot write: No space left on device");
    }
    assert_int_equal(file_write("/dev/null", "x", 1, &err), 0);
    free(inner);
    free(deep);
    temp_remove(folder);
}

/* ---- nearest names -------------------------------------------------------------- */

static void the_nearest_name(void **state)
{
    static const char *const names[] = {"batch", "blocks", "devices", "us", "patch", NULL};
    static const struct { const char *word, *nearest; } cases[] = {
        {"batch", "batch"}, {"bach", "batch"}, {"btach", "batch"}, {"batchs", "batch"},
        {"hatch", "batch"},                               /* as near to patch: the first */
        {"devics", "devices"}, {"dvcs", NULL}, {"block", "blocks"}, {"blcks", "blocks"},
        {"u", NULL},                                      /* a distance of 1 is all of it */
        {"ms", "us"}, {"xy", NULL}, {"", NULL}, {"colours", NULL},
    };
    char longest[200];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *nearest = nearest_name(cases[i].word, names);
        if (!cases[i].nearest) assert_null(nearest);
        else if (!nearest) fail_msg("%s: nothing is near", cases[i].word);
        else assert_string_equal(nearest, cases[i].nearest);
    }
    memset(longest, 'b', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(nearest_name(longest, names));
}

/* ---- progress --------------------------------------------------------------------- */

/* Not a terminal: not a byte. */
static void progress_is_silent_elsewhere(void **state)
{
    (void)state;
    char *folder = temp_make(), *path = format_text("%s/err", folder);
    int   kept = dup(STDERR_FILENO);

    fflush(stderr);
    assert_non_null(freopen(path, "w", stderr));
    Progress progress;
    progress_start(&progress, "sweep", 10);
    progress.last_ms -= 1000;
    progress_add(&progress, 4);
    progress_add(&progress, 6);
    progress_end(&progress);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(progress.done, 10);
    check_file(path, "");
    free(path);
    temp_remove(folder);
}

/* ---- random numbers ---------------------------------------------------------------- */

/* SplitMix64's finalizer, written once more and from the paper's constants. */
static uint64_t mix_again(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x ^= x >> 30; x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27; x *= 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* The first output of SplitMix64 with seed 0 is published: e220a8397b1dcdaf. */
static void random_words_are_a_function_of_four(void **state)
{
    (void)state;
    assert_true(mix_again(0) == 0xE220A8397B1DCDAFu);
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t a = i * 3, b = i * i, c = ~i;
        assert_true(rng_u64(i, a, b, c)
                    == mix_again(c ^ mix_again(b ^ mix_again(a ^ mix_again(i)))));
    }
    Rng rng = {.seed = 5};
    for (uint64_t i = 0; i < 10; i++) assert_true(rng_next(&rng) == rng_u64(5, 0, 0, i));
}

/* 100000 draws: means and variances within five standard errors. */
static void random_numbers_have_their_moments(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    double sum = 0, normal = 0, squares = 0;

    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = rng_uniform(9, 1, 2, i), n = rng_normal(9, 1, 2, i);
        assert_true(u >= 0 && u < 1 && n >= -6 && n <= 6);
        sum += u;
        normal += n;
        squares += n * n;
    }
    assert_float_equal(sum / DRAWS, 0.5, 5 * sqrt(1.0 / 12 / DRAWS));
    assert_float_equal(normal / DRAWS, 0, 5 * sqrt(1.0 / DRAWS));
    assert_float_equal(squares / DRAWS, 1, 5 * sqrt(2.0 / DRAWS));
}

static void ranges_are_fair_and_whole(void **state)
{
    (void)state;
    Rng rng = {.seed = 6};
    int seen[7] = {0};

    for (int i = 0; i < 70000; i++) {
        int64_t x = rng_range(&rng, -3, 3);
        assert_true(x >= -3 && x <= 3);
        seen[x + 3]++;
    }
    for (int i = 0; i < 7; i++) assert_int_in_range(seen[i], 10000 - 500, 10000 + 500);
    assert_int_equal(rng_range(&rng, 4, 4), 4);
    bool negative = false, positive = false;
    for (int i = 0; i < 100; i++) {
        int64_t x = rng_range(&rng, INT64_MIN, INT64_MAX);
        negative |= x < 0;
        positive |= x > 0;
        assert_true(rng_range(&rng, INT64_MAX - 1, INT64_MAX) >= INT64_MAX - 1);
        assert_true(rng_range(&rng, INT64_MIN, INT64_MIN + 1) <= INT64_MIN + 1);
    }
    assert_true(negative && positive);
}

/* ---- statistics --------------------------------------------------------------------- */

/* 1 2 3 4: the median 2.5, the quartiles 1.75 and 3.25; as R's quantile(type = 7). */
static void quantiles_by_hand(void **state)
{
    (void)state;
    double four[] = {3, 1, 4, 2}, one[] = {7};

    stats_sort(four, 4);
    assert_float_equal(stats_quantile(four, 4, 0), 1, 0);
    assert_float_equal(stats_quantile(four, 4, 0.25), 1.75, 0);
    assert_float_equal(stats_quantile(four, 4, 0.5), 2.5, 0);
    assert_float_equal(stats_quantile(four, 4, 0.75), 3.25, 0);
    assert_float_equal(stats_quantile(four, 4, 1), 4, 0);
    assert_float_equal(stats_quantile(one, 1, 0.95), 7, 0);
    stats_sort(one, 0);

    double three[] = {5, 9, 2}, even[] = {8, 1, 4, 2};
    assert_float_equal(stats_median(three, 3), 5, 0);
    assert_float_equal(three[0], 2, 0);                  /* sorted */
    assert_float_equal(stats_median(even, 4), 3, 0);
    assert_float_equal(stats_median(one, 1), 7, 0);
}

/* 2 4 4 4 5 5 7 9: mean 5, sum of squares 32, sample deviation sqrt(32/7). */
static void mean_and_variation_by_hand(void **state)
{
    (void)state;
    const double values[] = {2, 4, 4, 4, 5, 5, 7, 9}, opposite[] = {-1, 1}, negative[] = {-2, -4};

    assert_float_equal(stats_mean(values, 8), 5, 0);
    assert_float_equal(stats_variation(values, 8), sqrt(32.0 / 7) / 5, 1e-15);

    double far_off[] = {4, 100, 1, 3, 2};                /* distances from 3: 1 97 2 0 1 */
    assert_float_equal(stats_deviation(far_off, 5, 3), 1.4826, 1e-12);
    assert_float_equal(far_off[4], 97, 0);
    assert_float_equal(stats_variation(values, 1), 0, 0);
    assert_float_equal(stats_variation(opposite, 2), 0, 0);
    assert_float_equal(stats_variation(negative, 2), sqrt(2) / 3, 1e-15);
}

/* ---- text ------------------------------------------------------------------------------ */

static void texts_grow(void **state)
{
    (void)state;
    Text text = {0};

    assert_string_equal(text_string(&text), "");
    text_append_bytes(&text, "", 0);
    for (int i = 0; i < 1000; i++) text_printf(&text, "%d,", i % 10);
    assert_int_equal(text.length, 2000);
    assert_int_equal(strlen(text_string(&text)), 2000);
    assert_memory_equal(text_string(&text) + 1980, "0,1,2,3,4,5,6,7,8,9,", 20);
    text_free(&text);
    assert_string_equal(text_string(&text), "");
}

/* A failed allocation is remembered and nothing is half written. */
static void texts_remember_failure(void **state)
{
    (void)state;
    Text text = {0};

    text_append(&text, "kept");
    alloc_fail_after(1);
    for (int i = 0; i < 100; i++) text_append(&text, "0123456789");
    alloc_fail_after(0);
    text_append(&text, "late");
    text_pad(&text, 5000);
    assert_true(text_failed(&text));
    assert_null(strstr(text_string(&text), "late"));
    assert_int_equal(strncmp(text_string(&text), "kept0123456789", 14), 0);
    text_free(&text);
    assert_false(text_failed(&text));
}

static void check_us(int64_t ns, const char *expected)
{
    Text text = {0};

    text_us(&text, ns);
    assert_string_equal(text_string(&text), expected);
    text_free(&text);
}

static void microseconds_are_exact(void **state)
{
    (void)state;
    check_us(0, "0");
    check_us(1, "0.001");
    check_us(1500, "1.5");
    check_us(1050, "1.05");
    check_us(100000, "100");
    check_us(-1, "-0.001");
    check_us(-2500, "-2.5");
    check_us(INT64_MAX, "9223372036854775.807");
    check_us(INT64_MIN, "-9223372036854775.808");
}

static void doubles_come_back(void **state)
{
    static const struct { double value; const char *text; } cases[] = {
        {0, "0"}, {0.1, "0.1"}, {45000, "45000"}, {-3, "-3"}, {1e300, "1e+300"}, {1e15, "1e+15"},
        {999999999999999, "999999999999999"}, {1.0 / 3, "0.3333333333333333"}, {5e-324, "5e-324"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Text text = {0};
        text_json_double(&text, cases[i].value);
        assert_string_equal(text_string(&text), cases[i].text);
        text_free(&text);
    }
    for (uint64_t i = 0; i < 10000; i++) {                /* any finite bits */
        uint64_t bits = rng_u64(3, 0, 0, i);
        double   value;
        Text     text = {0};
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        text_json_double(&text, value);
        assert_true(strtod(text_string(&text), NULL) == value);
        text_free(&text);
    }
}

static void numbers_are_decimal(void **state)
{
    static const struct { const char *text; double value; int length;
    } taken[] = {
        {"0", 0, 1},      {"-3", -3, 2},
        {"+.5", 0.5, 3},  {"5.", 5, 2},
        {"1e6", 1e6, 3},  {"1E-2GiB", 0.01, 4},
        {"0e-400", 0, 6}, {"1e", 1, 1},
        {"40GB", 40, 2},  {"2.2250738585072014e-308", 2.2250738585072014e-308, 23},
    };
    static const char *const refused[] = {"",       "x",         " 1",  "\t1",    "0x10",  "-0X1p3",
                                          "inf",    "-infinity", "nan", "nan(1)", "1e400", "-1e400",
                                          "1e-400", "4e-310",    "e5",  "."};

    (void)state;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        double      value = -1;
        const char *end = number_scan(taken[i].text, &value);
        assert_ptr_equal(end, taken[i].text + taken[i].length);
        assert_true(value == taken[i].value);
        value = -1;
        assert_int_equal(number_parse(taken[i].text, &value), *end == '\0');
        assert_true(value == (*end ? -1 : taken[i].value));
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        double value = -1;
        assert_null(number_scan(refused[i], &value));
        assert_false(number_parse(refused[i], &value));
        assert_true(value == -1);
    }
}

/* Every byte from 1 to 127 and some longer characters, as they are read again. */
static void json_strings_come_back(void **state)
{
    (void)state;
    char string[160];
    Text text = {0};
    Json *doc;
    Error err = {""};
    const char *back = NULL;

    for (int i = 0; i < 127; i++) string[i] = (char)(i + 1);
    strcpy(string + 127, "\xC3\xA9\xE4\xBE\x8B\xF0\x9F\x98\x80");
    text_json_string(&text, string);
    for (size_t i = 0; i < text.length; i++) assert_true((unsigned char)text.bytes[i] >= 0x20);
    char *list = format_text("[%s]", text_string(&text));
    assert_int_equal(json_doc_parse(&doc, "t", list, strlen(list), &err), 0);
    JsonAt root = json_root(doc), first = json_element(&root, 0);
    assert_int_equal(json_get_string(&first, &back, &err), 0);
    assert_string_equal(back, string);
    json_doc_free(doc);
    free(list);
    text_free(&text);
}

/* RFC 3629: overlong forms, surrogates, what is beyond 10FFFF, and cut characters are none. */
static void what_is_not_utf8_is_replaced(void **state)
{
    static const struct { const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"a\xFF"
         "b",
         "a\xEF\xBF\xBD"
         "b"},
        {"\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Text text = {0};
        text_utf8(&text, cases[i].in);
        assert_string_equal(text_string(&text), cases[i].out);
        text_free(&text);
    }
}

static void commands_can_be_pasted(void **state)
{
    char *const argv[] = {"/usr/bin/pipebd-sim", "a.json", "--vary", "devices=1,2", "--set",
                          "blocks[a b].us=1",    "it's",   "",       "\xFF"};
    Text        text = {0};

    (void)state;
    text_command(&text, sizeof argv / sizeof *argv, argv);
    assert_string_equal(
        text_string(&text),
        "pipebd-sim a.json --vary devices=1,2 --set 'blocks[a b].us=1' 'it'\\''s' '' "
        "'\xEF\xBF\xBD'");
    text_free(&text);
}

static void padding_counts_characters_of_the_line(void **state)
{
    (void)state;
    Text text = {0};

    text_append(&text, "first line\n\xC3\xA9\xC3\xA9");
    text_pad(&text, 4);
    text_append(&text, "|");
    text_pad(&text, 3);                                   /* wide enough already */
    assert_string_equal(text_string(&text), "first line\n\xC3\xA9\xC3\xA9  |");
    text_free(&text);
    text_pad(&text, 2);
    assert_string_equal(text_string(&text), "  ");
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_grow_and_keep_what_they_had),
        cmocka_unit_test(arrays_beyond_all_memory_are_refused),
        cmocka_unit_test(numbers_are_put_in_order),
        cmocka_unit_test(arena_memory_is_zeroed_aligned_and_kept),
        cmocka_unit_test(arena_refuses_what_cannot_be),
        cmocka_unit_test(errors_are_written_and_prefixed),
        cmocka_unit_test(long_errors_end_with_a_whole_character),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(bytes_are_kept),
        cmocka_unit_test(unreadable_files_are_refused),
        cmocka_unit_test(failed_writes_leave_no_trace),
        cmocka_unit_test(killed_writers_leave_no_trace),
        cmocka_unit_test(the_nearest_name),
        cmocka_unit_test(progress_is_silent_elsewhere),
        cmocka_unit_test(random_words_are_a_function_of_four),
        cmocka_unit_test(random_numbers_have_their_moments),
        cmocka_unit_test(ranges_are_fair_and_whole),
        cmocka_unit_test(quantiles_by_hand),
        cmocka_unit_test(mean_and_variation_by_hand),
        cmocka_unit_test(texts_grow),
        cmocka_unit_test(texts_remember_failure),
        cmocka_unit_test(microseconds_are_exact),
        cmocka_unit_test(doubles_come_back),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(json_strings_come_back),
        cmocka_unit_test(what_is_not_utf8_is_replaced),
        cmocka_unit_test(commands_can_be_pasted),
        cmocka_unit_test(padding_counts_characters_of_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
