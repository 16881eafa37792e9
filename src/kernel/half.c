/* Widening of 16-bit floats, and back where nothing is lost: exact, in plain integer arithmetic, the same on
 * every machine. */
#include "kernel/kernel.h"

#include <string.h>

static float float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float kvl_f32_of_bf16(uint16_t bits) { return float_of_bits((uint32_t)bits << 16); }

float kvl_f32_of_f16(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = (bits >> 10) & 31u;
    uint32_t fraction = bits & 0x3ffu;
    if (exponent == 31) { /* infinity and NaN */
        return float_of_bits(sign | 0x7f800000u | (fraction << 13));
    }
    if (exponent != 0) { /* normal: the bias goes from 15 to 127 */
        return float_of_bits(sign | ((exponent + 112u) << 23) | (fraction << 13));
    }
    float magnitude = (float)fraction * 0x1p-24f; /* zero and subnormal: exact in f32 */
    return sign != 0 ? -magnitude : magnitude;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

uint16_t kvl_bf16_of_exact(float x) { return (uint16_t)(bits_of(x) >> 16); }

uint16_t kvl_bf16_of_f32(float x) {
    uint32_t bits = bits_of(x);
    if (x != x) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

uint16_t kvl_f16_of_exact(float x) {
    uint32_t bits = bits_of(x);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t exponent = bits >> 23 & 255u;
    if (exponent >= 113) { /* normal: the bias goes from 127 to 15 */
        return (uint16_t)(sign | (exponent - 112) << 10 | (bits >> 13 & 0x3ffu));
    }
    float magnitude = float_of_bits(bits & 0x7fffffffu) * 0x1p24f; /* zero and subnormal: a whole number */
    return (uint16_t)(sign | (uint32_t)magnitude);
}

uint16_t kvl_f16_of_f32(float x) {
    uint32_t bits = bits_of(x);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) { /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 leaves the multiples of 2^-24 in the low bits */
        return (uint16_t)(sign | (bits_of(float_of_bits(magnitude) + 0.5f) - 0x3f000000u));
    }
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13);
}

void kvl_kv_narrow(void *dst, kvl_kv_type t, const float *src, size_t n) {
    uint16_t *to = dst;
    if (t == KVL_KV_F32) {
        memcpy(dst, src, n * sizeof *src);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = t == KVL_KV_F16 ? kvl_f16_of_f32(src[i]) : kvl_bf16_of_f32(src[i]);
    }
}

void kvl_kv_widen(float *dst, kvl_kv_type t, const void *src, size_t n) {
    const uint16_t *from = src;
    if (t == KVL_KV_F32 && n != 0) { /* lists without entries have no memory */
        memcpy(dst, src, n * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        dst[i] = t == KVL_KV_F16 ? kvl_f32_of_f16(from[i]) : kvl_f32_of_bf16(from[i]);
    }
}

static uint16_t load_u16le(const uint8_t *src) { return (uint16_t)(src[0] | (src[1] << 8)); }

void kvl_widen_f16(float *dst, const uint8_t *src, size_t n) {
    for (size_t i = 0; i < n; i++) {
        dst[i] = kvl_f32_of_f16(load_u16le(src + 2 * i));
    }
}

void kvl_widen_bf16(float *dst, const uint8_t *src, size_t n) {
    for (size_t i = 0; i < n; i++) {
        dst[i] = kvl_f32_of_bf16(load_u16le(src + 2 * i));
    }
}
