#include "tools/run_watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "executor/clock.h"

int watch_open(Watch *watch, const Workload *workload, int64_t steps_per_epoch, Error *err)
{
    *watch = (Watch){.workload = workload, .batch = workload->batch, .steps_per_epoch = steps_per_epoch,
                     .terminal = isatty(STDERR_FILENO)};
    watch->blocks = calloc((size_t)workload->block_count, sizeof *watch->blocks);
    return watch->blocks ? 0 : error_no_memory(err);
}

void watch_start(Watch *watch, int64_t total)
{
    watch->total = total;
    watch->start_ns = watch->shown_ns = clock_ns();
}

double watch_rate(const Watch *watch, double seconds)
{
    if (seconds <= 0) return 0;
    return (double)watch->done / watch->workload->block_count * (double)watch->batch / seconds;
}

static void show(Watch *watch, int64_t now_ns)
{
    double seconds = (double)(now_ns - watch->start_ns) / 1e9;
    double left = seconds * (double)(watch->total - watch->done) / (double)watch->done;
    char   line[256];
    int    length = snprintf(line, sizeof line, "%5.1f %%  %.0f images/s  %d:%02d left  loss",
                             100.0 * (double)watch->done / (double)watch->total, watch_rate(watch, seconds),
                             (int)left / 60, (int)left % 60);

    for (int b = 0; b < watch->workload->block_count && length < 100; b++) {
        const BlockLoss *loss = &watch->blocks[b];
        if (loss->last_steps == 0) length += snprintf(line + length, sizeof line - (size_t)length, " -");
        else length += snprintf(line + length, sizeof line - (size_t)length, " %.3g",
                                loss->last / (double)loss->last_steps);
    }
    fprintf(stderr, "\r%s%*s", line, watch->shown > length ? watch->shown - length : 0, "");
    watch->shown = length;
    watch->shown_ns = now_ns;
}

void watch_update(void *context, int device, int block, int64_t step, double loss)
{
    Watch     *watch = context;
    BlockLoss *b = &watch->blocks[block];
    int64_t    epoch = step / watch->steps_per_epoch;

    (void)device;
    if (b->steps == 0 || epoch != b->last_epoch) { b->last = 0; b->last_steps = 0; b->last_epoch = epoch; }
    if (b->steps < watch->steps_per_epoch) { b->first += loss; b->first_steps++; }
    b->last += loss;
    b->last_steps++;
    b->steps++;
    watch->done++;
    if (!watch->terminal) return;
    int64_t now_ns = clock_ns();
    if (now_ns - watch->shown_ns > 100000000) show(watch, now_ns);
}

void watch_end(Watch *watch)
{
    if (watch->shown) fprintf(stderr, "\r%*s\r", watch->shown, "");
    watch->shown = 0;
}

void watch_table(const Watch *watch, Text *out)
{
    text_append(out, "block             steps   loss, first epoch          last\n");
    for (int b = 0; b < watch->workload->block_count; b++) {
        const BlockLoss *loss = &watch->blocks[b];
        text_printf(out, "%-12s %10" PRId64, watch->workload->block[b].name, loss->steps);
        if (loss->steps == 0) text_append(out, "                   -             -\n");
        else text_printf(out, " %19.6g %13.6g\n", loss->first / (double)loss->first_steps,
                         loss->last / (double)loss->last_steps);
    }
}

void watch_free(Watch *watch)
{
    free(watch->blocks);
    *watch = (Watch){0};
}
