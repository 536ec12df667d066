#include "tools/trace/import.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/progress.h"
#include "tools/trace/output.h"

int trace_import_check(const Option *table, const ImportSettings *s, int files, Error *err)
{
    static const char *const needed[] = {"from", "output", "batch", "samples"};
    static const char *const some[] = {"student",        "cuts",   "student-cuts", "boundary-bytes",
                                       "gradient-bytes", "blocks", "depth",        "rows",
                                       "model-info",     "model",  "network",      "tensor-degree",
                                       "machine-devices"};

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        for (const Option *option = table; option->name; option++)
            if (strcmp(option->name, needed[i]) == 0 && !option->given)
                return error_set(err, "import: expected --%s %s, see --help", option->name,
                                 option->value_name);
    const ImportFormat *format = import_format(s->from);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        if (option_given(table, some[i]) && !import_takes(format, some[i]))
            return error_set(err, "--%s: no effect with --from %s", some[i], format->name);
    if (option_given(table, "blocks") && option_given(table, "depth"))
        return error_set(err, "--depth: no effect with --blocks");
    if (files > format->most_files)
        return error_set(err, "import --from %s: %d files, expected %d", format->name, files,
                         format->most_files);
    if (option_given(table, "model") && !s->model_info)
        return error_set(err, "--model: no effect without --model-info");
    if (option_given(table, "machine-devices") && !s->network)
        return error_set(err, "--machine-devices: no effect without --network");
    if (format->most_files == 1 && (s->options.device.count > 1 || s->options.devices.count > 1))
        return error_set(err, "--%s: --from %s knows one kind of device",
                         s->options.device.count > 1 ? "device" : "devices", format->name);
    return 0;
}

/* The file's name without folder and ending (.json.gz are two), yours. */
static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char       *copy = strdup(strcmp(path, "-") == 0 ? "imported" : name);

    for (int endings = 0; copy && endings < 2; endings++) {
        char *dot = strrchr(copy, '.');
        bool  packed = dot && strcmp(dot, ".gz") == 0;
        if (dot && dot > copy) *dot = '\0';
        if (!packed) break;
    }
    return copy;
}

static void add_progress(void *progress, int64_t bytes) { progress_add(progress, bytes); }

static int64_t size_of(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (int64_t)info.st_size : 0;
}

/* Reads a file whole, unless the format does it. */
static int open_file(ImportFile *out, char **text, const char *path, bool streams, Error *err)
{
    *out = (ImportFile){.name = strcmp(path, "-") == 0 && !streams ? "<stdin>" : path};
    if (streams) return 0;
    if (file_read(text, &out->length, path, 0, err) != 0) return -1;
    out->text = *text;
    return 0;
}

static int convert(Trace **out, const ImportFile *files, int count, ImportSettings *s, Error *err)
{
    const ImportFormat *format = import_format(s->from);
    Progress            progress;
    int64_t             bytes = 0;

    if (!format->streams) return import_trace(out, format, files, count, &s->options, err);
    for (int i = 0; i < count; i++) bytes += size_of(files[i].name);
    if (s->student) bytes += size_of(s->student);
    progress_start(&progress, "bytes", bytes);
    s->options.progress = add_progress;
    s->options.progress_context = &progress;
    int rc = import_trace(out, format, files, count, &s->options, err);
    progress_end(&progress);
    return rc;
}

int trace_import(const char *const *paths, int count, ImportSettings *s, Error *err)
{
    bool       streams = import_format(s->from)->streams;
    ImportFile files[OPTIONS_MAX_OPERANDS];
    char      *texts[OPTIONS_MAX_OPERANDS + 3] = {NULL}, *name = NULL;
    Trace     *trace = NULL;
    int        rc = -1;

    for (int i = 0; i < count; i++)
        if (open_file(&files[i], &texts[i], paths[i], streams, err) != 0) goto done;
    if (s->student && open_file(&s->options.student, &texts[count], s->student, streams, err) != 0)
        goto done;
    if (s->model_info
        && open_file(&s->options.model_info, &texts[count + 1], s->model_info, false, err) != 0)
        goto done;
    if (s->network
        && open_file(&s->options.network, &texts[count + 2], s->network, false, err) != 0)
        goto done;
    if (!s->options.name) s->options.name = name = name_of(paths[0]);
    if (!s->options.name) { error_no_memory(err); goto done; }
    if (convert(&trace, files, count, s, err) != 0) goto done;
    rc = trace_output(trace, s->output, "imported", err);
done:
    trace_free(trace);
    for (int i = 0; i < count + 3; i++) free(texts[i]);
    free(name);
    return rc;
}
