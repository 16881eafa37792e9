/* Columns of a panel stand side by side at every step, those of a stored row one after another: each block is
 * taken apart and its integers and scales go to their places. Layout: kernel/kernel.h, kvl_panel_type. */
#include "file/repack.h"

#include "file/blocks.h"

#include <string.h>

kvl_panel_type kvl_panel_type_of(kvl_dtype t) {
    const kvli_block_format *format = kvli_block_format_of(t);
    if (format != NULL) {
        return format->panel_type;
    }
    return t == KVL_DTYPE_F16 ? KVL_PANEL_F16 : t == KVL_DTYPE_BF16 ? KVL_PANEL_BF16 : KVL_PANEL_F32;
}

uint8_t kvl_panel_zero_of(kvl_dtype t) {
    const kvli_block_format *format = kvli_block_format_of(t);
    return format != NULL ? format->zero : 0;
}

/* 32 integers of a column into the step rows of a block. */
static void put_integers(uint8_t *to, const int8_t *q, size_t c, bool is_nibbles) {
    for (size_t k = 0; k < KVL_PANEL_BLOCK; k++) {
        if (is_nibbles) {
            to[k * 16 + c % 16] |= (uint8_t)((unsigned)q[k] << (c / 16 * 4));
        } else {
            to[k * KVL_PANEL_COLS + c] = (uint8_t)q[k];
        }
    }
}

static void put_pair(uint8_t *to, const kvli_block *b, size_t c) {
    memcpy(to + 2 * c, &b->d, 2);
    memcpy(to + 2 * (KVL_PANEL_COLS + c), &b->m, 2);
}

static void put_super(uint8_t *to, const kvli_block *b, size_t c, size_t q_bytes, bool is_nibbles) {
    put_pair(to, b, c);
    for (size_t i = 0; i < KVL_PANEL_SUPER / KVL_PANEL_BLOCK; i++) {
        uint8_t *block = to + KVL_PANEL_PAIR_BYTES + i * (KVL_PANEL_SMALL_BYTES + q_bytes);
        for (size_t half = 0; half < 2; half++) {
            block[half * KVL_PANEL_COLS + c] = (uint8_t)b->scale[2 * i + half];
            block[(2 + half) * KVL_PANEL_COLS + c] = b->least[2 * i + half];
        }
        put_integers(block + KVL_PANEL_SMALL_BYTES, b->q + i * KVL_PANEL_BLOCK, c, is_nibbles);
    }
}

void kvl_repack_panel(void *panel, kvl_dtype t, const uint8_t *rows, size_t n_in, size_t n_cols) {
    const kvli_block_format *format = kvli_block_format_of(t);
    const size_t items = kvl_dtype_block_items(t);
    const size_t bytes = kvl_dtype_block_bytes(t);
    const size_t n_blocks = n_in / items;
    const size_t step_bytes = kvl_panel_bytes(format->panel_type, items);
    const bool is_nibbles = kvl_panel_is_nibbles(format->panel_type);
    const size_t q_bytes = kvl_panel_q_bytes(format->panel_type);
    kvli_block block = {0};
    memset(panel, 0, n_blocks * step_bytes);
    for (size_t i = 0; i < n_blocks; i++) {
        uint8_t *to = (uint8_t *)panel + i * step_bytes;
        for (size_t c = 0; c < n_cols; c++) {
            format->unpack(&block, rows + (c * n_blocks + i) * bytes);
            if (items == KVL_PANEL_BLOCK) {
                put_pair(to, &block, c);
                put_integers(to + KVL_PANEL_PAIR_BYTES, block.q, c, is_nibbles);
            } else {
                put_super(to, &block, c, q_bytes, is_nibbles);
            }
        }
        /* columns that are not there hold 0, whatever the zero of nibbles: their d is 0 */
    }
}
