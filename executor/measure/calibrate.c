#include "executor/measure/calibrate.h"

#include <math.h>
#include <string.h>

static const Op op_of[WORK_COUNT] = {OP_TEACHER, OP_FORWARD, OP_BACKWARD, OP_UPDATE};

typedef struct {
    const Samples *predicted, *measured;     /* [count] */
    const bool    *single_block;
    int            count;
    bool           means;        /* compared, as the trace has stalls in its times; else medians */
} RunTimes;

/* Measured over predicted for a kind of work on rows of a block: the geometric mean over the pairs
 * that have it; 1 when none has. */
static int factor(double *out, const RunTimes *runs, bool single_block, SampleKey key, Error *err)
{
    double sum = 0;
    int    n = 0;

    for (int i = 0; i < runs->count; i++) {
        SampleFigures p, m;
        if (runs->single_block[i] != single_block) continue;
        if (samples_figures(&p, &runs->predicted[i], key, err) != 0
            || samples_figures(&m, &runs->measured[i], key, err) != 0) return -1;
        if (!p.count || !m.count || p.median <= 0 || m.median <= 0) continue;
        sum += log(runs->means ? m.mean / p.mean : m.median / p.median);
        n++;
    }
    *out = n ? exp(sum / n) : 1;
    return 0;
}

static int correct_curve(Curve *curve, Op op, int block, int student, const RunTimes *runs,
                         Error *err)
{
    for (int i = 0; i < curve->count; i++) {
        CurvePoint *point = &curve->points[i];
        SampleKey   key = {op, block, point->x, -1, -1, student};
        double      by, single_block_by;
        if (factor(&by, runs, false, key, err) != 0
            || factor(&single_block_by, runs, true, key, err) != 0)
            return -1;
        point->ns = llround((double)point->ns * by);
        point->contended_ns = llround((double)point->contended_ns * by);
        if (point->contended_ns < point->ns) point->contended_ns = point->ns;
        point->single_block_ns = llround((double)point->single_block_ns * single_block_by);
        point->single_block_contended_ns =
            llround((double)point->single_block_contended_ns * single_block_by);
    }
    return 0;
}

/* The teacher's curves and those of each student, which are apart from each other. */
static int correct_block(TraceBlock *block, int b, const RunTimes *runs, Error *err)
{
    if (correct_curve(block->work[WORK_TEACHER], OP_TEACHER, b, 0, runs, err) != 0) return -1;
    for (int j = 0; j < trace_students(block); j++) {
        TraceStudent student = trace_student(block, j);
        for (int w = 0; w < WORK_COUNT; w++)
            if (w != WORK_TEACHER
                && correct_curve(student.work[w], op_of[w], b, j, runs, err) != 0)
                return -1;
    }
    return 0;
}

int correct_trace(Text *out, const Trace *trace, const Samples *predicted, const Samples *measured,
                  const bool *single_block, int count, Error *err)
{
    RunTimes   runs = {predicted, measured, single_block, count, trace_has_stalls(trace)};
    Text   text = {0};
    Trace *copy = NULL;
    int    rc = -1;

    trace_text(trace, &text);
    if (text_failed(&text)) { error_no_memory(err); goto done; }
    if (trace_parse(&copy, trace->name, text_string(&text), text.length, err) != 0) goto done;
    for (int b = 0; b < copy->block_count; b++)
        if (correct_block(&copy->blocks[b], b, &runs, err) != 0) goto done;
    copy->source = "pipebd-run validate";
    trace_text(copy, out);
    rc = text_failed(out) ? error_no_memory(err) : 0;
done:
    trace_free(copy);
    text_free(&text);
    return rc;
}
