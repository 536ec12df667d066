/* Work that comes again is recorded as a CUDA graph and launched as one.
 *
 *     the first time            enqueued as it is: libraries load what they need, weights are put
 *                               in order
 *     then, with new memory     recorded, then launched
 *     from then on              launched
 *
 * Keys and graphs stand in a table of fixed size; when it is full, what comes is enqueued as it is.
 * So is what cannot be recorded, from then on, and everything with PIPEBD_CUDA_GRAPHS=0. */
#include "kernels/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { PLACES = 4096, KEYS_MAX = 3072 };

typedef enum { SEEN, RECORDED, REFUSED } ReplayState;          /* SEEN: of a key without memory */

typedef struct {
    ReplayKey       key;     /* owner NULL: free */
    ReplayState           state;
    cudaGraphExec_t graph;
} ReplayEntry;

struct Replay {
    ReplayEntry        entry[PLACES];
    int          count;
    ReplayEntry       *recording;  /* NULL: nothing is */
    ReplayCounts counts;
};

/* ---- the table: linear probing ---- */

static bool same(const ReplayKey *a, const ReplayKey *b)
{
    return a->owner == b->owner && a->part == b->part && a->rows == b->rows && a->path == b->path
           && a->x == b->x && a->y == b->y && a->more == b->more;
}

static size_t place_of(const ReplayKey *key)
{
    uint64_t words[] = {(uintptr_t)key->owner, (uint64_t)key->part, (uint64_t)key->rows,
                        (uint64_t)key->path,   (uintptr_t)key->x,   (uintptr_t)key->y,
                        (uintptr_t)key->more};

    return (size_t)(hash_bytes(HASH_START, words, sizeof words) % PLACES);
}

/* Where the key is, or would be. */
static ReplayEntry *find(Replay *r, const ReplayKey *key)
{
    size_t at = place_of(key);

    while (r->entry[at].key.owner && !same(&r->entry[at].key, key)) at = (at + 1) % PLACES;
    return &r->entry[at];
}

/* Takes an entry out; those behind it move up where they would not be found else. */
static void take_out(Replay *r, size_t hole)
{
    if (r->entry[hole].graph) { cudaGraphExecDestroy(r->entry[hole].graph); r->counts.kept--; }
    r->count--;
    r->entry[hole] = (ReplayEntry){0};
    for (size_t at = (hole + 1) % PLACES; r->entry[at].key.owner; at = (at + 1) % PLACES) {
        size_t home = place_of(&r->entry[at].key);
        if ((at + PLACES - home) % PLACES < (at + PLACES - hole) % PLACES) continue;
        r->entry[hole] = r->entry[at];
        r->entry[at] = (ReplayEntry){0};
        hole = at;
    }
}

/* ---- what the table of kernels/backend.h names ---- */

static Replay *replay_of(CudaDevice *device)
{
    const char *wanted;

    if (device->replay) return device->replay;
    wanted = getenv("PIPEBD_CUDA_GRAPHS");
    if (!wanted || strcmp(wanted, "0") != 0) device->replay = calloc(1, sizeof *device->replay);
    return device->replay;
}

/* The key's entry, new where there is none and room for it; NULL: no room. */
static ReplayEntry *place(Replay *r, const ReplayKey *key, bool *is_new)
{
    ReplayEntry *entry = find(r, key);

    *is_new = !entry->key.owner;
    if (!*is_new) return entry;
    if (r->count == KEYS_MAX) return NULL;
    *entry = (ReplayEntry){.key = *key, .state = SEEN};
    r->count++;
    return entry;
}

int cuda_replay_begin(Device *base, const ReplayKey *key, Error *err)
{
    CudaDevice *device = cuda_device(base);
    Replay     *r = key->owner ? replay_of(device) : NULL;
    ReplayKey work = {.owner = key->owner, .part = key->part, .rows = key->rows, .path = key->path};
    bool        is_new;

    if (!r || !place(r, &work, &is_new) || is_new) return 0;
    ReplayEntry *entry = place(r, key, &is_new);
    if (!entry || entry->state == REFUSED) return 0;
    if (entry->state == RECORDED) {
        r->counts.replayed++;
        return cuda_failed(cudaGraphLaunch(entry->graph, device->stream), "a recorded graph", err)
                       == 0
                   ? 1
                   : -1;
    }
    if (cuda_noted(device, err) != 0) return -1;
    if (cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess)
        r->recording = entry;
    else { cudaGetLastError(); entry->state = REFUSED; }
    return 0;
}

/* Nothing that was said while recording has been done. */
static int refuse(CudaDevice *device, ReplayEntry *entry)
{
    cudaGetLastError();
    device->failure.text[0] = '\0';
    entry->state = REFUSED;
    return 1;
}

int cuda_replay_end(Device *base, bool failed, Error *err)
{
    CudaDevice *device = cuda_device(base);
    Replay     *r = device->replay;
    ReplayEntry      *entry = r ? r->recording : NULL;
    cudaGraph_t graph = NULL;

    if (!entry) return 0;
    r->recording = NULL;
    cudaError_t status = cudaStreamEndCapture(device->stream, &graph);
    if (status == cudaSuccess && !failed && !device->failure.text[0])
        status = cudaGraphInstantiate(&entry->graph, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    if (status != cudaSuccess || !entry->graph) return refuse(device, entry);
    entry->state = RECORDED;
    r->counts.recorded++;
    r->counts.kept++;
    return cuda_failed(cudaGraphLaunch(entry->graph, device->stream), "a recorded graph", err);
}

/* A graph that is still at work is destroyed when it is done. */
void cuda_replay_forget(Device *base, const void *owner)
{
    Replay *r = cuda_device(base)->replay;

    if (!r) return;
    for (size_t i = 0; i < PLACES; i++)
        while (r->entry[i].key.owner && (!owner || r->entry[i].key.owner == owner)) take_out(r, i);
}

ReplayCounts cuda_replay_counts(const Device *base)
{
    const Replay *r = ((const CudaDevice *)base)->replay;

    return r ? r->counts : (ReplayCounts){0};
}

void cuda_replay_free(CudaDevice *device)
{
    for (size_t i = 0; device->replay && i < PLACES; i++)
        if (device->replay->entry[i].graph) cudaGraphExecDestroy(device->replay->entry[i].graph);
    free(device->replay);
    device->replay = NULL;
}
