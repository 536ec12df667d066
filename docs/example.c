#include <inttypes.h>
#include <stdio.h>
#include <pipebd.h>

int main(int argc, char **argv)
{
    pipebd_options     options = PIPEBD_OPTIONS_INIT;
    pipebd_trace      *trace = NULL;
    pipebd_comparison *comparison = NULL;
    pipebd_error       error = {""};
    const pipebd_prediction *best;

    if (argc != 2) return 2;
    options.schedules = 1 << PIPEBD_DP | 1 << PIPEBD_DPU | 1 << PIPEBD_AHD;
    if (pipebd_trace_read(&trace, argv[1], &error) != 0) goto done;
    if (pipebd_compare(&comparison, trace, &options, &error) != 0) goto done;
    best = pipebd_comparison_best(comparison);
    printf("%s: %.9f s an epoch, %.6f times dp\n",
           pipebd_schedule_name(pipebd_plan_schedule(best->plan)), (double)best->epoch_ns * 1e-9,
           best->speedup);
    for (int i = 0; i < pipebd_plan_stage_count(best->plan); i++) {
        const pipebd_stage *stage = pipebd_plan_stage(best->plan, i);
        for (int d = 0; d < stage->width; d++)
            printf("device %d: %" PRId64 " rows of blocks %d to %d\n", stage->devices[d],
                   stage->rows[d], stage->first, stage->last);
    }
done:
    if (error.text[0]) fprintf(stderr, "%s\n", error.text);
    pipebd_comparison_free(comparison);
    pipebd_trace_free(trace);
    return error.text[0] != '\0';
}
