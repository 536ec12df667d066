/* What was measured, kept between processes: a line each,
 *
 *     GPU and libraries <tab> key <tab> text <tab> bytes of workspace <tab> us <tab> algorithm
 *                                                                                   (hexadecimal)
 *
 * so that what is trained again, or goes on from a checkpoint, computes the same bits, and nothing
 * is measured twice. Lines of other GPUs or libraries are left alone, those that cannot be read are
 * passed over: it can always be deleted. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/cuda.h"

static char *path_of_file;               /* NULL: nothing is kept. Under the table's lock */
static char  own[160];                   /* GPU and libraries */

/* Six fields of a line, cut in place. */
static bool cut(char *line, char *field[6])
{
    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < 6; i++)
        if (!(field[i] = strsep(&line, "\t"))) return false;
    return line == NULL;
}

static bool read_bytes(void *out, size_t size, const char *hex)
{
    if (strlen(hex) != 2 * size) return false;
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) return false;
        ((unsigned char *)out)[i] = (unsigned char)byte;
    }
    return true;
}

static bool read_choice(Choice *out, char *line)
{
    char *field[6], *end;

    *out = (Choice){0};
    if (!cut(line, field) || strcmp(field[0], own) != 0) return false;
    if (snprintf(out->key, sizeof out->key, "%s", field[1]) >= (int)sizeof out->key) return false;
    if (snprintf(out->text, sizeof out->text, "%s", field[2]) >= (int)sizeof out->text)
        return false;
    out->workspace = strtoull(field[3], &end, 10);
    if (*end || end == field[3]) return false;
    out->us = strtod(field[4], &end);
    if (*end || end == field[4]) return false;
    return read_bytes(&out->algorithm, sizeof out->algorithm, field[5]);
}

int choices_version(const DeviceSpec *spec, Text *out, Error *err)
{
    struct cudaDeviceProp p;

    if (cuda_failed(cudaGetDeviceProperties(&p, spec->gpus[0]), "cuda", err) != 0) return -1;
    text_printf(out, "%.90s, cuDNN %zu, cuBLAS %zu", p.name, cudnnGetVersion(),
                cublasLtGetVersion());
    return text_failed(out) ? error_no_memory(err) : 0;
}

int choices_keep(const DeviceSpec *spec, const char *path, Error *err)
{
    Text   version = {0};
    FILE  *f = fopen(path, "r");
    char  *line = NULL;
    size_t room = 0;
    int    rc = 0;

    choices_lock();
    free(path_of_file);
    path_of_file = strdup(path);
    if (!path_of_file) rc = error_no_memory(err);
    if (rc == 0) rc = choices_version(spec, &version, err);
    if (rc == 0) snprintf(own, sizeof own, "%s", text_string(&version));
    text_free(&version);
    while (f && rc == 0 && getline(&line, &room, f) > 0) {
        Choice choice, known;
        if (read_choice(&choice, line) && !choice_find(&known, choice.key))
            rc = choice_enter(&choice, err);
    }
    choices_unlock();
    free(line);
    if (f) fclose(f);
    return rc;
}

/* One write a line, so that processes do not mix theirs. A file that cannot be written is done
 * without from then on; a line that is cut short is passed over by who reads it. */
void choices_file_add(const Choice *choice)
{
    const unsigned char *bytes = (const unsigned char *)&choice->algorithm;
    Text text = {0};
    int  fd = path_of_file ? open(path_of_file, O_WRONLY | O_APPEND | O_CREAT, 0666) : -1;

    if (fd < 0) return;
    text_printf(&text, "%s\t%s\t%s\t%zu\t%.3f\t", own, choice->key, choice->text, choice->workspace,
                choice->us);
    for (size_t i = 0; i < sizeof choice->algorithm; i++) text_printf(&text, "%02x", bytes[i]);
    text_append(&text, "\n");
    if (text_failed(&text) || write(fd, text_string(&text), text.length) < 0) {
        free(path_of_file);
        path_of_file = NULL;
    }
    close(fd);
    text_free(&text);
}
