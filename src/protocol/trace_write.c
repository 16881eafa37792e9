/* Traces: from the cells of a sweep to sections of a file.
 *
 * A cell is written when it ends. Its log is kept until the baseline of its text comes, the
 * last: only then are there keys and queries to tell what attention was lost.
 */
#include "protocol/trace_int.h"

#include "base/alloc.h"
#include "base/os.h"
#include "kernel/gram.h"
#include "protocol/mass_lost.h"

#include <math.h>
#include <string.h>

/* A log that waits for the baseline of its text. */
typedef struct waiting {
    kvl_departures *log;
    size_t policy, text;
} waiting;

struct kvl_trace_writer {
    const kvl_engine *engine;
    kvl_sink sink;
    kvl_str section; /* being made */
    uint64_t n_sections;
    waiting *logs; /* [n_logs], room for all cells */
    size_t n_logs;
};

/* ---- sections ---- */

static void put_le(kvl_str *out, uint64_t value, unsigned n_bytes) {
    for (unsigned i = 0; i < n_bytes; i++) {
        const char byte = (char)(value >> 8 * i & 0xff);
        kvl_str_append(out, &byte, 1);
    }
}

static void put_u32(kvl_str *out, size_t value) { put_le(out, value, 4); }
static void put_u64(kvl_str *out, uint64_t value) { put_le(out, value, 8); }

static void put_text(kvl_str *out, const char *text) {
    put_u32(out, strlen(text));
    kvl_str_puts(out, text);
}

static void put_f64(kvl_str *out, double value) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    put_u64(out, bits);
}

static void put_f32(kvl_str *out, float value) {
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    put_u32(out, bits);
}

/* Seven bits a byte, the lowest first; the eighth says that more follow. */
static void put_varint(kvl_str *out, size_t value) {
    for (; value >= 0x80; value >>= 7) {
        put_le(out, value | 0x80, 1);
    }
    put_le(out, value, 1);
}

static kvl_status write_section(kvl_trace_writer *w, kvli_section kind, kvl_err *err) {
    kvl_str frame = {0};
    put_u32(&frame, kind);
    put_u64(&frame, w->section.len);
    put_u64(&frame, kvli_section_hash(kind, kvl_str_text(&w->section), w->section.len));
    kvl_status status = kvl_str_check(&w->section, "trace", err);
    if (status == KVL_OK) {
        status = kvl_str_check(&frame, "trace", err);
    }
    if (status == KVL_OK) {
        status = kvl_sink_write(&w->sink, kvl_str_text(&frame), frame.len, err);
    }
    if (status == KVL_OK) {
        status = kvl_sink_write(&w->sink, kvl_str_text(&w->section), w->section.len, err);
    }
    w->n_sections++;
    kvl_str_free(&frame);
    kvl_str_clear(&w->section);
    return status;
}

/* ---- the head ---- */

static void put_protocol(kvl_str *out, const kvl_protocol *p) {
    put_u64(out, p->max_tokens);
    put_u64(out, p->prefill);
    put_u64(out, p->count_from);
    put_u64(out, p->baseline_tokens);
    put_u32(out, p->is_two_phase);
}

static void put_policy(kvl_str *out, const kvl_policy *policy, uint32_t n_layers) {
    kvl_str text = {0};
    if (policy != NULL) {
        kvl_policy_text(policy, &text);
    } else {
        kvl_str_puts(&text, "none");
    }
    put_text(out, kvl_str_text(&text));
    for (uint32_t i = 0; i < n_layers; i += 8) {
        unsigned bits = 0;
        for (uint32_t l = i; policy != NULL && l < n_layers && l < i + 8; l++) {
            bits |= (unsigned)kvl_policy_skips(policy, l) << (l - i);
        }
        put_le(out, bits, 1);
    }
    kvl_str_free(&text);
}

static kvl_status write_head(kvl_trace_writer *w, uint64_t tokenizer_hash, const kvl_sweep_config *config,
                             kvl_err *err) {
    kvl_str *out = &w->section;
    const kvl_model *model = kvl_engine_model(w->engine);
    const kvl_shape *s = &model->shape;
    put_text(out, model->name);
    put_text(out, "kvlab " KVL_VERSION);
    put_u64(out, model->hash);
    put_u64(out, tokenizer_hash);
    put_u32(out, s->n_layers);
    put_u32(out, s->n_heads);
    put_u32(out, s->n_kv_heads);
    put_protocol(out, &config->protocol);
    put_u32(out, config->samples->n);
    for (size_t i = 0; i < config->samples->n; i++) {
        const kvl_sample *sample = &config->samples->items[i];
        put_text(out, sample->name);
        put_u32(out, sample->text);
        put_u64(out, sample->begin);
        put_u64(out, sample->prefill);
        put_u64(out, sample->hash);
        put_u64(out, kvl_min_size(sample->ids.n, config->protocol.max_tokens));
    }
    put_u32(out, config->n_policies + 1);
    put_policy(out, NULL, s->n_layers);
    for (size_t i = 0; i < config->n_policies; i++) {
        put_policy(out, &config->policies[i], s->n_layers);
    }
    return write_section(w, KVLI_SECTION_HEAD, err);
}

kvl_status kvl_trace_create(kvl_trace_writer **out, const char *path, const kvl_engine *engine,
                            uint64_t tokenizer_hash, const kvl_sweep_config *config, kvl_err *err) {
    kvl_str first = {0};
    kvl_trace_writer *w = kvl_calloc(1, sizeof *w);
    *out = NULL;
    if (w == NULL) {
        return kvl_fail_nomem(err, "trace");
    }
    w->engine = engine;
    w->sink.fd = -1;
    w->section.max_len = SIZE_MAX / 2;
    w->logs = kvl_calloc((config->n_policies + 1) * config->samples->n, sizeof *w->logs);
    kvl_status status = w->logs != NULL ? KVL_OK : kvl_fail_nomem(err, "trace");
    KVL_GO(status);
    KVL_GO(kvl_sink_open(&w->sink, path, err));
    kvl_str_append(&first, KVLI_TRACE_MAGIC, KVLI_MAGIC_BYTES);
    put_u32(&first, KVLI_TRACE_VERSION);
    KVL_GO(kvl_str_check(&first, "trace", err));
    KVL_GO(kvl_sink_write(&w->sink, kvl_str_text(&first), first.len, err));
    KVL_GO(write_head(w, tokenizer_hash, config, err));
    *out = w;
    w = NULL;
done:
    kvl_str_free(&first);
    kvl_trace_discard(w);
    return status;
}

void kvl_trace_discard(kvl_trace_writer *w) {
    if (w != NULL) {
        for (size_t i = 0; i < w->n_logs; i++) {
            kvl_departures_destroy(w->logs[i].log);
        }
        kvl_free(w->logs);
        kvl_str_free(&w->section);
        kvl_sink_discard(&w->sink);
        kvl_free(w);
    }
}

kvl_status kvl_trace_commit(kvl_trace_writer *w, kvl_err *err) {
    put_u64(&w->section, w->n_sections);
    kvl_status status = write_section(w, KVLI_SECTION_END, err);
    if (status == KVL_OK) {
        status = kvl_sink_commit(&w->sink, err);
    }
    kvl_trace_discard(w);
    return status;
}

/* ---- cells ---- */

/* How many compressions an entry outlasted, and one more for having left; 0 if it stays. */
static void put_head(kvl_str *out, const uint32_t *left_at, size_t n, const uint32_t *events,
                     size_t n_events) {
    size_t n_left = 0;
    for (size_t p = 0; p < n; p++) {
        n_left += left_at[p] != KVL_STAYS;
    }
    put_varint(out, n_left);
    for (size_t p = 0; p < n && n_left != 0; p++) {
        if (left_at[p] == KVL_STAYS) {
            put_varint(out, 0);
            continue;
        }
        const size_t left = kvli_next_event(events, n_events, left_at[p] - 1);
        put_varint(out, left - kvli_next_event(events, n_events, p) + 1);
    }
}

static kvl_status write_cell(kvl_trace_writer *w, const kvl_cell *cell, const kvl_departures *d,
                             kvl_err *err) {
    kvl_str *out = &w->section;
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(d, &n_events);
    put_u32(out, cell->policy);
    put_u32(out, cell->sample);
    put_u64(out, cell->first_scored);
    put_u64(out, cell->n_scored);
    for (size_t i = 0; i < cell->n_scored; i++) {
        put_f64(out, cell->nll[i]);
    }
    put_varint(out, n_events);
    for (size_t i = 0; i < n_events; i++) {
        put_varint(out, events[i] - (i != 0 ? events[i - 1] : 0));
    }
    for (uint32_t layer = 0; layer < kvl_departures_layers(d); layer++) {
        for (uint32_t head = 0; head < kvl_departures_heads(d); head++) {
            put_head(out, kvl_departures_head(d, layer, head), cell->n_tokens - 1, events, n_events);
        }
    }
    return write_section(w, KVLI_SECTION_CELL, err);
}

static kvl_status write_norms(kvl_trace_writer *w, const kvl_cell *cell, const kvl_stream *full,
                              kvl_err *err) {
    const kvl_shape *s = &kvl_engine_model(w->engine)->shape;
    float *key = kvl_calloc(s->head_dim, sizeof *key);
    if (key == NULL) {
        return kvl_fail_nomem(err, "norms of keys");
    }
    put_u32(&w->section, cell->sample);
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            for (size_t p = 0; p + 1 < cell->n_tokens; p++) {
                kvl_cache_copy_key_rows(full->cache, layer, head, p, 1, key);
                put_f32(&w->section, kvl_row_norm(key, s->head_dim));
            }
        }
    }
    kvl_free(key);
    return write_section(w, KVLI_SECTION_NORMS, err);
}

/* ---- attention lost ---- */

static kvl_status write_lost(kvl_trace_writer *w, const waiting *of, const float *lost, size_t n_steps,
                             kvl_err *err) {
    const size_t n_heads = (size_t)kvl_departures_layers(of->log) * kvl_departures_heads(of->log);
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(of->log, &n_events);
    const size_t first = n_events != 0 ? kvl_min_size(n_steps, events[0]) : n_steps;
    put_u32(&w->section, of->policy);
    put_u32(&w->section, of->text);
    put_u64(&w->section, first);
    for (size_t i = first * n_heads; i < n_steps * n_heads; i++) {
        const double share = (double)lost[i] < 1 ? (double)lost[i] : 1;
        put_le(&w->section, (uint64_t)lround(share * KVLI_LOST_ONE), 2);
    }
    return write_section(w, KVLI_SECTION_LOST, err);
}

/* Computes what the logs [n] of one text lost, and writes it. */
static kvl_status settle(kvl_trace_writer *w, const waiting *logs, size_t n, const kvl_stream *full,
                         size_t n_steps, kvl_err *err) {
    const kvl_shape *s = &kvl_engine_model(w->engine)->shape;
    const size_t n_lost = n_steps * s->n_layers * s->n_kv_heads;
    float **lost = kvl_calloc(n + 1, sizeof *lost);
    const kvl_departures **list = kvl_calloc(n + 1, sizeof *list);
    kvl_status status = lost != NULL && list != NULL ? KVL_OK : kvl_fail_nomem(err, "attention that is lost");
    for (size_t i = 0; i < n && status == KVL_OK; i++) {
        list[i] = logs[i].log;
        lost[i] = kvl_calloc(n_lost, sizeof **lost);
        status = lost[i] != NULL ? KVL_OK : kvl_fail_nomem(err, "attention that is lost");
    }
    if (status == KVL_OK && n != 0) {
        status = kvl_mass_lost(lost, list, n, w->engine, full, n_steps, err);
    }
    for (size_t i = 0; i < n && status == KVL_OK; i++) {
        status = write_lost(w, &logs[i], lost[i], n_steps, err);
    }
    for (size_t i = 0; lost != NULL && i < n; i++) {
        kvl_free(lost[i]);
    }
    kvl_free(lost);
    kvl_free(list);
    return status;
}

/* The baseline has come: what waited for it goes. */
static kvl_status settle_text(kvl_trace_writer *w, const kvl_cell *cell, const kvl_stream *full,
                              kvl_err *err) {
    size_t n_others = 0;
    for (size_t i = 0; i < w->n_logs; i++) { /* those of the text to the end of the list */
        if (w->logs[i].text != cell->sample) {
            const waiting other = w->logs[i];
            w->logs[i] = w->logs[n_others];
            w->logs[n_others++] = other;
        }
    }
    const size_t n = w->n_logs - n_others;
    const kvl_status status = settle(w, w->logs + n_others, n, full, cell->n_tokens - 1, err);
    for (size_t i = n_others; i < w->n_logs; i++) {
        kvl_departures_destroy(w->logs[i].log);
    }
    w->n_logs = n_others;
    return status;
}

static kvl_status take_cell(void *ud, const kvl_cell *cell, const kvl_stream *stream, kvl_err *err) {
    kvl_trace_writer *w = ud;
    KVL_TRY(write_cell(w, cell, stream->departures, err));
    if (cell->policy == 0) {
        KVL_TRY(write_norms(w, cell, stream, err));
        return settle_text(w, cell, stream, err);
    }
    waiting *log = &w->logs[w->n_logs];
    *log = (waiting){.policy = cell->policy, .text = cell->sample};
    KVL_TRY(kvl_departures_fork(&log->log, stream->departures, err));
    w->n_logs++;
    return KVL_OK;
}

void kvl_trace_attach(kvl_trace_writer *w, kvl_sweep_config *config) {
    config->wants_departures = true;
    config->baseline_needs =
        kvl_needs_join(config->baseline_needs, (kvl_needs){.n_queries = KVL_ALL_QUERIES});
    config->finish = take_cell;
    config->finish_ud = w;
}
