/* `kvlab sweep --protocol`: what is written beside every figure, and bad numbers. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Output of a command that must end well; static. */
static const char *run_ok(const char *args) {
    int exit_code = 0;
    char quiet[600]; /* progress would stand between what is read */
    snprintf(quiet, sizeof quiet, "%s -q", args);
    const char *out = test_run(&exit_code, quiet);
    if (exit_code != 0) {
        fail_msg("%s: exit code %d", args, exit_code);
    }
    return out;
}

static void check_error(const char *args, int expected, const char *part) {
    int exit_code = 0;
    const char *out = test_run(&exit_code, args);
    if (exit_code != expected || strstr(out, part) == NULL || strchr(out, '\n') != out + strlen(out) - 1) {
        fail_msg("%s: expected exit %d and '%s' in one line, found exit %d: %s", args, expected, part,
                 exit_code, out);
    }
}

/* The n-th line of some as JSON. */
static json_t *line_of(const char *text, size_t n) {
    for (; n != 0; n--) {
        text = strchr(text, '\n') + 1;
    }
    json_t *o = json_loadb(text, strcspn(text, "\n"), 0, NULL);
    assert_non_null(o);
    return o;
}

static int64_t int_of(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

/* What a PPL is stands beside it; the preset's first window is the sample that it was. */
static void test_protocols(void **state) {
    (void)state;
    const char *o =
        run_ok("sweep --protocol llama-chunk -c 64 --bos always --samples 'W1 B1' --max-tokens 150 -r 0.5 "
               "--no-chart -o jsonl");
    json_t *cell = line_of(o, 1);
    assert_string_equal(json_string_value(json_object_get(cell, "sample")), "W1/2");
    assert_string_equal(json_string_value(json_object_get(cell, "text")), "W1");
    assert_string_equal(json_string_value(json_object_get(cell, "protocol")), "llama-chunk");
    assert_string_equal(json_string_value(json_object_get(cell, "bos_policy")), "always");
    assert_true(json_is_true(json_object_get(cell, "bos")));
    assert_int_equal(int_of(cell, "window"), 64);
    assert_int_equal(int_of(cell, "stride"), 64);
    assert_int_equal(int_of(cell, "begin"), 64);
    assert_int_equal(int_of(cell, "first_scored"), 32);
    assert_int_equal(int_of(cell, "n_scored"), 31);
    assert_int_equal(int_of(cell, "context_min"), 33);
    assert_int_equal(int_of(cell, "context_max"), 63);
    json_decref(cell);
    o = run_ok("sweep --protocol llama-chunk -c 64 --samples 'W1 B1' --max-tokens 150 -r 0.5 --no-chart");
    assert_non_null(strstr(o, "ucurve by llama-chunk on novels-7m"));
    assert_non_null(
        strstr(o, "llama-chunk protocol: 4 windows of 2 samples, window 64, stride 64, scored: "));
    assert_non_null(strstr(o, "(124 tokens), no BOS"));
    assert_non_null(strstr(o, "PPL: exp of the mean NLL of all scored tokens"));

    static const char *const args[] = {
        "sweep --preset prefill-continue --protocol stream --samples B1 -r 0.5 --no-chart -o jsonl",
        "sweep --preset prefill-continue --samples B1 --max-tokens 1100 -r 0.5 --no-chart -o jsonl"};
    for (size_t i = 0; i < 2; i++) { /* without and with compression; 3 windows, the last is shorter */
        json_t *stream = line_of(run_ok(args[0]), i);
        json_t *window = line_of(run_ok(args[1]), 3 * i);
        assert_string_equal(json_string_value(json_object_get(window, "sample")), "B1/1");
        assert_int_equal(int_of(stream, "n_scored"), 256);
        assert_int_equal(int_of(window, "n_scored"), 256);
        assert_true(json_real_value(json_object_get(stream, "nll_sum")) ==
                    json_real_value(json_object_get(window, "nll_sum")));
        json_decref(window);
        json_decref(stream);
    }
}

/* Bits per byte where every token of a text is scored once. */
static void test_bits_per_byte(void **state) {
    (void)state;
    static const char *const protocols[] = {"lm-eval-rolling", "hf-strided -c 128 --stride 64 --bos always",
                                            "llama-chunk -c 64"};
    for (size_t i = 0; i < 3; i++) {
        char args[512];
        snprintf(args, sizeof args, "sweep --protocol %s --samples W1 -r 0.5 --no-chart -o json",
                 protocols[i]);
        const char *o = run_ok(args);
        json_t *root = json_loads(o, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(root, "ppl")), "exp of pooled_nll");
        const json_t *row = json_array_get(json_object_get(root, "rows"), 0);
        const json_t *text = json_array_get(json_object_get(row, "texts"), 0);
        const double nats = json_real_value(json_object_get(text, "nll_sum"));
        const double bits = json_real_value(json_object_get(text, "bits_per_byte"));
        assert_string_equal(json_string_value(json_object_get(text, "text")), "W1");
        if (i == 2) {
            assert_true(json_is_null(json_object_get(text, "bits_per_byte")));
            assert_true(json_is_null(json_object_get(row, "bits_per_byte")));
        } else {
            assert_true(fabs(bits * 859 * 0.69314718055994531 / nats - 1) < 1e-12); /* W1 has 859 bytes */
        }
        json_decref(root);
    }
}

/* With 20 texts intervals come from resamples of them, with fewer from Student's t; rows name the protocol.
 */
static void test_intervals(void **state) {
    (void)state;
    for (size_t n = 19; n <= 20; n++) {
        char args[200];
        snprintf(args, sizeof args, "sweep --samples A1-A%zu --max-tokens 48 -r 0.5 --no-chart -o json", n);
        json_t *root = json_loads(run_ok(args), 0, NULL);
        const json_t *row = json_array_get(json_object_get(root, "rows"), 1);
        const char *intervals = json_string_value(json_object_get(root, "intervals"));
        assert_true(json_is_number(json_object_get(row, "delta_low")));
        assert_true(json_is_number(json_object_get(row, "p_holm")));
        if (n == 20) {
            assert_string_equal(intervals, "widened percentile bootstrap over samples");
            assert_int_equal(int_of(root, "n_resamples"), 10000);
            assert_int_equal(int_of(root, "seed"), 1);
            assert_true(json_real_value(json_object_get(row, "smallest_detectable")) > 0);
        } else {
            assert_string_equal(intervals, "Student's t over samples");
            assert_true(json_is_null(json_object_get(root, "n_resamples")));
            assert_true(json_is_null(json_object_get(row, "smallest_detectable")));
        }
        json_decref(root);
    }
    const char *csv = run_ok("sweep --protocol llama-chunk -c 64 --samples W1 -r 0.5 --no-chart -o csv");
    assert_non_null(strstr(csv, "smallest_detectable,protocol\n"));
    assert_non_null(strstr(csv, "\"llama-chunk protocol: "));
}

/* The command that is printed is one that a shell reads as it was given. */
static void test_again(void **state) {
    (void)state;
    const char *o = run_ok("sweep --samples 'W1 W2' -P 'adakv(snapkv)' -r 0.5 --max-tokens 48 --no-chart "
                           "--out=\"it's [x]\"");
    assert_non_null(strstr(o,
                           "\nagain: kvlab sweep --samples 'W1 W2' -P 'adakv(snapkv)' -r 0.5 --max-tokens 48 "
                           "--no-chart '--out=it'\\''s [x]' -q\n"));
}

static void test_bad_numbers(void **state) {
    (void)state;
    check_error("sweep --protocol hf", 2,
                "--protocol: expected stream, prefill-continue, single-shot, hf-strided");
    check_error("sweep --protocol llama-chunk --stride 4", 2,
                "--stride: protocol llama-chunk has no such number");
    check_error("sweep --protocol hf-strided -c 64 --stride 65", 2,
                "--stride: expected at most 64 (the window)");
    check_error("sweep --protocol llama-chunk -c 1025", 2, "expected from 4 to 1024 (the model's context)");
    check_error("sweep --protocol llama-chunk --samples W1 -c 512", 3, "expected a text long enough");
    check_error("sweep --score 4", 2, "--score: protocol stream has no such number");
    check_error("sweep -c 40 --max-tokens 40", 2, "expected --max-tokens or --ctx-size, found both");
    check_error("sweep --bos maybe", 2, "--bos: expected model, always or never");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocols),   cmocka_unit_test(test_bits_per_byte),
        cmocka_unit_test(test_intervals),   cmocka_unit_test(test_again),
        cmocka_unit_test(test_bad_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
