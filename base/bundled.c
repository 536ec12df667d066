#include "base/bundled.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"
#include "base/text.h"

enum { MAX_PATH = 4096, MAX_NAMES = 64 };

/* The folder of the running program, without a slash at its end. */
static int program_folder(char out[MAX_PATH], Error *err)
{
    ssize_t length = readlink("/proc/self/exe", out, MAX_PATH - 1);

    if (length < 0) return error_set(err, "cannot tell where this program lies (/proc/self/exe)");
    out[length] = '\0';
    char *slash = strrchr(out, '/');
    if (slash) *slash = '\0';
    return 0;
}

/* Folders that may hold the files, best first, NULL at the end. */
static const char *const PLACES[] = {"../share/pipebd", "../..", "../../..", NULL};

/* "FOLDER/name" as text, yours; NULL without memory. */
static char *join(const char *program, const char *place, const char *folder, const char *name)
{
    Text text = {0};

    text_printf(&text, "%s/%s/%s/%s", program, place, folder, name);
    if (text_failed(&text)) { text_free(&text); return NULL; }
    return text.bytes;
}

bool bundled_is_path(const char *text)
{
    size_t length = strlen(text);

    return strchr(text, '/') || strcmp(text, "-") == 0
           || (length > 5 && strcmp(text + length - 5, ".json") == 0);
}

/* ---- what there is instead ------------------------------------------------ */

typedef struct {
    char *names[MAX_NAMES + 1];      /* NULL at the end */
    int   count;
} FileNames;

static void list_folder(FileNames *found, const char *path, const char *suffix)
{
    struct dirent **entries = NULL;
    int             count = scandir(path, &entries, NULL, alphasort);
    size_t          tail = strlen(suffix);

    for (int i = 0; i < count; i++) {
        size_t length = strlen(entries[i]->d_name);
        bool   fits = length > tail && strcmp(entries[i]->d_name + length - tail, suffix) == 0;
        char  *name =
            fits && found->count < MAX_NAMES ? strndup(entries[i]->d_name, length - tail) : NULL;
        if (name) found->names[found->count++] = name;
        free(entries[i]);
    }
    free(entries);
}

/* Says that there is no such bundled file, which one may be meant, and which there are. Returns
 * -1. */
static int refuse(const char *program, const char *folder, const char *name, const char *suffix,
                  Error *err)
{
    FileNames found = {0};
    Text  text = {0};

    for (int i = 0; PLACES[i] && found.count == 0; i++) {
        char *path = join(program, PLACES[i], folder, ".");
        if (path) list_folder(&found, path, suffix);
        free(path);
    }
    size_t length = strlen(name), tail = strlen(suffix);
    bool   ends = length > tail && strcmp(name + length - tail, suffix) == 0;
    char  *shown = strndup(name, ends ? length - tail : length);
    const char *near = shown ? nearest_name(shown, (const char *const *)found.names) : NULL;
    text_printf(&text, "there is no \"%.64s\" in the bundled %s", shown ? shown : name, folder);
    if (near) text_printf(&text, " (did you mean \"%s\"?)", near);
    for (int i = 0; i < found.count; i++)
        text_printf(&text, "%s%s", i ? ", " : ", which are: ", found.names[i]);
    if (text_failed(&text) || !shown) error_no_memory(err);
    else error_set(err, "%s", text_string(&text));
    for (int i = 0; i < found.count; i++) free(found.names[i]);
    free(shown);
    text_free(&text);
    return -1;
}

int bundled_find(char **out, const char *folder, const char *name, const char *suffix, Error *err)
{
    char program[MAX_PATH];

    *out = NULL;
    if (program_folder(program, err) != 0) return -1;
    for (int i = 0; PLACES[i]; i++) {
        char *path = join(program, PLACES[i], folder, name);
        if (!path) return error_no_memory(err);
        if (access(path, R_OK) == 0) { *out = path; return 0; }
        free(path);
    }
    return refuse(program, folder, name, suffix, err);
}
