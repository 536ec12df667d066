/* The model beside published benchmarks of whole networks, none of which it was fitted on, as
 * Markdown: tables of docs/model.md. Run in the folder of the sources.
 *
 *     build/bench/model_check        reads bench/model_published.csv and bench/networks
 *
 * forward: the teacher's pass. train: forward, loss, backward and update of a student that is the
 * same network, and a step's own time; forward+backward: the same without the last two.
 *
 * Layers of a workload are a chain. A network whose residuals have convolutions on the way round
 * has these in a file NAME-shortcuts.json: a chain too, as each takes the shape that the one before
 * gives, but for its first layer, which only makes the first one's input and is left out. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/bench.h"
#include "traces/model_block.h"

enum { COLUMNS = 8, ROWS_MOST = 256 };
typedef enum { NETWORK, DEVICE, PRECISION, LAYOUT, BATCH, PASS, IMAGES_PER_S, SOURCE } Column;

typedef struct {
    char  *column[COLUMNS];
    double published, modelled;          /* images a second */
} Row;

/* Splits a line at its commas, in place; the last column may have more of them. */
static int split(char *line, char *column[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        column[i] = line;
        char *comma = i < COLUMNS - 1 ? strchr(line, ',') : NULL;
        if (i < COLUMNS - 1 && !comma) return -1;
        if (comma) { *comma = '\0'; line = comma + 1; }
    }
    return 0;
}

/* The number of name in a NULL-terminated list; a wrong one ends the program. */
static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) return i;
    fprintf(stderr, "bench: \"%s\" is none of bench/model_published.csv's words\n", name);
    exit(1);
}

/* ---- a network's time ---------------------------------------------------------------------- */

typedef struct { PassCost teacher, student[PASS_COUNT]; bool skip_first; } Sum;

static void add_operator(const OperatorEntry *entry, void *context)
{
    Sum      *sum = context;
    PassCost *to = entry->teacher ? &sum->teacher : &sum->student[entry->work->pass];

    if (sum->skip_first && (strcmp(entry->layer, "0") == 0 || strcmp(entry->layer, "loss") == 0))
        return;
    to->device_us += entry->share * entry->cost.us;
    to->host_us += entry->share * entry->cost.launch_us;
}

static void add_network(Sum *sum, const ModelDevice *device, const char *name, const char *ending,
                        double batch)
{
    char      path[256];
    Workload *network;
    Error     err = {""};

    snprintf(path, sizeof path, "bench/networks/%.200s%s.json", name, ending);
    if (ending[0] && access(path, R_OK) != 0) return;
    bench_require(workload_read(&network, path, &err), &err);
    sum->skip_first = ending[0] != '\0';
    model_operators(device, network, 0, batch, add_operator, sum);
    workload_free(network);
}

static double pass_us(const ModelDevice *device, const Row *row, double batch)
{
    Sum       sum = {0};

    add_network(&sum, device, row->column[NETWORK], "", batch);
    add_network(&sum, device, row->column[NETWORK], "-shortcuts", batch);
    BlockCost cost = {.teacher = sum.teacher};
    memcpy(cost.student, sum.student, sizeof cost.student);
    if (strcmp(row->column[PASS], "forward") == 0) return model_work_us(&cost, WORK_TEACHER);
    double us = model_work_us(&cost, WORK_FORWARD) + model_work_us(&cost, WORK_BACKWARD);
    if (strcmp(row->column[PASS], "train") == 0)
        us += model_work_us(&cost, WORK_UPDATE) + device->constants->step_us;
    return us;
}

static double percent(const Row *row) { return 100 * (row->modelled / row->published - 1); }

static void price(Row *row)
{
    static const char *const passes[] = {"forward", "forward+backward", "train", NULL};
    Hardware *hardware;
    Error     err = {""};
    double    batch = atof(row->column[BATCH]);

    index_of(passes, row->column[PASS]);
    bench_require(hardware_read(&hardware, row->column[DEVICE], &err), &err);
    bool eager = strcmp(row->column[LAYOUT], "eager attention") == 0;
    bool half = strcmp(row->column[PRECISION], "half") == 0;         /* fp16 without mixed
                                                                      * precision */
    ModelDevice device = {
        hardware,
        &model_constants,
        half ? NUMBERS_FP16 : (Numbers)index_of(numbers_names, row->column[PRECISION]),
        eager ? LAYOUT_CHANNELS_LAST : (TensorLayout)index_of(layout_names, row->column[LAYOUT]),
        .half_weights = half,
        .eager_attention = eager};
    row->published = atof(row->column[IMAGES_PER_S]);
    row->modelled = batch / pass_us(&device, row, batch) * 1e6;
    printf("| %s | %s | %s | %s | %s | %s | %.0f | %.0f | %+.0f | %s |\n", row->column[NETWORK],
           hardware->name, row->column[PRECISION], row->column[LAYOUT], row->column[BATCH],
           row->column[PASS], row->published, row->modelled, percent(row), row->column[SOURCE]);
    hardware_free(hardware);
}

/* ---- by class -------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    Column      column;
    const char *words[4];    /* rows whose column is one of them; of BATCH, the most that it is */
} Class;

static const Class classes[] = {
    {"forward", PASS, {"forward"}},
    {"forward and backward", PASS, {"forward+backward"}},
    {"a training step", PASS, {"train"}},
    {"batches up to 8: bound by the host", BATCH, {"8"}},
    {"convolutions of 3x3 (VGG)", NETWORK, {"vgg16"}},
    {"residual networks", NETWORK, {"resnet50", "resnet152"}},
    {"depthwise (MobileNetV2)", NETWORK, {"mobilenetv2"}},
    {"transformers (BERT-large)", NETWORK, {"bert-large-128", "bert-large-384", "bert-large-512"}},
    {"Volta", DEVICE, {"v100-sxm2-16gb", "titan-v"}},
    {"Turing", DEVICE, {"rtx-2080-ti", "t4"}},
    {"Ampere", DEVICE, {"rtx-3090", "a100-sxm-80gb"}},
    {"Ada", DEVICE, {"rtx-4090"}},
    {"fp32", PRECISION, {"fp32"}},
    {"tf32", PRECISION, {"tf32"}},
    {"fp16, mixed", PRECISION, {"fp16"}},
    {"fp16, all of it", PRECISION, {"half"}},
    {"channels first", LAYOUT, {"nchw"}},
    {"channels last", LAYOUT, {"channels-last"}}};

static bool is_of(const Row *row, const Class *class)
{
    if (class->column == BATCH) return atof(row->column[BATCH]) <= atof(class->words[0]);
    for (int i = 0; i < 4 && class->words[i]; i++)
        if (strcmp(row->column[class->column], class->words[i]) == 0) return true;
    return false;
}

/* Mean of the absolute errors, the mean with its sign, and the worst, over the rows of a class
 * (NULL: all). */
static void print_class(const Row *rows, int count, const Class *class)
{
    double sum = 0, signed_sum = 0, worst = 0;
    int    found = 0;

    for (int i = 0; i < count; i++) {
        if (class && !is_of(&rows[i], class)) continue;
        sum += fabs(percent(&rows[i]));
        signed_sum += percent(&rows[i]);
        if (fabs(percent(&rows[i])) > fabs(worst)) worst = percent(&rows[i]);
        found++;
    }
    if (found)
        printf("| %s | %d | %.0f | %+.0f | %+.0f |\n", class ? class->name : "all", found,
               sum / found, signed_sum / found, worst);
}

int main(void)
{
    static Row rows[ROWS_MOST];
    char      *text = NULL, *save = NULL;
    size_t     length;
    Error      err = {""};
    int        lines = 0, count = 0;

    bench_require(file_read(&text, &length, "bench/model_published.csv", 0, &err), &err);
    printf("| network | device | precision | layout | batch | pass | samples/s, published | model "
           "| error, %% | source |\n"
           "|---|---|---|---|---|---|---|---|---|---|\n");
    for (char *line = strtok_r(text, "\n", &save); line && count < ROWS_MOST;
         line = strtok_r(NULL, "\n", &save)) {
        if (lines++ == 0) continue;                      /* the head */
        if (split(line, rows[count].column) != 0) {
            fprintf(stderr, "bench: line %d has too few columns\n", lines);
            return 1;
        }
        price(&rows[count++]);
    }
    printf("\n| rows | | mean of absolute errors, %% | mean, %% | worst, %% "
           "|\n|---|---|---|---|---|\n");
    print_class(rows, count, NULL);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        print_class(rows, count, &classes[i]);
    free(text);
    return 0;
}
