/* The definition of every operation: plain loops, one multiplication and one addition per term.
 *
 * Written to be read and to be compared with; kernel_vec.h computes the same with vectors.
 */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

enum { stretch = 256 }; /* steps of a panel that are widened at a time; whole blocks */

/* Steps first .. first + n - 1 of a panel: w [n, 32]. */
static void widen_c(float *w, const kvl_panels *panel, size_t first, size_t n) {
    float column[stretch];
    kvl_panels part = *panel;
    part.data = (uint8_t *)panel->data + kvl_panel_bytes(panel->type, first);
    for (size_t c = 0; c < KVL_PANEL_COLS; c++) {
        kvl_panel_column(column, &part, n, c);
        for (size_t k = 0; k < n; k++) {
            w[k * KVL_PANEL_COLS + c] = column[k];
        }
    }
}

static void gemm_c(float *out, size_t out_stride, const float *x, size_t x_stride, const kvl_panels *w,
                   const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    const bool is_rounded = w->type == KVL_PANEL_BF16_PAIRS;
    float weights[stretch * KVL_PANEL_COLS];
    for (size_t col = 0; col < n_cols; col += KVL_PANEL_COLS) {
        const size_t width = kvl_min_size(KVL_PANEL_COLS, n_cols - col);
        kvl_panels panel = *w;
        panel.data = (uint8_t *)w->data + col / KVL_PANEL_COLS * kvl_panel_bytes(w->type, n_in);
        for (size_t first = 0; first < n_in || first == 0; first += stretch) {
            const size_t n = kvl_min_size(stretch, n_in - first);
            widen_c(weights, &panel, first, n);
            for (size_t r = 0; r < n_rows; r++) {
                float sum[KVL_PANEL_COLS] = {0};
                float *to = out + r * out_stride + col;
                if (first != 0 || bias != NULL) {
                    memcpy(sum, first != 0 ? to : bias + col, width * sizeof(float));
                }
                for (size_t k = 0; k < n; k++) {
                    float value = x[r * x_stride + first + k];
                    value = is_rounded ? kvl_f32_of_bf16(kvl_bf16_of_f32(value)) : value;
                    for (size_t c = 0; c < KVL_PANEL_COLS; c++) {
                        sum[c] += value * weights[k * KVL_PANEL_COLS + c];
                    }
                }
                memcpy(to, sum, width * sizeof(float));
            }
        }
    }
}

static void gemm_q8_c(float *out, size_t out_stride, const kvl_q8 *x, size_t x_stride, const kvl_panels *w,
                      const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    const size_t n_steps = kvl_panel_is_super(w->type) ? KVL_PANEL_BLOCK / 2 : KVL_PANEL_BLOCK;
    for (size_t c = 0; c < n_cols; c++) {
        for (size_t r = 0; r < n_rows; r++) {
            float sum = bias != NULL ? bias[c] : 0;
            for (size_t k = 0; k < n_in; k += n_steps) {
                const kvl_q8 *block = &x[r * x_stride + k / KVL_PANEL_BLOCK];
                const size_t first = k % KVL_PANEL_BLOCK;
                const kvli_weight scales = kvli_blocked_weight(w, n_in, c, k);
                int32_t whole = 0;
                for (size_t i = 0; i < n_steps; i++) {
                    whole += kvli_blocked_weight(w, n_in, c, k + i).q * block->q[first + i];
                }
                sum += (block->d * scales.d) * (float)whole;
                sum += scales.m * block->sum[n_steps == KVL_PANEL_BLOCK ? 2 : first != 0];
            }
            out[r * out_stride + c] = sum;
        }
    }
}

static void quantize_c(kvl_q8 *to, const float *x, size_t n) {
    for (size_t b = 0; b < n / KVL_PANEL_BLOCK; b++, x += KVL_PANEL_BLOCK) {
        float most = 0;
        int32_t sum[2] = {0, 0};
        for (size_t i = 0; i < KVL_PANEL_BLOCK; i++) {
            most = fabsf(x[i]) > most || isnan(x[i]) ? fabsf(x[i]) : most;
        }
        const float inverse = most > 0 ? 127.0f / most : 0;
        for (size_t i = 0; i < KVL_PANEL_BLOCK; i++) {
            to[b].q[i] = isfinite(most) ? (int8_t)lrintf(x[i] * inverse) : 0;
            sum[i / (KVL_PANEL_BLOCK / 2)] += to[b].q[i];
        }
        to[b].d = most / 127.0f;
        to[b].sum[0] = to[b].d * (float)sum[0];
        to[b].sum[1] = to[b].d * (float)sum[1];
        to[b].sum[2] = to[b].d * (float)(sum[0] + sum[1]);
    }
}

static void layer_norm_c(float *out, const float *x, const float *gain, const float *shift, float eps,
                         size_t n) {
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - mean;
        squares += d * d;
    }
    double scale = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(((double)x[i] - mean) * scale * (double)gain[i] + (double)shift[i]);
    }
}

static void rms_norm_c(float *out, const float *x, const float *gain, float eps, size_t n) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
    }
    double scale = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)((double)x[i] * scale * (double)gain[i]);
    }
}

static void gelu_erf_c(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i];
        x[i] = (float)(0.5 * v * (1.0 + erf(v * 0.70710678118654752440)));
    }
}

static void gelu_tanh_c(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i];
        x[i] = (float)(0.5 * v * (1.0 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v))));
    }
}

static void silu_c(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i];
        x[i] = (float)(v / (1.0 + exp(-v)));
    }
}

static float softcap_one(float x, float cap) { return (float)((double)cap * tanh((double)x / (double)cap)); }

static void softcap_c(float *x, float cap, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = softcap_one(x[i], cap);
    }
}

static void mul_c(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] *= x[i];
    }
}

static void add_c(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

/* 16 lanes summed pairwise: the tree every table uses. */
static float sum_lanes(float lanes[KVL_KEY_PANEL]) {
    for (size_t half = KVL_KEY_PANEL / 2; half != 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

/* Score of entry j of a list, whose keys have those channels (NULL: all); -infinity when it is not seen. */
static float score_c(const kvl_attention *a, kvl_kv_type type, const void *keys, const uint16_t *channels,
                     const int32_t *positions, const kvl_attention_row *row, size_t j) {
    const size_t dim = channels != NULL ? a->n_channels : a->head_dim;
    const kvl_kv_form form = kvl_kv_form_of(type, dim, false);
    float sum = 0;
    if (a->positions != NULL && positions[j] < row->oldest) {
        return -INFINITY;
    }
    for (size_t d = 0; d < dim; d++) {
        sum += row->q[channels != NULL ? channels[d] : d] * kvli_kv_at(&form, keys, j, d);
    }
    sum *= a->scale;
    return a->softcap > 0 ? softcap_one(sum, a->softcap) : sum;
}

static void attend_row(const kvl_attention *a, const kvl_attention_row *row, float *scratch) {
    const kvl_kv_form call_form = kvl_kv_form_of(a->value_type, a->head_dim, true);
    const kvl_kv_form own_form = kvl_kv_form_of(a->own_value_type, a->head_dim, true);
    size_t n = row->n + row->n_own;
    float most = -INFINITY;
    for (size_t j = 0; j < n; j++) { /* 1. scores */
        scratch[j] = j < row->n ? score_c(a, a->key_type, a->keys, a->channels, a->positions, row, j)
                                : score_c(a, a->own_key_type, row->own_keys, NULL, row->own_positions, row,
                                          j - row->n);
        most = scratch[j] > most ? scratch[j] : most;
    }
    float lanes[KVL_KEY_PANEL] = {0};
    for (size_t j = 0; j < n; j++) { /* 2. softmax */
        scratch[j] = expf(scratch[j] - most);
        lanes[j % KVL_KEY_PANEL] += scratch[j];
    }
    float inverse = 1.0f / sum_lanes(lanes);
    memset(row->out, 0, a->head_dim * sizeof *row->out);
    for (size_t j = 0; j < n; j++) { /* 3. weighted sum of values */
        const void *values = j < row->n ? a->values : row->own_values;
        const kvl_kv_form *form = j < row->n ? &call_form : &own_form;
        const size_t slot = j < row->n ? j : j - row->n;
        scratch[j] *= inverse;
        if (a->mass != NULL) {
            a->mass[j] += (int64_t)(scratch[j] * (float)KVL_MASS_ONE + 0.5f);
        }
        for (size_t d = 0; d < a->head_dim; d++) {
            row->out[d] += scratch[j] * kvli_kv_at(form, values, slot, d);
        }
    }
}

static void attend_c(const kvl_attention *a, const kvl_attention_row *rows, size_t n_rows, float *scratch) {
    for (size_t r = 0; r < n_rows; r++) {
        attend_row(a, &rows[r], scratch);
    }
}

static double sum_exp_c(float *most_out, float *weights, const float *x, size_t n) {
    float most = x[0];
    for (size_t i = 1; i < n; i++) {
        most = x[i] > most ? x[i] : most;
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = exp((double)x[i] - (double)most);
        sum += e;
        if (weights != NULL) {
            weights[i] = (float)e;
        }
    }
    *most_out = most;
    return sum;
}

static double dot_c(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static double log_sum_exp_c(const float *x, size_t n) {
    float most = 0;
    double sum = sum_exp_c(&most, NULL, x, n);
    return (double)most + log(sum);
}

const kvl_kernels kvli_kernels_c = {
    .name = "c",
    .gemm = gemm_c,
    .gemm_q8 = gemm_q8_c,
    .quantize = quantize_c,
    .layer_norm = layer_norm_c,
    .rms_norm = rms_norm_c,
    .gelu_erf = gelu_erf_c,
    .gelu_tanh = gelu_tanh_c,
    .silu = silu_c,
    .softcap = softcap_c,
    .mul = mul_c,
    .add = add_c,
    .attend = attend_c,
    .sum_exp = sum_exp_c,
    .dot = dot_c,
    .log_sum_exp = log_sum_exp_c,
};
