/* kvlab sweep --quality: summaries against the lists they are made of, identities, bytes of the scored text.
 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINES = 64 };

/* JSON lines of a text. */
static size_t parse_lines(json_t *lines[MAX_LINES], const char *text) {
    size_t n = 0;
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        assert_true(n < MAX_LINES && strchr(at, '\n') != NULL);
        lines[n] = json_loadb(at, strcspn(at, "\n"), 0, NULL);
        assert_non_null(lines[n++]);
    }
    return n;
}

static void free_lines(json_t **lines, size_t n) {
    for (size_t i = 0; i < n; i++) {
        json_decref(lines[i]);
    }
}

static const char *run_ok(const char *args) {
    int exit_code = 0;
    const char *text = test_run(&exit_code, args);
    if (exit_code != 0) {
        fail_msg("%s: %s", args, text);
    }
    return text;
}

static double number(const json_t *o, const char *key) {
    const json_t *value = json_object_get(o, key);
    if (!json_is_number(value)) {
        fail_msg("expected a number as %s", key);
    }
    return json_number_value(value);
}

static void check_near(const json_t *o, const char *key, double want) {
    if (!(fabs(number(o, key) - want) <= 1e-9)) {
        fail_msg("%s: expected %.12g, found %.12g", key, want, number(o, key));
    }
}

static double item(const json_t *o, const char *key, size_t i) {
    const json_t *value = json_array_get(json_object_get(o, key), i);
    return json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
}

static double mean_of(const json_t *o, const char *key, size_t first) {
    const size_t n = json_array_size(json_object_get(o, key));
    double sum = 0;
    for (size_t i = first; i < n; i++) {
        sum += item(o, key, i);
    }
    return sum / (double)(n - first);
}

/* Of the NLL of a token. */
static double largest_change(const json_t *own, const json_t *full) {
    const json_t *a = json_object_get(own, "nll_nats");
    const json_t *b = json_object_get(full, "nll_nats");
    double most = 0;
    for (size_t i = 0; i < json_array_size(a); i++) {
        most = fmax(most,
                    fabs(json_number_value(json_array_get(a, i)) - json_number_value(json_array_get(b, i))));
    }
    return most;
}

/* A cell's summary from its lists and those of the full cache. */
static void check_summary(const json_t *cell, const json_t *own, const json_t *full) {
    const size_t n = (size_t)number(cell, "n_scored");
    const size_t first = n - (size_t)number(cell, "n_affected");
    double most = 0, squares = 0;
    assert_int_equal(json_array_size(json_object_get(own, "kl_nats")), n);
    for (size_t i = 0; i < n; i++) {
        const double kl = item(own, "kl_nats", i);
        const double change = exp(-item(own, "nll_nats", i)) - exp(-item(full, "nll_nats", i));
        most = fmax(most, kl);
        squares += change * change;
        assert_true(i >= first || (kl == 0 && change == 0 && item(own, "is_same_top", i) == 1));
        assert_true(i < first || kl > 0);
    }
    check_near(cell, "kl_mean_nats", mean_of(own, "kl_nats", 0));
    check_near(cell, "kl_max_nats", most);
    assert_true(number(cell, "kl_p99_nats") <= most);
    assert_true(number(cell, "kl_median_nats") < number(cell, "kl_p90_nats"));
    check_near(cell, "same_top_share", mean_of(own, "is_same_top", 0));
    check_near(cell, "target_probability_change_rms", sqrt(squares / (double)n));
    check_near(cell, "entropy_mean_nats", mean_of(own, "entropy_nats", 0));
    check_near(cell, "nll_minus_entropy_mean_nats",
               mean_of(own, "nll_nats", 0) - mean_of(own, "entropy_nats", 0));
    check_near(cell, "top_probability_mean", mean_of(own, "top_probability", 0));
    check_near(cell, "accuracy", mean_of(own, "is_hit", 0));
    check_near(cell, "delta_nll_mean_nats", mean_of(own, "nll_nats", 0) - mean_of(full, "nll_nats", 0));
    check_near(cell, "abs_delta_nll_max_nats", largest_change(own, full));
    assert_true(number(cell, "abs_delta_nll_median_nats") <= number(cell, "abs_delta_nll_p99_9_nats"));
    check_near(cell, "delta_nll_affected_mean_nats",
               mean_of(own, "nll_nats", first) - mean_of(full, "nll_nats", first));
}

static void test_summaries(void **state) {
    (void)state;
    char args[512];
    json_t *cells[MAX_LINES], *lists[MAX_LINES];
    size_t n_bytes = 0;
    snprintf(args, sizeof args,
             "sweep -q --no-chart --quality -P knorm -r 0.5 --samples P1 -o jsonl --nll '%s'",
             test_temp_path("lists"));
    const size_t n_cells = parse_lines(cells, run_ok(args));
    char *text = NULL;
    assert_ok(kvl_file_load(&text, &n_bytes, test_temp_path("lists"), 1 << 20, &assert_ok_err));
    const size_t n_lists = parse_lines(lists, text);
    assert_true(n_cells == 2 && n_lists == 3); /* one-pass baseline, policy; and the baseline on its tokens */
    assert_int_equal(number(cells[1], "n_affected"), 255 - 32);
    check_summary(cells[1], lists[2], lists[1]);
    /* bytes between tokens by the offsets of the library `tokenizers`: of 1 to 511, and of 1 to 255 */
    assert_int_equal(number(cells[0], "scored_bytes"), 1289);
    assert_int_equal(number(cells[1], "scored_bytes"), 458);
    check_near(cells[0], "bits_per_byte", number(cells[0], "nll_sum") / log(2) / 1289);
    check_near(cells[1], "bits_per_byte", number(cells[1], "nll_sum") / log(2) / 458);
    free_lines(cells, n_cells);
    free_lines(lists, n_lists);
    kvl_free(text);
}

/* Every cell that evicts nothing. */
static void test_identity(void **state) {
    (void)state;
    json_t *cells[MAX_LINES];
    const size_t n = parse_lines(
        cells, run_ok("sweep -q --no-chart --quality -P knorm:size=256:cap=32 --samples 'W1 P1' -o jsonl"));
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        assert_true(number(cells[i], "kl_max_nats") == 0 && number(cells[i], "same_top_share") == 1);
        assert_true(number(cells[i], "target_probability_change_rms") == 0);
        assert_true(number(cells[i], "n_affected") == 0 && number(cells[i], "delta_nll_mean_nats") == 0);
        assert_true(json_is_null(json_object_get(cells[i], "delta_nll_affected_mean_nats")));
    }
    free_lines(cells, n);
}

/* Ids that are none of the text: no bytes. Windows that score every token once: all bytes of the text. */
static void test_bytes(void **state) {
    (void)state;
    json_t *cells[MAX_LINES];
    size_t n = parse_lines(cells, run_ok("sweep -q --no-chart --quality -P none --preset kv-fix512 --samples "
                                         "C1 --max-tokens 200 -o jsonl"));
    assert_int_equal(n, 1);
    assert_true(json_is_null(json_object_get(cells[0], "scored_bytes")));
    assert_true(json_is_null(json_object_get(cells[0], "bits_per_byte")));
    free_lines(cells, n);
    double n_bytes = 0;
    n = parse_lines(cells, run_ok("sweep -q --no-chart --quality -P none --protocol lm-eval-rolling -c 100 "
                                  "--samples P1 -o jsonl"));
    assert_true(n > 5);
    for (size_t i = 0; i < n; i++) {
        n_bytes += number(cells[i], "scored_bytes");
    }
    assert_true(n_bytes == 2048);
    free_lines(cells, n);
}

static void test_tables(void **state) {
    (void)state;
    int exit_code = 0;
    const char *text = run_ok("sweep -q --no-chart --quality -P knorm -r 0.5 --samples W1");
    assert_non_null(strstr(text, "quality of predictions, against those of the full cache"));
    assert_non_null(strstr(text, "NLL-entr."));
    text = run_ok("sweep -q --no-chart --quality -P knorm -r 0.5 --samples W1 -o md");
    assert_non_null(strstr(text, "| KL mean | median | p99 | max | same top |"));
    assert_non_null(strstr(text, "| 100.00 % | 0.00 % |"));
    text = run_ok("sweep -q --no-chart -P knorm -r 0.5 --samples W1 -o jsonl");
    assert_null(strstr(text, "kl_"));
    test_run(&exit_code, "sweep --quality -o csv");
    assert_int_equal(exit_code, 2);
    test_run(&exit_code, "sweep --quality --timing");
    assert_int_equal(exit_code, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
