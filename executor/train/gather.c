/* What a rank sends: numbers and structures as they lie in memory (all ranks run the same
 * program on the same kind of machine, which the tools check):
 *
 *     bool stopped
 *     each device here:  peak_bytes | phase_count | each phase: PhaseTimes, step_end_ns[steps]
 *                        | span_count | each span: FlatSpan
 *     core time count | each: CoreTime
 *     student count | each student that was trained here: number, where it ended, loss
 *     these students, as a safetensors file */
#include "executor/train/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/checkpoint/checkpoint.h"
#include "executor/checkpoint/state.h"
#include "executor/net/world.h"

/* A span whose instruction is named by its place: code of a device, or -1 of the shared queue. */
typedef struct { Span span; int code, index; } FlatSpan;

typedef struct { int student; int64_t ended; double loss; } FlatStudent;

/* ---- packing ----------------------------------------------------------------------- */

static void put(Text *out, const void *bytes, size_t size) { text_append_bytes(out, bytes, size); }

static bool is_in(const Code *code, const Instruction *in, int *index)
{
    uintptr_t first = (uintptr_t)code->code, at = (uintptr_t)in;

    if (at < first || at >= first + (size_t)code->code_count * sizeof *in) return false;
    *index = (int)((at - first) / sizeof *in);
    return true;
}

/* Most often of the span's own device; of a message that was received, the sender's. */
static FlatSpan flatten(const Program *program, const Span *span)
{
    FlatSpan flat;

    memset(&flat, 0, sizeof flat);
    flat.span = *span;
    flat.code = span->device;
    if (is_in(&program->devices[span->device], span->instruction, &flat.index)) return flat;
    flat.code = -1;
    if (is_in(&program->queue, span->instruction, &flat.index)) return flat;
    for (flat.code = 0; !is_in(&program->devices[flat.code], span->instruction, &flat.index);
         flat.code++) {}
    return flat;
}

static void pack_device(Text *out, const Run *run, const Recorder *r)
{
    put(out, &run->peak_bytes[r->device], sizeof *run->peak_bytes);
    put(out, &r->phase_count, sizeof r->phase_count);
    for (int p = 0; p < r->phase_count; p++) {
        put(out, &r->phases[p], sizeof r->phases[p]);
        put(out, r->phases[p].step_end_ns,
            (size_t)r->phases[p].steps * sizeof *r->phases[p].step_end_ns);
    }
    put(out, &r->span_count, sizeof r->span_count);
    for (int64_t i = 0; i < r->span_count; i++) {
        FlatSpan flat = flatten(run->x->program, &r->spans[i]);
        put(out, &flat, sizeof flat);
    }
}

static void pack_core_times(Text *out, const CoreTimes *times)
{
    put(out, &times->count, sizeof times->count);
    for (int i = 0; i < times->count; i++) put(out, &times->list[i], sizeof *times->list);
}

static int pack_students(Text *out, const Run *run, Error *err)
{
    const Workload *workload = run->x->workload;
    const Tensors  *all = run->x->student;
    Tensors        *here;
    char            key[STATE_KEY_BYTES];
    int             rc = tensors_new(&here, err);

    for (int i = 0; rc == 0 && i < tensors_count(all); i++) {
        const Tensor *tensor = tensors_at(all, i);
        int           number = state_student(workload, tensor->name);
        if (number >= 0 && run->trained[number]) rc = tensors_put_one(here, tensor, err);
    }
    for (int k = 0; rc == 0 && k < workload_students(workload); k++) {
        state_step_key(key, workload_student(workload, k));
        if (run->trained[k]) rc = tensors_set_note(here, key, tensors_note(all, key), err);
    }
    if (rc == 0) rc = tensors_bytes(here, out, err);
    tensors_free(here);
    return rc;
}

static int pack(Text *out, const Run *run, const Recorder *recorders, bool stopped, Error *err)
{
    int students = 0, count = program_student_count(run->x->program);

    put(out, &stopped, sizeof stopped);
    for (int d = 0; d < run->x->program->device_count; d++)
        if (world_has_device(run->x->world, d)) pack_device(out, run, &recorders[d]);
    pack_core_times(out, &run->core_times);
    for (int k = 0; k < count; k++) students += run->trained[k];
    put(out, &students, sizeof students);
    for (int k = 0; k < count; k++) {
        FlatStudent flat;
        memset(&flat, 0, sizeof flat);
        flat.student = k;
        flat.ended = run->ended[k];
        flat.loss = run->loss[k];
        if (run->trained[k]) put(out, &flat, sizeof flat);
    }
    if (text_failed(out)) return error_no_memory(err);
    return students ? pack_students(out, run, err) : 0;
}

/* ---- unpacking ------------------------------------------------------------------------ */

typedef struct {
    const char *at, *end;
    bool        failed;      /* too short */
} ResultReader;

static void get(ResultReader *r, void *out, size_t size)
{
    if ((size_t)(r->end - r->at) < size) r->failed = true;
    if (r->failed) { memset(out, 0, size); return; }
    memcpy(out, r->at, size);
    r->at += size;
}

static int unpack_phase(ResultReader *in, Recorder *r, int64_t offset_ns)
{
    PhaseTimes *times = &r->phases[r->phase_count];

    get(in, times, sizeof *times);
    times->start_ns += offset_ns;
    times->step_end_ns =
        in->failed ? NULL : calloc((size_t)times->steps + 1, sizeof *times->step_end_ns);
    if (!times->step_end_ns) return -1;
    r->phase_count++;
    get(in, times->step_end_ns, (size_t)times->steps * sizeof *times->step_end_ns);
    for (int64_t s = 0; s < times->steps; s++) times->step_end_ns[s] += offset_ns;
    return 0;
}

static int unpack_spans(ResultReader *in, Recorder *r, const Program *program, int64_t offset_ns)
{
    int64_t count;

    get(in, &count, sizeof count);
    r->spans = in->failed ? NULL : calloc((size_t)count + 1, sizeof *r->spans);
    if (!r->spans) return -1;
    r->span_count = r->span_capacity = count;
    for (int64_t i = 0; i < count; i++) {
        FlatSpan    flat;
        const Code *code;
        get(in, &flat, sizeof flat);
        code = flat.code < 0 ? &program->queue : &program->devices[flat.code];
        r->spans[i] = flat.span;
        r->spans[i].instruction = &code->code[flat.index];
        r->spans[i].start_ns += offset_ns;
        r->spans[i].end_ns += offset_ns;
    }
    return 0;
}

static int unpack_device(ResultReader *in, Run *run, Recorder *r, int device, int64_t offset_ns)
{
    int phases;

    *r = (Recorder){.device = device};
    get(in, &run->peak_bytes[device], sizeof *run->peak_bytes);
    get(in, &phases, sizeof phases);
    r->phases = in->failed ? NULL : calloc((size_t)phases + 1, sizeof *r->phases);
    if (!r->phases) return -1;
    r->phase_capacity = phases;
    for (int p = 0; p < phases; p++)
        if (unpack_phase(in, r, offset_ns) != 0) return -1;
    return unpack_spans(in, r, run->x->program, offset_ns);
}

static void unpack_core_times(ResultReader *in, CoreTimes *times)
{
    int count;

    get(in, &count, sizeof count);
    for (int i = 0; i < count && !in->failed; i++) {
        CoreTime time;
        get(in, &time, sizeof time);
        core_times_merge(times, &time, 1);
    }
}

static int unpack_students(ResultReader *in, Run *run, Error *err)
{
    int      count;
    Tensors *students;

    get(in, &count, sizeof count);
    for (int i = 0; i < count && !in->failed; i++) {
        FlatStudent flat;
        get(in, &flat, sizeof flat);
        run->ended[flat.student] = flat.ended;
        run->loss[flat.student] = flat.loss;
    }
    if (in->failed) return error_set(err, "a rank's results are cut off");
    if (count == 0) return 0;
    if (tensors_parse(&students, "a rank's students", in->at, (size_t)(in->end - in->at), err) != 0)
        return -1;
    int rc = tensors_put(run->x->student, students, err);
    tensors_free(students);
    return rc;
}

static int unpack(const Text *text, Run *run, Recorder *recorders, int rank, bool *stopped,
                  Error *err)
{
    ResultReader  in = {text_string(text), text_string(text) + text->length, false};
    int64_t offset_ns = world_clock_offset_ns(run->x->world, rank);
    bool    theirs;

    get(&in, &theirs, sizeof theirs);
    *stopped |= theirs;
    for (int d = 0; d < run->x->program->device_count; d++)
        if (world_rank_of(run->x->world, d) == rank
            && unpack_device(&in, run, &recorders[d], d, offset_ns) != 0)
            return in.failed ? error_set(err, "rank %d's results are cut off", rank)
                             : error_no_memory(err);
    unpack_core_times(&in, &run->core_times);
    return unpack_students(&in, run, err);
}

/* ---- delivering -------------------------------------------------------------------------- */

int gather_results(Run *run, Recorder *recorders, bool *stopped, Error *err)
{
    World *world = run->x->world;
    int    size = world_size(world), rc = -1;
    Text   mine = {0}, *theirs = NULL;

    if (size == 1) return 0;
    theirs = calloc((size_t)size, sizeof *theirs);
    if (!theirs) { error_no_memory(err); goto done; }
    if (world_rank(world) != 0 && pack(&mine, run, recorders, *stopped, err) != 0) goto done;
    if (world_gather_texts(world, theirs, &mine, err) != 0) goto done;
    for (int r = 1; r < size && world_rank(world) == 0; r++) {
        if (unpack(&theirs[r], run, recorders, r, stopped, err) != 0) goto done;
        text_free(&theirs[r]);
    }
    rc = 0;
done:
    rc = world_agree(world, rc, err);
    if (rc == 0) rc = world_broadcast(world, stopped, sizeof *stopped, err);
    for (int r = 0; theirs && r < size; r++) text_free(&theirs[r]);
    free(theirs);
    text_free(&mine);
    return rc;
}
