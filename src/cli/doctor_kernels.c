/* Small fixed products and attentions on every instruction set, against the plain C definition. */
#include "cli/doctor.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "kernel/kernel.h"

#include <float.h>
#include <math.h>

/* no multiple of a tile, a panel or a vector */
enum { N_ROWS = 5, N_IN = 70, N_COLS = 70, N_ENTRIES = 37, HEAD_DIM = 20 };

typedef struct inputs {
    float *x;       /* [N_ROWS, N_IN] */
    float *weights; /* [N_COLS, N_IN] */
    float *panels;
    float *keys, *values, *query;
    float *scratch;
    float *want, *got; /* [N_ROWS, N_COLS] */
} inputs;

static float *draw(size_t n, uint64_t seed) {
    float *x = kvl_calloc(n, sizeof *x);
    for (size_t i = 0; x != NULL && i < n; i++) {
        x[i] = 2.0f * kvl_rng_unit(seed, 1, i) - 1.0f;
    }
    return x;
}

static bool make_inputs(inputs *in) {
    const size_t n_padded = kvl_round_up(N_ENTRIES, KVL_KEY_PANEL);
    *in = (inputs){.x = draw((size_t)N_ROWS * N_IN, 1),
                   .weights = draw((size_t)N_COLS * N_IN, 2),
                   .panels = draw(kvl_panels_bytes(KVL_PANEL_F32, N_IN, N_COLS) / sizeof(float), 3),
                   .keys = draw(n_padded * HEAD_DIM, 4),
                   .values = draw((size_t)N_ENTRIES * HEAD_DIM, 5),
                   .query = draw(HEAD_DIM, 6),
                   .scratch = draw(n_padded, 7),
                   .want = draw((size_t)N_ROWS * N_COLS, 8),
                   .got = draw((size_t)N_ROWS * N_COLS, 9)};
    if (in->x == NULL || in->weights == NULL || in->panels == NULL || in->keys == NULL ||
        in->values == NULL || in->query == NULL || in->scratch == NULL || in->want == NULL ||
        in->got == NULL) {
        return false;
    }
    kvl_pack_panels(in->panels, KVL_PANEL_F32, in->weights, N_IN, N_COLS);
    return true;
}

static void free_inputs(inputs *in) {
    float *blocks[] = {in->x,     in->weights, in->panels, in->keys, in->values,
                       in->query, in->scratch, in->want,   in->got};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        kvl_free(blocks[i]);
    }
}

/* Largest error of the products, as a part of the bound that kernel.h states. */
static double product_error(const kvl_kernels *k, const kvl_kernels *c, inputs *in) {
    double worst = 0;
    const kvl_panels panels = {KVL_PANEL_F32, 0, in->panels};
    c->gemm(in->want, N_COLS, in->x, N_IN, &panels, in->weights, N_ROWS, N_IN, N_COLS);
    k->gemm(in->got, N_COLS, in->x, N_IN, &panels, in->weights, N_ROWS, N_IN, N_COLS);
    for (size_t r = 0; r < N_ROWS; r++) {
        for (size_t col = 0; col < N_COLS; col++) {
            double magnitude = fabs((double)in->weights[col]); /* of the bias: the first weights */
            for (size_t i = 0; i < N_IN; i++) {
                magnitude += fabs((double)in->x[r * N_IN + i] * (double)in->weights[col * N_IN + i]);
            }
            double bound = 4.0 * N_IN * (double)FLT_EPSILON * magnitude;
            double error = fabs((double)in->got[r * N_COLS + col] - (double)in->want[r * N_COLS + col]);
            worst = !(error / bound <= worst) ? error / bound : worst; /* NaN stays */
        }
    }
    return worst;
}

/* The same of an attention; values are at most 1, so that the bound is 1e-5. */
static double attention_error(const kvl_kernels *k, const kvl_kernels *c, inputs *in) {
    double worst = 0;
    const kvl_attention attention = {
        .keys = in->keys, .values = in->values, .head_dim = HEAD_DIM, .scale = 1};
    c->attend(&attention, &(kvl_attention_row){.q = in->query, .out = in->want, .n = N_ENTRIES}, 1,
              in->scratch);
    k->attend(&attention, &(kvl_attention_row){.q = in->query, .out = in->got, .n = N_ENTRIES}, 1,
              in->scratch);
    for (size_t d = 0; d < HEAD_DIM; d++) {
        double error = fabs((double)in->got[d] - (double)in->want[d]) / 1e-5;
        worst = !(error <= worst) ? error : worst;
    }
    return worst;
}

void kvl_doctor_kernels(kvl_doctor *d) {
    inputs in;
    const kvl_kernels *c = NULL;
    bool has_inputs = make_inputs(&in);
    if (!has_inputs || kvl_kernels_get(&c, "c", NULL) != KVL_OK) {
        kvl_doctor_say(d, KVL_CHECK_FAIL, "kernels", "out of memory");
        free_inputs(&in);
        return;
    }
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = NULL;
        kvl_err err = {0};
        if (kvl_kernels_get(&k, *name, &err) != KVL_OK) {
            kvl_doctor_say(d, KVL_CHECK_FAIL, "kernels", "%s", err.msg);
            continue;
        }
        if (k == c) {
            continue; /* the definition itself */
        }
        double product = product_error(k, c, &in);
        double attention = attention_error(k, c, &in);
        bool is_ok = product <= 1 && attention <= 1;
        kvl_doctor_say(d, is_ok ? KVL_CHECK_OK : KVL_CHECK_FAIL, "kernels",
                       "%s against c: product %.2g, attention %.2g of the error allowed", k->name, product,
                       attention);
    }
    free_inputs(&in);
}
