/* config.json of every family: what is impossible or not known is refused by name. Each case is one field
 * away from a config of tests/golden/families, which loads. */
#include "support.h"

#include "model/config.h"

#include <stdlib.h>
#include <string.h>

/* Parses the config of a family with `key` set to the JSON text `value` (NULL: removed). */
static kvl_status parse(kvl_config *config, const char *family, const char *key, const char *value,
                        kvl_err *err) {
    kvl_str path = {0};
    kvl_str_printf(&path, "tests/golden/families/%s/config.json", family);
    json_t *object = test_load_json(kvl_str_text(&path));
    if (key != NULL && value == NULL) {
        assert_int_equal(json_object_del(object, key), 0);
    } else if (key != NULL) {
        json_t *changed = json_loads(value, JSON_DECODE_ANY, NULL);
        assert_non_null(changed);
        assert_int_equal(json_object_set_new(object, key, changed), 0);
    }
    char *text = json_dumps(object, 0);
    assert_non_null(text);
    kvl_status status = kvli_config_parse(config, text, strlen(text), "config.json", err);
    free(text);
    json_decref(object);
    kvl_str_free(&path);
    return status;
}

static void check(const char *family, const char *key, const char *value, kvl_status want, const char *part) {
    kvl_config config;
    kvl_err err = {0};
    kvl_status status = parse(&config, family, key, value, &err);
    if (status != want || strstr(err.msg, part) == NULL) {
        fail_msg("%s, %s %s: expected %s with '%s', found %s: %s", family, key,
                 value != NULL ? value : "absent", kvl_status_name(want), part, kvl_status_name(status),
                 err.msg);
    }
}

static const char *const llama_like[] = {"llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3"};
enum { N_LLAMA_LIKE = sizeof llama_like / sizeof llama_like[0] };

/* C-01 .. C-04 */
static void test_impossible_numbers(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
        kvl_status want;
    } cases[] = {
        {"num_attention_heads", "0", KVL_E_CONFIG},
        {"num_attention_heads", NULL, KVL_E_MISSING},
        {"num_attention_heads", "2.5", KVL_E_NUM},
        {"num_key_value_heads", "0", KVL_E_CONFIG},
        {"num_key_value_heads", "3", KVL_E_CONFIG},
        {"head_dim", "0", KVL_E_CONFIG},
        {"head_dim", "7", KVL_E_CONFIG},
        {"head_dim", "1000000", KVL_E_CONFIG},
        {"hidden_size", "0", KVL_E_CONFIG},
        {"num_hidden_layers", "0", KVL_E_CONFIG},
        {"num_hidden_layers", "1000000000", KVL_E_CONFIG},
        {"vocab_size", "0", KVL_E_CONFIG},
        {"vocab_size", "1099511627776", KVL_E_CONFIG},
        {"intermediate_size", "2147483648", KVL_E_CONFIG},
        {"max_position_embeddings", "0", KVL_E_CONFIG},
        {"rms_norm_eps", "-1", KVL_E_CONFIG},
        {"rms_norm_eps", "\"x\"", KVL_E_CONFIG},
        {"sliding_window", "-1", KVL_E_CONFIG},
        {"sliding_window", "65", KVL_E_CONFIG}, /* beyond the context of 64 */
        {"tie_word_embeddings", "1", KVL_E_CONFIG},
    };
    for (size_t f = 0; f < N_LLAMA_LIKE; f++) {
        kvl_config config;
        assert_ok(parse(&config, llama_like[f], NULL, NULL, NULL));
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            check(llama_like[f], cases[i].key, cases[i].value, cases[i].want, cases[i].key);
        }
    }
    check("qwen2", "num_attention_heads", "7", KVL_E_CONFIG, "expected a divisor of hidden_size 64, found 7");
    check("llama", "rope_theta", "0", KVL_E_CONFIG, "rope_theta");
    check("llama", "rope_theta", "\"x\"", KVL_E_CONFIG, "rope_theta");
    check("gemma2", "query_pre_attn_scalar", "0", KVL_E_CONFIG, "query_pre_attn_scalar");
    check("gemma2", "final_logit_softcapping", "-1", KVL_E_CONFIG, "final_logit_softcapping");
    check("gemma3", "head_dim", NULL, KVL_E_MISSING, "head_dim"); /* never width / heads */
    check("phi3_partial", "rope_parameters", "{\"partial_rotary_factor\": 0.2, \"rope_theta\": 1e4}",
          KVL_E_CONFIG, "even number of rotated dimensions");
}

/* GPT-2's fields have names of their own. */
static void test_gpt2(void **state) {
    (void)state;
    check("gpt2", "n_head", "0", KVL_E_CONFIG, "n_head");
    check("gpt2", "n_head", "7", KVL_E_CONFIG, "n_head");
    check("gpt2", "n_layer", "1000000000", KVL_E_CONFIG, "n_layer");
    check("gpt2", "n_embd", NULL, KVL_E_MISSING, "n_embd");
    check("gpt2", "n_positions", "0", KVL_E_CONFIG, "n_positions");
    check("gpt2", "n_inner", "4294967296", KVL_E_CONFIG, "n_inner");
    check("gpt2", "layer_norm_epsilon", "-1", KVL_E_CONFIG, "layer_norm_epsilon");
    check("gpt2", "activation_function", "\"relu\"", KVL_E_UNSUPPORTED, "activation_function");
    check("gpt2", "scale_attn_by_inverse_layer_idx", "true", KVL_E_UNSUPPORTED,
          "scale_attn_by_inverse_layer_idx");
    check("gpt2", "add_cross_attention", "true", KVL_E_UNSUPPORTED, "add_cross_attention");
}

/* C-03, C-05: known to change the arithmetic and not implemented for this family, or not known at all. */
static void test_unknown_settings(void **state) {
    (void)state;
    static const char *const kinds[] = {"dynamic", "longrope", "nosuch"};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        kvl_str rope = {0};
        kvl_str inner = {0};
        kvl_str_printf(&rope,
                       "{\"rope_type\": \"%s\", \"rope_theta\": 1e4, \"factor\": 2, \"short_factor\": [1]}",
                       kinds[k]);
        kvl_str_printf(&inner, "{\"full_attention\": %s}", kvl_str_text(&rope));
        for (size_t f = 0; f < N_LLAMA_LIKE; f++) {
            bool is_gemma3 = strcmp(llama_like[f], "gemma3") == 0;
            check(llama_like[f], "rope_parameters", kvl_str_text(is_gemma3 ? &inner : &rope),
                  KVL_E_UNSUPPORTED, kinds[k]);
        }
        kvl_str_free(&rope);
        kvl_str_free(&inner);
    }
    for (size_t f = 0; f < N_LLAMA_LIKE; f++) {
        bool is_gemma = strncmp(llama_like[f], "gemma", 5) == 0;
        check(llama_like[f], is_gemma ? "hidden_activation" : "hidden_act", "\"relu\"", KVL_E_UNSUPPORTED,
              "'relu'");
        check(llama_like[f], "num_experts", "8", KVL_E_UNSUPPORTED, "num_experts");
        check(llama_like[f], "quantization_config", "{\"bits\": 4}", KVL_E_UNSUPPORTED,
              "quantization_config");
        check(llama_like[f], "logit_scale", "0.5", KVL_E_UNSUPPORTED, "logit_scale");
        check(llama_like[f], "model_type", "\"nosuch\"", KVL_E_UNSUPPORTED, "nosuch");
        if (!is_gemma) {
            check(llama_like[f], "attn_logit_softcapping", "30", KVL_E_UNSUPPORTED, "attn_logit_softcapping");
            check(llama_like[f], "use_qk_norm", "true", KVL_E_UNSUPPORTED, "use_qk_norm");
        }
    }
    check("llama", "sliding_window", "8", KVL_E_UNSUPPORTED, "sliding_window");
    check("llama", "rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 2, \"mystery\": 1}",
          KVL_E_UNSUPPORTED, "mystery");
    check("llama", "rope_scaling", "{\"rope_type\": \"linear\"}", KVL_E_MISSING, "factor");
    check("llama", "rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 2}", KVL_E_MISSING,
          "original_max_position_embeddings");
    check("llama", "rope_scaling", "{\"rope_type\": \"linear\", \"type\": \"yarn\", \"factor\": 2}",
          KVL_E_CONFIG, "rope_type");
    check("gemma2", "use_bidirectional_attention", "true", KVL_E_UNSUPPORTED, "use_bidirectional_attention");
    check("gemma3", "layer_types", "[\"full_attention\"]", KVL_E_CONFIG, "layer_types");
    check("qwen2", "layer_types", "[\"full_attention\", \"chunked_attention\"]", KVL_E_UNSUPPORTED,
          "'chunked_attention'");
}

/* What the settings mean: windows, soft caps, scales. */
static void test_values(void **state) {
    (void)state;
    kvl_config c;
    assert_ok(parse(&c, "mistral", NULL, NULL, NULL));
    assert_true(c.shape.window == 8 && c.is_local[0] && c.is_local[1] && c.shape.head_dim == 32);
    assert_ok(parse(&c, "mistral", "sliding_window", "null", NULL));
    assert_false(c.is_local[0]);
    assert_ok(parse(&c, "gemma2", NULL, NULL, NULL));
    assert_true(c.is_local[0] && !c.is_local[1] && c.is_local[2] && c.shape.attn_softcap == 5.0f);
    assert_ok(parse(&c, "gemma3", "layer_types", NULL, NULL)); /* every sixth layer is global */
    assert_true(c.is_local[4] && !c.is_local[5] && c.is_local[6]);
    assert_ok(
        parse(&c, "qwen2", "use_sliding_window", "true", NULL)); /* from layer max_window_layers = 28 on */
    assert_false(c.is_local[1]);
    assert_ok(parse(&c, "phi3_partial", NULL, NULL, NULL));
    assert_true(c.shape.n_rotary == 8 && c.shape.window == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_impossible_numbers),
        cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_unknown_settings),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
