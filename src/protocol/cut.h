/* Some windows of each text, all of one size: what a search is run on, and what its result is tested on. */
#ifndef KVL_PROTOCOL_CUT_H
#define KVL_PROTOCOL_CUT_H

#include "protocol/samples.h"

typedef struct kvl_cuts {
    kvl_samples windows; /* `text` of each: index among the texts that gave any, its cluster */
    size_t n_texts;      /* that gave any */
    size_t n_short;      /* that are shorter than a window */
} kvl_cuts;

/* Which windows of a text are taken: those of one half are not of the other. */
typedef enum kvl_part { KVL_WHOLE, KVL_FIRST_HALF, KVL_SECOND_HALF } kvl_part;

/* Adds windows of texts first, first + step, ...: the whole windows of the protocol single-shot (windows.h)
 * with that prefill and `score` tokens behind it, of each text up to n_most, spread evenly over the part.
 * What was added before stays. Errors: E_NOMEM. Free with kvl_cuts_free, also after an error. */
kvl_status kvl_cut(kvl_cuts *cuts, const kvl_samples *texts, size_t first, size_t step, kvl_part part,
                   size_t prefill, size_t score, size_t n_most, kvl_err *err) KVL_MUST_USE;
void kvl_cuts_free(kvl_cuts *cuts);

#endif
