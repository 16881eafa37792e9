/* What `kvlab recommend` found, as text and as a picture's points. */
#ifndef KVL_CLI_RECOMMEND_REPORT_H
#define KVL_CLI_RECOMMEND_REPORT_H

#include "cli/recommend_options.h"
#include "protocol/recommend.h"
#include "report/report.h"

typedef struct kvl_recommend_info {
    const kvl_recommend_options *options;
    const kvl_recommend_config *config;
    const kvl_recommend *result;
    const kvl_model *model;
    const char *texts;   /* what was chosen and tested on, in a line or two */
    const char *command; /* that makes it again */
} kvl_recommend_info;

/* Appends it in the format of the options. */
kvl_status kvl_recommend_write(kvl_str *out, const kvl_recommend_info *info, kvl_err *err) KVL_MUST_USE;
/* JSON lines: one for each finalist and one for the full cache. */
kvl_status kvl_recommend_write_lines(kvl_str *out, const kvl_recommend_info *info, kvl_err *err) KVL_MUST_USE;
/* The same as CSV. */
void kvl_recommend_write_csv(kvl_str *out, const kvl_recommend_info *info);
/* The picture. */
kvl_status kvl_recommend_chart(const kvl_recommend_info *info, const char *path, kvl_err *err) KVL_MUST_USE;

#endif
