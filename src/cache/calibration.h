/* Statistics of a model's queries and keys over texts, for presses that rank by them.
 *
 * They belong to one model: a file of them (safetensors) has the model's hashes and says of which texts it
 * was made. protocol/calibrate.h computes them.
 */
#ifndef KVL_CACHE_CALIBRATION_H
#define KVL_CACHE_CALIBRATION_H

#include "base/str.h"
#include "model/shape.h"

struct kvl_model;

enum {
    KVL_CALIBRATION_SKIP = 4, /* first tokens of each text, whose queries have no part in the moments */
};

typedef struct kvl_calibration {
    uint32_t n_layers, n_heads, n_kv_heads, head_dim;
    float *means;        /* [L, H, D] of queries before rotation */
    float *covariances;  /* [L, H, D, D] of them, divided by the count less 1 */
    float *filters;      /* [L, K, D] the main direction of rotated queries, mean over the group */
    float *head_scores;  /* [L, K] how far back a head looks: the larger, the farther */
    uint32_t *ranks;     /* [L, K] of head_scores among all heads, from the lowest; of equal ones the first */
    uint64_t model_hash; /* kvl_model.hash */
    uint64_t layout_hash; /* kvl_model.layout_hash */
    uint64_t hash;        /* of all of it but names: identity in records */
    uint64_t n_tokens;
    kvl_str texts; /* "NAME:HASH:TOKENS ..." */
} kvl_calibration;

/* All zero, for the model's shape and hashes; fill in, then kvl_calibration_seal. Destroy with
 * kvl_calibration_destroy. */
kvl_status kvl_calibration_create(kvl_calibration **out, const struct kvl_model *model,
                                  kvl_err *err) KVL_MUST_USE;
void kvl_calibration_destroy(kvl_calibration *c);
/* Sets ranks and hash. */
void kvl_calibration_seal(kvl_calibration *c);

/* Errors: E_IO. */
kvl_status kvl_calibration_save(const kvl_calibration *c, const char *path, kvl_err *err) KVL_MUST_USE;
/* Reads a file back, for this model (one of headers only will do). Errors: all of safetensors; E_MISSING and
 * E_SHAPE for tensors, E_CONFIG for metadata that is not kvlab's, contents that were changed, and
 * statistics of another model. */
kvl_status kvl_calibration_load(kvl_calibration **out, const char *path, const struct kvl_model *model,
                                kvl_err *err) KVL_MUST_USE;

/* The first of the query heads of a KV head. */
static inline size_t kvl_calibration_group(const kvl_calibration *c, uint32_t layer, uint32_t kv_head) {
    return (size_t)layer * c->n_heads + (size_t)kv_head * (c->n_heads / c->n_kv_heads);
}
/* Moments of its query heads, one after another: means [G, D], covariances [G, D, D]. */
static inline const float *kvl_calibration_means(const kvl_calibration *c, uint32_t layer, uint32_t kv_head) {
    return c->means + kvl_calibration_group(c, layer, kv_head) * c->head_dim;
}
static inline const float *kvl_calibration_covariances(const kvl_calibration *c, uint32_t layer,
                                                       uint32_t kv_head) {
    return c->covariances + kvl_calibration_group(c, layer, kv_head) * c->head_dim * c->head_dim;
}
/* [D] */
static inline const float *kvl_calibration_filter(const kvl_calibration *c, uint32_t layer,
                                                  uint32_t kv_head) {
    return c->filters + ((size_t)layer * c->n_kv_heads + kv_head) * c->head_dim;
}
static inline uint32_t kvl_calibration_rank(const kvl_calibration *c, uint32_t layer, uint32_t kv_head) {
    return c->ranks[(size_t)layer * c->n_kv_heads + kv_head];
}

#endif
