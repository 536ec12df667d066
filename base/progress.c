#include "base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void draw(Progress *progress)
{
    progress->shown = fprintf(stderr, "\r%s %" PRId64 "/%" PRId64, progress->label, progress->done,
                              progress->total);
    fflush(stderr);
}

void progress_start(Progress *progress, const char *label, int64_t total)
{
    *progress = (Progress){.label = label, .total = total, .active = isatty(STDERR_FILENO)};
    progress->last_ms = now_ms();
    if (progress->active) draw(progress);
}

void progress_add(Progress *progress, int64_t done)
{
    progress->done += done;
    if (!progress->active) return;
    int64_t now = now_ms();
    if (now - progress->last_ms < 100) return;
    progress->last_ms = now;
    draw(progress);
}

void progress_end(Progress *progress)
{
    if (progress->shown > 0) fprintf(stderr, "\r%*s\r", progress->shown, "");
    progress->shown = 0;
}
