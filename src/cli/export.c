/* Tables of stored cells. */
#include "cli/export.h"

#include "cli/listing.h"
#include "report/content.h"

#include <stdio.h>

static const kvl_listing_column columns[] = {
    {"key", false},
    {"group_key", false},
    {"state", false},
    {"role", false},
    {"model", false},
    {"preset", false},
    {"protocol", false},
    {"press", false},
    {"policy", false},
    {"sample", false},
    {"text", false},
    {"text_key", false},
    {"keep_ratio", true},
    {"first_token", true},
    {"n_tokens", true},
    {"n_budget", true},
    {"first_scored", true},
    {"n_scored", true},
    {"n_text_bytes", true},
    {"nll_sum", true},
    {"n_affected", true},
    {"nll_affected", true},
    {"nll_affected_full", true},
    {"n_events", true},
    {"first_event", true},
    {"last_event", true},
    {"kept_min", true},
    {"kept_mean", true},
    {"kept_max", true},
    {"kv_bytes_live", true},
    {"wall_ns", true},
    {"n_attempts", true},
    {"why", false},
};

static void add_words(kvl_listing *l, const kvl_record *r, const char *why) {
    const char *const words[] = {r->key,
                                 r->group,
                                 why == NULL ? "done" : "failed",
                                 kvl_record_role_name(r->role),
                                 r->model,
                                 r->preset,
                                 r->protocol,
                                 r->press,
                                 r->policy,
                                 r->sample,
                                 r->text,
                                 r->text_key};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        kvl_listing_add(l, "%s", words[i]);
    }
}

static kvl_status add_cell(void *ud, const kvl_record *r, const char *why, size_t n_attempts, kvl_err *err) {
    kvl_listing *l = ud;
    (void)err;
    add_words(l, r, why);
    kvl_listing_add_real(l, r->keep_ratio);
    const size_t places[] = {r->begin,        r->n_tokens, r->n_budget,
                             r->first_scored, r->n_scored, r->n_text_bytes};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        kvl_listing_add(l, "%zu", places[i]);
    }
    kvl_listing_add_real(l, r->nll_sum);
    kvl_listing_add(l, "%zu", r->n_affected);
    kvl_listing_add_real(l, r->nll_affected);
    kvl_listing_add_real(l, r->nll_affected_full);
    kvl_listing_add(l, "%zu", r->n_events);
    kvl_listing_add(l, "%zu", r->first_event);
    kvl_listing_add(l, "%zu", r->last_event);
    kvl_listing_add(l, "%zu", r->kept_min);
    kvl_listing_add_real(l, r->kept_mean);
    kvl_listing_add(l, "%zu", r->kept_max);
    kvl_listing_add(l, "%llu", (unsigned long long)r->kv_bytes_live);
    kvl_listing_add(l, "%llu", (unsigned long long)r->wall_ns);
    kvl_listing_add(l, "%zu", n_attempts);
    kvl_listing_add(l, "%s", why != NULL ? why : "");
    return KVL_OK;
}

kvl_status kvl_export_csv(kvl_str *out, kvl_store *store, const char *group, kvl_err *err) {
    kvl_listing l = {.columns = columns, .n_columns = sizeof columns / sizeof columns[0]};
    kvl_status status = kvl_store_each_cell(store, group, add_cell, &l, err);
    if (status == KVL_OK) {
        status = kvl_listing_write(out, &l, KVL_LISTING_CSV, err);
    }
    kvl_listing_free(&l);
    return status;
}

kvl_status kvl_export_table(kvl_str *out, kvl_store *store, const char *group, kvl_format format,
                            kvl_err *err) {
    kvl_content content = {0};
    kvl_status status = kvl_content_gather(&content, store, NULL, group, err);
    if (status == KVL_OK && content.sweep == NULL) {
        status = kvl_fail(err, KVL_E_USAGE,
                          "group %.12s: expected cells of a sweep with its baseline, found none", group);
    }
    if (status == KVL_OK) {
        kvl_report_write(out, content.sweep, format);
        status = kvl_str_check(out, "table", err);
    }
    kvl_content_free(&content);
    return status;
}
