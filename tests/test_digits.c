/* The bundled digits and the teacher that ships: its weights fit workloads/digits.json and
 * classify the validation part, computed by our kernels, as well as its script says. */
#include "tests/support.h"

#include <stdlib.h>

#include "executor/data/data.h"
#include "executor/checkpoint/tensors.h"
#include "kernels/net.h"

enum { CLASSES = 10, ROWS = 60 };

typedef struct {
    Workload *workload;
    Device   *device;
    Tensors  *weights;
    Net      *net[16];
    float    *boundary[17];  /* [ROWS][out] */
} Teacher;

/* A tensor a parameter, of its shape. */
static void load_block(const Teacher *teacher, int block)
{
    Net *net = teacher->net[block];

    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *parameter = net_parameter(net, i);
        char               *name = format_text("blocks.%d.%s", block, parameter->name);
        const Tensor       *tensor = tensors_find(teacher->weights, name);
        if (!tensor) fail_msg("there is no %s", name);
        assert_int_equal(tensor->rank, parameter->rank);
        for (int d = 0; d < tensor->rank; d++) assert_int_equal(tensor->dim[d], parameter->dim[d]);
        net_write(net, i, tensor->values);
        free(name);
    }
}

static Teacher open_teacher(void)
{
    Teacher    teacher = {0};
    DeviceSpec spec;
    Error      err = {""};
    int        parameters = 0;

    ok(workload_read(&teacher.workload, "digits", &err), &err);
    ok(device_spec_parse(&spec, "cpu:1", &err), &err);
    ok(device_open(&teacher.device, &spec, 0, &err), &err);
    ok(tensors_read(&teacher.weights, teacher.workload->teacher_weights, &err), &err);
    teacher.boundary[0] =
        device_alloc(teacher.device, ROWS * (size_t)shape_count(teacher.workload->input));
    for (int b = 0; b < teacher.workload->block_count; b++) {
        const WorkBlock *block = &teacher.workload->block[b];
        ok(net_new(&teacher.net[b], teacher.device, &block->teacher, block->in, NET_FROZEN, &err),
           &err);
        ok(net_prepare(teacher.net[b], ROWS, &err), &err);
        load_block(&teacher, b);
        parameters += net_parameter_count(teacher.net[b]);
        teacher.boundary[b + 1] =
            device_alloc(teacher.device, ROWS * (size_t)shape_count(block->out));
    }
    assert_int_equal(parameters, tensors_count(teacher.weights));        /* nothing is left over */
    return teacher;
}

static void close_teacher(Teacher *teacher)
{
    for (int b = 0; b < teacher->workload->block_count; b++) net_free(teacher->net[b]);
    for (int b = 0; b <= teacher->workload->block_count; b++)
        device_release(teacher->device, teacher->boundary[b]);
    device_close(teacher->device);
    tensors_free(teacher->weights);
    workload_free(teacher->workload);
}

static int largest(const float *values)
{
    int at = 0;

    for (int c = 1; c < CLASSES; c++)
        if (values[c] > values[at]) at = c;
    return at;
}

/* How many of the ROWS samples from first on the teacher gets right. */
static int right_ones(Teacher *teacher, Data *data, int64_t first)
{
    int   label[ROWS], right = 0, blocks = teacher->workload->block_count;
    Error err = {""};

    for (int r = 0; r < ROWS; r++)
        ok(data_load(data, first + r, 0, 0, teacher->boundary[0] + r * 64, &label[r], &err), &err);
    for (int b = 0; b < blocks; b++)
        ok(net_forward(teacher->net[b], teacher->boundary[b], teacher->boundary[b + 1], ROWS, NULL,
                       &err),
           &err);
    for (int r = 0; r < ROWS; r++)
        right += largest(teacher->boundary[blocks] + r * CLASSES) == label[r];
    return right;
}

static void the_teacher_is_as_good_as_it_says(void **state)
{
    (void)state;
    Teacher teacher = open_teacher();
    Data   *data;
    Error   err = {""};
    int     right = 0;

    ok(data_open(&data, "digits", teacher.workload, DATA_VALIDATION, 0, &err), &err);
    assert_int_equal(data_count(data) % ROWS, 0);
    for (int64_t first = 0; first < data_count(data); first += ROWS)
        right += right_ones(&teacher, data, first);
    double accuracy = (double)right / (double)data_count(data);
    assert_true(accuracy >= 0.97);
    char *said = format_text("%.4f", accuracy);
    assert_string_equal(said, tensors_note(teacher.weights, "validation_accuracy"));
    free(said);
    data_free(data);
    close_teacher(&teacher);
}

/* The workload's own numbers are those of the training part. */
static void the_workload_knows_its_data(void **state)
{
    (void)state;
    Workload *workload;
    Data     *data;
    float     x[64];
    double    sum = 0, squares = 0;
    int       label;
    Error     err = {""};

    ok(workload_read(&workload, "digits", &err), &err);
    ok(data_open(&data, workload->data, workload, DATA_TRAIN, 0, &err), &err);
    assert_int_equal(data_count(data), workload->samples);
    for (int64_t i = 0; i < data_count(data); i++) {
        ok(data_load(data, i, 0, 0, x, &label, &err), &err);
        for (int j = 0; j < 64; j++) {
            sum += x[j];
            squares += (double)x[j] * x[j];
        }
    }
    double n = 64 * (double)data_count(data);
    assert_true(sum / n > -0.01 && sum / n < 0.01);
    assert_true(squares / n > 0.98 && squares / n < 1.02);
    data_free(data);
    workload_free(workload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_teacher_is_as_good_as_it_says),
        cmocka_unit_test(the_workload_knows_its_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
