#include "tests/async_device.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { QUEUED_MEMBERS = 8 };

typedef struct AsyncDevice AsyncDevice;
typedef struct AsyncStream AsyncStream;

typedef struct {
    struct StreamEvent   base;
    int64_t       set, passed;           /* times it was set, and passed */
    int64_t       time_ns;
    AsyncStream *stream;                /* where it was set last */
} AsyncMark;

typedef enum {
    DO_COPY,
    DO_ADD,
    DO_SGD,
    DO_CHECK,
    DO_LOSS,
    DO_FORWARD,
    DO_BACKWARD,
    DO_CHANGED,
    DO_SUM,
    DO_SUM_DOUBLES,
    DO_SET,
    DO_WAIT
} AsyncKind;

typedef struct {
    AsyncKind    kind;
    Device       *cpu;
    Operator     *op;
    OperatorCall  call;
    float        *to, *state;
    const float  *from, *more;
    double       *flag;
    int64_t       count;
    UpdateStep    update;
    LossCall      loss;
    double       *loss_to, *doubles[QUEUED_MEMBERS];
    float        *values[QUEUED_MEMBERS];
    int           members;
    AsyncMark   *event;
    int64_t       version;
    AsyncStream *stream;
} AsyncJob;

typedef struct { AsyncJob *job; int64_t first, count, room; } AsyncJobs;

struct AsyncStream { AsyncJobs jobs; bool eager; };

typedef struct { ReplayKey key; int64_t seen; AsyncJobs jobs; bool recorded, refused; } AsyncGraph;

struct AsyncDevice {
    Device        base;
    Device       *cpu;
    int           index;
    AsyncStream  streams[STREAM_COUNT];
    StreamNumber  use;
    AsyncGraph  *graphs;
    int           graph_count;
    AsyncGraph  *recording;
    ReplayCounts  counts;
    int           ranges;
};

AsyncWorld async_world;
static _Thread_local AsyncDevice *async_here;

/* ---- doing ---- */

static void async_add_job(AsyncJobs *jobs, const AsyncJob *job)
{
    if (jobs->count == jobs->room) {
        jobs->room = jobs->room ? 2 * jobs->room : 64;
        jobs->job = realloc(jobs->job, (size_t)jobs->room * sizeof *jobs->job);
        if (!jobs->job) abort();
    }
    jobs->job[jobs->count++] = *job;
}

static void async_run_one(AsyncStream *stream);

static void async_run_until(AsyncStream *stream, const AsyncMark *event, int64_t version)
{
    while (event->passed < version && stream->jobs.first < stream->jobs.count)
        async_run_one(stream);
}

static void queued_sum(const AsyncJob *job)
{
    for (int64_t i = 0; i < job->count; i++) {
        float sum = job->values[0][i];
        for (int m = 1; m < job->members; m++) sum += job->values[m][i];
        for (int m = 0; m < job->members; m++) job->values[m][i] = sum;
    }
}

static void queued_sum_doubles(const AsyncJob *job)
{
    for (int64_t i = 0; i < job->count; i++) {
        double sum = job->doubles[0][i];
        for (int m = 1; m < job->members; m++) sum += job->doubles[m][i];
        job->loss_to[i] = sum;
    }
}

static void queued_do(const AsyncJob *job)
{
    Error err = {""};

    switch (job->kind) {
    case DO_COPY:        memmove(job->to, job->from, (size_t)job->count * sizeof *job->to); break;
    case DO_ADD:         backend_cpu.add(job->cpu, job->to, job->from, job->count); break;
    case DO_SGD:
        backend_cpu.sgd(job->cpu, job->to, (float *)(uintptr_t)job->from, job->state,
                        &(ParameterSpan){0, job->count}, 1, &job->update);
        break;
    case DO_CHECK: backend_cpu.check_finite(job->cpu, job->from, job->count, job->flag); break;
    case DO_LOSS:        backend_cpu.loss(job->cpu, &job->loss); break;
    case DO_FORWARD:     if (backend_cpu.forward(job->op, &job->call, &err) != 0) abort();
                         break;
    case DO_BACKWARD:    if (backend_cpu.backward(job->op, &job->call, &err) != 0) abort();
                         break;
    case DO_CHANGED:     backend_cpu.changed(job->op); break;
    case DO_SUM:         queued_sum(job); break;
    case DO_SUM_DOUBLES: queued_sum_doubles(job); break;
    case DO_SET:         job->event->passed = job->version; job->event->time_ns = clock_ns(); break;
    case DO_WAIT:        async_run_until(job->stream, job->event, job->version); break;
    }
}

static void async_look(AsyncStream *stream)
{
    while (stream->eager && stream->jobs.first < stream->jobs.count) async_run_one(stream);
}

static void async_run_one(AsyncStream *stream)
{
    AsyncJob job = stream->jobs.job[stream->jobs.first++];

    if (stream->jobs.first == stream->jobs.count) stream->jobs.first = stream->jobs.count = 0;
    queued_do(&job);
}

static void queued_run_all(AsyncDevice *device)
{
    for (int s = 0; s < STREAM_COUNT; s++)
        while (device->streams[s].jobs.first < device->streams[s].jobs.count)
            async_run_one(&device->streams[s]);
}

/* ---- queueing ---- */

static AsyncDevice *queued(Device *device) { return (AsyncDevice *)device; }

static void async_put_job(AsyncDevice *device, AsyncJob job)
{
    job.cpu = device->cpu;
    pthread_mutex_lock(&async_world.lock);
    async_add_job(device->recording ? &device->recording->jobs : &device->streams[device->use].jobs,
                  &job);
    async_look(&device->streams[device->use]);
    pthread_mutex_unlock(&async_world.lock);
}

static void async_catch_up(AsyncDevice *device)
{
    pthread_mutex_lock(&async_world.lock);
    queued_run_all(device);
    pthread_mutex_unlock(&async_world.lock);
}

static int queued_spec(DeviceSpec *spec, Error *err) { return backend_cpu.spec(spec, err); }

static const Backend backend_queued;

static int async_open_device(Device **out, const DeviceSpec *spec, int index, Error *err)
{
    AsyncDevice *device = calloc(1, sizeof *device);

    *out = NULL;
    if (!device) return error_no_memory(err);
    device->base.backend = &backend_queued;
    device->index = index;
    if (backend_cpu.open(&device->cpu, spec, index, err) != 0) { free(device); return -1; }
    async_here = device;
    for (int s = 0; s < STREAM_COUNT; s++)
        device->streams[s].eager = async_world.eager[index % 2] >> s & 1;
    *out = &device->base;
    return 0;
}

static void async_close_device(Device *base)
{
    AsyncDevice *device = queued(base);

    async_catch_up(device);
    if (device->ranges != 0) abort();
    backend_cpu.close(device->cpu);
    for (int s = 0; s < STREAM_COUNT; s++) free(device->streams[s].jobs.job);
    for (int g = 0; g < device->graph_count; g++) free(device->graphs[g].jobs.job);
    free(device->graphs);
    pthread_mutex_lock(&async_world.lock);
    async_world.replayed += device->counts.replayed;
    pthread_mutex_unlock(&async_world.lock);
    free(device);
}

static int queued_no_memory(Device *device, size_t count, const char *what, Error *err)
{
    (void)device;
    return error_set(err, "no memory for %s: %zu of 7 floats", what, count);
}

static float *queued_alloc(Device *device, size_t count)
{
    pthread_mutex_lock(&async_world.lock);
    bool fails = ++async_world.allocations == async_world.fail;
    pthread_mutex_unlock(&async_world.lock);
    return fails ? NULL : backend_cpu.alloc(queued(device)->cpu, count);
}

static void queued_release(Device *device, float *memory)
{
    async_catch_up(queued(device));
    backend_cpu.release(queued(device)->cpu, memory);
}

static int queued_reserve(Device *device, int64_t count, Error *err)
{
    async_catch_up(queued(device));
    return backend_cpu.reserve(queued(device)->cpu, count, err);
}

static float  *async_work(Device *device) { return backend_cpu.work(queued(device)->cpu); }
static int64_t queued_reserved(const Device *device)
{
    return backend_cpu.reserved(((const AsyncDevice *)device)->cpu);
}

static void queued_fetch(Device *device, float *host, const float *memory, int64_t count)
{
    async_catch_up(queued(device));
    memcpy(host, memory, (size_t)count * sizeof *host);
}

static void queued_put(Device *device, float *memory, const float *host, int64_t count)
{
    async_catch_up(queued(device));
    memcpy(memory, host, (size_t)count * sizeof *host);
}

static void async_copy(Device *device, float *to, const float *from, int64_t count)
{
    async_put_job(queued(device),
                  (AsyncJob){.kind = DO_COPY, .to = to, .from = from, .count = count});
}

static void queued_add(Device *device, float *to, const float *from, int64_t count)
{
    async_put_job(queued(device),
                  (AsyncJob){.kind = DO_ADD, .to = to, .from = from, .count = count});
}

static void queued_sgd(Device *device, float *weight, float *gradient, float *state,
                       const ParameterSpan *spans, int count, const UpdateStep *step)
{
    for (int i = 0; i < count; i++)
        async_put_job(queued(device), (AsyncJob){.kind = DO_SGD, .to = weight + spans[i].first,
                                                 .from = gradient + spans[i].first,
                                                 .state = state + spans[i].first,
                                                 .count = spans[i].count, .update = *step});
}

static void queued_check_finite(Device *device, const float *values, int64_t count, double *flag)
{
    async_put_job(queued(device),
                  (AsyncJob){.kind = DO_CHECK, .from = values, .count = count, .flag = flag});
}

static void queued_loss(Device *device, const LossCall *call)
{
    async_put_job(queued(device), (AsyncJob){.kind = DO_LOSS, .loss = *call});
}

static int64_t queued_kept(const OperatorSpec *spec) { return backend_cpu.kept(spec); }

static int queued_make(Operator **out, Device *device, const OperatorSpec *spec,
                       const OperatorParameters *p, Error *err)
{
    return backend_cpu.make(out, queued(device)->cpu, spec, p, err);
}

static void async_free(Operator *op) { async_catch_up(async_here); backend_cpu.free(op); }
static int  queued_prepare(Operator *op, int64_t rows, Error *err)
{
    return backend_cpu.prepare(op, rows, err);
}
static OperatorBytes async_bytes_of(const Operator *op, int64_t rows)
{
    return backend_cpu.bytes(op, rows);
}
static void queued_changed(Operator *op)
{
    async_put_job(async_here, (AsyncJob){.kind = DO_CHANGED, .op = op});
}

/* Whether the operator is one that cannot be recorded. */
static int async_unrecordable(Error *err)
{
    if (!async_here->recording || !async_world.cannot
        || ++async_world.recorded % async_world.cannot != 0)
        return 0;
    return error_set(err, "not while a graph is recorded");
}

static int queued_forward(Operator *op, const OperatorCall *call, Error *err)
{
    if (async_unrecordable(err) != 0) return -1;
    async_put_job(async_here, (AsyncJob){.kind = DO_FORWARD, .op = op, .call = *call});
    return 0;
}

static int queued_backward(Operator *op, const OperatorCall *call, Error *err)
{
    if (async_unrecordable(err) != 0) return -1;
    async_put_job(async_here, (AsyncJob){.kind = DO_BACKWARD, .op = op, .call = *call});
    return 0;
}

/* ---- streams ---- */

static void queued_use(Device *device, StreamNumber stream) { queued(device)->use = stream; }

static void *queued_native(Device *device) { return &queued(device)->streams[queued(device)->use]; }

static int queued_finish(Device *device, Error *err)
{
    (void)err;
    async_catch_up(queued(device));
    return 0;
}

static int queued_mark_new(StreamEvent **out, Device *device, Error *err)
{
    AsyncMark *event = calloc(1, sizeof *event);

    (void)device;
    *out = NULL;
    if (!event) return error_no_memory(err);
    event->base.backend = &backend_queued;
    pthread_mutex_lock(&async_world.lock);
    async_world.events++;
    pthread_mutex_unlock(&async_world.lock);
    *out = &event->base;
    return 0;
}

static void queued_mark_free(StreamEvent *event)
{
    pthread_mutex_lock(&async_world.lock);
    async_world.events--;
    pthread_mutex_unlock(&async_world.lock);
    free(event);
}

static int queued_mark_set(Device *base, StreamEvent *event, Error *err)
{
    AsyncDevice *device = queued(base);
    AsyncMark   *m = (AsyncMark *)event;

    (void)err;
    pthread_mutex_lock(&async_world.lock);
    m->stream = &device->streams[device->use];
    async_add_job(&m->stream->jobs, &(AsyncJob){.kind = DO_SET, .event = m, .version = ++m->set});
    async_look(m->stream);
    pthread_mutex_unlock(&async_world.lock);
    return 0;
}

static int queued_mark_wait(Device *base, const StreamEvent *event, Error *err)
{
    AsyncDevice *device = queued(base);
    AsyncMark   *m = (AsyncMark *)(uintptr_t)event;

    (void)err;
    pthread_mutex_lock(&async_world.lock);
    if (m->set > 0 && ++async_world.waits != async_world.forget)
        async_add_job(
            &device->streams[device->use].jobs,
            &(AsyncJob){.kind = DO_WAIT, .event = m, .version = m->set, .stream = m->stream});
    async_look(&device->streams[device->use]);
    pthread_mutex_unlock(&async_world.lock);
    return 0;
}

static int queued_mark_finish(const StreamEvent *event, Error *err)
{
    const AsyncMark *m = (const AsyncMark *)event;

    (void)err;
    pthread_mutex_lock(&async_world.lock);
    if (m->set > 0) async_run_until(m->stream, m, m->set);
    pthread_mutex_unlock(&async_world.lock);
    return 0;
}

static int64_t queued_mark_since_ns(const StreamEvent *from, const StreamEvent *event)
{
    return ((const AsyncMark *)event)->time_ns - ((const AsyncMark *)from)->time_ns;
}

static void *queued_host_alloc(const DeviceSpec *spec, size_t bytes)
{
    (void)spec;
    return calloc(1, bytes);
}
static void  queued_host_release(const DeviceSpec *spec, void *memory) { (void)spec; free(memory); }

static int queued_load(Device *device, float *to, const float *host, int64_t count, Error *err)
{
    (void)err;
    async_copy(device, to, host, count);
    return 0;
}

static int queued_store(Device *device, float *host, const float *from, int64_t count, Error *err)
{
    return queued_load(device, host, from, count, err);
}

static int queued_move(Device *device, float *to, const Device *to_device, const float *from,
                       const Device *from_device, int64_t count, Error *err)
{
    (void)to_device, (void)from_device, (void)err;
    async_copy(device, to, from, count);
    return 0;
}

static bool queued_reaches(Device *device, const DeviceSpec *spec, int index)
{
    (void)spec;
    return !async_world.far || queued(device)->index == index;
}

static int queued_sum_of(Device *device, float *const *values, int members, int64_t count,
                         Error *err)
{
    AsyncJob job = {.kind = DO_SUM, .members = members, .count = count};

    (void)err;
    for (int m = 0; m < members; m++) job.values[m] = values[m];
    async_put_job(queued(device), job);
    return 0;
}

static int queued_sum_doubles_of(Device *device, double *to, double *const *values, int members,
                                 int count, Error *err)
{
    AsyncJob job = {.kind = DO_SUM_DOUBLES, .members = members, .count = count, .loss_to = to};

    (void)err;
    for (int m = 0; m < members; m++) job.doubles[m] = values[m];
    async_put_job(queued(device), job);
    return 0;
}

/* ---- replay: recorded when it comes the second time ---- */

static bool queued_same_key(const ReplayKey *a, const ReplayKey *b)
{
    return a->owner == b->owner && a->part == b->part && a->rows == b->rows && a->path == b->path
           && a->x == b->x && a->y == b->y && a->more == b->more;
}

static AsyncGraph *queued_graph(AsyncDevice *device, const ReplayKey *key)
{
    for (int g = 0; g < device->graph_count; g++)
        if (queued_same_key(&device->graphs[g].key, key)) return &device->graphs[g];
    device->graphs =
        realloc(device->graphs, (size_t)(device->graph_count + 1) * sizeof *device->graphs);
    if (!device->graphs) abort();
    device->graphs[device->graph_count] = (AsyncGraph){.key = *key};
    return &device->graphs[device->graph_count++];
}

static void async_launch(AsyncDevice *device, const AsyncGraph *graph)
{
    pthread_mutex_lock(&async_world.lock);
    for (int64_t i = 0; i < graph->jobs.count; i++)
        async_add_job(&device->streams[device->use].jobs, &graph->jobs.job[i]);
    async_look(&device->streams[device->use]);
    pthread_mutex_unlock(&async_world.lock);
}

static int queued_replay_begin(Device *base, const ReplayKey *key, Error *err)
{
    AsyncDevice *device = queued(base);
    AsyncGraph  *graph;

    (void)err;
    if (!key->owner) return 0;
    graph = queued_graph(device, key);
    if (graph->recorded) {
        async_launch(device, graph);
        device->counts.replayed++;
        return 1;
    }
    if (graph->seen++ > 0 && !graph->refused) device->recording = graph;
    return 0;
}

static int queued_replay_end(Device *base, bool failed, Error *err)
{
    AsyncDevice *device = queued(base);
    AsyncGraph  *graph = device->recording;

    (void)err;
    if (!graph) return 0;
    device->recording = NULL;
    if (failed) {
        graph->jobs.count = 0;
        graph->refused = true;
        async_world.refusals++;
        return 1;
    }
    graph->recorded = true;
    device->counts.recorded++;
    async_launch(device, graph);
    return 0;
}

static void queued_replay_forget(Device *base, const void *owner)
{
    AsyncDevice *device = queued(base);
    int           kept = 0;

    for (int g = 0; g < device->graph_count; g++) {
        if (!owner || device->graphs[g].key.owner == owner) free(device->graphs[g].jobs.job);
        else device->graphs[kept++] = device->graphs[g];
    }
    device->graph_count = kept;
}

static ReplayCounts queued_replay_counts(const Device *device)
{
    const AsyncDevice *d = (const AsyncDevice *)device;
    ReplayCounts counts = d->counts;

    counts.kept = d->graph_count;
    return counts;
}

static void queued_range_begin(Device *device, const char *name)
{
    if (!name[0]) abort();
    queued(device)->ranges++;
    pthread_mutex_lock(&async_world.lock);
    async_world.names++;
    pthread_mutex_unlock(&async_world.lock);
}

static void queued_range_end(Device *device) { queued(device)->ranges--; }

static const StreamOps queued_streams = {
    .use = queued_use,
    .finish = queued_finish,
    .native = queued_native,
    .event_new = queued_mark_new,
    .event_free = queued_mark_free,
    .event_record = queued_mark_set,
    .stream_wait_event = queued_mark_wait,
    .event_synchronize = queued_mark_finish,
    .event_elapsed_ns = queued_mark_since_ns,
    .host_alloc = queued_host_alloc,
    .host_release = queued_host_release,
    .load = queued_load,
    .store = queued_store,
    .move = queued_move,
    .reaches = queued_reaches,
    .sum = queued_sum_of,
    .sum_doubles = queued_sum_doubles_of,
    .replay_begin = queued_replay_begin,
    .replay_end = queued_replay_end,
    .replay_forget = queued_replay_forget,
    .replay_counts = queued_replay_counts,
    .range_begin = queued_range_begin,
    .range_end = queued_range_end,
};

static int queued_choices(Device *device, Text *out, Error *err)
{
    (void)device, (void)err;
    text_append(out, "conv: the first\nlinear: the second\n");
    return 0;
}

static const Backend backend_queued = {
    .name = "queued",
    .async = true,
    .streams = &queued_streams,
    .spec = queued_spec,
    .open = async_open_device,
    .close = async_close_device,
    .alloc = queued_alloc,
    .release = queued_release,
    .reserve = queued_reserve,
    .work = async_work,
    .reserved = queued_reserved,
    .fetch = queued_fetch,
    .put = queued_put,
    .copy = async_copy,
    .add = queued_add,
    .sgd = queued_sgd,
    .check_finite = queued_check_finite,
    .loss = queued_loss,
    .losses = 1u << LOSS_MSE | 1u << LOSS_SOFT_CROSS_ENTROPY,
    .kept = queued_kept,
    .make = queued_make,
    .free = async_free,
    .prepare = queued_prepare,
    .changed = queued_changed,
    .forward = queued_forward,
    .backward = queued_backward,
    .bytes = async_bytes_of,
    .choices = queued_choices,
    .no_memory = queued_no_memory,
};

int async_devices(DeviceSpec *out, const char *cpu, Error *err)
{
    if (device_spec_parse(out, cpu, err) != 0) return -1;
    out->backend = &backend_queued;
    async_world = (AsyncWorld){.lock = PTHREAD_MUTEX_INITIALIZER};
    return 0;
}
