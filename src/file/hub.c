/* Where the hub cache is, and what a model's name means. Nothing here touches a file or the network. */
#include "file/hub_int.h"

#include <string.h>

static bool is_set(const char *text) { return text != NULL && text[0] != '\0'; }

/* Appends a path of the environment, "~/" replaced. */
static void put_path(kvl_str *out, const kvl_hub_env *env, const char *path) {
    bool is_home = path[0] == '~' && (path[1] == '/' || path[1] == '\0') && is_set(env->home);
    kvl_str_puts(out, is_home ? env->home : "");
    kvl_str_puts(out, is_home ? path + 1 : path);
}

/* Appends the hub's home; false when the environment names none. A relative XDG directory is invalid by the
 * XDG Base Directory specification and ignored. */
static bool put_hub_home(kvl_str *out, const kvl_hub_env *env) {
    if (is_set(env->hf_home)) {
        put_path(out, env, env->hf_home);
    } else if (is_set(env->xdg_cache_home) && env->xdg_cache_home[0] == '/') {
        kvl_str_printf(out, "%s/huggingface", env->xdg_cache_home);
    } else if (is_set(env->home)) {
        kvl_str_printf(out, "%s/.cache/huggingface", env->home);
    } else {
        return false;
    }
    return true;
}

static kvl_status set_endpoint(kvl_hub *hub, const char *given, kvl_err *err) {
    const char *endpoint = is_set(given) ? given : "https://huggingface.co";
    size_t n = strlen(endpoint);
    bool is_http = strncmp(endpoint, "http://", 7) == 0 || strncmp(endpoint, "https://", 8) == 0;
    if (!is_http || strpbrk(endpoint, "@?#\\ \t\r\n") != NULL) {
        return kvl_fail(err, KVL_E_USAGE, "HF_ENDPOINT: expected https://HOST or http://HOST, found '%.200s'",
                        endpoint);
    }
    while (endpoint[n - 1] == '/') {
        n--;
    }
    kvl_str_append(&hub->endpoint, endpoint, n);
    return KVL_OK;
}

kvl_status kvl_hub_open(kvl_hub *out, const kvl_hub_env *env, kvl_err *err) {
    *out = (kvl_hub){0};
    if (is_set(env->hf_hub_cache)) {
        put_path(&out->cache_dir, env, env->hf_hub_cache);
    } else if (put_hub_home(&out->cache_dir, env)) {
        kvl_str_puts(&out->cache_dir, "/hub");
    } else {
        return kvl_fail(err, KVL_E_USAGE,
                        "hub cache: expected one of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, "
                        "HOME in the environment, found none");
    }
    KVL_TRY(set_endpoint(out, env->hf_endpoint, err));
    if (is_set(env->hf_token)) {
        kvl_str_puts(&out->token, env->hf_token);
    } else if (is_set(env->hf_token_path)) {
        put_path(&out->token_path, env, env->hf_token_path);
    } else if (put_hub_home(&out->token_path, env)) {
        kvl_str_puts(&out->token_path, "/token");
    }
    KVL_TRY(kvl_str_check(&out->endpoint, "HF_ENDPOINT", err));
    KVL_TRY(kvl_str_check(&out->token, "HF_TOKEN", err));
    KVL_TRY(kvl_str_check(&out->token_path, "HF_TOKEN_PATH", err));
    return kvl_str_check(&out->cache_dir, "hub cache", err);
}

void kvl_hub_close(kvl_hub *hub) {
    kvl_str_free(&hub->cache_dir);
    kvl_str_free(&hub->endpoint);
    kvl_str_free(&hub->token);
    kvl_str_free(&hub->token_path);
}

bool kvli_hub_is_hex(const char *text, size_t n) {
    return strlen(text) == n && strspn(text, "0123456789abcdef") == n;
}

bool kvli_hub_is_safe_path(const char *path) {
    size_t n = strlen(path);
    if (n == 0 || n > KVLI_HUB_MAX_PATH) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)path[i];
        if (c < 0x20 || c == 0x7f || c == '\\') {
            return false;
        }
    }
    for (const char *part = path; part != NULL;) {
        const char *slash = strchr(part, '/');
        size_t n_part = slash != NULL ? (size_t)(slash - part) : strlen(part);
        if (n_part == 0 || (n_part <= 2 && strncmp(part, "..", n_part) == 0)) {
            return false;
        }
        part = slash != NULL ? slash + 1 : NULL;
    }
    return true;
}

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* The hub's rule for ORG and NAME (validate_repo_id of huggingface_hub): no "--" and no "..", so that the
 * folder models--ORG--NAME is unambiguous. */
static bool is_repo_part(const char *part, size_t n) {
    bool is_plain = n != 0 && n <= 96 && strspn(part, name_letters) >= n && strchr("-.", part[0]) == NULL &&
                    strchr("-.", part[n - 1]) == NULL;
    for (size_t i = 0; is_plain && i + 1 < n; i++) {
        is_plain = !(part[i] == part[i + 1] && strchr("-.", part[i]) != NULL);
    }
    return is_plain;
}

static kvl_status set_repo(kvl_hub_name *out, const char *text, size_t n, kvl_err *err) {
    const char *slash = memchr(text, '/', n);
    size_t n_org = slash != NULL ? (size_t)(slash - text) : 0;
    if (slash == NULL || !is_repo_part(text, n_org) || !is_repo_part(slash + 1, n - n_org - 1)) {
        return kvl_fail(err, KVL_E_USAGE,
                        "model name: expected ORG/NAME[:QUANT][@REVISION] of letters, digits, '-', '_' and "
                        "'.', found '%.200s'",
                        text);
    }
    memcpy(out->repo, text, n);
    out->repo[n] = '\0';
    return KVL_OK;
}

/* What git forbids in a name, and what a path must not have. */
static bool is_revision(const char *revision) {
    return kvli_hub_is_safe_path(revision) && strpbrk(revision, " ~^:?*[@{") == NULL && revision[0] != '-';
}

static kvl_status set_part(char *out, size_t cap, const char *text, size_t n, const char *what,
                           kvl_err *err) {
    if (out[0] != '\0' || n == 0 || n >= cap) {
        return kvl_fail(err, KVL_E_USAGE, "model name: expected one %s of 1 to %zu bytes, found '%.*s'", what,
                        cap - 1, (int)kvl_min_size(n, 200), text);
    }
    memcpy(out, text, n);
    out[n] = '\0';
    return KVL_OK;
}

kvl_status kvl_hub_name_parse(kvl_hub_name *out, const char *text, kvl_err *err) {
    *out = (kvl_hub_name){0};
    size_t n = strcspn(text, ":@");
    KVL_TRY(set_repo(out, text, n, err));
    for (const char *at = text + n; *at != '\0'; at += n) {
        char kind = *at++;
        n = strcspn(at, ":@");
        if (kind == ':') {
            KVL_TRY(set_part(out->quant, sizeof out->quant, at, n, ":QUANT", err));
        } else {
            KVL_TRY(set_part(out->revision, sizeof out->revision, at, n, "@REVISION", err));
        }
    }
    if (strspn(out->quant, name_letters) != strlen(out->quant)) {
        return kvl_fail(err, KVL_E_USAGE, "model name: expected a quant like Q4_K_M, found '%s'", out->quant);
    }
    if (out->revision[0] == '\0') {
        memcpy(out->revision, "main", sizeof "main");
    } else if (!is_revision(out->revision)) {
        return kvl_fail(err, KVL_E_USAGE,
                        "model name: expected a branch, tag or commit behind '@', found '%s'", out->revision);
    }
    return KVL_OK;
}
