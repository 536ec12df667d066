#include "executor/nas/path_sets.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "workloads/subnet.h"

enum { DRAWS = 32 };         /* at most, for each set of a sample */

/* Sets to 0 the choices that are not met on the paths taken. */
static void clear_unmet(const Layers *layers, int *choices, int *met)
{
    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        int taken = layer->kind == LAYER_CHOICE ? choices[(*met)++] : 0;
        for (int p = 0; p < layer->path_count; p++) {
            int end = *met + layers_choices(&layer->path[p]);
            if (layer_runs_path(layer, p, taken)) clear_unmet(&layer->path[p], choices, met);
            while (*met < end) choices[(*met)++] = 0;
        }
    }
}

/* The set with the least (sign 1) or the most (-1) MACs, unmet choices not cleared. Returns
 * its MACs times sign. */
static int64_t extreme(const Layers *layers, int *choices, int *met, int sign)
{
    int64_t sum = 0;

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        int     *mine = layer->kind == LAYER_CHOICE ? &choices[(*met)++] : NULL;
        int64_t  best = 0;
        for (int p = 0; p < layer->path_count; p++) {
            int64_t macs = extreme(&layer->path[p], choices, met, sign);
            if (!mine) best += macs;
            else if (p == 0 || macs < best) best = macs, *mine = p;
        }
        sum += sign * layer_macs(layer) + best;
    }
    return sum;
}

/* Adds what stands behind the last set, unless it is there already or cannot stand alone. */
static void keep(PathSets *sets, const Layers *student)
{
    int *fresh = sets->choices + (size_t)sets->count * (size_t)sets->each, met = 0;

    clear_unmet(student, fresh, &met);
    if (!layers_subnet_possible(student, fresh)) return;
    for (int i = 0; i < sets->count; i++)
        if (memcmp(sets->choices + (size_t)i * (size_t)sets->each, fresh,
                   (size_t)sets->each * sizeof *fresh)
            == 0)
            return;
    sets->count++;
}

static void sample(PathSets *sets, const Layers *student, int limit, uint64_t seed, int block)
{
    for (int sign = 1; sign >= -1; sign -= 2) {
        int met = 0;
        extreme(student, sets->choices + (size_t)sets->count * (size_t)sets->each, &met, sign);
        keep(sets, student);
    }
    WorkBlock drawn = {.student = *student, .choices = sets->each};
    for (int64_t i = 0; i < (int64_t)limit * DRAWS && sets->count < limit; i++) {
        workload_choose(sets->choices + (size_t)sets->count * (size_t)sets->each, &drawn, block,
                        seed, i);
        keep(sets, student);
    }
}

static void take_all(PathSets *sets, const Layers *student)
{
    size_t each = (size_t)sets->each;
    bool   more = true;

    while (more) {
        int *fresh = sets->choices + (size_t)sets->count * each;
        if (layers_subnet_possible(student, fresh)) {
            memcpy(fresh + each, fresh, each * sizeof *fresh);
            sets->count++;
        }
        more = layers_next_choices(student, sets->choices + (size_t)sets->count * each);
    }
}

int path_sets_make(PathSets *out, const Layers *student, int limit, uint64_t seed, int block,
                   Error *err)
{
    assert(limit >= 2);
    *out = (PathSets){.each = layers_choices(student),
                      .total = layers_choice_count(student, PATH_SETS_MANY)};
    out->all = out->total <= limit;
    size_t room = (size_t)(out->all ? out->total : limit) + 1;          /* one more: the next */
    out->choices = calloc(room * (size_t)(out->each > 0 ? out->each : 1), sizeof *out->choices);
    if (!out->choices) return error_no_memory(err);
    if (out->all) take_all(out, student);
    else sample(out, student, limit, seed, block);
    return 0;
}

void path_sets_free(PathSets *sets)
{
    free(sets->choices);
    *sets = (PathSets){0};
}
