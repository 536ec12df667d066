#include "kernels/cuda_plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/pipebd.h"

#define PLUGIN_FILE "libpipebd-cuda.so"

/* Linked in, or NULL. */
extern const CudaPlugin pipebd_cuda_plugin __attribute__((weak));

/* The folder of the program's own file with more behind it; "" when it is not known. */
static void beside_program(char *out, size_t size, const char *more)
{
    ssize_t length = readlink("/proc/self/exe", out, size - 1);
    char   *slash;

    out[length > 0 ? length : 0] = '\0';
    slash = strrchr(out, '/');
    if (!slash || strlen(more) >= size - (size_t)(slash - out)) { out[0] = '\0'; return; }
    memcpy(slash, more, strlen(more) + 1);
}

static const CudaPlugin *check(void *library, const char *path, Error *err)
{
    const CudaPlugin *plugin = dlsym(library, "pipebd_cuda_plugin");

    if (plugin && strcmp(plugin->version, PIPEBD_VERSION) == 0
        && plugin->table_bytes == sizeof(Backend))
        return plugin;
    error_set(err, "%s is not of this program's version, %s: install both from one build", path,
              PIPEBD_VERSION);
    dlclose(library);
    return NULL;
}

/* found: a file is there, whatever becomes of it. */
static const CudaPlugin *load_from(const char *folder, bool *found, Error *err)
{
    char  path[PATH_MAX + sizeof PLUGIN_FILE + 1];
    void *library;

    snprintf(path, sizeof path, "%s/%s", folder, PLUGIN_FILE);
    *found = folder[0] && access(path, F_OK) == 0;
    if (!*found) return NULL;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library) return check(library, path, err);
    error_set(err, "the CUDA backend cannot be loaded: %s", dlerror());
    return NULL;
}

/* Finds the CUDA backend: linked in, else in the folder that PIPEBD_PLUGINS names and nowhere else,
 * else beside the program, as in a build, and where it was installed. NULL with the reason in err;
 * a plug-in that is found and does not load is not searched on for. */
static const CudaPlugin *load(Error *err)
{
    const char       *asked = getenv("PIPEBD_PLUGINS");
    char              beside[PATH_MAX];
    bool              found;
    const CudaPlugin *plugin;

    if (&pipebd_cuda_plugin) return &pipebd_cuda_plugin;
    beside_program(beside, sizeof beside, "/../lib/pipebd");
    const char *folders[] = {asked ? asked : beside, asked ? "" : PIPEBD_PLUGIN_DIR};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        plugin = load_from(folders[i], &found, err);
        if (found) return plugin;
    }
    if (asked)
        error_set(err, "cuda devices: no %s in %s, which PIPEBD_PLUGINS names", PLUGIN_FILE, asked);
    else
        error_set(err,
                  "cuda devices: this build has no CUDA (no %s beside the program, nor in %s); "
                  "make config says what it "
                  "needs",
                  PLUGIN_FILE, PIPEBD_PLUGIN_DIR);
    return NULL;
}

const CudaPlugin *cuda_plugin(Error *err)
{
    static pthread_mutex_t   lock = PTHREAD_MUTEX_INITIALIZER;
    static const CudaPlugin *loaded;

    pthread_mutex_lock(&lock);
    if (!loaded) loaded = load(err);
    const CudaPlugin *plugin = loaded;
    pthread_mutex_unlock(&lock);
    return plugin;
}
