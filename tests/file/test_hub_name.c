/* Names of models, the hub's lists of files, and the choice among them: no file, no network. */
#include "support.h"

#include "file/hub_int.h"

#include <stdio.h>
#include <string.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static void check_name(const char *text, const char *repo, const char *quant, const char *revision) {
    kvl_hub_name name;
    kvl_err err = {0};
    if (kvl_hub_name_parse(&name, text, &err) != KVL_OK) {
        fail_msg("%s: %s", text, err.msg);
    }
    assert_string_equal(name.repo, repo);
    assert_string_equal(name.quant, quant);
    assert_string_equal(name.revision, revision);
}

static void test_names(void **state) {
    (void)state;
    check_name("EleutherAI/pythia-70m", "EleutherAI/pythia-70m", "", "main");
    check_name("EleutherAI/pythia-70m@step143000", "EleutherAI/pythia-70m", "", "step143000");
    check_name("a/b.c_d-e:q4_k_m", "a/b.c_d-e", "q4_k_m", "main");
    check_name("a/b:Q8_0@v1.0", "a/b", "Q8_0", "v1.0");
    check_name("a/b@refs/pr/1:Q8_0", "a/b", "Q8_0", "refs/pr/1");
    check_name("a/b@" COMMIT, "a/b", "", COMMIT);
    check_name("a/b:UD-Q4_K_XL", "a/b", "UD-Q4_K_XL", "main");
}

static void test_bad_names(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",         "a",        "/b",        "a/",         "a/b/c",     "a b/c",   "../b",
        "a/..",     "a--b/c",   "a/b--c",    "-a/b",       "a/b-",      "a/.b",    "a/b..c",
        "a/b:",     "a/b@",     "a/b:q:q",   "a/b@x@y",    "a/b:q/4",   "a/b:q 4", "a/b@..",
        "a/b@../x", "a/b@/x",   "a/b@x/",    "a/b@x//y",   "a/b@-x",    "a/b@x y", "a/b@x\\y",
        "a/b@x^",   "a/b@x\ny", "a/b@x/./y", "a/\xc3\xa4", "http://a/b"};
    kvl_hub_name name;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kvl_err err = {0};
        if (kvl_hub_name_parse(&name, bad[i], &err) != KVL_E_USAGE || strstr(err.msg, "model name") == NULL) {
            fail_msg("accepted: '%s'", bad[i]);
        }
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "a/b@", 4);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(kvl_hub_name_parse(&name, longest, NULL), KVL_E_USAGE);
    longest[3] = ':';
    assert_int_equal(kvl_hub_name_parse(&name, longest, NULL), KVL_E_USAGE);
    longest[3] = 'a';
    assert_int_equal(kvl_hub_name_parse(&name, longest, NULL), KVL_E_USAGE);
}

static kvl_status parse_list(kvli_hub_list *list, const char *json, kvl_err *err) {
    char commit[KVLI_HUB_COMMIT + 1];
    return kvli_hub_list_parse(list, commit, json, strlen(json), "list", err);
}

#define SHA "\"sha\":\"" COMMIT "\""

static void test_list(void **state) {
    (void)state;
    kvli_hub_list list = {0};
    assert_ok(parse_list(
        &list, "{" SHA ",\"siblings\":[{\"rfilename\":\"b/c.txt\",\"size\":3},{\"rfilename\":\"a\"}]}",
        &assert_ok_err));
    assert_int_equal(list.n, 2);
    assert_string_equal(list.paths[0], "a");
    assert_true(kvli_hub_list_has(&list, "b/c.txt"));
    assert_false(kvli_hub_list_has(&list, "b"));
    kvli_hub_list_free(&list);
}

static void test_bad_lists(void **state) {
    (void)state;
    static const struct {
        const char *json;
        kvl_status status;
        const char *part;
    } bad[] = {
        {"", KVL_E_JSON, "list"},
        {"<html>", KVL_E_JSON, "line 1"},
        {"[]", KVL_E_TYPE, "sha"},
        {"{\"siblings\":[]}", KVL_E_TYPE, "sha"},
        {"{\"sha\":\"main\",\"siblings\":[]}", KVL_E_TYPE, "found 'main'"},
        {"{\"sha\":\"../../../../../../../../../../../../..aa\",\"siblings\":[]}", KVL_E_TYPE, "sha"},
        {"{" SHA "}", KVL_E_TYPE, "siblings"},
        {"{" SHA ",\"siblings\":[3]}", KVL_E_TYPE, "siblings[0]"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a\"},{\"rfilename\":7}]}", KVL_E_TYPE, "siblings[1]"},
        {"{" SHA "," SHA ",\"siblings\":[]}", KVL_E_DUP, "list"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"\"}]}", KVL_E_PATH, "siblings[0]"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"../x\"}]}", KVL_E_PATH, "../x"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a/../../x.safetensors\"}]}", KVL_E_PATH, "siblings[0]"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a/..\"}]}", KVL_E_PATH, "siblings[0]"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"./a\"}]}", KVL_E_PATH, "siblings[0]"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"/etc/passwd\"}]}", KVL_E_PATH, "/etc/passwd"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a//b\"}]}", KVL_E_PATH, "siblings[0]"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a\\\\b\"}]}", KVL_E_PATH, "siblings[0]"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a\\nb\"}]}", KVL_E_PATH, "a\\x0ab"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a\\u001b[2J\"}]}", KVL_E_PATH, "\\x1b"},
        {"{" SHA ",\"siblings\":[{\"rfilename\":\"a\\u0000b\"}]}", KVL_E_JSON, "list"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kvli_hub_list list = {0};
        kvl_err err = {0};
        kvl_status status = parse_list(&list, bad[i].json, &err);
        if (status != bad[i].status || strstr(err.msg, bad[i].part) == NULL) {
            fail_msg("%s: found %s: %s", bad[i].json, kvl_status_name(status), err.msg);
        }
        kvli_hub_list_free(&list);
    }
}

static void test_huge_lists(void **state) {
    (void)state;
    kvli_hub_list list = {0};
    kvl_str json = {0};
    kvl_str_puts(&json, "{" SHA ",\"siblings\":");
    for (int i = 0; i < 100000; i++) {
        kvl_str_puts(&json, "[");
    }
    assert_int_equal(parse_list(&list, kvl_str_text(&json), NULL), KVL_E_DEPTH);
    kvli_hub_list_free(&list);
    kvl_str_clear(&json);
    kvl_str_puts(&json, "{" SHA ",\"siblings\":[{\"rfilename\":\"a\"}");
    for (int i = 0; i < KVLI_HUB_MAX_FILES; i++) {
        kvl_str_puts(&json, ",{\"rfilename\":\"a\"}");
    }
    kvl_str_puts(&json, "]}");
    assert_int_equal(parse_list(&list, kvl_str_text(&json), NULL), KVL_E_LIMIT);
    kvli_hub_list_free(&list);
    kvl_str_clear(&json);
    kvl_str_puts(&json, "{" SHA ",\"siblings\":[{\"rfilename\":\"");
    for (int i = 0; i <= KVLI_HUB_MAX_PATH; i++) {
        kvl_str_puts(&json, "a");
    }
    kvl_str_puts(&json, "\"}]}");
    assert_int_equal(parse_list(&list, kvl_str_text(&json), NULL), KVL_E_PATH);
    kvli_hub_list_free(&list);
    kvl_str_free(&json);
}

/* Chooses from paths separated by spaces; returns "MAIN: WANTED ..." or "no MISSING". Static. */
static const char *choose(const char *paths, const char *model, const char *file) {
    static char text[1024];
    kvli_hub_list list = {0};
    kvl_str main_path = {0}, missing = {0}, out = {0};
    kvl_hub_name name;
    assert_ok(kvl_hub_name_parse(&name, model, &assert_ok_err));
    for (const char *at = paths; *at != '\0'; at += strspn(at, " ")) {
        char path[128];
        size_t n = strcspn(at, " ");
        snprintf(path, sizeof path, "%.*s", (int)n, at);
        assert_ok(kvli_hub_list_add(&list, path, &assert_ok_err));
        at += n;
    }
    kvli_hub_list_sort(&list);
    kvl_status status = kvli_hub_choose(&list, &main_path, &missing, &name, file, NULL);
    if (status == KVL_OK) {
        kvl_str_printf(&out, "%s:", kvl_str_text(&main_path));
        for (size_t i = 0; i < list.n; i++) {
            kvl_str_printf(&out, " %s", list.paths[i]);
        }
    } else {
        assert_int_equal(status, KVL_E_MISSING);
        kvl_str_printf(&out, "no %s", kvl_str_text(&missing));
    }
    snprintf(text, sizeof text, "%s", kvl_str_text(&out));
    kvli_hub_list_free(&list);
    kvl_str_free(&main_path);
    kvl_str_free(&missing);
    kvl_str_free(&out);
    return text;
}

static void test_choose_checkpoint(void **state) {
    (void)state;
    assert_string_equal(
        choose(
            "README.md config.json generation_config.json model.safetensors pytorch_model.bin tokenizer.json "
            "tokenizer_config.json special_tokens_map.json onnx/model.onnx consolidated.safetensors "
            "onnx/config.json sub/x.safetensors adapter.safetensors vocab.json",
            "a/b", NULL),
        ": config.json generation_config.json model.safetensors special_tokens_map.json tokenizer.json "
        "tokenizer_config.json");
    assert_string_equal(choose("config.json consolidated.safetensors model-1.safetensors model-2.safetensors "
                               "model.safetensors.index.json",
                               "a/b", NULL),
                        ": config.json model-1.safetensors model-2.safetensors model.safetensors.index.json");
    assert_string_equal(choose("model.safetensors", "a/b", NULL), "no config.json");
    assert_string_equal(choose("config.json pytorch_model.bin", "a/b", NULL), "no model.safetensors");
    assert_string_equal(choose("", "a/b", NULL), "no model.safetensors");
}

static void test_choose_gguf(void **state) {
    (void)state;
    static const char all[] = "config.json m-BF16.gguf m-F16.gguf m-IQ4_NL.gguf m-Q4_K_M.gguf m-Q4_K_S.gguf "
                              "m.q8_0.gguf mmproj-F16.gguf README.md";
    assert_string_equal(choose(all, "a/b", NULL), "m-Q4_K_M.gguf: m-Q4_K_M.gguf");
    assert_string_equal(choose(all, "a/b:q4_k_s", NULL), "m-Q4_K_S.gguf: m-Q4_K_S.gguf");
    assert_string_equal(choose(all, "a/b:Q8_0", NULL), "m.q8_0.gguf: m.q8_0.gguf");
    assert_string_equal(choose(all, "a/b:F16", NULL), "m-F16.gguf: m-F16.gguf");
    assert_string_equal(choose(all, "a/b:Q4_K", NULL), "no a .gguf file of Q4_K");
    assert_string_equal(choose(all, "a/b:Q4_NL", NULL), "no a .gguf file of Q4_NL");
    assert_string_equal(choose(all, "a/b:Q4_K_S", "m-F16.gguf"), "m-F16.gguf: m-F16.gguf");
    assert_string_equal(choose(all, "a/b", "other.gguf"), "no other.gguf");
    assert_string_equal(choose(all, "a/b", "../m.gguf"), "no ../m.gguf");
    assert_string_equal(choose("mmproj-F16.gguf x.imatrix.gguf z-Q8_0.gguf", "a/b", NULL),
                        "z-Q8_0.gguf: z-Q8_0.gguf");
    /* a quant asks for GGUF even beside a checkpoint */
    assert_string_equal(choose("config.json model.safetensors x-Q4_K_M.gguf", "a/b", NULL),
                        ": config.json model.safetensors");
    assert_string_equal(choose("config.json model.safetensors x-Q4_K_M.gguf", "a/b:Q4_K_M", NULL),
                        "x-Q4_K_M.gguf: x-Q4_K_M.gguf");
}

static void test_choose_split(void **state) {
    (void)state;
    static const char all[] = "Q8_0/m-Q8_0-00001-of-00003.gguf Q8_0/m-Q8_0-00002-of-00003.gguf "
                              "Q8_0/m-Q8_0-00003-of-00003.gguf Q4_0/m-00002-of-00002.gguf z.gguf";
    static const char three[] = "Q8_0/m-Q8_0-00001-of-00003.gguf: Q8_0/m-Q8_0-00001-of-00003.gguf "
                                "Q8_0/m-Q8_0-00002-of-00003.gguf Q8_0/m-Q8_0-00003-of-00003.gguf";
    assert_string_equal(choose(all, "a/b:q8_0", NULL), three);
    assert_string_equal(choose(all, "a/b", "Q8_0/m-Q8_0-00002-of-00003.gguf"), three);
    assert_string_equal(choose(all, "a/b", "Q4_0/m-00002-of-00002.gguf"), "no Q4_0/m-00001-of-00002.gguf");
    assert_string_equal(choose(all, "a/b:Q4_0", NULL), "no a .gguf file of Q4_0");
    assert_string_equal(choose("m-00001-of-00002.gguf", "a/b", NULL), "no m-00002-of-00002.gguf");
}

/* Each failing allocation is an error and leaks nothing (run under sanitizers). */
static void test_no_memory(void **state) {
    (void)state;
    kvl_status status = KVL_E_NOMEM;
    for (int64_t n = 0; status != KVL_OK; n++) {
        kvli_hub_list list = {0};
        kvl_str main_path = {0}, missing = {0};
        kvl_hub_name name;
        assert_ok(kvl_hub_name_parse(&name, "a/b", &assert_ok_err));
        kvl_alloc_fail_after(n);
        status = parse_list(&list,
                            "{" SHA ",\"siblings\":[{\"rfilename\":\"a-00001-of-00002.gguf\"},"
                            "{\"rfilename\":\"a-00002-of-00002.gguf\"}]}",
                            NULL);
        if (status == KVL_OK) {
            status = kvli_hub_choose(&list, &main_path, &missing, &name, NULL, NULL);
        }
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        assert_true(n < 100);
        assert_true(status != KVL_OK || n > 5);
        kvli_hub_list_free(&list);
        kvl_str_free(&main_path);
        kvl_str_free(&missing);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_list),        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_huge_lists),  cmocka_unit_test(test_choose_checkpoint),
        cmocka_unit_test(test_choose_gguf), cmocka_unit_test(test_choose_split),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
