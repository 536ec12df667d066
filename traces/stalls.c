#include "traces/stalls.h"

#include <math.h>

double stalls_probability(const TraceStalls *stalls, int i)
{
    return ldexp(1, -(i + 1 < stalls->count ? i + 1 : stalls->count - 1));
}

double stalls_mean_ns(const TraceStalls *stalls)
{
    double mean = 0;

    for (int i = 0; i < stalls->count; i++)
        mean += stalls_probability(stalls, i) * (double)stalls->ns[i];
    return mean;
}

double stalls_share(const TraceStalls *stalls)
{
    return stalls->per_ms * stalls_mean_ns(stalls) * 1e-6;
}

bool stalls_known(const TraceStalls *stalls) { return stalls->count > 0 || stalls->skew > 0; }

/* us[]: the classes. */
static int read_classes(TraceStalls *out, const JsonAt *at, int64_t max_ns, Error *err)
{
    if (json_get_array(at, 1, err) != 0) return -1;
    if (json_count(at) > TRACE_STALL_CLASSES)
        return json_fail(at, err, "%zu classes, expected at most %d", json_count(at),
                         TRACE_STALL_CLASSES);
    for (size_t i = 0; i < json_count(at); i++) {
        JsonAt item = json_element(at, i);
        if (json_get_us(&item, &out->ns[i], err) != 0) return -1;
        if (out->ns[i] > max_ns)
            return json_fail(&item, err,
                             "%g us is beyond 2^47 ns (39 hours), expected microseconds",
                             (double)out->ns[i] * 1e-3);
        if (out->ns[i] == 0) return json_fail(&item, err, "0, expected a length above 0");
        if (i > 0 && out->ns[i] < out->ns[i - 1])
            return json_fail(&item, err,
                             "%g is less than the one before (%g), expected the lengths "
                             "in ascending order",
                             (double)out->ns[i] * 1e-3, (double)out->ns[i - 1] * 1e-3);
        out->count++;
    }
    return 0;
}

/* "lasting", where it is there: skew is known. */
static int read_lasting(TraceStalls *out, const JsonAt *at, Error *err)
{
    JsonAt lasting = json_member(at, "lasting");

    if (!json_has(&lasting)) return 0;
    if (json_get_number(&lasting, 0, &out->lasting, err) != 0) return -1;
    if (out->lasting > 0 && out->lasting <= out->skew) return 0;
    return json_fail(&lasting, err, "%g, expected a part of \"skew\", above 0 and at most %g "
                     "(leave \"lasting\" out when nothing lasts)", out->lasting, out->skew);
}

/* "skew", where it is there. */
static int read_skew(TraceStalls *out, const JsonAt *at, Error *err)
{
    JsonAt skew = json_member(at, "skew");

    if (!json_has(&skew)) return 0;
    if (json_get_number(&skew, 0, &out->skew, err) != 0) return -1;
    if (out->skew > 0 && out->skew < 1) return 0;
    return json_fail(&skew, err, "%g, expected a share between 0 and 1 (leave \"skew\" out when "
                     "there is none)", out->skew);
}

int stalls_read(TraceStalls *out, const JsonAt *at, int64_t max_ns, Error *err)
{
    static const char *const keys[] = {"per_ms", "common", "us", "skew", "lasting", NULL};
    JsonAt rate = json_member(at, "per_ms"), common = json_member(at, "common"),
           us = json_member(at, "us");

    *out = (TraceStalls){0};
    if (json_check_keys(at, keys, err) != 0 || read_skew(out, at, err) != 0
        || read_lasting(out, at, err) != 0)
        return -1;
    if (out->skew > 0 && !json_has(&rate) && !json_has(&common) && !json_has(&us)) return 0;
    if (json_get_number(&rate, 0, &out->per_ms, err) != 0) return -1;
    if (out->per_ms == 0)
        return json_fail(&rate, err, "0, expected stalls a millisecond (leave \"stalls\" out when "
                         "there are none)");
    if (json_get_number(&common, 0, &out->common, err) != 0) return -1;
    if (out->common > 1)
        return json_fail(&common, err, "%g, expected a share, 0 to 1", out->common);
    if (read_classes(out, &us, max_ns, err) != 0) return -1;
    if (stalls_share(out) < 1) return 0;
    return json_fail(at, err,
                     "a device would be stalled for %.3g ms of every ms, expected less than 1",
                     stalls_share(out));
}

void stalls_write(const TraceStalls *stalls, Text *out)
{
    if (stalls->skew > 0) {
        text_append(out, "{ \"skew\": ");
        text_json_double(out, stalls->skew);
        if (stalls->lasting > 0) {
            text_append(out, ", \"lasting\": ");
            text_json_double(out, stalls->lasting);
        }
        text_append(out, stalls->count > 0 ? ", " : " }");
    } else {
        text_append(out, "{ ");
    }
    if (stalls->count == 0) return;
    text_append(out, "\"per_ms\": ");
    text_json_double(out, stalls->per_ms);
    text_append(out, ", \"common\": ");
    text_json_double(out, stalls->common);
    text_append(out, ", \"us\": [");
    for (int i = 0; i < stalls->count; i++) {
        if (i > 0) text_append(out, ", ");
        text_us(out, stalls->ns[i]);
    }
    text_append(out, "] }");
}
