/* The curve in characters, read as a person reads it: marks against the numbers of the axes. */
#include "support.h"

#include "report/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LINES = 40, MOST_COLUMNS = 200, MOST_TICKS = 40 };

typedef struct picture {
    uint32_t at[MOST_LINES][MOST_COLUMNS]; /* code points; 0 behind the end of a line */
    size_t n_columns[MOST_LINES];
    size_t n_lines;
} picture;

static kvl_report_row rows[64];

static kvl_report report_of(size_t n) {
    return (kvl_report){.title = "t", .protocol = "p", .how = "h", .command = "c", .rows = rows, .n_rows = n};
}

static kvl_report_row row_of(const char *press, double keep, double ppl, double half) {
    return (kvl_report_row){.press = press,
                            .policy = press,
                            .keep_ratio = keep,
                            .ppl = ppl,
                            .delta = {.mean = log(ppl / 60),
                                      .low = log(ppl / 60) - half,
                                      .high = log(ppl / 60) + half,
                                      .n_clusters = 30,
                                      .has_interval = half > 0,
                                      .p = 0.01},
                            .is_baseline = strcmp(press, "none") == 0,
                            .has_evicted = strcmp(press, "none") != 0};
}

static kvl_str written(const kvl_report *r, size_t width, bool has_color) {
    kvl_str out = {0};
    kvl_plot_curve(&out, r, width, has_color);
    assert_false(out.failed);
    return out;
}

/* Fails for anything but printable ASCII and Braille dots: both are one column wide wherever they are shown.
 */
static picture *read_picture(const kvl_report *r, size_t width) {
    static picture p;
    kvl_str text = written(r, width, false);
    memset(&p, 0, sizeof p);
    for (const unsigned char *c = (const unsigned char *)kvl_str_text(&text); *c != '\0'; c++) {
        assert_true(p.n_lines < MOST_LINES && p.n_columns[p.n_lines] < MOST_COLUMNS);
        if (*c == '\n') {
            p.n_lines++;
            continue;
        }
        uint32_t code = *c;
        if (code >= 0x80) {
            assert_int_equal(*c, 0xe2);
            code = (uint32_t)(c[0] & 0xf) << 12 | (uint32_t)(c[1] & 0x3f) << 6 | (uint32_t)(c[2] & 0x3f);
            assert_in_range(code, 0x2801, 0x28ff);
            c += 2;
        } else {
            assert_in_range(code, 0x20, 0x7e);
        }
        p.at[p.n_lines][p.n_columns[p.n_lines]++] = code;
    }
    for (size_t i = 0; i < p.n_lines; i++) {
        assert_true(p.n_columns[i] <= width);
    }
    kvl_str_free(&text);
    return &p;
}

static const char *line_text(const picture *p, size_t line, size_t from, size_t end) {
    static char text[MOST_COLUMNS + 1];
    size_t n = 0;
    for (size_t i = from; i < end && i < p->n_columns[line]; i++) {
        text[n++] = p->at[line][i] < 0x80 ? (char)p->at[line][i] : '~';
    }
    text[n] = '\0';
    return text;
}

/* ---- axes ---- */

typedef struct scale {
    double value[MOST_TICKS], place[MOST_TICKS];
    size_t n;
} scale;

/* Where a value stands by two of the numbers of an axis. */
static double place_of(const scale *s, double value, bool is_log) {
    assert_true(s->n >= 2);
    const double a = is_log ? log(s->value[0]) : s->value[0];
    const double b = is_log ? log(s->value[s->n - 1]) : s->value[s->n - 1];
    const double v = is_log ? log(value) : value;
    return s->place[0] + (v - a) / (b - a) * (s->place[s->n - 1] - s->place[0]);
}

static double number_at(const char *text) {
    char *end = NULL;
    const double x = strtod(text, &end);
    return *end == 'k' ? 1e3 * x : *end == 'M' ? 1e6 * x : *end == 'G' ? 1e9 * x : x;
}

/* Numbers at the left, in front of the axis. */
static scale read_y(const picture *p) {
    scale s = {0};
    for (size_t i = 1; i < p->n_lines && p->at[i][8] >= 0x2800; i++) {
        const char *text = line_text(p, i, 0, 8);
        if (strspn(text, " ") < strlen(text)) {
            s.value[s.n] = number_at(text);
            s.place[s.n++] = (double)i;
        }
    }
    return s;
}

/* The line of the numbers below the axis. */
static size_t foot_of(const picture *p) {
    size_t i = 1;
    while (p->at[i][8] >= 0x2800) {
        i++;
    }
    return i;
}

static scale read_x(const picture *p) {
    scale s = {0};
    const char *text = line_text(p, foot_of(p), 0, MOST_COLUMNS);
    for (size_t i = 0; text[i] != '\0';) {
        const size_t n = strcspn(text + i, " ");
        if (n != 0) {
            s.value[s.n] = number_at(text + i);
            s.place[s.n++] = (double)i + (double)(n / 2);
        }
        i += n + strspn(text + i + n, " ");
    }
    return s;
}

/* The sign nearest to where the axes put a row is at most a character away; ticks stand in the middle of
 * their characters, so that half of one is theirs. */
static void check_marks(const picture *p, const kvl_report *r, const char *press, char sign, bool is_log) {
    const scale x = read_x(p);
    const scale y = read_y(p);
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        if (strcmp(row->press, press) != 0 || !isfinite(row->ppl)) {
            continue;
        }
        const double line = place_of(&y, row->ppl, is_log);
        const double column = place_of(&x, row->keep_ratio, false);
        double least = 1e9;
        for (size_t l = 1; l < foot_of(p) - 1; l++) {
            for (size_t c = 9; c < p->n_columns[l]; c++) {
                if (p->at[l][c] == (uint32_t)sign) {
                    least = fmin(least, fmax(fabs((double)l - line), fabs((double)c - column)));
                }
            }
        }
        if (!(least <= 1)) {
            fail_msg("%s at %g: expected line %.2f, column %.2f; the nearest '%c' is %.2f away", press,
                     row->keep_ratio, line, column, sign, least);
        }
    }
}

static size_t count_signs(const picture *p, char sign) {
    size_t n = 0;
    for (size_t l = 1; l + 1 < foot_of(p); l++) {
        for (size_t c = 9; c < p->n_columns[l]; c++) {
            n += p->at[l][c] == (uint32_t)sign;
        }
    }
    return n;
}

/* ---- tests ---- */

static size_t make_one(void) {
    size_t n = 0;
    rows[n++] = row_of("none", 1, 60.49, 0);
    rows[n++] = row_of("KNORM", 0.95, 181.26, 0.3);
    rows[n++] = row_of("KNORM", 0.9, 119.75, 0.2);
    rows[n++] = row_of("KNORM", 0.5, 87.0, 0.15);
    rows[n++] = row_of("KNORM", 0.4, 83.37, 0.1);
    return n;
}

static void test_one_press(void **state) {
    (void)state;
    static const size_t widths[] = {48, 64, 80, 160};
    for (size_t i = 0; i < 4; i++) {
        const kvl_report r = report_of(make_one());
        const picture *p = read_picture(&r, widths[i]);
        check_marks(p, &r, "KNORM", 'o', false);
        assert_string_equal(line_text(p, 0, 0, MOST_COLUMNS), "perplexity (of all scored tokens)");
        assert_non_null(strstr(line_text(p, p->n_lines - 1, 0, MOST_COLUMNS), "o KNORM"));
        assert_non_null(strstr(line_text(p, p->n_lines - 1, 0, MOST_COLUMNS), "full cache 60.49"));
        assert_in_range(p->n_lines, 20, 24);
        /* the dashes lie in the line of the full cache, as nowhere else */
        const scale y = read_y(p);
        const size_t line = (size_t)lround(place_of(&y, 60.49, false));
        size_t n_dots = 0;
        for (size_t c = 9; c < p->n_columns[line]; c++) {
            n_dots += p->at[line][c] >= 0x2800;
        }
        assert_true(2 * n_dots + 4 >= p->n_columns[line] - 9);
    }
}

static void test_names(void **state) {
    (void)state;
    const kvl_report r = report_of(make_one());
    kvl_str text = written(&r, 80, false);
    assert_non_null(strstr(kvl_str_text(&text), "worst 181.26 at 0.95"));
    assert_non_null(strstr(kvl_str_text(&text), "best 83.37 at 0.4"));
    kvl_str_free(&text);
    /* names cover no mark */
    for (size_t width = 48; width <= 160; width++) {
        const picture *p = read_picture(&r, width);
        size_t n_letters = 0; /* of "worst" */
        for (size_t l = 0; l < foot_of(p); l++) {
            n_letters += strstr(line_text(p, l, 9, MOST_COLUMNS), "worst ") != NULL;
        }
        assert_int_equal(count_signs(p, 'o'), 4 + n_letters);
    }
}

/* Perplexities of many sizes: a log scale, also with fewer lines than powers of ten. */
static void test_many_presses(void **state) {
    (void)state;
    static const double tops[] = {90, 900, 1e5, 1e12};
    for (size_t k = 0; k < 4; k++) {
        size_t n = 0;
        rows[n++] = row_of("none", 1, 60, 0);
        for (size_t i = 0; i < 6; i++) {
            rows[n++] = row_of("A", 0.9 - 0.1 * (double)i, 60 * pow(tops[k] / 60, (double)i / 5), 0.05);
        }
        for (size_t i = 0; i < 6; i++) {
            rows[n++] = row_of("B", 0.85 - 0.1 * (double)i, 62 + (double)i, 0);
        }
        const kvl_report r = report_of(n);
        const picture *p = read_picture(&r, 80);
        const bool is_log = k > 0;
        assert_int_equal(strstr(line_text(p, 0, 0, MOST_COLUMNS), "log scale") != NULL, is_log);
        check_marks(p, &r, "A", 'o', is_log);
        check_marks(p, &r, "B", 'x', is_log);
        assert_non_null(strstr(line_text(p, p->n_lines - 1, 0, MOST_COLUMNS), "o A  x B"));
    }
}

/* An interval is a dotted bar from its lower to its upper end, which the axis tells. */
static void test_intervals(void **state) {
    (void)state;
    size_t n = 0;
    rows[n++] = row_of("none", 1, 60, 0);
    rows[n++] = row_of("A", 0.7, 100, 0.4);
    rows[n++] = row_of("A", 0.3, 100, 0);
    const kvl_report r = report_of(n);
    const picture *p = read_picture(&r, 80);
    const scale x = read_x(p);
    const scale y = read_y(p);
    const size_t column = (size_t)lround(place_of(&x, 0.7, false));
    size_t highest = 0;
    size_t lowest = 0;
    for (size_t l = 1; l + 1 < foot_of(p); l++) {
        bool is_there = false;
        for (size_t c = column - 1; c <= column + 1; c++) {
            is_there |=
                p->at[l][c] != 0 && p->at[l][c] != ' ' && l != (size_t)lround(place_of(&y, 60, false));
        }
        highest = is_there && highest == 0 ? l : highest;
        lowest = is_there ? l : lowest;
    }
    assert_true(fabs((double)highest - place_of(&y, 100 * exp(0.4), false)) <= 1);
    assert_true(fabs((double)lowest - place_of(&y, 100 * exp(-0.4), false)) <= 1);
}

static void test_odd_numbers(void **state) {
    (void)state;
    size_t n = 0;
    kvl_report r = report_of(0);
    kvl_str text = written(&r, 80, true);
    assert_int_equal(text.len, 0);
    kvl_str_free(&text);
    rows[n++] = row_of("none", 1, (double)NAN, 0);
    r = report_of(n);
    text = written(&r, 80, true);
    assert_int_equal(text.len, 0); /* no press */
    kvl_str_free(&text);
    rows[n++] = row_of("A", 0.5, (double)INFINITY, 0);
    rows[n++] = row_of("A", (double)NAN, 70, 0);
    r = report_of(n);
    assert_int_equal(count_signs(read_picture(&r, 80), 'o'), 0);
    rows[n++] = row_of("A", 0.4, 70, 0);
    r = report_of(n);
    assert_int_equal(count_signs(read_picture(&r, 80), 'o'), 1);
    r = report_of(make_one());
    kvl_str wide = written(&r, 100000, false);
    kvl_str most = written(&r, KVL_PLOT_MOST_WIDTH, false);
    assert_string_equal(kvl_str_text(&wide), kvl_str_text(&most));
    kvl_str_free(&wide);
    kvl_str_free(&most);
}

/* Names do not act on the terminal, and take one column a byte. */
static void test_hostile_names(void **state) {
    (void)state;
    static const char name[] = "\x1b[2J\n\xe5\xae\xbd\x9b%n";
    size_t n = 0;
    rows[n++] = row_of("none", 1, 60, 0);
    rows[n++] = row_of(name, 0.5, 100, 0);
    rows[n++] = row_of(name, 0.4, 90, 0);
    rows[n++] = row_of("B", 0.4, 80, 0);
    const kvl_report r = report_of(n);
    const picture *p = read_picture(&r, 80);
    assert_non_null(strstr(line_text(p, p->n_lines - 1, 0, MOST_COLUMNS), "o ?[2J?????%n"));
}

/* More presses than signs: the first are drawn, which is said; long names are broken into lines. */
static void test_too_many(void **state) {
    (void)state;
    static char names[12][40];
    size_t n = 0;
    rows[n++] = row_of("none", 1, 60, 0);
    for (size_t i = 0; i < 12; i++) {
        snprintf(names[i], sizeof names[i], "press_with_a_name_%02zu", i);
        rows[n++] = row_of(names[i], 0.5, 70 + (double)i, 0);
    }
    const kvl_report r = report_of(n);
    const picture *p = read_picture(&r, 60);
    assert_non_null(strstr(line_text(p, p->n_lines - 1, 0, MOST_COLUMNS), "the first 8 of 12 presses"));
}

/* Colours are all that they add. */
static void test_colors(void **state) {
    (void)state;
    size_t n = make_one();
    rows[n++] = row_of("B", 0.5, 70, 0);
    const kvl_report r = report_of(n);
    kvl_str plain = written(&r, 80, false);
    kvl_str colored = written(&r, 80, true);
    kvl_str stripped = {0};
    assert_null(strchr(kvl_str_text(&plain), 0x1b));
    assert_non_null(strstr(kvl_str_text(&colored), "\x1b[0;36m"));
    assert_non_null(strstr(kvl_str_text(&colored), "\x1b[0;33m"));
    for (const char *c = kvl_str_text(&colored); *c != '\0';) {
        if (*c == 0x1b) {
            c += strcspn(c, "m") + 1;
        } else {
            kvl_str_append(&stripped, c++, 1);
        }
    }
    assert_string_equal(kvl_str_text(&stripped), kvl_str_text(&plain));
    /* no line ends in a colour */
    for (const char *end = strchr(kvl_str_text(&colored), '\n'); end != NULL; end = strchr(end + 1, '\n')) {
        const char *last = end;
        while (last > kvl_str_text(&colored) && *last != 0x1b) {
            last--;
        }
        assert_true(*last != 0x1b || strncmp(last, "\x1b[0m", 4) == 0);
    }
    kvl_str_free(&plain);
    kvl_str_free(&colored);
    kvl_str_free(&stripped);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_press),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_many_presses), cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_odd_numbers),  cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_too_many),     cmocka_unit_test(test_colors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
