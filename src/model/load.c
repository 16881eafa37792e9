/* Loading runs over panels of 32 rows; each has a hash of its own, and the model's hash runs over these in
 * order, so that it depends neither on threads nor on how a file is cut. */
#include "model/load.h"

#include "base/alloc.h"
#include "file/repack.h"

#include <string.h>

/* What went wrong first, in the order of items and not of threads. */
typedef struct first_error {
    size_t item;
    kvl_status status;
    kvl_err err;
} first_error;

typedef struct load_job {
    kvli_loader *l;
    const kvli_part *parts;
    size_t n_parts;
    const kvl_panels *panels; /* where to pack them; NULL: `to` holds the rows as they are */
    float *to;
    const kvl_linear *compared; /* with its columns, instead of packed */
    const float *all;           /* the whole stored matrix [n_in, n_rows], if transposed */
    size_t n_in;
    size_t n_rows;
    float *rows;         /* [n_threads, 32, n_in] */
    uint8_t *raw;        /* [n_threads, 32, raw_bytes]; NULL: rows are packed from f32 */
    size_t raw_bytes;    /* of a stored row */
    uint64_t *hashes;    /* [items] */
    first_error *errors; /* [n_threads] */
} load_job;

/* The shift brings high bits down, which multiplication alone does not. */
static uint64_t hash_word(uint64_t h, uint64_t word) {
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 32);
}

/* By 8-byte words in lanes that do not wait for each other: bytewise FNV-1a would take longer than reading.
 */
static uint64_t hash_floats(uint64_t h, const float *x, size_t n) {
    uint64_t lanes[8] = {h, 1, 2, 3, 4, 5, 6, 7};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        uint64_t words[8];
        memcpy(words, x + i, sizeof words);
        for (size_t lane = 0; lane < 8; lane++) {
            lanes[lane] = hash_word(lanes[lane], words[lane]);
        }
    }
    for (; i < n; i++) {
        uint32_t word = 0;
        memcpy(&word, x + i, sizeof word);
        lanes[0] = hash_word(lanes[0], word);
    }
    for (size_t lane = 1; lane < 8; lane++) {
        lanes[0] = hash_word(lanes[0], lanes[lane]);
    }
    return lanes[0];
}

/* Where used row `row` is stored. */
static size_t find_row(const load_job *job, size_t row, const kvl_tensor **tensor) {
    const kvli_part *part = job->parts;
    while (row >= part->n_rows) {
        row -= part->n_rows;
        part++;
    }
    *tensor = part->tensor;
    return part->first + (part->row_of != NULL ? part->row_of(&job->l->m->shape, row) : row);
}

/* Reads n used rows from `first` on into rows [n, n_in], and as stored into raw unless NULL; neighbours in
 * one go. */
static kvl_status read_rows(const load_job *job, float *rows, uint8_t *raw, size_t first, size_t n,
                            kvl_err *err) {
    size_t i = 0;
    while (i < n) {
        const kvl_tensor *tensor = NULL;
        const kvl_tensor *next = NULL;
        size_t stored = find_row(job, first + i, &tensor);
        size_t run = 1;
        while (i + run < n && find_row(job, first + i + run, &next) == stored + run && next == tensor) {
            run++;
        }
        KVL_TRY(kvl_tensors_read_part(job->l->tensors, tensor, (uint64_t)stored * job->n_in,
                                      (uint64_t)run * job->n_in, rows + i * job->n_in,
                                      raw != NULL ? raw + i * job->raw_bytes : NULL, err));
        i += run;
    }
    return KVL_OK;
}

static void transpose_rows(const load_job *job, float *rows, size_t first, size_t n) {
    for (size_t k = 0; k < job->n_in; k++) {
        for (size_t i = 0; i < n; i++) {
            rows[i * job->n_in + k] = job->all[k * job->n_rows + first + i];
        }
    }
}

/* `used` is room for one row. */
static kvl_status compare_rows(const load_job *job, const float *rows, size_t first, size_t n, float *used,
                               kvl_err *err) {
    for (size_t i = 0; i < n; i++) {
        kvl_linear_column(job->compared, first + i, used);
        for (size_t k = 0; k < job->n_in; k++) {
            float found = rows[i * job->n_in + k];
            if (used[k] < found || used[k] > found) {
                const kvl_tensor *t = job->parts->tensor;
                return kvl_fail(
                    err, KVL_E_CONFIG,
                    "%s: tensor '%.80s', index %zu: expected the embedding's value %g (the config "
                    "says that both are one matrix), found %g",
                    kvl_tensors_path(job->l->tensors, t), t->name, (first + i) * job->n_in + k,
                    (double)used[k], (double)found);
            }
        }
    }
    return KVL_OK;
}

static kvl_status load_panel(const load_job *job, size_t item, unsigned thread, kvl_err *err) {
    const size_t first = item * KVL_PANEL_COLS;
    const size_t n = kvl_min_size(KVL_PANEL_COLS, job->n_rows - first);
    float *own = job->rows + (size_t)thread * (KVL_PANEL_COLS + 1) * job->n_in;
    float *rows = job->to != NULL ? job->to + first * job->n_in : own;
    uint8_t *raw = job->raw != NULL ? job->raw + thread * KVL_PANEL_COLS * job->raw_bytes : NULL;
    if (job->all != NULL) {
        transpose_rows(job, rows, first, n);
    } else {
        KVL_TRY(read_rows(job, rows, raw, first, n, err));
    }
    if (job->compared != NULL) {
        return compare_rows(job, rows, first, n, own + KVL_PANEL_COLS * job->n_in, err);
    }
    job->hashes[item] = hash_floats(item, rows, n * job->n_in);
    if (job->panels != NULL) {
        const kvl_panels *p = job->panels;
        uint8_t *panel = (uint8_t *)p->data + item * kvl_panel_bytes(p->type, job->n_in);
        if (raw != NULL) {
            kvl_repack_panel(panel, job->parts->tensor->dtype, raw, job->n_in, n);
        } else {
            kvl_pack_panels(panel, p->type, rows, job->n_in, n);
        }
    }
    return KVL_OK;
}

static void load_item(void *ud, size_t item, unsigned thread) {
    const load_job *job = ud;
    first_error *first = &job->errors[thread];
    if (first->status != KVL_OK && first->item < item) {
        return;
    }
    kvl_err err = {0};
    kvl_status status = load_panel(job, item, thread, &err);
    if (status != KVL_OK) {
        *first = (first_error){item, status, err};
    }
}

static kvl_status first_of(const load_job *job) {
    const first_error *first = NULL;
    for (unsigned t = 0; t < kvl_pool_threads(job->l->pool); t++) {
        const first_error *e = &job->errors[t];
        if (e->status != KVL_OK && (first == NULL || e->item < first->item)) {
            first = e;
        }
    }
    if (first != NULL && job->l->err != NULL) {
        *job->l->err = first->err;
    }
    return first != NULL ? first->status : KVL_OK;
}

static kvl_status run_job(load_job *job) {
    kvli_loader *l = job->l;
    unsigned n_threads = kvl_pool_threads(l->pool);
    size_t n_items = (job->n_rows + KVL_PANEL_COLS - 1) / KVL_PANEL_COLS;
    kvl_status status = KVL_OK;
    job->rows = kvl_alloc((size_t)n_threads * (KVL_PANEL_COLS + 1), job->n_in * sizeof(float));
    bool is_blocked = job->panels != NULL && kvl_panel_is_blocked(job->panels->type);
    if (is_blocked) {
        const kvl_dtype t = job->parts->tensor->dtype;
        job->raw_bytes = job->n_in / kvl_dtype_block_items(t) * kvl_dtype_block_bytes(t);
        job->raw = kvl_alloc((size_t)n_threads * KVL_PANEL_COLS, job->raw_bytes);
    }
    job->hashes = kvl_calloc(n_items, sizeof *job->hashes);
    job->errors = kvl_calloc(n_threads, sizeof *job->errors);
    if (job->rows == NULL || job->hashes == NULL || job->errors == NULL || (is_blocked && job->raw == NULL)) {
        status = kvl_fail_nomem(l->err, "weights");
        goto done;
    }
    kvl_pool_run(l->pool, n_items, load_item, job);
    KVL_GO(first_of(job));
    if (job->compared == NULL) {
        for (size_t i = 0; i < n_items; i++) {
            l->m->hash = hash_word(l->m->hash, job->hashes[i]);
        }
    }
done:
    kvl_free(job->rows);
    kvl_free(job->raw);
    kvl_free(job->hashes);
    kvl_free(job->errors);
    return status;
}

/* The one place that makes room for weights, so that counting without reading cannot differ from opening. */
static kvl_status new_block(kvli_loader *l, void **out, size_t n_params, size_t n, size_t item_bytes) {
    l->m->weight_bytes += (uint64_t)n * item_bytes;
    l->m->kinds[l->kind].resident_bytes += (uint64_t)n * item_bytes;
    l->m->n_params += n_params;
    if (l->is_header_only) {
        return KVL_OK;
    }
    *out = kvl_alloc(n, item_bytes);
    return *out != NULL ? KVL_OK : kvl_fail_nomem(l->err, "weights");
}

static kvl_status new_floats(kvli_loader *l, float **out, size_t n) {
    void *block = NULL;
    kvl_status status = new_block(l, &block, n, n, sizeof **out);
    *out = block;
    return status;
}

kvl_status kvli_load_rows(kvli_loader *l, float **out, const kvl_tensor *tensor) {
    size_t n_rows = (size_t)tensor->dims[0];
    size_t n_in = (size_t)(tensor->n_items / tensor->dims[0]);
    const kvli_part part = {.tensor = tensor, .n_rows = n_rows};
    KVL_TRY(new_floats(l, out, n_rows * n_in));
    if (l->is_header_only) {
        return KVL_OK;
    }
    load_job job = {.l = l, .parts = &part, .n_parts = 1, .to = *out, .n_in = n_in, .n_rows = n_rows};
    return run_job(&job);
}

/* One segment of a linear map from some parts; all: the whole stored matrix if transposed. */
static kvl_status load_segment(kvli_loader *l, kvl_linear *out, const kvli_part *parts, size_t n_parts,
                               kvl_panel_type stored_type, const float *all) {
    const bool is_bf16 = l->m->arith == KVL_ARITH_BF16 || l->m->arith == KVL_ARITH_AMX_BF16;
    const kvl_panel_type type = is_bf16 ? KVL_PANEL_BF16_PAIRS : stored_type;
    kvl_segment *segment = &out->segments[out->n_segments++];
    size_t n_rows = 0;
    for (size_t i = 0; i < n_parts; i++) {
        n_rows += parts[i].n_rows;
    }
    *segment = (kvl_segment){.panels = {type, kvl_panel_zero_of(parts->tensor->dtype), NULL},
                             .first = out->n_out,
                             .n_cols = (uint32_t)n_rows};
    out->n_out += (uint32_t)n_rows;
    KVL_TRY(new_block(l, &segment->panels.data, n_rows * out->n_in,
                      (n_rows + KVL_PANEL_COLS - 1) / KVL_PANEL_COLS, kvl_panel_bytes(type, out->n_in)));
    if (l->is_header_only) {
        return KVL_OK;
    }
    load_job job = {.l = l,
                    .parts = parts,
                    .n_parts = n_parts,
                    .panels = &segment->panels,
                    .all = all,
                    .n_in = out->n_in,
                    .n_rows = n_rows};
    return run_job(&job);
}

/* Parts of one stored type share a segment. Other parts have one each where that cuts between panels;
 * elsewhere all become f32. */
static kvl_status load_segments(kvli_loader *l, kvl_linear *out, const kvli_part *parts, size_t n_parts,
                                const float *all) {
    bool is_uniform = true;
    bool is_cut_between_panels = true;
    for (size_t i = 1; i < n_parts; i++) {
        is_uniform = is_uniform && parts[i].tensor->dtype == parts->tensor->dtype;
        is_cut_between_panels = is_cut_between_panels && parts[i - 1].n_rows % KVL_PANEL_COLS == 0;
    }
    if (is_uniform || !is_cut_between_panels) {
        kvl_panel_type type = is_uniform ? kvl_panel_type_of(parts->tensor->dtype) : KVL_PANEL_F32;
        return load_segment(l, out, parts, n_parts, type, all);
    }
    for (size_t i = 0; i < n_parts; i++) {
        KVL_TRY(load_segment(l, out, &parts[i], 1, kvl_panel_type_of(parts[i].tensor->dtype), all));
    }
    return KVL_OK;
}

kvl_status kvli_load_linear(kvli_loader *l, kvl_linear *out, const kvli_part *parts, size_t n_parts,
                            uint32_t n_in, bool is_transposed) {
    float *all = NULL;
    out->n_in = n_in;
    out->n_out = 0;
    if (is_transposed && !l->is_header_only) {
        const kvl_tensor *t = parts->tensor;
        all = kvl_alloc((size_t)t->n_items, sizeof *all);
        if (all == NULL) {
            return kvl_fail_nomem(l->err, "weights");
        }
        kvl_status status = kvl_tensors_read_f32(l->tensors, t, all, l->err);
        if (status != KVL_OK) {
            kvl_free(all);
            return status;
        }
    }
    kvl_status status = load_segments(l, out, parts, n_parts, all);
    kvl_free(all);
    return status;
}

kvl_status kvli_load_compare(kvli_loader *l, const kvl_linear *w, const kvl_tensor *tensor) {
    const kvli_part part = {.tensor = tensor, .n_rows = w->n_out};
    if (l->is_header_only) {
        return KVL_OK;
    }
    load_job job = {.l = l, .parts = &part, .n_parts = 1, .compared = w, .n_in = w->n_in, .n_rows = w->n_out};
    return run_job(&job);
}

kvl_status kvli_load_vector(kvli_loader *l, float **out, const kvli_part *parts, size_t n_parts) {
    size_t n = 0;
    size_t done_rows = 0;
    kvl_status status = KVL_OK;
    for (size_t i = 0; i < n_parts; i++) {
        n += parts[i].n_rows;
    }
    KVL_TRY(new_floats(l, out, n));
    if (l->is_header_only) {
        return KVL_OK;
    }
    float *stored = kvl_alloc(n, sizeof *stored);
    if (stored == NULL) {
        KVL_GO(kvl_fail_nomem(l->err, "weights"));
    }
    for (size_t i = 0; i < n_parts; i++) {
        const kvli_part *p = &parts[i];
        KVL_GO(kvl_tensors_read_part(l->tensors, p->tensor, p->first, p->n_rows, stored, NULL, l->err));
        for (size_t row = 0; row < p->n_rows; row++) {
            (*out)[done_rows + row] = stored[p->row_of != NULL ? p->row_of(&l->m->shape, row) : row];
        }
        done_rows += p->n_rows;
    }
    l->m->hash = hash_floats(l->m->hash, *out, n);
done:
    kvl_free(stored);
    return status;
}
