/* One function per block type, all by the same plan: take the scales, unpack the small integers.
 *
 * Names in the formats: d and m (or dmin) are f16 scale and minimum of a block; in the 256-value types each
 * sub-block of 16 or 32 values has small integer scales of its own. `low`/`high` are the nibbles of a byte.
 */
#include "file/blocks.h"

static uint16_t u16_at(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32_at(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- blocks of 32: value i in the low nibble of byte i, value 16 + i in its high nibble ---- */

static void nibbles(kvli_block *to, const uint8_t *bytes) {
    for (int i = 0; i < 16; i++) {
        to->q[i] = (int8_t)(bytes[i] & 15);
        to->q[16 + i] = (int8_t)(bytes[i] >> 4);
    }
}

/* d f16, 16 bytes of nibbles; value = d (q - 8) */
static void q4_0(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b);
    nibbles(to, b + 2);
}

/* d f16, m f16, 16 bytes of nibbles; value = d q + m */
static void q4_1(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b);
    to->m = u16_at(b + 2);
    nibbles(to, b + 4);
}

static void fifth_bits(kvli_block *to, const uint8_t *bytes, int zero) {
    uint32_t fifth = u32_at(bytes);
    for (int i = 0; i < 32; i++) {
        to->q[i] = (int8_t)((to->q[i] | (int)(fifth >> i & 1u) << 4) - zero);
    }
}

/* d f16, fifth bits u32, nibbles; value = d (q - 16) */
static void q5_0(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b);
    nibbles(to, b + 6);
    fifth_bits(to, b + 2, 16);
}

/* d f16, m f16, fifth bits u32, nibbles; value = d q + m */
static void q5_1(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b);
    to->m = u16_at(b + 2);
    nibbles(to, b + 8);
    fifth_bits(to, b + 4, 0);
}

/* d f16, 32 signed bytes; value = d q */
static void q8_0(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b);
    for (int i = 0; i < 32; i++) {
        to->q[i] = (int8_t)b[2 + i];
    }
}

/* The 16 levels of the IQ4 types. Source: ggml-common.h, kvalues_iq4nl. */
static const int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

static void iq4_nl(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b);
    for (int i = 0; i < 16; i++) {
        to->q[i] = iq4_levels[b[2 + i] & 15];
        to->q[16 + i] = iq4_levels[b[2 + i] >> 4];
    }
}

/* ---- blocks of 256 ---- */

/* scales [16] (low nibble scale, high nibble minimum), 64 bytes of 2-bit values, d f16, dmin f16. The 64
 * bytes are two runs of 32; run r holds values 128 r + 32 shift/2 + i in bits shift, shift + 1 of byte i. */
static void q2_k(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b + 80);
    to->m = u16_at(b + 82);
    for (int part = 0; part < 16; part++) {
        const uint8_t *q = b + 16 + part / 8 * 32 + part % 2 * 16;
        int shift = part % 8 / 2 * 2;
        to->scale[part] = (int8_t)(b[part] & 15);
        to->least[part] = (uint8_t)(b[part] >> 4);
        for (int i = 0; i < 16; i++) {
            to->q[16 * part + i] = (int8_t)(q[i] >> shift & 3);
        }
    }
}

/* third bits [32], 64 bytes of 2-bit values as in q2_k, 12 bytes of 16 six-bit scales, d f16. value = d scale
 * (q - 4) with the third bit on top. */
static void q3_k(kvli_block *to, const uint8_t *b) {
    const uint8_t *packed = b + 96;
    to->d = u16_at(b + 108);
    for (int part = 0; part < 16; part++) {
        int low = part < 8 ? packed[part] & 15 : packed[part - 8] >> 4;
        int high = packed[8 + part % 4] >> (part / 4 * 2) & 3;
        const uint8_t *q = b + 32 + part / 8 * 32 + part % 2 * 16;
        const uint8_t *third = b + part % 2 * 16;
        int shift = part % 8 / 2 * 2;
        to->scale[part] = (int8_t)((low | high << 4) - 32);
        for (int i = 0; i < 16; i++) {
            to->q[16 * part + i] = (int8_t)((q[i] >> shift & 3) | (third[i] >> (part / 2) & 1) << 2);
        }
    }
}

/* Scales and minima of q4_k and q5_k: d f16, dmin f16, 12 bytes of six-bit integers: 0-3 whole in bytes 0-3
 * and 4-7, 4-7 with their low nibbles in bytes 8-11 and their two high bits on top of bytes 0-7. Each is for
 * 32 values. */
static void six_bit_scales(kvli_block *to, const uint8_t *b) {
    const uint8_t *packed = b + 4;
    to->d = u16_at(b);
    to->m = u16_at(b + 2);
    for (int i = 0; i < 8; i++) {
        int scale = packed[i] & 63;
        int least = packed[4 + i] & 63;
        if (i >= 4) {
            scale = (packed[4 + i] & 15) | (packed[i - 4] >> 2 & 48);
            least = (packed[4 + i] >> 4) | (packed[i] >> 2 & 48);
        }
        to->scale[2 * i] = to->scale[2 * i + 1] = (int8_t)scale;
        to->least[2 * i] = to->least[2 * i + 1] = (uint8_t)least;
    }
}

/* Scales, 128 bytes of nibbles: run r of 32 bytes holds sub-blocks 2 r and 2 r + 1. */
static void q4_k(kvli_block *to, const uint8_t *b) {
    six_bit_scales(to, b);
    for (int part = 0; part < 8; part++) {
        const uint8_t *q = b + 16 + part / 2 * 32;
        for (int i = 0; i < 32; i++) {
            to->q[32 * part + i] = (int8_t)(q[i] >> (part % 2 * 4) & 15);
        }
    }
}

/* As q4_k with fifth bits [32] behind the scales: bit `part` of byte i. */
static void q5_k(kvli_block *to, const uint8_t *b) {
    six_bit_scales(to, b);
    for (int part = 0; part < 8; part++) {
        const uint8_t *q = b + 48 + part / 2 * 32;
        for (int i = 0; i < 32; i++) {
            to->q[32 * part + i] = (int8_t)((q[i] >> (part % 2 * 4) & 15) | (b[16 + i] >> part & 1) << 4);
        }
    }
}

/* low nibbles [128], high bit pairs [64], signed scales [16], d f16; value = d scale (q - 32). Each half of
 * 128 values uses 64 low bytes (32-value runs 0, 1 in low, 2, 3 in high nibbles) and 32 high bytes. */
static void q6_k(kvli_block *to, const uint8_t *b) {
    to->d = u16_at(b + 208);
    for (int part = 0; part < 16; part++) {
        int half = part / 8;
        int run = part % 8 / 2; /* of 32 values */
        const uint8_t *low = b + half * 64 + run % 2 * 32 + part % 2 * 16;
        const uint8_t *high = b + 128 + half * 32 + part % 2 * 16;
        to->scale[part] = (int8_t)b[192 + part];
        for (int i = 0; i < 16; i++) {
            int value = (low[i] >> (run / 2 * 4) & 15) | (high[i] >> (2 * run) & 3) << 4;
            to->q[16 * part + i] = (int8_t)(value - 32);
        }
    }
}

/* d f16, high scale bits u16, low scale nibbles [4], 128 bytes of nibbles: sub-block `part` of 32 values has
 * 16 bytes, first half in low nibbles; value = d (scale - 32) level. */
static void iq4_xs(kvli_block *to, const uint8_t *b) {
    unsigned high = (unsigned)b[2] | (unsigned)b[3] << 8;
    to->d = u16_at(b);
    for (int part = 0; part < 8; part++) {
        unsigned low = (unsigned)b[4 + part / 2] >> (part % 2 * 4) & 15u;
        int scale = (int)(low | (high >> (2 * part) & 3u) << 4) - 32;
        const uint8_t *q = b + 8 + part * 16;
        to->scale[2 * part] = to->scale[2 * part + 1] = (int8_t)scale;
        for (int i = 0; i < 16; i++) {
            to->q[32 * part + i] = iq4_levels[q[i] & 15];
            to->q[32 * part + 16 + i] = iq4_levels[q[i] >> 4];
        }
    }
}

static const kvli_block_format formats[] = {
    {KVL_DTYPE_Q4_0, q4_0, KVL_PANEL_Q4, 8, false},
    {KVL_DTYPE_Q4_1, q4_1, KVL_PANEL_Q4, 0, true},
    {KVL_DTYPE_Q5_0, q5_0, KVL_PANEL_Q8, 0, false},
    {KVL_DTYPE_Q5_1, q5_1, KVL_PANEL_Q8, 0, true},
    {KVL_DTYPE_Q8_0, q8_0, KVL_PANEL_Q8, 0, false},
    {KVL_DTYPE_IQ4_NL, iq4_nl, KVL_PANEL_Q8, 0, false},
    {KVL_DTYPE_Q2_K, q2_k, KVL_PANEL_Q4_SUPER, 0, true},
    {KVL_DTYPE_Q3_K, q3_k, KVL_PANEL_Q4_SUPER, 4, false},
    {KVL_DTYPE_Q4_K, q4_k, KVL_PANEL_Q4_SUPER, 0, true},
    {KVL_DTYPE_Q5_K, q5_k, KVL_PANEL_Q8_SUPER, 0, true},
    {KVL_DTYPE_Q6_K, q6_k, KVL_PANEL_Q8_SUPER, 0, false},
    {KVL_DTYPE_IQ4_XS, iq4_xs, KVL_PANEL_Q8_SUPER, 0, false},
};

const kvli_block_format *kvli_block_format_of(kvl_dtype t) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i].dtype == t) {
            return &formats[i];
        }
    }
    return NULL;
}
