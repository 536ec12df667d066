/* By bisection on the bottleneck T. For a T the probe computes, for the class with the
 * most devices ("the last") and every number used of the others,
 *
 *     fewest[j][u] = the fewest of the last class with which blocks 0..j-1 can be done
 *                    by T, together with u of the others
 *
 * from fewest[first][u - n] + need(first..j-1, n), where need is the fewest of the last
 * class that do the stage by T together with n of the others. Fewer is never worse:
 * costs do not depend on where a stage stands, and what is left over may stay idle. For
 * the same reason n is left out when need is no less than with a device less in n.
 *
 * first goes down from j-1 until all devices together, without all-reduces and messages,
 * would not do the stage by T: then no longer stage can be done either.
 *
 * With N blocks, c devices in the last class and P = product of (count + 1) over the
 * others: O(N^2 (P^2 + P c + W K log B)) a probe, and as many probes as T has bits. */
#include "planner/hetero/hetero.h"

#include <stdlib.h>
#include <string.h>

typedef struct { int first, code, count; } HeteroStep;         /* the last stage of the best way
                                                                * here */

/* The most rows of a member by some limits: by a greater one they are no fewer. */
typedef struct { int64_t limit_ns, most; } RowLimit;

/* What was asked of a member of a group before: the last answer, and those by the nearest limits
 * below and above before it. limit_ns 0: there is none. */
typedef struct {
    int64_t  least;              /* rows; 0: nothing was asked */
    RowLimit last, below, above;
} RowAnswers;

typedef struct {
    GroupCosts *g;
    HeteroMemo *memo;                        /* NULL: none */
    int         blocks, classes, last;       /* last: the class */
    int         codes;                       /* P */
    int         low, high, most_width;       /* widths, in units */
    int         unit;                        /* devices taken at a time */
    int64_t     batch, limit;
    int64_t     bound;                       /* no bottleneck is less */
    int64_t     limit_ns;                    /* longer ones are of no interest; 0: all are */
    int        *counts;                      /* [classes] in units, as are all below */
    int        *stride;                      /* [classes] of a code; 0 for the last class */
    int        *digits;                      /* [codes][classes] */
    int        *fewest;                      /* [blocks + 1][codes]; none: NONE */
    HeteroStep       *steps;                       /* [blocks + 1][codes] */
    int        *need;                        /* [codes]; none: NONE */
    int        *worth;                       /* [codes] those with a need */
    int64_t    *least, *most;                /* [widths + 1][classes]; -1: not looked up */
    int        *group;                       /* [classes] */
    RowAnswers *answers;                     /* [blocks (blocks + 1) / 2][most_width + 1][classes]
                                              * by last, first and width in units, 0 for the floor;
                                              * NULL: too many */
} HeteroSearch;

enum { NONE = 1 << 30, ANSWERS_MOST = 1 << 20 };

#define MOST (INT64_MAX / 4)                             /* no cost is more */

/* ---- a stage and a limit ------------------------------------------------------------ */

/* What answers say of limit_ns: the most rows are *low to *high. */
static void narrow(RowAnswers *a, int64_t limit_ns, int64_t *low, int64_t *high)
{
    if (a->last.limit_ns > 0) *(a->last.limit_ns <= limit_ns ? &a->below : &a->above) = a->last;
    if (a->below.limit_ns > 0 && a->below.limit_ns <= limit_ns) *low = a->below.most;
    if (a->above.limit_ns > 0 && a->above.limit_ns >= limit_ns) *high = a->above.most;
}

/* Rows of a member of class in the group of blocks first..last on width units of devices; floor: on
 * one device. */
static void ask_range(HeteroSearch *s, int first, int last, int width, bool floor, int class,
                      int64_t *least, int64_t *most)
{
    size_t      at = (size_t)last * (size_t)(last + 1) / 2 + (size_t)first;
    size_t      each = (size_t)(s->most_width + 1) * (size_t)s->classes;
    RowAnswers  none = {0}, *a = s->answers
                           ? &s->answers[at * each
                                         + (size_t)(floor ? 0 : width) * (size_t)s->classes
                                         + (size_t)class]
                           : &none;
    int64_t     low = 0, high = s->batch;

    narrow(a, s->limit, &low, &high);
    if (a->least == 0 || low < high) {
        memset(s->group, 0, (size_t)s->classes * sizeof *s->group);
        s->group[0] = floor ? 1 : width * s->unit;
        group_range(s->g, &(HeteroGroup){.first = first, .last = last, .counts = s->group}, floor,
                    class, s->limit, low, high, &a->least, &low);
    }
    a->last = (RowLimit){s->limit, low};
    *least = a->least;
    *most = low;
}

/* Whether all devices could do the stage if they had nothing to tell each other. */
static bool is_possible(HeteroSearch *s, int first, int last)
{
    int64_t room = 0, least, most;

    for (int c = 0; c < s->classes; c++) {
        ask_range(s, first, last, 1, true, c, &least, &most);
        room += most * s->counts[c] * s->unit;
    }
    return room >= s->batch;
}

static bool is_done(HeteroSearch *s, int first, int last, const int *others, int count, int width)
{
    size_t   at = (size_t)width * (size_t)s->classes;
    int64_t *least = s->least + at, *most = s->most + at;
    int64_t  room = 0, taken = 0;

    for (int c = 0; c < s->classes; c++) {
        int n = c == s->last ? count : others[c];
        if (n == 0) continue;
        if (most[c] < 0) ask_range(s, first, last, width, false, c, &least[c], &most[c]);
        if (most[c] == 0) return false;
        room += most[c] * n * s->unit;
        taken += least[c] * n * s->unit;
    }
    return room >= s->batch && taken <= s->batch;
}

/* need[] of a stage; returns how many codes are worth trying. */
static int find_needs(HeteroSearch *s, int first, int last)
{
    int worth = 0;

    for (size_t i = 0; i < (size_t)(s->high + 1) * (size_t)s->classes; i++) s->most[i] = -1;
    for (int code = 0; code < s->codes; code++) {
        const int *others = s->digits + (size_t)code * (size_t)s->classes;
        int        sum = 0, bound = s->counts[s->last] + 1;
        for (int c = 0; c < s->classes; c++) {
            sum += others[c];
            if (others[c] > 0 && s->need[code - s->stride[c]] < bound)
                bound = s->need[code - s->stride[c]];
        }
        s->need[code] = bound > s->counts[s->last] ? NONE : bound;
        for (int count = 0; count < bound && sum + count <= s->high; count++) {
            if (sum + count < s->low || !is_done(s, first, last, others, count, sum + count))
                continue;
            s->need[code] = count;
            s->worth[worth++] = code;
            break;
        }
    }
    return worth;
}

/* ---- a probe -------------------------------------------------------------------------- */

static bool is_left(const HeteroSearch *s, int used, int more)
{
    const int *a = s->digits + (size_t)used * (size_t)s->classes,
              *b = s->digits + (size_t)more * (size_t)s->classes;

    for (int c = 0; c < s->classes; c++)
        if (c != s->last && a[c] + b[c] > s->counts[c]) return false;
    return true;
}

static void extend(HeteroSearch *s, int first, int j, int worth)
{
    const int *from = s->fewest + (size_t)first * (size_t)s->codes;
    int       *to = s->fewest + (size_t)j * (size_t)s->codes;
    HeteroStep      *steps = s->steps + (size_t)j * (size_t)s->codes;

    for (int used = 0; used < s->codes; used++) {
        if (from[used] == NONE) continue;
        for (int i = 0; i < worth; i++) {
            int more = s->worth[i], total = from[used] + s->need[more];
            if (total > s->counts[s->last] || !is_left(s, used, more) || total >= to[used + more])
                continue;
            to[used + more] = total;
            steps[used + more] = (HeteroStep){first, more, s->need[more]};
        }
    }
}

static int devices_in(const HeteroSearch *s, int code)
{
    int sum = 0;

    for (int c = 0; c < s->classes; c++)
        sum += s->digits[(size_t)code * (size_t)s->classes + (size_t)c];
    return sum;
}

/* The code of the others used by the way with fewest devices; -1: no way. */
static int probe(HeteroSearch *s, int64_t limit)
{
    int best = -1, devices = NONE;

    s->limit = limit;
    for (size_t i = 0; i < (size_t)(s->blocks + 1) * (size_t)s->codes; i++) s->fewest[i] = NONE;
    s->fewest[0] = 0;
    for (int j = 1; j <= s->blocks; j++)
        for (int first = j - 1; first >= 0 && is_possible(s, first, j - 1); first--)
            extend(s, first, j, find_needs(s, first, j - 1));
    const int *end = s->fewest + (size_t)s->blocks * (size_t)s->codes;
    for (int code = 0; code < s->codes; code++) {
        if (end[code] == NONE || end[code] + devices_in(s, code) >= devices) continue;
        devices = end[code] + devices_in(s, code);
        best = code;
    }
    return best;
}

/* ---- the partition of a probe ------------------------------------------------------------ */

static void release(HeteroPartition *p)
{
    free(p->first);
    free(p->counts);
    *p = (HeteroPartition){0};
}

/* The partition that the table's last row has for code, the devices used, from the last stage to
 * the first. *out is yours. */
static int read_back(HeteroSearch *s, int code, HeteroPartition *out, Error *err)
{
    const size_t k = (size_t)s->classes, codes = (size_t)s->codes;
    int stages = 0;

    *out = (HeteroPartition){0};
    for (int j = s->blocks, u = code; j > 0; stages++) {
        HeteroStep step = s->steps[(size_t)j * codes + (size_t)u];
        j = step.first;
        u -= step.code;
    }
    out->stages = stages;
    out->first = calloc((size_t)stages, sizeof *out->first);
    out->counts = calloc((size_t)stages * k, sizeof *out->counts);
    if (!out->first || !out->counts) { release(out); return error_no_memory(err); }
    for (int j = s->blocks, u = code, i = stages - 1; j > 0; i--) {
        HeteroStep step = s->steps[(size_t)j * codes + (size_t)u];
        int *counts = out->counts + (size_t)i * k;
        memcpy(counts, s->digits + (size_t)step.code * k, k * sizeof *counts);
        counts[s->last] = step.count;
        for (size_t c = 0; c < k; c++) counts[c] *= s->unit;
        out->first[i] = step.first;
        int64_t ns =
            group_cost(s->g, &(HeteroGroup){.first = step.first, .last = j - 1, .counts = counts});
        if (ns > out->bottleneck_ns) out->bottleneck_ns = ns;
        j = step.first;
        u -= step.code;
    }
    return 0;
}

/* All blocks on all devices at once: few bottlenecks are less, none by much. */
static int64_t first_guess(HeteroSearch *s)
{
    for (int c = 0; c < s->classes; c++) s->group[c] = s->counts[c] * s->unit;
    int64_t ns =
        group_floor(s->g, &(HeteroGroup){.first = 0, .last = s->blocks - 1, .counts = s->group});

    return ns == STAGE_IMPOSSIBLE || ns == 0 ? 1 : ns;
}

/* Where they are not too many. */
static int allocate_answers(HeteroSearch *s, Error *err)
{
    size_t count = (size_t)s->blocks * (size_t)(s->blocks + 1) / 2 * (size_t)(s->most_width + 1)
                   * (size_t)s->classes;

    if (s->answers || count > ANSWERS_MOST) return 0;
    s->answers = calloc(count, sizeof *s->answers);
    return s->answers ? 0 : error_no_memory(err);
}

/* The best with widths s->low..s->high; *out has no stages when there is none. */
static int bisect(HeteroSearch *s, HeteroPartition *out, Error *err)
{
    int64_t low = s->bound, high = s->limit_ns ? s->limit_ns : first_guess(s);
    int64_t stride = s->limit_ns ? s->limit_ns / 4096 + 1 : 0;
    int     code;

    *out = (HeteroPartition){0};
    if (allocate_answers(s, err) != 0) return -1;
    while ((code = probe(s, high)) < 0 && high < MOST && !s->limit_ns) {
        if (high >= low) low = high + 1;
        high = high < MOST / 4 ? 4 * high : MOST;
    }
    if (code < 0) return group_costs_failed(s->g) ? error_no_memory(err) : 0;
    while (code >= 0) {                          /* high is its bottleneck, or the first guess */
        release(out);
        if (read_back(s, code, out, err) != 0) return -1;
        if (group_costs_failed(s->g)) { release(out); return error_no_memory(err); }
        high = out->bottleneck_ns;
        code = -1;
        while (low < high && code < 0) {
            int64_t middle = low + (high - low) / 2;
            if (stride > 0 && middle < high - stride) middle = high - stride;
            code = probe(s, middle);
            if (code < 0) { low = middle + 1; stride = 0; }
            else if (stride < MOST / 4) stride *= 4;     /* the optimum is often near the limit */
        }
    }
    code = probe(s, high);                       /* does not depend on the way here */
    release(out);
    if (code >= 0 && !group_costs_failed(s->g)) return read_back(s, code, out, err);
    return error_no_memory(err);                 /* a probe can fail only so */
}

/* *out is yours. */
static int copy_partition(HeteroPartition *out, const HeteroPartition *from, int classes,
                          Error *err)
{
    size_t n = (size_t)from->stages;

    *out = *from;
    out->first = malloc(n * sizeof *out->first);
    out->counts = malloc(n * (size_t)classes * sizeof *out->counts);
    if (!out->first || !out->counts) { release(out); return error_no_memory(err); }
    memcpy(out->first, from->first, n * sizeof *out->first);
    memcpy(out->counts, from->counts, n * (size_t)classes * sizeof *out->counts);
    return 0;
}

/* The same, or what is known of it. */
static int find_best(HeteroSearch *s, HeteroPartition *out, Error *err)
{
    const HeteroPartition *known = NULL;
    HeteroEntry           *entry;
    int                    rc = 0;

    if (!s->memo) return bisect(s, out, err);
    *out = (HeteroPartition){0};
    entry = hetero_memo_entry(s->memo, s->g, s->low, s->high, s->unit);
    if (!entry) return error_no_memory(err);
    if (!hetero_memo_knows(entry, s->limit_ns, &known)) {
        rc = bisect(s, out, err);
        if (rc == 0) hetero_memo_note(entry, s->limit_ns, out);
        hetero_memo_knows(entry, s->limit_ns, &known);
    }
    if (rc == 0 && known) rc = copy_partition(out, known, s->classes, err);
    hetero_memo_release(entry);
    return rc;
}

/* ---- several ------------------------------------------------------------------------------- */

static bool same(const HeteroPartition *a, const HeteroPartition *b, int classes)
{
    size_t n = (size_t)a->stages;

    return a->stages == b->stages && memcmp(a->first, b->first, n * sizeof *a->first) == 0
           && memcmp(a->counts, b->counts, n * (size_t)classes * sizeof *a->counts) == 0;
}

/* Adds the best with widths low..high, unless it is there, in its place. */
static int add_best(HeteroSearch *s, HeteroPartition *parts, int *count, int low, int high,
                    Error *err)
{
    HeteroPartition best;
    int            at = *count;

    s->low = low;
    s->high = high;
    if (find_best(s, &best, err) != 0) return -1;
    for (int i = 0; i < *count && best.stages; i++)
        if (same(&parts[i], &best, s->classes)) release(&best);
    if (!best.stages) return 0;
    for (; at > 0 && parts[at - 1].bottleneck_ns > best.bottleneck_ns; at--)
        parts[at] = parts[at - 1];
    parts[at] = best;
    ++*count;
    return 0;
}

static int widest(const HeteroSearch *s, const HeteroPartition *p)
{
    int most = 0;

    for (int i = 0; i < p->stages; i++) {
        int width = 0;
        for (int c = 0; c < s->classes; c++)
            width += p->counts[(size_t)i * (size_t)s->classes + (size_t)c];
        if (width > most) most = width;
    }
    return most;
}

/* After the optimum (in units), parts[0], in turns wider groups (fewer of them) and narrower
 * ones. */
static int search_widths(HeteroSearch *s, HeteroPartition *parts, int *count, int max_width,
                         int wanted, Error *err)
{
    s->bound = parts[0].bottleneck_ns;
    int low = 2, high = widest(s, &parts[0]) / s->unit - 1;
    while (*count < wanted && (low <= max_width || high >= 1)) {
        if (low <= max_width && add_best(s, parts, count, low, max_width, err) != 0) return -1;
        low *= 2;
        if (*count < wanted && high >= 1 && add_best(s, parts, count, 1, high, err) != 0) return -1;
        high = high == 1 ? 0 : high < 4 ? 1 : high / 2;
    }
    return 0;
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static int last_class(const GroupCosts *g)
{
    const int *counts = group_costs_counts(g);
    int        last = 0;

    for (int c = 1; c < group_costs_classes(g); c++)
        if (counts[c] > counts[last]) last = c;
    return last;
}

static double codes_of(const GroupCosts *g, int unit)
{
    double codes = 1;

    for (int c = 0; c < group_costs_classes(g); c++)
        if (c != last_class(g)) codes *= group_costs_counts(g)[c] / unit + 1;
    return codes;
}

double hetero_work(const GroupCosts *g, int max_width, int unit)
{
    double n = group_costs_scenario(g)->trace->block_count, codes = codes_of(g, unit),
           k = group_costs_classes(g);
    double others = max_width == 1 ? k : codes, last = group_costs_counts(g)[last_class(g)] / unit;

    return n * n / 2 * (codes * others + others * last + 50.0 * max_width / unit * k);
}

static void number_codes(HeteroSearch *s)
{
    int stride = 1;

    for (int c = 0; c < s->classes; c++) {
        if (c == s->last) continue;
        s->stride[c] = stride;
        for (int code = 0; code < s->codes; code++)
            s->digits[(size_t)code * (size_t)s->classes + (size_t)c] =
                code / stride % (s->counts[c] + 1);
        stride *= s->counts[c] + 1;
    }
}

/* Room for the tables of a search; the caller frees what there is in any case. */
static int allocate(HeteroSearch *s, int max_width, Error *err)
{
    size_t k = (size_t)s->classes, codes = (size_t)s->codes,
           cells = (size_t)(s->blocks + 1) * codes;
    size_t ranges = ((size_t)max_width + 1) * k;

    s->stride = calloc(k, sizeof *s->stride);
    s->digits = calloc(codes * k, sizeof *s->digits);
    s->fewest = calloc(cells, sizeof *s->fewest);
    s->steps = calloc(cells, sizeof *s->steps);
    s->need = calloc(codes, sizeof *s->need);
    s->worth = calloc(codes, sizeof *s->worth);
    s->least = calloc(ranges, sizeof *s->least);
    s->most = calloc(ranges, sizeof *s->most);
    s->group = calloc(k, sizeof *s->group);
    s->counts = calloc(k, sizeof *s->counts);
    if (s->stride && s->digits && s->fewest && s->steps && s->need && s->worth && s->least
        && s->most && s->group && s->counts)
        return 0;
    return error_no_memory(err);
}

static void free_search(HeteroSearch *s)
{
    free(s->stride);
    free(s->digits);
    free(s->fewest);
    free(s->steps);
    free(s->need);
    free(s->worth);
    free(s->least);
    free(s->most);
    free(s->group);
    free(s->counts);
    free(s->answers);
}

/* Into parts, room for wanted, which stay the caller's. */
static int search(HeteroPartition *parts, int *count, GroupCosts *costs, int max_width, int unit,
                  int wanted, int64_t limit_ns, const HeteroPartition *optimum, HeteroMemo *memo,
                  Error *err)
{
    const Scenario *scenario = group_costs_scenario(costs);
    int    most = (max_width < scenario->batch ? max_width : (int)scenario->batch) / unit, rc = -1;
    HeteroSearch s = {.g = costs, .memo = memo, .blocks = scenario->trace->block_count,
                      .classes = group_costs_classes(costs), .last = last_class(costs),
                      .codes = (int)codes_of(costs, unit), .batch = scenario->batch, .unit = unit,
                      .most_width = most, .limit_ns = limit_ns};

    if (allocate(&s, most, err) == 0) {
        for (int c = 0; c < s.classes; c++) s.counts[c] = group_costs_counts(costs)[c] / unit;
        number_codes(&s);
        rc = optimum ? copy_partition(&parts[0], optimum, s.classes, err)
                     : add_best(&s, parts, count, 1, most, err);
        if (rc == 0 && optimum) *count = 1;
        if (rc == 0 && *count > 0) rc = search_widths(&s, parts, count, most, wanted, err);
    }
    free_search(&s);
    return rc;
}

/* optimum: what *out begins with; NULL: searched for. */
static int search_from(HeteroPartition **out, int *count, GroupCosts *costs, int max_width,
                       int unit, int wanted, int64_t limit_ns, const HeteroPartition *optimum,
                       HeteroMemo *memo, Error *err)
{
    int most = wanted > 1 ? wanted : 1;

    *count = 0;
    *out = calloc((size_t)most, sizeof **out);
    if (!*out) return error_no_memory(err);
    if (search(*out, count, costs, max_width, unit, most, limit_ns, optimum, memo, err) == 0)
        return 0;
    hetero_free(*out, *count);
    *out = NULL;
    *count = 0;
    return -1;
}

int hetero_search(HeteroPartition **out, int *count, GroupCosts *costs, int max_width, int unit,
                  int wanted, int64_t limit_ns, HeteroMemo *memo, Error *err)
{
    return search_from(out, count, costs, max_width, unit, wanted, limit_ns, NULL, memo, err);
}

int hetero_others(HeteroPartition **out, int *count, GroupCosts *costs, int max_width, int unit,
                  int wanted, int64_t limit_ns, const HeteroPartition *optimum, HeteroMemo *memo,
                  Error *err)
{
    if (search_from(out, count, costs, max_width, unit, wanted, limit_ns, optimum, memo, err) != 0)
        return -1;
    release(&(*out)[0]);                         /* none has a smaller bottleneck */
    memmove(*out, *out + 1, (size_t)--*count * sizeof **out);
    return 0;
}

void hetero_free(HeteroPartition *partitions, int count)
{
    for (int i = 0; i < count; i++) release(&partitions[i]);
    free(partitions);
}
