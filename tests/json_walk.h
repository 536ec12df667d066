/* Walks through a document and asks where each value stands, for tests/test_json_text.c and
 * tests/fuzz_json.c: at the place that is named, the text must begin a value of that kind. */
#ifndef TESTS_JSON_WALK_H
#define TESTS_JSON_WALK_H

#include <stdbool.h>
#include <stddef.h>

/* Reads text as a document named "t". Whether it was refused with words and a place, or holds
 * values that stand where they are said to stand; *accepted says which. */
bool walk_text(const char *text, size_t length, bool *accepted);

#endif
