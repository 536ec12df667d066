#include "executor/nas/choose.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/nas/path_score.h"
#include "executor/checkpoint/state.h"
#include "workloads/subnet.h"

/* ---- batches of samples --------------------------------------------------------- */

static int load_rows(float *out, Data *data, const ChooseOptions *o, int64_t rows, int64_t first,
                     int64_t epoch, Error *err)
{
    int64_t per_row = shape_count(o->workload->input);
    int     label;

    for (int64_t r = 0; r < rows; r++) {
        int64_t sample = data_order(data_count(data), o->seed, epoch, first + r);
        if (data_load(data, sample, o->seed, epoch, out + r * per_row, &label, err) != 0) return -1;
    }
    return 0;
}

/* As many rows as a batch has, and as many batches as asked for, if there are so many. */
static int load_held_out(Batches *out, Device *device, const ChooseOptions *o, Error *err)
{
    int64_t count = data_count(o->held_out), batch = o->workload->batch;
    int64_t rows = count < batch ? count : batch, batches = count / rows;

    if (batches > o->batches) batches = o->batches;
    if (batches_new(out, device, (int)batches, rows, shape_count(o->workload->input), err) != 0)
        return -1;
    for (int i = 0; i < out->count; i++)
        if (load_rows(out->batch[i], o->held_out, o, rows, i * rows, 0, err) != 0) return -1;
    return 0;
}

/* ---- measuring -------------------------------------------------------------------- */

/* What the teacher's block makes of the batches. */
static int teach(Batches *out, Device *device, const ChooseOptions *o, int b, const Batches *in,
                 Error *err)
{
    const WorkBlock *block = &o->workload->block[b];
    Net             *net = NULL;
    int              rc = -1;

    if (batches_new(out, device, in->count, in->rows, shape_count(block->out), err) != 0) goto done;
    if (net_new(&net, device, &block->teacher, block->in, NET_FROZEN, err) != 0) goto done;
    if (state_load_teacher(net, b, o->teacher, o->seed, err) != 0) goto done;
    if (net_prepare(net, in->rows, err) != 0) goto done;
    for (int i = 0; i < in->count; i++)
        if (net_forward(net, in->batch[i], out->batch[i], in->rows, NULL, err) != 0) goto done;
    rc = 0;
done:
    net_free(net);
    return rc;
}

/* A block's sets of paths, and which of them are candidates: those with a finite loss. */
typedef struct {
    PathSets   sets;
    KnapsackItem *candidate;
    int       *set;          /* [candidate_count] number of the set */
    int        candidate_count;
} Measured;

static int make_candidates(Measured *m, ChosenBlock *out, const WorkBlock *block,
                           const double *losses, Error *err)
{
    m->candidate = calloc((size_t)m->sets.count + 1, sizeof *m->candidate);
    m->set = calloc((size_t)m->sets.count + 1, sizeof *m->set);
    if (!m->candidate || !m->set) return error_no_memory(err);
    out->best_loss = INFINITY;
    out->least_macs = INT64_MAX;
    for (int i = 0; i < m->sets.count; i++) {
        if (!isfinite(losses[i])) continue;
        KnapsackItem one = {
            layers_macs(&block->student, m->sets.choices + (size_t)i * (size_t)m->sets.each),
            losses[i]};
        if (one.loss < out->best_loss) out->best_loss = one.loss;
        if (m->candidate_count == 0 || one.loss > out->worst_loss) out->worst_loss = one.loss;
        if (one.macs < out->least_macs) out->least_macs = one.macs;
        if (one.macs > out->most_macs) out->most_macs = one.macs;
        m->candidate[m->candidate_count] = one;
        m->set[m->candidate_count++] = i;
    }
    if (m->candidate_count > 0) return 0;
    return error_set(err, "block \"%s\": no path of the student has a finite loss", block->name);
}

static int measure_block(Measured *m, ChosenBlock *out, Device *device, const ChooseOptions *o,
                         int b, const Batches *in, const Batches *teacher, Error *err)
{
    const WorkBlock *block = &o->workload->block[b];
    double          *losses = NULL;
    int              rc = -1;

    if (path_sets_make(&m->sets, &block->student, o->paths, o->seed, b, err) != 0) return -1;
    losses = calloc((size_t)m->sets.count + 1, sizeof *losses);
    if (!losses) { error_no_memory(err); goto done; }
    PathScoring ranking = {.block = block, .number = b, .device = device, .in = in,
                           .teacher = teacher, .student = o->student, .sets = &m->sets,
                           .stop = o->stop, .progress = o->progress, .context = o->context};
    if (path_scores(losses, &out->scale, &ranking, err) != 0) goto done;
    out->total = m->sets.total;
    out->measured = m->sets.count;
    rc = make_candidates(m, out, block, losses, err);
done:
    free(losses);
    return rc;
}

/* Block after block: what one's teacher makes, the next takes. */
static int measure_all(Measured *measured, Chosen *out, Device *device, const ChooseOptions *o,
                       Error *err)
{
    Batches in = {0}, made = {0};
    int     rc = -1;

    if (load_held_out(&in, device, o, err) != 0) goto done;
    out->held_out = in.count * in.rows;
    for (int b = 0; b < o->workload->block_count; b++) {
        if (teach(&made, device, o, b, &in, err) != 0) goto done;
        if (measure_block(&measured[b], &out->block[b], device, o, b, &in, &made, err) != 0)
            goto done;
        batches_free(&in, device);
        in = made;
        made = (Batches){0};
    }
    rc = 0;
done:
    batches_free(&in, device);
    batches_free(&made, device);
    return rc;
}

/* ---- selecting ----------------------------------------------------------------------- */

static int take(Chosen *out, const Measured *m, const int *chosen, Error *err)
{
    for (int b = 0; b < out->block_count; b++) {
        ChosenBlock *block = &out->block[b];
        size_t       each = (size_t)m[b].sets.each;
        block->choices = calloc(each + 1, sizeof *block->choices);
        if (!block->choices) return error_no_memory(err);
        memcpy(block->choices, m[b].sets.choices + (size_t)m[b].set[chosen[b]] * each,
               each * sizeof *block->choices);
        block->macs = m[b].candidate[chosen[b]].macs;
        block->loss = m[b].candidate[chosen[b]].loss;
        out->macs += block->macs;
        out->loss += block->loss;
    }
    return 0;
}

static int select_all(Chosen *out, const Measured *measured, int64_t max_macs, Error *err)
{
    Candidates *lists = calloc((size_t)out->block_count, sizeof *lists);
    int        *chosen = calloc((size_t)out->block_count, sizeof *chosen);
    int         rc = -1;

    if (!lists || !chosen) { error_no_memory(err); goto done; }
    for (int b = 0; b < out->block_count; b++)
        lists[b] = (Candidates){measured[b].candidate, measured[b].candidate_count};
    if (select_candidates(chosen, lists, out->block_count, max_macs, err) != 0) goto done;
    rc = take(out, measured, chosen, err);
done:
    free(lists);
    free(chosen);
    return rc;
}

/* ---- the chosen network ------------------------------------------------------------------ */

/* The tensors of one layer under its new name; a layer without parameters has none. */
static int move_layer(Tensors *out, const Tensors *student, int b, const LayerOrigin *origin,
                      Error *err)
{
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    char    name[160];
    Tensor *old, *fresh;

    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "blocks.%d.%s.%s", b, origin->origin, parts[i]);
        if (state_find(&old, student, name, err) != 0) return -1;
        if (!old) continue;
        snprintf(name, sizeof name, "blocks.%d.%s.%s", b, origin->name, parts[i]);
        if (tensors_add(out, name, old->rank, old->dim, &fresh, err) != 0) return -1;
        memcpy(fresh->values, old->values, (size_t)old->count * sizeof *old->values);
    }
    return 0;
}

/* The chosen workload, and its weights as the supernet has them. */
static int fix_chosen(Chosen *out, const ChooseOptions *o, Error *err)
{
    const int   **choices = calloc((size_t)o->workload->block_count, sizeof *choices);
    LayerOrigins *origins;
    int           rc = -1;

    if (!choices) return error_no_memory(err);
    for (int b = 0; b < out->block_count; b++) choices[b] = out->block[b].choices;
    if (workload_subnet(&out->workload, &origins, &out->file, o->workload, choices, o->name,
                        o->teacher_weights, o->data, err)
        != 0)
        goto done;
    if (tensors_new(&out->weights, err) != 0) goto done;
    for (int b = 0; b < out->block_count; b++)
        for (int i = 0; i < origins[b].count; i++)
            if (move_layer(out->weights, o->student, b, &origins[b].layer[i], err) != 0) goto done;
    rc = 0;
done:
    free(choices);
    return rc;
}

/* Whose weights they are, and what they were taken from. */
static int set_notes(Chosen *out, const ChooseOptions *o, Error *err)
{
    char hash[20], supernet_hash[20], seed[24];

    snprintf(hash, sizeof hash, "%016" PRIx64, out->workload->hash);
    snprintf(supernet_hash, sizeof supernet_hash, "%016" PRIx64, o->workload->hash);
    snprintf(seed, sizeof seed, "%" PRIu64, o->seed);
    const struct { const char *key, *value; } notes[] = {
        {"workload", out->workload->name}, {"workload_hash", hash}, {"supernet", o->workload->name},
        {"supernet_hash", supernet_hash}, {"seed", seed},
    };
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        if (tensors_set_note(out->weights, notes[i].key, notes[i].value, err) != 0) return -1;
    return 0;
}

/* The teacher and the chosen student, side by side, for one batch. */
typedef struct {
    Net   **teacher, **student;          /* [blocks] */
    Batches boundary;                    /* [blocks + 1] of different sizes in the largest's room */
    Batches answer;                      /* one: the student's, not used */
} BatchPair;

static int64_t largest_boundary(const Workload *workload)
{
    int64_t most = shape_count(workload->input);

    for (int b = 0; b < workload->block_count; b++)
        if (shape_count(workload->block[b].out) > most) most = shape_count(workload->block[b].out);
    return most;
}

/* Makes teacher and chosen student of each block on the device, with their weights, for forward
 * passes side by side, and room for boundaries of a batch. What fails half-way is freed with the
 * pair, by the caller. */
static int open_pair(BatchPair *pair, Device *device, const ChooseOptions *o, const Chosen *chosen,
                     Error *err)
{
    const Workload *workload = chosen->workload;
    size_t          count = (size_t)workload->block_count;
    int64_t         most = largest_boundary(workload);

    pair->teacher = calloc(count, sizeof(Net *));
    pair->student = calloc(count, sizeof(Net *));
    if (!pair->teacher || !pair->student) return error_no_memory(err);
    if (batches_new(&pair->boundary, device, 2, workload->batch, most, err) != 0) return -1;
    if (batches_new(&pair->answer, device, 1, workload->batch, most, err) != 0) return -1;
    for (int b = 0; b < workload->block_count; b++) {
        const WorkBlock *block = &workload->block[b];
        if (net_new(&pair->teacher[b], device, &block->teacher, block->in, NET_FROZEN, err) != 0)
            return -1;
        if (net_new(&pair->student[b], device, &block->student, block->in, NET_TRAINED, err) != 0)
            return -1;
        if (state_load_teacher(pair->teacher[b], b, o->teacher, o->seed, err) != 0) return -1;
        if (state_load_student(pair->student[b], (StudentId){.block = b}, chosen->weights, false,
                               o->seed, err)
            != 0)
            return -1;
        if (net_prepare(pair->teacher[b], workload->batch, err) != 0) return -1;
        if (net_prepare(pair->student[b], workload->batch, err) != 0) return -1;
    }
    return 0;
}

static void close_pair(BatchPair *pair, Device *device, int block_count)
{
    for (int b = 0; pair->teacher && pair->student && b < block_count; b++) {
        net_free(pair->teacher[b]);
        net_free(pair->student[b]);
    }
    free(pair->teacher);
    free(pair->student);
    batches_free(&pair->boundary, device);
    batches_free(&pair->answer, device);
}

/* A training step without the update: running statistics move towards those of the batch. */
static int refresh_step(BatchPair *pair, const ChooseOptions *o, int64_t step, Error *err)
{
    int64_t rows = o->workload->batch, steps = data_count(o->training) / rows, from = 0;

    if (steps < 1) steps = 1;
    if (load_rows(pair->boundary.batch[0], o->training, o, rows, step % steps * rows, step / steps,
                  err)
        != 0)
        return -1;
    for (int b = 0; b < o->workload->block_count; b++, from = !from) {
        float *x = pair->boundary.batch[from], *t = pair->boundary.batch[!from];
        if (net_forward(pair->student[b], x, pair->answer.batch[0], rows, NULL, err) != 0)
            return -1;
        if (net_forward(pair->teacher[b], x, t, rows, NULL, err) != 0) return -1;
    }
    return 0;
}

static int refresh_statistics(Chosen *out, Device *device, const ChooseOptions *o, Error *err)
{
    BatchPair pair = {0};
    int  rc = -1;

    if (open_pair(&pair, device, o, out, err) != 0) goto done;
    for (int64_t step = 0; step < o->refresh; step++) {
        if (o->stop && atomic_load(o->stop)) { error_set(err, "interrupted"); goto done; }
        if (refresh_step(&pair, o, step, err) != 0) goto done;
    }
    for (int b = 0; b < out->block_count; b++)
        if (state_store(pair.student[b], (StudentId){.block = b}, STATE_NO_STEP, false,
                        out->weights, err)
            != 0)
            goto done;
    rc = 0;
done:
    close_pair(&pair, device, out->block_count);
    return rc;
}

/* ---- whole -------------------------------------------------------------------------------- */

/* Nothing of a block may come from the seed: that was never trained. */
static int check_student(const ChooseOptions *o, Error *err)
{
    int choices = 0;

    for (int b = 0; b < o->workload->block_count; b++) {
        char prefix[32];
        bool found = false;
        if (o->workload->block[b].students)
            return error_set(err,
                             "block \"%s\" lists its students by name: take one of each block "
                             "first, see pipebd-workload pick",
                             o->workload->block[b].name);
        snprintf(prefix, sizeof prefix, "blocks.%d.", b);
        for (int i = 0; i < tensors_count(o->student) && !found; i++)
            found = strncmp(tensors_at(o->student, i)->name, prefix, strlen(prefix)) == 0;
        if (!found)
            return error_set(err, "the student's weights have nothing of block \"%s\" (%s...)",
                             o->workload->block[b].name, prefix);
        choices += o->workload->block[b].choices;
    }
    if (choices > 0) return 0;
    return error_set(err, "the students of \"%s\" have no choices, so there is nothing to choose",
                     o->workload->name);
}

int choose(Chosen *out, const ChooseOptions *o, Error *err)
{
    Device   *device = NULL;
    int       rc = -1, count = o->workload->block_count;
    Measured *measured = calloc((size_t)count, sizeof *measured);

    *out = (Chosen){.block_count = count};
    out->block = calloc((size_t)count, sizeof *out->block);
    if (!measured || !out->block) { error_no_memory(err); goto done; }
    if (check_student(o, err) != 0) goto done;
    if (device_open(&device, o->devices, 0, err) != 0) goto done;
    if (measure_all(measured, out, device, o, err) != 0) goto done;
    if (select_all(out, measured, o->max_macs, err) != 0) goto done;
    if (fix_chosen(out, o, err) != 0 || set_notes(out, o, err) != 0) goto done;
    rc = refresh_statistics(out, device, o, err);
done:
    for (int b = 0; measured && b < count; b++) {
        path_sets_free(&measured[b].sets);
        free(measured[b].candidate);
        free(measured[b].set);
    }
    free(measured);
    if (device) device_close(device);
    if (rc != 0) chosen_free(out);
    return rc;
}

void chosen_free(Chosen *chosen)
{
    for (int b = 0; chosen->block && b < chosen->block_count; b++) free(chosen->block[b].choices);
    free(chosen->block);
    workload_free(chosen->workload);
    tensors_free(chosen->weights);
    text_free(&chosen->file);
    *chosen = (Chosen){0};
}

/* ---- report ---------------------------------------------------------------------------------- */

static void report_block(const ChosenBlock *chosen, const WorkBlock *block, Text *out)
{
    text_append(out, block->name);
    text_pad(out, 11);
    text_printf(out, " %8d %12" PRId64 " %9.4f %9.4f %9.4f %9.3f %9.3f %9.3f  ", chosen->measured,
                chosen->total, chosen->best_loss, chosen->worst_loss, chosen->loss,
                (double)chosen->least_macs * 1e-6, (double)chosen->most_macs * 1e-6,
                (double)chosen->macs * 1e-6);
    for (int i = 0; i < block->choices; i++)
        text_printf(out, "%s%d", i ? "," : "", chosen->choices[i]);
    text_append(out, block->choices ? "\n" : "-\n");
}

void chosen_report(const Chosen *chosen, const Workload *from, Text *out)
{
    text_printf(out, "paths of %s, measured on %" PRId64 " held-out samples\n", from->name,
                chosen->held_out);
    text_append(out, "relative loss: 0 is the teacher, 1 is always answering its mean\n\n"
                     "block         sets of paths          relative loss                     MACs  "
                     "           taken\n"
                     "            measured       of all      best     worst     taken     least    "
                     "  most     taken  paths\n"
                     "                                                                        M    "
                     "     M         M\n");
    for (int b = 0; b < chosen->block_count; b++)
        report_block(&chosen->block[b], &from->block[b], out);
    text_append(out, "all");
    text_pad(out, 11);
    text_printf(out, " %51.4f %29.3f\n", chosen->loss, (double)chosen->macs * 1e-6);
}
