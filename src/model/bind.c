/* Tensors are looked up by role: the family says under which name a role stands in its checkpoints, one table
 * says it for all GGUF files. A weight that is ignored makes another model, so each one must be used. */
#include "model/bind.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

enum { MAX_PARTS = 3, NAME_BYTES = 160, NAME_CUT = 80, SHAPE_TEXT = 256 };

/* Names in GGUF files (gguf-py constants.py). A fused gate and up projection stands under up's name. */
static const char *const gguf_names[KVLI_N_ROLES] = {
    [KVLI_EMBEDDING] = "token_embd",
    [KVLI_POSITIONS] = "position_embd",
    [KVLI_FINAL_NORM] = "output_norm",
    [KVLI_OUTPUT] = "output",
    [KVLI_ATTN_NORM] = "blk.%u.attn_norm",
    [KVLI_ATTN_POST_NORM] = "blk.%u.post_attention_norm",
    [KVLI_FF_NORM] = "blk.%u.ffn_norm",
    [KVLI_FF_POST_NORM] = "blk.%u.post_ffw_norm",
    [KVLI_Q] = "blk.%u.attn_q",
    [KVLI_K] = "blk.%u.attn_k",
    [KVLI_V] = "blk.%u.attn_v",
    [KVLI_QKV] = "blk.%u.attn_qkv",
    [KVLI_Q_NORM] = "blk.%u.attn_q_norm",
    [KVLI_K_NORM] = "blk.%u.attn_k_norm",
    [KVLI_ATTN_OUT] = "blk.%u.attn_output",
    [KVLI_FF_GATE] = "blk.%u.ffn_gate",
    [KVLI_FF_UP] = "blk.%u.ffn_up",
    [KVLI_FF_GATE_UP] = "blk.%u.ffn_up",
    [KVLI_FF_DOWN] = "blk.%u.ffn_down",
};

static const kvl_weight_kind kinds[KVLI_N_ROLES] = {
    [KVLI_EMBEDDING] = KVL_WEIGHT_EMBEDDING,  [KVLI_POSITIONS] = KVL_WEIGHT_EMBEDDING,
    [KVLI_FINAL_NORM] = KVL_WEIGHT_NORM,      [KVLI_OUTPUT] = KVL_WEIGHT_OUTPUT,
    [KVLI_ATTN_NORM] = KVL_WEIGHT_NORM,       [KVLI_ATTN_POST_NORM] = KVL_WEIGHT_NORM,
    [KVLI_FF_NORM] = KVL_WEIGHT_NORM,         [KVLI_FF_POST_NORM] = KVL_WEIGHT_NORM,
    [KVLI_Q] = KVL_WEIGHT_ATTENTION,          [KVLI_K] = KVL_WEIGHT_ATTENTION,
    [KVLI_V] = KVL_WEIGHT_ATTENTION,          [KVLI_QKV] = KVL_WEIGHT_ATTENTION,
    [KVLI_Q_NORM] = KVL_WEIGHT_NORM,          [KVLI_K_NORM] = KVL_WEIGHT_NORM,
    [KVLI_ATTN_OUT] = KVL_WEIGHT_ATTENTION,   [KVLI_FF_GATE] = KVL_WEIGHT_FEED_FORWARD,
    [KVLI_FF_UP] = KVL_WEIGHT_FEED_FORWARD,   [KVLI_FF_GATE_UP] = KVL_WEIGHT_FEED_FORWARD,
    [KVLI_FF_DOWN] = KVL_WEIGHT_FEED_FORWARD,
};

typedef struct binder {
    kvli_loader *l;
    const kvl_config *config;
    const kvl_arch *arch;
    const char *prefix;
    bool *is_used;         /* [tensors] */
    char name[NAME_BYTES]; /* of the tensor last looked up; longer than any */
} binder;

/* ---- names and shapes ---- */

static void print_shape(char text[SHAPE_TEXT], const uint64_t *dims, unsigned n_dims) {
    size_t n = 0;
    text[n++] = '[';
    for (unsigned i = 0; i < n_dims; i++) { /* at most 8 numbers of 20 digits: fits */
        n += (size_t)snprintf(text + n, SHAPE_TEXT - n, "%s%llu", i != 0 ? ", " : "",
                              (unsigned long long)dims[i]);
    }
    snprintf(text + n, SHAPE_TEXT - n, "]");
}

static const char *template_of(const binder *b, kvli_role role) {
    return b->config->is_gguf ? gguf_names[role] : b->arch->names[role];
}

/* The tensor of a role, or NULL. `layer` is printed where the name has a place for it. */
static const kvl_tensor *look_up(binder *b, kvli_role role, uint32_t layer, const char *suffix) {
    const char *text = template_of(b, role);
    const char *place = strstr(text, "%u");
    const char *prefix = role != KVLI_OUTPUT ? b->prefix : "";
    if (place != NULL) {
        snprintf(b->name, sizeof b->name, "%s%.*s%u%s%s", prefix, (int)(place - text), text, layer, place + 2,
                 suffix);
    } else {
        snprintf(b->name, sizeof b->name, "%s%s%s", prefix, text, suffix);
    }
    return kvl_tensors_find(b->l->tensors, b->name);
}

/* A tensor may be used in several parts; its bytes count once. */
static void mark_used(binder *b, const kvl_tensor *tensor) {
    for (size_t i = 0; i < kvl_tensors_count(b->l->tensors); i++) {
        if (kvl_tensors_at(b->l->tensors, i) == tensor && !b->is_used[i]) {
            b->is_used[i] = true;
            b->l->m->kinds[b->l->kind].stored_bytes += tensor->n_bytes;
        }
    }
}

/* The same with its shape: [n_rows] (n_cols = 0) or [n_rows, n_cols]. */
static kvl_status find(binder *b, const kvl_tensor **out, kvli_role role, uint32_t layer, const char *suffix,
                       uint64_t n_rows, uint64_t n_cols) {
    const uint64_t dims[2] = {n_rows, n_cols};
    const unsigned n_dims = n_cols != 0 ? 2 : 1;
    const kvl_tensors *tensors = b->l->tensors;
    const kvl_tensor *t = look_up(b, role, layer, suffix);
    const char *name = b->name;
    if (t == NULL) {
        const char *file =
            kvl_tensors_count(tensors) != 0 ? kvl_tensors_path(tensors, kvl_tensors_at(tensors, 0)) : "";
        return kvl_fail(b->l->err, KVL_E_MISSING, "%s: expected tensor '%.*s', found none", file,
                        (int)NAME_CUT, name);
    }
    if (t->n_dims != n_dims || memcmp(t->dims, dims, n_dims * sizeof dims[0]) != 0) {
        char expected[SHAPE_TEXT];
        char found[SHAPE_TEXT];
        print_shape(expected, dims, n_dims);
        print_shape(found, t->dims, t->n_dims);
        return kvl_fail(b->l->err, KVL_E_SHAPE, "%s: tensor '%.*s': expected %s, found %s",
                        kvl_tensors_path(tensors, t), (int)NAME_CUT, name, expected, found);
    }
    KVL_TRY(
        kvl_tensors_read_part(tensors, t, 0, 0, NULL, NULL, b->l->err)); /* its type, before room is made */
    b->l->kind = kinds[role];
    mark_used(b, t);
    *out = t;
    return KVL_OK;
}

static kvl_status check_extra(binder *b) {
    for (size_t i = 0; i < kvl_tensors_count(b->l->tensors); i++) {
        const kvl_tensor *t = kvl_tensors_at(b->l->tensors, i);
        bool is_buffer = b->is_used[i];
        for (const char *const *end = b->arch->buffers; end != NULL && *end != NULL; end++) {
            size_t n = strlen(*end);
            size_t len = strlen(t->name);
            is_buffer = is_buffer || (len >= n && strcmp(t->name + len - n, *end) == 0);
        }
        if (!is_buffer) {
            return kvl_fail(b->l->err, KVL_E_EXTRA,
                            "%s: expected only tensors of a %s model of %u layers with these biases, found "
                            "'%.80s'",
                            kvl_tensors_path(b->l->tensors, t), b->arch->model_type,
                            b->config->shape.n_layers, t->name);
        }
    }
    return KVL_OK;
}

/* ---- norms ---- */

static kvl_status bind_norm(binder *b, kvl_norm *out, kvli_role role, uint32_t layer, uint32_t width) {
    kvli_part part = {.n_rows = width};
    KVL_TRY(find(b, &part.tensor, role, layer, ".weight", width, 0));
    KVL_TRY(kvli_load_vector(b->l, &out->gain, &part, 1));
    if (b->arch->has_gain_from_zero && !b->config->is_gguf && out->gain != NULL) {
        for (uint32_t i = 0; i < width; i++) {
            out->gain[i] += 1;
        }
    }
    if (b->config->shape.norm == KVL_NORM_RMS) {
        return KVL_OK;
    }
    KVL_TRY(find(b, &part.tensor, role, layer, ".bias", width, 0));
    return kvli_load_vector(b->l, &out->shift, &part, 1);
}

/* ---- linear maps ---- */

/* One stored matrix of a linear map. */
typedef struct piece {
    kvli_role role;
    size_t n_stored; /* rows in the file */
    size_t first;
    size_t n_rows;
    kvli_row_fn *row_of;
} piece;

static kvl_status bind_linear(binder *b, kvl_linear *out, uint32_t layer, const piece *pieces,
                              size_t n_pieces, uint32_t n_in, bool has_bias) {
    kvli_part parts[MAX_PARTS];
    bool is_transposed = b->arch->is_transposed && !b->config->is_gguf && pieces->role != KVLI_OUTPUT;
    for (size_t i = 0; i < n_pieces; i++) {
        const piece *p = &pieces[i];
        parts[i] = (kvli_part){.first = p->first, .n_rows = p->n_rows, .row_of = p->row_of};
        KVL_TRY(find(b, &parts[i].tensor, p->role, layer, ".weight", is_transposed ? n_in : p->n_stored,
                     is_transposed ? p->n_stored : n_in));
    }
    KVL_TRY(kvli_load_linear(b->l, out, parts, n_pieces, n_in, is_transposed));
    if (!has_bias) {
        return KVL_OK;
    }
    for (size_t i = 0; i < n_pieces; i++) {
        KVL_TRY(find(b, &parts[i].tensor, pieces[i].role, layer, ".bias", pieces[i].n_stored, 0));
    }
    return kvli_load_vector(b->l, &out->bias, parts, n_pieces);
}

static bool has_bias(binder *b, kvli_role role, uint32_t layer, bool said) {
    return said || (b->config->has_bias_if_present && look_up(b, role, layer, ".bias") != NULL);
}

static kvl_status bind_attention(binder *b, kvl_layer *to, uint32_t layer) {
    const kvl_shape *s = &b->config->shape;
    const size_t n_q = (size_t)s->n_heads * s->head_dim;
    const size_t n_kv = (size_t)s->n_kv_heads * s->head_dim;
    const size_t n_all = n_q + 2 * n_kv;
    bool is_gguf = b->config->is_gguf;
    kvli_row_fn *rotary = is_gguf ? b->arch->gguf_rotary_row : NULL;
    const piece split[] = {
        {KVLI_Q, n_q, 0, n_q, rotary}, {KVLI_K, n_kv, 0, n_kv, rotary}, {KVLI_V, n_kv, 0, n_kv, NULL}};
    const piece fused[] = {{KVLI_QKV, n_all, 0, n_all, is_gguf ? NULL : b->arch->qkv_row}};
    const piece out[] = {{KVLI_ATTN_OUT, s->width, 0, s->width, NULL}};
    bool is_fused = b->arch->names[KVLI_QKV] != NULL;
    KVL_TRY(bind_linear(b, &to->qkv, layer, is_fused ? fused : split, is_fused ? 1 : 3, s->width,
                        has_bias(b, is_fused ? KVLI_QKV : KVLI_Q, layer, b->config->has_qkv_bias)));
    if (b->config->has_qk_norm) {
        KVL_TRY(bind_norm(b, &to->q_norm, KVLI_Q_NORM, layer, s->head_dim));
        KVL_TRY(bind_norm(b, &to->k_norm, KVLI_K_NORM, layer, s->head_dim));
    }
    return bind_linear(b, &to->attn_out, layer, out, 1, (uint32_t)n_q,
                       has_bias(b, KVLI_ATTN_OUT, layer, b->config->has_out_bias));
}

static kvl_status bind_ff(binder *b, kvl_layer *to, uint32_t layer) {
    const kvl_shape *s = &b->config->shape;
    const size_t n = s->ff_width;
    bool said = b->config->has_ff_bias;
    bool is_fused = b->arch->names[KVLI_FF_GATE_UP] != NULL;
    const piece gate[] = {{is_fused ? KVLI_FF_GATE_UP : KVLI_FF_GATE, is_fused ? 2 * n : n, 0, n, NULL}};
    const piece up[] = {
        {is_fused ? KVLI_FF_GATE_UP : KVLI_FF_UP, is_fused ? 2 * n : n, is_fused ? n : 0, n, NULL}};
    const piece down[] = {{KVLI_FF_DOWN, s->width, 0, s->width, NULL}};
    if (s->is_gated) {
        KVL_TRY(bind_linear(b, &to->ff_gate, layer, gate, 1, s->width, has_bias(b, gate->role, layer, said)));
    }
    KVL_TRY(bind_linear(b, &to->ff_up, layer, up, 1, s->width, has_bias(b, up->role, layer, said)));
    return bind_linear(b, &to->ff_down, layer, down, 1, s->ff_width, has_bias(b, KVLI_FF_DOWN, layer, said));
}

static kvl_status bind_layer(binder *b, uint32_t layer) {
    kvl_layer *to = &b->l->m->layers[layer];
    uint32_t width = b->config->shape.width;
    KVL_TRY(bind_norm(b, &to->attn_norm, KVLI_ATTN_NORM, layer, width));
    KVL_TRY(bind_attention(b, to, layer));
    KVL_TRY(bind_norm(b, &to->ff_norm, KVLI_FF_NORM, layer, width));
    KVL_TRY(bind_ff(b, to, layer));
    if (b->config->has_post_norms) {
        KVL_TRY(bind_norm(b, &to->attn_post_norm, KVLI_ATTN_POST_NORM, layer, width));
        KVL_TRY(bind_norm(b, &to->ff_post_norm, KVLI_FF_POST_NORM, layer, width));
    }
    to->is_local = b->config->is_local[layer];
    to->rope = to->is_local && b->config->ropes[KVL_ROPE_LOCAL].base > 0 ? KVL_ROPE_LOCAL : KVL_ROPE_GLOBAL;
    return KVL_OK;
}

/* ---- embedding, output, rotation ---- */

static kvl_status bind_ends(binder *b) {
    kvl_model *m = b->l->m;
    const kvl_shape *s = &b->config->shape;
    const kvl_tensor *t = NULL;
    const piece out[] = {{KVLI_OUTPUT, s->n_vocab, 0, s->n_vocab, NULL}};
    const kvl_tensor *separate = look_up(b, KVLI_OUTPUT, 0, ".weight");
    bool is_tied = b->config->is_tied || (b->config->is_tied_if_absent && separate == NULL);
    KVL_TRY(find(b, &t, KVLI_EMBEDDING, 0, ".weight", s->n_vocab, s->width));
    m->n_vocab_in = s->n_vocab;
    if (is_tied) {
        const kvli_part part = {.tensor = t, .n_rows = s->n_vocab};
        KVL_TRY(kvli_load_linear(b->l, &m->output, &part, 1, s->width, false));
        if (separate != NULL) {
            KVL_TRY(find(b, &t, KVLI_OUTPUT, 0, ".weight", s->n_vocab, s->width));
            KVL_TRY(kvli_load_compare(b->l, &m->output, t));
        }
    } else {
        const kvli_part part = {.tensor = t, .n_rows = s->n_vocab};
        KVL_TRY(kvli_load_linear(b->l, &m->embedding, &part, 1, s->width, false));
        KVL_TRY(bind_linear(b, &m->output, 0, out, 1, s->width, false));
    }
    if (s->has_positions) {
        KVL_TRY(find(b, &t, KVLI_POSITIONS, 0, ".weight", s->n_context, s->width));
        KVL_TRY(kvli_load_rows(b->l, &m->positions, t));
    }
    return bind_norm(b, &m->final_norm, KVLI_FINAL_NORM, 0, s->width);
}

/* Factors of some GGUF files (Llama 3.1) stand in place of settings in the config. */
static kvl_status bind_ropes(binder *b) {
    kvl_model *m = b->l->m;
    uint32_t n_rotary = b->config->shape.n_rotary;
    const kvl_tensors *tensors = b->l->tensors;
    const kvl_tensor *t = b->config->is_gguf ? kvl_tensors_find(tensors, "rope_freqs.weight") : NULL;
    float divisors[KVLI_MAX_HEAD_DIM / 2];
    if (t != NULL) {
        if (t->n_items != n_rotary / 2) {
            return kvl_fail(b->l->err, KVL_E_SHAPE,
                            "%s: tensor 'rope_freqs.weight': expected [%u], found %llu values",
                            kvl_tensors_path(tensors, t), n_rotary / 2, (unsigned long long)t->n_items);
        }
        KVL_TRY(kvl_tensors_read_f32(tensors, t, divisors, b->l->err));
        for (uint32_t i = 0; i < n_rotary / 2; i++) {
            if (!(divisors[i] > 0)) {
                return kvl_fail(
                    b->l->err, KVL_E_CONFIG,
                    "%s: tensor 'rope_freqs.weight', index %u: expected a positive factor, found %g",
                    kvl_tensors_path(tensors, t), i, (double)divisors[i]);
            }
        }
        b->l->kind = KVL_WEIGHT_ATTENTION;
        mark_used(b, t);
    }
    for (int kind = 0; kind < KVL_N_ROPES && n_rotary != 0; kind++) {
        if (b->config->ropes[kind].base > 0) {
            KVL_TRY(kvli_rope_compute(&m->ropes[kind], &b->config->ropes[kind], n_rotary,
                                      t != NULL && kind == KVL_ROPE_GLOBAL ? divisors : NULL, b->l->err));
        }
    }
    return KVL_OK;
}

static kvl_status bind_all(binder *b) {
    b->prefix = "";
    if (!b->config->is_gguf && look_up(b, KVLI_EMBEDDING, 0, ".weight") == NULL) {
        b->prefix = b->arch->prefix;
    }
    for (uint32_t layer = 0; layer < b->config->shape.n_layers; layer++) {
        KVL_TRY(bind_layer(b, layer));
    }
    KVL_TRY(bind_ends(b));
    KVL_TRY(bind_ropes(b));
    return check_extra(b);
}

kvl_status kvli_bind(kvli_loader *l, const kvl_config *config) {
    binder b = {.l = l, .config = config, .arch = config->arch};
    b.is_used = kvl_calloc(kvl_tensors_count(l->tensors), sizeof *b.is_used);
    if (b.is_used == NULL) {
        return kvl_fail_nomem(l->err, "weights");
    }
    kvl_status status = bind_all(&b);
    kvl_free(b.is_used);
    return status;
}
