/*     queue (devices, in the order they asked)      device 1, prefetch 2: a ring of 3 slots
 *     | 0 | 1 | 0 | 2 | ...  <- lanes               | taken | ready | under way |
 *
 * Invariants, under the lock: of a device taken <= started <= requested <= steps,
 * requested - taken <= prefetch; it stands requested - started times in the queue; step n is
 * in slot n % (prefetch + 1), so that what was taken last is not written before the next call.
 * A slot between started and made is its lane's alone. */
#include "executor/data/loader.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

typedef struct {
    float  *x;               /* [rows][elements] */
    int    *labels;          /* [rows] */
    bool    ready;
    int     rc;              /* of the load; err says why */
    Error   err;
    int64_t start_ns, end_ns;
} BatchSlot;

typedef struct {
    int64_t row, rows, first, steps;
    int64_t taken, started, requested;       /* steps, counted from first */
    int     in_flight;       /* slots that lanes work on */
    int64_t room;            /* rows that the slots can hold */
    BatchSlot   *slot;            /* [prefetch + 1] */
    pthread_cond_t changed;
} LoaderQueue;

struct Loader {
    Data           *data;
    RowSource       source;
    LoaderOptions   options;         /* cores not kept */
    LoaderQueue         *device;          /* [devices] */
    int            *queue;           /* ring [devices * prefetch] of device numbers */
    int             queue_at, queue_count;
    pthread_mutex_t lock;
    pthread_cond_t  asked;           /* the queue has more, or stopped */
    pthread_t      *lane;            /* [lane_count] */
    int             lane_count;
    bool            stopped;
};

/* ---- loading ---------------------------------------------------------------- */

static int64_t elements_of_data(const void *context, int device)
{
    (void)device;
    return data_elements(((const Loader *)context)->data);
}

static int load_from_data(void *context, int device, const RowWanted *row, float *out, int *label,
                          Error *err)
{
    Loader *loader = context;

    (void)device;
    return data_load(loader->data, row->sample, loader->options.seed, row->epoch, out, label, err);
}

/* Rows of a step into a slot. No lock is held. */
static void make(Loader *loader, const LoaderQueue *device, int64_t n, BatchSlot *slot)
{
    const LoaderOptions *o = &loader->options;
    int64_t step = device->first + n, epoch = step / o->steps_per_epoch;
    int64_t position = step % o->steps_per_epoch * o->batch + device->row;
    int     d = (int)(device - loader->device);
    int64_t elements = loader->source.elements(loader->source.context, d),
        samples = loader->source.samples;

    slot->start_ns = clock_ns();
    slot->rc = 0;
    for (int64_t r = 0; r < device->rows && slot->rc == 0; r++) {
        RowWanted row = {data_order(samples, o->seed, epoch, position + r), epoch, step, r};
        slot->rc = loader->source.load(loader->source.context, d, &row, slot->x + r * elements,
                                       &slot->labels[r], &slot->err);
    }
    slot->end_ns = clock_ns();
}

static BatchSlot *slot_of(const Loader *loader, LoaderQueue *device, int64_t n)
{
    return &device->slot[n % (loader->options.prefetch + 1)];
}

/* Asks for the device's next step, if there is one. Under the lock. */
static void request(Loader *loader, int d)
{
    LoaderQueue *device = &loader->device[d];
    int     capacity = loader->options.devices * loader->options.prefetch;

    if (device->requested == device->steps) return;
    slot_of(loader, device, device->requested++)->ready = false;
    loader->queue[(loader->queue_at + loader->queue_count++) % capacity] = d;
    pthread_cond_signal(&loader->asked);
}

/* A lane: serves the queue until the loader stops. */
static void *lane_run(void *argument)
{
    Loader *loader = argument;
    int     capacity = loader->options.devices * loader->options.prefetch;

    pthread_mutex_lock(&loader->lock);
    for (;;) {
        while (loader->queue_count == 0 && !loader->stopped)
            pthread_cond_wait(&loader->asked, &loader->lock);
        if (loader->stopped) break;
        LoaderQueue *device = &loader->device[loader->queue[loader->queue_at]];
        loader->queue_at = (loader->queue_at + 1) % capacity;
        loader->queue_count--;
        int64_t n = device->started++;
        BatchSlot   *slot = slot_of(loader, device, n);
        device->in_flight++;
        pthread_mutex_unlock(&loader->lock);
        make(loader, device, n, slot);
        pthread_mutex_lock(&loader->lock);
        slot->ready = true;
        device->in_flight--;
        pthread_cond_broadcast(&device->changed);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* ---- making and freeing ------------------------------------------------------ */

/* Threads that may run on the cores given. */
static int start_lanes(Loader *loader, const LoaderOptions *options, Error *err)
{
    pthread_attr_t attributes;
    cpu_set_t      cores;
    int            rc = pthread_attr_init(&attributes);

    if (rc != 0) return error_set(err, "cannot start the loader's threads: %s", strerror(rc));
    CPU_ZERO(&cores);
    for (int i = 0; i < options->core_count; i++) CPU_SET((size_t)options->cores[i], &cores);
    if (options->cores && options->core_count > 0)
        rc = pthread_attr_setaffinity_np(&attributes, sizeof cores, &cores);
    for (int i = 0; i < options->lanes && rc == 0; i++) {
        rc = pthread_create(&loader->lane[i], &attributes, lane_run, loader);
        if (rc == 0) loader->lane_count++;
    }
    pthread_attr_destroy(&attributes);
    if (rc != 0) return error_set(err, "cannot start the loader's threads: %s", strerror(rc));
    return 0;
}

static int check_options(const LoaderOptions *options, Error *err)
{
    if (options->devices < 1 || options->batch < 1 || options->steps_per_epoch < 1)
        return error_set(err, "the loader needs devices, a batch and steps");
    if (options->prefetch < 0 || (options->prefetch > 0 && options->lanes < 1))
        return error_set(err, "the loader needs a lane to load ahead");
    for (int i = 0; options->cores && i < options->core_count; i++)
        if (options->cores[i] < 0 || options->cores[i] >= CPU_SETSIZE)
            return error_set(err, "the loader cannot run on core %d", options->cores[i]);
    return 0;
}

int loader_new(Loader **out, Data *data, const LoaderOptions *options, Error *err)
{
    size_t  devices = (size_t)options->devices, prefetch = (size_t)options->prefetch;
    Loader *loader;

    *out = NULL;
    if (check_options(options, err) != 0) return -1;
    loader = calloc(1, sizeof *loader);
    if (!loader) return error_no_memory(err);
    loader->data = data;
    loader->options = *options;
    loader->options.cores = NULL;
    loader->options.source = NULL;
    if (options->source) loader->source = *options->source;
    else loader->source = (RowSource){elements_of_data, load_from_data, loader, data_count(data)};
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->asked, NULL);
    loader->queue = calloc(devices * prefetch + 1, sizeof *loader->queue);
    loader->lane = calloc((size_t)options->lanes + 1, sizeof *loader->lane);
    loader->device = calloc(devices, sizeof *loader->device);
    for (size_t d = 0; loader->device && d < devices; d++)
        pthread_cond_init(&loader->device[d].changed, NULL);
    if (!loader->queue || !loader->lane || !loader->device) { error_no_memory(err); goto fail; }
    for (size_t d = 0; d < devices; d++) {
        loader->device[d].slot = calloc(prefetch + 1, sizeof(BatchSlot));
        if (!loader->device[d].slot) { error_no_memory(err); goto fail; }
    }
    if (options->prefetch > 0 && start_lanes(loader, options, err) != 0) goto fail;
    *out = loader;
    return 0;
fail:
    loader_free(loader);
    return -1;
}

static float *alloc_rows(const LoaderOptions *options, size_t count)
{
    if (count > SIZE_MAX / sizeof(float)) return NULL;
    return options->alloc ? options->alloc(options->context, count * sizeof(float))
                          : calloc(count, sizeof(float));
}

static void release_rows(const LoaderOptions *options, float *rows)
{
    if (rows && options->alloc) options->release(options->context, rows);
    else free(rows);
}

static void free_slots(const Loader *loader, LoaderQueue *device)
{
    for (int i = 0; device->slot && i <= loader->options.prefetch; i++) {
        release_rows(&loader->options, device->slot[i].x);
        free(device->slot[i].labels);
        device->slot[i].x = NULL;
        device->slot[i].labels = NULL;
    }
    device->room = 0;
}

void loader_free(Loader *loader)
{
    if (!loader) return;
    loader_stop(loader);
    for (int i = 0; i < loader->lane_count; i++) pthread_join(loader->lane[i], NULL);
    for (int d = 0; loader->device && d < loader->options.devices; d++) {
        free_slots(loader, &loader->device[d]);
        free(loader->device[d].slot);
        pthread_cond_destroy(&loader->device[d].changed);
    }
    pthread_cond_destroy(&loader->asked);
    pthread_mutex_destroy(&loader->lock);
    free(loader->device);
    free(loader->lane);
    free(loader->queue);
    free(loader);
}

void loader_stop(Loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->stopped = true;
    pthread_cond_broadcast(&loader->asked);
    for (int d = 0; loader->device && d < loader->options.devices; d++)
        pthread_cond_broadcast(&loader->device[d].changed);
    pthread_mutex_unlock(&loader->lock);
}

/* ---- a device's side ---------------------------------------------------------- */

static int stopped(Error *err)
{
    return error_set(err, "the loader was stopped");
}

/* Takes the device's requests out of the queue and waits for what is under way. Under the
 * lock. */
static void drop_requests(Loader *loader, int d)
{
    LoaderQueue *device = &loader->device[d];
    int     capacity = loader->options.devices * loader->options.prefetch, kept = 0;

    for (int i = 0; i < loader->queue_count; i++) {
        int other = loader->queue[(loader->queue_at + i) % capacity];
        if (other != d) loader->queue[(loader->queue_at + kept++) % capacity] = other;
    }
    loader->queue_count = kept;
    device->requested = device->started;
    while (device->in_flight > 0) pthread_cond_wait(&device->changed, &loader->lock);
}

static int make_room(const Loader *loader, LoaderQueue *device, int64_t rows, Error *err)
{
    size_t elements =
        (size_t)loader->source.elements(loader->source.context, (int)(device - loader->device));

    if (rows <= device->room) return 0;
    free_slots(loader, device);
    for (int i = 0; i <= loader->options.prefetch; i++) {
        device->slot[i].x = alloc_rows(&loader->options, (size_t)rows * elements);
        device->slot[i].labels = calloc((size_t)rows, sizeof(int));
        if (!device->slot[i].x || !device->slot[i].labels) {
            free_slots(loader, device);
            return error_no_memory(err);
        }
    }
    device->room = rows;
    return 0;
}

int loader_begin(Loader *loader, int d, int64_t row, int64_t rows, int64_t first, int64_t steps,
                 Error *err)
{
    LoaderQueue *device = &loader->device[d];
    int     rc = -1;

    if (row < 0 || rows < 1 || rows > loader->options.batch - row || first < 0 || steps < 0)
        return error_set(err, "rows %" PRId64 "..%" PRId64 " are not of a batch of %" PRId64, row,
                         row + rows - 1, loader->options.batch);
    pthread_mutex_lock(&loader->lock);
    drop_requests(loader, d);
    device->row = row;
    device->rows = rows;
    device->first = first;
    device->steps = device->taken = device->started = device->requested = 0;
    if (loader->stopped) { stopped(err); goto done; }
    if (make_room(loader, device, rows, err) != 0) goto done;
    device->steps = steps;
    for (int i = 0; i < loader->options.prefetch; i++) request(loader, d);
    rc = 0;
done:
    pthread_mutex_unlock(&loader->lock);
    return rc;
}

int64_t loader_bytes(const Loader *loader, int d)
{
    int64_t row = loader->source.elements(loader->source.context, d) * (int64_t)sizeof(float)
                  + (int64_t)sizeof(int);

    return (loader->options.prefetch + 1) * loader->device[d].room * row;
}

/* Waits until the lanes have made step n, and asks for the one that follows those asked for.
 * NULL: stopped. */
static BatchSlot *take_prefetched(Loader *loader, int d, int64_t n)
{
    LoaderQueue *device = &loader->device[d];
    BatchSlot   *slot = slot_of(loader, device, n);

    pthread_mutex_lock(&loader->lock);
    while (!slot->ready && !loader->stopped) pthread_cond_wait(&device->changed, &loader->lock);
    if (loader->stopped) slot = NULL;
    else {
        device->taken++;
        request(loader, d);
    }
    pthread_mutex_unlock(&loader->lock);
    return slot;
}

static BatchSlot *take_now(Loader *loader, int d, int64_t n)
{
    LoaderQueue *device = &loader->device[d];
    BatchSlot   *slot = slot_of(loader, device, n);

    pthread_mutex_lock(&loader->lock);
    bool stop = loader->stopped;
    pthread_mutex_unlock(&loader->lock);
    if (stop) return NULL;
    make(loader, device, n, slot);
    device->taken++;
    return slot;
}

int loader_take(Loader *loader, int d, const float **x, const int **labels, int64_t *start_ns,
                int64_t *end_ns, Error *err)
{
    LoaderQueue *device = &loader->device[d];
    int64_t n = device->taken;

    if (n == device->steps) return error_set(err, "device %d took all its batches already", d);
    BatchSlot *slot =
        loader->options.prefetch > 0 ? take_prefetched(loader, d, n) : take_now(loader, d, n);
    if (!slot) return stopped(err);
    *x = slot->x;
    *labels = slot->labels;
    *start_ns = slot->start_ns;
    *end_ns = slot->end_ns;
    if (slot->rc != 0) return error_set(err, "%s", slot->err.text);
    return 0;
}
