/* Statistics of a model for presses that need them: from a file, or computed first. */
#ifndef KVL_CLI_CALIBRATION_ARG_H
#define KVL_CLI_CALIBRATION_ARG_H

#include "cli/args.h"
#include "model/model.h"
#include "press/policy.h"
#include "protocol/calibrate.h"

enum { KVL_ARG_CALIBRATION = 1200 };

/* Line for a command's option table. */
#define KVL_CALIBRATION_ARGS                                                                                 \
    {                                                                                                        \
        KVL_ARG_CALIBRATION, 0, "calibration", "FILE",                                                       \
            "statistics of the model for presses that need them (docs/calibration.md)"                       \
    }

/* Where statistics of a model lie unless told otherwise: $XDG_CACHE_HOME/kvlab or ~/.cache/kvlab, then
 * calibration/HASH.safetensors. E_USAGE when the environment names no place. */
kvl_status kvl_calibration_path(kvl_str *out, const kvl_model *model, kvl_err *err) KVL_MUST_USE;
/* The texts that are taken when none are given. */
kvl_status kvl_calibration_samples(kvl_samples *out, kvl_tokenizer *tokenizer, kvl_err *err) KVL_MUST_USE;
/* kvl_calibrate with an engine of its own, and a line on standard error: texts, tokens, seconds. The model's
 * caches must still be f32. */
kvl_status kvl_calibration_compute(kvl_calibration **out, const kvl_model *model,
                                   const kvl_engine_options *options, const kvl_samples *texts,
                                   size_t max_tokens, kvl_err *err) KVL_MUST_USE;

/* Sets model->shape.calibration, before its caches get their types: from `path` if that is given; otherwise,
 * if a policy needs it, from where it lies, or computed from the usual texts. A line on standard error says
 * which. *out is the caller's, after the model's end; NULL: none. */
kvl_status kvl_calibration_arg_apply(kvl_calibration **out, const char *path, kvl_model *model,
                                     const kvl_policy *policies, size_t n_policies,
                                     const kvl_engine_options *options, kvl_err *err) KVL_MUST_USE;
/* "0123456789abcdef", what records call the statistics that a policy has used; "" where it needs none. */
enum { KVL_CALIBRATION_TEXT = 17 };
void kvl_calibration_text(char text[KVL_CALIBRATION_TEXT], const kvl_policy *policy, const kvl_shape *shape);

#endif
