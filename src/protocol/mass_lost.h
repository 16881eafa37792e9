/* Attention that is lost: the share that a query, with the full cache, gives to keys that a compressed cache
 * no longer has. Found from the baseline's keys and noted queries, so that it says what was missing, not what
 * the compressed model made of the rest.
 */
#ifndef KVL_PROTOCOL_MASS_LOST_H
#define KVL_PROTOCOL_MASS_LOST_H

#include "engine/engine.h"

/* For each of n_logs logs of one text, lost[i] [n_steps, L, K]: of the query of each token below n_steps the
 * attention (scale, softcap and window as the model has them; mean over the query heads of the group) to keys
 * that had left by then. `full` is a stream of the same text of at least n_steps tokens that was never
 * compressed and noted all its queries (KVL_ALL_QUERIES). Weights in f32, their sums in double, in order of
 * positions: the same bits for any number of threads. Rows of weights are there for 32 tokens at a time.
 * Errors: E_NOMEM. */
kvl_status kvl_mass_lost(float *const *lost, const kvl_departures *const *logs, size_t n_logs,
                         const kvl_engine *engine, const kvl_stream *full, size_t n_steps,
                         kvl_err *err) KVL_MUST_USE;

#endif
