/* How the keys or the values of a list of entries lie in memory, and moving entries between lists as bits.
 *
 * A list is panels of 16 entries (KVL_KEY_PANEL); a panel is rows of 16 items side by side, item j of entry
 * j:
 *
 *   keys, plain type      D rows of numbers
 *   values, plain type    1 row of D numbers an item: [n, D] row-major
 *   quantised type        for each block of 32 dimensions: a row of scales d (f16); of least values m (f16;
 *                         q4_1 only); then the whole numbers q of the entry, 32 bytes (q8_0) or 16:
 *                           keys    a row for each byte; a byte of nibbles holds two neighbouring dimensions,
 *                                   the lower one in its low nibble
 *                           values  one row, 32 or 16 bytes an item; byte i of nibbles holds dimensions i
 *                                   and, in its high nibble, i + 16
 *
 * Numbers are those of ggml's formats of the same names, as its reference quantisers round them
 * (quantize_row_*_ref): q8_0 d q; q4_0 d (q - 8); q4_1 d q + m; iq4_nl d table[q]. d q is exact in f32.
 */
#ifndef KVL_KERNEL_KV_FORM_H
#define KVL_KERNEL_KV_FORM_H

#include "kernel/kernel.h"

typedef struct kvl_kv_form {
    kvl_kv_type type;
    bool is_values;
    size_t dim;      /* D; a multiple of 32 where the type is quantised */
    size_t n_blocks; /* of a panel; a block is n_rows[0] rows of items of item_bytes[0], then the others */
    size_t n_rows[2];
    size_t item_bytes[2];
} kvl_kv_form;

kvl_kv_form kvl_kv_form_of(kvl_kv_type type, size_t dim, bool is_values);
/* Bytes of n entries; panels begin where a multiple of 16 ends. */
static inline size_t kvl_kv_room_bytes(const kvl_kv_form *f, size_t n) {
    return n * kvl_kv_row_bytes(f->type, f->dim);
}

/* Rounds the vector x [D] to the form's type and stores it as entry `slot`. A NaN or an infinity makes its
 * block of a quantised type NaN. */
void kvl_kv_put(const kvl_kv_form *f, void *list, size_t slot, const float *x);
/* Entries first .. first + n - 1, widened: x [n, D]. */
void kvl_kv_get(const kvl_kv_form *f, float *x, const void *list, size_t first, size_t n);
/* The entries `slots` [n] (NULL: 0 .. n - 1) of `from` become entries first, first + 1, ... of `to`. The
 * lists may be the same where slots ascend from `first` on. */
void kvl_kv_gather(const kvl_kv_form *f, void *to, size_t first, const void *from, const uint32_t *slots,
                   size_t n);

#endif
