/* Invariants: buffer[at..filled) is what is read and not yet taken; newlines stand between tokens
 * only, so the line and where it began are kept there; open[d] says whether level d is an
 * object. */
#include "base/json_stream.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { BUFFER = 256 * 1024, END_OF_FILE = -1 };

typedef enum {
    WANT_VALUE,
    WANT_FIRST_ELEMENT,
    WANT_FIRST_KEY,
    WANT_KEY,
    WANT_COLON,
    WANT_MORE,
    WANT_END
} Want;

struct JsonStream {
    ByteStream *bytes;           /* borrowed */
    size_t      at, filled;
    int64_t     before;          /* bytes of the file before buffer */
    int         line;
    int64_t     line_start;      /* its offset, plus the bytes of it that continue a character */
    int         token_line;
    int64_t     token_column;
    Want        want;
    int         depth;
    bool        skipping;        /* texts are not kept */
    Text        text;
    bool        open[JSON_STREAM_DEPTH];
    char        buffer[BUFFER];
};

int json_stream_open(JsonStream **out, ByteStream *bytes, Error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return error_no_memory(err);
    (*out)->bytes = bytes;
    (*out)->line = 1;
    return 0;
}

void json_stream_close(JsonStream *s)
{
    if (s) text_free(&s->text);
    free(s);
}

int json_stream_fail(const JsonStream *s, Error *err, const char *format, ...)
{
    char    message[ERROR_MAX_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return error_set(err, "%s:%d:%lld: %s", byte_stream_name(s->bytes), s->token_line,
                     (long long)s->token_column, message);
}

/* ---- bytes ----------------------------------------------------------------------------- */

static int refill(JsonStream *s, Error *err)
{
    s->before += (int64_t)s->filled;
    s->at = s->filled = 0;
    return byte_stream_read(s->bytes, s->buffer, BUFFER, &s->filled, err);
}

/* The next byte, which stays, or END_OF_FILE. -1 on an error. */
static int peek(JsonStream *s, int *out, Error *err)
{
    if (s->at == s->filled && refill(s, err) != 0) return -1;
    *out = s->filled ? (unsigned char)s->buffer[s->at] : END_OF_FILE;
    return 0;
}

static void mark_token(JsonStream *s)
{
    s->token_line = s->line;
    s->token_column = s->before + (int64_t)s->at - s->line_start + 1;
}

static int skip_space(JsonStream *s, int *out, Error *err)
{
    for (;;) {
        if (peek(s, out, err) != 0) return -1;
        if (*out == '\n') {
            s->line++;
            s->line_start = s->before + (int64_t)s->at + 1;
        } else if (*out != ' ' && *out != '\t' && *out != '\r') break;
        s->at++;
    }
    mark_token(s);
    return 0;
}

static int expected(JsonStream *s, int byte, const char *what, Error *err)
{
    mark_token(s);
    if (byte == END_OF_FILE)
        return json_stream_fail(s, err, "the file ends here, expected %s", what);
    if (byte < 0x20 || byte > 0x7E)
        return json_stream_fail(s, err, "byte 0x%02x, expected %s", (unsigned)byte, what);
    return json_stream_fail(s, err, "'%c', expected %s", byte, what);
}

/* Keeps bytes of a token's text, unless it is passed over. */
static int keep(JsonStream *s, const char *bytes, size_t length, Error *err)
{
    if (s->skipping) return 0;
    if (s->text.length + length > JSON_STREAM_TOKEN)
        return json_stream_fail(s, err, "a value of more than %d bytes, expected a shorter one",
                                JSON_STREAM_TOKEN);
    text_append_bytes(&s->text, bytes, length);
    return text_failed(&s->text) ? error_no_memory(err) : 0;
}

/* ---- strings ------------------------------------------------------------------------------ */

/* Four hexadecimal digits. */
static int read_hex(JsonStream *s, unsigned *out, Error *err)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        int byte;
        if (peek(s, &byte, err) != 0) return -1;
        int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
        if (digit < 0) return expected(s, byte, "four hexadecimal digits", err);
        *out = *out * 16 + (unsigned)digit;
        s->at++;
    }
    return 0;
}

static int keep_character(JsonStream *s, unsigned code, Error *err)
{
    char bytes[4];
    int  length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    if (length == 1) bytes[0] = (char)code;
    else {
        static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
        for (int i = length - 1; i > 0; i--, code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3F));
        bytes[0] = (char)(lead[length] | code);
    }
    return keep(s, bytes, (size_t)length, err);
}

/* Behind \u. Half a pair becomes U+FFFD, as a string that was cut between the two has one. */
static int read_code(JsonStream *s, Error *err)
{
    unsigned code, low;
    int      byte;

    if (read_hex(s, &code, err) != 0) return -1;
    if (code >= 0xD800 && code < 0xDC00) {
        if (peek(s, &byte, err) != 0) return -1;
        if (byte != '\\') return keep_character(s, 0xFFFD, err);
        s->at++;
        if (peek(s, &byte, err) != 0) return -1;
        if (byte != 'u') return expected(s, byte, "\\u, the second half of a character", err);
        s->at++;
        if (read_hex(s, &low, err) != 0) return -1;
        code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                                             : 0xFFFD;
    }
    return keep_character(s, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code, err);
}

static int read_escape(JsonStream *s, Error *err)
{
    static const char written[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    int               byte;

    if (peek(s, &byte, err) != 0) return -1;
    if (byte == 'u') {
        s->at++;
        return read_code(s, err);
    }
    const char *found = byte > 0 ? strchr(written, byte) : NULL;
    if (!found) return expected(s, byte, "one of \" \\ / b f n r t u behind a backslash", err);
    s->at++;
    return keep(s, &meant[found - written], 1, err);
}

/* Behind the opening quote, to behind the closing one. */
static int read_string(JsonStream *s, Error *err)
{
    for (;;) {
        int byte;
        if (peek(s, &byte, err) != 0) return -1;
        size_t start = s->at;
        while (s->at < s->filled) {
            byte = (unsigned char)s->buffer[s->at];
            if (byte == '"' || byte == '\\' || byte < 0x20) break;
            s->line_start += (byte & 0xC0) == 0x80;
            s->at++;
        }
        if (s->at > start && keep(s, s->buffer + start, s->at - start, err) != 0) return -1;
        if (s->at == s->filled && s->filled > 0) continue;
        if (byte != '"' && byte != '\\') return expected(s, byte, "the string's end, a quote", err);
        s->at++;
        if (byte == '"') return 0;
        if (read_escape(s, err) != 0) return -1;
    }
}

/* ---- numbers and words --------------------------------------------------------------------- */

static bool in_number(int byte)
{
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.' || byte == 'e'
           || byte == 'E';
}

static const char *digits(const char *at)
{
    while (*at >= '0' && *at <= '9') at++;
    return at;
}

/* Whether text is a number as RFC 8259 has it. */
static bool is_number(const char *at)
{
    const char *start = at += *at == '-';

    at = digits(at);
    if (at == start || (*start == '0' && at > start + 1)) return false;
    if (*at == '.') {
        start = at + 1;
        at = digits(start);
        if (at == start) return false;
    }
    if (*at == 'e' || *at == 'E') {
        start = at + 1;
        if (*start == '+' || *start == '-') start++;
        at = digits(start);
        if (at == start) return false;
    }
    return *at == '\0';
}

/* Checked also where it is passed over: up to 64 bytes, and no number of a profile has more. */
static int read_number(JsonStream *s, Error *err)
{
    char   copy[65];
    size_t length = 0;
    int    byte;

    for (;;) {
        if (peek(s, &byte, err) != 0) return -1;
        if (!in_number(byte)) break;
        if (length == sizeof copy - 1)
            return json_stream_fail(s, err, "a number of more than 64 bytes, expected fewer");
        copy[length++] = (char)byte;
        s->at++;
    }
    copy[length] = '\0';
    if (!is_number(copy)) return json_stream_fail(s, err, "\"%s\", expected a number", copy);
    return keep(s, copy, length, err);
}

static int read_literal(JsonStream *s, const char *literal, Error *err)
{
    for (const char *c = literal; *c; c++) {
        int byte;
        if (peek(s, &byte, err) != 0) return -1;
        if (byte != *c) return expected(s, byte, literal, err);
        s->at++;
    }
    return 0;
}

/* ---- structure ------------------------------------------------------------------------------ */

static int enter(JsonStream *s, bool object, Error *err)
{
    if (s->depth == JSON_STREAM_DEPTH)
        return json_stream_fail(s, err, "more than %d values in each other, expected fewer",
                                JSON_STREAM_DEPTH);
    s->open[s->depth++] = object;
    s->want = object ? WANT_FIRST_KEY : WANT_FIRST_ELEMENT;
    s->at++;
    return 0;
}

static void after_value(JsonStream *s) { s->want = s->depth ? WANT_MORE : WANT_END; }

static int leave(JsonStream *s, Token *out)
{
    out->type = s->open[--s->depth] ? TOKEN_OBJECT_END : TOKEN_ARRAY_END;
    s->at++;
    after_value(s);
    return 0;
}

static int read_value(JsonStream *s, int byte, Token *out, Error *err)
{
    if (byte == '{' || byte == '[') {
        out->type = byte == '{' ? TOKEN_OBJECT : TOKEN_ARRAY;
        return enter(s, byte == '{', err);
    }
    after_value(s);
    if (byte == '"') {
        s->at++;
        out->type = TOKEN_STRING;
        return read_string(s, err);
    }
    if (byte == '-' || (byte >= '0' && byte <= '9')) {
        out->type = TOKEN_NUMBER;
        return read_number(s, err);
    }
    out->type = byte == 't' ? TOKEN_TRUE : byte == 'f' ? TOKEN_FALSE : TOKEN_NULL;
    if (byte == 't' || byte == 'f' || byte == 'n')
        return read_literal(s, byte == 't' ? "true" : byte == 'f' ? "false" : "null", err);
    return expected(s, byte, "a value", err);
}

static int read_key(JsonStream *s, int byte, Token *out, Error *err)
{
    if (byte != '"')
        return expected(s, byte, s->want == WANT_KEY ? "a name in quotes" : "a name in quotes or }",
                        err);
    s->at++;
    out->type = TOKEN_KEY;
    s->want = WANT_COLON;
    return read_string(s, err);
}

/* Over what separates tokens, to the next one; *byte is its first. */
static int find_token(JsonStream *s, int *byte, Error *err)
{
    if (skip_space(s, byte, err) != 0) return -1;
    if (s->want == WANT_COLON) {
        if (*byte != ':') return expected(s, *byte, "a colon", err);
        s->want = WANT_VALUE;
    } else if (s->want == WANT_MORE && *byte == ',') {
        s->want = s->open[s->depth - 1] ? WANT_KEY : WANT_VALUE;
    } else return 0;
    s->at++;
    return skip_space(s, byte, err);
}

static int next(JsonStream *s, Token *out, Error *err)
{
    int byte;

    if (find_token(s, &byte, err) != 0) return -1;
    bool closes = s->depth > 0 && byte == (s->open[s->depth - 1] ? '}' : ']');
    switch (s->want) {
    case WANT_FIRST_KEY: return closes ? leave(s, out) : read_key(s, byte, out, err);
    case WANT_KEY:       return read_key(s, byte, out, err);
    case WANT_FIRST_ELEMENT: return closes ? leave(s, out) : read_value(s, byte, out, err);
    case WANT_MORE:
        if (closes) return leave(s, out);
        return expected(s, byte, s->open[s->depth - 1] ? "a comma or }" : "a comma or ]", err);
    case WANT_END:
        out->type = TOKEN_END;
        return byte == END_OF_FILE ? 0 : expected(s, byte, "the end of the file", err);
    default: return read_value(s, byte, out, err);
    }
}

int json_stream_next(JsonStream *s, Token *out, Error *err)
{
    s->text.length = 0;
    if (s->text.bytes) s->text.bytes[0] = '\0';
    if (next(s, out, err) != 0) return -1;
    out->text = text_string(&s->text);
    out->length = s->text.length;
    return 0;
}

int json_stream_skip(JsonStream *s, const Token *token, Error *err)
{
    int   depth = s->depth, rc = 0;
    Token inner;

    s->skipping = true;
    if (token->type == TOKEN_KEY) rc = json_stream_next(s, &inner, err);
    else if (token->type == TOKEN_OBJECT || token->type == TOKEN_ARRAY) depth--;
    while (rc == 0 && s->depth > depth) rc = json_stream_next(s, &inner, err);
    s->skipping = false;
    return rc;
}
