#include "executor/train/run_control.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "executor/net/world.h"

enum {
    KIND_WISH,               /* to rank 0: stop */
    KIND_HOLD,               /* to all: begin no step, and say how far you are */
    KIND_PLACE,              /* to rank 0: value[0] = the latest step begun, as a place */
    KIND_STOP,               /* to all: value[0] = no step from this place on */
    KIND_TASK,               /* to rank 0: a task for device id */
    KIND_TASK_IS,            /* the answer: value[0] */
    KIND_LOSS,               /* to rank 0: student id, device value[0], step value[1], real */
    KIND_STATE,              /* to rank 0: student id, device value[0], step value[1], its
                              * tensors */
    KIND_STATE_KEPT,         /* the answer for device id: value[0] = 0, or -1 and why */
    KIND_TIMES               /* to rank 0: of device id, DeviceTimes */
};

#define TELL_NS INT64_C(25000000)       /* between two times that a device tells */

/* What a device waits for. */
typedef struct {
    int     task;            /* -1: not known yet */
    bool    pending;         /* a state that is not answered yet */
    int     rc;
    Error   err;
    int64_t enqueued_ns;         /* the worker's: when it told its times */
} Wish;

struct RunControl {
    const Execution *x;
    World          *world;
    int64_t         number;
    bool            linked;
    int             devices;
    atomic_int      next_task;           /* rank 0 */
    atomic_bool     wished, failed;
    pthread_mutex_t report, hand_over;   /* for the caller's progress, and snapshot, which may take
                                          * long */
    pthread_mutex_t lock;                /* for what follows */
    pthread_cond_t  changed;
    bool            held, stopped;
    int64_t         stop_at;             /* no step from this place on is started */
    int64_t        *started;             /* [devices] the latest step started */
    Wish           *wish;                /* [devices] */
    int             places;              /* rank 0: ranks that said how far they are */
    int64_t         foremost;
};

static bool is_root(const RunControl *s) { return world_rank(s->world) == 0; }

static int post(RunControl *s, int to, Message m, const void *payload, Error *err)
{
    m.port = PORT_RUN;
    m.number = s->number;
    return world_post(s->world, to, &m, payload, NULL, NULL, err);
}

/* In the world's thread there is nobody to return an error to. */
static void post_or_fail(RunControl *s, int to, Message m, const void *payload)
{
    Error err;

    if (post(s, to, m, payload, &err) != 0) world_fail(s->world, &err);
}

static void post_to_others(RunControl *s, Message m)
{
    for (int r = 1; r < world_size(s->world); r++) post_or_fail(s, r, m, NULL);
}

/* ---- stopping ---------------------------------------------------------------------- */

/* With the lock. */
static int64_t latest_here(const RunControl *s)
{
    int64_t latest = -1;

    for (int d = 0; d < s->devices; d++)
        if (s->started[d] > latest) latest = s->started[d];
    return latest;
}

static int64_t hold(RunControl *s)
{
    pthread_mutex_lock(&s->lock);
    s->held = true;
    int64_t latest = latest_here(s);
    pthread_mutex_unlock(&s->lock);
    return latest;
}

static void stop_from(RunControl *s, int64_t place)
{
    pthread_mutex_lock(&s->lock);
    s->stop_at = place;
    s->held = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Rank 0, whenever a rank said how far it is; when all have, they are told where to stop. */
static void take_place(RunControl *s, int64_t place)
{
    pthread_mutex_lock(&s->lock);
    if (place > s->foremost) s->foremost = place;
    bool    all = ++s->places == world_size(s->world);
    int64_t stop_at = s->foremost + 1;
    pthread_mutex_unlock(&s->lock);
    if (!all) return;
    post_to_others(s, (Message){.kind = KIND_STOP, .value = {stop_at}});
    stop_from(s, stop_at);
}

/* Rank 0, once. */
static void begin_stop(RunControl *s)
{
    if (s->linked) {
        post_to_others(s, (Message){.kind = KIND_HOLD});
        take_place(s, hold(s));
    } else {
        post_to_others(s, (Message){.kind = KIND_STOP, .value = {INT64_MAX}});
    }
}

static void wish_to_stop(RunControl *s)
{
    if (atomic_exchange(&s->wished, true)) return;
    if (is_root(s)) begin_stop(s);
    else            post_or_fail(s, 0, (Message){.kind = KIND_WISH}, NULL);
}

bool run_control_step_begins(RunControl *s, int device, int64_t place, bool alone)
{
    bool go = true;

    if (atomic_load(&s->failed)) return false;
    if (!s->x->stop) return true;
    if (atomic_load(s->x->stop)) wish_to_stop(s);
    if (alone && !atomic_load(&s->wished)) return true;
    pthread_mutex_lock(&s->lock);
    if (alone) {
        go = false;
    } else {
        while (s->held && !atomic_load(&s->failed)) pthread_cond_wait(&s->changed, &s->lock);
        go = place < s->stop_at && !atomic_load(&s->failed);
        if (go) s->started[device] = place;
    }
    if (!go) s->stopped = true;
    pthread_mutex_unlock(&s->lock);
    return go;
}

bool run_control_stopped(RunControl *s)
{
    pthread_mutex_lock(&s->lock);
    bool stopped = s->stopped;
    pthread_mutex_unlock(&s->lock);
    return stopped;
}

/* ---- tasks --------------------------------------------------------------------------- */

int run_control_next_task(RunControl *s, int device, int *task, Error *err)
{
    Wish *wish = &s->wish[device];

    if (is_root(s)) { *task = atomic_fetch_add(&s->next_task, 1); return 0; }
    wish->task = -1;
    if (post(s, 0, (Message){.kind = KIND_TASK, .id = device}, NULL, err) != 0) return -1;
    pthread_mutex_lock(&s->lock);
    while (wish->task < 0 && !atomic_load(&s->failed)) pthread_cond_wait(&s->changed, &s->lock);
    *task = wish->task;
    pthread_mutex_unlock(&s->lock);
    return *task < 0 ? error_set(err, "stopped") : 0;
}

static void hear_task(RunControl *s, int device, int task)
{
    pthread_mutex_lock(&s->lock);
    s->wish[device].task = task;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- losses and states ------------------------------------------------------------------ */

static void tell_loss(RunControl *s, int device, int student, int64_t step, double loss)
{
    if (!s->x->progress) return;
    pthread_mutex_lock(&s->report);
    s->x->progress(s->x->context, device, student, step, loss);
    pthread_mutex_unlock(&s->report);
}

int run_control_loss(RunControl *s, int device, int student, int64_t step, double loss, Error *err)
{
    Message m = {.kind = KIND_LOSS, .id = student, .value = {device, step}, .real = loss};

    if (!is_root(s)) return post(s, 0, m, NULL, err);
    tell_loss(s, device, student, step, loss);
    return 0;
}

static int tell_state(RunControl *s, int student, int64_t step, const Tensors *state, Error *err)
{
    pthread_mutex_lock(&s->hand_over);
    int rc = s->x->snapshot(s->x->context, student, step, state, err);
    pthread_mutex_unlock(&s->hand_over);
    return rc;
}

static void hear_kept(RunControl *s, const Message *m, const char *text)
{
    Wish *wish = &s->wish[m->id];

    pthread_mutex_lock(&s->lock);
    wish->rc = (int)m->value[0];
    if (wish->rc != 0) error_set(&wish->err, "%.*s", (int)m->bytes, text);
    wish->pending = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Until rank 0 has kept the state. */
static int wait_for_state(RunControl *s, int device, Error *err)
{
    Wish *wish = &s->wish[device];
    int   rc = 0;

    pthread_mutex_lock(&s->lock);
    while (wish->pending && !atomic_load(&s->failed)) pthread_cond_wait(&s->changed, &s->lock);
    if (wish->pending) rc = error_set(err, "stopped");
    else if (wish->rc != 0) { *err = wish->err; rc = -1; }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* To rank 0; the message keeps a copy of its own, as after a failure it may still be on its way. */
static int send_state(RunControl *s, int device, int student, int64_t step, const Tensors *state,
                      Error *err)
{
    Message m = {.kind = KIND_STATE, .id = student, .value = {device, step}};
    Text    bytes = {0};
    int     rc = tensors_bytes(state, &bytes, err);

    m.bytes = (int64_t)bytes.length;
    s->wish[device].pending = true;
    if (rc == 0) rc = post(s, 0, m, bytes.bytes, err);
    text_free(&bytes);
    return rc == 0 ? wait_for_state(s, device, err) : -1;
}

int run_control_state(RunControl *s, int device, int student, int64_t step, const Tensors *state,
                      Error *err)
{
    return is_root(s) ? tell_state(s, student, step, state, err)
                      : send_state(s, device, student, step, state, err);
}

/* Rank 0: a state came. */
static void keep_state(RunControl *s, const Message *m, const void *payload)
{
    Message  answer = {.kind = KIND_STATE_KEPT, .id = (int32_t)m->value[0]};
    Tensors *state = NULL;
    Error    err = {""};
    int      rc = tensors_parse(&state, "a block's state", payload, (size_t)m->bytes, &err);

    if (rc == 0) rc = tell_state(s, m->id, m->value[1], state, &err);
    tensors_free(state);
    answer.value[0] = rc;
    answer.bytes = rc ? (int64_t)strlen(err.text) : 0;
    post_or_fail(s, m->from, answer, err.text);
}

/* ---- times ------------------------------------------------------------------------------ */

int run_control_times(RunControl *s, int device, bool now, Error *err)
{
    Wish   *wish = &s->wish[device];
    int64_t now_ns;

    if (is_root(s) || !s->x->board) return 0;
    now_ns = clock_ns();
    if (!now && now_ns - wish->enqueued_ns < TELL_NS) return 0;
    wish->enqueued_ns = now_ns;
    DeviceTimes times = status_board_times(s->x->board, device, 0);
    return post(s, 0, (Message){.kind = KIND_TIMES, .id = device, .bytes = sizeof times}, &times,
                err);
}

static void hear_times(RunControl *s, const Message *m, const void *payload)
{
    DeviceTimes times;

    memcpy(&times, payload, sizeof times);
    if (s->x->board) status_board_put(s->x->board, m->id, &times);
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Answers a message of run control, in the world's thread. Who does what when a run stops, and
 * how tasks, losses, states and times get to rank 0, is told in run_control.h. */
static void arrived(void *context, const Message *m, const void *payload)
{
    RunControl *s = context;

    if (s->x->stop && atomic_load(s->x->stop)) wish_to_stop(s);  /* where no device here begins
                                                                  * steps */
    switch (m->kind) {
    case KIND_WISH:       wish_to_stop(s); break;
    case KIND_HOLD:       atomic_store(&s->wished, true);
        post_or_fail(s, 0, (Message){.kind = KIND_PLACE, .value = {hold(s)}}, NULL);
        break;
    case KIND_PLACE:      take_place(s, m->value[0]); break;
    case KIND_STOP:       atomic_store(&s->wished, true); stop_from(s, m->value[0]); break;
    case KIND_TASK:       post_or_fail(s, m->from, (Message){.kind = KIND_TASK_IS, .id = m->id,
                                       .value = {atomic_fetch_add(&s->next_task, 1)}}, NULL); break;
    case KIND_TASK_IS:    hear_task(s, m->id, (int)m->value[0]); break;
    case KIND_LOSS:       tell_loss(s, (int)m->value[0], m->id, m->value[1], m->real); break;
    case KIND_STATE:      keep_state(s, m, payload); break;
    case KIND_STATE_KEPT: hear_kept(s, m, payload); break;
    case KIND_TIMES:      hear_times(s, m, payload); break;
    default: break;
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

void run_control_fail(RunControl *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->failed, true);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

int run_control_open(RunControl **out, const Execution *x, int64_t number, bool linked, Error *err)
{
    static const Listener listener = {NULL, arrived, NULL};
    size_t devices = (size_t)x->program->device_count;
    RunControl *s = calloc(1, sizeof *s);

    *out = NULL;
    if (!s) return error_no_memory(err);
    *s = (RunControl){.x = x, .world = x->world, .number = number, .linked = linked,
                      .devices = (int)devices, .report = PTHREAD_MUTEX_INITIALIZER,
                      .hand_over = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER,
                      .changed = PTHREAD_COND_INITIALIZER, .stop_at = INT64_MAX,
                      .started = malloc(devices * sizeof *s->started),
                      .wish = calloc(devices, sizeof *s->wish), .foremost = -1};
    if (!s->started || !s->wish) { run_control_close(s); return error_no_memory(err); }
    for (size_t d = 0; d < devices; d++) s->started[d] = -1;
    if (x->world) world_listen(x->world, PORT_RUN, number, &listener, s);
    *out = s;
    return 0;
}

void run_control_close(RunControl *s)
{
    if (!s) return;
    if (s->world) world_listen(s->world, PORT_RUN, s->number, NULL, NULL);
    free(s->started);
    free(s->wish);
    free(s);
}
