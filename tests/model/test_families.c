/* config.json of every family: what is impossible or not known is refused by name. Each case is one field
 * away from a config of tests/golden/families, which loads. */
#include "support.h"

#include "model/config.h"

#include <math.h>
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

/* Configs as published, without what only concerns training and generation. */
static const struct {
    const char *name;
    uint32_t n_layers, head_dim, n_local;
    double rope_base; /* 0: none */
    const char *text;
} published[] = {
    {"Llama 2 7B", 32, 128, 0, 10000,
     "{\"model_type\":\"llama\",\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size"
     "\":11008,\"max_position_embeddings\":4096,\"num_attention_heads\":32,\"num_hidden_layers\""
     ":32,\"num_key_value_heads\":32,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,\"rope_scaling"
     "\":null,\"tie_word_embeddings\":false,\"vocab_size\":32000}"},
    {"Llama 3.2 1B", 16, 64, 0, 500000,
     "{\"model_type\":\"llama\",\"attention_bias\":false,\"head_dim\":64,\"hidden_act\":\"silu\""
     ",\"hidden_size\":2048,\"intermediate_size\":8192,\"max_position_embeddings\":131072,\"mlp_"
     "bias\":false,\"num_attention_heads\":32,\"num_hidden_layers\":16,\"num_key_value_heads\":8"
     ",\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_f"
     "req_factor\":1.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rop"
     "e_theta\":500000.0,\"tie_word_embeddings\":true,\"vocab_size\":128256}"},
    {"SmolLM2 135M", 30, 64, 0, 100000,
     "{\"model_type\":\"llama\",\"attention_bias\":false,\"hidden_act\":\"silu\",\"hidden_size\""
     ":576,\"intermediate_size\":1536,\"is_llama_config\":true,\"max_position_embeddings\":8192,"
     "\"num_attention_heads\":9,\"num_hidden_layers\":30,\"num_key_value_heads\":3,\"pretraining"
     "_tp\":1,\"rms_norm_eps\":1e-05,\"rope_interleaved\":false,\"rope_scaling\":null,\"rope_the"
     "ta\":100000,\"tie_word_embeddings\":true,\"vocab_size\":49152}"},
    {"Mistral 7B v0.1", 32, 128, 32, 10000,
     "{\"model_type\":\"mistral\",\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_si"
     "ze\":14336,\"max_position_embeddings\":32768,\"num_attention_heads\":32,\"num_hidden_layer"
     "s\":32,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"sliding_w"
     "indow\":4096,\"tie_word_embeddings\":false,\"vocab_size\":32000}"},
    {"Qwen2.5 0.5B", 24, 64, 0, 1000000,
     "{\"model_type\":\"qwen2\",\"hidden_act\":\"silu\",\"hidden_size\":896,\"intermediate_size"
     "\":4864,\"max_position_embeddings\":32768,\"max_window_layers\":24,\"num_attention_heads\""
     ":14,\"num_hidden_layers\":24,\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,\"rope_theta"
     "\":1000000.0,\"sliding_window\":32768,\"tie_word_embeddings\":true,\"use_mrope\":false,\"u"
     "se_sliding_window\":false,\"vocab_size\":151936}"},
    {"Qwen3 0.6B", 28, 128, 0, 1000000,
     "{\"model_type\":\"qwen3\",\"attention_bias\":false,\"head_dim\":128,\"hidden_act\":\"silu"
     "\",\"hidden_size\":1024,\"intermediate_size\":3072,\"max_position_embeddings\":40960,\"max"
     "_window_layers\":28,\"num_attention_heads\":16,\"num_hidden_layers\":28,\"num_key_value_he"
     "ads\":8,\"rms_norm_eps\":1e-06,\"rope_scaling\":null,\"rope_theta\":1000000,\"sliding_wind"
     "ow\":null,\"tie_word_embeddings\":true,\"use_sliding_window\":false,\"vocab_size\":151936}"},
    {"Gemma 2 2B", 26, 256, 13, 10000,
     "{\"model_type\":\"gemma2\",\"attention_bias\":false,\"attn_logit_softcapping\":50.0,\"cach"
     "e_implementation\":\"hybrid\",\"final_logit_softcapping\":30.0,\"head_dim\":256,\"hidden_a"
     "ct\":\"gelu_pytorch_tanh\",\"hidden_activation\":\"gelu_pytorch_tanh\",\"hidden_size\":230"
     "4,\"intermediate_size\":9216,\"max_position_embeddings\":8192,\"num_attention_heads\":8,\""
     "num_hidden_layers\":26,\"num_key_value_heads\":4,\"query_pre_attn_scalar\":256,\"rms_norm_"
     "eps\":1e-06,\"rope_theta\":10000.0,\"sliding_window\":4096,\"vocab_size\":256000}"},
    {"Gemma 3 1B", 26, 256, 22, 1000000,
     "{\"model_type\":\"gemma3_text\",\"attention_bias\":false,\"attn_logit_softcapping\":null,"
     "\"cache_implementation\":\"hybrid\",\"final_logit_softcapping\":null,\"head_dim\":256,\"hi"
     "dden_activation\":\"gelu_pytorch_tanh\",\"hidden_size\":1152,\"intermediate_size\":6912,\""
     "max_position_embeddings\":32768,\"num_attention_heads\":4,\"num_hidden_layers\":26,\"num_k"
     "ey_value_heads\":1,\"query_pre_attn_scalar\":256,\"rms_norm_eps\":1e-06,\"rope_local_base_"
     "freq\":10000,\"rope_scaling\":null,\"rope_theta\":1000000,\"sliding_window\":512,\"sliding"
     "_window_pattern\":6,\"vocab_size\":262144}"},
    {"Phi-3 mini 4k", 32, 96, 32, 10000,
     "{\"model_type\":\"phi3\",\"attention_bias\":false,\"auto_map\":{\"AutoConfig\":\"configura"
     "tion_phi3.Phi3Config\"},\"embd_pdrop\":0.0,\"hidden_act\":\"silu\",\"hidden_size\":3072,\""
     "intermediate_size\":8192,\"max_position_embeddings\":4096,\"num_attention_heads\":32,\"num"
     "_hidden_layers\":32,\"num_key_value_heads\":32,\"original_max_position_embeddings\":4096,"
     "\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"rope_theta\":10000.0,\"sliding_window\":204"
     "7,\"tie_word_embeddings\":false,\"vocab_size\":32064}"},
    {"GPT-2", 12, 64, 0, 0,
     "{\"model_type\":\"gpt2\",\"activation_function\":\"gelu_new\",\"attn_pdrop\":0.1,\"layer_n"
     "orm_epsilon\":1e-05,\"n_ctx\":1024,\"n_embd\":768,\"n_head\":12,\"n_layer\":12,\"n_positio"
     "ns\":1024,\"summary_type\":\"cls_index\",\"summary_use_proj\":true,\"task_specific_params"
     "\":{\"text-generation\":{\"do_sample\":true,\"max_length\":50}},\"vocab_size\":50257}"},
    {"Pythia 70M", 6, 64, 0, 10000,
     "{\"model_type\":\"gpt_neox\",\"hidden_act\":\"gelu\",\"hidden_size\":512,\"intermediate_si"
     "ze\":2048,\"layer_norm_eps\":1e-05,\"max_position_embeddings\":2048,\"num_attention_heads"
     "\":8,\"num_hidden_layers\":6,\"rotary_emb_base\":10000,\"rotary_pct\":0.25,\"tie_word_embe"
     "ddings\":false,\"use_cache\":true,\"use_parallel_residual\":true,\"vocab_size\":50304}"},
};

static void test_published_configs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        kvl_config c;
        kvl_err err = {0};
        uint32_t n_local = 0;
        if (kvli_config_parse(&c, published[i].text, strlen(published[i].text), "config.json", &err) !=
            KVL_OK) {
            fail_msg("%s: %s", published[i].name, err.msg);
        }
        for (uint32_t l = 0; l < c.shape.n_layers; l++) {
            n_local += c.is_local[l];
        }
        assert_int_equal(c.shape.n_layers, published[i].n_layers);
        assert_int_equal(c.shape.head_dim, published[i].head_dim);
        assert_int_equal(n_local, published[i].n_local);
        assert_true(fabs(c.shape.rope_base[KVL_ROPE_GLOBAL] - published[i].rope_base) < 0.5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_impossible_numbers), cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_unknown_settings),   cmocka_unit_test(test_values),
        cmocka_unit_test(test_published_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
