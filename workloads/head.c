#include "workloads/head.h"

#include "base/minmax.h"

const Layer *layers_last(const Layers *layers) { return &layers->layer[layers->count - 1]; }

Layers layers_body(const Layers *layers, bool leave)
{
    return (Layers){layers->layer, layers->count - leave};
}

static bool ends_linear(const Layers *layers)
{
    return layers->count > 0 && layers_last(layers)->kind == LAYER_LINEAR;
}

/* One rule for all students of a block, whose boundary is what goes into the teacher's head. */
static bool students_end_linear(const WorkBlock *block)
{
    for (int j = 0; j < block_students(block); j++) {
        WorkBlock one = block_with_student(block, j);
        if (!ends_linear(&one.student)) return false;
    }
    return true;
}

bool workload_has_head(const Workload *workload, int b)
{
    const WorkBlock *block = &workload->block[b];

    return b == workload->block_count - 1 && loss_is_of_scores(block->loss) && block->out.height > 1
           && ends_linear(&block->teacher) && students_end_linear(block);
}

int64_t head_piece(int64_t tokens, int64_t vocabulary)
{
    int64_t most = larger(HEAD_FLOATS / vocabulary, HEAD_LEAST),
            pieces = (tokens + most - 1) / most;

    return (tokens + pieces - 1) / pieces;
}

Shape workload_boundary(const Workload *workload, int boundary)
{
    if (boundary == 0) return workload->block[0].in;
    const WorkBlock *block = &workload->block[boundary - 1];
    return workload_has_head(workload, boundary - 1) ? layers_last(&block->teacher)->in
                                                     : block->out;
}

int64_t workload_boundary_count(const Workload *workload, int boundary)
{
    return shape_count(workload_boundary(workload, boundary));
}

int64_t workload_output_count(const Workload *workload, int b, int student)
{
    WorkBlock block = block_with_student(&workload->block[b], student);

    return shape_count(workload_has_head(workload, b) ? layers_last(&block.student)->in
                                                      : block.out);
}
