/* json_read_jansson(): what jansson read, taken over into a JsonTree. Built where jansson is. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json_tree.h"

static JsonFaultKind kind_of_fault(const json_error_t *fault)
{
    if (fault->line < 0) return JSON_FAULT_NO_MEMORY;
    switch (json_error_code(fault)) {
    case json_error_out_of_memory:  return JSON_FAULT_NO_MEMORY;
    case json_error_invalid_utf8:   return JSON_FAULT_UTF_8;
    case json_error_null_character: return JSON_FAULT_NUL;
    default:                        return JSON_FAULT_SYNTAX;
    }
}

static int take(JsonNode *out, const json_t *value, Arena *arena);

static int take_elements(JsonNode *out, const json_t *array, Arena *arena)
{
    size_t    count = json_array_size(array);
    JsonNode *children = arena_alloc(arena, count, sizeof *children);

    if (!children) return -1;
    *out = (JsonNode){.kind = JSON_IS_ARRAY, .count = count, .children = children};
    for (size_t i = 0; i < count; i++)
        if (take(&children[i], json_array_get(array, i), arena) != 0) return -1;
    return 0;
}

static int take_members(JsonNode *out, json_t *object, Arena *arena)
{
    JsonNode   *children = arena_alloc(arena, json_object_size(object), sizeof *children);
    const char *name;
    json_t     *value;

    if (!children) return -1;
    *out = (JsonNode){.kind = JSON_IS_OBJECT, .children = children};
    json_object_foreach(object, name, value) {
        JsonNode *child = &children[out->count];
        if (take(child, value, arena) != 0) return -1;
        child->name = arena_strdup(arena, name);
        if (!child->name || json_node_add(out, arena) != 0) return -1;
    }
    return 0;
}

static int take(JsonNode *out, const json_t *value, Arena *arena)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:  return take_members(out, (json_t *)(uintptr_t)value, arena);
    case JSON_ARRAY:   return take_elements(out, value, arena);
    case JSON_STRING:
        *out = (JsonNode){.kind = JSON_IS_STRING, .string = arena_strdup(arena, json_string_value(value))};
        return out->string ? 0 : -1;
    case JSON_INTEGER: *out = (JsonNode){.kind = JSON_IS_INTEGER, .integer = json_integer_value(value)}; return 0;
    case JSON_REAL:    *out = (JsonNode){.kind = JSON_IS_REAL, .real = json_real_value(value)}; return 0;
    case JSON_TRUE:    *out = (JsonNode){.kind = JSON_IS_TRUE}; return 0;
    case JSON_FALSE:   *out = (JsonNode){.kind = JSON_IS_FALSE}; return 0;
    default:           *out = (JsonNode){.kind = JSON_IS_NULL}; return 0;
    }
}

int json_read_jansson(JsonTree *out, const char *text, size_t length, JsonFault *fault)
{
    json_error_t why;
    json_t      *value;

    if (memchr(text, '\0', length)) return json_read_own(out, text, length, fault);      /* jansson passes over some */
    *out = (JsonTree){0};
    value = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!value) {
        *fault = (JsonFault){.kind = kind_of_fault(&why), .line = why.line, .column = why.column};
        snprintf(fault->text, sizeof fault->text, "%s", why.text);
        return -1;
    }
    out->root = arena_alloc(&out->arena, 1, sizeof *out->root);
    int rc = out->root ? take(out->root, value, &out->arena) : -1;
    json_decref(value);
    if (rc == 0) return 0;
    json_tree_free(out);
    *fault = (JsonFault){.kind = JSON_FAULT_NO_MEMORY};
    return -1;
}
