#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for extra more bytes and the NUL. */
static bool reserve(Text *text, size_t extra)
{
    size_t capacity = text->capacity ? text->capacity : 256;

    if (text->failed) return false;
    if (extra > SIZE_MAX / 4 - text->length) { text->failed = true; return false; }
    while (capacity < text->length + extra + 1) capacity *= 2;
    if (capacity != text->capacity) {
        char *bytes = realloc(text->bytes, capacity);
        if (!bytes) { text->failed = true; return false; }
        text->bytes = bytes;
        text->capacity = capacity;
    }
    return true;
}

void text_append_bytes(Text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length)) return;
    if (length > 0) memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_append(Text *text, const char *string)
{
    text_append_bytes(text, string, strlen(string));
}

void text_printf(Text *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) { text->failed = true; return; }
    if (!reserve(text, (size_t)length)) return;

    va_start(args, format);
    vsnprintf(text->bytes + text->length, (size_t)length + 1, format, args);
    va_end(args);
    text->length += (size_t)length;
}

void text_json_string(Text *text, const char *string)
{
    text_append(text, "\"");
    for (const char *c = string; *c; c++) {
        switch (*c) {
        case '"':  text_append(text, "\\\""); break;
        case '\\': text_append(text, "\\\\"); break;
        case '\n': text_append(text, "\\n"); break;
        case '\t': text_append(text, "\\t"); break;
        case '\r': text_append(text, "\\r"); break;
        default:
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                text_printf(text, "\\u%04x", (unsigned)(unsigned char)*c);
            else
                text_append_bytes(text, c, 1);
        }
    }
    text_append(text, "\"");
}

void text_shell_word(Text *text, const char *string)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%^";

    if (*string && strspn(string, plain) == strlen(string)) { text_append(text, string); return; }
    text_append(text, "'");
    for (const char *c = string; *c; c++) {
        if (*c == '\'') text_append(text, "'\\''");
        else            text_append_bytes(text, c, 1);
    }
    text_append(text, "'");
}

void text_json_double(Text *text, double value)
{
    char buffer[40];

    assert(isfinite(value));
    if (value == trunc(value) && fabs(value) < 1e15) {      /* 45000, not 4.5e+04 */
        text_printf(text, "%.0f", value);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buffer, sizeof buffer, "%.*g", digits, value);
        if (strtod(buffer, NULL) == value) break;
    }
    text_append(text, buffer);
}

const char *number_scan(const char *text, double *out)
{
    char *end;

    errno = 0;
    double value = strtod(text, &end);
    if (end == text || errno == ERANGE) return NULL;
    if (strspn(text, "+-.0123456789eE") < (size_t)(end - text)) return NULL;
    *out = value;
    return end;
}

bool number_parse(const char *text, double *out)
{
    double      value;
    const char *end = number_scan(text, &value);

    if (!end || *end) return false;
    *out = value;
    return true;
}

void text_us(Text *text, int64_t ns)
{
    char     fraction[8];
    uint64_t size = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;      /* INT64_MIN has no negative */

    text_printf(text, "%s%" PRIu64, ns < 0 ? "-" : "", size / 1000);
    if (size % 1000 == 0) return;
    snprintf(fraction, sizeof fraction, ".%03d", (int)(size % 1000));
    for (size_t end = strlen(fraction); fraction[end - 1] == '0'; end--) fraction[end - 1] = '\0';
    text_append(text, fraction);
}

/* Bytes of the character that begins at c; 0: none does (RFC 3629). */
static size_t utf8_length(const unsigned char *c)
{
    size_t   length = c[0] < 0x80   ? 1
                      : c[0] < 0xC2 ? 0
                      : c[0] < 0xE0 ? 2
                      : c[0] < 0xF0 ? 3
                      : c[0] < 0xF5 ? 4
                                    : 0;
    unsigned value;

    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xC0) != 0x80) return 0;
    if (length < 3) return length;
    value = length == 3
                ? (c[0] & 0xFu) << 12 | (c[1] & 0x3Fu) << 6 | (c[2] & 0x3Fu)
                : (c[0] & 7u) << 18 | (c[1] & 0x3Fu) << 12 | (c[2] & 0x3Fu) << 6 | (c[3] & 0x3Fu);
    if (value < (length == 3 ? 0x800u : 0x10000u) || value > 0x10FFFF
        || (value >= 0xD800 && value < 0xE000))
        return 0;
    return length;
}

void text_utf8(Text *text, const char *string)
{
    for (size_t length; *string; string += length ? length : 1) {
        length = utf8_length((const unsigned char *)string);
        if (length) text_append_bytes(text, string, length);
        else        text_append(text, "\xEF\xBF\xBD");
    }
}

static void shell_word(Text *text, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%^";
    Text              clean = {0};

    text_utf8(&clean, word);
    if (*word && strspn(word, plain) == strlen(word)) {
        text_append(text, word);
    } else {
        text_append(text, "'");
        for (const char *c = text_string(&clean); *c; c++)
            text_append_bytes(text, *c == '\'' ? "'\\''" : c, *c == '\'' ? 4 : 1);
        text_append(text, "'");
    }
    text->failed |= clean.failed;
    text_free(&clean);
}

void text_command(Text *text, int argc, char *const *argv)
{
    for (int i = 0; i < argc; i++) {
        const char *slash = i ? NULL : strrchr(argv[0], '/');
        if (i) text_append(text, " ");
        shell_word(text, slash ? slash + 1 : argv[i]);
    }
}

size_t text_columns(const char *utf8, size_t length)
{
    size_t columns = 0;

    for (size_t i = 0; i < length; i++) columns += ((unsigned char)utf8[i] & 0xC0) != 0x80;
    return columns;
}

void text_pad(Text *text, size_t column)
{
    size_t line = text->length;

    while (line > 0 && text->bytes[line - 1] != '\n') line--;
    size_t width = text->length > line ? text_columns(text->bytes + line, text->length - line) : 0;
    for (; width < column && !text->failed; width++) text_append(text, " ");
}

const char *text_string(const Text *text)
{
    return text->bytes ? text->bytes : "";
}

bool text_failed(const Text *text)
{
    return text->failed;
}

void text_free(Text *text)
{
    free(text->bytes);
    *text = (Text){0};
}
