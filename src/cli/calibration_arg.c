/* Where statistics come from. */
#include "cli/calibration_arg.h"

#include "base/alloc.h"
#include "base/os.h"
#include "cli/cmd.h"
#include "cli/hub_env.h"

#include <stdio.h>
#include <string.h>

kvl_status kvl_calibration_path(kvl_str *out, const kvl_model *model, kvl_err *err) {
    const kvl_hub_env env = kvl_hub_env_read();
    if (env.xdg_cache_home != NULL && env.xdg_cache_home[0] == '/') {
        kvl_str_puts(out, env.xdg_cache_home);
    } else if (env.home != NULL && env.home[0] != '\0') {
        kvl_str_printf(out, "%s/.cache", env.home);
    } else {
        return kvl_fail(err, KVL_E_USAGE,
                        "calibration: expected XDG_CACHE_HOME or HOME to name a place, or "
                        "a file by option; found none");
    }
    kvl_str_printf(out, "/kvlab/calibration/%016llx.safetensors", (unsigned long long)model->hash);
    return kvl_str_check(out, "path of statistics", err);
}

kvl_status kvl_calibration_samples(kvl_samples *out, kvl_tokenizer *tokenizer, kvl_err *err) {
    char data_dir[4096];
    snprintf(data_dir, sizeof data_dir, "%s/data", kvl_data_root());
    return kvl_samples_load(out, KVL_CALIBRATION_SAMPLES, data_dir, tokenizer, err);
}

static bool goes_on(void) { return !kvl_is_stopping(); }

kvl_status kvl_calibration_compute(kvl_calibration **out, const kvl_model *model,
                                   const kvl_engine_options *options, const kvl_samples *texts,
                                   size_t max_tokens, kvl_err *err) {
    kvl_engine *engine = NULL;
    const uint64_t start = kvl_clock_ns();
    KVL_TRY(kvl_engine_create(&engine, model, options, err));
    kvl_status status =
        kvl_calibrate(out, engine, texts, kvl_min_size(max_tokens, model->shape.n_context), goes_on, err);
    kvl_engine_destroy(engine);
    if (status == KVL_OK) {
        fprintf(stderr, "calibration: %zu texts, %llu tokens, %.1f s: %016llx\n", texts->n,
                (unsigned long long)(*out)->n_tokens, (double)(kvl_clock_ns() - start) * 1e-9,
                (unsigned long long)(*out)->hash);
    }
    return status;
}

static kvl_status compute_usual(kvl_calibration **out, const kvl_model *model,
                                const kvl_engine_options *options, kvl_err *err) {
    kvl_tokenizer *tokenizer = NULL;
    kvl_samples texts = {0};
    kvl_status status = KVL_OK;
    KVL_GO(kvl_tokenizer_open(&tokenizer, model->path, err));
    KVL_GO(kvl_calibration_samples(&texts, tokenizer, err));
    KVL_GO(kvl_calibration_compute(out, model, options, &texts, KVL_CALIBRATION_TOKENS, err));
    fprintf(stderr, "calibration: of %s, for this run alone; kvlab calibrate keeps it\n",
            KVL_CALIBRATION_SAMPLES);
done:
    kvl_samples_free(&texts);
    kvl_tokenizer_close(tokenizer);
    return status;
}

kvl_status kvl_calibration_arg_apply(kvl_calibration **out, const char *path, kvl_model *model,
                                     const kvl_policy *policies, size_t n_policies,
                                     const kvl_engine_options *options, kvl_err *err) {
    kvl_str usual = {0};
    kvl_status status = KVL_OK;
    bool is_needed = path != NULL;
    *out = NULL;
    for (size_t p = 0; p < n_policies; p++) {
        is_needed = is_needed || kvl_policy_needs(&policies[p], &model->shape).has_calibration;
    }
    if (!is_needed) {
        return KVL_OK;
    }
    if (path == NULL && kvl_calibration_path(&usual, model, NULL) == KVL_OK &&
        kvl_file_exists(kvl_str_text(&usual))) {
        path = kvl_str_text(&usual);
    }
    if (path != NULL) {
        KVL_GO(kvl_calibration_load(out, path, model, err));
        fprintf(stderr, "calibration: %s (%llu tokens): %016llx\n", path,
                (unsigned long long)(*out)->n_tokens, (unsigned long long)(*out)->hash);
    } else {
        KVL_GO(compute_usual(out, model, options, err));
    }
    model->shape.calibration = *out;
done:
    kvl_str_free(&usual);
    return status;
}

void kvl_calibration_text(char text[KVL_CALIBRATION_TEXT], const kvl_policy *policy, const kvl_shape *shape) {
    text[0] = '\0';
    if (shape->calibration != NULL && kvl_policy_needs(policy, shape).has_calibration) {
        snprintf(text, KVL_CALIBRATION_TEXT, "%016llx", (unsigned long long)shape->calibration->hash);
    }
}
