#include "executor/monitor/run_sampler.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct { double sum; int64_t count; } Loss;

/* Where everything stood at a moment. */
typedef struct {
    int64_t     at_ns, step;
    DeviceTimes *times;       /* [devices] */
} Stand;

struct RunSampler {
    const StatusBoard *board;
    int             blocks, devices;
    int64_t         batch, every;
    pthread_mutex_t lock;            /* for what follows, up to the writer's */
    int64_t         start_ns, updates, due;      /* of all blocks, since step 0; a step */
    Loss           *recent;          /* [blocks] */
    int64_t        *block_step;      /* [blocks] */
    bool            full;            /* now holds a sample; workers leave it and the line alone */
    Stand           now, before;
    double         *loss;            /* [blocks] of the sample */
    int64_t        *step;            /* [blocks] of the sample */
    /* the writer's */
    LogDevice      *shares;          /* [devices] */
    LogProgress     line;
};

int sampler_new(RunSampler **out, int blocks, const int64_t *block_step, int64_t batch,
                int64_t every, const StatusBoard *board, Error *err)
{
    RunSampler *s = calloc(1, sizeof *s);
    size_t      n = (size_t)blocks, devices = (size_t)status_board_devices(board);

    *out = NULL;
    if (!s) return error_no_memory(err);
    s->board = board;
    s->blocks = blocks;
    s->devices = (int)devices;
    s->batch = batch;
    s->every = every;
    pthread_mutex_init(&s->lock, NULL);
    s->recent = calloc(n, sizeof *s->recent);
    s->block_step = calloc(n, sizeof *s->block_step);
    s->now.times = calloc(devices, sizeof *s->now.times);
    s->before.times = calloc(devices, sizeof *s->before.times);
    s->loss = calloc(n, sizeof *s->loss);
    s->step = calloc(n, sizeof *s->step);
    s->shares = calloc(devices, sizeof *s->shares);
    if (!s->recent || !s->block_step || !s->now.times || !s->before.times || !s->loss || !s->step
        || !s->shares) {
        sampler_free(s);
        return error_no_memory(err);
    }
    for (int b = 0; b < blocks; b++) {
        s->block_step[b] = block_step[b];
        s->updates += block_step[b];
    }
    s->before.step = s->updates / blocks;
    s->due = (s->before.step / every + 1) * every;
    *out = s;
    return 0;
}

void sampler_free(RunSampler *s)
{
    if (!s) return;
    pthread_mutex_destroy(&s->lock);
    free(s->recent);
    free(s->block_step);
    free(s->now.times);
    free(s->before.times);
    free(s->loss);
    free(s->step);
    free(s->shares);
    free(s);
}

void sampler_start(RunSampler *s, int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    s->start_ns = s->before.at_ns = now_ns;
    for (int d = 0; d < s->devices; d++)
        s->before.times[d] = status_board_times(s->board, d, now_ns);
    pthread_mutex_unlock(&s->lock);
}

/* ---- by workers ---------------------------------------------------------------- */

/* Under the lock. */
static void make_sample(RunSampler *s, int64_t now_ns)
{
    s->now.at_ns = now_ns;
    s->now.step = s->updates / s->blocks;
    for (int d = 0; d < s->devices; d++) s->now.times[d] = status_board_times(s->board, d, now_ns);
    for (int b = 0; b < s->blocks; b++) {
        s->loss[b] = s->recent[b].count ? s->recent[b].sum / (double)s->recent[b].count : NAN;
        s->step[b] = s->block_step[b];
        s->recent[b] = (Loss){0};
    }
    s->due = (s->now.step / s->every + 1) * s->every;
    s->full = true;
}

bool sampler_update(RunSampler *s, int b, int64_t step, double loss, int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    s->recent[b].sum += loss;
    s->recent[b].count++;
    s->block_step[b] = step + 1;
    s->updates++;
    bool made = !s->full && s->updates / s->blocks >= s->due;
    if (made) make_sample(s, now_ns);
    pthread_mutex_unlock(&s->lock);
    return made;
}

/* ---- by the writer --------------------------------------------------------------- */

void sampler_finish(RunSampler *s, int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    bool news = false;
    for (int b = 0; b < s->blocks; b++) news = news || s->recent[b].count > 0;
    if (news && !s->full) make_sample(s, now_ns);
    pthread_mutex_unlock(&s->lock);
}

/* What was taken for waiting while it was under way may turn out to have been work: never below
 * nothing. */
static double share(int64_t before_ns, int64_t now_ns, double ns)
{
    return now_ns > before_ns ? (double)(now_ns - before_ns) / ns : 0;
}

static LogDevice shares_of(const RunSampler *s, int device, int64_t window_ns)
{
    const DeviceTimes *before = &s->before.times[device], *now = &s->now.times[device];
    int64_t           passed_ns = status_board_passed_ns(s->board, device, before, now, window_ns);
    double            ns = (double)passed_ns;
    LogDevice         out = {.known = passed_ns > 0
                                      && status_board_get(s->board, device).state != DEVICE_ABSENT};

    if (!out.known) return out;
    out.own = share(before->own_ns, now->own_ns, ns);
    out.bytes = now->bytes;
    for (int op = 0; op < OP_COUNT; op++) {
        out.wait_by[op] = share(before->wait_ns[op], now->wait_ns[op], ns);
        out.wait += out.wait_by[op];
        out.work += share(before->work_ns[op], now->work_ns[op], ns);
    }
    return out;
}

/* Of the process; 0: not known. */
static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long  all, resident = 0;

    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &all, &resident) != 2) resident = 0;
    fclose(file);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

const LogProgress *sampler_take(RunSampler *s)
{
    pthread_mutex_lock(&s->lock);
    bool full = s->full;
    pthread_mutex_unlock(&s->lock);
    if (!full) return NULL;                      /* full: workers leave what is read here alone */
    int64_t window_ns = s->now.at_ns - s->before.at_ns;
    double  ns = (double)window_ns, steps = (double)(s->now.step - s->before.step);
    for (int d = 0; d < s->devices; d++) s->shares[d] = shares_of(s, d, window_ns);
    s->line = (LogProgress){.time_s = (double)(s->now.at_ns - s->start_ns) * 1e-9,
                            .step = s->now.step, .steps = s->now.step - s->before.step,
                            .images_per_s = ns > 0 ? steps * (double)s->batch / (ns * 1e-9) : NAN,
                            .loss = s->loss, .block_step = s->step, .devices = s->shares,
                            .resident_bytes = resident_bytes()};
    return &s->line;
}

void sampler_done(RunSampler *s)
{
    pthread_mutex_lock(&s->lock);
    Stand spare = s->before;
    s->before = s->now;
    s->now = spare;
    s->full = false;
    pthread_mutex_unlock(&s->lock);
}
