#include "executor/measure/net_bytes.h"

#include <pthread.h>
#include <string.h>

#include "base/minmax.h"
#include "kernels/head.h"
#include "workloads/head.h"

typedef struct {
    Trace            *trace;
    const Workload   *workload;
    const DeviceSpec *devices;
    Error            *err;
    int               rc;
} BytesJob;

/* head: of the block, for NET_HEADLESS; else stays as it is. */
static int bytes_of(NetBytes *out, HeadBytes *head, Device *device, const WorkBlock *block,
                    const Layers *layers, NetMode mode, int64_t rows, bool squares, Error *err)
{
    Net  *net = NULL;
    ScoreHead *of = NULL;
    int   rc = -1;

    if (net_new(&net, device, layers, block->in, mode, err) != 0
        || (squares && net_keep_squares(net, err) != 0) || net_prepare(net, rows, err) != 0)
        goto done;
    if (mode == NET_HEADLESS
        && (head_new(&of, device, block, net, err) != 0 || head_prepare(of, rows, err) != 0))
        goto done;
    *out = net_bytes(net, rows);
    if (of) *head = head_bytes(of, rows);
    rc = 0;
done:
    head_free(of);
    net_free(net);
    return rc;
}

static int64_t a_sample(int64_t bytes, int64_t rows) { return (bytes + rows - 1) / rows; }

/* Counts the bytes of block b with nets on device, for as many rows as the trace's batch, and fills
 * the trace's block. */
static int fill_block(const BytesJob *job, Device *device, int b)
{
    const WorkBlock *work = &job->workload->block[b];
    TraceBlock      *block = &job->trace->blocks[b];
    bool             has_head = workload_has_head(job->workload, b);
    Layers           body = layers_body(&work->teacher, has_head);
    int64_t          rows = job->trace->batch,
            output = workload_output_count(job->workload, b) * (int64_t)sizeof(float);
    NetBytes         teacher, student;
    HeadBytes        head = {0};

    if (bytes_of(&teacher, NULL, device, work, &body, NET_FROZEN, rows, false, job->err) != 0
        || bytes_of(&student, &head, device, work, &work->student,
                    has_head ? NET_HEADLESS : NET_TRAINED, rows,
                    job->workload->optimizer == OPTIMIZER_ADAMW, job->err)
               != 0)
        return error_prefix(job->err, "block \"%s\"", work->name);
    block->teacher_weight_bytes = teacher.weight;
    block->teacher_activation_bytes = a_sample(teacher.activation + teacher.work, rows);
    block->student_weight_bytes = student.weight + head.weight + (head.grows ? 0 : head.work);
    block->gradient_bytes = student.gradient;
    block->state_bytes = student.state;
    /* What a head works with no longer grows once it goes by pieces.
     * The student's output and the gradient at it live until its backward is done. What nets work
     * with is lent to them only for a call (executor/train/buffers.h), so it is theirs alone. */
    block->student_activation_bytes =
        a_sample(student.activation + larger(student.work, head.grows ? head.work : 0), rows)
        + 2 * output;
    return 0;
}

/* A line each. */
static int fill_algorithms(const BytesJob *job, Device *device)
{
    Trace *t = job->trace;
    Text   text = {0};
    char  *lines, *rest;
    int    rc = -1, most = 1;

    if (device_choices(device, &text, job->err) != 0) goto done;
    lines = rest = text_failed(&text) ? NULL : arena_strdup(&t->arena, text_string(&text));
    for (const char *c = lines; c && *c; c++) most += *c == '\n';
    t->algorithms = arena_alloc(&t->arena, (size_t)most, sizeof *t->algorithms);
    if (!lines || !t->algorithms) { error_no_memory(job->err); goto done; }
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line) t->algorithms[t->algorithm_count++] = line;
    rc = 0;
done:
    text_free(&text);
    return rc;
}

/* In a thread of its own: opening a device binds the thread to its cores. */
static void *fill(void *context)
{
    BytesJob    *job = context;
    Device *device = NULL;

    job->rc = device_open(&device, job->devices, 0, job->err);
    for (int b = 0; job->rc == 0 && b < job->workload->block_count; b++)
        job->rc = fill_block(job, device, b);
    if (job->rc == 0) job->rc = fill_algorithms(job, device);
    device_close(device);
    return NULL;
}

int net_bytes_fill(Trace *trace, const Workload *workload, const DeviceSpec *devices, Error *err)
{
    BytesJob       job = {trace, workload, devices, err, -1};
    pthread_t thread;
    int       rc = pthread_create(&thread, NULL, fill, &job);

    if (rc != 0) return error_set(err, "a thread cannot be started: %s", strerror(rc));
    pthread_join(thread, NULL);
    return job.rc;
}
