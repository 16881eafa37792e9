/* What the analysis says of contents whose truth is known, and what it must not say. */
#include "content_fixture.h"
#include "support.h"

#include "report/again.h"
#include "report/page.h"
#include "report/published.h"
#include "report/terms.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- a sweep of known truth ---- */

enum { MAX_ROWS = 16, MAX_TEXTS = 64, TOKENS = 100 };

typedef struct truth {
    const char *press;
    double keep[6], delta[6]; /* up to a keep of 0 */
} truth;

typedef struct made {
    kvl_content content;
    kvl_report report;
    kvl_report_row rows[MAX_ROWS];
    kvl_report_text texts[MAX_ROWS][MAX_TEXTS];
    char policies[MAX_ROWS][64];
} made;

/* A text's own deviation: as many above as below, so that means are the truth. */
static double deviation(size_t row, size_t text, double spread) {
    const double size = 0.5 + 0.5 * (double)((text / 2 * 7 + row * 3) % 5) / 4;
    return spread * (text % 2 == 0 ? size : -size);
}

static void fill_row(made *m, const truth *t, size_t i, size_t n_texts, double spread) {
    const size_t at = m->report.n_rows++;
    kvl_report_row *row = &m->rows[at];
    double sums[MAX_TEXTS] = {0};
    size_t counts[MAX_TEXTS] = {0};
    for (size_t k = 0; k < n_texts; k++) {
        sums[k] = t == NULL ? 0 : TOKENS * (t->delta[i] + deviation(at, k, spread));
        counts[k] = TOKENS;
        m->texts[at][k] =
            (kvl_report_text){.name = "T", .n_windows = 1, .n_scored = TOKENS, .nll_sum = 400 + sums[k]};
    }
    *row = (kvl_report_row){.press = t == NULL ? "none" : t->press,
                            .policy = "none",
                            .keep_ratio = t == NULL ? 1 : t->keep[i],
                            .delta = kvl_cluster_mean(sums, counts, n_texts),
                            .n_affected = t == NULL ? 0 : TOKENS * n_texts,
                            .n_scored = TOKENS * n_texts,
                            .kv_bytes = (uint64_t)(1048576 * (t == NULL ? 1 : t->keep[i])),
                            .period_tok = t == NULL ? 0 : 32 - ceil(32 * t->keep[i]),
                            .is_baseline = t == NULL,
                            .has_evicted = t != NULL,
                            .texts = m->texts[at]};
    row->ppl = 50 * exp(row->delta.mean);
    row->change_percent = 100 * expm1(row->delta.mean);
    if (t != NULL) {
        snprintf(m->policies[at], sizeof m->policies[at], "%s:keep=%g:cap=32:skip=0", t->press, t->keep[i]);
        row->policy = m->policies[at];
    }
}

static void set_stages(made *m, size_t first, size_t n_texts) {
    const size_t n = m->report.n_rows - first;
    double sums[MAX_ROWS * MAX_TEXTS] = {0};
    size_t counts[MAX_TEXTS] = {0}, best = 0;
    bool is_valid[MAX_ROWS] = {false};
    kvl_stage stages[MAX_ROWS];
    for (size_t i = 0; i < n; i++) {
        is_valid[i] = true;
        for (size_t k = 0; k < n_texts; k++) {
            sums[i * n_texts + k] = m->texts[first + i][k].nll_sum;
            counts[k] = TOKENS;
        }
    }
    kvl_find_stages(stages, &best, sums, counts, is_valid, n, n_texts);
    for (size_t i = 0; i < n; i++) {
        m->rows[first + i].stage = stages[i];
    }
}

static made *make(const truth *truths, size_t n, size_t n_texts, double spread) {
    made *m = kvl_calloc(1, sizeof *m);
    assert_non_null(m);
    m->report = (kvl_report){.title = "t",
                             .protocol = "one token per step",
                             .how = "kvlab, c",
                             .command = "kvlab sweep --preset ucurve -m 'my models/a.gguf' --arith int8",
                             .rows = m->rows,
                             .n_samples = n_texts,
                             .has_mean_ppl = true};
    fill_row(m, NULL, 0, n_texts, 0);
    for (size_t p = 0; p < n; p++) {
        const size_t first = m->report.n_rows;
        for (size_t i = 0; i < 6 && truths[p].keep[i] > 0; i++) {
            fill_row(m, &truths[p], i, n_texts, spread);
        }
        set_stages(m, first, n_texts);
    }
    static char model[] = "a.gguf", preset[] = "ucurve", protocol[] = "stream", store[] = "results.db";
    m->content = (kvl_content){
        .model = model, .preset = preset, .protocol_name = protocol, .store = store, .sweep = &m->report};
    return m;
}

static const truth spiked = {"knorm", {0.95, 0.9, 0.7, 0.5, 0.3}, {1.2, 0.7, 0.4, 0.301, 0.3}};
static const truth rising = {"recency", {0.95, 0.9, 0.7, 0.5, 0.3}, {0.02, 0.04, 0.1, 0.2, 0.4}};

/* ---- what was said ---- */

static kvl_str said;

/* All of it: the answer, then a line for each passage. */
static const char *all_of(const kvl_content *c, kvl_lang lang) {
    kvl_passages b;
    kvl_err err = {0};
    kvl_str_clear(&said);
    kvl_analysis_answer(&said, c, lang);
    assert_ok(kvl_analysis_make(&b, c, lang, &err));
    for (size_t i = 0; i < b.n; i++) {
        kvl_str_printf(&said, "\n%s", b.items[i].text);
        for (size_t k = 0; k < b.items[i].n_rows * b.items[i].n_columns; k++) {
            kvl_str_printf(&said, "%s%s", k % b.items[i].n_columns == 0 ? "\n" : "|", b.items[i].cells[k]);
        }
    }
    kvl_passages_free(&b);
    return kvl_str_text(&said);
}

static const char *answer_of(const kvl_content *c, kvl_lang lang) {
    kvl_str_clear(&said);
    kvl_analysis_answer(&said, c, lang);
    return kvl_str_text(&said);
}

static void check_has(const char *text, const char *words) {
    if (strstr(text, words) == NULL) {
        fail_msg("not said: %s\nbut:\n%s", words, text);
    }
}

static void check_lacks(const char *text, const char *words) {
    if (strstr(text, words) != NULL) {
        fail_msg("said: %s\nin:\n%s", words, text);
    }
}

/* Sentences end with a full stop before a blank or at the end. */
static size_t count_sentences(const char *text) {
    size_t n = 0;
    for (const char *at = strchr(text, '.'); at != NULL; at = strchr(at + 1, '.')) {
        n += at[1] == '\0' || (at[1] == ' ' && at[2] >= 'A' && at[2] <= 'Z');
    }
    return n;
}

/* ---- curves ---- */

static void a_spike_is_told_with_its_intervals(void **state) {
    (void)state;
    made *m = make(&spiked, 1, 24, 0.02);
    const char *text = answer_of(&m->content, KVL_EN);
    check_has(text, "Light compression is worse than heavy here: knorm at keep 0.95 costs +1.200 [+1.1");
    check_has(text, "above its best setting, keep 0.");
    check_has(text, "The cache of knorm is compressed every token at keep 0.95 and every");
    check_has(text, "but the cause was not tested: `kvlab explain -m 'my models/a.gguf' --arith int8`.");
    assert_int_equal(count_sentences(text), 3);
    text = all_of(&m->content, KVL_EN);
    check_has(text, "worse than heavy, the falling side of a U-curve (no rising side was told apart).");
    check_has(text, "explosion, keep 0.95 to 0.7: from +1.200 [");
    check_has(text, "|avoid: keeps more, loses more");
    check_has(text, "In brackets: 95 % intervals over 24 texts.");
    check_lacks(text, "|use");
    check_lacks(text, "experiments support");
    text = all_of(&m->content, KVL_ZH);
    check_has(text, "轻度压缩比重度压缩更差");
    check_has(text, "U 形曲线");
    check_has(text, "爆炸区");
    check_has(text, "避免");
    kvl_free(m);
}

static void no_spike_is_claimed_where_there_is_none(void **state) {
    (void)state;
    made *m = make(&rising, 1, 24, 0.01);
    const char *text = all_of(&m->content, KVL_EN);
    check_has(text, "No spike at light compression was told apart: recency at keep 0.95");
    check_has(text, "There is no explosion stage");
    check_lacks(text, "U-curve.");
    check_lacks(text, "|avoid");
    check_has(text, "|with care: a loss is shown");
    kvl_free(m);
    /* the same spike as above, drowned in differences between texts */
    m = make(&spiked, 1, 24, 8);
    text = all_of(&m->content, KVL_EN);
    check_has(text, "No spike at light compression was told apart");
    check_lacks(text, "is worse than heavy");
    check_lacks(text, "|avoid");
    check_lacks(text, "|use");
    check_lacks(text, "a loss is shown");
    check_has(text, "|undecided: interval too wide");
    kvl_free(m);
}

static void a_u_curve_has_two_sides(void **state) {
    static const truth cup = {"knorm", {0.95, 0.9, 0.7, 0.5, 0.3}, {1.2, 0.7, 0.3, 0.8, 1.1}};
    (void)state;
    made *m = make(&cup, 1, 24, 0.02);
    check_has(all_of(&m->content, KVL_EN), "worse than heavy, a U-curve.");
    check_has(all_of(&m->content, KVL_ZH), "即 U 形曲线。");
    kvl_free(m);
}

/* The paired difference has the last word: an explosion stage whose gap holds 0 is no U-curve. */
static void a_gap_that_holds_0_is_no_spike(void **state) {
    (void)state;
    made *m = make(&rising, 1, 24, 4);
    m->rows[1].stage = KVL_STAGE_EXPLOSION;
    m->rows[5].delta.mean = m->rows[1].delta.mean - 1;
    const char *text = all_of(&m->content, KVL_EN);
    check_has(text, "which holds 0: no U-curve is claimed");
    check_lacks(text, "is worse than heavy");
    kvl_free(m);
}

static void no_loss_needs_the_whole_interval(void **state) {
    static const truth level = {"knorm", {0.9, 0.5}, {0.001, 0.002}};
    (void)state;
    made *m = make(&level, 1, 24, 0.002);
    const char *text = all_of(&m->content, KVL_EN);
    check_has(text,
              "The largest compression shown to be without loss (whole interval within 0.01 nats/token) is "
              "knorm at keep 0.5");
    check_has(text, "512 KiB of keys and values instead of 1 MiB");
    check_has(text, "|use");
    check_has(all_of(&m->content, KVL_ZH), "已证明无损失");
    kvl_free(m);
    m = make(&level, 1, 24, 0.1); /* the same means */
    text = all_of(&m->content, KVL_EN);
    check_has(text, "No setting was shown to be without loss (within 0.01 nats/token)");
    check_lacks(text, "|use");
    check_lacks(text, "shown to be without loss (whole");
    check_lacks(all_of(&m->content, KVL_ZH), "已证明无损失");
    kvl_free(m);
    m = make(&level, 1, 5, 0.0001); /* five texts that agree are still five texts */
    text = all_of(&m->content, KVL_EN);
    check_lacks(text, "shown to be without loss (whole");
    check_lacks(text, "|use");
    kvl_free(m);
}

static void a_spike_is_not_looked_for_where_nothing_is_light(void **state) {
    static const truth heavy = {"knorm", {0.5, 0.25}, {0.3, 0.4}};
    (void)state;
    made *m = make(&heavy, 1, 24, 0.02);
    const char *text = answer_of(&m->content, KVL_EN);
    check_has(text, "Light compression (keep 0.8 and above) was not run");
    check_lacks(text, "No spike");
    check_has(all_of(&m->content, KVL_EN), "Too few keep ratios were measured on both sides");
    kvl_free(m);
}

static void few_texts_have_point_estimates_only(void **state) {
    (void)state;
    made *m = make(&spiked, 1, 5, 0.02);
    const char *text = answer_of(&m->content, KVL_EN);
    check_has(text, "On these 5 texts, too few for an interval");
    check_has(text, "by point estimate");
    check_has(text, "in 5 of 5 texts.");
    check_lacks(text, "[");
    text = all_of(&m->content, KVL_EN);
    check_has(text, "5 texts: too few texts for an interval (at least 20 are needed)");
    check_has(text,
              "`kvlab sweep --preset ucurve -m 'my models/a.gguf' --arith int8 --samples 'A1-A60 B1-B10'`");
    check_has(text,
              "light compression is worse than heavy in these texts; of others they are too few to tell");
    check_has(text, "|undecided: too few texts");
    check_lacks(text, "|avoid");
    check_lacks(text, "|with care");
    check_lacks(text, "[+");
    check_has(answer_of(&m->content, KVL_ZH), "无法给出置信区间");
    for (size_t i = 0; i < m->report.n_rows; i++) { /* not even how many texts agree */
        m->rows[i].texts = NULL;
    }
    check_lacks(answer_of(&m->content, KVL_EN), "of 5 texts.");
    kvl_free(m);
}

static void presses_are_ranked_by_intervals_only(void **state) {
    static const truth three[] = {{"knorm", {0.5}, {0.5}}, {"tova", {0.5}, {0.105}}, {"h2o", {0.5}, {0.1}}};
    (void)state;
    made *m = make(three, 3, 24, 0.05);
    static char preset[] = "";
    m->content.preset = preset;
    const char *text = all_of(&m->content, KVL_EN);
    check_has(text, "Keep 0.5: lowest point estimate h2o +0.100 [");
    check_has(text, "worse, intervals apart: knorm +0.500 [");
    check_has(text, "not told apart: tova +0.105 [");
    check_has(text, "Light compression (keep 0.8 and above) was not run");
    check_has(text, "No published table was made by this protocol");
    check_has(all_of(&m->content, KVL_ZH), "无法区分：tova");
    kvl_free(m);
    m = make(three, 3, 5, 0.0001); /* without intervals nothing is apart */
    text = all_of(&m->content, KVL_EN);
    check_lacks(text, "intervals apart: ");
    check_has(text, "Presses are not compared: there are too few texts.");
    kvl_free(m);
}

static kvl_estimate told(double mean, double half) {
    return (kvl_estimate){
        .mean = mean, .low = mean - half, .high = mean + half, .n_clusters = 64, .has_interval = true};
}

static kvl_cause_content cause_with(kvl_verdict_line *verdict, const char *word) {
    static char id[] = "H8", name[] = "recency and refresh", why[] = "w",
                best[] = "knorm:keep=0.3:cap=32:skip=0";
    static char command[] = "kvlab explain", texts[] = "70 samples", words[3][20];
    char *own = words[word[0] == 's' ? 0 : word[0] == 'r' ? 1 : 2];
    snprintf(own, sizeof words[0], "%s", word);
    *verdict = (kvl_verdict_line){.id = id, .name = name, .verdict = own, .why = why, .command = command};
    return (kvl_cause_content){.command = command,
                               .texts = texts,
                               .best = best,
                               .n_texts = 64,
                               .spike = told(0.9, 0.1),
                               .excess_light = told(1.2, 0.1),
                               .excess_best = told(0.3, 0.1),
                               .protections = {1, 4},
                               .removed = {told(0.5, 0.02), told(0.7, 0.02)},
                               .n_protections = 2,
                               .by_chance = told(0.58, 0.03),
                               .lag_one = told(0.37, 0.01),
                               .verdicts = verdict,
                               .n_verdicts = 1};
}

static void rows_that_say_nothing_are_left_out(void **state) {
    (void)state;
    made *m = make(&spiked, 1, 24, 0.02);
    m->rows[1].delta.mean = m->rows[1].delta.low = m->rows[1].ppl = (double)NAN;
    m->rows[1].change_percent = (double)NAN;
    m->rows[2].has_evicted = false;
    const char *text = all_of(&m->content, KVL_EN);
    check_has(text, "worse than heavy here: knorm at keep 0.7");
    check_lacks(text, "nan");
    check_lacks(text, "knorm at keep 0.95");
    check_lacks(text, "\nknorm|0.95");
    for (size_t i = 1; i < m->report.n_rows; i++) {
        m->rows[i].has_evicted = false;
    }
    text = all_of(&m->content, KVL_EN);
    check_has(text, "No policy of this sweep evicted anything");
    check_has(text, "knorm evicted nothing: its rows say nothing about it.");
    check_lacks(text, "PPL change");
    m->content.sweep = NULL;
    text = all_of(&m->content, KVL_EN);
    check_has(text, "No curve is stored for this model: `kvlab sweep`.");
    kvl_verdict_line verdict;
    kvl_cause_content cause = cause_with(&verdict, "supported");
    m->content.preset = m->content.protocol_name = NULL; /* known of cells only */
    m->content.cause = &cause;
    check_has(all_of(&m->content, KVL_EN), "The experiments support one account");
    check_lacks(all_of(&m->content, KVL_ZH), "nan");
    kvl_free(m);
}

/* ---- the cause ---- */

static void the_cause_is_what_the_verdict_says(void **state) {
    kvl_verdict_line verdict;
    (void)state;
    made *m = make(&spiked, 1, 24, 0.02);
    kvl_cause_content cause = cause_with(&verdict, "supported");
    m->content.cause = &cause;
    check_has(
        answer_of(&m->content, KVL_EN),
        "The experiments support one cause, the loss of the newest tokens: at keep 0.95, at steps that "
        "read a compressed cache, 37 % [36, 38] of the heads on average still see the token just before, and "
        "protecting the newest 4 keys removes 70 % [68, "
        "72] of its loss.");
    check_has(answer_of(&m->content, KVL_ZH), "保护最新的 4 个键可消除该损失的 70 % [68, 72]");
    const char *text = all_of(&m->content, KVL_EN);
    check_has(text, "part of it needs no norms, the rest goes with this ranking");
    check_has(text, "`recent=4`");
    check_has(text, "H8 recency and refresh: supported");
    cause.by_chance = told(0.95, 0.2);
    check_lacks(all_of(&m->content, KVL_EN), "the rest goes with this ranking");
    cause.by_chance.mean = (double)NAN;
    check_has(all_of(&m->content, KVL_EN), "The control that draws priorities at random was not run.");
    cause.removed[0] = cause.removed[1] = told(0.05, 0.1);
    text = all_of(&m->content, KVL_EN);
    check_has(text, "was not shown to help");
    check_lacks(text, "Protect the newest tokens");
    cause = cause_with(&verdict, "refuted");
    text = all_of(&m->content, KVL_EN);
    check_has(text, "The experiments refute the loss of the newest tokens as its cause.");
    check_lacks(text, "experiments support");
    check_has(all_of(&m->content, KVL_ZH), "实验否定了");
    cause = cause_with(&verdict, "cannot tell here");
    check_lacks(all_of(&m->content, KVL_EN), "experiments support");
    cause.spike = told(0.05, 0.1);
    check_has(all_of(&m->content, KVL_EN), "there is no spike to explain");
    kvl_free(m);
}

/* Experiments on KnormPress step by step are not put under another protocol's curve. */
static void a_cause_of_another_protocol_is_told_as_such(void **state) {
    kvl_verdict_line verdict;
    (void)state;
    made *m = make(&rising, 1, 24, 0.01);
    kvl_cause_content cause = cause_with(&verdict, "supported");
    m->content.cause = &cause;
    check_has(answer_of(&m->content, KVL_EN),
              "For KnormPress compressed step by step (kvlab explain), the experiments");
    check_has(all_of(&m->content, KVL_EN), "about another protocol than the curve above");
    kvl_free(m);
}

/* ---- published figures ---- */

static void published_figures_are_compared_as_ratios(void **state) {
    (void)state;
    const kvl_published *p = kvl_published_find("ucurve-11row", "knorm");
    assert_non_null(p);
    assert_true(fabs(kvl_published_ratio(p, 0.95) - 240.87 / 60.81) < 1e-12);
    assert_true(isnan(kvl_published_ratio(p, 0.1)));
    assert_true(fabs(kvl_published_worst(p)->keep_ratio - 0.95) < 1e-12);
    assert_true(fabs(kvl_published_best(p)->keep_ratio - 0.6) < 1e-12);
    assert_null(kvl_published_find("ucurve-fair", "knorm"));
    assert_null(kvl_published_find("ucurve", "recency"));
    assert_non_null(kvl_published_find("ucurve-compare", "recency"));
    made *m = make(&spiked, 1, 24, 0.02);
    const char *text = all_of(&m->content, KVL_EN);
    check_has(text, "0.95|3.96|3.32|explosion");
    check_has(text, "the same place");
    check_has(text, "commit ae58300");
    check_has(text, "Texts differ too: 24 here, 5 there.");
    check_has(text, "`kvlab explain --only H10 -m 'my models/a.gguf' --arith int8`");
    check_lacks(text, "240.87"); /* levels of another model */
    check_has(text, "arXiv 2406.11430");
    check_has(all_of(&m->content, KVL_ZH), "位置相同");
    static char chunks[] = "llama-chunk"; /* the preset, by another protocol */
    char *const stream = m->content.protocol_name;
    m->content.protocol_name = chunks;
    check_has(all_of(&m->content, KVL_EN), "No published table was made by this protocol");
    m->content.protocol_name = stream;
    static char preset[] = "paper-quick";
    m->content.preset = preset;
    check_has(all_of(&m->content, KVL_EN), "This preset is the protocol of its quick script");
    kvl_free(m);
}

/* ---- all contents, both languages ---- */

/* Both languages have the same passages, and neither has holes. */
static void languages_say_the_same(void **state) {
    (void)state;
    for (content_kind kind = 0; kind < CONTENT_N_KINDS; kind++) {
        kvl_content *c = content_fixture(kind);
        kvl_passages en, zh;
        kvl_err err = {0};
        assert_ok(kvl_analysis_make(&en, c, KVL_EN, &err));
        assert_ok(kvl_analysis_make(&zh, c, KVL_ZH, &err));
        assert_int_equal(en.n, zh.n);
        for (size_t i = 0; i < en.n; i++) {
            assert_int_equal(en.items[i].kind, zh.items[i].kind);
            assert_int_equal(en.items[i].n_rows, zh.items[i].n_rows);
            assert_true(en.items[i].text[0] != '\0' && zh.items[i].text[0] != '\0');
            assert_string_not_equal(en.items[i].text, zh.items[i].text);
            assert_null(strstr(en.items[i].text, "(null)"));
            assert_null(strstr(zh.items[i].text, "(null)"));
        }
        kvl_passages_free(&en);
        kvl_passages_free(&zh);
        const char *text = all_of(c, KVL_EN);
        check_lacks(text, " nan");
        check_lacks(text, "+nan");
        content_fixture_free(c);
    }
}

static void the_terms_are_those_of_the_field(void **state) {
    static const char *const terms[] = {
        "保留率",   "驱逐", "困惑度", "负对数似然 (NLL)", "置信区间", "键范数", "首 token 延迟 (TTFT)",
        "大海捞针", "TPOT", "KV 缓存"};
    (void)state;
    kvl_content *c = content_fixture(CONTENT_RICH);
    kvl_err err = {0};
    kvl_str text = {0};
    assert_ok(kvl_paper_write_md(&text, c, KVL_ZH, "curve", &err));
    kvl_str_puts(&text, all_of(c, KVL_ZH));
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        check_has(kvl_str_text(&text), terms[i]);
    }
    kvl_str_free(&text);
    content_fixture_free(c);
    assert_string_equal(kvl_term_stage(KVL_ZH, KVL_STAGE_BEST), "最佳区间");
    assert_string_equal(kvl_term_stage(KVL_EN, KVL_STAGE_BEST), "best range");
    assert_string_equal(kvl_term_verdict(KVL_ZH, "refuted"), "被否定");
    assert_string_equal(kvl_term_hypothesis(KVL_ZH, "H99", "new"), "new");
}

static void commands_name_the_model(void **state) {
    static const struct {
        const char *made_by, *expected;
    } cases[] = {
        {"kvlab sweep --preset x", "kvlab explain"},
        {"kvlab sweep -m 'a b' -q", "kvlab explain -m 'a b'"},
        {"kvlab sweep -ma.gguf -P knorm", "kvlab explain -ma.gguf"},
        {"kvlab sweep --model=a --arith bf16", "kvlab explain --model=a --arith bf16"},
        {"kvlab sweep -hf org/x:Q4 --offline", "kvlab explain -hf org/x:Q4 --offline"},
        {"kvlab sweep -P 'x -m y' -m z", "kvlab explain -m z"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_report report = {.command = cases[i].made_by};
        const kvl_content c = {.sweep = &report};
        kvl_str out = {0};
        kvl_command_for(&out, &c, "kvlab explain");
        assert_string_equal(kvl_str_text(&out), cases[i].expected);
        kvl_str_free(&out);
    }
}

static void memory_that_ends_is_an_error(void **state) {
    (void)state;
    kvl_content *c = content_fixture(CONTENT_RICH);
    for (int64_t i = 0; i < 400; i += 7) {
        kvl_passages b;
        kvl_err err = {0};
        kvl_alloc_fail_after(i);
        const kvl_status status = kvl_analysis_make(&b, c, KVL_EN, &err);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        assert_true(status == KVL_E_NOMEM || i > 20);
        kvl_passages_free(&b);
    }
    content_fixture_free(c);
}

static int free_text(void **state) {
    (void)state;
    kvl_str_free(&said);
    return 0;
}

/* What a search confirmed is the answer; without an answer of it the curve speaks. */
static void a_confirmed_setting_is_the_answer(void **state) {
    (void)state;
    kvl_content *c = content_fixture(CONTENT_RICH);
    check_has(answer_of(c, KVL_EN), "The setting found by search and confirmed on ");
    check_lacks(answer_of(c, KVL_EN), "lowest point estimate");
    check_has(answer_of(c, KVL_ZH), "搜索得到、并在");
    assert_int_equal(count_sentences(answer_of(c, KVL_EN)), 3);
    for (size_t i = 0; i < c->choice->n; i++) {
        c->choice->lines[i].is_answer = false;
    }
    check_lacks(answer_of(c, KVL_EN), "found by search");
    content_fixture_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_confirmed_setting_is_the_answer),
        cmocka_unit_test(a_spike_is_told_with_its_intervals),
        cmocka_unit_test(a_u_curve_has_two_sides),
        cmocka_unit_test(no_spike_is_claimed_where_there_is_none),
        cmocka_unit_test(a_gap_that_holds_0_is_no_spike),
        cmocka_unit_test(no_loss_needs_the_whole_interval),
        cmocka_unit_test(a_spike_is_not_looked_for_where_nothing_is_light),
        cmocka_unit_test(few_texts_have_point_estimates_only),
        cmocka_unit_test(presses_are_ranked_by_intervals_only),
        cmocka_unit_test(rows_that_say_nothing_are_left_out),
        cmocka_unit_test(the_cause_is_what_the_verdict_says),
        cmocka_unit_test(a_cause_of_another_protocol_is_told_as_such),
        cmocka_unit_test(published_figures_are_compared_as_ratios),
        cmocka_unit_test(languages_say_the_same),
        cmocka_unit_test(the_terms_are_those_of_the_field),
        cmocka_unit_test(commands_name_the_model),
        cmocka_unit_test(memory_that_ends_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, free_text);
}
