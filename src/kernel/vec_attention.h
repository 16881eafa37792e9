/* Attention of some rows over one head's cache. Part of kernel_vec.h: static, once per instruction set.
 *
 * Rows (neighbours of a text, queries of a group, caches that begin alike) share each load of a key or value.
 * What a row sums, and in which order, is as if it were alone with one list of entries: those that others see
 * and it does not have weight 0 or are left out, and scores of its own entries lie right behind those of the
 * shared ones.
 */

#include "kernel/vec_kv_blocks.h"

/* A vector of stored keys or values of a plain type from item i on. */
ALWAYS_INLINE vec load_kv(const void *stored, kvl_kv_type type, size_t i) {
    switch (type) {
    case KVL_KV_F16: return vec_of_f16((const uint16_t *)stored + i);
    case KVL_KV_BF16: return (vec)(IVEC_OF_U16((const uint16_t *)stored + i) << 16);
    default: return load((const float *)stored + i);
    }
}

/* Scores of `rows` rows and `vecs` vectors of keys, unscaled; both are constants after inlining.
 *   scores row r, key j at scores[r * stride + j] */
ALWAYS_INLINE void score_tile(float *scores, size_t stride, const kvl_attention_row *rows, const void *keys,
                              size_t head_dim, kvl_kv_type type, size_t panel, size_t n_rows, size_t vecs) {
    enum { per_panel = KVL_KEY_PANEL / VW };
    vec sum[TILE_ROWS * 2];
    UNROLL for (size_t i = 0; i < n_rows * vecs; i++) { sum[i] = splat(0.0f); }
    if (kvl_kv_is_quantized(type)) {
        sum_scores(sum, rows, keys, head_dim, type, panel, n_rows, vecs);
    }
    for (size_t d = 0; d < head_dim && !kvl_kv_is_quantized(type); d++) {
        vec key[4 * per_panel];
        UNROLL for (size_t i = 0; i < vecs; i++) {
            key[i] = load_kv(keys, type,
                             ((panel + i / per_panel) * head_dim + d) * KVL_KEY_PANEL + i % per_panel * VW);
        }
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            vec value = splat(rows[r].q[d]);
            UNROLL for (size_t i = 0; i < vecs; i++) {
                sum[r * vecs + i] = vec_fma(value, key[i], sum[r * vecs + i]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < n_rows; r++) {
        UNROLL for (size_t i = 0; i < vecs; i++) { store(scores + r * stride + i * VW, sum[r * vecs + i]); }
    }
}

/* Adds entries first .. n-1 in order to `vecs` vectors of the outputs of n_rows rows. */
ALWAYS_INLINE void mix_tile(const kvl_attention_row *rows, const float *weights, size_t stride,
                            const void *values, size_t head_dim, kvl_kv_type type, size_t first, size_t n,
                            size_t d, size_t n_rows, size_t vecs) {
    vec sum[TILE_ROWS * 2];
    UNROLL for (size_t r = 0; r < n_rows; r++) {
        UNROLL for (size_t i = 0; i < vecs; i++) { sum[r * vecs + i] = load(rows[r].out + d + i * VW); }
    }
    if (kvl_kv_is_quantized(type)) {
        sum_values(sum, weights, stride, values, head_dim, type, first, n, d, n_rows, vecs);
    }
    for (size_t j = first; j < n && !kvl_kv_is_quantized(type); j++) {
        vec value[4];
        UNROLL for (size_t i = 0; i < vecs; i++) {
            value[i] = load_kv(values, type, j * head_dim + d + i * VW);
        }
        UNROLL for (size_t r = 0; r < n_rows; r++) {
            vec w = splat(weights[r * stride + j]);
            UNROLL for (size_t i = 0; i < vecs; i++) {
                sum[r * vecs + i] = vec_fma(w, value[i], sum[r * vecs + i]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < n_rows; r++) {
        UNROLL for (size_t i = 0; i < vecs; i++) { store(rows[r].out + d + i * VW, sum[r * vecs + i]); }
    }
}

/* Rows and vectors of a tile: as many sums as registers hold, and more vectors when there are few rows. */
enum { attend_rows = TILE_ROWS / 2 };

#define ATTEND_CASE(call, n)                                                                                 \
    case n:                                                                                                  \
        call(n);                                                                                             \
        break
#define ATTEND_CASES(call)                                                                                   \
    switch (n_rows) {                                                                                        \
        ATTEND_CASE(call, 1);                                                                                \
        ATTEND_CASE(call, 2);                                                                                \
        ATTEND_CASE(call, 3);                                                                                \
        ATTEND_CASES_ABOVE_3(call)                                                                           \
    default: break;                                                                                          \
    }
#if TILE_ROWS > 6
#define ATTEND_CASES_ABOVE_3(call)                                                                           \
    ATTEND_CASE(call, 4);                                                                                    \
    ATTEND_CASE(call, 5);                                                                                    \
    ATTEND_CASE(call, 6);
#else
#define ATTEND_CASES_ABOVE_3(call)
#endif

/* Scores of all panels from `first` on, 4 vectors at a time while there are. */
ALWAYS_INLINE void score_all(float *scores, size_t stride, const void *keys, size_t head_dim,
                             const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n_panels,
                             kvl_kv_type type) {
    enum { per_panel = KVL_KEY_PANEL / VW, panels_at_once = 4 / per_panel != 0 ? 4 / per_panel : 1 };
    size_t p = first;
#define SCORE_MANY(n) score_tile(scores + p * KVL_KEY_PANEL, stride, rows, keys, head_dim, type, p, n, 4)
    for (; p + panels_at_once <= n_panels; p += panels_at_once) {
        ATTEND_CASES(SCORE_MANY)
    }
#define SCORE_ONE(n)                                                                                         \
    score_tile(scores + p * KVL_KEY_PANEL, stride, rows, keys, head_dim, type, p, n, per_panel)
    for (; p < n_panels; p++) {
        ATTEND_CASES(SCORE_ONE)
    }
}

ALWAYS_INLINE void mix_all(const float *weights, size_t stride, const void *values, size_t head_dim,
                           const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n,
                           kvl_kv_type type) {
    size_t d = 0;
#define MIX_FOUR(n_) mix_tile(rows, weights, stride, values, head_dim, type, first, n, d, n_, 4)
    for (; d + 4 * VW <= head_dim; d += 4 * VW) {
        ATTEND_CASES(MIX_FOUR)
    }
#if VW > 8
#define MIX_BLOCK(n_)                                                                                        \
    mix_tile(rows, weights, stride, values, head_dim, type, first, n, d, n_, KVL_KV_BLOCK / VW)
    for (; d + KVL_KV_BLOCK <= head_dim; d += KVL_KV_BLOCK) {
        ATTEND_CASES(MIX_BLOCK)
    }
#endif
    if (kvl_kv_is_quantized(type)) {
        return; /* whole blocks */
    }
#define MIX_ONE(n_) mix_tile(rows, weights, stride, values, head_dim, type, first, n, d, n_, 1)
    for (; d + VW <= head_dim; d += VW) {
        ATTEND_CASES(MIX_ONE)
    }
    for (; d < head_dim; d++) {
        for (size_t r = 0; r < n_rows; r++) {
            float sum = rows[r].out[d];
            for (size_t j = first; j < n; j++) {
                const char *value = (const char *)values + (j * head_dim + d) * kvl_kv_bytes(type);
                float x = 0;
                kvl_kv_widen(&x, type, value, 1);
                sum = __builtin_fmaf(weights[r * stride + j], x, sum);
            }
            rows[r].out[d] = sum;
        }
    }
}

/* One function for each type, since the type is a constant inside. */
#define ATTENTION_OF(name, type)                                                                             \
    static void score_##name(float *scores, size_t stride, const void *keys, size_t head_dim,                \
                             const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n_panels) {  \
        score_all(scores, stride, keys, head_dim, rows, n_rows, first, n_panels, type);                      \
    }                                                                                                        \
    static void mix_##name(const float *weights, size_t stride, const void *values, size_t head_dim,         \
                           const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n) {           \
        mix_all(weights, stride, values, head_dim, rows, n_rows, first, n, type);                            \
    }
ATTENTION_OF(f32, KVL_KV_F32)
ATTENTION_OF(f16, KVL_KV_F16)
ATTENTION_OF(bf16, KVL_KV_BF16)
ATTENTION_OF(q8_0, KVL_KV_Q8_0)
ATTENTION_OF(q4_0, KVL_KV_Q4_0)
ATTENTION_OF(q4_1, KVL_KV_Q4_1)
ATTENTION_OF(iq4_nl, KVL_KV_IQ4_NL)

static const struct {
    void (*score)(float *scores, size_t stride, const void *keys, size_t head_dim,
                  const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n_panels);
    void (*mix)(const float *weights, size_t stride, const void *values, size_t head_dim,
                const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n);
} kv_ways[KVL_N_KV_TYPES] = {
    [KVL_KV_F32] = {score_f32, mix_f32},          [KVL_KV_F16] = {score_f16, mix_f16},
    [KVL_KV_BF16] = {score_bf16, mix_bf16},       [KVL_KV_Q8_0] = {score_q8_0, mix_q8_0},
    [KVL_KV_Q4_0] = {score_q4_0, mix_q4_0},       [KVL_KV_Q4_1] = {score_q4_1, mix_q4_1},
    [KVL_KV_IQ4_NL] = {score_iq4_nl, mix_iq4_nl},
};

/* scores <- softmax over [first, n + n_own); entries that the row does not see, and those up to `stride`, get
 * weight 0. */
static void softmax_row(float *scores, const kvl_attention *a, const kvl_attention_row *row, size_t first,
                        size_t stride) {
    const size_t n = row->n + row->n_own;
    const size_t padded = kvl_round_up(n, KVL_KEY_PANEL);
    vec most_v = splat(-INFINITY);
    for (size_t j = first; j < padded; j += VW) {
        vec x = load(scores + j) * splat(a->scale);
        store(scores + j, a->softcap > 0 ? vec_softcap(x, a->softcap) : x);
    }
    for (size_t j = first; a->positions != NULL && j < n; j++) {
        const int32_t position = j < row->n ? a->positions[j] : row->own_positions[j - row->n];
        scores[j] = position < row->oldest ? -INFINITY : scores[j];
    }
    for (size_t j = n; j < padded; j++) { /* after the scaling: 0 * infinity would be NaN */
        scores[j] = -INFINITY;
    }
    for (size_t j = first; j < padded; j += VW) {
        most_v = larger(load(scores + j), most_v);
    }
    float most = max_of_lanes(most_v);
    float lanes[KVL_KEY_PANEL] = {0};
    for (size_t j = first; j < padded; j += VW) {
        vec e = vec_exp(load(scores + j) - splat(most));
        store(scores + j, e);
        store(lanes + j % KVL_KEY_PANEL, load(lanes + j % KVL_KEY_PANEL) + e);
    }
    for (size_t half = KVL_KEY_PANEL / 2; half != 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    const vec inverse = splat(1.0f / lanes[0]);
    for (size_t j = first; j < padded; j += VW) {
        store(scores + j, load(scores + j) * inverse);
    }
    for (size_t j = padded; j < stride; j += VW) {
        store(scores + j, splat(0.0f));
    }
}

/* Adds the weights of some rows to what their entries have received; beyond a row's last entry they are 0.
 * Three weights, each at most KVL_MASS_ONE, are summed in 32 bits: a third of the traffic of the sums. */
static void add_mass(int64_t *mass, const float *weights, size_t stride, size_t n_rows, size_t first,
                     size_t n) {
    typedef uint32_t narrow __attribute__((vector_size(VW * 4)));
    typedef int64_t wide __attribute__((vector_size(VW * 8)));
    for (size_t r = 0; r < n_rows; r += 3) {
        const float *row = weights + r * stride;
        const size_t n_together = kvl_min_size(3, n_rows - r);
        for (size_t j = first; j < n; j += VW) {
            narrow sum = {0};
            wide whole;
            for (size_t i = 0; i < n_together; i++) {
                const vec scaled = load(row + i * stride + j) * splat((float)KVL_MASS_ONE) + splat(0.5f);
                sum += (narrow) __builtin_convertvector(scaled, ivec);
            }
            if (n - j >= VW) {
                memcpy(&whole, mass + j, sizeof whole);
                whole += __builtin_convertvector(sum, wide);
                memcpy(mass + j, &whole, sizeof whole);
            } else {
                for (size_t i = 0; i < n - j; i++) {
                    mass[j + i] += sum[i];
                }
            }
        }
    }
}

/* Shared entries before the first panel of which a row sees anything: weights exactly 0, so the bits stay. */
static size_t first_seen(const kvl_attention *a, const kvl_attention_row *rows, size_t n_rows) {
    int32_t oldest = INT32_MAX;
    size_t n = SIZE_MAX; /* own entries must stay in place behind them */
    size_t j = 0;
    for (size_t r = 0; r < n_rows; r++) {
        oldest = rows[r].oldest < oldest ? rows[r].oldest : oldest;
        n = kvl_min_size(n, rows[r].n);
    }
    while (a->positions != NULL && j < n && a->positions[j] < oldest) {
        j++;
    }
    return j / KVL_KEY_PANEL * KVL_KEY_PANEL;
}

/* Of n_rows rows, those up to the last that sees shared entries from `from` on. */
static size_t rows_beyond(const kvl_attention_row *rows, size_t n_rows, size_t from) {
    while (n_rows != 0 && rows[n_rows - 1].n <= from) {
        n_rows--;
    }
    return n_rows;
}

/* Neighbours of the first row with the same own entries behind as many shared ones; *n_own: the most of
 * them that one sees. */
static size_t rows_of_one_list(const kvl_attention_row *rows, size_t n_rows, size_t *n_own) {
    size_t n = 0;
    *n_own = 0;
    for (; n < n_rows && rows[n].own_keys == rows->own_keys && rows[n].n == rows->n; n++) {
        *n_own = kvl_max_size(*n_own, rows[n].n_own);
    }
    return n;
}

/* Scores of the call's entries from `first` on. */
static void score_shared(float *scores, size_t stride, const kvl_attention *a, const kvl_attention_row *rows,
                         size_t n_rows, size_t first) {
    const size_t dim = a->channels != NULL ? a->n_channels : a->head_dim;
    for (size_t from = first, n = n_rows; (n = rows_beyond(rows, n, from)) != 0;) {
        const size_t to = kvl_round_up(rows[n - 1].n, KVL_KEY_PANEL);
        kv_ways[a->key_type].score(scores, stride, a->keys, dim, rows, n, from / KVL_KEY_PANEL,
                                   to / KVL_KEY_PANEL);
        from = to;
    }
}

/* The same where keys have some channels only: with these of the queries. */
static void score_channels(float *scores, size_t stride, const kvl_attention *a,
                           const kvl_attention_row *rows, size_t n_rows, size_t first) {
    kvl_attention_row thin[attend_rows];
    float q[attend_rows][KVL_MAX_HEAD_DIM];
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < a->n_channels; c++) {
            q[r][c] = rows[r].q[a->channels[c]];
        }
        thin[r] = rows[r];
        thin[r].q = q[r];
    }
    score_shared(scores, stride, a, thin, n_rows, first);
}

static void attend_tile(const kvl_attention *a, const kvl_attention_row *rows, size_t n_rows, float *scores) {
    const size_t first = first_seen(a, rows, n_rows);
    size_t stride = 0;
    size_t n_own = 0;
    size_t n = n_rows;
    size_t n_most = 0;
    bool has_own = false;
    for (size_t r = 0; r < n_rows; r++) {
        has_own = has_own || rows[r].n_own != 0;
        stride = kvl_max_size(stride, rows[r].n + kvl_round_up(rows[r].n_own, KVL_KEY_PANEL));
    }
    stride = kvl_round_up(stride, KVL_KEY_PANEL);
    (a->channels != NULL ? score_channels : score_shared)(scores, stride, a, rows, n_rows, first);
    for (size_t r = 0; has_own && r < n_rows; r += n) {
        n = rows_of_one_list(rows + r, n_rows - r, &n_own);
        kv_ways[a->own_key_type].score(scores + r * stride + rows[r].n, stride, rows[r].own_keys, a->head_dim,
                                       rows + r, n, 0, kvl_round_up(n_own, KVL_KEY_PANEL) / KVL_KEY_PANEL);
    }
    for (size_t r = 0; r < n_rows; r++) {
        softmax_row(scores + r * stride, a, &rows[r], first, stride);
        memset(rows[r].out, 0, a->head_dim * sizeof *rows[r].out);
        n_most = kvl_max_size(n_most, rows[r].n + rows[r].n_own);
    }
    if (a->mass != NULL) {
        add_mass(a->mass, scores, stride, n_rows, first, n_most);
    }
    n = n_rows;
    for (size_t from = first; (n = rows_beyond(rows, n, from)) != 0; from = rows[n - 1].n) {
        kv_ways[a->value_type].mix(scores, stride, a->values, a->head_dim, rows, n, from, rows[n - 1].n);
    }
    for (size_t r = 0; has_own && r < n_rows; r += n) {
        n = rows_of_one_list(rows + r, n_rows - r, &n_own);
        kv_ways[a->own_value_type].mix(scores + r * stride + rows[r].n, stride, rows[r].own_values,
                                       a->head_dim, rows + r, n, 0, n_own);
    }
}

static void attend_v(const kvl_attention *a, const kvl_attention_row *rows, size_t n_rows, float *scratch) {
    for (size_t done = 0; done < n_rows; done += attend_rows) {
        attend_tile(a, rows + done, kvl_min_size(attend_rows, n_rows - done), scratch);
    }
}
