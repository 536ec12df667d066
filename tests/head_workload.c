#include "tests/head_workload.h"

#include <stdio.h>
#include <string.h>

int head_workload(Workload **out, const char *loss, int tokens, int vocabulary, int width,
                  const char *student, Error *err)
{
    static const char format[] =
        "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"head\", "
        "\"input\": {\"tokens\": %d, \"vocabulary\": 30}, \"batch\": 8, \"samples\": 16, "
        "\"training\": {\"learning_rate\": 0.1, \"momentum\": 0, \"weight_decay\": 0}, "
        "\"data\": \"synthetic\", \"blocks\": ["
        "{\"name\": \"a\", \"loss\": \"mse\", "
        "\"teacher\": [{\"layer\": \"embedding\", \"vocabulary\": 30, \"out\": %d}], "
        "\"student\": [{\"layer\": \"embedding\", \"vocabulary\": 30, \"out\": %d}]}, "
        "{\"name\": \"b\", \"loss\": \"%s\", "
        "\"teacher\": [{\"layer\": \"layernorm\"}, {\"layer\": \"linear\", \"out\": %d}], "
        "\"student\": [%s{\"layer\": \"linear\", \"out\": %d}]}]}";
    char text[2048];
    int  length = snprintf(text, sizeof text, format, tokens, width, width, loss, vocabulary,
                           student, vocabulary);

    if (length >= (int)sizeof text) return error_set(err, "a student of too many layers");
    return workload_parse(out, "head", text, (size_t)length, err);
}
