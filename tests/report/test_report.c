/* Tables, readings, machine formats of a small made-up report. */
#include "support.h"

#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static kvl_report_row row_of(const char *press, double keep, double ppl, double delta, double half,
                             kvl_stage stage) {
    return (kvl_report_row){.press = press,
                            .policy = press,
                            .keep_ratio = keep,
                            .ppl = ppl,
                            .pooled_nll = log(ppl),
                            .delta = {.mean = delta,
                                      .low = delta - half,
                                      .high = delta + half,
                                      .n_clusters = 5,
                                      .has_interval = true},
                            .change_percent = 100 * (ppl / 60.49 - 1),
                            .stage = stage,
                            .n_scored = 1233,
                            .kept_min = 10,
                            .kept_mean = 11.5,
                            .kept_max = 13,
                            .kv_bytes = 2048,
                            .period_tok = 20 - 19 * keep,
                            .has_evicted = true};
}

typedef struct fixture {
    kvl_report_row rows[8];
    kvl_report report;
} fixture;

static fixture *make(void) {
    static fixture f;
    f.rows[0] = row_of("none", 1, 60.49, 0, 0, KVL_STAGE_BASELINE);
    f.rows[0].is_baseline = true;
    f.rows[1] = row_of("knorm", 0.95, 181.26, 1.05, 0.3, KVL_STAGE_EXPLOSION);
    f.rows[2] = row_of("knorm", 0.9, 119.75, 0.64, 0.2, KVL_STAGE_EXPLOSION);
    f.rows[3] = row_of("knorm", 0.5, 87.0, 0.33, 0.15, KVL_STAGE_PLATEAU);
    f.rows[4] = row_of("knorm", 0.4, 83.37, 0.02, 0.05, KVL_STAGE_BEST);
    f.report = (kvl_report){.title = "ucurve on tiny",
                            .protocol = "stream",
                            .how = "how",
                            .command = "kvlab sweep",
                            .rows = f.rows,
                            .n_rows = 5,
                            .n_samples = 5};
    return &f;
}

static kvl_str written(const kvl_report *r, kvl_format format) {
    kvl_str out = {0};
    kvl_report_write(&out, r, format);
    assert_false(out.failed);
    return out;
}

static void check_has(const char *text, const char *part) {
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' is not in:\n%s", part, text);
    }
}

static void test_table(void **state) {
    (void)state;
    kvl_str out = written(&make()->report, KVL_FORMAT_TABLE);
    const char *text = kvl_str_text(&out);
    check_has(text,
              " 0.95      5 %    181.26   +199.7 %     explosion        +1.0500 [+0.7500, +1.3500]    1233");
    check_has(text,
              "best range       +0.0200 [-0.0300, +0.0700]    1233         10/11.5/13       2.0    12.4  ≈");
    check_has(text, "knorm: best at keep 0.4 (+0.020 nats/token), worst at keep 0.95 (+1.050)");
    check_has(text, "this is the U-curve");
    check_has(text, "Only 5 samples: the interval uses Student's t with 4 degrees of freedom");
    check_has(text, "again: kvlab sweep");
    kvl_str_free(&out);
}

static void test_no_claim_without_evidence(void **state) {
    (void)state;
    fixture *f = make();
    for (size_t i = 1; i < 5; i++) {
        f->rows[i].has_evicted = false;
    }
    kvl_str out = written(&f->report, KVL_FORMAT_TABLE);
    check_has(kvl_str_text(&out), "nothing evicted");
    check_has(kvl_str_text(&out), "its rows say nothing about it");
    assert_null(strstr(kvl_str_text(&out), "U-curve"));
    kvl_str_free(&out);
    f = make();
    f->rows[1].stage = KVL_STAGE_PLATEAU; /* worst is lightest, but not told apart */
    f->report.n_samples = 1;
    f->report.block_tokens = 512;
    f->report.n_resamples = 10000;
    f->report.seed = 1;
    f->rows[4].delta.n_clusters = 32;
    f->rows[3].delta_half = f->rows[3].delta_twice = f->rows[3].delta;
    f->rows[3].delta_twice.high += 0.15; /* 1.5 times as wide */
    out = written(&f->report, KVL_FORMAT_TABLE);
    assert_null(strstr(kvl_str_text(&out), "U-curve"));
    check_has(kvl_str_text(&out), "interval clustered by block of tokens");
    check_has(kvl_str_text(&out),
              "One sample: its 32 blocks of at least 512 tokens are taken as independent");
    check_has(kvl_str_text(&out), "blocks of half the length intervals are 1.00 to 1.00 times as wide, of "
                                  "twice the length 1.50 to 1.50.");
    kvl_str_free(&out);
    f->report.block_tokens = f->report.n_resamples = 0;
    f->rows[4].delta.has_interval = false;
    out = written(&f->report, KVL_FORMAT_TABLE);
    check_has(kvl_str_text(&out), "interval clustered by sample");
    check_has(kvl_str_text(&out), "One sample: no interval");
    kvl_str_free(&out);
}

/* No loss is claimed of a row whose whole interval lies within the margin; a wide one that holds 0 says what
 * could have been seen; with few clusters neither is said. */
static void test_no_loss_needs_a_margin(void **state) {
    (void)state;
    fixture *f = make();
    for (size_t i = 1; i < 5; i++) {
        f->rows[i].delta.n_clusters = 24;
        f->rows[i].delta.p = i == 4 ? 0.4 : 0.001;
        f->rows[i].smallest = 0.071;
    }
    f->report.n_samples = 24;
    f->report.n_resamples = 10000;
    f->report.seed = 1;
    f->rows[3].delta = (kvl_estimate){
        .mean = 0.004, .low = -0.001, .high = 0.0099, .n_clusters = 24, .has_interval = true, .p = 0.1};
    kvl_str out = written(&f->report, KVL_FORMAT_TABLE);
    check_has(kvl_str_text(&out), "; no loss beyond 0.01 nats at keep 0.5.\n");
    check_has(kvl_str_text(&out), "no difference seen; smallest detectable about 0.071 nats.\n");
    check_has(kvl_str_text(&out),
              "bootstrap over the 24 samples, 10000 resamples, widened percentiles, seed 1");
    check_has(kvl_str_text(&out), "adjusted for all 4 rows (Holm)");
    kvl_str_free(&out);
    out = written(&f->report, KVL_FORMAT_CSV);
    check_has(kvl_str_text(&out), ",delta_affected,p_holm,smallest_detectable,protocol\n");
    check_has(kvl_str_text(&out), ",0.40000000000000002,0.070999999999999994,\"stream\"\n");
    kvl_str_free(&out);
    f->rows[3].delta.high = 0.01; /* reaches the margin */
    f->rows[4].smallest = 0.14;
    out = written(&f->report, KVL_FORMAT_TABLE);
    assert_null(strstr(kvl_str_text(&out), "no loss"));
    check_has(kvl_str_text(&out), "smallest detectable about 0.071 to 0.14 nats.\n");
    kvl_str_free(&out);
    f->rows[3].delta.high = 0.009;
    for (size_t i = 1; i < 5; i++) {
        f->rows[i].delta.is_few = true;
    }
    out = written(&f->report, KVL_FORMAT_TABLE);
    assert_null(strstr(kvl_str_text(&out), "no loss"));
    assert_null(strstr(kvl_str_text(&out), "detectable"));
    kvl_str_free(&out);
}

static void test_names_are_escaped(void **state) {
    (void)state;
    fixture *f = make();
    f->report.title = "a|b\x1b[2Jc<script>";
    f->rows[1].policy = "x,\"y\"";
    kvl_str out = written(&f->report, KVL_FORMAT_MD);
    check_has(kvl_str_text(&out), "a\\|b?[2Jc\\<script\\>");
    kvl_str_free(&out);
    out = written(&f->report, KVL_FORMAT_TABLE);
    assert_null(strchr(kvl_str_text(&out), '\x1b'));
    kvl_str_free(&out);
    out = written(&f->report, KVL_FORMAT_CSV);
    check_has(kvl_str_text(&out), "\"knorm\",\"x,\"\"y\"\"\",0.94999999999999996,");
    check_has(kvl_str_text(&out), "4.1024780621188226,0,,,1233,"); /* no interval: no number */
    kvl_str_free(&out);
}

static void test_json(void **state) {
    (void)state;
    fixture *f = make();
    f->rows[2].ppl = HUGE_VAL;
    f->rows[3].pooled_nll = (double)NAN;
    kvl_str out = written(&f->report, KVL_FORMAT_JSON);
    json_t *root = json_loads(kvl_str_text(&out), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    const json_t *rows = json_object_get(root, "rows");
    assert_int_equal(json_array_size(rows), 5);
    assert_true(json_is_null(json_object_get(json_array_get(rows, 2), "ppl")));
    assert_true(json_is_null(json_object_get(json_array_get(rows, 3), "pooled_nll")));
    assert_true(json_real_value(json_object_get(json_array_get(rows, 1), "ppl")) == 181.26);
    assert_true(json_is_true(json_object_get(json_array_get(rows, 4), "inside_interval")));
    assert_null(json_object_get(json_array_get(rows, 4), "delta_half_blocks_low"));
    assert_string_equal(json_string_value(json_object_get(root, "intervals")), "Student's t over samples");
    assert_true(json_is_null(json_object_get(root, "seed")));
    json_decref(root);
    kvl_str_free(&out);
    f->report.block_tokens = 512;
    f->report.n_resamples = 10000;
    f->rows[4].delta_half = (kvl_estimate){.low = 0.25, .high = 0.5, .has_interval = true};
    out = written(&f->report, KVL_FORMAT_JSON);
    root = json_loads(kvl_str_text(&out), JSON_REJECT_DUPLICATES, NULL);
    const json_t *row = json_array_get(json_object_get(root, "rows"), 4);
    assert_int_equal(json_integer_value(json_object_get(root, "block_tokens")), 512);
    assert_true(json_real_value(json_object_get(row, "delta_half_blocks_low")) == 0.25);
    assert_true(json_real_value(json_object_get(row, "delta_half_blocks_high")) == 0.5);
    assert_true(json_is_null(json_object_get(row, "delta_twice_blocks_low")));
    json_decref(root);
    kvl_str_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_no_claim_without_evidence),
        cmocka_unit_test(test_no_loss_needs_a_margin),
        cmocka_unit_test(test_names_are_escaped),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
