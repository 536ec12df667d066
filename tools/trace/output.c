#include "tools/trace/output.h"

#include <string.h>

#include "base/file.h"

int trace_output(const Trace *trace, const char *path, const char *made, Error *err)
{
    Text text = {0}, words = {0};
    int  rc = -1;

    trace_text(trace, &text);
    text_printf(&words, "%s: %s, %d blocks, %d devices\n%s\n", path, made, trace->block_count,
                trace_device_count(trace), trace->notes);
    if (text_failed(&text) || text_failed(&words)) { error_no_memory(err); goto done; }
    if (file_write(path, text_string(&text), text.length, err) != 0) goto done;
    rc = strcmp(path, "-") == 0 ? 0 : file_write("-", text_string(&words), words.length, err);
done:
    text_free(&text);
    text_free(&words);
    return rc;
}
