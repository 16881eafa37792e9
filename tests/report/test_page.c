/* Pages of made-up contents: well-formed, complete in both languages, and never markup where text was meant.
 */
#include "report/content_fixture.h"
#include "report/html_check.h"
#include "report/page.h"
#include "support.h"

#include <math.h>
#include <string.h>

static kvl_str page_of(const kvl_content *c, kvl_lang lang) {
    kvl_str out = {0};
    assert_ok(kvl_page_write(&out, c, lang, NULL));
    return out;
}

/* ---- text ---- */

static void test_escapes(void **state) {
    (void)state;
    static const struct {
        const char *text, *html;
    } cases[] = {
        {"a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;"},
        {"缓存 é \xf0\x9f\x98\x80", "缓存 é \xf0\x9f\x98\x80"},
        {"\x1b[2J\x07", "\xef\xbf\xbd[2J\xef\xbf\xbd"},
        {"a\xff\xc3", "a\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* half of a pair */
        {"\xe2\x80\xae<", "\xef\xbf\xbd&lt;"},                    /* turns the direction */
        {"\xc2\x85", "\xef\xbf\xbd"},
        {"one\n\ttwo", "one\n\ttwo"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_str out = {0};
        kvl_html_text(&out, cases[i].text);
        assert_string_equal(kvl_str_text(&out), cases[i].html);
        kvl_str_free(&out);
    }
}

static void test_prose(void **state) {
    (void)state;
    static const struct {
        const char *text, *html;
    } cases[] = {
        {"run `kvlab <x>` now", "run <code>kvlab &lt;x&gt;</code> now"},
        {"a ` alone", "a ` alone"},
        {"``", "<code></code>"},
        {"`a``b`", "<code>a</code><code>b</code>"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_str out = {0};
        kvl_html_prose(&out, cases[i].text);
        assert_string_equal(kvl_str_text(&out), cases[i].html);
        kvl_str_free(&out);
    }
}

/* ---- structure ---- */

static void test_structure(void **state) {
    (void)state;
    for (content_kind kind = 0; kind < CONTENT_N_KINDS; kind++) {
        kvl_content *c = content_fixture(kind);
        for (kvl_lang lang = 0; lang < KVL_N_LANGS; lang++) {
            kvl_str html = page_of(c, lang);
            html_page page;
            html_read(&page, kvl_str_text(&html));
            assert_true(page.n_anchors >= 2);
            assert_int_equal(page.n_scripts, 1);
            html_free(&page);
            kvl_str_free(&html);
        }
        content_fixture_free(c);
    }
}

/* Every chart that has something to draw is there in two widths, and none that has not. */
static void test_charts(void **state) {
    (void)state;
    size_t n = 0;
    const kvl_chart *const *charts = kvl_charts(&n);
    for (content_kind kind = 0; kind < CONTENT_N_KINDS; kind++) {
        kvl_content *c = content_fixture(kind);
        kvl_str html = page_of(c, KVL_EN);
        size_t n_drawn = 0;
        for (size_t i = 0; i < n; i++) {
            char id[80];
            snprintf(id, sizeof id, "id=\"figure-%s\"", charts[i]->id);
            const bool is_there = strstr(kvl_str_text(&html), id) != NULL;
            if (is_there != charts[i]->has(c)) {
                fail_msg("chart %s of kind %d: %s", charts[i]->id, (int)kind, is_there ? "drawn" : "missing");
            }
            n_drawn += is_there;
        }
        html_page page;
        html_read(&page, kvl_str_text(&html));
        assert_int_equal(page.n_svg, 2 * n_drawn);
        html_free(&page);
        kvl_str_free(&html);
        content_fixture_free(c);
    }
}

/* The order of the sections is that of the list, and a section without data names its command. */
static void test_sections(void **state) {
    (void)state;
    size_t n = 0;
    const kvl_section *const *sections = kvl_sections(&n);
    kvl_content *c = content_fixture(CONTENT_EMPTY);
    kvl_str html = page_of(c, KVL_EN);
    const char *at = kvl_str_text(&html);
    for (size_t i = 0; i < n; i++) {
        char head[120];
        snprintf(head, sizeof head, "<section id=\"%s\">", sections[i]->id);
        const char *found = strstr(at, head);
        if (sections[i]->has(c)) {
            assert_non_null(found);
            at = found;
            continue;
        }
        assert_null(found);
        if (sections[i]->command != NULL) { /* told in the section on limits */
            assert_non_null(strstr(strstr(at, "<section id=\"limits\">"), sections[i]->command));
        }
    }
    kvl_str_free(&html);
    content_fixture_free(c);
}

/* ---- languages ---- */

/* Texts that the page itself is made of are of its language alone. */
static void test_languages(void **state) {
    (void)state;
    size_t n_sections = 0, n_charts = 0;
    const kvl_section *const *sections = kvl_sections(&n_sections);
    const kvl_chart *const *charts = kvl_charts(&n_charts);
    kvl_content *c = content_fixture(CONTENT_RICH);
    kvl_str en = page_of(c, KVL_EN);
    kvl_str zh = page_of(c, KVL_ZH);
    assert_non_null(strstr(kvl_str_text(&en), "<html lang=\"en\">"));
    assert_non_null(strstr(kvl_str_text(&zh), "<html lang=\"zh-Hans\">"));
    for (size_t i = 0; i < n_sections; i++) {
        const kvl_section *s = sections[i];
        char head[200];
        assert_string_not_equal(s->title_en, s->title_zh);
        snprintf(head, sizeof head, ">%s</a></h2>", s->title_zh);
        assert_non_null(strstr(kvl_str_text(&zh), head));
        snprintf(head, sizeof head, ">%s</a></h2>", s->title_en);
        assert_null(strstr(kvl_str_text(&zh), head));
        assert_non_null(strstr(kvl_str_text(&en), head));
    }
    for (size_t i = 0; i < n_charts; i++) {
        char title[200];
        assert_string_not_equal(charts[i]->title_en, charts[i]->title_zh);
        snprintf(title, sizeof title, "<strong>%s</strong>", charts[i]->title_en);
        assert_null(strstr(kvl_str_text(&zh), title));
    }
    kvl_str_free(&en);
    kvl_str_free(&zh);
    content_fixture_free(c);
}

/* Words of a text node in a row that only English has. */
static size_t english_words(const char *line, size_t n) {
    static const char *const words[] = {" the ", " of ",   " is ",   " are ",
                                        " and ", " with ", " than ", " not "};
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
            const size_t length = strlen(words[w]);
            found += i + length <= n && strncmp(line + i, words[w], length) == 0;
        }
    }
    return found;
}

/* No English sentence is left in a Chinese page whose content has none. */
static void test_no_english_in_chinese(void **state) {
    (void)state;
    kvl_content *c = content_fixture(CONTENT_EMPTY);
    kvl_str html = page_of(c, KVL_ZH);
    html_page page;
    html_read(&page, kvl_str_text(&html));
    for (const char *line = page.text; *line != '\0';) {
        const size_t n = strcspn(line, "\n");
        if (english_words(line, n) > 1 && strstr(line, "\"use strict\"") == NULL) {
            fail_msg("English in a Chinese page: %.*s", (int)n, line);
        }
        line += n + (line[n] == '\n');
    }
    html_free(&page);
    kvl_str_free(&html);
    content_fixture_free(c);
}

/* ---- hostile contents ---- */

static void test_hostile(void **state) {
    (void)state;
    kvl_content *c = content_fixture(CONTENT_HOSTILE);
    for (kvl_lang lang = 0; lang < KVL_N_LANGS; lang++) {
        kvl_str html = page_of(c, lang);
        const char *text = kvl_str_text(&html);
        assert_null(strstr(text, "<script>alert"));
        assert_null(strstr(text, "<img"));
        assert_non_null(strstr(text, "&lt;script&gt;alert(1)"));
        for (size_t i = 0; i < html.len; i++) {
            const unsigned char byte = (unsigned char)text[i];
            assert_true(byte >= 0x20 || byte == '\n' || byte == '\t');
        }
        kvl_str_free(&html);
    }
    content_fixture_free(c);
}

/* ---- figures ---- */

/* Figures stand in the page as the content has them. */
static void test_figures(void **state) {
    (void)state;
    kvl_content *c = content_fixture(CONTENT_RICH);
    kvl_str html = page_of(c, KVL_EN);
    for (size_t i = 0; i < c->sweep->n_rows; i++) {
        char ppl[40];
        snprintf(ppl, sizeof ppl, "<td class=\"n\">%.2f</td>", c->sweep->rows[i].ppl);
        assert_non_null(strstr(kvl_str_text(&html), ppl));
    }
    for (size_t i = 0; i < c->time->n; i++) {
        char tpot[40];
        snprintf(tpot, sizeof tpot, "<td class=\"n\">%.4f</td>", c->time->lines[i].tpot_ns * 1e-6);
        assert_non_null(strstr(kvl_str_text(&html), tpot));
    }
    kvl_str_free(&html);
    content_fixture_free(c);
}

/* The same content gives the same bytes. */
static void test_same_twice(void **state) {
    (void)state;
    kvl_content *c = content_fixture(CONTENT_RICH);
    kvl_str one = page_of(c, KVL_ZH);
    kvl_str two = page_of(c, KVL_ZH);
    assert_string_equal(kvl_str_text(&one), kvl_str_text(&two));
    kvl_str_free(&one);
    kvl_str_free(&two);
    content_fixture_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_prose),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_charts),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_languages),
        cmocka_unit_test(test_no_english_in_chinese),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_same_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
