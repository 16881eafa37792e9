/* Protocols on SmolLM2 against llama.cpp, the recipe of transformers and lm_eval, all on the same float32
 * weights. Skipped where the model (tools/get-smollm2) is not. */
#include "protocol_golden.h"

#include <stdlib.h>

enum { status_skipped = 77 };

static golden_model smollm2;

static const char *path_of_model(void) {
    const char *path = getenv("KVL_TEST_SMOLLM2");
    return path != NULL ? path : test_path("models-extra/SmolLM2-135M-Instruct.Q4_1.gguf");
}

static int setup(void **state) {
    (void)state;
    golden_open(&smollm2, path_of_model(), "tests/golden/protocols/smollm2.json");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_close(&smollm2);
    return 0;
}

static void test_llama_chunk(void **state) {
    (void)state;
    const kvl_window_rule rule = {.window = golden_number(&smollm2, "chunk")};
    golden_check(&smollm2, "llama-chunk", rule, 3e-4, NULL);
}

static void test_hf_strided(void **state) {
    (void)state;
    const kvl_window_rule rule = {.window = golden_number(&smollm2, "window"),
                                  .stride = golden_number(&smollm2, "stride")};
    golden_check(&smollm2, "hf-strided", rule, 2e-5, NULL);
    const json_t *golden = json_object_get(smollm2.json, "hf-strided");
    golden_near("the recipe", json_number_value(json_object_get(golden, "ppl")),
                json_number_value(json_object_get(golden, "recipe_ppl")), 1e-3);
}

static void test_lm_eval_rolling(void **state) {
    (void)state;
    const kvl_window_rule rule = {.window = golden_number(&smollm2, "rolling")};
    const int64_t prefix =
        json_integer_value(json_object_get(json_object_get(smollm2.json, "lm-eval-rolling"), "prefix"));
    assert_int_equal(kvl_tokenizer_bos(smollm2.tokenizer), -1); /* none is put in front of texts */
    assert_int_equal(kvl_tokenizer_start(smollm2.tokenizer), prefix);
    golden_check(&smollm2, "lm-eval-rolling", rule, 2e-5, NULL);
}

int main(void) {
    if (!kvl_file_exists(path_of_model())) {
        printf("%s: not there (tools/get-smollm2)\n", path_of_model());
        return status_skipped;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_chunk),
        cmocka_unit_test(test_hf_strided),
        cmocka_unit_test(test_lm_eval_rolling),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
