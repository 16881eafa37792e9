/* Models that are in the hub cache already: ref -> commit -> files of the snapshot -> the wanted model.
 * Reads only. Links are followed by stat here, and judged by folder.c when weights are opened. */
#include "file/hub_int.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/os.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 8, MAX_REF_BYTES = 4096 };
static const uint64_t max_index_bytes = 64u << 20;

void kvli_hub_repo_dir(kvl_str *out, const kvl_hub *hub, const kvl_hub_name *name) {
    size_t n_org = strcspn(name->repo, "/");
    kvl_str_printf(out, "%s/models--%.*s--%s", kvl_str_text(&hub->cache_dir), (int)n_org, name->repo,
                   name->repo + n_org + 1);
}

void kvli_hub_snapshot_path(kvl_str *out, const char *repo_dir, const char *commit, const char *path) {
    kvl_str_printf(out, "%s/snapshots/%s%s%s", repo_dir, commit, path[0] != '\0' ? "/" : "", path);
}

/* Commit of a revision; E_MISSING without a message when there is no such ref. */
static kvl_status read_commit(char commit[KVLI_HUB_COMMIT + 1], const char *repo_dir, const char *revision,
                              kvl_err *err) {
    kvl_str path = {0};
    char *text = NULL;
    size_t n = 0;
    kvl_status status = KVL_OK;
    if (kvli_hub_is_hex(revision, KVLI_HUB_COMMIT)) {
        memcpy(commit, revision, KVLI_HUB_COMMIT + 1);
        return KVL_OK;
    }
    kvl_str_printf(&path, "%s/refs/%s", repo_dir, revision);
    KVL_GO(kvl_str_check(&path, "path of a ref", err));
    if (!kvl_file_exists(kvl_str_text(&path))) {
        status = KVL_E_MISSING;
        goto done;
    }
    KVL_GO(kvl_file_load(&text, &n, kvl_str_text(&path), MAX_REF_BYTES, err));
    text[strcspn(text, " \t\r\n")] = '\0';
    if (!kvli_hub_is_hex(text, KVLI_HUB_COMMIT)) {
        KVL_GO(kvl_fail(err, KVL_E_PATH, "%s: expected a commit of 40 hexadecimal digits, found '%.80s'",
                        kvl_str_text(&path), text));
    }
    memcpy(commit, text, KVLI_HUB_COMMIT + 1);
done:
    kvl_free(text);
    kvl_str_free(&path);
    return status;
}

/* Adds the files below dir; `prefix` is dir's path in the snapshot, "" or with a slash at its end. A link to
 * nothing counts as absent. */
static kvl_status list_dir(kvli_hub_list *list, const char *dir, const char *prefix, int depth,
                           kvl_err *err) {
    DIR *d = opendir(dir);
    kvl_str path = {0}, name = {0};
    kvl_status status = KVL_OK;
    struct stat st;
    for (struct dirent *e = NULL; d != NULL && (e = readdir(d)) != NULL;) {
        kvl_str_clear(&path);
        kvl_str_clear(&name);
        kvl_str_printf(&path, "%s/%s", dir, e->d_name);
        kvl_str_printf(&name, "%s%s", prefix, e->d_name);
        KVL_GO(kvl_str_check(&path, "path of a file", err));
        KVL_GO(kvl_str_check(&name, "path of a file", err));
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            stat(kvl_str_text(&path), &st) != 0) {
            continue;
        }
        if (S_ISREG(st.st_mode)) {
            KVL_GO(kvli_hub_list_add(list, kvl_str_text(&name), err));
        } else if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) {
            kvl_str_puts(&name, "/");
            KVL_GO(kvl_str_check(&name, "path of a file", err));
            KVL_GO(list_dir(list, kvl_str_text(&path), kvl_str_text(&name), depth + 1, err));
        }
    }
done:
    if (d != NULL) {
        closedir(d);
    }
    kvl_str_free(&path);
    kvl_str_free(&name);
    return status;
}

/* The shards that the index of a checkpoint names; E_MISSING with *missing set. */
static kvl_status check_shards(const kvli_hub_list *list, const char *snapshot, kvl_str *missing,
                               kvl_err *err) {
    kvl_str path = {0};
    json_t *index = NULL;
    json_t *shard = NULL;
    const char *tensor = NULL;
    kvl_status status = KVL_OK;
    if (kvli_hub_list_has(list, "model.safetensors")) {
        return KVL_OK;
    }
    kvl_str_printf(&path, "%s/model.safetensors.index.json", snapshot);
    KVL_GO(kvl_str_check(&path, "path of an index", err));
    KVL_GO(kvl_json_load(&index, kvl_str_text(&path), max_index_bytes, err));
    json_object_foreach(json_object_get(index, "weight_map"), tensor, shard) {
        if (json_is_string(shard) && !kvli_hub_list_has(list, json_string_value(shard))) {
            kvl_str_puts(missing, json_string_value(shard));
            status = KVL_E_MISSING;
            break;
        }
    }
done:
    json_decref(index);
    kvl_str_free(&path);
    return status;
}

/* Lists a snapshot and chooses; E_MISSING with *missing set. */
static kvl_status find_in_snapshot(kvl_str *main, kvl_str *missing, const char *snapshot,
                                   const kvl_hub_name *name, const char *file, kvl_err *err) {
    kvli_hub_list list = {0};
    kvl_status status = list_dir(&list, snapshot, "", 0, err);
    kvli_hub_list_sort(&list);
    if (status == KVL_OK) {
        status = kvli_hub_choose(&list, main, missing, name, file, err);
    }
    if (status == KVL_OK && main->len == 0) {
        status = check_shards(&list, snapshot, missing, err);
    }
    kvli_hub_list_free(&list);
    return status;
}

/* E_MISSING: what is not there and what to do. A file that the repository is known not to have needs no
 * download. */
static kvl_status fail_missing(const kvl_hub_name *name, const char *file, const char *repo_dir,
                               const char *commit, const char *missing, kvl_err *err) {
    kvl_str known = {0};
    kvl_str_printf(&known, "%s/.no_exist/%s/%s", repo_dir, commit, missing);
    bool is_known = commit[0] != '\0' && missing[0] != '\0' && kvl_file_exists(kvl_str_text(&known));
    kvl_str_free(&known);
    if (is_known) {
        return kvl_fail(err, KVL_E_MISSING,
                        "%s: expected %.200s in the repository, found in the hub cache that it has none",
                        name->repo, missing);
    }
    bool is_main = strcmp(name->revision, "main") == 0;
    return kvl_fail(
        err, KVL_E_MISSING,
        "%s: not in the hub cache; get it with: kvlab fetch %s%s%s%s%s%s%.100s (expected %s%.100s "
        "in %.150s, found none)",
        name->repo, name->repo, name->quant[0] != '\0' ? ":" : "", name->quant, is_main ? "" : "@",
        is_main ? "" : name->revision, file != NULL ? " -hff " : "", file != NULL ? file : "",
        missing[0] == '\0' ? "refs/" : "", missing[0] == '\0' ? name->revision : missing, repo_dir);
}

kvl_status kvl_hub_find(kvl_str *out, const kvl_hub *hub, const kvl_hub_name *name, const char *file,
                        kvl_err *err) {
    kvl_str repo_dir = {0}, snapshot = {0}, main = {0}, missing = {0};
    char commit[KVLI_HUB_COMMIT + 1] = "";
    kvli_hub_repo_dir(&repo_dir, hub, name);
    kvl_status status = kvl_str_check(&repo_dir, "path of a repository", err);
    if (status == KVL_OK) {
        status = read_commit(commit, kvl_str_text(&repo_dir), name->revision, err);
    }
    if (status == KVL_OK) {
        kvli_hub_snapshot_path(&snapshot, kvl_str_text(&repo_dir), commit, "");
        KVL_GO(kvl_str_check(&snapshot, "path of a snapshot", err));
        status = find_in_snapshot(&main, &missing, kvl_str_text(&snapshot), name, file, err);
    }
    if (status == KVL_E_MISSING) {
        status = fail_missing(name, file, kvl_str_text(&repo_dir), commit, kvl_str_text(&missing), err);
    }
    if (status == KVL_OK) {
        kvli_hub_snapshot_path(out, kvl_str_text(&repo_dir), commit, kvl_str_text(&main));
        status = kvl_str_check(out, "path of a model", err);
    }
done:
    kvl_str_free(&repo_dir);
    kvl_str_free(&snapshot);
    kvl_str_free(&main);
    kvl_str_free(&missing);
    return status;
}
