/* Pages in a real browser: three widths, two themes, two languages. Skipped where there is no Chromium.
 * KVL_SCREENSHOTS=DIR saves what was seen; KVL_PAGE=FILE looks at this page too. */
#include "report/browser.h"
#include "report/content_fixture.h"
#include "report/page.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

static const int widths[] = {375, 1280, 1920};
static const char *const themes[] = {"light", "dark"};
static const char *const kind_names[CONTENT_N_KINDS] = {"rich", "large", "hostile", "sparse", "empty"};
enum { N_WIDTHS = 3, HEIGHT = 900, LEAST_PNG = 20000 };

/* ---- helpers ---- */

/* Writes the page of a content and shows it. */
static void open_page(content_kind kind, kvl_lang lang) {
    kvl_content *c = content_fixture(kind);
    kvl_str html = {0};
    const char *path = test_temp_path("page.html");
    assert_ok(kvl_page_write(&html, c, lang, NULL));
    test_save(path, html.data, html.len);
    browser_open(path);
    kvl_str_free(&html);
    content_fixture_free(c);
}

static void expect_true(const char *expression) {
    json_t *value = browser_eval(expression);
    if (!json_is_true(value)) {
        fail_msg("not so: %s", expression);
    }
    json_decref(value);
}

static void expect_silence(void) {
    const char *complaints = browser_complaints();
    if (complaints[0] != '\0') {
        fail_msg("the browser complains: %s", complaints);
    }
}

static void save_screenshot(const char *name, int width, const char *theme) {
    const char *folder = getenv("KVL_SCREENSHOTS");
    char path[4200];
    if (folder != NULL) {
        snprintf(path, sizeof path, "%s/%s.%d.%s.png", folder, name, width, theme);
        browser_shoot(path, LEAST_PNG);
    }
}

/* ---- tests ---- */

/* The page that is open, at every width and in both themes. */
static void look(const char *check, const char *name) {
    for (size_t i = 0; i < N_WIDTHS * 2; i++) {
        const int width = widths[i / 2];
        browser_show(width, HEIGHT, themes[i % 2], "screen");
        json_t *faults = browser_eval(check);
        save_screenshot(name, width, themes[i % 2]);
        if (json_array_size(faults) != 0) {
            char *text = json_dumps(faults, JSON_INDENT(1));
            fail_msg("%s, %d px, %s: %s", name, width, themes[i % 2], text);
        }
        json_decref(faults);
    }
    expect_silence();
}

static void test_every_look(void **state) {
    (void)state;
    const char *page = getenv("KVL_PAGE");
    size_t n = 0;
    char *check = test_load("tests/report/page_check.js", &n);
    for (content_kind kind = 0; kind < CONTENT_N_KINDS; kind++) {
        for (kvl_lang lang = 0; lang < KVL_N_LANGS; lang++) {
            char name[40];
            snprintf(name, sizeof name, "%s.%s", kind_names[kind], kvl_lang_code(lang));
            open_page(kind, lang);
            look(check, name);
        }
    }
    if (page != NULL) {
        browser_open(page);
        look(check, "page");
    }
    kvl_free(check);
}

static void test_anchors(void **state) {
    (void)state;
    open_page(CONTENT_RICH, KVL_EN);
    browser_show(1280, HEIGHT, "light", "screen");
    json_t *faults =
        browser_eval("document.documentElement.style.scrollBehavior = 'auto';"
                     "[...document.querySelectorAll('a[href^=\"#\"]')].filter((a) => {"
                     "  a.click();"
                     "  const target = document.getElementById(a.hash.slice(1));"
                     "  const atEnd = scrollY + innerHeight >= document.scrollingElement.scrollHeight - 2;"
                     "  return !target || (Math.abs(target.getBoundingClientRect().top) > 2 && !atEnd);"
                     "}).map((a) => a.hash)");
    assert_int_equal(json_array_size(faults), 0);
    json_decref(faults);
    expect_silence();
}

static void test_script(void **state) {
    (void)state;
    open_page(CONTENT_RICH, KVL_EN);
    browser_show(1280, HEIGHT, "light", "screen");
    /* a click on a head sorts by numbers, largest first, a second one the other way round */
    json_t *value = browser_eval(
        "const head = [...document.querySelectorAll('#tables th.n')].find((h) => h.textContent === 'PPL');"
        "const read = () => [...head.closest('table').tBodies[0].rows].map((r) => "
        "parseFloat(r.cells[head.cellIndex]"
        ".textContent));"
        "const falls = (x) => x.every((v, i) => i === 0 || v <= x[i - 1]);"
        "head.click(); const first = falls(read()); head.click(); const second = falls(read().reverse());"
        "first && second && read().length > 5");
    assert_true(json_is_true(value));
    json_decref(value);
    /* the switch turns the theme over */
    expect_true("getComputedStyle(document.body).backgroundColor === 'rgb(253, 253, 252)'");
    json_decref(browser_eval("document.getElementById('theme').click()"));
    expect_true("getComputedStyle(document.body).backgroundColor === 'rgb(21, 23, 26)'");
    json_decref(browser_eval("localStorage.clear()"));
    expect_silence();
}

/* The player of the forgetting map shows what stands in the page as text, at the same steps. */
static void test_forgetting_map(void **state) {
    (void)state;
    open_page(CONTENT_RICH, KVL_EN);
    browser_show(1280, HEIGHT, "light", "screen");
    json_t *n = browser_eval(
        "const player = document.querySelector('.player'), policy = player.querySelector('select');"
        "const step = player.querySelector('input'), tokens = [...player.querySelectorAll('.held b')];"
        "const maps = [...document.querySelectorAll('#forgetting details')].flatMap((details, i) => "
        "[...details.querySelectorAll('p.held')].map((map) => [i, [...map.querySelectorAll('b')]]));"
        "const same = maps.filter(([i, read]) => {"
        "  policy.selectedIndex = i; step.value = read.length; step.dispatchEvent(new Event('input'));"
        "  return tokens.every((b, k) => k < read.length"
        "    ? b.className === read[k].className && b.title === read[k].title && b.textContent === "
        "read[k].textContent"
        "    : b.className === 'n');"
        "});"
        "player.hidden || tokens.length !== 176 ? 0 : same.length");
    assert_int_equal(json_integer_value(n), 3 * 4);
    json_decref(n);
    expect_silence();
}

static void test_without_script(void **state) {
    (void)state;
    json_decref(browser_call("Emulation.setScriptExecutionDisabled", json_pack("{s:b}", "value", 1)));
    open_page(CONTENT_RICH, KVL_ZH);
    browser_show(1280, HEIGHT, "light", "screen");
    expect_true("document.getElementById('theme').hidden && !document.getElementById('tip')");
    expect_true(
        "document.querySelector('.player').hidden && document.querySelector('#forgetting details').open");
    expect_true("[...document.querySelectorAll('main section')].every((s) => s.offsetHeight > 60)");
    expect_true("[...document.querySelectorAll('figure')].every((f) => f.offsetHeight > 100)");
    browser_shoot(NULL, LEAST_PNG);
    json_decref(browser_call("Emulation.setScriptExecutionDisabled", json_pack("{s:b}", "value", 0)));
    expect_silence();
}

/* On paper: light, without contents, wide figures, nothing cut off. */
static void test_print(void **state) {
    (void)state;
    open_page(CONTENT_RICH, KVL_EN);
    browser_show(680, HEIGHT, "dark", "print");
    expect_true("getComputedStyle(document.querySelector('nav')).display === 'none'");
    expect_true("getComputedStyle(document.body).color === 'rgb(29, 31, 33)'");
    expect_true(
        "[...document.querySelectorAll('.narrow')].every((e) => getComputedStyle(e).display === 'none')");
    expect_true(
        "[...document.querySelectorAll('.scroll')].every((e) => getComputedStyle(e).maxHeight === 'none')");
    expect_true("document.scrollingElement.scrollWidth <= innerWidth");
    json_t *pdf = browser_call("Page.printToPDF", json_pack("{s:b}", "printBackground", 1));
    assert_true(json_string_length(json_object_get(pdf, "data")) > LEAST_PNG);
    json_decref(pdf);
    expect_silence();
}

static int start(void **state) {
    (void)state;
    browser_start();
    return 0;
}

static int stop(void **state) {
    (void)state;
    browser_stop();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_look),     cmocka_unit_test(test_anchors),
        cmocka_unit_test(test_script),         cmocka_unit_test(test_forgetting_map),
        cmocka_unit_test(test_without_script), cmocka_unit_test(test_print),
    };
    if (!browser_is_there()) {
        return 77; /* skipped, to meson */
    }
    return cmocka_run_group_tests(tests, start, stop);
}
