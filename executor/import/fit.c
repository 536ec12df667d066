#include "executor/import/fit.h"

#include <stdio.h>
#include <string.h>

#include "executor/import/sources.h"

typedef struct {
    Sources *sources;
    int      block, found;
    Error   *err;
    bool     failed;
} FitCheck;

static bool same_shape(const SourceTensor *t, const LayerParameter *p)
{
    bool same = t->rank == p->rank;

    for (int d = 0; same && d < t->rank; d++) same = t->dim[d] == p->dim[d];
    return same;
}

/* Looks up every parameter of a layer as blocks.B.LAYER.WHAT: it has to be there with the layer's
 * shape, as F32, F16 or BF16. Stops at the first that is not, and counts those that are. */
static void check_layer(const Layer *layer, void *context)
{
    FitCheck      *check = context;
    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            count = layer_parameter_list(layer, list);

    for (int i = 0; i < count && !check->failed; i++) {
        char                name[128];
        const SourceTensor *t;

        snprintf(name, sizeof name, "blocks.%d.%s.%s", check->block, layer->name, list[i].what);
        t = sources_find(check->sources, name);
        check->failed = !t || !same_shape(t, &list[i])
                        || (strcmp(t->dtype, "F32") != 0 && strcmp(t->dtype, "F16") != 0
                            && strcmp(t->dtype, "BF16") != 0);
        if (!t) error_set(check->err, "tensor %s is missing", name);
        else if (!same_shape(t, &list[i]))
            error_set(check->err, "tensor %s has another shape than layer %s", name, layer->name);
        else if (check->failed)
            error_set(check->err, "tensor %s is of type %s, expected F32, F16 or BF16", name,
                      t->dtype);
        check->found += !check->failed;
    }
}

int weights_fit(const Workload *workload, const char *path, int *tensors, Error *err)
{
    FitCheck check = {.err = err};

    *tensors = 0;
    if (sources_open_file(&check.sources, path, err) != 0) return -1;
    for (; check.block < workload->block_count && !check.failed; check.block++)
        layers_each(&workload->block[check.block].teacher, check_layer, &check);
    sources_free(check.sources);
    *tensors = check.found;
    return check.failed ? error_prefix(err, "%s", path) : 0;
}
