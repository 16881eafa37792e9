/* Presses within presses: parsing and printing. */
#include "press/tree.h"

#include "press/plugin.h"

#include <string.h>

/* Where the first of `ends` outside parentheses stands; n if there is none. */
static size_t part_until(const char *text, size_t n, const char *ends) {
    int depth = 0;
    size_t i = 0;
    for (; i < n && !(depth == 0 && strchr(ends, text[i]) != NULL); i++) {
        depth += text[i] == '(';
        depth -= text[i] == ')';
    }
    return i;
}

size_t kvli_press_part(const char *text, size_t n) { return part_until(text, n, ":"); }

/* Whether an argument is an option: a name and '=' come before anything that a press may have. */
static bool is_option(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && strchr("=(:", text[i]) == NULL) {
        i++;
    }
    return i < n && text[i] == '=';
}

/* Reads "keep=R" or "size=N" into a wrapped press. */
static kvl_status parse_budget(kvl_press_node *node, const char *text, size_t n, kvl_err *err) {
    if (n > 5 && memcmp(text, "keep=", 5) == 0 && kvl_parse_number(&node->keep_ratio, text + 5, n - 5) &&
        node->keep_ratio > 0 && node->keep_ratio <= 1) {
        return KVL_OK;
    }
    if (n > 5 && memcmp(text, "size=", 5) == 0 && kvl_parse_count(&node->size_tok, text + 5, n - 5) &&
        node->size_tok != 0) {
        return KVL_OK;
    }
    return kvl_fail(
        err, KVL_E_USAGE,
        "press %s: expected :keep=R (above 0, at most 1) or :size=N behind a wrapped press, found "
        "'%.*s'",
        node->press->name, (int)kvl_min_size(n, 80), text);
}

typedef struct parser {
    kvl_press_node *tree;
    uint64_t n_used;
} parser;

static kvl_status parse_node(parser *p, const char *text, size_t n, kvl_err *err);

static kvl_status parse_wrapped(parser *p, const char *text, size_t n, kvl_err *err) {
    kvl_press_node *node = p->tree + p->n_used;
    const size_t n_press = kvli_press_part(text, n);
    KVL_TRY(parse_node(p, text, n_press, err));
    if (node->press->is_identity || node->press->is_outermost) {
        return kvl_fail(err, KVL_E_USAGE,
                        "press %s: expected to be the outermost, found within another press",
                        node->press->name);
    }
    return n_press < n ? parse_budget(node, text + n_press + 1, n - n_press - 1, err) : KVL_OK;
}

/* The arguments [n] of a node: wrapped presses, then options. */
static kvl_status parse_arguments(parser *p, kvl_press_node *node, const char *text, size_t n, kvl_err *err) {
    const kvl_press *press = node->press;
    for (unsigned i = 0; i < press->n_inner; i++) {
        const size_t len = part_until(text, n, ",");
        if (len == 0 || is_option(text, len)) {
            if (press->inner == NULL) {
                return kvl_fail(
                    err, KVL_E_USAGE, "press %s: expected %u press%s first in (), as in %s(%s), found '%.*s'",
                    press->name, press->n_inner, press->n_inner == 1 ? "" : "es", press->name,
                    press->n_inner == 1 ? "knorm" : "knorm,snapkv", (int)kvl_min_size(n, 80), text);
            }
            KVL_TRY(parse_wrapped(p, press->inner, strlen(press->inner), err));
            continue;
        }
        KVL_TRY(parse_wrapped(p, text, len, err));
        const size_t used = len < n ? len + 1 : n;
        if (used == n && len < n) {
            return kvl_fail(err, KVL_E_USAGE, "press %s: expected an option after the comma, found nothing",
                            press->name);
        }
        text += used;
        n -= used;
    }
    return kvl_options_parse(press->options, press->n_options, node->conf, press->name, text, n, err);
}

/* A sequence acts by itself: nothing around it has a step that its parts would have to take. */
static kvl_status check_sequence(const kvl_press_node *node, kvl_err *err) {
    const kvl_press *press = node->press;
    const kvl_press_node *sequence = kvl_press_sequence(node);
    const bool has_steps = press->score != NULL || press->score_layer != NULL || press->budget != NULL ||
                           press->select != NULL || press->alter != NULL;
    return sequence == NULL || sequence == node || !has_steps
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE,
                          "press %s: expected one press within it, found %s; as in %s(%s(A),B)", press->name,
                          sequence->press->name, sequence->press->name, press->name);
}

static kvl_status parse_node(parser *p, const char *text, size_t n, kvl_err *err) {
    size_t n_name = 0;
    while (n_name < n && text[n_name] != '(' && text[n_name] != ':') {
        n_name++;
    }
    if (p->n_used == KVL_POLICY_MAX_PRESSES) {
        return kvl_fail(err, KVL_E_USAGE, "policy: expected at most %d presses within each other, found more",
                        KVL_POLICY_MAX_PRESSES);
    }
    kvl_press_node *node = &p->tree[p->n_used];
    KVL_TRY(kvl_press_find(&node->press, text, n_name, err));
    const uint64_t first = p->n_used++;
    kvl_options_reset(node->press->options, node->press->n_options, node->conf);
    const bool has_arguments = n_name < n;
    if (has_arguments && (text[n - 1] != ')' || n < n_name + 2 ||
                          part_until(text + n_name + 1, n - n_name - 1, ")") != n - n_name - 2)) {
        return kvl_fail(err, KVL_E_USAGE, "policy: expected a closing ) in '%.*s'", (int)kvl_min_size(n, 80),
                        text);
    }
    KVL_TRY(parse_arguments(p, node, has_arguments ? text + n_name + 1 : "",
                            has_arguments ? n - n_name - 2 : 0, err));
    node->n_nodes = p->n_used - first;
    KVL_TRY(check_sequence(node, err));
    return node->press->check != NULL ? node->press->check(node, err) : KVL_OK;
}

kvl_status kvli_tree_parse(kvl_press_node *tree, const char *text, size_t n, kvl_err *err) {
    parser p = {tree, 0};
    memset(tree, 0, KVL_POLICY_MAX_PRESSES * sizeof *tree);
    return parse_node(&p, text, n, err);
}

void kvli_tree_text(const kvl_press_node *node, bool has_defaults, kvl_str *out) {
    const kvl_press *press = node->press;
    kvl_str inside = {0};
    kvl_str options = {0};
    for (unsigned i = 0; i < press->n_inner; i++) {
        const kvl_press_node *inner = kvl_press_inner(node, i);
        kvl_str_puts(&inside, i == 0 ? "" : ",");
        kvli_tree_text(inner, has_defaults, &inside);
        if (inner->size_tok != 0) {
            kvl_str_printf(&inside, ":size=%llu", (unsigned long long)inner->size_tok);
        } else if (inner->keep_ratio != 0) {
            kvl_str_printf(&inside, ":keep=%.15g", inner->keep_ratio);
        }
    }
    (has_defaults ? kvl_options_whole_text : kvl_options_text)(press->options, press->n_options, node->conf,
                                                               &options);
    if (options.len != 0) {
        kvl_str_printf(&inside, "%s%s", inside.len != 0 ? "," : "", kvl_str_text(&options));
    }
    kvl_str_printf(out, "%s%s%s", press->name, kvl_press_hash(press)[0] != '\0' ? "@" : "",
                   kvl_press_hash(press));
    if (inside.len != 0) {
        kvl_str_printf(out, "(%s)", kvl_str_text(&inside));
    }
    kvl_str_free(&inside);
    kvl_str_free(&options);
}
