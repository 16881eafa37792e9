/* From a store to a page in a file. */
#include "cli/report_arg.h"

#include "base/os.h"

#include <stdio.h>
#include <string.h>

kvl_status kvl_report_arg_take(kvl_report_arg *a, int id, const char *value, bool *is_taken, kvl_err *err) {
    static const char *const langs[KVL_N_LANGS] = {"en", "zh"};
    size_t lang = 0;
    *is_taken = id == KVL_ARG_REPORT || id == KVL_ARG_LANG;
    if (id == KVL_ARG_REPORT) {
        a->path = value;
    } else if (id == KVL_ARG_LANG) {
        KVL_TRY(kvl_args_choice(&lang, "--lang", value, langs, KVL_N_LANGS, err));
        a->lang = (kvl_lang)lang;
    }
    return KVL_OK;
}

kvl_status kvl_report_arg_check(const kvl_report_arg *a, const kvl_store_arg *store, const char *out_dir,
                                kvl_err *err) {
    kvl_str path = {0};
    kvl_status status = a->path != NULL ? kvl_store_arg_path(&path, store, out_dir, err) : KVL_OK;
    if (status == KVL_OK && a->path != NULL && path.len == 0) {
        status = kvl_fail(err, KVL_E_USAGE, "--report: expected a store that it is made from, found none");
    }
    kvl_str_free(&path);
    return status;
}

kvl_status kvl_report_read(kvl_content *out, const kvl_store_arg *store, const char *out_dir,
                           const char *model, const char *group, kvl_err *err) {
    kvl_store *opened = NULL;
    *out = (kvl_content){0};
    KVL_TRY(kvl_store_arg_open(&opened, store, out_dir, KVL_STORE_READ, err));
    const kvl_status status = kvl_content_gather(out, opened, model, group, err);
    kvl_store_close(opened);
    return status;
}

kvl_status kvl_report_save(const char *path, const kvl_str *text, kvl_err *err) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    if (slash != NULL && slash != path) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        KVL_TRY(kvl_dir_create(folder, err));
    }
    return kvl_file_save(path, kvl_str_text(text), text->len, err);
}

kvl_status kvl_report_arg_write(const kvl_report_arg *a, const kvl_store_arg *store, const char *out_dir,
                                const char *model, const char *group, kvl_err *err) {
    kvl_content content = {0};
    kvl_str page = {0};
    kvl_status status = KVL_OK;
    if (a->path == NULL) {
        return KVL_OK;
    }
    KVL_GO(kvl_report_read(&content, store, out_dir, model, group, err));
    KVL_GO(kvl_page_write(&page, &content, a->lang, err));
    KVL_GO(kvl_report_save(a->path, &page, err));
    fprintf(stderr, "report: %s\n", a->path);
done:
    kvl_str_free(&page);
    kvl_content_free(&content);
    return status;
}
