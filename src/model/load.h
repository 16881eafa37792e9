/* What every binder does: find a tensor, check its shape, read it, pack it, count it. */
#ifndef KVL_MODEL_LOAD_H
#define KVL_MODEL_LOAD_H

#include "file/tensors.h"
#include "model/model.h"

/* Rows of a matrix may be stored in another order than they are used in: used row of a stored row. */
typedef size_t kvli_row_fn(const kvl_shape *shape, size_t stored_row);

/* The tensor of that name and shape [n_rows] (n_cols = 0) or [n_rows, n_cols]; E_MISSING, E_SHAPE. */
kvl_status kvli_load_find(const kvl_tensor **out, const kvl_tensors *tensors, const char *name,
                          uint64_t n_rows, uint64_t n_cols, kvl_err *err) KVL_MUST_USE;
/* Reads values in used order (row_of NULL: as stored) into a new block of f32; counts parameters, adds the
 * values to m->hash. n_cols as above. The block is the caller's. */
kvl_status kvli_load_values(float **out, kvl_model *m, const kvl_tensors *tensors, const char *name,
                            uint64_t n_rows, uint64_t n_cols, kvli_row_fn *row_of, kvl_err *err) KVL_MUST_USE;
/* "<prefix>.weight" and, if has_bias, "<prefix>.bias". */
kvl_status kvli_load_linear(kvl_linear *out, kvl_model *m, const kvl_tensors *tensors, const char *prefix,
                            uint32_t n_in, uint32_t n_out, bool has_bias, kvli_row_fn *row_of,
                            kvl_err *err) KVL_MUST_USE;
kvl_status kvli_load_norm(kvl_norm *out, kvl_model *m, const kvl_tensors *tensors, const char *prefix,
                          uint32_t width, kvl_err *err) KVL_MUST_USE;
/* Packs rows [n_out, n_in] into out->panels. */
kvl_status kvli_load_pack(kvl_linear *out, kvl_model *m, const float *rows, uint32_t n_in, uint32_t n_out,
                          kvl_err *err) KVL_MUST_USE;

#endif
