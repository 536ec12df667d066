/* Runs the teachers of a workload as one net, for tests/test_import_hf.py.
 *
 *     net_chain WORKLOAD WEIGHTS ROWS RATE < IN > OUT
 *         IN   floats: lengths [ROWS], all 0: whole sequences; x [ROWS][in]; dy [ROWS][out]
 *         OUT  floats: y; y again after one step of SGD by the gradients that dy gives */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/checkpoint/state.h"
#include "kernels/net.h"

enum { ROWS_MOST = 64 };

/* A test's program has nothing to clean up when it cannot go on. */
static void require(int rc, const Error *err)
{
    if (rc == 0) return;
    fprintf(stderr, "net_chain: %s\n", err->text);
    exit(1);
}

static float *take(int64_t count)
{
    float *values = calloc((size_t)count, sizeof *values);

    if (values && fread(values, sizeof *values, (size_t)count, stdin) == (size_t)count)
        return values;
    fprintf(stderr, "net_chain: the input ends early, or there is no memory\n");
    exit(1);
}

/* All blocks' layers in a row. */
static Layers chain(const Workload *w)
{
    Layers all = {0};

    for (int b = 0; b < w->block_count; b++) all.count += w->block[b].teacher.count;
    all.layer = calloc((size_t)all.count, sizeof *all.layer);
    if (!all.layer) exit(1);
    all.count = 0;
    for (int b = 0; b < w->block_count; b++)
        for (int i = 0; i < w->block[b].teacher.count; i++)
            all.layer[all.count++] = w->block[b].teacher.layer[i];
    return all;
}

/* Parameters of the whole are those of the blocks, one after another. */
static void load(Net *whole, const Workload *w, Device *device, const Tensors *weights)
{
    Error err = {""};
    int   at = 0;

    for (int b = 0; b < w->block_count; b++) {
        Net *net;

        require(net_new(&net, device, &w->block[b].teacher, w->block[b].in, NET_FROZEN, &err),
                &err);
        require(state_load_teacher(net, b, weights, 0, &err), &err);
        for (int i = 0; i < net_parameter_count(net); i++, at++) {
            float *values = calloc((size_t)net_parameter(net, i)->count, sizeof *values);

            if (!values) exit(1);
            net_read(net, i, values);
            net_write(whole, at, values);
            free(values);
        }
        net_free(net);
    }
}

static void run(Net *net, const Workload *w, int64_t rows, float rate)
{
    int64_t nx = rows * shape_count(w->input),
            ny = rows * shape_count(w->block[w->block_count - 1].out);
    float  *given = take(rows), *x = take(nx), *dy = take(ny), *y = calloc((size_t)ny, sizeof *y);
    int     lengths[ROWS_MOST];
    Error   err = {""};

    if (!y) exit(1);
    for (int64_t r = 0; r < rows; r++) lengths[r] = (int)given[r];
    require(net_prepare(net, rows, &err), &err);
    if (lengths[0] > 0) net_set_lengths(net, lengths);
    for (int step = 0; step < 2; step++) {
        require(net_forward(net, x, y, rows, NULL, &err), &err);
        fwrite(y, sizeof *y, (size_t)ny, stdout);
        if (step == 1) break;
        require(net_backward(net, dy, rows, &err), &err);
        net_update(net, &(UpdateStep){.learning_rate = rate});
    }
    free(given), free(x), free(dy), free(y);
}

int main(int argc, char **argv)
{
    DeviceSpec spec;
    Device    *device;
    Workload  *w;
    Tensors   *weights;
    Net       *net;
    Layers     all;
    Error      err = {""};

    if (argc != 5 || atoi(argv[3]) < 1 || atoi(argv[3]) > ROWS_MOST) {
        fputs("usage: net_chain WORKLOAD WEIGHTS ROWS RATE\n", stderr);
        return 2;
    }
    require(workload_read(&w, argv[1], &err), &err);
    require(tensors_read(&weights, argv[2], &err), &err);
    require(device_spec_parse(&spec, "cpu:1", &err), &err);
    require(device_open(&device, &spec, 0, &err), &err);
    all = chain(w);
    require(net_new(&net, device, &all, w->input, NET_TRAINED, &err), &err);
    load(net, w, device, weights);
    run(net, w, atoi(argv[3]), (float)atof(argv[4]));
    net_free(net);
    free(all.layer);
    device_close(device);
    tensors_free(weights);
    workload_free(w);
    return ferror(stdout) ? 1 : 0;
}
