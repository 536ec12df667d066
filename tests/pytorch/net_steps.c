/* Runs a net on values that a test gives (tests/test_torch.py), and writes what comes out.
 *
 *     net_steps names WORKLOAD
 *         a line a parameter of block 0's student: its name and dimensions
 *     net_steps run WORKLOAD ROWS STEPS RATE MOMENTUM DECAY [CHOICE...] < IN > OUT
 *         IN   floats: all parameters; x; STEPS targets t. x and t have channels last
 *         OUT  floats: the frozen net's y; a loss a step; y of the last step's forward; all
 *              parameters after the last update; then momenta of those that are trained */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/net.h"

static const char usage[] =
    "usage: net_steps names WORKLOAD | run WORKLOAD ROWS STEPS RATE MOMENTUM DECAY [CHOICE...]\n";

/* A test's program has nothing to clean up when it cannot go on. */
static void require(int rc, const Error *err)
{
    if (rc == 0) return;
    fprintf(stderr, "net_steps: %s\n", err->text);
    exit(1);
}

static float *room(int64_t count)
{
    float *memory = calloc((size_t)count, sizeof *memory);

    if (!memory) { fprintf(stderr, "net_steps: out of memory\n"); exit(1); }
    return memory;
}

static float *take(int64_t count)
{
    float *values = room(count);

    if (fread(values, sizeof *values, (size_t)count, stdin) == (size_t)count) return values;
    fprintf(stderr, "net_steps: the input ends early\n");
    exit(1);
}

static void give(const float *values, int64_t count)
{
    fwrite(values, sizeof *values, (size_t)count, stdout);
}

static void names(const Net *net)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);

        printf("%s", p->name);
        for (int d = 0; d < p->rank; d++) printf(" %lld", (long long)p->dim[d]);
        printf("\n");
    }
}

/* Both nets get the same values. */
static void take_parameters(Net *frozen, Net *trained)
{
    for (int i = 0; i < net_parameter_count(trained); i++) {
        float *values = take(net_parameter(trained, i)->count);

        net_write(frozen, i, values);
        net_write(trained, i, values);
        free(values);
    }
}

static void give_parameters(const Net *net)
{
    for (int state = 0; state < 2; state++)
        for (int i = 0; i < net_parameter_count(net); i++) {
            const NetParameter *p = net_parameter(net, i);
            float              *values = room(p->count);

            if (!state) net_read(net, i, values);
            else if (p->trained) net_read_state(net, i, values);
            if (!state || p->trained) give(values, p->count);
            free(values);
        }
}

static void run(Device *device, Net *frozen, Net *trained, const WorkBlock *block, char **argv,
                const int *choices)
{
    int64_t rows = atoll(argv[3]), steps = atoll(argv[4]), nx = rows * shape_count(block->in),
            each = shape_count(block->out);
    UpdateStep step = {.learning_rate = atof(argv[5]), .momentum = atof(argv[6]),
                       .weight_decay = atof(argv[7]), .nesterov = true};
    float  *x, *y = room(rows * each), *dy = room(rows * each);
    Error   err = {""};

    require(net_prepare(frozen, rows, &err), &err);
    require(net_prepare(trained, rows, &err), &err);
    take_parameters(frozen, trained);
    x = take(nx);
    require(net_forward(frozen, x, y, rows, choices, &err), &err);
    give(y, rows * each);
    for (int64_t s = 0; s < steps; s++) {
        float *t = take(rows * each), loss;
        double sum;

        require(net_forward(trained, x, y, rows, choices, &err), &err);
        loss_backward(device, &(LossCall){.kind = block->loss, .student = y, .teacher = t, .dy = dy,
                      .rows = rows, .channels = each, .global_rows = rows, .loss = &sum});
        require(net_backward(trained, dy, rows, &err), &err);
        net_update(trained, &step);
        loss = (float)sum;
        give(&loss, 1);
        free(t);
    }
    give(y, rows * each);
    give_parameters(trained);
    free(x), free(y), free(dy);
}

int main(int argc, char **argv)
{
    bool       wanted = argc >= 8 && strcmp(argv[1], "run") == 0;
    DeviceSpec spec;
    Device    *device;
    Workload  *workload;
    Net       *frozen, *trained;
    Error      err = {""};
    int        choices[64] = {0};

    if (!wanted && !(argc == 3 && strcmp(argv[1], "names") == 0)) {
        fputs(usage, stderr);
        return 2;
    }
    for (int i = 8; i < argc && i < 8 + 64; i++) choices[i - 8] = atoi(argv[i]);
    require(workload_read(&workload, argv[2], &err), &err);
    require(device_spec_parse(&spec, "cpu:1", &err), &err);
    require(device_open(&device, &spec, 0, &err), &err);
    require(net_new(&frozen, device, &workload->block[0].student, workload->block[0].in, NET_FROZEN,
                    &err),
            &err);
    require(net_new(&trained, device, &workload->block[0].student, workload->block[0].in,
                    NET_TRAINED, &err),
            &err);
    if (wanted) run(device, frozen, trained, &workload->block[0], argv, choices);
    else names(trained);
    net_free(frozen);
    net_free(trained);
    device_close(device);
    workload_free(workload);
    return ferror(stdout) ? 1 : 0;
}
