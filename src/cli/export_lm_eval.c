/* results_*.json of lm-evaluation-harness (lm_eval/result_schema.py of 0.4.13), one for each policy. */
#include "cli/export.h"

#include "base/json.h"
#include "base/os.h"
#include "cli/cmd.h"
#include "cli/commit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Sums over the cells of a policy. */
typedef struct sums {
    size_t n_texts, n_scored, n_bytes;
    double nll;
    bool has_bytes; /* of every cell */
} sums;

static bool is_of(const kvl_record *r, const char *policy) {
    return r->role != KVL_ROLE_ONE_PASS && strcmp(r->policy, policy) == 0;
}

static sums sum_up(const kvl_records *records, const char *policy) {
    sums s = {.has_bytes = true};
    const char *last = "";
    for (size_t i = 0; i < records->n; i++) {
        const kvl_record *r = &records->items[i];
        if (!is_of(r, policy)) {
            continue;
        }
        s.n_texts += strcmp(r->text_key, last) != 0;
        last = r->text_key;
        s.n_scored += r->n_scored;
        s.n_bytes += r->n_text_bytes;
        s.nll += r->nll_sum;
        s.has_bytes = s.has_bytes && r->n_text_bytes != 0;
    }
    return s;
}

/* A metric, and that no error is given with it, as the harness does for perplexities. */
static void set_metric(json_t *o, const char *name, double value) {
    char key[128];
    (void)snprintf(key, sizeof key, "%.80s,none", name);
    json_object_set_new(o, key, kvl_json_number(value));
    (void)snprintf(key, sizeof key, "%.80s_stderr,none", name);
    json_object_set_new(o, key, json_string("N/A"));
}

static json_t *metrics(const sums *s, const kvl_store_group *g, const char *task) {
    char name[128];
    json_t *o =
        json_pack("{s:s, s:s, s:I}", "name", task, "alias", task, "sample_len", (json_int_t)s->n_texts);
    const bool is_harness = strcmp(g->protocol, "lm-eval-rolling") == 0;
    if (s->has_bytes) {
        const double nats = s->nll / (double)s->n_bytes;
        (void)snprintf(name, sizeof name, "byte_perplexity%s%.60s", is_harness ? "" : "_",
                       is_harness ? "" : g->protocol);
        set_metric(o, name, exp(nats));
        (void)snprintf(name, sizeof name, "bits_per_byte%s%.60s", is_harness ? "" : "_",
                       is_harness ? "" : g->protocol);
        set_metric(o, name, nats / log(2));
    }
    (void)snprintf(name, sizeof name, "token_perplexity_%.60s", g->protocol);
    set_metric(o, name, exp(s->nll / (double)s->n_scored));
    return o;
}

/* "2026-01-31T23:59:59Z" in seconds since 1970. */
static double unix_time(const char *utc) {
    int y = 1970, m = 1, d = 1, hour = 0, minute = 0, second = 0;
    if (sscanf(utc, "%d-%d-%dT%d:%d:%dZ", &y, &m, &d, &hour, &minute, &second) != 6) {
        return 0;
    }
    y -= m <= 2; /* years begin in March: the leap day is the last */
    const int era = y / 400;
    const int year = y - era * 400;
    const int day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    const double days = era * 146097.0 + year * 365.0 + year / 4 - year / 100 + day - 719468.0;
    return days * 86400.0 + hour * 3600.0 + minute * 60.0 + second;
}

/* Letters, digits, - and . stay; others become _, and / becomes __, as the harness has it. */
static void put_name(kvl_str *out, const char *text) {
    for (; *text != '\0'; text++) {
        const bool is_kept = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                             (*text >= '0' && *text <= '9') || *text == '-' ||
                             (*text == '.' && out->len != 0);
        kvl_str_append(out, is_kept ? text : *text == '/' ? "__" : "_", *text == '/' ? 2 : 1);
    }
}

static json_t *results(const kvl_records *records, const kvl_store_group *g, const char *policy,
                       const char *name) {
    char task[96];
    const sums s = sum_up(records, policy);
    kvl_str args = {0};
    (void)snprintf(task, sizeof task, "kvlab_%.60s", g->protocol);
    kvl_str_printf(&args, "pretrained=%s,policy=%s,preset=%s", g->model, policy, g->preset);
    json_t *config =
        json_pack("{s:s, s:s, s:n, s:s, s:n, s:i, s:b}", "model", "kvlab", "model_args", kvl_str_text(&args),
                  "batch_size", "device", "cpu", "limit", "bootstrap_iters", 0, "use_cache", 0);
    json_t *o = json_pack(
        "{s:{s:o}, s:{s:[]}, s:{s:{s:s, s:s}}, s:{s:s}, s:{s:i}, s:{s:{}}, s:{s:{s:I, s:I}}, s:o}", "results",
        task, metrics(&s, g, task), "group_subtasks", task, "configs", task, "task", task, "group_key",
        g->group, "versions", task, KVL_VERSION, "n-shot", task, 0, "higher_is_better", task, "n-samples",
        task, "original", (json_int_t)s.n_texts, "effective", (json_int_t)s.n_texts, "config", config);
    kvl_str_free(&args);
    json_object_set_new(o, "git_hash", json_string(KVL_COMMIT));
    json_object_set_new(o, "date", json_real(unix_time(g->newest)));
    json_object_set_new(o, "model_source", json_string("kvlab"));
    json_object_set_new(o, "model_name", json_string(g->model));
    json_object_set_new(o, "model_name_sanitized", json_string(name));
    json_object_set_new(o, "system_instruction", json_null());
    json_object_set_new(o, "chat_template", json_null());
    json_object_set_new(o, "task_hashes", json_object());
    return o;
}

static kvl_status write_policy(kvl_str *out, const kvl_records *records, const kvl_store_group *g,
                               const char *policy, const char *folder, kvl_err *err) {
    kvl_str name = {0};
    kvl_str path = {0};
    kvl_str file = {0};
    char made[32];
    put_name(&name, g->model);
    kvl_str_puts(&name, "__");
    put_name(&name, policy);
    (void)snprintf(made, sizeof made, "%s", g->newest);
    for (char *c = made; *c != '\0'; c++) {
        *c = *c == ':' ? '-' : *c;
    }
    kvl_str_printf(&path, "%s/%.200s", folder, kvl_str_text(&name));
    kvl_status status = kvl_dir_create(kvl_str_text(&path), err);
    KVL_GO(status);
    kvl_str_printf(&path, "/results_%s.json", made);
    KVL_GO(kvl_json_write(&file, results(records, g, policy, kvl_str_text(&name)), true, err));
    KVL_GO(kvl_file_save(kvl_str_text(&path), kvl_str_text(&file), file.len, err));
    kvl_str_printf(out, "%s\n", kvl_str_text(&path));
done:
    kvl_str_free(&name);
    kvl_str_free(&path);
    kvl_str_free(&file);
    return status;
}

kvl_status kvl_export_lm_eval(kvl_str *out, kvl_store *store, const kvl_store_group *group,
                              const char *folder, kvl_err *err) {
    kvl_records records = {0};
    kvl_status status = kvl_store_list(store, group->group, &records, err);
    const char *last = NULL; /* cells of a policy follow each other */
    for (size_t i = 0; status == KVL_OK && i < records.n; i++) {
        const kvl_record *r = &records.items[i];
        if (r->role != KVL_ROLE_ONE_PASS && (last == NULL || strcmp(last, r->policy) != 0)) {
            last = r->policy;
            status = write_policy(out, &records, group, last, folder, err);
        }
    }
    kvl_records_free(&records);
    return status;
}
