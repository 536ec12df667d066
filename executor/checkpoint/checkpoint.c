#include "executor/checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/compare.h"
#include "base/json.h"
#include "executor/checkpoint/state.h"

static const char FORMAT[] = "pipebd-checkpoint";
static const char VERSION[] = "1";

enum { TEMPORARY_SUFFIX = 7 };       /* ".XXXXXX" of base/file.h */

/* ---- names ------------------------------------------------------------------- */

/* A whole number of 0..INT64_MAX in decimal, without signs or blanks; *end behind it. */
static bool parse_number(int64_t *out, const char *text, const char **end)
{
    int64_t value = 0;

    *end = text;
    for (; **end >= '0' && **end <= '9'; (*end)++)
        if (__builtin_mul_overflow(value, 10, &value)
            || __builtin_add_overflow(value, **end - '0', &value))
            return false;
    *out = value;
    return *end != text;
}

/* Of a note, all of it; text NULL: there is none. */
static bool parse_note(int64_t *out, const char *text)
{
    const char *end;

    return text && parse_number(out, text, &end) && *end == '\0';
}

/* The number in the name of a file; -1: it is no checkpoint. unfinished: the name of a
 * temporary file instead. */
static int64_t sequence_of(const char *name, bool unfinished)
{
    int64_t     sequence, steps;
    const char *at = name;

    if (strncmp(at, "checkpoint-", 11) != 0 || !parse_number(&sequence, at + 11, &at)) return -1;
    if (*at != '-' || !parse_number(&steps, at + 1, &at)) return -1;
    if (strncmp(at, ".safetensors", 12) != 0) return -1;
    at += 12;
    if (unfinished) return at[0] == '.' && strlen(at) == TEMPORARY_SUFFIX ? sequence : -1;
    return *at == '\0' ? sequence : -1;
}

int64_t checkpoint_step(const Tensors *tensors, StudentId id)
{
    char        key[STATE_KEY_BYTES];
    int64_t     step;
    const char *text = tensors_note(tensors, state_step_key(key, id));

    if (!text) return 0;
    return parse_note(&step, text) ? step : -1;
}

int checkpoint_students(const CheckpointFacts *facts)
{
    return facts->workload_of ? workload_students(facts->workload_of) : facts->blocks;
}

StudentId checkpoint_student(const CheckpointFacts *facts, int number)
{
    return facts->workload_of ? workload_student(facts->workload_of, number)
                              : (StudentId){.block = number};
}

/* ---- the folder ---------------------------------------------------------------- */

static int open_folder(DIR **out, const char *folder, Error *err)
{
    *out = opendir(folder);
    return *out ? 0 : error_set(err, "%s: cannot read the folder: %s", folder, strerror(errno));
}

int checkpoint_list(int64_t **out, int *count, const char *folder, Error *err)
{
    DIR           *stream;
    struct dirent *entry;
    int            room = 0;

    *out = NULL;
    *count = 0;
    if (open_folder(&stream, folder, err) != 0) return -1;
    while ((entry = readdir(stream))) {
        int64_t sequence = sequence_of(entry->d_name, false);
        if (sequence < 0) continue;
        if (!array_has_room(*out, *count, room)) {
            closedir(stream);
            free(*out);
            *out = NULL;
            return error_no_memory(err);
        }
        (*out)[(*count)++] = sequence;
    }
    closedir(stream);
    if (*count > 1) qsort(*out, (size_t)*count, sizeof **out, compare_int64);
    return 0;
}

/* Path of the checkpoint with a number: *out is yours, NULL when it is gone. */
static int find_path(char **out, const char *folder, int64_t sequence, Error *err)
{
    DIR           *stream;
    struct dirent *entry;
    Text           path = {0};

    *out = NULL;
    if (open_folder(&stream, folder, err) != 0) return -1;
    while ((entry = readdir(stream)))
        if (sequence_of(entry->d_name, false) == sequence) {
            text_printf(&path, "%s/%s", folder, entry->d_name);
            break;
        }
    closedir(stream);
    if (text_failed(&path)) { text_free(&path); return error_no_memory(err); }
    *out = path.bytes;
    return 0;
}

int checkpoint_remove(const char *folder, int64_t sequence, Error *err)
{
    char *path;

    if (find_path(&path, folder, sequence, err) != 0) return -1;
    int rc = 0;
    if (path && unlink(path) != 0 && errno != ENOENT)
        rc = error_set(err, "%s: cannot remove: %s", path, strerror(errno));
    free(path);
    return rc;
}

int checkpoint_remove_unfinished(const char *folder, Error *err)
{
    DIR           *stream;
    struct dirent *entry;
    int            rc = 0;

    if (open_folder(&stream, folder, err) != 0) return -1;
    while (rc == 0 && (entry = readdir(stream))) {
        if (sequence_of(entry->d_name, true) < 0) continue;
        if (unlinkat(dirfd(stream), entry->d_name, 0) != 0 && errno != ENOENT)
            rc = error_set(err, "%s/%s: cannot remove: %s", folder, entry->d_name, strerror(errno));
    }
    closedir(stream);
    return rc;
}

/* ---- facts ------------------------------------------------------------------------ */

/* The facts and their notes, in one table. */
typedef struct {
    const char *key, *meaning;
    size_t      offset;
} Fact;

static const Fact FACTS[] = {
    {"batch",           "its batch",            offsetof(CheckpointFacts, batch)},
    {"steps_per_epoch", "its steps an epoch",   offsetof(CheckpointFacts, steps_per_epoch)},
    {"total_steps",     "its number of steps",  offsetof(CheckpointFacts, total_steps)},
};

enum { FACT_COUNT = sizeof FACTS / sizeof *FACTS };

static int64_t *fact(const CheckpointFacts *facts, int i)
{
    return (int64_t *)((char *)(uintptr_t)facts + FACTS[i].offset);
}

static int note_printf(Tensors *tensors, Error *err, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int note_printf(Tensors *tensors, Error *err, const char *key, const char *format, ...)
{
    char    value[64];
    va_list args;

    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    return tensors_set_note(tensors, key, value, err);
}

static int write_facts(Tensors *tensors, const CheckpointFacts *facts, Error *err)
{
    if (tensors_set_note(tensors, "format", FORMAT, err) != 0) return -1;
    if (tensors_set_note(tensors, "version", VERSION, err) != 0) return -1;
    if (note_printf(tensors, err, "workload", "%016" PRIx64, facts->workload) != 0) return -1;
    if (note_printf(tensors, err, "seed", "%016" PRIx64, facts->seed) != 0) return -1;
    if (note_printf(tensors, err, "blocks", "%d", facts->blocks) != 0) return -1;
    for (int i = 0; i < FACT_COUNT; i++)
        if (note_printf(tensors, err, FACTS[i].key, "%" PRId64, *fact(facts, i)) != 0) return -1;
    return note_printf(tensors, err, "teacher", "%016" PRIx64, facts->teacher) == 0
           && note_printf(tensors, err, "student", "%016" PRIx64, facts->student) == 0
           && note_printf(tensors, err, "samples", "%" PRId64, facts->samples) == 0
           && note_printf(tensors, err, "data", "%s", facts->data) == 0 ? 0 : -1;
}

/* 16 hexadecimal digits. */
static bool parse_hash(uint64_t *out, const char *text)
{
    char *end;

    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
    *out = strtoull(text, &end, 16);
    return *end == '\0';
}

static int missing(const char *path, const char *key, Error *err)
{
    return error_set(err, "%s: its note \"%s\" is missing or not a number of a checkpoint", path,
                     key);
}

/* What the run learned from; absent in files of before. */
static int read_sources(CheckpointFacts *facts, const Tensors *tensors, const char *path,
                        Error *err)
{
    const char *teacher = tensors_note(tensors, "teacher"),
               *student = tensors_note(tensors, "student"),
               *samples = tensors_note(tensors, "samples"), *data = tensors_note(tensors, "data");

    facts->teacher = facts->student = 0;
    facts->samples = 0;
    if (teacher && !parse_hash(&facts->teacher, teacher)) return missing(path, "teacher", err);
    if (student && !parse_hash(&facts->student, student)) return missing(path, "student", err);
    if (samples && !parse_note(&facts->samples, samples)) return missing(path, "samples", err);
    snprintf(facts->data, sizeof facts->data, "%s", data ? data : "");
    return 0;
}

/* All notes step.B and step.B.STUDENT. */
static int check_steps(const Tensors *tensors, const char *path, Error *err)
{
    char    shown[JSON_SHOWN_BYTES];
    int64_t step;

    for (int i = 0; i < tensors_note_count(tensors); i++) {
        const char *key = tensors_note_key(tensors, i);
        if (strncmp(key, "step.", 5) != 0 || parse_note(&step, tensors_note(tensors, key)))
            continue;
        return error_set(err, "%s: the step of block %s is no number", path,
                         json_shown(shown, key + 5));
    }
    return 0;
}

/* What a checkpoint says about its run, from the notes of the safetensors file: format and version,
 * the workload's hash, the seed, the numbers of FACTS, and each block's step. Whether they fit the
 * run that resumes is not judged here. */
static int read_facts(CheckpointFacts *facts, const Tensors *tensors, const char *path, Error *err)
{
    const char *format = tensors_note(tensors, "format"),
               *version = tensors_note(tensors, "version");
    int64_t     blocks;

    if (!format || strcmp(format, FORMAT) != 0)
        return error_set(err, "%s: is no checkpoint of pipebd-run", path);
    if (!version || strcmp(version, VERSION) != 0)
        return error_set(err, "%s: a checkpoint of another version, expected %s", path, VERSION);
    if (!parse_hash(&facts->workload, tensors_note(tensors, "workload")))
        return missing(path, "workload", err);
    if (!parse_hash(&facts->seed, tensors_note(tensors, "seed"))) return missing(path, "seed", err);
    for (int i = 0; i < FACT_COUNT; i++)
        if (!parse_note(fact(facts, i), tensors_note(tensors, FACTS[i].key)))
            return missing(path, FACTS[i].key, err);
    if (!parse_note(&blocks, tensors_note(tensors, "blocks")) || blocks > INT_MAX)
        return missing(path, "blocks", err);
    facts->blocks = (int)blocks;
    facts->workload_of = NULL;
    if (read_sources(facts, tensors, path, err) != 0) return -1;
    return check_steps(tensors, path, err);
}

int checkpoint_fits(const CheckpointFacts *checkpoint, const CheckpointFacts *run, Error *err)
{
    if (checkpoint->workload != run->workload || checkpoint->blocks != run->blocks)
        return error_set(err, "the checkpoint is of another workload");
    if (checkpoint->seed != run->seed)
        return error_set(err,
                         "the checkpoint's run has the seed %" PRIu64 ", and this one %" PRIu64,
                         checkpoint->seed, run->seed);
    for (int i = 0; i < FACT_COUNT; i++)
        if (*fact(checkpoint, i) != *fact(run, i))
            return error_set(
                err, "the checkpoint's run differs in %s: %" PRId64 ", and this one's %" PRId64,
                FACTS[i].meaning, *fact(checkpoint, i), *fact(run, i));
    if (checkpoint->data[0] && strcmp(checkpoint->data, run->data) != 0)
        return error_set(err,
                         "the checkpoint's run learned from %s, and this one from %s: see --data",
                         checkpoint->data, run->data);
    if (checkpoint->samples && checkpoint->samples != run->samples)
        return error_set(err,
                         "the checkpoint's run had %" PRId64 " samples, and this one has %" PRId64
                         ": see --data",
                         checkpoint->samples, run->samples);
    if (checkpoint->teacher && checkpoint->teacher != run->teacher)
        return error_set(err, "the checkpoint's run had another teacher: see --teacher");
    if (checkpoint->teacher && checkpoint->student != run->student)
        return error_set(err, "the checkpoint's run began with other students: see --init");
    return 0;
}

/* ---- files ------------------------------------------------------------------------- */

int checkpoint_write(const char *folder, int64_t sequence, const CheckpointFacts *facts,
                     const Tensors *const *student, Error *err)
{
    int      rc = -1;
    int64_t  steps = 0;
    Tensors *all = NULL;
    Text     path = {0};

    if (tensors_new(&all, err) != 0) goto done;
    if (write_facts(all, facts, err) != 0) goto done;
    for (int k = 0; k < checkpoint_students(facts); k++) {
        if (!student[k]) continue;
        if (tensors_put(all, student[k], err) != 0) goto done;
        steps += checkpoint_step(student[k], checkpoint_student(facts, k));
    }
    text_printf(&path, "%s/checkpoint-%06" PRId64 "-%" PRId64 ".safetensors", folder, sequence,
                steps);
    if (text_failed(&path)) { error_no_memory(err); goto done; }
    rc = tensors_write_sealed(all, text_string(&path), err);
done:
    tensors_free(all);
    text_free(&path);
    return rc;
}

int checkpoint_read(Tensors **out, CheckpointFacts *facts, const char *path, Error *err)
{
    if (tensors_read_sealed(out, path, err) != 0) return -1;
    if (read_facts(facts, *out, path, err) == 0 && state_check(*out, path, err) == 0) return 0;
    tensors_free(*out);
    *out = NULL;
    return -1;
}

/* *out stays NULL when the file is damaged, which is noted, or gone. */
static int try_read(Tensors **out, CheckpointFacts *facts, const char *folder, int64_t sequence,
                    Text *warnings, Error *err)
{
    char *path;
    Error why = {""};

    if (find_path(&path, folder, sequence, err) != 0) return -1;
    if (!path) return 0;
    int rc = checkpoint_read(out, facts, path, &why);
    free(path);
    if (rc == 0) return 0;
    if (error_is_no_memory(&why)) return error_no_memory(err);
    text_printf(warnings, "%s: skipped\n", why.text);
    return text_failed(warnings) ? error_no_memory(err) : 0;
}

int checkpoint_latest(Tensors **out, CheckpointFacts *facts, int64_t *sequence, const char *folder,
                      Text *warnings, Error *err)
{
    int64_t *list;
    int      count, rc = -1;

    *out = NULL;
    *sequence = 0;
    if (access(folder, F_OK) != 0 && errno == ENOENT) return 0;
    if (checkpoint_list(&list, &count, folder, err) != 0) return -1;
    for (int i = count - 1; i >= 0 && !*out; i--) {
        *sequence = list[i];
        if (try_read(out, facts, folder, list[i], warnings, err) != 0) goto done;
    }
    if (count > 0 && !*out)
        error_set(err, "%s: none of its %d checkpoints can be read", folder, count);
    else
        rc = 0;
done:
    free(list);
    return rc;
}
