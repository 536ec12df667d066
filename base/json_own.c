/* json_read_own(): a scanner of tokens and a recursive descent over them. Where jansson
 * would say something, it says the same, at the same place.
 *
 * Bytes that are no UTF-8 are looked for first: the text then ends there for the scanner,
 * and to look at that end is the fault. Children are collected on one stack and move into
 * the arena when their object or array closes. */
#include "base/json_tree.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END (-1)

enum { TOKEN_END = 'E', TOKEN_BAD = '?', TOKEN_VALUE = 'v', TOKEN_STRING = 's' };    /* or one of {}[],: */

enum { NEAR_BYTES = 20 };               /* longer tokens are not shown */

typedef struct {
    const char *text, *at, *end;        /* end: or where UTF-8 ends */
    bool        broken;                 /* the latter */
    const char *start;                  /* of the token */
    int         token;
    JsonNode    value;                  /* of TOKEN_VALUE and TOKEN_STRING */
    size_t      string_bytes;
    int         depth;
    JsonNode   *stack;                  /* children of what is open */
    size_t      used, room;
    locale_t    plain;                  /* "C", where a point is a point */
    Arena      *arena;
    JsonFault  *fault;
    bool        failed;
} JsonReader;

/* ---- faults ------------------------------------------------------------------- */

/* Notes the fault and where; the first one stays. Returns -1. */
static int fail(JsonReader *r, JsonFaultKind kind, const char *what)
{
    int         seen = (int)(r->at - r->start < NEAR_BYTES + 1 ? r->at - r->start : NEAR_BYTES + 1);
    const char *near = seen > 0 && *r->start ? r->start : NULL;

    if (r->failed) return -1;
    r->failed = true;
    *r->fault = (JsonFault){.kind = kind, .line = 1};
    for (const char *c = r->text; c < r->at; c++) {
        if (*c == '\n') { r->fault->line++; r->fault->column = 0; }
        else if (((unsigned char)*c & 0xC0) != 0x80) r->fault->column++;
    }
    if (near && seen <= NEAR_BYTES)
        snprintf(r->fault->text, sizeof r->fault->text, "%s near '%.*s'", what, seen, near);
    else if (near || kind == JSON_FAULT_UTF_8)
        snprintf(r->fault->text, sizeof r->fault->text, "%s", what);
    else
        snprintf(r->fault->text, sizeof r->fault->text, "%s near end of file", what);
    return -1;
}

static int syntax(JsonReader *r, const char *what) { return fail(r, JSON_FAULT_SYNTAX, what); }

static int no_memory(JsonReader *r)
{
    if (!r->failed) *r->fault = (JsonFault){.kind = JSON_FAULT_NO_MEMORY};
    r->failed = true;
    return -1;
}

/* ---- characters ----------------------------------------------------------------- */

/* How many bytes the UTF-8 character at c has; 0: it is none. */
static size_t character_bytes(const char *c, const char *end)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};      /* shorter forms are refused */
    unsigned char first = (unsigned char)*c;
    size_t        count = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    uint32_t      code = first & (0x7Fu >> count);

    if (count <= 1) return count;
    if ((size_t)(end - c) < count) return 0;
    for (size_t i = 1; i < count; i++) {
        if (((unsigned char)c[i] & 0xC0) != 0x80) return 0;
        code = code << 6 | ((unsigned char)c[i] & 0x3F);
    }
    bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code < least[count] || code > 0x10FFFF || surrogate ? 0 : count;
}

/* The first byte that is no UTF-8, or end. */
static const char *utf_8_end(const char *c, const char *end)
{
    size_t bytes = 1;

    while (c < end && bytes > 0) {
        bytes = character_bytes(c, end);
        c += bytes;
    }
    return c;
}

/* The byte that comes next; END at the end. */
static int peek(JsonReader *r)
{
    char what[32];

    if (r->at < r->end) return (unsigned char)*r->at;
    if (!r->broken) return END;
    snprintf(what, sizeof what, "unable to decode byte 0x%x", (unsigned char)*r->at);
    fail(r, JSON_FAULT_UTF_8, what);
    return END;
}

static bool is_digit(int c)  { return c >= '0' && c <= '9'; }
static bool is_letter(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_hex(int c)    { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/* ---- strings ---------------------------------------------------------------------- */

static uint32_t hex_4(const char *c)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 4 | (uint32_t)(is_digit(c[i]) ? c[i] - '0' : (c[i] | 0x20) - 'a' + 10);
    return value;
}

/* Past the escape at r->at, which is behind its backslash. */
static int scan_escape(JsonReader *r)
{
    int  c = peek(r);
    bool hex = c == 'u';

    if (c == END) return syntax(r, "invalid escape");
    r->at++;
    if (!hex) return c && strchr("\"\\/bfnrt", c) ? 0 : syntax(r, "invalid escape");
    for (int i = 0; i < 4; i++) {
        c = peek(r);
        if (c != END) r->at++;
        if (!is_hex(c)) return syntax(r, "invalid escape");
    }
    return 0;
}

/* \uD800 to \uDFFF stand in pairs, high before low. */
static int check_surrogates(JsonReader *r)
{
    char what[48];

    for (const char *c = r->start + 1; c < r->at - 1; c++) {
        if (*c != '\\') continue;
        if (*++c != 'u') continue;
        uint32_t high = hex_4(c + 1), low;
        c += 4;
        if (high < 0xD800 || high > 0xDFFF) continue;
        snprintf(what, sizeof what, "invalid Unicode '\\u%04X'", high);
        if (high >= 0xDC00 || c[1] != '\\' || c[2] != 'u') return syntax(r, what);
        low = hex_4(c + 3);
        snprintf(what, sizeof what, "invalid Unicode '\\u%04X\\u%04X'", high, low);
        if (low < 0xDC00 || low > 0xDFFF) return syntax(r, what);
        c += 6;
    }
    return 0;
}

static int scan_string(JsonReader *r)
{
    char what[32];

    for (r->at++;;) {
        int c = peek(r);
        if (c == END) return syntax(r, "premature end of input");
        if (c == '\n') return syntax(r, "unexpected newline");
        if (c < 0x20) {
            snprintf(what, sizeof what, "control character 0x%x", (unsigned)c);
            return syntax(r, what);
        }
        r->at++;
        if (c == '"') break;
        if (c == '\\' && scan_escape(r) != 0) return -1;
    }
    if (check_surrogates(r) != 0) return -1;
    char *string = arena_alloc(r->arena, (size_t)(r->at - r->start), 1);
    if (!string) return no_memory(r);
    r->string_bytes = json_unescape(string, r->start);
    r->value = (JsonNode){.kind = JSON_IS_STRING, .string = string};
    return 0;
}

static char *put_utf_8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3F));
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    }
    return out;
}

size_t json_unescape(char *out, const char *quoted)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    char             *o = out;

    for (const char *c = quoted + 1; *c != '"'; c++) {
        if (*c != '\\') { *o++ = *c; continue; }
        const char *letter = strchr(letters, *++c);
        if (*c != 'u') { *o++ = letter ? meant[letter - letters] : *c; continue; }
        uint32_t code = hex_4(c + 1);
        c += 4;
        if (code >= 0xD800 && code <= 0xDBFF) {
            code = 0x10000 + ((code - 0xD800) << 10) + (hex_4(c + 3) - 0xDC00);
            c += 6;
        }
        o = put_utf_8(o, code);
    }
    *o = '\0';
    return (size_t)(o - out);
}

/* ---- numbers ------------------------------------------------------------------------ */

static int take_integer(JsonReader *r)
{
    errno = 0;
    long long value = strtoll(r->start, NULL, 10);
    if (errno == ERANGE) return syntax(r, value < 0 ? "too big negative integer" : "too big integer");
    r->value = (JsonNode){.kind = JSON_IS_INTEGER, .integer = value};
    return 0;
}

static int take_real(JsonReader *r)
{
    double value = strtod_l(r->start, NULL, r->plain);

    if (isinf(value)) return syntax(r, "real number overflow");
    r->value = (JsonNode){.kind = JSON_IS_REAL, .real = value};
    return 0;
}

/* Past digits, at least one; false when there is none. */
static bool scan_digits(JsonReader *r)
{
    if (!is_digit(peek(r))) return false;
    while (is_digit(peek(r))) r->at++;
    return true;
}

/* Returns the token. What is no number is refused where it is wanted. */
static int scan_number(JsonReader *r)
{
    bool real = false;

    if (*r->at == '-') r->at++;
    if (peek(r) == '0') {
        r->at++;
        if (is_digit(peek(r))) return TOKEN_BAD;
    } else if (!scan_digits(r)) {
        return TOKEN_BAD;
    }
    if (peek(r) == '.') {
        real = true;
        r->at++;
        if (!scan_digits(r)) return TOKEN_BAD;
    }
    int c = peek(r);
    if (c == 'e' || c == 'E') {
        real = true;
        r->at++;
        c = peek(r);
        if (c == '+' || c == '-') r->at++;
        if (!scan_digits(r)) return TOKEN_BAD;
    }
    return (real ? take_real(r) : take_integer(r)) == 0 ? TOKEN_VALUE : TOKEN_BAD;
}

/* ---- tokens --------------------------------------------------------------------------- */

static int scan_word(JsonReader *r)
{
    static const struct { const char *word; JsonKind kind; } words[] = {
        {"true", JSON_IS_TRUE}, {"false", JSON_IS_FALSE}, {"null", JSON_IS_NULL},
    };

    while (is_letter(peek(r))) r->at++;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i].word);
        if ((size_t)(r->at - r->start) != length || memcmp(r->start, words[i].word, length) != 0) continue;
        r->value = (JsonNode){.kind = words[i].kind};
        return TOKEN_VALUE;
    }
    return TOKEN_BAD;
}

static int scan(JsonReader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
    r->start = r->at;
    int c = peek(r);
    if (c == END) return r->broken ? TOKEN_BAD : TOKEN_END;
    if (c == '"') return scan_string(r) == 0 ? TOKEN_STRING : TOKEN_BAD;
    if (c == '-' || is_digit(c)) return scan_number(r);
    if (is_letter(c)) return scan_word(r);
    r->at += character_bytes(r->at, r->end);
    return c && strchr("{}[],:", c) ? c : TOKEN_BAD;
}

static void next(JsonReader *r) { r->token = scan(r); }

/* ---- values ------------------------------------------------------------------------------ */

static int push(JsonReader *r, JsonNode child)
{
    if (r->used == r->room) {
        size_t    room = r->room ? 2 * r->room : 64;
        JsonNode *grown = realloc(r->stack, room * sizeof *grown);
        if (!grown) return no_memory(r);
        r->stack = grown;
        r->room = room;
    }
    r->stack[r->used++] = child;
    return 0;
}

/* Moves the children from the stack, where they begin at base, to the arena. */
static int close_node(JsonReader *r, JsonNode *node, size_t base)
{
    size_t    count = r->used - base;
    JsonNode *children = arena_alloc(r->arena, count, sizeof *children);

    if (!children) return no_memory(r);
    if (count > 0) memcpy(children, r->stack + base, count * sizeof *children);
    r->used = base;
    node->count = count;
    node->children = children;
    return 0;
}

static int read_value(JsonReader *r, JsonNode *out);

/* A name, and the value behind it. The stack may have moved since the last member. */
static int read_member(JsonReader *r, JsonNode *node, size_t base)
{
    size_t   index = r->used;
    JsonNode value;

    if (r->token != TOKEN_STRING) return syntax(r, "string or '}' expected");
    const char *name = r->value.string;
    if (strlen(name) != r->string_bytes) return syntax(r, "NUL byte in object key not supported");
    if (push(r, (JsonNode){.name = name}) != 0) return -1;
    node->children = r->stack + base;
    if (json_node_member(node, name)) return syntax(r, "duplicate object key");
    if (json_node_add(node, r->arena) != 0) return no_memory(r);
    next(r);
    if (r->token != ':') return syntax(r, "':' expected");
    next(r);
    if (read_value(r, &value) != 0) return -1;
    value.name = name;
    r->stack[index] = value;
    return 0;
}

static int read_object(JsonReader *r, JsonNode *out)
{
    JsonNode node = {.kind = JSON_IS_OBJECT};
    size_t   base = r->used;

    next(r);
    if (r->token != '}') {
        for (;; next(r)) {
            if (read_member(r, &node, base) != 0) return -1;
            next(r);
            if (r->token != ',') break;
        }
        if (r->token != '}') return syntax(r, "'}' expected");
    }
    if (close_node(r, &node, base) != 0) return -1;
    *out = node;
    return 0;
}

static int read_array(JsonReader *r, JsonNode *out)
{
    JsonNode node = {.kind = JSON_IS_ARRAY}, child;
    size_t   base = r->used;

    next(r);
    if (r->token != ']') {
        for (; r->token != TOKEN_END; next(r)) {
            if (read_value(r, &child) != 0 || push(r, child) != 0) return -1;
            next(r);
            if (r->token != ',') break;
        }
        if (r->token != ']') return syntax(r, "']' expected");
    }
    if (close_node(r, &node, base) != 0) return -1;
    *out = node;
    return 0;
}

static int read_value(JsonReader *r, JsonNode *out)
{
    int rc = 0;

    if (++r->depth > JSON_MAX_DEPTH) return syntax(r, "maximum parsing depth reached");
    switch (r->token) {
    case TOKEN_STRING:
        if (strlen(r->value.string) != r->string_bytes)
            return fail(r, JSON_FAULT_NUL, "\\u0000 is not allowed without JSON_ALLOW_NUL");
        *out = r->value;
        break;
    case TOKEN_VALUE: *out = r->value; break;
    case '{':         rc = read_object(r, out); break;
    case '[':         rc = read_array(r, out); break;
    case TOKEN_BAD:   return syntax(r, "invalid token");
    default:          return syntax(r, "unexpected token");
    }
    r->depth--;
    return rc;
}

static int read_document(JsonReader *r, JsonNode *root)
{
    next(r);
    if (r->token != '{' && r->token != '[') return syntax(r, "'[' or '{' expected");
    if (read_value(r, root) != 0) return -1;
    next(r);
    return r->token == TOKEN_END ? 0 : syntax(r, "end of file expected");
}

int json_read_own(JsonTree *out, const char *text, size_t length, JsonFault *fault)
{
    JsonReader r = {.text = text, .at = text, .start = text, .end = utf_8_end(text, text + length),
                .arena = &out->arena, .fault = fault};
    int    rc = -1;

    *out = (JsonTree){0};
    r.broken = r.end < text + length;
    r.plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    out->root = arena_alloc(&out->arena, 1, sizeof *out->root);
    if (r.plain == (locale_t)0 || !out->root) no_memory(&r);
    else rc = read_document(&r, out->root);
    free(r.stack);
    if (r.plain != (locale_t)0) freelocale(r.plain);
    if (rc != 0) json_tree_free(out);
    return rc;
}
