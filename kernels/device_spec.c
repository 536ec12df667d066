/* Reads "cpu:2", "cuda:0,1", "cuda:0/4": a type, a colon, and what it is about.
 *
 *     cpu:N
 *     cuda:GPU[/SLICES][,GPU[/SLICES]]... */
#include "kernels/device.h"

#include <stdlib.h>
#include <string.h>

static const char EXPECTED[] = "expected cpu:N, cuda:GPU,GPU,... or cuda:GPU/SLICES";

/* A number without sign or space; -1 where there is none, or it is too large. */
static long number_at(const char **at, long most)
{
    char *end;
    long  value;

    if (**at < '0' || **at > '9') return -1;
    value = strtol(*at, &end, 10);
    *at = end;
    return value <= most ? value : -1;
}

static int read_cpu(DeviceSpec *out, const char *text, const char *at, Error *err)
{
    long count = number_at(&at, DEVICES_MAX);

    if (count < 1 || *at)
        return error_set(err, "devices \"%s\": expected cpu:N with N from 1 to %d", text,
                         DEVICES_MAX);
    out->count = (int)count;
    return 0;
}

static int add_gpu(DeviceSpec *out, const char *text, long gpu, long slices, Error *err)
{
    for (int i = 0; i < out->gpu_count; i++)
        if (out->gpus[i] == gpu)
            return error_set(
                err, "devices \"%s\": GPU %ld stands twice; cuda:%ld/2 makes two devices of it",
                text, gpu, gpu);
    if (out->gpu_count > 0 && slices != out->slices)
        return error_set(err,
                         "devices \"%s\": GPUs are cut into %d and %ld, expected all alike, as "
                         "devices of a run are",
                         text, out->slices, slices);
    if (out->gpu_count == GPUS_MAX)
        return error_set(err, "devices \"%s\": expected at most %d GPUs", text, GPUS_MAX);
    out->gpus[out->gpu_count++] = (int)gpu;
    out->slices = (int)slices;
    out->count += (int)slices;
    return 0;
}

/* Reads the GPUs of "cuda:0,1/4": at stands behind the colon. N/K is K slices of GPU N, each a
 * device. What is wrong is quoted, with the whole text. */
static int read_cuda(DeviceSpec *out, const char *text, const char *at, Error *err)
{
    do {
        if (strncmp(at, "cpu", 3) == 0)
            return error_set(
                err, "devices \"%s\": cpu and cuda devices do not go together in a run", text);
        long gpu = number_at(&at, 9999), slices = 1;
        if (gpu < 0)
            return error_set(
                err,
                "devices \"%s\": expected numbers of GPUs after cuda:, as in cuda:0,1 or cuda:0/4",
                text);
        if (*at == '/') {
            at++;
            slices = number_at(&at, SLICES_MAX);
            if (slices < 2)
                return error_set(err, "devices \"%s\": expected 2 to %d slices after cuda:%ld/",
                                 text, SLICES_MAX, gpu);
        }
        if (add_gpu(out, text, gpu, slices, err) != 0) return -1;
    } while (*at == ',' && *++at != '\0');
    if (*at || at[-1] == ',')
        return error_set(
            err, "devices \"%s\": expected a GPU's number, a comma or a slash at \"%s\"", text, at);
    return 0;
}

int device_spec_read(DeviceSpec *out, const char *text, Error *err)
{
    *out = (DeviceSpec){.slices = 1};
    if (strncmp(text, "cpu:", 4) == 0) return read_cpu(out, text, text + 4, err);
    if (strncmp(text, "cuda:", 5) != 0) return error_set(err, "devices \"%s\": %s", text, EXPECTED);
    out->type = DEVICE_CUDA;
    return read_cuda(out, text, text + 5, err);
}

int device_spec_parse(DeviceSpec *out, const char *text, Error *err)
{
    return device_spec_read(out, text, err) == 0 ? device_spec_ask(out, err) : -1;
}

bool device_spec_shares(const DeviceSpec *spec)
{
    return spec->type == DEVICE_CPU && spec->count > spec->cores;
}

/* ---- precision ---- */

static const char *const names[PRECISION_COUNT] = {"fp32", "tf32", "bf16"};

const char *precision_name(Precision precision) { return names[precision]; }

int device_spec_set_precision(DeviceSpec *spec, const char *text, Error *err)
{
    for (int p = 0; p < PRECISION_COUNT; p++) {
        if (strcmp(text, names[p]) != 0) continue;
        if (spec->type == DEVICE_CPU && p == PRECISION_TF32)
            return error_set(err, "precision %s: cpu devices compute in fp32 or bf16", text);
        spec->precision = (Precision)p;
        return 0;
    }
    return error_set(err, "precision \"%s\": expected fp32, tf32 or bf16", text);
}

/* ---- NCCL ---- */

int device_spec_set_nccl(DeviceSpec *spec, Error *err)
{
    if (spec->type != DEVICE_CUDA) return error_set(err, "--nccl: no effect with cpu devices");
    if (spec->slices > 1)
        return error_set(
            err, "--nccl: NCCL takes a GPU once, these are %d slices of each, which copies serve",
            spec->slices);
    if (spec->count < 2) return error_set(err, "--nccl: no effect with one device");
    spec->nccl = true;
    return 0;
}
