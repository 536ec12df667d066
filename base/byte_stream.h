/* The bytes of a file in order, unpacked where it is gzip: for files too large to hold.
 *
 * gzip needs zlib; a build without it refuses such a file in one line. */
#ifndef BASE_BYTE_STREAM_H
#define BASE_BYTE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct ByteStream ByteStream;

/* Opens path ("-" is standard input). byte_stream_close() *out. */
int byte_stream_open(ByteStream **out, const char *path, Error *err);

/* The same of bytes in memory, borrowed until it is closed; never unpacked. name is for
 * messages. */
int byte_stream_of_memory(ByteStream **out, const char *name, const char *bytes, size_t length,
                          Error *err);

/* At most room (at least 1) next bytes. *got is 0 at the end alone. */
int byte_stream_read(ByteStream *stream, char *bytes, size_t room, size_t *got, Error *err);

/* The path, or "<stdin>"; borrowed. */
const char *byte_stream_name(const ByteStream *stream);

/* Bytes of the file (packed ones, if it is gzip) that are read, and all of them; 0: not known. */
int64_t byte_stream_offset(const ByteStream *stream);
int64_t byte_stream_size(const ByteStream *stream);

/* NULL is nothing to close. */
void byte_stream_close(ByteStream *stream);

#endif
