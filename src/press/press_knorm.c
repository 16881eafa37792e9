/* knorm: keep the keys of smallest (or, as a control, largest) L2 norm.
 *
 * Source: Devoto et al., "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression", EMNLP 2024
 * (arXiv 2406.11430), section 3; code alessiodevoto/l2compress f93d6ca. Rotation keeps the norm, so that
 * scoring rotated keys equals scoring unrotated ones. Unlike that code, survivors stay in time order unless
 * order=score.
 */
#include "press/press.h"

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
    kvl_view_key_norms(view, scores, scratch);
    for (size_t j = 0; c->side == 0 && j < view->n; j++) {
        scores[j] = -scores[j];
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
    .is_signed = true,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score = score,
};
