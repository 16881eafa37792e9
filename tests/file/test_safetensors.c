/* safetensors headers: what must load and what must be refused, each bad file one change away from a good
 * one. */
#include "support.h"

#include "file/safetensors.h"

#include <stdio.h>
#include <string.h>

/* A file of a header and n_data bytes; free with kvl_str_free. A negative length means the header's own. */
static void make_file(kvl_str *out, const char *header, long long header_bytes, size_t n_data) {
    uint64_t n = header_bytes >= 0 ? (uint64_t)header_bytes : strlen(header);
    char length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (char)(n >> (8 * i));
    }
    kvl_str_append(out, length, 8);
    kvl_str_puts(out, header);
    for (size_t i = 0; i < n_data; i++) {
        kvl_str_append(out, "\x01", 1);
    }
}

static kvl_status parse(const kvl_str *file, size_t *n, kvl_err *err) {
    kvl_tensor *entries = NULL;
    kvl_status status = kvl_safetensors_parse(&entries, n, (const uint8_t *)kvl_str_text(file), file->len,
                                              file->len, "f", err);
    if (status == KVL_OK) {
        kvl_safetensors_free(entries, *n);
    }
    return status;
}

static void check(const char *header, long long header_bytes, size_t n_data, kvl_status want,
                  const char *part) {
    kvl_str file = {0};
    kvl_err err = {0};
    size_t n = 0;
    make_file(&file, header, header_bytes, n_data);
    kvl_status status = parse(&file, &n, &err);
    if (status != want ||
        (status != KVL_OK && (strstr(err.msg, part) == NULL || strncmp(err.msg, "f: ", 3) != 0))) {
        fail_msg("%.90s: expected %s with '%s', found %s: %s", header, kvl_status_name(want), part,
                 kvl_status_name(status), err.msg);
    }
    kvl_str_free(&file);
}

#define GOOD                                                                                                 \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F16\",\"shape\":[2," \
    "1],\"data_offsets\":[8,12]}}"
#define ONE(dtype, shape, offsets)                                                                           \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_good_files(void **state) {
    (void)state;
    check(GOOD, -1, 12, KVL_OK, "");
    check(GOOD "  \t\r\n", -1, 12, KVL_OK, "");              /* S-18: trailing white space */
    check("\t" GOOD, -1, 12, KVL_OK, "");                    /* leading white space, as the reference */
    check(ONE("\"F32\"", "[]", "[0,4]"), -1, 4, KVL_OK, ""); /* S-15: scalar */
    check(ONE("\"F32\"", "[2,0]", "[0,0]"), -1, 0, KVL_OK, "");
    check("{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"data_offsets\":[0,4],\"shape\":[1],\"dtype\":"
          "\"F32\"}}",
          -1, 4, KVL_OK, "");
}

static void test_lengths(void **state) {
    (void)state;
    check("", 0, 0, KVL_E_SIZE, "header length");               /* S-02 */
    check("{", 1, 0, KVL_E_JSON, "");                           /* S-02 */
    check(GOOD, 4000, 12, KVL_E_SIZE, "header length");         /* beyond the file */
    check(GOOD, 100000001, 12, KVL_E_LIMIT, "found 100000001"); /* S-03 */
    check(GOOD, (long long)(1ull << 62), 12, KVL_E_LIMIT, "header length");
    for (size_t n = 0; n < 8; n++) { /* S-01 */
        kvl_err err = {0};
        kvl_str file = {0};
        size_t count = 0;
        kvl_str_append(&file, "\x10\0\0\0\0\0\0", n);
        assert_int_equal(parse(&file, &count, &err), KVL_E_TRUNC);
        kvl_str_free(&file);
    }
}

static void test_every_prefix(void **state) {
    (void)state;
    kvl_str file = {0};
    make_file(&file, GOOD, -1, 12);
    for (size_t len = 0; len < file.len; len++) {
        kvl_str prefix = {0};
        size_t n = 0;
        kvl_err err = {0};
        kvl_str_append(&prefix, kvl_str_text(&file), len);
        kvl_status status = parse(&prefix, &n, &err);
        assert_true(status == KVL_E_TRUNC || status == KVL_E_SIZE);
        kvl_str_free(&prefix);
    }
    kvl_str_free(&file);
}

static void test_bad_headers(void **state) {
    (void)state;
    check("[1]    ", -1, 4, KVL_E_JSON, ""); /* S-05 */
    check("\"x\"    ", -1, 4, KVL_E_JSON, "");
    check("{} x", -1, 0, KVL_E_JSON, "");
    check("{\"a\xff\":{}}", -1, 0, KVL_E_UTF8, ""); /* S-04 */
    check("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\","
          "\"shape\":[1],"
          "\"data_offsets\":[4,8]}}",
          -1, 8, KVL_E_DUP, "'a'"); /* S-06 */
    check("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"\\u0061\":{\"dtype\":\"F32\","
          "\"shape\":[1],"
          "\"data_offsets\":[4,8]}}",
          -1, 8, KVL_E_DUP, "'a'");
    check("{\"__metadata__\":{},\"__metadata__\":{}}", -1, 0, KVL_E_DUP, "__metadata__");
    check("{\"__metadata__\":{\"x\":1}}", -1, 0, KVL_E_TYPE, ""); /* S-07 */
    check("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", -1, 4, KVL_E_MISSING, "dtype");
    check("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", -1, 4, KVL_E_MISSING, "shape");
    check("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", -1, 4, KVL_E_MISSING, "data_offsets");
    check("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", -1, 4, KVL_E_EXTRA,
          "'x'");
    check("{\"a\":7}", -1, 0, KVL_E_TYPE, "'a'");
    check(ONE("\"F33\"", "[1]", "[0,4]"), -1, 4, KVL_E_TYPE, "F33"); /* S-08 */
    check(ONE("\"f32\"", "[1]", "[0,4]"), -1, 4, KVL_E_TYPE, "f32");
    check(ONE("5", "[1]", "[0,4]"), -1, 4, KVL_E_TYPE, "");
}

static void test_bad_layouts(void **state) {
    (void)state;
    check(ONE("\"F32\"", "[1]", "[4,0]"), -1, 4, KVL_E_OFFSET, ""); /* S-09 */
    check(ONE("\"F32\"", "[1]", "[0,18446744073709551615]"), -1, 4, KVL_E_OFFSET, "inside the file");
    check(ONE("\"F32\"", "[1]", "[-4,0]"), -1, 4, KVL_E_NUM, "");
    check(ONE("\"F32\"", "[1]", "[0,4.5]"), -1, 4, KVL_E_NUM, "");
    check(ONE("\"F32\"", "[1]", "[0,4e0]"), -1, 4, KVL_E_NUM, "");
    check(ONE("\"F32\"", "[1]", "[0,18446744073709551616]"), -1, 4, KVL_E_NUM, "");
    check(GOOD, -1, 13, KVL_E_EXTRA, ""); /* S-10 */
    check(ONE("\"F32\"", "[1]", "[1,5]"), -1, 5, KVL_E_HOLE, "");
    check("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\","
          "\"shape\":[1],"
          "\"data_offsets\":[5,9]}}",
          -1, 9, KVL_E_HOLE, "'b'");
    check("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\","
          "\"shape\":[1],"
          "\"data_offsets\":[0,4]}}",
          -1, 4, KVL_E_OVERLAP, "");        /* S-11 */
    check(GOOD, -1, 11, KVL_E_SIZE, "'b'"); /* S-12 */
    check(GOOD, -1, 5, KVL_E_SIZE, "'a'");
    check(ONE("\"F32\"", "[3]", "[0,8]"), -1, 8, KVL_E_SIZE, "'a'");                       /* S-13 */
    check(ONE("\"F32\"", "[2,18446744073709551614]", "[0,8]"), -1, 8, KVL_E_OVERFLOW, ""); /* S-14 */
    check(ONE("\"F32\"", "[2,9223372036854775807]", "[0,8]"), -1, 8, KVL_E_OVERFLOW, "");
    check(ONE("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), -1, 4, KVL_E_LIMIT, ""); /* S-16 */
}

static void test_many_tensors_in_one_place(void **state) {
    (void)state;
    kvl_str header = {0};
    kvl_str_puts(&header, "{");
    for (int i = 0; i < 100000; i++) {
        kvl_str_printf(&header, "%s\"t%d\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}",
                       i == 0 ? "" : ",", i);
    }
    kvl_str_puts(&header, "}");
    check(kvl_str_text(&header), -1, 8, KVL_E_OVERLAP, "");
    kvl_str_free(&header);
}

static void test_wrong_containers(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *part;
    } cases[] = {{"version https://git-lfs.github.com/spec/v1\noid", "LFS"},
                 {"<!DOCTYPE html><html>", "HTML"},
                 {"PK\003\004zip file here....", "zip"},
                 {"\x80\x02}q\x01pickle....", "pickle"},
                 {"GGUF\003___________", "GGUF"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_str file = {0};
        kvl_err err = {0};
        size_t n = 0;
        kvl_str_puts(&file, cases[i].bytes);
        assert_int_equal(parse(&file, &n, &err), KVL_E_MAGIC);
        if (strstr(err.msg, cases[i].part) == NULL) {
            fail_msg("expected '%s' in: %s", cases[i].part, err.msg);
        }
        kvl_str_free(&file);
    }
}

static void test_names_cannot_drive_a_terminal(void **state) {
    (void)state;
    kvl_str file = {0};
    kvl_err err = {0};
    size_t n = 0;
    make_file(&file, "{\"\\u001b]0;pwn\\u0007\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}",
              -1, 4);
    assert_int_equal(parse(&file, &n, &err), KVL_E_TYPE);
    assert_null(strchr(err.msg, '\x1b'));
    assert_null(strchr(err.msg, '\a'));
    kvl_str_free(&file);
}

/* ---- files on disk ---- */

static void save(const char *name, const char *header, const char *data, size_t n_data) {
    kvl_str file = {0};
    make_file(&file, header, -1, 0);
    kvl_str_append(&file, data, n_data);
    test_save(test_temp_path(name), kvl_str_text(&file), file.len);
    kvl_str_free(&file);
}

static void test_values_are_widened(void **state) {
    (void)state;
    /* every alignment of the data (S-20): the header grows by one space each time */
    for (size_t pad = 0; pad < 8; pad++) {
        kvl_str header = {0};
        kvl_tensors *t = NULL;
        float x[2] = {0};
        kvl_str_puts(&header, "{\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                              "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[4,6]},"
                              "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[6,10]},"
                              "\"i\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[10,11]}}");
        for (size_t i = 0; i < pad; i++) {
            kvl_str_puts(&header, " ");
        }
        save("x.safetensors", kvl_str_text(&header), "\x00\x3c\x00\xc0\x80\x3f\x00\x00\x20\x41\x05", 11);
        assert_int_equal(kvl_tensors_open_file(&t, test_temp_path("x.safetensors"), NULL), KVL_OK);
        assert_int_equal(kvl_tensors_read_f32(t, kvl_tensors_find(t, "h"), x, NULL), KVL_OK);
        assert_true(x[0] == 1.0f && x[1] == -2.0f);
        assert_int_equal(kvl_tensors_read_f32(t, kvl_tensors_find(t, "b"), x, NULL), KVL_OK);
        assert_true(x[0] == 1.0f);
        assert_int_equal(kvl_tensors_read_f32(t, kvl_tensors_find(t, "f"), x, NULL), KVL_OK);
        assert_true(x[0] == 10.0f);
        assert_int_equal(kvl_tensors_read_f32(t, kvl_tensors_find(t, "i"), x, NULL), KVL_E_TYPE);
        assert_null(kvl_tensors_find(t, "none"));
        assert_int_equal(kvl_tensors_count(t), 4);
        kvl_tensors_close(t);
        kvl_str_free(&header);
    }
}

static void test_nonfinite_values(void **state) {
    (void)state;
    static const char *const bits[] = {"\x00\x00\xc0\x7f", "\x00\x00\x80\x7f", "\x00\x00\x80\xff"};
    for (size_t i = 0; i < 3; i++) {
        kvl_tensors *t = NULL;
        kvl_err err = {0};
        float x[2];
        char data[8] = {0};
        memcpy(data + 4, bits[i], 4);
        save("n.safetensors", "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", data, 8);
        assert_int_equal(kvl_tensors_open_file(&t, test_temp_path("n.safetensors"), NULL), KVL_OK);
        assert_int_equal(kvl_tensors_read_f32(t, kvl_tensors_find(t, "w"), x, &err), KVL_E_NONFINITE);
        assert_non_null(strstr(err.msg, "'w', index 1"));
        kvl_tensors_close(t);
    }
}

static void test_shard_index(void **state) {
    (void)state;
    static const struct {
        const char *map;
        kvl_status status;
        const char *part;
    } cases[] = {
        {"{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}", KVL_OK, ""},
        {"{\"a\":\"s1.safetensors\",\"b\":\"s1.safetensors\"}", KVL_E_MISSING, "'b'"},
        {"{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\",\"c\":\"s2.safetensors\"}", KVL_E_MISSING,
         "'c'"},
        {"{\"a\":\"s1.safetensors\",\"b\":\"../s2.safetensors\"}", KVL_E_PATH, "../s2"},
        {"{\"a\":\"s1.safetensors\",\"b\":\"/etc/passwd\"}", KVL_E_PATH, "/etc/passwd"},
        {"{\"a\":\"s1.safetensors\",\"b\":\"..\"}", KVL_E_PATH, ""},
        {"{\"a\":\"s1.safetensors\",\"b\":\"\"}", KVL_E_PATH, ""},
        {"{\"a\":7}", KVL_E_TYPE, "'a'"},
        {"{}", KVL_E_MISSING, ""},
        {"{\"a\":\"s1.safetensors\",\"b\":\"gone.safetensors\"}", KVL_E_IO, "gone"},
    };
    assert_int_equal(kvl_dir_create(test_temp_path("shards"), NULL), KVL_OK);
    save("shards/s1.safetensors", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         "\0\0\0\0", 4);
    save("shards/s2.safetensors", "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         "\0\0\0\0", 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_str index = {0};
        kvl_tensors *t = NULL;
        kvl_err err = {0};
        kvl_str_printf(&index, "{\"metadata\":{},\"weight_map\":%s}", cases[i].map);
        test_save(test_temp_path("shards/model.safetensors.index.json"), kvl_str_text(&index), index.len);
        kvl_status status = kvl_tensors_open_dir(&t, test_temp_path("shards"), &err);
        if (status != cases[i].status || (status != KVL_OK && strstr(err.msg, cases[i].part) == NULL)) {
            fail_msg("%s: expected %s, found %s: %s", cases[i].map, kvl_status_name(cases[i].status),
                     kvl_status_name(status), err.msg);
        }
        kvl_tensors_close(t);
        kvl_str_free(&index);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    save("x.safetensors", "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "\0\0\0\0\0\0\0\0", 8);
    for (int64_t k = 0; k < 60; k++) {
        kvl_tensors *t = NULL;
        float x[2];
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_tensors_open_file(&t, test_temp_path("x.safetensors"), NULL);
        status = status == KVL_OK ? kvl_tensors_read_f32(t, kvl_tensors_find(t, "w"), x, NULL) : status;
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_tensors_close(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_files),         cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_every_prefix),       cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_layouts),        cmocka_unit_test(test_many_tensors_in_one_place),
        cmocka_unit_test(test_wrong_containers),   cmocka_unit_test(test_names_cannot_drive_a_terminal),
        cmocka_unit_test(test_values_are_widened), cmocka_unit_test(test_nonfinite_values),
        cmocka_unit_test(test_shard_index),        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
