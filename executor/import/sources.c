#include "executor/import/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/file.h"
#include "base/json.h"

typedef struct {
    const char *path;
    void       *bytes;
    size_t      size;
} MappedFile;

struct Sources {
    Arena         arena;     /* names, paths */
    MappedFile   *file;      /* [file_count] */
    size_t        file_count, file_room;
    SourceTensor *tensor;    /* [count], sorted by name */
    int           count, room;
};

/* ---- files -------------------------------------------------------------------- */

static const char *path_of(Sources *s, const char *folder, const char *name)
{
    Text        text = {0};
    const char *path;

    text_printf(&text, "%s/%s", folder, name);
    path = text_failed(&text) ? NULL : arena_strdup(&s->arena, text_string(&text));
    text_free(&text);
    return path;
}

static bool exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

static int map(MappedFile *file, Error *err)
{
    struct stat info;
    int         fd = open(file->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), rc = -1;

    if (fd < 0) return error_set(err, "%s: cannot open: %s", file->path, strerror(errno));
    if (fstat(fd, &info) != 0) error_set(err, "%s: cannot read: %s", file->path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        error_set(err, "%s: is no regular file, expected safetensors", file->path);
    else if (info.st_size == 0) error_set(err, "%s: is empty, expected safetensors", file->path);
    else {
        file->size = (size_t)info.st_size;
        file->bytes = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file->bytes == MAP_FAILED) {
            file->bytes = NULL;
            error_set(err, "%s: cannot map: %s", file->path, strerror(errno));
        } else rc = 0;
    }
    close(fd);
    return rc;
}

static int add_tensor(void *context, const TensorPlace *place, Error *err)
{
    Sources      *s = context;
    SourceTensor *tensor;

    if (!array_has_room(s->tensor, s->count, s->room)) return error_no_memory(err);
    tensor = &s->tensor[s->count];
    *tensor = (SourceTensor){.name = arena_strdup(&s->arena, place->name), .dtype = place->dtype,
                             .element_bytes = place->bits % 8 == 0 ? place->bits / 8 : 0,
                             .rank = place->rank, .count = 1, .bytes = place->bytes};
    if (!tensor->name) return error_no_memory(err);
    for (int i = 0; i < place->rank; i++) tensor->count *= tensor->dim[i] = place->dim[i];
    s->count++;
    return 0;
}

static int add_file(Sources *s, const char *path, Error *err)
{
    MappedFile *file;

    if (!array_has_room(s->file, s->file_count, s->file_room)) return error_no_memory(err);
    file = &s->file[s->file_count];
    *file = (MappedFile){.path = path};
    if (!file->path) return error_no_memory(err);
    if (map(file, err) != 0) return -1;
    s->file_count++;
    return tensors_places(file->path, file->bytes, file->size, add_tensor, s, err);
}

/* ---- the index ------------------------------------------------------------------ */

static bool is_known(const Sources *s, const char *folder, const char *name)
{
    size_t length = strlen(folder) + 1;

    for (size_t i = 0; i < s->file_count; i++)
        if (strcmp(s->file[i].path + length, name) == 0) return true;
    return false;
}

/* {"weight_map": {"TENSOR": "FILE", ...}} */
static int read_index(Sources *s, const char *folder, const char *path, Error *err)
{
    Json  *doc = NULL;
    int    rc = -1;
    JsonAt root, map_at;

    if (json_doc_read(&doc, path, err) != 0) return -1;
    root = json_root(doc);
    map_at = json_member(&root, "weight_map");
    if (json_get_object(&map_at, err) != 0) goto done;
    for (const char *tensor = json_name_after(&map_at, NULL); tensor;
         tensor = json_name_after(&map_at, tensor)) {
        JsonAt      at = json_member(&map_at, tensor);
        const char *name;
        if (json_get_line(&at, &name, err) != 0) goto done;
        if (strchr(name, '/')) {
            json_fail(&at, err, "\"%s\" is in another folder", name);
            goto done;
        }
        if (!is_known(s, folder, name) && add_file(s, path_of(s, folder, name), err) != 0)
            goto done;
    }
    rc = 0;
done:
    json_doc_free(doc);
    return rc;
}

/* ---- whole ---------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const SourceTensor *)a)->name, ((const SourceTensor *)b)->name);
}

static int open_all(Sources *s, const char *folder, Error *err)
{
    const char *index = path_of(s, folder, "model.safetensors.index.json"),
               *single = path_of(s, folder, "model.safetensors");

    if (!index || !single) return error_no_memory(err);
    if (exists(single) ? add_file(s, single, err) != 0
        : exists(index)
            ? read_index(s, folder, index, err) != 0
            : error_set(err,
                        "%s: neither model.safetensors nor model.safetensors.index.json is there",
                        folder)
                  != 0)
        return -1;
    return 0;
}

static int sort(Sources *s, Error *err)
{
    if (s->count > 0) qsort(s->tensor, (size_t)s->count, sizeof *s->tensor, by_name);
    for (int i = 1; i < s->count; i++)
        if (strcmp(s->tensor[i - 1].name, s->tensor[i].name) == 0)
            return error_set(err, "tensor \"%s\" is there twice", s->tensor[i].name);
    return 0;
}

static int open_with(Sources **out, const char *path, bool is_folder, Error *err)
{
    Sources *s = calloc(1, sizeof *s);

    *out = NULL;
    if (!s) return error_no_memory(err);
    if ((is_folder ? open_all(s, path, err) : add_file(s, arena_strdup(&s->arena, path), err)) != 0
        || sort(s, err) != 0) {
        sources_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

int sources_open(Sources **out, const char *folder, Error *err)
{
    return open_with(out, folder, true, err);
}
int sources_open_file(Sources **out, const char *path, Error *err)
{
    return open_with(out, path, false, err);
}

void sources_free(Sources *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->file_count; i++) munmap(s->file[i].bytes, s->file[i].size);
    free(s->file);
    free(s->tensor);
    arena_free(&s->arena);
    free(s);
}

const SourceTensor *sources_find(Sources *s, const char *name)
{
    SourceTensor key = {.name = name},
                 *found = s->count ? bsearch(&key, s->tensor, (size_t)s->count, sizeof key, by_name)
                                   : NULL;

    if (found) found->used = true;
    return found;
}

int sources_count(const Sources *s) { return s->count; }

const SourceTensor *sources_at(const Sources *s, int i) { return &s->tensor[i]; }

bool sources_are_in(const Sources *s, const char *path)
{
    for (size_t i = 0; i < s->file_count; i++)
        if (file_same(s->file[i].path, path)) return true;
    return false;
}
