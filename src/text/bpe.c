/* Byte-pair merges of one word: a heap of candidate pairs over a linked list, O(n log n) for a word of n
 * bytes.
 *
 * Source: Sennrich et al. 2016 (arXiv 1508.07909); the order of ties (lower rank, then the pair further left)
 * is that of the `tokenizers` library.
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"

#include <string.h>

typedef struct kvl_symbol {
    int32_t id;             /* -1: not a token (SPM only) */
    int32_t previous, next; /* indices, -1 at the ends */
    uint32_t start, n;      /* bytes of the word; n = 0: merged into its left neighbour */
} kvl_symbol;

typedef struct kvl_merge {
    int64_t rank;
    int32_t left;             /* index of the left symbol */
    uint32_t n_left, n_right; /* bytes when queued; a candidate whose symbols changed since is stale */
    int32_t id;               /* of the merged token */
} kvl_merge;

static bool is_before(const kvl_merge *a, const kvl_merge *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void push(kvl_bpe_scratch *s, kvl_merge m) {
    size_t i = s->n_heap++;
    while (i != 0 && is_before(&m, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = m;
}

static kvl_merge pop(kvl_bpe_scratch *s) {
    kvl_merge top = s->heap[0];
    kvl_merge last = s->heap[--s->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n_heap) {
            break;
        }
        child += child + 1 < s->n_heap && is_before(&s->heap[child + 1], &s->heap[child]);
        if (!is_before(&s->heap[child], &last)) {
            break;
        }
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

/* Ascending ranks for descending scores. */
static int64_t rank_of_score(double score) {
    int64_t bits = 0;
    score += 0.0; /* no negative zero */
    memcpy(&bits, &score, sizeof bits);
    return bits < 0 ? bits & INT64_MAX : ~bits; /* negative numbers grow with their bits */
}

static void queue_pair(kvl_tokenizer *t, const char *word, int32_t left) {
    const kvl_symbol *symbols = t->scratch.symbols;
    int32_t right = left >= 0 ? symbols[left].next : -1;
    if (right < 0) {
        return;
    }
    const kvl_symbol *a = &symbols[left];
    const kvl_symbol *b = &symbols[right];
    kvl_merge merge = {.left = left, .n_left = a->n, .n_right = b->n, .id = -1};
    if (t->kind == KVL_TOK_SPM) {
        merge.id = a->n + b->n <= t->max_bytes ? kvli_find_bytes(t, word + a->start, a->n + b->n) : -1;
        merge.rank = merge.id >= 0 ? rank_of_score(t->scores[merge.id]) : 0;
    } else {
        merge.rank = kvli_map_get(&t->merges, (uint64_t)(uint32_t)a->id << 32 | (uint32_t)b->id);
        merge.id = merge.rank >= 0 ? t->merge_ids[merge.rank] : -1;
    }
    if (merge.id >= 0) {
        push(&t->scratch, merge);
    }
}

static kvl_status reserve(kvl_bpe_scratch *s, size_t n, kvl_err *err) {
    if (n <= s->cap) {
        return KVL_OK;
    }
    size_t cap = kvl_max_size(256, 2 * n);
    /* each merge queues at most two new pairs and removes one symbol: 3 n candidates in all */
    kvl_symbol *symbols = kvl_calloc(cap, sizeof *symbols);
    kvl_merge *heap = kvl_calloc(3 * cap, sizeof *heap);
    if (symbols == NULL || heap == NULL) {
        kvl_free(symbols);
        kvl_free(heap);
        return kvl_fail_nomem(err, "tokenizer");
    }
    kvl_free(s->symbols);
    kvl_free(s->heap);
    *s = (kvl_bpe_scratch){.symbols = symbols, .heap = heap, .cap = cap, .heap_cap = 3 * cap};
    return KVL_OK;
}

static void apply(kvl_tokenizer *t, const char *word, const kvl_merge *m) {
    kvl_symbol *symbols = t->scratch.symbols;
    kvl_symbol *left = &symbols[m->left];
    bool is_stale = left->n != m->n_left || left->next < 0 || symbols[left->next].n != m->n_right;
    if (is_stale) {
        return;
    }
    kvl_symbol *right = &symbols[left->next];
    left->id = m->id;
    left->n += right->n;
    left->next = right->next;
    right->n = 0;
    if (right->next >= 0) {
        symbols[right->next].previous = m->left;
    }
    queue_pair(t, word, left->previous);
    queue_pair(t, word, m->left);
}

/* Symbols of a word: its bytes, or its characters (bytes of a character that is not in the vocabulary, when
 * merges are listed: as the reference, which falls back before it merges). */
static size_t set_symbols(kvl_tokenizer *t, const char *word, size_t n) {
    kvl_symbol *symbols = t->scratch.symbols;
    size_t count = 0;
    for (size_t at = 0; at < n;) {
        size_t n_bad = 0;
        size_t len =
            t->kind == KVL_TOK_BYTES ? 1 : kvli_utf8_char((const unsigned char *)word + at, n - at, &n_bad);
        len = len != 0 ? len : 1;
        int32_t id = t->kind == KVL_TOK_BYTES ? t->byte_ids[(unsigned char)word[at]]
                                              : kvli_find_bytes(t, word + at, len);
        bool is_cut = id < 0 && t->kind == KVL_TOK_CHARS && t->has_byte_fallback;
        bool is_dropped = id < 0 && t->joins_over_unknown && t->unk_id < 0;
        for (size_t end = at + len; at < end; at += is_cut ? 1 : len) {
            symbols[count] = (kvl_symbol){.id = is_cut ? t->byte_ids[(unsigned char)word[at]] : id,
                                          .previous = (int32_t)count - 1,
                                          .next = (int32_t)count + 1,
                                          .start = (uint32_t)at,
                                          .n = is_cut ? 1 : (uint32_t)len};
            count += !is_dropped;
        }
    }
    if (count != 0) {
        symbols[count - 1].next = -1;
    }
    return count;
}

kvl_status kvli_encode_unknown(const kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n,
                               bool *was_unknown, kvl_err *err) {
    if (t->has_byte_fallback) {
        for (size_t i = 0; i < n; i++) {
            KVL_TRY(kvl_ids_push(out, t->byte_ids[(unsigned char)text[i]], err));
        }
        return KVL_OK;
    }
    if (t->unk_id >= 0 && !(t->is_unk_fused && *was_unknown)) {
        KVL_TRY(kvl_ids_push(out, t->unk_id, err));
    }
    *was_unknown = true;
    return KVL_OK;
}

kvl_status kvli_encode_bpe(kvl_tokenizer *t, kvl_ids *out, const char *word, size_t n, kvl_err *err) {
    if (n == 0) {
        return KVL_OK;
    }
    if (n <= t->max_bytes && (t->ignore_merges || (n == 1 && t->kind == KVL_TOK_BYTES))) {
        int32_t id = n == 1 && t->kind == KVL_TOK_BYTES ? t->byte_ids[(unsigned char)word[0]]
                                                        : kvli_find_bytes(t, word, n);
        if (id >= 0) {
            return kvl_ids_push(out, id, err);
        }
    }
    if (n > INT32_MAX / 8) {
        return kvl_fail(err, KVL_E_LIMIT, "tokenizer: expected words below 256 MiB, found %zu bytes", n);
    }
    KVL_TRY(reserve(&t->scratch, n, err));
    kvl_symbol *symbols = t->scratch.symbols;
    t->scratch.n_heap = 0;
    size_t count = set_symbols(t, word, n);
    for (size_t i = 0; i + 1 < count; i++) {
        queue_pair(t, word, (int32_t)i);
    }
    while (t->scratch.n_heap != 0) {
        kvl_merge m = pop(&t->scratch);
        apply(t, word, &m);
    }
    bool was_unknown = false;
    for (int32_t i = count != 0 ? 0 : -1; i >= 0; i = symbols[i].next) {
        if (symbols[i].id >= 0) {
            was_unknown = false;
            KVL_TRY(kvl_ids_push(out, symbols[i].id, err));
        } else {
            KVL_TRY(kvli_encode_unknown(t, out, word + symbols[i].start, symbols[i].n, &was_unknown, err));
        }
    }
    return KVL_OK;
}
