/* Products of rows with packed weights. Part of kernel_vec.h: static, once per instruction set.
 *
 * A tile is some rows times two vectors of columns, its accumulators in registers. Weights of every type are
 * widened to the same f32 values, in registers for few rows, for many into a small buffer that stays in the
 * nearest cache; sums run over k in order in both cases, so the bits do not depend on the way taken.
 */

/* ---- widening ---- */

ALWAYS_INLINE vec vec_of_bf16(const uint16_t *p) { return (vec)(IVEC_OF_U16(p) << 16); }
ALWAYS_INLINE ivec ivec_of_u8(const uint8_t *p) { return IVEC_OF_U8(p); }
ALWAYS_INLINE ivec ivec_of_i8(const uint8_t *p) { return IVEC_OF_I8(p); }
ALWAYS_INLINE vec vec_of_ints(ivec v) { return VEC_OF_INTS(v); }

/* Scales and offsets of the columns of a tile: value = d q + m. */
typedef struct tile_scales {
    vec d[2];
    vec m[2];
} tile_scales;

/* The block of 32 steps with index b: where its scales are, where its integers. */
typedef struct tile_block {
    const uint8_t *super; /* d and dmin of 256 steps; NULL for the simple types */
    const uint8_t *scales;
    const uint8_t *q;
} tile_block;

ALWAYS_INLINE tile_block block_at(kvl_panel_type type, const uint8_t *panel, size_t b) {
    enum { pair_bytes = KVL_PANEL_PAIR_BYTES, small_bytes = KVL_PANEL_SMALL_BYTES };
    const size_t q_bytes = kvl_panel_q_bytes(type);
    if (!kvl_panel_is_super(type)) {
        const uint8_t *at = panel + b * (pair_bytes + q_bytes);
        return (tile_block){NULL, at, at + pair_bytes};
    }
    const uint8_t *super = panel + b / 8 * (pair_bytes + 8 * (small_bytes + q_bytes));
    const uint8_t *at = super + pair_bytes + b % 8 * (small_bytes + q_bytes);
    return (tile_block){super, at, at + small_bytes};
}

/* Scales of columns c .. c + 2 VW - 1 for the steps of half 0 or 1 of a block. The zero of nibbles goes into
 * the offset, which stays exact: types with a zero have no offset of their own. */
ALWAYS_INLINE void load_scales(tile_scales *s, kvl_panel_type type, const tile_block *block, size_t half,
                               size_t c, vec zero) {
    const uint16_t *pair = (const uint16_t *)(kvl_panel_is_super(type) ? block->super : block->scales);
    const uint8_t *small = block->scales;
    UNROLL for (size_t i = 0; i < 2; i++) {
        const size_t at = c + i * VW;
        s->d[i] = vec_of_f16(pair + at);
        s->m[i] = vec_of_f16(pair + KVL_PANEL_COLS + at);
        if (kvl_panel_is_super(type)) {
            s->d[i] *= vec_of_ints(ivec_of_i8(small + half * KVL_PANEL_COLS + at));
            s->m[i] *= -vec_of_ints(ivec_of_u8(small + (2 + half) * KVL_PANEL_COLS + at));
        }
        if (kvl_panel_is_nibbles(type)) {
            s->m[i] -= zero * s->d[i];
        }
    }
}

/* Weights of step k (of the panel, or of the block when there are blocks), columns c + i VW. */
ALWAYS_INLINE vec widen(kvl_panel_type type, const uint8_t *rows, size_t k, size_t c, size_t i,
                        const tile_scales *s) {
    const size_t at = c + i * VW;
    switch (type) {
    case KVL_PANEL_F32: return load((const float *)rows + k * KVL_PANEL_COLS + at);
    case KVL_PANEL_F16: return vec_of_f16((const uint16_t *)rows + k * KVL_PANEL_COLS + at);
    case KVL_PANEL_BF16: return vec_of_bf16((const uint16_t *)rows + k * KVL_PANEL_COLS + at);
    case KVL_PANEL_Q8:
    case KVL_PANEL_Q8_SUPER:
        return vec_fma(vec_of_ints(ivec_of_i8(rows + k * KVL_PANEL_COLS + at)), s->d[i], s->m[i]);
    default: break;
    }
    ivec q = ivec_of_u8(rows + k * (KVL_PANEL_COLS / 2) + at % 16);
#if VW == 16
    q = i == 0 ? q & 15 : q >> 4; /* a byte: nothing above the high nibble */
#else
    q = q >> (int32_t)(at / 16 * 4) & 15;
#endif
    return vec_fma(vec_of_ints(q), s->d[i], s->m[i]);
}

/* ---- tiles ---- */

enum { ROW_PANELS = 4 };

/* One product as the tiles see it. */
typedef struct product_args {
    float *out;
    size_t out_stride;
    const float *x;
    size_t x_stride;
    const uint8_t *panel;
    const float *start; /* [32] the sums start from; NULL: from what out holds */
    size_t n_in;
    float zero; /* of nibbles */
} product_args;

/* Rows 0 .. rows-1 times columns c .. c + 2 VW - 1; type and rows are constants after inlining. */
ALWAYS_INLINE void gemm_tile(const product_args *p, size_t c, kvl_panel_type type, size_t rows) {
    vec sum[TILE_ROWS][2];
    tile_scales scales;
    const vec zero = splat(p->zero);
    UNROLL for (size_t r = 0; r < rows; r++) {
        const float *from = p->start != NULL ? p->start + c : p->out + r * p->out_stride + c;
        sum[r][0] = load(from);
        sum[r][1] = load(from + VW);
    }
    const size_t n_steps = kvl_panel_is_blocked(type) ? KVL_PANEL_BLOCK / 2 : p->n_in;
    for (size_t first = 0; first < p->n_in; first += n_steps) {
        const uint8_t *rows_of_panel = p->panel;
        if (kvl_panel_is_blocked(type)) {
            const size_t half = first / n_steps % 2;
            tile_block block = block_at(type, p->panel, first / KVL_PANEL_BLOCK);
            load_scales(&scales, type, &block, half, c, zero);
            rows_of_panel = block.q + half * n_steps * kvl_panel_step_bytes(type);
        }
        const float *x = p->x + first;
        for (size_t k = 0; k < n_steps; k++) {
            vec w0 = widen(type, rows_of_panel, k, c, 0, &scales);
            vec w1 = widen(type, rows_of_panel, k, c, 1, &scales);
            UNROLL for (size_t r = 0; r < rows; r++) {
                vec value = splat(x[r * p->x_stride + k]);
                sum[r][0] = vec_fma(value, w0, sum[r][0]);
                sum[r][1] = vec_fma(value, w1, sum[r][1]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        store(p->out + r * p->out_stride + c, sum[r][0]);
        store(p->out + r * p->out_stride + c + VW, sum[r][1]);
    }
}

#define TILE_CASE(type, rows)                                                                                \
    case rows:                                                                                               \
        gemm_tile(p, c, type, rows);                                                                         \
        return
#if TILE_ROWS > 6
#define TILE_CASES_ABOVE_6(type)                                                                             \
    TILE_CASE(type, 7);                                                                                      \
    TILE_CASE(type, 8);                                                                                      \
    TILE_CASE(type, 9);                                                                                      \
    TILE_CASE(type, 10);                                                                                     \
    TILE_CASE(type, 11);                                                                                     \
    TILE_CASE(type, 12)
#else
#define TILE_CASES_ABOVE_6(type) (void)0
#endif

/* Asks for part i of n of a block further on: blocks come faster than the processor foresees, and every piece
 * of work starts anew. */
ALWAYS_INLINE void prefetch_block(const tile_block *block, kvl_panel_type type, size_t i, size_t n) {
    enum { ahead = 2 };
    const size_t bytes = ((size_t)(block->q - block->scales) + kvl_panel_q_bytes(type)) / n;
    const uint8_t *next = block->scales + (n * ahead + i) * bytes;
    for (size_t line = 0; line < bytes; line += 64) {
        __builtin_prefetch(next + line, 0, 2); /* not so near: the nearest cache is too small for that */
    }
}

/* One row times n neighbouring panels: as many streams are read at a time, since a single row is bound by
 * memory. n is a constant after inlining. */
ALWAYS_INLINE void row_panels(const product_args *p, size_t panel_bytes, kvl_panel_type type, size_t n) {
    const vec zero = splat(p->zero);
    for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
        vec sum[ROW_PANELS][2];
        tile_scales scales[ROW_PANELS];
        UNROLL for (size_t i = 0; i < 2 * n; i++) {
            sum[i / 2][i % 2] = load(p->start + i / 2 * KVL_PANEL_COLS + c + i % 2 * VW);
        }
        const size_t n_steps = kvl_panel_is_blocked(type) ? KVL_PANEL_BLOCK / 2 : p->n_in;
        for (size_t first = 0; first < p->n_in; first += n_steps) {
            const uint8_t *rows[ROW_PANELS];
            UNROLL for (size_t i = 0; i < n; i++) {
                rows[i] = p->panel + i * panel_bytes;
                if (kvl_panel_is_blocked(type)) {
                    const size_t half = first / n_steps % 2;
                    tile_block block = block_at(type, rows[i], first / KVL_PANEL_BLOCK);
                    load_scales(&scales[i], type, &block, half, c, zero);
                    rows[i] = block.q + half * n_steps * kvl_panel_step_bytes(type);
                    prefetch_block(&block, type, half, 2);
                }
            }
            for (size_t k = 0; k < n_steps; k++) {
                vec value = splat(p->x[first + k]);
                UNROLL for (size_t i = 0; i < 2 * n; i++) {
                    vec w = widen(type, rows[i / 2], k, c, i % 2, &scales[i / 2]);
                    sum[i / 2][i % 2] = vec_fma(value, w, sum[i / 2][i % 2]);
                }
            }
        }
        UNROLL for (size_t i = 0; i < 2 * n; i++) {
            store(p->out + i / 2 * KVL_PANEL_COLS + c + i % 2 * VW, sum[i / 2][i % 2]);
        }
    }
}

/* Steps first .. first + n - 1 of a panel to f32 [n, 32]; blocks whole. */
ALWAYS_INLINE void widen_panel(float *to, const product_args *p, size_t first, size_t n,
                               kvl_panel_type type) {
    const vec zero = splat(p->zero);
    for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
        const size_t n_steps = kvl_panel_is_blocked(type) ? KVL_PANEL_BLOCK / 2 : n;
        for (size_t k0 = 0; k0 < n; k0 += n_steps) {
            tile_scales scales;
            const uint8_t *rows = p->panel + first * KVL_PANEL_COLS * (type == KVL_PANEL_F32 ? 4 : 2);
            if (kvl_panel_is_blocked(type)) {
                const size_t half = (first + k0) / n_steps % 2;
                tile_block block = block_at(type, p->panel, (first + k0) / KVL_PANEL_BLOCK);
                load_scales(&scales, type, &block, half, c, zero);
                rows = block.q + half * n_steps * kvl_panel_step_bytes(type);
            }
            for (size_t k = 0; k < n_steps; k++) {
                store(to + (k0 + k) * KVL_PANEL_COLS + c, widen(type, rows, k, c, 0, &scales));
                store(to + (k0 + k) * KVL_PANEL_COLS + c + VW, widen(type, rows, k, c, 1, &scales));
            }
        }
    }
}

/* The three ways for one type. */
#define PRODUCT_OF(name, type)                                                                               \
    static void name##_tile(const product_args *p, size_t c, size_t rows) {                                  \
        switch (rows) {                                                                                      \
            TILE_CASE(type, 1);                                                                              \
            TILE_CASE(type, 2);                                                                              \
            TILE_CASE(type, 3);                                                                              \
            TILE_CASE(type, 4);                                                                              \
            TILE_CASE(type, 5);                                                                              \
            TILE_CASE(type, 6);                                                                              \
            TILE_CASES_ABOVE_6(type);                                                                        \
        default: break;                                                                                      \
        }                                                                                                    \
    }                                                                                                        \
    static void name##_row(const product_args *p, size_t panel_bytes, size_t n) {                            \
        if (n == ROW_PANELS) {                                                                               \
            row_panels(p, panel_bytes, type, ROW_PANELS);                                                    \
        } else {                                                                                             \
            row_panels(p, panel_bytes, type, 2);                                                             \
        }                                                                                                    \
    }                                                                                                        \
    static void name##_widen(float *to, const product_args *p, size_t first, size_t n) {                     \
        widen_panel(to, p, first, n, type);                                                                  \
    }
PRODUCT_OF(f32, KVL_PANEL_F32)
PRODUCT_OF(f16, KVL_PANEL_F16)
PRODUCT_OF(bf16, KVL_PANEL_BF16)
PRODUCT_OF(q4, KVL_PANEL_Q4)
PRODUCT_OF(q8, KVL_PANEL_Q8)
PRODUCT_OF(q4_super, KVL_PANEL_Q4_SUPER)
PRODUCT_OF(q8_super, KVL_PANEL_Q8_SUPER)

typedef struct product_ways {
    void (*tile)(const product_args *p, size_t c, size_t rows);
    void (*row)(const product_args *p, size_t panel_bytes, size_t n); /* one row; n is 2 or ROW_PANELS */
    void (*widen)(float *to, const product_args *p, size_t first, size_t n);
} product_ways;

static const product_ways ways[KVL_N_PANEL_TYPES] = {
    [KVL_PANEL_F32] = {f32_tile, f32_row, f32_widen},
    [KVL_PANEL_F16] = {f16_tile, f16_row, f16_widen},
    [KVL_PANEL_BF16] = {bf16_tile, bf16_row, bf16_widen},
    [KVL_PANEL_Q4] = {q4_tile, q4_row, q4_widen},
    [KVL_PANEL_Q8] = {q8_tile, q8_row, q8_widen},
    [KVL_PANEL_Q4_SUPER] = {q4_super_tile, q4_super_row, q4_super_widen},
    [KVL_PANEL_Q8_SUPER] = {q8_super_tile, q8_super_row, q8_super_widen},
};

/* ---- whole panels ---- */

/* All columns of one panel for all rows, in tiles of nearly equal height: a last tile of 1 or 2 rows would
 * run at a fraction of the speed. */
static void tile_rows(const product_args *whole, const product_ways *way, size_t n_rows) {
    product_args p = *whole;
    size_t n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t done = 0; done < n_rows; n_tiles--) {
        size_t rows = (n_rows - done + n_tiles - 1) / n_tiles;
        for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
            way->tile(&p, c, rows);
        }
        p.out += rows * p.out_stride;
        p.x += rows * p.x_stride;
        done += rows;
    }
}

/* Many rows: a stretch of the panel at a time, widened once if it must be, so that the stretch and what the
 * rows hold of it stay in the near caches. The sums wait in `out` in between. */
static void tile_stretches(const product_args *whole, kvl_panel_type type, size_t n_rows) {
    enum { wide = 128, long_stretch = 512 };
    float buffer[wide * KVL_PANEL_COLS];
    const size_t stretch = type == KVL_PANEL_F32 ? long_stretch : wide;
    for (size_t first = 0; first < whole->n_in; first += stretch) {
        product_args p = *whole;
        p.n_in = kvl_min_size(stretch, whole->n_in - first);
        p.x += first;
        p.start = first == 0 ? p.start : NULL;
        if (type == KVL_PANEL_F32) {
            p.panel += first * KVL_PANEL_COLS * sizeof(float);
        } else {
            ways[type].widen(buffer, whole, first, p.n_in);
            p.panel = (const uint8_t *)buffer;
        }
        tile_rows(&p, &ways[KVL_PANEL_F32], n_rows);
    }
}

static void panel_rows(const product_args *p, kvl_panel_type type, size_t n_rows) {
    /* wide registers hold the scales of a tile too; narrow ones do not */
    const size_t n_direct = VW >= 16 || !kvl_panel_is_blocked(type) ? TILE_ROWS : 3;
    if (n_rows <= n_direct) {
        tile_rows(p, &ways[type], n_rows);
    } else {
        tile_stretches(p, type, n_rows);
    }
}

/* The last panel when n_cols is no multiple of 32: through a buffer, so that nothing beyond is written. */
static void panel_tail(const product_args *p, kvl_panel_type type, size_t n_rows, size_t width) {
    float buffer[TILE_ROWS * KVL_PANEL_COLS];
    for (size_t done = 0; done < n_rows; done += TILE_ROWS) {
        size_t rows = kvl_min_size(TILE_ROWS, n_rows - done);
        product_args part = *p;
        part.out = buffer;
        part.out_stride = KVL_PANEL_COLS;
        part.x += done * p->x_stride;
        panel_rows(&part, type, rows);
        for (size_t r = 0; r < rows; r++) {
            memcpy(p->out + (done + r) * p->out_stride, buffer + r * KVL_PANEL_COLS, width * sizeof(float));
        }
    }
}

/* ---- bfloat16 pairs ---- */

#ifndef VEC_DOT_BF16
/* The same numbers with ordinary arithmetic: the pair's first product, then its second. */
ALWAYS_INLINE vec vec_dot_bf16(vec sum, ivec a, ivec b) {
    sum = vec_fma((vec)(a << 16), (vec)(b << 16), sum);
    return vec_fma((vec)(a & -65536), (vec)(b & -65536), sum);
}
#define VEC_DOT_BF16 vec_dot_bf16
#endif

enum { pairs_at_once = 256 };

ALWAYS_INLINE void pairs_tile(const product_args *p, const int32_t *x, size_t n_pairs, size_t c,
                              size_t rows) {
    vec sum[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < rows; r++) {
        const float *from = p->start != NULL ? p->start + c : p->out + r * p->out_stride + c;
        sum[r][0] = load(from);
        sum[r][1] = load(from + VW);
    }
    for (size_t k = 0; k < n_pairs; k++) {
        ivec w0, w1;
        memcpy(&w0, p->panel + (k * KVL_PANEL_COLS + c) * 4, sizeof w0);
        memcpy(&w1, p->panel + (k * KVL_PANEL_COLS + c + VW) * 4, sizeof w1);
        UNROLL for (size_t r = 0; r < rows; r++) {
            ivec value = x[r * pairs_at_once + k] - (ivec){0};
            sum[r][0] = VEC_DOT_BF16(sum[r][0], value, w0);
            sum[r][1] = VEC_DOT_BF16(sum[r][1], value, w1);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        store(p->out + r * p->out_stride + c, sum[r][0]);
        store(p->out + r * p->out_stride + c + VW, sum[r][1]);
    }
}

#define PAIRS_CASE(rows)                                                                                     \
    case rows: pairs_tile(p, x, n_pairs, c, rows); break
static void pairs_rows(const product_args *p, const int32_t *x, size_t n_pairs, size_t c, size_t rows) {
    switch (rows) {
        PAIRS_CASE(1);
        PAIRS_CASE(2);
        PAIRS_CASE(3);
        PAIRS_CASE(4);
        PAIRS_CASE(5);
        PAIRS_CASE(6);
#if TILE_ROWS > 6
        PAIRS_CASE(7);
        PAIRS_CASE(8);
        PAIRS_CASE(9);
        PAIRS_CASE(10);
        PAIRS_CASE(11);
        PAIRS_CASE(12);
#endif
    default: break;
    }
}

#ifndef ROUND_32
/* 32 numbers to bfloat16, ties to even (a NaN may become an infinity; logits are checked). */
ALWAYS_INLINE void round_32(int32_t *to, const float *x) {
    int32_t halves[32];
    for (size_t i = 0; i < 32; i += VW) {
        ivec bits = (ivec)load(x + i);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16 & 0xffff;
        memcpy(halves + i, &bits, sizeof bits);
    }
    for (size_t i = 0; i < 16; i++) {
        to[i] = (int32_t)((uint32_t)halves[2 * i] | (uint32_t)halves[2 * i + 1] << 16);
    }
}
#define ROUND_32 round_32
#endif

/* n inputs of some rows as pairs; behind the last there are zeros. */
static void round_pairs(int32_t *to, const float *x, size_t x_stride, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t k = 0; k < n; k += 32) {
            float last[32] = {0};
            const float *from = x + r * x_stride + k;
            if (n - k < 32) {
                memcpy(last, from, (n - k) * sizeof *last);
                from = last;
            }
            ROUND_32(to + r * pairs_at_once + k / 2, from);
        }
    }
}

/* All panels of the call for a tile of rows at a time, so that inputs are rounded once; narrow last panels
 * through a buffer. */
static void gemm_pairs(float *out, size_t out_stride, const float *x, size_t x_stride, const uint8_t *panels,
                       const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    const size_t panel_bytes = kvl_panel_bytes(KVL_PANEL_BF16_PAIRS, n_in);
    int32_t pairs[TILE_ROWS * pairs_at_once];
    size_t n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t done = 0; done < n_rows; n_tiles--) {
        const size_t rows = (n_rows - done + n_tiles - 1) / n_tiles;
        for (size_t first = 0; first < n_in || first == 0; first += 2 * pairs_at_once) {
            const size_t n = kvl_min_size(2 * pairs_at_once, n_in - first);
            round_pairs(pairs, x + done * x_stride + first, x_stride, rows, n);
            for (size_t col = 0; col < n_cols; col += KVL_PANEL_COLS) {
                const size_t width = kvl_min_size(KVL_PANEL_COLS, n_cols - col);
                float start[KVL_PANEL_COLS] = {0};
                float buffer[TILE_ROWS * KVL_PANEL_COLS];
                float *to = out + done * out_stride + col;
                product_args p = {.out = width < KVL_PANEL_COLS ? buffer : to,
                                  .out_stride = width < KVL_PANEL_COLS ? KVL_PANEL_COLS : out_stride,
                                  .panel = panels + col / KVL_PANEL_COLS * panel_bytes +
                                           first / 2 * KVL_PANEL_COLS * 4,
                                  .start = first == 0 ? start : NULL};
                memcpy(start, bias != NULL ? bias + col : start, width * sizeof(float));
                for (size_t r = 0; p.out == buffer && r < rows; r++) {
                    memcpy(buffer + r * KVL_PANEL_COLS, to + r * out_stride, width * sizeof(float));
                }
                for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
                    pairs_rows(&p, pairs, (n + 1) / 2, c, rows);
                }
                for (size_t r = 0; p.out == buffer && r < rows; r++) {
                    memcpy(to + r * out_stride, buffer + r * KVL_PANEL_COLS, width * sizeof(float));
                }
            }
        }
        done += rows;
    }
}

/* Panels that are done together: several whole ones for a single row. */
static size_t panels_at_once(size_t n_rows, size_t n_cols) {
    const size_t n_whole = n_rows == 1 ? n_cols / KVL_PANEL_COLS : 1;
    return n_whole >= ROW_PANELS ? ROW_PANELS : n_whole >= 2 ? 2 : 1;
}

static void gemm_v(float *out, size_t out_stride, const float *x, size_t x_stride, const kvl_panels *w,
                   const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    const size_t panel_bytes = kvl_panel_bytes(w->type, n_in);
    if (w->type == KVL_PANEL_BF16_PAIRS) {
        gemm_pairs(out, out_stride, x, x_stride, w->data, bias, n_rows, n_in, n_cols);
        return;
    }
    for (size_t first = 0; first < n_cols;) {
        float start[ROW_PANELS * KVL_PANEL_COLS] = {0};
        const size_t n_panels = panels_at_once(n_rows, n_cols - first);
        const size_t width = kvl_min_size(n_panels * KVL_PANEL_COLS, n_cols - first);
        if (bias != NULL) {
            memcpy(start, bias + first, width * sizeof(float));
        }
        const product_args p = {.out = out + first,
                                .out_stride = out_stride,
                                .x = x,
                                .x_stride = x_stride,
                                .panel = (const uint8_t *)w->data + first / KVL_PANEL_COLS * panel_bytes,
                                .start = start,
                                .n_in = n_in,
                                .zero = (float)w->zero};
        if (n_panels > 1) {
            ways[w->type].row(&p, panel_bytes, n_panels);
        } else if (width < KVL_PANEL_COLS) {
            panel_tail(&p, w->type, n_rows, width);
        } else {
            panel_rows(&p, w->type, n_rows);
        }
        first += width;
    }
}
