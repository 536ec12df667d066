#include "executor/checkpoint/state.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"

enum { NAME_BYTES = 240 };

/* Streams of random numbers: a teacher's block and each student of it are drawn apart. */
static uint64_t teacher_stream(int block) { return 2 * (uint64_t)block; }

static uint64_t student_stream(StudentId id)
{
    uint64_t stream = 2 * (uint64_t)id.block + 1;

    return id.name ? hash_bytes(hash_bytes(HASH_START, &stream, sizeof stream), id.name,
                                strlen(id.name))
                   : stream;
}

static void name_of(char out[NAME_BYTES], const char *prefix, StudentId id,
                    const NetParameter *parameter)
{
    snprintf(out, NAME_BYTES, "%sblocks.%d.%s%s%s", prefix, id.block, id.name ? id.name : "",
             id.name ? "." : "", parameter->name);
}

static void dims_text(char *out, size_t size, int rank, const int64_t *dim)
{
    size_t length = 0;

    out[0] = '\0';
    for (int i = 0; i < rank && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "[%" PRId64 "]", dim[i]);
}

int state_find(Tensor **out, const Tensors *tensors, const char *name, Error *err)
{
    const char *dtype;

    *out = tensors_find(tensors, name);
    if (*out || !(dtype = tensors_passed_over(tensors, name))) return 0;
    return error_set(err, "tensor %s is of type %s, expected F32, F16 or BF16", name, dtype);
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* What is never below 0. */
static bool is_variance(const char *name)
{
    const char *dot = strrchr(name, '.');

    if (starts_with(name, "squares.")) return true;
    return starts_with(name, "blocks.") && dot && strcmp(dot, ".running_var") == 0;
}

/* As bits those of infinities and NaN are above all others without their sign, and those of numbers
 * below 0 above these: a loop without a branch, which compilers turn into one over vectors. -0 is
 * 0. */
static bool is_good(const Tensor *tensor)
{
    bool     variance = is_variance(tensor->name);
    uint32_t largest = 0, below = 0;

    for (int64_t i = 0; i < tensor->count; i++) {
        uint32_t bits, magnitude;
        memcpy(&bits, &tensor->values[i], sizeof bits);
        magnitude = bits & 0x7fffffff;
        largest = magnitude > largest ? magnitude : largest;
        below |= magnitude > 0 ? bits >> 31 : 0;
    }
    return largest < 0x7f800000 && !(variance && below);
}

static bool is_state(const Tensor *tensor)
{
    return starts_with(tensor->name + state_prefix(tensor->name), "blocks.");
}

const Tensor *state_find_bad(const Tensors *tensors, StudentId id)
{
    for (int i = 0; i < tensors_count(tensors); i++) {
        const Tensor *tensor = tensors_at(tensors, i);
        if (state_is_of(tensor->name, id) && !is_good(tensor)) return tensor;
    }
    return NULL;
}

static bool all_finite(const Tensor *tensor)
{
    for (int64_t i = 0; i < tensor->count; i++)
        if (!isfinite(tensor->values[i])) return false;
    return true;
}

int state_check(const Tensors *tensors, const char *path, Error *err)
{
    char shown[JSON_SHOWN_BYTES];

    for (int i = 0; i < tensors_count(tensors); i++) {
        const Tensor *tensor = tensors_at(tensors, i);
        if (!is_state(tensor) || is_good(tensor)) continue;
        return error_set(err, "%s: tensor %s has a %s", path, json_shown(shown, tensor->name),
                         all_finite(tensor) ? "variance below 0" : "number that is not finite");
    }
    return 0;
}

/* The tensor for a parameter: *out NULL when there is none, refused when it has another shape. */
static int find(Tensor **out, const Tensors *tensors, const char *prefix, StudentId id,
                const NetParameter *parameter, Error *err)
{
    char    name[NAME_BYTES], have[128], want[128];
    Tensor *tensor;

    name_of(name, prefix, id, parameter);
    if (state_find(out, tensors, name, err) != 0) return -1;
    tensor = *out;
    if (!tensor) return 0;
    bool same = tensor->rank == parameter->rank;
    for (int i = 0; same && i < tensor->rank; i++) same = tensor->dim[i] == parameter->dim[i];
    if (same) return 0;
    dims_text(have, sizeof have, tensor->rank, tensor->dim);
    dims_text(want, sizeof want, parameter->rank, parameter->dim);
    return error_set(err, "tensor %s has the shape %s, expected %s", name, have, want);
}

static bool has_any(const Net *net, StudentId id, const Tensors *tensors)
{
    char name[NAME_BYTES];

    for (int i = 0; i < net_parameter_count(net); i++) {
        name_of(name, "", id, net_parameter(net, i));
        if (tensors_find(tensors, name) || tensors_passed_over(tensors, name)) return true;
    }
    return false;
}

static int load_all(Net *net, StudentId id, const Tensors *tensors, Error *err)
{
    char    name[NAME_BYTES];
    Tensor *tensor;

    for (int i = 0; i < net_parameter_count(net); i++) {
        if (find(&tensor, tensors, "", id, net_parameter(net, i), err) != 0) return -1;
        name_of(name, "", id, net_parameter(net, i));
        if (!tensor) return error_set(err, "tensor %s is missing", name);
        net_write(net, i, tensor->values);
    }
    return 0;
}

/* *err begins with whose weights they are, and with the file they came from. */
static int of_whom(const char *whose, const Tensors *tensors, Error *err)
{
    const char *path = tensors_path(tensors);

    error_prefix(err, "%s", whose);
    return path ? error_prefix(err, "%s", path) : -1;
}

int state_load_teacher(Net *net, int block, const Tensors *teacher, uint64_t seed, Error *err)
{
    if (teacher)
        return load_all(net, (StudentId){.block = block}, teacher, err) == 0
                   ? 0
                   : of_whom("teacher's weights", teacher, err);
    net_initialise(net, seed, teacher_stream(block));
    return 0;
}

static int load_momentum(Net *net, StudentId id, const Tensors *student, Error *err)
{
    Tensor *tensor;

    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *parameter = net_parameter(net, i);
        if (!parameter->trained) continue;
        if (find(&tensor, student, "momentum.", id, parameter, err) != 0) return -1;
        if (tensor) net_write_state(net, i, tensor->values);
        if (!net_keeps_squares(net)) continue;
        if (find(&tensor, student, "squares.", id, parameter, err) != 0) return -1;
        if (tensor) net_write_squares(net, i, tensor->values);
    }
    return 0;
}

int state_load_student(Net *net, StudentId id, const Tensors *student, bool momentum, uint64_t seed,
                       Error *err)
{
    if (!student || !has_any(net, id, student)) {
        net_initialise(net, seed, student_stream(id));
        return 0;
    }
    if (load_all(net, id, student, err) != 0
        || (momentum && load_momentum(net, id, student, err) != 0))
        return of_whom("student's weights", student, err);
    return 0;
}

/* The tensor for a parameter, added when new. */
static int place(Tensor **out, Tensors *tensors, const char *prefix, StudentId id,
                 const NetParameter *parameter, Error *err)
{
    char name[NAME_BYTES];

    if (find(out, tensors, prefix, id, parameter, err) != 0) return -1;
    if (*out) return 0;
    name_of(name, prefix, id, parameter);
    return tensors_add(tensors, name, parameter->rank, parameter->dim, out, err);
}

int state_store(const Net *net, StudentId id, int64_t step, bool momentum, Tensors *out, Error *err)
{
    char    key[STATE_KEY_BYTES], value[32];
    Tensor *tensor;

    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *parameter = net_parameter(net, i);
        if (place(&tensor, out, "", id, parameter, err) != 0) return -1;
        net_read(net, i, tensor->values);
        if (!momentum || !parameter->trained) continue;
        if (place(&tensor, out, "momentum.", id, parameter, err) != 0) return -1;
        net_read_state(net, i, tensor->values);
        if (!net_keeps_squares(net)) continue;
        if (place(&tensor, out, "squares.", id, parameter, err) != 0) return -1;
        net_read_squares(net, i, tensor->values);
    }
    if (step == STATE_NO_STEP) return 0;
    snprintf(value, sizeof value, "%" PRId64, step);
    return tensors_set_note(out, state_step_key(key, id), value, err);
}

int state_step(int64_t *step, const Tensors *tensors, StudentId id, Error *err)
{
    char        key[STATE_KEY_BYTES], *end;
    const char *value;

    *step = 0;
    state_step_key(key, id);
    value = tensors ? tensors_note(tensors, key) : NULL;
    if (!value) return 0;
    errno = 0;
    *step = strtoll(value, &end, 10);
    if (errno || *end || end == value || *step < 0)
        return error_set(err, "note %s is \"%s\", expected a number of steps", key, value);
    return 0;
}
