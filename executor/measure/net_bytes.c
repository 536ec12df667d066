#include "executor/measure/net_bytes.h"

#include <pthread.h>
#include <string.h>

#include "base/minmax.h"
#include "kernels/head.h"
#include "traces/listed_students.h"
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

/* The bytes of a student, with a net on device. */
static int fill_student(const BytesJob *job, Device *device, StudentId id, TraceStudent *out)
{
    WorkBlock work = block_with_student(&job->workload->block[id.block], id.student);
    NetMode   mode = workload_has_head(job->workload, id.block) ? NET_HEADLESS : NET_TRAINED;
    int64_t   rows = job->trace->batch,
            output = workload_output_count(job->workload, id.block, id.student)
                     * (int64_t)sizeof(float);
    NetBytes  student;
    HeadBytes head = {0};

    if (bytes_of(&student, &head, device, &work, &work.student, mode, rows,
                 job->workload->optimizer == OPTIMIZER_ADAMW, job->err)
        != 0)
        return -1;
    out->weight_bytes = student.weight + head.weight + (head.grows ? 0 : head.work);
    out->gradient_bytes = student.gradient;
    out->state_bytes = student.state;
    /* What a head works with no longer grows once it goes by pieces.
     * The student's output and the gradient at it live until its backward is done. What nets work
     * with is lent to them only for a call (executor/train/buffers.h), so it is theirs alone. */
    out->activation_bytes =
        a_sample(student.activation + larger(student.work, head.grows ? head.work : 0), rows)
        + 2 * output;
    return 0;
}

/* Of the block's students: those that it lists, or the only one. */
static int fill_students(const BytesJob *job, Device *device, int b)
{
    TraceBlock  *block = &job->trace->blocks[b];
    TraceStudent only = {0};

    if (trace_list_students(job->trace, block, &job->workload->block[b], job->err) != 0) return -1;
    for (int j = 0; j < block->student_count; j++)
        if (fill_student(job, device, workload_student_of(job->workload, b, j), &block->students[j])
            != 0)
            return -1;
    if (block->students) { trace_sum_students(block); return 0; }
    if (fill_student(job, device, workload_student_of(job->workload, b, 0), &only) != 0) return -1;
    block->student_weight_bytes = only.weight_bytes;
    block->gradient_bytes = only.gradient_bytes;
    block->state_bytes = only.state_bytes;
    block->student_activation_bytes = only.activation_bytes;
    return 0;
}

/* Counts the bytes of block b with nets on device, for as many rows as the trace's batch, and fills
 * the trace's block. */
static int fill_block(const BytesJob *job, Device *device, int b)
{
    const WorkBlock *work = &job->workload->block[b];
    TraceBlock      *block = &job->trace->blocks[b];
    Layers           body = layers_body(&work->teacher, workload_has_head(job->workload, b));
    int64_t          rows = job->trace->batch;
    NetBytes         teacher;

    if (bytes_of(&teacher, NULL, device, work, &body, NET_FROZEN, rows, false, job->err) != 0
        || fill_students(job, device, b) != 0)
        return error_prefix(job->err, "block \"%s\"", work->name);
    block->teacher_weight_bytes = teacher.weight;
    block->teacher_activation_bytes = a_sample(teacher.activation + teacher.work, rows);
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
