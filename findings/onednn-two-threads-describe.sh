#!/bin/bash
# oneDNN 2.6.0 (wheel onednn-cpu-gomp 2022.2.0; 2.6.3 of Debian 12 and 3.0.0 do the same, 3.2.0 did
# not): a convolution that is described (dnnl_primitive_desc_create()) while another thread
# describes another one can compute something else than the same convolution described alone, with
# no error from any call. The threads share nothing but the engine. In bfloat16, with an odd number
# of input channels, beside one in float32: while "brgconv" is described, one variable of the
# process holds how many channels of a type lie side by side, so the steps through the weights can
# be those of the other type. A primitive that was described so stays wrong.
#
# Seen on two cores of a Xeon with AVX512_BF16 and AMX: alone 0 of 500 convolutions have other
# results than the first. Beside the other thread 14 to 83 of 500 had, of 1 channel and of 9, and
# fewer where other programs kept the cores busy: one is waited for, in at most 20000.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" install -q --disable-pip-version-check --no-deps \
    onednn-cpu-gomp==2022.2.0 onednn-devel-cpu-gomp==2022.2.0
cat > "$T/two.c" <<'C'
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 32, SIDE = 8, OUT = 8, ALONE = 500, MOST = 20000 };

static dnnl_engine_t engine;
static atomic_bool   stop;
static float         y[N * SIDE * SIDE * OUT], first[N * SIDE * SIDE * OUT], weights[OUT * 9 * 9];
static unsigned short x[N * SIDE * SIDE * 9];

static void check(dnnl_status_t status)
{
    if (status != dnnl_success) { printf("oneDNN: status %d\n", (int)status); exit(1); }
}

/* 3x3, channels last. */
static dnnl_primitive_desc_t describe(dnnl_data_type_t type, int in)
{
    dnnl_dims_t dx = {N, in, SIDE, SIDE}, dy = {N, OUT, SIDE, SIDE}, dw = {OUT, in, 3, 3},
                one = {1, 1};
    dnnl_memory_desc_t      mx, my, mw;
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t   desc;

    check(dnnl_memory_desc_init_by_tag(&mx, 4, dx, type, dnnl_nhwc));
    check(dnnl_memory_desc_init_by_tag(&my, 4, dy, dnnl_f32, dnnl_nhwc));
    check(dnnl_memory_desc_init_by_tag(&mw, 4, dw, type, dnnl_format_tag_any));
    check(dnnl_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct,
                                             &mx, &mw, NULL, &my, one, one, one));
    check(dnnl_primitive_desc_create(&desc, &d, NULL, engine, NULL));
    return desc;
}

static void *describe_others(void *context)
{
    while (!stop) dnnl_primitive_desc_destroy(describe(dnnl_f32, OUT));
    return context;
}

static dnnl_memory_t memory(const dnnl_memory_desc_t *md, void *at)
{
    dnnl_memory_t m;

    check(dnnl_memory_create(&m, md, engine, at));
    return m;
}

static void compute(dnnl_primitive_desc_t desc, int in)
{
    const dnnl_memory_desc_t *mw = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    dnnl_dims_t           dw = {OUT, in, 3, 3};
    dnnl_memory_desc_t    plain;
    dnnl_primitive_desc_t order;
    dnnl_primitive_t      reorder, conv;
    dnnl_stream_t         stream;

    check(dnnl_memory_desc_init_by_tag(&plain, 4, dw, dnnl_f32, dnnl_oihw));
    check(dnnl_reorder_primitive_desc_create(&order, &plain, engine, mw, engine, NULL));
    check(dnnl_primitive_create(&reorder, order));
    check(dnnl_primitive_create(&conv, desc));
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    dnnl_memory_t   w = memory(mw, DNNL_MEMORY_ALLOCATE), from = memory(&plain, weights),
                    src = memory(dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0), x),
                    dst = memory(dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0), y);
    dnnl_exec_arg_t a[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, w}},
                    b[] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, dst}};
    check(dnnl_primitive_execute(reorder, stream, 2, a));
    check(dnnl_primitive_execute(conv, stream, 3, b));
    check(dnnl_stream_wait(stream));
    dnnl_memory_destroy(w), dnnl_memory_destroy(from);
    dnnl_memory_destroy(src), dnnl_memory_destroy(dst);
    dnnl_primitive_destroy(reorder), dnnl_primitive_destroy(conv);
    dnnl_primitive_desc_destroy(order), dnnl_stream_destroy(stream);
}

/* Describes and computes until a result is another than the first alone, but times at most; how
 * often the result was the same. */
static int same_results(int in, int times, bool alone)
{
    int  same = 0;
    bool other = false;

    while (same < times && !other) {
        dnnl_primitive_desc_t desc = describe(dnnl_bf16, in);

        compute(desc, in);
        dnnl_primitive_desc_destroy(desc);
        if (alone && same == 0) memcpy(first, y, sizeof y);
        other = memcmp(first, y, sizeof y) != 0;
        same += !other;
    }
    return same;
}

/* Whether only the other thread makes a difference. */
static bool shown(int in)
{
    pthread_t thread;
    int       alone, beside;

    stop = false;
    alone = same_results(in, ALONE, true);
    if (pthread_create(&thread, NULL, describe_others, NULL) != 0) exit(1);
    beside = same_results(in, MOST, false);
    stop = true;
    pthread_join(thread, NULL);
    printf("%d channels: the same %d times of %d alone; beside another thread %d times, then %s\n",
           in, alone, ALONE, beside, beside < MOST ? "another" : "not tried again");
    return alone == ALONE && beside < MOST;
}

int main(void)
{
    bool all;

    if ((dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16)
        != dnnl_cpu_isa_avx512_core_bf16) {
        puts("this machine has no AVX512_BF16");
        return 1;
    }
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    check(dnnl_set_primitive_cache_capacity(0));
    for (int i = 0; i < N * SIDE * SIDE * 9; i++) x[i] = i % 3 == 0 ? 0x3f80 : 0xbf00;
    for (int i = 0; i < OUT * 9 * 9; i++) weights[i] = (float)(i % 13 - 6) / 8;
    all = shown(1);
    all &= shown(9);
    puts(all ? "as described" : "otherwise");
    return all ? 0 : 1;
}
C
gcc -O1 -I "$T/v/include" -o "$T/two" "$T/two.c" "$T/v/lib/libdnnl.so.2" -lpthread
OMP_NUM_THREADS=1 LD_LIBRARY_PATH="$T/v/lib" "$T/two"
