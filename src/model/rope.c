/* Rotation settings and frequencies. What a config says twice (rope_scaling and rope_parameters, type and
 * rope_type, a field at the top and in the object) must agree: two answers would be two models. */
#include "model/rope.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

kvli_rope kvli_rope_default(double base) {
    return (kvli_rope){.type = KVLI_ROPE_PLAIN,
                       .base = base,
                       .part = 1,
                       .factor = 1,
                       .low_freq_factor = 1,
                       .high_freq_factor = 4,
                       .beta_fast = 32,
                       .beta_slow = 1,
                       .truncate = true};
}

/* ---- reading ---- */

static const char *const object_keys[] = {
    "rope_type",        "type",      "rope_theta",     "partial_rotary_factor",
    "factor",           "beta_fast", "beta_slow",      "low_freq_factor",
    "high_freq_factor", "mscale",    "mscale_all_dim", "original_max_position_embeddings",
    "attention_factor", "truncate",
};

static kvl_status check_keys(const kvli_fields *f, const char *object_key) {
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)f->object, key, value) {
        bool is_known = json_is_null(value);
        for (size_t i = 0; i < sizeof object_keys / sizeof object_keys[0]; i++) {
            is_known = is_known || strcmp(key, object_keys[i]) == 0;
        }
        if (!is_known) {
            return kvli_field_unknown(f, object_key, key,
                                      "rope_type, rope_theta, partial_rotary_factor, factor, "
                                      "original_max_position_embeddings, and the keys of llama3 and yarn");
        }
    }
    return KVL_OK;
}

static kvl_status read_type(kvli_rope *rope, const kvli_fields *f) {
    static const char *const names[] = {"default", "linear", "llama3", "yarn"};
    const char *type = NULL;
    const char *same = NULL;
    KVL_TRY(kvli_field_text(f, "type", &type));
    KVL_TRY(kvli_field_text(f, "rope_type", &same));
    if (type != NULL && same != NULL && strcmp(type, same) != 0) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: rope_type: expected '%.80s' as in type, found '%.80s'",
                        f->name, type, same);
    }
    type = same != NULL ? same : type;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (type == NULL || strcmp(type, names[i]) == 0) {
            rope->type = type == NULL ? rope->type : (kvli_rope_type)i;
            return KVL_OK;
        }
    }
    return kvli_field_unknown(f, "rope_type", type, "default, linear, llama3, yarn");
}

static kvl_status read_object(kvli_rope *rope, const kvli_fields *f, const char *object_key) {
    bool needs_factor = false;
    double factor = 0;
    KVL_TRY(read_type(rope, f)); /* before its keys: of an unknown type, that is what to name */
    KVL_TRY(check_keys(f, object_key));
    KVL_TRY(kvli_field_real(f, "rope_theta", 1, 1e12, &rope->base));
    KVL_TRY(kvli_field_real(f, "partial_rotary_factor", 0, 1, &rope->part));
    KVL_TRY(kvli_field_real(f, "factor", 1e-3, 1e6, &factor));
    KVL_TRY(kvli_field_real(f, "low_freq_factor", 1e-3, 1e6, &rope->low_freq_factor));
    KVL_TRY(kvli_field_real(f, "high_freq_factor", 1e-3, 1e6, &rope->high_freq_factor));
    KVL_TRY(kvli_field_real(f, "original_max_position_embeddings", 1, 1e9, &rope->original_context));
    KVL_TRY(kvli_field_real(f, "attention_factor", 1e-3, 1e3, &rope->attention_factor));
    KVL_TRY(kvli_field_real(f, "beta_fast", 1e-3, 1e6, &rope->beta_fast));
    KVL_TRY(kvli_field_real(f, "beta_slow", 1e-3, 1e6, &rope->beta_slow));
    KVL_TRY(kvli_field_real(f, "mscale", 0, 1e3, &rope->mscale));
    KVL_TRY(kvli_field_real(f, "mscale_all_dim", 0, 1e3, &rope->mscale_all_dim));
    KVL_TRY(kvli_field_bool(f, "truncate", &rope->truncate));
    needs_factor = rope->type != KVLI_ROPE_PLAIN && factor <= 0;
    if (needs_factor && !(rope->factor > 1)) {
        return kvl_fail(f->err, KVL_E_MISSING, "%s: %s: expected a factor, found none", f->name, object_key);
    }
    rope->factor = factor > 0 ? factor : rope->factor;
    bool needs_context = rope->type == KVLI_ROPE_LLAMA3 || rope->type == KVLI_ROPE_YARN;
    if (needs_context && !(rope->original_context > 0)) {
        return kvl_fail(f->err, KVL_E_MISSING,
                        "%s: %s: expected original_max_position_embeddings, found none", f->name, object_key);
    }
    if (rope->type == KVLI_ROPE_LLAMA3 && !(rope->high_freq_factor > rope->low_freq_factor)) {
        return kvl_fail(f->err, KVL_E_CONFIG,
                        "%s: high_freq_factor: expected above low_freq_factor %g, found %g", f->name,
                        rope->low_freq_factor, rope->high_freq_factor);
    }
    return KVL_OK;
}

kvl_status kvli_rope_read_object(kvli_rope *rope, const kvli_fields *f, const char *key) {
    kvli_fields object = *f;
    object.object = json_object_get(f->object, key);
    if (object.object == NULL || json_is_null(object.object)) {
        return KVL_OK;
    }
    if (!json_is_object(object.object)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected an object, found another type", f->name, key);
    }
    return read_object(rope, &object, key);
}

static bool is_same_rope(const kvli_rope *a, const kvli_rope *b) {
    return a->type == b->type && fabs(a->base - b->base) <= 1e-9 * b->base &&
           fabs(a->part - b->part) <= 1e-12 && fabs(a->factor - b->factor) <= 1e-12 * b->factor;
}

kvl_status kvli_rope_read(kvli_rope *rope, const kvli_fields *f) {
    double context = rope->original_context;
    KVL_TRY(kvli_field_real(f, "rope_theta", 1, 1e12, &rope->base));
    KVL_TRY(kvli_field_real(f, "partial_rotary_factor", 0, 1, &rope->part));
    KVL_TRY(kvli_field_real(f, "original_max_position_embeddings", 1, 1e9, &context));
    rope->original_context = context;
    if (!kvli_field_has(f, "rope_parameters")) {
        return kvli_rope_read_object(rope, f, "rope_scaling");
    }
    kvli_rope scaled = *rope;
    bool has_top = kvli_field_has(f, "rope_theta") || kvli_field_has(f, "rope_scaling");
    KVL_TRY(kvli_rope_read_object(&scaled, f, "rope_scaling"));
    KVL_TRY(kvli_rope_read_object(rope, f, "rope_parameters"));
    if (has_top && !is_same_rope(&scaled, rope)) {
        return kvl_fail(
            f->err, KVL_E_CONFIG,
            "%s: rope_parameters: expected the values of rope_theta and rope_scaling, found others", f->name);
    }
    return KVL_OK;
}

/* ---- frequencies ---- */

/* Wavelengths above the trained context are stretched by the factor, short ones kept, between them mixed. */
static double llama3(const kvli_rope *r, double frequency) {
    double wavelength = 2 * pi / frequency;
    if (wavelength > r->original_context / r->low_freq_factor) {
        return frequency / r->factor;
    }
    if (wavelength < r->original_context / r->high_freq_factor) {
        return frequency;
    }
    double smooth =
        (r->original_context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

/* Pair whose angle makes `turns` full turns over the trained context. */
static double yarn_pair(const kvli_rope *r, double turns, uint32_t n_rotary) {
    return n_rotary * log(r->original_context / (turns * 2 * pi)) / (2 * log(r->base));
}

static double yarn(const kvli_rope *r, double frequency, uint32_t pair, uint32_t n_rotary) {
    double low = yarn_pair(r, r->beta_fast, n_rotary);
    double high = yarn_pair(r, r->beta_slow, n_rotary);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, n_rotary - 1);
    high = high > low || high < low ? high : high + 0.001; /* as the reference: no division by zero */
    double ramp = fmin(fmax((pair - low) / (high - low), 0), 1);
    return frequency / r->factor * ramp + frequency * (1 - ramp);
}

static double yarn_scale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double gain_of(const kvli_rope *r) {
    if (r->type != KVLI_ROPE_YARN) {
        return 1;
    }
    if (r->attention_factor > 0) {
        return r->attention_factor;
    }
    bool has_scales = r->mscale > 0 && r->mscale_all_dim > 0;
    return has_scales ? yarn_scale(r->factor, r->mscale) / yarn_scale(r->factor, r->mscale_all_dim)
                      : yarn_scale(r->factor, 1);
}

kvl_status kvli_rope_compute(kvl_rope *out, const kvli_rope *rope, uint32_t n_rotary, const float *divisors,
                             kvl_err *err) {
    uint32_t n_pairs = n_rotary / 2;
    out->gain = (float)gain_of(rope);
    out->frequencies = kvl_calloc(n_pairs, sizeof *out->frequencies);
    if (out->frequencies == NULL) {
        return kvl_fail_nomem(err, "rotation frequencies");
    }
    for (uint32_t i = 0; i < n_pairs; i++) {
        double frequency = 1.0 / pow(rope->base, (double)(2 * i) / (double)n_rotary);
        switch (rope->type) {
        case KVLI_ROPE_PLAIN: break;
        case KVLI_ROPE_LINEAR: frequency /= rope->factor; break;
        case KVLI_ROPE_LLAMA3: frequency = llama3(rope, frequency); break;
        case KVLI_ROPE_YARN: frequency = yarn(rope, frequency, i, n_rotary); break;
        }
        out->frequencies[i] = (float)(divisors != NULL ? frequency / (double)divisors[i] : frequency);
    }
    return KVL_OK;
}
