#include "executor/checkpoint/checkpoint_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "executor/checkpoint/state.h"

/* A student's state, shared by the table of latest ones and a checkpoint under way. */
typedef struct {
    Tensors *tensors;
    int      owners;         /* under the lock */
} KeptState;

typedef struct {
    KeptState  *latest;          /* NULL: not started */
    int64_t step;
    bool    delivered;       /* since the last checkpoint was begun */
    bool    training;        /* delivered between the two before */
} StudentState;

struct CheckpointWriter {
    char           *folder;
    int             folder_fd;       /* holds the claim */
    CheckpointFacts facts;
    int             students;        /* checkpoint_students() */
    StudentState   *student;         /* [students] */
    KeptState     **writing;         /* [students] of the checkpoint under way */
    pthread_mutex_t lock;
    pthread_cond_t  changed;         /* due or closing */
    pthread_t       writer;
    pthread_cond_t  rested;          /* the writer has nothing under way */
    bool            due, closing, failed, busy;
    Error           failure;         /* the first that failed */
    int64_t         next, newest;    /* numbers: to write, 0: none is left; complete, 0: none */
};

/* ---- states ---------------------------------------------------------------------- */

static KeptState *state_copy(const Tensors *tensors, Error *err)
{
    KeptState *state = calloc(1, sizeof *state);

    if (!state) { error_no_memory(err); return NULL; }
    state->owners = 1;
    if (tensors_new(&state->tensors, err) == 0 && tensors_put(state->tensors, tensors, err) == 0)
        return state;
    tensors_free(state->tensors);
    free(state);
    return NULL;
}

static void state_release(KeptState *state)
{
    if (!state || --state->owners > 0) return;
    tensors_free(state->tensors);
    free(state);
}

/* ---- when one is due ---------------------------------------------------------------- */

static bool finished(const CheckpointWriter *writer, const StudentState *student)
{
    return student->step >= writer->facts.total_steps;
}

/* Rules (1) and (2): whether all students, or all that train now, have delivered. */
static bool all_delivered(const CheckpointWriter *writer, bool training_only)
{
    int asked = 0;

    for (int k = 0; k < writer->students; k++) {
        const StudentState *student = &writer->student[k];
        if (finished(writer, student) || (training_only && !student->training)) continue;
        if (!student->delivered) return false;
        asked++;
    }
    return asked > 0;
}

/* ---- the writer's thread -------------------------------------------------------------- */

/* Takes hold of all latest states. Under the lock. */
static void begin(CheckpointWriter *writer)
{
    for (int k = 0; k < writer->students; k++) {
        StudentState *student = &writer->student[k];
        writer->writing[k] = student->latest;
        if (student->latest) student->latest->owners++;
        student->training = student->delivered;
        student->delivered = false;
    }
    writer->due = false;
}

/* Removes checkpoints that are older than the two newest complete ones: those that this run
 * wrote or goes on from, whatever damaged files there are. */
static int remove_old(const CheckpointWriter *writer, int64_t before, Error *err)
{
    int64_t *list;
    int      count, rc = 0;

    if (checkpoint_list(&list, &count, writer->folder, err) != 0) return -1;
    for (int i = 0; i < count && rc == 0; i++)
        if (list[i] < before) rc = checkpoint_remove(writer->folder, list[i], err);
    free(list);
    return rc;
}

static int64_t number_after(int64_t number) { return number < INT64_MAX ? number + 1 : 0; }

static int no_number_left(const char *folder, Error *err)
{
    return error_set(err,
                     "%s: holds a checkpoint with the largest number, %" PRId64
                     ", and none can be written after it: "
                     "give it a small number, or choose another folder",
                     folder, INT64_MAX);
}

/* Writes what begin() took hold of. No lock is held. */
static int write_states(const CheckpointWriter *writer, Error *err)
{
    int             rc = -1;
    if (writer->next == 0) return no_number_left(writer->folder, err);
    const Tensors **student = calloc((size_t)writer->students, sizeof *student);
    if (!student) return error_no_memory(err);
    for (int k = 0; k < writer->students; k++)
        if (writer->writing[k]) student[k] = writer->writing[k]->tensors;
    if (checkpoint_write(writer->folder, writer->next, &writer->facts, student, err) == 0)
        rc = remove_old(writer, writer->newest, err);
    free(student);
    return rc;
}

/* The thread: writes a checkpoint whenever one is due, without the lock, until it is closed or a
 * write fails. */
static void *writer_run(void *argument)
{
    CheckpointWriter *writer = argument;

    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (!writer->due && !writer->closing) pthread_cond_wait(&writer->changed, &writer->lock);
        if (!writer->due || writer->failed) break;
        begin(writer);
        writer->busy = true;
        pthread_mutex_unlock(&writer->lock);
        int rc = write_states(writer, &writer->failure);
        pthread_mutex_lock(&writer->lock);
        for (int k = 0; k < writer->students; k++) state_release(writer->writing[k]);
        writer->failed = rc != 0;
        writer->busy = false;
        if (rc == 0) {
            writer->newest = writer->next;
            writer->next = number_after(writer->next);
        }
        pthread_cond_broadcast(&writer->rested);
        if (rc != 0) break;
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* ---- opening and closing ---------------------------------------------------------------- */

static int claim_folder(CheckpointWriter *writer, Error *err)
{
    const char *folder = writer->folder;

    if (file_make_folder(folder, err) != 0) return -1;
    writer->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (writer->folder_fd < 0)
        return error_set(err, "%s: cannot open the folder: %s", folder, strerror(errno));
    if (flock(writer->folder_fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, "%s: %s", folder,
                         errno == EWOULDBLOCK ? "another run writes its checkpoints here"
                                              : strerror(errno));
    return checkpoint_remove_unfinished(folder, err);
}

static int choose_number(CheckpointWriter *writer, const Tensors *resumed, int64_t sequence,
                         Error *err)
{
    int64_t *list;
    int      count;

    if (checkpoint_list(&list, &count, writer->folder, err) != 0) return -1;
    writer->next = count > 0 ? number_after(list[count - 1]) : 1;
    free(list);
    if (count > 0 && !resumed)
        return error_set(err,
                         "%s: holds checkpoints of a run; resume that, or choose another folder",
                         writer->folder);
    if (writer->next == 0) return no_number_left(writer->folder, err);
    writer->newest = resumed ? sequence : 0;
    return 0;
}

/* The state that a resumed student starts from, as yet with its step only; made when first
 * asked for. NULL: no memory. */
static Tensors *resumed_state(CheckpointWriter *writer, int k, int64_t step)
{
    StudentState *student = &writer->student[k];
    char          key[STATE_KEY_BYTES], value[32];

    if (student->latest) return student->latest->tensors;
    student->step = step;
    student->latest = calloc(1, sizeof *student->latest);
    if (!student->latest) return NULL;
    student->latest->owners = 1;
    if (tensors_new(&student->latest->tensors, NULL) != 0) return NULL;
    state_step_key(key, checkpoint_student(&writer->facts, k));
    snprintf(value, sizeof value, "%" PRId64, step);
    return tensors_set_note(student->latest->tensors, key, value, NULL) == 0
               ? student->latest->tensors
               : NULL;
}

/* The number of the student that a checkpoint's tensor belongs to; -1: none of the run's. */
static int number_of(const CheckpointWriter *writer, const char *name)
{
    int b = state_block(name);

    if (writer->facts.workload_of) return state_student(writer->facts.workload_of, name);
    return b < writer->facts.blocks ? b : -1;
}

/* The students' states, taken apart. */
static int take_resumed(CheckpointWriter *writer, const Tensors *resumed, Error *err)
{
    for (int i = 0; i < tensors_count(resumed); i++) {
        const Tensor *tensor = tensors_at(resumed, i);
        int           k = number_of(writer, tensor->name);
        if (k < 0)
            return error_set(err, "the checkpoint has a tensor %s, which belongs to no block",
                             tensor->name);
        StudentId id = checkpoint_student(&writer->facts, k);
        Tensors  *state = resumed_state(writer, k, checkpoint_step(resumed, id));
        if (!state) return error_no_memory(err);
        if (tensors_put_one(state, tensor, err) != 0) return -1;
    }
    return 0;
}

/* Frees all; the writer has ended or never ran. */
static void checkpoint_writer_free(CheckpointWriter *writer)
{
    for (int k = 0; writer->student && k < writer->students; k++)
        state_release(writer->student[k].latest);
    if (writer->folder_fd >= 0) close(writer->folder_fd);
    pthread_cond_destroy(&writer->rested);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    free(writer->student);
    free(writer->writing);
    free(writer->folder);
    free(writer);
}

int checkpoint_writer_open(CheckpointWriter **out, const char *folder, const CheckpointFacts *facts,
                           const Tensors *resumed, int64_t sequence, Error *err)
{
    CheckpointWriter *writer = calloc(1, sizeof *writer);

    *out = NULL;
    if (!writer) return error_no_memory(err);
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->changed, NULL);
    clock_init_condition(&writer->rested);
    writer->folder_fd = -1;
    writer->facts = *facts;
    writer->folder = strdup(folder);
    writer->students = checkpoint_students(facts);
    writer->student = calloc((size_t)writer->students + 1, sizeof *writer->student);
    writer->writing = calloc((size_t)writer->students + 1, sizeof *writer->writing);
    if (!writer->folder || !writer->student || !writer->writing) {
        error_no_memory(err);
        goto fail;
    }
    if (claim_folder(writer, err) != 0) goto fail;
    if (choose_number(writer, resumed, sequence, err) != 0) goto fail;
    if (resumed && take_resumed(writer, resumed, err) != 0) goto fail;
    int rc = pthread_create(&writer->writer, NULL, writer_run, writer);
    if (rc != 0) {
        error_set(err, "cannot start the thread of checkpoints: %s", strerror(rc));
        goto fail;
    }
    *out = writer;
    return 0;
fail:
    checkpoint_writer_free(writer);
    return -1;
}

/* Under the lock: what has been delivered is due. */
static void make_due(CheckpointWriter *writer)
{
    for (int k = 0; k < writer->students; k++)
        if (writer->student[k].delivered) writer->due = true;
    pthread_cond_signal(&writer->changed);
}

int checkpoint_writer_flush(CheckpointWriter *writer, int64_t timeout_ns, Error *err)
{
    struct timespec until = clock_in(timeout_ns);
    int             rc = 0;

    pthread_mutex_lock(&writer->lock);
    make_due(writer);
    while (rc == 0 && !writer->failed && (writer->due || writer->busy))
        rc = pthread_cond_timedwait(&writer->rested, &writer->lock, &until);
    if (writer->failed) rc = error_set(err, "%s", writer->failure.text);
    else if (rc != 0)
        rc = error_set(err, "%s: the checkpoint is not written in time", writer->folder);
    pthread_mutex_unlock(&writer->lock);
    return rc;
}

int checkpoint_writer_close(CheckpointWriter *writer, Error *err)
{
    if (!writer) return 0;
    pthread_mutex_lock(&writer->lock);
    make_due(writer);
    writer->closing = true;
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->writer, NULL);
    int rc = writer->failed ? error_set(err, "%s", writer->failure.text) : 0;
    checkpoint_writer_free(writer);
    return rc;
}

/* ---- delivering ------------------------------------------------------------------------- */

int checkpoint_writer_put(CheckpointWriter *writer, int k, int64_t step, const Tensors *tensors,
                          Error *err)
{
    StudentState *student = &writer->student[k];
    StudentId     id = checkpoint_student(&writer->facts, k);

    if (checkpoint_step(tensors, id) != step)
        return error_set(err, "the state of block %d does not say that it is at step %" PRId64,
                         id.block, step);
    const Tensor *bad = state_find_bad(tensors, id);
    if (bad)
        return error_set(err, "block %d is not kept: its tensor %s could not be read again",
                         id.block, bad->name);
    KeptState *state = state_copy(tensors, err);
    if (!state) return -1;
    pthread_mutex_lock(&writer->lock);
    if (writer->failed) {
        state_release(state);
        error_set(err, "%s", writer->failure.text);
        pthread_mutex_unlock(&writer->lock);
        return -1;
    }
    bool again = student->delivered;
    state_release(student->latest);
    student->latest = state;
    student->step = step;
    student->delivered = true;
    if (again || finished(writer, student) || all_delivered(writer, false)
        || all_delivered(writer, true)) {
        writer->due = true;
        pthread_cond_signal(&writer->changed);
    }
    pthread_mutex_unlock(&writer->lock);
    return 0;
}

int64_t checkpoint_writer_written(CheckpointWriter *writer)
{
    pthread_mutex_lock(&writer->lock);
    int64_t newest = writer->newest;
    pthread_mutex_unlock(&writer->lock);
    return newest;
}
