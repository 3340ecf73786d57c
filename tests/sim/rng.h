/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers of the simulator: small, fast, the same on every machine. */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct sim_rng {
    uint64_t s;
};

/* splitmix64 (Steele, Lea, Flood 2014): one word of state, any seed is good. */
static inline uint64_t sim_rng_next(struct sim_rng *r)
{
    uint64_t z = (r->s += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* 0 .. n-1; n > 0. */
static inline uint32_t sim_rng_below(struct sim_rng *r, uint32_t n)
{
    return (uint32_t)(((sim_rng_next(r) >> 32) * n) >> 32);
}

/* lo .. hi, both included. */
static inline int64_t sim_rng_range(struct sim_rng *r, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(sim_rng_next(r) % (uint64_t)(hi - lo + 1));
}

/* True in `permille` of 1000 cases. */
static inline bool sim_rng_chance(struct sim_rng *r, uint32_t permille)
{
    return sim_rng_below(r, 1000) < permille;
}

static inline struct sim_rng sim_rng_seed(uint64_t seed, uint64_t stream)
{
    struct sim_rng r = {.s = seed * 0x2545f4914f6cdd1dull + stream * 0x9e3779b97f4a7c15ull};
    (void)sim_rng_next(&r);
    return r;
}

#endif
