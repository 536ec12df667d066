/* OpenMP and its environment. A device divides work by a team with a thread for each of its cores,
 * so what the environment says of teams and places can only be wrong. libgomp reads it before
 * main(), and some of it cannot be taken back in the process:
 *
 *     OMP_DYNAMIC, OMP_MAX_ACTIVE_LEVELS   smaller teams; taken back on every device's thread
 *     OMP_THREAD_LIMIT                     smaller teams; a program started again without it
 *     OMP_PLACES, OMP_PROC_BIND            the first thread is bound to one place before main(),
 *                                          and every thread that makes a team to the places' first;
 *                                          started again without
 *
 * What comes nevertheless smaller than a device is refused when it is opened: oneDNN's kernels wait
 * for threads that are not there. */
#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static const char *const variables[] = {"OMP_THREAD_LIMIT",      "OMP_PLACES",   "OMP_PROC_BIND",
                                        "GOMP_CPU_AFFINITY",     "KMP_AFFINITY", "OMP_DYNAMIC",
                                        "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED"};

enum { VARIABLES = sizeof variables / sizeof *variables, NAME_BYTES = 64 };

/* OpenMP 5.1 also reads NAME_ALL. */
static bool is_of_openmp(const char *entry, size_t length)
{
    if (length > 4 && strncmp(entry + length - 4, "_ALL", 4) == 0) length -= 4;
    for (int i = 0; i < VARIABLES; i++)
        if (strlen(variables[i]) == length && strncmp(entry, variables[i], length) == 0)
            return true;
    return false;
}

/* Unsets the first of them that is set. */
static bool unset_one(void)
{
    char name[NAME_BYTES];

    for (char **entry = environ; *entry; entry++) {
        size_t length = strcspn(*entry, "=");
        if (length >= sizeof name || !is_of_openmp(*entry, length)) continue;
        memcpy(name, *entry, length);
        name[length] = '\0';
        return unsetenv(name) == 0;
    }
    return false;
}

/* The cores of all places, which the first thread was allowed before it was bound to one. */
static void take_all_places(void)
{
    int       places = omp_get_num_places();
    size_t    most = 0;
    cpu_set_t all;

    CPU_ZERO(&all);
    for (int p = 0; p < places; p++)
        if ((size_t)omp_get_place_num_procs(p) > most) most = (size_t)omp_get_place_num_procs(p);
    int *cores = calloc(most + 1, sizeof *cores);
    for (int p = 0; cores && p < places; p++) {
        omp_get_place_proc_ids(p, cores);
        for (int i = 0; i < omp_get_place_num_procs(p); i++)
            if (cores[i] >= 0 && cores[i] < CPU_SETSIZE) CPU_SET((size_t)cores[i], &all);
    }
    free(cores);
    if (CPU_COUNT(&all) > 0) sched_setaffinity(0, sizeof all, &all);
}

bool cpu_reset_environment(void)
{
    bool any = false;

    while (unset_one()) any = true;
    if (any) take_all_places();
    return any;
}

int cpu_open_team(int threads, Error *err)
{
    int came = 0;

    omp_set_dynamic(0);
    if (omp_get_max_active_levels() < 1) omp_set_max_active_levels(1);
    omp_set_num_threads(threads);
    if (omp_get_thread_limit() < threads)
        return error_set(
            err, "a device's team needs %d threads, and OMP_THREAD_LIMIT allows %d: unset it",
            threads, omp_get_thread_limit());
#pragma omp parallel
    if (omp_get_thread_num() == 0) came = omp_get_num_threads();
    if (came >= threads) return 0;
    return error_set(
        err, "a device's team needs %d threads, and OpenMP gives %d: unset the variables OMP_*",
        threads, came);
}

void cpu_parallel(const CpuDevice *device, int64_t total, int64_t step, CpuBody *body,
                  void *context)
{
    int64_t steps = (total + step - 1) / step;
    int     parts = device->threads < steps ? device->threads : (int)steps;

    if (parts <= 1) { body(context, 0, total, 0); return; }
    #pragma omp parallel num_threads(parts)
    for (int part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) {
        int64_t begin = steps * part / parts * step, end = steps * (part + 1) / parts * step;

        body(context, begin, end < total ? end : total, part);
    }
}
