/* Settings of `kvlab recommend` in words: what its printers share. A trial that is NULL is the full cache as
 * it is stored now. */
#ifndef KVL_CLI_RECOMMEND_WORDS_H
#define KVL_CLI_RECOMMEND_WORDS_H

#include "cli/recommend_report.h"

/* The trial of a finalist. */
static inline const kvl_trial *kvl_recommend_trial(const kvl_recommend_info *info, const kvl_finalist *f) {
    return f == &info->result->full ? NULL : &info->result->trials[f->trial];
}

/* "knorm:keep=0.5:cadence=once" */
void kvl_recommend_put_policy(kvl_str *out, const kvl_trial *trial);
/* "q8_0/q8_0" */
void kvl_recommend_put_types(kvl_str *out, const kvl_recommend_info *info, const kvl_trial *trial);
/* Options of the model and of how it is run, each with a space in front. */
void kvl_recommend_put_model(kvl_str *out, const kvl_recommend_options *o);
/* -P and the types of the cache, where they are not the program's own. Not of the full cache. */
void kvl_recommend_put_setting(kvl_str *out, const kvl_recommend_info *info, const kvl_trial *trial);
/* "quality, TTFT" */
void kvl_recommend_put_lacks(kvl_str *out, unsigned lacks);

#endif
