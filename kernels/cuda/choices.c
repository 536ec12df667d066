/* What was measured, kept for the process.
 *
 * A table of the process and not of a device: a library's algorithms differ in the last bits, and
 * devices that chose for themselves, on timings that are never quite the same, would train other
 * students than their neighbours. It only grows; a lock is held while one device measures. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

typedef struct ChoiceEntry ChoiceEntry;

struct ChoiceEntry {
    Choice choice;
    ChoiceEntry *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ChoiceEntry          *first;

void choices_lock(void) { pthread_mutex_lock(&lock); }

void choices_unlock(void) { pthread_mutex_unlock(&lock); }

bool choice_find(Choice *out, const char *key)
{
    for (const ChoiceEntry *e = first; e; e = e->next)
        if (strcmp(e->choice.key, key) == 0) {
            *out = e->choice;
            return true;
        }
    return false;
}

int choice_enter(const Choice *choice, Error *err)
{
    ChoiceEntry *entry = malloc(sizeof *entry), **last = &first;

    if (!entry) return error_no_memory(err);
    *entry = (ChoiceEntry){*choice, NULL};
    while (*last) last = &(*last)->next;
    *last = entry;
    return 0;
}

int choice_add(const Choice *choice, Error *err)
{
    if (choice_enter(choice, err) != 0) return -1;
    choices_file_add(choice);
    return 0;
}

int cuda_choices(Device *device, Text *out, Error *err)
{
    (void)device;
    choices_lock();
    for (const ChoiceEntry *e = first; e; e = e->next) {
        text_printf(out, "%s: %s, %zu bytes of workspace", e->choice.key, e->choice.text,
                    e->choice.workspace);
        if (e->choice.us > 0.0) text_printf(out, ", %.1f us", e->choice.us);
        text_append(out, "\n");
    }
    choices_unlock();
    return text_failed(out) ? error_no_memory(err) : 0;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* One run to warm up, then RUNS between events of the stream. */
double choice_measure(CudaDevice *device, MeasuredRun *run, void *context)
{
    enum { RUNS = 5 };
    cudaEvent_t event[RUNS + 1] = {0};
    float       ms[RUNS];
    double      us = -1.0;

    for (int i = 0; i <= RUNS; i++)
        if (cudaEventCreate(&event[i]) != cudaSuccess) goto done;
    if (run(context) != 0
        || cudaEventRecord(event[0], device->streams[STREAM_COMPUTE]) != cudaSuccess)
        goto done;
    for (int i = 0; i < RUNS; i++)
        if (run(context) != 0
            || cudaEventRecord(event[i + 1], device->streams[STREAM_COMPUTE]) != cudaSuccess)
            goto done;
    if (cudaStreamSynchronize(device->streams[STREAM_COMPUTE]) != cudaSuccess) goto done;
    for (int i = 0; i < RUNS; i++)
        if (cudaEventElapsedTime(&ms[i], event[i], event[i + 1]) != cudaSuccess) goto done;
    qsort(ms, RUNS, sizeof *ms, compare);
    us = 1e3 * (double)ms[RUNS / 2];
done:
    for (int i = 0; i <= RUNS; i++)
        if (event[i]) cudaEventDestroy(event[i]);
    return us;
}

void *choice_memory(CudaDevice *device, size_t bytes, bool filled)
{
    void *memory = NULL;

    if (cudaMalloc(&memory, bytes) != cudaSuccess) { cudaGetLastError(); return NULL; }
    /* 0.0115, as bfloat16 too */
    if (filled) cudaMemsetAsync(memory, 0x3c, bytes, device->streams[STREAM_COMPUTE]);
    return memory;
}
