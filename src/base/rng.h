/* Counter-based random numbers: a draw is a pure function of (seed, stream, index).
 *
 * Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), chained over the three words. No state,
 * so that the priority of a cache entry does not depend on the order in which entries are scored.
 */
#ifndef KVL_BASE_RNG_H
#define KVL_BASE_RNG_H

#include "base/compiler.h"

#include <math.h>

static inline uint64_t kvl_rng_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
static inline uint64_t kvl_rng_draw(uint64_t seed, uint64_t stream, uint64_t index) {
    return kvl_rng_mix(index ^ kvl_rng_mix(stream ^ kvl_rng_mix(seed)));
}
/* Uniform in [0, 1), 24 bits: exact in float. */
static inline float kvl_rng_unit(uint64_t seed, uint64_t stream, uint64_t index) {
    return (float)(kvl_rng_draw(seed, stream, index) >> 40) * 0x1p-24f;
}
/* Normal with mean 0 and variance 1, from draws 2 index and 2 index + 1 (Box and Muller 1958). */
static inline double kvl_rng_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    const double u1 = 1 - (double)kvl_rng_unit(seed, stream, 2 * index);
    const double u2 = (double)kvl_rng_unit(seed, stream, 2 * index + 1);
    return sqrt(-2 * log(u1)) * cos(6.283185307179586 * u2);
}

#endif
