/* Keeping evidence. */
#include "explain/evidence.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t cap;
} studies[KVL_N_STUDIES] = {
    [KVL_STUDY_STEP] = {"step by step, cap 32", 32},
    [KVL_STUDY_ONCE] = {"single-shot", 0},
    [KVL_STUDY_CAP_16] = {"step by step, cap 16", 16},
    [KVL_STUDY_CAP_64] = {"step by step, cap 64", 64},
    [KVL_STUDY_CAP_128] = {"step by step, cap 128", 128},
    [KVL_STUDY_CAP_256] = {"step by step, cap 256", 256},
    [KVL_STUDY_CAP_512] = {"step by step, cap 512", 512},
    [KVL_STUDY_CAP_1024] = {"step by step, cap 1024", 1024},
};

const char *kvl_study_name(kvl_study_id id) { return studies[id].name; }

size_t kvl_study_cap(kvl_study_id id) { return studies[id].cap; }

kvl_status kvl_evidence_begin(kvl_evidence *ev, kvl_study_id study, size_t n_texts, size_t first_affected,
                              size_t n_resamples, uint64_t seed, kvl_err *err) {
    kvl_study_facts *facts = &ev->studies[study];
    if (n_texts > KVL_MAX_TEXTS) {
        return kvl_fail(err, KVL_E_LIMIT, "texts: expected at most %d, found %zu", KVL_MAX_TEXTS, n_texts);
    }
    *facts = (kvl_study_facts){.n_texts = n_texts, .first_affected = first_affected};
    return kvl_resamples_create(&facts->resamples, n_texts, n_resamples, seed, err);
}

kvl_status kvl_evidence_add(kvl_arm **out, kvl_evidence *ev, kvl_study_id study, const char *policy,
                            kvl_err *err) {
    kvl_arm *arms = kvl_resize(ev->arms, ev->n_arms, ev->n_arms + 1, sizeof *arms);
    if (arms == NULL) {
        return kvl_fail_nomem(err, "evidence");
    }
    ev->arms = arms;
    *out = &arms[ev->n_arms];
    **out = (kvl_arm){.study = study, .policy = policy};
    (*out)->texts = kvl_calloc(ev->studies[study].n_texts, sizeof *(*out)->texts);
    if ((*out)->texts == NULL) {
        return kvl_fail_nomem(err, "evidence");
    }
    ev->n_arms++;
    return KVL_OK;
}

kvl_status kvl_account_create(kvl_account *out, size_t n, size_t first, kvl_err *err) {
    *out = (kvl_account){.n = n, .first = first};
    out->steps = kvl_calloc(n, sizeof *out->steps);
    if (out->steps == NULL) {
        return kvl_fail_nomem(err, "evidence");
    }
    for (size_t i = 0; i < n; i++) {
        out->steps[i].evicted_rank = (float)NAN;
        out->steps[i].phase = UINT32_MAX;
    }
    return KVL_OK;
}

const kvl_arm *kvl_evidence_find(const kvl_evidence *ev, kvl_study_id study, const char *policy) {
    for (size_t i = 0; i < ev->n_arms; i++) {
        if (ev->arms[i].study == study && strcmp(ev->arms[i].policy, policy) == 0) {
            return &ev->arms[i];
        }
    }
    return NULL;
}

void kvl_evidence_free(kvl_evidence *ev) {
    for (size_t i = 0; i < ev->n_arms; i++) {
        for (size_t t = 0; t < ev->studies[ev->arms[i].study].n_texts; t++) {
            kvl_free(ev->arms[i].texts[t].steps);
        }
        kvl_free(ev->arms[i].texts);
    }
    kvl_free(ev->arms);
    for (size_t s = 0; s < KVL_N_STUDIES; s++) {
        kvl_resamples_destroy(ev->studies[s].resamples);
    }
    kvl_free(ev->norms.correlation);
    kvl_free(ev->norms.lost_norm);
    kvl_free(ev->norms.lost_best);
    kvl_free(ev->norms.lost_random);
    kvl_resamples_destroy(ev->times.resamples);
    kvl_free(ev->times.full_ns);
    kvl_free(ev->times.compressed_ns);
    *ev = (kvl_evidence){0};
}
