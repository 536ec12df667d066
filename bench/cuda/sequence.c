/* Kernels of transformers' layers, losses and AdamW in GB/s beside a copy of 1 GiB in the same run,
 * and attention in TFLOP/s.
 *
 *     sequence [GPU] [small]       small: sizes for a machine without a GPU (the fake)
 *
 * Rows as bench/cuda/kernels.c's. Operations of attention are those of its products, over pairs of
 * tokens that see each other: 4 a number of a head forward, 10 backward, where scores are computed
 * again. */
#include "bench/cuda/rates.h"

#include "kernels/cuda/sequence/attention.h"
#include "kernels/cuda/sequence/sequence.h"
#include "kernels/cuda/sequence/training.h"

/* ---- functions ---- */

typedef struct {
    KernelType type;
    int64_t    places;
    int        channels;
} FunctionBench;

static void run_gelu(CudaBench *b, void *context)
{
    const FunctionBench *f = context;

    require_call(kernel_function(f->type, KERNEL_GELU, b->memory[0], b->memory[1],
                                 f->places * f->channels, b->stream),
                 "gelu");
}

static void run_gelu_gradient(CudaBench *b, void *context)
{
    const FunctionBench *f = context;

    require_call(kernel_function_gradient(f->type, KERNEL_GELU, b->memory[0], b->memory[1],
                                          b->memory[2], f->places * f->channels, b->stream),
                 "gelu");
}

static void run_gated(CudaBench *b, void *context)
{
    const FunctionBench *f = context;

    require_call(kernel_gated(f->type, KERNEL_SILU, b->memory[0], b->memory[1], f->places / 2,
                              f->channels, b->stream),
                 "gated");
}

static void functions(CudaBench *b, KernelType type)
{
    FunctionBench f = {type, b->floats / 1024, 1024};
    double        bytes = size_of(type) * (double)(f.places * f.channels);
    char          shape[48];

    snprintf(shape, sizeof shape, "%s%lld x %d", name_of(type), (long long)f.places, f.channels);
    row(b, "gelu", shape, 2.0 * bytes, run_gelu, &f);
    row(b, "gelu: gradient", shape, 3.0 * bytes, run_gelu_gradient, &f);
    row(b, "gated by silu", shape, 1.5 * bytes, run_gated, &f);
}

/* ---- norms ---- */

typedef struct {
    KernelLayerNorm n;
    float          *partial, *gradient;
} NormBench;

static void run_norm(CudaBench *b, void *context)
{
    NormBench *n = context;

    require_call(kernel_layernorm(&n->n, b->memory[0], b->memory[1], b->stream), "layernorm");
}

static void run_norm_data(CudaBench *b, void *context)
{
    NormBench *n = context;

    require_call(kernel_layernorm_data(&n->n, b->memory[0], b->memory[1], b->memory[2], b->stream),
                 "layernorm");
}

static void run_norm_weights(CudaBench *b, void *context)
{
    NormBench *n = context;

    require_call(kernel_layernorm_weights(&n->n, b->memory[0], b->memory[1], n->partial,
                                          n->gradient, n->gradient + n->n.channels, b->stream),
                 "layernorm");
}

static void norms(CudaBench *b, int channels, KernelType type)
{
    int64_t   places = b->floats / channels;
    float    *own = cuda_alloc(b->device, (size_t)(2 * places + 4 * channels));
    NormBench n = {.n = {.places = places, .channels = channels, .centred = 1, .type = type,
                         .eps = 1e-5f, .weight = own + 2 * places,
                         .bias = own + 2 * places + channels, .kept = own}};
    double    bytes = size_of(type) * (double)(places * channels);
    Error     err = {"the GPU's memory is full"};
    char      shape[48];

    n.partial = cuda_alloc(b->device, (size_t)kernel_layernorm_partials(places, channels));
    n.gradient = own + 2 * places + 2 * channels;
    bench_require(own && n.partial ? 0 : -1, &err);
    snprintf(shape, sizeof shape, "%s%lld x %d", name_of(type), (long long)places, channels);
    row(b, "layernorm", shape, 2.0 * bytes, run_norm, &n);
    row(b, "layernorm: data gradient", shape, 3.0 * bytes, run_norm_data, &n);
    row(b, "layernorm: weight gradient", shape, 2.0 * bytes, run_norm_weights, &n);
    cuda_release(own), cuda_release(n.partial);
}

/* ---- embedding: 32,000 vectors, tokens drawn at random ---- */

typedef struct {
    KernelEmbedding e;
    float          *tokens, *scratch;
} EmbeddingBench;

static void run_embedding(CudaBench *b, void *context)
{
    EmbeddingBench *e = context;

    require_call(kernel_embedding(&e->e, e->tokens, b->memory[1], b->stream), "embedding");
}

static void run_embedding_gradient(CudaBench *b, void *context)
{
    EmbeddingBench *e = context;

    require_call(kernel_embedding_gradient(&e->e, e->tokens, b->memory[1], e->scratch, b->stream),
                 "embedding");
}

static void embedding(CudaBench *b, KernelType type)
{
    int            channels = b->small ? 16 : 1024, vocabulary = b->small ? 100 : 32000;
    EmbeddingBench e = {.e = {.rows = b->small ? 2 : 16, .tokens = b->small ? 64 : 1024,
                              .channels = channels, .each = 1, .vocabulary = vocabulary,
                              .type = type, .number = b->memory[3]}};
    int64_t        count = e.e.rows * e.e.tokens;
    float         *host = malloc((size_t)count * sizeof *host);
    double         bytes = size_of(type) * (double)count * channels,
           table = 4.0 * (double)vocabulary * channels;
    Error          err = {"the memory is full"};
    char           shape[64];

    e.tokens = cuda_alloc(b->device, (size_t)count);
    e.scratch = cuda_alloc(b->device, (size_t)kernel_embedding_scratch(&e.e));
    bench_require(host && e.tokens && e.scratch ? 0 : -1, &err);
    for (int64_t i = 0; i < count; i++)
        host[i] = (float)(rng_u64(1, 0, 0, (uint64_t)i) % (uint64_t)vocabulary);
    device_put(&b->device->base, e.tokens, host, count);
    snprintf(shape, sizeof shape, "%s%lld x %d of %d", name_of(type), (long long)count, channels,
             vocabulary);
    row(b, "embedding", shape, bytes + 4.0 * (double)count * channels, run_embedding, &e);
    row(b, "embedding: gradient", shape, bytes + table, run_embedding_gradient, &e);
    cuda_release(e.tokens), cuda_release(e.scratch);
    free(host);
}

/* ---- AdamW, losses ---- */

static void run_adamw(CudaBench *b, void *context)
{
    KernelSpans spans = {.count = 1, .end = {b->floats}};
    KernelAdamW step = {0.999f, 1e-6f, 1.0f, 0.9f, 0.999f, 1e-8f};

    (void)context;
    require_call(kernel_adamw(b->memory[0], b->memory[1], b->memory[2], b->memory[3], &spans, &step,
                              b->stream),
                 "AdamW");
}

static void run_loss(CudaBench *b, void *context)
{
    require_call(kernel_place_loss(context, b->stream), "a loss");
}

static void training(CudaBench *b)
{
    int             channels = b->small ? 128 : 32000;
    int64_t         places = b->floats / channels;
    float          *room = cuda_alloc(b->device, (size_t)(4 * places + 16));
    KernelPlaceLoss l = {.kind = KERNEL_LOSS_KL, .student = b->memory[0], .teacher = b->memory[1],
                         .dy = b->memory[2], .rows = places, .places = 1, .channels = channels,
                         .temperature = 1.0, .scale = 1.0, .partial = (double *)(void *)room};
    Error           err = {"the GPU's memory is full"};
    char            shape[48];

    bench_require(room ? 0 : -1, &err);
    l.loss = l.partial + 2 * places;
    snprintf(shape, sizeof shape, "%lld x %d", (long long)places, channels);
    row(b, "kl and gradient", shape, 12.0 * (double)(places * channels), run_loss, &l);
    snprintf(shape, sizeof shape, "%lld", (long long)b->floats);
    row(b, "AdamW", shape, 28.0 * (double)b->floats, run_adamw, NULL);
    cuda_release(room);
}

/* ---- attention ---- */

typedef struct {
    KernelAttention a;
    float          *delta, *dquery, *dkey;
} AttentionBench;

static void run_attention(CudaBench *b, void *context)
{
    AttentionBench *t = context;

    require_call(kernel_attention(&t->a, b->memory[0], b->memory[1], b->stream), "attention");
}

/* y and dy are the same numbers. */
static void run_attention_gradient(CudaBench *b, void *context)
{
    AttentionBench *t = context;

    require_call(kernel_attention_gradient(&t->a, b->memory[0], b->memory[1], b->memory[1],
                                           t->delta, t->dquery, t->dkey, NULL, b->stream),
                 "attention");
}

static void flops_row(CudaBench *b, const char *name, const char *shape, double operations,
                      BenchCall *call, void *context)
{
    double seconds = seconds_of(b, call, context);

    printf("| %s | %s | %.1f | %.2f |\n", name, shape, 1e6 * seconds, operations / seconds * 1e-12);
    fflush(stdout);
}

/* Of what was loaded memory 2 and 3 have room: queries, keys; their gradients. */
static void attention(CudaBench *b, int heads, int kv_heads, int dim, KernelType type)
{
    int            tokens = b->small ? 64 : 1024;
    int64_t        rows = b->small ? 1 : 8, of_queries = rows * tokens * heads * dim;
    AttentionBench t = {.a = {.rows = rows, .stride = (int64_t)(heads + 2 * kv_heads) * dim,
                              .tokens = tokens, .heads = heads, .kv_heads = kv_heads, .dim = dim,
                              .causal = 1, .type = type, .query = b->memory[2],
                              .key = b->memory[2] + of_queries,
                              .kept_row = (int64_t)heads * tokens},
                        .dquery = b->memory[3], .dkey = b->memory[3] + of_queries};
    double         pairs = (double)rows * heads * tokens * (tokens + 1.0) / 2.0;
    Error          err = {"the GPU's memory is full"};
    char           shape[80];

    t.a.kept = cuda_alloc(b->device, (size_t)(rows * heads * tokens));
    t.delta = cuda_alloc(b->device, (size_t)(rows * heads * tokens));
    bench_require(t.a.kept && t.delta ? 0 : -1, &err);
    snprintf(shape, sizeof shape, "%s%lld x %d, %d heads of %d, %d of keys", name_of(type),
             (long long)rows, tokens, heads, dim, kv_heads);
    flops_row(b, "attention", shape, 4.0 * dim * pairs, run_attention, &t);
    flops_row(b, "attention: gradient", shape, 10.0 * dim * pairs, run_attention_gradient, &t);
    cuda_release(t.a.kept), cuda_release(t.delta);
}

/* The first two tensors become bfloat16, as many numbers. */
static void narrow(CudaBench *b)
{
    for (int i = 0; i < 2; i++) {
        require_call(kernel_to_bf16(b->memory[3], b->memory[i], b->floats, b->stream), "to bf16");
        cudaMemcpyAsync(b->memory[i], b->memory[3], (size_t)b->floats * 2, cudaMemcpyDeviceToDevice,
                        b->stream);
    }
}

int main(int argc, char **argv)
{
    CudaBench   b = {.small = false};
    const char *gpu = argc > 1 && strcmp(argv[1], "small") != 0 ? argv[1] : "0";

    for (int i = 1; i < argc; i++) b.small = b.small || strcmp(argv[i], "small") == 0;
    bench_open(&b, gpu, PRECISION_FP32);
    rates_begin(&b, "bench/cuda/sequence.c");
    for (int half = 0; half < 2; half++) {
        KernelType type = half ? KERNEL_BF16 : KERNEL_FLOAT;

        if (half) narrow(&b);
        functions(&b, type);
        norms(&b, b.small ? 96 : 768, type), norms(&b, b.small ? 256 : 4096, type);
        embedding(&b, type);
        if (!half) training(&b);
    }
    printf("\n| kernel | shape | us | TFLOP/s |\n|---|---|--:|--:|\n");
    attention(&b, b.small ? 2 : 12, b.small ? 2 : 12, 64, KERNEL_FLOAT);
    attention(&b, b.small ? 2 : 16, b.small ? 1 : 4, 128, KERNEL_FLOAT);
    attention(&b, b.small ? 2 : 12, b.small ? 2 : 12, 64, KERNEL_BF16);
    bench_close(&b);
    return 0;
}
