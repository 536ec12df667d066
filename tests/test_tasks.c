/* The lists of layer-wise scheduling: every method against brute force, and its promises. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "planner/compare.h"
#ifdef HAVE_GLPK
#include "planner/ls/glpk/tasks_glpk.h"
static const MipSolver *const MIP = &glpk_solver;
#else
static const MipSolver *const MIP = NULL;
#define tasks_glpk tasks_exact           /* what there is, in its place */
#endif
#include "planner/ls/tasks_common.h"
#include "planner/ls/tasks_knapsack.h"
#include "planner/ls/tasks_prices.h"
#include "planner/ls/tasks_weights.h"

enum { MAX_TASKS = 100, MAX_DEVICES = 16 };

typedef struct {
    int64_t     ns[MAX_TASKS * MAX_DEVICES];
    TaskProblem p;
} Case;

/* ---- problems ------------------------------------------------------------------------- */

typedef enum {
    EQUAL,                   /* a task takes the same on all devices */
    KINDS,                   /* two kinds of devices, one slower by half */
    UNRELATED,               /* any time anywhere */
    NOT_EVERYWHERE,          /* two kinds, and devices that cannot take some tasks */
    SHAPES
} Shape;

static void make(Case *c, Rng *rng, Shape shape, int tasks, int devices, int64_t longest)
{
    c->p = (TaskProblem){tasks, devices, c->ns};
    for (int t = 0; t < tasks; t++) {
        int64_t ns = rng_range(rng, 0, longest);
        for (int d = 0; d < devices; d++) {
            if (shape == UNRELATED) ns = rng_range(rng, 0, longest);
            c->ns[t * devices + d] =
                (shape == KINDS || shape == NOT_EVERYWHERE) && 2 * d >= devices ? ns + ns / 2 : ns;
        }
        int can = (int)rng_range(rng, 0, devices - 1);
        for (int d = 0; d < devices && shape == NOT_EVERYWHERE; d++)
            if (d != can && rng_range(rng, 0, 2) == 0) c->ns[t * devices + d] = TASK_IMPOSSIBLE;
    }
}

static int64_t end_of(const int64_t *busy, int devices)
{
    int64_t worst = 0;

    for (int d = 0; d < devices; d++) if (busy[d] > worst) worst = busy[d];
    return worst;
}

/* Every assignment, one after another. */
static int64_t brute(const TaskProblem *p, int task, int64_t *busy)
{
    int64_t best = INT64_MAX;

    if (task == p->tasks) return end_of(busy, p->devices);
    for (int d = 0; d < p->devices; d++) {
        int64_t ns = p->ns[task * p->devices + d];
        if (ns == TASK_IMPOSSIBLE) continue;
        busy[d] += ns;
        int64_t end = brute(p, task + 1, busy);
        if (end < best) best = end;
        busy[d] -= ns;
    }
    return best;
}

static int64_t least_makespan(const TaskProblem *p)
{
    int64_t busy[MAX_DEVICES] = {0};

    return brute(p, 0, busy);
}

/* ---- what every method keeps to ------------------------------------------------------------ */

static TaskLists solve(TaskSolver *solver, const TaskProblem *p, const TaskLimits *limits)
{
    TaskLists lists;
    Error     err = {""};

    if (solver(&lists, p, limits, &err) != 0) fail_msg("%s", err.text);
    int64_t busy[MAX_DEVICES] = {0};
    for (int t = 0; t < p->tasks; t++) {
        assert_int_in_range(lists.device[t], 0, p->devices - 1);
        assert_true(p->ns[t * p->devices + lists.device[t]] != TASK_IMPOSSIBLE);
        busy[lists.device[t]] += p->ns[t * p->devices + lists.device[t]];
    }
    assert_int_equal(lists.makespan_ns, end_of(busy, p->devices));
    assert_true(lists.bound_ns <= lists.makespan_ns);
    assert_int_equal(lists.optimal, lists.makespan_ns == lists.bound_ns);
    assert_true(lists.optimal ? tasks_gap(&lists) == 0 : tasks_gap(&lists) > 0);
    return lists;
}

/* Small problems: bounds are true, proofs are right, exact proves all. Returns how many
 * of count were called optimal. */
static int agree_within(TaskSolver *solver, uint64_t seed, int count, bool all,
                        const TaskLimits *limits)
{
    Rng rng = {.seed = test_seed("tasks", seed)};
    int proven = 0;

    for (int i = 0; i < count; i++) {
        Case c;
        int  devices = (int)rng_range(&rng, 1, 4), most = devices == 4 ? 6 : 7;
        make(&c, &rng, (Shape)(i % SHAPES), (int)rng_range(&rng, 1, most), devices,
             i / SHAPES % 2 ? 9 : 90000);
        int64_t   best = least_makespan(&c.p);
        TaskLists lists = solve(solver, &c.p, limits);
        bool right = lists.bound_ns <= best && lists.makespan_ns >= best && (!all || lists.optimal);
        if (!right) fail_msg("case %d: %lld..%lld, the least is %lld", i, (long long)lists.bound_ns,
                             (long long)lists.makespan_ns, (long long)best);
        if (all) assert_int_equal(lists.stopped, TASKS_FINISHED);
        proven += lists.optimal;
        free(lists.device);
    }
    return proven;
}

static int agree(TaskSolver *solver, uint64_t seed, int count, bool all)
{
    return agree_within(solver, seed, count, all, NULL);
}

static void lpt_proves_no_more_than_is_true(void **state)
{
    (void)state;
    assert_true(agree(tasks_lpt, 31, 3000, false) > 500);
}

static void multifit_proves_no_more_than_is_true(void **state)
{
    (void)state;
    assert_true(agree(tasks_multifit, 32, 3000, false) > 500);
}

static void exact_is_optimal(void **state)
{
    (void)state;
    assert_int_equal(agree(tasks_exact, 33, 6000, true), 6000);
}

/* So few nodes that the tree is left for descents and prices. */
static void exact_proves_no_more_than_is_true_when_stopped(void **state)
{
    (void)state;
    for (int nodes = 4; nodes <= 40; nodes += 12)
        assert_int_in_range(
            agree_within(tasks_exact, 40, 600, false, &(TaskLimits){.nodes = nodes}), 500, 599);
}

#ifdef HAVE_GLPK                         /* what there is without: tests/test_lean.sh */
static void glpk_is_optimal(void **state)
{
    (void)state;
    assert_int_equal(agree(tasks_glpk, 34, 240, true), 240);
}
#endif

/* Graham 1969: LPT is within 4/3 - 1/(3m); Yue 1990: MULTIFIT within 13/11. */
static void the_quick_ones_keep_their_guarantees(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("guarantees", 35)};

    for (int i = 0; i < 1500; i++) {
        Case c;
        make(&c, &rng, EQUAL, (int)rng_range(&rng, 1, 9), (int)rng_range(&rng, 1, 4), 1 + i % 50);
        TaskLists best = solve(tasks_exact, &c.p, NULL), lpt = solve(tasks_lpt, &c.p, NULL);
        TaskLists multifit = solve(tasks_multifit, &c.p, NULL);
        assert_true(best.optimal);
        assert_true(3 * c.p.devices * lpt.makespan_ns <= (4 * c.p.devices - 1) * best.makespan_ns);
        assert_true(11 * multifit.makespan_ns <= 13 * best.makespan_ns);
        free(best.device);
        free(lpt.device);
        free(multifit.device);
    }
}

/* Longer than brute force can follow: the two halves of the branch and bound must agree.
 * A device that takes a hair longer for a task of no importance makes equal devices
 * unrelated, and the makespan longer by no more than that hair. */
static void both_searches_agree(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("searches", 36)};

    for (int i = 0; i < 200; i++) {
        Case c;
        make(&c, &rng, EQUAL, (int)rng_range(&rng, 5, 12), (int)rng_range(&rng, 2, 4), 2000);
        TaskLists equal = solve(tasks_exact, &c.p, &(TaskLimits){.nodes = 100000000});
        c.ns[0]++;
        TaskLists unrelated = solve(tasks_exact, &c.p, &(TaskLimits){.nodes = 100000000});
        assert_true(equal.optimal && unrelated.optimal);
        assert_int_in_range(unrelated.makespan_ns - equal.makespan_ns, 0, 1);
        free(equal.device);
        free(unrelated.device);
    }
}

/* Whatever cannot be chosen, only one answer is possible. */
static void the_smallest_problems(void **state)
{
    static TaskSolver *const solvers[] = {tasks_lpt, tasks_multifit, tasks_glpk, tasks_exact};
    (void)state;

    for (int i = 0; i < 4; i++) {
        int64_t   nothing[6] = {0}, one[3] = {7, 3, 9}, few[6] = {5, 5, 5, 4, 4, 4};
        TaskLists a = solve(solvers[i], &(TaskProblem){2, 3, nothing}, NULL);
        TaskLists b = solve(solvers[i], &(TaskProblem){1, 3, one}, NULL);
        /* more devices than tasks */
        TaskLists c = solve(solvers[i], &(TaskProblem){2, 3, few}, NULL);
        assert_true(a.optimal && a.makespan_ns == 0);
        assert_true(b.optimal && b.makespan_ns == 3 && b.device[0] == 1);
        assert_true(c.optimal && c.makespan_ns == 5);
        free(a.device);
        free(b.device);
        free(c.device);
    }
}

/* Five tasks on two devices:
 *     LPT       3 2 2 | 3 2         7
 *     the best  3 3   | 2 2 2       6 */
static void where_lpt_is_not_enough(void **state)
{
    (void)state;
    int64_t     ns[] = {3, 3, 3, 3, 2, 2, 2, 2, 2, 2};
    TaskProblem p = {5, 2, ns};
    TaskLists   lpt = solve(tasks_lpt, &p, NULL), multifit = solve(tasks_multifit, &p, NULL);

    assert_int_equal(lpt.makespan_ns, 7);
    assert_int_equal(multifit.makespan_ns, 6);
    assert_true(!lpt.optimal && lpt.bound_ns == 6 && multifit.optimal);
    assert_float_equal(tasks_gap(&lpt), 1.0 / 6, 1e-9);
    free(lpt.device);
    free(multifit.device);
}

/* Times near the largest that a trace may hold: no sum overflows unseen. */
static void sums_beyond_64_bits(void **state)
{
    static TaskSolver *const solvers[] = {tasks_lpt, tasks_multifit, tasks_glpk, tasks_exact};
    (void)state;

    for (int i = 0; i < 4; i++) {
        int64_t   ns[30];
        TaskLists lists;
        for (int k = 0; k < 30; k++) ns[k] = INT64_MAX / 8 + k;
        assert_int_equal(solvers[i](&lists, &(TaskProblem){15, 2, ns}, NULL, NULL), 0);
        assert_true(lists.bound_ns > 0 && lists.bound_ns <= lists.makespan_ns);
        free(lists.device);
    }
}

/* ---- the parts of the search where devices differ -------------------------------------------- */

/* Items in random order; the best value by all subsets, and the least that may be missed. */
static void knapsacks_are_the_best(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("knapsacks", 41)};

    for (int i = 0; i < 800; i++) {
        TaskItem items[11];
        int      count = (int)rng_range(&rng, 0, 10);
        int64_t  longest = i % 2 ? 12 : TASK_ITEM_LIMIT / 2, best = 0, value = 0, size = 0;
        int64_t  room = rng_range(&rng, 0, 4 * longest);
        if (room >= TASK_ITEM_LIMIT) room = TASK_ITEM_LIMIT - 1;
        for (int k = 0; k < count; k++)
            items[k] = (TaskItem){rng_range(&rng, 1, longest), rng_range(&rng, 0, longest), k,
                                  false, false};
        for (int set = 0; set < 1 << count; set++) {
            value = size = 0;
            for (int k = 0; k < count; k++) {
                value += set >> k & 1 ? items[k].value : 0;
                size += set >> k & 1 ? items[k].size : 0;
            }
            if (size <= room && value > best) best = value;
        }
        int64_t tolerance = i % 3 ? 0 : longest / 4, most = i % 5 ? INT64_MAX : i % 7;
        task_items_sort(items, count);
        TaskSet r = task_set_solve(items, count, room, tolerance, most);
        value = size = 0;
        for (int k = 0; k < count; k++) {
            value += items[k].taken ? items[k].value : 0;
            size += items[k].taken ? items[k].size : 0;
        }
        assert_true(size <= room && value == r.best && r.best <= best && best <= r.bound);
        assert_true(r.nodes <= most);
        if (most == INT64_MAX) assert_true(r.bound <= r.best + tolerance);
    }
}

static TaskPrices *build_prices(const TaskProblem *p)
{
    TaskPrices *prices;
    Error       err = {""};

    if (task_prices_build(&prices, p, &err) != 0) fail_msg("%s", err.text);
    return prices;
}

/* Below the least makespan a proof is right, and mostly found; from there on there is none, and no
 * pair that the best lists need is struck out. */
static void prices_prove_no_more_than_is_true(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("prices", 42)};
    int proven = 0, struck = 0;

    for (int i = 0; i < 1500; i++) {
        Case       c;
        TaskBudget budget = {0};
        int        devices = (int)rng_range(&rng, 1, 4);
        make(&c, &rng, (Shape)(i % SHAPES), (int)rng_range(&rng, 1, 6), devices,
             i / SHAPES % 3 == 0 ? 9 : i / SHAPES % 3 == 1 ? 90000 : INT64_MAX / 100);
        int64_t     best = least_makespan(&c.p), more = rng_range(&rng, 0, best / 8);
        TaskPrices *prices = build_prices(&c.p);
        if (best > 0) proven += task_prices_prove(prices, best - 1, 100, &budget);
        assert_false(task_prices_prove(prices, best + more, 100, &budget));
        struck += task_prices_strike(prices, c.ns, &budget) > 0;
        assert_int_equal(least_makespan(&c.p), best);
        task_prices_free(prices);
    }
    assert_int_in_range(proven, 900, 1499);
    assert_int_in_range(struck, 300, 1500);
}

/* Weights bound the makespan from below; the lists that come with them, and what descents make of
 * them, are lists. Descents find the least makespan of nearly all small problems. */
static void descents_reach_the_least(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("descents", 43)};
    int reached = 0;

    for (int i = 0; i < 500; i++) {
        Case      c;
        int       devices = (int)rng_range(&rng, 1, 4), device[7];
        int64_t   weight[4], sum = 0;
        Error     err = {""};
        make(&c, &rng, (Shape)(i % SHAPES), (int)rng_range(&rng, 1, 7 - devices / 4), devices,
             90000);
        TaskLists  lists = solve(tasks_lpt, &c.p, NULL);
        TaskBudget budget = {.most = 20000};
        int64_t    best = least_makespan(&c.p), before = lists.makespan_ns;
        assert_int_equal(task_weights_find(weight, device, &c.p, &err), 0);
        for (int d = 0; d < devices; d++) sum += weight[d];
        assert_int_equal(sum, TASK_WEIGHT_SUM);
        assert_true(task_makespan(&c.p, device) >= best);
        assert_int_equal(task_lists_climb(&lists, device, &c.p, &budget, &err), 0);
        assert_true(lists.makespan_ns >= best && lists.makespan_ns <= before);
        assert_int_equal(task_makespan(&c.p, lists.device), lists.makespan_ns);
        reached += lists.makespan_ns == best;
        free(lists.device);
    }
    assert_int_in_range(reached, 495, 500);
}

/* Pairs struck out are in no better lists: the smaller problem has lists of the least makespan, or
 * those there are have it. */
static void narrowing_keeps_the_best(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("narrowing", 44)};
    int settled = 0;

    for (int i = 0; i < 400; i++) {
        Case       c;
        Error      err = {""};
        TaskBudget budget = {.most = 1 + i % 300};
        make(&c, &rng, i % 2 ? UNRELATED : NOT_EVERYWHERE, (int)rng_range(&rng, 4, 7), 3, 90000);
        int64_t   best = least_makespan(&c.p);
        TaskLists lists = solve(tasks_lpt, &c.p, NULL);
        for (int k = 0; k < c.p.tasks * 3; k++)
            if (c.ns[k] >= lists.makespan_ns) c.ns[k] = TASK_IMPOSSIBLE;
        if (!lists.optimal)
            assert_int_equal(task_lists_narrow(&lists, &c.p, c.ns, &budget, &err), 0);
        assert_true(lists.bound_ns <= best && best <= lists.makespan_ns);
        if (lists.makespan_ns > best) assert_int_equal(least_makespan(&c.p), best);
        settled += lists.optimal;
        free(lists.device);
    }
    assert_int_in_range(settled, 200, 400);
}

/* Too hard to prove, and near: 50 tasks on 10 devices, 100 on 16, at whatever speed, and on devices
 * of three kinds. Nothing here depends on the clock. */
static void hard_problems_end_near_the_bound(void **state)
{
    static const struct { int tasks, devices; bool kinds; } sizes[] = {
        {50, 10, false}, {100, 16, false}, {50, 10, true}, {100, 16, true}};
    (void)state;

    for (int i = 0; i < 4; i++) {
        Case c;
        Rng  rng = {.seed = 45 + (uint64_t)i};
        c.p = (TaskProblem){sizes[i].tasks, sizes[i].devices, c.ns};
        for (int t = 0; t < c.p.tasks; t++)
            for (int d = 0; d < c.p.devices; d++)
                c.ns[t * c.p.devices + d] = sizes[i].kinds && d >= 3
                                                ? c.ns[t * c.p.devices + d % 3]
                                                : rng_range(&rng, 10000000, 100000000);
        TaskLists lists = solve(tasks_exact, &c.p, NULL);
        if (tasks_gap(&lists) > 0.026) fail_msg("size %d: %g", i, tasks_gap(&lists));
        free(lists.device);
    }
}

/* ---- limits --------------------------------------------------------------------------------- */

/* Ten tasks on three devices, and the last device takes only the shortest: beyond where LPT
 * and MULTIFIT begin, nothing is dealt out to who cannot take it. */
static void larger_problems_keep_to_what_can_be(void **state)
{
    static TaskSolver *const solvers[] = {tasks_lpt, tasks_multifit, tasks_glpk, tasks_exact};
    (void)state;
    Rng rng = {.seed = test_seed("what can be", 39)};

    for (int i = 0; i < 40; i++) {
        Case      c;
        TaskLists lists[4];
        make(&c, &rng, NOT_EVERYWHERE, 10 + i % 15, 3 + i % 4, 1000000);
        for (int k = 0; k < 4; k++)
            lists[k] = solve(solvers[k], &c.p, &(TaskLimits){.nodes = k == 2 ? 300 : 20000});
        for (int k = 0; k < 3; k++) {
            assert_true(lists[k].makespan_ns >= lists[3].bound_ns
                        && lists[k].bound_ns <= lists[3].makespan_ns);
            if (lists[3].optimal) assert_true(lists[k].makespan_ns >= lists[3].makespan_ns);
        }
        for (int k = 0; k < 4; k++) free(lists[k].device);
    }
}

static void hard_case(Case *c)
{
    Rng rng = {.seed = 37};

    make(c, &rng, EQUAL, 48, 14, 1000000000);
}

/* A search that is stopped says so, and neither its lists nor its bound is worse than
 * those it began with; the same number of nodes gives the same lists. */
static void stopped_searches_say_so(void **state)
{
    static TaskSolver *const solvers[] = {tasks_glpk, tasks_exact};
    (void)state;
    Case c;

    hard_case(&c);
    TaskLists lpt = solve(tasks_lpt, &c.p, NULL);
    for (int i = 0; i < 2; i++) {
        TaskLimits nodes = {.nodes = 20}, time = {.time_ms = 1};
        TaskLists  a = solve(solvers[i], &c.p, &nodes), b = solve(solvers[i], &c.p, &nodes);
        TaskLists  t = solve(solvers[i], &c.p, &time);
        assert_true(!a.optimal && a.stopped == TASKS_OUT_OF_NODES && a.nodes <= 20);
        assert_true(a.makespan_ns <= lpt.makespan_ns && a.bound_ns >= lpt.bound_ns);
        assert_memory_equal(a.device, b.device, (size_t)c.p.tasks * sizeof *a.device);
        assert_int_equal(a.bound_ns, b.bound_ns);
        assert_true(!t.optimal && t.stopped == TASKS_OUT_OF_TIME);
        free(a.device);
        free(b.device);
        free(t.device);
    }
    free(lpt.device);
}

/* Too hard to prove, and still better than both quick methods, and near the bound. */
static void exact_improves_what_it_cannot_prove(void **state)
{
    (void)state;
    Case c;

    hard_case(&c);
    TaskLists lpt = solve(tasks_lpt, &c.p, NULL), multifit = solve(tasks_multifit, &c.p, NULL);
    TaskLists exact = solve(tasks_exact, &c.p, NULL);
    assert_true(exact.makespan_ns < lpt.makespan_ns && exact.makespan_ns < multifit.makespan_ns);
    assert_true(tasks_gap(&exact) < 0.01);
    free(lpt.device);
    free(multifit.device);
    free(exact.device);
}

/* Many short tasks: proven within the default number of nodes, in the shapes that a trace
 * can have. */
static void exact_proves_64_on_4(void **state)
{
    (void)state;
    Rng rng = {.seed = test_seed("64 on 4", 38)};

    for (int i = 0; i < 10; i++) {
        Case c;
        make(&c, &rng, EQUAL, 64, 4, 100000000);
        TaskLists lists = solve(tasks_exact, &c.p, NULL);
        assert_true(lists.optimal);
        free(lists.device);
    }
}

/* ---- in the comparison ----------------------------------------------------------------------- */

static void compare_by(Comparison *out, Scenario *s, Trace *trace, LsMethod method,
                       int64_t limit_ms)
{
    CompareOptions options = {.schedules = 1u << SCHEDULE_LS, .candidates = 1,
                              .time_limit_ms = limit_ms, .ls = method, .mip = MIP};
    Error          err = {""};

    if (scenario_build(s, trace, &(ScenarioOptions){.queue_depth = 2}, &err) != 0)
        fail_msg("%s", err.text);
    if (compare(out, s, &options, &err) != 0) fail_msg("%s", err.text);
}

/* Each method's lists are simulated and named; the default is the fastest of several. */
static void the_comparison_names_its_lists(void **state)
{
    static const char *const words[LS_COUNT] = {"; fastest of ", "lists by LPT, ",
                                                "lists by MULTIFIT, ", "lists by GLPK, ",
                                                "lists by branch and bound, least makespan",
                                                "work stealing, longest task first"};
    (void)state;
    Trace   *trace;
    int64_t  epoch[LS_COUNT];

    assert_int_equal(trace_read(&trace, PIPEBD_ROOT "/traces/vgg-cpu.json", NULL), 0);
    for (int method = 0; method < LS_COUNT; method++) {
        Comparison c;
        Scenario   s;
        if (method == LS_GLPK && !MIP) continue;
        compare_by(&c, &s, trace, (LsMethod)method, 0);
        const Candidate *row = &c.rows[SCHEDULE_LS];
        if (!strstr(row->method, words[method]))
            fail_msg("%s: %s", ls_method_names[method], row->method);
        assert_int_equal(row->plan->stealing, method == LS_STEALING);
        epoch[method] = row->sim.epoch_ns;
        comparison_free(&c);
        scenario_free(&s);
    }
    assert_true(epoch[LS_ALL] <= epoch[LS_LPT] && epoch[LS_ALL] <= epoch[LS_EXACT]);
    assert_true(epoch[LS_ALL] <= epoch[LS_STEALING]);
    trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lpt_proves_no_more_than_is_true),
        cmocka_unit_test(multifit_proves_no_more_than_is_true),
        cmocka_unit_test(exact_is_optimal),
        cmocka_unit_test(exact_proves_no_more_than_is_true_when_stopped),
#ifdef HAVE_GLPK
        cmocka_unit_test(glpk_is_optimal),
#endif
        cmocka_unit_test(the_quick_ones_keep_their_guarantees),
        cmocka_unit_test(both_searches_agree),
        cmocka_unit_test(the_smallest_problems),
        cmocka_unit_test(where_lpt_is_not_enough),
        cmocka_unit_test(sums_beyond_64_bits),
        cmocka_unit_test(knapsacks_are_the_best),
        cmocka_unit_test(prices_prove_no_more_than_is_true),
        cmocka_unit_test(descents_reach_the_least),
        cmocka_unit_test(narrowing_keeps_the_best),
        cmocka_unit_test(hard_problems_end_near_the_bound),
        cmocka_unit_test(stopped_searches_say_so),
        cmocka_unit_test(larger_problems_keep_to_what_can_be),
        cmocka_unit_test(exact_improves_what_it_cannot_prove),
        cmocka_unit_test(exact_proves_64_on_4),
        cmocka_unit_test(the_comparison_names_its_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
