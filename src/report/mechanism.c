/* What charts and sections of the mechanism share. */
#include "report/mechanism.h"

#include "base/alloc.h"
#include "stats/order.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Keys of fewer queries than this behind them say little of the attention they receive. */
enum { MIN_QUERIES = 32, MOST_JUDGED = 4096 };

/* ---- arms ---- */

const kvl_arm_line *kvli_arm_find(const kvl_cause_content *c, const char *press, double keep_ratio,
                                  const char *tail) {
    char policy[128];
    snprintf(policy, sizeof policy, "%s:keep=%g:cap=32:skip=0%s", press, keep_ratio, tail);
    for (size_t i = 0; i < c->n_arms; i++) {
        if (strcmp(c->arms[i].policy, policy) == 0 && c->arms[i].n_lags != 0) {
            return &c->arms[i];
        }
    }
    return NULL;
}

bool kvli_arm_is_plain(const kvl_arm_line *arm, const char *press) {
    char policy[128];
    snprintf(policy, sizeof policy, "%s:keep=%g:cap=32:skip=0", press, arm->keep_ratio);
    return arm->n_lags != 0 && strcmp(arm->policy, policy) == 0;
}

/* ---- a portrait: who holds what ---- */

size_t kvli_portrait_first(const kvl_portrait *p) {
    return kvl_min_size(p->n_skipped, p->n_layers) * p->n_heads;
}

size_t kvli_portrait_heads(const kvl_portrait *p) {
    return p->n_layers * p->n_heads - kvli_portrait_first(p);
}

size_t kvli_held(const kvl_portrait *p, const kvl_portrait_policy *policy, size_t token, size_t n_seen) {
    size_t n = 0;
    for (size_t h = kvli_portrait_first(p); token < n_seen && h < p->n_layers * p->n_heads; h++) {
        n += policy->left_at[h * p->n_tokens + token] > n_seen;
    }
    return n;
}

/* ---- norms and attention ---- */

size_t kvli_judged_tokens(const kvl_portrait *p) {
    return p->n_tokens > 2 * MIN_QUERIES ? kvl_min_size(p->n_tokens - MIN_QUERIES, MOST_JUDGED) : 0;
}

double kvli_head_correlation(const kvl_portrait *p, size_t layer, size_t head) {
    const size_t n = kvli_judged_tokens(p);
    const size_t at = (layer * p->n_heads + head) * p->n_tokens;
    double *x = kvl_calloc(2 * n, sizeof *x);
    double correlation = (double)NAN;
    if (x != NULL) {
        for (size_t i = 0; i < n; i++) {
            x[i] = (double)p->norms[at + i];
            x[n + i] = (double)p->attention[at + i];
        }
        correlation = kvl_spearman(x, x + n, n);
    }
    kvl_free(x);
    return correlation;
}

double kvli_layer_correlation(const kvl_portrait *p, size_t layer) {
    double sum = 0;
    size_t n = 0;
    for (size_t head = 0; head < p->n_heads; head++) {
        const double r = kvli_head_correlation(p, layer, head);
        sum += isnan(r) ? 0 : r;
        n += isnan(r) ? 0 : 1;
    }
    return n != 0 ? sum / (double)n : (double)NAN;
}

double kvli_hidden_attention(const kvl_portrait *p, const kvl_portrait_policy *policy, size_t layer,
                             size_t head) {
    const size_t at = (layer * p->n_heads + head) * p->n_tokens;
    double all = 0;
    double hidden = 0;
    for (size_t i = 0; i < p->n_tokens; i++) {
        const double attention = (double)p->attention[at + i];
        const size_t left = kvl_max_size(policy->left_at[at + i], i + 1);
        if (isfinite(attention)) {
            all += attention * (double)(p->n_tokens - i - 1);
            hidden += left < p->n_tokens ? attention * (double)(p->n_tokens - left) : 0;
        }
    }
    return all > 0 ? hidden / all : (double)NAN;
}

typedef struct ranked {
    double *sorted; /* [n] */
    size_t n;
} ranked;

/* Share of numbers below x, those equal to it by half; 0 for the lowest, 1 for the highest. */
static double rank_of(const ranked *r, double x) {
    size_t low = 0;
    size_t high = 0;
    for (size_t step = r->n; step > 0; step /= 2) {
        while (low + step <= r->n && r->sorted[low + step - 1] < x) {
            low += step;
        }
        while (high + step <= r->n && r->sorted[high + step - 1] <= x) {
            high += step;
        }
    }
    return r->n > 1 ? ((double)low + (double)high - 1) / (2 * (double)(r->n - 1)) : 0.5;
}

/* 0 for what is none. */
static double number(float x) { return isfinite(x) ? (double)x : 0; }

kvl_status kvli_token_means(double *attention, double *rank, const kvl_portrait *p, kvl_err *err) {
    const size_t n = p->n_tokens;
    const double n_heads = (double)kvli_portrait_heads(p);
    double *sorted = kvl_calloc(n, sizeof *sorted);
    if (sorted == NULL) {
        return kvl_fail_nomem(err, "portrait");
    }
    memset(attention, 0, n * sizeof *attention);
    memset(rank, 0, n * sizeof *rank);
    for (size_t h = kvli_portrait_first(p); h < p->n_layers * p->n_heads; h++) {
        for (size_t i = 0; i < n; i++) {
            sorted[i] = number(p->norms[h * n + i]);
        }
        kvl_sort(sorted, n);
        for (size_t i = 0; i < n; i++) {
            const ranked r = {.sorted = sorted, .n = n};
            rank[i] += rank_of(&r, number(p->norms[h * n + i])) / n_heads;
            attention[i] += number(p->attention[h * n + i]) / n_heads;
        }
    }
    kvl_free(sorted);
    return KVL_OK;
}

/* ---- policies of a portrait ---- */

double kvli_portrait_excess(const kvl_portrait *p, const kvl_portrait_policy *policy) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < p->n_tokens; i++) {
        const double d = policy->nll[i] - p->policies[0].nll[i];
        sum += isfinite(d) ? d : 0;
        n += isfinite(d) ? 1 : 0;
    }
    return n != 0 ? sum / (double)n : (double)NAN;
}

static const kvl_portrait_policy *extreme(const kvl_portrait *p, double sign) {
    const kvl_portrait_policy *found = NULL;
    double most = -(double)INFINITY;
    for (size_t i = 1; i < p->n_policies; i++) {
        const double value = sign * kvli_portrait_excess(p, &p->policies[i]);
        if (value > most) {
            most = value;
            found = &p->policies[i];
        }
    }
    return found;
}

const kvl_portrait_policy *kvli_portrait_worst(const kvl_portrait *p) { return extreme(p, 1); }
const kvl_portrait_policy *kvli_portrait_best(const kvl_portrait *p) { return extreme(p, -1); }

/* ---- words ---- */

void kvli_put_piece(kvl_str *out, const char *piece) {
    const bool is_blank = piece[strspn(piece, " ")] == '\0';
    for (const char *c = piece; *c != '\0'; c++) {
        if (*c == '\n') {
            kvl_str_puts(out, "↵");
        } else if (*c == '\t') {
            kvl_str_puts(out, "→");
        } else if (*c == ' ' && is_blank) {
            kvl_str_puts(out, "␣");
        } else if (*c != '\r') {
            kvl_str_append(out, c, 1);
        }
    }
}

/* What follows `text` at its beginning; NULL: something else stands there. */
static const char *behind(const char *s, const char *text) {
    return strncmp(s, text, strlen(text)) == 0 ? s + strlen(text) : NULL;
}

void kvli_put_policy(kvl_str *out, const char *policy, kvl_lang lang) {
    char press[64];
    double keep = 0;
    size_t n_recent = 0;
    int n = 0;
    if (strcmp(policy, "none") == 0) {
        kvl_str_puts(out, kvl_word(lang, "full cache", "完整缓存"));
        return;
    }
    if (sscanf(policy, "%63[^:]:keep=%lf%n", press, &keep, &n) != 2) {
        kvl_str_puts(out, policy);
        return;
    }
    const char *schedule = behind(policy + n, ":cap=32:skip=0");
    const char *tail = schedule != NULL ? schedule : policy + n;
    const char *recent = behind(tail, ":recent=");
    kvl_str_printf(out, "%s %g", press, keep);
    if (recent != NULL && sscanf(recent, "%zu%n", &n_recent, &n) == 1 && recent[n] == '\0') {
        KVL_SAY(out, lang, ", newest %zu kept", "，保留最新 %zu 个", n_recent);
    } else {
        kvl_str_puts(out, tail);
    }
}

void kvli_put_share(kvl_str *out, const kvl_estimate *e) {
    if (!isfinite(e->mean)) {
        kvl_str_puts(out, "–");
        return;
    }
    kvl_str_printf(out, "%.1f %%", 100 * e->mean);
    if (e->has_interval && isfinite(e->low) && isfinite(e->high)) {
        kvl_str_printf(out, " [%.1f, %.1f]", 100 * e->low, 100 * e->high);
    }
}
