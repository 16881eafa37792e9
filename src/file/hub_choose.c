/* Which files of a repository make the wanted model. The same choice is made from the server's list when
 * fetching and from the cache's when opening, so that both mean the same file. */
#include "file/hub_int.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

kvl_status kvli_hub_list_add(kvli_hub_list *list, const char *path, kvl_err *err) {
    if (list->n == KVLI_HUB_MAX_FILES) {
        return kvl_fail(err, KVL_E_LIMIT, "repository: expected at most %d files, found more",
                        (int)KVLI_HUB_MAX_FILES);
    }
    if (list->n == list->cap) {
        size_t cap = kvl_max_size(32, 2 * list->cap);
        char **paths = kvl_resize(list->paths, list->cap, cap, sizeof *paths);
        if (paths == NULL) {
            return kvl_fail_nomem(err, "list of files");
        }
        list->paths = paths;
        list->cap = cap;
    }
    list->paths[list->n] = kvl_strdup(path);
    if (list->paths[list->n] == NULL) {
        return kvl_fail_nomem(err, "list of files");
    }
    list->n++;
    return KVL_OK;
}

void kvli_hub_list_sort(kvli_hub_list *list) {
    if (list->n != 0) {
        qsort(list->paths, list->n, sizeof *list->paths, compare_paths);
    }
}

bool kvli_hub_list_has(const kvli_hub_list *list, const char *path) {
    return list->n != 0 && bsearch(&path, list->paths, list->n, sizeof *list->paths, compare_paths) != NULL;
}

void kvli_hub_list_free(kvli_hub_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        kvl_free(list->paths[i]);
    }
    kvl_free(list->paths);
    *list = (kvli_hub_list){0};
}

kvl_status kvli_hub_list_parse(kvli_hub_list *list, char commit[KVLI_HUB_COMMIT + 1], const char *json,
                               size_t n_json, const char *what, kvl_err *err) {
    json_t *root = NULL;
    kvl_status status = KVL_OK;
    size_t i = 0;
    json_t *item = NULL;
    KVL_TRY(kvl_json_parse(&root, json, n_json, what, err));
    const char *sha = json_string_value(json_object_get(root, "sha"));
    const json_t *siblings = json_object_get(root, "siblings");
    if (sha == NULL || !kvli_hub_is_hex(sha, KVLI_HUB_COMMIT)) {
        KVL_GO(kvl_fail(err, KVL_E_TYPE, "%s: sha: expected a commit of 40 hexadecimal digits, found '%.80s'",
                        what, sha != NULL ? sha : "another type"));
    }
    if (!json_is_array(siblings)) {
        KVL_GO(kvl_fail(err, KVL_E_TYPE, "%s: siblings: expected an array, found another type", what));
    }
    memcpy(commit, sha, KVLI_HUB_COMMIT + 1);
    json_array_foreach(siblings, i, item) {
        const json_t *path = json_object_get(item, "rfilename");
        if (!json_is_string(path)) {
            KVL_GO(kvl_fail(err, KVL_E_TYPE,
                            "%s: siblings[%zu].rfilename: expected a string, found another "
                            "type",
                            what, i));
        }
        if (strlen(json_string_value(path)) != json_string_length(path) ||
            !kvli_hub_is_safe_path(json_string_value(path))) {
            KVL_GO(
                kvl_fail(err, KVL_E_PATH,
                         "%s: siblings[%zu].rfilename: expected a path inside the repository, found '%.200s'",
                         what, i, json_string_value(path)));
        }
        KVL_GO(kvli_hub_list_add(list, json_string_value(path), err));
    }
    kvli_hub_list_sort(list);
done:
    json_decref(root);
    return status;
}

static bool has_suffix(const char *text, const char *suffix) {
    size_t n = strlen(text), n_suffix = strlen(suffix);
    return n >= n_suffix && strcmp(text + n - n_suffix, suffix) == 0;
}

/* Files of a checkpoint lie at the top. Beside model.safetensors the others are second copies in another
 * layout (consolidated.safetensors) or adapters. */
static bool is_checkpoint_file(const char *path, bool is_single) {
    static const char *const names[] = {"config.json", "generation_config.json", "special_tokens_map.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(path, names[i]) == 0) {
            return true;
        }
    }
    if (strchr(path, '/') != NULL) {
        return false;
    }
    if (strncmp(path, "tokenizer", 9) == 0 && has_suffix(path, ".json")) {
        return true;
    }
    if (is_single) {
        return strcmp(path, "model.safetensors") == 0;
    }
    return (has_suffix(path, ".safetensors") && strncmp(path, "consolidated", 12) != 0) ||
           has_suffix(path, ".safetensors.index.json");
}

/* The n digits at text as a number, or 0. */
static unsigned digits(const char *text, int n) {
    unsigned value = 0;
    for (int i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    return value;
}

/* Number of this file and count of a split model from "-00001-of-00003.gguf"; 1 of 1 otherwise. *n_stem is
 * the length before that. */
static void read_split(const char *path, size_t *n_stem, unsigned *index, unsigned *count) {
    enum { n_suffix = sizeof "-00001-of-00003.gguf" - 1 };
    size_t n = strlen(path);
    const char *s = n > n_suffix ? path + n - n_suffix : "";
    bool is_split = *s == '-' && strncmp(s + 6, "-of-", 4) == 0 && s[15] == '.' && digits(s + 1, 5) != 0 &&
                    digits(s + 10, 5) != 0;
    *index = is_split ? digits(s + 1, 5) : 1;
    *count = is_split ? digits(s + 10, 5) : 1;
    *n_stem = is_split ? n - n_suffix : n;
}

/* A model to open: not a later part of one, nor what accompanies models in such repositories. */
static bool is_gguf_model(const char *path) {
    size_t n_stem = 0;
    unsigned index = 0, count = 0;
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    read_split(path, &n_stem, &index, &count);
    return has_suffix(path, ".gguf") && index == 1 && strncmp(name, "mmproj", 6) != 0 &&
           strstr(name, "imatrix") == NULL;
}

static bool is_letter_or_digit(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The quant stands alone in the path: Q4_K is not in m-Q4_K_M.gguf, F16 not in m-BF16.gguf. */
static bool has_quant(const char *path, const char *quant) {
    size_t n = strlen(quant);
    for (const char *at = path; *at != '\0'; at++) {
        bool is_here = strncasecmp(at, quant, n) == 0 && (at == path || !is_letter_or_digit(at[-1]));
        if (is_here && (at[n] == '.' || at[n] == '-' || at[n] == '/')) {
            return true;
        }
    }
    return false;
}

/* The first GGUF model of the quant ("" for any), or NULL. */
static const char *find_gguf(const kvli_hub_list *list, const char *quant) {
    for (size_t i = 0; i < list->n; i++) {
        const char *path = list->paths[i];
        if (is_gguf_model(path) && (quant[0] == '\0' || has_quant(path, quant))) {
            return path;
        }
    }
    return NULL;
}

/* Keeps the parts of the GGUF model `path`, all of which must be there; *main is the first. */
static kvl_status keep_gguf(kvli_hub_list *list, kvl_str *main, kvl_str *missing, const char *path,
                            kvl_err *err) {
    kvli_hub_list kept = {0};
    kvl_str part = {0};
    size_t n_stem = 0;
    unsigned index = 0, count = 0;
    kvl_status status = KVL_OK;
    read_split(path, &n_stem, &index, &count);
    for (unsigned i = 1; i <= count; i++) {
        kvl_str_clear(&part);
        kvl_str_append(&part, path, n_stem);
        if (n_stem != strlen(path)) {
            kvl_str_printf(&part, "-%05u-of-%05u.gguf", i, count);
        }
        KVL_GO(kvl_str_check(&part, "path of a file", err));
        if (!kvli_hub_list_has(list, kvl_str_text(&part))) {
            kvl_str_puts(missing, kvl_str_text(&part));
            status = KVL_E_MISSING;
            goto done;
        }
        kvl_str_puts(main, i == 1 ? kvl_str_text(&part) : "");
        KVL_GO(kvli_hub_list_add(&kept, kvl_str_text(&part), err));
    }
    kvli_hub_list_free(list);
    *list = kept;
    kept = (kvli_hub_list){0};
done:
    kvli_hub_list_free(&kept);
    kvl_str_free(&part);
    return status;
}

static void keep_checkpoint(kvli_hub_list *list) {
    bool is_single = kvli_hub_list_has(list, "model.safetensors");
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (is_checkpoint_file(list->paths[i], is_single)) {
            list->paths[n++] = list->paths[i];
        } else {
            kvl_free(list->paths[i]);
        }
    }
    list->n = n;
}

static kvl_status choose(kvli_hub_list *list, kvl_str *main, kvl_str *missing, const kvl_hub_name *name,
                         const char *file, kvl_err *err) {
    bool has_weights = kvli_hub_list_has(list, "model.safetensors") ||
                       kvli_hub_list_has(list, "model.safetensors.index.json");
    bool has_config = kvli_hub_list_has(list, "config.json");
    const char *path = file;
    if (file == NULL && name->quant[0] == '\0' && has_weights && has_config) {
        keep_checkpoint(list);
        return KVL_OK;
    }
    if (file == NULL && name->quant[0] != '\0') {
        path = find_gguf(list, name->quant);
    } else if (file == NULL) {
        path = find_gguf(list, "Q4_K_M");
        path = path != NULL ? path : find_gguf(list, "");
    }
    if (path != NULL) {
        return keep_gguf(list, main, missing, path, err);
    }
    if (name->quant[0] != '\0') {
        kvl_str_printf(missing, "a .gguf file of %s", name->quant);
    } else {
        kvl_str_puts(missing, has_weights ? "config.json" : "model.safetensors");
    }
    return KVL_E_MISSING;
}

kvl_status kvli_hub_choose(kvli_hub_list *list, kvl_str *main, kvl_str *missing, const kvl_hub_name *name,
                           const char *file, kvl_err *err) {
    kvl_status status = choose(list, main, missing, name, file, err);
    if (status == KVL_OK || status == KVL_E_MISSING) {
        KVL_TRY(kvl_str_check(main, "path of a file", err));
        KVL_TRY(kvl_str_check(missing, "path of a file", err));
    }
    return status;
}
