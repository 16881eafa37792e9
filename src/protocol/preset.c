/* Files of presets -> presets. */
#include "protocol/preset.h"

#include "base/alloc.h"
#include "press/policy.h"
#include "protocol/windows.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

enum { most_presets = 64, most_items = 256, most_tokens = 1 << 24, most_name = 64 };

/* A preset with what it points to. */
typedef struct owner {
    kvl_preset preset; /* first: what the outside sees */
    char name[most_name + 1];
    const char *policies[most_items + 1]; /* of texts */
    double ratios[most_items + 2];
    size_t n_ratios;
    kvl_str samples;
    char *texts[most_items + 8]; /* copies of scalars */
    size_t n_texts;
} owner;

/* What a value is read for. */
typedef struct reading {
    owner *o;
    const char *path;
    kvl_err *err;
} reading;

static kvl_status fail_value(const reading *r, const kvl_yaml *node, const char *expected) {
    const char *found = node->kind == KVL_YAML_TEXT ? node->text : kvl_yaml_kind_text(node);
    return kvl_fail(r->err, KVL_E_USAGE, "%s:%zu: %s: expected %s, found '%.80s'", r->path, node->line,
                    node->key != NULL ? node->key : "item", expected, found);
}

/* ---- values ---- */

/* A line of text; the end of a folded block is none of it. */
static kvl_status read_line(const reading *r, const char **out, const kvl_yaml *node) {
    size_t n = node->kind == KVL_YAML_TEXT ? strlen(node->text) : 0;
    while (n != 0 && node->text[n - 1] == '\n') {
        n--;
    }
    if (n == 0 || memchr(node->text, '\n', n) != NULL) {
        return fail_value(r, node, "a line of text");
    }
    if (r->o->n_texts == sizeof r->o->texts / sizeof r->o->texts[0]) {
        return fail_value(r, node, "fewer texts");
    }
    char *copy = kvl_strndup(node->text, n);
    if (copy == NULL) {
        return kvl_fail_nomem(r->err, "preset");
    }
    r->o->texts[r->o->n_texts++] = copy;
    *out = copy;
    return KVL_OK;
}

static kvl_status read_flag(const reading *r, bool *out, const kvl_yaml *node) {
    const char *text = node->kind == KVL_YAML_TEXT ? node->text : "";
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0 ? KVL_OK : fail_value(r, node, "true or false");
}

static kvl_status read_count(const reading *r, size_t *out, const kvl_yaml *node) {
    uint64_t n = 0;
    const char *text = node->kind == KVL_YAML_TEXT ? node->text : "";
    if (!kvl_parse_count(&n, text, strlen(text)) || n == 0 || n > most_tokens) {
        return fail_value(r, node, "a whole number from 1 to 16777216");
    }
    *out = (size_t)n;
    return KVL_OK;
}

/* Calls fn for the items of a list, or for a single text. */
typedef kvl_status item_fn(const reading *r, const kvl_yaml *item);
static kvl_status each_item(const reading *r, const kvl_yaml *node, item_fn *fn) {
    if (node->kind == KVL_YAML_TEXT) {
        return fn(r, node);
    }
    if (node->kind == KVL_YAML_MAP || node->first == NULL) {
        return fail_value(r, node, "a list");
    }
    for (const kvl_yaml *item = node->first; item != NULL; item = item->next) {
        KVL_TRY(fn(r, item));
    }
    return KVL_OK;
}

/* ---- keys ---- */

static kvl_status read_summary(const reading *r, const kvl_yaml *node) {
    return read_line(r, &r->o->preset.summary, node);
}

static kvl_status read_note(const reading *r, const kvl_yaml *node) {
    return read_line(r, &r->o->preset.note, node);
}

static kvl_status add_samples(const reading *r, const kvl_yaml *item) {
    const char *text = NULL;
    KVL_TRY(read_line(r, &text, item));
    kvl_str_printf(&r->o->samples, "%s%s", r->o->samples.len != 0 ? " " : "", text);
    return kvl_str_check(&r->o->samples, "preset", r->err);
}

static kvl_status read_samples(const reading *r, const kvl_yaml *node) {
    KVL_TRY(each_item(r, node, add_samples));
    r->o->preset.samples = kvl_str_text(&r->o->samples);
    return KVL_OK;
}

static kvl_status add_policy(const reading *r, const kvl_yaml *item) {
    size_t n = 0;
    while (r->o->policies[n] != NULL) {
        n++;
    }
    return n < most_items ? read_line(r, &r->o->policies[n], item) : fail_value(r, item, "at most 256 items");
}

static kvl_status read_policies(const reading *r, const kvl_yaml *node) {
    return each_item(r, node, add_policy);
}

/* Inserts in decreasing order; a ratio given twice counts once. */
static kvl_status insert_ratio(const reading *r, double ratio, const kvl_yaml *node) {
    owner *o = r->o;
    size_t i = 0;
    while (i < o->n_ratios && o->ratios[i] > ratio) {
        i++;
    }
    if (i < o->n_ratios && o->ratios[i] == ratio) {
        return KVL_OK;
    }
    if (o->n_ratios > most_items) {
        return fail_value(r, node, "at most 256 items");
    }
    memmove(&o->ratios[i + 1], &o->ratios[i], (o->n_ratios - i) * sizeof o->ratios[0]);
    o->ratios[i] = ratio;
    o->n_ratios++;
    return KVL_OK;
}

/* A ratio, or a text of some with commas, as on the command line. */
static kvl_status add_ratios(const reading *r, const kvl_yaml *item) {
    const char *rest = item->kind == KVL_YAML_TEXT ? item->text : "";
    for (;;) {
        const size_t n = strcspn(rest, ",");
        double ratio = 0;
        if (!kvl_parse_number(&ratio, rest, n) || !(ratio > 0 && ratio <= 1)) {
            return fail_value(r, item, "keep ratios above 0 and at most 1");
        }
        KVL_TRY(insert_ratio(r, ratio, item));
        if (rest[n] == '\0') {
            return KVL_OK;
        }
        rest += n + 1;
    }
}

static kvl_status read_ratios(const reading *r, const kvl_yaml *node) {
    return each_item(r, node, add_ratios);
}

static kvl_status read_mean(const reading *r, const kvl_yaml *node) {
    return read_flag(r, &r->o->preset.has_mean_ppl, node);
}

static kvl_status read_protocol(const reading *r, const kvl_yaml *node) {
    const char *name = NULL;
    KVL_TRY(read_line(r, &name, node));
    const kvl_window_protocol *protocol = kvl_window_protocol_find(name);
    if (protocol == NULL) {
        return fail_value(r, node, "a protocol (kvlab sweep --help lists them)");
    }
    r->o->preset.windows = protocol->cut != NULL ? protocol->name : NULL;
    return KVL_OK;
}

static kvl_status read_stream(const reading *r, const kvl_yaml *node) {
    static const char *const keys[] = {"max-tokens", "prefill", "count-from", "baseline-tokens", "two-phase"};
    kvl_protocol *p = &r->o->preset.protocol;
    size_t *const numbers[] = {&p->max_tokens, &p->prefill, &p->count_from, &p->baseline_tokens};
    enum { n_keys = sizeof keys / sizeof keys[0], n_numbers = sizeof numbers / sizeof numbers[0] };
    if (node->kind != KVL_YAML_MAP) {
        return fail_value(r, node, "a mapping");
    }
    for (const kvl_yaml *item = node->first; item != NULL; item = item->next) {
        size_t i = 0;
        while (i < n_keys && strcmp(item->key, keys[i]) != 0) {
            i++;
        }
        if (i == n_keys) {
            const char *nearest = kvl_nearest_name(item->key, strlen(item->key), keys, n_keys);
            return kvl_fail(r->err, KVL_E_USAGE, "%s:%zu: unknown key '%.80s' of stream%s%s", r->path,
                            item->line, item->key, nearest != NULL ? "; did you mean " : "",
                            nearest != NULL ? nearest : "");
        }
        KVL_TRY(i < n_numbers ? read_count(r, numbers[i], item) : read_flag(r, &p->is_two_phase, item));
    }
    p->count_from = p->count_from != 0 ? p->count_from : p->prefill;
    if (p->max_tokens == 0 || p->count_from < p->prefill) {
        return kvl_fail(r->err, KVL_E_USAGE, "%s:%zu: stream: expected %s", r->path, node->line,
                        p->max_tokens == 0 ? "max-tokens, found none" : "count-from of at least prefill");
    }
    return KVL_OK;
}

static const char *const key_names[] = {"summary", "samples",  "policies", "ratio",
                                        "stream",  "protocol", "mean-ppl", "note"};
static item_fn *const key_readers[] = {read_summary, read_samples,  read_policies, read_ratios,
                                       read_stream,  read_protocol, read_mean,     read_note};
enum { n_key_names = sizeof key_names / sizeof key_names[0] };

const char *const *kvl_preset_keys(size_t *n) {
    *n = n_key_names;
    return key_names;
}

bool kvl_preset_has_key(const char *key) {
    for (size_t i = 0; i < n_key_names; i++) {
        if (strcmp(key, key_names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- a file ---- */

/* The name of a preset is that of its file; it goes into names of pictures. */
static kvl_status set_name(const reading *r) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *slash = strrchr(r->path, '/');
    const char *name = slash != NULL ? slash + 1 : r->path;
    size_t n = strlen(name);
    n -= n > 5 && strcmp(name + n - 5, ".yaml") == 0 ? 5 : n > 4 && strcmp(name + n - 4, ".yml") == 0 ? 4 : 0;
    if (n == 0 || n > most_name || strspn(name, letters) < n || name[0] == '.' || name[0] == '-') {
        return kvl_fail(r->err, KVL_E_USAGE,
                        "%s: expected a file name of letters, digits, '.', '_' and '-' (it names the preset)",
                        r->path);
    }
    memcpy(r->o->name, name, n);
    r->o->preset.name = r->o->name;
    return KVL_OK;
}

static kvl_status read_keys(const reading *r, const kvl_yaml *doc) {
    owner *o = r->o;
    o->preset.summary = "";
    o->preset.policies = o->policies;
    o->preset.keep_ratios = o->ratios;
    KVL_TRY(set_name(r));
    for (size_t i = 0; i < n_key_names; i++) {
        const kvl_yaml *node = kvl_yaml_find(doc, key_names[i]);
        KVL_TRY(node != NULL ? key_readers[i](r, node) : KVL_OK);
    }
    if (o->policies[0] == NULL) {
        return kvl_fail(r->err, KVL_E_MISSING, "%s: expected a preset with policies, found none", r->path);
    }
    if (o->preset.windows == NULL && o->preset.protocol.max_tokens == 0) {
        return kvl_fail(r->err, KVL_E_MISSING,
                        "%s: expected stream with max-tokens, or a protocol of windows", r->path);
    }
    return insert_ratio(r, 1, doc);
}

kvl_status kvl_preset_read(kvl_preset **out, const kvl_yaml *doc, const char *path, kvl_err *err) {
    owner *o = kvl_calloc(1, sizeof *o);
    const reading r = {o, path, err};
    *out = NULL;
    if (o == NULL) {
        return kvl_fail_nomem(err, "preset");
    }
    const kvl_status status = read_keys(&r, doc);
    if (status != KVL_OK) {
        kvl_preset_destroy(&o->preset);
        return status;
    }
    *out = &o->preset;
    return KVL_OK;
}

void kvl_preset_destroy(kvl_preset *p) {
    owner *o = (owner *)p;
    for (size_t i = 0; o != NULL && i < o->n_texts; i++) {
        kvl_free(o->texts[i]);
    }
    if (o != NULL) {
        kvl_str_free(&o->samples);
    }
    kvl_free(o);
}

bool kvl_preset_is_one(const kvl_yaml *doc) { return kvl_yaml_find(doc, "policies") != NULL; }

static kvl_status check_policy(const reading *r, const kvl_yaml *item) {
    kvl_policy policy;
    kvl_err detail = {0};
    kvl_policy_init(&policy);
    const kvl_status status = kvl_policy_parse(&policy, item->text != NULL ? item->text : "", &detail);
    return status == KVL_OK ? KVL_OK
                            : kvl_fail(r->err, status, "%s:%zu: %s", r->path, item->line, detail.msg);
}

kvl_status kvl_preset_check(const kvl_yaml *doc, const char *path, kvl_err *err) {
    const reading r = {NULL, path, err};
    const kvl_yaml *policies = kvl_yaml_find(doc, "policies");
    return policies != NULL ? each_item(&r, policies, check_policy) : KVL_OK;
}

/* ---- the folder ---- */

static kvl_preset *loaded[most_presets];
static size_t n_loaded;

static kvl_status load_file(kvl_preset **out, const char *path, kvl_err *err) {
    kvl_yaml *doc = NULL;
    KVL_TRY(kvl_yaml_load(&doc, path, err));
    kvl_status status = KVL_OK;
    for (const kvl_yaml *item = doc->first; item != NULL && status == KVL_OK; item = item->next) {
        if (item->key == NULL || !kvl_preset_has_key(item->key)) {
            status = kvl_fail(err, KVL_E_USAGE, "%s:%zu: unknown key '%.80s' of a preset", path, item->line,
                              item->key != NULL ? item->key : "");
        }
    }
    if (status == KVL_OK) {
        status = kvl_preset_check(doc, path, err);
    }
    if (status == KVL_OK) {
        status = kvl_preset_read(out, doc, path, err);
    }
    kvl_yaml_free(doc);
    return status;
}

/* Adds a preset in the order of names. */
static void insert(kvl_preset *preset) {
    size_t i = n_loaded++;
    for (; i > 0 && strcmp(loaded[i - 1]->name, preset->name) > 0; i--) {
        loaded[i] = loaded[i - 1];
    }
    loaded[i] = preset;
}

static kvl_status load_folder(DIR *folder, const char *dir, kvl_err *err) {
    kvl_str path = {0};
    kvl_status status = KVL_OK;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        const size_t n = strlen(entry->d_name);
        kvl_preset *preset = NULL;
        if (entry->d_name[0] == '.' || n < 6 || strcmp(entry->d_name + n - 5, ".yaml") != 0) {
            continue;
        }
        if (n_loaded == most_presets) {
            status = kvl_fail(err, KVL_E_LIMIT, "%s: expected at most %d presets", dir, (int)most_presets);
            break;
        }
        kvl_str_clear(&path);
        kvl_str_printf(&path, "%s/%s", dir, entry->d_name);
        status = load_file(&preset, kvl_str_text(&path), err);
        if (status != KVL_OK) {
            break;
        }
        insert(preset);
    }
    kvl_str_free(&path);
    return status;
}

kvl_status kvl_presets_load(const char *dir, kvl_err *err) {
    if (n_loaded != 0) {
        return KVL_OK;
    }
    DIR *folder = opendir(dir);
    if (folder == NULL) {
        return kvl_fail(err, KVL_E_MISSING, "%s: expected the folder of presets: %s", dir, strerror(errno));
    }
    kvl_status status = load_folder(folder, dir, err);
    closedir(folder);
    if (status == KVL_OK && n_loaded == 0) {
        status = kvl_fail(err, KVL_E_MISSING, "%s: expected presets (*.yaml), found none", dir);
    }
    while (status != KVL_OK && n_loaded != 0) {
        kvl_preset_destroy(loaded[--n_loaded]);
    }
    return status;
}

const kvl_preset *const *kvl_presets(size_t *n) {
    *n = n_loaded;
    return (const kvl_preset *const *)loaded;
}

const kvl_preset *kvl_preset_find(const char *name) {
    for (size_t i = 0; i < n_loaded; i++) {
        if (strcmp(loaded[i]->name, name) == 0) {
            return loaded[i];
        }
    }
    return NULL;
}
