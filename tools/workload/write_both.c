/* A workload and its students' weights, in two files that belong together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tools/workload/workload.h"

/* The teacher's weights as the new file names them: beside it by their name, else by their whole
 * path. Yours. */
static char *weights_name(const char *weights, const char *base)
{
    size_t length = file_folder_length(weights);

    if (length == file_folder_length(base) && strncmp(weights, base, length) == 0)
        return strdup(weights + length);
    return realpath(weights, NULL);
}

int workload_check_base(const char *base, const char *const *files, int count, Error *err)
{
    static const char *const ends[] = {".json", ".safetensors"};
    int rc = 0;

    for (int i = 0; rc == 0 && i < 2 * count; i++) {
        Text path = {0};
        text_printf(&path, "%s%s", base, ends[i % 2]);
        if (text_failed(&path)) rc = error_no_memory(err);
        else if (files[i / 2] && file_same(text_string(&path), files[i / 2]))
            rc = error_set(err, "-o %s: %s is read, expected another name", base,
                           text_string(&path));
        text_free(&path);
    }
    return rc;
}

int workload_write_both(const Workload *w, const Tensors *students, const char *base, Error *err)
{
    Text      json = {0}, path = {0}, weights = {0};
    Workload *again = NULL;              /* what is written is read back first */
    char     *teacher = w->teacher_weights ? weights_name(w->teacher_weights, base) : NULL;
    int       why = errno, rc = -1;
    char     *data = workload_data_for(w, base);

    text_printf(&path, "%s.json", base);
    text_printf(&weights, "%s.safetensors", base);
    workload_write(w, teacher, data, &json);
    if (w->teacher_weights && !teacher && why != ENOMEM) {
        error_set(err, "%s: %s", w->teacher_weights, strerror(why));
        goto done;
    }
    if ((w->teacher_weights && !teacher) || (w->data && !data) || text_failed(&json)
        || text_failed(&path) || text_failed(&weights)) {
        error_no_memory(err);
        goto done;
    }
    if (workload_parse(&again, text_string(&path), text_string(&json), json.length, err) != 0)
        goto done;
    if (tensors_write(students, text_string(&weights), err) != 0) goto done;
    rc = file_write(text_string(&path), text_string(&json), json.length, err);
done:
    workload_free(again);
    free(teacher);
    free(data);
    text_free(&json);
    text_free(&path);
    text_free(&weights);
    return rc;
}
