/* Made-up contents of a report. */
#include "content_fixture.h"

#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { n_ratios = 11, n_texts = 5, cap = 32, n_lags = KVL_CONTENT_LAGS };

/* ---- memory: one list of blocks, freed at once ---- */

typedef struct fixture {
    kvl_content content; /* first: the fixture is found by it */
    void *blocks;        /* each begins with the next */
    const char *model, *text_name;
    bool is_hostile;
} fixture;

static void *take(fixture *f, size_t n, size_t item_bytes) {
    enum { head_bytes = 64 };
    void **b = calloc(1, head_bytes + n * item_bytes);
    assert_non_null(b);
    *b = f->blocks;
    f->blocks = b;
    return (char *)b + head_bytes;
}

static char *text_of(fixture *f, const char *text) {
    char *copy = take(f, strlen(text) + 1, 1);
    memcpy(copy, text, strlen(text));
    return copy;
}

static kvl_estimate around(double mean, double half) {
    return (kvl_estimate){.mean = mean,
                          .low = mean - half,
                          .high = mean + half,
                          .n_clusters = 64,
                          .has_interval = true,
                          .p = fabs(mean) > half ? 0.0002 : 0.4};
}

/* ---- the sweep ---- */

static const double ratios[n_ratios] = {0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1};

typedef struct press_line {
    const char *name;
    double delta[n_ratios]; /* nats per token */
} press_line;

static const press_line presses[] = {
    {"knorm", {1.271, 0.781, 0.693, 0.589, 0.513, 0.498, 0.448, 0.400, 0.384, 0.369, 0.348}},
    {"recency", {0.011, 0.015, 0.021, 0.028, 0.034, 0.041, 0.055, 0.071, 0.089, 0.118, 0.242}},
    {"snapkv", {-0.003, 0.002, 0.004, 0.009, 0.014, 0.022, 0.035, 0.051, 0.083, 0.151, 0.428}},
    {"h2o", {0.006, 0.012, 0.019, 0.025, 0.036, 0.048, 0.079, 0.112, 0.163, 0.236, 0.471}},
};

static kvl_stage stage_of(const press_line *p, size_t i) {
    size_t best = 0;
    for (size_t k = 1; k < n_ratios; k++) {
        best = p->delta[k] < p->delta[best] ? k : best;
    }
    if (p->delta[i] - p->delta[best] < 0.015) {
        return KVL_STAGE_BEST;
    }
    return i < best ? (p->delta[i] - p->delta[best] < 0.1 ? KVL_STAGE_PLATEAU : KVL_STAGE_EXPLOSION)
                    : KVL_STAGE_DECLINE;
}

static kvl_report_text *sweep_texts(fixture *f, size_t n, double nll) {
    static const double offsets[n_texts] = {-0.31, -0.12, 0.02, 0.14, 0.27};
    kvl_report_text *texts = take(f, n, sizeof *texts);
    for (size_t t = 0; t < n; t++) {
        char name[32];
        snprintf(name, sizeof name, "A%zu", t + 1);
        texts[t] = (kvl_report_text){.name = text_of(f, t == 0 ? f->text_name : name),
                                     .n_windows = 1,
                                     .n_scored = 400,
                                     .nll_sum = 400 * (nll + offsets[t % n_texts]),
                                     .n_bytes = 1650};
    }
    return texts;
}

static kvl_report_row sweep_row(fixture *f, const press_line *p, size_t i, size_t n_samples,
                                double base_nll) {
    const double keep = ratios[i];
    const double delta = p->delta[i];
    const double half = 0.006 + 0.09 * fabs(delta);
    char policy[64];
    snprintf(policy, sizeof policy, "%s:keep=%g:cap=32:skip=0", p->name, keep);
    return (kvl_report_row){.press = p->name,
                            .policy = text_of(f, policy),
                            .keep_ratio = keep,
                            .ppl = exp(base_nll + delta),
                            .pooled_nll = base_nll + delta,
                            .delta = around(delta, half),
                            .smallest = 1.4 * half,
                            .delta_affected = around(1.09 * delta, 1.09 * half),
                            .n_affected = 1840,
                            .change_percent = 100 * (exp(delta) - 1),
                            .stage = stage_of(p, i),
                            .n_scored = 2000,
                            .kept_min = (size_t)ceil(keep * cap),
                            .kept_mean = 0.5 * (1 + keep) * cap,
                            .kept_max = cap - 1,
                            .kv_bytes = (uint64_t)(49152 * 0.5 * (1 + keep) * cap / 200),
                            .period_tok = cap - ceil(keep * cap),
                            .has_evicted = true,
                            .texts = sweep_texts(f, n_samples, base_nll + delta)};
}

static kvl_report *sweep_of(fixture *f, size_t n_presses, size_t n_samples) {
    static const char *const notes[] = {"layer 0 is left alone", "knorm: ties go to the newer entry"};
    const double base_nll = 4.102;
    kvl_report *r = take(f, 1, sizeof *r);
    kvl_report_row *rows = take(f, 1 + n_presses * n_ratios, sizeof *rows);
    char title[256];
    snprintf(title, sizeof title, "ucurve on %s", f->model);
    rows[0] = (kvl_report_row){.press = "none", .policy = "none", .keep_ratio = 1, .is_baseline = true};
    rows[0].ppl = exp(base_nll);
    rows[0].pooled_nll = base_nll;
    rows[0].n_scored = 2000;
    rows[0].kept_min = rows[0].kept_max = 399;
    rows[0].kept_mean = 399;
    rows[0].kv_bytes = 98304;
    rows[0].texts = sweep_texts(f, n_samples, base_nll);
    for (size_t p = 0; p < n_presses; p++) {
        for (size_t i = 0; i < n_ratios; i++) {
            kvl_report_row *row = &rows[1 + p * n_ratios + i];
            *row = sweep_row(f, &presses[p], i, n_samples, base_nll);
            row->delta.n_clusters = n_samples;
            row->delta.is_few = n_samples < KVL_FEW_CLUSTERS;
        }
    }
    *r = (kvl_report){.title = text_of(f, title),
                      .protocol =
                          "fed token by token, 5 samples of 400 tokens, 2000 scored; baseline: the same "
                          "tokens with the full cache",
                      .how = "avx512bf16, f32, 2 threads, kvlab 0.1.0",
                      .command = "kvlab sweep --preset ucurve -P knorm,recency,snapkv,h2o",
                      .notes = notes,
                      .n_notes = 2,
                      .rows = rows,
                      .n_rows = 1 + n_presses * n_ratios,
                      .n_samples = n_samples,
                      .n_resamples = n_samples < KVL_FEW_CLUSTERS ? 0 : 10000,
                      .seed = n_samples < KVL_FEW_CLUSTERS ? 0 : 1};
    return r;
}

/* ---- a simulated policy on drawn norms ---- */

static double draw(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 11) * 0x1p-53;
}

typedef struct rule {
    const char *policy;
    double keep;
    bool is_by_age;  /* the newest stay, instead of the lowest norms */
    size_t n_recent; /* protected */
    double nll;
} rule;

/* left_at [n] of one head whose policy acts whenever it holds `cap` entries. */
static void evict(uint32_t *left_at, const float *norms, size_t n, const rule *r) {
    size_t held[cap];
    size_t n_held = 0;
    for (size_t t = 0; t < n; t++) {
        left_at[t] = UINT32_MAX;
        held[n_held++] = t;
        const size_t n_keep = n_held == cap ? (size_t)ceil(r->keep * cap) : cap;
        while (n_held > n_keep) {
            size_t worst = 0; /* the oldest, or that of highest norm */
            for (size_t i = 1; i + r->n_recent < n_held && !r->is_by_age; i++) {
                worst = norms[held[i]] > norms[held[worst]] ? i : worst;
            }
            left_at[held[worst]] = (uint32_t)t + 1;
            memmove(held + worst, held + worst + 1, (n_held - worst - 1) * sizeof held[0]);
            n_held--;
        }
    }
}

/* ---- the portrait ---- */

/* Tokens, with ~ between them. */
static const char passage[] =
    "<|endoftext|>~It~ was~ the~ best~ of~ times~,~ it~ was~ the~ worst~ of~ times~,~ it~ was~ the~"
    " age~ of~ wis~dom~,~ it~ was~ the~ age~ of~ fool~ish~ness~,~ it~ was~ the~ ep~och~ of~ belief~"
    ",~\n~\n~it~ was~ the~ ep~och~ of~ in~cred~ul~ity~,~ it~ was~ the~ season~ of~ Light~,~ it~ was~"
    " the~ season~ of~ Dark~ness~,~\t~ ~caf~\xc3\xa9~\xef\xbf\xbd~ ~\xe7\xbc\x93~\xe5\xad\x98~.";
static const char hostile_passage[] =
    "<script>alert(1)</script>~</span>~&amp;~\"onmouseover=\"x~'~</script>~]]>~"
    "<!--~\xe2\x80\xae~\x1b[2J~\r\n";

static float drawn_norm(uint64_t *state, size_t layer, size_t n_layers, size_t position) {
    const double level = 8 + 6 * sin(2.4 * (double)layer / (double)n_layers);
    const double noise = draw(state) + draw(state) + draw(state) - 1.5;
    return (float)(level + 1.6 * noise - (position == 0 ? 0.35 * level : 0));
}

static void fill_heads(kvl_portrait *p) {
    uint64_t state = 7;
    for (size_t h = 0; h < p->n_layers * p->n_heads; h++) {
        const size_t layer = h / p->n_heads;
        const double slope = 1.2 * sin(0.7 * (double)h + 0.5 * (double)layer); /* of log attention by norm */
        float *norms = p->norms + h * p->n_tokens;
        for (size_t t = 0; t < p->n_tokens; t++) {
            norms[t] = drawn_norm(&state, layer, p->n_layers, t);
            const double level = 8 + 6 * sin(2.4 * (double)layer / (double)p->n_layers);
            const double log_attention =
                -4.2 + slope * ((double)norms[t] - level) / 1.6 + 0.8 * draw(&state) + (t == 0 ? 3 : 0);
            p->attention[h * p->n_tokens + t] =
                t + 1 < p->n_tokens ? (float)exp(fmin(log_attention, -0.1)) : 0;
        }
    }
}

static void fill_policy(fixture *f, kvl_portrait *p, size_t i, const rule *r) {
    kvl_portrait_policy *policy = &p->policies[i];
    const size_t n_heads = p->n_layers * p->n_heads;
    uint64_t state = 11;
    policy->policy = text_of(f, r->policy);
    policy->left_at = take(f, n_heads * p->n_tokens, sizeof(uint32_t));
    policy->nll = take(f, p->n_tokens, sizeof(double));
    for (size_t h = 0; h < n_heads; h++) {
        uint32_t *left_at = policy->left_at + h * p->n_tokens;
        if (r->keep < 1 && h / p->n_heads >= p->n_skipped) {
            evict(left_at, p->norms + h * p->n_tokens, p->n_tokens, r);
        } else {
            memset(left_at, 0xff, p->n_tokens * sizeof *left_at);
        }
    }
    for (size_t t = 0; t < p->n_tokens; t++) {
        policy->nll[t] = t == 0 ? (double)NAN : 6 * draw(&state) + (r->nll - 3) * (t > cap);
    }
}

static const rule rules[] = {
    {"none", 1, false, 0, 4.160},
    {"knorm:keep=0.95:cap=32:skip=0", 0.95, false, 0, 5.432},
    {"knorm:keep=0.1:cap=32:skip=0", 0.1, false, 0, 4.508},
    {"recency:keep=0.95:cap=32:skip=0", 0.95, true, 0, 4.231},
    {"knorm:keep=0.95:cap=32:skip=0:recent=4", 0.95, false, 4, 4.492},
    /* arms of the study only, but in the large one */
    {"knorm:keep=0.9:cap=32:skip=0", 0.9, false, 0, 4.942},
    {"knorm:keep=0.75:cap=32:skip=0", 0.75, false, 0, 4.673},
    {"knorm:keep=0.5:cap=32:skip=0", 0.5, false, 0, 4.560},
    {"knorm:keep=0.3:cap=32:skip=0", 0.3, false, 0, 4.529},
    {"recency:keep=0.5:cap=32:skip=0", 0.5, true, 0, 4.262},
    {"knorm:keep=0.95:cap=32:skip=0:recent=1", 0.95, false, 1, 4.715},
    {"knorm:keep=0.95:cap=32:skip=0:recent=16", 0.95, false, 16, 4.350},
};
enum { n_rules = sizeof rules / sizeof rules[0], n_portrait_rules = 5 };

/* Piece i of a passage that begins again and again. */
static char *piece_of(fixture *f, const char *words, size_t i) {
    const char *at = words;
    for (; i > 0; i--) {
        const char *end = strchr(at, '~');
        at = end != NULL ? end + 1 : words;
    }
    char *piece = text_of(f, at);
    piece[strcspn(piece, "~")] = '\0';
    return piece;
}

static kvl_portrait *portrait_of(fixture *f, size_t n_layers, size_t n_heads, size_t n_tokens,
                                 size_t n_policies) {
    kvl_portrait *p = take(f, 1, sizeof *p);
    p->command = text_of(f, "kvlab explain --budget quick");
    p->text = text_of(f, f->text_name);
    p->n_layers = n_layers;
    p->n_heads = n_heads;
    p->n_tokens = n_tokens;
    p->n_skipped = 1;
    p->n_policies = n_policies;
    p->pieces = take(f, n_tokens, sizeof *p->pieces);
    for (size_t t = 0; t < n_tokens; t++) {
        p->pieces[t] =
            f->is_hostile && t % 3 == 1 ? piece_of(f, hostile_passage, t / 3) : piece_of(f, passage, t);
    }
    p->norms = take(f, n_layers * n_heads * n_tokens, sizeof *p->norms);
    p->attention = take(f, n_layers * n_heads * n_tokens, sizeof *p->attention);
    fill_heads(p);
    p->policies = take(f, n_policies, sizeof *p->policies);
    for (size_t i = 0; i < n_policies; i++) {
        fill_policy(f, p, i, &rules[i]);
    }
    return p;
}

/* ---- the cause ---- */

static void fill_arm(fixture *f, kvl_arm_line *arm, const rule *r) {
    enum { n_heads = 24, n_tokens = 176 };
    float norms[n_tokens];
    uint32_t left_at[n_tokens];
    uint64_t state = 3;
    size_t n_steps[n_lags] = {0};
    *arm = (kvl_arm_line){.policy = text_of(f, r->policy),
                          .keep_ratio = r->keep < 1 ? r->keep : (double)NAN,
                          .nll = r->nll,
                          .n_lags = n_lags};
    for (size_t h = 0; h < n_heads; h++) {
        for (size_t t = 0; t < n_tokens; t++) {
            norms[t] = drawn_norm(&state, h / 4, 6, t);
            left_at[t] = UINT32_MAX;
        }
        if (r->keep < 1) {
            evict(left_at, norms, n_tokens, r);
        }
        for (size_t t = cap; t < n_tokens; t++) {
            for (size_t j = 0; j < n_lags && j < t; j++) {
                arm->lag_visible[j] += left_at[t - j - 1] > t;
                n_steps[j]++;
            }
        }
    }
    for (size_t j = 0; j < n_lags; j++) {
        arm->lag_visible[j] /= (double)n_steps[j];
    }
}

typedef struct verdict_words {
    const char *id, *name, *claim, *verdict, *why, *what, *unit;
    double effect, half, p;
    const char *outcome;
} verdict_words;

static const verdict_words verdicts[] = {
    {"H1", "critical mid-norm tokens",
     "keys ranked just below the highest norms carry the meaning; evicting exactly those explodes PPL",
     "refuted", "against it: KnormPress once at 0.95 above once at 0.5: a U-curve without a schedule",
     "KnormPress once at 0.95 above once at 0.5: a U-curve without a schedule", "nats/token", -0.190, 0.057,
     0.0076, "against"},
    {"H2", "conflict beats insufficiency",
     "a cache with few keys missing gives confident wrong predictions, one with many missing cautious ones: "
     "conflicting information is worse than missing information",
     "refuted", "against it: (b) predictive entropy, 0.3 above 0.95",
     "(b) predictive entropy, 0.3 above 0.95", "nats/token", -0.467, 0.038, 0.0076, "against"},
    {"H5", "scale", "large models have redundancy: light compression is harmless there", "cannot tell here",
     "one model was run: compare the spike at the same cap over models of one family",
     "the spike at cap 32 with 6.836 million parameters", "nats/token", 0.924, 0.067, (double)NAN,
     "undecided"},
    {"H8", "recency and refresh",
     "the curve is set by which of the last few tokens are still visible, not by norms or meaning",
     "supported", "all 6 deciding findings are as predicted",
     "(a) removed at 0.95 by protecting the newest 4 keys", "share of the spike", 1.018, 0.029, 0.0076,
     "as predicted"},
    {"H10", "92.9 % better TTFT", "compression improves time to first token by 92.9 %", "refuted",
     "against it: TTFT saved by KnormPress at 0.75, 256 prompt tokens, 20 rounds in turn",
     "TTFT saved by KnormPress at 0.75, 256 prompt tokens, 20 rounds in turn", "share of TTFT", -0.036, 0.006,
     0.0076, "against"},
    {"H12", "low norm, high attention", "keys of low norm receive much attention (the premise of KnormPress)",
     "refuted", "against it: key norm with mean attention received, compressed layers",
     "key norm with mean attention received, compressed layers", "rank correlation", 0.541, 0.007, 0.0076,
     "against"},
};
enum { n_verdicts = sizeof verdicts / sizeof verdicts[0] };

static void fill_verdict(fixture *f, kvl_verdict_line *v, const verdict_words *w) {
    char command[64];
    snprintf(command, sizeof command, "kvlab explain --only %s --budget quick", w->id);
    *v = (kvl_verdict_line){.id = text_of(f, w->id),
                            .name = text_of(f, w->name),
                            .claim = text_of(f, w->claim),
                            .prediction = text_of(f, "what would be seen if it were true"),
                            .experiment = text_of(f, "how it was looked for"),
                            .verdict = text_of(f, w->verdict),
                            .why = text_of(f, w->why),
                            .command = text_of(f, command),
                            .findings = take(f, 2, sizeof *v->findings),
                            .n_findings = 2};
    v->findings[0] = (kvl_finding_line){.what = text_of(f, w->what),
                                        .unit = text_of(f, w->unit),
                                        .effect = around(w->effect, w->half),
                                        .p_adjusted = w->p,
                                        .outcome = text_of(f, w->outcome),
                                        .is_deciding = isfinite(w->p)};
    v->findings[1] = (kvl_finding_line){.what = text_of(f, "a finding beside it, whose arms were not run"),
                                        .unit = text_of(f, "nats/token"),
                                        .effect = {.mean = (double)NAN, .p = (double)NAN},
                                        .p_adjusted = (double)NAN,
                                        .outcome = text_of(f, "undecided")};
}

static kvl_cause_content *cause_of(fixture *f) {
    static const double removed[][2] = {
        {0.564, 0.027}, {0.673, 0.024}, {0.740, 0.022}, {0.793, 0.020}, {0.850, 0.018}};
    kvl_cause_content *c = take(f, 1, sizeof *c);
    *c = (kvl_cause_content){.command = text_of(f, "kvlab explain --budget quick"),
                             .texts = text_of(f, "70 samples, A1-A60 B1-B10"),
                             .n_texts = 64,
                             .spike = around(0.924, 0.067),
                             .excess_light = around(1.271, 0.073),
                             .excess_best = around(0.348, 0.028),
                             .best = text_of(f, "knorm:keep=0.1:cap=32:skip=0"),
                             .n_protections = sizeof removed / sizeof removed[0],
                             .by_chance = around(0.578, 0.051),
                             .lag_one = around(0.486, 0.006)};
    for (size_t i = 0; i < c->n_protections; i++) {
        c->protections[i] = (size_t)1 << i;
        c->removed[i] = around(removed[i][0], removed[i][1]);
    }
    c->isa = text_of(f, "avx512bf16");
    c->arith = text_of(f, "f32");
    c->n_arms = n_rules;
    c->arms = take(f, n_rules, sizeof *c->arms);
    for (size_t i = 0; i < n_rules; i++) {
        fill_arm(f, &c->arms[i], &rules[i]);
    }
    c->n_verdicts = n_verdicts;
    c->verdicts = take(f, n_verdicts, sizeof *c->verdicts);
    for (size_t i = 0; i < n_verdicts; i++) {
        fill_verdict(f, &c->verdicts[i], &verdicts[i]);
    }
    return c;
}

/* ---- time, retrieval, recommendation, bench ---- */

static kvl_time_content *time_of(fixture *f) {
    static const kvl_time_line lines[] = {
        {(char *)"none", 1, 41.2e6, 0, 1.31e6, 6291456, 6291456, 58720256},
        {(char *)"knorm:keep=0.75", 0.75, 42.7e6, 0.9e6, 1.19e6, 4718592, 6291456, 58982400},
        {(char *)"snapkv:keep=0.5", 0.5, 44.9e6, 2.8e6, 1.02e6, 3145728, 6291456, 59244544},
        {(char *)"recency:keep=0.25", 0.25, 41.5e6, 0.1e6, 0.88e6, 1572864, 6291456, 58851328},
    };
    kvl_time_content *t = take(f, 1, sizeof *t);
    t->command = text_of(f, "kvlab sweep --preset timing");
    t->n_prompt = 512;
    t->n_new = 32;
    t->n_repetitions = 7;
    t->isa = text_of(f, "avx512bf16");
    t->n_threads = 2;
    t->n = sizeof lines / sizeof lines[0];
    t->lines = take(f, t->n, sizeof *t->lines);
    memcpy(t->lines, lines, sizeof lines);
    return t;
}

static void fill_grid(fixture *f, kvl_needle_grid *g, const char *task, const char *policy, unsigned kind) {
    static const size_t lengths[] = {256, 512, 1024};
    static const size_t depths[] = {0, 25, 50, 75, 100};
    enum { n_lengths = 3, n_depths = 5, n_trials = 6 };
    *g = (kvl_needle_grid){.task = text_of(f, task),
                           .policy = text_of(f, policy),
                           .lengths = take(f, n_lengths, sizeof(size_t)),
                           .depths = take(f, n_depths, sizeof(size_t)),
                           .n_lengths = n_lengths,
                           .n_depths = n_depths,
                           .n_right = take(f, n_lengths * n_depths, sizeof(size_t)),
                           .n_right_full = take(f, n_lengths * n_depths, sizeof(size_t)),
                           .n_trials = take(f, n_lengths * n_depths, sizeof(size_t)),
                           .is_judged = take(f, n_lengths * n_depths, sizeof(bool))};
    memcpy(g->lengths, lengths, sizeof lengths);
    memcpy(g->depths, depths, sizeof depths);
    uint64_t state = 5 + kind;
    for (size_t i = 0; i < n_lengths * n_depths; i++) {
        g->n_trials[i] = n_trials;
        g->n_right_full[i] = i == n_lengths * n_depths - 1 ? 4 : n_trials;
        g->is_judged[i] = g->n_right_full[i] * 10 >= n_trials * 8;
        g->n_right[i] = kind == 0   ? g->n_right_full[i]
                        : kind == 1 ? (size_t)(draw(&state) * 4)
                        : kind == 2 ? (i % n_depths >= 3 ? n_trials : 0)
                                    : (i % n_depths >= 2 ? n_trials : 0);
    }
}

static kvl_needle_content *needle_of(fixture *f) {
    static const char *const tasks[] = {"needle", "passkey"};
    static const char *const policies[] = {"none", "knorm:keep=0.5", "snapkv:keep=0.5", "streaming:keep=0.5"};
    kvl_needle_content *n = take(f, 1, sizeof *n);
    n->command = text_of(f, "kvlab needle --task needle,passkey -P knorm,snapkv,streaming -r 0.5");
    n->n = 8;
    n->grids = take(f, n->n, sizeof *n->grids);
    for (unsigned i = 0; i < n->n; i++) {
        fill_grid(f, &n->grids[i], tasks[i / 4], policies[i % 4], i % 4);
    }
    return n;
}

static kvl_choice_line choice_line(const char *policy, const char *cache, double loss, double share) {
    return (kvl_choice_line){.policy = (char *)policy,
                             .cache = (char *)cache,
                             .loss = around(loss, 0.004 + 0.2 * fabs(loss)),
                             .kv_bytes = share * 12582912,
                             .kv_share = share,
                             .ttft_ratio = 1.02,
                             .tpot_ratio = 0.6 + 0.4 * share};
}

static kvl_choice_content *choice_of(fixture *f) {
    kvl_choice_content *c = take(f, 1, sizeof *c);
    c->command = text_of(f, "kvlab recommend --max-loss 0.02");
    c->max_loss = 0.02;
    c->n_clusters = 36;
    c->n = 6;
    c->lines = take(f, c->n, sizeof *c->lines);
    c->lines[0] = choice_line("snapkv:keep=0.25", "q8_0/q4_0", 0.182, 0.049);
    c->lines[1] = choice_line("snapkv:keep=0.5", "q8_0/q4_0", 0.041, 0.099);
    c->lines[2] = choice_line("snapkv:keep=0.75", "q8_0/q4_0", 0.012, 0.148);
    c->lines[3] = choice_line("none", "q8_0/q4_0", 0.003, 0.198);
    c->lines[4] = choice_line("snapkv:keep=0.75", "f32/f32", 0.009, 0.75);
    c->lines[5] = choice_line("none", "f32/f32", 0, 1);
    c->lines[5].loss = (kvl_estimate){.n_clusters = 36, .p = (double)NAN};
    c->lines[4].ttft_ratio = c->lines[4].tpot_ratio = (double)NAN;
    c->lines[2].is_answer = c->lines[5].is_full = c->lines[4].is_behind = true;
    for (size_t i = 2; i < 6; i++) {
        c->lines[i].qualifies = true;
    }
    return c;
}

static kvl_bench_content *bench_of(fixture *f) {
    static const kvl_bench_line lines[] = {{(char *)"pp512", (char *)"none", 8214, 61},
                                           {(char *)"tg128", (char *)"none", 901.5, 8.2},
                                           {(char *)"tg128 @ d4096", (char *)"none", 288.4, 3.9},
                                           {(char *)"tg128 @ d4096", (char *)"knorm:keep=0.5", 401.7, 4.4}};
    kvl_bench_content *b = take(f, 1, sizeof *b);
    b->command = text_of(f, "kvlab bench -p 512 -n 128 -d 4096");
    b->cpu = text_of(f, "Example CPU @ 2.00GHz");
    b->n = 4;
    b->lines = take(f, b->n, sizeof *b->lines);
    memcpy(b->lines, lines, sizeof lines);
    return b;
}

/* ---- all ---- */

static void fill_head(fixture *f) {
    kvl_content *c = &f->content;
    c->model = text_of(f, f->model);
    c->preset = text_of(f, "ucurve");
    c->protocol_name = text_of(f, "stream");
    c->group = text_of(f, "3f2a9c1d5e7b8a60");
    c->made = text_of(f, "2026-01-01T12:00:00Z");
    c->version = text_of(f, "0.1.0");
    c->store = text_of(f, "results.db");
    c->other_groups = take(f, 2, sizeof *c->other_groups);
}

static void fill_rest(fixture *f, bool is_large) {
    kvl_content *c = &f->content;
    c->sweep = sweep_of(f, sizeof presses / sizeof presses[0], is_large ? 24 : n_texts);
    c->n_cells = 335;
    c->n_failed = 1;
    c->cause = cause_of(f);
    c->portrait =
        is_large ? portrait_of(f, 30, 16, 512, n_rules) : portrait_of(f, 6, 4, 176, n_portrait_rules);
    c->time = time_of(f);
    c->needle = needle_of(f);
    c->choice = choice_of(f);
    c->bench = bench_of(f);
    c->n_other_groups = 2;
    kvl_str_puts(&c->other_groups[0], "paper-quick on gemma-3-270m: kvlab report --group 91ab");
    kvl_str_printf(&c->other_groups[1], "ucurve-compare on %s: kvlab report --group 77cd", f->model);
}

kvl_content *content_fixture(content_kind kind) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->is_hostile = kind == CONTENT_HOSTILE;
    f->model = f->is_hostile           ? "<script>alert(1)</script>\"'&\x1b[2J\xff"
               : kind == CONTENT_LARGE ? "SmolLM2-135M-Instruct-with-a-rather-long-file-name.Q4_1.gguf"
                                       : "novels-7m";
    f->text_name = f->is_hostile ? "</title><img src=x onerror=alert(1)>" : "A1";
    fill_head(f);
    if (kind == CONTENT_SPARSE) {
        f->content.sweep = sweep_of(f, 1, n_texts);
        f->content.n_cells = 60;
    } else if (kind != CONTENT_EMPTY) {
        fill_rest(f, kind == CONTENT_LARGE);
    }
    return &f->content;
}

void content_fixture_free(kvl_content *c) {
    fixture *f = (fixture *)c;
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n_other_groups; i++) {
        kvl_str_free(&c->other_groups[i]);
    }
    while (f->blocks != NULL) {
        void *next = *(void **)f->blocks;
        free(f->blocks);
        f->blocks = next;
    }
    free(f);
}
