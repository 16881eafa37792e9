/* The mechanism: what is still visible, how often is compressed, and what the designed experiments say. */
#include "report/analysis_int.h"
#include "report/explain_words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const kvl_verdict_line *find_verdict(const kvl_cause_content *c, const char *id) {
    for (size_t i = 0; i < c->n_verdicts; i++) {
        if (strcmp(c->verdicts[i].id, id) == 0) {
            return &c->verdicts[i];
        }
    }
    return NULL;
}

size_t kvli_best_protection(const kvl_cause_content *c) {
    size_t most = 0;
    for (size_t i = 1; i < c->n_protections; i++) {
        most = c->removed[i].mean > c->removed[most].mean ? i : most;
    }
    return most;
}

/* ---- the refresh period ---- */

static void say_period(kvli_say *s, const kvli_curve *c) {
    if (c == NULL || c->spike == NULL || !(c->spike->period_tok > 0) || !(c->best->period_tok > 0)) {
        return;
    }
    KVLI_SAY(
        s,
        "In steady state keep %s compresses %s, the best setting (keep %s) %s: besides how much is kept, the "
        "keep ratio sets how long a new token stays before it must compete.",
        "稳态下保留率 %s 时%s 压缩一次，最佳设置（保留率 %s）%s 压缩一次：保留率除决定保留多少外，还决定新 "
        "token "
        "在参与竞争之前停留多久。",
        kvli_keep(c->spike).text, kvli_period(s->lang, c->spike->period_tok).text, kvli_keep(c->best).text,
        kvli_period(s->lang, c->best->period_tok).text);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

/* ---- visible lags ---- */

/* "knorm:keep=" and what follows the number. */
static const char *tail_of(const char *policy) {
    const char *number = strstr(policy, ":keep=");
    return number != NULL ? strchr(number + 1, ':') : NULL;
}

/* The arm that differs from the best policy only by its keep ratio; NULL: none. */
static const kvl_arm_line *arm_at(const kvl_cause_content *c, double keep_ratio) {
    const char *tail = c->best != NULL ? tail_of(c->best) : NULL;
    for (size_t i = 0; tail != NULL && i < c->n_arms; i++) {
        const char *own = tail_of(c->arms[i].policy);
        if (own != NULL && strcmp(own, tail) == 0 && strncmp(c->arms[i].policy, "knorm:", 6) == 0 &&
            fabs(c->arms[i].keep_ratio - keep_ratio) < 1e-9) {
            return &c->arms[i];
        }
    }
    return NULL;
}

static const kvl_arm_line *best_arm(const kvl_cause_content *c) {
    for (size_t i = 0; c->best != NULL && i < c->n_arms; i++) {
        if (strcmp(c->arms[i].policy, c->best) == 0) {
            return &c->arms[i];
        }
    }
    return NULL;
}

/* Mean number of the last n tokens that a head sees. */
static double visible_of(const kvl_arm_line *arm, size_t n) {
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        sum += arm->lag_visible[j];
    }
    return sum;
}

static void say_lags(kvli_say *s, const kvl_cause_content *c) {
    const kvl_arm_line *light = arm_at(c, 0.95);
    const kvl_arm_line *best = best_arm(c);
    if (light == NULL || best == NULL || light == best || light->n_lags < 8 || best->n_lags < 8) {
        return;
    }
    KVLI_SAY(
        s,
        "Of the last 8 tokens a head sees %.1f at keep 0.95 and %.1f at the best setting (%s), averaged over "
        "heads and all steps, those before the first compression included.",
        "最近 8 个 token 中，一个头在保留率 0.95 时平均可见 %.1f 个，在最佳设置时 %.1f "
        "个（%s）；对各头和所有步取平均，包括首次压缩之前的步。",
        visible_of(light, 8), visible_of(best, 8), c->best);
}

/* ---- the spike of explain, protections, chance ---- */

static void say_excess(kvli_say *s, const kvl_cause_content *c) {
    if (c->best == NULL || !isfinite(c->excess_light.mean)) {
        KVLI_PUT(s, "The step-by-step curve was not run there: nothing is said of its cause.",
                 "其中没有逐步压缩的曲线：不能说明原因。");
        return;
    }
    kvl_str texts = {0};
    kvli_put_texts(&texts, s->lang, c->texts);
    KVLI_SAY(
        s,
        "KnormPress compressed step by step with a cap of 32 entries, %zu texts (of %s): keep 0.95 costs %s "
        "nats/token above the full cache, the best setting (%s) %s.",
        "逐步压缩的 KnormPress，上限 32 个条目，%zu 篇文本（取自 %s）：保留率 0.95 比完整缓存每 token 多 %s "
        "nats，最佳设置（%s）为 "
        "%s。",
        c->n_texts, kvl_str_text(&texts), kvli_nats(&c->excess_light).text, c->best,
        kvli_nats(&c->excess_best).text);
    kvl_str_free(&texts);
    if (kvli_is_above(&c->spike, 0)) {
        KVLI_SAY(s, "Between them lie %s nats/token: the spike.", "两者相差每 token %s nats，即尖峰。",
                 kvli_nats(&c->spike).text);
    } else {
        KVLI_SAY(s, "Their difference, %s nats/token, %s.", "两者之差为每 token %s nats，%s。",
                 kvli_nats(&c->spike).text,
                 kvli_is_told(&c->spike)
                     ? kvl_word(s->lang,
                                "is not above 0 with its whole interval: there is no spike to explain",
                                "区间并非全部大于 0：没有需要解释的尖峰")
                     : kvl_word(s->lang, "has no interval (too few texts)", "没有置信区间（文本过少）"));
    }
}

static void say_protections(kvli_say *s, const kvl_cause_content *c) {
    for (size_t i = 0; i < c->n_protections; i++) {
        char n[24];
        if (i == 0) {
            kvli_say_cell(s, kvl_word(s->lang, "newest keys protected", "受保护的最新键数"));
            kvli_say_cell(s, kvl_word(s->lang, "share of the loss removed [95 %]", "消除的损失占比 [95 %]"));
        }
        snprintf(n, sizeof n, "%zu", c->protections[i]);
        kvli_say_cell(s, n);
        kvli_say_cell(s, kvli_share(&c->removed[i]).text);
    }
    if (c->n_protections != 0) {
        kvl_str_puts(&s->line, kvl_word(s->lang,
                                        "Loss at keep 0.95 that protecting the newest keys removes, at equal "
                                        "sizes and schedule",
                                        "在相同大小和时机下，保护最新键所消除的保留率 0.95 处的损失"));
        kvli_say_table(s, 2);
    }
}

static void say_chance(kvli_say *s, const kvl_cause_content *c) {
    if (!isfinite(c->by_chance.mean)) {
        KVLI_PUT(s, "The control that draws priorities at random was not run.", "未运行随机优先级对照。");
    } else {
        KVLI_SAY(s, "Control: priorities drawn once at random, which know no norms, give %s of the spike",
                 "对照：一次性随机抽取、与范数无关的优先级产生尖峰的 %s", kvli_share(&c->by_chance).text);
        if (kvli_is_above(&c->by_chance, 0) && kvli_is_below(&c->by_chance, 1)) {
            kvl_str_puts(&s->line,
                         kvl_word(s->lang, ": part of it needs no norms, the rest goes with this ranking.",
                                  "：其中一部分与范数无关，其余来自该排序。"));
        } else if (kvli_is_above(&c->by_chance, 0)) {
            kvl_str_puts(&s->line,
                         kvl_word(s->lang, ": it appears without any norms.", "：没有范数也会出现。"));
        } else {
            kvl_str_puts(&s->line, kvl_word(s->lang, ": whether chance alone gives any is not told.",
                                            "：无法判断仅凭随机是否产生尖峰。"));
        }
    }
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

/* ---- hypotheses ---- */

/* The finding that decided: of a refuted hypothesis one that is against it. */
static const kvl_finding_line *telling_finding(const kvl_verdict_line *v) {
    const char *outcome = strcmp(v->verdict, "refuted") == 0 ? "against" : "as predicted";
    for (size_t i = 0; i < v->n_findings; i++) {
        const kvl_finding_line *f = &v->findings[i];
        if (f->is_deciding && strcmp(f->outcome, outcome) == 0 && isfinite(f->effect.mean)) {
            return f;
        }
    }
    return NULL;
}

static void say_verdict(kvli_say *s, const kvl_verdict_line *v) {
    const kvl_finding_line *f = telling_finding(v);
    const bool is_decided =
        f != NULL && (strcmp(v->verdict, "supported") == 0 || strcmp(v->verdict, "refuted") == 0);
    KVLI_SAY(s, "%s %s: %s", "%s %s：%s", v->id, kvl_term_hypothesis(s->lang, v->id, v->name),
             kvl_term_verdict(s->lang, v->verdict));
    kvl_str what = {0};
    const bool is_known = kvli_put_finding(&what, s->lang, is_decided ? f->what : v->why);
    if (is_decided) {
        KVL_SAY(&s->line, s->lang, "; %s: %s %s", "；%s：%s（%s）",
                is_known ? kvl_str_text(&what) : "决定性结果", kvli_nats(&f->effect).text,
                kvl_term_unit(s->lang, f->unit));
    } else if (is_known && what.len != 0) {
        KVL_SAY(&s->line, s->lang, " (%s)", "（%s）", kvl_str_text(&what));
    }
    s->failed = s->failed || what.failed;
    kvl_str_free(&what);
    kvl_str_puts(&s->line, kvl_word(s->lang, ".", "。"));
    kvli_say_end(s, KVL_PASSAGE_ITEM);
}

static void say_verdicts(kvli_say *s, const kvl_cause_content *c) {
    static const char *const order[] = {"supported", "refuted", "cannot tell here"};
    size_t n[3] = {0};
    for (size_t i = 0; i < c->n_verdicts; i++) {
        for (size_t k = 0; k < 3; k++) {
            n[k] += strcmp(c->verdicts[i].verdict, order[k]) == 0;
        }
    }
    if (c->n_verdicts == 0) {
        return;
    }
    KVLI_SAY(
        s,
        "%zu hypotheses: %zu supported, %zu refuted, %zu cannot be told here; p values are adjusted for all "
        "findings of the run that predict something (Holm):",
        "%zu 个假设中 %zu 个得到支持，%zu 个被否定，%zu 个无法判断；p "
        "值按该次运行中有预测的全部结果校正（Holm）：",
        c->n_verdicts, n[0], n[1], n[2]);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < c->n_verdicts; i++) {
            if (strcmp(c->verdicts[i].verdict, order[k]) == 0) {
                say_verdict(s, &c->verdicts[i]);
            }
        }
    }
}

static void say_recency(kvli_say *s, const kvl_cause_content *c) {
    const kvl_verdict_line *v = find_verdict(c, "H8");
    if (v == NULL) {
        KVLI_PUT(s, "Whether the loss of the newest tokens explains it (H8) was not run.",
                 "未检验“丢失最新 token”是否为原因（H8）。");
    } else if (strcmp(v->verdict, "supported") == 0) {
        KVLI_PUT(
            s,
            "The experiments support one account (H8): at light compression a new key competes at once with "
            "the "
            "lowest norms of all that went before and often loses, so the newest tokens are missing; heavier "
            "compression acts less often and leaves them alone in between.",
            "实验支持一种解释（H8）：轻度压缩时，新键立刻与此前所有最低的键范数竞争，且常常落败，于是最新的 "
            "token 缺失；较重的压缩动作较少，"
            "其间保留了这些 token。");
    } else {
        KVLI_SAY(s, "The account by loss of the newest tokens (H8): %s.",
                 "以“丢失最新 token”作解释（H8）：%s。", kvl_term_verdict(s->lang, v->verdict));
    }
    say_lags(s, c);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

void kvli_say_mechanism(kvli_say *s, const kvli_facts *f) {
    const kvl_cause_content *c = s->content->cause;
    const kvli_curve *curve = kvli_main_curve(f->curves, f->n);
    kvli_head(s, "Mechanism", "机制");
    say_period(s, curve);
    if (c == NULL) {
        kvli_missing(s, "Nothing is claimed about the cause, no experiment of this model is stored",
                     "没有此模型关于原因的实验，不作结论", "kvlab explain");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
        return;
    }
    if (curve != NULL && !kvli_explains(curve)) {
        KVLI_PUT(s,
                 "What follows is about another protocol than the curve above: KnormPress compressed step by "
                 "step.",
                 "以下内容针对与上述曲线不同的协议：逐步压缩的 KnormPress。");
    }
    say_excess(s, c);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
    say_recency(s, c);
    say_protections(s, c);
    say_chance(s, c);
    say_verdicts(s, c);
    KVLI_SAY(s, "Made by `%s`.", "由 `%s` 得出。", c->command);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}
