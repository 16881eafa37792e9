/* A record: what one cell leaves. Numbers and strings only, so that whoever reads it needs no model.
 *
 * Two texts describe it. `identity` is a canonical JSON object of all that the numbers follow from: model,
 * tokenizer, text and ids, protocol and scored range, the whole policy, cache types, arithmetic, instruction
 * set, build. Its SHA-256 is the key. `facts` is a JSON object of what is known besides: threads, host,
 * times, sizes of files, the command. The columns repeat what reports sort and sum, so that a report reads no
 * JSON and no list of tokens.
 */
#ifndef KVL_STORE_RECORD_H
#define KVL_STORE_RECORD_H

#include "base/status.h"

enum { KVL_KEY_TEXT = 65 };

typedef enum kvl_record_role {
    KVL_ROLE_POLICY,   /* a policy on a sample */
    KVL_ROLE_BASELINE, /* the full cache on the same tokens */
    KVL_ROLE_ONE_PASS, /* the full cache as published, one pass over more tokens */
} kvl_record_role;

/* "policy", "baseline", "one-pass", as exports name them. */
const char *kvl_record_role_name(kvl_record_role role);

typedef struct kvl_record {
    char key[KVL_KEY_TEXT]; /* SHA-256 of identity, hexadecimal */
    /* SHA-256 of the identity without policy, text and ids, and without what only names them: what may stand
     * in one table */
    char group[KVL_KEY_TEXT];
    char *identity, *facts;
    kvl_record_role role;
    char *model;       /* name */
    char *preset;      /* name; "" */
    char *protocol;    /* name */
    char *press;       /* canonical text of the press alone */
    char *policy;      /* canonical text */
    char *sample;      /* name of the text, or window */
    char *text;        /* name of the text it was cut from: its cluster */
    char *text_key;    /* of that text, 16 hexadecimal digits */
    double keep_ratio; /* of the policy; NAN where its budget is none, and for outcomes */
    size_t begin;      /* of the window in its text, tokens */
    size_t n_tokens, n_budget, first_scored, n_scored; /* as in kvl_cell */
    size_t n_text_bytes; /* of the text that the scored tokens are; 0: not known */
    size_t n_events, first_event, last_event;
    size_t kept_min, kept_max;
    double kept_mean;
    uint64_t kv_bytes_live, wall_ns;
    double nll_sum; /* nats */
    /* over the tokens whose query read a compressed cache: how many, and the sums of this cell and of the
     * full cache on them */
    size_t n_affected;
    double nll_affected, nll_affected_full;
    double *nll; /* [n_scored] nats; NULL where it was not read */
} kvl_record;

/* Frees what the record owns, not the struct. */
void kvl_record_free(kvl_record *r);

typedef struct kvl_records {
    kvl_record *items; /* [n] owned */
    size_t n;
} kvl_records;

void kvl_records_free(kvl_records *r);

#endif
