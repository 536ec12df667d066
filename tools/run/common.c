#include "tools/run/common.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bundled.h"
#include "base/file.h"
#include "executor/checkpoint/checkpoint.h"
#include "executor/checkpoint/state.h"

static atomic_bool stop, interrupted;    /* what a handler can reach */

static void interrupt(int signal)
{
    (void)signal;
    atomic_store(&interrupted, true);
    atomic_store(&stop, true);
}

atomic_bool *run_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART | (int)SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);           /* what batch systems send first */
    sigaction(SIGUSR2, &action, NULL);
    return &stop;
}

void run_ignore_lost_output(void)
{
    signal(SIGPIPE, SIG_IGN);
}

bool run_interrupted(void) { return atomic_load(&interrupted); }

void run_go_on_text(Text *out, int argc, char *const *argv)
{
    bool resumes = false;

    text_shell_word(out, program_invocation_name);
    for (int i = 0; i < argc; i++) {
        text_append(out, " ");
        text_shell_word(out, argv[i]);
        resumes |= strcmp(argv[i], "--resume") == 0;
    }
    if (!resumes) text_append(out, " --resume");
}

int64_t run_newest_checkpoint(const char *folder)
{
    int64_t *list, number;
    int      count;

    if (!folder || checkpoint_list(&list, &count, folder, NULL) != 0) return 0;
    number = count > 0 ? list[count - 1] : 0;
    free(list);
    return number;
}

/* PIPEBD_CHOICES ("": nowhere), or the user's cache. */
static int keep_choices(const DeviceSpec *devices, Error *err)
{
    const char *given = getenv("PIPEBD_CHOICES"), *cache = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    char        path[4096];

    if (given) return *given ? device_keep_choices(devices, given, err) : 0;
    if (!(cache && *cache) && !(home && *home)) return 0;
    snprintf(path, sizeof path, "%s%s", cache && *cache ? cache : home,
             cache && *cache ? "" : "/.cache");
    mkdir(path, 0777);                           /* what cannot be made is done without */
    strncat(path, "/pipebd", sizeof path - strlen(path) - 1);
    mkdir(path, 0777);
    strncat(path, devices->type == DEVICE_CUDA ? "/cuda-choices.txt" : "/cpu-choices.txt",
            sizeof path - strlen(path) - 1);
    return device_keep_choices(devices, path, err);
}

/* What asking may have changed. */
static void warn_of_precision(const DeviceSpec *devices, Precision asked)
{
    if (devices->precision != asked)
        fprintf(
            stderr,
            "%s: --precision %s: this machine has no instructions for it (AVX512_BF16, AMX) that "
            "oneDNN may use; computing in %s\n",
            program_invocation_short_name, precision_name(asked),
            precision_name(devices->precision));
}

int run_devices(DeviceSpec *out, const char *devices, const char *precision, bool nccl, bool ask,
                Error *err)
{
    Precision asked;

    if (device_spec_read(out, devices, err) != 0) return -1;
    if (precision && device_spec_set_precision(out, precision, err) != 0) return -1;
    if (nccl && device_spec_set_nccl(out, err) != 0) return -1;
    if (!ask) return 0;
    asked = out->precision;
    if (device_spec_ask(out, err) != 0) return -1;
    warn_of_precision(out, asked);
    return out->type == DEVICE_CUDA || out->precision == PRECISION_BF16 ? keep_choices(out, err)
                                                                       : 0;
}

/* ---- files ---------------------------------------------------------------------- */

const char *run_workload_file(const char *workload)
{
    return bundled_is_path(workload) ? workload : NULL;
}

static bool names_a_file(const RunFile *file) { return file->path && strcmp(file->path, "-") != 0; }

int run_check_files(const RunFile *files, int count, Error *err)
{
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++) {
            if (!files[i].written && !files[j].written) continue;
            if (!names_a_file(&files[i]) || !names_a_file(&files[j])) continue;
            if (file_same(files[i].path, files[j].path))
                return error_set(err, "%s and %s are the same file, %s", files[i].option,
                                 files[j].option, files[j].path);
        }
    return 0;
}

/* ---- the machine and the data ----------------------------------------------------- */

int run_read_weights(Tensors **out, const char *path, Error *err)
{
    if (tensors_read(out, path, err) != 0) return -1;
    if (state_check(*out, path, err) == 0) return 0;
    tensors_free(*out);
    *out = NULL;
    return -1;
}

static bool is_there(const char *source)
{
    const char *colon = strchr(source, ':');

    return colon && access(colon + 1, F_OK) == 0;
}

static void find_data(Workload *w, bool speaks)
{
    if (!w->data || w->data_source == w->data || is_there(w->data_source) || !is_there(w->data))
        return;
    if (speaks)
        fprintf(stderr,
                "note: %s is not there, so %s is taken from the current folder. Version 0.3 will "
                "look beside the "
                "workload only\n",
                strchr(w->data_source, ':') + 1, strchr(w->data, ':') + 1);
    w->data_source = w->data;
}

int run_read_workload(Workload **out, const char *path, bool speaks, Error *err)
{
    if (workload_read(out, path, err) != 0) return -1;
    find_data(*out, speaks);
    if (!(*out)->batch_statistics) return 0;
    workload_free(*out);
    *out = NULL;
    return error_set(err,
                     "%s: teacher_statistics is \"batch\", expected \"running\": only pipebd-trace "
                     "model takes a teacher in "
                     "training mode",
                     path);
}

const char *run_data_source(const char *data, const Workload *workload)
{
    return data ? data : workload->data_source ? workload->data_source : "synthetic";
}

int run_check_batch(int64_t batch, const Data *data, const char *source, Error *err)
{
    if (batch <= data_count(data)) return 0;
    return error_set(
        err, "a batch of %" PRId64 " is more than the %" PRId64 " samples of %s: see --batch",
        batch, data_count(data), source);
}

void run_choose_lanes(const DeviceSpec *devices, int64_t lanes, int64_t prefetch, int *out_lanes,
                      int *out_prefetch)
{
    int each = devices->cores / devices->count,
        spare = each > 0 ? devices->cores - each * devices->count : 0;

    /* GPUs leave the cores alone, but for a thread each that tells them what to do. */
    if (devices->type == DEVICE_CUDA)
        spare = devices->cores > devices->count ? devices->cores - devices->count : 1;

    *out_prefetch = prefetch >= 0 ? (int)prefetch : spare > 0 || lanes > 0 ? 2 : 0;
    *out_lanes = lanes > 0 ? (int)lanes : spare > 0 ? spare : 1;
}
