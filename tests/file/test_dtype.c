/* Block types against the `gguf` Python package, bit for bit. */
#include "support.h"

#include "file/dtype.h"

#include <stdio.h>
#include <string.h>

static size_t from_hex(uint8_t *out, size_t cap, const char *hex) {
    size_t n = strlen(hex) / 2;
    assert_true(n <= cap);
    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return n;
}

static void test_blocks_equal_gguf_package(void **state) {
    (void)state;
    json_t *golden = test_load_json("tests/golden/dequant.json");
    const char *name = NULL;
    json_t *value = NULL;
    size_t n_types = 0;
    json_object_foreach(json_object_get(golden, "types"), name, value) {
        static uint8_t blocks[4096];
        static uint8_t expected[4096 * 4];
        static float found[4096];
        kvl_dtype type = KVL_N_DTYPES;
        for (unsigned i = 0; i < KVL_N_DTYPES; i++) {
            type = strcmp(kvl_dtype_name((kvl_dtype)i), name) == 0 ? (kvl_dtype)i : type;
        }
        assert_int_not_equal(type, KVL_N_DTYPES);
        size_t n_bytes = from_hex(blocks, sizeof blocks, json_string_value(json_object_get(value, "blocks")));
        size_t n =
            from_hex(expected, sizeof expected, json_string_value(json_object_get(value, "values"))) / 4;
        assert_int_equal(n, n_bytes / kvl_dtype_block_bytes(type) * kvl_dtype_block_items(type));
        kvl_dtype_widen(found, blocks, n, type);
        for (size_t i = 0; i < n; i++) {
            if (memcmp(&found[i], expected + 4 * i, 4) != 0) {
                fail_msg("%s: value %zu differs: found %.9g", name, i, (double)found[i]);
            }
        }
        n_types++;
    }
    assert_int_equal(n_types, 14);
    json_decref(golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_equal_gguf_package),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
