/* Most likely segmentation of a word (Viterbi over a unigram model).
 *
 * Source: Kudo 2018 (arXiv 1804.10959); the score of unknown characters (10 below the least) and the order of
 * ties (the piece that starts further left stays) are those of the `tokenizers` library.
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "base/hash.h"

static const double unknown_penalty = 10;

typedef struct node {
    double score;  /* of the best segmentation up to here */
    size_t from;   /* where its last piece starts */
    int32_t id;    /* -1: an unknown character */
    bool is_there; /* reached */
} node;

static void offer(node *to, double score, size_t from, int32_t id) {
    if (!to->is_there || score > to->score) {
        *to = (node){score, from, id, true};
    }
}

/* Offers every piece that starts at `at`, and the unknown character unless a piece is just that character. */
static void extend(const kvl_tokenizer *t, node *nodes, const char *word, size_t n, size_t at) {
    size_t n_bad = 0;
    size_t n_char = kvli_utf8_char((const unsigned char *)word + at, n - at, &n_bad);
    n_char = n_char != 0 ? n_char : 1;
    bool has_char = false;
    for (size_t len = n_char; at + len <= n && len <= t->max_bytes;) {
        int32_t id = kvli_find_bytes(t, word + at, len);
        if (id >= 0) {
            offer(&nodes[at + len], nodes[at].score + t->scores[id], at, id);
            has_char = has_char || len == n_char;
        }
        if (at + len == n) {
            break;
        }
        size_t next = kvli_utf8_char((const unsigned char *)word + at + len, n - at - len, &n_bad);
        len += next != 0 ? next : 1;
    }
    if (!has_char) {
        offer(&nodes[at + n_char], nodes[at].score + t->min_score - unknown_penalty, at, -1);
    }
}

kvl_status kvli_encode_unigram(kvl_tokenizer *t, kvl_ids *out, const char *word, size_t n, kvl_err *err) {
    kvl_status status = KVL_OK;
    size_t *ends = kvl_calloc(n + 1, sizeof *ends);
    node *nodes = kvl_calloc(n + 1, sizeof *nodes);
    if (nodes == NULL || ends == NULL) {
        KVL_GO(kvl_fail_nomem(err, "segmentation"));
    }
    nodes[0].is_there = true;
    for (size_t at = 0; at < n; at++) {
        if (nodes[at].is_there) {
            extend(t, nodes, word, n, at);
        }
    }
    size_t n_pieces = 0;
    for (size_t at = n; at != 0; at = nodes[at].from) {
        ends[n_pieces++] = at;
    }
    bool was_unknown = false;
    while (n_pieces != 0) {
        const node *piece = &nodes[ends[--n_pieces]];
        if (piece->id >= 0) {
            was_unknown = false;
            KVL_GO(kvl_ids_push(out, piece->id, err));
        } else {
            KVL_GO(kvli_encode_unknown(t, out, word + piece->from, ends[n_pieces] - piece->from, &was_unknown,
                                       err));
        }
    }
done:
    kvl_free(nodes);
    kvl_free(ends);
    return status;
}
