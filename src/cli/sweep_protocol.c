/* Fits the protocol of a sweep to the model and the texts, and says in words what it is. */
#include "cli/sweep_protocol.h"

#include "protocol/sweep.h"
#include "protocol/timing.h"

#include <string.h>

const char *kvl_sweep_other_protocol(const kvl_sweep_options *o) {
    const char *own = o->preset->windows != NULL ? o->preset->windows : "stream";
    return strcmp(own, o->protocol->name) != 0 ? o->protocol->name : "";
}

/* ---- stream ---- */

static void note_shorter_samples(kvl_sweep_run_info *info) {
    kvl_str list = {0};
    for (size_t i = 0; i < info->texts->n; i++) {
        const kvl_sample *sample = &info->texts->items[i];
        if (sample->ids.n < info->protocol.max_tokens) {
            kvl_str_printf(&list, "%s%s (%zu)", list.len == 0 ? "" : ", ", sample->name, sample->ids.n);
        }
    }
    kvl_str *note = list.len != 0 ? kvl_sweep_add_note(info) : NULL;
    if (note != NULL) {
        kvl_str_printf(note, "shorter than %zu tokens, used whole: %s", info->protocol.max_tokens,
                       kvl_str_text(&list));
    }
    kvl_str_free(&list);
}

/* The preset's numbers with those that were given. */
static kvl_status take_numbers(kvl_sweep_run_info *info, const kvl_model *model, kvl_err *err) {
    const kvl_sweep_options *o = info->options;
    kvl_protocol *p = &info->protocol;
    const size_t n_context = model->shape.n_context;
    if (o->max_tokens > n_context) {
        return kvl_fail(err, KVL_E_USAGE, "--max-tokens: expected at most %zu (the context of %s), found %zu",
                        n_context, model->name, o->max_tokens);
    }
    if (o->max_tokens != 0 && o->rule.window != 0) {
        return kvl_fail(err, KVL_E_USAGE,
                        "expected --max-tokens or --ctx-size, found both: of protocol stream they "
                        "are the same");
    }
    const size_t n_tokens = o->max_tokens + o->rule.window;
    if (n_tokens != 0) {
        p->max_tokens = n_tokens;
        p->baseline_tokens = kvl_min_size(p->baseline_tokens, kvl_max_size(p->max_tokens, 2));
    }
    if (o->rule.prefill != 0) { /* what is published is scored without */
        p->prefill = p->count_from = o->rule.prefill;
        p->is_two_phase = false;
        p->baseline_tokens = 0;
    }
    return KVL_OK;
}

static kvl_status fit_stream(kvl_sweep_run_info *info, const kvl_model *model, kvl_err *err) {
    const kvl_sweep_options *o = info->options;
    const size_t n_context = model->shape.n_context;
    kvl_protocol *p = &info->protocol;
    *p = o->preset->protocol;
    info->samples = info->texts;
    info->has_mean_ppl = o->preset->has_mean_ppl;
    KVL_TRY(take_numbers(info, model, err));
    if (p->max_tokens > n_context) {
        kvl_str *note = kvl_sweep_add_note(info);
        if (note != NULL) {
            kvl_str_printf(note,
                           "the preset asks for %zu tokens per sample; cut to the model's context of %zu",
                           p->max_tokens, n_context);
        }
        p->max_tokens = n_context;
    }
    p->baseline_tokens = kvl_min_size(p->baseline_tokens, n_context);
    size_t first = p->is_two_phase ? kvl_two_phase_prefill(p->max_tokens) : p->count_from;
    if (p->max_tokens < first + 2) {
        return kvl_fail(
            err, KVL_E_USAGE,
            "%s: expected at least %zu tokens per sample (it scores from step %zu), found %zu (%s)",
            o->preset->name, first + 2, first, p->max_tokens,
            o->max_tokens != 0    ? "--max-tokens"
            : o->rule.window != 0 ? "--ctx-size"
                                  : "the model's context");
    }
    note_shorter_samples(info);
    return KVL_OK;
}

/* ---- windows ---- */

/* Texts that gave no window, and windows in which policies that act once do not. */
static void note_left_out(kvl_sweep_run_info *info, const kvl_policy *policies, size_t n_policies) {
    kvl_str list = {0};
    size_t at = 0;
    size_t n_bare = 0;
    for (size_t i = 0; i < info->texts->n; i++) {
        const size_t first = at;
        for (; at < info->samples->n && info->samples->items[at].text == i; at++) {
            n_bare += info->samples->items[at].prefill == 0;
        }
        if (at == first) {
            kvl_str_printf(&list, "%s%s (%zu)", list.len == 0 ? "" : ", ", info->texts->items[i].name,
                           info->texts->items[i].ids.n);
        }
    }
    kvl_str *note = list.len != 0 ? kvl_sweep_add_note(info) : NULL;
    if (note != NULL) {
        kvl_str_printf(note, "left out, too short for a window: %s", kvl_str_text(&list));
    }
    kvl_str_free(&list);
    bool has_once = false;
    for (size_t p = 0; p < n_policies; p++) {
        has_once = has_once || (policies[p].cadence_tok == 0 && !kvl_policy_has_schedule(&policies[p]));
    }
    note = has_once && n_bare != 0 ? kvl_sweep_add_note(info) : NULL;
    if (note != NULL) {
        kvl_str_printf(
            note,
            "%zu of %zu windows have no context in front of what they score: policies that act once "
            "do not act there",
            n_bare, info->samples->n);
    }
}

static kvl_status fit_windows(kvl_sweep_run_info *info, kvl_samples *windows, kvl_policy *policies,
                              size_t n_policies, kvl_err *err) {
    const kvl_sweep_options *o = info->options;
    const size_t n_context = kvl_engine_model(info->engine)->shape.n_context;
    kvl_str text = {0};
    info->rule = o->rule;
    kvl_status status = kvl_window_rule_fit(&info->rule, o->protocol, n_context, &text, err);
    kvl_str *note = text.len != 0 ? kvl_sweep_add_note(info) : NULL;
    if (note != NULL) {
        kvl_str_puts(note, kvl_str_text(&text));
    }
    kvl_str_free(&text);
    KVL_TRY(status);
    KVL_TRY(kvl_windows_cut(windows, info->texts, o->protocol, &info->rule, o->max_tokens, err));
    info->samples = windows;
    info->protocol = (kvl_protocol){.has_windows = true};
    for (size_t i = 0; i < windows->n; i++) {
        info->protocol.max_tokens = kvl_max_size(info->protocol.max_tokens, windows->items[i].ids.n);
    }
    for (size_t p = 0; p < n_policies && o->protocol->is_once; p++) {
        policies[p] = kvl_timing_once(&policies[p]);
    }
    note_left_out(info, policies, n_policies);
    return KVL_OK;
}

kvl_status kvl_sweep_fit(kvl_sweep_run_info *info, kvl_samples *texts, kvl_samples *windows,
                         const kvl_tokenizer *tokenizer, kvl_policy *policies, size_t n_policies,
                         kvl_err *err) {
    const kvl_sweep_options *o = info->options;
    kvl_window_rule given = o->rule; /* of stream only checked here */
    info->texts = texts;
    KVL_TRY(kvl_texts_set_head(texts, o->protocol, o->bos, tokenizer, err));
    if (o->protocol->cut != NULL) {
        KVL_TRY(fit_windows(info, windows, policies, n_policies, err));
    } else {
        const kvl_model *model = kvl_engine_model(info->engine);
        kvl_str none = {0};
        KVL_TRY(kvl_window_rule_fit(&given, o->protocol, model->shape.n_context, &none, err));
        KVL_TRY(fit_stream(info, model, err));
    }
    kvl_str *note = o->preset->note != NULL ? kvl_sweep_add_note(info) : NULL;
    if (note != NULL) {
        kvl_str_puts(note, o->preset->note);
    }
    return KVL_OK;
}

/* ---- in words ---- */

static void describe_stream(kvl_str *out, const kvl_sweep_run_info *info) {
    const kvl_protocol *p = &info->protocol;
    kvl_str_printf(out, "stream protocol: %zu sample%s, at most %zu tokens each", info->samples->n,
                   info->samples->n == 1 ? "" : "s", p->max_tokens);
    if (p->is_two_phase) {
        kvl_str_puts(out, ", prefill per sample, later steps scored");
    } else if (p->prefill != 0) {
        kvl_str_printf(out, ", prefill %zu, scored from step %zu", p->prefill, p->count_from);
    } else {
        kvl_str_puts(out, ", one token per step, every step scored");
    }
}

/* Where the token in front of texts stands, of those that have one. */
static const char *head_words(const kvl_sweep_run_info *info) {
    switch (info->options->protocol->head) {
    case KVL_HEAD_WINDOW: return "BOS first in every window";
    case KVL_HEAD_PREFIX: return "BOS (or else EOS) first in the first window of a text";
    default: return info->protocol.has_windows ? "BOS first in the first window of a text" : "BOS first";
    }
}

static void describe_windows(kvl_str *out, const kvl_sweep_run_info *info) {
    size_t n_scored = 0;
    for (size_t i = 0; i < info->samples->n; i++) {
        n_scored += info->samples->items[i].ids.n - 1 - info->samples->items[i].first_scored;
    }
    kvl_str_printf(out, "%s protocol: %zu window%s of %zu sample%s, window %zu, stride %zu",
                   info->options->protocol->name, info->samples->n, info->samples->n == 1 ? "" : "s",
                   info->texts->n, info->texts->n == 1 ? "" : "s", info->rule.window, info->rule.stride);
    if (info->rule.prefill != 0) {
        kvl_str_printf(out, ", prefill %zu", info->rule.prefill);
    }
    if (info->options->protocol->scored != NULL) {
        kvl_str_printf(out, ", scored: %s", info->options->protocol->scored);
    } else {
        kvl_str_printf(out, ", scored: positions %zu to %zu of each",
                       info->samples->items[0].first_scored + 1, info->rule.window - 1);
    }
    kvl_str_printf(out, " (%zu tokens)", n_scored);
}

void kvl_sweep_describe_protocol(kvl_str *out, const kvl_sweep_run_info *info) {
    const kvl_protocol *p = &info->protocol;
    if (p->has_windows) {
        describe_windows(out, info);
    } else {
        describe_stream(out, info);
    }
    kvl_str_printf(out, ", %s", info->texts->items[0].has_bos ? head_words(info) : "no BOS");
    if (info->options->bos != KVL_BOS_MODEL) {
        kvl_str_printf(out, " (--bos %s)", kvl_bos_name(info->options->bos));
    }
    kvl_str_puts(out, info->has_mean_ppl ? "; PPL: mean of the samples' (as published)"
                                         : "; PPL: exp of the mean NLL of all scored tokens");
    if (p->baseline_tokens != 0) {
        kvl_str_printf(
            out, "; keep 1: one pass over at most %zu tokens (as published); ΔNLL: against the same tokens",
            p->baseline_tokens);
    } else {
        kvl_str_printf(out, "; keep 1: the same %s, nothing evicted",
                       p->has_windows ? "windows" : "loop on the same tokens");
    }
}
