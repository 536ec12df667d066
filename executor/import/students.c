#include "executor/import/students.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* Which of a linear layer's rows and columns a student has. A row is the mean of count rows of the teacher's, stride apart. */
typedef struct {
    const char *name;        /* of the layer */
    int        *first;       /* [rows]; NULL: all rows as they are */
    int         rows, count, stride;
    int         plain;       /* rows in front that are taken one for one, whatever count says */
    int        *column;      /* [columns]; NULL: all */
    int         columns;
} LinearCut;

typedef struct {
    Workload             *workload;
    const Tensors        *teacher;
    Tensors              *students;
    const StudentOptions *options;
    int                   block;
    LinearCut            *cut;           /* [cut_count] of the block */
    int                   cut_count, cut_room;
    int                   changed;
    Error                *err;
} Shrink;

/* ---- cuts ------------------------------------------------------------------------ */

static LinearCut *cut_of(Shrink *s, const char *name)
{
    for (int i = 0; i < s->cut_count; i++)
        if (strcmp(s->cut[i].name, name) == 0) return &s->cut[i];
    if (!array_has_room(s->cut, s->cut_count, s->cut_room)) { error_no_memory(s->err); return NULL; }
    s->cut[s->cut_count] = (LinearCut){.name = name, .count = 1};
    return &s->cut[s->cut_count++];
}

static int *numbers(Shrink *s, int count)
{
    int *out = arena_alloc(&s->workload->arena, (size_t)count, sizeof *out);

    if (!out) error_no_memory(s->err);
    return out;
}

static const Tensor *weight_of(const Shrink *s, const char *layer, const char *what)
{
    char          name[160];
    const Tensor *t;

    snprintf(name, sizeof name, "blocks.%d.%s.%s", s->block, layer, what);
    t = tensors_find(s->teacher, name);
    if (!t) {
        const char *path = tensors_path(s->teacher);
        error_set(s->err, "%s%sthe teacher's tensor %s is missing", path ? path : "", path ? ": " : "", name);
    }
    return t;
}

/* ---- ffn -------------------------------------------------------------------------- */

typedef struct {
    double score;
    int    number;
} Neuron;

static int by_score(const void *a, const void *b)
{
    const Neuron *x = a, *y = b;

    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->number - y->number;
}

static int by_number(const void *a, const void *b) { return ((const Neuron *)a)->number - ((const Neuron *)b)->number; }

static double row_norm(const Tensor *w, int64_t row)
{
    double  sum = 0;
    int64_t columns = w->dim[1];

    for (int64_t c = 0; c < columns; c++) sum += (double)w->values[row * columns + c] * (double)w->values[row * columns + c];
    return sqrt(sum);
}

static double column_norm(const Tensor *w, int64_t column)
{
    double sum = 0;

    for (int64_t r = 0; r < w->dim[0]; r++) sum += (double)w->values[r * w->dim[1] + column] * (double)w->values[r * w->dim[1] + column];
    return sqrt(sum);
}

/* The neurons that are left, in their order. */
static int choose_neurons(Shrink *s, const Layer *in, const Layer *between, const Layer *out, int left, int *chosen)
{
    const Tensor *w_in = weight_of(s, in->name, "weight"), *w_out = weight_of(s, out->name, "weight");
    int           count = out->in.channels;
    Neuron       *all = calloc((size_t)count, sizeof *all);

    if (!w_in || !w_out || !all) { free(all); return all ? -1 : error_no_memory(s->err); }
    for (int n = 0; n < count; n++) {
        double up = between->kind == LAYER_GATED ? row_norm(w_in, count + n) : 1;
        all[n] = (Neuron){row_norm(w_in, n) * up * column_norm(w_out, n), n};
    }
    qsort(all, (size_t)count, sizeof *all, by_score);
    qsort(all, (size_t)left, sizeof *all, by_number);
    for (int n = 0; n < left; n++) chosen[n] = all[n].number;
    free(all);
    return 0;
}

/* Gates, then values: rows n and count + n belong together. */
static int cut_ffn(Shrink *s, Layer *in, Layer *between, Layer *out)
{
    int        count = out->in.channels, left = (int)fmax(1, floor(s->options->ffn * count + 0.5)), both = between->kind == LAYER_GATED ? 2 : 1;
    int       *chosen = numbers(s, left), *rows = numbers(s, both * left);
    LinearCut *cut;

    if (left >= count) return 0;
    if (!chosen || !rows || choose_neurons(s, in, between, out, left, chosen) != 0) return -1;
    for (int n = 0; n < left; n++)
        for (int k = 0; k < both; k++) rows[k * left + n] = k * count + chosen[n];
    if (!(cut = cut_of(s, in->name))) return -1;
    cut->first = rows;
    cut->rows = cut->plain = both * left;
    if (!(cut = cut_of(s, out->name))) return -1;
    cut->column = chosen;
    cut->columns = left;
    in->out.channels = between->in.channels = both * left;
    between->out.channels = out->in.channels = left;
    s->changed++;
    return 0;
}

static bool is_function(LayerKind kind)
{
    return kind == LAYER_GELU || kind == LAYER_SILU || kind == LAYER_TANH || kind == LAYER_RELU || kind == LAYER_GATED;
}

/* ---- key-value heads ---------------------------------------------------------------- */

static int cut_heads(Shrink *s, Layer *in, Layer *attention)
{
    Attention *a = &attention->attention;
    int        left = s->options->kv_heads, group = a->kv_heads / (left > 0 ? left : 1), queries = a->heads * a->head_dim;
    int        rows = queries + 2 * left * a->head_dim, *first;
    LinearCut *cut;

    if (left >= a->kv_heads) return 0;
    if (a->kv_heads % left != 0)
        return error_set(s->err, "block \"%s\", layer %s: %d key-value heads, of which %d are no even part", s->workload->block[s->block].name,
                         attention->name, a->kv_heads, left);
    if (!(cut = cut_of(s, in->name)) || !(first = numbers(s, rows))) return -1;
    for (int r = 0; r < queries; r++) first[r] = r;
    for (int r = queries; r < rows; r++) {
        int k = (r - queries) / a->head_dim, values = k >= left, head = k % left, i = (r - queries) % a->head_dim;
        first[r] = queries + (values * a->kv_heads + head * group) * a->head_dim + i;
    }
    *cut = (LinearCut){.name = in->name, .first = first, .rows = rows, .count = group, .stride = a->head_dim, .plain = queries};
    a->kv_heads = left;
    in->out.channels = attention->in.channels = rows;
    s->changed++;
    return 0;
}

/* ---- lists --------------------------------------------------------------------------- */

/* A copy whose layers may be changed. */
static int copy_list(Shrink *s, Layers *out, const Layers *from)
{
    Arena *arena = &s->workload->arena;

    out->count = from->count;
    out->layer = arena_alloc(arena, (size_t)from->count + 1, sizeof *out->layer);
    if (!out->layer) return error_no_memory(s->err);
    for (int i = 0; i < from->count; i++) {
        Layer *layer = &out->layer[i];

        *layer = from->layer[i];
        if (layer->path_count == 0) continue;
        layer->path = arena_alloc(arena, (size_t)layer->path_count, sizeof *layer->path);
        if (!layer->path) return error_no_memory(s->err);
        for (int p = 0; p < layer->path_count; p++)
            if (copy_list(s, &layer->path[p], &from->layer[i].path[p]) != 0) return -1;
    }
    return 0;
}

static int shrink_list(Shrink *s, Layers *list, bool inside)
{
    for (int i = 0; i < list->count; i++) {
        Layer *layer = &list->layer[i];

        for (int p = 0; p < layer->path_count; p++)
            if (shrink_list(s, &layer->path[p], true) != 0) return -1;
        if (s->options->kv_heads > 0 && i > 0 && layer->kind == LAYER_ATTENTION && list->layer[i - 1].kind == LAYER_LINEAR
            && cut_heads(s, &list->layer[i - 1], layer) != 0) return -1;
        if (s->options->ffn > 0 && inside && i >= 2 && layer->kind == LAYER_LINEAR && is_function(list->layer[i - 1].kind)
            && list->layer[i - 2].kind == LAYER_LINEAR && cut_ffn(s, &list->layer[i - 2], &list->layer[i - 1], layer) != 0) return -1;
    }
    return 0;
}

/* ---- weights --------------------------------------------------------------------------- */

/* One number of the student's row r; columns of the teacher's are column. */
static float number_of(const LinearCut *cut, const Tensor *from, int64_t row, int64_t column, int64_t columns)
{
    int    count = !cut->first || row < cut->plain ? 1 : cut->count;
    double sum = 0;

    for (int k = 0; k < count; k++) {
        int64_t old = cut->first ? cut->first[row] + (int64_t)k * cut->stride : row;
        sum += (double)from->values[old * columns + column];
    }
    return (float)(sum / count);
}

static int add_cut(Shrink *s, const LinearCut *cut, const Tensor *from, const LayerParameter *p, const char *name)
{
    Tensor *to;
    int64_t columns = from->rank == 2 ? from->dim[1] : 1, width = p->rank == 2 ? p->dim[1] : 1;

    if (tensors_add(s->students, name, p->rank, p->dim, &to, s->err) != 0) return -1;
    for (int64_t r = 0; r < p->dim[0]; r++)
        for (int64_t c = 0; c < width; c++)
            to->values[r * width + c] = number_of(cut, from, r, cut->column && p->rank == 2 ? cut->column[c] : c, columns);
    return 0;
}

typedef struct {
    Shrink *shrink;
    int     rc;
} Weights;

static void add_weights(const Layer *layer, void *context)
{
    Weights       *w = context;
    Shrink        *s = w->shrink;
    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            count = layer_parameter_list(layer, list);
    LinearCut      whole = {.name = layer->name, .count = 1}, *cut = &whole;

    for (int i = 0; i < s->cut_count; i++)
        if (strcmp(s->cut[i].name, layer->name) == 0) cut = &s->cut[i];
    for (int i = 0; w->rc == 0 && i < count; i++) {
        const Tensor *from = weight_of(s, layer->name, list[i].what);
        char          name[160];

        snprintf(name, sizeof name, "blocks.%d.%s.%s", s->block, layer->name, list[i].what);
        if (!from) w->rc = -1;
        else if (cut == &whole) {
            Tensor same = *from;
            same.name = name;
            w->rc = tensors_put_one(s->students, &same, s->err);
        } else w->rc = add_cut(s, cut, from, &list[i], name);
    }
}

int students_make(Workload *workload, const Tensors *teacher, Tensors *students, const StudentOptions *options, int *changed,
                  Error *err)
{
    Shrink s = {.workload = workload, .teacher = teacher, .students = students, .options = options, .err = err};
    int    rc = 0;

    for (; rc == 0 && s.block < workload->block_count; s.block++) {
        WorkBlock *block = &workload->block[s.block];
        Weights    weights = {.shrink = &s};

        s.cut_count = 0;
        rc = copy_list(&s, &block->student, &block->teacher);
        block->choices = 0;
        if (rc == 0) rc = shrink_list(&s, &block->student, false);
        if (rc == 0) layers_each(&block->student, add_weights, &weights);
        if (rc == 0) rc = weights.rc;
    }
    *changed = s.changed;
    free(s.cut);
    return rc;
}
