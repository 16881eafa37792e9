/* Every chart of the list, in both widths and languages, on contents that are rich, hostile, empty, tiny and
 * broken: texts stand apart and inside, SVG is XML, and there is a text alternative. */
#include "content_fixture.h"
#include "report/drawing.h"

#include "report/section.h"

#include <math.h>

static void check_chart(const kvl_chart *chart, const kvl_content *c, const char *what) {
    static const double widths[] = {340, 760};
    for (size_t i = 0; i < 2 * KVL_N_LANGS; i++) {
        const kvl_lang lang = (kvl_lang)(i % KVL_N_LANGS);
        const double width = widths[i / KVL_N_LANGS];
        kvl_figure *f = NULL;
        kvl_str text = {0};
        char name[120];
        snprintf(name, sizeof name, "%s, %s, %g, %s", chart->id, what, width, kvl_lang_code(lang));
        const double height = chart->height(c, width);
        if (!(height > 40 && height < 6000)) {
            fail_msg("%s: height %g", name, height);
        }
        assert_ok(kvl_figure_create(&f, width, height, NULL));
        chart->draw(f, c, lang);
        check_texts(f, name);
        chart->describe(&text, c, lang);
        assert_false(text.failed);
        if (text.len < 20 || strstr(kvl_str_text(&text), "nan") != NULL ||
            strstr(kvl_str_text(&text), "inf") != NULL) {
            fail_msg("%s: '%s'", name, kvl_str_text(&text));
        }
        kvl_str svg = {0};
        assert_ok(kvl_figure_write_svg(&svg, f, "a", chart->title_en, kvl_str_text(&text), NULL));
        check_xml(kvl_str_text(&svg));
        assert_true(strstr(kvl_str_text(&svg), "<script") == NULL);
        kvl_str_free(&svg);
        kvl_str_free(&text);
        kvl_figure_destroy(f);
    }
}

/* All charts that have something to draw; how many. */
static size_t check_all(const kvl_content *c, const char *what) {
    size_t n = 0;
    size_t n_drawn = 0;
    const kvl_chart *const *charts = kvl_charts(&n);
    for (size_t i = 0; i < n; i++) {
        if (charts[i]->has(c)) {
            check_chart(charts[i], c, what);
            n_drawn++;
        }
    }
    return n_drawn;
}

static void test_list(void **state) {
    (void)state;
    size_t n = 0;
    const kvl_chart *const *charts = kvl_charts(&n);
    assert_true(n >= 6);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(kvl_chart_find(charts[i]->id), charts[i]);
        assert_true(charts[i]->title_en[0] != '\0' && charts[i]->title_zh[0] != '\0');
    }
    assert_null(kvl_chart_find("no such chart"));
}

static void test_contents(void **state) {
    (void)state;
    static const char *const names[] = {"rich", "large", "hostile", "sparse", "empty"};
    size_t n = 0;
    kvl_charts(&n);
    for (content_kind kind = CONTENT_RICH; kind < CONTENT_N_KINDS; kind++) {
        kvl_content *c = content_fixture(kind);
        const size_t n_drawn = check_all(c, names[kind]);
        assert_true(kind > CONTENT_HOSTILE || n_drawn == n);
        assert_true(kind != CONTENT_SPARSE || (n_drawn > 0 && n_drawn < n));
        assert_true(kind != CONTENT_EMPTY || n_drawn == 0);
        content_fixture_free(c);
    }
    const kvl_content nothing = {0};
    assert_int_equal(check_all(&nothing, "nothing"), 0);
}

/* ---- sweeps that are tiny, huge, broken ---- */

static kvl_report_row row_of(const char *press, double keep, double ppl, double delta) {
    return (kvl_report_row){.press = press,
                            .policy = press,
                            .keep_ratio = keep,
                            .ppl = ppl,
                            .kv_bytes = (uint64_t)(10000 * keep),
                            .delta = {.mean = delta,
                                      .low = delta - 0.1,
                                      .high = delta + 0.1,
                                      .n_clusters = 5,
                                      .has_interval = true},
                            .stage = KVL_STAGE_EXPLOSION,
                            .has_evicted = true};
}

static void check_sweep(const kvl_report_row *rows, size_t n, const char *what) {
    kvl_report r = {
        .title = "t", .protocol = "p", .how = "h", .command = "c", .rows = rows, .n_rows = n, .n_samples = 5};
    const kvl_content c = {.model = (char *)"m", .sweep = &r};
    check_all(&c, what);
}

static void test_few_rows(void **state) {
    (void)state;
    kvl_report_row rows[4] = {row_of("none", 1, 60, 0), row_of("knorm", 0.95, 181, 1.05)};
    rows[0].is_baseline = true;
    rows[0].has_evicted = false;
    check_sweep(rows, 0, "no row");
    check_sweep(rows, 1, "the baseline alone");
    check_sweep(rows + 1, 1, "one row, no baseline");
    check_sweep(rows, 2, "one row");
    rows[1].has_evicted = false;
    check_sweep(rows, 2, "nothing evicted");
    rows[1] = rows[2] = row_of("knorm", 0.5, 60, 0);
    rows[2].keep_ratio = rows[1].keep_ratio; /* twice the same */
    check_sweep(rows, 3, "twice the same");
    rows[1].delta = (kvl_estimate){.mean = 0.1};
    check_sweep(rows, 2, "no interval");
}

static void test_numbers_that_are_none(void **state) {
    (void)state;
    static const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0, -1, 1e308, 1e-308};
    enum { n_odd = sizeof odd / sizeof odd[0] };
    for (size_t i = 0; i < n_odd * 4; i++) {
        kvl_report_row rows[4] = {row_of("none", 1, 60, 0), row_of("knorm", 0.95, 181, 1.05),
                                  row_of("knorm", 0.5, 80, 0.3), row_of("random", 0.5, 90, 0.4)};
        char what[60];
        const double value = odd[i % n_odd];
        rows[0].is_baseline = true;
        rows[0].has_evicted = false;
        snprintf(what, sizeof what, "%g as number %zu", value, i / n_odd);
        switch (i / n_odd) {
        case 0:
            rows[1].ppl = value;
            rows[1].delta.mean = value;
            break;
        case 1: rows[1].delta.low = rows[2].delta.high = value; break;
        case 2:
            rows[0].ppl = value;
            rows[0].kv_bytes = 0;
            break;
        default: rows[3].keep_ratio = value;
        }
        check_sweep(rows, 4, what);
    }
}

static void test_many_presses(void **state) {
    (void)state;
    enum { n_presses = 100, n_keeps = 10 };
    static kvl_report_row rows[1 + n_presses * n_keeps];
    static char names[n_presses][64];
    rows[0] = row_of("none", 1, 60, 0);
    rows[0].is_baseline = true;
    rows[0].has_evicted = false;
    for (size_t p = 0; p < n_presses; p++) {
        snprintf(names[p], sizeof names[0], "a press with a long name and options number %zu", p);
        for (size_t k = 0; k < n_keeps; k++) {
            const double delta = 0.02 * (double)((p * 7 + k * 3) % 50);
            rows[1 + p * n_keeps + k] =
                row_of(names[p], 0.95 - 0.09 * (double)k, 60 * exp(delta), delta - 0.001 * (double)p);
        }
    }
    check_sweep(rows, 1 + n_presses * n_keeps, "100 presses");
}

/* ---- everything else, with numbers that are none ---- */

static void spoil_estimate(kvl_estimate *e, double value) {
    e->mean = value;
    e->high = value;
}

static void spoil(kvl_content *c, double value) {
    for (size_t i = 0; i < c->cause->n_arms; i++) {
        c->cause->arms[i].nll = i % 2 == 0 ? value : c->cause->arms[i].nll;
        c->cause->arms[i].lag_visible[i % KVL_CONTENT_LAGS] = value;
    }
    for (size_t i = 0; i < c->cause->n_protections; i += 2) {
        spoil_estimate(&c->cause->removed[i], value);
    }
    spoil_estimate(&c->cause->spike, value);
    spoil_estimate(&c->cause->excess_light, value);
    for (size_t i = 0; i < c->cause->n_verdicts; i++) {
        for (size_t k = 0; k < c->cause->verdicts[i].n_findings; k++) {
            spoil_estimate(&c->cause->verdicts[i].findings[k].effect, value);
        }
    }
    const size_t n = c->portrait->n_layers * c->portrait->n_heads * c->portrait->n_tokens;
    for (size_t i = 0; i < n; i += 7) {
        c->portrait->norms[i] = (float)value;
        c->portrait->attention[i] = (float)value;
    }
    for (size_t i = 0; i < c->time->n; i++) {
        c->time->lines[i].ttft_ns = i % 2 == 0 ? value : 1e6;
        c->time->lines[i].compress_ns = i % 3 == 1 ? value : 1e6;
        c->time->lines[i].tpot_ns = i == 2 ? value : 1e6 - 1e3 * (double)i;
    }
    for (size_t i = 0; i < c->choice->n; i++) {
        c->choice->lines[i].tpot_ratio = value;
        c->choice->lines[i].kv_bytes = i == 1 ? value : c->choice->lines[i].kv_bytes;
        c->choice->lines[i].loss.high = value;
        c->choice->lines[i].loss.mean = i == 2 ? value : c->choice->lines[i].loss.mean;
    }
    c->choice->max_loss = value;
}

static void test_spoilt(void **state) {
    (void)state;
    static const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0, -1, 1e30};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        kvl_content *c = content_fixture(CONTENT_RICH);
        char what[40];
        snprintf(what, sizeof what, "spoilt by %g", odd[i]);
        spoil(c, odd[i]);
        check_all(c, what);
        content_fixture_free(c);
    }
}

/* What a chart says about the fixture's curve. */
static void test_words(void **state) {
    (void)state;
    kvl_content *c = content_fixture(CONTENT_SPARSE);
    kvl_str text = {0};
    kvl_chart_find("curve")->describe(&text, c, KVL_EN);
    assert_non_null(strstr(kvl_str_text(&text), "Lowest: knorm at keep 0.1"));
    assert_non_null(strstr(kvl_str_text(&text), "highest: knorm at keep 0.95"));
    assert_non_null(strstr(kvl_str_text(&text), "+1.271 ["));
    kvl_str_clear(&text);
    content_fixture_free(c);
    c = content_fixture(CONTENT_RICH);
    kvl_chart_find("breakeven")->describe(&text, c, KVL_EN);
    assert_non_null(strstr(kvl_str_text(&text), "for 0 of 3 policies never"));
    assert_non_null(strstr(kvl_str_text(&text), "recency:keep=0.25, after 1."));
    c->time->lines[1].tpot_ns = c->time->lines[0].tpot_ns; /* no faster: never */
    kvl_str_clear(&text);
    kvl_chart_find("breakeven")->describe(&text, c, KVL_EN);
    assert_non_null(strstr(kvl_str_text(&text), "for 1 of 3 policies never"));
    kvl_str_clear(&text);
    kvl_chart_find("pareto")->describe(&text, c, KVL_EN);
    assert_non_null(strstr(kvl_str_text(&text), "Recommended: snapkv:keep=0.75, q8_0/q4_0, 14.8 %"));
    kvl_str_free(&text);
    content_fixture_free(c);
}

/* ---- pictures ---- */

static kvl_status save(const kvl_content *c, const char *name, kvl_err *err) {
    const kvl_caption caption = {
        .title = "ucurve on a model with a <name>",
        .line = "a line of the protocol that is so long that it needs more than one line "
                "of the picture, which is seven hundred and sixty pixels wide",
        .command = "kvlab sweep -P knorm,recency,snapkv,h2o -r 0.95,0.9,0.85,0.8,0.75,0.7 "
                   "--a-long-option with/a/long/path/to/a/file/that/has/no/spaces.gguf"};
    return kvl_chart_save(kvl_chart_of_sweep(c), c, KVL_EN, &caption, name, err);
}

static void test_pictures(void **state) {
    (void)state;
    static const char *const beginnings[] = {"\x89PNG\r\n\x1a\n", "<svg ", "%PDF-"};
    static const char *const endings[] = {"png", "svg", "pdf"};
    kvl_content *c = content_fixture(CONTENT_RICH);
    kvl_err err = {0};
    assert_ok(save(c, test_temp_path("picture"), NULL));
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        char *bytes = NULL;
        size_t n = 0;
        snprintf(name, sizeof name, "picture.%s", endings[i]);
        assert_ok(kvl_file_load(&bytes, &n, test_temp_path(name), 1 << 24, NULL));
        assert_true(n > 5000);
        assert_memory_equal(bytes, beginnings[i], strlen(beginnings[i]));
        if (i == 0) {
            assert_int_equal((unsigned char)bytes[18] * 256 + (unsigned char)bytes[19], 1640);
        } else if (i == 1) {
            check_xml(bytes);
            assert_non_null(strstr(bytes, "spaces.gguf</text>")); /* the command is whole */
        }
        kvl_free(bytes);
    }
    assert_int_equal(save(c, "/nowhere/at/all/x", &err), KVL_E_IO);
    assert_non_null(strstr(err.msg, "/nowhere/at/all/x.png"));
    assert_string_equal(kvl_chart_of_sweep(c)->id, "curve");
    content_fixture_free(c);
    const kvl_content nothing = {0};
    assert_null(kvl_chart_of_sweep(&nothing));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),         cmocka_unit_test(test_contents),
        cmocka_unit_test(test_few_rows),     cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test(test_many_presses), cmocka_unit_test(test_spoilt),
        cmocka_unit_test(test_words),        cmocka_unit_test(test_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
