/* Rotation frequencies: settings of a config -> kvl_rope.
 *
 * Sources: Su et al. 2021 (arXiv 2104.09864); `linear`: kaiokendev 2023; `yarn`: Peng et al. 2023 (arXiv
 * 2309.00071); `llama3`: Llama 3.1. Formulas as in transformers 5.23 modeling_rope_utils.py.
 */
#ifndef KVL_MODEL_ROPE_H
#define KVL_MODEL_ROPE_H

#include "model/fields.h"
#include "model/model.h"

typedef enum kvli_rope_type {
    KVLI_ROPE_PLAIN,
    KVLI_ROPE_LINEAR,
    KVLI_ROPE_LLAMA3,
    KVLI_ROPE_YARN
} kvli_rope_type;

typedef struct kvli_rope {
    kvli_rope_type type;
    double base;
    double part; /* of a head's dimensions that is rotated */
    double factor;
    double low_freq_factor, high_freq_factor;            /* llama3 */
    double original_context;                             /* llama3, yarn */
    double attention_factor;                             /* yarn; 0: from the factor */
    double beta_fast, beta_slow, mscale, mscale_all_dim; /* yarn */
    bool truncate;                                       /* yarn */
} kvli_rope;

/* Plain rotation with that base, of all dimensions. */
kvli_rope kvli_rope_default(double base);
/* Reads rope_theta, partial_rotary_factor, rope_scaling and rope_parameters of a config over what *rope
 * holds. Fields that stand in several places must agree. Unknown types and unknown keys are E_UNSUPPORTED. */
kvl_status kvli_rope_read(kvli_rope *rope, const kvli_fields *f) KVL_MUST_USE;
/* Reads one object of that kind (rope_parameters of one layer type). */
kvl_status kvli_rope_read_object(kvli_rope *rope, const kvli_fields *f, const char *key) KVL_MUST_USE;
/* Computes frequencies for n_rotary dimensions. `divisors`
 * [n_rotary / 2] or NULL: factors from a file, each frequency is divided by its own. */
kvl_status kvli_rope_compute(kvl_rope *out, const kvli_rope *rope, uint32_t n_rotary, const float *divisors,
                             kvl_err *err) KVL_MUST_USE;

#endif
