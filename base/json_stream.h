/* JSON, a token at a time, in memory that does not grow with the file: for imports of files of a
 * gigabyte, which base/json.h would hold whole.
 *
 * Neither jansson nor json-c reads without making a tree; YAJL does, but had its last release in
 * 2014.
 *
 *     { "a" : [ 1 , "x" ] }   is   OBJECT  KEY a  ARRAY  NUMBER 1  STRING x  ARRAY_END
 *                                  OBJECT_END  END
 *
 * As RFC 8259 has it, with at most JSON_STREAM_DEPTH values in each other. Two things are not
 * checked: whether a name is there twice, and whether strings are UTF-8 (programs write names of
 * kernels as compilers give them). */
#ifndef BASE_JSON_STREAM_H
#define BASE_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/byte_stream.h"
#include "base/error.h"

enum { JSON_STREAM_DEPTH = 2048, JSON_STREAM_TOKEN = 1 << 20 };     /* bytes of the longest token */

typedef enum {
    TOKEN_OBJECT,
    TOKEN_OBJECT_END,
    TOKEN_ARRAY,
    TOKEN_ARRAY_END,
    TOKEN_KEY,
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NULL,
    TOKEN_END
} TokenType;

typedef struct {
    TokenType   type;
    const char *text;            /* of keys and strings, escapes undone, and numbers;
                                  * NUL-terminated, borrowed until the next call. "" of others */
    size_t      length;          /* a string may hold NULs */
} Token;

typedef struct JsonStream JsonStream;

/* Borrows bytes. json_stream_close() *out. */
int  json_stream_open(JsonStream **out, ByteStream *bytes, Error *err);
void json_stream_close(JsonStream *stream);

/* Errors carry path:line:column. After TOKEN_END, which follows the one value, there is only
 * itself. */
int json_stream_next(JsonStream *stream, Token *out, Error *err);

/* Passes over the rest of the value that token begins, if it begins one. Strings in it may be of
 * any length. */
int json_stream_skip(JsonStream *stream, const Token *token, Error *err);

/* "path:line:column: message" at the last token. Returns -1. */
int json_stream_fail(const JsonStream *stream, Error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
