/* Stored rows to weight panels, without widening quantised blocks. */
#ifndef KVL_FILE_REPACK_H
#define KVL_FILE_REPACK_H

#include "file/dtype.h"
#include "kernel/kernel.h"

/* The panel type that holds values of a stored type exactly (for F64: after rounding to f32). */
kvl_panel_type kvl_panel_type_of(kvl_dtype t);
/* Its `zero`. */
uint8_t kvl_panel_zero_of(kvl_dtype t);
/* Packs n_cols <= 32 stored rows of quantised blocks, n_in values each, one behind the other, into one panel.
 */
void kvl_repack_panel(void *panel, kvl_dtype t, const uint8_t *rows, size_t n_in, size_t n_cols);

#endif
