/* Command line, sweep file, preset: the layers of a sweep's options. */
#include "cli/sweep_config.h"

#include "base/os.h"
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

/* ---- files ---- */

/* Takes the keys of a file: options as settings of a layer. What only presets have is read by
 * kvl_preset_read. */
static kvl_status add_file(kvl_sweep_options *o, kvl_origin origin, const kvl_yaml *doc, const char *path,
                           kvl_err *err) {
    size_t n_keys = 0;
    const char *const *keys = kvl_preset_keys(&n_keys);
    if (doc->kind != KVL_YAML_MAP) {
        return kvl_settings_fail_kind(path, doc, err);
    }
    for (const kvl_yaml *item = doc->first; item != NULL; item = item->next) {
        bool is_taken = false;
        KVL_TRY(kvl_settings_add_key(&o->settings, origin, path, item, &is_taken, err));
        if (!is_taken && !kvl_preset_has_key(item->key)) {
            return kvl_settings_fail_key(&o->settings, path, item, keys, n_keys, err);
        }
        if (!is_taken && !kvl_preset_is_one(doc)) {
            return kvl_fail(err, KVL_E_USAGE, "%s:%zu: %s: expected policies beside it (both make a preset)",
                            path, item->line, item->key);
        }
    }
    return KVL_OK;
}

/* A file that has policies is a preset, and named as such. */
static kvl_status name_own_preset(kvl_sweep_options *o, int preset, const kvl_yaml *doc, const char *path,
                                  kvl_err *err) {
    const kvl_yaml *policies = kvl_yaml_find(doc, "policies");
    const kvl_yaml *other = kvl_yaml_find(doc, "preset");
    kvl_str place = {0};
    if (policies != NULL && other != NULL) {
        return kvl_fail(err, KVL_E_USAGE, "%s:%zu: expected preset or policies, found both", path,
                        other->line);
    }
    if (policies == NULL) {
        return KVL_OK;
    }
    kvl_str_printf(&place, "%s:%zu", path, policies->line);
    kvl_status status = kvl_str_check(&place, "settings", err);
    if (status == KVL_OK) {
        status = kvl_settings_add(&o->settings, preset, path, KVL_FROM_FILE, kvl_str_text(&place), err);
    }
    kvl_str_free(&place);
    return status;
}

static kvl_status read_config(kvl_sweep_options *o, int preset, const char *path, kvl_err *err) {
    kvl_yaml *doc = NULL;
    KVL_TRY(kvl_yaml_load(&doc, path, err));
    kvl_status status = add_file(o, KVL_FROM_FILE, doc, path, err);
    if (status == KVL_OK) {
        status = name_own_preset(o, preset, doc, path, err);
    }
    kvl_yaml_free(doc);
    return status;
}

/* ---- presets ---- */

static void print_presets_dir(kvl_str *out) { kvl_str_printf(out, "%s/presets", kvl_data_root()); }

kvl_status kvl_sweep_presets_load(kvl_err *err) {
    kvl_str dir = {0};
    print_presets_dir(&dir);
    kvl_status status = kvl_str_check(&dir, "path of presets", err);
    if (status == KVL_OK) {
        status = kvl_presets_load(kvl_str_text(&dir), err);
    }
    kvl_str_free(&dir);
    return status;
}

static kvl_status fail_unknown(const kvl_setting *given, kvl_err *err) {
    size_t n = 0;
    const char *names[64];
    KVL_TRY(kvl_sweep_presets_load(err));
    const kvl_preset *const *all = kvl_presets(&n);
    for (size_t i = 0; i < n; i++) {
        names[i] = all[i]->name;
    }
    const char *nearest = kvl_nearest_name(given->value, strlen(given->value), names, n);
    return kvl_fail(err, KVL_E_USAGE, "%s%s--preset: unknown '%.80s'%s%s; kvlab sweep --help lists all",
                    given->place != NULL ? given->place : "", given->place != NULL ? ": " : "", given->value,
                    nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
}

/* The file of a preset: a path, or a name of those that come with the program. */
static kvl_status find_file(kvl_str *out, const kvl_setting *given, kvl_err *err) {
    const char *name = given->value;
    const size_t n = strlen(name);
    if (strchr(name, '/') != NULL || (n > 5 && strcmp(name + n - 5, ".yaml") == 0) ||
        (n > 4 && strcmp(name + n - 4, ".yml") == 0)) {
        kvl_str_puts(out, name);
    } else {
        print_presets_dir(out);
        kvl_str_printf(out, "/%s.yaml", name);
        if (!kvl_file_exists(kvl_str_text(out))) {
            return fail_unknown(given, err);
        }
    }
    return kvl_str_check(out, "path of a preset", err);
}

/* Loads the preset in effect; *doc is the caller's. */
static kvl_status read_preset(kvl_sweep_options *o, int preset, kvl_yaml **doc, kvl_str *path, kvl_err *err) {
    KVL_TRY(kvl_settings_add(&o->settings, preset, "ucurve", KVL_FROM_DEFAULT, NULL, err));
    KVL_TRY(find_file(path, kvl_settings_find(&o->settings, preset), err));
    KVL_TRY(kvl_yaml_load(doc, kvl_str_text(path), err));
    const kvl_yaml *other = kvl_yaml_find(*doc, "preset");
    if (other != NULL) {
        return kvl_fail(err, KVL_E_USAGE,
                        "%s:%zu: expected a preset, found a file that names one (give it by -C)",
                        kvl_str_text(path), other->line);
    }
    KVL_TRY(add_file(o, KVL_FROM_PRESET, *doc, kvl_str_text(path), err));
    KVL_TRY(kvl_preset_read(&o->own_preset, *doc, kvl_str_text(path), err));
    o->preset = o->own_preset;
    return KVL_OK;
}

kvl_status kvl_sweep_config_apply(kvl_sweep_options *o, int preset, int argc, char **argv, kvl_arg_fn *fn,
                                  kvl_err *err) {
    kvl_yaml *doc = NULL;
    kvl_str path = {0};
    kvl_status status = kvl_settings_add_line(&o->settings, argc, argv, 2, err);
    KVL_GO(status);
    o->is_help = kvl_settings_find(&o->settings, KVL_RUN_HELP) != NULL;
    if (o->is_help) { /* with what is loaded on the command line */
        return kvl_settings_apply(&o->settings, fn, o, err);
    }
    const kvl_setting *config = kvl_settings_find(&o->settings, KVL_ARG_CONFIG);
    if (config != NULL) {
        KVL_GO(read_config(o, preset, config->value, err));
    }
    KVL_GO(read_preset(o, preset, &doc, &path, err));
    KVL_GO(kvl_settings_apply(&o->settings, fn, o, err));
    KVL_GO(kvl_preset_check(doc, kvl_str_text(&path), err)); /* now that presses are loaded */
done:
    kvl_yaml_free(doc);
    kvl_str_free(&path);
    return status;
}

/* ---- --show-config ---- */

static void show_number(kvl_str *out, const char *name, size_t n) {
    if (n != 0) {
        kvl_str_printf(out, "#   %s: %zu\n", name, n);
    }
}

void kvl_sweep_config_show(const kvl_sweep_options *o, kvl_str *out) {
    const kvl_preset *preset = o->preset;
    kvl_settings_show(&o->settings, out);
    kvl_str_puts(out, "#\n# what the preset has besides:\n# policies:\n");
    for (size_t i = 0; preset->policies[i] != NULL; i++) {
        kvl_str_puts(out, "#   - ");
        kvl_yaml_quote(out, preset->policies[i]);
        kvl_str_puts(out, "\n");
    }
    kvl_str_puts(out, preset->protocol.max_tokens != 0 ? "# stream:\n" : "");
    show_number(out, "max-tokens", preset->protocol.max_tokens);
    show_number(out, "prefill", preset->protocol.prefill);
    show_number(out, "count-from", preset->protocol.count_from);
    show_number(out, "baseline-tokens", preset->protocol.baseline_tokens);
    kvl_str_puts(out, preset->protocol.is_two_phase ? "#   two-phase: true\n" : "");
    kvl_str_puts(out, preset->has_mean_ppl ? "# mean-ppl: true\n" : "");
}
