/* kvlab inspect: what is in a model file or checkpoint directory, read from headers only. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/model_arg.h"

#include "base/alloc.h"
#include "base/json.h"
#include "file/gguf.h"
#include "file/tensors.h"
#include "model/model.h"

#include <string.h>

typedef unsigned long long ull; /* for %llu */

enum { TEXT_CUT = 60 };
enum { OPT_TENSORS, OPT_METADATA, OPT_FORMAT, OPT_HELP };

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    {OPT_TENSORS, 't', "tensors", NULL, "list every tensor: name, type, shape, bytes"},
    {OPT_METADATA, 'k', "metadata", NULL, "list the metadata of a GGUF file"},
    {OPT_FORMAT, 'o', "output", "FORMAT", "table or json"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef struct options {
    kvl_model_arg model;
    const char *path; /* what it comes to */
    bool has_tensors;
    bool has_metadata;
    bool is_json;
    bool is_help;
} options;

/* What was found in the files. */
typedef struct found {
    kvl_tensors *tensors;
    const kvl_gguf *meta; /* NULL for a directory */
    kvl_model *model;     /* headers only; NULL: cannot be run */
    kvl_err reason;       /* then */
} found;

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    if (kvl_model_arg_take(&o->model, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_TENSORS: o->has_tensors = true; return KVL_OK;
    case OPT_METADATA: o->has_metadata = true; return KVL_OK;
    case OPT_FORMAT:
        o->is_json = strcmp(value, "json") == 0;
        return o->is_json || strcmp(value, "table") == 0
                   ? KVL_OK
                   : kvl_fail(err, KVL_E_USAGE, "--output: expected table or json, found '%.80s'", value);
    case OPT_HELP: o->is_help = true; return KVL_OK;
    default: break;
    }
    return kvl_model_arg_operand(&o->model, value, err);
}

/* Text from a file: what could drive a terminal, or is no ASCII, is shown as \xNN; texts above max are cut.
 */
static void put_text(kvl_str *out, const char *text, size_t n, size_t max) {
    for (size_t i = 0; i < n && i < max; i++) {
        unsigned char c = (unsigned char)text[i];
        kvl_str_printf(out, c < 0x20 || c >= 0x7f ? "\\x%02x" : "%c", c);
    }
    kvl_str_puts(out, n > max ? "..." : "");
}

static void put_value(kvl_str *out, const kvl_gguf *g, const kvl_gguf_value *v) {
    double real = 0;
    kvl_cursor c = kvl_cursor_open(v->bytes, v->n_bytes);
    size_t n = 0;
    if (v->is_array) {
        kvl_str_printf(out, "[%llu values]", (ull)v->n);
    } else if (v->type == KVL_GGUF_STRING) {
        const char *text = kvl_gguf_next_text(&c, &n);
        put_text(out, text, n, TEXT_CUT);
    } else if (kvl_gguf_real(g, v->key, &real, NULL) == KVL_OK) {
        kvl_str_printf(out, "%.9g", real);
    } else {
        kvl_str_printf(out, "%lld", (long long)kvl_gguf_int_at(v, 0));
    }
}

static void put_metadata(kvl_str *out, const kvl_gguf *g) {
    for (size_t i = 0; i < kvl_gguf_count(g); i++) {
        const kvl_gguf_value *v = kvl_gguf_at(g, i);
        kvl_str_puts(out, "  ");
        put_text(out, v->key, strlen(v->key), TEXT_CUT);
        kvl_str_puts(out, " = ");
        put_value(out, g, v);
        kvl_str_puts(out, "\n");
    }
}

static void put_tensors(kvl_str *out, const kvl_tensors *t) {
    for (size_t i = 0; i < kvl_tensors_count(t); i++) {
        const kvl_tensor *tensor = kvl_tensors_at(t, i);
        kvl_str_printf(out, "  %-6s %12llu bytes  [", kvl_dtype_name(tensor->dtype), (ull)tensor->n_bytes);
        for (unsigned d = 0; d < tensor->n_dims; d++) {
            kvl_str_printf(out, "%s%llu", d != 0 ? ", " : "", (ull)tensor->dims[d]);
        }
        kvl_str_puts(out, "]  ");
        put_text(out, tensor->name, strlen(tensor->name), TEXT_CUT);
        kvl_str_puts(out, "\n");
    }
}

/* Tensors, values and bytes of each type, and of all. */
typedef struct tally {
    uint64_t n_tensors, n_items, n_bytes;
} tally;

static void count_types(tally types[KVL_N_DTYPES + 1], const kvl_tensors *t) {
    memset(types, 0, (KVL_N_DTYPES + 1) * sizeof *types);
    for (size_t i = 0; i < kvl_tensors_count(t); i++) {
        const kvl_tensor *tensor = kvl_tensors_at(t, i);
        tally *to[] = {&types[tensor->dtype], &types[KVL_N_DTYPES]};
        for (size_t k = 0; k < 2; k++) {
            to[k]->n_tensors++;
            to[k]->n_items += tensor->n_items;
            to[k]->n_bytes += tensor->n_bytes;
        }
    }
}

static void put_types(kvl_str *out, const kvl_tensors *t) {
    tally types[KVL_N_DTYPES + 1];
    count_types(types, t);
    kvl_str_puts(out, "\ntype    tensors          values           bytes\n");
    for (int i = 0; i <= KVL_N_DTYPES; i++) {
        if (types[i].n_tensors != 0 || i == KVL_N_DTYPES) {
            kvl_str_printf(out, "%-6s %8llu %15llu %15llu\n",
                           i < KVL_N_DTYPES ? kvl_dtype_name((kvl_dtype)i) : "all", (ull)types[i].n_tensors,
                           (ull)types[i].n_items, (ull)types[i].n_bytes);
        }
    }
}

static const char *const kind_names[KVL_N_WEIGHT_KINDS] = {[KVL_WEIGHT_EMBEDDING] = "embedding",
                                                           [KVL_WEIGHT_ATTENTION] = "attention",
                                                           [KVL_WEIGHT_FEED_FORWARD] = "feed-forward",
                                                           [KVL_WEIGHT_NORM] = "norms",
                                                           [KVL_WEIGHT_OUTPUT] = "output"};

static void put_kinds(kvl_str *out, const kvl_model *m) {
    kvl_str_puts(out, "\nkind           bytes in file   bytes in memory\n");
    for (int i = 0; i < KVL_N_WEIGHT_KINDS; i++) {
        kvl_str_printf(out, "%-12s %15llu %17llu\n", kind_names[i], (ull)m->kinds[i].stored_bytes,
                       (ull)m->kinds[i].resident_bytes);
    }
}

static void put_shape(kvl_str *out, const kvl_model *m) {
    const kvl_shape *s = &m->shape;
    kvl_str_printf(out,
                   "%s: %u layers, width %u, %u heads of %u (%u for keys and values), feed-forward %u, "
                   "vocabulary %u, context %u, %llu parameters\n",
                   m->arch, s->n_layers, s->width, s->n_heads, s->head_dim, s->n_kv_heads, s->ff_width,
                   s->n_vocab, s->n_context, (ull)m->n_params);
    if (kvl_model_local_layers(m) != 0) {
        kvl_str_printf(out, "%u layers see a window of %u tokens\n", kvl_model_local_layers(m), s->window);
    }
    kvl_str_printf(
        out, "%llu bytes of keys and values per token (f32, as the engine stores them; f16 would be %llu)\n",
        (ull)kvl_shape_kv_items(s) * 4, (ull)kvl_shape_kv_items(s) * 2);
}

static void put_all(kvl_str *out, const options *o, const found *f) {
    if (f->meta != NULL) {
        kvl_str_printf(out, "GGUF version %u, %zu metadata entries\n", kvl_gguf_version(f->meta),
                       kvl_gguf_count(f->meta));
    }
    if (f->model != NULL) {
        put_shape(out, f->model);
        put_kinds(out, f->model);
    } else {
        kvl_str_printf(out, "cannot be run: %s: %s\n", kvl_status_name(f->reason.status), f->reason.msg);
    }
    put_types(out, f->tensors);
    if (o->has_metadata && f->meta != NULL) {
        kvl_str_puts(out, "\nmetadata\n");
        put_metadata(out, f->meta);
    }
    if (o->has_tensors) {
        kvl_str_puts(out, "\ntensors (slowest dimension first)\n");
        put_tensors(out, f->tensors);
    }
}

/* ---- JSON ---- */

static json_t *integer(uint64_t n) { return json_integer((json_int_t)n); }

static json_t *json_of_model(const kvl_model *m) {
    const kvl_shape *s = &m->shape;
    json_t *kinds = json_object();
    for (int i = 0; i < KVL_N_WEIGHT_KINDS; i++) {
        json_object_set_new(kinds, kind_names[i],
                            json_pack("{s:o, s:o}", "file_bytes", integer(m->kinds[i].stored_bytes),
                                      "memory_bytes", integer(m->kinds[i].resident_bytes)));
    }
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o}",
                     "arch", m->arch, "n_layers", s->n_layers, "width", s->width, "n_heads", s->n_heads,
                     "head_dim", s->head_dim, "n_kv_heads", s->n_kv_heads, "ff_width", s->ff_width, "n_vocab",
                     s->n_vocab, "n_context", s->n_context, "n_local_layers", kvl_model_local_layers(m),
                     "window", s->window, "n_params", integer(m->n_params), "memory_bytes",
                     integer(m->weight_bytes), "kv_bytes_per_token_f32", integer(kvl_shape_kv_items(s) * 4),
                     "kv_bytes_per_token_f16", integer(kvl_shape_kv_items(s) * 2), "kinds", kinds);
}

static json_t *json_of_types(const kvl_tensors *t) {
    tally types[KVL_N_DTYPES + 1];
    json_t *object = json_object();
    count_types(types, t);
    for (int i = 0; i < KVL_N_DTYPES; i++) {
        if (types[i].n_tensors != 0) {
            json_object_set_new(object, kvl_dtype_name((kvl_dtype)i),
                                json_pack("{s:o, s:o, s:o}", "tensors", integer(types[i].n_tensors), "values",
                                          integer(types[i].n_items), "bytes", integer(types[i].n_bytes)));
        }
    }
    return object;
}

static json_t *json_of_tensors(const kvl_tensors *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < kvl_tensors_count(t); i++) {
        const kvl_tensor *tensor = kvl_tensors_at(t, i);
        json_t *dims = json_array();
        kvl_str name = {0};
        put_text(&name, tensor->name, strlen(tensor->name), SIZE_MAX);
        for (unsigned d = 0; d < tensor->n_dims; d++) {
            json_array_append_new(dims, integer(tensor->dims[d]));
        }
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "name", kvl_str_text(&name), "type",
                                              kvl_dtype_name(tensor->dtype), "shape", dims, "bytes",
                                              integer(tensor->n_bytes)));
        kvl_str_free(&name);
    }
    return list;
}

/* Values as the list of a terminal shows them. */
static json_t *json_of_metadata(const kvl_gguf *g) {
    json_t *object = json_object();
    for (size_t i = 0; i < kvl_gguf_count(g); i++) {
        kvl_str text = {0};
        put_value(&text, g, kvl_gguf_at(g, i));
        json_object_set_new(object, kvl_gguf_at(g, i)->key, json_string(kvl_str_text(&text)));
        kvl_str_free(&text);
    }
    return object;
}

static kvl_status write_json(kvl_str *out, const options *o, const found *f, kvl_err *err) {
    json_t *json = json_pack("{s:s, s:b, s:o}", "format", f->meta != NULL ? "gguf" : "safetensors", "can_run",
                             f->model != NULL, "types", json_of_types(f->tensors));
    if (f->model != NULL) {
        json_object_set_new(json, "model", json_of_model(f->model));
    } else {
        json_object_set_new(json, "status", json_string(kvl_status_name(f->reason.status)));
        json_object_set_new(json, "reason", json_string(f->reason.msg));
    }
    if (o->has_metadata && f->meta != NULL) {
        json_object_set_new(json, "metadata", json_of_metadata(f->meta));
    }
    if (o->has_tensors) {
        json_object_set_new(json, "tensors", json_of_tensors(f->tensors));
    }
    return kvl_json_write(out, json, true, err);
}

/* A model that cannot be run is an answer, not an error; files that cannot be read are. */
static kvl_status inspect(kvl_str *out, const options *o, kvl_err *err) {
    found f = {0};
    kvl_status status = KVL_OK;
    if (kvl_model_is_gguf_path(o->path)) {
        KVL_GO(kvl_tensors_open_gguf(&f.tensors, &f.meta, o->path, err));
    } else {
        KVL_GO(kvl_tensors_open_dir(&f.tensors, o->path, err));
    }
    if (kvl_model_open_headers(&f.model, o->path, &f.reason) == KVL_E_NOMEM) {
        KVL_GO(kvl_fail_nomem(err, "headers"));
    }
    if (o->is_json) {
        KVL_GO(write_json(out, o, &f, err));
    } else {
        put_all(out, o, &f);
        KVL_GO(kvl_str_check(out, "report", err));
    }
done:
    kvl_model_close(f.model);
    kvl_tensors_close(f.tensors);
    return status;
}

kvl_status kvl_cmd_inspect(int argc, char **argv, kvl_err *err) {
    options o = {0};
    kvl_str out = {0}, path = {0};
    kvl_status status = KVL_OK;
    KVL_TRY(kvl_args_parse(table, n_table, argc, argv, 2, set_option, &o, err));
    if (o.is_help) {
        kvl_str_puts(&out, "usage: kvlab inspect DIR|FILE.gguf|ORG/NAME[:QUANT][@REVISION] [OPTIONS]\n\n"
                           "Reads headers only. ORG/NAME is looked up in the hub cache.\n\n");
        kvl_args_help(table, n_table, &out);
    } else if (!kvl_model_arg_is_given(&o.model)) {
        KVL_GO(kvl_fail(err, KVL_E_USAGE,
                        "inspect: expected a checkpoint directory, a .gguf file or a model of "
                        "the hub cache"));
    } else {
        KVL_GO(kvl_model_arg_resolve(&path, &o.model, err));
        o.path = kvl_str_text(&path);
        KVL_GO(inspect(&out, &o, err));
    }
    status = kvl_print(kvl_str_text(&out), out.len, err);
done:
    kvl_str_free(&out);
    kvl_str_free(&path);
    return status;
}
