/* H12: keys of low norm receive much attention: the premise of KnormPress. */
#include "explain/arms.h"

/* Per text: the mean over layers [first, end) of one figure. */
static kvl_sums over_layers(const kvl_evidence *ev, const double *figure, size_t first, size_t end) {
    const kvl_norm_facts *f = &ev->norms;
    kvl_sums s = {.study = KVL_STUDY_STEP, .n = f->n_texts};
    s.is_missing = f->n_texts == 0 || first >= end;
    for (size_t t = 0; t < s.n && !s.is_missing; t++) {
        for (size_t l = first; l < end; l++) {
            s.num[t] += figure[t * f->n_layers + l];
            s.den[t]++;
        }
    }
    return s;
}

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const kvl_norm_facts *f = &ev->norms;
    const kvl_sums correlation = over_layers(ev, f->correlation, f->n_skipped, f->n_layers);
    const kvl_sums early = over_layers(ev, f->correlation, 0, f->n_skipped);
    const kvl_sums norm = over_layers(ev, f->lost_norm, f->n_skipped, f->n_layers);
    const kvl_sums best = over_layers(ev, f->lost_best, f->n_skipped, f->n_layers);
    const kvl_sums random = over_layers(ev, f->lost_random, f->n_skipped, f->n_layers);
    kvl_find(out, kvl_sums_mean(ev, &correlation, 0), "rank correlation", KVL_BELOW, 0, true,
             "key norm with mean attention received, compressed layers");
    kvl_find(out, kvl_sums_mean(ev, &early, 0), "rank correlation", KVL_NO_SIDE, 0, false,
             "the same in the layers left alone");
    kvl_find(out, kvl_sums_difference(ev, &norm, &random, 1, 0), "share of attention", KVL_BELOW, 0, true,
             "attention lost by evicting the half of highest norms, above a random half");
    kvl_find(out, kvl_sums_difference(ev, &norm, &best, 1, 0), "share of attention", KVL_NO_SIDE, 0, false,
             "the same above the half that received least (paper: attention loss)");
}

extern const kvl_hypothesis kvl_hypothesis_norm_attention;
const kvl_hypothesis kvl_hypothesis_norm_attention = {
    .id = "H12",
    .name = "low norm, high attention",
    .claim = "keys of low norm receive much attention (the premise of KnormPress)",
    .prediction = "norm and attention received are negatively correlated, and evicting high norms loses less "
                  "attention than evicting at random",
    .experiment = "attention received by every key of uncompressed texts, against its norm, layer by layer",
    .wants_norms = true,
    .judge = judge,
};
