/* What was measured, kept for the process.
 *
 * A table of the process and not of a device: a library's algorithms differ in the last bits, and
 * devices that chose for themselves, on timings that are never quite the same, would train other
 * students than their neighbours. It only grows; a lock is held while one device measures.
 *
 * PIPEBD_ALGORITHMS names a file that is read before the first choice, and that choices are added to: processes
 * that share it compute the same bits. A line each, of fields between tabs: versions of the libraries (lines of
 * others are passed over), key, text, bytes of workspace, microseconds, the algorithm in hexadecimal. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

typedef struct Entry Entry;

struct Entry {
    Choice choice;
    Entry *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Entry          *first;

static bool            loaded;

static void load(void);

void choices_lock(void)
{
    pthread_mutex_lock(&lock);
    if (!loaded) load();
    loaded = true;
}

void choices_unlock(void) { pthread_mutex_unlock(&lock); }

bool choice_find(Choice *out, const char *key)
{
    for (const Entry *e = first; e; e = e->next)
        if (strcmp(e->choice.key, key) == 0) {
            *out = e->choice;
            return true;
        }
    return false;
}

static int keep(const Choice *choice, Error *err)
{
    Entry *entry = malloc(sizeof *entry), **last = &first;

    if (!entry) return error_no_memory(err);
    *entry = (Entry){*choice, NULL};
    while (*last) last = &(*last)->next;
    *last = entry;
    return 0;
}

/* ---- the file ---- */

static void versions(char *out, size_t size)
{
    snprintf(out, size, "cuDNN %zu cuBLAS %zu", cudnnGetVersion(), cublasLtGetVersion());
}

/* The choice of a line, which is cut up; false: not one of these libraries. */
static bool parse(Choice *out, char *line)
{
    char  mine[64], *field[6], *rest = line;
    int   count = 0;

    versions(mine, sizeof mine);
    line[strcspn(line, "\n")] = '\0';
    while (count < 6 && rest) field[count++] = strsep(&rest, "\t");
    if (count != 6 || strcmp(field[0], mine) != 0 || strlen(field[5]) != 2 * sizeof out->algorithm) return false;
    *out = (Choice){.workspace = strtoull(field[3], NULL, 10), .us = strtod(field[4], NULL)};
    snprintf(out->key, sizeof out->key, "%s", field[1]);
    snprintf(out->text, sizeof out->text, "%s", field[2]);
    for (size_t i = 0; i < sizeof out->algorithm; i++)
        if (sscanf(field[5] + 2 * i, "%2hhx", (unsigned char *)&out->algorithm + i) != 1) return false;
    return true;
}

static void load(void)
{
    const char *path = getenv("PIPEBD_ALGORITHMS");
    FILE       *f = path ? fopen(path, "r") : NULL;
    char        line[1024];
    Choice      choice, known;

    while (f && fgets(line, sizeof line, f))
        if (parse(&choice, line) && !choice_find(&known, choice.key)) keep(&choice, NULL);
    if (f) fclose(f);
}

int choice_add(const Choice *choice, Error *err)
{
    const char *path = getenv("PIPEBD_ALGORITHMS");
    FILE       *f = path ? fopen(path, "a") : NULL;
    char        mine[64];
    int         rc = 0;

    if (keep(choice, err) != 0) { if (f) fclose(f); return -1; }
    if (!path) return 0;
    if (!f) return error_set(err, "%s: cannot write algorithms there (PIPEBD_ALGORITHMS)", path);
    versions(mine, sizeof mine);
    fprintf(f, "%s\t%s\t%s\t%zu\t%.3f\t", mine, choice->key, choice->text, choice->workspace, choice->us);
    for (size_t i = 0; i < sizeof choice->algorithm; i++) fprintf(f, "%02x", ((const unsigned char *)&choice->algorithm)[i]);
    if (fprintf(f, "\n") < 0) rc = -1;
    if (fclose(f) != 0 || rc != 0) return error_set(err, "%s: cannot write algorithms there (PIPEBD_ALGORITHMS)", path);
    return 0;
}

int cuda_choices(Device *device, Text *out, Error *err)
{
    (void)device;
    choices_lock();
    for (const Entry *e = first; e; e = e->next) {
        text_printf(out, "%s: %s, %zu bytes of workspace", e->choice.key, e->choice.text, e->choice.workspace);
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

/* One run to warm up, then RUNS between marks of the stream. */
double choice_measure(CudaDevice *device, MeasuredRun *run, void *context)
{
    enum { RUNS = 5 };
    cudaEvent_t event[RUNS + 1] = {0};
    float       ms[RUNS];
    double      us = -1.0;

    for (int i = 0; i <= RUNS; i++)
        if (cudaEventCreate(&event[i]) != cudaSuccess) goto done;
    if (run(context) != 0 || cudaEventRecord(event[0], device->streams[STREAM_COMPUTE]) != cudaSuccess) goto done;
    for (int i = 0; i < RUNS; i++)
        if (run(context) != 0 || cudaEventRecord(event[i + 1], device->streams[STREAM_COMPUTE]) != cudaSuccess) goto done;
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
    if (filled) cudaMemsetAsync(memory, 0x3c, bytes, device->streams[STREAM_COMPUTE]);  /* 0.0115, as bfloat16 too */
    return memory;
}
