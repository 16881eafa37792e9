/* Quantised keys and values in registers (layout: kv_form.h). Part of vec_attention.h.
 *
 * Each is widened to the very f32 number that it stands for, once for all rows, and summed like a plain one:
 * the bits are those of attention over the widened numbers.
 */

/* Whole numbers of VW bytes: of their low (shift 0) or high (4) nibbles, or of q8_0. */
ALWAYS_INLINE vec vec_of_quants(const uint8_t *q, kvl_kv_type type, unsigned shift) {
    if (type == KVL_KV_Q8_0) {
        return VEC_OF_INTS(IVEC_OF_I8(q));
    }
    const ivec nibbles = IVEC_OF_U8(q) >> (int)shift & 15;
    switch (type) {
    case KVL_KV_Q4_0: return VEC_OF_INTS(nibbles - 8);
    case KVL_KV_Q4_1: return VEC_OF_INTS(nibbles);
    default: break;
    }
#ifdef VEC_OF_TABLE
    static const float table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    return VEC_OF_TABLE(table, nibbles);
#else
    vec out;
    UNROLL for (size_t i = 0; i < VW; i++) { out[i] = kvli_iq4_nl[nibbles[i]]; }
    return out;
#endif
}

ALWAYS_INLINE vec vec_of_scaled(vec q, kvl_kv_type type, vec d, vec m) {
    return type == KVL_KV_Q4_1 ? q * d + m : q * d;
}

/* Adds to the sums of score_tile all products of the rows' queries with keys. */
ALWAYS_INLINE void sum_scores(vec *sum, const kvl_attention_row *rows, const void *keys, size_t head_dim,
                              kvl_kv_type type, size_t panel, size_t n_rows, size_t vecs) {
    enum { per_panel = KVL_KEY_PANEL / VW };
    const size_t n_scales = type == KVL_KV_Q4_1 ? 2 : 1;
    const size_t panel_bytes = KVL_KEY_PANEL * kvl_kv_row_bytes(type, head_dim);
    const size_t block_bytes = KVL_KEY_PANEL * kvl_kv_row_bytes(type, KVL_KV_BLOCK);
    const size_t per_byte = KVL_KV_BLOCK / kvl_kv_quant_bytes(type); /* dimensions */
    for (size_t block = 0; block < head_dim; block += KVL_KV_BLOCK) {
        vec d[4 * per_panel], m[4 * per_panel];
        const uint8_t *q[4 * per_panel];
        UNROLL for (size_t i = 0; i < vecs; i++) {
            const uint8_t *at = (const uint8_t *)keys + (panel + i / per_panel) * panel_bytes +
                                block / KVL_KV_BLOCK * block_bytes;
            const uint16_t *scales = (const uint16_t *)(const void *)at + i % per_panel * VW;
            d[i] = vec_of_f16(scales);
            m[i] = n_scales == 2 ? vec_of_f16(scales + KVL_KEY_PANEL) : splat(0.0f);
            q[i] = at + n_scales * KVL_KEY_PANEL * sizeof(uint16_t) + i % per_panel * VW;
        }
        for (size_t byte = 0; byte < kvl_kv_quant_bytes(type); byte++) {
            UNROLL for (size_t part = 0; part < per_byte; part++) {
                vec key[4 * per_panel];
                UNROLL for (size_t i = 0; i < vecs; i++) {
                    const vec whole = vec_of_quants(q[i] + byte * KVL_KEY_PANEL, type, (unsigned)part * 4);
                    key[i] = vec_of_scaled(whole, type, d[i], m[i]);
                }
                UNROLL for (size_t r = 0; r < n_rows; r++) {
                    const vec value = splat(rows[r].q[block + byte * per_byte + part]);
                    UNROLL for (size_t i = 0; i < vecs; i++) {
                        sum[r * vecs + i] = vec_fma(value, key[i], sum[r * vecs + i]);
                    }
                }
            }
        }
    }
}

/* Widens 16 scales of a panel. */
ALWAYS_INLINE void widen_scales(float *to, const uint16_t *scales) {
    UNROLL for (size_t i = 0; i < KVL_KEY_PANEL; i += VW) { store(to + i, vec_of_f16(scales + i)); }
}

/* Adds to the sums of mix_tile the weighted values of entries first .. n-1, dimensions from d on. */
ALWAYS_INLINE void sum_values(vec *sum, const float *weights, size_t stride, const void *values,
                              size_t head_dim, kvl_kv_type type, size_t first, size_t n, size_t d,
                              size_t n_rows, size_t vecs) {
    const size_t n_scales = type == KVL_KV_Q4_1 ? 2 : 1;
    const size_t n_bytes = kvl_kv_quant_bytes(type);
    const size_t panel_bytes = KVL_KEY_PANEL * kvl_kv_row_bytes(type, head_dim);
    const size_t block_bytes = KVL_KEY_PANEL * kvl_kv_row_bytes(type, KVL_KV_BLOCK);
    /* four vectors begin with a block, but where they are less than one */
    const size_t part_of_block = 4 * VW < KVL_KV_BLOCK ? d % KVL_KV_BLOCK : 0;
    for (size_t end = first, j = first; j < n; j = end) {
        const uint8_t *blocks =
            (const uint8_t *)values + j / KVL_KEY_PANEL * panel_bytes + d / KVL_KV_BLOCK * block_bytes;
        float scale[4][KVL_KEY_PANEL], least[4][KVL_KEY_PANEL]; /* of the blocks of these dimensions */
        end = kvl_min_size(n, kvl_round_up(j + 1, KVL_KEY_PANEL));
        UNROLL for (size_t i = 0; i < vecs; i += KVL_KV_BLOCK / VW) {
            const void *scales = blocks + i * VW / KVL_KV_BLOCK * block_bytes;
            widen_scales(scale[i * VW / KVL_KV_BLOCK], scales);
            if (n_scales == 2) {
                widen_scales(least[i * VW / KVL_KV_BLOCK], (const uint16_t *)scales + KVL_KEY_PANEL);
            }
        }
        for (; j < end; j++) {
            const size_t lane = j % KVL_KEY_PANEL;
            vec value[4];
            UNROLL for (size_t i = 0; i < vecs; i++) {
                const size_t b = i * VW / KVL_KV_BLOCK;
                const size_t in_block = part_of_block + i * VW % KVL_KV_BLOCK;
                const uint8_t *q =
                    blocks + b * block_bytes + n_scales * KVL_KEY_PANEL * sizeof(uint16_t) + lane * n_bytes;
                const unsigned shift = in_block / n_bytes != 0 ? 4 : 0;
                const vec whole = vec_of_quants(q + in_block % n_bytes, type, shift);
                value[i] = vec_of_scaled(whole, type, splat(scale[b][lane]),
                                         n_scales == 2 ? splat(least[b][lane]) : splat(0.0f));
            }
            UNROLL for (size_t r = 0; r < n_rows; r++) {
                const vec w = splat(weights[r * stride + j]);
                UNROLL for (size_t i = 0; i < vecs; i++) {
                    sum[r * vecs + i] = vec_fma(w, value[i], sum[r * vecs + i]);
                }
            }
        }
    }
}
