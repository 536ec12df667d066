#include "workloads/head.h"

const Layer *layers_last(const Layers *layers) { return &layers->layer[layers->count - 1]; }

Layers layers_body(const Layers *layers, bool leave) { return (Layers){layers->layer, layers->count - leave}; }

static bool ends_linear(const Layers *layers) { return layers->count > 0 && layers_last(layers)->kind == LAYER_LINEAR; }

bool workload_has_head(const Workload *workload, int b)
{
    const WorkBlock *block = &workload->block[b];

    return b == workload->block_count - 1 && loss_is_of_scores(block->loss) && block->out.height > 1 && ends_linear(&block->teacher)
           && ends_linear(&block->student);
}

Shape workload_boundary(const Workload *workload, int boundary)
{
    if (boundary == 0) return workload->block[0].in;
    const WorkBlock *block = &workload->block[boundary - 1];
    return workload_has_head(workload, boundary - 1) ? layers_last(&block->teacher)->in : block->out;
}

int64_t workload_boundary_count(const Workload *workload, int boundary)
{
    return shape_count(workload_boundary(workload, boundary));
}

int64_t workload_output_count(const Workload *workload, int b)
{
    const WorkBlock *block = &workload->block[b];

    return shape_count(workload_has_head(workload, b) ? layers_last(&block->student)->in : block->out);
}
