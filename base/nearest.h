/* The nearest name to a misspelt one, for "did you mean". */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

/* The name within an edit distance of 2 (Levenshtein) of word and shorter than
 * word's own length, the first among equals; NULL when none is near. names is
 * NULL-terminated and borrowed. */
const char *nearest_name(const char *word, const char *const *names);

#endif
