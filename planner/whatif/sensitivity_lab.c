#include "planner/whatif/sensitivity_lab.h"

#include <string.h>

#include "planner/whatif/whatif.h"

static void reset_curve(Curve *to, const Curve *from)
{
    if (to->count) memcpy(to->points, from->points, (size_t)to->count * sizeof *to->points);
}

static void reset_works(Curve *const *to, Curve *const *from, int kinds, int first)
{
    for (int work = first; work < WORK_COUNT; work++)
        for (int kind = 0; kind < kinds; kind++) reset_curve(&to[work][kind], &from[work][kind]);
}

static void reset_links(TraceLinks *to, const TraceLinks *from)
{
    reset_curve(&to->p2p, &from->p2p);
    for (int i = 0; i < to->reduce_count; i++)
        reset_curve(&to->reduces[i].curve, &from->reduces[i].curve);
}

/* Every number that margins scale. */
static void reset(Lab *lab)
{
    Trace *to = lab->edited;

    for (int b = 0; b < to->block_count; b++) {
        TraceBlock *block = &to->blocks[b], *given = &lab->given->blocks[b];
        reset_works(block->work, given->work, to->kind_count, 0);
        for (int j = 0; j < block->student_count; j++)
            reset_works(block->students[j].work, given->students[j].work, to->kind_count,
                        WORK_TEACHER + 1);
    }
    to->loader = lab->given->loader;
    to->step_ns = lab->given->step_ns;
    to->process_bytes = lab->given->process_bytes;
    reset_links(&to->links, &lab->given->links);
    reset_links(&to->node_links, &lab->given->node_links);
    for (int d = 0; to->slowdown && d < TRACE_MAX_DEVICES; d++) to->slowdown[d] = 1;
}

int lab_parse(Trace **out, const SensitivityJob *job, Error *err)
{
    ScenarioOptions options = job->scenario;

    if (trace_parse(out, job->name, job->text, job->length, err) != 0) return -1;
    return whatif_apply_all(*out, &options, job->edits, job->edit_count, NULL, err);
}

int lab_open(Lab *lab, const SensitivityJob *job, const SensitivityBase *base, Error *err)
{
    *lab = (Lab){.job = job, .base = base};
    if (lab_parse(&lab->given, job, err) != 0) return -1;
    return lab_parse(&lab->edited, job, err);
}

/* With the first scenario, which says what the batch is. */
static int keep_works(Lab *lab, Scenario *s, Error *err)
{
    if (!lab->works && work_cache_new(&lab->works, s->trace, s->batch, s->extrapolate, err) != 0)
        return -1;
    if (lab->works) work_cache_renew(lab->works);
    s->works = lab->works;
    return 0;
}

void lab_close(Lab *lab)
{
    work_cache_free(lab->works);
    trace_free(lab->given);
    trace_free(lab->edited);
}

int lab_scale(Lab *lab, const Sensitivity *margin, int percent, Scenario *s, bool *known,
              bool *changed, Error *err)
{
    ScenarioOptions options = lab->job->scenario;
    Error           why = {""};
    bool            did;

    *s = (Scenario){0};
    *changed = false;
    *known = true;
    reset(lab);
    for (int i = 0; i < 2 && margin->path[i][0] && *known; i++) {
        *known = whatif_apply(lab->edited, &options, EDIT_SCALE, margin->path[i],
                              1 + percent / 100.0, &did, &why)
                 == 0;
        *changed |= did;
    }
    if (*known && *changed) *known = scenario_build(s, lab->edited, &options, &why) == 0;
    if (error_is_no_memory(&why)) return error_no_memory(err);
    return *known && *changed ? keep_works(lab, s, err) : 0;
}
