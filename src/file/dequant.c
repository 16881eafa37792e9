/* One function per block type, all by the same plan: read the scales, unpack the small integers, scale.
 *
 * Names in the formats: d and m (or dmin) are f16 scale and minimum of a block; in the 256-value types each
 * sub-block of 16 or 32 values has small integer scales of its own. `low`/`high` are the nibbles of a byte.
 */
#include "file/dequant.h"

#include "kernel/kernel.h"

static float f16_at(const uint8_t *p) { return kvl_f32_of_f16((uint16_t)(p[0] | p[1] << 8)); }
static uint32_t u32_at(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- blocks of 32: value i in the low nibble of byte i, value 16 + i in its high nibble ---- */

/* d f16, 16 bytes of nibbles; value = d (q - 8) */
static void q4_0(float *dst, const uint8_t *b) {
    float d = f16_at(b);
    for (int i = 0; i < 16; i++) {
        dst[i] = d * (float)((b[2 + i] & 15) - 8);
        dst[16 + i] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

/* d f16, m f16, 16 bytes of nibbles; value = d q + m */
static void q4_1(float *dst, const uint8_t *b) {
    float d = f16_at(b);
    float m = f16_at(b + 2);
    for (int i = 0; i < 16; i++) {
        dst[i] = d * (float)(b[4 + i] & 15) + m;
        dst[16 + i] = d * (float)(b[4 + i] >> 4) + m;
    }
}

/* d f16, fifth bits u32, nibbles; value = d (q - 16) */
static void q5_0(float *dst, const uint8_t *b) {
    float d = f16_at(b);
    uint32_t fifth = u32_at(b + 2);
    for (int i = 0; i < 16; i++) {
        int low = (int)((b[6 + i] & 15u) | (fifth >> i & 1u) << 4);
        int high = (int)(((uint32_t)b[6 + i] >> 4) | (fifth >> (16 + i) & 1u) << 4);
        dst[i] = d * (float)(low - 16);
        dst[16 + i] = d * (float)(high - 16);
    }
}

/* d f16, m f16, fifth bits u32, nibbles; value = d q + m */
static void q5_1(float *dst, const uint8_t *b) {
    float d = f16_at(b);
    float m = f16_at(b + 2);
    uint32_t fifth = u32_at(b + 4);
    for (int i = 0; i < 16; i++) {
        int low = (int)((b[8 + i] & 15u) | (fifth >> i & 1u) << 4);
        int high = (int)(((uint32_t)b[8 + i] >> 4) | (fifth >> (16 + i) & 1u) << 4);
        dst[i] = d * (float)low + m;
        dst[16 + i] = d * (float)high + m;
    }
}

/* d f16, 32 signed bytes; value = d q */
static void q8_0(float *dst, const uint8_t *b) {
    float d = f16_at(b);
    for (int i = 0; i < 32; i++) {
        dst[i] = (float)(int8_t)b[2 + i] * d;
    }
}

/* The 16 levels of the IQ4 types. Source: ggml-common.h, kvalues_iq4nl. */
static const int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

static void iq4_nl(float *dst, const uint8_t *b) {
    float d = f16_at(b);
    for (int i = 0; i < 16; i++) {
        dst[i] = d * (float)iq4_levels[b[2 + i] & 15];
        dst[16 + i] = d * (float)iq4_levels[b[2 + i] >> 4];
    }
}

/* ---- blocks of 256 ---- */

/* scales [16] (low nibble scale, high nibble minimum), 64 bytes of 2-bit values, d f16, dmin f16. The 64
 * bytes are two runs of 32; run r holds values 128 r + 32 shift/2 + i in bits shift, shift + 1 of byte i. */
static void q2_k(float *dst, const uint8_t *b) {
    float d = f16_at(b + 80);
    float dmin = f16_at(b + 82);
    for (int part = 0; part < 16; part++) {
        float scale = d * (float)(b[part] & 15);
        float least = dmin * (float)(b[part] >> 4);
        const uint8_t *q = b + 16 + part / 8 * 32 + part % 2 * 16;
        int shift = part % 8 / 2 * 2;
        for (int i = 0; i < 16; i++) {
            dst[16 * part + i] = scale * (float)(q[i] >> shift & 3) - least;
        }
    }
}

/* third bits [32], 64 bytes of 2-bit values as in q2_k, 12 bytes of 16 six-bit scales, d f16. A third bit
 * that is clear subtracts 4. */
static void q3_k(float *dst, const uint8_t *b) {
    const uint8_t *packed = b + 96;
    float d = f16_at(b + 108);
    for (int part = 0; part < 16; part++) {
        int low = part < 8 ? packed[part] & 15 : packed[part - 8] >> 4;
        int high = packed[8 + part % 4] >> (part / 4 * 2) & 3;
        float scale = d * (float)((low | high << 4) - 32);
        const uint8_t *q = b + 32 + part / 8 * 32 + part % 2 * 16;
        const uint8_t *third = b + part % 2 * 16;
        int shift = part % 8 / 2 * 2;
        for (int i = 0; i < 16; i++) {
            int missing = (third[i] >> (part / 2) & 1) ^ 1;
            dst[16 * part + i] = scale * (float)((q[i] >> shift & 3) - 4 * missing);
        }
    }
}

/* Scale and minimum of sub-block i of q4_k and q5_k. b: d f16, dmin f16, 12 bytes of six-bit integers: 0-3
 * whole in bytes 0-3 and 4-7, 4-7 with their low nibbles in bytes 8-11 and their two high bits on top of
 * bytes 0-7. */
static void unpack_scale(const uint8_t *b, int i, float *factor, float *offset) {
    const uint8_t *packed = b + 4;
    int scale = packed[i] & 63;
    int least = packed[4 + i] & 63;
    if (i >= 4) {
        scale = (packed[4 + i] & 15) | (packed[i - 4] >> 2 & 48);
        least = (packed[4 + i] >> 4) | (packed[i] >> 2 & 48);
    }
    *factor = f16_at(b) * (float)scale;
    *offset = f16_at(b + 2) * (float)least;
}

/* Scales, 128 bytes of nibbles: run r of 32 bytes holds sub-blocks 2 r and 2 r + 1. */
static void q4_k(float *dst, const uint8_t *b) {
    for (int part = 0; part < 8; part++) {
        float factor = 0, offset = 0;
        unpack_scale(b, part, &factor, &offset);
        const uint8_t *q = b + 16 + part / 2 * 32;
        for (int i = 0; i < 32; i++) {
            dst[32 * part + i] = factor * (float)(q[i] >> (part % 2 * 4) & 15) - offset;
        }
    }
}

/* As q4_k with fifth bits [32] behind the scales: bit `part` of byte i. */
static void q5_k(float *dst, const uint8_t *b) {
    for (int part = 0; part < 8; part++) {
        float factor = 0, offset = 0;
        unpack_scale(b, part, &factor, &offset);
        const uint8_t *q = b + 48 + part / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int value = (q[i] >> (part % 2 * 4) & 15) | (b[16 + i] >> part & 1) << 4;
            dst[32 * part + i] = factor * (float)value - offset;
        }
    }
}

/* low nibbles [128], high bit pairs [64], signed scales [16], d f16; value = d scale (q - 32). Each half of
 * 128 values uses 64 low bytes (32-value runs 0, 1 in low, 2, 3 in high nibbles) and 32 high bytes. */
static void q6_k(float *dst, const uint8_t *b) {
    float d = f16_at(b + 208);
    for (int part = 0; part < 16; part++) {
        float scale = d * (float)(int8_t)b[192 + part];
        int half = part / 8;
        int run = part % 8 / 2; /* of 32 values */
        const uint8_t *low = b + half * 64 + run % 2 * 32 + part % 2 * 16;
        const uint8_t *high = b + 128 + half * 32 + part % 2 * 16;
        for (int i = 0; i < 16; i++) {
            int value = (low[i] >> (run / 2 * 4) & 15) | (high[i] >> (2 * run) & 3) << 4;
            dst[16 * part + i] = scale * (float)(value - 32);
        }
    }
}

/* d f16, high scale bits u16, low scale nibbles [4], 128 bytes of nibbles: sub-block `part` of 32 values has
 * 16 bytes, first half in low nibbles; value = d (scale - 32) level. */
static void iq4_xs(float *dst, const uint8_t *b) {
    float d = f16_at(b);
    unsigned high = (unsigned)b[2] | (unsigned)b[3] << 8;
    for (int part = 0; part < 8; part++) {
        unsigned low = (unsigned)b[4 + part / 2] >> (part % 2 * 4) & 15u;
        int scale = (int)(low | (high >> (2 * part) & 3u) << 4) - 32;
        float factor = d * (float)scale;
        const uint8_t *q = b + 8 + part * 16;
        for (int i = 0; i < 16; i++) {
            dst[32 * part + i] = factor * (float)iq4_levels[q[i] & 15];
            dst[32 * part + 16 + i] = factor * (float)iq4_levels[q[i] >> 4];
        }
    }
}

typedef void block_fn(float *dst, const uint8_t *block);

static block_fn *function_of(kvl_dtype t) {
    switch (t) {
    case KVL_DTYPE_Q4_0: return q4_0;
    case KVL_DTYPE_Q4_1: return q4_1;
    case KVL_DTYPE_Q5_0: return q5_0;
    case KVL_DTYPE_Q5_1: return q5_1;
    case KVL_DTYPE_Q8_0: return q8_0;
    case KVL_DTYPE_Q2_K: return q2_k;
    case KVL_DTYPE_Q3_K: return q3_k;
    case KVL_DTYPE_Q4_K: return q4_k;
    case KVL_DTYPE_Q5_K: return q5_k;
    case KVL_DTYPE_Q6_K: return q6_k;
    case KVL_DTYPE_IQ4_NL: return iq4_nl;
    case KVL_DTYPE_IQ4_XS: return iq4_xs;
    default: return NULL;
    }
}

void kvli_dequantise(float *dst, const uint8_t *src, size_t n, kvl_dtype t) {
    block_fn *fn = function_of(t);
    size_t items = kvl_dtype_block_items(t);
    size_t bytes = kvl_dtype_block_bytes(t);
    for (size_t i = 0; fn != NULL && i < n / items; i++) {
        fn(dst + i * items, src + i * bytes);
    }
}
