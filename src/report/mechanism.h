/* What charts and sections of the mechanism share: arms by their policy, and figures of a portrait. */
#ifndef KVL_REPORT_MECHANISM_H
#define KVL_REPORT_MECHANISM_H

#include "report/content.h"
#include "report/words.h"

/* ---- arms of the step-by-step study ---- */

/* The arm of a press at a keep ratio with the study's cap and skipped layer, and `tail` behind that ("" or
 * ":recent=4"); NULL: it was not run, or its lags are not known. */
const kvl_arm_line *kvli_arm_find(const kvl_cause_content *c, const char *press, double keep_ratio,
                                  const char *tail);
/* Whether it is an arm of this press that differs from others by its keep ratio alone. */
bool kvli_arm_is_plain(const kvl_arm_line *arm, const char *press);

/* ---- a portrait ---- */

/* Heads that policies act on, and the first of them. */
size_t kvli_portrait_heads(const kvl_portrait *p);
size_t kvli_portrait_first(const kvl_portrait *p);
/* Of the heads that policies act on, how many hold a token when n_seen tokens were seen. */
size_t kvli_held(const kvl_portrait *p, const kvl_portrait_policy *policy, size_t token, size_t n_seen);
/* Tokens, from the first on, whose received attention says something: those with enough queries behind them;
 * at most 4096. */
size_t kvli_judged_tokens(const kvl_portrait *p);
/* Spearman's correlation of key norm and attention received in a head, over those tokens; NAN: too few, or
 * no memory. */
double kvli_head_correlation(const kvl_portrait *p, size_t layer, size_t head);
/* The same, mean over the heads of a layer that have one. */
double kvli_layer_correlation(const kvl_portrait *p, size_t layer);
/* Share of the attention between tokens (their own aside) that goes to keys when they are no longer there, if
 * each key gets what it got on average in the full cache. */
double kvli_hidden_attention(const kvl_portrait *p, const kvl_portrait_policy *policy, size_t layer,
                             size_t head);
/* Means over the heads that policies act on: attention received by a token, and the rank of its key's norm
 * (0 the lowest of its head, 1 the highest) [n_tokens each]. E_NOMEM. */
kvl_status kvli_token_means(double *attention, double *rank, const kvl_portrait *p,
                            kvl_err *err) KVL_MUST_USE;
/* NLL of a policy above the full cache's, nats per token scored under both; NAN: none. */
double kvli_portrait_excess(const kvl_portrait *p, const kvl_portrait_policy *policy);
/* The policies of the largest and the smallest of these, the full cache aside; NULL: there is none. */
const kvl_portrait_policy *kvli_portrait_worst(const kvl_portrait *p);
const kvl_portrait_policy *kvli_portrait_best(const kvl_portrait *p);

/* Appends a token's text so that it can be seen: spaces as ␣ where there is nothing else, ends of lines as ↵,
 * tabs as →. */
void kvli_put_piece(kvl_str *out, const char *piece);
/* Appends a policy as a short name, without the schedule that all share: "knorm 0.95", "knorm 0.95, newest 4
 * kept"; what else it says as it is. */
void kvli_put_policy(kvl_str *out, const char *policy, kvl_lang lang);

/* Appends "59.3 % [57.5, 61.2]" of a share; without an interval the share alone. */
void kvli_put_share(kvl_str *out, const kvl_estimate *e);

#endif
