/* Config and directory of tensors -> the weights of a model. */
#ifndef KVL_MODEL_BIND_H
#define KVL_MODEL_BIND_H

#include "model/config.h"
#include "model/load.h"

/* Fills l->m. Every tensor must be used, or be a buffer of the family. Errors: E_MISSING, E_SHAPE, E_EXTRA,
 * E_CONFIG (a tied matrix that is another one), E_TYPE, E_NONFINITE, E_IO, E_NOMEM. */
kvl_status kvli_bind(kvli_loader *l, const kvl_config *config) KVL_MUST_USE;

#endif
