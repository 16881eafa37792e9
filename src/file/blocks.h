/* Quantised blocks taken apart into small integers and scales: what widening and packing share. */
#ifndef KVL_FILE_BLOCKS_H
#define KVL_FILE_BLOCKS_H

#include "file/dtype.h"
#include "kernel/kernel.h"

/* One block. With 32 values: value = d (q - zero) + m. With 256: value = (d scale) (q - zero) - m least, a
 * scale and a least for each 16 values. Without `has_m` there is no second term. */
typedef struct kvli_block {
    uint16_t d, m; /* f16 */
    int8_t q[KVL_PANEL_SUPER];
    int8_t scale[KVL_PANEL_SUPER / 16];
    uint8_t least[KVL_PANEL_SUPER / 16];
} kvli_block;

typedef struct kvli_block_format {
    kvl_dtype dtype;
    void (*unpack)(kvli_block *to, const uint8_t *block); /* fills what the format has */
    kvl_panel_type panel_type;
    uint8_t zero;
    bool has_m;
} kvli_block_format;

/* NULL for types that are not quantised. */
const kvli_block_format *kvli_block_format_of(kvl_dtype t);

#endif
