/* A repository's model into the cache: list -> choice -> what the hub says of each file -> room on the disk
 * -> files -> ref. The ref comes last, so that it never points at a snapshot that is not complete. */
#include "file/hub_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

typedef unsigned long long ull; /* for %llu */

enum { MAX_LIST_BYTES = 32 << 20, MAX_TOKEN_BYTES = 4096 };

/* All that a fetch owns. */
typedef struct fetch {
    const kvl_hub *hub;
    const kvl_hub_name *name;
    const kvl_hub_fetch_options *options;
    kvli_http http;
    kvl_str token;
    kvli_hub_place place;
    kvli_hub_list list;   /* after the choice: the wanted files */
    kvli_hub_file *files; /* [list.n] */
    kvl_str main;         /* path of the GGUF file, "" for a checkpoint */
} fetch;

/* The token goes into a header line: what could end that line is refused, and never printed. */
static kvl_status load_token(fetch *f, kvl_err *err) {
    char *text = NULL;
    size_t n = 0;
    const char *path = kvl_str_text(&f->hub->token_path);
    const char *from = kvl_str_text(&f->hub->token);
    if (from[0] == '\0' && path[0] != '\0' && kvl_file_exists(path)) {
        KVL_TRY(kvl_file_load(&text, &n, path, MAX_TOKEN_BYTES, err));
        from = text;
    }
    from += strspn(from, " \t\r\n");
    size_t n_word = strcspn(from, " \t\r\n");
    bool is_one_word = from[n_word + strspn(from + n_word, " \t\r\n")] == '\0';
    for (size_t i = 0; i < n_word; i++) {
        is_one_word = is_one_word && from[i] > 0x20 && from[i] < 0x7f;
    }
    kvl_str_append(&f->token, from, is_one_word ? n_word : 0);
    kvl_free(text);
    if (!is_one_word) {
        return kvl_fail(err, KVL_E_USAGE,
                        "HF_TOKEN: expected one word of printable ASCII, found something else");
    }
    return kvl_str_check(&f->token, "token", err);
}

/* Appends text with everything but letters, digits and "-_.~" percent-encoded; slashes too unless
 * has_slashes. */
static void put_escaped(kvl_str *out, const char *text, bool has_slashes) {
    for (const char *c = text; *c != '\0'; c++) {
        bool is_plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                        strchr("-_.~", *c) != NULL || (has_slashes && *c == '/');
        kvl_str_printf(out, is_plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
}

/* The hub's list of the revision -> commit and chosen files. */
static kvl_status list_files(fetch *f, kvl_err *err) {
    kvl_str url = {0}, json = {0}, missing = {0};
    kvli_sink sink = {.text = &json, .max_bytes = MAX_LIST_BYTES};
    kvl_status status = KVL_OK;
    kvl_str_printf(&url, "%s/api/models/%s/revision/", f->http.endpoint, f->name->repo);
    put_escaped(&url, f->name->revision, false);
    KVL_GO(kvl_str_check(&url, "web address", err));
    KVL_GO(kvli_http_get(&f->http, &sink, kvl_str_text(&url), f->name->repo, err));
    KVL_GO(kvli_hub_list_parse(&f->list, f->place.commit, kvl_str_text(&json), json.len, kvl_str_text(&url),
                               err));
    status = kvli_hub_choose(&f->list, &f->main, &missing, f->name, f->options->file, err);
    if (status == KVL_E_MISSING) {
        kvl_fail(err, status, "%s: expected %.200s in the repository (revision %s), found none",
                 f->name->repo, kvl_str_text(&missing), f->name->revision);
    }
done:
    kvl_str_free(&url);
    kvl_str_free(&json);
    kvl_str_free(&missing);
    return status;
}

static kvl_status put_url(kvl_str *out, const fetch *f, const char *path, kvl_err *err) {
    kvl_str_clear(out);
    kvl_str_printf(out, "%s/%s/resolve/%s/", f->http.endpoint, f->name->repo, f->place.commit);
    put_escaped(out, path, true);
    return kvl_str_check(out, "web address", err);
}

/* Size and etag of one file, from the snapshot when it is there. */
static kvl_status describe(fetch *f, kvli_hub_file *file, kvl_err *err) {
    kvl_str url = {0}, path = {0};
    kvli_head head;
    struct stat st;
    kvl_status status = KVL_OK;
    kvli_hub_snapshot_path(&path, kvl_str_text(&f->place.repo_dir), f->place.commit, file->path);
    KVL_GO(kvl_str_check(&path, "path of a file", err));
    if (stat(kvl_str_text(&path), &st) == 0 && S_ISREG(st.st_mode)) {
        file->is_cached = true;
        file->n_bytes = (uint64_t)st.st_size;
        goto done;
    }
    KVL_GO(put_url(&url, f, file->path, err));
    KVL_GO(kvli_http_head(&f->http, &head, kvl_str_text(&url), file->path, err));
    if (!kvli_hub_is_hex(head.etag, 64) && !kvli_hub_is_hex(head.etag, 40)) {
        KVL_GO(kvl_fail(err, KVL_E_NET, "%s: expected an ETag of 64 or 40 hexadecimal digits, found '%s'",
                        file->path, head.etag));
    }
    if (!head.has_size) {
        KVL_GO(kvl_fail(err, KVL_E_NET, "%s: expected X-Linked-Size or Content-Length, found neither",
                        file->path));
    }
    if (head.commit[0] != '\0' && strcmp(head.commit, f->place.commit) != 0) {
        KVL_GO(kvl_fail(err, KVL_E_NET, "%s: expected X-Repo-Commit %s, found '%s'", file->path,
                        f->place.commit, head.commit));
    }
    memcpy(file->etag, head.etag, sizeof file->etag);
    file->n_bytes = head.n_bytes;
done:
    kvl_str_free(&url);
    kvl_str_free(&path);
    return status;
}

/* Bytes of a file that need no download: all of a blob under its name, what is there of an unfinished one. */
static kvl_status bytes_here(uint64_t *out, const fetch *f, const kvli_hub_file *file, kvl_err *err) {
    static const char *const endings[] = {"", ".incomplete"};
    kvl_str path = {0};
    struct stat st;
    kvl_status status = KVL_OK;
    *out = file->is_cached ? file->n_bytes : 0;
    for (size_t i = 0; i < 2 && *out == 0; i++) {
        kvl_str_clear(&path);
        kvl_str_printf(&path, "%s/blobs/%s%s", kvl_str_text(&f->place.repo_dir), file->etag, endings[i]);
        KVL_GO(kvl_str_check(&path, "path of a blob", err));
        if (stat(kvl_str_text(&path), &st) == 0 && (uint64_t)st.st_size <= file->n_bytes) {
            *out = (uint64_t)st.st_size;
        }
    }
done:
    kvl_str_free(&path);
    return status;
}

/* E_IO when the disk has no room for what is missing. Systems that cannot tell are believed. */
static kvl_status check_room(const fetch *f, kvl_err *err) {
    struct statvfs fs;
    uint64_t n_needed = 0, n_free = 0;
    KVL_TRY(kvl_dir_create(kvl_str_text(&f->place.repo_dir), err));
    for (size_t i = 0; i < f->list.n; i++) {
        uint64_t n_here = 0;
        KVL_TRY(bytes_here(&n_here, f, &f->files[i], err));
        if (!kvl_add_u64(n_needed, f->files[i].n_bytes - n_here, &n_needed)) {
            return kvl_fail(err, KVL_E_OVERFLOW, "%s: sizes: expected a sum below 2^64, found more",
                            f->name->repo);
        }
    }
    if (statvfs(kvl_str_text(&f->place.repo_dir), &fs) == 0 &&
        kvl_mul_u64(fs.f_bavail, fs.f_frsize, &n_free) && n_free < n_needed) {
        return kvl_fail(err, KVL_E_IO, "%s: expected %llu free bytes on the disk, found %llu",
                        kvl_str_text(&f->hub->cache_dir), (ull)n_needed, (ull)n_free);
    }
    return KVL_OK;
}

static kvl_status get_files(fetch *f, kvl_err *err) {
    kvl_str url = {0};
    kvl_status status = KVL_OK;
    for (size_t i = 0; i < f->list.n; i++) {
        const kvli_hub_file *file = &f->files[i];
        uint64_t n_here = 0;
        KVL_GO(bytes_here(&n_here, f, file, err));
        if (!f->options->is_dry_run && !file->is_cached) {
            KVL_GO(put_url(&url, f, file->path, err));
            KVL_GO(kvli_hub_store(&f->http, &f->place, file, kvl_str_text(&url), err));
        }
        KVL_GO(kvli_http_event(&f->http, KVL_HUB_FILE, file->path, n_here, file->n_bytes, err));
    }
done:
    kvl_str_free(&url);
    return status;
}

/* refs/REVISION, without a line end: other programs compare the whole file. */
static kvl_status save_ref(const fetch *f, kvl_err *err) {
    kvl_str path = {0}, dir = {0};
    kvl_status status = KVL_OK;
    if (strcmp(f->name->revision, f->place.commit) == 0) {
        return KVL_OK;
    }
    kvl_str_printf(&path, "%s/refs/%s", kvl_str_text(&f->place.repo_dir), f->name->revision);
    KVL_GO(kvl_str_check(&path, "path of a ref", err));
    kvl_str_append(&dir, path.data, (size_t)(strrchr(path.data, '/') - path.data));
    KVL_GO(kvl_str_check(&dir, "path of a ref", err));
    KVL_GO(kvl_dir_create(kvl_str_text(&dir), err));
    KVL_GO(kvl_file_save(kvl_str_text(&path), f->place.commit, KVLI_HUB_COMMIT, err));
done:
    kvl_str_free(&path);
    kvl_str_free(&dir);
    return status;
}

static kvl_status run(fetch *f, kvl_str *out, kvl_err *err) {
    size_t n_org = strcspn(f->name->repo, "/");
    KVL_TRY(load_token(f, err));
    KVL_TRY(
        kvli_http_open(&f->http, kvl_str_text(&f->hub->endpoint), kvl_str_text(&f->token), f->options, err));
    kvli_hub_repo_dir(&f->place.repo_dir, f->hub, f->name);
    kvl_str_printf(&f->place.lock_dir, "%s/.locks/models--%.*s--%s", kvl_str_text(&f->hub->cache_dir),
                   (int)n_org, f->name->repo, f->name->repo + n_org + 1);
    KVL_TRY(kvl_str_check(&f->place.repo_dir, "path of a repository", err));
    KVL_TRY(kvl_str_check(&f->place.lock_dir, "path of a lock", err));
    KVL_TRY(list_files(f, err));
    f->files = kvl_calloc(f->list.n, sizeof *f->files);
    if (f->files == NULL) {
        return kvl_fail_nomem(err, "list of files");
    }
    for (size_t i = 0; i < f->list.n; i++) {
        f->files[i].path = f->list.paths[i];
        KVL_TRY(describe(f, &f->files[i], err));
    }
    if (!f->options->is_dry_run) {
        KVL_TRY(check_room(f, err));
    }
    KVL_TRY(get_files(f, err));
    if (!f->options->is_dry_run) {
        KVL_TRY(save_ref(f, err));
    }
    kvli_hub_snapshot_path(out, kvl_str_text(&f->place.repo_dir), f->place.commit, kvl_str_text(&f->main));
    return kvl_str_check(out, "path of a model", err);
}

kvl_status kvl_hub_fetch(kvl_str *out, const kvl_hub *hub, const kvl_hub_name *name,
                         const kvl_hub_fetch_options *options, kvl_err *err) {
    fetch f = {.hub = hub, .name = name, .options = options};
    kvl_status status = run(&f, out, err);
    kvli_http_close(&f.http);
    kvl_str_free(&f.token);
    kvl_str_free(&f.place.repo_dir);
    kvl_str_free(&f.place.lock_dir);
    kvl_str_free(&f.main);
    kvli_hub_list_free(&f.list);
    kvl_free(f.files);
    return status;
}
