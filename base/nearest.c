#include "base/nearest.h"

#include <string.h>

enum { LONGEST = 64, NEAR = 2 };

static int min3(int a, int b, int c)
{
    int least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein distance, a row of the table at a time. */
static int distance(const char *a, const char *b)
{
    int    row[LONGEST + 1];
    size_t columns = strlen(b);

    if (columns > LONGEST || strlen(a) > LONGEST) return LONGEST;
    for (size_t j = 0; j <= columns; j++) row[j] = (int)j;
    for (size_t i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < columns; j++) {
            int above = row[j + 1];
            row[j + 1] = min3(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[columns];
}

const char *nearest_name(const char *word, const char *const *names)
{
    const char *best = NULL;
    int         least = NEAR + 1;

    for (; *names; names++) {
        int steps = distance(word, *names);
        if (steps < least && steps < (int)strlen(word)) {
            least = steps;
            best = *names;
        }
    }
    return best;
}
