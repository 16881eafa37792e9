/* Options in layers: command line over sweep file over preset. */
#include "cli/settings.h"

#include "base/alloc.h"
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

/* The line of the table that has an option's name and help. */
static const kvl_arg *find_arg(const kvl_settings *s, int id) {
    for (size_t i = 0; i < s->n_table; i++) {
        if (s->table[i].id == id && s->table[i].help != NULL) {
            return &s->table[i];
        }
    }
    return NULL;
}

static bool stands_in_files(const kvl_arg *arg) {
    return arg->help != NULL && arg->id != KVL_ARG_CONFIG && arg->id != KVL_ARG_SHOW_CONFIG &&
           strcmp(arg->name, "help") != 0;
}

static const kvl_arg *find_key(const kvl_settings *s, const char *key) {
    for (size_t i = 0; i < s->n_table; i++) {
        if (stands_in_files(&s->table[i]) && strcmp(s->table[i].name, key) == 0) {
            return &s->table[i];
        }
    }
    return NULL;
}

kvl_status kvl_settings_add(kvl_settings *s, int id, const char *value, kvl_origin origin, const char *place,
                            kvl_err *err) {
    kvl_setting *items = kvl_resize(s->items, s->n, s->n + 1, sizeof *items);
    if (items == NULL) {
        return kvl_fail_nomem(err, "settings");
    }
    s->items = items;
    items[s->n] = (kvl_setting){.arg = find_arg(s, id),
                                .value = kvl_strdup(value),
                                .origin = origin,
                                .place = place != NULL ? kvl_strdup(place) : NULL};
    const kvl_setting *added = &items[s->n++];
    const bool is_whole = added->value != NULL && (place == NULL || added->place != NULL);
    return is_whole ? KVL_OK : kvl_fail_nomem(err, "settings");
}

static kvl_status add_word(void *ud, int id, const char *value, kvl_err *err) {
    kvl_settings *s = ud;
    if (id == -1) {
        return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
    return kvl_settings_add(s, id, value != NULL ? value : "true", KVL_FROM_LINE, NULL, err);
}

kvl_status kvl_settings_add_line(kvl_settings *s, int argc, char **argv, int first, kvl_err *err) {
    return kvl_args_parse_words(s->table, s->n_table, argc, argv, first, add_word, s, err);
}

static kvl_status fail_kind(const char *path, const kvl_yaml *node, const kvl_arg *arg, const kvl_yaml *value,
                            kvl_err *err) {
    const char *expected = arg->value != NULL ? arg->value : "true or false";
    const char *found = value->kind != KVL_YAML_TEXT ? kvl_yaml_kind_text(value)
                        : value->text[0] == '\0'     ? "nothing"
                                                     : value->text;
    return kvl_fail(err, KVL_E_USAGE, "%s:%zu: %s: expected %s, found %s%.80s%s", path, value->line,
                    node->key, expected, value->kind == KVL_YAML_TEXT && value->text[0] != '\0' ? "'" : "",
                    found, value->kind == KVL_YAML_TEXT && value->text[0] != '\0' ? "'" : "");
}

/* Adds a value, or an item of a list of them. */
static kvl_status add_value(kvl_settings *s, kvl_origin origin, const char *path, const kvl_yaml *node,
                            const kvl_arg *arg, const kvl_yaml *value, kvl_err *err) {
    kvl_str place = {0};
    size_t n = value->kind == KVL_YAML_TEXT ? strlen(value->text) : 0;
    while (n != 0 && value->text[n - 1] == '\n') { /* the end of a folded block */
        n--;
    }
    const bool is_flag_word =
        n != 0 && (strcmp(value->text, "true") == 0 || strcmp(value->text, "false") == 0);
    if (n == 0 || memchr(value->text, '\n', n) != NULL || (arg->value == NULL && !is_flag_word)) {
        return fail_kind(path, node, arg, value, err);
    }
    char *text = kvl_strndup(value->text, n);
    kvl_str_printf(&place, "%s:%zu", path, value->line);
    kvl_status status =
        text != NULL ? kvl_str_check(&place, "settings", err) : kvl_fail_nomem(err, "settings");
    if (status == KVL_OK) {
        status = kvl_settings_add(s, arg->id, text, origin, kvl_str_text(&place), err);
    }
    kvl_free(text);
    kvl_str_free(&place);
    return status;
}

kvl_status kvl_settings_add_key(kvl_settings *s, kvl_origin origin, const char *path, const kvl_yaml *node,
                                bool *is_taken, kvl_err *err) {
    const kvl_arg *arg = find_key(s, node->key);
    *is_taken = arg != NULL;
    if (arg == NULL) {
        return KVL_OK;
    }
    if (node->kind != KVL_YAML_LIST) {
        return add_value(s, origin, path, node, arg, node, err);
    }
    if (!kvl_arg_is_list(arg) || node->first == NULL) {
        return fail_kind(path, node, arg, node, err);
    }
    for (const kvl_yaml *item = node->first; item != NULL; item = item->next) {
        KVL_TRY(add_value(s, origin, path, node, arg, item, err));
    }
    return KVL_OK;
}

kvl_status kvl_settings_fail_kind(const char *path, const kvl_yaml *doc, kvl_err *err) {
    return kvl_fail(err, KVL_E_USAGE, "%s:%zu: expected options as 'key: value', found %s", path, doc->line,
                    kvl_yaml_kind_text(doc));
}

kvl_status kvl_settings_fail_key(const kvl_settings *s, const char *path, const kvl_yaml *node,
                                 const char *const *more, size_t n_more, kvl_err *err) {
    const char *names[128];
    size_t n = 0;
    for (size_t i = 0; i < s->n_table && n < 64; i++) {
        if (stands_in_files(&s->table[i])) {
            names[n++] = s->table[i].name;
        }
    }
    for (size_t i = 0; i < n_more && i < 64; i++) {
        names[n++] = more[i];
    }
    for (size_t i = 0; i < s->n_table; i++) {
        if (s->table[i].help != NULL && strcmp(s->table[i].name, node->key) == 0) {
            return kvl_fail(err, KVL_E_USAGE, "%s:%zu: %s stands on a command line only", path, node->line,
                            node->key);
        }
    }
    const char *nearest = kvl_nearest_name(node->key, strlen(node->key), names, n);
    return kvl_fail(err, KVL_E_USAGE, "%s:%zu: unknown key '%.80s'%s%s", path, node->line, node->key,
                    nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
}

/* Whether settings of one id put out lower ones of the other. */
static bool is_same_choice(const kvl_settings *s, int a, int b) {
    for (size_t g = 0; a != b && g < s->n_groups; g++) {
        bool has_a = false;
        bool has_b = false;
        for (size_t i = 0; i < 4 && s->groups[g][i] != 0; i++) {
            has_a = has_a || s->groups[g][i] == a;
            has_b = has_b || s->groups[g][i] == b;
        }
        if (has_a && has_b) {
            return true;
        }
    }
    return a == b;
}

/* Whether one is put out: by a higher layer; of options that hold one value also by a later one. */
static bool is_out(const kvl_settings *s, size_t i) {
    const kvl_setting *own = &s->items[i];
    for (size_t k = 0; k < s->n; k++) {
        const kvl_setting *other = &s->items[k];
        const bool is_later = k > i && other->origin == own->origin && other->arg->id == own->arg->id &&
                              !kvl_arg_is_list(own->arg);
        if (is_later || (other->origin > own->origin && is_same_choice(s, other->arg->id, own->arg->id))) {
            return true;
        }
    }
    return false;
}

const kvl_setting *kvl_settings_find(const kvl_settings *s, int id) {
    const kvl_setting *found = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i].arg->id == id && !is_out(s, i)) {
            found = &s->items[i];
        }
    }
    return found;
}

kvl_status kvl_settings_apply(const kvl_settings *s, kvl_arg_fn *fn, void *ud, kvl_err *err) {
    for (kvl_origin origin = KVL_FROM_DEFAULT; origin <= KVL_FROM_LINE; origin++) {
        for (size_t i = 0; i < s->n; i++) {
            const kvl_setting *item = &s->items[i];
            const bool is_flag = item->arg->value == NULL;
            const bool is_own = item->arg->id == KVL_ARG_CONFIG || item->arg->id == KVL_ARG_SHOW_CONFIG;
            if (item->origin != origin || is_own || is_out(s, i) ||
                (is_flag && strcmp(item->value, "false") == 0)) {
                continue;
            }
            kvl_err detail = {0};
            const kvl_status status = fn(ud, item->arg->id, is_flag ? NULL : item->value, &detail);
            if (status != KVL_OK) {
                const char *place = item->place;
                return kvl_fail(err, status, "%s%s%s", place != NULL ? place : "", place != NULL ? ": " : "",
                                detail.msg);
            }
        }
    }
    return KVL_OK;
}

/* ---- a command's own ---- */

static kvl_status add_file(kvl_settings *s, const char *path, kvl_err *err) {
    kvl_yaml *doc = NULL;
    KVL_TRY(kvl_yaml_load(&doc, path, err));
    kvl_status status = doc->kind == KVL_YAML_MAP ? KVL_OK : kvl_settings_fail_kind(path, doc, err);
    for (const kvl_yaml *item = doc->first; item != NULL && status == KVL_OK; item = item->next) {
        bool is_taken = false;
        status = kvl_settings_add_key(s, KVL_FROM_FILE, path, item, &is_taken, err);
        if (status == KVL_OK && !is_taken) {
            status = kvl_settings_fail_key(s, path, item, NULL, 0, err);
        }
    }
    kvl_yaml_free(doc);
    return status;
}

kvl_status kvl_settings_take(kvl_settings *s, int argc, char **argv, kvl_arg_fn *fn, void *ud, kvl_err *err) {
    KVL_TRY(kvl_settings_add_line(s, argc, argv, 2, err));
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->items[i].arg->name, "help") == 0) {
            return kvl_settings_apply(s, fn, ud, err);
        }
    }
    const kvl_setting *config = kvl_settings_find(s, KVL_ARG_CONFIG);
    if (config != NULL) {
        KVL_TRY(add_file(s, config->value, err));
    }
    return kvl_settings_apply(s, fn, ud, err);
}

bool kvl_settings_are_shown(const kvl_settings *s) {
    const kvl_setting *shown = kvl_settings_find(s, KVL_ARG_SHOW_CONFIG);
    return shown != NULL && strcmp(shown->value, "true") == 0;
}

kvl_status kvl_settings_print(const kvl_settings *s, kvl_err *err) {
    kvl_str text = {0};
    kvl_settings_show(s, &text);
    kvl_status status = kvl_str_check(&text, "options", err);
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&text), text.len, err);
    }
    kvl_str_free(&text);
    return status;
}

/* ---- as a file ---- */

static void show_comment(kvl_str *out, const kvl_setting *item) {
    static const char *const words[] = {
        [KVL_FROM_DEFAULT] = "default", [KVL_FROM_PRESET] = "preset", [KVL_FROM_LINE] = "command line"};
    const char *place =
        item->origin == KVL_FROM_FILE && item->place != NULL ? item->place : words[item->origin];
    kvl_str_puts(out, " # ");
    while (*place != '\0') { /* a path may hold anything */
        const size_t n_control = kvl_control_bytes(place);
        kvl_str_append(out, n_control != 0 ? "?" : place, 1);
        place += n_control != 0 ? n_control : 1;
    }
    kvl_str_puts(out, "\n");
}

/* The values of one option; several as a list. False: it is not set. */
static bool show_option(const kvl_settings *s, const kvl_arg *arg, kvl_str *out) {
    const kvl_setting *last = NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i].arg == arg && !is_out(s, i)) {
            last = &s->items[i];
            n++;
        }
    }
    if (n == 0) {
        return false;
    }
    kvl_str_printf(out, "%s: %s", arg->name, n > 1 ? "[" : "");
    for (size_t i = 0, k = 0; i < s->n; i++) {
        if (s->items[i].arg == arg && !is_out(s, i)) {
            kvl_str_puts(out, k++ != 0 ? ", " : "");
            kvl_yaml_quote(out, s->items[i].value);
        }
    }
    kvl_str_puts(out, n > 1 ? "]" : "");
    show_comment(out, last);
    return true;
}

void kvl_settings_show(const kvl_settings *s, kvl_str *out) {
    kvl_str_puts(out, "# what is in effect, and where it came from; -C FILE takes it again\n");
    enum { width = 100 };
    kvl_str rest = {0};
    size_t n_line = 0;
    for (size_t i = 0; i < s->n_table; i++) {
        const kvl_arg *arg = &s->table[i];
        if (stands_in_files(arg) && !show_option(s, arg, out)) {
            const bool is_first = rest.len == 0;
            const bool is_full = n_line + strlen(arg->name) > width;
            kvl_str_puts(&rest, is_first ? "# not set: " : is_full ? ",\n#   " : ", ");
            kvl_str_puts(&rest, arg->name);
            n_line = (is_first || is_full ? 0 : n_line) + strlen(arg->name) + 2;
        }
    }
    kvl_str_printf(out, "%s%s", kvl_str_text(&rest), rest.len != 0 ? "\n" : "");
    kvl_str_free(&rest);
}

void kvl_settings_free(kvl_settings *s) {
    for (size_t i = 0; i < s->n; i++) {
        kvl_free(s->items[i].value);
        kvl_free(s->items[i].place);
    }
    kvl_free(s->items);
    s->items = NULL;
    s->n = 0;
}
