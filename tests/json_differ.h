/* What the readers of base/json_tree.h make of the same text, compared: for
 * tests/test_json_tree.c and tests/fuzz_json.c. */
#ifndef TESTS_JSON_DIFFER_H
#define TESTS_JSON_DIFFER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_tree.h"

/* Same kinds, names in the same order, and values to the bit. Each member is also found by
 * its name. */
static inline bool nodes_are_equal(const JsonNode *a, const JsonNode *b)
{
    if (a->kind != b->kind || a->count != b->count || !a->name != !b->name) return false;
    if (a->name && strcmp(a->name, b->name) != 0) return false;
    if (a->kind == JSON_IS_STRING) return strcmp(a->string, b->string) == 0;
    if (a->kind == JSON_IS_INTEGER) return a->integer == b->integer;
    if (a->kind == JSON_IS_REAL) return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    for (size_t i = 0; i < a->count; i++) {
        if (!nodes_are_equal(&a->children[i], &b->children[i])) return false;
        if (a->kind != JSON_IS_OBJECT) continue;
        if (json_node_member(a, a->children[i].name) != &a->children[i]) return false;
        if (json_node_member(b, a->children[i].name) != &b->children[i]) return false;
    }
    return true;
}

#ifdef HAVE_JANSSON
/* Reads the text with both; on a difference says which and returns false. accepted (may be
 * NULL) is whether it was read. */
static inline bool readers_agree(const char *text, size_t length, bool *accepted)
{
    JsonTree  ours, theirs;
    JsonFault our_fault = {0}, their_fault = {0};
    char     *copy = malloc(length + 1);           /* of its exact size, for the sanitizer */
    bool      same = copy != NULL;

    if (!copy) return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    int our_rc = json_read_own(&ours, copy, length, &our_fault);
    int their_rc = json_read_jansson(&theirs, copy, length, &their_fault);
    same = our_rc == their_rc;
    if (same && our_rc == 0) same = nodes_are_equal(ours.root, theirs.root);
    if (same && our_rc != 0)
        same = our_fault.kind == their_fault.kind && our_fault.line == their_fault.line
            && our_fault.column == their_fault.column && strcmp(our_fault.text, their_fault.text) == 0;
    if (!same)
        fprintf(stderr, "# ours %d %d:%d %s\n# jansson %d %d:%d %s\n# of %.*s\n", our_rc, our_fault.line, our_fault.column,
                our_fault.text, their_rc, their_fault.line, their_fault.column, their_fault.text,
                (int)(length < 2000 ? length : 2000), copy);
    if (accepted) *accepted = our_rc == 0;
    json_tree_free(&ours);
    json_tree_free(&theirs);
    free(copy);
    return same;
}
#endif

#endif
