/* What commands found goes into the store as documents, besides being printed. */
#ifndef KVL_CLI_KEEP_H
#define KVL_CLI_KEEP_H

#include "base/json.h"
#include "cli/store_arg.h"
#include "model/model.h"
#include "press/policy.h"
#include "protocol/samples.h"
#include "store/store.h"

/* A document in the making. */
typedef struct kvl_keep {
    const char *kind;       /* "explain", "explain-only", "recommend", "needle", "bench", "timing" */
    const kvl_model *model; /* as it computed: arithmetic, cache types */
    const char *isa;
    const char *command; /* that makes it again */
    /* An object: all else that the lines follow from, or what was measured for times. The make takes it. */
    json_t *options;
} kvl_keep;

/* Makes a document of the lines, which it takes: *lines is empty then. Its key is the SHA-256 of kind, model
 * (hash, arithmetic, cache types), instruction set, build and options, as JSON. Free with
 * kvl_document_free in any case. Errors: E_NOMEM. */
kvl_status kvl_keep_make(kvl_document *out, const kvl_keep *what, kvl_str *lines, kvl_err *err) KVL_MUST_USE;
/* Puts documents [n] into the store of the options, if there is one (out_dir as in store_arg.h). To be called
 * when everything is printed. Errors: those of the store. */
kvl_status kvl_keep_put(const kvl_store_arg *arg, const char *out_dir, const kvl_document *documents,
                        size_t n, kvl_err *err) KVL_MUST_USE;
/* Both for a single document. */
kvl_status kvl_keep_document(const kvl_store_arg *arg, const char *out_dir, const kvl_keep *what,
                             kvl_str *lines, kvl_err *err) KVL_MUST_USE;

/* Values for options; NULL without memory, which the make reports. */
json_t *kvl_keep_hash(uint64_t hash);
/* Names and hashes. */
json_t *kvl_keep_samples(const kvl_samples *samples);
/* Texts, with the hash of the statistics that a policy uses. */
json_t *kvl_keep_policies(const kvl_policy *policies, size_t n, const kvl_shape *shape);
json_t *kvl_keep_counts(const size_t *counts, size_t n);

#endif
