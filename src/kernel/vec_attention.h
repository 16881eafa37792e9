/* Attention of some rows over one head's cache. Part of kernel_vec.h: static, once per instruction set.
 *
 * Rows (neighbours of a text, queries of a group) share each load of a key or value. What a row sums, and in
 * which order, is as if it were alone: entries that others see and it does not have weight 0.
 */

/* Scores of `rows` rows and `vecs` vectors of keys, unscaled; both are constants after inlining.
 *   keys   the panel of the first vector; the next panel is panel_floats further
 *   scores row r, key j at scores[r * stride + j] */
ALWAYS_INLINE void score_tile(float *scores, size_t stride, const kvl_attention_row *rows, const float *keys,
                              size_t head_dim, size_t n_rows, size_t vecs) {
    enum { per_panel = KVL_KEY_PANEL / VW };
    vec sum[TILE_ROWS * 2];
    UNROLL for (size_t i = 0; i < n_rows * vecs; i++) { sum[i] = splat(0.0f); }
    for (size_t d = 0; d < head_dim; d++) {
        vec key[4 * per_panel];
        UNROLL for (size_t i = 0; i < vecs; i++) {
            key[i] = load(keys + (i / per_panel * head_dim + d) * KVL_KEY_PANEL + i % per_panel * VW);
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
                            const float *values, size_t first, size_t n, size_t head_dim, size_t d,
                            size_t n_rows, size_t vecs) {
    vec sum[TILE_ROWS * 2];
    UNROLL for (size_t i = 0; i < n_rows * vecs; i++) { sum[i] = splat(0.0f); }
    for (size_t j = first; j < n; j++) {
        vec value[4];
        UNROLL for (size_t i = 0; i < vecs; i++) { value[i] = load(values + j * head_dim + d + i * VW); }
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
static void score_all(float *scores, size_t stride, const kvl_attention *a, const kvl_attention_row *rows,
                      size_t n_rows, size_t first, size_t n_panels) {
    enum { per_panel = KVL_KEY_PANEL / VW, panels_at_once = 4 / per_panel != 0 ? 4 / per_panel : 1 };
    const size_t panel_floats = a->head_dim * KVL_KEY_PANEL;
    size_t p = first;
#define SCORE_MANY(n)                                                                                        \
    score_tile(scores + p * KVL_KEY_PANEL, stride, rows, a->keys + p * panel_floats, a->head_dim, n, 4)
    for (; p + panels_at_once <= n_panels; p += panels_at_once) {
        ATTEND_CASES(SCORE_MANY)
    }
#define SCORE_ONE(n)                                                                                         \
    score_tile(scores + p * KVL_KEY_PANEL, stride, rows, a->keys + p * panel_floats, a->head_dim, n,         \
               per_panel)
    for (; p < n_panels; p++) {
        ATTEND_CASES(SCORE_ONE)
    }
}

static void mix_all(const float *weights, size_t stride, const kvl_attention *a,
                    const kvl_attention_row *rows, size_t n_rows, size_t first, size_t n) {
    const size_t head_dim = a->head_dim;
    size_t d = 0;
#define MIX_FOUR(n_) mix_tile(rows, weights, stride, a->values, first, n, head_dim, d, n_, 4)
    for (; d + 4 * VW <= head_dim; d += 4 * VW) {
        ATTEND_CASES(MIX_FOUR)
    }
#define MIX_ONE(n_) mix_tile(rows, weights, stride, a->values, first, n, head_dim, d, n_, 1)
    for (; d + VW <= head_dim; d += VW) {
        ATTEND_CASES(MIX_ONE)
    }
    for (; d < head_dim; d++) {
        for (size_t r = 0; r < n_rows; r++) {
            float sum = 0;
            for (size_t j = first; j < n; j++) {
                sum = __builtin_fmaf(weights[r * stride + j], a->values[j * head_dim + d], sum);
            }
            rows[r].out[d] = sum;
        }
    }
}

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
        score_all(scratch, padded, a, tile, n_now, first / KVL_KEY_PANEL, padded / KVL_KEY_PANEL);
        for (size_t r = 0; r < n_now; r++) {
            softmax_row(scratch + r * padded, a, &tile[r], first, padded);
        }
        mix_all(scratch, padded, a, tile, n_now, first, n);
        done += n_now;
    }
}
