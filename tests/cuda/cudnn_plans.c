/* Which convolutions cuDNN can do for GPUs that are not there: its graph API makes plans for a GPU
 * described by its properties (cuDNN 9.8 and later; findings/cudnn-plans-without-a-gpu.sh). Every
 * convolution of the bundled workloads that the CUDA backend gives to cuDNN, forward and both
 * gradients, in each precision of each generation, must have a plan as spatial.c wants its
 * algorithms: the same bits each time, SPATIAL_WORKSPACE_BYTES at most, and in fp32 no tensor cores
 * and nothing converted to fewer bits. Prints TAP; -v: a line a convolution.
 *
 * spatial.c runs cuDNN's older calls, whose algorithms are measured on a GPU and are not listed
 * without one. So what has no plan here has no engine in cuDNN at all; what has one is still to be
 * found by those calls.
 *
 * Where a GPU's properties come from:
 *     its file in traces/devices/          name, multiprocessors, boost clock, cache, memory
 *                                          (published, sources in the file)
 *     NVIDIA, CUDA C++ Programming Guide,  threads and blocks of a multiprocessor, shared memory of
 *     technical specifications             a multiprocessor and of a block, registers, sizes of
 *                                          blocks and grids: the table by compute capability
 *     whitepapers, as in the file          the bus' width; the memory's clock is bandwidth / (width
 *                                          / 8) / 2
 *     assumed                              1 KiB of shared memory kept back a block from 8.0 on
 *                                          (the guide says so in the text), a driver of CUDA 13,
 *                                          cooperative launches, no TCC */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "kernels/cuda/cuda.h"
#include "traces/hardware.h"
#include "workloads/workload.h"

#if CUDNN_VERSION < 90800

int main(void)
{
    printf("1..0 # SKIP cuDNN %d.%d makes no plans without a GPU, expected 9.8 or later\n",
           CUDNN_MAJOR, CUDNN_MINOR);
    return 0;
}

#else

enum { SHAPES_MAX = 512, CONFIGS_MAX = 128, NOTES_MAX = 16 };

/* bus: bits; block: most shared memory of one, in KiB. */
typedef struct {
    const char *file;
    int         capability, bus, threads, blocks, shared_kib, block_kib;
} Gpu;

static const Gpu gpus[] = {
    {"rtx-2080-ti", 750, 352, 1024, 16, 64, 64}, {"a100-sxm-80gb", 800, 5120, 2048, 32, 164, 163},
    {"rtx-a6000", 860, 384, 1536, 16, 100, 99},  {"rtx-4090", 890, 384, 1536, 24, 100, 99},
    {"h200", 900, 6144, 2048, 32, 228, 227},
};

typedef struct {
    int64_t rows;
    int     in, height, width, out, out_height, out_width, kernel, stride, padding, groups;
} Conv;

typedef enum { FORWARD, DATA, WEIGHTS, DIRECTIONS } Direction;
static const char *const direction_names[] = {"forward", "data gradient", "weight gradient"};

typedef enum { FP32, TF32, BF16, PRECISIONS } PlanPrecision;
static const char *const precision_names[] = {"fp32", "tf32", "bf16"};

static void require(int rc, const char *what)
{
    if (rc == 0) return;
    printf("Bail out! %s: %d\n", what, rc);
    exit(1);
}

/* ---- descriptors: a wrong attribute is a fault of this program ---- */

static cudnnBackendDescriptor_t make(cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t d;

    require((int)cudnnBackendCreateDescriptor(type, &d), "cudnnBackendCreateDescriptor");
    return d;
}

static void put(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    cudnnStatus_t rc = cudnnBackendSetAttribute(d, name, type, count, values);
    if (rc) { printf("# attribute %d\n", (int)name); require((int)rc, "cudnnBackendSetAttribute"); }
}

static void put_integers(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, int64_t a,
                         int64_t b)
{
    put(d, name, CUDNN_TYPE_INT64, 2, (int64_t[]){a, b});
}

static void put_descriptor(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value)
{
    put(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalize(cudnnBackendDescriptor_t d)
{
    require((int)cudnnBackendFinalize(d), "cudnnBackendFinalize");
}

/* Its file, wherever this program was built. Yours. */
static Hardware *hardware_of(const Gpu *gpu)
{
    Error     err = {""};
    Hardware *h;
    Text      path = {0};

    text_printf(&path, "%s/traces/devices/%s.json", PIPEBD_ROOT, gpu->file);
    if (hardware_read(&h, text_string(&path), &err) != 0) {
        printf("Bail out! %s\n", err.text);
        exit(1);
    }
    text_free(&path);
    return h;
}

/* NULL: these properties are refused. */
static cudnnBackendDescriptor_t gpu_of(const Gpu *gpu)
{
    Hardware                *h = hardware_of(gpu);
    Text                     text = {0};
    cudnnBackendDescriptor_t d = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);

    text_printf(&text,
                "{\"deviceName\": \"NVIDIA %s\", \"deviceVer\": %d, \"multiProcessorCount\": %d, "
                "\"smClockRateKHz\": %.0f, "
                "\"memClockRateKHz\": %.0f, \"l2CacheSize\": %lld, \"totalGlobalMem\": %lld, ",
                h->name, gpu->capability, h->multiprocessors, h->boost_hz / 1e3,
                h->bandwidth_bytes_per_s / (gpu->bus / 8) / 2 / 1e3, (long long)h->cache_bytes,
                (long long)h->memory_bytes);
    text_printf(
        &text,
        "\"maxThreadsPerSM\": %d, \"maxCtasPerSM\": %d, \"maxSharedMemoryPerBlockOptin\": %d, "
        "\"reservedSharedMemoryPerBlock\": %d, ",
        gpu->threads, gpu->blocks, gpu->block_kib * 1024, gpu->capability >= 800 ? 1024 : 0);
    text_append(&text, "\"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, "
                       "1024, 64], \"regsPerBlock\": 65536, "
                       "\"warpSize\": 32, \"maxSharedMemoryPerBlock\": 49152, "
                       "\"maxRegistersPerSM\": 65536, \"maxThreadsPerBlock\": 1024, "
                       "\"pciDeviceId\": 0, \"isTccDriver\": 0, \"supportCoopLaunch\": 1, "
                       "\"driverVer\": 13000, \"cudaDeviceId\": 0}");
    put(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)text.length + 1,
        text_string(&text));
    finalize(d);
    text_free(&text);
    hardware_free(h);
    return d;
}

/* ---- one convolution ---- */

/* Channels last. */
static cudnnBackendDescriptor_t tensor(int64_t id, cudnnDataType_t type, int64_t n, int64_t c,
                                       int64_t h, int64_t w)
{
    cudnnBackendDescriptor_t d = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    int64_t                  align = 16;

    put(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    put(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, (int64_t[]){n, c, h, w});
    put(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, (int64_t[]){c * h * w, 1, w * c, c});
    put(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    put(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    finalize(d);
    return d;
}

typedef struct { cudnnBackendDescriptor_t x, w, y, conv, operation, graph; } Graph;

static Graph graph_of(const Conv *c, Direction direction, PlanPrecision precision)
{
    static const cudnnBackendDescriptorType_t types[] = {
        CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
        CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
        CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR};
    /* conv, x, w, y, alpha, beta */
    static const cudnnBackendAttributeName_t names[][6] = {
        {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    cudnnDataType_t        type = precision == BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT,
                           compute = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t                two = 2;
    float                  one = 1.0f, zero = 0.0f;
    const cudnnBackendAttributeName_t *name = names[direction];
    Graph g = {.x = tensor(1, type, c->rows, c->in, c->height, c->width),
               .w = tensor(2, type, c->out, c->in / c->groups, c->kernel, c->kernel),
               .y = tensor(3, type, c->rows, c->out, c->out_height, c->out_width),
               .conv = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR),
               .operation = make(types[direction]),
               .graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)};

    put(g.conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two);
    put(g.conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    put(g.conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    put_integers(g.conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, c->padding, c->padding);
    put_integers(g.conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, c->padding, c->padding);
    put_integers(g.conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, 1, 1);
    put_integers(g.conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, c->stride, c->stride);
    finalize(g.conv);
    put_descriptor(g.operation, name[0], g.conv);
    put_descriptor(g.operation, name[1], g.x);
    put_descriptor(g.operation, name[2], g.w);
    put_descriptor(g.operation, name[3], g.y);
    put(g.operation, name[4], CUDNN_TYPE_FLOAT, 1, &one);
    put(g.operation, name[5], CUDNN_TYPE_FLOAT, 1, &zero);
    finalize(g.operation);
    put_descriptor(g.graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, g.operation);
    finalize(g.graph);
    return g;
}

static void graph_free(const Graph *g)
{
    const cudnnBackendDescriptor_t all[] = {g->graph, g->operation, g->conv, g->x, g->w, g->y};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cudnnBackendDestroyDescriptor(all[i]);
}

/* ---- plans ---- */

/* Engines that were passed over: that there are any shows that notes are read. */
typedef struct { int unsteady, fewer_bits; } PassedOver;

/* Whether bits are the same each time and, in fp32, what is multiplied is float32. */
static bool suits(cudnnBackendDescriptor_t config, PlanPrecision precision, PassedOver *passed)
{
    cudnnBackendDescriptor_t    engine = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t notes[NOTES_MAX];
    int64_t                     count = 0;
    bool                        unsteady = false, fewer = false;

    cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                             &count, &engine);
    require((int)cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                          CUDNN_TYPE_NUMERICAL_NOTE, NOTES_MAX, &count, notes),
            "notes");
    for (int64_t i = 0; i < count && i < NOTES_MAX; i++) {
        unsteady |= notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        fewer |= precision == FP32
                 && (notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE
                     || notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS
                     || notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
    }
    cudnnBackendDestroyDescriptor(engine);
    passed->unsteady += unsteady;
    passed->fewer_bits += fewer;
    return !unsteady && !fewer;
}

/* Workspace of the configuration's plan; -1: there is none. */
static int64_t plan_workspace(cudnnBackendDescriptor_t config, cudnnBackendDescriptor_t gpu)
{
    cudnnBackendDescriptor_t plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int64_t                  bytes = -1, count;

    put_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    put_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, gpu);
    if (cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS)
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                 1, &count, &bytes);
    cudnnBackendDestroyDescriptor(plan);
    return bytes;
}

/* Of the first plan that suits and has a workspace that is allowed, in the order of cuDNN's
 * heuristic; -1: none. */
static int64_t first_plan(const Graph *g, cudnnBackendDescriptor_t gpu, cudnnBackendHeurMode_t mode,
                          PlanPrecision precision, PassedOver *passed)
{
    cudnnBackendDescriptor_t ask = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), configs[CONFIGS_MAX];
    int64_t                  count = 0, bytes = -1;

    for (int i = 0; i < CONFIGS_MAX; i++) configs[i] = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    put_descriptor(ask, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g->graph);
    put(ask, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    put_descriptor(ask, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, gpu);
    if (cudnnBackendFinalize(ask) == CUDNN_STATUS_SUCCESS)
        cudnnBackendGetAttribute(ask, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 CONFIGS_MAX, &count, configs);
    for (int64_t i = 0; i < count && i < CONFIGS_MAX; i++) {
        if (!suits(configs[i], precision, passed) || bytes >= 0) continue;
        bytes = plan_workspace(configs[i], gpu);
        if (bytes > (int64_t)SPATIAL_WORKSPACE_BYTES) bytes = -1;
    }
    for (int i = 0; i < CONFIGS_MAX; i++) cudnnBackendDestroyDescriptor(configs[i]);
    cudnnBackendDestroyDescriptor(ask);
    return bytes;
}

static int64_t workspace_of(const Conv *c, Direction direction, PlanPrecision precision,
                            cudnnBackendDescriptor_t gpu, PassedOver *passed)
{
    Graph   g = graph_of(c, direction, precision);
    int64_t bytes = first_plan(&g, gpu, CUDNN_HEUR_MODE_A, precision, passed);

    if (bytes < 0) bytes = first_plan(&g, gpu, CUDNN_HEUR_MODE_FALLBACK, precision, passed);
    graph_free(&g);
    return bytes;
}

/* ---- shapes ---- */

typedef struct { Conv conv[SHAPES_MAX]; int count; int64_t rows; } Shapes;

static void add_shape(const Layer *layer, void *context)
{
    Shapes      *s = context;
    Conv         c = {s->rows,          layer->in.channels,  layer->in.height,
                      layer->in.width,  layer->out.channels, layer->out.height,
                      layer->out.width, layer->kernel,       layer->stride,
                      layer->padding,   layer->groups};
    OperatorSpec spec = {.kind = layer->kind, .in = layer->in, .out = layer->out,
                         .kernel_height = c.kernel, .kernel_width = c.kernel, .stride = c.stride,
                         .padding = c.padding, .groups = c.groups};

    if (layer->kind != LAYER_CONV || conv_method(&spec) != SPATIAL) return;
    for (int i = 0; i < s->count; i++)
        if (memcmp(&s->conv[i], &c, sizeof c) == 0) return;
    if (s->count < SHAPES_MAX) s->conv[s->count++] = c;
}

static void add_workload(Shapes *out, const char *name)
{
    Text      path = {0};
    Workload *w;
    Error     err = {""};

    text_printf(&path, "%s/workloads/%s", PIPEBD_ROOT, name);
    if (workload_read(&w, text_string(&path), &err) != 0) {
        printf("Bail out! %s\n", err.text);
        exit(1);
    }
    out->rows = w->batch;
    for (int b = 0; b < w->block_count; b++) {
        layers_each(&w->block[b].teacher, add_shape, out);
        layers_each(&w->block[b].student, add_shape, out);
    }
    workload_free(w);
    text_free(&path);
}

/* Returns how many workloads there are. */
static int collect(Shapes *out)
{
    DIR           *folder = opendir(PIPEBD_ROOT "/workloads");
    struct dirent *entry;
    int            count = 0;

    require(folder ? 0 : -1, "no folder of workloads");
    while ((entry = readdir(folder))) {
        size_t length = strlen(entry->d_name);
        if (length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0)
            add_workload(out, entry->d_name), count++;
    }
    closedir(folder);
    return count;
}

static const char *conv_text(char out[160], const Conv *c)
{
    snprintf(out, 160, "%lldx%dx%dx%d to %d, %dx%d stride %d padding %d groups %d",
             (long long)c->rows, c->in, c->height, c->width, c->out, c->kernel, c->kernel,
             c->stride, c->padding, c->groups);
    return out;
}

/* Returns how many plans are missing; *most: of workspaces. */
static int missing_plans(const Shapes *shapes, const Gpu *gpu, PlanPrecision precision,
                         int64_t *most, PassedOver *passed, bool verbose)
{
    cudnnBackendDescriptor_t properties = gpu_of(gpu);
    int                      missing = 0;
    char                     text[160];

    *most = 0;
    for (int i = 0; i < shapes->count; i++)
        for (int d = 0; d < DIRECTIONS; d++) {
            int64_t bytes =
                workspace_of(&shapes->conv[i], (Direction)d, precision, properties, passed);

            if (bytes > *most) *most = bytes;
            if (bytes < 0) missing++;
            if (verbose || bytes < 0)
                printf("# %s, %s: %lld\n", conv_text(text, &shapes->conv[i]), direction_names[d],
                       (long long)bytes);
        }
    cudnnBackendDestroyDescriptor(properties);
    return missing;
}

int main(int argc, char **argv)
{
    static Shapes shapes;
    bool          verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    int           workloads = collect(&shapes), number = 0, failed = 0;
    int64_t       most;
    PassedOver    passed = {0};

    printf("# cuDNN %zu: %d convolutions of %d workloads\n", cudnnGetVersion(), shapes.count,
           workloads);
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++)
        for (int p = 0; p < PRECISIONS; p++) {
            if (gpus[i].capability < 800 && p != FP32) continue;        /* neither is there */
            int missing =
                missing_plans(&shapes, &gpus[i], (PlanPrecision)p, &most, &passed, verbose);
            printf("%s %d - %d.%d, %s: %d of %d plans missing, workspace up to %lld KiB\n",
                   missing ? "not ok" : "ok", ++number, gpus[i].capability / 100,
                   gpus[i].capability / 10 % 10, precision_names[p], missing,
                   DIRECTIONS * shapes.count, (long long)(most >> 10));
            fflush(stdout);
            failed += missing > 0;
        }
    bool noted = passed.unsteady > 0 && passed.fewer_bits > 0;
    number++;
    printf("%s %d - %d engines that give other bits each time and %d of fewer bits were passed "
           "over\n1..%d\n",
           noted ? "ok" : "not ok", number, passed.unsteady, passed.fewer_bits, number);
    return failed || !noted ? 1 : 0;
}

#endif
