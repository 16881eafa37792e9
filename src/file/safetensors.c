/* safetensors headers. Method: (1) recognise the container, (2) read names, types, shapes and offsets in one
 * pass, each entry checked by itself, (3) sort by name: a name must stand once, (4) sort by offset: tensors
 * must follow each other without overlap or hole and end where the file ends.
 *
 *     byte 0        8              8 + h                     file_bytes
 *          | h: u64 | JSON, h bytes | data, offsets count from here |
 *
 * Sorting, not hashing, finds duplicates: a file cannot choose names that make it slow. The reference
 * validator accepts leading white space, so this one does. Types narrower than a byte or of 8-bit floats are
 * refused by name. */
#include "file/safetensors.h"

#include "base/alloc.h"
#include "file/container.h"
#include "file/header_scan.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

/* An entry while names still move. */
typedef struct draft {
    kvl_tensor tensor;
    size_t name_at; /* in names */
    uint64_t begin; /* as in the header */
    uint64_t end;
} draft;

typedef struct reader {
    kvli_scan scan;
    draft *drafts;
    size_t n_drafts;
    size_t cap;
    kvl_str names; /* NUL-terminated, one after another */
    kvl_str word;  /* scratch: a field's name or a type */
    uint64_t data_start;
    uint64_t data_bytes;
} reader;

kvl_status kvl_safetensors_header_end(uint64_t *out, const uint8_t *first, uint64_t n_first,
                                      uint64_t file_bytes, const char *name, kvl_err *err) {
    kvl_cursor c = kvl_cursor_open(first, n_first);
    uint64_t n_header = kvl_cursor_u64le(&c);
    bool has_length = !c.failed;
    const uint8_t *lead = kvl_cursor_take(&c, 1);
    bool is_plausible = lead != NULL && n_header != 0 && n_header <= KVL_SAFETENSORS_MAX_HEADER &&
                        strchr("{ \t\r\n", *lead) != NULL && *lead != 0;
    const char *container = is_plausible ? NULL : kvli_container_name(first, n_first);
    *out = 0;
    if (container != NULL) {
        return kvl_fail(err, KVL_E_MAGIC, "%s: expected a safetensors file, found %s", name, container);
    }
    if (!has_length || file_bytes < 8) {
        return kvl_fail(err, KVL_E_TRUNC, "%s: header length at byte 0: expected 8 bytes, found %llu", name,
                        (ull)(n_first < file_bytes ? n_first : file_bytes));
    }
    if (n_header > KVL_SAFETENSORS_MAX_HEADER) {
        return kvl_fail(err, KVL_E_LIMIT, "%s: header length at byte 0: expected at most %d, found %llu",
                        name, (int)KVL_SAFETENSORS_MAX_HEADER, (ull)n_header);
    }
    if (n_header == 0 || n_header > file_bytes - 8) {
        return kvl_fail(err, KVL_E_SIZE, "%s: header length at byte 0: expected 1 to %llu, found %llu", name,
                        (ull)(file_bytes - 8), (ull)n_header);
    }
    *out = 8 + n_header;
    return KVL_OK;
}

static const char *name_of(const reader *r, const draft *d) { return r->names.data + d->name_at; }

static kvl_status fail_draft(reader *r, const draft *d, kvl_status status, const char *what,
                             const char *expected, uint64_t found) {
    return kvl_fail(r->scan.err, status, "%s: tensor '%.*s', %s: expected %s, found %llu", r->scan.file,
                    (int)KVLI_NAME_CUT, name_of(r, d), what, expected, (ull)found);
}

static kvl_status read_dtype(reader *r, draft *d) {
    kvl_str_clear(&r->word);
    KVL_TRY(kvli_scan_string(&r->scan, &r->word, name_of(r, d)));
    for (unsigned i = 0; i < KVL_N_DTYPES; i++) {
        kvl_dtype t = (kvl_dtype)i;
        if (kvl_dtype_block_items(t) == 1 && strcmp(kvl_str_text(&r->word), kvl_dtype_name(t)) == 0) {
            d->tensor.dtype = t;
            return KVL_OK;
        }
    }
    return kvl_fail(
        r->scan.err, KVL_E_TYPE,
        "%s: tensor '%.*s', dtype: expected F32, F16, BF16, F64, an integer type or BOOL, found '%.*s'",
        r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), (int)KVLI_NAME_CUT, kvl_str_text(&r->word));
}

static kvl_status open_list(reader *r, const draft *d) {
    int c = kvli_scan_peek(&r->scan);
    bool is_other_value =
        c == '"' || c == '{' || c == '-' || (c >= '0' && c <= '9') || c == 'n' || c == 't' || c == 'f';
    if (is_other_value) {
        return kvl_fail(r->scan.err, KVL_E_TYPE,
                        "%s: header at byte %llu in '%.*s': expected a list of numbers", r->scan.file,
                        (ull)r->scan.cursor.pos, (int)KVLI_NAME_CUT, name_of(r, d));
    }
    return kvli_scan_expect(&r->scan, '[', name_of(r, d));
}

static kvl_status read_shape(reader *r, draft *d) {
    KVL_TRY(open_list(r, d));
    if (kvli_scan_is(&r->scan, ']')) {
        return KVL_OK; /* a scalar */
    }
    do {
        uint64_t dim = 0;
        KVL_TRY(kvli_scan_u64(&r->scan, &dim, name_of(r, d)));
        if (d->tensor.n_dims == KVL_MAX_DIMS) {
            return fail_draft(r, d, KVL_E_LIMIT, "shape", "at most 8 dimensions", KVL_MAX_DIMS + 1);
        }
        d->tensor.dims[d->tensor.n_dims++] = dim;
    } while (kvli_scan_is(&r->scan, ','));
    return kvli_scan_expect(&r->scan, ']', name_of(r, d));
}

static kvl_status read_offsets(reader *r, draft *d) {
    KVL_TRY(open_list(r, d));
    KVL_TRY(kvli_scan_u64(&r->scan, &d->begin, name_of(r, d)));
    KVL_TRY(kvli_scan_expect(&r->scan, ',', name_of(r, d)));
    KVL_TRY(kvli_scan_u64(&r->scan, &d->end, name_of(r, d)));
    return kvli_scan_expect(&r->scan, ']', name_of(r, d));
}

static kvl_status read_field(reader *r, draft *d, unsigned *seen) {
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    kvl_str_clear(&r->word);
    KVL_TRY(kvli_scan_string(&r->scan, &r->word, name_of(r, d)));
    KVL_TRY(kvli_scan_expect(&r->scan, ':', name_of(r, d)));
    unsigned field = 0;
    while (field < 3 && strcmp(kvl_str_text(&r->word), fields[field]) != 0) {
        field++;
    }
    if (field == 3) {
        return kvl_fail(r->scan.err, KVL_E_EXTRA,
                        "%s: tensor '%.*s': expected dtype, shape and data_offsets, found '%.*s'",
                        r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), (int)KVLI_NAME_CUT,
                        kvl_str_text(&r->word));
    }
    if ((*seen & 1u << field) != 0) {
        return kvl_fail(r->scan.err, KVL_E_DUP, "%s: tensor '%.*s': expected %s once, found it twice",
                        r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), fields[field]);
    }
    *seen |= 1u << field;
    return field == 0 ? read_dtype(r, d) : field == 1 ? read_shape(r, d) : read_offsets(r, d);
}

/* What can be said of one entry without the others. */
static kvl_status check_draft(reader *r, draft *d) {
    kvl_tensor *t = &d->tensor;
    uint64_t end_in_file = 0;
    if (d->begin > d->end) {
        return fail_draft(r, d, KVL_E_OFFSET, "data_offsets", "the begin not behind the end", d->begin);
    }
    if (!kvl_add_u64(r->data_start, d->end, &end_in_file)) {
        return fail_draft(r, d, KVL_E_OFFSET, "data_offsets", "an end inside the file", d->end);
    }
    bool is_empty = false;
    for (unsigned i = 0; i < t->n_dims; i++) {
        is_empty = is_empty || t->dims[i] == 0;
    }
    t->n_items = is_empty ? 0 : 1;
    for (unsigned i = 0; i < t->n_dims && !is_empty; i++) {
        if (!kvl_mul_u64(t->n_items, t->dims[i], &t->n_items)) {
            return fail_draft(r, d, KVL_E_OVERFLOW, "shape", "a product below 2^64", t->dims[i]);
        }
    }
    if (!kvl_mul_u64(t->n_items, kvl_dtype_block_bytes(t->dtype), &t->n_bytes)) {
        return fail_draft(r, d, KVL_E_OVERFLOW, "shape", "fewer than 2^64 bytes", t->n_items);
    }
    if (t->n_bytes != d->end - d->begin) {
        kvl_status status = d->end > r->data_bytes ? KVL_E_OFFSET : KVL_E_SIZE;
        return kvl_fail(
            r->scan.err, status,
            "%s: tensor '%.*s', data_offsets [%llu, %llu]: expected %llu bytes by its shape, found %llu",
            r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), (ull)d->begin, (ull)d->end, (ull)t->n_bytes,
            (ull)(d->end - d->begin));
    }
    t->offset = r->data_start + d->begin;
    return KVL_OK;
}

static kvl_status new_draft(reader *r, size_t name_at, draft **out) {
    if (r->n_drafts == KVL_SAFETENSORS_MAX_TENSORS) {
        return kvl_fail(r->scan.err, KVL_E_LIMIT, "%s: expected at most %d tensors, found more", r->scan.file,
                        (int)KVL_SAFETENSORS_MAX_TENSORS);
    }
    if (r->n_drafts == r->cap) {
        size_t cap = kvl_max_size(64, 2 * r->cap);
        draft *drafts = kvl_resize(r->drafts, r->n_drafts, cap, sizeof *drafts);
        if (drafts == NULL) {
            return kvl_fail_nomem(r->scan.err, "list of tensors");
        }
        r->drafts = drafts;
        r->cap = cap;
    }
    *out = &r->drafts[r->n_drafts++];
    (*out)->name_at = name_at;
    return KVL_OK;
}

static kvl_status read_tensor(reader *r, size_t name_at) {
    draft *d = NULL;
    unsigned seen = 0;
    KVL_TRY(new_draft(r, name_at, &d));
    int c = kvli_scan_peek(&r->scan);
    if (c != '{' && c >= 0) {
        return kvl_fail(r->scan.err, KVL_E_TYPE, "%s: tensor '%.*s': expected an object, found byte 0x%02x",
                        r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), (unsigned)c);
    }
    KVL_TRY(kvli_scan_expect(&r->scan, '{', name_of(r, d)));
    if (!kvli_scan_is(&r->scan, '}')) {
        do {
            KVL_TRY(read_field(r, d, &seen));
        } while (kvli_scan_is(&r->scan, ','));
        KVL_TRY(kvli_scan_expect(&r->scan, '}', name_of(r, d)));
    }
    if (seen != 7) {
        const char *missing = (seen & 1) == 0 ? "dtype" : (seen & 2) == 0 ? "shape" : "data_offsets";
        return kvl_fail(r->scan.err, KVL_E_MISSING, "%s: tensor '%.*s': expected %s, found none",
                        r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), missing);
    }
    return check_draft(r, d);
}

static int compare_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* n names one after another in `names`, from byte `at` on: none may stand twice. */
static kvl_status check_names(reader *r, size_t at, size_t n) {
    const char **sorted = kvl_calloc(n, sizeof *sorted);
    if (sorted == NULL) {
        return kvl_fail_nomem(r->scan.err, "names of tensors");
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = r->names.data + at;
        at += strlen(sorted[i]) + 1;
    }
    qsort(sorted, n, sizeof *sorted, compare_text);
    kvl_status status = KVL_OK;
    for (size_t i = 1; i < n && status == KVL_OK; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0) {
            status =
                kvl_fail(r->scan.err, KVL_E_DUP, "%s: header: expected the name '%.*s' once, found it twice",
                         r->scan.file, (int)KVLI_NAME_CUT, sorted[i]);
        }
    }
    kvl_free(sorted);
    return status;
}

/* __metadata__: text to text. Read for its form only, kept nowhere. */
static kvl_status read_metadata(reader *r) {
    size_t start = r->names.len;
    size_t n = 0;
    int c = kvli_scan_peek(&r->scan);
    if (c != '{' && c >= 0) {
        return kvl_fail(r->scan.err, KVL_E_TYPE, "%s: __metadata__: expected an object, found byte 0x%02x",
                        r->scan.file, (unsigned)c);
    }
    KVL_TRY(kvli_scan_expect(&r->scan, '{', "__metadata__"));
    if (!kvli_scan_is(&r->scan, '}')) {
        do {
            KVL_TRY(kvli_scan_string(&r->scan, &r->names, "__metadata__"));
            kvl_str_append(&r->names, "", 1);
            KVL_TRY(kvli_scan_expect(&r->scan, ':', "__metadata__"));
            kvl_str_clear(&r->word);
            KVL_TRY(kvli_scan_string(&r->scan, &r->word, "__metadata__"));
            n++;
        } while (kvli_scan_is(&r->scan, ','));
        KVL_TRY(kvli_scan_expect(&r->scan, '}', "__metadata__"));
    }
    KVL_TRY(kvl_str_check(&r->names, "metadata", r->scan.err));
    KVL_TRY(check_names(r, start, n));
    r->names.len = start;
    return KVL_OK;
}

static kvl_status read_header(reader *r) {
    bool has_metadata = false;
    KVL_TRY(kvli_scan_expect(&r->scan, '{', "header"));
    if (!kvli_scan_is(&r->scan, '}')) {
        do {
            size_t name_at = r->names.len;
            KVL_TRY(kvli_scan_string(&r->scan, &r->names, "header"));
            kvl_str_append(&r->names, "", 1);
            KVL_TRY(kvl_str_check(&r->names, "names of tensors", r->scan.err));
            KVL_TRY(kvli_scan_expect(&r->scan, ':', r->names.data + name_at));
            if (strcmp(r->names.data + name_at, "__metadata__") != 0) {
                KVL_TRY(read_tensor(r, name_at));
                continue;
            }
            if (has_metadata) {
                return kvl_fail(r->scan.err, KVL_E_DUP,
                                "%s: header: expected __metadata__ once, found it twice", r->scan.file);
            }
            has_metadata = true;
            r->names.len = name_at;
            KVL_TRY(read_metadata(r));
        } while (kvli_scan_is(&r->scan, ','));
        KVL_TRY(kvli_scan_expect(&r->scan, '}', "header"));
    }
    if (kvli_scan_peek(&r->scan) >= 0) {
        return kvl_fail(r->scan.err, KVL_E_JSON, "%s: header at byte %llu: expected its end, found more text",
                        r->scan.file, (ull)r->scan.cursor.pos);
    }
    return check_names(r, 0, r->n_drafts);
}

static int compare_begin(const void *a, const void *b) {
    const draft *x = a;
    const draft *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1; /* empty tensors stand before the one that starts with them */
    }
    return x->name_at < y->name_at ? -1 : x->name_at > y->name_at; /* one order on every machine */
}

static kvl_status check_layout(reader *r) {
    uint64_t end = 0;
    qsort(r->drafts, r->n_drafts, sizeof *r->drafts, compare_begin);
    for (size_t i = 0; i < r->n_drafts; i++) {
        const draft *d = &r->drafts[i];
        if (d->begin != end) {
            return kvl_fail(r->scan.err, d->begin < end ? KVL_E_OVERLAP : KVL_E_HOLE,
                            "%s: tensor '%.*s', data_offsets: expected a begin at %llu, found %llu",
                            r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), (ull)end, (ull)d->begin);
        }
        if (d->end > r->data_bytes) {
            return kvl_fail(
                r->scan.err, KVL_E_SIZE,
                "%s: tensor '%.*s' ends at byte %llu: expected a file that long, found %llu bytes",
                r->scan.file, (int)KVLI_NAME_CUT, name_of(r, d), (ull)(r->data_start + d->end),
                (ull)(r->data_start + r->data_bytes));
        }
        end = d->end;
    }
    if (end != r->data_bytes) {
        return kvl_fail(r->scan.err, KVL_E_EXTRA,
                        "%s: behind the last tensor at byte %llu: expected the end, found %llu bytes",
                        r->scan.file, (ull)(r->data_start + end), (ull)(r->data_bytes - end));
    }
    return KVL_OK;
}

/* Entries and names in one block: names behind the entries. */
static kvl_status give_entries(const reader *r, kvl_tensor **out, size_t *n_out, kvl_err *err) {
    size_t entry_bytes = r->n_drafts * sizeof(kvl_tensor);
    char *block = kvl_calloc(entry_bytes + r->names.len + 1, 1);
    if (block == NULL) {
        return kvl_fail_nomem(err, "list of tensors");
    }
    kvl_tensor *entries = (kvl_tensor *)(void *)block;
    if (r->names.len != 0) {
        memcpy(block + entry_bytes, r->names.data, r->names.len);
    }
    for (size_t i = 0; i < r->n_drafts; i++) {
        entries[i] = r->drafts[i].tensor;
        entries[i].name = block + entry_bytes + r->drafts[i].name_at;
    }
    *out = entries;
    *n_out = r->n_drafts;
    return KVL_OK;
}

kvl_status kvl_safetensors_parse(kvl_tensor **out, size_t *n_out, const uint8_t *head, uint64_t head_bytes,
                                 uint64_t file_bytes, const char *name, kvl_err *err) {
    reader r = {.scan = {.file = name, .err = err}};
    kvl_status status = KVL_OK;
    uint64_t header_end = 0;
    *out = NULL;
    *n_out = 0;
    uint64_t n_first = head_bytes < 512 ? head_bytes : 512;
    KVL_TRY(kvl_safetensors_header_end(&header_end, head, n_first, file_bytes, name, err));
    if (header_end > head_bytes) {
        return kvl_fail(err, KVL_E_TRUNC, "%s: header: expected %llu bytes, found %llu", name,
                        (ull)header_end, (ull)head_bytes);
    }
    r.scan.cursor = kvl_cursor_open(head, header_end);
    r.data_start = header_end;
    r.data_bytes = file_bytes - header_end;
    (void)kvl_cursor_take(&r.scan.cursor, 8);
    uint64_t bad = kvli_utf8_check(r.scan.cursor);
    if (bad != header_end) {
        return kvl_fail(err, KVL_E_UTF8, "%s: header at byte %llu: expected UTF-8, found another byte", name,
                        (ull)bad);
    }
    KVL_GO(read_header(&r));
    KVL_GO(check_layout(&r));
    KVL_GO(give_entries(&r, out, n_out, err));
done:
    kvl_free(r.drafts);
    kvl_str_free(&r.names);
    kvl_str_free(&r.word);
    return status;
}

void kvl_safetensors_free(kvl_tensor *entries, size_t n) {
    (void)n; /* one block */
    kvl_free(entries);
}
