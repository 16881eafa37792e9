/* The stages of each curve with their numbers, and presses beside each other. */
#include "report/analysis_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- stages ---- */

/* The last row from `i` on that counts and has the same stage, without another stage between. */
static size_t stage_end(const kvli_curve *c, size_t i) {
    size_t last = i;
    for (size_t k = i + 1; k < c->end; k++) {
        const kvl_report_row *row = &c->report->rows[k];
        if (kvli_counts(row) && row->stage != c->report->rows[i].stage) {
            break;
        }
        last = kvli_counts(row) ? k : last;
    }
    return last;
}

static void say_range(kvli_say *s, const kvli_curve *c, size_t first, size_t last) {
    const kvl_report_row *a = &c->report->rows[first], *b = &c->report->rows[last];
    if (a == b) {
        KVLI_SAY(s, "%s, keep %s: %s nats/token (PPL %s)", "%s，保留率 %s：每 token %s nats（PPL %s）",
                 kvl_term_stage(s->lang, a->stage), kvli_keep(a).text, kvli_nats(&a->delta).text,
                 kvli_ppl_change(&a->delta).text);
    } else {
        KVLI_SAY(s, "%s, keep %s to %s: from %s nats/token (PPL %s) to %s nats/token (PPL %s)",
                 "%s，保留率 %s 至 %s：从每 token %s nats（PPL %s）到 %s nats（PPL %s）",
                 kvl_term_stage(s->lang, a->stage), kvli_keep(a).text, kvli_keep(b).text,
                 kvli_nats(&a->delta).text, kvli_ppl_change(&a->delta).text, kvli_nats(&b->delta).text,
                 kvli_ppl_change(&b->delta).text);
    }
    if (a != b && c->best > a && c->best < b) {
        KVL_SAY(&s->line, s->lang, ", lowest %s at keep %s", "，最低为 %s（保留率 %s）",
                kvli_nats(&c->best->delta).text, kvli_keep(c->best).text);
    }
    if (a->period_tok > 0 && b->period_tok > 0) {
        KVL_SAY(&s->line, s->lang, "; compressed %s", "；%s 压缩一次",
                kvli_period(s->lang, a->period_tok).text);
        if (a->period_tok != b->period_tok) {
            KVL_SAY(&s->line, s->lang, " to %s", "（至%s）", kvli_period(s->lang, b->period_tok).text);
        }
    }
    kvl_str_puts(&s->line, kvl_word(s->lang, ".", "。"));
    kvli_say_end(s, KVL_PASSAGE_ITEM);
}

/* Whether a heavier setting than the best range is told apart as worse: the other side of a U. */
static bool has_decline(const kvli_curve *c) {
    bool has = false;
    for (size_t i = c->first; i < c->end; i++) {
        has = has || (kvli_counts(&c->report->rows[i]) && c->report->rows[i].stage == KVL_STAGE_DECLINE);
    }
    return has;
}

static void say_spike(kvli_say *s, const kvli_curve *c) {
    if (c->spike == NULL) {
        KVLI_PUT(s, "There is no explosion stage: no lighter setting was told apart from the best range.",
                 "没有爆炸区：未检出任何比最佳区间更轻且更差的设置。");
    } else if (kvli_is_told(&c->gap) && c->gap.low > 0) {
        KVLI_SAY(
            s,
            "The spike, keep %s, is %s nats/token above the best setting, keep %s, on the same tokens: light "
            "compression is worse than heavy, %s.",
            "尖峰（保留率 %s）在相同 token 上比最佳设置每 token 高 %s nats（最佳保留率 "
            "%s）：轻度压缩比重度压缩更差，%s。",
            kvli_keep(c->spike).text, kvli_nats(&c->gap).text, kvli_keep(c->best).text,
            has_decline(c)
                ? kvl_word(s->lang, "a U-curve", "即 U 形曲线")
                : kvl_word(s->lang, "the falling side of a U-curve (no rising side was told apart)",
                           "即 U 形曲线的下降一侧（未检出上升一侧）"));
    } else if (kvli_is_told(&c->gap)) {
        KVLI_SAY(
            s,
            "The difference between the highest point of the explosion stage (keep %s) and the best setting "
            "(keep %s) is %s nats/token, which holds 0: no U-curve is claimed.",
            "爆炸区最高点（保留率 %s）与最佳设置（保留率 %s）之差为每 token %s nats，区间包含 0：不作 U "
            "形曲线的结论。",
            kvli_keep(c->spike).text, kvli_keep(c->best).text, kvli_nats(&c->gap).text);
    } else {
        KVLI_SAY(s, "By point estimate the spike (keep %s) is %s nats/token above the best setting (keep %s)",
                 "按点估计，尖峰（保留率 %s）比最佳设置每 token 高 %s nats（最佳保留率 %s）",
                 kvli_keep(c->spike).text, kvli_nats(&c->gap).text, kvli_keep(c->best).text);
        if (c->n_texts != 0) {
            KVL_SAY(&s->line, s->lang, ", and above it in %zu of %zu texts",
                    "，且在 %2$zu 篇文本中的 %1$zu 篇上更高", c->n_higher, c->n_texts);
        }
        KVL_SAY(&s->line, s->lang, ": %s in these texts; of others they are too few to tell.",
                "：在这些文本上%s；文本过少，不能推及其他文本。",
                has_decline(c)
                    ? kvl_word(s->lang, "a U-curve", "呈 U 形")
                    : kvl_word(s->lang, "light compression is worse than heavy", "轻度压缩比重度压缩更差"));
    }
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

static void say_curve(kvli_say *s, const kvli_curve *c) {
    const kvl_report *r = c->report;
    if (c->best == NULL) {
        KVLI_SAY(s, "%s evicted nothing: its rows say nothing about it.",
                 "%s 没有驱逐任何条目：其各行不能说明该压缩规则。", r->rows[c->first].press);
        kvli_say_end(s, KVL_PASSAGE_TEXT);
        return;
    }
    KVLI_SAY(
        s,
        "%s, %zu tokens scored; nats/token above the full cache on the same tokens, PPL the change that this "
        "means there:",
        "%s，计分 %zu 个 token；数字为相同 token 上每 token 高出完整缓存的 nats，PPL 为由此得出的变化：",
        c->best->press, c->best->n_scored);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
    for (size_t i = c->first; i < c->end; i++) {
        if (kvli_counts(&r->rows[i])) {
            const size_t last = stage_end(c, i);
            say_range(s, c, i, last);
            i = last;
        }
    }
    say_spike(s, c);
}

/* What intervals are over, or why there are none. */
static void say_method(kvli_say *s, const kvli_curve *c) {
    const kvl_report *r = c->report;
    if (c->is_few) {
        KVLI_SAY(
            s,
            "%zu text%s: too few texts for an interval (at least %d are needed). All figures below are point "
            "estimates of these texts, and stages follow from a rough rule on them; bars of charts are "
            "Student's t, which takes texts to vary as a normal distribution does.",
            "%zu 篇文本%s：文本过少，无法给出置信区间（至少需要 %d "
            "篇）。以下数字均为这些文本的点估计，阶段划分较粗略；图中的竖线用 Student "
            "t，假定文本间差异近似正态。",
            r->n_samples, r->n_samples == 1 || s->lang == KVL_ZH ? "" : "s", KVL_FEW_CLUSTERS);
        if (strstr(r->command, " --samples") == NULL && strstr(r->command, " -f") == NULL &&
            strstr(r->command, " --file") == NULL) {
            KVLI_SAY(s, "Texts enough for intervals: `%s --samples 'A1-A60 B1-B10'`.",
                     "文本足以给出区间的测量：`%s --samples 'A1-A60 B1-B10'`。", r->command);
        }
    } else if (r->block_tokens != 0) {
        KVLI_SAY(
            s,
            "In brackets: 95 %% intervals over %zu blocks of at least %zu tokens of one text; they speak of "
            "this text only.",
            "方括号内为 95 %% 置信区间，按同一文本的 %zu 个区块（每块至少 %zu 个 "
            "token）计算；只针对这一文本。",
            c->best != NULL ? c->best->delta.n_clusters : 0, r->block_tokens);
    } else {
        KVLI_SAY(s, "In brackets: 95 %% intervals over %zu texts.",
                 "方括号内为按 %zu 篇文本计算的 95 %% 置信区间。", r->n_samples);
    }
    KVLI_PUT(
        s,
        "Best range: the setting of lowest NLL and its neighbours that are not told apart from it; plateau: "
        "steps towards it that are not told apart; explosion and decline: beyond, on the lighter and the "
        "heavier side.",
        "最佳区间：NLL "
        "最低的设置及与之无法区分的相邻设置；平台区：通向它的各步无法区分；爆炸区与衰退区：再往外，分别在较轻"
        "和较重一侧。");
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

/* ---- presses beside each other ---- */

/* The curve's row of this keep ratio; NULL: none. */
static const kvl_report_row *row_at(const kvli_curve *c, double keep_ratio) {
    for (size_t i = c->first; i < c->end; i++) {
        const kvl_report_row *row = &c->report->rows[i];
        if (kvli_counts(row) && fabs(row->keep_ratio - keep_ratio) < 1e-9) {
            return row;
        }
    }
    return NULL;
}

/* At one keep ratio: the lowest point estimate, what lies above it with its whole interval, and the rest. */
static void say_keep(kvli_say *s, const kvli_facts *f, double keep_ratio, bool *has_head) {
    const kvl_report_row *lowest = NULL;
    size_t n = 0, n_apart = 0, n_level = 0;
    kvl_str apart = {0}, level = {0};
    for (size_t i = 0; i < f->n; i++) {
        const kvl_report_row *row = row_at(&f->curves[i], keep_ratio);
        n += row != NULL;
        lowest = row != NULL && (lowest == NULL || row->delta.mean < lowest->delta.mean) ? row : lowest;
    }
    for (size_t i = 0; n > 1 && i < f->n; i++) {
        const kvl_report_row *row = row_at(&f->curves[i], keep_ratio);
        if (row == NULL || row == lowest) {
            continue;
        }
        const bool is_apart =
            kvli_is_told(&row->delta) && kvli_is_told(&lowest->delta) && row->delta.low > lowest->delta.high;
        size_t *count = is_apart ? &n_apart : &n_level;
        kvl_str_printf(is_apart ? &apart : &level, "%s%s %s",
                       (*count)++ != 0 ? kvl_word(s->lang, ", ", "、") : "", row->press,
                       kvli_nats(&row->delta).text);
    }
    if (n > 1 && !*has_head) {
        *has_head = true;
        KVLI_PUT(s,
                 "Presses at equal keep, by their intervals against the full cache; presses whose intervals "
                 "overlap are not ranked:",
                 "相同保留率下各压缩规则相对完整缓存的置信区间；区间重叠的不作排名：");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
    }
    if (n > 1) {
        KVLI_SAY(s, "Keep %.4g: lowest point estimate %s %s%s%s%s%s.",
                 "保留率 %.4g：点估计最低的是 %s %s%s%s%s%s。", keep_ratio, lowest->press,
                 kvli_nats(&lowest->delta).text,
                 n_apart != 0 ? kvl_word(s->lang, "; worse, intervals apart: ", "；更差且区间不重叠：") : "",
                 kvl_str_text(&apart),
                 n_level != 0 ? kvl_word(s->lang, "; not told apart: ", "；无法区分：") : "",
                 kvl_str_text(&level));
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
    s->failed = s->failed || apart.failed || level.failed;
    kvl_str_free(&apart);
    kvl_str_free(&level);
}

static void say_presses(kvli_say *s, const kvli_facts *f) {
    const kvl_report *r = s->content->sweep;
    bool has_head = false;
    if (kvli_main_curve(f->curves, f->n)->is_few) {
        KVLI_PUT(s, "Presses are not compared: there are too few texts.", "文本过少，不比较各压缩规则。");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
        return;
    }
    for (size_t i = 0; i < r->n_rows; i++) {
        bool is_first = kvli_counts(&r->rows[i]);
        for (size_t k = 0; k < i && is_first; k++) {
            is_first =
                !kvli_counts(&r->rows[k]) || fabs(r->rows[k].keep_ratio - r->rows[i].keep_ratio) >= 1e-9;
        }
        if (is_first) {
            say_keep(s, f, r->rows[i].keep_ratio, &has_head);
        }
    }
}

void kvli_say_stages(kvli_say *s, const kvli_facts *f) {
    const kvl_report *r = s->content->sweep;
    kvli_head(s, "The curve and its stages", "曲线及其阶段");
    if (r == NULL || f->n == 0) {
        kvli_missing(s, "No curve is stored", "没有已存的曲线", "kvlab sweep");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
        return;
    }
    const kvli_curve *c = kvli_main_curve(f->curves, f->n);
    say_method(s, c != NULL ? c : &f->curves[0]);
    for (size_t i = 0; i < f->n; i++) {
        say_curve(s, &f->curves[i]);
    }
    if (f->n > 1 && c != NULL) {
        say_presses(s, f);
    }
    KVLI_SAY(s, "Made by `%s`.", "由 `%s` 得出。", r->command);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}
