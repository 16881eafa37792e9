/* Rows from records: whatever the order and the gaps of a list, and fast enough for many. */
#include "support.h"

#include "base/rng.h"
#include "report/rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static char *copy(const char *text) { return kvl_strndup(text, strlen(text)); }

/* Policy p (0: the full cache) on text i: numbers that are drawn. */
static kvl_record made_up(size_t p, size_t i, kvl_record_role role) {
    char policy[64], text[32], key[32];
    const double keep = 1 - (double)(p % 10) / 10;
    snprintf(policy, sizeof policy, "press%zu:keep=%g:cap=32", p / 10, keep);
    snprintf(text, sizeof text, "A%zu", i);
    snprintf(key, sizeof key, "%016zx", i);
    kvl_record r = {
        .role = role,
        .keep_ratio = p == 0 ? 1 : keep,
        .n_tokens = 256,
        .n_budget = 256,
        .n_scored = 255,
        .n_events = p != 0 ? 10 : 0,
        .first_event = 31,
        .last_event = 121,
        .kept_min = 32,
        .kept_max = 40,
        .kept_mean = 36,
        .kv_bytes_live = 1000 + i,
        .n_affected = p != 0 ? 223 : 0,
    };
    r.nll_sum = 800 + 20 * kvl_rng_normal(2, 0, i) + (double)p + kvl_rng_normal(3, p, i);
    r.nll_affected = p != 0 ? r.nll_sum - 90 : 0;
    r.nll_affected_full = p != 0 ? 710 : 0;
    r.press = copy(p == 0 ? "none" : "press");
    if (p != 0) {
        snprintf(key, sizeof key, "press%zu", p / 10);
        kvl_free(r.press);
        r.press = copy(key);
        snprintf(key, sizeof key, "%016zx", i);
    }
    r.policy = copy(p == 0 ? "none" : policy);
    r.sample = copy(text);
    r.text = copy(text);
    r.text_key = copy(key);
    return r;
}

static kvl_records make_records(size_t n_policies, size_t n_texts) {
    kvl_records r = {.items = kvl_calloc(n_policies * n_texts, sizeof *r.items)};
    assert_non_null(r.items);
    for (size_t p = 0; p < n_policies; p++) {
        for (size_t i = 0; i < n_texts; i++) {
            r.items[r.n++] = made_up(p, i, p == 0 ? KVL_ROLE_BASELINE : KVL_ROLE_POLICY);
        }
    }
    return r;
}

static kvl_status no_nll(void *ud, const kvl_record *r, double *nll, kvl_err *err) {
    (void)ud;
    (void)r;
    (void)nll;
    return kvl_fail(err, KVL_E_CHECK, "not asked for");
}

static void test_figures(void **state) {
    (void)state;
    kvl_records records = make_records(3, 4);
    kvl_rows rows;
    assert_ok(kvl_rows_make(&rows, &records, false, no_nll, NULL, NULL));
    assert_int_equal(rows.n_rows, 3);
    assert_int_equal(rows.n_texts, 4);
    assert_true(rows.rows[0].is_baseline);
    double delta = 0;
    double affected = 0;
    double nll = 0;
    for (size_t i = 0; i < 4; i++) {
        const kvl_record *r = &records.items[2 * 4 + i];
        nll += r->nll_sum;
        delta += r->nll_sum - records.items[i].nll_sum;
        affected += r->nll_affected - r->nll_affected_full;
    }
    const kvl_report_row *row = &rows.rows[2];
    assert_string_equal(row->policy, "press0:keep=0.8:cap=32");
    assert_string_equal(row->press, "press0");
    assert_true(fabs(row->pooled_nll - nll / (4 * 255)) < 1e-12);
    assert_true(fabs(row->delta.mean - delta / (4 * 255)) < 1e-12);
    assert_true(fabs(row->delta_affected.mean - affected / (4 * 223)) < 1e-12);
    assert_int_equal(row->n_affected, 4 * 223);
    assert_true(row->period_tok == 10);
    assert_true(row->keep_ratio == 0.8);
    assert_int_equal(row->kept_min, 32);
    kvl_rows_free(&rows);
    kvl_records_free(&records);
}

/* A policy that lacks a text is left out; a text without a full cache is no text; no full cache is an error.
 */
static void test_gaps(void **state) {
    (void)state;
    kvl_records records = make_records(4, 5);
    kvl_rows rows;
    const kvl_record last = records.items[records.n - 1];
    records.n--; /* the last policy on the last text */
    assert_ok(kvl_rows_make(&rows, &records, false, no_nll, NULL, NULL));
    assert_int_equal(rows.n_rows, 3);
    assert_int_equal(rows.n_left_out, 1);
    kvl_rows_free(&rows);

    const kvl_record full = records.items[4]; /* on the last text */
    records.items[4] = last;
    assert_ok(kvl_rows_make(&rows, &records, false, no_nll, NULL, NULL));
    assert_int_equal(rows.n_rows, 4);
    assert_int_equal(rows.n_texts, 4);
    kvl_rows_free(&rows);
    records.items[4] = full;

    kvl_err err = {0};
    const kvl_records others = {.items = records.items + 5, .n = records.n - 5};
    assert_int_equal(kvl_rows_make(&rows, &others, false, no_nll, NULL, &err), KVL_E_STORE);
    assert_non_null(strstr(err.msg, "full cache"));
    kvl_rows_free(&rows);
    records.items[records.n++] = last;
    kvl_records_free(&records);
}

/* The baseline comes first wherever it stands; one row has one figure in any order of the policies. */
static void test_order(void **state) {
    (void)state;
    kvl_records records = make_records(3, 24);
    kvl_rows rows, others;
    assert_ok(kvl_rows_make(&rows, &records, true, no_nll, NULL, NULL));
    for (size_t i = 0; i < 24; i++) { /* the full cache behind all others */
        const kvl_record full = records.items[i];
        records.items[i] = records.items[48 + i];
        records.items[48 + i] = full;
    }
    assert_ok(kvl_rows_make(&others, &records, true, no_nll, NULL, NULL));
    assert_true(others.rows[0].is_baseline);
    assert_string_equal(others.rows[1].policy, rows.rows[2].policy);
    assert_true(others.rows[1].delta.low == rows.rows[2].delta.low);
    assert_true(others.rows[0].ppl == rows.rows[0].ppl);
    kvl_rows_free(&rows);
    kvl_rows_free(&others);
    kvl_records_free(&records);
}

static void test_many(void **state) {
    (void)state;
    kvl_records records = make_records(1000, 100);
    kvl_rows rows;
    const uint64_t start = kvl_clock_ns();
    assert_ok(kvl_rows_make(&rows, &records, false, no_nll, NULL, NULL));
    print_message("%zu records: %.2f s\n", records.n, (double)(kvl_clock_ns() - start) * 1e-9);
    assert_int_equal(rows.n_rows, 1000);
    assert_int_equal(rows.n_resamples, 10000);
    kvl_rows_free(&rows);
    kvl_records_free(&records);
}

static void test_memory(void **state) {
    (void)state;
    kvl_records records = make_records(3, 24);
    kvl_status status = KVL_E_NOMEM;
    for (int64_t n = 0; status == KVL_E_NOMEM; n++) {
        kvl_rows rows;
        kvl_alloc_fail_after(n);
        status = kvl_rows_make(&rows, &records, true, no_nll, NULL, NULL);
        kvl_alloc_fail_after(-1);
        kvl_rows_free(&rows);
    }
    assert_int_equal(status, KVL_OK);
    kvl_records_free(&records);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures), cmocka_unit_test(test_gaps),   cmocka_unit_test(test_order),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
