/* Policy text: parsing on top of defaults, canonical printing. */
#include "press/policy.h"

#include "press/tree.h"

#include <string.h>

void kvl_policy_init(kvl_policy *p) { *p = (kvl_policy){.keep_ratio = 1.0, .cap_tok = 1, .cadence_tok = 1}; }

kvl_needs kvl_policy_needs(const kvl_policy *p, const kvl_shape *shape) {
    return kvl_press_needs(p->tree, shape);
}

bool kvl_policy_skips(const kvl_policy *p, uint32_t layer) {
    return layer < KVL_POLICY_MAX_LAYERS && ((p->skip[layer / 64] >> (layer % 64)) & 1) != 0;
}

bool kvl_policy_has_schedule(const kvl_policy *p) { return kvl_press_scheduler(p->tree) != NULL; }

/* Whether a policy without a schedule of its own looks at this moment. */
static bool is_due(const kvl_policy *p, const kvl_moment *moment) {
    if (kvl_policy_press(p)->is_identity || moment->n_seen < moment->n_prefill) {
        return false;
    }
    return p->cadence_tok == 0 ? moment->n_events == 0 : moment->n_seen % p->cadence_tok == 0;
}

kvl_turn kvl_policy_turn(const kvl_policy *p, const kvl_moment *moment) {
    const kvl_press_node *scheduler = kvl_press_scheduler(p->tree);
    if (scheduler == NULL) {
        return (kvl_turn){is_due(p, moment) ? p->tree : NULL, 0};
    }
    kvl_turn turn = scheduler->press->turn(scheduler, moment);
    turn.node = turn.node == scheduler ? p->tree : turn.node; /* with what is around it */
    return turn;
}

static bool acts(const kvl_policy *p, const kvl_turn *turn, uint32_t layer, size_t n) {
    const bool is_triggered =
        kvl_policy_has_schedule(p) || (p->is_trigger_gt ? n > p->cap_tok : n >= p->cap_tok);
    return turn->node != NULL && is_triggered && n != 0 && !kvl_policy_skips(p, layer);
}

/* *n becomes the number of tokens of which it is the share. */
static size_t share_of(const kvl_policy *p, const kvl_shape *shape, const kvl_moment *moment,
                       const kvl_turn *turn, size_t *n) {
    const bool has_own = turn->node->keep_ratio != 0 || turn->node->size_tok != 0;
    if (!has_own && p->n_bytes != 0) {
        /* by the tokens seen, the same number for all layers: what a layer has lost before frees nothing */
        *n = kvl_max_size(*n, (size_t)moment->n_seen);
        return kvl_max_size(1, kvl_budget_size(p, turn->node, shape, *n));
    }
    return kvl_budget_target(has_own ? turn->node->keep_ratio : p->keep_ratio,
                             has_own ? turn->node->size_tok : p->size_tok,
                             turn->n_of != 0 ? (size_t)turn->n_of : *n);
}

size_t kvl_policy_share(const kvl_policy *p, const kvl_shape *shape, const kvl_moment *moment, uint32_t layer,
                        size_t n) {
    const kvl_turn turn = kvl_policy_turn(p, moment);
    return acts(p, &turn, layer, n) ? share_of(p, shape, moment, &turn, &n) : n;
}

kvl_thinning kvl_policy_thinning(const kvl_policy *p, const kvl_shape *shape, const kvl_moment *moment,
                                 uint32_t layer, size_t n) {
    const kvl_turn turn = kvl_policy_turn(p, moment);
    const kvl_press_node *thinner = turn.node != NULL ? kvl_press_thinner(turn.node) : NULL;
    kvl_thinning thinning = {0};
    if (thinner != NULL && acts(p, &turn, layer, n)) {
        thinning = thinner->press->thin(thinner, shape);
    }
    return thinning.n_channels < shape->head_dim ? thinning : (kvl_thinning){0};
}

size_t kvl_policy_target(const kvl_policy *p, const kvl_shape *shape, const kvl_moment *moment,
                         uint32_t layer, uint32_t head, size_t n) {
    const kvl_turn turn = kvl_policy_turn(p, moment);
    if (!acts(p, &turn, layer, n) || kvl_press_spares(turn.node, shape, layer, head)) {
        return n;
    }
    size_t n_of = n;
    const size_t share = share_of(p, shape, moment, &turn, &n_of);
    return kvl_min_size(n, kvl_press_budget(turn.node, shape, layer, n_of, share));
}

static kvl_status fail_key(const char *key, const char *expected, const char *value, kvl_err *err) {
    return kvl_fail(err, KVL_E_USAGE, "policy: %s: expected %s, found '%.80s'", key, expected, value);
}

static kvl_status set_count(uint64_t *out, const char *key, const char *value, uint64_t min, kvl_err *err) {
    uint64_t n = 0;
    if (!kvl_parse_count(&n, value, strlen(value)) || n < min || n > (1u << 30)) {
        return fail_key(key, min == 0 ? "a whole number" : "a whole number above 0", value, err);
    }
    *out = n;
    return KVL_OK;
}

static kvl_status set_either(bool *out, const char *key, const char *value, const char *no, const char *yes,
                             kvl_err *err) {
    if (strcmp(value, no) != 0 && strcmp(value, yes) != 0) {
        return kvl_fail(err, KVL_E_USAGE, "policy: %s: expected %s or %s, found '%.80s'", key, no, yes,
                        value);
    }
    *out = strcmp(value, yes) == 0;
    return KVL_OK;
}

static kvl_status set_skip(kvl_policy *p, const char *value, kvl_err *err) {
    uint64_t mask[KVL_POLICY_MAX_LAYERS / 64] = {0};
    const char *rest = strcmp(value, "none") == 0 ? "" : value;
    while (*rest != '\0') {
        size_t len = strcspn(rest, "+");
        uint64_t layer = 0;
        if (!kvl_parse_count(&layer, rest, len) || layer >= KVL_POLICY_MAX_LAYERS) {
            return fail_key("skip", "layers joined by +, as 0+1, or none", value, err);
        }
        mask[layer / 64] |= (uint64_t)1 << (layer % 64);
        rest += len;
        rest += *rest == '+' && rest[1] != '\0';
        if (*rest == '+') {
            return fail_key("skip", "a layer after the +", value, err);
        }
    }
    memcpy(p->skip, mask, sizeof mask);
    return KVL_OK;
}

static void set_budget(kvl_policy *p, double keep_ratio, uint64_t size_tok, uint64_t n_bytes) {
    p->keep_ratio = keep_ratio;
    p->size_tok = size_tok;
    p->n_bytes = n_bytes;
}

void kvl_policy_set_bytes(kvl_policy *p, uint64_t n_bytes) {
    set_budget(p, 1, 0, n_bytes);
    p->cap_tok = 1;
    p->is_trigger_gt = false;
}

static kvl_status set_keep(kvl_policy *p, const char *value, kvl_err *err) {
    double ratio = 0;
    if (!kvl_parse_number(&ratio, value, strlen(value)) || !(ratio > 0.0 && ratio <= 1.0)) {
        return fail_key("keep", "a ratio above 0 and at most 1", value, err);
    }
    set_budget(p, ratio, 0, 0);
    return KVL_OK;
}

static kvl_status set_bytes(kvl_policy *p, const char *value, kvl_err *err) {
    uint64_t n_bytes = 0;
    if (!kvl_parse_bytes(&n_bytes, value, strlen(value))) {
        return fail_key("bytes", "a size as 64MiB, 1.5GiB or 65536", value, err);
    }
    kvl_policy_set_bytes(p, n_bytes);
    return KVL_OK;
}

static kvl_status set_size(kvl_policy *p, const char *value, kvl_err *err) {
    uint64_t size = 0;
    KVL_TRY(set_count(&size, "size", value, 1, err));
    set_budget(p, 1, size, 0);
    return KVL_OK;
}

static kvl_status set_cadence(kvl_policy *p, const char *value, kvl_err *err) {
    if (strcmp(value, "step") == 0) {
        p->cadence_tok = 1;
        return KVL_OK;
    }
    if (strcmp(value, "once") == 0) {
        p->cadence_tok = 0;
        return KVL_OK;
    }
    if (set_count(&p->cadence_tok, "cadence", value, 1, NULL) != KVL_OK) {
        return fail_key("cadence", "step, once, or a number of steps", value, err);
    }
    return KVL_OK;
}

/* Keys that are moved to their places in time stand there. */
static kvl_status check_moves(const kvl_policy *p, kvl_err *err) {
    if (!kvl_press_moves_keys(p->tree)) {
        return KVL_OK;
    }
    if (!p->is_cache_length_position) {
        return fail_key("positions", "cache-length for a press that moves keys", "true", err);
    }
    return p->protections.is_score_order ? fail_key("order", "time for a press that moves keys", "score", err)
                                         : KVL_OK;
}

kvl_status kvl_policy_set(kvl_policy *p, const char *key, const char *value, kvl_err *err) {
    if (strcmp(key, "keep") == 0) {
        return set_keep(p, value, err);
    }
    if (strcmp(key, "size") == 0) {
        return set_size(p, value, err);
    }
    if (strcmp(key, "bytes") == 0) {
        return set_bytes(p, value, err);
    }
    if (strcmp(key, "cap") == 0) {
        return set_count(&p->cap_tok, key, value, 1, err);
    }
    if (strcmp(key, "trigger") == 0) {
        const char *word = strcmp(value, ">=") == 0 ? "ge" : strcmp(value, ">") == 0 ? "gt" : value;
        return set_either(&p->is_trigger_gt, key, word, "ge", "gt", err);
    }
    if (strcmp(key, "cadence") == 0) {
        return set_cadence(p, value, err);
    }
    if (strcmp(key, "sinks") == 0) {
        return set_count(&p->protections.n_sinks, key, value, 0, err);
    }
    if (strcmp(key, "recent") == 0) {
        return set_count(&p->protections.n_recent, key, value, 0, err);
    }
    if (strcmp(key, "skip") == 0) {
        return set_skip(p, value, err);
    }
    if (strcmp(key, "order") == 0) {
        KVL_TRY(set_either(&p->protections.is_score_order, key, value, "time", "score", err));
        return check_moves(p, err);
    }
    if (strcmp(key, "positions") == 0) {
        KVL_TRY(set_either(&p->is_cache_length_position, key, value, "true", "cache-length", err));
        return check_moves(p, err);
    }
    return kvl_fail(
        err, KVL_E_USAGE,
        "policy: unknown key '%.80s'; keys: keep, size, bytes, cap, trigger, cadence, sinks, recent, skip, "
        "order, positions",
        key);
}

static bool is_budget_key(const char *text, size_t n) {
    return (n == 4 && memcmp(text, "keep", n) == 0) || (n == 4 && memcmp(text, "size", n) == 0) ||
           (n == 5 && memcmp(text, "bytes", n) == 0);
}

bool kvl_policy_text_has_budget(const char *text) {
    const char *at = text + kvli_press_part(text, strlen(text));
    bool has = false;
    while (*at == ':') {
        at++;
        has = has || is_budget_key(at, strcspn(at, "=:"));
        at += strcspn(at, ":");
    }
    return has;
}

kvl_status kvl_policy_parse(kvl_policy *p, const char *text, kvl_err *err) {
    const size_t n_part = kvli_press_part(text, strlen(text));
    KVL_TRY(kvli_tree_parse(p->tree, text, n_part, err));
    p->is_cache_length_position = p->is_cache_length_position || kvl_press_moves_keys(p->tree);
    KVL_TRY(check_moves(p, err));
    const char *rest = text + n_part;
    char budget[8] = "";
    while (*rest == ':') {
        rest++;
        char pair[128];
        size_t len = strcspn(rest, ":");
        if (len >= sizeof pair) {
            return kvl_fail(err, KVL_E_USAGE, "policy: expected key=value, found '%.80s'", rest);
        }
        memcpy(pair, rest, len);
        pair[len] = '\0';
        /* ">=" holds an equals sign of its own: the first one ends the key */
        char *equals = strchr(pair, '=');
        if (equals == NULL) {
            return kvl_fail(err, KVL_E_USAGE, "policy: expected key=value, found '%.80s'", pair);
        }
        *equals = '\0';
        if (is_budget_key(pair, strlen(pair))) {
            if (budget[0] != '\0') {
                return kvl_fail(err, KVL_E_USAGE,
                                "policy: expected one of keep, size and bytes, found %s and %s", budget,
                                pair);
            }
            memcpy(budget, pair, strlen(pair) + 1);
        }
        KVL_TRY(kvl_policy_set(p, pair, equals + 1, err));
        rest += len;
    }
    return KVL_OK;
}

void kvl_policy_press_text(const kvl_policy *p, kvl_str *out) { kvli_tree_text(p->tree, false, out); }

void kvl_policy_press_whole_text(const kvl_policy *p, kvl_str *out) { kvli_tree_text(p->tree, true, out); }

static void print_skip(const kvl_policy *p, kvl_str *out) {
    bool is_first = true;
    for (uint32_t layer = 0; layer < KVL_POLICY_MAX_LAYERS; layer++) {
        if (kvl_policy_skips(p, layer)) {
            kvl_str_printf(out, "%s%u", is_first ? ":skip=" : "+", layer);
            is_first = false;
        }
    }
}

void kvl_policy_text(const kvl_policy *p, kvl_str *out) {
    kvl_policy_press_text(p, out);
    if (kvl_policy_press(p)->is_identity) {
        return;
    }
    if (p->size_tok != 0) {
        kvl_str_printf(out, ":size=%llu", (unsigned long long)p->size_tok);
    } else if (p->n_bytes != 0) {
        kvl_str_puts(out, ":bytes=");
        kvl_bytes_text(out, p->n_bytes);
    } else {
        kvl_str_printf(out, ":keep=%.15g", p->keep_ratio);
    }
    kvl_str_printf(out, ":cap=%llu", (unsigned long long)p->cap_tok);
    kvl_str_puts(out, p->is_trigger_gt ? ":trigger=gt" : "");
    if (p->cadence_tok == 0) {
        kvl_str_puts(out, ":cadence=once");
    } else if (p->cadence_tok > 1) {
        kvl_str_printf(out, ":cadence=%llu", (unsigned long long)p->cadence_tok);
    }
    if (p->protections.n_sinks != 0) {
        kvl_str_printf(out, ":sinks=%llu", (unsigned long long)p->protections.n_sinks);
    }
    if (p->protections.n_recent != 0) {
        kvl_str_printf(out, ":recent=%llu", (unsigned long long)p->protections.n_recent);
    }
    print_skip(p, out);
    kvl_str_puts(out, p->protections.is_score_order ? ":order=score" : "");
    kvl_str_puts(out, p->is_cache_length_position ? ":positions=cache-length" : "");
}
