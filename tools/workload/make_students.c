/* pipebd-workload make-students: students that are narrower copies of their teachers, one a block
 * or several. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "executor/import/students.h"
#include "tools/workload/workload.h"

enum { MAX_STUDENTS = 256 };     /* of a block */

enum { HEADS, KV_HEADS, WIDTH, RANK, NUMBERS };

typedef struct {
    const char    *output, *ffn;
    double         shares[OPTION_MAX_LIST];      /* of ffn */
    int            share_count;
    OptionIntegers number[NUMBERS];
} StudentArguments;

/* ---- the students that are asked for --------------------------------------------------- */

/* Shares above 0 and below 1, and of several 1 too: the teacher's own. */
static int parse_shares(StudentArguments *a, Error *err)
{
    bool several = strchr(a->ffn, ',') != NULL;

    for (const char *at = a->ffn;; at++) {
        double      share;
        const char *end = number_scan(at, &share);
        if (!end || (*end && *end != ',') || share <= 0 || (several ? share > 1 : share >= 1))
            return error_set(err, "--ffn: expected a share above 0 and %s, found \"%s\"",
                             several ? "at most 1 for each" : "below 1, or several, as 0.5,0.25",
                             a->ffn);
        if (a->share_count == OPTION_MAX_LIST)
            return error_set(err, "--ffn: more than %d shares", OPTION_MAX_LIST);
        a->shares[a->share_count++] = share;
        at = end;
        if (!*at) return 0;
    }
}

/* Adds "-ffn33_3" to the name. */
static void add_to_name(Text *name, const char *what, double value)
{
    char number[32];

    snprintf(number, sizeof number, "%g", value);
    for (char *c = number; *c; c++)
        if (*c == '.') *c = '_';
    text_printf(name, "%s%s%s", name->length ? "-" : "", what, number);
}

typedef struct {
    Arena           arena;
    StudentOptions *list;        /* [count]; in the arena, as their names */
    int             count;
} StudentSets;

/* Set number i of all: each value of --ffn with each of --heads, ... The name has what varies. */
static int make_set(StudentOptions *out, Arena *arena, const StudentArguments *a, int i, Error *err)
{
    static const char *const words[] = {"heads", "kv", "width", "rank"};
    int *const values[] = {&out->heads, &out->kv_heads, &out->width, &out->rank};
    Text name = {0};

    *out = (StudentOptions){0};
    if (a->share_count > 0) {
        out->ffn = a->shares[i % a->share_count];
        if (a->share_count > 1) add_to_name(&name, "ffn", 100 * out->ffn);
        i /= a->share_count;
    }
    for (int k = 0; k < NUMBERS; k++) {
        const OptionIntegers *list = &a->number[k];
        if (list->count == 0) continue;
        *values[k] = (int)list->values[i % list->count];
        if (list->count > 1) add_to_name(&name, words[k], *values[k]);
        i /= list->count;
    }
    if (name.length == 0) text_append(&name, "student");
    out->name = text_failed(&name) ? NULL : arena_strdup(arena, text_string(&name));
    text_free(&name);
    return out->name ? 0 : error_no_memory(err);
}

/* All combinations of what the options list. out: empty; its arena is the caller's to free, also
 * after an error. */
static int make_sets(StudentSets *out, const StudentArguments *a, Error *err)
{
    int64_t count = a->share_count > 0 ? a->share_count : 1;

    for (int k = 0; k < NUMBERS; k++)
        if (a->number[k].count > 0) count *= a->number[k].count;
    if (count > MAX_STUDENTS)
        return error_set(err, "%" PRId64 " students a block, expected at most %d", count,
                         MAX_STUDENTS);
    out->list = arena_alloc(&out->arena, (size_t)count, sizeof *out->list);
    if (!out->list) return error_no_memory(err);
    for (int i = 0; i < (int)count; i++) {
        if (make_set(&out->list[i], &out->arena, a, i, err) != 0) return -1;
        out->count++;
        for (int k = 0; k < i; k++)
            if (strcmp(out->list[k].name, out->list[i].name) == 0)
                return error_set(err, "a value is given twice: student \"%s\"", out->list[i].name);
        if (strlen(out->list[i].name) > WORKLOAD_MAX_NAME)
            return error_set(err, "student \"%s\": a name of more than %d characters",
                             out->list[i].name, WORKLOAD_MAX_NAME);
    }
    return 0;
}

/* ---- making them ------------------------------------------------------------------------ */

/* Of the teachers, or of the students where each block has one. */
static int64_t parameters(const Workload *w, bool of_students)
{
    int64_t sum = 0;

    for (int b = 0; b < w->block_count; b++)
        sum += layers_cost(of_students ? &w->block[b].student : &w->block[b].teacher).parameters;
    return sum;
}

static void say_what(const Workload *w, int changed, const char *base)
{
    int students = workload_students(w);

    if (students > w->block_count)
        fprintf(stderr, "%d students of %d blocks; %d layers or blocks are narrower\n", students,
                w->block_count, changed);
    else
        fprintf(stderr,
                "%d layers or blocks are narrower: students have %.1f %% of the teachers' "
                "parameters\n",
                changed, 100.0 * (double)parameters(w, true) / (double)parameters(w, false));
    fprintf(stderr, "%s.json, %s.safetensors\n", base, base);
}

/* Makes narrower students of the workload at path and writes them. Options that change no layer are
 * an error. */
static int run(const StudentArguments *a, const StudentSets *sets, const char *path, Error *err)
{
    Workload *w = NULL;
    Tensors  *teacher = NULL, *students = NULL;
    int       rc = -1, changed = 0;

    if (workload_read(&w, path, err) != 0) goto done;
    if (!w->teacher_weights) {
        error_set(err, "%s: names no teacher_weights to make students of", path);
        goto done;
    }
    const char *const read[] = {path, w->teacher_weights};
    if (workload_check_base(a->output, read, 2, err) != 0) goto done;
    if (tensors_read(&teacher, w->teacher_weights, err) != 0 || tensors_new(&students, err) != 0)
        goto done;
    if (students_make(w, teacher, students, sets->list, sets->count, &changed, err) != 0) {
        error_prefix(err, "%s", path);
        goto done;
    }
    if (changed == 0) {
        error_set(err, "%s: no layer of it is changed by these options", path);
        goto done;
    }
    if (workload_write_both(w, students, a->output, err) != 0) goto done;
    say_what(w, changed, a->output);
    rc = 0;
done:
    tensors_free(students);
    tensors_free(teacher);
    workload_free(w);
    return rc;
}

/* What the command line lacks; reads --ffn. */
static int check_usage(StudentArguments *a, Error *err)
{
    bool any = a->ffn != NULL;

    if (!a->output) return error_set(err, "expected -o BASE, see --help");
    for (int k = 0; k < NUMBERS; k++) any = any || a->number[k].count > 0;
    if (!any)
        return error_set(err, "expected --ffn, --heads, --kv-heads, --width or --rank, see --help");
    return a->ffn ? parse_shares(a, err) : 0;
}

int workload_make_students_tool(int argc, char **argv)
{
    StudentArguments a = {0};
    Option table[] = {
        {"output", 'o', OPTION_STRING, "BASE",
         "Write BASE.json, and BASE.safetensors with the students' initial weights (train --init).",
         &a.output, 0, 0, NULL, false},
        {"ffn", 0, OPTION_STRING, "SHARE,...",
         "Fraction of an FFN's neurons that students keep: those with the largest weights.", &a.ffn,
         0, 0, NULL, false},
        {"heads", 0, OPTION_INTEGERS, "N,...",
         "Query heads of the students: those with the largest weights.", &a.number[HEADS], 1, 65536,
         NULL, false},
        {"kv-heads", 0, OPTION_INTEGERS, "N,...",
         "Key-value heads of the students, each the mean of several of the teacher's.",
         &a.number[KV_HEADS], 1, 65536, NULL, false},
        {"width", 0, OPTION_INTEGERS, "N,...",
         "Channels that a student's block works on, between two linear layers.",
         &a.number[WIDTH], 1, 65536, NULL, false},
        {"rank", 0, OPTION_INTEGERS, "N,...",
         "Rank of linear layers in residuals, each of which becomes two.", &a.number[RANK], 1,
         65536,
         NULL, false},
        {0},
    };
    Options  options = {
         "pipebd-workload make-students", "WORKLOAD -o BASE [options]",
         "Makes students from a workload's teachers: the same layers, narrower, initialised with "
         "the teachers' weights. Several values of options make a student of each block for "
         "every combination.",
         table, NULL};
    StudentSets sets = {0};
    const char *path;
    Error       err = {""};
    int         status;

    if (!workload_operand(&path, &options, argc, argv, "WORKLOAD", &status)) return status;
    if (check_usage(&a, &err) != 0 || make_sets(&sets, &a, &err) != 0) status = EXIT_USAGE;
    else status = run(&a, &sets, path, &err) == 0 ? EXIT_OK : EXIT_FAILED;
    arena_free(&sets.arena);
    return workload_end(&options, status, &err);
}
