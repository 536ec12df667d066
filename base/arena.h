/* Arena: many small allocations, freed together.
 *
 * Blocks of memory are chained; nothing is freed or moved before arena_free().
 * Memory comes zeroed and aligned for any type. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

typedef struct ArenaChunk ArenaChunk;

typedef struct {
    ArenaChunk *chunks;      /* newest first; {0} is an empty arena */
} Arena;

/* count * size zeroed bytes, owned by the arena. NULL when memory is out or
 * count * size overflows; count or size of 0 gives a valid unique pointer. */
void *arena_alloc(Arena *arena, size_t count, size_t size);

/* A copy of text, owned by the arena. NULL when memory is out. */
char *arena_strdup(Arena *arena, const char *text);

/* Frees everything; the arena is empty again and can be used. */
void arena_free(Arena *arena);

#endif
