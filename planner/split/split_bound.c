/* The bound of split_cost.h. A curve between its points is a line, so that time a row,
 * (a + b x) / x, is least at a point, at the fewest rows, or at the whole batch: those are
 * all that need looking at. Where costs are continued beyond the points they stop at 0, each
 * curve at its own place, so forward and backward are then looked at one by one. */
#include <math.h>

#include "planner/split/split_cost.h"

/* Works first to last of a block's teacher or of one of its students. */
typedef struct {
    const Scenario *s;
    int  block, student;
    Work first, last;
    bool alone;                  /* or as a step that trains one block only takes it */
} BlockOwner;

/* Work on rows, by the device that is fastest at it; false: by none. */
static bool work_of(const Scenario *s, const BlockOwner *o, int64_t rows, int64_t *least)
{
    bool any = false;

    for (int d = 0; d < s->device_count; d++) {
        int64_t ns = 0;
        bool    good = d == 0 || s->kinds[d] != s->kinds[d - 1] || s->trace->slowdown;
        for (int work = o->first; work <= (int)o->last && good; work++) {
            Cost cost = {0};
            good =
                scenario_student_work(s, (Work)work, o->block, o->student, d, rows, &cost, NULL)
                == 0;
            ns += cost.ns;
        }
        if (!good) continue;
        if (!any || ns < *least) *least = ns;
        any = true;
    }
    return any;
}

static bool work_ns(const BlockOwner *o, int64_t rows, int64_t *least)
{
    Scenario single = *o->s;
    int64_t  alone;
    bool     any = work_of(o->s, o, rows, least);

    if (!o->alone || !any) return any;
    single.single_block = true;
    if (work_of(&single, o, rows, &alone) && alone < *least) *least = alone;
    return true;
}

/* The least of time over (per_row) rows, at fewest rows or more. */
static double least_at_points(const BlockOwner *o, int64_t fewest, bool per_row)
{
    const Scenario *s = o->s;
    TraceStudent    student = trace_student(&s->trace->blocks[o->block], o->student);
    double          least = INFINITY;
    int64_t         ns = 0;

    for (int kind = 0; kind < s->trace->kind_count; kind++) {
        const Curve *curve = &student.work[o->first][kind];
        for (int i = -2; i < curve->count; i++) {
            int64_t x = i == -2 ? fewest : i == -1 ? s->batch : curve->points[i].x;
            if (x >= fewest && x <= s->batch && work_ns(o, x, &ns))
                least = fmin(least, per_row ? (double)ns / (double)x : (double)ns);
        }
    }
    return least;
}

static double least(BlockOwner of, int64_t fewest, bool per_row)
{
    double sum = 0;
    Work   last = of.last;

    if (!of.s->extrapolate) return least_at_points(&of, fewest, per_row);
    for (int work = of.first; work <= (int)last; work++) {
        of.first = of.last = (Work)work;
        sum += least_at_points(&of, fewest, per_row);
    }
    return sum;
}

static int64_t as_ns(double bound)
{
    return isfinite(bound) && bound > 0 && bound < 0x1p62 ? (int64_t)bound : 0;
}

/* The bound of a step where the teacher and the loader see each row once in so many epochs; alone:
 * steps may train one block only. */
static int64_t bound_of(const Scenario *scenario, int64_t epochs, bool alone)
{
    Scenario           s = *scenario;
    const TraceLoader *loader = &s.trace->loader;
    int64_t            share = (s.batch + s.device_count - 1) / s.device_count;
    double             all = 0, longest = 0, loading = 0, batch = (double)s.batch;
    double             once = 1 / (double)epochs;
    int                pieces = 0;

    s.load = 0;                                  /* nobody else computes: works are fastest */
    for (int b = 0; b < s.trace->block_count; b++) {
        BlockOwner teacher = {&s, b, 0, WORK_TEACHER, WORK_TEACHER, alone};
        all += once * batch * least(teacher, 1, true);
        longest = fmax(longest, once * least(teacher, share, false));
        pieces++;
        for (int j = 0; j < trace_students(&s.trace->blocks[b]); j++, pieces++) {
            BlockOwner student = {&s, b, j, WORK_FORWARD, WORK_BACKWARD, alone};
            double update =
                least((BlockOwner){&s, b, j, WORK_UPDATE, WORK_UPDATE, alone}, 1, false);
            all += batch * least(student, 1, true) + update;
            longest = fmax(longest, least(student, share, false) + update);
        }
    }
    if (loader->present)
        loading = once * ((double)loader->batch_ns + batch * loader->sample_ns) / loader->lanes;
    /* Every lookup is rounded to a nanosecond, at most one a piece and device. */
    /* Somebody has the longest piece, and a step's own time with it; of the even share not all need
     * take part. */
    double own = epochs == 1 ? (double)s.trace->step_ns : 0;
    double bound = fmax(fmax(all / s.device_count - 2.0 * pieces, longest + own - 2), loading - 1);
    return as_ns(bound * (1 - 1e-12));
}

int64_t split_bound(const Scenario *scenario) { return bound_of(scenario, 1, false); }

int64_t split_bound_stored(const Scenario *scenario)
{
    return bound_of(scenario, scenario->epochs, true);
}
