/* The transport by NCCL, between threads whose devices queue (tests/async_device.h, at once) and a
 * fake NCCL: students are the CPU's bit for bit under every plan; a peer that fails, a
 * message that is lost and a GPU that hangs become the run's error, with the devices' names. */
#include "tests/four_blocks.h"
#include "tests/nccl_fake.h"
#include "tests/async_device.h"

#include "executor/transport/nccl/nccl.h"

/* ---- a fake CUDA that does everything at once ---- */

static struct {
    atomic_int  streams, events;         /* alive */
    atomic_bool never_done;              /* events do not pass */
    bool        same_gpu;                /* all GPUs are at one place */
} at_once;

cudaError_t fake_queue(cudaStream_t stream, FakeRun *run, void *closure, FakeRun *destroy)
{
    (void)stream;
    run(closure);
    destroy(closure);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = malloc(1);
    atomic_fetch_add(&at_once.events, 1);
    return *event ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    atomic_fetch_add(&at_once.events, -1);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = malloc(1);
    atomic_fetch_add(&at_once.streams, 1);
    return *stream ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    atomic_fetch_add(&at_once.streams, -1);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    (void)event;
    return atomic_load(&at_once.never_done) ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)stream;
    return event ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { (void)stream; return cudaSuccess; }
cudaError_t cudaSetDevice(int gpu) { (void)gpu; return cudaSuccess; }
const char *cudaGetErrorString(cudaError_t status) { (void)status; return "an error of CUDA's"; }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)stream; (void)flags;
    return event ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int gpu)
{
    snprintf(out, (size_t)size, "0000:%02x:00.0", at_once.same_gpu ? 0 : gpu);
    return cudaSuccess;
}

/* ---- training ---- */

/* All devices do everything when it is queued: a stream of the fake has no other way. */
static void async_gpus(DeviceSpec *spec, int count)
{
    char  text[16];
    Error err = {""};

    snprintf(text, sizeof text, "cpu:%d", count);
    assert_int_equal(async_devices(spec, text, &err), 0);
    async_world.eager[0] = async_world.eager[1] = (1u << STREAM_COUNT) - 1;
    spec->nccl = true;
    spec->slices = 1;
    spec->gpu_count = count;
    for (int i = 0; i < count; i++) spec->gpus[i] = i;
}

/* Trains under plan, which stays; *err says why not. */
static int train_on(Tensors **out, bool nccl, const Fixture *f, const Plan *plan, Error *err)
{
    Program        *program = spell_out(plan);
    DeviceSpec      spec;
    ExecutionResult result;

    *out = no_tensors();
    Execution x = execution_of(f, program, &spec, *out, 1);
    if (nccl) async_gpus(&spec, program->device_count);
    x.synchronise = false;
    int rc = execute(&result, &x, err);
    if (rc == 0) execution_free(&result);
    program_free(program);
    for (int i = 0; i < 200 && nccl_fake.comms != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_int_equal(nccl_fake.comms, 0);
    /* else messages may be under way */
    if (rc == 0) assert_int_equal(atomic_load(&at_once.events), 0);
    assert_int_equal(atomic_load(&at_once.streams), 0);
    return rc;
}

enum { PLANS = 9 };

static Plan *plan_of(int i)
{
    switch (i) {
    case 0: return pipeline(SCHEDULE_TR);
    case 1: return pipeline(SCHEDULE_DPU);
    case 2: return pipeline_of_four(SCHEDULE_AHD);
    case 3: return lists(2, false);
    case 4: return data_parallel(3);
    case 5: return relay(SCHEDULE_IR, 1, (const int[]){0}, (const int[]){2});
    case 6: return relay(SCHEDULE_AHD, 2, (const int[]){0, 1}, (const int[]){3, 1});
    case 7: return relay(SCHEDULE_AHD, 2, (const int[]){0, 3}, (const int[]){1, 2});
    default: return split_of_three();
    }
}

static void students_are_those_of_the_cpu(void **state)
{
    Fixture *f = *state;

    for (int i = 0; i < PLANS; i++) {
        Plan    *plan = plan_of(i);
        Tensors *truth, *found;
        Error    err = {""};
        fake_reset();
        assert_int_equal(train_on(&truth, false, f, plan, &err), 0);
        if (train_on(&found, true, f, plan, &err) != 0) fail_msg("plan %d: %s", i, err.text);
        assert_true(i == 3 || nccl_fake.sent > 0);
        assert_same_bits(truth, found);
        tensors_free(truth);
        tensors_free(found);
        plan_free(plan);
    }
}

static void fails_with(const Fixture *f, Plan *plan, const char *expected)
{
    Tensors *out;
    Error    err = {""};

    assert_int_equal(train_on(&out, true, f, plan, &err), -1);
    if (!strstr(err.text, expected)) fail_msg("\"%s\" is not in \"%s\"", expected, err.text);
    tensors_free(out);
    plan_free(plan);
    fake_reset();
    assert_int_equal(atomic_load(&at_once.events), 0);
}

/* Wherever in the run it happens. */
static void a_peer_that_fails_is_named(void **state)
{
    for (long n = 1; n < 16; n += 4) {
        fake_reset();
        nccl_fake.fail = n;
        fails_with(*state, pipeline(SCHEDULE_DPU),
                   "nccl: from device 0 to device 1: remote process exited: of the fake");
        fake_reset();
        nccl_fake.fail = n;
        fails_with(
            *state, data_parallel(3),
            "nccl: the group of 3 from device 0 to device 2: remote process exited: of the fake");
    }
}

static void a_gpu_is_taken_once(void **state)
{
    fake_reset();
    at_once.same_gpu = true;
    fails_with(*state, pipeline(SCHEDULE_DPU),
               "nccl takes a GPU once: 0000:00:00.0 is that of devices of rank 0 and of rank 0");
    at_once.same_gpu = false;
}

/* ---- the transport alone ------------------------------------------------------------ */

enum { MEMBERS = 3, VALUES = 5000, FLOATS = 3 * 1000003 };

typedef struct {
    Transport *transport;
    Error      failure;
    atomic_int failures;
} Failing;

static void note_failure(void *context, const Error *err)
{
    Failing *failing = context;

    failing->failure = *err;
    atomic_fetch_add(&failing->failures, 1);
    failing->transport->ops->stop(failing->transport);
}

typedef struct {
    Transport        *transport;
    const DeviceSpec *spec;
    int               device, rc;
    bool              only_barrier;
    int               pause_ms;  /* before it leaves */
    double            sums[VALUES], loss;
    float            *values;
    Error             err;
} Part;

static double addend(int device, int i) { return 1.0 / (1 + device * 7 + i % 1009); }

static int work(Part *p, Device *memory)
{
    int64_t     bytes;
    GradientRun run = {p->values, FLOATS};
    Transport  *t = p->transport;

    if (t->ops->join(t, p->device, memory, &bytes, &p->err) != 0) return -1;
    if (t->ops->barrier(t, 0, p->device, &p->err) != 0) return -1;
    if (p->only_barrier) return t->ops->barrier(t, 0, p->device, &p->err);
    if (t->ops->sum(t, 0, p->device, p->sums, VALUES, &p->err) != 0) return -1;
    return t->ops->reduce(t, 0, p->device, &run, 1, &p->loss, &p->err);
}

static void *take_part(void *argument)
{
    Part   *p = argument;
    Device *memory;

    if (device_open(&memory, p->spec, p->device, &p->err) != 0) { p->rc = -1; return NULL; }
    p->rc = work(p, memory);
    if (p->rc != 0) p->transport->ops->stop(p->transport);       /* as a worker does */
    nanosleep(&(struct timespec){.tv_nsec = p->pause_ms * 1000000L}, NULL);
    p->transport->ops->leave(p->transport, p->device);
    device_close(memory);
    return NULL;
}

static void together(Part *parts, Failing *failing, int64_t limit_ms, bool only_barrier)
{
    Plan      *plan = data_parallel(MEMBERS);
    Program   *program = spell_out(plan);
    size_t     messages[1] = {0};
    DeviceSpec spec;
    pthread_t  threads[MEMBERS];
    Error      err = {""};

    async_gpus(&spec, MEMBERS);
    NcclOptions options = {
        {.program = program, .message_count = messages, .queue_depth = 2, .devices = &spec},
        0,
        limit_ms,
        note_failure,
        failing};
    if (nccl_new(&failing->transport, &options, &err) != 0) fail_msg("%s", err.text);
    for (int d = 0; d < MEMBERS; d++) {
        parts[d].transport = failing->transport;
        parts[d].spec = &spec;
        parts[d].device = d;
        parts[d].only_barrier = only_barrier;
        assert_int_equal(pthread_create(&threads[d], NULL, take_part, &parts[d]), 0);
    }
    for (int d = 0; d < MEMBERS; d++) pthread_join(threads[d], NULL);
    failing->transport->ops->free(failing->transport);
    program_free(program);
    plan_free(plan);
    assert_int_equal(nccl_fake.comms, 0);
}

static Part *new_parts(void)
{
    Part *parts = calloc(MEMBERS, sizeof *parts);

    assert_non_null(parts);
    for (int d = 0; d < MEMBERS; d++) {
        parts[d].values = malloc(FLOATS * sizeof *parts[d].values);
        assert_non_null(parts[d].values);
        for (int i = 0; i < FLOATS; i++) parts[d].values[i] = (float)addend(d, i);
        for (int i = 0; i < VALUES; i++) parts[d].sums[i] = addend(d, i);
        parts[d].loss = d + 0.5;
    }
    return parts;
}

static void free_parts(Part *parts)
{
    for (int d = 0; d < MEMBERS; d++) free(parts[d].values);
    free(parts);
}

/* More than a piece, not a multiple of the members: each sum in the order of the members. */
static void sums_are_in_the_order_of_the_members(void **state)
{
    Part   *parts = new_parts();
    Failing failing = {0};

    (void)state;
    fake_reset();
    together(parts, &failing, 60000, false);
    for (int d = 0; d < MEMBERS; d++) {
        if (parts[d].rc != 0) fail_msg("%s", parts[d].err.text);
        assert_true(parts[d].loss == 0.5 + 1.5 + 2.5);
        for (int i = 0; i < VALUES; i++)
            assert_true(parts[d].sums[i] == addend(0, i) + addend(1, i) + addend(2, i));
        for (int i = 0; i < FLOATS; i++) {
            float sum = (float)addend(0, i) + (float)addend(1, i);
            sum += (float)addend(2, i);
            if (parts[d].values[i] != sum) fail_msg("value %d of device %d", i, d);
        }
    }
    assert_int_equal(atomic_load(&failing.failures), 0);
    free_parts(parts);
}

static int failed_parts(const Part *parts, const char *expected)
{
    int failed = 0;

    for (int d = 0; d < MEMBERS; d++)
        failed += parts[d].rc != 0 && strstr(parts[d].err.text, expected) != NULL;
    return failed;
}

/* What is lost is waited for no longer than the limit, and all are told. */
static void what_is_lost_ends_the_run(void **state)
{
    Part   *parts = new_parts();
    Failing failing = {0};

    (void)state;
    fake_reset();
    nccl_fake.lose = 5;
    together(parts, &failing, 200, true);
    assert_true(failed_parts(parts, "nccl: the group of 3 from device 0 to device 2: ") >= 1);
    assert_true(failed_parts(parts, "nothing has come or gone for 0.2 s") >= 1);
    fake_reset();
    free_parts(parts);
}

/* A GPU on which nothing passes: the thread that looks tells it. Where a busy machine makes a
 * member wait longer than the limit the member says so itself; then once more. */
static void a_gpu_that_hangs_is_told(void **state)
{
    Part   *parts = new_parts();
    Failing failing = {0};

    (void)state;
    for (int d = 0; d < MEMBERS; d++) parts[d].pause_ms = 300;
    for (int round = 0; round < 20 && atomic_load(&failing.failures) == 0; round++) {
        fake_reset();
        atomic_store(&at_once.never_done, true);
        failing = (Failing){0};
        together(parts, &failing, 100, true);
    }
    assert_int_equal(atomic_load(&failing.failures), 1);
    assert_string_equal(
        failing.failure.text,
        "nccl: the group of 3 from device 0 to device 2: nothing has come or gone for 0.1 s");
    free_parts(parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(students_are_those_of_the_cpu),
        cmocka_unit_test(a_peer_that_fails_is_named),
        cmocka_unit_test(a_gpu_is_taken_once),
        cmocka_unit_test(sums_are_in_the_order_of_the_members),
        cmocka_unit_test(what_is_lost_ends_the_run),
        cmocka_unit_test(a_gpu_that_hangs_is_told),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
