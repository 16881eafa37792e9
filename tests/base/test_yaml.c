/* The YAML reader: scalars as written, places, and files that mean harm. */
#include "support.h"

#include "base/yaml.h"

#include <string.h>

static kvl_err last;

static kvl_yaml *parse_n(const char *bytes, size_t n, kvl_status expected) {
    kvl_yaml *doc = NULL;
    last = (kvl_err){0};
    const kvl_status status = kvl_yaml_parse(&doc, bytes, n, "y", &last);
    if (status != expected) {
        fail_msg("expected %s, found %s: %s", kvl_status_name(expected), kvl_status_name(status), last.msg);
    }
    assert_true((doc != NULL) == (status == KVL_OK));
    assert_true(status == KVL_OK || strncmp(last.msg, "y:", 2) == 0);
    return doc;
}

static kvl_yaml *parse(const char *text) { return parse_n(text, strlen(text), KVL_OK); }

static void check_fails(const char *text, kvl_status expected, const char *message) {
    assert_null(parse_n(text, strlen(text), expected));
    if (strncmp(last.msg, message, strlen(message)) != 0) {
        fail_msg("expected '%s', found '%s'", message, last.msg);
    }
}

static void check_text(const kvl_yaml *doc, const char *key, const char *expected) {
    const kvl_yaml *node = kvl_yaml_find(doc, key);
    assert_non_null(node);
    assert_int_equal(node->kind, KVL_YAML_TEXT);
    assert_string_equal(node->text, expected);
}

/* What YAML 1.1 would make numbers, truths and nothing of stays as it is written. */
static void test_scalars_are_texts(void **state) {
    (void)state;
    kvl_yaml *doc =
        parse("a: no\nb: 010\nc: 1e3\nd: \"0.95\"\ne: 0.95\nf: ~\ng:\nh: 'it''s'\ni: 2026-01-31\n"
              "j: 1:30 # comment\nk: \"\\u00e9\\\"\\\\\"\nl: |\n  two\n  lines\nm: >-\n  a\n  fold\n"
              "n: <<\ny: off\n\"quoted key\": x\n");
    check_text(doc, "a", "no");
    check_text(doc, "b", "010");
    check_text(doc, "c", "1e3");
    check_text(doc, "d", "0.95");
    check_text(doc, "e", "0.95");
    check_text(doc, "f", "~");
    check_text(doc, "g", "");
    check_text(doc, "h", "it's");
    check_text(doc, "i", "2026-01-31");
    check_text(doc, "j", "1:30");
    check_text(doc, "k", "\xc3\xa9\"\\");
    check_text(doc, "l", "two\nlines\n");
    check_text(doc, "m", "a fold");
    check_text(doc, "n", "<<");
    check_text(doc, "y", "off");
    check_text(doc, "quoted key", "x");
    assert_null(kvl_yaml_find(doc, "z"));
    kvl_yaml_free(doc);
}

static void test_tree_and_places(void **state) {
    (void)state;
    kvl_yaml *doc =
        parse("# what it is\nratio: [1, 0.5]\nstream:\n  max-tokens: 256\n  deep: {a: [x]}\nempty: []\n");
    const kvl_yaml *ratio = kvl_yaml_find(doc, "ratio");
    assert_int_equal(doc->kind, KVL_YAML_MAP);
    assert_int_equal(ratio->kind, KVL_YAML_LIST);
    assert_int_equal(ratio->line, 2);
    assert_int_equal(ratio->column, 1);
    assert_string_equal(ratio->first->text, "1");
    assert_null(ratio->first->key);
    assert_int_equal(ratio->first->next->column, 12);
    assert_string_equal(ratio->first->next->text, "0.5");
    assert_null(ratio->first->next->next);
    const kvl_yaml *deep = kvl_yaml_find(kvl_yaml_find(doc, "stream"), "deep");
    assert_int_equal(deep->line, 5);
    assert_int_equal(deep->column, 3);
    assert_string_equal(kvl_yaml_find(deep, "a")->first->text, "x");
    assert_null(kvl_yaml_find(doc, "empty")->first);
    assert_null(kvl_yaml_find(ratio, "1"));
    assert_string_equal(kvl_yaml_kind_text(ratio), "a list");
    kvl_yaml_free(doc);
    doc = parse("# nothing but a comment\n");
    assert_int_equal(doc->kind, KVL_YAML_MAP);
    assert_null(doc->first);
    kvl_yaml_free(doc);
    doc = parse("");
    assert_null(doc->first);
    kvl_yaml_free(doc);
}

static void test_hostile_files(void **state) {
    (void)state;
    check_fails("a: 1\nb: 2\na: 3\n", KVL_E_DUP, "y:3:1: key 'a' stands already in line 1");
    check_fails("x: {a: 1, \"\\x61\": 2}\n", KVL_E_DUP, "y:1:11: key 'a'");
    check_fails("a: &b [1]\nc: *b\n", KVL_E_UNSUPPORTED, "y:1:4: expected no anchors");
    check_fails("a: 1\nc: *b\n", KVL_E_UNSUPPORTED, "y:2:4: expected no aliases");
    check_fails("a: !!int 3\n", KVL_E_UNSUPPORTED, "y:1:4: expected no anchors and no tags");
    check_fails("a: !x {}\n", KVL_E_UNSUPPORTED, "y:1:4:");
    check_fails("*a : 1\n", KVL_E_UNSUPPORTED, "y:1:1:");
    check_fails("? [a]\n: 1\n", KVL_E_YAML, "y:1:3: expected a plain text as a key");
    check_fails("a: 1\n---\nb: 2\n", KVL_E_YAML, "y:2:1: expected one document");
    check_fails("a:\n\tb: 1\n", KVL_E_YAML, "y:2:1: expected blanks in front of the line, found a tab");
    check_fails("a: [1, 2\nb: 3\n", KVL_E_YAML, "y:2:");
    check_fails("a: \"open\n", KVL_E_YAML, "y:2:1:");
    check_fails("a: b: c\n", KVL_E_YAML, "y:1:5:");
    check_fails("a: 1\nb: \xff\n", KVL_E_UTF8, "y:2: expected UTF-8");
    check_fails("a: \xed\xa0\x80\n", KVL_E_UTF8, "y:1: expected UTF-8"); /* a surrogate */
    check_fails("a: \xc0\xaf\n", KVL_E_UTF8, "y:1: expected UTF-8");     /* longer than it needs */
    check_fails("\xff\xfe"
                "a:",
                KVL_E_UTF8, "y:1: expected UTF-8");
    check_fails("a: \x1b[31m\n", KVL_E_UTF8, "y:1: expected UTF-8 without control characters");
    check_fails("a: \"\\e[31m\"\n", KVL_E_YAML, "y:1:4: expected a text without control");
    check_fails("a: \"\\0\"\n", KVL_E_YAML, "y:1:4: expected a text without control");
    check_fails("a: \"\\N\"\n", KVL_E_YAML, "y:1:4: expected a text without control");
    check_fails("\"a\\x7f\": 1\n", KVL_E_YAML, "y:1:1: expected a text without control");
    assert_null(parse_n("a: 1\0b", 6, KVL_E_UTF8));
}

static void test_limits(void **state) {
    (void)state;
    kvl_str text = {0};
    for (size_t depth = KVL_YAML_MAX_DEPTH; depth <= KVL_YAML_MAX_DEPTH + 1; depth++) {
        kvl_str_clear(&text);
        for (size_t i = 0; i < depth; i++) {
            kvl_str_puts(&text, "[");
        }
        for (size_t i = 0; i < depth; i++) {
            kvl_str_puts(&text, "]");
        }
        kvl_yaml_free(parse_n(text.data, text.len, depth <= KVL_YAML_MAX_DEPTH ? KVL_OK : KVL_E_DEPTH));
    }
    kvl_str_clear(&text);
    for (size_t i = 0; i < 200000; i++) {
        kvl_str_puts(&text, i % 2 == 0 ? "[" : "{a: ");
    }
    assert_null(parse_n(text.data, text.len, KVL_E_DEPTH));
    for (size_t n = KVL_YAML_MAX_TEXT; n <= KVL_YAML_MAX_TEXT + 1; n++) {
        kvl_str_clear(&text);
        kvl_str_puts(&text, "a: ");
        for (size_t i = 0; i < n; i++) {
            kvl_str_puts(&text, "x");
        }
        kvl_yaml_free(parse_n(text.data, text.len, n == KVL_YAML_MAX_TEXT ? KVL_OK : KVL_E_LIMIT));
    }
    for (size_t n = KVL_YAML_MAX_NODES; n <= KVL_YAML_MAX_NODES + 1; n++) { /* the list is one */
        kvl_str_clear(&text);
        for (size_t i = 0; i + 1 < n; i++) {
            kvl_str_puts(&text, "- 1\n");
        }
        kvl_yaml_free(parse_n(text.data, text.len, n == KVL_YAML_MAX_NODES ? KVL_OK : KVL_E_LIMIT));
    }
    kvl_str_clear(&text);
    while (text.len <= KVL_YAML_MAX_BYTES) {
        kvl_str_puts(&text, "# a comment of some length that says nothing\n");
    }
    assert_null(parse_n(text.data, text.len, KVL_E_LIMIT));
    kvl_str_free(&text);
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const char text[] = "a: [1, {b: 2}]\nc: {d: e, f: [g]}\n";
    size_t n_failed = 0;
    for (int64_t k = 0;; k++, n_failed++) {
        kvl_yaml *doc = NULL;
        kvl_alloc_fail_after(k);
        const kvl_status status = kvl_yaml_parse(&doc, text, sizeof text - 1, "y", NULL);
        kvl_alloc_fail_after(-1);
        kvl_yaml_free(doc);
        if (status == KVL_OK) {
            break;
        }
        assert_int_equal(status, KVL_E_NOMEM);
    }
    assert_true(n_failed > 10);
}

/* What is written as a scalar reads back to the same text. */
static void test_quoting(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "plain",
                                        "0.95",
                                        "knorm:cap=32:skip=0",
                                        "a, b",
                                        "a: b",
                                        "# no",
                                        "-",
                                        "---",
                                        "+1",
                                        "~",
                                        "'",
                                        "a\"b\\",
                                        "[x]",
                                        "{y}",
                                        "*z",
                                        "&q",
                                        "!t",
                                        "%d",
                                        "@",
                                        "`",
                                        "two\nlines",
                                        " x ",
                                        "\xc3\xa9",
                                        "snapkv(window=8,kernel=5):recent=4",
                                        "..."};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        kvl_str out = {0};
        kvl_str_puts(&out, "key: ");
        kvl_yaml_quote(&out, texts[i]);
        kvl_str_puts(&out, "\nlist: [");
        kvl_yaml_quote(&out, texts[i]);
        kvl_str_puts(&out, ", ");
        kvl_yaml_quote(&out, texts[i]);
        kvl_str_puts(&out, "]\n");
        kvl_yaml *doc = parse(kvl_str_text(&out));
        check_text(doc, "key", texts[i]);
        assert_string_equal(kvl_yaml_find(doc, "list")->first->next->text, texts[i]);
        kvl_yaml_free(doc);
        kvl_str_free(&out);
    }
    kvl_str out = {0};
    kvl_yaml_quote(&out, "0.95");
    kvl_yaml_quote(&out, "\x1b[2J");
    assert_string_equal(kvl_str_text(&out), "0.95\"\\x1b[2J\"");
    kvl_str_free(&out);
}

static void test_loading(void **state) {
    (void)state;
    kvl_yaml *doc = NULL;
    const char *path = test_temp_path("f.yaml");
    test_save(path, "a: 1\nb: [\n", 10);
    assert_int_equal(kvl_yaml_load(&doc, path, &last), KVL_E_YAML);
    assert_int_equal(strncmp(last.msg, path, strlen(path)), 0);
    assert_int_equal(kvl_yaml_load(&doc, test_temp_path("none.yaml"), &last), KVL_E_IO);
    assert_int_equal(kvl_yaml_load(&doc, test_temp_dir(), &last), KVL_E_IO);
    test_save(path, "a: 1\n", 5);
    assert_int_equal(kvl_yaml_load(&doc, path, &last), KVL_OK);
    check_text(doc, "a", "1");
    kvl_yaml_free(doc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_are_texts), cmocka_unit_test(test_tree_and_places),
        cmocka_unit_test(test_hostile_files),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_out_of_memory),     cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_loading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
