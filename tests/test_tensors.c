/* executor/tensors: the collection, and safetensors files good and bad. Files are
 * also passed through a reader and writer in Python (tests/safetensors_copy.py). */
#include "tests/support.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "executor/checkpoint/tensors.h"

static char *fixture(const char *name)
{
    return format_text("%s/tests/fixtures/tensors/good/%s.safetensors", PIPEBD_ROOT, name);
}

static Tensors *read_ok(const char *path)
{
    Tensors *tensors;
    Error    err = {""};

    if (tensors_read(&tensors, path, &err) != 0) fail_msg("%s", err.text);
    assert_string_equal(tensors_path(tensors), path);
    return tensors;
}

static Tensor *add(Tensors *tensors, const char *name, int rank, const int64_t *dim)
{
    Tensor *tensor;
    Error   err = {""};

    if (tensors_add(tensors, name, rank, dim, &tensor, &err) != 0) fail_msg("%s", err.text);
    return tensor;
}

/* ---- the collection ------------------------------------------------------ */

static void many_tensors_are_found_by_name(void **state)
{
    (void)state;
    Tensors *tensors;
    Tensor  *first = NULL;
    char     name[32];

    assert_int_equal(tensors_new(&tensors, NULL), 0);
    assert_null(tensors_find(tensors, "t0"));
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "t%d", i);
        Tensor *tensor = add(tensors, name, 2, (int64_t[]){i % 3 + 1, 2});
        if (i == 0) first = tensor;
        assert_int_equal(tensor->count, 2 * (i % 3 + 1));
        assert_true(tensor->values[0] == 0 && tensor->values[tensor->count - 1] == 0);
        tensor->values[0] = (float)i;
    }
    assert_int_equal(tensors_count(tensors), 1000);
    assert_ptr_equal(tensors_find(tensors, "t0"), first);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "t%d", i);
        assert_ptr_equal(tensors_find(tensors, name), tensors_at(tensors, i));
        assert_true(tensors_find(tensors, name)->values[0] == (float)i);
    }
    assert_null(tensors_find(tensors, "t1000"));
    tensors_free(tensors);
}

static void impossible_tensors_are_refused(void **state)
{
    (void)state;
    Tensors *tensors;
    Error    err = {""};
    int64_t  two[] = {2}, negative[] = {-1}, huge[] = {INT64_MAX, 2}, large[] = {INT64_MAX / 2};

    assert_int_equal(tensors_new(&tensors, NULL), 0);
    add(tensors, "a", 1, two);
    assert_int_equal(tensors_add(tensors, "a", 1, two, NULL, &err), -1);
    assert_string_equal(err.text, "tensor \"a\" is there twice");
    assert_int_equal(tensors_add(tensors, "b", 1, negative, NULL, &err), -1);
    assert_int_equal(tensors_add(tensors, "b", 2, huge, NULL, &err), -1);
    assert_int_equal(tensors_add(tensors, "b", 1, large, NULL, &err), -1);
    assert_string_equal(err.text, "tensor \"b\": its dimensions are out of range");
    assert_int_equal(tensors_add(tensors, "b", 9, two, NULL, &err), -1);
    assert_string_equal(err.text, "tensor \"b\": 9 dimensions, expected at most 8");
    assert_int_equal(tensors_count(tensors), 1);
    tensors_free(tensors);
}

static void notes_are_kept_and_replaced(void **state)
{
    (void)state;
    Tensors *tensors;

    assert_int_equal(tensors_new(&tensors, NULL), 0);
    assert_null(tensors_note(tensors, "k"));
    assert_int_equal(tensors_set_note(tensors, "k", "v", NULL), 0);
    assert_int_equal(tensors_set_note(tensors, "l", "w", NULL), 0);
    assert_int_equal(tensors_set_note(tensors, "k", "longer", NULL), 0);
    assert_string_equal(tensors_note(tensors, "k"), "longer");
    assert_int_equal(tensors_note_count(tensors), 2);
    assert_string_equal(tensors_note_key(tensors, 1), "l");
    tensors_free(tensors);
}

/* ---- files --------------------------------------------------------------- */

static void every_element_type_is_widened(void **state)
{
    (void)state;
    char    *path = fixture("f16");
    Tensors *tensors = read_ok(path);
    float   *h = tensors_find(tensors, "h")->values;

    assert_true(h[0] == 1.0f && h[1] == -2.0f && h[2] == 0x1p-24f && isinf(h[3]));
    tensors_free(tensors);
    free(path);

    path = fixture("bf16");
    tensors = read_ok(path);
    Tensor *b = tensors_find(tensors, "b");
    assert_int_equal(b->rank, 2);
    assert_true(b->values[0] == 1.0f && b->values[1] == -3.0f);
    tensors_free(tensors);
    free(path);
}

/* Every half against its definition: (-1)^s 2^(e-15) (1 + f/1024), or 2^-14 f/1024. */
static void all_halves_are_right(void **state)
{
    (void)state;
    enum { HALVES = 1 << 16 };
    const char *header =
        "{\"h\":{\"dtype\":\"F16\",\"shape\":[65536],\"data_offsets\":[0,131072]}}  ";
    uint64_t    length = strlen(header);
    size_t      size = 8 + length + 2 * HALVES;
    char       *bytes = malloc(size);
    Tensors    *tensors;
    Error       err = {""};

    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (int i = 0; i < HALVES; i++)
        memcpy(bytes + 8 + length + 2 * i, &(uint16_t){(uint16_t)i}, 2);
    if (tensors_parse(&tensors, "halves", bytes, size, &err) != 0) fail_msg("%s", err.text);
    for (int i = 0; i < HALVES; i++) {
        int    e = i >> 10 & 31, f = i & 1023;
        double exact = e == 0 ? ldexp(f, -24) : ldexp(1024 + f, e - 25);
        float  got = tensors_at(tensors, 0)->values[i];
        assert_int_equal(!!signbit(got), i >> 15);
        if (e == 31) assert_true(f == 0 ? isinf(got) : isnan(got));
        else assert_true(fabs((double)got) == exact);
    }
    tensors_free(tensors);
    free(bytes);
}

/* Between what is read lie tensors of all other types; only their names and types are known. */
static void other_types_are_passed_over(void **state)
{
    (void)state;
    const char *types[] = {"F64",         "I64",     "I32",     "I16",     "I8",
                           "U64",         "U32",     "U16",     "U8",      "BOOL",
                           "C64",         "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ",
                           "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4"};
    int         count = sizeof types / sizeof *types;
    char       *path = fixture("other-types"), name[32];
    Tensors    *tensors = read_ok(path);

    assert_int_equal(tensors_count(tensors), 2);
    assert_true(tensors_find(tensors, "first")->values[0] == 1.0f
                && tensors_find(tensors, "last")->values[0] == -2.0f);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "t.%s", types[i]);
        assert_null(tensors_find(tensors, name));
        assert_string_equal(tensors_passed_over(tensors, name), types[i]);
    }
    assert_null(tensors_passed_over(tensors, "first"));
    assert_null(tensors_passed_over(tensors, "t"));
    tensors_free(tensors);
    free(path);
}

static void the_order_is_that_of_the_file(void **state)
{
    (void)state;
    char    *path = fixture("mixed-order");
    Tensors *tensors = read_ok(path);

    assert_string_equal(tensors_at(tensors, 0)->name, "early");
    assert_true(tensors_at(tensors, 0)->values[1] == 2.0f);
    assert_true(tensors_find(tensors, "late")->values[0] == 3.0f);
    tensors_free(tensors);
    free(path);
}

static void assert_same(const Tensors *a, const Tensors *b)
{
    assert_int_equal(tensors_count(a), tensors_count(b));
    for (int i = 0; i < tensors_count(a); i++) {
        const Tensor *x = tensors_at(a, i), *y = tensors_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->dim, y->dim, sizeof x->dim);
        if (x->count > 0)
            assert_memory_equal(x->values, y->values, (size_t)x->count * sizeof(float));
    }
    assert_int_equal(tensors_note_count(a), tensors_note_count(b));
    for (int i = 0; i < tensors_note_count(a); i++) {
        const char *key = tensors_note_key(a, i);
        assert_string_equal(tensors_note(a, key), tensors_note(b, key));
    }
}

static void reads_write_reads(const char *path, const char *expected, void *context)
{
    (void)expected;
    char    *copy = format_text("%s/copy", (char *)context);
    Tensors *first = read_ok(path);
    Error    err = {""};

    if (tensors_write(first, copy, &err) != 0) fail_msg("%s", err.text);
    Tensors *second = read_ok(copy);
    assert_same(first, second);
    tensors_free(first);
    tensors_free(second);
    free(copy);
}

static void good_files_survive_a_round_trip(void **state)
{
    (void)state;
    char *folder = temp_make();

    fixtures_each("tensors", "good", reads_write_reads, folder);
    temp_remove(folder);
}

/* Forty small ones whose names need escaping, and a large one. */
static Tensors *random_tensors(Rng rng)
{
    Tensors *tensors;

    assert_int_equal(tensors_new(&tensors, NULL), 0);
    assert_int_equal(tensors_set_note(tensors, "no\"te", "a\\b\n\xc3\xa9", NULL), 0);
    for (int i = 0; i < 40; i++) {
        char    name[32];
        int64_t dim[4];
        int     rank = (int)rng_range(&rng, 0, 4);
        snprintf(name, sizeof name, "t\"\\\n%d", i);
        for (int d = 0; d < rank; d++) dim[d] = rng_range(&rng, 0, i == 0 ? 20 : 6);
        Tensor *tensor = add(tensors, name, rank, dim);
        for (int64_t j = 0; j < tensor->count; j++)
            tensor->values[j] = (float)rng_normal(1, 2, 3, (uint64_t)j);
    }
    add(tensors, "large", 1, (int64_t[]){70000})->values[69999] = 5;
    return tensors;
}

static void random_tensors_survive_a_round_trip(void **state)
{
    (void)state;
    char    *folder = temp_make(), *path = format_text("%s/t", folder);
    Tensors *tensors =
        random_tensors((Rng){test_seed("random_tensors_survive_a_round_trip", 1), 0});
    Error    err = {""};

    if (tensors_write(tensors, path, &err) != 0) fail_msg("%s", err.text);
    Tensors *again = read_ok(path);
    assert_same(tensors, again);

    size_t   size;
    uint64_t header;
    char    *bytes = slurp(path, &size);
    memcpy(&header, bytes, 8);
    assert_int_equal((8 + header) % 8, 0);       /* the data is aligned */
    free(bytes);
    tensors_free(tensors);
    tensors_free(again);
    free(path);
    temp_remove(folder);
}

/* What we write is read by others, and what others write by us. */
static void python_agrees(void **state)
{
    (void)state;
    char       *folder = temp_make(), *path = format_text("%s/t", folder),
               *copy = format_text("%s/copy", folder);
    char       *script = format_text("%s/tests/safetensors_copy.py", PIPEBD_ROOT);
    const char *python = getenv("PYTHON") ? getenv("PYTHON") : "python3";
    Tensors    *tensors = random_tensors((Rng){test_seed("python_agrees", 2), 0});
    Error       err = {""};

    if (tensors_write(tensors, path, &err) != 0) fail_msg("%s", err.text);
    Ran ran = run_command((const char *[]){python, script, path, copy, NULL}, NULL);
    if (ran.status != 0) fail_msg("%s", ran.err);
    Tensors *again = read_ok(copy);
    assert_same(tensors, again);
    tensors_free(tensors);
    tensors_free(again);
    ran_free(&ran);
    free(script);
    free(copy);
    free(path);
    temp_remove(folder);
}

/* From the file and from memory; the name is short, so that the text is the same wherever
 * the sources are. */
static void refuses(const char *path, const char *expected, void *context)
{
    (void)context;
    Tensors *tensors = (Tensors *)1;
    Error    err = {""};
    size_t   length;
    char    *bytes = slurp(path, &length);

    assert_int_equal(tensors_read(&tensors, path, &err), -1);
    assert_null(tensors);
    assert_int_equal(tensors_parse(&tensors, strrchr(path, '/') + 1, bytes, length, &err), -1);
    assert_null(tensors);
    fixture_refused(path, expected, err.text);
    free(bytes);
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    fixtures_each("tensors", "bad", refuses, NULL);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    Tensors *tensors;
    Error    err = {""};

    assert_int_equal(tensors_read(&tensors, "/nowhere/at/all", &err), -1);
    assert_string_equal(err.text, "/nowhere/at/all: cannot open: No such file or directory");
    assert_int_equal(tensors_read(&tensors, "/dev/null", &err), -1);
    assert_string_equal(err.text, "/dev/null: is no regular file, expected safetensors");
    assert_int_equal(tensors_read(&tensors, "/", &err), -1);

    char *folder = temp_make(), *pipe = format_text("%s/pipe", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(tensors_read(&tensors, pipe, &err), -1);        /* at once */
    assert_non_null(strstr(err.text, "/pipe: is no regular file, expected safetensors"));
    free(pipe);
    temp_remove(folder);
}

/* A limit on the size of files stands for a full disk: what was there stays. */
static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    char         *folder = temp_make(), *path = format_text("%s/t", folder);
    struct rlimit old, small = {1000, RLIM_INFINITY};
    Tensors      *tensors;
    Error         err = {""};

    assert_int_equal(tensors_new(&tensors, NULL), 0);
    add(tensors, "a", 1, (int64_t[]){10});
    assert_int_equal(tensors_write(tensors, path, NULL), 0);
    add(tensors, "b", 1, (int64_t[]){100000});
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = tensors_write(tensors, path, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(err.text, "cannot write: File too large"));
    tensors_free(tensors);
    tensors = read_ok(path);
    assert_int_equal(tensors_count(tensors), 1);
    tensors_free(tensors);
    assert_int_equal(remove(path), 0);
    assert_int_equal(rmdir(folder), 0);          /* no temporary file is left */
    free(path);
    free(folder);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    char *folder = temp_make(), *path = format_text("%s/t", folder), *good = fixture("other-types");
    long  n = 1;

    for (int done = 0; !done; n++) {
        Tensors *tensors = NULL;
        Error    err = {""};
        alloc_fail_after(n);
        int rc = tensors_read(&tensors, good, &err);
        if (rc == 0) rc = tensors_set_note(tensors, "more", "text", &err);
        if (rc == 0) rc = tensors_write(tensors, path, &err);
        done = !alloc_fail_reached();
        alloc_fail_after(0);
        tensors_free(tensors);
        if (rc != 0 && !err.text[0]) fail_msg("allocation %ld failed without a message", n);
        if (done) assert_int_equal(rc, 0);
    }
    assert_true(n > 40);
    free(good);
    free(path);
    temp_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_tensors_are_found_by_name),
        cmocka_unit_test(impossible_tensors_are_refused),
        cmocka_unit_test(notes_are_kept_and_replaced),
        cmocka_unit_test(every_element_type_is_widened),
        cmocka_unit_test(all_halves_are_right),
        cmocka_unit_test(other_types_are_passed_over),
        cmocka_unit_test(the_order_is_that_of_the_file),
        cmocka_unit_test(good_files_survive_a_round_trip),
        cmocka_unit_test(random_tensors_survive_a_round_trip),
        cmocka_unit_test(python_agrees),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
