/* One text, looked at closely: a line kvlab.portrait/1 with the full cache's figures, then a line
 * kvlab.portrait-policy/1 for each policy. Lists over layers, heads and tokens are flat, in this order; null
 * stands for "never left" and "not scored". */
#include "report/gather_int.h"

#include <math.h>

enum { MOST_TOKENS = 1 << 16, MOST_LAYERS = 1024, MOST_HEADS = 1024 };

/* A list of exactly n items. */
static const json_t *get_items(kvli_gather *g, const json_t *line, const char *name, size_t n) {
    const json_t *list = kvli_get_list(g, line, name);
    if (list != NULL && json_array_size(list) != n) {
        kvli_gather_fail(g, name, "one item for each layer, head and token", list);
        return NULL;
    }
    return list;
}

static float *get_floats(kvli_gather *g, const json_t *line, const char *name, size_t n) {
    const json_t *list = get_items(g, line, name, n);
    float *out = kvli_own(g, n, sizeof *out);
    for (size_t i = 0; i < n && g->status == KVL_OK; i++) {
        out[i] = (float)kvli_list_number(g, list, i, name);
    }
    return out;
}

static size_t n_entries(const kvl_portrait *p) { return p->n_layers * p->n_heads * p->n_tokens; }

static void read_text(kvli_gather *g, const json_t *line, kvl_portrait *p) {
    p->text = kvli_get_text(g, line, "text");
    p->n_layers = kvli_get_count(g, line, "n_layers");
    p->n_heads = kvli_get_count(g, line, "n_heads");
    p->n_tokens = kvli_get_count(g, line, "n_tokens");
    p->n_skipped = kvli_get_count(g, line, "n_skipped");
    if (p->n_layers > MOST_LAYERS || p->n_heads > MOST_HEADS || p->n_tokens > MOST_TOKENS ||
        n_entries(p) == 0) {
        kvli_gather_fail(g, "n_layers, n_heads, n_tokens", "at least 1, at most 1024, 1024, 65536", line);
        return;
    }
    const json_t *pieces = get_items(g, line, "pieces", p->n_tokens);
    p->pieces = kvli_own(g, p->n_tokens, sizeof *p->pieces);
    for (size_t i = 0; i < p->n_tokens && g->status == KVL_OK; i++) {
        const json_t *piece = json_array_get(pieces, i);
        if (!json_is_string(piece)) {
            kvli_gather_fail(g, "pieces", "texts", piece);
            return;
        }
        p->pieces[i] = kvli_own_text(g, json_string_value(piece));
    }
    p->norms = get_floats(g, line, "norms", n_entries(p));
    p->attention = get_floats(g, line, "attention", n_entries(p));
}

static void read_policy(kvli_gather *g, const json_t *line, kvl_portrait *p) {
    kvl_portrait_policy *own = &p->policies[p->n_policies];
    const json_t *left = get_items(g, line, "left_at", n_entries(p));
    const json_t *nll = get_items(g, line, "nll", p->n_tokens);
    own->policy = kvli_get_text(g, line, "policy");
    own->left_at = kvli_own(g, n_entries(p), sizeof *own->left_at);
    own->nll = kvli_own(g, p->n_tokens, sizeof *own->nll);
    for (size_t i = 0; i < n_entries(p) && g->status == KVL_OK; i++) {
        const json_t *at = json_array_get(left, i);
        const json_int_t n = json_integer_value(at);
        if (!json_is_null(at) && (!json_is_integer(at) || n < 0 || n > MOST_TOKENS)) {
            kvli_gather_fail(g, "left_at", "whole numbers or null", at);
        }
        own->left_at[i] = json_is_null(at) ? UINT32_MAX : (uint32_t)n;
    }
    for (size_t i = 0; i < p->n_tokens && g->status == KVL_OK; i++) {
        own->nll[i] = kvli_list_number(g, nll, i, "nll");
    }
    p->n_policies++;
}

static void read_line(kvli_gather *g, const json_t *line, void *ud) {
    kvl_portrait *p = ud;
    if (kvli_is_schema(line, "kvlab.portrait/1")) {
        if (p->n_tokens != 0) {
            kvli_gather_fail(g, "schema", "one text", json_object_get(line, "schema"));
            return;
        }
        read_text(g, line, p);
    } else if (kvli_is_schema(line, "kvlab.portrait-policy/1")) {
        if (p->n_tokens == 0) { /* its lists are as long as the text says */
            kvli_gather_fail(g, "schema", "the text before its policies", json_object_get(line, "schema"));
            return;
        }
        read_policy(g, line, p);
    }
}

void kvli_gather_portrait(kvli_gather *g) {
    kvl_portrait *p = kvli_own(g, 1, sizeof *p);
    kvl_portrait_policy *policies = kvli_own(g, kvli_most_lines(g), sizeof *policies);
    if (policies == NULL) {
        return;
    }
    p->policies = policies;
    p->command = kvli_own_text(g, g->document->command);
    kvli_each_line(g, read_line, p);
    g->content->portrait = p->n_tokens != 0 && p->n_policies != 0 ? p : NULL;
}
