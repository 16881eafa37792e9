/* Budgets -> numbers of entries. docs/policies.md says the same in words. */
#include "press/policy.h"

#include <math.h>

size_t kvl_budget_target(double keep_ratio, uint64_t size_tok, size_t n) {
    /* ceil in double is the exact ceiling for every ratio of up to 4 decimals and n <= 4096 */
    const double share = size_tok != 0 ? (double)size_tok : ceil(keep_ratio * (double)n);
    const size_t target = share >= (double)n ? n : (size_t)share;
    return target < 1 && n > 0 ? 1 : target;
}

/* A stream that has seen n_tokens, and who acts on it. */
typedef struct cut {
    const kvl_policy *policy;
    const kvl_press_node *acting;
    const kvl_shape *shape;
    size_t n_tokens;
    size_t n_skipped;    /* layers */
    bool is_by_layer;    /* the press gives layers different budgets */
    uint64_t skip_bytes; /* of a head that is left alone */
} cut;

static cut cut_of(const kvl_policy *p, const kvl_press_node *acting, const kvl_shape *shape,
                  size_t n_tokens) {
    cut c = {.policy = p, .acting = acting, .shape = shape, .n_tokens = n_tokens};
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        c.n_skipped += kvl_policy_skips(p, layer);
    }
    c.is_by_layer = kvl_press_has_budget(acting);
    c.skip_bytes = kvl_cache_head_live_bytes(shape, n_tokens);
    return c;
}

/* Keys and values of all layers when `size` is what the budget says. */
static uint64_t bytes_at(const cut *c, size_t size) {
    const kvl_shape *s = c->shape;
    uint64_t n_bytes = c->n_skipped * c->skip_bytes;
    if (!c->is_by_layer) {
        n_bytes += (s->n_layers - c->n_skipped) * kvl_cache_head_live_bytes(s, size);
    }
    for (uint32_t layer = 0; layer < s->n_layers && c->is_by_layer; layer++) {
        if (!kvl_policy_skips(c->policy, layer)) {
            const size_t n = kvl_press_budget(c->acting, s, layer, c->n_tokens, size);
            n_bytes += kvl_cache_head_live_bytes(s, kvl_min_size(c->n_tokens, n));
        }
    }
    return n_bytes * s->n_kv_heads;
}

size_t kvl_budget_size(const kvl_policy *p, const kvl_press_node *acting, const kvl_shape *shape,
                       size_t n_tokens) {
    const cut c = cut_of(p, acting, shape, n_tokens);
    size_t fits = 0;
    size_t above = n_tokens + 1;
    while (above - fits > 1) {
        const size_t middle = fits + (above - fits) / 2;
        *(bytes_at(&c, middle) <= p->n_bytes ? &fits : &above) = middle;
    }
    return fits;
}

kvl_status kvl_budget_check(const kvl_policy *p, const kvl_shape *shape, size_t n_tokens, kvl_err *err) {
    if (p->n_bytes == 0 || kvl_policy_press(p)->is_identity || kvl_press_is_outcome(p->tree) ||
        kvl_budget_size(p, p->tree, shape, n_tokens) != 0) {
        return KVL_OK;
    }
    const cut c = cut_of(p, p->tree, shape, n_tokens);
    kvl_str found = {0};
    kvl_bytes_text(&found, p->n_bytes);
    kvl_status status =
        kvl_fail(err, KVL_E_USAGE,
                 "policy %s: bytes: expected at least %llu for %zu tokens (one entry in every head, all of "
                 "them in %zu skipped layers), found %s",
                 kvl_policy_press(p)->name, (unsigned long long)bytes_at(&c, 1), n_tokens, c.n_skipped,
                 kvl_str_text(&found));
    kvl_str_free(&found);
    return status;
}
