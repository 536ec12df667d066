#include "tests/json_walk.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

typedef struct {
    const char *text;
    size_t      length;
    long        asked, most;         /* places asked for, which takes as long as the text each; at
                                      * most this many */
} JsonWalk;

/* The byte at a line and column, which counts characters; 0 when there is none. */
static char walk_byte_at(const JsonWalk *w, int line, int column)
{
    const char *c = w->text, *end = w->text + w->length;

    for (; c < end && line > 1; c++) line -= *c == '\n';
    for (; c < end && column > 1; column--)
        do c++; while (c < end && ((unsigned char)*c & 0xC0) == 0x80);
    return c < end ? *c : '\0';
}

/* Whether a value of this kind may begin so. */
static bool walk_begins(const struct json_t *value, char byte)
{
    static const char *const first[] = {[JSON_OBJECT] = "{",         [JSON_ARRAY] = "[",
                                        [JSON_STRING] = "\"",        [JSON_INTEGER] = "-0123456789",
                                        [JSON_REAL] = "-0123456789", [JSON_TRUE] = "t",
                                        [JSON_FALSE] = "f",          [JSON_NULL] = "n"};

    return byte && strchr(first[json_typeof(value)], byte);
}

/* false: a value does not stand where it is said to stand. */
static bool walk_places(JsonWalk *w, const JsonAt *at)
{
    Error err = {""};
    int   line = 0, column = 0;
    bool  well = true;

    if (w->asked++ >= w->most) return true;
    json_fail(at, &err, "here");
    if (sscanf(err.text, "t:%d:%d: here", &line, &column) != 2
        || !walk_begins(at->value, walk_byte_at(w, line, column))) {
        fprintf(stderr, "# %s, in %.*s\n", err.text, (int)w->length, w->text);
        return false;
    }
    for (size_t i = 0; i < json_count(at) && well; i++) {
        JsonAt element = json_element(at, i);
        well = walk_places(w, &element);
    }
    for (const char *name = json_name_after(at, NULL); name && well;
         name = json_name_after(at, name)) {
        JsonAt member = json_member(at, name);
        well = member.value && walk_places(w, &member);
    }
    return well;
}

bool walk_text(const char *text, size_t length, bool *accepted)
{
    JsonWalk w = {.text = text, .length = length, .most = 2000};
    Error    err = {""};
    Json    *doc;
    int      line, column;

    *accepted = json_doc_parse(&doc, "t", text, length, &err) == 0;
    if (!*accepted)
        return !doc && sscanf(err.text, "t:%d:%d: not JSON: ", &line, &column) == 2 && line > 0
               && column > 0;
    JsonAt root = json_root(doc);
    bool   well = walk_places(&w, &root);
    json_doc_free(doc);
    return well;
}
