#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cuts text so that it does not end inside a UTF-8 character. */
static void trim_partial_character(char *text)
{
    size_t end = strlen(text);
    size_t start = end;

    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return;

    unsigned char lead = (unsigned char)text[start - 1];
    size_t        need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (end - (start - 1) < need) text[start - 1] = '\0';
}

int error_set(Error *err, const char *format, ...)
{
    va_list args;

    if (!err) return -1;
    va_start(args, format);
    int length = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (length >= (int)sizeof err->text) trim_partial_character(err->text);
    return -1;
}

static const char no_memory[] = "out of memory";

int error_no_memory(Error *err)
{
    return error_set(err, "%s", no_memory);
}

bool error_is_no_memory(const Error *err)
{
    return strcmp(err->text, no_memory) == 0;
}

int error_prefix(Error *err, const char *format, ...)
{
    char    prefix[ERROR_MAX_TEXT];
    char    old[ERROR_MAX_TEXT];
    va_list args;

    if (!err) return -1;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(old, err->text, sizeof old);
    return error_set(err, "%s: %s", prefix, old);
}
