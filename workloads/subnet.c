#include "workloads/subnet.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- walks along taken paths ------------------------------------------------ */

/* A walk counts the choices it passes, those on paths not taken included, so that each
 * meets its own number. */
static int64_t macs_along(const Layers *layers, const int *choices, int *met)
{
    int64_t macs = 0;

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        int taken = layer->kind == LAYER_CHOICE ? choices[(*met)++] : 0;
        macs += layer_macs(layer);
        for (int p = 0; p < layer->path_count; p++) {
            if (layer_runs_path(layer, p, taken)) macs += macs_along(&layer->path[p], choices, met);
            else *met += layers_choices(&layer->path[p]);
        }
    }
    return macs;
}

int64_t layers_macs(const Layers *layers, const int *choices)
{
    int met = 0;

    return macs_along(layers, choices, &met);
}

typedef struct {
    int64_t parameters;
    int     layers;          /* at the top level, choices replaced by what is taken */
    bool    hollow;          /* a residual whose body or shortcut has no layer */
} Left;

static Left left_along(const Layers *layers, const int *choices, int *met)
{
    Left left = {0};

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        int taken = layer->kind == LAYER_CHOICE ? choices[(*met)++] : 0;
        left.parameters += layer_parameters(layer);
        left.layers += layer->kind != LAYER_CHOICE;
        for (int p = 0; p < layer->path_count; p++) {
            if (!layer_runs_path(layer, p, taken)) {
                *met += layers_choices(&layer->path[p]);
                continue;
            }
            Left inside = left_along(&layer->path[p], choices, met);
            left.parameters += inside.parameters;
            left.hollow |= inside.hollow || (layer->kind == LAYER_RESIDUAL && inside.layers == 0);
            if (layer->kind == LAYER_CHOICE) left.layers += inside.layers;
        }
    }
    return left;
}

bool layers_subnet_possible(const Layers *student, const int *choices)
{
    int  met = 0;
    Left left = left_along(student, choices, &met);

    return left.parameters > 0 && !left.hollow;
}

/* ---- all sets of paths ---------------------------------------------------------- */

/* An odometer whose last wheel turns fastest: what stands last in the list is advanced
 * first, and in a choice the inside of its path before its own number. first: the number of
 * the list's first choice. False when all wheels are back at 0. */
static bool advance(const Layers *layers, int *choices, int first)
{
    int end = first + layers_choices(layers);

    for (int i = layers->count - 1; i >= 0; i--) {
        const Layer *layer = &layers->layer[i];
        int start = end, mine, at;
        start -= layer->kind == LAYER_CHOICE;
        for (int p = 0; p < layer->path_count; p++) start -= layers_choices(&layer->path[p]);
        mine = start;
        at = end;
        for (int p = layer->path_count - 1; p >= 0; p--) {
            int taken = layer->kind == LAYER_CHOICE ? choices[mine] : 0;
            at -= layers_choices(&layer->path[p]);
            if (layer_runs_path(layer, p, taken) && advance(&layer->path[p], choices, at))
                return true;
        }
        if (layer->kind == LAYER_CHOICE) {
            if (++choices[mine] < layer->path_count) return true;
            choices[mine] = 0;
        }
        end = start;
    }
    return false;
}

bool layers_next_choices(const Layers *layers, int *choices)
{
    return advance(layers, choices, 0);
}

static int64_t times(int64_t count, int64_t by, int64_t limit)
{
    return count > limit / by ? limit : count * by;
}

/* A choice has the sets of its paths together, a list those of its layers times each other, and a
 * residual those of its paths. */
int64_t layers_choice_count(const Layers *layers, int64_t limit)
{
    int64_t count = 1;

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        bool    choice = layer->kind == LAYER_CHOICE;
        int64_t sum = choice ? 0 : 1;
        for (int p = 0; p < layer->path_count && sum < limit; p++) {
            if (choice) sum += layers_choice_count(&layer->path[p], limit - sum);
            else sum = times(sum, layers_choice_count(&layer->path[p], limit), limit);
        }
        count = times(count, sum, limit);
    }
    return count;
}

/* ---- the new workload ---------------------------------------------------------------- */

typedef struct {
    Arena       *arena;      /* of the new layers, until they are written */
    const int   *choices;
    int          met;
    LayerOrigin *origins;
    int          origin_count;
    bool         failed;     /* no memory */
} Fix;

/* A list under construction; room for all that could come is there. */
typedef struct {
    Layers      layers;
    const char *prefix;
} SubnetList;

static int count_all(const Layers *layers)
{
    int count = layers->count;

    for (int i = 0; i < layers->count; i++)
        for (int p = 0; p < layers->layer[i].path_count; p++)
            count += count_all(&layers->layer[i].path[p]);
    return count;
}

static SubnetList new_list(Fix *fix, const char *prefix, const Layers *from)
{
    SubnetList list = {.prefix = prefix};

    list.layers.layer = arena_alloc(fix->arena, (size_t)count_all(from), sizeof(Layer));
    fix->failed |= !list.layers.layer;
    return list;
}

/* "3" or, for the prefix of what is inside, "3." */
static const char *name_in(Fix *fix, const SubnetList *list, const char *after)
{
    char        text[96];
    const char *name;

    snprintf(text, sizeof text, "%s%d%s", list->prefix, list->layers.count, after);
    name = arena_strdup(fix->arena, text);
    fix->failed |= !name;
    return name ? name : "";
}

static void fix_layers(Fix *fix, SubnetList *list, const Layers *from);

/* A path of a residual that is next in list. */
static Layers fix_path(Fix *fix, SubnetList *list, const Layers *from, const char *after)
{
    SubnetList inside = new_list(fix, name_in(fix, list, after), from);

    fix_layers(fix, &inside, from);
    return inside.layers;
}

static void fix_choice(Fix *fix, SubnetList *list, const Layer *choice)
{
    int taken = fix->choices[fix->met++];

    for (int p = 0; p < choice->path_count; p++) {
        if (p == taken) fix_layers(fix, list, &choice->path[p]);
        else fix->met += layers_choices(&choice->path[p]);
    }
}

static void fix_layer(Fix *fix, SubnetList *list, const Layer *layer)
{
    Layer copy = *layer;

    copy.name = name_in(fix, list, "");
    fix->origins[fix->origin_count++] = (LayerOrigin){copy.name, layer->name};
    if (layer->kind == LAYER_RESIDUAL) {
        copy.path = arena_alloc(fix->arena, (size_t)layer->path_count, sizeof *copy.path);
        fix->failed |= !copy.path;
        for (int p = 0; p < layer->path_count && !fix->failed; p++)
            copy.path[p] = fix_path(fix, list, &layer->path[p], p ? ".shortcut." : ".");
        if (fix->failed) return;
    }
    list->layers.layer[list->layers.count++] = copy;
}

static void fix_layers(Fix *fix, SubnetList *list, const Layers *from)
{
    for (int i = 0; i < from->count && !fix->failed; i++) {
        const Layer *layer = &from->layer[i];
        if (layer->kind == LAYER_CHOICE) fix_choice(fix, list, layer);
        else fix_layer(fix, list, layer);
    }
}

/* A block like old, but with a student on these paths. */
static int fix_block(WorkBlock *block, LayerOrigins *origins, Arena *arena, const WorkBlock *old,
                     const int *choices, Error *err)
{
    Fix     fix = {.arena = arena, .choices = choices};
    SubnetList list = new_list(&fix, "", &old->student);

    fix.origins = arena_alloc(arena, (size_t)count_all(&old->student), sizeof *fix.origins);
    if (fix.failed || !fix.origins) return error_no_memory(err);
    fix_layers(&fix, &list, &old->student);
    if (fix.failed) return error_no_memory(err);
    *block = *old;
    block->student = list.layers;
    block->choices = 0;
    *origins = (LayerOrigins){fix.origins, fix.origin_count};
    return 0;
}

/* The origins in the memory of their new owner. */
static LayerOrigins *keep_origins(Arena *arena, const LayerOrigins *origins, int count)
{
    LayerOrigins *kept = arena_alloc(arena, (size_t)count, sizeof *kept);

    for (int b = 0; kept && b < count; b++) {
        LayerOrigin *layer = arena_alloc(arena, (size_t)origins[b].count, sizeof *layer);
        if (!layer) return NULL;
        kept[b] = (LayerOrigins){layer, origins[b].count};
        for (int i = 0; i < origins[b].count; i++) {
            layer[i].name = arena_strdup(arena, origins[b].layer[i].name);
            layer[i].origin = arena_strdup(arena, origins[b].layer[i].origin);
            if (!layer[i].name || !layer[i].origin) return NULL;
        }
    }
    return kept;
}

int workload_subnet(Workload **out, LayerOrigins **origins, Text *text, const Workload *workload,
                    const int *const *choices, const char *name, const char *teacher_weights,
                    const char *data, Error *err)
{
    int           rc = -1, count = workload->block_count;
    Arena         arena = {0};
    Workload      fixed = *workload, *read = NULL;
    LayerOrigins *made = arena_alloc(&arena, (size_t)count, sizeof *made);

    *out = NULL;
    *origins = NULL;
    fixed.name = name;
    fixed.block = arena_alloc(&arena, (size_t)count, sizeof *fixed.block);
    if (!made || !fixed.block) { error_no_memory(err); goto done; }
    for (int b = 0; b < count; b++) {
        assert(layers_subnet_possible(&workload->block[b].student, choices[b]));
        if (fix_block(&fixed.block[b], &made[b], &arena, &workload->block[b], choices[b], err) != 0)
            goto done;
    }
    workload_write(&fixed, teacher_weights, data, text);
    if (text_failed(text)) { error_no_memory(err); goto done; }
    if (workload_parse(&read, name, text_string(text), text->length, err) != 0) goto done;
    *origins = keep_origins(&read->arena, made, count);
    if (!*origins) { error_no_memory(err); goto done; }
    *out = read; read = NULL; rc = 0;
done:
    workload_free(read);
    arena_free(&arena);
    return rc;
}
