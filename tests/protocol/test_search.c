/* Windows to search and to test on; and a whole search on the bundled model, small. */
#include "bundled.h"

#include "protocol/recommend.h"

#include <math.h>
#include <string.h>

enum { N_PROMPT = 48, N_NEW = 8, WINDOW = N_PROMPT + N_NEW + 1 };

static int open_all(void **state) {
    (void)state;
    return open_bundled("B1-B2 A1-A20");
}

/* The halves of a text share no token; windows are whole, apart, and know their text. */
static void test_cut(void **state) {
    (void)state;
    const kvl_samples book = {samples.items, 1};
    kvl_cuts halves[2] = {0};
    kvl_cuts whole = {0};
    size_t last[2] = {0};
    size_t first[2] = {SIZE_MAX, SIZE_MAX};
    for (int h = 0; h < 2; h++) {
        assert_ok(kvl_cut(&halves[h], &book, 0, 1, h == 0 ? KVL_FIRST_HALF : KVL_SECOND_HALF, N_PROMPT, N_NEW,
                          1000, &assert_ok_err));
        assert_int_equal(halves[h].n_texts, 1);
        for (size_t i = 0; i < halves[h].windows.n; i++) {
            const kvl_sample *w = &halves[h].windows.items[i];
            assert_int_equal(w->ids.n, WINDOW);
            assert_int_equal(w->text, 0);
            assert_memory_equal(w->ids.ids + 1, book.items[0].ids.ids + w->begin + 1,
                                (WINDOW - 1) * sizeof *w->ids.ids);
            first[h] = w->begin < first[h] ? w->begin : first[h];
            last[h] = w->begin > last[h] ? w->begin : last[h];
        }
    }
    assert_true(last[0] + WINDOW <= first[1]);
    assert_int_equal(halves[0].windows.n + halves[1].windows.n, book.items[0].ids.n / WINDOW);
    assert_ok(kvl_cut(&whole, &samples, 1, 2, KVL_WHOLE, N_PROMPT, N_NEW, 3, &assert_ok_err));
    assert_int_equal(whole.n_texts, samples.n / 2);
    assert_int_equal(whole.windows.n, 3 * whole.n_texts);
    assert_int_equal(whole.windows.items[3].text, 1);
    assert_true(whole.windows.items[0].begin < whole.windows.items[1].begin);
    assert_ok(kvl_cut(&whole, &book, 0, 1, KVL_WHOLE, book.items[0].ids.n, 1, 1, &assert_ok_err));
    assert_int_equal(whole.n_short, 1);
    kvl_cuts_free(&whole);
    kvl_cuts_free(&halves[0]);
    kvl_cuts_free(&halves[1]);
}

static void test_coarse(void **state) {
    (void)state;
    const size_t expected[7][4] = {{0},       {1, 0},       {2, 0, 1},   {3, 0, 1, 2},
                                   {2, 1, 2}, {3, 1, 2, 3}, {3, 1, 3, 4}};
    for (size_t n = 0; n < 7; n++) {
        size_t indices[3] = {0};
        assert_int_equal(kvl_coarse_budgets(indices, n), expected[n][0]);
        assert_memory_equal(indices, expected[n] + 1, expected[n][0] * sizeof *indices);
    }
}

static bool stop_at_finals(void *ud, const kvl_recommend_progress *p) {
    *(size_t *)ud = p->stage;
    return p->stage < 4;
}

static kvl_recommend_config config_of(const kvl_cuts *tune, const kvl_cuts *test, const kvl_policy *policies,
                                      size_t n_policies) {
    static const double ratios[] = {0.75, 0.25};
    return (kvl_recommend_config){.tune = tune,
                                  .test = test,
                                  .n_prompt = N_PROMPT,
                                  .n_new = N_NEW,
                                  .policies = policies,
                                  .n_policies = n_policies,
                                  .ratios = ratios,
                                  .n_ratios = 2,
                                  .forms = {{KVL_KV_F32, KVL_KV_F32}, {KVL_KV_Q8_0, KVL_KV_Q8_0}},
                                  .n_forms = 2,
                                  .wish = {.max_loss = 5},
                                  .n_finalists = 5,
                                  .n_repetitions = 2,
                                  .n_timed = 2,
                                  .options = {.n_threads = 2}};
}

/* Medians are those of the repetitions, which are all there. */
static void check_times(const kvl_recommend *r) {
    for (size_t i = 0; i < r->n_finalists + 2; i++) {
        const kvl_claim *claim = i < 2 ? &r->full.claim : &r->finalists[i - 2].claim;
        const kvl_timing_sample *own = r->times + 2 * i;
        assert_true(own[0].tpot_ns > 0 && own[1].tpot_ns > 0);
        if (i != 1) {
            assert_true(claim->tpot_ns.value == 0.5 * (own[0].tpot_ns + own[1].tpot_ns));
        } else {
            const double ratios[2] = {own[0].tpot_ns / r->times[0].tpot_ns,
                                      own[1].tpot_ns / r->times[1].tpot_ns};
            assert_true(r->same_tpot.value == 0.5 * (ratios[0] + ratios[1]));
        }
    }
}

static void test_search(void **state) {
    (void)state;
    kvl_cuts tune = {0};
    kvl_cuts test = {0};
    kvl_recommend r;
    size_t stage = 0;
    assert_ok(kvl_cut(&tune, &samples, 0, 11, KVL_WHOLE, N_PROMPT, N_NEW, 2, &assert_ok_err));
    assert_ok(kvl_cut(&test, &samples, 1, 1, KVL_WHOLE, N_PROMPT, N_NEW, 1, &assert_ok_err));
    const kvl_policy policies[] = {test_policy("knorm(high)"), test_policy("streaming"), test_policy("tova"),
                                   test_policy("knorm:size=9")};
    kvl_recommend_config config = config_of(&tune, &test, policies, 4);
    assert_ok(kvl_recommend_run(&r, model, &config, &assert_ok_err));
    /* every bound is generous: the answer is the smallest that the search took to the finals */
    assert_int_equal(r.answer, 0);
    assert_int_equal(r.n_clusters, test.n_texts);
    assert_false(r.is_by_window);
    assert_int_equal(r.full.claim.bytes, (N_PROMPT + N_NEW) * 12288);
    size_t n_none = 0;
    for (size_t i = 0; i < r.n_finalists; i++) {
        const kvl_finalist *f = &r.finalists[i];
        const kvl_trial *trial = &r.trials[f->trial];
        const bool is_none = kvl_policy_press(&trial->policy)->is_identity;
        const size_t n_left = is_none ? N_PROMPT
                              : trial->policy.size_tok != 0
                                  ? 9
                                  : kvl_budget_target(trial->policy.keep_ratio, 0, N_PROMPT);
        assert_int_equal(f->claim.bytes, (n_left + N_NEW) * (trial->form == 0 ? 12288 : 3264));
        assert_int_equal(f->kv_bytes_live, n_left * (trial->form == 0 ? 12288 : 3264));
        assert_true(f->kv_bytes_peak >= N_PROMPT * (trial->form == 0 ? 12288 : 3264));
        assert_true(f->claim.loss.has_interval && isfinite(f->claim.p));
        assert_true(i == 0 || f->claim.bytes >= r.finalists[i - 1].claim.bytes);
        assert_true(f->smallest > 0);
        n_none += is_none;
    }
    assert_int_equal(n_none, 1); /* q8_0 */
    assert_int_equal(r.missed, r.n_trials);
    check_times(&r);
    kvl_recommend_free(&r);
    /* only types are within this limit: the evicting setting that lost least is named */
    config.wish.max_loss = 0.01;
    assert_ok(kvl_recommend_run(&r, model, &config, &assert_ok_err));
    assert_int_equal(r.n_finalists, 1);
    assert_true(r.missed < r.n_trials && r.trials[r.missed].loss > 0.01);
    for (size_t i = 0; i < r.n_trials; i++) {
        const kvl_trial *t = &r.trials[i];
        assert_true(!t->is_whole || kvl_policy_press(&t->policy)->is_identity ||
                    t->loss >= r.trials[r.missed].loss);
    }
    kvl_recommend_free(&r);
    config.progress = stop_at_finals;
    config.progress_ud = &stage;
    assert_int_equal(kvl_recommend_run(&r, model, &config, NULL), KVL_E_INTERRUPTED);
    assert_int_equal(stage, 4);
    kvl_cuts_free(&tune);
    kvl_cuts_free(&test);
}

/* Without texts there is no search. */
static void test_no_texts(void **state) {
    (void)state;
    kvl_cuts none = {0};
    kvl_recommend r;
    const kvl_policy policy = test_policy("knorm");
    const kvl_recommend_config config = config_of(&none, &none, &policy, 1);
    kvl_err err = {0};
    assert_int_equal(kvl_recommend_run(&r, model, &config, &err), KVL_E_TEXT);
    assert_non_null(strstr(err.msg, "at least 57 tokens"));
}

/* Presses that keep everything, in a cache that stays as it is. */
static void test_nothing_to_search(void **state) {
    (void)state;
    kvl_cuts tune = {0};
    kvl_recommend r;
    kvl_err err = {0};
    assert_ok(kvl_cut(&tune, &samples, 0, 20, KVL_WHOLE, N_PROMPT, N_NEW, 1, &assert_ok_err));
    const kvl_policy policy = test_policy("none");
    kvl_recommend_config config = config_of(&tune, &tune, &policy, 1);
    config.n_forms = 1;
    assert_int_equal(kvl_recommend_run(&r, model, &config, &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "expected a press that evicts"));
    kvl_cuts_free(&tune);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_coarse),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_no_texts),
        cmocka_unit_test(test_nothing_to_search),
    };
    return cmocka_run_group_tests(tests, open_all, close_bundled);
}
