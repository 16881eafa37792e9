/* kvlab report, and --report of commands that measure. */
#include "support.h"

#include <string.h>

static bool holds(const char *text, const char *part) { return strstr(text, part) != NULL; }

/* Loads a file of the test's folder. */
static char *load(const char *name) {
    char *text = NULL;
    size_t n = 0;
    assert_ok(kvl_file_load(&text, &n, test_temp_path(name), 1 << 26, NULL));
    return text;
}

static const char *run(int expected, const char *fmt, const char *name) {
    char args[1200];
    int code = 0;
    snprintf(args, sizeof args, fmt, test_temp_path("results.db"), test_temp_path(name));
    const char *out = test_run(&code, args);
    if (code != expected) {
        fail_msg("kvlab %s: exit code %d: %s", args, code, out);
    }
    return out;
}

#define SWEEP "sweep --preset ucurve --max-tokens 64 -P knorm -r 0.9,0.5 -q --no-chart --store %s --report %s"

static void test_sweep_report(void **state) {
    (void)state;
    test_temp_dir();
    run(0, SWEEP, "page.html");
    char *page = load("page.html");
    assert_true(holds(page, "<html lang=\"en\">") && holds(page, "id=\"figure-curve\""));
    assert_true(holds(page, "knorm") && holds(page, "novels-7m") && holds(page, "results.db"));
    kvl_free(page);
}

/* All formats and charts of what the sweep has left. */
static void test_report(void **state) {
    (void)state;
    assert_true(holds(run(0, "report --lang zh --store %s --out %s", "zh.html"), "zh.html"));
    char *page = load("zh.html");
    assert_true(holds(page, "<html lang=\"zh-Hans\">"));
    kvl_free(page);
    run(0, "report --format md --store %s --out %s", "paper/report.md");
    page = load("paper/report.md");
    assert_true(holds(page, "](<report-curve.png>)"));
    kvl_free(page);
    run(0, "report --format tex --store %s --out %s", "paper/report.tex");
    assert_true(kvl_file_exists(test_temp_path("paper/report-curve.pdf")));
    run(0, "report --store %1$s --charts %2$s --out %2$s/page.html", "charts");
    assert_true(kvl_file_exists(test_temp_path("charts/curve.svg")));
    assert_true(kvl_file_exists(test_temp_path("charts/curve.png")));
}

static void test_refusals(void **state) {
    (void)state;
    assert_true(holds(run(2, "report --store %s --out %s --group zz", "x.html"), "found 'zz'"));
    assert_true(holds(run(2, "report --store %s --out %s --lang fr", "x.html"), "expected en or zh"));
    assert_true(
        holds(run(2, "sweep --no-store --samples %s --report %s", "x.html"), "--report: expected a store"));
    assert_true(holds(run(4, "report --store %s.none --out %s", "x.html"), "kvlab sweep makes one"));
    assert_false(kvl_file_exists(test_temp_path("x.html")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep_report),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
