/* Statistics of a model from texts: what presses are told of it by a kvl_calibration.
 *
 * The texts go through the model twice: once for the moments of queries and keys; the beginning once more,
 * for the side on which most queries lie. Each text stands for itself, its first tokens at position 0.
 */
#ifndef KVL_PROTOCOL_CALIBRATE_H
#define KVL_PROTOCOL_CALIBRATE_H

#include "cache/calibration.h"
#include "engine/engine.h"
#include "protocol/samples.h"

/* Texts that no preset scores by default, and how much is taken of each. */
#define KVL_CALIBRATION_SAMPLES "B6 B7 B8 B9 B10"
enum { KVL_CALIBRATION_TOKENS = 1024 };

/* Of the first max_tokens tokens of every text; *out is the caller's. The engine's caches should be f32: what
 * types round would be in the statistics. `goes_on` (may be NULL) is asked after every pass. The same bits
 * for any number of threads. Errors: E_TEXT for a text of too few tokens, E_INTERRUPTED, E_NOMEM, E_CHECK. */
kvl_status kvl_calibrate(kvl_calibration **out, kvl_engine *engine, const kvl_samples *texts,
                         size_t max_tokens, bool (*goes_on)(void), kvl_err *err) KVL_MUST_USE;

#endif
