#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Of the first chunk; each further one has twice as many, up to the most: what is small stays
 * cheap to clear. */
enum { FIRST_BYTES = 1024, CHUNK_BYTES = 64 * 1024 };

/* Under the address sanitizer each allocation has a chunk of its own, so that what is written
 * behind it is seen. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define CHUNK_EACH 1
#endif
#endif
#if !defined CHUNK_EACH && defined __SANITIZE_ADDRESS__
#define CHUNK_EACH 1
#endif
#ifndef CHUNK_EACH
#define CHUNK_EACH 0
#endif

struct ArenaChunk {
    ArenaChunk *next;
    size_t      used, capacity;
    alignas(max_align_t) unsigned char bytes[];
};

static ArenaChunk *chunk_add(Arena *arena, size_t need)
{
    size_t      capacity = arena->chunks ? 2 * arena->chunks->capacity : FIRST_BYTES;
    ArenaChunk *chunk;

    if (capacity > CHUNK_BYTES) capacity = CHUNK_BYTES;
    if (CHUNK_EACH) capacity = need;
    if (capacity < need) capacity = need;
    if (capacity > SIZE_MAX - sizeof *chunk) return NULL;
    chunk = calloc(1, sizeof *chunk + capacity);
    if (!chunk) return NULL;
    chunk->capacity = capacity;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk;
}

void *arena_alloc(Arena *arena, size_t count, size_t size)
{
    const size_t align = alignof(max_align_t);
    size_t       need;

    if (__builtin_mul_overflow(count, size, &need)) return NULL;
    if (need == 0) need = 1;
    if (need > SIZE_MAX - align) return NULL;
    need = (need + align - 1) / align * align;

    ArenaChunk *chunk = arena->chunks;
    if (!chunk || chunk->capacity - chunk->used < need) chunk = chunk_add(arena, need);
    if (!chunk) return NULL;

    void *bytes = chunk->bytes + chunk->used;
    chunk->used += need;
    return bytes;
}

char *arena_strdup(Arena *arena, const char *text)
{
    size_t length = strlen(text) + 1;
    char  *copy = arena_alloc(arena, length, 1);

    if (copy) memcpy(copy, text, length);
    return copy;
}

void arena_free(Arena *arena)
{
    while (arena->chunks) {
        ArenaChunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
}
