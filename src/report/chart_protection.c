/* What protecting the newest keys removes of the loss. */
#include "report/chart_int.h"
#include "report/mechanism.h"

#include <math.h>
#include <stdio.h>

static bool has(const kvl_content *c) { return c->cause != NULL && c->cause->n_protections != 0; }

static double height(const kvl_content *c, double width) {
    (void)c;
    return kvli_is_narrow(width) ? 320 : 330;
}

/* Share of the loss that is gone at the best setting, in percent; NAN: no curve was run. */
static double gone_at_best(const kvl_cause_content *c) {
    return c->best != NULL && c->excess_light.mean > 0
               ? 100 * (1 - c->excess_best.mean / c->excess_light.mean)
               : (double)NAN;
}

static void draw_protection(const kvl_plot *p, const kvl_cause_content *c, size_t i, kvl_lang lang) {
    const kvl_estimate *e = &c->removed[i];
    const double x = kvl_plot_x(p, (double)i);
    const double y = kvl_plot_y(p, 100 * e->mean);
    const double zero = kvl_plot_y(p, 0);
    const double half = fmin(26, 0.3 * (p->right - p->left) / (double)c->n_protections);
    kvl_str tip = {0};
    kvl_str share = {0};
    kvli_put_share(&share, e);
    KVL_SAY(&tip, lang, "newest %zu protected\n%s of the loss is gone", "保护最新 %zu 个\n消除损失的 %s",
            c->protections[i], kvl_str_text(&share));
    kvl_figure_rect(p->figure, x - half, fmin(y, zero), 2 * half, fabs(zero - y), KVL_INK_SERIES + 2, 0.35,
                    kvl_str_text(&tip));
    if (e->has_interval) {
        kvli_bar(p->figure, x, kvl_plot_y(p, 100 * e->low), kvl_plot_y(p, 100 * e->high), KVL_INK_TEXT);
    }
    kvl_figure_mark(p->figure, x, y, 4, KVL_MARK_DOT, KVL_INK_SERIES + 2, kvl_str_text(&tip));
    kvl_str_clear(&share);
    kvl_str_printf(&share, isfinite(e->mean) ? "%.0f %%" : "–", 100 * e->mean);
    if (kvl_figure_measure(p->figure, KVLI_SMALL, kvl_str_text(&share)) < 3 * half) {
        kvl_figure_text(p->figure, x, zero - 11, KVLI_SMALL, KVL_ALIGN_MIDDLE, KVL_INK_TEXT, 0,
                        kvl_str_text(&share));
    }
    kvl_str_free(&tip);
    kvl_str_free(&share);
}

static void draw(kvl_figure *f, const kvl_content *content, kvl_lang lang) {
    const kvl_cause_content *c = content->cause;
    const double w = kvl_figure_width(f) - 2 * KVLI_PAD;
    const double best = gone_at_best(c);
    char texts[8][24];
    const char *names[8] = {0};
    kvli_range range = {0, 100};
    double top = KVLI_PAD;
    kvl_plot p;
    for (size_t i = 0; i < c->n_protections; i++) {
        snprintf(texts[i], sizeof texts[i], "%zu", c->protections[i]);
        names[i] = texts[i];
        kvli_widen(&range, 100 * c->removed[i].low);
        kvli_widen(&range, 100 * c->removed[i].high);
    }
    if (isfinite(best)) {
        kvl_str name = {0};
        kvl_str_puts(&name, kvl_word(lang, "gone at the best setting, ", "最佳设置下消除的比例，"));
        kvli_put_policy(&name, c->best, lang);
        const kvl_legend_item item = {
            .name = kvl_str_text(&name), .ink = KVL_INK_SERIES, .is_dashed = true, .has_line = true};
        top += kvl_legend(f, KVLI_PAD, top, w, &item, 1);
        kvl_str_free(&name);
    }
    kvl_plot_begin(
        &p, f, 0, top, w, kvl_figure_height(f) - top,
        (kvl_axis){.min = -0.5,
                   .max = (double)c->n_protections - 0.5,
                   .names = names,
                   .n_names = c->n_protections,
                   .label = kvl_word(lang, "newest keys that are never evicted", "不驱逐的最新键数")},
        (kvl_axis){.min = range.low,
                   .max = range.high,
                   .label = kvl_word(lang, "of the loss at keep 0.95 gone, %",
                                     "保留率 0.95 处损失被消除的比例，%")});
    const double y = kvl_plot_y(&p, best);
    kvl_figure_line(f, p.left, y, p.right, y,
                    (kvl_stroke){.ink = KVL_INK_SERIES, .width = 2, .is_dashed = true});
    for (size_t i = 0; i < c->n_protections; i++) {
        draw_protection(&p, c, i, lang);
    }
}

static void describe(kvl_str *out, const kvl_content *content, kvl_lang lang) {
    const kvl_cause_content *c = content->cause;
    const size_t last = c->n_protections - 1;
    kvl_str first_share = {0};
    kvl_str last_share = {0};
    kvl_str loss = {0};
    kvli_put_share(&first_share, &c->removed[0]);
    kvli_put_share(&last_share, &c->removed[last]);
    kvli_put_estimate(&loss, &c->excess_light);
    KVL_SAY(
        out, lang,
        "KnormPress at keep 0.95 costs %s nats per token above the full cache. Of that, %s is gone when the "
        "newest %zu is never evicted, %s when the newest %zu are; nothing else changes. Bars: 95 %% "
        "intervals over "
        "%zu texts.",
        "保留率 0.95 的 KnormPress 比完整缓存每 token 多 %s nats。其他不变，其中 %s 在从不驱逐最新 %zu "
        "个键时消失，%s "
        "在保护最新 %zu 个时消失。竖线为 95 %% 置信区间（%zu 篇文本）。",
        kvl_str_text(&loss), kvl_str_text(&first_share), c->protections[0], kvl_str_text(&last_share),
        c->protections[last], c->n_texts);
    kvl_str_free(&first_share);
    kvl_str_free(&last_share);
    kvl_str_free(&loss);
}

const kvl_chart kvli_chart_protection = {.id = "protection",
                                         .title_en = "What protecting the newest keys removes",
                                         .title_zh = "保护最新的键能消除多少损失",
                                         .has = has,
                                         .height = height,
                                         .draw = draw,
                                         .describe = describe};
