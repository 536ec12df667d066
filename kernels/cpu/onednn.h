/* oneDNN's C API as of 3.x. On 2.x (2.6 and later) the functions of 3.x that are called here are
 * made of 2.x's: this file alone knows the difference.
 *
 *                              2.x                              3.x
 *     memory descriptor        struct                           handle
 *     operation                descriptor, then a primitive's   a primitive's descriptor at once
 *     next implementation      an iterator's                    the primitive descriptor's own */
#ifndef KERNELS_CPU_ONEDNN_H
#define KERNELS_CPU_ONEDNN_H

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR >= 3

/* Md * is dnnl_memory_desc_t, const Md * const_dnnl_memory_desc_t. */
typedef struct dnnl_memory_desc Md;

/* *at becomes what comes after it in oneDNN's list; when that fails, it stays. */
static inline dnnl_status_t onednn_next(dnnl_primitive_desc_t *at)
{
    return dnnl_primitive_desc_next_impl(*at);
}

#else

#include <stdlib.h>

typedef dnnl_memory_desc_t Md;

/* What 3.x has and 2.x lacks, with the names, arguments and results of 3.x's manual. */
static inline dnnl_status_t dnnl_memory_desc_clone(Md **out, const Md *md)
{
    if (!(*out = malloc(sizeof **out))) return dnnl_out_of_memory;
    **out = *md;
    return dnnl_success;
}

static inline dnnl_status_t dnnl_memory_desc_create_with_tag(Md **out, int ndims,
                                                             const dnnl_dims_t dims,
                                                             dnnl_data_type_t  type,
                                                             dnnl_format_tag_t tag)
{
    Md            md;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&md, ndims, dims, type, tag);

    return status == dnnl_success ? dnnl_memory_desc_clone(out, &md) : status;
}

static inline dnnl_status_t dnnl_memory_desc_destroy(Md *md)
{
    free(md);
    return dnnl_success;
}

#define dnnl_post_ops_append_eltwise(ops, kind, alpha, beta) \
    dnnl_post_ops_append_eltwise(ops, 1.0f, kind, alpha, beta)

/* As in 3.x; of forward convolutions only. */
static inline dnnl_status_t onednn_next(dnnl_primitive_desc_t *at)
{
    dnnl_primitive_desc_iterator_t list = NULL;
    dnnl_primitive_desc_t          next = NULL;
    const_dnnl_primitive_attr_t    attr;
    const dnnl_convolution_desc_t *description;
    dnnl_engine_t                  engine;
    dnnl_status_t                  status;

    if ((status = dnnl_primitive_desc_query(*at, dnnl_query_convolution_d, 0, &description))
            != dnnl_success
        || (status = dnnl_primitive_desc_query(*at, dnnl_query_engine, 0, &engine)) != dnnl_success
        || (status = dnnl_primitive_desc_get_attr(*at, &attr)) != dnnl_success
        || (status = dnnl_primitive_desc_iterator_create(&list, description, attr, engine, NULL))
               != dnnl_success)
        return status;
    status = dnnl_primitive_desc_iterator_next(list);
    if (status == dnnl_success && !(next = dnnl_primitive_desc_iterator_fetch(list)))
        status = dnnl_out_of_memory;
    dnnl_primitive_desc_iterator_destroy(list);
    if (status != dnnl_success) return status;
    dnnl_primitive_desc_destroy(*at);
    *at = next;
    return dnnl_success;
}

/* The second half of what 3.x does in one call; description: of 2.x. */
static inline dnnl_status_t onednn_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                          dnnl_status_t described, const void *description,
                                          const_dnnl_primitive_desc_t hint,
                                          const_dnnl_primitive_attr_t attr)
{
    return described == dnnl_success
               ? dnnl_primitive_desc_create(out, description, attr, engine, hint)
               : described;
}

/* ---- convolution: dilates NULL is none ---- */

static inline dnnl_status_t dnnl_convolution_forward_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_prop_kind_t prop,
    dnnl_alg_kind_t algorithm, const Md *x, const Md *weights, const Md *bias, const Md *y,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t left,
    const dnnl_dims_t right, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;

    (void)dilates;
    return onednn_create(out, engine,
                         dnnl_convolution_forward_desc_init(&d, prop, algorithm, x, weights, bias,
                                                            y, strides, left, right),
                         &d, NULL, attr);
}

static inline dnnl_status_t dnnl_convolution_backward_data_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, const Md *dx,
    const Md *weights, const Md *dy, const dnnl_dims_t strides, const dnnl_dims_t dilates,
    const dnnl_dims_t left, const dnnl_dims_t right, const_dnnl_primitive_desc_t hint,
    const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;

    (void)dilates;
    return onednn_create(out, engine,
                         dnnl_convolution_backward_data_desc_init(&d, algorithm, dx, weights, dy,
                                                                  strides, left, right),
                         &d, hint, attr);
}

static inline dnnl_status_t dnnl_convolution_backward_weights_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, const Md *x,
    const Md *dweights, const Md *dbias, const Md *dy, const dnnl_dims_t strides,
    const dnnl_dims_t dilates, const dnnl_dims_t left, const dnnl_dims_t right,
    const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;

    (void)dilates;
    return onednn_create(out, engine,
                         dnnl_convolution_backward_weights_desc_init(
                             &d, algorithm, x, dweights, dbias, dy, strides, left, right),
                         &d, hint, attr);
}

/* ---- inner product ---- */

static inline dnnl_status_t dnnl_inner_product_forward_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_prop_kind_t prop, const Md *x,
    const Md *weights, const Md *bias, const Md *y, const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;

    return onednn_create(out, engine,
                         dnnl_inner_product_forward_desc_init(&d, prop, x, weights, bias, y), &d,
                         NULL, attr);
}

static inline dnnl_status_t dnnl_inner_product_backward_data_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, const Md *dx, const Md *weights, const Md *dy,
    const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;

    return onednn_create(out, engine,
                         dnnl_inner_product_backward_data_desc_init(&d, dx, weights, dy), &d, hint,
                         attr);
}

static inline dnnl_status_t dnnl_inner_product_backward_weights_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, const Md *x, const Md *dweights,
    const Md *dbias, const Md *dy, const_dnnl_primitive_desc_t hint,
    const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;

    return onednn_create(out, engine,
                         dnnl_inner_product_backward_weights_desc_init(&d, x, dweights, dbias, dy),
                         &d, hint, attr);
}

/* ---- pooling: dilates are zeros ---- */

static inline dnnl_status_t dnnl_pooling_forward_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_prop_kind_t prop,
    dnnl_alg_kind_t algorithm, const Md *x, const Md *y, const dnnl_dims_t strides,
    const dnnl_dims_t kernel, const dnnl_dims_t dilates, const dnnl_dims_t left,
    const dnnl_dims_t right, const_dnnl_primitive_attr_t attr)
{
    dnnl_pooling_desc_t d;

    (void)dilates;
    return onednn_create(
        out, engine,
        dnnl_pooling_forward_desc_init(&d, prop, algorithm, x, y, strides, kernel, left, right), &d,
        NULL, attr);
}

static inline dnnl_status_t dnnl_pooling_backward_primitive_desc_create(
    dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, const Md *dx,
    const Md *dy, const dnnl_dims_t strides, const dnnl_dims_t kernel, const dnnl_dims_t dilates,
    const dnnl_dims_t left, const dnnl_dims_t right, const_dnnl_primitive_desc_t hint,
    const_dnnl_primitive_attr_t attr)
{
    dnnl_pooling_desc_t d;

    (void)dilates;
    return onednn_create(
        out, engine,
        dnnl_pooling_backward_desc_init(&d, algorithm, dx, dy, strides, kernel, left, right), &d,
        hint, attr);
}

#endif

#endif
