/* Traces read back: sections from a bounded cursor, every count checked against what the file can hold before
 * anything is allocated for it, checksums before contents. Logs are decoded when they are asked for. */
#include "protocol/trace_int.h"

#include "base/alloc.h"
#include "base/cursor.h"

#include <string.h>

typedef unsigned long long ull; /* for %llu */

enum {
    MAX_TEXT = 65535, /* bytes of a name or a policy */
    MAX_LIST = 65536, /* texts, policies */
    MAX_HEADS = 1024, /* of a layer */
    MAX_TOKENS = 1 << 24,
    MIN_CELL = KVLI_SECTION_BYTES + 24, /* bytes */
};

typedef struct reader {
    kvl_cursor file;
    const char *name;
    kvl_trace *t;
    size_t n_cells, n_norms, n_lost;
    kvl_err *err;
} reader;

static size_t n_heads(const kvl_trace *t) { return (size_t)t->n_layers * t->n_kv_heads; }
static size_t n_steps(const kvl_trace *t, size_t text) { return t->texts[text].n_tokens - 1; }

const kvl_trace_cell *kvl_trace_cell_at(const kvl_trace *t, size_t policy, size_t text) {
    return &t->cells[policy * t->n_texts + text];
}

void kvl_trace_free(kvl_trace *t) {
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; t->texts != NULL && i < t->n_texts; i++) {
        kvl_free(t->texts[i].name);
    }
    for (size_t i = 0; t->policies != NULL && i < t->n_policies; i++) {
        kvl_free(t->policies[i].text);
    }
    for (size_t i = 0; t->cells != NULL && i < t->n_policies * t->n_texts; i++) {
        kvl_free(t->cells[i].nll);
    }
    kvl_free(t->texts);
    kvl_free(t->policies);
    kvl_free(t->cells);
    kvl_free(t->model);
    kvl_free(t->made_by);
    kvl_free(t);
}

static kvl_status truncated(const reader *r, const char *what) {
    return kvl_fail(r->err, KVL_E_TRUNC, "%s: %s: expected more bytes, found the end", r->name, what);
}

/* A number that must lie within bounds. */
static kvl_status check_number(const reader *r, const kvl_cursor *c, const char *what, uint64_t value,
                               uint64_t least, uint64_t most) {
    if (c->failed) {
        return truncated(r, what);
    }
    return value >= least && value <= most
               ? KVL_OK
               : kvl_fail(r->err, KVL_E_COUNT, "%s: %s: expected %llu to %llu, found %llu", r->name, what,
                          (ull)least, (ull)most, (ull)value);
}

/* Nothing that drives a terminal. */
static bool is_printable(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const bool is_c1 = bytes[i] == 0xc2 && i + 1 < n && bytes[i + 1] < 0xa0;
        if (bytes[i] < 0x20 || bytes[i] == 0x7f || is_c1) {
            return false;
        }
    }
    return kvl_is_utf8((const char *)bytes, n);
}

static kvl_status read_text(const reader *r, kvl_cursor *c, char **out, const char *what) {
    const uint32_t n = kvl_cursor_u32le(c);
    KVL_TRY(check_number(r, c, what, n, 0, MAX_TEXT));
    const uint8_t *bytes = kvl_cursor_take(c, n);
    if (bytes == NULL) {
        return truncated(r, what);
    }
    if (!is_printable(bytes, n)) {
        return kvl_fail(r->err, KVL_E_NAME, "%s: %s: expected printable UTF-8, found other bytes", r->name,
                        what);
    }
    *out = kvl_strndup((const char *)bytes, n);
    return *out != NULL ? KVL_OK : kvl_fail_nomem(r->err, what);
}

/* The number of items of at least so many bytes each that follow. */
static kvl_status read_count(const reader *r, kvl_cursor *c, size_t *out, const char *what,
                             uint64_t least_bytes) {
    const uint32_t n = kvl_cursor_u32le(c);
    KVL_TRY(check_number(r, c, what, n, 1, MAX_LIST));
    KVL_TRY(check_number(r, c, what, n, 1, (c->size - c->pos) / least_bytes));
    *out = n;
    return KVL_OK;
}

/* ---- the head ---- */

static void read_protocol(kvl_cursor *c, kvl_protocol *p) {
    p->max_tokens = (size_t)kvl_cursor_u64le(c);
    p->prefill = (size_t)kvl_cursor_u64le(c);
    p->count_from = (size_t)kvl_cursor_u64le(c);
    p->baseline_tokens = (size_t)kvl_cursor_u64le(c);
    p->is_two_phase = kvl_cursor_u32le(c) != 0;
}

static kvl_status read_texts(reader *r, kvl_cursor *c) {
    kvl_trace *t = r->t;
    size_t n = 0;
    KVL_TRY(read_count(r, c, &n, "texts", 40));
    t->texts = kvl_calloc(n, sizeof *t->texts);
    if (t->texts == NULL) {
        return kvl_fail_nomem(r->err, "texts");
    }
    for (t->n_texts = 0; t->n_texts < n; t->n_texts++) {
        kvl_trace_text *text = &t->texts[t->n_texts];
        KVL_TRY(read_text(r, c, &text->name, "name of a text"));
        text->source = kvl_cursor_u32le(c);
        text->begin = (size_t)kvl_cursor_u64le(c);
        text->prefill = (size_t)kvl_cursor_u64le(c);
        text->hash = kvl_cursor_u64le(c);
        const uint64_t n_tokens = kvl_cursor_u64le(c);
        const kvl_status status = check_number(r, c, "tokens of a text", n_tokens, 2, MAX_TOKENS);
        if (status != KVL_OK) {
            kvl_free(text->name);
            return status;
        }
        text->n_tokens = (size_t)n_tokens;
    }
    return KVL_OK;
}

static kvl_status read_policies(reader *r, kvl_cursor *c) {
    kvl_trace *t = r->t;
    const size_t n_bytes = (t->n_layers + 7) / 8;
    size_t n = 0;
    KVL_TRY(read_count(r, c, &n, "policies", 4 + n_bytes));
    t->policies = kvl_calloc(n, sizeof *t->policies);
    if (t->policies == NULL) {
        return kvl_fail_nomem(r->err, "policies");
    }
    for (t->n_policies = 0; t->n_policies < n; t->n_policies++) {
        kvl_trace_policy *policy = &t->policies[t->n_policies];
        KVL_TRY(read_text(r, c, &policy->text, "text of a policy"));
        const uint8_t *skip = kvl_cursor_take(c, n_bytes);
        if (skip == NULL) {
            kvl_free(policy->text);
            return truncated(r, "policies");
        }
        for (size_t i = 0; i < n_bytes; i++) {
            policy->skip[i / 8] |= (uint64_t)skip[i] << 8 * (i % 8);
        }
    }
    return KVL_OK;
}

static kvl_status read_head(reader *r, kvl_cursor *c) {
    kvl_trace *t = r->t;
    KVL_TRY(read_text(r, c, &t->model, "name of the model"));
    KVL_TRY(read_text(r, c, &t->made_by, "version of the program"));
    t->model_hash = kvl_cursor_u64le(c);
    t->tokenizer_hash = kvl_cursor_u64le(c);
    t->n_layers = kvl_cursor_u32le(c);
    KVL_TRY(check_number(r, c, "layers", t->n_layers, 1, KVL_POLICY_MAX_LAYERS));
    t->n_heads = kvl_cursor_u32le(c);
    KVL_TRY(check_number(r, c, "heads", t->n_heads, 1, MAX_HEADS));
    t->n_kv_heads = kvl_cursor_u32le(c);
    KVL_TRY(check_number(r, c, "KV heads", t->n_kv_heads, 1, t->n_heads));
    read_protocol(c, &t->protocol);
    KVL_TRY(read_texts(r, c));
    KVL_TRY(read_policies(r, c));
    /* a trace has all cells */
    const uint64_t n_cells = (uint64_t)t->n_policies * t->n_texts;
    KVL_TRY(check_number(r, c, "cells", n_cells, 1, (r->file.size - r->file.pos) / MIN_CELL));
    t->cells = kvl_calloc((size_t)n_cells, sizeof *t->cells);
    return t->cells != NULL ? KVL_OK : kvl_fail_nomem(r->err, "cells");
}

/* ---- what is said of cells and texts ---- */

static kvl_status read_index(const reader *r, kvl_cursor *c, size_t *policy, size_t *text) {
    *policy = 0;
    if (policy != text) {
        *policy = kvl_cursor_u32le(c);
        KVL_TRY(check_number(r, c, "policy", *policy, 0, r->t->n_policies - 1));
    }
    *text = kvl_cursor_u32le(c);
    return check_number(r, c, "text", *text, 0, r->t->n_texts - 1);
}

static kvl_status twice(const reader *r, const char *what) {
    return kvl_fail(r->err, KVL_E_DUP, "%s: expected one %s of each cell or text, found two", r->name, what);
}

static kvl_status read_cell(reader *r, kvl_cursor *c) {
    kvl_trace *t = r->t;
    size_t policy = 0;
    size_t text = 0;
    KVL_TRY(read_index(r, c, &policy, &text));
    kvl_trace_cell *cell = &t->cells[policy * t->n_texts + text];
    if (cell->log.base != NULL) {
        return twice(r, "list of departures");
    }
    const uint64_t first = kvl_cursor_u64le(c);
    KVL_TRY(check_number(r, c, "first scored step", first, 0, n_steps(t, text) - 1));
    const uint64_t n = kvl_cursor_u64le(c);
    KVL_TRY(check_number(r, c, "scored steps", n, 0, n_steps(t, text) - first));
    if (!kvl_cursor_need(c, n * sizeof(double))) {
        return truncated(r, "NLLs");
    }
    cell->first_scored = (size_t)first;
    cell->n_scored = (size_t)n;
    cell->nll = kvl_calloc(cell->n_scored, sizeof *cell->nll);
    if (cell->nll == NULL) {
        return kvl_fail_nomem(r->err, "NLLs");
    }
    for (size_t i = 0; i < cell->n_scored; i++) {
        const uint64_t bits = kvl_cursor_u64le(c);
        memcpy(&cell->nll[i], &bits, sizeof bits);
    }
    const uint64_t n_left = c->size - c->pos;
    cell->log = kvl_cursor_open(kvl_cursor_take(c, n_left), n_left);
    r->n_cells++;
    return KVL_OK;
}

/* The rest of a section, which must be n_items of so many bytes. */
static kvl_status take_rest(const reader *r, kvl_cursor *c, kvl_cursor *out, const char *what,
                            uint64_t n_items, uint64_t item_bytes) {
    uint64_t n_bytes = 0;
    if (!kvl_mul_u64(n_items, item_bytes, &n_bytes) || n_bytes != c->size - c->pos) {
        return kvl_fail(r->err, KVL_E_SIZE, "%s: %s: expected %llu numbers of %llu bytes, found %llu bytes",
                        r->name, what, (ull)n_items, (ull)item_bytes, (ull)(c->size - c->pos));
    }
    *out = kvl_cursor_open(kvl_cursor_take(c, n_bytes), n_bytes);
    return KVL_OK;
}

static kvl_status read_norms(reader *r, kvl_cursor *c) {
    size_t text = 0;
    KVL_TRY(read_index(r, c, &text, &text));
    if (r->t->texts[text].norms.base != NULL) {
        return twice(r, "list of norms");
    }
    r->n_norms++;
    return take_rest(r, c, &r->t->texts[text].norms, "norms of keys", n_heads(r->t) * n_steps(r->t, text),
                     sizeof(float));
}

static kvl_status read_lost(reader *r, kvl_cursor *c) {
    kvl_trace *t = r->t;
    size_t policy = 0;
    size_t text = 0;
    KVL_TRY(read_index(r, c, &policy, &text));
    kvl_trace_cell *cell = &t->cells[policy * t->n_texts + text];
    if (cell->lost.base != NULL) {
        return twice(r, "list of attention that is lost");
    }
    const uint64_t first = kvl_cursor_u64le(c);
    KVL_TRY(check_number(r, c, "first step that lost attention", first, 0, n_steps(t, text)));
    cell->first_lost = (size_t)first;
    r->n_lost++;
    return take_rest(r, c, &cell->lost, "attention that is lost", n_heads(t) * (n_steps(t, text) - first), 2);
}

/* ---- the file ---- */

static kvl_status read_section(reader *r, uint32_t kind, kvl_cursor *c) {
    switch (kind) {
    case KVLI_SECTION_CELL: return read_cell(r, c);
    case KVLI_SECTION_NORMS: return read_norms(r, c);
    case KVLI_SECTION_LOST: return read_lost(r, c);
    default: break;
    }
    return kvl_fail(r->err, KVL_E_CONFIG, "%s: expected a section of kind %d to %d, found %u", r->name,
                    KVLI_SECTION_CELL, KVLI_SECTION_END, kind);
}

static kvl_status open_section(reader *r, uint32_t *kind, kvl_cursor *c) {
    *kind = kvl_cursor_u32le(&r->file);
    const uint64_t n_bytes = kvl_cursor_u64le(&r->file);
    const uint64_t hash = kvl_cursor_u64le(&r->file);
    const uint8_t *bytes = kvl_cursor_take(&r->file, n_bytes);
    if (bytes == NULL) {
        return truncated(r, "section");
    }
    if (kvli_section_hash(*kind, bytes, (size_t)n_bytes) != hash) {
        return kvl_fail(r->err, KVL_E_CONFIG, "%s: section at byte %llu: expected the checksum %016llx",
                        r->name, (ull)(r->file.pos - n_bytes), (ull)hash);
    }
    *c = kvl_cursor_open(bytes, n_bytes);
    return KVL_OK;
}

static kvl_status check_whole(reader *r, kvl_cursor *end, uint64_t n_sections) {
    const kvl_trace *t = r->t;
    const size_t n_cells = t->n_policies * t->n_texts;
    const uint64_t n_told = kvl_cursor_u64le(end);
    KVL_TRY(check_number(r, end, "sections", n_told, n_sections, n_sections));
    KVL_TRY(check_number(r, end, "cells", r->n_cells, n_cells, n_cells));
    KVL_TRY(check_number(r, end, "lists of norms", r->n_norms, t->n_texts, t->n_texts));
    KVL_TRY(check_number(r, end, "lists of attention that is lost", r->n_lost, n_cells - t->n_texts,
                         n_cells - t->n_texts));
    KVL_TRY(check_number(r, end, "bytes behind the end", r->file.size - r->file.pos, 0, 0));
    for (size_t i = 0; i < t->n_texts; i++) { /* the baseline loses nothing */
        KVL_TRY(check_number(r, end, "baselines that lost attention", t->cells[i].lost.base != NULL, 0, 0));
    }
    return KVL_OK;
}

static kvl_status read_file(reader *r) {
    const uint8_t *magic = kvl_cursor_take(&r->file, KVLI_MAGIC_BYTES);
    if (magic == NULL || memcmp(magic, KVLI_TRACE_MAGIC, KVLI_MAGIC_BYTES) != 0) {
        return kvl_fail(r->err, KVL_E_MAGIC, "%s: expected a trace (kvlab sweep --trace), found another file",
                        r->name);
    }
    const uint32_t version = kvl_cursor_u32le(&r->file);
    if (version != KVLI_TRACE_VERSION) {
        return kvl_fail(r->err, KVL_E_VERSION, "%s: expected a trace of version %d, found %u", r->name,
                        KVLI_TRACE_VERSION, version);
    }
    kvl_cursor c;
    uint32_t kind = 0;
    KVL_TRY(open_section(r, &kind, &c));
    KVL_TRY(check_number(r, &c, "kind of the first section", kind, KVLI_SECTION_HEAD, KVLI_SECTION_HEAD));
    KVL_TRY(read_head(r, &c));
    for (uint64_t n = 1;; n++) {
        KVL_TRY(open_section(r, &kind, &c));
        if (kind == KVLI_SECTION_END) {
            return check_whole(r, &c, n);
        }
        KVL_TRY(read_section(r, kind, &c));
    }
}

kvl_status kvl_trace_read(kvl_trace **out, const void *bytes, size_t n_bytes, const char *name,
                          kvl_err *err) {
    reader r = {
        .file = kvl_cursor_open(bytes, n_bytes), .name = name, .t = kvl_calloc(1, sizeof *r.t), .err = err};
    *out = NULL;
    if (r.t == NULL) {
        return kvl_fail_nomem(err, "trace");
    }
    const kvl_status status = read_file(&r);
    if (status == KVL_OK) {
        *out = r.t;
    } else {
        kvl_trace_free(r.t);
    }
    return status;
}

/* ---- numbers ---- */

static uint32_t read_varint(kvl_cursor *c) {
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 32; shift += 7) {
        const uint8_t *byte = kvl_cursor_take(c, 1);
        const uint32_t bits = byte != NULL ? *byte & 0x7f : 0;
        if (shift == 28 && byte != NULL && *byte > 0x0f) { /* more than 32 bits */
            c->failed = true;
        }
        value |= bits << shift;
        if (byte == NULL || *byte < 0x80) {
            break;
        }
    }
    return c->failed ? 0 : value;
}

static kvl_status bad_log(const kvl_trace *t, size_t policy, size_t text, kvl_err *err) {
    return kvl_fail(err, KVL_E_CONFIG, "departures of %s on %s: expected steps of the text, found others",
                    t->policies[policy].text, t->texts[text].name);
}

static bool read_events(kvl_cursor *c, kvl_departures *d, size_t n_steps) {
    const uint32_t n = read_varint(c);
    uint64_t at = 0;
    for (uint32_t i = 0; i < n && !c->failed; i++) {
        const uint32_t more = read_varint(c);
        at += more;
        if (more == 0 || at > n_steps) {
            return false;
        }
        kvl_departures_note_event(d, (size_t)at);
    }
    return !c->failed;
}

static bool read_departures(kvl_cursor *c, kvl_departures *d, uint32_t layer, uint32_t head, size_t n_steps) {
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(d, &n_events);
    const uint32_t n_left = read_varint(c);
    uint32_t n_found = 0;
    for (size_t p = 0; p < n_steps && n_left != 0 && !c->failed; p++) {
        const uint32_t outlasted = read_varint(c);
        if (outlasted == 0) {
            continue;
        }
        const size_t next = kvli_next_event(events, n_events, p);
        if (outlasted > n_events - next) {
            return false;
        }
        kvl_departures_set(d, layer, head, p, events[next + outlasted - 1]);
        n_found++;
    }
    return !c->failed && n_found == n_left;
}

kvl_status kvl_trace_log(kvl_departures **out, const kvl_trace *t, size_t policy, size_t text, kvl_err *err) {
    const kvl_trace_cell *cell = kvl_trace_cell_at(t, policy, text);
    const kvl_shape shape = {.n_layers = t->n_layers, .n_kv_heads = t->n_kv_heads};
    kvl_cursor c = cell->log;
    kvl_departures *d = NULL;
    *out = NULL;
    KVL_TRY(kvl_departures_create(&d, &shape, t->texts[text].n_tokens, err));
    bool is_good = read_events(&c, d, n_steps(t, text));
    for (size_t i = 0; is_good && i < n_heads(t); i++) {
        is_good = read_departures(&c, d, (uint32_t)(i / t->n_kv_heads), (uint32_t)(i % t->n_kv_heads),
                                  n_steps(t, text));
    }
    if (!is_good || c.pos != c.size) {
        kvl_departures_destroy(d);
        return bad_log(t, policy, text, err);
    }
    *out = d;
    return KVL_OK;
}

double kvl_trace_lost(const kvl_trace *t, size_t policy, size_t text, size_t token, uint32_t layer,
                      uint32_t head) {
    const kvl_trace_cell *cell = kvl_trace_cell_at(t, policy, text);
    if (cell->lost.base == NULL || token < cell->first_lost) {
        return 0;
    }
    const size_t i = (token - cell->first_lost) * n_heads(t) + (size_t)layer * t->n_kv_heads + head;
    kvl_cursor c = cell->lost;
    c.pos = 2 * i;
    const uint8_t *bytes = kvl_cursor_take(&c, 2);
    return (double)(bytes[0] | bytes[1] << 8) / KVLI_LOST_ONE;
}

float kvl_trace_norm(const kvl_trace *t, size_t text, uint32_t layer, uint32_t head, size_t position) {
    const size_t i = ((size_t)layer * t->n_kv_heads + head) * n_steps(t, text) + position;
    kvl_cursor c = t->texts[text].norms;
    c.pos = sizeof(float) * i;
    const uint32_t bits = kvl_cursor_u32le(&c);
    float norm = 0;
    memcpy(&norm, &bits, sizeof norm);
    return norm;
}
