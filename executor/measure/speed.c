#include "executor/measure/speed.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/stats.h"
#include "executor/train/execute.h"

enum { WARM_UP = 1, READ = 6 };          /* steps of the program: before those that count, and
                                          * these */

int64_t speed_rows(int64_t batch, int devices) { return batch < devices ? 1 : batch / devices; }

int speed_open(Speed *speed, const Execution *like, const ProfileShape *shape, Error *err)
{
    ProfileShape own = *shape;

    *speed = (Speed){.like = like};
    own.steps = WARM_UP + READ;
    int64_t rows = speed_rows(own.batch, own.devices);
    return profile_compute(&speed->program, &own, own.devices, profile_width(&own, rows), rows,
                           err);
}

void speed_free(Speed *speed)
{
    program_free(speed->program);
    free(speed->us);
    *speed = (Speed){0};
}

/* Of the steps that count, a device's work in us. */
static double step_us(const ExecutionResult *result, int devices)
{
    int64_t ns = 0;

    for (int64_t i = 0; i < result->span_count; i++)
        if (result->spans[i].step >= WARM_UP && op_computes(result->spans[i].instruction->op))
            ns += result->spans[i].end_ns - result->spans[i].start_ns;
    return (double)ns * 1e-3 / READ / devices;
}

int speed_read(Speed *speed, Error *err)
{
    ExecutionResult result = {0};
    double          us = 0;
    int             rc = -1;

    if (!speed->like) return 0;
    Execution e = *speed->like;
    e.program = speed->program;
    e.steps_per_epoch = speed->program->steps;
    e.record_first = 0;
    e.record_steps = speed->program->steps;
    e.student = NULL;
    if (!array_has_room(speed->us, speed->count, speed->room)) return error_no_memory(err);
    if (tensors_new(&e.student, err) != 0) return -1;
    if (execute(&result, &e, err) != 0) goto done;
    us = step_us(&result, speed->program->device_count);
    if (world_broadcast(e.world, &us, sizeof us, err) != 0) goto done;
    speed->us[speed->count++] = us;
    rc = 0;
done:
    execution_free(&result);
    tensors_free(e.student);
    return rc;
}

double speed_mean_us(const Speed *speed)
{
    return speed->count ? stats_mean(speed->us, (size_t)speed->count) : 0;
}

double speed_slowness(const Speed *speed, int64_t i, double reference_us)
{
    if (i < 0 || i >= speed->count || reference_us <= 0) return 1;
    double us = speed->us[i];
    if (i + 1 < speed->count) us = (us + speed->us[i + 1]) / 2;
    return us > 0 ? us / reference_us : 1;
}

/* What the curve has at exactly rows, while all work; -1: nothing. */
static int64_t contended_ns(const Curve *curve, int64_t rows)
{
    for (int i = 0; i < curve->count; i++)
        if (curve->points[i].x == rows) return curve->points[i].contended_ns;
    return -1;
}

double speed_of_trace(const Trace *trace, int64_t rows)
{
    double us = 0;

    if (strcmp(trace->source, "pipebd-run profile") != 0) return 0;
    for (int b = 0; b < trace->block_count; b++)
        for (int j = 0; j < trace_students(&trace->blocks[b]); j++) {
            TraceStudent student = trace_student(&trace->blocks[b], j);
            for (int w = 0; w < WORK_COUNT; w++) {
                if (w == WORK_TEACHER && j > 0) continue;
                int64_t ns = contended_ns(&student.work[w][0], rows);
                if (ns < 0) return 0;
                us += (double)ns * 1e-3;
            }
        }
    return us;
}
