/* Text as token numbers, from files of a folder that are mapped into memory:
 *
 *     tokens:FOLDER      train.bin, val.bin: 16-bit numbers, or what the header says that llm.c
 *                        writes
 *     tokens32:FOLDER    the same with 32-bit numbers
 *     bytes:FOLDER       train.txt, val.txt: each byte is a token
 *
 * All little-endian. A sample is the next `tokens` numbers of the workload's input, sample 0 from
 * the start; a rest too short for one is left out. Where train.lengths (val.lengths) is there,
 * 32-bit lengths of sequences one after another, a sample is a sequence of its own length, and what
 * is missing of it is 0. A type, where the input has them, is 0. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "executor/data/data_source.h"

/* Of llm.c: 256 numbers of 32 bits in front, magic, version, tokens; GPT-2's have 16 bits, Llama
 * 3's 32. */
enum { HEADER_BYTES = 1024, MAGIC_16 = 20240520, MAGIC_32 = 20240801 };

typedef struct {
    DataWants wants;
    DataFile  tokens, lengths;
    size_t    header;
    int       width;         /* bytes of a token */
    int64_t   token_count;
    int64_t  *start;         /* [count + 1] of each sequence; NULL: they are of one length */
    int64_t   count;
} TokenData;

static uint32_t number_at(const unsigned char *at, int width)
{
    uint32_t value = 0;

    for (int i = 0; i < width; i++) value |= (uint32_t)at[i] << 8 * i;
    return value;
}

static void tokens_free(void *state)
{
    TokenData *data = state;

    data_unmap(&data->tokens);
    data_unmap(&data->lengths);
    free(data->start);
    free(data);
}

static int read_header(TokenData *data, Error *err)
{
    const DataFile *file = &data->tokens;
    uint32_t magic = file->size >= HEADER_BYTES ? number_at(file->bytes, 4) : 0, version, count;

    if (magic != MAGIC_16 && magic != MAGIC_32) return 0;
    version = number_at(file->bytes + 4, 4);
    count = number_at(file->bytes + 8, 4);
    if (version != (magic == MAGIC_16 ? 1 : 7))
        return error_set(err, "%s: its header has version %" PRIu32 ", expected %d", file->path,
                         version, magic == MAGIC_16 ? 1 : 7);
    data->header = HEADER_BYTES;
    data->width = magic == MAGIC_16 ? 2 : 4;
    if ((file->size - HEADER_BYTES) / (size_t)data->width == count) return 0;
    return error_set(err, "%s: its header says %" PRIu32 " tokens, and %zu bytes of them follow",
                     file->path, count, file->size - HEADER_BYTES);
}

static int count_tokens(TokenData *data, Error *err)
{
    size_t bytes = data->tokens.size - data->header;

    if (bytes % (size_t)data->width != 0)
        return error_set(err, "%s: %zu bytes, expected tokens of %d bytes each", data->tokens.path,
                         bytes, data->width);
    data->token_count = (int64_t)(bytes / (size_t)data->width);
    data->count = data->token_count / data->wants.shape.height;
    if (data->lengths.bytes || data->count > 0) return 0;
    return error_set(err, "%s: %" PRId64 " tokens, expected at least the workload's %d a sample",
                     data->tokens.path, data->token_count, data->wants.shape.height);
}

/* Where each sequence begins, by the file of lengths, which must add up to the tokens that there
 * are. Nothing where there is none. */
static int read_lengths(TokenData *data, Error *err)
{
    const DataFile *file = &data->lengths;
    int64_t          at = 0;

    if (!file->bytes) return 0;
    if (file->size % 4 != 0)
        return error_set(err, "%s: %zu bytes, expected lengths of 4 bytes each", file->path,
                         file->size);
    data->count = (int64_t)(file->size / 4);
    data->start = calloc((size_t)data->count + 1, sizeof *data->start);
    if (!data->start) return error_no_memory(err);
    for (int64_t i = 0; i < data->count; i++) {
        uint32_t length = number_at(file->bytes + 4 * i, 4);

        if (length < 1 || length > (uint32_t)data->wants.shape.height)
            return error_set(err,
                             "%s: sequence %" PRId64 " has %" PRIu32
                             " tokens, expected 1 to the workload's %d",
                             file->path, i, length, data->wants.shape.height);
        data->start[i] = at;
        at += length;
    }
    data->start[data->count] = at;
    if (at == data->token_count) return 0;
    return error_set(err, "%s: lengths of %" PRId64 " tokens together, and %s has %" PRId64,
                     file->path, at, data->tokens.path, data->token_count);
}

static int open_files(TokenData *data, const char *folder, const char *ending, Error *err)
{
    DataPart part = data->wants.part;

    if (data->wants.vocabulary == 0)
        return error_set(err, "a source of tokens for a workload whose input is an image");
    if (data->width == 1 && data->wants.vocabulary < 256)
        return error_set(err, "bytes have 256 values, and the workload's vocabulary %d",
                         data->wants.vocabulary);
    if (data_map(&data->tokens, folder, part, ending, false, err) != 0) return -1;
    if (data_map(&data->lengths, folder, part, "lengths", true, err) != 0) return -1;
    if (data->width > 1 && read_header(data, err) != 0) return -1;
    if (count_tokens(data, err) != 0) return -1;
    return read_lengths(data, err);
}

static int open_any(void **out, int64_t *count, const char *folder, const DataWants *wants,
                    int width, Error *err)
{
    TokenData *data = calloc(1, sizeof *data);

    if (!data) return error_no_memory(err);
    *out = data;
    data->wants = *wants;
    data->width = width;
    if (open_files(data, folder, width == 1 ? "txt" : "bin", err) != 0) return -1;
    *count = data->count;
    return 0;
}

static int tokens_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                       Error *err)
{
    return open_any(out, count, folder, wants, 2, err);
}

static int tokens32_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                         Error *err)
{
    return open_any(out, count, folder, wants, 4, err);
}

static int bytes_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                      Error *err)
{
    return open_any(out, count, folder, wants, 1, err);
}

static int64_t first_of(const TokenData *data, int64_t i)
{
    return data->start ? data->start[i] : i * data->wants.shape.height;
}

static int tokens_length(const void *state, int64_t i)
{
    const TokenData *data = state;

    return data->start ? (int)(data->start[i + 1] - data->start[i]) : data->wants.shape.height;
}

/* Copies sequence i to out, [height][channels], token numbers in the first channel, 0 behind its
 * end. The label is -1: sequences have none. A token beyond the vocabulary is damage where all
 * sequences are equally long, else an error, as another sequence would have another length. */
static int tokens_load(void *state, int64_t i, uint64_t seed, int64_t epoch, float *out, int *label,
                       bool *damaged, Error *err)
{
    const TokenData     *data = state;
    const Shape         *shape = &data->wants.shape;
    const unsigned char *at = data->tokens.bytes + data->header + first_of(data, i) * data->width;
    int                  length = tokens_length(data, i);

    (void)seed; (void)epoch;
    memset(out, 0, (size_t)shape->channels * (size_t)shape->height * sizeof *out);
    *label = -1;
    for (int t = 0; t < length; t++, at += data->width) {
        uint32_t token = number_at(at, data->width);

        if (token >= (uint32_t)data->wants.vocabulary) {
            *damaged = !data->start;     /* another would have another length */
            return error_set(err,
                             "%s: token %" PRId64 " is %" PRIu32
                             ", expected less than the workload's vocabulary of %d",
                             data->tokens.path, first_of(data, i) + t, token,
                             data->wants.vocabulary);
        }
        out[t * shape->channels] = (float)token;
    }
    return 0;
}

static bool tokens_uneven(const void *state) { return ((const TokenData *)state)->start; }

static int tokens_hash(void *state, uint64_t *hash, Error *err)
{
    const TokenData *data = state;
    const uint64_t   parts[] = {
          hash_words(data->tokens.bytes, data->tokens.size),
        data->lengths.bytes ? hash_words(data->lengths.bytes, data->lengths.size) : 0};

    (void)err;
    *hash = hash_bytes(*hash, parts, sizeof parts);
    return 0;
}

#define TOKEN_SOURCE(name, open)                                                         \
    {                                                                                    \
        name, true, open, tokens_free, tokens_load, tokens_uneven, tokens_length, false, \
            tokens_hash, NULL                                                            \
    }

const DataSource DATA_TOKENS = TOKEN_SOURCE("tokens", tokens_open);
const DataSource DATA_TOKENS32 = TOKEN_SOURCE("tokens32", tokens32_open);
const DataSource DATA_BYTES = TOKEN_SOURCE("bytes", bytes_open);
