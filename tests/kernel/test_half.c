/* Rounding to 16-bit floats: by hand at the borders, and every half back to itself. */
#include "support.h"

#include "kernel/kernel.h"

#include <math.h>

static void test_f16_rounding(void **state) {
    (void)state;
    static const struct {
        float x;
        uint16_t bits;
    } cases[] = {{0.0f, 0},          {-0.0f, 0x8000},       {1.0f, 0x3c00},       {65504.0f, 0x7bff},
                 {65519.0f, 0x7bff}, {65520.0f, 0x7c00},    {-INFINITY, 0xfc00},  {0x1p-14f, 0x0400},
                 {0x1p-24f, 1},      {0x1p-25f, 0}, /* a tie: to even */
                 {0x1.8p-24f, 2},    {0x1.ffcp-15f, 0x400}, {0x1.002p0f, 0x3c00}, {0x1.006p0f, 0x3c02}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(kvl_f16_of_f32(cases[i].x), cases[i].bits);
    }
    assert_true(isnan(kvl_f32_of_f16(kvl_f16_of_f32(NAN))));
    for (uint32_t bits = 0; bits < 0x7c00; bits++) { /* every half is its own nearest */
        assert_int_equal(kvl_f16_of_f32(kvl_f32_of_f16((uint16_t)bits)), bits);
    }
}

static void test_bf16_rounding(void **state) {
    (void)state;
    static const struct {
        float x;
        uint16_t bits;
    } cases[] = {{0.0f, 0},
                 {-0.0f, 0x8000},
                 {1.0f, 0x3f80},
                 {1.00390625f, 0x3f80}, /* a tie: to even */
                 {1.01171875f, 0x3f82}, /* a tie: to even */
                 {1.0039065f, 0x3f81},
                 {3.4e38f, 0x7f80},
                 {-INFINITY, 0xff80},
                 {1e-40f, 0x0001}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(kvl_bf16_of_f32(cases[i].x), cases[i].bits);
    }
    assert_true(isnan(kvl_f32_of_bf16(kvl_bf16_of_f32(NAN))));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_rounding),
        cmocka_unit_test(test_bf16_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
