/* The quality of a sweep's predictions: `kvlab sweep --quality`. */
#ifndef KVL_CLI_SWEEP_QUALITY_H
#define KVL_CLI_SWEEP_QUALITY_H

#include "base/json.h"
#include "cli/sweep_run.h"
#include "text/tokenizer.h"

/* Counts the bytes of text that the scored tokens of every sample stand for, into info->n_bytes and
 * info->one_pass_bytes: those that the ids up to the last one decode to beyond those in front of the first.
 * 0 where the text is not exactly what its ids decode to (tokenizers that normalise; ids that are none of the
 * text). Free with kvl_sweep_free_bytes. */
kvl_status kvl_sweep_count_bytes(kvl_sweep_run_info *info, const kvl_tokenizer *tokenizer,
                                 kvl_err *err) KVL_MUST_USE;
void kvl_sweep_free_bytes(kvl_sweep_run_info *info);

/* Bytes that the ids [first, end) of a sample decode to behind those in front of them; 0: they do not stand
 * apart. */
kvl_status kvl_sweep_decoded_bytes(size_t *out, size_t first, size_t end, const kvl_sample *sample,
                                   const kvl_tokenizer *tokenizer, kvl_err *err) KVL_MUST_USE;

/* Adds the summary of a cell's predictions to its JSON object, named with their units. */
kvl_status kvl_sweep_set_quality(json_t *o, const kvl_sweep_run_info *info, const kvl_cell *cell,
                                 kvl_err *err) KVL_MUST_USE;
/* Adds the predictions one by one, as lists. */
void kvl_sweep_set_predictions(json_t *o, const kvl_cell *cell);
/* Appends a table, one line per policy over all its cells, for a terminal or as Markdown. */
kvl_status kvl_sweep_write_quality(kvl_str *out, const kvl_sweep_run_info *info, bool is_markdown,
                                   kvl_err *err) KVL_MUST_USE;

#endif
