/* The comparison of two lists of cells. */
#include "cli/compare.h"

#include "base/alloc.h"
#include "base/json.h"
#include "stats/inference.h"
#include "stats/resample.h"

#include <math.h>
#include <string.h>

enum { SEED = 1 };

/* Sums over clusters: texts, in the order of a's cells. */
typedef struct pairs {
    double *sums;   /* [n] nats (or bits) of a less those of b */
    size_t *counts; /* [n] tokens (or bytes) */
    size_t n;
    double total_a, total_b;
    size_t n_tokens, n_different; /* tokens whose NLLs are not the same bits */
    bool is_by_byte;
} pairs;

/* ---- what must be the same ---- */

/* The cell of the same place in its text; both lists mostly have the same order, so the search begins at the
 * same index. */
static const kvl_record *twin(const kvl_records *records, size_t index, const kvl_records *others) {
    const kvl_record *r = &records->items[index];
    for (size_t i = 0; i < others->n; i++) {
        const kvl_record *o = &others->items[(index + i) % others->n];
        if (strcmp(o->text_key, r->text_key) == 0 && o->begin == r->begin &&
            o->first_scored == r->first_scored) {
            return o;
        }
    }
    return NULL;
}

/* Whether ids, scored range, window, stride and BOS are equal; *differs names the first that is not. */
static bool is_same_work(const json_t *a, const json_t *b, const char **differs) {
    static const char *const members[][2] = {
        {"tokenizer", ""},      {"text", "source"},     {"text", "ids"},         {"protocol", "bos"},
        {"protocol", "window"}, {"protocol", "stride"}, {"text", "first_scored"}};
    static const char *const words[] = {"tokenizers", "texts",   "token ids",    "BOS policies",
                                        "windows",    "strides", "scored ranges"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const json_t *x = json_object_get(a, members[i][0]);
        const json_t *y = json_object_get(b, members[i][0]);
        if (members[i][1][0] != '\0') {
            x = json_object_get(x, members[i][1]);
            y = json_object_get(y, members[i][1]);
        }
        if (x == NULL || y == NULL || json_equal(x, y) == 0) {
            *differs = words[i];
            return false;
        }
    }
    return true;
}

/* Both cells of a pair, whole, with their identities read. */
typedef struct pair {
    kvl_record a, b;
    json_t *identity_a, *identity_b;
} pair;

static void close_pair(pair *p) {
    json_decref(p->identity_a);
    json_decref(p->identity_b);
    kvl_record_free(&p->a);
    kvl_record_free(&p->b);
    *p = (pair){0};
}

static kvl_status open_cell(kvl_record *out, json_t **identity, kvl_store *store, const kvl_record *r,
                            kvl_err *err) {
    bool is_there = false;
    KVL_TRY(kvl_store_get(store, r->key, out, &is_there, err));
    if (!is_there) {
        return kvl_fail(err, KVL_E_STORE, "record %s: expected in the store, found none", r->key);
    }
    return kvl_json_parse(identity, out->identity, strlen(out->identity), r->key, err);
}

/* The i-th cell of a with its twin. */
static kvl_status open_pair(pair *p, kvl_store *store, const kvl_side_of_two *a, const kvl_side_of_two *b,
                            size_t i, kvl_err *err) {
    const kvl_record *r = &a->records.items[i];
    const kvl_record *other = twin(&a->records, i, &b->records);
    if (other == NULL || a->records.n != b->records.n) {
        const bool is_same_protocol = strcmp(a->group->protocol, b->group->protocol) == 0;
        return kvl_fail(err, KVL_E_USAGE, "not the same tokens: %s (A %s with %zu cells, B %s with %zu%s%s)",
                        is_same_protocol ? "texts or windows differ" : "protocols differ", a->group->protocol,
                        a->records.n, b->group->protocol, b->records.n,
                        other == NULL ? ", none at the place of A's " : "", other == NULL ? r->sample : "");
    }
    KVL_TRY(open_cell(&p->a, &p->identity_a, store, r, err));
    return open_cell(&p->b, &p->identity_b, store, other, err);
}

/* ---- sums ---- */

static kvl_status add_pair(pairs *sums, const pair *p, bool is_new_text, kvl_err *err) {
    const char *differs = NULL;
    bool is_same = is_same_work(p->identity_a, p->identity_b, &differs);
    if (is_same && p->a.n_scored != p->b.n_scored) {
        is_same = false;
        differs = "scored ranges";
    }
    const bool is_by_byte = !is_same && strcmp(differs, "tokenizers") == 0 && p->a.n_text_bytes != 0 &&
                            p->a.n_text_bytes == p->b.n_text_bytes;
    if ((!is_same && !is_by_byte) || (sums->n != 0 && is_by_byte != sums->is_by_byte)) {
        return kvl_fail(
            err, KVL_E_USAGE, "not the same tokens: %s differ on %s%s", is_same ? "tokenizers" : differs,
            p->a.sample,
            !is_same && strcmp(differs, "tokenizers") == 0
                ? "; bits per byte could be compared if whole texts were scored (--protocol lm-eval-rolling)"
                : "");
    }
    const size_t k = sums->n - (is_new_text ? 0 : 1);
    const double unit = is_by_byte ? log(2) : 1; /* bits */
    sums->n = k + 1;
    sums->is_by_byte = is_by_byte;
    sums->sums[k] += (p->a.nll_sum - p->b.nll_sum) / unit;
    sums->counts[k] += is_by_byte ? p->a.n_text_bytes : p->a.n_scored;
    sums->total_a += p->a.nll_sum / unit;
    sums->total_b += p->b.nll_sum / unit;
    sums->n_tokens += is_by_byte ? p->a.n_text_bytes : p->a.n_scored;
    for (size_t t = 0; !is_by_byte && t < p->a.n_scored; t++) {
        sums->n_different += memcmp(&p->a.nll[t], &p->b.nll[t], sizeof p->a.nll[t]) != 0;
    }
    return KVL_OK;
}

static kvl_status interval(kvl_estimate *out, double *smallest, const pairs *p, kvl_err *err) {
    *smallest = (double)NAN;
    if (p->n < KVL_FEW_CLUSTERS) {
        *out = kvl_cluster_mean(p->sums, p->counts, p->n);
        return KVL_OK;
    }
    kvl_resamples *resamples = NULL;
    KVL_TRY(kvl_resamples_create(&resamples, p->n, KVL_BOOTSTRAP_RESAMPLES, SEED, err));
    *out = kvl_bootstrap_mean(resamples, p->sums, p->counts);
    *smallest = kvl_smallest_detectable(p->sums, p->counts, p->n);
    kvl_resamples_destroy(resamples);
    return KVL_OK;
}

/* ---- words ---- */

static void write_side(kvl_str *out, const char *name, const kvl_side_of_two *side) {
    kvl_str_printf(out, "%s  %s, %s by %s, group %.12s: %s\n", name, side->group->model, side->group->preset,
                   side->group->protocol, side->group->group, side->records.items[0].policy);
}

/* What else than the policy differs in how the first cells were made: a comparison of two, no ranking. */
static void write_differences(kvl_str *out, const pair *p) {
    const char *name = NULL;
    json_t *value = NULL;
    const char *separator = "differ in    ";
    json_object_foreach(p->identity_a, name, value) {
        if (json_equal(value, json_object_get(p->identity_b, name)) == 0) {
            kvl_str_printf(out, "%s%s", separator, name);
            separator = ", ";
        }
    }
    kvl_str_puts(out, separator[0] == ',' ? "\n" : "");
}

static void write_reading(kvl_str *out, const kvl_estimate *e, double smallest, const pairs *p,
                          double margin) {
    if (p->n_different == 0 && !p->is_by_byte) {
        kvl_str_puts(out, "reading      the same bits on every token\n");
    } else if (!e->has_interval) {
        kvl_str_puts(out, "reading      one text has no interval: nothing can be said beyond it\n");
    } else if (e->is_few) {
        kvl_str_printf(
            out, "reading      %zu texts are too few for an interval to be trusted (%d are enough): %s\n",
            p->n, (int)KVL_FEW_CLUSTERS,
            e->low > 0 || e->high < 0 ? "0 lies outside it" : "0 lies inside it");
    } else if (kvl_equivalence(*e, margin) == KVL_EQUIVALENT) {
        kvl_str_printf(out, "reading      no difference beyond %g\n", margin);
    } else if (e->low > 0 || e->high < 0) {
        kvl_str_printf(out, "reading      %s is better\n", e->low > 0 ? "B" : "A");
    } else {
        kvl_str_printf(out, "reading      no difference detected; smallest detectable about %.2g\n",
                       smallest);
    }
}

static kvl_status write_sums(kvl_str *out, const pairs *p, double margin, kvl_err *err) {
    kvl_estimate e;
    double smallest = 0;
    KVL_TRY(interval(&e, &smallest, p, err));
    const double n = (double)p->n_tokens;
    if (p->is_by_byte) {
        kvl_str_printf(out, "bytes        %zu of %zu texts, the same in both; tokenizers differ\n",
                       p->n_tokens, p->n);
        kvl_str_printf(out, "bits/byte    A %.6g, B %.6g\n", p->total_a / n, p->total_b / n);
    } else {
        kvl_str_printf(out, "tokens       %zu on %zu text%s, the same in both; NLLs differ on %zu\n",
                       p->n_tokens, p->n, p->n == 1 ? "" : "s", p->n_different);
        kvl_str_printf(out, "PPL          A %.6g, B %.6g (of all tokens)\n", exp(p->total_a / n),
                       exp(p->total_b / n));
    }
    kvl_str_printf(out, "A - B        %+.4f", e.mean);
    if (e.has_interval) {
        kvl_str_printf(out, " [%+.4f, %+.4f]", e.low, e.high);
    }
    kvl_str_printf(out, " %s, 95 %%, texts are independent\n",
                   p->is_by_byte ? "bits per byte" : "nats per token");
    if (!p->is_by_byte) {
        kvl_str_printf(out, "PPL ratio    %.4f", exp(e.mean));
        if (e.has_interval) {
            kvl_str_printf(out, " [%.4f, %.4f]", exp(e.low), exp(e.high));
        }
        kvl_str_puts(out, "\n");
    }
    write_reading(out, &e, smallest, p, margin);
    return kvl_str_check(out, "comparison", err);
}

kvl_status kvl_compare_write(kvl_str *out, kvl_store *store, const kvl_side_of_two *a,
                             const kvl_side_of_two *b, double margin, kvl_err *err) {
    pairs sums = {0};
    pair p = {0};
    const char *last = NULL;
    kvl_status status = KVL_OK;
    sums.sums = kvl_calloc(a->records.n, sizeof *sums.sums);
    sums.counts = kvl_calloc(a->records.n, sizeof *sums.counts);
    KVL_GO(sums.sums != NULL && sums.counts != NULL ? KVL_OK : kvl_fail_nomem(err, "comparison"));
    write_side(out, "A", a);
    write_side(out, "B", b);
    for (size_t i = 0; i < a->records.n; i++) {
        const char *text = a->records.items[i].text_key;
        KVL_GO(open_pair(&p, store, a, b, i, err));
        KVL_GO(add_pair(&sums, &p, last == NULL || strcmp(text, last) != 0, err));
        last = text;
        if (i == 0) {
            write_differences(out, &p);
        }
        close_pair(&p);
    }
    status = write_sums(out, &sums, margin, err);
done:
    close_pair(&p);
    if (status != KVL_OK) {
        kvl_str_clear(out);
    }
    kvl_free(sums.sums);
    kvl_free(sums.counts);
    return status;
}
