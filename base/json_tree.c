/* Members are found by a table of slots once an object has more than FEW: slots[h] is the
 * number of a child, from 1, and 0 is empty; h starts at the name's hash and goes on to the
 * next slot while another name stands there. At most half of the slots are used. */
#include "base/json_tree.h"

#include <string.h>

#include "base/hash.h"

enum { FEW = 8 };

void json_tree_free(JsonTree *tree)
{
    arena_free(&tree->arena);
    tree->root = NULL;
}

/* The slot where name stands or would stand. */
static size_t slot_of(const JsonNode *object, const char *name)
{
    size_t mask = object->slot_count - 1;
    size_t h = (size_t)hash_bytes(HASH_START, name, strlen(name)) & mask;

    while (object->slots[h] && strcmp(object->children[object->slots[h] - 1].name, name) != 0) h = (h + 1) & mask;
    return h;
}

const JsonNode *json_node_member(const JsonNode *object, const char *name)
{
    if (object->kind != JSON_IS_OBJECT) return NULL;
    if (object->slots) {
        uint32_t number = object->slots[slot_of(object, name)];
        return number ? &object->children[number - 1] : NULL;
    }
    for (size_t i = 0; i < object->count; i++)
        if (strcmp(object->children[i].name, name) == 0) return &object->children[i];
    return NULL;
}

static int grow_slots(JsonNode *object, Arena *arena)
{
    size_t    count = object->slot_count ? 2 * object->slot_count : 4 * FEW;
    uint32_t *slots = count < UINT32_MAX ? arena_alloc(arena, count, sizeof *slots) : NULL;

    if (!slots) return -1;
    object->slots = slots;
    object->slot_count = count;
    for (size_t i = 0; i < object->count; i++) slots[slot_of(object, object->children[i].name)] = (uint32_t)i + 1;
    return 0;
}

int json_node_add(JsonNode *object, Arena *arena)
{
    object->count++;
    if (object->count <= FEW) return 0;
    if (2 * object->count > object->slot_count) return grow_slots(object, arena);
    object->slots[slot_of(object, object->children[object->count - 1].name)] = (uint32_t)object->count;
    return 0;
}
