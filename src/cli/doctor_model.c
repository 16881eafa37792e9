/* The model and the data that come with the program, against data/doctor.json: hashes of the files, ids of
 * texts by another tokenizer, likelihood by another implementation; and the same bits on any number of
 * threads. */
#include "cli/doctor.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/os.h"
#include "engine/engine.h"
#include "protocol/samples.h"
#include "protocol/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_FILE_BYTES = 64 << 20, MAX_TOKENS = 256, MAX_THREADS = 16 };
static const double nll_tolerance = 1e-4; /* nats */

/* What the checks share; what could not be opened is NULL and has been told. */
typedef struct patient {
    kvl_doctor *d;
    const char *root;
    json_t *golden;
    const char *model_dir; /* below root */
    kvl_model *model;
    kvl_tokenizer *tokenizer;
    kvl_samples samples;
    size_t n_tokens; /* of the first sample that are scored */
} patient;

/* Text of root/a/b; NULL when memory ends. The caller's (kvl_str_free). */
static const char *join(kvl_str *out, const char *root, const char *a, const char *b) {
    kvl_str_printf(out, "%s/%s%s", root, a, b);
    return out->failed ? NULL : kvl_str_text(out);
}

static void say_error(patient *p, const char *name, kvl_status status, const kvl_err *err) {
    kvl_doctor_say(p->d, KVL_CHECK_FAIL, name, "%s: %s", kvl_status_name(status),
                   err->msg[0] != '\0' ? err->msg : kvl_status_text(status));
}

static void check_file(patient *p, const char *name, const char *expected) {
    kvl_str path = {0};
    kvl_err err = {0};
    char *bytes = NULL;
    size_t n = 0;
    const char *text = join(&path, p->root, name, "");
    kvl_status status =
        text != NULL ? kvl_file_load(&bytes, &n, text, MAX_FILE_BYTES, &err) : kvl_fail_nomem(&err, name);
    if (status != KVL_OK) {
        say_error(p, "file", status, &err);
    } else {
        char found[17];
        snprintf(found, sizeof found, "%016llx", (unsigned long long)kvl_hash_bytes(KVL_HASH_INIT, bytes, n));
        if (strcmp(found, expected) == 0) {
            kvl_doctor_say(p->d, KVL_CHECK_OK, "file", "%s: %zu bytes, hash %s", name, n, found);
        } else {
            kvl_doctor_say(p->d, KVL_CHECK_FAIL, "file", "%s: hash: expected %s, found %s", name, expected,
                           found);
        }
    }
    kvl_free(bytes);
    kvl_str_free(&path);
}

static void check_files(patient *p) {
    const char *name = NULL;
    json_t *expected = NULL;
    json_object_foreach(json_object_get(p->golden, "files"), name, expected) {
        check_file(p, name, json_is_string(expected) ? json_string_value(expected) : "");
    }
}

static void open_model(patient *p) {
    kvl_str path = {0};
    kvl_err err = {0};
    const char *text = join(&path, p->root, p->model_dir, "");
    kvl_status status =
        text != NULL ? kvl_model_open(&p->model, text, 0, &err) : kvl_fail_nomem(&err, "path");
    if (status == KVL_OK) {
        kvl_doctor_say(p->d, KVL_CHECK_OK, "model", "%s: %s, %llu parameters, hash %016llx", p->model->name,
                       p->model->arch, (unsigned long long)p->model->n_params,
                       (unsigned long long)p->model->hash);
    } else {
        say_error(p, "model", status, &err);
    }
    kvl_str_free(&path);
}

/* Whether the ids of a text are those listed. */
static kvl_status check_text(patient *p, const json_t *item, size_t index, kvl_err *err) {
    const json_t *text = json_object_get(item, "text");
    const json_t *want = json_object_get(item, "ids");
    kvl_ids ids = {0};
    kvl_status status = KVL_OK;
    KVL_GO(kvl_tokenizer_encode(p->tokenizer, &ids, json_string_value(text), json_string_length(text), true,
                                err));
    if (ids.n != json_array_size(want)) {
        KVL_GO(kvl_fail(err, KVL_E_CHECK, "text %zu: expected %zu ids, found %zu", index,
                        json_array_size(want), ids.n));
    }
    for (size_t i = 0; i < ids.n; i++) {
        json_int_t id = json_integer_value(json_array_get(want, i));
        if (ids.ids[i] != id) {
            KVL_GO(kvl_fail(err, KVL_E_CHECK, "text %zu, token %zu: expected id %lld, found %d", index, i,
                            (long long)id, ids.ids[i]));
        }
    }
done:
    kvl_ids_free(&ids);
    return status;
}

static void check_tokenizer(patient *p) {
    const json_t *texts = json_object_get(p->golden, "texts");
    kvl_str path = {0};
    kvl_err err = {0};
    kvl_status status = KVL_OK;
    const char *file = join(&path, p->root, p->model_dir, "/tokenizer.json");
    if (file == NULL) {
        KVL_GO(kvl_fail_nomem(&err, "path"));
    }
    KVL_GO(kvl_tokenizer_open(&p->tokenizer, file, &err));
    for (size_t i = 0; i < json_array_size(texts); i++) {
        KVL_GO(check_text(p, json_array_get(texts, i), i, &err));
    }
    if (json_array_size(texts) == 0) {
        KVL_GO(kvl_fail(&err, KVL_E_MISSING, "doctor.json: expected texts, found none"));
    }
    kvl_doctor_say(p->d, KVL_CHECK_OK, "tokenizer", "%zu texts have the ids of the reference",
                   json_array_size(texts));
done:
    if (status != KVL_OK) {
        say_error(p, "tokenizer", status, &err);
    }
    kvl_str_free(&path);
}

/* NLLs of the sample's first tokens: nll [n_tokens - 1], on so many threads; and the identity check there. */
static kvl_status score(patient *p, double *nll, unsigned n_threads, kvl_err *err) {
    const kvl_engine_options options = {.n_threads = n_threads};
    const int32_t *ids = p->samples.items[0].ids.ids;
    kvl_row rows[MAX_TOKENS];
    kvl_engine *engine = NULL;
    kvl_stream *stream = NULL;
    kvl_status status = KVL_OK;
    KVL_GO(kvl_engine_create(&engine, p->model, &options, err));
    KVL_GO(kvl_stream_create(&stream, engine, err));
    for (size_t t = 0; t + 1 < p->n_tokens; t++) {
        rows[t] = (kvl_row){.stream = stream, .token = ids[t], .target = ids[t + 1]};
    }
    KVL_GO(kvl_engine_forward(engine, rows, p->n_tokens - 1, err));
    for (size_t t = 0; t + 1 < p->n_tokens; t++) {
        nll[t] = rows[t].nll;
    }
    KVL_GO(kvl_identity_check(engine, &p->samples.items[0], err));
done:
    kvl_stream_destroy(stream);
    kvl_engine_destroy(engine);
    return status;
}

/* Loads the sample and finds out how much of it is scored, and what that gives. */
static kvl_status load_sample(patient *p, double *expected, kvl_err *err) {
    const json_t *golden = json_object_get(p->golden, "nll");
    const json_t *name = json_object_get(golden, "sample");
    const json_t *mean = json_object_get(golden, "mean_nats");
    json_int_t n = json_integer_value(json_object_get(golden, "n_tokens"));
    kvl_str data = {0};
    if (!json_is_string(name) || !json_is_real(mean) || n < 2 || n > MAX_TOKENS) {
        return kvl_fail(err, KVL_E_MISSING,
                        "doctor.json: nll: expected a sample, 2 to %d tokens and a mean, found another thing",
                        MAX_TOKENS);
    }
    const char *dir = join(&data, p->root, "data", "");
    kvl_status status = dir != NULL
                            ? kvl_samples_load(&p->samples, json_string_value(name), dir, p->tokenizer, err)
                            : kvl_fail_nomem(err, "path");
    kvl_str_free(&data);
    KVL_TRY(status);
    if (p->samples.items[0].ids.n < (size_t)n) {
        return kvl_fail(err, KVL_E_CHECK, "sample %s: expected at least %lld tokens, found %zu",
                        json_string_value(name), (long long)n, p->samples.items[0].ids.n);
    }
    p->n_tokens = (size_t)n;
    *expected = json_real_value(mean);
    return KVL_OK;
}

static kvl_status check_nll(patient *p, double *nll, kvl_err *err) {
    double expected = 0;
    double mean = 0;
    KVL_TRY(load_sample(p, &expected, err));
    KVL_TRY(score(p, nll, 1, err));
    for (size_t t = 0; t + 1 < p->n_tokens; t++) {
        mean += nll[t] / (double)(p->n_tokens - 1);
    }
    if (!(fabs(mean - expected) <= nll_tolerance)) {
        return kvl_fail(err, KVL_E_CHECK, "%zu tokens of %s: expected a mean NLL of %.6f nats, found %.6f",
                        p->n_tokens, p->samples.items[0].name, expected, mean);
    }
    kvl_doctor_say(p->d, KVL_CHECK_OK, "nll", "%zu tokens of %s: %.6f nats per token, the reference has %.6f",
                   p->n_tokens, p->samples.items[0].name, mean, expected);
    return KVL_OK;
}

/* More threads than processors are tried too: two at least. */
static kvl_status check_threads(patient *p, const double *nll, kvl_err *err) {
    double other[MAX_TOKENS];
    unsigned most = (unsigned)kvl_min_size(kvl_max_size(kvl_cpu_count(), 2), MAX_THREADS);
    for (unsigned n = 2; n <= most; n++) {
        KVL_TRY(score(p, other, n, err));
        for (size_t t = 0; t + 1 < p->n_tokens; t++) {
            if (memcmp(&nll[t], &other[t], sizeof *nll) != 0) {
                return kvl_fail(err, KVL_E_CHECK,
                                "token %zu: expected the NLL of one thread, %.17g, found %.17g on %u", t,
                                nll[t], other[t], n);
            }
        }
    }
    kvl_doctor_say(p->d, KVL_CHECK_OK, "threads", "the same bits on 1 to %u threads, batched and one by one",
                   most);
    return KVL_OK;
}

static kvl_status open_golden(patient *p, kvl_err *err) {
    kvl_str path = {0};
    const char *file = join(&path, p->root, "data/doctor.json", "");
    kvl_status status =
        file != NULL ? kvl_json_load(&p->golden, file, 1 << 20, err) : kvl_fail_nomem(err, "path");
    kvl_str_free(&path);
    KVL_TRY(status);
    p->model_dir = json_string_value(json_object_get(p->golden, "model"));
    return p->model_dir != NULL ? KVL_OK
                                : kvl_fail(err, KVL_E_MISSING, "doctor.json: expected a model, found none");
}

void kvl_doctor_model(kvl_doctor *d, const char *root) {
    patient p = {.d = d, .root = root};
    double nll[MAX_TOKENS];
    kvl_err err = {0};
    kvl_status status = open_golden(&p, &err);
    if (status != KVL_OK) {
        say_error(&p, "data", status, &err);
        json_decref(p.golden);
        return;
    }
    check_files(&p);
    open_model(&p);
    check_tokenizer(&p);
    if (p.model == NULL || p.tokenizer == NULL) {
        kvl_doctor_say(d, KVL_CHECK_NOTE, "nll", "not checked: it needs the model and the tokenizer");
    } else if ((status = check_nll(&p, nll, &err)) != KVL_OK) {
        say_error(&p, "nll", status, &err);
    } else if ((status = check_threads(&p, nll, &err)) != KVL_OK) {
        say_error(&p, "threads", status, &err);
    }
    kvl_samples_free(&p.samples);
    kvl_tokenizer_close(p.tokenizer);
    kvl_model_close(p.model);
    json_decref(p.golden);
}
