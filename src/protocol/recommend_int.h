/* What search and confirmation share. */
#ifndef KVL_PROTOCOL_RECOMMEND_INT_H
#define KVL_PROTOCOL_RECOMMEND_INT_H

#include "protocol/recommend.h"
#include "protocol/sweep.h"

typedef struct kvli_search {
    const kvl_recommend_config *config;
    kvl_recommend *out;
    kvl_model views[KVL_MAX_FORMS];     /* the model with caches of each form; weights are borrowed */
    kvl_engine *engines[KVL_MAX_FORMS]; /* made when first used; NULL before */
    double *full;                       /* [tune windows] NLL sums of the full cache in form 0 */
    size_t stage;
} kvli_search;

/* The engine of a form. */
kvl_status kvli_form_engine(kvl_engine **out, kvli_search *s, size_t form, kvl_err *err) KVL_MUST_USE;
/* Runs policies in one form over windows.
 *   nll    [n + 1, windows] sums; the full cache in that form first
 *   bytes  [n + 1] at the end of a window, at most */
kvl_status kvli_run_trials(kvli_search *s, size_t form, const kvl_policy *policies, size_t n,
                           const kvl_samples *windows, double *nll, uint64_t *bytes,
                           kvl_err *err) KVL_MUST_USE;
/* Finalists of out->trials, on windows of other texts, and their time; the answer. */
kvl_status kvli_confirm(kvli_search *s, kvl_err *err) KVL_MUST_USE;
kvl_status kvli_measure_time(kvli_search *s, kvl_err *err) KVL_MUST_USE;
void kvli_conclude(kvli_search *s);

#endif
