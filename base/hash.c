#include "base/hash.h"

#include <string.h>

enum { HASH_LANES = 4 };

/* A bijection of hash for every word, and of word for every hash: a round of xxHash64 (Collet).
 * Words are multiplied first, so that few bits of one are no few bits of the next. */
static uint64_t mix_word(uint64_t hash, uint64_t word)
{
    uint64_t sum = hash + word * 0xC2B2AE3D27D4EB4Fu;

    return (sum << 31 | sum >> 33) * 0x9E3779B185EBCA87u;
}

uint64_t hash_words(const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint64_t lane[HASH_LANES] = {HASH_START, HASH_START + 1, HASH_START + 2, HASH_START + 3},
             word[HASH_LANES], hash;
    size_t               left = length;

    for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
        memcpy(word, at, sizeof word);
        for (int i = 0; i < HASH_LANES; i++) lane[i] = mix_word(lane[i], word[i]);
    }
    memset(word, 0, sizeof word);
    memcpy(word, at, left);
    hash = mix_word(HASH_START, (uint64_t)length);
    for (int i = 0; i < HASH_LANES; i++) hash = mix_word(hash, mix_word(lane[i], word[i]));
    return hash ^ hash >> 32;
}

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *byte = bytes;

    for (size_t i = 0; i < length; i++) hash = (hash ^ byte[i]) * 0x100000001B3u;
    return hash;
}
