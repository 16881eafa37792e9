/* From the last layer to numbers: final norm, output matrix, log-softmax, for the rows that ask only.
 *
 * The vocabulary is done in pieces; of each only some sums stay (kvl_score_part), so that no row's logits are
 * ever held whole. The pieces are joined in order: same bits for any threads.
 *
 * A row may be compared with a reference, the final state of its token with another cache: the logits a of
 * the reference and b of the row exist together for a piece, and
 *   KL(reference || row) = sum e^(a - m) (a - b) / Z - lse(a) + lse(b),   m = max a, Z = sum e^(a - m).
 * A reference is multiplied once for all rows of a block that share it.
 */
#include "engine/engine_int.h"

#include <math.h>
#include <string.h>

/* One line of the product with the output matrix: a row, or a reference that is no row of the block. */
typedef struct slot {
    kvl_row *row;        /* NULL: a reference alone */
    const float *hidden; /* the caller's copy of the normalised state, by which rows refer to it, or NULL */
    size_t reference;    /* slot of the row's reference, before its own */
    bool is_reference;
    float target; /* logit of the row's target */
} slot;

typedef struct score_job {
    kvl_engine *e;
    kvl_row *rows;
    slot slots[KVL_SCORE_ROWS];
    size_t n_slots;
} score_job;

static kvl_score_part *parts_of(const score_job *job, size_t i) {
    return job->e->score_parts + i * kvli_vocab_pieces(&job->e->model->shape);
}

static void norm_row(const kvl_engine *e, float *out, size_t row) {
    const size_t width = e->model->shape.width;
    kvli_engine_norm(e, &e->model->final_norm, out, e->act.x + row * width, width);
}

static void enter_slot(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const score_job *job = ud;
    const slot *s = &job->slots[item];
    const size_t width = job->e->model->shape.width;
    float *to = job->e->act.attn_in + item * width;
    if (s->hidden != NULL) {
        memcpy(to, s->hidden, width * sizeof *to);
    } else {
        norm_row(job->e, to, (size_t)(s->row - job->rows));
    }
}

/* The first i with x[i] = value, the largest of n. */
static size_t first_equal(const float *x, float value, size_t n) {
    enum { at_once = 16 };
    size_t i = 0;
    for (; i + at_once < n; i += at_once) {
        int is_there = 0;
        for (size_t j = 0; j < at_once; j++) {
            is_there |= x[i + j] >= value;
        }
        if (is_there) {
            break;
        }
    }
    while (i + 1 < n && !(x[i] >= value)) {
        i++;
    }
    return i;
}

/* What stays of x, the logits of slot i in one piece; those of a reference become its weights. */
static void score_slot(score_job *job, size_t i, size_t piece, float *x, size_t n_cols) {
    const kvl_kernels *kernels = job->e->kernels;
    const size_t first = piece * KVL_VOCAB_PIECE;
    float weights[KVL_VOCAB_PIECE];
    slot *s = &job->slots[i];
    const kvl_row *row = s->row;
    kvl_score_part *part = parts_of(job, i) + piece;
    const bool has_mean = s->is_reference || row->wants_entropy;
    if (job->e->model->shape.final_softcap > 0) {
        kernels->softcap(x, job->e->model->shape.final_softcap, n_cols);
    }
    part->sum = kernels->sum_exp(&part->most, has_mean ? weights : NULL, x, n_cols);
    if (has_mean) {
        part->mean = kernels->dot(weights, x, n_cols);
    }
    if (s->is_reference || row->wants_top || row->reference != NULL) {
        part->top = (int32_t)(first + first_equal(x, part->most, n_cols));
    }
    if (row != NULL && row->reference != NULL) {
        const float *reference_weights = x - (i - s->reference) * n_cols;
        part->mean_b = kernels->dot(reference_weights, x, n_cols);
    }
    if (row != NULL && row->target >= 0 && (size_t)row->target - first < n_cols) {
        s->target = x[(size_t)row->target - first];
    }
    if (row != NULL && row->logits != NULL) {
        memcpy(row->logits + first, x, n_cols * sizeof *x);
    }
    if (s->is_reference) {
        memcpy(x, weights, n_cols * sizeof *x);
    }
}

static void score_piece(void *ud, size_t item, unsigned thread) {
    score_job *job = ud;
    kvl_engine *e = job->e;
    const size_t first = item * KVL_VOCAB_PIECE;
    const size_t n_cols = kvl_min_size(KVL_VOCAB_PIECE, e->model->shape.n_vocab - first);
    float *logits = e->act.logits + (size_t)thread * KVL_SCORE_ROWS * KVL_VOCAB_PIECE;
    kvli_engine_multiply(e, &e->model->output, logits, n_cols, e->act.attn_in, job->n_slots, first, n_cols);
    for (size_t i = 0; i < job->n_slots; i++) {
        score_slot(job, i, item, logits + i * n_cols, n_cols);
    }
}

/* The whole vocabulary of one slot. */
typedef struct prediction {
    kvl_score_part all;
    double lse;
} prediction;

static prediction join_pieces(const score_job *job, size_t i) {
    const size_t n = kvli_vocab_pieces(&job->e->model->shape);
    const kvl_score_part *parts = parts_of(job, i);
    prediction p = {.all = {.most = parts[0].most, .top = parts[0].top}};
    for (size_t k = 1; k < n; k++) {
        if (parts[k].most > p.all.most) {
            p.all.most = parts[k].most;
            p.all.top = parts[k].top;
        }
    }
    for (size_t k = 0; k < n; k++) {
        const double scale = exp((double)parts[k].most - (double)p.all.most);
        p.all.sum += parts[k].sum * scale;
        p.all.mean += parts[k].mean * scale;
    }
    p.lse = (double)p.all.most + log(p.all.sum);
    return p;
}

/* What rounding left below 0 is 0; NaN stays. */
static double not_negative(double x) { return x < 0 ? 0 : x; }

static double divergence(const score_job *job, size_t i, const prediction *reference, double lse) {
    const kvl_score_part *a = parts_of(job, job->slots[i].reference);
    const kvl_score_part *b = parts_of(job, i);
    double sum = 0;
    for (size_t k = 0; k < kvli_vocab_pieces(&job->e->model->shape); k++) {
        sum += (a[k].mean - b[k].mean_b) * exp((double)a[k].most - (double)reference->all.most);
    }
    return not_negative(sum / reference->all.sum - reference->lse + lse);
}

static void leave_slot(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const score_job *job = ud;
    const slot *s = &job->slots[item];
    kvl_row *row = s->row;
    if (row == NULL) {
        return;
    }
    const prediction p = join_pieces(job, item);
    row->nll = row->target >= 0 ? p.lse - (double)s->target : p.lse;
    if (row->wants_top) {
        row->top = p.all.top;
        row->p_top = exp((double)p.all.most - p.lse);
    }
    if (row->wants_entropy) {
        row->entropy = not_negative(p.lse - p.all.mean / p.all.sum);
    }
    if (row->reference != NULL) {
        const prediction reference = join_pieces(job, s->reference);
        row->kl = divergence(job, item, &reference, p.lse);
        row->is_same_top = p.all.top == reference.all.top;
    }
}

static kvl_status score_block(score_job *job, kvl_err *err) {
    kvl_engine *e = job->e;
    kvl_pool_run(e->pool, job->n_slots, enter_slot, job);
    kvli_engine_round(e, &e->model->output, e->act.attn_in, job->n_slots);
    kvl_pool_run(e->pool, kvli_vocab_pieces(&e->model->shape), score_piece, job);
    kvl_pool_run(e->pool, job->n_slots, leave_slot, job);
    for (size_t i = 0; i < job->n_slots; i++) {
        const kvl_row *row = job->slots[i].row;
        if (row != NULL && !isfinite(row->nll)) {
            return kvl_fail(err, KVL_E_CHECK, "%s: token %llu of a stream: expected finite logits, found %g",
                            e->model->name, (unsigned long long)row->stream->n_seen, row->nll);
        }
        if (row != NULL && row->reference != NULL && !isfinite(row->kl)) {
            return kvl_fail(err, KVL_E_CHECK,
                            "%s: token %llu of a stream: expected a finite reference, found a KL of %g",
                            e->model->name, (unsigned long long)row->stream->n_seen, row->kl);
        }
    }
    job->n_slots = 0;
    return KVL_OK;
}

/* Puts a row into the block, and its reference unless it is there. */
static void add_row(score_job *job, kvl_row *row) {
    slot s = {.row = row, .hidden = row->hidden};
    if (row->reference != NULL) {
        while (s.reference < job->n_slots && job->slots[s.reference].hidden != row->reference) {
            s.reference++;
        }
        if (s.reference == job->n_slots) {
            job->slots[job->n_slots++] = (slot){.hidden = row->reference};
        }
        job->slots[s.reference].is_reference = true;
    }
    job->slots[job->n_slots++] = s;
}

static bool is_scored(const kvl_row *row) {
    return row->target >= 0 || row->wants_top || row->wants_entropy || row->reference != NULL ||
           row->logits != NULL;
}

static kvl_status score_row(score_job *job, kvl_row *row, kvl_err *err) {
    if (job->n_slots + 1 + (row->reference != NULL) > KVL_SCORE_ROWS) {
        KVL_TRY(score_block(job, err));
    }
    add_row(job, row);
    return KVL_OK;
}

/* The state with which a row shares its place in a block. */
static const float *state_of(const kvl_row *row) {
    return row->reference != NULL ? row->reference : row->hidden;
}

/* Whether a row before the i-th has taken it along. */
static bool is_taken(const kvl_row *rows, size_t i) {
    for (size_t k = 0; rows[i].reference != NULL && k < i; k++) {
        if (state_of(&rows[k]) == rows[i].reference && is_scored(&rows[k])) {
            return true;
        }
    }
    return false;
}

/* Rows that are compared with one state go together, behind the row whose state it is: it is multiplied once.
 */
kvl_status kvli_engine_score(kvl_engine *e, kvl_row *rows, size_t n_rows, kvl_err *err) {
    score_job job = {.e = e, .rows = rows};
    for (size_t i = 0; i < n_rows; i++) { /* all of them first: rows refer to each other's */
        if (rows[i].hidden != NULL) {
            norm_row(e, rows[i].hidden, i);
        }
    }
    for (size_t i = 0; i < n_rows; i++) {
        if (!is_scored(&rows[i]) || is_taken(rows, i)) {
            continue;
        }
        KVL_TRY(score_row(&job, &rows[i], err));
        for (size_t k = i + 1; state_of(&rows[i]) != NULL && k < n_rows; k++) {
            if (rows[k].reference == state_of(&rows[i])) {
                KVL_TRY(score_row(&job, &rows[k], err));
            }
        }
    }
    return job.n_slots != 0 ? score_block(&job, err) : KVL_OK;
}
