/* From the last layer to numbers: final norm, output matrix, log-softmax, for the rows that ask only. */
#include "engine/engine_int.h"

#include <math.h>
#include <string.h>

typedef struct score_job {
    kvl_engine *e;
    kvl_row *rows;
    size_t picked[KVL_SCORE_ROWS]; /* rows of the batch whose logits are held */
    size_t n_picked;
} score_job;

static void norm_picked(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const score_job *job = ud;
    kvl_engine *e = job->e;
    size_t width = e->model->shape.width;
    kvli_engine_norm(e, &e->model->final_norm, e->act.attn_in + item * width,
                     e->act.x + job->picked[item] * width, width);
}

static int32_t index_of_max(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (x[i] > x[best]) {
            best = i;
        }
    }
    return (int32_t)best;
}

static void score_picked(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const score_job *job = ud;
    kvl_engine *e = job->e;
    size_t n_vocab = e->model->shape.n_vocab;
    kvl_row *row = &job->rows[job->picked[item]];
    float *logits = e->act.logits + item * n_vocab;
    if (e->model->shape.final_softcap > 0) {
        e->kernels->softcap(logits, e->model->shape.final_softcap, n_vocab);
    }
    double lse = e->kernels->log_sum_exp(logits, n_vocab);
    row->nll = row->target >= 0 ? lse - (double)logits[row->target] : lse;
    if (row->wants_top) {
        row->top = index_of_max(logits, n_vocab);
    }
    if (row->logits != NULL) {
        memcpy(row->logits, logits, n_vocab * sizeof(float));
    }
}

static kvl_status score_some(score_job *job, kvl_err *err) {
    kvl_engine *e = job->e;
    kvl_pool_run(e->pool, job->n_picked, norm_picked, job);
    kvli_engine_linear(e, &e->model->output, e->act.logits, e->act.attn_in, job->n_picked, NULL);
    kvl_pool_run(e->pool, job->n_picked, score_picked, job);
    for (size_t i = 0; i < job->n_picked; i++) {
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
