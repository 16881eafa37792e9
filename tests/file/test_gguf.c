/* GGUF headers: what must load and what must be refused, each bad file one change away from a good one. */
#include "support.h"

#include "gguf_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- checking ---- */

static kvl_status parse(kvl_gguf **out, const kvl_str *f, uint64_t file_bytes, kvl_err *err) {
    bool wants_more = false;
    return kvl_gguf_parse(out, (const uint8_t *)kvl_str_text(f), f->len, file_bytes, "f", &wants_more, err);
}

/* The file is refused with this status and a message that holds `part`; f is freed. */
static void refuse(kvl_str *f, kvl_status want, const char *part) {
    kvl_gguf *g = NULL;
    kvl_err err = {0};
    kvl_status status = parse(&g, f, f->len, &err);
    if (status != want || strstr(err.msg, part) == NULL || strncmp(err.msg, "f: ", 3) != 0) {
        fail_msg("expected %s with '%s', found %s: %s", kvl_status_name(want), part, kvl_status_name(status),
                 err.msg);
    }
    assert_null(g);
    kvl_str_free(f);
}

static void accept(kvl_str *f, kvl_gguf **out) {
    kvl_err err = {0};
    kvl_status status = parse(out, f, f->len, &err);
    if (status != KVL_OK) {
        fail_msg("expected success, found %s: %s", kvl_status_name(status), err.msg);
    }
    kvl_str_free(f);
}

/* One tensor of that shape and type behind one entry. */
static void refuse_tensor(unsigned n_dims, const uint64_t *dims, uint32_t type, uint64_t offset,
                          kvl_status want, const char *part) {
    kvl_str f = {0};
    put_head(&f, 3, 1, 1);
    put_string(&f, "general.architecture", "llama");
    put_info(&f, "t", n_dims, dims, type, offset);
    put_data(&f, 256);
    refuse(&f, want, part);
}

static const uint64_t two_by_four[] = {4, 2};

static void put_good(kvl_str *f) {
    put_head(f, 3, 2, 4);
    put_string(f, "general.architecture", "llama");
    put_u32(f, "llama.block_count", 7);
    put_text(f, "list");
    put(f, KVL_GGUF_ARRAY, 4);
    put(f, KVL_GGUF_STRING, 4);
    put(f, 2, 8);
    put_text(f, "one");
    put_text(f, "");
    put_text(f, "reals");
    put(f, KVL_GGUF_ARRAY, 4);
    put(f, KVL_GGUF_F32, 4);
    put(f, 2, 8);
    put(f, 0x3f800000, 4);
    put(f, 0xc0000000, 4);
    put_info(f, "a", 2, two_by_four, 0, 0);
    put_info(f, "b\x1b[2J../", 1, (const uint64_t[]){32}, 8, 32);
    put_data(f, 32 + 64); /* Q8_0: 34 bytes, padded */
}

static void test_good_file(void **state) {
    (void)state;
    kvl_str f = {0};
    kvl_gguf *g = NULL;
    kvl_err err = {0};
    put_good(&f);
    uint64_t data = f.len - 96;
    accept(&f, &g);
    int64_t n = 0;
    assert_ok(kvl_gguf_int(g, "llama.block_count", &n, NULL));
    assert_int_equal(n, 7);
    const char *text = NULL;
    size_t n_text = 0;
    assert_ok(kvl_gguf_text(g, "general.architecture", &text, &n_text, NULL));
    assert_int_equal(n_text, 5);
    assert_memory_equal(text, "llama", 5);
    const kvl_gguf_value *v = NULL;
    assert_ok(kvl_gguf_array(g, "list", KVL_GGUF_STRING, &v, NULL));
    kvl_cursor c = kvl_cursor_open(v->bytes, v->n_bytes);
    text = kvl_gguf_next_text(&c, &n_text);
    assert_int_equal(n_text, 3);
    assert_memory_equal(text, "one", 3);
    (void)kvl_gguf_next_text(&c, &n_text);
    assert_int_equal(n_text, 0);
    assert_ok(kvl_gguf_array(g, "reals", KVL_GGUF_F32, &v, NULL));
    assert_true(kvl_gguf_f32_at(v, 1) == -2.0f);
    assert_int_equal(kvl_gguf_n_tensors(g), 2);
    const kvl_tensor *t = kvl_gguf_tensor(g, 0);
    assert_int_equal(t->dims[0], 2); /* slowest first */
    assert_int_equal(t->dims[1], 4);
    assert_int_equal(t->offset, data);
    assert_int_equal(kvl_gguf_tensor(g, 1)->n_bytes, 34);
    assert_int_equal(kvl_gguf_tensor(g, 1)->offset, data + 32);
    /* G-31, typed reads: another type is refused, naming the key; an absent key leaves the default */
    assert_int_equal(kvl_gguf_array(g, "list", KVL_GGUF_F32, &v, &err), KVL_E_TYPE);
    assert_non_null(strstr(err.msg, "list"));
    assert_int_equal(kvl_gguf_int(g, "general.architecture", &n, &err), KVL_E_TYPE);
    assert_ok(kvl_gguf_int(g, "absent", &n, NULL));
    assert_int_equal(n, 7);
    kvl_gguf_close(g);
}

/* G-01, G-02 */
static void test_every_prefix_is_refused(void **state) {
    (void)state;
    kvl_str f = {0};
    put_good(&f);
    for (size_t n = 0; n < f.len; n++) {
        kvl_gguf *g = NULL;
        kvl_err err = {0};
        bool wants_more = false;
        kvl_status cut = kvl_gguf_parse(&g, (const uint8_t *)f.data, n, n, "f", &wants_more, &err);
        if (n < f.len - 30) { /* the last 30 bytes only pad the last tensor */
            if ((cut != KVL_E_TRUNC && cut != KVL_E_SIZE && cut != KVL_E_COUNT) || wants_more) {
                fail_msg("prefix of %zu bytes: %s: %s", n, kvl_status_name(cut), err.msg);
            }
        }
        kvl_gguf_close(g);
        /* the same prefix of a file that goes on: more is wanted, or the header was whole */
        cut = kvl_gguf_parse(&g, (const uint8_t *)f.data, n, f.len, "f", &wants_more, &err);
        assert_true(cut == KVL_OK ? !wants_more : cut == KVL_E_TRUNC && wants_more);
        kvl_gguf_close(g);
    }
    kvl_str_free(&f);
}

/* G-03 .. G-05 */
static void test_magic_and_version(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        const char *part;
    } others[] = {
        {"FUGGxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "another kind"},
        {"ggjtxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "GGML"},
        {"PK\x03\x04xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "zip"},
        {"version https://git-lfs.github.com/spec/v1", "git lfs pull"},
        {"<!DOCTYPE html><html><body>404</body>", "HTML"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        kvl_str f = {0};
        kvl_str_puts(&f, others[i].bytes);
        refuse(&f, KVL_E_MAGIC, others[i].part);
    }
    static const uint32_t versions[] = {0, 1, 4, 0x80000000u};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        kvl_str f = {0};
        put_head(&f, versions[i], 0, 0);
        refuse(&f, KVL_E_VERSION, "expected 2 or 3");
    }
    kvl_str f = {0};
    put_head(&f, 0x03000000u, 0, 0);
    refuse(&f, KVL_E_ENDIAN, "big-endian");
    kvl_gguf *g = NULL;
    put_head(&f, 2, 0, 0);
    accept(&f, &g);
    assert_int_equal(kvl_gguf_version(g), 2);
    kvl_gguf_close(g);
}

/* G-06, G-07 */
static void test_counts(void **state) {
    (void)state;
    static const uint64_t counts[] = {UINT64_MAX, 1ull << 63, UINT64_MAX / 33 + 1, 100000000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint64_t before = kvl_alloc_count();
        kvl_str f = {0};
        put_head(&f, 3, counts[i], 0);
        put_data(&f, 32);
        refuse(&f, KVL_E_COUNT, "number of tensors");
        put_head(&f, 3, 0, counts[i]);
        put_data(&f, 32);
        refuse(&f, KVL_E_COUNT, "number of metadata");
        assert_true(kvl_alloc_count() - before < 40);
    }
}

/* G-08 .. G-11 */
static void test_keys(void **state) {
    (void)state;
    static const uint64_t lengths[] = {UINT64_MAX, 1000, 1000000000000ull};
    kvl_str f = {0};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        put_head(&f, 3, 0, 1);
        put(&f, lengths[i], 8);
        put_data(&f, 64);
        refuse(&f, KVL_E_TRUNC, "key");
    }
    put_head(&f, 3, 0, 1);
    put_u32(&f, "", 1);
    refuse(&f, KVL_E_KEY, "found 0");
    put_head(&f, 3, 0, 1);
    put_u32(&f, "caf\xc3\xa9", 1);
    refuse(&f, KVL_E_KEY, "ASCII");
    put_head(&f, 3, 0, 1);
    put(&f, 3, 8);
    kvl_str_append(&f, "a\0b", 3);
    put(&f, 0, 8);
    refuse(&f, KVL_E_KEY, "ASCII");
    put_head(&f, 3, 0, 1);
    put(&f, 65536, 8);
    put_data(&f, 70000);
    refuse(&f, KVL_E_KEY, "65535");
    put_head(&f, 3, 0, 3);
    put_u32(&f, "same", 1);
    put_u32(&f, "other", 1);
    put_u32(&f, "same", 2);
    refuse(&f, KVL_E_DUP, "entries 0 and 2");
    put_head(&f, 3, 0, 2);
    put_u32(&f, "general.alignment", 32);
    put_u32(&f, "general.alignment", 32);
    refuse(&f, KVL_E_DUP, "general.alignment");
}

/* G-12 .. G-16 */
static void test_values(void **state) {
    (void)state;
    static const uint32_t bad_types[] = {13, 255, UINT32_MAX};
    kvl_str f = {0};
    for (size_t i = 0; i < sizeof bad_types / sizeof bad_types[0]; i++) {
        put_head(&f, 3, 0, 1);
        put_text(&f, "k");
        put(&f, bad_types[i], 4);
        put_data(&f, 32);
        refuse(&f, KVL_E_TYPE, "'k'");
    }
    put_head(&f, 3, 0, 1); /* 10,000 nested array headers: refused at the second, without recursion */
    put_text(&f, "k");
    put(&f, KVL_GGUF_ARRAY, 4);
    for (int i = 0; i < 10000; i++) {
        put(&f, KVL_GGUF_ARRAY, 4);
        put(&f, 1, 8);
    }
    refuse(&f, KVL_E_UNSUPPORTED, "array of arrays");
    static const uint64_t lengths[] = {UINT64_MAX, 1ull << 61, 1ull << 30};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        put_head(&f, 3, 0, 1);
        put_text(&f, "k");
        put(&f, KVL_GGUF_ARRAY, 4);
        put(&f, i == 1 ? KVL_GGUF_U64 : KVL_GGUF_STRING, 4);
        put(&f, lengths[i], 8);
        put_data(&f, 480);
        refuse(&f, KVL_E_COUNT, "length of 'k'");
    }
    put_head(&f, 3, 0, 1);
    put_text(&f, "k");
    put(&f, KVL_GGUF_ARRAY, 4);
    put(&f, KVL_GGUF_STRING, 4);
    put(&f, 1, 8);
    put(&f, 1ull << 63, 8);
    put_data(&f, 32);
    refuse(&f, KVL_E_TRUNC, "a text in 'k'");
    put_head(&f, 3, 0, 1);
    put_text(&f, "k");
    put(&f, KVL_GGUF_BOOL, 4);
    put(&f, 2, 1);
    refuse(&f, KVL_E_TYPE, "0 or 1");
}

/* G-18 */
static void test_alignment(void **state) {
    (void)state;
    static const uint32_t bad[] = {0, 1, 2, 4, 13, 24, 0x80000000u};
    kvl_str f = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_head(&f, 3, 0, 1);
        put_u32(&f, "general.alignment", bad[i]);
        refuse(&f, KVL_E_ALIGN, "general.alignment");
    }
    static const uint32_t bad_types[] = {KVL_GGUF_I32, KVL_GGUF_F32};
    for (size_t i = 0; i < 2; i++) {
        put_head(&f, 3, 0, 1);
        put_text(&f, "general.alignment");
        put(&f, bad_types[i], 4);
        put(&f, 32, 4);
        refuse(&f, KVL_E_ALIGN, "expected a u32");
    }
}

/* G-19 */
static void test_tensor_names(void **state) {
    (void)state;
    char longest[66] = {0};
    memset(longest, 'n', 65);
    kvl_str f = {0};
    put_head(&f, 3, 1, 0);
    put_info(&f, longest, 2, two_by_four, 0, 0);
    put_data(&f, 32);
    refuse(&f, KVL_E_NAME, "found 65");
    put_head(&f, 3, 1, 0);
    put_info(&f, "", 2, two_by_four, 0, 0);
    put_data(&f, 32);
    refuse(&f, KVL_E_NAME, "found 0");
    put_head(&f, 3, 1, 0);
    put(&f, UINT64_MAX, 8);
    put_data(&f, 64);
    refuse(&f, KVL_E_TRUNC, "name");
    put_head(&f, 3, 2, 0);
    put_info(&f, "same", 2, two_by_four, 0, 0);
    put_info(&f, "same", 2, two_by_four, 0, 32);
    put_data(&f, 64);
    refuse(&f, KVL_E_DUP, "found it as 0 and 1");
    put_head(&f, 3, 1, 0); /* an escape sequence in a name is printed as text */
    put_info(&f, "\x1b]0;pwn\x07", 2, two_by_four, 99, 0);
    put_data(&f, 32);
    kvl_gguf *g = NULL;
    kvl_err err = {0};
    assert_int_equal(parse(&g, &f, f.len, &err), KVL_E_TYPE);
    assert_null(strchr(err.msg, '\x1b'));
    assert_non_null(strstr(err.msg, "\\x1b]0;pwn"));
    kvl_str_free(&f);
}

/* G-20 .. G-26 */
static void test_shapes(void **state) {
    (void)state;
    const uint64_t dims[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const unsigned counts[] = {0, 5, 9, UINT32_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        refuse_tensor(counts[i], dims, 0, 0, KVL_E_SHAPE, "1 to 4 dimensions");
    }
    for (unsigned i = 0; i < 4; i++) {
        uint64_t zero[4] = {1, 1, 1, 1};
        zero[i] = 0;
        refuse_tensor(4, zero, 0, 0, KVL_E_SHAPE, "found 0");
        zero[i] = 1ull << 63;
        refuse_tensor(4, zero, 0, 0, KVL_E_SHAPE, "2^63");
    }
    /* values or bytes beyond 64 bits; a size that merely is not there is E_SIZE */
    refuse_tensor(2, (const uint64_t[]){1152, (1ull << 42) + 1}, 0, 0, KVL_E_SIZE, "'t'");
    refuse_tensor(2, (const uint64_t[]){1ull << 32, 1ull << 32}, 0, 0, KVL_E_OVERFLOW, "'t'");
    refuse_tensor(1, (const uint64_t[]){1ull << 62}, 0, 0, KVL_E_OVERFLOW, "'t'");
    refuse_tensor(1, (const uint64_t[]){4611686018427387903ull}, 0, 0, KVL_E_OVERFLOW, "'t'");
    refuse_tensor(1, (const uint64_t[]){542551296285575072ull}, 8, 0, KVL_E_SIZE, "'t'");
    kvl_str f = {0};
    put_head(&f, 3, 2, 0);
    put_info(&f, "a", 1, (const uint64_t[]){0x7FFFFFFFFFFFFFC0ull}, 24, 0);
    put_info(&f, "b", 1, (const uint64_t[]){0x7FFFFFFFFFFFFFC0ull}, 24, 0x7FFFFFFFFFFFFFC0ull);
    put_data(&f, 64);
    refuse(&f, KVL_E_SIZE, "'a'");
    /* types: removed, unknown, and a row that is no whole number of blocks */
    static const uint32_t removed[] = {4, 5, 31, 16, 39};
    for (size_t i = 0; i < sizeof removed / sizeof removed[0]; i++) {
        refuse_tensor(2, two_by_four, removed[i], 0, KVL_E_UNSUPPORTED, i < 3 ? "removed" : "(");
    }
    refuse_tensor(2, two_by_four, 42, 0, KVL_E_TYPE, "found 42");
    refuse_tensor(2, two_by_four, UINT32_MAX, 0, KVL_E_TYPE, "'t'");
    refuse_tensor(1, (const uint64_t[]){33}, 2, 0, KVL_E_SHAPE, "multiple of 32");
}

static void refuse_pair(uint64_t first, uint64_t second, size_t n_data, kvl_status want, const char *part) {
    kvl_str f = {0};
    put_head(&f, 3, 2, 0);
    put_info(&f, "a", 2, two_by_four, 0, first);
    put_info(&f, "b", 2, two_by_four, 0, second);
    put_data(&f, n_data);
    refuse(&f, want, part);
}

/* G-27 .. G-30 */
static void test_layout(void **state) {
    (void)state;
    refuse_pair(0, 33, 64, KVL_E_ALIGN, "'b'");
    refuse_pair(0, 64, 64, KVL_E_OFFSET, "'b'");
    refuse_pair(0, 64, 96, KVL_E_HOLE, "'b'");
    refuse_pair(0, 0, 64, KVL_E_OVERLAP, "'b'");
    refuse_pair(32, 0, 64, KVL_E_HOLE, "'a'"); /* reversed */
    refuse_pair(0, UINT64_MAX - 31, 64, KVL_E_OFFSET, "'b'");
    refuse_pair(0, 32, 63, KVL_E_SIZE, "'b'");
    refuse_pair(0, 32, 32, KVL_E_SIZE, "'b'");
    refuse_pair(0, 32, 65, KVL_E_EXTRA, "found 1 bytes");
    kvl_str f = {0};
    kvl_gguf *g = NULL;
    put_head(&f, 3, 1, 1);
    put_string(&f, "general.architecture", "x");
    put_info(&f, "a", 2, two_by_four, 0, 0);
    while (f.len % 32 != 0) {
        put(&f, 0xaa, 1); /* padding that is not zero: accepted */
    }
    put_data(&f, 32);
    accept(&f, &g);
    kvl_gguf_close(g);
}

/* P-17 */
static void test_many_keys(void **state) {
    (void)state;
    kvl_str f = {0};
    kvl_gguf *g = NULL;
    put_head(&f, 3, 0, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        char key[16];
        snprintf(key, sizeof key, "key.%08u", i);
        put_u32(&f, key, i);
    }
    accept(&f, &g);
    int64_t n = 0;
    assert_ok(kvl_gguf_int(g, "key.00065535", &n, NULL));
    assert_int_equal(n, 65535);
    kvl_gguf_close(g);
}

/* P-18: nothing is left behind; memory that ends at any call is an error and no crash. */
static void test_failures_leave_nothing(void **state) {
    (void)state;
    kvl_str f = {0};
    put_good(&f);
    for (int64_t n = 0; n < 40; n++) {
        kvl_gguf *g = NULL;
        kvl_err err = {0};
        kvl_alloc_fail_after(n);
        kvl_status status = parse(&g, &f, f.len, &err);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_gguf_close(g);
    }
    kvl_str_free(&f);
}

/* G-41 and reading of values through the directory of tensors */
static void test_split_files(void **state) {
    (void)state;
    kvl_tensors *t = NULL;
    const kvl_gguf *meta = NULL;
    kvl_err err = {0};
    for (unsigned i = 1; i <= 2; i++) {
        kvl_str f = {0};
        char name[40];
        snprintf(name, sizeof name, "m-%05u-of-00002.gguf", i);
        put_head(&f, 3, 1, 1);
        put_u32(&f, "split.count", 2);
        put_info(&f, i == 1 ? "first" : "second", 2, two_by_four, 0, 0);
        put_data(&f, 32);
        test_save(test_temp_path(name), f.data, f.len);
        kvl_str_free(&f);
    }
    assert_ok(kvl_tensors_open_gguf(&t, &meta, test_temp_path("m-00001-of-00002.gguf"), NULL));
    assert_int_equal(kvl_tensors_count(t), 2);
    float values[8];
    assert_ok(kvl_tensors_read_f32(t, kvl_tensors_find(t, "second"), values, NULL));
    uint32_t bits = 0x01010101;
    assert_memory_equal(&values[7], &bits, 4);
    kvl_tensors_close(t);
    assert_int_equal(kvl_tensors_open_gguf(&t, &meta, test_temp_path("m-00002-of-00002.gguf"), &err),
                     KVL_E_MISSING);
    assert_int_equal(unlink(test_temp_path("m-00002-of-00002.gguf")), 0);
    assert_int_equal(kvl_tensors_open_gguf(&t, &meta, test_temp_path("m-00001-of-00002.gguf"), &err),
                     KVL_E_MISSING);
    assert_non_null(strstr(err.msg, "m-00002-of-00002.gguf"));
}

/* A sparse file of 5 GB: opening reads its first piece only. */
static void test_large_file_is_not_read(void **state) {
    (void)state;
    kvl_str f = {0};
    put_head(&f, 3, 1, 0);
    put_info(&f, "large", 2, (const uint64_t[]){1 << 15, (5ull << 30) >> 17}, 0, 0);
    put_data(&f, 0);
    const char *path = test_temp_path("large.gguf");
    test_save(path, f.data, f.len);
    if (truncate(path, (off_t)(f.len + (5ull << 30))) != 0) {
        skip(); /* a file system without sparse files */
    }
    kvl_peak_rss_reset();
    uint64_t before = kvl_peak_rss_bytes();
    kvl_file file;
    kvl_gguf *g = NULL;
    assert_ok(kvl_file_open(&file, path, NULL));
    assert_ok(kvl_gguf_read(&g, &file, NULL));
    assert_true(kvl_peak_rss_bytes() - before < (64u << 20));
    assert_int_equal(kvl_gguf_tensor(g, 0)->n_bytes, 5ull << 30);
    kvl_gguf_close(g);
    kvl_file_close(&file);
    kvl_str_free(&f);
    assert_int_equal(unlink(path), 0);
}

/* G-42: NaN in a quantisation scale */
static void test_nonfinite_scale(void **state) {
    (void)state;
    kvl_str f = {0};
    kvl_tensors *t = NULL;
    const kvl_gguf *meta = NULL;
    kvl_err err = {0};
    put_head(&f, 3, 1, 0);
    put_info(&f, "w", 2, (const uint64_t[]){32, 2}, 8, 0);
    put_data(&f, 0);
    for (int block = 0; block < 2; block++) {
        put(&f, block == 0 ? 0x3c00 : 0x7e00, 2);
        for (int i = 0; i < 32; i++) {
            put(&f, 1, 1);
        }
    }
    test_save(test_temp_path("nan.gguf"), f.data, f.len);
    kvl_str_free(&f);
    assert_ok(kvl_tensors_open_gguf(&t, &meta, test_temp_path("nan.gguf"), NULL));
    float values[64];
    assert_int_equal(kvl_tensors_read_f32(t, kvl_tensors_at(t, 0), values, &err), KVL_E_NONFINITE);
    assert_non_null(strstr(err.msg, "'w', index 32"));
    kvl_tensors_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_file),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_magic_and_version),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_tensor_names),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_failures_leave_nothing),
        cmocka_unit_test(test_split_files),
        cmocka_unit_test(test_large_file_is_not_read),
        cmocka_unit_test(test_nonfinite_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
