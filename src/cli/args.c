/* GNU-style option parsing from a table. */
#include "cli/args.h"

#include "press/option.h"

#include <stdio.h>
#include <string.h>

bool kvl_arg_is_list(const kvl_arg *arg) {
    return (arg->value != NULL && strstr(arg->value, "[,...]") != NULL) ||
           (arg->help != NULL && strstr(arg->help, "(repeatable") != NULL);
}

static kvl_status fail_unknown(const kvl_arg *table, size_t n, const char *word, size_t n_word,
                               kvl_err *err) {
    const char *names[64];
    size_t n_names = kvl_min_size(n, 64);
    for (size_t i = 0; i < n_names; i++) {
        names[i] = table[i].name;
    }
    const char *nearest = kvl_nearest_name(word, n_word, names, n_names);
    if (nearest != NULL) {
        return kvl_fail(err, KVL_E_USAGE, "unknown option '--%.*s'; did you mean --%s?",
                        (int)kvl_min_size(n_word, 80), word, nearest);
    }
    return kvl_fail(err, KVL_E_USAGE, "unknown option '--%.*s'; --help lists all",
                    (int)kvl_min_size(n_word, 80), word);
}

static const kvl_arg *find_long(const kvl_arg *table, size_t n, const char *name, size_t n_name) {
    for (size_t i = 0; i < n; i++) {
        if (strlen(table[i].name) == n_name && memcmp(table[i].name, name, n_name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

/* A name of several letters behind one dash, as llama.cpp has them. */
static const kvl_arg *find_alias(const kvl_arg *table, size_t n, const char *name) {
    const kvl_arg *arg = find_long(table, n, name, strlen(name));
    return arg != NULL && arg->help == NULL ? arg : NULL;
}

static const kvl_arg *find_short(const kvl_arg *table, size_t n, char letter) {
    for (size_t i = 0; i < n; i++) {
        if (table[i].letter == letter) {
            return &table[i];
        }
    }
    return NULL;
}

/* A command line, and whom its options go to. */
typedef struct command_line {
    int argc;
    char **argv;
    bool has_flag_words; /* flags may be given as --name=true and --name=false */
    kvl_arg_fn *fn;
    void *ud;
} command_line;

static kvl_status deliver_flag(const kvl_arg *arg, const char *attached, const command_line *w,
                               kvl_err *err) {
    const bool is_word =
        attached != NULL && (strcmp(attached, "true") == 0 || strcmp(attached, "false") == 0);
    if (attached != NULL && !(w->has_flag_words && is_word)) {
        return kvl_fail(err, KVL_E_USAGE, "option --%s: expected no value, found '%.80s'", arg->name,
                        attached);
    }
    return w->fn(w->ud, arg->id, attached, err);
}

/* Hands one option over; `attached` is the value behind '=' or the letter, or NULL. Advances *i over a value
 * taken from the next word. */
static kvl_status deliver(const kvl_arg *arg, const char *attached, const command_line *w, int *i,
                          kvl_err *err) {
    if (arg->value == NULL) {
        return deliver_flag(arg, attached, w, err);
    }
    if (attached == NULL) {
        if (*i + 1 >= w->argc) {
            return kvl_fail(err, KVL_E_USAGE, "option --%s: expected %s, found nothing", arg->name,
                            arg->value);
        }
        attached = w->argv[++*i];
    }
    return w->fn(w->ud, arg->id, attached, err);
}

static kvl_status parse(const kvl_arg *table, size_t n, const command_line *w, int first, kvl_err *err) {
    bool is_open = true;
    for (int i = first; i < w->argc; i++) {
        const char *word = w->argv[i];
        if (!is_open || word[0] != '-' || word[1] == '\0') {
            KVL_TRY(w->fn(w->ud, -1, word, err));
        } else if (strcmp(word, "--") == 0) {
            is_open = false;
        } else if (word[1] == '-') {
            const char *equals = strchr(word, '=');
            size_t n_name = equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2;
            const kvl_arg *arg = find_long(table, n, word + 2, n_name);
            if (arg == NULL) {
                return fail_unknown(table, n, word + 2, n_name, err);
            }
            KVL_TRY(deliver(arg, equals != NULL ? equals + 1 : NULL, w, &i, err));
        } else {
            const kvl_arg *alias = find_alias(table, n, word + 1);
            const kvl_arg *arg = alias != NULL ? alias : find_short(table, n, word[1]);
            if (arg == NULL) {
                return kvl_fail(err, KVL_E_USAGE, "unknown option '-%c'; --help lists all", word[1]);
            }
            KVL_TRY(deliver(arg, alias == NULL && word[2] != '\0' ? word + 2 : NULL, w, &i, err));
        }
    }
    return KVL_OK;
}

kvl_status kvl_args_parse(const kvl_arg *table, size_t n, int argc, char **argv, int first, kvl_arg_fn *fn,
                          void *ud, kvl_err *err) {
    return parse(table, n, &(command_line){argc, argv, false, fn, ud}, first, err);
}

kvl_status kvl_args_parse_words(const kvl_arg *table, size_t n, int argc, char **argv, int first,
                                kvl_arg_fn *fn, void *ud, kvl_err *err) {
    return parse(table, n, &(command_line){argc, argv, true, fn, ud}, first, err);
}

static const char *other_name(const kvl_arg *table, size_t n, int id) {
    for (size_t i = 0; i < n; i++) {
        if (table[i].id == id && table[i].help == NULL) {
            return table[i].name;
        }
    }
    return NULL;
}

void kvl_args_help(const kvl_arg *table, size_t n, kvl_str *out) {
    for (size_t i = 0; i < n; i++) {
        kvl_str left = {0};
        const char *other = other_name(table, n, table[i].id);
        if (table[i].help == NULL) {
            continue;
        }
        if (other != NULL) {
            kvl_str_printf(&left, "-%s, ", other);
        } else if (table[i].letter != 0) {
            kvl_str_printf(&left, "-%c, ", table[i].letter);
        } else {
            kvl_str_puts(&left, "    ");
        }
        kvl_str_printf(&left, "--%s%s%s", table[i].name, table[i].value != NULL ? " " : "",
                       table[i].value != NULL ? table[i].value : "");
        kvl_str_printf(out, "  %-34s %s\n", kvl_str_text(&left), table[i].help);
        kvl_str_free(&left);
    }
}

kvl_status kvl_args_items(const char *list, kvl_item_text_fn *fn, void *ud, kvl_err *err) {
    const char *item = list;
    int depth = 0;
    for (const char *c = list;; c++) {
        depth += *c == '(';
        depth -= *c == ')';
        if (*c != '\0' && (*c != ',' || depth != 0)) {
            continue;
        }
        char word[256];
        size_t n = (size_t)(c - item);
        if (n == 0 || n >= sizeof word) {
            return kvl_fail(err, KVL_E_USAGE, "expected a list separated by commas, found '%.80s'", list);
        }
        memcpy(word, item, n);
        word[n] = '\0';
        KVL_TRY(fn(ud, word, err));
        if (*c == '\0') {
            return KVL_OK;
        }
        item = c + 1;
    }
}

static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
enum { n_units = sizeof units / sizeof units[0] };

/* Whom the items of a list of ratios go to. */
typedef struct ratio_list {
    kvl_ratio_fn *fn;
    void *ud;
} ratio_list;

static kvl_status add_keep(void *ud, const char *word, kvl_err *err) {
    const ratio_list *list = ud;
    double ratio = 0;
    const bool is_number = kvl_parse_number(&ratio, word, strlen(word));
    return list->fn(list->ud, is_number ? ratio : -1, "--ratio", word, err);
}

static kvl_status add_compression(void *ud, const char *word, kvl_err *err) {
    const ratio_list *list = ud;
    double ratio = 0;
    const bool is_number = kvl_parse_number(&ratio, word, strlen(word));
    return list->fn(list->ud, is_number ? 1 - ratio : -1, "--compression-ratio", word, err);
}

kvl_status kvl_args_keep_ratios(const char *list, kvl_ratio_fn *fn, void *ud, kvl_err *err) {
    return kvl_args_items(list, add_keep, &(ratio_list){fn, ud}, err);
}

kvl_status kvl_args_compression_ratios(const char *list, kvl_ratio_fn *fn, void *ud, kvl_err *err) {
    return kvl_args_items(list, add_compression, &(ratio_list){fn, ud}, err);
}

kvl_status kvl_args_choice(size_t *out, const char *option, const char *value, const char *const *words,
                           size_t n, kvl_err *err) {
    kvl_str all = {0};
    for (size_t i = 0; i < n; i++) {
        if (strcmp(value, words[i]) == 0) {
            *out = i;
            kvl_str_free(&all);
            return KVL_OK;
        }
        kvl_str_printf(&all, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", words[i]);
    }
    kvl_status status =
        kvl_fail(err, KVL_E_USAGE, "%s: expected %s, found '%.80s'", option, kvl_str_text(&all), value);
    kvl_str_free(&all);
    return status;
}

kvl_status kvl_args_count(size_t *out, const char *option, const char *value, size_t max, kvl_err *err) {
    uint64_t n = 0;
    if (!kvl_parse_count(&n, value, strlen(value)) || n == 0 || n > max) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected a whole number from 1 to %zu, found '%.80s'", option,
                        max, value);
    }
    *out = (size_t)n;
    return KVL_OK;
}

kvl_status kvl_args_bytes(uint64_t *out, const char *option, const char *value, kvl_err *err) {
    if (kvl_parse_bytes(out, value, strlen(value))) {
        return KVL_OK;
    }
    return kvl_fail(err, KVL_E_USAGE, "%s: expected a size as 8GiB, 512MiB or 65536, found '%.80s'", option,
                    value);
}

void kvl_args_quote(kvl_str *out, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        kvl_str_puts(out, word);
        return;
    }
    kvl_str_puts(out, "'");
    for (; *word != '\0'; word++) {
        kvl_str_append(out, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
    }
    kvl_str_puts(out, "'");
}

void kvl_args_command(kvl_str *out, int argc, char **argv) {
    kvl_str_puts(out, "kvlab");
    for (int i = 1; i < argc; i++) {
        kvl_str_puts(out, " ");
        kvl_args_quote(out, argv[i]);
    }
}

void kvl_print_bytes(char text[KVL_BYTES_TEXT], uint64_t n) {
    double x = (double)n;
    size_t unit = 0;
    while (x >= 1023.5 && unit + 1 < n_units) {
        x /= 1024;
        unit++;
    }
    snprintf(text, KVL_BYTES_TEXT, unit == 0 || x >= 99.95 ? "%.0f %s" : "%.1f %s", x, units[unit]);
}
