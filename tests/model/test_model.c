/* config.json and the GPT-NeoX binder: what is read, what is refused, and where the weights end up. */
#include "support.h"

#include "model/config.h"
#include "model/model.h"
#include "file/tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE                                                                                                 \
    "\"model_type\":\"gpt_neox\",\"vocab_size\":100,\"hidden_size\":64,\"num_hidden_layers\":2,\"num_"       \
    "attention_heads\":4,"                                                                                   \
    "\"intermediate_size\":128,\"max_position_embeddings\":64"

static void check(const char *more, kvl_status want, const char *part) {
    kvl_config config;
    kvl_err err = {0};
    kvl_str text = {0};
    kvl_str_printf(&text, "{%s%s}", BASE, more);
    kvl_status status = kvli_config_parse(&config, kvl_str_text(&text), text.len, "config.json", &err);
    if (status != want || (status != KVL_OK && strstr(err.msg, part) == NULL)) {
        fail_msg("%s: expected %s with '%s', found %s: %s", more, kvl_status_name(want), part,
                 kvl_status_name(status), err.msg);
    }
    kvl_str_free(&text);
}

static kvl_shape shape_of(const char *more) {
    kvl_config config;
    kvl_str text = {0};
    kvl_err err = {0};
    kvl_str_printf(&text, "{%s%s}", BASE, more);
    if (kvli_config_parse(&config, kvl_str_text(&text), text.len, "config.json", &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    kvl_str_free(&text);
    return config.shape;
}

static void test_config_values(void **state) {
    (void)state;
    kvl_shape s = shape_of("");
    assert_true(s.n_layers == 2 && s.n_heads == 4 && s.n_kv_heads == 4 && s.head_dim == 16 && s.width == 64);
    assert_true(s.n_rotary == 4 && s.rope_base[0] == 10000.0 && s.is_parallel && s.n_vocab == 100 &&
                s.n_context == 64);
    assert_int_equal(shape_of(",\"rotary_pct\":1.0").n_rotary, 16);
    assert_int_equal(shape_of(",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5000,"
                              "\"partial_rotary_factor\":0.5}")
                         .n_rotary,
                     8);
    assert_true(shape_of(",\"rotary_emb_base\":5000").rope_base[0] == 5000.0);
    assert_false(shape_of(",\"use_parallel_residual\":false").is_parallel);
    assert_int_equal(shape_of(",\"hidden_act\":\"gelu_new\"").activation, KVL_ACT_GELU_TANH);
    assert_int_equal(shape_of(",\"hidden_act\":\"gelu\"").activation, KVL_ACT_GELU_ERF);
}

static void test_bad_configs(void **state) {
    (void)state;
    check(",\"rope_scaling\":{\"type\":\"foo\"}", KVL_E_UNSUPPORTED, "rope_type");
    check(",\"rotary_pct\":0.3", KVL_OK, "");
    check(",\"rotary_pct\":0.1", KVL_E_CONFIG, "even");
    check(",\"rotary_pct\":2", KVL_E_CONFIG, "rotary_pct");
    check(",\"rotary_emb_base\":0", KVL_E_CONFIG, "rotary_emb_base");
    check(",\"rotary_emb_base\":\"x\"", KVL_E_CONFIG, "rotary_emb_base");
    check(",\"layer_norm_eps\":-1", KVL_E_CONFIG, "layer_norm_eps");
    check(",\"layer_norm_eps\":NaN", KVL_E_JSON, "");
    check(",\"use_parallel_residual\":3", KVL_E_CONFIG, "use_parallel_residual");
    check(",\"vocab_size\":7", KVL_E_DUP, "");
    check(",\"num_key_value_heads\":2", KVL_E_UNSUPPORTED, "num_key_value_heads");
}

static void check_whole(const char *text, kvl_status want, const char *part) {
    kvl_config config;
    kvl_err err = {0};
    kvl_status status = kvli_config_parse(&config, text, strlen(text), "config.json", &err);
    if (status != want || strstr(err.msg, part) == NULL) {
        fail_msg("%s: expected %s with '%s', found %s: %s", text, kvl_status_name(want), part,
                 kvl_status_name(status), err.msg);
    }
}

static void test_bad_documents(void **state) {
    (void)state;
    check_whole("[]", KVL_E_CONFIG, "object");
    check_whole("{}", KVL_E_MISSING, "model_type");
    check_whole("{\"model_type\":\"nosuch\"}", KVL_E_UNSUPPORTED,
                "expected one of gemma2 gemma3_text gpt2 gpt_neox");
    check_whole("{\"model_type\":7}", KVL_E_CONFIG, "model_type");
#define WITH(heads, hidden, layers, vocab)                                                                   \
    "{\"model_type\":\"gpt_neox\",\"vocab_size\":" vocab ",\"hidden_size\":" hidden                          \
    ",\"num_hidden_layers\":" layers ",\"num_attention_heads\":" heads                                       \
    ",\"intermediate_size\":128,\"max_position_embeddings\":64}"
    check_whole(WITH("0", "64", "2", "100"), KVL_E_CONFIG, "num_attention_heads");
    check_whole(WITH("7", "64", "2", "100"), KVL_E_CONFIG, "num_attention_heads");
    check_whole(WITH("4", "0", "2", "100"), KVL_E_CONFIG, "hidden_size");
    check_whole(WITH("4", "64", "0", "100"), KVL_E_CONFIG, "num_hidden_layers");
    check_whole(WITH("4", "64", "1000000000", "100"), KVL_E_CONFIG, "num_hidden_layers");
    check_whole(WITH("4", "64", "2", "0"), KVL_E_CONFIG, "vocab_size");
    check_whole(WITH("4", "64", "2", "1099511627776"), KVL_E_CONFIG, "vocab_size");
    check_whole(WITH("4", "64", "2", "1.5"), KVL_E_NUM, "vocab_size");
}

/* Packed weight from input k to output c. */
static float packed(const kvl_linear *w, size_t k, size_t c) {
    float column[1024];
    assert_true(w->n_in <= 1024);
    kvl_linear_column(w, c, column);
    return column[k];
}

/* The fused projection is stored as q, k, v of head 0, then of head 1, ...; packed as all q, all k, all v. */
static void test_weights_are_where_they_belong(void **state) {
    (void)state;
    kvl_model *m = NULL;
    kvl_tensors *t = NULL;
    const char *dir = test_path("tests/golden/neox/sequential");
    assert_int_equal(kvl_model_open(&m, dir, 2, NULL), KVL_OK);
    assert_int_equal(kvl_tensors_open_dir(&t, dir, NULL), KVL_OK);
    const kvl_tensor *qkv = kvl_tensors_find(t, "gpt_neox.layers.1.attention.query_key_value.weight");
    assert_non_null(qkv);
    float *x = kvl_calloc(qkv->n_items, sizeof *x);
    assert_int_equal(kvl_tensors_read_f32(t, qkv, x, NULL), KVL_OK);
    size_t dim = m->shape.head_dim, width = m->shape.width, heads = m->shape.n_heads;
    for (size_t part = 0; part < 3; part++) {
        for (size_t h = 0; h < heads; h++) {
            for (size_t d = 0; d < dim; d++) {
                size_t row = (h * 3 + part) * dim + d;
                size_t column = (part * heads + h) * dim + d;
                for (size_t k = 0; k < width; k += 5) {
                    assert_true(packed(&m->layers[1].qkv, k, column) == x[row * width + k]);
                }
            }
        }
    }
    kvl_free(x);
    assert_int_equal(m->layers[0].ff_up.n_out, m->shape.ff_width);
    assert_int_equal(m->output.n_out, m->shape.n_vocab);
    assert_string_equal(m->name, "sequential");
    assert_string_equal(m->stored_dtype, "F32");
    kvl_tensors_close(t);
    kvl_model_close(m);
}

static void test_bias_free_and_tied(void **state) {
    (void)state;
    kvl_model *m = NULL;
    assert_int_equal(kvl_model_open(&m, test_path("tests/golden/neox/nobias"), 2, NULL), KVL_OK);
    assert_null(m->layers[0].qkv.bias);
    assert_null(m->layers[0].attn_out.bias);
    assert_non_null(m->layers[0].ff_up.bias);
    kvl_model_close(m);
    assert_int_equal(kvl_model_open(&m, test_path("tests/golden/neox/tied"), 2, NULL), KVL_OK);
    assert_int_equal(m->embedding.n_out, 0);
    float row[256];
    assert_true(m->shape.width <= 256);
    for (size_t v = 0; v < m->shape.n_vocab; v += 7) {
        kvl_model_embed(m, (int32_t)v, row);
        assert_true(packed(&m->output, 3, v) == row[3]);
    }
    kvl_model_close(m);
}

/* Copies a golden model to the temporary folder and changes its config. */
static void check_changed(const char *from, const char *to, kvl_status want, const char *part) {
    char command[8192];
    kvl_model *m = NULL;
    kvl_err err = {0};
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s' && sed -i 's/%s/%s/' '%s/config.json'",
             test_temp_path("m"), test_path("tests/golden/neox/f16"), test_temp_path("m"), from, to,
             test_temp_path("m"));
    assert_int_equal(system(command), 0);
    kvl_status status = kvl_model_open(&m, test_temp_path("m"), 2, &err);
    if (status != want || strstr(err.msg, part) == NULL) {
        fail_msg("%s: expected %s with '%s', found %s: %s", to, kvl_status_name(want), part,
                 kvl_status_name(status), err.msg);
    }
    assert_null(m);
}

static void test_tensors_that_do_not_fit(void **state) {
    (void)state;
    check_changed("\"vocab_size\": 67", "\"vocab_size\": 66", KVL_E_SHAPE,
                  "expected [66, 64], found [67, 64]");
    check_changed("\"intermediate_size\": 80", "\"intermediate_size\": 96", KVL_E_SHAPE, "mlp.dense_h_to_4h");
    check_changed("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", KVL_E_MISSING, "layers.3");
    check_changed("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", KVL_E_EXTRA, "layers.2");
    check_changed("\"attention_bias\": true", "\"attention_bias\": false", KVL_E_EXTRA, "bias");
}

static void test_no_memory(void **state) {
    (void)state;
    for (int64_t k = 0; k < 200; k++) {
        kvl_model *m = NULL;
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_model_open(&m, test_path("tests/golden/neox/shards3"), 2, NULL);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_values),      cmocka_unit_test(test_bad_configs),
        cmocka_unit_test(test_bad_documents),      cmocka_unit_test(test_weights_are_where_they_belong),
        cmocka_unit_test(test_bias_free_and_tied), cmocka_unit_test(test_tensors_that_do_not_fit),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
