/* The public interface (include/pipebd.h) over the planner. Nothing is computed here:
 * arguments are checked, objects wrapped, errors handed over.
 *
 * Calls run in the "C" locale of their own thread, so that numbers are read and written
 * with a point whatever locale the program has chosen. */
#include "include/pipebd.h"

#include <assert.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "planner/report/report.h"
#include "planner/ls/tasks.h"

struct pipebd_trace {
    Trace *trace;                /* owned */
};

struct pipebd_plan {
    const Plan   *plan;          /* borrowed; or owned ... */
    Plan         *owned;         /* ... and then the same */
    pipebd_stage *stages;        /* owned; its arrays are the plan's */
};

/* The face comes first: users hold a pointer to it. */
typedef struct {
    pipebd_prediction face;
    const Candidate  *row;       /* of the comparison, or own */
    Candidate         own;
    pipebd_plan       plan;
} PublicPrediction;

struct pipebd_comparison {
    Scenario   scenario;
    Comparison comparison;
    PublicPrediction predictions[SCHEDULE_COUNT];
};

static_assert((int)PIPEBD_STORE == (int)SCHEDULE_STORE && SCHEDULE_COUNT == PIPEBD_STORE + 1,
              "schedules");
static_assert((int)PIPEBD_SHARE_STORAGE == (int)SHARE_STORAGE
                  && SHARE_COUNT == PIPEBD_SHARE_STORAGE + 1,
              "shares");
static_assert((int)PIPEBD_COST_PAPER == (int)COST_PAPER && (int)PIPEBD_COST_SIM == (int)COST_SIM,
              "costs");
static_assert((int)PIPEBD_JSON == (int)REPORT_JSON, "formats");
static_assert((int)PIPEBD_LS_STEALING == (int)LS_STEALING && PIPEBD_LS_STEALING + 1 == LS_COUNT,
              "lists");
static_assert(sizeof(pipebd_error) == sizeof(Error), "errors");

/* ---- a call -------------------------------------------------------------------------- */

typedef struct {
    locale_t previous;
    Error    err;
} Call;

static void call_begin(Call *call)
{
    call->err.text[0] = '\0';
    /* static, never fails */
    call->previous = uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

/* Hands the message over; returns rc. */
static int call_end(Call *call, int rc, pipebd_error *error)
{
    uselocale(call->previous);
    if (!error) return rc;
    memcpy(error->text, rc == 0 ? "" : call->err.text, rc == 0 ? 1 : sizeof error->text);
    return rc;
}

/* 0 when no argument is NULL; names are those of the pointers, separated by spaces. */
static int check_pointers(const void *const *pointers, const char *names, Error *err)
{
    for (; *names; pointers++) {
        size_t length = strcspn(names, " ");
        if (!*pointers) return error_set(err, "%.*s is NULL", (int)length, names);
        names += length + (names[length] == ' ');
    }
    return 0;
}

#define CHECK(names, err, ...) check_pointers((const void *const[]){__VA_ARGS__}, names, err)

/* text into *out, which becomes the user's. */
static int hand_over(char **out, Text *text, Error *err)
{
    text_append(text, "");                       /* an empty one has no bytes yet */
    if (text_failed(text)) return error_no_memory(err);
    *out = text->bytes;
    *text = (Text){0};
    return 0;
}

const char *pipebd_version(void) { return PIPEBD_VERSION; }

void pipebd_text_free(char *text) { free(text); }

/* ---- names --------------------------------------------------------------------------- */

int pipebd_schedule_count(void) { return SCHEDULE_COUNT; }

const char *pipebd_schedule_name(pipebd_schedule schedule)
{
    return (unsigned)schedule < SCHEDULE_COUNT ? schedule_name((Schedule)schedule) : "";
}

int pipebd_share_count(void) { return SHARE_COUNT; }

const char *pipebd_share_name(pipebd_share share)
{
    return (unsigned)share < SHARE_COUNT ? share_name((TimeShare)share) : "";
}

/* ---- traces -------------------------------------------------------------------------- */

static int wrap_trace(pipebd_trace **out, Trace *trace, Error *err)
{
    *out = malloc(sizeof **out);
    if (!*out) { trace_free(trace); return error_no_memory(err); }
    (*out)->trace = trace;
    return 0;
}

int pipebd_trace_read(pipebd_trace **out, const char *path, pipebd_error *error)
{
    Call   call;
    Trace *trace = NULL;

    call_begin(&call);
    if (out) *out = NULL;
    int rc = CHECK("out path", &call.err, out, path);
    if (rc == 0) rc = trace_read(&trace, path, &call.err);
    if (rc == 0) rc = wrap_trace(out, trace, &call.err);
    return call_end(&call, rc, error);
}

int pipebd_trace_parse(pipebd_trace **out, const char *name, const char *text, size_t length,
                       pipebd_error *error)
{
    Call   call;
    Trace *trace = NULL;

    call_begin(&call);
    if (out) *out = NULL;
    int rc = CHECK("out name text", &call.err, out, name, text);
    if (rc == 0) rc = trace_parse(&trace, name, text, length, &call.err);
    if (rc == 0) rc = wrap_trace(out, trace, &call.err);
    return call_end(&call, rc, error);
}

int pipebd_trace_text(const pipebd_trace *trace, char **out, pipebd_error *error)
{
    Call call;
    Text text = {0};

    call_begin(&call);
    if (out) *out = NULL;
    int rc = CHECK("trace out", &call.err, trace, out);
    if (rc == 0) {
        trace_text(trace->trace, &text);
        rc = hand_over(out, &text, &call.err);
    }
    text_free(&text);
    return call_end(&call, rc, error);
}

int pipebd_trace_write(const pipebd_trace *trace, const char *path, pipebd_error *error)
{
    Call call;
    Text text = {0};

    call_begin(&call);
    int rc = CHECK("trace path", &call.err, trace, path);
    if (rc == 0) {
        trace_text(trace->trace, &text);
        rc = text_failed(&text) ? error_no_memory(&call.err)
                                : file_write(path, text_string(&text), text.length, &call.err);
    }
    text_free(&text);
    return call_end(&call, rc, error);
}

void pipebd_trace_free(pipebd_trace *trace)
{
    if (trace) trace_free(trace->trace);
    free(trace);
}

const char *pipebd_trace_name(const pipebd_trace *trace) { return trace ? trace->trace->name : ""; }
int         pipebd_trace_block_count(const pipebd_trace *trace)
{
    return trace ? trace->trace->block_count : 0;
}
int pipebd_trace_device_count(const pipebd_trace *trace)
{
    return trace ? trace_device_count(trace->trace) : 0;
}
int64_t pipebd_trace_batch(const pipebd_trace *trace) { return trace ? trace->trace->batch : 0; }
int64_t pipebd_trace_samples(const pipebd_trace *trace)
{
    return trace ? trace->trace->samples : 0;
}

const char *pipebd_trace_block_name(const pipebd_trace *trace, int block)
{
    bool there = trace && block >= 0 && block < trace->trace->block_count;

    return there ? trace->trace->blocks[block].name : "";
}

/* ---- options ------------------------------------------------------------------------- */

/* Structs of this size came with the first version; no user has a smaller one. */
enum { FIRST_OPTIONS_SIZE = 11 * 8 };

/* What any version's struct says, in this version's. */
static int copy_options(pipebd_options *out, const pipebd_options *given, Error *err)
{
    const unsigned char *bytes = (const unsigned char *)given;

    *out = (pipebd_options)PIPEBD_OPTIONS_INIT;
    if (!given) return 0;
    if (given->size < FIRST_OPTIONS_SIZE || given->size > 4096)
        return error_set(err,
                         "options.size is %" PRIu64 ", expected sizeof(pipebd_options): start from "
                         "PIPEBD_OPTIONS_INIT",
                         given->size);
    for (size_t i = sizeof *out; i < given->size; i++)
        if (bytes[i])
            return error_set(err, "options has a value at byte %zu, which libpipebd " PIPEBD_VERSION
                             " does not know: a newer library is needed", i);
    memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
    return 0;
}

static int check_options(const pipebd_options *o, Error *err)
{
    const struct { const char *name; int64_t value, maximum; } ranges[] = {
        {"devices", o->devices, TRACE_MAX_DEVICES},   {"batch", o->batch, (int64_t)1 << 31},
        {"steps", o->steps, (int64_t)1 << 40},        {"memory_bytes", o->memory_bytes, INT64_MAX},
        {"queue_depth", o->queue_depth, 1024},        {"extrapolate", o->extrapolate, 1},
        {"cost", o->cost, PIPEBD_COST_PAPER},         {"candidates", o->candidates, 4096},
        {"time_limit_ms", o->time_limit_ms, 3600000}, {"ls", o->ls, LS_COUNT - 1},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < 0 || ranges[i].value > ranges[i].maximum)
            return error_set(err, "options.%s is %" PRId64 ", expected 0 to %" PRId64,
                             ranges[i].name, ranges[i].value, ranges[i].maximum);
    if (o->schedules >> SCHEDULE_COUNT)
        return error_set(err, "options.schedules is 0x%" PRIx64 ", expected bits 1 << PIPEBD_DP to "
                         "1 << PIPEBD_STORE", o->schedules);
    return 0;
}

static int read_options(pipebd_options *out, const pipebd_options *given, Error *err)
{
    if (copy_options(out, given, err) != 0 || check_options(out, err) != 0) return -1;
    if (!out->queue_depth) out->queue_depth = 2;
    if (!out->candidates) out->candidates = 8;
    if (!out->schedules) out->schedules = schedules_usual();
    return 0;
}

static int build_scenario(Scenario *out, const pipebd_trace *trace, const pipebd_options *o,
                          Error *err)
{
    ScenarioOptions options = {.devices = o->devices, .batch = o->batch,
                               .memory_bytes = o->memory_bytes, .steps = o->steps,
                               .queue_depth = o->queue_depth, .extrapolate = o->extrapolate};

    return scenario_build(out, trace->trace, &options, err);
}

/* ---- plans --------------------------------------------------------------------------- */

/* Only stages is made; it is all that clear_plan() has to free beside an owned plan. */
static int fill_plan(pipebd_plan *out, const Plan *plan, Error *err)
{
    out->plan = plan;
    out->stages = calloc((size_t)plan->stage_count, sizeof *out->stages);
    if (!out->stages) return error_no_memory(err);
    for (int i = 0; i < plan->stage_count; i++) {
        const Stage *s = &plan->stages[i];
        out->stages[i] = (pipebd_stage){s->first, s->last, s->width, s->devices, s->rows};
    }
    return 0;
}

static void clear_plan(pipebd_plan *plan)
{
    plan_free(plan->owned);
    free(plan->stages);
}

/* Takes plan over. */
static int wrap_plan(pipebd_plan **out, Plan *plan, Error *err)
{
    pipebd_plan *wrapped = calloc(1, sizeof *wrapped);

    if (!wrapped) { plan_free(plan); return error_no_memory(err); }
    wrapped->owned = plan;
    if (fill_plan(wrapped, plan, err) != 0) { pipebd_plan_free(wrapped); return -1; }
    *out = wrapped;
    return 0;
}

int pipebd_plan_read(pipebd_plan **out, const char *path, pipebd_error *error)
{
    Call  call;
    Plan *plan = NULL;

    call_begin(&call);
    if (out) *out = NULL;
    int rc = CHECK("out path", &call.err, out, path);
    if (rc == 0) rc = plan_read(&plan, path, &call.err);
    if (rc == 0) rc = wrap_plan(out, plan, &call.err);
    return call_end(&call, rc, error);
}

int pipebd_plan_parse(pipebd_plan **out, const char *name, const char *text, size_t length,
                      pipebd_error *error)
{
    Call  call;
    Plan *plan = NULL;

    call_begin(&call);
    if (out) *out = NULL;
    int rc = CHECK("out name text", &call.err, out, name, text);
    if (rc == 0) rc = plan_parse(&plan, name, text, length, &call.err);
    if (rc == 0) rc = wrap_plan(out, plan, &call.err);
    return call_end(&call, rc, error);
}

int pipebd_plan_write(const pipebd_plan *plan, const char *path, pipebd_error *error)
{
    Call call;

    call_begin(&call);
    int rc = CHECK("plan path", &call.err, plan, path);
    if (rc == 0) rc = plan_write(plan->plan, path, &call.err);
    return call_end(&call, rc, error);
}

int pipebd_plan_text(const pipebd_plan *plan, char **out, pipebd_error *error)
{
    Call call;
    Text text = {0};

    call_begin(&call);
    if (out) *out = NULL;
    int rc = CHECK("plan out", &call.err, plan, out);
    if (rc == 0) {
        plan_text(plan->plan, &text);
        rc = hand_over(out, &text, &call.err);
    }
    text_free(&text);
    return call_end(&call, rc, error);
}

void pipebd_plan_free(pipebd_plan *plan)
{
    if (plan) clear_plan(plan);
    free(plan);
}

pipebd_schedule pipebd_plan_schedule(const pipebd_plan *plan)
{
    return plan ? (pipebd_schedule)plan->plan->schedule : PIPEBD_DP;
}

int pipebd_plan_stage_count(const pipebd_plan *plan)  { return plan ? plan->plan->stage_count : 0; }
int pipebd_plan_device_count(const pipebd_plan *plan)
{
    return plan ? plan->plan->device_count : 0;
}
int64_t pipebd_plan_batch(const pipebd_plan *plan)    { return plan ? plan->plan->batch : 0; }

const pipebd_stage *pipebd_plan_stage(const pipebd_plan *plan, int stage)
{
    return plan && stage >= 0 && stage < plan->plan->stage_count ? &plan->stages[stage] : NULL;
}

/* ---- predictions --------------------------------------------------------------------- */

/* dp_epoch_ns 0: not known. row stays where it is for as long as out lives. */
static int fill_prediction(PublicPrediction *out, const Candidate *row, int64_t dp_epoch_ns,
                           Error *err)
{
    pipebd_prediction *face = &out->face;

    out->row = row;
    face->why = row->why;
    face->method = row->method;
    if (!row->plan) return 0;
    if (fill_plan(&out->plan, row->plan, err) != 0) return -1;
    face->plan = &out->plan;
    face->why = "";
    face->epoch_ns = row->sim.epoch_ns;
    face->step_ns = row->plan->step_ns;
    face->steps = row->sim.steps;
    face->speedup = row->sim.epoch_ns ? (double)dp_epoch_ns / (double)row->sim.epoch_ns : 0;
    face->utilisation = row->sim.utilisation;
    face->teacher_work = row->sim.teacher_work;
    face->loads = row->sim.loads;
    face->peak_memory_bytes = row->peak.total_bytes;
    face->peak_memory_device = row->peak_device;
    face->device_count = row->sim.device_count;
    face->estimated = row->sim.estimated;
    face->least_ns = row->sim.least_ns;
    face->most_ns = row->sim.most_ns;
    return 0;
}

/* The row behind a prediction when it knows device; NULL otherwise. */
static const Candidate *row_with(const pipebd_prediction *prediction, int device)
{
    bool there = prediction && device >= 0 && device < prediction->device_count;

    return there ? ((const PublicPrediction *)(const void *)prediction)->row : NULL;
}

int64_t pipebd_prediction_share_ns(const pipebd_prediction *prediction, int device,
                                   pipebd_share share)
{
    const Candidate *row = row_with(prediction, device);

    return row && (unsigned)share < SHARE_COUNT ? row->sim.shares[device][share] : -1;
}

int64_t pipebd_prediction_memory_bytes(const pipebd_prediction *prediction, int device)
{
    const Candidate *row = row_with(prediction, device);

    return row ? row->memory[device].total_bytes : -1;
}

/* Sets devices and batch to the plan's, where options leave them open. */
static int suit_plan(pipebd_options *o, const Plan *plan, const Trace *trace, Error *err)
{
    if (plan->block_count != trace->block_count)
        return error_set(err, "the plan is for %d blocks, expected %d as in the trace",
                         plan->block_count, trace->block_count);
    if (o->devices && o->devices != plan->device_count)
        return error_set(err, "options.devices is %" PRId64 ", but the plan is for %d", o->devices,
                         plan->device_count);
    if (o->batch && o->batch != plan->batch)
        return error_set(err, "options.batch is %" PRId64 ", but the plan's is %" PRId64, o->batch,
                         plan->batch);
    o->devices = plan->device_count;
    o->batch = plan->batch;
    return 0;
}

static int price(PublicPrediction *out, const Plan *plan, const Scenario *scenario, Error *err)
{
    Plan *copy;

    if (plan_copy(&copy, plan, err) != 0) return -1;
    if (candidate_price(&out->own, copy, scenario, err) != 0) return -1;
    if (!out->own.plan) return error_set(err, "%s", out->own.why);
    strcpy(out->own.method, "as given");
    return fill_prediction(out, &out->own, 0, err);
}

int pipebd_price(pipebd_prediction **out, const pipebd_trace *trace, const pipebd_plan *plan,
                 const pipebd_options *options, pipebd_error *error)
{
    Call           call;
    pipebd_options o;
    Scenario       scenario = {0};
    PublicPrediction    *prediction = NULL;
    int            rc = -1;

    call_begin(&call);
    if (out) *out = NULL;
    if (CHECK("out trace plan", &call.err, out, trace, plan) != 0) goto done;
    if (read_options(&o, options, &call.err) != 0) goto done;
    if (suit_plan(&o, plan->plan, trace->trace, &call.err) != 0) goto done;
    if (build_scenario(&scenario, trace, &o, &call.err) != 0) goto done;
    prediction = calloc(1, sizeof *prediction);
    if (!prediction) { error_no_memory(&call.err); goto done; }
    if (price(prediction, plan->plan, &scenario, &call.err) != 0) goto done;
    *out = &prediction->face;
    prediction = NULL;
    rc = 0;
done:
    scenario_free(&scenario);
    if (prediction) pipebd_prediction_free(&prediction->face);
    return call_end(&call, rc, error);
}

void pipebd_prediction_free(pipebd_prediction *prediction)
{
    PublicPrediction *p = (PublicPrediction *)(void *)prediction;

    if (!p) return;
    clear_plan(&p->plan);
    candidate_free(&p->own);
    free(p);
}

/* ---- comparisons --------------------------------------------------------------------- */

static int compare_all(pipebd_comparison *c, const pipebd_trace *trace, const pipebd_options *o,
                       Error *err)
{
    CompareOptions options = {.schedules = (unsigned)o->schedules, .cost = (CostKind)o->cost,
                              .candidates = (int)o->candidates, .time_limit_ms = o->time_limit_ms,
                              .ls = (LsMethod)o->ls};
    const Candidate *dp = &c->comparison.rows[SCHEDULE_DP];

    if (build_scenario(&c->scenario, trace, o, err) != 0) return -1;
    if (compare(&c->comparison, &c->scenario, &options, err) != 0) return -1;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!(o->schedules & 1u << i)) continue;
        if (fill_prediction(&c->predictions[i], &c->comparison.rows[i],
                            dp->plan ? dp->sim.epoch_ns : 0, err)
            != 0)
            return -1;
    }
    return 0;
}

int pipebd_compare(pipebd_comparison **out, const pipebd_trace *trace,
                   const pipebd_options *options, pipebd_error *error)
{
    Call               call;
    pipebd_options     o;
    pipebd_comparison *c = NULL;
    int                rc = -1;

    call_begin(&call);
    if (out) *out = NULL;
    if (CHECK("out trace", &call.err, out, trace) != 0) goto done;
    if (read_options(&o, options, &call.err) != 0) goto done;
    c = calloc(1, sizeof *c);
    if (!c) { error_no_memory(&call.err); goto done; }
    if (compare_all(c, trace, &o, &call.err) != 0) goto done;
    *out = c;
    c = NULL;
    rc = 0;
done:
    pipebd_comparison_free(c);
    return call_end(&call, rc, error);
}

void pipebd_comparison_free(pipebd_comparison *c)
{
    if (!c) return;
    for (int i = 0; i < SCHEDULE_COUNT; i++) clear_plan(&c->predictions[i].plan);
    comparison_free(&c->comparison);
    scenario_free(&c->scenario);
    free(c);
}

const pipebd_prediction *pipebd_comparison_prediction(const pipebd_comparison *c,
                                                      pipebd_schedule          schedule)
{
    bool there = c && (unsigned)schedule < SCHEDULE_COUNT && c->predictions[schedule].row;

    return there ? &c->predictions[schedule].face : NULL;
}

const pipebd_prediction *pipebd_comparison_best(const pipebd_comparison *c)
{
    return c ? &c->predictions[c->comparison.best].face : NULL;
}

int64_t pipebd_comparison_bound_ns(const pipebd_comparison *c)
{
    return c ? c->comparison.bound_ns : 0;
}

int pipebd_comparison_report(const pipebd_comparison *c, pipebd_format format, char **out,
                             pipebd_error *error)
{
    Call call;
    Text text = {0};

    call_begin(&call);
    if (out) *out = NULL;
    int rc = CHECK("comparison out", &call.err, c, out);
    if (rc == 0 && (unsigned)format > PIPEBD_JSON)
        rc = error_set(&call.err, "format is %d, expected PIPEBD_TABLE, PIPEBD_CSV or PIPEBD_JSON",
                       (int)format);
    if (rc == 0) rc = report(&c->comparison, &c->scenario, (ReportFormat)format, &text, &call.err);
    if (rc == 0) rc = hand_over(out, &text, &call.err);
    text_free(&text);
    return call_end(&call, rc, error);
}

void pipebd_thread_end(void) { }
