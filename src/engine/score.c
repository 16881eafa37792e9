/* From the last layer to numbers: final norm, output matrix, log-softmax, for the rows that ask only.
 *
 * The vocabulary is done in pieces; of each only a maximum, a sum of exponentials and the target's logit
 * stay, so that no row's logits are ever held whole. The pieces are joined in order: same bits for any
 * threads.
 */
#include "engine/engine_int.h"

#include <math.h>
#include <string.h>

typedef struct score_job {
    kvl_engine *e;
    kvl_row *rows;
    size_t picked[KVL_SCORE_ROWS]; /* rows of the batch that are scored */
    size_t n_picked;
    float target[KVL_SCORE_ROWS]; /* logit of each row's target */
} score_job;

static void norm_picked(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const score_job *job = ud;
    kvl_engine *e = job->e;
    size_t width = e->model->shape.width;
    kvli_engine_norm(e, &e->model->final_norm, e->act.attn_in + item * width,
                     e->act.x + job->picked[item] * width, width);
}

static size_t index_of_max(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

static void score_piece(void *ud, size_t item, unsigned thread) {
    score_job *job = ud;
    kvl_engine *e = job->e;
    const kvl_shape *s = &e->model->shape;
    const size_t first = item * KVL_VOCAB_PIECE;
    const size_t n_cols = kvl_min_size(KVL_VOCAB_PIECE, s->n_vocab - first);
    float *logits = e->act.logits + (size_t)thread * KVL_SCORE_ROWS * KVL_VOCAB_PIECE;
    kvli_engine_multiply(e, &e->model->output, logits, n_cols, e->act.attn_in, job->n_picked, first, n_cols);
    for (size_t i = 0; i < job->n_picked; i++) {
        const kvl_row *row = &job->rows[job->picked[i]];
        float *x = logits + i * n_cols;
        kvl_score_part *part = &e->score_parts[i * kvli_vocab_pieces(s) + item];
        if (s->final_softcap > 0) {
            e->kernels->softcap(x, s->final_softcap, n_cols);
        }
        part->sum = e->kernels->sum_exp(&part->most, x, n_cols);
        if (row->target >= 0 && (size_t)row->target >= first && (size_t)row->target < first + n_cols) {
            job->target[i] = x[(size_t)row->target - first];
        }
        if (row->wants_top) {
            size_t best = index_of_max(x, n_cols);
            part->top = (int32_t)(first + best);
            part->top_logit = x[best];
        }
        if (row->logits != NULL) {
            memcpy(row->logits + first, x, n_cols * sizeof *x);
        }
    }
}

/* Pieces of one row -> log-sum-exp and top. */
static void join_pieces(const score_job *job, size_t i) {
    const kvl_shape *s = &job->e->model->shape;
    const size_t n = kvli_vocab_pieces(s);
    const kvl_score_part *parts = job->e->score_parts + i * n;
    kvl_row *row = &job->rows[job->picked[i]];
    float most = parts[0].most;
    double sum = 0;
    for (size_t p = 1; p < n; p++) {
        most = parts[p].most > most ? parts[p].most : most;
    }
    for (size_t p = 0; p < n; p++) {
        sum += parts[p].sum * exp((double)parts[p].most - (double)most);
    }
    const double lse = (double)most + log(sum);
    row->nll = row->target >= 0 ? lse - (double)job->target[i] : lse;
    if (row->wants_top) {
        const kvl_score_part *best = parts;
        for (size_t p = 1; p < n; p++) {
            best = parts[p].top_logit > best->top_logit ? &parts[p] : best;
        }
        row->top = best->top;
    }
}

static kvl_status score_some(score_job *job, kvl_err *err) {
    kvl_engine *e = job->e;
    kvl_pool_run(e->pool, job->n_picked, norm_picked, job);
    kvli_engine_round(e, &e->model->output, e->act.attn_in, job->n_picked);
    kvl_pool_run(e->pool, kvli_vocab_pieces(&e->model->shape), score_piece, job);
    for (size_t i = 0; i < job->n_picked; i++) {
        join_pieces(job, i);
        const kvl_row *row = &job->rows[job->picked[i]];
        if (!isfinite(row->nll)) {
            return kvl_fail(err, KVL_E_CHECK, "%s: token %llu of a stream: expected finite logits, found %g",
                            e->model->name, (unsigned long long)row->stream->n_seen, row->nll);
        }
    }
    return KVL_OK;
}

kvl_status kvli_engine_score(kvl_engine *e, kvl_row *rows, size_t n_rows, kvl_err *err) {
    score_job job = {.e = e, .rows = rows};
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].target >= 0 || rows[i].wants_top || rows[i].logits != NULL) {
            job.picked[job.n_picked++] = i;
        }
        if (job.n_picked == KVL_SCORE_ROWS || (i + 1 == n_rows && job.n_picked != 0)) {
            KVL_TRY(score_some(&job, err));
            job.n_picked = 0;
        }
    }
    return KVL_OK;
}
