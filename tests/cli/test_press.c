/* kvlab press: every press is listed and shown, and docs/presses is what it prints. */
#include "support.h"

#include "press/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *run(const char *args, int exit_code) {
    int found = 0;
    const char *out = test_run(&found, args);
    if (found != exit_code) {
        fail_msg("%s: expected exit %d, found %d: %s", args, exit_code, found, out);
    }
    return out;
}

static void check_has(const char *text, const char *part) {
    if (strstr(text, part) == NULL) {
        fail_msg("expected '%s', found: %s", part, text);
    }
}

/* What a machine reads of all presses is what their descriptors say; the example of each is a policy. */
static void test_list(void **state) {
    (void)state;
    size_t n = 0;
    const kvl_press *const *all = kvl_presses(&n);
    json_t *list = json_loads(run("press list -o json", 0), 0, NULL);
    assert_int_equal(json_array_size(list), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *o = json_array_get(list, i);
        assert_string_equal(json_string_value(json_object_get(o, "name")), all[i]->name);
        assert_string_equal(json_string_value(json_object_get(o, "summary")), all[i]->summary);
        assert_string_equal(json_string_value(json_object_get(o, "source")), all[i]->source);
        assert_int_equal(json_array_size(json_object_get(o, "options")), all[i]->n_options);
        kvl_policy policy;
        kvl_err err = {0};
        const char *example = json_string_value(json_object_get(o, "example"));
        kvl_policy_init(&policy);
        if (kvl_policy_parse(&policy, example, &err) != KVL_OK) {
            fail_msg("%s: %s", example, err.msg);
        }
        assert_ptr_equal(kvl_policy_press(&policy), all[i]);
    }
    json_decref(list);
}

static void test_words(void **state) {
    (void)state;
    const char *text = run("press show snapkv", 0);
    check_has(text, "snapkv: keep what the last tokens attend to, and these\n");
    check_has(text, "  needs     keys, queries of the last 64 tokens\n");
    check_has(text, "  acts on   layer\n");
    check_has(text, "kernel=5  width of the pooling, odd (1 to 255)\n");
    check_has(text, "kvlab sweep -P 'snapkv(window=64)' -r 0.5\n");
    check_has(text, "docs/presses/snapkv.md\n");
    text = run("press show adakv -o md", 0);
    check_has(text, "# adakv\n");
    check_has(text, "adakv(knorm,alpha=0.2)");
    check_has(text, "- **acts on:** wrapper, ragged\n");
    check_has(text, "| `alpha` | 0.2 | 0 to 1 |");
    check_has(run("press show knorm -o md", 0), "| `side` | low | low or high |");
    check_has(run("press list", 0), "presses by queries and attention\n  snapkv ");
    text = run("press list -o csv", 0);
    check_has(text, "\nobserved,\"by queries and attention\",\"attention received\",\"head\",\"keep");
    text = run("sweep --help", 0);
    check_has(text, "\npresses around other presses:\n  adakv ");
    check_has(run("bench --help", 0), "\npresses by queries and attention:\n  snapkv ");
}

static void test_errors(void **state) {
    (void)state;
    check_has(run("press", 2), "press: expected list or show NAME, found nothing");
    check_has(run("press lst", 2), "found lst");
    check_has(run("press list all", 2), "found all");
    check_has(run("press show", 2), "expected a name, found nothing");
    check_has(run("press show snpkv", 2), "unknown press 'snpkv'; did you mean snapkv; kvlab press list");
    check_has(run("press show ada", 2), "did you mean adakv");
    check_has(run("press show zzzzzzzz", 2), "unknown press 'zzzzzzzz'; kvlab press list shows all");
    check_has(run("press show knorm -o csv", 2), "expected -o table, md or json, found csv");
    check_has(run("press show knorm recency", 2), "found 'recency' behind");
}

static void test_pages(void **state) {
    (void)state;
    char command[8192];
    snprintf(command, sizeof command, "'%s' --check '%s' 2>&1", test_path("tools/make-press-docs"),
             getenv("KVL_PROGRAM"));
    if (system(command) != 0) {
        fail_msg("docs/presses and the names in README.md: expected what kvlab press prints, found another "
                 "text: run make docs");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
