/* The options of every command that takes a model, and the path they come to. */
#ifndef KVL_CLI_MODEL_ARG_H
#define KVL_CLI_MODEL_ARG_H

#include "base/str.h"
#include "cache/cache.h"
#include "cli/args.h"

enum {
    KVL_ARG_MODEL = 1000,
    KVL_ARG_HF_REPO,
    KVL_ARG_HF_FILE,
    KVL_ARG_OFFLINE,
    KVL_ARG_TYPE_K,
    KVL_ARG_TYPE_V,
    KVL_ARG_RESIDUAL,
    KVL_ARG_HADAMARD
};

/* Lines for a command's option table. */
#define KVL_HF_FILE_ARGS                                                                                     \
    {KVL_ARG_HF_FILE, 0, "hf-file", "FILE", "this GGUF file of the repository, whatever its quant"},         \
        {KVL_ARG_HF_FILE, 0, "hff", "FILE", NULL}, {                                                         \
        KVL_ARG_OFFLINE, 0, "offline", NULL, "no network: only what the hub cache has"                       \
    }
#define KVL_MODEL_ARGS                                                                                       \
    {KVL_ARG_MODEL, 'm', "model", "DIR|FILE.gguf", "checkpoint folder or GGUF file"},                        \
        {KVL_ARG_HF_REPO, 0, "hf-repo", "ORG/NAME[:Q][@REV]", "model in the hub cache (docs/models.md)"},    \
        {KVL_ARG_HF_REPO, 0, "hf", "ORG/NAME[:Q][@REV]", NULL}, KVL_HF_FILE_ARGS

#define KVL_CACHE_TYPE_ARGS                                                                                  \
    {KVL_ARG_TYPE_K, 0, "cache-type-k", "TYPE",                                                              \
     "keys are stored as f32 (default), f16, bf16, q8_0, q4_0, q4_1 or iq4_nl"},                             \
        {KVL_ARG_TYPE_K, 0, "ctk", "TYPE", NULL},                                                            \
        {KVL_ARG_TYPE_V, 0, "cache-type-v", "TYPE", "the same for values"},                                  \
        {KVL_ARG_TYPE_V, 0, "ctv", "TYPE", NULL},                                                            \
        {KVL_ARG_RESIDUAL, 0, "kv-residual", "N",                                                            \
         "the newest N tokens of a head are not quantised yet (0)"},                                         \
    {                                                                                                        \
        KVL_ARG_HADAMARD, 0, "kv-hadamard", "on|off",                                                        \
            "rotate keys and values before they are quantised (off)"                                         \
    }

typedef struct kvl_model_arg {
    const char *path; /* all borrowed; NULL when not given */
    const char *hf_repo;
    const char *hf_file;
    bool is_offline;
} kvl_model_arg;

/* How caches store keys and values. */
typedef struct kvl_cache_arg {
    kvl_kv_type key_type, value_type;
    uint32_t n_residual;
    bool has_hadamard;
} kvl_cache_arg;

/* Takes an option of KVL_CACHE_TYPE_ARGS, if the id is one of them: *is_taken. */
kvl_status kvl_cache_arg_take(kvl_cache_arg *c, int id, const char *value, bool *is_taken,
                              kvl_err *err) KVL_MUST_USE;
/* As "f16/f16" or "q4_0/q4_0, newest 32 in full, hadamard". */
enum { KVL_CACHE_TEXT = 80 };
void kvl_cache_text(char text[KVL_CACHE_TEXT], const kvl_shape *shape);
/* Sets them in a model's shape. E_USAGE where its heads cannot be stored so. */
kvl_status kvl_cache_arg_apply(const kvl_cache_arg *c, kvl_shape *shape, kvl_err *err) KVL_MUST_USE;

/* Takes an option of KVL_MODEL_ARGS; false when the id is none of them. */
bool kvl_model_arg_take(kvl_model_arg *m, int id, const char *value);
/* Takes an operand: a path, or ORG/NAME[:QUANT][@REVISION] when no such path exists. E_USAGE when a model is
 * given already. */
kvl_status kvl_model_arg_operand(kvl_model_arg *m, const char *operand, kvl_err *err) KVL_MUST_USE;
bool kvl_model_arg_is_given(const kvl_model_arg *m);
/* Appends the model's path; the model that comes with the program when none is given. Nothing is downloaded:
 * E_MISSING says how to. E_USAGE for options that exclude each other. */
kvl_status kvl_model_arg_resolve(kvl_str *out, const kvl_model_arg *m, kvl_err *err) KVL_MUST_USE;

#endif
