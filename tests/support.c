#include "tests/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

enum { NOT_STARTED = 127 };

/* ---- memory running out -------------------------------------------------- */

/* The linker sends malloc here (--wrap), so the counters cannot be an argument. */
static atomic_long calls_left;      /* threads allocate too */
static atomic_int  failed_once;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

static bool fails_now(void)
{
    long left = atomic_load(&calls_left);

    while (left > 0 && !atomic_compare_exchange_weak(&calls_left, &left, left - 1)) {}
    if (left != 1) return false;
    failed_once = 1;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

void alloc_fail_after(long n)
{
    atomic_store(&calls_left, n);
    failed_once = 0;
}

int alloc_fail_reached(void)
{
    return failed_once;
}

void ok(int rc, const Error *err)
{
    if (rc != 0) fail_msg("%s", err->text);
}

/* ---- folders and files --------------------------------------------------- */

char *format_text(const char *format, ...)
{
    va_list args;
    char   *text = NULL;

    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) fail_msg("out of memory");
    return text;
}

char *temp_make(void)
{
    const char *base = getenv("TMPDIR");
    char       *folder = format_text("%s/pipebd-test-XXXXXX", base && *base ? base : "/tmp");

    if (!mkdtemp(folder)) fail_msg("cannot make the folder %s", folder);
    return folder;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info; (void)kind; (void)where;
    return remove(path);
}

void temp_remove(char *folder)
{
    if (nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fail_msg("cannot remove %s", folder);
    free(folder);
}

/* What stands in an open file from its start; NULL when it cannot be read. */
static char *read_stream(FILE *file, size_t *length)
{
    size_t used = 0, capacity = 4096;
    char  *text = malloc(capacity + 1);

    rewind(file);
    while (text) {
        used += fread(text + used, 1, capacity - used, file);
        if (used < capacity) break;
        capacity *= 2;
        char *bigger = realloc(text, capacity + 1);
        if (!bigger) free(text);
        text = bigger;
    }
    if (text && ferror(file)) { free(text); text = NULL; }
    if (text) text[used] = '\0';
    if (text && length) *length = used;
    return text;
}

static char *slurp_if_there(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text = file ? read_stream(file, length) : NULL;

    if (file) fclose(file);
    return text;
}

char *slurp(const char *path, size_t *length)
{
    char *text = slurp_if_there(path, length);

    if (!text) fail_msg("cannot read %s", path);
    return text;
}

void spill_bytes(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    bool  written = file && fwrite(bytes, 1, length, file) == length;

    if (file && fclose(file) != 0) written = false;
    if (!written) fail_msg("cannot write %s", path);
}

void spill(const char *path, const char *text) { spill_bytes(path, text, strlen(text)); }

int files_in(const char *folder)
{
    DIR *d = opendir(folder);
    int  count = 0;

    if (!d) fail_msg("cannot read %s", folder);
    while (readdir(d)) count++;
    closedir(d);
    return count - 2;                    /* . and .. */
}

/* ---- golden outputs ------------------------------------------------------ */

static bool golden_writes(void)
{
    const char *mode = getenv("PIPEBD_GOLDEN");

    return mode && strcmp(mode, "write") == 0;
}

/* Shows the first line in which the texts differ. */
static void show_difference(const char *name, const char *expected, const char *found)
{
    int line = 1;

    for (;; line++) {
        size_t a = strcspn(expected, "\n"), b = strcspn(found, "\n");
        bool   last = !expected[a] || !found[b];
        if (a != b || memcmp(expected, found, a) != 0 || expected[a] != found[b] || last) {
            print_error(
                "tests/golden/%s differs at line %d\n  expected: %.*s%s\n  found:    %.*s%s\n",
                name, line, (int)a, expected, expected[a] ? "" : " (end of text)", (int)b, found,
                found[b] ? "" : " (end of text)");
            return;
        }
        expected += a + 1;
        found += b + 1;
    }
}

void golden_check(const char *name, const char *text)
{
    char *path = format_text("%s/tests/golden/%s", PIPEBD_ROOT, name);

    if (golden_writes()) {
        spill(path, text);
        free(path);
        return;
    }
    char *expected = slurp_if_there(path, NULL);
    free(path);
    if (!expected) fail_msg("there is no tests/golden/%s; make golden writes it", name);
    bool same = strcmp(expected, text) == 0;
    if (!same) show_difference(name, expected, text);
    free(expected);
    if (!same) fail_msg("not as in tests/golden/%s", name);
}

/* ---- fixtures ------------------------------------------------------------ */

static int visible_fixture(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), suffix = strlen(".expected");

    if (entry->d_name[0] == '.') return 0;
    return length <= suffix || strcmp(entry->d_name + length - suffix, ".expected") != 0;
}

static void visit_fixture(const char *folder, const char *name, FixtureVisit *visit, void *context)
{
    char *path = format_text("%s/%s", folder, name);
    char *beside = format_text("%s.expected", path);
    char *expected = slurp_if_there(beside, NULL);

    if (expected) {
        size_t length = strlen(expected);
        if (length > 0 && expected[length - 1] == '\n') expected[length - 1] = '\0';
    }
    visit(path, expected, context);
    free(expected);
    free(beside);
    free(path);
}

/* strcmp, not alphasort: the order must not hang on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

void fixtures_each(const char *format, const char *kind, FixtureVisit *visit, void *context)
{
    char           *folder = format_text("%s/tests/fixtures/%s/%s", PIPEBD_ROOT, format, kind);
    struct dirent **names = NULL;
    int             count = scandir(folder, &names, visible_fixture, by_name);

    if (count <= 0) fail_msg("there are no fixtures in %s", folder);
    for (int i = 0; i < count; i++) {
        visit_fixture(folder, names[i]->d_name, visit, context);
        free(names[i]);
    }
    free(names);
    free(folder);
}

void fixture_refused(const char *path, const char *expected, const char *found)
{
    char *beside = format_text("%s.expected", path), *line = format_text("%s\n", found);

    if (golden_writes()) {
        spill(beside, line);
    } else {
        if (!expected) fail_msg("there is no %s; make golden writes it", beside);
        if (strcmp(expected, found) != 0)
            fail_msg("%s\n  expected: %s\n  found:    %s", path, expected, found);
    }
    free(beside);
    free(line);
}

/* ---- commands ------------------------------------------------------------ */

/* In the child: never returns. */
static void become(const char *const *argv, FILE *in, FILE *out, FILE *err)
{
    char path[PATH_MAX];

    if (dup2(fileno(in), STDIN_FILENO) < 0 || dup2(fileno(out), STDOUT_FILENO) < 0 ||
        dup2(fileno(err), STDERR_FILENO) < 0)
        _exit(NOT_STARTED);
    snprintf(path, sizeof path, "%s/%s", PIPEBD_BIN, argv[0]);
    if (access(path, X_OK) != 0) snprintf(path, sizeof path, "%s", argv[0]);
    execvp(path, (char *const *)(uintptr_t)argv);
    perror(argv[0]);
    _exit(NOT_STARTED);
}

/* Files, not pipes: nobody need read while the command writes. */
Ran run_command(const char *const *argv, const char *input)
{
    FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();
    Ran   ran = {0};
    int   status = 0;

    if (!in || !out || !err) fail_msg("cannot make a temporary file");
    if (input) fputs(input, in);
    rewind(in);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) become(argv, in, out, err);
    if (child < 0 || waitpid(child, &status, 0) != child) fail_msg("cannot run %s", argv[0]);

    ran.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    ran.out = read_stream(out, NULL);
    ran.err = read_stream(err, NULL);
    fclose(in);
    fclose(out);
    fclose(err);
    if (!ran.out || !ran.err) fail_msg("cannot read what %s wrote", argv[0]);
    return ran;
}

void ran_free(Ran *ran)
{
    free(ran->out);
    free(ran->err);
    *ran = (Ran){0};
}

/* ---- random tests -------------------------------------------------------- */

uint64_t test_seed(const char *test, uint64_t fallback)
{
    const char *text = getenv("PIPEBD_SEED");
    uint64_t    seed = text ? strtoull(text, NULL, 0) : fallback;

    print_message("# %s: seed %" PRIu64 "\n", test, seed);
    return seed;
}

bool test_thorough(void)
{
    const char *text = getenv("PIPEBD_THOROUGH");

    return text && *text;
}

int test_cases(int all)
{
    if (test_thorough()) return all;
    return all < 4 ? 1 : all / 4;
}

/* Fails the n-th allocation for every n; returns how many there were. ours: all of them are
 * the project's own. */
static long fail_each(ReadText *read, const char *text, bool ours)
{
    for (long n = 1;; n++) {
        Error err = {""};

        alloc_fail_after(n);
        int  rc = read(text, strlen(text), &err);
        bool reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0 && ours) assert_string_equal(err.text, "out of memory");
        if (rc != 0) assert_string_not_equal(err.text, "");
        if (ours || !reached) assert_int_equal(rc, reached ? -1 : 0);
        if (!reached) return n - 1;
    }
}

void alloc_fail_in_jansson(void)
{
    json_set_alloc_funcs(malloc, free);
}

/* jansson does not check all of its allocations (a string may lose a character), so of those
 * no more is asked than an end without a crash. */
void reader_out_of_memory(ReadText *read, const char *fixture)
{
    char *path = format_text("%s/tests/fixtures/%s", PIPEBD_ROOT, fixture);
    char *text = slurp(path, NULL);
    long  ours = fail_each(read, text, true);

    assert_true(ours > 3);
    alloc_fail_in_jansson();
    assert_true(fail_each(read, text, false) > ours + 50);
    free(text);
    free(path);
}
