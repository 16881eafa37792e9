/* Weight panels: 32 output columns side by side, so that a product walks memory in order. */
#include "kernel/kernel_int.h"

#include <string.h>

enum { CACHE_LINE = 16 }; /* floats */

size_t kvl_panel_bytes(kvl_panel_type type, size_t n_in) {
    switch (type) {
    case KVL_PANEL_F32: return n_in * KVL_PANEL_COLS * 4;
    case KVL_PANEL_F16:
    case KVL_PANEL_BF16: return n_in * KVL_PANEL_COLS * 2;
    case KVL_PANEL_BF16_PAIRS: return (n_in + 1) / 2 * KVL_PANEL_COLS * 4;
    case KVL_PANEL_Q4:
    case KVL_PANEL_Q8: return n_in / KVL_PANEL_BLOCK * (KVL_PANEL_PAIR_BYTES + kvl_panel_q_bytes(type));
    default: break;
    }
    return n_in / KVL_PANEL_SUPER *
           (KVL_PANEL_PAIR_BYTES + 8 * (KVL_PANEL_SMALL_BYTES + kvl_panel_q_bytes(type)));
}

size_t kvl_panels_bytes(kvl_panel_type type, size_t n_in, size_t n_cols) {
    return (n_cols + KVL_PANEL_COLS - 1) / KVL_PANEL_COLS * kvl_panel_bytes(type, n_in);
}

static size_t pair_at(size_t k, size_t c) { return (k / 2 * KVL_PANEL_COLS + c) * 2 + k % 2; }

static void put_value(void *panel, kvl_panel_type type, size_t k, size_t c, float value) {
    const size_t at = k * KVL_PANEL_COLS + c;
    switch (type) {
    case KVL_PANEL_F32: ((float *)panel)[at] = value; break;
    case KVL_PANEL_F16: ((uint16_t *)panel)[at] = kvl_f16_of_exact(value); break;
    case KVL_PANEL_BF16: ((uint16_t *)panel)[at] = kvl_bf16_of_exact(value); break;
    default: ((uint16_t *)panel)[pair_at(k, c)] = kvl_bf16_of_f32(value); break;
    }
}

static void pack_panel(void *panel, kvl_panel_type type, const float *rows, size_t n_in, size_t n_cols) {
    /* a cache line of each row at a time, so that what is written stays in the nearest cache */
    for (size_t k = 0; k < n_in; k += CACHE_LINE) {
        size_t n_now = kvl_min_size(CACHE_LINE, n_in - k);
        for (size_t c = 0; c < n_cols; c++) {
            for (size_t i = 0; i < n_now; i++) {
                put_value(panel, type, k + i, c, rows[c * n_in + k + i]);
            }
        }
        for (size_t i = 0; i < n_now; i++) {
            for (size_t c = n_cols; c < KVL_PANEL_COLS; c++) {
                put_value(panel, type, k + i, c, 0);
            }
        }
    }
    for (size_t c = 0; type == KVL_PANEL_BF16_PAIRS && n_in % 2 != 0 && c < KVL_PANEL_COLS; c++) {
        put_value(panel, type, n_in, c, 0);
    }
}

void kvl_pack_panels(void *panels, kvl_panel_type type, const float *rows, size_t n_in, size_t n_cols) {
    const size_t bytes = kvl_panel_bytes(type, n_in);
    for (size_t first = 0; first < n_cols; first += KVL_PANEL_COLS) {
        pack_panel((char *)panels + first / KVL_PANEL_COLS * bytes, type, rows + first * n_in, n_in,
                   kvl_min_size(KVL_PANEL_COLS, n_cols - first));
    }
}

kvli_weight kvli_blocked_weight(const kvl_panels *w, size_t n_in, size_t column, size_t k) {
    const uint8_t *panel =
        (const uint8_t *)w->data + column / KVL_PANEL_COLS * kvl_panel_bytes(w->type, n_in);
    const size_t c = column % KVL_PANEL_COLS;
    const bool is_super = kvl_panel_is_super(w->type);
    const size_t block_bytes =
        kvl_panel_q_bytes(w->type) + (is_super ? KVL_PANEL_SMALL_BYTES : KVL_PANEL_PAIR_BYTES);
    const size_t steps = is_super ? KVL_PANEL_SUPER : KVL_PANEL_BLOCK;
    const uint8_t *head = panel + k / steps * kvl_panel_bytes(w->type, steps);
    const uint8_t *block =
        head + (is_super ? KVL_PANEL_PAIR_BYTES + k % steps / KVL_PANEL_BLOCK * block_bytes : 0);
    const uint8_t *q = block + (is_super ? KVL_PANEL_SMALL_BYTES : KVL_PANEL_PAIR_BYTES);
    const size_t step = k % KVL_PANEL_BLOCK;
    uint16_t pair[2];
    memcpy(&pair[0], head + 2 * c, 2);
    memcpy(&pair[1], head + 2 * (KVL_PANEL_COLS + c), 2);
    kvli_weight out = {.d = kvl_f32_of_f16(pair[0]), .m = kvl_f32_of_f16(pair[1])};
    if (is_super) {
        const size_t half = step / (KVL_PANEL_BLOCK / 2);
        out.d *= (float)(int8_t)block[half * KVL_PANEL_COLS + c];
        out.m *= -(float)block[(2 + half) * KVL_PANEL_COLS + c];
    }
    out.q = kvl_panel_is_nibbles(w->type) ? (q[step * 16 + c % 16] >> (c / 16 * 4) & 15) - w->zero
                                          : (int8_t)q[step * KVL_PANEL_COLS + c];
    return out;
}

void kvl_panel_column(float *out, const kvl_panels *w, size_t n_in, size_t column) {
    const uint8_t *panel =
        (const uint8_t *)w->data + column / KVL_PANEL_COLS * kvl_panel_bytes(w->type, n_in);
    const size_t c = column % KVL_PANEL_COLS;
    for (size_t k = 0; k < n_in; k++) {
        const size_t at = k * KVL_PANEL_COLS + c;
        switch (w->type) {
        case KVL_PANEL_F32: out[k] = ((const float *)(const void *)panel)[at]; break;
        case KVL_PANEL_F16: out[k] = kvl_f32_of_f16(((const uint16_t *)(const void *)panel)[at]); break;
        case KVL_PANEL_BF16: out[k] = kvl_f32_of_bf16(((const uint16_t *)(const void *)panel)[at]); break;
        case KVL_PANEL_BF16_PAIRS:
            out[k] = kvl_f32_of_bf16(((const uint16_t *)(const void *)panel)[pair_at(k, c)]);
            break;
        default: {
            const kvli_weight weight = kvli_blocked_weight(w, n_in, column, k);
            out[k] = weight.d * (float)weight.q + weight.m; /* both terms exact: one rounding, as stored */
            break;
        }
        }
    }
}
