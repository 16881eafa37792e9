/* kvlab inspect: what is in a model file or checkpoint directory, read from headers only. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/model_arg.h"

#include "base/alloc.h"
#include "base/os.h"
#include "file/gguf.h"
#include "file/tensors.h"
#include "model/arch.h"
#include "model/config_gguf.h"
#include "model/model.h"

#include <string.h>

typedef unsigned long long ull; /* for %llu */

enum { TEXT_CUT = 60 };
enum { OPT_TENSORS, OPT_METADATA, OPT_HELP };

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    {OPT_TENSORS, 't', "tensors", NULL, "list every tensor: name, type, shape, bytes"},
    {OPT_METADATA, 'k', "metadata", NULL, "list the metadata of a GGUF file"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef struct options {
    kvl_model_arg model;
    const char *path; /* what it comes to */
    bool has_tensors;
    bool has_metadata;
    bool is_help;
} options;

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    if (kvl_model_arg_take(&o->model, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_TENSORS: o->has_tensors = true; return KVL_OK;
    case OPT_METADATA: o->has_metadata = true; return KVL_OK;
    case OPT_HELP: o->is_help = true; return KVL_OK;
    default: break;
    }
    return kvl_model_arg_operand(&o->model, value, err);
}

/* Text from a file: what could drive a terminal is shown as \xNN, long texts are cut. */
static void put_text(kvl_str *out, const char *text, size_t n) {
    for (size_t i = 0; i < n && i < TEXT_CUT; i++) {
        unsigned char c = (unsigned char)text[i];
        kvl_str_printf(out, c < 0x20 || c >= 0x7f ? "\\x%02x" : "%c", c);
    }
    kvl_str_puts(out, n > TEXT_CUT ? "..." : "");
}

static void put_value(kvl_str *out, const kvl_gguf *g, const kvl_gguf_value *v) {
    double real = 0;
    kvl_cursor c = kvl_cursor_open(v->bytes, v->n_bytes);
    size_t n = 0;
    if (v->is_array) {
        kvl_str_printf(out, "[%llu values]", (ull)v->n);
    } else if (v->type == KVL_GGUF_STRING) {
        const char *text = kvl_gguf_next_text(&c, &n);
        put_text(out, text, n);
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
        put_text(out, v->key, strlen(v->key));
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
        put_text(out, tensor->name, strlen(tensor->name));
        kvl_str_puts(out, "\n");
    }
}

/* Tensors, values and bytes of each type. */
static void put_types(kvl_str *out, const kvl_tensors *t) {
    uint64_t count[KVL_N_DTYPES] = {0}, items[KVL_N_DTYPES] = {0}, bytes[KVL_N_DTYPES] = {0};
    uint64_t all_items = 0, all_bytes = 0;
    for (size_t i = 0; i < kvl_tensors_count(t); i++) {
        const kvl_tensor *tensor = kvl_tensors_at(t, i);
        count[tensor->dtype]++;
        items[tensor->dtype] += tensor->n_items;
        bytes[tensor->dtype] += tensor->n_bytes;
        all_items += tensor->n_items;
        all_bytes += tensor->n_bytes;
    }
    kvl_str_puts(out, "type    tensors          values           bytes\n");
    for (int i = 0; i < KVL_N_DTYPES; i++) {
        if (count[i] != 0) {
            kvl_str_printf(out, "%-6s %8llu %15llu %15llu\n", kvl_dtype_name((kvl_dtype)i), (ull)count[i],
                           (ull)items[i], (ull)bytes[i]);
        }
    }
    kvl_str_printf(out, "%-6s %8zu %15llu %15llu\n", "all", kvl_tensors_count(t), (ull)all_items,
                   (ull)all_bytes);
}

static void put_shape(kvl_str *out, const kvl_config *config) {
    const kvl_shape *s = &config->shape;
    uint64_t kv_bytes = 2 * (uint64_t)s->n_layers * s->n_kv_heads * s->head_dim * sizeof(float);
    unsigned n_local = 0;
    for (uint32_t i = 0; i < s->n_layers; i++) {
        n_local += config->is_local[i];
    }
    kvl_str_printf(out,
                   "%s: %u layers, width %u, %u heads of %u (%u for keys and values), feed-forward %u, "
                   "vocabulary %u, context %u\n",
                   config->arch->model_type, s->n_layers, s->width, s->n_heads, s->head_dim, s->n_kv_heads,
                   s->ff_width, s->n_vocab, s->n_context);
    if (n_local != 0) {
        kvl_str_printf(out, "%u layers see a window of %u tokens\n", n_local, s->window);
    }
    kvl_str_printf(out, "%llu bytes of keys and values per token (f32)\n", (ull)kv_bytes);
}

/* What the engine makes of the metadata or of config.json: the shape, or why it cannot run the model. */
static kvl_status put_config(kvl_str *out, const char *dir, const kvl_gguf *meta, kvl_err *err) {
    kvl_config config;
    kvl_err reason = {0};
    kvl_str path = {0};
    char *text = NULL;
    size_t n = 0;
    kvl_status status = KVL_OK;
    kvl_status config_status = KVL_OK;
    if (meta != NULL) {
        config_status = kvli_config_of_gguf(&config, meta, &reason);
    } else {
        kvl_str_printf(&path, "%s/config.json", dir);
        KVL_GO(kvl_str_check(&path, dir, err));
        KVL_GO(kvl_file_load(&text, &n, kvl_str_text(&path), KVLI_CONFIG_MAX_BYTES, err));
        config_status = kvli_config_parse(&config, text, n, kvl_str_text(&path), &reason);
    }
    if (config_status == KVL_OK) {
        put_shape(out, &config);
    } else {
        kvl_str_printf(out, "cannot be run: %s\n", reason.msg);
    }
done:
    kvl_free(text);
    kvl_str_free(&path);
    return status;
}

static kvl_status inspect(kvl_str *out, const options *o, kvl_err *err) {
    kvl_tensors *tensors = NULL;
    const kvl_gguf *meta = NULL;
    kvl_status status = KVL_OK;
    if (kvl_model_is_gguf_path(o->path)) {
        KVL_GO(kvl_tensors_open_gguf(&tensors, &meta, o->path, err));
        kvl_str_printf(out, "GGUF version %u, %zu metadata entries\n", kvl_gguf_version(meta),
                       kvl_gguf_count(meta));
    } else {
        KVL_GO(kvl_tensors_open_dir(&tensors, o->path, err));
    }
    KVL_GO(put_config(out, o->path, meta, err));
    put_types(out, tensors);
    if (o->has_metadata && meta != NULL) {
        kvl_str_puts(out, "metadata\n");
        put_metadata(out, meta);
    }
    if (o->has_tensors) {
        kvl_str_puts(out, "tensors (slowest dimension first)\n");
        put_tensors(out, tensors);
    }
    KVL_GO(kvl_str_check(out, "report", err));
done:
    kvl_tensors_close(tensors);
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
