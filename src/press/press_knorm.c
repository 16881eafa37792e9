/* knorm: keep the keys of smallest (or, as a control, largest) L2 norm.
 *
 * Source: Devoto et al., "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression", EMNLP 2024
 * (arXiv 2406.11430), section 3; code alessiodevoto/l2compress f93d6ca. Rotation keeps the norm, so that
 * scoring rotated keys equals scoring unrotated ones. Unlike that code, survivors stay in time order unless
 * order=score.
 *
 * The norm is summed in double: two keys whose norms differ by less than a float rounding error are then
 * ranked by their true norms, not by the order of summation.
 */
#include "press/press.h"

#include <math.h>

typedef struct conf {
    uint64_t side; /* 0: keep low norms, 1: keep high norms */
} conf;

static const kvl_option options[] = {
    {.name = "side",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, side),
     .initial = "low",
     .choices = "low|high",
     .help = "which norms stay"},
};

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return n * shape->head_dim;
}

static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    const conf *c = conf_ptr;
    size_t head_dim = view->in->shape->head_dim;
    kvl_view_keys(view, scratch);
    for (size_t j = 0; j < view->n; j++) {
        const float *key = scratch + j * head_dim;
        double sum = 0;
        for (size_t d = 0; d < head_dim; d++) {
            sum += (double)key[d] * (double)key[d];
        }
        float norm = (float)sqrt(sum);
        scores[j] = c->side == 0 ? -norm : norm;
    }
}

extern const kvl_press kvl_press_knorm;
const kvl_press kvl_press_knorm = {
    .name = "knorm",
    .summary = "keep the keys of smallest L2 norm (side=high: largest)",
    .source = "Devoto et al. 2024, arXiv 2406.11430, section 3",
    .formula = "-|k| (side=high: |k|)",
    .cost = "n D operations and floats per head",
    .differs = "survivors stay in time order unless order=score, with the same results",
    .reads = "keys",
    .advice = "cheap, and needs no queries; bad where the newest tokens have large norms and little is "
              "evicted: protect them by recent=N",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score = score,
};
