#include "base/array.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 16 };

bool array_grow(void *array, size_t size, void *room, size_t room_bytes)
{
    int64_t wide = 0;
    int     narrow = 0;
    void   *old;

    assert(room_bytes == sizeof narrow || room_bytes == sizeof wide);
    if (room_bytes == sizeof narrow) memcpy(&narrow, room, sizeof narrow);
    else                             memcpy(&wide, room, sizeof wide);
    wide += narrow;
    int64_t most = room_bytes == sizeof narrow ? INT_MAX : PTRDIFF_MAX / (int64_t)size,
            more = wide ? 2 * wide : FIRST_ROOM;
    if (wide > most / 2) return false;

    memcpy(&old, array, sizeof old);                     /* pointers to any elements are of one
                                                          * form */
    void *moved = realloc(old, (size_t)more * size);
    if (!moved) return false;
    memcpy(array, &moved, sizeof moved);
    narrow = (int)more;
    memcpy(room, room_bytes == sizeof narrow ? (void *)&narrow : (void *)&more, room_bytes);
    return true;
}
