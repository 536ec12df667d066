/* oneDNN's primitives: made with their memory objects once, run many times. */
#include "kernels/cpu/cpu.h"

#include <pthread.h>
#include <string.h>

static void multiply_once(void)
{
    enum { SIDE = 8 };
    float one[SIDE * SIDE] = {0}, product[SIDE * SIDE];

    dnnl_sgemm('N', 'N', SIDE, SIDE, SIDE, 1.0f, one, SIDE, one, SIDE, 0.0f, product, SIDE);
}

void products_make_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, multiply_once);
}

bool cpu_has(dnnl_cpu_isa_t instructions)
{
#ifdef __x86_64__
    return ((unsigned)dnnl_get_effective_cpu_isa() & (unsigned)instructions)
           == (unsigned)instructions;
#else
    (void)instructions;
    return false;
#endif
}

int dnnl_failed(dnnl_status_t status, const char *what, Error *err)
{
    if (status == dnnl_success) return 0;
    if (status == dnnl_out_of_memory) return error_no_memory(err);
    return error_set(err, "%s: oneDNN %s", what,
                     status == dnnl_unimplemented ? "cannot compute it on this machine" :
                     status == dnnl_invalid_arguments ? "refuses its shapes" : "failed");
}

int64_t md_count(const Md *md)
{
    return cpu_round(
        (int64_t)((dnnl_memory_desc_get_size(md) + sizeof(float) - 1) / sizeof(float)));
}

Md *md_new_of(dnnl_data_type_t type, int ndims, const dnnl_dim_t *dims, dnnl_format_tag_t order)
{
    Md         *md = NULL;
    dnnl_dims_t all = {0};

    memcpy(all, dims, (size_t)ndims * sizeof *dims);
    return dnnl_memory_desc_create_with_tag(&md, ndims, all, type, order) == dnnl_success ? md
                                                                                         : NULL;
}

Md *md_new(int ndims, const dnnl_dim_t *dims, dnnl_format_tag_t order)
{
    return md_new_of(dnnl_f32, ndims, dims, order);
}

Md *md_rows(int64_t rows, Shape shape)
{
    dnnl_dim_t dims[] = {rows, shape.channels, shape.height, shape.width};

    return md_new(4, dims, dnnl_nhwc);
}

void md_free(Md *md)
{
    if (md) dnnl_memory_desc_destroy(md);
}

dnnl_primitive_attr_t attr_new(Activation activation, Error *err)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t       ops = NULL;
    dnnl_status_t         status = dnnl_primitive_attr_create(&attr);

    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && activation != ACTIVATION_NONE) {
        status = dnnl_post_ops_create(&ops);
        if (status == dnnl_success)
            status = activation == ACTIVATION_RELU
                         ? dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f)
                         : dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_clip, 0.0f, 6.0f);
        if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attr, ops);
        if (ops) dnnl_post_ops_destroy(ops);
    }
    if (status != dnnl_success) {
        if (attr) dnnl_primitive_attr_destroy(attr);
        error_no_memory(err);
        return NULL;
    }
    return attr;
}

const Md *primitive_md(const Primitive *primitive, dnnl_query_t query)
{
    return dnnl_primitive_desc_query_md(primitive->desc, query, 0);
}

int primitive_argument(Primitive *primitive, CpuDevice *device, int argument, const Md *md,
                       Error *err)
{
    dnnl_exec_arg_t *a = &primitive->argument[primitive->argument_count];

    a->arg = argument;
    if (dnnl_memory_create(&a->memory, md, device->engine, DNNL_MEMORY_NONE) != dnnl_success)
        return error_no_memory(err);
    primitive->argument_count++;
    return 0;
}

void primitive_set(Primitive *primitive, int argument, const void *memory)
{
    for (int i = 0; i < primitive->argument_count; i++)
        if (primitive->argument[i].arg == argument)
            dnnl_memory_set_data_handle(primitive->argument[i].memory, (void *)(uintptr_t)memory);
}

int primitive_make(Primitive *out, CpuDevice *device, dnnl_status_t created, const char *what,
                   Error *err)
{
    const Md *scratch;

    if (dnnl_failed(created, what, err) != 0 ||
        dnnl_failed(dnnl_primitive_create(&out->primitive, out->desc), what, err) != 0)
        return -1;
    scratch = primitive_md(out, dnnl_query_scratchpad_md);
    out->scratch = scratch ? md_count(scratch) : 0;
    return out->scratch > 0 ? primitive_argument(out, device, DNNL_ARG_SCRATCHPAD, scratch, err)
                            : 0;
}

int primitive_make_reorder(Primitive *out, CpuDevice *device, const Md *from, const Md *to,
                           Error *err)
{
    dnnl_primitive_attr_t attr = attr_new(ACTIVATION_NONE, err);
    int                   rc = -1;

    *out = (Primitive){0};
    if (!attr) return -1;
    if (primitive_make(out, device,
                       dnnl_reorder_primitive_desc_create(&out->desc, from, device->engine, to,
                                                          device->engine, attr),
                       "a reorder", err)
            == 0
        && primitive_argument(out, device, DNNL_ARG_FROM, from, err) == 0
        && primitive_argument(out, device, DNNL_ARG_TO, to, err) == 0)
        rc = 0;
    if (rc != 0) primitive_free(out);
    dnnl_primitive_attr_destroy(attr);
    return rc;
}

void primitive_free(Primitive *primitive)
{
    for (int i = 0; i < primitive->argument_count; i++)
        dnnl_memory_destroy(primitive->argument[i].memory);
    if (primitive->primitive) dnnl_primitive_destroy(primitive->primitive);
    if (primitive->desc) dnnl_primitive_desc_destroy(primitive->desc);
    *primitive = (Primitive){0};
}

int primitive_run(Primitive *primitive, CpuDevice *device, const char *what, Error *err)
{
    if (primitive->scratch > 0) primitive_set(primitive, DNNL_ARG_SCRATCHPAD, device->scratch);
    return dnnl_failed(dnnl_primitive_execute(primitive->primitive, device->stream,
                                              primitive->argument_count, primitive->argument),
                       what, err);
}
