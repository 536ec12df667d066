#include "traces/model_operator.h"

#include <math.h>

const char *pass_name(Pass pass)
{
    static const char *const names[PASS_COUNT] = {"forward", "data gradient", "weight gradient",
                                                  "update"};

    return names[pass];
}

int model_element_bytes(Numbers precision)
{
    return precision == NUMBERS_FP16 || precision == NUMBERS_BF16 ? 2 : 4;
}

const char *const layout_names[LAYOUT_COUNT + 1] = {"nchw", "channels-last", "fused", NULL};

/* ---- what operators do -------------------------------------------------------------- */

/* A pass over tensors: so many reads and writes of elements. */
static OperatorWork passes(const ModelDevice *device, Pass pass, double read, double written)
{
    int bytes = model_element_bytes(device->precision);

    return (OperatorWork){.pass = pass, .read_bytes = read * bytes,
                          .written_bytes = written * bytes, .launches = 1, .kernels = 1};
}

/* 3x3 kernels with stride 1 take fewer multiplications by Winograd's algorithm (Lavin and Gray,
 * CVPR 2016), as libraries do in float32: weight gradients and tensor cores go without. */
static bool is_winograd(const ModelDevice *device, const Layer *layer, Pass pass)
{
    return device->precision == NUMBERS_FP32 && layer->kind == LAYER_CONV && layer->kernel == 3
           && layer->stride == 1 && layer->groups == 1 && pass != PASS_WEIGHT;
}

/* tf32 is for convolutions only, as PyTorch has it by default, and not for one with fewer channels
 * than tensor cores take at once (an image's). */
static Numbers numbers_of(const ModelDevice *device, const Layer *layer)
{
    if (device->precision == NUMBERS_TF32 && layer->kind != LAYER_CONV) return NUMBERS_FP32;
    if (layer->kind == LAYER_CONV && layer->in.channels / layer->groups < 4) return NUMBERS_FP32;
    return device->precision;
}

/* With a conv of groups other than 1 and its channels a product a group. */
static OperatorWork matrix(const ModelDevice *device, const Layer *layer, Pass pass, double rows)
{
    int          groups = layer->kind == LAYER_CONV ? layer->groups : 1;
    double       kernel = layer->kind == LAYER_CONV ? (double)layer->kernel * layer->kernel : 1;
    double       out_places = rows * layer->out.height * layer->out.width;
    double       in_places = rows * layer->in.height * layer->in.width;
    double out = (double)layer->out.channels / groups, in = (double)layer->in.channels / groups;
    OperatorWork work = {
        .pass = pass, .rate = RATE_MATRIX, .numbers = numbers_of(device, layer), .count = groups};

    switch (pass) {
    case PASS_FORWARD: work.m = out_places; work.n = out; work.k = in * kernel; break;
    case PASS_DATA:
        work.m = in_places;
        work.n = in;
        work.k = out * kernel * (out_places / in_places);
        break;
    default:
        work.m = in * kernel; work.n = out; work.k = out_places;
        work.split = true;
        work.gathers = layer->kind == LAYER_CONV;
        break;
    }
    if (is_winograd(device, layer, pass)) work.k /= device->constants->winograd;
    return work;
}

bool operator_is_depthwise(const Layer *layer)
{
    return layer->kind == LAYER_CONV && layer->groups > 1 && layer->groups == layer->in.channels;
}

static OperatorWork depthwise(const Layer *layer, Pass pass, double rows)
{
    double kernel = (double)layer->kernel * layer->kernel,
           outputs = rows * (double)shape_count(layer->out);
    double inputs = rows * (double)shape_count(layer->in);

    if (pass == PASS_DATA)
        return (OperatorWork){
            .pass = pass, .rate = RATE_DEPTHWISE, .m = inputs, .k = kernel * outputs / inputs};
    return (OperatorWork){.pass = pass,
                          .rate = pass == PASS_WEIGHT ? RATE_DEPTHWISE_WEIGHT : RATE_DEPTHWISE,
                          .m = outputs, .k = kernel};
}

/* Libraries' kernels for tensor cores want channels last, those for float32 channels first: a
 * convolution in the other layout has its operands and its result converted. Depthwise ones come in
 * both. */
static bool converts(const ModelDevice *device, const Layer *layer)
{
    bool first = device->layout == LAYOUT_NCHW, wants_first = device->precision == NUMBERS_FP32;

    return layer->kind == LAYER_CONV && !operator_is_depthwise(layer) && first != wants_first;
}

/* conv and linear. Where activations have two bytes, weights are kept in four and cast in every
 * forward. A convolution's bias is a pass of its own; its gradient is a sum over dy. */
static int weighted(OperatorWork *out, const ModelDevice *device, const Layer *layer, Pass pass,
                    double rows)
{
    double x = rows * (double)shape_count(layer->in), y = rows * (double)shape_count(layer->out);
    double w = (double)layer_parameters(layer), bytes = model_element_bytes(device->precision);
    OperatorWork work = operator_is_depthwise(layer) ? depthwise(layer, pass, rows)
                                                     : matrix(device, layer, pass, rows);
    int          count = 1;

    work.launches = work.kernels = 1;
    work.read_bytes = bytes * (pass == PASS_FORWARD ? x + w : pass == PASS_DATA ? y + w : x + y);
    work.written_bytes = bytes * (pass == PASS_FORWARD ? y : pass == PASS_DATA ? x : w);
    if (pass == PASS_FORWARD && bytes == 2 && !device->half_weights) {
        work.read_bytes += 4 * w;
        work.written_bytes += 2 * w;
        work.launches++;
        work.kernels++;
    }
    out[0] = work;
    if (converts(device, layer)) {
        out[count] = passes(device, pass, x + y, x + y);
        out[count].what = "layout";
        out[count].launches = 2;
        out[count++].kernels = 0;            /* the library's, in the same call */
    }
    if (!layer->bias || pass == PASS_DATA) return count;
    if (pass == PASS_FORWARD && (layer->kind == LAYER_LINEAR || device->layout == LAYOUT_FUSED))
        return count;
    out[count] = pass == PASS_WEIGHT ? passes(device, pass, y, 0) : passes(device, pass, y, y);
    out[count++].what = "bias";
    return count;
}

/* Statistics of the batch take a read of their own; the gradient reads x and dy twice. Compiled, a
 * frozen one is in the weights before it. */
static int norm(OperatorWork *out, const ModelDevice *device, double x, Pass pass, bool frozen,
                bool needs_dx)
{
    bool running = frozen && !device->batch_statistics;

    if (running && device->layout == LAYOUT_FUSED) return 0;
    if (pass == PASS_FORWARD) out[0] = passes(device, pass, running ? x : 2 * x, x);
    else if (pass == PASS_DATA) out[0] = passes(device, pass, 4 * x, x);
    else if (!needs_dx) out[0] = passes(device, pass, 2 * x, 0);
    else return 0;
    return 1;
}

/* Max pooling looks for the largest, and in the gradient for who was it: an element at a time. It
 * notes in 8 bytes where each output came from. */
static int pool(OperatorWork *out, const ModelDevice *device, const Layer *layer, Pass pass,
                double rows)
{
    double x = rows * (double)shape_count(layer->in), y = rows * (double)shape_count(layer->out);

    if (pass == PASS_WEIGHT) return 0;
    out[0] = pass == PASS_FORWARD ? passes(device, pass, x, y) : passes(device, pass, y, x);
    if (layer->kind != LAYER_MAXPOOL) return 1;
    out[0].rate = RATE_POOL;
    out[0].m = pass == PASS_FORWARD ? y : x;
    if (pass == PASS_FORWARD) out[0].written_bytes += 8 * y;
    else out[0].read_bytes += 8 * y;
    return 1;
}

/* An activation; compiled, it is applied where its input is made. */
static int activation(OperatorWork *out, const ModelDevice *device, double x, Pass pass)
{
    if (pass == PASS_WEIGHT || (device->layout == LAYOUT_FUSED && pass == PASS_FORWARD)) return 0;
    out[0] = pass == PASS_FORWARD ? passes(device, pass, x, x)
                                  : passes(device, pass, device->layout == LAYOUT_FUSED ? x : 2 * x,
                                           device->layout == LAYOUT_FUSED ? 0 : x);
    return 1;
}

/* The sum of a residual, and of the gradients at its input. */
static int residual(OperatorWork *out, const ModelDevice *device, const Layer *layer, Pass pass,
                    double rows)
{
    bool   fused = device->layout == LAYOUT_FUSED;
    double x = rows * (double)shape_count(pass == PASS_FORWARD ? layer->out : layer->in);

    if (pass == PASS_WEIGHT) return 0;
    out[0] = passes(device, pass, fused ? x : 2 * x, fused ? 0 : x);
    return 1;
}

/* The scores of an eager attention, a number a pair of tokens and head. Forward they are made,
 * scaled, masked, put through the softmax and multiplied with values; backward the weights'
 * gradients are made, go back through softmax and scale, and each product reads them. */
static OperatorWork scores(const ModelDevice *device, const Layer *layer, Pass pass, double rows)
{
    double       s = rows * layer->attention.heads * (double)layer->in.height * layer->in.height;
    OperatorWork work = pass == PASS_FORWARD ? passes(device, pass, 4 * s, 4 * s)
                                             : passes(device, pass, 6 * s, 3 * s);

    work.what = "scores";
    work.launches = work.kernels = pass == PASS_FORWARD ? 4 : 5;
    return work;
}

/* Layers of transformers: attention's two products forward and five backward at the rate of matrix
 * products, never through memory (docs/model.md); the others are passes over their tensors. */
static int attention(OperatorWork *out, const ModelDevice *device, const Layer *layer, Pass pass,
                     double rows)
{
    const Attention *a = &layer->attention;
    double x = rows * (double)shape_count(layer->in), y = rows * (double)shape_count(layer->out);
    double           products = pass == PASS_FORWARD ? 2 : device->eager_attention ? 4 : 5;

    if (pass == PASS_WEIGHT) return 0;
    out[0] = pass == PASS_FORWARD ? passes(device, pass, x, y) : passes(device, pass, x + 2 * y, x);
    out[0].rate = RATE_MATRIX;
    out[0].numbers = numbers_of(device, layer);
    out[0].count = rows * a->heads;
    out[0].m = layer->in.height;
    out[0].n = a->head_dim;
    out[0].k = products / 2 * (double)layer_macs(layer)
               / ((double)layer->in.height * a->heads * a->head_dim);
    if (!device->eager_attention) return 1;
    out[1] = scores(device, layer, pass, rows);
    return 2;
}

/* The operators that one pass of a layer on tokens launches for rows samples: written to out[],
 * their number returned, 0 when the pass has nothing to do. A norm and other layers without a
 * product are limited by bandwidth alone: they read and write their elements once. */
static int sequence(OperatorWork *out, const ModelDevice *device, const Layer *layer, Pass pass,
                    double rows)
{
    double x = rows * (double)shape_count(layer->in), y = rows * (double)shape_count(layer->out);
    double w = (double)layer_parameters(layer);

    switch (layer->kind) {
    case LAYER_ATTENTION: return attention(out, device, layer, pass, rows);
    case LAYER_EMBEDDING:
        if (pass == PASS_DATA) return 0;
        out[0] =
            pass == PASS_FORWARD ? passes(device, pass, x + y, y) : passes(device, pass, y, w + y);
        return 1;
    case LAYER_LAYERNORM: case LAYER_RMSNORM:
        out[0] = pass == PASS_FORWARD ? passes(device, pass, x, y)
                 : pass == PASS_DATA  ? passes(device, pass, x + y, x)
                                      : passes(device, pass, x + y, w);
        return 1;
    default:
        if (pass == PASS_WEIGHT && w == 0) return 0;
        out[0] = pass == PASS_FORWARD ? passes(device, pass, x, y)
                 : pass == PASS_DATA  ? passes(device, pass, x + y, x)
                                      : passes(device, pass, y, w);
        return 1;
    }
}

int operator_list(OperatorWork out[OPERATOR_MOST], const ModelDevice *device, const Layer *layer,
                  Pass pass, double rows, bool frozen, bool needs_dx)
{
    double x = rows * (double)shape_count(layer->in);

    if (pass == PASS_UPDATE || (pass == PASS_DATA && !needs_dx)) return 0;
    switch (layer->kind) {
    case LAYER_CONV: case LAYER_LINEAR:     return weighted(out, device, layer, pass, rows);
    case LAYER_BATCHNORM:                   return norm(out, device, x, pass, frozen, needs_dx);
    case LAYER_MAXPOOL: case LAYER_AVGPOOL: return pool(out, device, layer, pass, rows);
    case LAYER_RELU: case LAYER_RELU6:      return activation(out, device, x, pass);
    case LAYER_RESIDUAL:                    return residual(out, device, layer, pass, rows);
    case LAYER_FLATTEN: case LAYER_CHOICE: return 0;
    default: return sequence(out, device, layer, pass, rows);
    }
    return 0;
}

OperatorWork operator_loss(const ModelDevice *device, LossKind loss, Shape out, Pass pass,
                           double rows)
{
    double       y = rows * (double)shape_count(out);
    bool         mse = !loss_is_of_scores(loss);
    OperatorWork work = pass == PASS_FORWARD
                            ? passes(device, pass, mse ? 2 * y : 5 * y, mse ? 0 : 3 * y)
                            : passes(device, pass, mse ? 2 * y : 3 * y, y);

    /* softmax, log softmax, product, sum */
    if (!mse) work.kernels = work.launches = pass == PASS_FORWARD ? 4 : 2;
    return work;
}

/* Gradients are set to zero (1 write) and weights stepped (2 reads, 1 write); weight decay,
 * momentum (twice) and Nesterov's correction are passes of their own. float32 whatever the
 * precision. In a loop the host visits every tensor; foreach, every pass is a kernel. */
OperatorWork operator_update(const ModelDevice *device, const Workload *workload,
                             const WorkBlock *block, double parameters, double tensors)
{
    Training t = workload_training(workload, block);
    double   reads = 2, writes = 2, kernels = 2;

    /* weight, gradient, both moments in one pass */
    if (workload->optimizer == OPTIMIZER_ADAMW) { reads = 4; writes = 4; }
    if (t.weight_decay > 0 && workload->optimizer == OPTIMIZER_SGD) {
        reads += 2;
        writes += 1;
        kernels += 1;
    }
    if (t.momentum > 0) { reads += 3; writes += 2; kernels += 2; }
    if (t.nesterov) { reads += 2; writes += 1; kernels += 1; }
    return (OperatorWork){.pass = PASS_UPDATE, .read_bytes = reads * parameters * 4,
                          .written_bytes = writes * parameters * 4,
                          .launches = kernels * (device->foreach ? 1 : tensors),
                          .kernels = device->foreach ? kernels : 0,
                          .visits = device->foreach ? 0 : tensors};
}

/* ---- what that costs ------------------------------------------------------------------- */

/* A matrix product in tiles of a x b, one a multiprocessor at a time: whole waves of whole
 * tiles. parts: pieces that the depth is summed in. */
static double tiled_us(const ModelDevice *device, const OperatorWork *work, double a, double b,
                       double parts)
{
    const ModelConstants *c = device->constants;
    double processors = device->hardware->multiprocessors;
    double rate = device->hardware->flop_per_s[work->numbers] * c->matrix_share / processors;
    double gathered =
        2 * c->weight_cycle * 4 / model_element_bytes(work->numbers) * device->hardware->boost_hz;
    double tiles = ceil(work->m / a) * ceil(work->n / b) * work->count * parts;
    double edge = 2 * a * b / (a + b), most = c->tile_most;
    /* 1 at the largest */
    double reuse = edge / (edge + c->tile_reuse) * (most + c->tile_reuse) / most;
    double flop = 2 * a * b * (work->k / parts + c->depth_start);

    if (work->gathers) rate = fmin(rate, gathered);
    return ceil(tiles / processors) * flop / (rate * reuse) * 1e6;
}

/* The fastest tile; every choice is never faster with more rows, so neither is this. */
static double matrix_us(const ModelDevice *device, const OperatorWork *work)
{
    const ModelConstants *c = device->constants;
    double best = INFINITY, most_parts = work->split ? fmax(1, floor(work->k / c->split_depth)) : 1;

    for (int a = c->tile_least; a <= c->tile_most; a *= 2)
        for (int b = c->tile_least; b <= c->tile_most; b *= 2)
            for (double parts = 1; parts <= most_parts; parts *= 2) {
                double us = tiled_us(device, work, a, b, parts);
                if (us < best) best = us;
            }
    return best;
}

/* Elements one by one, in pieces of a block of threads, whole waves of them. What bounds them is
 * how many loads a multiprocessor serves in a cycle, not its arithmetic: chips of one age differ
 * little in that. */
static double element_us(const ModelDevice *device, const OperatorWork *work)
{
    const ModelConstants *c = device->constants;
    double processors = device->hardware->multiprocessors, piece = 1024;
    double depth = work->rate == RATE_POOL ? 1 : work->k;
    double cycle = work->rate == RATE_POOL        ? c->pool_cycle
                   : work->rate == RATE_DEPTHWISE ? c->depthwise_cycle
                                                  : c->depthwise_weight_cycle;

    return ceil(ceil(work->m / piece) / processors) * piece * depth
           / (cycle * device->hardware->boost_hz) * 1e6;
}

/* What fits in the cache together is read and written at its speed; where it is up to twice as
 * much, a part is. */
static double memory_us(const ModelDevice *device, double bytes)
{
    const ModelConstants *c = device->constants;
    double cache = (double)device->hardware->cache_bytes * c->cache_share;
    double hits = fmin(1, fmax(0, 2 - bytes / cache));
    double rate = device->hardware->bandwidth_bytes_per_s * c->memory_share;

    return bytes * (hits / c->cache_speed + 1 - hits) / rate * 1e6;
}

OperatorCost operator_cost(const ModelDevice *device, const OperatorWork *work)
{
    OperatorCost cost = {0};

    if (work->rate == RATE_MATRIX) cost.arithmetic_us = matrix_us(device, work);
    else if (work->rate != RATE_NONE) cost.arithmetic_us = element_us(device, work);
    cost.memory_us = memory_us(device, work->read_bytes + work->written_bytes);
    cost.launch_us =
        work->kernels * device->constants->kernel_us + work->visits * device->constants->update_us;
    cost.us = fmax(cost.arithmetic_us, cost.memory_us) + work->launches * device->constants->gap_us;
    cost.bound = cost.arithmetic_us > cost.memory_us ? BOUND_ARITHMETIC : BOUND_MEMORY;
    if (cost.launch_us > fmax(cost.arithmetic_us, cost.memory_us)) cost.bound = BOUND_LAUNCH;
    return cost;
}
