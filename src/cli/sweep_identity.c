/* What the numbers of a cell follow from, as canonical JSON; its hash is the key of the cell's record.
 *
 * Threads, batches, waves and memory are not in it, since they change no bits; nor are names, paths, times
 * and the machine.
 */
#include "cli/sweep_records.h"

#include "base/alloc.h"
#include "base/os.h"
#include "base/sha256.h"
#include "cli/calibration_arg.h"
#include "cli/commit.h"
#include "cli/keep.h"

#include <string.h>

static json_t *count(size_t n) { return json_integer((json_int_t)n); }

/* ---- canonical JSON ---- */

static int append(const char *bytes, size_t n, void *ud) {
    kvl_str *out = ud;
    kvl_str_append(out, bytes, n);
    return out->failed ? -1 : 0;
}

/* Appends an object with sorted keys, numbers of 17 digits and no blanks. */
static kvl_status write_canonical(kvl_str *out, const json_t *o, kvl_err *err) {
    const size_t flags = JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(17);
    if (o == NULL || json_dump_callback(o, append, out, flags) != 0) {
        return kvl_fail_nomem(err, "identity");
    }
    return kvl_str_check(out, "identity", err);
}

/* ---- what all cells share ---- */

/* A commit names the source of a build, unless the tree differed from it: then the program itself does. */
static kvl_status build_object(json_t **out, kvl_err *err) {
    const bool is_known = strcmp(KVL_COMMIT, "unknown") != 0 && strstr(KVL_COMMIT, "-dirty") == NULL;
    enum { MOST_BYTES = 1 << 30 };
    char hash[KVL_SHA256_TEXT] = "";
    char *bytes = NULL;
    size_t n = 0;
    if (!is_known) {
        KVL_TRY(kvl_file_load(&bytes, &n, "/proc/self/exe", MOST_BYTES, err));
        const kvl_status status = kvl_sha256(hash, bytes, n, err);
        kvl_free(bytes);
        KVL_TRY(status);
    }
    *out = json_pack("{s:s, s:s, s:s}", "commit", is_known ? KVL_COMMIT : "", "program", hash, "version",
                     KVL_VERSION);
    return *out != NULL ? KVL_OK : kvl_fail_nomem(err, "identity");
}

static json_t *model_object(const kvl_model *m) {
    const kvl_shape *s = &m->shape;
    return json_pack("{s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s}", "hash",
                     kvl_keep_hash(m->hash), "layout", kvl_keep_hash(m->layout_hash), "layers", s->n_layers,
                     "heads", s->n_heads, "kv_heads", s->n_kv_heads, "head_dim", s->head_dim, "width",
                     s->width, "ff_width", s->ff_width, "vocabulary", s->n_vocab, "context", s->n_context,
                     "family", m->arch);
}

static json_t *cache_object(const kvl_shape *s) {
    return json_pack("{s:s, s:s, s:i, s:b}", "key", kvl_kv_type_name(s->key_type), "value",
                     kvl_kv_type_name(s->value_type), "residual", s->n_residual, "hadamard", s->has_hadamard);
}

/* The longest of windows depends on the texts, and is none of their rule. */
static json_t *protocol_object(const kvl_sweep_run_info *info) {
    const kvl_protocol *p = &info->protocol;
    const kvl_window_rule *r = &info->rule;
    return json_pack("{s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                     info->options->protocol->name, "bos", kvl_bos_name(info->options->bos), "windows",
                     p->has_windows, "two_phase", p->is_two_phase, "max_tokens",
                     count(p->has_windows ? 0 : p->max_tokens), "prefill", count(p->prefill), "count_from",
                     count(p->count_from), "baseline_tokens", count(p->baseline_tokens), "window",
                     count(r->window), "stride", count(r->stride), "window_prefill", count(r->prefill),
                     "window_score", count(r->score), "text_tokens",
                     count(p->has_windows ? info->options->max_tokens : 0));
}

kvl_status kvl_sweep_identity_make(kvl_sweep_identity *out, const kvl_sweep_run_info *info, kvl_err *err) {
    const kvl_model *model = kvl_engine_model(info->engine);
    json_t *build = NULL;
    kvl_str text = {0};
    *out = (kvl_sweep_identity){0};
    KVL_TRY(build_object(&build, err));
    out->common = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "schema", "kvlab.identity/1", "arith",
                            kvl_arith_name(model->arith), "isa", kvl_engine_isa(info->engine), "build", build,
                            "model", model_object(model), "cache", cache_object(&model->shape), "protocol",
                            protocol_object(info), "tokenizer", kvl_keep_hash(info->tokenizer_hash));
    kvl_status status = write_canonical(&text, out->common, err);
    if (status == KVL_OK) {
        status = kvl_sha256(out->group, kvl_str_text(&text), text.len, err);
    }
    kvl_str_free(&text);
    return status;
}

void kvl_sweep_identity_free(kvl_sweep_identity *id) {
    json_decref(id->common);
    id->common = NULL;
}

/* ---- what is a cell's own ---- */

/* All of a policy: its text, each option of its presses, the whole ratio, the statistics that it uses. */
static json_t *policy_object(const kvl_sweep_run_info *info, const kvl_cell *c) {
    const kvl_policy *policy = &info->sweep.policies[c->policy];
    char calibration[KVL_CALIBRATION_TEXT];
    kvl_str text = {0};
    kvl_str press = {0};
    kvl_policy_text(policy, &text);
    kvl_policy_press_whole_text(policy, &press);
    kvl_calibration_text(calibration, policy, &kvl_engine_model(info->engine)->shape);
    json_t *o = text.failed || press.failed
                    ? NULL
                    : json_pack("{s:s, s:s, s:f, s:s}", "text", kvl_str_text(&text), "press",
                                kvl_str_text(&press), "keep", policy->keep_ratio, "calibration", calibration);
    kvl_str_free(&text);
    kvl_str_free(&press);
    return o;
}

/* The hash of a sample seeds presses that draw; its ids are what is fed. */
static kvl_status text_object(json_t **out, const kvl_sweep_run_info *info, const kvl_cell *c, kvl_err *err) {
    const kvl_sample *sample = &info->samples->items[c->sample];
    char ids[KVL_SHA256_TEXT];
    KVL_TRY(kvl_sha256(ids, sample->ids.ids, c->n_tokens * sizeof *sample->ids.ids, err));
    *out = json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:o}", "hash", kvl_keep_hash(sample->hash), "source",
                     kvl_keep_hash(info->texts->items[sample->text].hash), "ids", ids, "n_tokens",
                     count(c->n_tokens), "begin", count(sample->begin), "prefill", count(sample->prefill),
                     "first_scored", count(c->first_scored));
    return *out != NULL ? KVL_OK : kvl_fail_nomem(err, "identity");
}

kvl_status kvl_sweep_identify(kvl_record *out, const kvl_sweep_identity *id, const kvl_sweep_run_info *info,
                              const kvl_cell *c, kvl_record_role role, kvl_err *err) {
    static const char *const roles[] = {"policy", "baseline", "one-pass"};
    kvl_str canonical = {0};
    json_t *text = NULL;
    KVL_TRY(text_object(&text, info, c, err));
    json_t *o = json_copy(id->common);
    if (o == NULL || json_object_set_new(o, "text", text) != 0 ||
        json_object_set_new(o, "policy", policy_object(info, c)) != 0 ||
        json_object_set_new(o, "role", json_string(roles[role])) != 0) {
        json_decref(o);
        return kvl_fail_nomem(err, "identity");
    }
    kvl_status status = write_canonical(&canonical, o, err);
    json_decref(o);
    KVL_GO(status);
    KVL_GO(kvl_sha256(out->key, kvl_str_text(&canonical), canonical.len, err));
    memcpy(out->group, id->group, sizeof out->group);
    kvl_free(out->identity);
    out->identity = kvl_strndup(kvl_str_text(&canonical), canonical.len);
    status = out->identity != NULL ? KVL_OK : kvl_fail_nomem(err, "identity");
done:
    kvl_str_free(&canonical);
    return status;
}
