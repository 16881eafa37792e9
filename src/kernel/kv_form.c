/* Lists of keys and values: places of entries, ggml's roundings, moves. */
#include "kernel/kv_form.h"

#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

enum { block = KVL_KV_BLOCK, panel = KVL_KEY_PANEL };

const int8_t kvli_iq4_nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

kvl_kv_form kvl_kv_form_of(kvl_kv_type type, size_t dim, bool is_values) {
    kvl_kv_form f = {.type = type, .is_values = is_values, .dim = dim, .n_blocks = 1};
    if (kvl_kv_is_quantized(type)) {
        f.n_blocks = dim / block;
        f.n_rows[0] = type == KVL_KV_Q4_1 ? 2 : 1;
        f.item_bytes[0] = sizeof(uint16_t);
        f.n_rows[1] = is_values ? 1 : kvl_kv_quant_bytes(type);
        f.item_bytes[1] = is_values ? kvl_kv_quant_bytes(type) : 1;
    } else {
        f.n_rows[0] = is_values ? 1 : dim;
        f.item_bytes[0] = (is_values ? dim : 1) * kvl_kv_bytes(type);
    }
    return f;
}

/* Where entry `slot` lies: rows of 16 items, of which its is the first here. */
static size_t panel_at(const kvl_kv_form *f, size_t slot) {
    return kvl_kv_room_bytes(f, slot / panel * panel);
}

/* ---- rounding, as in quantize_row_*_ref of ggml ---- */

/* 32 numbers rounded. */
typedef struct rounded {
    uint16_t d, m; /* f16 */
    uint8_t q[block];
} rounded;

static float largest(const float *x, float *size) {
    float most = 0;
    *size = 0;
    for (size_t i = 0; i < block; i++) {
        if (fabsf(x[i]) > *size) {
            *size = fabsf(x[i]);
            most = x[i];
        }
    }
    return most;
}

/* 0 where all numbers are as good as 0: scales so small are 0 in f16. */
static float inverse_of(float d) { return fabsf(d) > 1e-37f ? 1 / d : 0; }

static void round_q8_0(rounded *to, const float *x) {
    float size = 0;
    largest(x, &size);
    const float d = size / 127;
    const float inverse = inverse_of(d);
    to->d = kvl_f16_of_f32(d);
    for (size_t i = 0; i < block; i++) { /* to nearest, halves away from zero: roundf without a call */
        const float scaled = x[i] * inverse;
        const int whole = (int)scaled;
        const float rest = scaled - (float)whole;
        to->q[i] = (uint8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
    }
}

static void round_q4_0(rounded *to, const float *x) {
    float size = 0;
    const float d = largest(x, &size) / -8;
    const float inverse = inverse_of(d);
    to->d = kvl_f16_of_f32(d);
    for (size_t i = 0; i < block; i++) {
        const int q = (int)(x[i] * inverse + 8.5f);
        to->q[i] = (uint8_t)(q < 15 ? q : 15);
    }
}

static void round_q4_1(rounded *to, const float *x) {
    float least = x[0];
    float most = x[0];
    for (size_t i = 1; i < block; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    const float d = (most - least) / 15;
    const float inverse = inverse_of(d);
    to->d = kvl_f16_of_f32(d);
    to->m = kvl_f16_of_f32(least);
    for (size_t i = 0; i < block; i++) {
        const int q = (int)((x[i] - least) * inverse + 0.5f);
        to->q[i] = (uint8_t)(q < 15 ? q : 15);
    }
}

/* The index of the nearest number of the table; of two as near the upper one. */
static size_t nearest_iq4_nl(float x) {
    const int8_t *table = kvli_iq4_nl;
    size_t low = 0;
    size_t high = 15;
    if (x <= table[low]) {
        return low;
    }
    if (x >= table[high]) {
        return high;
    }
    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        *(x < table[middle] ? &high : &low) = middle;
    }
    return x - table[low] < table[high] - x ? low : high;
}

/* Indices by the scale that brings the largest number to -127; then the scale of least squares for them,
 * weighted by x^2. */
static void round_iq4_nl(rounded *to, const float *x) {
    float size = 0;
    const float inverse = inverse_of(largest(x, &size) / kvli_iq4_nl[0]);
    float sum_qx = 0;
    float sum_q2 = 0;
    memset(to, 0, sizeof *to);
    if (size < 1e-15f) {
        return;
    }
    for (size_t i = 0; i < block; i++) {
        to->q[i] = (uint8_t)nearest_iq4_nl(inverse * x[i]);
        const float q = kvli_iq4_nl[to->q[i]];
        const float weight = x[i] * x[i];
        sum_qx += weight * q * x[i];
        sum_q2 += weight * q * q;
    }
    to->d = kvl_f16_of_f32(sum_qx / sum_q2);
}

static void round_block(rounded *to, kvl_kv_type type, const float *x) {
    float zero = 0;
    for (size_t i = 0; i < block; i++) {
        zero += x[i] * 0.0f;
    }
    if (zero != 0 || isnan(zero)) {
        *to = (rounded){.d = 0x7e00};
        return;
    }
    switch (type) {
    case KVL_KV_Q8_0: round_q8_0(to, x); break;
    case KVL_KV_Q4_0: round_q4_0(to, x); break;
    case KVL_KV_Q4_1: round_q4_1(to, x); break;
    default: round_iq4_nl(to, x); break;
    }
}

/* ---- entries ---- */

static void put_block(const kvl_kv_form *f, uint8_t *at, size_t lane, const rounded *x) {
    const size_t n_bytes = kvl_kv_quant_bytes(f->type);
    const size_t apart = f->is_values ? block / 2 : 1; /* dimensions of a byte of nibbles */
    memcpy(at + lane * sizeof x->d, &x->d, sizeof x->d);
    if (f->type == KVL_KV_Q4_1) {
        memcpy(at + (panel + lane) * sizeof x->m, &x->m, sizeof x->m);
    }
    uint8_t *to = at + f->n_rows[0] * panel * sizeof x->d + lane * f->item_bytes[1];
    const size_t stride = f->is_values ? 1 : panel;
    for (size_t i = 0; i < n_bytes; i++) {
        const size_t low = f->is_values ? i : 2 * i;
        to[i * stride] = n_bytes == block ? x->q[i] : (uint8_t)(x->q[low] | x->q[low + apart] << 4);
    }
}

static void put_plain(const kvl_kv_form *f, char *at, size_t lane, const float *x) {
    if (f->is_values) {
        kvl_kv_narrow(at + lane * f->item_bytes[0], f->type, x, f->dim);
        return;
    }
    float *as_f32 = (float *)(void *)at + lane;
    uint16_t *as_u16 = (uint16_t *)(void *)at + lane;
    for (size_t d = 0; d < f->dim; d++) {
        switch (f->type) {
        case KVL_KV_F32: as_f32[d * panel] = x[d]; break;
        case KVL_KV_F16: as_u16[d * panel] = kvl_f16_of_f32(x[d]); break;
        default: as_u16[d * panel] = kvl_bf16_of_f32(x[d]); break;
        }
    }
}

void kvl_kv_put(const kvl_kv_form *f, void *list, size_t slot, const float *x) {
    char *at = (char *)list + panel_at(f, slot);
    if (!kvl_kv_is_quantized(f->type)) {
        put_plain(f, at, slot % panel, x);
        return;
    }
    rounded r = {0};
    for (size_t b = 0; b < f->n_blocks; b++) {
        round_block(&r, f->type, x + b * block);
        put_block(f, (uint8_t *)at + b * panel * kvl_kv_row_bytes(f->type, block), slot % panel, &r);
    }
}

static float plain_at(kvl_kv_type type, const char *at) {
    float x;
    kvl_kv_widen(&x, type, at, 1);
    return x;
}

static float half_at(const uint8_t *at) {
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return kvl_f32_of_f16(bits);
}

typedef struct scales {
    float d, m;
} scales;

/* Of entry number `lane` of a panel's block. */
static scales scales_at(const kvl_kv_form *f, const uint8_t *at, size_t lane) {
    const bool has_least = f->type == KVL_KV_Q4_1;
    return (scales){half_at(at + lane * sizeof(uint16_t)),
                    has_least ? half_at(at + (panel + lane) * sizeof(uint16_t)) : 0};
}

static float of_nibble(kvl_kv_type type, scales s, unsigned q) {
    switch (type) {
    case KVL_KV_Q4_0: return s.d * ((float)q - 8);
    case KVL_KV_Q4_1: return s.d * (float)q + s.m;
    default: return s.d * (float)kvli_iq4_nl[q];
    }
}

/* Dimension i of 32 of such an entry. */
static float quantized_at(const kvl_kv_form *f, const uint8_t *at, size_t lane, size_t i) {
    const uint8_t *q = at + f->n_rows[0] * panel * sizeof(uint16_t) + lane * f->item_bytes[1];
    const size_t stride = f->is_values ? 1 : panel;
    const scales s = scales_at(f, at, lane);
    if (f->type == KVL_KV_Q8_0) {
        return s.d * (float)(int8_t)q[i * stride];
    }
    const size_t byte = f->is_values ? i % (block / 2) : i / 2;
    const bool is_high = f->is_values ? i >= block / 2 : i % 2 != 0;
    return of_nibble(f->type, s, q[byte * stride] >> (is_high ? 4 : 0) & 15u);
}

float kvli_kv_at(const kvl_kv_form *f, const void *list, size_t slot, size_t d) {
    const char *at = (const char *)list + panel_at(f, slot);
    if (kvl_kv_is_quantized(f->type)) {
        at += d / block * panel * kvl_kv_row_bytes(f->type, block);
        return quantized_at(f, (const uint8_t *)at, slot % panel, d % block);
    }
    const size_t item = f->is_values ? slot % panel * f->dim + d : d * panel + slot % panel;
    return plain_at(f->type, at + item * kvl_kv_bytes(f->type));
}

/* A plain key: numbers `panel` items apart. */
static void get_key(const kvl_kv_form *f, float *x, const char *at, size_t lane) {
    const float *as_f32 = (const float *)(const void *)at + lane;
    const uint16_t *as_u16 = (const uint16_t *)(const void *)at + lane;
    for (size_t d = 0; d < f->dim; d++) {
        switch (f->type) {
        case KVL_KV_F32: x[d] = as_f32[d * panel]; break;
        case KVL_KV_F16: x[d] = kvl_f32_of_f16(as_u16[d * panel]); break;
        default: x[d] = kvl_f32_of_bf16(as_u16[d * panel]); break;
        }
    }
}

/* A block of an entry. */
static void get_block(const kvl_kv_form *f, float *x, const uint8_t *at, size_t lane) {
    const size_t n_bytes = kvl_kv_quant_bytes(f->type);
    const uint8_t *q = at + f->n_rows[0] * panel * sizeof(uint16_t) + lane * f->item_bytes[1];
    const size_t stride = f->is_values ? 1 : panel;
    const scales s = scales_at(f, at, lane);
    for (size_t i = 0; i < n_bytes; i++) {
        const unsigned byte = q[i * stride];
        if (n_bytes == block) {
            x[i] = s.d * (float)(int8_t)byte;
            continue;
        }
        const size_t low = f->is_values ? i : 2 * i;
        const size_t high = f->is_values ? i + block / 2 : low + 1;
        x[low] = of_nibble(f->type, s, byte & 15u);
        x[high] = of_nibble(f->type, s, byte >> 4);
    }
}

void kvl_kv_get(const kvl_kv_form *f, float *x, const void *list, size_t first, size_t n) {
    const bool is_quantized = kvl_kv_is_quantized(f->type);
    if (n == 0) { /* lists without entries have no memory */
        return;
    }
    if (f->is_values && !is_quantized) {
        kvl_kv_widen(x, f->type, (const char *)list + kvl_kv_room_bytes(f, first), n * f->dim);
        return;
    }
    for (size_t slot = first; slot < first + n; slot++, x += f->dim) {
        const char *at = (const char *)list + panel_at(f, slot);
        for (size_t b = 0; b < f->n_blocks && is_quantized; b++) {
            get_block(f, x + b * block, (const uint8_t *)at, slot % panel);
            at += panel * kvl_kv_row_bytes(f->type, block);
        }
        if (!is_quantized) {
            get_key(f, x, at, slot % panel);
        }
    }
}

/* ---- moves ---- */

static void move_item(char *to, const char *from, size_t n_bytes) {
    switch (n_bytes) { /* constants: no calls */
    case 1: *to = *from; break;
    case 2: memmove(to, from, 2); break;
    case 4: memmove(to, from, 4); break;
    default: memmove(to, from, n_bytes); break;
    }
}

/* n entries of one panel, from lane `lane` on; row by row, so that in a panel that gathers from itself what
 * is written over has been read. */
static void gather_panel(const kvl_kv_form *f, char *to, size_t lane, const char *const *from,
                         const size_t *from_lane, size_t n) {
    size_t row = 0; /* its first byte */
    for (size_t b = 0; b < f->n_blocks; b++) {
        for (size_t part = 0; part < 2; part++) {
            const size_t size = f->item_bytes[part];
            for (size_t r = 0; r < f->n_rows[part]; r++, row += panel * size) {
                for (size_t i = 0; i < n; i++) {
                    move_item(to + row + (lane + i) * size, from[i] + row + from_lane[i] * size, size);
                }
            }
        }
    }
}

void kvl_kv_gather(const kvl_kv_form *f, void *to, size_t first, const void *from, const uint32_t *slots,
                   size_t n) {
    for (size_t done = 0, n_lanes = 0; done < n; done += n_lanes) {
        const char *panels[panel];
        size_t lanes[panel];
        const size_t lane = (first + done) % panel;
        n_lanes = kvl_min_size(panel - lane, n - done);
        for (size_t i = 0; i < n_lanes; i++) {
            const size_t slot = slots != NULL ? slots[done + i] : done + i;
            panels[i] = (const char *)from + panel_at(f, slot);
            lanes[i] = slot % panel;
        }
        gather_panel(f, (char *)to + panel_at(f, first + done), lane, panels, lanes, n_lanes);
    }
}
