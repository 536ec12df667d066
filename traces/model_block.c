#include "traces/model_block.h"

#include <math.h>

#include "workloads/head.h"

typedef struct {
    const ModelDevice *device;
    double             rows;
    bool               frozen;
    OperatorEntry      entry;            /* block and teacher are set */
    OperatorVisit     *visit;            /* or NULL */
    void              *context;
} LayerWalk;

typedef struct {
    PassCost us[PASS_COUNT];
    PassCost variance_us2;
} BlockSum;

static void add(PassCost *to, PassCost what, double times)
{
    to->device_us += what.device_us * times;
    to->host_us += what.host_us * times;
}

static PassCost total(const PassCost us[PASS_COUNT])
{
    PassCost all = {0};

    for (int p = 0; p < PASS_COUNT; p++) add(&all, us[p], 1);
    return all;
}

static PassCost square(PassCost us)
{
    return (PassCost){us.device_us * us.device_us, us.host_us * us.host_us};
}

static void add_operator(LayerWalk *walk, const OperatorWork *work, BlockSum *sum)
{
    walk->entry.work = work;
    walk->entry.cost = operator_cost(walk->device, work);
    add(&sum->us[work->pass], (PassCost){walk->entry.cost.us, walk->entry.cost.launch_us}, 1);
    if (walk->visit) walk->visit(&walk->entry, walk->context);
}

static const char *kind_of(const Layer *layer)
{
    if (layer->kind == LAYER_RESIDUAL) return "add";
    return operator_is_depthwise(layer) ? "depthwise" : layer_kind_name(layer->kind);
}

static void add_layer(LayerWalk *walk, const Layer *layer, bool needs_dx, BlockSum *sum)
{
    OperatorWork work[OPERATOR_MOST];

    walk->entry.layer = layer->name;
    for (int pass = PASS_FORWARD; pass <= (walk->frozen ? PASS_FORWARD : PASS_WEIGHT); pass++) {
        int count = operator_list(work, walk->device, layer, (Pass)pass, walk->rows, walk->frozen,
                                  needs_dx);
        for (int i = 0; i < count; i++) {
            walk->entry.kind = work[i].what ? work[i].what : kind_of(layer);
            add_operator(walk, &work[i], sum);
        }
    }
}

static bool trains(const Layers *layers) { return layers_cost(layers).parameters > 0; }

static void add_sum(BlockSum *to, BlockSum what)
{
    for (int p = 0; p < PASS_COUNT; p++) add(&to->us[p], what.us[p], 1);
    add(&to->variance_us2, what.variance_us2, 1);
}

/* Gradients are wanted behind the first layer that trains (before: there was one). */
static BlockSum walk_layers(LayerWalk *walk, const Layers *layers, bool before);

/* The mean over the paths, and what they vary: var = mean of var + var of means. */
static BlockSum walk_choice(LayerWalk *walk, const Layer *layer, bool before)
{
    double   share = walk->entry.share, each = 1.0 / layer->path_count;
    PassCost squares = {0};
    BlockSum      mean = {0};

    walk->entry.share = share * each;
    for (int i = 0; i < layer->path_count; i++) {
        BlockSum path = walk_layers(walk, &layer->path[i], before);
        for (int p = 0; p < PASS_COUNT; p++) add(&mean.us[p], path.us[p], each);
        add(&mean.variance_us2, path.variance_us2, each);
        add(&squares, square(total(path.us)), each);
    }
    PassCost of_mean = square(total(mean.us));
    mean.variance_us2.device_us += fmax(0, squares.device_us - of_mean.device_us);
    mean.variance_us2.host_us += fmax(0, squares.host_us - of_mean.host_us);
    walk->entry.share = share;
    return mean;
}

static BlockSum walk_layers(LayerWalk *walk, const Layers *layers, bool before)
{
    BlockSum sum = {0};

    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i];
        if (layer->kind == LAYER_CHOICE) add_sum(&sum, walk_choice(walk, layer, before));
        for (int p = 0; layer->kind == LAYER_RESIDUAL && p < layer->path_count; p++)
            add_sum(&sum, walk_layers(walk, &layer->path[p], before));
        add_layer(walk, layer, before, &sum);
        before = before || trains(&(Layers){(Layer *)layer, 1});
    }
    return sum;
}

/* ---- whole ------------------------------------------------------------------------------ */

static void count_tensors(const Layer *layer, void *context)
{
    double *count = context;

    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            all = layer_parameter_list(layer, list);

    for (int i = 0; i < all; i++) *count += list[i].trained;
}

/* What a step does once, whatever the path: the loss, its gradient, the update of all
 * parameters. */
static void add_ends(LayerWalk *walk, const Workload *workload, const WorkBlock *work,
                     BlockSum *sum)
{
    OperatorWork once[3] = {
        operator_loss(walk->device, work->loss, work->out, PASS_FORWARD, walk->rows),
        operator_loss(walk->device, work->loss, work->out, PASS_DATA, walk->rows)};
    double       tensors = 0;

    layers_each(&work->student, count_tensors, &tensors);
    once[2] = operator_update(walk->device, workload, work,
                              (double)layers_cost(&work->student).parameters, tensors);
    walk->entry.share = 1;
    for (int i = 0; i < 3; i++) {
        walk->entry.layer = i < 2 ? "loss" : "optimizer";
        walk->entry.kind = i < 2                                    ? loss_name(work->loss)
                           : workload->optimizer == OPTIMIZER_ADAMW ? "adamw"
                                                                    : "sgd";
        add_operator(walk, &once[i], sum);
    }
}

/* A head's layers, whose forward is part of BACKWARD too. */
static void add_head(LayerWalk *walk, const Layers *layers, bool frozen, BlockSum *student)
{
    BlockSum head;

    walk->frozen = walk->entry.teacher = frozen;
    head = walk_layers(walk, &(Layers){&layers->layer[layers->count - 1], 1}, true);
    add(&student->us[PASS_DATA], head.us[PASS_FORWARD], 1);
    add(&student->us[PASS_DATA], head.us[PASS_DATA], 1);
    add(&student->us[PASS_WEIGHT], head.us[PASS_WEIGHT], 1);
}

/* visit hears of the teacher's pass with the first student, as it is made once for all. */
static BlockCost walk_block(const ModelDevice *device, const Workload *workload, int block,
                            int number, double rows, OperatorVisit *visit, void *context)
{
    WorkBlock work = block_with_student(&workload->block[block], number);
    LayerWalk walk = {.device = device, .rows = rows, .frozen = true,
                      .visit = number == 0 ? visit : NULL, .context = context,
                      .entry = {.block = block, .teacher = true, .student = number, .share = 1}};
    BlockCost cost = {0};
    bool      head = workload_has_head(workload, block);
    Layers    of_teacher = layers_body(&work.teacher, head),
           of_student = layers_body(&work.student, head);

    BlockSum teacher = walk_layers(&walk, &of_teacher, false);
    walk.visit = visit;
    walk.frozen = walk.entry.teacher = false;
    BlockSum student = walk_layers(&walk, &of_student, false);
    if (head && !loss_is_of_labels(work.loss)) add_head(&walk, &work.teacher, true, &student);
    if (head) add_head(&walk, &work.student, false, &student);
    add_ends(&walk, workload, &work, &student);
    cost.teacher = total(teacher.us);
    for (int p = 0; p < PASS_COUNT; p++) cost.student[p] = student.us[p];
    cost.variance_us2 = student.variance_us2;
    return cost;
}

double model_work_us(const BlockCost *cost, Work work)
{
    PassCost us = work == WORK_TEACHER  ? cost->teacher
                  : work == WORK_UPDATE ? cost->student[PASS_UPDATE]
                                        : cost->student[PASS_FORWARD];

    if (work == WORK_BACKWARD) {
        us = cost->student[PASS_DATA];
        add(&us, cost->student[PASS_WEIGHT], 1);
    }
    return fmax(us.device_us, us.host_us);
}

double model_spread(const BlockCost *cost)
{
    PassCost student = total(cost->student);
    double   variance = student.device_us >= student.host_us ? cost->variance_us2.device_us
                                                             : cost->variance_us2.host_us,
           sum = 0;

    for (int w = 0; w < WORK_COUNT; w++) sum += model_work_us(cost, (Work)w);
    return sum > 0 ? sqrt(variance) / sum : 0;
}

BlockCost model_block(const ModelDevice *device, const Workload *workload, int block, int student,
                      double rows)
{
    return walk_block(device, workload, block, student, rows, NULL, NULL);
}

void model_operators(const ModelDevice *device, const Workload *workload, int block, double rows,
                     OperatorVisit *visit, void *context)
{
    for (int j = 0; j < block_students(&workload->block[block]); j++)
        walk_block(device, workload, block, j, rows, visit, context);
}
