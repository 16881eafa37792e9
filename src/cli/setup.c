/* Opening what a command runs on. */
#include "cli/setup.h"

#include "base/machine.h"
#include "cli/calibration_arg.h"

#include <string.h>

kvl_status kvl_prompts_encode(kvl_prompts *out, kvl_ids *ids, kvl_tokenizer *tokenizer, kvl_err *err) {
    static const char *const words[] = {"\n\nRepeat the previous context exactly.",
                                        "\n\nRepeat the part of the previous context exactly, starting with",
                                        "\n"};
    size_t n[4] = {0};
    for (size_t i = 0; i < 3; i++) {
        KVL_TRY(kvl_tokenizer_encode(tokenizer, ids, words[i], strlen(words[i]), false, err));
        n[i + 1] = ids->n;
    }
    *out = (kvl_prompts){.first = ids->ids,
                         .next = ids->ids + n[1],
                         .suffix = ids->ids + n[2],
                         .n_first = n[1],
                         .n_next = n[2] - n[1],
                         .n_suffix = n[3] - n[2]};
    return KVL_OK;
}

kvl_status kvl_tokenizer_open_for(kvl_tokenizer **out, const char *path, const kvl_model *model,
                                  kvl_err *err) {
    kvl_tokenizer *t = NULL;
    *out = NULL;
    KVL_TRY(kvl_tokenizer_open(&t, path, err));
    const size_t n = kvl_tokenizer_vocab_size(t);
    if (n > model->n_vocab_in) {
        kvl_tokenizer_close(t);
        return kvl_fail(err, KVL_E_VOCAB,
                        "%s: vocabulary: expected at most %u ids (rows of the model's embedding), found %zu",
                        path, model->n_vocab_in, n);
    }
    *out = t;
    return KVL_OK;
}

kvl_status kvl_setup_open(kvl_setup *s, const kvl_sweep_options *options, const kvl_policy *policies,
                          size_t n_policies, kvl_err *err) {
    kvl_str dir = {0};
    const kvl_engine_options engine = {.n_threads = options->n_threads, .isa = options->isa};
    kvl_status status = kvl_model_arg_resolve(&dir, &options->model, err);
    KVL_GO(status);
    KVL_GO(kvl_model_open_as(&s->model, kvl_str_text(&dir), options->arith, options->n_threads, err));
    KVL_GO(kvl_calibration_arg_apply(&s->calibration, options->calibration, s->model, policies, n_policies,
                                     &engine, err));
    KVL_GO(kvl_cache_arg_apply(&options->cache, &s->model->shape, err));
    KVL_GO(kvl_tokenizer_open_for(&s->tokenizer, kvl_str_text(&dir), s->model, err));
    KVL_GO(kvl_engine_create(&s->engine, s->model, &engine, err));
    KVL_GO(kvl_prompts_encode(&s->prompts, &s->prompt_ids, s->tokenizer, err));
    kvl_engine_set_prompts(s->engine, &s->prompts);
done:
    kvl_str_free(&dir);
    return status;
}

void kvl_setup_close(kvl_setup *s) {
    kvl_engine_destroy(s->engine);
    kvl_ids_free(&s->prompt_ids);
    kvl_tokenizer_close(s->tokenizer);
    kvl_model_close(s->model);
    kvl_calibration_destroy(s->calibration);
    *s = (kvl_setup){0};
}

uint64_t kvl_most_memory(void) {
    kvl_machine m;
    kvl_machine_read(&m, "");
    uint64_t limit = m.memory_limit_bytes != 0 ? m.memory_limit_bytes : UINT64_MAX;
    return (m.memory_available_bytes < limit ? m.memory_available_bytes : limit) / 5 * 4;
}
