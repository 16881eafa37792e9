/* kvlab fetch: a model from the hub into the hub's cache. Its path is the one line on stdout. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/hub_env.h"
#include "cli/model_arg.h"
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

enum { OPT_DRY_RUN, OPT_QUIET, OPT_HELP };

static const kvl_arg table[] = {
    KVL_HF_FILE_ARGS,
    {OPT_DRY_RUN, 0, "dry-run", NULL, "list files and sizes; download nothing"},
    KVL_QUIET_ARGS(OPT_QUIET),
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef struct session {
    kvl_model_arg model;
    bool is_dry_run;
    bool is_quiet;
    bool is_help;
    bool has_bar;
    kvl_str list; /* of a dry run */
    uint64_t n_listed_bytes;
    uint64_t n_listed_here;
    kvl_progress progress;
    bool is_under_way; /* bytes of a file were seen */
} session;

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    session *s = ud;
    if (kvl_model_arg_take(&s->model, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_DRY_RUN: s->is_dry_run = true; return KVL_OK;
    case OPT_QUIET: s->is_quiet = true; return KVL_OK;
    case OPT_HELP: s->is_help = true; return KVL_OK;
    default: break;
    }
    if (s->model.hf_repo != NULL) {
        return kvl_fail(err, KVL_E_USAGE, "fetch: expected one model, found '%.80s' too", value);
    }
    s->model.hf_repo = value;
    return KVL_OK;
}

static void show_bar(session *s, const kvl_hub_event *event) {
    char count[64];
    if (!s->has_bar || event->n_bytes == 0) {
        return;
    }
    if (!s->is_under_way) {
        kvl_progress_begin(&s->progress, false);
        s->progress.first_done = event->n_done;
        s->is_under_way = true;
    }
    snprintf(count, sizeof count, "%.1f of %.1f MB", (double)event->n_done * 1e-6,
             (double)event->n_bytes * 1e-6);
    kvl_progress_show(&s->progress, &(kvl_progress_state){.what = event->text,
                                                          .count = count,
                                                          .done = event->n_done,
                                                          .total = event->n_bytes,
                                                          .unit = "MB",
                                                          .per_unit = 1e6});
}

static void show_file(session *s, const kvl_hub_event *event) {
    s->is_under_way = false;
    s->n_listed_bytes += event->n_bytes;
    s->n_listed_here += event->n_done;
    if (s->is_dry_run) {
        kvl_str_printf(&s->list, "%15llu bytes  %15llu in the cache  %s\n", (ull)event->n_bytes,
                       (ull)event->n_done, event->text);
    } else {
        kvl_progress_line(&s->progress, "%s: %llu bytes%s", event->text, (ull)event->n_bytes,
                          event->n_done == event->n_bytes ? ", already in the cache" : "");
    }
}

static bool on_event(void *ud, const kvl_hub_event *event) {
    session *s = ud;
    switch (event->kind) {
    case KVL_HUB_PROGRESS: show_bar(s, event); break;
    case KVL_HUB_FILE: show_file(s, event); break;
    case KVL_HUB_NOTE: kvl_progress_line(&s->progress, "%s", event->text); break;
    }
    return !kvl_is_stopping();
}

static kvl_status fetch(session *s, kvl_str *out, kvl_err *err) {
    kvl_hub_env env = kvl_hub_env_read();
    kvl_hub hub = {0};
    kvl_hub_name name;
    kvl_hub_fetch_options options = {
        .file = s->model.hf_file, .is_dry_run = s->is_dry_run, .event = on_event, .event_ud = s};
    KVL_TRY(kvl_hub_name_parse(&name, s->model.hf_repo, err));
    kvl_status status = KVL_OK;
    KVL_GO(kvl_hub_open(&hub, &env, err));
    if (s->model.is_offline || kvl_hub_env_is_offline()) {
        status = kvl_hub_find(out, &hub, &name, s->model.hf_file, err);
    } else {
        kvl_progress_begin(&s->progress, s->is_quiet);
        s->has_bar = !s->is_quiet && !kvl_hub_env_is_quiet();
        status = kvl_hub_fetch(out, &hub, &name, &options, err);
        kvl_progress_end(&s->progress);
    }
    if (status == KVL_OK && s->is_dry_run && s->list.len != 0) {
        kvl_str_printf(&s->list, "%15llu bytes  %15llu in the cache  in all\n", (ull)s->n_listed_bytes,
                       (ull)s->n_listed_here);
        kvl_str_clear(out);
        kvl_str_puts(out, kvl_str_text(&s->list));
    } else if (status == KVL_OK) {
        kvl_str_puts(out, "\n");
    }
    KVL_GO(status);
    status = kvl_str_check(out, "output", err);
done:
    kvl_hub_close(&hub);
    return status;
}

kvl_status kvl_cmd_fetch(int argc, char **argv, kvl_err *err) {
    session s = {0};
    kvl_str out = {0};
    kvl_status status = KVL_OK;
    KVL_TRY(kvl_args_parse(table, n_table, argc, argv, 2, set_option, &s, err));
    if (s.is_help) {
        kvl_str_puts(&out,
                     "usage: kvlab fetch ORG/NAME[:QUANT][@REVISION] [OPTIONS]\n\n"
                     "Downloads a model into the hub cache and prints its path. See docs/models.md.\n\n");
        kvl_args_help(table, n_table, &out);
    } else if (s.model.hf_repo == NULL) {
        status = kvl_fail(err, KVL_E_USAGE, "fetch: expected ORG/NAME[:QUANT][@REVISION]");
    } else {
        status = fetch(&s, &out, err);
    }
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_free(&out);
    kvl_str_free(&s.list);
    return status;
}
