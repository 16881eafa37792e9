/* Names from a weight index are data from strangers: "../../x" or a link to it would load another file's
 * weights silently. The link is read, judged and followed here, so that what is opened afterwards is the
 * target itself and not a link. readlink is called here and not in base because the rule about links is this
 * room's. */
#include "file/folder.h"

#include <string.h>
#include <unistd.h>

enum { MAX_LINKS = 8, MAX_TARGET = 4096 };

bool kvli_folder_is_base_name(const char *name) {
    size_t n = strlen(name);
    return n != 0 && n <= 255 && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static bool is_hub_blob(const char *target) {
    static const char prefix[] = "../../blobs/";
    size_t n_prefix = sizeof prefix - 1;
    if (strncmp(target, prefix, n_prefix) != 0) {
        return false;
    }
    const char *hash = target + n_prefix;
    size_t n = strlen(hash);
    return (n == 40 || n == 64) && strspn(hash, "0123456789abcdef") == n; /* SHA-1 of git, SHA-256 of LFS */
}

/* What a blob may be a link to: "../../blobs/HH/HASH", a file that huggingface_hub stores once for several
 * repositories. */
static bool is_shared_blob(const char *target) {
    static const char prefix[] = "../../blobs/";
    static const char digits[] = "0123456789abcdef";
    size_t n_prefix = sizeof prefix - 1;
    if (strncmp(target, prefix, n_prefix) != 0) {
        return false;
    }
    const char *hash = target + n_prefix;
    return strspn(hash, digits) == 2 && hash[2] == '/' && strlen(hash) == 67 &&
           strspn(hash + 3, digits) == 64;
}

/* Target of a link in `target`; false when the path is no link (or nothing is there). */
static bool read_link(const char *path, char target[MAX_TARGET]) {
    ssize_t n = readlink(path, target, MAX_TARGET - 1);
    target[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

static kvl_status join(kvl_str *out, const char *dir, const char *name, kvl_err *err) {
    kvl_str_clear(out);
    kvl_str_printf(out, "%s/%s", dir, name);
    return kvl_str_check(out, "path of a file", err);
}

/* A blob is a file, or a link to a shared one that is; *path is the blob and becomes the file. */
static kvl_status check_blob(kvl_str *path, const char *dir, const char *name, kvl_err *err) {
    char target[MAX_TARGET];
    if (!read_link(kvl_str_text(path), target)) {
        return KVL_OK;
    }
    if (is_shared_blob(target)) {
        kvl_str blobs = {0};
        kvl_str_printf(&blobs, "%s/../../blobs", dir);
        kvl_status status = kvl_str_check(&blobs, "path of a file", err);
        if (status == KVL_OK) {
            status = join(path, kvl_str_text(&blobs), target, err);
        }
        kvl_str_free(&blobs);
        if (status != KVL_OK || !read_link(kvl_str_text(path), target)) {
            return status;
        }
    }
    return kvl_fail(err, KVL_E_PATH, "%s/%s: expected a hub blob that is a file, found a link to '%.200s'",
                    dir, name, target);
}

kvl_status kvli_folder_path(kvl_str *out, const char *dir, const char *name, kvl_err *err) {
    char target[MAX_TARGET];
    KVL_TRY(join(out, dir, name, err));
    for (int i = 0; read_link(kvl_str_text(out), target); i++) {
        bool is_local = kvli_folder_is_base_name(target) && i < MAX_LINKS;
        if (!is_local && !is_hub_blob(target)) {
            return kvl_fail(err, KVL_E_PATH,
                            "%s/%s: expected a link inside its folder or to a hub blob, found '%.200s'", dir,
                            name, target);
        }
        KVL_TRY(join(out, dir, target, err));
        if (!is_local) {
            return check_blob(out, dir, name, err);
        }
    }
    return KVL_OK;
}

kvl_status kvli_folder_has(bool *out, const char *dir, const char *name, kvl_err *err) {
    char target[MAX_TARGET];
    kvl_str path = {0};
    kvl_str_printf(&path, "%s/%s", dir, name);
    kvl_status status = kvl_str_check(&path, name, err);
    *out = status == KVL_OK &&
           (access(kvl_str_text(&path), F_OK) == 0 || read_link(kvl_str_text(&path), target));
    kvl_str_free(&path);
    return status;
}
