/* Blocks of one long text as clusters. */
#include "stats/blocks.h"

#include "base/alloc.h"
#include "stats/inference.h"

/* smallest: what these blocks could show, or NULL. */
static kvl_status estimate(kvl_estimate *out, double *smallest, const double *x, size_t n_tokens,
                           size_t block_tokens, size_t n_resamples, uint64_t seed, kvl_err *err) {
    const size_t n_blocks = kvl_max_size(n_tokens / block_tokens, 1);
    kvl_status status = KVL_OK;
    kvl_resamples *r = NULL;
    double *sums = kvl_calloc(n_blocks, sizeof *sums);
    size_t *counts = kvl_calloc(n_blocks, sizeof *counts);
    if (sums == NULL || counts == NULL) {
        status = kvl_fail_nomem(err, "blocks of a text");
        goto done;
    }
    KVL_GO(kvl_resamples_create(&r, n_blocks, n_resamples, seed, err));
    for (size_t b = 0, at = 0; b < n_blocks; b++) {
        counts[b] = n_tokens / n_blocks + (b < n_tokens % n_blocks ? 1 : 0);
        for (size_t end = at + counts[b]; at < end; at++) {
            sums[b] += x[at];
        }
    }
    *out = kvl_bootstrap_mean(r, sums, counts);
    if (smallest != NULL) {
        *smallest = kvl_smallest_detectable(sums, counts, n_blocks);
    }
done:
    kvl_free(sums);
    kvl_free(counts);
    kvl_resamples_destroy(r);
    return status;
}

kvl_status kvl_bootstrap_blocks(kvl_block_estimates *out, const double *x, size_t n_tokens,
                                size_t block_tokens, size_t n_resamples, uint64_t seed, kvl_err *err) {
    if (n_tokens < 1 || block_tokens < KVL_BLOCK_TOKENS) {
        return kvl_fail(err, KVL_E_USAGE,
                        "blocks of a text: expected a token or more in blocks of at least %d, found %zu in "
                        "blocks of %zu",
                        KVL_BLOCK_TOKENS, n_tokens, block_tokens);
    }
    *out = (kvl_block_estimates){.block_tokens = block_tokens};
    KVL_TRY(estimate(&out->half, NULL, x, n_tokens, block_tokens / 2, n_resamples, seed, err));
    KVL_TRY(estimate(&out->blocks, &out->smallest, x, n_tokens, block_tokens, n_resamples, seed, err));
    KVL_TRY(estimate(&out->twice, NULL, x, n_tokens, 2 * block_tokens, n_resamples, seed, err));
    out->blocks.is_few = out->blocks.n_clusters < KVL_FEW_BLOCKS;
    return KVL_OK;
}
