/* The bootstrap for one long text: its clusters are contiguous blocks of tokens. */
#ifndef KVL_STATS_BLOCKS_H
#define KVL_STATS_BLOCKS_H

#include "stats/resample.h"

enum { KVL_BLOCK_TOKENS = 512, KVL_FEW_BLOCKS = 30 };

typedef struct kvl_block_estimates {
    size_t block_tokens; /* least tokens of a block of `blocks` */
    kvl_estimate blocks;
    double smallest;    /* kvl_smallest_detectable over these blocks */
    kvl_estimate half;  /* the same with blocks of half the length, */
    kvl_estimate twice; /* and of twice: intervals that grow with the length say that blocks are too short */
} kvl_block_estimates;

/* Mean of x over all tokens with kvl_bootstrap_mean's interval over blocks: the text is cut into as many
 * contiguous blocks of at least block_tokens as it holds (at least one), of equal length but for one token.
 * blocks.is_few with fewer than KVL_FEW_BLOCKS.
 *   x            [n_tokens] in the order of the text, n_tokens >= 1
 *   block_tokens >= KVL_BLOCK_TOKENS
 *   n_resamples, seed  as for kvl_resamples_create
 * Errors: E_USAGE, E_NOMEM. */
kvl_status kvl_bootstrap_blocks(kvl_block_estimates *out, const double *x, size_t n_tokens,
                                size_t block_tokens, size_t n_resamples, uint64_t seed,
                                kvl_err *err) KVL_MUST_USE;

#endif
