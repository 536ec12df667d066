/* What a JSON text holds, as a tree of values, and two readers that make the same one:
 *
 *     json_read_own()       this project's own, always there
 *     json_read_jansson()   jansson, where the build found it (HAVE_JANSSON)
 *
 * They accept and refuse the same texts, with the same values, positions and words;
 * tests/test_json_tree.c and tests/fuzz_json.c hold them to that. base/json.c reads with
 * jansson where it is there: a build without it reads the same files.
 *
 * Refused are: bytes that are not UTF-8, bytes of 0, duplicate names, a root that is no object or
 * array, bytes after the root, \u0000, integers beyond 64 bits, reals beyond a double,
 * more than JSON_MAX_DEPTH values in each other, and all else that RFC 8259 does not allow. */
#ifndef BASE_JSON_TREE_H
#define BASE_JSON_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum { JSON_MAX_DEPTH = 2048 };

typedef enum { JSON_IS_OBJECT, JSON_IS_ARRAY, JSON_IS_STRING, JSON_IS_INTEGER, JSON_IS_REAL,
               JSON_IS_TRUE, JSON_IS_FALSE, JSON_IS_NULL } JsonKind;

/* A value. Everything it points to belongs to its tree. */
typedef struct JsonNode {
    JsonKind    kind;
    const char *name;                     /* in its object; NULL elsewhere */
    size_t      count;                    /* of an object's or array's children, else 0 */
    union {
        const struct JsonNode *children;  /* [count], in the order of the text */
        const char            *string;    /* UTF-8 without NUL inside */
        int64_t                integer;
        double                 real;
    };
    uint32_t   *slots;                    /* objects of many members: see json_tree.c */
    size_t      slot_count;
} JsonNode;

typedef struct {
    Arena     arena;
    JsonNode *root;
} JsonTree;

typedef enum { JSON_FAULT_NO_MEMORY, JSON_FAULT_SYNTAX, JSON_FAULT_UTF_8, JSON_FAULT_NUL } JsonFaultKind;

/* Why a text was refused, and where: the last character that was looked at. */
typedef struct {
    JsonFaultKind kind;
    int           line, column;           /* column 0: before a line's first character */
    char          text[160];              /* jansson's words, also of the reader of our own */
} JsonFault;

/* text is followed by a NUL that length does not count. 0, and *out is yours:
 * json_tree_free() it; else -1, *out is empty and fault says why. */
typedef int JsonRead(JsonTree *out, const char *text, size_t length, JsonFault *fault);

JsonRead json_read_own;
#ifdef HAVE_JANSSON
JsonRead json_read_jansson;
#endif

void json_tree_free(JsonTree *tree);

/* The member of that name; NULL when object has none or is none. */
const JsonNode *json_node_member(const JsonNode *object, const char *name);

/* Takes the child behind the last one into the object: its name is set, and is none of the
 * others'. Between calls children may move. -1 without memory. */
int json_node_add(JsonNode *object, Arena *arena);

/* What stands between the quotes of a string that a reader has accepted, without escapes.
 * quoted is its first quote; out has room for as many bytes as there are up to the last.
 * Returns the bytes written before the NUL, which may contain others, from \u0000. */
size_t json_unescape(char *out, const char *quoted);

#endif
