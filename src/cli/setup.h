/* What a command runs on: the model that its options name, opened, with tokenizer, statistics and engine. */
#ifndef KVL_CLI_SETUP_H
#define KVL_CLI_SETUP_H

#include "cli/sweep_options.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

typedef struct kvl_setup {
    kvl_model *model;
    kvl_tokenizer *tokenizer;
    kvl_calibration *calibration; /* NULL: no policy needs one */
    kvl_engine *engine;
    kvl_ids prompt_ids; /* of what presses ask a model that is to repeat its text, one after another */
    kvl_prompts prompts;
} kvl_setup;

/* Takes model, threads, instruction set, arithmetic, cache types and statistics from the options. Close with
 * kvl_setup_close in any case; the struct must stay where it is. Errors: those of what is opened, E_VOCAB
 * for a tokenizer whose ids the model does not have. */
kvl_status kvl_setup_open(kvl_setup *s, const kvl_sweep_options *options, const kvl_policy *policies,
                          size_t n_policies, kvl_err *err) KVL_MUST_USE;
void kvl_setup_close(kvl_setup *s);

/* The tokenizer of a checkpoint, whose ids the model must have: E_VOCAB otherwise. *out is the caller's. */
kvl_status kvl_tokenizer_open_for(kvl_tokenizer **out, const char *path, const kvl_model *model,
                                  kvl_err *err) KVL_MUST_USE;

/* What presses ask a model that is to repeat its text (kvzip): ids [empty at first] hold it and are the
 * caller's, as long as *out is used. */
kvl_status kvl_prompts_encode(kvl_prompts *out, kvl_ids *ids, kvl_tokenizer *tokenizer,
                              kvl_err *err) KVL_MUST_USE;

/* Most of what the system can give; 0 where it does not tell. */
uint64_t kvl_most_memory(void);

#endif
