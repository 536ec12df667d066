#include "planner/check/check_points.h"
#include "base/micro.h"
#include "base/minmax.h"
#include "schedule/registry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

__extension__ typedef __int128 Wide;

/* ---- the trace's points ---------------------------------------------------------- */

/* The line through (ax, a) and (bx, b) at x, nearest whole number, not below 0. */
static int64_t line(int64_t ax, int64_t a, int64_t bx, int64_t b, int64_t x)
{
    Wide den = (Wide)bx - ax, num = (Wide)a * den + ((Wide)b - a) * ((Wide)x - ax);

    return num <= 0 ? 0 : (int64_t)((2 * num + den) / (2 * den));
}

/* The point's time while the other devices compute as much as the scenario says; in dp and ls a
 * step trains one block alone. */
static int64_t point_ns(const Check *c, const CurvePoint *p, double load)
{
    bool    stores = schedule_row(c->plan->schedule)->stores;
    bool    single_block = stores ? c->alone : schedule_row(c->plan->schedule)->phases;
    int64_t ns = p->ns, busy = p->contended_ns;

    if (single_block && p->single_block_ns) {
        ns = p->single_block_ns;
        busy = p->single_block_contended_ns;
        if (!busy)                       /* slowed down in the same proportion */
            busy = p->ns ? (int64_t)((double)ns * (double)p->contended_ns / (double)p->ns + 0.5)
                         : ns;
    }
    return busy > ns ? ns + (int64_t)(load * (double)(busy - ns) + 0.5) : ns;
}

/* -1: not within the points. */
static int64_t read_curve(const Check *c, const Curve *curve, int64_t x, double load)
{
    const CurvePoint *p = curve->points;
    int               n = curve->count, at = 0;

    for (int i = 0; i < n; i++) if (p[i].x == x) return point_ns(c, &p[i], load);
    if (n == 0 || (!c->scenario->extrapolate && (x < p[0].x || x > p[n - 1].x))) return -1;
    if (n == 1)
        return p[0].x > 0 ? line(0, 0, p[0].x, point_ns(c, &p[0], load), x)
                          : point_ns(c, &p[0], load);
    while (at < n - 2 && x > p[at + 1].x) at++;
    return line(p[at].x, point_ns(c, &p[at], load), p[at + 1].x, point_ns(c, &p[at + 1], load), x);
}

/* block -1: the input. */
static int fail(const Check *c, int owner, const char *what, int block, const char *link,
                int64_t amount, const char *unit)
{
    char name[80] = "the input";

    if (block >= 0) snprintf(name, sizeof name, "block \"%.60s\"", c->trace->blocks[block].name);
    return error_set(c->err, "%s %d: no %s%s for %s at %" PRId64 " %s in the trace%s", c->owner,
                     owner, link, what, name, amount, unit,
                     c->scenario->extrapolate ? "" : ", expected one, or --extrapolate");
}

int check_students(const TraceBlock *block) { return block->students ? block->student_count : 1; }

static int work_once(const Check *c, int owner, Work work, int block, int student, int device,
                     int64_t rows, int64_t *sum)
{
    static const char *const names[WORK_COUNT] = {"teacher time", "forward time", "backward time",
                                                  "update time"};
    const TraceBlock *b = &c->trace->blocks[block];
    Curve *const *works = work != WORK_TEACHER && b->students ? b->students[student].work : b->work;
    int64_t ns = read_curve(c, &works[work][c->scenario->kinds[device]], rows, c->scenario->load);

    if (ns < 0) return fail(c, owner, names[work], block, "", rows, "rows");
    if (c->trace->slowdown) ns = (int64_t)((double)ns * c->trace->slowdown[device] + 0.5);
    *sum += ns;
    return 0;
}

int check_work(const Check *c, int owner, Work work, int block, int student, int device,
               int64_t rows, int64_t *sum)
{
    int64_t parts = micro_parts(c->trace->micro_batches, rows);
    bool    whole = parts == 1 || work == WORK_TEACHER || work == WORK_UPDATE;

    if (whole) return work_once(c, owner, work, block, student, device, rows, sum);
    for (int64_t part = 0; part < parts; part++) {
        int64_t of_part = rows / parts + (part < rows % parts);
        if (work == WORK_FORWARD && part == 0)
            return work_once(c, owner, work, block, student, device, of_part, sum);
        if (work_once(c, owner, WORK_BACKWARD, block, student, device, of_part, sum) != 0)
            return -1;
        if (part > 0
            && work_once(c, owner, WORK_FORWARD, block, student, device, of_part, sum) != 0)
            return -1;
    }
    return 0;
}

bool check_across(const Check *c, int a, int b)
{
    int per_node = c->trace->devices_per_node;

    return per_node > 0 && a / per_node != b / per_node;
}

bool check_spans(const Check *c, const Stage *stage)
{
    for (int i = 1; i < stage->width; i++)
        if (check_across(c, stage->devices[0], stage->devices[i])) return true;
    return false;
}

int check_message(const Check *c, int owner, int boundary, int from, int to, int64_t rows,
                  int64_t *ns)
{
    bool              far = check_across(c, from, to);
    const TraceLinks *links = far ? &c->trace->node_links : &c->trace->links;
    int64_t bytes = boundary ? c->trace->blocks[boundary - 1].output_bytes : c->trace->input_bytes;

    *ns = 0;
    if (links->p2p.count == 0 || bytes == TRACE_ABSENT) return 0;
    *ns = read_curve(c, &links->p2p, rows * bytes, 0);
    return *ns >= 0
               ? 0
               : fail(c, owner, "p2p", boundary - 1, far ? "nodes." : "", rows * bytes, "bytes");
}

/* One student's gradients; -1: not in the trace. */
static int64_t reduce_one(const Check *c, const TraceLinks *links, int width, int64_t bytes)
{
    int n = links->reduce_count, up = 0;

    while (up < n - 1 && links->reduces[up].devices < width) up++;
    const TraceReduce *high = &links->reduces[up], *low = up > 0 ? high - 1 : high;
    bool    beyond = width > high->devices || (up == 0 && width < high->devices);
    int64_t top = read_curve(c, &high->curve, bytes, 0), bottom;
    if (beyond && !c->scenario->extrapolate) return -1;
    if (beyond || high->devices == width) return top;
    bottom = read_curve(c, &low->curve, bytes, 0);
    return top < 0 || bottom < 0 ? -1 : line(low->devices, bottom, high->devices, top, width);
}

int check_reduce(const Check *c, int owner, const Stage *group, int block, int student,
                 int64_t *sum)
{
    bool              far = check_spans(c, group);
    const TraceLinks *links = far ? &c->trace->node_links : &c->trace->links;
    const TraceBlock *b = &c->trace->blocks[block];
    int64_t bytes = b->students ? b->students[student].gradient_bytes : b->gradient_bytes, ns = 0;

    if (group->width > 1 && links->reduce_count > 0 && bytes != TRACE_ABSENT)
        ns = reduce_one(c, links, group->width, bytes);
    if (ns < 0) return fail(c, owner, "allreduce", block, far ? "nodes." : "", bytes, "bytes");
    *sum += ns;
    return 0;
}

int64_t check_load(const Check *c, int64_t rows)
{
    const TraceLoader *l = &c->trace->loader;

    return l->present ? l->batch_ns + (int64_t)(l->sample_ns * (double)rows + 0.5) : 0;
}

int check_loads(const Check *c, const Stage *stage, int devices, int64_t *loads)
{
    const TraceLoader *l = &c->trace->loader;
    int64_t           *lane = calloc((size_t)stage->width + 1, sizeof *lane), all = 0;
    int64_t            ahead =
        l->workers > devices ? (int64_t)l->prefetch * (l->workers / devices) : l->prefetch;

    if (!lane) return error_no_memory(c->err);
    for (int i = 0; i < stage->width; i++) {
        int64_t ns = check_load(c, stage->rows[i]);
        int     least = 0;
        for (int k = 1; k < stage->width && k < l->lanes; k++) if (lane[k] < lane[least]) least = k;
        lane[least] += ns;
        loads[i] = l->prefetch ? ns / (ahead < l->lanes ? ahead : l->lanes) : lane[least];
        all += ns;
    }
    for (int i = 0; i < stage->width && l->prefetch; i++)
        loads[i] = larger(loads[i], all / l->lanes);
    free(lane);
    return 0;
}
