/* The model beside published benchmarks of whole networks, none of which it was fitted on, as
 * Markdown: a table of docs/model.md. Run in the folder of the sources.
 *
 *     build/bench/model_check        reads bench/model_published.csv and bench/networks
 *
 * forward: the teacher's pass. train: forward, loss, backward and update of a student that is the
 * same network; forward+backward: the same without the update. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "bench/bench.h"
#include "traces/model_block.h"

enum { COLUMNS = 7 };
typedef enum { NETWORK, DEVICE, PRECISION, BATCH, PASS, IMAGES_PER_S, SOURCE } Column;

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

static Numbers numbers_of(const char *name)
{
    int p = 0;

    while (p < NUMBERS_COUNT - 1 && strcmp(numbers_names[p], name) != 0) p++;
    return (Numbers)p;
}

static double images_per_s(const Workload *network, const Hardware *hardware, char *const column[COLUMNS])
{
    ModelDevice device = {hardware, &model_constants, numbers_of(column[PRECISION])};
    double      batch = atof(column[BATCH]);
    BlockCost   cost = model_block(&device, network, 0, batch);
    double      us = cost.student_us[PASS_FORWARD] + cost.student_us[PASS_DATA] + cost.student_us[PASS_WEIGHT];

    if (strcmp(column[PASS], "forward") == 0) us = cost.teacher_us;
    if (strcmp(column[PASS], "train") == 0) us += cost.student_us[PASS_UPDATE];
    return batch / us * 1e6;
}

static double print_row(char *const column[COLUMNS])
{
    char      path[256];
    Workload *network;
    Hardware *hardware;
    Error     err = {""};
    double    published = atof(column[IMAGES_PER_S]), modelled;

    snprintf(path, sizeof path, "bench/networks/%.200s.json", column[NETWORK]);
    bench_require(workload_read(&network, path, &err), &err);
    bench_require(hardware_read(&hardware, column[DEVICE], &err), &err);
    modelled = images_per_s(network, hardware, column);
    printf("| %s | %s | %s | %s | %s | %.0f | %.0f | %+.0f | %s |\n", column[NETWORK], hardware->name, column[PRECISION],
           column[BATCH], column[PASS], published, modelled, 100 * (modelled / published - 1), column[SOURCE]);
    hardware_free(hardware);
    workload_free(network);
    return fabs(100 * (modelled / published - 1));
}

int main(void)
{
    char  *text = NULL, *save = NULL, *column[COLUMNS];
    size_t length;
    Error  err = {""};
    double sum = 0;
    int    rows = 0;

    bench_require(file_read(&text, &length, "bench/model_published.csv", 0, &err), &err);
    printf("| network | device | precision | batch | pass | images/s, published | model | error, %% | source |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (rows++ == 0) continue;                       /* the head */
        if (split(line, column) != 0) { fprintf(stderr, "bench: line %d has too few columns\n", rows); return 1; }
        sum += print_row(column);
    }
    printf("\nMean absolute error %.0f %% over %d rows.\n", sum / (rows - 1), rows - 1);
    free(text);
    return 0;
}
