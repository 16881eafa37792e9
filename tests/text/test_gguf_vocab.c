/* Vocabularies inside GGUF files: each bad file is one change away from one that loads. */
#include "support.h"

#include "gguf_file.h"
#include "text/tokenizer.h"

#include <stdio.h>

/* A SentencePiece vocabulary: unknown, BOS, EOS, 256 byte tokens, a few pieces. */
typedef struct vocab {
    const char *model;
    const char *pre;
    const char *pieces[4];
    const char *byte_7; /* text of the token for byte 7; NULL: none */
    uint32_t type_of_byte_7;
    kvl_gguf_type scores, types, tokens; /* element types of the lists */
    uint64_t n_scores;                   /* 0: as many as tokens */
    uint32_t bos, eos;
    float score; /* of the last token */
    bool has_eos_behind;
    const char *template;
    size_t template_kib;
} vocab;

static const vocab good = {.model = "llama",
                           .pieces = {"a", "b", "ab", "\xe2\x96\x81"},
                           .byte_7 = "<0x07>",
                           .type_of_byte_7 = 6,
                           .scores = KVL_GGUF_F32,
                           .types = KVL_GGUF_I32,
                           .tokens = KVL_GGUF_STRING,
                           .bos = 1,
                           .eos = 2};

static void put_list(kvl_str *s, const char *key, kvl_gguf_type type, uint64_t n) {
    put_text(s, key);
    put(s, KVL_GGUF_ARRAY, 4);
    put(s, type, 4);
    put(s, n, 8);
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static const char *token_text(const vocab *v, size_t id, char buffer[16]) {
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    if (id < 3) {
        return first[id];
    }
    if (id < 259) {
        snprintf(buffer, 16, "<0x%02X>", (unsigned)(id - 3));
        return id - 3 == 7 ? (v->byte_7 != NULL ? v->byte_7 : "gone") : buffer;
    }
    return v->pieces[id - 259];
}

static size_t element_bytes(kvl_gguf_type t) { return t == KVL_GGUF_I8 || t == KVL_GGUF_U8 ? 1 : 4; }

static void build(kvl_str *s, const vocab *v) {
    enum { n = 263 };
    put_head(s, 3, 0, 10 + (v->pre != NULL));
    put_string(s, "general.architecture", "llama");
    put_string(s, "tokenizer.ggml.model", v->model);
    if (v->pre != NULL) {
        put_string(s, "tokenizer.ggml.pre", v->pre);
    }
    put_list(s, "tokenizer.ggml.tokens", v->tokens, n);
    for (size_t id = 0; id < n; id++) {
        char buffer[16];
        if (v->tokens == KVL_GGUF_STRING) {
            put_text(s, token_text(v, id, buffer));
        } else {
            put(s, id, 4);
        }
    }
    put_list(s, "tokenizer.ggml.scores", v->scores, v->n_scores != 0 ? v->n_scores : n);
    for (size_t id = 0; id < (v->n_scores != 0 ? v->n_scores : n); id++) {
        put(s,
            bits_of(id + 1 == n ? v->score
                    : id >= 259 ? -1.0f
                                : 0.0f),
            (unsigned)element_bytes(v->scores));
    }
    put_list(s, "tokenizer.ggml.token_type", v->types, n);
    for (size_t id = 0; id < n; id++) {
        bool is_byte = id >= 3 && id < 259;
        uint32_t type = id == 10 ? v->type_of_byte_7 : is_byte ? 6 : id == 0 ? 2 : id < 3 ? 3 : 1;
        put(s, type, (unsigned)element_bytes(v->types));
    }
    put_u32(s, "tokenizer.ggml.bos_token_id", v->bos);
    put_u32(s, "tokenizer.ggml.eos_token_id", v->eos);
    put_text(s, "tokenizer.ggml.add_eos_token");
    put(s, KVL_GGUF_BOOL, 4);
    put(s, v->has_eos_behind, 1);
    kvl_str template = {0};
    for (size_t i = 0; i < v->template_kib * 1024; i += 16) {
        kvl_str_puts(&template, "{{ bos_token }} ");
    }
    put_string(s, "tokenizer.chat_template", kvl_str_text(&template));
    put_u32(s, "tokenizer.ggml.unknown_token_id", 0);
    kvl_str_free(&template);
    put_data(s, 0);
}

static kvl_status load(kvl_tokenizer **out, const vocab *v, kvl_err *err) {
    kvl_str file = {0};
    kvl_gguf *g = NULL;
    bool wants_more = false;
    *out = NULL;
    build(&file, v);
    assert_ok(
        kvl_gguf_parse(&g, (const uint8_t *)kvl_str_text(&file), file.len, file.len, "f", &wants_more, NULL));
    kvl_status status = kvl_tokenizer_of_gguf(out, g, err);
    kvl_gguf_close(g);
    kvl_str_free(&file);
    return status;
}

static void refuse(vocab v, kvl_status want, const char *part) {
    kvl_tokenizer *t = NULL;
    kvl_err err = {0};
    kvl_status status = load(&t, &v, &err);
    if (status != want || strstr(err.msg, part) == NULL || strncmp(err.msg, "f: ", 3) != 0) {
        fail_msg("expected %s with '%s', found %s: %s", kvl_status_name(want), part, kvl_status_name(status),
                 err.msg);
    }
    assert_int_equal(kvl_status_exit_code(status), 3);
    assert_null(t);
}

static void test_good(void **state) {
    (void)state;
    static const int32_t want[] = {262, 261, 3 + 7, 259};
    kvl_tokenizer *t = NULL;
    kvl_ids ids = {0};
    assert_ok(load(&t, &good, NULL));
    assert_int_equal(kvl_tokenizer_bos(t), 1);
    assert_ok(kvl_tokenizer_encode(t, &ids,
                                   "ab\x07"
                                   "a",
                                   4, false, NULL));
    assert_int_equal(ids.n, 4);
    assert_memory_equal(ids.ids, want, sizeof want);
    kvl_ids_free(&ids);
    kvl_tokenizer_close(t);
}

/* The good one with some fields set. */
#define REFUSE(want, part, ...)                                                                              \
    do {                                                                                                     \
        vocab v = good;                                                                                      \
        __VA_ARGS__;                                                                                         \
        refuse(v, want, part);                                                                               \
    } while (0)

static void test_bad(void **state) {
    (void)state;
    REFUSE(KVL_E_TYPE, "tokenizer.ggml.scores", v.scores = KVL_GGUF_I8); /* G-31 */
    REFUSE(KVL_E_TYPE, "tokenizer.ggml.token_type", v.types = KVL_GGUF_U8);
    REFUSE(KVL_E_TYPE, "tokenizer.ggml.tokens", v.tokens = KVL_GGUF_I32);
    REFUSE(KVL_E_VOCAB, "eos_token_id: expected an id below 263, found 263", v.eos = 263); /* G-32 */
    REFUSE(KVL_E_VOCAB, "found 4294967295", v.eos = UINT32_MAX);
    REFUSE(KVL_E_VOCAB, "bos_token_id", v.bos = 263);
    REFUSE(KVL_E_VOCAB, "'a': expected one id, found 259 and 260", v.pieces[1] = "a"); /* G-33 */
    REFUSE(KVL_E_VOCAB, "one for each of 263 tokens, found 262", v.n_scores = 262);
    REFUSE(KVL_E_VOCAB, "byte token 10", v.byte_7 = "<0x-1>"); /* G-34 */
    REFUSE(KVL_E_VOCAB, "byte token 10", v.byte_7 = "<0xZZ>");
    REFUSE(KVL_E_VOCAB, "byte token 10", v.byte_7 = "<0x1>");
    REFUSE(KVL_E_VOCAB, "<0x07>, found none", v.byte_7 = NULL; v.type_of_byte_7 = 1);
    REFUSE(KVL_E_UNSUPPORTED, "found 't5'", v.model = "t5"); /* G-35: charsmaps come with t5 only */
    REFUSE(KVL_E_UNSUPPORTED, "found 'bert'", v.model = "bert");
    REFUSE(KVL_E_UNSUPPORTED, "tokenizer.ggml.pre", v.model = "gpt2");
    REFUSE(KVL_E_UNSUPPORTED, "found 'nosuch\\x1b'", v.model = "gpt2"; v.pre = "nosuch\x1b");
    REFUSE(KVL_E_MISSING, "tokenizer.ggml.merges", v.model = "gpt2"; v.pre = "gpt-2");
    REFUSE(KVL_E_VOCAB, "scores[262]", v.score = __builtin_nanf(""));
    REFUSE(KVL_E_UNSUPPORTED, "add_eos_token", v.has_eos_behind = true);
}

/* G-39: a template is text that nobody runs. */
static void test_large_template(void **state) {
    (void)state;
    kvl_tokenizer *t = NULL;
    vocab large = good;
    large.template_kib = 60 * 1024;
    assert_ok(load(&t, &large, NULL));
    kvl_tokenizer_close(t);
}

static void test_no_memory(void **state) {
    (void)state;
    kvl_str file = {0};
    kvl_gguf *g = NULL;
    bool wants_more = false;
    build(&file, &good);
    assert_ok(
        kvl_gguf_parse(&g, (const uint8_t *)kvl_str_text(&file), file.len, file.len, "f", &wants_more, NULL));
    for (int64_t k = 0; k < 400; k++) {
        kvl_tokenizer *t = NULL;
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_tokenizer_of_gguf(&t, g, NULL);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_tokenizer_close(t);
    }
    kvl_gguf_close(g);
    kvl_str_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_large_template),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
