#include "tests/net_checks.h"

Device *open_one(void)
{
    DeviceSpec spec;
    Device    *device;
    Error      err = {""};

    if (device_spec_parse(&spec, "cpu:1", &err) != 0 || device_open(&device, &spec, 0, &err) != 0)
        fail_msg("%s", err.text);
    return device;
}

void compare_values(const char *what, const float *found, const double *truth, int64_t count,
                    double tolerance)
{
    double most = 1.0;       /* what cancels in a gradient is of that size */

    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(truth[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(found[i] - truth[i]) <= tolerance * most))
            fail_msg("%s: element %lld of %lld is %.9g, expected %.9g (largest %.3g)", what,
                     (long long)i, (long long)count, found[i], truth[i], most);
}

void compare_gradients(Net *net, Slow *slow, const char *what)
{
    gradients_to_state(net);
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *g = malloc((size_t)p->count * sizeof *g);
        char               *name = format_text("%s: gradient of %s", what, p->name);

        if (p->trained) net_read_state(net, i, g);
        if (p->trained && slow->gradient[i])
            compare_values(name, g, slow->gradient[i], p->count, TOLERANCE);
        else if (p->trained)
            for (int64_t k = 0; k < p->count; k++) assert_float_equal(g[k], UNREACHED, 0.0f);
        free(name);
        free(g);
    }
}

void compare_statistics(Net *net, Slow *slow, const char *what)
{
    for (int i = 0; i < net_parameter_count(net); i++) {
        const NetParameter *p = net_parameter(net, i);
        float              *v = malloc((size_t)p->count * sizeof *v);

        net_read(net, i, v);
        if (!p->trained) compare_values(what, v, slow->value[i], p->count, TOLERANCE);
        free(v);
    }
}
