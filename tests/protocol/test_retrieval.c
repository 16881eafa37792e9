/* Retrieval prompts and runs: exact lengths and depths, draws, scores, what a batch must not change. */
#include "bundled.h"

#include "protocol/retrieval.h"

#include <string.h>

static kvl_prompt_maker *makers[KVL_N_FILLERS];

static int open_all(void **state) {
    (void)state;
    if (open_bundled("P1") != 0) {
        return -1;
    }
    for (int f = 0; f < KVL_N_FILLERS; f++) {
        if (kvl_prompt_maker_create(&makers[f], tokenizer, KVL_CHAT_NONE, (kvl_filler)f, test_path("data"),
                                    NULL) != KVL_OK) {
            return -1;
        }
    }
    return 0;
}

static int close_all(void **state) {
    for (int f = 0; f < KVL_N_FILLERS; f++) {
        kvl_prompt_maker_destroy(makers[f]);
    }
    return close_bundled(state);
}

static kvl_retrieval_point point_of(const char *task, size_t n_tokens, unsigned depth, size_t trial) {
    kvl_retrieval_point point = {.n_tokens = n_tokens, .depth = depth, .trial = trial, .seed = 7};
    assert_ok(kvl_retrieval_find(&point.task, task, NULL));
    return point;
}

static kvl_retrieval_prompt make(const char *task, size_t n_tokens, unsigned depth, size_t trial) {
    kvl_retrieval_prompt p;
    const kvl_retrieval_point point = point_of(task, n_tokens, depth, trial);
    assert_ok(kvl_retrieval_make(&p, makers[point.task->filler], &point, &assert_ok_err));
    return p;
}

static char *text_of(const int32_t *ids, size_t n) {
    static char *text;
    size_t n_bytes = 0;
    assert_ok(kvl_tokenizer_decode(tokenizer, &text, &n_bytes, ids, n, false, NULL));
    return text;
}

static size_t count(const char *text, const char *word) {
    size_t n = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        n++;
    }
    return n;
}

/* ---- prompts ---- */

static void check_prompt(const kvl_retrieval_prompt *p) {
    const kvl_retrieval_words *w = &p->words;
    char *context = text_of(p->ids.ids, p->n_context);
    char *needle = text_of(p->ids.ids + p->needle_at, p->needle_end - p->needle_at);
    char *question = text_of(p->ids.ids + p->n_context, p->ids.n - p->n_context);
    kvl_str tail = {0};
    assert_int_equal(p->ids.n, p->point.n_tokens);
    assert_string_equal(needle, w->needles[0].text);
    kvl_str_printf(&tail, "%s%s", w->question, w->lead);
    assert_string_equal(question, kvl_str_text(&tail));
    assert_int_equal(count(context, w->head), 1);
    for (size_t i = 0; i < w->n_needles; i++) {
        assert_int_equal(count(context, w->needles[i].text), 1);
    }
    for (size_t i = 0; i < w->n_answers;
         i++) { /* only where the needles have them, and not in the question */
        size_t n = 0;
        for (size_t k = 0; k < w->n_needles; k++) {
            n += count(w->needles[k].text, w->answers[i]);
        }
        assert_int_equal(count(context, w->answers[i]), n);
        assert_int_equal(count(question, w->answers[i]), 0);
    }
    kvl_free(context);
    kvl_free(needle);
    kvl_free(question);
    kvl_str_free(&tail);
}

/* Tokens of filler before the first needle: those that are neither the head's nor other needles'. */
static size_t filler_before(const kvl_retrieval_prompt *p) {
    char *before = text_of(p->ids.ids, p->needle_at);
    kvl_ids head = {0};
    size_t n = p->needle_at;
    assert_ok(kvl_tokenizer_encode(tokenizer, &head, p->words.head, strlen(p->words.head), false, NULL));
    n -= head.n + (kvl_tokenizer_bos(tokenizer) >= 0);
    for (size_t i = 1; i < p->words.n_needles; i++) {
        if (count(before, p->words.needles[i].text) != 0) {
            kvl_ids ids = {0};
            assert_ok(kvl_tokenizer_encode(tokenizer, &ids, p->words.needles[i].text,
                                           strlen(p->words.needles[i].text), false, NULL));
            n -= ids.n;
            kvl_ids_free(&ids);
        }
    }
    kvl_ids_free(&head);
    kvl_free(before);
    return n;
}

static void prompts_are_exact(void **state) {
    (void)state;
    static const size_t lengths[] = {300, 301, 777, 1000};
    static const unsigned depths[] = {0, 1, 33, 50, 99, 100};
    size_t n_tasks;
    const kvl_retrieval_task *tasks = kvl_retrieval_tasks(&n_tasks);
    for (size_t i = 0; i < n_tasks * 4 * 6; i++) {
        const unsigned depth = depths[i % 6];
        kvl_retrieval_prompt p = make(tasks[i / 24].name, lengths[i / 6 % 4], depth, i % 5);
        check_prompt(&p);
        assert_int_equal(p.n_filler_before, (p.n_filler * depth + 50) / 100);
        assert_int_equal(filler_before(&p), p.n_filler_before);
        if (depth == 0 && p.words.n_needles == 1) {
            assert_int_equal(p.n_filler_before, 0);
        }
        if (depth == 100 && p.words.n_needles == 1) {
            assert_int_equal(p.needle_end, p.n_context);
        }
        kvl_retrieval_prompt_free(&p);
    }
}

/* The needle stands between whole sentences; other needles too, unless the filler ends before them. */
static void needles_part_no_sentence(void **state) {
    (void)state;
    for (unsigned depth = 10; depth < 100; depth += 20) {
        kvl_retrieval_prompt p = make("needle", 500, depth, depth);
        char *before = text_of(p.ids.ids, p.needle_at);
        char *behind = text_of(p.ids.ids + p.needle_end, 2);
        assert_non_null(strpbrk(before + strlen(before) - 3, ".!?"));
        assert_int_equal(behind[0], ' ');
        kvl_free(before);
        kvl_free(behind);
        kvl_retrieval_prompt_free(&p);
    }
}

static void other_needles_have_their_places(void **state) {
    (void)state;
    kvl_retrieval_prompt p = make("tracking", 900, 20, 0);
    char *text = text_of(p.ids.ids, p.n_context);
    const char *last = text;
    for (size_t i = 0; i < p.words.n_needles; i++) { /* the chain in order, its steps about as far apart */
        const char *at = strstr(text, p.words.needles[i].text);
        const double place = (double)(at - text) / (double)strlen(text);
        assert_true(at > last);
        assert_true(place > 0.15 + 0.14 * (double)i && place < 0.33 + 0.16 * (double)i);
        last = at;
    }
    kvl_free(text);
    kvl_retrieval_prompt_free(&p);
}

static void seeds_reproduce(void **state) {
    (void)state;
    kvl_retrieval_prompt a = make("multikey", 600, 50, 3);
    kvl_retrieval_prompt b = make("multikey", 600, 50, 3);
    kvl_retrieval_prompt other = make("multikey", 600, 50, 4);
    assert_int_equal(a.hash, b.hash);
    assert_memory_equal(a.ids.ids, b.ids.ids, a.ids.n * sizeof *a.ids.ids);
    assert_true(a.hash != other.hash);
    assert_string_not_equal(a.words.answers[0], other.words.answers[0]);
    for (size_t i = 0; i < a.words.n_needles; i++) { /* distinct keys and numbers, one asked for */
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(a.words.needles[i].text, a.words.needles[k].text);
        }
    }
    kvl_retrieval_prompt_free(&a);
    kvl_retrieval_prompt_free(&b);
    kvl_retrieval_prompt_free(&other);
    kvl_retrieval_point point = point_of("passkey", 300, 50, 0); /* by another implementation of the draws */
    assert_ok(kvl_retrieval_make(&a, makers[KVL_FILLER_NOISE], &point, NULL));
    point.seed = 8;
    assert_ok(kvl_retrieval_make(&b, makers[KVL_FILLER_NOISE], &point, NULL));
    assert_string_equal(a.words.answers[0], "78483");
    assert_string_equal(b.words.answers[0], "24622");
    kvl_retrieval_prompt_free(&a);
    kvl_retrieval_prompt_free(&b);
}

static void short_lengths_are_refused(void **state) {
    (void)state;
    kvl_err err = {0};
    kvl_retrieval_prompt p;
    kvl_retrieval_point point = point_of("needle", 20, 50, 0);
    size_t least = 0;
    assert_int_equal(kvl_retrieval_make(&p, makers[1], &point, &err), KVL_E_USAGE);
    const char *at = strstr(err.msg, "at least ");
    assert_non_null(at);
    least = (size_t)strtoul(at + strlen("at least "), NULL, 10);
    point.n_tokens = least; /* keys differ in tokens with the length: one more may be needed */
    kvl_status status = kvl_retrieval_make(&p, makers[1], &point, &err);
    for (; status != KVL_OK && point.n_tokens < least + 40;
         status = kvl_retrieval_make(&p, makers[1], &point, &err)) {
        point.n_tokens++;
    }
    assert_int_equal(status, KVL_OK);
    assert_int_equal(p.ids.n, point.n_tokens);
    kvl_retrieval_prompt_free(&p);
    assert_int_equal(kvl_retrieval_find(&point.task, "pass-key", &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "did you mean passkey"));
    kvl_prompt_maker *m = NULL;
    assert_int_equal(kvl_prompt_maker_create(&m, tokenizer, KVL_CHAT_CHATML, KVL_FILLER_NOISE, "", &err),
                     KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "<|im_start|>"));
    assert_int_equal(
        kvl_prompt_maker_create(&m, tokenizer, KVL_CHAT_NONE, KVL_FILLER_BOOKS, "/nowhere", &err), KVL_E_IO);
}

/* ---- scores ---- */

static void scores_and_verdicts(void **state) {
    (void)state;
    const kvl_retrieval_words one = {.answers = {"1234567"}, .n_answers = 1};
    const kvl_retrieval_words three = {.answers = {"BCDFG", "HJKLM", "NPQRS"}, .n_answers = 3};
    assert_int_equal(kvl_retrieval_score(&one, " 1234567.\nThe"), 1);
    assert_int_equal(kvl_retrieval_score(&one, "it is 1234567"), 1);
    assert_int_equal(kvl_retrieval_score(&one, " 123456 7"), 0);
    assert_int_equal(kvl_retrieval_score(&one, " 123456"), 0);
    assert_int_equal(kvl_retrieval_score(&one, ""), 0);
    assert_int_equal(kvl_retrieval_score(&three, "NPQRS, bcdfg and BCDFG"), 2);
    assert_int_equal(kvl_retrieval_score(&three, "HJKLM NPQRS BCDFG"), 3);
    /* 80 % is enough, less is not; where the full cache fails nothing else counts */
    assert_true(kvl_retrieval_full_passes(8, 10));
    assert_false(kvl_retrieval_full_passes(7, 10));
    assert_true(kvl_retrieval_full_passes(4, 5));
    assert_false(kvl_retrieval_full_passes(3, 4));
    assert_false(kvl_retrieval_full_passes(0, 0));
    assert_int_equal(kvl_retrieval_judge(7, 10, 10), KVL_RETRIEVAL_FULL_FAILS);
    assert_int_equal(kvl_retrieval_judge(7, 10, 0), KVL_RETRIEVAL_FULL_FAILS);
    assert_int_equal(kvl_retrieval_judge(8, 10, 0), KVL_RETRIEVAL_NOTHING_EVICTED);
    assert_int_equal(kvl_retrieval_judge(8, 10, 3), KVL_RETRIEVAL_RATE);
}

/* ---- runs ---- */

enum { n_prompts = 4, n_policies = 5, max_new = 6 };
static const char *const policy_texts[n_policies] = {"knorm:keep=0.5:skip=0", "snapkv(window=16):keep=0.4",
                                                     "block(knorm,block=32):keep=0.5", "kvzip:keep=0.5",
                                                     "key-rerotation(knorm):keep=0.5"};

static void run_prompts(kvl_retrieval_result *out, kvl_engine *engine, const kvl_retrieval_prompt *prompts,
                        size_t n, const kvl_policy *policies, size_t n_of, bool is_aware,
                        uint64_t memory_bytes) {
    const kvl_retrieval_config config = {.tokenizer = tokenizer,
                                         .prompts = prompts,
                                         .n_prompts = n,
                                         .policies = policies,
                                         .n_policies = n_of,
                                         .is_query_aware = is_aware,
                                         .max_new = max_new,
                                         .memory_bytes = memory_bytes};
    assert_ok(kvl_retrieval_run(out, engine, &config, &assert_ok_err));
}

static void make_run(kvl_retrieval_prompt *prompts, kvl_policy *policies) {
    for (size_t i = 0; i < n_prompts; i++) {
        prompts[i] = make(i % 2 != 0 ? "needle" : "passkey", 180 + 20 * i, (unsigned)(30 * i), i);
    }
    for (size_t p = 0; p < n_policies; p++) {
        policies[p] = test_policy(policy_texts[p]);
    }
}

static const int32_t repeat_ids[] = {20, 21, 22};
static const kvl_prompts repeat = {
    .first = repeat_ids, .next = repeat_ids, .suffix = repeat_ids, .n_first = 3, .n_next = 3, .n_suffix = 1};

static void assert_same(const kvl_retrieval_result *a, const kvl_retrieval_result *b) {
    assert_int_equal(a->n_ids, b->n_ids);
    assert_memory_equal(a->ids, b->ids, a->n_ids * sizeof *a->ids);
    assert_int_equal(a->n_events, b->n_events);
    assert_int_equal(a->kv_bytes, b->kv_bytes);
    assert_true(a->kept_mean == b->kept_mean);
    assert_string_equal(a->text, b->text);
}

/* All at once, each alone on two threads, and in waves of a small memory. */
static void a_batch_changes_nothing(void **state) {
    (void)state;
    kvl_retrieval_prompt prompts[n_prompts];
    kvl_policy policies[n_policies];
    make_run(prompts, policies);
    kvl_engine_set_prompts(engines[0], &repeat);
    kvl_engine_set_prompts(engines[1], &repeat);
    for (int is_aware = 0; is_aware <= 1; is_aware++) {
        kvl_retrieval_result all[(n_policies + 1) * n_prompts], waves[(n_policies + 1) * n_prompts], solo[2];
        run_prompts(all, engines[0], prompts, n_prompts, policies, n_policies, is_aware != 0, 0);
        run_prompts(waves, engines[0], prompts, n_prompts, policies, n_policies, is_aware != 0, 60u << 20);
        for (size_t i = 0; i < n_prompts; i++) {
            for (size_t p = 0; p <= n_policies; p++) {
                const kvl_retrieval_result *in_all = &all[p * n_prompts + i];
                run_prompts(solo, engines[1], &prompts[i], 1, &policies[p != 0 ? p - 1 : 0], p != 0,
                            is_aware != 0, 0);
                assert_same(in_all, &solo[p != 0]);
                assert_same(in_all, &waves[p * n_prompts + i]);
                assert_int_equal(in_all->n_events != 0, p != 0);
                kvl_retrieval_free(solo, p != 0 ? 2 : 1);
            }
        }
        kvl_retrieval_free(all, (n_policies + 1) * n_prompts);
        kvl_retrieval_free(waves, (n_policies + 1) * n_prompts);
    }
    for (size_t i = 0; i < n_prompts; i++) {
        kvl_retrieval_prompt_free(&prompts[i]);
    }
}

/* The full cache's answer is greedy decoding of the prompt, and counts are those of the context, or of all
 * but the last token. */
static void answers_are_greedy(void **state) {
    (void)state;
    kvl_retrieval_prompt p = make("needle", 200, 40, 1);
    const kvl_policy half = test_policy("knorm:keep=0.5");
    kvl_retrieval_result out[2];
    for (int is_aware = 0; is_aware <= 1; is_aware++) {
        const size_t n_first = is_aware != 0 ? p.ids.n - 1 : p.n_context;
        int32_t token = -1;
        kvl_stream *s = NULL;
        run_prompts(out, engines[0], &p, 1, &half, 1, is_aware != 0, 0);
        assert_int_equal(out[0].kept_max, n_first);
        assert_int_equal(out[1].kept_min, (n_first + 1) / 2);
        assert_int_equal(out[1].kept_max, (n_first + 1) / 2);
        assert_ok(kvl_stream_create(&s, engines[0], NULL));
        for (size_t t = 0; t < p.ids.n; t++) {
            kvl_row row = {.stream = s, .token = p.ids.ids[t], .target = -1, .wants_top = true};
            assert_ok(kvl_engine_forward(engines[0], &row, 1, NULL));
            token = row.top;
        }
        for (size_t i = 0; i < out[0].n_ids; i++) {
            kvl_row row = {.stream = s, .token = token, .target = -1, .wants_top = true};
            assert_int_equal(out[0].ids[i], token);
            assert_ok(kvl_engine_forward(engines[0], &row, 1, NULL));
            token = row.top;
        }
        assert_true(out[0].n_ids == max_new || token == kvl_tokenizer_eos(tokenizer));
        kvl_stream_destroy(s);
        kvl_retrieval_free(out, 2);
    }
    kvl_retrieval_prompt_free(&p);
}

static bool stop_at_once(void *ud, size_t rows_done, size_t rows_total) {
    *(size_t *)ud += rows_done;
    assert_true(rows_done <= rows_total);
    return false;
}

static bool count_rows(void *ud, size_t rows_done, size_t rows_total) {
    assert_true(rows_done <= rows_total);
    *(size_t *)ud = rows_total - rows_done;
    return true;
}

static void runs_end_early_and_cleanly(void **state) {
    (void)state;
    kvl_err err = {0};
    size_t seen = 0;
    kvl_retrieval_prompt p = make("passkey", 200, 40, 1);
    const kvl_policy policies[2] = {test_policy("knorm:keep=0.5"),
                                    test_policy("block(knorm,block=32):keep=0.5")};
    kvl_retrieval_result out[3];
    kvl_retrieval_config config = {.tokenizer = tokenizer,
                                   .prompts = &p,
                                   .n_prompts = 1,
                                   .policies = policies,
                                   .n_policies = 2,
                                   .max_new = 3,
                                   .progress = stop_at_once,
                                   .progress_ud = &seen};
    assert_int_equal(kvl_retrieval_run(out, engines[0], &config, &err), KVL_E_INTERRUPTED);
    kvl_retrieval_free(out, 3);
    assert_int_not_equal(seen, 0);
    config.progress = count_rows;
    assert_ok(kvl_retrieval_run(out, engines[0], &config, &err));
    kvl_retrieval_free(out, 3);
    config.memory_bytes = 1 << 20;
    assert_int_equal(kvl_retrieval_run(out, engines[0], &config, &err), KVL_E_NOMEM);
    assert_non_null(strstr(err.msg, "expected at least"));
    kvl_retrieval_free(out, 3);
    kvl_retrieval_prompt_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_are_exact),
        cmocka_unit_test(needles_part_no_sentence),
        cmocka_unit_test(other_needles_have_their_places),
        cmocka_unit_test(seeds_reproduce),
        cmocka_unit_test(short_lengths_are_refused),
        cmocka_unit_test(scores_and_verdicts),
        cmocka_unit_test(a_batch_changes_nothing),
        cmocka_unit_test(answers_are_greedy),
        cmocka_unit_test(runs_end_early_and_cleanly),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
