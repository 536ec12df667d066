#include "traces/plausibility.h"

#include <inttypes.h>

typedef struct {
    const TraceBlock *block;             /* of the worst */
    const CurvePoint *few, *more;
    Work              work;
    int               kind, count;
    double            worst;
} Suspect;

/* Points of a curve are in the order of their rows. */
static void look_at(Suspect *d, const TraceBlock *block, Curve *const *curves, Work work, int kind)
{
    const Curve *curve = &curves[work][kind];

    for (int i = 0; i + 1 < curve->count; i++) {
        const CurvePoint *few = &curve->points[i], *more = few + 1;
        double            fall = more->ns > 0 ? (double)few->ns / (double)more->ns : 0;

        if (few->ns < PLAUSIBILITY_LEAST_NS || fall < PLAUSIBILITY_FALL) continue;
        d->count++;
        if (fall <= d->worst) continue;
        d->worst = fall;
        d->block = block, d->few = few, d->more = more, d->work = work, d->kind = kind;
    }
}

void trace_plausibility(const Trace *trace, Text *out)
{
    static const char *const words[WORK_COUNT] = {"teacher", "forward", "backward", "update"};
    Suspect d = {0};

    for (int b = 0; b < trace->block_count; b++)
        for (int kind = 0; kind < trace->kind_count; kind++) {
            const TraceBlock *block = &trace->blocks[b];
            look_at(&d, block, block->work, WORK_TEACHER, kind);
            for (int j = 0; j < trace_students(block); j++)
                for (int work = WORK_FORWARD; work < WORK_COUNT; work++)
                    look_at(&d, block, trace_student(block, j).work, (Work)work, kind);
        }
    if (d.count == 0) return;
    text_printf(out,
                "  note: block \"%s\", %s: %" PRId64 " rows take %.1f times as long as %" PRId64,
                d.block->name, words[d.work], d.few->x, d.worst, d.more->x);
    if (trace->kind_count > 1) text_printf(out, " on \"%s\"", trace->kinds[d.kind].name);
    if (d.count > 1) text_printf(out, "; %d times fall so as rows grow", d.count);
    text_append(out, ": other kernels, or measured while the machine was busy\n");
}
