/* Quantised blocks to f32, in the order of operations of the formats' definition: bit for bit. */
#include "file/dequant.h"

#include "file/blocks.h"

static void widen_32(float *dst, const kvli_block *b, const kvli_block_format *f) {
    const float d = kvl_f32_of_f16(b->d);
    const float m = kvl_f32_of_f16(b->m);
    for (int i = 0; i < KVL_PANEL_BLOCK; i++) {
        float value = d * (float)(b->q[i] - f->zero);
        dst[i] = f->has_m ? value + m : value;
    }
}

static void widen_256(float *dst, const kvli_block *b, const kvli_block_format *f) {
    const float d = kvl_f32_of_f16(b->d);
    const float m = kvl_f32_of_f16(b->m);
    for (int part = 0; part < KVL_PANEL_SUPER / 16; part++) {
        const float scale = d * (float)b->scale[part];
        const float least = m * (float)b->least[part];
        for (int i = 16 * part; i < 16 * part + 16; i++) {
            float value = scale * (float)(b->q[i] - f->zero);
            dst[i] = f->has_m ? value - least : value;
        }
    }
}

void kvli_dequantise(float *dst, const uint8_t *src, size_t n, kvl_dtype t) {
    const kvli_block_format *format = kvli_block_format_of(t);
    const size_t items = kvl_dtype_block_items(t);
    const size_t bytes = kvl_dtype_block_bytes(t);
    kvli_block block = {0};
    for (size_t i = 0; format != NULL && i < n / items; i++) {
        format->unpack(&block, src + i * bytes);
        if (items == KVL_PANEL_BLOCK) {
            widen_32(dst + i * items, &block, format);
        } else {
            widen_256(dst + i * items, &block, format);
        }
    }
}
