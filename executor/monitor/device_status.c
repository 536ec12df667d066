#include "executor/monitor/device_status.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LINE_BYTES = 64 };

/* One writer; every field is an atomic, so that reading while it writes is no race, only
 * perhaps in vain. Fields are released and acquired: who sees a new one sees the odd version
 * too. Plain moves on common machines. */
typedef struct {
    _Alignas(LINE_BYTES) atomic_uint version;    /* odd while it is written */
    atomic_int   state, stolen, phase, instruction, op;
    atomic_int   counted;            /* the instruction is over, and its times are added */
    atomic_llong step, since_ns;
    atomic_llong steps, own_ns, bytes;
    atomic_llong work_ns[OP_COUNT], wait_ns[OP_COUNT];
    int64_t      counted_ns;         /* of the step that is under way: the writer's alone */
} Record;

struct StatusBoard {
    Record *records;         /* [devices] */
    int     devices;
};

int status_board_new(StatusBoard **out, int devices, Error *err)
{
    StatusBoard *board = calloc(1, sizeof *board);
    size_t       bytes = (size_t)devices * sizeof *board->records;

    *out = NULL;
    if (!board) return error_no_memory(err);
    board->records = aligned_alloc(LINE_BYTES, bytes);
    if (!board->records) { free(board); return error_no_memory(err); }
    for (int d = 0; d < devices; d++) {
        Record *r = &board->records[d];
        atomic_init(&r->version, 0);
        atomic_init(&r->state, DEVICE_ABSENT);
        atomic_init(&r->stolen, false);
        atomic_init(&r->phase, 0);
        atomic_init(&r->instruction, -1);
        atomic_init(&r->op, 0);
        atomic_init(&r->counted, false);
        atomic_init(&r->step, 0);
        atomic_init(&r->since_ns, 0);
        atomic_init(&r->steps, 0);
        atomic_init(&r->own_ns, 0);
        r->counted_ns = 0;
        atomic_init(&r->bytes, 0);
        for (int op = 0; op < OP_COUNT; op++) {
            atomic_init(&r->work_ns[op], 0);
            atomic_init(&r->wait_ns[op], 0);
        }
    }
    board->devices = devices;
    *out = board;
    return 0;
}

void status_board_free(StatusBoard *board)
{
    if (!board) return;
    free(board->records);
    free(board);
}

int status_board_devices(const StatusBoard *board) { return board->devices; }

/* ---- the writer -------------------------------------------------------------- */

#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
/* by the writer */
#define OWN(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define GET(field)        atomic_load_explicit(&(field), memory_order_acquire)

static void begin(Record *r)
{
    PUT(r->version, OWN(r->version) + 1);
}

static void end(Record *r)
{
    PUT(r->version, OWN(r->version) + 1);
}

void status_board_set(StatusBoard *board, int device, const DeviceStatus *status)
{
    Record *r = &board->records[device];

    begin(r);
    PUT(r->state, (int)status->state);
    PUT(r->stolen, status->stolen);
    PUT(r->phase, status->phase);
    PUT(r->instruction, status->instruction);
    PUT(r->op, (int)status->op);
    PUT(r->step, status->step);
    PUT(r->since_ns, status->since_ns);
    PUT(r->counted, false);
    end(r);
}

void status_board_state(StatusBoard *board, int device, DeviceState state, int64_t now_ns)
{
    Record *r = &board->records[device];

    begin(r);
    PUT(r->state, (int)state);
    PUT(r->since_ns, now_ns);
    end(r);
}

void status_board_count(StatusBoard *board, int device, Op op, int64_t wait_ns, int64_t work_ns)
{
    Record *r = &board->records[device];

    begin(r);
    PUT(r->wait_ns[op], OWN(r->wait_ns[op]) + wait_ns);
    PUT(r->work_ns[op], OWN(r->work_ns[op]) + work_ns);
    PUT(r->counted, true);
    r->counted_ns += wait_ns + work_ns;
    end(r);
}

void status_board_step(StatusBoard *board, int device, int64_t inside_ns)
{
    Record *r = &board->records[device];

    begin(r);
    PUT(r->steps, OWN(r->steps) + 1);
    PUT(r->own_ns, OWN(r->own_ns) + inside_ns - r->counted_ns);
    r->counted_ns = 0;
    end(r);
}

void status_board_bytes(StatusBoard *board, int device, int64_t bytes)
{
    Record *r = &board->records[device];

    begin(r);
    PUT(r->bytes, bytes);
    end(r);
}

void status_board_put(StatusBoard *board, int device, const DeviceTimes *times)
{
    Record *r = &board->records[device];

    begin(r);
    PUT(r->state, DEVICE_ELSEWHERE);
    PUT(r->steps, times->steps);
    PUT(r->own_ns, times->own_ns);
    PUT(r->bytes, times->bytes);
    for (int op = 0; op < OP_COUNT; op++) {
        PUT(r->work_ns[op], times->work_ns[op]);
        PUT(r->wait_ns[op], times->wait_ns[op]);
    }
    end(r);
}

/* ---- readers ------------------------------------------------------------------- */

static unsigned read_begin(const Record *r)
{
    unsigned version;

    do version = GET(r->version); while (version & 1);
    return version;
}

static bool read_again(const Record *r, unsigned version) { return GET(r->version) != version; }

DeviceStatus status_board_get(const StatusBoard *board, int device)
{
    const Record *r = &board->records[device];
    DeviceStatus         status;
    unsigned      version;

    do {
        version = read_begin(r);
        status = (DeviceStatus){.state = (DeviceState)GET(r->state), .stolen = GET(r->stolen),
                               .phase = GET(r->phase), .instruction = GET(r->instruction),
                               .op = (Op)GET(r->op), .step = GET(r->step),
                               .since_ns = GET(r->since_ns)};
    } while (read_again(r, version));
    return status;
}

/* Counts the instruction under way. */
static void count_on(DeviceTimes *times, DeviceState state, Op op, int64_t ns)
{
    if (ns <= 0) return;
    if (state == DEVICE_WAITING) times->wait_ns[op] += ns;
    if (state == DEVICE_WORKING) times->work_ns[op] += ns;
}

DeviceTimes status_board_times(const StatusBoard *board, int device, int64_t now_ns)
{
    const Record *r = &board->records[device];
    DeviceTimes    times;
    DeviceState    state;
    Op            in_flight;
    bool          counted;
    int64_t       since_ns;
    unsigned      version;

    do {
        version = read_begin(r);
        times =
            (DeviceTimes){.steps = GET(r->steps), .own_ns = GET(r->own_ns), .bytes = GET(r->bytes)};
        for (int op = 0; op < OP_COUNT; op++) {
            times.work_ns[op] = GET(r->work_ns[op]);
            times.wait_ns[op] = GET(r->wait_ns[op]);
        }
        counted = GET(r->counted);
        state = (DeviceState)GET(r->state);
        in_flight = (Op)GET(r->op);
        since_ns = GET(r->since_ns);
    } while (read_again(r, version));
    if (now_ns && !counted) count_on(&times, state, in_flight, now_ns - since_ns);
    return times;
}

static int64_t counted_ns(const DeviceTimes *times)
{
    int64_t ns = times->own_ns;

    for (int op = 0; op < OP_COUNT; op++) ns += times->work_ns[op] + times->wait_ns[op];
    return ns;
}

int64_t status_board_passed_ns(const StatusBoard *board, int device, const DeviceTimes *before,
                               const DeviceTimes *now, int64_t ns)
{
    return status_board_get(board, device).state == DEVICE_ELSEWHERE
               ? counted_ns(now) - counted_ns(before)
               : ns;
}

/* ---- in words -------------------------------------------------------------------- */

static const char *doing(DeviceState state)
{
    switch (state) {
    case DEVICE_STARTING: return "setting up";
    case DEVICE_WORKING:  return "working";
    case DEVICE_WAITING:  return "waiting";
    case DEVICE_DONE:     return "done";
    case DEVICE_FAILED:   return "failed";
    case DEVICE_ELSEWHERE: return "of another process";
    default:             return "not heard of: not started, or of another process";
    }
}

static bool is_here(DeviceState state)
{
    return state != DEVICE_ABSENT && state != DEVICE_ELSEWHERE;
}

void device_status_text(const DeviceStatus *status, const Program *program, int device,
                        int64_t now_ns, Text *out)
{
    const Code *code = status->stolen ? &program->queue : &program->devices[device];
    double      seconds = (double)(now_ns - status->since_ns) / 1e9;
    char        text[160];

    text_printf(out, "device %d, ", device);
    if (!is_here(status->state)) { text_append(out, doing(status->state)); return; }
    if (status->state != DEVICE_DONE) {
        if (code->phase_count > 1)
            text_printf(out, "%s %d of %d, ", status->stolen ? "task" : "phase", status->phase,
                        code->phase_count);
        text_printf(out, "step %" PRId64 " of %" PRId64 ", ", status->step, program->steps);
        if (status->instruction >= 0 && status->instruction < code->code_count)
            text_printf(
                out, "%s, ",
                instruction_text(program, &code->code[status->instruction], text, sizeof text));
    }
    text_append(out, doing(status->state));
    text_printf(out, " %.1f s", seconds > 0 ? seconds : 0.0);
}

void status_board_text(const StatusBoard *board, const Program *program, int64_t now_ns, Text *out)
{
    for (int d = 0; d < board->devices; d++) {
        DeviceStatus status = status_board_get(board, d);
        device_status_text(&status, program, d, now_ns, out);
        text_append(out, "\n");
    }
}
