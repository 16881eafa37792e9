/* Moments of queries, main directions, and how far back heads look.
 *
 * Sources: kvpress 0.5.5, collect_queries (mean and covariance of queries before rotation) and
 * duo_attention_on_the_fly (head scores); Godey et al., "Q-Filters" (arXiv 2503.02812), section 3: the first
 * right singular vector of the rotated queries, on the side where most of them lie, is the first eigenvector
 * of the sum of their products.
 */
#include "protocol/calibrate.h"

#include "base/alloc.h"
#include "kernel/gram.h"
#include "model/model.h"
#include "press/view.h"

#include <math.h>
#include <string.h>

enum {
    sign_tokens = 1024, /* whose queries say on which side most lie */
    look_back = 500,    /* positions over which a head's mean query looks at its mean key */
};

typedef struct run {
    kvl_engine *engine;
    const kvl_model *model;
    const kvl_kernels *kernels;
    const kvl_samples *texts;
    size_t max_tokens;
    bool (*goes_on)(void);
    kvl_calibration *c;
    size_t n_heads;      /* query heads of all layers */
    size_t n_moments;    /* queries in the moments so far */
    double *means;       /* [heads, D] */
    double *scatters;    /* [heads, D, D] sums of products of what differs from them, upper triangle */
    double *grams;       /* [heads, D, D] sums of products of rotated queries, upper triangle */
    double *directions;  /* [heads, D] */
    int64_t *sides;      /* [heads] queries on the positive side less those on the other */
    double *head_scores; /* [L, K] sums over texts */
    float *floats;       /* scratch of a head */
    double *doubles;
} run;

/* ---- the texts ---- */

/* What is done with a stream that has just taken n tokens, the last of its text or not. */
typedef void visit_fn(run *r, const kvl_stream *stream, size_t n, bool is_last);

static kvl_status run_text(run *r, const kvl_sample *text, size_t n_tokens, kvl_needs needs, visit_fn *visit,
                           kvl_err *err) {
    kvl_row rows[256];
    kvl_stream *stream = NULL;
    kvl_status status = KVL_OK;
    const size_t most = kvl_min_size(sizeof rows / sizeof rows[0], kvl_engine_pass_rows());
    KVL_TRY(kvl_stream_create(&stream, r->engine, err));
    needs.n_queries = (uint32_t)most;
    KVL_GO(kvl_stream_watch(stream, &r->model->shape, needs, err));
    for (size_t done = 0, n; done < n_tokens; done += n) {
        n = kvl_min_size(most, n_tokens - done);
        for (size_t i = 0; i < n; i++) {
            rows[i] = (kvl_row){.stream = stream, .token = text->ids.ids[done + i], .target = -1};
        }
        KVL_GO(kvl_engine_forward(r->engine, rows, n, err));
        visit(r, stream, n, done + n == n_tokens);
        if (r->goes_on != NULL && !r->goes_on()) {
            KVL_GO(kvl_fail(err, KVL_E_INTERRUPTED, "stopped on request"));
        }
    }
done:
    kvl_stream_destroy(stream);
    return status;
}

static size_t tokens_of(const run *r, const kvl_sample *text) {
    return kvl_min_size(text->ids.n, r->max_tokens);
}

/* Rotated queries of the n tokens just taken, one after another: [n, D]. */
static const float *last_queries(const run *r, const kvl_stream *stream, size_t head, size_t n) {
    const uint32_t n_heads = r->model->shape.n_heads;
    return kvl_tap_query(stream->tap, (uint32_t)(head / n_heads), (uint32_t)(head % n_heads),
                         stream->n_seen - n);
}

/* ---- moments ---- */

/* Joins the moments of n queries of a head to those of n_before (Chan, Golub, LeVeque 1979). */
static void join_moments(run *r, size_t head, const float *mean, const float *covariance, double n) {
    const size_t dim = r->model->shape.head_dim;
    const double n_before = (double)r->n_moments;
    double *to = r->means + head * dim;
    double *scatter = r->scatters + head * dim * dim;
    for (size_t i = 0; i < dim; i++) {
        const double off = (double)mean[i] - to[i];
        for (size_t j = i; j < dim; j++) {
            scatter[i * dim + j] += n * (double)covariance[i * dim + j] +
                                    off * ((double)mean[j] - to[j]) * n * n_before / (n + n_before);
        }
    }
    for (size_t i = 0; i < dim; i++) {
        to[i] += ((double)mean[i] - to[i]) * n / (n + n_before);
    }
}

/* ---- how far back heads look ---- */

static void mean_plain_key(const run *r, const kvl_stream *stream, uint32_t layer, uint32_t head,
                           float *mean) {
    const size_t dim = r->model->shape.head_dim;
    const kvl_layer *weights = &r->model->layers[layer];
    const kvl_rope *rope = &r->model->ropes[weights->rope];
    const bool is_rotated = rope->frequencies != NULL && r->model->shape.n_rotary != 0;
    const kvl_head_entries entries = kvl_cache_entries(stream->cache, layer, head);
    const kvl_layer_view in = {
        .shape = &r->model->shape, .layer = layer, .cache = stream->cache, .rope = is_rotated ? rope : NULL};
    const kvl_head_view view = {.in = &in, .head = head, .n = entries.n, .positions = entries.positions};
    float *keys = r->floats;
    kvl_view_plain_keys(&view, keys);
    for (size_t i = 0; i < dim; i++) {
        double sum = 0;
        for (size_t j = 0; j < view.n; j++) {
            sum += (double)keys[j * dim + i];
        }
        mean[i] = (float)(sum / (double)view.n);
    }
}

/* The mean query, after look_back - 1 copies of the mean key, looks at these and its own: the area under its
 * cumulated attention, 1 where all is at the farthest. keys [look_back, D]: the copies, rotated. */
static double area(const run *r, const float *query, const float *keys, float scale) {
    const size_t dim = r->model->shape.head_dim;
    float weights[look_back];
    float most = 0;
    double sum = 0;
    for (size_t p = 0; p < look_back; p++) {
        weights[p] = scale * (float)r->kernels->dot(query, keys + p * dim, dim);
    }
    const double total = r->kernels->sum_exp(&most, weights, weights, look_back);
    for (size_t p = 0; p < look_back; p++) {
        sum += (double)weights[p] * (double)(look_back - p);
    }
    return sum / (total * look_back);
}

static void score_head(run *r, const kvl_stream *stream, uint32_t layer, uint32_t head) {
    const kvl_shape *s = &r->model->shape;
    const size_t dim = s->head_dim;
    const uint32_t group = s->n_heads / s->n_kv_heads;
    const kvl_rope *rope = &r->model->ropes[r->model->layers[layer].rope];
    const kvl_layer_view in = {.shape = s,
                               .rope = rope->frequencies != NULL && s->n_rotary != 0 ? rope : NULL};
    const float gain = in.rope != NULL ? rope->gain : 1;
    float *mean = r->floats + kvl_max_size(r->max_tokens, look_back) * dim;
    float *keys = r->floats;
    double sum = 0;
    mean_plain_key(r, stream, layer, head, mean);
    for (size_t p = 0; p < look_back; p++) {
        memcpy(keys + p * dim, mean, dim * sizeof *mean);
        kvl_view_rotate(&in, keys + p * dim, (double)p);
    }
    for (uint32_t g = 0; g < group; g++) {
        kvl_tap_moments(stream->tap, r->kernels, layer, head * group + g, stream->n_seen, 0, mean, NULL,
                        r->doubles);
        kvl_view_rotate(&in, mean, look_back - 1);
        sum += area(r, mean, keys, s->attn_scale * gain * gain);
    }
    r->head_scores[(size_t)layer * s->n_kv_heads + head] += sum / group;
}

/* ---- the passes ---- */

static void visit_first(run *r, const kvl_stream *stream, size_t n, bool is_last) {
    const kvl_shape *s = &r->model->shape;
    const size_t dim = s->head_dim;
    float *mean = r->floats;
    float *covariance = r->floats + dim;
    for (size_t i = 0; i < r->n_heads; i++) {
        kvl_gram_add(r->kernels, r->grams + i * dim * dim, last_queries(r, stream, i, n), n, dim);
    }
    if (!is_last) {
        return;
    }
    const size_t n_counted = (size_t)stream->n_seen - KVL_CALIBRATION_SKIP;
    for (size_t i = 0; i < r->n_heads; i++) {
        kvl_tap_moments(stream->tap, r->kernels, (uint32_t)(i / s->n_heads), (uint32_t)(i % s->n_heads),
                        stream->n_seen, KVL_CALIBRATION_SKIP, mean, covariance, r->doubles);
        join_moments(r, i, mean, covariance, (double)n_counted);
    }
    r->n_moments += n_counted;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            score_head(r, stream, layer, head);
        }
    }
}

static void visit_sides(run *r, const kvl_stream *stream, size_t n, bool is_last) {
    const size_t dim = r->model->shape.head_dim;
    (void)is_last;
    for (size_t i = 0; i < r->n_heads; i++) {
        const float *queries = last_queries(r, stream, i, n);
        const double *direction = r->directions + i * dim;
        for (size_t t = 0; t < n; t++) {
            double dot = 0;
            for (size_t d = 0; d < dim; d++) {
                dot += (double)queries[t * dim + d] * direction[d];
            }
            r->sides[i] += (dot > 0) - (dot < 0);
        }
    }
}

/* The first eigenvector of a symmetric matrix [dim, dim], whose upper triangle is there: v [dim], |v| = 1.
 * Powers of the matrix are applied until nothing moves, or as often as it makes sense: where two eigenvalues
 * are as good as equal, any direction between theirs is as good. */
static void main_direction(double *m, size_t dim, double *v, double *next) {
    enum { most_rounds = 5000 };
    size_t widest = 0;
    for (size_t i = 0; i < dim; i++) {
        widest = m[i * dim + i] > m[widest * dim + widest] ? i : widest;
        for (size_t j = 0; j < i; j++) {
            m[i * dim + j] = m[j * dim + i];
        }
    }
    memset(v, 0, dim * sizeof *v);
    v[widest] = 1;
    for (size_t round = 0; round < most_rounds; round++) {
        double square = 0;
        double moved = 0;
        for (size_t i = 0; i < dim; i++) {
            next[i] = 0;
            for (size_t j = 0; j < dim; j++) {
                next[i] += m[i * dim + j] * v[j];
            }
            square += next[i] * next[i];
        }
        const double length = sqrt(square);
        for (size_t i = 0; i < dim && length > 0; i++) {
            moved = fmax(moved, fabs(next[i] / length - v[i]));
            v[i] = next[i] / length;
        }
        if (moved < 1e-12) {
            return;
        }
    }
}

/* ---- all of it ---- */

static kvl_status open_run(run *r, kvl_err *err) {
    const kvl_shape *s = &r->model->shape;
    const size_t dim = s->head_dim;
    size_t longest = 0;
    for (size_t i = 0; i < r->texts->n; i++) {
        longest = kvl_max_size(longest, tokens_of(r, &r->texts->items[i]));
        if (tokens_of(r, &r->texts->items[i]) <= KVL_CALIBRATION_SKIP) {
            return kvl_fail(err, KVL_E_TEXT, "text %s: expected more than %d tokens, found %zu",
                            r->texts->items[i].name, (int)KVL_CALIBRATION_SKIP,
                            tokens_of(r, &r->texts->items[i]));
        }
    }
    r->max_tokens = longest;
    r->n_heads = (size_t)s->n_layers * s->n_heads;
    r->means = kvl_calloc(r->n_heads * dim, sizeof *r->means);
    r->scatters = kvl_calloc(r->n_heads * dim * dim, sizeof *r->scatters);
    r->grams = kvl_calloc(r->n_heads * dim * dim, sizeof *r->grams);
    r->directions = kvl_calloc(r->n_heads * dim, sizeof *r->directions);
    r->sides = kvl_calloc(r->n_heads, sizeof *r->sides);
    r->head_scores = kvl_calloc((size_t)s->n_layers * s->n_kv_heads, sizeof *r->head_scores);
    r->floats = kvl_calloc((kvl_max_size(r->max_tokens, look_back) + dim + 1) * dim, sizeof *r->floats);
    r->doubles = kvl_calloc(kvl_tap_moments_doubles(dim), sizeof *r->doubles);
    const bool has_all = r->means != NULL && r->scatters != NULL && r->grams != NULL &&
                         r->directions != NULL && r->sides != NULL && r->head_scores != NULL &&
                         r->floats != NULL && r->doubles != NULL;
    return has_all ? kvl_calibration_create(&r->c, r->model, err) : kvl_fail_nomem(err, "statistics");
}

static void close_run(run *r) {
    kvl_calibration_destroy(r->c);
    kvl_free(r->means);
    kvl_free(r->scatters);
    kvl_free(r->grams);
    kvl_free(r->directions);
    kvl_free(r->sides);
    kvl_free(r->head_scores);
    kvl_free(r->floats);
    kvl_free(r->doubles);
}

static void finish(run *r) {
    const kvl_shape *s = &r->model->shape;
    const size_t dim = s->head_dim;
    const size_t group = s->n_heads / s->n_kv_heads;
    kvl_calibration *c = r->c;
    for (size_t i = 0; i < r->n_heads * dim; i++) {
        c->means[i] = (float)r->means[i];
    }
    for (size_t i = 0; i < r->n_heads * dim * dim; i++) {
        const size_t head = i / (dim * dim), row = i / dim % dim, column = i % dim;
        const size_t upper = kvl_min_size(row, column) * dim + (row > column ? row : column);
        const double sum = r->scatters[head * dim * dim + upper];
        c->covariances[i] = r->n_moments > 1 ? (float)(sum / (double)(r->n_moments - 1)) : 0;
    }
    for (size_t k = 0; k < r->n_heads / group; k++) {
        for (size_t d = 0; d < dim; d++) {
            double sum = 0;
            for (size_t i = k * group; i < (k + 1) * group; i++) {
                sum += r->directions[i * dim + d] * (r->sides[i] < 0 ? -1 : 1);
            }
            c->filters[k * dim + d] = (float)(sum / (double)group);
        }
        c->head_scores[k] = (float)(r->head_scores[k] / (double)r->texts->n);
    }
    kvl_calibration_seal(c);
}

static kvl_status run_texts(run *r, kvl_err *err) {
    const size_t dim = r->model->shape.head_dim;
    for (size_t i = 0; i < r->texts->n; i++) {
        const kvl_sample *text = &r->texts->items[i];
        const size_t n = tokens_of(r, text);
        KVL_TRY(run_text(r, text, n, (kvl_needs){.has_moments = true}, visit_first, err));
        kvl_str_printf(&r->c->texts, "%s%s:%016llx:%zu", i != 0 ? " " : "", text->name,
                       (unsigned long long)text->hash, n);
        r->c->n_tokens += n;
    }
    for (size_t i = 0; i < r->n_heads; i++) {
        main_direction(r->grams + i * dim * dim, dim, r->directions + i * dim, r->doubles);
    }
    size_t n_left = sign_tokens;
    for (size_t i = 0; i < r->texts->n && n_left != 0; i++) {
        const kvl_sample *text = &r->texts->items[i];
        const size_t n = kvl_min_size(n_left, tokens_of(r, text));
        KVL_TRY(run_text(r, text, n, (kvl_needs){0}, visit_sides, err));
        n_left -= n;
    }
    return kvl_str_check(&r->c->texts, "statistics", err);
}

kvl_status kvl_calibrate(kvl_calibration **out, kvl_engine *engine, const kvl_samples *texts,
                         size_t max_tokens, bool (*goes_on)(void), kvl_err *err) {
    run r = {.engine = engine,
             .model = kvl_engine_model(engine),
             .texts = texts,
             .max_tokens = max_tokens,
             .goes_on = goes_on};
    kvl_status status = KVL_OK;
    *out = NULL;
    KVL_GO(kvl_kernels_get(&r.kernels, kvl_engine_isa(engine), err));
    KVL_GO(open_run(&r, err));
    KVL_GO(run_texts(&r, err));
    finish(&r);
    *out = r.c;
    r.c = NULL;
done:
    close_run(&r);
    return status;
}
