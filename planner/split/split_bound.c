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
} BlockOwner;

/* Work on rows, by the device that is fastest at it; false: by none. */
static bool work_ns(const BlockOwner *o, int64_t rows, int64_t *least)
{
    bool any = false;

    for (int d = 0; d < o->s->device_count; d++) {
        int64_t ns = 0;
        bool    good = d == 0 || o->s->kinds[d] != o->s->kinds[d - 1] || o->s->trace->slowdown;
        for (int work = o->first; work <= (int)o->last && good; work++) {
            Cost cost = {0, 0};
            good =
                scenario_student_work(o->s, (Work)work, o->block, o->student, d, rows, &cost, NULL)
                == 0;
            ns += cost.ns;
        }
        if (!good) continue;
        if (!any || ns < *least) *least = ns;
        any = true;
    }
    return any;
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

static double least(const Scenario *s, int block, int student, Work first, Work last,
                    int64_t fewest, bool per_row)
{
    double sum = 0;

    if (!s->extrapolate)
        return least_at_points(&(BlockOwner){s, block, student, first, last}, fewest, per_row);
    for (int work = first; work <= (int)last; work++)
        sum += least_at_points(&(BlockOwner){s, block, student, (Work)work, (Work)work}, fewest,
                               per_row);
    return sum;
}

static int64_t as_ns(double bound)
{
    return isfinite(bound) && bound > 0 && bound < 0x1p62 ? (int64_t)bound : 0;
}

int64_t split_bound(const Scenario *scenario)
{
    Scenario           s = *scenario;
    const TraceLoader *loader = &s.trace->loader;
    int64_t            share = (s.batch + s.device_count - 1) / s.device_count;
    double             all = 0, longest = 0, loading = 0, batch = (double)s.batch;
    int                pieces = 0;

    s.load = 0;                                  /* nobody else computes: works are fastest */
    for (int b = 0; b < s.trace->block_count; b++) {
        all += batch * least(&s, b, 0, WORK_TEACHER, WORK_TEACHER, 1, true);
        longest = fmax(longest, least(&s, b, 0, WORK_TEACHER, WORK_TEACHER, share, false));
        pieces++;
        for (int j = 0; j < trace_students(&s.trace->blocks[b]); j++, pieces++) {
            double update = least(&s, b, j, WORK_UPDATE, WORK_UPDATE, 1, false);
            all += batch * least(&s, b, j, WORK_FORWARD, WORK_BACKWARD, 1, true) + update;
            longest =
                fmax(longest, least(&s, b, j, WORK_FORWARD, WORK_BACKWARD, share, false) + update);
        }
    }
    if (loader->present)
        loading = ((double)loader->batch_ns + batch * loader->sample_ns) / loader->lanes;
    /* Every lookup is rounded to a nanosecond, at most one a piece and device. */
    /* Somebody has the longest piece, and a step's own time with it; of the even share not all need
     * take part. */
    double bound =
        fmax(fmax(all / s.device_count - 2.0 * pieces, longest + (double)s.trace->step_ns - 2),
             loading - 1);
    return as_ns(bound * (1 - 1e-12));
}
