#include "executor/collector.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A block's state, shared by the table of latest ones and a checkpoint under way. */
typedef struct {
    Tensors *tensors;
    int      owners;         /* under the lock */
} State;

typedef struct {
    State  *latest;          /* NULL: not started */
    int64_t step;
    bool    delivered;       /* since the last checkpoint was begun */
    bool    training;        /* delivered between the two before */
} Block;

struct Collector {
    char           *folder;
    int             folder_fd;       /* holds the claim */
    CheckpointFacts facts;
    Block          *block;           /* [facts.blocks] */
    State         **writing;         /* [facts.blocks] of the checkpoint under way */
    pthread_mutex_t lock;
    pthread_cond_t  changed;         /* due or closing */
    pthread_t       writer;
    pthread_cond_t  rested;          /* the writer has nothing under way */
    bool            due, closing, failed, busy;
    Error           failure;         /* the first that failed */
    int64_t         next, newest;    /* numbers: to write; complete, 0: none */
};

/* ---- states ---------------------------------------------------------------------- */

static State *state_copy(const Tensors *tensors, Error *err)
{
    State *state = calloc(1, sizeof *state);

    if (!state) { error_no_memory(err); return NULL; }
    state->owners = 1;
    if (tensors_new(&state->tensors, err) == 0 && tensors_put(state->tensors, tensors, err) == 0) return state;
    tensors_free(state->tensors);
    free(state);
    return NULL;
}

static void state_release(State *state)
{
    if (!state || --state->owners > 0) return;
    tensors_free(state->tensors);
    free(state);
}

/* ---- when one is due ---------------------------------------------------------------- */

static bool finished(const Collector *collector, const Block *block)
{
    return block->step >= collector->facts.total_steps;
}

/* Rules (1) and (2): whether all blocks, or all that train now, have delivered. */
static bool all_delivered(const Collector *collector, bool training_only)
{
    int asked = 0;

    for (int b = 0; b < collector->facts.blocks; b++) {
        const Block *block = &collector->block[b];
        if (finished(collector, block) || (training_only && !block->training)) continue;
        if (!block->delivered) return false;
        asked++;
    }
    return asked > 0;
}

/* ---- the writer's thread -------------------------------------------------------------- */

/* Takes hold of all latest states. Under the lock. */
static void begin(Collector *collector)
{
    for (int b = 0; b < collector->facts.blocks; b++) {
        Block *block = &collector->block[b];
        collector->writing[b] = block->latest;
        if (block->latest) block->latest->owners++;
        block->training = block->delivered;
        block->delivered = false;
    }
    collector->due = false;
}

/* Removes checkpoints that are older than the two newest complete ones: those that this run
 * wrote or goes on from, whatever damaged files there are. */
static int remove_old(const Collector *collector, int64_t before, Error *err)
{
    int64_t *list;
    int      count, rc = 0;

    if (checkpoint_list(&list, &count, collector->folder, err) != 0) return -1;
    for (int i = 0; i < count && rc == 0; i++)
        if (list[i] < before) rc = checkpoint_remove(collector->folder, list[i], err);
    free(list);
    return rc;
}

/* Writes what begin() took hold of. No lock is held. */
static int write_states(const Collector *collector, Error *err)
{
    int             rc = -1;
    const Tensors **block = calloc((size_t)collector->facts.blocks, sizeof *block);

    if (!block) return error_no_memory(err);
    for (int b = 0; b < collector->facts.blocks; b++)
        if (collector->writing[b]) block[b] = collector->writing[b]->tensors;
    if (checkpoint_write(collector->folder, collector->next, &collector->facts, block, err) == 0)
        rc = remove_old(collector, collector->newest, err);
    free(block);
    return rc;
}

static void *writer_run(void *argument)
{
    Collector *collector = argument;

    pthread_mutex_lock(&collector->lock);
    for (;;) {
        while (!collector->due && !collector->closing) pthread_cond_wait(&collector->changed, &collector->lock);
        if (!collector->due || collector->failed) break;
        begin(collector);
        collector->busy = true;
        pthread_mutex_unlock(&collector->lock);
        int rc = write_states(collector, &collector->failure);
        pthread_mutex_lock(&collector->lock);
        for (int b = 0; b < collector->facts.blocks; b++) state_release(collector->writing[b]);
        collector->failed = rc != 0;
        collector->busy = false;
        if (rc == 0) collector->newest = collector->next++;
        pthread_cond_broadcast(&collector->rested);
        if (rc != 0) break;
    }
    pthread_mutex_unlock(&collector->lock);
    return NULL;
}

/* ---- opening and closing ---------------------------------------------------------------- */

static int claim_folder(Collector *collector, Error *err)
{
    const char *folder = collector->folder;

    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return error_set(err, "%s: cannot make the folder: %s", folder, strerror(errno));
    collector->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (collector->folder_fd < 0) return error_set(err, "%s: cannot open the folder: %s", folder, strerror(errno));
    if (flock(collector->folder_fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, "%s: %s", folder, errno == EWOULDBLOCK ? "another run writes its checkpoints here"
                                                                     : strerror(errno));
    return checkpoint_remove_unfinished(folder, err);
}

static int choose_number(Collector *collector, const Tensors *resumed, int64_t sequence, Error *err)
{
    int64_t *list;
    int      count;

    if (checkpoint_list(&list, &count, collector->folder, err) != 0) return -1;
    collector->next = count > 0 ? list[count - 1] + 1 : 1;
    free(list);
    if (count > 0 && !resumed)
        return error_set(err, "%s: holds checkpoints of a run; resume that, or choose another folder",
                         collector->folder);
    collector->newest = resumed ? sequence : 0;
    return 0;
}

/* The state that a resumed block starts from, as yet with its step only; made when first
 * asked for. NULL: no memory. */
static Tensors *resumed_state(Collector *collector, int b, int64_t step)
{
    Block *block = &collector->block[b];
    char   key[32], value[32];

    if (block->latest) return block->latest->tensors;
    block->step = step;
    block->latest = calloc(1, sizeof *block->latest);
    if (!block->latest) return NULL;
    block->latest->owners = 1;
    if (tensors_new(&block->latest->tensors, NULL) != 0) return NULL;
    snprintf(key, sizeof key, "step.%d", b);
    snprintf(value, sizeof value, "%" PRId64, step);
    return tensors_set_note(block->latest->tensors, key, value, NULL) == 0 ? block->latest->tensors : NULL;
}

/* The blocks' states, taken apart. */
static int take_resumed(Collector *collector, const Tensors *resumed, Error *err)
{
    for (int i = 0; i < tensors_count(resumed); i++) {
        const Tensor *tensor = tensors_at(resumed, i);
        int           b = checkpoint_block(tensor->name);
        if (b < 0 || b >= collector->facts.blocks)
            return error_set(err, "the checkpoint has a tensor %s, which belongs to no block", tensor->name);
        Tensors *state = resumed_state(collector, b, checkpoint_step(resumed, b));
        if (!state) return error_no_memory(err);
        if (tensors_put_one(state, tensor, err) != 0) return -1;
    }
    return 0;
}

/* Frees all; the writer has ended or never ran. */
static void collector_free(Collector *collector)
{
    for (int b = 0; collector->block && b < collector->facts.blocks; b++) state_release(collector->block[b].latest);
    if (collector->folder_fd >= 0) close(collector->folder_fd);
    pthread_cond_destroy(&collector->rested);
    pthread_cond_destroy(&collector->changed);
    pthread_mutex_destroy(&collector->lock);
    free(collector->block);
    free(collector->writing);
    free(collector->folder);
    free(collector);
}

int collector_open(Collector **out, const char *folder, const CheckpointFacts *facts, const Tensors *resumed,
                   int64_t sequence, Error *err)
{
    Collector *collector = calloc(1, sizeof *collector);

    *out = NULL;
    if (!collector) return error_no_memory(err);
    pthread_mutex_init(&collector->lock, NULL);
    pthread_cond_init(&collector->changed, NULL);
    pthread_cond_init(&collector->rested, NULL);
    collector->folder_fd = -1;
    collector->facts = *facts;
    collector->folder = strdup(folder);
    collector->block = calloc((size_t)facts->blocks + 1, sizeof *collector->block);
    collector->writing = calloc((size_t)facts->blocks + 1, sizeof *collector->writing);
    if (!collector->folder || !collector->block || !collector->writing) { error_no_memory(err); goto fail; }
    if (claim_folder(collector, err) != 0) goto fail;
    if (choose_number(collector, resumed, sequence, err) != 0) goto fail;
    if (resumed && take_resumed(collector, resumed, err) != 0) goto fail;
    int rc = pthread_create(&collector->writer, NULL, writer_run, collector);
    if (rc != 0) { error_set(err, "cannot start the thread of checkpoints: %s", strerror(rc)); goto fail; }
    *out = collector;
    return 0;
fail:
    collector_free(collector);
    return -1;
}

/* Under the lock: what has been delivered is due. */
static void make_due(Collector *collector)
{
    for (int b = 0; b < collector->facts.blocks; b++)
        if (collector->block[b].delivered) collector->due = true;
    pthread_cond_signal(&collector->changed);
}

int collector_flush(Collector *collector, int64_t timeout_ns, Error *err)
{
    struct timespec until;
    int             rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ns / 1000000000;
    until.tv_nsec += timeout_ns % 1000000000;
    if (until.tv_nsec >= 1000000000) { until.tv_nsec -= 1000000000; until.tv_sec++; }
    pthread_mutex_lock(&collector->lock);
    make_due(collector);
    while (rc == 0 && !collector->failed && (collector->due || collector->busy))
        rc = pthread_cond_timedwait(&collector->rested, &collector->lock, &until);
    if (collector->failed) rc = error_set(err, "%s", collector->failure.text);
    else if (rc != 0)      rc = error_set(err, "%s: the checkpoint is not written in time", collector->folder);
    pthread_mutex_unlock(&collector->lock);
    return rc;
}

int collector_close(Collector *collector, Error *err)
{
    if (!collector) return 0;
    pthread_mutex_lock(&collector->lock);
    make_due(collector);
    collector->closing = true;
    pthread_mutex_unlock(&collector->lock);
    pthread_join(collector->writer, NULL);
    int rc = collector->failed ? error_set(err, "%s", collector->failure.text) : 0;
    collector_free(collector);
    return rc;
}

/* ---- delivering ------------------------------------------------------------------------- */

int collector_deliver(Collector *collector, int b, int64_t step, const Tensors *tensors, Error *err)
{
    Block *block = &collector->block[b];

    if (checkpoint_step(tensors, b) != step)
        return error_set(err, "the state of block %d does not say that it is at step %" PRId64, b, step);
    State *state = state_copy(tensors, err);
    if (!state) return -1;
    pthread_mutex_lock(&collector->lock);
    if (collector->failed) {
        state_release(state);
        error_set(err, "%s", collector->failure.text);
        pthread_mutex_unlock(&collector->lock);
        return -1;
    }
    bool again = block->delivered;
    state_release(block->latest);
    block->latest = state;
    block->step = step;
    block->delivered = true;
    if (again || finished(collector, block) || all_delivered(collector, false) || all_delivered(collector, true)) {
        collector->due = true;
        pthread_cond_signal(&collector->changed);
    }
    pthread_mutex_unlock(&collector->lock);
    return 0;
}

int64_t collector_written(Collector *collector)
{
    pthread_mutex_lock(&collector->lock);
    int64_t newest = collector->newest;
    pthread_mutex_unlock(&collector->lock);
    return newest;
}
