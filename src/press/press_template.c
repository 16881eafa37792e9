/* template: a working press to copy. It keeps the values of largest L2 norm.
 *
 * To make your own:
 *   1. copy this file to press_NAME.c and rename the struct at the end to kvl_press_NAME
 *   2. add the line X(kvl_press_NAME) to press_list.def and the file to meson.build
 *   3. list your options in the table below; they appear in help and in policy text by themselves
 *   4. write the score: one float per entry, larger = keep, no NaN, the same view gives the same scores
 * Every protocol, statistic and chart works with it at once: kvlab sweep -P NAME.
 */
#include "press/press.h"

#include <math.h>

/* 1. What the user can set. Fields are uint64_t (counts, choices) or double (numbers). */
typedef struct conf {
    double power;
} conf;

/* 2. The same as a table: name, kind, place, default, bounds, help. */
static const kvl_option options[] = {
    {.name = "power",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, power),
     .initial = "1",
     .min = 0.01,
     .max = 10,
     .help = "exponent of the norm (does not change the ranking)"},
};

/* 3. Room for what the rule looks at. */
static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return n * shape->head_dim;
}

/* 4. The rule: pure, no memory of its own, no output. */
static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    const conf *c = conf_ptr;
    size_t head_dim = view->in->shape->head_dim;
    kvl_view_values(view, scratch);
    for (size_t j = 0; j < view->n; j++) {
        double sum = 0;
        for (size_t d = 0; d < head_dim; d++) {
            double v = (double)scratch[j * head_dim + d];
            sum += v * v;
        }
        scores[j] = (float)pow(sum, 0.5 * c->power);
    }
}

/* 5. What the registry sees. */
extern const kvl_press kvl_press_template;
const kvl_press kvl_press_template = {
    .name = "template",
    .summary = "example to copy: keep the values of largest L2 norm",
    .source = "none; an example",
    .formula = "|v| ^ power",
    .cost = "n D operations and floats per head",
    .reads = "values",
    .advice = "only as a start of your own: docs/write-a-press.md",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score = score,
};
