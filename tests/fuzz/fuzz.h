/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a fuzzer's target and the driver that runs it without libFuzzer share: the entry that
 * libFuzzer knows, random numbers from a seed, and decisions taken from the bytes of an input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* The target: one input. It ends the process when something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Makes one input of at most `size` bytes from random numbers; returns its length. The target's
 * own, as what is worth trying differs; libFuzzer makes its inputs itself. */
size_t fuzz_make(uint64_t *seed, uint8_t *data, size_t size);

/* splitmix64: any seed is good. */
static inline uint64_t fuzz_next(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static inline size_t fuzz_random_bytes(uint64_t *seed, uint8_t *data, size_t size)
{
    size_t len = (size_t)(fuzz_next(seed) % (size + 1));

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)fuzz_next(seed);
    return len;
}

/* The rest of an input; at its end all decisions are 0. */
struct fuzz_input {
    const uint8_t *p;
    size_t left;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->p++;
}

static inline uint64_t fuzz_number(struct fuzz_input *in, unsigned bytes)
{
    uint64_t v = 0;

    while (bytes--)
        v = v << 8 | fuzz_byte(in);
    return v;
}

/* 0 .. n-1; n > 0. */
static inline size_t fuzz_below(struct fuzz_input *in, size_t n)
{
    return (size_t)fuzz_number(in, n > 256 ? 4 : 1) % n;
}

/* A number as wrong programs like them: small, large, at the edges. */
static inline uint64_t fuzz_odd_number(struct fuzz_input *in)
{
    static const uint64_t edges[] = {0,          1,         2,          63,         64,
                                     65,         0x7f,      0x80,       0xff,       0x100,
                                     0x7fff,     0x8000,    0xffff,     0x7fffffff, 0x80000000,
                                     0xffffffff, INT64_MAX, 1ULL << 63, UINT64_MAX, UINT64_MAX - 1};
    size_t i = fuzz_byte(in);

    return i < sizeof(edges) / sizeof(*edges) ? edges[i] : i < 200 ? i % 16 : fuzz_number(in, 8);
}

/* Changes bytes in place: some set, some flipped, fields overwritten by odd numbers, the end cut
 * off. Returns the new length, at most `len`. */
static inline size_t fuzz_mutate(struct fuzz_input *in, uint8_t *data, size_t len)
{
    for (size_t n = 1 + fuzz_below(in, 4); n > 0 && len > 0; n--) {
        size_t at = (size_t)fuzz_number(in, 2) % len;
        size_t width = (size_t)1 << fuzz_below(in, 4);
        uint64_t v;

        switch (fuzz_below(in, 8)) {
        case 0:
            data[at] = fuzz_byte(in);
            break;
        case 1:
            data[at] ^= (uint8_t)(1u << fuzz_below(in, 8));
            break;
        case 2:
            len = at;
            break;
        default:
            v = fuzz_odd_number(in);
            for (size_t i = 0; i < width && at + i < len; i++)
                data[at + i] = (uint8_t)(v >> (8 * i));
            break;
        }
    }
    return len;
}

#endif
