/* The protocols and their cuts. Each follows the code that is named at its cut, without its detours. */
#include "protocol/windows.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>

static kvl_status push(kvl_window_list *out, kvl_window window, kvl_err *err) {
    kvl_window *items = kvl_resize(out->items, out->n, out->n + 1, sizeof *items);
    if (items == NULL) {
        return kvl_fail_nomem(err, "windows");
    }
    out->items = items;
    items[out->n++] = window;
    return KVL_OK;
}

/* A context, then what is scored; the last window of a text may score less. The token between them is fed
 * when policies have acted, so that the first scored token too is predicted from what they left. */
static kvl_status cut_contexts(kvl_window_list *out, const kvl_window_rule *rule, size_t n, kvl_err *err) {
    for (size_t begin = 0; begin + rule->prefill + 2 <= n; begin += rule->stride) {
        const size_t end = kvl_min_size(begin + rule->window, n);
        KVL_TRY(push(out, (kvl_window){begin, end, rule->prefill}, err));
        if (end == n) {
            break;
        }
    }
    return KVL_OK;
}

/* The recipe of the transformers documentation (docs/source/en/perplexity.md, as of 5.2): windows of the
 * model's length, of which the targets that the window before has seen are masked. The labels are shifted
 * inside the model: of the first window its first token is no target, of later ones all that are not masked
 * are. */
static kvl_status cut_strided(kvl_window_list *out, const kvl_window_rule *rule, size_t n, kvl_err *err) {
    size_t seen = 0;
    for (size_t begin = 0; seen < n; begin += rule->stride) {
        const size_t end = kvl_min_size(begin + rule->window, n);
        const size_t n_masked = seen - begin;
        if (end - begin >= 2) {
            KVL_TRY(push(out, (kvl_window){begin, end, n_masked != 0 ? n_masked - 1 : 0}, err));
        }
        seen = end;
    }
    return KVL_OK;
}

/* llama-perplexity of llama.cpp (tools/perplexity/perplexity.cpp): whole chunks, of each the targets behind
 * its first half. */
static kvl_status cut_chunks(kvl_window_list *out, const kvl_window_rule *rule, size_t n, kvl_err *err) {
    for (size_t begin = 0; begin + rule->window <= n; begin += rule->window) {
        KVL_TRY(push(out, (kvl_window){begin, begin + rule->window, rule->window / 2}, err));
    }
    return KVL_OK;
}

/* get_rolling_token_windows with one token of context and make_disjoint_window of lm-evaluation-harness
 * 0.4.13 (lm_eval/utils.py): inputs of a window's length; the last one reaches back as far as fits. */
static kvl_status cut_rolling(kvl_window_list *out, const kvl_window_rule *rule, size_t n, kvl_err *err) {
    for (size_t predicted = 0; predicted + 1 < n;) {
        const size_t n_new = kvl_min_size(rule->window, n - 1 - predicted);
        const size_t end = predicted + n_new + 1;
        const size_t begin = end > rule->window + 1 ? end - rule->window - 1 : 0;
        KVL_TRY(push(out, (kvl_window){begin, end, predicted - begin}, err));
        predicted += n_new;
    }
    return KVL_OK;
}

static const kvl_window_protocol protocols[] = {
    {.name = "stream",
     .summary = "whole texts, token by token; policies look after every step (the presets')",
     .most = {.window = KVL_WINDOW_CONTEXT, .prefill = KVL_WINDOW_CONTEXT}},
    {.name = "prefill-continue",
     .summary = "a context, compressed; then what follows it is scored; windows all along the text",
     .most = {.prefill = 512, .score = 256, .stride = KVL_WINDOW_CONTEXT},
     .head = KVL_HEAD_WINDOW,
     .cut = cut_contexts},
    {.name = "single-shot",
     .summary = "the same with policies that act once, whatever their schedules; windows side by side",
     .most = {.prefill = 512, .score = 256, .stride = KVL_WINDOW_CONTEXT},
     .is_whole_stride = true,
     .is_once = true,
     .head = KVL_HEAD_WINDOW,
     .cut = cut_contexts},
    {.name = "hf-strided",
     .summary = "the recipe of the transformers documentation: windows that overlap, seen targets masked",
     .scored = "the tokens that no window before has scored",
     .most = {.window = KVL_WINDOW_CONTEXT, .stride = 512},
     .cut = cut_strided},
    {.name = "llama-chunk",
     .summary = "llama-perplexity of llama.cpp: chunks, of each the second half scored, the tail dropped",
     .most = {.window = 512},
     .is_whole_stride = true,
     .head = KVL_HEAD_WINDOW,
     .cut = cut_chunks},
    {.name = "lm-eval-rolling",
     .summary = "loglikelihood_rolling of lm-evaluation-harness: every token once, one token of context",
     .scored = "every token, the first from BOS or else EOS",
     .most = {.window = KVL_WINDOW_CONTEXT},
     .is_whole_stride = true,
     .head = KVL_HEAD_PREFIX,
     .cut = cut_rolling},
};

const kvl_window_protocol *kvl_window_protocols(size_t *n) {
    *n = sizeof protocols / sizeof protocols[0];
    return protocols;
}

const kvl_window_protocol *kvl_window_protocol_find(const char *name) {
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        if (strcmp(protocols[i].name, name) == 0) {
            return &protocols[i];
        }
    }
    return NULL;
}

const char *kvl_bos_name(kvl_bos bos) {
    static const char *const names[] = {"model", "always", "never"};
    return names[bos];
}

/* ---- the numbers ---- */

static kvl_status check_given(const kvl_window_protocol *p, const char *option, size_t given, size_t own,
                              size_t least, size_t n_context, kvl_err *err) {
    if (given != 0 && own == 0) {
        return kvl_fail(err, KVL_E_USAGE, "%s: protocol %s has no such number", option, p->name);
    }
    if (given != 0 && (given < least || given > n_context)) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected from %zu to %zu (the model's context), found %zu",
                        option, least, n_context, given);
    }
    return KVL_OK;
}

/* Numbers of a protocol of contexts: the window follows from them. */
static kvl_status fit_context(kvl_window_rule *rule, const kvl_window_protocol *p, size_t n_context,
                              kvl_str *note, kvl_err *err) {
    const bool is_given = rule->prefill + rule->score != 0;
    rule->prefill = rule->prefill != 0 ? rule->prefill : p->most.prefill;
    rule->score = rule->score != 0 ? rule->score : p->most.score;
    if (rule->prefill + 1 + rule->score > n_context && is_given) {
        return kvl_fail(err, KVL_E_USAGE,
                        "--prefill and --score: expected at most %zu together (the model's context, less one "
                        "token between them), found %zu and %zu",
                        n_context - 1, rule->prefill, rule->score);
    }
    if (rule->prefill + 1 + rule->score > n_context) {
        rule->score = kvl_max_size(1, (n_context - 1) * p->most.score / (p->most.prefill + p->most.score));
        rule->prefill = n_context - 1 - rule->score;
        kvl_str_printf(note, "%s: %zu and %zu tokens, cut to %zu and %zu: the model's context has %zu",
                       p->name, p->most.prefill, p->most.score, rule->prefill, rule->score, n_context);
    }
    rule->window = rule->prefill + 1 + rule->score;
    return KVL_OK;
}

static void fit_window(kvl_window_rule *rule, const kvl_window_protocol *p, size_t n_context, kvl_str *note) {
    const size_t own = kvl_min_size(p->most.window, n_context);
    if (rule->window == 0 && own < p->most.window && p->most.window != KVL_WINDOW_CONTEXT) {
        kvl_str_printf(note, "%s: windows of %zu tokens, cut to the model's context of %zu", p->name,
                       p->most.window, own);
    }
    rule->window = rule->window != 0 ? rule->window : own;
}

kvl_status kvl_window_rule_fit(kvl_window_rule *rule, const kvl_window_protocol *p, size_t n_context,
                               kvl_str *note, kvl_err *err) {
    enum { least_window = 4 };
    KVL_TRY(check_given(p, "--ctx-size", rule->window, p->most.window, least_window, n_context, err));
    KVL_TRY(check_given(p, "--stride", rule->stride, p->most.stride, 1, n_context, err));
    KVL_TRY(check_given(p, "--prefill", rule->prefill, p->most.prefill, 1, n_context, err));
    KVL_TRY(check_given(p, "--score", rule->score, p->most.score, 1, n_context, err));
    if (p->cut == NULL) {
        return KVL_OK;
    }
    if (p->most.window == 0) {
        KVL_TRY(fit_context(rule, p, n_context, note, err));
    } else {
        fit_window(rule, p, n_context, note);
    }
    const size_t usual = p->is_whole_stride    ? rule->window
                         : p->most.window == 0 ? rule->score
                                               : kvl_min_size(p->most.stride, rule->window);
    rule->stride = rule->stride != 0 ? rule->stride : usual;
    if (p->most.window != 0 && rule->stride > rule->window) {
        return kvl_fail(err, KVL_E_USAGE, "--stride: expected at most %zu (the window), found %zu",
                        rule->window, rule->stride);
    }
    return KVL_OK;
}

/* ---- the texts ---- */

static kvl_status set_head(kvl_sample *s, int32_t head, kvl_err *err) {
    const size_t n_old = s->has_bos;
    if (head >= 0 && n_old == 0) {
        KVL_TRY(kvl_ids_push(&s->ids, head, err)); /* room for one more */
        memmove(s->ids.ids + 1, s->ids.ids, (s->ids.n - 1) * sizeof *s->ids.ids);
    } else if (head < 0 && n_old != 0) {
        memmove(s->ids.ids, s->ids.ids + 1, --s->ids.n * sizeof *s->ids.ids);
    }
    if (head >= 0) {
        s->ids.ids[0] = head;
    }
    s->has_bos = head >= 0;
    return KVL_OK;
}

kvl_status kvl_texts_set_head(kvl_samples *texts, const kvl_window_protocol *p, kvl_bos bos,
                              const kvl_tokenizer *tokenizer, kvl_err *err) {
    const int32_t start = kvl_tokenizer_start(tokenizer);
    int32_t head = start >= 0 ? start : kvl_tokenizer_eos(tokenizer);
    if (bos == KVL_BOS_MODEL && p->head != KVL_HEAD_PREFIX) {
        return KVL_OK; /* as the texts were loaded */
    }
    if (bos != KVL_BOS_NEVER && head < 0) {
        return kvl_fail(
            err, KVL_E_UNSUPPORTED,
            "protocol %s, --bos %s: expected a tokenizer with a token that begins or ends a text, "
            "found none",
            p->name, kvl_bos_name(bos));
    }
    head = bos != KVL_BOS_NEVER ? head : -1;
    for (size_t i = 0; i < texts->n; i++) {
        KVL_TRY(set_head(&texts->items[i], head, err));
    }
    return KVL_OK;
}

/* ---- windows as samples ---- */

static kvl_status add_window(kvl_samples *out, const kvl_sample *text, const kvl_window_protocol *p,
                             const kvl_window *w, size_t index, kvl_err *err) {
    kvl_sample *items = kvl_resize(out->items, out->n, out->n + 1, sizeof *items);
    if (items == NULL) {
        return kvl_fail_nomem(err, "windows");
    }
    out->items = items;
    kvl_sample *s = &items[out->n++];
    *s = (kvl_sample){.hash = text->hash,
                      .text = text->text,
                      .begin = w->begin,
                      .prefill = w->first_scored,
                      .first_scored = w->first_scored};
    snprintf(s->name, sizeof s->name, "%.12s/%u", text->name, (unsigned)index + 1);
    if (w->begin != 0) { /* presses that draw draw anew */
        s->hash = kvl_hash_bytes(s->hash, &w->begin, sizeof w->begin);
    }
    for (size_t i = w->begin; i < w->end; i++) {
        KVL_TRY(kvl_ids_push(&s->ids, text->ids.ids[i], err));
    }
    s->has_bos = text->has_bos && (w->begin == 0 || p->head == KVL_HEAD_WINDOW);
    if (s->has_bos) {
        s->ids.ids[0] = text->ids.ids[0];
    }
    return KVL_OK;
}

kvl_status kvl_windows_cut(kvl_samples *out, const kvl_samples *texts, const kvl_window_protocol *p,
                           const kvl_window_rule *rule, size_t max_tokens, kvl_err *err) {
    kvl_status status = KVL_OK;
    *out = (kvl_samples){0};
    for (size_t i = 0; i < texts->n && status == KVL_OK; i++) {
        const kvl_sample *text = &texts->items[i];
        kvl_window_list list = {0};
        status = p->cut(&list, rule, kvl_min_size(text->ids.n, max_tokens != 0 ? max_tokens : SIZE_MAX), err);
        for (size_t k = 0; k < list.n && status == KVL_OK; k++) {
            status = add_window(out, text, p, &list.items[k], k, err);
        }
        kvl_free(list.items);
    }
    if (status == KVL_OK && out->n == 0) {
        status =
            kvl_fail(err, KVL_E_TEXT,
                     "protocol %s: expected a text long enough for a window of %zu tokens, found none of "
                     "%zu",
                     p->name, rule->window, texts->n);
    }
    return status;
}
