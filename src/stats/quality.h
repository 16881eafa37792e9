/* What a list of scored tokens says about the predictions of a compressed cache, beside those of the full
 * one.
 */
#ifndef KVL_STATS_QUALITY_H
#define KVL_STATS_QUALITY_H

#include "base/status.h"

/* Tokens of one cell, side by side, all [n]; not owned. */
typedef struct kvl_token_list {
    const double *nll;       /* nats of the target */
    const double *nll_full;  /* the same with the full cache */
    const float *entropy;    /* nats, of the prediction */
    const float *p_top;      /* probability of its most likely token */
    const float *kl;         /* nats, KL(full || this) */
    const bool *is_hit;      /* the most likely token is the target */
    const bool *is_same_top; /* the most likely token is that of the full cache */
    size_t n;
} kvl_token_list;

enum { KVL_N_TAILS = 5, KVL_N_CHANGES = 11, KVL_CALIBRATION_BINS = 15 };
extern const double kvl_tail_shares[KVL_N_TAILS];     /* 0.5, 0.9, 0.99, 0.999, 1: median to maximum */
extern const double kvl_change_shares[KVL_N_CHANGES]; /* 0.999, 0.99, 0.95, ... 0.001, as llama.cpp prints */

typedef struct kvl_quality {
    size_t n;
    double nll;                      /* mean, nats */
    double nll_full;                 /* mean, nats */
    double delta_tails[KVL_N_TAILS]; /* of |nll - nll_full| */
    double kl;                       /* mean, nats */
    double kl_tails[KVL_N_TAILS];
    double same_top; /* share of tokens */
    /* change of the target's probability, exp(-nll) - exp(-nll_full), in [-1, 1]: the measures of llama.cpp's
     * --kl-divergence, which prints them in per cent */
    double change;                       /* mean */
    double change_rms;                   /* root of the mean square */
    double change_points[KVL_N_CHANGES]; /* quantiles at kvl_change_shares */
    double entropy;                      /* mean, nats */
    double nll_minus_entropy;            /* mean: above 0 the model is surer than right */
    double p_top;                        /* mean */
    double accuracy;                     /* share of hits */
    double calibration_error; /* expected calibration error: mean over tokens of |accuracy - mean p_top| of
                                 the token's bin, KVL_CALIBRATION_BINS equal bins of p_top (Guo et al. 2017,
                                 On Calibration of Modern Neural Networks, eq. 5; bins closed above) */
    double nll_hit;           /* mean NLL of the tokens that are hits, NAN without any */
    double nll_miss;          /* and of the others */
} kvl_quality;

/* Summarises n >= 1 tokens; quantiles are kvl_quantile's. nll is needed, any other array may be NULL: what
 * needs it is NAN. Errors: E_USAGE for n = 0, E_CHECK for a number that is not finite, E_NOMEM. */
kvl_status kvl_summarise_quality(kvl_quality *out, const kvl_token_list *tokens, kvl_err *err) KVL_MUST_USE;

/* sum_nll (nats) over a text of n_bytes, in bits per byte. */
double kvl_bits_per_byte(double sum_nll, size_t n_bytes);

#endif
