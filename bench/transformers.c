/* Blocks of transformers on the CPU backend, one thread, beside PyTorch eager and torch.compile in
 * the same run: the teacher's forward; a student's whole step, which is forward, loss, backward and
 * AdamW; that AdamW alone, and the forward of each layer alone.
 *
 *     transformers [NETWORK]...      the last block of each, of bench/networks; none named: all
 *
 * Turns go round: ours, eager, compiled, ours, ... (bench/opponent.h). Before them both sides take
 * a step from the same weights, and outputs and losses must agree. Times are processor time of the
 * processes, medians; the spread is that of the middle half of the turns. A ratio is the median of
 * the turns' own ratios, whose times are neighbours. */
#include <math.h>
#include <string.h>

#include "bench/fill.h"
#include "bench/opponent.h"
#include "kernels/net.h"

enum { REPEATS = 11, WARM = 2, PARTS_MAX = 16, LABEL_BYTES = 64 };

typedef struct { const char *name; int rows; bool images; } BenchedNetwork;

static const BenchedNetwork networks[] = {
    {"gpt2-small-block", 1, false}, {"llama-3.2-1b-block", 1, false}, {"vit-b-block", 8, true}};

enum { NETWORKS = sizeof networks / sizeof *networks };

typedef enum { PART_TEACHER, PART_STUDENT, PART_UPDATE, PART_LAYER } PartKind;

/* What is timed: a row of the table. */
typedef struct {
    PartKind     kind;
    char         label[LABEL_BYTES];     /* of the table */
    char         asked[LABEL_BYTES];     /* of bench/transformers_torch.py */
    Net         *net;        /* of a layer, owned */
    float       *x, *y;
    BenchSamples ours, theirs[OPPONENTS_MAX][2], ratio[OPPONENTS_MAX][2]; /* eager, compiled */
} BenchedPart;

typedef struct {
    Device         *device;
    const Workload *workload;
    const WorkBlock *block;
    int             rows;
    Net            *teacher, *student;
    float          *x, *target, *y, *dy;
    int64_t         steps;
    BenchedPart     part[PARTS_MAX];
    int             part_count;
    Opponent        opponent[OPPONENTS_MAX];
    int             opponents;
} TransformerBench;

static float *random_rows(const TransformerBench *b, Shape shape, int number)
{
    int64_t count = b->rows * shape_count(shape);
    float  *x = bench_alloc((size_t)count, sizeof *x), *pattern = fill_pattern(number);

    fill_repeat(b->device, x, count, pattern);
    free(pattern);
    return x;
}

static Net *net_of(const TransformerBench *b, const Layers *layers, Shape in, NetMode mode,
                   uint64_t seed)
{
    Net  *net;
    Error err = {""};

    bench_require(net_new(&net, b->device, layers, in, mode, &err), &err);
    bench_require(net_prepare(net, b->rows, &err), &err);
    if (mode == NET_TRAINED) bench_require(net_keep_squares(net, &err), &err);
    net_initialise(net, seed, 0);
    return net;
}

/* ---- ours ---- */

static void update(TransformerBench *b)
{
    Training t = workload_training(b->workload, b->block);

    b->steps++;
    net_update(b->student,
               &(UpdateStep){.optimizer = OPTIMIZER_ADAMW, .learning_rate = (float)t.learning_rate,
                             .weight_decay = (float)t.weight_decay, .beta1 = (float)t.beta1,
                             .beta2 = (float)t.beta2, .eps = (float)t.eps, .number = b->steps});
}

/* The student's step; returns its loss. */
static double step(TransformerBench *b)
{
    double loss;
    Error  err = {""};

    bench_require(net_forward(b->student, b->x, b->y, b->rows, NULL, &err), &err);
    loss_backward(b->device, &(LossCall){.kind = b->block->loss,
                                         .student = b->y,
                                         .teacher = b->target,
                                         .dy = b->dy,
                                         .rows = b->rows,
                                         .channels = shape_count(b->block->out),
                                         .global_rows = b->rows,
                                         .loss = &loss});
    bench_require(net_backward(b->student, b->dy, b->rows, &err), &err);
    update(b);
    return loss;
}

static double part_run(TransformerBench *b, const BenchedPart *part)
{
    double start = opponent_clock();
    Error  err = {""};

    switch (part->kind) {
    case PART_TEACHER:
        bench_require(net_forward(b->teacher, b->x, b->target, b->rows, NULL, &err), &err);
        break;
    case PART_STUDENT: step(b); break;
    case PART_UPDATE: update(b); break;
    case PART_LAYER:
        bench_require(net_forward(part->net, part->x, part->y, b->rows, NULL, &err), &err);
        break;
    }
    return opponent_clock() - start;
}

/* ---- the same on both sides ---- */

static void write_floats(FILE *f, const float *values, int64_t count)
{
    if (fwrite(values, sizeof *values, (size_t)count, f) != (size_t)count) {
        fprintf(stderr, "bench: cannot write what PyTorch is to compute\n");
        exit(1);
    }
}

static void write_parameters(FILE *f, const Net *net)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        int64_t count = net_parameter(net, i)->count;
        float  *values = bench_alloc((size_t)count, sizeof *values);

        net_read(net, i, values);
        write_floats(f, values, count);
        free(values);
    }
}

/* The teacher's weights, its input and output, the student's weights, its first two losses:
 * PyTorch, which says how far its own are from them, starts from the same weights. */
static void check_agreement(TransformerBench *b)
{
    char  path[] = "/tmp/pipebd-bench-XXXXXX", line[LABEL_BYTES];
    FILE *f = opponent_file(path);
    float losses[2];
    Error err = {""};

    bench_require(net_forward(b->teacher, b->x, b->target, b->rows, NULL, &err), &err);
    write_parameters(f, b->teacher);
    write_floats(f, b->x, b->rows * shape_count(b->block->in));
    write_floats(f, b->target, b->rows * shape_count(b->block->out));
    write_parameters(f, b->student);
    for (int i = 0; i < 2; i++) losses[i] = (float)step(b);
    write_floats(f, losses, 2);
    fclose(f);
    snprintf(line, sizeof line, "check %s", path);
    for (int o = 0; o < b->opponents; o++)
        if (!(opponent_ask(&b->opponent[o], line) < 1e-4)) {
            fprintf(stderr, "bench: %s computes something else\n", b->workload->name);
            exit(1);
        }
    remove(path);
}

/* ---- what is timed ---- */

static BenchedPart *add_part(TransformerBench *b, PartKind kind, const char *label,
                             const char *asked)
{
    BenchedPart *part = &b->part[b->part_count++];

    *part = (BenchedPart){.kind = kind};
    snprintf(part->label, sizeof part->label, "%s", label);
    snprintf(part->asked, sizeof part->asked, "%s", asked);
    return part;
}

/* The layers of the teacher's residuals. */
static void add_layers(TransformerBench *b, const Layers *layers)
{
    for (int i = 0; i < layers->count && b->part_count < PARTS_MAX; i++) {
        const Layer *layer = &layers->layer[i];
        const Layers alone = {layers->layer + i, 1};
        char         label[LABEL_BYTES], asked[LABEL_BYTES];
        BenchedPart *part;

        if (layer->kind == LAYER_RESIDUAL) { add_layers(b, &layer->path[0]); continue; }
        snprintf(label, sizeof label, "%s %s, %d to %d", layer_kind_name(layer->kind), layer->name,
                 layer->in.channels, layer->out.channels);
        snprintf(asked, sizeof asked, "layer %s", layer->name);
        part = add_part(b, PART_LAYER, label, asked);
        part->net = net_of(b, &alone, layer->in, NET_FROZEN, 1);
        part->x = random_rows(b, layer->in, 1);
        part->y = random_rows(b, layer->out, 2);
    }
}

static void turn(TransformerBench *b, BenchedPart *part, bool counts)
{
    bool   compiles = part->kind == PART_TEACHER || part->kind == PART_STUDENT;
    char   line[2 * LABEL_BYTES];
    double ours = part_run(b, part), theirs;

    if (counts) bench_add(&part->ours, ours);
    for (int o = 0; o < b->opponents; o++)
        for (int compiled = 0; compiled <= compiles; compiled++) {
            snprintf(line, sizeof line, "%s %s", compiled ? "compiled" : "eager", part->asked);
            theirs = opponent_ask(&b->opponent[o], line);
            if (!counts || isnan(theirs)) continue;
            bench_add(&part->theirs[o][compiled], theirs);
            bench_add(&part->ratio[o][compiled], theirs / ours);
        }
}

/* ---- tables ---- */

/* Things a second: median, and the quarters of the turns below and above. */
static void print_rate(double things, BenchSamples *s)
{
    int digits = things < 100.0;         /* after the point: of images there are few */

    if (s->count == 0) { printf(" - |"); return; }
    printf(" %.*f (%.*f .. %.*f) |", digits, things / bench_quantile(s, 0.5), digits,
           things / bench_quantile(s, 0.75), digits, things / bench_quantile(s, 0.25));
}

static void print_ratio(BenchSamples *ratio)
{
    if (ratio->count == 0)
        printf(" - |");
    else
        printf(" %.2f |", bench_quantile(ratio, 0.5));
}

static void print_table(TransformerBench *b, const BenchedNetwork *network)
{
    int64_t tokens = (int64_t)b->rows * b->block->in.height;
    double  things = network->images ? (double)b->rows : (double)tokens;

    printf("\n## %s\n\n%d x %d tokens.\n\n| %s/s | ours |", b->workload->name, b->rows,
           b->block->in.height, network->images ? "images" : "tokens");
    for (int o = 0; o < b->opponents; o++)
        printf(" torch %s eager | ratio | compiled | ratio |", b->opponent[o].version);
    printf("\n|---|--:|");
    for (int i = 0; i < 4 * b->opponents; i++) printf("--:|");
    printf("\n");
    for (int i = 0; i < b->part_count; i++) {
        BenchedPart *part = &b->part[i];

        printf("| %s |", part->label);
        print_rate(things, &part->ours);
        for (int o = 0; o < b->opponents; o++)
            for (int compiled = 0; compiled < 2; compiled++) {
                print_rate(things, &part->theirs[o][compiled]);
                print_ratio(&part->ratio[o][compiled]);
            }
        printf("\n");
    }
}

/* ---- a network ---- */

static void bench_free(TransformerBench *b)
{
    for (int i = 0; i < b->part_count; i++)
        net_free(b->part[i].net), free(b->part[i].x), free(b->part[i].y);
    for (int o = 0; o < b->opponents; o++) opponent_stop(&b->opponent[o]);
    net_free(b->teacher);
    net_free(b->student);
    free(b->x), free(b->target), free(b->y), free(b->dy);
}

static void bench(Device *device, const BenchedNetwork *network)
{
    TransformerBench b = {.device = device, .rows = network->rows};
    Workload        *w;
    char             path[96], size[LABEL_BYTES];
    Error            err = {""};

    snprintf(path, sizeof path, "bench/networks/%s.json", network->name);
    bench_require(workload_read(&w, path, &err), &err);
    b.workload = w;
    b.block = &w->block[w->block_count - 1];
    snprintf(size, sizeof size, "%dx%dx%d", b.rows, b.block->in.height, b.block->in.channels);
    b.opponents = opponents_start(b.opponent, "bench/transformers_torch.py", w, size);
    b.teacher = net_of(&b, &b.block->teacher, b.block->in, NET_FROZEN, 1);
    b.student = net_of(&b, &b.block->student, b.block->in, NET_TRAINED, 2);
    b.x = random_rows(&b, b.block->in, 0);
    b.target = random_rows(&b, b.block->out, 0);
    b.y = random_rows(&b, b.block->out, 0);
    b.dy = random_rows(&b, b.block->out, 0);
    if (b.opponents > 0) check_agreement(&b);
    add_part(&b, PART_TEACHER, "forward of the teacher", "teacher");
    add_part(&b, PART_STUDENT, "step of the student", "student");
    add_part(&b, PART_UPDATE, "AdamW of it alone", "update");
    add_layers(&b, &b.block->teacher);
    for (int i = 0; i < WARM + REPEATS; i++)
        for (int p = 0; p < b.part_count; p++) turn(&b, &b.part[p], i >= WARM);
    print_table(&b, network);
    bench_free(&b);
    workload_free(w);
}

static bool is_wanted(int argc, char **argv, const char *name)
{
    bool wanted = argc == 1;

    for (int i = 1; i < argc; i++) wanted = wanted || strcmp(argv[i], name) == 0;
    return wanted;
}

/* What made the table, and how busy others kept the machine. */
static void print_head(const DeviceSpec *spec)
{
    double load = 0.0;
    Text   version = {0};
    Error  err = {""};

    bench_require(device_spec_version(spec, &version, &err), &err);
    getloadavg(&load, 1);
    printf("One thread, fp32, %s; %d processes wanted the machine's cores. Medians of %d turns, "
           "and\nthe middle half of them. A ratio above 1: ours is faster.\n",
           text_string(&version), (int)(load + 0.5), REPEATS);
    text_free(&version);
}

int main(int argc, char **argv)
{
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    bench_require(device_spec_parse(&spec, "cpu:1", &err), &err);
    print_head(&spec);
    spec.count = spec.cores;             /* so that a device has one core */
    bench_require(device_open(&device, &spec, 0, &err), &err);
    for (int i = 0; i < NETWORKS; i++)
        if (is_wanted(argc, argv, networks[i].name)) bench(device, &networks[i]);
    device_close(device);
    return 0;
}
