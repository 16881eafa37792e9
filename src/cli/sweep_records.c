/* Cells -> the columns of their records. */
#include "cli/sweep_records.h"

#include "base/alloc.h"
#include "cli/sweep_quality.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- bytes of the text that is scored ---- */

/* Whether the windows of a text, of which `first` is the first, score each of its tokens just once. */
static bool is_covered(const kvl_sweep_run_info *info, size_t first) {
    const size_t index = info->samples->items[first].text;
    const kvl_sample *text = &info->texts->items[index];
    size_t next = text->has_bos ? 1 : 0;
    for (size_t i = first; i < info->samples->n && info->samples->items[i].text == index; i++) {
        const kvl_cell *c = kvl_sweep_cell(&info->sweep, 0, i);
        const size_t begin = info->samples->items[i].begin;
        if (begin + c->first_scored + 1 != next) {
            return false;
        }
        next = begin + c->n_tokens;
    }
    return next == text->ids.n;
}

/* Of all windows of a text; they sum to its bytes. */
static kvl_status set_text_bytes(kvl_sweep_run_info *info, size_t first, kvl_err *err) {
    const size_t index = info->samples->items[first].text;
    const bool is_known = is_covered(info, first);
    size_t n_left = info->texts->items[index].n_bytes;
    for (size_t i = first; i < info->samples->n && info->samples->items[i].text == index; i++) {
        const bool is_last = i + 1 == info->samples->n || info->samples->items[i + 1].text != index;
        const kvl_cell *c = kvl_sweep_cell(&info->sweep, 0, i);
        size_t n = n_left;
        if (is_known && !is_last) {
            KVL_TRY(kvl_sweep_decoded_bytes(&n, c->first_scored + 1, c->n_tokens, &info->samples->items[i],
                                            info->tokenizer, err));
        }
        info->text_bytes[i] = is_known ? kvl_min_size(n, n_left) : 0;
        n_left -= info->text_bytes[i];
    }
    return KVL_OK;
}

static kvl_status text_bytes(size_t *out, kvl_sweep_run_info *info, size_t sample, kvl_err *err) {
    if (info->text_bytes == NULL) {
        info->text_bytes = kvl_calloc(info->samples->n, sizeof *info->text_bytes);
        if (info->text_bytes == NULL) {
            return kvl_fail_nomem(err, "records");
        }
        for (size_t i = 0; i < info->samples->n; i++) {
            info->text_bytes[i] = SIZE_MAX;
        }
    }
    if (info->text_bytes[sample] == SIZE_MAX) {
        size_t first = sample;
        while (first > 0 && info->samples->items[first - 1].text == info->samples->items[sample].text) {
            first--;
        }
        KVL_TRY(set_text_bytes(info, first, err));
    }
    *out = info->text_bytes[sample];
    return KVL_OK;
}

/* ---- columns ---- */

static kvl_status set_words(kvl_record *out, const kvl_sweep_run_info *info, const kvl_cell *c,
                            kvl_err *err) {
    const kvl_sample *sample = &info->samples->items[c->sample];
    const kvl_sample *text = &info->texts->items[sample->text];
    const kvl_policy *policy = &info->sweep.policies[c->policy];
    kvl_str press_text = {0};
    kvl_str policy_text = {0};
    char hash[32];
    kvl_policy_press_text(policy, &press_text);
    kvl_policy_text(policy, &policy_text);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)text->hash);
    out->model = kvl_strdup(kvl_engine_model(info->engine)->name);
    out->preset = kvl_strdup(info->options->preset->name);
    out->protocol = kvl_strdup(info->options->protocol->name);
    out->press = kvl_strdup(kvl_str_text(&press_text));
    out->policy = kvl_strdup(kvl_str_text(&policy_text));
    out->sample = kvl_strdup(sample->name);
    out->text = kvl_strdup(text->name);
    out->text_key = kvl_strdup(hash);
    const bool has_all = !press_text.failed && !policy_text.failed && out->model != NULL &&
                         out->preset != NULL && out->protocol != NULL && out->press != NULL &&
                         out->policy != NULL && out->sample != NULL && out->text != NULL &&
                         out->text_key != NULL;
    kvl_str_free(&press_text);
    kvl_str_free(&policy_text);
    return has_all ? KVL_OK : kvl_fail_nomem(err, "records");
}

/* Tokens whose query read a compressed cache: those behind the first compression. */
static void set_affected(kvl_record *out, const kvl_cell *c, const kvl_cell *full) {
    const size_t first = c->first_event + 1 > c->first_scored ? c->first_event + 1 - c->first_scored : 0;
    for (size_t t = first; t < c->n_scored && c->n_events != 0; t++) {
        out->n_affected++;
        out->nll_affected += c->nll[t];
        out->nll_affected_full += full->nll[t];
    }
}

kvl_status kvl_sweep_record(kvl_record *out, kvl_sweep_run_info *info, const kvl_cell *c,
                            kvl_record_role role, kvl_err *err) {
    const kvl_policy *policy = &info->sweep.policies[c->policy];
    const bool has_ratio = policy->size_tok + policy->n_bytes == 0 && !kvl_press_is_outcome(policy->tree);
    *out = (kvl_record){
        .role = role,
        .keep_ratio = c->policy == 0 ? 1
                      : has_ratio    ? policy->keep_ratio
                                     : (double)NAN,
        .begin = info->samples->items[c->sample].begin,
        .n_tokens = c->n_tokens,
        .n_budget = c->n_budget,
        .first_scored = c->first_scored,
        .n_scored = c->n_scored,
        .n_events = c->n_events,
        .first_event = c->first_event,
        .last_event = c->last_event,
        .kept_min = c->kept_min,
        .kept_max = c->kept_max,
        .kept_mean = c->kept_mean,
        .kv_bytes_live = c->kv_bytes_live,
        .wall_ns = c->wall_ns,
        .nll_sum = c->nll_sum,
    };
    KVL_TRY(set_words(out, info, c, err));
    if (role != KVL_ROLE_ONE_PASS) {
        set_affected(out, c, kvl_sweep_cell(&info->sweep, 0, c->sample));
        KVL_TRY(text_bytes(&out->n_text_bytes, info, c->sample, err));
    }
    return KVL_OK;
}

kvl_status kvl_sweep_records(kvl_records *out, kvl_sweep_run_info *info, kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    const size_t n_one_pass = s->one_pass != NULL ? s->n_samples : 0;
    const size_t n_cells = s->n_policies * s->n_samples;
    *out = (kvl_records){.items = kvl_calloc(n_one_pass + n_cells, sizeof *out->items)};
    if (out->items == NULL) {
        return kvl_fail_nomem(err, "records");
    }
    for (size_t i = 0; i < n_one_pass; i++) {
        KVL_TRY(kvl_sweep_record(&out->items[out->n++], info, &s->one_pass[i], KVL_ROLE_ONE_PASS, err));
    }
    for (size_t i = 0; i < n_cells; i++) {
        const kvl_cell *c = &s->cells[i];
        KVL_TRY(kvl_sweep_record(&out->items[out->n++], info, c,
                                 c->policy == 0 ? KVL_ROLE_BASELINE : KVL_ROLE_POLICY, err));
    }
    return KVL_OK;
}
