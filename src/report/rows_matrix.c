/* Which record stands where: samples and policies are numbered in the order in which the list names them. */
#include "report/rows_int.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbering ---- */

typedef int compare_fn(const kvl_record *a, const kvl_record *b);

static int by_size(size_t a, size_t b) { return a < b ? -1 : a > b; }

static int by_sample(const kvl_record *a, const kvl_record *b) {
    int order = strcmp(a->sample, b->sample);
    order = order != 0 ? order : strcmp(a->text, b->text);
    order = order != 0 ? order : strcmp(a->text_key, b->text_key);
    order = order != 0 ? order : by_size(a->begin, b->begin);
    return order;
}

static int by_policy(const kvl_record *a, const kvl_record *b) {
    const bool is_own_a = a->role == KVL_ROLE_POLICY;
    const bool is_own_b = b->role == KVL_ROLE_POLICY;
    if (!is_own_a || !is_own_b) { /* the full cache in both roles is one, and comes first */
        return (int)is_own_a - (int)is_own_b;
    }
    const int order = strcmp(a->press, b->press);
    return order != 0 ? order : strcmp(a->policy, b->policy);
}

typedef struct item {
    const kvl_record *record;
    compare_fn *compare;
    size_t index; /* in the list */
    size_t first; /* of those that are equal to it */
} item;

static int compare_items(const void *a, const void *b) {
    const item *x = a;
    const item *y = b;
    const int order = x->compare(x->record, y->record);
    return order != 0 ? order : by_size(x->index, y->index);
}

static int compare_first(const void *a, const void *b) {
    const item *x = a;
    const item *y = b;
    const int order = by_size(x->first, y->first);
    return order != 0 ? order : by_size(x->index, y->index);
}

/* numbers[i]: which of the *n different ones record i is, counted by first appearance. */
static kvl_status number(size_t *numbers, size_t *n, const kvl_records *records, compare_fn *compare,
                         kvl_err *err) {
    item *items = kvl_calloc(records->n, sizeof *items);
    if (items == NULL) {
        return kvl_fail_nomem(err, "report");
    }
    for (size_t i = 0; i < records->n; i++) {
        items[i] = (item){&records->items[i], compare, i, i};
    }
    qsort(items, records->n, sizeof *items, compare_items);
    for (size_t i = 1; i < records->n; i++) {
        if (compare(items[i].record, items[i - 1].record) == 0) {
            items[i].first = items[i - 1].first;
        }
    }
    qsort(items, records->n, sizeof *items, compare_first);
    *n = 0;
    for (size_t i = 0; i < records->n; i++) {
        *n += i == 0 || items[i].first != items[i - 1].first;
        numbers[items[i].index] = *n - 1;
    }
    kvl_free(items);
    return KVL_OK;
}

/* ---- the matrix ---- */

/* Puts every record into its place of [n_policies, n_samples]; those of the full cache are row 0. */
static kvl_status place(kvli_matrix *m, const kvl_records *records, const size_t *policy,
                        const size_t *sample, kvl_err *err) {
    size_t n_one_pass = 0;
    m->cells = kvl_calloc(m->n_policies * m->n_samples, sizeof *m->cells);
    m->one_pass = kvl_calloc(m->n_samples, sizeof *m->one_pass);
    if (m->cells == NULL || m->one_pass == NULL) {
        return kvl_fail_nomem(err, "report");
    }
    for (size_t i = 0; i < records->n; i++) {
        const kvl_record *r = &records->items[i];
        if (r->role == KVL_ROLE_ONE_PASS) {
            n_one_pass += m->one_pass[sample[i]] == NULL;
            m->one_pass[sample[i]] = r;
        } else {
            m->cells[policy[i] * m->n_samples + sample[i]] = r;
        }
    }
    if (n_one_pass == 0) {
        kvl_free(m->one_pass);
        m->one_pass = NULL;
    }
    return KVL_OK;
}

/* Keeps the samples that have a baseline, in both roles where the protocol has two, and the policies that
 * have a record on each of these. */
static kvl_status drop_gaps(kvli_matrix *m, kvl_err *err) {
    const size_t n_samples = m->n_samples;
    size_t n = 0;
    for (size_t i = 0; i < n_samples; i++) {
        const bool has_both = m->cells[i] != NULL && (m->one_pass == NULL || m->one_pass[i] != NULL);
        for (size_t p = 0; has_both && p < m->n_policies; p++) {
            m->cells[p * n_samples + n] = m->cells[p * n_samples + i];
        }
        if (has_both) {
            if (m->one_pass != NULL) {
                m->one_pass[n] = m->one_pass[i];
            }
            n++;
        }
    }
    m->n_samples = n;
    if (n == 0) {
        return kvl_fail(err, KVL_E_STORE, "cells: expected those of the full cache too, found none");
    }
    size_t n_kept = 0;
    for (size_t p = 0; p < m->n_policies; p++) {
        const kvl_record **from = m->cells + p * n_samples;
        size_t n_there = 0;
        for (size_t i = 0; i < n; i++) {
            n_there += from[i] != NULL;
        }
        if (n_there == n) {
            memmove(m->cells + n_kept * n, from, n * sizeof *from);
            n_kept++;
        }
    }
    m->n_left_out = m->n_policies - n_kept;
    m->n_policies = n_kept;
    return KVL_OK;
}

static bool is_same_text(const kvl_record *a, const kvl_record *b) {
    return strcmp(a->text, b->text) == 0 && strcmp(a->text_key, b->text_key) == 0;
}

/* Samples of a text that follow each other (its windows) are one cluster. */
static kvl_status set_clusters(kvli_matrix *m, kvl_err *err) {
    m->cluster = kvl_calloc(m->n_samples, sizeof *m->cluster);
    if (m->cluster == NULL) {
        return kvl_fail_nomem(err, "report");
    }
    for (size_t i = 1; i < m->n_samples; i++) {
        m->cluster[i] = m->cluster[i - 1] + (is_same_text(m->cells[i], m->cells[i - 1]) ? 0 : 1);
    }
    m->n_clusters = m->cluster[m->n_samples - 1] + 1;
    return KVL_OK;
}

/* Makes number `first` number 0. */
static void put_first(size_t *numbers, size_t n, size_t first) {
    for (size_t i = 0; i < n; i++) {
        numbers[i] = numbers[i] == first ? 0 : numbers[i] + (numbers[i] < first ? 1 : 0);
    }
}

kvl_status kvli_matrix_make(kvli_matrix *out, const kvl_records *records, kvl_err *err) {
    size_t *policy = kvl_calloc(records->n, sizeof *policy);
    size_t *sample = kvl_calloc(records->n, sizeof *sample);
    size_t baseline = 0;
    kvl_status status = KVL_OK;
    *out = (kvli_matrix){0};
    if (policy == NULL || sample == NULL) {
        KVL_GO(kvl_fail_nomem(err, "report"));
    }
    while (baseline < records->n && records->items[baseline].role != KVL_ROLE_BASELINE) {
        baseline++;
    }
    if (baseline == records->n) {
        KVL_GO(kvl_fail(err, KVL_E_STORE, "cells: expected those of the full cache too, found none"));
    }
    KVL_GO(number(policy, &out->n_policies, records, by_policy, err));
    KVL_GO(number(sample, &out->n_samples, records, by_sample, err));
    put_first(policy, records->n, policy[baseline]);
    KVL_GO(place(out, records, policy, sample, err));
    KVL_GO(drop_gaps(out, err));
    KVL_GO(set_clusters(out, err));
done:
    kvl_free(policy);
    kvl_free(sample);
    return status;
}

void kvli_matrix_free(kvli_matrix *m) {
    kvl_free(m->cells);
    kvl_free(m->one_pass);
    kvl_free(m->cluster);
    *m = (kvli_matrix){0};
}

/* ---- words of policies ---- */

/* The value of a key of a policy's text; NULL: it has none. */
static const char *find_key(const char *policy, const char *key) {
    const size_t n = strlen(key);
    for (const char *at = policy; (at = strchr(at, ':')) != NULL;) {
        at++;
        if (strncmp(at, key, n) == 0) {
            return at + n;
        }
    }
    return NULL;
}

/* Whether a policy's text has the key=value word [n_word]. */
static bool has_word(const char *policy, const char *word, size_t n_word) {
    for (const char *at = policy; (at = strchr(at, ':')) != NULL;) {
        at++;
        if (strncmp(at, word, n_word) == 0 && (at[n_word] == ':' || at[n_word] == '\0')) {
            return true;
        }
    }
    return false;
}

void kvli_name_curve(kvl_str *out, const kvli_matrix *m, size_t policy) {
    const kvl_record *own = kvli_matrix_cell(m, policy, 0);
    kvl_str_puts(out, own->press);
    for (const char *at = own->policy; (at = strchr(at, ':')) != NULL;) {
        at++;
        const size_t n = strcspn(at, ":");
        const bool is_budget =
            strncmp(at, "keep=", 5) == 0 || strncmp(at, "size=", 5) == 0 || strncmp(at, "bytes=", 6) == 0;
        bool is_common = true;
        for (size_t p = 1; p < m->n_policies && !is_budget && is_common; p++) {
            const kvl_record *other = kvli_matrix_cell(m, p, 0);
            is_common = strcmp(own->press, other->press) != 0 || has_word(other->policy, at, n);
        }
        if (!is_budget && !is_common) {
            kvl_str_printf(out, ":%.*s", (int)n, at);
        }
    }
}

/* What an outcome left at the end: the mean share of all entries, of layers that may be compressed. */
static double kept_share(const kvli_matrix *m, size_t policy) {
    double share = 0;
    for (size_t i = 0; i < m->n_samples; i++) {
        const kvl_record *r = kvli_matrix_cell(m, policy, i);
        share += r->kept_mean / (double)((r->n_tokens - 1) * m->n_samples);
    }
    return share;
}

/* A size as policies write it: 65536, 512KiB, 2MiB. */
static double parse_bytes(const char *text) {
    static const char units[] = "KMGT";
    char *end = NULL;
    double n = strtod(text, &end);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    for (const char *u = units; unit != NULL && u <= unit; u++) {
        n *= 1024;
    }
    return n;
}

double kvli_keep_of(const kvli_matrix *m, size_t policy) {
    const kvl_record *own = kvli_matrix_cell(m, policy, 0);
    const char *size = find_key(own->policy, "size=");
    const char *bytes = find_key(own->policy, "bytes=");
    double n_tokens = 0;
    double n_bytes = 0;
    if (policy == 0 || !isnan(own->keep_ratio)) {
        return policy == 0 ? 1.0 : own->keep_ratio;
    }
    if (size == NULL && bytes == NULL) {
        return kept_share(m, policy);
    }
    for (size_t i = 0; i < m->n_samples; i++) {
        const kvl_record *full = kvli_matrix_cell(m, 0, i);
        const size_t n = kvli_matrix_cell(m, policy, i)->n_budget;
        const size_t n_cached = full->n_tokens - 1; /* the last token is only predicted */
        n_tokens += (double)n / (double)m->n_samples;
        n_bytes += (double)full->kv_bytes_live * (double)kvl_min_size(n, n_cached) /
                   (double)(n_cached * m->n_samples);
    }
    return fmin(1.0, size != NULL ? strtod(size, NULL) / n_tokens : parse_bytes(bytes) / n_bytes);
}
