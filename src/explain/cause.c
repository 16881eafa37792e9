/* The cause in figures and in words. */
#include "explain/cause.h"

#include "explain/arms.h"

#include <math.h>

static kvl_estimate mean_of(const kvl_evidence *ev, const char *a, const char *b, kvl_step_value *value) {
    const kvl_sums s = kvl_contrast(ev, KVL_STUDY_STEP, a, b, value, KVL_ALL_STEPS);
    return kvl_sums_mean(ev, &s, 0);
}

static double nearest(const kvl_step *s) { return (double)s->lag[0]; }

void kvl_find_cause(kvl_cause *out, const kvl_evidence *ev) {
    const kvl_sums spike = kvli_spike(ev);
    const kvl_sums chance = kvl_contrast(ev, KVL_STUDY_STEP, KVLI_STEP("random", "0.95"),
                                         KVLI_STEP("random", "0.5"), kvl_step_nll, KVL_ALL_STEPS);
    *out = (kvl_cause){.best = kvli_best(ev)};
    out->spike = kvl_sums_mean(ev, &spike, 0);
    out->excess_light = mean_of(ev, KVLI_LIGHT, "none", kvl_step_nll);
    out->excess_best = out->best != NULL ? mean_of(ev, out->best, "none", kvl_step_nll) : kvl_no_estimate();
    out->by_chance = kvl_sums_share(ev, &chance, &spike, 0);
    out->lag_one = mean_of(ev, KVLI_LIGHT, NULL, nearest);
    for (size_t i = 0; i < KVL_N_PROTECTIONS; i++) {
        out->removed[i] = kvl_protection_share(ev, i);
    }
}

static void write_percent(kvl_str *out, const kvl_estimate *e) {
    kvl_str_printf(out, "%.0f %%", 100 * e->mean);
    if (e->has_interval) {
        kvl_str_printf(out, " [%.0f, %.0f]", 100 * e->low, 100 * e->high);
    }
}

static void write_nats(kvl_str *out, const kvl_estimate *e) {
    kvl_str_printf(out, "%+.3f", e->mean);
    if (e->has_interval) {
        kvl_str_printf(out, " [%+.3f, %+.3f]", e->low, e->high);
    }
}

static void write_protections(kvl_str *out, const kvl_cause *c) {
    if (isnan(c->removed[0].mean)) {
        return;
    }
    kvl_str_puts(out, "Protecting the newest");
    for (size_t i = 0; i < KVL_N_PROTECTIONS; i++) {
        kvl_str_printf(out, "%s%zu",
                       i == 0                      ? " "
                       : i + 1 < KVL_N_PROTECTIONS ? ", "
                                                   : " or ",
                       kvl_protections_tried[i].n_newest);
    }
    kvl_str_puts(out, " keys, at the same sizes and schedule, removes ");
    for (size_t i = 0; i < KVL_N_PROTECTIONS; i++) {
        kvl_str_puts(out, i == 0 ? "" : i + 1 < KVL_N_PROTECTIONS ? ", " : " or ");
        write_percent(out, &c->removed[i]);
    }
    kvl_str_puts(out, " of the excess NLL at keep 0.95.\n");
}

void kvl_write_cause(kvl_str *out, const kvl_cause *c, const kvl_model_facts *model, kvl_conclusion recency) {
    const bool has_spike = c->spike.has_interval && c->spike.low > 0;
    if (c->best == NULL) {
        kvl_str_puts(out, "The curve was not run: nothing is said of its cause.\n");
        return;
    }
    kvl_str_printf(out, "On %s keep 0.95 costs ", model->name);
    write_nats(out, &c->excess_light);
    kvl_str_printf(out, " nats per token above the full cache, the best of the curve (%s) ", c->best);
    write_nats(out, &c->excess_best);
    kvl_str_puts(out, ".\n");
    if (!has_spike) {
        kvl_str_puts(out,
                     "Light compression is not worse than the best setting beyond the interval: there is "
                     "no spike to explain here.\n");
    } else if (recency == KVL_SUPPORTED) {
        kvl_str_puts(out, "What causes it: at 0.95 every new key competes at once with the smallest norms of "
                          "all that went before, and mostly loses. ");
        kvl_str_printf(out, "The token just before is visible to a head in %.0f %% of the steps.",
                       100 * c->lag_one.mean);
        kvl_str_puts(out, " Heavier compression acts less often and leaves the last tokens alone in between. "
                          "It is the recent tokens that are missed: ");
        kvl_str_puts(out, "priorities drawn once at random, which know no norms, make ");
        write_percent(out, &c->by_chance);
        kvl_str_puts(out, " of the spike");
        kvl_str_puts(out, c->by_chance.has_interval && c->by_chance.high < 1
                              ? "; the rest goes with this ranking.\n"
                              : ".\n");
    } else {
        kvl_str_puts(out, recency == KVL_REFUTED
                              ? "The loss of recent tokens does not explain it here: H8 is refuted.\n"
                              : "Whether the loss of recent tokens explains it cannot be told here.\n");
    }
    write_protections(out, c);
    if (has_spike && recency == KVL_SUPPORTED) {
        kvl_str_puts(out,
                     "What to do: protect the newest keys (recent=16), compress seldom, or once after the "
                     "prompt.\n");
    }
}
