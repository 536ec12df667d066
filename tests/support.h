/* What the C tests share: temporary folders, files, golden outputs, fixtures and
 * running a tool. A helper that cannot do its work fails the test that called it. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka 2 has assert_int_in_range(), and deprecates what 1 has instead, which compares as
 * unsigned; here they are no names, with either. */
#ifndef assert_int_in_range
#define assert_int_in_range(value, least, most)                                    \
    do {                                                                           \
        intmax_t value_ = (value), least_ = (least), most_ = (most);               \
        if (value_ < least_ || value_ > most_)                                     \
            fail_msg("%s is %jd, not in %jd..%jd", #value, value_, least_, most_); \
    } while (0)
#endif
#undef assert_in_range

/* A macro of cmocka's, which members of our structs are called too. */
#undef stop

#include "base/error.h"

/* PIPEBD_ROOT and PIPEBD_BIN, string literals: the sources' root, the tools' folder. */
#if !defined(PIPEBD_ROOT) || !defined(PIPEBD_BIN)
#error "the Makefile defines PIPEBD_ROOT and PIPEBD_BIN"
#endif

/* Makes an empty folder; its path is yours, until temp_remove() removes the folder
 * with all in it and frees the path. */
char *temp_make(void);
void  temp_remove(char *folder);

/* Fails with err's text unless rc is 0. */
void ok(int rc, const Error *err);

/* printf into fresh memory, yours: paths and the like. */
char *format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A whole file, yours, NUL-terminated. length may be NULL. */
char *slurp(const char *path, size_t *length);
void  spill(const char *path, const char *text);
void  spill_bytes(const char *path, const void *bytes, size_t length);

/* How many files and folders there are in it, hidden ones too. */
int files_in(const char *folder);

/* Fails unless text is tests/golden/<name>, byte for byte, and then shows the first
 * line that differs. With PIPEBD_GOLDEN=write in the environment (make golden) the
 * file is written instead. */
void golden_check(const char *name, const char *text);

/* Calls visit for every file of tests/fixtures/<format>/<kind> in order of name, kind
 * being "good" or "bad"; fails when there is none. expected is what stands in
 * PATH.expected, without its last newline, or NULL when there is no such file; such
 * files are not visited themselves. Paths are absolute. */
typedef void FixtureVisit(const char *path, const char *expected, void *context);
void fixtures_each(const char *format, const char *kind, FixtureVisit *visit, void *context);

/* Fails unless found, the error that the bad fixture at path gave, is what stands in
 * PATH.expected (expected, as fixtures_each() hands it over). make golden writes it. */
void fixture_refused(const char *path, const char *expected, const char *found);

/* What a command did. status is 0..255, or 128 + N when signal N ended it. */
typedef struct {
    int   status;
    char *out, *err;         /* owned, NUL-terminated */
} Ran;

/* Runs argv (NULL-terminated; argv[0] is looked up in PIPEBD_BIN first, then in PATH)
 * with input on its standard input (NULL: empty). Release with ran_free(). */
Ran  run_command(const char *const *argv, const char *input);
void ran_free(Ran *ran);

/* The seed of a randomised test: PIPEBD_SEED from the environment, or fallback. It
 * is printed, so that a failure can be repeated. */
uint64_t test_seed(const char *test, uint64_t fallback);

/* Cases of a random search: all of them if the test is to be thorough (PIPEBD_THOROUGH in the
 * environment, make check-all), else a quarter, at least one. What must have come up among them is
 * cut alike. */
int  test_cases(int all);
bool test_thorough(void);

/* Memory running out: malloc, calloc, realloc and strdup of the code under test fail
 * on their n-th call from now (1 is the next), and then work again; 0 switches it
 * off. alloc_fail_reached() tells whether that call was made. Works where the program
 * was linked with the wrappers (the Makefile does it for every test). */
void alloc_fail_after(long n);
int  alloc_fail_reached(void);

/* From now on allocations of jansson count and fail, too: it calls the allocator from a
 * library of its own, out of the wrappers' sight, until it is given ours. Returns 0 in a
 * build without jansson. */
void alloc_fail_in_jansson(void);

/* A reader of a format: reads a text, frees what came of it, and returns what it returned;
 * asserts that nothing came where that is not 0. */
typedef int ReadText(const char *text, size_t length, Error *err);

/* Reads tests/fixtures/<fixture> with each allocation failing in turn: no crash, no leak (the
 * sanitizers see it), an error each time. Changes jansson's allocator: a program's last test. */
void reader_out_of_memory(ReadText *read, const char *fixture);

#endif
