/* Fuzz: bytes as a GGUF file whose metadata becomes the config of a model; what is accepted must be a shape
 * that the engine can plan for. */
#include "file/gguf.h"
#include "model/config_gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shape(const kvl_config *config) {
    const kvl_shape *s = &config->shape;
    bool is_sound = s->n_layers >= 1 && s->n_layers <= KVLI_MAX_LAYERS && s->n_heads >= 1 &&
                    s->n_kv_heads >= 1 && s->n_heads % s->n_kv_heads == 0 && s->head_dim >= 2 &&
                    s->head_dim % 2 == 0 && s->head_dim <= KVLI_MAX_HEAD_DIM && s->n_rotary % 2 == 0 &&
                    s->n_rotary <= s->head_dim && s->width >= 1 && s->ff_width >= 1 && s->n_vocab >= 1 &&
                    s->n_context >= 1 && s->norm_eps > 0 && s->attn_scale > 0 && s->embed_scale > 0;
    for (int i = 0; i < KVL_N_ROPES; i++) {
        is_sound = is_sound && s->rope_base[i] >= 0;
    }
    for (uint32_t i = 0; i < s->n_layers && is_sound; i++) {
        is_sound = !config->is_local[i] || s->window != 0;
    }
    if (!is_sound) {
        __builtin_trap();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_gguf *g = NULL;
    static kvl_config config;
    if (kvl_gguf_parse(&g, data, size, size, "fuzz", NULL, NULL) != KVL_OK) {
        return 0;
    }
    if (kvli_config_of_gguf(&config, g, NULL) == KVL_OK) {
        check_shape(&config);
    }
    kvl_gguf_close(g);
    return 0;
}
