/* Byte-pair merges of one word: a heap of candidate pairs over a linked list, O(n log n) for a word of n
 * bytes.
 *
 * Source: Sennrich et al. 2016 (arXiv 1508.07909); the order of ties (lower rank, then the pair further left)
 * is that of the `tokenizers` library.
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"

typedef struct kvl_symbol {
    int32_t id;             /* -1: merged into its left neighbour */
    int32_t previous, next; /* indices, -1 at the ends */
} kvl_symbol;

typedef struct kvl_merge {
    int64_t rank;
    int32_t left;              /* index of the left symbol */
    int32_t left_id, right_id; /* ids when queued; a candidate whose symbols changed since is stale */
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

static void queue_pair(kvl_tokenizer *t, int32_t left) {
    const kvl_symbol *symbols = t->scratch.symbols;
    int32_t right = left >= 0 ? symbols[left].next : -1;
    if (right < 0) {
        return;
    }
    uint64_t key = (uint64_t)(uint32_t)symbols[left].id << 32 | (uint32_t)symbols[right].id;
    int64_t rank = kvli_map_get(&t->merges, key);
    if (rank >= 0) {
        push(&t->scratch, (kvl_merge){rank, left, symbols[left].id, symbols[right].id});
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

static void apply(kvl_tokenizer *t, const kvl_merge *m) {
    kvl_symbol *symbols = t->scratch.symbols;
    int32_t right = symbols[m->left].next;
    bool is_stale = symbols[m->left].id != m->left_id || right < 0 || symbols[right].id != m->right_id;
    if (is_stale) {
        return;
    }
    symbols[m->left].id = t->merge_ids[m->rank];
    symbols[m->left].next = symbols[right].next;
    symbols[right].id = -1;
    if (symbols[right].next >= 0) {
        symbols[symbols[right].next].previous = m->left;
    }
    queue_pair(t, symbols[m->left].previous);
    queue_pair(t, m->left);
}

kvl_status kvli_encode_word(kvl_tokenizer *t, kvl_ids *out, const char *word, size_t n, kvl_err *err) {
    if (n == 1 || t->ignore_merges) {
        int32_t id = n == 1 ? t->byte_ids[(unsigned char)word[0]] : kvli_find_bytes(t, word, n);
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
    for (size_t i = 0; i < n; i++) {
        symbols[i] = (kvl_symbol){t->byte_ids[(unsigned char)word[i]], (int32_t)i - 1,
                                  i + 1 < n ? (int32_t)i + 1 : -1};
    }
    for (size_t i = 0; i + 1 < n; i++) {
        queue_pair(t, (int32_t)i);
    }
    while (t->scratch.n_heap != 0) {
        kvl_merge m = pop(&t->scratch);
        apply(t, &m);
    }
    for (int32_t i = 0; i >= 0; i = symbols[i].next) {
        KVL_TRY(kvl_ids_push(out, symbols[i].id, err));
    }
    return KVL_OK;
}
