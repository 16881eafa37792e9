/* Attention of some rows over one head's cache. Part of kernel_vec.h: static, once per instruction set.
 *
 * Rows (neighbours of a text, queries of a group) share each load of a key or value. What a row sums, and in
 * which order, is as if it were alone: entries that others see and it does not have weight 0.
 */

/* A vector of stored keys or values from item i on. */
ALWAYS_INLINE vec load_kv(const void *stored, kvl_kv_type type, size_t i) {
    switch (type) {
    case KVL_KV_F16: return vec_of_f16((const uint16_t *)stored + i);
    case KVL_KV_BF16: return (vec)(IVEC_OF_U16((const uint16_t *)stored + i) << 16);
    default: return load((const float *)stored + i);
    }
}

/* Scores of `rows` rows and `vecs` vectors of keys, unscaled; both are constants after inlining.
 *   scores row r, key j at scores[r * stride + j] */
ALWAYS_INLINE void score_tile(float *scores, size_t stride, const kvl_attention_row *rows,
                              const kvl_attention *a, kvl_kv_type type, size_t panel, size_t n_rows,
                              size_t vecs) {
    enum { per_panel = KVL_KEY_PANEL / VW };
    vec sum[TILE_ROWS * 2];
    UNROLL for (size_t i = 0; i < n_rows * vecs; i++) { sum[i] = splat(0.0f); }
    const size_t head_dim = a->head_dim;
    for (size_t d = 0; d < head_dim; d++) {
        vec key[4 * per_panel];
        UNROLL for (size_t i = 0; i < vecs; i++) {
            key[i] = load_kv(a->keys, type,
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

/* `vecs` vectors of the outputs of n_rows rows, summed over entries first .. n-1 in order. */
ALWAYS_INLINE void mix_tile(const kvl_attention_row *rows, const float *weights, size_t stride,
                            const kvl_attention *a, kvl_kv_type type, size_t first, size_t n, size_t d,
                            size_t n_rows, size_t vecs) {
    vec sum[TILE_ROWS * 2];
    UNROLL for (size_t i = 0; i < n_rows * vecs; i++) { sum[i] = splat(0.0f); }
    for (size_t j = first; j < n; j++) {
        vec value[4];
        UNROLL for (size_t i = 0; i < vecs; i++) {
            value[i] = load_kv(a->values, type, j * a->head_dim + d + i * VW);
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
ALWAYS_INLINE void score_all(float *scores, size_t stride, const kvl_attention *a,
                             const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n_panels,
                             kvl_kv_type type) {
    enum { per_panel = KVL_KEY_PANEL / VW, panels_at_once = 4 / per_panel != 0 ? 4 / per_panel : 1 };
    size_t p = first;
#define SCORE_MANY(n) score_tile(scores + p * KVL_KEY_PANEL, stride, rows, a, type, p, n, 4)
    for (; p + panels_at_once <= n_panels; p += panels_at_once) {
        ATTEND_CASES(SCORE_MANY)
    }
#define SCORE_ONE(n) score_tile(scores + p * KVL_KEY_PANEL, stride, rows, a, type, p, n, per_panel)
    for (; p < n_panels; p++) {
        ATTEND_CASES(SCORE_ONE)
    }
}

ALWAYS_INLINE void mix_all(const float *weights, size_t stride, const kvl_attention *a,
                           const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n,
                           kvl_kv_type type) {
    const size_t head_dim = a->head_dim;
    size_t d = 0;
#define MIX_FOUR(n_) mix_tile(rows, weights, stride, a, type, first, n, d, n_, 4)
    for (; d + 4 * VW <= head_dim; d += 4 * VW) {
        ATTEND_CASES(MIX_FOUR)
    }
#define MIX_ONE(n_) mix_tile(rows, weights, stride, a, type, first, n, d, n_, 1)
    for (; d + VW <= head_dim; d += VW) {
        ATTEND_CASES(MIX_ONE)
    }
    for (; d < head_dim; d++) {
        for (size_t r = 0; r < n_rows; r++) {
            float sum = 0;
            for (size_t j = first; j < n; j++) {
                const char *value = (const char *)a->values + (j * head_dim + d) * kvl_kv_bytes(type);
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
    static void score_##name(float *scores, size_t stride, const kvl_attention *a,                           \
                             const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n_panels) {  \
        score_all(scores, stride, a, rows, n_rows, first, n_panels, type);                                   \
    }                                                                                                        \
    static void mix_##name(const float *weights, size_t stride, const kvl_attention *a,                      \
                           const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n) {           \
        mix_all(weights, stride, a, rows, n_rows, first, n, type);                                           \
    }
ATTENTION_OF(f32, KVL_KV_F32)
ATTENTION_OF(f16, KVL_KV_F16)
ATTENTION_OF(bf16, KVL_KV_BF16)

static const struct {
    void (*score)(float *scores, size_t stride, const kvl_attention *a, const kvl_attention_row *rows,
                  size_t n_rows, size_t first, size_t n_panels);
    void (*mix)(const float *weights, size_t stride, const kvl_attention *a, const kvl_attention_row *rows,
                size_t n_rows, size_t first, size_t n);
} kv_ways[KVL_N_KV_TYPES] = {
    [KVL_KV_F32] = {score_f32, mix_f32},
    [KVL_KV_F16] = {score_f16, mix_f16},
    [KVL_KV_BF16] = {score_bf16, mix_bf16},
};

/* scores <- softmax over [first, padded); entries that the row does not see get weight 0. */
static void softmax_row(float *scores, const kvl_attention *a, const kvl_attention_row *row, size_t first,
                        size_t padded) {
    vec most_v = splat(-INFINITY);
    for (size_t j = first; j < padded; j += VW) {
        vec x = load(scores + j) * splat(a->scale);
        store(scores + j, a->softcap > 0 ? vec_softcap(x, a->softcap) : x);
    }
    for (size_t j = first; a->positions != NULL && j < row->n; j++) {
        scores[j] = a->positions[j] < row->oldest ? -INFINITY : scores[j];
    }
    for (size_t j = row->n; j < padded; j++) { /* after the scaling: 0 * infinity would be NaN */
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
}

/* Entries before the first panel of which a row sees anything: weights exactly 0, so the bits stay. */
static size_t first_seen(const kvl_attention *a, const kvl_attention_row *rows, size_t n_rows, size_t n) {
    int32_t oldest = INT32_MAX;
    size_t first = 0;
    for (size_t r = 0; r < n_rows; r++) {
        oldest = rows[r].oldest < oldest ? rows[r].oldest : oldest;
    }
    for (size_t j = 0; a->positions != NULL && j < n; j++) {
        if (a->positions[j] >= oldest) {
            return first;
        }
        first = (j + 1) / KVL_KEY_PANEL * KVL_KEY_PANEL;
    }
    return a->positions != NULL && first >= n ? n / KVL_KEY_PANEL * KVL_KEY_PANEL : first;
}

static void attend_v(const kvl_attention *a, const kvl_attention_row *rows, size_t n_rows, float *scratch) {
    for (size_t done = 0; done < n_rows;) {
        const kvl_attention_row *tile = rows + done;
        const size_t n_now = kvl_min_size(attend_rows, n_rows - done);
        size_t n = 0;
        for (size_t r = 0; r < n_now; r++) {
            n = kvl_max_size(n, tile[r].n);
        }
        const size_t padded = kvl_round_up(n, KVL_KEY_PANEL);
        const size_t first = first_seen(a, tile, n_now, n);
        kv_ways[a->key_type].score(scratch, padded, a, tile, n_now, first / KVL_KEY_PANEL,
                                   padded / KVL_KEY_PANEL);
        for (size_t r = 0; r < n_now; r++) {
            softmax_row(scratch + r * padded, a, &tile[r], first, padded);
        }
        kv_ways[a->value_type].mix(scratch, padded, a, tile, n_now, first, n);
        done += n_now;
    }
}
