/* Option tables: one parser and one printer for all presses. */
#include "press/option.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { max_word = 63 };

static bool copy_word(char *word, const char *text, size_t n) {
    if (n == 0 || n > max_word) {
        return false;
    }
    memcpy(word, text, n);
    word[n] = '\0';
    return strlen(word) == n;
}

bool kvl_parse_count(uint64_t *out, const char *text, size_t n) {
    char word[max_word + 1];
    if (!copy_word(word, text, n) || word[0] < '0' || word[0] > '9') {
        return false;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(word, &end, 10);
    *out = value;
    return errno == 0 && *end == '\0';
}

bool kvl_parse_number(double *out, const char *text, size_t n) {
    char word[max_word + 1];
    bool has_number_start = n > 0 && strchr("+-.0123456789", text[0]) != NULL;
    if (!has_number_start || !copy_word(word, text, n)) {
        return false;
    }
    char *end = NULL;
    *out = strtod(word, &end);
    return *end == '\0' && isfinite(*out);
}

static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
enum { n_units = sizeof units / sizeof units[0] };

bool kvl_parse_bytes(uint64_t *out, const char *text, size_t n) {
    char word[max_word + 1];
    double number = 0;
    double scale = 1;
    if (!copy_word(word, text, n)) {
        return false;
    }
    const size_t n_number = strspn(word, "0123456789.");
    const char *unit = word[n_number] == '\0' ? units[0] : word + n_number;
    for (size_t i = 0; i < n_units; i++, scale *= 1024) {
        if (strcmp(unit, units[i]) == 0) {
            const bool is_good =
                kvl_parse_number(&number, word, n_number) && number * scale >= 1 && number * scale < 0x1p60;
            *out = is_good ? (uint64_t)(number * scale) : 0;
            return is_good;
        }
    }
    return false;
}

void kvl_bytes_text(kvl_str *out, uint64_t n_bytes) {
    size_t unit = 0;
    while (n_bytes != 0 && n_bytes % 1024 == 0 && unit + 1 < n_units) {
        n_bytes /= 1024;
        unit++;
    }
    kvl_str_printf(out, "%llu%s", (unsigned long long)n_bytes, unit == 0 ? "" : units[unit]);
}

/* Index of the word in "a|b|c", or -1. */
static int choice_index(const char *choices, const char *text, size_t n) {
    int index = 0;
    for (const char *c = choices; *c != '\0'; index++) {
        size_t len = strcspn(c, "|");
        if (len == n && memcmp(c, text, n) == 0) {
            return index;
        }
        c += len;
        c += *c == '|';
    }
    return -1;
}

/* "VALUE[xTIMES]+..." */
static bool store_list(const kvl_option *o, kvl_numbers *to, const char *text, size_t n) {
    enum { max_numbers = sizeof to->values / sizeof to->values[0] };
    *to = (kvl_numbers){0};
    for (size_t done = 0, len; done <= n; done += len + 1) {
        const char *item = text + done;
        const char *plus = memchr(item, '+', n - done);
        len = plus != NULL ? (size_t)(plus - item) : n - done;
        const char *times = memchr(item, 'x', len);
        uint64_t count = 1;
        double value = 0;
        const size_t n_value = times != NULL ? (size_t)(times - item) : len;
        if ((times != NULL && !kvl_parse_count(&count, times + 1, len - n_value - 1)) ||
            !kvl_parse_number(&value, item, n_value) || !(value >= o->min && value <= o->max) || count == 0 ||
            count > max_numbers - to->n) {
            return false;
        }
        for (; count != 0; count--) {
            to->values[to->n++] = value;
        }
    }
    return true;
}

static bool store(const kvl_option *o, void *conf, const char *text, size_t n) {
    char *field = (char *)conf + o->offset;
    if (o->kind == KVL_OPTION_LIST) {
        return store_list(o, (kvl_numbers *)(void *)field, text, n);
    }
    if (o->kind == KVL_OPTION_NUMBER) {
        double value = (double)NAN;
        bool is_good = (o->choices != NULL && choice_index(o->choices, text, n) == 0) ||
                       (kvl_parse_number(&value, text, n) && value >= o->min && value <= o->max);
        memcpy(field, &value, sizeof value);
        return is_good;
    }
    uint64_t value = 0;
    bool is_good = false;
    if (o->kind == KVL_OPTION_COUNT) {
        is_good = kvl_parse_count(&value, text, n) && (double)value >= o->min && (double)value <= o->max;
    } else {
        int index = choice_index(o->choices, text, n);
        is_good = index >= 0;
        value = is_good ? (uint64_t)index : 0;
    }
    memcpy(field, &value, sizeof value);
    return is_good;
}

void kvl_options_reset(const kvl_option *options, size_t n, void *conf) {
    for (size_t i = 0; i < n; i++) {
        (void)store(&options[i], conf, options[i].initial, strlen(options[i].initial));
    }
}

static kvl_status fail_value(const kvl_option *o, const char *owner, const char *text, size_t n,
                             kvl_err *err) {
    if (o->kind == KVL_OPTION_CHOICE) {
        return kvl_fail(err, KVL_E_USAGE, "press %s: option %s: expected one of %s, found '%.*s'", owner,
                        o->name, o->choices, (int)kvl_min_size(n, 80), text);
    }
    if (o->kind == KVL_OPTION_LIST) {
        return kvl_fail(err, KVL_E_USAGE,
                        "press %s: option %s: expected at most 60 numbers from %g to %g, as 0.9x4+0.5, found "
                        "'%.*s'",
                        owner, o->name, o->min, o->max, (int)kvl_min_size(n, 80), text);
    }
    return kvl_fail(err, KVL_E_USAGE, "press %s: option %s: expected %s%sa %s from %g to %g, found '%.*s'",
                    owner, o->name, o->choices != NULL ? o->choices : "", o->choices != NULL ? " or " : "",
                    o->kind == KVL_OPTION_COUNT ? "whole number" : "number", o->min, o->max,
                    (int)kvl_min_size(n, 80), text);
}

static kvl_status parse_one(const kvl_option *options, size_t n, void *conf, const char *owner, bool is_first,
                            const char *text, size_t n_text, kvl_err *err) {
    const char *equals = memchr(text, '=', n_text);
    if (equals == NULL) {
        if (!is_first || n == 0) {
            return kvl_fail(err, KVL_E_USAGE, "press %s: expected %s, found '%.*s'", owner,
                            n == 0 ? "no options" : "name=value", (int)kvl_min_size(n_text, 80), text);
        }
        return store(&options[0], conf, text, n_text) ? KVL_OK
                                                      : fail_value(&options[0], owner, text, n_text, err);
    }
    size_t n_name = (size_t)(equals - text);
    for (size_t i = 0; i < n; i++) {
        if (strlen(options[i].name) == n_name && memcmp(options[i].name, text, n_name) == 0) {
            size_t n_value = n_text - n_name - 1;
            return store(&options[i], conf, equals + 1, n_value)
                       ? KVL_OK
                       : fail_value(&options[i], owner, equals + 1, n_value, err);
        }
    }
    kvl_str known = {0};
    for (size_t i = 0; i < n; i++) {
        kvl_str_printf(&known, "%s%s", i == 0 ? "" : ", ", options[i].name);
    }
    kvl_status status = kvl_fail(err, KVL_E_USAGE, "press %s: unknown option '%.*s'; it has: %s", owner,
                                 (int)kvl_min_size(n_name, 80), text, n == 0 ? "none" : kvl_str_text(&known));
    kvl_str_free(&known);
    return status;
}

kvl_status kvl_options_parse(const kvl_option *options, size_t n, void *conf, const char *owner,
                             const char *text, size_t n_text, kvl_err *err) {
    bool is_first = true;
    while (n_text != 0) {
        const char *comma = memchr(text, ',', n_text);
        size_t len = comma != NULL ? (size_t)(comma - text) : n_text;
        KVL_TRY(parse_one(options, n, conf, owner, is_first, text, len, err));
        is_first = false;
        text += len;
        n_text -= len;
        if (n_text == 1) {
            return kvl_fail(err, KVL_E_USAGE, "press %s: expected an option after the comma, found nothing",
                            owner);
        }
        if (n_text != 0) {
            text++;
            n_text--;
        }
    }
    return KVL_OK;
}

static void print_list(const kvl_numbers *list, kvl_str *out) {
    for (size_t i = 0, same; i < list->n; i += same) {
        for (same = 1; i + same < list->n && list->values[i + same] == list->values[i]; same++) {
        }
        kvl_str_printf(out, "%s%.15g", i == 0 ? "" : "+", list->values[i]);
        if (same > 1) {
            kvl_str_printf(out, "x%zu", same);
        }
    }
}

static void print_value(const kvl_option *o, const void *conf, kvl_str *out) {
    const char *field = (const char *)conf + o->offset;
    if (o->kind == KVL_OPTION_LIST) {
        print_list((const kvl_numbers *)(const void *)field, out);
        return;
    }
    if (o->kind == KVL_OPTION_NUMBER) {
        double value;
        memcpy(&value, field, sizeof value);
        if (isnan(value)) {
            kvl_str_puts(out, o->choices);
        } else {
            kvl_str_printf(out, "%.15g", value);
        }
        return;
    }
    uint64_t value;
    memcpy(&value, field, sizeof value);
    if (o->kind == KVL_OPTION_COUNT) {
        kvl_str_printf(out, "%llu", (unsigned long long)value);
        return;
    }
    const char *c = o->choices;
    for (uint64_t i = 0; i < value; i++) {
        c += strcspn(c, "|");
        c += *c == '|';
    }
    kvl_str_append(out, c, strcspn(c, "|"));
}

static void print_options(const kvl_option *options, size_t n, const void *conf, bool has_defaults,
                          kvl_str *out) {
    bool is_first_written = true;
    for (size_t i = 0; i < n; i++) {
        kvl_str value = {0};
        print_value(&options[i], conf, &value);
        if (has_defaults || strcmp(kvl_str_text(&value), options[i].initial) != 0) {
            bool is_bare = i == 0 && options[i].kind == KVL_OPTION_CHOICE;
            kvl_str_printf(out, "%s%s%s%s", is_first_written ? "" : ",", is_bare ? "" : options[i].name,
                           is_bare ? "" : "=", kvl_str_text(&value));
            is_first_written = false;
        }
        kvl_str_free(&value);
    }
}

void kvl_options_text(const kvl_option *options, size_t n, const void *conf, kvl_str *out) {
    print_options(options, n, conf, false, out);
}

void kvl_options_whole_text(const kvl_option *options, size_t n, const void *conf, kvl_str *out) {
    print_options(options, n, conf, true, out);
}
