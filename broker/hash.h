/* hash - a fast seeded hash for tables whose keys strangers choose
 *
 * Not for secrets: the seed is random per process, which is enough against prepared collisions. */
#ifndef WEFT_BROKER_HASH_H
#define WEFT_BROKER_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014; constants of Stafford's mix 13): every bit of the
 * input reaches every bit of the result. */
static inline uint64_t
hash_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Eight bytes at a time; names are at most 63 bytes, so eight rounds at most for them. */
static inline uint64_t
hash_bytes(uint64_t seed, const char *data, size_t size)
{
    uint64_t hash = hash_mix(seed ^ (uint64_t) size);
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        hash = hash_mix(hash ^ word);
        data += 8;
        size -= 8;
    }
    if (size > 0) {
        uint64_t word = 0;
        memcpy(&word, data, size);
        hash = hash_mix(hash ^ word);
    }
    return hash;
}

#endif
