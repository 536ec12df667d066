#include "executor/checkpoint/tensors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/hash.h"

typedef struct { char *key, *value; } Note;
typedef struct { char *name; const char *dtype; } PassedOver;

struct Tensors {
    char    *path;           /* of the file; NULL: of none */
    Tensor **tensor;         /* [count]; each on its own, so that it stays where it is */
    int      count, room;
    int     *slot;           /* [slots] by hash of the name: number + 1, 0 is free */
    int      slots;          /* a power of two, at least twice count; 0 at first */
    Note    *note;           /* [note_count] */
    int      note_count;
    PassedOver *passed;      /* [passed_count] */
    int      passed_count, passed_room;
};

/* ---- the collection ----------------------------------------------------- */

int tensors_new(Tensors **out, Error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : error_no_memory(err);
}

const char *tensors_path(const Tensors *tensors) { return tensors->path; }

int tensors_set_path(Tensors *tensors, const char *path, Error *err)
{
    char *copy = strdup(path);

    if (!copy) return error_no_memory(err);
    free(tensors->path);
    tensors->path = copy;
    return 0;
}

static void tensor_free(Tensor *tensor)
{
    if (!tensor) return;
    free((char *)tensor->name);
    free(tensor->values);
    free(tensor);
}

void tensors_free(Tensors *tensors)
{
    if (!tensors) return;
    for (int i = 0; i < tensors->count; i++) tensor_free(tensors->tensor[i]);
    for (int i = 0; i < tensors->note_count; i++) {
        free(tensors->note[i].key);
        free(tensors->note[i].value);
    }
    for (int i = 0; i < tensors->passed_count; i++) free(tensors->passed[i].name);
    free(tensors->path);
    free(tensors->tensor);
    free(tensors->slot);
    free(tensors->note);
    free(tensors->passed);
    free(tensors);
}

/* Where name stands, or the free slot where it would. slots > 0. */
static int *find_slot(const Tensors *tensors, const char *name)
{
    size_t at = hash_bytes(HASH_START, name, strlen(name));

    for (;; at++) {
        int *slot = &tensors->slot[at & (size_t)(tensors->slots - 1)];
        if (*slot == 0 || strcmp(tensors->tensor[*slot - 1]->name, name) == 0) return slot;
    }
}

/* Room for one more tensor and its slot. */
static int make_room(Tensors *tensors, Error *err)
{
    if (tensors->count < tensors->room) return 0;
    int      room = tensors->room ? 2 * tensors->room : 16;
    Tensor **tensor = realloc(tensors->tensor, (size_t)room * sizeof *tensor);
    if (!tensor) return error_no_memory(err);
    tensors->tensor = tensor;
    int *slot = calloc((size_t)room * 2, sizeof *slot);
    if (!slot) return error_no_memory(err);
    free(tensors->slot);
    tensors->slot = slot;
    tensors->slots = 2 * room;
    tensors->room = room;
    for (int i = 0; i < tensors->count; i++) *find_slot(tensors, tensor[i]->name) = i + 1;
    return 0;
}

/* The product of dimensions. */
static int count_elements(int64_t *out, const char *name, int rank, const int64_t *dim, Error *err)
{
    int64_t count = 1;

    if (rank < 0 || rank > TENSOR_MAX_RANK)
        return error_set(err, "tensor \"%s\": %d dimensions, expected at most %d", name, rank,
                         TENSOR_MAX_RANK);
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0 || __builtin_mul_overflow(count, dim[i], &count))
            return error_set(err, "tensor \"%s\": its dimensions are out of range", name);
    if (count > INT64_MAX / (int64_t)sizeof(float))
        return error_set(err, "tensor \"%s\": its dimensions are out of range", name);
    *out = count;
    return 0;
}

static Tensor *tensor_new(const char *name, int rank, const int64_t *dim, int64_t count)
{
    Tensor *tensor = calloc(1, sizeof *tensor);

    if (!tensor) return NULL;
    tensor->name = strdup(name);
    tensor->rank = rank;
    if (rank > 0) memcpy(tensor->dim, dim, (size_t)rank * sizeof *dim);
    tensor->count = count;
    tensor->values = calloc(count > 0 ? (size_t)count : 1, sizeof *tensor->values);
    if (tensor->name && tensor->values) return tensor;
    tensor_free(tensor);
    return NULL;
}

int tensors_add(Tensors *tensors, const char *name, int rank, const int64_t *dim, Tensor **out,
                Error *err)
{
    int64_t count = 0;

    if (out) *out = NULL;
    if (tensors_find(tensors, name)) return error_set(err, "tensor \"%s\" is there twice", name);
    if (count_elements(&count, name, rank, dim, err) != 0) return -1;
    if (make_room(tensors, err) != 0) return -1;
    Tensor *tensor = tensor_new(name, rank, dim, count);
    if (!tensor) return error_no_memory(err);
    int *slot = find_slot(tensors, name);
    tensors->tensor[tensors->count++] = tensor;
    *slot = tensors->count;
    if (out) *out = tensor;
    return 0;
}

int tensors_put_one(Tensors *tensors, const Tensor *from, Error *err)
{
    Tensor *to = tensors_find(tensors, from->name);

    if (!to && tensors_add(tensors, from->name, from->rank, from->dim, &to, err) != 0) return -1;
    if (to->rank != from->rank || memcmp(to->dim, from->dim, sizeof to->dim) != 0)
        return error_set(err, "tensor \"%s\" has another shape than before", from->name);
    memcpy(to->values, from->values, (size_t)from->count * sizeof *from->values);
    return 0;
}

int tensors_put(Tensors *tensors, const Tensors *from, Error *err)
{
    for (int i = 0; i < from->count; i++)
        if (tensors_put_one(tensors, from->tensor[i], err) != 0) return -1;
    for (int i = 0; i < from->note_count; i++)
        if (tensors_set_note(tensors, from->note[i].key, from->note[i].value, err) != 0) return -1;
    return 0;
}

Tensor *tensors_find(const Tensors *tensors, const char *name)
{
    if (tensors->slots == 0) return NULL;
    int *slot = find_slot(tensors, name);
    return *slot ? tensors->tensor[*slot - 1] : NULL;
}

int tensors_count(const Tensors *tensors)
{
    return tensors->count;
}

Tensor *tensors_at(const Tensors *tensors, int i)
{
    return tensors->tensor[i];
}

/* ---- what is passed over ------------------------------------------------- */

int tensors_pass_over(Tensors *tensors, const char *name, const char *dtype, Error *err)
{
    if (!array_has_room(tensors->passed, tensors->passed_count, tensors->passed_room))
        return error_no_memory(err);
    char *copy = strdup(name);
    if (!copy) return error_no_memory(err);
    tensors->passed[tensors->passed_count++] = (PassedOver){copy, dtype};
    return 0;
}

const char *tensors_passed_over(const Tensors *tensors, const char *name)
{
    for (int i = 0; i < tensors->passed_count; i++)
        if (strcmp(tensors->passed[i].name, name) == 0) return tensors->passed[i].dtype;
    return NULL;
}

/* ---- notes -------------------------------------------------------------- */

static Note *find_note(const Tensors *tensors, const char *key)
{
    for (int i = 0; i < tensors->note_count; i++)
        if (strcmp(tensors->note[i].key, key) == 0) return &tensors->note[i];
    return NULL;
}

/* Takes key and value over. */
static bool add_note(Tensors *tensors, char *key, char *value)
{
    Note *note = key && value
               ? realloc(tensors->note, ((size_t)tensors->note_count + 1) * sizeof *note) : NULL;

    if (!note) {
        free(key);
        free(value);
        return false;
    }
    note[tensors->note_count++] = (Note){key, value};
    tensors->note = note;
    return true;
}

int tensors_set_note(Tensors *tensors, const char *key, const char *value, Error *err)
{
    Note *note = find_note(tensors, key);
    char *copy = strdup(value);

    if (!copy) return error_no_memory(err);
    if (!note) return add_note(tensors, strdup(key), copy) ? 0 : error_no_memory(err);
    free(note->value);
    note->value = copy;
    return 0;
}

const char *tensors_note(const Tensors *tensors, const char *key)
{
    Note *note = find_note(tensors, key);

    return note ? note->value : NULL;
}

int tensors_note_count(const Tensors *tensors)
{
    return tensors->note_count;
}

const char *tensors_note_key(const Tensors *tensors, int i)
{
    return tensors->note[i].key;
}
