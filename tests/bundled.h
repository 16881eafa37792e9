/* The bundled model with its tokenizer, some samples, and engines of one and of two threads: for tests that
 * run on it from their first test to their last. */
#ifndef KVL_TESTS_BUNDLED_H
#define KVL_TESTS_BUNDLED_H

#include "support.h"

#include "engine/engine.h"
#include "protocol/samples.h"

static kvl_model *model;
static kvl_tokenizer *tokenizer;
static kvl_engine *engines[2];
static kvl_samples samples;

/* For a group's setup; 0 or -1 as cmocka asks. */
static int open_bundled(const char *sample_names) {
    bool is_open = kvl_model_open(&model, test_path("models/novels-7m"), 2, NULL) == KVL_OK &&
                   kvl_tokenizer_open(&tokenizer, test_path("models/novels-7m"), NULL) == KVL_OK &&
                   kvl_samples_load(&samples, sample_names, test_path("data"), tokenizer, NULL) == KVL_OK;
    for (unsigned i = 0; i < 2; i++) {
        const kvl_engine_options options = {.n_threads = i + 1};
        is_open = is_open && kvl_engine_create(&engines[i], model, &options, NULL) == KVL_OK;
    }
    return is_open ? 0 : -1;
}

static int close_bundled(void **state) {
    (void)state;
    kvl_samples_free(&samples);
    kvl_engine_destroy(engines[0]);
    kvl_engine_destroy(engines[1]);
    kvl_tokenizer_close(tokenizer);
    kvl_model_close(model);
    return 0;
}

#endif
