/* Time by policy: to the first token, of the compression, per token; and after how many tokens faster
 * decoding has paid for the compression. */
#include "report/chart_int.h"

#include <math.h>
#include <string.h>

enum { MOST_LINES = 16, ROW = 19, HEAD = 24, GAP = 14, N_MEASURES = 3 };

static double value_of(const kvl_time_line *l, size_t measure) {
    return measure == 0 ? l->ttft_ns : measure == 1 ? l->compress_ns : l->tpot_ns;
}

static size_t n_lines(const kvl_time_content *t) { return kvl_min_size(t->n, MOST_LINES); }

static const char *measure_name(size_t measure, kvl_lang lang) {
    static const char *const en[] = {"TTFT: to the first token", "compression", "TPOT: each later token"};
    static const char *const zh[] = {"TTFT：到第一个 token", "压缩", "TPOT：其后每个 token"};
    return kvl_word(lang, en[measure], zh[measure]);
}

static double rest_height(const kvl_time_content *t) { return t->n > n_lines(t) ? ROW : 0; }

static void draw_rest(kvl_figure *f, const kvl_time_content *t, kvl_lang lang) {
    kvl_str text = {0};
    if (rest_height(t) > 0) {
        KVL_SAY(&text, lang, "the first %zu of %zu policies", "仅前 %zu 种策略，共 %zu 种", n_lines(t), t->n);
        kvl_figure_text(f, KVLI_PAD, kvl_figure_height(f) - KVLI_PAD - ROW / 2.0, KVLI_SMALL, KVL_ALIGN_LEFT,
                        KVL_INK_SOFT, 0, kvl_str_text(&text));
    }
    kvl_str_free(&text);
}

/* A duration in the unit that suits it. */
static void put_time(kvl_str *out, double ns) {
    static const struct {
        double ns;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}};
    size_t u = 0;
    while (u < 2 && ns < units[u].ns) {
        u++;
    }
    const double value = ns / units[u].ns;
    if (value < 99999.5) {
        kvl_str_printf(out, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[u].unit);
    } else {
        kvl_str_printf(out, "%.3g %s", value, units[u].unit);
    }
}

/* Time and, but for the full cache, its ratio. */
static void put_label(kvl_str *out, const kvl_time_content *t, size_t i, size_t measure) {
    const double value = value_of(&t->lines[i], measure);
    const double full = value_of(&t->lines[0], measure);
    if (!isfinite(value) || value < 0) {
        kvl_str_puts(out, "–");
        return;
    }
    if (measure == 1 && value == 0) {
        kvl_str_puts(out, "0");
        return;
    }
    put_time(out, value);
    if (i > 0 && measure != 1 && full > 0) {
        kvl_str_printf(out, value / full < 1000 ? "  ×%.2f" : "  ×%.3g", value / full);
    }
}

/* Bytes at the end of their texts that all policies share (":cap=32:skip=0"): names do without. */
static size_t shared_ending(const kvl_time_content *t) {
    const char *last = t->lines[n_lines(t) - 1].policy;
    const size_t n_last = strlen(last);
    size_t shared = 0;
    for (size_t n = 1; n < n_last && n_lines(t) > 2; n++) {
        const char *ending = last + n_last - n;
        for (size_t i = 1; i < n_lines(t); i++) {
            const size_t n_own = strlen(t->lines[i].policy);
            if (n_own <= n || strcmp(t->lines[i].policy + n_own - n, ending) != 0) {
                return shared;
            }
        }
        shared = *ending == ':' ? n : shared;
    }
    return shared;
}

/* The name of a policy, good until the next call for this string. */
static const char *name_of(kvl_str *name, const kvl_time_content *t, size_t i) {
    const size_t n = strlen(t->lines[i].policy);
    kvl_str_clear(name);
    kvl_str_append(name, t->lines[i].policy, i == 0 ? n : n - shared_ending(t));
    return kvl_str_text(name);
}

static double longest_name(kvl_figure *f, const kvl_time_content *t) {
    kvl_str name = {0};
    double width = 0;
    for (size_t i = 0; i < n_lines(t); i++) {
        width = fmax(width, kvl_figure_measure(f, KVLI_SMALL, name_of(&name, t, i)));
    }
    kvl_str_free(&name);
    return width;
}

static void draw_names(kvl_figure *f, const kvl_time_content *t, double x, double y, double w) {
    kvl_str name = {0};
    for (size_t i = 0; i < n_lines(t); i++) {
        kvl_figure_text(f, x, y + ROW * ((double)i + 0.5), KVLI_SMALL, KVL_ALIGN_LEFT, KVL_INK_TEXT, w,
                        name_of(&name, t, i));
    }
    kvl_str_free(&name);
}

/* Bars of one measure from x on, labels behind them. */
static void draw_bars(kvl_figure *f, const kvl_time_content *t, size_t measure, double x, double y,
                      double w) {
    double most = 0;
    double room = 0;
    kvl_str label = {0};
    for (size_t i = 0; i < n_lines(t); i++) {
        const double value = value_of(&t->lines[i], measure);
        kvl_str_clear(&label);
        put_label(&label, t, i, measure);
        room = fmax(room, kvl_figure_measure(f, KVLI_SMALL, kvl_str_text(&label)));
        most = isfinite(value) ? fmax(most, value) : most;
    }
    const double length = fmax(w - room - 6, 4);
    for (size_t i = 0; i < n_lines(t); i++) {
        const double value = value_of(&t->lines[i], measure);
        const double share = isfinite(value) && value > 0 && most > 0 ? value / most : 0;
        const double top = y + ROW * (double)i;
        kvl_str_clear(&label);
        kvl_str_printf(&label, "%s\n", t->lines[i].policy);
        put_label(&label, t, i, measure);
        kvl_figure_rect(f, x, top + 4, length * share, ROW - 8,
                        i == 0 ? KVL_INK_SOFT : kvli_series_ink(measure), 0.85, kvl_str_text(&label));
        kvl_str_clear(&label);
        put_label(&label, t, i, measure);
        kvl_figure_text(f, x + length * share + 5, top + ROW / 2.0, KVLI_SMALL, KVL_ALIGN_LEFT, KVL_INK_SOFT,
                        w - length * share - 5, kvl_str_text(&label));
    }
    kvl_figure_line(f, x, y, x, y + ROW * (double)n_lines(t), (kvl_stroke){.ink = KVL_INK_SOFT, .width = 1});
    kvl_str_free(&label);
}

/* ---- time ---- */

static bool has_time(const kvl_content *c) { return c->time != NULL && c->time->n != 0; }

static double time_height(const kvl_content *c, double width) {
    const double panel = HEAD + ROW * (double)n_lines(c->time);
    return 2 * KVLI_PAD + (kvli_is_narrow(width) ? N_MEASURES * (panel + GAP) - GAP : panel) +
           rest_height(c->time);
}

static void draw_time(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const kvl_time_content *t = c->time;
    const bool is_narrow = kvli_is_narrow(kvl_figure_width(f));
    const double w = kvl_figure_width(f) - 2 * KVLI_PAD;
    const double names = fmin(longest_name(f, t), (is_narrow ? 0.38 : 0.27) * w);
    const double columns = is_narrow ? 1 : N_MEASURES;
    const double own = (w - names - GAP * columns) / columns;
    for (size_t m = 0; m < N_MEASURES; m++) {
        const double x = KVLI_PAD + names + GAP + (is_narrow ? 0 : (own + GAP) * (double)m);
        const double y = KVLI_PAD + (is_narrow ? (HEAD + ROW * (double)n_lines(t) + GAP) * (double)m : 0);
        kvl_figure_text(f, is_narrow ? KVLI_PAD : x, y + HEAD / 2.0 - 2, KVLI_SIZE, KVL_ALIGN_LEFT,
                        KVL_INK_TEXT, is_narrow ? w : own, measure_name(m, lang));
        if (is_narrow || m == 0) {
            draw_names(f, t, KVLI_PAD, y + HEAD, names);
        }
        draw_bars(f, t, m, x, y + HEAD, own);
    }
    draw_rest(f, t, lang);
}

static void describe_time(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const kvl_time_content *t = c->time;
    const kvl_time_line *fastest = NULL;
    KVL_SAY(out, lang,
            "Medians of %zu repetitions with a prompt of %zu tokens and %zu new ones, and ratios to the full "
            "cache.",
            "重复 %zu 次的中位数，提示 %zu 个 token，生成 %zu 个；并给出与完整缓存之比。", t->n_repetitions,
            t->n_prompt, t->n_new);
    for (size_t i = 0; i < t->n; i++) {
        const kvl_time_line *l = &t->lines[i];
        fastest = isfinite(l->tpot_ns) && (fastest == NULL || l->tpot_ns < fastest->tpot_ns) ? l : fastest;
    }
    if (isfinite(t->lines[0].ttft_ns) && isfinite(t->lines[0].tpot_ns)) {
        kvl_str_puts(out, kvl_word(lang, " Full cache: TTFT ", "完整缓存：TTFT "));
        put_time(out, t->lines[0].ttft_ns);
        kvl_str_puts(out, kvl_word(lang, ", TPOT ", "，TPOT "));
        put_time(out, t->lines[0].tpot_ns);
        kvl_str_puts(out, kvl_word(lang, ".", "。"));
    }
    if (fastest != NULL && fastest != &t->lines[0]) {
        KVL_SAY(out, lang, " Lowest median TPOT: %s, ", "TPOT 中位数最低：%s，", fastest->policy);
        put_time(out, fastest->tpot_ns);
        kvl_str_puts(out, kvl_word(lang, ".", "。"));
    }
}

const kvl_chart kvli_chart_time = {.id = "time",
                                   .title_en = "Time by policy",
                                   .title_zh = "各策略的时间",
                                   .has = has_time,
                                   .height = time_height,
                                   .draw = draw_time,
                                   .describe = describe_time};

/* ---- break-even ---- */

/* New tokens after which the compression has paid; INFINITY: never, as decoding is no faster; NAN: not known.
 */
static double break_even(const kvl_time_content *t, size_t i) {
    const double saved = t->lines[0].tpot_ns - t->lines[i].tpot_ns;
    const double cost = t->lines[i].compress_ns;
    if (i == 0 || !isfinite(saved) || !isfinite(cost) || cost < 0) {
        return (double)NAN;
    }
    return saved > 0 ? ceil(cost / saved) : (double)INFINITY;
}

static bool has_break_even(const kvl_content *c) {
    for (size_t i = 1; has_time(c) && i < n_lines(c->time); i++) {
        if (!isnan(break_even(c->time, i))) {
            return true;
        }
    }
    return false;
}

static double break_even_height(const kvl_content *c, double width) {
    (void)width;
    return 2 * KVLI_PAD + HEAD + ROW * (double)(n_lines(c->time) - 1) + 44 + rest_height(c->time);
}

static void put_break_even(kvl_str *out, double tokens, kvl_lang lang) {
    if (isnan(tokens)) {
        kvl_str_puts(out, "–");
    } else if (isinf(tokens)) {
        kvl_str_puts(out, kvl_word(lang, "never: no faster", "从不：并未变快"));
    } else if (tokens < 1) {
        kvl_str_puts(out, kvl_word(lang, "at once", "立即"));
    } else {
        kvl_str_printf(out, "%.0f", tokens);
    }
}

/* The scale ends at a power of ten above all. */
static double most_tokens(const kvl_time_content *t) {
    double most = 10;
    for (size_t i = 1; i < n_lines(t); i++) {
        const double tokens = break_even(t, i);
        most = isfinite(tokens) ? fmax(most, tokens) : most;
    }
    return fmin(pow(10, ceil(log10(most) + 0.05)), 1e15);
}

static void draw_break_even(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const kvl_time_content *t = c->time;
    const double w = kvl_figure_width(f) - 2 * KVLI_PAD;
    const size_t n = n_lines(t) - 1;
    kvl_str texts[MOST_LINES] = {{0}};
    const char *names[MOST_LINES] = {0};
    kvl_plot p;
    for (size_t i = 0; i < n; i++) {
        names[i] = name_of(&texts[i], t, i + 1);
    }
    kvl_plot_begin(&p, f, KVLI_PAD, KVLI_PAD, w, kvl_figure_height(f) - 2 * KVLI_PAD - rest_height(t),
                   (kvl_axis){.min = 0.5,
                              .max = most_tokens(t),
                              .is_log = true,
                              .label = kvl_word(lang, "new tokens until it has paid (log scale)",
                                                "回本所需的新 token 数（对数刻度）")},
                   (kvl_axis){.min = (double)n - 0.5, .max = -0.5, .names = names, .n_names = n});
    for (size_t i = 0; i < n; i++) {
        const double tokens = break_even(t, i + 1);
        const double y = kvl_plot_y(&p, (double)i);
        const double end = isfinite(tokens) ? kvl_plot_x(&p, fmax(tokens, 0.6)) : p.left;
        kvl_str label = {0};
        put_break_even(&label, tokens, lang);
        if (isfinite(tokens)) {
            kvl_figure_rect(f, p.left, y - 5, end - p.left, 10, KVL_INK_SERIES, 0.85, kvl_str_text(&label));
        }
        const double width = kvl_figure_measure(f, KVLI_SMALL, kvl_str_text(&label));
        const bool has_room = end + 5 + width < p.right;
        kvl_figure_text(
            f, has_room ? end + 5 : end - 5, y, KVLI_SMALL, has_room ? KVL_ALIGN_LEFT : KVL_ALIGN_RIGHT,
            has_room ? (isinf(tokens) ? KVL_INK_BAD : KVL_INK_SOFT) : KVL_INK_PAGE, 0, kvl_str_text(&label));
        kvl_str_free(&label);
    }
    for (size_t i = 0; i < n; i++) {
        kvl_str_free(&texts[i]);
    }
    draw_rest(f, t, lang);
}

static void describe_break_even(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const kvl_time_content *t = c->time;
    size_t n_never = 0;
    size_t n_known = 0;
    size_t first = 0;
    for (size_t i = 1; i < t->n; i++) {
        const double tokens = break_even(t, i);
        n_known += isnan(tokens) ? 0U : 1U;
        if (isinf(tokens)) {
            n_never++;
        }
        if (isfinite(tokens) && (first == 0 || tokens < break_even(t, first))) {
            first = i;
        }
    }
    KVL_SAY(out, lang,
            "After how many new tokens the time saved per token has paid for the compression, from medians "
            "of %zu "
            "repetitions; for %zu of %zu policies never, as their tokens are no faster.",
            "按 %zu 次重复的中位数，生成多少新 token 后每 token 省下的时间能抵过压缩开销；%zu 种策略（共 %zu "
            "种）从不回本，因为每 token 并未变快。",
            t->n_repetitions, n_never, n_known);
    if (first != 0) {
        KVL_SAY(out, lang, " Soonest: %s, after %.0f.", "最早：%s，%.0f 个 token。", t->lines[first].policy,
                break_even(t, first));
    }
}

const kvl_chart kvli_chart_breakeven = {.id = "breakeven",
                                        .title_en = "When compression has paid",
                                        .title_zh = "压缩何时回本",
                                        .has = has_break_even,
                                        .height = break_even_height,
                                        .draw = draw_break_even,
                                        .describe = describe_break_even};
