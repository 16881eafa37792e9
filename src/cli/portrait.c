/* The portrait of a text: a sweep of one sample whose streams are looked at when they end. */
#include "cli/portrait.h"

#include "base/alloc.h"
#include "cli/keep.h"
#include "engine/departures.h"
#include "kernel/gram.h"

#include <math.h>
#include <string.h>

typedef struct painter {
    const kvl_sweep_run_info *info;
    const kvl_shape *shape;
    const kvl_policy *policies; /* chosen */
    size_t n_policies;
    kvl_str text, full, others; /* lines: of the text, of the full cache, of policies */
} painter;

/* ---- which policies ---- */

static bool has_same_press(const kvl_policy *a, const kvl_policy *b) {
    return memcmp(a->tree, b->tree, sizeof a->tree) == 0;
}

/* Some of each run of policies of one press, spread over it. Returns how many. */
static size_t choose(kvl_policy *out, const kvl_policy *all, size_t n) {
    size_t n_runs = 0;
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        n_runs += i == 0 || !has_same_press(&all[i], &all[i - 1]);
    }
    const size_t share = n_runs != 0 ? kvl_max_size(1, KVL_PORTRAIT_POLICIES / n_runs) : 0;
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && has_same_press(&all[end], &all[first]); end++) {
        }
        const size_t n_run = end - first;
        const size_t n_take = kvl_min_size(kvl_min_size(share, n_run), KVL_PORTRAIT_POLICIES - n_out);
        for (size_t i = 0; i < n_take; i++) {
            out[n_out++] = all[first + (n_take > 1 ? i * (n_run - 1) / (n_take - 1) : n_run / 2)];
        }
    }
    return n_out;
}

/* Layers at the beginning that all policies leave alone. */
static size_t count_skipped(const painter *p) {
    size_t n = 0;
    for (bool is_skipped = p->n_policies != 0; is_skipped && n < p->shape->n_layers;) {
        for (size_t i = 0; i < p->n_policies; i++) {
            is_skipped = is_skipped && kvl_policy_skips(&p->policies[i], (uint32_t)n);
        }
        n += is_skipped;
    }
    return n;
}

/* ---- lines ---- */

/* The text of a token; bytes that are no character by themselves become U+FFFD. */
static json_t *piece_of(const kvl_tokenizer *tokenizer, int32_t id) {
    char *bytes = NULL;
    size_t n = 0;
    if (kvl_tokenizer_decode(tokenizer, &bytes, &n, &id, 1, true, NULL) != KVL_OK) {
        return json_string("\xef\xbf\xbd");
    }
    json_t *piece = json_stringn(bytes, n);
    kvl_free(bytes);
    return piece != NULL ? piece : json_string("\xef\xbf\xbd");
}

/* Lengths of keys and the attention that they received, flat over layers, heads and tokens; null for the last
 * token, which is only predicted. The stream of the full cache may have gone on beyond the sample's tokens.
 */
static kvl_status put_heads(json_t *norms, json_t *attention, const painter *p, const kvl_stream *full,
                            size_t n_tokens, kvl_err *err) {
    const kvl_shape *s = p->shape;
    float *key = kvl_calloc(s->head_dim, sizeof *key);
    if (key == NULL) {
        return kvl_fail_nomem(err, "portrait");
    }
    for (uint32_t i = 0; i < s->n_layers * s->n_kv_heads; i++) {
        const uint32_t layer = i / s->n_kv_heads;
        const uint32_t head = i % s->n_kv_heads;
        const kvl_head_entries entries = kvl_cache_entries(full->cache, layer, head);
        for (size_t t = 0; t + 1 < n_tokens; t++) { /* entry t is that of position t */
            const double n_queries = (double)(full->n_seen - t) * s->n_heads / s->n_kv_heads;
            kvl_cache_copy_key_rows(full->cache, layer, head, t, 1, key);
            json_array_append_new(norms, kvl_json_number((double)kvl_row_norm(key, s->head_dim)));
            json_array_append_new(attention,
                                  kvl_json_number((double)entries.mass[t] / KVL_MASS_ONE / n_queries));
        }
        json_array_append_new(norms, json_null());
        json_array_append_new(attention, json_null());
    }
    kvl_free(key);
    return KVL_OK;
}

static kvl_status write_text(painter *p, const kvl_cell *c, const kvl_stream *full, kvl_err *err) {
    const kvl_sample *sample = &p->info->samples->items[0];
    json_t *pieces = json_array();
    json_t *norms = json_array();
    json_t *attention = json_array();
    for (size_t t = 0; t < c->n_tokens; t++) {
        json_array_append_new(pieces, piece_of(p->info->tokenizer, sample->ids.ids[t]));
    }
    const kvl_status status = put_heads(norms, attention, p, full, c->n_tokens, err);
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "schema", "kvlab.portrait/1", "text",
                  sample->name, "n_layers", (json_int_t)p->shape->n_layers, "n_heads",
                  (json_int_t)p->shape->n_kv_heads, "n_tokens", (json_int_t)c->n_tokens, "n_skipped",
                  (json_int_t)count_skipped(p), "pieces", pieces, "norms", norms, "attention", attention);
    if (status != KVL_OK) {
        json_decref(o);
        return status;
    }
    return kvl_json_write(&p->text, o, false, err);
}

static kvl_status write_policy(painter *p, const kvl_cell *c, const kvl_stream *stream, kvl_err *err) {
    const size_t first = c->n_tokens - c->n_scored; /* the first token whose prediction is scored */
    json_t *left_at = json_array();
    json_t *nll = json_array();
    kvl_str policy = {0};
    if (c->policy != 0) {
        kvl_policy_text(&p->policies[c->policy - 1], &policy);
    }
    for (uint32_t i = 0; i < p->shape->n_layers * p->shape->n_kv_heads; i++) {
        const uint32_t *left =
            kvl_departures_head(stream->departures, i / p->shape->n_kv_heads, i % p->shape->n_kv_heads);
        for (size_t t = 0; t < c->n_tokens; t++) {
            json_array_append_new(left_at, left[t] != KVL_STAYS ? json_integer(left[t]) : json_null());
        }
    }
    for (size_t t = 0; t < c->n_tokens; t++) {
        json_array_append_new(nll, t >= first ? kvl_json_number(c->nll[t - first]) : json_null());
    }
    json_t *o = json_pack("{s:s, s:s, s:o, s:o}", "schema", "kvlab.portrait-policy/1", "policy",
                          c->policy != 0 ? kvl_str_text(&policy) : "none", "left_at", left_at, "nll", nll);
    kvl_str_free(&policy);
    return kvl_json_write(c->policy != 0 ? &p->others : &p->full, o, false, err);
}

static kvl_status take_cell(void *ud, const kvl_cell *c, const kvl_stream *stream, kvl_err *err) {
    painter *p = ud;
    KVL_TRY(c->policy == 0 ? write_text(p, c, stream, err) : KVL_OK);
    return write_policy(p, c, stream, err);
}

kvl_status kvl_portrait_make(kvl_str *lines, json_t **options, const kvl_sweep_run_info *info,
                             kvl_engine *engine, const kvl_policy *policies, size_t n_policies,
                             kvl_err *err) {
    kvl_policy chosen[KVL_PORTRAIT_POLICIES];
    const size_t n = choose(chosen, policies, n_policies);
    painter p = {
        .info = info, .shape = &kvl_engine_model(engine)->shape, .policies = chosen, .n_policies = n};
    const kvl_samples first = {.items = info->samples->items, .n = 1};
    const kvl_sweep_config config = {
        .protocol = info->protocol,
        .samples = &first,
        .policies = chosen,
        .n_policies = n,
        .wants_departures = true,
        .baseline_needs = {.has_mass = true},
        .finish = take_cell,
        .finish_ud = &p,
    };
    kvl_sweep sweep = {0};
    kvl_status status = kvl_sweep_run(&sweep, engine, &config, err);
    kvl_sweep_free(&sweep);
    kvl_str_puts(lines, kvl_str_text(&p.text));
    kvl_str_puts(lines, kvl_str_text(&p.full));
    kvl_str_puts(lines, kvl_str_text(&p.others));
    kvl_str_free(&p.text);
    kvl_str_free(&p.full);
    kvl_str_free(&p.others);
    if (status == KVL_OK) {
        *options = json_pack("{s:s, s:o, s:o}", "protocol", info->options->protocol->name, "text",
                             kvl_keep_samples(&first), "policies", kvl_keep_policies(chosen, n, p.shape));
    }
    return status;
}
