/* Arrays that grow: the array, how many elements it has room for, and how many it has are the
 * owner's. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

/* Whether array, a pointer to elements or NULL, has room for one more behind its count; made where
 * room, a variable of type int, int64_t or size_t, is full. False: no memory, and both are as they
 * were. */
#define array_has_room(array, count, room) \
    ((count) < (room) || array_grow(&(array), sizeof *(array), &(room), sizeof(room)))

/* Doubles *room, to 16 at least, and *array with it. array: address of a pointer to elements of
 * size bytes;
 * room: address of a whole number of room_bytes, which stays within int where it is one. */
bool array_grow(void *array, size_t size, void *room, size_t room_bytes);

#endif
