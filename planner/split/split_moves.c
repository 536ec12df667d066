#include "planner/split/split_moves.h"

#include <string.h>

enum { PARTS = 6, TARGETS = 5, SWAPS = 3 };      /* of the busiest device; idlest devices */

/* ---- making ------------------------------------------------------------------------- */

static void share_out(Layout *l, int stage)
{
    int width = l->at[stage + 1] - l->at[stage];

    for (int i = 0; i < width; i++) l->rows[l->at[stage] + i] = scenario_share(l->batch, width, i);
}

static void arrange_all(Layout *l)
{
    for (int i = 0; i < l->parts; i++)
        if (i == 0 || l->part[i].task != l->part[i - 1].task) layout_arrange(l, l->part[i].task);
}

static bool make_part(Layout *l, const Move *m)
{
    SplitPart *part = &l->part[m->part];
    int   task = part->task;

    if (m->rows == part->rows) layout_remove(l, m->part);
    else                       part->rows -= m->rows;
    if (!layout_give(l, task, m->device, m->rows)) return false;
    layout_arrange(l, task);
    return true;
}

/* stage -1: to the device alone. */
static bool make_task(Layout *l, const Move *m)
{
    int task = l->part[m->part].task, first = m->part;

    while (first > 0 && l->part[first - 1].task == task) first--;
    while (first < l->parts && l->part[first].task == task) layout_remove(l, first);
    if (m->stage < 0 && !layout_give(l, task, m->device, l->batch)) return false;
    for (int i = m->stage < 0 ? 0 : l->at[m->stage]; m->stage >= 0 && i < l->at[m->stage + 1]; i++)
        if (!layout_give(l, task, l->device[i], l->rows[i])) return false;
    layout_arrange(l, task);
    return true;
}

static bool make_swap(Layout *l, const Move *m)
{
    SplitPart a = l->part[m->part], b = l->part[m->other];
    int  later = m->part > m->other ? m->part : m->other, sooner = m->part + m->other - later;

    layout_remove(l, later);
    layout_remove(l, sooner);
    if (!layout_give(l, a.task, b.device, a.rows) || !layout_give(l, b.task, a.device, b.rows))
        return false;
    layout_arrange(l, a.task);
    layout_arrange(l, b.task);
    return true;
}

/* Takes device out of its stage, and the stage away with its last device. */
static bool make_out(Layout *l, const Move *m)
{
    int s = m->stage, at = l->at[s];

    if (l->stages == 1 && l->at[1] == 1) return false;
    while (l->device[at] != m->device) at++;
    memmove(&l->device[at], &l->device[at + 1],
            (size_t)(l->at[l->stages] - at - 1) * sizeof *l->device);
    memmove(&l->rows[at], &l->rows[at + 1], (size_t)(l->at[l->stages] - at - 1) * sizeof *l->rows);
    for (int i = s + 1; i <= l->stages; i++) l->at[i]--;
    if (l->at[s + 1] > l->at[s]) { share_out(l, s); arrange_all(l); return true; }
    /* Its blocks go to the stage before; those of the first stage to the next. */
    memmove(&l->first[s], &l->first[s + 1], (size_t)(l->stages - s) * sizeof *l->first);
    memmove(&l->at[s], &l->at[s + 1], (size_t)(l->stages - s) * sizeof *l->at);
    l->first[0] = 0;
    l->stages--;
    arrange_all(l);
    return true;
}

static bool make_in(Layout *l, const Move *m)
{
    int end = l->at[m->stage + 1];

    if (l->at[l->stages] == l->devices || l->at[m->stage + 1] - l->at[m->stage] >= l->batch)
        return false;
    memmove(&l->device[end + 1], &l->device[end],
            (size_t)(l->at[l->stages] - end) * sizeof *l->device);
    memmove(&l->rows[end + 1], &l->rows[end], (size_t)(l->at[l->stages] - end) * sizeof *l->rows);
    l->device[end] = m->device;
    for (int i = m->stage + 1; i <= l->stages; i++) l->at[i]++;
    share_out(l, m->stage);
    arrange_all(l);
    return true;
}

bool move_make(Layout *l, const Move *m)
{
    switch (m->kind) {
    case MOVE_PART: return make_part(l, m);
    case MOVE_SWAP: return make_swap(l, m);
    case MOVE_TASK: return make_task(l, m);
    case MOVE_UP:   l->first[m->stage]++; arrange_all(l); return true;
    case MOVE_DOWN: l->first[m->stage + 1]--; arrange_all(l); return true;
    case MOVE_OUT:  return make_out(l, m);
    default:        return make_in(l, m);
    }
}

/* ---- listing ------------------------------------------------------------------------ */

typedef struct {
    SplitCost     *cost;
    const Layout  *layout;
    const int64_t *busy;
    Move          *out;
    int            count;
} List;

static void add(List *list, Move move)
{
    if (list->count < MOVES_MAX) list->out[list->count++] = move;
}

/* The least busy devices, idlest first; lower numbers first among equals. */
static int idlest(const List *list, int not, int *out)
{
    int count = 0;

    for (int d = 0; d < list->layout->devices; d++) {
        int at = count;
        if (d == not) continue;
        while (at > 0 && list->busy[out[at - 1]] > list->busy[d]) at--;
        if (at >= TARGETS) continue;
        if (count < TARGETS) count++;
        memmove(&out[at + 1], &out[at], (size_t)(count - at - 1) * sizeof *out);
        out[at] = d;
    }
    return count;
}

static int64_t time_of(const List *list, int part, int device)
{
    const SplitPart *p = &list->layout->part[part];

    return split_cost_task(list->cost, p->task, device, p->rows);
}

/* The longest parts on device, longest first. */
static int longest(const List *list, int device, int *out, int most)
{
    int64_t ns[PARTS];
    int     count = 0;

    for (int i = 0; i < list->layout->parts; i++) {
        if (list->layout->part[i].device != device) continue;
        int64_t t = time_of(list, i, device);
        int     at = count;
        while (at > 0 && ns[at - 1] < t) at--;
        if (at >= most) continue;
        if (count < most) count++;
        memmove(&out[at + 1], &out[at], (size_t)(count - at - 1) * sizeof *out);
        memmove(&ns[at + 1], &ns[at], (size_t)(count - at - 1) * sizeof *ns);
        out[at] = i;
        ns[at] = t;
    }
    return count;
}

/* The stage whose teacher device runs; -1. */
static int stage_of_device(const Layout *l, int device)
{
    for (int s = 0; s < l->stages; s++)
        for (int i = l->at[s]; i < l->at[s + 1]; i++)
            if (l->device[i] == device) return s;
    return -1;
}

static void list_tasks(List *list, int from, int to)
{
    const Layout *l = list->layout;
    int           parts[PARTS], stage = stage_of_device(l, to);
    int           count = longest(list, from, parts, PARTS);

    for (int i = 0; i < count; i++) {
        if (l->part[parts[i]].rows < l->batch) add(list, (Move){MOVE_TASK, parts[i], 0, to, -1, 0});
        if (stage >= 0 && l->at[stage + 1] - l->at[stage] > 1)
            add(list, (Move){MOVE_TASK, parts[i], 0, to, stage, 0});
    }
}

static void list_parts(List *list, int from, int to)
{
    const Layout *l = list->layout;
    int           parts[PARTS], others[SWAPS];
    int count = longest(list, from, parts, PARTS), other_count = longest(list, to, others, SWAPS);
    int64_t       gap = list->busy[from] - list->busy[to];

    for (int i = 0; i < count; i++) {
        const SplitPart *p = &l->part[parts[i]];
        int64_t     ns = time_of(list, parts[i], from);
        if (gap > 0 && ns > 0 && p->rows > 1) {          /* so many rows that the two meet */
            double  even = (double)p->rows * (double)gap / (2 * (double)ns);
            int64_t rows = even < (double)p->rows - 1 ? (int64_t)even : p->rows / 2;
            if (rows >= 1) add(list, (Move){MOVE_PART, parts[i], 0, to, 0, rows});
            if (rows >= 4) add(list, (Move){MOVE_PART, parts[i], 0, to, 0, rows / 2});
        }
        if (ns < gap) add(list, (Move){MOVE_PART, parts[i], 0, to, 0, p->rows});
        for (int k = 0; k < other_count; k++)
            if (time_of(list, others[k], to) < ns && l->part[others[k]].task != p->task)
                add(list, (Move){MOVE_SWAP, parts[i], others[k], 0, 0, 0});
    }
}

static void list_stage(List *list, int device, const int *targets, int target_count)
{
    const Layout *l = list->layout;
    int           s = stage_of_device(l, device);

    if (s < 0) return;
    int blocks = l->first[s + 1] - l->first[s];
    if (s > 0 && blocks > 1) add(list, (Move){MOVE_UP, 0, 0, 0, s, 0});
    if (s + 1 < l->stages && blocks > 1) add(list, (Move){MOVE_DOWN, 0, 0, 0, s, 0});
    add(list, (Move){MOVE_OUT, 0, 0, device, s, 0});
    for (int t = 0; t < target_count && t < 2; t++) {
        if (stage_of_device(l, targets[t]) < 0) add(list, (Move){MOVE_IN, 0, 0, targets[t], s, 0});
    }
}

int moves_list(Move out[MOVES_MAX], SplitCost *cost, const Layout *layout,
               const int64_t *busy_ns, int device)
{
    List list = {cost, layout, busy_ns, out, 0};
    int  targets[TARGETS + 1], count = idlest(&list, device, targets);

    for (int t = 0; t < count; t++) list_parts(&list, device, targets[t]);
    for (int t = 0; t < count; t++) list_tasks(&list, device, targets[t]);
    list_stage(&list, device, targets, count);
    return list.count;
}
