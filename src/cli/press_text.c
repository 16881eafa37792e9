/* Descriptors -> words. */
#include "cli/press_text.h"

#include "press/plugin.h"
#include "press/policy.h"

#include <string.h>

/* ---- what streams note ---- */

/* Needs with default options, on some usual model: they depend on it in sizes only. */
static kvl_needs needs_of(const kvl_press *press) {
    const kvl_shape shape = {
        .n_layers = 4, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .width = 256, .n_context = 2048};
    kvl_policy policy;
    kvl_str text = {0};
    kvl_needs needs = {0};
    kvl_policy_init(&policy);
    kvl_press_example(press, &text);
    if (press->needs != NULL && kvl_policy_parse(&policy, kvl_str_text(&text), NULL) == KVL_OK) {
        needs = press->needs(policy.tree, &shape);
    }
    kvl_str_free(&text);
    return needs;
}

static void add_need(kvl_str *out, const char *text) {
    kvl_str_printf(out, "%s%s", out->len != 0 ? ", " : "", text);
}

void kvl_press_needs_text(const kvl_press *press, kvl_str *out) {
    const kvl_needs needs = needs_of(press);
    kvl_str all = {0};
    kvl_str_puts(&all, press->reads != NULL ? press->reads : "");
    if (needs.n_queries == KVL_ALL_QUERIES) {
        add_need(&all, "all queries");
    } else if (needs.n_queries == 1) {
        add_need(&all, "the newest query");
    } else if (needs.n_queries != 0) {
        add_need(&all, "queries of the last ");
        kvl_str_printf(&all, "%u tokens", needs.n_queries);
    }
    if (needs.has_moments) {
        add_need(&all, "moments of all queries");
    }
    if (needs.has_inputs) {
        add_need(&all, "lengths of inputs");
    }
    if (needs.has_mass) {
        add_need(&all, "attention received");
    }
    if (press->replay != NULL) {
        add_need(&all, "second passes");
    }
    if (needs.has_calibration) {
        add_need(&all, "a calibration");
    }
    kvl_str_puts(out, all.len != 0 ? kvl_str_text(&all) : "-");
    kvl_str_free(&all);
}

void kvl_press_unit_text(const kvl_press *press, kvl_str *out) {
    const bool is_layer = press->score_layer != NULL || press->select != NULL ||
                          (press->budget != NULL && press->spares == NULL);
    kvl_str_puts(out, press->is_identity    ? "-"
                      : press->n_inner != 0 ? "wrapper"
                      : is_layer            ? "layer"
                                            : "head");
    kvl_str_puts(out, press->is_ragged ? ", ragged" : "");
}

void kvl_press_values_text(const kvl_option *option, kvl_str *out) {
    if (option->kind != KVL_OPTION_CHOICE) {
        kvl_str_printf(out, "%.15g to %.15g%s", option->min, option->max,
                       option->kind == KVL_OPTION_LIST ? ", for each layer" : "");
        kvl_str_printf(out, "%s%s", option->choices != NULL ? ", or " : "",
                       option->choices != NULL ? option->choices : "");
        return;
    }
    for (const char *c = option->choices; *c != '\0'; c++) {
        kvl_str_puts(out, *c == '|' ? " or " : "");
        kvl_str_append(out, c, *c != '|');
    }
}

void kvl_press_example(const kvl_press *press, kvl_str *out) {
    static const char *const inner[] = {"knorm", "snapkv"};
    kvl_str inside = {0};
    if (press->n_inner != 0 && press->inner != NULL) {
        kvl_str_puts(&inside, press->inner);
    }
    for (unsigned i = 0; i < press->n_inner && press->inner == NULL; i++) {
        kvl_str_printf(&inside, "%s%s", i == 0 ? "" : ",", inner[i % 2]);
    }
    kvl_str_puts(out, press->name);
    if (press->n_options != 0) {
        kvl_str_printf(&inside, "%s%s=%s", inside.len != 0 ? "," : "", press->options[0].name,
                       press->options[0].initial);
    }
    if (inside.len != 0) {
        kvl_str_printf(out, "(%s)", kvl_str_text(&inside));
    }
    kvl_str_free(&inside);
}

/* ---- groups ---- */

kvl_press_group kvl_press_group_of(const kvl_press *press) {
    const kvl_needs needs = needs_of(press);
    return kvl_press_hash(press)[0] != '\0' ? KVL_PRESS_PLUGINS
           : press->n_inner != 0            ? KVL_PRESS_WRAPPERS
           : needs.n_queries != 0 || needs.has_moments || needs.has_mass || needs.has_calibration ||
                   press->replay != NULL
               ? KVL_PRESS_BY_QUERIES
               : KVL_PRESS_BY_ENTRIES;
}

const char *kvl_press_group_text(kvl_press_group group) {
    static const char *const texts[KVL_N_PRESS_GROUPS] = {
        [KVL_PRESS_BY_ENTRIES] = "by keys, values and positions",
        [KVL_PRESS_BY_QUERIES] = "by queries and attention",
        [KVL_PRESS_WRAPPERS] = "around other presses",
        [KVL_PRESS_PLUGINS] = "from plug-ins",
    };
    return texts[group];
}

void kvl_press_help(kvl_str *out) {
    size_t n = 0;
    const kvl_press *const *all = kvl_presses(&n);
    for (kvl_press_group group = 0; group < KVL_N_PRESS_GROUPS; group++) {
        bool is_first = true;
        for (size_t i = 0; i < n; i++) {
            if (kvl_press_group_of(all[i]) != group) {
                continue;
            }
            if (is_first) {
                kvl_str_printf(out, "\npresses %s:\n", kvl_press_group_text(group));
            }
            is_first = false;
            kvl_str_printf(out, "  %-26s %s\n", all[i]->name, all[i]->summary);
        }
    }
    kvl_str_puts(out, "\n  kvlab press show NAME      options, score, cost and source of a press\n");
}
