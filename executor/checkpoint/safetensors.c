/* The file format of tensors.h, as github.com/huggingface/safetensors describes it:
 *
 *     8 bytes     length of the header, little endian
 *     header      {"NAME": {"dtype": "F32", "shape": [64, 3], "data_offsets": [0, 768]}, ...,
 *                  "__metadata__": {"key": "text", ...}}, blanks at its end
 *     data        offsets count from here
 *
 * Invariants, checked on reading: (1) the header starts with {, (2) every tensor's length
 * is what shape and dtype make, (3) sorted by offset the tensors follow each other from 0
 * to the end of the file, without a hole, an overlap, or bytes left over. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bfloat16.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/text.h"
#include "executor/checkpoint/tensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the format is little endian, and so are its readers");

enum {
    LENGTH_BYTES = 8,
    HEADER_MAX = 100 * 1000 * 1000,
    WIDEN_CHUNK = 16 * 1024,
    HASH_CHUNK = 64 * 1024
};

static const char METADATA[] = "__metadata__";

/* How the header of a sealed file starts; the digits of its checksum follow. */
static const char CHECKSUM[] = "checksum", SEAL[] = "{\"__metadata__\":{\"checksum\":\"";

enum { SEAL_AT = LENGTH_BYTES + sizeof SEAL - 1, SEAL_DIGITS = 16 };

/* ---- where bytes come from ----------------------------------------------- */

typedef struct {
    const char *name;        /* of the file, for messages */
    int         fd;          /* -1: bytes are in memory */
    const char *bytes;
    uint64_t    length;
} Source;

/* count bytes from offset; both are known to be within the source. */
static int source_get(const Source *source, uint64_t offset, void *out, size_t count, Error *err)
{
    char *to = out;

    if (source->fd < 0) {
        if (count > 0) memcpy(to, source->bytes + offset, count);
        return 0;
    }
    while (count > 0) {
        ssize_t got = pread(source->fd, to, count, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return error_set(err, "%s: cannot read: %s", source->name, strerror(errno));
        if (got == 0) return error_set(err, "%s: became shorter while it was read", source->name);
        to += got;
        offset += (uint64_t)got;
        count -= (size_t)got;
    }
    return 0;
}

static int source_open(Source *out, const char *path, Error *err)
{
    struct stat info;

    /* waits for no pipe */
    *out = (Source){.name = path, .fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    if (out->fd < 0) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(out->fd, &info) != 0)
        return error_set(err, "%s: cannot read: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return error_set(err, "%s: is no regular file, expected safetensors", path);
    out->length = (uint64_t)info.st_size;
    return 0;
}

/* ---- element types -------------------------------------------------------- */

/* The first three are read; of the others, which are passed over, only the size matters. */
typedef enum { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPES_READ } Dtype;

static const char *const DTYPES[] = {
    "F32",     "F16",         "BF16",        "F64",     "I64",     "I32", "I16",     "I8",
    "U64",     "U32",         "U16",         "U8",      "BOOL",    "C64", "F8_E4M3", "F8_E5M2",
    "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4",  NULL};
static const int DTYPE_BITS[] = {32, 16, 16, 64, 64, 32, 16, 8, 64, 32, 16,
                                 8,  8,  64, 8,  8,  8,  8,  8, 6,  6,  4};

_Static_assert(sizeof DTYPE_BITS / sizeof *DTYPE_BITS + 1 == sizeof DTYPES / sizeof *DTYPES,
               "a size for each type");

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16; every value is also a float. */
static float widen_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1F, fraction = half & 0x3FF;

    if (exponent == 0) {                             /* zero, or subnormal: fraction * 2^-24 */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
    return float_of(sign | wide << 23 | fraction << 13);
}

/* ---- reading the header --------------------------------------------------- */

typedef struct {
    const char *name;                /* of the tensor, borrowed from the header */
    Dtype       dtype;
    int         rank;
    int64_t     dim[TENSOR_MAX_RANK];
    uint64_t    begin, end;          /* in the data */
} FilePlace;

static int read_shape(FilePlace *place, const JsonAt *entry, Error *err)
{
    JsonAt shape = json_member(entry, "shape");

    if (json_get_array(&shape, 0, err) != 0) return -1;
    if (json_count(&shape) > TENSOR_MAX_RANK)
        return json_fail(&shape, err, "%zu dimensions, expected at most %d", json_count(&shape),
                         TENSOR_MAX_RANK);
    place->rank = (int)json_count(&shape);
    for (int i = 0; i < place->rank; i++) {
        JsonAt at = json_element(&shape, (size_t)i);
        if (json_get_integer(&at, 0, JSON_MAX_INTEGER, &place->dim[i], err) != 0) return -1;
    }
    return 0;
}

static int read_offsets(FilePlace *place, const JsonAt *entry, uint64_t data_bytes, Error *err)
{
    JsonAt    offsets = json_member(entry, "data_offsets");
    uint64_t *offset[2] = {&place->begin, &place->end};

    if (json_get_array(&offsets, 0, err) != 0) return -1;
    if (json_count(&offsets) != 2)
        return json_fail(&offsets, err, "%zu numbers, expected where the data begins and ends",
                         json_count(&offsets));
    for (int i = 0; i < 2; i++) {
        JsonAt  at = json_element(&offsets, (size_t)i);
        int64_t value;
        if (json_get_integer(&at, 0, JSON_MAX_INTEGER, &value, err) != 0) return -1;
        if ((uint64_t)value > data_bytes)
            return json_fail(&at, err,
                             "beyond the end of the file, which has %" PRIu64 " bytes of data",
                             data_bytes);
        *offset[i] = (uint64_t)value;
    }
    if (place->end < place->begin) return json_fail(&offsets, err, "ends before it begins");
    return 0;
}

/* The length that shape and dtype make; UINT64_MAX: out of range, or no whole bytes. */
static uint64_t expected_bytes(const FilePlace *place)
{
    uint64_t bits = (uint64_t)DTYPE_BITS[place->dtype];

    for (int i = 0; i < place->rank; i++)
        if (__builtin_mul_overflow(bits, (uint64_t)place->dim[i], &bits)) return UINT64_MAX;
    return bits % 8 == 0 ? bits / 8 : UINT64_MAX;
}

static int read_entry(FilePlace *place, const JsonAt *entry, uint64_t data_bytes, Error *err)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets", NULL};
    JsonAt dtype = json_member(entry, "dtype");
    int    type;

    if (json_check_keys(entry, keys, err) != 0) return -1;
    if (json_get_choice(&dtype, DTYPES, &type, err) != 0) return -1;
    *place = (FilePlace){.name = entry->key, .dtype = (Dtype)type};
    if (read_shape(place, entry, err) != 0) return -1;
    if (read_offsets(place, entry, data_bytes, err) != 0) return -1;
    uint64_t bytes = place->end - place->begin, expected = expected_bytes(place);
    if (bytes != expected)
        return json_fail(entry, err,
                         "%" PRIu64 " bytes of data, expected %" PRIu64 " by shape and dtype",
                         bytes, expected);
    return 0;
}

static int read_metadata(Tensors *tensors, const JsonAt *metadata, Error *err)
{
    if (json_get_object(metadata, err) != 0) return -1;
    for (const char *key = json_name_after(metadata, NULL); key;
         key = json_name_after(metadata, key)) {
        const char *text;
        JsonAt      at = json_member(metadata, key);
        if (json_get_string(&at, &text, err) != 0) return -1;
        if (tensors_set_note(tensors, key, text, err) != 0) return -1;
    }
    return 0;
}

/* Notes go to tensors. *places is yours, in the order of the header. */
static int read_header(Tensors *tensors, FilePlace **places, int *count, const Json *doc,
                       uint64_t data_bytes, Error *err)
{
    JsonAt root = json_root(doc);

    *count = 0;
    if (json_get_object(&root, err) != 0) return -1;
    *places = calloc(json_member_count(&root) + 1, sizeof **places);
    if (!*places) return error_no_memory(err);
    for (const char *key = json_name_after(&root, NULL); key; key = json_name_after(&root, key)) {
        JsonAt at = json_member(&root, key);
        int    rc = strcmp(key, METADATA) == 0
                        ? read_metadata(tensors, &at, err)
                        : read_entry(&(*places)[(*count)++], &at, data_bytes, err);
        if (rc != 0) return -1;
    }
    return 0;
}

/* ---- reading the data ------------------------------------------------------ */

static int by_offset(const void *a, const void *b)
{
    const FilePlace *x = a, *y = b;

    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;      /* empty ones first */
    return strcmp(x->name, y->name);
}

/* Invariant 3. */
static int check_cover(const char *name, const FilePlace *places, int count, uint64_t data_bytes,
                       Error *err)
{
    uint64_t reached = 0;
    char     shown[JSON_SHOWN_BYTES];

    for (int i = 0; i < count; i++) {
        json_shown(shown, places[i].name);
        if (places[i].begin > reached)
            return error_set(err, "%s: %" PRIu64 " bytes before tensor \"%s\" belong to none", name,
                             places[i].begin - reached, shown);
        if (places[i].begin < reached)
            return error_set(err, "%s: tensor \"%s\" overlaps the one before it", name, shown);
        reached = places[i].end;
    }
    if (reached != data_bytes)
        return error_set(err, "%s: %" PRIu64 " bytes at its end belong to no tensor", name,
                         data_bytes - reached);
    return 0;
}

static int read_values(const Source *source, const FilePlace *place, const Tensor *tensor,
                       uint64_t data_at, Error *err)
{
    uint16_t halves[WIDEN_CHUNK];
    float   *values = tensor->values;
    int64_t  count = tensor->count;

    if (place->dtype == DTYPE_F32)
        return source_get(source, data_at + place->begin, values, (size_t)count * sizeof *values,
                          err);
    for (int64_t at = 0; at < count; at += WIDEN_CHUNK) {
        int part = count - at < WIDEN_CHUNK ? (int)(count - at) : WIDEN_CHUNK;
        if (source_get(source, data_at + place->begin + (uint64_t)at * sizeof *halves, halves,
                       (size_t)part * sizeof *halves, err) != 0) return -1;
        for (int i = 0; i < part; i++)
            values[at + i] =
                place->dtype == DTYPE_F16 ? widen_f16(halves[i]) : bfloat16_widen(halves[i]);
    }
    return 0;
}

static int read_tensor(Tensors *tensors, const Source *source, const FilePlace *place,
                       uint64_t data_at, Error *err)
{
    Tensor *tensor;

    if (place->dtype >= DTYPES_READ)
        return tensors_pass_over(tensors, place->name, DTYPES[place->dtype], err);
    if (tensors_add(tensors, place->name, place->rank, place->dim, &tensor, err) != 0) return -1;
    return read_values(source, place, tensor, data_at, err);
}

/* The JSON document of the header; *length: its bytes. */
static int get_header(Json **out, uint64_t *length, const Source *source, Error *err)
{
    int   rc = -1;
    char *text = NULL;

    if (source->length < LENGTH_BYTES + 2)
        return error_set(err, "%s: %" PRIu64 " bytes, too few for safetensors", source->name,
                         source->length);
    if (source_get(source, 0, length, LENGTH_BYTES, err) != 0) return -1;
    if (*length > source->length - LENGTH_BYTES || *length > HEADER_MAX)
        return error_set(
            err, "%s: says its header has %" PRIu64 " bytes, %s: not safetensors, or cut short",
            source->name, *length,
            *length > HEADER_MAX ? "more than 100 MB" : "more than the file has");
    text = malloc((size_t)*length + 1);
    if (!text) { error_no_memory(err); goto done; }
    if (source_get(source, LENGTH_BYTES, text, (size_t)*length, err) != 0) goto done;
    text[*length] = '\0';
    if (text[0] != '{') {
        error_set(err, "%s: its header does not start with {: not safetensors", source->name);
        goto done;
    }
    rc = json_doc_parse(out, source->name, text, (size_t)*length, err);
done:
    free(text);
    return rc;
}

/* What a file's header says, checked; free it also after an error. */
typedef struct {
    Json      *doc;
    FilePlace *places;       /* [count], by offset */
    int        count;
    uint64_t   data_at;
} FileHeader;

static void header_free(FileHeader *header)
{
    free(header->places);
    json_doc_free(header->doc);
}

/* Notes go to tensors. */
static int header_read(FileHeader *out, Tensors *tensors, const Source *source, Error *err)
{
    uint64_t header_bytes;

    if (get_header(&out->doc, &header_bytes, source, err) != 0) return -1;
    out->data_at = LENGTH_BYTES + header_bytes;
    uint64_t data_bytes = source->length - out->data_at;
    if (read_header(tensors, &out->places, &out->count, out->doc, data_bytes, err) != 0) return -1;
    qsort(out->places, (size_t)out->count, sizeof *out->places, by_offset);
    return check_cover(source->name, out->places, out->count, data_bytes, err);
}

static int read_source(Tensors **out, const Source *source, Error *err)
{
    int        rc = -1;
    FileHeader header = {0};
    Tensors   *tensors = NULL;

    if (tensors_new(&tensors, err) != 0 || tensors_set_path(tensors, source->name, err) != 0)
        goto done;
    if (header_read(&header, tensors, source, err) != 0) goto done;
    for (int i = 0; i < header.count; i++)
        if (read_tensor(tensors, source, &header.places[i], header.data_at, err) != 0) goto done;
    *out = tensors; tensors = NULL; rc = 0;
done:
    tensors_free(tensors);
    header_free(&header);
    return rc;
}

int tensors_places(const char *name, const void *bytes, size_t length, TensorVisit *visit,
                   void *context, Error *err)
{
    Source     source = {.name = name, .fd = -1, .bytes = bytes, .length = length};
    FileHeader header = {0};
    Tensors   *notes = NULL;
    int        rc = tensors_new(&notes, err);

    if (rc == 0) rc = header_read(&header, notes, &source, err);
    for (int i = 0; rc == 0 && i < header.count; i++) {
        const FilePlace *from = &header.places[i];
        TensorPlace      place = {.name = from->name, .dtype = DTYPES[from->dtype],
                                  .bits = DTYPE_BITS[from->dtype], .rank = from->rank,
                                  .bytes = source.bytes + header.data_at + from->begin};
        memcpy(place.dim, from->dim, sizeof place.dim);
        rc = visit(context, &place, err);
    }
    tensors_free(notes);
    header_free(&header);
    return rc;
}

int tensors_read(Tensors **out, const char *path, Error *err)
{
    Source source;

    *out = NULL;
    int rc = source_open(&source, path, err);
    if (rc == 0) rc = read_source(out, &source, err);
    if (source.fd >= 0) close(source.fd);
    return rc;
}

/* ---- the checksum ------------------------------------------------------------ */

/* Continues the hash over the bytes of the source from an offset to its end. */
static int hash_source(uint64_t *hash, const Source *source, uint64_t offset, Error *err)
{
    char *chunk = malloc(HASH_CHUNK);
    int   rc = chunk ? 0 : error_no_memory(err);

    while (rc == 0 && offset < source->length) {
        size_t part =
            source->length - offset < HASH_CHUNK ? (size_t)(source->length - offset) : HASH_CHUNK;
        rc = source_get(source, offset, chunk, part, err);
        if (rc == 0) *hash = hash_bytes(*hash, chunk, part);
        offset += part;
    }
    free(chunk);
    return rc;
}

static void seal_text(char out[SEAL_DIGITS + 1], uint64_t hash)
{
    snprintf(out, SEAL_DIGITS + 1, "%016" PRIx64, hash);
}

static int check_seal(const Source *source, Error *err)
{
    char     start[SEAL_AT + SEAL_DIGITS], digits[SEAL_DIGITS + 1];
    uint64_t hash;

    if (source->length < sizeof start)
        return error_set(err, "%s: too short for a file with a checksum", source->name);
    if (source_get(source, 0, start, sizeof start, err) != 0) return -1;
    if (memcmp(start + LENGTH_BYTES, SEAL, sizeof SEAL - 1) != 0)
        return error_set(err, "%s: has no checksum", source->name);
    hash = hash_bytes(HASH_START, start, SEAL_AT);
    hash = hash_bytes(hash, "0000000000000000", SEAL_DIGITS);
    if (hash_source(&hash, source, sizeof start, err) != 0) return -1;
    seal_text(digits, hash);
    if (memcmp(digits, start + SEAL_AT, SEAL_DIGITS) != 0)
        return error_set(err, "%s: damaged, its checksum is not that of its bytes", source->name);
    return 0;
}

int tensors_read_sealed(Tensors **out, const char *path, Error *err)
{
    Source source;

    *out = NULL;
    int rc = source_open(&source, path, err);
    if (rc == 0) rc = check_seal(&source, err);
    if (rc == 0) rc = read_source(out, &source, err);
    if (source.fd >= 0) close(source.fd);
    return rc;
}

int tensors_parse(Tensors **out, const char *name, const void *bytes, size_t length, Error *err)
{
    Source source = {.name = name, .fd = -1, .bytes = bytes, .length = length};

    *out = NULL;
    return read_source(out, &source, err);
}

/* ---- writing ---------------------------------------------------------------- */

/* Nothing where there are no notes; a seal's digits are zeros as yet. */
static void write_metadata(Text *header, const Tensors *tensors, bool sealed)
{
    const char *before = "\"__metadata__\":{";

    if (sealed) {
        text_append(header, SEAL + 1);
        text_append(header, "0000000000000000\"");
        before = ",";
    }
    for (int i = 0; i < tensors_note_count(tensors); i++) {
        const char *key = tensors_note_key(tensors, i);
        if (strcmp(key, CHECKSUM) == 0) continue;
        text_append(header, before);
        text_json_string(header, key);
        text_append(header, ":");
        text_json_string(header, tensors_note(tensors, key));
        before = ",";
    }
    if (*before == ',') text_append(header, "}");
}

static void write_entry(Text *header, const Tensor *tensor, uint64_t begin)
{
    text_json_string(header, tensor->name);
    text_append(header, ":{\"dtype\":\"F32\",\"shape\":[");
    for (int i = 0; i < tensor->rank; i++)
        text_printf(header, "%s%" PRId64, i == 0 ? "" : ",", tensor->dim[i]);
    text_printf(header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                begin + (uint64_t)tensor->count * sizeof(float));
}

/* The length and the header, so long that the data starts at a multiple of 8. */
static void write_header(Text *header, const Tensors *tensors, bool sealed)
{
    uint64_t begin = 0;

    text_append_bytes(header, (const char[LENGTH_BYTES]){0}, LENGTH_BYTES);
    text_append(header, "{");
    write_metadata(header, tensors, sealed);
    bool first = header->length == LENGTH_BYTES + 1;
    for (int i = 0; i < tensors_count(tensors); i++) {
        const Tensor *tensor = tensors_at(tensors, i);
        if (!first) text_append(header, ",");
        first = false;
        write_entry(header, tensor, begin);
        begin += (uint64_t)tensor->count * sizeof(float);
    }
    text_append(header, "}");
    while (header->length % 8 != 0 && !text_failed(header)) text_append(header, " ");
    if (text_failed(header)) return;
    uint64_t length = header->length - LENGTH_BYTES;
    memcpy(header->bytes, &length, sizeof length);
}

/* The digits of a sealed file, into its header, which is the first piece. */
static void set_seal(Text *header, const FilePiece *piece, size_t count)
{
    uint64_t hash = HASH_START;
    char     digits[SEAL_DIGITS + 1];

    for (size_t i = 0; i < count; i++) hash = hash_bytes(hash, piece[i].bytes, piece[i].length);
    seal_text(digits, hash);
    memcpy(header->bytes + SEAL_AT, digits, SEAL_DIGITS);
}

static int write_file(const Tensors *tensors, const char *path, bool sealed, Error *err)
{
    int        rc = -1;
    size_t     count = (size_t)tensors_count(tensors) + 1;
    Text       header = {0};
    FilePiece *piece = calloc(count, sizeof *piece);

    write_header(&header, tensors, sealed);
    if (!piece || text_failed(&header)) { error_no_memory(err); goto done; }
    piece[0] = (FilePiece){header.bytes, header.length};
    for (size_t i = 1; i < count; i++) {
        const Tensor *tensor = tensors_at(tensors, (int)i - 1);
        piece[i] = (FilePiece){tensor->values, (size_t)tensor->count * sizeof(float)};
    }
    if (sealed) set_seal(&header, piece, count);
    rc = file_write_pieces(path, piece, count, err);
done:
    free(piece);
    text_free(&header);
    return rc;
}

int tensors_bytes(const Tensors *tensors, Text *out, Error *err)
{
    Text header = {0};

    write_header(&header, tensors, false);
    text_append_bytes(out, header.bytes ? header.bytes : "", header.length);
    for (int i = 0; i < tensors_count(tensors); i++) {
        const Tensor *tensor = tensors_at(tensors, i);
        text_append_bytes(out, (const char *)tensor->values, (size_t)tensor->count * sizeof(float));
    }
    int rc = text_failed(&header) || text_failed(out) ? error_no_memory(err) : 0;
    text_free(&header);
    return rc;
}

int tensors_write(const Tensors *tensors, const char *path, Error *err)
{
    return write_file(tensors, path, false, err);
}

int tensors_write_sealed(const Tensors *tensors, const char *path, Error *err)
{
    return write_file(tensors, path, true, err);
}
