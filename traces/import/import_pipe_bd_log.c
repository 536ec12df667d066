/* The profiles that the original Pipe-BD prints, from its log. Understood are lines that
 * begin, after blanks, with
 *
 *     [ R t_profs= ['1.2345', '0.9876']        teacher blocks, ms; rank R profiles the batch
 *     [ R st_profs= ['4.5678', '3.2109']       floor(B / (R + 1)); teacher plus student
 *     [p2p communication profile ['0.5']       boundaries 1 to N-1 at the full batch
 *     [dp group_size= W communication profile ['0.1', '0.2']     all-reduce of each block
 *
 * Other lines of the log are passed over, but one that contains "t_profs=" or
 * "communication profile" in another form is an error. A student that ran out of memory
 * has 87654321 ms. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "traces/import/import_read.h"

enum { MAX_RANKS = 64, MAX_BLOCKS = 256 };

/* The original adds the teacher's time in single precision, whose steps are 8 there. */
static const double OUT_OF_MEMORY_MS = 87654321, OUT_OF_MEMORY_STEP_MS = 16;

typedef struct {
    int         count;           /* 0: no such line */
    ImportLines       where;
    const char *at[MAX_BLOCKS];  /* of the numbers, for messages */
    double      ms[MAX_BLOCKS];
} LogRow;

typedef struct {
    int  blocks, ranks;          /* ranks: beyond the highest seen */
    LogRow  teacher[MAX_RANKS], both[MAX_RANKS], p2p, reduce[MAX_RANKS];
    int64_t *boundary_bytes, *gradient_bytes;
    int  boundary_count, gradient_count;
} OriginalLog;

/* ---- lines ---------------------------------------------------------------------------- */

static bool contains(const ImportLines *lines, const char *word)
{
    return memmem(lines->line, (size_t)(lines->stop - lines->line), word, strlen(word)) != NULL;
}

/* A number of low..high. */
static int read_count(const ImportLines *lines, const char **at, int low, int high,
                      const char *what, int *out, Error *err)
{
    const char *start = *at;
    double      value;

    if (read_number(lines, at, &value, err) != 0) return -1;
    if (value < low || value > high || value != floor(value))
        return lines_fail(lines, start, err, "%s %g, expected a whole number of %d to %d", what,
                          value, low, high);
    *out = (int)value;
    return 0;
}

/* ['1.2', '3.4'] to the end of the line. */
static int read_row(LogRow *row, const ImportLines *lines, const char *at, Error *err)
{
    if (row->count)
        return lines_fail(lines, lines->line, err, "twice: line %d has it too, keep one",
                          row->where.number);
    row->where = *lines;
    if (read_word(lines, &at, "[", err) != 0) return -1;
    do {
        if (read_word(lines, &at, "'", err) != 0) return -1;
        if (row->count == MAX_BLOCKS)
            return lines_fail(lines, at, err, "more than %d blocks", MAX_BLOCKS);
        row->at[row->count] = at;
        if (read_number(lines, &at, &row->ms[row->count++], err) != 0) return -1;
        if (read_word(lines, &at, "'", err) != 0) return -1;
    } while (skip_word(lines, &at, ", "));
    if (read_word(lines, &at, "]", err) != 0) return -1;
    while (at < lines->stop && *at == ' ') at++;
    return at == lines->stop ? 0 : lines_fail(lines, at, err, "expected the end of the line");
}

static int read_times(OriginalLog *log, const ImportLines *lines, const char *at, Error *err)
{
    int rank;

    while (at < lines->stop && (*at == ' ' || *at == '\t')) at++;
    if (read_word(lines, &at, "[ ", err) != 0) return -1;
    if (read_count(lines, &at, 0, MAX_RANKS - 1, "rank", &rank, err) != 0) return -1;
    if (rank >= log->ranks) log->ranks = rank + 1;
    if (skip_word(lines, &at, " st_profs= ")) return read_row(&log->both[rank], lines, at, err);
    if (read_word(lines, &at, " t_profs= ", err) != 0) return -1;
    return read_row(&log->teacher[rank], lines, at, err);
}

static int read_communication(OriginalLog *log, const ImportLines *lines, const char *at,
                              Error *err)
{
    int width;

    while (at < lines->stop && (*at == ' ' || *at == '\t')) at++;
    if (skip_word(lines, &at, "[p2p communication profile "))
        return read_row(&log->p2p, lines, at, err);
    if (read_word(lines, &at, "[dp group_size= ", err) != 0) return -1;
    if (read_count(lines, &at, 1, MAX_RANKS, "group_size", &width, err) != 0) return -1;
    if (read_word(lines, &at, " communication profile ", err) != 0) return -1;
    return read_row(&log->reduce[width - 1], lines, at, err);
}

static int read_lines(OriginalLog *log, const ImportFile *file, Error *err)
{
    ImportLines lines = lines_start(file);

    while (lines_next(&lines)) {
        int rc = 0;
        if (contains(&lines, "t_profs="))
            rc = read_times(log, &lines, lines.line, err);
        else if (contains(&lines, "communication profile"))
            rc = read_communication(log, &lines, lines.line, err);
        if (rc != 0) return -1;
    }
    return 0;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_row(const LogRow *row, int count, const char *what, Error *err)
{
    if (!row->count || row->count == count) return 0;
    return lines_fail(&row->where, row->where.line, err, "%d numbers, expected %d: %s", row->count,
                      count, what);
}

static int check_rank(const OriginalLog *log, const ImportFile *file, int rank, Error *err)
{
    const LogRow *t = &log->teacher[rank], *st = &log->both[rank];

    if (!t->count && !st->count) return 0;
    if (!t->count || !st->count)
        return error_set(err, "%s: rank %d has no line \"[ %d %s= ...\"", file->name, rank, rank,
                         t->count ? "st_profs" : "t_profs");
    if (check_row(t, log->blocks, "one a block", err) != 0
        || check_row(st, log->blocks, "one a block", err) != 0)
        return -1;
    for (int b = 0; b < log->blocks; b++)
        if (st->ms[b] < t->ms[b])
            return lines_fail(&st->where, st->at[b], err,
                              "%g ms for teacher and student, but the teacher alone takes "
                              "%g (line %d)",
                              st->ms[b], t->ms[b], t->where.number);
    return 0;
}

/* Whether what was read is whole: every rank has a profile of the same blocks, ranks have batches
 * of their own, and lists have as many numbers as blocks. */
static int check(OriginalLog *log, const ImportFile *file, const ImportOptions *o, Error *err)
{
    for (int r = 0; r < log->ranks && !log->blocks; r++)
        log->blocks = log->teacher[r].count ? log->teacher[r].count : log->both[r].count;
    if (!log->blocks)
        return error_set(
            err, "%s: no profile, expected lines such as \"[ 0 t_profs= ['1.2345', '0.9876']\"",
            file->name);
    for (int r = 0; r < log->ranks; r++) {
        if (check_rank(log, file, r, err) != 0) return -1;
        if (log->teacher[r].count
            && (o->batch / (r + 1) < 1 || (r && o->batch / r == o->batch / (r + 1))))
            return lines_fail(&log->teacher[r].where, log->teacher[r].where.line, err,
                              "rank %d: a batch of %" PRId64
                              " over %d devices is none of its own, is --batch right?",
                              r, o->batch, r + 1);
    }
    if (check_row(&log->p2p, log->blocks - 1, "one between two blocks", err) != 0) return -1;
    for (int w = 0; w < MAX_RANKS; w++)
        if (check_row(&log->reduce[w], log->blocks, "one a block", err) != 0) return -1;
    if (o->boundary_bytes && log->boundary_count != log->blocks
        && log->boundary_count != log->blocks - 1)
        return error_set(
            err, "--boundary-bytes: %d numbers, expected %d, one a block, the last may be left out",
            log->boundary_count, log->blocks);
    if (o->gradient_bytes && log->gradient_count != log->blocks)
        return error_set(err, "--gradient-bytes: %d numbers, expected %d, one a block",
                         log->gradient_count, log->blocks);
    return 0;
}

/* ---- the trace ------------------------------------------------------------------------------- */

/* A third of a student step is its forward, as in traces/nas-cifar10-a6000.json: a
 * backward does about twice the arithmetic of a forward. */
static int fill_times(Trace *trace, Text *notes, const OriginalLog *log, const ImportFile *file,
                      Error *err)
{
    for (int b = 0; b < log->blocks; b++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", b);
        if (!(trace->blocks[b].name = arena_strdup(&trace->arena, name)))
            return error_no_memory(err);
        for (int r = 0; r < log->ranks; r++) {
            if (!log->teacher[r].count) continue;
            double t = log->teacher[r].ms[b], s = log->both[r].ms[b] - t;
            if (fabs(s - OUT_OF_MEMORY_MS) <= OUT_OF_MEMORY_STEP_MS) {
                text_printf(notes,
                            " Out of memory and left out: b%d at batch %" PRId64 " (line %d).", b,
                            trace->batch / (r + 1), log->both[r].where.number);
                continue;
            }
            if (import_timing(trace, b, trace->batch / (r + 1), t, s / 3, s * 2 / 3, file,
                              log->both[r].where.number, err)
                != 0)
                return -1;
        }
        if (trace->blocks[b].work[0]->count == 0)
            return error_set(
                err, "%s: block b%d ran out of memory at every batch, so nothing is known of it",
                file->name, b);
    }
    return 0;
}

/* Adds a point, or the mean with the one that is there: two boundaries may be as large. */
static int add_point(Trace *trace, Curve *curve, int64_t x, double ms, int *seen, Error *err)
{
    for (int i = 0; i < curve->count; i++)
        if (curve->points[i].x == x) {
            int64_t ns = llround(ms * 1e6);
            curve->points[i].ns += (ns - curve->points[i].ns) / ++seen[i];
            curve->points[i].contended_ns = curve->points[i].ns;
            return 0;
        }
    seen[curve->count] = 1;
    return import_point(trace, curve, x, ms, err);
}

/* The link between devices: a point for each boundary between two blocks, of a full batch, and
 * one of 0 bytes that takes no time. Without times, or without --boundary-bytes to say how large
 * they are, the notes say what is left out. The sizes are filled in either way. */
static int fill_p2p(Trace *trace, Text *notes, const OriginalLog *log, Error *err)
{
    int seen[MAX_BLOCKS + 1] = {0};

    for (int b = 0; b < log->boundary_count; b++)
        trace->blocks[b].output_bytes = log->boundary_bytes[b];
    if (!log->p2p.count) { text_append(notes, " No p2p times in the log."); return 0; }
    if (!log->boundary_count) {
        text_append(notes, " The p2p times are left out: --boundary-bytes was not given.");
        return 0;
    }
    for (int b = 0; b < log->blocks - 1; b++) {
        int64_t bytes;
        if (__builtin_mul_overflow(log->boundary_bytes[b], trace->batch, &bytes))
            return error_set(err,
                             "--boundary-bytes: %" PRId64 " bytes by %" PRId64 " rows are too many",
                             log->boundary_bytes[b], trace->batch);
        if (add_point(trace, &trace->links.p2p, bytes, log->p2p.ms[b], seen, err) != 0) return -1;
    }
    text_append(notes,
                " Assumed: a message of no bytes takes no time (the log has full batches only).");
    return add_point(trace, &trace->links.p2p, 0, 0, seen, err);
}

/* The curves of all-reduces by number of devices. Without times or sizes there are none, which is
 * noted. */
static int fill_reduces(Trace *trace, Text *notes, const OriginalLog *log, Error *err)
{
    int seen[MAX_BLOCKS + 1], widths = 0;

    for (int b = 0; b < log->gradient_count; b++)
        trace->blocks[b].gradient_bytes = log->gradient_bytes[b];
    for (int w = 1; w < MAX_RANKS; w++) widths += log->reduce[w].count > 0;
    if (!widths) { text_append(notes, " No all-reduce times in the log."); return 0; }
    if (!log->gradient_count) {
        text_append(notes, " The all-reduce times are left out: --gradient-bytes was not given.");
        return 0;
    }
    trace->links.reduces = arena_alloc(&trace->arena, (size_t)widths, sizeof *trace->links.reduces);
    if (!trace->links.reduces) return error_no_memory(err);
    for (int w = 1; w < MAX_RANKS; w++) {
        if (!log->reduce[w].count) continue;
        TraceReduce *reduce = &trace->links.reduces[trace->links.reduce_count++];
        reduce->devices = w + 1;
        for (int b = 0; b < log->blocks; b++)
            if (add_point(trace, &reduce->curve, log->gradient_bytes[b], log->reduce[w].ms[b], seen,
                          err)
                != 0)
                return -1;
    }
    return 0;
}

static int build(Trace *trace, Text *notes, OriginalLog *log, const ImportFile *file,
                 const ImportOptions *o, Error *err)
{
    if (!o->devices.count) trace->kinds[0].count = log->ranks;
    trace->blocking_transfers = true;            /* as the original sends */
    text_printf(
        notes,
        "Profiled by the original on inputs of zeros: mean of some of ten trials, batches %" PRId64
        " over 1 to %d devices, rounded down. Assumed: student = 1/3 forward + 2/3 backward, the "
        "update "
        "inside them.",
        trace->batch, log->ranks);
    if (import_blocks(trace, log->blocks, err) != 0
        || fill_times(trace, notes, log, file, err) != 0)
        return -1;
    return fill_p2p(trace, notes, log, err) != 0 ? -1 : fill_reduces(trace, notes, log, err);
}

static int read_log(Trace *trace, Text *notes, const ImportFile *file, int count,
                    const ImportOptions *o, Error *err)
{
    OriginalLog *log = arena_alloc(&trace->arena, 1, sizeof *log);

    (void)count;
    if (!log) return error_no_memory(err);
    if (o->boundary_bytes
        && read_bytes_list(&log->boundary_bytes, &log->boundary_count, o->boundary_bytes,
                           "boundary-bytes", &trace->arena, err)
               != 0)
        return -1;
    if (o->gradient_bytes
        && read_bytes_list(&log->gradient_bytes, &log->gradient_count, o->gradient_bytes,
                           "gradient-bytes", &trace->arena, err)
               != 0)
        return -1;
    if (read_lines(log, file, err) != 0 || check(log, file, o, err) != 0) return -1;
    return build(trace, notes, log, file, o, err);
}

const ImportFormat import_pipe_bd_log = {"pipe-bd-log", "boundary-bytes gradient-bytes", 1, false,
                                         read_log};
