/* Figures: SVG that is XML and escapes, PNG and PDF of the right size, labels that stand apart. */
#include "report/drawing.h"

#include <math.h>

static kvl_figure *figure_of(double width, double height) {
    kvl_figure *f = NULL;
    assert_ok(kvl_figure_create(&f, width, height, NULL));
    return f;
}

static const char evil[] = "<script>alert('1')</script> & \"x\" \x01\xff\xe2\x80\xae";

/* One of each. */
static kvl_figure *everything(void) {
    kvl_figure *f = figure_of(340, 200);
    const double xy[] = {10, 10, 20, 15.126, 30, 10};
    kvl_figure_line(f, 0, 0, 10.5, -3, (kvl_stroke){.ink = KVL_INK_TEXT, .width = 1, .is_dashed = true});
    kvl_figure_path(f, xy, 3, (kvl_stroke){.ink = KVL_INK_SERIES, .width = 2, .opacity = 0.5});
    kvl_figure_area(f, xy, 3, KVL_INK_GOOD, 0.2);
    kvl_figure_rect(f, 1, 2, 3, 4, KVL_INK_BAD, 1, "two\nlines");
    kvl_figure_heat(f, 50, 50, 20, 20, 0.25, evil);
    kvl_figure_heat(f, 70, 50, 20, 20, (double)NAN, "no data");
    for (kvl_mark m = KVL_MARK_DOT; m <= KVL_MARK_CROSS; m++) {
        kvl_figure_mark(f, 100 + 10 * (double)m, 30, 4, m, (kvl_ink)(KVL_INK_SERIES + (int)m), evil);
    }
    kvl_figure_text(f, 10, 100, 12, KVL_ALIGN_LEFT, KVL_INK_TEXT, 0, evil);
    kvl_figure_text(f, 10, 120, 12, KVL_ALIGN_LEFT, KVL_INK_TEXT, 0, "保留比例");
    return f;
}

static void test_svg(void **state) {
    (void)state;
    kvl_figure *f = everything();
    kvl_str out = {0};
    assert_ok(kvl_figure_write_svg(&out, f, "c1", evil, "what it & shows", NULL));
    const char *svg = kvl_str_text(&out);
    check_xml(svg);
    assert_null(strstr(svg, "<script"));
    assert_non_null(strstr(svg, "&lt;script&gt;"));
    assert_non_null(strstr(svg, "&quot;x&quot; \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
    assert_non_null(strstr(svg, "role=\"img\" aria-labelledby=\"c1-title c1-desc\""));
    assert_non_null(strstr(svg, "<desc id=\"c1-desc\">what it &amp; shows</desc>"));
    assert_non_null(strstr(svg, "viewBox=\"0 0 340 200\""));
    assert_non_null(strstr(svg, "points=\"10,10 20,15.13 30,10\""));
    assert_non_null(strstr(svg, "stroke=\"var(--s0,#0072b2)\""));
    assert_non_null(strstr(svg, "<title>two\nlines</title></rect>"));
    assert_non_null(strstr(svg, ">保留比例</text>"));
    kvl_str_clear(&out);
    assert_ok(kvl_figure_write_svg_file(&out, f, evil, NULL));
    check_xml(kvl_str_text(&out));
    assert_null(strstr(kvl_str_text(&out), "var("));
    assert_non_null(strstr(kvl_str_text(&out), "xmlns="));
    kvl_str_free(&out);
    kvl_figure_destroy(f);
}

static void test_files(void **state) {
    (void)state;
    kvl_figure *f = everything();
    kvl_str out = {0};
    assert_ok(kvl_figure_write_png(&out, f, NULL));
    const unsigned char *png = (const unsigned char *)out.data;
    assert_memory_equal(png, "\x89PNG\r\n\x1a\n", 8);
    assert_int_equal(png[18] * 256 + png[19], 680); /* width and height in the IHDR chunk */
    assert_int_equal(png[22] * 256 + png[23], 400);
    kvl_str_clear(&out);
    assert_ok(kvl_figure_write_pdf(&out, f, evil, NULL));
    assert_memory_equal(out.data, "%PDF-", 5);
    assert_true(out.len > 2000);
    kvl_str_free(&out);
    kvl_figure_destroy(f);
}

/* Numbers that cannot be drawn are left out; texts are cut where they are told to be. */
static void test_bounds(void **state) {
    (void)state;
    kvl_figure *f = figure_of(340, 200);
    const double xy[] = {0, 0, 1, (double)NAN, 2, 2};
    kvl_figure_path(f, xy, 3, (kvl_stroke){.ink = KVL_INK_TEXT, .width = 1});
    kvl_figure_mark(f, (double)INFINITY, 0, 3, KVL_MARK_DOT, KVL_INK_TEXT, NULL);
    kvl_figure_rect(f, 0, 0, (double)NAN, 1, KVL_INK_TEXT, 1, NULL);
    assert_int_equal(f->n, 0);
    const double whole = kvl_figure_measure(f, 12, "a rather long name of a policy");
    assert_true(whole > 150 && whole < 250);
    const double cut =
        kvl_figure_text(f, 0, 20, 12, KVL_ALIGN_LEFT, KVL_INK_TEXT, 100, "a rather long name of a policy");
    assert_true(cut > 80 && cut <= 100);
    assert_non_null(strstr(f->items[0].text, "…"));
    assert_memory_equal(f->items[0].text, "a rather", 8);
    assert_true(kvl_figure_text(f, 0, 40, 12, KVL_ALIGN_LEFT, KVL_INK_TEXT, 3, "保留") < 13);
    assert_true(kvl_figure_text(f, 0, 60, 12, KVL_ALIGN_LEFT, KVL_INK_TEXT, 0, "") == 0);
    /* a paragraph breaks at words, and Chinese anywhere */
    const size_t before = f->n;
    const char *text =
        "one two three four five six seven eight nine ten 一二三四五六七八九十一二三四五六七八九十";
    const double height = kvl_figure_paragraph(f, 0, 80, 120, 12, KVL_ALIGN_LEFT, KVL_INK_TEXT, text);
    assert_true(height == kvl_figure_paragraph_height(f, 120, 12, text));
    assert_true(f->n - before >= 4);
    assert_true(height == 12 * KVLI_LINE_HEIGHT * (double)(f->n - before));
    for (size_t i = before; i < f->n; i++) {
        assert_true(f->items[i].w <= 121);
    }
    check_texts(f, "bounds");
    kvl_figure_destroy(f);
}

static void check_plot(kvl_axis x, kvl_axis y, double width, double height, const char *what) {
    kvl_figure *f = figure_of(width, height);
    kvl_plot p;
    if (width < 200) { /* small multiples say their axes once */
        x.label = y.label = NULL;
    }
    kvl_plot_begin(&p, f, 4, 4, width - 8, height - 8, x, y);
    assert_true(p.left < p.right && p.top < p.bottom && p.left >= 4 && p.right <= width - 4);
    check_texts(f, what);
    if (kvli_figure_texts(f, NULL, 0) < (width < 200 ? 1 : 3)) {
        fail_msg("%s: no ticks", what);
    }
    const double at = kvl_plot_x(&p, 1e300);
    assert_true(at >= p.left && at <= p.right);
    assert_true(isnan(kvl_plot_y(&p, (double)NAN)));
    kvl_figure_destroy(f);
}

static void test_plots(void **state) {
    (void)state;
    static const char *names[200];
    static char name_texts[200][40];
    for (size_t i = 0; i < 200; i++) {
        snprintf(name_texts[i], sizeof name_texts[0], "name of number %zu", i);
        names[i] = name_texts[i];
    }
    static const double ranges[][2] = {{0, 1},          {1.02, 0.28}, {-0.031, 0.004}, {1e6, 5e9},
                                       {12345, 12346},  {1e-9, 3e-9}, {5, 5},          {-1e12, 1e12},
                                       {0.95, 0.95001}, {0, 0},       {3, 700},        {99999, 100001}};
    const size_t n = sizeof ranges / sizeof ranges[0];
    for (size_t i = 0; i < n * n * 2; i++) {
        const kvl_axis x = {.min = ranges[i % n][0],
                            .max = ranges[i % n][1],
                            .is_log = i / n / n == 1,
                            .label = "tokens that follow a compression, and a long name of this axis"};
        const kvl_axis y = {.min = ranges[i / n % n][0],
                            .max = ranges[i / n % n][1],
                            .is_log = i / n / n == 1,
                            .label = "perplexity (mean of samples, log scale), 困惑度"};
        char what[80];
        snprintf(what, sizeof what, "x %g..%g y %g..%g log %d", x.min, x.max, y.min, y.max, (int)x.is_log);
        check_plot(x, y, 340, 200, what);
        check_plot(x, y, 760, 400, what);
        check_plot(x, y, 110, 90, what);
    }
    for (size_t k = 1; k <= 200; k += 33) {
        const kvl_axis named = {.min = -0.5, .max = (double)k - 0.5, .names = names, .n_names = k};
        check_plot(named, (kvl_axis){.min = 0, .max = 1}, 340, 200, "names below");
        check_plot((kvl_axis){.min = 0, .max = 1}, named, 340, 200, "names beside");
    }
    check_plot((kvl_axis){.min = (double)NAN, .max = 1}, (kvl_axis){.min = -1, .max = (double)INFINITY}, 340,
               200, "not finite");
}

static void test_ticks(void **state) {
    (void)state;
    static const struct {
        double value, step;
        const char *text;
    } cases[] = {{0.25, 0.05, "0.25"}, {0.3, 0.1, "0.3"},   {-0.5, 0.5, "−0.5"},  {-0.0, 1, "0"},
                 {150, 50, "150"},     {9500, 500, "9500"}, {20000, 5000, "20k"}, {1.5e6, 5e5, "1.5M"},
                 {50, 0, "50"},        {1000, 0, "1000"},   {0.002, 0, "0.002"},  {2e9, 0, "2G"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_str out = {0};
        kvl_put_tick(&out, cases[i].value, cases[i].step);
        assert_string_equal(kvl_str_text(&out), cases[i].text);
        kvl_str_free(&out);
    }
}

static void test_legend(void **state) {
    (void)state;
    const kvl_legend_item items[] = {
        {"knorm", KVL_INK_SERIES, KVL_MARK_DOT, false, true},
        {"a press whose name is far longer than a telephone is wide, with options", KVL_INK_SERIES + 1,
         KVL_MARK_SQUARE, false, true},
        {"full cache", KVL_INK_SOFT, KVL_MARK_DOT, true, true}};
    kvl_figure *f = figure_of(340, 100);
    const double height = kvl_legend(f, 5, 5, 330, items, 3);
    assert_true(height == kvl_legend_height(f, 330, items, 3));
    assert_true(height > 50 && height < 80);
    check_texts(f, "legend");
    kvl_figure_destroy(f);
}

/* Labels leave each other and the data alone, or are not drawn. */
static void test_labels(void **state) {
    (void)state;
    kvl_figure *f = figure_of(200, 100);
    const double box[] = {0, 0, 200, 100};
    size_t n_drawn = 0;
    kvl_figure_line(f, 0, 40, 200, 40, (kvl_stroke){.ink = KVL_INK_SERIES, .width = 2});
    kvl_figure_mark(f, 100, 50, 4, KVL_MARK_DOT, KVL_INK_SERIES, NULL);
    assert_true(kvl_figure_label(f, 100, 50, 6, 12, KVL_INK_TEXT, box, "first"));
    assert_true(kvli_text_box(&f->items[2]).top > 40); /* not across the line above */
    for (size_t i = 0; i < 40; i++) {
        n_drawn += kvl_figure_label(f, 100, 50, 6, 12, KVL_INK_TEXT, box, "one more label");
    }
    assert_true(n_drawn > 2 && n_drawn < 40);
    check_texts(f, "labels");
    assert_false(kvl_figure_label(f, 100, 50, 6, 12, KVL_INK_TEXT, box,
                                  "a label that is wider than all the room that there is"));
    kvl_figure_destroy(f);
}

static void test_memory_ends(void **state) {
    (void)state;
    for (int64_t k = 1; k < 40; k += 3) {
        kvl_figure *f = figure_of(340, 200);
        kvl_plot p;
        kvl_str out = {0};
        kvl_alloc_fail_after(k);
        kvl_plot_begin(&p, f, 0, 0, 340, 200, (kvl_axis){.min = 0, .max = 1, .label = "x"},
                       (kvl_axis){.min = 0, .max = 1, .label = "y"});
        const kvl_status status = kvl_figure_write_svg(&out, f, "a", "b", "c", NULL);
        kvl_alloc_fail_after(-1);
        assert_int_equal(status, KVL_E_NOMEM);
        kvl_str_free(&out);
        kvl_figure_destroy(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_svg),    cmocka_unit_test(test_files),       cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_plots),  cmocka_unit_test(test_ticks),       cmocka_unit_test(test_legend),
        cmocka_unit_test(test_labels), cmocka_unit_test(test_memory_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
