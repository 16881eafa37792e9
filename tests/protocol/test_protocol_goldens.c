/* Protocols on the bundled model, against the recipe of transformers, lm_eval itself and the loop of
 * llama-perplexity. What scored tokens read is what a policy left: where it leaves nearly nothing, they
 * suffer. */
#include "protocol_golden.h"

/* Float32 in another order. */
static const double same = 1e-5;

static golden_model novels;

static int setup(void **state) {
    (void)state;
    golden_open(&novels, test_path("models/novels-7m"), "tests/golden/protocols/novels-7m.json");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_close(&novels);
    return 0;
}

static void test_hf_strided(void **state) {
    (void)state;
    const kvl_window_rule rule = {.window = golden_number(&novels, "window"),
                                  .stride = golden_number(&novels, "stride")};
    golden_check(&novels, "hf-strided", rule, same, "recency:size=2:skip=none");
    /* the recipe itself, which weighs windows by a token less than it scores in them */
    const json_t *golden = json_object_get(novels.json, "hf-strided");
    golden_near("the recipe", json_number_value(json_object_get(golden, "ppl")),
                json_number_value(json_object_get(golden, "recipe_ppl")), 1e-3);
}

static void test_llama_chunk(void **state) {
    (void)state;
    const kvl_window_rule rule = {.window = golden_number(&novels, "chunk")};
    golden_check(&novels, "llama-chunk", rule, same, "recency:size=2:cadence=once:skip=none");
    golden_check(&novels, "llama-chunk", rule, same, "recency:size=2:skip=none");
}

static void test_lm_eval_rolling(void **state) {
    (void)state;
    golden_check(&novels, "lm-eval-rolling", (kvl_window_rule){.window = golden_number(&novels, "rolling")},
                 same, "recency:size=2:skip=none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hf_strided),
        cmocka_unit_test(test_llama_chunk),
        cmocka_unit_test(test_lm_eval_rolling),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
