/* Lists of layer-wise scheduling: time, distance to the optimum, and whether the optimum
 * is proven, of every method.
 *
 * Tasks take 10 to 100 ms in whole nanoseconds, drawn evenly; on unrelated devices every
 * device draws anew. Medians over instances; gap: makespan over the best bound that any
 * method proved for the instance, the largest of the instances in brackets. LPT and
 * MULTIFIT prove an optimum only where they meet a simple bound. Limits are the defaults
 * of pipebd-plan, a number of nodes, so that lists are the same on every machine; glpk has
 * fewer nodes here, to end within the day.
 *
 * tasks TASKS DEVICES INSTANCE prints the times of one instance on unrelated devices in ns, a task
 * a line; then exact's makespan and bound, ns, and seconds: for bench/tasks_highs.py. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/rng.h"
#include "bench/bench.h"
#include "planner/ls/tasks.h"
#ifdef HAVE_GLPK
#include "planner/ls/glpk/tasks_glpk.h"

enum { MAX_CELLS = 100 * 16, METHODS = 4 };
#else
enum { MAX_CELLS = 100 * 16, METHODS = 3 };
#endif

typedef struct { int tasks, devices, instances; bool unrelated; } Size;

typedef struct {
    const char  *name;
    TaskSolver  *solve;
    int64_t      nodes;          /* 0: the method's own */
    BenchSamples ms, gap;
    int          proven;
} BenchMethod;

static void draw(int64_t *ns, const Size *size, int instance)
{
    Rng rng = {.seed = (uint64_t)(1000 * size->tasks + 10 * size->devices + size->unrelated)};

    for (int skip = 0; skip <= instance; skip++)
        for (int t = 0; t < size->tasks; t++) {
            int64_t same = rng_range(&rng, 10000000, 100000000);
            for (int d = 0; d < size->devices; d++)
                ns[t * size->devices + d] =
                    size->unrelated ? rng_range(&rng, 10000000, 100000000) : same;
        }
}

static void measure(BenchMethod *methods, const Size *size, int instance)
{
    int64_t     ns[MAX_CELLS], makespan[METHODS], bound = 0;
    TaskProblem p = {size->tasks, size->devices, ns};

    draw(ns, size, instance);
    for (int i = 0; i < METHODS; i++) {
        TaskLists  lists;
        Error      err = {""};
        TaskLimits limits = {.nodes = methods[i].nodes};
        double     start = bench_now();
        bench_require(methods[i].solve(&lists, &p, &limits, &err), &err);
        bench_add(&methods[i].ms, 1e3 * (bench_now() - start));
        makespan[i] = lists.makespan_ns;
        if (lists.bound_ns > bound) bound = lists.bound_ns;
        methods[i].proven += tasks_gap(&lists) < 2e-6;
        free(lists.device);
    }
    for (int i = 0; i < METHODS; i++)
        bench_add(&methods[i].gap, 100 * (double)(makespan[i] - bound) / (double)bound);
}

static void print_size(const Size *size)
{
    BenchMethod methods[METHODS] = {
        {.name = "lpt", .solve = tasks_lpt}, {.name = "multifit", .solve = tasks_multifit},
        {.name = "exact", .solve = tasks_exact},
#ifdef HAVE_GLPK
        {.name = "glpk", .solve = tasks_glpk, .nodes = 2000},
#endif
    };

    for (int i = 0; i < size->instances; i++) measure(methods, size, i);
    for (int i = 0; i < METHODS; i++)
        printf("| %d x %d%s | %s | %.3g | %.3g | %.3g (%.3g) | %d of %d |\n", size->tasks,
               size->devices, size->unrelated ? ", unrelated" : "", methods[i].name,
               bench_quantile(&methods[i].ms, 0.5), bench_quantile(&methods[i].ms, 1),
               bench_quantile(&methods[i].gap, 0.5), bench_quantile(&methods[i].gap, 1),
               methods[i].proven, size->instances);
}

static void print_instance(const Size *size, int instance)
{
    int64_t     ns[MAX_CELLS];
    TaskProblem p = {size->tasks, size->devices, ns};
    TaskLists   lists;
    Error       err = {""};

    draw(ns, size, instance);
    for (int t = 0; t < p.tasks; t++)
        for (int d = 0; d < p.devices; d++)
            printf("%" PRId64 "%c", ns[t * p.devices + d], d + 1 < p.devices ? ' ' : '\n');
    double start = bench_now();
    bench_require(tasks_exact(&lists, &p, NULL, &err), &err);
    printf("# %" PRId64 " %" PRId64 " %.3f\n", lists.makespan_ns, lists.bound_ns,
           bench_now() - start);
    free(lists.device);
}

int main(int argc, char **argv)
{
    static const Size sizes[] = {
        {16, 4, 9, false}, {24, 8, 9, false}, {64, 4, 9, false},  {64, 16, 9, false},
        {16, 4, 9, true},  {24, 8, 9, true},  {50, 10, 9, true}, {100, 16, 9, true},
    };

    if (argc == 4) {
        Size size = {.tasks = atoi(argv[1]), .devices = atoi(argv[2]), .unrelated = true};
        bool good = size.tasks > 0 && size.devices > 0 && size.tasks <= MAX_CELLS / size.devices;
        if (!good) fprintf(stderr, "tasks: at most %d pairs of a task and a device\n", MAX_CELLS);
        else       print_instance(&size, atoi(argv[3]));
        return good ? 0 : 2;
    }
    printf("Tasks of 10 to 100 ms in whole nanoseconds, 9 instances a size; unrelated: another "
           "time on every\n"
           "device. Gap: makespan over the best bound that any method proved, median and "
           "(largest). exact stops\n"
           "after 1,000,000 nodes, glpk after 2,000 (20,000 in pipebd-plan); lpt and multifit call "
           "an optimum\n"
           "proven where they meet a simple bound. Proven: to two parts in a million, for the sake "
           "of glpk.\n\n"
           "| tasks x devices | method | median | longest | gap | proven |\n"
           "|---|---|---:|---:|---:|---:|\n| | | ms | ms | %% | |\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) print_size(&sizes[i]);
    return 0;
}
