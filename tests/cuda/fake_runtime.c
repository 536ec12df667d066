/* CUDA's runtime: see tests/cuda/fake.h. One lock over all. */
#include "tests/cuda/fake.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(memory, bytes) ASAN_POISON_MEMORY_REGION(memory, bytes)
#define UNPOISON(memory, bytes) ASAN_UNPOISON_MEMORY_REGION(memory, bytes)
#else
#define POISON(memory, bytes) ((void)(memory), (void)(bytes))
#define UNPOISON(memory, bytes) ((void)(memory), (void)(bytes))
#endif

enum { GPUS_MAX = 8, ALIGN = 256, GUARD = 256, FILLED = 8 << 20 };  /* FILLED: bytes; more are zero,
                                                                     * and cost nothing */

static pthread_mutex_t lock;
static pthread_once_t  once = PTHREAD_ONCE_INIT;

static void start(void)
{
    pthread_mutexattr_t recursive;

    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &recursive);
}

static void enter(void)
{
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
}

static void leave(void) { pthread_mutex_unlock(&lock); }

/* ---- errors ---- */

static _Thread_local cudaError_t last;

cudaError_t fake_fail(cudaError_t status)
{
    if (status != cudaSuccess) last = status;
    return status;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t status = last;

    last = cudaSuccess;
    return status;
}

cudaError_t cudaPeekAtLastError(void) { return last; }

const char *cudaGetErrorName(cudaError_t status)
{
    return status == cudaSuccess             ? "cudaSuccess"
           : status == cudaErrorInvalidValue ? "cudaErrorInvalidValue"
                                             : "cudaError";
}

const char *cudaGetErrorString(cudaError_t status)
{
    return status == cudaSuccess                     ? "no error"
           : status == cudaErrorInvalidValue         ? "invalid argument"
           : status == cudaErrorInvalidConfiguration ? "invalid configuration argument"
                                                     : "the fake refuses it";
}

/* A mistake of the caller that a GPU would not tell apart: said, too. */
static cudaError_t refuse(const char *why)
{
    fprintf(stderr, "fake CUDA: %s\n", why);
    return fake_fail(cudaErrorInvalidValue);
}

/* ---- GPUs ---- */

static _Thread_local int gpu;

static int64_t number_of(const char *name, int64_t fallback)
{
    const char *text = getenv(name);

    return text ? strtoll(text, NULL, 10) : fallback;
}

static int     gpus(void) { return (int)number_of("PIPEBD_FAKE_GPUS", 2); }
static size_t  gpu_bytes(void) { return (size_t)number_of("PIPEBD_FAKE_BYTES", (int64_t)1 << 30); }

cudaError_t cudaGetDeviceCount(int *out)
{
    *out = gpus();
    return *out > 0 ? cudaSuccess : fake_fail(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int number)
{
    if (number < 0 || number >= gpus()) return fake_fail(cudaErrorInvalidDevice);
    gpu = number;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *out)
{
    *out = gpu;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int number)
{
    if (number < 0 || number >= gpus()) return fake_fail(cudaErrorInvalidDevice);
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "Fake GPU");
    out->totalGlobalMem = gpu_bytes();
    out->multiProcessorCount = 16;
    out->major = 9;
    out->warpSize = 32;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *out, enum cudaDeviceAttr attribute, int number)
{
    if (number < 0 || number >= gpus()) return fake_fail(cudaErrorInvalidDevice);
    *out = attribute == cudaDevAttrMultiProcessorCount      ? 16
           : attribute == cudaDevAttrComputeCapabilityMajor ? 9
                                                            : 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *out, int a, int b)
{
    *out = a != b;
    return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags)
{
    (void)flags;
    return peer == gpu ? fake_fail(cudaErrorInvalidDevice) : cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *out) { *out = CUDART_VERSION; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *out) { *out = CUDART_VERSION; return cudaSuccess; }

/* ---- memory ---- */

typedef struct { size_t at, bytes; } FakeBlock;              /* at: of the arena */

/* Addresses of a GPU, and what of them is given out, in order. */
typedef struct {
    char  *base;
    size_t bytes, used, top, opened;     /* top: end of the highest block there was; opened: of what
                                          * was protected last */
    FakeBlock *block;
    int    count, capacity;
} FakeArena;

static FakeArena arena[GPUS_MAX];
static int   open;                       /* how deep in work that may touch GPUs' memory */

static size_t rounded(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN + GUARD; }

static FakeArena *arena_of(int number)
{
    FakeArena *a = &arena[number];

    if (a->base) return a;
    a->bytes = gpu_bytes();
    a->base =
        mmap(NULL, a->bytes * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->base == MAP_FAILED) { perror("fake CUDA: mmap"); abort(); }
    return a;
}

/* -1: not asked yet. */
static int guarded = -1;

static void protect(int how)
{
    if (guarded < 0) guarded = number_of("PIPEBD_FAKE_GUARD", 0) != 0;
    if (!guarded) how = PROT_READ | PROT_WRITE;
    for (int i = 0; i < GPUS_MAX; i++) {
        size_t bytes = (arena[i].top + 4095) / 4096 * 4096;

        if (bytes == 0 || (!guarded && bytes <= arena[i].opened)) continue;
        if (mprotect(arena[i].base, bytes, how) != 0) { perror("fake CUDA: mprotect"); abort(); }
        arena[i].opened = bytes;
    }
}

static void open_memory(void) { if (open++ == 0) protect(PROT_READ | PROT_WRITE); }
static void close_memory(void) { if (--open == 0) protect(PROT_NONE); }

bool fake_is_device(const void *memory)
{
    for (int i = 0; i < GPUS_MAX; i++)
        if (arena[i].base && (const char *)memory >= arena[i].base
            && (const char *)memory < arena[i].base + 2 * arena[i].bytes)
            return true;
    return false;
}

/* The first gap that is large enough. */
static FakeBlock *take_gap(FakeArena *a, size_t bytes)
{
    size_t at = 0;
    int    i = 0;

    while (i < a->count && a->block[i].at - at < rounded(bytes)) {
        at = a->block[i].at + rounded(a->block[i].bytes);
        i++;
    }
    if (at + rounded(bytes) > 2 * a->bytes || a->used + bytes > a->bytes) return NULL;
    if (a->count == a->capacity) {
        a->capacity = a->capacity ? 2 * a->capacity : 64;
        a->block = realloc(a->block, (size_t)a->capacity * sizeof *a->block);
        if (!a->block) abort();
    }
    memmove(&a->block[i + 1], &a->block[i], (size_t)(a->count - i) * sizeof *a->block);
    a->count++;
    a->block[i] = (FakeBlock){at, bytes};
    return &a->block[i];
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    FakeArena      *a;
    FakeBlock      *block;
    cudaError_t status = cudaErrorMemoryAllocation;

    *out = NULL;
    if (bytes == 0) return cudaSuccess;
    enter();
    a = arena_of(gpu);
    block = take_gap(a, bytes);
    if (block) {
        if (block->at + rounded(bytes) > a->top) a->top = block->at + rounded(bytes);
        *out = a->base + block->at;
        a->used += bytes;
        if (open) protect(PROT_READ | PROT_WRITE);
        open_memory();
        UNPOISON(*out, bytes);
        if (bytes <= FILLED) memset(*out, 0xff, bytes);  /* NaN */
        POISON((char *)*out + bytes, rounded(bytes) - bytes);
        close_memory();
        status = cudaSuccess;
    }
    leave();
    return fake_fail(status);
}

static void run_all(void);

cudaError_t cudaFree(void *memory)
{
    cudaError_t status = cudaErrorInvalidValue;

    if (!memory) return cudaSuccess;
    enter();
    run_all();
    for (int n = 0; n < GPUS_MAX; n++) {
        FakeArena *a = &arena[n];

        for (int i = 0; status != cudaSuccess && i < a->count; i++) {
            if (a->base + a->block[i].at != memory) continue;
            open_memory();
            POISON(memory, a->block[i].bytes);
            close_memory();
            a->used -= a->block[i].bytes;
            memmove(&a->block[i], &a->block[i + 1], (size_t)(a->count - i - 1) * sizeof *a->block);
            a->count--;
            status = cudaSuccess;
        }
    }
    leave();
    return status == cudaSuccess ? status
                                 : refuse("cudaFree() of memory that cudaMalloc() did not give");
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    enter();
    *total = gpu_bytes();
    *available = *total - arena_of(gpu)->used;
    leave();
    return cudaSuccess;
}

/* Memory of the host that copies may use later. */
typedef struct Pinned Pinned;
struct Pinned { Pinned *next; char *memory; size_t bytes; };
static Pinned *pinned;

static bool is_pinned(const void *memory)
{
    for (const Pinned *p = pinned; p; p = p->next)
        if ((const char *)memory >= p->memory && (const char *)memory < p->memory + p->bytes)
            return true;
    return false;
}

bool fake_is_reachable(const void *memory)
{
    bool found;

    enter();
    found = !memory || fake_is_device(memory) || is_pinned(memory);
    leave();
    return found;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags)
{
    Pinned *p = malloc(sizeof *p);

    (void)flags;
    *out = malloc(bytes ? bytes : 1);
    if (!p || !*out) { free(p), free(*out); return fake_fail(cudaErrorMemoryAllocation); }
    memset(*out, 0xff, bytes);
    enter();
    *p = (Pinned){pinned, *out, bytes};
    pinned = p;
    leave();
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes) { return cudaHostAlloc(out, bytes, 0); }

cudaError_t cudaFreeHost(void *memory)
{
    cudaError_t status = cudaErrorInvalidValue;

    if (!memory) return cudaSuccess;
    enter();
    run_all();
    for (Pinned **p = &pinned; *p; p = &(*p)->next) {
        Pinned *gone = *p;

        if (gone->memory != memory) continue;
        *p = gone->next;
        free(gone->memory), free(gone);
        status = cudaSuccess;
        break;
    }
    leave();
    return status == cudaSuccess
               ? status
               : refuse("cudaFreeHost() of memory that cudaHostAlloc() did not give");
}

/* ---- queues ---- */

typedef struct CUevent_st FakeEvent;
typedef struct CUstream_st Stream;

/* A closure is shared by a queue and graphs. */
typedef struct { FakeRun *run, *destroy; void *closure; int references; } FakeWork;

typedef struct FakeStreamOp FakeStreamOp;
struct FakeStreamOp {
    FakeStreamOp      *next;
    FakeWork    *work;           /* or */
    FakeEvent   *record;         /* or */
    Stream  *waits;          /* until count of its ops are done */
    uint64_t count;
};

struct CUstream_st {
    FakeStreamOp            *head, *tail;
    uint64_t       queued, done;
    bool           used;     /* given out; streams are kept for others, as events may know them */
    Stream        *next;
    cudaGraph_t    graph;    /* being recorded */
};

struct CUevent_st {
    Stream     *stream;      /* NULL: not recorded */
    uint64_t    count;
    cudaGraph_t graph;       /* recorded into it */
    int64_t     time_ns;
    bool        timed;       /* and time is known */
    int         references;
};

/* What is queued on any stream while it records, in the order of calls, which is one that respects
 * all waits. */
struct CUgraph_st { FakeWork **work; int count, capacity; Stream *origin; bool invalid; };
struct CUgraphExec_st { FakeWork **work; int count; };

static Stream  standard = {.used = true};
static Stream *streams = &standard;

static Stream *stream_of(cudaStream_t s) { return s ? s : &standard; }

static void work_release(FakeWork *w)
{
    if (--w->references > 0) return;
    if (w->destroy) w->destroy(w->closure);
    free(w);
}

static void event_release(FakeEvent *e)
{
    if (--e->references == 0) free(e);
}

static void run_until(Stream *s, uint64_t count);

static void run_op(FakeStreamOp *op)
{
    struct timespec t;

    if (op->waits) run_until(op->waits, op->count);
    if (op->record) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        op->record->time_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
        op->record->timed = true;
        event_release(op->record);
    }
    if (op->work) {
        op->work->run(op->work->closure);
        work_release(op->work);
    }
}

/* Under the lock. An op that runs is out of the queue, but not yet done. */
static void run_until(Stream *s, uint64_t count)
{
    open_memory();
    while (s->done < count && s->head) {
        FakeStreamOp *op = s->head;

        s->head = op->next;
        if (!s->head) s->tail = NULL;
        run_op(op);
        free(op);
        s->done++;
    }
    close_memory();
}

static void run_all(void)
{
    for (Stream *s = streams; s; s = s->next) run_until(s, s->queued);
}

static cudaError_t add_op(Stream *s, FakeStreamOp with)
{
    FakeStreamOp *op = malloc(sizeof *op);

    if (!op) return cudaErrorMemoryAllocation;
    *op = with;
    if (s->tail) s->tail->next = op;
    else s->head = op;
    s->tail = op;
    s->queued++;
    return cudaSuccess;
}

static cudaError_t graph_add(cudaGraph_t g, FakeWork *w)
{
    static int64_t calls;
    int64_t        each = number_of("PIPEBD_FAKE_UNRECORDABLE", 0);

    if (each && calls++ % each == 0) g->invalid = true;
    if (g->invalid) { work_release(w); return cudaErrorStreamCaptureUnsupported; }
    if (g->count == g->capacity) {
        g->capacity = g->capacity ? 2 * g->capacity : 64;
        g->work = realloc(g->work, (size_t)g->capacity * sizeof *g->work);
        if (!g->work) return cudaErrorMemoryAllocation;
    }
    g->work[g->count++] = w;
    return cudaSuccess;
}

cudaError_t fake_queue(cudaStream_t stream, FakeRun *run, void *closure, FakeRun *destroy)
{
    FakeWork       *w = malloc(sizeof *w);
    Stream     *s = stream_of(stream);
    cudaError_t status;

    if (!w) return fake_fail(cudaErrorMemoryAllocation);
    *w = (FakeWork){run, destroy, closure, 1};
    enter();
    status = !s->used   ? cudaErrorInvalidResourceHandle
             : s->graph ? graph_add(s->graph, w)
                        : add_op(s, (FakeStreamOp){.work = w});
    leave();
    return fake_fail(status);
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    Stream *s;

    (void)flags;
    enter();
    for (s = streams; s && s->used; s = s->next) {}
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s) abort();
        s->next = streams;
        streams = s;
    }
    s->used = true;
    leave();
    *out = s;
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *out) { return cudaStreamCreateWithFlags(out, 0); }

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority)
{
    (void)priority;
    return cudaStreamCreateWithFlags(out, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    if (!s || !s->used) return fake_fail(cudaErrorInvalidResourceHandle);
    enter();
    run_until(s, s->queued);
    s->used = false;
    s->graph = NULL;
    leave();
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    Stream     *s = stream_of(stream);
    cudaError_t status = cudaSuccess;

    enter();
    if (s->graph) status = cudaErrorStreamCaptureUnsupported;
    else run_until(s, s->queued);
    leave();
    return fake_fail(status);
}

cudaError_t cudaDeviceSynchronize(void)
{
    enter();
    run_all();
    leave();
    return cudaSuccess;
}

/* Asking makes one step of progress, so that who asks again and again comes to an end. */
static cudaError_t ask(Stream *s, uint64_t count)
{
    if (s->done < count) run_until(s, s->done + 1);
    return s->done < count ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    cudaError_t status;

    enter();
    status = ask(stream_of(stream), stream_of(stream)->queued);
    leave();
    return status;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned flags)
{
    Stream     *s = stream_of(stream);
    cudaError_t status = cudaSuccess;

    (void)flags;
    enter();
    if (e->graph) s->graph = e->graph;                   /* it records along */
    else if (s->graph)
        status =
            e->stream && e->stream->done < e->count ? cudaErrorStreamCaptureIsolation : cudaSuccess;
    else if (e->stream) status = add_op(s, (FakeStreamOp){.waits = e->stream, .count = e->count});
    leave();
    return fake_fail(status);
}

typedef struct { cudaHostFn_t call; void *data; } HostCall;

static void run_host_call(void *closure)
{
    HostCall *h = closure;

    h->call(h->data);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t call, void *data)
{
    HostCall *h = malloc(sizeof *h);

    if (!h) return fake_fail(cudaErrorMemoryAllocation);
    *h = (HostCall){call, data};
    return fake_queue(stream, run_host_call, h, free);
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = calloc(1, sizeof **out);
    if (!*out) return fake_fail(cudaErrorMemoryAllocation);
    (*out)->references = 1;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    enter();
    event_release(e);
    leave();
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream)
{
    Stream     *s = stream_of(stream);
    cudaError_t status = cudaSuccess;

    enter();
    e->graph = s->graph;
    if (!s->graph) {
        e->timed = false;
        e->references++;
        status = add_op(s, (FakeStreamOp){.record = e});
        e->stream = s;
        e->count = s->queued;
    }
    leave();
    return fake_fail(status);
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    enter();
    if (e->stream) run_until(e->stream, e->count);
    leave();
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    cudaError_t status;

    enter();
    status = e->stream ? ask(e->stream, e->count) : cudaSuccess;
    leave();
    return status;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    cudaError_t status = cudaSuccess;

    enter();
    if (!from->stream || !to->stream) status = cudaErrorInvalidResourceHandle;
    else if (!from->timed || !to->timed) status = cudaErrorNotReady;
    else *ms = (float)((double)(to->time_ns - from->time_ns) * 1e-6);
    leave();
    return fake_fail(status);
}

/* ---- copies ---- */

typedef struct { char *to; const char *from; size_t bytes; int value; void *held; } Copy;

static void run_copy(void *closure)
{
    Copy *c = closure;

    if (c->from) memmove(c->to, c->from, c->bytes);
    else memset(c->to, c->value, c->bytes);
}

static void free_copy(void *closure)
{
    free(((Copy *)closure)->held);
    free(closure);
}

static const char *wrong_sides(const void *to, const void *from, enum cudaMemcpyKind kind)
{
    bool t = fake_is_device(to), f = fake_is_device(from);

    switch (kind) {
    case cudaMemcpyHostToDevice:
        return !t  ? "a copy to the device that goes to the host"
               : f ? "a copy from the host that comes from the device"
                   : NULL;
    case cudaMemcpyDeviceToHost:
        return t    ? "a copy to the host that goes to the device"
               : !f ? "a copy from the device that comes from the host"
                    : NULL;
    case cudaMemcpyDeviceToDevice:
        return !t || !f ? "a copy within devices of the host's memory" : NULL;
    default: return NULL;
    }
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    Copy       *c;
    const char *wrong;
    bool        waits, holds;
    cudaError_t status;

    if (bytes == 0) return cudaSuccess;
    enter();
    wrong = wrong_sides(to, from, kind);
    waits = !fake_is_device(to) && !is_pinned(to);     /* ordinary memory is written before the call
                                                        * returns, */
    holds = !fake_is_device(from) && !is_pinned(from); /* and was read by then */
    leave();
    if (wrong) return refuse(wrong);
    c = calloc(1, sizeof *c);
    if (!c) return fake_fail(cudaErrorMemoryAllocation);
    *c = (Copy){to, from, bytes, 0, NULL};
    if (holds) {
        c->held = malloc(bytes);
        if (!c->held) abort();
        memcpy(c->held, from, bytes);
        c->from = c->held;
    }
    status = fake_queue(stream, run_copy, c, free_copy);
    if (status == cudaSuccess && waits) status = cudaStreamSynchronize(stream);
    return status;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    cudaError_t status = cudaMemcpyAsync(to, from, bytes, kind, NULL);

    return status == cudaSuccess ? cudaStreamSynchronize(NULL) : status;
}

cudaError_t cudaMemcpyPeerAsync(void *to, int to_gpu, const void *from, int from_gpu, size_t bytes,
                                cudaStream_t stream)
{
    (void)to_gpu, (void)from_gpu;
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    Copy *c = malloc(sizeof *c);

    if (!c) return fake_fail(cudaErrorMemoryAllocation);
    if (!fake_is_device(to)) { free(c); return refuse("cudaMemsetAsync() of the host's memory"); }
    *c = (Copy){to, NULL, bytes, value, NULL};
    return fake_queue(stream, run_copy, c, free_copy);
}

cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    return cudaMemsetAsync(to, value, bytes, NULL);
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    if (!s || s->graph) return fake_fail(cudaErrorIllegalState);
    s->graph = calloc(1, sizeof *s->graph);
    if (!s->graph) return fake_fail(cudaErrorMemoryAllocation);
    s->graph->origin = s;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    cudaError_t status = cudaSuccess;

    enter();
    *out = stream->graph;
    if (!*out || (*out)->origin != stream) status = cudaErrorIllegalState;
    for (Stream *s = streams; *out && s; s = s->next)
        if (s->graph == *out) s->graph = NULL;
    leave();
    if (*out && (*out)->invalid) {
        status = cudaErrorStreamCaptureInvalidated;
        cudaGraphDestroy(*out);
        *out = NULL;
    }
    return fake_fail(status);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *out)
{
    *out = stream_of(s)->graph ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t g, unsigned long long flags)
{
    (void)flags;
    *out = calloc(1, sizeof **out);
    if (!*out) return fake_fail(cudaErrorMemoryAllocation);
    (*out)->work = calloc((size_t)g->count + 1, sizeof *(*out)->work);
    if (!(*out)->work) abort();
    enter();
    for (int i = 0; i < g->count; i++) {
        (*out)->work[i] = g->work[i];
        g->work[i]->references++;
    }
    (*out)->count = g->count;
    leave();
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t status = cudaSuccess;

    enter();
    for (int i = 0; i < exec->count && status == cudaSuccess; i++) {
        exec->work[i]->references++;
        status = add_op(stream_of(stream), (FakeStreamOp){.work = exec->work[i]});
    }
    leave();
    return fake_fail(status);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)exec, (void)stream;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    enter();
    for (int i = 0; i < g->count; i++) work_release(g->work[i]);
    leave();
    free(g->work);
    free(g);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    enter();
    for (int i = 0; i < exec->count; i++) work_release(exec->work[i]);
    leave();
    free(exec->work);
    free(exec);
    return cudaSuccess;
}
