/* Models in GGUF files: metadata and tensors that must be refused, each file one change away from a tiny
 * Llama that loads. */
#include "support.h"

#include "gguf_file.h"
#include "model/config_gguf.h"
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ABSENT = -1, TEMPLATE_BYTES = 60 << 20 };

/* One metadata entry: `bits` of a number, or `text`. */
typedef struct entry {
    const char *key;
    int type; /* kvl_gguf_type, or ABSENT */
    uint64_t bits;
    const char *text;
} entry;

static const entry base_entries[] = {
    {"general.architecture", KVL_GGUF_STRING, 0, "llama"},
    {"llama.block_count", KVL_GGUF_U32, 1, NULL},
    {"llama.context_length", KVL_GGUF_U32, 64, NULL},
    {"llama.embedding_length", KVL_GGUF_U32, 32, NULL},
    {"llama.feed_forward_length", KVL_GGUF_U32, 48, NULL},
    {"llama.attention.head_count", KVL_GGUF_U32, 4, NULL},
    {"llama.attention.head_count_kv", KVL_GGUF_U32, 2, NULL},
    {"llama.rope.dimension_count", KVL_GGUF_U32, 8, NULL},
    {"llama.rope.freq_base", KVL_GGUF_F32, 0x461c4000, NULL},                   /* 10000 */
    {"llama.attention.layer_norm_rms_epsilon", KVL_GGUF_F32, 0x3727c5ac, NULL}, /* 1e-5 */
};
enum { N_BASE = sizeof base_entries / sizeof base_entries[0] };

typedef struct tensor {
    const char *name;
    uint64_t dims[2]; /* fastest first */
    unsigned n_dims;
    uint32_t type; /* number in GGUF: 0 F32, 26 I32 */
} tensor;

static const tensor base_tensors[] = {
    {"token_embd.weight", {32, 16}, 2, 0},        {"output_norm.weight", {32, 0}, 1, 0},
    {"blk.0.attn_norm.weight", {32, 0}, 1, 0},    {"blk.0.attn_q.weight", {32, 32}, 2, 0},
    {"blk.0.attn_k.weight", {32, 16}, 2, 0},      {"blk.0.attn_v.weight", {32, 16}, 2, 0},
    {"blk.0.attn_output.weight", {32, 32}, 2, 0}, {"blk.0.ffn_norm.weight", {32, 0}, 1, 0},
    {"blk.0.ffn_gate.weight", {32, 48}, 2, 0},    {"blk.0.ffn_up.weight", {32, 48}, 2, 0},
    {"blk.0.ffn_down.weight", {48, 32}, 2, 0},
};
enum { N_TENSORS = sizeof base_tensors / sizeof base_tensors[0] };

static void put_entry(kvl_str *f, const entry *e) {
    put_text(f, e->key);
    put(f, (uint64_t)e->type, 4);
    if (e->type == KVL_GGUF_STRING) {
        put_text(f, e->text);
    } else {
        put(f, e->bits, e->type == KVL_GGUF_U64 ? 8 : 4);
    }
}

/* The base with one entry changed (or added) and one tensor changed (or added; n_dims = 0: left out); NULL:
 * none. */
static void put_model(kvl_str *f, const entry *changed, const tensor *changed_tensor) {
    kvl_str entries = {0};
    kvl_str infos = {0};
    uint64_t n_entries = 0;
    uint64_t n_tensors = 0;
    uint64_t offset = 0;
    bool is_new = changed != NULL;
    for (size_t i = 0; i < N_BASE; i++) {
        bool is_it = changed != NULL && strcmp(changed->key, base_entries[i].key) == 0;
        const entry *e = is_it ? changed : &base_entries[i];
        is_new = is_new && !is_it;
        if (e->type != ABSENT) {
            put_entry(&entries, e);
            n_entries++;
        }
    }
    if (is_new) {
        put_entry(&entries, changed);
        n_entries++;
    }
    bool is_new_tensor = changed_tensor != NULL;
    for (size_t i = 0; i <= N_TENSORS; i++) {
        const tensor *t = i < N_TENSORS ? &base_tensors[i] : changed_tensor;
        if (i < N_TENSORS && changed_tensor != NULL && strcmp(changed_tensor->name, t->name) == 0) {
            is_new_tensor = false;
            t = changed_tensor;
        }
        if ((i == N_TENSORS && !is_new_tensor) || t->n_dims == 0) {
            continue;
        }
        put_info(&infos, t->name, t->n_dims, t->dims, t->type, offset);
        offset += t->dims[0] * (t->n_dims == 2 ? t->dims[1] : 1) * 4; /* multiples of 32 */
        n_tensors++;
    }
    put_head(f, 3, n_tensors, n_entries);
    kvl_str_append(f, entries.data, entries.len);
    kvl_str_append(f, infos.data, infos.len);
    put_data(f, offset);
    kvl_str_free(&entries);
    kvl_str_free(&infos);
}

static void check_entry(const entry *changed, kvl_status want, const char *part) {
    kvl_str f = {0};
    kvl_gguf *g = NULL;
    kvl_config config;
    kvl_err err = {0};
    put_model(&f, changed, NULL);
    assert_int_equal(kvl_gguf_parse(&g, (const uint8_t *)f.data, f.len, f.len, "f", NULL, NULL), KVL_OK);
    kvl_status status = kvli_config_of_gguf(&config, g, &err);
    if (status != want || strstr(err.msg, part) == NULL) {
        fail_msg("%s: expected %s with '%s', found %s: %s", changed->key, kvl_status_name(want), part,
                 kvl_status_name(status), err.msg);
    }
    kvl_gguf_close(g);
    kvl_str_free(&f);
}

static kvl_status open_model(const entry *changed, const tensor *changed_tensor, kvl_model **m,
                             kvl_err *err) {
    kvl_str f = {0};
    put_model(&f, changed, changed_tensor);
    test_save(test_temp_path("m.gguf"), f.data, f.len);
    kvl_str_free(&f);
    return kvl_model_open(m, test_temp_path("m.gguf"), 1, err);
}

static void check_tensor(const tensor *changed, kvl_status want, const char *part) {
    kvl_model *m = NULL;
    kvl_err err = {0};
    kvl_status status = open_model(NULL, changed, &m, &err);
    if (status != want || strstr(err.msg, part) == NULL) {
        fail_msg("%s: expected %s with '%s', found %s: %s", changed->name, kvl_status_name(want), part,
                 kvl_status_name(status), err.msg);
    }
    assert_null(m);
}

static void test_base_loads(void **state) {
    (void)state;
    kvl_model *m = NULL;
    assert_ok(open_model(NULL, NULL, &m, NULL));
    const kvl_shape *s = &m->shape;
    assert_true(s->n_layers == 1 && s->n_heads == 4 && s->n_kv_heads == 2 && s->head_dim == 8 &&
                s->n_rotary == 8);
    assert_true(s->width == 32 && s->ff_width == 48 && s->n_vocab == 16 && s->n_context == 64);
    assert_int_equal(m->embedding.n_out, 0); /* no output matrix: tied */
    kvl_model_close(m);
}

/* G-17, G-37 */
static void test_architecture(void **state) {
    (void)state;
    static const char key[] = "general.architecture";
    check_entry(&(entry){key, ABSENT, 0, NULL}, KVL_E_CONFIG, "general.architecture: expected a name");
    check_entry(&(entry){key, KVL_GGUF_U32, 7, NULL}, KVL_E_CONFIG, "general.architecture: expected a name");
    check_entry(&(entry){key, KVL_GGUF_STRING, 0, "ll\xc3\xa1ma"}, KVL_E_CONFIG, "in ASCII");
    check_entry(&(entry){key, KVL_GGUF_STRING, 0, ""}, KVL_E_CONFIG, "general.architecture");
    check_entry(&(entry){key, KVL_GGUF_STRING, 0, "nosuch"}, KVL_E_UNSUPPORTED, "found 'nosuch'");
}

/* G-36: each message names the key as it stands in the file */
static void test_numbers(void **state) {
    (void)state;
    enum { NAN32 = 0x7fc00000, INF32 = 0x7f800000, ONE32 = 0x3f800000, SMALL32 = 0x3727c5ac };
    static const uint32_t negative = 0x80000000u;
    static const struct {
        const char *key; /* behind "llama." */
        int type;
        uint64_t bits;
        kvl_status want;
    } cases[] = {
        {"attention.head_count", KVL_GGUF_U32, 0, KVL_E_CONFIG},
        {"attention.head_count", KVL_GGUF_U32, 5, KVL_E_CONFIG}, /* does not divide the width */
        {"attention.head_count", KVL_GGUF_F32, ONE32, KVL_E_TYPE},
        {"attention.head_count", ABSENT, 0, KVL_E_MISSING},
        {"attention.head_count_kv", KVL_GGUF_U32, 0, KVL_E_CONFIG},
        {"attention.head_count_kv", KVL_GGUF_U32, 3, KVL_E_CONFIG},
        {"attention.head_count_kv", KVL_GGUF_U32, 8, KVL_E_CONFIG},
        {"attention.head_count_kv", KVL_GGUF_U64, UINT64_MAX, KVL_E_CONFIG},
        {"attention.key_length", KVL_GGUF_U32, 0, KVL_E_CONFIG},
        {"attention.key_length", KVL_GGUF_U32, 7, KVL_E_CONFIG},
        {"block_count", KVL_GGUF_U32, 0, KVL_E_CONFIG},
        {"block_count", KVL_GGUF_U32, 1u << 31, KVL_E_CONFIG},
        {"block_count", ABSENT, 0, KVL_E_MISSING},
        {"context_length", KVL_GGUF_U32, 0, KVL_E_CONFIG},
        {"feed_forward_length", KVL_GGUF_U32, 1u << 31, KVL_E_CONFIG},
        {"rope.dimension_count", KVL_GGUF_U32, 0, KVL_E_CONFIG},
        {"rope.dimension_count", KVL_GGUF_U32, 7, KVL_E_CONFIG},
        {"rope.dimension_count", KVL_GGUF_U32, 10, KVL_E_CONFIG}, /* above the head's width */
        {"rope.freq_base", KVL_GGUF_F32, 0, KVL_E_CONFIG},
        {"rope.freq_base", KVL_GGUF_F32, NAN32, KVL_E_CONFIG},
        {"rope.freq_base", KVL_GGUF_F32, INF32, KVL_E_CONFIG},
        {"rope.freq_base", KVL_GGUF_F32, ONE32 | negative, KVL_E_CONFIG},
        {"rope.freq_base", KVL_GGUF_STRING, 0, KVL_E_TYPE},
        {"attention.layer_norm_rms_epsilon", KVL_GGUF_F32, 0, KVL_E_CONFIG},
        {"attention.layer_norm_rms_epsilon", KVL_GGUF_F32, NAN32, KVL_E_CONFIG},
        {"attention.layer_norm_rms_epsilon", KVL_GGUF_F32, SMALL32 | negative, KVL_E_CONFIG},
        {"embedding_length", KVL_GGUF_U32, 0, KVL_E_CONFIG},
        {"embedding_length", KVL_GGUF_U32, UINT32_MAX, KVL_E_CONFIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char key[80];
        snprintf(key, sizeof key, "llama.%s", cases[i].key);
        check_entry(&(entry){key, cases[i].type, cases[i].bits, "x"}, cases[i].want, cases[i].key);
    }
    check_entry(&(entry){"llama.embedding_length", KVL_GGUF_U32, 34, NULL}, KVL_E_CONFIG,
                "expected a divisor");
}

/* G-37, P-12: what changes the arithmetic and is not known is refused by name. */
static void test_unknown_settings(void **state) {
    (void)state;
    static const char *const types[] = {"foo", "longrope", "dynamic"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        check_entry(&(entry){"llama.rope.scaling.type", KVL_GGUF_STRING, 0, types[i]}, KVL_E_UNSUPPORTED,
                    types[i]);
    }
    check_entry(&(entry){"llama.rope.scaling.type", KVL_GGUF_STRING, 0, "\xff"}, KVL_E_UNSUPPORTED,
                "rope.scaling");
    check_entry(&(entry){"llama.rope.scaling.type", KVL_GGUF_STRING, 0, "yarn"}, KVL_E_MISSING, "factor");
    check_entry(&(entry){"llama.nosuch", KVL_GGUF_U32, 1, NULL}, KVL_E_UNSUPPORTED, "'llama.nosuch'");
    check_entry(&(entry){"llama.expert_count", KVL_GGUF_U32, 8, NULL}, KVL_E_UNSUPPORTED, "expert_count");
    check_entry(&(entry){"llama.attention.sliding_window", KVL_GGUF_U32, 8, NULL}, KVL_E_UNSUPPORTED,
                "attention.sliding_window");
    check_entry(&(entry){"llama.attention.sliding_window", KVL_GGUF_U32, 65, NULL}, KVL_E_CONFIG,
                "attention.sliding_window");
    check_entry(&(entry){"llama.attn_logit_softcapping", KVL_GGUF_F32, 0x3f800000, NULL}, KVL_E_UNSUPPORTED,
                "attn_logit_softcapping");
    check_entry(&(entry){"llama.attention.value_length", KVL_GGUF_U32, 16, NULL}, KVL_E_UNSUPPORTED,
                "attention.value_length");
}

/* G-38 */
static void test_tensors(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TENSORS; i++) {
        tensor t = base_tensors[i];
        t.n_dims = 0;
        check_tensor(&t, KVL_E_MISSING, t.name);
    }
    check_tensor(&(tensor){"blk.0.ffn_up.weight", {48, 32}, 2, 0}, KVL_E_SHAPE,
                 "expected [48, 32], found [32, 48]");
    check_tensor(&(tensor){"blk.0.ffn_norm.weight", {64, 0}, 1, 0}, KVL_E_SHAPE, "expected [32], found [64]");
    check_tensor(&(tensor){"blk.0.attn_v.weight", {32, 16}, 2, 26}, KVL_E_TYPE, "'blk.0.attn_v.weight'");
    check_tensor(&(tensor){"blk.0.attn_sinks.weight", {32, 0}, 1, 0}, KVL_E_EXTRA, "blk.0.attn_sinks.weight");
    check_tensor(&(tensor){"blk.1.attn_norm.weight", {32, 0}, 1, 0}, KVL_E_EXTRA, "blk.1.attn_norm.weight");
    check_tensor(&(tensor){"rope_freqs.weight", {8, 0}, 1, 0}, KVL_E_SHAPE, "rope_freqs.weight");
}

/* G-39: a template is text; its code is not run, and its size is not a fault. */
static void test_large_template(void **state) {
    (void)state;
    static const char code[] =
        "{% for x in range(10**9) %}{{ ().__class__.__base__.__subclasses__() }}{% endfor %}";
    char *text = kvl_calloc(TEMPLATE_BYTES + 1, 1);
    kvl_model *m = NULL;
    for (size_t i = 0; i < TEMPLATE_BYTES; i++) {
        text[i] = code[i % (sizeof code - 1)];
    }
    assert_ok(open_model(&(entry){"tokenizer.chat_template", KVL_GGUF_STRING, 0, text}, NULL, &m, NULL));
    assert_int_equal(m->shape.n_vocab, 16);
    kvl_model_close(m);
    kvl_free(text);
    assert_int_equal(unlink(test_temp_path("m.gguf")), 0);
}

/* C-08: only regular files, at once. */
static void test_not_a_file(void **state) {
    (void)state;
    kvl_model *m = NULL;
    assert_int_equal(mkdir(test_temp_path("folder.gguf"), 0777), 0);
    assert_int_equal(mkfifo(test_temp_path("fifo.gguf"), 0666), 0);
    assert_int_equal(symlink("/dev/zero", test_temp_path("zero.gguf")), 0);
    assert_int_equal(symlink("nowhere", test_temp_path("dangling.gguf")), 0);
    static const char *const names[] = {"folder.gguf", "fifo.gguf", "zero.gguf", "dangling.gguf",
                                        "absent.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        kvl_err err = {0};
        assert_int_equal(kvl_model_open(&m, test_temp_path(names[i]), 1, &err), KVL_E_IO);
        assert_non_null(strstr(err.msg, names[i]));
    }
}

/* The model's hash is that of its contents, whatever the number of threads. */
static void test_hash(void **state) {
    (void)state;
    kvl_str f = {0};
    kvl_model *m = NULL;
    put_model(&f, NULL, NULL);
    uint64_t seen[3] = {0};
    for (size_t i = 0; i < 3; i++) { /* as it is, by three threads, with one bit of the last weight changed */
        f.data[f.len - 4] ^= i == 2;
        test_save(test_temp_path("m.gguf"), f.data, f.len);
        assert_ok(kvl_model_open(&m, test_temp_path("m.gguf"), i == 1 ? 3 : 1, NULL));
        seen[i] = m->hash;
        kvl_model_close(m);
    }
    assert_true(seen[0] == seen[1] && seen[0] != seen[2]);
    kvl_str_free(&f);
}

static void test_no_memory(void **state) {
    (void)state;
    kvl_model *m = NULL;
    bool is_done = false;
    assert_ok(open_model(NULL, NULL, &m, NULL));
    kvl_model_close(m);
    for (int64_t k = 0; !is_done; k++) {
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_model_open(&m, test_temp_path("m.gguf"), 1, NULL);
        kvl_alloc_fail_after(-1);
        is_done = status == KVL_OK;
        assert_true(is_done || (status == KVL_E_NOMEM && m == NULL));
        assert_true(k < 1000);
        kvl_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_loads), cmocka_unit_test(test_architecture),
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_unknown_settings),
        cmocka_unit_test(test_tensors),    cmocka_unit_test(test_large_template),
        cmocka_unit_test(test_not_a_file), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
