#include "tools/run/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

enum { NAME_COLUMNS = 12 };
enum { DRAW_MS = 100, LINE_BYTES = 256, SECOND_NS = 1000000000 };

/* ---- by workers ------------------------------------------------------------------- */

static void add_loss(Watch *watch, int student, int64_t step, double loss)
{
    StudentLoss *b = &watch->losses[student];
    int64_t      epoch = step / watch->steps_per_epoch;

    if (b->steps == 0 || epoch != b->last_epoch) {
        b->last = 0;
        b->last_steps = 0;
        b->last_epoch = epoch;
    }
    if (b->steps < watch->steps_per_epoch) { b->first += loss; b->first_steps++; }
    b->last += loss;
    b->last_steps++;
    b->steps++;
    watch->done++;
    watch->step_sum++;
}

/* Under the lock: whether the monitor is to call check(), and was not told. */
static bool look_for_due(Watch *watch)
{
    int64_t step = watch->step_sum / watch->students;

    if (!watch->monitor_every || step < watch->monitor_next) return false;
    while (watch->monitor_next <= step) watch->monitor_next += watch->monitor_every;
    watch->monitor_due = true;
    return true;
}

void watch_update(Watch *watch, int student, int64_t step, double loss)
{
    pthread_mutex_lock(&watch->lock);
    add_loss(watch, student, step, loss);
    bool wake = look_for_due(watch);
    pthread_mutex_unlock(&watch->lock);
    if (watch->sampler)
        wake = sampler_update(watch->sampler, student, step, loss, clock_ns()) || wake;
    if (wake) monitor_wake(watch->monitor);
}

double watch_rate(const Watch *watch, double seconds)
{
    if (seconds <= 0) return 0;
    return (double)watch->done / watch->students * (double)watch->workload->batch / seconds;
}

void watch_rate_text(const Watch *watch, double seconds, Text *out)
{
    double rate = watch_rate(watch, seconds);

    text_printf(out, rate < 99.5 ? "%.3g" : "%.0f", rate);
    text_append(out, watch->workload->vocabulary > 0 ? " sequences/s" : " images/s");
}

static int64_t step_of(const Watch *watch) { return watch->step_sum / watch->students; }

static double last_loss(const StudentLoss *b)
{
    return b->last_steps ? b->last / (double)b->last_steps : NAN;
}

/* ---- the monitor: the terminal ---------------------------------------------------------- */

/* Which device worked most in the second that passed: the others wait for it. */
static void look_for_busiest(Watch *watch, int64_t now_ns)
{
    if (now_ns - watch->seen_ns < SECOND_NS) return;
    watch->busiest = -1;
    watch->busiest_share = 0;
    for (int d = 0; d < status_board_devices(watch->board); d++) {
        DeviceTimes now = status_board_times(watch->board, d, now_ns);
        int64_t    passed_ns =
            status_board_passed_ns(watch->board, d, &watch->seen[d], &now, now_ns - watch->seen_ns);
        double     work = 0;
        for (int op = 0; op < OP_COUNT; op++)
            work += (double)(now.work_ns[op] - watch->seen[d].work_ns[op]);
        if (passed_ns > 0) work /= (double)passed_ns;
        if (watch->seen_ns && work > watch->busiest_share) {
            watch->busiest = d;
            watch->busiest_share = work;
        }
        watch->seen[d] = now;
    }
    watch->seen_ns = now_ns;
}

static void erase(Watch *watch)
{
    if (watch->shown) fprintf(stderr, "\r%*s\r", watch->shown, "");
    watch->shown = 0;
}

static void time_text(Text *out, double seconds)
{
    int64_t s = (int64_t)seconds;

    if (s >= 3600)
        text_printf(out, "%" PRId64 ":%02d:%02d", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    else           text_printf(out, "%d:%02d", (int)(s / 60), (int)(s % 60));
}

/* "ahd  epoch 3/10  27.5 %  8123 images/s  1:02 left  device 2 works 97 %  loss 0.31 0.2 ...",
 * where a block's students stand together: "0.31,0.44 0.2 ..." */
static void line_text(Watch *watch, int64_t now_ns, Text *out)
{
    pthread_mutex_lock(&watch->lock);
    double  seconds = (double)(now_ns - watch->start_ns) / 1e9;
    int64_t epochs = watch->total_steps / watch->steps_per_epoch,
            epoch = step_of(watch) / watch->steps_per_epoch + 1;

    text_printf(out, "%s  epoch %" PRId64 "/%" PRId64 "  %.1f %%  ", watch->schedule,
                epoch < epochs ? epoch : epochs, epochs,
                100.0 * (double)watch->done / (double)watch->total);
    watch_rate_text(watch, seconds, out);
    if (watch->done) {
        text_append(out, "  ");
        time_text(out, seconds * (double)(watch->total - watch->done) / (double)watch->done);
        text_append(out, " left");
    }
    if (watch->busiest >= 0)
        text_printf(out, "  device %d works %.0f %%", watch->busiest,
                    100 * fmin(watch->busiest_share, 1));
    text_append(out, "  loss");
    for (int k = 0; k < watch->students; k++) {
        text_append(out, workload_student(watch->workload, k).student > 0 ? "," : " ");
        if (watch->losses[k].last_steps) text_printf(out, "%.3g", last_loss(&watch->losses[k]));
        else                             text_append(out, "-");
    }
    pthread_mutex_unlock(&watch->lock);
}

static int columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
}

static void draw(Watch *watch, int64_t now_ns)
{
    Text text = {0};
    int  most = columns();

    line_text(watch, now_ns, &text);
    int length = (int)text.length < most ? (int)text.length : most;
    fprintf(stderr, "\r%.*s%*s", length, text_string(&text),
            watch->shown > length ? watch->shown - length : 0, "");
    fflush(stderr);
    watch->shown = length;
    text_free(&text);
}

/* ---- the monitor: SIGUSR1 and the log ------------------------------------------------------ */

/* Whether the run has begun. */
static bool begun(Watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    bool is = watch->start_ns != 0;
    pthread_mutex_unlock(&watch->lock);
    return is;
}

static void answer(Watch *watch, int64_t now_ns)
{
    Text text = {0};

    if (begun(watch)) {
        line_text(watch, now_ns, &text);
        text_append(&text, "\n");
    }
    if (!current_run_text(watch->current_run, now_ns, &text)) {
        pthread_mutex_lock(&watch->lock);
        text_printf(&text, "no device runs a program: %s\n", watch->doing);
        pthread_mutex_unlock(&watch->lock);
    }
    erase(watch);
    fputs(text_string(&text), stderr);
    text_free(&text);
}

void watch_note(Watch *watch, const char *line)
{
    pthread_mutex_lock(&watch->lock);
    text_printf(&watch->notes, "%s\n", line);
    pthread_mutex_unlock(&watch->lock);
    if (watch->monitor) monitor_wake(watch->monitor);
}

static void write_notes(Watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    Text notes = watch->notes;
    watch->notes = (Text){0};
    pthread_mutex_unlock(&watch->lock);
    if (notes.length) {
        erase(watch);
        fputs(text_string(&notes), stderr);
    }
    text_free(&notes);
}

bool watch_failed(const Watch *watch) { return atomic_load(&watch->failed); }

static void fail(Watch *watch)
{
    atomic_store(&watch->failed, true);
    atomic_store(watch->stop, true);
}

static void write_sample(Watch *watch)
{
    const LogProgress *sample = watch->sampler ? sampler_take(watch->sampler) : NULL;

    if (!sample) return;
    if (!watch_failed(watch) && run_log_progress(watch->log, sample, &watch->failure) != 0)
        fail(watch);
    sampler_done(watch->sampler);
}

void watch_tell(Watch *watch, const char *line, LogReplan *replan)
{
    erase(watch);
    fprintf(stderr, "%s\n", line);
    if (!watch->log || watch_failed(watch)) return;
    replan->time_s = (double)(clock_ns() - watch->start_ns) / 1e9;
    if (run_log_replan(watch->log, replan, &watch->failure) != 0) fail(watch);
}

static void check_due(Watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    bool    due = watch->monitor_due;
    int64_t step = step_of(watch);
    watch->monitor_due = false;
    pthread_mutex_unlock(&watch->lock);
    if (due) watch->check(watch->context, step);
}

static void work(void *context, bool asked)
{
    Watch  *watch = context;
    int64_t now_ns = clock_ns();

    write_sample(watch);
    write_notes(watch);
    if (asked) answer(watch, now_ns);
    check_due(watch);
    if (!watch->terminal || !begun(watch)) return;
    look_for_busiest(watch, now_ns);
    draw(watch, now_ns);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int open_log(Watch *watch, const WatchFacts *facts, Error *err)
{
    const Workload *w = facts->workload;
    size_t          torn;

    if (sampler_new(&watch->sampler, watch->students, facts->block_step, w->batch,
                    facts->log_facts.every, facts->board, err)
        != 0)
        return -1;
    if (run_log_open(&watch->log, facts->log, &facts->log_facts, &torn, err) != 0) return -1;
    if (torn) fprintf(stderr, "%s: the last line was not finished: cut off\n", facts->log);
    return 0;
}

int watch_open(Watch *watch, const WatchFacts *facts, Error *err)
{
    size_t students = (size_t)workload_students(facts->workload),
           devices = (size_t)status_board_devices(facts->board);

    *watch = (Watch){.workload = facts->workload, .students = (int)students,
                     .schedule = facts->schedule,
                     .steps_per_epoch = facts->steps_per_epoch, .total_steps = facts->total_steps,
                     .board = facts->board, .stop = facts->stop, .lock = PTHREAD_MUTEX_INITIALIZER,
                     .doing = "not begun", .current_run = facts->current_run, .busiest = -1,
                     .monitor_every = facts->monitor_every, .check = facts->check,
                     .context = facts->context, .terminal = isatty(STDERR_FILENO)};
    watch->losses = calloc(students, sizeof *watch->losses);
    watch->seen = calloc(devices, sizeof *watch->seen);
    if (!watch->losses || !watch->seen) return error_no_memory(err);
    for (size_t k = 0; k < students; k++) {
        watch->step_sum += facts->block_step[k];
        watch->total += facts->total_steps - facts->block_step[k];
    }
    if (watch->monitor_every)
        watch->monitor_next = (step_of(watch) / watch->monitor_every + 1) * watch->monitor_every;
    if (facts->log && open_log(watch, facts, err) != 0) return -1;
    return monitor_start(&watch->monitor, watch->terminal ? DRAW_MS : 0, work, watch, err);
}

void watch_doing(Watch *watch, const char *doing)
{
    pthread_mutex_lock(&watch->lock);
    watch->doing = doing;
    pthread_mutex_unlock(&watch->lock);
}

void watch_start(Watch *watch)
{
    int64_t now_ns = clock_ns();

    if (watch->sampler) sampler_start(watch->sampler, now_ns);
    pthread_mutex_lock(&watch->lock);
    watch->start_ns = now_ns;
    pthread_mutex_unlock(&watch->lock);
}

int watch_end(Watch *watch, Error *err)
{
    monitor_end(watch->monitor);
    watch->monitor = NULL;
    if (watch->sampler) {
        sampler_finish(watch->sampler, clock_ns());
        write_sample(watch);
    }
    erase(watch);
    watch->terminal = false;
    watch->doing = "after the run";
    monitor_start(&watch->monitor, 0, work, watch, NULL);        /* without one SIGUSR1 has no
                                                                  * answer */
    return watch_failed(watch) ? error_set(err, "%s", watch->failure.text) : 0;
}

int watch_close(Watch *watch, const char *why, const char *error, const double accuracies[3],
                Error *err)
{
    int      n = watch->students;
    double  *loss = calloc((size_t)n, sizeof *loss);
    double   seconds = watch->start_ns ? (double)(clock_ns() - watch->start_ns) / 1e9 : 0;
    int      rc = 0;

    if (!loss) return error_no_memory(err);
    for (int k = 0; k < n; k++) loss[k] = last_loss(&watch->losses[k]);
    if (watch->log && !watch_failed(watch))
        rc = run_log_end(watch->log,
                         &(LogEnd){.why = why,
                                   .error = error ? error : "",
                                   .time_s = seconds,
                                   .step = step_of(watch),
                                   .images_per_s = watch_rate(watch, seconds),
                                   .loss = loss,
                                   .teacher_accuracy = accuracies[0],
                                   .before_accuracy = accuracies[1],
                                   .after_accuracy = accuracies[2]},
                         err);
    int closed = run_log_close(watch->log, rc == 0 ? err : NULL);
    watch->log = NULL;
    free(loss);
    return rc == 0 ? closed : rc;
}

void watch_pick(const Watch *watch, int *picked)
{
    double least = NAN;

    for (int k = 0; k < watch->students; k++) {
        StudentId id = workload_student(watch->workload, k);
        double    loss = last_loss(&watch->losses[k]);
        if (id.student > 0 && !(loss < least)) continue;
        picked[id.block] = id.student;
        least = isnan(loss) ? INFINITY : loss;
    }
}

void watch_table(const Watch *watch, Text *out)
{
    int width = student_text_columns(watch->workload, NAME_COLUMNS);

    text_printf(out, "%-*s      steps   loss, first epoch          last\n", width, "block");
    for (int k = 0; k < watch->students; k++) {
        const StudentLoss *loss = &watch->losses[k];
        char               name[STUDENT_TEXT_BYTES];
        student_text(name, watch->workload, workload_student(watch->workload, k));
        text_printf(out, "%-*s %10" PRId64, width, name, loss->steps);
        if (loss->steps == 0) text_append(out, "                   -             -\n");
        else text_printf(out, " %19.6g %13.6g\n", loss->first / (double)loss->first_steps,
                         loss->last / (double)loss->last_steps);
    }
}

void watch_free(Watch *watch)
{
    monitor_end(watch->monitor);
    if (watch->notes.length) write_notes(watch);         /* there was no monitor */
    run_log_close(watch->log, NULL);
    sampler_free(watch->sampler);
    free(watch->losses);
    free(watch->seen);
    *watch = (Watch){0};
}
