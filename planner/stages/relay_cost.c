#include "planner/stages/relay_cost.h"

#include <stdlib.h>

#include "base/minmax.h"
#include "schedule/registry.h"

typedef struct {
    int      device, stage;
    int64_t  rows, load, teacher, update;
    int64_t *student, *updates;  /* [students of the stage] */
    int64_t  out, in;            /* sums of messages */
    int64_t  shared;             /* what a step takes at least of the loader's lanes and of what
                                  * comes in */
    int64_t  work;               /* from the teacher's begin to the last update, nobody waited
                                  * for */
    int64_t  cycle;              /* from one step's begin to the next's, but for that; ... */
    int64_t  begin;              /* ... as if the epoch's first step had begun here */
    int64_t  start, done;        /* of a step: the teacher begins; students have ended */
    int64_t  tail;               /* from the teacher's begin to the end of all that it leads to */
} RelayMember;

typedef struct {
    int     from, to;            /* members */
    int64_t ns, sent;            /* sent: until it has left, from the end of the teacher */
} RelayMessage;

typedef struct {
    const Plan     *plan;
    const Scenario *s;
    bool            bound, blocking, ahead;
    Error          *err;
    RelayMember    *members;     /* stage after stage */
    int            *first;       /* [stages + 1] of members */
    int            *students;    /* [stages + 1] students of the blocks before */
    int64_t        *reduces;     /* [students of all blocks] within their stage's group */
    int64_t        *numbers;     /* where students and updates of members lie ... */
    size_t          used;        /* ... and how much of it is taken */
    RelayMessage   *messages;    /* by sender, then row */
    int             message_count;
} RelayState;

/* ---- looking up ------------------------------------------------------------------- */

static bool alike(const Scenario *s, const RelayMember *a, const RelayMember *b)
{
    return a->rows == b->rows && scenario_same_speed(s, a->device, b->device);
}

/* Loading by the first stage. Where its devices load for themselves they take turns at the
 * loader's lanes, in order of their numbers, as all ask when their last update has ended. */
static int look_up_loads(RelayState *r)
{
    const TraceLoader *loader = &r->s->trace->loader;
    int width = r->plan->stages[0].width, lanes = loader->lanes < width ? loader->lanes : width;
    int                ahead = trace_loader_ahead(loader, width);
    int64_t            all = 0, *free_at;

    if (!loader->present) return 0;
    free_at = calloc((size_t)lanes, sizeof *free_at);
    if (!free_at) return error_no_memory(r->err);
    for (int k = 0; k < width; k++)
        all += r->members[k].load = scenario_load_ns(r->s, r->members[k].rows);
    for (int k = 0; k < width; k++) {
        RelayMember *m = &r->members[k];
        int          lane = 0;
        for (int i = 1; i < lanes; i++) if (free_at[i] < free_at[lane]) lane = i;
        free_at[lane] += m->load;
        if (r->ahead)
            m->shared = larger(m->load / (ahead < loader->lanes ? ahead : loader->lanes),
                               all / loader->lanes);
        else if (!r->bound) m->load = free_at[lane];
    }
    free(free_at);
    return 0;
}

/* The times of one device with its rows of a stage, in ns: the teacher's, and of each student
 * of the stage's blocks, in order, training and update. A step's own time goes with the last
 * update. */
static int look_up_work(const RelayState *r, RelayMember *m, const Stage *stage)
{
    Cost f, b, u;

    for (int k = stage->first, at = 0; k <= stage->last; k++) {
        if (scenario_work(r->s, WORK_TEACHER, k, m->device, m->rows, &f, r->err) != 0) return -1;
        m->teacher += f.ns;
        for (int j = 0; j < trace_students(&r->s->trace->blocks[k]); j++, at++) {
            if (scenario_student_work(r->s, WORK_FORWARD, k, j, m->device, m->rows, &f, r->err) != 0
                || scenario_student_work(r->s, WORK_BACKWARD, k, j, m->device, m->rows, &b, r->err)
                       != 0
                || scenario_student_work(r->s, WORK_UPDATE, k, j, m->device, m->rows, &u, r->err)
                       != 0)
                return -1;
            m->student[at] = f.ns + b.ns;
            m->updates[at] = u.ns;
            m->update += u.ns;
            if (k < stage->last || j + 1 < trace_students(&r->s->trace->blocks[k])) continue;
            m->updates[at] += r->s->trace->step_ns;      /* with the last update */
            m->update += r->s->trace->step_ns;
        }
    }
    return 0;
}

static int look_up_reduces(RelayState *r, const Stage *stage, int64_t *reduce)
{
    for (int b = stage->first; b <= stage->last; b++)
        for (int j = 0; j < trace_students(&r->s->trace->blocks[b]); j++)
            if (scenario_student_allreduce(r->s, stage->devices, stage->width, b, j, reduce++,
                                           r->err)
                != 0)
                return -1;
    return 0;
}

static int look_up_stage(RelayState *r, int i)
{
    const Stage *stage = &r->plan->stages[i];
    size_t       count = (size_t)(r->students[i + 1] - r->students[i]);

    for (int k = 0; k < stage->width; k++) {
        RelayMember *m = &r->members[r->first[i] + k];
        *m = (RelayMember){.device = stage->devices[k], .stage = i, .rows = stage->rows[k]};
        bool same = k > 0 && alike(r->s, m, m - 1);
        if (same) { m->teacher = m[-1].teacher; m->update = m[-1].update; }
        m->student = same ? m[-1].student : r->numbers + r->used;
        m->updates = same ? m[-1].updates : r->numbers + r->used + count;
        if (same) continue;
        r->used += 2 * count;
        if (look_up_work(r, m, stage) != 0) return -1;
    }
    return look_up_reduces(r, stage, r->reduces + r->students[i]);
}

/* From stage i to the next: a message for each two devices that share rows. */
static int look_up_messages(RelayState *r, int i)
{
    const Stage *stage = &r->plan->stages[i], *next = stage + 1;
    int64_t      start = 0, end = stage->rows[0], other = next->rows[0];

    for (int a = 0, b = 0; a < stage->width;) {
        int64_t       to = end < other ? end : other;
        RelayMessage *m = &r->messages[r->message_count++];
        *m = (RelayMessage){.from = r->first[i] + a, .to = r->first[i + 1] + b};
        if (scenario_p2p(r->s, stage->devices[a], next->devices[b], next->first, to - start, &m->ns,
                         r->err)
            != 0)
            return -1;
        m->sent = r->members[m->from].out += m->ns;
        r->members[m->to].in += m->ns;
        start = to;
        if (to == end && ++a < stage->width) end += stage->rows[a];
        if (to == other && b + 1 < next->width) other += next->rows[++b];
    }
    return 0;
}

/* ---- messages that meet ---------------------------------------------------------------- */

/* When device k of a stage has ended its teacher, counted from the group's last all-reduce. */
static int64_t teacher_end(const RelayState *r, int k)
{
    const RelayMember *m = &r->members[k];

    return m->update + (r->ahead ? 0 : m->load) + m->teacher;
}

/* The next message to start, of low..high - 1: next[] of each sender (from first on), and when
 * senders and receivers are free; *start: when. A device sends and receives one at a time; of
 * two for one receiver the one that was asked for first comes first. */
static int next_message(const RelayState *r, const int *next, const int64_t *free_at, int first,
                        int last, int64_t *start)
{
    int     best = -1;
    int64_t best_asked = 0;

    for (int k = first; k < last; k++) {
        const RelayMessage *m = &r->messages[next[k - first]];
        if (next[k - first] == r->message_count || m->from != k) continue;
        int64_t asked = r->blocking ? free_at[k - first] : teacher_end(r, k);
        int64_t at = larger(free_at[k - first], free_at[m->to - first]);
        if (best >= 0 && (at > *start || (at == *start && asked >= best_asked))) continue;
        best = k;
        best_asked = asked;
        *start = at;
    }
    return best;
}

/* Messages of stage i to the next: sent and out anew, with what they wait for each other. */
static int exchange(RelayState *r, int i)
{
    int first = r->first[i], last = r->first[i + 1], count = r->first[i + 2] - first, at = 0, k;
    int64_t *free_at = calloc((size_t)count, sizeof *free_at), start = 0;
    int     *next = calloc((size_t)count, sizeof *next);

    if (!free_at || !next) { free(free_at); free(next); return error_no_memory(r->err); }
    while (r->messages[at].from < first) at++;
    for (k = first; k < last; k++) {
        next[k - first] = at;
        free_at[k - first] = teacher_end(r, k);
        while (at < r->message_count && r->messages[at].from == k) at++;
    }
    while ((k = next_message(r, next, free_at, first, last, &start)) >= 0) {
        RelayMessage *m = &r->messages[next[k - first]++];
        free_at[k - first] = free_at[m->to - first] = start + m->ns;
        m->sent = r->members[k].out = start + m->ns - teacher_end(r, k);
    }
    free(free_at);
    free(next);
    return 0;
}

/* ---- cycles ------------------------------------------------------------------------- */

/* From the teacher's begin to the last update, all-reduces beginning when the member itself is
 * ready; where transfers block they come on top, whenever. */
static int64_t own_work(const RelayState *r, const RelayMember *m)
{
    const int64_t *reduce = r->reduces + r->students[m->stage];
    int            count = r->students[m->stage + 1] - r->students[m->stage];
    bool           wide = r->plan->stages[m->stage].width > 1;
    int64_t        t = m->teacher, end = m->teacher, lane = 0;

    for (int a = 0; a < count; a++) end += m->student[a];
    for (int a = 0; a < count; a++) {
        t += m->student[a];
        lane = larger(lane, t) + reduce[a];
        end = (wide ? larger(end, lane) : end) + m->updates[a];
    }
    return end;
}

/* Students of a stage after the times in done[]; where transfers block the members of a
 * group go on from each all-reduce together. */
static void run_students(const RelayState *r, int i)
{
    const int64_t *reduce = r->reduces + r->students[i];
    RelayMember   *end = r->members + r->first[i + 1];
    int            count = r->students[i + 1] - r->students[i];

    for (int a = 0; a < count; a++) {
        int64_t last = 0;
        for (RelayMember *m = r->members + r->first[i]; m < end; m++)
            last = larger(last, m->done += m->student[a]);
        if (!r->blocking || r->plan->stages[i].width == 1) continue;
        for (RelayMember *m = r->members + r->first[i]; m < end; m++) m->done = last + reduce[a];
    }
}

/* Transfers block: a step of stage i, from its first all-reduce to the next step's. */
static int64_t blocking_cycle(const RelayState *r, int i)
{
    const int64_t *reduce = r->reduces + r->students[i];
    int            count = r->students[i + 1] - r->students[i];
    bool           wide = r->plan->stages[i].width > 1;
    int64_t        sum = 0;

    for (int a = 0; a < count; a++) {
        int64_t longest = 0;
        for (int k = r->first[i]; k < r->first[i + 1]; k++) {
            const RelayMember *m = &r->members[k];
            int64_t head = a ? 0 : m->update + (r->ahead ? 0 : m->load) + m->teacher + m->out;
            longest = larger(longest, head + m->student[a]);
        }
        sum += longest + (wide ? reduce[a] : 0);
    }
    return sum;
}

static void find_cycles(RelayState *r, int i)
{
    int64_t together = r->blocking ? blocking_cycle(r, i) : 0;

    for (int k = r->first[i]; k < r->first[i + 1]; k++) {
        RelayMember *m = &r->members[k];
        int64_t      load = r->ahead ? 0 : m->load;
        m->work = own_work(r, m) + (r->blocking ? m->out : 0);
        m->cycle = r->blocking ? together : load + larger(m->work, m->teacher + m->out);
        m->shared = larger(m->shared, m->in);
    }
}

/* ---- ways along the chain -------------------------------------------------------------- */

/* One step of all, from the times in start[], when devices are free; first: the epoch's, which
 * waits for its load. The last time that students end. */
static int64_t run_step(RelayState *r, bool first)
{
    int64_t last = 0;
    int     at = 0;

    for (int i = 0; i < r->plan->stage_count; i++) {
        for (int k = r->first[i]; k < r->first[i + 1]; k++) {
            RelayMember *m = &r->members[k];
            if (first || !r->ahead) m->start += m->load;
            for (; at < r->message_count && r->messages[at].from == k; at++) {
                RelayMember *to = &r->members[r->messages[at].to];
                to->start = larger(to->start, m->start + m->teacher + r->messages[at].sent);
            }
            m->done = m->start + m->teacher + (r->blocking ? m->out : 0);
        }
        run_students(r, i);
        for (int k = r->first[i]; k < r->first[i + 1]; k++) last = larger(last, r->members[k].done);
    }
    return last;
}

static void find_tails(RelayState *r)
{
    int at = r->message_count - 1;

    for (int k = r->first[r->plan->stage_count] - 1; k >= 0; k--) {
        RelayMember *m = &r->members[k];
        m->tail = m->work;
        for (; at >= 0 && r->messages[at].from == k; at--)
            m->tail = larger(m->tail, m->teacher + r->messages[at].sent
                                          + r->members[r->messages[at].to].tail);
    }
}

/* 0: not known. */
static int64_t epoch_of(int64_t cycle, int64_t times, int64_t rest)
{
    int64_t ns;

    return __builtin_mul_overflow(cycle, times, &ns) || __builtin_add_overflow(ns, rest, &ns) ? 0
                                                                                              : ns;
}

/* A group of which transfers block goes on together, whoever began later. */
static void find_begins(RelayState *r, int i)
{
    int64_t update = 0, start = INT64_MAX;

    for (int k = r->first[i]; k < r->first[i + 1]; k++) {
        update = larger(update, r->members[k].update);
        start = smaller(start, r->members[k].start);
    }
    for (int k = r->first[i]; k < r->first[i + 1]; k++)
        r->members[k].begin = r->blocking && r->s->steps > 1 ? start - update + r->members[k].update
                                                             : r->members[k].start;
}

/* What lanes share may be ahead of the first step; at the end the shortest way is left. */
static void price_members(RelayCost *out, const RelayState *r)
{
    int64_t steps = r->s->steps, shortest = INT64_MAX;

    for (int k = 0; k < r->first[1]; k++) shortest = smaller(shortest, r->members[k].tail);
    for (int k = 0; k < r->first[r->plan->stage_count]; k++) {
        const RelayMember *m = &r->members[k];
        out->step_ns = larger(out->step_ns, larger(m->cycle, m->shared));
        out->epoch_ns = larger(out->epoch_ns, epoch_of(m->cycle, steps - 1, m->begin + m->tail));
        out->epoch_ns =
            larger(out->epoch_ns, epoch_of(m->shared, steps, m->stage ? m->tail : shortest));
    }
}

static void price(RelayCost *out, RelayState *r)
{
    bool    barrier = schedule_row(r->plan->schedule)->barrier && r->plan->stage_count > 1;
    int64_t once;

    *out = (RelayCost){0};
    for (int i = 0; i < r->plan->stage_count; i++) find_cycles(r, i);
    find_tails(r);
    once = run_step(r, true);
    for (int i = 0; i < r->plan->stage_count; i++) find_begins(r, i);
    price_members(out, r);
    if (!barrier) return;
    for (int k = 0; k < r->first[r->plan->stage_count]; k++)
        r->members[k].start = r->members[k].update;
    out->step_ns = larger(out->step_ns, run_step(r, false));
    out->epoch_ns = larger(out->epoch_ns, epoch_of(out->step_ns, r->s->steps - 1, once));
}

/* ---- making and freeing ------------------------------------------------------------------- */

/* Room for all members, messages and students of the plan's stages. */
static int allocate(RelayState *r)
{
    const Plan *p = r->plan;
    size_t      stages = (size_t)p->stage_count + 1, members = 0, students = 0, numbers = 0;

    r->first = calloc(stages, sizeof *r->first);
    r->students = calloc(stages, sizeof *r->students);
    if (!r->first || !r->students) return error_no_memory(r->err);
    for (int i = 0; i < p->stage_count; i++) {
        size_t own = 0;
        for (int b = p->stages[i].first; b <= p->stages[i].last; b++)
            own += (size_t)trace_students(&r->s->trace->blocks[b]);
        members += (size_t)p->stages[i].width;
        students += own;
        numbers += 2 * own * (size_t)p->stages[i].width;
        r->first[i + 1] = (int)members;
        r->students[i + 1] = (int)students;
    }
    r->members = calloc(members, sizeof *r->members);
    r->messages = calloc(2 * members + 1, sizeof *r->messages);
    r->reduces = calloc(students, sizeof *r->reduces);
    r->numbers = malloc(numbers * sizeof *r->numbers);
    return r->members && r->messages && r->reduces && r->numbers ? 0 : error_no_memory(r->err);
}

static int look_up(RelayState *r)
{
    for (int i = 0; i < r->plan->stage_count; i++)
        if (look_up_stage(r, i) != 0) return -1;
    if (look_up_loads(r) != 0) return -1;
    for (int i = 0; i + 1 < r->plan->stage_count; i++)
        if (look_up_messages(r, i) != 0) return -1;
    for (int i = 0; i + 1 < r->plan->stage_count && !r->bound; i++)
        if (exchange(r, i) != 0) return -1;
    return 0;
}

int relay_cost(RelayCost *out, const Plan *plan, const Scenario *scenario, bool bound, Error *err)
{
    Scenario alone = *scenario;          /* nothing is faster than with nobody else computing */
    RelayState    r = {.plan = plan, .s = bound ? &alone : scenario, .bound = bound, .err = err,
                  .blocking = scenario->trace->blocking_transfers,
                  .ahead = scenario->trace->loader.present && scenario->trace->loader.prefetch > 0};
    int      rc = -1;

    alone.load = 0;
    *out = (RelayCost){0};
    if (allocate(&r) == 0 && look_up(&r) == 0) {
        price(out, &r);
        rc = 0;
    }
    free(r.members);
    free(r.first);
    free(r.students);
    free(r.reduces);
    free(r.numbers);
    free(r.messages);
    return rc;
}
