#include "executor/import/students.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "executor/import/student_cuts.h"

/* ---- cuts ------------------------------------------------------------------------ */

LayerCut *student_cut(const Shrink *s, const char *name)
{
    for (int i = 0; i < s->cut_count; i++)
        if (strcmp(s->cut[i].name, name) == 0) return &s->cut[i];
    return NULL;
}

/* The layer's cut, added when there is none. */
static LayerCut *cut_of(Shrink *s, const char *name)
{
    LayerCut *cut = student_cut(s, name);

    if (cut) return cut;
    if (!array_has_room(s->cut, s->cut_count, s->cut_room)) {
        error_no_memory(s->err);
        return NULL;
    }
    s->cut[s->cut_count] = (LayerCut){.name = name, .count = 1};
    return &s->cut[s->cut_count++];
}

static int *numbers(Shrink *s, int count)
{
    int *out = arena_alloc(&s->workload->arena, (size_t)count, sizeof *out);

    if (!out) error_no_memory(s->err);
    return out;
}

static int cut_rows(Shrink *s, const char *name, int *row, int rows, int count)
{
    LayerCut *cut = cut_of(s, name);

    if (!cut) return -1;
    cut->row = row;
    cut->rows = rows;
    cut->count = count;
    return 0;
}

static int cut_columns(Shrink *s, const char *name, int *column, int columns)
{
    LayerCut *cut = cut_of(s, name);

    if (!cut) return -1;
    cut->column = column;
    cut->columns = columns;
    return 0;
}

/* ---- the most of some ---------------------------------------------------------------- */

typedef struct {
    double score;
    int    number;
} Scored;

static int by_score(const void *a, const void *b)
{
    const Scored *x = a, *y = b;

    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->number - y->number;
}

static int by_number(const void *a, const void *b)
{
    return ((const Scored *)a)->number - ((const Scored *)b)->number;
}

/* Numbers of the left that have the largest scores, in their order. */
static void choose(int *chosen, Scored *all, int count, int left)
{
    qsort(all, (size_t)count, sizeof *all, by_score);
    qsort(all, (size_t)left, sizeof *all, by_number);
    for (int n = 0; n < left; n++) chosen[n] = all[n].number;
}

/* Sum of squares of rows first .. first + rows - 1 and columns likewise; columns 0: all. */
static double squares(const Tensor *w, int64_t first, int64_t rows, int64_t column, int64_t columns)
{
    double  sum = 0;
    int64_t width = w->dim[1], end = columns ? column + columns : width;

    for (int64_t r = first; r < first + rows; r++)
        for (int64_t c = columns ? column : 0; c < end; c++)
            sum += (double)w->values[r * width + c] * (double)w->values[r * width + c];
    return sum;
}

/* ---- ffn -------------------------------------------------------------------------- */

/* The neurons that are left, in their order. */
static int choose_neurons(Shrink *s, const Layer *in, const Layer *between, const Layer *out,
                          int left, int *chosen)
{
    const Tensor *w_in = student_teacher(s, in->name, "weight"),
                 *w_out = student_teacher(s, out->name, "weight");
    int           count = out->in.channels;
    Scored       *all = calloc((size_t)count, sizeof *all);

    if (!w_in || !w_out || !all) { free(all); return all ? -1 : error_no_memory(s->err); }
    for (int n = 0; n < count; n++) {
        double up = between->kind == LAYER_GATED ? sqrt(squares(w_in, count + n, 1, 0, 0)) : 1;
        all[n] = (Scored){
            sqrt(squares(w_in, n, 1, 0, 0)) * up * sqrt(squares(w_out, 0, w_out->dim[0], n, 1)), n};
    }
    choose(chosen, all, count, left);
    free(all);
    return 0;
}

/* Gates, then values: rows n and count + n belong together. */
static int cut_ffn(Shrink *s, Layer *in, Layer *between, Layer *out)
{
    int  count = out->in.channels, left = (int)fmax(1, floor(s->options->ffn * count + 0.5)),
         both = between->kind == LAYER_GATED ? 2 : 1;
    int *chosen = numbers(s, left), *rows = numbers(s, both * left);

    if (left >= count) return 0;
    if (!chosen || !rows || choose_neurons(s, in, between, out, left, chosen) != 0) return -1;
    for (int n = 0; n < left; n++)
        for (int k = 0; k < both; k++) rows[k * left + n] = k * count + chosen[n];
    if (cut_rows(s, in->name, rows, both * left, 1) != 0
        || cut_columns(s, out->name, chosen, left) != 0)
        return -1;
    in->out.channels = between->in.channels = both * left;
    between->out.channels = out->in.channels = left;
    s->changed++;
    return 0;
}

static bool is_function(LayerKind kind)
{
    return kind == LAYER_GELU || kind == LAYER_SILU || kind == LAYER_TANH || kind == LAYER_RELU
           || kind == LAYER_GATED;
}

/* ---- heads ------------------------------------------------------------------------- */

/* A linear layer, attention on what it gives, a linear layer on what comes out. */
typedef struct { Layer *in, *attention, *out; } AttentionLayers;

/* Rows first .. first + rows - 1 of the teacher's, behind those that are there. */
static int put_rows(int *row, int at, int first, int rows)
{
    for (int r = 0; r < rows; r++) row[at + r] = first + r;
    return at + rows;
}

/* So many query heads are left of each key-value head, or, where each has keys of its own, so many
 * of both. */
static int choose_heads(Shrink *s, const AttentionLayers *l, int *chosen)
{
    const Attention *a = &l->attention->attention;
    const Tensor    *in = student_teacher(s, l->in->name, "weight"),
                 *out = student_teacher(s, l->out->name, "weight");
    int dim = a->head_dim, together = a->heads == a->kv_heads ? a->heads : a->heads / a->kv_heads;
    int              left = s->options->heads * together / a->heads;
    Scored          *all = calloc((size_t)together, sizeof *all);

    if (!in || !out || !all) { free(all); return all ? -1 : error_no_memory(s->err); }
    for (int first = 0; first < a->heads; first += together) {
        for (int h = 0; h < together; h++) {
            int kv = (first + h) / (a->heads / a->kv_heads);
            all[h] = (Scored){squares(in, (a->heads + a->kv_heads + kv) * dim, dim, 0, 0)
                              * squares(out, 0, out->dim[0], (first + h) * dim, dim), first + h};
        }
        choose(chosen + first / together * left, all, together, left);
    }
    free(all);
    return 0;
}

/* Leaves the option's number of heads in an attention, the ones that choose_heads() finds, with the
 * rows and columns of the products around it. Refuses a number that its key-value heads do not
 * divide. */
static int cut_heads(Shrink *s, const AttentionLayers *l)
{
    Attention *a = &l->attention->attention;
    int        left = s->options->heads, dim = a->head_dim, own = a->heads == a->kv_heads,
        kv_left = own ? left : a->kv_heads;
    int *chosen = numbers(s, left), rows = (left + 2 * kv_left) * dim, *row = numbers(s, rows),
        *column = numbers(s, left * dim), at = 0;

    if (left >= a->heads) return 0;
    if (left % kv_left != 0)
        return error_set(
            s->err,
            "block \"%s\", layer %s: %d heads are no even part of those of %d key-value heads",
            s->workload->block[s->block].name, l->attention->name, left, a->kv_heads);
    if (!chosen || !row || !column || choose_heads(s, l, chosen) != 0) return -1;
    for (int h = 0; h < left; h++) at = put_rows(row, at, chosen[h] * dim, dim);
    for (int which = 0; which < 2; which++)
        for (int k = 0; k < kv_left; k++)
            at = put_rows(row, at, (a->heads + which * a->kv_heads + (own ? chosen[k] : k)) * dim,
                          dim);
    memcpy(column, row, (size_t)(left * dim) * sizeof *column);
    if (cut_rows(s, l->in->name, row, rows, 1) != 0
        || cut_columns(s, l->out->name, column, left * dim) != 0)
        return -1;
    a->heads = left;
    a->kv_heads = kv_left;
    l->in->out.channels = l->attention->in.channels = rows;
    l->attention->out.channels = l->out->in.channels = left * dim;
    s->changed++;
    return 0;
}

/* Behind cut_heads(): of the rows that it left. */
static int cut_kv_heads(Shrink *s, Layer *in, Layer *attention)
{
    Attention *a = &attention->attention;
    int left = s->options->kv_heads, group = a->kv_heads / left, queries = a->heads * a->head_dim,
        dim = a->head_dim;
    int        rows = queries + 2 * left * dim, *row;
    LayerCut  *cut;

    if (left >= a->kv_heads) return 0;
    if (a->kv_heads % left != 0)
        return error_set(s->err,
                         "block \"%s\", layer %s: %d key-value heads, of which %d are no even part",
                         s->workload->block[s->block].name, attention->name, a->kv_heads, left);
    if (!(cut = cut_of(s, in->name)) || !(row = numbers(s, rows * group))) return -1;
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < group; k++) {
            int which = r < queries ? 0 : (r - queries) / (left * dim),
                head = (r - queries) / dim % left, i = (r - queries) % dim;
            int old =
                r < queries ? r : queries + (which * a->kv_heads + head * group + k) * dim + i;
            row[r * group + k] = r < queries && k > 0 ? -1 : cut->row ? cut->row[old] : old;
        }
    a->kv_heads = left;
    in->out.channels = attention->in.channels = rows;
    s->changed++;
    return cut_rows(s, in->name, row, rows, group);
}

static int cut_attention(Shrink *s, Layers *list, int i)
{
    AttentionLayers l = {i > 0 ? &list->layer[i - 1] : NULL, &list->layer[i],
                         i + 1 < list->count ? &list->layer[i + 1] : NULL};

    if (!l.in || l.in->kind != LAYER_LINEAR) return 0;
    if (s->options->heads > 0 && l.out && l.out->kind == LAYER_LINEAR && cut_heads(s, &l) != 0)
        return -1;
    return s->options->kv_heads > 0 ? cut_kv_heads(s, l.in, l.attention) : 0;
}

/* ---- width --------------------------------------------------------------------------- */

/* Adds to score [channels] what the first linear layer of each list weighs its input's channels. */
static int weigh(Shrink *s, const Layers *list, double *score, int channels)
{
    for (int i = 0; i < list->count; i++) {
        const Layer  *layer = &list->layer[i];
        const Tensor *w;

        if (layer->kind == LAYER_RESIDUAL && weigh(s, &layer->path[0], score, channels) != 0)
            return -1;
        if (layer->kind != LAYER_LINEAR && layer->kind != LAYER_EMBEDDING) continue;
        if (!(w = student_teacher(s, layer->name, "weight"))) return -1;
        for (int c = 0; c < channels; c++)
            score[c] += squares(w, 0, w->dim[0], c, 1) / (double)w->dim[0];
        if (layer->kind == LAYER_LINEAR) break;
    }
    return 0;
}

static int choose_channels(Shrink *s, const Layers *list, int channels)
{
    double *score = calloc((size_t)channels, sizeof *score);
    Scored *all = calloc((size_t)channels, sizeof *all);
    int     rc =
        score && all && (s->kept = numbers(s, s->options->width)) ? 0 : error_no_memory(s->err);

    if (rc == 0) rc = weigh(s, list, score, channels);
    for (int c = 0; rc == 0 && c < channels; c++) all[c] = (Scored){score[c], c};
    if (rc == 0) choose(s->kept, all, channels, s->options->width);
    free(score), free(all);
    return rc;
}

static bool is_norm(LayerKind kind) { return kind == LAYER_LAYERNORM || kind == LAYER_RMSNORM; }

/* Layers of a list that work on the narrow channels; *left: none behind the list does, as a linear
 * layer outside of a residual gave others. */
static int narrow_list(Shrink *s, Layers *list, bool inside, bool *left)
{
    int width = s->options->width, last = -1;

    for (int i = 0; inside && i < list->count; i++)
        if (list->layer[i].kind == LAYER_LINEAR) last = i;
    *left = false;
    for (int i = 0; i < list->count; i++) {
        Layer *layer = &list->layer[i];
        bool   off;

        if (*left && layer->kind != LAYER_LINEAR) continue;
        if (layer->kind == LAYER_RESIDUAL) {
            if (narrow_list(s, &layer->path[0], true, &off) != 0) return -1;
            layer->in.channels = layer->out.channels = width;
        } else if (layer->kind == LAYER_LINEAR) {
            if (!*left && cut_columns(s, layer->name, s->kept, width) != 0) return -1;
            if (!*left) layer->in.channels = width;
            *left = true;
            if (i == last) {
                if (cut_rows(s, layer->name, s->kept, width, 1) != 0) return -1;
                layer->out.channels = width;
                *left = false;
            }
        } else if (is_norm(layer->kind) || layer->kind == LAYER_CONV) {
            if (cut_rows(s, layer->name, s->kept, width, 1) != 0) return -1;
            layer->out.channels = width;
            if (is_norm(layer->kind)) layer->in.channels = width;
        } else {
            if ((layer->kind == LAYER_EMBEDDING || layer->kind == LAYER_TOKENS)
                && cut_columns(s, layer->name, s->kept, width) != 0)
                return -1;
            if (layer->kind != LAYER_EMBEDDING) layer->in.channels = width;
            layer->out.channels = width;
        }
    }
    return 0;
}

/* A linear layer between two widths at either end. */
static Layer way(const char *name, Shape in, int out)
{
    return (Layer){.kind = LAYER_LINEAR, .name = name, .in = in, .out = {out, in.height, in.width}};
}

/* The channels of what a block works on: those that go into it, or that its first layer makes of
 * tokens or pixels. */
static int stream_of(const WorkBlock *block)
{
    const Layer *first = &block->teacher.layer[0];

    return first->kind == LAYER_EMBEDDING || first->kind == LAYER_CONV ? first->out.channels
                                                                       : block->in.channels;
}

/* Makes a block's student narrower: its residual stream has options->width channels, those that
 * choose_channels() keeps, in between linear layers that lead in ("-") and out ("+") where the
 * block itself does not. A stream that is no wider stays as it is. */
static int narrow(Shrink *s, WorkBlock *block)
{
    int    channels = stream_of(block), width = s->options->width, at = 0;
    bool   made = block->student.layer[0].kind == LAYER_EMBEDDING
                || block->student.layer[0].kind == LAYER_CONV,
         left;
    Layer *layer =
        arena_alloc(&s->workload->arena, (size_t)block->student.count + 2, sizeof *layer);

    if (width >= channels) return 0;
    if (!layer) return error_no_memory(s->err);
    if (choose_channels(s, &block->teacher, channels) != 0
        || narrow_list(s, &block->student, false, &left) != 0)
        return -1;
    if (!made) layer[at++] = way("-", block->in, width);
    for (int i = 0; i < block->student.count; i++) layer[at++] = block->student.layer[i];
    if (!left) {
        layer[at] = way("+", layer[at - 1].out, block->out.channels);
        layer[at++].bias = true;
    }
    block->student = (Layers){layer, at};
    s->changed++;
    return 0;
}

/* ---- rank ---------------------------------------------------------------------------- */

static const char *marked(Shrink *s, const char *name, char mark)
{
    size_t length = strlen(name);
    char  *out = arena_alloc(&s->workload->arena, length + 2, 1);

    if (!out) { error_no_memory(s->err); return NULL; }
    snprintf(out, length + 2, "%s%c", name, mark);
    return out;
}

/* Replaces each linear layer inside a residual by two of the option's rank, where these have fewer
 * weights; in bodies and paths too. */
static int factor_list(Shrink *s, Layers *list, bool inside)
{
    int    rank = s->options->rank, at = 0;
    Layer *layer = arena_alloc(&s->workload->arena, 2 * (size_t)list->count + 1, sizeof *layer);

    if (!layer) return error_no_memory(s->err);
    for (int i = 0; i < list->count; i++) {
        Layer *from = &list->layer[i];

        for (int p = 0; p < from->path_count; p++)
            if (factor_list(s, &from->path[p], true) != 0) return -1;
        layer[at++] = *from;
        if (!inside || from->kind != LAYER_LINEAR
            || (int64_t)rank * (from->in.channels + from->out.channels)
                   >= (int64_t)from->in.channels * from->out.channels)
            continue;
        layer[at] = *from;
        layer[at - 1].out.channels = layer[at].in.channels = rank;
        layer[at - 1].bias = false;
        layer[at - 1].name = marked(s, from->name, '<');
        layer[at].name = marked(s, from->name, '>');
        if (!layer[at - 1].name || !layer[at].name) return -1;
        at++;
        s->changed++;
    }
    *list = (Layers){layer, at};
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
        if (layer->kind == LAYER_ATTENTION && cut_attention(s, list, i) != 0) return -1;
        if (s->options->ffn > 0 && inside && i >= 2 && layer->kind == LAYER_LINEAR
            && is_function(list->layer[i - 1].kind) && list->layer[i - 2].kind == LAYER_LINEAR
            && cut_ffn(s, &list->layer[i - 2], &list->layer[i - 1], layer) != 0)
            return -1;
    }
    return 0;
}

/* block->student by options: the teacher's layers, cut. */
static int shape_student(Shrink *s, WorkBlock *block, const StudentOptions *options)
{
    s->options = options;
    s->cut_count = 0;
    s->kept = NULL;
    if (copy_list(s, &block->student, &block->teacher) != 0
        || shrink_list(s, &block->student, false) != 0)
        return -1;
    if (options->width > 0 && narrow(s, block) != 0) return -1;
    return options->rank > 0 ? factor_list(s, &block->student, false) : 0;
}

/* ---- several ---------------------------------------------------------------------------- */

/* Of students of one teacher, before their layers have names of their own. */
static bool same_lists(const Layers *a, const Layers *b)
{
    if (a->count != b->count) return false;
    for (int i = 0; i < a->count; i++) {
        const Layer *x = &a->layer[i], *y = &b->layer[i];
        if (x->kind != y->kind || strcmp(x->name, y->name) != 0 || !shape_equal(x->in, y->in)
            || !shape_equal(x->out, y->out) || x->path_count != y->path_count
            || x->attention.heads != y->attention.heads
            || x->attention.kv_heads != y->attention.kv_heads)
            return false;
        for (int p = 0; p < x->path_count; p++)
            if (!same_lists(&x->path[p], &y->path[p])) return false;
    }
    return true;
}

/* The options that make different students of the block: their numbers in chosen [count]. *many:
 * how many they are. */
static int find_different(Shrink *s, WorkBlock *block, const StudentOptions *options, int count,
                          int *chosen, int *many)
{
    int     changed = s->changed;        /* counted when they are made */
    Layers *lists = calloc((size_t)count, sizeof *lists);
    int     rc = lists ? 0 : error_no_memory(s->err);

    *many = 0;
    for (int i = 0; rc == 0 && i < count; i++) {
        bool again = false;
        rc = shape_student(s, block, &options[i]);
        for (int k = 0; rc == 0 && k < *many; k++)
            again = again || same_lists(&lists[k], &block->student);
        if (rc != 0 || again) continue;
        lists[*many] = block->student;
        chosen[(*many)++] = i;
    }
    free(lists);
    s->changed = changed;
    return rc;
}

/* The block's students by the options chosen [many], with their weights. */
static int make_students(Shrink *s, WorkBlock *block, const StudentOptions *options,
                         const int *chosen, int many)
{
    Arena       *arena = &s->workload->arena;
    WorkStudent *list = arena_alloc(arena, (size_t)many, sizeof *list);

    if (!list) return error_no_memory(s->err);
    for (int k = 0; k < many; k++) {
        list[k].name = arena_strdup(arena, options[chosen[k]].name);
        if (!list[k].name) return error_no_memory(s->err);
        s->name = many > 1 ? list[k].name : NULL;
        if (shape_student(s, block, &options[chosen[k]]) != 0
            || student_weights(s, &block->student) != 0)
            return -1;
        list[k].layers = block->student;
    }
    block->choices = 0;
    block->student = list[0].layers;
    block->students = many > 1 ? list : NULL;
    block->student_count = many;
    return 0;
}

int students_make(Workload *workload, const Tensors *teacher, Tensors *students,
                  const StudentOptions *options, int count, int *changed, Error *err)
{
    Shrink s = {.workload = workload, .teacher = teacher, .students = students, .err = err};
    int   *chosen = calloc((size_t)count, sizeof *chosen), many, rc = 0;

    if (!chosen) return error_no_memory(err);
    for (; rc == 0 && s.block < workload->block_count; s.block++) {
        WorkBlock *block = &workload->block[s.block];
        rc = find_different(&s, block, options, count, chosen, &many);
        if (rc == 0) rc = make_students(&s, block, options, chosen, many);
    }
    *changed = s.changed;
    free(chosen);
    free(s.cut);
    free(s.factor);
    return rc;
}
