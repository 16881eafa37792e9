/* Checkpoints in several files. The index is a promise about which tensor is where: it is held against every
 * shard's own header in both directions, so that a shard can neither lack a tensor nor bring one along. */
#include "base/alloc.h"
#include "base/json.h"
#include "file/folder.h"
#include "file/header_scan.h"
#include "file/tensors_int.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t max_index_bytes = 64u << 20;

static int compare_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static kvl_status check_value(const char *path, const char *tensor, const json_t *value, kvl_err *err) {
    if (!json_is_string(value)) {
        return kvl_fail(err, KVL_E_TYPE, "%s: weight_map, '%.*s': expected a file name, found another type",
                        path, (int)KVLI_NAME_CUT, tensor);
    }
    if (!kvli_folder_is_base_name(json_string_value(value))) {
        return kvl_fail(err, KVL_E_PATH, "%s: weight_map, '%.*s': expected a plain file name, found '%.*s'",
                        path, (int)KVLI_NAME_CUT, tensor, (int)KVLI_NAME_CUT, json_string_value(value));
    }
    return KVL_OK;
}

/* Names of the different shards, sorted; the list is the caller's, the names are the document's. */
static kvl_status list_shards(const char ***out, size_t *n_out, json_t *map, const char *path, kvl_err *err) {
    const char **names = kvl_calloc(json_object_size(map), sizeof *names);
    size_t n = 0;
    size_t n_different = 0;
    const char *tensor = NULL;
    json_t *value = NULL;
    kvl_status status = KVL_OK;
    *out = NULL;
    if (names == NULL) {
        return kvl_fail_nomem(err, path);
    }
    json_object_foreach(map, tensor, value) {
        KVL_GO(check_value(path, tensor, value, err));
        names[n++] = json_string_value(value);
    }
    qsort(names, n, sizeof *names, compare_text);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(names[i], names[n_different - 1]) != 0) {
            names[n_different++] = names[i];
        }
    }
    if (n_different == 0) {
        status =
            kvl_fail(err, KVL_E_MISSING, "%s: weight_map: expected at least one tensor, found none", path);
    } else if (n_different > KVLI_MAX_SHARDS) {
        status = kvl_fail(err, KVL_E_LIMIT, "%s: weight_map: expected at most %d different files, found %zu",
                          path, (int)KVLI_MAX_SHARDS, n_different);
    } else {
        *out = names;
        *n_out = n_different;
        names = NULL;
    }
done:
    kvl_free(names);
    return status;
}

static kvl_status check_against_index(const kvl_tensors *t, json_t *map, const char *path, kvl_err *err) {
    const char *tensor = NULL;
    json_t *value = NULL;
    json_object_foreach(map, tensor, value) {
        const kvl_tensor *found = kvl_tensors_find(t, tensor);
        const char *shard = json_string_value(value);
        if (found == NULL || strcmp(t->shards[found->file].name, shard) != 0) {
            return kvl_fail(err, KVL_E_MISSING,
                            "%s: weight_map: expected tensor '%.*s' in '%.*s', found it in '%.*s'", path,
                            (int)KVLI_NAME_CUT, tensor, (int)KVLI_NAME_CUT, shard, (int)KVLI_NAME_CUT,
                            found != NULL ? t->shards[found->file].name : "no file");
        }
    }
    for (size_t i = 0; i < t->n_entries; i++) {
        const kvl_tensor *entry = &t->entries[i];
        if (json_object_get(map, entry->name) == NULL) {
            return kvl_fail(err, KVL_E_EXTRA,
                            "%s: weight_map: expected every tensor of '%.*s', found no '%.*s'", path,
                            (int)KVLI_NAME_CUT, t->shards[entry->file].name, (int)KVLI_NAME_CUT, entry->name);
        }
    }
    return KVL_OK;
}

static kvl_status open_shards(kvl_tensors *t, const char *dir, const char *const *names, kvl_err *err) {
    kvl_str path = {0};
    kvl_status status = KVL_OK;
    for (size_t i = 0; i < t->n_shards; i++) {
        KVL_GO(kvli_folder_path(&path, dir, names[i], err));
        KVL_GO(kvli_tensors_add(t, i, kvl_str_text(&path), names[i], err));
    }
    status = kvli_tensors_finish(t, err);
done:
    kvl_str_free(&path);
    return status;
}

kvl_status kvli_tensors_open_index(kvl_tensors **out, const char *dir, const char *index_name, kvl_err *err) {
    kvl_str path = {0};
    json_t *index = NULL;
    const char **names = NULL;
    size_t n_names = 0;
    kvl_tensors *t = NULL;
    kvl_status status = KVL_OK;
    *out = NULL;
    KVL_GO(kvli_folder_path(&path, dir, index_name, err));
    KVL_GO(kvl_json_load(&index, kvl_str_text(&path), max_index_bytes, err));
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map)) {
        status = kvl_fail(err, map == NULL ? KVL_E_MISSING : KVL_E_TYPE,
                          "%s: weight_map: expected an object, found %s", kvl_str_text(&path),
                          map == NULL ? "nothing" : "another type");
        goto done;
    }
    KVL_GO(list_shards(&names, &n_names, map, kvl_str_text(&path), err));
    KVL_GO(kvli_tensors_create(&t, n_names, err));
    KVL_GO(open_shards(t, dir, names, err));
    KVL_GO(check_against_index(t, map, kvl_str_text(&path), err));
    *out = t;
    t = NULL;
done:
    kvl_tensors_close(t);
    kvl_free(names);
    json_decref(index);
    kvl_str_free(&path);
    return status;
}
