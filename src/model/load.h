/* Stored tensors -> used weights: rows are read straight into panels, in parallel, in the order they are
 * used.
 *
 * The peak is the packed model and a few rows for each thread. Sizes come from the config, but nothing is
 * allocated before the tensors are known to hold exactly that many values.
 */
#ifndef KVL_MODEL_LOAD_H
#define KVL_MODEL_LOAD_H

#include "base/pool.h"
#include "file/tensors.h"
#include "model/arch.h"
#include "model/model.h"

/* Some rows of a stored matrix, or values of a stored vector, that become rows of a used one. */
typedef struct kvli_part {
    const kvl_tensor *tensor;
    size_t first; /* stored row of row 0 */
    size_t n_rows;
    kvli_row_fn *row_of; /* stored row of a row of the part, counted from `first`; NULL: the same */
} kvli_part;

typedef struct kvli_loader {
    kvl_model *m;
    const kvl_tensors *tensors;
    kvl_pool *pool;
    kvl_err *err;
    kvl_weight_kind kind; /* of what is loaded next */
    bool is_header_only;  /* sizes are set and counted; no block is made, nothing is read; pool may be NULL */
} kvli_loader;

/* A linear map whose rows are those of the parts, one part after another; n_in values in each.
 * `is_transposed`: stored [n_in, rows] (one part only). */
kvl_status kvli_load_linear(kvli_loader *l, kvl_linear *out, const kvli_part *parts, size_t n_parts,
                            uint32_t n_in, bool is_transposed) KVL_MUST_USE;
/* The same for vectors: a new block of all parts' values. */
kvl_status kvli_load_vector(kvli_loader *l, float **out, const kvli_part *parts, size_t n_parts) KVL_MUST_USE;
/* A matrix as it is stored, row-major: a new block. */
kvl_status kvli_load_rows(kvli_loader *l, float **out, const kvl_tensor *tensor) KVL_MUST_USE;
/* E_CONFIG unless the tensor's rows are those that w holds. */
kvl_status kvli_load_compare(kvli_loader *l, const kvl_linear *w, const kvl_tensor *tensor) KVL_MUST_USE;

#endif
