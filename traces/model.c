#include "traces/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/compare.h"
#include "traces/listed_students.h"
#include "traces/model_block.h"
#include "traces/model_memory.h"

/* Devices of a kind as the model sees them. */
typedef struct {
    ModelKind       given;
    const Hardware *whole;
    Hardware        alone, shared;       /* copies: what is below is whole's; of a slice, while
                                          * others rest or compute */
} KindRun;

typedef struct {
    const ModelOptions *options;
    KindRun    *kinds;       /* [kind_count] */
    int         kind_count;
    int64_t     devices;     /* of all kinds */
    Trace      *trace;
    int64_t    *rows;        /* [row_count] ascending */
    int         row_count;
    bool        nvlink, jpeg;
    int64_t     cores, workers;
    ModelConstants constants;
    Error      *err;
} ModelRun;

Numbers model_precision(const Hardware *hardware)
{
    return hardware->flop_per_s[NUMBERS_TF32] > 0 ? NUMBERS_TF32 : NUMBERS_FP32;
}

/* What is longer than a trace can say is refused when it is read back. */
static int64_t ns_of(double us)
{
    return us * 1000 < (double)TRACE_MAX_NS ? llround(us * 1000) : TRACE_MAX_NS + 1000;
}

/* ---- what is chosen ------------------------------------------------------------------ */

static int check_precision(const ModelRun *m, const KindRun *kind)
{
    const Hardware *h = kind->whole;

    if (h->flop_per_s[kind->given.precision] > 0) return 0;
    return error_set(m->err, "%s: no rate for %s in its file, which has:%s%s%s%s", h->name,
                     numbers_names[kind->given.precision],
                     h->flop_per_s[NUMBERS_FP32] > 0 ? " fp32" : "",
                     h->flop_per_s[NUMBERS_TF32] > 0 ? " tf32" : "",
                     h->flop_per_s[NUMBERS_FP16] > 0 ? " fp16" : "",
                     h->flop_per_s[NUMBERS_BF16] > 0 ? " bf16" : "");
}

/* On one machine. */
static int64_t together(const ModelRun *m)
{
    int64_t machine = m->options->machine_devices;

    return machine > 0 && machine < m->devices ? machine : m->devices;
}

/* GPUs on one machine: slices of one are together on it. */
static int64_t gpus(const ModelRun *m)
{
    int slices = m->kind_count == 1 && m->kinds[0].given.slices > 1 ? m->kinds[0].given.slices : 1;

    return (together(m) + slices - 1) / slices;
}

/* GPUs of several kinds have no NVLink between them. */
static int choose_link(ModelRun *m)
{
    const Hardware       *h = m->kinds[0].whole;
    const HardwareNvlink *nvlink = &h->nvlink;
    bool                  one_kind = m->kind_count == 1;

    if (m->options->link == MODEL_LINK_AUTO)
        m->nvlink = one_kind && nvlink->bytes_per_s > 0 && gpus(m) <= nvlink->devices;
    if (m->options->link != MODEL_LINK_NVLINK) return 0;
    m->nvlink = true;
    if (!one_kind)
        return error_set(m->err, "NVLink joins GPUs of one kind, and there are %d", m->kind_count);
    if (nvlink->bytes_per_s <= 0) return error_set(m->err, "%s: has no NVLink", h->name);
    if (gpus(m) > nvlink->devices)
        return error_set(m->err, "%s: its NVLink joins %d devices, not %" PRId64, h->name,
                         nvlink->devices, gpus(m));
    return 0;
}

/* Slice of a GPU: shared is what it has while the GPU's others compute too. */
static void slice(KindRun *kind)
{
    int      n = kind->given.slices;
    Hardware *alone = &kind->alone, *shared = &kind->shared;

    alone->multiprocessors = alone->multiprocessors / n > 1 ? alone->multiprocessors / n : 1;
    for (int p = 0; p < NUMBERS_COUNT; p++)
        alone->flop_per_s[p] *= (double)alone->multiprocessors / kind->whole->multiprocessors;
    alone->memory_bytes /= n;
    *shared = *alone;
    shared->bandwidth_bytes_per_s /= n;
    shared->cache_bytes /= n;
}

/* The kinds of devices, each as a whole GPU or its slice. Refuses one that is given twice, or whose
 * precision it does not have. */
static int choose_kinds(ModelRun *m)
{
    const ModelOptions *o = m->options;
    ModelKind           one = {o->hardware, o->devices, 0, o->precision};

    m->kind_count = o->kinds ? o->kind_count : 1;
    if (m->kind_count > TRACE_MAX_KINDS)
        return error_set(m->err, "%d kinds of devices, expected at most %d", m->kind_count,
                         TRACE_MAX_KINDS);
    m->kinds = calloc((size_t)m->kind_count, sizeof *m->kinds);
    if (!m->kinds) return error_no_memory(m->err);
    for (int k = 0; k < m->kind_count; k++) {
        KindRun *kind = &m->kinds[k];
        kind->given = o->kinds ? o->kinds[k] : one;
        kind->whole = kind->given.hardware;
        kind->alone = kind->shared = *kind->whole;
        if (kind->given.slices > 1) slice(kind);
        m->devices += kind->given.count;
        for (int other = 0; other < k; other++)
            if (m->kinds[other].whole->hash == kind->whole->hash
                && m->kinds[other].given.slices == kind->given.slices)
                return error_set(m->err, "%s: given twice, expected once with the number of all",
                                 kind->whole->name);
        if (check_precision(m, kind) != 0) return -1;
    }
    return 0;
}

static void find_attention(const Layer *layer, void *context)
{
    if (layer->kind == LAYER_ATTENTION) *(bool *)context = true;
}

bool model_attends(const Workload *workload)
{
    bool found = false;

    for (int b = 0; b < workload->block_count; b++) {
        layers_each(&workload->block[b].teacher, find_attention, &found);
        students_each(&workload->block[b], find_attention, &found);
    }
    return found;
}

bool model_loads_jpeg(const ModelOptions *o)
{
    int64_t pixels = (int64_t)o->workload->input.height * o->workload->input.width;

    return o->data == MODEL_DATA_JPEG
           || (o->data == MODEL_DATA_AUTO && pixels >= MODEL_PHOTO_PIXELS);
}

static int choose(ModelRun *m)
{
    const ModelOptions *o = m->options;

    m->jpeg = model_loads_jpeg(o);
    if (choose_kinds(m) != 0) return -1;
    m->cores = o->cores > 0 ? o->cores : MODEL_CORES * m->devices;
    m->workers = o->workers > 0 ? o->workers : m->cores;
    m->constants = model_constants;
    if (o->host_us > 0) m->constants.kernel_us = o->host_us;
    return choose_link(m);
}

/* ---- rows ------------------------------------------------------------------------------ */

static int choose_rows(ModelRun *m)
{
    int64_t batch = m->trace->batch, widest = m->devices < batch ? m->devices : batch;
    int     count = 0;

    m->rows = calloc((size_t)(2 * widest + 64), sizeof *m->rows);
    if (!m->rows) return error_no_memory(m->err);
    for (int64_t w = 1; w <= widest; w++) {
        m->rows[count++] = batch / w;
        m->rows[count++] = (batch + w - 1) / w;
    }
    for (int64_t rows = 1; rows <= batch; rows *= 2) m->rows[count++] = rows;
    qsort(m->rows, (size_t)count, sizeof *m->rows, compare_int64);
    for (int i = 0; i < count; i++)
        if (m->row_count == 0 || m->rows[m->row_count - 1] != m->rows[i])
            m->rows[m->row_count++] = m->rows[i];
    return 0;
}

/* ---- blocks ------------------------------------------------------------------------------ */

static BlockCost cost_of(const ModelRun *m, const Hardware *hardware, Numbers precision,
                         StudentId id, int i)
{
    const ModelOptions *o = m->options;
    ModelDevice device = {hardware,
                          &m->constants,
                          precision,
                          o->layout,
                          .batch_statistics = o->workload->batch_statistics,
                          .half_weights = false,
                          .eager_attention = o->eager_attention,
                          .foreach = o->foreach};

    return model_block(&device, o->workload, id.block, id.student, (double)m->rows[i]);
}

/* Of a student, whose curves are work's; the teacher's come with any of its block. */
static void fill_point(const ModelRun *m, Curve *const *work, int kind, StudentId id, int i)
{
    const KindRun *k = &m->kinds[kind];
    BlockCost cost = cost_of(m, &k->alone, k->given.precision, id, i),
         contended = cost_of(m, &k->shared, k->given.precision, id, i);
    double    spread = round(model_spread(&cost) * 1e4) / 1e4;

    for (int w = 0; w < WORK_COUNT; w++) {
        work[w][kind].points[i] =
            (CurvePoint){.x = m->rows[i], .ns = ns_of(model_work_us(&cost, (Work)w)),
                         .contended_ns = ns_of(model_work_us(&contended, (Work)w)),
                         .spread = spread};
    }
}

static Curve *new_curves(const ModelRun *m)
{
    Curve *curves = arena_alloc(&m->trace->arena, (size_t)m->kind_count, sizeof *curves);

    for (int k = 0; curves && k < m->kind_count; k++) {
        curves[k].count = m->row_count;
        curves[k].points =
            arena_alloc(&m->trace->arena, (size_t)m->row_count, sizeof *curves[k].points);
        if (!curves[k].points) curves = NULL;
    }
    if (!curves) error_no_memory(m->err);
    return curves;
}

/* The curves of a student; those of the teacher are block's. */
static int fill_student(const ModelRun *m, TraceBlock *block, Curve **work, StudentId id)
{
    work[WORK_TEACHER] = block->work[WORK_TEACHER];
    for (int w = 0; w < WORK_COUNT; w++)
        if (w != WORK_TEACHER && !(work[w] = new_curves(m))) return -1;
    for (int k = 0; k < m->kind_count; k++)
        for (int i = 0; i < m->row_count; i++) fill_point(m, work, k, id, i);
    return 0;
}

/* Eager, a framework allocates each tensor by itself. */
static bool eager(const ModelRun *m) { return m->options->layout != LAYOUT_FUSED; }

static int fill_block(const ModelRun *m, int b)
{
    const WorkBlock *work = &m->options->workload->block[b];
    TraceBlock      *block = &m->trace->blocks[b];

    block->name = work->name;
    block->work[WORK_TEACHER] = new_curves(m);
    if (!block->work[WORK_TEACHER] || trace_list_students(m->trace, block, work, m->err) != 0)
        return -1;
    model_memory(block, m->options->workload, work, m->kinds[0].given.precision,
                 eager(m) ? m->trace->batch : 0);
    for (int j = 0; j < block_students(work); j++) {
        Curve **curves = block->students ? block->students[j].work : block->work;
        if (fill_student(m, block, curves, workload_student_of(m->options->workload, b, j)) != 0)
            return -1;
    }
    for (int w = 0; block->students && w < WORK_COUNT; w++)
        block->work[w] = block->students[0].work[w];
    return 0;
}

/* ---- links and loader ------------------------------------------------------------------------ */

/* What a link costs: a message, a step of a ring, a byte. */
typedef struct { double message_us, step_us, byte_us; } LinkCost;

static double pcie_rate(const Hardware *h)
{
    return hardware_pcie_bytes_per_s(&h->pcie) / (h->pcie.peer ? 1 : 2);
}

/* Of several kinds the one whose PCIe is slowest: all messages are priced as its. */
static const Hardware *slowest(const ModelRun *m)
{
    const Hardware *found = m->kinds[0].whole;

    for (int k = 1; k < m->kind_count; k++)
        if (pcie_rate(m->kinds[k].whole) < pcie_rate(found)) found = m->kinds[k].whole;
    return found;
}

static LinkCost link_cost(const ModelRun *m, bool between)
{
    const ModelHostConstants *c = &model_host_constants;
    const Hardware *h = slowest(m);
    double pcie = pcie_rate(h);
    double rate = between     ? fmin(m->options->network_bytes_per_s, pcie)
                  : m->nvlink ? h->nvlink.bytes_per_s
                              : pcie;
    double ends = between ? 2 : 1;

    return (LinkCost){ends * c->link_us, ends * c->reduce_us, 1e6 / (rate * c->link_share)};
}

/* The line start_us + bytes * us_a_byte, by its two ends. */
static int fill_line(const ModelRun *m, Curve *curve, int64_t least, int64_t most, double start_us,
                     double us_a_byte)
{
    int64_t at[2] = {least, most};

    curve->points = arena_alloc(&m->trace->arena, 2, sizeof(CurvePoint));
    if (!curve->points) return error_no_memory(m->err);
    curve->count = most > least ? 2 : 1;
    for (int i = 0; i < curve->count; i++)
        curve->points[i] =
            (CurvePoint){.x = at[i], .ns = ns_of(start_us + (double)at[i] * us_a_byte)};
    return 0;
}

/* The least and the most of a byte count over the blocks. */
typedef struct { int64_t least, most; } BatchRange;

static BatchRange range_of(const Trace *t, bool gradients)
{
    BatchRange range = {INT64_MAX, 0};

    for (int b = 0; b < t->block_count; b++)
        for (int j = 0; j < trace_students(&t->blocks[b]); j++) {
            int64_t bytes = gradients ? trace_student(&t->blocks[b], j).gradient_bytes
                                      : t->blocks[b].output_bytes;
            if (bytes < range.least) range.least = bytes;
            if (bytes > range.most) range.most = bytes;
        }
    return range;
}

/* Messages from a row of the smallest boundary to the batch of the largest; sums of a block's
 * gradients over 2 to widest devices. */
static int fill_links(const ModelRun *m, TraceLinks *links, LinkCost link, int64_t widest)
{
    Trace *t = m->trace;
    BatchRange  output = range_of(t, false), gradient = range_of(t, true);

    if (fill_line(m, &links->p2p, output.least, output.most * t->batch, link.message_us,
                  link.byte_us)
        != 0)
        return -1;
    links->reduces = arena_alloc(&t->arena, (size_t)widest, sizeof *links->reduces);
    if (!links->reduces) return error_no_memory(m->err);
    for (int w = 2; w <= widest; w++) {
        TraceReduce *reduce = &links->reduces[links->reduce_count++];
        double       steps = 2.0 * (w - 1);
        reduce->devices = w;
        if (fill_line(m, &reduce->curve, gradient.least, gradient.most, steps * link.step_us,
                      steps / w * link.byte_us)
            != 0)
            return -1;
    }
    return 0;
}

static int fill_all_links(const ModelRun *m)
{
    if (m->devices == 1) return 0;
    if (together(m) > 1 && fill_links(m, &m->trace->links, link_cost(m, false), together(m)) != 0)
        return -1;
    if (together(m) == m->devices) return 0;
    m->trace->devices_per_node = (int)together(m);
    return fill_links(m, &m->trace->node_links, link_cost(m, true), m->devices);
}

static void fill_loader(const ModelRun *m)
{
    const ModelHostConstants *c = &model_host_constants;
    double photo_us =
        m->options->loader == MODEL_LOADER_PILLOW ? c->pillow_core_us : c->jpeg_core_us;
    double core_us = m->options->sample_us > 0 ? m->options->sample_us
                     : m->jpeg                 ? photo_us
                                               : c->raw_core_us;

    if (m->workers > m->cores)
        core_us *= 1 + c->crowded_share * log2((double)m->workers / (double)m->cores);
    m->trace->loader = (TraceLoader){.present = true, .batch_ns = ns_of(c->batch_us),
                                     .sample_ns = core_us * 1000, .workers = (int)m->workers,
                                     .cores = (int)m->cores, .prefetch = (int)m->options->prefetch};
}

/* What a step and a process take besides. */
static void fill_besides(const ModelRun *m)
{
    const ModelOptions *o = m->options;

    m->trace->step_ns = ns_of(o->step_us);
    m->trace->process_bytes = o->process_bytes + (eager(m) ? MODEL_SEGMENT_BYTES : 0);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void link_words(const ModelRun *m, Text *out)
{
    const Hardware *h = slowest(m);

    if (m->devices == 1) text_append(out, "one device, no links");
    else if (together(m) == 1) text_append(out, "links: none within a machine");
    else if (m->nvlink) text_append(out, "links: NVLink");
    else text_printf(out, "links: PCIe %d.0 x%d%s", h->pcie.generation, h->pcie.lanes,
                     h->pcie.peer ? "" : ", through the host's memory");
    if (together(m) < m->devices)
        text_printf(out, "; between machines of %" PRId64 ": %g GB/s", together(m),
                    m->options->network_bytes_per_s / 1e9);
}

/* What the trace says of itself: devices, hashes of files, and every choice that its times depend
 * on. */
static void notes(const ModelRun *m, Text *out)
{
    const ModelOptions *o = m->options;

    text_printf(out, "Not measured: formulas and constants of docs/model.md, version %d. ",
                MODEL_VERSION);
    for (int k = 0; k < m->kind_count; k++) {
        const KindRun *kind = &m->kinds[k];
        text_printf(out, "Device: %s, file hash %016" PRIx64 "; precision %s; ", kind->whole->name,
                    kind->whole->hash, numbers_names[kind->given.precision]);
        if (kind->given.slices > 1)
            text_printf(
                out, "%d slices of a GPU, which share its bandwidth and cache while they compute; ",
                kind->given.slices);
    }
    text_printf(out, "workload hash %016" PRIx64 "; layout %s%s%s; ", o->workload->hash,
                layout_names[o->layout], o->layout == LAYOUT_FUSED ? "" : ", nothing is fused",
                o->workload->batch_statistics ? "; the teacher's batch norms compute statistics"
                                              : "");
    if (o->eager_attention) text_append(out, "attention is not fused; ");
    if (o->foreach) text_append(out, "the optimizer steps all tensors together; ");
    if (o->host_us > 0) text_printf(out, "%g us of the host a kernel; ", o->host_us);
    link_words(m, out);
    if (o->sample_us > 0) text_printf(out, "; loader: %g us a sample", o->sample_us);
    else if (!m->jpeg) text_append(out, "; loader: raw pixels");
    else
        text_append(out, o->loader == MODEL_LOADER_PILLOW ? "; loader: JPEG photographs by Pillow"
                                                          : "; loader: JPEG photographs");
    text_printf(out, ", %" PRId64 " workers on %" PRId64 " cores", m->workers, m->cores);
    if (workload_has_choices(o->workload))
        text_append(out, "; students' times are means over the paths of their choices, spread is "
                         "how these vary, "
                         "and the update visits the parameters of all paths");
}

/* "nas-cifar10-rtx-a6000" */
static void default_name(const ModelRun *m, Text *out)
{
    text_append(out, m->options->workload->name);
    for (int k = 0; k < m->kind_count; k++) {
        text_printf(out, "-%s", m->kinds[k].whole->name);
        if (m->kinds[k].given.slices > 1) text_printf(out, "/%d", m->kinds[k].given.slices);
    }
    for (char *c = out->bytes; c && *c; c++)
        *c = *c == ' ' ? '-' : *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
}

/* Name, source, notes, provenance and date of the modelled trace: copies in its arena. The name is
 * --name, or made of the workload's and the devices'. */
static int fill_words(ModelRun *m)
{
    Text name = {0}, source = {0}, words = {0};
    int  rc = -1;

    default_name(m, &name);
    text_printf(&source, "pipebd-trace model, version %d", MODEL_VERSION);
    notes(m, &words);
    m->trace->name =
        arena_strdup(&m->trace->arena, m->options->name ? m->options->name : text_string(&name));
    m->trace->source = arena_strdup(&m->trace->arena, text_string(&source));
    m->trace->notes = arena_strdup(&m->trace->arena, text_string(&words));
    m->trace->provenance_kind = "modelled";
    m->trace->date = m->options->date ? m->options->date : "";
    if (text_failed(&name) || text_failed(&source) || text_failed(&words) || !m->trace->name
        || !m->trace->source || !m->trace->notes)
        error_no_memory(m->err);
    else rc = 0;
    text_free(&name);
    text_free(&source);
    text_free(&words);
    return rc;
}

/* ---- whole ----------------------------------------------------------------------------------- */

/* "A100 SXM 80GB", or a slice of it, "A100 SXM 80GB/4". */
static int fill_kind(const ModelRun *m, TraceKind *out, const KindRun *kind)
{
    Text name = {0};

    text_append(&name, kind->whole->name);
    if (kind->given.slices > 1) text_printf(&name, "/%d", kind->given.slices);
    *out = (TraceKind){.name = arena_strdup(&m->trace->arena, text_string(&name)),
                       .count = (int)kind->given.count,
                       .memory_bytes = kind->alone.memory_bytes};
    bool failed = text_failed(&name) || !out->name;
    text_free(&name);
    return failed ? error_no_memory(m->err) : 0;
}

/* Fills the trace: words, devices, blocks, loader, links. */
static int fill(ModelRun *m)
{
    const ModelOptions *o = m->options;
    Trace *t = m->trace;

    t->workload = o->workload->name;
    t->micro_batches = o->workload->micro_batches;
    t->batch = o->batch > 0 ? o->batch : o->workload->batch;
    t->samples = o->workload->samples;
    t->kinds = arena_alloc(&t->arena, (size_t)m->kind_count, sizeof *t->kinds);
    t->blocks = arena_alloc(&t->arena, (size_t)o->workload->block_count, sizeof *t->blocks);
    if (!t->kinds || !t->blocks) return error_no_memory(m->err);
    for (int k = 0; k < m->kind_count; k++)
        if (fill_kind(m, &t->kinds[t->kind_count++], &m->kinds[k]) != 0) return -1;
    t->input_bytes = shape_count(o->workload->input) * (int64_t)sizeof(float);
    t->block_count = o->workload->block_count;
    t->blocking_transfers = o->blocking;
    if (fill_words(m) != 0 || choose_rows(m) != 0) return -1;
    for (int b = 0; b < t->block_count; b++)
        if (fill_block(m, b) != 0) return -1;
    fill_loader(m);
    fill_besides(m);
    return fill_all_links(m);
}

/* What is written must be what is read. */
static int read_back(Trace **out, const Trace *trace, Error *err)
{
    Text text = {0};
    int  rc;

    trace_text(trace, &text);
    if (text_failed(&text)) rc = error_no_memory(err);
    else rc = trace_parse(out, "the modelled trace", text_string(&text), text.length, err);
    text_free(&text);
    return rc;
}

int model_trace(Trace **out, const ModelOptions *options, Error *err)
{
    ModelRun m = {.options = options, .err = err};
    int   rc = -1;

    *out = NULL;
    if (choose(&m) != 0) goto done;
    m.trace = calloc(1, sizeof *m.trace);
    if (!m.trace) { error_no_memory(err); goto done; }
    if (fill(&m) == 0) rc = read_back(out, m.trace, err);
done:
    free(m.rows);
    free(m.kinds);
    trace_free(m.trace);
    return rc;
}
