/* farnorm: knorm with a bonus for age. Keeps keys of small norm, and of equal norms the older one.
 *
 * An example of a press outside kvlab's tree; an invention, from no paper.
 */
#include <kvlab_press.h>

#include <math.h>

typedef struct conf {
    double age; /* what a token's distance from the newest is worth, in norms */
} conf;

static const kvl_option options[] = {
    {.name = "age",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, age),
     .initial = "0.01",
     .min = 0,
     .max = 100,
     .help = "what one token of age is worth"},
};

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return n * shape->head_dim; /* all keys of one head */
}

static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    const conf *c = conf_ptr;
    const size_t head_dim = view->in->shape->head_dim;
    kvl_view_keys(view, scratch);
    for (size_t j = 0; j < view->n; j++) {
        const float *key = scratch + j * head_dim;
        double sum = 0;
        for (size_t d = 0; d < head_dim; d++) {
            sum += (double)key[d] * (double)key[d];
        }
        const double age = (double)view->in->n_seen - 1 - (double)view->positions[j];
        scores[j] = (float)(c->age * age - sqrt(sum));
    }
}

static const kvl_press farnorm = {
    .name = "farnorm",
    .summary = "keep keys of small norm, older ones before newer ones",
    .source = "an example, from no paper",
    .formula = "age * (n_seen - 1 - position) - |key|",
    .cost = "n D operations and floats per head",
    .reads = "keys",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score = score,
};

KVL_PRESS_PLUGIN(farnorm);
