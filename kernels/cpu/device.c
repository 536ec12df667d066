/* The CPU as devices: cores divided, threads bound, memory. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/cpu/stream.h"

void cpu_processor_name(char *out, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char  line[256];

    snprintf(out, size, "CPU");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(out, size, "%s", colon + 2);
        break;
    }
    if (f) fclose(f);
}

/* Memory of the machine, or what this process's group may use of it. */
static int64_t memory_of_machine(void)
{
    int64_t   bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    FILE     *f = fopen("/sys/fs/cgroup/memory.max", "r");
    long long limit;

    if (f && fscanf(f, "%lld", &limit) == 1 && limit > 0 && limit < bytes) bytes = limit;
    if (f) fclose(f);
    return bytes;
}

static int cpu_spec(DeviceSpec *out, Error *err)
{
    int  each = out->cores / out->count > 0 ? out->cores / out->count : 1;
    char name[32];
    const char *precision;

    (void)err;
    cpu_processor_name(name, sizeof name);
    if (out->precision == PRECISION_BF16 && !bf16_is_there()) out->precision = PRECISION_FP32;
    precision = out->precision == PRECISION_BF16 ? ", bf16" : "";
    if (out->count > out->cores)
        snprintf(out->kind, sizeof out->kind, "%d/%d core of %s%s", out->cores, out->count, name,
                 precision);
    else
        snprintf(out->kind, sizeof out->kind, "%d core%s of %s%s", each, each == 1 ? "" : "s", name,
                 precision);
    out->memory_bytes = memory_of_machine() / out->count;
    return 0;
}

/* Instruction sets choose oneDNN's kernels. */
static int cpu_version(const DeviceSpec *spec, Text *out, Error *err)
{
    (void)spec;
    const dnnl_version_t *v = dnnl_version();

    text_printf(out, "oneDNN %d.%d.%d, instructions %#x", v->major, v->minor, v->patch,
                (unsigned)dnnl_get_effective_cpu_isa());
    return text_failed(out) ? error_no_memory(err) : 0;
}

/* The cores of device index: cores / count each, from those that the thread may use; shared
 * in turn where devices are more than cores. */
static int cores_of(cpu_set_t *out, const cpu_set_t *allowed, const DeviceSpec *spec, int index)
{
    int cores = CPU_COUNT(allowed), each = cores / spec->count > 0 ? cores / spec->count : 1;
    int first = index * each % cores, seen = 0, taken = 0;

    CPU_ZERO(out);
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET((size_t)core, allowed)) continue;
        if (seen >= first && seen < first + each) { CPU_SET((size_t)core, out); taken++; }
        seen++;
    }
    return taken;
}

static void cpu_close(Device *base)
{
    CpuDevice *device = cpu_device(base);

    if (device->stream) dnnl_stream_destroy(device->stream);
    if (device->engine) dnnl_engine_destroy(device->engine);
    cpu_release(device->work);
    cpu_release(device->scratch);
    sched_setaffinity(0, sizeof device->before, &device->before);
    free(device);
}

/* Opens device number index of spec for the calling thread: restricts it to the device's cores and
 * starts its team of threads there, which stay on them. cpu_close() gives the thread its cores
 * back. */
static int cpu_open(Device **out, const DeviceSpec *spec, int index, Error *err)
{
    CpuDevice *device = calloc(1, sizeof *device);
    cpu_set_t  mine;

    *out = NULL;
    if (!device) return error_no_memory(err);
    device->base.backend = &backend_cpu;
    sched_getaffinity(0, sizeof device->before, &device->before);
    device->bf16 = spec->precision == PRECISION_BF16 ? BF16_MEASURED : BF16_NEVER;
    device->threads = cores_of(&mine, &device->before, spec, index);
    sched_setaffinity(0, sizeof mine, &mine);            /* its team is born with the same cores */
    if (cpu_open_team(device->threads, err) != 0
        || dnnl_failed(dnnl_engine_create(&device->engine, dnnl_cpu, 0), "a device", err) != 0
        || dnnl_failed(
               dnnl_stream_create(&device->stream, device->engine, dnnl_stream_default_flags),
               "a device", err)
               != 0) {
        cpu_close(&device->base);
        return -1;
    }
    *out = &device->base;
    return 0;
}

/* ---- memory ---- */

/* What is large is asked for in huge pages: of 4 KiB ones a pass over it spends a tenth of its time
 * finding them. Where the system gives none it stays as it is. */
static void ask_for_huge_pages(char *raw, size_t bytes)
{
    enum { LEAST = 4 << 20 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE), past = (uintptr_t)raw % page;

    if (bytes >= LEAST) madvise(raw - past, bytes + past, MADV_HUGEPAGE);
}

/* calloc() with room to align and, before what is given out, what calloc() gave. */
float *cpu_alloc(size_t count)
{
    size_t bytes = count * sizeof(float), align = CPU_ALIGN * sizeof(float);
    char  *raw, *given;

    if (count > (SIZE_MAX - 2 * align) / sizeof(float) || !(raw = calloc(1, bytes + 2 * align)))
        return NULL;
    ask_for_huge_pages(raw, bytes + 2 * align);
    given = raw + align - (uintptr_t)raw % align;
    if ((size_t)(given - raw) < sizeof raw) given += align;
    memcpy(given - sizeof raw, &raw, sizeof raw);
    return (float *)(void *)given;
}

void cpu_release(float *memory)
{
    char *raw;

    if (!memory) return;
    memcpy(&raw, (char *)memory - sizeof raw, sizeof raw);
    free(raw);
}

static float *alloc(Device *device, size_t count) { (void)device; return cpu_alloc(count); }
static void   release(Device *device, float *memory) { (void)device; cpu_release(memory); }

static int grow(float **memory, int64_t *count, int64_t wanted, Error *err)
{
    float *more;

    if (wanted <= *count) return 0;
    more = cpu_alloc((size_t)wanted);
    if (!more) return error_no_memory(err);
    cpu_release(*memory);
    *memory = more;
    *count = wanted;
    return 0;
}

static int reserve(Device *base, int64_t count, Error *err)
{
    CpuDevice *device = cpu_device(base);

    return grow(&device->work, &device->work_count, count, err);
}

int cpu_reserve_scratch(CpuDevice *device, int64_t count, Error *err)
{
    return grow(&device->scratch, &device->scratch_count, count, err);
}

static float *work(Device *device) { return cpu_device(device)->work; }

static int64_t reserved(const Device *base)
{
    const CpuDevice *device = (const CpuDevice *)base;

    return (device->work_count + device->scratch_count) * (int64_t)sizeof(float);
}

static void copy(Device *device, float *to, const float *from, int64_t count)
{
    (void)device;
    if (count > 0) memcpy(to, from, (size_t)count * sizeof *to);
}

const Backend backend_cpu = {
    .name = "cpu",
    .adds = true,
    .streams = &cpu_streams,
    .spec = cpu_spec,
    .version = cpu_version,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = alloc,
    .release = release,
    .reserve = reserve,
    .work = work,
    .reserved = reserved,
    .fetch = copy,
    .put = copy,
    .copy = copy,
    .add = cpu_add,
    .sgd = cpu_sgd,
    .adamw = cpu_adamw,
    .squares = cpu_squares,
    .check_finite = cpu_check_finite,
    .loss = cpu_loss,
    .losses = (1u << LOSS_COUNT) - 1,
    .keep_choices = bf16_keep_choices,
    .choices = bf16_choices,
    .kept = operator_kept,
    .make = operator_make,
    .free = operator_free,
    .prepare = operator_prepare,
    .changed = operator_changed,
    .forward = operator_forward,
    .backward = operator_backward,
    .bytes = operator_bytes,
    .chain_length = chain_length,
    .chain_prepare = chain_prepare,
    .chain_scratch = chain_scratch,
    .chain_forward = chain_forward,
    .chain_backward = chain_backward,
};
