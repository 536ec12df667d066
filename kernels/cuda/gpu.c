/* What is asked before GPUs are opened: is there a driver, new enough; are there the GPUs, of one
 * kind; can they be cut; are the libraries those that the program was built with. */
#include "kernels/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- driver, libraries ---- */

/* A driver runs programs of its own CUDA, of older ones, and of newer ones of the same major
 * number. */
static int check_driver(Error *err)
{
    int version = 0;

    if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0)
        return error_set(
            err, "cuda: this machine has no NVIDIA driver; one for CUDA %d.%d or newer is needed",
            CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    if (version / 1000 < CUDART_VERSION / 1000)
        return error_set(
            err, "cuda: the driver is too old: it has CUDA %d.%d, and %d.0 or newer is needed",
            version / 1000, version % 1000 / 10, CUDART_VERSION / 1000);
    return 0;
}

/* found and built as MAJOR * major + MINOR * minor + patch. An older one, or one of another major
 * number. */
static int check_library(const char *name, long found, long built, long major, long minor,
                         Error *err)
{
    if (found >= built && found / major == built / major) return 0;
    return error_set(err,
                     "cuda: %s %ld.%ld is loaded, the program was built with %ld.%ld: expected "
                     "that or a newer %ld",
                     name, found / major, found % major / minor, built / major,
                     built % major / minor, built / major);
}

static int check_libraries(Error *err)
{
    if (check_library("cuDNN", (long)cudnnGetVersion(), CUDNN_VERSION, 10000, 100, err) != 0)
        return -1;
    return check_library("cuBLAS", (long)cublasLtGetVersion(), CUBLAS_VERSION, 10000, 100, err);
}

/* ---- GPUs ---- */

static void list_gpus(char *out, size_t size, int count)
{
    struct cudaDeviceProp p;
    size_t                length = 0;

    out[0] = '\0';
    for (int i = 0; i < count && length < size; i++)
        if (cudaGetDeviceProperties(&p, i) == cudaSuccess)
            length +=
                (size_t)snprintf(out + length, size - length, "%s%d %s", i ? ", " : "", i, p.name);
}

static int check_gpus(const DeviceSpec *spec, Error *err)
{
    char gpus[512];
    int  count = 0;

    if (cuda_failed(cudaGetDeviceCount(&count), "cuda", err) != 0) return -1;
    if (count == 0)
        return error_set(err, "cuda: this machine has no NVIDIA GPU that the program may use");
    for (int i = 0; i < spec->gpu_count; i++) {
        if (spec->gpus[i] < count) continue;
        list_gpus(gpus, sizeof gpus, count);
        return error_set(err, "cuda:%d: there is no such GPU, but %s", spec->gpus[i], gpus);
    }
    return 0;
}

static int facts_of(struct cudaDeviceProp *out, int gpu, Error *err)
{
    char what[32];

    snprintf(what, sizeof what, "cuda:%d", gpu);
    return cuda_failed(cudaGetDeviceProperties(out, gpu), what, err);
}

/* Devices of a run are of one kind. */
static int check_alike(const DeviceSpec *spec, const struct cudaDeviceProp *first, Error *err)
{
    struct cudaDeviceProp other;

    for (int i = 1; i < spec->gpu_count; i++) {
        if (facts_of(&other, spec->gpus[i], err) != 0) return -1;
        if (strcmp(first->name, other.name) != 0
            || first->multiProcessorCount != other.multiProcessorCount)
            return error_set(err,
                             "cuda: GPU %d is %s with %d multiprocessors, GPU %d is %s with %d: "
                             "expected GPUs of one kind",
                             spec->gpus[0], first->name, first->multiProcessorCount, spec->gpus[i],
                             other.name, other.multiProcessorCount);
    }
    return 0;
}

static int check_precision(const DeviceSpec *spec, const struct cudaDeviceProp *p, Error *err)
{
    if (spec->precision == PRECISION_FP32 || p->major >= 8) return 0;
    return error_set(
        err, "cuda:%d: %s computes in fp32 only; %s needs compute capability 8.0, it has %d.%d",
        spec->gpus[0], p->name, precision_name(spec->precision), p->major, p->minor);
}

int cuda_spec(DeviceSpec *spec, Error *err)
{
    struct cudaDeviceProp p;
    char                  of[48] = "";
    int                   each, all;

    /* Streams that share one of the GPU's queues wait for each other: a slice has three of them.
     * Read when CUDA starts; 32 is the most. */
    setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
    if (check_driver(err) != 0 || check_libraries(err) != 0 || check_gpus(spec, err) != 0)
        return -1;
    if (facts_of(&p, spec->gpus[0], err) != 0 || check_alike(spec, &p, err) != 0
        || check_precision(spec, &p, err) != 0)
        return -1;
    if (spec->slices > 1) {
        if (slices_count(&each, &all, spec->gpus[0], spec->slices, err) != 0) return -1;
        snprintf(of, sizeof of, ", %d of %d SMs", each, all);
    }
    snprintf(spec->kind, sizeof spec->kind, "%.40s%s%s%s", p.name, of,
             spec->precision == PRECISION_FP32 ? "" : ", ",
             spec->precision == PRECISION_FP32 ? "" : precision_name(spec->precision));
    spec->memory_bytes = (int64_t)p.totalGlobalMem / spec->slices;
    return 0;
}

/* ---- facts ---- */

/* "580.65.06" of "NVRM version: NVIDIA UNIX ... Kernel Module  580.65.06  Release Build": the first
 * word of digits and dots. Left "" where there is no such file. */
static void driver_release(char *out, size_t size)
{
    FILE *f = fopen("/proc/driver/nvidia/version", "r");
    char  line[256];

    out[0] = '\0';
    if (f && fgets(line, sizeof line, f)) {
        char *rest = line;
        for (char *word; (word = strtok_r(rest, " \t\n", &rest)) && !out[0];)
            if (strspn(word, "0123456789.") == strlen(word) && strchr(word, '.'))
                snprintf(out, size, "%s", word);
    }
    if (f) fclose(f);
}

static int attribute(enum cudaDeviceAttr which, int gpu)
{
    int value = 0;

    return cudaDeviceGetAttribute(&value, which, gpu) == cudaSuccess ? value : 0;
}

int cuda_facts(const DeviceSpec *spec, Text *out, Error *err)
{
    struct cudaDeviceProp p;
    char                  release[32];
    int                   driver = 0, runtime = 0, gpu = spec->gpus[0];
    long                  cudnn = (long)cudnnGetVersion(), blas = (long)cublasLtGetVersion();

    if (facts_of(&p, gpu, err) != 0) return -1;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    driver_release(release, sizeof release);
    text_printf(out, "%s, compute capability %d.%d, %d SMs, clocks up to %d MHz, memory's %d MHz; ",
                p.name, p.major, p.minor, p.multiProcessorCount,
                attribute(cudaDevAttrClockRate, gpu) / 1000,
                attribute(cudaDevAttrMemoryClockRate, gpu) / 1000);
    text_printf(out,
                "driver %s%sof CUDA %d.%d; CUDA %d.%d, cuDNN %ld.%ld.%ld, cuBLAS %ld.%ld.%ld; %s",
                release, release[0] ? " " : "", driver / 1000, driver % 1000 / 10, runtime / 1000,
                runtime % 1000 / 10, cudnn / 10000, cudnn % 10000 / 100, cudnn % 100, blas / 10000,
                blas % 10000 / 100, blas % 100, precision_name(spec->precision));
    return text_failed(out) ? error_no_memory(err) : 0;
}
