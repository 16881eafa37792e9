/* Charts of the mechanism on made-up contents: texts apart, markup well-formed, figures as they follow. */
#include "drawing.h"

#include "content_fixture.h"
#include "explain/hypothesis.h"
#include "report/explain_words.h"
#include "report/terms.h"
#include "report/mechanism.h"
#include "report/page.h"
#include "report/section.h"

#include <math.h>

static const char *const ids[] = {"lags", "period", "protection", "norms", "importance", "heads", "needle"};
enum { n_ids = sizeof ids / sizeof ids[0] };

/* Draws a chart at a width, in a language, and looks at the drawing. */
static void check_chart(const kvl_chart *chart, const kvl_content *c, double width, kvl_lang lang) {
    kvl_figure *f = NULL;
    kvl_str svg = {0};
    kvl_str description = {0};
    char what[80];
    snprintf(what, sizeof what, "%s, %.0f, %s", chart->id, width, kvl_lang_code(lang));
    assert_ok(kvl_figure_create(&f, width, chart->height(c, width), NULL));
    chart->draw(f, c, lang);
    check_texts(f, what);
    assert_true(kvli_figure_texts(f, NULL, 0) > 5);
    chart->describe(&description, c, lang);
    assert_true(description.len > 60);
    assert_null(strstr(kvl_str_text(&description), "nan"));
    assert_ok(kvl_figure_write_svg(&svg, f, "x", chart->title_en, kvl_str_text(&description), NULL));
    check_xml(kvl_str_text(&svg));
    assert_null(strstr(kvl_str_text(&svg), "<script"));
    kvl_str_free(&svg);
    kvl_str_free(&description);
    kvl_figure_destroy(f);
}

static void test_charts(void **state) {
    (void)state;
    static const content_kind kinds[] = {CONTENT_RICH, CONTENT_LARGE, CONTENT_HOSTILE};
    for (size_t k = 0; k < 3; k++) {
        kvl_content *c = content_fixture(kinds[k]);
        for (size_t i = 0; i < n_ids; i++) {
            const kvl_chart *chart = kvl_chart_find(ids[i]);
            assert_non_null(chart);
            assert_true(chart->has(c));
            for (kvl_lang lang = 0; lang < KVL_N_LANGS; lang++) {
                check_chart(chart, c, 340, lang);
                check_chart(chart, c, 760, lang);
            }
        }
        content_fixture_free(c);
    }
}

static void test_nothing_to_draw(void **state) {
    (void)state;
    kvl_content *sparse = content_fixture(CONTENT_SPARSE);
    kvl_content *empty = content_fixture(CONTENT_EMPTY);
    for (size_t i = 0; i < n_ids; i++) {
        assert_false(kvl_chart_find(ids[i])->has(empty));
        assert_int_equal(kvl_chart_find(ids[i])->has(sparse), strcmp(ids[i], "period") == 0);
    }
    check_chart(kvl_chart_find("period"), sparse, 340, KVL_ZH);
    content_fixture_free(sparse);
    content_fixture_free(empty);
}

static void check_near(double a, double b) { assert_true(fabs(a - b) < 1e-12); }

/* Four tokens, one layer left alone, two heads of which one loses token 0 after two tokens and token 1 after
 * three. */
static void test_figures(void **state) {
    (void)state;
    uint32_t none[] = {9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    uint32_t left[] = {9, 9, 9, 9, 9, 9, 9, 9, 2, 3, 9, 9, 9, 9, 9, 9};
    double nll[2][4] = {{(double)NAN, 1, 2, 3}, {(double)NAN, 1, 2.5, 3.25}};
    float attention[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0.5F, 0.25F, 0.25F, 0, 0.5F, 0.25F, 0.25F, 0};
    float norms[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 2, 2, 8, 7, 6, 5};
    kvl_portrait_policy policies[] = {{.policy = (char *)"none", .left_at = none, .nll = nll[0]},
                                      {.policy = (char *)"a", .left_at = left, .nll = nll[1]}};
    const kvl_portrait p = {.n_layers = 2,
                            .n_heads = 2,
                            .n_tokens = 4,
                            .n_skipped = 1,
                            .norms = norms,
                            .attention = attention,
                            .policies = policies,
                            .n_policies = 2};
    double mean[4];
    double rank[4];
    assert_int_equal(kvli_portrait_heads(&p), 2);
    assert_int_equal(kvli_held(&p, &policies[1], 0, 1), 2);
    assert_int_equal(kvli_held(&p, &policies[1], 0, 2), 1);
    assert_int_equal(kvli_held(&p, &policies[1], 1, 2), 2);
    assert_int_equal(kvli_held(&p, &policies[1], 1, 3), 1);
    assert_int_equal(kvli_held(&p, &policies[1], 3, 3), 0); /* not come yet */
    assert_int_equal(kvli_held(&p, &policies[0], 0, 4), 2);
    /* of 0.5 * 3 + 0.25 * 2 + 0.25 two queries at 0.5 and one at 0.25 are hidden */
    check_near(kvli_hidden_attention(&p, &policies[1], 1, 0), 1.25 / 2.25);
    check_near(kvli_hidden_attention(&p, &policies[1], 1, 1), 0);
    assert_true(isnan(kvli_hidden_attention(&p, &policies[1], 0, 0)));
    check_near(kvli_portrait_excess(&p, &policies[1]), 0.25);
    assert_ptr_equal(kvli_portrait_worst(&p), &policies[1]);
    assert_int_equal(kvli_judged_tokens(&p), 0); /* too few queries behind any */
    assert_ok(kvli_token_means(mean, rank, &p, NULL));
    check_near(mean[0], 0.5);
    check_near(rank[0], 0.5);                 /* lowest and highest */
    check_near(rank[2], (0.5 + 1.0 / 3) / 2); /* ties share the middle rank */
}

static void check_policy(const char *policy, const char *en) {
    kvl_str out = {0};
    kvli_put_policy(&out, policy, KVL_EN);
    assert_string_equal(kvl_str_text(&out), en);
    kvl_str_free(&out);
}

static void test_words(void **state) {
    (void)state;
    check_policy("none", "full cache");
    check_policy("knorm:keep=0.95:cap=32:skip=0", "knorm 0.95");
    check_policy("knorm:keep=0.95:cap=32:skip=0:recent=4", "knorm 0.95, newest 4 kept");
    check_policy("knorm:keep=0.95:cap=32:skip=0:recent=4:sinks=1", "knorm 0.95:recent=4:sinks=1");
    check_policy("random(redrawn):keep=0.5", "random(redrawn) 0.5");
    check_policy("knorm:size=16:cap=17", "knorm:size=16:cap=17");
    kvl_str out = {0};
    kvli_put_piece(&out, "\n\t");
    kvli_put_piece(&out, "  ");
    kvli_put_piece(&out, " a b");
    assert_string_equal(kvl_str_text(&out), "↵→␣␣ a b");
    kvl_str_free(&out);
}

/* ---- what explain says, in Chinese ---- */

static void check_translated(const char *what) {
    kvl_str out = {0};
    if (what[0] != '\0' && !kvli_put_finding(&out, KVL_ZH, what)) {
        fail_msg("no Chinese for: %s", what);
    }
    kvl_str_free(&out);
}

static void check_recorded(const char *path) {
    size_t n_bytes = 0;
    size_t n = 0;
    char *text = test_load(path, &n_bytes);
    for (const char *line = text; *line != '\0';) {
        const size_t n_line = strcspn(line, "\n");
        json_t *o = json_loadb(line, n_line, 0, NULL);
        line += n_line + (line[n_line] == '\n');
        const json_t *findings = json_object_get(o, "findings");
        for (size_t i = 0; i < json_array_size(findings); i++, n++) {
            const json_t *f = json_array_get(findings, i);
            const char *unit = json_string_value(json_object_get(f, "unit"));
            const char *outcome = json_string_value(json_object_get(f, "outcome"));
            check_translated(json_string_value(json_object_get(f, "what")));
            assert_true(strcmp(unit, "nats/token") == 0 || kvl_term_unit(KVL_ZH, unit) != unit);
            assert_ptr_not_equal(kvli_outcome_words(KVL_ZH, outcome), outcome);
        }
        if (findings != NULL) {
            check_translated(json_string_value(json_object_get(o, "why")));
        }
        json_decref(o);
    }
    assert_true(n > 50);
    kvl_free(text);
}

static void test_explain_words(void **state) {
    (void)state;
    size_t n = 0;
    const kvl_hypothesis *const *list = kvl_hypotheses(&n);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_not_equal(kvli_claim_words(KVL_ZH, list[i]->id, list[i]->claim), list[i]->claim);
        assert_ptr_equal(kvli_claim_words(KVL_EN, list[i]->id, list[i]->claim), list[i]->claim);
    }
    check_recorded("docs/claims/novels-7m.explain.jsonl");
    check_recorded("docs/claims/smollm2-135m.explain.jsonl");
    check_recorded("docs/claims/gemma-3-270m.explain.jsonl");
    kvl_str out = {0};
    assert_true(kvli_put_finding(&out, KVL_ZH, "against it: keep 0.6 above keep 0.75"));
    assert_string_equal(kvl_str_text(&out), "反对的结果：保留率 0.6 相对于保留率 0.75");
    kvl_str_clear(&out);
    assert_false(kvli_put_finding(&out, KVL_ZH, "keep 0.6 below keep 0.75"));
    assert_string_equal(kvl_str_text(&out), "keep 0.6 below keep 0.75");
    kvl_str_free(&out);
}

/* ---- the forgetting map ---- */

/* The heads that hold a token after n_seen tokens, as the page's script finds it. */
static size_t held_by_script(const json_t *changes, size_t n_heads, size_t token, size_t n_seen) {
    size_t held = n_heads;
    for (size_t k = 0; k < json_array_size(changes); k += 2) {
        const size_t at = token + (size_t)json_integer_value(json_array_get(changes, k));
        held -= at <= n_seen ? (size_t)json_integer_value(json_array_get(changes, k + 1)) : 0;
    }
    return held;
}

/* What the script is told is what was, to within a twentieth of the heads. */
static void check_told(content_kind kind, const char *const *policies, size_t n_policies) {
    kvl_content *c = content_fixture(kind);
    const kvl_portrait *p = c->portrait;
    const size_t n_heads = kvli_portrait_heads(p);
    kvl_str html = {0};
    assert_ok(kvl_page_write(&html, c, KVL_EN, NULL));
    const char *from = strstr(kvl_str_text(&html), "data-lost=\"");
    assert_non_null(from);
    from += strlen("data-lost=\"");
    json_t *told = json_loadb(from, strcspn(from, "\""), 0, NULL);
    assert_true(json_array_size(told) >= n_policies);
    for (size_t i = 0; i < n_policies; i++) {
        size_t k = 0;
        while (k < p->n_policies && strcmp(p->policies[k].policy, policies[i]) != 0) {
            k++;
        }
        assert_true(k < p->n_policies);
        for (size_t t = 0; t < p->n_tokens; t++) {
            const json_t *changes = json_array_get(json_array_get(told, i), t);
            for (size_t n_seen = t + 1; n_seen <= p->n_tokens; n_seen++) {
                const size_t held = kvli_held(p, &p->policies[k], t, n_seen);
                const size_t heard = held_by_script(changes, n_heads, t, n_seen);
                assert_true(heard >= held && (heard - held) * 20 < n_heads + 20);
                assert_true(n_heads > 20 || heard == held);
            }
        }
    }
    assert_true(html.len < 1500 * 1000);
    json_decref(told);
    kvl_str_free(&html);
    content_fixture_free(c);
}

static void test_forgetting(void **state) {
    (void)state;
    static const char *const policies[] = {"knorm:keep=0.95:cap=32:skip=0", "recency:keep=0.95:cap=32:skip=0",
                                           "knorm:keep=0.1:cap=32:skip=0"};
    check_told(CONTENT_RICH, policies, 3);
    check_told(CONTENT_LARGE, policies, 3);
}

/* A text of 5000 tokens: the page stays small, and says that it does not show all of them. */
static void test_long_text(void **state) {
    (void)state;
    enum { n_tokens = 5000, n_heads = 2 };
    static float numbers[n_heads * n_tokens];
    static uint32_t stays[n_heads * n_tokens];
    static uint32_t leaves[n_heads * n_tokens];
    static double nll[n_tokens];
    static char *words[n_tokens];
    for (size_t i = 0; i < n_tokens * n_heads; i++) {
        numbers[i] = (float)((i * 7919) % 1009 + 1);
        stays[i] = UINT32_MAX;
        leaves[i] = (uint32_t)(i % n_tokens + 1 + i % 97);
        words[i % n_tokens] = (char *)" word";
    }
    kvl_portrait_policy policies[] = {{.policy = (char *)"none", .left_at = stays, .nll = nll},
                                      {.policy = (char *)"knorm", .left_at = leaves, .nll = nll}};
    kvl_portrait p = {.command = (char *)"kvlab sweep",
                      .text = (char *)"t",
                      .n_layers = 1,
                      .n_heads = n_heads,
                      .n_tokens = n_tokens,
                      .pieces = words,
                      .norms = numbers,
                      .attention = numbers,
                      .policies = policies,
                      .n_policies = 2};
    const kvl_content c = {.model = (char *)"m", .portrait = &p};
    kvl_str html = {0};
    assert_ok(kvl_page_write(&html, &c, KVL_EN, NULL));
    assert_true(html.len < 1000 * 1000);
    assert_non_null(strstr(kvl_str_text(&html), "Only the first 4096 tokens are shown."));
    size_t n = 0;
    for (const char *at = kvl_str_text(&html); (at = strstr(at, " word</b>")) != NULL; at++) {
        n++;
    }
    assert_int_equal(n, 4096); /* once: the end of the text */
    kvl_str_free(&html);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_charts),        cmocka_unit_test(test_nothing_to_draw),
        cmocka_unit_test(test_figures),       cmocka_unit_test(test_words),
        cmocka_unit_test(test_explain_words), cmocka_unit_test(test_forgetting),
        cmocka_unit_test(test_long_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
