/* Models by name: the cache that the programs of the Hugging Face hub share, and downloads into it.
 *
 * Layout (the hub's own, so that no model is stored twice):
 *
 *   CACHE/models--ORG--NAME/refs/REVISION             a commit, 40 hexadecimal digits
 *                          /snapshots/COMMIT/PATH     relative link to ../../blobs/ETAG, or a plain file
 *                          /blobs/ETAG                SHA-256 (64 digits) or git's SHA-1 (40) of the content
 *                          /.no_exist/COMMIT/PATH     empty: the repository has no such file
 *   CACHE/.locks/models--ORG--NAME/ETAG.lock          held by flock while the blob is downloaded
 */
#ifndef KVL_FILE_HUB_H
#define KVL_FILE_HUB_H

#include "base/str.h"

/* Values of the environment, handed in by the program; NULL and "" mean unset. "~/" is HOME. */
typedef struct kvl_hub_env {
    const char *hf_hub_cache;   /* the cache; else hf_home/hub; else xdg_cache_home/huggingface/hub; else */
    const char *hf_home;        /* home/.cache/huggingface/hub */
    const char *xdg_cache_home; /* ignored when relative */
    const char *home;
    const char *hf_endpoint; /* default https://huggingface.co */
    const char *hf_token;
    const char *hf_token_path; /* read when hf_token is unset; default "token" in the hub's home */
} kvl_hub_env;

typedef struct kvl_hub {
    kvl_str cache_dir;
    kvl_str endpoint;   /* without a slash at the end */
    kvl_str token;      /* empty: see token_path */
    kvl_str token_path; /* file of a token; read by kvl_hub_fetch only */
} kvl_hub;

/* Fills *out; close it in any case. Errors: E_USAGE when there is no place for a cache or the endpoint is no
 * http(s) address. Touches no file and no network. */
kvl_status kvl_hub_open(kvl_hub *out, const kvl_hub_env *env, kvl_err *err) KVL_MUST_USE;
void kvl_hub_close(kvl_hub *hub);

/* ORG/NAME[:QUANT][@REVISION], the last two in any order. */
typedef struct kvl_hub_name {
    char repo[200];     /* "ORG/NAME" */
    char quant[64];     /* "Q4_K_M"; "" when not given */
    char revision[256]; /* branch, tag or commit; "main" when not given */
} kvl_hub_name;

/* Errors: E_USAGE saying what is wrong with the text. */
kvl_status kvl_hub_name_parse(kvl_hub_name *out, const char *text, kvl_err *err) KVL_MUST_USE;

/* Path of a model that is in the cache, appended to *out: a directory (config.json and safetensors), or a
 * GGUF file (the first of a split one).
 *
 *   file   path of a GGUF file in the repository, or NULL: then the file of name->quant, or without a quant
 *          the checkpoint, else the GGUF file of Q4_K_M, else the first one. Quants ignore case.
 *
 * Errors: E_MISSING naming what is missing and the command that gets it; E_PATH for a broken ref. */
kvl_status kvl_hub_find(kvl_str *out, const kvl_hub *hub, const kvl_hub_name *name, const char *file,
                        kvl_err *err) KVL_MUST_USE;

typedef enum kvl_hub_event_kind {
    KVL_HUB_PROGRESS, /* n_done of n_bytes of file `text` are here; ~10 times a second, also while waiting */
    KVL_HUB_FILE,     /* file `text` is complete (dry run: its size); n_done is what the cache had before */
    KVL_HUB_NOTE,     /* `text` is a line for the user: a retry, a wait for another process */
} kvl_hub_event_kind;

typedef struct kvl_hub_event {
    kvl_hub_event_kind kind;
    const char *text;
    uint64_t n_done;
    uint64_t n_bytes;
} kvl_hub_event;

/* Returns false to stop the download (E_INTERRUPTED; what has arrived stays for the next time). */
typedef bool kvl_hub_event_fn(void *ud, const kvl_hub_event *event);

typedef struct kvl_hub_fetch_options {
    const char *file; /* as in kvl_hub_find, among the files of the repository */
    bool is_dry_run;  /* sizes only; nothing is written */
    kvl_hub_event_fn *event;
    void *event_ud;
    unsigned retry_ms; /* before the first retry, doubled at each further one; 0: 1000 */
    unsigned stall_ms; /* a transfer without a byte for so long is broken; 0: 30000 */
} kvl_hub_fetch_options;

/* Downloads what of a repository is not in the cache yet and appends the path of the model to *out, as
 * kvl_hub_find would. A checkpoint is config.json, generation_config.json, tokenizer*.json,
 * special_tokens_map.json and the safetensors files; a GGUF model is its file or files only.
 *
 * Every file is checked (size, SHA-256 or git SHA-1) before it gets its name; broken transfers are resumed.
 * Errors: E_NET (refused, absent, broken or wrong answers), E_MISSING (the repository has no such model),
 * E_PATH (a file name that leaves its folder), E_IO (disk), E_LIMIT, E_INTERRUPTED, errors of JSON.
 * Threads and processes may fetch into one cache at once. */
kvl_status kvl_hub_fetch(kvl_str *out, const kvl_hub *hub, const kvl_hub_name *name,
                         const kvl_hub_fetch_options *options, kvl_err *err) KVL_MUST_USE;

#endif
