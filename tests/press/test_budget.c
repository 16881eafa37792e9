/* Budgets by hand: ratios, sizes and bytes become numbers of entries. */
#include "support.h"

#include "press/policy.h"

#include <string.h>

/* 4 layers of 2 heads of 8 dimensions in f32: 64 bytes an entry, 512 a token. */
static const kvl_shape shape = {.n_layers = 4, .n_heads = 2, .n_kv_heads = 2, .head_dim = 8};

/* What stays of n in a head of layer 1 when so many tokens were seen. */
static size_t target(const kvl_policy *p, size_t n_seen, size_t n) {
    const kvl_moment at = {.n_seen = n_seen};
    return kvl_policy_target(p, &shape, &at, 1, 0, n);
}

static void test_ratios(void **state) {
    (void)state;
    static const struct {
        double keep;
        size_t n, kept;
    } cases[] = {{0.5, 7, 4},  {0.5, 8, 4},    {0.3, 10, 3},  {0.1, 10, 1},         {0.1, 11, 2},
                 {0.7, 10, 7}, {0.01, 5, 1},   {1, 5, 5},     {0.3333, 3000, 1000}, {0.2, 5, 1},
                 {0.6, 5, 3},  {0.55, 20, 11}, {0.95, 32, 31}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(kvl_budget_target(cases[i].keep, 0, cases[i].n), cases[i].kept);
    }
    assert_int_equal(kvl_budget_target(1, 7, 10), 7);
    assert_int_equal(kvl_budget_target(1, 7, 5), 5);
}

/* Without skipped layers the number is the same at every moment: floor(bytes / 512). */
static void test_bytes(void **state) {
    (void)state;
    kvl_policy p = test_policy("knorm:bytes=5KiB");
    assert_int_equal(p.n_bytes, 5120);
    assert_int_equal(target(&p, 100, 100), 10);
    assert_int_equal(target(&p, 100, 11), 10);
    assert_int_equal(target(&p, 9, 9), 9);
    p = test_policy("knorm:bytes=5119");
    assert_int_equal(target(&p, 100, 100), 9);
    p = test_policy("knorm:bytes=511");
    assert_int_equal(target(&p, 100, 100), 1); /* a head is never empty; kvl_budget_check says no before */
    p = test_policy("none");
    p.n_bytes = 1;
    assert_int_equal(target(&p, 100, 100), 100);
}

/* Layer 0 keeps all n tokens, 128 n bytes; 384 for each entry of the other three. */
static void test_bytes_beside_skipped_layers(void **state) {
    (void)state;
    kvl_policy p = test_policy("knorm:bytes=5120:skip=0");
    assert_int_equal(target(&p, 20, 20), 6); /* (5120 - 2560) / 384 = 6.67 */
    assert_int_equal(target(&p, 20, 6), 6);
    assert_int_equal(target(&p, 36, 7), 1); /* (5120 - 4608) / 384 = 1.33 */
    const kvl_moment at = {.n_seen = 20};
    assert_int_equal(kvl_policy_target(&p, &shape, &at, 0, 0, 20), 20);
    kvl_err err = {0};
    assert_int_equal(kvl_budget_check(&p, &shape, 37, NULL), KVL_OK); /* 4736 + 384 */
    assert_int_equal(kvl_budget_check(&p, &shape, 38, &err), KVL_E_USAGE);
    assert_string_equal(err.msg, "policy knorm: bytes: expected at least 5248 for 38 tokens (one entry in "
                                 "every head, all of them in 1 skipped layers), found 5KiB");
}

/* Types: f16 keys and bf16 values halve an entry; with a window of 4 the newest 4 + 15 count as f16 beside
 * q8_0 (34 bytes for 32 dimensions). */
static void test_bytes_of_types(void **state) {
    (void)state;
    kvl_shape s = shape;
    kvl_policy p = test_policy("knorm:bytes=5KiB");
    s.key_type = KVL_KV_F16;
    assert_int_equal(kvl_budget_size(&p, p.tree, &s, 100), 13); /* 5120 / 384 = 13.3 */
    s.value_type = KVL_KV_BF16;
    assert_int_equal(kvl_budget_size(&p, p.tree, &s, 100), 20);
    s = (kvl_shape){.n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 32};
    s.key_type = KVL_KV_Q8_0;
    s.value_type = KVL_KV_Q8_0;
    assert_int_equal(kvl_budget_size(&p, p.tree, &s, 100), 75); /* 5120 / 68 = 75.3 */
    s.n_residual = 4;
    assert_int_equal(kvl_budget_size(&p, p.tree, &s, 100), 58); /* 19 + (5120 - 19 * 128) / 68 = 58.5 */
}

/* Layer 0 gets 3 entries more than the budget, the others 1 less: in all 4 b, as many as 4 layers of b. */
static size_t uneven(const kvl_press_node *self, const kvl_shape *sh, uint32_t layer, size_t n, size_t b) {
    (void)self;
    (void)sh;
    (void)n;
    return layer == 0 ? b + 3 : b - (b > 1);
}

static void test_bytes_by_layer(void **state) {
    (void)state;
    const kvl_press press = {.name = "uneven", .budget = uneven};
    kvl_policy p;
    kvl_policy_init(&p);
    p.tree[0] = (kvl_press_node){.press = &press, .n_nodes = 1};
    kvl_policy_set_bytes(&p, 5120);
    const kvl_moment at = {.n_seen = 100};
    assert_int_equal(kvl_policy_target(&p, &shape, &at, 0, 0, 100), 13);
    assert_int_equal(kvl_policy_target(&p, &shape, &at, 3, 0, 100), 9);
    assert_int_equal(kvl_policy_target(&p, &shape, &at, 3, 0, 8), 8);
    kvl_policy_set_bytes(&p, 512 * 11 - 1);
    assert_int_equal(kvl_policy_target(&p, &shape, &at, 0, 0, 100), 13);
}

static void check_error(const char *text, const char *expected) {
    kvl_policy p;
    kvl_err err = {0};
    kvl_policy_init(&p);
    assert_int_equal(kvl_policy_parse(&p, text, &err), KVL_E_USAGE);
    assert_string_equal(err.msg, expected);
}

static void check_text(const char *text, const char *expected) {
    const kvl_policy p = test_policy(text);
    kvl_str found = {0};
    kvl_policy_text(&p, &found);
    assert_string_equal(kvl_str_text(&found), expected);
    kvl_str_free(&found);
}

static void test_texts(void **state) {
    (void)state;
    check_text("knorm:bytes=64MiB", "knorm:bytes=64MiB:cap=1");
    check_text("knorm:bytes=1.5KiB", "knorm:bytes=1536:cap=1");
    check_text("knorm:bytes=2048B", "knorm:bytes=2KiB:cap=1");
    check_text("knorm:bytes=1GiB:cap=32", "knorm:bytes=1GiB:cap=32");
    check_text("knorm:cap=32:bytes=3", "knorm:bytes=3:cap=1"); /* the budget itself is the trigger */
    check_error("knorm:bytes=0", "policy: bytes: expected a size as 64MiB, 1.5GiB or 65536, found '0'");
    check_error("knorm:bytes=2MB", "policy: bytes: expected a size as 64MiB, 1.5GiB or 65536, found '2MB'");
    check_error("knorm:keep=0.5:bytes=1KiB",
                "policy: expected one of keep, size and bytes, found keep and bytes");
    check_error("knorm:size=5:keep=0.5", "policy: expected one of keep, size and bytes, found size and keep");
    /* a later text on top of an earlier one takes its place */
    kvl_policy p = test_policy("knorm:bytes=1KiB");
    assert_int_equal(kvl_policy_parse(&p, "knorm:size=4", NULL), KVL_OK);
    assert_int_equal(p.n_bytes, 0);
    assert_int_equal(target(&p, 100, 100), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ratios),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_bytes_beside_skipped_layers),
        cmocka_unit_test(test_bytes_of_types),
        cmocka_unit_test(test_bytes_by_layer),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
