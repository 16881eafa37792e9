/* The metadata becomes an object with the names of config.json, and the families read that: one reader for
 * both kinds of file. Every key below the architecture's name must be known, as every field of a config must.
 * Keys: ggml-org/ggml docs/gguf.md and gguf-py 0.19 constants.py. */
#include "model/config_gguf.h"

#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum entry_kind {
    ENTRY_INT,
    ENTRY_REAL,
    ENTRY_BOOL,
    ENTRY_SCALING_TEXT, /* into rope_scaling */
    ENTRY_SCALING_INT,
    ENTRY_SCALING_REAL,
    ENTRY_IGNORED, /* changes nothing, or is checked by name below */
} entry_kind;

typedef struct entry {
    const char *key; /* behind the architecture's name and a dot */
    const char *field;
    entry_kind kind;
} entry;

static const entry entries[] = {
    {"block_count", "num_hidden_layers", ENTRY_INT},
    {"embedding_length", "hidden_size", ENTRY_INT},
    {"feed_forward_length", "intermediate_size", ENTRY_INT},
    {"context_length", "max_position_embeddings", ENTRY_INT},
    {"attention.head_count", "num_attention_heads", ENTRY_INT},
    {"attention.head_count_kv", "num_key_value_heads", ENTRY_INT},
    {"attention.key_length", "head_dim", ENTRY_INT},
    {"attention.value_length", NULL, ENTRY_IGNORED},
    {"attention.layer_norm_epsilon", "layer_norm_eps", ENTRY_REAL},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", ENTRY_REAL},
    {"attention.sliding_window", "sliding_window", ENTRY_INT},
    {"attention.sliding_window_pattern", "sliding_window_pattern", ENTRY_INT},
    {"attn_logit_softcapping", "attn_logit_softcapping", ENTRY_REAL},
    {"final_logit_softcapping", "final_logit_softcapping", ENTRY_REAL},
    {"use_parallel_residual", "use_parallel_residual", ENTRY_BOOL},
    {"vocab_size", NULL, ENTRY_IGNORED},
    {"expert_count", "num_experts", ENTRY_INT},
    {"rope.dimension_count", "rope.dimension_count", ENTRY_INT},
    {"rope.freq_base", "rope_theta", ENTRY_REAL},
    {"rope.freq_base_swa", "rope_local_base_freq", ENTRY_REAL},
    {"rope.scale_linear", "factor", ENTRY_SCALING_REAL},
    {"rope.scaling.type", "rope_type", ENTRY_SCALING_TEXT},
    {"rope.scaling.factor", "factor", ENTRY_SCALING_REAL},
    {"rope.scaling.original_context_length", "original_max_position_embeddings", ENTRY_SCALING_INT},
    {"rope.scaling.yarn_beta_fast", "beta_fast", ENTRY_SCALING_REAL},
    {"rope.scaling.yarn_beta_slow", "beta_slow", ENTRY_SCALING_REAL},
    {"rope.scaling.finetuned", NULL, ENTRY_IGNORED},
    {"tensor_data_layout", NULL, ENTRY_IGNORED},
};
enum { N_ENTRIES = sizeof entries / sizeof entries[0] };

enum { MAX_ARCH = 64, MAX_KEY = 128 }; /* no entry is longer */

typedef struct reader {
    const kvl_gguf *g;
    const char *arch; /* general.architecture, which keys start with */
    json_t *object;
    json_t *scaling;
    char key[MAX_KEY]; /* fixed: a key that could not be built would look like an absent one */
    kvl_err *err;
} reader;

static kvl_status no_memory(reader *r) {
    return kvl_fail(r->err, KVL_E_NOMEM, "%s: expected memory for its metadata, found none",
                    kvl_gguf_name(r->g));
}

/* Borrowed until the next call. */
static const char *full_key(reader *r, const char *key) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, key);
    return r->key;
}

static kvl_status read_real(reader *r, const char *key, json_t **value) {
    double number = 0;
    const kvl_gguf_value *v = kvl_gguf_find(r->g, key);
    if (v != NULL && v->type != KVL_GGUF_F32 && v->type != KVL_GGUF_F64 && !v->is_array) {
        int64_t whole = 0; /* some writers store 10000 as an integer */
        KVL_TRY(kvl_gguf_int(r->g, key, &whole, r->err));
        number = (double)whole;
    } else {
        KVL_TRY(kvl_gguf_real(r->g, key, &number, r->err));
    }
    if (!isfinite(number)) {
        return kvl_fail(r->err, KVL_E_CONFIG, "%s: %s: expected a finite number, found %g",
                        kvl_gguf_name(r->g), key, number);
    }
    *value = json_real(number);
    return KVL_OK;
}

static kvl_status read_entry(reader *r, const entry *e) {
    const char *key = full_key(r, e->key);
    int64_t whole = 0;
    bool flag = false;
    const char *text = NULL;
    size_t n = 0;
    json_t *value = NULL;
    if (kvl_gguf_find(r->g, key) == NULL) {
        return KVL_OK;
    }
    switch (e->kind) {
    case ENTRY_INT:
    case ENTRY_SCALING_INT:
        KVL_TRY(kvl_gguf_int(r->g, key, &whole, r->err));
        value = json_integer(whole);
        break;
    case ENTRY_REAL:
    case ENTRY_SCALING_REAL: KVL_TRY(read_real(r, key, &value)); break;
    case ENTRY_BOOL:
        KVL_TRY(kvl_gguf_bool(r->g, key, &flag, r->err));
        value = json_boolean(flag);
        break;
    case ENTRY_SCALING_TEXT:
        KVL_TRY(kvl_gguf_text(r->g, key, &text, &n, r->err));
        value = json_stringn(text, n); /* NULL if it is not UTF-8 */
        if (value == NULL) {
            return kvl_fail(r->err, KVL_E_UNSUPPORTED, "%s: %s: expected a known name, found '%.*s'",
                            kvl_gguf_name(r->g), key, (int)kvl_min_size(n, 80), text);
        }
        break;
    case ENTRY_IGNORED: return KVL_OK;
    }
    bool is_scaling = e->kind >= ENTRY_SCALING_TEXT;
    return json_object_set_new(is_scaling ? r->scaling : r->object, e->field, value) == 0 ? KVL_OK
                                                                                          : no_memory(r);
}

/* "none" is no scaling; a factor without a type is linear (as llama.cpp reads it). Phi-3 files name the
 * original context of a model that is not scaled. */
static kvl_status finish_scaling(reader *r) {
    const char *type = json_string_value(json_object_get(r->scaling, "rope_type"));
    double factor = json_number_value(json_object_get(r->scaling, "factor"));
    if (type == NULL && factor > 0 && fabs(factor - 1) > 0) {
        type = "linear";
        if (json_object_set_new(r->scaling, "rope_type", json_string(type)) != 0) {
            return no_memory(r);
        }
    }
    if (type != NULL && strcmp(type, "none") != 0) {
        return json_object_set(r->object, "rope_scaling", r->scaling) == 0 ? KVL_OK : no_memory(r);
    }
    return KVL_OK;
}

static kvl_status check_keys(reader *r) {
    size_t n = strlen(r->arch);
    for (size_t i = 0; i < kvl_gguf_count(r->g); i++) {
        const char *key = kvl_gguf_at(r->g, i)->key;
        bool is_known = strncmp(key, r->arch, n) != 0 || key[n] != '.';
        for (size_t e = 0; e < N_ENTRIES && !is_known; e++) {
            is_known = strcmp(key + n + 1, entries[e].key) == 0;
        }
        if (!is_known) {
            return kvl_fail(
                r->err, KVL_E_UNSUPPORTED,
                "%s: expected only known keys of %s (others may change the arithmetic), found '%.80s'",
                kvl_gguf_name(r->g), r->arch, key);
        }
    }
    return KVL_OK;
}

/* The vocabulary is as large as the embedding; where the file counts its tokens, it must count as many. */
static kvl_status read_vocab(reader *r) {
    const kvl_tensor *embedding = NULL;
    for (size_t i = 0; i < kvl_gguf_n_tensors(r->g) && embedding == NULL; i++) {
        const kvl_tensor *t = kvl_gguf_tensor(r->g, i);
        embedding = strcmp(t->name, "token_embd.weight") == 0 ? t : NULL;
    }
    if (embedding == NULL) {
        return kvl_fail(r->err, KVL_E_MISSING, "%s: expected tensor 'token_embd.weight', found none",
                        kvl_gguf_name(r->g));
    }
    int64_t n_rows = (int64_t)embedding->dims[0];
    int64_t n_said = n_rows;
    const kvl_gguf_value *tokens = NULL;
    KVL_TRY(kvl_gguf_int(r->g, full_key(r, "vocab_size"), &n_said, r->err));
    KVL_TRY(kvl_gguf_array(r->g, "tokenizer.ggml.tokens", KVL_GGUF_STRING, &tokens, r->err));
    bool is_said = n_said != n_rows;
    if (is_said || (tokens != NULL && tokens->n != (uint64_t)n_rows)) {
        return kvl_fail(r->err, KVL_E_VOCAB, "%s: %s: expected %lld as rows of token_embd.weight, found %lld",
                        kvl_gguf_name(r->g), is_said ? "vocab_size" : "tokenizer.ggml.tokens",
                        (long long)n_rows, is_said ? (long long)n_said : (long long)tokens->n);
    }
    return json_object_set_new(r->object, "vocab_size", json_integer(n_rows)) == 0 ? KVL_OK : no_memory(r);
}

/* Keys and values of different width have no place in the cache. */
static kvl_status check_value_length(reader *r, const kvl_shape *shape) {
    int64_t n_value = shape->head_dim;
    KVL_TRY(kvl_gguf_int(r->g, full_key(r, "attention.value_length"), &n_value, r->err));
    if (n_value != shape->head_dim) {
        return kvl_fail(r->err, KVL_E_UNSUPPORTED,
                        "%s: attention.value_length: expected %u as the keys' width, found %lld",
                        kvl_gguf_name(r->g), shape->head_dim, (long long)n_value);
    }
    return KVL_OK;
}

static kvl_status read_all(reader *r, kvl_config *out, const kvl_arch *arch) {
    kvli_alias aliases[N_ENTRIES + 1] = {{NULL, NULL}};
    size_t n_aliases = 0;
    for (size_t i = 0; i < N_ENTRIES; i++) {
        KVL_TRY(read_entry(r, &entries[i]));
        if (entries[i].field != NULL) {
            aliases[n_aliases++] = (kvli_alias){entries[i].field, entries[i].key};
        }
    }
    KVL_TRY(finish_scaling(r));
    KVL_TRY(read_vocab(r));
    KVL_TRY(check_keys(r));
    const kvli_fields fields = {
        .object = r->object, .name = kvl_gguf_name(r->g), .err = r->err, .aliases = aliases};
    out->is_gguf = true;
    KVL_TRY(kvli_config_read(out, arch->model_type, &fields));
    KVL_TRY(check_value_length(r, &out->shape));
    out->is_tied = false;
    out->is_tied_if_absent = true;
    out->has_bias_if_present = true;
    return KVL_OK;
}

static kvl_status find_arch(const kvl_arch **out, const kvl_gguf *g, kvl_err *err) {
    char name[MAX_ARCH + 1];
    const char *text = NULL;
    size_t n = 0;
    const kvl_gguf_value *v = kvl_gguf_find(g, "general.architecture");
    bool is_ascii = v != NULL && v->type == KVL_GGUF_STRING && !v->is_array;
    if (is_ascii) {
        KVL_TRY(kvl_gguf_text(g, "general.architecture", &text, &n, err));
        for (size_t i = 0; i < n; i++) {
            is_ascii = is_ascii && text[i] > ' ' && text[i] < 0x7f;
        }
    }
    if (!is_ascii || n == 0 || n > MAX_ARCH) {
        return kvl_fail(err, KVL_E_CONFIG, "%s: general.architecture: expected a name in ASCII, found %s",
                        kvl_gguf_name(g), v == NULL ? "none" : "another value");
    }
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    return kvli_arch_find_gguf(out, name, kvl_gguf_name(g), err);
}

kvl_status kvli_config_of_gguf(kvl_config *out, const kvl_gguf *g, kvl_err *err) {
    const kvl_arch *arch = NULL;
    reader r = {.g = g, .err = err};
    kvl_status status = KVL_OK;
    *out = (kvl_config){0};
    KVL_GO(find_arch(&arch, g, err));
    r.arch = arch->gguf_name;
    r.object = json_object();
    r.scaling = json_object();
    if (r.object == NULL || r.scaling == NULL) {
        KVL_GO(no_memory(&r));
    }
    KVL_GO(read_all(&r, out, arch));
done:
    json_decref(r.object);
    json_decref(r.scaling);
    return status;
}
