/* What the tasks say, and prompts of exact length and depth made of it.
 *
 * A prompt is put together from pieces that are tokenized one by one: head, sentences of filler, needles,
 * question. The first needle stands between two whole sentences: the filler before it is the last tokens of
 * a run of sentences that ends there, the filler behind it the first tokens of what follows; so only the two
 * ends of the filler are cut. Other needles stand before the sentence in which their place lies.
 */
#include "protocol/retrieval.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/os.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

/* ---- draws ---- */

/* What a draw is for: each has a stream of its own. */
enum purpose { DRAW_FILLER = 1, DRAW_KEY, DRAW_VALUE, DRAW_PLACE };

/* Number `index` of a purpose, from 0 to n - 1. */
static uint64_t draw(const kvl_retrieval_point *p, enum purpose purpose, uint64_t index, uint64_t n) {
    const uint64_t at[] = {purpose, p->n_tokens, p->depth, p->trial};
    uint64_t stream = kvl_hash_bytes(KVL_HASH_INIT, p->task->name, strlen(p->task->name));
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        stream = kvl_rng_mix(stream ^ at[i]);
    }
    return kvl_rng_draw(p->seed, stream, index) % n; /* n is far below 2^64: no bias that could be seen */
}

/* The first n distinct ones of a purpose. */
static void draw_distinct(uint64_t *out, size_t n_out, const kvl_retrieval_point *p, enum purpose purpose,
                          uint64_t n) {
    size_t n_have = 0;
    for (uint64_t index = 0; n_have < n_out; index++) {
        const uint64_t x = draw(p, purpose, index, n);
        size_t i = 0;
        while (i < n_have && out[i] != x) {
            i++;
        }
        if (i == n_have) {
            out[n_have++] = x;
        }
    }
}

/* ---- tasks ---- */

enum { FULL_PLACE = 10000, N_WORDS = 16, N_KEYS = 4, N_VARIABLES = 5 };

static const char *const adjectives[N_WORDS] = {"amber",  "brisk",  "calm",  "distant", "eager", "faint",
                                                "gentle", "hollow", "ivory", "jolly",   "keen",  "lucky",
                                                "mellow", "noble",  "quiet", "rapid"};
static const char *const nouns[N_WORDS] = {"anchor", "bridge", "candle",  "desert", "engine", "forest",
                                           "garden", "harbor", "island",  "jungle", "kettle", "ladder",
                                           "meadow", "needle", "orchard", "pocket"};

/* n needles of one kind with distinct keys and numbers of 7 digits; the first one is asked for. */
static void write_numbers(kvl_retrieval_words *out, const kvl_retrieval_point *point, size_t n) {
    uint64_t keys[N_KEYS], values[N_KEYS];
    char key[32];
    draw_distinct(keys, n, point, DRAW_KEY, (uint64_t)N_WORDS * N_WORDS);
    draw_distinct(values, n, point, DRAW_VALUE, 9000000);
    snprintf(out->head, sizeof out->head,
             n == 1
                 ? "A special magic number is hidden within the following text. Make sure to memorize it. "
                   "I will quiz you about the number afterwards.\n"
                 : "Some special magic numbers are hidden within the following text. Make sure to memorize "
                   "them. I will quiz you about the numbers afterwards.\n");
    for (size_t i = n; i-- > 0;) {
        snprintf(key, sizeof key, "%s-%s", adjectives[keys[i] / N_WORDS], nouns[keys[i] % N_WORDS]);
        snprintf(out->answers[0], sizeof out->answers[0], "%llu", (unsigned long long)values[i] + 1000000);
        snprintf(out->needles[i].text, sizeof out->needles[i].text,
                 " One of the special magic numbers for %s is: %s.", key, out->answers[0]);
        out->needles[i].place =
            i == 0 ? point->depth * (FULL_PLACE / 100) : (unsigned)draw(point, DRAW_PLACE, i, FULL_PLACE + 1);
    }
    out->n_needles = n;
    out->n_answers = 1;
    snprintf(out->question, sizeof out->question,
             "\nWhat is the special magic number for %s mentioned in the provided text?", key);
    snprintf(out->lead, sizeof out->lead,
             " The special magic number for %s mentioned in the provided text is", key);
}

static void write_needle(kvl_retrieval_words *out, const kvl_retrieval_point *point) {
    write_numbers(out, point, 1);
}

static void write_multikey(kvl_retrieval_words *out, const kvl_retrieval_point *point) {
    write_numbers(out, point, N_KEYS);
}

/* Names have no vowels, so that no text has them. */
static void write_tracking(kvl_retrieval_words *out, const kvl_retrieval_point *point) {
    static const char letters[] = "BCDFGHJKLMNPQRSTVWXZ";
    enum { n_letters = sizeof letters - 1 };
    uint64_t names[N_VARIABLES];
    const unsigned long long value = 10000 + draw(point, DRAW_VALUE, 0, 90000);
    draw_distinct(names, N_VARIABLES, point, DRAW_KEY,
                  (uint64_t)n_letters * n_letters * n_letters * n_letters * n_letters);
    snprintf(out->head, sizeof out->head,
             "Memorize and track the chain(s) of variable assignment hidden in the following text.\n");
    for (size_t i = 0; i < N_VARIABLES; i++) {
        kvl_needle *needle = &out->needles[i];
        for (size_t k = 0; k < 5; k++, names[i] /= n_letters) {
            out->answers[i][k] = letters[names[i] % n_letters];
        }
        out->answers[i][5] = '\0';
        if (i == 0) {
            snprintf(needle->text, sizeof needle->text, " VAR %s = %llu.", out->answers[0], value);
        } else {
            snprintf(needle->text, sizeof needle->text, " VAR %s = VAR %s.", out->answers[i],
                     out->answers[i - 1]);
        }
        const unsigned first = point->depth * (FULL_PLACE / 100);
        needle->place = first + (unsigned)((FULL_PLACE - first) * i / N_VARIABLES);
    }
    out->n_needles = N_VARIABLES;
    out->n_answers = N_VARIABLES;
    snprintf(out->question, sizeof out->question,
             "\nQuestion: Find all variables that are assigned the value %llu in the text above.", value);
    snprintf(out->lead, sizeof out->lead,
             " Answer: According to the chain(s) of variable assignment in the text above, %d variables are "
             "assigned the value %llu, they are:",
             (int)N_VARIABLES, value);
}

static void write_passkey(kvl_retrieval_words *out, const kvl_retrieval_point *point) {
    snprintf(out->answers[0], sizeof out->answers[0], "%llu",
             (unsigned long long)draw(point, DRAW_VALUE, 0, 90000) + 10000);
    out->n_answers = 1;
    snprintf(
        out->head, sizeof out->head,
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I "
        "will quiz you about the important information there.\n");
    snprintf(out->needles[0].text, sizeof out->needles[0].text,
             " The pass key is %s. Remember it. %s is the pass key.", out->answers[0], out->answers[0]);
    out->needles[0].place = point->depth * (FULL_PLACE / 100);
    out->n_needles = 1;
    snprintf(out->question, sizeof out->question, "\nWhat is the pass key?");
    snprintf(out->lead, sizeof out->lead, " The pass key is");
}

static const kvl_retrieval_task tasks[] = {
    {"needle", "one sentence with a number in a text",
     "RULER (Hsieh et al. 2024, arXiv 2404.06654), NIAH single; here in books of data/", KVL_FILLER_BOOKS,
     write_needle},
    {"multikey", "four such sentences with keys of their own, one is asked for; the others at drawn depths",
     "RULER, NIAH multi-key 1; here in books of data/", KVL_FILLER_BOOKS, write_multikey},
    {"tracking", "a chain of five assignments, the first at the depth, the others spread behind it",
     "RULER, variable tracking with one chain of four hops; without its worked example", KVL_FILLER_NOISE,
     write_tracking},
    {"passkey", "a pass key of five digits in repeated sentences",
     "Mohtashami & Jaggi 2023, arXiv 2305.16300, appendix; keys there from 1 to 50000", KVL_FILLER_NOISE,
     write_passkey},
};
enum { n_tasks = sizeof tasks / sizeof tasks[0] };

const kvl_retrieval_task *kvl_retrieval_tasks(size_t *n) {
    *n = n_tasks;
    return tasks;
}

kvl_status kvl_retrieval_find(const kvl_retrieval_task **out, const char *name, kvl_err *err) {
    const char *names[n_tasks];
    for (size_t i = 0; i < n_tasks; i++) {
        names[i] = tasks[i].name;
        if (strcmp(name, names[i]) == 0) {
            *out = &tasks[i];
            return KVL_OK;
        }
    }
    const char *nearest = kvl_nearest_name(name, strlen(name), names, n_tasks);
    return kvl_fail(err, KVL_E_USAGE, "unknown task '%.80s'%s%s", name,
                    nearest != NULL ? "; did you mean " : "; expected needle, multikey, tracking or passkey",
                    nearest != NULL ? nearest : "");
}

/* ---- formats ---- */

static const char im_start[] = "<|im_start|>";
static const char im_end[] = "<|im_end|>";

const char *kvl_chat_name(kvl_chat chat) { return chat == KVL_CHAT_CHATML ? "chatml" : "none"; }

kvl_chat kvl_chat_of(const kvl_tokenizer *tokenizer) {
    return kvl_tokenizer_find(tokenizer, im_start) >= 0 && kvl_tokenizer_find(tokenizer, im_end) >= 0
               ? KVL_CHAT_CHATML
               : KVL_CHAT_NONE;
}

/* ---- filler ---- */

const char *kvl_filler_name(kvl_filler filler) { return filler == KVL_FILLER_BOOKS ? "books" : "noise"; }

struct kvl_prompt_maker {
    kvl_tokenizer *tokenizer;
    kvl_chat chat;
    bool adds_blank; /* the tokenizer puts a blank in front of every text by itself */
    kvl_ids filler;  /* all sentences, one behind another */
    size_t *starts;  /* [n_sentences + 1] */
    size_t n_sentences;
};

/* Appends a piece of a prompt. Nothing in it becomes a control token. */
static kvl_status put(const kvl_prompt_maker *m, kvl_ids *ids, const char *text, kvl_err *err) {
    text += m->adds_blank && text[0] == ' ';
    return kvl_tokenizer_encode(m->tokenizer, ids, text, strlen(text), false, err);
}

static kvl_status add_sentence(kvl_prompt_maker *m, const char *text, kvl_err *err) {
    size_t *starts = kvl_resize(m->starts, m->n_sentences + 1, m->n_sentences + 2, sizeof *starts);
    if (starts == NULL) {
        return kvl_fail_nomem(err, "filler");
    }
    m->starts = starts;
    KVL_TRY(put(m, &m->filler, text, err));
    starts[++m->n_sentences] = m->filler.n;
    return KVL_OK;
}

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
static bool is_closing(char c) { return c == '"' || c == '\'' || c == ')' || c == ']' || c == '_'; }

/* Sentences end with . ! or ? before white space, which becomes one blank. */
static kvl_status add_text(kvl_prompt_maker *m, const char *text, kvl_err *err) {
    kvl_str sentence = {0};
    kvl_status status = KVL_OK;
    bool is_end = false;
    for (const char *c = text; status == KVL_OK; c++) {
        if (*c != '\0' && !is_blank(*c)) {
            const bool is_first = c == text || is_blank(c[-1]);
            kvl_str_append(&sentence, " ", is_first ? 1 : 0);
            kvl_str_append(&sentence, c, 1);
            is_end = strchr(".!?", *c) != NULL || (is_end && is_closing(*c));
        } else if (sentence.len != 0 && (is_end || *c == '\0')) {
            status = kvl_str_check(&sentence, "filler", err);
            status = status == KVL_OK ? add_sentence(m, kvl_str_text(&sentence), err) : status;
            kvl_str_clear(&sentence);
            is_end = false;
        }
        if (*c == '\0') {
            break;
        }
    }
    kvl_str_free(&sentence);
    return status;
}

static kvl_status add_books(kvl_prompt_maker *m, const char *data_dir, kvl_err *err) {
    enum { max_bytes = 64 << 20 };
    char path[4096];
    json_t *books = NULL;
    size_t i;
    json_t *book;
    snprintf(path, sizeof path, "%s/pg19_10samples.json", data_dir);
    KVL_TRY(kvl_json_load(&books, path, max_bytes, err));
    kvl_status status = KVL_OK;
    json_array_foreach(books, i, book) {
        const json_t *text = json_is_object(book) ? json_object_get(book, "text") : book;
        if (status == KVL_OK && json_is_string(text)) {
            status = add_text(m, json_string_value(text), err);
        }
    }
    json_decref(books);
    if (status == KVL_OK && m->n_sentences == 0) {
        status = kvl_fail(err, KVL_E_TEXT, "%s: expected books, found none", path);
    }
    return status;
}

/* Whether the tokenizer makes the same of a word and of a word behind a blank. */
static kvl_status find_blank(kvl_prompt_maker *m, kvl_err *err) {
    kvl_ids ids = {0};
    kvl_status status = kvl_tokenizer_encode(m->tokenizer, &ids, "a", 1, false, err);
    if (status == KVL_OK) {
        m->adds_blank = ids.n == 1 && ids.ids[0] == kvl_tokenizer_find(m->tokenizer, "\xe2\x96\x81"
                                                                                     "a");
    }
    kvl_ids_free(&ids);
    return status;
}

static kvl_status fill_maker(kvl_prompt_maker *m, kvl_filler filler, const char *data_dir, kvl_err *err) {
    static const char noise[] =
        "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
    if (m->chat == KVL_CHAT_CHATML && kvl_chat_of(m->tokenizer) != KVL_CHAT_CHATML) {
        return kvl_fail(err, KVL_E_USAGE,
                        "chat format chatml: expected a tokenizer with %s and %s, found not both", im_start,
                        im_end);
    }
    m->starts = kvl_calloc(1, sizeof *m->starts);
    if (m->starts == NULL) {
        return kvl_fail_nomem(err, "filler");
    }
    KVL_TRY(find_blank(m, err));
    KVL_TRY(filler == KVL_FILLER_BOOKS ? add_books(m, data_dir, err) : add_text(m, noise, err));
    /* a context is filled by going round until it is full */
    return m->filler.n != 0 ? KVL_OK
                            : kvl_fail(err, KVL_E_TEXT,
                                       "filler %s: expected a text of tokens, found none of the tokenizer's",
                                       kvl_filler_name(filler));
}

kvl_status kvl_prompt_maker_create(kvl_prompt_maker **out, kvl_tokenizer *tokenizer, kvl_chat chat,
                                   kvl_filler filler, const char *data_dir, kvl_err *err) {
    *out = kvl_calloc(1, sizeof **out);
    if (*out == NULL) {
        return kvl_fail_nomem(err, "prompts");
    }
    (*out)->tokenizer = tokenizer;
    (*out)->chat = chat;
    const kvl_status status = fill_maker(*out, filler, data_dir, err);
    if (status != KVL_OK) {
        kvl_prompt_maker_destroy(*out);
        *out = NULL;
    }
    return status;
}

void kvl_prompt_maker_destroy(kvl_prompt_maker *m) {
    if (m != NULL) {
        kvl_ids_free(&m->filler);
        kvl_free(m->starts);
        kvl_free(m);
    }
}

/* ---- prompts ---- */

/* A prompt in the making. */
typedef struct layout {
    const kvl_prompt_maker *maker;
    kvl_retrieval_prompt *out;
    kvl_ids head, tail, needles[KVL_RETRIEVAL_MAX_NEEDLES];
    bool is_laid[KVL_RETRIEVAL_MAX_NEEDLES];
} layout;

static void free_layout(layout *l) {
    kvl_ids_free(&l->head);
    kvl_ids_free(&l->tail);
    for (size_t i = 0; i < KVL_RETRIEVAL_MAX_NEEDLES; i++) {
        kvl_ids_free(&l->needles[i]);
    }
}

static kvl_status put_ids(kvl_ids *to, const int32_t *ids, size_t n, kvl_err *err) {
    for (size_t i = 0; i < n; i++) {
        KVL_TRY(kvl_ids_push(to, ids[i], err));
    }
    return KVL_OK;
}

/* Tokens before the filler and from the question on. */
static kvl_status write_frame(layout *l, kvl_err *err) {
    const kvl_prompt_maker *m = l->maker;
    const kvl_retrieval_words *w = &l->out->words;
    const int32_t bos = kvl_tokenizer_bos(m->tokenizer);
    if (bos >= 0) {
        KVL_TRY(kvl_ids_push(&l->head, bos, err));
    }
    if (m->chat == KVL_CHAT_NONE) {
        KVL_TRY(put(m, &l->head, w->head, err));
        KVL_TRY(put(m, &l->tail, w->question, err));
        return put(m, &l->tail, w->lead, err);
    }
    const int32_t start = kvl_tokenizer_find(m->tokenizer, im_start);
    KVL_TRY(kvl_ids_push(&l->head, start, err));
    KVL_TRY(put(m, &l->head, "user\n", err));
    KVL_TRY(put(m, &l->head, w->head, err));
    KVL_TRY(put(m, &l->tail, w->question, err));
    KVL_TRY(kvl_ids_push(&l->tail, kvl_tokenizer_find(m->tokenizer, im_end), err));
    KVL_TRY(put(m, &l->tail, "\n", err));
    KVL_TRY(kvl_ids_push(&l->tail, start, err));
    KVL_TRY(put(m, &l->tail, "assistant\n", err));
    return put(m, &l->tail, w->lead + 1, err); /* a turn does not begin with a blank */
}

/* Lays those other needles whose places (in tokens of filler) are below `end` and that are not laid yet. */
static kvl_status lay_needles(layout *l, size_t end, kvl_err *err) {
    kvl_retrieval_prompt *p = l->out;
    for (size_t i = 0; i < p->words.n_needles; i++) {
        const size_t at = (p->n_filler * p->words.needles[i].place + FULL_PLACE / 2) / FULL_PLACE;
        if (l->is_laid[i] || i == 0 || at >= end) {
            continue;
        }
        l->is_laid[i] = true;
        KVL_TRY(put_ids(&p->ids, l->needles[i].ids, l->needles[i].n, err));
    }
    return KVL_OK;
}

static size_t sentence_tokens(const kvl_prompt_maker *m, size_t i) { return m->starts[i + 1] - m->starts[i]; }

/* The filler before the first needle, which stands before sentence `next`. */
static kvl_status lay_before(layout *l, size_t next, kvl_err *err) {
    const kvl_prompt_maker *m = l->maker;
    kvl_retrieval_prompt *p = l->out;
    size_t i = next;
    size_t n = 0; /* tokens of the sentences i to next - 1, going round */
    while (n < p->n_filler_before) {
        i = (i + m->n_sentences - 1) % m->n_sentences;
        n += sentence_tokens(m, i);
    }
    size_t n_cut = n - p->n_filler_before;
    for (size_t at = 0; at < p->n_filler_before; i = (i + 1) % m->n_sentences) {
        const size_t n_laid = sentence_tokens(m, i) - n_cut;
        if (n_cut == 0) {
            KVL_TRY(lay_needles(l, at + n_laid, err));
        }
        KVL_TRY(put_ids(&p->ids, m->filler.ids + m->starts[i] + n_cut, n_laid, err));
        at += n_laid;
        n_cut = 0;
    }
    return lay_needles(l, p->n_filler_before, err);
}

static kvl_status lay_behind(layout *l, size_t next, kvl_err *err) {
    const kvl_prompt_maker *m = l->maker;
    kvl_retrieval_prompt *p = l->out;
    size_t i = next;
    for (size_t at = p->n_filler_before; at < p->n_filler; i = (i + 1) % m->n_sentences) {
        const size_t n_laid = kvl_min_size(sentence_tokens(m, i), p->n_filler - at);
        const bool is_last = at + n_laid == p->n_filler;
        KVL_TRY(lay_needles(l, is_last ? SIZE_MAX : at + n_laid, err));
        KVL_TRY(put_ids(&p->ids, m->filler.ids + m->starts[i], n_laid, err));
        at += n_laid;
    }
    return lay_needles(l, SIZE_MAX, err);
}

static kvl_status lay(layout *l, kvl_err *err) {
    kvl_retrieval_prompt *p = l->out;
    const kvl_retrieval_point *point = &p->point;
    size_t n_fixed = 0;
    KVL_TRY(write_frame(l, err));
    for (size_t i = 0; i < p->words.n_needles; i++) {
        KVL_TRY(put(l->maker, &l->needles[i], p->words.needles[i].text, err));
        n_fixed += l->needles[i].n;
    }
    n_fixed += l->head.n + l->tail.n;
    if (point->n_tokens <= n_fixed) {
        return kvl_fail(
            err, KVL_E_USAGE,
            "task %s: length: expected at least %zu tokens for its words and one of filler, found "
            "%zu",
            point->task->name, n_fixed + 1, point->n_tokens);
    }
    p->n_filler = point->n_tokens - n_fixed;
    p->n_filler_before = (p->n_filler * point->depth + 50) / 100;
    const size_t next = (size_t)draw(point, DRAW_FILLER, 0, l->maker->n_sentences);
    KVL_TRY(put_ids(&p->ids, l->head.ids, l->head.n, err));
    KVL_TRY(lay_before(l, next, err));
    p->needle_at = p->ids.n;
    KVL_TRY(put_ids(&p->ids, l->needles[0].ids, l->needles[0].n, err));
    p->needle_end = p->ids.n;
    KVL_TRY(lay_behind(l, next, err));
    p->n_context = p->ids.n;
    KVL_TRY(put_ids(&p->ids, l->tail.ids, l->tail.n, err));
    p->hash = kvl_hash_bytes(KVL_HASH_INIT, p->ids.ids, p->ids.n * sizeof *p->ids.ids);
    return KVL_OK;
}

kvl_status kvl_retrieval_make(kvl_retrieval_prompt *out, const kvl_prompt_maker *maker,
                              const kvl_retrieval_point *point, kvl_err *err) {
    *out = (kvl_retrieval_prompt){.point = *point};
    layout l = {.maker = maker, .out = out};
    point->task->write(&out->words, point);
    const kvl_status status = lay(&l, err);
    free_layout(&l);
    if (status != KVL_OK) {
        kvl_retrieval_prompt_free(out);
    }
    return status;
}

void kvl_retrieval_prompt_free(kvl_retrieval_prompt *p) { kvl_ids_free(&p->ids); }
