#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/import/student_cuts.h"

enum { NAME_BYTES = 160 };

const Tensor *student_teacher(const Shrink *s, const char *layer, const char *what)
{
    char          name[2 * NAME_BYTES];
    const Tensor *t;

    snprintf(name, sizeof name, "blocks.%d.%s.%s", s->block, layer, what);
    t = tensors_find(s->teacher, name);
    if (!t) {
        const char *path = tensors_path(s->teacher);
        error_set(s->err, "%s%sthe teacher's tensor %s is missing", path ? path : "",
                  path ? ": " : "", name);
    }
    return t;
}

static const LayerCut *cut_of(const Shrink *s, const char *name)
{
    static const LayerCut whole = {0};
    const LayerCut       *cut = student_cut(s, name);

    return cut ? cut : &whole;
}

/* ---- cut tensors ------------------------------------------------------------------ */

/* Number (row, at) of the student's, at within the row; columns: of the teacher's row. */
static float number_of(const LayerCut *cut, const Tensor *from, int64_t row, int64_t at,
                       int64_t columns)
{
    double sum = 0;
    int    many = 0;

    if (cut->column && from->rank == 2) at = cut->column[at];
    if (!cut->row) return from->values[row * columns + at];
    for (int k = 0; k < cut->count; k++) {
        int64_t old = cut->row[row * cut->count + k];
        if (old < 0) continue;
        sum += (double)from->values[old * columns + at];
        many++;
    }
    return (float)(sum / many);
}

/* Of rows x width, as the cut has them. */
static void cut_tensor(float *to, const LayerCut *cut, const Tensor *from, int64_t rows,
                       int64_t width)
{
    int64_t columns = from->count / (from->dim[0] > 0 ? from->dim[0] : 1);

    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < width; c++) to[r * width + c] = number_of(cut, from, r, c, columns);
}

static Tensor *add(Shrink *s, const char *layer, const LayerParameter *p)
{
    char    name[2 * NAME_BYTES];
    Tensor *to = NULL;

    snprintf(name, sizeof name, "blocks.%d.%s%s%s.%s", s->block, s->name ? s->name : "",
             s->name ? "." : "", layer, p->what);
    return tensors_add(s->students, name, p->rank, p->dim, &to, s->err) == 0 ? to : NULL;
}

static int add_cut(Shrink *s, const LayerCut *cut, const char *old, const char *layer,
                   const LayerParameter *p)
{
    const Tensor *from = student_teacher(s, old, p->what);
    Tensor       *to = from ? add(s, layer, p) : NULL;

    if (!to) return -1;
    cut_tensor(to->values, cut, from, p->dim[0], to->count / p->dim[0]);
    return 0;
}

/* ---- layers that the teacher has not ------------------------------------------------ */

/* A 1 for each channel that is kept. */
static int add_way(Shrink *s, const char *layer, const LayerParameter *p, bool in)
{
    Tensor *to = add(s, layer, p);

    if (!to) return -1;
    for (int c = 0; to->rank == 2 && c < s->options->width; c++)
        to->values[in ? (int64_t)c * to->dim[1] + s->kept[c]
                      : (int64_t)s->kept[c] * to->dim[1] + c] = 1;
    return 0;
}

/* The first factor of the cut weight; the second is kept. */
static int add_factor(Shrink *s, const char *old, const char *layer, const LayerParameter *p)
{
    const LayerCut *cut = cut_of(s, old);
    const Tensor   *from = student_teacher(s, old, "weight");
    int64_t         out, in;
    Tensor         *to = from ? add(s, layer, p) : NULL;
    float          *weight, *b = NULL;
    int             rc = -1;

    if (!to) return -1;
    out = cut->row ? cut->rows : from->dim[0];
    in = cut->column ? cut->columns : from->dim[1];
    weight = malloc((size_t)(out * in) * sizeof *weight);
    if (weight) {
        cut_tensor(weight, cut, from, out, in);
        rc = low_rank(&s->factor, &b, weight, out, in, p->dim[0]);
    }
    if (rc == 0) memcpy(to->values, b, (size_t)to->count * sizeof *to->values);
    else error_no_memory(s->err);
    free(weight), free(b);
    return rc;
}

static int add_second(Shrink *s, const char *layer, const LayerParameter *p)
{
    Tensor *to = add(s, layer, p);

    if (to) memcpy(to->values, s->factor, (size_t)to->count * sizeof *to->values);
    free(s->factor);
    s->factor = NULL;
    return to ? 0 : -1;
}

/* ---- all --------------------------------------------------------------------------- */

static int add_layer(Shrink *s, const Layer *layer, const char *name)
{
    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            count = layer_parameter_list(layer, list), rc = 0;
    char           old[NAME_BYTES], mark = layer->name[strlen(layer->name) - 1];

    snprintf(old, sizeof old, "%s", layer->name);
    if (mark == '<' || mark == '>') old[strlen(old) - 1] = '\0';
    for (int i = 0; rc == 0 && i < count; i++) {
        if (mark == '-' || mark == '+') rc = add_way(s, name, &list[i], mark == '-');
        else if (strcmp(list[i].what, "weight") == 0 && mark == '<')
            rc = add_factor(s, old, name, &list[i]);
        else if (strcmp(list[i].what, "weight") == 0 && mark == '>')
            rc = add_second(s, name, &list[i]);
        else rc = add_cut(s, cut_of(s, old), old, name, &list[i]);
    }
    return rc;
}

static int name_list(Shrink *s, Layers *list, const char *prefix)
{
    char name[NAME_BYTES], inside[NAME_BYTES + 16];

    for (int i = 0; i < list->count; i++) {
        Layer *layer = &list->layer[i];

        snprintf(name, sizeof name, "%s%d", prefix, i);
        if (add_layer(s, layer, name) != 0) return -1;
        layer->name = arena_strdup(&s->workload->arena, name);
        if (!layer->name) return error_no_memory(s->err);
        for (int p = 0; p < layer->path_count; p++) {
            if (layer->kind == LAYER_RESIDUAL) snprintf(inside, sizeof inside, "%s.", name);
            else snprintf(inside, sizeof inside, "%s.%d.", name, p);
            if (name_list(s, &layer->path[p], inside) != 0) return -1;
        }
    }
    return 0;
}

int student_weights(Shrink *s, Layers *student) { return name_list(s, student, ""); }
