#include "tools/describe.h"

#include <stddef.h>

#include "base/file.h"
#include "workloads/workload.h"

const char *const describe_formats[] = {"table", "json", NULL};

int describe_print(const char *path, int format, Error *err)
{
    Workload *workload = NULL;
    Text      text = {0};
    int       rc = -1;

    if (workload_read(&workload, path, err) != 0) goto done;
    if (format == 0) workload_describe(workload, &text);
    else             workload_describe_json(workload, &text);
    if (text_failed(&text)) { error_no_memory(err); goto done; }
    rc = file_write("-", text_string(&text), text.length, err);
done:
    text_free(&text);
    workload_free(workload);
    return rc;
}
