/* Reports of what a store holds: the option --report of commands that measure, and the writing itself. */
#ifndef KVL_CLI_REPORT_ARG_H
#define KVL_CLI_REPORT_ARG_H

#include "cli/store_arg.h"
#include "report/page.h"

enum { KVL_ARG_REPORT = 1720, KVL_ARG_LANG };

/* Lines for a command's option table. */
#define KVL_LANG_ARGS                                                                                        \
    { KVL_ARG_LANG, 0, "lang", "en|zh", "language of the report (en)" }
#define KVL_REPORT_ARGS                                                                                      \
    {KVL_ARG_REPORT, 0, "report", "FILE", "write the page of all that is stored of this model (HTML)"},      \
        KVL_LANG_ARGS

typedef struct kvl_report_arg {
    const char *path; /* borrowed; NULL: no report is wanted */
    kvl_lang lang;
} kvl_report_arg;

/* Takes an option of these lists; *is_taken false when the id is none of them. */
kvl_status kvl_report_arg_take(kvl_report_arg *a, int id, const char *value, bool *is_taken,
                               kvl_err *err) KVL_MUST_USE;
/* Refuses a report without a store, before anything is computed: E_USAGE. */
kvl_status kvl_report_arg_check(const kvl_report_arg *a, const kvl_store_arg *store, const char *out_dir,
                                kvl_err *err) KVL_MUST_USE;
/* Where a report is wanted, writes the page of a group (NULL: the newest of the model), and says so on
 * stderr. To be called when everything is stored. */
kvl_status kvl_report_arg_write(const kvl_report_arg *a, const kvl_store_arg *store, const char *out_dir,
                                const char *model, const char *group, kvl_err *err) KVL_MUST_USE;

/* Reads all that a store holds, as kvl_content_gather. *out is the caller's (kvl_content_free), also
 * after an error. */
kvl_status kvl_report_read(kvl_content *out, const kvl_store_arg *store, const char *out_dir,
                           const char *model, const char *group, kvl_err *err) KVL_MUST_USE;
/* Saves text to a path, whose folder is made if it is not there. */
kvl_status kvl_report_save(const char *path, const kvl_str *text, kvl_err *err) KVL_MUST_USE;

#endif
