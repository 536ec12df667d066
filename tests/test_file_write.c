/* Writing files (base/file.h): links, modes, limits and signals, on file systems with files without
 * names and on one that knows none. */
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

/* ---- a file system without O_TMPFILE ---------------------------------------------- */

static bool nameless = true;             /* false: O_TMPFILE is refused, as NFS does */

/* In libc's place, for this program. */
int open(const char *path, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (!nameless && (flags & O_TMPFILE) == O_TMPFILE) { errno = EOPNOTSUPP; return -1; }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* ---- a folder --------------------------------------------------------------------- */

static void must_write(const char *path, const char *text)
{
    Error err = {""};

    if (file_write(path, text, strlen(text), &err) != 0) fail_msg("%s", err.text);
}

static void check_text(const char *path, const char *expected)
{
    char *text = slurp(path, NULL);

    assert_string_equal(text, expected);
    free(text);
}

static int mode_of(const char *path)
{
    struct stat info;

    assert_int_equal(stat(path, &info), 0);
    return (int)(info.st_mode & 07777);
}

static bool is_link(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

/* Every test, in both. */
#define EACH_FILE_SYSTEM for (int n_ = 0; n_ < 2 && (nameless = n_ == 0, true); n_++)

/* ---- links and modes ---------------------------------------------------------------- */

/* a -> deep/b -> ../c, and nothing is at c: c appears, a and b stay. Whoever only asks makes
 * nothing. */
static void links_are_followed_and_stay(void **state)
{
    (void)state;
    EACH_FILE_SYSTEM {
        char *folder = temp_make(), *a = format_text("%s/a", folder),
             *b = format_text("%s/deep/b", folder);
        char *c = format_text("%s/c", folder), *deep = format_text("%s/deep", folder);
        Error err = {""};

        assert_int_equal(mkdir(deep, 0700), 0);
        assert_int_equal(symlink("deep/b", a), 0);
        assert_int_equal(symlink("../c", b), 0);
        assert_int_equal(file_check_writable(a, &err), 0);
        assert_true(is_link(a) && is_link(b) && access(c, F_OK) != 0);
        for (int time = 0; time < 2; time++) {
            must_write(a, time ? "two" : "one");
            check_text(c, time ? "two" : "one");
            assert_true(is_link(a) && is_link(b));
        }
        assert_int_equal(files_in(folder), 3);
        assert_int_equal(unlink(c), 0);
        assert_int_equal(symlink("a", c), 0);                     /* a circle */
        assert_int_equal(file_write(a, "x", 1, &err), -1);
        assert_non_null(
            strstr(err.text, "/a: cannot be written: Too many levels of symbolic links"));
        free(a);
        free(b);
        free(c);
        free(deep);
        temp_remove(folder);
    }
}

static void modes_are_kept(void **state)
{
    (void)state;
    static const mode_t kept[] = {0600, 0640, 0444, 0755};
    mode_t before = umask(027);

    EACH_FILE_SYSTEM {
        char *folder = temp_make(), *path = format_text("%s/f", folder);
        must_write(path, "one");
        assert_int_equal(mode_of(path), 0640);                    /* 0666 without the umask's
                                                                   * bits */
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
            Error err = {""};
            assert_int_equal(chmod(path, kept[i]), 0);
            bool allowed = access(path, W_OK) == 0;               /* to root all is */
            assert_int_equal(file_check_writable(path, &err), allowed ? 0 : -1);
            assert_int_equal(file_write(path, "two", 3, &err), allowed ? 0 : -1);
            if (!allowed)
                assert_non_null(strstr(err.text, "/f: cannot be written: Permission denied"));
            check_text(path, allowed || i > 0 ? "two" : "one");
            assert_int_equal(mode_of(path), kept[i]);
        }
        assert_int_equal(files_in(folder), 1);
        free(path);
        temp_remove(folder);
    }
    umask(before);
}

/* ---- limits ---------------------------------------------------------------------------- */

/* In a child of its own, since limits do not go up again. */
static int write_over_the_limit(const char *path)
{
    static char big[100000];
    Error       err = {""};

    file_limits_are_errors();
    if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096}) != 0) return 1;
    if (file_write(path, big, sizeof big, &err) != -1) return 2;
    return strstr(err.text, "/f: cannot write: File too large") ? 0 : 3;
}

static void a_limit_is_an_error(void **state)
{
    (void)state;
    EACH_FILE_SYSTEM {
        char *folder = temp_make(), *path = format_text("%s/f", folder);
        int   status;

        must_write(path, "good");
        pid_t child = fork();
        if (child == 0) _exit(write_over_the_limit(path));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        check_text(path, "good");
        assert_int_equal(files_in(folder), 1);
        free(path);
        temp_remove(folder);
    }
}

/* ---- signals ---------------------------------------------------------------------------- */

enum { BYTES = 1 << 20 };

static char bytes[BYTES + 1];

/* A signal in the midst of a write: the file is whole, nothing else is there, and the process ends
 * by the signal itself. The write is to a new file or over an old one, by turns. */
static void signals_leave_nothing(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    uint64_t         seed = test_seed("signals_leave_nothing", 1), random = seed;

    memset(bytes, 'x', BYTES);
    EACH_FILE_SYSTEM for (int i = 0; i < 24; i++) {
        char *folder = temp_make(), *path = format_text("%s/f", folder);
        int   status, signal = signals[i % 4];
        pid_t child = fork();
        if (child == 0)
            for (;;) {
                file_write(path, bytes, BYTES, NULL);
                if (i % 8 < 4) unlink(path);
            }
        random = random * 6364136223846793005u + 1442695040888963407u;
        usleep((useconds_t)(random >> 33) % 6000);
        kill(child, signal);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal);
        if (access(path, F_OK) == 0) {
            check_text(path, bytes);
            unlink(path);
        }
        assert_int_equal(files_in(folder), 0);
        free(path);
        temp_remove(folder);
    }
}

static atomic_int caught;

static void count_signal(int signal) { (void)signal; caught++; }

/* Handlers of the program's own, and ignored signals, are left alone. */
static void handlers_stay(void **state)
{
    (void)state;
    EACH_FILE_SYSTEM {
        char            *folder = temp_make(), *path = format_text("%s/f", folder);
        struct sigaction now;

        signal(SIGTERM, count_signal);
        signal(SIGHUP, SIG_IGN);
        signal(SIGUSR1, SIG_DFL);
        must_write(path, "one");
        must_write(path, "two");
        sigaction(SIGTERM, NULL, &now);
        assert_true(now.sa_handler == count_signal);
        sigaction(SIGHUP, NULL, &now);
        assert_true(now.sa_handler == SIG_IGN);
        sigaction(SIGUSR1, NULL, &now);
        assert_true(now.sa_handler == SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        free(path);
        temp_remove(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_are_followed_and_stay),
        cmocka_unit_test(modes_are_kept),
        cmocka_unit_test(a_limit_is_an_error),
        cmocka_unit_test(signals_leave_nothing),
        cmocka_unit_test(handlers_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
