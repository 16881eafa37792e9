/* Cells between a sweep and its store. */
#include "cli/sweep_store.h"

#include "base/alloc.h"
#include "base/machine.h"
#include "base/os.h"
#include "base/sha256.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

kvl_status kvl_sweep_store_check(const kvl_sweep_options *o, kvl_err *err) {
    kvl_str path = {0};
    kvl_status status = o->wants_portrait ? kvl_store_arg_path(&path, &o->store, o->out_dir, err) : KVL_OK;
    if (status == KVL_OK && o->wants_portrait && (path.len == 0 || o->is_timing)) {
        status = kvl_fail(err, KVL_E_USAGE, "--portrait: expected a store that it goes to, and no --timing");
    }
    kvl_str_free(&path);
    return status;
}

kvl_status kvl_sweep_store_open(kvl_sweep_store *s, kvl_sweep_run_info *info, const kvl_store_arg *arg,
                                bool is_recalling, kvl_err *err) {
    const char *out_dir = info->options->out_dir;
    *s = (kvl_sweep_store){.info = info, .is_recalling = is_recalling};
    KVL_TRY(kvl_store_arg_path(&s->path, arg, out_dir, err));
    if (info->options->is_dry_run) { /* looks into one that is there, and leaves it as it is */
        KVL_TRY(s->path.len != 0 && kvl_file_exists(kvl_str_text(&s->path))
                    ? kvl_store_arg_open(&s->store, arg, out_dir, KVL_STORE_READ, err)
                    : KVL_OK);
    } else {
        KVL_TRY(kvl_store_arg_open(&s->store, arg, out_dir, KVL_STORE_WRITE, err));
    }
    return s->store != NULL ? kvl_sweep_identity_make(&s->identity, info, err) : KVL_OK;
}

void kvl_sweep_store_close(kvl_sweep_store *s) {
    kvl_store_close(s->store);
    kvl_sweep_identity_free(&s->identity);
    kvl_str_free(&s->path);
    kvl_free(s->is_finished);
    kvl_free(s->is_kept);
    *s = (kvl_sweep_store){0};
}

static size_t cell_index(const kvl_sweep_store *s, const kvl_cell *c) {
    return c->policy * s->info->sweep.n_samples + c->sample;
}

/* The sweep's cells are there from its first question on. */
static kvl_status alloc_states(kvl_sweep_store *s, kvl_err *err) {
    const size_t n = s->info->sweep.n_policies * s->info->sweep.n_samples;
    if (s->is_kept == NULL) {
        s->is_kept = kvl_calloc(n, sizeof *s->is_kept);
        s->is_finished = kvl_calloc(n, sizeof *s->is_finished);
    }
    return s->is_kept != NULL && s->is_finished != NULL ? KVL_OK : kvl_fail_nomem(err, "sweep");
}

static kvl_record_role role_of(const kvl_cell *c, bool is_one_pass) {
    return is_one_pass ? KVL_ROLE_ONE_PASS : c->policy == 0 ? KVL_ROLE_BASELINE : KVL_ROLE_POLICY;
}

/* ---- from the store ---- */

/* What no column holds. */
static kvl_status restore_kept(kvl_cell *c, const kvl_record *r, size_t n_layers, kvl_err *err) {
    json_t *facts = NULL;
    KVL_TRY(kvl_json_parse(&facts, r->facts, strlen(r->facts), "facts of a cell", err));
    const json_t *list = json_object_get(facts, "kept_per_layer");
    kvl_status status = KVL_OK;
    if (json_array_size(list) != n_layers) {
        status = kvl_fail(err, KVL_E_STORE, "cell %.12s: kept_per_layer: expected %zu numbers, found %zu",
                          r->key, n_layers, json_array_size(list));
    }
    for (size_t l = 0; l < n_layers && status == KVL_OK; l++) {
        c->kept_per_layer[l] = json_number_value(json_array_get(list, l));
    }
    json_decref(facts);
    return status;
}

static kvl_status restore(kvl_cell *c, kvl_record *r, size_t n_layers, bool is_one_pass, kvl_err *err) {
    const size_t n_scored = c->n_tokens - 1 - c->first_scored; /* the last token is only predicted */
    if (r->n_scored != n_scored || r->first_scored != c->first_scored || r->n_tokens != c->n_tokens) {
        return kvl_fail(err, KVL_E_STORE, "cell %.12s: expected NLLs of %zu of %zu tokens, found %zu of %zu",
                        r->key, n_scored, c->n_tokens, r->n_scored, r->n_tokens);
    }
    KVL_TRY(is_one_pass ? KVL_OK : restore_kept(c, r, n_layers, err));
    kvl_free(c->nll);
    c->nll = r->nll;
    r->nll = NULL;
    c->n_scored = r->n_scored;
    c->nll_sum = r->nll_sum;
    c->n_events = r->n_events;
    c->first_event = r->first_event;
    c->last_event = r->last_event;
    c->kept_min = r->kept_min;
    c->kept_max = r->kept_max;
    c->kept_mean = r->kept_mean;
    c->kv_bytes_live = r->kv_bytes_live;
    c->wall_ns = r->wall_ns;
    return KVL_OK;
}

static void tell_recalled(const kvl_sweep_store *s) {
    const kvl_sweep *sweep = &s->info->sweep;
    const size_t n_cells = sweep->n_policies * sweep->n_samples;
    if (s->n_recalled != 0 && !s->info->options->is_quiet && !s->info->options->is_dry_run &&
        s->n_asked == n_cells + (sweep->one_pass != NULL ? sweep->n_samples : 0)) {
        fprintf(stderr, "%zu of %zu cells from %s\n", s->n_recalled, n_cells, kvl_str_text(&s->path));
    }
}

kvl_status kvl_sweep_store_recall(void *ud, kvl_cell *c, bool is_one_pass, bool *is_known, kvl_err *err) {
    kvl_sweep_store *s = ud;
    kvl_record wanted = {0};
    kvl_record found = {0};
    kvl_status status = KVL_OK;
    *is_known = false;
    if (s->store == NULL || !s->is_recalling) {
        return KVL_OK;
    }
    KVL_GO(alloc_states(s, err));
    KVL_GO(kvl_sweep_identify(&wanted, &s->identity, s->info, c, role_of(c, is_one_pass), err));
    KVL_GO(kvl_store_get(s->store, wanted.key, &found, is_known, err));
    if (*is_known) {
        KVL_GO(restore(c, &found, s->info->sweep.n_layers, is_one_pass, err));
    }
    if (*is_known && !is_one_pass) {
        s->is_kept[cell_index(s, c)] = true;
        s->n_recalled++;
        s->n_kept++;
    }
    s->n_asked++;
    tell_recalled(s);
done:
    kvl_record_free(&wanted);
    kvl_record_free(&found);
    return status;
}

/* ---- into the store ---- */

/* A command without the folders of its absolute paths, which tell of the machine. */
static void put_command(kvl_str *out, const char *command) {
    const char *at = command;
    while (*at != '\0') {
        const bool is_begin = at == command || strchr(" =,'\"", at[-1]) != NULL;
        if (is_begin && *at == '/') {
            const size_t n = strcspn(at, " ,'\"");
            for (const char *end = at + n; at < end && memchr(at, '/', (size_t)(end - at)) != NULL;) {
                at++;
            }
        }
        kvl_str_append(out, at, *at != '\0' ? 1 : 0);
        at += *at != '\0';
    }
}

static kvl_status set_facts(kvl_record *r, const kvl_sweep_store *s, const kvl_cell *c, kvl_err *err) {
    json_t *o = kvl_sweep_cell_object(s->info, c, r->role);
    kvl_machine machine;
    kvl_str command = {0};
    kvl_str text = {0};
    char now[21];
    kvl_machine_read(&machine, "");
    kvl_utc_text(now);
    put_command(&command, s->info->command);
    o = kvl_json_join(o, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "command", kvl_str_text(&command), "cpu",
                                   machine.cpu, "made", now, "sqlite", sqlite3_libversion(), "compiler",
                                   __VERSION__, "version", KVL_VERSION));
    kvl_status status = kvl_json_write(&text, o, false, err);
    if (status == KVL_OK) {
        r->facts = kvl_strndup(kvl_str_text(&text), text.len - 1); /* the line end is none of it */
        status = r->facts != NULL ? KVL_OK : kvl_fail_nomem(err, "facts");
    }
    kvl_str_free(&command);
    kvl_str_free(&text);
    return status;
}

static kvl_status put(kvl_sweep_store *s, const kvl_cell *c, bool is_one_pass, kvl_err *err) {
    kvl_record r = {0};
    const kvl_record_role role = role_of(c, is_one_pass);
    kvl_status status = kvl_sweep_record(&r, s->info, c, role, err);
    KVL_GO(status);
    KVL_GO(kvl_sweep_identify(&r, &s->identity, s->info, c, role, err));
    KVL_GO(set_facts(&r, s, c, err));
    r.nll = c->nll; /* lent */
    status = kvl_store_put(s->store, &r, err);
    r.nll = NULL;
    if (status == KVL_OK && !is_one_pass) {
        s->n_kept += !s->is_kept[cell_index(s, c)];
        s->is_kept[cell_index(s, c)] = true;
    }
done:
    kvl_record_free(&r);
    return status;
}

kvl_status kvl_sweep_store_keep(kvl_sweep_store *s, const kvl_cell *c, bool is_one_pass, kvl_err *err) {
    const kvl_sweep *sweep = &s->info->sweep;
    if (s->store == NULL) {
        return KVL_OK;
    }
    KVL_TRY(alloc_states(s, err));
    if (is_one_pass) {
        return put(s, c, true, err);
    }
    s->is_finished[cell_index(s, c)] = true;
    if (!s->is_finished[c->sample] && !s->is_kept[c->sample]) { /* the baseline of the sample still runs */
        return KVL_OK;
    }
    for (size_t p = 0; p < sweep->n_policies; p++) {
        const kvl_cell *waiting = kvl_sweep_cell(sweep, p, c->sample);
        bool *is_finished = &s->is_finished[cell_index(s, waiting)];
        if (*is_finished) {
            KVL_TRY(put(s, waiting, false, err));
            *is_finished = false;
        }
    }
    return KVL_OK;
}

/* ---- what a report says besides its rows ---- */

static json_t *text_list(const char *const *texts, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_string(texts[i]));
    }
    return list;
}

static json_t *sample_list(const kvl_sweep_run_info *info) {
    json_t *list = json_array();
    for (size_t i = 0; i < info->samples->n; i++) {
        json_array_append_new(list, json_string(info->samples->items[i].name));
    }
    return list;
}

static json_t *policy_list(const kvl_report *report) {
    json_t *list = json_array();
    for (size_t i = 0; i < report->n_rows; i++) {
        json_array_append_new(list, json_string(report->rows[i].policy));
    }
    return list;
}

/* One document of each command in a group. */
static kvl_status set_key(kvl_document *d, kvl_err *err) {
    kvl_str text = {0};
    kvl_str_printf(&text, "sweep\n%s\n%s", d->group, d->command);
    kvl_status status = kvl_str_check(&text, "sweep", err);
    d->key = kvl_calloc(KVL_SHA256_TEXT, 1);
    if (status == KVL_OK && d->key == NULL) {
        status = kvl_fail_nomem(err, "sweep");
    }
    if (status == KVL_OK) {
        status = kvl_sha256(d->key, kvl_str_text(&text), text.len, err);
    }
    kvl_str_free(&text);
    return status;
}

kvl_status kvl_sweep_store_describe(kvl_sweep_store *s, const kvl_report *report, kvl_err *err) {
    kvl_document d = {0};
    kvl_str lines = {0};
    kvl_status status = KVL_OK;
    if (s->store == NULL) {
        return KVL_OK;
    }
    KVL_GO(kvl_json_write(&lines,
                          json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "schema", "kvlab.sweep/1",
                                    "title", report->title, "protocol", report->protocol, "how", report->how,
                                    "has_mean_ppl", report->has_mean_ppl, "notes",
                                    text_list(report->notes, report->n_notes), "samples",
                                    sample_list(s->info), "policies", policy_list(report)),
                          false, err));
    d.kind = kvl_strdup("sweep");
    d.model = kvl_strdup(kvl_engine_model(s->info->engine)->name);
    d.group = kvl_strdup(s->identity.group);
    d.command = kvl_strdup(report->command);
    d.n_bytes = lines.len;
    d.lines = kvl_strndup(kvl_str_text(&lines), lines.len);
    if (d.kind == NULL || d.model == NULL || d.group == NULL || d.command == NULL || d.lines == NULL) {
        KVL_GO(kvl_fail_nomem(err, "sweep"));
    }
    KVL_GO(set_key(&d, err));
    KVL_GO(kvl_store_put_document(s->store, &d, err));
done:
    kvl_document_free(&d);
    kvl_str_free(&lines);
    return status;
}

kvl_status kvl_sweep_store_document(kvl_sweep_store *s, const kvl_keep *what, kvl_str *lines, kvl_err *err) {
    kvl_document d = {0};
    kvl_status status = kvl_keep_make(&d, what, lines, err);
    if (status == KVL_OK) {
        kvl_free(d.group);
        d.group = kvl_strdup(s->identity.group);
        status =
            d.group != NULL ? kvl_store_put_document(s->store, &d, err) : kvl_fail_nomem(err, what->kind);
    }
    kvl_document_free(&d);
    return status;
}
