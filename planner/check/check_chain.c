/* tr, dpu, ir and ahd: a step of every device of a chain of stages, by the rules at the head of
 * check.h. Members are the devices of all stages in order; times of a member count from when its
 * group last went on together, with the update. */
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "planner/check/check_points.h"
#include "schedule/registry.h"

typedef struct {
    int         stage, index;    /* index in the stage's devices */
    int64_t     rows;
    CheckedPart part;
    int64_t     turn;            /* until it has loaded, where it loads for itself */
    int64_t     lanes;           /* a step's load where lanes load ahead */
    int64_t     begin, end;      /* of a step of all: the teacher's begin, the students' end */
} CheckedMember;

typedef struct {
    int     from, to;            /* members */
    int64_t ns, end;             /* end: when it has arrived, while messages are laid out; -1: not
                                  * yet */
} ChainMessage;

typedef struct {
    Check        *c;
    const Plan   *plan;
    bool          blocking, ahead;
    CheckedMember  *members;
    int          *first;         /* [stages + 1] */
    ChainMessage *messages;      /* by sender, then row */
    int           count;
} CheckedChain;

static int device_of(const CheckedChain *chain, const CheckedMember *m)
{
    return chain->plan->stages[m->stage].devices[m->index];
}

static int64_t teacher_done(const CheckedChain *chain, const CheckedMember *m)
{
    return m->part.update_ns + (chain->ahead ? 0 : m->turn) + m->part.teacher_ns;
}

/* ---- work ---------------------------------------------------------------------------- */

static int student_time(const CheckedChain *chain, const CheckedMember *m, int block, int student,
                        int64_t *ns)
{
    *ns = 0;
    if (check_work(chain->c, m->stage, WORK_FORWARD, block, student, device_of(chain, m), m->rows,
                   ns)
        != 0)
        return -1;
    return check_work(chain->c, m->stage, WORK_BACKWARD, block, student, device_of(chain, m),
                      m->rows, ns);
}

/* Adds up what one device of a stage works in a step, in ns, into its part: teacher, students,
 * updates and sums of gradients of the stage's blocks, with its own rows. */
static int add_sums(const CheckedChain *chain, CheckedMember *m)
{
    const Stage *stage = &chain->plan->stages[m->stage];
    CheckedPart *p = &m->part;
    int64_t      ns;

    for (int b = stage->first; b <= stage->last; b++) {
        if (check_work(chain->c, m->stage, WORK_TEACHER, b, 0, device_of(chain, m), m->rows,
                       &p->teacher_ns)
            != 0)
            return -1;
        for (int j = 0; j < check_students(&chain->c->trace->blocks[b]); j++) {
            if (student_time(chain, m, b, j, &ns) != 0) return -1;
            p->student_ns += ns;
            if (check_work(chain->c, m->stage, WORK_UPDATE, b, j, device_of(chain, m), m->rows,
                           &p->update_ns)
                    != 0
                || check_reduce(chain->c, m->stage, stage, b, j, &p->reduce_ns) != 0)
                return -1;
        }
    }
    p->update_ns += chain->c->trace->step_ns;        /* with the last update */
    return 0;
}

/* Transfers overlapped: from the teacher's begin to the last update. */
static int overlapped_work(const CheckedChain *chain, const CheckedMember *m, int64_t *end)
{
    const Stage *stage = &chain->plan->stages[m->stage];
    int64_t      ready = m->part.teacher_ns, lane = 0, ns;

    *end = m->part.teacher_ns + m->part.student_ns;
    for (int b = stage->first; b <= stage->last; b++)
        for (int j = 0; j < check_students(&chain->c->trace->blocks[b]); j++) {
            int64_t reduce = 0, update = 0;
            if (student_time(chain, m, b, j, &ns) != 0
                || check_reduce(chain->c, m->stage, stage, b, j, &reduce) != 0
                || check_work(chain->c, m->stage, WORK_UPDATE, b, j, device_of(chain, m), m->rows,
                              &update)
                       != 0)
                return -1;
            ready += ns;
            lane = larger(lane, ready) + reduce;
            *end = (stage->width > 1 ? larger(*end, lane) : *end) + update;
        }
    *end += chain->c->trace->step_ns;
    return 0;
}

/* Students of a stage, its members being ready at begin[member]; transfers block: all go on from
 * each all-reduce together. *sum: the longest parts and the all-reduces. */
static int blocking_work(const CheckedChain *chain, int stage_index, int64_t *at, int64_t *sum)
{
    const Stage *stage = &chain->plan->stages[stage_index];
    int64_t      ns;

    *sum = 0;
    for (int b = stage->first; b <= stage->last; b++)
        for (int j = 0; j < check_students(&chain->c->trace->blocks[b]); j++) {
            int64_t longest = 0, reduce = 0;
            for (int i = 0; i < stage->width; i++) {
                if (student_time(chain, &chain->members[chain->first[stage_index] + i], b, j, &ns)
                    != 0)
                    return -1;
                at[i] += ns;
                longest = larger(longest, at[i]);
            }
            if (check_reduce(chain->c, stage_index, stage, b, j, &reduce) != 0) return -1;
            *sum = longest + reduce;
            for (int i = 0; i < stage->width; i++) at[i] = longest + reduce;
        }
    return 0;
}

/* ---- loading ----------------------------------------------------------------------------- */

static int add_loads(CheckedChain *chain)
{
    const Stage *stage = &chain->plan->stages[0];
    int64_t     *loads = calloc((size_t)stage->width, sizeof *loads);

    if (!loads) return error_no_memory(chain->c->err);
    if (check_loads(chain->c, stage, stage->width, loads) != 0) { free(loads); return -1; }
    for (int i = 0; i < stage->width; i++) {
        chain->members[i].part.load_ns = loads[i];
        if (chain->ahead) chain->members[i].lanes = loads[i];
        else              chain->members[i].turn = loads[i];
    }
    free(loads);
    return 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

/* Every two devices of neighbouring stages that have rows in common. */
static int list_messages(CheckedChain *chain, int s)
{
    const Stage *stage = &chain->plan->stages[s], *next = stage + 1;
    int64_t      row = 0;

    for (int i = 0; i < stage->width; row += stage->rows[i++]) {
        int64_t other = 0;
        for (int k = 0; k < next->width && other < row + stage->rows[i]; other += next->rows[k++]) {
            int64_t low = larger(row, other), high = row + stage->rows[i];
            if (other + next->rows[k] < high) high = other + next->rows[k];
            if (high <= low) continue;
            ChainMessage *m = &chain->messages[chain->count++];
            *m = (ChainMessage){
                .from = chain->first[s] + i, .to = chain->first[s + 1] + k, .end = -1};
            if (check_message(chain->c, s, next->first, stage->devices[i], next->devices[k],
                              high - low, &m->ns)
                != 0)
                return -1;
            chain->members[m->to].part.in_ns += m->ns;
        }
    }
    return 0;
}

/* When message n could start, after those before it of its sender and those to its receiver that
 * have been laid out; -1: one before it has not. *asked: since when it waits. */
static int64_t could_start(const CheckedChain *chain, int n, int low, int high, int64_t *asked)
{
    const ChainMessage *m = &chain->messages[n];
    int64_t             start = teacher_done(chain, &chain->members[m->from]);

    *asked = start;
    for (int k = low; k < n; k++) {
        const ChainMessage *before = &chain->messages[k];
        if (before->from != m->from) continue;
        if (before->end < 0) return -1;
        start = larger(start, before->end);
    }
    if (chain->blocking) *asked = start;
    for (int k = low; k < high; k++)
        if (chain->messages[k].to == m->to) start = larger(start, chain->messages[k].end);
    return start;
}

/* Lays out the messages low..high - 1, from one stage to the next, one after another. */
static void lay_out(CheckedChain *chain, int low, int high)
{
    for (int placed = low; placed < high; placed++) {
        int64_t start = 0, waits = 0, asked;
        int     best = -1;
        for (int n = low; n < high; n++) {
            int64_t at = chain->messages[n].end < 0 ? could_start(chain, n, low, high, &asked) : -1;
            if (at < 0 || (best >= 0 && (at > start || (at == start && asked >= waits)))) continue;
            best = n;
            start = at;
            waits = asked;
        }
        chain->messages[best].end = start + chain->messages[best].ns;
    }
    for (int n = low; n < high; n++) {
        CheckedMember *m = &chain->members[chain->messages[n].from];
        m->part.out_ns = chain->messages[n].end - teacher_done(chain, m);
    }
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* The least time of a step of each member of stage s, and its memory. at: room for the members. */
static int price_members(CheckedChain *chain, int s, int64_t *at)
{
    const Stage *stage = &chain->plan->stages[s];
    int64_t      together = 0, work;

    for (int i = 0; i < stage->width; i++) {
        const CheckedMember *m = &chain->members[chain->first[s] + i];
        at[i] = teacher_done(chain, m) + m->part.out_ns;
    }
    if (chain->blocking && blocking_work(chain, s, at, &together) != 0) return -1;
    for (int i = 0; i < stage->width; i++) {
        CheckedMember *m = &chain->members[chain->first[s] + i];
        CheckedPart *p = &m->part;
        int64_t      turn = chain->ahead ? 0 : m->turn;
        if (overlapped_work(chain, m, &work) != 0) return -1;
        p->step_ns = chain->blocking ? turn + p->teacher_ns + p->out_ns + p->student_ns
                                           + p->reduce_ns + p->update_ns
                                     : turn + larger(work, p->teacher_ns + p->out_ns);
        p->step_ns = larger(p->step_ns, larger(m->lanes, p->in_ns));
        p->memory_bytes = check_memory(chain->c, stage->first, stage->last, m->rows, false);
    }
    CheckedMember *slowest = &chain->members[chain->first[s]];
    for (int i = 1; i < stage->width; i++)
        if (slowest[0].part.step_ns < chain->members[chain->first[s] + i].part.step_ns)
            slowest = &chain->members[chain->first[s] + i];
    slowest->part.step_ns = larger(slowest->part.step_ns, together);
    return 0;
}

/* tr: from a barrier to the next, every device first updating. The stage that arrives last. */
static int find_barrier(CheckedChain *chain, int64_t *at, int64_t *step, int *stage_index)
{
    int64_t sum;

    for (int k = 0; k < chain->first[chain->plan->stage_count]; k++)
        chain->members[k].begin =
            chain->members[k].part.update_ns + (chain->ahead ? 0 : chain->members[k].turn);
    for (int s = 0, n = 0; s < chain->plan->stage_count; s++) {
        CheckedMember *members = chain->members + chain->first[s];
        int          width = chain->plan->stages[s].width;
        for (; n < chain->count && chain->messages[n].from < chain->first[s + 1]; n++) {
            CheckedMember *from = &chain->members[chain->messages[n].from],
                          *to = &chain->members[chain->messages[n].to];
            int64_t      end = from->begin + from->part.teacher_ns + chain->messages[n].end
                               - teacher_done(chain, from);
            to->begin = larger(to->begin, end);
        }
        for (int i = 0; i < width; i++)
            at[i] = members[i].begin + members[i].part.teacher_ns
                    + (chain->blocking ? members[i].part.out_ns : 0);
        if (chain->blocking && width > 1 && blocking_work(chain, s, at, &sum) != 0) return -1;
        for (int i = 0; i < width; i++) {
            int64_t end = at[i] + (chain->blocking && width > 1 ? 0 : members[i].part.student_ns);
            if (end <= *step) continue;
            *step = end;
            *stage_index = s;
        }
    }
    return 0;
}

/* ---- the chain ------------------------------------------------------------------------------- */

/* Prices each member of each stage, lays messages out in time, and finds the slowest stage, or of a
 * plan with a barrier the way along the chain. at: room for the members of a stage. */
static int price(CheckedChain *chain, CheckedPlan *out, int64_t *at)
{
    const Plan *plan = chain->plan;

    for (int s = 0; s < plan->stage_count; s++)
        for (int i = 0; i < plan->stages[s].width; i++) {
            CheckedMember *m = &chain->members[chain->first[s] + i];
            *m = (CheckedMember){.stage = s, .index = i, .rows = plan->stages[s].rows[i]};
            if (add_sums(chain, m) != 0) return -1;
        }
    if (add_loads(chain) != 0) return -1;
    for (int s = 0; s + 1 < plan->stage_count; s++) {
        int low = chain->count;
        if (list_messages(chain, s) != 0) return -1;
        lay_out(chain, low, chain->count);
    }
    for (int s = 0; s < plan->stage_count; s++) {
        if (price_members(chain, s, at) != 0) return -1;
        for (int i = 0; i < plan->stages[s].width; i++)
            if (check_add_part(chain->c, &out->stages[s], s, i,
                               &chain->members[chain->first[s] + i].part)
                != 0)
                return -1;
        out->stages[s].group_across = check_spans(chain->c, &plan->stages[s]);
    }
    for (int n = 0; n < chain->count; n++) {
        const CheckedMember *from = &chain->members[chain->messages[n].from],
                            *to = &chain->members[chain->messages[n].to];
        out->stages[to->stage].in_across |=
            check_across(chain->c, device_of(chain, from), device_of(chain, to));
    }
    out->bottleneck = -1;
    for (int s = 0; s < plan->stage_count; s++)
        if (out->bottleneck < 0 || out->stages[s].step_ns > out->bottleneck_ns) {
            out->bottleneck = s;
            out->bottleneck_ns = out->stages[s].step_ns;
        }
    return schedule_row(plan->schedule)->barrier && plan->stage_count > 1
           ? find_barrier(chain, at, &out->bottleneck_ns, &out->bottleneck) : 0;
}

int check_chain(CheckedPlan *out, Check *c)
{
    CheckedChain  chain = {.c = c, .plan = c->plan, .blocking = c->trace->blocking_transfers,
                    .ahead = c->trace->loader.present && c->trace->loader.prefetch > 0};
    size_t members = 0;
    int    rc = -1;

    chain.first = calloc((size_t)c->plan->stage_count + 1, sizeof *chain.first);
    if (!chain.first) return error_no_memory(c->err);
    for (int s = 0; s < c->plan->stage_count; s++)
        chain.first[s + 1] = (int)(members += (size_t)c->plan->stages[s].width);
    chain.members = calloc(members, sizeof *chain.members);
    chain.messages = calloc(2 * members, sizeof *chain.messages);
    int64_t *at = calloc(members, sizeof *at);
    if (chain.members && chain.messages && at) rc = price(&chain, out, at);
    else                                       error_no_memory(c->err);
    free(chain.members);
    free(chain.messages);
    free(chain.first);
    free(at);
    return rc;
}
