/* Published figures to compare with: of the U-curve analysis (KnormPress on Pythia-70M) and what the paper on
 * KnormPress claims. Levels of PPL belong to their model; only ratios to the same table's full cache, and the
 * shape, are compared.
 */
#ifndef KVL_REPORT_PUBLISHED_H
#define KVL_REPORT_PUBLISHED_H

#include "base/compiler.h"

#define KVL_PUBLISHED_REPOSITORY "od-liu/CS3602-LLM-Inference-Acceleration"
#define KVL_PUBLISHED_COMMIT "ae58300"
#define KVL_PAPER                                                                                            \
    "Devoto et al. 2024, \"A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression\", EMNLP " \
    "2024, arXiv 2406.11430"

typedef struct kvl_published_row {
    double keep_ratio, ppl;
} kvl_published_row;

typedef struct kvl_published {
    const char *preset; /* the protocol as a preset */
    const char *press;
    const char *file;              /* of the repository, where the figures are */
    const char *made_en, *made_zh; /* of what texts, and how they were read off */
    size_t n_texts;
    double full;                   /* PPL of the full cache */
    const kvl_published_row *rows; /* [n] keep falling */
    size_t n;
} kvl_published;

/* The table of a protocol and press; NULL: none was published. */
const kvl_published *kvl_published_find(const char *preset, const char *press);
/* Its PPL at a keep ratio, as a ratio to its full cache; NAN: not published. */
double kvl_published_ratio(const kvl_published *p, double keep_ratio);
/* Rows of highest and lowest PPL. */
const kvl_published_row *kvl_published_worst(const kvl_published *p);
const kvl_published_row *kvl_published_best(const kvl_published *p);

#endif
