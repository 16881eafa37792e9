/* Quality, bytes and time: what each setting costs, and which ones no other beats.
 *
 * Settings come from a recommendation; without one, from a sweep and what was timed of its policies.
 */
#include "report/chart_int.h"

#include "base/alloc.h"
#include "stats/choice.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAMED = 10, MOST_BARS = 60 };

typedef struct point {
    const char *policy, *cache; /* cache NULL: not said */
    kvl_estimate loss;
    double bytes, ttft, tpot; /* times as ratios to the full cache; NAN: not measured */
    bool is_answer, is_full, is_behind, is_hollow;
    size_t number; /* on the list; 0: not named */
} point;

typedef struct trade {
    point *points; /* [n] by rising bytes */
    size_t n, n_front, n_named;
    double full_bytes; /* 0: not known */
    double max_loss, max_bytes;
    bool is_choice;
} trade;

/* ---- from where ---- */

static void add_choices(trade *t, const kvl_choice_content *c) {
    for (size_t i = 0; i < c->n; i++) {
        const kvl_choice_line *l = &c->lines[i];
        const bool is_plain = strcmp(l->cache, "f32") == 0 || strcmp(l->cache, "f32/f32") == 0;
        if (isfinite(l->loss.mean) && l->kv_bytes > 0) {
            t->points[t->n++] = (point){.policy = l->policy,
                                        .cache = is_plain ? NULL : l->cache,
                                        .loss = l->loss,
                                        .bytes = l->kv_bytes,
                                        .ttft = l->ttft_ratio,
                                        .tpot = l->tpot_ratio,
                                        .is_answer = l->is_answer,
                                        .is_full = l->is_full,
                                        .is_behind = l->is_behind,
                                        .is_hollow = !l->qualifies && !l->is_full};
            t->full_bytes = l->is_full ? l->kv_bytes : t->full_bytes;
        }
    }
    t->is_choice = true;
    t->max_loss = c->max_loss;
    t->max_bytes = c->max_bytes;
}

static const kvl_time_line *time_of(const kvl_time_content *time, const char *policy) {
    for (size_t i = 0; time != NULL && i < time->n; i++) {
        if (strcmp(time->lines[i].policy, policy) == 0) {
            return &time->lines[i];
        }
    }
    return NULL;
}

static void add_rows(trade *t, const kvl_report *r, const kvl_time_content *time) {
    const kvl_report_row *full = kvli_full_row(r);
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        const kvl_time_line *l = time_of(time, row->policy);
        if ((row->has_evicted || row == full) && isfinite(row->delta.mean) && row->kv_bytes != 0) {
            t->points[t->n++] =
                (point){.policy = row->policy,
                        .loss = row->delta,
                        .bytes = (double)row->kv_bytes,
                        .is_full = row == full,
                        .ttft = l != NULL ? l->ttft_ns / time->lines[0].ttft_ns : (double)NAN,
                        .tpot = l != NULL ? l->tpot_ns / time->lines[0].tpot_ns : (double)NAN};
        }
    }
    t->full_bytes = full != NULL ? (double)full->kv_bytes : 0;
}

static int by_bytes(const void *a, const void *b) {
    const point *x = a;
    const point *y = b;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Of a sweep: by loss and bytes, and by times where all were timed. */
static void find_front(trade *t) {
    enum { N_DIMS = 4 };
    static const double none[N_DIMS] = {0};
    double *values = kvl_calloc(N_DIMS * t->n, sizeof *values);
    bool *is_behind = kvl_calloc(t->n, sizeof *is_behind);
    bool has_times = true;
    for (size_t i = 0; i < t->n; i++) {
        has_times = has_times && isfinite(t->points[i].ttft) && isfinite(t->points[i].tpot);
    }
    for (size_t i = 0; i < t->n && values != NULL; i++) {
        const point *p = &t->points[i];
        const double own[N_DIMS] = {p->loss.mean, p->bytes, has_times ? p->ttft : 0, has_times ? p->tpot : 0};
        memcpy(values + i * N_DIMS, own, sizeof own);
    }
    if (values != NULL && is_behind != NULL) {
        kvl_front(is_behind, values, none, t->n, N_DIMS);
        for (size_t i = 0; i < t->n; i++) {
            t->points[i].is_behind = is_behind[i];
        }
    }
    kvl_free(is_behind);
    kvl_free(values);
}

/* points is the caller's; NULL: there are none, or memory ended. */
static trade make(const kvl_content *c) {
    trade t = {.max_loss = (double)NAN};
    const size_t n_most = c->choice != NULL ? c->choice->n : c->sweep != NULL ? c->sweep->n_rows : 0;
    t.points = kvl_calloc(n_most, sizeof *t.points);
    if (t.points == NULL) {
        return t;
    }
    if (c->choice != NULL) {
        add_choices(&t, c->choice);
    } else if (c->sweep != NULL) {
        add_rows(&t, c->sweep, c->time);
    }
    if (t.n > 1) {
        qsort(t.points, t.n, sizeof *t.points, by_bytes);
    }
    if (!t.is_choice) {
        find_front(&t);
    }
    for (size_t i = 0; i < t.n; i++) {
        point *p = &t.points[i];
        const bool is_front = !p->is_behind && !p->is_full;
        t.n_front += is_front;
        if (p->is_answer || (is_front && t.n_named < MOST_NAMED)) {
            p->number = ++t.n_named;
        }
    }
    return t;
}

static bool has(const kvl_content *c) {
    trade t = make(c);
    size_t n = 0;
    for (size_t i = 0; i < t.n; i++) {
        n += !t.points[i].is_full;
    }
    kvl_free(t.points);
    return n != 0;
}

/* ---- drawing ---- */

static double share_of(const trade *t, double bytes) {
    return t->full_bytes > 0 ? 100 * bytes / t->full_bytes : bytes / 1024;
}

static void find_axes(const trade *t, kvl_axis *x, kvl_axis *y, kvl_lang lang) {
    kvli_range across = KVLI_NO_RANGE;
    kvli_range up = {0, 0};
    const bool has_limit = isfinite(t->max_loss);
    for (size_t i = 0; i < t->n; i++) {
        const point *p = &t->points[i];
        const double most = has_limit ? 4 * fabs(t->max_loss) : 3 * fabs(p->loss.mean) + 0.1;
        kvli_widen(&across, share_of(t, p->bytes));
        kvli_widen(&up, p->loss.mean);
        if (p->loss.has_interval) { /* wide ones would flatten all others: they are cut */
            kvli_widen(&up, fmax(p->loss.low, fmin(p->loss.mean, -most)));
            kvli_widen(&up, fmin(p->loss.high, fmax(p->loss.mean, most)));
        }
    }
    if (has_limit) {
        kvli_widen(&up, 1.2 * t->max_loss);
    }
    if (t->max_bytes > 0) {
        kvli_widen(&across, share_of(t, t->max_bytes));
    }
    up = kvli_with_margin(up, 0.08);
    *x = (kvl_axis){
        .min = across.low / 1.2,
        .max = across.high * 1.2,
        .is_log = true,
        .label = t->full_bytes > 0
                     ? kvl_word(lang, "cache at the end, % of the full one (log scale)",
                                "结束时的缓存，占完整缓存的 %（对数刻度）")
                     : kvl_word(lang, "cache at the end, KiB (log scale)", "结束时的缓存，KiB（对数刻度）")};
    *y = (kvl_axis){.min = up.low,
                    .max = up.high,
                    .label = t->is_choice ? kvl_word(lang, "loss on held-out texts, nats per token",
                                                     "留出文本上的损失，nats/token")
                                          : kvl_word(lang, "loss against the full cache, nats per token",
                                                     "相对完整缓存的损失，nats/token")};
}

static void put_name(kvl_str *out, const point *p) {
    kvl_str_puts(out, p->policy);
    if (p->cache != NULL) { /* "q8_0/q8_0" is said once */
        const size_t n = strcspn(p->cache, "/");
        const bool is_same = p->cache[n] == '/' && strlen(p->cache) == 2 * n + 1 &&
                             strncmp(p->cache, p->cache + n + 1, n) == 0;
        kvl_str_printf(out, ", %.*s", is_same ? (int)n : INT_MAX, p->cache);
    }
}

/* Bytes, loss and time of a point. */
static void put_figures(kvl_str *out, const trade *t, const point *p, kvl_lang lang) {
    if (t->full_bytes > 0) {
        kvl_str_printf(out, "%.3g %%", share_of(t, p->bytes));
    } else {
        kvl_str_printf(out, "%.4g KiB", p->bytes / 1024);
    }
    kvl_str_puts(out, kvl_word(lang, ", ", "，"));
    kvli_put_estimate(out, &p->loss);
    if (isfinite(p->tpot)) {
        KVL_SAY(out, lang, ", TPOT ×%.2f", "，TPOT ×%.2f", p->tpot);
    }
}

static void draw_point(const kvl_plot *plot, const trade *t, const point *p, kvl_lang lang) {
    const double x = kvl_plot_x(plot, share_of(t, p->bytes));
    const double y = kvl_plot_y(plot, p->loss.mean);
    const kvl_ink ink = p->is_behind ? KVL_INK_SOFT : KVL_INK_SERIES;
    kvl_str tip = {0};
    put_name(&tip, p);
    kvl_str_puts(&tip, "\n");
    put_figures(&tip, t, p, lang);
    if (p->is_full) {
        kvl_figure_mark(plot->figure, x, y, 5, KVL_MARK_SQUARE, KVL_INK_TEXT, kvl_str_text(&tip));
    } else {
        if (p->loss.has_interval && (!p->is_behind || t->n <= MOST_BARS)) {
            kvli_bar(plot->figure, x, kvl_plot_y(plot, p->loss.low), kvl_plot_y(plot, p->loss.high), ink);
        }
        kvl_figure_mark(plot->figure, x, y, p->is_behind ? 2.6 : 4.2,
                        p->is_hollow ? KVL_MARK_RING : KVL_MARK_DOT, ink, kvl_str_text(&tip));
    }
    if (p->is_answer) {
        kvl_figure_mark(plot->figure, x, y, 8, KVL_MARK_RING, KVL_INK_TEXT, NULL);
    }
    kvl_str_free(&tip);
}

static void draw_limits(const kvl_plot *p, const trade *t, kvl_lang lang) {
    const kvl_stroke s = {.ink = KVL_INK_BAD, .width = 1.4, .is_dashed = true};
    const double box[] = {p->left, p->top, p->right, p->bottom};
    kvl_str label = {0};
    if (t->max_bytes > 0) {
        const double x = kvl_plot_x(p, share_of(t, t->max_bytes));
        kvl_figure_line(p->figure, x, p->top, x, p->bottom, s);
    }
    if (isfinite(t->max_loss)) {
        const double y = kvl_plot_y(p, t->max_loss);
        kvl_figure_line(p->figure, p->left, y, p->right, y, s);
        KVL_SAY(&label, lang, "limit %g", "上限 %g", t->max_loss);
        if (!kvli_is_narrow(kvl_figure_width(p->figure))) {
            kvl_str_puts(&label, kvl_word(lang, ": intervals must end below it", "：区间须止于其下"));
        }
        kvl_figure_label(p->figure, p->right, y, 3, KVLI_SIZE, KVL_INK_BAD, box, kvl_str_text(&label));
    }
    kvl_str_free(&label);
}

/* Numbers beside the points that are named. */
static void draw_numbers(const kvl_plot *p, const trade *t, kvl_lang lang) {
    const double box[] = {p->left, p->top, p->right, p->bottom};
    for (size_t i = 0; i < t->n; i++) {
        const point *o = &t->points[i];
        const double x = kvl_plot_x(p, share_of(t, o->bytes));
        const double y = kvl_plot_y(p, o->loss.mean);
        char number[24];
        snprintf(number, sizeof number, "%zu", o->number);
        if (o->is_full) {
            kvl_figure_label(p->figure, x, y, 8, KVLI_SMALL, KVL_INK_SOFT, box,
                             kvl_word(lang, "full cache", "完整缓存"));
        } else if (o->number != 0) {
            kvl_figure_label(p->figure, x, y, o->is_answer ? 10 : 6, KVLI_SIZE, KVL_INK_TEXT, box, number);
        }
    }
}

static size_t legend_of(kvl_legend_item items[5], const trade *t, kvl_lang lang) {
    size_t n = 0;
    bool has_behind = false;
    bool has_hollow = false;
    for (size_t i = 0; i < t->n; i++) {
        has_behind = has_behind || (t->points[i].is_behind && !t->points[i].is_full);
        has_hollow = has_hollow || t->points[i].is_hollow;
    }
    items[n++] = (kvl_legend_item){
        .name = kvl_word(lang, "on the front", "在前沿上"), .ink = KVL_INK_SERIES, .mark = KVL_MARK_DOT};
    if (has_behind) {
        items[n++] = (kvl_legend_item){
            .name = kvl_word(lang, "behind it", "在前沿之后"), .ink = KVL_INK_SOFT, .mark = KVL_MARK_DOT};
    }
    if (has_hollow) {
        items[n++] = (kvl_legend_item){.name = kvl_word(lang, "hollow: misses a demand", "空心：未满足要求"),
                                       .ink = KVL_INK_SERIES,
                                       .mark = KVL_MARK_RING};
    }
    return n;
}

/* ---- the list of names ---- */

static double row_height(double width) { return kvli_is_narrow(width) ? 34 : 19; }

static size_t n_list_rows(const trade *t) { return t->n_named + (t->n_front > t->n_named); }

/* One row: number and name on the left; figures on the right, or below where there is no room. */
static void draw_row(kvl_figure *f, const trade *t, const point *p, double y, kvl_lang lang) {
    const double width = kvl_figure_width(f);
    const double w = width - 2 * KVLI_PAD;
    const bool is_narrow = kvli_is_narrow(width);
    kvl_str name = {0};
    kvl_str figures = {0};
    char number[24];
    snprintf(number, sizeof number, "%zu", p->number);
    if (p->is_answer) {
        kvl_str_puts(&name, kvl_word(lang, "recommended: ", "推荐："));
    }
    put_name(&name, p);
    put_figures(&figures, t, p, lang);
    kvl_figure_text(f, KVLI_PAD + 16, y, KVLI_SIZE, KVL_ALIGN_RIGHT, KVL_INK_TEXT, 0, number);
    const double used =
        kvl_figure_text(f, is_narrow ? KVLI_PAD + 24 : width - KVLI_PAD, is_narrow ? y + 15 : y, KVLI_SMALL,
                        is_narrow ? KVL_ALIGN_LEFT : KVL_ALIGN_RIGHT, KVL_INK_SOFT,
                        is_narrow ? w - 24 : w * 0.6, kvl_str_text(&figures));
    kvl_figure_text(f, KVLI_PAD + 24, y, KVLI_SIZE, KVL_ALIGN_LEFT, KVL_INK_TEXT,
                    is_narrow ? w - 24 : w - 24 - used - 12, kvl_str_text(&name));
    kvl_str_free(&figures);
    kvl_str_free(&name);
}

static void draw_list(kvl_figure *f, const trade *t, double y, kvl_lang lang) {
    const double step = row_height(kvl_figure_width(f));
    size_t row = 0;
    kvl_str text = {0};
    for (size_t i = 0; i < t->n; i++) {
        if (t->points[i].number != 0) {
            draw_row(f, t, &t->points[i], y + step * (double)row++ + 9, lang);
        }
    }
    if (t->n_front > t->n_named) {
        KVL_SAY(&text, lang, "%zu more on the front", "前沿上还有 %zu 个", t->n_front - t->n_named);
        kvl_figure_text(f, KVLI_PAD + 24, y + step * (double)row + 9, KVLI_SMALL, KVL_ALIGN_LEFT,
                        KVL_INK_SOFT, 0, kvl_str_text(&text));
    }
    kvl_str_free(&text);
}

/* ---- the whole ---- */

static double height(const kvl_content *c, double width) {
    trade t = make(c);
    kvl_legend_item items[5];
    const double head = kvli_legend_room(width, items, legend_of(items, &t, KVL_EN));
    const double list = row_height(width) * (double)n_list_rows(&t);
    kvl_free(t.points);
    return (kvli_is_narrow(width) ? 285 : 370) + head + list + 8;
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    trade t = make(c);
    const double width = kvl_figure_width(f);
    const double w = width - 2 * KVLI_PAD;
    const double list_top = kvl_figure_height(f) - KVLI_PAD - row_height(width) * (double)n_list_rows(&t);
    kvl_legend_item items[5];
    kvl_axis x, y;
    kvl_plot p;
    const double top = KVLI_PAD + kvl_legend(f, KVLI_PAD, KVLI_PAD, w, items, legend_of(items, &t, lang));
    find_axes(&t, &x, &y, lang);
    kvl_plot_begin(&p, f, KVLI_PAD, top, w, list_top - 8 - top, x, y);
    for (size_t pass = 0; pass < 2; pass++) { /* the front above the rest */
        for (size_t i = 0; i < t.n; i++) {
            if (t.points[i].is_behind == (pass == 0)) {
                draw_point(&p, &t, &t.points[i], lang);
            }
        }
    }
    draw_limits(&p, &t, lang);
    draw_numbers(&p, &t, lang);
    draw_list(f, &t, list_top, lang);
    kvl_free(t.points);
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    trade t = make(c);
    const point *answer = NULL;
    size_t n_settings = 0;
    for (size_t i = 0; i < t.n; i++) {
        answer = t.points[i].is_answer ? &t.points[i] : answer;
        n_settings += !t.points[i].is_full;
    }
    KVL_SAY(out, lang,
            "Loss in nats per token against bytes of keys and values, log scale, for %zu settings; "
            "on the front, where no other one is as good in all that was measured and better in some: %zu.",
            "%zu 个设置的每 token 损失（nats）与键值字节数（对数刻度）；在前沿上、"
            "即没有别的设置在所测各项上都不比它差且至少一项更好的有 %zu 个。",
            n_settings, t.n_front);
    if (answer != NULL) {
        kvl_str_puts(out, kvl_word(lang, " Recommended: ", "推荐："));
        put_name(out, answer);
        kvl_str_puts(out, kvl_word(lang, ", ", "，"));
        put_figures(out, &t, answer, lang);
        kvl_str_puts(out, kvl_word(lang, ".", "。"));
    }
    kvl_free(t.points);
}

const kvl_chart kvli_chart_pareto = {.id = "pareto",
                                     .title_en = "What a smaller cache costs",
                                     .title_zh = "更小的缓存付出什么代价",
                                     .has = has,
                                     .height = height,
                                     .draw = draw,
                                     .describe = describe};
