/* Products of rows rounded to 8 bits with packed integer weights. Part of kernel_vec.h: static, once per
 * instruction set.
 *
 * Weights enter as bytes 0 .. 255 (nibbles as they are, int8 plus 128), four steps of a column side by side
 * in a vector's 32 bits; what they are too large by is a part of the column's offset. Sums of a block are
 * whole numbers, so exact; blocks are added in order. So the bits do not depend on the way taken.
 */

typedef int16_t svec __attribute__((vector_size(VW * 4)));

/* sum + the four products of each column: bytes of w without sign, of x with. */
#ifndef VEC_DOT_INT8
ALWAYS_INLINE ivec vec_dot_int8(ivec sum, ivec w, ivec x) {
#ifdef VEC_MADD16
    const ivec even = w & 0x00ff00ff;
    const ivec odd = (w >> 8) & 0x00ff00ff;
    sum += VEC_MADD16(even, (ivec)((svec)((svec)x << 8) >> 8));
    return sum + VEC_MADD16(odd, (ivec)((svec)x >> 8));
#else
    sum += (w & 255) * (x << 24 >> 24);
    sum += (w >> 8 & 255) * (x << 16 >> 24);
    sum += (w >> 16 & 255) * (x << 8 >> 24);
    return sum + (w >> 24 & 255) * (x >> 24);
#endif
}
#define VEC_DOT_INT8 vec_dot_int8
#endif

/* Four steps of columns c .. c + 2 VW - 1 from `q` on, side by side. */
ALWAYS_INLINE void load_quads(ivec quads[2], kvl_panel_type type, const uint8_t *q, size_t c) {
    const bool is_nibbles = kvl_panel_is_nibbles(type);
#ifdef QUADS_OF_NIBBLES
    if (is_nibbles) {
        ivec both = QUADS_OF_NIBBLES(q);
        quads[0] = both & 0x0f0f0f0f;
        quads[1] = both >> 4 & 0x0f0f0f0f;
    } else {
        quads[0] = QUADS_OF_BYTES(q, 0) ^ (int32_t)0x80808080;
        quads[1] = QUADS_OF_BYTES(q, 1) ^ (int32_t)0x80808080;
    }
    (void)c;
#else
    const size_t step = kvl_panel_step_bytes(type);
    UNROLL for (size_t i = 0; i < 2; i++) {
        const size_t at = c + i * VW;
        const uint8_t *from = q + (is_nibbles ? at % 16 : at);
        ivec four = ivec_of_u8(from) | ivec_of_u8(from + step) << 8 | ivec_of_u8(from + 2 * step) << 16 |
                    ivec_of_u8(from + 3 * step) << 24;
        quads[i] = is_nibbles ? four >> (int32_t)(at / 16 * 4) & 0x0f0f0f0f : four ^ (int32_t)0x80808080;
    }
#endif
}

/* One product as these tiles see it. */
typedef struct int8_args {
    float *out;
    size_t out_stride;
    const kvl_q8 *x;
    size_t x_stride; /* blocks */
    const uint8_t *panel;
    const float *start; /* [32] */
    size_t n_in;
    float zero; /* of nibbles */
} int8_args;

enum { int8_rows = TILE_ROWS / 2 }; /* half the registers hold the sums of a block */

/* Steps of a block that share scales. */
ALWAYS_INLINE size_t scaled_steps(kvl_panel_type type) {
    return kvl_panel_is_super(type) ? KVL_PANEL_BLOCK / 2 : KVL_PANEL_BLOCK;
}

ALWAYS_INLINE void load_int8_scales(tile_scales *s, kvl_panel_type type, const tile_block *block, size_t half,
                                    size_t c, vec zero) {
    load_scales(s, type, block, half, c, zero);
    if (!kvl_panel_is_nibbles(type)) {
        UNROLL for (size_t i = 0; i < 2; i++) { s->m[i] -= splat(128) * s->d[i]; }
    }
}

ALWAYS_INLINE ivec splat_quad(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return four - (ivec){0};
}

/* Steps [first, first + n) of one block, of rows 0 .. rows-1 and columns c .. c + 2 VW - 1, onto the sums. */
ALWAYS_INLINE void int8_steps(vec sum[][2], const tile_scales *s, const uint8_t *q, const kvl_q8 *x,
                              size_t x_stride, size_t c, size_t first, size_t n, kvl_panel_type type,
                              size_t rows) {
    ivec whole[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < rows; r++) { whole[r][0] = whole[r][1] = (ivec){0}; }
    UNROLL for (size_t k = first; k < first + n; k += 4) {
        ivec w[2];
        load_quads(w, type, q + k * kvl_panel_step_bytes(type), c);
        UNROLL for (size_t r = 0; r < rows; r++) {
            const ivec value = splat_quad(x[r * x_stride].q + k);
            whole[r][0] = VEC_DOT_INT8(whole[r][0], w[0], value);
            whole[r][1] = VEC_DOT_INT8(whole[r][1], w[1], value);
        }
    }
    const size_t part = n == KVL_PANEL_BLOCK ? 2 : first != 0;
    UNROLL for (size_t r = 0; r < rows; r++) {
        const vec d = splat(x[r * x_stride].d);
        const vec total = splat(x[r * x_stride].sum[part]);
        UNROLL for (size_t i = 0; i < 2; i++) {
            sum[r][i] = vec_fma(vec_of_ints(whole[r][i]), d * s->d[i], sum[r][i]);
            sum[r][i] = vec_fma(total, s->m[i], sum[r][i]);
        }
    }
}

ALWAYS_INLINE void int8_tile(const int8_args *p, size_t c, kvl_panel_type type, size_t rows) {
    vec sum[TILE_ROWS][2];
    const vec zero = splat(p->zero);
    const size_t n_steps = scaled_steps(type);
    UNROLL for (size_t r = 0; r < rows; r++) {
        sum[r][0] = load(p->start + c);
        sum[r][1] = load(p->start + c + VW);
    }
    for (size_t b = 0; b < p->n_in / KVL_PANEL_BLOCK; b++) {
        const tile_block block = block_at(type, p->panel, b);
        UNROLL for (size_t first = 0; first < KVL_PANEL_BLOCK; first += n_steps) {
            tile_scales scales;
            load_int8_scales(&scales, type, &block, first != 0, c, zero);
            int8_steps(sum, &scales, block.q, p->x + b, p->x_stride, c, first, n_steps, type, rows);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        store(p->out + r * p->out_stride + c, sum[r][0]);
        store(p->out + r * p->out_stride + c + VW, sum[r][1]);
    }
}

/* One row times n neighbouring panels: see row_panels. */
ALWAYS_INLINE void int8_row(const int8_args *p, size_t panel_bytes, kvl_panel_type type, size_t n) {
    const vec zero = splat(p->zero);
    const size_t n_steps = scaled_steps(type);
    for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
        vec sum[ROW_PANELS][1][2];
        UNROLL for (size_t i = 0; i < 2 * n; i++) {
            sum[i / 2][0][i % 2] = load(p->start + i / 2 * KVL_PANEL_COLS + c + i % 2 * VW);
        }
        for (size_t b = 0; b < p->n_in / KVL_PANEL_BLOCK; b++) {
            UNROLL for (size_t i = 0; i < n; i++) {
                const tile_block block = block_at(type, p->panel + i * panel_bytes, b);
                prefetch_block(&block, type, 0, 1);
                UNROLL for (size_t first = 0; first < KVL_PANEL_BLOCK; first += n_steps) {
                    tile_scales scales;
                    load_int8_scales(&scales, type, &block, first != 0, c, zero);
                    int8_steps(sum[i], &scales, block.q, p->x + b, 0, c, first, n_steps, type, 1);
                }
            }
        }
        UNROLL for (size_t i = 0; i < 2 * n; i++) {
            store(p->out + i / 2 * KVL_PANEL_COLS + c + i % 2 * VW, sum[i / 2][0][i % 2]);
        }
    }
}

#define INT8_CASE(type, rows)                                                                                \
    case rows:                                                                                               \
        int8_tile(p, c, type, rows);                                                                         \
        return
#if TILE_ROWS > 6
#define INT8_CASES_ABOVE_3(type)                                                                             \
    INT8_CASE(type, 4);                                                                                      \
    INT8_CASE(type, 5);                                                                                      \
    INT8_CASE(type, 6)
#else
#define INT8_CASES_ABOVE_3(type) (void)0
#endif

#define INT8_OF(name, type)                                                                                  \
    static void int8_##name##_tile(const int8_args *p, size_t c, size_t rows) {                              \
        switch (rows) {                                                                                      \
            INT8_CASE(type, 1);                                                                              \
            INT8_CASE(type, 2);                                                                              \
            INT8_CASE(type, 3);                                                                              \
            INT8_CASES_ABOVE_3(type);                                                                        \
        default: break;                                                                                      \
        }                                                                                                    \
    }                                                                                                        \
    static void int8_##name##_row(const int8_args *p, size_t panel_bytes, size_t n) {                        \
        if (n == ROW_PANELS) {                                                                               \
            int8_row(p, panel_bytes, type, ROW_PANELS);                                                      \
        } else {                                                                                             \
            int8_row(p, panel_bytes, type, 2);                                                               \
        }                                                                                                    \
    }
INT8_OF(q4, KVL_PANEL_Q4)
INT8_OF(q8, KVL_PANEL_Q8)
INT8_OF(q4_super, KVL_PANEL_Q4_SUPER)
INT8_OF(q8_super, KVL_PANEL_Q8_SUPER)

static const struct {
    void (*tile)(const int8_args *p, size_t c, size_t rows);
    void (*row)(const int8_args *p, size_t panel_bytes, size_t n);
} int8_ways[KVL_N_PANEL_TYPES] = {
    [KVL_PANEL_Q4] = {int8_q4_tile, int8_q4_row},
    [KVL_PANEL_Q8] = {int8_q8_tile, int8_q8_row},
    [KVL_PANEL_Q4_SUPER] = {int8_q4_super_tile, int8_q4_super_row},
    [KVL_PANEL_Q8_SUPER] = {int8_q8_super_tile, int8_q8_super_row},
};

/* All rows times one panel, in tiles of nearly equal height; a narrow panel through a buffer. */
static void int8_panel(const int8_args *whole, kvl_panel_type type, size_t n_rows, size_t width) {
    float buffer[int8_rows * KVL_PANEL_COLS];
    int8_args p = *whole;
    size_t n_tiles = (n_rows + int8_rows - 1) / int8_rows;
    for (size_t done = 0; done < n_rows; n_tiles--) {
        const size_t rows = (n_rows - done + n_tiles - 1) / n_tiles;
        float *to = whole->out + done * whole->out_stride;
        p.out = width < KVL_PANEL_COLS ? buffer : to;
        p.out_stride = width < KVL_PANEL_COLS ? KVL_PANEL_COLS : whole->out_stride;
        p.x = whole->x + done * whole->x_stride;
        for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
            int8_ways[type].tile(&p, c, rows);
        }
        for (size_t r = 0; r < rows && p.out == buffer; r++) {
            memcpy(to + r * whole->out_stride, buffer + r * KVL_PANEL_COLS, width * sizeof(float));
        }
        done += rows;
    }
}

static void gemm_q8_v(float *out, size_t out_stride, const kvl_q8 *x, size_t x_stride, const kvl_panels *w,
                      const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    const size_t panel_bytes = kvl_panel_bytes(w->type, n_in);
    for (size_t first = 0; first < n_cols;) {
        float start[ROW_PANELS * KVL_PANEL_COLS] = {0};
        const size_t n_panels = panels_at_once(n_rows, n_cols - first);
        const size_t width = kvl_min_size(n_panels * KVL_PANEL_COLS, n_cols - first);
        if (bias != NULL) {
            memcpy(start, bias + first, width * sizeof(float));
        }
        const int8_args p = {.out = out + first,
                             .out_stride = out_stride,
                             .x = x,
                             .x_stride = x_stride,
                             .panel = (const uint8_t *)w->data + first / KVL_PANEL_COLS * panel_bytes,
                             .start = start,
                             .n_in = n_in,
                             .zero = (float)w->zero};
        if (n_panels > 1) {
            int8_ways[w->type].row(&p, panel_bytes, n_panels);
        } else {
            int8_panel(&p, w->type, n_rows, width);
        }
        first += width;
    }
}

/* ---- rounding of inputs ---- */

#ifndef MOST_OF_INTS
ALWAYS_INLINE int32_t most_of_ints(ivec v) {
    for (size_t i = 1; i < VW; i++) {
        v[0] = v[i] > v[0] ? v[i] : v[0];
    }
    return v[0];
}
ALWAYS_INLINE int32_t sum_of_ints(ivec v) {
    for (size_t i = 1; i < VW; i++) {
        v[0] += v[i];
    }
    return v[0];
}
ALWAYS_INLINE void store_bytes(int8_t *to, ivec v) {
    for (size_t i = 0; i < VW; i++) {
        to[i] = (int8_t)v[i];
    }
}
#define MOST_OF_INTS most_of_ints
#define SUM_OF_INTS sum_of_ints
#define STORE_BYTES store_bytes
#endif

static void quantize_v(kvl_q8 *to, const float *x, size_t n) {
    enum { vecs = KVL_PANEL_BLOCK / VW };
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: leaves the nearest whole number in the low bits */
    for (size_t b = 0; b < n / KVL_PANEL_BLOCK; b++, x += KVL_PANEL_BLOCK) {
        ivec largest = (ivec)load(x) & INT32_MAX; /* sizes by their bits: a NaN is the largest */
        UNROLL for (size_t i = 1; i < vecs; i++) {
            const ivec size = (ivec)load(x + i * VW) & INT32_MAX;
            largest = (largest & (largest > size)) | (size & ~(largest > size));
        }
        const int32_t bits = MOST_OF_INTS(largest);
        float most;
        memcpy(&most, &bits, sizeof most);
        const float inverse = most > 0 ? 127.0f / most : 0;
        ivec sum[2] = {{0}, {0}};
        UNROLL for (size_t i = 0; i < vecs; i++) {
            const ivec q = (ivec)(load(x + i * VW) * splat(inverse) + magic) - (ivec)magic;
            STORE_BYTES(to[b].q + i * VW, q);
            sum[i / (vecs / 2)] += q;
        }
        const int32_t low = SUM_OF_INTS(sum[0]);
        const int32_t high = SUM_OF_INTS(sum[1]);
        to[b].d = most / 127.0f;
        to[b].sum[0] = to[b].d * (float)low;
        to[b].sum[1] = to[b].d * (float)high;
        to[b].sum[2] = to[b].d * (float)(low + high);
    }
}
