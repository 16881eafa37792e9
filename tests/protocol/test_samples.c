/* Samples by name: articles, ranges of names, and what is none. */
#include "bundled.h"

#include <string.h>

static int setup(void **state) {
    (void)state;
    return open_bundled("A1-A60");
}

/* Lengths as the file has them, from heading to heading. */
static void test_articles(void **state) {
    (void)state;
    static const struct {
        size_t index, n_chars;
        const char *title;
    } some[] = {
        {1, 5630, " = Robert Boulter = "},         {2, 24379, " = Du Fu = "},
        {15, 2372, " = New York State Route 31B"}, {28, 6846, " = Constant k filter = "},
        {29, 23321, " = The Snowmen = "},          {60, 17868, " = The Hustler ( film ) = "},
    };
    assert_int_equal(samples.n, 60);
    for (size_t i = 0; i < samples.n; i++) {
        char name[24];
        snprintf(name, sizeof name, "A%zu", i + 1);
        assert_string_equal(samples.items[i].name, name);
        assert_true(samples.items[i].n_chars >= 2000);
    }
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        const kvl_sample *s = &samples.items[some[i].index - 1];
        kvl_ids title = {0};
        assert_int_equal(s->n_chars, some[i].n_chars);
        assert_ok(kvl_tokenizer_encode(tokenizer, &title, some[i].title, strlen(some[i].title), false, NULL));
        const size_t n_bos = s->has_bos;
        assert_true(s->ids.n > title.n + n_bos);
        assert_memory_equal(s->ids.ids + n_bos, title.ids, (title.n - 1) * sizeof title.ids[0]);
        kvl_ids_free(&title);
    }
}

static void test_ranges(void **state) {
    (void)state;
    static const char *const names[] = {"W2", "W3", "B9", "B10", "A7"};
    kvl_samples ranged;
    kvl_samples listed;
    assert_ok(kvl_samples_load(&ranged, "W2-W3 B9-B10  A7-A7", test_path("data"), tokenizer, NULL));
    assert_ok(kvl_samples_load(&listed, "W2,W3, B9 B10,A7", test_path("data"), tokenizer, NULL));
    assert_int_equal(ranged.n, 5);
    assert_int_equal(listed.n, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(ranged.items[i].name, names[i]);
        assert_string_equal(listed.items[i].name, names[i]);
        assert_int_equal(ranged.items[i].hash, listed.items[i].hash);
    }
    kvl_samples_free(&ranged);
    kvl_samples_free(&listed);
}

static void test_bad_names(void **state) {
    (void)state;
    static const struct {
        const char *names, *message;
    } bad[] = {
        {"A61", "sample A61: expected an article from 1 to 60"},
        {"B1-B11", "sample B11: expected a book from 1 to 10"},
        {"A1-B3", "samples 'A1-B3': expected a range of one kind that goes up, as A1-A60"},
        {"A3-A1", "samples 'A3-A1': expected a range"},
        {"A1-", "samples 'A1-': expected a range"},
        {"A1-3", "samples 'A1-3': expected a range"},
        {"-A1", "unknown sample '-A1'; expected W1.., P1.., B1.., A1.., C1, or a range as A1-A60"},
        {"W1x", "unknown sample 'W1x'"},
        {"A0", "unknown sample 'A0'"},
        {"W1 B2 W1", "samples: expected each text once, found W1 with the text of W1"},
        {"A2-A4,A3", "found A3 with the text of A3"},
        {"C2", "sample C2: expected C1"},
        {" ", "samples: expected at least one name, found ' '"},
        {"W1 A99999999999999999999", "unknown sample 'A99999999999999999999'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kvl_samples loaded;
        kvl_err err = {0};
        assert_int_equal(kvl_samples_load(&loaded, bad[i].names, test_path("data"), tokenizer, &err),
                         KVL_E_USAGE);
        if (strstr(err.msg, bad[i].message) == NULL) {
            fail_msg("%s: found '%s'", bad[i].names, err.msg);
        }
        assert_null(loaded.items);
    }
}

/* Two files of one text would count as two texts. */
static void test_twins(void **state) {
    (void)state;
    static const char text[] = "It was the best of times, it was the worst of times.";
    kvl_samples s = {0};
    kvl_err err = {0};
    assert_ok(kvl_file_save(test_temp_path("one.txt"), text, sizeof text - 1, NULL));
    assert_ok(kvl_file_save(test_temp_path("two.txt"), text, sizeof text - 1, NULL));
    assert_ok(kvl_file_save(test_temp_path("three.txt"), text, sizeof text - 2, NULL));
    assert_ok(kvl_samples_add_file(&s, test_temp_path("one.txt"), tokenizer, NULL));
    assert_ok(kvl_samples_add_file(&s, test_temp_path("three.txt"), tokenizer, NULL));
    assert_int_equal(kvl_samples_add_file(&s, test_temp_path("two.txt"), tokenizer, &err), KVL_E_USAGE);
    assert_string_equal(err.msg, "samples: expected each text once, found two.txt with the text of one.txt");
    kvl_samples_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_articles),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_twins),
    };
    return cmocka_run_group_tests(tests, setup, close_bundled);
}
