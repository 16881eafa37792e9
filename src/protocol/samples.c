/* Reading and cutting the sample texts. Both sources are read at most once per call. */
#include "protocol/samples.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    wiki_row_chars = 1024,
    wiki_min_chars = 50,
    article_min_chars = 2000,
    book_chars = 2048,
    max_text_bytes = 64 << 20,
};

typedef struct sources {
    const char *data_dir;
    char *wiki; /* wiki.test.raw, loaded on first use */
    size_t n_wiki;
    json_t *books; /* pg19_10samples.json, loaded on first use */
} sources;

size_t kvl_utf8_prefix(const char *text, size_t n_bytes, size_t n_chars) {
    size_t i = 0;
    while (i < n_bytes && n_chars != 0) {
        i++;
        while (i < n_bytes && ((unsigned char)text[i] & 0xc0) == 0x80) {
            i++;
        }
        n_chars--;
    }
    return i;
}

static size_t count_chars(const char *text, size_t n_bytes) {
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return n;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static size_t stripped_chars(const char *text, size_t n_bytes) {
    while (n_bytes != 0 && is_blank(text[0])) {
        text++;
        n_bytes--;
    }
    while (n_bytes != 0 && is_blank(text[n_bytes - 1])) {
        n_bytes--;
    }
    return count_chars(text, n_bytes);
}

static kvl_status load_wiki(sources *src, kvl_err *err) {
    char path[4096];
    if (src->wiki != NULL) {
        return KVL_OK;
    }
    snprintf(path, sizeof path, "%s/wiki.test.raw", src->data_dir);
    return kvl_file_load(&src->wiki, &src->n_wiki, path, max_text_bytes, err);
}

static kvl_status load_books(sources *src, kvl_err *err) {
    char path[4096];
    if (src->books != NULL) {
        return KVL_OK;
    }
    snprintf(path, sizeof path, "%s/pg19_10samples.json", src->data_dir);
    return kvl_json_load(&src->books, path, max_text_bytes, err);
}

/* Next row of the text with its line end; false at the end. */
static bool next_row(const char **at, const char *end, const char **row, size_t *n_row) {
    if (*at >= end) {
        return false;
    }
    const char *line_end = memchr(*at, '\n', (size_t)(end - *at));
    *row = *at;
    *n_row = line_end != NULL ? (size_t)(line_end - *at) + 1 : (size_t)(end - *at);
    *at += *n_row;
    return true;
}

static kvl_status finish(kvl_sample *s, const char *text, size_t n_bytes, kvl_tokenizer *tokenizer,
                         kvl_err *err) {
    s->hash = kvl_hash_bytes(KVL_HASH_INIT, text, n_bytes);
    s->n_chars = count_chars(text, n_bytes);
    s->n_bytes = n_bytes;
    s->has_bos = kvl_tokenizer_bos(tokenizer) >= 0;
    if (s->has_bos) {
        KVL_TRY(kvl_ids_push(&s->ids, kvl_tokenizer_bos(tokenizer), err));
    }
    KVL_TRY(kvl_tokenizer_encode(tokenizer, &s->ids, text, n_bytes, false, err));
    if (s->ids.n < 2) {
        return kvl_fail(err, KVL_E_TEXT, "text %s: expected at least 2 tokens to score one, found %zu",
                        s->name, s->ids.n);
    }
    return KVL_OK;
}

static kvl_status wiki_row(kvl_sample *s, sources *src, size_t k, kvl_tokenizer *tokenizer, kvl_err *err) {
    KVL_TRY(load_wiki(src, err));
    const char *at = src->wiki;
    const char *row = NULL;
    size_t n_row = 0;
    while (next_row(&at, src->wiki + src->n_wiki, &row, &n_row)) {
        if (stripped_chars(row, n_row) >= wiki_min_chars && --k == 0) {
            return finish(s, row, kvl_utf8_prefix(row, n_row, wiki_row_chars), tokenizer, err);
        }
    }
    return kvl_fail(err, KVL_E_USAGE, "sample %s: the text has fewer rows", s->name);
}

/* Whether a row is the title of an article, ` = Title = `; those of sections have more signs. */
static bool is_title(const char *row, size_t n_row) {
    while (n_row != 0 && is_blank(row[n_row - 1])) {
        n_row--;
    }
    return n_row >= 7 && memcmp(row, " = ", 3) == 0 && row[3] != '=' &&
           memcmp(row + n_row - 2, " =", 2) == 0 && row[n_row - 3] != '=';
}

static kvl_status article(kvl_sample *s, sources *src, size_t k, kvl_tokenizer *tokenizer, kvl_err *err) {
    KVL_TRY(load_wiki(src, err));
    const char *const end = src->wiki + src->n_wiki;
    const char *at = src->wiki;
    const char *row = NULL;
    const char *first = NULL; /* title of the article that is being read */
    size_t n_row = 0;
    size_t n_seen = 0;
    for (bool is_open = true; is_open;) {
        is_open = next_row(&at, end, &row, &n_row);
        const char *const stop = is_open ? row : end;
        if (is_open && !is_title(row, n_row)) {
            continue;
        }
        if (first != NULL && count_chars(first, (size_t)(stop - first)) >= article_min_chars &&
            ++n_seen == k) {
            return finish(s, first, (size_t)(stop - first), tokenizer, err);
        }
        first = row;
    }
    return kvl_fail(err, KVL_E_USAGE, "sample %s: expected an article from 1 to %zu", s->name, n_seen);
}

static kvl_status book(kvl_sample *s, sources *src, size_t k, size_t n_chars, kvl_tokenizer *tokenizer,
                       kvl_err *err) {
    KVL_TRY(load_books(src, err));
    const json_t *entry = json_array_get(src->books, k - 1);
    const json_t *text = json_is_object(entry) ? json_object_get(entry, "text") : entry;
    if (!json_is_string(text)) {
        return kvl_fail(err, KVL_E_USAGE, "sample %s: expected a book from 1 to %zu", s->name,
                        json_array_size(src->books));
    }
    const char *bytes = json_string_value(text);
    return finish(s, bytes, kvl_utf8_prefix(bytes, json_string_length(text), n_chars), tokenizer, err);
}

/* The chunk of the paper's script: BOS + rows, each followed by EOS. Rows after the first 16384 tokens are
 * left. */
static kvl_status wiki_chunk(kvl_sample *s, sources *src, kvl_tokenizer *tokenizer, kvl_err *err) {
    enum { enough_tokens = 16384 };
    KVL_TRY(load_wiki(src, err));
    int32_t bos = kvl_tokenizer_bos(tokenizer);
    int32_t eos = kvl_tokenizer_eos(tokenizer);
    if (eos < 0) {
        return kvl_fail(err, KVL_E_UNSUPPORTED,
                        "sample %s: expected a tokenizer with a token that ends a text, found none", s->name);
    }
    s->has_bos = true;
    KVL_TRY(kvl_ids_push(&s->ids, bos >= 0 ? bos : eos, err));
    const char *at = src->wiki;
    const char *row = NULL;
    size_t n_row = 0;
    while (s->ids.n < enough_tokens && next_row(&at, src->wiki + src->n_wiki, &row, &n_row)) {
        if (stripped_chars(row, n_row) != 0) {
            KVL_TRY(kvl_tokenizer_encode(tokenizer, &s->ids, row, n_row, false, err));
            KVL_TRY(kvl_ids_push(&s->ids, eos, err));
        }
    }
    s->hash = kvl_hash_bytes(KVL_HASH_INIT, src->wiki, (size_t)(at - src->wiki));
    s->n_chars = count_chars(src->wiki, (size_t)(at - src->wiki));
    return KVL_OK;
}

/* Reads a name such as W12; false where it is none. */
static bool read_name(char *kind, size_t *k, const char *name, size_t n_name) {
    enum { most_digits = 6 };
    *k = 0;
    *kind = n_name != 0 ? name[0] : '\0';
    for (size_t i = 1; i < n_name; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
        *k = 10 * *k + (size_t)(name[i] - '0');
    }
    return *k >= 1 && n_name <= 1 + most_digits && strchr("WPABC", *kind) != NULL;
}

static kvl_status load_one(kvl_sample *s, sources *src, char kind, size_t k, kvl_tokenizer *tokenizer,
                           kvl_err *err) {
    switch (kind) {
    case 'W': return wiki_row(s, src, k, tokenizer, err);
    case 'P': return book(s, src, k, book_chars, tokenizer, err);
    case 'B': return book(s, src, k, SIZE_MAX, tokenizer, err);
    case 'A': return article(s, src, k, tokenizer, err);
    default: break;
    }
    if (k != 1) {
        return kvl_fail(err, KVL_E_USAGE, "sample %s: expected C1, the only one of its kind", s->name);
    }
    return wiki_chunk(s, src, tokenizer, err);
}

static kvl_status add_item(kvl_samples *s, const char *name, size_t n_name, kvl_sample **item, kvl_err *err) {
    kvl_sample *items = kvl_resize(s->items, s->n, s->n + 1, sizeof *items);
    if (items == NULL) {
        return kvl_fail_nomem(err, "samples");
    }
    s->items = items;
    *item = &items[s->n];
    (*item)->text = s->n++;
    snprintf((*item)->name, sizeof(*item)->name, "%.*s", (int)kvl_min_size(n_name, 200), name);
    return KVL_OK;
}

/* A text that stands there twice would count as two that do not depend on each other. */
static kvl_status expect_new(const kvl_samples *s, kvl_err *err) {
    const kvl_sample *last = &s->items[s->n - 1];
    for (size_t i = 0; i + 1 < s->n; i++) {
        const kvl_sample *other = &s->items[i];
        if (other->hash == last->hash && other->n_chars == last->n_chars && other->ids.n == last->ids.n) {
            return kvl_fail(err, KVL_E_USAGE,
                            "samples: expected each text once, found %s with the text of %s", last->name,
                            other->name);
        }
    }
    return KVL_OK;
}

/* Loads the samples of one word: a name, or a range of names. */
static kvl_status load_word(kvl_samples *out, sources *src, const char *word, size_t n_word,
                            kvl_tokenizer *tokenizer, kvl_err *err) {
    const char *dash = memchr(word, '-', n_word);
    const size_t n_first = dash != NULL ? (size_t)(dash - word) : n_word;
    char kind = 0;
    size_t first = 0;
    if (!read_name(&kind, &first, word, n_first)) {
        return kvl_fail(err, KVL_E_USAGE,
                        "unknown sample '%.*s'; expected W1.., P1.., B1.., A1.., C1, or a range as A1-A60",
                        (int)kvl_min_size(n_word, 80), word);
    }
    char last_kind = kind;
    size_t last = first;
    if (dash != NULL && (!read_name(&last_kind, &last, dash + 1, n_word - n_first - 1) || last_kind != kind ||
                         last < first)) {
        return kvl_fail(err, KVL_E_USAGE,
                        "samples '%.*s': expected a range of one kind that goes up, as A1-A60",
                        (int)kvl_min_size(n_word, 80), word);
    }
    for (size_t k = first; k <= last; k++) {
        char name[16];
        kvl_sample *item = NULL;
        snprintf(name, sizeof name, "%c%zu", kind, k);
        KVL_TRY(add_item(out, name, strlen(name), &item, err));
        KVL_TRY(load_one(item, src, kind, k, tokenizer, err));
        KVL_TRY(expect_new(out, err));
    }
    return KVL_OK;
}

kvl_status kvl_samples_load(kvl_samples *out, const char *names, const char *data_dir,
                            kvl_tokenizer *tokenizer, kvl_err *err) {
    sources src = {.data_dir = data_dir};
    kvl_status status = KVL_OK;
    *out = (kvl_samples){0};
    for (const char *at = names; *at != '\0' && status == KVL_OK;) {
        const size_t len = strcspn(at, " ,");
        if (len != 0) {
            status = load_word(out, &src, at, len, tokenizer, err);
        }
        at += len + (at[len] != '\0');
    }
    if (status == KVL_OK && out->n == 0) {
        status = kvl_fail(err, KVL_E_USAGE, "samples: expected at least one name, found '%.80s'", names);
    }
    kvl_free(src.wiki);
    json_decref(src.books);
    if (status != KVL_OK) {
        kvl_samples_free(out);
    }
    return status;
}

kvl_status kvl_samples_add_file(kvl_samples *s, const char *path, kvl_tokenizer *tokenizer, kvl_err *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    kvl_sample *item = NULL;
    KVL_TRY(kvl_file_load(&text, &n_bytes, path, max_text_bytes, err));
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    kvl_status status = KVL_OK;
    if (stripped_chars(text, n_bytes) == 0) {
        status = kvl_fail(err, KVL_E_TEXT, "%s: expected a text, found nothing but white space (%zu bytes)",
                          path, n_bytes);
        goto done;
    }
    KVL_GO(add_item(s, base, strlen(base), &item, err));
    KVL_GO(finish(item, text, n_bytes, tokenizer, err));
    status = expect_new(s, err);
done:
    kvl_free(text);
    return status;
}

void kvl_samples_free(kvl_samples *s) {
    for (size_t i = 0; i < s->n; i++) {
        kvl_ids_free(&s->items[i].ids);
    }
    kvl_free(s->items);
    *s = (kvl_samples){0};
}
