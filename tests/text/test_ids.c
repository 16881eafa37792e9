/* Token ids against the libraries that others use (golden files with their generator): `tokenizers` for
 * tokenizer.json, llama.cpp for vocabularies in GGUF files. */
#include "support.h"

#include "base/hash.h"
#include "protocol/samples.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

enum { short_chars = 200000 };

typedef struct golden {
    const char *name;
    bool is_whole;      /* of the big texts; else their first short_chars characters */
    bool is_reversible; /* decoding gives the text back */
    const char *eos;    /* text of the token that ends a text; NULL: none */
} golden;

static uint64_t hash_ids(const kvl_ids *ids) {
    uint64_t h = KVL_HASH_INIT;
    for (size_t i = 0; i < ids->n; i++) {
        uint32_t id = (uint32_t)ids->ids[i];
        uint8_t bytes[4] = {(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16), (uint8_t)(id >> 24)};
        h = kvl_hash_bytes(h, bytes, 4);
    }
    return h;
}

static kvl_ids encode(kvl_tokenizer *t, const char *text, size_t n, bool parse_special) {
    kvl_ids ids = {0};
    kvl_err err = {0};
    if (kvl_tokenizer_encode(t, &ids, text, n, parse_special, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return ids;
}

static size_t n_wrong; /* all are shown before the test fails */

static void check_ids(const golden *g, const kvl_ids *ids, json_int_t n, const char *hash, const char *what) {
    char found[32];
    snprintf(found, sizeof found, "%016llx", (unsigned long long)hash_ids(ids));
    if ((json_int_t)ids->n != n || strcmp(found, hash) != 0) {
        print_error("%s: %s: expected %d ids with hash %s, found %zu with %s\n", g->name, what, (int)n, hash,
                    ids->n, found);
        n_wrong++;
    }
}

static void check_text(kvl_tokenizer *t, const golden *g, const json_t *texts, const char *key,
                       const char *text, size_t n) {
    const json_t *want = json_object_get(texts, key);
    n = g->is_whole ? n : kvl_utf8_prefix(text, n, short_chars);
    kvl_ids ids = encode(t, text, n, true);
    check_ids(g, &ids, json_integer_value(json_object_get(want, "n")),
              json_string_value(json_object_get(want, "fnv1a64")), key);
    if (g->is_reversible) {
        char *back = NULL;
        size_t n_back = 0;
        assert_int_equal(kvl_tokenizer_decode(t, &back, &n_back, ids.ids, ids.n, false, NULL), KVL_OK);
        if (n_back != n) {
            fail_msg("%s: %s: expected %zu bytes back, found %zu", g->name, key, n, n_back);
        }
        assert_memory_equal(back, text, n);
        kvl_free(back);
    }
    kvl_ids_free(&ids);
}

/* llama.cpp takes a token named "</s>" for a control token; in Gemma's file it is user-defined. */
static bool is_known_difference(const golden *g, const char *text, bool parse_special) {
    return strcmp(g->name, "real-gemma3") == 0 && !parse_special && strstr(text, "</s>") != NULL;
}

static void check_strings(kvl_tokenizer *t, const golden *g, const json_t *strings, const json_t *wanted,
                          bool parse_special) {
    assert_int_equal(json_array_size(strings), json_array_size(wanted));
    for (size_t i = 0; i < json_array_size(strings); i++) {
        const json_t *text = json_array_get(strings, i);
        const json_t *want = json_array_get(wanted, i);
        if (is_known_difference(g, json_string_value(text), parse_special)) {
            continue;
        }
        kvl_ids ids = encode(t, json_string_value(text), json_string_length(text), parse_special);
        char *shown = json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        check_ids(g, &ids, json_integer_value(json_array_get(want, 0)),
                  json_string_value(json_array_get(want, 1)), shown);
        kvl_free(shown);
        kvl_ids_free(&ids);
    }
}

static void check_golden(const golden *g, const char *tokenizer_path) {
    char path[128];
    kvl_err err = {0};
    kvl_tokenizer *t = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "tests/golden/tokenizer/%s.json", g->name);
    json_t *expected = test_load_json(path);
    json_t *strings = test_load_json("tests/golden/tokenizer/strings.json");
    json_t *books = test_load_json("data/pg19_10samples.json");
    char *wiki = test_load("data/wiki.test.raw", &n);
    const json_t *texts = json_object_get(expected, "texts");
    tokenizer_path = tokenizer_path != NULL
                         ? tokenizer_path
                         : test_path(json_string_value(json_object_get(expected, "tokenizer")));
    if (kvl_tokenizer_open(&t, tokenizer_path, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(kvl_tokenizer_bos(t), json_integer_value(json_object_get(expected, "bos")));
    int32_t eos = g->eos != NULL ? kvl_tokenizer_find(t, g->eos) : -1;
    assert_true(kvl_tokenizer_eos(t) == eos && (g->eos == NULL || eos >= 0));
    assert_true(json_array_size(strings) > 400);
    check_strings(t, g, strings, json_object_get(expected, "strings"), true);
    check_strings(t, g, strings, json_object_get(expected, "plain"), false);
    check_text(t, g, texts, "wiki.test.raw", wiki, n);
    for (size_t i = 0; i < json_array_size(books); i++) {
        char key[32];
        const json_t *text = json_object_get(json_array_get(books, i), "text");
        snprintf(key, sizeof key, "book %zu", i + 1);
        check_text(t, g, texts, key, json_string_value(text), json_string_length(text));
    }
    kvl_samples samples;
    assert_int_equal(kvl_samples_load(&samples, "W1 W2 W3 P1 P2", test_path("data"), t, NULL), KVL_OK);
    for (size_t i = 0; i < samples.n; i++) {
        const json_t *count = json_object_get(json_object_get(expected, "samples"), samples.items[i].name);
        assert_int_equal(samples.items[i].ids.n, json_integer_value(count) + (kvl_tokenizer_bos(t) >= 0));
    }
    kvl_samples_free(&samples);
    kvl_free(wiki);
    kvl_tokenizer_close(t);
    json_decref(expected);
    json_decref(strings);
    json_decref(books);
}

static void check_all(const golden *goldens, size_t n) {
    for (size_t i = 0; i < n; i++) {
        check_golden(&goldens[i], NULL);
    }
    assert_int_equal(n_wrong, 0);
}

static void test_tokenizer_json(void **state) {
    (void)state;
    static const golden goldens[] = {
        {"gpt-neox-20b", true, true, "<|endoftext|>"},
        {"novels-7m", true, true, "<|endoftext|>"},
        {"gpt2", false, true, "<|endoftext|>"},
        {"smollm", false, true, "<|endoftext|>"},
        {"llama3", false, true, "<|endoftext|>"},
        {"qwen2", false, false, "<|endoftext|>"},
        {"tekken", false, true, "<|endoftext|>"},
        {"llama2", false, true, "</s>"},
        {"phi3", false, true, "<|endoftext|>"},
        {"mistral", false, false, "</s>"},
        {"gemma", false, true, "</s>"},
        {"unigram", false, false, "</s>"},
        {"unigram-bytes", false, false, "</s>"},
    };
    check_all(goldens, sizeof goldens / sizeof goldens[0]);
}

static void test_gguf_vocabularies(void **state) {
    (void)state;
    static const golden goldens[] = {
        {"gguf-gpt2", false, true, NULL},
        {"gguf-smollm", false, true, NULL},
        {"gguf-llama3", false, true, "<|endoftext|>"},
        {"gguf-qwen2", false, true, NULL},
        {"gguf-tekken", false, true, "<|endoftext|>"},
        {"gguf-llama2", false, true, "<s>"},
        {"gguf-phi3", false, true, "<s>"},
        {"gguf-gemma", false, true, "<s>"},
    };
    check_all(goldens, sizeof goldens / sizeof goldens[0]);
}

/* The vocabularies of real models (tools/get-smollm2, tools/get-gemma3), where they are. */
static void test_real_vocabularies(void **state) {
    (void)state;
    static const struct {
        golden golden;
        const char *path;
    } models[] = {
        {{"real-smollm2", true, true, "<|im_end|>"}, "models-extra/SmolLM2-135M-Instruct.Q4_1.gguf"},
        {{"real-gemma3", true, true, "<eos>"}, "models-extra/gemma-3-270m.Q4_K_M.gguf"},
    };
    size_t n_there = 0;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (kvl_file_exists(test_path(models[i].path))) {
            check_golden(&models[i].golden, test_path(models[i].path));
            n_there++;
        }
    }
    assert_int_equal(n_wrong, 0);
    if (n_there == 0) {
        skip();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer_json),
        cmocka_unit_test(test_gguf_vocabularies),
        cmocka_unit_test(test_real_vocabularies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
