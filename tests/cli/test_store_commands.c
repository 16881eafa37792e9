/* kvlab ls, show, export, import, verify, compare on stores that the test made. */
#include "support.h"

#include "base/sha256.h"
#include "store/exchange.h"
#include "store/store.h"

#include <math.h>
#include <string.h>

enum { N_TEXTS = 24, N_SCORED = 10 };

static const char hostile[] = "=cmd()|<script>alert(1)</script>,\"x\"\x1b[31m";

/* What the cell was made of; `bos` changes the ids. */
static void name_cell(kvl_record *r, const char *name, const char *tokenizer, const char *bos) {
    kvl_str identity = {0};
    kvl_str group = {0};
    const char *model = strcmp(name, hostile) == 0 ? "hash-of-hostile" : name;
    kvl_str_printf(&group, "{\"arith\":\"f32\",\"model\":\"%s\"}", model);
    kvl_str_printf(
        &identity,
        "{\"arith\":\"f32\",\"model\":\"%s\",\"policy\":\"%s\",\"protocol\":{\"bos\":\"%s\",\"stride\":0,"
        "\"window\":256},\"text\":{\"first_scored\":%zu,\"ids\":\"%s-%s-%s\",\"source\":\"%s\"},"
        "\"tokenizer\":\"%s\"}",
        model, r->policy, bos, r->first_scored, tokenizer, r->sample, bos, r->text_key, tokenizer);
    assert_ok(kvl_sha256(r->key, kvl_str_text(&identity), identity.len, NULL));
    assert_ok(kvl_sha256(r->group, kvl_str_text(&group), group.len, NULL));
    r->identity = kvl_strndup(kvl_str_text(&identity), identity.len);
    kvl_str_free(&identity);
    kvl_str_free(&group);
}

static kvl_record make(const char *model, const char *policy, size_t text, double excess) {
    char name[24];
    char key[24];
    kvl_record r = {.keep_ratio = strcmp(policy, "none") == 0 ? 1 : 0.5,
                    .n_tokens = N_SCORED + 2,
                    .n_budget = 12,
                    .first_scored = 1,
                    .n_scored = N_SCORED,
                    .n_text_bytes = 40,
                    .kept_min = 5,
                    .kept_max = 6,
                    .kept_mean = 5.5,
                    .kv_bytes_live = 4096,
                    .wall_ns = 77};
    r.role = strcmp(policy, "none") == 0 ? KVL_ROLE_BASELINE : KVL_ROLE_POLICY;
    r.n_events = r.role == KVL_ROLE_POLICY ? 3 : 0;
    r.first_event = r.role == KVL_ROLE_POLICY ? 2 : 0;
    (void)snprintf(name, sizeof name, "T%zu", text);
    (void)snprintf(key, sizeof key, "%016zx", text + 1);
    r.model = kvl_strdup(model);
    r.preset = kvl_strdup("made-up");
    r.protocol = kvl_strdup("lm-eval-rolling");
    r.policy = kvl_strdup(policy);
    r.press = kvl_strdup(policy);
    r.sample = kvl_strdup(name);
    r.text = kvl_strdup(name);
    r.text_key = kvl_strdup(key);
    r.facts = kvl_strdup("{\"host\":\"a\",\"threads\":2}");
    r.nll = kvl_calloc(N_SCORED, sizeof *r.nll);
    for (size_t t = 0; t < N_SCORED; t++) {
        r.nll[t] = 2 + 0.1 * (double)((7 * t + 3 * text) % 11) + excess * (1 + 0.1 * (double)(text % 3));
        r.nll_sum += r.nll[t];
    }
    return r;
}

static void put(kvl_store *s, kvl_record r, const char *tokenizer, const char *bos) {
    name_cell(&r, r.model, tokenizer, bos);
    assert_ok(kvl_store_put(s, &r, NULL));
    kvl_record_free(&r);
}

/* Two models (the second with another tokenizer), a full cache and policies on every text, a document, and a
 * cell that failed. */
static const char *make_store(void) {
    const char *path = test_temp_path("made.db");
    kvl_store *s = NULL;
    if (kvl_file_exists(path)) {
        return path;
    }
    assert_ok(kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, NULL));
    for (size_t i = 0; i < N_TEXTS; i++) {
        put(s, make("other", "none", i, 0.5), "t2", "yes");
    }
    static const struct {
        const char *policy;
        double excess;
    } policies[] = {{"none", 0}, {"knorm:keep=0.5", 0.3}, {"recency:keep=0.5", 1e-4}};
    for (size_t p = 0; p < 3; p++) {
        for (size_t i = 0; i < N_TEXTS; i++) {
            put(s, make(hostile, policies[p].policy, i, policies[p].excess), "t1", "yes");
        }
    }
    put(s, make(hostile, "odd:keep=0.5", 0, 0), "t1", "yes");
    for (size_t i = 0; i < N_TEXTS; i++) {
        put(s, make(hostile, "bare:keep=0.5", i, 0), "t1", "no");
    }
    kvl_record failed = make(hostile, "crash:keep=0.5", 0, 0);
    name_cell(&failed, hostile, "t1", "yes");
    assert_ok(kvl_store_put_failed(s, &failed, "not finite", NULL));
    kvl_record_free(&failed);
    char lines[] = "{\"schema\":\"llama\",\"n_prompt\":512}\n";
    char kind[] = "bench", model[] = "other", key[KVL_KEY_TEXT], group[] = "", command[] = "kvlab bench";
    memset(key, 'a', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    const kvl_document d = {.kind = kind,
                            .model = model,
                            .key = key,
                            .group = group,
                            .command = command,
                            .lines = lines,
                            .n_bytes = strlen(lines)};
    assert_ok(kvl_store_put_document(s, &d, NULL));
    kvl_store_close(s);
    return path;
}

/* Runs a command on the store; what it printed. */
static const char *run(int expected, const char *command, const char *more) {
    kvl_str words = {0};
    int code = -1;
    kvl_str_printf(&words, "%s --store %s %s", command, make_store(), more);
    const char *text = test_run(&code, kvl_str_text(&words));
    if (code != expected) {
        fail_msg("%s: exit code %d, expected %d: %s", kvl_str_text(&words), code, expected, text);
    }
    kvl_str_free(&words);
    return text;
}

static void test_ls(void **state) {
    (void)state;
    const char *text = run(0, "ls", "");
    assert_non_null(strstr(text, "made-up"));
    assert_non_null(strstr(text, "kvlab bench"));
    assert_null(strchr(text, '\x1b'));
    text = run(0, "ls", "-o csv");
    assert_non_null(strstr(text, "\"'=cmd()|<script>alert(1)</script>,\"\"x\"\""));
    text = run(0, "ls", "-o jsonl");
    assert_non_null(strstr(text, "\"cells\":97,\"failed\":1"));
    assert_non_null(strstr(text, "\"cells\":24,\"failed\":0"));
    text = run(2, "ls", "-o yaml");
    assert_non_null(strstr(text, "table, md, csv"));
}

static void test_show(void **state) {
    (void)state;
    const char *text = run(0, "show", "");
    assert_non_null(strstr(text, "+0.33"));
    kvl_record r = make(hostile, "knorm:keep=0.5", 3, 0.3);
    name_cell(&r, hostile, "t1", "yes");
    kvl_str words = {0};
    kvl_str_printf(&words, "%.20s", r.key);
    text = run(0, "show", kvl_str_text(&words));
    assert_non_null(strstr(text, r.key));
    assert_non_null(strstr(text, "\"policy\": \"knorm:keep=0.5\""));
    assert_null(strchr(text, '\x1b'));
    text = run(2, "show", "0123456789abcdefff");
    assert_non_null(strstr(text, "none"));
    kvl_str_free(&words);
    kvl_record_free(&r);
}

static char *load(const char *path, size_t *n) {
    char *bytes = NULL;
    assert_ok(kvl_file_load(&bytes, n, path, 1 << 30, NULL));
    return bytes;
}

/* Out, into an empty store, out again: the same bytes. */
static void test_round_trip(void **state) {
    (void)state;
    kvl_str words = {0};
    const char *first = test_temp_path("first.jsonl");
    const char *second = test_temp_path("second.jsonl");
    const char *copied = test_temp_path("copied.db");
    size_t n_first = 0, n_second = 0;
    int code = -1;
    kvl_str_printf(&words, "-o jsonl --out %s", first);
    run(0, "export", kvl_str_text(&words));
    for (int i = 0; i < 2; i++) { /* twice: what is there is left */
        kvl_str_clear(&words);
        kvl_str_printf(&words, "import %s --store %s", first, copied);
        const char *text = test_run(&code, kvl_str_text(&words));
        assert_int_equal(code, 0);
        assert_non_null(strstr(text, "122 cells and 1 documents"));
    }
    kvl_str_clear(&words);
    kvl_str_printf(&words, "export -o jsonl --store %s --out %s", copied, second);
    test_run(&code, kvl_str_text(&words));
    assert_int_equal(code, 0);
    char *a = load(first, &n_first);
    char *b = load(second, &n_second);
    assert_int_equal(n_first, n_second);
    assert_memory_equal(a, b, n_first);
    kvl_free(a);
    kvl_free(b);
    kvl_str_free(&words);
}

/* One line, changed, is refused by name; one that is cut off is left out. */
static void import_changed(const char *line, size_t n, int expected, const char *message) {
    kvl_str words = {0};
    int code = -1;
    test_save(test_temp_path("changed.jsonl"), line, n);
    kvl_str_printf(&words, "import %s --store %s", test_temp_path("changed.jsonl"),
                   test_temp_path("changed.db"));
    const char *text = test_run(&code, kvl_str_text(&words));
    if (code != expected || strstr(text, message) == NULL) {
        fail_msg("exit code %d, expected %d and '%s': %s", code, expected, message, text);
    }
    kvl_str_free(&words);
}

static void test_import_refuses(void **state) {
    (void)state;
    kvl_str line = {0};
    kvl_str changed = {0};
    kvl_record r = make("m", "knorm:keep=0.5", 3, 0.3);
    name_cell(&r, "m", "t1", "yes");
    assert_ok(kvl_record_write_line(&line, &r, NULL, 0, NULL));
    const char *text = kvl_str_text(&line);
    import_changed(text, line.len, 0, "1 cells");
    import_changed(text, line.len / 2, 0, "cut off");
    import_changed("{\"schema\":\"kvlab.record/1\"}\n", 27, 3, "'key'");
    import_changed("{\"schema\":\"kvlab.record/9\"}\n", 27, 3, "kvlab.record/9");
    import_changed("[1, 2\n", 6, 3, "line 1");
    /* another number under the same key */
    const char *sum = strstr(text, "\"nll_sum\":");
    kvl_str_append(&changed, text, (size_t)(sum - text));
    kvl_str_puts(&changed, "\"nll_sum\":1");
    kvl_str_puts(&changed, sum + strcspn(sum, ","));
    import_changed(kvl_str_text(&changed), changed.len, 6, "nll_sum");
    r.nll_sum -= r.nll[2];
    r.nll[2] += 1e-9;
    r.nll_sum += r.nll[2];
    kvl_str_clear(&changed);
    assert_ok(kvl_record_write_line(&changed, &r, NULL, 0, NULL));
    import_changed(kvl_str_text(&changed), changed.len, 6, r.key);
    /* another identity than the key's */
    r.key[0] = r.key[0] == '0' ? '1' : '0';
    kvl_str_clear(&changed);
    assert_ok(kvl_record_write_line(&changed, &r, NULL, 0, NULL));
    import_changed(kvl_str_text(&changed), changed.len, 6, "hash of the identity");
    kvl_record_free(&r);
    kvl_str_free(&line);
    kvl_str_free(&changed);
}

static void test_export_formats(void **state) {
    (void)state;
    const char *text = run(0, "export", "-o csv");
    assert_non_null(strstr(text, "key,group_key,state,role"));
    assert_non_null(strstr(text, "\"'=cmd()"));
    assert_non_null(strstr(text, ",failed,"));
    text = run(0, "export", "-o llama-bench");
    assert_string_equal(text, "{\"schema\":\"llama\",\"n_prompt\":512}\n");
    text = run(0, "export", "-o md");
    assert_non_null(strstr(text, "| +0.33"));
}

static void test_lm_eval(void **state) {
    (void)state;
    kvl_str words = {0};
    kvl_str_printf(&words, "-o lm-eval --out %s", test_temp_path("lm"));
    const char *paths = run(0, "export", kvl_str_text(&words));
    const char *knorm = strstr(paths, "knorm");
    assert_non_null(knorm);
    while (knorm > paths && knorm[-1] != '\n') {
        knorm--;
    }
    kvl_str_clear(&words);
    kvl_str_append(&words, knorm, strcspn(knorm, "\n"));
    json_t *o = NULL;
    assert_ok(kvl_json_load(&o, kvl_str_text(&words), 1 << 20, NULL));
    json_t *task = json_object_get(json_object_get(o, "results"), "kvlab_lm-eval-rolling");
    double nll = 0;
    for (size_t i = 0; i < N_TEXTS; i++) {
        kvl_record r = make("x", "knorm:keep=0.5", i, 0.3);
        nll += r.nll_sum;
        kvl_record_free(&r);
    }
    assert_true(fabs(json_real_value(json_object_get(task, "bits_per_byte,none")) -
                     nll / log(2) / (40 * N_TEXTS)) < 1e-12);
    assert_string_equal(json_string_value(json_object_get(task, "byte_perplexity_stderr,none")), "N/A");
    static const char *const keys[] = {
        "results",   "group_subtasks", "configs",  "versions", "n-shot",     "higher_is_better",
        "n-samples", "config",         "git_hash", "date",     "model_name", "model_name_sanitized"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_non_null(json_object_get(o, keys[i]));
    }
    json_decref(o);
    kvl_str_free(&words);
}

static void test_verify(void **state) {
    (void)state;
    kvl_str words = {0};
    int code = -1;
    const char *text = run(0, "verify", "");
    assert_non_null(strstr(text, "whole: 121 cells"));
    /* a copy with one number changed */
    const char *path = test_temp_path("damaged.db");
    size_t n = 0;
    kvl_str_printf(&words, "-o sqlite --out %s", path);
    run(0, "export", kvl_str_text(&words));
    char *bytes = load(path, &n);
    const double nll = 2 + 0.1 * 5; /* of T5's sixth token of the full cache, anywhere */
    size_t n_changed = 0;
    for (size_t i = 0; i + sizeof nll <= n && n_changed == 0; i++) {
        if (memcmp(bytes + i, &nll, sizeof nll) == 0) {
            bytes[i] ^= 1;
            n_changed++;
        }
    }
    assert_int_equal(n_changed, 1);
    test_save(path, bytes, n);
    kvl_free(bytes);
    kvl_str_clear(&words);
    kvl_str_printf(&words, "verify --store %s", path);
    text = test_run(&code, kvl_str_text(&words));
    assert_int_equal(code, 7);
    assert_non_null(strstr(text, "1 fault"));
    kvl_str_free(&words);
}

static void test_compare(void **state) {
    (void)state;
    const char *text = run(0, "compare", "knorm none");
    assert_non_null(strstr(text, "240 on 24 texts"));
    assert_non_null(strstr(text, "A - B        +0.33")); /* 0.3 x (1 + 0.1 x mean of 0, 1, 2) */
    assert_non_null(strstr(text, "B is better"));
    text = run(0, "compare", "recency none");
    assert_non_null(strstr(text, "no difference beyond 0.01"));
    text = run(0, "compare", "none none");
    assert_non_null(strstr(text, "the same bits on every token"));
    text = run(2, "compare", "odd none");
    assert_non_null(
        strstr(text, "texts or windows differ (A lm-eval-rolling with 1 cells, B lm-eval-rolling with 24"));
    text = run(2, "compare", "bare none");
    assert_non_null(strstr(text, "token ids differ on T0"));
    text = run(2, "compare", "k-nothing none");
    assert_non_null(strstr(text, "found none"));
    text = run(2, "compare", "none");
    assert_non_null(strstr(text, "expected 2"));
    text = run(2, "compare", "knorm none --margin x");
    assert_non_null(strstr(text, "--margin"));
}

/* Models with other tokenizers: bits per byte only. */
static void test_compare_models(void **state) {
    (void)state;
    char group[KVL_KEY_TEXT];
    kvl_str words = {0};
    assert_ok(kvl_sha256(group, "{\"arith\":\"f32\",\"model\":\"other\"}", 31, NULL));
    kvl_str_printf(&words, "none %.16s/none", group);
    const char *text = run(0, "compare", kvl_str_text(&words));
    assert_non_null(strstr(text, "bits per byte"));
    assert_non_null(strstr(text, "tokenizers differ"));
    assert_null(strstr(text, "PPL"));
    kvl_str_free(&words);
}

/* What an import may bring: a text without a key, facts that are none, and both kinds of a full cache. */
static void test_compare_bare(void **state) {
    (void)state;
    kvl_str words = {0};
    kvl_store *s = NULL;
    int code = -1;
    const char *path = test_temp_path("bare.db");
    assert_ok(kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, NULL));
    for (size_t i = 0; i < 3; i++) {
        kvl_record r = make("m", i == 2 ? "knorm:keep=0.5" : "none", 0, 0.1 * (double)i);
        r.text_key[0] = '\0';
        r.facts[0] = '\0';
        r.role = i == 1 ? KVL_ROLE_ONE_PASS : r.role;
        put(s, r, i == 1 ? "t2" : "t1", "yes");
    }
    kvl_store_close(s);
    kvl_str_printf(&words, "compare --store %s knorm none", path);
    const char *text = test_run(&code, kvl_str_text(&words));
    assert_int_equal(code, 0);
    assert_non_null(strstr(text, "10 on 1 text,"));
    kvl_str_clear(&words);
    kvl_str_printf(&words, "export --store %s -o jsonl", path);
    text = test_run(&code, kvl_str_text(&words));
    const char *key = strstr(text, "\"key\":\"");
    char first[13] = "";
    assert_non_null(key);
    memcpy(first, key + 7, 12);
    kvl_str_clear(&words);
    kvl_str_printf(&words, "show --store %s %s", path, first);
    text = test_run(&code, kvl_str_text(&words));
    assert_int_equal(code, 0);
    assert_non_null(strstr(text, "identity {"));
    assert_null(strstr(text, "facts"));
    kvl_str_free(&words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ls),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_import_refuses),
        cmocka_unit_test(test_export_formats),
        cmocka_unit_test(test_lm_eval),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_compare_models),
        cmocka_unit_test(test_compare_bare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
