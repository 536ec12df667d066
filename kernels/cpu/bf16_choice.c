/* Which passes are faster in bfloat16, measured once and kept: in a table of the process, as
 * devices that chose for themselves, on timings that are never quite the same, would train other
 * students than their neighbours; and in a file, if there is one, a line each,
 *
 *     processor and oneDNN <tab> pass <tab> fp32 or bf16 <tab> us in fp32 <tab> us in bf16
 *
 * for other processes, and for later ones, which then compute the same bits. The file is locked
 * while one measures, so that processes that start together choose alike and do not disturb each
 * other's timings. Lines of other machines are left alone, those that cannot be read are passed
 * over: it can always be deleted. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "kernels/cpu/bf16.h"

/* RUNS: timed ones of each precision at least, after one to warm up; short ones up to MOST_RUNS,
 * for ENOUGH_US together. MEASURED_BYTES: of x and y together, so
 * that layers of large maps are measured on fewer rows. */
enum { RUNS = 3, MOST_RUNS = 40, ENOUGH_US = 2000, MEASURED_ROWS = 32, MEASURED_BYTES = 64 << 20 };

/* Saves bfloat16's time at least, for what it loses in digits. */
static const double worth = 0.95;

typedef struct Bf16Choice Bf16Choice;

struct Bf16Choice {
    char        key[192];
    bool        bf16;
    double      us[2];       /* fp32, bf16; NAN: oneDNN has none */
    Bf16Choice *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Bf16Choice     *first;
static char           *path_of_file;     /* NULL: nothing is kept. Under lock */

static const char *const pass_names[PASS_COUNT] = {"forward", "gradient of weights",
                                                   "gradient of input"};
static const char *const words[] = {"fp32", "bf16"};

/* "conv 3x3/1 pad 1 groups 1, 64x32x32 to 64x32x32, forward, frozen, 1 thread" */
static void key_of(char *out, size_t size, const Operator *op, OperatorPass pass)
{
    const OperatorSpec *s = &op->spec;
    char                window[64] = "";

    if (s->kind == LAYER_CONV)
        snprintf(window, sizeof window, " %dx%d/%d pad %d groups %d", s->kernel_height,
                 s->kernel_width, s->stride, s->padding, s->groups);
    snprintf(out, size, "%s%s, %dx%dx%d to %dx%dx%d, %s%s, %d thread%s", layer_kind_name(s->kind),
             window, s->in.channels, s->in.height, s->in.width, s->out.channels, s->out.height,
             s->out.width, pass_names[pass], s->frozen ? ", frozen" : "", op->device->threads,
             op->device->threads == 1 ? "" : "s");
}

/* ---- measuring ---- */

typedef struct {
    Operator    *op;
    OperatorPass pass;
    OperatorCall call;
    float       *weight, *gradient, *bias, *x, *y, *dy, *dx;
} Trial;

static int64_t measured_rows(const OperatorSpec *s)
{
    int64_t each = (shape_count(s->in) + shape_count(s->out)) * (int64_t)sizeof(float),
            rows = MEASURED_BYTES / each;

    return rows < 1 ? 1 : rows > MEASURED_ROWS ? MEASURED_ROWS : rows;
}

/* Numbers of all signs that bfloat16 has too: -1 to 1. NULL without memory. */
static float *numbers(int64_t count)
{
    float *memory = cpu_alloc((size_t)count);

    for (int64_t i = 0; memory && i < count; i++) memory[i] = (float)(i % 17 - 8) * 0.125f;
    return memory;
}

static void trial_free(Trial *t)
{
    operator_free(t->op);
    cpu_release(t->weight);
    cpu_release(t->gradient);
    cpu_release(t->bias);
    cpu_release(t->x);
    cpu_release(t->y);
    cpu_release(t->dy);
    cpu_release(t->dx);
}

/* Memory for a pass like op's; of what it does not compute, none. Free it also after an error. */
static int trial_memory(Trial *t, const Operator *op, OperatorPass pass, int64_t rows, Error *err)
{
    const OperatorSpec *s = &op->spec;
    int64_t             weights = operator_weights(s), nx = rows * shape_count(s->in),
            ny = rows * shape_count(s->out);

    *t = (Trial){.pass = pass, .weight = numbers(weights),
                 .gradient = pass == PASS_WEIGHTS ? cpu_alloc((size_t)weights) : NULL,
                 .bias = numbers(2 * cpu_round(s->out.channels)), .x = numbers(nx),
                 .y = numbers(ny), .dy = numbers(pass == PASS_FORWARD ? 1 : ny),
                 .dx = pass == PASS_DATA ? cpu_alloc((size_t)nx) : NULL};
    t->call =
        (OperatorCall){.rows = rows, .x = t->x, .y = t->y, .dy = t->dy, .dx = t->dx};
    return t->weight && (t->gradient || pass != PASS_WEIGHTS) && t->bias && t->x && t->y && t->dy
                   && (t->dx || pass != PASS_DATA)
               ? 0
               : error_no_memory(err);
}

/* A pass like op's in one precision, ready to run. */
static int trial_make(Trial *t, const Operator *op, OperatorPass pass, Bf16Use use, Error *err)
{
    int64_t            rows = measured_rows(&op->spec);
    OperatorParameters p = {0};
    bool               bias = operator_has_bias(op);

    if (trial_memory(t, op, pass, rows, err) != 0) return -1;
    p.weight = t->weight;
    p.weight_gradient = t->gradient;
    p.bias = bias ? t->bias : NULL;
    p.bias_gradient = bias && t->gradient ? t->bias + cpu_round(op->spec.out.channels) : NULL;
    if (operator_make(&t->op, &op->device->base, &op->spec, &p, err) != 0) return -1;
    t->op->bf16 = use;
    return operator_prepare(t->op, rows, err);
}

/* Of one thread, what it has of its core: other programs do not count. */
static double now_us(const Operator *op)
{
    struct timespec t;

    clock_gettime(op->device->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* The fastest run; weights that train are copied to oneDNN's order in each, as in a step. */
static int trial_run(double *us, Trial *t, Error *err)
{
    double total = 0.0;

    *us = INFINITY;
    for (int i = 0; i <= RUNS || (i <= MOST_RUNS && total < ENOUGH_US); i++) {
        double start = now_us(t->op), took;
        int    rc;

        if (!t->op->spec.frozen) operator_changed(t->op);
        rc = t->pass == PASS_FORWARD ? operator_forward(t->op, &t->call, err)
                                     : operator_backward(t->op, &t->call, err);
        if (rc != 0) return -1;
        took = now_us(t->op) - start;
        total += took;
        if (i > 0 && took < *us) *us = took;
    }
    return 0;
}

static int time_pass(double *us, const Operator *op, OperatorPass pass, Bf16Use use, Error *err)
{
    Trial t = {0};
    int   rc = trial_make(&t, op, pass, use, err);

    if (rc == 0) rc = trial_run(us, &t, err);
    trial_free(&t);
    return rc;
}

/* What oneDNN cannot compute in bfloat16 is computed in float32. */
static int measure(Bf16Choice *choice, const Operator *op, OperatorPass pass, Error *err)
{
    Error ignored = {""};

    if (time_pass(&choice->us[0], op, pass, BF16_NEVER, err) != 0) return -1;
    if (time_pass(&choice->us[1], op, pass, BF16_ALWAYS, &ignored) != 0) choice->us[1] = NAN;
    choice->bf16 = choice->us[1] < worth * choice->us[0];
    return 0;
}

/* ---- the file ---- */

/* What lines of this machine begin with. */
static int own_name(Text *out, Error *err)
{
    char name[64];

    cpu_processor_name(name, sizeof name);
    text_printf(out, "%s, ", name);
    return backend_cpu.version(NULL, out, err);
}

/* Five fields of a line, cut in place. */
static bool read_line(Bf16Choice *out, char *line, const char *own)
{
    char *field[5], *end;

    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < 5; i++)
        if (!(field[i] = strsep(&line, "\t"))) return false;
    if (line || strcmp(field[0], own) != 0 || strcmp(field[1], out->key) != 0) return false;
    out->bf16 = strcmp(field[2], words[1]) == 0;
    if (!out->bf16 && strcmp(field[2], words[0]) != 0) return false;
    for (int i = 0; i < 2; i++) {
        out->us[i] = strtod(field[3 + i], &end);
        if (*end || end == field[3 + i]) return false;
    }
    return true;
}

/* Whether the file has choice->key; the first line counts. */
static bool file_find(Bf16Choice *choice, int fd, const char *own)
{
    int    copy = dup(fd);
    FILE  *f = copy >= 0 && lseek(copy, 0, SEEK_SET) == 0 ? fdopen(copy, "r") : NULL;
    char  *line = NULL;
    size_t room = 0;
    bool   found = false;

    while (f && !found && getline(&line, &room, f) > 0) found = read_line(choice, line, own);
    free(line);
    if (f) fclose(f);
    else if (copy >= 0) close(copy);
    return found;
}

/* One write, behind all others. A line that is cut short is passed over by who reads it. */
static void file_add(const Bf16Choice *choice, int fd, const char *own)
{
    Text text = {0};

    text_printf(&text, "%s\t%s\t%s\t%.1f\t%.1f\n", own, choice->key, words[choice->bf16],
                choice->us[0], choice->us[1]);
    if (text_failed(&text) || write(fd, text_string(&text), text.length) < 0) {
        free(path_of_file);                              /* done without from now on */
        path_of_file = NULL;
    }
    text_free(&text);
}

/* From the file, or measured and added to it. */
static int find_or_measure(Bf16Choice *choice, const Operator *op, OperatorPass pass, Error *err)
{
    int  fd = path_of_file ? open(path_of_file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    Text own = {0};
    int  rc = own_name(&own, err);

    if (rc == 0 && fd >= 0) flock(fd, LOCK_EX);
    if (rc == 0 && (fd < 0 || !file_find(choice, fd, text_string(&own)))) {
        rc = measure(choice, op, pass, err);
        if (rc == 0 && fd >= 0) file_add(choice, fd, text_string(&own));
    }
    if (fd >= 0) close(fd);                              /* and the lock is gone */
    text_free(&own);
    return rc;
}

/* ---- the table ---- */

static const Bf16Choice *table_find(const char *key)
{
    for (const Bf16Choice *c = first; c; c = c->next)
        if (strcmp(c->key, key) == 0) return c;
    return NULL;
}

static int table_add(const Bf16Choice *choice, Error *err)
{
    Bf16Choice *entry = malloc(sizeof *entry), **last = &first;

    if (!entry) return error_no_memory(err);
    *entry = *choice;
    entry->next = NULL;
    while (*last) last = &(*last)->next;
    *last = entry;
    return 0;
}

int bf16_choose(bool *out, const Operator *op, OperatorPass pass, Error *err)
{
    Bf16Choice        choice = {.bf16 = false};
    const Bf16Choice *known;
    int               rc = 0;

    key_of(choice.key, sizeof choice.key, op, pass);
    pthread_mutex_lock(&lock);
    known = table_find(choice.key);
    if (known) choice.bf16 = known->bf16;
    else {
        rc = find_or_measure(&choice, op, pass, err);
        if (rc == 0) rc = table_add(&choice, err);
    }
    pthread_mutex_unlock(&lock);
    *out = choice.bf16;
    return rc;
}

int bf16_keep_choices(const DeviceSpec *spec, const char *path, Error *err)
{
    int rc = 0;

    (void)spec;
    pthread_mutex_lock(&lock);
    free(path_of_file);
    path_of_file = strdup(path);
    if (!path_of_file) rc = error_no_memory(err);
    pthread_mutex_unlock(&lock);
    return rc;
}

int bf16_choices(Device *device, Text *out, Error *err)
{
    (void)device;
    pthread_mutex_lock(&lock);
    for (const Bf16Choice *c = first; c; c = c->next)
        text_printf(out, "%s: %s, %.1f us; %s %.1f us\n", c->key, words[c->bf16], c->us[c->bf16],
                    words[!c->bf16], c->us[!c->bf16]);
    pthread_mutex_unlock(&lock);
    return text_failed(out) ? error_no_memory(err) : 0;
}
