/* Key norms of a full cache, and how they go with the attention that the keys received. */
#include "explain/experiment_int.h"

#include "base/alloc.h"
#include "kernel/gram.h"
#include "stats/order.h"

/* Keys of fewer queries than this behind them say little of the attention they receive. */
enum { MIN_QUERIES = 32 };

kvl_status kvli_key_norms(float **out, const kvl_stream *stream, const kvl_shape *shape, size_t n_tokens,
                          kvl_err *err) {
    const size_t dim = shape->head_dim;
    float *norms = kvl_calloc((size_t)shape->n_layers * shape->n_kv_heads * n_tokens, sizeof *norms);
    float *keys = kvl_calloc(n_tokens * dim, sizeof *keys);
    kvl_status status = KVL_OK;
    if (norms == NULL || keys == NULL) {
        KVL_GO(kvl_fail_nomem(err, "norms"));
    }
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            float *to = norms + ((size_t)layer * shape->n_kv_heads + head) * n_tokens;
            const kvl_head_entries entries = kvl_cache_entries(stream->cache, layer, head);
            kvl_cache_copy_keys(stream->cache, layer, head, keys);
            for (size_t j = 0; j < entries.n; j++) {
                to[entries.positions[j]] = kvl_row_norm(keys + j * dim, dim);
            }
        }
    }
    *out = norms;
    norms = NULL;
done:
    kvl_free(norms);
    kvl_free(keys);
    return status;
}

/* The share of attention that n keys receive, of which those with a rank in `order` from n / 2 on go. */
static double lost_half(const double *attention, const size_t *order, size_t n) {
    double all = 0;
    double lost = 0;
    for (size_t i = 0; i < n; i++) {
        all += attention[order[i]];
        lost += i >= n / 2 ? attention[order[i]] : 0;
    }
    return all > 0 ? lost / all : 0;
}

static void order_by(size_t *order, const double *x, size_t n, double sign) {
    for (size_t i = 0; i < n; i++) { /* insertion: a few hundred keys */
        size_t to = i;
        for (; to > 0 && sign * x[order[to - 1]] > sign * x[i]; to--) {
            order[to] = order[to - 1];
        }
        order[to] = i;
    }
}

typedef struct head_facts {
    double correlation, lost_norm, lost_best, lost_random;
} head_facts;

static head_facts head_facts_of(const double *norms, const double *attention, size_t *order, size_t n) {
    head_facts f = {0};
    f.correlation = kvl_spearman(norms, attention, n);
    order_by(order, norms, n, 1); /* the highest norms last */
    f.lost_norm = lost_half(attention, order, n);
    order_by(order, attention, n, -1); /* the least attention last */
    f.lost_best = lost_half(attention, order, n);
    f.lost_random = (double)(n - n / 2) / (double)n;
    return f;
}

kvl_status kvli_norm_facts(kvl_norm_facts *facts, size_t text, const kvl_stream *stream,
                           const kvl_shape *shape, const float *norms, size_t n_tokens, kvl_err *err) {
    const size_t n_fed = (size_t)stream->n_seen;
    const size_t n = n_fed > 2 * MIN_QUERIES ? n_fed - MIN_QUERIES : 0;
    double *x = kvl_calloc(n_fed, sizeof *x);
    double *attention = kvl_calloc(n_fed, sizeof *attention);
    size_t *order = kvl_calloc(n_fed, sizeof *order);
    kvl_status status = KVL_OK;
    if (x == NULL || attention == NULL || order == NULL) {
        KVL_GO(kvl_fail_nomem(err, "norms"));
    }
    for (uint32_t layer = 0; layer < shape->n_layers && n != 0; layer++) {
        const size_t at = text * facts->n_layers + layer;
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            const kvl_head_entries entries = kvl_cache_entries(stream->cache, layer, head);
            for (size_t j = 0; j < entries.n; j++) {
                const size_t p = (size_t)entries.positions[j];
                if (p < n) {
                    x[p] = (double)norms[((size_t)layer * shape->n_kv_heads + head) * n_tokens + p];
                    attention[p] = (double)entries.mass[j] / (double)(n_fed - p);
                }
            }
            const head_facts f = head_facts_of(x, attention, order, n);
            facts->correlation[at] += f.correlation / shape->n_kv_heads;
            facts->lost_norm[at] += f.lost_norm / shape->n_kv_heads;
            facts->lost_best[at] += f.lost_best / shape->n_kv_heads;
            facts->lost_random[at] += f.lost_random / shape->n_kv_heads;
        }
    }
done:
    kvl_free(x);
    kvl_free(attention);
    kvl_free(order);
    return status;
}
