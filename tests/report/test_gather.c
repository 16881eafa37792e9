/* Documents of a store as the content of a report; documents that are not what they should be. */
#include "report/page.h"
#include "report/phrases.h"
#include "report/report.h"
#include "store/made_up.h"
#include "support.h"

#include <math.h>
#include <string.h>

/* ---- a store with documents ---- */

static void put(kvl_store *store, const char *kind, const char *model, const char *lines, size_t n) {
    char key[KVL_SHA256_TEXT];
    assert_ok(kvl_sha256(key, kind, strlen(kind), NULL));
    char group[KVL_KEY_TEXT] = "";
    memset(group, 'a', strcmp(kind, "sweep") == 0 ? KVL_KEY_TEXT - 1 : 0);
    kvl_document d = {.kind = (char *)kind,
                      .model = (char *)model,
                      .key = key,
                      .group = group,
                      .command = (char *)"kvlab again",
                      .lines = (char *)lines,
                      .n_bytes = n};
    assert_ok(kvl_store_put_document(store, &d, NULL));
}

static kvl_store *new_store(const char *name) {
    kvl_store *store = NULL;
    test_temp_dir();
    assert_ok(kvl_store_open(&store, test_temp_path(name), KVL_STORE_WRITE, NULL, NULL, NULL));
    return store;
}

/* Gathers a store that holds one document. */
static kvl_status gather_one(kvl_content *c, const char *kind, const char *lines, kvl_err *err) {
    static int n_stores;
    char name[32];
    snprintf(name, sizeof name, "one%d.db", n_stores++);
    kvl_store *store = new_store(name);
    put(store, kind, "toy", lines, strlen(lines));
    const kvl_status status = kvl_content_gather(c, store, NULL, NULL, err);
    kvl_store_close(store);
    return status;
}

/* ---- what commands write ---- */

static void test_explain(void **state) {
    (void)state;
    size_t n = 0;
    char *lines = test_load("docs/claims/novels-7m.explain.jsonl", &n);
    kvl_store *store = new_store("explain.db");
    kvl_content c;
    put(store, "explain", "novels-7m", lines, n);
    static const char one[] = "{\"schema\":\"kvlab.explain/1\",\"texts\":\"newer\",\"isa\":\"c\","
                              "\"arith\":\"f32\",\"studies\":[]}\n";
    put(store, "explain-only", "novels-7m", one, sizeof one - 1);
    assert_ok(kvl_content_gather(&c, store, NULL, NULL, NULL));
    assert_string_equal(c.model, "novels-7m");
    assert_string_equal(c.store, "explain.db");
    assert_non_null(c.cause);
    assert_null(c.sweep);
    assert_int_equal(c.cause->n_verdicts, 12);
    assert_string_equal(c.cause->verdicts[7].id, "H8");
    assert_string_equal(c.cause->verdicts[7].verdict, "supported");
    assert_int_equal(c.cause->n_texts, 64);
    assert_int_equal(c.cause->n_protections, 5);
    assert_int_equal(c.cause->protections[4], 16);
    assert_true(fabs(c.cause->removed[0].mean - 0.5639619947641332) < 1e-12);
    assert_true(fabs(c.cause->spike.low - 0.857648033015686) < 1e-12);
    assert_true(c.cause->spike.has_interval && !c.cause->spike.is_few);
    assert_string_equal(c.cause->arms[0].policy, "none");
    assert_true(c.cause->arms[0].keep_ratio == 1);
    assert_int_equal(c.cause->arms[0].n_lags, KVL_CONTENT_LAGS);
    for (size_t i = 0; i < c.cause->n_arms; i++) {
        const char *keep = strstr(c.cause->arms[i].policy, ":keep=0.95");
        assert_true(keep == NULL || c.cause->arms[i].keep_ratio == 0.95);
    }
    kvl_content_free(&c);
    kvl_store_close(store);
    kvl_free(lines);
}

static void test_timing(void **state) {
    (void)state;
    kvl_content c;
    assert_ok(gather_one(
        &c, "timing",
        "{\"schema\":\"kvlab.timing/1\",\"policy\":\"none\",\"n_prompt\":512,\"n_new\":64,\"ttft_ns\":4e7,"
        "\"compress_ns\":0,\"tpot_ns\":1.5e6,\"kv_bytes_live\":100,\"kv_bytes_peak\":200,\"peak_rss_bytes\":"
        "300,"
        "\"isa\":\"c\",\"threads\":2,\"n_repetitions\":7}\n"
        "{\"schema\":\"kvlab.timing/"
        "1\",\"policy\":\"knorm:keep=0.5\",\"n_prompt\":512,\"n_new\":64,\"ttft_ns\":4e7,"
        "\"compress_ns\":1e6,\"tpot_ns\":1e6,\"kv_bytes_live\":50,\"kv_bytes_peak\":200,\"peak_rss_bytes\":"
        "300,"
        "\"isa\":\"c\",\"threads\":2,\"n_repetitions\":7}\n",
        NULL));
    assert_int_equal(c.time->n, 2);
    assert_int_equal(c.time->n_repetitions, 7);
    assert_true(c.time->lines[1].keep_ratio == 0.5);
    assert_true(c.time->lines[1].compress_ns == 1e6);
    kvl_str page = {0};
    assert_ok(kvl_page_write(&page, &c, KVL_EN, NULL));
    assert_non_null(strstr(kvl_str_text(&page), "<td class=\"n\">2</td>")); /* 1e6 / (1.5e6 - 1e6) tokens */
    kvl_str_free(&page);
    kvl_content_free(&c);
}

static void put_needle(kvl_str *out, const char *policy, int n_tokens, int depth, int n_right,
                       const char *verdict) {
    kvl_str_printf(
        out,
        "{\"schema\":\"kvlab.needle-cell/1\",\"task\":\"needle\",\"policy\":\"%s\",\"n_tokens\":%d,"
        "\"depth\":%d,\"n\":10,\"n_right\":%d,\"n_right_full\":9,\"verdict\":\"%s\"}\n",
        policy, n_tokens, depth, n_right, verdict);
}

/* Cells come in any order; those that are not there are not judged. */
static void test_needle(void **state) {
    (void)state;
    kvl_str lines = {0};
    kvl_content c;
    put_needle(&lines, "none", 512, 50, 9, "rate");
    put_needle(&lines, "knorm:keep=0.5", 512, 50, 4, "rate");
    put_needle(&lines, "knorm:keep=0.5", 256, 100, 7, "rate");
    put_needle(&lines, "knorm:keep=0.5", 256, 0, 5, "full cache fails");
    kvl_str_puts(&lines, "{\"schema\":\"kvlab.needle-pair/1\",\"task\":\"needle\"}\n");
    assert_ok(gather_one(&c, "needle", kvl_str_text(&lines), NULL));
    assert_int_equal(c.needle->n, 2);
    const kvl_needle_grid *g = &c.needle->grids[1];
    assert_int_equal(g->n_lengths, 2);
    assert_int_equal(g->n_depths, 3);
    assert_int_equal(g->lengths[0], 256);
    assert_int_equal(g->depths[2], 100);
    assert_int_equal(g->n_right[0 * 3 + 2], 7);
    assert_int_equal(g->n_right[1 * 3 + 1], 4);
    assert_true(g->is_judged[1 * 3 + 1] && !g->is_judged[0 * 3 + 0]);
    assert_true(g->n_trials[1 * 3 + 0] == 0 && !g->is_judged[1 * 3 + 0]);
    kvl_content_free(&c);
    kvl_str_free(&lines);
}

#define PORTRAIT                                                                                             \
    "{\"schema\":\"kvlab.portrait/"                                                                          \
    "1\",\"text\":\"A1\",\"n_layers\":1,\"n_heads\":2,\"n_tokens\":2,\"n_skipped\":0,"                       \
    "\"pieces\":[\"a\",\" b\"],\"norms\":[1,2,3,4],\"attention\":[0.5,0.25,0.5,null]}\n"
#define PORTRAIT_POLICY                                                                                      \
    "{\"schema\":\"kvlab.portrait-policy/"                                                                   \
    "1\",\"policy\":\"knorm\",\"left_at\":[2,null,null,null],\"nll\":[null,2.5]}\n"

static void test_portrait(void **state) {
    (void)state;
    kvl_content c;
    assert_ok(gather_one(&c, "portrait", PORTRAIT PORTRAIT_POLICY, NULL));
    assert_int_equal(c.portrait->n_policies, 1);
    assert_string_equal(c.portrait->pieces[1], " b");
    assert_true(c.portrait->norms[3] == 4 && isnan(c.portrait->attention[3]));
    assert_int_equal(c.portrait->policies[0].left_at[0], 2);
    assert_int_equal(c.portrait->policies[0].left_at[1], UINT32_MAX);
    assert_true(isnan(c.portrait->policies[0].nll[0]));
    kvl_content_free(&c);
}

/* A grid has a cell for each length and depth: a document cannot ask for more of them than it has lines. */
static void test_sparse_needle(void **state) {
    (void)state;
    kvl_str lines = {0};
    kvl_content c;
    kvl_err err = {0};
    for (int i = 0; i < 128; i++) {
        put_needle(&lines, "none", 100 + i, i, 9, "rate");
    }
    assert_int_equal(gather_one(&c, "needle", kvl_str_text(&lines), &err), KVL_E_STORE);
    assert_non_null(strstr(err.msg, "8192 cells"));
    kvl_content_free(&c);
    kvl_str_free(&lines);
}

/* ---- what they do not write ---- */

static void test_faults(void **state) {
    (void)state;
    static const struct {
        const char *kind, *lines, *says;
    } cases[] = {
        {"explain", "{", "line 1"},
        {"explain", "[]", "expected an object, found a list"},
        {"explain", "\n\n{\"schema\":\"kvlab.explain/1\"}", "line 3"},
        {"explain", "{\"schema\":\"kvlab.explain/1\",\"studies\":3}",
         "'studies': expected a list, found a whole number"},
        {"explain", "{\"schema\":\"kvlab.hypothesis/1\",\"findings\":[7]}",
         "'id': expected a text, found nothing"},
        {"explain", "{\"schema\":\"kvlab.cause/1\",\"spike\":[]}", "'spike': expected an object"},
        {"timing", "{\"policy\":4}", "'policy': expected a text"},
        {"bench", "{\"n_prompt\":-1}", "'n_prompt': expected a whole number from 0 to 2^53"},
        {"recommend", "{\"loss\":[1,2]}", "'loss': expected three numbers"},
        {"needle", "{\"schema\":\"kvlab.needle-cell/1\",\"verdict\":null}",
         "'verdict': expected a text, found null"},
        {"portrait", PORTRAIT "{\"schema\":\"kvlab.portrait-policy/1\",\"left_at\":[1]}", "'left_at'"},
        {"portrait",
         "{\"schema\":\"kvlab.portrait-policy/1\",\"policy\":\"p\",\"left_at\":[],\"nll\":[]}\n" PORTRAIT,
         "'schema': expected the text before its policies"},
        {"portrait", PORTRAIT PORTRAIT, "'schema': expected one text"},
        {"portrait",
         "{\"schema\":\"kvlab.portrait/"
         "1\",\"text\":\"A1\",\"n_layers\":9007199254740992,\"n_heads\":9007199254740992,"
         "\"n_tokens\":9,\"n_skipped\":0}",
         "at least 1, at most 1024"},
        {"portrait",
         "{\"schema\":\"kvlab.portrait/"
         "1\",\"text\":\"A1\",\"n_layers\":1,\"n_heads\":1,\"n_tokens\":2,\"n_skipped\":0,"
         "\"pieces\":[\"a\"]}",
         "'pieces': expected one item for each"},
        {"portrait",
         PORTRAIT
         "{\"schema\":\"kvlab.portrait-policy/1\",\"policy\":\"p\",\"left_at\":[-1,0,0,0],\"nll\":[1,2]}",
         "'left_at': expected whole numbers or null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_content c;
        kvl_err err = {0};
        const kvl_status status = gather_one(&c, cases[i].kind, cases[i].lines, &err);
        if (status != KVL_E_STORE || strstr(err.msg, cases[i].says) == NULL ||
            strstr(err.msg, cases[i].kind) == NULL) {
            fail_msg("case %zu: expected '%s', found %s: %s", i, cases[i].says, kvl_status_name(status),
                     err.msg);
        }
        kvl_content_free(&c);
    }
}

/* Every place where memory may end. */
static void test_memory_ends(void **state) {
    (void)state;
    kvl_store *store = new_store("memory.db");
    put(store, "portrait", "toy", PORTRAIT PORTRAIT_POLICY, strlen(PORTRAIT PORTRAIT_POLICY));
    for (int64_t n = 0;; n++) {
        kvl_content c;
        kvl_err err = {0};
        kvl_alloc_fail_after(n);
        const kvl_status status = kvl_content_gather(&c, store, NULL, NULL, &err);
        kvl_alloc_fail_after(-1);
        kvl_content_free(&c);
        if (status == KVL_OK) {
            assert_true(n > 10);
            break;
        }
        assert_int_equal(status, KVL_E_NOMEM);
    }
    kvl_store_close(store);
}

static void test_empty(void **state) {
    (void)state;
    kvl_store *store = new_store("empty.db");
    kvl_content c;
    kvl_err err = {0};
    assert_int_equal(kvl_content_gather(&c, store, NULL, NULL, &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "expected results, found none"));
    kvl_content_free(&c);
    assert_int_equal(kvl_content_gather(&c, store, NULL, "abc", &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "found 'abc'"));
    kvl_content_free(&c);
    kvl_store_close(store);
}

/* ---- cells ---- */

static void put_cells(kvl_store *store, char group, size_t n) {
    static made_up m;
    for (size_t i = 0; i < n; i++) {
        make_up(&m, group, i);
        m.record.begin = 0;
        assert_ok(kvl_store_put(store, &m.record, NULL));
    }
}

static const char sweep_line[] =
    "{\"schema\":\"kvlab.sweep/1\",\"title\":\"t\",\"protocol\":\"fed by "
    "hand\",\"how\":\"c\",\"has_mean_ppl\":true,"
    "\"notes\":[\"a "
    "note\"],\"samples\":[],\"policies\":[\"none\",\"knorm:keep=0.002\",\"knorm:keep=0.001\"]}";

static void test_cells(void **state) {
    (void)state;
    kvl_store *store = new_store("cells.db");
    kvl_content c;
    kvl_err err = {0};
    static made_up m;
    put_cells(store, 'a', 12);
    put_cells(store, 'b', 8);
    put(store, "sweep", "novels-7m", sweep_line, strlen(sweep_line));
    assert_ok(kvl_content_gather(&c, store, NULL, "aaaa", NULL));
    assert_string_equal(c.model, "novels-7m");
    assert_int_equal(c.n_cells, 12);
    assert_int_equal(c.sweep->n_rows, 3);
    assert_int_equal(c.sweep->n_samples, 4);
    assert_true(c.sweep->has_mean_ppl && c.sweep->rows[0].is_baseline);
    assert_string_equal(c.sweep->command, "kvlab again");
    assert_string_equal(c.sweep->protocol, "fed by hand");
    assert_int_equal(c.sweep->n_notes, 1);
    assert_string_equal(c.sweep->notes[0], "a note");
    assert_string_equal(c.sweep->rows[1].policy, "knorm:keep=0.002"); /* kept last, but more is kept by it */
    double sum = 0;
    for (size_t i = 8; i < 12; i++) {
        make_up(&m, 'a', i);
        sum += m.record.nll_sum;
    }
    assert_true(fabs(c.sweep->rows[1].pooled_nll - sum / (4 * made_up_nll)) < 1e-12);
    assert_int_equal(c.n_other_groups, 1);
    assert_non_null(strstr(kvl_str_text(&c.other_groups[0]), "kvlab report --group bbbbbbbbbbbb"));
    kvl_content_free(&c);
    assert_int_equal(kvl_content_gather(&c, store, NULL, "c", &err), KVL_E_USAGE);
    kvl_content_free(&c);
    assert_int_equal(kvl_content_gather(&c, store, NULL, "", &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "of 2"));
    kvl_content_free(&c);
    kvl_store_close(store);
}

/* Of a sweep that was stopped, the table has whole policies only, and says so. */
static void test_stopped(void **state) {
    (void)state;
    kvl_store *store = new_store("stopped.db");
    kvl_content c;
    put_cells(store, 'a', 11); /* the last policy lacks the last text */
    assert_ok(kvl_content_gather(&c, store, NULL, NULL, NULL));
    assert_int_equal(c.sweep->n_rows, 2);
    assert_int_equal(c.sweep->n_notes, 1);
    assert_non_null(strstr(c.sweep->notes[0], "each of the 4 texts stored: 1 of 3 policies"));
    kvl_str table = {0};
    kvl_str chinese = {0};
    kvl_report_write(&table, c.sweep, KVL_FORMAT_TABLE);
    assert_non_null(strstr(kvl_str_text(&table), "note: left out, without a cell"));
    assert_null(strstr(kvl_str_text(&table), "again:")); /* there is no command yet */
    kvli_put_note(&chinese, KVL_ZH, c.sweep->notes[0]);
    assert_null(strstr(kvl_str_text(&chinese), "left out"));
    kvl_str_free(&table);
    kvl_str_free(&chinese);
    kvl_content_free(&c);

    static const char one_sample[] =
        "{\"schema\":\"kvlab.sweep/1\",\"title\":\"t\",\"protocol\":\"1 sample\",\"how\":\"c\","
        "\"has_mean_ppl\":true,\"notes\":[],\"samples\":[\"text-0@0\"],\"policies\":[\"none\"]}";
    put(store, "sweep", "novels-7m", one_sample, strlen(one_sample));
    assert_ok(kvl_content_gather(&c, store, NULL, NULL, NULL));
    assert_int_equal(c.sweep->n_notes, 2);
    assert_non_null(strstr(c.sweep->notes[0], "samples of other sweeps are in it too: 3"));
    kvl_content_free(&c);
    kvl_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain),       cmocka_unit_test(test_timing),   cmocka_unit_test(test_needle),
        cmocka_unit_test(test_sparse_needle), cmocka_unit_test(test_portrait), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_memory_ends),   cmocka_unit_test(test_empty),    cmocka_unit_test(test_cells),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
