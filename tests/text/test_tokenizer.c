/* Samples, special tokens, repair of bad UTF-8, long runs, and files that must be refused. */
#include "support.h"

#include "base/rng.h"
#include "protocol/samples.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

static kvl_tokenizer *open_tokenizer(const char *relative) {
    kvl_tokenizer *t = NULL;
    kvl_err err = {0};
    if (kvl_tokenizer_open(&t, test_path(relative), &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return t;
}

static kvl_ids encode(kvl_tokenizer *t, const char *text, size_t n) {
    kvl_ids ids = {0};
    kvl_err err = {0};
    if (kvl_tokenizer_encode(t, &ids, text, n, true, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return ids;
}

static void test_published_sample_counts(void **state) {
    (void)state;
    static const size_t want_tokens[] = {185, 197, 152, 521, 655};
    static const size_t want_chars[] = {859, 861, 667, 2048, 2048};
    kvl_tokenizer *t = open_tokenizer("tests/data/tokenizers/gpt-neox-20b.tokenizer.json");
    kvl_samples samples;
    assert_int_equal(kvl_samples_load(&samples, "W1 W2 W3 P1 P2", test_path("data"), t, NULL), KVL_OK);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(samples.items[i].ids.n, want_tokens[i]);
        assert_int_equal(samples.items[i].n_chars, want_chars[i]);
    }
    kvl_samples_free(&samples);
    kvl_tokenizer_close(t);
}

static void test_special_tokens_are_text_unless_asked(void **state) {
    (void)state;
    kvl_tokenizer *t = open_tokenizer("models/novels-7m/tokenizer.json");
    kvl_ids plain = {0};
    kvl_ids special = encode(t, "a<|endoftext|>", 14);
    assert_int_equal(kvl_tokenizer_encode(t, &plain, "a<|endoftext|>", 14, false, NULL), KVL_OK);
    assert_int_equal(special.ids[special.n - 1], kvl_tokenizer_find(t, "<|endoftext|>"));
    assert_true(plain.n > special.n);
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(kvl_tokenizer_decode(t, &text, &n, special.ids, special.n, true, NULL), KVL_OK);
    assert_string_equal(text, "a");
    kvl_free(text);
    kvl_ids_free(&plain);
    kvl_ids_free(&special);
    kvl_tokenizer_close(t);
}

/* Python: bytes.decode(errors="replace") gives one U+FFFD per maximal bad part. */
static void test_bad_utf8_is_replaced(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *repaired;
    } cases[] = {{"a\xff z", "a\xef\xbf\xbd z"},
                 {"\xe2\x80", "\xef\xbf\xbd"},
                 {"\xf0\x9f\x98x", "\xef\xbf\xbdx"},
                 {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
                 {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                 {"\xf5\x80", "\xef\xbf\xbd\xef\xbf\xbd"}};
    kvl_tokenizer *t = open_tokenizer("models/novels-7m/tokenizer.json");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_ids a = encode(t, cases[i].bytes, strlen(cases[i].bytes));
        kvl_ids b = encode(t, cases[i].repaired, strlen(cases[i].repaired));
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
        kvl_ids_free(&a);
        kvl_ids_free(&b);
    }
    kvl_tokenizer_close(t);
}

static void test_random_bytes_and_long_runs(void **state) {
    (void)state;
    enum { n = 1000000 };
    kvl_tokenizer *t = open_tokenizer("models/novels-7m/tokenizer.json");
    char *text = kvl_calloc(n, 1);
    static const char fills[] = {'a', ' ', '^', '.', '\n', '\xff', 'r'};
    for (size_t i = 0; i < sizeof fills; i++) {
        for (size_t k = 0; k < n; k++) {
            text[k] = fills[i] != 'r' ? fills[i] : (char)kvl_rng_draw(3, 0, k);
        }
        kvl_ids ids = encode(t, text, n);
        assert_true(ids.n > 1000);
        kvl_ids_free(&ids);
    }
    kvl_free(text);
    kvl_tokenizer_close(t);
}

/* ---- files that must be refused: one change to a file that loads ---- */

/* A byte-level tokenizer of 256 bytes and one merge, with room for changes. */
static void build(kvl_str *out, const char *vocab_more, const char *merges, const char *model_more,
                  const char *root) {
    kvl_str_puts(out, "{\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (unsigned b = 0, next = 256; b < 256; b++) {
        bool is_plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        unsigned c = is_plain ? b : next++;
        kvl_str_printf(out, "\"\\u%04x\":%u,", c, b);
    }
    kvl_str_printf(out,
                   "\"ab\":256%s},\"merges\":%s%s},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                   "\"add_prefix_space\":false}%s}",
                   vocab_more, merges, model_more, root);
}

static void test_bad_files(void **state) {
    (void)state;
    static const struct {
        const char *vocab, *merges, *model, *root;
        kvl_status status;
        const char *part;
    } cases[] = {
        {"", "[\"a b\"]", "", "", KVL_OK, ""},
        {"", "[[\"a\",\"b\"]]", "", "", KVL_OK, ""},
        {",\"cd\":-1", "[]", "", "", KVL_E_VOCAB, "expected 0 or more, found -1"},
        {",\"cd\":1.5", "[]", "", "", KVL_E_VOCAB, "whole number"},
        {",\"cd\":\"7\"", "[]", "", "", KVL_E_VOCAB, "whole number"},
        {",\"cd\":9223372036854775807", "[]", "", "", KVL_E_LIMIT, "found 9223372036854775807"},
        {",\"cd\":9223372036854775808", "[]", "", "", KVL_E_NUM, ""},
        {",\"cd\":4000000", "[]", "", "", KVL_E_LIMIT, "near the number of tokens"},
        {",\"cd\":256", "[]", "", "", KVL_E_DUP, "id 256"},
        {",\"ab\":300", "[]", "", "", KVL_E_DUP, ""},
        {"", "[\"a c\"]", "", "", KVL_E_MERGE, "'a' + 'c'"},
        {"", "[\"a\"]", "", "", KVL_E_MERGE, "two parts"},
        {"", "[\"a b c\"]", "", "", KVL_E_MERGE, "two parts"},
        {"", "[[\"a\"]]", "", "", KVL_E_MERGE, "two parts"},
        {"", "[7]", "", "", KVL_E_MERGE, "two parts"},
        {"", "7", "", "", KVL_E_TYPE, "merges"},
        {"", "[]", ",\"dropout\":0.1", "", KVL_E_UNSUPPORTED, "dropout"},
        {"", "[]", ",\"byte_fallback\":true", "", KVL_E_UNSUPPORTED, "byte_fallback"},
        {"", "[]", ",\"unk_token\":\"?\"", "", KVL_OK, ""},
        {"", "[]", ",\"unk_token\":\"<unk>\"", "", KVL_E_VOCAB, "unk_token"},
        {"", "[]", "", ",\"normalizer\":{\"type\":\"Lowercase\"}", KVL_E_UNSUPPORTED, "normalizer"},
        {"", "[]", "", ",\"normalizer\":{\"type\":\"NFC\"}", KVL_OK, ""},
        {"", "[]", "", ",\"decoder\":{\"type\":\"WordPiece\"}", KVL_E_UNSUPPORTED, "decoder"},
        {"", "[]", "", ",\"post_processor\":{\"type\":\"TemplateProcessing\"}", KVL_E_UNSUPPORTED,
         "post_processor"},
        {"", "[]", "", ",\"pre_tokenizer\":null", KVL_E_DUP, ""},
        {"", "[]", "", ",\"added_tokens\":[{\"id\":257,\"content\":\"\"}]", KVL_E_VOCAB, "1 to 1024 bytes"},
        {"", "[]", "", ",\"added_tokens\":[{\"id\":256,\"content\":\"zz\"}]", KVL_E_VOCAB, "another token"},
        {"", "[]", "", ",\"added_tokens\":[{\"id\":-2,\"content\":\"zz\"}]", KVL_E_VOCAB, "found -2"},
        {"", "[]", "", ",\"added_tokens\":[{\"id\":257}]", KVL_E_TYPE, "content"},
        {"", "[]", "", ",\"added_tokens\":[{\"id\":257,\"content\":\"z\",\"lstrip\":true}]", KVL_OK, ""},
        {"", "[]", "", ",\"added_tokens\":[{\"id\":257,\"content\":\"z\",\"single_word\":true}]",
         KVL_E_UNSUPPORTED, "single_word"},
        {"", "[]", "", ",\"added_tokens\":[{\"id\":257,\"content\":\"z\"},{\"id\":257,\"content\":\"z\"}]",
         KVL_E_DUP, "twice"},
        {"", "[]", "", "}", KVL_E_JSON, "line 1"},
        {"", "[]", "", ",\"x\":\"\xff\"", KVL_E_UTF8, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_str file = {0};
        kvl_tokenizer *t = NULL;
        kvl_err err = {0};
        build(&file, cases[i].vocab, cases[i].merges, cases[i].model, cases[i].root);
        kvl_status status = kvl_tokenizer_parse(&t, kvl_str_text(&file), file.len, "tok.json", &err);
        if (status != cases[i].status || (status != KVL_OK && strstr(err.msg, cases[i].part) == NULL)) {
            fail_msg("case %zu: expected %s with '%s', found %s: %s", i, kvl_status_name(cases[i].status),
                     cases[i].part, kvl_status_name(status), err.msg);
        }
        assert_true(status == KVL_OK || strncmp(err.msg, "tok.json: ", 10) == 0);
        kvl_tokenizer_close(t);
        kvl_str_free(&file);
    }
}

static void test_wrong_model_and_prefixes(void **state) {
    (void)state;
    static const char *const files[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}",
                                        "{\"model\":{\"type\":\"Unigram\"}}",
                                        "{\"model\":{\"type\":\"BPE\",\"vocab\":[]}}"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        kvl_tokenizer *t = NULL;
        kvl_err err = {0};
        assert_int_not_equal(kvl_tokenizer_parse(&t, files[i], strlen(files[i]), "t", &err), KVL_OK);
        assert_int_equal(kvl_status_exit_code(err.status), 3);
        assert_null(t);
    }
    kvl_str file = {0};
    build(&file, "", "[\"a b\"]", "", "");
    for (size_t n = 0; n < file.len; n += 7) {
        kvl_tokenizer *t = NULL;
        assert_int_not_equal(kvl_tokenizer_parse(&t, kvl_str_text(&file), n, "t", NULL), KVL_OK);
    }
    kvl_str deep = {0};
    for (int i = 0; i < 100000; i++) {
        kvl_str_puts(&deep, "[");
    }
    kvl_tokenizer *t = NULL;
    assert_int_equal(kvl_tokenizer_parse(&t, kvl_str_text(&deep), deep.len, "t", NULL), KVL_E_DEPTH);
    kvl_str_free(&deep);
    kvl_str_free(&file);
}

static void test_no_memory(void **state) {
    (void)state;
    kvl_str file = {0};
    build(&file, "", "[\"a b\"]", "", ",\"added_tokens\":[{\"id\":257,\"content\":\"zz\"}]");
    for (int64_t k = 0; k < 700; k++) {
        kvl_tokenizer *t = NULL;
        kvl_ids ids = {0};
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_tokenizer_parse(&t, kvl_str_text(&file), file.len, "t", NULL);
        status = status == KVL_OK ? kvl_tokenizer_encode(t, &ids, "abzzab", 6, true, NULL) : status;
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        assert_true(status != KVL_OK || ids.n == 3);
        kvl_ids_free(&ids);
        kvl_tokenizer_close(t);
    }
    kvl_str_free(&file);
}

static void test_decode_refuses_foreign_ids(void **state) {
    (void)state;
    kvl_tokenizer *t = open_tokenizer("models/novels-7m/tokenizer.json");
    static const int32_t bad[] = {-1, 4096, INT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        char *text = NULL;
        size_t n = 0;
        assert_int_equal(kvl_tokenizer_decode(t, &text, &n, &bad[i], 1, false, NULL), KVL_E_VOCAB);
        assert_null(text);
    }
    kvl_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_sample_counts),
        cmocka_unit_test(test_special_tokens_are_text_unless_asked),
        cmocka_unit_test(test_bad_utf8_is_replaced),
        cmocka_unit_test(test_random_bytes_and_long_runs),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_wrong_model_and_prefixes),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_decode_refuses_foreign_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
